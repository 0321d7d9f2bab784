/* SPDX-License-Identifier: Apache-2.0
 * Cells: any rectangle of a turned picture, cached or straight, against a picture made pixel by pixel from the EXIF
 * table. Longer than other files: one decoder serves all of it. */
#include "cache/cells.h"
#include <apr_general.h>
#include <apr_strings.h>
#include <math.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include <cmocka.h>

static apr_pool_t *pool;
static char top[64];
static iip_root root;
static const iip_limits lim;

/* --- what the pictures show ------------------------------------------------------------------------------------------
 */

/* Byte k of the pixel at (x, y), stored orientation. */
static unsigned char stored_byte(int level, int64_t x, int64_t y, size_t k)
{
    uint64_t h = (uint64_t)x * 0x9e3779b97f4a7c15 + (uint64_t)y * 0xc2b2ae3d27d4eb4f + k * 0x165667b19e3779f9 +
                 (uint64_t)level * 0x27d4eb2f165667c5;

    return (unsigned char)(h >> 56 ^ h >> 29);
}

/* The table of the EXIF standard: where row 0 and column 0 of what is stored are seen. w x h = stored size. */
static void seen_at(int orientation, int64_t w, int64_t h, int64_t sx, int64_t sy, int64_t *x, int64_t *y)
{
    static const struct {
        const char *row0, *column0;
    } exif[9] = {{"top", "left"}, {"top", "left"},  {"top", "right"},    {"bottom", "right"}, {"bottom", "left"},
                 {"left", "top"}, {"right", "top"}, {"right", "bottom"}, {"left", "bottom"}};
    const char *r = exif[orientation].row0, *c = exif[orientation].column0;

    /* The row number counts away from the side where row 0 is, the column number from that of column 0. */
    *y = *r == 't' ? sy : *r == 'b' ? h - 1 - sy : -1;
    *x = *r == 'l' ? sy : *r == 'r' ? h - 1 - sy : -1;
    if (*y < 0)
        *y = *c == 't' ? sx : w - 1 - sx;
    else
        *x = *c == 'l' ? sx : w - 1 - sx;
}

/* --- a decoder of such pictures
 * --------------------------------------------------------------------------------------- */

static iip_info shape;                                          /* stored geometry of what it decodes */
static int opened, closed, reads, fail_at, slow_ms, other_cell; /* other_cell: column of cells that are no planes */
static int64_t decoded;
static const char *touch; /* a file to change during a read */
static int outside;       /* reads that cross a cell's edge */

struct iip_reader {
    int page;
};

static apr_status_t close_one(void *r)
{
    __atomic_fetch_add(&closed, 1, __ATOMIC_RELAXED);
    return APR_SUCCESS;
}

static int sniff(const unsigned char *head, size_t n)
{
    return n >= 4 && memcmp(head, "CELL", 4) == 0 ? 100 : 0;
}

static iip_status open_one(iip_reader_t **r, iip_source_t *s, int page, const iip_limits *l, apr_pool_t *p,
                           iip_error *e)
{
    *r = apr_palloc(p, sizeof **r);
    (*r)->page = page;
    __atomic_fetch_add(&opened, 1, __ATOMIC_RELAXED);
    apr_pool_cleanup_register(p, *r, close_one, apr_pool_cleanup_null);
    return IIP_OK;
}

static iip_status info_one(iip_reader_t *r, iip_info *out, apr_pool_t *p, iip_error *e)
{
    *out = shape;
    return IIP_OK;
}

