/* SPDX-License-Identifier: Apache-2.0
 * TIFF: bytes, directories, arrays of offsets. Every number here comes from the file and is believed by nobody. */
#include "codec/tiff_dir.h"
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define TAG_NUMBER(name, tag) tag,
static const uint16_t tags[TAG_COUNT] = {IIP_TIFF_TAGS(TAG_NUMBER)};

enum { RATIONAL = 5, SBYTE = 6, SSHORT = 8, SLONG = 9, SRATIONAL = 10, FLOAT = 11, DOUBLE = 12, SLONG8 = 17 };
static const unsigned char type_size[] = {0, 1, 1, 2, 4, 8, 1, 1, 2, 4, 8, 4, 8, 4, 0, 0, 8, 8, 8};
/* BYTE, SHORT, LONG, IFD, LONG8, IFD8 */
#define IS_UINT(type) (1u << (type) & (1u << 1 | 1u << 3 | 1u << 4 | 1u << 13 | 1u << 16 | 1u << 18))

#define FAIL(f, s, ...) ((f)->bad = iip_fail((f)->e, s, 0, __VA_ARGS__))

static uint64_t number(const iip_tiff_file *f, const unsigned char *p, int n)
{
    uint64_t v = 0;

    for (int i = 0; i < n; i++)
        v = v << 8 | p[f->msb ? i : n - 1 - i];
    return v;
}

static iip_status fetch(iip_tiff_file *f, void *buf, size_t n, int64_t off)
{
    return f->bad = f->src->read(f->src, buf, n, off, f->e);
}

static int inside(iip_tiff_file *f, uint64_t off, size_t n)
{
    if (!f->bad && (off > (uint64_t)f->size || n > (uint64_t)f->size - off))
        FAIL(f, IIP_E_CORRUPT, "%zu bytes at %" PRIu64 " lie behind the end of the file", n, off);
    return !f->bad;
}

/* n bytes at off, n at most the window. A new window begins at `from`, which is off or before it. */
static const unsigned char *look(iip_tiff_file *f, iip_tiff_window *w, uint64_t off, size_t n, uint64_t from)
{
    if (!inside(f, off, n))
        return NULL;
    if ((int64_t)off < w->at || off + n > (uint64_t)w->at + w->len) {
        size_t len = sizeof w->buf;

        if (len > (uint64_t)f->size - from)
            len = (size_t)((uint64_t)f->size - from);
        w->len = 0;
        if (fetch(f, w->buf, len, (int64_t)from) != IIP_OK)
            return NULL;
        w->at = (int64_t)from;
        w->len = len;
    }
    return w->buf + (off - (uint64_t)w->at);
}

iip_status iip_tiff_read(iip_tiff_file *f, void *buf, size_t n, int64_t off)
{
    const unsigned char *p;

    if (n > sizeof f->ahead.buf / 2) {
        if (!inside(f, (uint64_t)off, n))
            return f->bad;
        return fetch(f, buf, n, off);
    }
    p = look(f, &f->ahead, (uint64_t)off, n, (uint64_t)off);
    if (p)
        memcpy(buf, p, n);
    return f->bad;
}

static uint64_t number_at(iip_tiff_file *f, uint64_t off, int n)
{
    const unsigned char *p = look(f, &f->ahead, off, (size_t)n, off);

    return p ? number(f, p, n) : 0;
}

iip_status iip_tiff_head(iip_tiff_file *f)
{
    unsigned char head[16] = {0};

    if (f->size < 8)
        return FAIL(f, IIP_E_CORRUPT, "%" PRId64 " bytes are no TIFF", f->size);
    if (iip_tiff_read(f, head, f->size < 16 ? 8 : 16, 0) != IIP_OK)
        return f->bad;
    f->msb = head[0] == 'M';
    f->big = number(f, head + 2, 2) == 43;
    if (head[0] != head[1] || (head[0] != 'I' && head[0] != 'M') || (!f->big && number(f, head + 2, 2) != 42) ||
        (f->big && number(f, head + 4, 4) != (f->msb ? 0x80000 : 8)))
        return FAIL(f, IIP_E_FORMAT, "not a TIFF header");
    f->first = f->big ? number(f, head + 8, 8) : number(f, head + 4, 4);
    if (!f->first)
        return FAIL(f, IIP_E_CORRUPT, "no directory");
    return IIP_OK;
}

