/* SPDX-License-Identifier: Apache-2.0
 * IIIFRestrictTo (R50): what a viewer needs, and nothing that crawlers make up. */
#include "iiif.h"

/* A side of a tile at a scale may be rounded either way (R35). */
static int side_fits(int64_t out, int64_t side, int64_t scale)
{
    const int64_t least = side / scale > 0 ? side / scale : 1;

    return out >= least && out <= (side + scale - 1) / scale;
}

/* From pos on as long as a tile of that scale is, or to the edge. */
static int axis_fits(int64_t pos, int64_t side, int64_t step, int64_t all)
{
    return pos % step == 0 && side == (step < all - pos ? step : all - pos);
}

/* A tile of the grid at a scale up to where the whole picture is one. Who gives its width alone ("w,") gets the height
 * that goes with it, which in narrow tiles at the edge is another than the scale's. */
static int is_tile(const iip_request *rq, const iip_info *info)
{
    const int64_t W = iip_info_w(info), H = iip_info_h(info);
    const iip_rect *r = &rq->src;
    int64_t tw, th;

    iip_iiif_tile(info, &tw, &th);
    for (int64_t s = 1;; s *= 2) {
        if (axis_fits(r->x, r->w, tw * s, W) && axis_fits(r->y, r->h, th * s, H) && side_fits(rq->out_w, r->w, s) &&
            (side_fits(rq->out_h, r->h, s) || rq->out_h == iip_request_height(rq, info, rq->out_w)))
            return 1;
        if (tw * s >= W && th * s >= H)
            return 0;
    }
}

static int is_listed(const iip_request *rq, const iip_info *info)
{
    for (int i = 0; i < info->levels; i++)
        if (info->level[i].w == rq->out_w && info->level[i].h == rq->out_h)
            return 1;
    return 0;
}

iip_status iip_iiif_allow(const iip_request *rq, const iip_info *info, iip_error *e)
{
    const int full = rq->src.w == iip_info_w(info) && rq->src.h == iip_info_h(info);

    if (rq->set->restrict_to == IIP_RESTRICT_NONE)
        return IIP_OK;
    if (rq->rotate != 0 || rq->flip || rq->op_count > 0)
        return iip_refuse(e, IIP_E_FORBIDDEN, "rotation or quality");
    if (full && (rq->set->restrict_to == IIP_RESTRICT_SIZES || is_listed(rq, info)))
        return IIP_OK;
    return is_tile(rq, info) ? IIP_OK : iip_refuse(e, IIP_E_FORBIDDEN, "region or size");
}
