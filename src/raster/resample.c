/* SPDX-License-Identifier: Apache-2.0
 * A window of the rows to any size. Whole pixels are cropped or picked; everything else is resampled in two passes:
 * output rows are mixed from source rows first, then shrunk or stretched sideways, so only a few source rows are ever
 * held. */
#include "raster/stage.h"
#include <math.h>
#include <pthread.h>
#include <string.h>

enum {
    STRIP = 16,   /* rows handed on at once */
    RING = 16,    /* source rows held for an area filter; the others never need more than 13 */
    BLOCK = 1024, /* samples mixed at a time: their sums stay in the nearest cache */
    PART = 16     /* weights asked of a filter at once */
};

/* ---- filters and their weights ---- */

/* One axis: output pixel i looks at origin + (i + 1/2) * step of the source, where whole numbers are edges of pixels;
 * pixels below lo and from hi on do not exist. */
typedef struct filter filter;
typedef struct {
    const filter *kind;
    double origin, step;
    int64_t lo, hi;
    size_t most; /* bound of the taps of an output pixel */
} axis;

struct filter {
    void (*weigh)(const axis *a, double d, size_t n, double *w); /* n pixels whose centres are d, d + 1, ... away */
    double (*reach)(double step);                                /* farthest d with a weight */
};

static void area_weigh(const axis *a, double d, size_t n, double *w)
{
    for (size_t k = 0; k < n; k++, d++) {
        double from = fmax(d - 0.5, -a->step / 2), to = fmin(d + 0.5, a->step / 2);

        w[k] = to > from ? to - from : 0;
    }
}

static double area_reach(double step)
{
    return (step + 1) / 2;
}

static double triangle_reach(double step)
{
    return fmax(step, 1);
}

static void triangle_weigh(const axis *a, double d, size_t n, double *w)
{
    for (size_t k = 0; k < n; k++, d++)
        w[k] = fmax(0, 1 - fabs(d) / triangle_reach(a->step));
}

static double lanczos_reach(double step)
{
    return 3 * fmax(step, 1);
}

/* sinc(t) sinc(t / 3) for t = 0..3 as cubics: value and slope are right where they meet, between them it is to 1e-9. */
enum { CUBICS = 128 }; /* in each unit of t */
static struct {
    double c[4];
} cubic[3 * CUBICS];

static void lanczos_at(int i, double *value, double *slope)
{
    double t = i / (double)CUBICS, s, u;

    *value = i == 0;
    *slope = 0;
    if (i == 0 || i == 3 * CUBICS)
        return;
    s = i % CUBICS ? sin(M_PI * t) / (M_PI * t) : 0;
    u = sin(M_PI / 3 * t) / (M_PI / 3 * t);
    *value = s * u;
    *slope = ((cos(M_PI * t) - s) * u + (cos(M_PI / 3 * t) - u) * s) / t / CUBICS;
}

static void fill_cubics(void)
{
    for (int i = 0; i < 3 * CUBICS; i++) {
        double v0, v1, s0, s1, *c = cubic[i].c;

        lanczos_at(i, &v0, &s0);
        lanczos_at(i + 1, &v1, &s1);
        c[0] = v0;
        c[1] = s0;
        c[2] = 3 * (v1 - v0) - 2 * s0 - s1;
        c[3] = 2 * (v0 - v1) + s0 + s1;
    }
}

static void lanczos_weigh(const axis *a, double d, size_t n, double *w)
{
    const double by = CUBICS / fmax(a->step, 1);

    for (size_t k = 0; k < n; k++, d++) {
        double t = fabs(d) * by, f;
        const double *c;

        if (t >= 3 * CUBICS) {
            w[k] = 0;
            continue;
        }
        c = cubic[(int)t].c;
        f = t - (int)t;
        w[k] = c[0] + f * (c[1] + f * (c[2] + f * c[3]));
    }
}

static const filter area = {area_weigh, area_reach};
static const filter triangle = {triangle_weigh, triangle_reach};
static const filter lanczos = {lanczos_weigh, lanczos_reach};

static void axis_set(axis *a, double at, double len, int64_t have, int64_t size, int interpolate)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;

    a->origin = at;
    a->step = len / (double)size;
    iip_cover(at, len, have, &a->lo, &a->hi);
    a->kind = a->step >= 2 ? &area : interpolate == IIP_INTERPOLATE_BILINEAR ? &triangle : &lanczos;
    a->most = (size_t)ceil(2 * a->kind->reach(a->step)) + 1;
    pthread_once(&once, fill_cubics);
}

