/* SPDX-License-Identifier: Apache-2.0
 * The grammar of model and need (T.808 C.8): one item after the other out of the text, so that a million of them take
 * no memory. Pure functions. */
#ifndef JPIP_ITEMS_H
#define JPIP_ITEMS_H
#include "iip.h"

#define JPIP_ID_MAX (INT64_C(1) << 53) /* of a bin; larger ones match nothing */

typedef struct {
    int64_t a, b; /* inclusive; `*` and what is left out: 0..JPIP_ID_MAX */
} jpip_span;

enum { JPIP_ITEM_T, JPIP_ITEM_C, JPIP_ITEM_R, JPIP_ITEM_P };

typedef struct {
    const char *streams; /* of the qualifier in force, behind its `[`: jpip_range_read, `;` between. NULL: none yet */
    int minus;
    int cls;           /* even */
    jpip_span id;      /* of an explicit item */
    int implicit;      /* precincts by part[], indexed by JPIP_ITEM_... */
    jpip_span part[4]; /* tiles, components, resolutions, precincts of a resolution */
    int64_t bytes;     /* -1 = none given */
    int64_t layers;    /* -1 = none given */
} jpip_item;

/* Reads the item at *s and moves behind it; *it begins zeroed and keeps the qualifier from call to call. 1, 0 at the
 * end, -1 malformed. */
int jpip_item_next(const char **s, jpip_item *it);
int jpip_items_good(const char *s);

/* One `t[-t].p[-p]` of tpmodel and tpneed, likewise. minus: a leading `-`. */
typedef struct {
    int minus;
    jpip_span tile, part;
} jpip_tile_part;
int jpip_tile_part_next(const char **s, jpip_tile_part *tp);
int jpip_tile_parts_good(const char *s);
#endif
