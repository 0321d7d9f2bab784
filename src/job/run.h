/* SPDX-License-Identifier: Apache-2.0
 * A runner: takes jobs from the spool and has each worked on in a process of its own (spec/imgserve.md section 7).
 *
 *   runner --fork--> job process: transfers  --fork--> decode process: codecs, librsvg; no network, its own limits
 *
 * Only the runner moves entries of the spool; the others report through pipes. */
#ifndef IIP_JOB_RUN_H
#define IIP_JOB_RUN_H
#include "job/counters.h"
#include "job/spool.h"

typedef struct {
    job_spool *spool;
    int wake;                                 /* a byte comes when there may be work; -1: none */
    int lifeline;                             /* its end comes when the runner shall finish; -1: none */
    int sweeps;                               /* this one deletes what is old */
    apr_interval_time_t timeout;              /* of a job: wall clock, and CPU */
    size_t memory;                            /* address space of the decode process */
    int64_t keep_done, keep_dead;             /* ms */
    job_counters *counters;                   /* shared; may be NULL */
    void (*log)(void *ctx, const char *text); /* one line about a job that failed for good; may be NULL */
    void *ctx;
} job_runner;

/* Works until the lifeline ends or SIGTERM comes (a job at work is then put back, not counted). idle: returns instead
 * when nothing is left that is due (tests). The process has one thread and no signal handlers worth keeping. */
void job_run(const job_runner *r, int idle, apr_pool_t *p);
#endif
