/* SPDX-License-Identifier: Apache-2.0
 * raster/planes.c: each plane against the filters' definitions on its own samples, where a chroma sample lies in the
 * middle of the two by two pixels it stands for, in the picture and in the answer; and when it is asked at all. */
#include "scale_model.h"
#include "settings.h"

typedef struct {
    picture plane[IIP_PLANES];
    int fail_after; /* fetches; -1: never */
    int64_t fetched;
} planes;

static iip_settings set;

static int setup(void **state)
{
    iip_settings raw;

    apr_pool_t *pool;

    apr_initialize();
    apr_pool_create(&pool, NULL);
    iip_settings_init(pool);
    iip_settings_unset(&raw);
    iip_settings_effective(&set, &raw);
    return 0;
}

static iip_status fetch(void *ctx, int level, iip_rect want, iip_raster *out, iip_error *e)
{
    planes *p = ctx;

    assert_true(want.x % 2 == 0 && want.y % 2 == 0 && (want.w % 2 == 0 || want.x + want.w == p->plane[0].w) &&
                (want.h % 2 == 0 || want.y + want.h == p->plane[0].h));
    if (p->fail_after >= 0 && p->fail_after-- == 0)
        return iip_fail(e, IIP_E_CORRUPT, 0, "as asked");
    for (int k = 0; k < IIP_PLANES; k++) {
        const int64_t x = want.x >> (k > 0), y = want.y >> (k > 0);
        const int64_t w = k ? (want.w + 1) / 2 : want.w, h = k ? (want.h + 1) / 2 : want.h;

        assert_true(out[k].w == w && out[k].h == h && out[k].bands == 1 && out[k].sample == IIP_U8);
        for (int64_t i = 0; i < w * h; i++)
            out[k].px[(size_t)(i / w) * out[k].stride + (size_t)(i % w)] =
                (unsigned char)*at(&p->plane[k], x + i % w, y + i / w, 0);
    }
    p->fetched += want.w * want.h;
    return IIP_OK;
}

static planes planes_new(int64_t w, int64_t h, unsigned *seed)
{
    planes p = {.fail_after = -1};

    for (int k = 0; k < IIP_PLANES; k++)
        p.plane[k] = picture_random(k ? (w + 1) / 2 : w, k ? (h + 1) / 2 : h, 1, IIP_U8, seed);
    return p;
}

static void planes_free(planes *p)
{
    for (int k = 0; k < IIP_PLANES; k++)
        free(p->plane[k].v);
}

static iip_info info_of(int64_t w, int64_t h, int64_t tile)
{
    iip_info i = {.levels = 1, .virtual_from = 1, .pages = 1, .bands = 3, .bits = 8, .space = IIP_RGB, .ycc = 1};

    i.orientation = i.tiled = 1;
    i.level[0] = (iip_level){w, h, tile, tile};
    return i;
}

static iip_request part_of(iip_rect src, int64_t w, int64_t h)
{
    iip_request rq;

    iip_request_init(&rq, &set);
    rq.format = IIP_FMT_JPEG;
    rq.quality = 75;
    rq.region_kind = IIP_REGION_PIXELS;
    rq.src = src;
    rq.out_w = w;
    rq.out_h = h;
    return rq;
}

/* Pulls all planes in turn, as an encoder wants them. */
static iip_status pull(iip_stage_t **top, int64_t turn, picture *got, iip_error *e)
{
    int64_t done[IIP_PLANES] = {0};

    for (int k = 0; k < IIP_PLANES; k++)
        got[k] = picture_new(top[k]->shape.w, top[k]->shape.h, 1, IIP_U8);
    for (int64_t y = 0; y < got[0].h; y += turn)
        for (int k = 0; k < IIP_PLANES; k++) {
            int64_t until = k ? (y + turn) / 2 : y + turn;

            until = until < got[k].h ? until : got[k].h;
            while (done[k] < until) {
                iip_raster out;
                iip_status rv = top[k]->next(top[k], until - done[k], &out, e);

                if (rv != IIP_OK)
                    return rv;
                assert_true(out.h > 0 && done[k] + out.h <= until && out.w == got[k].w);
                for (int64_t i = 0; i < out.w * out.h; i++)
                    *at(&got[k], i % out.w, done[k] + i / out.w, 0) =
                        out.px[(size_t)(i / out.w) * out.stride + (size_t)(i % out.w)];
                done[k] += out.h;
            }
        }
    return IIP_OK;
}

