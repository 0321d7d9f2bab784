/* SPDX-License-Identifier: Apache-2.0
 * Views: pages and files of a sequence, their headers, samples and pictures. */
#include "views.h"
#include "image_job.h"
#include <apr_strings.h>
#include <string.h>
#include <unistd.h>

int iip_views_count(const iip_views *v)
{
    return v->sequence ? v->sequence->across : v->info->pages;
}

int iip_views_number(const iip_views *v, int n)
{
    return v->sequence ? v->sequence->h[n] : n;
}

/* Its file and page. */
static iip_status find(iip_views *v, int n, iip_source_t **s, int *page, iip_error *e)
{
    *s = v->src;
    *page = v->sequence || v->info->pages < 2 ? -1 : n;
    return v->sequence ? v->open(v->ctx, iip_sequence_file(v->sequence, v->sequence->h[n], 90, v->pool), s, e) : IIP_OK;
}

/* There may be thousands: each is read in a place of the gate, as if it were decoded. */
iip_status iip_views_info(iip_views *v, int n, const iip_info **info, iip_blob **hold, iip_error *e)
{
    iip_source_t *s;
    int page;
    iip_status rv = iip_budget_check(v->b, e);

    if (rv == IIP_OK)
        rv = find(v, n, &s, &page, e);
    if (rv != IIP_OK || (rv = iip_gate_enter(&v->sv->gate, v->b, 1, e)) != IIP_OK)
        return rv;
    rv = iip_serve_info(v->sv, s, page, v->lim, info, hold, e);
    iip_gate_leave(&v->sv->gate);
    return rv;
}

/* Pixels of the cells that meet want. */
static int64_t decoded(const iip_level *l, iip_rect want)
{
    const int64_t across = (want.x + want.w - 1) / l->tile_w - want.x / l->tile_w + 1;
    const int64_t down = (want.y + want.h - 1) / l->tile_h - want.y / l->tile_h + 1;
    const __int128 n = (__int128)across * down * l->tile_w * l->tile_h;

    return n < INT64_MAX ? (int64_t)n : INT64_MAX;
}

/* Decodes as pictures are: in a place of the gate, what is large with a permit too. */
static iip_status fetch(iip_views *v, iip_source_t *s, int page, const iip_info *info, int level, iip_rect want,
                        iip_raster *out, apr_pool_t *p, iip_error *e)
{
    iip_cells cells = {.cache = v->sv->cell,
                       .readers = v->sv->readers,
                       .src = s,
                       .info = info,
                       .lim = v->lim,
                       .budget = v->b,
                       .pool = p,
                       .page = page,
                       .layers = 0};
    const size_t hold = info->hold + info->level_hold[level];
    iip_passage way;
    iip_status rv =
        iip_passage_enter(&way, &v->sv->gate, v->b, iip_decode_work(decoded(&info->level[level], want), info), e);

    if (rv != IIP_OK)
        return rv;
    if ((rv = iip_budget_take(v->b, hold, e)) == IIP_OK) {
        rv = iip_cells_fetch(&cells, level, want, out, e);
        if (rv == IIP_OK && cells.lease && !iip_source_same(cells.lease->src))
            rv = iip_fail(e, IIP_E_CHANGED, 0, "%s: replaced while it was decoded", s->name);
        iip_cells_done(&cells, rv == IIP_OK || rv == IIP_E_ABORTED || rv == IIP_E_TIMEOUT);
        iip_budget_back(v->b, hold);
    }
    iip_passage_leave(&way);
    return rv;
}

iip_status iip_views_samples(iip_views *v, int n, int level, iip_rect want, iip_raster *out, apr_pool_t *p,
                             iip_error *e)
{
    iip_source_t *s;
    const iip_info *info;
    iip_blob *hold;
    size_t bytes;
    int page;
    iip_status rv = find(v, n, &s, &page, e);

    if (rv != IIP_OK || (rv = iip_serve_info(v->sv, s, page, v->lim, &info, &hold, e)) != IIP_OK)
        return rv;
    if (level >= info->levels || want.x + want.w > info->level[level].w || want.y + want.h > info->level[level].h) {
        rv = iip_refuse(e, IIP_E_RANGE, NULL); /* a view of another size than the one asked of */
    } else if (v->lim->max_pixels > 0 && decoded(&info->level[level], want) > v->lim->max_pixels) {
        rv = iip_refuse(e, IIP_E_LIMIT, NULL);
    } else {
        *out = (iip_raster){.w = want.w, .h = want.h, .bands = info->bands, .sample = info->sample};
        out->stride = (size_t)want.w * (size_t)info->bands * iip_sample_size(info->sample);
        if (__builtin_mul_overflow(out->stride, (size_t)want.h, &bytes))
            rv = iip_refuse(e, IIP_E_LIMIT, NULL);
        else if (!(out->px = iip_budget_alloc(v->b, bytes, p, e)))
            rv = e->status;
        else
            rv = fetch(v, s, page, info, level, want, out, p, e);
    }
    iip_blob_release(hold);
    return rv;
}

