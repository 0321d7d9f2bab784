/* SPDX-License-Identifier: Apache-2.0
 * AVIF reader and writer. Files to read are libavif's; expectations are its simple decoder's whole picture, cut and
 * widened here, and the meaning of turns is worked out from single pixels. */
#ifdef IIP_HAVE_AVIF
#include "codec_cases.h"
#include <math.h>
#include <avif/avif.h>

/* --- files -------------------------------------------------------------------------------------------------------- */

typedef struct {
    int depth, alpha, w, h;
    avifPixelFormat format;
} recipe;

typedef void extras_fn(avifImage *image);

static bytes make(const recipe *c, extras_fn *extras)
{
    avifImage *image = avifImageCreate((uint32_t)c->w, (uint32_t)c->h, (uint32_t)c->depth, c->format);
    avifEncoder *enc = avifEncoderCreate();
    iip_raster in = painted(c->w, c->h, c->alpha ? 4 : 3, c->depth > 8 ? IIP_U16 : IIP_U8);
    avifRWData out = AVIF_DATA_EMPTY;
    avifRGBImage rgb;
    bytes b = {0};

    avifRGBImageSetDefaults(&rgb, image);
    rgb.format = c->alpha ? AVIF_RGB_FORMAT_RGBA : AVIF_RGB_FORMAT_RGB;
    rgb.depth = c->depth > 8 ? 16 : 8;
    rgb.pixels = in.px;
    rgb.rowBytes = (uint32_t)in.stride;
    assert_int_equal(avifImageRGBToYUV(image, &rgb), AVIF_RESULT_OK);
    if (extras)
        extras(image);
    enc->speed = 10;
    enc->maxThreads = 1;
    assert_int_equal(avifEncoderWrite(enc, image, &out), AVIF_RESULT_OK);
    b.p = malloc(out.size);
    memcpy(b.p, out.data, b.n = out.size);
    avifRWDataFree(&out);
    avifEncoderDestroy(enc);
    avifImageDestroy(image);
    free(in.px);
    return b;
}

/* What libavif makes of it: RGB(A) of its own depth, in all the range; grey once. */
static iip_raster decoded(bytes b)
{
    avifDecoder *dec = avifDecoderCreate();
    avifImage *image = avifImageCreateEmpty();
    avifRGBImage rgb;
    iip_raster r;
    int grey, alpha, deep;

    assert_int_equal(avifDecoderReadMemory(dec, image, b.p, b.n), AVIF_RESULT_OK);
    avifRGBImageSetDefaults(&rgb, image);
    rgb.depth = image->depth;
    rgb.format = AVIF_RGB_FORMAT_RGBA;
    avifRGBImageAllocatePixels(&rgb);
    assert_int_equal(avifImageYUVToRGB(image, &rgb), AVIF_RESULT_OK);
    grey = image->yuvFormat == AVIF_PIXEL_FORMAT_YUV400;
    alpha = image->alphaPlane != NULL;
    deep = image->depth > 8;
    r = blank(image->width, image->height, (grey ? 1 : 3) + alpha, deep ? IIP_U16 : IIP_U8);
    for (int64_t y = 0; y < r.h; y++)
        for (int64_t x = 0; x < r.w; x++)
            for (int k = 0; k < r.bands; k++) {
                const size_t from = (size_t)(4 * x + (alpha && k == r.bands - 1 ? 3 : k)),
                             to = (size_t)(x * r.bands + k);
                const uint8_t *row = rgb.pixels + (size_t)y * rgb.rowBytes;

                if (deep)
                    ((uint16_t *)(void *)(r.px + (size_t)y * r.stride))[to] = (uint16_t)floor(
                        ((const uint16_t *)(const void *)row)[from] * 65535. / ((1 << image->depth) - 1) + .5);
                else
                    r.px[(size_t)y * r.stride + to] = row[from];
            }
    avifRGBImageFreePixels(&rgb);
    avifImageDestroy(image);
    avifDecoderDestroy(dec);
    return r;
}

/* --- reader ------------------------------------------------------------------------------------------------------- */

