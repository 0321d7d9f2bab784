/* SPDX-License-Identifier: Apache-2.0
 * raster/rotate.c: quarter turns exactly, other angles against a bicubic model in double precision. */
#include "strips.h"

static iip_stage_t *make_mirror(iip_stage_t *up, const void *arg, room *r)
{
    return iip_stage_mirror(up, &r->budget, r->pool, &r->err);
}

static void test_mirror(void **state)
{
    unsigned seed = 7;

    for (int64_t w = 1; w < 40; w++) {
        picture in = picture_random(w, 9, 1 + (int)(w % 4), w % 3 ? IIP_U8 : IIP_U16, &seed), got;

        got = through(&in, make_mirror, NULL, 16);
        for (int64_t i = 0; i < w * 9; i++)
            assert_memory_equal(at(&got, i % w, i / w, 0), at(&in, w - 1 - i % w, i / w, 0),
                                (size_t)in.bands * sizeof(double));
        free(in.v);
        free(got.v);
    }
}

typedef struct {
    double degrees;
    int alpha;
} turn;

static iip_stage_t *make_turn(iip_stage_t *up, const void *arg, room *r)
{
    const turn *t = arg;

    return iip_stage_rotate(up, t->degrees, t->alpha, &r->budget, r->pool, &r->err);
}

static void test_canvas(void **state)
{
    static const struct {
        int64_t w, h;
        double degrees;
        int64_t ow, oh;
    } rows[] = {
        {300, 300, 45, 424, 424},
        {300, 200, 22.5, 354, 300},
        {90, 105, 345, 114, 125},      /* vectors 17, 18 */
        {6000, 4000, 0.5, 6035, 4052}, /* vector 28 */
        {300, 200, 0, 300, 200},
        {300, 200, 90, 200, 300},
        {300, 200, 180, 300, 200},
        {300, 200, 270, 200, 300},
        {1, 1, 45, 1, 1},
        {1, 1000, 89.999, 1000, 1},
        {2147483647, 2147483647, 90, 2147483647, 2147483647},
    };

    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        int64_t w, h;

        iip_rotate_canvas(rows[i].w, rows[i].h, rows[i].degrees, &w, &h);
        assert_int_equal(w, rows[i].ow);
        assert_int_equal(h, rows[i].oh);
    }
}

static void test_quarters(void **state)
{
    unsigned seed = 9;
    static const int64_t asked[] = {1, 3, 16, INT64_MAX};

    for (int q = 0; q < 4; q++)
        for (int i = 0; i < 40; i++) {
            picture in =
                picture_random(1 + rnd(&seed) % 80, 1 + rnd(&seed) % 80, 1 + i % 4, i % 5 ? IIP_U8 : IIP_F32, &seed);
            turn t = {q * 90.0, in.bands % 2 == 0};
            picture got = through(&in, make_turn, &t, asked[i % 4]);

            assert_int_equal(got.w, q % 2 ? in.h : in.w);
            assert_int_equal(got.h, q % 2 ? in.w : in.h);
            assert_int_equal(got.bands, in.bands);
            for (int64_t y = 0; y < in.h; y++)
                for (int64_t x = 0; x < in.w; x++) {
                    int64_t to[4][2] = {{x, y}, {in.h - 1 - y, x}, {in.w - 1 - x, in.h - 1 - y}, {y, in.w - 1 - x}};

                    assert_memory_equal(at(&got, to[q][0], to[q][1], 0), at(&in, x, y, 0),
                                        (size_t)in.bands * sizeof(double));
                }
            free(in.v);
            free(got.v);
        }
}

static double cubic_at(double d) /* Catmull-Rom: Keys' kernel with a = -1/2 */
{
    d = fabs(d);
    return d < 1 ? 1.5 * d * d * d - 2.5 * d * d + 1 : d < 2 ? -0.5 * d * d * d + 2.5 * d * d - 4 * d + 2 : 0;
}

static int64_t inside(int64_t v, int64_t n)
{
    return v < 0 ? 0 : v >= n ? n - 1 : v;
}

