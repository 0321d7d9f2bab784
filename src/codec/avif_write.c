/* SPDX-License-Identifier: Apache-2.0
 * AVIF writer over libavif and aom: quality 0 to 100, of which 100 is lossless; grey without colour planes, alpha
 * always lossless, profile, EXIF and XMP.
 *
 * The speed is a constant (spec/performance.md section 2): slower ones cost three to eight times as much. libavif 0.11
 * knows quantizers only; quality is turned into them as its later versions do. */
#ifdef IIP_HAVE_AVIF
#include "codec/codec.h"
#include <string.h>
#include <avif/avif.h>

#define SMALL       (512 * 512) /* pixels of a tile */
#define MAX_SIDE    16384
#define LOSSLESS    100
#define FULL_CHROMA 90 /* from this quality on colour is not subsampled, as in JPEG */

struct iip_writer {
    iip_raster shape;
    iip_enc_opts o;
    iip_sink *sink;
    avifImage *image;
    avifEncoder *enc;
    avifRWData file;
};

static apr_status_t writer_close(void *writer)
{
    iip_writer_t *w = writer;

    if (w->image)
        avifImageDestroy(w->image);
    if (w->enc)
        avifEncoderDestroy(w->enc);
    avifRWDataFree(&w->file);
    return APR_SUCCESS;
}

static iip_status wrong(const iip_writer_t *w, avifResult rv, iip_error *e)
{
    if (rv == AVIF_RESULT_OUT_OF_MEMORY)
        return iip_fail(e, IIP_E_MEMORY, APR_ENOMEM, "writing AVIF: no memory");
    return iip_fail(e, IIP_E_IO, 0, "writing AVIF: %s %.80s", avifResultToString(rv), w->enc ? w->enc->diag.error : "");
}

static void set_colour(iip_writer_t *w)
{
    avifImage *image = w->image;
    const iip_enc_opts *o = &w->o;

    image->yuvRange = AVIF_RANGE_FULL;
    image->matrixCoefficients = o->quality == LOSSLESS && w->shape.bands > 2 ? AVIF_MATRIX_COEFFICIENTS_IDENTITY
                                                                             : AVIF_MATRIX_COEFFICIENTS_BT601;
    if (o->icc_len) {
        avifImageSetProfileICC(image, o->icc, o->icc_len);
    } else {
        image->colorPrimaries = AVIF_COLOR_PRIMARIES_BT709;
        image->transferCharacteristics = AVIF_TRANSFER_CHARACTERISTICS_SRGB;
    }
    if (o->exif_len)
        avifImageSetMetadataExif(image, o->exif, o->exif_len);
    image->transformFlags = AVIF_TRANSFORM_NONE; /* whatever it says: the pixels are upright */
    if (o->xmp_len)
        avifImageSetMetadataXMP(image, o->xmp, o->xmp_len);
}

static iip_status avif_begin(iip_writer_t **out, const iip_raster *shape, const iip_enc_opts *o, iip_sink *k,
                             apr_pool_t *p, iip_error *e)
{
    iip_writer_t *w = apr_pcalloc(p, sizeof *w);
    const int quantizer = ((100 - o->quality) * AVIF_QUANTIZER_WORST_QUALITY + 50) / 100;
    avifPixelFormat format = o->quality >= FULL_CHROMA ? AVIF_PIXEL_FORMAT_YUV444 : AVIF_PIXEL_FORMAT_YUV420;

    if (shape->w < 1 || shape->h < 1 || shape->w > MAX_SIDE || shape->h > MAX_SIDE)
        return iip_fail(e, IIP_E_LIMIT, 0, "AVIF holds at most %d pixels a side", MAX_SIDE);
    if (shape->sample != IIP_U8 || shape->bands < 1 || shape->bands > 4)
        return iip_fail(e, IIP_E_FEATURE, 0, "AVIF of %d bands", shape->bands);
    w->shape = *shape;
    w->o = *o;
    w->sink = k;
    apr_pool_cleanup_register(p, w, writer_close, apr_pool_cleanup_null);
    w->image = avifImageCreate((uint32_t)shape->w, (uint32_t)shape->h, 8,
                               shape->bands < 3 ? AVIF_PIXEL_FORMAT_YUV400 : format);
    w->enc = avifEncoderCreate();
    if (!w->image || !w->enc)
        return wrong(w, AVIF_RESULT_OUT_OF_MEMORY, e);
    set_colour(w);
    w->enc->codecChoice = AVIF_CODEC_CHOICE_AOM;
    w->enc->maxThreads = 1;
    w->enc->speed = shape->w * shape->h <= SMALL ? 10 : 9;
    w->enc->minQuantizer = w->enc->maxQuantizer = quantizer;
    w->enc->minQuantizerAlpha = w->enc->maxQuantizerAlpha = AVIF_QUANTIZER_LOSSLESS;
    *out = w;
    return IIP_OK;
}

