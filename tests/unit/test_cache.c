/* SPDX-License-Identifier: Apache-2.0
 * The store: what is kept and what goes, one fill for many askers, and sixteen threads doing everything at once.
 * Longer than 600 lines because the same askers and counters serve all of it. */
#include "cache/cache.h"
#include <apr_general.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <cmocka.h>

#define THREADS 16

static apr_pool_t *pool;

/* --- an allocator that fails when told to (sanitizers bring their own) -------------------------------------------- */

#ifndef IIP_ASAN
static __thread int calls_to_failure; /* of calloc, 0 = never */
void *__libc_calloc(size_t n, size_t size);

void *calloc(size_t n, size_t size)
{
    if (calls_to_failure && --calls_to_failure == 0)
        return NULL;
    return __libc_calloc(n, size);
}
#endif

/* --- values ------------------------------------------------------------------------------------------------------- */

static int alive; /* values not yet freed */

static void value_free(void *v)
{
    __atomic_fetch_sub(&alive, 1, __ATOMIC_RELAXED);
    free(v);
}

static iip_blob *value(const char *text, size_t len)
{
    char *data = malloc(len);

    memset(data, text[0], len);
    __atomic_fetch_add(&alive, 1, __ATOMIC_RELAXED);
    return iip_blob_make(data, len, value_free);
}

typedef struct {
    const char *text;
    size_t len, cost; /* cost 0: the blob's own */
    iip_status status;
    int fills;
} plain;

static iip_status plain_fill(void *ctx, iip_blob **out, iip_error *e)
{
    plain *f = ctx;

    f->fills++;
    if (f->status != IIP_OK)
        return iip_fail(e, f->status, 7, "cannot make %s", f->text);
    if (!(*out = value(f->text, f->len)))
        return iip_fail(e, IIP_E_MEMORY, APR_ENOMEM, "no memory for %s", f->text);
    (*out)->mime = "image/x";
    if (f->cost)
        (*out)->cost = f->cost;
    return IIP_OK;
}

/* Asks for key, to be made of len bytes; 1 if it was made now. */
static int ask(iip_cache_t *c, const char *key, size_t len, size_t cost)
{
    plain f = {key, len, cost, IIP_OK, 0};
    iip_blob *b = NULL;
    iip_error e;

    assert_int_equal(iip_cache_get(c, key, strlen(key), 0, plain_fill, &f, &b, &e), IIP_OK);
    assert_int_equal(b->len, len);
    assert_string_equal(b->mime, "image/x");
    if (len)
        assert_int_equal(((char *)b->data)[len - 1], key[0]);
    iip_blob_release(b);
    return f.fills;
}

static int has(iip_cache_t *c, const char *key)
{
    iip_blob *b = iip_cache_peek(c, key, strlen(key));

    if (b)
        iip_blob_release(b);
    return b != NULL;
}

static iip_cache_stats stats(iip_cache_t *c)
{
    iip_cache_stats s;

    iip_cache_read_stats(c, &s);
    return s;
}

static int setup(void **state)
{
    apr_initialize();
    apr_pool_create(&pool, NULL);
    return 0;
}

static int teardown(void **state)
{
    apr_pool_destroy(pool);
    apr_terminate();
    return 0;
}

static int all_freed(void **state)
{
    return alive == 0 ? 0 : -1;
}

/* --- one thread --------------------------------------------------------------------------------------------------- */

static void test_keeps(void **state)
{
    iip_cache_t *c = iip_cache_create("t", 100000, pool);
    iip_cache_stats s;

    assert_int_equal(ask(c, "a", 1000, 0), 1);
    assert_int_equal(ask(c, "a", 1000, 0), 0);
    assert_int_equal(ask(c, "aa", 1000, 0), 1); /* a longer key is another */
    assert_int_equal(ask(c, "", 0, 0), 1);      /* an empty one is one */
    assert_int_equal(ask(c, "", 0, 0), 0);
    assert_true(has(c, "a") && !has(c, "b"));
    s = stats(c);
    assert_int_equal(s.hits, 3);
    assert_int_equal(s.misses, 3);
    assert_int_equal(s.entries, 3);
    assert_in_range(s.bytes, 2000 + 3 * 64, 2000 + 3 * 512); /* overhead is counted, and is no fable */
    iip_cache_clear(c);
    s = stats(c);
    assert_int_equal(s.entries, 0);
    assert_int_equal(s.bytes, 0);
    assert_false(has(c, "a"));
    assert_int_equal(ask(c, "a", 1000, 0), 1); /* and still works */
    iip_cache_clear(c);
}

