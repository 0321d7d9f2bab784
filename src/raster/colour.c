/* SPDX-License-Identifier: Apache-2.0
 * Samples of any kind to 8 bits, and any colour space to grey or RGB (spec/iip.md 6.2, 6.3). In place: the result is
 * never larger. */
#include "raster/stage.h"
#include <float.h>
#include <math.h>
#include <string.h>

enum { MOST = 5, GAMMA = 8192 };

/* Takes n samples, step apart, to every ostep-th byte of out. min and factor (255 over the range) are for floats. */
typedef void take_fn(const void *in, size_t step, unsigned char *out, size_t ostep, size_t n, double min,
                     double factor);
typedef double value_fn(const void *in);

typedef struct {
    iip_stage_t base;
    int in_bands, alpha;
    size_t in_size; /* of a sample */
    iip_space space;
    int taken;      /* bands of 8 bits before the space is changed, alpha included */
    int from[MOST]; /* their places in the source */
    double min[MOST], factor[MOST];
    int plain; /* all bands with one range: a row is one run of samples */
    take_fn *take;
    value_fn *value; /* CIELAB only, as gamma: light 0..1 to 8 bits of sRGB */
    const unsigned char *gamma;
} colour_stage;

/* False for NaN; infinities become 0 as well. */
static inline unsigned char float_to_8(double v, double min, double factor)
{
    double x = (v - min) * factor;

    return x > 0 && v <= DBL_MAX ? (unsigned char)(x < 255 ? x : 255) : 0;
}

#define TAKE(name, T, VALUE)                                                                                           \
    IIP_HOT static void name(const void *in, size_t step, unsigned char *restrict out, size_t ostep, size_t n,         \
                             double min, double factor)                                                                \
    {                                                                                                                  \
        const T *restrict s = in;                                                                                      \
                                                                                                                       \
        if (step == 1 && ostep == 1)                                                                                   \
            for (size_t i = 0; i < n; i++)                                                                             \
                out[i] = VALUE(s[i]);                                                                                  \
        else                                                                                                           \
            for (size_t i = 0; i < n; i++)                                                                             \
                out[i * ostep] = VALUE(s[i * step]);                                                                   \
    }
/* Readers left-align integers, so the top byte is the value; signed ones are moved to begin at 0. */
#define U8_TO_8(v)  (v)
#define U16_TO_8(v) (unsigned char)((v) >> 8)
#define U32_TO_8(v) (unsigned char)((v) >> 24)
#define S16_TO_8(v) (unsigned char)(((uint16_t)(v) ^ 0x8000u) >> 8)
#define S32_TO_8(v) (unsigned char)(((uint32_t)(v) ^ 0x80000000u) >> 24)
#define F_TO_8(v)   float_to_8(v, min, factor)
TAKE(take_u8, unsigned char, U8_TO_8)
TAKE(take_u16, uint16_t, U16_TO_8)
TAKE(take_u32, uint32_t, U32_TO_8)
TAKE(take_s16, int16_t, S16_TO_8)
TAKE(take_s32, int32_t, S32_TO_8)
TAKE(take_f32, float, F_TO_8)
TAKE(take_f64, double, F_TO_8)

static take_fn *const takes[] = {
    [IIP_U8] = take_u8,   [IIP_U16] = take_u16, [IIP_U32] = take_u32, [IIP_S16] = take_s16,
    [IIP_S32] = take_s32, [IIP_F32] = take_f32, [IIP_F64] = take_f64,
};

static inline unsigned by_255(unsigned x) /* x / 255 rounded, for x up to 255 * 255 */
{
    x += 128;
    return (x + (x >> 8)) >> 8;
}

/* px holds n pixels of CMYK and alpha; they shrink towards its beginning. */
static void cmyk_to_rgb(unsigned char *px, size_t n, int alpha)
{
    const unsigned char *s = px;

    for (; n; n--, s += 4 + alpha, px += 3 + alpha) {
        unsigned k = 255u - s[3];

        for (int c = 0; c < 3; c++)
            px[c] = (unsigned char)by_255((255u - s[c]) * k);
        if (alpha)
            px[3] = s[4];
    }
}

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

static unsigned char lab_light(const colour_stage *s, double v)
{
    return s->gamma[v > 0 ? (int)(v < 1 ? v * (GAMMA - 1) + 0.5 : GAMMA - 1) : 0];
}