/* Weights of output pixel i for the source pixels from *first on; their number. Taps that fall outside are given to the
 * pixel at the edge; ends of no weight are left off, so that a copy has a single tap. w: room for most. */
static size_t axis_taps(const axis *a, int64_t i, float *w, int64_t *first)
{
    double centre = a->origin + ((double)i + 0.5) * a->step, reach = a->kind->reach(a->step), sum = 0, part[PART];
    int64_t from = (int64_t)ceil(centre - reach - 0.5), to = (int64_t)floor(centre + reach - 0.5), base;
    size_t n = 0, skip = 0;
    float small;

    base = from < a->lo ? a->lo : from >= a->hi ? a->hi - 1 : from;
    memset(w, 0, a->most * sizeof *w);
    for (int64_t j = from; j <= to;) {
        int64_t m = to - j + 1 < PART ? to - j + 1 : PART;

        a->kind->weigh(a, (double)j + 0.5 - centre, (size_t)m, part);
        for (int64_t k = 0; k < m; k++, j++) {
            int64_t at = j < a->lo ? a->lo : j >= a->hi ? a->hi - 1 : j;

            w[at - base] += (float)part[k];
            sum += part[k];
            n = (size_t)(at - base) + 1;
        }
    }
    sum = 1 / sum;
    for (size_t k = 0; k < n; k++)
        w[k] = (float)(w[k] * sum);
    small = 1e-6f / (float)n;
    while (n > 1 && fabsf(w[n - 1]) < small)
        n--;
    while (skip + 1 < n && fabsf(w[skip]) < small)
        skip++;
    memmove(w, w + skip, (n - skip) * sizeof *w);
    *first = base + (int64_t)skip;
    return n - skip;
}

/* ---- rows of samples: into the ring, mixed, out of the sums ---- */

/* out[i] += w[0] * rows[0][i] + ... */
typedef void mix_fn(float *out, const void *const *rows, const float *w, size_t n, size_t count);
/* Colours times alpha, which is the last of bands: what is weighted is light. */
typedef void weigh_fn(const void *in, float *out, size_t pixels, size_t bands);
typedef void store_fn(const float *in, void *out, size_t count);

#define SUM1(i) (w[0] * a[i])
#define SUM2(i) (SUM1(i) + w[1] * b[i])
#define SUM3(i) (SUM2(i) + w[2] * c[i])
#define SUM4(i) (SUM3(i) + w[3] * d[i])
#define MIX_LOOP(SUM)                                                                                                  \
    for (size_t i = 0; i < m; i++)                                                                                     \
    o[i] += SUM(i)
#define MIX(name, T)                                                                                                   \
    IIP_HOT static void name(float *restrict out, const void *const *rows, const float *weight, size_t n,              \
                             size_t count)                                                                             \
    {                                                                                                                  \
        for (size_t at = 0; at < count; at += BLOCK) {                                                                 \
            size_t m = count - at < BLOCK ? count - at : BLOCK;                                                        \
            float *restrict o = out + at;                                                                              \
                                                                                                                       \
            for (size_t k = 0; k < n; k += 4) {                                                                        \
                size_t left = n - k < 4 ? n - k : 4;                                                                   \
                const T *restrict a = (const T *)rows[k] + at;                                                         \
                const T *restrict b = (const T *)rows[k + (left > 1)] + at;                                            \
                const T *restrict c = (const T *)rows[k + 2 * (left > 2)] + at;                                        \
                const T *restrict d = (const T *)rows[k + 3 * (left > 3)] + at;                                        \
                const float w[4] = {weight[k], weight[k + (left > 1)], weight[k + 2 * (left > 2)],                     \
                                    weight[k + 3 * (left > 3)]};                                                       \
                                                                                                                       \
                switch (left) {                                                                                        \
                case 1:                                                                                                \
                    MIX_LOOP(SUM1);                                                                                    \
                    break;                                                                                             \
                case 2:                                                                                                \
                    MIX_LOOP(SUM2);                                                                                    \
                    break;                                                                                             \
                case 3:                                                                                                \
                    MIX_LOOP(SUM3);                                                                                    \
                    break;                                                                                             \
                default:                                                                                               \
                    MIX_LOOP(SUM4);                                                                                    \
                }                                                                                                      \
            }                                                                                                          \
        }                                                                                                              \
    }

