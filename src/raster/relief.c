/* SPDX-License-Identifier: Apache-2.0
 * Light on heights: slopes by Horn (1981), weights 1 2 1 over the eight pixels around; the cosine between the light and
 * the ground's normal. */
#include "raster/process.h"
#include <math.h>

typedef struct {
    iip_near near;
    float *edge;          /* a row beyond the picture */
    float x, y;           /* of the sums of Horn to slopes */
    float up, to_x, to_y; /* parts of the light, sideways ones by slope */
    int alpha;
} relief_stage;

/* Of the eight around and the pixel itself; rows a, d, g from above. No number if one of them is none. */
#define COSINE(s, a, b, c, d, m, f, g, h, i, out)                                                                      \
    do {                                                                                                               \
        float p = (((a) + 2 * (d) + (g)) - ((c) + 2 * (f) + (i))) * (s)->x;                                            \
        float q = (((a) + 2 * (b) + (c)) - ((g) + 2 * (h) + (i))) * (s)->y;                                            \
        float v = ((s)->up + p * (s)->to_x - q * (s)->to_y) / sqrtf(1 + (p * p + q * q)) + 0 * (m);                    \
                                                                                                                       \
        out = v > 0 ? (1 + 254 * v) * (1 / 255.f) : v <= 0 ? 1 / 255.f : 0;                                            \
    } while (0)

#define RELIEF_LOOP(BANDS)                                                                                             \
    for (size_t k = 0; k < n; k++) {                                                                                   \
        const float *u = above + k * (BANDS), *v0 = row + k * (BANDS), *w = below + k * (BANDS);                       \
                                                                                                                       \
        COSINE(s, u[0], u[BANDS], u[2 * (BANDS)], v0[0], v0[BANDS], v0[2 * (BANDS)], w[0], w[BANDS], w[2 * (BANDS)],   \
               out[k * (BANDS)]);                                                                                      \
    }

IIP_HOT static void relief(const relief_stage *s, const float *restrict above, const float *restrict row,
                           const float *restrict below, float *restrict out, size_t n)
{
    if (s->alpha)
        RELIEF_LOOP(2)
    else
        RELIEF_LOOP(1)
}

/* What would lie beyond first, if heights go on as they came from second. */
static float beyond(const float *row, size_t first, size_t second)
{
    return 2 * row[first] - row[second];
}

/* The first or the last pixel of a row: at is its place in rows that have one more at either end. */
static void end_pixel(const relief_stage *s, const float *const *row, float *out, size_t at, int last)
{
    const size_t b = (size_t)s->near.base.shape.bands, side = last ? at - b : at + b;
    float out_of[3];

    for (int k = 0; k < 3; k++)
        out_of[k] = beyond(row[k], at, side);
    if (last)
        COSINE(s, row[0][side], row[0][at], out_of[0], row[1][side], row[1][at], out_of[1], row[2][side], row[2][at],
               out_of[2], *out);
    else
        COSINE(s, out_of[0], row[0][at], row[0][side], out_of[1], row[1][at], row[1][side], out_of[2], row[2][at],
               row[2][side], *out);
}

static void relief_row(const iip_near *near, const float *const *row, float *out, size_t n)
{
    relief_stage *s = (relief_stage *)near;
    const size_t bands = (size_t)near->base.shape.bands;
    const float *around[3] = {row[0], row[1], row[2]};

    if (near->top || near->bottom)
        for (size_t i = 0; i < (n + 2) * bands; i++)
            s->edge[i] = 2 * row[1][i] - row[near->top ? 2 : 0][i];
    if (near->top && near->bottom)
        around[0] = around[2] = row[1];
    else if (near->top || near->bottom)
        around[near->top ? 0 : 2] = s->edge;
    relief(s, around[0], around[1], around[2], out, n);
    if (!near->top && !near->bottom && n > 1) {
        end_pixel(s, row, out, bands, 0);
        end_pixel(s, row, out + (n - 1) * bands, n * bands, 1);
    }
    for (size_t i = 0; s->alpha && i < n; i++)
        out[2 * i + 1] = row[1][2 * i + 3];
}

iip_stage_t *iip_stage_relief(iip_stage_t *up, const iip_op *op, double dx, double dy, int alpha, iip_budget *b,
                              apr_pool_t *p, iip_error *e)
{
    relief_stage *s = iip_near_new(sizeof *s, up, 1, relief_row, b, p, e);
    const double rad = M_PI / 180, z = (op->argc > 2 ? op->arg[2] : 1) / 8;

    if (!s)
        return NULL;
    s->edge = iip_budget_alloc(b, (size_t)s->near.ring.w * iip_pixel_size(&s->near.ring), p, e);
    s->x = (float)(z / dx);
    s->y = (float)(z / dy);
    s->up = (float)sin(op->arg[1] * rad);
    s->to_x = (float)(sin(op->arg[0] * rad) * cos(op->arg[1] * rad));
    s->to_y = (float)(cos(op->arg[0] * rad) * cos(op->arg[1] * rad));
    s->alpha = alpha;
    return s->edge ? &s->near.base : NULL;
}
