/* SPDX-License-Identifier: Apache-2.0
 * An answer to a JPIP request: plan.c says what it is about (code-streams, window, model, corrections to the request),
 * emit.c sends it. */
#ifndef JPIP_ANSWER_H
#define JPIP_ANSWER_H
#include "jpip/session.h"
#include "jpip/target.h"
#include "jpip/window.h"

#define JPIP_STREAMS_MAX 100000 /* code-streams of a request */

/* A code-stream of the answer. */
typedef struct {
    int64_t number;
    iip_jp2_file f;
    const jpip_index *ix; /* NULL: broken, nothing of it is sent */
    iip_blob *hold;
    jpip_window w;
    int32_t *tiles; /* that the window meets */
    int32_t tiles_n;
    const unsigned char *comps; /* of ix->comps octets; NULL = all */
} jpip_picture;

/* Opens the file a link means. url: as written; IIP_E_NOT_FOUND, IIP_E_FORBIDDEN: that frame is broken. */
typedef iip_status jpip_open_link(void *ctx, const char *url, iip_source_t **s, apr_pool_t *p, iip_error *e);

/* What differs from the request, in its syntax; NULL = nothing to say. */
typedef struct {
    const char *fsiz, *roff, *rsiz, *comps, *stream, *context, *layers, *len, *quality, *mset;
} jpip_corrections;

/* Lies in p, whose cleanups it needs. */
typedef struct {
    /* by the caller */
    const jpip_query *q;
    jpip_type_wish type; /* jpp or jpt */
    iip_source_t *s;
    jpip_indexes *indexes; /* MAY be NULL */
    jpip_open_link *open_link;
    void *link_ctx;
    jpip_session *session; /* NULL: stateless */
    int64_t max;           /* bytes of an answer */
    iip_budget *b;
    apr_pool_t *p;
    /* made */
    jpip_target t;
    jpip_model *model, *need; /* need: NULL = all may be sent */
    jpip_picture *picture;
    int pictures;
    int changed; /* a linked file is another one than that of which this channel's client has bytes */
    int headers; /* main headers of the pictures are wanted */
    int cut;     /* memory or time allowed for fewer pictures than were asked for */
    jpip_corrections say;
} jpip_answer;

/* Reads the target (a->t). Then, knowing its tid, the caller opens the session; then the rest. */
iip_status jpip_answer_target(jpip_answer *a, iip_error *e);
/* Chooses code-streams, opens their indexes, applies model, need and mset, maps the window. What the caller says to
 * the client stands in a->say. IIP_E_SYNTAX, IIP_E_LIMIT, IIP_E_NOT_FOUND (the only code-stream is a broken link) and
 * whatever reading brings. */
iip_status jpip_answer_plan(jpip_answer *a, iip_error *e);

/* Sends messages and the end of response into k; a->model then holds what the client has. After an error the answer
 * must be cut. */
iip_status jpip_answer_send(jpip_answer *a, iip_sink *k, iip_error *e);
#endif
