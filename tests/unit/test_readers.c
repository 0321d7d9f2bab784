/* SPDX-License-Identifier: Apache-2.0
 * Kept readers, with decoders that only count: which are found again, which are closed, and when. */
#include "cache/readers.h"
#include <apr_general.h>
#include <apr_strings.h>
#include <dirent.h>
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

/* --- the decoders: "CNT!" counts, "SER!" must never run twice at once, "BAD!" does not open --------------------------
 */

static int opened, closed, inside, overlaps;

struct iip_reader {
    iip_source_t *src;
    int page, number;
};

static void enter(void)
{
    if (__atomic_fetch_add(&inside, 1, __ATOMIC_RELAXED) > 0)
        __atomic_fetch_add(&overlaps, 1, __ATOMIC_RELAXED);
    for (int i = 0; i < 20; i++)
        sched_yield();
}

static void leave(void)
{
    __atomic_fetch_sub(&inside, 1, __ATOMIC_RELAXED);
}

static apr_status_t close_counting(void *r)
{
    __atomic_fetch_add(&closed, 1, __ATOMIC_RELAXED);
    return APR_SUCCESS;
}

static apr_status_t close_serial(void *r)
{
    enter();
    leave();
    return close_counting(r);
}

static int sniff_counting(const unsigned char *head, size_t n)
{
    return n >= 4 && memcmp(head, "CNT!", 4) == 0 ? 100 : 0;
}

static int sniff_serial(const unsigned char *head, size_t n)
{
    return n >= 4 && memcmp(head, "SER!", 4) == 0 ? 100 : 0;
}

static int sniff_bad(const unsigned char *head, size_t n)
{
    return n >= 4 && memcmp(head, "BAD!", 4) == 0 ? 100 : 0;
}

static iip_status open_counting(iip_reader_t **r, iip_source_t *s, int page, const iip_limits *l, apr_pool_t *p,
                                iip_error *e)
{
    *r = apr_palloc(p, sizeof **r);
    (*r)->src = s;
    (*r)->page = page;
    (*r)->number = __atomic_add_fetch(&opened, 1, __ATOMIC_RELAXED);
    apr_pool_cleanup_register(p, *r, close_counting, apr_pool_cleanup_null);
    return IIP_OK;
}

static iip_status open_serial(iip_reader_t **r, iip_source_t *s, int page, const iip_limits *l, apr_pool_t *p,
                              iip_error *e)
{
    enter();
    *r = apr_palloc(p, sizeof **r);
    (*r)->src = s;
    (*r)->page = page;
    __atomic_add_fetch(&opened, 1, __ATOMIC_RELAXED);
    apr_pool_cleanup_register(p, *r, close_serial, apr_pool_cleanup_null);
    leave();
    return IIP_OK;
}

static iip_status open_bad(iip_reader_t **r, iip_source_t *s, int page, const iip_limits *l, apr_pool_t *p,
                           iip_error *e)
{
    open_counting(r, s, page, l, p, e);
    return iip_fail(e, IIP_E_CORRUPT, 0, "page %d", page);
}

/* Files whose name begins with r are another's; it sees that when something is open already. */
static iip_status open_refusing(iip_reader_t **r, iip_source_t *s, int page, const iip_limits *l, apr_pool_t *p,
                                iip_error *e)
{
    open_counting(r, s, page, l, p, e);
    return s->name[0] == 'r' ? iip_fail(e, IIP_E_FORMAT, 0, "refused %d", page) : IIP_OK;
}

static iip_status info(iip_reader_t *r, iip_info *out, apr_pool_t *p, iip_error *e)
{
    enter();
    out->pages = r->page + 100;
    leave();
    return IIP_OK;
}

static iip_status read_byte(iip_reader_t *r, int level, iip_rect want, int layers, iip_raster *out, iip_error *e)
{
    iip_status rv;

    enter();
    rv = r->src->read(r->src, out->px, 1, level, e);
    leave();
    return rv;
}

static iip_status raw(iip_reader_t *r, int level, int64_t tx, int64_t ty, iip_format *f, iip_span span[3], int *n,
                      iip_error *e)
{
    enter();
    *n = (int)(tx + ty) + level + r->page;
    leave();
    return IIP_OK;
}

