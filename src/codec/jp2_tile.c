/* SPDX-License-Identifier: Apache-2.0
 * JPEG 2000: one tile through OpenJPEG. It is given a code-stream of that tile alone, made of bytes in memory and
 * places in the file; or, with a packet index, one of the packets that the window needs (jp2_small.c).
 *
 * A window of what it is given is decoded where that is exact; OpenJPEG 2.5.0 to 2.5.4 leave a window of HT code-blocks
 * black, so that is decoded whole, and kept for the next window. A handle that decoded a window holds the tile's bytes
 * and that window's code-blocks: the window beside it then costs less. */
#include "codec/jp2_small.h"
#include <stdlib.h>
#include <string.h>
#include <openjpeg.h>

#define BUFFER     (64 * 1024)
#define SOT_BYTES  12
#define PPM_DATA   65532               /* of a PPM segment at most */
#define MOST_BYTES (UINT32_MAX - 1024) /* of a tile, which OpenJPEG holds in one block */

typedef struct {
    const unsigned char *mem; /* NULL: of the code-stream, from off on */
    int64_t off, len;
} piece;

struct iip_jp2_tile {
    const iip_jp2_head *h;
    iip_error *e;
    int failed; /* *e is filled: by a read, which OpenJPEG only sees as an end, or by its first message */
    opj_codec_t *codec;
    opj_stream_t *stream;
    opj_image_t *image;
    int64_t tile; /* what the handle is for; -1 = none */
    int level, layers;
    int whole; /* image holds all of the picture */
    const struct jpip_index *ix;
    size_t most;            /* bytes of a tile as it is */
    iip_jp2_small *small;   /* what OpenJPEG is given, or NULL: the tile as it is */
    iip_jp2_box box;        /* the picture it sees, */
    int reduce;             /* of which it leaves out so many levels */
    iip_jp2_coding *coding; /* of each component */
    unsigned char *made;    /* headers of the pieces */
    piece *piece;
    int pieces;
    int64_t pos, len;
};

/* --- the code-stream --- */

static unsigned char *put16(unsigned char *p, unsigned v)
{
    p[0] = (unsigned char)(v >> 8);
    p[1] = (unsigned char)v;
    return p + 2;
}

static unsigned char *put32(unsigned char *p, int64_t v)
{
    return put16(put16(p, (unsigned)(v >> 16) & 0xffff), (unsigned)v & 0xffff);
}

static unsigned char *put(unsigned char *p, const void *from, size_t n)
{
    memcpy(p, from, n);
    return p + n;
}

/* The main header for a picture that is this tile and nothing else, at its place: every grid stays as it is. */
static unsigned char *put_head(unsigned char *p, const iip_jp2_head *h, iip_jp2_box b)
{
    const int64_t size[8] = {b.x1, b.y1, b.x0, b.y0, b.x1 - b.x0, b.y1 - b.y0, b.x0, b.y0};
    unsigned char *at;

    at = put16(p, 0xff4f) + 6; /* SOC; marker, length and capabilities of SIZ */
    p = put(at - 6, h->head, h->head_len);
    for (int i = 0; i < 8; i++)
        at = put32(at, size[i]);
    return p;
}

/* The tile-part's share of PPM data, as segments of its own. */
static unsigned char *put_packed(unsigned char *p, const iip_jp2_head *h, const iip_jp2_part *part, int *index)
{
    const unsigned char *v = h->packed ? h->packed + part->packed : NULL;

    for (int64_t left = part->packed_len; left > 0 && *index < 256; ++*index) {
        size_t n = left < PPM_DATA ? (size_t)left : PPM_DATA;

        p = put16(put16(p, 0xff60), (unsigned)n + 3);
        *p++ = (unsigned char)*index;
        p = put(p, v, n);
        v += n;
        left -= (int64_t)n;
    }
    return p;
}

static void add_piece(iip_jp2_tile *t, const unsigned char *mem, int64_t off, int64_t len)
{
    t->piece[t->pieces++] = (piece){mem, off, len};
    t->len += len;
}

