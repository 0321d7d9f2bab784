/* SPDX-License-Identifier: Apache-2.0
 * Blur by a bell curve, and sharpening by what differs from it. Both passes are sums over whole rows, so that the
 * compiler makes vectors of them; rows blurred sideways are kept as long as one below needs them. */
#include "raster/stage.h"
#include <math.h>
#include <string.h>

#define STRIP 16

typedef struct {
    iip_stage_t base;
    iip_budget *budget;
    int sharpen, alpha, radius;
    int64_t got, done;
    size_t row;         /* samples of a row */
    float *weight;      /* 2 radius + 1 */
    float *wide;        /* a row, its edge pixels repeated radius times on both sides */
    float *ring;        /* 2 radius + 1 rows, blurred sideways; row y at y modulo that */
    float *sum;         /* a row */
    unsigned char *own; /* radius + 1 rows as they came, row y at y modulo that */
    iip_raster in, strip;
    int64_t used; /* rows of in */
} blur_stage;

/* Colours times alpha, so that no invisible colour is seen. */
static void widen(const blur_stage *s, const unsigned char *px)
{
    const int bands = s->base.shape.bands, colours = bands - s->alpha;
    const int64_t w = s->base.shape.w;
    float *to = s->wide + (size_t)(s->radius * bands);

    for (int64_t x = 0; x < w; x++, px += bands, to += bands) {
        const float a = s->alpha ? (float)px[colours] / 255 : 1;

        for (int c = 0; c < colours; c++)
            to[c] = (float)px[c] * a;
        if (s->alpha)
            to[colours] = px[colours];
    }
    for (int i = 1; i <= s->radius; i++) {
        float *first = s->wide + (size_t)(s->radius * bands), *last = to - bands;

        memcpy(first - i * bands, first, (size_t)bands * sizeof *first);
        memcpy(last + i * bands, last, (size_t)bands * sizeof *last);
    }
}

IIP_HOT static void add_row(float *restrict sum, const float *restrict row, float weight, size_t n)
{
    for (size_t i = 0; i < n; i++)
        sum[i] += row[i] * weight;
}

static float *ring_row(const blur_stage *s, int64_t y)
{
    return s->ring + (size_t)(y % (2 * s->radius + 1)) * s->row;
}

static unsigned char *own_row(const blur_stage *s, int64_t y)
{
    return s->own + (size_t)(y % (s->radius + 1)) * s->row;
}

/* The next row of what is above, blurred sideways. */
static iip_status take_row(blur_stage *s, iip_error *e)
{
    const unsigned char *px;
    float *to = ring_row(s, s->got);
    iip_status rv;

    if (s->used == s->in.h) {
        s->used = 0;
        if ((rv = iip_budget_check(s->budget, e)) != IIP_OK ||
            (rv = s->base.up->next(s->base.up, STRIP, &s->in, e)) != IIP_OK)
            return rv;
        if (s->in.h == 0)
            return iip_fail(e, IIP_E_CORRUPT, 0, "rows end at %" APR_INT64_T_FMT, s->got);
    }
    px = s->in.px + (size_t)s->used * s->in.stride;
    widen(s, px);
    memset(to, 0, s->row * sizeof *to);
    for (int k = 0; k <= 2 * s->radius; k++)
        add_row(to, s->wide + (size_t)(k * s->base.shape.bands), s->weight[k], s->row);
    memcpy(own_row(s, s->got), px, s->row);
    s->used++;
    s->got++;
    return IIP_OK;
}

static unsigned char to_8(float v)
{
    return (unsigned char)(v > 0 ? v < 255 ? v + 0.5f : 255 : 0);
}

static void put_row(const blur_stage *s, const unsigned char *own, unsigned char *to)
{
    const int bands = s->base.shape.bands, colours = bands - s->alpha;
    const float *sum = s->sum;

    for (int64_t x = 0; x < s->base.shape.w; x++, sum += bands, own += bands, to += bands) {
        const float a = s->alpha ? sum[colours] : 255, by = a > 1e-3f ? 255 / a : 0;

        for (int c = 0; c < colours; c++)
            to[c] = !s->sharpen ? to_8(sum[c] * by) : by > 0 ? to_8(2 * (float)own[c] - sum[c] * by) : own[c];
        if (s->alpha)
            to[colours] = s->sharpen ? own[colours] : to_8(a);
    }
}

static iip_status blur_next(iip_stage_t *base, int64_t max_rows, iip_raster *out, iip_error *e)
{
    blur_stage *s = (blur_stage *)base;
    const int64_t h = base->shape.h, rows = max_rows < STRIP ? max_rows : STRIP;
    iip_status rv;

    *out = s->strip;
    for (out->h = 0; out->h < rows && s->done < h; out->h++, s->done++) {
        while (s->got < h && s->got <= s->done + s->radius)
            if ((rv = take_row(s, e)) != IIP_OK)
                return rv;
        memset(s->sum, 0, s->row * sizeof *s->sum);
        for (int k = -s->radius; k <= s->radius; k++) {
            const int64_t y = s->done + k;

            add_row(s->sum, ring_row(s, y < 0 ? 0 : y < h ? y : h - 1), s->weight[k + s->radius], s->row);
        }
        put_row(s, own_row(s, s->done), out->px + (size_t)out->h * out->stride);
    }
    return IIP_OK;
}

int iip_blur_radius(double sigma)
{
    const int r = (int)ceil(3 * sigma);

    return r > 1 ? r : 1;
}

static void set_weights(blur_stage *s, double sigma)
{
    double sum = 0;

    for (int k = -s->radius; k <= s->radius; k++)
        sum += exp(-k * k / (2 * sigma * sigma));
    for (int k = -s->radius; k <= s->radius; k++)
        s->weight[k + s->radius] = (float)(exp(-k * k / (2 * sigma * sigma)) / sum);
}

iip_stage_t *iip_stage_blur(iip_stage_t *up, double sigma, int sharpen, int alpha, iip_budget *b, apr_pool_t *p,
                            iip_error *e)
{
    blur_stage *s = iip_stage_new(sizeof *s, up, b, p, e);
    size_t n, taps;

    if (!s)
        return NULL;
    s->base.next = blur_next;
    s->budget = b;
    s->sharpen = sharpen;
    s->alpha = alpha != 0;
    s->radius = iip_blur_radius(sigma);
    s->row = (size_t)up->shape.w * (size_t)up->shape.bands;
    s->in.h = 0;
    taps = 2 * (size_t)s->radius + 1;
    s->strip = s->base.shape;
    s->strip.h = STRIP;
    n = s->row * sizeof(float);
    s->weight = iip_budget_alloc(b, taps * sizeof(float), p, e);
    s->wide = iip_budget_alloc(b, n + taps * (size_t)up->shape.bands * sizeof(float), p, e);
    s->ring = s->wide ? iip_budget_alloc(b, n * taps, p, e) : NULL;
    s->sum = s->ring ? iip_budget_alloc(b, n, p, e) : NULL;
    s->own = s->sum ? iip_budget_alloc(b, s->row * (size_t)(s->radius + 1), p, e) : NULL;
    if (!s->weight || !s->own || iip_stage_rows(&s->strip, b, p, e) != IIP_OK)
        return NULL;
    set_weights(s, sigma);
    return &s->base;
}
