/* SPDX-License-Identifier: Apache-2.0
 * TIFF writer: every compression with every kind of samples, read back by libtiff itself and compared with the samples
 * that went in; the tags are looked at. */
#include "tiff_plain.h"

static const char *const words[] = {"none", "lzw",  "deflate",
                                    "jpeg", "webp", "zstd"}; /* as IIPTIFFCompression has them */
static const int codes[] = {COMPRESSION_NONE, COMPRESSION_LZW,  COMPRESSION_ADOBE_DEFLATE,
                            COMPRESSION_JPEG, COMPRESSION_WEBP, COMPRESSION_ZSTD};

typedef struct {
    iip_sink k;
    bytes out;
    int writes, fail_at;
} collector;

static iip_status collect(iip_sink *k, const void *p, size_t n, iip_error *e)
{
    collector *c = (collector *)k;

    if (c->writes++ == c->fail_at)
        return iip_fail(e, IIP_E_ABORTED, 0, "gone");
    assert_int_equal(bytes_write(&c->out, (void *)(uintptr_t)p, (tmsize_t)n), n);
    return IIP_OK;
}

/* A smooth picture with a little texture, for lossy ones to come close to. */
static double value(int64_t x, int64_t y, int band, int two)
{
    const double wave = (double)((x * (2 + band) + y * (4 - band)) % 512) / 256 - 1;
    const double v = (wave < 0 ? -wave : wave) * 0.95 + (double)((x ^ y) & 3) / 64;

    return two ? v >= 0.5 : v;
}

static void put(unsigned char *to, iip_sample s, double v)
{
    if (s == IIP_U8)
        *to = (unsigned char)(v * 255);
    else if (s == IIP_U16)
        *(uint16_t *)(void *)to = (uint16_t)(v * 65535);
    else if (s == IIP_U32)
        *(uint32_t *)(void *)to = (uint32_t)(v * 4294967295.0);
    else
        *(float *)(void *)to = (float)(v * 3 - 1); /* floats have any range */
}

/* All samples of a picture, rows `more` bytes apart than need be. */
static unsigned char *pixels(const iip_raster *shape, int two, size_t more, size_t *stride)
{
    const size_t size = iip_sample_size(shape->sample), row = (size_t)shape->w * (size_t)shape->bands * size;
    unsigned char *px = malloc((row + more) * (size_t)shape->h);

    assert_non_null(px);
    memset(px, 0xee, (row + more) * (size_t)shape->h);
    for (int64_t y = 0; y < shape->h; y++)
        for (int64_t x = 0; x < shape->w; x++)
            for (int b = 0; b < shape->bands; b++)
                put(px + (size_t)y * (row + more) + ((size_t)x * (size_t)shape->bands + (size_t)b) * size,
                    shape->sample, value(x, y, b, two));
    *stride = row + more;
    return px;
}

/* rows: of a call, 0 = all in one. */
static iip_status encode(collector *c, const iip_raster *shape, const iip_enc_opts *o, int64_t rows, iip_error *e)
{
    const iip_encoder *enc = iip_encoder_by_ext("tif");
    size_t stride;
    unsigned char *px = pixels(shape, o->bilevel, rows ? 8 : 0, &stride);
    apr_pool_t *p;
    iip_writer_t *w;
    iip_status rv;

    apr_pool_create(&p, NULL);
    rv = enc->begin(&w, shape, o, &c->k, p, e);
    for (int64_t y = 0; y < shape->h && rv == IIP_OK; y += rows ? rows : shape->h) {
        iip_raster strip = *shape;

        strip.stride = stride;
        strip.px = px + (size_t)y * stride;
        strip.h = rows && rows < shape->h - y ? rows : shape->h - y;
        rv = enc->rows(w, &strip, e);
    }
    if (rv == IIP_OK)
        rv = enc->end(w, e);
    apr_pool_destroy(p);
    free(px);
    return rv;
}

static collector written_as(const iip_raster *shape, const iip_enc_opts *o, int64_t rows)
{
    collector c = {{collect}, {0}, 0, -1};
    iip_error e = {0};

    if (encode(&c, shape, o, rows, &e) != IIP_OK)
        fail_msg("%s", e.detail);
    return c;
}

static int number(TIFF *t, uint32_t tag)
{
    uint16_t v = 0;

    return TIFFGetFieldDefaulted(t, tag, &v) ? v : -1;
}

