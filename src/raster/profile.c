/* SPDX-License-Identifier: Apache-2.0
 * Colours of a profile to sRGB.
 *
 * lcms2 works out what the profile says. Of most profiles (curves and a matrix) the light of a colour is the sum of
 * what each channel gives alone: pixels then cost three look-ups in tables made of it, clipped at the very end. That is
 * found out by trying, not by reading tags. The others (inks, scanners with tables of colours) go through lcms2 pixel
 * by pixel: the tables it would make for speed are of clipped colours, and wrong along the edge of the gamut by many
 * levels. */
#include "codec/icc.h"
#include "raster/stage.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

#ifdef IIP_HAVE_LCMS2

enum { PART = 16, PARTS = 4096 }; /* values of 16 bits are interpolated between every 16th */
enum { RUN = 256 };               /* pixels at a time, at most */

typedef float light4[4]; /* of red, green, blue; nothing */

struct iip_transform {
    int channels, alpha;
    iip_sample sample;
    iip_icc *icc;
    cmsHTRANSFORM rgb; /* of 16 bits; or NULL: */
    light4 *light[3];  /* what each channel adds, by its value; black is in the first */
};

void iip_transform_free(void *transform)
{
    iip_transform *t = transform;

    if (!t)
        return;
    if (t->rgb)
        cmsDeleteTransform(t->rgb);
    iip_icc_close(t->icc);
    for (int i = 0; i < t->channels && i < 3; i++)
        free(t->light[i]);
    free(t);
}

size_t iip_transform_size(const iip_transform *t)
{
    const size_t values = t->sample == IIP_U8 ? 256 : PARTS + 1;

    return sizeof *t + t->icc->used + (t->rgb ? 0 : (size_t)t->channels * values * sizeof(light4));
}

/* 1 if channels add up; tried at colours of all kinds. */
static int adds_up(cmsHTRANSFORM to_xyz, int channels)
{
    enum { STEPS = 5 };
    double black[3], alone[3][STEPS][3], rgb[3];

    iip_icc_light(to_xyz, (const double[3]){0}, black);
    for (int c = 0; c < channels; c++)
        for (int i = 0; i < STEPS; i++) {
            double in[3] = {0};

            in[c] = i / (STEPS - 1.0);
            iip_icc_light(to_xyz, in, alone[c][i]);
        }
    for (int i = 0; channels == 3 && i < STEPS * STEPS * STEPS; i++) {
        const int at[3] = {i % STEPS, i / STEPS % STEPS, i / STEPS / STEPS};
        double in[3];

        for (int c = 0; c < 3; c++)
            in[c] = at[c] / (STEPS - 1.0);
        iip_icc_light(to_xyz, in, rgb);
        for (int b = 0; b < 3; b++) {
            double sum = -2 * black[b];

            for (int c = 0; c < 3; c++)
                sum += alone[c][at[c]][b];
            if (!(fabs(sum - rgb[b]) < 2e-4))
                return 0;
        }
    }
    return 1;
}

static int fill_light(iip_transform *t, cmsHTRANSFORM to_xyz)
{
    const int values = t->sample == IIP_U8 ? 256 : PARTS + 1;
    double black[3];

    iip_icc_light(to_xyz, (const double[3]){0}, black);
    for (int c = 0; c < t->channels; c++) {
        light4 *to = t->light[c] = malloc((size_t)values * sizeof *to);

        if (!to)
            return 0;
        for (int i = 0; i < values; i++) {
            double in[3] = {0}, rgb[3];

            in[c] = t->sample == IIP_U8 ? i / 255.0 : i < PARTS ? i * PART / 65535.0 : 1;
            iip_icc_light(to_xyz, in, rgb);
            for (int b = 0; b < 3; b++)
                to[i][b] = (float)(rgb[b] - (c ? black[b] : 0));
            to[i][3] = 0;
        }
        for (int b = 0; b < 3 && t->sample != IIP_U8; b++) /* on to 65536, so that 65535 is what it is */
            to[PARTS][b] += (to[PARTS][b] - to[PARTS - 1][b]) / (PART - 1);
    }
    return 1;
}

