/* SPDX-License-Identifier: Apache-2.0
 * TIFF reader: what good files give. libtiff writes the files from a formula; expectations are the formula, for JPEG
 * what libtiff itself makes of the same block, for a stored tile what libjpeg makes of it. */
#include "tiff_plain.h"
#include <jpeglib.h>
#include <malloc.h>
#include <math.h>
#include <pthread.h>

enum { G = PHOTOMETRIC_MINISBLACK, R = PHOTOMETRIC_RGB, W0 = PHOTOMETRIC_MINISWHITE };

static const int exact_codecs[] = {COMPRESSION_NONE,    COMPRESSION_LZW,      COMPRESSION_ADOBE_DEFLATE,
                                   COMPRESSION_DEFLATE, COMPRESSION_PACKBITS, COMPRESSION_LZMA,
                                   COMPRESSION_ZSTD,    COMPRESSION_WEBP,     COMPRESSION_LERC};

static const plan layouts[] = {
    {"grey tiles", 200, 130, 48, 32, .photometric = G},
    {"rgb tiles", 200, 130, 64, 64, .photometric = R, .samples = 3},
    {"one tile larger than the picture", 50, 40, 256, 128, .photometric = R, .samples = 3},
    {"rgb strips", 200, 130, .rows = 16, .photometric = R, .samples = 3},
    {"one strip", 200, 130, .rows = 1000, .photometric = R, .samples = 3},
    {"rows as strips", 60, 33, .rows = 1, .photometric = G},
    {"planar tiles", 100, 90, 32, 64, .photometric = R, .samples = 3, .planar = 1},
    {"planar strips", 100, 90, .rows = 20, .photometric = R, .samples = 3, .planar = 1},
    {"rgba", 100, 90, 32, 64, .photometric = R, .samples = 4, .alpha = EXTRASAMPLE_UNASSALPHA},
    {"16 bits", 100, 90, 32, 64, .photometric = R, .samples = 3, .bits = 16},
    {"16 bits, strips", 100, 90, .rows = 7, .photometric = G, .bits = 16},
    {"32 bits", 100, 90, 32, 32, .photometric = G, .bits = 32},
    {"float", 100, 90, 32, 32, .photometric = G, .bits = 32, .format = SAMPLEFORMAT_IEEEFP},
    {"double", 100, 90, .photometric = G, .bits = 64, .format = SAMPLEFORMAT_IEEEFP},
};

/* What the formula gives for a band as the decoder must deliver it, for files whose samples are delivered as stored. */
static void check_samples(const plan *p, const reading *k, const unsigned char *px)
{
    const size_t pixel = pixel_size(k), size = iip_sample_size(k->info.sample);
    unsigned char want[8];
    plan one = *p;

    for (int y = 0; y < p->h; y++)
        for (int x = 0; x < p->w; x++)
            for (int b = 0; b < k->info.bands; b++) {
                memset(want, 0, sizeof want);
                put_sample(want, &one, 0, sample_at(p, x, y, b));
                if (memcmp(px + ((size_t)y * (size_t)p->w + (size_t)x) * pixel + (size_t)b * size, want, size))
                    fail_msg("%s, compression %d, %s: differs at %d,%d band %d", p->name, p->compression, p->mode, x, y,
                             b);
            }
}

static void one_round(const plan *p)
{
    bytes b = written(p, 1);
    reading k;
    unsigned char *px;

    assert_int_equal(iip_decoder_tiff.sniff(b.p, b.n), 100);
    assert_int_equal(start(&k, b.p, b.n, -1), IIP_OK);
    assert_int_equal(k.info.levels, 1);
    assert_int_equal(k.info.tiled, p->tile_w > 0);
    assert_int_equal(k.info.bits, p->bits ? p->bits : 8);
    assert_int_equal(k.info.bands, p->samples ? p->samples : 1);
    px = read_level(&k, 0);
    if (!px)
        fail_msg("%s, compression %d, %s: %s", p->name, p->compression, p->mode, k.e.detail);
    check_samples(p, &k, px);
    free(px);
    stop(&k);
    free(b.p);
}

