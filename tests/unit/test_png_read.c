/* SPDX-License-Identifier: Apache-2.0
 * PNG reader. Files are written by libpng from samples made here; what must come out is worked out from those samples
 * by the PNG specification's own words, not by libpng.
 * Longer than 600 lines: one table of kinds with its maker and its model. */
#include "codec_cases.h"
#include <png.h>
#include <math.h>
#include <zlib.h>
#ifdef IIP_HAVE_LCMS2
#include <lcms2.h>
#endif

/* --- files -------------------------------------------------------------------------------------------------------- */

typedef struct {
    int type, depth, interlaced, clear; /* colour type, bits, Adam7, with tRNS */
    int64_t w, h;
} recipe;

static int channels(int type)
{
    return type == PNG_COLOR_TYPE_RGB          ? 3
           : type == PNG_COLOR_TYPE_RGB_ALPHA  ? 4
           : type == PNG_COLOR_TYPE_GRAY_ALPHA ? 2
                                               : 1;
}

static unsigned sample(const recipe *c, int64_t x, int64_t y, int b)
{
    unsigned v = (unsigned)(x * 7 + y * 13 + b * 91 + x * y * 3) * 257u;

    return (c->depth == 16 ? v : v >> (8 - (c->depth < 8 ? c->depth : 8)) / 2) & ((1u << c->depth) - 1);
}

/* The palette has an entry for each value; every fifth is transparent to some degree. */
static png_color entry(unsigned i)
{
    return (png_color){(png_byte)(i * 3), (png_byte)(255 - i), (png_byte)(i * i)};
}

static unsigned entry_alpha(unsigned i)
{
    return i % 5 ? 255 : i * 11 & 255;
}

/* The colour that tRNS names where there is no palette: that of one pixel. */
static unsigned clear_sample(const recipe *c, int b)
{
    return sample(c, c->w / 2, c->h / 2, b);
}

static void to_bytes(png_structp png, png_bytep p, size_t n)
{
    bytes *b = png_get_io_ptr(png);

    b->p = realloc(b->p, b->n + n);
    memcpy(b->p + b->n, p, n);
    b->n += n;
}

static void no_flush(png_structp png)
{
}

typedef void extras_fn(png_structp png, png_infop info);

static bytes make(const recipe *c, extras_fn *extras)
{
    png_structp png = png_create_write_struct(PNG_LIBPNG_VER_STRING, NULL, NULL, NULL);
    png_infop info = png_create_info_struct(png);
    const size_t row = ((size_t)c->w * (size_t)(channels(c->type) * c->depth) + 7) / 8;
    unsigned char *px = calloc(row, (size_t)c->h), **rows = malloc((size_t)c->h * sizeof *rows);
    png_color palette[256];
    png_byte alpha[256];
    png_color_16 clear = {0};
    bytes b = {0};

    if (setjmp(png_jmpbuf(png)))
        fail_msg("libpng cannot write");
    for (int64_t y = 0; y < c->h; y++) {
        rows[y] = px + (size_t)y * row;
        for (int64_t i = 0; i < c->w * channels(c->type); i++) { /* packed from the high bit on, big-endian */
            unsigned v = sample(c, i / channels(c->type), y, (int)(i % channels(c->type)));

            if (c->depth == 16) {
                rows[y][2 * i] = (unsigned char)(v >> 8);
                rows[y][2 * i + 1] = (unsigned char)v;
            } else {
                rows[y][i * c->depth / 8] |= (unsigned char)(v << (8 - c->depth - i * c->depth % 8));
            }
        }
    }
    png_set_write_fn(png, &b, to_bytes, no_flush);
    png_set_IHDR(png, info, (png_uint_32)c->w, (png_uint_32)c->h, c->depth, c->type, c->interlaced,
                 PNG_COMPRESSION_TYPE_BASE, PNG_FILTER_TYPE_BASE);
    if (c->type == PNG_COLOR_TYPE_PALETTE) {
        for (unsigned i = 0; i < 256; i++) {
            palette[i] = entry(i);
            alpha[i] = (png_byte)entry_alpha(i);
        }
        png_set_PLTE(png, info, palette, 1 << c->depth);
        if (c->clear)
            png_set_tRNS(png, info, alpha, (1 << c->depth) - 1, NULL); /* the last one is opaque by being left out */
    } else if (c->clear) {
        clear.gray = clear.red = (png_uint_16)clear_sample(c, 0);
        clear.green = (png_uint_16)clear_sample(c, 1);
        clear.blue = (png_uint_16)clear_sample(c, 2);
        png_set_tRNS(png, info, NULL, 0, &clear);
    }
    if (extras)
        extras(png, info);
    png_write_info(png, info);
    png_write_image(png, rows);
    png_write_end(png, info);
    png_destroy_write_struct(&png, &info);
    free(rows);
    free(px);
    return b;
}

