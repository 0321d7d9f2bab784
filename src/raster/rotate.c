/* SPDX-License-Identifier: Apache-2.0
 * Mirror, quarter turns and turns by any angle. A turn holds the whole picture, once. */
#include "raster/stage.h"
#include <math.h>
#include <string.h>

enum { STRIP = 16, GATHER = 32, MARGIN = 2 };

/* ---- mirror ---- */

IIP_HOT static void mirror_row(unsigned char *row, size_t n, size_t size)
{
    unsigned char *a, *b;

#define SWAP(SIZE)                                                                                                     \
    for (a = row, b = row + (n - 1) * (SIZE); a < b; a += (SIZE), b -= (SIZE))                                         \
        for (size_t k = 0; k < (SIZE); k++) {                                                                          \
            unsigned char t = a[k];                                                                                    \
                                                                                                                       \
            a[k] = b[k];                                                                                               \
            b[k] = t;                                                                                                  \
        }
    IIP_BY_PIXEL(size, SWAP)
#undef SWAP
}

static iip_status mirror_next(iip_stage_t *base, int64_t max_rows, iip_raster *out, iip_error *e)
{
    iip_status rv = base->up->next(base->up, max_rows, out, e);

    if (rv == IIP_OK)
        for (int64_t y = 0; y < out->h; y++)
            mirror_row(out->px + (size_t)y * out->stride, (size_t)out->w, iip_pixel_size(out));
    return rv;
}

iip_stage_t *iip_stage_mirror(iip_stage_t *up, iip_budget *b, apr_pool_t *p, iip_error *e)
{
    iip_stage_t *s = iip_stage_new(sizeof *s, up, b, p, e);

    if (s)
        s->next = mirror_next;
    return s;
}

/* ---- the whole picture ---- */

/* Where pixels go: (x, y) of the source to origin + x * dx + y * dy, in bytes. */
typedef struct {
    ptrdiff_t origin, dx, dy;
} lay;

typedef struct row_job row_job;
typedef struct {
    iip_stage_t base;
    lay lay;
    iip_raster canvas; /* turned by quarters; for other angles upright within a margin */
    int64_t got, done; /* rows collected, handed on */
    iip_budget *budget;
    /* other angles only */
    double cos, sin;
    void (*row)(const row_job *j, void *out);
    iip_raster strip;
} turn_stage;

IIP_HOT static void place(const iip_raster *in, unsigned char *to, ptrdiff_t dx, ptrdiff_t dy, size_t size)
{
    int64_t w = in->w, h = in->h;

    /* along rows of the source, or along its columns where these become rows: writes then lie side by side */
#define COPY(SIZE)                                                                                                     \
    if (dx == (ptrdiff_t)(SIZE) || -dx == (ptrdiff_t)(SIZE))                                                           \
        for (int64_t y = 0; y < h; y++)                                                                                \
            for (int64_t x = 0; x < w; x++)                                                                            \
                memcpy(to + x * dx + y * dy, in->px + (size_t)y * in->stride + (size_t)x * (SIZE), SIZE);              \
    else                                                                                                               \
        for (int64_t x = 0; x < w; x++)                                                                                \
            for (int64_t y = 0; y < h; y++)                                                                            \
        memcpy(to + x * dx + y * dy, in->px + (size_t)y * in->stride + (size_t)x * (SIZE), SIZE)
    IIP_BY_PIXEL(size, COPY)
#undef COPY
}

static iip_status collect(turn_stage *s, iip_error *e)
{
    iip_stage_t *up = s->base.up;
    iip_status rv;

    while (s->got < up->shape.h) {
        iip_raster in;

        if ((rv = up->next(up, GATHER, &in, e)) != IIP_OK)
            return rv;
        if (in.h == 0)
            return iip_fail(e, IIP_E_CORRUPT, 0, "rows end at %" APR_INT64_T_FMT, s->got);
        place(&in, s->canvas.px + s->lay.origin + s->got * s->lay.dy, s->lay.dx, s->lay.dy, iip_pixel_size(&in));
        s->got += in.h;
    }
    return IIP_OK;
}

