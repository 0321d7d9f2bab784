/* SPDX-License-Identifier: Apache-2.0
 * PNG writer: grey, grey + alpha, RGB, RGBA of 8 or 16 bits, 1 bit for two levels.
 *
 * One filter for all rows, Paeth's: choosing among five costs as much again and gains 1 % at best. What is not sent
 * while it is made is filtered into memory and deflated in one go by libdeflate, which is half as fast again as zlib
 * and smaller, but knows no streams. Larger answers, and all where libdeflate is not installed, go through zlib row by
 * row. There, at level 1, matching runs only (Z_RLE) is a quarter faster than zlib's own matching, and photographs come
 * out smaller; and levels above 6 are 6: for 1 to 9 % less they take up to ten times as long, 20 s for 25 megapixels.
 */
#include "request.h"
#include <string.h>
#include <zlib.h>
#ifdef IIP_HAVE_DEFLATE
#include <libdeflate.h>
#endif

#define IDAT        (64 * 1024) /* bytes of pixels a chunk of a stream, hence a call of the sink */
#define MOST        0x7fffffff  /* of a side, and of a chunk's length */
#define FRAME       12          /* a chunk's length, name and checksum */
#define STREAM_MOST 6           /* level of what goes through zlib */

#if defined(__GNUC__) && !defined(__clang__) && !defined(IIP_PLAIN_C)
#define VECTORISED __attribute__((optimize("O3")))
#else
#define VECTORISED
#endif

struct iip_writer {
    iip_sink *sink;
    apr_pool_t *pool;
    int64_t left;           /* rows */
    size_t row, pixel;      /* bytes, in the file */
    int quality, deep, two; /* 16 bits; 1 bit */
    unsigned char *line[2]; /* rows as they lie in the file: the one above, and one that is made */
    unsigned char *raw;     /* filtered rows: all of them, or one */
    size_t raw_n;
    int whole;
    z_stream z;          /* where not whole */
    unsigned char *idat; /* a chunk of IDAT bytes that z fills */
};

/* --- chunks ------------------------------------------------------------------------------------------------------- */

static unsigned char *put32(unsigned char *p, uint32_t v)
{
    for (int i = 3; i >= 0; i--, v >>= 8)
        p[i] = (unsigned char)v;
    return p + 4;
}

/* Writes a chunk of n bytes that lie at chunk + 8, with room for the rest of it around them. */
static iip_status put_chunk(iip_writer_t *w, const char *name, unsigned char *chunk, size_t n, iip_error *e)
{
    put32(chunk, (uint32_t)n);
    memcpy(chunk + 4, name, 4);
#ifdef IIP_HAVE_DEFLATE
    put32(chunk + 8 + n, libdeflate_crc32(0, chunk + 4, n + 4));
#else
    put32(chunk + 8 + n, (uint32_t)crc32_z(0, chunk + 4, n + 4));
#endif
    return w->sink->write(w->sink, chunk, n + FRAME, e);
}

/* Deflates into at most room bytes; their number, 0 if they do not fit or there is no memory. */
static size_t deflate_all(int level, const void *from, size_t n, void *to, size_t room)
{
#ifdef IIP_HAVE_DEFLATE
    struct libdeflate_compressor *c = libdeflate_alloc_compressor(level);
    size_t got = c ? libdeflate_zlib_compress(c, from, n, to, room) : 0;

    libdeflate_free_compressor(c);
    return got;
#else
    uLongf got = room;

    return compress2(to, &got, from, n, level) == Z_OK ? got : 0;
#endif
}

/* As much as deflating can come to: it stores what it cannot make smaller, 5 bytes more for each block. */
static size_t deflated_most(size_t n)
{
    return n + n / 1000 + 64;
}

static iip_status no_memory(iip_error *e)
{
    return iip_fail(e, IIP_E_MEMORY, APR_ENOMEM, "writing PNG: no memory");
}

/* --- what is not pixels ------------------------------------------------------------------------------------------- */

