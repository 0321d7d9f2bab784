/* SPDX-License-Identifier: Apache-2.0
 * A progressive JPEG with Huffman codes (ITU-T T.81, annexes B, C, G) at 1/8 of its size: the DC coefficients are that
 * picture. Of components with fewer samples than others each block is more than one pixel of it, and theirs of AC are
 * decoded too. All other scans are passed over, but to the end of the file: one that was cut off is no picture. libjpeg
 * would decode every scan, and keep 64 coefficients where one is wanted. */
#include "codec/codec.h"
#include "codec/jpeg.h"
#include "codec/jpeg_input.h"
#include <math.h>
#include <string.h>

#define MCU_MOST   10
#define LAST_SHIFT 13

/* Frequencies along the order of coefficients: across, down */
static const unsigned char across_of[64] = {0, 1, 0, 0, 1, 2, 3, 2, 1, 0, 0, 1, 2, 3, 4, 5, 4, 3, 2, 1, 0, 0,
                                            1, 2, 3, 4, 5, 6, 7, 6, 5, 4, 3, 2, 1, 0, 1, 2, 3, 4, 5, 6, 7, 7,
                                            6, 5, 4, 3, 2, 3, 4, 5, 6, 7, 7, 6, 5, 4, 5, 6, 7, 7, 6, 7};
static const unsigned char down_of[64] = {0, 0, 1, 2, 1, 0, 0, 1, 2, 3, 4, 3, 2, 1, 0, 0, 1, 2, 3, 4, 5, 6,
                                          5, 4, 3, 2, 1, 0, 0, 1, 2, 3, 4, 5, 6, 7, 7, 6, 5, 4, 3, 2, 1, 2,
                                          3, 4, 5, 6, 7, 7, 6, 5, 4, 3, 4, 5, 6, 7, 7, 6, 5, 6, 7, 7};

/* Which coefficients of AC a block has so far, and those below zero. */
typedef struct {
    uint64_t set, minus;
} signs;

/* A component while it is read. */
typedef struct {
    iip_jpeg_part *part;
    int side;    /* samples a block is wide and tall */
    int16_t *dc; /* of each block */
    float *more; /* what AC adds to each of its samples */
    signs *ac;   /* of each block */
    int scaled;  /* scale is known: that of its first scan is for all */
    uint16_t scale[64];
    float weight[8][IIP_JPEG_SIDE]; /* of a frequency in each sample, along one axis */
} band;

typedef iip_jpeg_input input;

typedef struct {
    input in;
    int seen; /* a bit for each component whose DC came */
    band band[IIP_JPEG_PARTS];
} file;

typedef struct {
    int count, shift, refine, from, to;
    int run; /* blocks that have nothing more */
    struct {
        band *b;
        const iip_jpeg_codes *table;
        int last; /* DC of the block before */
    } of[IIP_JPEG_PARTS];
} scan;

/* Takes what a scan has of a block, the n-th of its component; below 0: it is only there to fill an MCU. */
typedef iip_status take_fn(input *in, scan *sc, int i, int64_t n);

static unsigned char fits(int v)
{
    return (unsigned char)(v < 0 ? 0 : v > 255 ? 255 : v);
}

/* --- coefficients ------------------------------------------------------------------------------------------------- */

/* A value of so many bits (annex F.2.2.1): the lower half of them are below zero. */
static int take_value(input *in, int size)
{
    const int v = (int)iip_jpeg_bits(in, size);

    return size && v < 1 << (size - 1) ? v - (1 << size) + 1 : v;
}

static iip_status dc_first(input *in, scan *sc, int i, int64_t n)
{
    int size, v;

    if (iip_jpeg_at_least(in, 32) != IIP_OK) /* 16 of a code, 15 of a value */
        return in->e->status;
    if ((size = iip_jpeg_code(in, sc->of[i].table)) < 0)
        return iip_jpeg_damaged(in, "no such code");
    v = sc->of[i].last += take_value(in, size);
    if (v > INT16_MAX || v < INT16_MIN)
        return iip_jpeg_damaged(in, "a coefficient out of range");
    if (n >= 0)
        sc->of[i].b->dc[n] = (int16_t)(v * (1 << sc->shift));
    return IIP_OK;
}

