/* SPDX-License-Identifier: Apache-2.0
 * raster/: source, budget, operations and flattening against plain models, and the chain of a request. Longer than
 * other files, since all of them share the levels that are made up here. */
#include "strips.h"
#include "settings.h"

/* ---- a level in memory, counted by cells ---- */

typedef struct {
    const picture *pic;
    iip_level grid;
    int *decoded; /* times each cell was asked */
    int calls, level;
} store;

static iip_status fetch(void *ctx, int level, iip_rect want, iip_raster *out, iip_error *e)
{
    store *s = ctx;
    size_t size = iip_sample_size(out->sample);
    int64_t across = (s->grid.w + s->grid.tile_w - 1) / s->grid.tile_w;

    assert_int_equal(level, s->level);
    assert_true(want.x >= 0 && want.y >= 0 && want.w > 0 && want.h > 0);
    assert_true(want.x + want.w <= s->grid.w && want.y + want.h <= s->grid.h);
    assert_true(out->w == want.w && out->h == want.h && out->stride >= (size_t)(out->w * out->bands) * size);
    s->calls++;
    for (int64_t ty = want.y / s->grid.tile_h; ty <= (want.y + want.h - 1) / s->grid.tile_h; ty++)
        for (int64_t tx = want.x / s->grid.tile_w; tx <= (want.x + want.w - 1) / s->grid.tile_w; tx++)
            s->decoded[ty * across + tx]++;
    for (int64_t y = 0; y < want.h; y++)
        for (int64_t i = 0; i < want.w * out->bands; i++)
            sample_put(out->px + (size_t)y * out->stride + (size_t)i * size, out->sample,
                       at(s->pic, want.x, want.y + y, 0)[i]);
    return IIP_OK;
}

static store store_new(const picture *pic, int64_t tile_w, int64_t tile_h)
{
    store s = {.pic = pic, .grid = {pic->w, pic->h, tile_w, tile_h}};

    s.decoded = calloc((size_t)((pic->w / tile_w + 1) * (pic->h / tile_h + 1)), sizeof *s.decoded);
    assert_non_null(s.decoded);
    return s;
}

static iip_info info_of(const store *s, iip_space space, int alpha)
{
    iip_info info = {.levels = 1, .virtual_from = 1, .bands = s->pic->bands, .sample = s->pic->sample};

    info.level[0] = s->grid;
    info.space = space;
    info.alpha = alpha;
    return info;
}

static void test_level(void **state)
{
    static const int64_t asked[] = {1, 5, 16, 1000};
    unsigned seed = 1;
    picture pic = picture_random(100, 90, 3, IIP_U8, &seed);

    for (int i = 0; i < 200; i++) {
        store st = store_new(&pic, 1 + rnd(&seed) % 100, 1 + rnd(&seed) % 90);
        iip_info info = info_of(&st, IIP_RGB, 0);
        int64_t x = rnd(&seed) % 100, y = rnd(&seed) % 90;
        iip_rect cover = {x, y, 1 + rnd(&seed) % (unsigned)(100 - x), 1 + rnd(&seed) % (unsigned)(90 - y)};
        int64_t first = y / st.grid.tile_h, last = (y + cover.h - 1) / st.grid.tile_h;
        iip_stage_t *s;
        picture got;
        room r;

        room_open(&r, 1 << 20);
        s = iip_stage_level(&cover, 0, &info, fetch, &st, &r.budget, r.pool, &r.err);
        assert_non_null(s);
        assert_int_equal(drain(s, asked[i % 4], &got, &r.err), IIP_OK);
        assert_true(got.w == cover.w && got.h == cover.h);
        for (int64_t k = 0; k < got.w * got.h; k++)
            assert_memory_equal(at(&got, k % got.w, k / got.w, 0), at(&pic, x + k % got.w, y + k / got.w, 0),
                                3 * sizeof(double));
        assert_int_equal(st.calls, last - first + 1);
        for (int64_t k = 0; k < (100 / st.grid.tile_w + 1) * (90 / st.grid.tile_h + 1); k++)
            assert_in_range(st.decoded[k], 0, 1);
        assert_in_range(r.budget.peak, 1,
                        (size_t)((cover.w * 3 + 64) * (st.grid.tile_h < cover.h ? st.grid.tile_h : cover.h) + 1024));
        free(got.v);
        free(st.decoded);
        room_close(&r);
    }
    free(pic.v);
}