iip_status iip_views_image(iip_views *v, iip_request *rq, iip_blob **out, iip_error *e)
{
    iip_status rv = iip_request_resolve(rq, v->info, v->lim, e);
    size_t room, len;
    char *line;

    if (rv != IIP_OK)
        return rv;
    if (iip_request_streams(rq))
        return iip_refuse(e, IIP_E_LIMIT, NULL);
    room = iip_request_room(rq);
    line = apr_palloc(v->pool, room);
    len = iip_request_line(rq, line, room);
    return iip_serve_image(v->sv, rq, line, len, v->info, v->src, v->lim, v->b, v->pool, out, e);
}

/* ---- sequences ---- */

#define FRESH    apr_time_from_sec(2) /* a folder changed since then may change again in the same tick of its clock */
#define NOT_KEPT ((size_t)1 << 40)

typedef struct {
    int fd;
    const iip_ident *id;
    const char *name, *pattern;
} sequence_job;

typedef struct {
    apr_pool_t *pool;
    const iip_sequence *q;
} sequence_value;

static void sequence_free(void *v)
{
    apr_pool_destroy(((sequence_value *)v)->pool);
}

static iip_status fill_sequence(void *ctx, iip_blob **out, iip_error *e)
{
    sequence_job *j = ctx;
    sequence_value *v;
    apr_pool_t *pool;
    const int fd = j->fd;
    iip_status rv;

    j->fd = -1;
    if (apr_pool_create_unmanaged_ex(&pool, NULL, NULL) != APR_SUCCESS) {
        close(fd);
        return iip_fail(e, IIP_E_MEMORY, APR_ENOMEM, "no pool for a sequence");
    }
    v = apr_pcalloc(pool, sizeof *v);
    v->pool = pool;
    if ((rv = iip_sequence_find(&v->q, fd, j->name, j->pattern, pool, e)) != IIP_OK) {
        sequence_free(v);
        return rv;
    }
    if (!(*out = iip_blob_make(v, sizeof *v, sequence_free)))
        return iip_fail(e, IIP_E_MEMORY, APR_ENOMEM, "no memory for a sequence");
    (*out)->cost = 1;
    if (apr_time_now() - j->id->mtime_ns / 1000 < FRESH)
        (*out)->cost = NOT_KEPT;
    return IIP_OK;
}

static const iip_sequence *copy_of(const iip_sequence *q, apr_pool_t *p)
{
    iip_sequence *own = apr_pmemdup(p, q, sizeof *q);

    own->stem = apr_pstrdup(p, q->stem);
    own->ext = apr_pstrdup(p, q->ext);
    own->h = apr_pmemdup(p, q->h, sizeof *q->h * (size_t)q->across);
    own->v = apr_pmemdup(p, q->v, sizeof *q->v * (size_t)q->down);
    return own;
}

iip_status iip_serve_sequence(iip_server_t *sv, const iip_sequence **out, const iip_root *root, const char *name,
                              const char *pattern, apr_pool_t *p, iip_error *e)
{
    const char *what = apr_pstrcat(p, pattern, "/", name, NULL);
    struct {
        iip_ident id;
        uint64_t what[2], kind;
    } key = {.kind = 1}; /* headers of pictures are in the same store, under shorter keys */
    sequence_job j = {-1, &key.id, name, pattern};
    iip_blob *blob;
    iip_status rv = iip_sequence_folder(&j.fd, &key.id, root, name, p, e);

    *out = NULL;
    if (rv != IIP_OK)
        return rv;
    for (int k = 0; k < 2; k++)
        key.what[k] = apr_siphash24(what, strlen(what), sv->secret[k]);
    rv = iip_cache_get(sv->info, &key, sizeof key, 0, fill_sequence, &j, &blob, e);
    if (j.fd >= 0)
        close(j.fd);
    if (rv == IIP_OK) {
        const iip_sequence *q = ((sequence_value *)blob->data)->q;

        *out = q ? copy_of(q, p) : NULL;
        iip_blob_release(blob);
    }
    return rv;
}

iip_status iip_view_choose(iip_request *rq, const iip_sequence *q, const char **file, apr_pool_t *p, iip_error *e)
{
    const int h = rq->angle_h, v = rq->angle_v;

    if (q) {
        *file = iip_sequence_file(q, h, v, p);
        return *file ? IIP_OK : iip_refuse(e, IIP_E_NOT_FOUND, NULL);
    }
    if (v >= 0 && v != 90)
        return iip_refuse(e, IIP_E_NOT_FOUND, NULL);
    if (h > 0)
        rq->page = h; /* which one the picture may not have */
    return IIP_OK;
}
