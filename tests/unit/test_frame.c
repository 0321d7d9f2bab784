/* SPDX-License-Identifier: Apache-2.0
 * raster/blur.c, frame.c and busy.c: against plain models in double precision. */
#include "strips.h"

typedef struct {
    double sigma;
    int sharpen, alpha;
} how;

static iip_stage_t *make_blur(iip_stage_t *up, const void *arg, room *r)
{
    const how *h = arg;

    return iip_stage_blur(up, h->sigma, h->sharpen, h->alpha, &r->budget, r->pool, &r->err);
}

static int64_t clamp(int64_t v, int64_t n)
{
    return v < 0 ? 0 : v < n ? v : n - 1;
}

/* Weights far beyond where they matter; edges go on. */
static double blurred(const picture *in, int64_t x, int64_t y, int band, int alpha, double sigma)
{
    const int r = (int)ceil(3 * sigma), far = r > 1 ? r : 1;
    double sum = 0, weights = 0;

    for (int dy = -far; dy <= far; dy++)
        for (int dx = -far; dx <= far; dx++) {
            const double *px = at(in, clamp(x + dx, in->w), clamp(y + dy, in->h), 0);
            const double w = exp(-(dx * dx + dy * dy) / (2 * sigma * sigma));

            sum += w * px[band] * (alpha && band < in->bands - 1 ? px[in->bands - 1] / 255 : 1);
            weights += w;
        }
    return sum / weights;
}

static void test_blur(void **state)
{
    unsigned seed = 3;

    for (int i = 0; i < 48; i++) {
        const double sigma = (double[]){0.3, 0.8, 1.5, 4}[i % 4];
        const how h = {sigma, i / 4 % 2, i % 3 == 0};
        const int bands = (i % 3 == 0 ? 2 : 1) + 2 * (i / 8 % 2), colours = bands - h.alpha;
        picture in = picture_random(1 + i * 7 % 30, 1 + i * 5 % 23, bands, IIP_U8, &seed), got;

        got = through(&in, make_blur, &h, 1 + i % 20);
        for (int64_t y = 0; y < in.h; y++)
            for (int64_t x = 0; x < in.w; x++) {
                const double a = h.alpha ? blurred(&in, x, y, colours, 1, sigma) : 255;

                for (int b = 0; b < bands; b++) {
                    double v = blurred(&in, x, y, b, h.alpha, sigma);

                    if (h.alpha && b == colours)
                        v = h.sharpen ? *at(&in, x, y, b) : a;
                    else {
                        if (h.alpha)
                            v *= 255 / a;
                        v = h.sharpen ? 2 * *at(&in, x, y, b) - v : v;
                    }
                    v = v < 0 ? 0 : v > 255 ? 255 : v;
                    assert_true(fabs(v - *at(&got, x, y, b)) <= 0.51);
                }
            }
        free(in.v);
        free(got.v);
    }
}

typedef struct {
    iip_rect frame;
    int rgb, alpha;
} around;

static iip_stage_t *make_frame(iip_stage_t *up, const void *arg, room *r)
{
    const around *f = arg;

    return iip_stage_frame(up, &f->frame, f->rgb, f->alpha, &r->budget, r->pool, &r->err);
}

