/* SPDX-License-Identifier: Apache-2.0
 * Where tiles and views of the Internet Imaging Protocol lie in a picture (spec/iip.md sections 4 and 5). Fractions and
 * sizes are exact integers until they are rounded once. */
#include "iip.h"
#include "pyramid.h"
#include "settings.h"
#include <apr_strings.h>
#include <inttypes.h>

typedef __int128 wide;

static int64_t round_div(wide a, wide b)
{
    wide q = (2 * a + b) / (2 * b);

    return q < 1 ? 1 : q > IIP_MAX_SIDE ? IIP_MAX_SIDE : (int64_t)q;
}

/* ---- tiles ---- */

/* Upside down a viewer numbers as ever: the tile it asks for lies at the other end. */
iip_status iip_place_tile(iip_request *rq, const iip_info *info, int64_t r, int64_t n, apr_pool_t *p, iip_error *e)
{
    const iip_asked *a = rq->asked;
    iip_pyramid py;
    iip_rect tile;
    int64_t all;

    iip_pyramid_of(&py, info);
    if (r >= py.count)
        return iip_refuse_iip(e, IIP_E_RANGE, "2 1", a->sender, p);
    all = iip_tiles(py.at[r].w, py.tile_w) * iip_tiles(py.at[r].h, py.tile_h);
    if (!iip_pyramid_tile(&py, (int)r, rq->rotate == 180 && n < all ? all - 1 - n : n, &tile))
        return iip_refuse_iip(e, IIP_E_NOT_FOUND, "2 1", a->sender, p);
    iip_pyramid_ask(rq, py.at[r].w, py.at[r].h, tile);
    return IIP_OK;
}

/* ---- views ---- */

/* One axis of the region on a level: its edges are rounded, at least one pixel lies between them. */
static void edges(int64_t from, int64_t length, int64_t side, int64_t *pos, int64_t *size)
{
    const wide half = IIP_WHOLE / 2;
    int64_t end = (int64_t)(((wide)(from + length) * side + half) / IIP_WHOLE);

    *pos = (int64_t)(((wide)from * side + half) / IIP_WHOLE);
    if (*pos >= side)
        *pos = side - 1;
    *size = end > *pos ? end - *pos : 1;
}

static iip_rect region_on(const iip_asked *a, int64_t w, int64_t h)
{
    iip_rect r = {0, 0, w, h};

    if (a->has_region) {
        edges(a->left, a->across, w, &r.x, &r.w);
        edges(a->top, a->down, h, &r.y, &r.h);
    }
    return r;
}

/* The size asked for; own is the region at full resolution. */
static void view_size(const iip_asked *a, const iip_info *info, const iip_rect *own, int64_t *w, int64_t *h)
{
    /* The region's exact sides, in 1/IIP_WHOLE of a pixel; one of no length is that of its pixels */
    const wide rw = a->has_region && a->across ? (wide)a->across * iip_info_w(info) : (wide)own->w * IIP_WHOLE;
    const wide rh = a->has_region && a->down ? (wide)a->down * iip_info_h(info) : (wide)own->h * IIP_WHOLE;
    int by_width = a->width > 0;

    *w = own->w;
    *h = own->h;
    if (a->width > 0 && a->height > 0) /* inside the box */
        by_width = a->width * rh <= a->height * rw;
    if (by_width) {
        *w = a->width;
        *h = round_div(*w * rh, rw);
    } else if (a->height > 0) {
        *h = a->height;
        *w = round_div(*h * rw, rh);
    }
}

/* The smallest level whose part is as large as asked, on the sides that were. */
static int level_of(const iip_asked *a, const iip_info *info, int64_t w, int64_t h)
{
    for (int l = info->levels - 1; l > 0; l--) {
        iip_rect r = region_on(a, info->level[l].w, info->level[l].h);

        if ((a->width || !a->height ? r.w >= w : 1) && (a->height || !a->width ? r.h >= h : 1))
            return l;
    }
    return 0;
}

static void place_view(iip_request *rq, const iip_info *info, const iip_limits *lim)
{
    const iip_asked *a = rq->asked;
    const int64_t W = iip_info_w(info), H = iip_info_h(info);
    const int grow = iip_limits_grow(lim);
    const iip_rect own = region_on(a, W, H);
    int64_t w, h;
    int l;

    view_size(a, info, &own, &w, &h);
    if (!grow && (w > own.w || h > own.h)) {
        w = own.w;
        h = own.h;
    }
    iip_size_limit(w, h, lim, 0, &w, &h);
    l = level_of(a, info, w, h);
    if (info->level[l].w <= W && info->level[l].h <= H)
        iip_pyramid_ask(rq, info->level[l].w, info->level[l].h, region_on(a, info->level[l].w, info->level[l].h));
    else
        iip_pyramid_ask(rq, W, H, own); /* a part of a page: its levels are larger than it is */
    rq->textless = 0;
    rq->size_kind = IIP_SIZE_EXACT;
    rq->size[0] = (iip_decimal){w, 0};
    rq->size[1] = (iip_decimal){h, 0};
    rq->grow = grow ? IIP_GROW_ASK : IIP_GROW_CLAMP;
    rq->over = IIP_OVER_FIT;
}

iip_status iip_iip_place(const iip_input *in, iip_request *rq, const iip_info *info, const iip_limits *lim,
                         apr_pool_t *p, iip_error *e)
{
    const iip_asked *a = rq->asked;

    if (a->ask == IIP_ASK_TILE)
        return iip_place_tile(rq, info, a->resolution, a->tile, p, e);
    place_view(rq, info, lim);
    return IIP_OK;
}
