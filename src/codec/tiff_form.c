/* SPDX-License-Identifier: Apache-2.0
 * TIFF: how pixels are stored and what is made of them. Two tables say what is read: depths and photometric
 * interpretations.
 *
 * Integers of a depth that no sample has are widened so that their whole range becomes the sample's: black stays 0 and
 * white is all ones, the upper bits are the stored ones. Signed ones are moved to begin at 0 for that, and back. */
#include "codec/tiff_dir.h"
#include <math.h>
#include <string.h>

enum { UINT = 1, INT = 2, REAL = 3, UNTYPED = 4, COMPLEX_INT = 5, COMPLEX_REAL = 6 };

static const struct {
    int from, to, format; /* bits */
    iip_sample sample;
    int exponent; /* bits, of floats to be widened */
} depths[] = {
    {1, 8, UINT, IIP_U8, 0},    {9, 16, UINT, IIP_U16, 0},  {17, 32, UINT, IIP_U32, 0},
    {2, 16, INT, IIP_S16, 0},   {17, 32, INT, IIP_S32, 0},  {16, 16, REAL, IIP_F32, 5},
    {24, 24, REAL, IIP_F32, 7}, {32, 32, REAL, IIP_F32, 0}, {64, 64, REAL, IIP_F64, 0},
};

#define BIT(n)   (UINT64_C(1) << (n))
#define ANY      UINT64_MAX
#define UP_TO(n) (BIT((n) + 1) - 1)