static iip_status quarter_next(iip_stage_t *base, int64_t max_rows, iip_raster *out, iip_error *e)
{
    turn_stage *s = (turn_stage *)base;
    iip_status rv = collect(s, e);

    if (rv != IIP_OK || (rv = iip_budget_check(s->budget, e)) != IIP_OK)
        return rv;
    *out = s->canvas;
    out->px += (size_t)s->done * out->stride;
    out->h -= s->done;
    if (out->h > max_rows)
        out->h = max_rows;
    s->done += out->h;
    return IIP_OK;
}

/* ---- any angle: bicubic (Catmull-Rom) ---- */

/* The source's own edge pixels around it: what lies outside takes no part, and no tap needs to be looked at. */
static void fill_margin(const turn_stage *s)
{
    const iip_raster *c = &s->canvas;
    size_t size = iip_pixel_size(c);
    unsigned char *first = c->px + MARGIN * c->stride, *last = c->px + (size_t)(c->h - MARGIN - 1) * c->stride;

    for (int64_t y = MARGIN; y < c->h - MARGIN; y++) {
        unsigned char *l = c->px + (size_t)y * c->stride + MARGIN * size, *r = l + (size_t)(c->w - 2 * MARGIN) * size;

        for (int i = 1; i <= MARGIN; i++) {
            memcpy(l - (size_t)i * size, l, size);
            memcpy(r + (size_t)(i - 1) * size, r - size, size);
        }
    }
    for (size_t i = 1; i <= MARGIN; i++) {
        memcpy(first - i * c->stride, first, (size_t)c->w * size);
        memcpy(last + i * c->stride, last, (size_t)c->w * size);
    }
}

/* Pixels from..to of one row lie at (u + x du, v + x dv) of the picture, whose corner is (0, 0). */
struct row_job {
    const iip_raster *canvas;
    int64_t from, to;
    double u, v, du, dv;
};

static inline void cubic(float w[4], double t)
{
    float x = (float)t;

    w[0] = ((1 - 0.5f * x) * x - 0.5f) * x;
    w[1] = (1.5f * x - 2.5f) * x * x + 1;
    w[2] = ((2 - 1.5f * x) * x + 0.5f) * x;
    w[3] = (0.5f * x - 0.5f) * x * x;
}

/* How much of a pixel whose centre is at x lies within 0..size. */
static inline double within(double x, double size)
{
    double l = x + 0.5, r = size - x + 0.5;

    return (l < 0 ? 0 : l > 1 ? 1 : l) + (r < 0 ? 0 : r > 1 ? 1 : r) - 1;
}

#define TO_INT(v, TOP)   (int)((v) > 0 ? (v) + 0.5f < (TOP) ? (v) + 0.5f : (TOP) : 0)
#define TO_LONG(v, TOP)  (int64_t)((v) > 0 ? (v) + 0.5f < (TOP) ? (v) + 0.5f : 4294967295. : 0)
#define TO_FLOAT(v, TOP) (v)

/* BANDS of the source; ALPHA: its last one is that. Sums are of colour times alpha, so no invisible colour is seen. */
#define TURN_LOOP(T, TOP, TO, BANDS, ALPHA)                                                                            \
    for (int64_t x = j->from; x < j->to; x++, o += BANDS + !ALPHA) {                                                   \
        double u = j->u + (double)x * j->du, v = j->v + (double)x * j->dv;                                             \
        double share = within(u, w) * within(v, h);                                                                    \
        double left = floor(u - 0.5), top = floor(v - 0.5);                                                            \
        float wx[4], wy[4], sum[4] = {0}, a, by;                                                                       \
        const unsigned char *row;                                                                                      \
                                                                                                                       \
        if (share <= 0) {                                                                                              \
            memset(o, 0, (BANDS + !ALPHA) * sizeof *o);                                                                \
            continue;                                                                                                  \
        }                                                                                                              \
        cubic(wx, u - 0.5 - left);                                                                                     \
        cubic(wy, v - 0.5 - top);                                                                                      \
        row = c->px + (size_t)((int64_t)top + MARGIN - 1) * c->stride +                                                \
              (size_t)((int64_t)left + MARGIN - 1) * (BANDS) * sizeof(T);                                              \
        for (int k = 0; k < 4; k++, row += c->stride) {                                                                \
            const T *px = (const T *)row;                                                                              \
            float t[4 * BANDS];                                                                                        \
                                                                                                                       \
            for (int i = 0; i < 4 * BANDS; i++)                                                                        \
                t[i] = (float)px[i];                                                                                   \
            for (int i = 0; ALPHA && i < 4; i++)                                                                       \
                for (int b = 0; b < BANDS - 1; b++)                                                                    \
                    t[i * BANDS + b] *= t[i * BANDS + BANDS - 1];                                                      \
            for (int b = 0; b < BANDS; b++)                                                                            \
                sum[b] += wy[k] *                                                                                      \
                          (wx[0] * t[b] + wx[1] * t[BANDS + b] + wx[2] * t[2 * BANDS + b] + wx[3] * t[3 * BANDS + b]); \
        }                                                                                                              \
        a = ALPHA ? sum[BANDS - 1] : TOP;                                                                              \
        by = ALPHA ? a > TOP * 1e-6f ? 1 / a : 0 : 1;                                                                  \
        for (int b = 0; b < BANDS - ALPHA; b++)                                                                        \
            o[b] = (T)TO(sum[b] * by, TOP);                                                                            \
        a = (a > 0 ? a < TOP ? a : TOP : 0) * (float)share;                                                            \
        o[BANDS - ALPHA] = (T)TO(a, TOP);                                                                              \
    }

