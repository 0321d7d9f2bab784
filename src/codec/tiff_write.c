/* SPDX-License-Identifier: Apache-2.0
 * TIFF writer: classic little-endian files of strips, by libtiff into memory. The bytes go to the sink at the end,
 * since those in front say where the others lie. */
#include "codec/codec.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <apr_strings.h>
#include <tiffio.h>

#define STRIP       (256u << 10) /* bytes of samples: codecs start afresh with each, readers hold one */
#define STEP        16           /* rows a strip is a multiple of: JPEG's blocks with halved chroma */
#define FULL_CHROMA 90           /* from this JPEG quality on colour is not subsampled */

#define INTS (1u << IIP_U8 | 1u << IIP_U16 | 1u << IIP_U32)
#define ANY  (INTS | 1u << IIP_F32)

/* What a compression can hold, the rest is deflated; how it is tuned. */
typedef struct {
    uint16_t code;
    unsigned samples, bands; /* bit sets */
    int two;                 /* takes 1 bit a pixel */
    int differences;         /* gains by coding differences of neighbours */
    uint32_t side;           /* pixels */
    uint32_t tag;            /* takes the level or quality: */
    int q_min, q_max, q_default;
} coding;

static const coding codings[] = {
    [IIP_TIFF_NONE] = {COMPRESSION_NONE, ANY, 0x1e, 1, 0, UINT32_MAX, 0, 0, 0, 0},
    [IIP_TIFF_LZW] = {COMPRESSION_LZW, ANY, 0x1e, 1, 1, UINT32_MAX, 0, 0, 0, 0},
    [IIP_TIFF_DEFLATE] = {COMPRESSION_ADOBE_DEFLATE, ANY, 0x1e, 1, 1, UINT32_MAX, TIFFTAG_ZIPQUALITY, 0, 9, 1},
    [IIP_TIFF_JPEG] = {COMPRESSION_JPEG, 1u << IIP_U8, 0xa, 0, 0, 65500, TIFFTAG_JPEGQUALITY, 1, 100, 75},
    [IIP_TIFF_WEBP] = {COMPRESSION_WEBP, 1u << IIP_U8, 0x18, 0, 0, 16383, TIFFTAG_WEBP_LEVEL, 0, 100, 75},
    [IIP_TIFF_ZSTD] = {COMPRESSION_ZSTD, ANY, 0x1e, 1, 1, UINT32_MAX, TIFFTAG_ZSTD_LEVEL, 1, 19, 1},
};

struct iip_writer {
    TIFF *tif;
    iip_raster shape;
    int two;
    int64_t per_strip, done; /* rows */
    size_t row;              /* bytes of a row as libtiff takes it */
    unsigned char *strip;    /* where rows are put together */
    iip_sink *sink;
    iip_error *e;
    iip_status bad;
    struct {
        unsigned char *p;
        size_t n, room, at;
    } file;
};

int iip_tiff_writes(int compression)
{
    return TIFFIsCODECConfigured(codings[compression].code);
}

/* ---- a file in memory ---- */

/* libtiff looks back only at what it wrote itself */
static tmsize_t file_read(thandle_t h, void *buf, tmsize_t n)
{
    iip_writer_t *w = h;

    if (w->file.at >= w->file.n || n <= 0)
        return 0;
    if ((size_t)n > w->file.n - w->file.at)
        n = (tmsize_t)(w->file.n - w->file.at);
    memcpy(buf, w->file.p + w->file.at, (size_t)n);
    w->file.at += (size_t)n;
    return n;
}

static tmsize_t file_write(thandle_t h, void *buf, tmsize_t n)
{
    iip_writer_t *w = h;
    const size_t end = w->file.at + (size_t)n;

    if (w->bad || n < 0)
        return -1;
    if (end > UINT32_MAX) {
        w->bad = iip_fail(w->e, IIP_E_LIMIT, 0, "a TIFF file of more than 4 GiB");
        return -1;
    }
    if (end > w->file.room) {
        const size_t room = end + end / 2 + 65536;
        unsigned char *p = realloc(w->file.p, room);

        if (!p) {
            w->bad = iip_fail(w->e, IIP_E_MEMORY, APR_ENOMEM, "writing TIFF: no memory for %zu bytes", room);
            return -1;
        }
        w->file.p = p;
        w->file.room = room;
    }
    if (w->file.at > w->file.n)
        memset(w->file.p + w->file.n, 0, w->file.at - w->file.n);
    memcpy(w->file.p + w->file.at, buf, (size_t)n);
    w->file.at = end;
    if (end > w->file.n)
        w->file.n = end;
    return n;
}

