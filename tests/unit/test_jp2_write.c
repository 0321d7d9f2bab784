/* SPDX-License-Identifier: Apache-2.0
 * JPEG 2000 writer. Files are opened by OpenJPEG's own JP2 reader; expectations are the picture that went in, to the
 * bit where lossless, else by its signal to noise ratio, computed here. */
#include "jp2_plain.h"
#include <math.h>

/* The picture as OpenJPEG's JP2 reader has it. */
static opj_image_t *jp2_decode(bytes b)
{
    opj_codec_t *codec = opj_create_decompress(OPJ_CODEC_JP2);
    opj_dparameters_t par;
    memory_file m = {b, 0};
    opj_stream_t *s = mem_stream(&m, OPJ_TRUE);
    opj_image_t *im = NULL;

    opj_set_error_handler(codec, on_text, codec);
    opj_set_default_decoder_parameters(&par);
    assert_true(opj_setup_decoder(codec, &par) && opj_read_header(s, codec, &im) && opj_decode(codec, s, im) &&
                opj_end_decompress(codec, s));
    opj_stream_destroy(s);
    opj_destroy_codec(codec);
    return im;
}

static double value(const iip_raster *r, int64_t i)
{
    return r->sample == IIP_U16 ? ((const uint16_t *)(const void *)r->px)[i] : r->px[i];
}

/* Ratio of signal to noise in dB over all bands, infinite if there is no difference. */
static double check_written(const iip_raster *in, int quality)
{
    const iip_enc_opts o = {.quality = quality};
    const double top = in->sample == IIP_U16 ? 65535 : 255;
    bytes b = encode("jp2", in, &o);
    opj_image_t *im = jp2_decode(b);
    const int64_t n = in->w * in->h * in->bands;
    double sum = 0;

    assert_int_equal(im->numcomps, in->bands);
    assert_int_equal(im->color_space, in->bands > 2 ? OPJ_CLRSPC_SRGB : OPJ_CLRSPC_GRAY);
    for (int c = 0; c < in->bands; c++) {
        assert_true(im->comps[c].w == in->w && im->comps[c].h == in->h);
        assert_int_equal(im->comps[c].prec, in->sample == IIP_U16 ? 16 : 8);
        assert_int_equal(im->comps[c].alpha, in->bands % 2 == 0 && c == in->bands - 1);
    }
    for (int64_t i = 0; i < n; i++) {
        double d = im->comps[i % in->bands].data[i / in->bands] - value(in, i);

        sum += d * d;
    }
    opj_image_destroy(im);
    free(b.p);
    return sum > 0 ? 10 * log10(top * top * (double)n / sum) : INFINITY;
}

static void lossless(void **state)
{
    static const int sizes[][2] = {{203, 151}, {1, 1},  {1, 70},    {70, 1},    {2, 2},
                                   {3, 5},     {33, 2}, {1025, 40}, {40, 2051}, {1300, 1100}};

    for (size_t k = 0; k < sizeof sizes / sizeof *sizes; k++)
        for (int bands = 1; bands <= 4; bands++)
            for (int deep = 0; deep < 2; deep++) {
                iip_raster in;

                if (sizes[k][0] * sizes[k][1] > 1000000 && bands != 3) /* it takes time */
                    continue;
                in = painted(sizes[k][0], sizes[k][1], bands, deep ? IIP_U16 : IIP_U8);
                if (check_written(&in, 100) < INFINITY)
                    fail_msg("%d x %d of %d bands is not lossless", sizes[k][0], sizes[k][1], bands);
                free(in.px);
            }
}

/* How far below the ratio asked for a picture full of edges may come out. OpenJPEG estimates it among the wavelet's
 * coefficients, which is rough where few are left, and at 50 dB rounding to 8 bits adds as much noise again. */
static double short_of(int quality, int deep)
{
    return quality == 20 ? 1.5 : quality == 30 ? 1 : quality == 50 && !deep ? 3 : .5;
}

/* Slivers, which OpenJPEG's 9/7 wavelet cannot take, are written all the same. */
static void lossy(void **state)
{
    static const int sizes[][2] = {{203, 151}, {300, 200}, {1025, 130}, {1, 1},   {1, 70},
                                   {70, 1},    {2, 2},     {3, 5},      {5, 1030}};
    static const int qualities[] = {20, 30, 40, 50};

    for (size_t k = 0; k < sizeof sizes / sizeof *sizes; k++)
        for (int bands = 1; bands <= 4; bands++)
            for (int deep = 0; deep < 2; deep++)
                for (int q = 0; q < 4; q++) {
                    iip_raster in = painted(sizes[k][0], sizes[k][1], bands, deep ? IIP_U16 : IIP_U8);
                    double ratio = check_written(&in, qualities[q]);

                    if (in.w > 100 && in.h > 100 && ratio < qualities[q] - short_of(qualities[q], deep))
                        fail_msg("%d x %d, %d bands of %d bits, %d dB: %.2f", sizes[k][0], sizes[k][1], bands,
                                 deep ? 16 : 8, qualities[q], ratio);
                    free(in.px);
                }
}