static void test_last_used_stays(void **state)
{
    iip_cache_t *c = iip_cache_create("t", 16, pool);
    char key[8];

    for (int i = 0; i < 16; i++) {
        snprintf(key, sizeof key, "k%d", i);
        assert_int_equal(ask(c, key, 10, 1), 1);
    }
    assert_int_equal(ask(c, "k0", 10, 1), 0); /* used again by get */
    assert_true(has(c, "k1"));                /* and by peek */
    assert_int_equal(ask(c, "new", 10, 2), 1);
    assert_true(has(c, "k0") && has(c, "k1"));
    assert_false(has(c, "k2"));
    assert_false(has(c, "k3"));
    assert_true(has(c, "k4"));
    assert_int_equal(stats(c).bytes, 16);
    assert_int_equal(stats(c).entries, 15);
    assert_int_equal(stats(c).evictions, 2);
    iip_cache_clear(c);
}

static void test_budget_holds(void **state)
{
    iip_cache_t *c = iip_cache_create("t", 200000, pool);
    char key[16];
    unsigned seed = 1;

    for (int i = 0; i < 20000; i++) {
        snprintf(key, sizeof key, "%d", rand_r(&seed) % 3000);
        ask(c, key, (size_t)atoi(key) * 7, 0);
        assert_true(stats(c).bytes <= 200000);
    }
    assert_true(stats(c).bytes > 150000);
    assert_true(stats(c).evictions > 1000);
    iip_cache_clear(c);
}

static void test_many_entries(void **state)
{
    iip_cache_t *c = iip_cache_create("t", 50000, pool);
    char key[16];

    for (int round = 0; round < 2; round++)
        for (int i = 0; i < 40000; i++) {
            snprintf(key, sizeof key, "%d", i);
            assert_int_equal(ask(c, key, 1, 1), round == 0);
        }
    assert_int_equal(stats(c).entries, 40000);
    iip_cache_clear(c);
}

static void test_large_values(void **state)
{
    iip_cache_t *c = iip_cache_create("t", 800, pool);

    assert_int_equal(ask(c, "eighth", 1000, 100), 1);
    assert_int_equal(ask(c, "eighth", 1000, 100), 0);
    assert_int_equal(ask(c, "more", 1000, 101), 1);
    assert_int_equal(ask(c, "more", 1000, 101), 1);
    assert_int_equal(stats(c).entries, 1);
    assert_int_equal(stats(c).evictions, 0);
    iip_cache_clear(c);
    c = iip_cache_create("t", 2, pool); /* counted in pieces: one always fits */
    assert_int_equal(ask(c, "a", 1000, 1), 1);
    assert_int_equal(ask(c, "b", 1000, 1), 1);
    assert_int_equal(ask(c, "a", 1000, 1), 0);
    assert_int_equal(ask(c, "c", 1000, 1), 1);
    assert_false(has(c, "b"));
    iip_cache_clear(c);
    c = iip_cache_create("t", 0, pool);
    assert_int_equal(ask(c, "a", 1000, 1), 1);
    assert_int_equal(ask(c, "a", 1000, 1), 1);
    assert_int_equal(stats(c).bytes, 0);
    iip_cache_clear(c);
}

/* Where values cost bytes, long keys cost theirs. */
static void test_keys_cost(void **state)
{
    iip_cache_t *c = iip_cache_create("t", 100000, pool);
    char key[2001];
    uint64_t one;

    ask(c, "k", 100, 0);
    one = stats(c).bytes;
    memset(key, 'k', 2000);
    key[2000] = '\0';
    ask(c, key, 100, 0);
    assert_int_equal(stats(c).bytes, one + one + 1999);
    iip_cache_clear(c);
}

