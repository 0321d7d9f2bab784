/* SPDX-License-Identifier: Apache-2.0
 * TIFF: stored samples to delivered ones. Two tables say what is read: depths and photometric interpretations. */
#include "codec/tiff_dir.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { UINT = 1, INT = 2, REAL = 3, UNTYPED = 4 };

static const struct {
    int bits, format;
    iip_sample sample;
} depths[] = {
    {1, UINT, IIP_U8},   {2, UINT, IIP_U8},  {4, UINT, IIP_U8},  {8, UINT, IIP_U8},   {16, UINT, IIP_U16},
    {32, UINT, IIP_U32}, {16, INT, IIP_S16}, {32, INT, IIP_S32}, {32, REAL, IIP_F32}, {64, REAL, IIP_F64},
};

static const struct {
    int photometric, colours, bands; /* stored, delivered */
    iip_space space;
    iip_tiff_map map;
    int max_bits;
} kinds[] = {
    {TIFF_WHITE_IS_0, 1, 1, IIP_GREY, TIFF_INVERT, 64}, {TIFF_BLACK_IS_0, 1, 1, IIP_GREY, TIFF_AS_IS, 64},
    {TIFF_RGB, 3, 3, IIP_RGB, TIFF_AS_IS, 64},          {TIFF_INDEXED, 1, 3, IIP_RGB, TIFF_PALETTE, 8},
    {TIFF_IS_MASK, 1, 1, IIP_GREY, TIFF_AS_IS, 64},     {TIFF_SEPARATED, 4, 4, IIP_CMYK, TIFF_AS_IS, 64},
    {TIFF_YCBCR, 3, 3, IIP_RGB, TIFF_YCC, 8},
};

#define ROWS(a)      (sizeof(a) / sizeof *(a))
#define FAIL(f, ...) ((f)->bad = iip_fail((f)->e, IIP_E_FORMAT, 0, __VA_ARGS__))

/* ExtraSamples: the first that is alpha, or -1. */
static int find_alpha(iip_tiff_file *f, const iip_tiff_dir *d, int colours, int *associated)
{
    const iip_tiff_entry *t = &d->tag[TAG_EXTRA];
    const int extra = d->samples - colours;
    const int known = t->count < (uint64_t)extra ? (int)t->count : extra;

    for (int i = 0; i < known; i++) {
        uint64_t v = iip_tiff_uint(f, t, (uint64_t)i, 0);

        if (v == 1 || v == 2) {
            *associated = v == 1;
            return d->samples - known + i;
        }
    }
    return -1;
}

iip_status iip_tiff_form_shape(iip_tiff_form *m, iip_tiff_file *f, const iip_tiff_dir *d)
{
    const int format = d->format == UNTYPED ? UINT : d->format;
    size_t k, j;
    int alpha;

    memset(m, 0, sizeof *m);
    for (j = 0; j < ROWS(depths) && (depths[j].bits != d->bits || depths[j].format != format); j++)
        ;
    if (j == ROWS(depths))
        return FAIL(f, "samples of %d bits, format %d", d->bits, d->format);
    for (k = 0; k < ROWS(kinds) && kinds[k].photometric != d->photometric; k++)
        ;
    if (k == ROWS(kinds) || d->bits > kinds[k].max_bits)
        return FAIL(f, "photometric interpretation %d with %d bits", d->photometric, d->bits);
    if (d->samples < kinds[k].colours)
        return FAIL(f, "%d samples for photometric interpretation %d", d->samples, d->photometric);
    m->bits = d->bits;
    m->sample = depths[j].sample;
    m->bands = kinds[k].bands;
    m->colours = kinds[k].colours;
    m->space = kinds[k].space;
    m->map = kinds[k].map;
    m->planar = d->planar;
    alpha = find_alpha(f, d, m->colours, &m->associated);
    if (f->bad)
        return f->bad;
    if (m->space == IIP_CMYK) {
        m->associated = 0;
    } else if (alpha >= 0) {
        m->alpha = 1;
        m->bands++;
    } else if (d->samples > 4 && m->map == TIFF_AS_IS) {
        m->bands = m->colours = d->samples;
        m->space = IIP_MULTIBAND;
    }
    if (m->space != IIP_MULTIBAND) {
        for (int i = 0; i < m->colours; i++)
            m->stored[i] = i;
        m->stored[m->colours] = alpha;
    }
    m->in = d->planar ? m->colours + m->alpha : d->samples;
    m->bilevel = d->bits == 1 && m->space == IIP_GREY && !m->alpha;
    m->scale = m->map == TIFF_PALETTE || d->bits > 7 ? 1 : 255 / ((1 << d->bits) - 1);
    if (m->map == TIFF_YCC) {
        m->sub_x = d->sub_x;
        m->sub_y = d->sub_y;
        m->clumps = d->sub_x != 1 || d->sub_y != 1;
        if (d->bits != 8 || (d->sub_x != 1 && d->sub_x != 2 && d->sub_x != 4) ||
            (d->sub_y != 1 && d->sub_y != 2 && d->sub_y != 4) || (m->clumps && (d->planar || d->samples != 3)))
            return FAIL(f, "YCbCr of %d samples and %d bits, subsampled %d by %d", d->samples, d->bits, d->sub_x,
                        d->sub_y);
    }
    m->plain = !d->planar && d->bits >= 8 && m->map == TIFF_AS_IS && m->bands == d->samples && !m->associated;
    return IIP_OK;
}

