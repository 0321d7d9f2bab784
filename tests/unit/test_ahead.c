/* SPDX-License-Identifier: Apache-2.0
 * Cells decoded by several threads: the pixels and the errors of one. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>
#include <apr_general.h>
#include "cache/ahead.h"

#define SIDE 64

struct iip_reader {
    iip_source_t *s;
    int busy;
};

static int64_t width, height, bad_x, bad_y;
static int reads, together, most, nap, never;

static int sniff(const unsigned char *head, size_t n)
{
    return n >= 5 && !memcmp(head, "AHEAD", 5) ? 100 : 0;
}

static iip_status open_it(iip_reader_t **r, iip_source_t *s, int page, const iip_limits *lim, apr_pool_t *p,
                          iip_error *e)
{
    *r = apr_pcalloc(p, sizeof **r);
    (*r)->s = s;
    return IIP_OK;
}

static iip_status info(iip_reader_t *r, iip_info *out, apr_pool_t *p, iip_error *e)
{
    return iip_fail(e, IIP_E_CORRUPT, 0, "not asked");
}

static unsigned char pixel(int64_t x, int64_t y, int band)
{
    return (unsigned char)(x * 7 + y * 13 + band * 5 + x * y / 31);
}

static iip_status read_it(iip_reader_t *r, int level, iip_rect want, int layers, iip_raster *out, iip_error *e)
{
    const int now = __atomic_add_fetch(&together, 1, __ATOMIC_RELAXED);

    if (__atomic_exchange_n(&r->busy, 1, __ATOMIC_RELAXED))
        fail_msg("a reader is used by two threads");
    if (now > __atomic_load_n(&most, __ATOMIC_RELAXED))
        __atomic_store_n(&most, now, __ATOMIC_RELAXED);
    __atomic_fetch_add(&reads, 1, __ATOMIC_RELAXED);
    if (nap)
        usleep((useconds_t)(nap + (want.x + want.y) % 7 * 100));
    for (int64_t y = 0; y < want.h; y++)
        for (int64_t x = 0; x < want.w; x++)
            for (int b = 0; b < 3; b++)
                out->px[(size_t)y * out->stride + (size_t)x * 3 + (size_t)b] = pixel(want.x + x, want.y + y, b);
    __atomic_store_n(&r->busy, 0, __ATOMIC_RELAXED);
    __atomic_fetch_sub(&together, 1, __ATOMIC_RELAXED);
    if (bad_x >= want.x && bad_x < want.x + want.w && bad_y >= want.y && bad_y < want.y + want.h)
        return iip_fail(e, IIP_E_CORRUPT, 0, "cell at %d,%d", (int)(want.x / SIDE), (int)(want.y / SIDE));
    return IIP_OK;
}

static const iip_decoder decoder = {
    .abi = IIP_CODEC_ABI, .name = "ahead", .sniff = sniff, .open = open_it, .info = info, .read = read_it};
static iip_decoder serial;

static int sniff_serial(const unsigned char *head, size_t n)
{
    return n >= 6 && !memcmp(head, "SERIAL", 6) ? 100 : 0;
}

static apr_pool_t *pool;
static iip_readers_t *readers;

static int always(int more)
{
    return 1;
}

static int not_now(int more)
{
    never++;
    return 0;
}

/* A core is idle for one look in three, but there was one at the start. */
static int sometimes(int more)
{
    static int n;

    return more || __atomic_add_fetch(&n, 1, __ATOMIC_RELAXED) % 3 == 0;
}

typedef struct {
    iip_cells c;
    iip_info info;
    iip_limits lim;
    iip_budget b;
} job;

static void make(job *j, const char *kind, iip_cache_t *cache)
{
    memset(j, 0, sizeof *j);
    j->info = (iip_info){.levels = 1, .virtual_from = 1, .tiled = 1, .pages = 1, .bands = 3, .bits = 8};
    j->info.level[0] = (iip_level){width, height, SIDE, SIDE};
    j->b.limit = 64 << 20;
    j->c = (iip_cells){.cache = cache,
                       .readers = readers,
                       .src = iip_source_memory(kind, strlen(kind), kind, pool),
                       .info = &j->info,
                       .lim = &j->lim,
                       .budget = &j->b,
                       .pool = pool};
}

