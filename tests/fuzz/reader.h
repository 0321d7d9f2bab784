/* SPDX-License-Identifier: Apache-2.0
 * Any bytes as a file of one format: header, then rectangles upwards and downwards. Small pictures only, so that time
 * goes into code and not into pixels. */
#ifndef FUZZ_READER_H
#define FUZZ_READER_H
#include "codec/codec.h"
#include <stdlib.h>
#include <apr_general.h>

#define MAX_PIXELS (1 << 18)
#define MAX_HOLD   (64 << 20)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void read_some(const iip_decoder *d, iip_reader_t *r, const iip_info *info, iip_error *e)
{
    const iip_level *l = &info->level[0];
    const size_t pixel = (size_t)info->bands * iip_sample_size(info->sample);
    unsigned char *px = malloc((size_t)(l->w * l->h) * pixel);
    iip_status rv = IIP_OK;

    for (int part = 2; part >= 0 && rv == IIP_OK; part--) {
        iip_rect want = {l->w * (part == 1) / 3, l->h * part / 3, 0, 0};
        iip_raster out;

        want.w = l->w - want.x;
        want.h = l->h - want.y;
        out = (iip_raster){want.w, want.h, info->bands, info->sample, (size_t)want.w * pixel, px};
        rv = d->read(r, 0, want, 0, &out, e);
    }
    free(px);
}

static int __attribute__((unused)) fuzz_reader(const iip_decoder *d, const uint8_t *data, size_t n)
{
    static apr_pool_t *root;
    const iip_limits lim = {.memory = 64 << 20, .deadline = apr_time_from_sec(5)};
    iip_info info = {0};
    iip_reader_t *r;
    iip_error e = {0};
    apr_pool_t *p;

    if (!d)
        return 0; /* not built */
    if (!root) {
        apr_initialize();
        apr_pool_create(&root, NULL);
    }
    apr_pool_create(&p, root);
    if (d->open(&r, iip_source_memory(data, n, "fuzz", p), -1, &lim, p, &e) == IIP_OK &&
        d->info(r, &info, p, &e) == IIP_OK && info.level[0].w <= MAX_PIXELS && info.level[0].h <= MAX_PIXELS &&
        info.level[0].w * info.level[0].h <= MAX_PIXELS && info.hold <= MAX_HOLD)
        read_some(d, r, &info, &e);
    apr_pool_destroy(p);
    return 0;
}
#endif
