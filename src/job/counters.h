/* SPDX-License-Identifier: Apache-2.0
 * Figures of the job service (spec/imgserve.md section 10), in memory that all processes share. */
#ifndef IIP_JOB_COUNTERS_H
#define IIP_JOB_COUNTERS_H
#include <stdint.h>

#define JOB_CODES   256 /* by code */
#define JOB_BUCKETS 8
typedef enum { JOB_STAGE_FETCH, JOB_STAGE_DECODE, JOB_STAGE_ENCODE, JOB_STAGE_STORE, JOB_STAGES } job_stage;

typedef struct job_counters {
    uint64_t accepted, done, retries, restarts;
    uint64_t rejected[JOB_CODES], failed[JOB_CODES];
    uint64_t callbacks_made, callbacks_lost;
    uint64_t bytes_in, bytes_out;
    struct {
        uint64_t bucket[JOB_BUCKETS + 1], count, us;
    } stage[JOB_STAGES];
    /* The queue as it was last counted (accept.c), ms since 1970 */
    struct {
        uint64_t length, at, accepted;
    } queue;
} job_counters;

extern const double job_bucket_seconds[JOB_BUCKETS]; /* upper ends; the last bucket has none */

#define JOB_COUNT(c, member, n)                                                                                        \
    do {                                                                                                               \
        if (c)                                                                                                         \
            __atomic_fetch_add(&(c)->member, (uint64_t)(n), __ATOMIC_RELAXED);                                         \
    } while (0)
#define JOB_LOAD(c, member)     __atomic_load_n(&(c)->member, __ATOMIC_RELAXED)
#define JOB_STORE(c, member, n) __atomic_store_n(&(c)->member, (uint64_t)(n), __ATOMIC_RELAXED)
void job_count_stage(job_counters *c, job_stage s, int64_t us);
#endif