/* A picture that lies on its side comes in columns as tall as itself: read again for each part of it that is held, some
 * times at most, and the parts join. */
typedef struct {
    int64_t next; /* the row that has to come */
    int parts;
} columns;

static iip_status fetch_ends(void *ctx, int level, iip_rect want, iip_raster *out, iip_error *e)
{
    columns *c = ctx;

    assert_true(want.y == c->next && want.x == 0 && want.w == out->w && want.h == out->h);
    for (int64_t y = 0; y < want.h; y++) /* no more than is looked at */
        memcpy(out->px + (size_t)y * out->stride, &(int64_t){want.y + y}, sizeof(int64_t));
    c->next += want.h;
    c->parts++;
    return IIP_OK;
}

static void test_lying(void **state)
{
    static const struct {
        int64_t w, h;
        int parts; /* 0: too many: all at once */
    } rows[] = {{1000, 900, 1},    {70000, 2000, 1},  {70000, 3000, 2},
                {300000, 2200, 4}, {300000, 2400, 0}, {400000000, 3, 0}};

    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        for (int orientation = 5; orientation <= 8; orientation++) {
            const int64_t w = rows[i].w, h = rows[i].h;
            iip_info info = {.levels = 1, .bands = 1, .sample = IIP_U8, .orientation = orientation};
            iip_rect cover = {0, 0, w, h};
            columns c = {0, 0};
            iip_stage_t *s;
            iip_raster out;
            room r;
            int64_t y = 0;

            info.level[0] = (iip_level){w, h, 64, h};
            room_open(&r, (size_t)170 << 20);
            s = iip_stage_level(&cover, 0, &info, fetch_ends, &c, &r.budget, r.pool, &r.err);
            if (!rows[i].parts) {
                assert_null(s);
                assert_int_equal(r.err.status, IIP_E_MEMORY);
                room_close(&r);
                continue;
            }
            assert_non_null(s);
            while (y < h) {
                int64_t is;

                assert_int_equal(s->next(s, 37, &out, &r.err), IIP_OK);
                for (int64_t k = 0; k < out.h; k++, y++) {
                    memcpy(&is, out.px + (size_t)k * out.stride, sizeof is);
                    assert_int_equal(is, y);
                }
            }
            assert_int_equal(c.parts, rows[i].parts);
            room_close(&r);
        }
}

/* ---- budget ---- */

static int gone_now(void *ctx)
{
    return --*(int *)ctx < 0;
}

static void test_budget(void **state)
{
    iip_budget b = {.limit = 100};
    iip_error e;
    room r;
    int left = 2;

    assert_int_equal(iip_budget_take(&b, 60, &e), IIP_OK);
    assert_int_equal(iip_budget_take(&b, 41, &e), IIP_E_MEMORY);
    assert_int_equal(iip_budget_take(&b, SIZE_MAX, &e), IIP_E_MEMORY);
    assert_int_equal(iip_budget_take(&b, 40, &e), IIP_OK);
    iip_budget_back(&b, 50);
    assert_int_equal(b.used, 50);
    assert_int_equal(b.peak, 100);

    room_open(&r, 10000);
    for (int i = 0; i < 20; i++) {
        unsigned char *p = iip_budget_alloc(&r.budget, (size_t)i * 7, r.pool, &r.err);

        assert_non_null(p);
        assert_int_equal((uintptr_t)p % 64, 0);
        memset(p, i, (size_t)i * 7);
    }
    assert_null(iip_budget_alloc(&r.budget, SIZE_MAX - 3, r.pool, &r.err));
    assert_int_equal(r.err.status, IIP_E_MEMORY);
    assert_null(iip_budget_alloc(&r.budget, 9000, r.pool, &r.err));
    assert_int_equal(r.err.status, IIP_E_MEMORY);

    assert_int_equal(iip_budget_check(&r.budget, &r.err), IIP_OK);
    r.budget.until = apr_time_now() + apr_time_from_sec(60);
    assert_int_equal(iip_budget_check(&r.budget, &r.err), IIP_OK);
    r.budget.until = apr_time_now() - 1;
    assert_int_equal(iip_budget_check(&r.budget, &r.err), IIP_E_TIMEOUT);
    r.budget.until = 0;
    r.budget.gone = gone_now;
    r.budget.gone_ctx = &left;
    assert_int_equal(iip_budget_check(&r.budget, &r.err), IIP_OK);
    assert_int_equal(iip_budget_check(&r.budget, &r.err), IIP_OK);
    assert_int_equal(iip_budget_check(&r.budget, &r.err), IIP_E_ABORTED);
    room_close(&r);
}

