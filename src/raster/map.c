/* SPDX-License-Identifier: Apache-2.0
 * What stages on floats have in common: rows of their own, and the rows around one. */
#include "raster/process.h"
#include <string.h>

enum { ROWS = 16 }; /* of a strip at most */

static int64_t strip_rows(const iip_raster *shape)
{
    size_t row = (size_t)shape->w * iip_pixel_size(shape);
    int64_t n = row > 0 ? (int64_t)(IIP_MAP_BYTES / row) : ROWS;

    n = n < 1 ? 1 : n < ROWS ? n : ROWS;
    return n < shape->h ? n : shape->h;
}

static int64_t min64(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* ---- pixel by pixel ---- */

static iip_status map_next(iip_stage_t *base, int64_t max_rows, iip_raster *out, iip_error *e)
{
    iip_map *s = (iip_map *)base;
    iip_raster in;
    iip_status rv = base->up->next(base->up, min64(max_rows, s->strip.h), &in, e);

    if (rv != IIP_OK)
        return rv;
    *out = s->strip;
    out->h = in.h;
    for (int64_t y = 0; y < in.h; y++)
        s->fn(base, in.px + (size_t)y * in.stride, out->px + (size_t)y * out->stride, (size_t)in.w);
    return IIP_OK;
}

void *iip_map_new(size_t size, iip_stage_t *up, int bands, iip_sample sample, iip_map_fn *fn, iip_budget *b,
                  apr_pool_t *p, iip_error *e)
{
    iip_map *s = iip_stage_new(size, up, b, p, e);

    if (!s)
        return NULL;
    s->base.next = map_next;
    s->base.shape.bands = bands;
    s->base.shape.sample = sample;
    s->fn = fn;
    s->strip = s->base.shape;
    s->strip.h = strip_rows(&s->strip);
    return iip_stage_rows(&s->strip, b, p, e) == IIP_OK ? s : NULL;
}

/* ---- with the pixels around ---- */

static float *slot(const iip_near *s, int64_t y)
{
    y = y < 0 ? 0 : y < s->base.shape.h ? y : s->base.shape.h - 1;
    return (float *)(void *)(s->ring.px + (size_t)(y % s->ring.h) * s->ring.stride);
}

static iip_status pull(iip_near *s, int64_t until, iip_error *e)
{
    const size_t bands = (size_t)s->base.shape.bands, m = (size_t)s->margin, pixel = bands * sizeof(float);
    const size_t w = (size_t)s->base.shape.w;
    iip_status rv;

    while (s->have < until) {
        iip_raster in;

        if ((rv = s->base.up->next(s->base.up, until - s->have, &in, e)) != IIP_OK)
            return rv;
        if (in.h == 0)
            return iip_fail(e, IIP_E_CORRUPT, 0, "rows end at %" APR_INT64_T_FMT, s->have);
        for (int64_t y = 0; y < in.h; y++, s->have++) {
            float *row = slot(s, s->have);

            memcpy(row + m * bands, in.px + (size_t)y * in.stride, w * pixel);
            for (size_t i = 0; i < m; i++) {
                memcpy(row + i * bands, row + m * bands, pixel);
                memcpy(row + (m + w + i) * bands, row + (m + w - 1) * bands, pixel);
            }
        }
    }
    return IIP_OK;
}

static iip_status near_next(iip_stage_t *base, int64_t max_rows, iip_raster *out, iip_error *e)
{
    iip_near *s = (iip_near *)base;
    const float *row[2 * IIP_NEAR_MOST + 1];
    iip_status rv;

    *out = s->strip;
    out->h = min64(min64(max_rows, s->strip.h), base->shape.h - s->done);
    for (int64_t y = 0; y < out->h; y++, s->done++) {
        if ((rv = pull(s, min64(s->done + s->margin + 1, base->shape.h), e)) != IIP_OK)
            return rv;
        for (int k = -s->margin; k <= s->margin; k++)
            row[k + s->margin] = slot(s, s->done + k);
        s->top = s->done == 0;
        s->bottom = s->done == base->shape.h - 1;
        s->fn(s, row, (float *)(void *)(out->px + (size_t)y * out->stride), (size_t)out->w);
    }
    return IIP_OK;
}

void *iip_near_new(size_t size, iip_stage_t *up, int margin, iip_near_fn *fn, iip_budget *b, apr_pool_t *p,
                   iip_error *e)
{
    iip_near *s = iip_stage_new(size, up, b, p, e);

    if (!s)
        return NULL;
    s->base.next = near_next;
    s->fn = fn;
    s->margin = margin;
    s->ring = s->base.shape;
    s->ring.w += 2 * margin;
    s->ring.h = 2 * margin + 1;
    s->strip = s->base.shape;
    s->strip.h = strip_rows(&s->strip);
    return iip_stage_rows(&s->ring, b, p, e) == IIP_OK && iip_stage_rows(&s->strip, b, p, e) == IIP_OK ? s : NULL;
}
