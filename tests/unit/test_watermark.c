/* SPDX-License-Identifier: Apache-2.0
 * raster/watermark.c: what is added, where, how often, and that nothing else changes. */
#include "strips.h"

enum { W = 700, H = 400 };

static unsigned char mark_px[20 * 12 * 4];
static iip_raster mark = {.w = 20, .h = 12, .bands = 4, .stride = 80, .px = mark_px};

static picture stamped(const picture *in, const iip_stamp *stamp, int alpha, int64_t rows)
{
    picture got;
    iip_stage_t *s;
    room r;

    room_open(&r, 1 << 24);
    s = iip_stage_watermark(&rows_of(in, 3, r.pool)->base, stamp, alpha, &r.budget, r.pool, &r.err);
    assert_non_null(s);
    assert_int_equal(drain(s, rows, &got, &r.err), IIP_OK);
    room_close(&r);
    return got;
}

static double added(int64_t x, int64_t y, int band, double opacity, int grey)
{
    const unsigned char *m = mark_px + y * 80 + x * 4;

    return (grey ? (1254097 * m[0] + 2462056 * m[1] + 478151 * m[2]) >> 22 : m[band]) * (m[3] / 255.) * opacity;
}

/* In each block the mark lies somewhere as a whole, once, and nothing else is changed. */
static void test_add(void **state)
{
    unsigned seed = 5;
    int places = 0;

    for (size_t i = 0; i < sizeof mark_px; i++)
        mark_px[i] = (unsigned char)rnd(&seed);
    for (size_t i = 0; i < 20 * 12; i++) /* alpha: none of it is too weak to be seen */
        mark_px[4 * i + 3] |= 128, mark_px[4 * i] |= 128;
    for (int i = 0; i < 24; i++) {
        const int bands = 1 + i % 4, alpha = bands % 2 == 0, colours = bands - alpha;
        const double opacity = i % 3 ? 1 : 0.4;
        iip_stamp stamp = {&mark, opacity, 1, i % 5 ? 256 : 64, i % 5 ? 128 : 64, rnd(&seed)};
        picture in = picture_random(W, H, bands, IIP_U8, &seed), got, again;
        int64_t first = -1;

        got = stamped(&in, &stamp, alpha, 64);
        again = stamped(&in, &stamp, alpha, 1);
        same(&got, &again);
        for (int64_t top = 0; top < H; top += stamp.block_h)
            for (int64_t left = 0; left < W; left += stamp.block_w) {
                const int64_t w = W - left < stamp.block_w ? W - left : stamp.block_w;
                const int64_t h = H - top < stamp.block_h ? H - top : stamp.block_h;
                int64_t x0 = -1, y0 = -1, fits = 0;

                for (int64_t y = 0; y <= h - 12 || y == 0; y++)
                    for (int64_t x = 0; x <= w - 20 || x == 0; x++) {
                        int good = 1;

                        for (int64_t v = 0; good && v < 12 && y + v < h; v++)
                            for (int64_t u = 0; good && u < 20 && x + u < w; u++)
                                for (int c = 0; good && c < colours; c++) {
                                    const double was = *at(&in, left + x + u, top + y + v, c);
                                    const double want = fmin(255, was + added(u, v, c, opacity, colours == 1));

                                    good = fabs(*at(&got, left + x + u, top + y + v, c) - want) <= 1;
                                }
                        if (good) {
                            fits++;
                            x0 = x;
                            y0 = y;
                        }
                    }
                assert_int_equal(fits, 1);
                places += first >= 0 && first != y0 * 1000 + x0;
                first = y0 * 1000 + x0;
                for (int64_t y = 0; y < h; y++)
                    for (int64_t x = 0; x < w; x++)
                        for (int c = 0; c < bands; c++)
                            if (c == colours || x < x0 || y < y0 || x >= x0 + 20 || y >= y0 + 12)
                                assert_true(*at(&got, left + x, top + y, c) == *at(&in, left + x, top + y, c));
            }
        free(in.v);
        free(got.v);
        free(again.v);
    }
    assert_true(places > 100); /* not always the same one */
}

/* Of many answers as many are marked as the probability says; opacity 0 adds nothing. */
static void test_chance(void **state)
{
    static const double chances[] = {0, 0.25, 0.9, 1};
    picture in = picture_new(64, 64, 1, IIP_U8);

    memset(mark_px, 255, sizeof mark_px);
    for (int k = 0; k < 4; k++) {
        int marked = 0;

        for (int i = 0; i < 1000; i++) {
            iip_stamp stamp = {&mark, k == 3 && i % 2 ? 0 : 1, chances[k], 512, 512, (uint64_t)i << 32};
            picture got = stamped(&in, &stamp, 0, 64);

            for (int j = 0; j < 64 * 64; j++)
                if (got.v[j] != 0) {
                    marked++;
                    break;
                }
            free(got.v);
        }
        if (k == 3)
            assert_int_equal(marked, 500);
        else
            assert_true(fabs(marked - 1000 * chances[k]) <= (k ? 60 : 0));
    }
    free(in.v);
}

/* A mark larger than the answer shows its upper left part. */
static void test_small(void **state)
{
    iip_stamp stamp = {&mark, 1, 1, 512, 512, 7};
    picture in = picture_new(7, 5, 3, IIP_U8), got;

    for (size_t i = 0; i < sizeof mark_px; i++)
        mark_px[i] = i % 4 == 3 ? 255 : (unsigned char)(i * 7);
    got = stamped(&in, &stamp, 0, 2);
    for (int y = 0; y < 5; y++)
        for (int x = 0; x < 7; x++)
            for (int c = 0; c < 3; c++)
                assert_true(*at(&got, x, y, c) == mark_px[y * 80 + x * 4 + c]);
    free(in.v);
    free(got.v);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_add), cmocka_unit_test(test_chance),
                                       cmocka_unit_test(test_small)};

    apr_initialize();
    return cmocka_run_group_tests_name("watermark", tests, NULL, NULL);
}
