/* SPDX-License-Identifier: Apache-2.0
 * raster/colour.c against the rules as spec/iip.md 6 writes them. */
#include "strips.h"

static picture coloured_as(const picture *in, const iip_info *info, iip_sample sample, int inks, int64_t max_rows,
                           int *untouched)
{
    picture got;
    iip_stage_t *s, *up;
    room r;

    room_open(&r, 1 << 20);
    up = &rows_of(in, 3, r.pool)->base;
    s = iip_stage_colour(up, info, sample, inks, &r.budget, r.pool, &r.err);
    assert_non_null(s);
    *untouched = s == up;
    assert_int_equal(s->shape.sample, sample);
    assert_int_equal(drain(s, max_rows, &got, &r.err), IIP_OK);
    room_close(&r);
    return got;
}

static picture coloured(const picture *in, const iip_info *info, int64_t max_rows, int *untouched)
{
    return coloured_as(in, info, IIP_U8, 0, max_rows, untouched);
}

static iip_info kind(const picture *in, iip_space space, int alpha)
{
    iip_info info = {.levels = 1, .bands = in->bands, .sample = in->sample, .space = space, .alpha = alpha};

    return info;
}

/* Which bands are kept: the first one or three, and alpha. */
static void test_colour_bands(void **state)
{
    static const struct {
        iip_space space;
        int bands, alpha, untouched, n, keep[4];
    } rows[] = {
        {IIP_GREY, 1, 0, 1, 1, {0}},
        {IIP_GREY, 2, 1, 1, 2, {0, 1}},
        {IIP_RGB, 3, 0, 1, 3, {0, 1, 2}},
        {IIP_RGB, 4, 1, 1, 4, {0, 1, 2, 3}},
        {IIP_GREY, 2, 0, 0, 1, {0}},
        {IIP_GREY, 3, 1, 0, 2, {0, 2}},
        {IIP_RGB, 4, 0, 0, 3, {0, 1, 2}},
        {IIP_RGB, 6, 1, 0, 4, {0, 1, 2, 5}},
        {IIP_MULTIBAND, 1, 0, 1, 1, {0}},
        {IIP_MULTIBAND, 2, 0, 0, 1, {0}},
        {IIP_MULTIBAND, 3, 0, 1, 3, {0, 1, 2}},
        {IIP_MULTIBAND, 3, 1, 0, 2, {0, 2}},
        {IIP_MULTIBAND, 7, 0, 0, 3, {0, 1, 2}},
        {IIP_MULTIBAND, 200, 1, 0, 4, {0, 1, 2, 199}},
        {IIP_MULTIBAND, 1, 1, 1, 1, {0}}, /* a lone alpha is a picture */
    };
    unsigned seed = 2;

    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        for (int64_t w = 1; w < 3000; w += 1301) {
            picture in = picture_random(w, 5, rows[i].bands, IIP_U8, &seed), got;
            iip_info info = kind(&in, rows[i].space, rows[i].alpha);
            int untouched;

            got = coloured(&in, &info, 16, &untouched);
            assert_int_equal(untouched, rows[i].untouched);
            assert_int_equal(got.bands, rows[i].n);
            for (int64_t k = 0; k < w * 5; k++)
                for (int c = 0; c < got.bands; c++)
                    assert_true(got.v[k * got.bands + c] == in.v[k * in.bands + rows[i].keep[c]]);
            free(in.v);
            free(got.v);
        }
}

