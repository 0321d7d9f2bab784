/* SPDX-License-Identifier: Apache-2.0
 * JPEG 2000: components to bands. Palettes, the meaning of channels, luma and chroma, depths, signs, and components of
 * fewer samples (T.800 annex I.5.3, T.801 annex M.11.7). */
#include "codec/jp2.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef enum { AS_IS, INVERT, YCC, LAB } mapping;

typedef struct {
    int comp, column; /* column: of the palette, -1 = none */
    int bits, sign;
    int sx, sy; /* pixels to a sample */
} channel;

/* Luma and chroma: weights of red and blue, and how the samples lie in their range if that is not all of it. */
typedef struct {
    double kr, kb;
    int studio;
} ycc_kind;

static const struct {
    int space, colours;
    iip_space is;
    mapping map;
    ycc_kind ycc;
} spaces[] = {
    {0, 1, IIP_GREY, INVERT, {0, 0, 0}},    {1, 3, IIP_RGB, YCC, {.2126, .0722, 1}},
    {3, 3, IIP_RGB, YCC, {.299, .114, 0}},  {4, 3, IIP_RGB, YCC, {.299, .114, 1}},
    {12, 4, IIP_CMYK, AS_IS, {0, 0, 0}},    {13, 3, IIP_RGB, INVERT, {0, 0, 0}},
    {14, 3, IIP_LAB, LAB, {0, 0, 0}},       {15, 1, IIP_GREY, AS_IS, {0, 0, 0}},
    {16, 3, IIP_RGB, AS_IS, {0, 0, 0}},     {17, 1, IIP_GREY, AS_IS, {0, 0, 0}},
    {18, 3, IIP_RGB, YCC, {.299, .114, 0}},
};

static const struct {
    char signature[5];
    int space; /* of the table above */
} profiles[] = {{"GRAY", 17}, {"RGB ", 16}, {"CMYK", 12}, {"Lab ", 14}};

struct iip_jp2_form {
    const iip_jp2_file *f;
    int bands, colours; /* colours: bands without alpha */
    channel *band;
    iip_sample sample;
    iip_space space;
    mapping map;
    ycc_kind ycc;
    int alpha, premultiplied, bits, bilevel;
    double lab[6]; /* range and offset of L, a, b */
};

#define ROWS(a) (sizeof(a) / sizeof *(a))

static iip_status bad(iip_error *e, const char *what)
{
    return iip_fail(e, IIP_E_FORMAT, 0, "JPEG 2000: %s", what);
}

/* --- what the channels are ---------------------------------------------------------------------------------------- */

static iip_status find_channels(const iip_jp2_head *h, channel **out, int *count, apr_pool_t *p, iip_error *e)
{
    const iip_jp2_file *f = h->f;
    const int n = f->channels ? f->channels : h->comps;
    channel *all = apr_palloc(p, (size_t)n * sizeof *all);

    if (f->entries && !f->channels)
        return bad(e, "a palette without channels");
    for (int i = 0; i < n; i++) {
        const iip_jp2_channel c = f->channels ? f->channel[i] : (iip_jp2_channel){i, -1};
        const iip_jp2_comp *k = &h->comp[c.comp < h->comps ? c.comp : 0];

        if (c.comp >= h->comps || c.column >= f->columns)
            return bad(e, "a channel of a component or palette that is not there");
        all[i] = (channel){c.comp, c.column, k->bits, k->sign, (int)(k->dx / h->dx), (int)(k->dy / h->dy)};
        if (c.column >= 0) {
            all[i].bits = (f->column_bits[c.column] & 127) + 1;
            all[i].sign = f->column_bits[c.column] >> 7;
        }
    }
    *out = all;
    *count = n;
    return IIP_OK;
}

/* The channels of the colours in their order, -1 behind the last; returns their number. *alpha: channel, or -1. */
static int find_colours(iip_jp2_form *m, int channels, int *order, int *alpha)
{
    const iip_jp2_file *f = m->f;
    int n = 0;

    *alpha = -1;
    for (int i = 0; i <= channels; i++)
        order[i] = f->meanings || i == channels ? -1 : i;
    for (int i = 0; i < f->meanings; i++) {
        const iip_jp2_meaning *k = &f->meaning[i];

        if (k->channel >= channels)
            continue;
        if (k->kind == IIP_JP2_COLOUR && k->of >= 1 && k->of <= channels) {
            order[k->of - 1] = k->channel;
        } else if ((k->kind == IIP_JP2_OPACITY || k->kind == IIP_JP2_PREMULTIPLIED) && k->of == 0 && *alpha < 0) {
            *alpha = k->channel;
            m->premultiplied = k->kind == IIP_JP2_PREMULTIPLIED;
        }
    }
    if (order[0] < 0) /* none has a meaning: as they come */
        for (int i = 0, at = 0; i < channels; i++)
            if (i != *alpha)
                order[at++] = i;
    while (order[n] >= 0)
        n++;
    return n;
}

