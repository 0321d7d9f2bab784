/* SPDX-License-Identifier: Apache-2.0
 * TIFF: compressions that libtiff 4.5 does not decode, or decodes as noise. */
#include "codec/tiff_dir.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

/* ThunderScan: pixels of 4 bits as runs of the last one, as differences to it or as they are; rows begin anew. libtiff
 * leaves the end of a row that ends in a run as the buffer was. */
static iip_status thunder(const iip_tiff_file *f, const iip_tiff_dir *d, const unsigned char *in, size_t len,
                          unsigned char *dst, size_t n)
{
    /* by the code's upper bits: of how many bits the differences are, how many there are, and which is none */
    static const struct {
        int bits, count, none;
    } kinds[4] = {{0, 0, 0}, {2, 3, -2}, {3, 2, -4}, {4, 1, 0}};
    const int64_t w = d->block_w;
    const size_t row = ((size_t)w + 1) / 2;
    const unsigned char *const end = in + len;

    memset(dst, 0, n);
    for (unsigned char *at = dst; at < dst + n; at += row) {
        int last = 0;
        int64_t x = 0;

        while (x < w) {
            int code, kind;

            if (in == end)
                return IIP_E_CORRUPT;
            code = *in++;
            kind = code >> 6;
            for (int run = kind ? 0 : code & 63; run; run--, x++) {
                if (x >= w)
                    return IIP_E_CORRUPT;
                at[x / 2] |= (unsigned char)(x % 2 ? last : last << 4);
            }
            for (int i = kinds[kind].count - 1; i >= 0; i--) {
                const int half = 1 << (kinds[kind].bits - 1), v = code >> i * kinds[kind].bits & (2 * half - 1);
                const int step = v < half ? v : v - 2 * half;

                if (kind < 3 && step == kinds[kind].none)
                    continue;
                last = kind == 3 ? v : (last + step) & 15;
                if (x >= w)
                    return IIP_E_CORRUPT;
                at[x / 2] |= (unsigned char)(x % 2 ? last : last << 4);
                x++;
            }
        }
    }
    return IIP_OK;
}

/* --- modified Huffman on words ------------------------------------------------------------------------------------ */

/* ITU-T T.4, tables 2 and 3: runs of 0 to 63, then of 64, 128, ... to 1728; longer ones are of both colours. All codes
 * begin with so many zeros that eight bits hold them. */
typedef struct {
    unsigned char bits, code;
} fax_code;
static const fax_code white_runs[] = {
    {8, 0x35}, {6, 0x07}, {4, 0x07}, {4, 0x08}, {4, 0x0b}, {4, 0x0c}, {4, 0x0e}, {4, 0x0f}, {5, 0x13}, {5, 0x14},
    {5, 0x07}, {5, 0x08}, {6, 0x08}, {6, 0x03}, {6, 0x34}, {6, 0x35}, {6, 0x2a}, {6, 0x2b}, {7, 0x27}, {7, 0x0c},
    {7, 0x08}, {7, 0x17}, {7, 0x03}, {7, 0x04}, {7, 0x28}, {7, 0x2b}, {7, 0x13}, {7, 0x24}, {7, 0x18}, {8, 0x02},
    {8, 0x03}, {8, 0x1a}, {8, 0x1b}, {8, 0x12}, {8, 0x13}, {8, 0x14}, {8, 0x15}, {8, 0x16}, {8, 0x17}, {8, 0x28},
    {8, 0x29}, {8, 0x2a}, {8, 0x2b}, {8, 0x2c}, {8, 0x2d}, {8, 0x04}, {8, 0x05}, {8, 0x0a}, {8, 0x0b}, {8, 0x52},
    {8, 0x53}, {8, 0x54}, {8, 0x55}, {8, 0x24}, {8, 0x25}, {8, 0x58}, {8, 0x59}, {8, 0x5a}, {8, 0x5b}, {8, 0x4a},
    {8, 0x4b}, {8, 0x32}, {8, 0x33}, {8, 0x34}, {5, 0x1b}, {5, 0x12}, {6, 0x17}, {7, 0x37}, {8, 0x36}, {8, 0x37},
    {8, 0x64}, {8, 0x65}, {8, 0x68}, {8, 0x67}, {9, 0xcc}, {9, 0xcd}, {9, 0xd2}, {9, 0xd3}, {9, 0xd4}, {9, 0xd5},
    {9, 0xd6}, {9, 0xd7}, {9, 0xd8}, {9, 0xd9}, {9, 0xda}, {9, 0xdb}, {9, 0x98}, {9, 0x99}, {9, 0x9a}, {6, 0x18},
    {9, 0x9b}};
