/* SPDX-License-Identifier: Apache-2.0
 * Samples of any kind to 8 bits or what is kept of their depth, and any colour space to grey or RGB (spec/iip.md 6.2,
 * 6.3). In place: the result is never larger. */
#include "raster/stage.h"
#include <float.h>
#include <math.h>
#include <string.h>

enum { MOST = 5 };

/* Of CIELAB, and how light under it becomes that of sRGB's primaries: D65 as it is (spec/iip.md 6.2), D50 adapted by
 * Bradford's matrix. */
typedef struct {
    double x, z, to_srgb[3][3];
} white;
static const white whites[2] = {
    {0.950470,
     1.088827,
     {{3.2406255, -1.537208, -0.4986286}, {-0.9689307, 1.8757561, 0.0415175}, {0.0557101, -0.2040211, 1.0569959}}},
    {0.9642,
     0.8249,
     {{3.1341863642, -1.6172089590, -0.4906940640},
      {-0.9787485042, 1.9161300968, 0.0334333992},
      {0.0719639278, -0.2289938735, 1.4057537329}}},
};

/* Takes n samples, step apart, to every ostep-th of out. min and factor (the greatest value over the range) are for
 * floats. */
typedef void take_fn(const void *in, size_t step, void *out, size_t ostep, size_t n, double min, double factor);
typedef double value_fn(const void *in);

typedef struct {
    iip_stage_t base;
    int in_bands, alpha;
    size_t in_size, out_size; /* of a sample */
    iip_space space;          /* that remains to be changed; GREY: none */
    int taken;                /* bands before that, alpha included */
    int from[MOST];           /* their places in the source */
    double min[MOST], factor[MOST];
    int plain; /* all bands with one range: a row is one run of samples */
    take_fn *take;
    value_fn *value; /* CIELAB only */
    const iip_srgb *srgb;
    const white *white;
} colour_stage;

/* False for NaN; infinities become 0 as well. */
#define FLOAT_TO(name, T, TOP)                                                                                         \
    static inline T name(double v, double min, double factor)                                                          \
    {                                                                                                                  \
        double x = (v - min) * factor;                                                                                 \
                                                                                                                       \
        return x > 0 && v <= DBL_MAX ? (T)(x < TOP ? x : TOP) : 0;                                                     \
    }
FLOAT_TO(float_to_8, unsigned char, 255)
FLOAT_TO(float_to_16, uint16_t, 65535)

#define TAKE(name, T, TO, VALUE)                                                                                       \
    IIP_HOT static void name(const void *in, size_t step, void *restrict to, size_t ostep, size_t n, double min,       \
                             double factor)                                                                            \
    {                                                                                                                  \
        const T *restrict s = in;                                                                                      \
        TO *restrict out = to;                                                                                         \
                                                                                                                       \
        if (step == 1 && ostep == 1)                                                                                   \
            for (size_t i = 0; i < n; i++)                                                                             \
                out[i] = VALUE(s[i]);                                                                                  \
        else                                                                                                           \
            for (size_t i = 0; i < n; i++)                                                                             \
                out[i * ostep] = VALUE(s[i * step]);                                                                   \
    }
/* Readers left-align integers, so the top bits are the value; signed ones are moved to begin at 0. */
#define AS_IS(v)     (v)
#define U16_TO_8(v)  (unsigned char)((v) >> 8)
#define U32_TO_8(v)  (unsigned char)((v) >> 24)
#define S16_TO_8(v)  (unsigned char)(S16_TO_16(v) >> 8)
#define S32_TO_8(v)  (unsigned char)(S32_TO_32(v) >> 24)
#define F_TO_8(v)    float_to_8(v, min, factor)
#define S16_TO_16(v) (uint16_t)((uint16_t)(v) ^ 0x8000u)
#define U32_TO_16(v) (uint16_t)((v) >> 16)
#define S32_TO_16(v) (uint16_t)(S32_TO_32(v) >> 16)
#define F_TO_16(v)   float_to_16(v, min, factor)
#define S32_TO_32(v) ((uint32_t)(v) ^ 0x80000000u)
#define D_TO_F(v)    (float)(v)
TAKE(u8_to_8, unsigned char, unsigned char, AS_IS)
TAKE(u16_to_8, uint16_t, unsigned char, U16_TO_8)
TAKE(u32_to_8, uint32_t, unsigned char, U32_TO_8)
TAKE(s16_to_8, int16_t, unsigned char, S16_TO_8)
TAKE(s32_to_8, int32_t, unsigned char, S32_TO_8)
TAKE(f32_to_8, float, unsigned char, F_TO_8)
TAKE(f64_to_8, double, unsigned char, F_TO_8)
TAKE(u16_to_16, uint16_t, uint16_t, AS_IS)
TAKE(u32_to_16, uint32_t, uint16_t, U32_TO_16)
TAKE(s16_to_16, int16_t, uint16_t, S16_TO_16)
TAKE(s32_to_16, int32_t, uint16_t, S32_TO_16)
TAKE(f32_to_16, float, uint16_t, F_TO_16)
TAKE(f64_to_16, double, uint16_t, F_TO_16)
TAKE(u32_to_32, uint32_t, uint32_t, AS_IS)
TAKE(s32_to_32, int32_t, uint32_t, S32_TO_32)
TAKE(f32_to_f, float, float, AS_IS)
TAKE(f64_to_f, double, float, D_TO_F)

