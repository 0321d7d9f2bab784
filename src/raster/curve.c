/* SPDX-License-Identifier: Apache-2.0
 * Curves that each value goes through by itself: gamma, log, invert. Logarithms and powers of two are sums of their
 * series, which a compiler can vectorise and which are the same on all machines; both are within some units of the last
 * place, and exact at 1. */
#include "raster/process.h"
#include <float.h>
#include <string.h>

enum { RUN = 64 };

typedef struct {
    iip_stage_t base;
    const iip_op *op;
    int alpha;
} curve_stage;

/* log2(v) of a positive, normal v: v = m * 2^k with m near 1, and ln(m) = 2 artanh((m - 1) / (m + 1)). */
static inline float log_2(float v)
{
    uint32_t bits, whole;
    float m, t, t2, k;

    memcpy(&bits, &v, sizeof bits);
    whole = bits - 0x3f3504f3u; /* m is from sqrt(1/2) on */
    k = (float)((int32_t)whole >> 23);
    bits = (whole & 0x007fffffu) + 0x3f3504f3u;
    memcpy(&m, &bits, sizeof m);
    t = (m - 1) / (m + 1);
    t2 = t * t;
    return k + t * (2.88539008f + t2 * (0.961796694f + t2 * (0.577078016f + t2 * (0.412198583f + t2 * 0.320598898f))));
}

/* 2^y, y cut to what a float can hold. */
static inline float exp_2(float y)
{
    int32_t k;
    uint32_t bits;
    float f, scale;

    y = y > -126 ? y : -126;
    y = y < 127 ? y : 127;
    k = (int32_t)(y + 127.5f) - 127; /* the nearest whole number */
    f = (y - (float)k) * 0.693147181f;
    bits = (uint32_t)(k + 127) << 23;
    memcpy(&scale, &bits, sizeof scale);
    return scale *
           (1 + f * (1 + f * (0.5f + f * (0.166666667f +
                                          f * (0.0416666667f +
                                               f * (0.00833333333f + f * (0.00138888889f + f * 0.000198412698f)))))));
}

IIP_HOT static void gamma_run(float *restrict v, size_t n, float g, float at_zero)
{
    for (size_t i = 0; i < n; i++) {
        float x = v[i] > FLT_MIN ? v[i] : FLT_MIN;
        float y = exp_2(g * log_2(x));

        v[i] = v[i] > FLT_MIN ? y : at_zero;
    }
}

IIP_HOT static void log_run(float *restrict v, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        v[i] = log_2(1 + 255 * (v[i] > 0 ? v[i] : 0)) * 0.125f;
    }
}

IIP_HOT static void invert_run(float *restrict v, size_t n)
{
    for (size_t i = 0; i < n; i++)
        v[i] = 1 - v[i];
}

void iip_curve_gamma(float *v, size_t n, float g)
{
    gamma_run(v, n, g, g > 0 ? 0 : g < 0 ? FLT_MAX : 1);
}

void iip_curve_log(float *v, size_t n)
{
    log_run(v, n);
}

static void curve(const iip_op *op, float *v, size_t n)
{
    if (op->kind == IIP_OP_GAMMA)
        iip_curve_gamma(v, n, op->arg[0]);
    else if (op->kind == IIP_OP_LOG)
        iip_curve_log(v, n);
    else
        invert_run(v, n);
}

/* Alpha goes through with the colours and is put back: a run without gaps is what vectors want. */
static void curve_with_alpha(const iip_op *op, float *v, size_t pixels, size_t bands)
{
    float alpha[RUN];

    for (size_t at = 0; at < pixels; at += RUN, v += RUN * bands) {
        size_t n = pixels - at < RUN ? pixels - at : RUN;

        for (size_t i = 0; i < n; i++)
            alpha[i] = v[i * bands + bands - 1];
        curve(op, v, n * bands);
        for (size_t i = 0; i < n; i++)
            v[i * bands + bands - 1] = alpha[i];
    }
}

static iip_status curve_next(iip_stage_t *base, int64_t max_rows, iip_raster *out, iip_error *e)
{
    const curve_stage *s = (curve_stage *)base;
    iip_status rv = base->up->next(base->up, max_rows, out, e);

    for (int64_t y = 0; rv == IIP_OK && y < out->h; y++) {
        float *row = (float *)(void *)(out->px + (size_t)y * out->stride);

        if (s->alpha)
            curve_with_alpha(s->op, row, (size_t)out->w, (size_t)out->bands);
        else
            curve(s->op, row, (size_t)out->w * (size_t)out->bands);
    }
    return rv;
}

iip_stage_t *iip_stage_curve(iip_stage_t *up, const iip_op *op, int alpha, iip_budget *b, apr_pool_t *p, iip_error *e)
{
    curve_stage *s = iip_stage_new(sizeof *s, up, b, p, e);

    if (!s)
        return NULL;
    s->base.next = curve_next;
    s->op = op;
    s->alpha = alpha;
    return &s->base;
}