#define TURN(name, T, TOP, TO)                                                                                         \
    IIP_HOT static void name(const row_job *j, void *out)                                                              \
    {                                                                                                                  \
        const iip_raster *c = j->canvas;                                                                               \
        double w = (double)(c->w - 2 * MARGIN), h = (double)(c->h - 2 * MARGIN);                                       \
        T *restrict o = out;                                                                                           \
                                                                                                                       \
        if (c->bands == 1)                                                                                             \
            TURN_LOOP(T, TOP, TO, 1, 0)                                                                                \
        else if (c->bands == 3)                                                                                        \
            TURN_LOOP(T, TOP, TO, 3, 0)                                                                                \
        else if (c->bands == 2)                                                                                        \
            TURN_LOOP(T, TOP, TO, 2, 1)                                                                                \
        else                                                                                                           \
            TURN_LOOP(T, TOP, TO, 4, 1)                                                                                \
    }
TURN(turn_u8, unsigned char, 255.f, TO_INT)
TURN(turn_u16, uint16_t, 65535.f, TO_INT)
TURN(turn_u32, uint32_t, 4294967295.f, TO_LONG)
TURN(turn_f32, float, 1.f, TO_FLOAT)

/* Narrows from..to to where at + x * step is within -1..size + 1. */
static void narrow(row_job *j, double at, double step, double size)
{
    double a = -1 - at, b = size + 1 - at, swap;

    if (fabs(step) < 1e-9) {
        if (a > 0 || b < 0)
            j->to = j->from;
        return;
    }
    a /= step;
    b /= step;
    if (a > b)
        swap = a, a = b, b = swap;
    if (a > (double)j->from)
        j->from = a < (double)j->to ? (int64_t)a : j->to;
    if (b + 1 < (double)j->to)
        j->to = b + 1 > (double)j->from ? (int64_t)(b + 1) : j->from;
}

static iip_status angle_next(iip_stage_t *base, int64_t max_rows, iip_raster *out, iip_error *e)
{
    turn_stage *s = (turn_stage *)base;
    double w = (double)base->up->shape.w, h = (double)base->up->shape.h;
    size_t size;
    iip_status rv;

    if (s->got < base->up->shape.h) {
        if ((rv = collect(s, e)) != IIP_OK)
            return rv;
        fill_margin(s);
    }
    if ((rv = iip_budget_check(s->budget, e)) != IIP_OK)
        return rv;
    *out = s->strip;
    if (out->h > max_rows)
        out->h = max_rows;
    if (out->h > base->shape.h - s->done)
        out->h = base->shape.h - s->done;
    size = iip_pixel_size(out);
    for (int64_t y = 0; y < out->h; y++, s->done++) {
        unsigned char *row = out->px + (size_t)y * out->stride;
        double dx = 0.5 - (double)out->w / 2, dy = (double)s->done + 0.5 - (double)base->shape.h / 2;
        row_job j = {.canvas = &s->canvas, .to = out->w, .du = s->cos, .dv = -s->sin};

        j.u = dx * s->cos + dy * s->sin + w / 2;
        j.v = dy * s->cos - dx * s->sin + h / 2;
        narrow(&j, j.u, j.du, w);
        narrow(&j, j.v, j.dv, h);
        memset(row, 0, (size_t)j.from * size);
        s->row(&j, row + (size_t)j.from * size);
        memset(row + (size_t)j.to * size, 0, (size_t)(out->w - j.to) * size);
    }
    return IIP_OK;
}

