/* SPDX-License-Identifier: Apache-2.0
 * TIFF: old-style JPEG (compression 6), as TIFF 6.0 section 22 had it and technical note 2 buried it. The JPEG stream
 * of the whole picture is put together from what is there, and the JPEG decoder reads that.
 *
 * The stream is what lies at JPEGInterchangeFormat, and if that is but a header the strips behind it. Where no frame
 * stands in front of the first scan, tags say where the tables are. libtiff's own codec reads no
 * more variants than these, decodes from the top for each step back, and ends the process where its assumptions fail.
 */
#include "codec/tiff_dir.h"
#include <apr_strings.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

extern const iip_decoder iip_decoder_jpeg;

#define FAIL(f, ...) ((f)->bad = iip_fail((f)->e, IIP_E_FORMAT, 0, "old-style JPEG " __VA_ARGS__))

#define HEAD 65536 /* bytes of markers looked at */
#define MOST 65535 /* rows of a JPEG */

enum {
    SOF0 = 0xC0,
    DHT = 0xC4,
    JPG = 0xC8,
    DAC = 0xCC,
    SOF15 = 0xCF,
    RST0 = 0xD0,
    SOI = 0xD8,
    EOI = 0xD9,
    SOS = 0xDA,
    DQT = 0xDB,
    DRI = 0xDD,
    APP0 = 0xE0,
    APP14 = 0xEE,
    COM = 0xFE
};

/* A stretch of the stream: bytes in memory, or of the file at off. */
typedef struct {
    const unsigned char *mem;
    int64_t off, at; /* at: in the stream */
    size_t len;
} stretch;

typedef struct {
    iip_source_t s;
    iip_source_t *file;
    stretch *part;
    int parts;
} stream;

/* The header while it is made. */
typedef struct {
    unsigned char *p;
    size_t n, room;
    size_t sof, dri; /* where their contents are, 0: none */
    int sos;         /* it is complete */
} header;

static iip_status stream_read(iip_source_t *s, void *buf, size_t n, int64_t off, iip_error *e)
{
    const stream *t = (const stream *)s;
    unsigned char *to = buf;
    int from = 0, below = t->parts;

    if (off < 0 || off > s->id.size || n > (uint64_t)(s->id.size - off))
        return iip_fail(e, IIP_E_CORRUPT, 0, "%s: ends before its data does", s->name);
    while (below - from > 1) { /* the last part that begins at off or before */
        const int mid = (from + below) / 2;

        *(t->part[mid].at <= off ? &from : &below) = mid;
    }
    for (const stretch *v = t->part + from; n; v++) {
        const size_t in = (size_t)(off - v->at), len = v->len - in < n ? v->len - in : n;

        if (v->mem)
            memcpy(to, v->mem + in, len);
        else if (t->file->read(t->file, to, len, v->off + (int64_t)in, e) != IIP_OK)
            return e->status;
        to += len;
        off += (int64_t)len;
        n -= len;
    }
    return IIP_OK;
}

static void stream_add(stream *t, const unsigned char *mem, int64_t off, size_t len)
{
    if (!len)
        return;
    t->part[t->parts++] = (stretch){mem, off, t->s.id.size, len};
    t->s.id.size += (int64_t)len;
}

static int put(header *h, const void *p, size_t n)
{
    if (n > h->room - h->n)
        return 0;
    memcpy(h->p + h->n, p, n);
    h->n += n;
    return 1;
}

static int put_marker(header *h, int marker, size_t contents)
{
    const unsigned char m[4] = {0xFF, (unsigned char)marker, (unsigned char)((contents + 2) >> 8),
                                (unsigned char)(contents + 2)};

    return put(h, m, sizeof m);
}

static int word(const unsigned char *p)
{
    return p[0] << 8 | p[1];
}

/* Takes over the markers that matter to pixels. The bytes walked over: up to the first scan's data, or what is no
 * marker. */