static iip_status read_one(iip_reader_t *r, int level, iip_rect want, int layers, iip_raster *out, iip_error *e)
{
    const iip_level *l = &shape.level[level];
    size_t pixel = (size_t)shape.bands * iip_sample_size(shape.sample);

    if (slow_ms)
        nanosleep(&(struct timespec){0, (long)slow_ms * 1000000}, NULL);
    if (__atomic_add_fetch(&reads, 1, __ATOMIC_RELAXED) == fail_at)
        return iip_fail(e, IIP_E_CORRUPT, 0, "damaged");
    if (want.w < 1 || want.h < 1 || want.x / l->tile_w != (want.x + want.w - 1) / l->tile_w ||
        want.y / l->tile_h != (want.y + want.h - 1) / l->tile_h || want.x < 0 || want.y < 0 || want.x + want.w > l->w ||
        want.y + want.h > l->h || out->w != want.w || out->h != want.h || out->bands != shape.bands ||
        out->sample != shape.sample || out->stride < (size_t)want.w * pixel)
        __atomic_fetch_add(&outside, 1, __ATOMIC_RELAXED);
    for (int64_t y = 0; y < want.h; y++)
        for (int64_t x = 0; x < want.w; x++)
            for (size_t k = 0; k < pixel; k++)
                out->px[(size_t)y * out->stride + (size_t)x * pixel + k] =
                    (unsigned char)(stored_byte(level, want.x + x, want.y + y, k) + r->page + layers);
    __atomic_fetch_add(&decoded, want.w * want.h, __ATOMIC_RELAXED);
    if (touch) {
        FILE *f = fopen(touch, "ab");

        fputs("x", f);
        fclose(f);
    }
    return IIP_OK;
}

/* Sample (x, y) of plane k. */
static unsigned char plane_byte(int k, int64_t x, int64_t y)
{
    return stored_byte(7 + k, x, y, 0);
}

static iip_status planes_one(iip_reader_t *r, int level, iip_rect want, int layers, iip_raster *out, iip_error *e)
{
    const iip_level *l = &shape.level[level];

    if (want.x / l->tile_w == other_cell)
        return IIP_E_FEATURE;
    __atomic_add_fetch(&reads, 1, __ATOMIC_RELAXED);
    if (want.x % 2 || want.y % 2 || want.x / l->tile_w != (want.x + want.w - 1) / l->tile_w ||
        want.y / l->tile_h != (want.y + want.h - 1) / l->tile_h || want.x + want.w > l->w || want.y + want.h > l->h)
        outside++;
    for (int k = 0; k < 3; k++) {
        if (out[k].w != (k ? (want.w + 1) / 2 : want.w) || out[k].h != (k ? (want.h + 1) / 2 : want.h))
            outside++;
        for (int64_t y = 0; y < out[k].h; y++)
            for (int64_t x = 0; x < out[k].w; x++)
                out[k].px[(size_t)y * out[k].stride + (size_t)x] =
                    plane_byte(k, x + (k ? want.x / 2 : want.x), y + (k ? want.y / 2 : want.y));
    }
    return IIP_OK;
}

static const iip_decoder decoder = {.abi = IIP_CODEC_ABI,
                                    .name = "cells",
                                    .sniff = sniff,
                                    .open = open_one,
                                    .info = info_one,
                                    .read = read_one,
                                    .planes = planes_one};

/* --- fixture
 * ---------------------------------------------------------------------------------------------------------- */

static int setup(void **state)
{
    FILE *f;
    iip_error e;

    apr_initialize();
    apr_pool_create(&pool, NULL);
    mkdir("build", 0755);
    mkdir("build/tmp", 0755);
    strcpy(top, "build/tmp/cellsXXXXXX");
    assert_non_null(mkdtemp(top));
    assert_non_null(f = fopen(apr_pstrcat(pool, top, "/pic", NULL), "wb"));
    fputs("CELL", f);
    fclose(f);
    root = (iip_root){.path = top, .fd = -1, .number = 1};
    assert_int_equal(iip_root_open(&root, pool, &e), IIP_OK);
    iip_decoder_add(&decoder);
    return 0;
}

static int teardown(void **state)
{
    assert_int_equal(system(apr_pstrcat(pool, "rm -rf ", top, NULL)), 0);
    apr_pool_destroy(pool);
    apr_terminate();
    return 0;
}

static int begin(void **state)
{
    opened = closed = reads = fail_at = slow_ms = outside = 0;
    decoded = 0;
    touch = NULL;
    other_cell = -1;
    return 0;
}

static int all_closed(void **state)
{
    return opened == closed && outside == 0 ? 0 : -1;
}

typedef struct {
    iip_info upright;
    iip_budget budget;
    iip_cells cells;
} session;