typedef struct {
    unsigned char y[256];
    int luma[256], r_cr[256], g_cb[256], g_cr[256], b_cb[256]; /* 16 binary places */
} ycc_table;

static int fixed(double v)
{
    return (int)lrint(v * 65536);
}

static double bounded(double v)
{
    return v > 1000 ? 1000 : v > -1000 ? v : -1000; /* a NaN becomes -1000 */
}

/* TIFF 6.0 section 20 and 21: codes to 0..255 by ReferenceBlackWhite, then by the luma coefficients. */
static void ycc_fill(ycc_table *t, iip_tiff_file *f, const iip_tiff_dir *d)
{
    static const double usual[6] = {0, 255, 128, 255, 128, 255}, luma[3] = {.299, .587, .114};
    double range[6], l[3];

    for (int i = 0; i < 6; i++)
        range[i] = bounded(iip_tiff_real(f, &d->tag[TAG_BLACK_WHITE], (uint64_t)i, usual[i]));
    for (int i = 0; i < 6; i += 2)
        if (range[i] == range[i + 1]) {
            range[i] = usual[i];
            range[i + 1] = usual[i + 1];
        }
    for (int i = 0; i < 3; i++)
        l[i] = bounded(iip_tiff_real(f, &d->tag[TAG_LUMA], (uint64_t)i, luma[i]));
    if (!(l[1] > .001))
        memcpy(l, luma, sizeof l);
    for (int i = 0; i < 256; i++) {
        const double y = bounded((i - range[0]) * 255 / (range[1] - range[0]));
        const double cb = bounded((i - range[2]) * 127 / (range[3] - range[2]));
        const double cr = bounded((i - range[4]) * 127 / (range[5] - range[4]));

        t->luma[i] = fixed(y);
        t->r_cr[i] = fixed(bounded(cr * (2 - 2 * l[0])));
        t->b_cb[i] = fixed(bounded(cb * (2 - 2 * l[2])));
        t->g_cb[i] = fixed(bounded(-cb * (2 - 2 * l[2]) * l[2] / l[1]));
        t->g_cr[i] = fixed(bounded(-cr * (2 - 2 * l[0]) * l[0] / l[1]));
    }
}

static void palette_fill(unsigned char *t, iip_tiff_file *f, const iip_tiff_dir *d)
{
    const unsigned n = 1u << d->bits;
    uint64_t top = 0;

    for (int pass = 0; pass < 2; pass++) /* old writers stored 8 bits in the 16 */
        for (unsigned i = 0; i < 3 * n && !f->bad; i++) {
            uint64_t v = iip_tiff_uint(f, &d->tag[TAG_COLORMAP], i, 0);

            if (pass)
                t[i % n * 3 + i / n] = (unsigned char)(top > 255 ? v >> 8 : v);
            else if (v > top)
                top = v;
        }
}

