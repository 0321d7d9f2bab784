/* SPDX-License-Identifier: Apache-2.0
 * TIFF reader: every compression that the installed libtiff has, by its own list. What it encodes is written by it from
 * the formula; what it only decodes is put into strips by hand. */
#include "tiff_plain.h"
#include <math.h>

enum { W = 133, H = 70, G = PHOTOMETRIC_MINISBLACK, R = PHOTOMETRIC_RGB, W0 = PHOTOMETRIC_MINISWHITE };

/* Old-style JPEG has test_tiff_ojpeg.c to itself. */
enum { BY_LIBTIFF, BY_HAND, BY_LOG, ELSEWHERE };

static const struct {
    int scheme, how;
    double most; /* levels of 8 bits that a sample may be off */
    plan p;
} rows[] = {
    {COMPRESSION_NONE, BY_LIBTIFF, 0, {"rgb", W, H, 64, 32, .photometric = R, .samples = 3}},
    {COMPRESSION_LZW, BY_LIBTIFF, 0, {"rgb", W, H, .photometric = R, .samples = 3, .predictor = 2}},
    {COMPRESSION_PACKBITS, BY_LIBTIFF, 0, {"4 bits", W, H, .photometric = G, .bits = 4}},
    {COMPRESSION_THUNDERSCAN, BY_HAND, 0, {"4 bits", W, H, .photometric = G, .bits = 4}},
    {COMPRESSION_NEXT, BY_HAND, 0, {"2 bits", W, H, .photometric = G, .bits = 2}},
    {COMPRESSION_JPEG, BY_LIBTIFF, 40, {"grey", W, H, 64, 64, .photometric = G}},
    {COMPRESSION_JPEG, BY_LIBTIFF, 60, {"rgb", W, H, .rows = 16, .photometric = R, .samples = 3}},
    {COMPRESSION_OJPEG, ELSEWHERE, 0, {.name = ""}},
    {COMPRESSION_CCITTRLE, BY_LIBTIFF, 0, {"1 bit", W, H, .photometric = W0, .bits = 1}},
    /* libtiff 4.5 writes these, and decodes them as noise */
    {COMPRESSION_CCITTRLEW, BY_LIBTIFF, 0, {"1 bit", W, H, .photometric = W0, .bits = 1}},
    {COMPRESSION_CCITTRLEW, BY_LIBTIFF, 0, {"long runs", 9000, 5, .rows = 2, .photometric = G, .bits = 1}},
    {COMPRESSION_PIXARLOG, BY_LIBTIFF, 1, {"grey", W, H, .photometric = G}},
    {COMPRESSION_PIXARLOG, BY_LIBTIFF, 1, {"planes", W, H, .photometric = R, .samples = 3, .planar = 1}},
    {COMPRESSION_CCITTFAX3, BY_LIBTIFF, 0, {"1 bit", W, H, .photometric = G, .bits = 1}},
    {COMPRESSION_CCITTFAX4, BY_LIBTIFF, 0, {"1 bit", W, H, 64, 16, .photometric = W0, .bits = 1}},
    {COMPRESSION_JBIG, BY_LIBTIFF, 0, {"1 bit", 128, H, .rows = H, .photometric = W0, .bits = 1}},
    {COMPRESSION_DEFLATE, BY_LIBTIFF, 0, {"16 bits", W, H, .photometric = R, .samples = 3, .bits = 16}},
    {COMPRESSION_ADOBE_DEFLATE, BY_LIBTIFF, 0, {"planes", W, H, 32, 32, .photometric = R, .samples = 3, .planar = 1}},
    {COMPRESSION_PIXARLOG, BY_LIBTIFF, 1, {"8 bits", W, H, .photometric = R, .samples = 3}},
    {COMPRESSION_PIXARLOG, BY_LIBTIFF, 1, {"16 bits", W, H, .photometric = R, .samples = 3, .bits = 16}},
    {COMPRESSION_SGILOG, BY_LOG, 2, {"luminance", W, H, .photometric = PHOTOMETRIC_LOGL}},
    {COMPRESSION_SGILOG, BY_LOG, 5, {"colour", W, H, .photometric = PHOTOMETRIC_LOGLUV, .samples = 3}},
    {COMPRESSION_SGILOG24, BY_LOG, 8, {"colour", W, H, .photometric = PHOTOMETRIC_LOGLUV, .samples = 3}},
    {COMPRESSION_LZMA, BY_LIBTIFF, 0, {"rgb", W, H, .photometric = R, .samples = 3}},
    {COMPRESSION_ZSTD, BY_LIBTIFF, 0, {"rgb", W, H, 32, 64, .photometric = R, .samples = 3, .predictor = 2}},
    {COMPRESSION_WEBP, BY_LIBTIFF, 0, {"rgb", W, H, 64, 64, .photometric = R, .samples = 3}},
    {COMPRESSION_LERC, BY_LIBTIFF, 0, {"32 bits", W, H, 64, 64, .photometric = G, .bits = 32}},
};
#define ROWS (sizeof rows / sizeof *rows)

