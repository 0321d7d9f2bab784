/* SPDX-License-Identifier: Apache-2.0
 * Cells: decoded whole into the cache, or straight to where they are wanted; turned upright on the way. */
#include "cells.h"
#include <stdlib.h>
#include <string.h>

/* --- orientation --- */

/* From stored to upright: axes change places, then the upright picture is mirrored left-right, top-bottom. */
static const struct {
    unsigned char swap, mirror_x, mirror_y, inverse;
} turns[9] = {
    {0, 0, 0, 1}, /* 0 is no orientation */
    {0, 0, 0, 1}, /* first row is top, first column left */
    {0, 1, 0, 2}, /* top, right */
    {0, 1, 1, 3}, /* bottom, right */
    {0, 0, 1, 4}, /* bottom, left */
    {1, 0, 0, 5}, /* left, top */
    {1, 1, 0, 8}, /* right, top */
    {1, 1, 1, 7}, /* right, bottom */
    {1, 0, 1, 6}, /* left, bottom */
};

static int turn_index(int orientation)
{
    return orientation >= 1 && orientation <= 8 ? orientation : 1;
}

iip_rect iip_turn_back(iip_rect r, int orientation, int64_t w, int64_t h)
{
    int t = turn_index(orientation);

    if (turns[t].mirror_x)
        r.x = w - r.x - r.w;
    if (turns[t].mirror_y)
        r.y = h - r.y - r.h;
    return turns[t].swap ? (iip_rect){r.y, r.x, r.h, r.w} : r;
}

/* Copies w x h pixels to rows; in the source a step to the right is dx bytes, one down dy. By squares, so that columns
 * become rows within the cache. Inlined for each size of pixel, which makes memcpy a move. */
static inline __attribute__((always_inline)) void copy_pixels(unsigned char *to, size_t stride,
                                                              const unsigned char *from, ptrdiff_t dx, ptrdiff_t dy,
                                                              int64_t w, int64_t h, size_t size)
{
    enum { SIDE = 32 };

    for (int64_t y0 = 0; y0 < h; y0 += SIDE)
        for (int64_t x0 = 0; x0 < w; x0 += SIDE) {
            int64_t y1 = y0 + SIDE < h ? y0 + SIDE : h, x1 = x0 + SIDE < w ? x0 + SIDE : w;

            for (int64_t y = y0; y < y1; y++) {
                const unsigned char *s = from + y * dy + x0 * dx;
                unsigned char *d = to + (size_t)y * stride + (size_t)x0 * size;

                for (int64_t x = x0; x < x1; x++, s += dx, d += size)
                    memcpy(d, s, size);
            }
        }
}

void iip_turn_copy(const iip_raster *in, iip_rect from, int orientation, iip_raster *out, int64_t x, int64_t y)
{
    int t = turn_index(orientation);
    size_t size = (size_t)in->bands * iip_sample_size(in->sample);
    int64_t w = turns[t].swap ? from.h : from.w, h = turns[t].swap ? from.w : from.h;
    ptrdiff_t across = (ptrdiff_t)size, down = (ptrdiff_t)in->stride;
    ptrdiff_t dx = turns[t].swap ? down : across, dy = turns[t].swap ? across : down;
    const unsigned char *s = in->px + from.y * down + from.x * across;
    unsigned char *d = out->px + (size_t)y * out->stride + (size_t)x * size;

    if (dx == across && !turns[t].mirror_x) { /* rows stay rows */
        if (turns[t].mirror_y)
            s += (h - 1) * dy;
        for (int64_t i = 0; i < h; i++)
            memcpy(d + (size_t)i * out->stride, s + (turns[t].mirror_y ? -i : i) * dy, (size_t)w * size);
        return;
    }
    if (turns[t].mirror_x) {
        s += (w - 1) * dx;
        dx = -dx;
    }
    if (turns[t].mirror_y) {
        s += (h - 1) * dy;
        dy = -dy;
    }
    switch (size) {
    case 1:
        copy_pixels(d, out->stride, s, dx, dy, w, h, 1);
        break;
    case 2:
        copy_pixels(d, out->stride, s, dx, dy, w, h, 2);
        break;
    case 3:
        copy_pixels(d, out->stride, s, dx, dy, w, h, 3);
        break;
    case 4:
        copy_pixels(d, out->stride, s, dx, dy, w, h, 4);
        break;
    case 6:
        copy_pixels(d, out->stride, s, dx, dy, w, h, 6);
        break;
    default:
        copy_pixels(d, out->stride, s, dx, dy, w, h, size);
    }
}

/* --- decoding --- */

void iip_cells_done(iip_cells *c, int good)
{
    if (c->lease)
        iip_readers_give(c->readers, c->lease, good, c->info->hold + c->held);
    c->lease = NULL;
}

/* A raster, or three of planes: out, wherever there are several. */
static int count(const iip_cells *c)
{
    return c->planes ? IIP_PLANES : 1;
}

