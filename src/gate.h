/* SPDX-License-Identifier: Apache-2.0
 * Places for cold work in a child: some requests decode, some wait, the rest is refused at once (IIPMaxDecodes). */
#ifndef IIP_GATE_H
#define IIP_GATE_H
#include "permits.h"
#include "request.h"
#include <pthread.h>

typedef struct iip_gate {
    pthread_mutex_t lock;
    pthread_cond_t freed;
    int places, line, busy, waiting;
    iip_permits *permits; /* of the machine, for large work; NULL: there are none */
} iip_gate;

/* places, line: as configured; -1 = cores, four times the places. */
void iip_gate_init(iip_gate *g, int places, int line);
void iip_gate_destroy(iip_gate *g);
/* Takes a place, waiting for it as long as b allows (IIP_E_TIMEOUT, IIP_E_ABORTED). sure: never refused (IIP_E_BUSY),
 * whatever the length of the line. */
iip_status iip_gate_enter(iip_gate *g, const iip_budget *b, int sure, iip_error *e);
void iip_gate_leave(iip_gate *g);
/* The same for large work: behind the line for one of the machine's permits (*permit; -1: there are none), which has
 * the length of the child's own. */
iip_status iip_gate_enter_large(iip_gate *g, const iip_budget *b, int sure, int *permit, iip_error *e);
void iip_gate_leave_large(iip_gate *g, int permit);
/* A request's whole way in: its claim (IIPMaxPerClient), its place, its permit. work: how long it will take. *w is to
 * be left after IIP_OK only. */
typedef struct {
    iip_gate *gate;
    iip_work work;
    int inside, claim, permit;
} iip_passage;
iip_status iip_passage_enter(iip_passage *w, iip_gate *g, const iip_budget *b, iip_work work, iip_error *e);
void iip_passage_leave(iip_passage *w);
/* Gives place and permit back for a while, and takes them again, however long the line is. */
void iip_passage_pause(iip_passage *w);
iip_status iip_passage_resume(iip_passage *w, const iip_budget *b, iip_error *e);
/* Requests with a place, and waiting for one; no lock. */
void iip_gate_read(iip_gate *g, int *busy, int *waiting);
#endif
