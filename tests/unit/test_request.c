/* SPDX-License-Identifier: Apache-2.0
 * request.c, cost.c, request_line.c: what a request means for an image. Expected numbers are worked out by hand from
 * spec/iiif.md, or by plain floating point here. Long for its
 * many small cases. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <math.h>
#include <cmocka.h>
#include <apr_general.h>
#include "raster/raster.h"

static apr_pool_t *pool;
static iip_settings set;
static iip_limits lim;
static iip_error err;

enum { FLOOR, ROUND, CEIL };

/* A pyramid of tiles down to one tile; n levels at most. */
static iip_info pyramid(int64_t w, int64_t h, int64_t tile, int levels, int rounding)
{
    iip_info i = {.levels = 0, .tiled = 1, .pages = 1, .bands = 3, .bits = 8, .space = IIP_RGB, .orientation = 1};

    for (int64_t s = 1; i.levels < levels; s *= 2) {
        int64_t add = rounding == FLOOR ? 0 : rounding == ROUND ? s / 2 : s - 1;
        int64_t lw = (w + add) / s, lh = (h + add) / s;

        i.level[i.levels++] = (iip_level){lw ? lw : 1, lh ? lh : 1, tile, tile};
        if (lw <= tile && lh <= tile)
            break;
    }
    i.virtual_from = i.levels;
    return i;
}

static iip_info flat(int64_t w, int64_t h)
{
    iip_info i = pyramid(w, h, 256, 1, FLOOR);

    i.tiled = 0;
    i.level[0].tile_w = w;
    i.level[0].tile_h = 16;
    return i;
}

static void fresh(void)
{
    iip_settings raw;

    iip_settings_unset(&raw);
    iip_settings_effective(&set, &raw);
    iip_settings_limits(&lim, &set);
}

static iip_decimal number(int64_t n)
{
    return (iip_decimal){n, 0};
}

static iip_request pixels(int64_t x, int64_t y, int64_t w, int64_t h, int64_t ow, int64_t oh)
{
    iip_request rq;

    iip_request_init(&rq, &set);
    rq.format = IIP_FMT_JPEG;
    rq.region_kind = IIP_REGION_PIXELS;
    rq.region[0] = number(x);
    rq.region[1] = number(y);
    rq.region[2] = number(w);
    rq.region[3] = number(h);
    rq.size_kind = IIP_SIZE_EXACT;
    rq.size[0] = number(ow);
    rq.size[1] = number(oh);
    return rq;
}

static void assert_rect(iip_rect r, int64_t x, int64_t y, int64_t w, int64_t h)
{
    if (r.x != x || r.y != y || r.w != w || r.h != h)
        fail_msg("%ld,%ld,%ld,%ld is not %ld,%ld,%ld,%ld", (long)r.x, (long)r.y, (long)r.w, (long)r.h, (long)x, (long)y,
                 (long)w, (long)h);
}

static void test_init(void **state)
{
    iip_info i = flat(60, 40);
    iip_request rq;

    fresh();
    iip_request_init(&rq, &set);
    assert_int_equal(iip_request_resolve(&rq, &i, &lim, &err), IIP_OK);
    assert_rect(rq.src, 0, 0, 60, 40);
    assert_int_equal(rq.out_w, 60);
    assert_int_equal(rq.out_h, 40);
    assert_int_equal(rq.level, 0);
}

static void test_region(void **state)
{
    iip_info i = flat(1000, 1000), b = flat(300, 200);
    iip_request rq;

    fresh();
    rq = pixels(900, 950, 200, 200, 0, 0); /* R15 */
    assert_int_equal(iip_request_resolve(&rq, &i, &lim, &err), IIP_OK);
    assert_rect(rq.src, 900, 950, 100, 50);
    rq = pixels(125, 15, 200, 200, 0, 0);
    assert_int_equal(iip_request_resolve(&rq, &b, &lim, &err), IIP_OK);
    assert_rect(rq.src, 125, 15, 175, 185);

    iip_request_init(&rq, &set); /* R16: pct:41.6,7.5,66.6,100 */
    rq.region_kind = IIP_REGION_RATIO;
    rq.region[0] = (iip_decimal){416, 1};
    rq.region[1] = (iip_decimal){75, 1};
    rq.region[2] = (iip_decimal){666, 1};
    rq.region[3] = number(100);
    assert_int_equal(iip_request_resolve(&rq, &b, &lim, &err), IIP_OK);
    assert_rect(rq.src, 125, 15, 175, 185);

    iip_request_init(&rq, &set); /* R14 */
    rq.region_kind = IIP_REGION_SQUARE;
    assert_int_equal(iip_request_resolve(&rq, &b, &lim, &err), IIP_OK);
    assert_rect(rq.src, 50, 0, 200, 200);
    i = flat(7, 10);
    assert_int_equal(iip_request_resolve(&rq, &i, &lim, &err), IIP_OK);
    assert_rect(rq.src, 0, 1, 7, 7);
}