static int fill_rgb(iip_transform *t)
{
    const cmsUInt32Number space = t->channels == 1 ? PT_GRAY : t->channels == 3 ? PT_RGB : PT_CMYK;

    t->rgb = iip_icc_to(t->icc,
                        COLORSPACE_SH(space) | EXTRA_SH((cmsUInt32Number)t->alpha) |
                            CHANNELS_SH((cmsUInt32Number)t->channels) |
                            BYTES_SH((cmsUInt32Number)iip_sample_size(t->sample)),
                        cmsCreate_sRGBProfileTHR(t->icc->context), TYPE_RGB_16);
    return t->rgb != NULL;
}

/* More than looking at the profile may take: what was sound there can be made here. */
#define MEMORY ((size_t)64 << 20)

iip_transform *iip_transform_make(const iip_info *info)
{
    iip_transform *t = calloc(1, sizeof *t);
    cmsHTRANSFORM to_xyz = NULL;
    int good = 0;

    if (!t)
        return NULL;
    t->sample = info->sample == IIP_U8 ? IIP_U8 : IIP_U16;
    t->alpha = info->alpha && info->bands > 1;
    t->icc = iip_icc_open(info, MEMORY);
    if (t->icc) {
        t->channels = t->icc->channels;
        to_xyz = t->channels < 4 ? iip_icc_to_xyz(t->icc) : NULL;
        good = to_xyz && adds_up(to_xyz, t->channels) ? fill_light(t, to_xyz) : fill_rgb(t);
        cmsCloseProfile(t->icc->profile); /* it is in the tables now */
        t->icc->profile = NULL;
    }
    if (to_xyz)
        cmsDeleteTransform(to_xyz);
    if (good)
        return t;
    iip_transform_free(t);
    return NULL;
}

/* ---- pixels ---- */

typedef struct profile_stage profile_stage;
/* n pixels, at most RUN. */
typedef void pixels_fn(const profile_stage *s, const unsigned char *from, unsigned char *to, size_t n);

struct profile_stage {
    iip_stage_t base;
    const iip_transform *t;
    const iip_srgb *srgb;
    pixels_fn *pixels;
};

/* One sample of 8 or 16 bits to what the channel adds. */
#define LIGHT_8(table, v, to) memcpy(to, (table)[v], sizeof(light4))
#define LIGHT_16(table, v, to)                                                                                         \
    for (int q = 0; q < 4; q++)                                                                                        \
    (to)[q] =                                                                                                          \
        (table)[(v) / PART][q] + ((table)[(v) / PART + 1][q] - (table)[(v) / PART][q]) * ((float)((v) % PART) / PART)

#define ALPHA_8_8(v)   (v)
#define ALPHA_16_8(v)  (unsigned char)((v) >> 8)
#define ALPHA_16_16(v) (v)

#define LIGHT_PIXELS(name, TIN, TOUT, LIGHT, ENCODE, ALPHA)                                                            \
    IIP_HOT static void name(const profile_stage *s, const unsigned char *from, unsigned char *to, size_t n)           \
    {                                                                                                                  \
        const TIN *restrict in = (const TIN *)from;                                                                    \
        TOUT *restrict out = (TOUT *)to;                                                                               \
        light4 *const *table = (light4 *const *)s->t->light;                                                           \
        const iip_srgb *srgb = s->srgb;                                                                                \
        const int alpha = s->t->alpha;                                                                                 \
                                                                                                                       \
        if (s->t->channels == 3)                                                                                       \
            for (size_t i = 0; i < n; i++, in += 3 + alpha, out += 3 + alpha) {                                        \
                float r[4], g[4], b[4];                                                                                \
                                                                                                                       \
                LIGHT(table[0], in[0], r);                                                                             \
                LIGHT(table[1], in[1], g);                                                                             \
                LIGHT(table[2], in[2], b);                                                                             \
                for (int c = 0; c < 4; c++)                                                                            \
                    r[c] += g[c] + b[c];                                                                               \
                for (int c = 0; c < 3; c++)                                                                            \
                    out[c] = ENCODE(srgb, r[c]);                                                                       \
                if (alpha)                                                                                             \
                    out[3] = ALPHA(in[3]);                                                                             \
            }                                                                                                          \
        else                                                                                                           \
            for (size_t i = 0; i < n; i++, in += 1 + alpha, out += 1 + alpha) {                                        \
                float v[4];                                                                                            \
                                                                                                                       \
                LIGHT(table[0], in[0], v);                                                                             \
                out[0] = ENCODE(srgb, v[1]);                                                                           \
                if (alpha)                                                                                             \
                    out[1] = ALPHA(in[1]);                                                                             \
            }                                                                                                          \
    }