static const iip_decoder counting = {.abi = IIP_CODEC_ABI,
                                     .name = "counting",
                                     .sniff = sniff_counting,
                                     .open = open_counting,
                                     .info = info,
                                     .read = read_byte};
static const iip_decoder serial = {.abi = IIP_CODEC_ABI,
                                   .name = "serial",
                                   .flags = IIP_DEC_SERIAL,
                                   .sniff = sniff_serial,
                                   .open = open_serial,
                                   .info = info,
                                   .read = read_byte,
                                   .raw = raw};
static const iip_decoder bad = {
    .abi = IIP_CODEC_ABI, .name = "bad", .sniff = sniff_bad, .open = open_bad, .info = info, .read = read_byte};

static int sniff_refusing(const unsigned char *head, size_t n)
{
    return n >= 4 && (memcmp(head, "CNT!", 4) == 0 || memcmp(head, "BAD!", 4) == 0 || memcmp(head, "REF!", 4) == 0)
               ? 100
               : 0;
}

static const iip_decoder refusing = {.abi = IIP_CODEC_ABI,
                                     .name = "refusing",
                                     .priority = 10,
                                     .sniff = sniff_refusing,
                                     .open = open_refusing,
                                     .info = info,
                                     .read = read_byte};

/* --- files ---------------------------------------------------------------------------------------------------------
 */

static void put(const char *name, const char *text)
{
    FILE *f = fopen(apr_pstrcat(pool, top, "/", name, NULL), "wb");

    assert_non_null(f);
    assert_int_equal(fwrite(text, 1, strlen(text), f), strlen(text));
    assert_int_equal(fclose(f), 0);
}

static iip_source_t *look(const char *name, apr_pool_t *p)
{
    iip_source_t *s;
    iip_error e;

    assert_int_equal(iip_source_file(&s, &root, name, p, &e), IIP_OK);
    return s;
}

static int descriptors(void)
{
    DIR *d = opendir("/proc/self/fd");
    int n = 0;

    assert_non_null(d);
    while (readdir(d))
        n++;
    closedir(d);
    return n;
}

static int setup(void **state)
{
    iip_error e;

    apr_initialize();
    apr_pool_create(&pool, NULL);
    mkdir("build", 0755);
    mkdir("build/tmp", 0755);
    strcpy(top, "build/tmp/readersXXXXXX");
    assert_non_null(mkdtemp(top));
    root = (iip_root){.path = top, .fd = -1, .number = 1};
    assert_int_equal(iip_root_open(&root, pool, &e), IIP_OK);
    put("a", "CNT!a");
    put("b", "CNT!b");
    put("c", "CNT!c");
    put("serial", "SER!s");
    put("bad", "BAD!");
    put("text", "hello");
    put("short", "CNT");
    put("empty", "");
    iip_decoder_add(&counting);
    iip_decoder_add(&serial);
    iip_decoder_add(&bad);
    return 0;
}

static int teardown(void **state)
{
    assert_int_equal(system(apr_pstrcat(pool, "rm -rf ", top, NULL)), 0);
    apr_pool_destroy(pool);
    apr_terminate();
    return 0;
}

static int zero(void **state)
{
    opened = closed = inside = overlaps = 0;
    return 0;
}

/* Each test leaves nothing open. */
static int all_closed(void **state)
{
    return opened == closed ? 0 : -1;
}

static iip_lease *take(iip_readers_t *rs, iip_source_t *s, int page)
{
    iip_lease *l = NULL;
    iip_error e;

    assert_int_equal(iip_readers_take(rs, s, page, &lim, &l, &e), IIP_OK);
    return l;
}

/* --- tests ----------------------------------------------------------------------------------------------------------
 */

static void test_found_again(void **state)
{
    iip_readers_t *rs = iip_readers_create(4, pool);
    iip_source_t *s = look("a", pool);
    iip_lease *one = take(rs, s, 0), *two = take(rs, s, 0), *l;

    assert_ptr_not_equal(one, two);
    assert_ptr_equal(one->dec, &counting);
    assert_ptr_equal(one->reader->src, one->src);
    assert_ptr_not_equal(one->src, s);
    assert_int_equal(opened, 2);
    iip_readers_give(rs, one, 1, 0);
    iip_readers_give(rs, two, 1, 0);
    l = take(rs, look("a", pool), 0);
    assert_ptr_equal(l, two); /* the last one given back */
    assert_ptr_equal(take(rs, s, 0), one);
    assert_int_equal(opened, 2);
    iip_readers_give(rs, one, 0, 0); /* a bad one is not seen again */
    assert_int_equal(closed, 1);
    iip_readers_give(rs, two, 1, 0);
    iip_readers_clear(rs);
    assert_int_equal(closed, 2);
}