static void test_region_refused(void **state)
{
    static const int64_t bad[][4] = {{300, 0, 1, 1}, {0, 200, 1, 1},        {0, 0, 0, 1},
                                     {0, 0, 1, 0},   {2147483647, 0, 1, 1}, {-1, 0, 5, 5}};
    iip_info b = flat(300, 200);
    iip_request rq;

    fresh();
    for (size_t k = 0; k < sizeof bad / sizeof *bad; k++) {
        rq = pixels(bad[k][0], bad[k][1], bad[k][2], bad[k][3], 0, 0);
        assert_int_equal(iip_request_resolve(&rq, &b, &lim, &err), IIP_E_RANGE);
        assert_string_equal(err.part, "region");
    }
    for (int k = 0; k < 4; k++) {
        rq = pixels(0, 0, 50, 50, 0, 0);
        rq.region_kind = IIP_REGION_RATIO;
        rq.region[k] = number(k < 2 ? 100 : 0);
        assert_int_equal(iip_request_resolve(&rq, &b, &lim, &err), IIP_E_RANGE);
    }
}

/* R16: percentage tiles side by side leave no gap and no overlap, and edges are those of plain rounding. */
static void test_ratio_tiles(void **state)
{
    fresh();
    for (int64_t side = 1; side < 3000; side = side * 3 + 1)
        for (int parts = 1; parts <= 16; parts++) {
            iip_info i = flat(side, side);
            int64_t next = 0;

            for (int k = 0; k < parts; k++) {
                iip_request rq = pixels(0, 0, 100, 100, 0, 0);
                int64_t step = INT64_C(100000000000) / parts; /* 9 places */
                double from = (double)(k * step) * 1e-11 * (double)side;

                rq.region_kind = IIP_REGION_RATIO;
                rq.region[0] = (iip_decimal){k * step, 9};
                rq.region[2] = (iip_decimal){step, 9};
                assert_int_equal(iip_request_resolve(&rq, &i, &lim, &err), IIP_OK);
                assert_in_range(rq.src.x + rq.src.w, 1, side);
                assert_true(rq.src.w >= 1);
                if (side >= 2 * parts) {
                    if (fabs(from + 0.5 - round(from + 0.5)) > 1e-6)
                        assert_int_equal(rq.src.x, (int64_t)floor(from + 0.5));
                    assert_int_equal(rq.src.x, next);
                }
                next = rq.src.x + rq.src.w;
            }
            if (side >= 2 * parts && parts != 3 && parts < 6)
                assert_in_range(next, side - 1, side);
        }
}

static void test_ratio_extremes(void **state)
{
    iip_info i = flat(IIP_MAX_SIDE, 3);
    iip_request rq;

    fresh();
    lim = (iip_limits){0};
    rq = pixels(0, 0, 100, 100, 10, 1);
    rq.region_kind = IIP_REGION_RATIO;
    rq.region[0] = (iip_decimal){INT64_C(999999999999999999), 16}; /* 99.99...: the last pixel */
    rq.region[1] = (iip_decimal){1, 18};
    rq.region[2] = (iip_decimal){1, 18};
    rq.region[3] = number(INT64_C(1000000000000000000));
    rq.size_kind = IIP_SIZE_FULL;
    assert_int_equal(iip_request_resolve(&rq, &i, &lim, &err), IIP_OK);
    assert_rect(rq.src, IIP_MAX_SIDE - 1, 0, 1, 3);
}

static void test_rounding(void **state) /* R17 */
{
    iip_info i = flat(999, 777);
    iip_request rq;

    fresh();
    rq = pixels(0, 0, 999, 777, 0, 100);
    assert_int_equal(iip_request_resolve(&rq, &i, &lim, &err), IIP_OK);
    assert_int_equal(rq.out_w, 129);
    rq = pixels(0, 0, 1000, 1, 100, 0); /* a sliver: never 0 */
    i = flat(1000, 1000);
    assert_int_equal(iip_request_resolve(&rq, &i, &lim, &err), IIP_OK);
    assert_int_equal(rq.out_h, 1);
    for (int64_t w = 1; w <= 1000; w += 7)
        for (int64_t h = 1; h <= 1000; h += 13) {
            int64_t ask = (w + 1) / 2;

            rq = pixels(0, 0, w, h, ask, 0);
            assert_int_equal(iip_request_resolve(&rq, &i, &lim, &err), IIP_OK);
            /* w * h is small: the quotient is exact to within 1e-10, a true half is exact */
            assert_int_equal(rq.out_h, fmax(1, floor((double)(ask * h) / (double)w + 0.5)));
        }
}

static void test_fit(void **state) /* R18, R19 */
{
    iip_info i = flat(2000, 2000);

    fresh();
    for (int64_t w = 1; w < 2000; w = w * 2 + 1)
        for (int64_t h = 1; h < 2000; h = h * 3 + 2)
            for (int64_t box = 1; box < 3000; box = box * 2 + 3) {
                iip_request rq = pixels(0, 0, w, h, box, 100);
                double f = fmin((double)box / (double)w, 100.0 / (double)h);

                rq.size_kind = IIP_SIZE_FIT;
                rq.grow = IIP_GROW_CLAMP;
                assert_int_equal(iip_request_resolve(&rq, &i, &lim, &err), IIP_OK);
                assert_in_range(rq.out_w, 1, box < w ? box : w);
                assert_in_range(rq.out_h, 1, h < 100 ? h : 100);
                f = fmin(f, 1);
                assert_true(fabs((double)rq.out_w - fmax(1, (double)w * f)) <= 0.5 + 1e-9);
                assert_true(fabs((double)rq.out_h - fmax(1, (double)h * f)) <= 0.5 + 1e-9);
            }
}

