/* SPDX-License-Identifier: Apache-2.0
 * Figures of the job service (spec/imgserve.md section 10), in memory that all processes share. Only ever added to. */
#ifndef IIP_JOB_COUNTERS_H
#define IIP_JOB_COUNTERS_H
#include <stdint.h>

#define JOB_CODES   256 /* by code */
#define JOB_BUCKETS 8
typedef enum { JOB_STAGE_FETCH, JOB_STAGE_RENDER, JOB_STAGE_STORE, JOB_STAGES } job_stage;

typedef struct job_counters {
    uint64_t accepted, done, retries, restarts;
    uint64_t rejected[JOB_CODES], failed[JOB_CODES];
    uint64_t callbacks_made, callbacks_lost;
    uint64_t bytes_in, bytes_out;
    struct {
        uint64_t bucket[JOB_BUCKETS + 1], count, us;
    } stage[JOB_STAGES];
} job_counters;

extern const double job_bucket_seconds[JOB_BUCKETS]; /* upper ends; the last bucket has none */

#define JOB_COUNT(c, member, n)                                                                                        \
    do {                                                                                                               \
        if (c)                                                                                                         \
            __atomic_fetch_add(&(c)->member, (uint64_t)(n), __ATOMIC_RELAXED);                                         \
    } while (0)
void job_count_stage(job_counters *c, job_stage s, int64_t us);
#endif