static void test_round_trips(void **state)
{
    static const char *const modes[] = {"wl", "wb", "wl8", "wb8"};
    int n = 0;

    for (size_t i = 0; i < sizeof layouts / sizeof *layouts; i++)
        for (size_t c = 0; c < sizeof exact_codecs / sizeof *exact_codecs; c++)
            for (size_t m = 0; m < 4; m++) {
                plan p = layouts[i];

                p.compression = exact_codecs[c];
                p.mode = modes[m];
                if (!TIFFIsCODECConfigured((uint16_t)p.compression) || (m > 1 && c > 2) ||
                    (p.compression == COMPRESSION_WEBP && (p.bits || p.samples != 3 || p.planar)))
                    continue;
                one_round(&p);
                n++;
                if ((p.compression == COMPRESSION_LZW || p.compression == COMPRESSION_ZSTD) && p.bits <= 16) {
                    p.predictor = 2;
                    one_round(&p);
                }
            }
    assert_true(n > 150);
}

/* Depths, palettes, inversion, fax: value of the formula -> delivered bands. */
static void test_kinds(void **state)
{
    static const plan kinds[] = {
        {"1 bit", 133, 70, .photometric = G, .bits = 1, .rows = 9},
        {"1 bit, white is 0", 133, 70, .photometric = W0, .bits = 1, .tile_w = 32, .tile_h = 16},
        {"1 bit, last bit first", 133, 70, .photometric = G, .bits = 1, .fill = FILLORDER_LSB2MSB},
        {"1 bit, last bit first, packed", 133, 70, .photometric = G, .bits = 1, .fill = FILLORDER_LSB2MSB,
         .compression = COMPRESSION_PACKBITS},
        {"group 4", 133, 70, .photometric = W0, .bits = 1, .compression = COMPRESSION_CCITTFAX4},
        {"group 4 tiles, last bit first", 133, 70, 64, 32, .photometric = W0, .bits = 1, .fill = FILLORDER_LSB2MSB,
         .compression = COMPRESSION_CCITTFAX4},
        {"group 3", 133, 70, .photometric = W0, .bits = 1, .compression = COMPRESSION_CCITTFAX3},
        {"modified Huffman", 133, 70, .photometric = W0, .bits = 1, .compression = COMPRESSION_CCITTRLE},
        {"JBIG", 128, 70, .photometric = W0, .bits = 1, .rows = 70, .compression = COMPRESSION_JBIG},
        {"2 bits", 133, 70, .photometric = G, .bits = 2, .tile_w = 64, .tile_h = 64},
        {"4 bits", 133, 70, .photometric = G, .bits = 4, .compression = COMPRESSION_LZW},
        {"4 bits, white is 0", 133, 70, .photometric = W0, .bits = 4},
        {"8 bits, white is 0", 133, 70, .photometric = W0},
        {"palette of 16", 133, 70, .photometric = PHOTOMETRIC_PALETTE, .bits = 4},
        {"palette of 256", 133, 70, 32, 32, .photometric = PHOTOMETRIC_PALETTE,
         .compression = COMPRESSION_ADOBE_DEFLATE},
        {"CMYK", 133, 70, 32, 32, .photometric = PHOTOMETRIC_SEPARATED, .samples = 4, .compression = COMPRESSION_LZW},
        {"five bands", 60, 50, 32, 32, .photometric = G, .samples = 5},
        {"five planes", 60, 50, 32, 32, .photometric = G, .samples = 5, .planar = 1,
         .compression = COMPRESSION_ADOBE_DEFLATE},
        {"extra sample dropped", 60, 50, 32, 32, .photometric = R, .samples = 4},
        {"extra plane dropped", 60, 50, 32, 32, .photometric = R, .samples = 4, .planar = 1},
    };

    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        const plan *p = &kinds[i];
        const int bits = p->bits ? p->bits : 8, top = (1 << bits) - 1, palette = p->photometric == PHOTOMETRIC_PALETTE;
        bytes b;
        reading k;
        unsigned char *px;

        if (p->compression && !TIFFIsCODECConfigured((uint16_t)p->compression))
            continue;
        b = written(p, 1);
        if (start(&k, b.p, b.n, -1) != IIP_OK || !(px = read_level(&k, 0))) {
            fail_msg("%s: %s", p->name, k.e.detail);
            return;
        }
        assert_int_equal(k.info.bilevel, bits == 1);
        assert_int_equal(k.info.bands, palette || p->photometric == R ? 3 : p->samples ? p->samples : 1);
        assert_int_equal(k.info.space, palette || p->photometric == R            ? IIP_RGB
                                       : p->photometric == PHOTOMETRIC_SEPARATED ? IIP_CMYK
                                       : p->samples > 4                          ? IIP_MULTIBAND
                                                                                 : IIP_GREY);
        for (int y = 0; y < p->h; y++)
            for (int x = 0; x < p->w; x++)
                for (int c = 0; c < k.info.bands; c++) {
                    int v = (int)sample_at(p, x, y, palette ? 0 : c);
                    int want = palette ? (v * 7 + c * 50) & 255 : (p->photometric == W0 ? top - v : v) * 255 / top;

                    if (px[(y * p->w + x) * k.info.bands + c] != want)
                        fail_msg("%s at %d,%d: %d, not %d", p->name, x, y, px[(y * p->w + x) * k.info.bands + c], want);
                }
        free(px);
        stop(&k);
        free(b.p);
    }
}

