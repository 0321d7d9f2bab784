/* SPDX-License-Identifier: Apache-2.0
 * JPEG writer: what it makes is read back by plain libjpeg and compared with what went in. */
#include "jpeg_plain.h"

static iip_status written_as(collector *c, int w, int h, int bands, const iip_enc_opts *o, iip_error *e)
{
    const iip_encoder *enc = iip_encoder_by_ext("jpg");
    iip_raster shape = {w, h, bands, IIP_U8, 0, NULL};
    size_t stride = (size_t)w * bands + 3;
    unsigned char *px = malloc(stride * 64);
    iip_writer_t *wr;
    apr_pool_t *p;
    iip_status rv;

    apr_pool_create(&p, pool);
    rv = enc->begin(&wr, &shape, o, &c->k, p, e);
    for (int y = 0, n = 1; y < h && rv == IIP_OK; y += n, n = n % 37 + 5) { /* strips of all heights */
        iip_raster strip = {w, n = n > h - y ? h - y : n, bands, IIP_U8, stride, px};

        for (int i = 0; i < n * w * bands; i++)
            px[i / (w * bands) * stride + i % (w * bands)] =
                sample_at(i % (w * bands) / bands, y + i / (w * bands), i % bands);
        rv = enc->rows(wr, &strip, e);
    }
    if (rv == IIP_OK)
        rv = enc->end(wr, e);
    apr_pool_destroy(p);
    free(px);
    return rv;
}

/* The marker of its frame: SOF0 is baseline, SOF2 progressive. */
static int frame_of(bytes b)
{
    for (size_t at = 2; at + 4 < b.n; at += 2 + (size_t)(b.p[at + 2] << 8 | b.p[at + 3]))
        if (b.p[at + 1] >= 0xc0 && b.p[at + 1] <= 0xcf && b.p[at + 1] != 0xc4)
            return b.p[at + 1];
    return 0;
}

/* A picture of blocks of two by two equal pixels: its chroma is what it is, whoever halves it. So planes, made by
 * JFIF's formulas as libjpeg rounds them, become the very file that rows do. */
static void planes_written(void **state)
{
    static const int sizes[][2] = {{301, 203}, {16, 16}, {17, 15}, {1, 1}, {8, 33}, {2, 40}, {40, 2}, {333, 16}};
    const iip_encoder *enc = iip_encoder_by_ext("jpg");

    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        const int w = sizes[i][0], h = sizes[i][1], cw = (w + 1) / 2, ch = (h + 1) / 2;
        collector c[2] = {{{collect}, {0}, 0, -1}, {{collect}, {0}, 0, -1}};
        unsigned char *px = malloc((size_t)(w * h * 3)),
                      *plane[3] = {malloc((size_t)(w * h)), malloc((size_t)(cw * ch)), malloc((size_t)(cw * ch))};
        iip_raster shape = {w, h, 3, IIP_U8, (size_t)w * 3, px};
        apr_pool_t *p;
        iip_error e;

        for (int n = 0; n < w * h; n++) {
            const int x = n % w / 2, y = n / w / 2;
            const int r = sample_at(x, y, 0), g = sample_at(x, y, 1), b = sample_at(x, y, 2);

            px[3 * n] = (unsigned char)r;
            px[3 * n + 1] = (unsigned char)g;
            px[3 * n + 2] = (unsigned char)b;
            plane[0][n] = (unsigned char)((19595 * r + 38470 * g + 7471 * b + 32768) >> 16);
            plane[1][y * cw + x] = (unsigned char)((-11059 * r - 21709 * g + 32768 * b + (128 << 16) + 32767) >> 16);
            plane[2][y * cw + x] = (unsigned char)((32768 * r - 27439 * g - 5329 * b + (128 << 16) + 32767) >> 16);
        }
        for (int how = 0; how < 2; how++) {
            iip_enc_opts o = {.quality = 85, .planes = how};
            int done[3] = {0};
            iip_writer_t *wr;

            apr_pool_create(&p, pool);
            assert_int_equal(enc->begin(&wr, &shape, &o, &c[how].k, p, &e), IIP_OK);
            if (!how)
                assert_int_equal(enc->rows(wr, &shape, &e), IIP_OK);
            for (int y = 0; how && y < h; y += 4)
                for (int k = 0; k < 3; k++) {
                    const int all = k ? ch : h, until = k ? y / 2 + 2 : y + 4, to = until < all ? until : all;

                    while (done[k] < to) {
                        const int n = (int)i % 2 ? 1 : to - done[k], wide = k ? cw : w;
                        iip_raster strip = {wide, n, 1, IIP_U8, (size_t)wide, plane[k] + done[k] * wide};

                        assert_int_equal(enc->plane(wr, k, &strip, &e), IIP_OK);
                        done[k] += n;
                    }
                }
            assert_int_equal(enc->end(wr, &e), IIP_OK);
            apr_pool_destroy(p);
        }
        assert_int_equal(c[0].out.n, c[1].out.n);
        assert_memory_equal(c[0].out.p, c[1].out.p, c[0].out.n);
        free(c[0].out.p);
        free(c[1].out.p);
        for (int k = 0; k < 3; k++)
            free(plane[k]);
        free(px);
    }
}