static toff_t file_seek(thandle_t h, toff_t off, int whence)
{
    iip_writer_t *w = h;

    w->file.at = (size_t)off + (whence == SEEK_CUR ? w->file.at : whence == SEEK_END ? w->file.n : 0);
    return w->file.at;
}

static int file_close(thandle_t h)
{
    return 0;
}

static toff_t file_size(thandle_t h)
{
    return ((iip_writer_t *)h)->file.n;
}

/* ---- libtiff's complaints ---- */

static int note_error(TIFF *tif, void *writer, const char *module, const char *fmt, va_list ap)
{
    iip_writer_t *w = writer;
    char text[128];

    if (!w->bad) {
        vsnprintf(text, sizeof text, fmt, ap);
        w->bad = iip_fail(w->e, strstr(text, "emory") || strstr(text, "No space") ? IIP_E_MEMORY : IIP_E_IO, 0,
                          "writing TIFF: %s", text);
    }
    return 1;
}

/* Of what it leaves out: the picture is good without. */
static int note_warning(TIFF *tif, void *writer, const char *module, const char *fmt, va_list ap)
{
    return 1;
}

static iip_status trouble(iip_writer_t *w)
{
    return w->bad ? w->bad : (w->bad = iip_fail(w->e, IIP_E_IO, 0, "writing TIFF: libtiff cannot go on"));
}

static apr_status_t writer_close(void *writer)
{
    iip_writer_t *w = writer;

    if (w->tif)
        TIFFCleanup(w->tif);
    free(w->file.p);
    return APR_SUCCESS;
}

/* ---- the encoder ---- */

static const coding *coding_for(const iip_raster *shape, const iip_enc_opts *o, int two)
{
    const coding *c = &codings[o->compression];

    if ((two && !c->two) || !(c->samples >> shape->sample & 1) || !(c->bands >> shape->bands & 1) ||
        shape->w > c->side || !TIFFIsCODECConfigured(c->code))
        c = &codings[IIP_TIFF_DEFLATE];
    return c;
}

/* Whole strips, but for the last; all of a small picture in one. */
static int64_t strip_rows(const iip_raster *shape, size_t row)
{
    const int64_t n = (int64_t)(STRIP / row) / STEP * STEP;

    return n < STEP ? STEP : n;
}

static void put_coding(iip_writer_t *w, const coding *c, const iip_enc_opts *o)
{
    TIFF *t = w->tif;
    const int q = o->quality < 0          ? c->q_default
                  : o->quality < c->q_min ? c->q_min
                  : o->quality > c->q_max ? c->q_max
                                          : o->quality;
    const int colour = w->shape.bands > 2, ycc = colour && c->code == COMPRESSION_JPEG;

    TIFFSetField(t, TIFFTAG_COMPRESSION, c->code);
    TIFFSetField(t, TIFFTAG_PHOTOMETRIC, ycc ? PHOTOMETRIC_YCBCR : colour ? PHOTOMETRIC_RGB : PHOTOMETRIC_MINISBLACK);
    if (c->code == COMPRESSION_WEBP && q == 0)
        TIFFSetField(t, TIFFTAG_WEBP_LOSSLESS, 1);
    else if (c->tag)
        TIFFSetField(t, c->tag, q);
    if (c->differences && !w->two)
        TIFFSetField(t, TIFFTAG_PREDICTOR, w->shape.sample == IIP_F32 ? PREDICTOR_FLOATINGPOINT : PREDICTOR_HORIZONTAL);
    if (ycc) {
        TIFFSetField(t, TIFFTAG_JPEGCOLORMODE, JPEGCOLORMODE_RGB);
        TIFFSetField(t, TIFFTAG_YCBCRSUBSAMPLING, q < FULL_CHROMA ? 2 : 1, q < FULL_CHROMA ? 2 : 1);
    }
}

static const uint32_t hanging[] = {TIFFTAG_EXIFIFD, TIFFTAG_GPSIFD};
#define HANGING (sizeof hanging / sizeof *hanging)

