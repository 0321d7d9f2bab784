/* SPDX-License-Identifier: Apache-2.0
 * JPEG 2000: the boxes of JP2, JPX and JPH files (T.800 annex I, T.801 annex M). What stands in the first header boxes
 * of a code-stream or compositing layer (JPX) takes the place of the defaults in jp2h. */
#include "codec/jp2.h"
#include <math.h>
#include <string.h>

#define MOST_BOXES   1000000
#define MOST_PIECES  1024
#define MOST_ENTRIES 1024
#define MOST_COLUMNS 255
#define MOST_SMALL   (1 << 20) /* bytes of a header box worth reading */

#define TAG(a, b, c, d) ((uint32_t)(a) << 24 | (uint32_t)(b) << 16 | (uint32_t)(c) << 8 | (uint32_t)(d))

enum { TOP = 1, HEADER = 2, STREAM = 4, LAYER = 8, GROUP = 16, RESOLUTION = 32, TABLE = 64 }; /* what boxes stand in */

typedef struct {
    iip_jp2_file *f;
    apr_pool_t *p;
    iip_error *e;
    int in;          /* one of the above */
    int boxes, seen; /* seen: superboxes of which only the first counts */
    int layer;       /* in a compositing layer: its colour and channels count more than the header's */
    int found;       /* whose colour is known: 1 the header's, 2 the layer's */
    int captured;    /* the resolution of the scan is known; that for display does not count then */
} parser;

typedef iip_status box_fn(parser *b, int64_t at, int64_t n);

static iip_status walk(parser *b, int in, int64_t at, int64_t end);

static iip_status bad(parser *b, const char *what)
{
    return iip_fail(b->e, IIP_E_FORMAT, 0, "JPEG 2000: %s", what);
}

static iip_status get(parser *b, void *buf, size_t n, int64_t at)
{
    return b->f->s->read(b->f->s, buf, n, at, b->e);
}

/* The whole box into memory of its own. */
static unsigned char *contents(parser *b, int64_t at, int64_t n)
{
    unsigned char *mem;

    if (n > MOST_SMALL) {
        bad(b, "a header box of more than a megabyte");
        return NULL;
    }
    mem = iip_codec_alloc((size_t)n, b->p, b->e);
    return mem && get(b, mem, (size_t)n, at) == IIP_OK ? mem : NULL;
}

/* --- the code-stream's place --- */

static iip_status box_jp2c(parser *b, int64_t at, int64_t n)
{
    iip_jp2_file *f = b->f;

    if (f->pieces)
        return IIP_OK; /* the first one is the picture */
    f->piece = apr_palloc(b->p, sizeof *f->piece);
    *f->piece = (iip_jp2_place){at, n};
    f->pieces = 1;
    f->len = n;
    return IIP_OK;
}

static iip_status box_flst(parser *b, int64_t at, int64_t n)
{
    iip_jp2_file *f = b->f;
    const int64_t size = f->s->id.size;
    const unsigned char *v;
    int count;

    if (f->pieces)
        return IIP_OK;
    if (n < 2 || !(v = contents(b, at, n)))
        return n < 2 ? bad(b, "a fragment list without entries") : b->e->status;
    count = (int)iip_jp2_be16(v);
    if (count == 0 || n < 2 + 14 * (int64_t)count)
        return bad(b, "a fragment list cut short");
    if (count > MOST_PIECES)
        return bad(b, "a code-stream of more than 1024 fragments");
    f->piece = apr_palloc(b->p, (size_t)count * sizeof *f->piece);
    for (int i = 0; i < count; i++) {
        const unsigned char *q = v + 2 + 14 * (size_t)i;
        uint64_t off = (uint64_t)iip_jp2_be32(q) << 32 | iip_jp2_be32(q + 4);
        int64_t len = iip_jp2_be32(q + 8);

        if (iip_jp2_be16(q + 12) != 0)
            return bad(b, "a code-stream with parts in other files");
        if (off > (uint64_t)size || len > size - (int64_t)off)
            return iip_fail(b->e, IIP_E_CORRUPT, 0, "JPEG 2000: a fragment outside of the file");
        f->piece[i] = (iip_jp2_place){(int64_t)off, len ? len : size - (int64_t)off};
        f->len += f->piece[i].len;
    }
    f->pieces = count;
    return IIP_OK;
}

/* --- colour --- */