#define WEIGH(name, T)                                                                                                 \
    IIP_HOT static void name(const void *in, float *restrict out, size_t pixels, size_t bands)                         \
    {                                                                                                                  \
        const T *restrict s = in;                                                                                      \
                                                                                                                       \
        if (bands == 4)                                                                                                \
            for (size_t i = 0; i < pixels; i++) {                                                                      \
                float a = s[4 * i + 3];                                                                                \
                                                                                                                       \
                out[4 * i] = s[4 * i] * a;                                                                             \
                out[4 * i + 1] = s[4 * i + 1] * a;                                                                     \
                out[4 * i + 2] = s[4 * i + 2] * a;                                                                     \
                out[4 * i + 3] = a;                                                                                    \
            }                                                                                                          \
        else                                                                                                           \
            for (size_t i = 0; i < pixels; i++) {                                                                      \
                float a = s[2 * i + 1];                                                                                \
                                                                                                                       \
                out[2 * i] = s[2 * i] * a;                                                                             \
                out[2 * i + 1] = a;                                                                                    \
            }                                                                                                          \
    }

#define WIDEN(name, T)                                                                                                 \
    IIP_HOT static void name(const void *in, float *restrict out, size_t count)                                        \
    {                                                                                                                  \
        const T *restrict s = in;                                                                                      \
                                                                                                                       \
        for (size_t i = 0; i < count; i++)                                                                             \
            out[i] = s[i];                                                                                             \
    }

/* C is what the sum is made before it is a T: a conversion that processors have for vectors. */
#define STORE_INT(name, T, C, TOP)                                                                                     \
    IIP_HOT static void name(const float *restrict in, void *restrict out, size_t count)                               \
    {                                                                                                                  \
        T *restrict o = out;                                                                                           \
                                                                                                                       \
        for (size_t i = 0; i < count; i++) {                                                                           \
            float v = in[i] + 0.5f;                                                                                    \
                                                                                                                       \
            v = v > 0 ? v : 0;                                                                                         \
            o[i] = (T)(C)(v < TOP ? v : TOP);                                                                          \
        }                                                                                                              \
    }

MIX(mix_u8, unsigned char)
MIX(mix_u16, uint16_t)
MIX(mix_u32, uint32_t)
MIX(mix_f32, float)
WEIGH(weigh_u8, unsigned char)
WEIGH(weigh_u16, uint16_t)
WEIGH(weigh_u32, uint32_t)
WEIGH(weigh_f32, float)
WIDEN(widen_u8, unsigned char)
STORE_INT(store_u8, unsigned char, int, 255.f)
STORE_INT(store_u16, uint16_t, int, 65535.f)
STORE_INT(store_u32, uint32_t, int64_t, 4294967295.)

static void store_f32(const float *in, void *out, size_t count)
{
    memcpy(out, in, count * sizeof *in);
}

typedef struct {
    mix_fn *mix;
    weigh_fn *weigh;
    store_fn *store;
    float top;
} kernel;
static const kernel kernels[] = {
    [IIP_U8] = {mix_u8, weigh_u8, store_u8, 255},
    [IIP_U16] = {mix_u16, weigh_u16, store_u16, 65535},
    [IIP_U32] = {mix_u32, weigh_u32, store_u32, 4294967295.f},
    [IIP_F32] = {mix_f32, weigh_f32, store_f32, 1},
};

/* Colours divided by the alpha they were weighed with; an alpha too small to be seen leaves black. */
IIP_HOT static void unweigh(float *px, size_t pixels, size_t bands, float least)
{
    for (size_t i = 0; i < pixels; i++, px += bands) {
        float a = px[bands - 1], by = a > least ? 1 / a : 0;

        for (size_t c = 0; c + 1 < bands; c++)
            px[c] *= by;
    }
}

/* ---- sideways ---- */

/* Every output pixel has the same number of taps, so the loop over them is foreseen by the processor. */
typedef struct {
    size_t taps;
    int32_t *first; /* counted from lo */
    float *w;
} columns;

/* Pixels of two rows, four lanes each (those past its bands are its neighbour's and are overwritten by that one's own),
 * or of eight rows of one band. Wider vectors are taken apart in memory by the compiler where the processor has none.
 */