/* By what is wanted, then by what there is. */
static take_fn *const takes[][IIP_F64 + 1] = {
    [IIP_U8] = {[IIP_U8] = u8_to_8,
                [IIP_U16] = u16_to_8,
                [IIP_U32] = u32_to_8,
                [IIP_S16] = s16_to_8,
                [IIP_S32] = s32_to_8,
                [IIP_F32] = f32_to_8,
                [IIP_F64] = f64_to_8},
    [IIP_U16] = {[IIP_U16] = u16_to_16,
                 [IIP_U32] = u32_to_16,
                 [IIP_S16] = s16_to_16,
                 [IIP_S32] = s32_to_16,
                 [IIP_F32] = f32_to_16,
                 [IIP_F64] = f64_to_16},
    [IIP_U32] = {[IIP_U32] = u32_to_32, [IIP_S32] = s32_to_32},
    [IIP_F32] = {[IIP_F32] = f32_to_f, [IIP_F64] = f64_to_f},
};

/* x / 255 and x / 65535 rounded, for x up to the square of that */
static inline unsigned char by_8(uint32_t x)
{
    x += 128;
    return (unsigned char)((x + (x >> 8)) >> 8);
}

static inline uint16_t by_16(uint32_t x)
{
    x += 32768;
    return (uint16_t)((x + (x >> 16)) >> 16);
}

/* px holds n pixels of CMYK and alpha; they shrink towards its beginning. */
#define INKS(name, T, TOP, BY)                                                                                         \
    static void name(T *px, size_t n, int alpha)                                                                       \
    {                                                                                                                  \
        const T *s = px;                                                                                               \
                                                                                                                       \
        for (; n; n--, s += 4 + alpha, px += 3 + alpha) {                                                              \
            uint32_t k = TOP - s[3];                                                                                   \
                                                                                                                       \
            for (int c = 0; c < 3; c++)                                                                                \
                px[c] = BY((TOP - s[c]) * k);                                                                          \
            if (alpha)                                                                                                 \
                px[3] = s[4];                                                                                          \
        }                                                                                                              \
    }
INKS(inks_8, unsigned char, 255u, by_8)
INKS(inks_16, uint16_t, 65535u, by_16)

#define VALUE(name, T, EXPR)                                                                                           \
    static double name(const void *in)                                                                                 \
    {                                                                                                                  \
        T v;                                                                                                           \
                                                                                                                       \
        memcpy(&v, in, sizeof v);                                                                                      \
        return EXPR;                                                                                                   \
    }
/* CIELAB as 8 bits is L 0..255 and bytes with a sign; wider integers have these in their top 16 bits, where L is twice
 * as long as a signed axis' half. Each comes out as eight bits with a fraction. */
VALUE(lab_8, unsigned char, v)
VALUE(lab_16, uint16_t, v / 256.0)
VALUE(lab_32, uint32_t, v / 16777216.0)
VALUE(lab_f32, float, (double)v)
VALUE(lab_f64, double, v)

static value_fn *const lab_values[] = {
    [IIP_U8] = lab_8,   [IIP_U16] = lab_16,  [IIP_U32] = lab_32,  [IIP_S16] = lab_16,
    [IIP_S32] = lab_32, [IIP_F32] = lab_f32, [IIP_F64] = lab_f64,
};

static double lab_cube(double t)
{
    return t >= 0.2069 ? t * t * t : (t - 0.13793) / 7.787;
}

