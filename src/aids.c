/* SPDX-License-Identifier: Apache-2.0
 * What an answer needs besides the pixels it shows: tables of colours (shared by all pictures of one profile), the
 * picture's histogram. Each is made once in a child. */
#include "job.h"
#include <stdlib.h>

/* ---- colours ---- */

static iip_status fill_colours(void *ctx, iip_blob **out, iip_error *e)
{
    iip_transform *t = iip_transform_make(ctx);

    if (t)
        *out = iip_blob_make(t, iip_transform_size(t), iip_transform_free);
    return t && *out ? IIP_OK : iip_fail(e, IIP_E_MEMORY, APR_ENOMEM, "no memory for tables of colours");
}

static iip_status take_colours(const iip_job *j, iip_blob **held, iip_error *e)
{
    const iip_info *i = j->info;
    struct {
        uint64_t id[2], alpha, wide;
    } key = {{i->icc_id[0], i->icc_id[1]}, i->alpha && i->bands > 1, i->sample != IIP_U8};

    if (iip_request_icc(j->rq, i) != IIP_ICC_CONVERT)
        return IIP_OK;
    return iip_cache_get(j->sv->colour, &key, sizeof key, j->b->until, fill_colours, (void *)i, held, e);
}

/* ---- the histogram ---- */

static iip_status fill_histogram(void *ctx, iip_blob **out, iip_error *e)
{
    const iip_job *outer = ctx;
    iip_job j = *outer;
    iip_histogram *h = malloc(sizeof *h);
    iip_cells cells;
    iip_status rv;

    if (!h || apr_pool_create(&j.pool, outer->pool) != APR_SUCCESS) {
        free(h);
        return iip_fail(e, IIP_E_MEMORY, APR_ENOMEM, "no memory for a histogram");
    }
    iip_job_cells(&cells, &j, j.info->levels - 1, 1);
    rv = iip_histogram_make(h, j.info, iip_cells_fetch, &cells, j.b, j.pool, e);
    if (rv == IIP_OK && cells.lease && !iip_source_same(cells.lease->src))
        rv = iip_fail(e, IIP_E_CHANGED, 0, "replaced while it was counted");
    iip_cells_done(&cells, rv == IIP_OK || rv == IIP_E_ABORTED || rv == IIP_E_TIMEOUT);
    apr_pool_destroy(j.pool);
    if (rv != IIP_OK) {
        free(h);
        return rv;
    }
    *out = iip_blob_make(h, sizeof *h, free);
    return *out ? IIP_OK : iip_fail(e, IIP_E_MEMORY, APR_ENOMEM, "no memory for a histogram");
}

static iip_status take_histogram(const iip_job *j, iip_blob **held, iip_error *e)
{
    struct {
        iip_ident id;
        int64_t page, layers;
    } key = {j->src->id, j->rq->page, j->rq->layers};

    if (!iip_request_counts(j->rq))
        return IIP_OK;
    return iip_cache_get(j->sv->histogram, &key, sizeof key, j->b->until, fill_histogram, (void *)j, held, e);
}

/* ---- all of it ---- */

iip_status iip_job_aids_take(const iip_job *j, iip_job_aids *a, iip_error *e)
{
    static iip_status (*const take[])(const iip_job *, iip_blob **, iip_error *) = {take_colours, take_histogram};
    iip_status rv = IIP_OK;

    *a = (iip_job_aids){0};
    for (size_t i = 0; rv == IIP_OK && i < sizeof take / sizeof *take; i++)
        rv = take[i](j, &a->held[i], e);
    a->aids.colours = a->held[0] ? a->held[0]->data : NULL;
    a->aids.histogram = a->held[1] ? a->held[1]->data : NULL;
    return rv;
}

void iip_job_aids_drop(iip_job_aids *a)
{
    for (size_t i = 0; i < sizeof a->held / sizeof *a->held; i++)
        if (a->held[i])
            iip_blob_release(a->held[i]);
}
