/* SPDX-License-Identifier: Apache-2.0
 * Operations on the values of scaled rows: one row of a table each. In place; none makes a picture larger. */
#include "raster/stage.h"
#include <string.h>

/* n pixels of colours bands plus alpha, to n pixels of the operation's bands plus alpha at out, which overlaps nothing.
 */
typedef void op_fn(const iip_op *op, const void *in, void *out, size_t n, int colours, int alpha);

typedef struct {
    iip_stage_t base;
    const iip_op *op;
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
    IIP_HOT static void name(const iip_op *op, const void *in, void *out, size_t n, int colours, int alpha)            \
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

IIP_HOT static void bitonal_u8(const iip_op *op, const void *in, void *restrict out, size_t n, int colours, int alpha)
{
    unsigned char *restrict to = out;

    grey_u8(op, in, out, n, colours, alpha);
    if (alpha)
        for (size_t i = 0; i < n; i++)
            to[2 * i] = to[2 * i] >= 128 ? 255 : 0;
    else
        for (size_t i = 0; i < n; i++)
            to[i] = to[i] >= 128 ? 255 : 0;
}

/* What iip_request_sample() never asks for is NULL. */
static const struct {
    op_fn *run[IIP_F32 + 1];
    int colours; /* of the result */
} ops[IIP_OP_COUNT] = {
    [IIP_OP_GRAY] = {{[IIP_U8] = grey_u8, [IIP_U16] = grey_u16, [IIP_U32] = grey_u32, [IIP_F32] = grey_f32}, 1},
    [IIP_OP_BITONAL] = {{[IIP_U8] = bitonal_u8}, 1},
};

static void op_pixels(const iip_stage_t *base, const unsigned char *in, unsigned char *out, size_t n)
{
    const op_stage *s = (const op_stage *)base;

    s->run(s->op, in, out, n, s->colours, s->alpha);
}

static iip_status op_next(iip_stage_t *base, int64_t max_rows, iip_raster *out, iip_error *e)
{
    return iip_stage_narrow(base, op_pixels, (int)iip_pixel_size(&base->shape), max_rows, out, e);
}

iip_stage_t *iip_stage_op(iip_stage_t *up, const iip_op *op, int alpha, iip_budget *b, apr_pool_t *p, iip_error *e)
{
    op_stage *s = iip_stage_new(sizeof *s, up, b, p, e);

    if (!s)
        return NULL;
    s->base.next = op_next;
    s->op = op;
    s->run = ops[op->kind].run[up->shape.sample];
    s->alpha = alpha != 0;
    s->colours = up->shape.bands - s->alpha;
    s->base.shape.bands = ops[op->kind].colours + s->alpha;
    return &s->base;
}
