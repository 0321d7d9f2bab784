/* SPDX-License-Identifier: Apache-2.0
 * The fields of a JPIP request (T.808 annex C) as one plain value. Pure functions; every byte string is safe. */
#ifndef JPIP_QUERY_H
#define JPIP_QUERY_H
#include "iip.h"

#define JPIP_NUMBER_MAX INT64_C(2147483647) /* of any number in a request */
#define JPIP_LIST_MAX   1024                /* items of a list but those of model and need */

/* a, a + step, ... up to b. */
typedef struct {
    int64_t a, b, step; /* 0 <= a <= b, step >= 1; open: b = JPIP_NUMBER_MAX */
    int colon;          /* written a:step, which esajpip's clients mean as a-step */
} jpip_range;

typedef struct {
    const jpip_range *at;
    int n;
} jpip_ranges;

/* One of a list at *s: `a`, `a-b`, `a-`, each with `:step` if steps; `*` is 0-. Moves *s behind it. 1 or 0. */
int jpip_range_read(const char **s, int steps, jpip_range *r);
/* 1 if v is among them. */
int jpip_ranges_have(const jpip_ranges *r, int64_t v);

typedef enum { JPIP_TYPE_JPP, JPIP_TYPE_JPT, JPIP_TYPE_RAW } jpip_type;

typedef struct {
    jpip_type kind;
    int extended; /* ptype=ext of jpp, ttype=ext of jpt */
} jpip_type_wish;

typedef enum { JPIP_ROUND_DOWN, JPIP_ROUND_UP, JPIP_CLOSEST } jpip_round;

#define JPIP_TYPES 8

/* A group of metareq: boxes of a type, so deep below a bin. */
typedef struct {
    char type[4]; /* "\0" all types */
    int64_t bin, depth;
} jpip_wanted_box;

/* Texts are decoded and NULL when the field is absent; numbers are then -1. */
typedef struct {
    const char *target, *tid, *cid, *cclose;
    int64_t sub_a, sub_b; /* subtarget, bytes a..b of the file */
    int cnew;             /* 0 absent, 1 with http in it, -1 without */
    int64_t qid;
    int64_t fx, fy;
    jpip_round round;
    int64_t ox, oy;                     /* may be negative; 0 */
    int64_t sx, sy;                     /* -1 = the rest of the frame */
    jpip_ranges comps, stream, context; /* n 0 = absent; context: numbers of layers */
    int64_t layers, len;
    int quality;
    jpip_type_wish type[JPIP_TYPES]; /* in order of preference */
    int types;                       /* known ones among them; -1: field absent */
    const jpip_wanted_box *meta;
    int metas; /* 0 = no metareq */
    int meta_only;
    const char *model, *need, *tpmodel, *tpneed; /* checked; read by model.h */
    jpip_ranges mset;
    int align, wait;
    const char *pref_required; /* the items of pref with /r */
    int handled;               /* asks which fields we know */
} jpip_query;

/* text: the query string; body: the form of a POST or NULL. A field that stands twice counts where it stands last.
 * IIP_E_SYNTAX with e->part the field, IIP_E_RANGE for an empty frame, IIP_E_FEATURE for upload. *q is filled as far as
 * the fields before it went; its cid, target and handled always are. */
iip_status jpip_query_parse(jpip_query *q, const char *text, const char *body, apr_pool_t *p, iip_error *e);
/* Value of JPIP-handled: all fields we know. */
const char *jpip_query_fields(apr_pool_t *p);
/* Ranges as a request writes them. */
const char *jpip_ranges_text(const jpip_ranges *r, apr_pool_t *p);
#endif
