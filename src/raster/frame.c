/* SPDX-License-Identifier: Apache-2.0
 * A picture on a larger ground, of a colour or transparent. */
#include "raster/stage.h"
#include <string.h>

#define STRIP 16

typedef struct {
    iip_stage_t base;
    int64_t left, top, done;
    unsigned char ground[4 * sizeof(double)]; /* a pixel of it */
    unsigned char full[sizeof(double)];       /* alpha of the picture's pixels, where they have none */
    iip_raster strip;
} frame_stage;

/* n pixels of the ground */
static void fill(const frame_stage *s, unsigned char *to, int64_t n)
{
    const size_t pixel = iip_pixel_size(&s->base.shape);

    for (; n > 0; n--, to += pixel)
        memcpy(to, s->ground, pixel);
}

static void put_row(const frame_stage *s, const iip_raster *in, const unsigned char *px, unsigned char *row)
{
    const size_t from = iip_pixel_size(in), pixel = iip_pixel_size(&s->base.shape);
    unsigned char *to = row + (size_t)s->left * pixel;

    fill(s, row, s->left);
    if (from == pixel)
        memcpy(to, px, (size_t)in->w * pixel);
    else
        for (int64_t x = 0; x < in->w; x++) {
            memcpy(to + (size_t)x * pixel, px + (size_t)x * from, from);
            memcpy(to + (size_t)x * pixel + from, s->full, pixel - from);
        }
    fill(s, to + (size_t)in->w * pixel, s->base.shape.w - s->left - in->w);
}

static iip_status frame_next(iip_stage_t *base, int64_t max_rows, iip_raster *out, iip_error *e)
{
    frame_stage *s = (frame_stage *)base;
    const int64_t below = s->top + base->up->shape.h;
    int64_t rows = max_rows < STRIP ? max_rows : STRIP;
    iip_status rv;

    *out = s->strip;
    if (s->done >= s->top && s->done < below) {
        iip_raster in;

        if ((rv = base->up->next(base->up, rows, &in, e)) != IIP_OK)
            return rv;
        if (in.h == 0)
            return iip_fail(e, IIP_E_CORRUPT, 0, "rows end at %" APR_INT64_T_FMT, s->done - s->top);
        for (int64_t y = 0; y < in.h; y++)
            put_row(s, &in, in.px + (size_t)y * in.stride, out->px + (size_t)y * out->stride);
        out->h = in.h;
    } else {
        const int64_t end = s->done < s->top ? s->top : base->shape.h;

        out->h = end - s->done < rows ? end - s->done : rows;
        for (int64_t y = 0; y < out->h; y++)
            fill(s, out->px + (size_t)y * out->stride, out->w);
    }
    s->done += out->h;
    return IIP_OK;
}

/* 0..255 in each kind of sample */
static void put_sample(iip_sample kind, int v, unsigned char *to)
{
    const uint16_t wide = (uint16_t)(v * 257);
    const uint32_t wider = (uint32_t)v * 16843009u;
    const float real = (float)v / 255;

    if (kind == IIP_U8)
        *to = (unsigned char)v;
    else if (kind == IIP_U16)
        memcpy(to, &wide, sizeof wide);
    else if (kind == IIP_U32)
        memcpy(to, &wider, sizeof wider);
    else
        memcpy(to, &real, sizeof real);
}

iip_stage_t *iip_stage_frame(iip_stage_t *up, const iip_rect *frame, int rgb, int alpha, iip_budget *b, apr_pool_t *p,
                             iip_error *e)
{
    frame_stage *s = iip_stage_new(sizeof *s, up, b, p, e);
    const iip_sample kind = up->shape.sample;
    const size_t one = iip_sample_size(kind);
    const int colours = up->shape.bands - (alpha != 0);
    unsigned char px[3] = {(unsigned char)(rgb >> 16), (unsigned char)(rgb >> 8), (unsigned char)rgb};

    if (!s)
        return NULL;
    s->base.next = frame_next;
    s->base.shape.w = frame->w;
    s->base.shape.h = frame->h;
    s->base.shape.bands = colours + (alpha || rgb < 0);
    s->left = frame->x;
    s->top = frame->y;
    if (colours == 1) /* a grey picture stays grey */
        px[0] = iip_luma(px);
    for (int c = 0; c < colours; c++)
        put_sample(kind, rgb < 0 ? 0 : px[c], s->ground + (size_t)c * one);
    put_sample(kind, rgb < 0 ? 0 : 255, s->ground + (size_t)colours * one);
    put_sample(kind, 255, s->full);
    s->strip = s->base.shape;
    s->strip.h = STRIP;
    return iip_stage_rows(&s->strip, b, p, e) == IIP_OK ? &s->base : NULL;
}
