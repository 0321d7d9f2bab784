/* SPDX-License-Identifier: Apache-2.0
 * YCbCr 4:2:0 from a decoder to an encoder without ever being RGB: each plane is a grey picture of its own, of which
 * the chroma ones have half the size. Half as many samples to scale, and no conversion to either side. */
#include "raster/stage.h"
#include <string.h>

enum {
    MOST_TURN = 16, /* rows of Y pulled before it is the turn of the chroma planes: an MCU's, */
    TURN_ROWS = 64  /* fewer where they are made of more rows than these */
};

/* Rows of all planes, fetched by rows of cells for whichever of them asks first. */
typedef struct {
    iip_rect cover; /* edges are even but where the level ends */
    int level;
    int64_t cell_h, done; /* rows of Y in a row of cells; fetched in all */
    iip_fetch_fn *fetch;
    void *ctx;
    iip_budget *budget;
    apr_pool_t *pool;
    struct {
        iip_raster rows;  /* h: the room */
        int64_t first, n; /* of these, not handed on yet */
    } plane[IIP_PLANES];
} feed;

typedef struct {
    iip_stage_t base;
    feed *feed;
    int k;
} outlet;

/* Room for n rows of plane k behind those that still wait. */
static iip_status make_room(feed *f, int k, int64_t n, iip_error *e)
{
    iip_raster *rows = &f->plane[k].rows, old = *rows;
    const unsigned char *from = old.px + (size_t)f->plane[k].first * old.stride;
    iip_status rv;

    if (f->plane[k].n + n > rows->h) {
        rows->h = f->plane[k].n + n;
        if ((rv = iip_stage_rows(rows, f->budget, f->pool, e)) != IIP_OK)
            return rv;
    }
    if (f->plane[k].n > 0)
        memmove(rows->px, from, (size_t)f->plane[k].n * rows->stride);
    f->plane[k].first = 0;
    return IIP_OK;
}

static iip_status more(feed *f, iip_error *e)
{
    const int64_t y = f->cover.y + f->done, left = f->cover.h - f->done, n = f->cell_h - y % f->cell_h;
    const iip_rect want = {f->cover.x, y, f->cover.w, n < left ? n : left};
    iip_raster to[IIP_PLANES];
    iip_status rv = iip_budget_check(f->budget, e);

    for (int k = 0; k < IIP_PLANES && rv == IIP_OK; k++) {
        rv = make_room(f, k, iip_plane_side(want.h, k), e);
        to[k] = f->plane[k].rows;
        to[k].px += (size_t)f->plane[k].n * to[k].stride;
        to[k].h = iip_plane_side(want.h, k);
    }
    if (rv != IIP_OK || (rv = f->fetch(f->ctx, f->level, want, to, e)) != IIP_OK)
        return rv;
    for (int k = 0; k < IIP_PLANES; k++)
        f->plane[k].n += to[k].h;
    f->done += want.h;
    return IIP_OK;
}

static iip_status outlet_next(iip_stage_t *base, int64_t max_rows, iip_raster *out, iip_error *e)
{
    const outlet *s = (outlet *)base;
    feed *f = s->feed;
    iip_status rv;

    if (f->plane[s->k].n == 0 && f->done < f->cover.h && (rv = more(f, e)) != IIP_OK)
        return rv;
    *out = f->plane[s->k].rows;
    out->px += (size_t)f->plane[s->k].first * out->stride;
    out->h = f->plane[s->k].n < max_rows ? f->plane[s->k].n : max_rows;
    f->plane[s->k].first += out->h;
    f->plane[s->k].n -= out->h;
    return IIP_OK;
}

static iip_stage_t *outlet_new(feed *f, int k, iip_budget *b, apr_pool_t *p, iip_error *e)
{
    outlet *s = iip_stage_new(sizeof *s, NULL, b, p, e);

    if (!s)
        return NULL;
    s->base.next = outlet_next;
    s->base.shape = f->plane[k].rows;
    s->base.shape.h = iip_plane_side(f->cover.h, k);
    s->feed = f;
    s->k = k;
    return &s->base;
}

/* The pixels of the chroma samples under the window: [*pos, *pos + *n) of an axis grows to even edges. */
static void whole_chroma(int64_t *pos, int64_t *n, int64_t have)
{
    int64_t end = *pos + *n;

    end += end & 1;
    *pos -= *pos & 1;
    *n = (end < have ? end : have) - *pos;
}

iip_rect iip_planes_cover(const iip_request *rq, const iip_info *info)
{
    iip_rect c = iip_request_cover(rq, info);

    whole_chroma(&c.x, &c.w, info->level[rq->level].w);
    whole_chroma(&c.y, &c.h, info->level[rq->level].h);
    return c;
}

