/* SPDX-License-Identifier: Apache-2.0
 * JPEG 2000 reader: what boxes say about a code-stream. Channels, palettes, colour spaces, alpha, resolution, profiles,
 * XMP, JPX. Expectations are computed here from the samples that went in (the code-streams are lossless), by the
 * formulas of T.800 annex I and T.801 annex M. Long for the many kinds of
 * boxes. */
#include "jp2_plain.h"
#include <math.h>

#define W 61
#define H 43

static recipe kind(int comps, int bits, int sign)
{
    recipe k = {"boxes", W, H, .comps = comps, .levels = 3};

    for (int c = 0; c < comps; c++)
        k.comp[c] = (comp){1, 1, bits, sign};
    return k;
}

typedef double expect_fn(const recipe *k, int band, int64_t x, int64_t y);

static double at(const iip_raster *r, int64_t i)
{
    switch (r->sample) {
    case IIP_U8:
        return r->px[i];
    case IIP_U16:
        return ((const uint16_t *)(const void *)r->px)[i];
    case IIP_U32:
        return ((const uint32_t *)(const void *)r->px)[i];
    case IIP_F32:
        return ((const float *)(const void *)r->px)[i];
    default:
        fail_msg("samples of another kind");
        return 0;
    }
}

/* Opens the file and holds all of level 0 against the formula; off: how far values may lie apart. Frees nothing. */
static void check(bytes file, const recipe *k, iip_space space, int bands, int alpha, iip_sample sample,
                  expect_fn *expect, double off)
{
    subject t;
    iip_raster out;

    opened(&t, file);
    assert_int_equal(t.info.space, space);
    assert_int_equal(t.info.bands, bands);
    assert_int_equal(t.info.alpha, alpha);
    assert_int_equal(t.info.sample, sample);
    assert_true(t.info.level[0].w == k->w && t.info.level[0].h == k->h);
    out = blank(k->w, k->h, bands, sample);
    if (t.dec->read(t.r, 0, (iip_rect){0, 0, k->w, k->h}, -1, &out, &t.e) != IIP_OK)
        fail_msg("%s", t.e.detail);
    for (int64_t i = 0; i < k->w * k->h * bands; i++) {
        const int64_t x = i / bands % k->w, y = i / bands / k->w;
        double is = expect(k, (int)(i % bands), x, y), got = at(&out, i);

        if (fabs(got - is) > off)
            fail_msg("band %d of %d,%d is %g, not %g", (int)(i % bands), (int)x, (int)y, got, is);
    }
    free(out.px);
    done(&t);
}

static double in(const recipe *k, int c, int64_t x, int64_t y)
{
    return sample_of(k, c, x, y);
}

/* A file of these header boxes (freed) around the recipe's lossless code-stream. */
static bytes with(const recipe *k, bytes header)
{
    bytes stream = stream_of(k), file = jp2_file(header, stream);

    free(stream.p);
    return file;
}

/* --- channels ----------------------------------------------------------------------------------------------------- */

static double as_is(const recipe *k, int b, int64_t x, int64_t y)
{
    return in(k, b, x, y);
}

static double backwards(const recipe *k, int b, int64_t x, int64_t y)
{
    return in(k, b < 3 ? 2 - b : 3, x, y);
}

static double alpha_first(const recipe *k, int b, int64_t x, int64_t y)
{
    return in(k, b < 3 ? b + 1 : 0, x, y);
}

static double straight(const recipe *k, int b, int64_t x, int64_t y)
{
    const double a = in(k, 3, x, y), v = b == 3 ? a : a > 0 ? floor(in(k, b, x, y) * 255 / a + .5) : 0;

    return v < 255 ? v : 255;
}