static void test_associated_alpha(void **state)
{
    static const plan plans[] = {
        {"8", 90, 70, 32, 32, .photometric = R, .samples = 4, .alpha = EXTRASAMPLE_ASSOCALPHA},
        {"16", 90, 70, 32, 32, .photometric = G, .samples = 2, .bits = 16, .alpha = EXTRASAMPLE_ASSOCALPHA,
         .planar = 1},
    };

    for (int i = 0; i < 2; i++) {
        const plan *p = &plans[i];
        const double top = p->bits ? 65535 : 255;
        bytes b = written(p, 1);
        reading k;
        unsigned char *px;

        assert_int_equal(start(&k, b.p, b.n, 0), IIP_OK);
        assert_int_equal(k.info.alpha, 1);
        assert_non_null(px = read_level(&k, 0));
        for (int y = 0; y < p->h; y++)
            for (int x = 0; x < p->w; x++)
                for (int c = 0; c < p->samples; c++) {
                    double a = sample_at(p, x, y, p->samples - 1), v = sample_at(p, x, y, c);
                    double want = c == p->samples - 1 ? a : a > 0 ? fmin(v * top / a, top) : 0;
                    size_t at = (size_t)((y * p->w + x) * p->samples + c);
                    double got = p->bits ? ((uint16_t *)(void *)px)[at] : px[at];

                    assert_true(fabs(got - want) <= .5001);
                }
        free(px);
        stop(&k);
        free(b.p);
    }
}

/* Subsampled YCbCr by the formula of TIFF 6.0 section 21. */
static void test_ycbcr(void **state)
{
    static const int subs[][2] = {{1, 1}, {2, 1}, {1, 2}, {2, 2}, {4, 2}, {4, 4}};

    for (int i = 0; i < 12; i++) {
        const int sx = subs[i / 2][0], sy = subs[i / 2][1];
        plan p = {"ycc",
                  117,
                  75,
                  .photometric = PHOTOMETRIC_YCBCR,
                  .samples = 3,
                  .sub_x = sx,
                  .sub_y = sy,
                  .rows = 16,
                  .compression = i & 1 ? COMPRESSION_LZW : COMPRESSION_NONE};
        bytes b;
        reading k;
        unsigned char *px;

        if (i & 2)
            p.tile_w = p.tile_h = 32;
        b = written(&p, 1);
        assert_int_equal(start(&k, b.p, b.n, 0), IIP_OK);
        assert_int_equal(k.info.space, IIP_RGB);
        if (!(px = read_level(&k, 0)))
            fail_msg("%d x %d: %s", sx, sy, k.e.detail);
        for (int y = 0; y < p.h; y++)
            for (int x = 0; x < p.w; x++) {
                double l = sample_at(&p, x, y, 0);
                double cb = ((int)sample_at(&p, x / sx, y / sy, 1) - 128) * 1.0,
                       cr = (int)sample_at(&p, x / sx, y / sy, 2) - 128;
                double want[3] = {l + 1.402 * cr, l - .344136 * cb - .714136 * cr, l + 1.772 * cb};

                for (int c = 0; c < 3; c++)
                    assert_true(fabs(px[(y * p.w + x) * 3 + c] - fmax(0, fmin(255, want[c]))) <= 1);
            }
        free(px);
        stop(&k);
        free(b.p);
    }
}

