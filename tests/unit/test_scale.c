/* SPDX-License-Identifier: Apache-2.0
 * raster/scale.c and resample.c against the filters' definitions in double precision, summed over both axes at once. */
#include "scale_model.h"

static void model_pixel(const picture *in, const taps *tx, const taps *ty, int alpha, double *out)
{
    int last = in->bands - 1;

    memset(out, 0, (size_t)in->bands * sizeof *out);
    for (int a = 0; a < ty->n; a++)
        for (int b = 0; b < tx->n; b++) {
            const double *px = at(in, tx->at[b], ty->at[a], 0);

            for (int c = 0; c < in->bands; c++)
                out[c] += ty->w[a] * tx->w[b] * px[c] * (alpha && c < last ? px[last] : 1);
        }
    if (alpha)
        for (int c = 0; c < last; c++)
            out[c] /= out[last];
}

static double clamp(double v, double top)
{
    return v < 0 ? 0 : v > top ? top : v;
}

/* got against the model: integers may differ by their rounding and what single precision adds. */
static void compare(const picture *in, const picture *got, const iip_window *win, int filter, int alpha)
{
    double top = sample_top(in->sample), slack = in->sample == IIP_F32 ? 1e-5 : in->sample == IIP_U16 ? 0.6 : 0.51;

    if (in->sample == IIP_U32) /* sums have 24 bits */
        slack = top * (alpha ? 1e-3 : 1e-6);

    for (int64_t y = 0; y < got->h; y++) {
        taps ty = taps_of(filter, win->y, win->h, got->h, y, in->h);

        for (int64_t x = 0; x < got->w; x++) {
            taps tx = taps_of(filter, win->x, win->w, got->w, x, in->w);
            double want[4];

            model_pixel(in, &tx, &ty, alpha, want);
            for (int c = 0; c < in->bands; c++) {
                double w = want[c], g = *at(got, x, y, c);

                if (alpha && c < in->bands - 1 && want[in->bands - 1] < top / 64)
                    continue; /* hardly visible: a quotient of two small sums */
                if (in->sample != IIP_F32)
                    w = clamp(w, top);
                if (fabs(w - g) > (alpha && in->sample == IIP_F32 ? 1e-3 : slack))
                    fail_msg("%dx%d to %dx%d at %d,%d band %d: %f, should be %f", (int)in->w, (int)in->h, (int)got->w,
                             (int)got->h, (int)x, (int)y, c, g, w);
            }
        }
    }
}

static const int interpolation[] = {[TRIANGLE] = IIP_INTERPOLATE_BILINEAR, [LANCZOS] = IIP_INTERPOLATE_LANCZOS};

static picture scaled(const picture *in, const iip_window *win, int64_t w, int64_t h, int interpolate, int alpha,
                      int64_t max_rows)
{
    picture got;
    room r;
    iip_stage_t *s;

    room_open(&r, 64 << 20);
    s = iip_stage_scale(&rows_of(in, 7, r.pool)->base, win, w, h, interpolate, alpha, &r.budget, r.pool, &r.err);
    assert_non_null(s);
    assert_int_equal(drain(s, max_rows, &got, &r.err), IIP_OK);
    assert_int_equal(got.w, w);
    assert_int_equal(got.h, h);
    room_close(&r);
    return got;
}

static void check(const picture *in, iip_window win, int64_t w, int64_t h, int filter, int alpha, int64_t max_rows)
{
    picture got = scaled(in, &win, w, h, interpolation[filter], alpha, max_rows);

    compare(in, &got, &win, filter, alpha);
    free(got.v);
}

/* ---- tests ---- */

static void test_filters(void **state)
{
    static const int sizes[][4] = {
        {40, 30, 20, 15}, {40, 30, 13, 9}, {41, 37, 17, 3}, {40, 30, 30, 20}, {40, 30, 39, 29}, {20, 10, 50, 33},
        {7, 5, 200, 3},   {1, 1, 9, 9},    {1, 60, 5, 4},   {60, 1, 7, 1},    {50, 50, 1, 1},   {64, 64, 64, 20},
        {64, 64, 20, 64}, {3, 3, 4, 4},    {33, 60, 32, 1}, {12, 12, 13, 13}, {70, 70, 2, 2},   {2, 2, 3, 1},
    };
    unsigned seed = 1;

    for (int bands = 1; bands <= 4; bands++)
        for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
            for (int filter = TRIANGLE; filter <= LANCZOS; filter++) {
                picture in = picture_random(sizes[i][0], sizes[i][1], bands, IIP_U8, &seed);
                iip_window win = {0, 0, (double)in.w, (double)in.h, 0};

                check(&in, win, sizes[i][2], sizes[i][3], filter, 0, 16);
                if (bands % 2 == 0)
                    check(&in, win, sizes[i][2], sizes[i][3], filter, 1, 16);
                free(in.v);
            }
}