enum { LANES = 8 };
#ifdef IIP_PLAIN_C
typedef struct {
    float v[LANES];
} lanes;
static inline void lanes_add(lanes *sum, float w, const float *px)
{
    for (int c = 0; c < LANES; c++)
        sum->v[c] += w * px[c];
}
#else
typedef float lanes __attribute__((vector_size(LANES * sizeof(float))));
typedef float lanes_at __attribute__((vector_size(LANES * sizeof(float)), may_alias));
#define lanes_add(sum, w, px) (*(sum) += (w) * *(const lanes_at *)(px))
#endif

/* A sheet has SHEET lanes for each pixel of the window: one for each row if pixels have one band, else four. */
enum { SHEET = 2 * LANES };

/* Four rows of four become four columns of four. */
enum { TURN = 4 };
static inline __attribute__((always_inline)) void turn(float *restrict to, size_t to_stride, const float *restrict from,
                                                       size_t from_stride)
{
#if defined(IIP_PLAIN_C) || !__has_builtin(__builtin_shufflevector)
    for (size_t y = 0; y < TURN; y++)
        for (size_t x = 0; x < TURN; x++)
            to[x * to_stride + y] = from[y * from_stride + x];
#else
    typedef float quad __attribute__((vector_size(TURN * sizeof(float)), aligned(sizeof(float)), may_alias));
    const quad a = *(const quad *)from, b = *(const quad *)(from + from_stride);
    const quad c = *(const quad *)(from + 2 * from_stride), d = *(const quad *)(from + 3 * from_stride);
    const quad p = __builtin_shufflevector(a, b, 0, 4, 1, 5), q = __builtin_shufflevector(c, d, 0, 4, 1, 5);
    const quad r = __builtin_shufflevector(a, b, 2, 6, 3, 7), s = __builtin_shufflevector(c, d, 2, 6, 3, 7);

    *(quad *)to = __builtin_shufflevector(p, q, 0, 1, 4, 5);
    *(quad *)(to + to_stride) = __builtin_shufflevector(p, q, 2, 3, 6, 7);
    *(quad *)(to + 2 * to_stride) = __builtin_shufflevector(r, s, 0, 1, 4, 5);
    *(quad *)(to + 3 * to_stride) = __builtin_shufflevector(r, s, 2, 3, 6, 7);
#endif
}

/* Rows into their lanes of the sheet: TURN of one band, or one of pixels. */
IIP_HOT static void spread_grey(float *restrict sheet, const float *restrict rows, size_t stride, size_t n)
{
    for (size_t i = 0; i < n; i += TURN)
        turn(sheet + i * SHEET, SHEET, rows + i, stride);
}

IIP_HOT static void spread_pixels(float *restrict sheet, const float *restrict row, size_t n, size_t bands)
{
    for (size_t i = 0; i < n; i++, sheet += SHEET, row += bands)
        memcpy(sheet, row, 4 * sizeof *sheet);
}

/* A pixel of all rows of the sheet. */
static inline __attribute__((always_inline)) void across(const float *px, const float *w, size_t taps, lanes sum[2])
{
    lanes left = {0}, right = {0};

    for (size_t k = 0; k < taps; k++, w++, px += SHEET) {
        lanes_add(&left, *w, px);
        lanes_add(&right, *w, px + LANES);
    }
    sum[0] = left;
    sum[1] = right;
}

/* All rows of a sheet; their answers are stride apart, and up to TURN - 1 pixels longer than n. */
IIP_HOT static void across_grey(float *restrict out, size_t stride, const float *restrict sheet, const columns *col,
                                size_t n)
{
    lanes sum[TURN][2] = {0};

    for (size_t i = 0; i < n; i += TURN) {
        for (size_t k = 0; k < TURN && i + k < n; k++)
            across(sheet + (size_t)col->first[i + k] * SHEET, col->w + (i + k) * col->taps, col->taps, sum[k]);
        for (size_t r = 0; r < SHEET; r += TURN)
            turn(out + r * stride + i, stride, (const float *)sum + r, SHEET);
    }
}

IIP_HOT static void across_pixels(float *restrict out, size_t stride, const float *restrict sheet, const columns *col,
                                  size_t n, size_t bands)
{
    for (size_t i = 0; i < n; i++, out += bands) {
        lanes sum[2];

        across(sheet + (size_t)col->first[i] * SHEET, col->w + i * col->taps, col->taps, sum);
        for (size_t r = 0; r < SHEET / 4; r++)
            memcpy(out + r * stride, (const float *)sum + 4 * r, 4 * sizeof *out);
    }
}

