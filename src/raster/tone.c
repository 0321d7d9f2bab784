/* SPDX-License-Identifier: Apache-2.0
 * Operations on the values of scaled rows: one row of a table each. In place; none makes a picture larger. Those
 * on the values before are in process.c. */
#include "raster/stage.h"
#include <string.h>

/* n pixels of colours bands plus alpha, to n pixels of the operation's bands plus alpha at out, which overlaps nothing.
 */
typedef void op_fn(const iip_histogram *h, const void *in, void *out, size_t n, int colours, int alpha);

typedef struct {
    iip_stage_t base;
    const iip_histogram *histogram;
    op_fn *run;
    int colours, alpha; /* what comes in */
} op_stage;

#define GREY_LOOP(T, LUMA, COLOURS, ALPHA)                                                                             \
    for (size_t i = 0; i < n; i++) {                                                                                   \
        const T *px = from + i * ((COLOURS) + (ALPHA));                                                                \
                                                                                                                       \
        to[i * (1 + (ALPHA))] = (COLOURS) == 3 ? LUMA(px) : px[0];                                                     \
        if (ALPHA)                                                                                                     \
            to[i * (1 + (ALPHA)) + 1] = px[COLOURS];                                                                   \
    }

#define GREY(name, T, LUMA)                                                                                            \
    IIP_HOT static void name(const iip_histogram *h, const void *in, void *out, size_t n, int colours, int alpha)      \
    {                                                                                                                  \
        const T *restrict from = in;                                                                                   \
        T *restrict to = out;                                                                                          \
                                                                                                                       \
        if (colours == 3 && alpha)                                                                                     \
            GREY_LOOP(T, LUMA, 3, 1)                                                                                   \
        else if (colours == 3)                                                                                         \
            GREY_LOOP(T, LUMA, 3, 0)                                                                                   \
        else                                                                                                           \
            memcpy(to, from, n *(size_t)(colours + alpha) * sizeof *to);                                               \
    }
/* The same weights for each kind of sample */
#define LUMA_WIDE(px)  ((1254097 * (uint64_t)(px)[0] + 2462056 * (uint64_t)(px)[1] + 478151 * (uint64_t)(px)[2]) >> 22)
#define LUMA_16(px)    (uint16_t) LUMA_WIDE(px)
#define LUMA_32(px)    (uint32_t) LUMA_WIDE(px)
#define LUMA_FLOAT(px) (0.299f * (px)[0] + 0.587f * (px)[1] + 0.114f * (px)[2])
GREY(grey_u8, unsigned char, iip_luma)
GREY(grey_u16, uint16_t, LUMA_16)
GREY(grey_u32, uint32_t, LUMA_32)
GREY(grey_f32, float, LUMA_FLOAT)

IIP_HOT static void halve(unsigned char *restrict to, size_t n, int alpha, int threshold)
{
    if (alpha)
        for (size_t i = 0; i < n; i++)
            to[2 * i] = to[2 * i] >= threshold ? 255 : 0;
    else
        for (size_t i = 0; i < n; i++)
            to[i] = to[i] >= threshold ? 255 : 0;
}

static void bitonal_u8(const iip_histogram *h, const void *in, void *out, size_t n, int colours, int alpha)
{
    grey_u8(h, in, out, n, colours, alpha);
    halve(out, n, alpha, 128);
}

static void binary_u8(const iip_histogram *h, const void *in, void *out, size_t n, int colours, int alpha)
{
    grey_u8(h, in, out, n, colours, alpha);
    halve(out, n, alpha, h->threshold);
}

static void equalize_u8(const iip_histogram *h, const void *in, void *out, size_t n, int colours, int alpha)
{
    const unsigned char *restrict from = in;
    unsigned char *restrict to = out;
    const size_t bands = (size_t)(colours + alpha), all = n * bands;

    for (size_t i = 0; i < all; i++)
        to[i] = h->equal[from[i]];
    for (size_t i = bands - 1; alpha && i < all; i += bands)
        to[i] = from[i];
}

/* What iip_request_sample() never asks for is NULL. */
static const struct {
    op_fn *run[IIP_F32 + 1];
    int colours; /* of the result, 0 = as many as came */
} ops[IIP_OP_COUNT] = {
    [IIP_OP_GRAY] = {{[IIP_U8] = grey_u8, [IIP_U16] = grey_u16, [IIP_U32] = grey_u32, [IIP_F32] = grey_f32}, 1},
    [IIP_OP_BITONAL] = {{[IIP_U8] = bitonal_u8}, 1},
    [IIP_OP_BINARY] = {{[IIP_U8] = binary_u8}, 1},
    [IIP_OP_EQUALIZE] = {{[IIP_U8] = equalize_u8}, 0},
};

static void op_pixels(const iip_stage_t *base, const unsigned char *in, unsigned char *out, size_t n)
{
    const op_stage *s = (const op_stage *)base;

    s->run(s->histogram, in, out, n, s->colours, s->alpha);
}

static iip_status op_next(iip_stage_t *base, int64_t max_rows, iip_raster *out, iip_error *e)
{
    return iip_stage_narrow(base, op_pixels, (int)iip_pixel_size(&base->shape), max_rows, out, e);
}

iip_stage_t *iip_stage_op(iip_stage_t *up, const iip_op *op, const iip_histogram *h, int alpha, iip_budget *b,
                          apr_pool_t *p, iip_error *e)
{
    op_stage *s = iip_stage_new(sizeof *s, up, b, p, e);

    if (!s)
        return NULL;
    s->base.next = op_next;
    s->histogram = h;
    s->run = ops[op->kind].run[up->shape.sample];
    s->alpha = alpha != 0;
    s->colours = up->shape.bands - s->alpha;
    if (ops[op->kind].colours)
        s->base.shape.bands = ops[op->kind].colours + s->alpha;
    return &s->base;
}
