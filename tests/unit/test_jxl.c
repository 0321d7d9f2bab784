/* SPDX-License-Identifier: Apache-2.0
 * JPEG XL reader. Files are libjxl's own encoder's, without loss, so that expectations are the very pictures that went
 * in; lossy ones are held against those by their mean error. */
#ifdef IIP_HAVE_JXL
#include "codec_cases.h"
#include <math.h>
#include <jxl/encode.h>
#include "codec/icc_make.h"

/* --- files -------------------------------------------------------------------------------------------------------- */

typedef struct {
    int w, h, bits, bands, orientation, frames, lossy, container, floats;
} recipe;

typedef void extras_fn(JxlEncoder *enc, JxlBasicInfo *info);

static bytes drain(JxlEncoder *enc)
{
    bytes b = {malloc(1 << 22), 0};
    size_t left = 1 << 22;
    uint8_t *at = b.p;

    assert_int_equal(JxlEncoderProcessOutput(enc, &at, &left), JXL_ENC_SUCCESS);
    b.n = (size_t)(at - b.p);
    return b;
}

static void bare(JxlEncoder *enc, JxlBasicInfo *info)
{
    JxlColorEncoding srgb;

    assert_int_equal(JxlEncoderSetBasicInfo(enc, info), JXL_ENC_SUCCESS);
    JxlColorEncodingSetToSRGB(&srgb, info->num_color_channels == 1);
    assert_int_equal(JxlEncoderSetColorEncoding(enc, &srgb), JXL_ENC_SUCCESS);
}

/* The picture in all the range of its samples; the frames behind the first are another one. */
static bytes make(const recipe *k, const iip_raster *in, extras_fn *extras)
{
    const JxlDataType type = k->floats ? JXL_TYPE_FLOAT : k->bits > 8 ? JXL_TYPE_UINT16 : JXL_TYPE_UINT8;
    const JxlPixelFormat format = {(uint32_t)k->bands, type, JXL_NATIVE_ENDIAN, 0};
    JxlEncoder *enc = JxlEncoderCreate(NULL);
    JxlEncoderFrameSettings *set = JxlEncoderFrameSettingsCreate(enc, NULL);
    unsigned char *other = calloc(in->stride, (size_t)in->h);
    JxlFrameHeader head;
    JxlBasicInfo info;
    bytes b;

    JxlEncoderInitBasicInfo(&info);
    info.xsize = (uint32_t)k->w;
    info.ysize = (uint32_t)k->h;
    info.bits_per_sample = (uint32_t)k->bits;
    info.exponent_bits_per_sample = k->floats ? 8 : 0;
    info.num_color_channels = k->bands < 3 ? 1 : 3;
    info.num_extra_channels = k->bands % 2 == 0;
    info.alpha_bits = k->bands % 2 == 0 ? (uint32_t)k->bits : 0;
    info.alpha_exponent_bits = k->bands % 2 == 0 ? info.exponent_bits_per_sample : 0;
    info.orientation = (JxlOrientation)(k->orientation ? k->orientation : 1);
    info.uses_original_profile = !k->lossy;
    info.have_animation = k->frames > 1;
    info.animation.tps_numerator = info.animation.tps_denominator = 1;
    JxlEncoderUseContainer(enc, k->container);
    if (k->container)
        JxlEncoderUseBoxes(enc);
    extras(enc, &info);
    if (k->bits > 12)
        JxlEncoderSetCodestreamLevel(enc, 10);
    JxlEncoderFrameSettingsSetOption(set, JXL_ENC_FRAME_SETTING_EFFORT, 3);
    if (k->lossy)
        JxlEncoderSetFrameDistance(set, 0.5f);
    else
        JxlEncoderSetFrameLossless(set, JXL_TRUE);
    JxlEncoderInitFrameHeader(&head);
    head.duration = 1;
    if (k->frames > 1)
        assert_int_equal(JxlEncoderSetFrameHeader(set, &head), JXL_ENC_SUCCESS);
    for (int i = 0; i < (k->frames ? k->frames : 1); i++)
        assert_int_equal(JxlEncoderAddImageFrame(set, &format, i ? other : in->px, in->stride * (size_t)in->h),
                         JXL_ENC_SUCCESS);
    JxlEncoderCloseInput(enc);
    b = drain(enc);
    JxlEncoderDestroy(enc);
    free(other);
    return b;
}