static void check_limit(int64_t w, int64_t h, int grow, int64_t ow, int64_t oh)
{
    int64_t a, b;

    iip_size_limit(w, h, &lim, grow, &a, &b);
    if (a != ow || b != oh)
        fail_msg("%ldx%ld under the limits is %ldx%ld, not %ldx%ld", (long)w, (long)h, (long)a, (long)b, (long)ow,
                 (long)oh);
}

static void test_size_limit(void **state) /* R20 */
{
    lim = (iip_limits){.max_area = 4000000};
    check_limit(6000, 4000, 0, 2449, 1632);
    check_limit(2000, 2000, 0, 2000, 2000);
    check_limit(100, 100, 1, 2000, 2000);
    lim = (iip_limits){.max_width = 200, .max_height = 200};
    check_limit(300, 200, 0, 200, 133);
    check_limit(200, 300, 0, 133, 200);
    check_limit(100, 50, 0, 100, 50);
    check_limit(100, 50, 1, 200, 100);
    check_limit(10000, 1, 0, 200, 1);
    lim = (iip_limits){.max_width = 360, .max_height = 360, .upscale = 1};
    check_limit(300, 200, 1, 360, 240);
    lim = (iip_limits){.max_width = 5000, .max_height = 100, .max_area = 1000000};
    check_limit(6000, 4000, 0, 150, 100);
    lim = (iip_limits){0};
    check_limit(70000, 70000, 0, 70000, 70000);
    check_limit(70000, 70000, 1, 70000, 70000);
    lim = (iip_limits){.max_area = 100};
    check_limit(1000000, 1, 0, 100, 1);
    check_limit(1, 1000000, 0, 1, 100);

    for (int k = 0; k < 20000; k++) { /* inside all three, as large as they let, never 0 */
        int64_t w = 1 + rand() % (k % 2 ? 100 : 2000000), h = 1 + rand() % (k % 3 ? 3000 : 2000000), a, b;

        lim = (iip_limits){.max_width = rand() % 3 ? 1 + rand() % 5000 : 0,
                           .max_height = rand() % 3 ? 1 + rand() % 5000 : 0,
                           .max_area = rand() % 3 ? 1 + rand() % 9000000 : 0};
        iip_size_limit(w, h, &lim, k & 1, &a, &b);
        assert_true(a >= 1 && b >= 1);
        assert_true(!lim.max_width || a <= lim.max_width);
        assert_true(!lim.max_height || b <= lim.max_height);
        assert_true(!lim.max_area || a * b <= lim.max_area);
        if (!(k & 1))
            assert_true(a <= w && b <= h);
        if (lim.max_width || lim.max_height || lim.max_area) {
            double f = k & 1 ? 1e18 : 1;

            f = fmin(f, lim.max_width ? (double)lim.max_width / (double)w : 1e18);
            f = fmin(f, lim.max_height ? (double)lim.max_height / (double)h : 1e18);
            f = fmin(f, lim.max_area ? sqrt((double)lim.max_area / ((double)w * (double)h)) : 1e18);
            if ((double)w * f >= 1 && (double)h * f >= 1 && fmax((double)w, (double)h) * f < 2e9)
                if (fabs((double)a - (double)w * f) > 1.001 || fabs((double)b - (double)h * f) > 1.001)
                    fail_msg("%ldx%ld under %ldx%ld, %ld is %ldx%ld, not about %.2fx%.2f", (long)w, (long)h,
                             (long)lim.max_width, (long)lim.max_height, (long)lim.max_area, (long)a, (long)b,
                             (double)w * f, (double)h * f);
        }
    }
}

static void test_limits(void **state) /* R20, R23, R26 */
{
    iip_info i = pyramid(6000, 4000, 256, 8, FLOOR);
    iip_request rq;

    fresh();
    rq = pixels(0, 0, 6000, 4000, 5001, 0);
    assert_int_equal(iip_request_resolve(&rq, &i, &lim, &err), IIP_E_LIMIT);
    assert_string_equal(err.part, "size");
    rq = pixels(0, 0, 6000, 4000, 0, 0); /* FULL, to be brought under */
    rq.size_kind = IIP_SIZE_FULL;
    assert_int_equal(iip_request_resolve(&rq, &i, &lim, &err), IIP_E_LIMIT);
    rq.over = IIP_OVER_FIT;
    assert_int_equal(iip_request_resolve(&rq, &i, &lim, &err), IIP_OK);
    assert_int_equal(rq.out_w, 5000);
    assert_int_equal(rq.out_h, 3333);

    rq = pixels(0, 0, 100, 100, 101, 100); /* growing */
    assert_int_equal(iip_request_resolve(&rq, &i, &lim, &err), IIP_E_RANGE);
    rq.grow = IIP_GROW_ASK;
    assert_int_equal(iip_request_resolve(&rq, &i, &lim, &err), IIP_OK);
    lim.upscale = 0;
    assert_int_equal(iip_request_resolve(&rq, &i, &lim, &err), IIP_E_FEATURE);
    lim.upscale = 1;
    lim.max_width = lim.max_height = lim.max_area = 0; /* unbounded: upscaling counts as off */
    assert_int_equal(iip_request_resolve(&rq, &i, &lim, &err), IIP_E_FEATURE);
    rq.size_kind = IIP_SIZE_FIT;
    rq.over = IIP_OVER_FIT;
    assert_int_equal(iip_request_resolve(&rq, &i, &lim, &err), IIP_OK); /* 100x100 fits without growing */

    fresh(); /* the turned canvas: 5000 x 1000 at 45 degrees is 4243 x 4243 */
    i = pyramid(5000, 1000, 256, 8, FLOOR);
    lim.max_area = 5000000;
    rq = pixels(0, 0, 5000, 1000, 5000, 1000);
    rq.rotate = 90;
    assert_int_equal(iip_request_resolve(&rq, &i, &lim, &err), IIP_OK);
    rq.rotate = 45;
    assert_int_equal(iip_request_resolve(&rq, &i, &lim, &err), IIP_E_LIMIT);
    assert_string_equal(err.part, "rotation");
    rq = pixels(0, 0, 5000, 1000, 3500, 700); /* 2970 x 2970 */
    rq.rotate = 45;
    assert_int_equal(iip_request_resolve(&rq, &i, &lim, &err), IIP_OK);
    rq.rotate = NAN;
    assert_int_equal(iip_request_resolve(&rq, &i, &lim, &err), IIP_E_RANGE);
    rq.rotate = 360;
    assert_int_equal(iip_request_resolve(&rq, &i, &lim, &err), IIP_E_RANGE);
}