/* What the formula says, as the decoder delivers it, of 0..1. */
static double expected(const plan *p, int x, int y, int band)
{
    const int bits = p->bits ? p->bits : 8;
    const double top = ldexp(1, bits) - 1, v = sample_at(p, x, y, band);

    return (p->photometric == W0 ? top - v : v) / top;
}

static double shown(const reading *k, const unsigned char *px, size_t i)
{
    switch (k->info.sample) {
    case IIP_U8:
        return px[i] / 255.;
    case IIP_U16:
        return ((const uint16_t *)(const void *)px)[i] / 65535.;
    default:
        assert_int_equal(k->info.sample, IIP_U32);
        return ((const uint32_t *)(const void *)px)[i] / 4294967295.;
    }
}

/* --- what libtiff does not encode ----------------------------------------------------------------------------------
 */

/* Rows of NeXT: as they are; a piece of them on white; runs of one grey. */
static size_t next_row(const plan *p, int y, unsigned char *to)
{
    const size_t len = (W * 2 + 7) / 8;
    unsigned char row[(W * 2 + 7) / 8] = {0};
    size_t n = 0;

    for (int x = 0; x < W; x++)
        put_sample(row, p, (size_t)x, sample_at(p, x, y, 0));
    if (y % 3 == 0) {
        to[n++] = 0;
        memcpy(to + n, row, len);
        return n + len;
    }
    if (y % 3 == 1) { /* where to, how many, bytes; the rest is white, so all of them */
        const unsigned char head[] = {0x40, 0, 0, 0, (unsigned char)len};

        memcpy(to, head, sizeof head);
        memcpy(to + sizeof head, row, len);
        return sizeof head + len;
    }
    for (int x = 0, run; x < W; x += run) {
        for (run = 1; x + run < W && run < 63 && sample_at(p, x + run, y, 0) == sample_at(p, x, y, 0); run++)
            ;
        to[n++] = (unsigned char)(sample_at(p, x, y, 0) << 6 | (unsigned)run);
    }
    return n;
}

/* Rows of ThunderScan: runs of the last pixel, pairs of small differences, pixels. */
static size_t thunder_row(const plan *p, int y, unsigned char *to)
{
    size_t n = 0;
    int last = 0;

    for (int x = 0; x < W;) {
        const int a = (int)sample_at(p, x, y, 0), b = x + 1 < W ? (int)sample_at(p, x + 1, y, 0) : a;
        int run = 0;

        while (x + run < W && run < 63 && (int)sample_at(p, x + run, y, 0) == last)
            run++;
        if (run > 1) {
            to[n++] = (unsigned char)run;
            x += run;
        } else if (abs(a - last) < 4 && abs(b - a) < 4 && x + 1 < W) {
            to[n++] = (unsigned char)(0x80 | ((a - last) & 7) << 3 | ((b - a) & 7));
            last = b;
            x += 2;
        } else {
            to[n++] = (unsigned char)(0xC0 | a);
            last = a;
            x++;
        }
    }
    return n;
}