LIGHT_PIXELS(light_8_8, unsigned char, unsigned char, LIGHT_8, iip_srgb_8, ALPHA_8_8)
LIGHT_PIXELS(light_16_8, uint16_t, unsigned char, LIGHT_16, iip_srgb_8, ALPHA_16_8)
LIGHT_PIXELS(light_16_16, uint16_t, uint16_t, LIGHT_16, iip_srgb_16, ALPHA_16_16)

#define WHOLE_8(v)  (unsigned char)(((uint32_t)(v)*255 + 32767) / 65535)
#define WHOLE_16(v) (v)

#define WHOLE_PIXELS(name, TIN, TOUT, WHOLE, ALPHA)                                                                    \
    static void name(const profile_stage *s, const unsigned char *from, unsigned char *to, size_t n)                   \
    {                                                                                                                  \
        const int alpha = s->t->alpha, channels = s->t->channels, colours = channels == 1 ? 1 : 3;                     \
        const TIN *in = (const TIN *)from;                                                                             \
        TOUT *out = (TOUT *)to;                                                                                        \
        uint16_t whole[3 * RUN], *rgb = whole;                                                                         \
                                                                                                                       \
        cmsDoTransform(s->t->rgb, from, rgb, (cmsUInt32Number)n);                                                      \
        for (size_t i = 0; i < n; i++, rgb += 3, in += channels + alpha, out += colours + alpha) {                     \
            for (int c = 0; c < colours; c++)                                                                          \
                out[c] = WHOLE(rgb[colours == 1 ? 1 : c]);                                                             \
            if (alpha)                                                                                                 \
                out[colours] = ALPHA(in[channels]);                                                                    \
        }                                                                                                              \
    }
WHOLE_PIXELS(whole_8_8, unsigned char, unsigned char, WHOLE_8, ALPHA_8_8)
WHOLE_PIXELS(whole_16_8, uint16_t, unsigned char, WHOLE_8, ALPHA_16_8)
WHOLE_PIXELS(whole_16_16, uint16_t, uint16_t, WHOLE_16, ALPHA_16_16)

static void profile_pixels(const iip_stage_t *base, const unsigned char *in, unsigned char *out, size_t n)
{
    const profile_stage *s = (const profile_stage *)base;

    s->pixels(s, in, out, n);
}

static iip_status profile_next(iip_stage_t *base, int64_t max_rows, iip_raster *out, iip_error *e)
{
    return iip_stage_narrow(base, profile_pixels, IIP_NARROW / RUN, max_rows, out, e);
}

iip_stage_t *iip_stage_profile(iip_stage_t *up, const iip_transform *t, iip_sample sample, iip_budget *b, apr_pool_t *p,
                               iip_error *e)
{
    static pixels_fn *const pixels[2][3] = {{light_8_8, light_16_8, light_16_16}, {whole_8_8, whole_16_8, whole_16_16}};
    profile_stage *s = iip_stage_new(sizeof *s, up, b, p, e);

    if (!s)
        return NULL;
    s->base.next = profile_next;
    s->base.shape.bands = (t->channels == 1 ? 1 : 3) + t->alpha;
    s->base.shape.sample = sample;
    s->t = t;
    s->srgb = iip_srgb_table();
    s->pixels = pixels[t->rgb != NULL][t->sample == IIP_U8 ? 0 : sample == IIP_U8 ? 1 : 2];
    return &s->base;
}

#else

iip_transform *iip_transform_make(const iip_info *info)
{
    return NULL;
}

void iip_transform_free(void *transform)
{
}

size_t iip_transform_size(const iip_transform *t)
{
    return 0;
}

iip_stage_t *iip_stage_profile(iip_stage_t *up, const iip_transform *t, iip_sample sample, iip_budget *b, apr_pool_t *p,
                               iip_error *e)
{
    return up;
}
#endif
