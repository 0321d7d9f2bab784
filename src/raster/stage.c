/* SPDX-License-Identifier: Apache-2.0
 * What the stages have in common. */
#include "raster/stage.h"
#include <math.h>
#include <string.h>

enum { ALIGN = 64 };

void *iip_stage_new(size_t size, iip_stage_t *up, iip_budget *b, apr_pool_t *p, iip_error *e)
{
    iip_stage_t *s = iip_budget_alloc(b, size, p, e);

    if (!s)
        return NULL;
    memset(s, 0, size);
    s->up = up;
    if (up)
        s->shape = up->shape;
    return s;
}

iip_status iip_stage_rows(iip_raster *s, iip_budget *b, apr_pool_t *p, iip_error *e)
{
    size_t row, all;

    if (__builtin_mul_overflow((size_t)s->w, iip_pixel_size(s), &row) ||
        __builtin_add_overflow(row, (size_t)(ALIGN - 1), &row) ||
        __builtin_mul_overflow(row & ~(size_t)(ALIGN - 1), (size_t)s->h, &all) ||
        __builtin_add_overflow(all, (size_t)16, &all))
        return iip_fail(e, IIP_E_MEMORY, 0, "%" APR_INT64_T_FMT " rows of %" APR_INT64_T_FMT " pixels", s->h, s->w);
    s->stride = row & ~(size_t)(ALIGN - 1);
    s->px = iip_budget_alloc(b, all, p, e);
    return s->px ? IIP_OK : IIP_E_MEMORY;
}

void iip_cover(double at, double len, int64_t have, int64_t *lo, int64_t *hi)
{
    /* what is a whole number but for the last bits of a division is that number */
    *lo = (int64_t)floor(at + 1e-6);
    *hi = (int64_t)ceil(at + len - 1e-6);
    *lo = *lo < 0 ? 0 : *lo < have ? *lo : have - 1;
    *hi = *hi <= *lo ? *lo + 1 : *hi < have ? *hi : have;
}

iip_status iip_stage_narrow(iip_stage_t *s, iip_narrow_fn *fn, int room, int64_t max_rows, iip_raster *out,
                            iip_error *e)
{
    _Alignas(16) unsigned char px[IIP_NARROW]; /* loops over memory that overlaps are not vectorised */
    size_t run = IIP_NARROW / (size_t)room, in_px, out_px = iip_pixel_size(&s->shape);
    iip_status rv = s->up->next(s->up, max_rows, out, e);

    if (rv != IIP_OK)
        return rv;
    in_px = iip_pixel_size(out);
    out->bands = s->shape.bands;
    out->sample = s->shape.sample;
    for (int64_t y = 0; y < out->h; y++) {
        unsigned char *row = out->px + (size_t)y * out->stride;

        for (size_t x = 0; x < (size_t)out->w; x += run) {
            size_t n = (size_t)out->w - x < run ? (size_t)out->w - x : run;

            fn(s, row + x * in_px, px, n);
            memcpy(row + x * out_px, px, n * out_px);
        }
    }
    return IIP_OK;
}