static void channels(void **state)
{
    static const int bgr[] = {0, 0, 3, 1, 0, 2, 2, 0, 1}, bgra[] = {0, 0, 3, 1, 0, 2, 2, 0, 1, 3, 1, 0},
                     argb[] = {0, 1, 0, 1, 0, 1, 2, 0, 2, 3, 0, 3}, pre[] = {0, 0, 1, 1, 0, 2, 2, 0, 3, 3, 2, 0},
                     grey_alpha[] = {0, 0, 1, 1, 1, 0}, of_red[] = {0, 0, 1, 1, 0, 2, 2, 0, 3, 3, 1, 1},
                     far[] = {0, 0, 1, 1, 0, 2, 2, 0, 3, 900, 1, 0};
    static const struct {
        const int *cdef;
        int n, comps;
        unsigned space;
        iip_space is;
        int bands, alpha;
        expect_fn *expect;
    } rows[] = {
        {NULL, 0, 1, 17, IIP_GREY, 1, 0, as_is},
        {NULL, 0, 3, 16, IIP_RGB, 3, 0, as_is},
        {NULL, 0, 4, 16, IIP_RGB, 3, 0, as_is}, /* a fourth that no one says anything about */
        {NULL, 0, 5, 16, IIP_MULTIBAND, 5, 0, as_is},
        {NULL, 0, 4, 12, IIP_CMYK, 4, 0, as_is},
        {NULL, 0, 3, 17, IIP_GREY, 1, 0, as_is},
        {NULL, 0, 2, 16, IIP_MULTIBAND, 2, 0, as_is}, /* too few for the space */
        {bgr, 3, 3, 16, IIP_RGB, 3, 0, backwards},
        {bgra, 4, 4, 16, IIP_RGB, 4, 1, backwards},
        {argb, 4, 4, 16, IIP_RGB, 4, 1, alpha_first},
        {pre, 4, 4, 16, IIP_RGB, 4, 1, straight},
        {grey_alpha, 2, 2, 17, IIP_GREY, 2, 1, as_is},
        {of_red, 4, 4, 16, IIP_RGB, 3, 0, as_is}, /* opacity of one colour alone */
        {far, 4, 3, 16, IIP_RGB, 3, 0, as_is},
    };

    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        recipe k = kind(rows[i].comps, 8, 0);
        bytes header = {0}, b;

        colr(&header, rows[i].space);
        if (rows[i].cdef)
            cdef(&header, rows[i].cdef, rows[i].n);
        b = with(&k, header);
        check(b, &k, rows[i].is, rows[i].bands, rows[i].alpha, IIP_U8, rows[i].expect, 0);
        free(b.p);
    }
}

static double wide_alpha(const recipe *k, int b, int64_t x, int64_t y)
{
    return floor(in(k, b, x, y) * 65535. / (b ? 255 : 4095) + .5);
}

/* Full is full, whatever the depth. */
static void alpha_of_another_depth(void **state)
{
    static const int grey_alpha[] = {0, 0, 1, 1, 1, 0};
    recipe k = kind(2, 12, 0);
    bytes header = {0}, b;

    k.comp[1].bits = 8;
    colr(&header, 17);
    cdef(&header, grey_alpha, 2);
    b = with(&k, header);
    check(b, &k, IIP_GREY, 2, 1, IIP_U16, wide_alpha, 0);
    free(b.p);
}

/* --- palettes ----------------------------------------------------------------------------------------------------- */

static int entry(int i, int column)
{
    return (i * (37 + column * 11) + column * 90) & 255;
}

static double looked_up(const recipe *k, int b, int64_t x, int64_t y)
{
    int i = (int)in(k, 0, x, y);

    return entry(i < 20 ? i : 19, b);
}

static double wide_entry(const recipe *k, int b, int64_t x, int64_t y)
{
    int i = (int)in(k, 0, x, y);

    return floor((entry(i < 20 ? i : 19, b) * 16 + 5) * 65535. / 4095 + .5);
}

static double mixed(const recipe *k, int b, int64_t x, int64_t y)
{
    return b < 3 ? looked_up(k, b, x, y) : in(k, 1, x, y);
}

static void pclr(bytes *b, int entries, int columns, int bits)
{
    bytes c = {0};

    be(&c, (uint64_t)entries, 2);
    be(&c, (uint64_t)columns, 1);
    for (int i = 0; i < columns; i++)
        be(&c, (uint64_t)bits - 1, 1);
    for (int i = 0; i < entries; i++)
        for (int j = 0; j < columns; j++)
            be(&c, bits > 8 ? (uint64_t)entry(i, j) * 16 + 5 : (uint64_t)entry(i, j), (bits + 7) / 8);
    box_of(b, "pclr", c);
}