/* Row of the spaces, or -1 if nothing is known. */
static int find_space(const iip_jp2_file *f, int colours, iip_error *e)
{
    int space = f->space;

    for (size_t i = 0; f->space == IIP_JP2_ICC && i < ROWS(profiles); i++)
        if (memcmp(f->icc_space, profiles[i].signature, 4) == 0)
            space = profiles[i].space;
    for (size_t i = 0; i < ROWS(spaces); i++)
        if (spaces[i].space == space)
            return spaces[i].colours <= colours ? (int)i : -1;
    if (space >= 0)
        iip_fail(e, IIP_E_FORMAT, 0, "JPEG 2000: colour space %d", space);
    return -1;
}

/* Without a word about colour: three components are RGB, but if the later two have fewer samples, they are chroma. */
static void guess_space(iip_jp2_form *m, const channel *all, const int *order, int colours)
{
    const channel *y = &all[order[0]], *cb = &all[order[colours > 1]];

    m->colours = colours;
    m->space = colours == 1 ? IIP_GREY : colours == 3 ? IIP_RGB : IIP_MULTIBAND;
    if (colours == 3 && cb->sx * cb->sy > y->sx * y->sy && cb->sx == all[order[2]].sx && cb->sy == all[order[2]].sy) {
        m->map = YCC;
        m->ycc = (ycc_kind){.299, .114, 0};
    }
}

static void choose_sample(iip_jp2_form *m)
{
    int most = 0, all_signed = m->map == AS_IS;

    for (int i = 0; i < m->bands; i++) {
        most = m->band[i].bits > most ? m->band[i].bits : most;
        all_signed &= m->band[i].sign;
    }
    m->bits = most;
    if (m->map == LAB)
        m->sample = IIP_F32;
    else if (all_signed)
        m->sample = most <= 16 ? IIP_S16 : IIP_S32;
    else
        m->sample = most <= 8 ? IIP_U8 : most <= 16 ? IIP_U16 : IIP_U32;
    if (all_signed)
        m->premultiplied = 0; /* there is no scale to undo it by */
    m->bilevel = m->bands == 1 && m->space == IIP_GREY && most == 1;
}

static void set_lab(iip_jp2_form *m)
{
    for (int i = 0; i < 3; i++) {
        const double full = ldexp(1, m->band[i].bits);
        const int64_t offset = m->f->lab[2 * i + 1];

        m->lab[2 * i] = m->f->space == IIP_JP2_ICC ? (i ? 255 : 100) : (double)m->f->lab[2 * i];
        if (m->f->space == IIP_JP2_ICC) /* a and b as ICC codes them */
            m->lab[2 * i + 1] = i ? 128 / 255. * (full - 1) : 0;
        else
            m->lab[2 * i + 1] = offset >= 0 ? (double)offset : i == 0 ? 0 : i == 1 ? full / 2 : full / 4 + full / 8;
    }
}

iip_status iip_jp2_form_new(iip_jp2_form **out, const iip_jp2_head *h, apr_pool_t *p, iip_error *e)
{
    iip_jp2_form *m = apr_pcalloc(p, sizeof *m);
    channel *all = NULL;
    int *order, channels = 0, colours, alpha, row;

    e->status = IIP_OK;
    m->f = h->f;
    if (find_channels(h, &all, &channels, p, e) != IIP_OK)
        return e->status;
    order = apr_palloc(p, (size_t)(channels + 1) * sizeof *order);
    colours = find_colours(m, channels, order, &alpha);
    if (colours == 0)
        return bad(e, "no channel of colour");
    row = find_space(h->f, colours, e);
    if (e->status != IIP_OK)
        return e->status;
    if (row < 0) {
        guess_space(m, all, order, colours);
    } else if (alpha < 0 && colours > 4 && spaces[row].map == AS_IS && spaces[row].is != IIP_CMYK) {
        m->space = IIP_MULTIBAND; /* more bands than colours, and no one says what they are: none is left out */
        m->colours = colours;
    } else {
        m->space = spaces[row].is;
        m->map = spaces[row].map;
        m->ycc = spaces[row].ycc;
        m->colours = spaces[row].colours;
    }
    m->alpha = alpha >= 0;
    m->bands = m->colours + m->alpha;
    m->band = apr_palloc(p, (size_t)m->bands * sizeof *m->band);
    for (int i = 0; i < m->colours; i++)
        m->band[i] = all[order[i]];
    if (m->alpha)
        m->band[m->colours] = all[alpha];
    choose_sample(m);
    if (m->map == LAB)
        set_lab(m);
    *out = m;
    return IIP_OK;
}

