/* SPDX-License-Identifier: Apache-2.0
 * Light on a map of normals (spec/iip.md 6.4): the first three bands are the parts of a unit vector, 0..1 for 1..-1. */
#include "raster/process.h"
#include <math.h>

typedef struct {
    iip_map map;
    float light[3]; /* halved, and what is added so that bands can be taken as they are */
    float add;
    int bands, alpha;
} shade_stage;

#define SHADE_LOOP(BANDS, ALPHA)                                                                                       \
    for (size_t i = 0; i < n; i++) {                                                                                   \
        const float *px = in + i * (size_t)(BANDS);                                                                    \
        float v = add + (x * px[0] + y * px[1] + z * px[2]);                                                           \
                                                                                                                       \
        v = v > 0 ? v : 0;                                                                                             \
        v = v < 1 ? v : 1;                                                                                             \
        out[i * (1 + (ALPHA))] = ((px[0] == 0) & (px[1] == 0) & (px[2] == 0)) ? 0 : v;                                 \
        if (ALPHA)                                                                                                     \
            out[i * (1 + (ALPHA)) + 1] = px[(BANDS)-1];                                                                \
    }

IIP_HOT static void shade(const shade_stage *s, const float *restrict in, float *restrict out, size_t n)
{
    const float x = s->light[0], y = s->light[1], z = s->light[2], add = s->add;

    if (s->alpha)
        SHADE_LOOP(s->bands, 1)
    else if (s->bands == 3)
        SHADE_LOOP(3, 0)
    else
        SHADE_LOOP(s->bands, 0)
}

static void shade_pixels(const iip_stage_t *base, const void *in, void *out, size_t n)
{
    shade((const shade_stage *)base, in, out, n);
}

iip_stage_t *iip_stage_shade(iip_stage_t *up, const iip_op *op, int alpha, iip_budget *b, apr_pool_t *p, iip_error *e)
{
    shade_stage *s = iip_map_new(sizeof *s, up, 1 + alpha, IIP_F32, shade_pixels, b, p, e);
    double h = fmod(op->arg[0], 360), x, y, z, length;

    if (!s)
        return NULL;
    h += h < 0 ? 360 : 0;
    y = cos(h * M_PI / 180);
    x = sqrt(fmax(0, 1 - y * y)) * (h > 180 ? -1 : 1);
    z = -sin(op->arg[1] * M_PI / 180);
    length = sqrt(x * x + y * y + z * z);
    /* half the sum of light times -2 (band - 1/2) */
    s->light[0] = (float)(-x / length);
    s->light[1] = (float)(-y / length);
    s->light[2] = (float)(-z / length);
    s->add = (float)((x + y + z) / length / 2);
    s->bands = up->shape.bands;
    s->alpha = alpha;
    return &s->map.base;
}