static void open_session(session *s, iip_cache_t *cache, iip_readers_t *readers, int orientation)
{
    iip_error e;

    memset(s, 0, sizeof *s);
    shape.orientation = orientation;
    s->upright = shape;
    for (int i = 0; i < shape.levels && orientation >= 5; i++)
        s->upright.level[i] =
            (iip_level){shape.level[i].h, shape.level[i].w, shape.level[i].tile_h, shape.level[i].tile_w};
    s->budget.limit = 1 << 20;
    s->cells.cache = cache;
    s->cells.readers = readers;
    s->cells.info = &s->upright;
    s->cells.lim = &lim;
    s->cells.budget = &s->budget;
    s->cells.pool = pool;
    assert_int_equal(iip_source_file(&s->cells.src, &root, "pic", pool, &e), IIP_OK);
}

/* Fetches and compares with the naive picture; bytes around the rectangle must stay. */
static iip_status fetch(session *s, int level, iip_rect want, int plus, iip_error *e)
{
    const iip_level *l = &shape.level[level];
    size_t pixel = (size_t)shape.bands * iip_sample_size(shape.sample), pad = 7, stride = (size_t)want.w * pixel + pad;
    size_t size = stride * (size_t)want.h + 64;
    unsigned char *px = malloc(size), *model = malloc(size);
    iip_raster out = {want.w, want.h, shape.bands, shape.sample, stride, px + 32};
    iip_status rv;

    memset(px, 0xA5, size);
    memset(model, 0xA5, size);
    for (int64_t sy = 0; sy < l->h; sy++)
        for (int64_t sx = 0; sx < l->w; sx++) {
            int64_t x, y;

            seen_at(shape.orientation, l->w, l->h, sx, sy, &x, &y);
            if (x >= want.x && x < want.x + want.w && y >= want.y && y < want.y + want.h)
                for (size_t k = 0; k < pixel; k++)
                    model[32 + (size_t)(y - want.y) * stride + (size_t)(x - want.x) * pixel + k] =
                        (unsigned char)(stored_byte(level, sx, sy, k) + plus);
        }
    rv = iip_cells_fetch(&s->cells, level, want, &out, e);
    if (rv == IIP_OK)
        assert_memory_equal(px, model, size);
    assert_int_equal(s->budget.used, 0);
    free(px);
    free(model);
    return rv;
}

static iip_rect upright_level(const session *s, int level)
{
    return (iip_rect){0, 0, s->upright.level[level].w, s->upright.level[level].h};
}

/* --- turning
 * ---------------------------------------------------------------------------------------------------------- */

static void test_turn_back(void **state)
{
    for (int o = 0; o <= 8; o++) {
        int64_t w = 7, h = 4; /* stored */
        int64_t uw = o >= 5 ? h : w, uh = o >= 5 ? w : h;

        for (int64_t y = 0; y < uh; y++)
            for (int64_t x = 0; x < uw; x++)
                for (int64_t rw = 1; rw <= uw - x; rw++)
                    for (int64_t rh = 1; rh <= uh - y; rh++) {
                        iip_rect r = iip_turn_back((iip_rect){x, y, rw, rh}, o, uw, uh);
                        int64_t n = 0;

                        for (int64_t sy = r.y; sy < r.y + r.h; sy++)
                            for (int64_t sx = r.x; sx < r.x + r.w; sx++) {
                                int64_t ux, uy;

                                seen_at(o, w, h, sx, sy, &ux, &uy);
                                n += ux >= x && ux < x + rw && uy >= y && uy < y + rh;
                            }
                        assert_int_equal(n, rw * rh);
                        assert_int_equal(r.w * r.h, rw * rh);
                    }
    }
    /* at the limit */
    assert_true(iip_turn_back((iip_rect){0, 0, 1, 1}, 3, IIP_MAX_SIDE, IIP_MAX_SIDE).x == IIP_MAX_SIDE - 1);
}

