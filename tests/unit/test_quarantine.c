/* SPDX-License-Identifier: Apache-2.0
 * Who is blamed for a crash: real ones, in processes of their own. */
#include "quarantine.h"
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <cmocka.h>

static iip_quarantine *q;
static char names[1000];

static int setup(void **state)
{
    q = mmap(NULL, sizeof *q, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    iip_quarantine_use(q, 0);
    names[0] = '\0';
    return q == MAP_FAILED ? -1 : 0;
}

static int teardown(void **state)
{
    return munmap(q, sizeof *q);
}

static iip_source_t file(const char *name, uint64_t ino)
{
    return (iip_source_t){.name = name, .id = {.root = 3, .dev = 1, .ino = ino, .size = 100}};
}

static void collect(void *ctx, const char *name)
{
    strcat(names, name);
    strcat(names, ";");
}

/* Runs `what` in a child that catches faults; what its end was, after the parent looked at what it left. */
static int in_child(void (*what)(void))
{
    const struct rlimit none = {0, 0};
    int status;
    pid_t pid = fork();

    if (pid == 0) {
        setrlimit(RLIMIT_CORE, &none);
        for (int i = 1; i < 32; i++)
            signal(i, SIG_DFL); /* a sanitizer's too */
        iip_quarantine_use(q, 1);
        what();
        _exit(0);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    iip_quarantine_ended(q, (int32_t)pid, collect, NULL);
    return WIFSIGNALED(status) ? WTERMSIG(status) : -WEXITSTATUS(status);
}

static iip_status check(uint64_t ino)
{
    iip_source_t s = file("x", ino);
    iip_error e;

    return iip_quarantine_check(&s, &e);
}

static volatile char *volatile nowhere = (volatile char *)16; /* not NULL: the sanitizer would see that first */

static void fault(void)
{
    iip_source_t a = file("outer", 1), b = file("inner", 2), c = file("before", 3);

    iip_quarantine_leave(iip_quarantine_enter(&c));
    iip_quarantine_enter(&a);
    iip_quarantine_enter(&b);
    *nowhere = 1;
}

static void stop(void)
{
    iip_source_t a = file("aborted", 4);

    iip_quarantine_enter(&a);
    abort();
}

static void *fault_there(void *unused)
{
    fault();
    return NULL;
}

/* As ahead.c and indexes.c make theirs. */
static void fault_behind(void)
{
    sigset_t old, now;
    pthread_t id;

    iip_quarantine_mask(&old);
    pthread_create(&id, NULL, fault_there, NULL);
    pthread_sigmask(SIG_SETMASK, NULL, &now);
    if (!sigismember(&now, SIGTERM) || !sigismember(&now, SIGUSR1) || sigismember(&old, SIGTERM))
        _exit(1);
    pthread_join(id, NULL);
}

#ifndef IIP_ASAN /* its frames and its stack for signals are others */
static int __attribute__((noinline)) deeper(volatile char *above)
{
    volatile char here[512] = {0};

    here[0] = (char)(*above + 1);
    return here[1] == 7 && *above == 9 ? 0 : deeper(here) + here[0];
}

static void overflow(void)
{
    iip_source_t a = file("deep", 5);
    volatile char c = 0;

    iip_quarantine_enter(&a);
    deeper(&c);
}
#endif

static void test_faults(void **state)
{
    iip_source_t replaced = file("inner", 2), again = replaced;
    iip_error e;

    assert_int_equal(iip_quarantine_count(q), 0);
    assert_int_equal(in_child(fault), SIGSEGV);
    assert_string_equal(names, "inner;");
    assert_int_equal(check(2), IIP_E_CORRUPT);
    assert_int_equal(check(1), IIP_OK);
    assert_int_equal(check(3), IIP_OK);
    assert_int_equal(in_child(stop), SIGABRT);
#ifndef IIP_ASAN
    assert_int_equal(in_child(overflow), SIGSEGV);
    assert_int_equal(check(5), IIP_E_CORRUPT);
#endif
    assert_int_equal(check(4), IIP_E_CORRUPT);
    assert_true(strstr(names, "aborted;") != NULL);
    /* another file of that name; the same through another root, or forgotten and found again, is the same */
    replaced.id.mtime_ns++;
    assert_int_equal(iip_quarantine_check(&replaced, &e), IIP_OK);
    again.id.root = 9;
    again.id.generation = 7;
    assert_int_equal(iip_quarantine_check(&again, &e), IIP_E_CORRUPT);
    assert_string_equal(e.part, "quarantine");
    iip_quarantine_forget(q, &again.id);
    assert_int_equal(check(2), IIP_OK);
    assert_int_equal(check(4), IIP_E_CORRUPT);
}

static void idle(void)
{
    iip_source_t a = file("done", 6);

    iip_quarantine_leave(iip_quarantine_enter(&a));
    *nowhere = 1;
}

static void killed(void)
{
    iip_source_t a = file("busy", 7);

    iip_quarantine_enter(&a);
    kill(getpid(), SIGKILL);
}

/* As another process would send it. */
static void sent(void)
{
    iip_source_t a = file("busy", 8);

    iip_quarantine_enter(&a);
    kill(getpid(), SIGSEGV);
    pause();
}

static void test_blameless(void **state)
{
    assert_int_equal(in_child(idle), SIGSEGV);
    assert_int_equal(in_child(killed), SIGKILL);
    assert_int_equal(in_child(sent), SIGSEGV);
    assert_string_equal(names, "");
    assert_int_equal(iip_quarantine_count(q), 0);
    for (int i = 0; i < IIP_QUARANTINE_SLOTS; i++)
        assert_int_equal(q->slot[i].pid, 0);
}

static void test_expiry(void **state)
{
    iip_source_t s = file("new", 20);
    iip_quarantine_slot *slot;

    assert_int_equal(in_child(stop), SIGABRT);
    assert_int_equal(iip_quarantine_count(q), 1);
    q->slot[0].crashed -= IIP_QUARANTINE_SECONDS + 2;
    assert_int_equal(check(4), IIP_OK);
    assert_int_equal(iip_quarantine_count(q), 0);
    slot = iip_quarantine_enter(&s);
    assert_ptr_equal(slot, &q->slot[0]); /* and is of use again */
    assert_int_equal(slot->crashed, 0);
    iip_quarantine_leave(slot);
    q->until = (int64_t)time(NULL) - 1;
    assert_int_equal(check(4), IIP_OK);
}

/* No free slot, too many files at once, names of any length, out of order. */
static void test_room(void **state)
{
    char name[1000];
    iip_source_t s = file(name, 1);
    iip_quarantine_slot *held[5];

    memset(name, 'a', sizeof name - 1);
    name[sizeof name - 2] = 'z';
    name[sizeof name - 1] = '\0';
    for (int i = 0; i < 5; i++)
        held[i] = iip_quarantine_enter(&s);
    assert_non_null(held[3]);
    assert_null(held[4]);
    assert_int_equal(strlen(held[0]->name), sizeof held[0]->name - 1);
    assert_int_equal(held[0]->name[sizeof held[0]->name - 2], 'z');
    for (int i = 0; i < 5; i++)
        iip_quarantine_leave(held[i]);
    for (int i = 0; i < IIP_QUARANTINE_SLOTS; i++) {
        assert_int_equal(q->slot[i].pid, 0);
        q->slot[i].pid = 1;
    }
    assert_null(iip_quarantine_enter(&s));
    iip_quarantine_use(NULL, 1);
    assert_null(iip_quarantine_enter(&s));
    assert_int_equal(check(1), IIP_OK);
    iip_quarantine_release();
}

static void test_threads(void **state)
{
    assert_int_equal(in_child(fault_behind), SIGSEGV);
    assert_int_equal(check(2), IIP_E_CORRUPT);
    assert_int_equal(check(1), IIP_OK);
    assert_string_equal(names, "inner;");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_faults, setup, teardown),
        cmocka_unit_test_setup_teardown(test_threads, setup, teardown),
        cmocka_unit_test_setup_teardown(test_blameless, setup, teardown),
        cmocka_unit_test_setup_teardown(test_expiry, setup, teardown),
        cmocka_unit_test_setup_teardown(test_room, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
