/* SPDX-License-Identifier: Apache-2.0
 * Idle cores for one large request (spec/performance.md 3.5): other threads decode the cells of the row that is wanted
 * and of the one after, while the request's own thread decodes too, and encodes. They live as long as the request; they
 * take up a cell only while a core has nothing else to do, so whoever comes meanwhile waits for a cell at most. What
 * they cannot do is done again by the request's own thread: pixels and errors are those of one thread. */
#ifndef IIP_AHEAD_H
#define IIP_AHEAD_H
#include "cells.h"

typedef struct iip_ahead iip_ahead_t;

/* 1 if this machine has a core that nothing runs on; more: for so many threads that do not run yet. */
typedef int iip_idle_fn(int more);
int iip_ahead_idle(int more);

/* For reading `cover` of a level from top to bottom through c, by that many threads more (threads 0 or less: NULL).
 * NULL too where it would not pay, where it would need more than `spare` bytes, or where memory is out. */
iip_ahead_t *iip_ahead_begin(iip_cells *c, int level, iip_rect cover, int threads, size_t spare, iip_idle_fn *idle);
/* iip_fetch_fn with ctx = iip_ahead_t. */
iip_status iip_ahead_fetch(void *ahead, int level, iip_rect want, iip_raster *out, iip_error *e);
/* Its threads have ended when this returns; before iip_cells_done(), and before c->pool goes. 0: one of them found that
 * the file was replaced. NULL: 1. */
int iip_ahead_end(iip_ahead_t *a);

/* The process ends, perhaps in a signal handler: waits until no such thread is in a decoder, and keeps them out. Takes
 * no lock. */
void iip_ahead_close(void);
#endif