/* Parts larger than the squares it works in, every size of pixel. */
static void test_turn_copy(void **state)
{
    static const struct {
        int bands;
        iip_sample sample;
    } pixels[] = {{1, IIP_U8}, {2, IIP_U8},  {3, IIP_U8},  {4, IIP_U8},  {1, IIP_U16}, {3, IIP_U16}, {4, IIP_U16},
                  {5, IIP_U8}, {1, IIP_F64}, {3, IIP_F32}, {7, IIP_S16}, {3, IIP_F64}, {1, IIP_S32}, {11, IIP_U32}};
    enum { W = 75, H = 71, PW = 70, PH = 67, AT_X = 3, AT_Y = 2 };

    for (size_t i = 0; i < sizeof pixels / sizeof *pixels; i++) {
        size_t pixel = (size_t)pixels[i].bands * iip_sample_size(pixels[i].sample), stride = W * pixel + 5;
        unsigned char *in = malloc(stride * H), *out, *model;
        iip_raster from = {W, H, pixels[i].bands, pixels[i].sample, stride, in};
        iip_rect part = {2, 3, PW, PH};

        for (size_t k = 0; k < stride * H; k++)
            in[k] = stored_byte(0, (int64_t)k, 0, 0);
        for (int o = 0; o <= 8; o++) {
            int64_t w = o >= 5 ? PH : PW, h = o >= 5 ? PW : PH;
            size_t row = (size_t)(w + AT_X + 4) * pixel, size = row * (size_t)(h + AT_Y + 3);
            iip_raster to = {w + AT_X + 4, h + AT_Y + 3, pixels[i].bands, pixels[i].sample, row, NULL};

            out = to.px = calloc(1, size);
            model = calloc(1, size);
            for (int64_t sy = 0; sy < PH; sy++)
                for (int64_t sx = 0; sx < PW; sx++) {
                    int64_t x, y;

                    seen_at(o, PW, PH, sx, sy, &x, &y);
                    memcpy(model + (size_t)(y + AT_Y) * row + (size_t)(x + AT_X) * pixel,
                           in + (size_t)(sy + part.y) * stride + (size_t)(sx + part.x) * pixel, pixel);
                }
            iip_turn_copy(&from, part, o, &to, AT_X, AT_Y);
            assert_memory_equal(out, model, size);
            free(out);
            free(model);
        }
        free(in);
    }
}

/* --- fetching
 * ---------------------------------------------------------------------------------------------------------- */

static void test_any_rectangle(void **state)
{
    static const iip_info pictures[] = {
        {.levels = 2, .level = {{50, 37, 16, 12}, {25, 19, 16, 12}}, .bands = 3, .sample = IIP_U8, .pages = 1},
        {.levels = 1, .level = {{41, 30, 41, 7}}, .bands = 1, .sample = IIP_U16, .pages = 1}, /* strips */
        {.levels = 1,
         .level = {{20, 15, 64, 64}},
         .bands = 4,
         .sample = IIP_F32,
         .pages = 1}, /* a cell larger than all */
    };
    unsigned seed = 7;

    for (size_t i = 0; i < sizeof pictures / sizeof *pictures; i++)
        for (int o = 0; o <= 8; o++)
            for (int cached = 0; cached < 2; cached++) {
                iip_cache_t *cache = cached ? iip_cache_create("cell", 1 << 20, pool) : NULL;
                iip_readers_t *readers = iip_readers_create(4, pool);
                session s;
                iip_error e;

                shape = pictures[i];
                open_session(&s, cache, readers, o);
                for (int level = 0; level < shape.levels; level++) {
                    iip_rect all = upright_level(&s, level);

                    decoded = 0;
                    s.cells.decoded = 0;
                    assert_int_equal(fetch(&s, level, all, 0, &e), IIP_OK);
                    assert_int_equal(decoded, all.w * all.h); /* each pixel once */
                    assert_int_equal(s.cells.decoded, decoded);
                    for (int n = 0; n < 15; n++) {
                        iip_rect want = {rand_r(&seed) % all.w, rand_r(&seed) % all.h, 0, 0};

                        want.w = 1 + rand_r(&seed) % (all.w - want.x);
                        want.h = 1 + rand_r(&seed) % (all.h - want.y);
                        decoded = 0;
                        assert_int_equal(fetch(&s, level, want, 0, &e), IIP_OK);
                        assert_int_equal(decoded, cached ? 0 : want.w * want.h);
                    }
                }
                assert_int_equal(opened - closed, 1); /* one lease for all of it */
                iip_cells_done(&s.cells, 1);
                assert_null(s.cells.lease);
                iip_cells_done(&s.cells, 1);
                iip_readers_clear(readers);
                if (cache)
                    iip_cache_clear(cache);
            }
}

