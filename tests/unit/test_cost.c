/* SPDX-License-Identifier: Apache-2.0
 * cost.c against the real chain of stages: what a request is said to hold is never less than what its pipeline charges
 * to the budget, and not a multiple of it where it matters. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <cmocka.h>
#include <apr_general.h>
#include "raster/raster.h"

static apr_pool_t *root;
static iip_settings set;

static iip_status blank(void *ctx, int level, iip_rect want, iip_raster *out, iip_error *e)
{
    for (int64_t y = 0; y < want.h; y++)
        memset(out->px + (size_t)y * out->stride, 0x55, (size_t)want.w * out->bands * iip_sample_size(out->sample));
    return IIP_OK;
}

/* Peak of the stages, in bytes. */
static int64_t peak(const iip_request *rq, const iip_info *info)
{
    const iip_encoder *enc = iip_encoder_find(rq->format);
    iip_budget b = {.limit = SIZE_MAX};
    iip_stage_t *top;
    iip_raster out;
    iip_error e;
    apr_pool_t *p;

    apr_pool_create(&p, root);
    if (iip_request_counts(rq)) {
        iip_histogram h;

        assert_int_equal(iip_histogram_make(&h, info, blank, NULL, &b, p, &e), IIP_OK);
        apr_pool_clear(p);
        assert_int_equal(b.used, 0);
    }
    assert_int_equal(iip_pipeline_build(&top, rq, info, enc, NULL, blank, NULL, &b, p, &e), IIP_OK);
    do
        assert_int_equal(top->next(top, 64, &out, &e), IIP_OK);
    while (out.h > 0);
    apr_pool_destroy(p);
    return (int64_t)b.peak;
}

static iip_info picture(int64_t w, int64_t h, int64_t tile_w, int64_t tile_h, int bands, iip_sample sample)
{
    iip_info i = {.levels = 1, .virtual_from = 1, .pages = 1, .bands = bands, .bits = 8, .sample = sample};

    i.space = bands < 3 ? IIP_GREY : IIP_RGB;
    i.alpha = bands == 2 || bands == 4;
    i.orientation = 1;
    i.tiled = 1;
    i.level[0] = (iip_level){w, h, tile_w, tile_h};
    return i;
}

static void test_estimate(void **state)
{
    static const int64_t cells[][2] = {{256, 256}, {600, 16}, {16, 440}, {600, 440}};
    static const int64_t outs[][2] = {{600, 440}, {599, 439}, {280, 240}, {40, 31}, {3, 440}, {1200, 880}};
    static const double turns[] = {0, 90, 180, 22.5};
    static const iip_sample samples[] = {IIP_U8, IIP_U16, IIP_F32};
    static const iip_format formats[] = {IIP_FMT_JPEG, IIP_FMT_PNG};
    static const float matrix[2 + 16 * 4] = {16, 4}, kernel[26] = {5, 1}, light[] = {10, 20}, map[] = {3},
                                       sigma[] = {9};
    static const iip_op soft[] = {{IIP_OP_BLUR, 1, sigma}, {IIP_OP_SHARPEN, 1, sigma}};
    static const iip_op count = {IIP_OP_STRETCH, 0, NULL}, ops[] = {{IIP_OP_SHADE, 2, light},
                                                                    {IIP_OP_TWIST, 66, matrix},
                                                                    {IIP_OP_CMAP, 1, map},
                                                                    {IIP_OP_CONVOLVE, 26, kernel}};
    iip_limits lim = {.max_width = 10000, .max_height = 10000, .upscale = 1};
    iip_settings raw;
    iip_error e;
    iip_request rq;

    iip_settings_unset(&raw);
    iip_settings_effective(&set, &raw);
    for (int k = 0; k < 4 * 6 * 4 * 3 * 2 * 4; k++) {
        int left = k, bands, format;
        const int64_t *cell = cells[left % 4], *out = outs[(left /= 4) % 6];
        double turn = turns[(left /= 6) % 4];
        iip_sample sample = samples[(left /= 4) % 3];
        iip_info info;

        if (k % 5) /* one in five: all pairs meet, the run stays short */
            continue;
        format = (left /= 3) % 2;
        bands = left / 2 + 1;
        info = picture(600, 440, cell[0], cell[1], bands, sample);
        iip_request_init(&rq, &set);
        rq.format = formats[format];
        rq.size_kind = IIP_SIZE_EXACT;
        rq.grow = IIP_GROW_ASK;
        rq.size[0].num = out[0];
        rq.size[1].num = out[1];
        rq.rotate = turn;
        rq.flip = k & 1;
        for (int i = 0; k % 3 == 0 && i < 4; i++) /* heights or normals, many bands, a wide kernel */
            if (i != 1 || k % 2)
                rq.op[rq.op_count++] = ops[i];
        if (k % 7 == 0 && rq.op_count == 0)
            rq.op[rq.op_count++] = count;
        if (k % 11 == 0)
            rq.op[rq.op_count++] = soft[k & 1];
        if (k % 13 == 0) {
            iip_rotate_canvas(out[0], out[1], turn, &rq.frame.w, &rq.frame.h);
            rq.frame = (iip_rect){5, 70, rq.frame.w + 200, rq.frame.h + 90};
        }
        assert_int_equal(iip_request_resolve(&rq, &info, &lim, &e), IIP_OK);
        if (peak(&rq, &info) > iip_request_memory(&rq, &info))
            fail_msg("cells %ldx%ld, out %ldx%ld, turn %g, sample %d, bands %d: %ld over %ld", (long)cell[0],
                     (long)cell[1], (long)out[0], (long)out[1], turn, sample, bands, (long)peak(&rq, &info),
                     (long)iip_request_memory(&rq, &info));
    }
}