static void test_what_is_the_same(void **state)
{
    iip_readers_t *rs = iip_readers_create(8, pool);
    iip_root other = root;
    iip_source_t *elsewhere;
    iip_lease *l;
    iip_error e;

    put("swap", "CNT!1");
    l = take(rs, look("swap", pool), 0);
    iip_readers_give(rs, l, 1, 0);
    l = take(rs, look("swap", pool), 1);
    assert_int_equal(opened, 2); /* another page */
    iip_readers_give(rs, l, 1, 0);
    l = take(rs, look("swap", pool), -1);
    assert_int_equal(opened, 3);
    iip_readers_give(rs, l, 1, 0);
    other.number = 2;
    assert_int_equal(iip_source_file(&elsewhere, &other, "swap", pool, &e), IIP_OK);
    l = take(rs, elsewhere, 0);
    assert_int_equal(opened, 4); /* another root */
    iip_readers_give(rs, l, 1, 0);
    put("new", "CNT!2");
    assert_int_equal(rename(apr_pstrcat(pool, top, "/new", NULL), apr_pstrcat(pool, top, "/swap", NULL)), 0);
    l = take(rs, look("swap", pool), 0);
    assert_int_equal(opened, 5); /* another file under the name */
    iip_readers_give(rs, l, 1, 0);
    iip_readers_clear(rs);
}

static void test_oldest_goes(void **state)
{
    iip_readers_t *rs = iip_readers_create(2, pool);
    iip_lease *a = take(rs, look("a", pool), 0), *b = take(rs, look("b", pool), 0), *c = take(rs, look("c", pool), 0);

    iip_readers_give(rs, a, 1, 0);
    iip_readers_give(rs, b, 1, 0);
    assert_ptr_equal(take(rs, look("a", pool), 0), a);
    iip_readers_give(rs, a, 1, 0); /* newer than b now */
    assert_int_equal(closed, 0);
    iip_readers_give(rs, c, 1, 0);
    assert_int_equal(closed, 1);
    assert_ptr_equal(take(rs, look("a", pool), 0), a);
    assert_ptr_equal(take(rs, look("c", pool), 0), c);
    assert_int_equal(opened, 3);
    b = take(rs, look("b", pool), 0);
    assert_int_equal(opened, 4);
    iip_readers_give(rs, a, 1, 0);
    iip_readers_give(rs, b, 1, 0);
    iip_readers_give(rs, c, 1, 0);
    iip_readers_clear(rs);
}

static void test_none_kept(void **state)
{
    iip_readers_t *rs = iip_readers_create(0, pool);
    int before = descriptors();

    for (int i = 0; i < 3; i++)
        iip_readers_give(rs, take(rs, look("a", pool), 0), 1, 0);
    assert_int_equal(opened, 3);
    assert_int_equal(closed, 3);
    assert_int_equal(descriptors(), before);
}

static void test_what_they_hold(void **state)
{
    const size_t mega = 1 << 20;
    iip_readers_t *rs = iip_readers_create(10, pool);
    iip_lease *a = take(rs, look("a", pool), 0), *b = take(rs, look("b", pool), 0), *c = take(rs, look("c", pool), 0);

    iip_readers_give(rs, a, 1, 40 * mega);
    iip_readers_give(rs, b, 1, 24 * mega);
    assert_int_equal(closed, 0);
    iip_readers_give(rs, c, 1, 1);
    assert_int_equal(closed, 1);
    assert_ptr_equal(take(rs, look("b", pool), 0), b);
    iip_readers_give(rs, b, 1, 65 * mega); /* alone too much */
    assert_int_equal(closed, 2);
    assert_ptr_equal(take(rs, look("c", pool), 0), c);
    iip_readers_give(rs, c, 1, 64 * mega);
    assert_int_equal(closed, 2);
    iip_readers_give(rs, take(rs, look("a", pool), 0), 1, SIZE_MAX);
    assert_int_equal(closed, 3);
    assert_ptr_equal(take(rs, look("c", pool), 0), c);
    iip_readers_give(rs, c, 1, 0);
    iip_readers_clear(rs);
}

