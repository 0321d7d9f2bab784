/* SPDX-License-Identifier: Apache-2.0
 * AVIF reader over libavif: 8, 10 and 12 bits, grey, colour, alpha; of a sequence the first frame. Decoded as a whole;
 * the reader keeps the picture.
 *
 * Turning and mirroring are the boxes' alone: the standard has EXIF's orientation ignored (MIAF 7.3.6.7). */
#ifdef IIP_HAVE_AVIF
#include "codec/icc_make.h"
#include <stdlib.h>
#include <string.h>
#include <avif/avif.h>

#define MAX_SIDE   32768
#define MAX_PIXELS (16384u * 16384u) /* what dav1d and libavif take */
#define MAX_FRAMES 1024

struct iip_reader {
    avifIO io; /* first: what libavif hands to get_bytes */
    iip_source_t *s;
    apr_pool_t *pool;
    iip_error *e;
    int failed; /* the source did, *e says how */
    avifDecoder *dec;
    unsigned char *buf; /* what get_bytes handed out last */
    iip_rect crop;
    int grey, alpha;
    iip_raster all; /* px NULL until it is decoded */
};

/* A file type box with one of the brands, the major one or a compatible one. */
static int avif_sniff(const unsigned char *head, size_t n)
{
    size_t box;

    if (n < 16 || memcmp(head + 4, "ftyp", 4) != 0 || head[0] || head[1])
        return 0;
    box = (size_t)head[2] << 8 | head[3];
    for (size_t at = 8; at + 4 <= box && at + 4 <= n; at += at == 8 ? 8 : 4)
        if (memcmp(head + at, "avif", 4) == 0 || memcmp(head + at, "avis", 4) == 0)
            return 100;
    return 0;
}

/* --- libavif's callback and errors -------------------------------------------------------------------------------- */

static avifResult get_bytes(avifIO *io, uint32_t flags, uint64_t off, size_t n, avifROData *out)
{
    iip_reader_t *r = (iip_reader_t *)(void *)io;
    const uint64_t size = (uint64_t)r->s->id.size;
    unsigned char *buf;

    if (off > size)
        return AVIF_RESULT_IO_ERROR;
    if (n > size - off)
        n = (size_t)(size - off);
    if (!(buf = realloc(r->buf, n ? n : 1)))
        return AVIF_RESULT_OUT_OF_MEMORY;
    r->buf = buf;
    if (n > 0 && r->s->read(r->s, buf, n, (int64_t)off, r->e) != IIP_OK) {
        r->failed = 1;
        return AVIF_RESULT_IO_ERROR;
    }
    *out = (avifROData){buf, n};
    return AVIF_RESULT_OK;
}

static iip_status wrong(const iip_reader_t *r, avifResult rv, iip_status s, iip_error *e)
{
    if (r->failed)
        return e->status;
    if (rv == AVIF_RESULT_OUT_OF_MEMORY)
        return iip_fail(e, IIP_E_MEMORY, APR_ENOMEM, "AVIF: no memory");
    return iip_fail(e, s, 0, "AVIF: %s %.80s", avifResultToString(rv), r->dec->diag.error);
}

/* --- opening ------------------------------------------------------------------------------------------------------ */

static apr_status_t avif_close(void *reader)
{
    iip_reader_t *r = reader;

    if (r->dec)
        avifDecoderDestroy(r->dec);
    free(r->buf);
    return APR_SUCCESS;
}

/* The clean aperture, which is cut out before anything is turned. */
static iip_status read_crop(iip_reader_t *r, iip_error *e)
{
    const avifImage *image = r->dec->image;
    avifCropRect c;
    avifDiagnostics diag;

    r->crop = (iip_rect){0, 0, image->width, image->height};
    if (!(image->transformFlags & AVIF_TRANSFORM_CLAP))
        return IIP_OK;
    if (!avifCropRectConvertCleanApertureBox(&c, &image->clap, image->width, image->height, image->yuvFormat, &diag))
        return iip_fail(e, IIP_E_FORMAT, 0, "AVIF: its clean aperture is wrong");
    r->crop = (iip_rect){c.x, c.y, c.width, c.height};
    return IIP_OK;
}

