/* SPDX-License-Identifier: Apache-2.0
 * What a resolved request will cost, known before any work (architecture section 4, "Memory"). */
#include "ops.h"
#include "raster/process.h"
#include <math.h>

/* Rows that stages hold besides a strip: lines of a filter, of a codec, of a turned canvas. */
#define ROWS_HELD   16
#define ROWS_ACROSS 5 /* and of the window besides, while it is shrunk sideways */

#define MUCH INT64_MAX

/* Products and sums that stay at MUCH once they are there. */
static int64_t times(int64_t a, int64_t b)
{
    int64_t n;

    return __builtin_mul_overflow(a, b, &n) ? MUCH : n;
}

static int64_t plus(int64_t a, int64_t b)
{
    int64_t n;

    return __builtin_add_overflow(a, b, &n) ? MUCH : n;
}

/* Length of the cells that meet [pos, pos + n), inside the level. */
static int64_t cells_axis(int64_t pos, int64_t n, int64_t cell, int64_t stored)
{
    int64_t to = plus(times((pos + n - 1) / cell, cell), cell);

    return (to < stored ? to : stored) - pos / cell * cell;
}

int64_t iip_request_pixels(const iip_request *rq, const iip_info *info)
{
    const iip_level *l = &info->level[rq->level];
    iip_rect c = iip_request_cover(rq, info);

    return times(cells_axis(c.x, c.w, l->tile_w, l->w), cells_axis(c.y, c.h, l->tile_h, l->h));
}

/* Strips, and the rows around one, of the stages on floats of a picture w wide. */
static int64_t floats(const iip_request *rq, const iip_info *info, int64_t w)
{
    const iip_op *twist = iip_op_find(rq, IIP_OP_TWIST);
    const int64_t strips = 7, around = 2 * (2 * IIP_NEAR_MOST + 1) + 1;
    int64_t bands = 3;

    if (twist)
        bands = twist->arg[0] > 3 ? (int64_t)twist->arg[0] : 3;
    if (twist && twist->arg[1] > (float)bands)
        bands = info->bands < (int)twist->arg[1] && info->bands > bands ? info->bands : (int64_t)twist->arg[1];
    return plus(strips * IIP_MAP_BYTES, times(times(w, strips + around), (bands + 1) * (int64_t)sizeof(float)));
}

/* Counting the histogram, which is done before the answer is begun: a row of cells of the smallest level, as it lies
 * and as floats. */
static int64_t counting(const iip_info *info)
{
    const int level = info->levels - 1;
    const iip_level *l = &info->level[level];
    const int64_t sample = (int64_t)iip_sample_size(info->sample) * info->bands;
    int64_t rows = iip_strip_rows(info, level, l->w), sum;

    rows = rows < l->h ? rows : l->h;
    sum = plus(times(times(l->w, rows), sample), times(times(l->tile_w, l->tile_h), sample));
    sum = plus(sum, plus(2 * IIP_MAP_BYTES, times(l->w, 2 * (int64_t)sizeof(float) * info->bands)));
    return plus(sum, (int64_t)(info->level_hold[level] < MUCH ? info->level_hold[level] : MUCH));
}

/* Rows that blurring keeps, as floats and as they came. */
static int64_t blurring(const iip_request *rq, int64_t bands)
{
    static const iip_op_kind kinds[] = {IIP_OP_BLUR, IIP_OP_SHARPEN};
    int64_t sum = 0, w, h;

    iip_rotate_canvas(rq->out_w, rq->out_h, rq->rotate, &w, &h);
    w = w > rq->out_w ? w : rq->out_w; /* turned by any angle, it is blurred after that */
    for (int i = 0; i < 2; i++) {
        const iip_op *op = iip_op_find(rq, kinds[i]);
        const int r = op ? iip_blur_radius((double)op->arg[0]) : 0;

        if (op)
            sum = plus(sum, times(times(w, bands), (2 * r + 4) * (int64_t)sizeof(float) + r + ROWS_HELD));
    }
    return sum;
}