/* Sample (x, y) of plane k of a cell that is read as RGB: JFIF's formulas, chroma the mean of its pixels. */
static double other_byte(int k, int64_t x, int64_t y)
{
    static const double by[][3] = {{0.299, 0.587, 0.114}, {-0.168736, -0.331264, 0.5}, {0.5, -0.418688, -0.081312}};
    const int64_t n = k ? 2 : 1, right = shape.level[0].w, bottom = shape.level[0].h;
    double sum = 0;
    int of = 0;

    for (int64_t i = 0; i < n * n; i++)
        if (n * x + i % n < right && n * y + i / n < bottom) {
            of++;
            for (size_t c = 0; c < 3; c++)
                sum += by[k][c] * stored_byte(0, n * x + i % n, n * y + i / n, c);
        }
    return sum / of + (k ? 128 : 0);
}

/* Planes by cells, kept apart from pixels of the same cells; a cell that is stored otherwise is made of its pixels. */
static void test_planes(void **state)
{
    unsigned seed = 3;

    for (int how = 0; how < 4; how++) {
        iip_cache_t *cache = how % 2 ? iip_cache_create("cell", 1 << 20, pool) : NULL;
        iip_readers_t *readers = iip_readers_create(4, pool);
        session s;
        iip_error e;

        shape = (iip_info){.levels = 1, .level = {{51, 37, 16, 12}}, .bands = 3, .sample = IIP_U8, .pages = 1};
        open_session(&s, cache, readers, 1);
        other_cell = how / 2 ? 1 : -1;
        if (how == 1)
            assert_int_equal(fetch(&s, 0, upright_level(&s, 0), 0, &e), IIP_OK);
        s.cells.planes = 1;
        for (int n = 0; n < 40; n++) {
            iip_rect want = {rand_r(&seed) % 26 * 2, rand_r(&seed) % 19 * 2, 0, 0};
            unsigned char px[3][51 * 37];
            iip_raster out[3];

            want = n ? want : (iip_rect){0, 0, 51, 37};
            want.w = 2 + rand_r(&seed) % 26 * 2;
            want.h = 2 + rand_r(&seed) % 19 * 2;
            want.w = n && want.w < 51 - want.x ? want.w : 51 - want.x;
            want.h = n && want.h < 37 - want.y ? want.h : 37 - want.y;
            for (int k = 0; k < 3; k++)
                out[k] =
                    (iip_raster){k ? (want.w + 1) / 2 : want.w, k ? (want.h + 1) / 2 : want.h, 1, IIP_U8, 51, px[k]};
            assert_int_equal(iip_cells_fetch(&s.cells, 0, want, out, &e), IIP_OK);
            assert_int_equal(s.budget.used, 0);
            for (int k = 0; k < 3; k++)
                for (int64_t i = 0; i < out[k].w * out[k].h; i++) {
                    const int64_t at_x = i % out[k].w, at_y = i / out[k].w;
                    const int64_t x = at_x + (k ? want.x / 2 : want.x), y = at_y + (k ? want.y / 2 : want.y);
                    const unsigned char got = px[k][at_y * 51 + at_x];

                    if ((k ? 2 * x : x) / 16 != other_cell)
                        assert_int_equal(got, plane_byte(k, x, y));
                    else
                        assert_true(fabs(got - other_byte(k, x, y)) <= 0.52);
                }
        }
        if (cache)
            assert_int_equal(reads, how == 1 ? 32 : 16); /* each cell once, of each kind */
        reads = 0;
        iip_cells_done(&s.cells, 1);
        iip_readers_clear(readers);
        if (cache)
            iip_cache_clear(cache);
    }
    other_cell = -1;
}

static void some_picture(void)
{
    shape = (iip_info){
        .levels = 2, .level = {{40, 40, 10, 10}, {20, 20, 10, 10}}, .bands = 1, .sample = IIP_U8, .pages = 2};
}