/* The tile as it is. */
static iip_status compose_whole(iip_jp2_tile *t, int64_t tile)
{
    const iip_jp2_head *h = t->h;
    int64_t packed = 0, data = 0;
    int parts = 0, index = 0;
    unsigned char *p;

    for (int32_t i = h->first[tile]; i >= 0; i = h->part[i].next, parts++) {
        packed += h->part[i].packed_len;
        data += h->part[i].len;
    }
    if (parts > 255 || data > MOST_BYTES)
        return iip_fail(t->e, IIP_E_FORMAT, 0, "JPEG 2000: a tile of %d parts and %lld bytes", parts, (long long)data);
    t->made =
        malloc(4 + h->head_len + (size_t)packed + (size_t)(packed / PPM_DATA + parts) * 5 + (size_t)parts * SOT_BYTES);
    t->piece = malloc((size_t)(2 * parts + 2) * sizeof *t->piece);
    if (!t->made || !t->piece)
        return iip_fail(t->e, IIP_E_MEMORY, APR_ENOMEM, "JPEG 2000: no memory for a tile's headers");
    p = put_head(t->made, h, iip_jp2_tile_box(h, tile));
    for (int32_t i = h->first[tile]; i >= 0; i = h->part[i].next)
        p = put_packed(p, h, &h->part[i], &index);
    t->pieces = 0;
    t->pos = t->len = 0;
    add_piece(t, t->made, 0, p - t->made);
    for (int32_t i = h->first[tile], n = 0; i >= 0; i = h->part[i].next, n++) {
        unsigned char *sot = p;

        p = put32(put16(put16(put16(p, 0xff90), 10), 0), h->part[i].len);
        *p++ = (unsigned char)n;
        *p++ = (unsigned char)parts;
        add_piece(t, sot, 0, SOT_BYTES);
        add_piece(t, NULL, h->part[i].at + SOT_BYTES, h->part[i].len - SOT_BYTES);
    }
    add_piece(t, p, 0, 2);
    put16(p, 0xffd9);
    return IIP_OK;
}

/* --- what OpenJPEG calls --- */

static OPJ_SIZE_T on_read(void *buf, OPJ_SIZE_T n, void *user)
{
    iip_jp2_tile *t = user;
    unsigned char *out = buf;
    int64_t off = t->pos;

    if ((int64_t)n > t->len - t->pos)
        n = (OPJ_SIZE_T)(t->len - t->pos);
    if (n == 0)
        return (OPJ_SIZE_T)-1;
    for (int i = 0; out < (unsigned char *)buf + n; off -= t->piece[i++].len) {
        const piece *q = &t->piece[i];
        size_t want = n - (size_t)(out - (unsigned char *)buf);

        if (off >= q->len)
            continue;
        want = (int64_t)want < q->len - off ? want : (size_t)(q->len - off);
        if (q->mem) {
            memcpy(out, q->mem + off, want);
        } else if (iip_jp2_bytes(t->h->f, out, want, q->off + off, t->e) != IIP_OK) {
            t->failed = 1;
            return (OPJ_SIZE_T)-1;
        }
        out += want;
        off += (int64_t)want;
    }
    t->pos += (int64_t)n;
    return n;
}

static OPJ_OFF_T on_skip(OPJ_OFF_T n, void *user)
{
    iip_jp2_tile *t = user;

    if (n < 0 || n > t->len - t->pos)
        return -1;
    t->pos += n;
    return n;
}

static OPJ_BOOL on_seek(OPJ_OFF_T pos, void *user)
{
    iip_jp2_tile *t = user;

    if (pos < 0 || pos > t->len)
        return OPJ_FALSE;
    t->pos = pos;
    return OPJ_TRUE;
}