static iip_status dc_again(input *in, scan *sc, int i, int64_t n)
{
    if (iip_jpeg_at_least(in, 1) != IIP_OK)
        return in->e->status;
    if (iip_jpeg_bits(in, 1) && n >= 0)
        sc->of[i].b->dc[n] = (int16_t)(sc->of[i].b->dc[n] | 1 << sc->shift);
    return IIP_OK;
}

/* v more in coefficient k: what that is in the block's samples. */
static void add(band *b, int64_t n, int k, int v)
{
    const float *across = b->weight[across_of[k]], *down = b->weight[down_of[k]], f = (float)v * (float)b->scale[k];
    float *to = b->more + n * b->side * b->side;

    for (int y = 0; y < b->side; y++)
        for (int x = 0; x < b->side; x++)
            *to++ += f * down[y] * across[x];
}

static void set(band *b, int64_t n, int k, int v)
{
    b->ac[n].set |= UINT64_C(1) << k;
    if (v < 0)
        b->ac[n].minus |= UINT64_C(1) << k;
    add(b, n, k, v);
}

static iip_status ac_first(input *in, scan *sc, int i, int64_t n)
{
    if (sc->run) {
        sc->run--;
        return IIP_OK;
    }
    for (int k = sc->from; k <= sc->to; k++) {
        int v, size, zeros;

        if (iip_jpeg_at_least(in, 32) != IIP_OK)
            return in->e->status;
        if ((v = iip_jpeg_code(in, sc->of[i].table)) < 0)
            return iip_jpeg_damaged(in, "no such code");
        size = v & 15;
        zeros = v >> 4;
        if (size == 0 && zeros < 15) {
            sc->run = (1 << zeros) - 1 + (int)iip_jpeg_bits(in, zeros);
            break;
        }
        k += zeros;
        if (size && k > sc->to)
            return iip_jpeg_damaged(in, "a coefficient too many");
        if (size)
            set(sc->of[i].b, n, k, take_value(in, size) * (1 << sc->shift));
    }
    return IIP_OK;
}

/* One bit more of coefficient k, which is not zero. */
static iip_status one_more(input *in, scan *sc, band *b, int64_t n, int k)
{
    if (iip_jpeg_at_least(in, 1) != IIP_OK)
        return in->e->status;
    if (iip_jpeg_bits(in, 1))
        add(b, n, k, b->ac[n].minus >> k & 1 ? -(1 << sc->shift) : 1 << sc->shift);
    return IIP_OK;
}

static iip_status ac_again(input *in, scan *sc, int i, int64_t n)
{
    band *b = sc->of[i].b;
    const uint64_t before = b->ac[n].set;
    int k = sc->from;

    for (; sc->run == 0 && k <= sc->to; k++) {
        int v, zeros, fresh = 0;

        if (iip_jpeg_at_least(in, 32) != IIP_OK)
            return in->e->status;
        if ((v = iip_jpeg_code(in, sc->of[i].table)) < 0 || (v & 15) > 1)
            return iip_jpeg_damaged(in, "no such code");
        zeros = v >> 4;
        if (v & 15) {
            fresh = iip_jpeg_bits(in, 1) ? 1 << sc->shift : -(1 << sc->shift);
        } else if (zeros < 15) {
            sc->run = (1 << zeros) + (int)iip_jpeg_bits(in, zeros);
            break;
        }
        /* Those that are not zero on the way are not counted */
        for (; k <= sc->to && (before >> k & 1 || zeros-- > 0); k++)
            if (before >> k & 1 && one_more(in, sc, b, n, k) != IIP_OK)
                return in->e->status;
        if (fresh && k > sc->to)
            return iip_jpeg_damaged(in, "a coefficient too many");
        if (fresh)
            set(b, n, k, fresh);
    }
    if (sc->run == 0)
        return IIP_OK;
    sc->run--;
    for (; k <= sc->to; k++)
        if (before >> k & 1 && one_more(in, sc, b, n, k) != IIP_OK)
            return in->e->status;
    return IIP_OK;
}