/* What must come out: samples widened so that the greatest stays the greatest, palettes looked up. */
static iip_raster expected(const recipe *c)
{
    const int palette = c->type == PNG_COLOR_TYPE_PALETTE, n = channels(c->type),
              colours = palette ? 3 : n - (n % 2 == 0);
    const iip_sample s = c->depth == 16 ? IIP_U16 : IIP_U8;
    iip_raster r = blank(c->w, c->h, colours + (n % 2 == 0 || c->clear), s);

    for (int64_t y = 0; y < c->h; y++)
        for (int64_t x = 0; x < c->w; x++)
            for (int b = 0; b < r.bands; b++) {
                unsigned v;

                if (palette) {
                    unsigned i = sample(c, x, y, 0);
                    png_color e = entry(i);

                    v = b == 0                      ? e.red
                        : b == 1                    ? e.green
                        : b == 2                    ? e.blue
                        : i == (1u << c->depth) - 1 ? 255
                                                    : entry_alpha(i);
                } else if (b < n) {
                    v = sample(c, x, y, b) * (c->depth < 8 ? 255 / ((1u << c->depth) - 1) : 1);
                } else {
                    int same = 1;

                    for (int k = 0; k < n; k++)
                        same &= sample(c, x, y, k) == clear_sample(c, k);
                    v = same ? 0 : s == IIP_U16 ? 65535 : 255;
                }
                if (s == IIP_U16)
                    ((uint16_t *)(void *)r.px)[(y * c->w + x) * r.bands + b] = (uint16_t)v;
                else
                    r.px[(y * c->w + x) * r.bands + b] = (unsigned char)v;
            }
    return r;
}