static iip_status colour_of_profile(parser *b, int64_t at, int64_t n)
{
    iip_jp2_file *f = b->f;

    if (n < 128)
        return IIP_OK; /* no profile: another box may know */
    if (get(b, f->icc_space, 4, at + 16) != IIP_OK)
        return b->e->status;
    f->icc = (iip_jp2_place){at, n};
    f->space = IIP_JP2_ICC;
    b->found = 1 + b->layer;
    return IIP_OK;
}

/* The spaces of jp2_form.c. */
static int known(int space)
{
    return space >= 0 && space <= 18 && 1 << space & 0x7f01b;
}

static iip_status box_colr(parser *b, int64_t at, int64_t n)
{
    iip_jp2_file *f = b->f;
    unsigned char v[7 + 28];

    if (b->found > b->layer || n < 3)
        return IIP_OK; /* the first that is understood counts */
    if (get(b, v, n < (int64_t)sizeof v ? (size_t)n : sizeof v, at) != IIP_OK)
        return b->e->status;
    if (v[0] == 2 || v[0] == 3)
        return colour_of_profile(b, at + 3, n - 3);
    if (v[0] != 1 || n < 7)
        return IIP_OK; /* a vendor's own, or palettes of names */
    f->space = (int)(iip_jp2_be32(v + 3) & INT32_MAX);
    f->icc = (iip_jp2_place){0, 0};
    if (known(f->space))
        b->found = 1 + b->layer;
    for (int i = 0; i < 6; i++)
        f->lab[i] = n >= 7 + 24 ? (int64_t)iip_jp2_be32(v + 7 + 4 * i) : i % 2 ? -1 : (int[]){100, 170, 200}[i / 2];
    f->lab_d65 = n >= (int64_t)sizeof v && iip_jp2_be32(v + 31) == 0x00443635; /* "D65" */
    return IIP_OK;
}

static iip_status box_pclr(parser *b, int64_t at, int64_t n)
{
    iip_jp2_file *f = b->f;
    unsigned char *v;
    const unsigned char *q;
    int entries, columns, row = 0;

    if (n < 4 || !(v = contents(b, at, n)))
        return n < 4 ? bad(b, "an empty palette") : b->e->status;
    entries = (int)iip_jp2_be16(v);
    columns = v[2];
    if (entries == 0 || entries > MOST_ENTRIES || columns == 0 || n < 3 + columns)
        return bad(b, "a palette without entries");
    for (int c = 0; c < columns; c++) {
        if ((v[3 + c] & 127) > 30)
            return bad(b, "a palette of more than 31 bits");
        row += (v[3 + c] & 127) / 8 + 1;
    }
    if (n - 3 - columns < (int64_t)row * entries)
        return bad(b, "a palette cut short");
    if (!(f->palette = iip_codec_alloc((size_t)entries * (size_t)columns * sizeof *f->palette, b->p, b->e)))
        return b->e->status;
    f->column_bits = v + 3;
    q = v + 3 + columns;
    for (int i = 0; i < entries * columns; i++) {
        const int bits = (f->column_bits[i % columns] & 127) + 1;
        uint32_t value = 0;

        for (int k = (bits + 7) / 8; k > 0; k--)
            value = value << 8 | *q++;
        value &= UINT32_MAX >> (32 - bits);
        if (f->column_bits[i % columns] & 128 && value >> (bits - 1))
            value |= ~(UINT32_MAX >> (32 - bits));
        f->palette[i] = (int32_t)value;
    }
    f->entries = entries;
    f->columns = columns;
    return IIP_OK;
}

static iip_status box_cmap(parser *b, int64_t at, int64_t n)
{
    iip_jp2_file *f = b->f;
    const unsigned char *v;

    if (n < 4 || n / 4 > IIP_JP2_BANDS)
        return bad(b, "a palette of no or too many channels");
    if (!(v = contents(b, at, n)))
        return b->e->status;
    f->channels = (int)(n / 4);
    f->channel = apr_palloc(b->p, (size_t)f->channels * sizeof *f->channel);
    for (int i = 0; i < f->channels; i++, v += 4)
        f->channel[i] = (iip_jp2_channel){(int)iip_jp2_be16(v), v[2] == 1 ? v[3] : -1};
    return IIP_OK;
}

