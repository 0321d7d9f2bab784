/* SPDX-License-Identifier: Apache-2.0
 * Weights over the pixels around (CNV, spec/iip.md 6.4): correlation, the kernel is not turned. */
#include "raster/process.h"
#include <string.h>

typedef struct {
    iip_near near;
    int side, alpha;
    float k[IIP_MAX_KERNEL * IIP_MAX_KERNEL];
} convolve_stage;

IIP_HOT static void add_weighed(float *restrict out, const float *restrict in, size_t n, float weight)
{
    for (size_t i = 0; i < n; i++)
        out[i] += weight * in[i];
}

static void convolve_row(const iip_near *near, const float *const *row, float *out, size_t n)
{
    const convolve_stage *s = (const convolve_stage *)near;
    const size_t side = (size_t)s->side, bands = (size_t)near->base.shape.bands;

    memset(out, 0, n * bands * sizeof *out);
    for (size_t y = 0; y < side; y++)
        for (size_t x = 0; x < side; x++)
            if (s->k[y * side + x] != 0)
                add_weighed(out, row[y] + x * bands, n * bands, s->k[y * side + x]);
    if (s->alpha)
        for (size_t i = 1; i <= n; i++)
            out[i * bands - 1] = row[side / 2][(i + side / 2) * bands - 1];
}

iip_stage_t *iip_stage_convolve(iip_stage_t *up, const iip_op *op, int alpha, iip_budget *b, apr_pool_t *p,
                                iip_error *e)
{
    const int side = (int)op->arg[0];
    convolve_stage *s = iip_near_new(sizeof *s, up, side / 2, convolve_row, b, p, e);
    double sum = 0;

    if (!s)
        return NULL;
    s->side = side;
    s->alpha = alpha;
    for (int i = 0; i < side * side; i++)
        sum += op->arg[1 + i];
    for (int i = 0; i < side * side; i++)
        s->k[i] = (float)(op->arg[1 + i] / (sum > 0 ? sum : 1));
    return &s->near.base;
}