/* What malloc itself refuses. (The address sanitizer ends the process there.) */
static void test_malloc_fails(void **state)
{
#ifdef IIP_ASAN
    skip();
#else
    room r;

    room_open(&r, SIZE_MAX);
    assert_null(iip_budget_alloc(&r.budget, SIZE_MAX / 4, r.pool, &r.err));
    assert_int_equal(r.err.status, IIP_E_MEMORY);
    assert_int_equal(r.budget.used, 0);
    room_close(&r);
#endif
}

/* ---- operations, flatten ---- */

static iip_stage_t *make_op(iip_stage_t *up, const void *op, room *r)
{
    return iip_stage_op(up, op, NULL, up->shape.bands % 2 == 0, &r->budget, r->pool, &r->err);
}

static void test_op(void **state)
{
    unsigned seed = 6;

    for (int kind_of = IIP_OP_GRAY; kind_of <= IIP_OP_BITONAL; kind_of++)
        for (int bands = 1; bands <= 4; bands++) {
            picture in = picture_random(5001, 7, bands, IIP_U8, &seed), got;
            iip_op op = {(uint16_t)kind_of, 0, NULL};
            int alpha = bands % 2 == 0;

            got = through(&in, make_op, &op, 4);
            assert_int_equal(got.bands, 1 + alpha);
            for (int64_t i = 0; i < 5001 * 7; i++) {
                const double *px = in.v + i * bands;
                double grey = bands < 3 ? px[0]
                                        : (double)(((long long)px[0] * 1254097 + (long long)px[1] * 2462056 +
                                                    (long long)px[2] * 478151) >>
                                                   22);

                if (kind_of == IIP_OP_BITONAL)
                    grey = grey >= 128 ? 255 : 0;
                assert_true(got.v[i * got.bands] == grey);
                if (alpha)
                    assert_true(got.v[i * 2 + 1] == px[bands - 1]);
            }
            free(in.v);
            free(got.v);
        }
}

static void test_op_deep(void **state)
{
    static const iip_sample kinds[] = {IIP_U16, IIP_U32, IIP_F32};
    static const iip_op op = {IIP_OP_GRAY, 0, NULL};
    unsigned seed = 7;

    for (int k = 0; k < 3; k++)
        for (int bands = 1; bands <= 4; bands++) {
            picture in = picture_random(1001, 3, bands, kinds[k], &seed), got = through(&in, make_op, &op, 4);
            int alpha = bands % 2 == 0;

            assert_true(got.bands == 1 + alpha && got.sample == kinds[k]);
            for (int64_t i = 0; i < 1001 * 3; i++) {
                const double *px = in.v + i * bands;
                double grey = bands < 3 ? px[0] : px[0] * 0.299 + px[1] * 0.587 + px[2] * 0.114;

                /* the weights are rounded to 22 bits, the integers down */
                assert_true(fabs(got.v[i * got.bands] - grey) <=
                            (bands < 3 ? 0 : sample_top(kinds[k]) * 3e-7 + (k < 2)));
                if (alpha)
                    assert_true(got.v[i * 2 + 1] == px[bands - 1]);
            }
            free(in.v);
            free(got.v);
        }
}

static iip_stage_t *make_flatten(iip_stage_t *up, const void *rgb, room *r)
{
    return iip_stage_flatten(up, *(const int *)rgb, &r->budget, r->pool, &r->err);
}

static void test_flatten(void **state)
{
    unsigned seed = 8;
    int rgb = 0x20c0ff, grey = (1254097 * 0x20 + 2462056 * 0xc0 + 478151 * 0xff) >> 22;

    for (int bands = 2; bands <= 4; bands += 2) {
        picture in = picture_random(3001, 4, bands, IIP_U8, &seed), got;

        for (int k = 0; k < bands; k++) {
            in.v[k] = 255;       /* opaque white, */
            in.v[bands + k] = 0; /* clear black */
        }
        got = through(&in, make_flatten, &rgb, 3);
        assert_int_equal(got.bands, bands - 1);
        for (int64_t i = 0; i < 3001 * 4; i++)
            for (int c = 0; c < bands - 1; c++) {
                double under = bands == 2 ? grey : rgb >> (16 - 8 * c) & 255, a = in.v[i * bands + bands - 1];

                assert_true(got.v[i * (bands - 1) + c] ==
                            floor((in.v[i * bands + c] * a + under * (255 - a)) / 255 + 0.5));
            }
        free(in.v);
        free(got.v);
    }
}