static iip_status columns_set(columns *col, const axis *x, int64_t n, iip_budget *b, apr_pool_t *p, iip_error *e)
{
    size_t room = x->most, bytes, longest = 1;
    float *w;

    /* each row of weights is made at full length and kept at the longest one's */
    if (__builtin_mul_overflow(room * sizeof *w, (size_t)n, &bytes))
        return iip_fail(e, IIP_E_MEMORY, 0, "%zu weights for each column", room);
    col->first = iip_budget_alloc(b, (size_t)n * sizeof *col->first, p, e);
    col->w = w = col->first ? iip_budget_alloc(b, bytes, p, e) : NULL;
    if (!w)
        return IIP_E_MEMORY;
    memset(w, 0, bytes);
    for (int64_t i = 0; i < n; i++) {
        int64_t first;
        size_t taps = axis_taps(x, i, w + (size_t)i * room, &first);

        memset(w + (size_t)i * room + taps, 0, (room - taps) * sizeof *w);
        col->first[i] = (int32_t)(first - x->lo);
        if (taps > longest)
            longest = taps;
    }
    col->taps = longest;
    for (int64_t i = 0; i < n; i++)
        memmove(w + (size_t)i * col->taps, w + (size_t)i * room, col->taps * sizeof *w);
    return IIP_OK;
}

/* ---- the resampling stage ---- */

typedef struct {
    iip_stage_t base;
    const kernel *kernel;
    int alpha;
    axis x, y;
    columns col;
    iip_raster ring; /* source row y is in slot y % ring.h, columns x.lo to x.hi; weighed floats if there is alpha */
    int64_t have;    /* source rows seen */
    float *taps;     /* of one output row */
    float *mixed;    /* TURN rows as wide as the source's window, one of pixels */
    size_t mixed_stride;
    float *sheet;  /* sweep of them side by side */
    float *line;   /* sweep rows as wide as the output */
    int64_t sweep; /* rows shrunk sideways at once: weights are loaded once for them */
    size_t line_stride;
    iip_raster strip;
    int64_t done; /* output rows */
    iip_budget *budget;
} resample_stage;

/* Brings source rows into the ring until there are `until` of them. */
static iip_status resample_pull(resample_stage *s, int64_t until, iip_error *e)
{
    iip_stage_t *up = s->base.up;
    size_t wide = (size_t)s->ring.w, left = (size_t)s->x.lo * iip_pixel_size(&up->shape);
    iip_status rv;

    while (s->have < until) {
        iip_raster in;

        if ((rv = up->next(up, until - s->have, &in, e)) != IIP_OK)
            return rv;
        if (in.h == 0)
            return iip_fail(e, IIP_E_CORRUPT, 0, "rows end at %" APR_INT64_T_FMT, s->have);
        for (int64_t y = 0; y < in.h; y++, s->have++) {
            void *slot = s->ring.px + (size_t)(s->have % s->ring.h) * s->ring.stride;
            const void *row = in.px + (size_t)y * in.stride + left;

            if (s->alpha)
                s->kernel->weigh(row, slot, wide, (size_t)in.bands);
            else if (s->ring.sample != in.sample)
                widen_u8(row, slot, wide * (size_t)in.bands);
            else
                memcpy(slot, row, wide * iip_pixel_size(&in));
        }
    }
    return IIP_OK;
}

/* Output row i into out. An area filter may have more taps than the ring has rows: it takes them ring by ring. */
static iip_status resample_mix(resample_stage *s, int64_t i, float *out, iip_error *e)
{
    size_t count = (size_t)s->ring.w * (size_t)s->ring.bands, n, k = 0;
    mix_fn *mix = kernels[s->ring.sample].mix;
    const void *rows[RING];
    int64_t first;
    iip_status rv;

    n = axis_taps(&s->y, i, s->taps, &first);
    memset(out, 0, count * sizeof *out);
    while (k < n) {
        size_t m = n - k < (size_t)s->ring.h ? n - k : (size_t)s->ring.h;

        if ((rv = resample_pull(s, first + (int64_t)(k + m), e)) != IIP_OK)
            return rv;
        for (size_t j = 0; j < m; j++)
            rows[j] = s->ring.px + (size_t)((first + (int64_t)(k + j)) % s->ring.h) * s->ring.stride;
        mix(out, rows, s->taps + k, m, count);
        k += m;
    }
    return IIP_OK;
}