void iip_jp2_form_info(const iip_jp2_form *m, iip_info *out)
{
    out->bands = m->bands;
    out->bits = m->bits;
    out->sample = m->sample;
    out->space = m->space;
    out->alpha = m->alpha;
    out->bilevel = m->bilevel;
}

int iip_jp2_form_uses(const iip_jp2_form *m, int comp)
{
    for (int i = 0; i < m->bands; i++)
        if (m->band[i].comp == comp)
            return 1;
    return 0;
}

/* --- a row -------------------------------------------------------------------------------------------------------- */

static int64_t into(int64_t v, int64_t from, int64_t n)
{
    return v < from ? 0 : v >= from + n ? n - 1 : v - from;
}

/* A band's samples of a row, as stored; in line unless they already lie side by side. */
static const int32_t *fetch(const iip_jp2_form *m, const channel *k, const iip_jp2_plane *q, int64_t x, int64_t y,
                            int64_t n, int32_t *line, int copy)
{
    const int32_t *row = q->px + into(y / k->sy, q->y0, q->h) * q->w;

    if (k->sx == 1 && k->column < 0 && !copy && x >= q->x0 && x + n <= q->x0 + q->w)
        return row + (x - q->x0);
    for (int64_t i = 0, s = x / k->sx, left = k->sx - x % k->sx; i < n; i++) {
        line[i] = row[into(s, q->x0, q->w)];
        if (--left == 0) {
            s++;
            left = k->sx;
        }
    }
    if (k->column >= 0) {
        const int32_t *t = m->f->palette + k->column;
        const int64_t columns = m->f->columns;

        for (int64_t i = 0; i < n; i++)
            line[i] = t[into(line[i], 0, m->f->entries) * columns];
    }
    return line;
}

static double full(const channel *k)
{
    return ldexp(1, k->bits) - 1;
}

/* Moves signed samples to begin at 0. */
static void lift(const channel *k, int32_t *v, int64_t n)
{
    const int32_t half = k->sign ? INT32_C(1) << (k->bits - 1) : 0;

    for (int64_t i = 0; i < n && half; i++)
        v[i] += half;
}

static int32_t rounded(double v, double most)
{
    return v > 0 ? (int32_t)(v < most ? v + .5 : most) : 0;
}

/* Luma and chroma to red, green and blue, in luma's depth. */
static void from_ycc(const iip_jp2_form *m, int32_t *const line[3], int64_t n)
{
    const channel *y = &m->band[0], *cb = &m->band[1], *cr = &m->band[2];
    const double kr = m->ycc.kr, kb = m->ycc.kb, kg = 1 - kr - kb, most = full(y);
    const double black = m->ycc.studio ? ldexp(16, y->bits - 8) : 0;
    const double luma = most / (m->ycc.studio ? ldexp(219, y->bits - 8) : most);
    const double u = most / (m->ycc.studio ? ldexp(224, cb->bits - 8) : full(cb));
    const double v = most / (m->ycc.studio ? ldexp(224, cr->bits - 8) : full(cr));
    const double u0 = cb->sign ? 0 : ldexp(.5, cb->bits), v0 = cr->sign ? 0 : ldexp(.5, cr->bits);

    lift(y, line[0], n);
    for (int64_t i = 0; i < n; i++) {
        const double l = (line[0][i] - black) * luma, b = (line[1][i] - u0) * u, r = (line[2][i] - v0) * v;

        line[0][i] = rounded(l + 2 * (1 - kr) * r, most);
        line[1][i] = rounded(l - 2 * kb * (1 - kb) / kg * b - 2 * kr * (1 - kr) / kg * r, most);
        line[2][i] = rounded(l + 2 * (1 - kb) * b, most);
    }
}

static void straighten(const channel *k, int32_t *v, const channel *alpha, const int32_t *a, int64_t n)
{
    const double top = full(alpha), most = full(k);

    for (int64_t i = 0; i < n; i++)
        v[i] = a[i] > 0 ? rounded(v[i] * top / a[i], most) : 0;
}

