/* SPDX-License-Identifier: Apache-2.0
 * TIFF reader: what good files give. libtiff writes the files from a formula; expectations are the formula. */
#include "tiff_plain.h"
#include <math.h>

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
    {"two samples", 100, 90, 32, 64, .photometric = G, .samples = 2, .alpha = EXTRASAMPLE_UNASSALPHA},
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
                    (p.compression == COMPRESSION_WEBP && (p.bits || p.samples != 3 || p.planar)) ||
                    /* libtiff swaps before LERC encodes: its big-endian floats are no numbers */
                    (p.compression == COMPRESSION_LERC && p.format == SAMPLEFORMAT_IEEEFP && m % 2))
                    continue;
                one_round(&p);
                n++;
                if (c == 1 || c == 2 || p.compression == COMPRESSION_ZSTD) {
                    p.predictor = 2;
                    one_round(&p);
                    p.predictor = 3;
                    if (p.format == SAMPLEFORMAT_IEEEFP &&
                        m % 2 == 0) /* nor does it read its own big-endian ones back */
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

/* libvips leaves SampleFormat out of the smaller levels of floats: they are what their page is. */
static void test_level_without_format(void **state)
{
    const plan both[] = {
        {"page", 200, 100, 64, 64, .bits = 32, .format = SAMPLEFORMAT_IEEEFP, .photometric = PHOTOMETRIC_MINISBLACK,
         .compression = COMPRESSION_ADOBE_DEFLATE, .predictor = PREDICTOR_FLOATINGPOINT},
        {"level", 100, 50, 64, 64, .bits = 32, .format = SAMPLEFORMAT_IEEEFP, .photometric = PHOTOMETRIC_MINISBLACK,
         .compression = COMPRESSION_ADOBE_DEFLATE, .predictor = PREDICTOR_FLOATINGPOINT, .subtype = 1, .seed = 7}};
    static const unsigned char tag[] = {0x53, 1, 3, 0, 1, 0, 0, 0, 3, 0};
    unsigned char *px[2], *p;
    bytes b = written(both, 2);

    for (int i = 0; i < 2; i++) {
        reading k;

        assert_int_equal(start(&k, b.p, b.n, -1), IIP_OK);
        assert_int_equal(k.info.levels, 2);
        assert_int_equal(k.info.sample, IIP_F32);
        px[i] = read_level(&k, 1);
        assert_non_null(px[i]);
        stop(&k);
        p = memmem(b.p, b.n, tag, sizeof tag);
        if (i == 0) { /* then once more with that tag of the second directory made into a private one */
            p = memmem(p + 1, b.n - (size_t)(p + 1 - b.p), tag, sizeof tag);
            assert_non_null(p);
            memcpy(p, "\xe8\xfd", 2);
        }
    }
    assert_memory_equal(px[0], px[1], 100 * 50 * sizeof(float));
    free(px[0]);
    free(px[1]);
    free(b.p);
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trips),
        cmocka_unit_test(test_kinds),
        cmocka_unit_test(test_associated_alpha),
        cmocka_unit_test(test_ycbcr),
        cmocka_unit_test(test_levels),
        cmocka_unit_test(test_level_without_format),
        cmocka_unit_test(test_subifds),
        cmocka_unit_test(test_metadata),
        cmocka_unit_test(test_parts),
    };

    apr_initialize();
    TIFFSetWarningHandler(NULL);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
