/* SPDX-License-Identifier: Apache-2.0
 * WebP reader and writer. Files to read are libwebp's, put into containers that are written here from RFC 9649;
 * expectations are libwebp's simple decoder's, or the picture that went in. */
#include "codec_cases.h"
#include <webp/decode.h>
#include <webp/encode.h>

/* --- files -------------------------------------------------------------------------------------------------------- */

/* By the simple API: lossy (quality < 100) or lossless. */
static bytes plain(const iip_raster *in, float quality)
{
    bytes b = {0};
    uint8_t *out;

    if (in->bands == 3)
        b.n = quality < 100 ? WebPEncodeRGB(in->px, (int)in->w, (int)in->h, (int)in->stride, quality, &out)
                            : WebPEncodeLosslessRGB(in->px, (int)in->w, (int)in->h, (int)in->stride, &out);
    else
        b.n = quality < 100 ? WebPEncodeRGBA(in->px, (int)in->w, (int)in->h, (int)in->stride, quality, &out)
                            : WebPEncodeLosslessRGBA(in->px, (int)in->w, (int)in->h, (int)in->stride, &out);
    assert_true(b.n > 0);
    b.p = malloc(b.n);
    memcpy(b.p, out, b.n);
    WebPFree(out);
    return b;
}

static iip_raster decoded(bytes b)
{
    WebPBitstreamFeatures f;
    iip_raster r;
    uint8_t *px;
    int w, h;

    assert_int_equal(WebPGetFeatures(b.p, b.n, &f), VP8_STATUS_OK);
    px = f.has_alpha ? WebPDecodeRGBA(b.p, b.n, &w, &h) : WebPDecodeRGB(b.p, b.n, &w, &h);
    assert_non_null(px);
    r = blank(w, h, f.has_alpha ? 4 : 3, IIP_U8);
    memcpy(r.px, px, r.stride * (size_t)h);
    WebPFree(px);
    return r;
}

static void append(bytes *b, const void *p, size_t n)
{
    b->p = realloc(b->p, b->n + n + 1);
    if (n)
        memcpy(b->p + b->n, p, n);
    b->n += n;
}

static void le(unsigned char *p, size_t v, int n)
{
    for (; n > 0; n--, v >>= 8)
        *p++ = (unsigned char)v;
}

static void chunk(bytes *b, const char *name, const void *p, size_t n)
{
    unsigned char size[4];

    le(size, n, 4);
    append(b, name, 4);
    append(b, size, 4);
    append(b, p, n);
    if (n & 1)
        append(b, "", 1);
}

static bytes container(int flags, int w, int h)
{
    bytes b = {0};
    unsigned char x[10] = {(unsigned char)flags};

    append(&b, "RIFF\0\0\0\0WEBP", 12);
    le(x + 4, (size_t)w - 1, 3);
    le(x + 7, (size_t)h - 1, 3);
    chunk(&b, "VP8X", x, 10);
    return b;
}

static void finish(bytes *b)
{
    le(b->p + 4, b->n - 8, 4);
}

/* The chunks of the picture in a file of the simple API. */
static bytes image_chunks(bytes file)
{
    size_t skip = 12 + (memcmp(file.p + 12, "VP8X", 4) == 0 ? 18 : 0);

    return (bytes){file.p + skip, file.n - skip};
}

/* Contents of the n-th chunk of this name; NULL if there is none. */
static const unsigned char *find(bytes b, const char *name, size_t *n)
{
    for (size_t at = 12; at + 8 <= b.n; at += 8 + *n + (*n & 1)) {
        *n = b.p[at + 4] | (size_t)b.p[at + 5] << 8 | (size_t)b.p[at + 6] << 16;
        if (memcmp(b.p + at, name, 4) == 0)
            return b.p + at + 8;
    }
    return NULL;
}

/* --- reader ------------------------------------------------------------------------------------------------------- */