static iip_status begin_again(input *in, scan *sc, int number)
{
    sc->run = 0;
    for (int i = 0; i < sc->count; i++)
        sc->of[i].last = 0;
    return iip_jpeg_restart(in, number);
}

/* A scan of one component has its blocks row by row; one of several has them in MCUs. */
static iip_status take_scan(input *in, scan *sc, const iip_jpeg_eighth *d)
{
    static take_fn *const kinds[2][2] = {{dc_first, dc_again}, {ac_first, ac_again}};
    take_fn *const take = kinds[sc->from > 0][sc->refine > 0];
    const iip_jpeg_part *one = sc->of[0].b->part;
    const int alone = sc->count == 1;
    const int64_t across = alone ? one->w : d->mcus_across, down = alone ? one->h : d->mcus_down;
    int64_t n = 0;

    for (int64_t y = 0; y < down; y++)
        for (int64_t x = 0; x < across; x++, n++) {
            if (in->restart && n && n % in->restart == 0 &&
                begin_again(in, sc, (int)((n / in->restart - 1) % 8)) != IIP_OK)
                return in->e->status;
            for (int i = 0; i < sc->count; i++) {
                const iip_jpeg_part *p = sc->of[i].b->part;
                const int bw = alone ? 1 : p->across, bh = alone ? 1 : p->down;

                for (int b = 0; b < bw * bh; b++) {
                    const int64_t bx = x * bw + b % bw, by = y * bh + b / bw;

                    if (take(in, sc, i, bx < p->w && by < p->h ? by * p->w + bx : -1) != IIP_OK)
                        return in->e->status;
                }
            }
            if (in->have < 0)
                return iip_jpeg_damaged(in, "a scan ends too early");
        }
    return IIP_OK;
}

/* --- scans -------------------------------------------------------------------------------------------------------- */

/* Component of a scan's head, by its identifier; NULL. Of several with one identifier the next. */
static band *band_of(file *f, const iip_jpeg_eighth *d, int id, int *used)
{
    for (int k = 0; k < d->count; k++)
        if (d->part[k].id == id && !(*used >> k & 1)) {
            *used |= 1 << k;
            return &f->band[k];
        }
    return NULL;
}

/* sc->count is 0 behind it if nothing of the scan is wanted. */
static iip_status begin_scan(file *f, scan *sc, const iip_jpeg_eighth *d, int n)
{
    input *in = &f->in;
    int how, blocks = 0, used = 0;

    memset(sc, 0, sizeof *sc);
    sc->count = iip_jpeg_byte(in);
    if (sc->count < 0)
        return in->e->status;
    if (sc->count < 1 || sc->count > d->count || n != 4 + 2 * sc->count)
        return iip_jpeg_damaged(in, "a scan's head is wrong");
    for (int i = 0; i < sc->count; i++) {
        const int id = iip_jpeg_byte(in), tables = id < 0 ? -1 : iip_jpeg_byte(in), dc = tables >> 4, ac = tables & 15;
        band *b;

        if (tables < 0)
            return in->e->status;
        if (!(b = band_of(f, d, id, &used)) || dc >= IIP_JPEG_TABLES || ac >= IIP_JPEG_TABLES)
            return iip_jpeg_damaged(in, "a scan's head is wrong");
        sc->of[i].b = b;
        sc->of[i].last = dc << 4 | ac; /* until it is known which */
        blocks += b->part->across * b->part->down;
        if (!b->scaled && (b->part->table >= IIP_JPEG_TABLES || !in->quant_known[b->part->table]))
            return iip_jpeg_damaged(in, "a table of quantization is missing");
        if (!b->scaled)
            memcpy(b->scale, in->quant[b->part->table], sizeof b->scale);
        b->scaled = 1;
    }
    sc->from = iip_jpeg_byte(in);
    sc->to = sc->from < 0 ? -1 : iip_jpeg_byte(in);
    how = sc->to < 0 ? -1 : iip_jpeg_byte(in);
    if (how < 0)
        return in->e->status;
    sc->refine = how >> 4;
    sc->shift = how & 15;
    if ((sc->from ? sc->to < sc->from || sc->to > 63 || sc->count > 1 : sc->to != 0) || sc->shift > LAST_SHIFT ||
        (sc->refine && sc->refine != sc->shift + 1) || (sc->count > 1 && blocks > MCU_MOST))
        return iip_jpeg_damaged(in, "a scan's head is wrong");
    if (!sc->from)
        f->seen |= used;
    else if (sc->of[0].b->side == 1)
        sc->count = 0;
    for (int i = 0; i < sc->count; i++) {
        sc->of[i].table = &in->table[sc->from > 0][sc->from ? sc->of[i].last & 15 : sc->of[i].last >> 4];
        sc->of[i].last = 0;
        if (!sc->of[i].table->known && (sc->from || !sc->refine))
            return iip_jpeg_damaged(in, "a table of codes is missing");
    }
    return IIP_OK;
}

