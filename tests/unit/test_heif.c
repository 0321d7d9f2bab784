/* SPDX-License-Identifier: Apache-2.0
 * HEIC reader. Files are written by libheif's encoder (x265) as good as without loss. Expectations: the picture that
 * went in, turned by the definition of EXIF's orientations, to a level or two; and what libheif decodes from memory,
 * widened here, to the bit. */
#ifdef IIP_HAVE_HEIF
#include "codec_cases.h"
#include <math.h>
#include <libheif/heif.h>

#ifdef IIP_ASAN
/* The encoder's own: what it keeps for its next picture. */
const char *__lsan_default_suppressions(void) __attribute__((visibility("default")));
const char *__lsan_default_suppressions(void)
{
    return "leak:libx265";
}
#endif

/* --- files -------------------------------------------------------------------------------------------------------- */

typedef struct {
    int w, h, bits, bands, orientation; /* 1 band: monochrome */
    int premultiplied, primaries;
} recipe;

static const char xmp[] = "<x:xmpmeta xmlns:x=\"adobe:ns:meta/\"/>";
static const unsigned char exif[] = "MM\0*\0\0\0\10\0\1\1\22\0\3\0\0\0\1\0\6\0\0\0\0\0\0"; /* orientation 6 */
static unsigned char icc[200];

static struct heif_error take(struct heif_context *ctx, const void *p, size_t n, void *to)
{
    bytes *b = to;

    b->p = realloc(b->p, b->n + n);
    memcpy(b->p + b->n, p, n);
    b->n += n;
    return (struct heif_error){heif_error_Ok, heif_suberror_Unspecified, ""};
}

static void good(struct heif_error e)
{
    if (e.code != heif_error_Ok)
        fail_msg("libheif: %s", e.message);
}

static unsigned sample(const recipe *k, int x, int y, int b)
{
    const unsigned most = (1u << k->bits) - 1;
    const unsigned a = (unsigned)(x * 9) & most,
                   v = (unsigned)(x * 37 + y * 91 * (b + 1) + b * 50) * (most / 255) & most;

    if (k->bands == 4 && b == 3)
        return a;
    return k->premultiplied ? v * a / most : v;
}

static bytes make(const recipe *k, int metadata)
{
    const enum heif_channel channel = k->bands == 1 ? heif_channel_Y : heif_channel_interleaved;
    const enum heif_chroma chroma =
        k->bands == 1   ? heif_chroma_monochrome
        : k->bits > 8   ? k->bands == 4 ? heif_chroma_interleaved_RRGGBBAA_LE : heif_chroma_interleaved_RRGGBB_LE
        : k->bands == 4 ? heif_chroma_interleaved_RGBA
                        : heif_chroma_interleaved_RGB;
    struct heif_encoding_options *o = heif_encoding_options_alloc();
    struct heif_color_profile_nclx *numbers = heif_nclx_color_profile_alloc();
    struct heif_context *ctx = heif_context_alloc();
    struct heif_writer to = {1, take};
    struct heif_image_handle *handle;
    struct heif_encoder *enc;
    struct heif_image *image;
    bytes b = {0};
    uint8_t *px;
    int stride;

    good(heif_image_create(k->w, k->h, k->bands == 1 ? heif_colorspace_monochrome : heif_colorspace_RGB, chroma,
                           &image));
    good(heif_image_add_plane(image, channel, k->w, k->h, k->bits));
    px = heif_image_get_plane(image, channel, &stride);
    for (int y = 0; y < k->h; y++)
        for (int i = 0; i < k->w * k->bands; i++) {
            const unsigned v = sample(k, i / k->bands, y, i % k->bands);

            if (k->bits > 8) {
                px[y * stride + 2 * i] = (uint8_t)v;
                px[y * stride + 2 * i + 1] = (uint8_t)(v >> 8);
            } else {
                px[y * stride + i] = (uint8_t)v;
            }
        }
    heif_image_set_premultiplied_alpha(image, k->premultiplied);
    if (metadata)
        good(heif_image_set_raw_color_profile(image, "prof", icc, sizeof icc));
    numbers->matrix_coefficients =
        k->bands == 1 ? heif_matrix_coefficients_ITU_R_BT_601_6 : heif_matrix_coefficients_RGB_GBR;
    numbers->color_primaries = (enum heif_color_primaries)(k->primaries ? k->primaries : 1);
    numbers->transfer_characteristics = heif_transfer_characteristic_IEC_61966_2_1;
    numbers->full_range_flag = 1;
    good(heif_image_set_nclx_color_profile(image, numbers));
    o->macOS_compatibility_workaround_no_nclx_profile = 0;
    o->image_orientation = (enum heif_orientation)k->orientation;
    good(heif_context_get_encoder_for_format(ctx, heif_compression_HEVC, &enc));
    good(heif_encoder_set_lossless(enc, 1));
    good(heif_encoder_set_parameter(enc, "chroma", "444"));
    good(heif_encoder_set_parameter(enc, "preset", "ultrafast"));
    good(heif_context_encode_image(ctx, image, enc, o, &handle));
    if (metadata) {
        good(heif_context_add_exif_metadata(ctx, handle, exif, sizeof exif - 1));
        good(heif_context_add_XMP_metadata(ctx, handle, xmp, (int)strlen(xmp)));
    }
    good(heif_context_write(ctx, &to, &b));
    heif_image_handle_release(handle);
    heif_encoder_release(enc);
    heif_image_release(image);
    heif_encoding_options_free(o);
    heif_nclx_color_profile_free(numbers);
    heif_context_free(ctx);
    return b;
}