/* Rows may begin anywhere. */
typedef uint16_t __attribute__((aligned(1), may_alias)) any16;
typedef uint32_t __attribute__((aligned(1), may_alias)) any32;
typedef float __attribute__((aligned(1), may_alias)) any_float;

#define STORE(T, EXPR)                                                                                                 \
    for (int64_t i = 0; i < n; i++)                                                                                    \
    ((T *)out)[i * step] = (T)(EXPR)
#define SCALED(V) (((uint64_t)(V)*scale + (UINT64_C(1) << 31)) >> 32)

/* Samples from 0 on (signed ones as they are, if the picture is) to their place. Integers of any depth take all the
 * range of theirs: white stays white. */
static void store(const iip_jp2_form *m, int b, const int32_t *v, int64_t n, unsigned char *out)
{
    const int64_t step = m->bands;
    const channel *k = &m->band[b];
    const uint32_t most = (uint32_t)full(k), half = (uint32_t)1 << (k->bits - 1);
    const size_t size = iip_sample_size(m->sample);
    const uint64_t to = (UINT64_C(1) << (8 * size)) - 1, scale = ((to << 32) + most / 2) / most;

    out += (size_t)b * size;
    switch (m->sample) {
    case IIP_U8:
        if (k->bits == 8)
            STORE(uint8_t, v[i]);
        else
            STORE(uint8_t, SCALED((uint32_t)v[i]));
        break;
    case IIP_U16:
        STORE(any16, SCALED((uint32_t)v[i]));
        break;
    case IIP_U32:
        STORE(any32, SCALED((uint32_t)v[i]));
        break;
    case IIP_S16:
        STORE(any16, SCALED((uint32_t)v[i] + half) ^ 0x8000);
        break;
    case IIP_S32:
        STORE(any32, SCALED((uint32_t)v[i] + half) ^ 0x80000000);
        break;
    default: /* CIELAB, and alpha to 1 */
        if (m->alpha && b == m->colours)
            STORE(any_float, v[i] / (double)most);
        else
            STORE(any_float, (v[i] - m->lab[2 * b + 1]) * m->lab[2 * b] / (double)most);
    }
}

/* line: room for each band's row. */
static void fill_row(const iip_jp2_form *m, const iip_jp2_plane *plane, int64_t x, int64_t y, int64_t n, int32_t *line,
                     unsigned char *out)
{
    const int as_is = m->sample == IIP_S16 || m->sample == IIP_S32;
    int32_t *ycc[3] = {line, line + n, line + 2 * n};
    int32_t *alpha = line + m->colours * n;

    if (m->map == YCC) {
        for (int b = 0; b < 3; b++)
            fetch(m, &m->band[b], &plane[m->band[b].comp], x, y, n, ycc[b], 1);
        from_ycc(m, ycc, n);
    }
    if (m->alpha) {
        fetch(m, &m->band[m->colours], &plane[m->band[m->colours].comp], x, y, n, alpha, 1);
        if (!as_is)
            lift(&m->band[m->colours], alpha, n);
        store(m, m->colours, alpha, n, out);
    }
    for (int b = 0; b < m->colours; b++) {
        const channel *k = &m->band[b];
        int32_t *mine = line + b * n;
        const int change = m->map == INVERT || m->premultiplied || (k->sign && !as_is);
        const int32_t *v = m->map == YCC ? mine : fetch(m, k, &plane[k->comp], x, y, n, mine, change);

        if (k->sign && !as_is && m->map != YCC)
            lift(k, mine, n);
        if (m->map == INVERT)
            for (int64_t i = 0; i < n; i++)
                mine[i] = (int32_t)full(k) - mine[i];
        if (m->premultiplied && m->map != LAB)
            straighten(k, mine, &m->band[m->colours], alpha, n);
        store(m, b, v, n, out);
    }
}

iip_status iip_jp2_form_fill(const iip_jp2_form *m, const iip_jp2_plane *plane, int64_t x, int64_t y, iip_raster *out,
                             iip_error *e)
{
    int32_t *line = malloc((size_t)(m->bands > 3 ? m->bands : 3) * (size_t)out->w * sizeof *line);

    if (!line)
        return iip_fail(e, IIP_E_MEMORY, APR_ENOMEM, "JPEG 2000: no memory for a row");
    for (int64_t i = 0; i < out->h; i++)
        fill_row(m, plane, x, y + i, out->w, line, out->px + (size_t)i * out->stride);
    free(line);
    return IIP_OK;
}