static void cmap(bytes *b, const int *v, int n)
{
    bytes c = {0};

    for (int i = 0; i < n; i++) {
        be(&c, (uint64_t)v[3 * i], 2);
        be(&c, (uint64_t)v[3 * i + 1], 1);
        be(&c, (uint64_t)v[3 * i + 2], 1);
    }
    box_of(b, "cmap", c);
}

static void palettes(void **state)
{
    static const int three[] = {0, 1, 0, 0, 1, 1, 0, 1, 2}, with_alpha[] = {0, 1, 0, 0, 1, 1, 0, 1, 2, 1, 0, 0},
                     rgba[] = {0, 0, 1, 1, 0, 2, 2, 0, 3, 3, 1, 0};

    for (int row = 0; row < 3; row++) {
        recipe k = kind(row == 2 ? 2 : 1, 5, 0); /* indices 0..31 into 20 entries */
        bytes header = {0}, b;

        if (row == 2)
            k.comp[1].bits = 8;
        colr(&header, 16);
        pclr(&header, 20, 3, row == 1 ? 12 : 8);
        cmap(&header, row == 2 ? with_alpha : three, row == 2 ? 4 : 3);
        if (row == 2)
            cdef(&header, rgba, 4);
        b = with(&k, header);
        check(b, &k, IIP_RGB, row == 2 ? 4 : 3, row == 2, row == 1 ? IIP_U16 : IIP_U8,
              row == 0   ? looked_up
              : row == 1 ? wide_entry
                         : mixed,
              0);
        free(b.p);
    }
}

static void bad_channels(void **state)
{
    static const int maps[][3] = {{1, 0, 0}, {0, 1, 3}, {0, 1, 0}};

    for (int row = 0; row < 4; row++) {
        recipe k = kind(1, 5, 0);
        bytes header = {0}, b;
        subject t;

        colr(&header, 17);
        if (row != 2)
            pclr(&header, 20, 3, 8);
        if (row < 3)
            cmap(&header, maps[row], 1);
        b = with(&k, header);
        assert_int_equal(open_at(&t, b, -1), IIP_E_FORMAT);
        done(&t);
        free(b.p);
    }
}

/* --- colour spaces ------------------------------------------------------------------------------------------------ */

static double clip(double v)
{
    return v < 0 ? 0 : v > 255 ? 255 : v;
}

/* IEC 61966-2-1 amendment 1: the figures of sYCC. */
static double sycc_of(double y, double cb, double cr, int b)
{
    return clip(b == 0 ? y + 1.402 * cr : b == 1 ? y - 0.344136 * cb - 0.714136 * cr : y + 1.772 * cb);
}

static double sycc(const recipe *k, int b, int64_t x, int64_t y)
{
    const double half = k->comp[1].sign ? 0 : 128;
    const double cx = (double)(x / k->comp[1].dx), cy = (double)(y / k->comp[1].dy);

    return sycc_of(in(k, 0, x, y), in(k, 1, (int64_t)cx, (int64_t)cy) - half, in(k, 2, (int64_t)cx, (int64_t)cy) - half,
                   b);
}

/* ITU-R BT.601 and 709 with 16..235 and 16..240. */
static double studio(const recipe *k, int b, int64_t x, int64_t y, double kr, double kb)
{
    const double l = (in(k, 0, x, y) - 16) * 255 / 219, u = (in(k, 1, x, y) - 128) * 255 / 224,
                 v = (in(k, 2, x, y) - 128) * 255 / 224;
    const double red = l + (2 - 2 * kr) * v, blue = l + (2 - 2 * kb) * u;

    return clip(b == 0 ? red : b == 2 ? blue : (l - kr * red - kb * blue) / (1 - kr - kb));
}

static double studio_601(const recipe *k, int b, int64_t x, int64_t y)
{
    return studio(k, b, x, y, .299, .114);
}

static double studio_709(const recipe *k, int b, int64_t x, int64_t y)
{
    return studio(k, b, x, y, .2126, .0722);
}