/* One axis of plane k: output sample i of n, where a window of the picture from x on, len long, becomes `size` pixels.
 * A sample of the answer's chroma stands for its pixels 2i and 2i + 1, one of the picture's likewise. */
static taps plane_taps(int k, double x, double len, int64_t size, int64_t i)
{
    const int64_t n = k ? (size + 1) / 2 : size;
    const double one = len / (double)size; /* pixel of the answer, in those of the picture */
    const int64_t end = (int64_t)ceil(x + len);

    return k ? taps_of(LANCZOS, x / 2, one * 2 * (double)n / 2, n, i, (end + 1) / 2)
             : taps_of(LANCZOS, x, len, n, i, end);
}

static void compare(const planes *p, const picture *got, const iip_request *rq)
{
    for (int k = 0; k < IIP_PLANES; k++) {
        assert_true(got[k].w == (k ? (rq->out_w + 1) / 2 : rq->out_w));
        assert_true(got[k].h == (k ? (rq->out_h + 1) / 2 : rq->out_h));
        for (int64_t y = 0; y < got[k].h; y++) {
            taps ty = plane_taps(k, (double)rq->src.y, (double)rq->src.h, rq->out_h, y);

            for (int64_t x = 0; x < got[k].w; x++) {
                taps tx = plane_taps(k, (double)rq->src.x, (double)rq->src.w, rq->out_w, x);
                double want = 0, g = *at(&got[k], x, y, 0);

                for (int a = 0; a < ty.n; a++)
                    for (int b = 0; b < tx.n; b++)
                        want += ty.w[a] * tx.w[b] * *at(&p->plane[k], tx.at[b], ty.at[a], 0);
                want = want < 0 ? 0 : want > 255 ? 255 : want;
                if (fabs(want - g) > 0.51)
                    fail_msg("plane %d of %ldx%ld+%ld+%ld to %ldx%ld at %ld,%ld: %g, should be %g", k, (long)rq->src.w,
                             (long)rq->src.h, (long)rq->src.x, (long)rq->src.y, (long)rq->out_w, (long)rq->out_h,
                             (long)x, (long)y, g, want);
            }
        }
    }
}

static void check(planes *p, const iip_request *rq, int64_t tile)
{
    const iip_info info = info_of(p->plane[0].w, p->plane[0].h, tile);
    iip_stage_t *top[IIP_PLANES];
    picture got[IIP_PLANES];
    int64_t turn;
    iip_budget b = {.limit = 64 << 20};
    apr_pool_t *pool;
    iip_error e;

    apr_pool_create(&pool, NULL);
    assert_true(iip_request_planes(rq, &info));
    assert_int_equal(iip_planes_build(top, &turn, rq, &info, fetch, p, &b, pool, &e), IIP_OK);
    assert_true(turn == 2 || turn == 4 || turn == 8 || turn == 16);
    p->fetched = 0;
    assert_int_equal(pull(top, turn, got, &e), IIP_OK);
    assert_true(p->fetched <= (rq->src.w + 3) * (rq->src.h + 3)); /* each once */
    compare(p, got, rq);
    for (int k = 0; k < IIP_PLANES; k++)
        free(got[k].v);
    apr_pool_destroy(pool);
    assert_int_equal(b.used, 0);
}