static iip_status avif_open(iip_reader_t **out, iip_source_t *s, int page, const iip_limits *lim, apr_pool_t *p,
                            iip_error *e)
{
    iip_reader_t *r = apr_pcalloc(p, sizeof *r);
    const avifImage *image;
    avifResult rv;

    if (page > 0)
        return iip_fail(e, IIP_E_NOT_FOUND, 0, "AVIF: page %d of 1", page);
    r->s = s;
    r->pool = p;
    r->e = e;
    r->io.read = get_bytes;
    r->io.sizeHint = (uint64_t)s->id.size;
    apr_pool_cleanup_register(p, r, avif_close, apr_pool_cleanup_null);
    if (!(r->dec = avifDecoderCreate()))
        return iip_fail(e, IIP_E_MEMORY, APR_ENOMEM, "AVIF: no memory");
    r->dec->maxThreads = 1;
    r->dec->imageSizeLimit = MAX_PIXELS;
    r->dec->imageDimensionLimit = MAX_SIDE;
    r->dec->imageCountLimit = MAX_FRAMES;
    r->dec->strictFlags = AVIF_STRICT_ENABLED;
    avifDecoderSetIO(r->dec, &r->io);
    if ((rv = avifDecoderParse(r->dec)) != AVIF_RESULT_OK)
        return wrong(r, rv, rv == AVIF_RESULT_TRUNCATED_DATA ? IIP_E_CORRUPT : IIP_E_FORMAT, e);
    image = r->dec->image;
    if (image->width < 1 || image->height < 1)
        return iip_fail(e, IIP_E_FORMAT, 0, "AVIF: no picture in it");
    if (read_crop(r, e) != IIP_OK)
        return e->status;
    r->dec->imageSizeLimit = image->width * image->height; /* no more pixels inside than the header says */
    r->grey = image->yuvFormat == AVIF_PIXEL_FORMAT_YUV400;
    r->alpha = r->dec->alphaPresent;
    r->all = (iip_raster){.w = image->width,
                          .h = image->height,
                          .bands = (r->grey ? 1 : 3) + r->alpha,
                          .sample = image->depth > 8 ? IIP_U16 : IIP_U8};
    r->all.stride = (size_t)r->all.w * (size_t)r->all.bands * iip_sample_size(r->all.sample);
    *out = r;
    return IIP_OK;
}

/* --- the header's contents ---------------------------------------------------------------------------------------- */

/* The boxes turn against the clock and then mirror; EXIF's numbers say what does the same. */
static int orientation(const avifImage *image)
{
    static const int turns[4] = {1, 8, 3, 6}, top_bottom[4] = {4, 5, 2, 7}, left_right[4] = {2, 7, 4, 5};
    const int angle = image->transformFlags & AVIF_TRANSFORM_IROT ? image->irot.angle & 3 : 0;

    if (!(image->transformFlags & AVIF_TRANSFORM_IMIR))
        return turns[angle];
    return image->imir.mode ? left_right[angle] : top_bottom[angle];
}

static iip_status keep(const avifRWData *from, size_t most, const void **out, size_t *n, apr_pool_t *p, iip_error *e)
{
    void *mem;

    if (from->size == 0 || from->size > most)
        return IIP_OK;
    if (!(mem = iip_codec_alloc(from->size, p, e)))
        return e->status;
    memcpy(mem, from->data, from->size);
    *out = mem;
    *n = from->size;
    return IIP_OK;
}

static iip_status avif_info(iip_reader_t *r, iip_info *out, apr_pool_t *p, iip_error *e)
{
    const avifImage *image = r->dec->image;
    const size_t samples = (size_t)(r->all.w * r->all.h) * iip_sample_size(r->all.sample);

    out->levels = out->virtual_from = out->pages = out->layers = 1;
    iip_level_rows(&out->level[0], r->crop.w, r->crop.h, r->all.stride / (size_t)r->all.w, 1);
    out->bands = r->all.bands;
    out->bits = (int)image->depth;
    out->sample = r->all.sample;
    out->space = r->grey ? IIP_GREY : IIP_RGB;
    out->alpha = r->alpha;
    out->orientation = orientation(image);
    out->hold = samples * 9; /* planes, alpha and RGBA side by side while it is decoded: 8.6 measured at most */
    out->decode_cost = 4;
    if (keep(&image->icc, IIP_READ_ICC, &out->icc, &out->icc_len, p, e) != IIP_OK ||
        keep(&image->exif, IIP_READ_XMP, &out->exif, &out->exif_len, p, e) != IIP_OK ||
        keep(&image->xmp, IIP_READ_XMP, &out->xmp, &out->xmp_len, p, e) != IIP_OK)
        return e->status;
    iip_exif_resolution(out->exif, out->exif_len, &out->res_x, &out->res_y);
    if (image->icc.size)
        return IIP_OK;
    return iip_icc_of_numbers(image->colorPrimaries, image->transferCharacteristics, r->grey ? 1 : 3, &out->icc,
                              &out->icc_len, p, e);
}