/* The same pixels as of libjpeg asked plainly for this quality and sampling. */
static void written(void **state)
{
    static const struct {
        int bands, q, factor;
    } cases[] = {{1, 100, 1}, {1, 75, 1}, {3, 100, 1}, {3, 90, 1}, {3, 89, 2}, {3, 75, 2}, {3, 1, 2}};
    iip_error e;

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const int grey = cases[i].bands == 1;
        recipe plain = {.in = grey ? JCS_GRAYSCALE : JCS_RGB,
                        .stored = grey ? JCS_GRAYSCALE : JCS_YCbCr,
                        .bands = cases[i].bands,
                        .w = 301,
                        .h = 203,
                        .hs = cases[i].factor,
                        .vs = cases[i].factor,
                        .quality = cases[i].q};
        collector c = {{collect}, {0}, 0, -1};
        iip_enc_opts o = {.quality = cases[i].q};
        bytes b = make(&plain);
        picture ours, theirs = decode(b, 1);

        assert_int_equal(written_as(&c, 301, 203, cases[i].bands, &o, &e), IIP_OK);
        ours = decode(c.out, 1);
        assert_true(ours.w == 301 && ours.h == 203 && ours.bands == cases[i].bands);
        assert_true(ours.hs == cases[i].factor && ours.vs == cases[i].factor);
        assert_memory_equal(ours.px, theirs.px, (size_t)301 * 203 * ours.bands);
        picture_free(&ours);
        assert_int_equal(frame_of(c.out), 0xc0);
        free(c.out.p);
        c = (collector){{collect}, {0}, 0, -1};
        o.progressive = 1; /* the same pixels in another order */
        assert_int_equal(written_as(&c, 301, 203, cases[i].bands, &o, &e), IIP_OK);
        ours = decode(c.out, 1);
        assert_int_equal(frame_of(c.out), 0xc2);
        assert_memory_equal(ours.px, theirs.px, (size_t)301 * 203 * ours.bands);
        picture_free(&ours);
        picture_free(&theirs);
        free(b.p);
        free(c.out.p);
    }
}