static void lab_to_rgb(const colour_stage *s, const unsigned char *in, unsigned char *px, size_t n)
{
    int whole = s->in_size < 4 || s->value == lab_32; /* integers: L to 255, axes wrap at 128 */
    size_t step = (size_t)s->in_bands * s->in_size;
    const white *w = s->white;

    for (; n; n--, in += step, px += (size_t)(3 + s->alpha) * s->out_size) {
        double l = s->value(in), a = s->value(in + s->in_size), b = s->value(in + 2 * s->in_size), x, y, z, c;
        float light[3];

        if (whole) {
            l *= s->in_size == 1 ? 100 / 255.0 : 100 * 256 / 65535.0;
            a -= a < 128 ? 0 : 256;
            b -= b < 128 ? 0 : 256;
        }
        c = (l + 16) / 116;
        y = c * c * c;
        if (l < 8) {
            y = l / 903.3;
            c = 7.787 * y + 16 / 116.0;
        }
        x = w->x * lab_cube(a / 500 + c);
        z = w->z * lab_cube(c - b / 200);
        for (int i = 0; i < 3; i++)
            light[i] = (float)(w->to_srgb[i][0] * x + w->to_srgb[i][1] * y + w->to_srgb[i][2] * z);
        for (int i = 0; i < 3; i++)
            if (s->out_size == 1)
                px[i] = iip_srgb_8(s->srgb, light[i]);
            else
                ((uint16_t *)px)[i] = iip_srgb_16(s->srgb, light[i]);
    }
}

static void colour_pixels(const iip_stage_t *base, const unsigned char *in, unsigned char *px, size_t n)
{
    const colour_stage *s = (const colour_stage *)base;
    size_t bands = (size_t)s->taken;

    if (s->plain) {
        s->take(in, 1, px, 1, n * bands, s->min[0], s->factor[0]);
    } else {
        for (size_t i = s->space == IIP_LAB ? 3 : 0; i < bands; i++)
            s->take(in + (size_t)s->from[i] * s->in_size, (size_t)s->in_bands, px + i * s->out_size, bands, n,
                    s->min[i], s->factor[i]);
    }
    if (s->space == IIP_LAB)
        lab_to_rgb(s, in, px, n);
    else if (s->space == IIP_CMYK && s->out_size == 1)
        inks_8(px, n, s->alpha);
    else if (s->space == IIP_CMYK)
        inks_16((uint16_t *)px, n, s->alpha);
}

static iip_status colour_next(iip_stage_t *base, int64_t max_rows, iip_raster *out, iip_error *e)
{
    const colour_stage *s = (colour_stage *)base;

    return iip_stage_narrow(base, colour_pixels, s->taken * (int)s->out_size, max_rows, out, e);
}

static void set_ranges(colour_stage *s, const iip_info *info)
{
    const double top = s->out_size == 1 ? 255 : 65535;

    for (int i = 0; i < s->taken; i++) {
        double lo = info->min ? info->min[s->from[i]] : 0, hi = info->max ? info->max[s->from[i]] : 1;

        s->min[i] = lo;
        s->factor[i] = top * (fabs(hi - lo) <= 1e-30 ? 1e30 : 1 / (hi - lo));
        if (s->from[i] != i || s->min[i] != s->min[0] || s->factor[i] != s->factor[0])
            s->plain = 0;
    }
}

iip_stage_t *iip_stage_colour(iip_stage_t *up, const iip_info *info, iip_sample sample, int inks, iip_budget *b,
                              apr_pool_t *p, iip_error *e)
{
    static const int wants[] = {[IIP_GREY] = 1, [IIP_RGB] = 3, [IIP_LAB] = 3, [IIP_CMYK] = 4, [IIP_MULTIBAND] = 3};
    int alpha = info->alpha && info->bands > 1, colours = info->bands - alpha;
    int keep = colours < wants[info->space] ? 1 : wants[info->space];
    int stays = keep == 1 || (info->space == IIP_CMYK ? inks : info->space != IIP_LAB);
    iip_space space = stays ? IIP_GREY : info->space;
    colour_stage *s;

    if (info->sample == sample && info->bands == keep + alpha && space == IIP_GREY)
        return up;
    s = iip_stage_new(sizeof *s, up, b, p, e);
    if (!s)
        return NULL;
    s->base.next = colour_next;
    s->base.shape.bands = (space == IIP_GREY ? keep : 3) + alpha;
    s->base.shape.sample = sample;
    s->in_bands = info->bands;
    s->in_size = iip_sample_size(info->sample);
    s->out_size = iip_sample_size(sample);
    s->alpha = alpha;
    s->space = space;
    s->taken = keep + alpha;
    for (int i = 0; i < keep; i++)
        s->from[i] = i;
    if (alpha)
        s->from[keep] = info->bands - 1;
    s->take = takes[sample][info->sample];
    s->plain = info->bands == s->taken && space != IIP_LAB;
    set_ranges(s, info);
    if (space == IIP_LAB) {
        s->value = lab_values[info->sample];
        s->srgb = iip_srgb_table();
        s->white = &whites[info->lab_d50 != 0];
    }
    return &s->base;
}
