/* SPDX-License-Identifier: Apache-2.0
 * The pyramid that IIP, DeepZoom and Zoomify show of a picture (spec/iip.md section 1): its stored levels, below them
 * what is missing to one tile, one grid of tiles for all. Pure functions. */
#ifndef IIP_PYRAMID_H
#define IIP_PYRAMID_H
#include "request.h"

/* A resolution. level: index in info->level where its pixels are stored just so, -1: they are made. */
typedef struct {
    int64_t w, h;
    int level;
} iip_resolution;

/* at[0] is the smallest, at[count - 1] the full size. */
typedef struct {
    int count;
    int64_t tile_w, tile_h; /* of every resolution */
    iip_resolution at[2 * IIP_MAX_LEVELS];
} iip_pyramid;

void iip_pyramid_of(iip_pyramid *py, const iip_info *info);

/* Columns and rows of tiles of a level of that size, and tiles in all. */
static inline int64_t iip_tiles(int64_t side, int64_t tile)
{
    return (side + tile - 1) / tile;
}

/* Tile n of resolution r, counted by rows from the top left, cut to the level; in its pixels. 1, or 0: there is none.
 */
int iip_pyramid_tile(const iip_pyramid *py, int r, int64_t n, iip_rect *tile);

/* A side of the next smaller level where none is stored; up: rounded up (iip_info.wavelet). */
static inline int64_t iip_half(int64_t side, int up)
{
    return side > 1 ? (side + up) / 2 : 1;
}

/* Makes rq ask for a part of the picture as it is w x h large, one to one (iip_request_resolve() finds where that lies:
 * a stored tile, a stored level, else it is scaled from the next larger one), without texts. */
void iip_pyramid_ask(iip_request *rq, int64_t w, int64_t h, iip_rect part);
#endif
