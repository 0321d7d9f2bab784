/* SPDX-License-Identifier: Apache-2.0
 * Bytes from and to other machines and allowed folders (spec/imgserve.md sections 5 and 9, spec/security.md section 7).
 * All of it blocks, until a deadline at the latest. */
#ifndef IIP_JOB_TRANSFER_H
#define IIP_JOB_TRANSFER_H
#include "job/job.h"

/* What is fetched, as it comes. 0: go on; 1: enough, the connection is dropped and the fetch is good; -1: too much. */
typedef int job_take_fn(void *ctx, const void *data, size_t n);

/* http, https, ftp, ftps. Codes: JOB_E_FETCH, JOB_E_TOO_LARGE, JOB_E_SOURCE_ADDRESS. */
job_code job_fetch(const job_url *from, const job_place *place, apr_time_t until, job_take_fn *take, void *ctx,
                   apr_pool_t *p, job_error *e);
/* file: beneath the place's root. JOB_E_FETCH; JOB_E_TOO_LARGE by its size. */
job_code job_open_source(const job_url *from, const job_place *place, iip_source_t **s, apr_pool_t *p, job_error *e);

/* The first size bytes of fd to the job's destination. stage: placeholder, result, failure. Codes: JOB_E_STORE,
 * JOB_E_DEST_ADDRESS. */
job_code job_store(const job_t *j, const job_place *place, const char *id, const char *stage, int fd, int64_t size,
                   apr_time_t until, apr_pool_t *p, job_error *e);

/* local.c: where that is file: beneath the place's root. Folders are made; the name appears with all its bytes. */
job_code job_store_file(const job_t *j, const job_place *place, const char *id, const char *stage, int fd, int64_t size,
                        apr_pool_t *p, job_error *e);

/* A JSON text to a callback; signature: the value of X-IIP-Signature, NULL: none. JOB_E_CALLBACK. */
job_code job_call(const job_url *to, const job_place *place, const char *id, const char *body, const char *signature,
                  apr_time_t until, apr_pool_t *p, job_error *e);
#endif
