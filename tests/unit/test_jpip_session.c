/* SPDX-License-Identifier: Apache-2.0
 * jpip/session.c over a store that is a hash table: records, waiting, cancelling, closing, stores that fail. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include <apr_general.h>
#include <apr_hash.h>
#include <apr_strings.h>
#include "jpip/session.h"

static apr_pool_t *pool;

typedef struct {
    apr_hash_t *h;
    pthread_mutex_t mutex;
    int locked, puts;
    size_t most; /* bytes of a record it takes */
} table;

typedef struct {
    size_t n;
    apr_time_t until;
    unsigned char data[JPIP_RECORD_MAX];
} row;

static iip_status get(void *ctx, const char *key, void *rec, size_t *n, iip_error *e)
{
    table *t = ctx;
    row *r = apr_hash_get(t->h, key, APR_HASH_KEY_STRING);

    if (!r || r->until < apr_time_now() || r->n > *n)
        return iip_refuse(e, IIP_E_NOT_FOUND, NULL);
    memcpy(rec, r->data, r->n);
    *n = r->n;
    return IIP_OK;
}

static iip_status put(void *ctx, const char *key, const void *rec, size_t n, apr_time_t until, iip_error *e)
{
    table *t = ctx;
    row *r = apr_hash_get(t->h, key, APR_HASH_KEY_STRING);

    assert_true(t->locked);
    t->puts++;
    if (n > t->most)
        return iip_refuse(e, IIP_E_MEMORY, NULL);
    if (!r) {
        r = apr_palloc(pool, sizeof *r);
        apr_hash_set(t->h, apr_pstrdup(pool, key), APR_HASH_KEY_STRING, r);
    }
    memcpy(r->data, rec, n);
    r->n = n;
    r->until = until;
    return IIP_OK;
}

static void drop(void *ctx, const char *key)
{
    apr_hash_set(((table *)ctx)->h, key, APR_HASH_KEY_STRING, NULL);
}

static void lock(void *ctx)
{
    table *t = ctx;

    pthread_mutex_lock(&t->mutex);
    assert_false(t->locked);
    t->locked = 1;
}

static void unlock(void *ctx)
{
    table *t = ctx;

    t->locked = 0;
    pthread_mutex_unlock(&t->mutex);
}

static table rows;
static jpip_store store = {get, put, drop, lock, unlock, &rows};
static iip_error e;
static int number;

static const char *new_cid(void)
{
    return apr_psprintf(pool, "%022d", ++number);
}

static jpip_session *begin(const char *cid, uint64_t mark, int wait)
{
    jpip_session *s;
    iip_status rv = jpip_session_begin(&s, &store, cid, mark, wait, apr_time_from_sec(60), NULL, NULL, pool, &e);

    return rv == IIP_OK ? s : NULL;
}

static const char *make(void)
{
    const char *cid = new_cid();
    jpip_session *s;

    assert_int_equal(jpip_session_open(&s, &store, cid, 1, NULL, apr_time_from_sec(60), pool, &e), IIP_OK);
    s->target = "sun/a.jpx";
    s->type = 17;
    apr_cpystrn(s->tid, "0123456789abcdef", sizeof s->tid);
    assert_null(begin(cid, 1, 0)); /* not before its end */
    assert_int_equal(jpip_session_end(s, 1, &e), IIP_OK);
    return cid;
}

static void hold(jpip_session *s, uint64_t bytes)
{
    jpip_edit one = {.stream = 3, .first = 5, .last = 5, .lo = bytes, .hi = bytes};

    assert_int_equal(jpip_model_set(s->model, &one, 1, &e), IIP_OK);
}

static void test_record(void **state)
{
    const char *cid = make();
    jpip_session *s = begin(cid, 7, 0);

    assert_non_null(s);
    assert_string_equal(s->target, "sun/a.jpx");
    assert_string_equal(s->tid, "0123456789abcdef");
    assert_string_equal(s->group, cid);
    assert_true(s->type == 17 && s->fresh && !s->shared && s->requests == 2);
    hold(s, 9);
    s->fresh = 0;
    assert_int_equal(jpip_session_end(s, 1, &e), IIP_OK);
    s = begin(cid, 8, 0);
    assert_true(jpip_model_held(s->model, 3, 0, 5) == 9 && !s->fresh);
    hold(s, 20);
    assert_int_equal(jpip_session_end(s, 0, &e), IIP_OK); /* the client never got it */
    s = begin(cid, 9, 0);
    assert_true(jpip_model_held(s->model, 3, 0, 5) == 9 && s->requests == 4);
    jpip_session_close(s, 0);
    assert_null(begin(cid, 10, 0));
    assert_int_equal(e.status, IIP_E_BUSY);
}

static void test_bad_cid(void **state)
{
    static const char *const bad[] = {"",
                                      "x",
                                      "0123456789012345678901234",
                                      "../../../../../etc/pas",
                                      "closed-000000000000000",
                                      "000000000000000000000 "};

    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_null(begin(bad[i], 1, 0));
    assert_null(begin("zzzzzzzzzzzzzzzzzzzzzz", 1, 0));
}

/* A record of any other bytes is no channel, and nothing is read beyond it. */
static void test_damaged(void **state)
{
    const char *cid = make();
    row *r = apr_hash_get(rows.h, cid, APR_HASH_KEY_STRING);
    row good = *r;
    jpip_session *s;

    for (size_t n = 0; n < good.n; n++) {
        r->n = n;
        s = begin(cid, 1, 1);
        assert_true(!s || n > 60);
        *r = good;
    }
    srand(1);
    for (int i = 0; i < 2000; i++) {
        *r = good;
        /* not the mark of a running request: that would be waited for */
        for (int k = rand() % 4; k >= 0; k--) {
            size_t at = (size_t)rand() % good.n;

            if (at < 42 || at >= 66)
                r->data[at] = (unsigned char)rand();
        }
        begin(cid, 1, 0);
    }
    r->n = 0;
}