static void test_angles(void **state)
{
    unsigned seed = 10;

    for (int i = 0; i < 60; i++) {
        static const iip_sample kinds[] = {IIP_U8, IIP_U8, IIP_U16, IIP_F32, IIP_U32};
        picture in = picture_random(1 + rnd(&seed) % 60, 1 + rnd(&seed) % 60, 1 + i % 4, kinds[rnd(&seed) % 5], &seed);
        int alpha = in.bands % 2 == 0, colours = in.bands - alpha;
        turn t = {i < 8 ? 45.0 * i + 0.25 : rnd(&seed) % 360000 / 1000.0 + 0.0005, alpha};
        picture got = through(&in, make_turn, &t, 1 + i % 20);
        double top = sample_top(in.sample),
               slack = in.sample == IIP_F32   ? 1e-3
                       : in.sample == IIP_U32 ? top * 2e-6
                                              : 1,
               c = cos(t.degrees * M_PI / 180), s = sin(t.degrees * M_PI / 180);
        int64_t ow, oh;

        iip_rotate_canvas(in.w, in.h, t.degrees, &ow, &oh);
        assert_true(got.w == ow && got.h == oh && got.bands == colours + 1);
        for (int64_t y = 0; y < oh; y++)
            for (int64_t x = 0; x < ow; x++) {
                double dx = (double)x + 0.5 - (double)ow / 2, dy = (double)y + 0.5 - (double)oh / 2;
                double u = dx * c + dy * s + (double)in.w / 2, v = dy * c - dx * s + (double)in.h / 2;
                double out = fmax(fmax(-u, u - (double)in.w), fmax(-v, v - (double)in.h)); /* distance to the edge */
                double sum[4] = {0}, a = *at(&got, x, y, colours);

                if (out > 0.75) {
                    for (int b = 0; b <= colours; b++)
                        assert_true(*at(&got, x, y, b) == 0);
                    continue;
                }
                if (out > -1.5) { /* partly covered: opaque sources give something between */
                    assert_true(a >= 0 && a <= top);
                    if (out > -0.45)
                        assert_true(a < top);
                    continue;
                }
                for (int64_t sy = (int64_t)floor(v) - 3; sy < (int64_t)floor(v) + 4; sy++)
                    for (int64_t sx = (int64_t)floor(u) - 3; sx < (int64_t)floor(u) + 4; sx++) {
                        const double *px = at(&in, inside(sx, in.w), inside(sy, in.h), 0);
                        double k = cubic_at((double)sx + 0.5 - u) * cubic_at((double)sy + 0.5 - v);

                        for (int b = 0; b < colours; b++)
                            sum[b] += k * px[b] * (alpha ? px[colours] / top : 1);
                        sum[colours] += k * (alpha ? px[colours] : top);
                    }
                assert_true(fabs(a - fmin(fmax(sum[colours], 0), top)) <= (in.sample == IIP_F32 ? 1e-4 : slack));
                if (sum[colours] < top / 16)
                    continue;
                for (int b = 0; b < colours; b++) {
                    double want = sum[b] * top / sum[colours];

                    if (in.sample != IIP_F32)
                        want = fmin(fmax(want, 0), top);
                    if (fabs(*at(&got, x, y, b) - want) > slack)
                        fail_msg("%f degrees at %d,%d: %f, should be %f", t.degrees, (int)x, (int)y, *at(&got, x, y, b),
                                 want);
                }
            }
        free(in.v);
        free(got.v);
    }
}

/* A picture of one colour keeps it to its very edge, and what is clear covers no more than the canvas' rest. */
static void test_angle_edges(void **state)
{
    picture in = picture_new(80, 50, 3, IIP_U8);

    for (int64_t i = 0; i < 80 * 50 * 3; i++)
        in.v[i] = 40 + 50 * (i % 3);
    for (double d = 1; d < 360; d += 13) {
        turn t = {d, 0};
        picture got = through(&in, make_turn, &t, 16);
        double covered = 0;

        for (int64_t i = 0; i < got.w * got.h; i++) {
            covered += got.v[4 * i + 3] / 255;
            for (int c = 0; c < 3 && got.v[4 * i + 3] > 0; c++)
                assert_true(got.v[4 * i + c] == 40 + 50 * c);
        }
        assert_true(fabs(covered - 80 * 50) < 80 * 50 * 0.02);
        free(got.v);
    }
    free(in.v);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_mirror), cmocka_unit_test(test_canvas),      cmocka_unit_test(test_quarters),
        cmocka_unit_test(test_angles), cmocka_unit_test(test_angle_edges),
    };
    int failed;

    apr_initialize();
    failed = cmocka_run_group_tests_name("rotate", tests, NULL, NULL);
    apr_terminate();
    return failed;
}
