/* SPDX-License-Identifier: Apache-2.0
 * Histograms of the job service. */
#include "job/counters.h"

const double job_bucket_seconds[JOB_BUCKETS] = {0.05, 0.1, 0.25, 0.5, 1, 5, 15, 60};

void job_count_stage(job_counters *c, job_stage s, int64_t us)
{
    int i = 0;

    while (i < JOB_BUCKETS && (double)us > job_bucket_seconds[i] * 1e6)
        i++;
    JOB_COUNT(c, stage[s].bucket[i], 1);
    JOB_COUNT(c, stage[s].count, 1);
    JOB_COUNT(c, stage[s].us, us);
}
