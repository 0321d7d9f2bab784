/* SPDX-License-Identifier: Apache-2.0
 * Any bytes as a picture and a list of operations: what is accepted runs, on samples of every kind and value. */
#include <apr_general.h>
#include <stdlib.h>
#include <string.h>
#include "ops.h"
#include "raster/raster.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

typedef struct {
    const uint8_t *data;
    size_t n, at;
} bytes;

static unsigned octet(bytes *b)
{
    return b->at < b->n ? b->data[b->at++] : 0;
}

static float number(bytes *b)
{
    float v = 0;

    if (b->n - b->at >= sizeof v)
        memcpy(&v, b->data + b->at, sizeof v);
    b->at += b->n - b->at >= sizeof v ? sizeof v : 0;
    return v;
}

static void check(int good)
{
    if (!good)
        abort();
}

/* The same bytes over and over. */
static iip_status fetch(void *ctx, int level, iip_rect want, iip_raster *out, iip_error *e)
{
    const bytes *b = ctx;
    size_t k = (size_t)(want.y * 31 + want.x);

    for (int64_t y = 0; y < want.h; y++)
        for (size_t i = 0; i < (size_t)want.w * (size_t)out->bands * iip_sample_size(out->sample); i++)
            out->px[(size_t)y * out->stride + i] = b->data[k++ % b->n];
    return IIP_OK;
}

static void run(bytes *b, iip_budget *budget, apr_pool_t *p)
{
    iip_settings raw, set;
    iip_info info = {.levels = 1, .virtual_from = 1, .pages = 1, .orientation = 1};
    iip_request rq;
    iip_histogram h;
    iip_aids aids = {.histogram = &h};
    iip_stage_t *top;
    iip_raster strip;
    iip_error e;
    int64_t rows = 0;
    float arg[3 * 70];

    iip_settings_unset(&raw);
    iip_settings_effective(&set, &raw);
    iip_request_init(&rq, &set);
    info.sample = (iip_sample)(octet(b) % 7);
    info.bands = 1 + (int)(octet(b) % 7);
    info.alpha = (int)(octet(b) & 1) && info.bands > 1;
    info.bits = 1 + (int)(octet(b) % 64);
    info.space = (iip_space)(octet(b) % 5);
    if ((info.space == IIP_CMYK && info.bands - info.alpha != 4) ||
        ((info.space == IIP_LAB || info.space == IIP_RGB) && info.bands - info.alpha != 3))
        info.space = IIP_MULTIBAND;
    info.level[0] = (iip_level){1 + octet(b) % 40, 1 + octet(b) % 40, 16, 16};
    rq.out_w = rq.src.w = info.level[0].w;
    rq.out_h = rq.src.h = info.level[0].h;
    for (int i = (int)(octet(b) % 10); i > 0; i--) {
        const int kind = (int)(octet(b) % IIP_OP_COUNT), argc = (int)(octet(b) % (sizeof arg / sizeof *arg));

        for (int k = 0; k < argc; k++)
            arg[k] = octet(b) & 1 ? number(b) : (float)(int8_t)octet(b);
        iip_op_add(&rq, (iip_op_kind)kind, argc, arg, p, &e);
    }
    iip_request_ops(&rq, &info);
    check(iip_histogram_make(&h, &info, fetch, b, budget, p, &e) == IIP_OK);
    check(iip_pipeline_build(&top, &rq, &info, NULL, &aids, fetch, b, budget, p, &e) == IIP_OK);
    check(!iip_request_floats(&rq, &info) || top->shape.sample == IIP_U8);
    do {
        check(top->next(top, 7, &strip, &e) == IIP_OK);
        rows += strip.h;
    } while (strip.h > 0);
    check(rows == info.level[0].h);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static apr_pool_t *root;
    bytes b = {data, n, 0};
    iip_budget budget = {.limit = 64 << 20};
    apr_pool_t *p;

    if (!root) {
        apr_initialize();
        apr_pool_create(&root, NULL);
        iip_settings_init(root);
    }
    if (n < 16)
        return 0;
    apr_pool_create(&p, root);
    run(&b, &budget, p);
    apr_pool_destroy(p);
    check(budget.used == 0);
    return 0;
}