static bytes by_hand(const plan *p)
{
    bytes b = {0};
    TIFF *t = bytes_tiff(&b, "w");
    unsigned char *strip = malloc(2 * W * H);
    size_t n = 0;

    assert_non_null(t);
    for (int y = 0; y < H; y++)
        n += (p->compression == COMPRESSION_NEXT ? next_row : thunder_row)(p, y, strip + n);
    TIFFSetField(t, TIFFTAG_IMAGEWIDTH, W);
    TIFFSetField(t, TIFFTAG_IMAGELENGTH, H);
    TIFFSetField(t, TIFFTAG_BITSPERSAMPLE, p->bits);
    TIFFSetField(t, TIFFTAG_SAMPLESPERPIXEL, 1);
    TIFFSetField(t, TIFFTAG_PHOTOMETRIC, p->photometric);
    TIFFSetField(t, TIFFTAG_COMPRESSION, p->compression);
    TIFFSetField(t, TIFFTAG_ROWSPERSTRIP, H);
    assert_int_equal(TIFFWriteRawStrip(t, 0, strip, (tmsize_t)n), n);
    assert_int_equal(TIFFWriteDirectory(t), 1);
    TIFFClose(t);
    free(strip);
    return b;
}

/* Luminance, or CIE XYZ. */
static void light(int x, int y, int samples, float out[3])
{
    const float v = .02f + .9f * (float)(x * 7 + y * 11) / (7 * W + 11 * H);

    out[samples == 3 ? 1 : 0] = v;
    if (samples == 3) {
        out[0] = v * (.9f + .2f * (float)y / H);
        out[2] = v * (1.2f - .3f * (float)x / W);
    }
}

static bytes by_log(const plan *p)
{
    const int samples = p->samples ? p->samples : 1;
    bytes b = {0};
    TIFF *t = bytes_tiff(&b, "w");
    float *px = malloc((size_t)(W * H * samples) * sizeof *px);

    assert_non_null(t);
    TIFFSetField(t, TIFFTAG_IMAGEWIDTH, W);
    TIFFSetField(t, TIFFTAG_IMAGELENGTH, H);
    TIFFSetField(t, TIFFTAG_COMPRESSION, p->compression);
    TIFFSetField(t, TIFFTAG_PHOTOMETRIC, p->photometric);
    TIFFSetField(t, TIFFTAG_SAMPLESPERPIXEL, samples);
    TIFFSetField(t, TIFFTAG_PLANARCONFIG, PLANARCONFIG_CONTIG);
    TIFFSetField(t, TIFFTAG_SGILOGDATAFMT, SGILOGDATAFMT_FLOAT);
    TIFFSetField(t, TIFFTAG_ROWSPERSTRIP, H);
    for (int y = 0; y < H; y++)
        for (int x = 0; x < W; x++)
            light(x, y, samples, px + (y * W + x) * samples);
    assert_true(TIFFWriteEncodedStrip(t, 0, px, (tmsize_t)((size_t)(W * H * samples) * sizeof *px)) > 0);
    assert_int_equal(TIFFWriteDirectory(t), 1);
    TIFFClose(t);
    free(px);
    return b;
}

/* The square root as a screen's curve, over the primaries of CCIR 709 and a white of equal energy. */
static double expected_log(int x, int y, int samples, int band)
{
    static const double to_rgb[3][3] = {{2.690, -1.276, -.414}, {-1.022, 1.978, .044}, {.061, -.224, 1.163}};
    float c[3] = {0};
    double v;

    light(x, y, samples, c);
    v = samples == 1 ? c[0] : to_rgb[band][0] * c[0] + to_rgb[band][1] * c[1] + to_rgb[band][2] * c[2];
    return v <= 0 ? 0 : v >= 1 ? 1 : 256. / 255 * sqrt(v);
}

/* --- tests ---------------------------------------------------------------------------------------------------------
 */