static const plan jpegs[] = {
    {"grey", 200, 130, 64, 48, .photometric = G},
    {"4:2:0", 200, 130, 64, 64, .photometric = PHOTOMETRIC_YCBCR, .samples = 3, .sub_x = 2, .sub_y = 2},
    {"4:4:4", 200, 130, 64, 64, .photometric = PHOTOMETRIC_YCBCR, .samples = 3, .sub_x = 1, .sub_y = 1},
    {"rgb", 200, 130, 64, 64, .photometric = R, .samples = 3},
    {"cmyk", 200, 130, 64, 64, .photometric = PHOTOMETRIC_SEPARATED, .samples = 4},
    {"strips", 200, 130, .rows = 16, .photometric = PHOTOMETRIC_YCBCR, .samples = 3, .sub_x = 2, .sub_y = 2},
    {"planes", 200, 130, 64, 64, .photometric = R, .samples = 3, .planar = 1},
};

static void test_jpeg(void **state)
{
    for (size_t i = 0; i < sizeof jpegs / sizeof *jpegs; i++) {
        plan p = jpegs[i];
        const int samples = p.samples ? p.samples : 1;
        unsigned char *px, *block;
        bytes b;
        reading k;
        TIFF *t;

        p.compression = COMPRESSION_JPEG;
        b = written(&p, 1);
        if (start(&k, b.p, b.n, 0) != IIP_OK || !(px = read_level(&k, 0))) {
            fail_msg("%s: %s", p.name, k.e.detail);
            return;
        }
        assert_non_null(t = bytes_tiff(&b, "r"));
        if (p.photometric == PHOTOMETRIC_YCBCR)
            TIFFSetField(t, TIFFTAG_JPEGCOLORMODE, JPEGCOLORMODE_RGB);
        block = malloc((size_t)(p.tile_w ? TIFFTileSize(t) : TIFFStripSize(t)));
        for (int y = 0; y < p.h; y++)
            for (int x = 0; x < p.w; x++)
                for (int c = 0; c < samples; c++) {
                    const int bw = p.tile_w ? p.tile_w : p.w, bh = p.tile_w ? p.tile_h : p.rows;
                    const int each = p.planar ? 1 : samples, at = ((y % bh) * bw + x % bw) * each + (p.planar ? 0 : c);
                    static uint32_t last;
                    uint32_t n =
                        p.tile_w ? TIFFComputeTile(t, (uint32_t)x, (uint32_t)y, 0, (uint16_t)c) : (uint32_t)(y / bh);

                    if ((!x && !y && !c) || n != last)
                        assert_true((p.tile_w ? TIFFReadEncodedTile(t, n, block, -1)
                                              : TIFFReadEncodedStrip(t, n, block, -1)) > 0);
                    last = n;
                    assert_int_equal(px[(y * p.w + x) * samples + c], block[at]);
                }
        TIFFClose(t);
        free(block);
        free(px);
        stop(&k);
        free(b.p);
    }
}

/* The subsampling tag lies: the stream decides. */
static void test_jpeg_wrong_tag(void **state)
{
    plan p = jpegs[1];
    bytes b;
    reading k;
    unsigned char *a, *c;
    int found = 0;

    p.compression = COMPRESSION_JPEG;
    p.mode = "wl";
    b = written(&p, 1);
    assert_int_equal(start(&k, b.p, b.n, 0), IIP_OK);
    assert_non_null(a = read_level(&k, 0));
    stop(&k);
    for (size_t i = 8; i + 12 <= b.n; i++) /* the entry: tag 530, SHORT, 2 values, 2 2 */
        if (!memcmp(b.p + i, "\x12\x02\x03\0\x02\0\0\0\x02\0\x02\0", 12)) {
            b.p[i + 8] = b.p[i + 10] = 1;
            found++;
        }
    assert_int_equal(found, 1);
    assert_int_equal(start(&k, b.p, b.n, 0), IIP_OK);
    c = read_level(&k, 0);
    if (!c)
        fail_msg("%s", k.e.detail);
    assert_memory_equal(a, c, (size_t)(3 * p.w * p.h));
    free(a);
    free(c);
    stop(&k);
    free(b.p);
}