static iip_status put_header(iip_writer_t *w, const iip_raster *shape, iip_error *e)
{
    static const unsigned char types[] = {[1] = 0, [2] = 4, [3] = 2, [4] = 6};
    unsigned char chunk[8 + 13 + 4] = {0}, *p = put32(put32(chunk + 8, (uint32_t)shape->w), (uint32_t)shape->h);

    p[0] = w->two ? 1 : w->deep ? 16 : 8;
    p[1] = types[shape->bands];
    if (w->sink->write(w->sink, "\x89PNG\r\n\x1a\n", 8, e) != IIP_OK)
        return e->status;
    return put_chunk(w, "IHDR", chunk, 13, e);
}

static iip_status put_icc(iip_writer_t *w, const iip_enc_opts *o, iip_error *e)
{
    static const char head[6] = "icc\0\0"; /* a name, and the method */
    const size_t room = deflated_most(o->icc_len);
    unsigned char *chunk;
    size_t n;

    if (o->icc_len == 0 || o->icc_len > MOST / 2)
        return IIP_OK;
    if (!(chunk = iip_codec_alloc(FRAME + 5 + room, w->pool, e)))
        return e->status;
    memcpy(chunk + 8, head, 5);
    if ((n = deflate_all(o->quality, o->icc, o->icc_len, chunk + 13, room)) == 0)
        return no_memory(e);
    return put_chunk(w, "iCCP", chunk, 5 + n, e);
}

static iip_status put_resolution(iip_writer_t *w, const iip_enc_opts *o, iip_error *e)
{
    const double x = o->res_x * 100 + 0.5, y = o->res_y * 100 + 0.5;
    unsigned char chunk[8 + 9 + 4];

    if (!(x >= 1 && y >= 1 && x < MOST && y < MOST))
        return IIP_OK;
    *put32(put32(chunk + 8, (uint32_t)x), (uint32_t)y) = 1; /* a metre */
    return put_chunk(w, "pHYs", chunk, 9, e);
}

/* head: of a size in front of the n bytes. Nothing is written of nothing. */
static iip_status put_data(iip_writer_t *w, const char *name, const void *head, size_t head_n, const void *data,
                           size_t n, iip_error *e)
{
    unsigned char *chunk;

    if (n == 0 || n > MOST - head_n)
        return IIP_OK;
    if (!(chunk = iip_codec_alloc(FRAME + head_n + n, w->pool, e)))
        return e->status;
    memcpy(chunk + 8, head, head_n);
    memcpy(chunk + 8 + head_n, data, n);
    return put_chunk(w, name, chunk, head_n + n, e);
}

/* UTF-8 under a keyword: not deflated, of no language, with no other keyword. */
#define TEXT(key) key "\0\0\0\0", sizeof key + 4

static iip_status put_metadata(iip_writer_t *w, const iip_enc_opts *o, iip_error *e)
{
    const int xmp = o->xmp_len > 0 && !memchr(o->xmp, 0, o->xmp_len); /* what ends such a text */

    if (put_icc(w, o, e) != IIP_OK || put_resolution(w, o, e) != IIP_OK ||
        put_data(w, "eXIf", "", 0, o->exif, o->exif_len, e) != IIP_OK ||
        put_data(w, "iTXt", TEXT("Copyright"), o->copyright, o->copyright ? strlen(o->copyright) : 0, e) != IIP_OK ||
        put_data(w, "iTXt", TEXT("XML:com.adobe.xmp"), o->xmp, xmp ? o->xmp_len : 0, e) != IIP_OK)
        return e->status;
    return IIP_OK;
}

/* --- begin -------------------------------------------------------------------------------------------------------- */

static apr_status_t writer_close(void *writer)
{
    iip_writer_t *w = writer;

    deflateEnd(&w->z);
    return APR_SUCCESS;
}