int64_t iip_request_memory(const iip_request *rq, const iip_info *info)
{
    const iip_level *l = &info->level[rq->level];
    const iip_encoder *enc = iip_encoder_find(rq->format);
    const int64_t sample = (int64_t)iip_sample_size(info->sample) * info->bands;
    const int quarter = fmod(rq->rotate, 90) == 0;
    const int grey = info->space == IIP_GREY && !iip_op_find(rq, IIP_OP_CMAP) && !iip_op_find(rq, IIP_OP_TWIST);
    const int64_t bands = ((grey ? 1 : 3) + (info->alpha || !quarter || (rq->frame.w && !rq->ground))) *
                          (int64_t)iip_sample_size(iip_request_sample(rq, info)); /* bytes of them */
    iip_rect c = iip_request_cover(rq, info);
    int64_t rows, w, h, sum, answer;

    /* The strip is as tall as a row of cells; of a picture that lies on its side these are columns as tall as itself.
     */
    rows = iip_strip_rows(info, rq->level, c.w);
    rows = rows < c.h ? rows : c.h;
    sum = times(times(c.w, rows), sample);
    sum = plus(sum, times(times(l->tile_w, l->tile_h), sample));
    if (iip_request_planes(rq, info))
        sum = plus(sum, times(c.w, IIP_PLANES_HELD * 2));
    if (info->sample != IIP_U8 || info->space > IIP_RGB)
        sum = plus(sum, times(times(c.w, rows), bands));
    if (iip_request_floats(rq, info))
        sum = plus(sum, floats(rq, info, c.w));
    sum = plus(sum, times(plus(c.w, rq->out_w), ROWS_HELD * 4 * (int64_t)sizeof(float)));
    sum = plus(sum, times(c.w, ROWS_ACROSS * 4 * (int64_t)sizeof(float)));
    iip_request_canvas(rq, &w, &h);
    if (rq->rotate != 0)
        sum = plus(sum, times(times(rq->out_w, rq->out_h), bands));
    sum = plus(sum, times(w, ROWS_HELD * bands));
    answer = times(w, h);
    if (rq->progressive)
        sum = plus(sum, times(answer, 6));
    sum = plus(sum, blurring(rq, bands));
    if (enc && enc->whole)
        sum = plus(sum, times(answer, enc->cost));
    else if (!iip_request_streams(rq))
        sum = plus(sum, times(answer, bands + (enc ? enc->cost : 0)));
    sum = plus(sum, (int64_t)(info->level_hold[rq->level] < MUCH ? info->level_hold[rq->level] : MUCH));
    if (iip_request_counts(rq) && counting(info) > sum)
        sum = counting(info);
    return plus(sum, (int64_t)(info->hold < MUCH ? info->hold : MUCH));
}

/* 4 Mpx of JPEG decoded and as many encoded, in pixels of either; what a viewer asks for has no more pixels than
 * VIEWED, and comes from no more than so many times as many. */
#define SMALL  (2.0 * (4 << 20))
#define VIEWED (4 << 20)
#define AROUND 4
#define TURN   3.0 /* of a pixel turned by any angle, relative to a JPEG's */

iip_work iip_decode_work(int64_t pixels, const iip_info *info)
{
    return (double)pixels * info->decode_cost <= SMALL ? IIP_WORK_SMALL
           : pixels <= AROUND * (int64_t)VIEWED        ? IIP_WORK_FAIR
                                                       : IIP_WORK_LARGE;
}

iip_work iip_request_work(const iip_request *rq, const iip_info *info)
{
    const iip_level *l = &info->level[rq->level];
    const iip_encoder *enc = iip_encoder_find(rq->format);
    const int64_t pixels = iip_request_pixels(rq, info);
    double each = enc ? enc->effort : 1;
    int64_t w, h, answer;

    iip_request_canvas(rq, &w, &h);
    answer = times(w, h);
    if (fmod(rq->rotate, 90) != 0)
        each += TURN;
    /* A stored tile is small whatever its codec, and whatever of its neighbours is needed */
    if (info->tiled && rq->level < info->virtual_from && answer <= times(l->tile_w, l->tile_h) &&
        pixels / AROUND <= times(l->tile_w, l->tile_h))
        return IIP_WORK_SMALL;
    if ((double)pixels * info->decode_cost + (double)answer * each <= SMALL)
        return IIP_WORK_SMALL;
    return answer <= VIEWED && pixels <= AROUND * (int64_t)VIEWED ? IIP_WORK_FAIR : IIP_WORK_LARGE;
}

int iip_request_streams(const iip_request *rq)
{
    const iip_encoder *enc = iip_encoder_find(rq->format);
    int64_t w, h;

    iip_request_canvas(rq, &w, &h);
    return enc && !enc->whole && times(w, h) > IIP_STREAM_PIXELS;
}