iip_status iip_tiff_dir_find(iip_tiff_file *f, uint64_t at, iip_tiff_dir *d)
{
    const int count_size = f->big ? 8 : 2, entry = f->big ? 20 : 12, word = f->big ? 8 : 4;
    uint64_t n, from;

    memset(d, 0, sizeof *d);
    d->at = at;
    n = number_at(f, at, count_size);
    if (f->bad)
        return f->bad;
    if (!n)
        return FAIL(f, IIP_E_CORRUPT, "the directory at %" PRIu64 " is empty", at);
    if (n > IIP_TIFF_ENTRIES)
        return FAIL(f, IIP_E_FORMAT, "%" PRIu64 " tags in the directory at %" PRIu64, n, at);
    from = at + (unsigned)count_size;
    for (uint64_t i = 0; i < n; i++, from += (unsigned)entry) {
        const unsigned char *p = look(f, &f->ahead, from, (size_t)entry, from);
        iip_tiff_entry v;
        uint64_t tag, bytes;
        int t;

        if (!p)
            return f->bad;
        tag = number(f, p, 2);
        for (t = 0; t < TAG_COUNT && tags[t] != tag; t++)
            ;
        if (t == TAG_COUNT || d->tag[t].count)
            continue; /* unknown, or there already: libtiff takes the first too */
        v.type = (int)number(f, p + 2, 2);
        v.size = v.type < (int)sizeof type_size ? type_size[v.type] : 0;
        v.count = number(f, p + 4, word);
        if (!v.size || !v.count)
            continue;
        if (__builtin_mul_overflow(v.count, (uint64_t)v.size, &bytes))
            return FAIL(f, IIP_E_CORRUPT, "tag %" PRIu64 " has %" PRIu64 " values", tag, v.count);
        v.at = bytes <= (unsigned)word ? from + 4 + (unsigned)word : number(f, p + 4 + word, word);
        if (v.at > (uint64_t)f->size)
            v.at = (uint64_t)f->size; /* whoever reads it fails, and sums of places cannot overflow */
        d->tag[t] = v;
    }
    d->next = number_at(f, from, word);
    return f->bad;
}

uint64_t iip_tiff_uint(iip_tiff_file *f, const iip_tiff_entry *t, uint64_t i, uint64_t def)
{
    if (!t->count)
        return def;
    if (i >= t->count || !IS_UINT(t->type)) {
        if (!f->bad)
            FAIL(f, IIP_E_CORRUPT, "a tag has the wrong type or too few values");
        return 0;
    }
    return number_at(f, t->at + i * (unsigned)t->size, t->size);
}

double iip_tiff_real(iip_tiff_file *f, const iip_tiff_entry *t, uint64_t i, double def)
{
    uint64_t at = t->at + i * (unsigned)t->size, v;
    float f32;
    double f64;
    uint32_t v32;

    if (i >= t->count)
        return def;
    v = number_at(f, at, t->size);
    switch (t->type) {
    case RATIONAL:
        v32 = (uint32_t)number_at(f, at + 4, 4);
        return v32 ? (double)number_at(f, at, 4) / v32 : def;
    case SRATIONAL:
        v32 = (uint32_t)number_at(f, at + 4, 4);
        return v32 ? (double)(int32_t)number_at(f, at, 4) / (int32_t)v32 : def;
    case SBYTE:
        return (int8_t)v;
    case SSHORT:
        return (int16_t)v;
    case SLONG:
        return (int32_t)v;
    case SLONG8:
        return (double)(int64_t)v;
    case FLOAT:
        v32 = (uint32_t)v;
        memcpy(&f32, &v32, sizeof f32);
        return f32;
    case DOUBLE:
        memcpy(&f64, &v, sizeof f64);
        return f64;
    default:
        return (double)v;
    }
}

static apr_status_t release(void *p)
{
    free(p);
    return APR_SUCCESS;
}

iip_status iip_tiff_room(iip_tiff_file *f, iip_tiff_buffer *b, size_t n)
{
    if (n > b->room) {
        free(b->p);
        b->room = 0;
        b->p = malloc(n);
        if (!b->p)
            return FAIL(f, IIP_E_MEMORY, "%zu bytes", n);
        b->room = n;
    }
    return IIP_OK;
}

const void *iip_tiff_bytes(iip_tiff_file *f, const iip_tiff_entry *t, size_t max, size_t *n, apr_pool_t *p)
{
    void *b;

    *n = 0;
    if (!t->count || t->count > max || t->size != 1 || f->bad)
        return NULL;
    b = calloc(1, (size_t)t->count);
    if (!b) {
        FAIL(f, IIP_E_MEMORY, "%" PRIu64 " bytes of a tag", t->count);
        return NULL;
    }
    apr_pool_cleanup_register(p, b, release, apr_pool_cleanup_null);
    if (iip_tiff_read(f, b, (size_t)t->count, (int64_t)t->at) != IIP_OK)
        return NULL;
    *n = (size_t)t->count;
    return b;
}