static void test_frame(void **state)
{
    static const iip_sample kinds[] = {IIP_U8, IIP_U16, IIP_U32, IIP_F32};
    unsigned seed = 9;

    for (int i = 0; i < 64; i++) {
        const int bands = 1 + i % 4, alpha = bands % 2 == 0, colours = bands - alpha, clear = i / 4 % 2;
        const iip_sample kind = kinds[i / 8 % 4];
        const int64_t w = 1 + i % 9, h = 1 + i % 40;
        const around f = {{i % 3 * 5, i % 5 * 11, w + i % 3 * 5 + i % 2 * 7, h + i % 5 * 11 + i % 7 * 9},
                          clear ? -1 : 0xff8040,
                          alpha};
        const double rgb[3] = {255, 128, 64}, grey = floor(0.299 * 255 + 0.587 * 128 + 0.114 * 64);
        picture in = picture_random(w, h, bands, kind, &seed), got;

        got = through(&in, make_frame, &f, 1 + i % 19);
        assert_int_equal(got.w, f.frame.w);
        assert_int_equal(got.h, f.frame.h);
        assert_int_equal(got.bands, colours + (alpha || clear));
        for (int64_t y = 0; y < got.h; y++)
            for (int64_t x = 0; x < got.w; x++)
                for (int b = 0; b < got.bands; b++) {
                    const int64_t ix = x - f.frame.x, iy = y - f.frame.y;
                    const int inside = ix >= 0 && ix < w && iy >= 0 && iy < h;
                    const double top = sample_top(kind);
                    double want = b == colours ? clear ? 0 : top
                                  : clear      ? 0
                                               : (colours == 1 ? grey : rgb[b]) / 255 * top;

                    if (inside)
                        want = b < bands ? *at(&in, ix, iy, b) : top;
                    assert_true(fabs(want - *at(&got, x, y, b)) <= top * 1e-7);
                }
        free(in.v);
        free(got.v);
    }
}

/* Something happens in one place only: the part lies around it. */
static void test_busy(void **state)
{
    static unsigned char px[IIP_BUSY_SIDE * IIP_BUSY_SIDE * 3];
    unsigned seed = 21;

    for (int i = 0; i < 200; i++) {
        const int64_t w = 20 + rnd(&seed) % (IIP_BUSY_SIDE - 19), h = 20 + rnd(&seed) % (IIP_BUSY_SIDE - 19);
        const int bands = i % 2 ? 3 : 1;
        const iip_raster r = {.w = w, .h = h, .bands = bands, .stride = (size_t)(w * bands), .px = px};
        const int64_t ox = rnd(&seed) % (w - 8), oy = rnd(&seed) % (h - 8);
        const int64_t pw = i % 3 ? 12 : w, ph = i % 5 ? 12 : h;
        int64_t x, y;

        memset(px, 100, sizeof px);
        for (int64_t k = 0; k < 64; k++)
            for (int b = 0; b < bands; b++)
                px[((oy + k / 8) * w + ox + k % 8) * bands + b] = (k + k / 8) % 2 ? 0 : 255;
        iip_busiest(&r, pw, ph, &x, &y);
        assert_true(x >= 0 && y >= 0 && x + pw <= w && y + ph <= h);
        assert_true(x <= ox + 1 && x + pw >= ox + 8 && y <= oy + 1 && y + ph >= oy + 8);
    }
}

/* A budget that is too small, an input that ends or fails: an error, nothing worse. */
static void test_failures(void **state)
{
    unsigned seed = 5;
    picture in = picture_random(40, 40, 3, IIP_U8, &seed);
    const how h = {2, 0, 0};
    room r;
    rows_stage *up;
    iip_stage_t *s;

    for (size_t limit = 200; limit < 40000; limit = limit * 3 / 2) {
        room_open(&r, limit);
        up = rows_of(&in, 1, r.pool);
        if (!(s = make_blur(&up->base, &h, &r)))
            assert_int_equal(r.err.status, IIP_E_MEMORY);
        room_close(&r);
    }
    for (int k = 0; k < 2; k++) {
        const around f = {{1, 1, 50, 50}, 0, 0};

        room_open(&r, 1 << 24);
        up = rows_of(&in, 1, r.pool);
        up->fail_at = 20;
        s = k ? make_frame(&up->base, &f, &r) : make_blur(&up->base, &h, &r);
        assert_int_equal(drain(s, 16, NULL, &r.err), IIP_E_CORRUPT);
        room_close(&r);
    }
    free(in.v);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_blur),
        cmocka_unit_test(test_frame),
        cmocka_unit_test(test_busy),
        cmocka_unit_test(test_failures),
    };

    apr_initialize();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
