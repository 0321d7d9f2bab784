/* SPDX-License-Identifier: Apache-2.0
 * The chain of stages for one request. */
#include "raster/stage.h"
#include <math.h>

iip_status iip_pipeline_build(iip_stage_t **top, const iip_request *rq, const iip_info *info, const iip_encoder *enc,
                              const iip_transform *t, iip_fetch_fn *fetch, void *ctx, iip_budget *b, apr_pool_t *p,
                              iip_error *e)
{
    int quarter = fmod(rq->rotate, 90) == 0, alpha = info->alpha && info->bands > 1;
    const iip_level *level = &info->level[rq->level];
    const iip_sample sample = iip_request_sample(rq, info);
    iip_window win;
    iip_rect cover;
    iip_stage_t *s;

    iip_request_window(rq, info, &win);
    iip_cover(win.x, win.w, level->w, &cover.x, &cover.w);
    iip_cover(win.y, win.h, level->h, &cover.y, &cover.h);
    cover.w -= cover.x;
    cover.h -= cover.y;
    win.x -= (double)cover.x;
    win.y -= (double)cover.y;

    s = iip_stage_level(&cover, rq->level, info, fetch, ctx, b, p, e);
    if (s)
        s = iip_stage_colour(s, info, t && info->sample != IIP_U8 ? IIP_U16 : sample, t != NULL, b, p, e);
    if (s && t)
        s = iip_stage_profile(s, t, sample, b, p, e);
    if (s)
        s = iip_stage_scale(s, &win, rq->out_w, rq->out_h, rq->set->interpolation, alpha, b, p, e);
    /* IIIF turns before it takes the quality. It only shows where turning makes new values: bitonal has two of them. */
    for (int i = 0; s && quarter && i < rq->op_count; i++)
        s = iip_stage_op(s, &rq->op[i], alpha, b, p, e);
    if (s && rq->flip)
        s = iip_stage_mirror(s, b, p, e);
    if (s && rq->rotate != 0)
        s = iip_stage_rotate(s, rq->rotate, alpha, b, p, e);
    alpha |= !quarter;
    for (int i = 0; s && !quarter && i < rq->op_count; i++)
        s = iip_stage_op(s, &rq->op[i], alpha, b, p, e);
    if (s && alpha && enc && !enc->alpha)
        s = iip_stage_flatten(s, rq->set->background, b, p, e);
    *top = s;
    return s ? IIP_OK : e->status;
}