static iip_status start_stream(iip_writer_t *w, iip_error *e)
{
    const int strategy = w->quality == 1 && !w->two ? Z_RLE : Z_DEFAULT_STRATEGY;

    if (!(w->idat = iip_codec_alloc(IDAT + FRAME, w->pool, e)))
        return e->status;
    if (deflateInit2(&w->z, w->quality < STREAM_MOST ? w->quality : STREAM_MOST, Z_DEFLATED, MAX_WBITS, 8, strategy) !=
        Z_OK)
        return no_memory(e);
    apr_pool_cleanup_register(w->pool, w, writer_close, apr_pool_cleanup_null);
    w->z.next_out = w->idat + 8;
    w->z.avail_out = IDAT;
    return IIP_OK;
}

static iip_status png_begin(iip_writer_t **out, const iip_raster *shape, const iip_enc_opts *o, iip_sink *k,
                            apr_pool_t *p, iip_error *e)
{
    iip_writer_t *w = apr_pcalloc(p, sizeof *w);
    size_t hold;

    if (shape->w < 1 || shape->h < 1 || shape->w > MOST || shape->h > MOST)
        return iip_fail(e, IIP_E_LIMIT, 0, "PNG holds at most %d pixels a side", MOST);
    if ((shape->sample != IIP_U8 && shape->sample != IIP_U16) || shape->bands < 1 || shape->bands > 4)
        return iip_fail(e, IIP_E_FEATURE, 0, "PNG of %d bands", shape->bands);
    w->sink = k;
    w->pool = p;
    w->left = shape->h;
    w->quality = o->quality;
    w->deep = shape->sample == IIP_U16;
    w->two = o->bilevel && shape->bands == 1 && !w->deep;
    w->pixel = (size_t)shape->bands << w->deep;
    w->row = w->two ? ((size_t)shape->w + 7) / 8 : (size_t)shape->w * w->pixel;
    hold = w->row + 1;
#ifdef IIP_HAVE_DEFLATE
    w->whole = shape->w * shape->h <= IIP_STREAM_PIXELS;
    if (w->whole)
        hold *= (size_t)shape->h;
#endif
    for (int i = 0; i < 2; i++)
        if (!(w->line[i] = iip_codec_alloc(w->row, p, e)))
            return e->status;
    memset(w->line[0], 0, w->row); /* above the first row */
    if (!(w->raw = iip_codec_alloc(w->whole ? hold : w->row + 1, p, e)))
        return e->status;
    if ((!w->whole && start_stream(w, e) != IIP_OK) || put_header(w, shape, e) != IIP_OK ||
        put_metadata(w, o, e) != IIP_OK)
        return e->status;
    *out = w;
    return IIP_OK;
}

/* --- rows --------------------------------------------------------------------------------------------------------- */

/* out = s - the neighbour (left, above, above left) that is next to left + above - above left. */
VECTORISED static void paeth(const unsigned char *restrict s, const unsigned char *restrict up,
                             unsigned char *restrict out, size_t n, size_t pixel)
{
    for (size_t i = 0; i < pixel; i++)
        out[i] = (unsigned char)(s[i] - up[i]);
    for (size_t i = pixel; i < n; i++) {
        const short a = s[i - pixel], b = up[i], c = up[i - pixel];
        const short x = (short)(b - c), y = (short)(a - c), z = (short)(x + y);
        const short to_a = x < 0 ? (short)-x : x, to_b = y < 0 ? (short)-y : y, to_c = z < 0 ? (short)-z : z;

        out[i] = (unsigned char)(s[i] - (to_a <= to_b && to_a <= to_c ? a : to_b <= to_c ? b : c));
    }
}

/* A row as it lies in the file: the strip's own, or made in line[1]. */
static const unsigned char *in_file_order(iip_writer_t *w, const unsigned char *px, int64_t width)
{
    unsigned char *to = w->line[1];

    if (w->deep) {
        for (size_t i = 0; i < w->row; i += 2) {
            uint16_t v;

            memcpy(&v, px + i, 2);
            to[i] = (unsigned char)(v >> 8);
            to[i + 1] = (unsigned char)v;
        }
    } else if (w->two) {
        memset(to, 0, w->row);
        for (int64_t x = 0; x < width; x++)
            to[x / 8] |= (unsigned char)((px[x] & 0x80) >> x % 8);
    } else {
        return px;
    }
    return to;
}

