/* SPDX-License-Identifier: Apache-2.0
 * Operations on the values of scaled 8-bit rows: one row of a table each. In place; none makes a picture larger. */
#include "raster/stage.h"
#include <string.h>

/* n pixels of colours bands plus alpha, to n pixels of the operation's bands plus alpha at out, which overlaps nothing.
 */
typedef void op_fn(const iip_op *op, const unsigned char *restrict in, unsigned char *restrict out, size_t n,
                   int colours, int alpha);

typedef struct {
    iip_stage_t base;
    const iip_op *op;
    op_fn *run;
    int colours, alpha; /* what comes in */
} op_stage;

#define GREY_LOOP(COLOURS, ALPHA)                                                                                      \
    for (size_t i = 0; i < n; i++) {                                                                                   \
        const unsigned char *px = in + i * ((COLOURS) + (ALPHA));                                                      \
                                                                                                                       \
        out[i * (1 + (ALPHA))] = (COLOURS) == 3 ? iip_luma(px) : px[0];                                                \
        if (ALPHA)                                                                                                     \
            out[i * (1 + (ALPHA)) + 1] = px[COLOURS];                                                                  \
    }

IIP_HOT static void op_gray(const iip_op *op, const unsigned char *restrict in, unsigned char *restrict out, size_t n,
                            int colours, int alpha)
{
    if (colours == 3 && alpha)
        GREY_LOOP(3, 1)
    else if (colours == 3)
        GREY_LOOP(3, 0)
    else
        memcpy(out, in, n * (size_t)(colours + alpha));
}

IIP_HOT static void op_bitonal(const iip_op *op, const unsigned char *restrict in, unsigned char *restrict out,
                               size_t n, int colours, int alpha)
{
    op_gray(op, in, out, n, colours, alpha);
    if (alpha)
        for (size_t i = 0; i < n; i++)
            out[2 * i] = out[2 * i] >= 128 ? 255 : 0;
    else
        for (size_t i = 0; i < n; i++)
            out[i] = out[i] >= 128 ? 255 : 0;
}

static const struct {
    op_fn *run;
    int colours; /* of the result */
} ops[IIP_OP_COUNT] = {
    [IIP_OP_GRAY] = {op_gray, 1},
    [IIP_OP_BITONAL] = {op_bitonal, 1},
};

static void op_pixels(const iip_stage_t *base, const unsigned char *in, unsigned char *out, size_t n)
{
    const op_stage *s = (const op_stage *)base;

    s->run(s->op, in, out, n, s->colours, s->alpha);
}

static iip_status op_next(iip_stage_t *base, int64_t max_rows, iip_raster *out, iip_error *e)
{
    return iip_stage_narrow(base, op_pixels, base->shape.bands, max_rows, out, e);
}

iip_stage_t *iip_stage_op(iip_stage_t *up, const iip_op *op, int alpha, iip_budget *b, apr_pool_t *p, iip_error *e)
{
    op_stage *s = iip_stage_new(sizeof *s, up, b, p, e);

    if (!s)
        return NULL;
    s->base.next = op_next;
    s->op = op;
    s->run = ops[op->kind].run;
    s->alpha = alpha != 0;
    s->colours = up->shape.bands - s->alpha;
    s->base.shape.bands = ops[op->kind].colours + s->alpha;
    return &s->base;
}
