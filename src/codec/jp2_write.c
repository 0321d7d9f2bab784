/* SPDX-License-Identifier: Apache-2.0
 * JPEG 2000 writer: a JP2 file of grey or RGB with or without alpha, 8 or 16 bits. Quality is the signal to noise ratio
 * in dB that OpenJPEG is to reach with the 9/7 wavelet; 100 is lossless, with the 5/3 wavelet.
 *
 * Tiles are encoded one after the other: OpenJPEG then holds 4 bytes a sample of one tile, not of the picture. They are
 * made of about one size: OpenJPEG 2.5.0 ends the process where the 9/7 wavelet is to halve a single sample, and a
 * sliver of a last tile would have many. */
#include "codec/codec.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <openjpeg.h>

#define LOSSLESS 100
#define TILE     1024
#define MOST_RES 6
#define BUFFER   (64 * 1024)

struct iip_writer {
    iip_raster shape;
    iip_enc_opts o; /* what it points to is read in rows() */
    iip_error *e;
    iip_sink *sink;
    apr_pool_t *pool;
    int failed; /* *e is filled */
    int done;
    opj_codec_t *codec;
    opj_stream_t *stream;
    opj_image_t *image;
    unsigned char *tile; /* a tile's samples, band after band */
};

/* --- boxes -------------------------------------------------------------------------------------------------------- */

static iip_status put(iip_writer_t *w, const void *p, size_t n)
{
    return n ? w->sink->write(w->sink, p, n, w->e) : IIP_OK;
}

static unsigned char *be(unsigned char *p, uint64_t v, int n)
{
    for (int i = n - 1; i >= 0; i--)
        *p++ = (unsigned char)(v >> (8 * i));
    return p;
}

static unsigned char *box(unsigned char *p, const char *type, size_t n)
{
    p = be(p, n + 8, 4);
    memcpy(p, type, 4);
    return p + 4;
}

/* n/d * 10^e pixels to the metre, n with four digits or five. */
static unsigned char *fraction(unsigned char *p, double per_cm, int *exponent)
{
    double v = per_cm * 100;

    for (*exponent = 0; v >= 60000; ++*exponent)
        v /= 10;
    for (; v < 6000; --*exponent)
        v *= 10;
    return be(be(p, (uint64_t)(v + .5), 2), 1, 2);
}

static int scaled(const iip_enc_opts *o)
{
    return o->res_x > 1e-9 && o->res_y > 1e-9 && o->res_x < 1e9 && o->res_y < 1e9;
}

static unsigned char *put_scale(unsigned char *p, const iip_enc_opts *o)
{
    int x, y;

    p = box(box(p, "res ", 18), "resc", 10);
    p = fraction(fraction(p, o->res_y, &y), o->res_x, &x);
    return be(be(p, (unsigned char)y, 1), (unsigned char)x, 1);
}

static unsigned char *put_alpha(unsigned char *p, int colours)
{
    p = be(box(p, "cdef", 2 + 6 * (size_t)(colours + 1)), (uint64_t)colours + 1, 2);
    for (int i = 0; i <= colours; i++)
        p = be(be(be(p, (uint64_t)i, 2), i == colours, 2), i == colours ? 0 : (uint64_t)i + 1, 2);
    return p;
}