static uint32_t be32(const unsigned char *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static void put32(unsigned char *p, uint32_t v)
{
    for (int i = 3; i >= 0; i--, v >>= 8)
        p[i] = (unsigned char)v;
}

/* Where the first chunk of this name begins; b.n if there is none. */
static size_t chunk_at(bytes b, const char *name)
{
    for (size_t at = 8; at + 12 <= b.n; at += 12 + be32(b.p + at))
        if (memcmp(b.p + at + 4, name, 4) == 0)
            return at;
    return b.n;
}

static size_t pixels_end(bytes b)
{
    size_t end = 0;

    for (size_t at = 8; at + 12 <= b.n; at += 12 + be32(b.p + at))
        if (memcmp(b.p + at + 4, "IDAT", 4) == 0)
            end = at + 12 + be32(b.p + at);
    return end;
}

/* A chunk put in front of the one at `at`. */
static void insert(bytes *b, size_t at, const char *name, const void *data, size_t n)
{
    b->p = realloc(b->p, b->n + n + 12);
    memmove(b->p + at + n + 12, b->p + at, b->n - at);
    put32(b->p + at, (uint32_t)n);
    memcpy(b->p + at + 4, name, 4);
    if (n)
        memcpy(b->p + at + 8, data, n);
    put32(b->p + at + 8 + n, (uint32_t)crc32(0, b->p + at + 4, (uInt)n + 4));
    b->n += n + 12;
}

/* --- pixels ------------------------------------------------------------------------------------------------------- */

static void kinds(void **state)
{
    static const int types[] = {PNG_COLOR_TYPE_GRAY, PNG_COLOR_TYPE_GRAY_ALPHA, PNG_COLOR_TYPE_RGB,
                                PNG_COLOR_TYPE_RGB_ALPHA, PNG_COLOR_TYPE_PALETTE};
    static const int sizes[][2] = {{203, 151}, {1, 1}, {1, 40}, {40, 1}, {5, 5}, {8, 8}, {33, 17}};

    for (size_t t = 0; t < 5; t++)
        for (int depth = 1; depth <= 16; depth *= 2)
            for (int more = 0; more < 4; more++)
                for (size_t k = 0; k < sizeof sizes / sizeof *sizes; k++) {
                    recipe c = {types[t], depth, more & 1, more >> 1, sizes[k][0], sizes[k][1]};
                    iip_raster ref;
                    char name[80];
                    subject s;
                    bytes b;

                    if ((c.type & (PNG_COLOR_MASK_COLOR | PNG_COLOR_MASK_ALPHA) && depth < 8 &&
                         c.type != PNG_COLOR_TYPE_PALETTE) ||
                        (c.type == PNG_COLOR_TYPE_PALETTE && depth > 8) || (c.clear && c.type & PNG_COLOR_MASK_ALPHA))
                        continue;
                    snprintf(name, sizeof name, "type %d, %d bits, interlaced %d, tRNS %d, %dx%d", c.type, depth,
                             c.interlaced, c.clear, sizes[k][0], sizes[k][1]);
                    b = make(&c, NULL);
                    ref = expected(&c);
                    read_trial(b, &ref, name);
                    opened(&s, b);
                    assert_int_equal(s.info.bits, depth);
                    assert_int_equal(s.info.space, ref.bands > 2 ? IIP_RGB : IIP_GREY);
                    assert_int_equal(s.info.alpha, ref.bands % 2 == 0);
                    assert_int_equal(s.info.bilevel, depth == 1 && ref.bands == 1);
                    assert_int_equal(s.info.hold, c.interlaced ? ref.stride * (size_t)ref.h : 0);
                    done(&s);
                    free(ref.px);
                    free(b.p);
                }
}

/* Larger than a cell and than libpng's buffers; chunks of pixels of any size, empty ones too, others between palette
 * and pixels. */
static void many_chunks(void **state)
{
    const recipe c = {PNG_COLOR_TYPE_PALETTE, 8, 0, 1, 1500, 1100};
    bytes b = make(&c, NULL), cut = {malloc(1), 0};
    iip_raster ref = expected(&c);
    size_t at = 8;

    cut.p = realloc(cut.p, b.n);
    cut.n = chunk_at(b, "IDAT");
    memcpy(cut.p, b.p, cut.n);
    insert(&cut, chunk_at(cut, "tRNS"), "prVt", "between", 7);
    for (int k = 0; at + 12 <= b.n; at += 12 + be32(b.p + at)) {
        size_t n = be32(b.p + at);

        if (memcmp(b.p + at + 4, "IDAT", 4) == 0)
            for (size_t i = 0, part; i < n; i += part, k++) {
                part = k % 7 == 3 ? 0 : (size_t)(k % 5) * 700 + 1;
                if (part > n - i)
                    part = n - i;
                insert(&cut, cut.n, "IDAT", b.p + at + 8 + i, part);
            }
    }
    insert(&cut, cut.n, "IEND", NULL, 0);
    read_trial(cut, &ref, "many chunks");
    free(cut.p);
    free(b.p);
    free(ref.px);
}

/* --- metadata ----------------------------------------------------------------------------------------------------- */

#define PROFILE 3000
static void profile(unsigned char *p, const char *space)
{
    for (int i = 132; i < PROFILE; i++)
        p[i] = (unsigned char)(i * i >> 5);
    memset(p, 0, 132);
    p[2] = PROFILE >> 8;
    p[3] = PROFILE & 255;
    p[8] = 2;
    memcpy(p + 12, "mntr", 4);
    memcpy(p + 16, space, 4);
    memcpy(p + 20, "XYZ ", 4);
    memcpy(p + 36, "acsp", 4);
    memcpy(p + 68, "\0\0\xf6\xd6\0\1\0\0\0\0\xd3\x2d", 12);
}

static const char xmp[] = "<x:xmpmeta>\xc3\xa4</x:xmpmeta>";
static int xmp_deflated;
static unsigned char exif[] = "MM\0*\0\0\0\10\0\1\1\22\0\3\0\0\0\1\0\6\0\0\0\0\0\0";

static void with_all(png_structp png, png_infop info)
{
    unsigned char icc[PROFILE];
    png_text text[2] = {
        {.compression = PNG_TEXT_COMPRESSION_NONE, .key = (char[]){"Title"}, .text = (char[]){"no XMP"}},
        {.compression = xmp_deflated ? PNG_ITXT_COMPRESSION_zTXt : PNG_ITXT_COMPRESSION_NONE,
         .key = (char[]){"XML:com.adobe.xmp"},
         .text = (char *)(uintptr_t)xmp,
         .lang = (char[]){"de"},
         .lang_key = (char[]){"x"}}};

    profile(icc, png_get_color_type(png, info) & PNG_COLOR_MASK_COLOR ? "RGB " : "GRAY");
    png_set_iCCP(png, info, "any name", PNG_COMPRESSION_TYPE_BASE, icc, PROFILE);
    png_set_gAMA_fixed(png, info, 100000); /* the profile counts */
    png_set_text(png, info, text, 2);
    png_set_eXIf_1(png, info, sizeof exif - 1, exif);
    png_set_pHYs(png, info, 11811, 5906, PNG_RESOLUTION_METER);
}

static void metadata(void **state)
{
    const recipe c = {PNG_COLOR_TYPE_RGB, 8, 0, 0, 40, 30};
    unsigned char icc[PROFILE];

    profile(icc, "RGB ");
    for (xmp_deflated = 0; xmp_deflated < 2; xmp_deflated++) {
        bytes b = make(&c, with_all);
        iip_raster ref = expected(&c);
        subject s;

        opened(&s, b);
        assert_int_equal(s.info.icc_len, PROFILE);
        assert_memory_equal(s.info.icc, icc, PROFILE);
        assert_int_equal(s.info.xmp_len, sizeof xmp - 1);
        assert_memory_equal(s.info.xmp, xmp, sizeof xmp - 1);
        assert_int_equal(s.info.exif_len, sizeof exif - 1);
        assert_memory_equal(s.info.exif, exif, sizeof exif - 1);
        assert_int_equal(s.info.orientation, 6);
        assert_true(s.info.res_x == 118.11 && s.info.res_y == 59.06);
        done(&s);
        read_trial(b, &ref, "with metadata");
        source_trial(b, &ref);
        free(ref.px);
        free(b.p);
    }
}

/* EXIF and XMP may stand behind the pixels, a profile may not; damaged ones are left out. */
static void odd_metadata(void **state)
{
    const recipe c = {PNG_COLOR_TYPE_GRAY, 8, 0, 0, 40, 30};
    static const char keyword[] = "XML:com.adobe.xmp";
    static const struct {
        const char *text; /* behind the keyword's NUL */
        size_t n, out;
    } texts[] = {{"\0\0\0\0<x/>", 8, 4}, {"\0\0", 2, 0},         {"\0\1\0\0<x/>", 8, 0}, {"\0\0en\0tt", 7, 0},
                 {"\1\0\0\0<x/>", 8, 0}, {"\0\0en\0t\0y", 8, 1}, {"\0", 1, 0},           {"\0\0\0\0", 4, 0}};
    bytes b;
    subject s;

    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        char data[64];

        b = make(&c, NULL);
        memcpy(data, keyword, sizeof keyword);
        memcpy(data + sizeof keyword, texts[i].text, texts[i].n);
        insert(&b, chunk_at(b, "IEND"), "iTXt", data, sizeof keyword + texts[i].n);
        insert(&b, chunk_at(b, "IEND"), "eXIf", exif, sizeof exif - 1);
        insert(&b, chunk_at(b, "IEND"), "pHYs", "\0\0\1\0\0\0\1\0\1", 9);
        opened(&s, b);
        assert_int_equal(s.info.xmp_len, texts[i].out);
        if (texts[i].out)
            assert_memory_equal(s.info.xmp, data + sizeof keyword + texts[i].n - texts[i].out, texts[i].out);
        assert_int_equal(s.info.orientation, 6);
        assert_true(s.info.res_x == 0);
        done(&s);
        free(b.p);
    }
    b = make(&c, NULL); /* a profile that does not inflate, with a name that does not end, of an unknown method */
    for (int i = 0; i < 3; i++) {
        static const char *const bad[] = {"n\0\0not deflated",
                                          "this name is longer than the 79 letters that PNG allows, "
                                          "so that nothing can follow, not even its end",
                                          "n\0\1x"};
        bytes m = {malloc(b.n), b.n};

        memcpy(m.p, b.p, b.n);
        insert(&m, chunk_at(m, "IDAT"), "iCCP", bad[i], i == 1 ? strlen(bad[1]) : i == 0 ? 15 : 4);
        opened(&s, m);
        assert_int_equal(s.info.icc_len, 0);
        done(&s);
        free(m.p);
    }
    free(b.p);
}