static feed *feed_new(const iip_request *rq, const iip_info *info, iip_fetch_fn *fetch, void *ctx, iip_budget *b,
                      apr_pool_t *p, iip_error *e)
{
    feed *f = iip_budget_alloc(b, sizeof *f, p, e);
    const iip_rect c = iip_planes_cover(rq, info);
    int64_t rows;

    if (!f)
        return NULL;
    *f = (feed){.cover = c, .level = rq->level, .fetch = fetch, .ctx = ctx, .budget = b, .pool = p};
    f->cell_h = iip_strip_rows(info, rq->level, c.w);
    rows = f->cell_h + IIP_PLANES_HELD < c.h ? f->cell_h + IIP_PLANES_HELD : c.h;
    for (int k = 0; k < IIP_PLANES; k++) {
        f->plane[k].rows = (iip_raster){.w = iip_plane_side(c.w, k), .h = iip_plane_side(rows, k), .bands = 1};
        if (iip_stage_rows(&f->plane[k].rows, b, p, e) != IIP_OK)
            return NULL;
    }
    return f;
}

iip_status iip_planes_build(iip_stage_t *top[IIP_PLANES], int64_t *turn, const iip_request *rq, const iip_info *info,
                            iip_fetch_fn *fetch, void *ctx, iip_budget *b, apr_pool_t *p, iip_error *e)
{
    feed *f = feed_new(rq, info, fetch, ctx, b, p, e);
    iip_window win;

    if (!f)
        return e->status;
    iip_request_window(rq, info, &win);
    for (*turn = MOST_TURN; *turn > 2 && (double)*turn * win.h > TURN_ROWS * (double)rq->out_h;)
        *turn /= 2;
    win.x -= (double)f->cover.x;
    win.y -= (double)f->cover.y;
    for (int k = 0; k < IIP_PLANES; k++) {
        const int64_t w = iip_plane_side(rq->out_w, k), h = iip_plane_side(rq->out_h, k);
        iip_stage_t *s = outlet_new(f, k, b, p, e);

        if (k == 1) /* of an odd size the last chroma sample reaches one pixel beyond it */
            win = (iip_window){win.x / 2, win.y / 2, win.w / (double)rq->out_w * (double)w,
                               win.h / (double)rq->out_h * (double)h, 0};
        if (!s || !(top[k] = iip_stage_scale(s, &win, w, h, rq->set->interpolation, 0, b, p, e)))
            return e->status;
    }
    return IIP_OK;
}

enum { BITS = 16, HALF = 1 << (BITS - 1) };
#define OF(x) ((int)((x) * (1 << BITS) + 0.5))

void iip_planes_of(const iip_raster *rgb, iip_raster *out)
{
    for (int64_t y = 0; y < rgb->h; y++) {
        const unsigned char *in = rgb->px + (size_t)y * rgb->stride;
        unsigned char *to = out[0].px + (size_t)y * out[0].stride;

        for (int64_t x = 0; x < rgb->w; x++, in += 3)
            to[x] = (unsigned char)((OF(0.299) * in[0] + OF(0.587) * in[1] + OF(0.114) * in[2] + HALF) >> BITS);
    }
    for (int64_t y = 0; y < out[1].h; y++) {
        const unsigned char *row[2] = {rgb->px + (size_t)(2 * y) * rgb->stride, NULL};
        unsigned char *cb = out[1].px + (size_t)y * out[1].stride, *cr = out[2].px + (size_t)y * out[2].stride;

        row[1] = row[0] + (2 * y + 1 < rgb->h ? rgb->stride : 0);
        for (int64_t x = 0; x < out[1].w; x++) {
            const int64_t at[2] = {6 * x, 6 * x + (2 * x + 1 < rgb->w ? 3 : 0)};
            int sum[3];

            for (int c = 0; c < 3; c++)
                sum[c] = row[0][at[0] + c] + row[0][at[1] + c] + row[1][at[0] + c] + row[1][at[1] + c];
            cb[x] = (unsigned char)((OF(0.5) * sum[2] - OF(0.168735892) * sum[0] - OF(0.331264108) * sum[1] +
                                     4 * (128 << BITS) + 4 * HALF - 1) >>
                                    (BITS + 2));
            cr[x] = (unsigned char)((OF(0.5) * sum[0] - OF(0.418687589) * sum[1] - OF(0.081312411) * sum[2] +
                                     4 * (128 << BITS) + 4 * HALF - 1) >>
                                    (BITS + 2));
        }
    }
}