/* The pixels of an open file as `shape` has them; what stands before them is checked to be valid. */
static unsigned char *read_back(TIFF *t, const iip_raster *shape, int two)
{
    const size_t row = (size_t)shape->w * (size_t)shape->bands * iip_sample_size(shape->sample);
    unsigned char *px = malloc(row * (size_t)shape->h), *line;
    uint32_t w, h, rows;

    assert_non_null(px);
    assert_true(TIFFGetField(t, TIFFTAG_IMAGEWIDTH, &w) && TIFFGetField(t, TIFFTAG_IMAGELENGTH, &h));
    assert_true(TIFFGetField(t, TIFFTAG_ROWSPERSTRIP, &rows));
    assert_true(w == shape->w && h == shape->h && rows >= 1 && rows <= h);
    assert_false(TIFFIsTiled(t) || TIFFIsBigTIFF(t) || TIFFIsBigEndian(t));
    assert_int_equal(TIFFNumberOfDirectories(t), 1);
    TIFFSetDirectory(t, 0);
    if (number(t, TIFFTAG_COMPRESSION) == COMPRESSION_JPEG)
        TIFFSetField(t, TIFFTAG_JPEGCOLORMODE, JPEGCOLORMODE_RGB);
    line = malloc((size_t)TIFFScanlineSize(t));
    assert_non_null(line);
    for (uint32_t y = 0; y < h; y++) {
        assert_int_equal(TIFFReadScanline(t, line, y, 0), 1);
        if (two)
            for (size_t x = 0; x < row; x++)
                px[y * row + x] = line[x / 8] >> (7 - x % 8) & 1 ? 255 : 0;
        else
            memcpy(px + y * row, line, row);
    }
    free(line);
    return px;
}

static double mean_difference(const unsigned char *a, const unsigned char *b, size_t n)
{
    double sum = 0;

    for (size_t i = 0; i < n; i++)
        sum += abs(a[i] - b[i]);
    return sum / (double)n;
}

/* What the format can do with these samples. */
static int expected_code(int k, const iip_raster *s, int two)
{
    if (k == IIP_TIFF_JPEG && (two || s->sample != IIP_U8 || s->bands % 2 == 0))
        return COMPRESSION_ADOBE_DEFLATE;
    if (k == IIP_TIFF_WEBP && (two || s->sample != IIP_U8 || s->bands < 3))
        return COMPRESSION_ADOBE_DEFLATE;
    return codes[k];
}

static void check_one(int k, const iip_raster *shape, int two, int64_t rows)
{
    iip_enc_opts o = {.quality = -1, .compression = k, .bilevel = two};
    const int code = expected_code(k, shape, two), colour = shape->bands > 2;
    const size_t n = (size_t)(shape->w * shape->h * shape->bands) * iip_sample_size(shape->sample);
    collector c = written_as(shape, &o, rows);
    size_t stride;
    unsigned char *want = pixels(shape, two, 0, &stride), *got;
    TIFF *t = bytes_tiff(&c.out, "r");
    uint16_t extras, *extra;

    assert_non_null(t);
    assert_int_equal(number(t, TIFFTAG_COMPRESSION), code);
    assert_int_equal(number(t, TIFFTAG_BITSPERSAMPLE), two ? 1 : 8 * (int)iip_sample_size(shape->sample));
    assert_int_equal(number(t, TIFFTAG_SAMPLESPERPIXEL), shape->bands);
    assert_int_equal(number(t, TIFFTAG_SAMPLEFORMAT),
                     shape->sample == IIP_F32 ? SAMPLEFORMAT_IEEEFP : SAMPLEFORMAT_UINT);
    assert_int_equal(number(t, TIFFTAG_PLANARCONFIG), PLANARCONFIG_CONTIG);
    assert_int_equal(number(t, TIFFTAG_ORIENTATION), ORIENTATION_TOPLEFT);
    assert_int_equal(number(t, TIFFTAG_PHOTOMETRIC), !colour                    ? PHOTOMETRIC_MINISBLACK
                                                     : code == COMPRESSION_JPEG ? PHOTOMETRIC_YCBCR
                                                                                : PHOTOMETRIC_RGB);
    assert_true(TIFFGetFieldDefaulted(t, TIFFTAG_EXTRASAMPLES, &extras, &extra));
    assert_int_equal(extras, shape->bands % 2 == 0);
    if (extras)
        assert_int_equal(extra[0], EXTRASAMPLE_UNASSALPHA);
    got = read_back(t, shape, two);
    if (code == COMPRESSION_JPEG || code == COMPRESSION_WEBP)
        assert_true(mean_difference(got, want, n) < 6);
    else
        assert_memory_equal(got, want, n);
    TIFFClose(t);
    free(got);
    free(want);
    free(c.out.p);
}