static int gamma_of, with_primaries;

static void with_gamma(png_structp png, png_infop info)
{
    if (gamma_of)
        png_set_gAMA_fixed(png, info, gamma_of);
    if (with_primaries) /* Adobe's */
        png_set_cHRM_fixed(png, info, 31270, 32900, 64000, 33000, 21000, 71000, 15000, 6000);
}

static void gammas(void **state)
{
    static const struct {
        int gamma, srgb, primaries, profile;
    } cases[] = {{45455, 0, 0, 0},  {45000, 0, 0, 0}, {0, 0, 1, 0},     {100000, 1, 1, 0},
                 {100000, 0, 0, 1}, {55555, 0, 0, 1}, {45455, 0, 1, 1}, {100000, 0, 1, 1}};

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        for (int grey = 0; grey < 2; grey++) {
            const recipe c = {grey ? PNG_COLOR_TYPE_GRAY : PNG_COLOR_TYPE_RGB, 16, 0, 0, 20, 10};
            int made = cases[i].profile && !(grey && cases[i].gamma == 45455); /* grey has no primaries */
            subject s;
            bytes b;

            gamma_of = cases[i].gamma;
            with_primaries = cases[i].primaries;
            b = make(&c, with_gamma);
            if (cases[i].srgb) /* by hand: libpng does not write what contradicts itself */
                insert(&b, chunk_at(b, "IDAT"), "sRGB", "", 1);
            opened(&s, b);
#ifdef IIP_HAVE_LCMS2
            assert_int_equal(s.info.icc_len > 0, made);
            if (made) { /* half the greatest value: light of 0.5 ^ (1 / gamma), by the tables inside */
                cmsHPROFILE in = cmsOpenProfileFromMem(s.info.icc, (cmsUInt32Number)s.info.icc_len),
                            xyz = cmsCreateXYZProfile();
                cmsHTRANSFORM t = cmsCreateTransform(in, grey ? TYPE_GRAY_16 : TYPE_RGB_16, xyz, TYPE_XYZ_DBL,
                                                     INTENT_RELATIVE_COLORIMETRIC, cmsFLAGS_NOOPTIMIZE);
                uint16_t half[3] = {32768, 32768, 32768}, green[3] = {0, 65535, 0};
                cmsCIEXYZ out;
                double light = pow(32768 / 65535.0, 100000.0 / gamma_of);

                assert_non_null(t);
                cmsDoTransform(t, half, &out, 1);
                assert_true(fabs(out.Y - light) < 0.002 && fabs(out.X / out.Y - 0.9642) < 0.002);
                if (!grey) { /* Adobe RGB's green has a luminance of 0.6097 under D50 (0.6274 under D65), sRGB's 0.7169
                              */
                    cmsDoTransform(t, green, &out, 1);
                    assert_true(fabs(out.Y - (with_primaries ? 0.6257 : 0.7169)) < 0.002);
                }
                cmsDeleteTransform(t);
                cmsCloseProfile(in);
                cmsCloseProfile(xyz);
            }
#else
            assert_int_equal(s.info.icc_len, 0);
#endif
            done(&s);
            free(b.p);
        }
}

