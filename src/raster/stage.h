/* SPDX-License-Identifier: Apache-2.0
 * What the stages share among themselves: how one is made, and how their loops are built. */
#ifndef IIP_STAGE_H
#define IIP_STAGE_H
#include "raster/raster.h"

/* level.c: rows of a level's window of that width that are fetched at once: a row of cells. Where they come upside down
 * out of a format that is read downwards, more of them (up to 64 MiB), since each begins the file again. Where they are
 * columns of a picture that lies on its side, as tall as itself, no more than 160 MiB of them, and the picture is read
 * again for the next ones; but not more often than four times. */
int64_t iip_strip_rows(const iip_info *info, int level, int64_t width);

/* A zeroed stage of size bytes (its first member is an iip_stage_t) above up, whose shape it starts with; charged to b.
 */
void *iip_stage_new(size_t size, iip_stage_t *up, iip_budget *b, apr_pool_t *p, iip_error *e);

/* A buffer for rows of s (w, h, bands and sample are set; stride and px are filled in), charged to b. Rows begin at
 * multiples of 64 bytes and may be read and written 16 bytes past their end. */
iip_status iip_stage_rows(iip_raster *s, iip_budget *b, apr_pool_t *p, iip_error *e);

/* Makes n pixels of s->shape's kind at out of those at in; the two overlap nowhere. */
typedef void iip_narrow_fn(const iip_stage_t *s, const unsigned char *in, unsigned char *out, size_t n);

/* The next strip of s->up with its pixels passed through fn and put back in their place: never larger than before.
 * room: bytes fn may use of each pixel's place at out, at least those of a pixel, at most IIP_NARROW. */
#define IIP_NARROW 4096
iip_status iip_stage_narrow(iip_stage_t *s, iip_narrow_fn *fn, int room, int64_t max_rows, iip_raster *out,
                            iip_error *e);

/* resample.c: iip_stage_scale() where pixels are mixed. */
iip_stage_t *iip_stage_resample(iip_stage_t *up, const iip_window *win, int64_t w, int64_t h, int interpolate,
                                int alpha, iip_budget *b, apr_pool_t *p, iip_error *e);

/* The pixels lo..hi, of have, that a window of one axis touches: at least one. */
void iip_cover(double at, double len, int64_t have, int64_t *lo, int64_t *hi);

static inline size_t iip_pixel_size(const iip_raster *s)
{
    return (size_t)s->bands * iip_sample_size(s->sample);
}

/* The grey of an RGB pixel (spec/iip.md 6.5). */
static inline unsigned char iip_luma(const unsigned char *px)
{
    return (unsigned char)((1254097u * px[0] + 2462056u * px[1] + 478151u * px[2]) >> 22);
}

/* srgb.c: linear light 0..1 to sRGB. */
#define IIP_SRGB_STEPS 16384
typedef struct {
    unsigned char to8[IIP_SRGB_STEPS + 1];
    float to16[IIP_SRGB_STEPS + 2]; /* 0..65535, and one more to interpolate with */
} iip_srgb;
const iip_srgb *iip_srgb_table(void);

/* What is below 0, or no number, is 0. */
static inline unsigned char iip_srgb_8(const iip_srgb *t, float light)
{
    return t->to8[light > 0 ? (int)((light < 1 ? light : 1) * IIP_SRGB_STEPS + 0.5f) : 0];
}

static inline uint16_t iip_srgb_16(const iip_srgb *t, float light)
{
    float at = light > 0 ? (light < 1 ? light : 1) * IIP_SRGB_STEPS : 0;
    int i = (int)at;

    return (uint16_t)(t->to16[i] + (t->to16[i + 1] - t->to16[i]) * (at - (float)i) + 0.5f);
}

/* Loops over pixels are plain C in functions marked IIP_HOT: the compiler vectorises them, where it can once for each
 * generation of x86-64, chosen when the program is loaded. Products and sums are never fused, so each of them gives the
 * same bytes: equal requests have equal ETags on every machine. ThreadSanitizer cannot start with such functions. */
#if defined(__clang__)
#pragma STDC FP_CONTRACT OFF
#define IIP_HOT
#elif defined(IIP_PLAIN_C)
#define IIP_HOT __attribute__((optimize("fp-contract=off")))
#elif defined(__x86_64__) && defined(__GLIBC__) && __GNUC__ >= 12 && !defined(__SANITIZE_THREAD__)
#define IIP_HOT                                                                                                        \
    __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "arch=x86-64-v2", "default"),                     \
                   optimize("O3", "fp-contract=off")))
#else
#define IIP_HOT __attribute__((optimize("O3", "fp-contract=off")))
#endif

/* Runs LOOP(n) with n, the bytes of a pixel, as a constant where it is a usual one: a copy is then one or two moves. */
#define IIP_BY_PIXEL(size, LOOP)                                                                                       \
    switch (size) {                                                                                                    \
    case 1:                                                                                                            \
        LOOP(1);                                                                                                       \
        break;                                                                                                         \
    case 2:                                                                                                            \
        LOOP(2);                                                                                                       \
        break;                                                                                                         \
    case 3:                                                                                                            \
        LOOP(3);                                                                                                       \
        break;                                                                                                         \
    case 4:                                                                                                            \
        LOOP(4);                                                                                                       \
        break;                                                                                                         \
    default:                                                                                                           \
        LOOP(size);                                                                                                    \
    }
#endif