/* The first message says what happened, the others what became of that. */
static void on_error(const char *text, void *user)
{
    iip_jp2_tile *t = user;
    const int n = (int)strcspn(text, "\r\n");

    if (!t->failed)
        iip_fail(t->e, strstr(text, "emory") ? IIP_E_MEMORY : IIP_E_CORRUPT, 0, "JPEG 2000: %.*s", n, text);
    t->failed = 1;
}

static void on_message(const char *text, void *user)
{
}

/* --- handles --- */

/* All but what is decoded. */
static void let_go(iip_jp2_tile *t)
{
    opj_destroy_codec(t->codec);
    opj_stream_destroy(t->stream);
    free(t->made);
    free(t->piece);
    if (t->small)
        iip_jp2_small_drop(t->small);
    t->codec = NULL;
    t->stream = NULL;
    t->made = NULL;
    t->piece = NULL;
}

static void close_tile(iip_jp2_tile *t)
{
    let_go(t);
    iip_jp2_small_free(t->small);
    t->small = NULL;
    opj_image_destroy(t->image);
    t->image = NULL;
    t->tile = -1;
    t->whole = 0;
}

static apr_status_t cleanup(void *tile)
{
    close_tile(tile);
    return APR_SUCCESS;
}

iip_status iip_jp2_tile_new(iip_jp2_tile **out, const iip_jp2_head *h, apr_pool_t *p, iip_error *e)
{
    iip_jp2_tile *t = apr_pcalloc(p, sizeof *t);

    if (!(t->coding = iip_codec_alloc((size_t)h->comps * sizeof *t->coding, p, e)))
        return e->status;
    t->h = h;
    t->tile = -1;
    apr_pool_cleanup_register(p, t, cleanup, apr_pool_cleanup_null);
    *out = t;
    return IIP_OK;
}

void iip_jp2_tile_use(iip_jp2_tile *t, const struct jpip_index *ix, size_t most)
{
    t->ix = ix;
    t->most = most;
}

static iip_status refused(iip_jp2_tile *t, const char *what)
{
    return t->failed ? t->e->status : iip_fail(t->e, IIP_E_CORRUPT, 0, "JPEG 2000: OpenJPEG %s", what);
}

/* OpenJPEG 2.5.0 ends the process where an HT code-block's first bytes break the rule that no byte above 8f follows ff
 * (T.814 7.1.1), which all packets keep. With markers among them only a parser of packets could tell: none are taken
 * then. *last: the byte in front. */
static int ht_sound(const unsigned char *p, size_t n, unsigned char *last)
{
    unsigned char bad = 0;

    for (size_t i = 0; i < n; *last = p[i++])
        bad |= *last == 0xff && p[i] > 0x8f;
    return !bad;
}

static iip_status ht_damaged(iip_jp2_tile *t)
{
    return iip_fail(t->e, IIP_E_CORRUPT, 0, "JPEG 2000: a marker among HT code-blocks");
}

static iip_status check_ht(iip_jp2_tile *t, int64_t tile)
{
    const iip_jp2_head *h = t->h;
    unsigned char *buf, last = 0;
    iip_status rv = IIP_OK;

    if (h->marked)
        return iip_fail(t->e, IIP_E_FORMAT, 0, "JPEG 2000: HT code-blocks with SOP or EPH markers");
    if (!(buf = malloc(BUFFER)))
        return iip_fail(t->e, IIP_E_MEMORY, APR_ENOMEM, "JPEG 2000: no memory for a tile");
    for (int32_t i = h->first[tile]; i >= 0 && rv == IIP_OK; i = h->part[i].next) {
        const int64_t end = h->part[i].at + h->part[i].len;

        for (int64_t at = h->part[i].data; at < end && rv == IIP_OK; at += BUFFER) {
            const size_t n = end - at < BUFFER ? (size_t)(end - at) : BUFFER;

            rv = iip_jp2_bytes(h->f, buf, n, at, t->e);
            if (rv == IIP_OK && !ht_sound(buf, n, &last))
                rv = ht_damaged(t);
        }
    }
    free(buf);
    return rv;
}