static void test_refused(void **state)
{
    static const struct {
        const char *name;
        iip_status want;
    } rows[] = {{"text", IIP_E_FORMAT}, {"short", IIP_E_FORMAT}, {"empty", IIP_E_FORMAT}, {"bad", IIP_E_CORRUPT}};
    iip_readers_t *rs = iip_readers_create(4, pool);
    int before = descriptors();
    iip_source_t *gone;
    iip_lease *l;
    iip_error e;

    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        assert_int_equal(iip_readers_take(rs, look(rows[i].name, pool), 3, &lim, &l, &e), rows[i].want);
        assert_int_equal(e.status, rows[i].want);
    }
    assert_string_equal(e.detail, "page 3");
    assert_int_equal(closed, 1);
    put("gone", "CNT!");
    gone = look("gone", pool);
    put("gone", "CNT!!");
    assert_int_equal(iip_readers_take(rs, gone, 0, &lim, &l, &e), IIP_E_CHANGED);
    assert_int_equal(unlink(apr_pstrcat(pool, top, "/gone", NULL)), 0);
    assert_int_equal(iip_readers_take(rs, gone, 0, &lim, &l, &e), IIP_E_NOT_FOUND);
    assert_int_equal(descriptors(), before);
}

/* One that says "not mine" (IIP_E_FORMAT) is no failure while another wants the file; any other error is final. */
static void test_next_is_asked(void **state)
{
    iip_readers_t *rs = iip_readers_create(0, pool);
    int before = descriptors();
    iip_lease *l;
    iip_error e;

    iip_decoder_add(&refusing);
    put("r1", "CNT!x");
    put("r2", "BAD!x");
    put("r3", "REF!x");
    put("taken", "CNT!x");
    l = take(rs, look("taken", pool), 0);
    assert_string_equal(l->dec->name, "refusing");
    iip_readers_give(rs, l, 1, 0);
    l = take(rs, look("r1", pool), 0);
    assert_string_equal(l->dec->name, "counting");
    assert_int_equal(opened, closed + 1);
    iip_readers_give(rs, l, 1, 0);
    assert_int_equal(iip_readers_take(rs, look("r2", pool), 3, &lim, &l, &e), IIP_E_CORRUPT);
    assert_string_equal(e.detail, "page 3");
    assert_int_equal(iip_readers_take(rs, look("r3", pool), 4, &lim, &l, &e), IIP_E_FORMAT);
    assert_string_equal(e.detail, "refused 4");
    assert_int_equal(descriptors(), before);
    iip_decoder_forget();
    iip_decoder_add(&counting);
    iip_decoder_add(&serial);
    iip_decoder_add(&bad);
}

/* A reader outlives the request that opened it, and the name of its file. */
static void test_own_source(void **state)
{
    iip_readers_t *rs = iip_readers_create(4, pool);
    apr_pool_t *request;
    unsigned char px;
    iip_raster out = {.px = &px};
    iip_source_t *s;
    iip_lease *l;
    iip_error e;
    int before = descriptors();

    put("own", "CNT!x");
    apr_pool_create(&request, pool);
    s = look("own", request);
    l = take(rs, s, 0);
    iip_readers_give(rs, l, 1, 0);
    apr_pool_destroy(request);
    assert_int_equal(descriptors(), before + 1);
    s = look("own", pool);
    l = take(rs, s, 0);
    assert_int_equal(s->fd, -1); /* nothing had to be opened */
    assert_int_equal(unlink(apr_pstrcat(pool, top, "/own", NULL)), 0);
    assert_int_equal(l->dec->read(l->reader, 4, (iip_rect){0, 0, 1, 1}, 0, &out, &e), IIP_OK);
    assert_int_equal(px, 'x');
    assert_string_equal(l->src->name, "own");
    iip_readers_give(rs, l, 1, 0);
    iip_readers_clear(rs);
    assert_int_equal(descriptors(), before);
}

static void test_memory_source(void **state)
{
    iip_readers_t *rs = iip_readers_create(4, pool);
    iip_source_t *s = iip_source_memory("CNT!m", 5, "m", pool), *t = iip_source_memory("CNT!m", 5, "m", pool);
    iip_lease *l = take(rs, s, 0);

    iip_readers_give(rs, l, 1, 0);
    assert_ptr_equal(take(rs, s, 0), l);
    iip_readers_give(rs, l, 1, 0);
    assert_ptr_not_equal(l = take(rs, t, 0), NULL);
    assert_int_equal(opened, 2);
    iip_readers_give(rs, l, 1, 0);
    iip_readers_clear(rs);
}