static void test_failures_are_not_kept(void **state)
{
    static const iip_status causes[] = {IIP_E_CORRUPT, IIP_E_CHANGED, IIP_E_ABORTED, IIP_E_TIMEOUT, IIP_E_MEMORY};
    iip_cache_t *c = iip_cache_create("t", 100000, pool);

    for (size_t i = 0; i < sizeof causes / sizeof *causes; i++) {
        plain f = {"x", 10, 0, causes[i], 0};
        iip_blob *b = NULL;
        iip_error e;

        assert_int_equal(iip_cache_get(c, "x", 1, 0, plain_fill, &f, &b, &e), causes[i]);
        assert_string_equal(e.detail, "cannot make x");
        assert_int_equal(e.apr, 7);
        assert_int_equal(f.fills, 1);
    }
    assert_int_equal(stats(c).entries, 0);
    assert_int_equal(ask(c, "x", 10, 0), 1);
    iip_cache_clear(c);
}

static void test_held_outlives(void **state)
{
    iip_cache_t *c = iip_cache_create("t", 16, pool);
    iip_blob *b;

    ask(c, "held", 100, 1);
    b = iip_cache_peek(c, "held", 4);
    assert_non_null(b);
    for (char k = 'a'; k <= 'z'; k++)
        ask(c, (char[]){k, 0}, 5, 1);
    assert_false(has(c, "held"));
    iip_cache_clear(c);
    assert_int_equal(alive, 1);
    assert_int_equal(((char *)b->data)[99], 'h');
    iip_blob_hold(b);
    iip_blob_release(b);
    assert_int_equal(alive, 1);
    iip_blob_release(b);
    assert_int_equal(alive, 0);
}

/* Whatever is refused: the answer is there or it is an error, and nothing is lost. */
static void test_no_memory(void **state)
{
#ifdef IIP_ASAN
    skip();
#else
    for (int n = 1; n < 8; n++) {
        iip_cache_t *c = iip_cache_create("t", 100000, pool);
        plain f = {"x", 10, 0, IIP_OK, 0};
        iip_blob *b = NULL;
        iip_error e;

        calls_to_failure = n;
        iip_status rv = iip_cache_get(c, "x", 1, 0, plain_fill, &f, &b, &e);

        calls_to_failure = 0;
        assert_int_equal(f.fills, 1);
        assert_int_equal(rv, n == 4 ? IIP_E_MEMORY : IIP_OK); /* table, entry, flight, then the value itself */
        if (rv == IIP_OK)
            iip_blob_release(b);
        ask(c, "x", 10, 0);
        assert_int_equal(ask(c, "x", 10, 0), 0);
        iip_cache_clear(c);
        assert_int_equal(alive, 0);
    }
#endif
}

/* --- several threads, one key ------------------------------------------------------------------------------------- */

typedef struct {
    iip_cache_t *c;
    apr_time_t until;
    iip_status fill_status; /* of this thread's own fill */
    int fill_ms, wait_for;  /* a fill lasts until so many wait, and then this long */
    int filled;
    iip_status status;
    iip_error error;
    iip_blob *blob;
    apr_time_t took;
} asker;

static void sleep_ms(int ms)
{
    nanosleep(&(struct timespec){ms / 1000, (long)(ms % 1000) * 1000000}, NULL);
}

static iip_status asker_fill(void *ctx, iip_blob **out, iip_error *e)
{
    asker *a = ctx;

    a->filled++;
    while ((int)stats(a->c).waits < a->wait_for)
        sleep_ms(1);
    sleep_ms(a->fill_ms);
    if (a->fill_status != IIP_OK)
        return iip_fail(e, a->fill_status, 0, "failed in its own way");
    *out = value("v", 50);
    return IIP_OK;
}

static void *asker_run(void *arg)
{
    asker *a = arg;
    apr_time_t t0 = apr_time_now();

    a->status = iip_cache_get(a->c, "key", 3, a->until, asker_fill, a, &a->blob, &a->error);
    a->took = apr_time_now() - t0;
    return NULL;
}

/* The first asker fills while the others wait (or do not wait for ever). */
static void run_askers(asker *a, int n, iip_cache_t *c, asker first, asker rest)
{
    pthread_t t[THREADS];

    for (int i = 0; i < n; i++) {
        a[i] = i ? rest : first;
        a[i].c = c;
        assert_int_equal(pthread_create(&t[i], NULL, asker_run, &a[i]), 0);
        while (i == 0 && stats(c).misses == 0)
            sleep_ms(1);
    }
    for (int i = 0; i < n; i++)
        pthread_join(t[i], NULL);
}

