/* SPDX-License-Identifier: Apache-2.0
 * A window of the rows to any size. Whole pixels are cropped where they lie, or picked; all else is resampled. */
#include "raster/stage.h"
#include <math.h>
#include <string.h>

enum { STRIP = 16 };

/* ---- crop: no pixel is touched ---- */

typedef struct {
    iip_stage_t base;
    size_t left; /* bytes */
    int64_t top, done;
} crop_stage;

static iip_status crop_next(iip_stage_t *base, int64_t max_rows, iip_raster *out, iip_error *e)
{
    crop_stage *s = (crop_stage *)base;
    int64_t left = base->shape.h - s->done;
    iip_status rv;

    for (; s->top > 0; s->top -= out->h) {
        if ((rv = base->up->next(base->up, s->top, out, e)) != IIP_OK || out->h == 0)
            return rv;
    }
    if (left == 0) {
        out->h = 0;
        return IIP_OK;
    }
    if ((rv = base->up->next(base->up, left < max_rows ? left : max_rows, out, e)) != IIP_OK)
        return rv;
    s->done += out->h;
    out->px += s->left;
    out->w = base->shape.w;
    return IIP_OK;
}

static iip_stage_t *crop(iip_stage_t *up, int64_t x, int64_t y, int64_t w, int64_t h, iip_budget *b, apr_pool_t *p,
                         iip_error *e)
{
    crop_stage *s = iip_stage_new(sizeof *s, up, b, p, e);

    if (!s)
        return NULL;
    s->base.next = crop_next;
    s->base.shape.w = w;
    s->base.shape.h = h;
    s->left = (size_t)x * iip_pixel_size(&up->shape);
    s->top = y;
    return &s->base;
}

/* ---- pick: each pixel is a copy of one ---- */

/* Output pixel i is source pixel floor(origin + (i + 1/2) * step), within lo and hi. */
typedef struct {
    double origin, step;
    int64_t lo, hi;
} axis;

static void axis_set(axis *a, double at, double len, int64_t have, int64_t size, int exact)
{
    a->origin = at;
    a->step = exact ? 1 : len / (double)size;
    iip_cover(at, len, have, &a->lo, &a->hi);
}

static int64_t axis_pick(const axis *a, int64_t i)
{
    int64_t at = (int64_t)floor(a->origin + ((double)i + 0.5) * a->step);

    return at < a->lo ? a->lo : at >= a->hi ? a->hi - 1 : at;
}

typedef struct {
    iip_stage_t base;
    axis y;
    int32_t *column;
    iip_raster row; /* the newest of up's */
    int64_t have, done;
    iip_raster strip;
    iip_budget *budget;
} pick_stage;

IIP_HOT static void pick(unsigned char *restrict out, const unsigned char *restrict row, const int32_t *column,
                         size_t n, size_t size)
{
#define PICK(SIZE)                                                                                                     \
    for (size_t i = 0; i < n; i++)                                                                                     \
    memcpy(out + i * (SIZE), row + (size_t)column[i] * (SIZE), SIZE)
    IIP_BY_PIXEL(size, PICK)
#undef PICK
}

static iip_status pick_next(iip_stage_t *base, int64_t max_rows, iip_raster *out, iip_error *e)
{
    pick_stage *s = (pick_stage *)base;
    iip_status rv;

    if ((rv = iip_budget_check(s->budget, e)) != IIP_OK)
        return rv;
    *out = s->strip;
    if (out->h > max_rows)
        out->h = max_rows;
    if (out->h > base->shape.h - s->done)
        out->h = base->shape.h - s->done;
    for (int64_t y = 0; y < out->h; y++, s->done++) {
        int64_t at = axis_pick(&s->y, s->done);

        for (; s->have <= at; s->have++) {
            if ((rv = base->up->next(base->up, 1, &s->row, e)) != IIP_OK)
                return rv;
            if (s->row.h == 0)
                return iip_fail(e, IIP_E_CORRUPT, 0, "rows end at %" APR_INT64_T_FMT, s->have);
        }
        pick(out->px + (size_t)y * out->stride, s->row.px, s->column, (size_t)out->w, iip_pixel_size(out));
    }
    return IIP_OK;
}

static iip_stage_t *picks(iip_stage_t *up, const iip_window *win, int64_t w, int64_t h, iip_budget *b, apr_pool_t *p,
                          iip_error *e)
{
    pick_stage *s = iip_stage_new(sizeof *s, up, b, p, e);
    axis x;

    if (!s)
        return NULL;
    s->base.next = pick_next;
    s->base.shape.w = w;
    s->base.shape.h = h;
    s->budget = b;
    axis_set(&x, win->x, win->w, up->shape.w, w, win->exact);
    axis_set(&s->y, win->y, win->h, up->shape.h, h, win->exact);
    s->strip = s->base.shape;
    s->strip.h = h < STRIP ? h : STRIP;
    s->column = iip_budget_alloc(b, (size_t)w * sizeof *s->column, p, e);
    if (!s->column || iip_stage_rows(&s->strip, b, p, e) != IIP_OK)
        return NULL;
    for (int64_t i = 0; i < w; i++)
        s->column[i] = (int32_t)axis_pick(&x, i);
    return &s->base;
}

iip_stage_t *iip_stage_scale(iip_stage_t *up, const iip_window *win, int64_t w, int64_t h, int filter, int alpha,
                             iip_budget *b, apr_pool_t *p, iip_error *e)
{
    int64_t x = llround(win->x), y = llround(win->y);
    int whole = fabs(win->x - (double)x) < 1e-6 && fabs(win->y - (double)y) < 1e-6 && x + w <= up->shape.w &&
                y + h <= up->shape.h;

    if (whole && (win->exact || (fabs(win->w - (double)w) < 1e-6 && fabs(win->h - (double)h) < 1e-6)))
        return x == 0 && y == 0 && w == up->shape.w && h == up->shape.h ? up : crop(up, x, y, w, h, b, p, e);
    if (win->exact || filter == IIP_INTERPOLATE_NEAREST)
        return picks(up, win, w, h, b, p, e);
    return iip_stage_resample(up, win, w, h, filter, alpha, b, p, e);
}