static const fax_code black_runs[] = {
    {10, 0x37}, {3, 0x02},  {2, 0x03},  {2, 0x02},  {3, 0x03},  {4, 0x03},  {4, 0x02},  {5, 0x03},  {6, 0x05},
    {6, 0x04},  {7, 0x04},  {7, 0x05},  {7, 0x07},  {8, 0x04},  {8, 0x07},  {9, 0x18},  {10, 0x17}, {10, 0x18},
    {10, 0x08}, {11, 0x67}, {11, 0x68}, {11, 0x6c}, {11, 0x37}, {11, 0x28}, {11, 0x17}, {11, 0x18}, {12, 0xca},
    {12, 0xcb}, {12, 0xcc}, {12, 0xcd}, {12, 0x68}, {12, 0x69}, {12, 0x6a}, {12, 0x6b}, {12, 0xd2}, {12, 0xd3},
    {12, 0xd4}, {12, 0xd5}, {12, 0xd6}, {12, 0xd7}, {12, 0x6c}, {12, 0x6d}, {12, 0xda}, {12, 0xdb}, {12, 0x54},
    {12, 0x55}, {12, 0x56}, {12, 0x57}, {12, 0x64}, {12, 0x65}, {12, 0x52}, {12, 0x53}, {12, 0x24}, {12, 0x37},
    {12, 0x38}, {12, 0x27}, {12, 0x28}, {12, 0x58}, {12, 0x59}, {12, 0x2b}, {12, 0x2c}, {12, 0x5a}, {12, 0x66},
    {12, 0x67}, {10, 0x0f}, {12, 0xc8}, {12, 0xc9}, {12, 0x5b}, {12, 0x33}, {12, 0x34}, {12, 0x35}, {13, 0x6c},
    {13, 0x6d}, {13, 0x4a}, {13, 0x4b}, {13, 0x4c}, {13, 0x4d}, {13, 0x72}, {13, 0x73}, {13, 0x74}, {13, 0x75},
    {13, 0x76}, {13, 0x77}, {13, 0x52}, {13, 0x53}, {13, 0x54}, {13, 0x55}, {13, 0x5a}, {13, 0x5b}, {13, 0x64},
    {13, 0x65}};
static const fax_code long_runs[] = {{11, 0x08}, {11, 0x0c}, {11, 0x0d}, {12, 0x12}, {12, 0x13}, {12, 0x14}, {12, 0x15},
                                     {12, 0x16}, {12, 0x17}, {12, 0x1c}, {12, 0x1d}, {12, 0x1e}, {12, 0x1f}};

enum { SHORT = 64, FAX_BITS = 13, FAX_CODES = 1 << FAX_BITS };
#define COUNT(a) (sizeof(a) / sizeof *(a))

/* By the next 13 bits: length of a run * 16 + bits of its code; 0: there is none. */
static void fax_table(uint16_t *to, const fax_code *codes, size_t n, unsigned first)
{
    for (size_t i = 0; i < n; i++) {
        const unsigned spare = FAX_BITS - codes[i].bits,
                       run = first + (unsigned)(i < SHORT ? i : (i - SHORT + 1) * SHORT);

        for (unsigned k = 0; k < 1u << spare; k++)
            to[((unsigned)codes[i].code << spare) + k] = (uint16_t)(run << 4 | codes[i].bits);
    }
}

/* Sets bits from..to of a row. */
static void blacken(unsigned char *row, int64_t from, int64_t to)
{
    for (; from < to && from & 7; from++)
        row[from >> 3] |= (unsigned char)(0x80 >> (from & 7));
    for (; from + 8 <= to; from += 8)
        row[from >> 3] = 255;
    for (; from < to; from++)
        row[from >> 3] |= (unsigned char)(0x80 >> (from & 7));
}

typedef struct {
    const unsigned char *in;
    size_t len, at; /* bytes; bits */
} fax_bits;

static unsigned fax_peek(const fax_bits *b)
{
    unsigned v = 0;

    for (size_t i = b->at >> 3; i <= (b->at >> 3) + 2; i++)
        v = v << 8 | (i < b->len ? b->in[i] : 0u);
    return v >> (24 - FAX_BITS - (b->at & 7)) & (FAX_CODES - 1);
}

/* A run of one colour: long parts, then a short one. -1: there is no such code. */
static int64_t fax_run(fax_bits *b, const uint16_t *table)
{
    for (int64_t sum = 0;;) {
        const unsigned found = table[fax_peek(b)];

        if (!found)
            return -1;
        b->at += found & 15;
        sum += found >> 4;
        if (found >> 4 < SHORT || b->at > 8 * b->len)
            return sum;
    }
}

/* The runs of one row, which is white. -1: it ends with the data. What is wrong in it ends it as well, but is no
 * damage: faxes come over telephones. */
static int fax_row(fax_bits *b, const uint16_t *tables, unsigned char *row, int64_t w)
{
    int64_t x = 0;

    for (int black = 0; x < w; black ^= 1) {
        const int64_t run = fax_run(b, tables + black * FAX_CODES);

        if (run < 0)
            return b->at + FAX_BITS > 8 * b->len ? -1 : 0;
        if (black)
            blacken(row, x, run < w - x ? x + run : w);
        x += run;
    }
    return b->at > 8 * b->len ? -1 : 0;
}