static void test_one_fills(void **state)
{
    static const size_t budgets[] = {100000, 0};

    for (int k = 0; k < 2; k++) {
        iip_cache_t *c = iip_cache_create("t", budgets[k], pool);
        asker a[8];

        run_askers(a, 8, c, (asker){.wait_for = 7}, (asker){.until = apr_time_now() + apr_time_from_sec(60)});
        for (int i = 0; i < 8; i++) {
            assert_int_equal(a[i].status, IIP_OK);
            assert_int_equal(a[i].filled, i == 0);
            assert_ptr_equal(a[i].blob, a[0].blob);
        }
        assert_int_equal(a[0].blob->refs, budgets[k] ? 9 : 8);
        for (int i = 0; i < 8; i++)
            iip_blob_release(a[i].blob);
        assert_int_equal(alive, budgets[k] ? 1 : 0);
        assert_int_equal(stats(c).misses, 1);
        assert_int_equal(stats(c).waits, 7);
        iip_cache_clear(c);
    }
}

static void test_failure_is_shared(void **state)
{
    iip_cache_t *c = iip_cache_create("t", 100000, pool);
    asker a[8];

    run_askers(a, 8, c, (asker){.wait_for = 7, .fill_status = IIP_E_CORRUPT}, (asker){0});
    for (int i = 0; i < 8; i++) {
        assert_int_equal(a[i].status, IIP_E_CORRUPT);
        assert_int_equal(a[i].error.status, IIP_E_CORRUPT);
        assert_string_equal(a[i].error.detail, "failed in its own way");
        assert_int_equal(a[i].filled, i == 0);
    }
    assert_int_equal(stats(c).entries, 0);
    assert_int_equal(ask(c, "key", 10, 0), 1); /* those who come later are not concerned */
    iip_cache_clear(c);
}

static void test_abandoned_fill_goes_on(void **state)
{
    static const iip_status causes[] = {IIP_E_ABORTED, IIP_E_TIMEOUT, IIP_E_CHANGED};

    for (int k = 0; k < 3; k++) {
        iip_cache_t *c = iip_cache_create("t", 100000, pool);
        asker a[8];
        int fills = 0;

        run_askers(a, 8, c, (asker){.wait_for = 7, .fill_status = causes[k]}, (asker){.fill_ms = 20});
        assert_int_equal(a[0].status, causes[k]);
        assert_string_equal(a[0].error.detail, "failed in its own way");
        for (int i = 1; i < 8; i++) {
            assert_int_equal(a[i].status, IIP_OK);
            fills += a[i].filled;
            iip_blob_release(a[i].blob);
        }
        assert_int_equal(fills, 1);
        assert_int_equal(stats(c).misses, 2);
        iip_cache_clear(c);
    }
}

static void test_all_abandon(void **state)
{
    iip_cache_t *c = iip_cache_create("t", 100000, pool);
    asker a[8];

    run_askers(a, 8, c, (asker){.wait_for = 7, .fill_status = IIP_E_ABORTED}, (asker){.fill_status = IIP_E_ABORTED});
    for (int i = 0; i < 8; i++) {
        assert_int_equal(a[i].status, IIP_E_ABORTED);
        assert_int_equal(a[i].filled, 1);
    }
    assert_int_equal(ask(c, "key", 10, 0), 1);
    iip_cache_clear(c);
}

