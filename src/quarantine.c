/* SPDX-License-Identifier: Apache-2.0
 * Slots are taken and given back without a lock: whoever holds one may die at any moment. A mark is two stores of the
 * signal handler; its slot then belongs to nobody until the time is over. */
#include "quarantine.h"
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define STACK (32 << 10) /* for the handler, so that it can run where the stack overflowed */
#define NEST  4          /* files one thread works on at once */

static const int faults[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT};
enum { FAULTS = sizeof faults / sizeof *faults };

static iip_quarantine *in_use;
static int caught; /* faults are */
static struct sigaction before[FAULTS];
static pthread_key_t stack_key;

/* Initial-exec: the handler must not be the one who has it allocated. */
static _Thread_local __attribute__((tls_model("initial-exec"))) iip_quarantine_slot *held[NEST];
static _Thread_local __attribute__((tls_model("initial-exec"))) int depth;

/* ---- faults ---- */

/* A fault of this thread's own, or one it raised: not what another process sent. */
static int is_own(const siginfo_t *si)
{
    return si->si_code > 0 || (si->si_code == SI_TKILL && si->si_pid == getpid());
}

static void on_fault(int sig, siginfo_t *si, void *context)
{
    const struct sigaction *next = NULL;

    if (depth > 0 && is_own(si)) {
        const int64_t now = (int64_t)time(NULL);

        __atomic_store_n(&held[depth - 1]->crashed, now, __ATOMIC_RELAXED);
        __atomic_store_n(&in_use->until, now + IIP_QUARANTINE_SECONDS, __ATOMIC_RELEASE);
    }
    for (int i = 0; i < FAULTS; i++)
        if (faults[i] == sig)
            next = &before[i];
    if (next->sa_flags & SA_SIGINFO) {
        next->sa_sigaction(sig, si, context);
    } else if (next->sa_handler == SIG_DFL || next->sa_handler == SIG_IGN) {
        signal(sig, SIG_DFL);
        raise(sig); /* arrives when this returns */
    } else {
        next->sa_handler(sig);
    }
}

void iip_quarantine_mask(sigset_t *old)
{
    sigset_t all;

    sigfillset(&all);
    for (int i = 0; i < FAULTS; i++)
        sigdelset(&all, faults[i]);
    sigdelset(&all, SIGSYS);
    sigdelset(&all, SIGTRAP);
    pthread_sigmask(SIG_SETMASK, &all, old);
}

static void drop_stack(void *stack)
{
    const stack_t none = {.ss_flags = SS_DISABLE};

    sigaltstack(&none, NULL);
    free(stack);
}

/* Once for each thread; one that has a stack for signals keeps it. */
static void give_stack(void)
{
    stack_t own = {.ss_size = STACK}, old;

    if (!caught || pthread_getspecific(stack_key) || sigaltstack(NULL, &old) != 0 || !(old.ss_flags & SS_DISABLE))
        return;
    if (!(own.ss_sp = malloc(STACK)))
        return;
    if (pthread_setspecific(stack_key, own.ss_sp) != 0 || sigaltstack(&own, NULL) != 0) {
        pthread_setspecific(stack_key, NULL);
        free(own.ss_sp);
    }
}

void iip_quarantine_use(iip_quarantine *q, int catch)
{
    struct sigaction act = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO | SA_ONSTACK};

    in_use = q;
    if (!q || !catch || pthread_key_create(&stack_key, drop_stack) != 0)
        return;
    sigemptyset(&act.sa_mask);
    for (int i = 0; i < FAULTS; i++)
        sigaction(faults[i], &act, &before[i]);
    caught = 1;
}

void iip_quarantine_release(void)
{
    for (int i = 0; caught && i < FAULTS; i++)
        sigaction(faults[i], &before[i], NULL);
    caught = 0;
}

/* ---- slots ---- */

static int64_t crashed_at(const iip_quarantine_slot *s)
{
    return __atomic_load_n(&s->crashed, __ATOMIC_RELAXED);
}

/* Of the same file in the same state; which root it was looked up from does not matter, nor how often it was forgotten.
 */
static int is_file(const iip_quarantine_slot *s, const iip_ident *id)
{
    return s->id.dev == id->dev && s->id.ino == id->ino && s->id.size == id->size && s->id.mtime_ns == id->mtime_ns &&
           s->id.ctime_ns == id->ctime_ns;
}