static void lab_to_rgb(const colour_stage *s, const unsigned char *in, unsigned char *px, size_t n)
{
    int whole = s->in_size < 4 || s->value == lab_32; /* integers: L to 255, axes wrap at 128 */
    size_t step = (size_t)s->in_bands * s->in_size;

    for (; n; n--, in += step, px += 3 + s->alpha) {
        double l = s->value(in), a = s->value(in + s->in_size), b = s->value(in + 2 * s->in_size), x, y, z, c;

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
        x = 0.950470 * lab_cube(a / 500 + c);
        z = 1.088827 * lab_cube(c - b / 200);
        px[0] = lab_light(s, 3.2406255 * x - 1.537208 * y - 0.4986286 * z);
        px[1] = lab_light(s, -0.9689307 * x + 1.8757561 * y + 0.0415175 * z);
        px[2] = lab_light(s, 0.0557101 * x - 0.2040211 * y + 1.0569959 * z);
    }
}

static void colour_pixels(const iip_stage_t *base, const unsigned char *in, unsigned char *px, size_t n)
{
    const colour_stage *s = (const colour_stage *)base;
    size_t bands = (size_t)s->taken;

    if (s->plain) {
        s->take(in, 1, px, 1, n * bands, s->min[0], s->factor[0]);
    } else {
        for (size_t i = s->gamma ? 3 : 0; i < bands; i++)
            s->take(in + (size_t)s->from[i] * s->in_size, (size_t)s->in_bands, px + i, bands, n, s->min[i],
                    s->factor[i]);
    }
    if (s->gamma)
        lab_to_rgb(s, in, px, n);
    else if (s->space == IIP_CMYK)
        cmyk_to_rgb(px, n, s->alpha);
}

static iip_status colour_next(iip_stage_t *base, int64_t max_rows, iip_raster *out, iip_error *e)
{
    return iip_stage_narrow(base, colour_pixels, ((colour_stage *)base)->taken, max_rows, out, e);
}

static void set_ranges(colour_stage *s, const iip_info *info)
{
    for (int i = 0; i < s->taken; i++) {
        double lo = info->min ? info->min[s->from[i]] : 0, hi = info->max ? info->max[s->from[i]] : 1;

        s->min[i] = lo;
        s->factor[i] = 255 * (fabs(hi - lo) <= 1e-30 ? 1e30 : 1 / (hi - lo));
        if (s->from[i] != i || s->min[i] != s->min[0] || s->factor[i] != s->factor[0])
            s->plain = 0;
    }
}

static iip_status set_gamma(colour_stage *s, iip_budget *b, apr_pool_t *p, iip_error *e)
{
    unsigned char *gamma = iip_budget_alloc(b, GAMMA, p, e);

    if (!gamma)
        return IIP_E_MEMORY;
    for (int i = 0; i < GAMMA; i++) {
        double u = i / (double)(GAMMA - 1);

        gamma[i] = (unsigned char)(255 * (u <= 0.0031308 ? 12.92 * u : 1.055 * pow(u, 1 / 2.4) - 0.055) + 0.5);
    }
    s->gamma = gamma;
    s->value = lab_values[s->base.up->shape.sample];
    return IIP_OK;
}

iip_stage_t *iip_stage_colour(iip_stage_t *up, const iip_info *info, iip_budget *b, apr_pool_t *p, iip_error *e)
{
    static const int wants[] = {[IIP_GREY] = 1, [IIP_RGB] = 3, [IIP_LAB] = 3, [IIP_CMYK] = 4, [IIP_MULTIBAND] = 3};
    int alpha = info->alpha && info->bands > 1, colours = info->bands - alpha;
    int keep = colours < wants[info->space] ? 1 : wants[info->space];
    colour_stage *s;

    if (info->sample == IIP_U8 && info->bands == keep + alpha && keep != 4 && info->space != IIP_LAB)
        return up;
    s = iip_stage_new(sizeof *s, up, b, p, e);
    if (!s)
        return NULL;
    s->base.next = colour_next;
    s->base.shape.bands = (keep == 1 ? 1 : 3) + alpha;
    s->base.shape.sample = IIP_U8;
    s->in_bands = info->bands;
    s->in_size = iip_sample_size(info->sample);
    s->alpha = alpha;
    s->space = keep == 1 ? IIP_GREY : info->space;
    s->taken = keep + alpha;
    for (int i = 0; i < keep; i++)
        s->from[i] = i;
    if (alpha)
        s->from[keep] = info->bands - 1;
    s->take = takes[info->sample];
    s->plain = info->bands == s->taken && s->space != IIP_LAB;
    set_ranges(s, info);
    if (s->space == IIP_LAB && set_gamma(s, b, p, e) != IIP_OK)
        return NULL;
    return &s->base;
}