static void kinds(void **state)
{
    static const int sizes[][2] = {{203, 151}, {1, 1}, {1, 30}, {30, 1}, {64, 64}};
    static const avifPixelFormat formats[] = {AVIF_PIXEL_FORMAT_YUV400, AVIF_PIXEL_FORMAT_YUV420,
                                              AVIF_PIXEL_FORMAT_YUV422, AVIF_PIXEL_FORMAT_YUV444};

    for (int depth = 8; depth <= 12; depth += 2)
        for (int alpha = 0; alpha < 2; alpha++)
            for (size_t f = 0; f < 4; f++)
                for (size_t k = 0; k < 5; k++) {
                    const recipe c = {depth, alpha, sizes[k][0], sizes[k][1], formats[f]};
                    bytes b = make(&c, NULL);
                    iip_raster ref = decoded(b);
                    char name[60];
                    subject t;

                    snprintf(name, sizeof name, "%d bits, alpha %d, format %d, %dx%d", depth, alpha, (int)formats[f],
                             c.w, c.h);
                    if (c.w > 1) /* alpha that is full everywhere is none */
                        assert_int_equal(ref.bands, (f ? 3 : 1) + alpha);
                    read_trial(b, &ref, name);
                    opened(&t, b);
                    assert_int_equal(t.info.bits, depth);
                    assert_int_equal(t.info.alpha, ref.bands % 2 == 0);
                    assert_int_equal(t.info.space, f ? IIP_RGB : IIP_GREY);
                    assert_true(t.info.hold >= ref.stride * (size_t)ref.h);
                    done(&t);
                    free(ref.px);
                    free(b.p);
                }
}

static int angle, mirror;

static void turned(avifImage *image)
{
    image->transformFlags = AVIF_TRANSFORM_IROT | (mirror < 2 ? AVIF_TRANSFORM_IMIR : 0);
    image->irot.angle = (uint8_t)angle;
    image->imir.mode = (uint8_t)mirror;
}

/* Where the boxes put a pixel of a w x h picture: turned against the clock, then mirrored top to bottom (0) or left to
 * right (1). And where an orientation of EXIF puts it, from its definition: the sides row 0 and column 0 lie on. */
static void by_boxes(int w, int h, int x, int y, int *ox, int *oy)
{
    for (int i = 0; i < angle; i++) {
        int t = x;

        x = y;
        y = w - 1 - t;
        t = w;
        w = h;
        h = t;
    }
    *ox = mirror == 1 ? w - 1 - x : x;
    *oy = mirror == 0 ? h - 1 - y : y;
}

static void by_exif(int o, int w, int h, int x, int y, int *ox, int *oy)
{
    const int left = x, right = w - 1 - x, top = y, bottom = h - 1 - y;

    *ox = o == 1 || o == 4 ? left : o == 2 || o == 3 ? right : o == 5 || o == 8 ? top : bottom;
    *oy = o == 1 || o == 2 ? top : o == 3 || o == 4 ? bottom : o == 5 || o == 6 ? left : right;
}

static void turns(void **state)
{
    const recipe c = {8, 0, 40, 30, AVIF_PIXEL_FORMAT_YUV420};

    for (angle = 0; angle < 4; angle++)
        for (mirror = 0; mirror < 3; mirror++) {
            bytes b = make(&c, turned);
            int a[2], e[2];
            subject t;

            opened(&t, b);
            for (int i = 0; i < 4; i++) {
                by_boxes(40, 30, i % 2 * 7, i / 2 * 9, a, a + 1);
                by_exif(t.info.orientation, 40, 30, i % 2 * 7, i / 2 * 9, e, e + 1);
                if (a[0] != e[0] || a[1] != e[1])
                    fail_msg("angle %d, mirror %d: orientation %d", angle, mirror, t.info.orientation);
            }
            done(&t);
            free(b.p);
        }
}

static void clean_aperture(avifImage *image)
{
    const avifCropRect c = {10, 6, 20, 16};
    avifDiagnostics diag;

    assert_true(
        avifCleanApertureBoxConvertCropRect(&image->clap, &c, image->width, image->height, image->yuvFormat, &diag));
    image->transformFlags = AVIF_TRANSFORM_CLAP;
}