static void test_windows(void **state)
{
    static const int64_t tiles[] = {2, 16, 48, 256};
    unsigned seed = 5;

    for (int i = 0; i < 200; i++) {
        int64_t w = 1 + rnd(&seed) % 90, h = 1 + rnd(&seed) % 90;
        planes p = planes_new(w, h, &seed);
        iip_rect src = {rnd(&seed) % (unsigned)w, rnd(&seed) % (unsigned)h, 0, 0};
        iip_request rq;

        if (i % 4 == 0)
            src.x = src.y = 0;
        src.w = i % 4 ? 1 + rnd(&seed) % (unsigned)(w - src.x) : w - src.x;
        src.h = i % 4 ? 1 + rnd(&seed) % (unsigned)(h - src.y) : h - src.y;
        rq = part_of(src, i % 3 ? 1 + rnd(&seed) % 60 : src.w, i % 3 ? 1 + rnd(&seed) % 60 : src.h);
        if (rq.out_h * 32 < src.h)
            rq.out_h = src.h;
        check(&p, &rq, tiles[i % 4]);
        planes_free(&p);
    }
}

/* Whole blocks of chroma are copied, to the last of an odd size. */
static void test_copy(void **state)
{
    static const iip_rect parts[] = {{0, 0, 61, 47}, {2, 4, 59, 43}, {10, 20, 30, 20}, {60, 46, 1, 1}};
    unsigned seed = 6;
    planes p = planes_new(61, 47, &seed);
    const iip_info info = info_of(61, 47, 16);

    for (int i = 0; i < 4; i++) {
        const iip_request rq = part_of(parts[i], parts[i].w, parts[i].h);
        iip_stage_t *top[IIP_PLANES];
        picture got[IIP_PLANES];
        int64_t turn;
        iip_budget b = {.limit = 1 << 20};
        apr_pool_t *pool;
        iip_error e;

        apr_pool_create(&pool, NULL);
        assert_int_equal(iip_planes_build(top, &turn, &rq, &info, fetch, &p, &b, pool, &e), IIP_OK);
        assert_int_equal(pull(top, turn, got, &e), IIP_OK);
        for (int k = 0; k < IIP_PLANES; k++) {
            for (int64_t n = 0; n < got[k].w * got[k].h; n++)
                assert_true(*at(&got[k], n % got[k].w, n / got[k].w, 0) ==
                            *at(&p.plane[k], (parts[i].x >> (k > 0)) + n % got[k].w,
                                (parts[i].y >> (k > 0)) + n / got[k].w, 0));
            free(got[k].v);
        }
        apr_pool_destroy(pool);
    }
    planes_free(&p);
}

/* R35: where a level's size was rounded down, and a tile of it is asked by the size rounded up, its last row and column
 * come twice; those of chroma are the ones of their pixels. */
static void test_rounded(void **state)
{
    unsigned seed = 16;

    for (int i = 0; i < 4; i++) {
        const int64_t w = 60 + i % 2, h = 46 + i / 2; /* of the level */
        planes p = planes_new(w, h, &seed);
        iip_info info = info_of(2 * w + 1, 2 * h + 1, 16);
        iip_request rq = part_of((iip_rect){0, 0, 2 * w + 1, 2 * h + 1}, w + 1, h + 1);
        iip_stage_t *top[IIP_PLANES];
        picture got[IIP_PLANES];
        int64_t turn;
        iip_budget b = {.limit = 1 << 20};
        apr_pool_t *pool;
        iip_error e;

        info.levels = info.virtual_from = 2;
        info.level[1] = (iip_level){w, h, 16, 16};
        rq.level = 1;
        apr_pool_create(&pool, NULL);
        assert_true(iip_request_planes(&rq, &info));
        assert_int_equal(iip_planes_build(top, &turn, &rq, &info, fetch, &p, &b, pool, &e), IIP_OK);
        assert_int_equal(pull(top, turn, got, &e), IIP_OK);
        for (int k = 0; k < IIP_PLANES; k++) {
            const picture *in = &p.plane[k];

            assert_true(got[k].w == (k ? (w + 2) / 2 : w + 1) && got[k].h == (k ? (h + 2) / 2 : h + 1));
            for (int64_t y = 0; y < got[k].h; y++)
                for (int64_t x = 0; x < got[k].w; x++)
                    assert_true(*at(&got[k], x, y, 0) ==
                                *at(in, x < in->w ? x : in->w - 1, y < in->h ? y : in->h - 1, 0));
            free(got[k].v);
        }
        apr_pool_destroy(pool);
        planes_free(&p);
    }
}