static iip_status read_planes(iip_cells *c, int level, iip_rect want, iip_raster *out, iip_error *e)
{
    const iip_decoder *dec = c->lease->dec;
    iip_raster rgb = {want.w, want.h, 3, IIP_U8, (size_t)want.w * 3, NULL};
    const size_t size = rgb.stride * (size_t)want.h;
    iip_status rv = dec->planes ? dec->planes(c->lease->reader, level, want, c->layers, out, e) : IIP_E_FEATURE;

    if (rv != IIP_E_FEATURE)
        return rv;
    *e = (iip_error){0};
    if ((rv = iip_budget_take(c->budget, size, e)) != IIP_OK)
        return rv;
    if (!(rgb.px = malloc(size)))
        rv = iip_fail(e, IIP_E_MEMORY, APR_ENOMEM, "no %zu bytes for a cell", size);
    else if ((rv = dec->read(c->lease->reader, level, want, c->layers, &rgb, e)) == IIP_OK)
        iip_planes_of(&rgb, out);
    free(rgb.px);
    iip_budget_back(c->budget, size);
    return rv;
}

static iip_status decode(iip_cells *c, int level, iip_rect want, iip_raster *out, iip_error *e)
{
    apr_interval_time_t reading;
    apr_time_t t0;
    iip_status rv;

    if (!c->lease && (rv = iip_readers_take(c->readers, c->src, c->page, c->lim, &c->lease, e)) != IIP_OK)
        return rv;
    c->held = c->info->level_hold[level];
    reading = iip_source_time();
    t0 = apr_time_now();
    rv = c->planes ? read_planes(c, level, want, out, e)
                   : c->lease->dec->read(c->lease->reader, level, want, c->layers, out, e);
    reading = iip_source_time() - reading;
    c->budget->spent.read += reading;
    c->budget->spent.decode += apr_time_now() - t0 - reading;
    if (rv == IIP_OK)
        c->decoded += (uint64_t)want.w * (uint64_t)want.h;
    else
        iip_cells_done(c, 0);
    return rv;
}

/* Describes `size` bytes of w x h stored pixels; px is still to be set. */
static iip_status shape(const iip_cells *c, int64_t w, int64_t h, iip_raster *r, size_t *size, iip_error *e)
{
    size_t pixel = (size_t)c->info->bands * iip_sample_size(c->info->sample);

    if (__builtin_mul_overflow((size_t)w, pixel, &r->stride) || __builtin_mul_overflow(r->stride, (size_t)h, size) ||
        *size > IIP_MAX_CELL)
        return iip_fail(e, IIP_E_FORMAT, 0, "a cell of %lld x %lld pixels is too large", (long long)w, (long long)h);
    r->w = w;
    r->h = h;
    r->bands = c->info->bands;
    r->sample = c->info->sample;
    r->px = NULL;
    if (!c->planes)
        return IIP_OK;
    *size = 0;
    for (int k = 0; k < IIP_PLANES; k++) {
        r[k] = (iip_raster){iip_plane_side(w, k), iip_plane_side(h, k), 1, IIP_U8, (size_t)iip_plane_side(w, k), NULL};
        *size += r[k].stride * (size_t)r[k].h;
    }
    return IIP_OK;
}

/* Its pixels lie at px, one plane behind the other. */
static void place(const iip_cells *c, iip_raster *r, unsigned char *px)
{
    for (int k = 0; k < count(c); k++) {
        r[k].px = px;
        px += r[k].stride * (size_t)r[k].h;
    }
}

/* Decodes into memory of its own, which is the caller's to free. */
static iip_status decode_alone(iip_cells *c, int level, iip_rect want, iip_raster *r, size_t size, iip_error *e)
{
    unsigned char *px = malloc(size);
    iip_status rv;

    if (!px)
        return iip_fail(e, IIP_E_MEMORY, APR_ENOMEM, "no %zu bytes for a cell", size);
    place(c, r, px);
    if ((rv = decode(c, level, want, r, e)) != IIP_OK) {
        free(px);
        r->px = NULL;
    }
    return rv;
}

typedef struct {
    iip_cells *c;
    int level;
    iip_rect cell;
} cell_job;

static iip_status fill_cell(void *ctx, iip_blob **out, iip_error *e)
{
    cell_job *j = ctx;
    iip_raster r[IIP_PLANES];
    size_t size;
    iip_status rv = shape(j->c, j->cell.w, j->cell.h, r, &size, e);

    if (rv != IIP_OK || (rv = decode_alone(j->c, j->level, j->cell, r, size, e)) != IIP_OK)
        return rv;
    if (!iip_source_same(j->c->lease->src)) {
        free(r->px);
        iip_cells_done(j->c, 0);
        return iip_fail(e, IIP_E_CHANGED, 0, "%s: replaced while it was decoded", j->c->src->name);
    }
    if (!(*out = iip_blob_make(r->px, size, free)))
        return iip_fail(e, IIP_E_MEMORY, APR_ENOMEM, "no memory for a cell");
    return IIP_OK;
}