static void cropped(void **state)
{
    const recipe c = {8, 1, 40, 30, AVIF_PIXEL_FORMAT_YUV420};
    bytes b = make(&c, clean_aperture);
    iip_raster all = decoded(b), ref = blank(20, 16, 4, IIP_U8);

    for (int y = 0; y < 16; y++)
        memcpy(ref.px + (size_t)y * ref.stride, all.px + (size_t)(y + 6) * all.stride + 40, ref.stride);
    read_trial(b, &ref, "clean aperture");
    free(all.px);
    free(ref.px);
    free(b.p);
}

static const unsigned char exif[] = "MM\0*\0\0\0\10\0\1\1\22\0\3\0\0\0\1\0\6\0\0\0\0\0\0";

static void with_metadata(avifImage *image)
{
    avifImageSetProfileICC(image, (const uint8_t *)"a profile", 9);
    avifImageSetMetadataExif(image, exif, sizeof exif - 1);
    avifImageSetMetadataXMP(image, (const uint8_t *)"<x/>", 4);
    image->transformFlags = AVIF_TRANSFORM_NONE; /* EXIF says 6: nobody may care */
}

static void with_p3(avifImage *image)
{
    image->colorPrimaries = AVIF_COLOR_PRIMARIES_SMPTE432;
    image->transferCharacteristics = AVIF_TRANSFER_CHARACTERISTICS_SRGB;
}

static void metadata_read(void **state)
{
    const recipe c = {8, 0, 40, 30, AVIF_PIXEL_FORMAT_YUV420};
    bytes b = make(&c, with_metadata), p3 = make(&c, with_p3);
    iip_raster ref = decoded(b);
    iip_info again = {0};
    subject t;

    opened(&t, b);
    for (int i = 0; i < 2; i++) { /* also after the picture was decoded */
        const iip_info *info = i ? &again : &t.info;

        assert_int_equal(info->icc_len, 9);
        assert_memory_equal(info->icc, "a profile", 9);
        assert_int_equal(info->exif_len, sizeof exif - 1);
        assert_memory_equal(info->exif, exif, sizeof exif - 1);
        assert_int_equal(info->xmp_len, 4);
        assert_int_equal(info->orientation, 1);
        check_rect(&t, (iip_rect){0, 0, 40, 30}, &ref, "metadata");
        assert_int_equal(t.dec->info(t.r, &again, t.p, &t.e), IIP_OK);
    }
    done(&t);
    source_trial(b, &ref);
    opened(&t, p3);
#ifdef IIP_HAVE_LCMS2
    assert_true(t.info.icc_len > 200);
#else
    assert_int_equal(t.info.icc_len, 0);
#endif
    done(&t);
    free(ref.px);
    free(b.p);
    free(p3.p);
}

static void damaged(void **state)
{
    for (int alpha = 0; alpha < 2; alpha++) {
        const recipe c = {8, alpha, 60, 50, AVIF_PIXEL_FORMAT_YUV420};
        bytes b = make(&c, alpha ? with_metadata : NULL);
        iip_raster ref = decoded(b);

        cut_trial(b, &ref, "cut");
        mutant_trial(b, &ref, 400);
        free(ref.px);
        free(b.p);
    }
}

/* --- writer ------------------------------------------------------------------------------------------------------- */

static unsigned seen(const iip_raster *r, int64_t at, int band)
{
    const unsigned char *px = r->px + (size_t)at * (size_t)r->bands;

    if (band == 3)
        return r->bands % 2 ? 255 : px[r->bands - 1];
    return px[r->bands > 2 ? band : 0];
}

/* Mean squared error of the colours; alpha is exact, and colours are when lossless. */
static double check_written(const iip_raster *in, int quality, size_t *size)
{
    const iip_enc_opts o = {.quality = quality};
    bytes b = encode("avif", in, &o);
    iip_raster out = decoded(b);
    double sum = 0;

    assert_true(out.w == in->w && out.h == in->h && out.bands == in->bands - (in->bands % 2 == 0 && in->w == 1));
    for (int64_t i = 0; i < in->w * in->h; i++)
        for (int k = 0; k < 4; k++) {
            const double d = (double)seen(in, i, k) - seen(&out, i, k);

            if (quality == 100 || k == 3)
                assert_true(d == 0);
            sum += d * d;
        }
    *size = b.n;
    free(out.px);
    free(b.p);
    return sum / (double)(in->w * in->h * 3);
}