/* One of the small numbers that make up a picture. */
static int small(iip_tiff_file *f, const iip_tiff_dir *d, int tag, uint64_t def, uint64_t max, const char *what)
{
    uint64_t v = iip_tiff_uint(f, &d->tag[tag], 0, def);

    if (v > max && !f->bad)
        FAIL(f, IIP_E_FORMAT, "%s %" PRIu64, what, v);
    return f->bad ? 0 : (int)v;
}

/* BitsPerSample and SampleFormat: one value, or one a sample; they must be the same. */
static int uniform(iip_tiff_file *f, const iip_tiff_dir *d, int tag, uint64_t def, const char *what)
{
    const iip_tiff_entry *t = &d->tag[tag];
    uint64_t v = iip_tiff_uint(f, t, 0, def);

    for (uint64_t i = 1; i < t->count && i < (uint64_t)d->samples; i++)
        if (iip_tiff_uint(f, t, i, 0) != v && !f->bad)
            FAIL(f, IIP_E_FORMAT, "%s differ between samples", what);
    if (v > 1024 && !f->bad)
        FAIL(f, IIP_E_FORMAT, "%s: %" PRIu64, what, v);
    return f->bad ? 0 : (int)v;
}

iip_status iip_tiff_dir_read(iip_tiff_file *f, iip_tiff_dir *d)
{
    const iip_tiff_entry *t = d->tag;
    const int old = small(f, d, TAG_OLD_SUBTYPE, 0, UINT16_MAX, "SubfileType");
    uint64_t blocks;

    d->subtype = (unsigned)(iip_tiff_uint(f, t + TAG_SUBTYPE, 0,
                                          old == 2   ? TIFF_REDUCED
                                          : old == 3 ? TIFF_PAGE
                                                     : 0) &
                            7);
    d->w = small(f, d, TAG_WIDTH, 0, IIP_MAX_SIDE, "width");
    d->h = small(f, d, TAG_HEIGHT, 0, IIP_MAX_SIDE, "height");
    d->compression = small(f, d, TAG_COMPRESSION, TIFF_NONE, UINT16_MAX, "compression");
    d->ojpeg = d->compression == TIFF_OLD_JPEG;
    /* writers of old-style JPEG left out what the stream says */
    d->samples = small(f, d, TAG_SAMPLES, d->ojpeg && iip_tiff_uint(f, t + TAG_PHOTOMETRIC, 0, TIFF_YCBCR) > 1 ? 3 : 1,
                       IIP_TIFF_BANDS, "samples a pixel:");
    d->photometric =
        small(f, d, TAG_PHOTOMETRIC, d->samples < 3 ? TIFF_BLACK_IS_0 : TIFF_RGB, UINT16_MAX, "photometric");
    d->bits = uniform(f, d, TAG_BITS, d->ojpeg ? 8 : 1, "bits a sample");
    /* CIELAB is always L without and axes with a sign, some writers say so */
    d->format = d->photometric == TIFF_CIELAB || d->photometric == TIFF_ICC_LAB
                    ? small(f, d, TAG_FORMAT, 1, UINT16_MAX, "sample format")
                    : uniform(f, d, TAG_FORMAT, 1, "sample formats");
    d->fill = small(f, d, TAG_FILLORDER, 1, UINT16_MAX, "fill order");
    d->orientation = small(f, d, TAG_ORIENTATION, 1, UINT16_MAX, "orientation");
    if (d->orientation < 1 || d->orientation > 8)
        d->orientation = 1;
    d->planar = small(f, d, TAG_PLANAR, 1, UINT16_MAX, "planar configuration") == 2 && d->samples > 1;
    d->sub_x = d->sub_y = 1;
    if (d->photometric == TIFF_YCBCR) {
        d->sub_x = (int)iip_tiff_uint(f, t + TAG_SUBSAMPLING, 0, 2);
        d->sub_y = (int)iip_tiff_uint(f, t + TAG_SUBSAMPLING, t[TAG_SUBSAMPLING].count > 1, 2);
        if ((d->compression == TIFF_JPEG && !d->planar && d->samples == 3) || d->ojpeg) {
            d->jpeg_ycc = 1;
            d->photometric = TIFF_RGB;
        }
    }
    if (d->samples == 3 && !d->planar &&
        (d->compression == TIFF_JP2_YCC || (iip_tiff_is_jp2(d) && d->photometric == TIFF_YCBCR))) {
        d->jp2_ycc = 1;
        d->photometric = TIFF_RGB;
    }
    d->tiled = t[TAG_TILE_WIDTH].count && t[TAG_TILE_HEIGHT].count;
    if (d->tiled) {
        d->block_w = small(f, d, TAG_TILE_WIDTH, 0, IIP_MAX_SIDE, "tile width");
        d->block_h = small(f, d, TAG_TILE_HEIGHT, 0, IIP_MAX_SIDE, "tile height");
    } else {
        uint64_t rows = iip_tiff_uint(f, t + TAG_ROWS, 0, UINT32_MAX);

        d->block_w = d->w;
        d->block_h = rows > (uint64_t)d->h ? d->h : (int64_t)rows;
    }
    if (f->bad)
        return f->bad;
    if (!d->w || !d->h || !d->samples || !d->block_w || !d->block_h)
        return FAIL(f, IIP_E_FORMAT, "the directory at %" PRIu64 " has no size", d->at);
    if (iip_tiff_uint(f, t + TAG_DEPTH, 0, 1) > 1)
        return FAIL(f, IIP_E_FORMAT, "a volume");
    d->across = (d->w + d->block_w - 1) / d->block_w;
    d->per_plane = d->across * ((d->h + d->block_h - 1) / d->block_h);
    blocks = (uint64_t)d->per_plane * (d->planar ? (unsigned)d->samples : 1);
    if (blocks > IIP_TIFF_BLOCKS)
        return FAIL(f, IIP_E_FORMAT, "%" PRIu64 " %s", blocks, d->tiled ? "tiles" : "strips");
    /* libtiff takes the strip's tags for tiles and the other way round */
    for (int i = 0; i < 2; i++) {
        iip_tiff_entry *tile = &d->tag[i ? TAG_TILE_COUNTS : TAG_TILE_OFFSETS];
        iip_tiff_entry *strip = &d->tag[i ? TAG_STRIP_COUNTS : TAG_STRIP_OFFSETS];

        if (d->tiled && !tile->count)
            *tile = *strip;
        else if (!d->tiled && !strip->count)
            *strip = *tile;
    }
    return f->bad;
}