/* A picture whose samples are of so many bits, in all the range of theirs. */
static iip_raster drawn(const recipe *k)
{
    const iip_sample s = k->floats ? IIP_F32 : k->bits > 8 ? IIP_U16 : IIP_U8;
    const double most = pow(2, k->bits) - 1, top = s == IIP_U16 ? 65535 : 255;
    iip_raster r = blank(k->w, k->h, k->bands, s), plain = painted(k->w, k->h, k->bands, IIP_U8);

    for (int64_t i = 0; i < r.w * r.h * r.bands; i++) {
        const double v = plain.px[i] / 255.;

        if (s == IIP_F32)
            ((float *)(void *)r.px)[i] = (float)(v * 1.5 - .25); /* beyond black and white */
        else if (s == IIP_U16)
            ((uint16_t *)(void *)r.px)[i] = (uint16_t)floor(floor(v * most + .5) * top / most + .5);
        else
            r.px[i] = (unsigned char)floor(floor(v * most + .5) * top / most + .5);
    }
    for (int64_t i = r.bands - 1; s == IIP_F32 && r.bands % 2 == 0 && i < r.w * r.h * r.bands; i += r.bands)
        ((float *)(void *)r.px)[i] = plain.px[i] / 255.f;
    free(plain.px);
    return r;
}

/* --- trials ------------------------------------------------------------------------------------------------------- */

static void kinds(void **state)
{
    static const recipe rows[] = {
        {.w = 203, .h = 151, .bits = 8, .bands = 3},
        {.w = 203, .h = 151, .bits = 8, .bands = 4},
        {.w = 203, .h = 151, .bits = 8, .bands = 1},
        {.w = 90, .h = 61, .bits = 8, .bands = 2, .container = 1},
        {.w = 90, .h = 61, .bits = 1, .bands = 1},
        {.w = 90, .h = 61, .bits = 5, .bands = 3},
        {.w = 90, .h = 61, .bits = 10, .bands = 3},
        {.w = 90, .h = 61, .bits = 12, .bands = 1},
        {.w = 90, .h = 61, .bits = 16, .bands = 4},
        {.w = 90, .h = 61, .bits = 32, .bands = 3, .floats = 1},
        {.w = 90, .h = 61, .bits = 32, .bands = 2, .floats = 1},
        {.w = 1, .h = 1, .bits = 8, .bands = 3},
        {.w = 1, .h = 30, .bits = 8, .bands = 1},
        {.w = 90, .h = 61, .bits = 8, .bands = 3, .orientation = 6},
        {.w = 90, .h = 61, .bits = 8, .bands = 3, .orientation = 2},
        {.w = 90, .h = 61, .bits = 8, .bands = 3, .frames = 3},
        {.w = 1300, .h = 900, .bits = 8, .bands = 3},
    };

    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        iip_raster ref = drawn(&rows[i]);
        bytes b = make(&rows[i], &ref, bare);
        char name[60];
        subject t;

        snprintf(name, sizeof name, "row %d: %d bits, %d bands", (int)i, rows[i].bits, rows[i].bands);
        read_trial(b, &ref, name);
        opened(&t, b);
        assert_int_equal(t.info.bits, rows[i].bits);
        assert_int_equal(t.info.alpha, rows[i].bands % 2 == 0);
        assert_int_equal(t.info.space, rows[i].bands < 3 ? IIP_GREY : IIP_RGB);
        assert_int_equal(t.info.orientation, rows[i].orientation ? rows[i].orientation : 1);
        assert_int_equal(t.info.icc_len, 0); /* sRGB needs none */
        assert_true(t.info.hold > ref.stride * (size_t)ref.h);
        done(&t);
        if (b.n < 20000)
            source_trial(b, &ref);
        free(ref.px);
        free(b.p);
    }
}