static size_t walk(header *h, const unsigned char *p, size_t n)
{
    size_t at = 0;

    while (!h->sos && at + 2 <= n && p[at] == 0xFF) {
        const int marker = p[at + 1];
        size_t len;

        if (marker == 0xFF) { /* fill */
            at++;
            continue;
        }
        if (marker == SOI || marker == EOI) {
            at += 2;
            continue;
        }
        if (at + 4 > n || marker < SOF0 || (marker >= RST0 && marker < SOI))
            break;
        len = (size_t)word(p + at + 2);
        if (len < 2 || len > n - at - 2)
            break;
        if (marker <= SOF15 && marker != DHT && marker != JPG && marker != DAC)
            h->sof = h->n + 4;
        else if (marker == DRI)
            h->dri = h->n + 4;
        h->sos = marker == SOS;
        if ((marker <= DRI || marker == APP0 || marker == APP14) && !put(h, p + at, 2 + len))
            break;
        at += 2 + len;
    }
    return at;
}

/* The tables that an array of offsets names, one for each sample; those of equal place are one, and who has none takes
 * that of the sample before. */
static iip_status tables(iip_tiff_file *f, const iip_tiff_dir *d, int tag, int marker, int class, header *h, int use[3])
{
    const iip_tiff_entry *t = &d->tag[tag];
    uint64_t at[3];

    for (int i = 0; i < d->samples; i++) {
        unsigned char b[16 + 256], id = (unsigned char)(class | i);
        size_t n = 64;

        at[i] = (uint64_t)i < t->count ? iip_tiff_uint(f, t, (uint64_t)i, 0) : 0;
        if (!at[i] && i)
            at[i] = at[i - 1];
        use[i] = i;
        for (int k = i - 1; k >= 0; k--)
            if (at[k] == at[i])
                use[i] = use[k];
        if (f->bad)
            return f->bad;
        if (!at[i] || at[i] > (uint64_t)f->size)
            return FAIL(f, "without tables");
        if (use[i] != i)
            continue;
        if (marker == DHT) {
            if (iip_tiff_read(f, b, 16, (int64_t)at[i]) != IIP_OK)
                return f->bad;
            n = 16;
            for (int k = 0; k < 16; k++)
                n += b[k];
            if (n > sizeof b)
                return FAIL(f, "with a table of %zu codes", n - 16);
        }
        if (iip_tiff_read(f, b, n, (int64_t)at[i]) != IIP_OK)
            return f->bad;
        if (!put_marker(h, marker, 1 + n) || !put(h, &id, 1) || !put(h, b, n))
            return FAIL(f, "with too many tables");
    }
    return IIP_OK;
}

/* A frame and a scan of the whole picture, by tags. */
static iip_status make_frame(iip_tiff_file *f, const iip_tiff_dir *d, header *h)
{
    const unsigned char n = (unsigned char)d->samples, rest[3] = {0, 63, 0};
    const unsigned char frame[6] = {8, 0, 0, 0, 0, n};
    int quant[3], dc[3], ac[3], fits;

    if (iip_tiff_uint(f, &d->tag[TAG_JPEG_PROC], 0, 1) != 1)
        return f->bad ? f->bad : FAIL(f, "without losses");
    if (tables(f, d, TAG_JPEG_Q, DQT, 0, h, quant) != IIP_OK || tables(f, d, TAG_JPEG_DC, DHT, 0, h, dc) != IIP_OK ||
        tables(f, d, TAG_JPEG_AC, DHT, 16, h, ac) != IIP_OK)
        return f->bad;
    fits = put_marker(h, SOF0, sizeof frame + 3u * n);
    h->sof = h->n;
    fits = fits && put(h, frame, sizeof frame);
    for (int i = 0; i < n; i++) {
        const int sub = i || n == 1 ? 0x11 : d->sub_x << 4 | d->sub_y;

        fits =
            fits && put(h, (unsigned char[3]){(unsigned char)(i + 1), (unsigned char)sub, (unsigned char)quant[i]}, 3);
    }
    fits = fits && put_marker(h, SOS, 1 + 2u * n + sizeof rest) && put(h, &n, 1);
    for (int i = 0; i < n; i++)
        fits = fits && put(h, (unsigned char[2]){(unsigned char)(i + 1), (unsigned char)(dc[i] << 4 | ac[i])}, 2);
    if (!fits || !put(h, rest, sizeof rest))
        return FAIL(f, "with a long header");
    h->sos = 1;
    return IIP_OK;
}