/* All of the file in front of the code-stream but the blocks of any length. */
static iip_status put_header(iip_writer_t *w)
{
    static const unsigned char front[] = {0,    0,   0, 12, 'j', 'P', ' ', ' ', '\r', '\n', 0x87,
                                          '\n', 0,   0, 0,  20,  'f', 't', 'y', 'p',  'j',  'p',
                                          '2',  ' ', 0, 0,  0,   0,   'j', 'p', '2',  ' '};
    const int alpha = w->shape.bands % 2 == 0, colours = w->shape.bands - alpha;
    const size_t colour = w->o.icc_len ? 3 + w->o.icc_len : 7, meaning = alpha ? 10 + 6 * (size_t)(colours + 1) : 0;
    unsigned char v[128], *p = v;

    memcpy(p, front, sizeof front);
    p = box(p + sizeof front, "jp2h", 22 + 8 + colour + meaning + (scaled(&w->o) ? 26 : 0));
    p = be(be(box(p, "ihdr", 14), (uint64_t)w->shape.h, 4), (uint64_t)w->shape.w, 4);
    p = be(be(p, (uint64_t)w->shape.bands, 2), w->shape.sample == IIP_U16 ? 15 : 7, 1);
    p = be(p, 7 << 16, 3); /* JPEG 2000, the colour space is known, no rights */
    p = be(box(p, "colr", colour), w->o.icc_len ? 2 << 16 : 1 << 16, 3);
    if (!w->o.icc_len)
        p = be(p, colours == 1 ? 17 : 16, 4);
    if (put(w, v, (size_t)(p - v)) != IIP_OK || put(w, w->o.icc, w->o.icc_len) != IIP_OK)
        return w->e->status;
    p = v;
    if (alpha)
        p = put_alpha(p, colours);
    if (scaled(&w->o))
        p = put_scale(p, &w->o);
    return put(w, v, (size_t)(p - v));
}

static iip_status put_uuid(iip_writer_t *w, const unsigned char *id, const void *data, size_t n)
{
    unsigned char v[24];

    if (n == 0 || n > UINT32_MAX - sizeof v)
        return IIP_OK;
    memcpy(box(v, "uuid", 16 + n), id, 16);
    return put(w, v, sizeof v) == IIP_OK ? put(w, data, n) : w->e->status;
}

/* --- what OpenJPEG calls ------------------------------------------------------------------------------------------ */

static OPJ_SIZE_T on_write(void *p, OPJ_SIZE_T n, void *user)
{
    iip_writer_t *w = user;

    if (w->failed || w->sink->write(w->sink, p, n, w->e) != IIP_OK) {
        w->failed = 1;
        return (OPJ_SIZE_T)-1;
    }
    return n;
}

static void on_error(const char *text, void *user)
{
    iip_writer_t *w = user;

    if (!w->failed)
        iip_fail(w->e, strstr(text, "emory") ? IIP_E_MEMORY : IIP_E_IO, 0, "writing JPEG 2000: %.*s",
                 (int)strcspn(text, "\r\n"), text);
    w->failed = 1;
}

static void on_message(const char *text, void *user)
{
}

/* --- the code-stream ---------------------------------------------------------------------------------------------- */

/* Side of tiles of about one size. */
static int64_t side(int64_t n)
{
    const int64_t tiles = (n + TILE - 1) / TILE;

    return (n + tiles - 1) / tiles;
}

static int64_t last(int64_t n)
{
    const int64_t s = side(n);

    return n - (n - 1) / s * s;
}

/* So many resolutions that no wavelet sees fewer than two samples of an axis. */
static int resolutions(const iip_raster *shape)
{
    const int64_t least = last(shape->w) < last(shape->h) ? last(shape->w) : last(shape->h);
    int n = 1;

    while (n < MOST_RES && least >> n >= 1 && least >> (n - 1) >= 2)
        n++;
    return n;
}

static iip_status failed(iip_writer_t *w, const char *what)
{
    return w->failed ? w->e->status : iip_fail(w->e, IIP_E_IO, 0, "writing JPEG 2000: %s", what);
}

static void parameters(const iip_writer_t *w, opj_cparameters_t *par)
{
    opj_set_default_encoder_parameters(par);
    par->numresolution = resolutions(&w->shape);
    par->tcp_mct = w->shape.bands > 2;
    par->tcp_numlayers = 1;
    par->prog_order = OPJ_RPCL;
    par->tile_size_on = OPJ_TRUE;
    par->cp_tdx = (int)side(w->shape.w);
    par->cp_tdy = (int)side(w->shape.h);
    par->irreversible = w->o.quality < LOSSLESS;
    if (par->irreversible) {
        par->cp_fixed_quality = 1;
        par->tcp_distoratio[0] = (float)w->o.quality;
    } else {
        par->cp_disto_alloc = 1;
    }
    par->cp_comment = (char *)(w->o.copyright ? w->o.copyright : ""); /* copied; NULL would be OpenJPEG's own */
}