static void kinds(void **state)
{
    static const int sizes[][2] = {{203, 151}, {1, 1}, {1, 60}, {60, 1}, {16, 16}, {17, 33}};

    for (int bands = 3; bands <= 4; bands++)
        for (int q = 0; q < 3; q++)
            for (size_t k = 0; k < sizeof sizes / sizeof *sizes; k++) {
                iip_raster in = painted(sizes[k][0], sizes[k][1], bands, IIP_U8), ref;
                bytes b = plain(&in, (float)(q * 50));
                char name[40];
                subject t;

                snprintf(name, sizeof name, "%d bands, quality %d, size %d", bands, q * 50, (int)k);
                ref = decoded(b);
                if (q == 2 && bands == 3)
                    assert_memory_equal(ref.px, in.px, in.stride * (size_t)in.h);
                read_trial(b, &ref, name);
                opened(&t, b);
                assert_true(t.info.space == IIP_RGB && t.info.alpha == ref.bands - 3 && t.info.bits == 8);
                assert_true(t.info.hold >= ref.stride * (size_t)ref.h);
                assert_true(!t.info.tiled && t.info.orientation <= 1 && t.info.icc_len == 0 && t.info.xmp_len == 0);
                done(&t);
                free(ref.px);
                free(in.px);
                free(b.p);
            }
}

/* EXIF block: orientation, and resolution in dots an inch. */
static size_t exif(unsigned char *p, int orientation)
{
    static const unsigned char block[] = {'I',  'I', 42,   0,  8, 0, 0, 0,    4, 0, /* four entries */
                                          0x12, 1,   3,    0,  1, 0, 0, 0,    0, 0,   0, 0, 0x1a, 1, 5, 0,  1,
                                          0,    0,   0,    62, 0, 0, 0, 0x1b, 1, 5,   0, 1, 0,    0, 0, 70, 0,
                                          0,    0,   0x28, 1,  3, 0, 1, 0,    0, 0,   2, 0, 0,    0, 0, 0,  0,
                                          0,    44,  1,    0,  0, 1, 0, 0,    0, 150, 0, 0, 0,    1, 0, 0,  0};

    memcpy(p, block, sizeof block);
    p[18] = (unsigned char)orientation;
    return sizeof block;
}

static void metadata_read(void **state)
{
    static const char xmp[] = "<x:xmpmeta/>!";
    iip_raster in = painted(40, 30, 4, IIP_U8), ref;
    bytes file = plain(&in, 60), image = image_chunks(file), b;
    unsigned char icc[3333], block[100];
    size_t n = exif(block + 6, 6);
    subject t;

    memset(icc, 'i', sizeof icc);
    memcpy(block, "Exif\0", 6);
    for (int named = 0; named < 2; named++) { /* as the standard says, and with JPEG's name in front */
        b = container(0x3c, 40, 30);
        chunk(&b, "ICCP", icc, sizeof icc);
        append(&b, image.p, image.n);
        chunk(&b, "junk", "123", 3);
        chunk(&b, "EXIF", block + 6 * !named, n + 6 * named);
        chunk(&b, "XMP ", xmp, sizeof xmp);
        chunk(&b, "XMP ", "second", 6);
        finish(&b);
        opened(&t, b);
        assert_int_equal(t.info.icc_len, sizeof icc);
        assert_memory_equal(t.info.icc, icc, sizeof icc);
        assert_int_equal(t.info.xmp_len, sizeof xmp);
        assert_memory_equal(t.info.xmp, xmp, sizeof xmp);
        assert_int_equal(t.info.orientation, 6);
        assert_int_equal(t.info.exif_len, n);
        assert_memory_equal(t.info.exif, block + 6, n);
        assert_true(t.info.res_x > 118.1 && t.info.res_x < 118.12 && t.info.res_y > 59.05 && t.info.res_y < 59.06);
        done(&t);
        ref = decoded(file);
        read_trial(b, &ref, "with metadata");
        assert_true(cut_trial(b, &ref, "with metadata") >= (int)(n + sizeof xmp));
        source_trial(b, &ref);
        free(ref.px);
        free(b.p);
    }
    free(file.p);
    free(in.px);
}