/* From raw into the stream; a chunk goes out when it is full, and at the end. */
static iip_status stream(iip_writer_t *w, size_t n, int flush, iip_error *e)
{
    int rv;

    w->z.next_in = w->raw;
    w->z.avail_in = (uInt)n;
    do {
        if (w->z.avail_out == 0) {
            if (put_chunk(w, "IDAT", w->idat, IDAT, e) != IIP_OK)
                return e->status;
            w->z.next_out = w->idat + 8;
            w->z.avail_out = IDAT;
        }
        rv = deflate(&w->z, flush);
        if (rv != Z_OK && rv != Z_STREAM_END && rv != Z_BUF_ERROR)
            return iip_fail(e, IIP_E_IO, 0, "writing PNG: deflate gave %d", rv);
    } while (w->z.avail_in > 0 || (flush == Z_FINISH && rv != Z_STREAM_END));
    return IIP_OK;
}

static iip_status png_rows(iip_writer_t *w, const iip_raster *strip, iip_error *e)
{
    const unsigned char *up = w->line[0];

    if (strip->h > w->left)
        return iip_fail(e, IIP_E_IO, 0, "writing PNG: too many rows");
    w->left -= strip->h;
    for (int64_t y = 0; y < strip->h; y++) {
        const unsigned char *s = in_file_order(w, strip->px + (size_t)y * strip->stride, strip->w);
        unsigned char *to = w->raw + w->raw_n;

        *to = w->two ? 0 : 4; /* none, Paeth */
        if (w->two)
            memcpy(to + 1, s, w->row);
        else
            paeth(s, up, to + 1, w->row, w->pixel);
        if (s == w->line[1]) {
            w->line[1] = w->line[0];
            w->line[0] = (unsigned char *)(uintptr_t)s;
        }
        up = s;
        if (w->whole)
            w->raw_n += w->row + 1;
        else if (stream(w, w->row + 1, Z_NO_FLUSH, e) != IIP_OK)
            return e->status;
    }
    if (up != w->line[0])
        memcpy(w->line[0], up, w->row); /* the strip's memory is not ours */
    return IIP_OK;
}

static iip_status png_end(iip_writer_t *w, iip_error *e)
{
    unsigned char *chunk = w->idat, end[FRAME];
    size_t n;

    if (w->left)
        return iip_fail(e, IIP_E_IO, 0, "writing PNG: rows are missing");
    if (w->whole) {
        n = deflated_most(w->raw_n);
        if (!(chunk = iip_codec_alloc(n + FRAME, w->pool, e)))
            return e->status;
        if ((n = deflate_all(w->quality, w->raw, w->raw_n, chunk + 8, n)) == 0)
            return no_memory(e);
    } else {
        if (stream(w, 0, Z_FINISH, e) != IIP_OK)
            return e->status;
        n = IDAT - w->z.avail_out;
    }
    if (put_chunk(w, "IDAT", chunk, n, e) != IIP_OK)
        return e->status;
    return put_chunk(w, "IEND", end, 0, e);
}

const iip_encoder iip_encoder_png = {
    .abi = IIP_CODEC_ABI,
    .format = IIP_FMT_PNG,
    .name = "png",
    .ext = "png",
    .mime = "image/png",
    .q_min = 0,
    .q_max = 9,
    .q_default = 1,
    .samples = 1u << IIP_U8 | 1u << IIP_U16,
    .alpha = 1,
    .max_side = MOST,
    .cost = 8, /* filtered rows and the deflated ones */
    .effort = 10,
    .begin = png_begin,
    .rows = png_rows,
    .end = png_end,
};
