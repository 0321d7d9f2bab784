/* SPDX-License-Identifier: Apache-2.0
 * PNG writer: read back by libpng, compared with the samples that went in; chunks are looked at as bytes. */
#include "codec_cases.h"
#include <png.h>

static unsigned sample_at(int64_t x, int64_t y, int band, iip_sample s, int two)
{
    unsigned v = (unsigned)(x * 311 + y * 1097 + band * 20011 + x * y * 13);

    return two ? (v / 64 & 1) * 255 : s == IIP_U8 ? v & 255 : v & 65535;
}

static iip_status written(collector *c, const iip_raster *shape, const iip_enc_opts *o, iip_error *e)
{
    iip_raster in = blank(shape->w, shape->h, shape->bands, shape->sample);
    const int64_t row = in.w * in.bands;
    iip_status rv;

    for (int64_t i = 0; i < row * in.h; i++) {
        const unsigned v = sample_at(i % row / in.bands, i / row, (int)(i % in.bands), in.sample, o->bilevel);

        if (in.sample == IIP_U8)
            in.px[i] = (unsigned char)v;
        else
            ((uint16_t *)(void *)in.px)[i] = (uint16_t)v;
    }
    *c = (collector){{collect}, {NULL, 0}, 0, c->fail_at};
    rv = encode_to(c, iip_encoder_find(IIP_FMT_PNG), &in, o, e);
    free(in.px);
    return rv;
}

