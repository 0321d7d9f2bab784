/* SPDX-License-Identifier: Apache-2.0
 * Straight alpha over one colour, for formats without alpha. In place. */
#include "raster/stage.h"

typedef struct {
    iip_stage_t base;
    unsigned char under[3];
} flatten_stage;

#define OVER_LOOP(COLOURS)                                                                                             \
    for (size_t i = 0; i < n; i++) {                                                                                   \
        const unsigned char *px = in + i * ((COLOURS) + 1);                                                            \
        unsigned a = px[COLOURS];                                                                                      \
                                                                                                                       \
        for (int c = 0; c < (COLOURS); c++) {                                                                          \
            unsigned v = px[c] * a + under[c] * (255 - a) + 128;                                                       \
                                                                                                                       \
            out[i * (COLOURS) + (size_t)c] = (unsigned char)((v + (v >> 8)) >> 8); /* by 255, rounded */               \
        }                                                                                                              \
    }

IIP_HOT static void over(const unsigned char *restrict in, unsigned char *restrict out, size_t n, int colours,
                         const unsigned char *restrict under)
{
    if (colours == 3)
        OVER_LOOP(3)
    else
        OVER_LOOP(1)
}

static void flatten_pixels(const iip_stage_t *base, const unsigned char *in, unsigned char *out, size_t n)
{
    over(in, out, n, base->shape.bands, ((const flatten_stage *)base)->under);
}

static iip_status flatten_next(iip_stage_t *base, int64_t max_rows, iip_raster *out, iip_error *e)
{
    return iip_stage_narrow(base, flatten_pixels, base->shape.bands, max_rows, out, e);
}

iip_stage_t *iip_stage_flatten(iip_stage_t *up, int rgb, iip_budget *b, apr_pool_t *p, iip_error *e)
{
    flatten_stage *s = iip_stage_new(sizeof *s, up, b, p, e);

    if (!s)
        return NULL;
    s->base.next = flatten_next;
    s->base.shape.bands--;
    for (int c = 0; c < 3; c++)
        s->under[c] = (unsigned char)(rgb >> (16 - 8 * c));
    if (s->base.shape.bands == 1) /* a grey picture stays grey */
        s->under[0] = iip_luma(s->under);
    return &s->base;
}
