/* SPDX-License-Identifier: Apache-2.0
 * The part of a picture that is shown moves to where most happens: a small copy is looked at first. */
#include "image_job.h"
#include <math.h>
#include <string.h>

/* What there is to choose from, no larger than IIP_BUSY_SIDE. */
static iip_status ask_small(iip_request *rq, const iip_job *j, iip_error *e)
{
    const iip_rect *in = &j->rq->within;
    const int64_t region[4] = {in->x, in->y, in->w, in->h};

    rq->page = j->rq->page;
    rq->part = j->rq->part;
    rq->layers = j->rq->layers ? j->rq->layers : -1;
    rq->region_kind = IIP_REGION_PIXELS;
    for (int i = 0; i < 4; i++)
        rq->region[i] = (iip_decimal){region[i], 0};
    rq->size_kind = IIP_SIZE_FIT;
    rq->size[0] = rq->size[1] = (iip_decimal){IIP_BUSY_SIDE, 0};
    rq->grow = IIP_GROW_CLAMP;
    return iip_request_resolve(rq, j->info, j->lim, e);
}

static iip_status draw_small(const iip_job *j, const iip_request *rq, iip_raster *all, iip_error *e)
{
    iip_cells cells;
    iip_stage_t *top;
    iip_raster strip;
    int64_t done = 0;
    iip_status rv;

    iip_job_cells(&cells, j, rq->level, 1);
    rv = iip_pipeline_build(&top, rq, j->info, NULL, NULL, iip_cells_fetch, &cells, j->b, j->pool, e);
    if (rv == IIP_OK) {
        *all = top->shape;
        all->stride = (size_t)all->w * (size_t)all->bands;
        if (!(all->px = iip_budget_alloc(j->b, all->stride * (size_t)all->h, j->pool, e)))
            rv = e->status;
    }
    while (rv == IIP_OK && done < all->h && (rv = top->next(top, 64, &strip, e)) == IIP_OK && strip.h > 0) {
        for (int64_t y = 0; y < strip.h; y++, done++)
            memcpy(all->px + (size_t)done * all->stride, strip.px + (size_t)y * strip.stride, all->stride);
        rv = iip_budget_check(j->b, e);
    }
    if (rv == IIP_OK && cells.lease && !iip_source_same(cells.lease->src))
        rv = iip_fail(e, IIP_E_CHANGED, 0, "replaced while it was looked at");
    iip_cells_done(&cells, rv == IIP_OK || rv == IIP_E_ABORTED || rv == IIP_E_TIMEOUT);
    return rv;
}

/* One axis: how many of the small picture's n pixels a part of `part` from `all` takes. */
static int64_t small_part(int64_t part, int64_t all, int64_t n)
{
    const int64_t v = (int64_t)ceil((double)part * (double)n / (double)all);

    return v < n ? v : n;
}

static int64_t moved(int64_t from, int64_t all, int64_t part, int64_t at, int64_t n, int64_t small)
{
    return n > small ? from + (int64_t)floor((double)(all - part) * (double)at / (double)(n - small) + 0.5) : from;
}

iip_status iip_job_attend(const iip_job *outer, iip_rect *src, iip_error *e)
{
    const iip_rect *in = &outer->rq->within;
    iip_job j = *outer;
    iip_settings raw, set;
    iip_request rq;
    iip_raster all;
    int64_t w, h, x, y;
    iip_status rv;

    iip_settings_unset(&raw);
    iip_settings_effective(&set, &raw);
    iip_request_init(&rq, &set);
    if (apr_pool_create(&j.pool, outer->pool) != APR_SUCCESS)
        return iip_fail(e, IIP_E_MEMORY, APR_ENOMEM, "no pool for a small copy");
    if ((rv = ask_small(&rq, &j, e)) == IIP_OK && (rv = draw_small(&j, &rq, &all, e)) == IIP_OK) {
        w = small_part(src->w, in->w, all.w);
        h = small_part(src->h, in->h, all.h);
        iip_busiest(&all, w, h, &x, &y);
        src->x = moved(in->x, in->w, src->w, x, all.w, w);
        src->y = moved(in->y, in->h, src->h, y, all.h, h);
    }
    apr_pool_destroy(j.pool);
    return rv;
}