static const struct {
    int photometric, colours, bands; /* stored, delivered */
    iip_space space;
    iip_tiff_map map;
    uint64_t depths; /* set of those of integers */
    int real;        /* floats too */
} kinds[] = {
    {TIFF_WHITE_IS_0, 1, 1, IIP_GREY, TIFF_INVERT, ANY, 1},
    {TIFF_BLACK_IS_0, 1, 1, IIP_GREY, TIFF_AS_IS, ANY, 1},
    {TIFF_RGB, 3, 3, IIP_RGB, TIFF_AS_IS, ANY, 1},
    {TIFF_INDEXED, 1, 3, IIP_RGB, TIFF_PALETTE, UP_TO(8), 0},
    {TIFF_IS_MASK, 1, 1, IIP_GREY, TIFF_AS_IS, ANY, 0},
    {TIFF_SEPARATED, 4, 4, IIP_CMYK, TIFF_AS_IS, ANY, 1},
    {TIFF_YCBCR, 3, 3, IIP_RGB, TIFF_YCC, BIT(8), 0},
    {TIFF_CIELAB, 3, 3, IIP_LAB, TIFF_AS_IS, BIT(8) | BIT(16), 1},
    {TIFF_ICC_LAB, 3, 3, IIP_LAB, TIFF_ICCLAB, BIT(8) | BIT(16), 0},
    /* libtiff delivers these with the tone curve of a screen, in 8 bits */
    {TIFF_LOGL, 1, 1, IIP_GREY, TIFF_AS_IS, BIT(8), 0},
    {TIFF_LOGLUV, 3, 3, IIP_RGB, TIFF_AS_IS, BIT(8), 0},
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

static int full_bits(iip_sample s)
{
    return 8 * (int)iip_sample_size(s);
}

/* Sample format and depth. */
static iip_status shape_samples(iip_tiff_form *m, iip_tiff_file *f, const iip_tiff_dir *d, int format)
{
    size_t j;

    for (j = 0; j < ROWS(depths); j++)
        if (m->bits >= depths[j].from && m->bits <= depths[j].to && depths[j].format == format)
            break;
    if (j == ROWS(depths))
        return FAIL(f, "samples of %d bits, format %d", m->bits, format);
    m->sample = depths[j].sample;
    m->exponent = depths[j].exponent;
    m->native = m->bits == full_bits(m->sample);
    if (format == INT && !m->native)
        m->sign = 1u << (m->bits - 1);
    m->scale = BIT(32);
    if (format != REAL && d->photometric != TIFF_LOGL && d->photometric != TIFF_LOGLUV) {
        const uint64_t from = UP_TO(d->bits - 1), to = UP_TO(full_bits(m->sample) - 1);

        m->scale = (uint64_t)(((unsigned __int128)to * BIT(32) + from / 2) / from);
    }
    return IIP_OK;
}

/* Which samples are delivered. */
static iip_status shape_bands(iip_tiff_form *m, iip_tiff_file *f, const iip_tiff_dir *d)
{
    int extra;

    m->alpha_at = find_alpha(f, d, m->colours, &m->associated);
    if (f->bad)
        return f->bad;
    m->alpha = m->alpha_at >= 0;
    if (m->space == IIP_LAB)
        m->associated = 0; /* signed axes have no scale to divide on */
    extra = d->samples - m->colours - m->alpha;
    /* Inks by other names; grey with more beside it; RGB with so much that it is no picture with something at its side
     */
    if ((m->space == IIP_CMYK && iip_tiff_uint(f, &d->tag[TAG_INK_SET], 0, 1) != 1) ||
        (extra && m->space == IIP_GREY) || (extra && m->space == IIP_RGB && m->map == TIFF_AS_IS && d->samples > 4)) {
        m->space = IIP_MULTIBAND;
        m->colours += extra;
        m->bands = m->colours;
    }
    m->bands += m->alpha;
    m->in = d->planar ? m->colours + m->alpha : d->samples;
    return f->bad;
}

iip_status iip_tiff_form_shape(iip_tiff_form *m, iip_tiff_file *f, const iip_tiff_dir *d)
{
    int format = d->format == UNTYPED ? UINT : d->format;
    size_t k;

    memset(m, 0, sizeof *m);
    for (k = 0; k < ROWS(kinds) && kinds[k].photometric != d->photometric; k++)
        ;
    if (k == ROWS(kinds))
        return FAIL(f, "photometric interpretation %d", d->photometric);
    if (format == COMPLEX_INT || format == COMPLEX_REAL)
        return FAIL(f, "complex samples");
    m->bits = d->bits;
    if (d->photometric == TIFF_LOGL || d->photometric == TIFF_LOGLUV) {
        m->bits = 8;
        format = UINT;
    } else if (iip_tiff_is_jp2(d) && d->bits >= 1 && d->bits <= 16) {
        m->bits = d->bits > 8 ? 16 : 8; /* as its decoder delivers them */
    } else if (kinds[k].space == IIP_LAB && format == INT) {
        format = UINT; /* the axes have a sign whatever the tag says, L has none */
    }
    if (format == REAL ? !kinds[k].real : m->bits > 63 || !(kinds[k].depths & BIT(m->bits)))
        return FAIL(f, "photometric interpretation %d with %d bits, format %d", d->photometric, m->bits, format);
    if (d->samples < kinds[k].colours && d->photometric != TIFF_SEPARATED)
        return FAIL(f, "%d samples for photometric interpretation %d", d->samples, d->photometric);
    m->bands = kinds[k].bands;
    m->colours = kinds[k].colours;
    m->space = kinds[k].space;
    m->map = kinds[k].map;
    m->planar = d->planar;
    if (d->samples < m->colours) /* fewer inks than those four */
        m->bands = m->colours = 1;
    if (shape_samples(m, f, d, format) != IIP_OK || shape_bands(m, f, d) != IIP_OK)
        return f->bad;
    if (m->space == IIP_CMYK && m->colours < 4)
        return FAIL(f, "%d samples for CMYK", d->samples);
    m->bilevel = d->bits == 1 && m->space == IIP_GREY && !m->alpha;
    if (m->map == TIFF_YCC) {
        m->sub_x = d->sub_x;
        m->sub_y = d->sub_y;
        m->clumps = d->sub_x != 1 || d->sub_y != 1;
        if ((d->sub_x != 1 && d->sub_x != 2 && d->sub_x != 4) || (d->sub_y != 1 && d->sub_y != 2 && d->sub_y != 4) ||
            (m->clumps && (d->planar || d->samples != 3)))
            return FAIL(f, "YCbCr of %d samples, subsampled %d by %d", d->samples, d->sub_x, d->sub_y);
    }
    m->plain = !d->planar && m->native && m->map == TIFF_AS_IS && m->bands == d->samples && !m->associated &&
               (!m->alpha || m->alpha_at == m->bands - 1);
    return IIP_OK;
}

int iip_tiff_form_stored(const iip_tiff_form *m, int i)
{
    return i >= m->colours ? m->alpha_at : i + (m->alpha && i >= m->alpha_at);
}

static int fixed(double v)
{
    return (int)lrint(v * 65536);
}

static double bounded(double v)
{
    return v > 1000 ? 1000 : v > -1000 ? v : -1000; /* a NaN becomes -1000 */
}

/* TIFF 6.0 section 20 and 21: codes to 0..255 by ReferenceBlackWhite, then by the luma coefficients. */
static void ycc_fill(iip_tiff_ycc *t, iip_tiff_file *f, const iip_tiff_dir *d)
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

/* By indexes as they come out of unpacking: widened. */
static void palette_fill(const iip_tiff_form *m, unsigned char *t, iip_tiff_file *f, const iip_tiff_dir *d)
{
    const unsigned n = 1u << d->bits;
    uint64_t top = 0;

    for (int pass = 0; pass < 2; pass++) /* old writers stored 8 bits in the 16 */
        for (unsigned i = 0; i < 3 * n && !f->bad; i++) {
            uint64_t v = iip_tiff_uint(f, &d->tag[TAG_COLORMAP], i, 0);

            if (pass)
                t[iip_tiff_form_widen(m, i % n) * 3 + i / n] = (unsigned char)(top > 255 ? v >> 8 : v);
            else if (v > top)
                top = v;
        }
}

/* A stored number as it is delivered. */
static double delivered(const iip_tiff_form *m, double v)
{
    if (m->exponent)
        return v;
    return (v + m->sign) * ((double)m->scale / 4294967296) - (m->sign ? ldexp(1, full_bits(m->sample) - 1) : 0);
}

/* What is black and white without a tag, as stored. */
static void usual_range(const iip_tiff_form *m, const iip_tiff_dir *d, double *lo, double *hi)
{
    const int is_signed = m->sample == IIP_S16 || m->sample == IIP_S32;

    *lo = is_signed ? -ldexp(1, d->bits - 1) : 0;
    *hi = m->sample == IIP_F32 || m->sample == IIP_F64 ? 1 : ldexp(1, d->bits - is_signed) - 1;
}

/* The range of a stored sample as delivered, before any inversion; 0 without a good one in the tags. */
static int stored_range(const iip_tiff_form *m, iip_tiff_file *f, const iip_tiff_dir *d, int sample, double *lo,
                        double *hi)
{
    double range[2];

    usual_range(m, d, &range[0], &range[1]);
    for (int i = 0; i < 2; i++) {
        const iip_tiff_entry *t = &d->tag[i ? TAG_SMAX : TAG_SMIN];
        double v;

        if (t->count != 1 && t->count != (uint64_t)d->samples)
            continue;
        v = iip_tiff_real(f, t, t->count == 1 ? 0 : (uint64_t)sample, range[i]);
        if (!i || v != 0)
            range[i] = v;
    }
    *lo = delivered(m, range[0]);
    *hi = delivered(m, range[1]);
    return *lo<*hi && * lo> - 3e38 && *hi < 3e38;
}

const float *iip_tiff_form_range(const iip_tiff_form *m, iip_tiff_file *f, const iip_tiff_dir *d, apr_pool_t *p)
{
    float *v;

    if ((!d->tag[TAG_SMIN].count && !d->tag[TAG_SMAX].count) || (m->map != TIFF_AS_IS && m->map != TIFF_INVERT) ||
        m->space == IIP_LAB || d->photometric == TIFF_LOGL || d->photometric == TIFF_LOGLUV)
        return NULL;
    v = apr_palloc(p, 2 * (size_t)m->bands * sizeof *v);
    for (int b = 0; b < m->bands; b++) {
        double lo, hi;

        if (!stored_range(m, f, d, iip_tiff_form_stored(m, b), &lo, &hi))
            return NULL;
        if (m->map == TIFF_INVERT && !(m->alpha && b == m->bands - 1)) {
            double was = lo, sum = m->low + m->top;

            lo = sum - hi;
            hi = sum - was;
        }
        v[b] = (float)lo;
        v[m->bands + b] = (float)hi;
    }
    return v;
}

iip_status iip_tiff_form_table(iip_tiff_form *m, iip_tiff_file *f, const iip_tiff_dir *d, apr_pool_t *p)
{
    if (m->map == TIFF_PALETTE) {
        if (d->tag[TAG_COLORMAP].count < 3u << d->bits)
            return FAIL(f, "a palette of %u values", (unsigned)d->tag[TAG_COLORMAP].count);
        unsigned char *t = apr_pcalloc(p, 3 * 256);

        palette_fill(m, t, f, d);
        m->table = t;
    } else if (m->map == TIFF_YCC) {
        iip_tiff_ycc *t = apr_pcalloc(p, sizeof *t);

        ycc_fill(t, f, d);
        m->table = t;
    }
    usual_range(m, d, &m->low, &m->top);
    if (m->sample != IIP_F32 && m->sample != IIP_F64) {
        m->low = delivered(m, m->low);
        m->top = delivered(m, m->top);
    } else if (!stored_range(m, f, d, 0, &m->low, &m->top)) {
        usual_range(m, d, &m->low, &m->top);
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
