/* SPDX-License-Identifier: Apache-2.0
 * One job, in the process forked for it. */
#ifndef IIP_JOB_WORK_H
#define IIP_JOB_WORK_H
#include "job/counters.h"
#include "job/record.h"

/* What the process reports, in one write to a pipe. */
typedef struct {
    job_error error; /* code JOB_OK: done */
    int width, height;
    int64_t bytes, source_bytes;
    int64_t spent[JOB_STAGES]; /* us */
} job_outcome;

/* Fetches, has it rendered in a decode process, stores. Returns with *out filled. */
void job_work(const job_record *r, const job_t *j, apr_interval_time_t timeout, size_t memory, job_outcome *out,
              apr_pool_t *p);
/* Puts the picture of a failure to the destination, as well as it goes. */
void job_show_failure(const job_record *r, const job_t *j, apr_pool_t *p);
/* Tells the callback how it ended. */
job_code job_tell(const job_record *r, const job_t *j, job_folder in, const job_entry *entry, apr_pool_t *p,
                  job_error *e);
#endif
