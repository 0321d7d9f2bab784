/* SPDX-License-Identifier: Apache-2.0
 * The lane to memcached over clients made for the test: what is stored and believed, what a server that hangs or fails
 * costs. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include "cache/l2.h"
#include <apr_general.h>
#include <apr_siphash.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define DEADLINE 150000
#define SERVERS  3
static const char *const fleet[] = {"one:1", "two:2", "three:3", NULL};
static const unsigned char secret[IIP_L2_SECRET] = "forty-eight octets that nobody knows, or so we ";

/* --- three servers in memory --- */

typedef struct {
    char name[IIP_L2_NAME], *data;
    size_t len;
} row;

static struct {
    row rows[500];
    int used, hang, fail, refuse, asked, entered;
    uint32_t seconds;
} store[SERVERS];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t freed = PTHREAD_COND_INITIALIZER;
static int handles;

static void *fake_open(const char *server, int64_t patience)
{
    int i = 0;

    assert_true(patience > 0);
    while (strcmp(fleet[i], server) != 0)
        i++;
    __atomic_fetch_add(&handles, 1, __ATOMIC_RELAXED);
    return &store[i];
}

static void fake_close(void *h)
{
    __atomic_fetch_sub(&handles, 1, __ATOMIC_RELAXED);
}

/* With the lock held; waits while the server hangs. */
static int enter(int s)
{
    store[s].entered++;
    while (store[s].hang)
        pthread_cond_wait(&freed, &lock);
    return store[s].fail ? -1 : 0;
}

static row *find(int s, const char *name)
{
    for (int i = 0; i < store[s].used; i++)
        if (!strcmp(store[s].rows[i].name, name))
            return &store[s].rows[i];
    return NULL;
}

#define NUMBER(h) ((int)((size_t)((char *)(h) - (char *)store) / sizeof *store))

static int fake_get(void *h, const char *name, char **data, size_t *len)
{
    int s = NUMBER(h), rc;
    row *r;

    pthread_mutex_lock(&lock);
    rc = enter(s);
    store[s].asked++;
    if (rc == 0 && (r = find(s, name)) != NULL) {
        *data = malloc(r->len + 1);
        memcpy(*data, r->data, r->len);
        *len = r->len;
        rc = 1;
    }
    pthread_mutex_unlock(&lock);
    return rc;
}

static int fake_set(void *h, const char *name, char *data, size_t len, uint32_t seconds)
{
    int s = NUMBER(h), rc;
    row *r;

    pthread_mutex_lock(&lock);
    rc = enter(s);
    if (rc == 0 && !store[s].refuse) {
        if (!(r = find(s, name))) {
            r = &store[s].rows[store[s].used++];
            strcpy(r->name, name);
        }
        free(r->data);
        r->data = malloc(len + 1);
        memcpy(r->data, data, len);
        r->len = len;
        store[s].seconds = seconds;
        rc = 1;
    }
    pthread_mutex_unlock(&lock);
    return rc;
}

static const iip_l2_client fake = {"fake", fake_open, fake_get, fake_set, fake_close};

static void set_hang(int s, int on)
{
    pthread_mutex_lock(&lock);
    store[s].hang = on;
    pthread_cond_broadcast(&freed);
    pthread_mutex_unlock(&lock);
}

static int rows_of(int s)
{
    int n;

    pthread_mutex_lock(&lock);
    n = store[s].used;
    pthread_mutex_unlock(&lock);
    return n;
}

static int rows_in_all(void)
{
    return rows_of(0) + rows_of(1) + rows_of(2);
}