static iip_status resample_next(iip_stage_t *base, int64_t max_rows, iip_raster *out, iip_error *e)
{
    resample_stage *s = (resample_stage *)base;
    size_t w = (size_t)base->shape.w, bands = (size_t)base->shape.bands;
    iip_status rv;

    if ((rv = iip_budget_check(s->budget, e)) != IIP_OK)
        return rv;
    *out = s->strip;
    if (out->h > max_rows)
        out->h = max_rows;
    if (out->h > base->shape.h - s->done)
        out->h = base->shape.h - s->done;
    for (int64_t y = 0, n; y < out->h; y += n) {
        n = out->h - y < s->sweep ? out->h - y : s->sweep;
        for (int64_t r = 0; r < n; r++, s->done++) {
            float *mixed = s->mixed + (bands == 1 ? (size_t)(r % TURN) * s->mixed_stride : 0);

            if ((rv = resample_mix(s, s->done, mixed, e)) != IIP_OK)
                return rv;
            if (bands > 1)
                spread_pixels(s->sheet + 4 * r, mixed, (size_t)s->ring.w, bands);
            else if (r % TURN == TURN - 1 || r + 1 == n)
                spread_grey(s->sheet + r - r % TURN, s->mixed, s->mixed_stride, (size_t)s->ring.w);
        }
        if (bands == 1)
            across_grey(s->line, s->line_stride, s->sheet, &s->col, w);
        else
            across_pixels(s->line, s->line_stride, s->sheet, &s->col, w, bands);
        for (int64_t r = 0; r < n; r++) {
            float *line = s->line + (size_t)r * s->line_stride;

            if (s->alpha)
                unweigh(line, w, bands, s->kernel->top * 1e-6f);
            s->kernel->store(line, out->px + (size_t)(y + r) * out->stride, w * bands);
        }
    }
    return IIP_OK;
}

static float *floats(size_t n, iip_budget *b, apr_pool_t *p, iip_error *e)
{
    float *f = iip_budget_alloc(b, n * sizeof *f, p, e);

    if (f)
        memset(f, 0, n * sizeof *f);
    return f;
}

iip_stage_t *iip_stage_resample(iip_stage_t *up, const iip_window *win, int64_t w, int64_t h, int interpolate,
                                int alpha, iip_budget *b, apr_pool_t *p, iip_error *e)
{
    resample_stage *s = iip_stage_new(sizeof *s, up, b, p, e);
    size_t bands = (size_t)up->shape.bands;

    if (!s)
        return NULL;
    s->base.next = resample_next;
    s->base.shape.w = w;
    s->base.shape.h = h;
    s->kernel = &kernels[up->shape.sample];
    s->alpha = alpha;
    s->budget = b;
    axis_set(&s->x, win->x, win->w, up->shape.w, w, interpolate);
    axis_set(&s->y, win->y, win->h, up->shape.h, h, interpolate);
    s->ring = (iip_raster){.w = s->x.hi - s->x.lo, .bands = up->shape.bands, .sample = up->shape.sample};
    s->ring.h = s->y.most < RING ? (int64_t)s->y.most : RING;
    if (alpha || (up->shape.sample == IIP_U8 && s->y.kind != &area)) /* rows of the ring are mixed again and again */
        s->ring.sample = IIP_F32;
    s->sweep = bands == 1 ? SHEET : SHEET / 4;
    s->mixed_stride = (size_t)s->ring.w * bands + 4;
    s->line_stride = (size_t)w * bands + 4; /* four lanes are written at the last pixel */
    s->strip = s->base.shape;
    s->strip.h = h < STRIP ? h : STRIP;
    if (columns_set(&s->col, &s->x, w, b, p, e) != IIP_OK || iip_stage_rows(&s->ring, b, p, e) != IIP_OK ||
        iip_stage_rows(&s->strip, b, p, e) != IIP_OK ||
        !(s->taps = iip_budget_alloc(b, s->y.most * sizeof(float), p, e)) ||
        !(s->mixed = floats(s->mixed_stride * (bands == 1 ? TURN : 1), b, p, e)) ||
        !(s->sheet = floats(((size_t)s->ring.w + s->col.taps + TURN) * SHEET, b, p, e)) ||
        !(s->line = floats(s->line_stride * (size_t)s->sweep, b, p, e)))
        return NULL;
    return &s->base;
}