/* cICP counts above all that else says what values mean, as long as these are RGB. */
static void numbers(void **state)
{
    static const struct {
        const char *chunk;
        int profile;
    } rows[] = {{"\1\15\0\1", 0}, {"\14\15\0\1", 1}, {"\11\20\0\1", 1}, {"\1\15\1\1", 1 /* of gAMA */}};

    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const recipe c = {PNG_COLOR_TYPE_RGB, 16, 0, 0, 20, 10};
        subject s;
        bytes b;

        gamma_of = 100000;
        with_primaries = 0;
        b = make(&c, with_gamma);
        insert(&b, chunk_at(b, "IDAT"), "cICP", rows[i].chunk, 4);
        opened(&s, b);
#ifdef IIP_HAVE_LCMS2
        assert_int_equal(s.info.icc_len > 0, rows[i].profile);
#else
        assert_int_equal(s.info.icc_len, 0);
#endif
        done(&s);
        free(b.p);
    }
}

/* --- damage and limits -------------------------------------------------------------------------------------------- */

static void damaged(void **state)
{
    static const recipe kinds_[] = {{PNG_COLOR_TYPE_RGB, 8, 0, 0, 90, 70},
                                    {PNG_COLOR_TYPE_PALETTE, 4, 1, 1, 90, 70},
                                    {PNG_COLOR_TYPE_GRAY, 1, 0, 0, 90, 70},
                                    {PNG_COLOR_TYPE_GRAY, 16, 1, 1, 60, 70},
                                    {PNG_COLOR_TYPE_GRAY_ALPHA, 8, 0, 0, 9, 9}};

    for (size_t i = 0; i < sizeof kinds_ / sizeof *kinds_; i++) {
        bytes b = make(&kinds_[i], with_all);
        iip_raster ref = expected(&kinds_[i]);
        bytes m = {malloc(b.n), b.n};

        assert_int_equal(cut_trial(b, &ref, "cut"), b.n - pixels_end(b)); /* EXIF and IEND are not missed */
        mutant_trial(b, &ref, 400);
        for (size_t at = 33; at < pixels_end(b);
             at += 1 + b.n / 200) { /* no bit of palette, transparency or pixels is lost unseen */
            int same;
            iip_status rv;

            memcpy(m.p, b.p, b.n);
            m.p[at] ^= 0x10;
            rv = read_all(m, -1, &ref, &same);
            if (rv == IIP_OK && !same)
                fail_msg("changed at %d and nobody says so", (int)at);
        }
        for (unsigned n = 0; n < 600; n++) { /* checksums made good again: deeper damage */
            unsigned seed = n;
            int same;
            iip_status rv;

            memcpy(m.p, b.p, b.n);
            for (unsigned k = 0; k <= n % 3; k++)
                m.p[8 + (unsigned)rand_r(&seed) % (b.n - 8)] = (unsigned char)rand_r(&seed);
            for (size_t at = 8; at + 12 <= m.n && be32(m.p + at) <= m.n - at - 12; at += 12 + be32(m.p + at))
                put32(m.p + at + 8 + be32(m.p + at), (uint32_t)crc32(0, m.p + at + 4, (uInt)be32(m.p + at) + 4));
            rv = read_all(m, -1, &ref, &same);
            if (rv != IIP_OK && rv != IIP_E_FORMAT && rv != IIP_E_CORRUPT)
                fail_msg("mutant %u: status %d", n, rv);
        }
        free(m.p);
        free(ref.px);
        free(b.p);
    }
}