static void test_format_limit(void **state) /* security 4: JPEG's own side */
{
    int64_t side = iip_encoder_find(IIP_FMT_JPEG)->max_side;
    iip_info i = flat(side + 1000, 10);
    iip_request rq;

    fresh();
    lim.max_width = lim.max_height = lim.max_area = 0;
    rq = pixels(0, 0, side + 1000, 10, side + 1, 10);
    assert_int_equal(iip_request_resolve(&rq, &i, &lim, &err), IIP_E_LIMIT);
    rq.format = IIP_FMT_PNG;
    assert_int_equal(iip_request_resolve(&rq, &i, &lim, &err), IIP_OK);
    rq = pixels(0, 0, side + 1000, 10, 0, 0);
    rq.size_kind = IIP_SIZE_MAX;
    rq.over = IIP_OVER_FIT;
    assert_int_equal(iip_request_resolve(&rq, &i, &lim, &err), IIP_OK);
    assert_int_equal(rq.out_w, side);
    assert_int_equal(rq.out_h, 10);
}

static void test_cost(void **state)
{
    iip_info i = flat(30000, 30000);
    iip_request rq;

    fresh();
    rq = pixels(0, 0, 30000, 30000, 100, 100); /* 900 Mpx of source for a thumbnail */
    assert_int_equal(iip_request_resolve(&rq, &i, &lim, &err), IIP_E_LIMIT);
    assert_string_equal(err.part, "size");
    i = pyramid(30000, 30000, 256, 12, FLOOR);
    assert_int_equal(iip_request_resolve(&rq, &i, &lim, &err), IIP_OK);
    assert_true(iip_request_pixels(&rq, &i) <= 256 * 256);

    rq = pixels(250, 250, 20, 20, 20, 20); /* four cells */
    assert_int_equal(iip_request_resolve(&rq, &i, &lim, &err), IIP_OK);
    assert_int_equal(iip_request_pixels(&rq, &i), 4 * 256 * 256);
    rq = pixels(256, 256, 256, 256, 256, 256);
    assert_int_equal(iip_request_resolve(&rq, &i, &lim, &err), IIP_OK);
    assert_int_equal(iip_request_pixels(&rq, &i), 256 * 256);
    i = flat(1000, 1000);
    rq = pixels(500, 15, 10, 2, 10, 2); /* two strips, whole */
    assert_int_equal(iip_request_resolve(&rq, &i, &lim, &err), IIP_OK);
    assert_int_equal(iip_request_pixels(&rq, &i), 1000 * 32);

    i = pyramid(5000, 5000, 256, 8, FLOOR); /* 5000x5000 turned holds the picture: 75 MB and little more */
    rq = pixels(0, 0, 5000, 5000, 5000, 5000);
    assert_int_equal(iip_request_resolve(&rq, &i, &lim, &err), IIP_OK);
    assert_in_range(iip_request_memory(&rq, &i), 5000 * 256 * 3, 16000000);
    rq.rotate = 90;
    assert_int_equal(iip_request_resolve(&rq, &i, &lim, &err), IIP_OK);
    assert_in_range(iip_request_memory(&rq, &i), 75000000, 95000000);
    lim.memory = 70000000;
    assert_int_equal(iip_request_resolve(&rq, &i, &lim, &err), IIP_E_LIMIT);
    rq.rotate = 0;
    assert_int_equal(iip_request_resolve(&rq, &i, &lim, &err), IIP_OK);
    i.hold = 65000000; /* a progressive source's coefficients */
    assert_int_equal(iip_request_resolve(&rq, &i, &lim, &err), IIP_E_LIMIT);
    i.hold = SIZE_MAX;
    assert_int_equal(iip_request_resolve(&rq, &i, &lim, &err), IIP_E_LIMIT);
}