/* --- stored tiles as files ---------------------------------------------------------------------------------------- */

static void plain_jpeg(const unsigned char *p, size_t n, int w, int h, int samples, unsigned char *out)
{
    struct jpeg_decompress_struct d;
    struct jpeg_error_mgr err;

    d.err = jpeg_std_error(&err);
    jpeg_create_decompress(&d);
    jpeg_mem_src(&d, p, n);
    assert_int_equal(jpeg_read_header(&d, TRUE), JPEG_HEADER_OK);
    jpeg_start_decompress(&d);
    assert_int_equal(d.output_width, w);
    assert_int_equal(d.output_height, h);
    assert_int_equal(d.output_components, samples);
    for (int y = 0; y < h; y++) {
        JSAMPROW row = out + (size_t)y * (size_t)(w * samples);

        jpeg_read_scanlines(&d, &row, 1);
    }
    jpeg_finish_decompress(&d);
    assert_int_equal(err.num_warnings, 0);
    jpeg_destroy_decompress(&d);
}

static void test_raw(void **state)
{
    for (size_t i = 0; i < sizeof jpegs / sizeof *jpegs; i++) {
        plan p = jpegs[i];
        const int samples = p.samples ? p.samples : 1;
        const int can = p.tile_w && !p.planar && samples != 4;
        unsigned char got[64 * 64 * 4], want[64 * 64 * 4], file[32768];
        bytes b;
        reading k;

        p.compression = COMPRESSION_JPEG;
        b = written(&p, 1);
        assert_int_equal(start(&k, b.p, b.n, 0), IIP_OK);
        for (int ty = 0; ty < 3; ty++)
            for (int tx = 0; tx < 4; tx++) {
                iip_span s[3];
                iip_format f = IIP_FMT_NONE;
                int n = 0;
                size_t len = 0;
                iip_status rv = iip_decoder_tiff.raw(k.r, 0, tx, ty, &f, s, &n, &k.e);

                if (!can || tx >= p.w / p.tile_w || ty >= p.h / p.tile_h) {
                    assert_int_equal(rv, IIP_E_FEATURE);
                    continue;
                }
                if (rv)
                    fail_msg("%s: %s", p.name, k.e.detail);
                assert_int_equal(f, IIP_FMT_JPEG);
                assert_in_range(n, 1, 3);
                for (int j = 0; j < n; j++) {
                    assert_true(len + s[j].len <= sizeof file);
                    memcpy(file + len, s[j].mem ? s[j].mem : b.p + s[j].off, s[j].len);
                    len += s[j].len;
                }
                plain_jpeg(file, len, p.tile_w, p.tile_h, samples, got);
                assert_int_equal(read_rect(&k, 0, (iip_rect){tx * p.tile_w, ty * p.tile_h, p.tile_w, p.tile_h}, want,
                                           (size_t)(p.tile_w * samples)),
                                 IIP_OK);
                assert_memory_equal(got, want, (size_t)(p.tile_w * p.tile_h * samples));
            }
        stop(&k);
        free(b.p);
    }
}

static void test_raw_refused(void **state)
{
    plan turned = {"turned", 200, 130, 64, 64, .photometric = G, .compression = COMPRESSION_JPEG, .orientation = 6};
    plan inverse = {"inverse", 200, 130, 64, 64, .photometric = W0, .compression = COMPRESSION_JPEG};
    plan lzw = {"lzw", 200, 130, 64, 64, .photometric = G, .compression = COMPRESSION_LZW};
    plan webp = {"webp", 200, 130, 64, 64, .photometric = R, .samples = 3, .compression = COMPRESSION_WEBP};
    plan *all[] = {&turned, &inverse, &lzw, &webp};

    for (int i = 0; i < 4; i++) {
        iip_span s[3];
        iip_format f = IIP_FMT_NONE;
        int n = 0;
        bytes b;
        reading k;
        iip_status rv;

        if (!TIFFIsCODECConfigured((uint16_t)all[i]->compression))
            continue;
        b = written(all[i], 1);
        assert_int_equal(start(&k, b.p, b.n, 0), IIP_OK);
        rv = iip_decoder_tiff.raw(k.r, 0, 0, 0, &f, s, &n, &k.e);
        assert_int_equal(rv, i == 3 ? IIP_OK : IIP_E_FEATURE);
        if (i == 3) {
            assert_int_equal(f, IIP_FMT_WEBP);
            assert_int_equal(n, 1);
            assert_memory_equal(s[0].mem, "RIFF", 4);
        }
        assert_int_equal(iip_decoder_tiff.raw(k.r, 0, -1, 0, &f, s, &n, &k.e), IIP_E_FEATURE);
        assert_int_equal(iip_decoder_tiff.raw(k.r, 0, INT64_MAX, INT64_MAX, &f, s, &n, &k.e), IIP_E_FEATURE);
        stop(&k);
        free(b.p);
    }
}