/* A frame smaller than its canvas lies on nothing; the second frame does not matter. */
static void animation(void **state)
{
    for (int bands = 3; bands <= 4; bands++)
        for (int lossless = 0; lossless < 2; lossless++)
            for (int full = 0; full < 2; full++) {
                iip_raster in = painted(30, 20, bands, IIP_U8), one, ref;
                bytes file = plain(&in, lossless ? 100 : 40), image = image_chunks(file), b, frame = {0};
                int w = full ? 30 : 50, h = full ? 20 : 41, x = full ? 0 : 6, y = full ? 0 : 14;
                unsigned char head[16] = {0}, block[100];
                subject t;

                one = decoded(file);
                b = container(0x12 | 8, w, h);
                chunk(&b, "ANIM", "\1\2\3\4\0\0", 6);
                le(head, (size_t)x / 2, 3);
                le(head + 3, (size_t)y / 2, 3);
                le(head + 6, 29, 3);
                le(head + 9, 19, 3);
                append(&frame, head, 16);
                append(&frame, image.p, image.n);
                chunk(&b, "ANMF", frame.p, frame.n);
                memset(frame.p + 16, 0x77, frame.n - 16);
                chunk(&b, "ANMF", frame.p, frame.n);
                chunk(&b, "EXIF", block, exif(block, 8));
                finish(&b);
                ref = blank(w, h, full && bands == 3 ? 3 : 4, IIP_U8);
                for (int r = 0; r < 20; r++)
                    for (int c = 0; c < 30; c++) {
                        unsigned char *to = ref.px + (size_t)(y + r) * ref.stride + (size_t)((x + c) * ref.bands);

                        if (ref.bands == 4)
                            to[3] = 255;
                        memcpy(to, one.px + (size_t)r * one.stride + (size_t)(c * one.bands), (size_t)one.bands);
                    }
                opened(&t, b);
                assert_int_equal(t.info.alpha, ref.bands == 4);
                assert_int_equal(t.info.orientation, 8);
                done(&t);
                read_trial(b, &ref, "animation");
                cut_trial(b, &ref, "animation");
                mutant_trial(b, &ref, 300);
                free(ref.px);
                free(one.px);
                free(in.px);
                free(frame.p);
                free(b.p);
                free(file.p);
            }
}

static void damaged(void **state)
{
    iip_raster in = painted(90, 70, 4, IIP_U8);

    for (int q = 0; q < 3; q++) {
        bytes b = plain(&in, (float)(q * 50));
        iip_raster ref = decoded(b);

        assert_int_equal(cut_trial(b, &ref, "plain"), 0);
        mutant_trial(b, &ref, 600);
        source_trial(b, &ref);
        free(ref.px);
        free(b.p);
    }
    free(in.px);
}

static void headers_refused(void **state)
{
    iip_raster in = painted(30, 20, 3, IIP_U8), ref = blank(30, 20, 3, IIP_U8);
    bytes file = plain(&in, 50), image = image_chunks(file), b;
    unsigned char head[16] = {0};
    int same;

    b = container(0, 31, 20); /* a canvas of another size */
    append(&b, image.p, image.n);
    finish(&b);
    assert_int_equal(read_all(b, -1, &ref, &same), IIP_E_FORMAT);
    free(b.p);
    b = container(0, 1 << 24, 1 << 24); /* more pixels than the format has */
    append(&b, image.p, image.n);
    finish(&b);
    assert_int_equal(read_all(b, -1, &ref, &same), IIP_E_FORMAT);
    free(b.p);
    b = container(0, 30, 20); /* nothing in it */
    chunk(&b, "ICCP", head, 16);
    finish(&b);
    assert_int_equal(read_all(b, -1, &ref, &same), IIP_E_FORMAT);
    free(b.p);
    b = container(2, 20, 20); /* a frame over the edge */
    le(head + 6, 29, 3);
    le(head + 9, 19, 3);
    chunk(&b, "ANMF", head, 16);
    append(&b, image.p, image.n);
    finish(&b);
    assert_int_equal(read_all(b, -1, &ref, &same), IIP_E_FORMAT);
    free(b.p);
    b = container(2, 30, 20); /* an animation without frames */
    append(&b, image.p, image.n);
    finish(&b);
    assert_int_equal(read_all(b, -1, &ref, &same), IIP_E_FORMAT);
    free(b.p);
    free(file.p);
    free(ref.px);
    free(in.px);
}

/* --- writer ------------------------------------------------------------------------------------------------------- */

/* What the bands of a picture look like as RGBA. */
static unsigned seen(const iip_raster *r, int64_t at, int band)
{
    const unsigned char *px = r->px + (size_t)at * (size_t)r->bands;

    if (band == 3)
        return r->bands % 2 ? 255 : px[r->bands - 1];
    return px[r->bands > 2 ? band : 0];
}

static double check_written(const iip_raster *in, int quality)
{
    const iip_enc_opts o = {.quality = quality};
    bytes b = encode("webp", in, &o);
    WebPBitstreamFeatures f;
    double sum = 0, weight = 0;
    uint8_t *px;
    int w, h;

    assert_int_equal(WebPGetFeatures(b.p, b.n, &f), VP8_STATUS_OK);
    assert_int_equal(f.format, quality < 1 ? 2 : 1);
    assert_int_equal(f.has_alpha, in->bands % 2 == 0 && in->w > 1); /* alpha that is full everywhere is none */
    px = WebPDecodeRGBA(b.p, b.n, &w, &h);
    assert_non_null(px);
    assert_true(w == in->w && h == in->h);
    for (int64_t i = 0; i < in->w * in->h; i++)
        for (int band = 0; band < 4; band++) {
            double d = (double)seen(in, i, band) - px[4 * i + band];

            if (quality < 1 || band == 3) /* alpha is never lossy */
                assert_true(d == 0);
            else
                sum += d * d * seen(in, i, 3);
            weight += band < 3 ? seen(in, i, 3) : 0;
        }
    WebPFree(px);
    free(b.p);
    return sum / weight;
}