/* Each sample kind to 8 bits: the top byte of integers, the range of floats. */
static void test_colour_samples(void **state)
{
    static const float min3[] = {-10, 0, 5}, max3[] = {10, 4000, 5}, min1[] = {100}, max1[] = {-100};
    static const struct {
        iip_sample sample;
        int bands;
        const float *min, *max;
        int n;
        double in[12], want[12];
    } rows[] = {
        {IIP_U16, 1, NULL, NULL, 6, {0, 255, 256, 32768, 65279, 65535}, {0, 0, 1, 128, 254, 255}},
        {IIP_U32, 1, NULL, NULL, 4, {0, 16777215, 16777216, 4294967295.0}, {0, 0, 1, 255}},
        {IIP_S16, 1, NULL, NULL, 5, {-32768, -1, 0, 256, 32767}, {0, 127, 128, 129, 255}},
        {IIP_S32, 1, NULL, NULL, 4, {-2147483648.0, -1, 0, 2147483647}, {0, 127, 128, 255}},
        {IIP_F32, 1, NULL, NULL, 8, {0, 0.5, 1, 2, -1, NAN, INFINITY, -INFINITY}, {0, 127, 255, 255, 0, 0, 0, 0}},
        {IIP_F64, 1, NULL, NULL, 6, {0, 0.5, 1, 1e300, -1e300, NAN}, {0, 127, 255, 255, 0, 0}},
        {IIP_F32,
         3,
         min3,
         max3,
         12,
         {-10, 0, 5, 0, 2000, 6, 10, 4000, 4, 20, 8000, 0},
         {0, 0, 0, 127, 127, 255, 255, 255, 0, 255, 255, 0}}, /* the third has no range at all */
        {IIP_F32, 1, min1, max1, 4, {100, 0, -100, 150}, {0, 127, 255, 0}},
        {IIP_U16, 3, NULL, NULL, 6, {0, 256, 512, 65535, 1024, 5}, {0, 1, 2, 255, 4, 0}},
    };

    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        picture in = picture_new(rows[i].n / rows[i].bands, 1, rows[i].bands, rows[i].sample), got;
        iip_info info = kind(&in, rows[i].bands == 3 ? IIP_RGB : IIP_GREY, 0);
        int untouched;

        info.min = rows[i].min;
        info.max = rows[i].max;
        memcpy(in.v, rows[i].in, (size_t)rows[i].n * sizeof(double));
        got = coloured(&in, &info, 1, &untouched);
        assert_false(untouched);
        for (int k = 0; k < rows[i].n; k++)
            if (got.v[k] != rows[i].want[k])
                fail_msg("row %d, sample %d: %f, should be %f", (int)i, k, got.v[k], rows[i].want[k]);
        free(in.v);
        free(got.v);
    }
}

static void test_colour_many(void **state)
{
    static const iip_sample kinds[] = {IIP_U16, IIP_U32, IIP_S16, IIP_S32, IIP_F32, IIP_F64};
    unsigned seed = 3;

    for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++)
        for (int bands = 1; bands <= 5; bands++) {
            picture in = picture_new(2111, 3, bands, kinds[k]), got;
            int alpha = bands == 2 || bands == 4, untouched, keep;
            iip_info info = kind(&in, bands > 2 ? IIP_RGB : IIP_GREY, alpha);

            for (int64_t i = 0; i < 2111 * 3 * bands; i++) {
                double u = (rnd(&seed) % 65536 + rnd(&seed) % 65536 / 65536.0) / 65536;

                in.v[i] = kinds[k] == IIP_U16   ? floor(u * 65536)
                          : kinds[k] == IIP_U32 ? floor(u * 4294967296.0)
                          : kinds[k] == IIP_S16 ? floor(u * 65536) - 32768
                          : kinds[k] == IIP_S32 ? floor(u * 4294967296.0) - 2147483648.0
                                                : (double)(float)u;
            }
            got = coloured(&in, &info, 2, &untouched);
            keep = bands < 3 ? 1 : 3;
            assert_int_equal(got.bands, keep + alpha);
            for (int64_t i = 0; i < 2111 * 3; i++)
                for (int c = 0; c < got.bands; c++) {
                    double v = in.v[i * bands + (c < keep ? c : bands - 1)];
                    double want = kinds[k] == IIP_U16   ? floor(v / 256)
                                  : kinds[k] == IIP_U32 ? floor(v / 16777216)
                                  : kinds[k] == IIP_S16 ? floor((v + 32768) / 256)
                                  : kinds[k] == IIP_S32 ? floor((v + 2147483648.0) / 16777216)
                                                        : floor(v * 255);

                    assert_true(got.v[i * got.bands + c] == want);
                }
            free(in.v);
            free(got.v);
        }
}

static void test_colour_cmyk(void **state)
{
    unsigned seed = 4;

    for (int bands = 4; bands <= 5; bands++)
        for (int wide = 0; wide < 2; wide++) {
            picture in = picture_random(1777, 2, bands, wide ? IIP_U16 : IIP_U8, &seed), got;
            iip_info info = kind(&in, IIP_CMYK, bands == 5);
            int untouched;

            got = coloured(&in, &info, 16, &untouched);
            assert_int_equal(got.bands, bands - 1);
            for (int64_t i = 0; i < 1777 * 2; i++) {
                double px[5];

                for (int c = 0; c < bands; c++)
                    px[c] = wide ? floor(in.v[i * bands + c] / 256) : in.v[i * bands + c];
                for (int c = 0; c < 3; c++)
                    assert_true(got.v[i * got.bands + c] == floor((255 - px[c]) * (255 - px[3]) / 255 + 0.5));
                if (bands == 5)
                    assert_true(got.v[i * 4 + 3] == px[4]);
            }
            free(in.v);
            free(got.v);
        }
}

