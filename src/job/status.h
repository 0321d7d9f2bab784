/* SPDX-License-Identifier: Apache-2.0
 * Figures of the job service for people, programs and monitoring (spec/imgserve.md section 10). */
#ifndef IIP_JOB_STATUS_H
#define IIP_JOB_STATUS_H
#include "job/counters.h"
#include "job/spool.h"

/* args: the query, "status&format=json"; html (default), json, prometheus. Lengths of queues are those of the folders.
 */
const char *job_status(job_spool *s, const job_counters *c, const char *args, const char **mime, apr_pool_t *p);
#endif