/* What is said to be held is never less than what is. */
static void test_memory(void **state)
{
    static const int64_t tiles[] = {16, 48, 256},
                         outs[][2] = {{600, 440}, {599, 439}, {280, 240}, {40, 31}, {3, 440}, {20, 14}, {1200, 880}};
    unsigned seed = 8;
    planes p = planes_new(600, 440, &seed);

    for (int i = 0; i < 21; i++) {
        const iip_info info = info_of(600, 440, tiles[i % 3]);
        const iip_request rq = part_of((iip_rect){0, 0, 600, 440}, outs[i / 3][0], outs[i / 3][1]);
        iip_stage_t *top[IIP_PLANES];
        picture got[IIP_PLANES];
        int64_t turn;
        iip_budget b = {.limit = 64 << 20};
        apr_pool_t *pool;
        iip_error e;

        apr_pool_create(&pool, NULL);
        assert_int_equal(iip_planes_build(top, &turn, &rq, &info, fetch, &p, &b, pool, &e), IIP_OK);
        assert_int_equal(pull(top, turn, got, &e), IIP_OK);
        for (int k = 0; k < IIP_PLANES; k++)
            free(got[k].v);
        if ((int64_t)b.peak > iip_request_memory(&rq, &info))
            fail_msg("tiles of %ld to %ldx%ld: %ld bytes, %ld were said", (long)tiles[i % 3], (long)rq.out_w,
                     (long)rq.out_h, (long)b.peak, (long)iip_request_memory(&rq, &info));
        apr_pool_destroy(pool);
    }
    planes_free(&p);
}

/* A fetch that fails is the answer's failure, and so is memory that is out. */
static void test_failures(void **state)
{
    unsigned seed = 7;
    planes p = planes_new(200, 200, &seed);
    const iip_info info = info_of(200, 200, 16);
    const iip_request rq = part_of((iip_rect){0, 0, 200, 200}, 150, 150);
    size_t peak = 1 << 20;

    for (int i = 0; i < 40; i++) {
        iip_stage_t *top[IIP_PLANES];
        picture got[IIP_PLANES];
        int64_t turn;
        iip_budget b = {.limit = i < 13 ? 1 << 20 : peak * (size_t)(i - 13) / 27};
        apr_pool_t *pool;
        iip_error e = {0};
        iip_status rv;

        apr_pool_create(&pool, NULL);
        p.fail_after = i < 13 ? i : -1;
        rv = iip_planes_build(top, &turn, &rq, &info, fetch, &p, &b, pool, &e);
        if (rv == IIP_OK) {
            rv = pull(top, turn, got, &e);
            for (int k = 0; k < IIP_PLANES; k++)
                free(got[k].v);
        }
        assert_int_equal(rv, i < 13 ? IIP_E_CORRUPT : IIP_E_MEMORY);
        apr_pool_destroy(pool);
        if (i == 12)
            peak = b.peak;
    }
    planes_free(&p);
}