static void test_windows(void **state)
{
    unsigned seed = 2;

    for (int i = 0; i < 250; i++) {
        static const iip_sample samples[] = {IIP_U8, IIP_U8, IIP_U16, IIP_F32, IIP_U32};
        int bands = 1 + (int)(rnd(&seed) % 4), alpha = bands % 2 == 0 && rnd(&seed) % 2;
        picture in = picture_random(1 + rnd(&seed) % 50, 1 + rnd(&seed) % 50, bands, samples[rnd(&seed) % 5], &seed);
        double a = rnd(&seed) % 1000 / 1000.0 * (double)in.w, b = rnd(&seed) % 1000 / 1000.0 * (double)in.h;
        iip_window win = {a, b, fmax(((double)in.w - a) * (rnd(&seed) % 1000 + 1) / 1000.0, 0.1),
                          fmax(((double)in.h - b) * (rnd(&seed) % 1000 + 1) / 1000.0, 0.1), 0};

        if (win.x + win.w > (double)in.w)
            win.x = (double)in.w - win.w;
        if (win.y + win.h > (double)in.h)
            win.y = (double)in.h - win.h;
        if (rnd(&seed) % 4 == 0) { /* by whole pixels */
            win.x = floor(win.x);
            win.y = floor(win.y);
            win.w = fmax(1, floor(win.w));
            win.h = fmax(1, floor(win.h));
        }
        check(&in, win, 1 + rnd(&seed) % 60, 1 + rnd(&seed) % 60, TRIANGLE + (int)(rnd(&seed) % 2), alpha,
              1 + rnd(&seed) % 30);
        free(in.v);
    }
}

/* Constant pictures stay what they are, whatever is around the window. */
static void test_no_bleeding(void **state)
{
    picture in = picture_new(60, 60, 3, IIP_U8);
    unsigned seed = 3;

    for (int64_t i = 0; i < 60 * 60 * 3; i++)
        in.v[i] = i / 180 >= 20 && i / 180 < 40 && i / 3 % 60 >= 20 && i / 3 % 60 < 40 ? 77 : 255;
    for (int i = 0; i < 100; i++) {
        iip_window win = {20, 20, 20, 20, 0};
        picture got = scaled(&in, &win, 1 + rnd(&seed) % 70, 1 + rnd(&seed) % 70, (int)(rnd(&seed) % 3), 0, 16);

        for (int64_t k = 0; k < got.w * got.h * 3; k++)
            assert_true(got.v[k] == 77);
        free(got.v);
    }
    free(in.v);
}

/* Colours below alpha 0 are never seen. */
static void test_alpha_hides(void **state)
{
    picture in = picture_new(64, 64, 4, IIP_U8);

    for (int64_t i = 0; i < 64 * 64; i++) {
        int seen = (i / 64 + i) % 3 == 0;

        in.v[4 * i] = seen ? 10 : 250;
        in.v[4 * i + 1] = seen ? 20 : 0;
        in.v[4 * i + 2] = seen ? 30 : 255;
        in.v[4 * i + 3] = seen ? 255 : 0;
    }
    for (int64_t w = 5; w < 100; w += 7) {
        iip_window win = {0, 0, 64, 64, 0};
        picture got = scaled(&in, &win, w, w, IIP_INTERPOLATE_BILINEAR, 1, 16);

        for (int64_t i = 0; i < w * w; i++)
            if (got.v[4 * i + 3] > 0)
                for (int c = 0; c < 3; c++)
                    assert_true(got.v[4 * i + c] == 10 * (c + 1));
        free(got.v);
    }
    free(in.v);
}

