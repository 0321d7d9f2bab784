/* SPDX-License-Identifier: Apache-2.0
 * Private to the Internet Imaging Protocol (spec/iip.md sections 1 to 7): what its parser leaves for when the picture
 * is known, and the parts of the protocol. */
#ifndef IIP_IIP_H
#define IIP_IIP_H
#include "protocol.h"

typedef enum {
    IIP_ASK_NOTHING,
    IIP_ASK_OBJECTS, /* OBJ */
    IIP_ASK_VIEW,    /* CVT */
    IIP_ASK_TILE,    /* JTL, PTL, ... */
    IIP_ASK_TILES,   /* TIL */
    IIP_ASK_POINT,   /* SPECTRA */
    IIP_ASK_PROFILE  /* PFL */
} iip_ask;

/* Fractions of a side are in these units. */
#define IIP_WHOLE INT64_C(1000000000000)

/* iip_request.asked of this protocol. */
typedef struct {
    iip_ask ask;
    const char *sender;              /* the command that sends, for messages: "JTL=3,48" */
    const char *const *object;       /* OBJ, in order, ends with NULL; as the client wrote them */
    const unsigned char *lying;      /* of each: a quarter turn was asked before it */
    int64_t resolution, tile, last;  /* JTL r,n; TIL r,n-last */
    int64_t x, y, x2, y2;            /* SPECTRA x, y; PFL, x2 and y2 -1: a point */
    int64_t width, height;           /* WID, HEI; 0 = not asked */
    int has_region;                  /* RGN: */
    int64_t left, top, across, down; /* in IIP_WHOLE, within the picture */
} iip_asked;

/* iip.c: the message of an error, "C A" (spec section 3.1), in p. Returns s. */
iip_status iip_refuse_iip(iip_error *e, iip_status s, const char *code, const char *offender, apr_pool_t *p);
/* complain() of the protocol; in may be NULL where e->part is such a message. */
const char *iip_iip_complain(const iip_input *in, const iip_error *e, const char **mime, apr_pool_t *p);
/* Applies the commands in front of another protocol's own one (in->before): what changes the pixels of an answer, the
 * view, quality and layers. rq->format is set. */
iip_status iip_commands_before(const iip_input *in, iip_request *rq, apr_pool_t *p, iip_error *e);

/* iip_modify.c: commands that change the answer of one behind them. */
typedef struct {
    const iip_input *in;
    iip_request *rq;
    iip_asked *a;
    int image;      /* there is a picture */
    double quality; /* QLT */
    int has_quality;
    const char *coding; /* of QLT, NULL: none */
    apr_pool_t *p;
    iip_error *e;
    const char *offender; /* this command as it was written */
} iip_reading;
typedef iip_status iip_command_fn(iip_reading *c, const char *value);
iip_command_fn *iip_modifier_find(const char *name, size_t length);
/* What QLT means for the format that is now known. */
void iip_modify_quality(iip_reading *c);

/* iip_number.c: numbers of clients. What was read moves *s; 1, or 0: there is no number. Blanks in front are skipped.
 * Digits alone; more than 10^15 is 10^15. */
int iip_read_count(const char **s, int64_t *v);
/* With sign, point and exponent, 32 characters at most. -1: "nan", "inf", or too large to be finite. */
int iip_read_real(const char **s, double *v);
/* A real as units of 10^-12, cut at +-1000. The same results. */
int iip_read_fraction(const char **s, int64_t *v);

/* iip_place.c: place() of the protocol; and tile n of resolution r, as rq turns it. */
iip_status iip_iip_place(const iip_input *in, iip_request *rq, const iip_info *info, const iip_limits *lim,
                         apr_pool_t *p, iip_error *e);
iip_status iip_place_tile(iip_request *rq, const iip_info *info, int64_t r, int64_t n, apr_pool_t *p, iip_error *e);

/* iip_object.c, iip_point.c: the parts of compose(). */
int iip_object_known(const char *name);
int iip_object_needs_image(const char *name);
iip_status iip_compose_objects(const iip_input *in, const iip_request *rq, const iip_info *info, iip_views *views,
                               iip_text *out, apr_pool_t *p, iip_error *e);
iip_status iip_compose_point(const iip_request *rq, const iip_info *info, iip_views *views, iip_text *out,
                             apr_pool_t *p, iip_error *e);
iip_status iip_compose_profile(const iip_request *rq, const iip_info *info, iip_views *views, iip_text *out,
                               apr_pool_t *p, iip_error *e);
iip_status iip_compose_tiles(const iip_request *rq, const iip_info *info, iip_views *views, iip_text *out,
                             apr_pool_t *p, iip_error *e);
#endif