/* ---- the chain ---- */

typedef struct {
    picture pic;
    store st;
    iip_info info;
    iip_settings set;
    iip_request rq;
} job;

static void job_open(job *j, int64_t w, int64_t h, int bands, unsigned seed)
{
    memset(j, 0, sizeof *j);
    j->pic = picture_random(w, h, bands, IIP_U8, &seed);
    j->st = store_new(&j->pic, 32, 32);
    j->info = info_of(&j->st, bands > 2 ? IIP_RGB : IIP_GREY, bands % 2 == 0);
    j->set.interpolation = IIP_INTERPOLATE_LANCZOS;
    j->set.background = 0xff8000;
    j->rq.set = &j->set;
    j->rq.src = (iip_rect){0, 0, w, h};
    j->rq.out_w = w;
    j->rq.out_h = h;
}

static void job_close(job *j)
{
    free(j->pic.v);
    free(j->st.decoded);
}

static iip_status job_run(job *j, int alpha_taken, int64_t max_rows, size_t limit, picture *got, room *r)
{
    iip_encoder enc = {.alpha = alpha_taken, .samples = 1u << IIP_U8};
    iip_stage_t *top;
    iip_status rv;

    r->budget.limit = limit;
    rv = iip_pipeline_build(&top, &j->rq, &j->info, alpha_taken < 0 ? NULL : &enc, NULL, fetch, &j->st, &r->budget,
                            r->pool, &r->err);
    return rv == IIP_OK ? drain(top, max_rows, got, &r->err) : rv;
}

/* Any request gives as many rows as it says, of the bands its encoder takes, and the same bytes for any strips. */
static void test_chain(void **state)
{
    static const double angles[] = {0, 90, 180, 270, 33.3};

    for (int i = 0; i < 4 * 5 * 8; i++) {
        int bands = 1 + i % 4, takes = i / 20 % 2, op = i / 40 % 2, flip = i / 80 % 2;
        double angle = angles[i / 4 % 5];
        picture got[2];
        job j;

        job_open(&j, 150, 110, bands, (unsigned)i);
        j.rq.src = (iip_rect){13, 7, 120, 90};
        j.rq.out_w = i % 3 ? 120 : 55;
        j.rq.out_h = i % 3 ? 90 : 44;
        j.rq.rotate = angle;
        j.rq.flip = flip;
        j.rq.op_count = op;
        j.rq.op[0].kind = i % 7 ? IIP_OP_GRAY : IIP_OP_BITONAL;
        for (int k = 0; k < 2; k++) {
            int64_t w, h;
            room r;

            room_open(&r, 0);
            assert_int_equal(job_run(&j, takes, k ? 1 : INT64_MAX, 1 << 24, &got[k], &r), IIP_OK);
            iip_rotate_canvas(j.rq.out_w, j.rq.out_h, angle, &w, &h);
            assert_true(got[k].w == w && got[k].h == h);
            assert_int_equal(got[k].bands, (bands < 3 || op ? 1 : 3) + (takes && (bands % 2 == 0 || angle == 33.3)));
            room_close(&r);
        }
        same(&got[0], &got[1]);
        free(got[0].v);
        free(got[1].v);
        job_close(&j);
    }
}

/* Region, then mirror, then turn (R24), pixel by pixel. */
static void test_chain_order(void **state)
{
    for (int q = 0; q < 4; q++) {
        picture got;
        room r;
        job j;

        job_open(&j, 70, 60, 3, 11);
        j.rq.src = (iip_rect){5, 9, 40, 30};
        j.rq.out_w = 40;
        j.rq.out_h = 30;
        j.rq.flip = 1;
        j.rq.rotate = q * 90.0;
        room_open(&r, 0);
        assert_int_equal(job_run(&j, 0, 16, 1 << 24, &got, &r), IIP_OK);
        for (int64_t y = 0; y < 30; y++)
            for (int64_t x = 0; x < 40; x++) {
                int64_t m = 39 - x;
                int64_t to[4][2] = {{m, y}, {29 - y, m}, {39 - m, 29 - y}, {y, 39 - m}};

                assert_memory_equal(at(&got, to[q][0], to[q][1], 0), at(&j.pic, 5 + x, 9 + y, 0), 3 * sizeof(double));
            }
        free(got.v);
        room_close(&r);
        job_close(&j);
    }
}