static void test_same_for_any_strip(void **state)
{
    unsigned seed = 4;
    picture in = picture_random(90, 131, 3, IIP_U8, &seed);
    iip_window win = {3.25, 2.5, 80, 120.125, 0};
    static const int64_t asked[] = {1, 2, 7, 16, 17, INT64_MAX};

    for (int64_t h = 4; h < 300; h += 59)
        for (int filter = 0; filter < 3; filter++) {
            picture first = scaled(&in, &win, 50, h, filter, 0, 16);

            for (size_t i = 0; i < sizeof asked / sizeof *asked; i++) {
                picture got = scaled(&in, &win, 50, h, filter, 0, asked[i]);

                same(&first, &got);
                free(got.v);
            }
            free(first.v);
        }
    free(in.v);
}

static void test_nearest(void **state)
{
    unsigned seed = 5;

    for (int i = 0; i < 200; i++) {
        int bands = 1 + (int)(rnd(&seed) % 4);
        picture in = picture_random(1 + rnd(&seed) % 40, 1 + rnd(&seed) % 40, bands, i % 2 ? IIP_U8 : IIP_U16, &seed);
        int64_t x = rnd(&seed) % (unsigned)in.w, y = rnd(&seed) % (unsigned)in.h;
        int64_t ww = 1 + rnd(&seed) % (unsigned)(in.w - x), wh = 1 + rnd(&seed) % (unsigned)(in.h - y);
        iip_window win = {(double)x, (double)y, (double)ww, (double)wh, 0};
        int64_t w = 1 + rnd(&seed) % 90, h = 1 + rnd(&seed) % 90;
        picture got = scaled(&in, &win, w, h, IIP_INTERPOLATE_NEAREST, 0, 1 + rnd(&seed) % 20);

        for (int64_t oy = 0; oy < h; oy++)
            for (int64_t ox = 0; ox < w; ox++)
                for (int c = 0; c < bands; c++) /* the pixel below the centre, on whole numbers */
                    assert_true(*at(&got, ox, oy, c) ==
                                *at(&in, x + (2 * ox + 1) * ww / (2 * w), y + (2 * oy + 1) * wh / (2 * h), c));
        free(got.v);
        free(in.v);
    }
}

/* R35: copied one to one; a last row or column that is not there is the one before it. */
static void test_exact(void **state)
{
    unsigned seed = 6;

    for (int i = 0; i < 100; i++) {
        int bands = 1 + (int)(rnd(&seed) % 4);
        picture in = picture_random(1 + rnd(&seed) % 60, 1 + rnd(&seed) % 60, bands, IIP_U8, &seed);
        int64_t x = rnd(&seed) % (unsigned)in.w, y = rnd(&seed) % (unsigned)in.h;
        int64_t w = 1 + rnd(&seed) % (unsigned)(in.w - x + 1), h = 1 + rnd(&seed) % (unsigned)(in.h - y + 1);
        iip_window win = {(double)x, (double)y, (double)w, (double)h, 1};
        picture got = scaled(&in, &win, w, h, IIP_INTERPOLATE_LANCZOS, 0, 1 + rnd(&seed) % 20);

        for (int64_t oy = 0; oy < h; oy++)
            for (int64_t ox = 0; ox < w; ox++)
                for (int c = 0; c < bands; c++)
                    assert_true(*at(&got, ox, oy, c) ==
                                *at(&in, x + ox < in.w ? x + ox : in.w - 1, y + oy < in.h ? y + oy : in.h - 1, c));
        free(got.v);
        free(in.v);
    }
}

/* Nothing to do: the rows themselves come through, not copies of them. */
static void test_identity(void **state)
{
    unsigned seed = 7;
    picture in = picture_random(30, 20, 3, IIP_U8, &seed);
    iip_window all = {0, 0, 30, 20, 0}, part = {4, 3, 20, 10, 0};
    iip_raster out;
    rows_stage *up;
    iip_stage_t *s;
    room r;

    room_open(&r, 1 << 20);
    up = rows_of(&in, 1, r.pool);
    s = iip_stage_scale(&up->base, &all, 30, 20, IIP_INTERPOLATE_LANCZOS, 0, &r.budget, r.pool, &r.err);
    assert_ptr_equal(s, &up->base);
    s = iip_stage_scale(&up->base, &part, 20, 10, IIP_INTERPOLATE_LANCZOS, 0, &r.budget, r.pool, &r.err);
    assert_non_null(s);
    assert_int_equal(s->next(s, 5, &out, &r.err), IIP_OK);
    assert_true(out.px >= up->mem && out.px < up->mem + (size_t)out.h * out.stride + 12);
    room_close(&r);
    free(in.v);
}