iip_status iip_tiff_form_table(iip_tiff_form *m, iip_tiff_file *f, const iip_tiff_dir *d, apr_pool_t *p)
{
    if (m->map == TIFF_PALETTE) {
        if (d->tag[TAG_COLORMAP].count < 3u << d->bits)
            return FAIL(f, "a palette of %u values", (unsigned)d->tag[TAG_COLORMAP].count);
        unsigned char *t = apr_pcalloc(p, 3 * 256);

        palette_fill(t, f, d);
        m->table = t;
    } else if (m->map == TIFF_YCC) {
        ycc_table *t = apr_pcalloc(p, sizeof *t);

        ycc_fill(t, f, d);
        m->table = t;
    }
    return f->bad;
}

size_t iip_tiff_form_row(const iip_tiff_form *m, const iip_tiff_dir *d)
{
    const size_t w = (size_t)d->block_w, sx = (size_t)m->sub_x;

    if (m->clumps)
        return (w + sx - 1) / sx * (sx * (size_t)m->sub_y + 2);
    return (w * (size_t)m->bits * (size_t)(d->planar ? 1 : d->samples) + 7) / 8;
}

size_t iip_tiff_form_size(const iip_tiff_form *m, const iip_tiff_dir *d, int64_t rows)
{
    return iip_tiff_form_row(m, d) * (size_t)(m->clumps ? (rows + m->sub_y - 1) / m->sub_y : rows);
}

/* n samples from the first'th on, each `step` samples further. */
static void unpack(const iip_tiff_form *m, const unsigned char *in, size_t first, size_t n, unsigned char *out,
                   size_t step)
{
    const size_t size = iip_sample_size(m->sample), bits = (size_t)m->bits;
    const unsigned mask = (1u << (bits & 7)) - 1;

    if (bits < 8) {
        for (size_t i = 0, at = first * bits; i < n; i++, at += bits)
            out[i * step] = (unsigned char)((in[at >> 3] >> (8 - bits - (at & 7)) & mask) * (unsigned)m->scale);
        return;
    }
    in += first * size;
    for (size_t i = 0; i < n; i++)
        memcpy(out + i * step * size, in + i * size, size);
}

/* Pixels x .. x+n of row y among clumps, as three samples each. */
static void unclump(const iip_tiff_form *m, const unsigned char *block, size_t row, size_t x, size_t y, size_t n,
                    unsigned char *out)
{
    const size_t sx = (size_t)m->sub_x, sy = (size_t)m->sub_y, luma = sx * sy;
    const unsigned char *line = block + y / sy * row;

    for (size_t i = x; i < x + n; i++, out += 3) {
        const unsigned char *c = line + i / sx * (luma + 2);

        out[0] = c[y % sy * sx + i % sx];
        out[1] = c[luma];
        out[2] = c[luma + 1];
    }
}

static unsigned char clamp8(int v)
{
    v = (v + 32768) >> 16;
    return (unsigned char)(v < 0 ? 0 : v > 255 ? 255 : v);
}

static void from_ycc(const ycc_table *t, const unsigned char *in, size_t in_step, size_t n, unsigned char *out,
                     size_t step)
{
    for (size_t i = 0; i < n; i++, in += in_step, out += step) {
        const int y = t->luma[in[0]], cb = in[1], cr = in[2];

        out[0] = clamp8(y + t->r_cr[cr]);
        out[1] = clamp8(y + t->g_cb[cb] + t->g_cr[cr]);
        out[2] = clamp8(y + t->b_cb[cb]);
    }
}

/* One band to its place. */
#define MOVE(T)                                                                                                        \
    for (size_t i = 0; i < n; i++)                                                                                     \
        ((T *)out)[i * step] = ((const T *)in)[i * in_step];
static void move(size_t size, const unsigned char *in, size_t in_step, size_t n, unsigned char *out, size_t step)
{
    if (size == 1) {
        MOVE(uint8_t)
    } else if (size == 2) {
        MOVE(uint16_t)
    } else if (size == 4) {
        MOVE(uint32_t)
    } else {
        MOVE(uint64_t)
    }
}