/* Grey is luma of full range as it is; with it its alpha, which libavif takes from RGBA only. */
static avifResult take_grey(avifImage *image, const iip_raster *in)
{
    const avifResult rv = avifImageAllocatePlanes(image, in->bands == 2 ? AVIF_PLANES_ALL : AVIF_PLANES_YUV);

    for (int64_t y = 0; rv == AVIF_RESULT_OK && y < in->h; y++) {
        const unsigned char *s = in->px + (size_t)y * in->stride;
        unsigned char *luma = image->yuvPlanes[AVIF_CHAN_Y] + (size_t)y * image->yuvRowBytes[AVIF_CHAN_Y];

        for (int64_t x = 0; x < in->w; x++)
            luma[x] = s[x * in->bands];
        for (int64_t x = 0; in->bands == 2 && x < in->w; x++)
            image->alphaPlane[(size_t)y * image->alphaRowBytes + (size_t)x] = s[2 * x + 1];
    }
    return rv;
}

static avifResult take(avifImage *image, const iip_raster *in)
{
    avifRGBImage rgb;

    if (in->bands < 3)
        return take_grey(image, in);
    avifRGBImageSetDefaults(&rgb, image);
    rgb.depth = 8;
    rgb.format = in->bands == 3 ? AVIF_RGB_FORMAT_RGB : AVIF_RGB_FORMAT_RGBA;
    rgb.pixels = in->px;
    rgb.rowBytes = (uint32_t)in->stride;
    return avifImageRGBToYUV(image, &rgb);
}

static iip_status avif_rows(iip_writer_t *w, const iip_raster *strip, iip_error *e)
{
    avifResult rv;

    if (strip->h != w->shape.h || !w->image)
        return iip_fail(e, IIP_E_IO, 0, "writing AVIF: not all rows at once");
    rv = take(w->image, strip);
    if (rv == AVIF_RESULT_OK)
        rv = avifEncoderWrite(w->enc, w->image, &w->file);
    avifImageDestroy(w->image);
    w->image = NULL;
    return rv == AVIF_RESULT_OK ? IIP_OK : wrong(w, rv, e);
}

static iip_status avif_end(iip_writer_t *w, iip_error *e)
{
    if (w->file.size == 0)
        return iip_fail(e, IIP_E_IO, 0, "writing AVIF: rows are missing");
    return w->sink->write(w->sink, w->file.data, w->file.size, e);
}

const iip_encoder iip_encoder_avif = {
    .abi = IIP_CODEC_ABI,
    .format = IIP_FMT_AVIF,
    .name = "avif",
    .ext = "avif",
    .mime = "image/avif",
    .q_min = 0,
    .q_max = LOSSLESS,
    .q_default = 50,
    .samples = 1u << IIP_U8,
    .alpha = 1,
    .max_side = MAX_SIDE,
    .whole = 1,
    .cost = 40,
    .effort = 21,
    .begin = avif_begin,
    .rows = avif_rows,
    .end = avif_end,
};
#else
typedef int iip_avif_writer_not_built;
#endif