/* --- pages and levels --------------------------------------------------------------------------------------------- */

static void check_levels(const plan *p, int dirs, int page, int pages, const int *levels, int n)
{
    bytes b = written(p, dirs);
    reading k;

    if (start(&k, b.p, b.n, page) != IIP_OK)
        fail_msg("%s: %s", p->name, k.e.detail);
    assert_int_equal(k.info.pages, pages);
    assert_int_equal(k.info.levels, n);
    assert_int_equal(k.info.virtual_from, n);
    for (int i = 0; i < n; i++) {
        unsigned char *px = read_level(&k, i);

        assert_non_null(px);
        assert_int_equal(k.info.level[i].w, p[levels[i]].w);
        assert_int_equal(k.info.level[i].h, p[levels[i]].h);
        assert_int_equal(px[0], sample_at(&p[levels[i]], 0, 0, 0));
        free(px);
    }
    stop(&k);
    free(b.p);
}

#define TILED .tile_w = 32, .tile_h = 32, .photometric = R, .samples = 3
static void test_levels(void **state)
{
    const plan marked[] = {{"marked", 201, 133, TILED},
                           {"", 101, 67, TILED, .subtype = 1, .seed = 1},
                           {"", 50, 33, TILED, .subtype = 1, .seed = 2}};
    const plan unmarked[] = {
        {"unmarked", 201, 133, TILED}, {"", 100, 66, TILED, .seed = 1}, {"", 25, 16, TILED, .seed = 2}};
    const plan third[] = {{"by three", 200, 133, TILED},
                          {"", 67, 45, TILED, .subtype = 1, .seed = 1},
                          {"", 22, 15, TILED, .subtype = 1, .seed = 2}};
    /* a scanner's file: overview in strips, levels in tiles, label and macro of other shapes */
    const plan slide[] = {{"slide", 400, 300, TILED},
                          {"", 100, 75, .photometric = R, .samples = 3, .seed = 1},
                          {"", 200, 150, TILED, .seed = 2},
                          {"", 50, 50, .photometric = R, .samples = 3, .subtype = 1, .seed = 3},
                          {"", 120, 30, .photometric = R, .samples = 3, .subtype = 9, .seed = 4}};
    const plan books[] = {{"book", 201, 133, TILED},
                          {"", 100, 66, TILED, .subtype = 1, .seed = 1},
                          {"", 201, 133, TILED, .seed = 2},
                          {"", 100, 66, TILED, .subtype = 1, .seed = 3}};
    const plan papers[] = {{"papers", 200, 100, .photometric = G}, {"", 100, 50, .photometric = G, .seed = 1}};
    const plan sheets[] = {{"sheets", 200, 100, TILED}, {"", 100, 50, TILED, .subtype = 2, .seed = 1}};
    const plan front[] = {{"small one first", 100, 66, .photometric = R, .samples = 3, .subtype = 1},
                          {"", 201, 133, TILED, .seed = 1}};
    const plan mask[] = {{"mask", 200, 100, TILED},
                         {"", 200, 100, 32, 32, .photometric = PHOTOMETRIC_MASK, .bits = 1, .subtype = 4},
                         {"", 100, 50, TILED, .subtype = 1, .seed = 2}};
    const plan deep[] = {{"other depth", 200, 100, TILED}, {"", 100, 50, TILED, .bits = 16, .subtype = 1}};
    const plan mixed[] = {
        {"JPEG over raw", 200, 100, TILED},
        {"", 100, 50, 64, 64, .photometric = R, .samples = 3, .compression = COMPRESSION_LZW, .subtype = 1, .seed = 1}};
    const plan order[] = {{"any order", 200, 100, TILED},
                          {"", 25, 13, TILED, .subtype = 1, .seed = 1},
                          {"", 100, 50, TILED, .subtype = 1, .seed = 2},
                          {"", 50, 25, TILED, .subtype = 1, .seed = 3},
                          {"", 100, 50, TILED, .subtype = 1, .seed = 4}};
    static const int in_order[] = {0, 1, 2}, slides[] = {0, 2}, second[] = {2, 3}, label[] = {3}, one[] = {1},
                     last[] = {1, 0}, masked[] = {0, 2}, sorted[] = {0, 2, 3, 1};

    check_levels(marked, 3, -1, 1, in_order, 3);
    check_levels(unmarked, 3, -1, 1, in_order, 3);
    check_levels(third, 3, 0, 1, in_order, 3);
    check_levels(slide, 5, 0, 4, slides, 2);
    check_levels(slide, 5, 2, 4, label, 1);
    check_levels(books, 4, 0, 2, in_order, 2);
    check_levels(books, 4, 1, 2, second, 2);
    check_levels(papers, 2, 1, 2, one, 1);
    check_levels(sheets, 2, 1, 2, one, 1);
    check_levels(front, 2, 0, 1, last, 2);
    check_levels(mask, 3, 0, 1, masked, 2);
    check_levels(deep, 2, 0, 2, in_order, 1);
    check_levels(mixed, 2, 0, 1, in_order, 2);
    check_levels(order, 5, 0, 1, sorted, 4);
}