static double inverted(const recipe *k, int b, int64_t x, int64_t y)
{
    return 255 - in(k, b, x, y);
}

static double two_levels(const recipe *k, int b, int64_t x, int64_t y)
{
    return 255 * in(k, b, x, y);
}

static double two_inverted(const recipe *k, int b, int64_t x, int64_t y)
{
    return 255 - 255 * in(k, b, x, y);
}

static void spaces(void **state)
{
    static const struct {
        unsigned space;
        int comps, bits, sub, chroma_sign;
        iip_space is;
        expect_fn *expect;
        double off;
    } rows[] = {
        {18, 3, 8, 1, 0, IIP_RGB, sycc, .501},      {18, 3, 8, 2, 0, IIP_RGB, sycc, .501},
        {18, 3, 8, 1, 1, IIP_RGB, sycc, .501},      {3, 3, 8, 1, 0, IIP_RGB, sycc, .501},
        {4, 3, 8, 1, 0, IIP_RGB, studio_601, .501}, {1, 3, 8, 1, 0, IIP_RGB, studio_709, .501},
        {13, 3, 8, 1, 0, IIP_RGB, inverted, 0},     {0, 1, 1, 1, 0, IIP_GREY, two_inverted, 0},
        {15, 1, 1, 1, 0, IIP_GREY, two_levels, 0},  {12, 4, 8, 1, 0, IIP_CMYK, as_is, 0},
    };
    bytes header = {0}, b, stream;
    recipe k;
    subject t;

    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        k = kind(rows[i].comps, rows[i].bits, 0);
        for (int c = 1; c < 3; c++) {
            k.comp[c].dx = k.comp[c].dy = rows[i].sub;
            k.comp[c].sign = rows[i].chroma_sign;
        }
        header = (bytes){0};
        colr(&header, rows[i].space);
        b = with(&k, header);
        check(b, &k, rows[i].is, rows[i].comps, 0, IIP_U8, rows[i].expect, rows[i].off);
        opened(&t, b);
        assert_int_equal(t.info.bilevel, rows[i].bits == 1);
        done(&t);
        free(b.p);
    }
    /* No box about colour: chroma is known by having fewer samples */
    k = kind(3, 8, 0);
    for (int c = 1; c < 3; c++)
        k.comp[c].dx = k.comp[c].dy = 2;
    stream = stream_of(&k);
    check(stream, &k, IIP_RGB, 3, 0, IIP_U8, sycc, .501);
    free(stream.p);
    for (unsigned space = 19; space < 25; space++) {
        k = kind(3, 8, 0);
        header = (bytes){0};
        colr(&header, space);
        b = with(&k, header);
        assert_int_equal(open_at(&t, b, -1), IIP_E_FORMAT);
        done(&t);
        free(b.p);
        header = (bytes){0}; /* but if a later box is understood, that counts */
        colr(&header, space);
        colr(&header, 16);
        colr(&header, 17);
        b = with(&k, header);
        check(b, &k, IIP_RGB, 3, 0, IIP_U8, as_is, 0);
        free(b.p);
    }
}

static double lab_default(const recipe *k, int b, int64_t x, int64_t y)
{
    const double v = in(k, b, x, y);

    return b == 0 ? v * 100 / 255 : b == 1 ? (v - 128) * 170 / 255 : (v - 96) * 200 / 255;
}

static double lab_own(const recipe *k, int b, int64_t x, int64_t y)
{
    const double v = in(k, b, x, y);

    return b == 0 ? (v - 3) * 90 / 255 : b == 1 ? (v - 100) * 220 / 255 : (v - 120) * 210 / 255;
}

static double lab_icc(const recipe *k, int b, int64_t x, int64_t y)
{
    const double v = in(k, b, x, y);

    return b == 0 ? v * 100 / 255 : v - 128;
}

/* A profile's header that says what space the samples are in. */
static void profile(bytes *b, const char *space, unsigned method)
{
    unsigned char icc[200] = {0};
    bytes c = {0};

    memcpy(icc + 16, space, 4);
    memcpy(icc + 36, "acsp", 4);
    icc[150] = 77;
    be(&c, method, 1);
    be(&c, 0, 2);
    append(&c, icc, sizeof icc);
    box_of(b, "colr", c);
}

