/* SPDX-License-Identifier: Apache-2.0
 * Files that crashed a process, and only those, are refused for a while (spec/security.md 8). Whoever works on a file
 * holds a slot in memory that all processes share; a thread that faults marks the one it holds, and nothing else does:
 * a process that is killed from outside blames no file, nor does one that faults while it works on none. */
#ifndef IIP_QUARANTINE_H
#define IIP_QUARANTINE_H
#include "source/source.h"
#include <signal.h>

#define IIP_QUARANTINE_SECONDS 600
#define IIP_QUARANTINE_SLOTS   1024 /* files being worked on, on the whole machine, and files that are refused */

typedef struct {
    int32_t pid;     /* who holds it; 0: free; -1: nobody, kept for its mark */
    int32_t spare;   /* no padding */
    int64_t crashed; /* when its holder's thread faulted, in seconds since 1970; 0: it did not */
    iip_ident id;
    char name[128]; /* its end, of a longer one */
} iip_quarantine_slot;

typedef struct {
    int64_t until; /* nothing is refused from then on; 0: nothing ever was */
    iip_quarantine_slot slot[IIP_QUARANTINE_SLOTS];
} iip_quarantine;

/* This process works with q (zeroed at first), NULL: with none. catch: its faults are seen, in front of what was set to
 * see them before; then once, and before it has more threads. */
void iip_quarantine_use(iip_quarantine *q, int catch);
/* Before a thread of our own is made: signals are for those that httpd knows, but a fault is everybody's own, and where
 * it is blocked the kernel ends the process without asking. *old: to be set again afterwards. */
void iip_quarantine_mask(sigset_t *old);
/* As it was before catch. Takes no lock. */
void iip_quarantine_release(void);

/* This thread works on the file from now on, until it leaves. NULL, which may be left too: no slot was free. */
iip_quarantine_slot *iip_quarantine_enter(const iip_source_t *s);
void iip_quarantine_leave(iip_quarantine_slot *slot);

/* IIP_E_CORRUPT with a part, if this very file crashed a process not long ago: a replaced one is another. */
iip_status iip_quarantine_check(const iip_source_t *s, iip_error *e);
/* The file may be tried again. */
void iip_quarantine_forget(iip_quarantine *q, const iip_ident *id);
/* Frees what a process held that is no more. Calls back for each file that it crashed on. */
void iip_quarantine_ended(iip_quarantine *q, int32_t pid, void (*crashed)(void *ctx, const char *name), void *ctx);
/* Files that are refused now. */
int iip_quarantine_count(const iip_quarantine *q);
#endif