/* Bitonal has two values whatever the angle; corners are clear, or of the background. */
static void test_chain_bitonal(void **state)
{
    for (int takes = 0; takes < 2; takes++) {
        picture got;
        room r;
        job j;

        job_open(&j, 90, 60, 3, 12);
        j.rq.op_count = 1;
        j.rq.op[0].kind = IIP_OP_BITONAL;
        j.rq.rotate = 30;
        room_open(&r, 0);
        assert_int_equal(job_run(&j, takes, 16, 1 << 24, &got, &r), IIP_OK);
        assert_int_equal(got.bands, 1 + takes);
        assert_true(got.v[takes] == (takes ? 0 : (1254097 * 0xff + 2462056 * 0x80) >> 22));
        for (int64_t i = 0; takes && i < got.w * got.h; i++)
            assert_true(got.v[2 * i] == 0 || got.v[2 * i] == 255);
        free(got.v);
        room_close(&r);
        job_close(&j);
    }
}

/* Tiles asked one by one, at sizes rounded up at the edges, fit together to the level. */
static void test_chain_seams(void **state)
{
    job j;

    job_open(&j, 131, 97, 3, 13);
    for (int64_t ty = 0; ty < 97; ty += 32)
        for (int64_t tx = 0; tx < 131; tx += 32) {
            iip_rect t = {tx, ty, tx + 32 < 131 ? 32 : 131 - tx, ty + 32 < 97 ? 32 : 97 - ty};
            picture got;
            room r;

            j.rq.src = t;
            j.rq.out_w = t.w;
            j.rq.out_h = t.h;
            room_open(&r, 0);
            assert_int_equal(job_run(&j, 0, 8, 1 << 24, &got, &r), IIP_OK);
            for (int64_t k = 0; k < t.w * t.h; k++)
                assert_memory_equal(at(&got, k % t.w, k / t.w, 0), at(&j.pic, tx + k % t.w, ty + k / t.w, 0),
                                    3 * sizeof(double));
            free(got.v);
            room_close(&r);
        }
    for (int i = 0; i < 5 * 4; i++)
        assert_int_equal(j.st.decoded[i], 1);
    job_close(&j);
}

/* R35: tiles of a smaller level as clients ask for them, rounded down or up at the edges, are that level's pixels; what
 * is not stored is the last row or column again. Stored levels may be rounded either way, too. */
static void test_chain_tiles(void **state)
{
    for (int up = 0; up < 2; up++)
        for (int asked_up = 0; asked_up < 2; asked_up++) {
            int64_t w = 131, h = 97;
            job j;

            job_open(&j, up ? 66 : 65, up ? 49 : 48, 3, 17);
            j.info.levels = j.info.virtual_from = 2;
            j.info.level[1] = j.info.level[0];
            j.info.level[0] = (iip_level){w, h, 32, 32};
            j.rq.level = j.st.level = 1;
            for (int64_t y = 0; y < h; y += 32)
                for (int64_t x = 0; x < w; x += 32) {
                    iip_rect t = {x, y, x + 32 < w ? 32 : w - x, y + 32 < h ? 32 : h - y};
                    picture got;
                    room r;

                    j.rq.src = t;
                    j.rq.out_w = (t.w + asked_up) / 2;
                    j.rq.out_h = (t.h + asked_up) / 2;
                    if (j.rq.out_w == 0 || j.rq.out_h == 0)
                        continue;
                    room_open(&r, 0);
                    assert_int_equal(job_run(&j, 0, 8, 1 << 24, &got, &r), IIP_OK);
                    for (int64_t k = 0; k < got.w * got.h; k++) {
                        int64_t sx = x / 2 + k % got.w, sy = y / 2 + k / got.w;

                        assert_memory_equal(
                            at(&got, k % got.w, k / got.w, 0),
                            at(&j.pic, sx < j.pic.w ? sx : j.pic.w - 1, sy < j.pic.h ? sy : j.pic.h - 1, 0),
                            3 * sizeof(double));
                    }
                    free(got.v);
                    room_close(&r);
                }
            job_close(&j);
        }
}