static void cielab(void **state)
{
    static const unsigned own[] = {90, 3, 220, 100, 210, 120, 0x00443530};
    recipe k = kind(3, 8, 0);
    bytes header = {0}, c = {0}, b;
    subject t;

    colr(&header, 14);
    b = with(&k, header);
    check(b, &k, IIP_LAB, 3, 0, IIP_F32, lab_default, 1e-4);
    free(b.p);
    be(&c, 1, 1);
    be(&c, 0, 2);
    be(&c, 14, 4);
    for (int i = 0; i < 7; i++)
        be(&c, own[i], 4);
    header = (bytes){0};
    box_of(&header, "colr", c);
    b = with(&k, header);
    check(b, &k, IIP_LAB, 3, 0, IIP_F32, lab_own, 1e-4);
    free(b.p);
    header = (bytes){0};
    profile(&header, "Lab ", 3);
    b = with(&k, header);
    check(b, &k, IIP_LAB, 3, 0, IIP_F32, lab_icc, 1e-4);
    opened(&t, b);
    assert_int_equal(t.info.icc_len, 0);
    done(&t);
    free(b.p);
}

/* White is D50, as in profiles, unless it is said to be D65. */
static void cielab_white(void **state)
{
    static const struct {
        unsigned light; /* 0: none is named, 1: there are no parameters */
        int d50;
    } rows[] = {{0x00443530, 1}, {0x00443635, 0}, {1, 1}, {0, 1}};
    recipe k = kind(3, 8, 0);

    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        bytes header = {0}, c = {0}, b;
        subject t;

        be(&c, 1, 1);
        be(&c, 0, 2);
        be(&c, 14, 4);
        for (int v = 0; v < 6 && rows[i].light != 1; v++)
            be(&c, (unsigned[]){100, 0, 170, 128, 200, 96}[v], 4);
        if (rows[i].light > 1)
            be(&c, rows[i].light, 4);
        box_of(&header, "colr", c);
        b = with(&k, header);
        opened(&t, b);
        assert_int_equal(t.info.space, IIP_LAB);
        assert_int_equal(t.info.lab_d50, rows[i].d50);
        done(&t);
        free(b.p);
    }
}

static void profiles(void **state)
{
    static const struct {
        const char *space;
        int comps, method;
        iip_space is;
    } rows[] = {{"GRAY", 1, 2, IIP_GREY},
                {"RGB ", 3, 2, IIP_RGB},
                {"RGB ", 3, 3, IIP_RGB},
                {"CMYK", 4, 3, IIP_CMYK},
                {"XYZ ", 3, 3, IIP_RGB}};

    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        recipe k = kind(rows[i].comps, 8, 0);
        bytes header = {0}, b;
        subject t;

        profile(&header, rows[i].space, (unsigned)rows[i].method);
        b = with(&k, header);
        check(b, &k, rows[i].is, rows[i].comps, 0, IIP_U8, as_is, 0);
        opened(&t, b);
        assert_int_equal(t.info.icc_len, 200);
        assert_int_equal(((const unsigned char *)t.info.icc)[150], 77);
        done(&t);
        free(b.p);
    }
}

/* --- other boxes -------------------------------------------------------------------------------------------------- */

static void res_box(bytes *b, const char *type, unsigned up_y, unsigned down_y, unsigned up_x, unsigned down_x,
                    int exp_y, int exp_x)
{
    bytes c = {0};

    be(&c, up_y, 2);
    be(&c, down_y, 2);
    be(&c, up_x, 2);
    be(&c, down_x, 2);
    be(&c, (unsigned char)exp_y, 1);
    be(&c, (unsigned char)exp_x, 1);
    box_of(b, type, c);
}