static iip_status read_file(file *f, const iip_jpeg_eighth *d)
{
    input *in = &f->in;
    scan sc;
    int scans = 0, marker, n;

    while ((marker = iip_jpeg_marker(in)) >= 0 && marker != IIP_JPEG_EOI) {
        if (marker == IIP_JPEG_SOI || marker == IIP_JPEG_TEM)
            continue;
        if ((n = iip_jpeg_word(in)) < 0)
            return in->e->status;
        if ((n -= 2) < 0)
            return iip_jpeg_damaged(in, "the length of a segment is wrong");
        if (marker != IIP_JPEG_SOS) {
            if (iip_jpeg_segment(in, marker, n) != IIP_OK)
                return in->e->status;
        } else if (++scans > IIP_JPEG_SCANS) {
            return iip_fail(in->e, IIP_E_FORMAT, 0, "JPEG: more than %d scans", IIP_JPEG_SCANS);
        } else if (begin_scan(f, &sc, d, n) != IIP_OK || (sc.count && take_scan(in, &sc, d) != IIP_OK)) {
            return in->e->status;
        }
    }
    if (marker < 0)
        return in->e->status;
    return f->seen == (1 << d->count) - 1 ? IIP_OK : iip_jpeg_damaged(in, "a component has no scan");
}

/* --- samples ------------------------------------------------------------------------------------------------------ */

/* How many samples a block becomes each way: as the component has fewer than others in both directions. */
static int side_of(const iip_jpeg_part *p)
{
    int side = 1;

    while (side < IIP_JPEG_SIDE && p->wide % (2 * side) == 0 && p->tall % (2 * side) == 0)
        side *= 2;
    return side;
}

static size_t blocks_of(const iip_jpeg_part *p)
{
    return (size_t)p->w * (size_t)p->h;
}

size_t iip_jpeg_eighth_hold(const iip_jpeg_eighth *d)
{
    size_t n = sizeof(file);

    for (int i = 0; i < d->count; i++) {
        const size_t samples = (size_t)side_of(&d->part[i]) * (size_t)side_of(&d->part[i]);

        n += blocks_of(&d->part[i]) *
             (samples + sizeof(int16_t) + (samples > 1 ? samples * sizeof(float) + sizeof(signs) : 0));
    }
    return n;
}

static void *zeros(size_t n, apr_pool_t *p, iip_error *e)
{
    void *mem = iip_codec_alloc(n, p, e);

    if (mem)
        memset(mem, 0, n);
    return mem;
}

