/* SPDX-License-Identifier: Apache-2.0
 * Depth and colours of an answer (spec/iiif.md R30, R32; spec/iip.md 9, "Metadata"). */
#include "request.h"
#include "settings.h"

#ifdef IIP_HAVE_LCMS2
enum { CAN_CONVERT = 1 };
#else
enum { CAN_CONVERT = 0 };
#endif

/* 1 if the format takes this kind of sample and it may be kept. Every format that is deep has alpha too. */
static int takes(const iip_request *rq, iip_sample s)
{
    const iip_encoder *enc = iip_encoder_find(rq->format);

    return enc && enc->alpha && rq->set->keep_depth && enc->samples & 1u << s;
}

/* Operations with a result of 8 bits: all but grey. */
static int in_8_bits(const iip_request *rq)
{
    for (int i = 0; i < rq->op_count; i++)
        if (rq->op[i].kind != IIP_OP_GRAY)
            return 1;
    return 0;
}

/* Operations that make colours, or greys, of another space (spec/iip.md 9, "Metadata"). */
static int leaves_space(const iip_request *rq)
{
    static const char leaves[IIP_OP_COUNT] = {[IIP_OP_SHADE] = 1, [IIP_OP_TWIST] = 1,   [IIP_OP_CMAP] = 1,
                                              [IIP_OP_GRAY] = 1,  [IIP_OP_BITONAL] = 1, [IIP_OP_BINARY] = 1};

    for (int i = 0; i < rq->op_count; i++)
        if (leaves[rq->op[i].kind])
            return 1;
    return 0;
}

iip_icc_use iip_request_icc(const iip_request *rq, const iip_info *info)
{
    const iip_encoder *enc = iip_encoder_find(rq->format);
    const int real = info->sample == IIP_F32 || info->sample == IIP_F64;
    const int64_t most = iip_lower_value(&rq->set->max_icc).a;
    const int fits = (most == 0 || (int64_t)info->icc_len <= most) && !(enc && enc->no_icc);

    if (info->icc_kind != IIP_ICC_OTHER)
        return IIP_ICC_DROP;
    if (info->space == IIP_CMYK)
        return IIP_ICC_CONVERT; /* no browser shows inks */
    /* Grey is the grey of the values as they lie, and a profile describes those: after it nothing is left to do. */
    if (leaves_space(rq))
        return IIP_ICC_DROP;
    /* Ranges and curves of floats are the client's way to show them */
    if (real && iip_request_floats(rq, info))
        return IIP_ICC_DROP;
    /* Floats are mostly linear light, for which 8 bits are too few */
    if (CAN_CONVERT && real && !takes(rq, IIP_F32))
        return IIP_ICC_CONVERT;
    if (rq->set->profile == IIP_PROFILE_STRIP)
        return IIP_ICC_DROP;
    if (fits && (rq->set->profile == IIP_PROFILE_EMBED || !CAN_CONVERT))
        return IIP_ICC_SEND;
    return CAN_CONVERT ? IIP_ICC_CONVERT : IIP_ICC_DROP;
}

iip_sample iip_request_sample(const iip_request *rq, const iip_info *info)
{
    static const iip_sample kept[] = {
        [IIP_U8] = IIP_U8,   [IIP_U16] = IIP_U16, [IIP_U32] = IIP_U32, [IIP_S16] = IIP_U16,
        [IIP_S32] = IIP_U32, [IIP_F32] = IIP_F32, [IIP_F64] = IIP_F32};
    iip_sample s = kept[info->sample];

    if (s == IIP_U8 || rq->watermark || rq->ground || in_8_bits(rq))
        return IIP_U8;
    if (info->space == IIP_LAB || info->space == IIP_CMYK || iip_request_icc(rq, info) == IIP_ICC_CONVERT ||
        !takes(rq, s))
        s = IIP_U16;
    return takes(rq, s) ? s : IIP_U8;
}

/* Where it takes more rows than these to make one, too many would be held for the chroma planes; and decoding is all
 * that costs. */
#define MOST_SHRINK 32

int iip_request_planes(const iip_request *rq, const iip_info *info)
{
    const iip_encoder *enc = iip_encoder_find(rq->format);
    iip_window win;

    if (!info->ycc)
        return 0;
    iip_request_window(rq, info, &win);
    return info->orientation <= 1 && rq->level < info->virtual_from && enc && enc->plane && rq->quality < enc->planes &&
           rq->op_count == 0 && !rq->flip && rq->rotate == 0 && !rq->frame.w && !rq->watermark &&
           rq->set->interpolation != IIP_INTERPOLATE_NEAREST && iip_request_icc(rq, info) != IIP_ICC_CONVERT &&
           win.h <= MOST_SHRINK * (double)rq->out_h;
}