static void metadata_written(void **state)
{
    unsigned char *icc = malloc(200000), *xmp = malloc(70000);
    iip_enc_opts o = {
        .quality = 75, .icc = icc, .icc_len = 200000, .xmp = xmp, .xmp_len = 65502, .res_x = 118.11, .res_y = 118.11};
    collector c = {{collect}, {0}, 0, -1};
    iip_error e;
    picture p;
    bytes plain, both;

    for (int i = 0; i < 200000; i++)
        icc[i] = (unsigned char)(i ^ i >> 8);
    memset(xmp, 'x', 70000);
    assert_int_equal(written_as(&c, 40, 30, 3, &o, &e), IIP_OK);
    p = decode(c.out, 1);
    assert_int_equal(p.icc_len, 200000);
    assert_memory_equal(p.icc, icc, 200000);
    assert_int_equal(p.xmp.n, 29 + 65502);
    assert_memory_equal(p.xmp.p, "http://ns.adobe.com/xap/1.0/", 29);
    assert_memory_equal(p.xmp.p + 29, xmp, 65502);
    assert_true(p.density_unit == 1 && p.density == 300);
    picture_free(&p);
    free(c.out.p);

    o.xmp_len = 65503; /* one byte more than XMP allows in JPEG: left out */
    o.icc_len = 0;
    o.res_x = 1e9;
    c = (collector){{collect}, {0}, 0, -1};
    assert_int_equal(written_as(&c, 40, 30, 3, &o, &e), IIP_OK);
    p = decode(c.out, 1);
    assert_true(p.icc_len == 0 && p.xmp.n == 0 && p.density_unit == 0);
    picture_free(&p);

    /* a profile put into a plain file */
    plain = c.out;
    assert_int_equal(iip_encoder_by_ext("jpg")->splice(&o, NULL, 0), 0);
    assert_int_equal(iip_encoder_by_ext("jpg")->splice(&o, plain.p, plain.n), plain.n);
    assert_int_equal(iip_encoder_by_ext("jpg")->splice(&o, plain.p, 3), 0);
    o.icc_len = 200000;
    both.p = malloc(plain.n + iip_encoder_by_ext("jpg")->splice(&o, NULL, 0));
    memcpy(both.p, plain.p, plain.n);
    both.n = iip_encoder_by_ext("jpg")->splice(&o, both.p, plain.n);
    assert_int_equal(both.n, plain.n + iip_encoder_by_ext("jpg")->splice(&o, NULL, 0));
    p = decode(both, 1);
    assert_int_equal(p.icc_len, 200000);
    assert_memory_equal(p.icc, icc, 200000);
    assert_memory_equal(both.p + 6, "JFIF", 5); /* which has to come first */
    picture_free(&p);
    free(both.p);
    memcpy(plain.p + 4, "\xFF\xFF", 2); /* a length that is none */
    assert_int_equal(iip_encoder_by_ext("jpg")->splice(&o, plain.p, 6), 0);
    free(plain.p);
    free(icc);
    free(xmp);
}

static void sink_fails(void **state)
{
    iip_enc_opts o = {.quality = 95};
    iip_error e;
    int n = 0;

    for (;; n++) {
        collector c = {{collect}, {0}, 0, n};
        iip_status rv;

        memset(&e, 0, sizeof e);
        rv = written_as(&c, 300, 400, 3, &o, &e);
        free(c.out.p);
        if (rv == IIP_OK)
            break;
        assert_int_equal(rv, IIP_E_ABORTED);
        assert_int_equal(e.status, IIP_E_ABORTED);
        assert_string_equal(e.detail, "gone");
    }
    assert_true(n > 2); /* more than one buffer, and the end */
}

static void shapes_refused(void **state)
{
    const iip_encoder *enc = iip_encoder_find(IIP_FMT_JPEG);
    iip_enc_opts o = {.quality = 75};
    collector c = {{collect}, {0}, 0, -1};
    iip_writer_t *w;
    iip_error e;
    static const struct {
        iip_raster shape;
        iip_status is;
    } cases[] = {{{65501, 1, 3, IIP_U8, 0, NULL}, IIP_E_LIMIT}, {{1, 65501, 3, IIP_U8, 0, NULL}, IIP_E_LIMIT},
                 {{0, 1, 3, IIP_U8, 0, NULL}, IIP_E_LIMIT},     {{9, 9, 4, IIP_U8, 0, NULL}, IIP_E_FEATURE},
                 {{9, 9, 3, IIP_U16, 0, NULL}, IIP_E_FEATURE},  {{65500, 1, 3, IIP_U8, 0, NULL}, IIP_OK}};

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_int_equal(enc->begin(&w, &cases[i].shape, &o, &c.k, pool, &e), cases[i].is);
    assert_int_equal(enc->end(w, &e), IIP_E_IO); /* rows are missing */
}

static int group(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(written),    cmocka_unit_test(planes_written), cmocka_unit_test(metadata_written),
        cmocka_unit_test(sink_fails), cmocka_unit_test(shapes_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

int main(void)
{
    return run_cases(group);
}