static void written(void **state)
{
    static const int sizes[][2] = {{203, 151}, {1, 1}, {1, 70}, {70, 1}, {32, 32}, {700, 600}};

    for (size_t k = 0; k < sizeof sizes / sizeof *sizes; k++)
        for (int bands = 1; bands <= 4; bands++) {
            iip_raster in = painted(sizes[k][0], sizes[k][1], bands, IIP_U8);
            double worse;

            assert_true(check_written(&in, 0) == 0);
            worse = check_written(&in, 20);
            if (in.w > 100) {
                double good = check_written(&in, 95);

                assert_true(good < worse && good < 60 && worse < 600); /* a picture full of edges */
            }
            free(in.px);
        }
}

/* Flat grey comes back as the same grey, 0 to 255, from luma alone as from three bands. */
static void greys(void **state)
{
    for (int v = 0; v < 256; v++) {
        iip_raster in = blank(16, 16, 1, IIP_U8);
        const iip_enc_opts o = {.quality = 100};
        bytes b;
        uint8_t *px;
        int w, h;

        memset(in.px, v, 256);
        b = encode("webp", &in, &o);
        px = WebPDecodeRGB(b.p, b.n, &w, &h);
        assert_non_null(px);
        for (int i = 0; i < 16 * 16 * 3; i++)
            assert_in_range(px[i] + 1, v, v + 2);
        WebPFree(px);
        free(b.p);
        free(in.px);
    }
}

static void check_chunk(bytes b, const char *name, const void *is, size_t len)
{
    size_t n;
    const unsigned char *p = find(b, name, &n);

    assert_true((p != NULL) == (len > 0));
    if (p) {
        assert_int_equal(n, len);
        assert_memory_equal(p, is, n);
    }
}

/* A file with a profile: the same pixels, the chunks where and as they belong. */
static void check_extended(bytes b, bytes without, const iip_enc_opts *o)
{
    iip_raster a = decoded(b), c = decoded(without);
    const unsigned char *p;
    size_t n;

    assert_int_equal(b.p[4] | b.p[5] << 8 | b.p[6] << 16 | (size_t)b.p[7] << 24, b.n - 8);
    assert_int_equal(b.n % 2, 0);
    assert_int_equal(a.bands, c.bands);
    assert_memory_equal(a.px, c.px, a.stride * (size_t)a.h);
    assert_non_null(p = find(b, "VP8X", &n));
    assert_true(p == b.p + 20 && n == 10);
    assert_int_equal(p[0], (o->icc_len ? 0x20 : 0) | (o->xmp_len ? 4 : 0) | (o->exif_len ? 8 : 0) |
                               (a.bands == 4 ? 0x10 : 0));
    assert_true(p[1] + p[2] + p[3] == 0);
    assert_true(p[4] + 256 * p[5] + 1 == a.w && p[7] + 256 * p[8] + 1 == a.h && p[6] + p[9] == 0);
    p = find(b, "ICCP", &n);
    assert_true(p == (o->icc_len ? b.p + 38 : NULL));
    check_chunk(b, "ICCP", o->icc, o->icc_len);
    check_chunk(b, "EXIF", o->exif, o->exif_len);
    check_chunk(b, "XMP ", o->xmp, o->xmp_len);
    free(a.px);
    free(c.px);
}