/* --- pixels ------------------------------------------------------------------------------------------------------- */

/* libavif gives values of `depth` bits in 16: they get all their range. Of grey it makes RGB: one is kept. */
static void tidy(iip_reader_t *r, unsigned char *px, int made, int depth)
{
    const int bands = r->all.bands, from[4] = {0, r->grey && r->alpha ? 3 : 1, 2, 3};
    const int64_t n = r->all.w * r->all.h;
    const uint32_t most = (1u << depth) - 1;

    for (int64_t i = 0; i < n; i++)
        for (int b = 0; b < bands; b++)
            if (r->all.sample == IIP_U16) {
                uint16_t *s = (uint16_t *)(void *)px;

                s[i * bands + b] = (uint16_t)((s[i * made + from[b]] * UINT32_C(65535) + most / 2) / most);
            } else {
                px[i * bands + b] = px[i * made + from[b]];
            }
}

static iip_status decode(iip_reader_t *r, iip_error *e)
{
    avifImage *image = r->dec->image;
    avifRGBImage rgb;
    size_t row;
    avifResult rv = avifDecoderNthImage(r->dec, 0);

    if (rv != AVIF_RESULT_OK)
        return wrong(r, rv, IIP_E_CORRUPT, e);
    if (image->width != r->all.w || image->height != r->all.h || (image->depth > 8) != (r->all.sample == IIP_U16) ||
        (image->yuvFormat == AVIF_PIXEL_FORMAT_YUV400) != r->grey || (image->alphaPlane != NULL) != r->alpha)
        return iip_fail(e, IIP_E_CORRUPT, 0, "AVIF: the picture is not what its header says");
    avifRGBImageSetDefaults(&rgb, image);
    rgb.format = r->alpha ? AVIF_RGB_FORMAT_RGBA : AVIF_RGB_FORMAT_RGB;
    rgb.depth = image->depth;
    rgb.alphaPremultiplied = AVIF_FALSE;
    row = (size_t)r->all.w * avifRGBImagePixelSize(&rgb);
    rgb.rowBytes = (uint32_t)row;
    if (!(rgb.pixels = iip_codec_alloc(row * (size_t)r->all.h, r->pool, e)))
        return e->status;
    if ((rv = avifImageYUVToRGB(image, &rgb)) != AVIF_RESULT_OK)
        return wrong(r, rv, IIP_E_CORRUPT, e);
    if (r->grey || image->depth > 8)
        tidy(r, rgb.pixels, 3 + r->alpha, (int)image->depth);
    r->all.px = rgb.pixels;
    avifDecoderReset(r->dec); /* its planes are no longer needed */
    return IIP_OK;
}

static iip_status avif_read(iip_reader_t *r, int level, iip_rect want, int layers, iip_raster *out, iip_error *e)
{
    if (level != 0 || want.x < 0 || want.y < 0 || want.w < 1 || want.h < 1 || want.x > r->crop.w - want.w ||
        want.y > r->crop.h - want.h)
        return iip_fail(e, IIP_E_RANGE, 0, "AVIF: no such rectangle on level %d", level);
    r->e = e;
    if (!r->all.px && decode(r, e) != IIP_OK)
        return e->status;
    want.x += r->crop.x;
    want.y += r->crop.y;
    return iip_raster_cut(&r->all, want, out, e);
}

const iip_decoder iip_decoder_avif = {
    .abi = IIP_CODEC_ABI,
    .name = "avif",
    .priority = 100,
    .sniff = avif_sniff,
    .open = avif_open,
    .info = avif_info,
    .read = avif_read,
};
#else
typedef int iip_avif_reader_not_built;
#endif