/* Rows of runs, white first, each from a word of two bytes on: libtiff loses the alignment. */
static iip_status fax_words(const iip_tiff_file *f, const iip_tiff_dir *d, const unsigned char *in, size_t len,
                            unsigned char *dst, size_t n)
{
    const size_t row = ((size_t)d->block_w + 7) / 8;
    uint16_t *tables = calloc(2 * FAX_CODES, sizeof *tables);
    fax_bits b = {in, len, 0};
    iip_status rv = IIP_OK;

    if (!tables)
        return IIP_E_MEMORY;
    for (int black = 0; black < 2; black++) {
        uint16_t *t = tables + black * FAX_CODES;

        fax_table(t, black ? black_runs : white_runs, COUNT(white_runs), 0);
        for (size_t i = 0; i < COUNT(long_runs); i++)
            fax_table(t, long_runs + i, 1, 1792 + (unsigned)i * SHORT);
    }
    memset(dst, 0, n);
    for (size_t at = 0; at < n && rv == IIP_OK; at += row) {
        if (fax_row(&b, tables, dst + at, d->block_w) < 0)
            rv = IIP_E_CORRUPT;
        b.at = (b.at + 15) / 16 * 16;
    }
    free(tables);
    return rv;
}

/* --- Pixar's logarithms ------------------------------------------------------------------------------------------- */

/* Codes of 11 bits, linear up to the light at which steps of 1/250 of it (a ratio of 1.004) are as small, then
 * logarithmic; code 1250 is white. */
enum { PIXAR_CODES = 2048, PIXAR_WHITE = 1250, PIXAR_LINEAR = 250 };

static double pixar_light(int code)
{
    const double step = 1. / PIXAR_LINEAR, b = exp(-step * PIXAR_WHITE);

    return code < PIXAR_LINEAR ? code * b * step * exp(1) : b * exp(step * code);
}

static iip_status inflate_row(z_stream *z, unsigned char *to, size_t n)
{
    z->next_out = to;
    z->avail_out = (uInt)n;
    while (z->avail_out) {
        const int rv = inflate(z, Z_NO_FLUSH);

        if (rv == Z_MEM_ERROR)
            return IIP_E_MEMORY;
        if (rv != Z_OK && (rv != Z_STREAM_END || z->avail_out))
            return IIP_E_CORRUPT;
    }
    return IIP_OK;
}

/* Rows as words of differences to the same sample of the pixel before, deflated. */
static iip_status pixar(const iip_tiff_file *f, const iip_tiff_dir *d, const unsigned char *in, size_t len,
                        unsigned char *dst, size_t n)
{
    const size_t step = d->planar ? 1 : (size_t)d->samples, row = (size_t)d->block_w * step, size = (size_t)d->bits / 8;
    const double top = size == 1 ? 255 : 65535;
    uint16_t *value = malloc(PIXAR_CODES * sizeof *value), *code = malloc(row * sizeof *code);
    z_stream z = {.next_in = (unsigned char *)in, .avail_in = (uInt)len};
    const int begun = value && code && inflateInit(&z) == Z_OK;
    iip_status rv = begun ? IIP_OK : IIP_E_MEMORY;

    for (int i = 0; begun && i < PIXAR_CODES; i++)
        value[i] = (uint16_t)fmin(floor(pixar_light(i) * top + .5), top);
    for (unsigned char *at = dst; at < dst + n && rv == IIP_OK; at += row * size) {
        if ((rv = inflate_row(&z, (unsigned char *)code, row * sizeof *code)) != IIP_OK)
            break;
        for (size_t i = 0; i < row; i++) {
            const unsigned char *w = (unsigned char *)(code + i);

            code[i] = (uint16_t)((w[f->msb ? 0 : 1] << 8 | w[f->msb ? 1 : 0]) + (i < step ? 0 : code[i - step]));
            if (size == 1)
                at[i] = (unsigned char)value[code[i] % PIXAR_CODES];
            else
                ((uint16_t *)(void *)at)[i] = value[code[i] % PIXAR_CODES];
        }
    }
    if (begun)
        inflateEnd(&z);
    free(code);
    free(value);
    return rv;
}

/* --- the table ---------------------------------------------------------------------------------------------------- */

static const struct {
    int compression;
    iip_status (*decode)(const iip_tiff_file *f, const iip_tiff_dir *d, const unsigned char *in, size_t len,
                         unsigned char *dst, size_t n);
} rows[] = {{TIFF_CCITT_WORDS, fax_words}, {TIFF_THUNDERSCAN, thunder}, {TIFF_PIXARLOG, pixar}};

iip_status iip_tiff_own_block(const iip_tiff_file *f, const iip_tiff_dir *d, const unsigned char *in, size_t len,
                              unsigned char *dst, size_t n)
{
    for (size_t i = 0; i < COUNT(rows); i++)
        if (rows[i].compression == d->compression)
            return rows[i].decode(f, d, in, len, dst, n);
    return IIP_E_FEATURE;
}