static iip_status start(iip_writer_t *w)
{
    opj_image_cmptparm_t comp[4];
    opj_cparameters_t *par = apr_palloc(w->pool, sizeof *par); /* too much for a stack */

    memset(comp, 0, sizeof comp);
    for (int i = 0; i < w->shape.bands; i++) {
        comp[i].dx = comp[i].dy = 1;
        comp[i].w = (OPJ_UINT32)w->shape.w;
        comp[i].h = (OPJ_UINT32)w->shape.h;
        comp[i].prec = w->shape.sample == IIP_U16 ? 16 : 8;
    }
    w->codec = opj_create_compress(OPJ_CODEC_J2K);
    w->stream = opj_stream_create(BUFFER, OPJ_FALSE);
    w->image =
        opj_image_tile_create((OPJ_UINT32)w->shape.bands, comp, w->shape.bands > 2 ? OPJ_CLRSPC_SRGB : OPJ_CLRSPC_GRAY);
    if (!w->codec || !w->stream || !w->image)
        return iip_fail(w->e, IIP_E_MEMORY, APR_ENOMEM, "writing JPEG 2000: no memory");
    w->image->x1 = (OPJ_UINT32)w->shape.w;
    w->image->y1 = (OPJ_UINT32)w->shape.h;
    opj_set_error_handler(w->codec, on_error, w);
    opj_set_warning_handler(w->codec, on_message, w);
    opj_set_info_handler(w->codec, on_message, w);
    opj_stream_set_write_function(w->stream, on_write);
    opj_stream_set_user_data(w->stream, w, NULL);
    parameters(w, par);
    if (!opj_setup_encoder(w->codec, par, w->image) || !opj_codec_set_threads(w->codec, 0) ||
        !opj_start_compress(w->codec, w->image, w->stream))
        return failed(w, "it did not begin");
    return IIP_OK;
}

#define DEAL(T)                                                                                                        \
    for (int b = 0; b < bands; b++)                                                                                    \
        for (int64_t y = 0; y < at.h; y++) {                                                                           \
            const T *in = (const T *)(const void *)(all->px + (size_t)(at.y + y) * all->stride) + at.x * bands + b;    \
            T *out = (T *)(void *)to + (b * at.h + y) * at.w;                                                          \
                                                                                                                       \
            for (int64_t x = 0; x < at.w; x++)                                                                         \
                out[x] = in[x * bands];                                                                                \
        }

/* The bands of a part, one after the other. */
static void deal(const iip_raster *all, iip_rect at, unsigned char *to)
{
    const int bands = all->bands;

    if (all->sample == IIP_U8)
        DEAL(uint8_t)
    else
        DEAL(uint16_t)
}