/* The packets that the window needs. IIP_E_FEATURE: not in this way. */
static iip_status compose_small(iip_jp2_tile *t, int64_t tile, int level, int layers, const iip_jp2_box *want)
{
    const unsigned char *mem;
    unsigned char last = 0;
    size_t n, data;
    iip_status rv = !t->ix || (t->h->ht && t->h->marked & IIP_JP2_EPH)
                        ? IIP_E_FEATURE
                        : iip_jp2_small_make(&t->small, t->h, t->ix, tile, level, layers, want, t->e);

    if (rv != IIP_OK)
        return rv;
    mem = iip_jp2_small_bytes(t->small, &n, &data);
    if (t->h->ht && !ht_sound(mem + data, n - data - 2, &last))
        return ht_damaged(t);
    if (!(t->piece = malloc(sizeof *t->piece)))
        return iip_fail(t->e, IIP_E_MEMORY, APR_ENOMEM, "JPEG 2000: no memory for a tile");
    t->pieces = 0;
    t->pos = t->len = 0;
    add_piece(t, mem, 0, (int64_t)n);
    iip_jp2_small_coding(t->small, t->coding);
    t->box = iip_jp2_small_box(t->small);
    t->reduce = 0;
    return IIP_OK;
}

static iip_status compose(iip_jp2_tile *t, int64_t tile, int level, int layers, const iip_jp2_box *want)
{
    iip_status rv = compose_small(t, tile, level, layers, want);

    if (rv != IIP_E_FEATURE)
        return rv;
    if (t->most && t->h->tile_bytes + t->h->tile_work > t->most)
        return iip_fail(t->e, IIP_E_LIMIT, 0, "JPEG 2000: tiles of %zu bytes, and no index to read them by",
                        t->h->tile_bytes + t->h->tile_work);
    if (iip_jp2_tile_check(t->h, tile, t->coding, t->e) != IIP_OK || (t->h->ht && check_ht(t, tile) != IIP_OK))
        return t->e->status;
    t->box = iip_jp2_tile_box(t->h, tile);
    t->reduce = level;
    return compose_whole(t, tile);
}

static iip_status open_tile(iip_jp2_tile *t, int64_t tile, int level, int layers, const iip_jp2_box *want)
{
    opj_dparameters_t par;

    close_tile(t);
    if (compose(t, tile, level, layers, want) != IIP_OK)
        return t->e->status;
    t->codec = opj_create_decompress(OPJ_CODEC_J2K);
    t->stream = opj_stream_create(BUFFER, OPJ_TRUE);
    if (!t->codec || !t->stream)
        return iip_fail(t->e, IIP_E_MEMORY, APR_ENOMEM, "JPEG 2000: no memory for OpenJPEG");
    opj_set_error_handler(t->codec, on_error, t);
    opj_set_warning_handler(t->codec, on_message, t);
    opj_set_info_handler(t->codec, on_message, t);
    opj_stream_set_read_function(t->stream, on_read);
    opj_stream_set_skip_function(t->stream, on_skip);
    opj_stream_set_seek_function(t->stream, on_seek);
    opj_stream_set_user_data(t->stream, t, NULL);
    opj_stream_set_user_data_length(t->stream, (OPJ_UINT64)t->len);
    opj_set_default_decoder_parameters(&par);
    par.cp_reduce = (OPJ_UINT32)t->reduce;
    par.cp_layer = layers > 0 ? (OPJ_UINT32)layers : 0;
    if (!opj_setup_decoder(t->codec, &par) || !opj_decoder_set_strict_mode(t->codec, OPJ_TRUE) ||
        !opj_codec_set_threads(t->codec, 0) || !opj_read_header(t->stream, t->codec, &t->image) ||
        t->image->numcomps != (OPJ_UINT32)t->h->comps)
        return refused(t, "does not take the header");
    t->tile = tile;
    t->level = level;
    t->layers = layers;
    return IIP_OK;
}

/* --- windows --- */