/* What is asked is in the key: level, page, layers, picture. */
static void test_keys(void **state)
{
    iip_cache_t *cache = iip_cache_create("cell", 1 << 20, pool);
    iip_readers_t *readers = iip_readers_create(4, pool);
    iip_rect want = {0, 0, 10, 10};
    session s;
    iip_error e;

    some_picture();
    open_session(&s, cache, readers, 1);
    for (int again = 0; again < 2; again++)
        for (int level = 0; level < 2; level++)
            for (s.cells.page = 0; s.cells.page < 2; s.cells.page++) {
                for (s.cells.layers = 0; s.cells.layers < 20; s.cells.layers += 10)
                    assert_int_equal(fetch(&s, level, want, s.cells.page + s.cells.layers, &e), IIP_OK);
                iip_cells_done(&s.cells, 1);
            }
    assert_int_equal(reads, 8);
    s.cells.page = s.cells.layers = 0;
    s.cells.src->id.mtime_ns++;
    assert_int_not_equal(fetch(&s, 0, want, 0, &e), IIP_OK); /* such a file there is not */
    assert_int_equal(e.status, IIP_E_CHANGED);
    iip_readers_clear(readers);
    iip_cache_clear(cache);
}

static void test_failure(void **state)
{
    for (int cached = 0; cached < 2; cached++)
        for (int o = 1; o <= 8; o += 5) {
            iip_cache_t *cache = cached ? iip_cache_create("cell", 1 << 20, pool) : NULL;
            iip_readers_t *readers = iip_readers_create(4, pool);
            session s;
            iip_error e;

            begin(NULL);
            some_picture();
            open_session(&s, cache, readers, o);
            fail_at = 6;
            assert_int_equal(fetch(&s, 0, upright_level(&s, 0), 0, &e), IIP_E_CORRUPT);
            assert_string_equal(e.detail, "damaged");
            assert_null(s.cells.lease); /* given back, and closed: not good */
            assert_int_equal(opened, 1);
            assert_int_equal(closed, 1);
            fail_at = 0;
            decoded = 0;
            assert_int_equal(fetch(&s, 0, upright_level(&s, 0), 0, &e), IIP_OK);
            assert_int_equal(opened, 2);
            assert_int_equal(decoded, cached ? 1600 - 500 : 1600); /* what was good is kept */
            iip_cells_done(&s.cells, 1);
            iip_readers_clear(readers);
            if (cache)
                iip_cache_clear(cache);
        }
}

/* A file written to while it is read: the cell is in nobody's cache. */
static void test_changed_meanwhile(void **state)
{
    iip_cache_t *cache = iip_cache_create("cell", 1 << 20, pool);
    iip_readers_t *readers = iip_readers_create(4, pool);
    iip_cache_stats st;
    session s;
    iip_error e;

    some_picture();
    open_session(&s, cache, readers, 1);
    touch = apr_pstrcat(pool, top, "/pic", NULL);
    assert_int_equal(fetch(&s, 0, (iip_rect){0, 0, 10, 10}, 0, &e), IIP_E_CHANGED);
    assert_null(s.cells.lease);
    touch = NULL;
    assert_int_equal(closed, 1);
    iip_cache_read_stats(cache, &st);
    assert_int_equal(st.entries, 0);
    open_session(&s, cache, readers, 1); /* looks again */
    assert_int_equal(fetch(&s, 0, (iip_rect){0, 0, 10, 10}, 0, &e), IIP_OK);
    iip_cells_done(&s.cells, 1);
    iip_readers_clear(readers);
    iip_cache_clear(cache);
}

static int is_gone(void *ctx)
{
    return reads >= 3;
}

static void test_budget(void **state)
{
    for (int cached = 0; cached < 2; cached++) {
        iip_cache_t *cache = cached ? iip_cache_create("cell", 1 << 20, pool) : NULL;
        iip_readers_t *readers = iip_readers_create(4, pool);
        session s;
        iip_error e;

        begin(NULL);
        some_picture();
        open_session(&s, cache, readers, 6);
        s.budget.limit = 99; /* a cell is 100 */
        assert_int_equal(fetch(&s, 0, upright_level(&s, 0), 0, &e), IIP_E_MEMORY);
        assert_int_equal(reads, 0);
        s.budget.limit = 100;
        s.budget.until = apr_time_now() - 1;
        assert_int_equal(fetch(&s, 0, upright_level(&s, 0), 0, &e), IIP_E_TIMEOUT);
        s.budget.until = 0;
        s.budget.gone = is_gone;
        assert_int_equal(fetch(&s, 0, upright_level(&s, 0), 0, &e), IIP_E_ABORTED);
        assert_int_equal(reads, 3);
        assert_non_null(s.cells.lease); /* nothing is wrong with the reader */
        s.budget.gone = NULL;
        assert_int_equal(fetch(&s, 0, upright_level(&s, 0), 0, &e), IIP_OK);
        assert_int_equal(s.budget.peak, 100);
        assert_int_equal(opened, 1);
        iip_cells_done(&s.cells, 1);
        iip_readers_clear(readers);
        if (cache)
            iip_cache_clear(cache);
    }
}

