/* SPDX-License-Identifier: Apache-2.0
 * What an answer needs besides the pixels it shows: tables of colours (shared by all pictures of one profile), the
 * picture's histogram, the watermark. Each is made once in a child. */
#include "image_job.h"
#include <apr_strings.h>
#include <stdlib.h>

#define MARK_SIDE 1024 /* of a watermark, pixels at most */

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

/* ---- the watermark ---- */

/* n pixels of one to four bands to RGB and alpha. */
static void to_rgba(const unsigned char *px, int bands, unsigned char *to, int64_t n)
{
    const int colours = bands < 3 ? 1 : 3;

    for (; n > 0; n--, px += bands, to += 4) {
        for (int c = 0; c < 3; c++)
            to[c] = px[colours == 1 ? 0 : c];
        to[3] = bands == colours ? 255 : px[bands - 1];
    }
}

/* The whole picture. */
static iip_status read_mark(const iip_job *j, iip_raster *mark, iip_error *e)
{
    iip_cells cells;
    iip_stage_t *top;
    iip_raster strip;
    int64_t done = 0;
    iip_status rv;

    iip_job_cells(&cells, j, 0, 1);
    rv = iip_pipeline_build(&top, j->rq, j->info, NULL, NULL, iip_cells_fetch, &cells, j->b, j->pool, e);
    while (rv == IIP_OK && done < mark->h && (rv = top->next(top, 64, &strip, e)) == IIP_OK && strip.h > 0)
        for (int64_t y = 0; y < strip.h; y++, done++)
            to_rgba(strip.px + (size_t)y * strip.stride, strip.bands, mark->px + (size_t)done * mark->stride, strip.w);
    if (rv == IIP_OK && cells.lease && !iip_source_same(cells.lease->src))
        rv = iip_fail(e, IIP_E_CHANGED, 0, "watermark replaced while it was decoded");
    iip_cells_done(&cells, rv == IIP_OK || rv == IIP_E_ABORTED || rv == IIP_E_TIMEOUT);
    return rv;
}

static iip_status fill_mark(void *ctx, iip_blob **out, iip_error *e)
{
    const iip_job *outer = ctx;
    iip_job j = *outer;
    iip_settings raw, set;
    iip_request rq;
    iip_blob *hold;
    iip_raster *mark;
    iip_status rv;

    iip_settings_unset(&raw);
    iip_settings_effective(&set, &raw);
    iip_request_init(&rq, &set);
    j.rq = &rq;
    j.src = outer->rq->watermark;
    if ((rv = iip_serve_info(j.sv, j.src, -1, j.lim, &j.info, &hold, e)) != IIP_OK)
        return rv;
    if (iip_info_w(j.info) > MARK_SIDE || iip_info_h(j.info) > MARK_SIDE)
        rv = iip_fail(e, IIP_E_FORMAT, 0, "a watermark of more than %d pixels on a side", MARK_SIDE);
    else if ((rv = iip_request_resolve(&rq, j.info, j.lim, e)) == IIP_OK) {
        mark = malloc(sizeof *mark + 4 * (size_t)rq.out_w * (size_t)rq.out_h);
        if (mark && apr_pool_create(&j.pool, outer->pool) == APR_SUCCESS) {
            *mark = (iip_raster){.w = rq.out_w, .h = rq.out_h, .bands = 4, .stride = 4 * (size_t)rq.out_w};
            mark->px = (unsigned char *)(mark + 1);
            rv = read_mark(&j, mark, e);
            apr_pool_destroy(j.pool);
        } else {
            rv = iip_fail(e, IIP_E_MEMORY, APR_ENOMEM, "no memory for a watermark");
        }
        if (rv == IIP_OK && !(*out = iip_blob_make(mark, sizeof *mark + mark->stride * (size_t)mark->h, free)))
            rv = iip_fail(e, IIP_E_MEMORY, APR_ENOMEM, "no memory for a watermark");
        else if (rv != IIP_OK)
            free(mark);
    }
    iip_blob_release(hold);
    return rv;
}

static iip_status take_mark(const iip_job *j, iip_blob **held, iip_error *e)
{
    const iip_watermark *set = j->rq->set->watermark;
    iip_error was;
    iip_status rv;

    if (!set || !set->path)
        return IIP_OK;
    if (!j->rq->watermark)
        return iip_fail(e, IIP_E_IO, 0, "IIPWatermark %s is no file that can be read", set->path);
    rv = iip_cache_get(j->sv->mark, &j->rq->watermark->id, sizeof(iip_ident), j->b->until, fill_mark, (void *)j, held,
                       e);
    if (rv == IIP_OK || rv == IIP_E_MEMORY || rv == IIP_E_TIMEOUT || rv == IIP_E_ABORTED || rv == IIP_E_CHANGED)
        return rv;
    /* Whatever is wrong with it is wrong with the server, not with what was asked */
    was = *e;
    return iip_fail(e, IIP_E_IO, was.apr, "IIPWatermark %s: %s", set->path, was.detail);
}

/* Blocks are of two tiles: those of the file, or what viewers ask for. */
static int64_t block(const iip_info *i, int64_t tile)
{
    return 2 * (i->tiled && tile >= 64 && tile <= 2048 ? tile : 256);
}

static iip_status set_stamp(const iip_job *j, iip_job_aids *a, const iip_raster *mark, iip_error *e)
{
    const iip_watermark *set = j->rq->set->watermark;
    size_t room = iip_request_room(j->rq), n;
    char *line = apr_palloc(j->pool, room), tag[33];

    if (!(n = iip_request_line(j->rq, line, room)))
        return iip_refuse(e, IIP_E_SYNTAX, "format");
    iip_serve_etag(j->src, line, n, tag);
    tag[15] = '\0';
    a->stamp = (iip_stamp){.mark = mark, .seed = (uint64_t)apr_strtoi64(tag, NULL, 16)};
    a->stamp.opacity = (double)set->opacity / IIP_WATERMARK_ONE;
    a->stamp.chance = (double)set->chance / IIP_WATERMARK_ONE;
    a->stamp.block_w = block(j->info, j->info->level[0].tile_w);
    a->stamp.block_h = block(j->info, j->info->level[0].tile_h);
    a->aids.stamp = &a->stamp;
    return IIP_OK;
}

/* ---- all of it ---- */

iip_status iip_job_aids_take(const iip_job *j, iip_job_aids *a, iip_error *e)
{
    static iip_status (*const take[])(const iip_job *, iip_blob **, iip_error *) = {take_colours, take_histogram,
                                                                                    take_mark};
    iip_status rv = IIP_OK;

    *a = (iip_job_aids){0};
    for (size_t i = 0; rv == IIP_OK && i < sizeof take / sizeof *take; i++)
        rv = take[i](j, &a->held[i], e);
    a->aids.colours = a->held[0] ? a->held[0]->data : NULL;
    a->aids.histogram = a->held[1] ? a->held[1]->data : NULL;
    return rv == IIP_OK && a->held[2] ? set_stamp(j, a, a->held[2]->data, e) : rv;
}

void iip_job_aids_drop(iip_job_aids *a)
{
    for (size_t i = 0; i < sizeof a->held / sizeof *a->held; i++)
        if (a->held[i])
            iip_blob_release(a->held[i]);
}