/* Fewer dB, fewer bytes; the default is 40. */
static void sizes_of_files(void **state)
{
    iip_raster in = painted(400, 300, 3, IIP_U8);
    size_t before = 0, forty = 0;
    bytes b;

    for (int q = 20; q <= 100; q += 20) {
        const iip_enc_opts o = {.quality = q};

        b = encode("jp2", &in, &o);
        assert_true(b.n > before);
        before = b.n;
        forty = q == 40 ? b.n : forty;
        free(b.p);
    }
    b = encode("jp2", &in, &(iip_enc_opts){.quality = -1});
    assert_int_equal(b.n, forty);
    free(b.p);
    free(in.px);
}

static void metadata(void **state)
{
    static const char xmp[] = "<x:xmpmeta xmlns:x=\"adobe:ns:meta/\"/>", exif[] = "II*\0\10\0\0\0\0\0\0\0\0\0";
    static const double scales[] = {118.11, .0123, 98765};
    unsigned char icc[300] = {0};
    iip_raster in = painted(60, 40, 4, IIP_U8);

    memcpy(icc + 16, "RGB ", 4);
    memcpy(icc + 36, "acsp", 4);
    icc[299] = 9;
    for (int i = 0; i < 3; i++) {
        const iip_enc_opts o = {.quality = 100,
                                .icc = icc,
                                .icc_len = sizeof icc,
                                .xmp = xmp,
                                .xmp_len = strlen(xmp),
                                .exif = exif,
                                .exif_len = sizeof exif - 1,
                                .res_x = scales[i],
                                .res_y = scales[i] / 2,
                                .copyright = "(c) nobody"};
        bytes b = encode("jp2", &in, &o);
        opj_image_t *im = jp2_decode(b);
        int said = 0;
        subject t;

        assert_int_equal(im->icc_profile_len, sizeof icc);
        assert_memory_equal(im->icc_profile_buf, icc, sizeof icc);
        opj_image_destroy(im);
        for (size_t at = 0; at + 10 < b.n; at++)
            said += memcmp(b.p + at, "(c) nobody", 10) == 0;
        assert_int_equal(said, 1);
        opened(&t, b);
        assert_true(fabs(t.info.res_x / scales[i] - 1) < 1e-4 && fabs(t.info.res_y / scales[i] * 2 - 1) < 1e-4);
        assert_int_equal(t.info.xmp_len, strlen(xmp));
        assert_memory_equal(t.info.xmp, xmp, strlen(xmp));
        assert_int_equal(t.info.exif_len, sizeof exif - 1);
        assert_memory_equal(t.info.exif, exif, sizeof exif - 1);
        assert_true(t.info.alpha && t.info.bands == 4 && t.info.space == IIP_RGB);
        done(&t);
        free(b.p);
    }
    free(in.px);
}

static void sink_fails(void **state)
{
    iip_raster in = painted(300, 200, 4, IIP_U8);

    sink_trial("jp2", &in, &(iip_enc_opts){.quality = 40, .xmp = "x", .xmp_len = 1, .icc = "y", .icc_len = 1}, 5);
    free(in.px);
}

static void refused(void **state)
{
    static const struct {
        iip_raster shape;
        iip_status status;
    } rows[] = {
        {{0, 1, 1, IIP_U8, 0, NULL}, IIP_E_LIMIT},           {{1, 0, 1, IIP_U8, 0, NULL}, IIP_E_LIMIT},
        {{300000, 300000, 1, IIP_U8, 0, NULL}, IIP_E_LIMIT}, {{9, 9, 5, IIP_U8, 0, NULL}, IIP_E_FEATURE},
        {{9, 9, 1, IIP_F32, 0, NULL}, IIP_E_FEATURE},
    };
    const iip_encoder *enc = iip_encoder_by_ext("jp2");

    assert_true(enc->q_min == 20 && enc->q_max == 100 && enc->q_default == 40 && enc->whole && enc->alpha);
    assert_string_equal(enc->mime, "image/jp2");
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        collector c = {{collect}, {NULL, 0}, 0, -1};
        iip_error e = {0};
        iip_writer_t *w;
        apr_pool_t *p;

        apr_pool_create(&p, pool);
        assert_int_equal(enc->begin(&w, &rows[i].shape, &(iip_enc_opts){.quality = 40}, &c.k, p, &e), rows[i].status);
        apr_pool_destroy(p);
        assert_int_equal(c.out.n, 0);
    }
}

static int group(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lossless), cmocka_unit_test(lossy),      cmocka_unit_test(sizes_of_files),
        cmocka_unit_test(metadata), cmocka_unit_test(sink_fails), cmocka_unit_test(refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

int main(void)
{
    return run_cases(group);
}
