/* SPDX-License-Identifier: Apache-2.0
 * A mark added to the pixels of an answer (spec/iip.md 6.5), once in each block, or not. Where it lies and whether it
 * is there are drawn from a seed: the same answer is marked the same for ever. */
#include "raster/stage.h"

typedef struct {
    iip_stage_t base;
    iip_stamp stamp;
    uint32_t share; /* of the mark's alpha, 0..256 */
    int alpha;
    int64_t done;
} mark_stage;

/* A number for a block, the n-th of its own (splitmix64, S. Vigna, in the public domain). */
static uint64_t draw(const mark_stage *s, int64_t column, int64_t row, unsigned n)
{
    uint64_t z = s->stamp.seed + UINT64_C(0x9e3779b97f4a7c15) * (uint64_t)(((row << 32) + column) * 4 + n + 1);

    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

static int64_t min64(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* Where a mark of `length` begins in a block; a block too short for it shows its beginning. */
static int64_t place(uint64_t drawn, int64_t block, int64_t length)
{
    return length < block ? (int64_t)(drawn % (uint64_t)(block - length + 1)) : 0;
}

IIP_HOT static void add(unsigned char *restrict px, const unsigned char *restrict mark, size_t n, size_t bands,
                        size_t colours, uint32_t share)
{
    for (size_t i = 0; i < n; i++, px += bands, mark += 4)
        for (size_t c = 0; c < colours; c++) {
            const uint32_t v = colours == 1 ? iip_luma(mark) : mark[c];
            const uint32_t sum = px[c] + (v * mark[3] * share + 128 * 255) / (256 * 255);

            px[c] = (unsigned char)(sum < 255 ? sum : 255);
        }
}

static void mark_row(const mark_stage *s, unsigned char *px, int64_t y)
{
    const iip_raster *m = s->stamp.mark, *all = &s->base.shape;
    const int64_t bw = s->stamp.block_w, bh = s->stamp.block_h, row = y / bh, top = row * bh;
    const size_t bands = (size_t)all->bands;

    for (int64_t column = 0, left = 0; left < all->w; column++, left += bw) {
        const int64_t w = min64(bw, all->w - left), h = min64(bh, all->h - top);
        const int64_t x = left + place(draw(s, column, row, 1), w, m->w);
        const int64_t at = y - top - place(draw(s, column, row, 2), h, m->h);

        if (at >= 0 && at < m->h && (double)(draw(s, column, row, 0) >> 11) * 0x1p-53 < s->stamp.chance)
            add(px + (size_t)x * bands, m->px + (size_t)at * m->stride, (size_t)min64(m->w, left + w - x), bands,
                bands - (size_t)s->alpha, s->share);
    }
}

static iip_status mark_next(iip_stage_t *base, int64_t max_rows, iip_raster *out, iip_error *e)
{
    mark_stage *s = (mark_stage *)base;
    iip_status rv = base->up->next(base->up, max_rows, out, e);

    for (int64_t y = 0; rv == IIP_OK && y < out->h; y++)
        mark_row(s, out->px + (size_t)y * out->stride, s->done++);
    return rv;
}

iip_stage_t *iip_stage_watermark(iip_stage_t *up, const iip_stamp *stamp, int alpha, iip_budget *b, apr_pool_t *p,
                                 iip_error *e)
{
    mark_stage *s = iip_stage_new(sizeof *s, up, b, p, e);

    if (!s)
        return NULL;
    s->base.next = mark_next;
    s->stamp = *stamp;
    s->share = (uint32_t)(stamp->opacity * 256 + 0.5);
    s->alpha = alpha != 0;
    return &s->base;
}