/* Reads cover by rows of cells, `rows` of them at most, as the pipeline does; compares what comes. */
static iip_status sweep(job *j, iip_rect cover, int rows, int threads, iip_idle_fn *idle, iip_error *e)
{
    iip_ahead_t *a = iip_ahead_begin(&j->c, 0, cover, threads, j->b.limit, idle);
    unsigned char *px = malloc((size_t)cover.w * SIDE * 3);
    iip_status rv = IIP_OK;
    int same;

    for (int64_t y = cover.y; y < cover.y + cover.h && rv == IIP_OK && rows-- > 0;) {
        const int64_t left = cover.y + cover.h - y, h = SIDE - y % SIDE < left ? SIDE - y % SIDE : left;
        iip_raster out = {.w = cover.w, .h = h, .bands = 3, .stride = (size_t)cover.w * 3, .px = px};

        memset(px, 0xaa, (size_t)cover.w * SIDE * 3);
        rv = a ? iip_ahead_fetch(a, 0, (iip_rect){cover.x, y, cover.w, h}, &out, e)
               : iip_cells_fetch(&j->c, 0, (iip_rect){cover.x, y, cover.w, h}, &out, e);
        for (int64_t r = 0; r < h && rv == IIP_OK; r++)
            for (int64_t x = 0; x < cover.w; x++)
                for (int b = 0; b < 3; b++)
                    if (px[(r * cover.w + x) * 3 + b] != pixel(cover.x + x, y + r, b))
                        fail_msg("pixel %d,%d differs", (int)(cover.x + x), (int)(y + r));
        y += h;
    }
    same = iip_ahead_end(a);
    iip_cells_done(&j->c, rv == IIP_OK);
    assert_true(same);
    assert_int_equal(j->b.used, 0);
    free(px);
    return rv;
}

static int setup(void **state)
{
    width = 700;
    height = 400;
    bad_x = bad_y = -1;
    reads = together = most = never = 0;
    nap = 300;
    iip_readers_clear(readers);
    return 0;
}

static void test_same_pixels(void **state)
{
    static iip_idle_fn *const idle[] = {always, sometimes};
    const iip_rect cover[] = {{0, 0, 700, 400}, {3, 70, 650, 313}, {65, 1, 130, 129}, {60, 60, 8, 8}};
    iip_error e;
    job j;

    for (size_t k = 0; k < 2; k++)
        for (size_t i = 0; i < sizeof cover / sizeof *cover; i++)
            for (int threads = 0; threads < 5; threads += 2) {
                make(&j, "AHEAD", NULL);
                assert_int_equal(sweep(&j, cover[i], 100, threads, idle[k], &e), IIP_OK);
            }
    assert_true(most > 1);
}

/* Rows of all planes of a cover with even edges, one behind the other. */
static void planes_of(job *j, iip_rect cover, int threads, unsigned char *to)
{
    iip_ahead_t *a;
    iip_error e;

    j->c.planes = 1;
    a = iip_ahead_begin(&j->c, 0, cover, threads, j->b.limit, always);
    assert_true((a != NULL) == (threads > 0));
    for (int64_t y = cover.y; y < cover.y + cover.h;) {
        const int64_t left = cover.y + cover.h - y, h = SIDE - y % SIDE < left ? SIDE - y % SIDE : left;
        const iip_rect want = {cover.x, y, cover.w, h};
        iip_raster out[IIP_PLANES];

        for (int k = 0; k < IIP_PLANES; k++) {
            const int64_t w = iip_plane_side(cover.w, k), rows = iip_plane_side(h, k);

            out[k] = (iip_raster){.w = w, .h = rows, .bands = 1, .stride = (size_t)w, .px = to};
            to += w * rows;
        }
        assert_int_equal(a ? iip_ahead_fetch(a, 0, want, out, &e) : iip_cells_fetch(&j->c, 0, want, out, &e), IIP_OK);
        y += h;
    }
    assert_true(iip_ahead_end(a));
    iip_cells_done(&j->c, 1);
    assert_int_equal(j->b.used, 0);
}

static void test_planes(void **state)
{
    const iip_rect cover[] = {{0, 0, 700, 400}, {2, 70, 651, 313}};
    unsigned char *one = calloc(2, 700 * 400), *more = calloc(2, 700 * 400);
    job j;

    for (int i = 0; i < 2; i++) {
        if (i)
            width = 653, height = 383; /* the level ends at odd places */
        make(&j, "AHEAD", NULL);
        planes_of(&j, cover[i], 0, one);
        make(&j, "AHEAD", NULL);
        planes_of(&j, cover[i], 3, more);
        assert_memory_equal(one, more, 2 * 700 * 400);
    }
    assert_true(most > 1);
    free(one);
    free(more);
}