/* --- texts -------------------------------------------------------------------------------------------------------- */

static const unsigned char exif[] = "\0\0\0\0MM\0*\0\0\0\10\0\1\1\22\0\3\0\0\0\1\0\6\0\0\0\0\0\0"; /* orientation 6 */
static char xmp[3000];
static int packed;

static void with_texts(JxlEncoder *enc, JxlBasicInfo *info)
{
    bare(enc, info);
    assert_int_equal(JxlEncoderAddBox(enc, "Exif", exif, sizeof exif - 1, packed), JXL_ENC_SUCCESS);
    assert_int_equal(JxlEncoderAddBox(enc, "xml ", (const uint8_t *)xmp, sizeof xmp, packed), JXL_ENC_SUCCESS);
    JxlEncoderCloseBoxes(enc);
}

static void texts(void **state)
{
    const recipe k = {.w = 60, .h = 50, .bits = 8, .bands = 3, .container = 1};
    iip_raster ref = drawn(&k);

    for (size_t i = 0; i < sizeof xmp; i++)
        xmp[i] = (char)(' ' + (i * i + i / 9) % 90);
    for (packed = 0; packed < 2; packed++) {
        bytes b = make(&k, &ref, with_texts);
        subject t;

        opened(&t, b);
        assert_int_equal(t.info.exif_len, sizeof exif - 5);
        assert_memory_equal(t.info.exif, exif + 4, sizeof exif - 5);
        assert_int_equal(t.info.xmp_len, sizeof xmp);
        assert_memory_equal(t.info.xmp, xmp, sizeof xmp);
        assert_int_equal(t.info.orientation, 1); /* the code-stream's, not EXIF's (ISO/IEC 18181-2, 9.5) */
        check_rect(&t, (iip_rect){0, 0, k.w, k.h}, &ref, "with texts");
        done(&t);
        free(b.p);
    }
    free(ref.px);
}

/* --- colours ------------------------------------------------------------------------------------------------------ */

static void by_p3(JxlEncoder *enc, JxlBasicInfo *info)
{
    JxlColorEncoding p3;

    assert_int_equal(JxlEncoderSetBasicInfo(enc, info), JXL_ENC_SUCCESS);
    JxlColorEncodingSetToSRGB(&p3, JXL_FALSE);
    p3.primaries = JXL_PRIMARIES_P3;
    assert_int_equal(JxlEncoderSetColorEncoding(enc, &p3), JXL_ENC_SUCCESS);
}

static const void *icc;
static size_t icc_len;

static void by_icc(JxlEncoder *enc, JxlBasicInfo *info)
{
    assert_int_equal(JxlEncoderSetBasicInfo(enc, info), JXL_ENC_SUCCESS);
    assert_int_equal(JxlEncoderSetICCProfile(enc, icc, icc_len), JXL_ENC_SUCCESS);
}

static double mean_error(bytes b, const iip_raster *ref)
{
    iip_raster out;
    size_t used;
    subject t;
    double sum = 0;

    opened(&t, b);
    assert_int_equal(read_rect(&t, 0, (iip_rect){0, 0, ref->w, ref->h}, &out, &used), IIP_OK);
    assert_int_equal(used, ref->stride);
    for (int64_t y = 0; y < ref->h; y++)
        for (size_t i = 0; i < used; i++)
            sum += abs(out.px[(size_t)y * out.stride + i] - ref->px[(size_t)y * used + i]);
    free(out.px);
    done(&t);
    return sum / (double)((size_t)ref->h * ref->stride);
}