static void written(void **state)
{
    static const int sizes[][2] = {{203, 151}, {1, 1}, {1, 70}, {70, 1}, {64, 64}, {600, 520}};

    for (size_t k = 0; k < sizeof sizes / sizeof *sizes; k++)
        for (int bands = 1; bands <= 4; bands++) {
            iip_raster in = painted(sizes[k][0], sizes[k][1], bands, IIP_U8);
            size_t low, high, all;
            double worse, better;

            assert_true(check_written(&in, 100, &all) == 0);
            worse = check_written(&in, 10, &low);
            better = check_written(&in, 95, &high);
            if (in.w > 100) /* quality is honoured */
                assert_true(better < worse / 3 && better < 30 && low < high);
            free(in.px);
        }
}

static void metadata_written(void **state)
{
    iip_raster in = painted(64, 48, 3, IIP_U8);
    unsigned char icc[500];
    const iip_enc_opts o = {.quality = 50,
                            .icc = icc,
                            .icc_len = sizeof icc,
                            .exif = exif,
                            .exif_len = sizeof exif - 1,
                            .xmp = "<x:xmpmeta/>",
                            .xmp_len = 12};
    bytes b;
    avifDecoder *dec = avifDecoderCreate();

    memset(icc, 'i', sizeof icc);
    b = encode("avif", &in, &o);
    avifDecoderSetIOMemory(dec, b.p, b.n);
    assert_int_equal(avifDecoderParse(dec), AVIF_RESULT_OK);
    assert_int_equal(dec->image->icc.size, sizeof icc);
    assert_memory_equal(dec->image->icc.data, icc, sizeof icc);
    assert_int_equal(dec->image->exif.size, sizeof exif - 1);
    assert_memory_equal(dec->image->exif.data, exif, sizeof exif - 1);
    assert_int_equal(dec->image->xmp.size, 12);
    assert_int_equal(dec->image->transformFlags, AVIF_TRANSFORM_NONE);
    avifDecoderDestroy(dec);
    free(b.p);
    free(in.px);
}

static void trials(void **state)
{
    const iip_encoder *enc = iip_encoder_by_ext("avif");
    const iip_enc_opts o = {.quality = 50};
    iip_raster in = painted(100, 80, 3, IIP_U8), strip = in;
    collector c = {{collect}, {NULL, 0}, 0, -1};
    iip_writer_t *w;
    iip_error e;
    static const struct {
        iip_raster shape;
        iip_status is;
    } cases[] = {{{0, 1, 3, IIP_U8, 0, NULL}, IIP_E_LIMIT},
                 {{16385, 1, 3, IIP_U8, 0, NULL}, IIP_E_LIMIT},
                 {{9, 9, 5, IIP_U8, 0, NULL}, IIP_E_FEATURE},
                 {{9, 9, 3, IIP_U16, 0, NULL}, IIP_E_FEATURE},
                 {{100, 80, 3, IIP_U8, 0, NULL}, IIP_OK}};

    sink_trial("avif", &in, &o, 1);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_int_equal(enc->begin(&w, &cases[i].shape, &o, &c.k, pool, &e), cases[i].is);
    assert_int_equal(enc->end(w, &e), IIP_E_IO); /* rows are missing */
    strip.h = 10;
    assert_int_equal(enc->rows(w, &strip, &e), IIP_E_IO); /* not all of them */
    assert_int_equal(enc->rows(w, &in, &e), IIP_OK);
    assert_int_equal(enc->rows(w, &in, &e), IIP_E_IO); /* twice */
    free(in.px);
}

static int group(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(kinds),
        cmocka_unit_test(turns),
        cmocka_unit_test(cropped),
        cmocka_unit_test(metadata_read),
        cmocka_unit_test(damaged),
        cmocka_unit_test(written),
        cmocka_unit_test(metadata_written),
        cmocka_unit_test(trials),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
#else
#include "not_built.h"
#endif

int main(void)
{
    return run_cases(group);
}