static void test_streams(void **state)
{
    iip_info i = pyramid(5000, 5000, 256, 8, FLOOR);
    iip_request rq;

    fresh();
    rq = pixels(0, 0, 5000, 5000, 2000, 2000);
    assert_int_equal(iip_request_resolve(&rq, &i, &lim, &err), IIP_OK);
    assert_false(iip_request_streams(&rq));
    rq = pixels(0, 0, 5000, 5000, 2001, 2000);
    assert_int_equal(iip_request_resolve(&rq, &i, &lim, &err), IIP_OK);
    assert_true(iip_request_streams(&rq));
    rq = pixels(0, 0, 5000, 5000, 1500, 1500); /* turned: 2122 x 2122 */
    rq.rotate = 45;
    assert_int_equal(iip_request_resolve(&rq, &i, &lim, &err), IIP_OK);
    assert_true(iip_request_streams(&rq));
    rq = pixels(0, 0, 5000, 5000, 2001, 2000);
    rq.format = IIP_FMT_WEBP; /* not built here: nothing to stream */
    if (!iip_encoder_find(IIP_FMT_WEBP))
        assert_false(iip_request_streams(&rq));
}

static int level_of(const iip_info *i, int64_t x, int64_t y, int64_t w, int64_t h, int64_t ow, int64_t oh)
{
    iip_request rq = pixels(x, y, w, h, ow, oh);

    assert_int_equal(iip_request_resolve(&rq, i, &lim, &err), IIP_OK);
    return rq.level;
}

static void test_level(void **state)
{
    iip_info i = pyramid(3073, 3073, 512, 8, FLOOR), c = pyramid(3073, 3073, 512, 8, CEIL);

    fresh();
    assert_int_equal(i.levels, 4); /* 3073 1536 768 384 */
    assert_int_equal(level_of(&i, 0, 0, 3073, 3073, 3073, 3073), 0);
    assert_int_equal(level_of(&i, 0, 0, 3073, 3073, 1538, 1538), 0);
    assert_int_equal(level_of(&i, 0, 0, 3073, 3073, 1537, 1537), 1); /* ceil of a floored level (R35) */
    assert_int_equal(level_of(&i, 0, 0, 3073, 3073, 1536, 1536), 1);
    assert_int_equal(level_of(&i, 0, 0, 3073, 3073, 769, 769), 2);
    assert_int_equal(level_of(&i, 0, 0, 3073, 3073, 770, 770), 1);
    assert_int_equal(level_of(&i, 0, 0, 3073, 3073, 100, 100), 3);
    assert_int_equal(level_of(&i, 0, 0, 3073, 3073, 100, 700), 2); /* both axes must have it */
    assert_int_equal(level_of(&i, 0, 0, 3073, 3073, 3000, 1), 0);
    assert_int_equal(level_of(&i, 1, 1, 1024, 1024, 513, 513), 0); /* no tile: never enlarged */
    assert_int_equal(level_of(&i, 0, 0, 1024, 1024, 513, 513), 0);
    assert_int_equal(level_of(&i, 2048, 0, 1025, 2048, 257, 512), 2); /* vector 23 */
    assert_int_equal(level_of(&c, 2048, 0, 1025, 2048, 257, 512), 2);
    assert_int_equal(level_of(&i, 3072, 0, 1, 1024, 1, 512), 1); /* vector 24 */
    assert_int_equal(level_of(&c, 3072, 0, 1, 1024, 1, 512), 1);
    assert_int_equal(level_of(&i, 2048, 0, 1025, 2048, 257, 514), 2); /* 2.x `257,` */
    assert_int_equal(level_of(&i, 3072, 3072, 1, 1, 1, 1), 0);        /* one pixel is that pixel */
    assert_int_equal(level_of(&i, 0, 0, 1, 1, 1, 1), 0);
    assert_int_equal(level_of(&i, 0, 0, 2, 2, 2, 2), 0);
    assert_int_equal(level_of(&i, 0, 0, 2, 2, 1, 1), 1);
    assert_int_equal(level_of(&c, 0, 0, 2, 2, 1, 1), 1);
}