static void resolution(void **state)
{
    for (int row = 0; row < 4; row++) {
        recipe k = kind(1, 8, 0);
        bytes header = {0}, res = {0}, b;
        subject t;

        colr(&header, 17);
        if (row != 1)
            res_box(&res, "resc", row == 2 ? 0 : 300, 254, 150, 254, 4, 4); /* 11811 and 5905 to the metre */
        if (row)
            res_box(&res, "resd", 72, 1, 72, 1, 2, -2);
        box_of(&header, "res ", res);
        if (row == 3) { /* the first one counts of each kind; the scan's before the display's */
            res = (bytes){0};
            res_box(&res, "resd", 1, 1, 1, 1, 2, 2);
            box_of(&header, "res ", res);
        }
        b = with(&k, header);
        opened(&t, b);
        if (row == 1)
            assert_true(fabs(t.info.res_x - .0072) < 1e-9 && fabs(t.info.res_y - 72) < 1e-9);
        else if (row == 2) /* a scan's resolution of nothing is none */
            assert_true(t.info.res_x == 0 && t.info.res_y == 0);
        else
            assert_true(fabs(t.info.res_x - 150 / 2.54) < 1e-9 && fabs(t.info.res_y - 300 / 2.54) < 1e-9);
        done(&t);
        free(b.p);
    }
}

static void xmp_anywhere(void **state)
{
    static const unsigned char id[] = {0xbe, 0x7a, 0xcf, 0xcb, 0x97, 0xa9, 0x42, 0xe8,
                                       0x9c, 0x71, 0x99, 0x94, 0x91, 0xe3, 0xaf, 0xac};
    static const char text[] = "<x:xmpmeta xmlns:x=\"adobe:ns:meta/\"/>";

    for (int behind = 0; behind < 2; behind++) {
        recipe k = kind(1, 8, 0);
        bytes stream = stream_of(&k), b = signature("jp2 "), header = {0}, xmp = {0};
        subject t;

        colr(&header, 17);
        append(&xmp, id, 16);
        append(&xmp, text, strlen(text));
        box(&b, "uuid", "0123456789abcdefother", 21);
        box_of(&b, "jp2h", header);
        if (!behind)
            box(&b, "uuid", xmp.p, xmp.n);
        box(&b, "jp2c", stream.p, stream.n);
        if (behind)
            box(&b, "uuid", xmp.p, xmp.n);
        opened(&t, b);
        assert_int_equal(t.info.xmp_len, strlen(text));
        assert_memory_equal(t.info.xmp, text, strlen(text));
        assert_int_equal(t.info.orientation, 1);
        done(&t);
        free(xmp.p);
        free(stream.p);
        free(b.p);
    }
}

/* Under either id that is in use; its orientation is not the picture's, its resolution is where no box has one. */
static void exif_under_its_ids(void **state)
{
    static const unsigned char ids[][17] = {"JpgTiffExif->JP2",
                                            "\x05\x37\xcd\xab\x9d\x0c\x44\x31\xa7\x2a\xfa\x56\x1f\x2a\x11\x3e"};
    static const char text[] = "MM\0*\0\0\0\10\0\3\1\22\0\3\0\0\0\1\0\6\0\0\1\32\0\5\0\0\0\1\0\0\0\62"
                               "\1\33\0\5\0\0\0\1\0\0\0\62\0\0\0\0\0\0\0\xfe\0\0\0\1"; /* 254 to the inch */

    for (int i = 0; i < 2; i++) {
        recipe k = kind(1, 8, 0);
        bytes stream = stream_of(&k), b = signature("jp2 "), header = {0}, exif = {0};
        subject t;

        colr(&header, 17);
        append(&exif, ids[i], 16);
        append(&exif, text, sizeof text - 1);
        box_of(&b, "jp2h", header);
        box(&b, "uuid", exif.p, exif.n);
        box(&b, "jp2c", stream.p, stream.n);
        opened(&t, b);
        assert_int_equal(t.info.exif_len, sizeof text - 1);
        assert_memory_equal(t.info.exif, text, sizeof text - 1);
        assert_int_equal(t.info.orientation, 1);
        assert_true(fabs(t.info.res_x - 100) < .01 && fabs(t.info.res_y - 100) < .01);
        done(&t);
        free(exif.p);
        free(stream.p);
        free(b.p);
    }
}

