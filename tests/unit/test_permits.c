/* SPDX-License-Identifier: Apache-2.0
 * Permits of the machine: so many at once over processes, in order of arrival, and none lost with a process. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include "permits.h"
#include "gate.h"
#include <apr_general.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

/* What the processes share */
static struct shared {
    iip_permits permits;
    int inside, most, done, order[32];
} * s;

static int setup(void **state)
{
    s = mmap(NULL, sizeof *s, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    iip_permits_init(&s->permits, 2);
    return s == MAP_FAILED;
}

static int teardown(void **state)
{
    return munmap(s, sizeof *s);
}

static int wait_for(const int *what, int n)
{
    for (int i = 0; i < 1000 && __atomic_load_n(what, __ATOMIC_RELAXED) < n; i++)
        usleep(5000);
    return __atomic_load_n(what, __ATOMIC_RELAXED) >= n;
}

static int waiting(void)
{
    int busy, n;

    iip_permits_read(&s->permits, &busy, &n);
    return n;
}

static int in_use(void)
{
    int busy, n;

    iip_permits_read(&s->permits, &busy, &n);
    return busy;
}

static void work(void)
{
    const iip_budget b = {.limit = 1};
    iip_error e;
    int number = iip_permits_enter(&s->permits, 256, 0, &b, &e), n, was;

    if (number < 0)
        return;
    n = __atomic_add_fetch(&s->inside, 1, __ATOMIC_RELAXED);
    for (was = s->most;
         was < n && !__atomic_compare_exchange_n(&s->most, &was, n, 0, __ATOMIC_RELAXED, __ATOMIC_RELAXED);)
        ;
    usleep(3000);
    __atomic_sub_fetch(&s->inside, 1, __ATOMIC_RELAXED);
    iip_permits_leave(&s->permits, number);
    __atomic_add_fetch(&s->done, 1, __ATOMIC_RELAXED);
}

static void *many(void *v)
{
    for (int i = 0; i < 5; i++)
        work();
    return NULL;
}

/* Three processes of three threads, two permits. */
static void test_so_many_at_once(void **state)
{
    pid_t child[3];

    for (int i = 0; i < 3; i++)
        if ((child[i] = fork()) == 0) {
            pthread_t t[3];

            for (int k = 0; k < 3; k++)
                pthread_create(&t[k], NULL, many, NULL);
            for (int k = 0; k < 3; k++)
                pthread_join(t[k], NULL);
            _exit(0);
        }
    for (int i = 0; i < 3; i++)
        waitpid(child[i], NULL, 0);
    assert_int_equal(s->done, 45);
    assert_int_equal(s->most, 2);
    assert_int_equal(in_use() + waiting(), 0);
}

static void *one_of_a_line(void *v)
{
    const iip_budget b = {.limit = 1};
    iip_error e;
    int number = iip_permits_enter(&s->permits, 256, 0, &b, &e);

    assert_true(number >= 0);
    s->order[__atomic_fetch_add(&s->done, 1, __ATOMIC_RELAXED)] = (int)(intptr_t)v;
    iip_permits_leave(&s->permits, number);
    return NULL;
}

static void test_order_of_arrival(void **state)
{
    const iip_budget b = {.limit = 1};
    iip_error e;
    pthread_t t[12];
    int number;

    s->permits.places = 1;
    number = iip_permits_enter(&s->permits, 0, 0, &b, &e);
    assert_int_equal(number, 0);
    for (int i = 0; i < 12; i++) {
        pthread_create(&t[i], NULL, one_of_a_line, (void *)(intptr_t)i);
        for (int k = 0; k < 1000 && waiting() <= i; k++)
            usleep(2000);
    }
    iip_permits_leave(&s->permits, number);
    for (int i = 0; i < 12; i++)
        pthread_join(t[i], NULL);
    for (int i = 0; i < 12; i++)
        assert_int_equal(s->order[i], i);
}

static void test_refused(void **state)
{
    iip_budget b = {.limit = 1};
    iip_error e;
    pthread_t t;
    int a = iip_permits_enter(&s->permits, 0, 0, &b, &e), c = iip_permits_enter(&s->permits, 0, 0, &b, &e);

    assert_true(a >= 0 && c >= 0 && a != c);
    assert_int_equal(iip_permits_enter(&s->permits, 0, 0, &b, &e), -1);
    assert_int_equal(e.status, IIP_E_BUSY);
    pthread_create(&t, NULL, one_of_a_line, NULL);
    for (int k = 0; k < 1000 && waiting() < 1; k++)
        usleep(2000);
    assert_int_equal(iip_permits_enter(&s->permits, 1, 0, &b, &e), -1);
    assert_int_equal(e.status, IIP_E_BUSY);
    b.until = apr_time_now() + 20000;
    assert_int_equal(iip_permits_enter(&s->permits, 2, 0, &b, &e), -1);
    assert_int_equal(e.status, IIP_E_TIMEOUT);
    b.until = apr_time_now() + 20000;
    assert_int_equal(iip_permits_enter(&s->permits, 0, 1, &b, &e), -1); /* sure: it waits all the same */
    assert_int_equal(e.status, IIP_E_TIMEOUT);
    assert_int_equal(waiting(), 1);
    iip_permits_leave(&s->permits, a);
    pthread_join(t, NULL);
    iip_permits_leave(&s->permits, c);
}

/* One child dies with a permit, another in line. */
static void test_lost_child(void **state)
{
    const iip_budget b = {.limit = 1};
    iip_error e;
    pid_t child[2];
    int number;

    s->permits.places = 1;
    for (int i = 0; i < 2; i++) {
        if ((child[i] = fork()) == 0) {
            iip_permits_enter(&s->permits, 9, 0, &b, &e);
            __atomic_add_fetch(&s->done, 1, __ATOMIC_RELAXED);
            for (;;)
                pause();
        }
        if (i == 0)
            assert_true(wait_for(&s->done, 1));
    }
    for (int k = 0; k < 1000 && waiting() < 1; k++)
        usleep(2000);
    for (int i = 1; i >= 0; i--) {
        kill(child[i], SIGKILL);
        waitpid(child[i], NULL, 0);
        iip_permits_free(&s->permits, (int32_t)child[i]);
    }
    assert_int_equal(in_use() + waiting(), 0);
    number = iip_permits_enter(&s->permits, 0, 0, &b, &e);
    assert_int_equal(number, 0);
    iip_permits_leave(&s->permits, number);
}

static void test_claims(void **state)
{
    iip_budget b = {.limit = 1, .client = 7, .per_client = 2}, other = {.limit = 1, .client = 8, .per_client = 1};
    iip_error e;
    int a, c, d, none;
    pid_t child;

    assert_int_equal(iip_claim_take(&s->permits, &b, &a, &e), IIP_OK);
    assert_int_equal(iip_claim_take(&s->permits, &b, &c, &e), IIP_OK);
    assert_int_equal(iip_claim_take(&s->permits, &b, &none, &e), IIP_E_CLIENT);
    assert_int_equal(none, -1);
    assert_int_equal(iip_claim_take(&s->permits, &other, &d, &e), IIP_OK);
    iip_claim_drop(&s->permits, a);
    if ((child = fork()) == 0)
        _exit(iip_claim_take(&s->permits, &b, &a, &e) != IIP_OK); /* and dies with it */
    waitpid(child, &none, 0);
    assert_int_equal(none, 0);
    assert_int_equal(iip_claim_take(&s->permits, &b, &a, &e), IIP_E_CLIENT);
    iip_permits_free(&s->permits, (int32_t)child);
    assert_int_equal(iip_claim_take(&s->permits, &b, &a, &e), IIP_OK);
    b.per_client = 0; /* off */
    assert_int_equal(iip_claim_take(&s->permits, &b, &none, &e), IIP_OK);
    assert_int_equal(none, -1);
    assert_int_equal(iip_claim_take(NULL, &other, &none, &e), IIP_OK);
    iip_claim_drop(NULL, none);
}

/* A gate without permits, and one whose places are taken: the permit is given back. */
static void test_gate(void **state)
{
    iip_budget b = {.limit = 1};
    iip_error e;
    iip_gate g;
    int permit, other;

    iip_gate_init(&g, 1, 0);
    assert_int_equal(iip_gate_enter_large(&g, &b, 0, &permit, &e), IIP_OK);
    assert_int_equal(permit, -1);
    assert_int_equal(iip_gate_enter_large(&g, &b, 0, &other, &e), IIP_E_BUSY);
    g.permits = &s->permits;
    b.until = apr_time_now() + 20000;
    assert_int_equal(iip_gate_enter_large(&g, &b, 0, &other, &e), IIP_E_TIMEOUT);
    assert_int_equal(in_use(), 0);
    iip_gate_leave_large(&g, permit);
    b.until = 0;
    assert_int_equal(iip_gate_enter_large(&g, &b, 0, &permit, &e), IIP_OK);
    assert_int_equal(in_use(), 1);
    iip_gate_leave_large(&g, permit);
    assert_int_equal(in_use(), 0);
    iip_gate_destroy(&g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_so_many_at_once, setup, teardown),
        cmocka_unit_test_setup_teardown(test_order_of_arrival, setup, teardown),
        cmocka_unit_test_setup_teardown(test_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(test_lost_child, setup, teardown),
        cmocka_unit_test_setup_teardown(test_claims, setup, teardown),
        cmocka_unit_test_setup_teardown(test_gate, setup, teardown),
    };

    apr_initialize();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