/* Every tile of the announced grid, asked with each of the three roundings, is copied from its own level (R35). */
static void check_grid(int64_t w, int64_t h, int64_t tile, int rounding)
{
    iip_info i = pyramid(w, h, tile, 12, rounding);

    for (int l = 0; l < i.levels; l++) {
        int64_t s = INT64_C(1) << l, step = tile * s;

        for (int64_t y = 0; y < h; y += step)
            for (int64_t x = 0; x < w; x += step)
                for (int k = FLOOR; k <= CEIL; k++) {
                    int64_t rw = w - x < step ? w - x : step, rh = h - y < step ? h - y : step;
                    int64_t add = k == FLOOR ? 0 : k == ROUND ? s / 2 : s - 1;
                    int64_t ow = (rw + add) / s, oh = (rh + add) / s, tx = -1, ty = -1, lw = i.level[l].w,
                            lh = i.level[l].h;
                    iip_request rq = pixels(x, y, rw, rh, ow ? ow : 1, oh ? oh : 1);
                    iip_window win;
                    int is;

                    assert_int_equal(iip_request_resolve(&rq, &i, &lim, &err), IIP_OK);
                    iip_request_window(&rq, &i, &win);
                    if (rq.out_w == 1 && rq.out_h == 1)
                        continue;
                    if (rq.level < l)
                        fail_msg("%ldx%ld %d: tile %ld,%ld,%ld,%ld/%ld,%ld comes from level %d, not %d", (long)w,
                                 (long)h, rounding, (long)x, (long)y, (long)rw, (long)rh, (long)rq.out_w,
                                 (long)rq.out_h, rq.level, l);
                    assert_true(win.exact);
                    if (rq.level > l)
                        continue; /* a short edge, floored, is the ceiling of the next scale */
                    assert_true(win.x == (double)(x / s) && win.y == (double)(y / s));
                    assert_true(win.w == (double)rq.out_w && win.h == (double)rq.out_h);
                    assert_true(win.x <= (double)lw && win.y <= (double)lh);
                    assert_true(win.x + win.w <= (double)lw + 1 && win.y + win.h <= (double)lh + 1);
                    is = iip_request_tile(&rq, &i, &tx, &ty);
                    assert_int_equal(is, rq.out_w == (x / s + tile <= lw ? tile : lw - x / s) &&
                                             rq.out_h == (y / s + tile <= lh ? tile : lh - y / s));
                    if (is) {
                        assert_int_equal(tx, x / step);
                        assert_int_equal(ty, y / step);
                    }
                }
    }
}

static void test_grids(void **state)
{
    static const int64_t sides[] = {1, 255, 256, 257, 511, 513, 1000, 1023, 1025, 2047, 2049, 3073, 3077};

    fresh();
    for (size_t a = 0; a < sizeof sides / sizeof *sides; a++)
        for (size_t b = 0; b < sizeof sides / sizeof *sides; b++)
            for (int rounding = FLOOR; rounding <= CEIL; rounding++)
                check_grid(sides[a], sides[b], 256, rounding);
    for (int k = 0; k < 60; k++)
        check_grid(1 + rand() % 9000, 1 + rand() % 9000, 512, k % 3);
}

static void test_window(void **state)
{
    iip_info i = pyramid(1000, 800, 256, 3, FLOOR);
    iip_request rq = pixels(100, 100, 500, 400, 240, 192);
    iip_window win;
    int64_t tx, ty;

    fresh();
    assert_int_equal(iip_request_resolve(&rq, &i, &lim, &err), IIP_OK);
    assert_int_equal(rq.level, 1);
    iip_request_window(&rq, &i, &win);
    assert_true(win.x == 50 && win.y == 50 && win.w == 250 && win.h == 200 && !win.exact);
    rq = pixels(101, 100, 500, 400, 250, 200); /* half pixels */
    assert_int_equal(iip_request_resolve(&rq, &i, &lim, &err), IIP_OK);
    iip_request_window(&rq, &i, &win);
    assert_true(win.x == 50.5 && win.w == 250 && !win.exact);
    rq = pixels(2, 4, 500, 400, 250, 200); /* on the grid, though no tile */
    assert_int_equal(iip_request_resolve(&rq, &i, &lim, &err), IIP_OK);
    iip_request_window(&rq, &i, &win);
    assert_true(win.x == 1 && win.y == 2 && win.w == 250 && win.h == 200 && win.exact);
    assert_false(iip_request_tile(&rq, &i, &tx, &ty));

    i.level[1] = (iip_level){300, 240, 256, 256}; /* a ratio that is no power of two: whole only where it divides */
    i.levels = i.virtual_from = 2;
    rq = pixels(0, 0, 1000, 800, 300, 240);
    assert_int_equal(iip_request_resolve(&rq, &i, &lim, &err), IIP_OK);
    assert_int_equal(rq.level, 1);
    iip_request_window(&rq, &i, &win);
    assert_true(win.x == 0 && win.w == 300 && win.h == 240 && win.exact);
    rq = pixels(333, 0, 600, 800, 100, 100);
    assert_int_equal(iip_request_resolve(&rq, &i, &lim, &err), IIP_OK);
    iip_request_window(&rq, &i, &win);
    assert_true(fabs(win.x - 99.9) < 1e-9 && fabs(win.w - 180) < 1e-9 && !win.exact);
}

static void test_tile(void **state)
{
    iip_info i = pyramid(1024, 1024, 256, 3, FLOOR);
    iip_request rq, ok;
    int64_t tx, ty;

    fresh();
    ok = pixels(512, 0, 512, 512, 256, 256);
    assert_int_equal(iip_request_resolve(&ok, &i, &lim, &err), IIP_OK);
    assert_true(iip_request_tile(&ok, &i, &tx, &ty));
    assert_int_equal(ok.level, 1);
    assert_int_equal(tx, 1);
    assert_int_equal(ty, 0);
    rq = ok, rq.flip = 1;
    assert_false(iip_request_tile(&rq, &i, &tx, &ty));
    rq = ok, rq.rotate = 90;
    assert_false(iip_request_tile(&rq, &i, &tx, &ty));
    rq = ok, rq.op_count = 1, rq.op[0].kind = IIP_OP_GRAY;
    assert_false(iip_request_tile(&rq, &i, &tx, &ty));
    rq = ok, rq.quality = 10;
    assert_false(iip_request_tile(&rq, &i, &tx, &ty));
    i.orientation = 2;
    assert_false(iip_request_tile(&ok, &i, &tx, &ty));
    i.orientation = 1;
    i.virtual_from = 1;
    assert_false(iip_request_tile(&ok, &i, &tx, &ty));
    i.virtual_from = 3;
    i.tiled = 0;
    assert_false(iip_request_tile(&ok, &i, &tx, &ty));
}