/* Anything but resizing, or another format or picture, is made of pixels. */
static void test_when(void **state)
{
    static const iip_op grey = {IIP_OP_GRAY, 0, NULL};
    iip_info info = info_of(200, 100, 64);
    const iip_request plain = part_of((iip_rect){0, 0, 200, 100}, 100, 50);
    iip_settings nearest = set;

    nearest.interpolation = IIP_INTERPOLATE_NEAREST;
    assert_true(iip_request_planes(&plain, &info));
#define NOT(change)                                                                                                    \
    do {                                                                                                               \
        iip_request rq = plain;                                                                                        \
        iip_info was = info;                                                                                           \
                                                                                                                       \
        change;                                                                                                        \
        assert_false(iip_request_planes(&rq, &info));                                                                  \
        info = was;                                                                                                    \
    } while (0)
    NOT(info.ycc = 0);
    for (int i = 2; i <= 8; i++)
        NOT(info.orientation = i);
    NOT(info.virtual_from = 0);
    NOT(rq.format = IIP_FMT_PNG);
    NOT((rq.format = IIP_FMT_TIFF, rq.quality = -1));
    NOT(rq.quality = 90);
    NOT(rq.flip = 1);
    NOT(rq.rotate = 180);
    NOT(rq.rotate = 0.5);
    NOT(rq.frame = ((iip_rect){1, 1, 200, 200}));
    NOT(rq.op[rq.op_count++] = grey);
    NOT(rq.set = &nearest);
    NOT(rq.out_h = 3);
    NOT((info.space = IIP_CMYK, info.icc_kind = IIP_ICC_OTHER));
#undef NOT
}

/* By JFIF's formulas, chroma the mean of its pixels. */
static void test_planes_of(void **state)
{
    unsigned seed = 9;

    for (int i = 0; i < 30; i++) {
        const int64_t w = 1 + rnd(&seed) % 20, h = 1 + rnd(&seed) % 20, cw = (w + 1) / 2, ch = (h + 1) / 2;
        picture in = picture_random(w, h, 3, IIP_U8, &seed);
        unsigned char *px = xmalloc((size_t)(w * h * 3)), *out = xmalloc((size_t)(w * h + 2 * cw * ch));
        iip_raster rgb = {w, h, 3, IIP_U8, (size_t)w * 3, px};
        iip_raster to[IIP_PLANES] = {{w, h, 1, IIP_U8, (size_t)w, out},
                                     {cw, ch, 1, IIP_U8, (size_t)cw, out + w * h},
                                     {cw, ch, 1, IIP_U8, (size_t)cw, out + w * h + cw * ch}};

        if (i % 3 == 0) /* all at the ends of the range */
            for (int64_t n = 0; n < w * h * 3; n++)
                in.v[n] = in.v[n] < 128 ? 0 : 255;
        for (int64_t n = 0; n < w * h * 3; n++)
            px[n] = (unsigned char)in.v[n];
        iip_planes_of(&rgb, to);
        for (int k = 0; k < IIP_PLANES; k++)
            for (int64_t n = 0; n < to[k].w * to[k].h; n++) {
                static const double by[][3] = {{0.299, 0.587, 0.114},
                                               {-0.299 / 1.772, -0.587 / 1.772, 0.5},
                                               {0.5, -0.587 / 1.402, -0.114 / 1.402}};
                double want = 0;
                int of = 0;

                for (int64_t y = 0; y < (k ? 2 : 1); y++)
                    for (int64_t x = 0; x < (k ? 2 : 1); x++) {
                        const int64_t px_x = n % to[k].w * (k ? 2 : 1) + x, px_y = n / to[k].w * (k ? 2 : 1) + y;

                        if (px_x >= w || px_y >= h)
                            continue;
                        of++;
                        for (int c = 0; c < 3; c++)
                            want += by[k][c] * *at(&in, px_x, px_y, c);
                    }
                want = want / of + (k ? 128 : 0);
                assert_true(fabs(want - to[k].px[n]) <= (want > 255 ? 0.51 + want - 255 : 0.51));
            }
        free(in.v);
        free(px);
        free(out);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_windows), cmocka_unit_test(test_copy),      cmocka_unit_test(test_failures),
        cmocka_unit_test(test_when),    cmocka_unit_test(test_planes_of), cmocka_unit_test(test_memory),
        cmocka_unit_test(test_rounded),
    };

    return cmocka_run_group_tests(tests, setup, NULL);
}
