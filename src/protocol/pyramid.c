/* SPDX-License-Identifier: Apache-2.0
 * The pyramid of a picture, its tiles and how one is asked for. */
#include "pyramid.h"

#define TILE 256 /* where the file has none that clients should ask for */
/* A picture that is one tile: no viewer wants that, and an answer may not be as large. Both sides have to be within. */
#define TILE_MOST 4096

void iip_pyramid_of(iip_pyramid *py, const iip_info *info)
{
    const iip_level *full = &info->level[0];
    const int tiles = info->tiled && !info->wavelet && full->tile_w <= TILE_MOST && full->tile_h <= TILE_MOST;
    int stored = info->virtual_from > 0 && info->virtual_from < info->levels ? info->virtual_from : info->levels;
    int n = 0;
    iip_resolution least;

    py->tile_w = tiles ? full->tile_w : TILE;
    py->tile_h = tiles ? full->tile_h : TILE;
    for (; n < stored; n++)
        py->at[n] = (iip_resolution){info->level[n].w, info->level[n].h, n};
    least = py->at[n - 1];
    least.level = -1;
    while ((least.w > py->tile_w || least.h > py->tile_h) && (least.w > 1 || least.h > 1) &&
           n < (int)(sizeof py->at / sizeof *py->at)) {
        least.w = iip_half(least.w, info->wavelet);
        least.h = iip_half(least.h, info->wavelet);
        py->at[n++] = least;
    }
    py->count = n;
    for (int i = 0; i < n / 2; i++) {
        least = py->at[i];
        py->at[i] = py->at[n - 1 - i];
        py->at[n - 1 - i] = least;
    }
}

int iip_pyramid_tile(const iip_pyramid *py, int r, int64_t n, iip_rect *tile)
{
    const iip_resolution *l;
    int64_t across;

    if (r < 0 || r >= py->count || n < 0)
        return 0;
    l = &py->at[r];
    across = iip_tiles(l->w, py->tile_w);
    if (n / across >= iip_tiles(l->h, py->tile_h))
        return 0;
    tile->x = n % across * py->tile_w;
    tile->y = n / across * py->tile_h;
    tile->w = l->w - tile->x < py->tile_w ? l->w - tile->x : py->tile_w;
    tile->h = l->h - tile->y < py->tile_h ? l->h - tile->y : py->tile_h;
    return 1;
}

void iip_pyramid_ask(iip_request *rq, int64_t w, int64_t h, iip_rect part)
{
    rq->region_kind = IIP_REGION_TILE;
    rq->grid = (iip_pair){w, h};
    rq->region[0] = (iip_decimal){part.x, 0};
    rq->region[1] = (iip_decimal){part.y, 0};
    rq->region[2] = (iip_decimal){part.w, 0};
    rq->region[3] = (iip_decimal){part.h, 0};
    rq->size_kind = IIP_SIZE_FULL;
    rq->textless = 1;
}