static void test_numbered_tile(void **state)
{
    iip_info i = pyramid(3073, 2000, 256, 8, FLOOR);
    iip_request rq;

    fresh();
    for (int l = 0; l < i.levels; l++)
        for (int64_t y = 0; y <= i.level[l].h / 256; y++)
            for (int64_t x = 0; x <= i.level[l].w / 256; x++) {
                int64_t left = i.level[l].w - x * 256, below = i.level[l].h - y * 256;
                iip_window win;

                iip_request_init(&rq, &set);
                rq.format = IIP_FMT_JPEG;
                rq.region_kind = IIP_REGION_TILE;
                rq.grid = (iip_pair){i.level[l].w, i.level[l].h};
                rq.region[0] = number(x * 256);
                rq.region[1] = number(y * 256);
                rq.region[2] = number(left < 256 ? left : 256);
                rq.region[3] = number(below < 256 ? below : 256);
                if (left <= 0 || below <= 0) {
                    assert_int_equal(iip_request_resolve(&rq, &i, &lim, &err), IIP_E_NOT_FOUND);
                    continue;
                }
                assert_int_equal(iip_request_resolve(&rq, &i, &lim, &err), IIP_OK);
                assert_int_equal(rq.out_w, left < 256 ? left : 256);
                assert_int_equal(rq.out_h, below < 256 ? below : 256);
                assert_int_equal(rq.level, l);
                iip_request_window(&rq, &i, &win);
                assert_true(win.exact && win.x == (double)x * 256 && win.y == (double)y * 256);
            }
    rq.region_kind = IIP_REGION_TILE;
    rq.grid = (iip_pair){3074, 2000}; /* larger than the picture */
    assert_int_equal(iip_request_resolve(&rq, &i, &lim, &err), IIP_E_NOT_FOUND);
    rq.grid = (iip_pair){0, 0};
    assert_int_equal(iip_request_resolve(&rq, &i, &lim, &err), IIP_E_NOT_FOUND);
    rq.grid = (iip_pair){3073, 2000};
    rq.region[1] = number(INT64_C(1000000000000000000));
    assert_int_equal(iip_request_resolve(&rq, &i, &lim, &err), IIP_E_NOT_FOUND);
}

static void test_line(void **state)
{
    iip_info i = pyramid(1000, 800, 256, 3, FLOOR), grey = i;
    iip_request a, b;
    char x[IIP_LINE_MAX], y[IIP_LINE_MAX];
    size_t n;

    fresh();
    a = pixels(0, 0, 1000, 800, 500, 400); /* R34: all spellings are one */
    iip_request_init(&b, &set);
    b.format = IIP_FMT_JPEG;
    b.size_kind = IIP_SIZE_PERCENT;
    b.size[0] = number(50);
    b.download = 1;
    b.angle_h = 0; /* what they choose is another file or page */
    b.angle_v = 90;
    assert_int_equal(iip_request_resolve(&a, &i, &lim, &err), IIP_OK);
    assert_int_equal(iip_request_resolve(&b, &i, &lim, &err), IIP_OK);
    n = iip_request_line(&a, x, sizeof x);
    assert_true(n > 0 && n < sizeof x);
    assert_int_equal(iip_request_line(&b, y, sizeof y), n);
    assert_memory_equal(x, y, n);

    for (size_t room = 0; room <= n; room++) /* too small by any number */
        assert_int_equal(iip_request_line(&a, y, room), 0);

#define DIFFERS(change)                                                                                                \
    b = a, change;                                                                                                     \
    assert_true(iip_request_line(&b, y, sizeof y) != n || memcmp(x, y, n) != 0)
    DIFFERS(b.page = 2);
    DIFFERS(b.src.x = 1);
    DIFFERS(b.src.y = 1);
    DIFFERS(b.src.w = 999);
    DIFFERS(b.src.h = 799);
    DIFFERS(b.out_w = 499);
    DIFFERS(b.out_h = 399);
    DIFFERS(b.flip = 1);
    DIFFERS(b.rotate = 0.000000000001);
    DIFFERS((b.op_count = 1, b.op[0].kind = IIP_OP_GRAY));
    DIFFERS((b.op_count = 1, b.op[0].kind = IIP_OP_BITONAL));
    DIFFERS((b.op_count = 1, b.op[0].argc = 1, b.op[0].arg = (const float[]){1}));
    DIFFERS(b.format = IIP_FMT_PNG);
    DIFFERS(b.quality = 10);
    DIFFERS(b.layers = 1);
    iip_settings other = set; /* K settings */
    DIFFERS((other.background = 0, b.set = &other));

    grey.space = IIP_GREY; /* gray of a gray source is itself */
    grey.bands = 1;
    b = pixels(0, 0, 1000, 800, 500, 400);
    b.op_count = 1;
    b.op[0].kind = IIP_OP_GRAY;
    assert_int_equal(iip_request_resolve(&b, &grey, &lim, &err), IIP_OK);
    assert_int_equal(b.op_count, 0);
}