static void test_deadline(void **state)
{
    iip_cache_t *c = iip_cache_create("t", 100000, pool);
    asker a[6];

    run_askers(a, 6, c, (asker){.wait_for = 5, .fill_ms = 400},
               (asker){.until = apr_time_now() + 150000, .fill_status = IIP_E_CORRUPT});
    assert_int_equal(a[0].status, IIP_OK);
    for (int i = 1; i < 6; i++) {
        assert_int_equal(a[i].status, IIP_E_TIMEOUT);
        assert_int_equal(a[i].error.status, IIP_E_TIMEOUT);
        assert_int_equal(a[i].filled, 0);
        assert_true(a[i].took < 390000);
    }
    assert_true(has(c, "key"));
    iip_blob_release(a[0].blob);
    iip_cache_clear(c);

    /* a deadline that is past does not wait at all, and does not keep a hit away */
    c = iip_cache_create("t", 100000, pool);
    run_askers(a, 3, c, (asker){.wait_for = 2, .fill_ms = 100}, (asker){.until = 1});
    assert_int_equal(a[1].status, IIP_E_TIMEOUT);
    assert_true(a[1].took < 90000);
    a[1].status = IIP_E_COUNT;
    asker_run(&a[1]);
    assert_int_equal(a[1].status, IIP_OK);
    assert_int_equal(a[1].filled, 0);
    iip_blob_release(a[0].blob);
    iip_blob_release(a[1].blob);
    iip_cache_clear(c);
}

/* The filler gives up at the very moment the only waiter's time ends: somebody fills or the entry goes. */
static void test_late_and_abandoned(void **state)
{
    iip_cache_t *c = iip_cache_create("t", 100000, pool);

    for (int i = 0; i < 60; i++) {
        asker a[3];
        int filled = 0;

        run_askers(a, 3, c, (asker){.fill_ms = 5, .fill_status = IIP_E_ABORTED},
                   (asker){.until = apr_time_now() + 4000 + i * 50, .fill_status = IIP_E_TIMEOUT});
        for (int k = 0; k < 3; k++) {
            assert_int_equal(a[k].status, k ? IIP_E_TIMEOUT : IIP_E_ABORTED);
            filled += a[k].filled;
        }
        assert_true(filled >= 1 && filled <= 3);
        assert_false(has(c, "key"));
        iip_cache_clear(c);
        c = iip_cache_create("t", 100000, pool);
    }
    assert_int_equal(ask(c, "key", 10, 0), 1);
    iip_cache_clear(c);
}

/* --- sixteen threads, everything at once ---------------------------------------------------------------------------
 */

enum { KEYS = 150, ROUNDS = 3000 };

typedef struct {
    iip_cache_t *c;
    int *filling; /* per key, how many fill it now */
    int *wrong;
    unsigned seed;
    int key;
    uint64_t gets, fills, good, failed, gave_up, timed_out;
} hammer;

static iip_status hammer_fill(void *ctx, iip_blob **out, iip_error *e)
{
    hammer *h = ctx;
    int dice = rand_r(&h->seed) % 100;
    size_t len = (size_t)(100 + h->key * 13);
    iip_status rv = IIP_OK;

    h->fills++;
    if (__atomic_fetch_add(&h->filling[h->key], 1, __ATOMIC_RELAXED) != 0)
        __atomic_fetch_add(h->wrong, 1, __ATOMIC_RELAXED);
    if (dice < 20)
        sleep_ms(1);
    if (dice < 5)
        rv = iip_fail(e, IIP_E_CORRUPT, 0, "key %d", h->key);
    else if (dice < 15 || (dice >= 20 && dice < 25))
        rv = iip_fail(e, dice & 1 ? IIP_E_ABORTED : IIP_E_CHANGED, 0, "key %d", h->key);
    else {
        int32_t *data = malloc(len * 4);

        for (size_t i = 0; i < len; i++)
            data[i] = h->key;
        __atomic_fetch_add(&alive, 1, __ATOMIC_RELAXED);
        *out = iip_blob_make(data, len * 4, value_free);
    }
    __atomic_fetch_sub(&h->filling[h->key], 1, __ATOMIC_RELAXED);
    return rv;
}