static iip_status box_cdef(parser *b, int64_t at, int64_t n)
{
    iip_jp2_file *f = b->f;
    const unsigned char *v;
    int count;

    if (n < 2 || !(v = contents(b, at, n)))
        return n < 2 ? bad(b, "an empty list of channels") : b->e->status;
    count = (int)iip_jp2_be16(v);
    if (n - 2 < 6 * (int64_t)count)
        return bad(b, "a list of channels cut short");
    f->meaning = apr_palloc(b->p, (size_t)count * sizeof *f->meaning + 1);
    f->meanings = count;
    for (int i = 0; i < count; i++) {
        const unsigned char *q = v + 2 + 6 * (size_t)i;

        f->meaning[i] = (iip_jp2_meaning){(int)iip_jp2_be16(q), (int)iip_jp2_be16(q + 2), (int)iip_jp2_be16(q + 4)};
    }
    return IIP_OK;
}

/* --- the rest --- */

static double per_cm(const unsigned char *fraction, signed char exponent)
{
    const double up = iip_jp2_be16(fraction), down = iip_jp2_be16(fraction + 2);

    return up > 0 && down > 0 ? up / down * pow(10, exponent - 2) : 0;
}

static iip_status resolution(parser *b, int64_t at, int64_t n)
{
    unsigned char v[10];
    double x, y;

    if (n < (int64_t)sizeof v)
        return IIP_OK;
    if (get(b, v, sizeof v, at) != IIP_OK)
        return b->e->status;
    y = per_cm(v, (signed char)v[8]);
    x = per_cm(v + 4, (signed char)v[9]);
    if (x > 0 && y > 0) {
        b->f->res_x = x;
        b->f->res_y = y;
    }
    return IIP_OK;
}

static iip_status box_resc(parser *b, int64_t at, int64_t n)
{
    b->captured = 1;
    return resolution(b, at, n);
}

static iip_status box_resd(parser *b, int64_t at, int64_t n)
{
    return b->captured ? IIP_OK : resolution(b, at, n);
}

static iip_status box_uuid(parser *b, int64_t at, int64_t n)
{
    const struct {
        unsigned char id[16];
        iip_jp2_place *to;
    } kinds[] = {
        {{0xbe, 0x7a, 0xcf, 0xcb, 0x97, 0xa9, 0x42, 0xe8, 0x9c, 0x71, 0x99, 0x94, 0x91, 0xe3, 0xaf, 0xac}, &b->f->xmp},
        {{'J', 'p', 'g', 'T', 'i', 'f', 'f', 'E', 'x', 'i', 'f', '-', '>', 'J', 'P', '2'}, &b->f->exif},
        {{0x05, 0x37, 0xcd, 0xab, 0x9d, 0x0c, 0x44, 0x31, 0xa7, 0x2a, 0xfa, 0x56, 0x1f, 0x2a, 0x11, 0x3e}, &b->f->exif},
    };
    unsigned char v[16];

    if (n <= (int64_t)sizeof v)
        return IIP_OK;
    if (get(b, v, sizeof v, at) != IIP_OK)
        return b->e->status;
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (memcmp(v, kinds[i].id, sizeof v) == 0 && !kinds[i].to->len)
            *kinds[i].to = (iip_jp2_place){at + 16, n - 16};
    return IIP_OK;
}

/* --- walking --- */

static const struct {
    uint32_t type;
    int where, inner; /* inner: a superbox, of which the first counts */
    box_fn *read;
} rows[] = {
    {TAG('j', 'p', '2', 'h'), TOP, HEADER, NULL},
    {TAG('j', 'p', 'c', 'h'), TOP, STREAM, NULL},
    {TAG('j', 'p', 'l', 'h'), TOP, LAYER, NULL},
    {TAG('f', 't', 'b', 'l'), TOP, TABLE, NULL},
    {TAG('c', 'g', 'r', 'p'), LAYER, GROUP, NULL},
    {TAG('r', 'e', 's', ' '), HEADER | LAYER, RESOLUTION, NULL},
    {TAG('j', 'p', '2', 'c'), TOP, 0, box_jp2c},
    {TAG('f', 'l', 's', 't'), TABLE, 0, box_flst},
    {TAG('c', 'o', 'l', 'r'), HEADER | GROUP, 0, box_colr},
    {TAG('p', 'c', 'l', 'r'), HEADER | STREAM, 0, box_pclr},
    {TAG('c', 'm', 'a', 'p'), HEADER | STREAM, 0, box_cmap},
    {TAG('c', 'd', 'e', 'f'), HEADER | LAYER, 0, box_cdef},
    {TAG('r', 'e', 's', 'c'), RESOLUTION, 0, box_resc},
    {TAG('r', 'e', 's', 'd'), RESOLUTION, 0, box_resd},
    {TAG('u', 'u', 'i', 'd'), TOP, 0, box_uuid},
};