static unsigned widened(unsigned v, unsigned from, unsigned to)
{
    return (unsigned)floor((double)v * to / from + .5);
}

/* What the picture shows, upright; an orientation names the sides where row 0 and column 0 lie. */
static iip_raster expected(const recipe *k)
{
    const int bands = k->bands == 1 ? 3 : k->bands, o = k->orientation, turned = o > 4;
    const unsigned most = (1u << k->bits) - 1, top = k->bits > 8 ? 65535 : 255;
    iip_raster r = blank(turned ? k->h : k->w, turned ? k->w : k->h, bands, k->bits > 8 ? IIP_U16 : IIP_U8);

    for (int y = 0; y < k->h; y++)
        for (int x = 0; x < k->w; x++) {
            const int right = k->w - 1 - x, bottom = k->h - 1 - y;
            const int ox = o == 1 || o == 4 ? x : o == 2 || o == 3 ? right : o == 5 || o == 8 ? y : bottom;
            const int oy = o == 1 || o == 2 ? y : o == 3 || o == 4 ? bottom : o == 5 || o == 6 ? x : right;

            for (int b = 0; b < bands; b++) {
                unsigned v = sample(k, x, y, k->bands == 1 ? 0 : b), a = sample(k, x, y, 3);
                const size_t at = (size_t)(oy * r.w + ox) * (size_t)bands + (size_t)b;

                v = !k->premultiplied || b == 3 ? widened(v, most, top) : a ? widened(v, a, top) : 0;
                v = v < top ? v : top;
                if (k->bits > 8)
                    ((uint16_t *)(void *)r.px)[at] = (uint16_t)v;
                else
                    r.px[at] = (unsigned char)v;
            }
        }
    return r;
}

/* By libheif at once, from memory. */
static iip_raster decoded(bytes b, const recipe *k)
{
    const enum heif_chroma chroma =
        k->bits > 8     ? k->bands == 4 ? heif_chroma_interleaved_RRGGBBAA_BE : heif_chroma_interleaved_RRGGBB_BE
        : k->bands == 4 ? heif_chroma_interleaved_RGBA
                        : heif_chroma_interleaved_RGB;
    const unsigned most = (1u << k->bits) - 1, bands = k->bands == 4 ? 4 : 3;
    struct heif_context *ctx = heif_context_alloc();
    struct heif_image_handle *handle;
    struct heif_image *image;
    const uint8_t *px;
    iip_raster r;
    int stride;

    good(heif_context_read_from_memory_without_copy(ctx, b.p, b.n, NULL));
    good(heif_context_get_primary_image_handle(ctx, &handle));
    good(heif_decode_image(handle, &image, heif_colorspace_RGB, chroma, NULL));
    px = heif_image_get_plane_readonly(image, heif_channel_interleaved, &stride);
    r = blank(heif_image_get_primary_width(image), heif_image_get_primary_height(image), (int)bands,
              k->bits > 8 ? IIP_U16 : IIP_U8);
    for (int64_t y = 0; y < r.h; y++)
        for (unsigned i = 0; i < (unsigned)r.w * bands; i++) {
            const uint8_t *row = px + y * stride;
            const unsigned alpha = i / bands * bands + 3, deep = k->bits > 8;
            unsigned v = deep ? row[2 * i] * 256u + row[2 * i + 1] : row[i], by = most;

            if (k->premultiplied && i % 4 != 3)
                by = deep ? row[2 * alpha] * 256u + row[2 * alpha + 1] : row[alpha];
            v = v < by ? widened(v, by, deep ? 65535 : 255) : by ? deep ? 65535 : 255 : 0;
            if (deep)
                ((uint16_t *)(void *)(r.px + (size_t)y * r.stride))[i] = (uint16_t)v;
            else
                r.px[(size_t)y * r.stride + i] = (unsigned char)v;
        }
    heif_image_release(image);
    heif_image_handle_release(handle);
    heif_context_free(ctx);
    return r;
}

/* Both show the same: to two of the levels that are stored. What alpha hides has lost levels. */
static void alike(const iip_raster *a, const iip_raster *b, const recipe *k, const char *name)
{
    const int deep = a->sample == IIP_U16;
    const double off = 2.0 * (deep ? 65535 : 255) / ((1 << k->bits) - 1) + .5;

    assert_true(a->w == b->w && a->h == b->h && a->bands == b->bands);
    for (int64_t i = 0; i < a->w * a->h * a->bands; i++) {
        const int64_t alpha = i / a->bands * a->bands + 3;
        const double d = deep ? ((uint16_t *)(void *)a->px)[i] - (double)((uint16_t *)(void *)b->px)[i]
                              : a->px[i] - (double)b->px[i];

        if (fabs(d) > off && !(k->premultiplied && a->px[alpha] < 128))
            fail_msg("%s: sample %d is off by %g", name, (int)i, d);
    }
}

