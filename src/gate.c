/* SPDX-License-Identifier: Apache-2.0
 * A counting gate. Waiting is cut into slices, so that a client that hung up is seen. */
#include "gate.h"
#include <time.h>
#include <unistd.h>

void iip_gate_init(iip_gate *g, int places, int line)
{
    pthread_condattr_t attr;
    long cores = sysconf(_SC_NPROCESSORS_ONLN);

    g->places = places > 0 ? places : cores > 0 ? (int)cores : 1;
    g->line = line >= 0 ? line : 4 * g->places;
    g->busy = g->waiting = 0;
    g->permits = NULL;
    pthread_mutex_init(&g->lock, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&g->freed, &attr);
    pthread_condattr_destroy(&attr);
}

void iip_gate_destroy(iip_gate *g)
{
    pthread_cond_destroy(&g->freed);
    pthread_mutex_destroy(&g->lock);
}

void iip_gate_read(iip_gate *g, int *busy, int *waiting)
{
    *busy = __atomic_load_n(&g->busy, __ATOMIC_RELAXED);
    *waiting = __atomic_load_n(&g->waiting, __ATOMIC_RELAXED);
}

iip_status iip_gate_enter(iip_gate *g, const iip_budget *b, int sure, iip_error *e)
{
    iip_status rv = IIP_OK;

    pthread_mutex_lock(&g->lock);
    if (g->busy >= g->places && !sure && g->waiting >= g->line) {
        pthread_mutex_unlock(&g->lock);
        return iip_fail(e, IIP_E_BUSY, 0, "%d requests decode, %d wait", g->places, g->line);
    }
    __atomic_fetch_add(&g->waiting, 1, __ATOMIC_RELAXED);
    while (g->busy >= g->places && rv == IIP_OK) {
        struct timespec t;

        clock_gettime(CLOCK_MONOTONIC, &t);
        t.tv_nsec += 200000000;
        if (t.tv_nsec >= 1000000000) {
            t.tv_nsec -= 1000000000;
            t.tv_sec++;
        }
        if (pthread_cond_timedwait(&g->freed, &g->lock, &t) != 0)
            rv = iip_budget_check(b, e);
    }
    __atomic_fetch_sub(&g->waiting, 1, __ATOMIC_RELAXED);
    if (rv == IIP_OK)
        __atomic_fetch_add(&g->busy, 1, __ATOMIC_RELAXED);
    pthread_mutex_unlock(&g->lock);
    return rv;
}

void iip_gate_leave(iip_gate *g)
{
    pthread_mutex_lock(&g->lock);
    __atomic_fetch_sub(&g->busy, 1, __ATOMIC_RELAXED);
    pthread_cond_signal(&g->freed);
    pthread_mutex_unlock(&g->lock);
}

iip_status iip_gate_enter_large(iip_gate *g, const iip_budget *b, int sure, int *permit, iip_error *e)
{
    iip_status rv;

    *permit = -1;
    if (g->permits && (*permit = iip_permits_enter(g->permits, g->line, sure, b, e)) < 0)
        return e->status;
    /* Who waited there is not sent away here */
    rv = iip_gate_enter(g, b, sure || *permit >= 0, e);
    if (rv != IIP_OK && *permit >= 0)
        iip_permits_leave(g->permits, *permit);
    return rv;
}

void iip_gate_leave_large(iip_gate *g, int permit)
{
    iip_gate_leave(g);
    if (permit >= 0)
        iip_permits_leave(g->permits, permit);
}

static iip_status go_in(iip_passage *w, const iip_budget *b, int sure, iip_error *e)
{
    const iip_status rv = w->work == IIP_WORK_SMALL ? iip_gate_enter(w->gate, b, 1, e)
                                                    : iip_gate_enter_large(w->gate, b, sure, &w->permit, e);

    w->inside = rv == IIP_OK;
    return rv;
}

iip_status iip_passage_enter(iip_passage *w, iip_gate *g, const iip_budget *b, iip_work work, iip_error *e)
{
    iip_status rv;

    *w = (iip_passage){g, work, 0, -1, -1};
    if ((rv = iip_claim_take(g->permits, b, &w->claim, e)) != IIP_OK)
        return rv;
    if ((rv = go_in(w, b, work == IIP_WORK_FAIR, e)) != IIP_OK)
        iip_claim_drop(g->permits, w->claim);
    return rv;
}

void iip_passage_pause(iip_passage *w)
{
    if (w->inside)
        iip_gate_leave_large(w->gate, w->permit);
    w->inside = 0;
    w->permit = -1;
}

iip_status iip_passage_resume(iip_passage *w, const iip_budget *b, iip_error *e)
{
    return go_in(w, b, 1, e);
}

void iip_passage_leave(iip_passage *w)
{
    iip_passage_pause(w);
    iip_claim_drop(w->gate->permits, w->claim);
}