static void every_kind(void **state)
{
    static const iip_sample samples[] = {IIP_U8, IIP_U16, IIP_U32, IIP_F32};

    for (int k = 0; k < 6; k++)
        for (int s = 0; s < 4; s++)
            for (int bands = 1; bands <= 4; bands++) {
                check_one(k, &(iip_raster){.w = 301, .h = 217, .bands = bands, .sample = samples[s]}, 0, 0);
                check_one(k, &(iip_raster){.w = 1, .h = 1, .bands = bands, .sample = samples[s]}, 0, 0);
            }
}

/* More rows than a strip has, and more than one call; a row that is longer than a strip is meant to be. */
static void many_strips(void **state)
{
    for (int k = 0; k < 6; k++) {
        check_one(k, &(iip_raster){.w = 700, .h = 1003, .bands = 3, .sample = IIP_U8}, 0, 0);
        check_one(k, &(iip_raster){.w = 700, .h = 1003, .bands = 3, .sample = IIP_U8}, 0, 7);
        check_one(k, &(iip_raster){.w = 20001, .h = 35, .bands = 1, .sample = IIP_F32}, 0, 64);
    }
    check_one(IIP_TIFF_DEFLATE, &(iip_raster){.w = 66000, .h = 17, .bands = 3, .sample = IIP_U8}, 0, 0);
}

static void two_levels(void **state)
{
    for (int k = 0; k < 6; k++)
        for (int w = 1; w < 20; w++)
            check_one(k, &(iip_raster){.w = w, .h = 3, .bands = 1, .sample = IIP_U8}, 1, w % 2);
    check_one(IIP_TIFF_LZW, &(iip_raster){.w = 5001, .h = 1300, .bands = 1, .sample = IIP_U8}, 1, 0);
}

/* Too wide for what JPEG and WebP can hold: exact instead. */
static void too_wide(void **state)
{
    static const struct {
        int k, w, code;
    } cases[] = {{IIP_TIFF_JPEG, 65500, COMPRESSION_JPEG},
                 {IIP_TIFF_JPEG, 65501, COMPRESSION_ADOBE_DEFLATE},
                 {IIP_TIFF_WEBP, 16383, COMPRESSION_WEBP},
                 {IIP_TIFF_WEBP, 16384, COMPRESSION_ADOBE_DEFLATE}};

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const iip_enc_opts o = {.quality = -1, .compression = cases[i].k};
        collector c = written_as(&(iip_raster){.w = cases[i].w, .h = 3, .bands = 3, .sample = IIP_U8}, &o, 0);
        TIFF *t = bytes_tiff(&c.out, "r");

        assert_int_equal(number(t, TIFFTAG_COMPRESSION), cases[i].code);
        TIFFClose(t);
        free(c.out.p);
    }
}

static size_t size_of(int k, int quality)
{
    const iip_enc_opts o = {.quality = quality, .compression = k};
    collector c = written_as(&(iip_raster){.w = 400, .h = 300, .bands = 3, .sample = IIP_U8}, &o, 0);

    free(c.out.p);
    return c.out.n;
}

