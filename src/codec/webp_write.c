/* SPDX-License-Identifier: Apache-2.0
 * WebP writer over libwebp: lossy, or lossless at quality 0; alpha, profile, EXIF and XMP.
 *
 * Effort is a constant, not a setting (spec/performance.md section 2): method 1 for tiles, 2 for what is larger. */
#include "codec/codec.h"
#include <string.h>
#include <webp/decode.h>
#include <webp/encode.h>

#define SMALL      (512 * 512) /* pixels of a tile */
#define RIFF       12          /* bytes in front of the first chunk */
#define VP8X       18          /* of this chunk with its header */
#define FLAG_ICC   0x20
#define FLAG_ALPHA 0x10
#define FLAG_EXIF  0x08
#define FLAG_XMP   0x04

struct iip_writer {
    iip_raster shape;
    iip_enc_opts o;
    iip_sink *sink;
    apr_pool_t *pool;
    WebPPicture pic;
    WebPMemoryWriter file;
};

/* --- the container ------------------------------------------------------------------------------------------------ */

static void put_le(unsigned char *p, size_t v, int bytes)
{
    for (; bytes > 0; bytes--, v >>= 8)
        *p++ = (unsigned char)v;
}

static size_t le32(const unsigned char *p)
{
    return p[0] | (size_t)p[1] << 8 | (size_t)p[2] << 16 | (size_t)p[3] << 24;
}

static size_t chunk_size(size_t n)
{
    return n ? 8 + n + (n & 1) : 0;
}

/* Its size; nothing if it would be empty. */
static size_t put_chunk(unsigned char *p, const char *name, const void *data, size_t n)
{
    if (n == 0)
        return 0;
    memcpy(p, name, 4);
    put_le(p + 4, n, 4);
    memcpy(p + 8, data, n);
    if (n & 1)
        p[8 + n] = 0;
    return chunk_size(n);
}

/* Bytes that extend() may add. */
static size_t room(const iip_enc_opts *o)
{
    const size_t n = chunk_size(o->icc_len) + chunk_size(o->exif_len) + chunk_size(o->xmp_len);

    return n ? VP8X + n : 0;
}

/* Profile, EXIF and XMP into a file of n bytes with room behind it; its new length, 0 if it cannot take them. */
static size_t extend(const iip_enc_opts *o, unsigned char *file, size_t n)
{
    const size_t icc = chunk_size(o->icc_len);
    unsigned char *at = file + RIFF;
    WebPBitstreamFeatures f;

    if (n < RIFF + 8 || memcmp(file, "RIFF", 4) != 0 || memcmp(file + 8, "WEBP", 4) != 0 || le32(file + 4) < RIFF ||
        le32(file + 4) > n - 8)
        return 0;
    n = 8 + le32(file + 4); /* what lies behind is not of it */
    if (room(o) == 0)
        return n;
    if (memcmp(at, "VP8X", 4) != 0) {
        if (WebPGetFeatures(file, n, &f) != VP8_STATUS_OK)
            return 0;
        memmove(at + VP8X, at, n - RIFF);
        memset(at, 0, VP8X);
        memcpy(at, "VP8X\x0a", 5);
        at[8] = f.has_alpha ? FLAG_ALPHA : 0;
        put_le(at + 12, (size_t)f.width - 1, 3);
        put_le(at + 15, (size_t)f.height - 1, 3);
        n += VP8X;
    } else if (n < RIFF + VP8X || at[8] & (FLAG_ICC | FLAG_EXIF | FLAG_XMP)) {
        return 0;
    }
    at[8] |= (o->icc_len ? FLAG_ICC : 0) | (o->exif_len ? FLAG_EXIF : 0) | (o->xmp_len ? FLAG_XMP : 0);
    at += VP8X;
    memmove(at + icc, at, n - RIFF - VP8X);
    put_chunk(at, "ICCP", o->icc, o->icc_len);
    n += icc;
    n += put_chunk(file + n, "EXIF", o->exif, o->exif_len);
    n += put_chunk(file + n, "XMP ", o->xmp, o->xmp_len);
    put_le(file + 4, n - 8, 4);
    return n;
}