/* Value i of an array of any length, through the window that is its piece's. */
static uint64_t element(iip_tiff_file *f, iip_tiff_window w[IIP_TIFF_WINDOWS], const iip_tiff_entry *t, uint64_t i)
{
    const uint64_t in = i * (unsigned)t->size, piece = in / sizeof w->buf;
    const unsigned char *p =
        look(f, w + (t->at / 4 + piece) % IIP_TIFF_WINDOWS, t->at + in, (size_t)t->size, t->at + piece * sizeof w->buf);

    return p ? number(f, p, t->size) : 0;
}

iip_status iip_tiff_block(iip_tiff_file *f, const iip_tiff_dir *d, uint64_t i, size_t need, int64_t *off, size_t *len)
{
    const iip_tiff_entry *at = &d->tag[d->tiled ? TAG_TILE_OFFSETS : TAG_STRIP_OFFSETS];
    const iip_tiff_entry *n = &d->tag[d->tiled ? TAG_TILE_COUNTS : TAG_STRIP_COUNTS];
    const char *what = d->tiled ? "tile" : "strip";
    uint64_t o, c;

    *off = 0;
    *len = 0;
    if (i >= at->count || !IS_UINT(at->type) || (n->count && (i >= n->count || !IS_UINT(n->type))))
        return FAIL(f, IIP_E_CORRUPT, "%s %" PRIu64 " has no place in the file", what, i);
    o = element(f, f->offsets, at, i);
    if (f->bad || !o)
        return f->bad;
    if (n->count)
        c = element(f, f->counts, n, i);
    else /* old writers left them out */
        c = d->compression == TIFF_NONE ? need : o < (uint64_t)f->size ? (uint64_t)f->size - o : 0;
    if (f->bad || !c)
        return f->bad;
    if (o > (uint64_t)f->size || c > (uint64_t)f->size - o)
        return FAIL(f, IIP_E_CORRUPT, "%s %" PRIu64 " lies behind the end of the file", what, i);
    *off = (int64_t)o;
    *len = (size_t)c;
    return IIP_OK;
}
