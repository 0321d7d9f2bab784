/* SPDX-License-Identifier: Apache-2.0
 * What protocols whose URLs are tiles of a grid of square tiles (DeepZoom, Zoomify) have in common. */
#ifndef IIP_TILES_H
#define IIP_TILES_H
#include "path.h"
#include "protocol.h"
#include "pyramid.h"

/* What the tail of a path asks for; rq->asked. */
typedef struct {
    int describe; /* the description, no tile */
    int64_t level, x, y;
    const char *ext; /* what is behind the last dot of a tile, not ended */
    size_t ext_length;
} iip_tile;

/* Reads the tail off the right end of a raw path: where it begins (in a name, or with the slashes behind one), NULL if
 * there is none. */
typedef const char *iip_tail_fn(const char *path, iip_tile *t);

/* parse() of a protocol with that tail. */
iip_status iip_tiles_parse(iip_tail_fn *tail, const iip_input *in, iip_request *rq, iip_want *want, apr_pool_t *p,
                           iip_error *e);
/* tail() of such a one. */
size_t iip_tiles_tail(iip_tail_fn *tail, const char *path);
/* redirect() from a plain name to its description: what follows the name. */
const char *iip_tiles_redirect(const char *description, const iip_input *in, const iip_request *rq, apr_pool_t *p);

/* Makes rq ask for its tile (rq->asked) of side pixels of the picture as it is w x h large; turned upside down (ROT=180
 * of a query, spec/iip.md section 4) that at the other end, so that a viewer's numbers stay. IIP_E_NOT_FOUND: outside.
 */
iip_status iip_tiles_ask(iip_request *rq, const iip_info *info, int64_t w, int64_t h, int64_t side, iip_error *e);

/* Digits up to a character that is none: the end, NULL if there are none. What no tile has is a large number. */
const char *iip_tiles_number(const char *s, int64_t *value);
/* The same of three numbers with one character between each, then a dot and the extension, all of the segment. */
int iip_tiles_ext(const char *s, const iip_segment *seg, iip_tile *t);
/* 1 if the segment is that text. */
int iip_segment_is(const iip_segment *seg, const char *text);
#endif