/* A turned export holds its picture, a straight one does not: both within half of what is said. */
static void test_close(void **state)
{
    iip_limits lim = {.max_width = 10000, .max_height = 10000};
    iip_info info = picture(4000, 3000, 256, 256, 3, IIP_U8);
    iip_settings raw;
    iip_error e;
    iip_request rq;

    iip_settings_unset(&raw);
    iip_settings_effective(&set, &raw);
    for (int k = 0; k < 3; k++) {
        iip_request_init(&rq, &set);
        rq.format = IIP_FMT_JPEG;
        rq.size_kind = IIP_SIZE_EXACT;
        rq.size[0].num = k == 2 ? 3900 : 4000;
        rq.rotate = k == 1 ? 90 : 0;
        assert_int_equal(iip_request_resolve(&rq, &info, &lim, &e), IIP_OK);
        assert_in_range(iip_request_memory(&rq, &info), peak(&rq, &info), peak(&rq, &info) * 2);
    }
}

static iip_work work(iip_info i, int64_t src, int64_t w, int64_t h, double rotate, iip_format format)
{
    iip_request rq = {.src = {0, 0, src, src}, .out_w = w, .out_h = h, .format = format, .set = &set, .rotate = rotate};

    return iip_request_work(&rq, &i);
}

/* spec/performance.md 3.5: small is what costs no more than 4 Mpx of JPEG, decoded and encoded. */
static void test_work(void **state)
{
    iip_info jpeg = picture(20000, 20000, 256, 256, 3, IIP_U8), wavelet = jpeg, plain = jpeg;

    jpeg.decode_cost = plain.decode_cost = 1;
    wavelet.decode_cost = 20;
    wavelet.level[0].tile_w = wavelet.level[0].tile_h = 1024;
    plain.tiled = 0;
    plain.level[0].tile_w = 20000;
    assert_int_equal(work(jpeg, 256, 256, 256, 0, IIP_FMT_JPEG), IIP_WORK_SMALL);
    assert_int_equal(work(jpeg, 2048, 2048, 2048, 0, IIP_FMT_JPEG), IIP_WORK_SMALL);
    assert_int_equal(work(jpeg, 2304, 2304, 2304, 0, IIP_FMT_JPEG), IIP_WORK_LARGE);
    assert_int_equal(work(jpeg, 2048, 2048, 2048, 90, IIP_FMT_JPEG), IIP_WORK_SMALL);
    assert_int_equal(work(jpeg, 2048, 2048, 2048, 45, IIP_FMT_JPEG), IIP_WORK_LARGE);
    assert_int_equal(work(jpeg, 512, 512, 512, 45, IIP_FMT_JPEG), IIP_WORK_SMALL);
    /* dearer formats */
    assert_int_equal(work(jpeg, 800, 800, 800, 0, IIP_FMT_PNG), IIP_WORK_SMALL);
    assert_int_equal(work(jpeg, 1280, 1280, 1280, 0, IIP_FMT_PNG), IIP_WORK_FAIR);
    assert_int_equal(work(jpeg, 256, 256, 256, 0, IIP_FMT_JP2), IIP_WORK_SMALL);
    assert_int_equal(work(jpeg, 768, 768, 768, 0, IIP_FMT_JP2), IIP_WORK_FAIR);
    /* a tile is one whatever its codec; what lies across tiles is as much as they are */
    assert_int_equal(work(wavelet, 1024, 1024, 1024, 0, IIP_FMT_PNG), IIP_WORK_SMALL);
    assert_int_equal(work(wavelet, 2048, 2048, 2048, 0, IIP_FMT_JPEG), IIP_WORK_FAIR);
    /* much decoded for little */
    assert_int_equal(work(jpeg, 2560, 100, 100, 0, IIP_FMT_JPEG), IIP_WORK_SMALL);
    assert_int_equal(work(jpeg, 4000, 100, 100, 0, IIP_FMT_JPEG), IIP_WORK_FAIR);
    assert_int_equal(work(jpeg, 20000, 100, 100, 0, IIP_FMT_JPEG), IIP_WORK_LARGE);
    assert_int_equal(work(plain, 256, 256, 256, 0, IIP_FMT_JPEG), IIP_WORK_SMALL); /* one row of cells */
    assert_int_equal(work(plain, 2048, 256, 256, 0, IIP_FMT_JPEG), IIP_WORK_LARGE);
    assert_int_equal(iip_decode_work(8000000, &jpeg), IIP_WORK_SMALL);
    assert_int_equal(iip_decode_work(8000000, &wavelet), IIP_WORK_FAIR);
    assert_int_equal(iip_decode_work(INT64_MAX, &wavelet), IIP_WORK_LARGE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_estimate), cmocka_unit_test(test_work),
                                       cmocka_unit_test(test_close)};

    apr_initialize();
    apr_pool_create(&root, NULL);
    iip_settings_init(root);
    return cmocka_run_group_tests_name("cost", tests, NULL, NULL);
}