static iip_status jp2_rows(iip_writer_t *w, const iip_raster *strip, iip_error *e)
{
    static const unsigned char stream[] = {0, 0, 0, 0, 'j', 'p', '2', 'c'}; /* to the end of the file */
    static const unsigned char xmp[] = {0xbe, 0x7a, 0xcf, 0xcb, 0x97, 0xa9, 0x42, 0xe8,
                                        0x9c, 0x71, 0x99, 0x94, 0x91, 0xe3, 0xaf, 0xac};
    const int64_t tw = side(w->shape.w), th = side(w->shape.h);
    const size_t pixel = (size_t)w->shape.bands * iip_sample_size(w->shape.sample);
    OPJ_UINT32 n = 0;

    w->e = e;
    if (w->done || strip->h != w->shape.h)
        return iip_fail(e, IIP_E_IO, 0, "writing JPEG 2000: not all rows at once");
    w->done = 1;
    if (put_header(w) != IIP_OK || put_uuid(w, xmp, w->o.xmp, w->o.xmp_len) != IIP_OK ||
        put_uuid(w, (const unsigned char *)"JpgTiffExif->JP2", w->o.exif, w->o.exif_len) != IIP_OK ||
        put(w, stream, sizeof stream) != IIP_OK || start(w) != IIP_OK)
        return e->status;
    if (!(w->tile = iip_codec_alloc((size_t)(tw * th) * pixel, w->pool, e)))
        return e->status;
    for (int64_t y = 0; y < w->shape.h; y += th)
        for (int64_t x = 0; x < w->shape.w; x += tw) {
            iip_rect at = {x, y, tw < w->shape.w - x ? tw : w->shape.w - x, th < w->shape.h - y ? th : w->shape.h - y};

            deal(strip, at, w->tile);
            if (!opj_write_tile(w->codec, n++, w->tile, (OPJ_UINT32)((size_t)(at.w * at.h) * pixel), w->stream))
                return failed(w, "a tile was not taken");
        }
    if (!opj_end_compress(w->codec, w->stream) || w->failed)
        return failed(w, "it did not end");
    return IIP_OK;
}

/* --- outside ------------------------------------------------------------------------------------------------------ */

static apr_status_t writer_close(void *writer)
{
    iip_writer_t *w = writer;

    w->failed = 1; /* nothing is written any more */
    opj_stream_destroy(w->stream);
    opj_destroy_codec(w->codec);
    opj_image_destroy(w->image);
    return APR_SUCCESS;
}

static iip_status jp2_begin(iip_writer_t **out, const iip_raster *shape, const iip_enc_opts *o, iip_sink *k,
                            apr_pool_t *p, iip_error *e)
{
    iip_writer_t *w = apr_pcalloc(p, sizeof *w);
    const int64_t tiles = shape->w > 0 && shape->h > 0 ? ((shape->w - 1) / TILE + 1) * ((shape->h - 1) / TILE + 1) : 0;

    if (shape->w < 1 || shape->h < 1 || shape->w > IIP_MAX_SIDE || shape->h > IIP_MAX_SIDE || tiles > 65535)
        return iip_fail(e, IIP_E_LIMIT, 0, "JPEG 2000 of more than 65535 tiles");
    if ((shape->sample != IIP_U8 && shape->sample != IIP_U16) || shape->bands < 1 || shape->bands > 4)
        return iip_fail(e, IIP_E_FEATURE, 0, "JPEG 2000 of %d bands", shape->bands);
    w->shape = *shape;
    w->o = *o;
    w->o.quality = o->quality < 0 ? 40 : o->quality;
    w->sink = k;
    w->pool = p;
    w->e = e;
    apr_pool_cleanup_register(p, w, writer_close, apr_pool_cleanup_null);
    *out = w;
    return IIP_OK;
}

static iip_status jp2_end(iip_writer_t *w, iip_error *e)
{
    return w->done ? IIP_OK : iip_fail(e, IIP_E_IO, 0, "writing JPEG 2000: rows are missing");
}

const iip_encoder iip_encoder_jp2 = {
    .abi = IIP_CODEC_ABI,
    .format = IIP_FMT_JP2,
    .name = "jp2",
    .ext = "jp2",
    .mime = "image/jp2",
    .q_min = 20,
    .q_max = LOSSLESS,
    .q_default = 40,
    .samples = 1u << IIP_U8 | 1u << IIP_U16,
    .alpha = 1,
    .max_side = IIP_MAX_SIDE,
    .whole = 1,
    .cost = 12, /* collected samples of 16 bits, and the answer */
    .effort = 61,
    .begin = jp2_begin,
    .rows = jp2_rows,
    .end = jp2_end,
};
