/* SPDX-License-Identifier: Apache-2.0
 * What the files of the image path share: the child's stores, and one answer being made. */
#ifndef IIP_IMAGE_JOB_H
#define IIP_IMAGE_JOB_H
#include "serve.h"
#include "cache/ahead.h"
#include "gate.h"
#include "jpip/index.h"
#include <apr_siphash.h>

struct iip_server {
    iip_cache_t *info, *cell, *output, *colour, *histogram, *mark, *chain;
    iip_readers_t *readers;
    iip_l2_t *l2; /* NULL: there is none */
    jpip_indexes *indexes;
    iip_gate gate;
    int threads; /* for one large request */
    iip_idle_fn *idle;
    size_t cell_budget;
    unsigned char secret[2][APR_SIPHASH_KSIZE]; /* nobody can make another profile with the same icc_id */
};

typedef struct {
    iip_server_t *sv;
    const iip_request *rq;
    const iip_info *info;
    iip_source_t *src;
    const iip_limits *lim;
    iip_budget *b;
    apr_pool_t *pool;
    const char *line; /* of length len; NULL where the answer is not kept */
    size_t len;
    int large; /* yields to small work (spec/performance.md 3.5) */
} iip_job;

/* The picture's cells, for reading `part` of a level. */
void iip_job_cells(iip_cells *c, const iip_job *j, int level, double part);

/* attend.c: moves src, of its size, to where most happens in j->rq->within. */
iip_status iip_job_attend(const iip_job *j, iip_rect *src, iip_error *e);

/* aids.c: what the pipeline needs besides the picture, found in the child's stores or made. */
typedef struct {
    iip_aids aids;
    iip_stamp stamp;
    iip_blob *held[3];
} iip_job_aids;
iip_status iip_job_aids_take(const iip_job *j, iip_job_aids *a, iip_error *e);
void iip_job_aids_drop(iip_job_aids *a); /* after a failure too */
#endif