/* The samples of a tile's component. */
static iip_jp2_box samples(const iip_jp2_head *h, iip_jp2_box b, int c, int level)
{
    const iip_jp2_comp *k = &h->comp[c];

    return (iip_jp2_box){iip_jp2_at(b.x0, k->dx, level), iip_jp2_at(b.y0, k->dy, level), iip_jp2_at(b.x1, k->dx, level),
                         iip_jp2_at(b.y1, k->dy, level)};
}

/* What is wanted of an axis that the tile has: one sample at least, since OpenJPEG fails on none. */
static void clip(int64_t *from, int64_t *to, int64_t tile_from, int64_t tile_to)
{
    *from = *from > tile_from ? *from : tile_from;
    *to = *to < tile_to ? *to : tile_to;
    if (*from >= tile_to)
        *from = tile_to - 1;
    if (*to <= *from)
        *to = *from + 1;
}

/* The area of the reference grid with all the samples wanted that the tile has. */
static iip_jp2_box area(const iip_jp2_head *h, iip_jp2_box tile, int level, const iip_jp2_box *want)
{
    iip_jp2_box a = {INT64_MAX, INT64_MAX, 0, 0};

    for (int c = 0; c < h->comps; c++) {
        const iip_jp2_box has = samples(h, tile, c, level);
        const int64_t sx = (int64_t)h->comp[c].dx << level, sy = (int64_t)h->comp[c].dy << level;
        iip_jp2_box w = want[c];

        clip(&w.x0, &w.x1, has.x0, has.x1);
        clip(&w.y0, &w.y1, has.y0, has.y1);
        a.x0 = w.x0 * sx < a.x0 ? w.x0 * sx : a.x0;
        a.y0 = w.y0 * sy < a.y0 ? w.y0 * sy : a.y0;
        a.x1 = (w.x1 - 1) * sx + 1 > a.x1 ? (w.x1 - 1) * sx + 1 : a.x1;
        a.y1 = (w.y1 - 1) * sy + 1 > a.y1 ? (w.y1 - 1) * sy + 1 : a.y1;
    }
    a.x0 = a.x0 > tile.x0 ? a.x0 : tile.x0;
    a.y0 = a.y0 > tile.y0 ? a.y0 : tile.y0;
    a.x1 = a.x1 < tile.x1 ? a.x1 : tile.x1;
    a.y1 = a.y1 < tile.y1 ? a.y1 : tile.y1;
    return a;
}

/* OpenJPEG decodes the code-blocks that 3 coefficients beyond a window need. The 9/7 wavelet needs 4 in its high bands
 * from the third halving on: where a block ends just between, the axis is made longer, by what is one coefficient
 * there. from, to, tile_from, tile_to: on the reference grid. */
static void reach(const iip_jp2_tile *t, int level, int vertical, int64_t *from, int64_t *to, int64_t tile_from,
                  int64_t tile_to)
{
    int64_t left = 0, right = 0;

    for (int c = 0; c < t->h->comps; c++) {
        const iip_jp2_coding *k = &t->coding[c];
        const int64_t sub = vertical ? t->h->comp[c].dy : t->h->comp[c].dx;

        for (int nb = level + 1; nb <= k->levels && k->wavelet == 0; nb++) {
            const int precinct = k->precinct[k->levels - nb + 1], block = vertical ? k->ycb : k->xcb;
            const int most = (vertical ? precinct >> 4 : precinct & 15) - 1;
            const int64_t edge = (INT64_C(1) << (block < most ? block : most)) - 1;
            const int64_t a = iip_jp2_band(iip_jp2_ceil(*from, sub), nb, 1) - 3,
                          b = iip_jp2_band(iip_jp2_ceil(*to, sub), nb, 1) + 3;

            if (a > iip_jp2_band(iip_jp2_ceil(tile_from, sub), nb, 1) && (a & edge) == 0)
                left = sub << nb > left ? sub << nb : left;
            if (b < iip_jp2_band(iip_jp2_ceil(tile_to, sub), nb, 1) && (b & edge) == 0)
                right = sub << nb > right ? sub << nb : right;
        }
    }
    *from = *from - left > tile_from ? *from - left : tile_from;
    *to = *to + right < tile_to ? *to + right : tile_to;
}

