/* SPDX-License-Identifier: Apache-2.0
 * Taking jobs: checks, the look at the source, the placeholder, the spool, the reply (spec/imgserve.md section 6). */
#ifndef IIP_JOB_ACCEPT_H
#define IIP_JOB_ACCEPT_H
#include "job/counters.h"
#include "job/record.h"

typedef struct {
    job_spool *spool;
    const job_place *place;
    const char *base;        /* URL path of the handler's place, for statusURL */
    int64_t max_queue;       /* jobs waiting; more are refused */
    int (*enter)(void *ctx); /* a place in the slow phase: 1, or 0 when all are taken; may be NULL */
    void (*leave)(void *ctx);
    void *ctx;
    job_counters *counters; /* may be NULL */
} job_desk;

typedef enum { JOB_REPLY_TAKEN, JOB_REPLY_PARSE, JOB_REPLY_INVALID, JOB_REPLY_BUSY } job_reply;

/* One request, a job or a batch: its reply, JSON in memory of p. *kind: the worst that a lone job met; TAKEN for a
 * batch. *detail: for the log, NULL: none. Blocks on the network for 30 s at most: what of a batch is not looked at by
 * then is told busy. Any number of threads. */
const char *job_accept(const job_desk *d, const char *body, size_t n, job_reply *kind, const char **detail,
                       apr_pool_t *p);
#endif