/* Memory goes with the width, not with the height or the shrink factor times the width. */
static void test_memory(void **state)
{
    static const int64_t sizes[][4] = {
        {4000, 400, 100, 10}, {4000, 4000, 100, 100}, {2000, 3000, 1900, 2900}, {500, 500, 2000, 2000}};

    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        picture in = picture_new(sizes[i][0], sizes[i][1], 3, IIP_U8);
        iip_window win = {0, 0, (double)in.w, (double)in.h, 0};
        size_t wide = (size_t)(sizes[i][0] + sizes[i][2]);
        iip_stage_t *s;
        room r;

        room_open(&r, 64 << 20);
        s = iip_stage_scale(&rows_of(&in, 7, r.pool)->base, &win, sizes[i][2], sizes[i][3], IIP_INTERPOLATE_LANCZOS, 0,
                            &r.budget, r.pool, &r.err);
        assert_non_null(s);
        assert_int_equal(drain(s, 16, NULL, &r.err), IIP_OK);
        /* 16 rows in (13 of floats where they are mixed more than once), 16 rows out, two rows of floats, weights: 13
         * floats for a column or one for a source pixel */
        assert_in_range(r.budget.peak, wide * 3, wide * (13 * 3 * 4 + 3 * 4 + 20 * 4) + 8192);
        room_close(&r);
        free(in.v);
    }
}

static void test_out_of_memory(void **state)
{
    static const int filters[] = {IIP_INTERPOLATE_NEAREST, IIP_INTERPOLATE_BILINEAR, IIP_INTERPOLATE_LANCZOS};
    unsigned seed = 8;
    picture in = picture_random(50, 40, 4, IIP_U8, &seed);
    iip_window win = {1, 1, 40, 30, 0};

    for (int f = 0; f < 3; f++) {
        size_t need = 0;
        int refused = 0;

        for (size_t limit = 0;; limit += 256) {
            iip_stage_t *s;
            room r;

            room_open(&r, limit);
            s = iip_stage_scale(&rows_of(&in, 7, r.pool)->base, &win, 27, 31, filters[f], 1, &r.budget, r.pool, &r.err);
            if (s) {
                assert_int_equal(drain(s, 16, NULL, &r.err), IIP_OK);
                need = r.budget.peak;
                assert_true(need <= limit);
                room_close(&r);
                break;
            }
            assert_int_equal(r.err.status, IIP_E_MEMORY);
            refused++;
            room_close(&r);
        }
        assert_true(refused > 3);
    }
    free(in.v);
}

static void test_failures(void **state)
{
    unsigned seed = 9;
    picture in = picture_random(40, 40, 3, IIP_U8, &seed);
    iip_window win = {0, 0, 40, 40, 0}, below = {3, 20, 20, 20, 0};

    for (int filter = 0; filter < 3; filter++)
        for (int crop = 0; crop < 2; crop++)
            for (int at = 0; at < 40; at += 13) {
                rows_stage *up;
                iip_stage_t *s;
                room r;

                room_open(&r, 1 << 20);
                up = rows_of(&in, 1, r.pool);
                up->fail_at = at;
                s = iip_stage_scale(&up->base, crop ? &below : &win, 20, 20, filter, 0, &r.budget, r.pool, &r.err);
                assert_non_null(s);
                assert_int_equal(drain(s, 16, NULL, &r.err), IIP_E_CORRUPT);
                room_close(&r);
                /* rows that end too early are an error, too */
                room_open(&r, 1 << 20);
                up = rows_of(&in, 1, r.pool);
                up->done = at + 1;
                s = iip_stage_scale(&up->base, &win, 30, 30, filter, 0, &r.budget, r.pool, &r.err);
                assert_non_null(s);
                assert_int_equal(drain(s, 16, NULL, &r.err), IIP_E_CORRUPT);
                room_close(&r);
            }
    free(in.v);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_filters),
        cmocka_unit_test(test_windows),
        cmocka_unit_test(test_no_bleeding),
        cmocka_unit_test(test_alpha_hides),
        cmocka_unit_test(test_same_for_any_strip),
        cmocka_unit_test(test_nearest),
        cmocka_unit_test(test_exact),
        cmocka_unit_test(test_identity),
        cmocka_unit_test(test_memory),
        cmocka_unit_test(test_out_of_memory),
        cmocka_unit_test(test_failures),
    };
    int failed;

    apr_initialize();
    failed = cmocka_run_group_tests_name("scale", tests, NULL, NULL);
    apr_terminate();
    return failed;
}