/* Pictures keep their profile without loss; lossy ones have the colours that the reader says. */
static void colours(void **state)
{
    recipe k = {.w = 200, .h = 150, .bits = 8, .bands = 3};
    iip_raster ref = drawn(&k);
    subject t;
    bytes b;

    b = make(&k, &ref, by_p3);
    opened(&t, b);
    assert_true(t.info.icc_len > 200 && iip_icc_look(&t.info) == IIP_ICC_OTHER);
    done(&t);
    assert_true(mean_error(b, &ref) == 0);
    free(b.p);
    k.lossy = 1;
    b = make(&k, &ref, bare);
    opened(&t, b);
    assert_int_equal(t.info.icc_len, 0);
    done(&t);
    assert_true(mean_error(b, &ref) < 4);
    free(b.p);
#ifdef IIP_HAVE_LCMS2
    {
        static const double adobe[8] = {.3127, .3290, .64, .33, .21, .71, .15, .06};
        iip_error e;

        assert_int_equal(iip_icc_make(adobe, 2.2, 3, &icc, &icc_len, pool, &e), IIP_OK);
    }
    k.lossy = 0;
    b = make(&k, &ref, by_icc);
    opened(&t, b);
    assert_int_equal(t.info.icc_len, icc_len);
    assert_memory_equal(t.info.icc, icc, icc_len);
    done(&t);
    free(b.p);
    k.lossy = 1;
    b = make(&k, &ref, by_icc);
    opened(&t, b);
    assert_true(t.info.icc_len > 200 && iip_icc_look(&t.info) == IIP_ICC_OTHER); /* more colours than sRGB's */
    done(&t);
    free(b.p);
#endif
    free(ref.px);
}

#ifdef IIP_HAVE_LCMS2
#include <lcms2.h>

static cmsInt32Number dark(const cmsUInt16Number in[], cmsUInt16Number out[], void *arg)
{
    out[0] = (cmsUInt16Number)((65535 - in[3]) * (196605u - in[0] - in[1] - in[2]) / 196605);
    out[1] = (cmsUInt16Number)(32896 + (in[1] - in[0]) / 4);
    out[2] = (cmsUInt16Number)(32896 + (in[2] - in[1]) / 4);
    return 1;
}

/* A table of inks: any will do. */
static void make_inks_profile(void)
{
    cmsHPROFILE h = cmsCreateProfilePlaceholder(NULL);
    cmsPipeline *lut = cmsPipelineAlloc(NULL, 4, 3);
    cmsStage *table = cmsStageAllocCLut16bit(NULL, 3, 4, 3, NULL);
    cmsUInt32Number n = 0;
    void *mem;

    cmsSetProfileVersion(h, 2.4);
    cmsSetDeviceClass(h, cmsSigOutputClass);
    cmsSetColorSpace(h, cmsSigCmykData);
    cmsSetPCS(h, cmsSigLabData);
    assert_true(cmsStageSampleCLut16bit(table, dark, NULL, 0));
    assert_true(cmsPipelineInsertStage(lut, cmsAT_END, table));
    assert_true(cmsWriteTag(h, cmsSigAToB0Tag, lut) && cmsSaveProfileToMem(h, NULL, &n));
    mem = malloc(n);
    assert_true(cmsSaveProfileToMem(h, mem, &n));
    icc = mem;
    icc_len = n;
    cmsPipelineFree(lut);
    cmsCloseProfile(h);
}