static size_t webp_splice(const iip_enc_opts *o, unsigned char *tile, size_t n)
{
    const iip_enc_opts icc = {.icc = o->icc, .icc_len = o->icc_len}; /* as in every other tile of the picture */

    return tile ? extend(&icc, tile, n) : room(&icc);
}

/* --- the picture -------------------------------------------------------------------------------------------------- */

static apr_status_t writer_close(void *writer)
{
    iip_writer_t *w = writer;

    WebPPictureFree(&w->pic);
    WebPMemoryWriterClear(&w->file);
    return APR_SUCCESS;
}

static iip_status webp_begin(iip_writer_t **out, const iip_raster *shape, const iip_enc_opts *o, iip_sink *k,
                             apr_pool_t *p, iip_error *e)
{
    iip_writer_t *w = apr_pcalloc(p, sizeof *w);

    if (shape->w < 1 || shape->h < 1 || shape->w > WEBP_MAX_DIMENSION || shape->h > WEBP_MAX_DIMENSION)
        return iip_fail(e, IIP_E_LIMIT, 0, "WebP holds at most %d pixels a side", WEBP_MAX_DIMENSION);
    if (shape->sample != IIP_U8 || shape->bands < 1 || shape->bands > 4)
        return iip_fail(e, IIP_E_FEATURE, 0, "WebP of %d bands", shape->bands);
    w->shape = *shape;
    w->o = *o;
    w->sink = k;
    w->pool = p;
    if (!WebPPictureInit(&w->pic))
        return iip_fail(e, IIP_E_IO, 0, "writing WebP: another version of the library");
    WebPMemoryWriterInit(&w->file);
    apr_pool_cleanup_register(p, w, writer_close, apr_pool_cleanup_null);
    w->pic.width = (int)shape->w;
    w->pic.height = (int)shape->h;
    w->pic.writer = WebPMemoryWrite;
    w->pic.custom_ptr = &w->file;
    *out = w;
    return IIP_OK;
}

static iip_status failed(const iip_writer_t *w, iip_error *e)
{
    const WebPEncodingError code = w->pic.error_code;

    if (code == VP8_ENC_ERROR_OUT_OF_MEMORY || code == VP8_ENC_ERROR_BITSTREAM_OUT_OF_MEMORY || code == VP8_ENC_OK)
        return iip_fail(e, IIP_E_MEMORY, APR_ENOMEM, "writing WebP: no memory");
    return iip_fail(e, IIP_E_IO, 0, "writing WebP: error %d", code);
}

/* Rows as the 32-bit pixels of lossless coding. */
static void take_argb(WebPPicture *pic, const iip_raster *in)
{
    const int colours = in->bands > 2 ? 3 : 1, alpha = in->bands - colours;

    for (int y = 0; y < pic->height; y++) {
        const unsigned char *s = in->px + (size_t)y * in->stride;
        uint32_t *d = pic->argb + (size_t)y * (size_t)pic->argb_stride;

        for (int x = 0; x < pic->width; x++, s += in->bands)
            d[x] = (uint32_t)(alpha ? s[colours] : 255) << 24 | (uint32_t)s[0] << 16 |
                   (uint32_t)s[colours > 1 ? 1 : 0] << 8 | s[colours > 1 ? 2 : 0];
    }
}