/* Multiplied colours to straight ones. Signed samples have no scale to do it by. */
#define STRAIGHTEN(T, top, round)                                                                                      \
    for (T *q = (T *)px; n--; q += bands)                                                                              \
        for (int b = 0; b < bands - 1; b++) {                                                                          \
            const double a = (double)q[bands - 1], v = a > 0 ? (double)q[b] * (top) / a + (round) : 0;                 \
            q[b] = (round) > 0 && v > (top) ? (T)(top) : (T)v;                                                         \
        }
static void straighten(iip_sample s, int bands, unsigned char *px, size_t n)
{
    if (s == IIP_U8) {
        STRAIGHTEN(uint8_t, 255., .5)
    } else if (s == IIP_U16) {
        STRAIGHTEN(uint16_t, 65535., .5)
    } else if (s == IIP_U32) {
        STRAIGHTEN(uint32_t, 4294967295., .5)
    } else if (s == IIP_F32) {
        STRAIGHTEN(float, 1., 0)
    } else if (s == IIP_F64) {
        STRAIGHTEN(double, 1., 0)
    }
}

void iip_tiff_form_deliver(const iip_tiff_form *m, const unsigned char *block, size_t row, size_t plane, int64_t x,
                           int64_t y, int64_t n, unsigned char *wide, unsigned char *out)
{
    const size_t size = iip_sample_size(m->sample), in = (size_t)m->in, count = (size_t)n;
    const size_t first = (size_t)x, bands = (size_t)m->bands;
    const unsigned char *line = block + (size_t)y * row, *px;

    if (m->clumps) {
        unclump(m, block, row, first, (size_t)y, count, wide);
        px = wide;
    } else if (m->planar) {
        for (size_t k = 0; k < in; k++)
            unpack(m, line + k * plane, first, count, wide + k * size, in);
        px = wide;
    } else if (m->bits < 8) {
        unpack(m, line, first * in, count * in, wide, 1);
        px = wide;
    } else {
        px = line + first * in * size;
    }
    if (m->plain || (m->space == IIP_MULTIBAND && in == bands)) {
        memcpy(out, px, count * in * size);
        return;
    }
    if (m->map == TIFF_PALETTE) {
        const unsigned char *t = m->table;

        for (size_t i = 0; i < count; i++)
            memcpy(out + i * bands, t + 3 * px[i * in], 3);
    } else if (m->map == TIFF_YCC) {
        from_ycc(m->table, px, in, count, out, bands);
    } else {
        for (int b = 0; b < m->colours; b++)
            move(size, px + (size_t)b * size, in, count, out + (size_t)b * size, bands);
        if (m->map == TIFF_INVERT && (m->sample == IIP_U8 || m->sample == IIP_U16 || m->sample == IIP_U32))
            for (size_t i = 0; i < count; i++)
                for (size_t k = 0; k < size; k++)
                    out[i * bands * size + k] ^= 255;
    }
    if (m->alpha) {
        const size_t at = m->planar ? in - 1 : (size_t)m->stored[m->colours];

        move(size, px + at * size, in, count, out + (bands - 1) * size, bands);
        if (m->associated)
            straighten(m->sample, m->bands, out, count);
    }
}

void iip_tiff_form_empty(const iip_tiff_form *m, unsigned char *out, size_t n)
{
    const size_t size = iip_sample_size(m->sample), count = n * (size_t)m->bands;

    if (m->alpha || (m->space != IIP_GREY && m->space != IIP_RGB)) {
        memset(out, 0, count * size);
        return;
    }
    memset(out, 255, count * size);
    if (m->sample == IIP_S16 || m->sample == IIP_S32)
        for (size_t i = 0; i < count; i++) {
            const int32_t top = m->sample == IIP_S16 ? INT16_MAX : INT32_MAX;

            if (m->sample == IIP_S16)
                ((int16_t *)out)[i] = (int16_t)top;
            else
                ((int32_t *)out)[i] = top;
        }
    else if (m->sample == IIP_F32)
        for (size_t i = 0; i < count; i++)
            ((float *)out)[i] = 1;
    else if (m->sample == IIP_F64)
        for (size_t i = 0; i < count; i++)
            ((double *)out)[i] = 1;
}