static iip_status one_box(parser *b, uint32_t type, int64_t at, int64_t n)
{
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const int outer = b->in;
        iip_status rv;

        if (rows[i].type != type || !(rows[i].where & outer))
            continue;
        if (!rows[i].inner)
            return rows[i].read(b, at, n);
        if (b->seen & rows[i].inner && rows[i].inner != RESOLUTION)
            return IIP_OK;
        b->seen |= rows[i].inner;
        b->layer |= rows[i].inner == LAYER;
        rv = walk(b, rows[i].inner, at, at + n);
        b->in = outer;
        if (outer == TOP)
            b->layer = 0;
        return rv;
    }
    return IIP_OK;
}

/* A box's header. *next: where the box behind it begins. 0: none any more, or what stands behind the code-stream is
 * none. */
static int next_box(parser *b, int64_t at, int64_t end, uint32_t *type, int64_t *inside, int64_t *next)
{
    unsigned char v[16];
    uint64_t n;
    int64_t head = 8;

    if (end - at < 8 || get(b, v, 8, at) != IIP_OK)
        return 0;
    *type = iip_jp2_be32(v + 4);
    n = iip_jp2_be32(v);
    if (n == 0) {
        n = (uint64_t)(end - at);
    } else if (n == 1) {
        head = 16;
        if (end - at < 16)
            n = 0;
        else if (get(b, v + 8, 8, at + 8) != IIP_OK)
            return 0;
        else
            n = (uint64_t)iip_jp2_be32(v + 8) << 32 | iip_jp2_be32(v + 12);
    }
    if (n < (uint64_t)head || n > (uint64_t)(end - at)) {
        if (b->in != TOP || !b->f->pieces)
            iip_fail(b->e, IIP_E_CORRUPT, 0, "JPEG 2000: a box that is longer than what it stands in");
        return 0;
    }
    *inside = at + head;
    *next = at + (int64_t)n;
    return 1;
}

/* Boxes lie at most four deep here: the table allows no more. */
static iip_status walk(parser *b, int in, int64_t at, int64_t end)
{
    uint32_t type;
    int64_t inside, next;

    b->in = in;
    while (next_box(b, at, end, &type, &inside, &next)) {
        iip_status rv =
            ++b->boxes > MOST_BOXES ? bad(b, "more than a million boxes") : one_box(b, type, inside, next - inside);

        if (rv != IIP_OK)
            return rv;
        at = next;
    }
    return b->e->status;
}

iip_status iip_jp2_open(iip_jp2_file *f, iip_source_t *s, apr_pool_t *p, iip_error *e)
{
    parser b = {.f = f, .p = p, .e = e};
    unsigned char v[4];

    memset(f, 0, sizeof *f);
    f->s = s;
    f->space = IIP_JP2_NO_SPACE;
    e->status = IIP_OK;
    if (s->id.size < 12)
        return iip_fail(e, IIP_E_CORRUPT, 0, "JPEG 2000: %lld bytes", (long long)s->id.size);
    if (get(&b, v, sizeof v, 0) != IIP_OK)
        return e->status;
    if (iip_jp2_be32(v) == 0xff4fff51) /* SOC, SIZ: no boxes */
        return box_jp2c(&b, 0, s->id.size);
    if (walk(&b, TOP, 0, s->id.size) != IIP_OK)
        return e->status;
    return f->pieces ? IIP_OK : iip_fail(e, IIP_E_CORRUPT, 0, "JPEG 2000: no code-stream");
}

iip_status iip_jp2_bytes(const iip_jp2_file *f, void *buf, size_t n, int64_t off, iip_error *e)
{
    unsigned char *out = buf;

    if (off < 0 || off > f->len || (int64_t)n > f->len - off)
        return iip_fail(e, IIP_E_CORRUPT, 0, "JPEG 2000: the code-stream ends too early");
    for (int i = 0; i < f->pieces && n > 0; off -= f->piece[i++].len) {
        int64_t here = f->piece[i].len - off;
        size_t part;

        if (here <= 0)
            continue;
        part = (int64_t)n < here ? n : (size_t)here;
        if (f->s->read(f->s, out, part, f->piece[i].at + off, e) != IIP_OK)
            return e->status;
        out += part;
        n -= part;
        off += (int64_t)part;
    }
    return IIP_OK;
}