static int64_t now_us(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

/* --- helpers --- */

static iip_l2_t *l2;

static int setup(void **state)
{
    pthread_mutex_lock(&lock);
    for (int s = 0; s < SERVERS; s++) {
        for (int i = 0; i < store[s].used; i++)
            free(store[s].rows[i].data);
        memset(&store[s], 0, sizeof store[s]);
    }
    pthread_mutex_unlock(&lock);
    l2 = iip_l2_create(&fake, fleet, 86400000000, DEADLINE, secret);
    assert_non_null(l2);
    return 0;
}

static void wait_for_handles(int n)
{
    for (int i = 0; i < 400 && __atomic_load_n(&handles, __ATOMIC_RELAXED) != n; i++)
        usleep(5000);
    assert_int_equal(__atomic_load_n(&handles, __ATOMIC_RELAXED), n);
}

static int teardown(void **state)
{
    for (int s = 0; s < SERVERS; s++)
        set_hang(s, 0);
    if (l2)
        iip_l2_destroy(l2);
    l2 = NULL;
    wait_for_handles(0); /* threads that were given up end too */
    return 0;
}

static void put(const char *key, const char *value)
{
    iip_blob *b = iip_blob_make(strdup(value), strlen(value), free);

    iip_l2_put(l2, key, strlen(key), b);
    iip_blob_release(b);
}

/* 1 and the right value, or 0. */
static int got(const char *key, const char *value)
{
    iip_blob *b = iip_l2_get(l2, key, strlen(key), INT64_MAX);

    if (!b)
        return 0;
    assert_int_equal(b->len, strlen(value));
    assert_memory_equal(b->data, value, b->len);
    iip_blob_release(b);
    return 1;
}

static void fill(int n)
{
    char key[32];

    for (int i = 0; i < n; i++) {
        snprintf(key, sizeof key, "key %d", i);
        put(key, key);
    }
    for (int i = 0; i < 400 && rows_in_all() < n; i++)
        usleep(5000);
    assert_int_equal(rows_in_all(), n);
}

static int hits(int n)
{
    char key[32];
    int found = 0;

    for (int i = 0; i < n; i++) {
        snprintf(key, sizeof key, "key %d", i);
        found += got(key, key);
    }
    return found;
}

/* --- frames --- */

static void test_names(void **state)
{
    unsigned char other[IIP_L2_SECRET];
    char a[IIP_L2_NAME], b[IIP_L2_NAME], plain[IIP_L2_NAME];

    memcpy(other, secret, sizeof other);
    other[20] ^= 1; /* in the second key: half of the name is the same */
    iip_l2_name(secret, "key", 3, a);
    iip_l2_name(other, "key", 3, b);
    assert_int_equal(strlen(a), 37);
    assert_memory_equal(a, "iip1:", 5);
    assert_int_equal(strspn(a + 5, "0123456789abcdef"), 32);
    assert_memory_equal(a + 5, b + 5, 16);
    assert_string_not_equal(a, b);
    snprintf(plain, sizeof plain, "iip1:%016llx%016llx", (unsigned long long)apr_siphash24("key", 3, secret),
             (unsigned long long)apr_siphash24("key", 3, secret + 16));
    assert_string_equal(a, plain);
}

static void test_frame(void **state)
{
    unsigned char other[IIP_L2_SECRET];
    size_t n, at, len;
    char *f = iip_l2_frame(secret, "the key", 7, "the value", 9, &n);

    assert_non_null(f);
    assert_int_equal(iip_l2_unframe(secret, "the key", 7, f, n, &at, &len), 0);
    assert_int_equal(len, 9);
    assert_memory_equal(f + at, "the value", 9);
    assert_int_equal(iip_l2_unframe(secret, "the kez", 7, f, n, &at, &len), -1);
    assert_int_equal(iip_l2_unframe(secret, "the ke", 6, f, n, &at, &len), -1);
    assert_int_equal(iip_l2_unframe(secret, "the keyt", 8, f, n, &at, &len), -1);
    for (size_t i = 0; i < n; i++) { /* no octet may be another, none may be missing */
        f[i] ^= 4;
        assert_int_equal(iip_l2_unframe(secret, "the key", 7, f, n, &at, &len), -1);
        f[i] ^= 4;
        assert_int_equal(iip_l2_unframe(secret, "the key", 7, f, i, &at, &len), -1);
    }
    memcpy(other, secret, sizeof other);
    other[IIP_L2_SECRET - 1] ^= 1;
    assert_int_equal(iip_l2_unframe(other, "the key", 7, f, n, &at, &len), -1);
    free(f);
}

static void test_largest_frame(void **state)
{
    size_t n, at, len, most = IIP_L2_MOST - 32 - 3;
    char *data = calloc(1, most + 1), *f = iip_l2_frame(secret, "key", 3, data, most, &n);

    assert_non_null(f);
    assert_int_equal(n, IIP_L2_MOST);
    assert_int_equal(iip_l2_unframe(secret, "key", 3, f, n, &at, &len), 0);
    assert_int_equal(len, most);
    assert_null(iip_l2_frame(secret, "key", 3, data, most + 1, &n));
    assert_null(iip_l2_frame(secret, "key", 3, data, SIZE_MAX, &n));
    free(f);
    free(data);
}

/* --- the lane --- */

static void test_round_trip(void **state)
{
    iip_l2_stats s;

    assert_false(got("a", "x"));
    put("a", "value of a");
    for (int i = 0; i < 400 && rows_in_all() < 1; i++)
        usleep(5000);
    assert_true(got("a", "value of a"));
    assert_false(got("b", "x"));
    put("empty", "");
    for (int i = 0; i < 400 && rows_in_all() < 2; i++)
        usleep(5000);
    assert_true(got("empty", ""));
    iip_l2_read_stats(l2, &s);
    assert_int_equal(s.hits, 2);
    assert_int_equal(s.misses, 2);
    assert_int_equal(s.stores, 2);
    assert_int_equal(s.servers, 3);
    assert_int_equal(s.shut + s.late + s.errors + s.foreign + s.dropped, 0);
    assert_int_equal(store[0].seconds + store[1].seconds + store[2].seconds > 0, 1);
}

static void test_keys_spread(void **state)
{
    fill(240);
    for (int s = 0; s < SERVERS; s++)
        assert_in_range(rows_of(s), 45, 115);
    assert_int_equal(hits(240), 240);
}

static void test_foreign_values(void **state)
{
    iip_l2_stats s;

    fill(30);
    pthread_mutex_lock(&lock);
    for (int k = 0; k < SERVERS; k++)
        for (int i = 0; i < store[k].used; i++) {
            row *r = &store[k].rows[i];

            if (i % 3 == 0) { /* of another key */
                row *next = &store[k].rows[(i + 1) % store[k].used];

                free(r->data);
                r->data = malloc(next->len);
                memcpy(r->data, next->data, next->len);
                r->len = next->len;
            } else if (i % 3 == 1) {
                r->data[r->len / 2] ^= 1;
            } else {
                r->len = 0;
            }
        }
    pthread_mutex_unlock(&lock);
    assert_true(hits(30) <= 3); /* a server with one row alone has no other key */
    iip_l2_read_stats(l2, &s);
    assert_true(s.foreign >= 27);
    assert_int_equal(s.shut, 0);
}

/* A server that hangs: one deadline, then nothing, and its keys go to the others. */
static void test_hang(void **state)
{
    iip_l2_stats s;
    int64_t t0, took;
    int own, n;

    fill(90);
    own = rows_of(1);
    set_hang(1, 1);
    t0 = now_us();
    n = hits(90);
    took = now_us() - t0;
    assert_int_equal(n, 90 - own);
    assert_true(took >= DEADLINE && took < 3 * DEADLINE);
    t0 = now_us();
    assert_int_equal(hits(90), 90 - own);
    assert_true(now_us() - t0 < DEADLINE);
    iip_l2_read_stats(l2, &s);
    assert_int_equal(s.shut, 1);
    assert_int_equal(s.late, 1);
}

static void test_hang_of_all(void **state)
{
    int64_t t0;

    fill(30);
    for (int s = 0; s < SERVERS; s++)
        set_hang(s, 1);
    hits(30);
    t0 = now_us();
    assert_int_equal(hits(30), 0);
    assert_true(now_us() - t0 < DEADLINE);
    put("more", "of it");
    for (int s = 0; s < SERVERS; s++)
        set_hang(s, 0);
    for (int i = 0; i < 200 && hits(30) < 30; i++) /* threads come back with good news */
        usleep(10000);
    assert_int_equal(hits(30), 30);
}

/* Stores that hang hold no look-ups of other servers up for longer than a deadline, and no more than two threads. */
static void test_stores_hang(void **state)
{
    int64_t t0;
    char key[32];
    int own, entered;

    fill(60);
    own = rows_of(2);
    pthread_mutex_lock(&lock);
    entered = store[2].entered;
    pthread_mutex_unlock(&lock);
    set_hang(2, 1);
    for (int i = 0; i < 60; i++) {
        snprintf(key, sizeof key, "key %d", i);
        put(key, key);
    }
    usleep(DEADLINE + DEADLINE / 3);
    t0 = now_us();
    assert_true(hits(60) >= 60 - own);
    assert_true(now_us() - t0 < 2 * DEADLINE);
    pthread_mutex_lock(&lock);
    assert_true(store[2].entered - entered <= 3);
    pthread_mutex_unlock(&lock);
}

static void test_failure(void **state)
{
    iip_l2_stats s;
    int own, asked;

    fill(60);
    own = rows_of(0);
    pthread_mutex_lock(&lock);
    store[0].fail = 1;
    asked = store[0].asked;
    pthread_mutex_unlock(&lock);
    assert_int_equal(hits(60), 60 - own);
    assert_int_equal(hits(60), 60 - own);
    pthread_mutex_lock(&lock);
    assert_in_range(store[0].asked - asked, 1, 4); /* once more over a new connection, by two threads at most */
    pthread_mutex_unlock(&lock);
    iip_l2_read_stats(l2, &s);
    assert_int_equal(s.shut, 1);
}

/* A value that the server will not have says nothing against it. */
static void test_refusal(void **state)
{
    iip_l2_stats s;

    pthread_mutex_lock(&lock);
    for (int k = 0; k < SERVERS; k++)
        store[k].refuse = 1;
    pthread_mutex_unlock(&lock);
    put("a", "value");
    usleep(50000);
    assert_false(got("a", "value"));
    iip_l2_read_stats(l2, &s);
    assert_int_equal(s.stores + s.shut + s.errors, 0);
}

static void test_less_time_than_the_deadline(void **state)
{
    int64_t t0;

    fill(3);
    for (int s = 0; s < SERVERS; s++)
        set_hang(s, 1);
    t0 = now_us();
    assert_null(iip_l2_get(l2, "key 0", 5, 1000));
    assert_true(now_us() - t0 < DEADLINE);
    assert_null(iip_l2_get(l2, "key 0", 5, -5));
}

static void test_queue_has_an_end(void **state)
{
    iip_l2_stats s;
    char *big = calloc(1, 900000);

    memset(big, 'x', 899999);
    for (int k = 0; k < SERVERS; k++)
        set_hang(k, 1);
    for (int i = 0; i < 40; i++) {
        char key[32];

        snprintf(key, sizeof key, "key %d", i);
        put(key, big);
    }
    iip_l2_read_stats(l2, &s);
    assert_true(s.dropped >= 40 - 18 - 2); /* 16 MiB, and what the threads have */
    free(big);
}

static void test_end_while_it_hangs(void **state)
{
    int64_t t0 = now_us();

    fill(30);
    for (int s = 0; s < SERVERS; s++)
        set_hang(s, 1);
    hits(30);
    put("one", "more");
    t0 = now_us();
    iip_l2_destroy(l2);
    l2 = NULL;
    assert_true(now_us() - t0 < 2500000);
}

static void *many(void *v)
{
    for (int i = 0; i < 20; i++)
        hits(40);
    return NULL;
}

static void test_threads(void **state)
{
    pthread_t t[8];

    fill(40);
    for (int i = 0; i < 8; i++)
        pthread_create(&t[i], NULL, many, NULL);
    usleep(20000);
    set_hang(0, 1);
    usleep(20000);
    set_hang(0, 0);
    for (int i = 0; i < 8; i++)
        pthread_join(t[i], NULL);
    for (int i = 0; i < 200 && hits(40) < 40; i++)
        usleep(10000);
    assert_int_equal(hits(40), 40);
}

static void test_no_servers(void **state)
{
    static const char *const none[] = {NULL};

    assert_null(iip_l2_create(&fake, none, 1, 1, secret));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_frame),
        cmocka_unit_test(test_largest_frame),
        cmocka_unit_test(test_no_servers),
        cmocka_unit_test_setup_teardown(test_round_trip, setup, teardown),
        cmocka_unit_test_setup_teardown(test_keys_spread, setup, teardown),
        cmocka_unit_test_setup_teardown(test_foreign_values, setup, teardown),
        cmocka_unit_test_setup_teardown(test_hang, setup, teardown),
        cmocka_unit_test_setup_teardown(test_hang_of_all, setup, teardown),
        cmocka_unit_test_setup_teardown(test_stores_hang, setup, teardown),
        cmocka_unit_test_setup_teardown(test_failure, setup, teardown),
        cmocka_unit_test_setup_teardown(test_refusal, setup, teardown),
        cmocka_unit_test_setup_teardown(test_less_time_than_the_deadline, setup, teardown),
        cmocka_unit_test_setup_teardown(test_queue_has_an_end, setup, teardown),
        cmocka_unit_test_setup_teardown(test_end_while_it_hangs, setup, teardown),
        cmocka_unit_test_setup_teardown(test_threads, setup, teardown),
    };

    apr_initialize();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