/* Lengths: of 64 bits, to the end of the file; what stands behind the code-stream does not matter. */
static void box_lengths(void **state)
{
    recipe k = kind(1, 8, 0);
    bytes stream = stream_of(&k);

    for (int row = 0; row < 4; row++) {
        bytes b = signature("jp2 "), header = {0};

        colr(&header, 17);
        box_of(&b, "jp2h", header);
        if (row == 0) {
            be(&b, 1, 4);
            append(&b, "jp2c", 4);
            be(&b, stream.n + 16, 8);
            append(&b, stream.p, stream.n);
        } else if (row == 1) {
            be(&b, 0, 4);
            append(&b, "jp2c", 4);
            append(&b, stream.p, stream.n);
        } else {
            box(&b, "jp2c", stream.p, stream.n);
            append(&b,
                   row == 2 ? "\xff\xff\xff\xff"
                              "junkjunk"
                            : "xyz",
                   row == 2 ? 12 : 3);
        }
        check(b, &k, IIP_GREY, 1, 0, IIP_U8, as_is, 0);
        free(b.p);
    }
    free(stream.p);
}

/* JPX: defaults in jp2h, of the first layer and code-stream what their own headers say; the first code-stream. */
static void jpx(void **state)
{
    static const int three[] = {0, 1, 0, 0, 1, 1, 0, 1, 2};
    recipe k = kind(1, 5, 0), other = kind(3, 8, 0);
    bytes stream = stream_of(&k), second = stream_of(&other), b = signature("jpx "), header = {0}, own = {0},
          group = {0}, layer = {0};

    colr(&header, 17);
    pclr(&own, 20, 3, 8);
    cmap(&own, three, 3);
    colr(&group, 16);
    box_of(&layer, "cgrp", group);
    box_of(&b, "jp2h", header);
    box_of(&b, "jpch", own);
    box_of(&b, "jplh", layer);
    own = (bytes){0};
    colr(&own, 12);
    box_of(&b, "jpch", own); /* of the second code-stream */
    box(&b, "jp2c", stream.p, stream.n);
    box(&b, "jp2c", second.p, second.n);
    check(b, &k, IIP_RGB, 3, 0, IIP_U8, looked_up, 0);
    free(b.p);
    free(second.p);
    free(stream.p);
}

/* A code-stream in fragments, out of order in the file. */
static void fragments(void **state)
{
    recipe k = kind(3, 8, 0);
    bytes stream = stream_of(&k);
    const size_t third = stream.n / 3;

    for (int row = 0; row < 3; row++) {
        bytes b = signature("jpx "), header = {0}, list = {0}, table = {0};
        const size_t size = 8 + 8 + 2 + 3 * 14;
        size_t media;
        subject t;

        colr(&header, 16);
        box_of(&b, "jp2h", header);
        media = b.n + size + 8;
        be(&list, 3, 2);
        for (size_t i = 0; i < 3; i++) { /* stored as the third, the first, the second */
            const size_t n = i < 2 ? third : stream.n - 2 * third;
            const size_t at = media + (i == 0 ? stream.n - 2 * third : i == 1 ? stream.n - third : 0);

            be(&list, at + (row == 1 && i == 2 ? 1 << 30 : 0), 8);
            be(&list, n, 4);
            be(&list, row == 2 && i == 1, 2);
        }
        box_of(&table, "flst", list);
        box_of(&b, "ftbl", table);
        assert_int_equal(b.n + 8, media);
        be(&b, stream.n + 8, 4);
        append(&b, "mdat", 4);
        append(&b, stream.p + 2 * third, stream.n - 2 * third);
        append(&b, stream.p, 2 * third);
        if (row == 0) {
            check(b, &k, IIP_RGB, 3, 0, IIP_U8, as_is, 0);
        } else { /* outside of the file; in another file */
            assert_int_equal(open_at(&t, b, -1), row == 1 ? IIP_E_CORRUPT : IIP_E_FORMAT);
            done(&t);
        }
        free(b.p);
    }
    free(stream.p);
}

