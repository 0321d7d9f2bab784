/* SPDX-License-Identifier: Apache-2.0
 * The views of a picture (pages of a stack, files of a sequence), and what an answer that is more than one picture
 * takes from them: headers, raw samples, encoded parts. Everything goes through the child's caches. */
#ifndef IIP_VIEWS_H
#define IIP_VIEWS_H
#include "serve.h"
#include "source/sequence.h"

/* Belongs to one request, as does all that it gives. */
typedef struct iip_views {
    iip_server_t *sv;
    const iip_limits *lim;
    iip_budget *b;
    apr_pool_t *pool;
    iip_source_t *src;            /* the picture's file */
    const iip_info *info;         /* and its header */
    const iip_sequence *sequence; /* NULL: views are pages */
    /* Opens a file of the sequence, by its name. */
    iip_status (*open)(void *ctx, const char *name, iip_source_t **s, iip_error *e);
    void *ctx;
} iip_views;

/* Those across: the pages, or the angles with v = 90. */
int iip_views_count(const iip_views *v);
/* What SDS calls the n-th. */
int iip_views_number(const iip_views *v, int n);
/* Its header; *info lives while *hold is held. */
iip_status iip_views_info(iip_views *v, int n, const iip_info **info, iip_blob **hold, iip_error *e);
/* Raw samples of a part of one of its levels, as its reader gives them; want lies within the level. The rows of out are
 * p's. IIP_E_LIMIT where too many pixels would have to be decoded. */
iip_status iip_views_samples(iip_views *v, int n, int level, iip_rect want, iip_raster *out, apr_pool_t *p,
                             iip_error *e);
/* The answer to a request of the picture, which is not streamed; a held blob. Resolves rq. */
iip_status iip_views_image(iip_views *v, iip_request *rq, iip_blob **out, iip_error *e);

/* What sequence a name is, in memory of p; NULL with IIP_OK: none. Found by a scan of the folder once, as long as that
 * does not change. */
iip_status iip_serve_sequence(iip_server_t *sv, const iip_sequence **out, const iip_root *root, const char *name,
                              const char *pattern, apr_pool_t *p, iip_error *e);
/* Which file or page rq->angle_h and angle_v mean. q NULL: no sequence, *file stays as it is.
 * IIP_E_NOT_FOUND: a view that does not exist. */
iip_status iip_view_choose(iip_request *rq, const iip_sequence *q, const char **file, apr_pool_t *p, iip_error *e);
#endif