/* The number is what the compression takes, brought into its range; -1 its own. */
static void qualities(void **state)
{
    const iip_raster shape = {.w = 400, .h = 300, .bands = 3, .sample = IIP_U8};
    const iip_enc_opts whole = {.quality = 0, .compression = IIP_TIFF_WEBP};
    collector c;
    TIFF *t;
    uint16_t sub[2];
    size_t stride;
    unsigned char *want, *got;

    assert_true(size_of(IIP_TIFF_DEFLATE, 0) > size_of(IIP_TIFF_DEFLATE, 1));
    assert_true(size_of(IIP_TIFF_DEFLATE, 1) > size_of(IIP_TIFF_DEFLATE, 9));
    assert_int_equal(size_of(IIP_TIFF_DEFLATE, -1), size_of(IIP_TIFF_DEFLATE, 1));
    assert_int_equal(size_of(IIP_TIFF_DEFLATE, 75), size_of(IIP_TIFF_DEFLATE, 9));
    assert_true(size_of(IIP_TIFF_ZSTD, 1) > size_of(IIP_TIFF_ZSTD, 19));
    assert_int_equal(size_of(IIP_TIFF_ZSTD, 0), size_of(IIP_TIFF_ZSTD, 1));
    assert_int_equal(size_of(IIP_TIFF_ZSTD, 100), size_of(IIP_TIFF_ZSTD, 19));
    assert_true(size_of(IIP_TIFF_JPEG, 30) < size_of(IIP_TIFF_JPEG, 75));
    assert_int_equal(size_of(IIP_TIFF_JPEG, -1), size_of(IIP_TIFF_JPEG, 75));
    assert_true(size_of(IIP_TIFF_WEBP, 30) < size_of(IIP_TIFF_WEBP, 95));
    assert_int_equal(size_of(IIP_TIFF_NONE, 9), size_of(IIP_TIFF_NONE, -1));

    c = written_as(&shape, &whole, 0); /* lossless */
    t = bytes_tiff(&c.out, "r");
    want = pixels(&shape, 0, 0, &stride);
    got = read_back(t, &shape, 0);
    assert_memory_equal(got, want, stride * 300);
    TIFFClose(t);
    free(c.out.p);
    free(got);
    free(want);

    for (int q = 89; q <= 90; q++) {
        c = written_as(&shape, &(iip_enc_opts){.quality = q, .compression = IIP_TIFF_JPEG}, 0);
        t = bytes_tiff(&c.out, "r");
        assert_true(TIFFGetFieldDefaulted(t, TIFFTAG_YCBCRSUBSAMPLING, &sub[0], &sub[1]));
        assert_int_equal(sub[0], q < 90 ? 2 : 1);
        assert_int_equal(sub[1], q < 90 ? 2 : 1);
        TIFFClose(t);
        free(c.out.p);
    }
}

static void metadata(void **state)
{
    const iip_raster shape = {.w = 40, .h = 30, .bands = 3, .sample = IIP_U8};
    unsigned char icc[700], xmp[] = "<x:xmpmeta xmlns:x='adobe:ns:meta/'/>";
    iip_enc_opts o = {.quality = -1,
                      .compression = IIP_TIFF_DEFLATE,
                      .icc = icc,
                      .icc_len = sizeof icc,
                      .xmp = xmp,
                      .xmp_len = sizeof xmp - 1,
                      .res_x = 300 / 2.54,
                      .res_y = 150 / 2.54,
                      .copyright = "(c) somebody"};
    collector c;
    TIFF *t;
    void *data;
    uint32_t n;
    float res;
    char *text;

    for (size_t i = 0; i < sizeof icc; i++)
        icc[i] = (unsigned char)(i * 7);
    c = written_as(&shape, &o, 0);
    t = bytes_tiff(&c.out, "r");
    assert_true(TIFFGetField(t, TIFFTAG_ICCPROFILE, &n, &data) && n == sizeof icc);
    assert_memory_equal(data, icc, n);
    assert_true(TIFFGetField(t, TIFFTAG_XMLPACKET, &n, &data) && n == sizeof xmp - 1);
    assert_memory_equal(data, xmp, n);
    assert_int_equal(number(t, TIFFTAG_RESOLUTIONUNIT), RESUNIT_INCH);
    assert_true(TIFFGetField(t, TIFFTAG_XRESOLUTION, &res));
    assert_true(res > 299.99 && res < 300.01);
    assert_true(TIFFGetField(t, TIFFTAG_YRESOLUTION, &res));
    assert_true(res > 149.99 && res < 150.01);
    assert_true(TIFFGetField(t, TIFFTAG_COPYRIGHT, &text));
    assert_string_equal(text, o.copyright);
    TIFFClose(t);
    free(c.out.p);

    c = written_as(&shape, &(iip_enc_opts){.quality = -1}, 0);
    t = bytes_tiff(&c.out, "r");
    assert_false(TIFFGetField(t, TIFFTAG_ICCPROFILE, &n, &data));
    assert_false(TIFFGetField(t, TIFFTAG_XMLPACKET, &n, &data));
    assert_false(TIFFGetField(t, TIFFTAG_XRESOLUTION, &res));
    assert_false(TIFFGetField(t, TIFFTAG_COPYRIGHT, &text));
    TIFFClose(t);
    free(c.out.p);
}

