/* SPDX-License-Identifier: Apache-2.0
 * The record of a job: a JSON object with the request as it came, what its place allows, and how it ended. */
#ifndef IIP_JOB_RECORD_H
#define IIP_JOB_RECORD_H
#include "job/spool.h"

typedef struct {
    const char *id, *request, *dest, *key; /* dest: without password */
    const char *state;                     /* of one that is over: done, failed, cancelled; else NULL */
    job_place place;
    int64_t accepted, started, ended; /* ms */
    int attempts;                     /* of one that is over */
    job_error error;                  /* code 0: none */
    int width, height;
    int64_t bytes;
    iip_format format;
} job_record;

/* Text of a record, memory of p. */
const char *job_record_text(const job_record *r, apr_pool_t *p);
/* 0, or -1 if it is none. Strings live in p. */
int job_record_read(job_record *r, const char *text, apr_pool_t *p);
/* What a client is told (section 8): JSON. entry and in: where it was found. */
const char *job_record_state(const job_record *r, job_folder in, const job_entry *entry, apr_pool_t *p);
/* What becomes of a record that is cancelled, or tried once more. */
job_change_fn job_record_cancelled, job_record_again;
/* X-IIP-Signature of a body at that time (seconds), by the secret in that file: "t=<unix>,v1=<hex>". NULL: no secret
 * can be read, or no libcrypto is built in. */
const char *job_signature(const char *secret_file, const char *body, int64_t now, apr_pool_t *p);
#endif