static void put_metadata(TIFF *t, const iip_enc_opts *o, apr_pool_t *p)
{
    static const uint32_t texts[] = {TIFFTAG_IMAGEDESCRIPTION, TIFFTAG_MAKE,   TIFFTAG_MODEL,    TIFFTAG_SOFTWARE,
                                     TIFFTAG_DATETIME,         TIFFTAG_ARTIST, TIFFTAG_COPYRIGHT};

    for (size_t i = 0; i < HANGING; i++) {
        const uint64_t at = iip_exif_hanging(o->exif, o->exif_len, hanging[i]);

        if (at) /* it lies there already, see begin_file() */
            TIFFSetField(t, hanging[i], at);
    }
    if (o->icc_len > 0 && o->icc_len <= UINT32_MAX)
        TIFFSetField(t, TIFFTAG_ICCPROFILE, (uint32_t)o->icc_len, o->icc);
    if (o->xmp_len > 0 && o->xmp_len <= UINT32_MAX)
        TIFFSetField(t, TIFFTAG_XMLPACKET, (uint32_t)o->xmp_len, o->xmp);
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        size_t n;
        const char *from = iip_exif_text(o->exif, o->exif_len, texts[i], &n);
        char *text = from ? apr_pstrmemdup(p, from, n) : NULL;

        if (text)
            TIFFSetField(t, texts[i], text);
    }
    if (o->copyright)
        TIFFSetField(t, TIFFTAG_COPYRIGHT, o->copyright);
    if (o->res_x > 0 && o->res_y > 0) {
        TIFFSetField(t, TIFFTAG_RESOLUTIONUNIT, RESUNIT_INCH); /* where most scanners count in whole numbers */
        TIFFSetField(t, TIFFTAG_XRESOLUTION, o->res_x * 2.54);
        TIFFSetField(t, TIFFTAG_YRESOLUTION, o->res_y * 2.54);
    }
}

/* An EXIF block is a TIFF file, so ours may begin as one: the directories that hang on its first keep their places and
 * all offsets hold. What libtiff writes comes behind; only the header in front is changed, to its own first directory.
 */
static iip_status begin_file(iip_writer_t *w, const iip_enc_opts *o)
{
    size_t any = 0;

    for (size_t i = 0; i < HANGING; i++)
        any |= iip_exif_hanging(o->exif, o->exif_len, hanging[i]);
    if (!any)
        return IIP_OK;
    if (!(w->file.p = malloc(o->exif_len + 1)))
        return iip_fail(w->e, IIP_E_MEMORY, APR_ENOMEM, "writing TIFF: no memory for EXIF");
    memcpy(w->file.p, o->exif, o->exif_len);
    w->file.p[o->exif_len] = 0;
    iip_exif_little(w->file.p, o->exif_len);
    w->file.room = o->exif_len + 1;
    w->file.n = (o->exif_len + 1) & ~(size_t)1; /* words lie at even places */
    return IIP_OK;
}