/* 1 if the area leaves out no sample of the tile. */
static int covers(const iip_jp2_head *h, iip_jp2_box a, iip_jp2_box tile, int level)
{
    for (int c = 0; c < h->comps; c++) {
        const iip_jp2_box has = samples(h, tile, c, level), in = samples(h, a, c, level);

        if (in.x0 > has.x0 || in.y0 > has.y0 || in.x1 < has.x1 || in.y1 < has.y1)
            return 0;
    }
    return 1;
}

static iip_status decode(iip_jp2_tile *t, iip_jp2_box a, int whole)
{
    if (whole)
        a = (iip_jp2_box){0, 0, 0, 0}; /* so it is told */
    if (!opj_set_decode_area(t->codec, t->image, (OPJ_INT32)a.x0, (OPJ_INT32)a.y0, (OPJ_INT32)a.x1, (OPJ_INT32)a.y1) ||
        !opj_decode(t->codec, t->stream, t->image))
        return refused(t, "does not decode it");
    if (whole)
        let_go(t);
    t->whole = whole;
    return IIP_OK;
}

/* What was decoded; OpenJPEG must have gone as far as was asked. */
static iip_status planes(iip_jp2_tile *t, iip_jp2_plane *plane)
{
    for (int c = 0; c < t->h->comps; c++) {
        const opj_image_comp_t *k = &t->image->comps[c];

        if (!k->data || k->factor != (OPJ_UINT32)t->reduce || k->dx != t->h->comp[c].dx || k->dy != t->h->comp[c].dy)
            return refused(t, "left out a component");
        plane[c] =
            (iip_jp2_plane){k->data, iip_jp2_at(k->x0, 1, t->reduce), iip_jp2_at(k->y0, 1, t->reduce), k->w, k->h};
    }
    return IIP_OK;
}

static iip_status attempt(iip_jp2_tile *t, int64_t tile, int level, int layers, const iip_jp2_box *want,
                          iip_jp2_plane *plane)
{
    const int same = t->tile == tile && t->level == level && t->layers == layers &&
                     (t->small ? iip_jp2_small_serves(t->small, want) : t->whole || !t->h->apart);
    iip_jp2_box a;
    int whole;

    t->failed = 0;
    if (same && t->whole)
        return planes(t, plane);
    if (!same && open_tile(t, tile, level, layers, want) != IIP_OK)
        return t->e->status;
    a = area(t->h, t->box, t->reduce, want);
    reach(t, t->reduce, 0, &a.x0, &a.x1, t->box.x0, t->box.x1);
    reach(t, t->reduce, 1, &a.y0, &a.y1, t->box.y0, t->box.y1);
    whole = t->h->ht || covers(t->h, a, t->box, t->reduce);
    /* Whole pictures begin anew: OpenJPEG would not forget what it decoded for a window. */
    if ((same && whole && open_tile(t, tile, level, layers, want) != IIP_OK) || decode(t, a, whole) != IIP_OK)
        return t->e->status;
    return planes(t, plane);
}

iip_status iip_jp2_tile_decode(iip_jp2_tile *t, int64_t tile, int level, int layers, const iip_jp2_box *want,
                               iip_jp2_plane *plane, iip_error *e)
{
    iip_status rv;

    t->e = e;
    rv = attempt(t, tile, level, layers, want, plane);
    if (rv == IIP_E_CORRUPT && t->ix) { /* perhaps only the lengths in PLT segments lie, which OpenJPEG does not read */
        close_tile(t);
        t->ix = NULL;
        e->status = IIP_OK;
        rv = attempt(t, tile, level, layers, want, plane);
    }
    if (rv != IIP_OK)
        close_tile(t);
    return rv;
}