/* Makes the frame's size that of the picture, which decoders other than libtiff's do not believe it may exceed. The
 * sides of an MCU. */
static iip_status fit_frame(iip_tiff_file *f, const iip_tiff_dir *d, header *h, int mcu[2])
{
    unsigned char *s = h->p + h->sof;
    const size_t n = (size_t)word(s - 2) - 2;
    const int made = !word(s + 3);
    int most[2] = {1, 1};

    if (n < 6 || n < 6 + 3 * (size_t)s[5] || s[5] != d->samples)
        return FAIL(f, "of other samples than its directory");
    for (int i = 0; i < s[5]; i++)
        for (int k = 0; k < 2; k++) {
            const int v = k ? s[7 + 3 * i] & 15 : s[7 + 3 * i] >> 4;

            if (v > most[k])
                most[k] = v;
        }
    for (int k = 0; k < 2; k++)
        mcu[k] = s[5] == 1 ? 8 : 8 * most[k];
    if (d->w > MOST || d->h > MOST)
        return FAIL(f, "of %" PRId64 " by %" PRId64, d->w, d->h);
    if (!made && ((word(s + 3) + mcu[0] - 1) / mcu[0] != (d->w + mcu[0] - 1) / mcu[0] || word(s + 3) < d->w ||
                  (word(s + 1) && word(s + 1) < d->h)))
        return FAIL(f, "of %d by %d in a picture of %" PRId64 " by %" PRId64, word(s + 3), word(s + 1), d->w, d->h);
    s[1] = (unsigned char)(d->h >> 8);
    s[2] = (unsigned char)d->h;
    s[3] = (unsigned char)(d->w >> 8);
    s[4] = (unsigned char)d->w;
    return IIP_OK;
}

/* Every strip begins anew, whether the marker that says so is stored or not. */
static iip_status add_strips(iip_tiff_file *f, const iip_tiff_dir *d, header *h, const int mcu[2], size_t walked,
                             stream *t, apr_pool_t *p)
{
    const int64_t across = (d->w + mcu[0] - 1) / mcu[0], each = across * (d->block_h / mcu[1]);
    int64_t interval = (int64_t)iip_tiff_uint(f, &d->tag[TAG_JPEG_RESTART], 0, 0), intervals;
    unsigned char *mark = apr_palloc(p, 16);

    if (f->bad)
        return f->bad;
    if (d->tiled || d->planar || (d->per_plane > 1 && d->block_h % mcu[1]))
        return FAIL(f, "%s", d->tiled ? "in tiles" : d->planar ? "with planes apart" : "cut inside of blocks");
    if (d->per_plane > 1)
        interval = each;
    if (h->dri)
        interval = word(h->p + h->dri);
    if (interval > UINT16_MAX || (d->per_plane > 1 && (!interval || each % interval)))
        return FAIL(f, "that begins anew after %" PRId64 " of %" PRId64 " blocks", interval, each);
    if (interval && !h->dri) {
        const unsigned char dri[6] = {0xFF, DRI, 0, 4, (unsigned char)(interval >> 8), (unsigned char)interval};

        stream_add(t, apr_pmemdup(p, dri, sizeof dri), 0, sizeof dri);
    }
    stream_add(t, h->p, 0, h->n);
    intervals = interval ? each / interval : 0;
    for (int i = 0; i < 8; i++) {
        mark[2 * i] = 0xFF;
        mark[2 * i + 1] = (unsigned char)(RST0 + i);
    }
    for (int64_t i = 0; i < d->per_plane; i++) {
        unsigned char tail[2];
        int64_t off;
        size_t len;

        if (iip_tiff_block(f, d, (uint64_t)i, 0, &off, &len) != IIP_OK)
            return f->bad;
        if (!i) {
            walked = walked < len ? walked : len;
            off += (int64_t)walked;
            len -= walked;
        }
        if (len < 2)
            return f->bad = iip_fail(f->e, IIP_E_CORRUPT, 0, "strip %" PRId64 " is empty", i);
        if (i + 1 < d->per_plane) {
            if (iip_tiff_read(f, tail, 2, off + (int64_t)len - 2) != IIP_OK)
                return f->bad;
            if (tail[0] == 0xFF && tail[1] >= RST0 && tail[1] <= EOI)
                len -= 2;
        }
        stream_add(t, NULL, off, len);
        if (i + 1 < d->per_plane)
            stream_add(t, mark + 2 * (((i + 1) * intervals - 1) & 7), 0, 2);
    }
    return IIP_OK;
}