static iip_status begin_band(band *b, iip_jpeg_part *part, apr_pool_t *p, apr_pool_t *own, iip_error *e)
{
    const size_t blocks = blocks_of(part);

    b->part = part;
    b->side = side_of(part);
    part->stride = part->w * b->side;
    part->wide /= b->side;
    part->tall /= b->side;
    if (!(part->px = iip_codec_alloc(blocks * (size_t)(b->side * b->side), p, e)) ||
        !(b->dc = zeros(blocks * sizeof *b->dc, own, e)))
        return e->status;
    if (b->side > 1 && (!(b->more = zeros(blocks * (size_t)(b->side * b->side) * sizeof *b->more, own, e)) ||
                        !(b->ac = zeros(blocks * sizeof *b->ac, own, e))))
        return e->status;
    /* The mean of the samples of the inverse DCT (annex A.3.3) that lie in one of ours */
    for (int u = 1; u < 8; u++)
        for (int i = 0, each = 8 / b->side; i < b->side; i++) {
            double sum = 0;

            for (int x = i * each; x < (i + 1) * each; x++)
                sum += cos((2 * x + 1) * u * M_PI / 16) / 2;
            b->weight[u][i] = (float)(sum / each);
        }
    for (int i = 0; i < b->side; i++)
        b->weight[0][i] = (float)(M_SQRT1_2 / 2);
    return IIP_OK;
}

static void end_band(const band *b)
{
    iip_jpeg_part *p = b->part;

    for (int64_t y = 0; y < p->h; y++)
        for (int64_t x = 0; x < p->w; x++) {
            const int64_t n = y * p->w + x;
            const int dc = b->dc[n] * b->scale[0];

            if (b->side == 1)
                p->px[n] = fits(((dc + 4) >> 3) + 128);
            else
                for (int i = 0; i < b->side * b->side; i++) {
                    const float v = (float)dc / 8 + b->more[n * b->side * b->side + i] + 128.5f;

                    p->px[(y * b->side + i / b->side) * p->stride + x * b->side + i % b->side] =
                        (unsigned char)(v < 0     ? 0
                                        : v > 255 ? 255
                                                  : v);
                }
        }
}

iip_status iip_jpeg_eighth_read(iip_jpeg_eighth *d, iip_source_t *s, int64_t most, apr_pool_t *p, iip_error *e)
{
    iip_jpeg_eighth made = *d;
    iip_status rv = IIP_OK;
    apr_pool_t *own;
    file *f;

    if (apr_pool_create(&own, p) != APR_SUCCESS)
        return iip_fail(e, IIP_E_MEMORY, APR_ENOMEM, "JPEG: no memory");
    if (!(f = zeros(sizeof *f, own, e)))
        rv = e->status;
    for (int i = 0; rv == IIP_OK && i < d->count; i++)
        rv = begin_band(&f->band[i], &made.part[i], p, own, e);
    if (rv == IIP_OK) {
        f->in.s = s;
        f->in.most = most;
        f->in.e = e;
        rv = read_file(f, &made);
    }
    for (int i = 0; rv == IIP_OK && i < d->count; i++)
        end_band(&f->band[i]);
    apr_pool_destroy(own);
    if (rv == IIP_OK) {
        *d = made;
        d->there = 1;
    }
    return rv;
}

/* JFIF's: R = Y + 1.402 Cr, G = Y - 0.344136 Cb - 0.714136 Cr, B = Y + 1.772 Cb, in 1/65536 */
static void from_ycc(unsigned char *px, int64_t n, int step, int inverted)
{
    for (int64_t i = 0; i < n; i++, px += step) {
        const int y = px[0], cb = px[1] - 128, cr = px[2] - 128;

        px[0] = fits(y + ((91881 * cr + 32768) >> 16));
        px[1] = fits(y + ((-22554 * cb - 46802 * cr + 32768) >> 16));
        px[2] = fits(y + ((116130 * cb + 32768) >> 16));
        for (int k = 0; k < 3 && inverted; k++)
            px[k] = (unsigned char)(255 - px[k]);
    }
}

void iip_jpeg_eighth_row(const iip_jpeg_eighth *d, int64_t x, int64_t y, int64_t n, unsigned char *row)
{
    for (int c = 0; c < d->count; c++) {
        const iip_jpeg_part *p = &d->part[c];
        const unsigned char *from = p->px + y / p->tall * p->stride + x / p->wide;
        int k = (int)(x % p->wide);

        for (int64_t i = 0; i < n; i++) {
            row[i * d->count + c] = *from;
            if (++k == p->wide) {
                k = 0;
                from++;
            }
        }
    }
    if (d->ycc)
        from_ycc(row, n, d->count, d->count == 4);
}