/* A camera's block, in either order of bytes: texts, exposure (a fraction), aperture's sign, version, place. */
static size_t exif_block(unsigned char *p, int little)
{
    static const struct {
        int at, size;
        uint32_t v;
    } numbers[] = {{2, 2, 42},       {4, 4, 8},       {8, 2, 4},
                   {10, 2, 0x10f},   {12, 2, 2},      {14, 4, 6},
                   {18, 4, 62}, /* Make */
                   {22, 2, 0x112},   {24, 2, 3},      {26, 4, 1},
                   {30, 2, 6},       {34, 2, 0x8769}, {36, 2, 4},
                   {38, 4, 1},       {42, 4, 68},     {46, 2, 0x8825},
                   {48, 2, 4},       {50, 4, 1},      {54, 4, 138},
                   {68, 2, 4},       {70, 2, 0x829a}, {72, 2, 5},
                   {74, 4, 1},       {78, 4, 122}, /* ExposureTime 1/250 */
                   {82, 2, 0x8827},  {84, 2, 3},      {86, 4, 1},
                   {90, 2, 400},                                  /* ISO */
                   {94, 2, 0x9000},  {96, 2, 7},      {98, 4, 4}, /* ExifVersion */
                   {106, 2, 0x9204}, {108, 2, 10},    {110, 4, 1},
                   {114, 4, 130}, /* ExposureBias -2/3 */
                   {122, 4, 1},      {126, 4, 250},   {130, 4, (uint32_t)-2},
                   {134, 4, 3},      {138, 2, 2},     {140, 2, 1},
                   {142, 2, 2},      {144, 4, 2}, /* GPSLatitudeRef N */
                   {152, 2, 2},      {154, 2, 5},     {156, 4, 3},
                   {160, 4, 168}, /* 52 30 36.5 */
                   {168, 4, 52},     {172, 4, 1},     {176, 4, 30},
                   {180, 4, 1},      {184, 4, 365},   {188, 4, 10}};

    memset(p, 0, 192);
    memcpy(p, little ? "II" : "MM", 2);
    memcpy(p + 62, "Maker", 5);
    memcpy(p + 102, "0230", 4);
    p[148] = 'N';
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        for (int k = 0; k < numbers[i].size; k++)
            p[numbers[i].at + k] = (unsigned char)(numbers[i].v >> 8 * (little ? k : numbers[i].size - 1 - k));
    return 192;
}

static void exif_written(void **state)
{
    const iip_raster shape = {.w = 41, .h = 30, .bands = 3, .sample = IIP_U8};
    unsigned char block[192];
    apr_pool_t *p;

    apr_pool_create(&p, NULL);
    for (int little = 0; little < 2; little++) {
        iip_enc_opts o = {.quality = -1, .compression = IIP_TIFF_LZW};
        size_t stride;
        unsigned char *want = pixels(&shape, 0, 0, &stride), *got;
        uint64_t exif, gps;
        uint16_t n, *iso;
        float time, bias;
        double *place;
        char *text;
        void *version;
        iip_error e;
        collector c;
        TIFF *t;

        assert_int_equal(iip_exif_answer(block, exif_block(block, little), 0, 0, NULL, &o.exif, &o.exif_len, p, &e), 0);
        c = written_as(&shape, &o, 0);
        t = bytes_tiff(&c.out, "r");
        got = read_back(t, &shape, 0);
        assert_memory_equal(got, want, stride * 30);
        assert_int_equal(number(t, TIFFTAG_ORIENTATION), ORIENTATION_TOPLEFT);
        assert_true(TIFFGetField(t, TIFFTAG_MAKE, &text));
        assert_string_equal(text, "Maker");
        assert_true(TIFFGetField(t, TIFFTAG_EXIFIFD, &exif) && TIFFGetField(t, TIFFTAG_GPSIFD, &gps));
        assert_true(TIFFReadEXIFDirectory(t, exif));
        assert_true(TIFFGetField(t, EXIFTAG_EXPOSURETIME, &time) && time > 0.003999 && time < 0.004001);
        assert_true(TIFFGetField(t, EXIFTAG_EXPOSUREBIASVALUE, &bias) && bias > -0.66667 && bias < -0.66666);
        assert_true(TIFFGetField(t, EXIFTAG_ISOSPEEDRATINGS, &n, &iso) && n == 1 && iso[0] == 400);
        assert_true(TIFFGetField(t, EXIFTAG_EXIFVERSION, &version));
        assert_memory_equal(version, "0230", 4);
        assert_true(TIFFReadGPSDirectory(t, gps));
        assert_true(TIFFGetField(t, GPSTAG_LATITUDEREF, &text));
        assert_string_equal(text, "N");
        assert_true(TIFFGetField(t, GPSTAG_LATITUDE, &place));
        assert_true(place[0] == 52 && place[1] == 30 && place[2] > 36.49 && place[2] < 36.51);
        TIFFClose(t);
        free(c.out.p);
        free(got);
        free(want);
    }
    apr_pool_destroy(p);
}