/* An export's memory goes with its width; cells are decoded once. */
static void test_chain_memory(void **state)
{
    for (int full = 0; full < 2; full++) {
        room r;
        job j;

        job_open(&j, 700, 1500, 3, 14);
        j.rq.out_w = full ? 700 : 300;
        j.rq.out_h = full ? 1500 : 643;
        room_open(&r, 0);
        assert_int_equal(job_run(&j, 0, 16, 1 << 24, NULL, &r), IIP_OK);
        assert_in_range(r.budget.peak, 1, full ? 704 * 3 * 32 + 2048 : 704 * 3 * (32 + 16 + 16) + 700 * 4 * 20);
        for (int i = 0; i < 22 * 47; i++)
            assert_int_equal(j.st.decoded[i], 1);
        room_close(&r);
        job_close(&j);
    }
}

/* Every place where memory can run out. */
static void test_chain_out_of_memory(void **state)
{
    for (int angle = 0; angle < 2; angle++) {
        int refused = 0;
        job j;

        job_open(&j, 100, 80, 4, 15);
        j.info.space = IIP_CMYK;
        j.info.alpha = 0;
        j.rq.out_w = 60;
        j.rq.out_h = 50;
        j.rq.flip = 1;
        j.rq.rotate = angle ? 10 : 90;
        j.rq.op_count = 1;
        for (size_t limit = 0;; limit += 64, refused++) {
            iip_status rv;
            room r;

            room_open(&r, 0);
            rv = job_run(&j, 0, 16, limit, NULL, &r);
            room_close(&r);
            if (rv == IIP_OK)
                break;
            assert_int_equal(rv, IIP_E_MEMORY);
            assert_int_equal(r.err.status, IIP_E_MEMORY);
        }
        assert_true(refused > 100);
        job_close(&j);
    }
}

static iip_status fetch_fails(void *ctx, int level, iip_rect want, iip_raster *out, iip_error *e)
{
    return iip_fail(e, IIP_E_CORRUPT, 0, "tile");
}

static void test_chain_stops(void **state)
{
    static const double angles[] = {0, 90, 20};

    for (int i = 0; i < 3; i++) {
        iip_stage_t *top;
        room r;
        job j;

        job_open(&j, 100, 80, 3, 16);
        j.rq.out_w = 50;
        j.rq.out_h = 40;
        j.rq.rotate = angles[i];
        room_open(&r, 0);
        r.budget.until = 1;
        assert_int_equal(job_run(&j, 0, 16, 1 << 24, NULL, &r), IIP_E_TIMEOUT);
        room_close(&r);

        for (int left = 0; left < 4; left++) {
            int n = left;

            room_open(&r, 0);
            r.budget.gone = gone_now;
            r.budget.gone_ctx = &n;
            assert_int_equal(job_run(&j, 0, 1, 1 << 24, NULL, &r), IIP_E_ABORTED);
            room_close(&r);
        }

        room_open(&r, 1 << 24);
        assert_int_equal(
            iip_pipeline_build(&top, &j.rq, &j.info, NULL, NULL, fetch_fails, NULL, &r.budget, r.pool, &r.err), IIP_OK);
        assert_int_equal(drain(top, 16, NULL, &r.err), IIP_E_CORRUPT);
        room_close(&r);
        job_close(&j);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_level),        cmocka_unit_test(test_lying),
        cmocka_unit_test(test_budget),       cmocka_unit_test(test_malloc_fails),
        cmocka_unit_test(test_op),           cmocka_unit_test(test_op_deep),
        cmocka_unit_test(test_flatten),      cmocka_unit_test(test_chain),
        cmocka_unit_test(test_chain_order),  cmocka_unit_test(test_chain_bitonal),
        cmocka_unit_test(test_chain_seams),  cmocka_unit_test(test_chain_tiles),
        cmocka_unit_test(test_chain_memory), cmocka_unit_test(test_chain_out_of_memory),
        cmocka_unit_test(test_chain_stops),
    };
    int failed;

    apr_initialize();
    failed = cmocka_run_group_tests_name("raster", tests, NULL, NULL);
    apr_terminate();
    return failed;
}
