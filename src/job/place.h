/* SPDX-License-Identifier: Apache-2.0
 * The directives of the job service as what a job may do. */
#ifndef IIP_JOB_PLACE_H
#define IIP_JOB_PLACE_H
#include "job/job.h"

/* What is wrong with the words of a directive of that name; NULL: nothing, or it is none of ours. */
const char *job_setting_check(const char *directive, int argc, const char *const *argv, apr_pool_t *p);
/* set and job are effective; strings are shared with them. */
void job_place_make(job_place *place, const iip_settings *set, const iip_job_settings *job);
#endif
