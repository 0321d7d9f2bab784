/* SPDX-License-Identifier: Apache-2.0
 * What the operations of a request are to a given image. */
#include "ops.h"
#include "raster/stage.h"

/* Colours of the picture as operations see it: RGB is made of other spaces first. */
static int colours_of(const iip_info *info)
{
    if (info->space == IIP_LAB || info->space == IIP_CMYK)
        return 3;
    return info->bands - (info->alpha && info->bands > 1);
}

static void take_out(iip_request *rq, iip_op_kind kind)
{
    int n = 0;

    for (int i = 0; i < rq->op_count; i++)
        if (rq->op[i].kind != kind)
            rq->op[n++] = rq->op[i];
    rq->op_count = n;
}

void iip_request_ops(iip_request *rq, const iip_info *info)
{
    int colours = colours_of(info), grey;

    if (iip_op_find(rq, IIP_OP_SHADE) && colours == 2)
        take_out(rq, IIP_OP_SHADE);
    /* Heights are what they are */
    if (iip_op_find(rq, IIP_OP_SHADE) && colours == 1) {
        take_out(rq, IIP_OP_STRETCH);
        take_out(rq, IIP_OP_MINMAX);
    }
    if (iip_op_find(rq, IIP_OP_STRETCH))
        take_out(rq, IIP_OP_MINMAX);
    grey = info->space == IIP_GREY;
    for (int i = 0; i < rq->op_count; i++) {
        iip_op *op = &rq->op[i];

        if (op->kind == IIP_OP_SHADE) {
            if (colours > 1)
                op->argc = 2; /* normals have no height */
            grey = 1;
        } else if (op->kind == IIP_OP_TWIST) {
            grey = op->arg[0] < 3;
        } else if (op->kind == IIP_OP_CMAP) {
            grey = 0;
        }
    }
    if (grey)
        take_out(rq, IIP_OP_GRAY);
}

int iip_request_counts(const iip_request *rq)
{
    return iip_op_find(rq, IIP_OP_STRETCH) || iip_op_find(rq, IIP_OP_BINARY) || iip_op_find(rq, IIP_OP_EQUALIZE);
}

int iip_request_floats(const iip_request *rq, const iip_info *info)
{
    if (rq->op_count == 0)
        return 0;
    /* Deep samples with a range of their own are counted by that: they have to be shown by it as well */
    return rq->op[0].kind < IIP_OP_SCALED || (info->min && info->sample != IIP_U8 && iip_request_counts(rq));
}

int iip_request_margin(const iip_request *rq, const iip_info *info)
{
    const iip_op *convolve = iip_op_find(rq, IIP_OP_CONVOLVE);
    const int heights = colours_of(info) == 1 && iip_op_find(rq, IIP_OP_SHADE);

    return heights + (convolve ? (int)convolve->arg[0] / 2 : 0);
}

/* One axis of the cover. */
static void cover_axis(double at, double len, int64_t have, int margin, int64_t *pos, int64_t *size)
{
    int64_t lo, hi;

    iip_cover(at, len, have, &lo, &hi);
    lo = lo > margin ? lo - margin : 0;
    hi = hi + margin < have ? hi + margin : have;
    *pos = lo;
    *size = hi - lo;
}

iip_rect iip_request_cover(const iip_request *rq, const iip_info *info)
{
    const iip_level *l = &info->level[rq->level];
    const int margin = rq->op_count ? iip_request_margin(rq, info) : 0;
    iip_window win;
    iip_rect c;

    iip_request_window(rq, info, &win);
    cover_axis(win.x, win.w, l->w, margin, &c.x, &c.w);
    cover_axis(win.y, win.h, l->h, margin, &c.y, &c.h);
    return c;
}