static apr_status_t release(void *p)
{
    free(p);
    return APR_SUCCESS;
}

/* The first bytes of len at off; how many. */
static size_t fetch(iip_tiff_file *f, unsigned char *to, int64_t off, size_t len)
{
    const size_t n = len < HEAD ? len : HEAD;

    return n && iip_tiff_read(f, to, n, off) == IIP_OK ? n : 0;
}

iip_status iip_tiff_ojpeg_open(iip_tiff_file *f, const iip_tiff_dir *d, const iip_limits *lim, iip_reader_t **out,
                               apr_pool_t *p)
{
    const uint64_t at = iip_tiff_uint(f, &d->tag[TAG_JPEG_AT], 0, 0), n = iip_tiff_uint(f, &d->tag[TAG_JPEG_LEN], 0, 0);
    const int64_t first = at < (uint64_t)f->size ? (int64_t)at : 0;
    const size_t len = !first ? 0 : n && n < (uint64_t)(f->size - first) ? (size_t)n : (size_t)(f->size - first);
    static const unsigned char begin[2] = {0xFF, SOI};
    header h = {.room = 2 * HEAD};
    size_t got, walked, walked_strip = 0, strip_len = 0;
    int64_t strip = 0;
    unsigned char *look;
    int mcu[2] = {8, 8}, alone;
    stream *t;

    if (f->bad)
        return f->bad;
    if (d->samples != 1 && d->samples != 3)
        return FAIL(f, "of %d samples", d->samples);
    if (d->per_plane > MOST / 8 + 1)
        return FAIL(f, "in %" PRId64 " strips", d->per_plane);
    t = apr_pcalloc(p, sizeof *t);
    t->part = calloc(2 * (size_t)d->per_plane + 4, sizeof *t->part); /* strips, marks, three of header */
    h.p = malloc(h.room + HEAD);
    apr_pool_cleanup_register(p, t->part, release, apr_pool_cleanup_null);
    apr_pool_cleanup_register(p, h.p, release, apr_pool_cleanup_null);
    if (!h.p || !t->part)
        return f->bad = iip_fail(f->e, IIP_E_MEMORY, 0, "%zu bytes", h.room + HEAD);
    look = h.p + h.room;

    got = fetch(f, look, first, len);
    walked = walk(&h, look, got);
    alone = h.sos && len - walked > 2; /* the end marker may be there */
    if (!f->bad && !h.sos && iip_tiff_block(f, d, 0, 0, &strip, &strip_len) == IIP_OK) {
        got = fetch(f, look, strip, strip_len);
        walked_strip = walk(&h, look, got);
    }
    if (f->bad || (!h.sof && !h.sos && make_frame(f, d, &h) != IIP_OK))
        return f->bad;
    if (!h.sof || !h.sos)
        return FAIL(f, "without a %s", h.sof ? "scan" : "frame");
    if (fit_frame(f, d, &h, mcu) != IIP_OK)
        return f->bad;

    t->s.read = stream_read;
    t->s.name = f->src->name;
    t->s.fd = -1;
    t->file = f->src;
    stream_add(t, begin, 0, sizeof begin);
    if (alone) {
        stream_add(t, h.p, 0, h.n);
        stream_add(t, NULL, first + (int64_t)walked, len - walked);
    } else if (add_strips(f, d, &h, mcu, walked_strip, t, p) != IIP_OK) {
        return f->bad;
    }
    return f->bad = iip_decoder_jpeg.open(out, &t->s, -1, lim, p, f->e);
}