/* Grey is luma alone, of the range that video has; libwebp would make three bands of it first. */
static void take_grey(WebPPicture *pic, const iip_raster *in)
{
    unsigned char luma[256];

    for (unsigned v = 0; v < 256; v++)
        luma[v] = (unsigned char)((56318 * v + (16 << 16) + (1 << 15)) >> 16); /* 219 / 255 */
    for (int y = 0; y < pic->height; y++) {
        const unsigned char *s = in->px + (size_t)y * in->stride;
        unsigned char *d = pic->y + (size_t)y * (size_t)pic->y_stride;

        for (int x = 0; x < pic->width; x++, s += in->bands) {
            d[x] = luma[s[0]];
            if (in->bands == 2)
                pic->a[(size_t)y * (size_t)pic->a_stride + (size_t)x] = s[1];
        }
    }
    for (int y = 0; y < (pic->height + 1) / 2; y++) {
        memset(pic->u + (size_t)y * (size_t)pic->uv_stride, 128, (size_t)(pic->width + 1) / 2);
        memset(pic->v + (size_t)y * (size_t)pic->uv_stride, 128, (size_t)(pic->width + 1) / 2);
    }
}

static int take(WebPPicture *pic, const iip_raster *in, int lossless)
{
    pic->use_argb = lossless;
    if (!lossless && in->bands >= 3)
        return (in->bands == 3 ? WebPPictureImportRGB : WebPPictureImportRGBA)(pic, in->px, (int)in->stride);
    pic->colorspace = in->bands == 2 ? WEBP_YUV420A : WEBP_YUV420;
    if (!WebPPictureAlloc(pic))
        return 0;
    (lossless ? take_argb : take_grey)(pic, in);
    return 1;
}

static iip_status webp_rows(iip_writer_t *w, const iip_raster *strip, iip_error *e)
{
    const int lossless = w->o.quality < 1, small = w->shape.w * w->shape.h <= SMALL;
    WebPConfig c;
    int good;

    if (strip->h != w->shape.h || w->file.size)
        return iip_fail(e, IIP_E_IO, 0, "writing WebP: not all rows at once");
    if (!WebPConfigInit(&c))
        return iip_fail(e, IIP_E_IO, 0, "writing WebP: another version of the library");
    if (lossless)
        WebPConfigLosslessPreset(&c, small ? 0 : 1);
    else
        c.method = small ? 1 : 2;
    if (!lossless)
        c.quality = (float)w->o.quality;
    c.exact = lossless; /* also the colours of what cannot be seen */
    if (!take(&w->pic, strip, lossless))
        return failed(w, e);
    good = WebPEncode(&c, &w->pic);
    if (!good && w->pic.error_code == VP8_ENC_ERROR_PARTITION0_OVERFLOW) {
        /* What says how each block is coded has a limit of 512 KiB, whatever the size: then in fewer words. */
        WebPMemoryWriterClear(&w->file);
        w->pic.error_code = VP8_ENC_OK;
        c.partition_limit = 100;
        good = WebPEncode(&c, &w->pic);
    }
    WebPPictureFree(&w->pic);
    return good ? IIP_OK : failed(w, e);
}

static iip_status webp_end(iip_writer_t *w, iip_error *e)
{
    const size_t more = room(&w->o);
    unsigned char *all = w->file.mem;
    size_t n = w->file.size;

    if (n == 0)
        return iip_fail(e, IIP_E_IO, 0, "writing WebP: rows are missing");
    if (more > 0) {
        if (!(all = iip_codec_alloc(n + more, w->pool, e)))
            return e->status;
        memcpy(all, w->file.mem, n);
        if ((n = extend(&w->o, all, n)) == 0)
            return iip_fail(e, IIP_E_IO, 0, "writing WebP: no room for metadata");
    }
    return w->sink->write(w->sink, all, n, e);
}

const iip_encoder iip_encoder_webp = {
    .abi = IIP_CODEC_ABI,
    .format = IIP_FMT_WEBP,
    .name = "webp",
    .ext = "webp",
    .mime = "image/webp",
    .q_min = 0,
    .q_max = 100,
    .q_default = 50,
    .samples = 1u << IIP_U8,
    .alpha = 1,
    .max_side = WEBP_MAX_DIMENSION,
    .whole = 1,
    .cost = 12,
    .effort = 10,
    .begin = webp_begin,
    .rows = webp_rows,
    .splice = webp_splice,
    .end = webp_end,
};