static void test_subifds(void **state)
{
    plan p[4] = {{"page 0", 201, 133, TILED},
                 {"", 101, 67, TILED, .subtype = 1, .seed = 1},
                 {"", 50, 33, TILED, .subtype = 1, .seed = 2},
                 {"page 1", 80, 80, TILED, .seed = 3}};
    toff_t places[2] = {0, 0};

    for (int big = 0; big < 2; big++) {
        bytes b = {0};
        TIFF *t = bytes_tiff(&b, big ? "w8" : "w");
        reading k;

        TIFFSetField(t, TIFFTAG_SUBIFD, 2, places);
        for (int i = 0; i < 4; i++)
            write_dir(t, &p[i]);
        TIFFClose(t);
        assert_int_equal(start(&k, b.p, b.n, 0), IIP_OK);
        assert_int_equal(k.info.pages, 2);
        assert_int_equal(k.info.levels, 3);
        for (int i = 0; i < 3; i++) {
            unsigned char *px = read_level(&k, i);

            assert_non_null(px);
            assert_int_equal(k.info.level[i].w, p[i].w);
            check_samples(&p[i], &k, px);
            free(px);
        }
        stop(&k);
        assert_int_equal(start(&k, b.p, b.n, 1), IIP_OK);
        assert_int_equal(k.info.levels, 1);
        assert_int_equal(k.info.level[0].w, 80);
        stop(&k);
        assert_int_equal(start(&k, b.p, b.n, 2), IIP_E_NOT_FOUND);
        stop(&k);
        assert_int_equal(start(&k, b.p, b.n, 1000000), IIP_E_NOT_FOUND);
        stop(&k);
        free(b.p);
    }
}

static void test_metadata(void **state)
{
    plan p = {"tags", 40, 30, 32, 32, .photometric = G, .bits = 16, .orientation = 6};
    unsigned char icc[300];
    bytes b = {0};
    TIFF *t = bytes_tiff(&b, "w");
    reading k;

    memset(icc, 7, sizeof icc);
    TIFFSetField(t, TIFFTAG_XRESOLUTION, 254.0);
    TIFFSetField(t, TIFFTAG_YRESOLUTION, 508.0);
    TIFFSetField(t, TIFFTAG_RESOLUTIONUNIT, RESUNIT_INCH);
    TIFFSetField(t, TIFFTAG_ICCPROFILE, (uint32_t)sizeof icc, icc);
    TIFFSetField(t, TIFFTAG_XMLPACKET, 5, "<xmp>");
    TIFFSetField(t, TIFFTAG_SMINSAMPLEVALUE, 3.0);
    TIFFSetField(t, TIFFTAG_SMAXSAMPLEVALUE, 7000.0);
    write_dir(t, &p);
    TIFFClose(t);
    assert_int_equal(start(&k, b.p, b.n, 0), IIP_OK);
    memset(b.p, 0, b.n); /* what info gave is its own */
    assert_int_equal(k.info.orientation, 6);
    assert_int_equal(k.info.level[0].w, 40);
    assert_int_equal(k.info.icc_len, sizeof icc);
    assert_memory_equal(k.info.icc, icc, sizeof icc);
    assert_int_equal(k.info.xmp_len, 5);
    assert_memory_equal(k.info.xmp, "<xmp>", 5);
    assert_true(fabs(k.info.res_x - 100) < 1e-4 && fabs(k.info.res_y - 200) < 1e-4);
    assert_int_equal(k.info.sample, IIP_U16);
    assert_true(k.info.min && k.info.min[0] == 3 && k.info.max[0] == 7000);
    stop(&k);
    free(b.p);
}

