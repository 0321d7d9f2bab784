/* SPDX-License-Identifier: Apache-2.0
 * Rectangles of a level, upright, out of cached or freshly decoded cells. */
#ifndef IIP_CELLS_H
#define IIP_CELLS_H
#include "raster/raster.h"
#include "cache/cache.h"
#include "cache/readers.h"

/* One request's view of a picture: which reader it leases (at most one at a time, given back by iip_cells_done). */
typedef struct {
    iip_cache_t *cache; /* decoded cells; NULL: decode straight, keep nothing (large exports) */
    iip_readers_t *readers;
    iip_source_t *src;
    const iip_info *info; /* upright */
    const iip_limits *lim;
    iip_budget *budget;
    apr_pool_t *pool;
    int page, layers;
    int planes;       /* fetched as planes of 4:2:0; only of an upright picture with info->ycc */
    iip_lease *lease; /* NULL at first */
    size_t held;      /* by the reader for the level it read last */
    uint64_t decoded; /* source pixels decoded so far */
} iip_cells;

/* iip_fetch_fn with ctx = iip_cells. */
iip_status iip_cells_fetch(void *cells, int level, iip_rect want, iip_raster *out, iip_error *e);
/* Gives the lease back; good 0 after any decoder failure. */
void iip_cells_done(iip_cells *c, int good);
/* Copies the part `from` of in (stored orientation, in has w x h) turned by orientation into out at (x, y). */
void iip_turn_copy(const iip_raster *in, iip_rect from, int orientation, iip_raster *out, int64_t x, int64_t y);
/* A rectangle of the upright picture in stored coordinates; w x h = size of the upright level. */
iip_rect iip_turn_back(iip_rect upright, int orientation, int64_t w, int64_t h);
#endif