typedef struct {
    const char *cid;
    int wait;
    jpip_session *s;
    apr_time_t took;
    apr_pool_t *p;
} other;

static void *run_other(void *data)
{
    other *o = data;
    iip_error own;
    apr_time_t t = apr_time_now();

    if (jpip_session_begin(&o->s, &store, o->cid, 99, o->wait, apr_time_from_sec(60), NULL, NULL, o->p, &own) != IIP_OK)
        o->s = NULL;
    o->took = apr_time_now() - t;
    return NULL;
}

/* A newer request tells the older to end, or waits for it; both find what the other left. */
static void test_overlap(void **state)
{
    for (int wait = 0; wait < 2; wait++) {
        const char *cid = make();
        jpip_session *s = begin(cid, 5, 0);
        other o = {cid, wait, NULL, 0, NULL};
        pthread_t thread;

        apr_pool_create(&o.p, NULL);
        assert_false(jpip_session_cancelled(s));
        pthread_create(&thread, NULL, run_other, &o);
        apr_sleep(300000);
        assert_int_equal(jpip_session_cancelled(s), !wait);
        hold(s, 11);
        assert_int_equal(jpip_session_end(s, 1, &e), IIP_OK);
        pthread_join(thread, NULL);
        assert_non_null(o.s);
        assert_true(o.took > 250000 && o.took < 1500000);
        assert_true(jpip_model_held(o.s->model, 3, 0, 5) == 11);
        assert_int_equal(jpip_session_end(o.s, 1, &e), IIP_OK);
        apr_pool_destroy(o.p);
    }
}

/* One that does not end is overtaken, and its late end changes nothing. */
static void test_overtaken(void **state)
{
    const char *cid = make();
    jpip_session *old = begin(cid, 5, 0), *s;
    apr_time_t t = apr_time_now();

    s = begin(cid, 6, 0);
    assert_non_null(s);
    assert_true(apr_time_now() - t > 1900000 && apr_time_now() - t < 4000000);
    hold(s, 4);
    hold(old, 77);
    apr_sleep(110000);
    assert_true(jpip_session_cancelled(old));
    assert_false(jpip_session_cancelled(s));
    assert_int_equal(jpip_session_end(old, 1, &e), IIP_OK);
    assert_int_equal(jpip_session_end(s, 1, &e), IIP_OK);
    s = begin(cid, 7, 0);
    assert_true(jpip_model_held(s->model, 3, 0, 5) == 4);
    jpip_session_close(s, 0);
}

static void test_sisters(void **state)
{
    const char *one = make(), *two = new_cid(), *stranger = make();
    jpip_session *s = begin(one, 5, 0), *sister;

    assert_int_equal(jpip_session_open(&sister, &store, two, 6, s, apr_time_from_sec(60), pool, &e), IIP_OK);
    sister->target = s->target;
    s->shared = 1;
    assert_string_equal(sister->group, one);
    assert_int_equal(jpip_session_end(s, 1, &e), IIP_OK);
    assert_int_equal(jpip_session_end(sister, 1, &e), IIP_OK);
    s = begin(two, 7, 0);
    jpip_session_close_other(s, stranger); /* not of the session */
    assert_int_equal(jpip_session_end(s, 1, &e), IIP_OK);
    s = begin(stranger, 8, 0);
    assert_non_null(s);
    jpip_session_end(s, 1, &e);
    s = begin(two, 9, 0);
    jpip_session_close(s, 1);
    assert_null(begin(two, 10, 0));
    assert_null(begin(one, 11, 0));
    assert_non_null(begin(stranger, 12, 0));
}

/* A store with little room: the channel lives on, with a smaller model; with none, the request is told. */
static void test_small_store(void **state)
{
    const char *cid = make();
    jpip_session *s = begin(cid, 5, 0);

    for (int64_t stream = 0; stream < 200; stream++)
        for (uint64_t i = 0; i < 50; i++) {
            jpip_edit one = {.stream = stream, .first = 2 * i, .last = 2 * i, .lo = JPIP_WHOLE, .hi = JPIP_WHOLE};

            assert_int_equal(jpip_model_set(s->model, &one, 1, &e), IIP_OK);
        }
    rows.most = 5000;
    assert_int_equal(jpip_session_end(s, 1, &e), IIP_OK);
    rows.most = JPIP_RECORD_MAX;
    s = begin(cid, 6, 0);
    assert_non_null(s);
    rows.most = 10;
    assert_int_equal(jpip_session_end(s, 1, &e), IIP_E_MEMORY);
    rows.most = JPIP_RECORD_MAX;
}

static void test_expiry(void **state)
{
    const char *cid = new_cid();
    jpip_session *s;

    assert_int_equal(jpip_session_open(&s, &store, cid, 1, NULL, 100000, pool, &e), IIP_OK);
    assert_int_equal(jpip_session_end(s, 1, &e), IIP_OK);
    apr_sleep(150000);
    assert_null(begin(cid, 2, 0));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_record),      cmocka_unit_test(test_bad_cid),
                                       cmocka_unit_test(test_damaged),     cmocka_unit_test(test_overlap),
                                       cmocka_unit_test(test_overtaken),   cmocka_unit_test(test_sisters),
                                       cmocka_unit_test(test_small_store), cmocka_unit_test(test_expiry)};
    int failed;

    apr_initialize();
    apr_pool_create(&pool, NULL);
    rows.h = apr_hash_make(pool);
    rows.most = JPIP_RECORD_MAX;
    pthread_mutex_init(&rows.mutex, NULL);
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    apr_pool_destroy(pool);
    return failed;
}
