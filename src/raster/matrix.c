/* SPDX-License-Identifier: Apache-2.0
 * New bands as sums of old ones (CTW, spec/iip.md 6.4). */
#include "raster/process.h"
#include <string.h>

typedef struct {
    iip_map map;
    int in_bands, rows, cols, alpha;
    float m[IIP_MAX_ROWS * IIP_MAX_COLS]; /* rows of cols */
} twist_stage;

IIP_HOT static void twist_3(const float *restrict in, float *restrict out, size_t n, const float *m)
{
    for (size_t i = 0; i < 3 * n; i += 3)
        for (size_t r = 0; r < 3; r++)
            out[i + r] = m[3 * r] * in[i] + m[3 * r + 1] * in[i + 1] + m[3 * r + 2] * in[i + 2];
}

IIP_HOT static void twist(const twist_stage *s, const float *restrict in, float *restrict out, size_t n)
{
    const size_t rows = (size_t)s->rows, cols = (size_t)s->cols, bands = (size_t)s->in_bands;

    for (size_t i = 0; i < n; i++, in += bands) {
        const float *m = s->m;

        for (size_t r = 0; r < rows; r++, m += cols) {
            float sum = 0;

            for (size_t c = 0; c < cols; c++)
                sum += m[c] * in[c];
            *out++ = sum;
        }
        if (s->alpha)
            *out++ = in[bands - 1];
    }
}

static void twist_pixels(const iip_stage_t *base, const void *in, void *out, size_t n)
{
    const twist_stage *s = (const twist_stage *)base;

    if (s->rows == 3 && s->cols == 3 && s->in_bands == 3)
        twist_3(in, out, n, s->m);
    else
        twist(s, in, out, n);
}

iip_stage_t *iip_stage_twist(iip_stage_t *up, const iip_op *op, int alpha, iip_budget *b, apr_pool_t *p, iip_error *e)
{
    const int rows = (int)op->arg[0], asked = (int)op->arg[1], colours = up->shape.bands - alpha;
    twist_stage *s = iip_map_new(sizeof *s, up, rows + alpha, IIP_F32, twist_pixels, b, p, e);

    if (!s)
        return NULL;
    s->in_bands = up->shape.bands;
    s->rows = rows;
    s->cols = asked < colours ? asked : colours;
    s->alpha = alpha;
    for (int r = 0; r < rows; r++)
        memcpy(s->m + r * s->cols, op->arg + 2 + r * asked, (size_t)s->cols * sizeof *s->m);
    return &s->map.base;
}