static uint32_t be32(const unsigned char *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

/* Contents of the first chunk of this name; NULL if there is none. */
static const unsigned char *chunk(const collector *c, const char *name, size_t *len)
{
    for (size_t at = 8; at + 12 <= c->out.n; at += 12 + be32(c->out.p + at))
        if (memcmp(c->out.p + at + 4, name, 4) == 0) {
            *len = be32(c->out.p + at);
            return c->out.p + at + 8;
        }
    return NULL;
}

typedef struct {
    const collector *c;
    size_t at;
} cursor;

static void take(png_structp png, png_bytep p, size_t n)
{
    cursor *k = png_get_io_ptr(png);

    if (n > k->c->out.n - k->at)
        png_error(png, "end");
    memcpy(p, k->c->out.p + k->at, n);
    k->at += n;
}

/* Decodes by libpng with nothing converted; every sample must be what went in. Checks of the whole stream are libpng's.
 */
static void check(const collector *c, const iip_raster *shape, int two)
{
    static const int types[] = {0, PNG_COLOR_TYPE_GRAY, PNG_COLOR_TYPE_GRAY_ALPHA, PNG_COLOR_TYPE_RGB,
                                PNG_COLOR_TYPE_RGB_ALPHA};
    png_structp png = png_create_read_struct(PNG_LIBPNG_VER_STRING, NULL, NULL, NULL);
    png_infop info = png_create_info_struct(png);
    cursor k = {c, 0};
    unsigned char *row;

    assert_int_equal(setjmp(png_jmpbuf(png)), 0);
    png_set_read_fn(png, &k, take);
    png_read_info(png, info);
    assert_int_equal(png_get_image_width(png, info), shape->w);
    assert_int_equal(png_get_image_height(png, info), shape->h);
    assert_int_equal(png_get_bit_depth(png, info), two ? 1 : shape->sample == IIP_U16 ? 16 : 8);
    assert_int_equal(png_get_color_type(png, info), types[shape->bands]);
    row = malloc(png_get_rowbytes(png, info));
    for (int64_t y = 0; y < shape->h; y++) {
        png_read_row(png, row, NULL);
        for (int64_t i = 0; i < shape->w * shape->bands; i++) {
            unsigned v = sample_at(i / shape->bands, y, (int)(i % shape->bands), shape->sample, two), got;

            if (two)
                got = row[i / 8] & 0x80 >> i % 8 ? 255 : 0;
            else if (shape->sample == IIP_U16)
                got = row[2 * i] << 8 | row[2 * i + 1];
            else
                got = row[i];
            if (got != v)
                fail_msg("row %d sample %d is %u, not %u", (int)y, (int)i, got, v);
        }
    }
    png_read_end(png, NULL);
    assert_int_equal(k.at, c->out.n);
    png_destroy_read_struct(&png, &info, NULL);
    free(row);
}

static void exact(void **state)
{
    iip_error e;

    for (int bands = 1; bands <= 4; bands++)
        for (int q = 0; q <= 9; q += bands == 3 ? 1 : 9)
            for (int deep = 0; deep < 2; deep++) {
                iip_raster shape = {131, 97, bands, deep ? IIP_U16 : IIP_U8, 0, NULL};
                iip_enc_opts o = {.quality = q};
                collector c = {.fail_at = -1};

                assert_int_equal(written(&c, &shape, &o, &e), IIP_OK);
                check(&c, &shape, 0);
                free(c.out.p);
            }
    for (int w = 1; w <= 17; w++) {
        iip_raster shape = {w, 9, 1, IIP_U8, 0, NULL};
        iip_enc_opts o = {.quality = 1, .bilevel = 1};
        collector c = {.fail_at = -1};

        assert_int_equal(written(&c, &shape, &o, &e), IIP_OK);
        check(&c, &shape, 1);
        free(c.out.p);
    }
}

/* A profile as simple as libpng takes it: header, an empty tag table, bytes behind it. */
#define ICC 3000
static size_t profile(unsigned char *p, const char *space)
{
    for (int i = 132; i < ICC; i++)
        p[i] = (unsigned char)(i * i >> 5);
    memset(p, 0, 132);
    p[2] = ICC >> 8;
    p[3] = ICC & 255;
    p[8] = 2;
    memcpy(p + 12, "mntr", 4);
    memcpy(p + 16, space, 4);
    memcpy(p + 20, "XYZ ", 4);
    memcpy(p + 36, "acsp", 4);
    memcpy(p + 68, "\0\0\xf6\xd6\0\1\0\0\0\0\xd3\x2d", 12);
    return ICC;
}

static void metadata(void **state)
{
    static const char xmp[] = "<x:xmpmeta>\xc3\xa4</x:xmpmeta>";
    const iip_raster shape = {33, 20, 3, IIP_U8, 0, NULL};
    unsigned char icc[ICC];
    const unsigned char *p;
    size_t n;
    iip_error e;
    collector c = {.fail_at = -1};
    iip_enc_opts o = {.quality = 1,
                      .icc = icc,
                      .xmp = xmp,
                      .xmp_len = sizeof xmp - 1,
                      .exif = "MM\0*\0\0\0\10\0\0",
                      .exif_len = 10,
                      .copyright = "\xc2\xa9 me",
                      .res_x = 118.11,
                      .res_y = 59.06};

    o.icc_len = profile(icc, "RGB ");
    assert_int_equal(written(&c, &shape, &o, &e), IIP_OK);
    check(&c, &shape, 0);
    assert_non_null(p = chunk(&c, "eXIf", &n));
    assert_int_equal(n, 10);
    assert_memory_equal(p, o.exif, n);
    assert_non_null(p = chunk(&c, "iTXt", &n));
    assert_int_equal(n, 9 + 5 + 5);
    assert_memory_equal(p, "Copyright\0\0\0\0\0\xc2\xa9 me", n);
    memcpy(c.out.p + (p - c.out.p) - 4, "seen", 4);
    assert_non_null(p = chunk(&c, "iTXt", &n));
    memcpy(memmem(c.out.p, c.out.n, "seen", 4), "iTXt", 4);
    assert_int_equal(n, 17 + 1 + 2 + 1 + 1 + sizeof xmp -
                            1); /* keyword, NUL, not compressed, no language, no translation */
    assert_memory_equal(p, "XML:com.adobe.xmp\0\0\0\0\0", 22);
    assert_memory_equal(p + 22, xmp, sizeof xmp - 1);
    assert_non_null(p = chunk(&c, "pHYs", &n));
    assert_true(be32(p) == 11811 && be32(p + 4) == 5906 && p[8] == 1);
    assert_non_null(chunk(&c, "iCCP", &n));
    {
        png_structp png = png_create_read_struct(PNG_LIBPNG_VER_STRING, NULL, NULL, NULL);
        png_infop info = png_create_info_struct(png);
        cursor k = {&c, 0};
        png_charp name;
        png_bytep got;
        png_uint_32 len;
        int method;

        assert_int_equal(setjmp(png_jmpbuf(png)), 0);
        png_set_read_fn(png, &k, take);
        png_read_info(png, info);
        assert_int_equal(png_get_iCCP(png, info, &name, &method, &got, &len), PNG_INFO_iCCP);
        assert_int_equal(len, ICC);
        assert_memory_equal(got, icc, ICC);
        png_destroy_read_struct(&png, &info, NULL);
    }
    free(c.out.p);

    /* what the format has no way for is left out, the picture is whole: text with NUL, resolutions that are none */
    for (int i = 0; i < 2; i++) {
        o.icc_len = o.exif_len = 0;
        o.copyright = NULL;
        o.xmp = "a\0b";
        o.xmp_len = 3;
        o.res_x = i ? 1e12 : -1;
        assert_int_equal(written(&c, &shape, &o, &e), IIP_OK);
        check(&c, &shape, 0);
        assert_null(chunk(&c, "iCCP", &n));
        assert_null(chunk(&c, "iTXt", &n));
        assert_null(chunk(&c, "eXIf", &n));
        assert_null(chunk(&c, "pHYs", &n));
        free(c.out.p);
    }
}

/* More than is held at once: the same pixels, in chunks of 64 KiB, and any of them may fail to go out. */
static void streamed(void **state)
{
    const iip_raster shapes[] = {{2600, 2200, 3, IIP_U8, 0, NULL}, {2100, 2000, 4, IIP_U16, 0, NULL}};
    iip_error e;

    for (int i = 0; i < 2; i++)
        for (int q = 0; q < 2; q++) {
            const iip_enc_opts o = {.quality = q};
            collector c = {.fail_at = -1};
            int writes, chunks = 0;

            assert_int_equal(written(&c, &shapes[i], &o, &e), IIP_OK);
            check(&c, &shapes[i], 0);
            for (size_t at = 8; at + 12 <= c.out.n; at += 12 + be32(c.out.p + at))
                if (memcmp(c.out.p + at + 4, "IDAT", 4) == 0) {
                    assert_in_range(be32(c.out.p + at), 1, 65536);
                    chunks++;
                }
            assert_true(chunks > 10);
            writes = c.writes;
            free(c.out.p);
            for (int n = 3; n < writes; n += writes / 3) {
                c.fail_at = n;
                assert_int_equal(written(&c, &shapes[i], &o, &e), IIP_E_ABORTED);
                free(c.out.p);
            }
        }
}

/* What is sent while it is made is deflated at level 6 where more is asked for. */
static void most_of_a_stream(void **state)
{
    const iip_raster shape = {2600, 2200, 3, IIP_U8, 0, NULL};
    bytes out[2];
    iip_error e;

    for (int i = 0; i < 2; i++) {
        const iip_enc_opts o = {.quality = i ? 6 : 9};
        collector c = {.fail_at = -1};

        assert_int_equal(written(&c, &shape, &o, &e), IIP_OK);
        check(&c, &shape, 0);
        out[i] = c.out;
    }
    assert_int_equal(out[1].n, out[0].n);
    assert_memory_equal(out[1].p, out[0].p, out[0].n);
    free(out[0].p);
    free(out[1].p);
}

static void sink_fails(void **state)
{
    const iip_raster shape = {300, 300, 3, IIP_U8, 0, NULL};
    const iip_enc_opts o = {.quality = 1};
    int n = 0;

    for (;; n++) {
        collector c = {.fail_at = n};
        iip_error e = {0};
        iip_status rv = written(&c, &shape, &o, &e);

        free(c.out.p);
        if (rv == IIP_OK)
            break;
        assert_int_equal(rv, IIP_E_ABORTED);
        assert_int_equal(e.status, IIP_E_ABORTED);
        assert_string_equal(e.detail, "gone");
    }
#ifdef IIP_HAVE_DEFLATE
    assert_int_equal(n, 4); /* signature, three chunks */
#else
    assert_true(n > 4); /* the pixels in more of them */
#endif
}

static void misuse(void **state)
{
    const iip_encoder *enc = iip_encoder_by_ext("png");
    const iip_enc_opts o = {.quality = 1};
    collector c = {{collect}, {NULL, 0}, 0, -1};
    unsigned char px[30] = {0};
    iip_writer_t *w;
    iip_error e;
    static const struct {
        iip_raster shape;
        iip_status is;
    } cases[] = {{{0, 1, 3, IIP_U8, 0, NULL}, IIP_E_LIMIT},
                 {{INT64_C(1) << 31, 1, 3, IIP_U8, 0, NULL}, IIP_E_LIMIT},
                 {{9, INT64_C(1) << 40, 3, IIP_U8, 0, NULL}, IIP_E_LIMIT},
                 {{9, 9, 5, IIP_U8, 0, NULL}, IIP_E_FEATURE},
                 {{9, 9, 3, IIP_F32, 0, NULL}, IIP_E_FEATURE},
                 {{2000000, 2000000, 3, IIP_U8, 0, NULL}, IIP_OK},
                 {{10, 2, 1, IIP_U8, 0, NULL}, IIP_OK}};

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_int_equal(enc->begin(&w, &cases[i].shape, &o, &c.k, pool, &e), cases[i].is);
    assert_int_equal(enc->end(w, &e), IIP_E_IO);                                           /* rows are missing */
    assert_int_equal(enc->rows(w, &(iip_raster){10, 3, 1, IIP_U8, 10, px}, &e), IIP_E_IO); /* too many */
    free(c.out.p);
}

static int group(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(exact),      cmocka_unit_test(metadata),
        cmocka_unit_test(streamed),   cmocka_unit_test(most_of_a_stream),
        cmocka_unit_test(sink_fails), cmocka_unit_test(misuse),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

int main(void)
{
    return run_cases(group);
}