/* --- threads ---------------------------------------------------------------------------------------------------------
 */

enum { THREADS = 8, ROUNDS = 400 };

typedef struct {
    iip_readers_t *rs;
    const char *names[3];
    unsigned seed;
    int wrong;
} worker;

static void *work(void *arg)
{
    worker *w = arg;
    apr_pool_t *p; /* each thread its own, as requests have */
    iip_error e;

    apr_pool_create_unmanaged_ex(&p, NULL, NULL);
    for (int i = 0; i < ROUNDS; i++) {
        int dice = rand_r(&w->seed) % 100, page = dice % 2;
        unsigned char px = 0;
        iip_raster out = {.px = &px};
        iip_source_t *s;
        iip_info in = {0};
        iip_span span[3];
        iip_format f;
        iip_lease *l;
        int n = 0;

        if (iip_source_file(&s, &root, w->names[dice % 3], p, &e) != IIP_OK ||
            iip_readers_take(w->rs, s, page, &lim, &l, &e) != IIP_OK) {
            w->wrong++;
            continue;
        }
        w->wrong += l->dec->info(l->reader, &in, p, &e) != IIP_OK || in.pages != page + 100;
        w->wrong += l->dec->read(l->reader, 4, (iip_rect){0, 0, 1, 1}, 0, &out, &e) != IIP_OK;
        w->wrong += px != w->names[dice % 3][0];
        if (l->dec->raw)
            w->wrong += l->dec->raw(l->reader, 1, 2, 3, &f, span, &n, &e) != IIP_OK || n != 6 + page;
        iip_readers_give(w->rs, l, dice > 5, (size_t)dice << 18);
        if (i % 16 == 0)
            apr_pool_clear(p);
    }
    apr_pool_destroy(p);
    return NULL;
}

static int run_workers(const char *a, const char *b, const char *c)
{
    iip_readers_t *rs = iip_readers_create(5, pool);
    worker w[THREADS];
    pthread_t t[THREADS];
    int wrong = 0;

    for (int i = 0; i < THREADS; i++) {
        w[i] = (worker){rs, {a, b, c}, (unsigned)i + 1, 0};
        assert_int_equal(pthread_create(&t[i], NULL, work, &w[i]), 0);
    }
    for (int i = 0; i < THREADS; i++) {
        pthread_join(t[i], NULL);
        wrong += w[i].wrong;
    }
    iip_readers_clear(rs);
    return wrong;
}

static void test_threads(void **state)
{
    assert_int_equal(run_workers("a", "b", "c"), 0);
    assert_true(opened > THREADS && opened < THREADS * ROUNDS);
    assert_true(overlaps > 0); /* decoders without the flag do run side by side */
}

static void test_serial(void **state)
{
    iip_readers_t *rs = iip_readers_create(2, pool);
    iip_lease *l = take(rs, look("serial", pool), 0);

    assert_string_equal(l->dec->name, "serial");
    iip_readers_give(rs, l, 1, 0);
    iip_readers_clear(rs);
    assert_int_equal(run_workers("serial", "serial", "serial"), 0);
    assert_true(opened > THREADS);
    assert_int_equal(overlaps, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_found_again, zero, all_closed),
        cmocka_unit_test_setup_teardown(test_what_is_the_same, zero, all_closed),
        cmocka_unit_test_setup_teardown(test_oldest_goes, zero, all_closed),
        cmocka_unit_test_setup_teardown(test_none_kept, zero, all_closed),
        cmocka_unit_test_setup_teardown(test_what_they_hold, zero, all_closed),
        cmocka_unit_test_setup_teardown(test_refused, zero, all_closed),
        cmocka_unit_test_setup_teardown(test_next_is_asked, zero, all_closed),
        cmocka_unit_test_setup_teardown(test_own_source, zero, all_closed),
        cmocka_unit_test_setup_teardown(test_memory_source, zero, all_closed),
        cmocka_unit_test_setup_teardown(test_threads, zero, all_closed),
        cmocka_unit_test_setup_teardown(test_serial, zero, all_closed),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
