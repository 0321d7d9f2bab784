/* SPDX-License-Identifier: Apache-2.0
 * The chain of stages for one request. */
#include "raster/stage.h"
#include <math.h>

static iip_stage_t *operation(iip_stage_t *up, const iip_op *op, const iip_histogram *h, int alpha, iip_budget *b,
                              apr_pool_t *p, iip_error *e)
{
    if (op->kind == IIP_OP_BLUR || op->kind == IIP_OP_SHARPEN)
        return iip_stage_blur(up, (double)op->arg[0], op->kind == IIP_OP_SHARPEN, alpha, b, p, e);
    return iip_stage_op(up, op, h, alpha, b, p, e);
}

iip_status iip_pipeline_build(iip_stage_t **top, const iip_request *rq, const iip_info *info, const iip_encoder *enc,
                              const iip_aids *aids, iip_fetch_fn *fetch, void *ctx, iip_budget *b, apr_pool_t *p,
                              iip_error *e)
{
    const int quarter = fmod(rq->rotate, 90) == 0;
    int alpha = info->alpha && info->bands > 1;
    const int floats = iip_request_floats(rq, info);
    const iip_sample sample = iip_request_sample(rq, info);
    const iip_rect cover = iip_request_cover(rq, info);
    const iip_transform *t = aids ? aids->colours : NULL;
    const iip_histogram *h = aids ? aids->histogram : NULL;
    /* Operations see a picture's own samples, where these are grey or RGB of no profile to convert */
    const int own = floats && !t && info->space != IIP_LAB && info->space != IIP_CMYK;
    const int ground = rq->ground ? rq->ground & 0xffffff : enc && !enc->alpha ? rq->set->background : -1;
    const iip_sample whole = info->sample == IIP_U8 ? IIP_U8 : IIP_U16;
    int first = 0; /* operation after scaling */
    iip_window win;
    iip_stage_t *s;

    while (first < rq->op_count && rq->op[first].kind < IIP_OP_SCALED)
        first++;
    iip_request_window(rq, info, &win);
    win.x -= (double)cover.x;
    win.y -= (double)cover.y;

    s = iip_stage_level(&cover, rq->level, info, fetch, ctx, b, p, e);
    if (s && !own)
        s = iip_stage_colour(s, info, t || floats ? whole : sample, t != NULL, b, p, e);
    if (s && t)
        s = iip_stage_profile(s, t, floats ? whole : sample, b, p, e);
    if (s && floats)
        s = iip_stage_process(s, rq, info, own, h, alpha, b, p, e);
    if (s)
        s = iip_stage_scale(s, &win, rq->out_w, rq->out_h, rq->set->interpolation, alpha, b, p, e);
    /* IIIF turns before it takes the quality. It only shows where turning makes new values: bitonal has two of them. */
    for (int i = first; s && quarter && i < rq->op_count; i++)
        s = operation(s, &rq->op[i], h, alpha, b, p, e);
    if (s && rq->flip)
        s = iip_stage_mirror(s, b, p, e);
    if (s && rq->rotate != 0)
        s = iip_stage_rotate(s, rq->rotate, alpha, b, p, e);
    alpha |= !quarter;
    for (int i = first; s && !quarter && i < rq->op_count; i++)
        s = operation(s, &rq->op[i], h, alpha, b, p, e);
    if (s && alpha && ground >= 0) {
        s = iip_stage_flatten(s, ground, b, p, e);
        alpha = 0;
    }
    if (s && rq->frame.w) {
        s = iip_stage_frame(s, &rq->frame, ground, alpha, b, p, e);
        alpha |= ground < 0;
    }
    if (s && aids && aids->stamp)
        s = iip_stage_watermark(s, aids->stamp, alpha, b, p, e);
    *top = s;
    return s ? IIP_OK : e->status;
}