static iip_status tiff_begin(iip_writer_t **out, const iip_raster *shape, const iip_enc_opts *o, iip_sink *k,
                             apr_pool_t *p, iip_error *e)
{
    const int two = o->bilevel && shape->bands == 1 && shape->sample == IIP_U8;
    const size_t size = iip_sample_size(shape->sample);
    const uint16_t straight = EXTRASAMPLE_UNASSALPHA;
    iip_writer_t *w = apr_pcalloc(p, sizeof *w);
    TIFFOpenOptions *opts;

    if (shape->w < 1 || shape->h < 1 || shape->w > IIP_MAX_SIDE || shape->h > IIP_MAX_SIDE)
        return iip_fail(e, IIP_E_LIMIT, 0, "TIFF of %" PRId64 " x %" PRId64 " pixels", shape->w, shape->h);
    if (!(ANY >> shape->sample & 1) || shape->bands < 1 || shape->bands > 4)
        return iip_fail(e, IIP_E_FEATURE, 0, "TIFF of %d bands", shape->bands);
    w->shape = *shape;
    w->sink = k;
    w->e = e;
    w->two = two;
    w->row = two ? (size_t)(shape->w + 7) / 8 : (size_t)shape->w * (size_t)shape->bands * size;
    w->per_strip = strip_rows(shape, w->row);
    apr_pool_cleanup_register(p, w, writer_close, apr_pool_cleanup_null);
    if (!(w->strip = iip_codec_alloc((size_t)(shape->h < w->per_strip ? shape->h : w->per_strip) * w->row, p, e)))
        return e->status;
    if (begin_file(w, o) != IIP_OK)
        return e->status;
    if (!(opts = TIFFOpenOptionsAlloc()))
        return iip_fail(e, IIP_E_MEMORY, APR_ENOMEM, "writing TIFF: no memory");
    TIFFOpenOptionsSetErrorHandlerExtR(opts, note_error, w);
    TIFFOpenOptionsSetWarningHandlerExtR(opts, note_warning, w);
    w->tif =
        TIFFClientOpenExt("tiff", "wl", w, file_read, file_write, file_seek, file_close, file_size, NULL, NULL, opts);
    TIFFOpenOptionsFree(opts);
    if (!w->tif)
        return trouble(w);
    TIFFSetField(w->tif, TIFFTAG_IMAGEWIDTH, (uint32_t)shape->w);
    TIFFSetField(w->tif, TIFFTAG_IMAGELENGTH, (uint32_t)shape->h);
    TIFFSetField(w->tif, TIFFTAG_BITSPERSAMPLE, two ? 1 : (int)(8 * size));
    TIFFSetField(w->tif, TIFFTAG_SAMPLESPERPIXEL, shape->bands);
    TIFFSetField(w->tif, TIFFTAG_SAMPLEFORMAT, shape->sample == IIP_F32 ? SAMPLEFORMAT_IEEEFP : SAMPLEFORMAT_UINT);
    TIFFSetField(w->tif, TIFFTAG_PLANARCONFIG, PLANARCONFIG_CONTIG);
    TIFFSetField(w->tif, TIFFTAG_ORIENTATION, ORIENTATION_TOPLEFT);
    TIFFSetField(w->tif, TIFFTAG_ROWSPERSTRIP, (uint32_t)(shape->h < w->per_strip ? shape->h : w->per_strip));
    if (shape->bands == 2 || shape->bands == 4)
        TIFFSetField(w->tif, TIFFTAG_EXTRASAMPLES, 1, &straight);
    put_coding(w, coding_for(shape, o, two), o);
    put_metadata(w->tif, o, p);
    *out = w;
    return w->bad;
}

/* Bytes of 0 and 255 to bits. */
static void pack(const unsigned char *in, unsigned char *out, int64_t n)
{
    for (; n > 0; n -= 8, in += 8) {
        unsigned bits = 0;

        for (int i = 0; i < 8; i++)
            bits = bits << 1 | (i < n && in[i] >= 128);
        *out++ = (unsigned char)bits;
    }
}

/* Rows are put together until a strip is full. */
static iip_status tiff_rows(iip_writer_t *w, const iip_raster *strip, iip_error *e)
{
    w->e = e;
    if (strip->h > w->shape.h - w->done)
        return iip_fail(e, IIP_E_IO, 0, "writing TIFF: too many rows");
    for (int64_t y = 0; y < strip->h; y++) {
        const unsigned char *in = strip->px + (size_t)y * strip->stride;
        const int64_t at = w->done % w->per_strip;

        if (w->two)
            pack(in, w->strip + (size_t)at * w->row, w->shape.w);
        else
            memcpy(w->strip + (size_t)at * w->row, in, w->row);
        if (++w->done % w->per_strip && w->done < w->shape.h)
            continue;
        if (TIFFWriteEncodedStrip(w->tif, (uint32_t)((w->done - 1) / w->per_strip), w->strip,
                                  (tmsize_t)((size_t)(at + 1) * w->row)) < 0 ||
            w->bad)
            return trouble(w);
    }
    return IIP_OK;
}

static iip_status tiff_end(iip_writer_t *w, iip_error *e)
{
    w->e = e;
    if (w->done < w->shape.h)
        return iip_fail(e, IIP_E_IO, 0, "writing TIFF: rows are missing");
    if (!TIFFWriteDirectory(w->tif) || w->bad)
        return trouble(w);
    return w->sink->write(w->sink, w->file.p, w->file.n, e);
}

const iip_encoder iip_encoder_tiff = {
    .abi = IIP_CODEC_ABI,
    .format = IIP_FMT_TIFF,
    .name = "tiff",
    .ext = "tif",
    .mime = "image/tiff",
    .q_min = 0,
    .q_max = 100,
    .q_default = -1,
    .samples = ANY,
    .alpha = 1,
    .max_side = IIP_MAX_SIDE,
    .whole = 1,
    .cost = 8,
    .effort = 12,
    .begin = tiff_begin,
    .rows = tiff_rows,
    .end = tiff_end,
};