/* C, M, Y, K and, if there are five bands, alpha; the file has how much light they leave. */
static bytes make_inks(const iip_raster *in)
{
    const int deep = in->sample == IIP_U16, alpha = in->bands == 5;
    const size_t n = (size_t)(in->w * in->h);
    const JxlPixelFormat format = {3u + (unsigned)alpha, deep ? JXL_TYPE_UINT16 : JXL_TYPE_UINT8, JXL_NATIVE_ENDIAN, 0};
    JxlEncoder *enc = JxlEncoderCreate(NULL);
    JxlEncoderFrameSettings *set = JxlEncoderFrameSettingsCreate(enc, NULL);
    unsigned char *colours = malloc(n * 8), *black = malloc(n * 2);
    JxlExtraChannelInfo extra;
    JxlBasicInfo info;
    bytes b;

    for (size_t i = 0; i < n * (size_t)in->bands; i++) {
        const size_t at = i / (size_t)in->bands, band = i % (size_t)in->bands,
                     to = at * (3 + (size_t)alpha) + (band < 4 ? band : 3);
        const unsigned v = deep ? ((uint16_t *)(void *)in->px)[i] : in->px[i],
                       left = band == 4 ? v : (deep ? 65535 : 255) - v;

        if (deep)
            ((uint16_t *)(void *)(band == 3 ? black : colours))[band == 3 ? at : to] = (uint16_t)left;
        else
            (band == 3 ? black : colours)[band == 3 ? at : to] = (unsigned char)left;
    }
    JxlEncoderInitBasicInfo(&info);
    info.xsize = (uint32_t)in->w;
    info.ysize = (uint32_t)in->h;
    info.bits_per_sample = deep ? 16 : 8;
    info.alpha_bits = alpha ? info.bits_per_sample : 0;
    info.num_extra_channels = 1 + (unsigned)alpha;
    info.uses_original_profile = JXL_TRUE;
    JxlEncoderSetCodestreamLevel(enc, 10);
    assert_int_equal(JxlEncoderSetBasicInfo(enc, &info), JXL_ENC_SUCCESS);
    for (int i = 0; i <= alpha; i++) {
        JxlEncoderInitExtraChannelInfo(i < alpha ? JXL_CHANNEL_ALPHA : JXL_CHANNEL_BLACK, &extra);
        extra.bits_per_sample = info.bits_per_sample;
        assert_int_equal(JxlEncoderSetExtraChannelInfo(enc, (size_t)i, &extra), JXL_ENC_SUCCESS);
    }
    assert_int_equal(JxlEncoderSetICCProfile(enc, icc, icc_len), JXL_ENC_SUCCESS);
    JxlEncoderFrameSettingsSetOption(set, JXL_ENC_FRAME_SETTING_EFFORT, 3);
    JxlEncoderSetFrameLossless(set, JXL_TRUE);
    assert_int_equal(JxlEncoderAddImageFrame(set, &format, colours, n * format.num_channels * (1u + (unsigned)deep)),
                     JXL_ENC_SUCCESS);
    assert_int_equal(JxlEncoderSetExtraChannelBuffer(set, &format, black, n * (1u + (unsigned)deep), (uint32_t)alpha),
                     JXL_ENC_SUCCESS);
    JxlEncoderCloseInput(enc);
    b = drain(enc);
    JxlEncoderDestroy(enc);
    free(colours);
    free(black);
    return b;
}

static void inks(void **state)
{
    make_inks_profile();
    for (int i = 0; i < 4; i++) {
        iip_raster ref = painted(90, 61, 4 + i / 2, i % 2 ? IIP_U16 : IIP_U8);
        bytes b = make_inks(&ref);
        subject t;

        read_trial(b, &ref, "inks");
        opened(&t, b);
        assert_true(t.info.space == IIP_CMYK && t.info.bands == 4 + i / 2 && t.info.alpha == i / 2);
        assert_int_equal(t.info.icc_len, icc_len);
        assert_memory_equal(t.info.icc, icc, icc_len);
        assert_int_equal(iip_icc_look(&t.info), IIP_ICC_OTHER);
        done(&t);
        if (i == 0)
            mutant_trial(b, &ref, 100);
        free(ref.px);
        free(b.p);
    }
    free((void *)(uintptr_t)icc);
}
#else
static void inks(void **state)
{
    skip();
}
#endif

static void damaged(void **state)
{
    const recipe rows[] = {{.w = 60, .h = 50, .bits = 8, .bands = 3, .container = 1},
                           {.w = 60, .h = 50, .bits = 8, .bands = 4}};

    for (packed = 0; packed < 2; packed++) {
        iip_raster ref = drawn(&rows[packed]);
        bytes b = make(&rows[packed], &ref, packed ? bare : with_texts);

        cut_trial(b, &ref, "cut");
        mutant_trial(b, &ref, 600);
        free(ref.px);
        free(b.p);
    }
}

static int group(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(kinds), cmocka_unit_test(texts), cmocka_unit_test(colours),
                                       cmocka_unit_test(inks), cmocka_unit_test(damaged)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
#else
#include "not_built.h"
#endif

int main(void)
{
    return run_cases(group);
}