static void test_huge_cell(void **state)
{
    iip_readers_t *readers = iip_readers_create(4, pool);
    iip_cache_t *cache = iip_cache_create("cell", 1 << 20, pool);
    session s;
    iip_error e;
    unsigned char px;
    iip_raster out = {1, 1, 4, IIP_F64, 32, &px};

    shape = (iip_info){.levels = 1,
                       .level = {{IIP_MAX_SIDE, IIP_MAX_SIDE, IIP_MAX_SIDE, IIP_MAX_SIDE}},
                       .bands = 4,
                       .sample = IIP_F64,
                       .pages = 1};
    open_session(&s, cache, readers, 1);
    assert_int_equal(iip_cells_fetch(&s.cells, 0, (iip_rect){IIP_MAX_SIDE - 1, 5, 1, 1}, &out, &e), IIP_E_FORMAT);
    assert_int_equal(reads, 0);
}

/* --- threads
 * ------------------------------------------------------------------------------------------------------------ */

enum { THREADS = 8 };

typedef struct {
    session s;
    unsigned char px[1600];
    iip_status status;
} runner;

static void *run(void *arg)
{
    runner *r = arg;
    iip_raster out = {40, 40, 1, IIP_U8, 40, r->px};
    iip_error e;

    r->status = iip_cells_fetch(&r->s.cells, 0, (iip_rect){0, 0, 40, 40}, &out, &e);
    iip_cells_done(&r->s.cells, 1);
    return NULL;
}

static void test_threads(void **state)
{
    for (int fails = 0; fails < 2; fails++) {
        iip_cache_t *cache = iip_cache_create("cell", 1 << 20, pool);
        iip_readers_t *readers = iip_readers_create(4, pool);
        static runner r[THREADS];
        pthread_t t[THREADS];
        int good = 0;

        begin(NULL);
        some_picture();
        slow_ms = 1;
        fail_at = fails ? 8 : 0;
        for (int i = 0; i < THREADS; i++)
            open_session(&r[i].s, cache, readers, 6);
        for (int i = 0; i < THREADS; i++)
            assert_int_equal(pthread_create(&t[i], NULL, run, &r[i]), 0);
        for (int i = 0; i < THREADS; i++)
            pthread_join(t[i], NULL);
        for (int i = 0; i < THREADS; i++) {
            assert_int_equal(r[i].s.budget.used, 0);
            if (r[i].status != IIP_OK) {
                assert_int_equal(r[i].status, IIP_E_CORRUPT);
                continue;
            }
            good++;
            for (int64_t y = 0; y < 40; y++)
                for (int64_t x = 0; x < 40; x++) {
                    int64_t ux, uy;

                    seen_at(6, 40, 40, x, y, &ux, &uy);
                    assert_int_equal(r[i].px[uy * 40 + ux], stored_byte(0, x, y, 0));
                }
        }
        if (!fails) {
            assert_int_equal(good, THREADS);
            assert_int_equal(reads, 16); /* each cell once, whoever came first */
        }
        iip_readers_clear(readers);
        iip_cache_clear(cache);
        assert_int_equal(opened, closed);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_turn_back),
        cmocka_unit_test(test_turn_copy),
        cmocka_unit_test_setup_teardown(test_any_rectangle, begin, all_closed),
        cmocka_unit_test_setup_teardown(test_planes, begin, all_closed),
        cmocka_unit_test_setup_teardown(test_keys, begin, all_closed),
        cmocka_unit_test_setup_teardown(test_failure, begin, all_closed),
        cmocka_unit_test_setup_teardown(test_changed_meanwhile, begin, all_closed),
        cmocka_unit_test_setup_teardown(test_budget, begin, all_closed),
        cmocka_unit_test_setup_teardown(test_huge_cell, begin, all_closed),
        cmocka_unit_test_setup_teardown(test_threads, begin, all_closed),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