/* The header with one value changed; its checksum is good. */
static iip_status status_of(bytes b, int at, const void *p, size_t n)
{
    bytes m = {malloc(b.n), b.n};
    subject s;
    iip_status rv;

    memcpy(m.p, b.p, b.n);
    memcpy(m.p + 16 + at, p, n);
    put32(m.p + 29, (uint32_t)crc32(0, m.p + 12, 17));
    rv = open_at(&s, m, -1);
    done(&s);
    free(m.p);
    return rv;
}

static void headers_refused(void **state)
{
    const recipe c = {PNG_COLOR_TYPE_RGB, 8, 0, 0, 40, 30}, pal = {PNG_COLOR_TYPE_PALETTE, 8, 0, 0, 40, 30};
    bytes b = make(&c, NULL), p = make(&pal, NULL), m = {0};
    subject s;
    size_t n;
    unsigned char *zeros = calloc(1, 9 << 20);

    for (int depth = 0; depth < 256; depth++)
        for (int type = 0; type < 8; type++) {
            unsigned char x[2] = {(unsigned char)depth, (unsigned char)type};
            int good = type == 0   ? depth == 1 || depth == 2 || depth == 4 || depth == 8 || depth == 16
                       : type == 3 ? 0 /* no palette here */
                                   : (type == 2 || type == 4 || type == 6) && (depth == 8 || depth == 16);

            assert_int_equal(status_of(b, 8, x, 2), good ? IIP_OK : IIP_E_FORMAT);
        }
    assert_int_equal(status_of(b, 10, "\1", 1), IIP_E_FORMAT); /* compression, filter, interlacing */
    assert_int_equal(status_of(b, 11, "\1", 1), IIP_E_FORMAT);
    assert_int_equal(status_of(b, 12, "\2", 1), IIP_E_FORMAT);
    assert_int_equal(status_of(b, 0, "\0\0\0\0", 4), IIP_E_FORMAT);
    assert_int_equal(status_of(b, 4, "\0\0\0\0", 4), IIP_E_FORMAT);
    assert_int_equal(status_of(b, 0, "\x80\0\0\0", 4), IIP_E_FORMAT);
    assert_int_equal(status_of(b, 0, "\x7f\xff\xff\xff", 4), IIP_E_FORMAT); /* a row of more than a cell */
    assert_int_equal(status_of(b, 4, "\x7f\xff\xff\xff", 4), IIP_OK);

    m.p = malloc(p.n); /* a palette of no whole entries, and none at all */
    memcpy(m.p, p.p, m.n = p.n);
    n = chunk_at(m, "PLTE");
    insert(&m, n, "PLTE", "1234", 4);
    assert_int_equal(open_at(&s, m, -1), IIP_E_FORMAT);
    done(&s);

    m.p = realloc(m.p, b.n); /* texts: a hundred are read over, one more is too many */
    memcpy(m.p, b.p, m.n = b.n);
    for (int i = 0; i < 101; i++) {
        insert(&m, chunk_at(m, "IDAT"), i % 3 ? i % 2 ? "tEXt" : "iTXt" : "zTXt", "a\0bcdefg", 8);
        assert_int_equal(open_at(&s, m, -1), i < 100 ? IIP_OK : IIP_E_FORMAT);
        done(&s);
    }
    m.p = realloc(m.p, b.n); /* a chunk of more than 8 MB */
    memcpy(m.p, b.p, m.n = b.n);
    insert(&m, chunk_at(m, "IDAT"), "teSt", zeros, (8 << 20) + 1);
    assert_int_equal(open_at(&s, m, -1), IIP_E_FORMAT);
    done(&s);

    for (int k = 0; k < 2; k++) { /* a profile that inflates to more than 4 MB, and to just as much */
        uLongf len = 100000;
        unsigned char *z = malloc(len + 3);

        memcpy(z, "n\0\0", 3);
        assert_int_equal(compress2(z + 3, &len, zeros, (4 << 20) + (uLong)!k, 9), Z_OK);
        m.p = realloc(m.p, b.n);
        memcpy(m.p, b.p, m.n = b.n);
        insert(&m, chunk_at(m, "IDAT"), "iCCP", z, len + 3);
        assert_int_equal(open_at(&s, m, -1), k ? IIP_OK : IIP_E_FORMAT);
        assert_int_equal(s.info.icc_len, k ? 4 << 20 : 0);
        done(&s);
        free(z);
    }
    free(zeros);
    free(m.p);
    free(b.p);
    free(p.p);
}