static void one_codec(size_t i)
{
    const plan *p = &rows[i].p;
    plan made = *p;
    bytes b;
    reading k;
    unsigned char *px;

    made.compression = rows[i].scheme;
    b = rows[i].how == BY_HAND ? by_hand(&made) : rows[i].how == BY_LOG ? by_log(&made) : written(&made, 1);
    if (start(&k, b.p, b.n, -1) != IIP_OK || !(px = read_level(&k, 0))) {
        fail_msg("compression %d, %s: %s", made.compression, p->name, k.e.detail);
        return;
    }
    assert_int_equal(k.info.level[0].w, p->w);
    assert_int_equal(k.info.level[0].h, p->h);
    assert_int_equal(k.info.bands, p->samples ? p->samples : 1);
    for (int y = 0; y < p->h; y++)
        for (int x = 0; x < p->w; x++)
            for (int c = 0; c < k.info.bands; c++) {
                const double want = rows[i].how == BY_LOG ? expected_log(x, y, k.info.bands, c) : expected(p, x, y, c);
                const double got = shown(&k, px, (size_t)((y * p->w + x) * k.info.bands + c));

                if (fabs(got - want) * 255 > rows[i].most + 1e-6)
                    fail_msg("compression %d, %s, at %d,%d,%d: %g, not %g", made.compression, p->name, x, y, c,
                             got * 255, want * 255);
            }
    free(px);
    stop(&k);
    free(b.p);
}

static void test_all(void **state)
{
    TIFFCodec *list = TIFFGetConfiguredCODECs();

    assert_non_null(list);
    for (TIFFCodec *c = list; c->name; c++) {
        int tried = 0;

        for (size_t i = 0; i < ROWS; i++)
            if (rows[i].scheme == c->scheme) {
                tried++;
                if (rows[i].how != ELSEWHERE)
                    one_codec(i);
            }
        if (!tried)
            fail_msg("this libtiff has %s, compression %d, which no test knows", c->name, c->scheme);
    }
    _TIFFfree(list);
}

/* Row y of 2700 pixels begins with y white ones, or black ones: every length of either colour there is a code for, and
 * the longest twice in a run. */
static void test_runs_on_words(void **state)
{
    enum { SIDE = 2700, ROW = (SIDE + 7) / 8 };
    bytes b = {0};
    TIFF *t = bytes_tiff(&b, "w");
    unsigned char *bits = calloc(SIDE, ROW), *px;
    reading k;

    for (int y = 0; y < SIDE; y++)
        for (int x = 0; x < SIDE; x++)
            if ((x < y) == y % 2)
                bits[y * ROW + x / 8] |= (unsigned char)(0x80 >> x % 8);
    TIFFSetField(t, TIFFTAG_IMAGEWIDTH, SIDE);
    TIFFSetField(t, TIFFTAG_IMAGELENGTH, SIDE);
    TIFFSetField(t, TIFFTAG_BITSPERSAMPLE, 1);
    TIFFSetField(t, TIFFTAG_PHOTOMETRIC, W0);
    TIFFSetField(t, TIFFTAG_COMPRESSION, COMPRESSION_CCITTRLEW);
    TIFFSetField(t, TIFFTAG_ROWSPERSTRIP, SIDE);
    assert_true(TIFFWriteEncodedStrip(t, 0, bits, ROW * SIDE) > 0);
    assert_int_equal(TIFFWriteDirectory(t), 1);
    TIFFClose(t);
    assert_int_equal(start(&k, b.p, b.n, -1), IIP_OK);
    assert_non_null(px = read_level(&k, 0));
    for (int y = 0; y < SIDE; y++)
        for (int x = 0; x < SIDE; x++)
            if (px[y * SIDE + x] != ((x < y) == y % 2 ? 0 : 255))
                fail_msg("row %d, pixel %d: %d", y, x, px[y * SIDE + x]);
    free(px);
    stop(&k);
    free(bits);
    free(b.p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_all), cmocka_unit_test(test_runs_on_words)};

    apr_initialize();
    TIFFSetWarningHandler(NULL);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