/* ---- both ---- */

static double quarters(double degrees) /* 0..3, or -1 */
{
    const double q = degrees == 0 ? 0 : fmod(degrees / 90, 4);

    return q == floor(q) ? q : -1;
}

void iip_rotate_canvas(int64_t w, int64_t h, double degrees, int64_t *ow, int64_t *oh)
{
    double q = quarters(degrees), c, s;

    if (q >= 0) {
        *ow = (int)q & 1 ? h : w;
        *oh = (int)q & 1 ? w : h;
        return;
    }
    c = fabs(cos(degrees * M_PI / 180));
    s = fabs(sin(degrees * M_PI / 180));
    /* a little less, so that what is half a pixel but for the last bit is rounded alike everywhere */
    *ow = (int64_t)fmax(1, floor((double)w * c + (double)h * s - 1e-6 + 0.5));
    *oh = (int64_t)fmax(1, floor((double)w * s + (double)h * c - 1e-6 + 0.5));
}

static int quarter_init(turn_stage *s, int q, iip_budget *b, apr_pool_t *p, iip_error *e)
{
    const iip_raster *in = &s->base.up->shape;
    ptrdiff_t size = (ptrdiff_t)iip_pixel_size(in), stride;

    s->base.next = quarter_next;
    s->canvas = s->base.shape;
    if (iip_stage_rows(&s->canvas, b, p, e) != IIP_OK)
        return 0;
    stride = (ptrdiff_t)s->canvas.stride;
    if (q == 1)
        s->lay = (lay){(in->h - 1) * size, stride, -size};
    else if (q == 2)
        s->lay = (lay){(in->h - 1) * stride + (in->w - 1) * size, -size, -stride};
    else
        s->lay = (lay){(in->w - 1) * stride, -stride, size};
    return 1;
}

static int angle_init(turn_stage *s, double degrees, int alpha, iip_budget *b, apr_pool_t *p, iip_error *e)
{
    static void (*const rows[])(const row_job *, void *) = {
        [IIP_U8] = turn_u8, [IIP_U16] = turn_u16, [IIP_U32] = turn_u32, [IIP_F32] = turn_f32};
    const iip_raster *in = &s->base.up->shape;

    s->base.next = angle_next;
    s->row = rows[in->sample];
    s->cos = cos(degrees * M_PI / 180);
    s->sin = sin(degrees * M_PI / 180);
    s->base.shape.bands += !alpha;
    s->strip = s->base.shape;
    if (s->strip.h > STRIP)
        s->strip.h = STRIP;
    s->canvas = *in;
    s->canvas.w += 2 * MARGIN;
    s->canvas.h += 2 * MARGIN;
    if (iip_stage_rows(&s->canvas, b, p, e) != IIP_OK || iip_stage_rows(&s->strip, b, p, e) != IIP_OK)
        return 0;
    s->lay.dx = (ptrdiff_t)iip_pixel_size(in);
    s->lay.dy = (ptrdiff_t)s->canvas.stride;
    s->lay.origin = MARGIN * (s->lay.dx + s->lay.dy);
    return 1;
}

iip_stage_t *iip_stage_rotate(iip_stage_t *up, double degrees, int alpha, iip_budget *b, apr_pool_t *p, iip_error *e)
{
    double q = quarters(degrees);
    turn_stage *s;

    if (q == 0)
        return up;
    s = iip_stage_new(sizeof *s, up, b, p, e);
    if (!s)
        return NULL;
    s->budget = b;
    iip_rotate_canvas(up->shape.w, up->shape.h, degrees, &s->base.shape.w, &s->base.shape.h);
    return (q > 0 ? quarter_init(s, (int)q, b, p, e) : angle_init(s, degrees, alpha != 0, b, p, e)) ? &s->base : NULL;
}
