/* SPDX-License-Identifier: Apache-2.0
 * Samples of any kind to floats of their range (spec/iip.md 6.3). The arithmetic is of doubles: a narrow range of 32
 * bits keeps its steps. */
#include "raster/process.h"
#include <float.h>
#include <math.h>

/* n samples, step apart, to every ostep-th of out. bad: what is no finite number. */
typedef void load_fn(const void *in, size_t step, float *out, size_t ostep, size_t n, const iip_band *band, float bad);

typedef struct {
    iip_map map;
    const iip_band *band;
    iip_band of_alpha;
    load_fn *load;
    size_t in_bands, in_size;
    int colours, alpha, plain; /* plain: all there is, with one range: a row is one run of samples */
    float bad;
} float_stage;

/* What a range of no width makes is still a float. */
#define MOST 1e30

#define LOAD_LOOP(IN, OUT, GOOD)                                                                                       \
    for (size_t i = 0; i < n; i++) {                                                                                   \
        double v = ((double)(IN)-low) * factor;                                                                        \
                                                                                                                       \
        v = v > -MOST ? v : -MOST;                                                                                     \
        v = v < MOST ? v : MOST;                                                                                       \
        OUT = GOOD(IN) ? (float)v : bad;                                                                               \
    }
#define LOAD(name, T, GOOD)                                                                                            \
    IIP_HOT static void name(const void *from, size_t step, float *restrict out, size_t ostep, size_t n,               \
                             const iip_band *band, float bad)                                                          \
    {                                                                                                                  \
        const T *restrict in = from;                                                                                   \
        const double low = band->low, factor = band->factor;                                                           \
                                                                                                                       \
        if (step == 1 && ostep == 1)                                                                                   \
            LOAD_LOOP(in[i], out[i], GOOD)                                                                             \
        else                                                                                                           \
            LOAD_LOOP(in[i * step], out[i * ostep], GOOD)                                                              \
    }
#define ALWAYS(v)   1
#define FINITE_F(v) (fabsf(v) <= FLT_MAX)
#define FINITE_D(v) (fabs(v) <= DBL_MAX)
LOAD(load_u8, unsigned char, ALWAYS)
LOAD(load_u16, uint16_t, ALWAYS)
LOAD(load_u32, uint32_t, ALWAYS)
LOAD(load_s16, int16_t, ALWAYS)
LOAD(load_s32, int32_t, ALWAYS)
LOAD(load_f32, float, FINITE_F)
LOAD(load_f64, double, FINITE_D)

static load_fn *const loads[] = {
    [IIP_U8] = load_u8,   [IIP_U16] = load_u16, [IIP_U32] = load_u32, [IIP_S16] = load_s16,
    [IIP_S32] = load_s32, [IIP_F32] = load_f32, [IIP_F64] = load_f64,
};

static void float_pixels(const iip_stage_t *base, const void *in, void *out, size_t n)
{
    const float_stage *s = (const float_stage *)base;
    const size_t bands = (size_t)(s->colours + s->alpha);
    const unsigned char *px = in;
    float *to = out;

    if (s->plain) {
        s->load(px, 1, to, 1, n * bands, s->band, s->bad);
        return;
    }
    for (size_t c = 0; c < (size_t)s->colours; c++)
        s->load(px + c * s->in_size, s->in_bands, to + c, bands, n, &s->band[c], s->bad);
    if (s->alpha)
        s->load(px + (s->in_bands - 1) * s->in_size, s->in_bands, to + s->colours, bands, n, &s->of_alpha, 0);
}

iip_stage_t *iip_stage_float(iip_stage_t *up, const iip_band *band, int colours, int alpha, int keep, iip_budget *b,
                             apr_pool_t *p, iip_error *e)
{
    static const iip_band whole[] = {
        [IIP_U8] = {0, 1 / 255.},
        [IIP_U16] = {0, 1 / 65535.},
        [IIP_U32] = {0, 1 / 4294967295.},
        [IIP_S16] = {-32768, 1 / 65535.},
        [IIP_S32] = {-2147483648., 1 / 4294967295.},
        [IIP_F32] = {0, 1},
        [IIP_F64] = {0, 1},
    };
    float_stage *s = iip_map_new(sizeof *s, up, colours + (alpha != 0), IIP_F32, float_pixels, b, p, e);

    if (!s)
        return NULL;
    s->band = band;
    s->of_alpha = whole[up->shape.sample];
    s->load = loads[up->shape.sample];
    s->in_bands = (size_t)up->shape.bands;
    s->in_size = iip_sample_size(up->shape.sample);
    s->colours = colours;
    s->alpha = alpha != 0;
    s->bad = keep ? NAN : 0;
    s->plain = up->shape.bands == colours && !alpha;
    for (int c = 1; c < colours; c++)
        s->plain &= band[c].low == band[0].low && band[c].factor == band[0].factor;
    return &s->map.base;
}