/* Takes back the mark; the slot is free if nobody holds it. */
static void unmark(iip_quarantine_slot *s, int64_t crashed)
{
    int32_t nobody = -1;

    if (__atomic_compare_exchange_n(&s->crashed, &crashed, 0, 0, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED))
        __atomic_compare_exchange_n(&s->pid, &nobody, 0, 0, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED);
}

/* A free one, or one whose mark is too old. */
static iip_quarantine_slot *take(iip_quarantine *q, int32_t pid)
{
    for (int i = 0; i < IIP_QUARANTINE_SLOTS; i++) {
        iip_quarantine_slot *s = &q->slot[i];
        int32_t owner = __atomic_load_n(&s->pid, __ATOMIC_RELAXED);

        if (owner == -1 && crashed_at(s) && crashed_at(s) + IIP_QUARANTINE_SECONDS < (int64_t)time(NULL)) {
            unmark(s, crashed_at(s));
            owner = 0;
        }
        if (owner == 0 && __atomic_compare_exchange_n(&s->pid, &owner, pid, 0, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED))
            return s;
    }
    return NULL;
}

iip_quarantine_slot *iip_quarantine_enter(const iip_source_t *s)
{
    iip_quarantine *q = in_use;
    const size_t n = strlen(s->name), room = sizeof q->slot->name - 1;
    iip_quarantine_slot *slot;

    if (!q || depth == NEST || !(slot = take(q, (int32_t)getpid())))
        return NULL;
    give_stack();
    slot->id = s->id;
    memcpy(slot->name, n > room ? s->name + (n - room) : s->name, n > room ? room + 1 : n + 1);
    held[depth] = slot;
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
    depth++;
    return slot;
}

void iip_quarantine_leave(iip_quarantine_slot *slot)
{
    int i = depth - 1;

    if (!slot)
        return;
    while (i > 0 && held[i] != slot)
        i--;
    for (; i + 1 < depth; i++)
        held[i] = held[i + 1];
    depth--;
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
    __atomic_store_n(&slot->pid, 0, __ATOMIC_RELEASE);
}

/* ---- what is refused ---- */

static int is_refused(const iip_quarantine_slot *s, int64_t now)
{
    const int64_t crashed = crashed_at(s);

    return crashed != 0 && now - crashed < IIP_QUARANTINE_SECONDS;
}

iip_status iip_quarantine_check(const iip_source_t *s, iip_error *e)
{
    iip_quarantine *q = in_use;
    const int64_t until = q ? __atomic_load_n(&q->until, __ATOMIC_ACQUIRE) : 0;
    int64_t now;

    if (until == 0 || (now = (int64_t)time(NULL)) >= until)
        return IIP_OK;
    for (int i = 0; i < IIP_QUARANTINE_SLOTS; i++)
        if (is_refused(&q->slot[i], now) && is_file(&q->slot[i], &s->id))
            return iip_refuse(e, IIP_E_CORRUPT, "quarantine");
    return IIP_OK;
}

int iip_quarantine_count(const iip_quarantine *q)
{
    const int64_t now = (int64_t)time(NULL);
    int n = 0;

    for (int i = 0; i < IIP_QUARANTINE_SLOTS; i++)
        n += is_refused(&q->slot[i], now);
    return n;
}

void iip_quarantine_forget(iip_quarantine *q, const iip_ident *id)
{
    for (int i = 0; i < IIP_QUARANTINE_SLOTS; i++)
        if (crashed_at(&q->slot[i]) && q->slot[i].id.dev == id->dev && q->slot[i].id.ino == id->ino)
            unmark(&q->slot[i], crashed_at(&q->slot[i]));
}

void iip_quarantine_ended(iip_quarantine *q, int32_t pid, void (*crashed)(void *ctx, const char *name), void *ctx)
{
    for (int i = 0; i < IIP_QUARANTINE_SLOTS; i++) {
        iip_quarantine_slot *s = &q->slot[i];

        if (__atomic_load_n(&s->pid, __ATOMIC_RELAXED) != pid)
            continue;
        if (crashed_at(s))
            crashed(ctx, s->name);
        __atomic_store_n(&s->pid, crashed_at(s) ? -1 : 0, __ATOMIC_RELEASE);
    }
}