static void test_line_room(void **state) /* IIP_LINE_MAX is room for every request */
{
    iip_request rq;
    float arg[25] = {0};
    char x[IIP_LINE_MAX];

    fresh();
    iip_request_init(&rq, &set);
    rq.page = rq.angle_h = rq.angle_v = rq.quality = rq.layers = INT32_MAX;
    rq.src = (iip_rect){IIP_MAX_SIDE, IIP_MAX_SIDE, IIP_MAX_SIDE, IIP_MAX_SIDE};
    rq.out_w = rq.out_h = IIP_MAX_SIDE;
    rq.rotate = 359.123456789012;
    for (rq.op_count = 0; rq.op_count < IIP_MAX_OPS; rq.op_count++)
        rq.op[rq.op_count] = (iip_op){.kind = 9, .argc = rq.op_count < 4 ? 25 : 3, .arg = arg};
    assert_true(iip_request_line(&rq, x, sizeof x) > 0);
}

static void test_rotation_text(void **state)
{
    static const struct {
        double degrees;
        const char *text;
    } rows[] = {{0, "0"},
                {90, "90"},
                {22.5, "22.5"},
                {0.5, "0.5"},
                {270, "270"},
                {345.25, "345.25"},
                {0.1, "0.1"},
                {33.333333333333, "33.333333333333"},
                {100, "100"},
                {359.999999999999, "359.999999999999"},
                {0.000000000001, "0.000000000001"}};
    char text[IIP_ROTATION_MAX];

    for (size_t k = 0; k < sizeof rows / sizeof *rows; k++) {
        iip_rotation_text(rows[k].degrees, text);
        assert_string_equal(text, rows[k].text);
    }
}

/* IIPMaxLayers: what is asked, cut to what there is and to what is allowed; all are 0. */
static void test_layers(void **state)
{
    static const struct {
        const char *most;
        int has, asked, is;
    } rows[] = {{"all", 5, -1, 0}, {"all", 5, 0, 0},  {"all", 5, 3, 3},   {"all", 5, 5, 0},
                {"all", 5, 9, 0},  {"all", 1, 1, 0},  {"all", 0, -1, 0},  {"half", 5, -1, 3},
                {"half", 6, 9, 3}, {"half", 5, 2, 2}, {"half", 1, -1, 0}, {"half", 2, -1, 1},
                {"2", 5, -1, 2},   {"2", 5, 1, 1},    {"2", 2, -1, 0},    {"7", 5, -1, 0}};
    const iip_directive *d = iip_directives;

    while (strcmp(d->name, "IIPMaxLayers") != 0)
        d++;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        iip_info info = pyramid(1000, 800, 256, 9, CEIL);
        iip_request rq;
        iip_settings raw;

        iip_settings_unset(&raw);
        assert_null(iip_setting_set(&raw, d, 1, &rows[i].most, 0, pool));
        iip_settings_effective(&set, &raw);
        rq = pixels(0, 0, 1000, 800, 500, 400);
        rq.layers = rows[i].asked;
        info.layers = rows[i].has;
        assert_int_equal(iip_request_resolve(&rq, &info, &lim, &err), IIP_OK);
        if (rq.layers != rows[i].is)
            fail_msg("%s of %d, %d asked: %d", rows[i].most, rows[i].has, rows[i].asked, rq.layers);
    }
    fresh();
}

static void test_quality(void **state)
{
    iip_info i = flat(100, 100);
    iip_request rq;

    fresh();
    rq = pixels(0, 0, 10, 10, 10, 10);
    assert_int_equal(iip_request_resolve(&rq, &i, &lim, &err), IIP_OK);
    assert_int_equal(rq.quality, 75);
    set.quality.of[IIP_FMT_JPEG] = 60;
    rq = pixels(0, 0, 10, 10, 10, 10);
    assert_int_equal(iip_request_resolve(&rq, &i, &lim, &err), IIP_OK);
    assert_int_equal(rq.quality, 60);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_init),
                                       cmocka_unit_test(test_region),
                                       cmocka_unit_test(test_region_refused),
                                       cmocka_unit_test(test_ratio_tiles),
                                       cmocka_unit_test(test_ratio_extremes),
                                       cmocka_unit_test(test_rounding),
                                       cmocka_unit_test(test_fit),
                                       cmocka_unit_test(test_size_limit),
                                       cmocka_unit_test(test_limits),
                                       cmocka_unit_test(test_format_limit),
                                       cmocka_unit_test(test_cost),
                                       cmocka_unit_test(test_streams),
                                       cmocka_unit_test(test_level),
                                       cmocka_unit_test(test_grids),
                                       cmocka_unit_test(test_window),
                                       cmocka_unit_test(test_tile),
                                       cmocka_unit_test(test_numbered_tile),
                                       cmocka_unit_test(test_line),
                                       cmocka_unit_test(test_line_room),
                                       cmocka_unit_test(test_rotation_text),
                                       cmocka_unit_test(test_layers),
                                       cmocka_unit_test(test_quality)};

    apr_initialize();
    apr_pool_create(&pool, NULL);
    iip_settings_init(pool);
    return cmocka_run_group_tests_name("request", tests, NULL, NULL);
}
