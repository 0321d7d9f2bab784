/* SPDX-License-Identifier: Apache-2.0
 * Floats to 8 bits: contrast, spec/iip.md 6.4. */
#include "raster/process.h"

typedef struct {
    iip_map map;
    float by;
    int in_bands, colours, alpha;
} quantise_stage;

/* What is a whole number but for the last bits of a float is that number. NaN is 0. */
static inline unsigned char whole(float v)
{
    v += 1 / 1024.f;
    v = v > 0 ? v : 0;
    return (unsigned char)(int)(v < 255 ? v : 255);
}

IIP_HOT static void quantise_run(const float *restrict in, unsigned char *restrict out, size_t n, float by)
{
    for (size_t i = 0; i < n; i++)
        out[i] = whole(in[i] * by);
}

IIP_HOT static void quantise_some(const quantise_stage *s, const float *restrict in, unsigned char *restrict out,
                                  size_t n)
{
    const size_t bands = (size_t)s->in_bands, colours = (size_t)s->colours;

    for (size_t i = 0; i < n; i++, in += bands) {
        for (size_t c = 0; c < colours; c++)
            *out++ = whole(in[c] * s->by);
        if (s->alpha)
            *out++ = whole(in[bands - 1] * 255 + 0.5f);
    }
}

static void quantise_pixels(const iip_stage_t *base, const void *in, void *out, size_t n)
{
    const quantise_stage *s = (const quantise_stage *)base;

    if (s->in_bands == s->colours)
        quantise_run(in, out, n * (size_t)s->colours, s->by);
    else
        quantise_some(s, in, out, n);
}

iip_stage_t *iip_stage_quantise(iip_stage_t *up, double contrast, int alpha, iip_budget *b, apr_pool_t *p, iip_error *e)
{
    const int colours = up->shape.bands - alpha < 3 ? 1 : 3;
    quantise_stage *s = iip_map_new(sizeof *s, up, colours + alpha, IIP_U8, quantise_pixels, b, p, e);

    if (!s)
        return NULL;
    s->by = (float)(255 * contrast);
    s->in_bands = up->shape.bands;
    s->colours = colours;
    s->alpha = alpha;
    return &s->map.base;
}