/* Part `from` of a cell, in its own coordinates, to (x, y) of out. */
static void copy(const iip_cells *c, const iip_raster *r, iip_rect from, iip_raster *out, int64_t x, int64_t y)
{
    for (int k = 0; k < count(c); k++)
        iip_turn_copy(&r[k], iip_plane_rect(from, k), c->info->orientation, &out[k], iip_plane_side(x, k),
                      iip_plane_side(y, k));
}

/* The part of a cell, turned, to (x, y) of out, through the cache. */
static iip_status from_cache(iip_cells *c, int level, iip_rect cell, iip_rect part, iip_raster *out, int64_t x,
                             int64_t y, iip_error *e)
{
    struct {
        iip_ident id;
        int64_t page, layers, level, x, y, planes;
    } key = {c->src->id, c->page, c->layers, level, cell.x, cell.y, c->planes};
    cell_job job = {c, level, cell};
    iip_raster r[IIP_PLANES];
    iip_blob *b;
    size_t size;
    iip_status rv;

    /* Charged while it is used, cached or not: so a request's own limit never becomes the failure of those who wait for
     * it. */
    if ((rv = shape(c, cell.w, cell.h, r, &size, e)) != IIP_OK || (rv = iip_budget_take(c->budget, size, e)) != IIP_OK)
        return rv;
    rv = iip_cache_get(c->cache, &key, sizeof key, c->budget->until, fill_cell, &job, &b, e);
    if (rv == IIP_OK) {
        place(c, r, b->data);
        copy(c, r, (iip_rect){part.x - cell.x, part.y - cell.y, part.w, part.h}, out, x, y);
        iip_blob_release(b);
    }
    iip_budget_back(c->budget, size);
    return rv;
}

/* The same without the cache: only the part is decoded. */
static iip_status straight(iip_cells *c, int level, iip_rect part, iip_raster *out, int64_t x, int64_t y, iip_error *e)
{
    iip_raster r[IIP_PLANES];
    size_t size;
    iip_status rv;

    if ((rv = shape(c, part.w, part.h, r, &size, e)) != IIP_OK)
        return rv;
    if (turn_index(c->info->orientation) == 1) {
        for (int k = 0; k < count(c); k++) {
            size_t pixel = r[k].stride / (size_t)r[k].w;

            r[k].stride = out[k].stride;
            r[k].px = out[k].px + (size_t)iip_plane_side(y, k) * out[k].stride + (size_t)iip_plane_side(x, k) * pixel;
        }
        return decode(c, level, part, r, e);
    }
    if ((rv = iip_budget_take(c->budget, size, e)) != IIP_OK)
        return rv;
    if ((rv = decode_alone(c, level, part, r, size, e)) == IIP_OK) {
        copy(c, r, (iip_rect){0, 0, part.w, part.h}, out, x, y);
        free(r->px);
    }
    iip_budget_back(c->budget, size);
    return rv;
}

static iip_rect meet(iip_rect a, iip_rect b)
{
    int64_t x0 = a.x > b.x ? a.x : b.x, x1 = a.x + a.w < b.x + b.w ? a.x + a.w : b.x + b.w;
    int64_t y0 = a.y > b.y ? a.y : b.y, y1 = a.y + a.h < b.y + b.h ? a.y + a.h : b.y + b.h;

    return (iip_rect){x0, y0, x1 - x0, y1 - y0};
}

iip_status iip_cells_fetch(void *cells, int level, iip_rect want, iip_raster *out, iip_error *e)
{
    iip_cells *c = cells;
    const iip_level *l = &c->info->level[level];
    int t = turn_index(c->info->orientation);
    iip_rect area = iip_turn_back(want, t, l->w, l->h); /* from here on in stored pixels */
    int64_t w = turns[t].swap ? l->h : l->w, h = turns[t].swap ? l->w : l->h;
    int64_t cell_w = turns[t].swap ? l->tile_h : l->tile_w, cell_h = turns[t].swap ? l->tile_w : l->tile_h;

    for (int64_t cy = area.y - area.y % cell_h; cy < area.y + area.h; cy += cell_h)
        for (int64_t cx = area.x - area.x % cell_w; cx < area.x + area.w; cx += cell_w) {
            iip_rect cell = meet((iip_rect){cx, cy, cell_w, cell_h}, (iip_rect){0, 0, w, h});
            iip_rect part = meet(cell, area);
            iip_rect to = iip_turn_back(part, turns[t].inverse, w, h);
            iip_status rv = iip_budget_check(c->budget, e);

            if (rv == IIP_OK)
                rv = c->cache ? from_cache(c, level, cell, part, out, to.x - want.x, to.y - want.y, e)
                              : straight(c, level, part, out, to.x - want.x, to.y - want.y, e);
            if (rv != IIP_OK)
                return rv;
        }
    return IIP_OK;
}
