/* SPDX-License-Identifier: Apache-2.0
 * Those in line are waked when a permit is given back, and look by themselves every few milliseconds: a wake may meet
 * a child that has just died, and no lock or semaphore can be lost with a child that holds it. */
#include "permits.h"
#include <limits.h>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define LOOK 4000000 /* nanoseconds between two looks */

void iip_permits_init(iip_permits *p, int places)
{
    const long cores = sysconf(_SC_NPROCESSORS_ONLN);

    p->places = places > 0 ? places : cores > 2 ? (int)cores - 1 : 1;
    if (p->places > IIP_PERMITS_MOST)
        p->places = IIP_PERMITS_MOST;
}

static int take(int32_t *of, int32_t pid)
{
    int32_t nobody = 0;

    return __atomic_load_n(of, __ATOMIC_RELAXED) == 0 &&
           __atomic_compare_exchange_n(of, &nobody, pid, 0, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED);
}

static void give(int32_t *of)
{
    __atomic_store_n(of, 0, __ATOMIC_RELEASE);
}

void iip_permits_read(const iip_permits *p, int *busy, int *waiting)
{
    *busy = *waiting = 0;
    for (int i = 0; i < IIP_PERMITS_MOST; i++) {
        *busy += __atomic_load_n(&p->permit[i], __ATOMIC_RELAXED) != 0;
        *waiting += __atomic_load_n(&p->line[i].pid, __ATOMIC_RELAXED) != 0;
    }
}

/* A place in line, or -1: it is full. */
static int stand(iip_permits *p, int32_t pid)
{
    for (int i = 0; i < IIP_PERMITS_MOST; i++)
        if (take(&p->line[i].pid, pid)) {
            __atomic_store_n(&p->line[i].ticket, __atomic_add_fetch(&p->arrivals, 1, __ATOMIC_RELAXED),
                             __ATOMIC_RELEASE);
            return i;
        }
    return -1;
}

static void step_out(iip_permits *p, int at)
{
    __atomic_store_n(&p->line[at].ticket, 0, __ATOMIC_RELAXED);
    give(&p->line[at].pid);
}

/* A permit if there are more free ones than people in front; else -1. */
static int try_it(iip_permits *p, int at, int32_t pid)
{
    const uint64_t own = __atomic_load_n(&p->line[at].ticket, __ATOMIC_RELAXED);
    int free_ones = 0, first = 0;

    for (int i = 0; i < p->places; i++)
        free_ones += __atomic_load_n(&p->permit[i], __ATOMIC_RELAXED) == 0;
    for (int i = 0; i < IIP_PERMITS_MOST && first < free_ones; i++) {
        const uint64_t ticket = __atomic_load_n(&p->line[i].ticket, __ATOMIC_ACQUIRE);

        first += ticket != 0 && ticket < own && __atomic_load_n(&p->line[i].pid, __ATOMIC_RELAXED) != 0;
    }
    for (int i = 0; i < p->places && first < free_ones; i++)
        if (take(&p->permit[i], pid))
            return i;
    return -1;
}

int iip_permits_enter(iip_permits *p, int most, int sure, const iip_budget *b, iip_error *e)
{
    const int32_t pid = (int32_t)getpid();
    const struct timespec most_ns = {0, LOOK};
    int busy, waiting, at, got;
    uint32_t seen;

    iip_permits_read(p, &busy, &waiting);
    if ((!sure && busy >= p->places && waiting >= most) || (at = stand(p, pid)) < 0) {
        iip_fail(e, IIP_E_BUSY, 0, "%d large requests are at work, %d wait", busy, waiting);
        return -1;
    }
    for (;;) {
        seen = __atomic_load_n(&p->given, __ATOMIC_ACQUIRE);
        if ((got = try_it(p, at, pid)) >= 0 || iip_budget_check(b, e) != IIP_OK)
            break;
        syscall(SYS_futex, &p->given, FUTEX_WAIT, seen, &most_ns, NULL, 0);
    }
    step_out(p, at);
    return got;
}

void iip_permits_leave(iip_permits *p, int number)
{
    give(&p->permit[number]);
    __atomic_fetch_add(&p->given, 1, __ATOMIC_RELEASE);
    syscall(SYS_futex, &p->given, FUTEX_WAKE, INT_MAX, NULL, NULL, 0);
}

iip_status iip_claim_take(iip_permits *p, const iip_budget *b, int *claim, iip_error *e)
{
    int64_t before = 0;
    uint64_t own;
    int at = 0;

    *claim = -1;
    if (!p || b->per_client <= 0)
        return IIP_OK;
    while (at < IIP_CLAIMS_MOST && !take(&p->claim[at].pid, (int32_t)getpid()))
        at++;
    if (at == IIP_CLAIMS_MOST)
        return IIP_OK;
    own = __atomic_add_fetch(&p->arrivals, 1, __ATOMIC_RELAXED);
    __atomic_store_n(&p->claim[at].client, b->client, __ATOMIC_RELAXED);
    __atomic_store_n(&p->claim[at].ticket, own, __ATOMIC_RELEASE);
    for (int i = 0; i < IIP_CLAIMS_MOST; i++) {
        const uint64_t ticket = __atomic_load_n(&p->claim[i].ticket, __ATOMIC_ACQUIRE);

        before += ticket != 0 && ticket < own && __atomic_load_n(&p->claim[i].client, __ATOMIC_RELAXED) == b->client;
    }
    if (before < b->per_client) {
        *claim = at;
        return IIP_OK;
    }
    iip_claim_drop(p, at);
    return iip_fail(e, IIP_E_CLIENT, 0, "%d requests of this address decode", (int)before);
}

void iip_claim_drop(iip_permits *p, int claim)
{
    if (claim < 0)
        return;
    __atomic_store_n(&p->claim[claim].ticket, 0, __ATOMIC_RELAXED);
    give(&p->claim[claim].pid);
}

void iip_permits_free(iip_permits *p, int32_t pid)
{
    for (int i = 0; i < IIP_CLAIMS_MOST; i++)
        if (__atomic_load_n(&p->claim[i].pid, __ATOMIC_RELAXED) == pid)
            iip_claim_drop(p, i);
    for (int i = 0; i < IIP_PERMITS_MOST; i++) {
        if (__atomic_load_n(&p->line[i].pid, __ATOMIC_RELAXED) == pid)
            step_out(p, i);
        if (__atomic_load_n(&p->permit[i], __ATOMIC_RELAXED) == pid)
            give(&p->permit[i]);
    }
}