/* Passing over rows ends with the time that a request has. */
static void patience(void **state)
{
    const recipe c = {PNG_COLOR_TYPE_GRAY, 8, 0, 0, 500, 4000};
    const iip_limits limits[2] = {{.deadline = 1}, {.deadline = apr_time_from_sec(100)}};
    bytes b = make(&c, NULL);

    for (int i = 0; i < 2; i++) {
        unsigned char row[500];
        iip_raster out = {500, 1, 1, IIP_U8, 500, row};
        subject s;

        opened(&s, b);
        assert_int_equal(s.dec->open(&s.r, &s.s.s, -1, &limits[i], s.p, &s.e), IIP_OK);
        assert_int_equal(s.dec->read(s.r, 0, (iip_rect){0, 0, 500, 1}, 0, &out, &s.e), IIP_OK);
        assert_int_equal(s.dec->read(s.r, 0, (iip_rect){0, 3999, 500, 1}, 0, &out, &s.e), i ? IIP_OK : IIP_E_TIMEOUT);
        done(&s);
    }
    free(b.p);
}

static int group(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(kinds),        cmocka_unit_test(many_chunks),     cmocka_unit_test(metadata),
        cmocka_unit_test(odd_metadata), cmocka_unit_test(gammas),          cmocka_unit_test(numbers),
        cmocka_unit_test(damaged),      cmocka_unit_test(headers_refused), cmocka_unit_test(patience),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

int main(void)
{
    return run_cases(group);
}