static void failures(void **state)
{
    const iip_raster good = {.w = 100, .h = 100, .bands = 3, .sample = IIP_U8};
    const iip_enc_opts o = {.quality = -1, .compression = IIP_TIFF_DEFLATE};
    const iip_encoder *enc = iip_encoder_by_ext("tif");
    collector c = {{collect}, {0}, 0, 0};
    iip_raster shape;
    iip_writer_t *w;
    apr_pool_t *p;
    size_t stride;
    unsigned char *px = pixels(&good, 0, 0, &stride);
    iip_error e = {0};

    assert_int_equal(encode(&c, &good, &o, 0, &e), IIP_E_ABORTED); /* the sink */

    apr_pool_create(&p, NULL);
    for (int i = 0; i < 5; i++) {
        shape = good;
        if (i == 0)
            shape.w = 0;
        else if (i == 1)
            shape.h = INT64_C(1) << 31;
        else if (i == 2)
            shape.bands = 5;
        else if (i == 3)
            shape.sample = IIP_F64;
        else
            shape.bands = 0;
        assert_int_equal(enc->begin(&w, &shape, &o, &c.k, p, &e), i < 2 ? IIP_E_LIMIT : IIP_E_FEATURE);
    }
    shape = good;
    shape.px = px;
    shape.stride = stride;
    assert_int_equal(enc->begin(&w, &good, &o, &c.k, p, &e), IIP_OK);
    shape.h = 60;
    assert_int_equal(enc->rows(w, &shape, &e), IIP_OK);
    assert_int_equal(enc->end(w, &e), IIP_E_IO); /* rows are missing */
    assert_int_equal(enc->rows(w, &shape, &e), IIP_E_IO);
    assert_int_equal(c.out.n, 0); /* nothing but whole files leaves */
    apr_pool_destroy(p);
    free(px);
}

/* libtiff built without a compression: its name is worth a warning, and deflate takes its place. */
static void lacking(void **state)
{
    const iip_raster shape = {.w = 50, .h = 40, .bands = 3, .sample = IIP_U8};
    const iip_directive *d = iip_directives;
    iip_settings s;
    apr_pool_t *p;
    TIFFCodec *without = TIFFRegisterCODEC(COMPRESSION_ZSTD, "without", NULL);
    collector c;
    TIFF *t;

    apr_pool_create(&p, NULL);
    while (strcmp(d->name, "IIPTIFFCompression"))
        d++;
    iip_settings_unset(&s);
    for (int k = 0; k < 6; k++) {
        assert_int_equal(iip_tiff_writes(k), k != IIP_TIFF_ZSTD);
        assert_ptr_equal(iip_setting_set(&s, d, 1, &words[k], 0, p), k == IIP_TIFF_ZSTD ? iip_setting_unbuilt : NULL);
        assert_int_equal(s.tiff_compression, k == IIP_TIFF_ZSTD ? IIP_TIFF_DEFLATE : k);
    }
    c = written_as(&shape, &(iip_enc_opts){.quality = -1, .compression = IIP_TIFF_ZSTD}, 0);
    t = bytes_tiff(&c.out, "r");
    assert_int_equal(number(t, TIFFTAG_COMPRESSION), COMPRESSION_ADOBE_DEFLATE);
    TIFFClose(t);
    free(c.out.p);
    TIFFUnRegisterCODEC(without);
    assert_true(iip_tiff_writes(IIP_TIFF_ZSTD));
    apr_pool_destroy(p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_kind),   cmocka_unit_test(many_strips), cmocka_unit_test(two_levels),
        cmocka_unit_test(too_wide),     cmocka_unit_test(qualities),   cmocka_unit_test(metadata),
        cmocka_unit_test(exif_written), cmocka_unit_test(failures),    cmocka_unit_test(lacking),
    };
    int bad;

    apr_initialize();
    bad = cmocka_run_group_tests(tests, NULL, NULL);
    apr_terminate();
    return bad;
}