/* --- trials ------------------------------------------------------------------------------------------------------- */

static void kinds(void **state)
{
    static const recipe rows[] = {
        {203, 151, 8, 3, 1, 0, 0}, {64, 64, 8, 4, 1, 0, 0},  {120, 70, 8, 1, 1, 0, 0},   {130, 90, 10, 3, 1, 0, 0},
        {130, 90, 12, 3, 1, 0, 0}, {90, 66, 10, 4, 1, 0, 0}, {90, 66, 8, 4, 1, 1, 0},    {100, 60, 8, 3, 2, 0, 0},
        {100, 60, 8, 3, 3, 0, 0},  {100, 60, 8, 3, 4, 0, 0}, {100, 60, 8, 3, 5, 0, 0},   {100, 60, 8, 3, 6, 0, 0},
        {100, 60, 8, 3, 7, 0, 0},  {100, 60, 8, 3, 8, 0, 0}, {900, 1000, 8, 3, 1, 0, 0},
    };

    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        bytes b = make(&rows[i], 0);
        iip_raster ref = decoded(b, &rows[i]), in = expected(&rows[i]);
        char name[60];
        subject t;

        snprintf(name, sizeof name, "%d bits, %d bands, orientation %d", rows[i].bits, rows[i].bands,
                 rows[i].orientation);
        alike(&ref, &in, &rows[i], name);
        read_trial(b, &ref, name);
        opened(&t, b);
        assert_int_equal(t.info.bits, rows[i].bits);
        assert_int_equal(t.info.alpha, rows[i].bands == 4);
        assert_int_equal(t.info.orientation, 1);
        assert_true(t.info.hold > ref.stride * (size_t)ref.h);
        done(&t);
        free(in.px);
        free(ref.px);
        free(b.p);
    }
}

static void metadata(void **state)
{
    const recipe k = {64, 48, 8, 3, 1, 0, 0}, wide = {64, 48, 8, 3, 1, 0, 12};
    iip_raster ref;
    bytes b, p3 = make(&wide, 0);
    subject t;

    memset(icc, 'i', sizeof icc);
    b = make(&k, 1);
    ref = decoded(b, &k);
    opened(&t, b);
    assert_int_equal(t.info.icc_len, sizeof icc);
    assert_memory_equal(t.info.icc, icc, sizeof icc);
    assert_int_equal(t.info.exif_len, sizeof exif - 1);
    assert_memory_equal(t.info.exif, exif, sizeof exif - 1);
    assert_int_equal(t.info.xmp_len, strlen(xmp));
    assert_memory_equal(t.info.xmp, xmp, strlen(xmp));
    assert_int_equal(t.info.orientation, 1); /* EXIF's is not the picture's here */
    done(&t);
    source_trial(b, &ref);
    opened(&t, p3);
#ifdef IIP_HAVE_LCMS2
    assert_true(t.info.icc_len > 200);
#else
    assert_int_equal(t.info.icc_len, 0);
#endif
    done(&t);
    free(p3.p);
    free(b.p);
    free(ref.px);
}

static void damaged(void **state)
{
    const recipe rows[] = {{64, 48, 8, 3, 6, 0, 0}, {64, 48, 10, 4, 1, 0, 0}};

    for (int i = 0; i < 2; i++) {
        bytes b = make(&rows[i], i);
        iip_raster ref = decoded(b, &rows[i]);

        cut_trial(b, &ref, "cut");
        mutant_trial(b, &ref, 300);
        free(ref.px);
        free(b.p);
    }
}

/* AVIF is of the same family, but another reader's; a file of unknown contents is asked for what it is. */
static void sniffed(void **state)
{
    static const struct {
        const char *head;
        int least, most;
    } rows[] = {{"\0\0\0\30ftypheic\0\0\0\0mif1heic", 80, 100}, {"\0\0\0\30ftypmif1\0\0\0\0mif1heic", 80, 100},
                {"\0\0\0\30ftypmif1\0\0\0\0mif1miaf", 1, 60},   {"\0\0\0\30ftypisom\0\0\0\0isommp41", 0, 0},
                {"\0\0\0\20ftypmp42\0\0\0\0heicheic", 0, 0},    {"\0\0\0\30ftypavif\0\0\0\0avifmiaf", 0, 0}};
    extern const iip_decoder iip_decoder_heif;

    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        int score = iip_decoder_heif.sniff((const unsigned char *)rows[i].head, 24);

        if (score < rows[i].least || score > rows[i].most)
            fail_msg("head %d: %d", (int)i, score);
    }
}

static int group(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(kinds), cmocka_unit_test(metadata), cmocka_unit_test(damaged),
                                       cmocka_unit_test(sniffed)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
#else
#include "not_built.h"
#endif

int main(void)
{
    return run_cases(group);
}