static void bad_boxes(void **state)
{
    static const struct {
        const char *name;
        const char *type, *data;
        size_t n;
        iip_status status;
    } rows[] = {
        {"no code-stream", "jp2h", "", 0, IIP_E_CORRUPT},
        {"palette of nothing", "pclr", "\0\0\3\7\7\7", 6, IIP_E_FORMAT},
        {"palette cut short", "pclr", "\0\4\3\7\7\7abc", 9, IIP_E_FORMAT},
        {"palette of 2000", "pclr", "\7\xd0\1\7", 4, IIP_E_FORMAT},
        {"palette of 38 bits", "pclr", "\0\1\1\x25.....", 9, IIP_E_FORMAT},
        {"no channels", "cmap", "", 0, IIP_E_FORMAT},
        {"channels cut short", "cdef", "\0\2abcdef", 8, IIP_E_FORMAT},
    };
    recipe k = kind(1, 8, 0);
    bytes stream = stream_of(&k), b, many;
    subject t;

    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        bytes header = {0};

        colr(&header, 17);
        box(&header, rows[i].type, rows[i].data, rows[i].n);
        b = i == 0 ? signature("jp2 ") : jp2_file(header, stream);
        if (i == 0)
            box_of(&b, "jp2h", header);
        if (open_at(&t, b, -1) != rows[i].status)
            fail_msg("%s: status %d", rows[i].name, t.e.status);
        done(&t);
        free(b.p);
    }
    b = signature("jp2 "); /* a box inside that is longer than the one around it */
    be(&b, 16, 4);
    append(&b, "jp2h", 4);
    be(&b, 200, 4);
    append(&b, "colr", 4);
    box(&b, "jp2c", stream.p, stream.n);
    assert_int_equal(open_at(&t, b, -1), IIP_E_CORRUPT);
    done(&t);
    free(b.p);
    many = (bytes){calloc(1000001, 8), (size_t)1000001 * 8}; /* a million and one empty boxes */
    for (size_t i = 0; i < 1000001; i++)
        many.p[8 * i + 3] = 8;
    b = signature("jp2 ");
    append(&b, many.p, many.n);
    box(&b, "jp2c", stream.p, stream.n);
    assert_int_equal(open_at(&t, b, -1), IIP_E_FORMAT);
    done(&t);
    free(b.p);
    free(many.p);
    free(stream.p);
}

static void damaged(void **state)
{
    static const int rgba[] = {0, 0, 1, 1, 0, 2, 2, 0, 3, 3, 2, 0}, alpha[] = {0, 1, 0, 0, 1, 1, 0, 1, 2, 1, 0, 0};
    recipe k = kind(2, 5, 0);
    bytes header = {0}, b, res = {0};
    iip_raster ref = blank(W, H, 4, IIP_U8);
    subject t;

    colr(&header, 16);
    pclr(&header, 20, 3, 8);
    cmap(&header, alpha, 4);
    cdef(&header, rgba, 4);
    res_box(&res, "resc", 300, 254, 150, 254, 4, 4);
    box_of(&header, "res ", res);
    profile(&header, "RGB ", 2);
    b = with(&k, header);
    opened(&t, b);
    assert_int_equal(t.dec->read(t.r, 0, (iip_rect){0, 0, W, H}, -1, &ref, &t.e), IIP_OK);
    done(&t);
    cut_trial(b, &ref, "palette");
    mutant_trial(b, &ref, 2000);
    source_trial(b, &ref);
    free(ref.px);
    free(b.p);
}

static int group(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(channels),
        cmocka_unit_test(alpha_of_another_depth),
        cmocka_unit_test(palettes),
        cmocka_unit_test(bad_channels),
        cmocka_unit_test(spaces),
        cmocka_unit_test(cielab),
        cmocka_unit_test(cielab_white),
        cmocka_unit_test(profiles),
        cmocka_unit_test(resolution),
        cmocka_unit_test(xmp_anywhere),
        cmocka_unit_test(exif_under_its_ids),
        cmocka_unit_test(box_lengths),
        cmocka_unit_test(jpx),
        cmocka_unit_test(fragments),
        cmocka_unit_test(bad_boxes),
        cmocka_unit_test(damaged),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

int main(void)
{
    return run_cases(group);
}
