/* SPDX-License-Identifier: Apache-2.0
 * Permits for large work (spec/performance.md 3.5): so many at once on the whole machine, in order of arrival,
 * whichever child they are in, so that small work always finds a core. And claims: how much each client has under way.
 * Plain memory that all children share; each permit, claim and place in line knows the process that has it, and those
 * of a child that died are freed by its parent. */
#ifndef IIP_PERMITS_H
#define IIP_PERMITS_H
#include "raster/raster.h"

#define IIP_PERMITS_MOST 256 /* permits, and places in line */
#define IIP_CLAIMS_MOST  1024

typedef struct {
    int32_t places, permit[IIP_PERMITS_MOST]; /* permit: who has it, 0 = free */
    uint32_t given;                           /* one more with each permit that is given back: a futex */
    uint64_t arrivals;
    struct {
        int32_t pid;     /* 0 = free */
        uint64_t ticket; /* 0: not drawn yet */
    } line[IIP_PERMITS_MOST];
    struct {
        int32_t pid;             /* 0 = free */
        uint64_t ticket, client; /* ticket 0: client is not set yet */
    } claim[IIP_CLAIMS_MOST];
} iip_permits;

/* Zeroed memory, before anybody uses it. places 0: all cores but one, at least one. */
void iip_permits_init(iip_permits *p, int places);
/* The number of a permit, waiting for it as long as b allows; -1: *e is filled (IIP_E_TIMEOUT, IIP_E_ABORTED;
 * IIP_E_BUSY at once when `most` wait already). sure: never refused for the length of the line. */
int iip_permits_enter(iip_permits *p, int most, int sure, const iip_budget *b, iip_error *e);
void iip_permits_leave(iip_permits *p, int number);
/* A claim of b->client's, one of b->per_client at most (IIP_E_CLIENT); never waits. *claim -1: none is needed, or there
 * are more than can be counted. */
iip_status iip_claim_take(iip_permits *p, const iip_budget *b, int *claim, iip_error *e);
void iip_claim_drop(iip_permits *p, int claim);
/* What a process had that is no more. */
void iip_permits_free(iip_permits *p, int32_t pid);
/* Permits in use, and requests in line. */
void iip_permits_read(const iip_permits *p, int *busy, int *waiting);
#endif