static void *hammer_run(void *arg)
{
    hammer *h = arg;
    int bad = 0;

    for (int i = 0; i < ROUNDS; i++) {
        int near = rand_r(&h->seed) % 10; /* most ask for few */
        iip_blob *b = NULL;
        iip_error e = {IIP_OK, 0, NULL, ""};
        char text[16];
        iip_status rv;
        int32_t *v;

        h->key = rand_r(&h->seed) % (near < 7 ? 10 : KEYS);
        snprintf(text, sizeof text, "key %d", h->key);
        if (near == 9) {
            if (!(b = iip_cache_peek(h->c, &h->key, sizeof h->key)))
                continue;
            rv = IIP_OK;
        } else {
            h->gets++;
            rv = iip_cache_get(h->c, &h->key, sizeof h->key, near < 3 ? apr_time_now() + 500 : 0, hammer_fill, h, &b,
                               &e);
        }
        if (rv == IIP_OK) {
            v = b->data;
            bad += v[0] != h->key || v[b->len / 4 - 1] != h->key || b->len != (size_t)(100 + h->key * 13) * 4;
            h->good++;
            if (i % 5 == 0)
                sched_yield(); /* others may evict it meanwhile */
            bad += v[b->len / 8] != h->key;
            iip_blob_release(b);
        } else if (rv == IIP_E_TIMEOUT) {
            h->timed_out++;
        } else {
            bad += rv != e.status || strcmp(e.detail, text) != 0;
            *(rv == IIP_E_CORRUPT ? &h->failed : &h->gave_up) += 1;
        }
    }
    __atomic_fetch_add(h->wrong, bad, __ATOMIC_RELAXED);
    return NULL;
}

static void test_hammer(void **state)
{
    static const size_t budgets[] = {150000, 10 << 20, 0}; /* evictions all the time, never, nothing is kept */

    for (int k = 0; k < 3; k++) {
        iip_cache_t *c = iip_cache_create("t", budgets[k], pool);
        pthread_t t[THREADS];
        hammer h[THREADS], sum = {0};
        int filling[KEYS] = {0}, wrong = 0, over = 0;
        iip_cache_stats s;

        for (int i = 0; i < THREADS; i++) {
            h[i] = (hammer){.c = c, .filling = filling, .wrong = &wrong, .seed = (unsigned)(i + 1)};
            assert_int_equal(pthread_create(&t[i], NULL, hammer_run, &h[i]), 0);
        }
        for (int i = 0; i < 100; i++) {
            over += stats(c).bytes > budgets[k];
            sleep_ms(1);
        }
        for (int i = 0; i < THREADS; i++) {
            pthread_join(t[i], NULL);
            sum.gets += h[i].gets;
            sum.fills += h[i].fills;
            sum.good += h[i].good;
            sum.failed += h[i].failed;
            sum.gave_up += h[i].gave_up;
            sum.timed_out += h[i].timed_out;
        }
        s = stats(c);
        printf("budget %zu: %d gets, %d fills, %d good, %d failed, %d gave up, %d too late; "
               "%d hits, %d waits, %d evictions\n",
               budgets[k], (int)sum.gets, (int)sum.fills, (int)sum.good, (int)sum.failed, (int)sum.gave_up,
               (int)sum.timed_out, (int)s.hits, (int)s.waits, (int)s.evictions);
        assert_int_equal(wrong, 0);
        assert_int_equal(over, 0);
        assert_int_equal(s.misses, sum.fills);
        assert_true(s.waits > 0 && sum.failed > 0 && sum.gave_up > 0);
        assert_int_equal(s.evictions > 0, k == 0);
        assert_int_equal(s.entries > 0, k != 2);
        assert_int_equal((uint64_t)alive, s.entries);
        iip_cache_clear(c);
        assert_int_equal(alive, 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(test_keeps, all_freed),
        cmocka_unit_test_teardown(test_last_used_stays, all_freed),
        cmocka_unit_test_teardown(test_budget_holds, all_freed),
        cmocka_unit_test_teardown(test_many_entries, all_freed),
        cmocka_unit_test_teardown(test_large_values, all_freed),
        cmocka_unit_test_teardown(test_keys_cost, all_freed),
        cmocka_unit_test_teardown(test_failures_are_not_kept, all_freed),
        cmocka_unit_test_teardown(test_held_outlives, all_freed),
        cmocka_unit_test_teardown(test_no_memory, all_freed),
        cmocka_unit_test_teardown(test_one_fills, all_freed),
        cmocka_unit_test_teardown(test_failure_is_shared, all_freed),
        cmocka_unit_test_teardown(test_abandoned_fill_goes_on, all_freed),
        cmocka_unit_test_teardown(test_all_abandon, all_freed),
        cmocka_unit_test_teardown(test_deadline, all_freed),
        cmocka_unit_test_teardown(test_late_and_abandoned, all_freed),
        cmocka_unit_test_teardown(test_hammer, all_freed),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