static void metadata_written(void **state)
{
    const iip_encoder *enc = iip_encoder_by_ext("webp");
    unsigned char icc[3145];

    for (size_t i = 0; i < sizeof icc; i++)
        icc[i] = (unsigned char)(i * i >> 3);
    for (int bands = 3; bands <= 4; bands++)
        for (int q = 0; q < 61; q += 60)
            for (int what = 1; what < 8; what++) {
                iip_raster in = painted(41, 30, bands, IIP_U8);
                iip_enc_opts o = {.quality = q}, bare = o;
                bytes without = encode("webp", &in, &bare), b, tile;

                if (what & 1) {
                    o.icc = icc;
                    o.icc_len = sizeof icc - (size_t)bands; /* even and odd */
                }
                if (what & 2) {
                    o.xmp = "<x:xmpmeta/>";
                    o.xmp_len = 9 + (size_t)bands;
                }
                if (what & 4) {
                    o.exif = "MM\0*\0\0\0\10\0\0";
                    o.exif_len = 7 + (size_t)bands;
                }
                b = encode("webp", &in, &o);
                check_extended(b, without, &o);
                free(b.p);

                /* the same into a stored tile, with something behind it that is not of it */
                o.xmp_len = o.exif_len = 0;
                tile.p = malloc(without.n + 5 + enc->splice(&o, NULL, 0));
                memcpy(tile.p, without.p, without.n);
                memset(tile.p + without.n, 7, 5);
                tile.n = enc->splice(&o, tile.p, without.n + 5);
                assert_in_range(tile.n, without.n, without.n + enc->splice(&o, NULL, 0));
                if (what & 1) {
                    check_extended(tile, without, &o);
                    assert_int_equal(enc->splice(&o, tile.p, tile.n), 0); /* it has one */
                } else {
                    assert_int_equal(tile.n, without.n);
                    assert_memory_equal(tile.p, without.p, tile.n);
                }
                free(tile.p);
                free(without.p);
                free(in.px);
            }
}

static void splice_refused(void **state)
{
    const iip_encoder *enc = iip_encoder_by_ext("webp");
    iip_raster in = painted(41, 30, 4, IIP_U8);
    bytes good = plain(&in, 50);
    iip_enc_opts o = {.icc = "profile", .icc_len = 7};
    unsigned char *tile = malloc(good.n + 40);

    for (size_t n = 0; n < good.n; n++) { /* cut: refused with a profile and without */
        memcpy(tile, good.p, n);
        assert_int_equal(enc->splice(&o, tile, n), 0);
    }
    for (unsigned i = 0; i < 20; i++) { /* nothing that is not WebP goes through */
        iip_enc_opts bare = {.quality = 50};

        memcpy(tile, good.p, good.n);
        tile[i] ^= 0x80;
        assert_int_equal(enc->splice(&bare, tile, good.n) == 0, i < 12);
    }
    free(tile);
    free(good.p);
    free(in.px);
}

static void trials(void **state)
{
    const iip_encoder *enc = iip_encoder_by_ext("webp");
    const iip_enc_opts o = {.quality = 50};
    iip_raster in = painted(300, 200, 3, IIP_U8), strip = in;
    collector c = {{collect}, {NULL, 0}, 0, -1};
    iip_writer_t *w;
    iip_error e;
    static const struct {
        iip_raster shape;
        iip_status is;
    } cases[] = {{{0, 1, 3, IIP_U8, 0, NULL}, IIP_E_LIMIT},
                 {{16384, 1, 3, IIP_U8, 0, NULL}, IIP_E_LIMIT},
                 {{9, INT64_C(1) << 40, 3, IIP_U8, 0, NULL}, IIP_E_LIMIT},
                 {{9, 9, 5, IIP_U8, 0, NULL}, IIP_E_FEATURE},
                 {{9, 9, 3, IIP_U16, 0, NULL}, IIP_E_FEATURE},
                 {{16383, 16383, 3, IIP_U8, 0, NULL}, IIP_OK},
                 {{300, 200, 3, IIP_U8, 0, NULL}, IIP_OK}};

    sink_trial("webp", &in, &o, 1);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_int_equal(enc->begin(&w, &cases[i].shape, &o, &c.k, pool, &e), cases[i].is);
    assert_int_equal(enc->end(w, &e), IIP_E_IO); /* rows are missing */
    strip.h = 100;
    assert_int_equal(enc->rows(w, &strip, &e), IIP_E_IO); /* not all of them */
    assert_int_equal(enc->rows(w, &in, &e), IIP_OK);
    assert_int_equal(enc->rows(w, &in, &e), IIP_E_IO); /* twice */
    free(in.px);
}

static int group(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(kinds),   cmocka_unit_test(metadata_read),    cmocka_unit_test(animation),
        cmocka_unit_test(damaged), cmocka_unit_test(headers_refused),  cmocka_unit_test(written),
        cmocka_unit_test(greys),   cmocka_unit_test(metadata_written), cmocka_unit_test(splice_refused),
        cmocka_unit_test(trials),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

int main(void)
{
    return run_cases(group);
}
