/* SPDX-License-Identifier: Apache-2.0
 * The chain of operations on floats, from a picture's own samples, or RGB made of them, to 8 bits. */
#include "raster/process.h"
#include <math.h>

/* What samples of a kind can be; a float is 0..1 if nothing else is known. */
static void natural(iip_sample sample, double *lo, double *hi)
{
    const int is_real = sample == IIP_F32 || sample == IIP_F64, is_signed = sample == IIP_S16 || sample == IIP_S32;
    const int bits = 8 * (int)iip_sample_size(sample);

    *lo = is_signed ? -ldexp(1, bits - 1) : 0;
    *hi = is_real ? 1 : ldexp(1, bits - is_signed) - 1;
}

static int stored_bits(const iip_info *info, iip_sample sample)
{
    const int bits = 8 * (int)iip_sample_size(sample);

    return info->bits > 0 && info->bits < 32 ? info->bits : bits;
}

/* Readers widen depths that no sample has: how many steps of the sample one stored step is. */
static double widened(const iip_info *info, iip_sample sample)
{
    const int bits = 8 * (int)iip_sample_size(sample);

    if (sample == IIP_F32 || sample == IIP_F64)
        return 1;
    return (ldexp(1, bits) - 1) / (ldexp(1, stored_bits(info, sample)) - 1);
}

/* A number as stored, as the sample has it: both begin at the least there is. */
static double delivered(const iip_info *info, iip_sample sample, double v)
{
    double lo, hi;

    natural(sample, &lo, &hi);
    return lo < 0 ? (v + ldexp(1, stored_bits(info, sample) - 1)) * widened(info, sample) + lo
                  : v * widened(info, sample);
}

void iip_band_range(const iip_info *info, iip_sample sample, int own, int i, double *lo, double *hi)
{
    natural(sample, lo, hi);
    if (own && info->min) {
        *lo = info->min[i];
        *hi = info->max[i];
    }
}

void iip_band_set(iip_band *band, double lo, double hi)
{
    band->low = lo;
    band->factor = fabs(hi - lo) <= 1e-30 ? 1e30 : 1 / (hi - lo);
}

/* The range of band i: the file's (6.3), then what the request says of it. */
static void asked_range(const iip_request *rq, const iip_info *info, iip_sample sample, int own, int i,
                        const iip_histogram *h, iip_band *band)
{
    const iip_op *op = iip_op_find(rq, IIP_OP_MINMAX);
    double lo, hi;

    if (h && iip_op_find(rq, IIP_OP_STRETCH)) {
        double from, to;

        iip_band_range(info, sample, own && sample != IIP_U8, i, &from, &to); /* as it was counted */
        lo = from + h->first * (to - from) / 255;
        hi = from + h->last * (to - from) / 255;
    } else {
        iip_band_range(info, sample, own, i, &lo, &hi);
        for (int k = 0; op && k < op->argc; k += 3)
            if (op->arg[k] < 0 || op->arg[k] == (float)i) {
                lo = delivered(info, sample, op->arg[k + 1]);
                hi = delivered(info, sample, op->arg[k + 2]);
            }
    }
    iip_band_set(band, lo, hi);
}

/* How many of the bands that there are take part. */
static int bands_used(const iip_request *rq, const iip_info *info, int there)
{
    const iip_op *twist = iip_op_find(rq, IIP_OP_TWIST);

    if (iip_op_find(rq, IIP_OP_SHADE))
        return there < 3 ? 1 : 3;
    if (twist)
        return there < (int)twist->arg[1] ? there : (int)twist->arg[1];
    return there < 3 || info->space == IIP_GREY || iip_op_find(rq, IIP_OP_CMAP) ? 1 : 3;
}

static iip_stage_t *step(iip_stage_t *s, const iip_op *op, const iip_request *rq, const iip_info *info, int alpha,
                         iip_budget *b, apr_pool_t *p, iip_error *e)
{
    const iip_level *l = &info->level[rq->level];

    switch (op->kind) {
    case IIP_OP_SHADE:
        if (s->shape.bands - alpha == 1)
            return iip_stage_relief(s, op, (double)iip_info_w(info) / (double)l->w,
                                    (double)iip_info_h(info) / (double)l->h, alpha, b, p, e);
        return iip_stage_shade(s, op, alpha, b, p, e);
    case IIP_OP_TWIST:
        return iip_stage_twist(s, op, alpha, b, p, e);
    case IIP_OP_GAMMA:
    case IIP_OP_LOG:
    case IIP_OP_INVERT:
        return iip_stage_curve(s, op, alpha, b, p, e);
    case IIP_OP_CMAP:
        return iip_stage_cmap(s, op, alpha, b, p, e);
    case IIP_OP_CONVOLVE:
        return iip_stage_convolve(s, op, alpha, b, p, e);
    }
    return s; /* ranges are in the first stage, contrast in the last */
}

iip_stage_t *iip_stage_process(iip_stage_t *up, const iip_request *rq, const iip_info *info, int own,
                               const iip_histogram *h, int alpha, iip_budget *b, apr_pool_t *p, iip_error *e)
{
    const int there = up->shape.bands - alpha, used = bands_used(rq, info, there);
    const int heights = there == 1 && iip_op_find(rq, IIP_OP_SHADE);
    const iip_sample sample = up->shape.sample;
    const iip_op *contrast = iip_op_find(rq, IIP_OP_CONTRAST);
    iip_band *band = iip_budget_alloc(b, (size_t)used * sizeof *band, p, e);
    iip_stage_t *s = NULL;

    for (int i = 0; band && i < used; i++)
        asked_range(rq, info, sample, own, i, h, &band[i]);
    if (band && heights)
        band[0] = (iip_band){0, 1 / widened(info, sample)}; /* as stored */
    if (band)
        s = iip_stage_float(up, band, used, alpha, heights, b, p, e);
    for (int i = 0; s && i < rq->op_count; i++)
        s = step(s, &rq->op[i], rq, info, alpha, b, p, e);
    return s ? iip_stage_quantise(s, contrast ? contrast->arg[0] : 1, alpha, b, p, e) : NULL;
}
