/* SPDX-License-Identifier: Apache-2.0
 * From a view window to the precincts it needs (spec sections 4.1 to 4.3). */
#ifndef JPIP_WINDOW_H
#define JPIP_WINDOW_H
#include "jpip/index.h"
#include "jpip/query.h"
#include "raster/raster.h"

/* Samples around a window that its wavelet needs at each resolution. */
#define JPIP_MARGIN 4

/* A window on one code-stream. */
typedef struct {
    int down;               /* resolutions thrown away: the frame is the picture divided by 2^down */
    int64_t fx, fy;         /* that frame */
    int64_t x0, y0, x1, y1; /* the window in it; empty if x1 <= x0 or y1 <= y0 */
} jpip_window;

/* comps: of ix->comps octets, 1 = wanted; NULL = all. q has fsiz. */
void jpip_window_map(jpip_window *w, const jpip_index *ix, const unsigned char *comps, const jpip_query *q);

/* Tiles that the window with its margin meets, by distance from its middle, as malloc's array; *n 0: none. */
iip_status jpip_window_tiles(const jpip_window *w, const jpip_index *ix, int32_t **tiles, int32_t *n, iip_error *e);
/* Highest resolution of a component that the window needs. */
int jpip_window_res(const jpip_window *w, const jpip_index *ix, int64_t tile, int comp);

/* A precinct that the window needs. */
typedef struct {
    uint64_t key;  /* order of sending: resolution, code-stream, distance from the middle of the window */
    uint64_t held; /* bytes of its bin the client has; UINT64_MAX all */
    uint32_t number, tile, place; /* place: raster order in its resolution of the tile */
    int32_t picture;              /* code-stream: index into the answer's list */
    uint16_t comp;
    uint16_t layers; /* send these at most */
} jpip_wanted;

typedef struct {
    jpip_wanted *at; /* malloc; the owner frees it */
    size_t n, room, most;
    int full; /* there were more than `most` */
    iip_budget *b;
} jpip_wanted_list;

/* Bytes of a bin the client has. */
typedef uint64_t jpip_held_fn(void *ctx, int32_t picture, const jpip_index *ix, uint64_t id);
/* Adds what the window needs of these tiles, lowest resolutions first, and is not complete. */
iip_status jpip_window_precincts(const jpip_window *w, const jpip_index *ix, int32_t picture,
                                 const unsigned char *comps, const int32_t *tiles, int32_t n, jpip_held_fn *held,
                                 void *ctx, jpip_wanted_list *out, iip_error *e);
/* In order of sending. */
void jpip_wanted_sort(jpip_wanted_list *l);
#endif