/* spec/iip.md 6.2 as it is written. */
static double lab_part(double t)
{
    return t >= 0.2069 ? t * t * t : (t - 0.13793) / 7.787;
}

static void lab_model(double l, double a, double b, double *rgb)
{
    double c = (l + 16) / 116, y = 100 * c * c * c, x, z, u[3];

    if (l < 8) {
        y = l * 100 / 903.3;
        c = 7.787 * y / 100 + 16 / 116.0;
    }
    x = 95.0470 * lab_part(a / 500 + c);
    z = 108.8827 * lab_part(c - b / 200);
    u[0] = (3.2406255 * x - 1.537208 * y - 0.4986286 * z) / 100;
    u[1] = (-0.9689307 * x + 1.8757561 * y + 0.0415175 * z) / 100;
    u[2] = (0.0557101 * x - 0.2040211 * y + 1.0569959 * z) / 100;
    for (int i = 0; i < 3; i++) {
        double v = u[i] < 0 ? 0 : u[i];

        v = v <= 0.0031308 ? v * 12.92 : 1.055 * pow(v, 1 / 2.4) - 0.055;
        rgb[i] = 255 * (v > 1 ? 1 : v);
    }
}

static void test_colour_lab(void **state)
{
    unsigned seed = 5;
    static const iip_sample kinds[] = {IIP_U8, IIP_U16, IIP_F32};

    for (int k = 0; k < 3; k++)
        for (int alpha = 0; alpha < 2; alpha++) {
            picture in = picture_random(1500, 2, 3 + alpha, kinds[k], &seed), got;
            iip_info info = kind(&in, IIP_LAB, alpha);
            int untouched, n = 3 + alpha;

            if (kinds[k] == IIP_F32)
                for (int64_t i = 0; i < 3000; i++) {
                    in.v[i * n] *= 100;
                    in.v[i * n + 1] = (double)(float)(in.v[i * n + 1] * 255 - 128);
                    in.v[i * n + 2] = (double)(float)(in.v[i * n + 2] * 255 - 128);
                }
            got = coloured(&in, &info, 16, &untouched);
            assert_int_equal(got.bands, n);
            for (int64_t i = 0; i < 3000; i++) {
                const double *v = in.v + i * n;
                double want[3];

                if (kinds[k] == IIP_U8)
                    lab_model(v[0] / 2.55, (int8_t)(int)v[1], (int8_t)(int)v[2], want);
                else if (kinds[k] == IIP_U16)
                    lab_model(floor(v[0] / 2) / 327.67, (int16_t)(int)v[1] / 256.0, (int16_t)(int)v[2] / 256.0, want);
                else
                    lab_model(v[0], v[1], v[2], want);
                for (int c = 0; c < 3; c++)
                    if (fabs(got.v[i * n + c] - want[c]) > 1)
                        fail_msg("kind %d, %f %f %f, band %d: %f, should be %f", k, v[0], v[1], v[2], c,
                                 got.v[i * n + c], want[c]);
            }
            free(in.v);
            free(got.v);
        }
}