static void test_each_cell_once(void **state)
{
    iip_cache_t *cache = iip_cache_create("cell", 16 << 20, pool);
    iip_error e;
    job j;

    make(&j, "AHEAD", NULL);
    assert_int_equal(sweep(&j, (iip_rect){0, 0, 700, 400}, 100, 3, always, &e), IIP_OK);
    assert_int_equal(reads, 11 * 7);
    make(&j, "AHEAD", cache);
    assert_int_equal(sweep(&j, (iip_rect){0, 0, 700, 400}, 100, 3, always, &e), IIP_OK);
    assert_int_equal(sweep(&j, (iip_rect){0, 0, 700, 400}, 100, 3, always, &e), IIP_OK);
    assert_int_equal(reads, 2 * 11 * 7);
    iip_cache_clear(cache);
}

/* A cell that cannot be decoded is an error when it is wanted, and the one that a single thread has. */
static void test_errors(void **state)
{
    iip_error e;
    job j;

    bad_x = 300;
    bad_y = 200;
    for (int threads = 0; threads < 4; threads++) {
        make(&j, "AHEAD", NULL);
        assert_int_equal(sweep(&j, (iip_rect){0, 0, 700, 400}, 3, threads, always, &e), IIP_OK);
        make(&j, "AHEAD", NULL);
        assert_int_equal(sweep(&j, (iip_rect){0, 0, 700, 400}, 100, threads, always, &e), IIP_E_CORRUPT);
        assert_string_equal(e.detail, "cell at 4,3");
    }
}

static int is_gone(void *ctx)
{
    return 1;
}

static void test_early_end(void **state)
{
    iip_error e;
    job j;

    nap = 3000;
    for (int rows = 0; rows < 3; rows++) {
        make(&j, "AHEAD", NULL);
        assert_int_equal(sweep(&j, (iip_rect){0, 0, 700, 400}, rows, 4, always, &e), IIP_OK);
    }
    make(&j, "AHEAD", NULL);
    j.b.gone = is_gone;
    assert_int_equal(sweep(&j, (iip_rect){0, 0, 700, 400}, 2, 4, always, &e), IIP_E_ABORTED);
}

static void test_alone(void **state)
{
    iip_rect all = {0, 0, 700, 400};
    iip_error e;
    job j;

    /* no idle core: asked for at each row, and nobody comes */
    make(&j, "AHEAD", NULL);
    assert_int_equal(sweep(&j, all, 100, 3, not_now, &e), IIP_OK);
    assert_int_equal(most, 1);
    assert_int_equal(never, 7);
    /* a decoder that is one thread's at a time */
    make(&j, "SERIAL", NULL);
    assert_int_equal(sweep(&j, all, 100, 3, always, &e), IIP_OK);
    assert_int_equal(most, 1);
    /* no room, no tiles, one column, one row, a level that is not stored */
    make(&j, "AHEAD", NULL);
    assert_null(iip_ahead_begin(&j.c, 0, all, 2, 100000, always));
    j.b.limit = 100000;
    assert_null(iip_ahead_begin(&j.c, 0, all, 2, SIZE_MAX, always));
    make(&j, "AHEAD", NULL);
    assert_null(iip_ahead_begin(&j.c, 0, (iip_rect){0, 0, 700, 64}, 2, SIZE_MAX, always));
    assert_null(iip_ahead_begin(&j.c, 0, (iip_rect){0, 0, 64, 400}, 2, SIZE_MAX, always));
    assert_null(iip_ahead_begin(&j.c, 0, all, 0, SIZE_MAX, always));
    j.info.virtual_from = 0;
    assert_null(iip_ahead_begin(&j.c, 0, all, 2, SIZE_MAX, always));
    j.info.virtual_from = 1;
    j.info.tiled = 0;
    assert_null(iip_ahead_begin(&j.c, 0, all, 2, SIZE_MAX, always));
    assert_int_equal(iip_ahead_end(NULL), 1);
}

/* More threads than this machine can have are never idle cores; none at all, whoever runs. */
static void test_idle(void **state)
{
    assert_int_equal(iip_ahead_idle(100000), 0);
    assert_int_equal(iip_ahead_idle(-100000), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_same_pixels, setup),    cmocka_unit_test_setup(test_planes, setup),
        cmocka_unit_test_setup(test_each_cell_once, setup), cmocka_unit_test_setup(test_errors, setup),
        cmocka_unit_test_setup(test_early_end, setup),      cmocka_unit_test_setup(test_alone, setup),
        cmocka_unit_test_setup(test_idle, setup),
    };

    apr_initialize();
    apr_pool_create(&pool, NULL);
    readers = iip_readers_create(64, pool);
    serial = decoder;
    serial.name = "serial";
    serial.flags = IIP_DEC_SERIAL;
    serial.sniff = sniff_serial;
    iip_decoder_add(&decoder);
    iip_decoder_add(&serial);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