/* Any part of a cell, from any layout, is that part of the whole. */
static void test_parts(void **state)
{
    for (size_t i = 0; i < sizeof layouts / sizeof *layouts; i++)
        for (int c = 0; c < 2; c++) {
            plan p = layouts[i];
            bytes b;
            reading k;
            unsigned char *all, part[4096];
            unsigned seed = 1;

            p.compression = c ? COMPRESSION_ADOBE_DEFLATE : COMPRESSION_NONE;
            b = written(&p, 1);
            assert_int_equal(start(&k, b.p, b.n, 0), IIP_OK);
            assert_non_null(all = read_level(&k, 0));
            for (int n = 0; n < 40; n++) {
                const size_t pixel = pixel_size(&k);
                iip_rect r;

                seed = seed * 1103515245u + 12345u;
                r = (iip_rect){seed / 7 % (unsigned)p.w, seed / 977 % (unsigned)p.h, 1 + seed / 77777 % 8,
                               1 + seed / 1234567 % 8};
                if (r.x + r.w > p.w || r.y + r.h > p.h)
                    continue;
                assert_int_equal(read_rect(&k, 0, r, part, (size_t)r.w * pixel), IIP_OK);
                for (int64_t y = 0; y < r.h; y++)
                    assert_memory_equal(part + (size_t)(y * r.w) * pixel, all + (size_t)((r.y + y) * p.w + r.x) * pixel,
                                        (size_t)r.w * pixel);
            }
            free(all);
            stop(&k);
            free(b.p);
        }
}

static void *decode_many(void *arg)
{
    for (int n = 0; n < 10; n++) {
        reading k;
        unsigned char *px;

        if (start(&k, ((bytes *)arg)->p, ((bytes *)arg)->n, 0) != IIP_OK || !(px = read_level(&k, 0)))
            return "failed";
        for (int i = 0; i < 200 * 130 * 3; i += 997)
            if (n && px[i] != ((bytes *)arg)[1].p[i])
                return "differs";
        free(px);
        stop(&k);
    }
    return NULL;
}

static void test_threads(void **state)
{
    plan p = jpegs[1];
    bytes b[2];
    reading k;
    pthread_t t[4];
    void *said;

    p.compression = COMPRESSION_JPEG;
    b[0] = written(&p, 1);
    assert_int_equal(start(&k, b[0].p, b[0].n, 0), IIP_OK);
    assert_non_null(b[1].p = read_level(&k, 0));
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&t[i], NULL, decode_many, b), 0);
    for (int i = 0; i < 4; i++) {
        pthread_join(t[i], &said);
        assert_null(said);
    }
    stop(&k);
    free(b[0].p);
    free(b[1].p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trips), cmocka_unit_test(test_kinds),       cmocka_unit_test(test_associated_alpha),
        cmocka_unit_test(test_ycbcr),       cmocka_unit_test(test_jpeg),        cmocka_unit_test(test_jpeg_wrong_tag),
        cmocka_unit_test(test_raw),         cmocka_unit_test(test_raw_refused), cmocka_unit_test(test_levels),
        cmocka_unit_test(test_subifds),     cmocka_unit_test(test_metadata),    cmocka_unit_test(test_parts),
        cmocka_unit_test(test_threads),
    };

    apr_initialize();
    TIFFSetWarningHandler(NULL);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