/* What IIPKeepDepth keeps: the value, widened from what was signed or narrowed from what the format has not. */
static void test_colour_kept(void **state)
{
    static const struct {
        iip_sample from, to;
    } rows[] = {{IIP_U16, IIP_U16}, {IIP_S16, IIP_U16}, {IIP_U32, IIP_U32}, {IIP_S32, IIP_U32}, {IIP_U32, IIP_U16},
                {IIP_S32, IIP_U16}, {IIP_F32, IIP_F32}, {IIP_F64, IIP_F32}, {IIP_F32, IIP_U16}, {IIP_F64, IIP_U16}};
    static const float lo[] = {-1, -1, -1, -1, -1}, hi[] = {3, 3, 3, 3, 3};
    unsigned seed = 6;

    for (size_t r = 0; r < sizeof rows / sizeof *rows; r++)
        for (int bands = 1; bands <= 5; bands++) {
            const iip_sample from = rows[r].from, to = rows[r].to;
            picture in = picture_new(1511, 3, bands, from), got;
            int alpha = bands == 2 || bands == 4, keep = bands < 3 ? 1 : 3, untouched;
            iip_info info = kind(&in, bands > 2 ? IIP_RGB : IIP_GREY, alpha);

            info.min = lo;
            info.max = hi;
            for (int64_t i = 0; i < 1511 * 3 * bands; i++) {
                double u = (rnd(&seed) % 65536 + rnd(&seed) % 65536 / 65536.0) / 65536;

                in.v[i] = from == IIP_U16   ? floor(u * 65536)
                          : from == IIP_S16 ? floor(u * 65536) - 32768
                          : from == IIP_U32 ? floor(u * 4294967296.0)
                          : from == IIP_S32 ? floor(u * 4294967296.0) - 2147483648.0
                          : from == IIP_F32 ? (double)(float)(u * 5 - 1.5)
                                            : u * 5 - 1.5;
            }
            got = coloured_as(&in, &info, to, 0, 7, &untouched);
            assert_int_equal(untouched, from == to && bands < 5);
            assert_int_equal(got.bands, keep + alpha);
            for (int64_t i = 0; i < 1511 * 3; i++)
                for (int c = 0; c < got.bands; c++) {
                    double v = in.v[i * bands + (c < keep ? c : bands - 1)], want = v;

                    if (from == IIP_S16)
                        want += 32768;
                    if (from == IIP_S32)
                        want += 2147483648.0;
                    if ((from == IIP_U32 || from == IIP_S32) && to == IIP_U16)
                        want = floor(want / 65536);
                    if (from == IIP_F64 && to == IIP_F32)
                        want = (double)(float)v;
                    if (from >= IIP_F32 && to == IIP_U16)
                        want = floor(65535 * (v < -1 ? 0 : v > 3 ? 1 : (v + 1) / 4));
                    /* a product in doubles may fall on either side of a whole number */
                    assert_true(fabs(got.v[i * got.bands + c] - want) <= (from >= IIP_F32 && to == IIP_U16));
                }
            free(in.v);
            free(got.v);
        }
}

/* Inks and CIELAB to 16 bits; inks that wait for their profile. */
static void test_colour_deep(void **state)
{
    unsigned seed = 7;

    for (int alpha = 0; alpha < 2; alpha++) {
        picture in = picture_random(1777, 2, 4 + alpha, IIP_U16, &seed),
                lab = picture_random(700, 2, 3 + alpha, IIP_F32, &seed), got;
        iip_info info = kind(&in, IIP_CMYK, alpha);
        int untouched;

        got = coloured_as(&in, &info, IIP_U16, 0, 16, &untouched);
        assert_int_equal(got.bands, 3 + alpha);
        for (int64_t i = 0; i < 1777 * 2; i++) {
            const double *px = in.v + i * (4 + alpha);

            for (int c = 0; c < 3; c++)
                assert_true(got.v[i * got.bands + c] == floor((65535 - px[c]) * (65535 - px[3]) / 65535 + 0.5));
            assert_true(!alpha || got.v[i * 4 + 3] == px[4]);
        }
        free(got.v);
        got = coloured_as(&in, &info, IIP_U16, 1, 16, &untouched);
        assert_true(untouched);
        same(&got, &in);
        free(got.v);
        got = coloured_as(&in, &info, IIP_U8, 1, 16, &untouched);
        assert_int_equal(got.bands, 4 + alpha);
        for (int64_t i = 0; i < 1777 * 2 * (4 + alpha); i++)
            assert_true(got.v[i] == floor(in.v[i] / 256));
        free(got.v);
        free(in.v);

        info = kind(&lab, IIP_LAB, alpha);
        for (int64_t i = 0; i < 1400; i++) {
            double *v = lab.v + i * (3 + alpha);

            v[0] *= 100;
            v[1] = (double)(float)(v[1] * 255 - 128);
            v[2] = (double)(float)(v[2] * 255 - 128);
        }
        got = coloured_as(&lab, &info, IIP_U16, 0, 16, &untouched);
        for (int64_t i = 0; i < 1400; i++) {
            const double *v = lab.v + i * (3 + alpha);
            double want[3];

            lab_model(v[0], v[1], v[2], want);
            for (int c = 0; c < 3; c++)
                assert_true(fabs(got.v[i * got.bands + c] - 257 * want[c]) < 2);
            assert_true(!alpha || got.v[i * 4 + 3] == floor(65535 * v[3]));
        }
        free(got.v);
        free(lab.v);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_colour_kept),    cmocka_unit_test(test_colour_deep), cmocka_unit_test(test_colour_bands),
        cmocka_unit_test(test_colour_samples), cmocka_unit_test(test_colour_many), cmocka_unit_test(test_colour_cmyk),
        cmocka_unit_test(test_colour_lab),
    };
    int failed;

    apr_initialize();
    failed = cmocka_run_group_tests_name("colour", tests, NULL, NULL);
    apr_terminate();
    return failed;
}
