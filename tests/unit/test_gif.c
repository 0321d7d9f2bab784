/* SPDX-License-Identifier: Apache-2.0
 * GIF reader and writer. Files to read are giflib's, from indices made here, and expectations are those indices looked
 * up; answers are read back by giflib's other way of reading, all at once. */
#ifdef IIP_HAVE_GIF
#include "codec_cases.h"
#include <math.h>
#include <gif_lib.h>

/* --- files -------------------------------------------------------------------------------------------------------- */

typedef struct {
    int canvas_w, canvas_h, x, y, w, h, bits, local, interlaced, clear, frames;
} recipe;

static int put(GifFileType *g, const GifByteType *p, int n)
{
    bytes *b = g->UserData;

    b->p = realloc(b->p, b->n + (size_t)n);
    memcpy(b->p + b->n, p, (size_t)n);
    b->n += (size_t)n;
    return n;
}

static int index_at(const recipe *c, int x, int y)
{
    return (x * 5 + y * 3 + x * y / 7) & ((1 << c->bits) - 1);
}

static GifColorType colour(const recipe *c, int i)
{
    return (GifColorType){(GifByteType)(i * 7 + c->local), (GifByteType)(255 - i), (GifByteType)(i * i)};
}

typedef void extras_fn(GifFileType *g);

static bytes make(const recipe *c, extras_fn *extras)
{
    static const int from[] = {0, 4, 2, 1}, step[] = {8, 8, 4, 2};
    ColorMapObject *map = GifMakeMapObject(1 << c->bits, NULL), *grey = GifMakeMapObject(2, NULL);
    GraphicsControlBlock control = {.TransparentColor = c->clear};
    GifByteType block[4], line[2000];
    bytes b = {0};
    int code;
    GifFileType *g = EGifOpen(&b, put, &code);

    for (int i = 0; i < 1 << c->bits; i++)
        map->Colors[i] = colour(c, i);
    memset(grey->Colors, 90, 6);
    assert_int_equal(EGifPutScreenDesc(g, c->canvas_w, c->canvas_h, 8, 1, c->local ? grey : map), GIF_OK);
    if (extras)
        extras(g);
    for (int f = 0; f < c->frames; f++) {
        EGifGCBToExtension(&control, block);
        if (c->clear >= 0)
            EGifPutExtension(g, GRAPHICS_EXT_FUNC_CODE, 4, block);
        assert_int_equal(EGifPutImageDesc(g, c->x, c->y, c->w, c->h, c->interlaced, c->local ? map : NULL), GIF_OK);
        for (int p = 0; p < (c->interlaced ? 4 : 1); p++)
            for (int y = c->interlaced ? from[p] : 0; y < c->h; y += c->interlaced ? step[p] : 1) {
                for (int x = 0; x < c->w; x++)
                    line[x] = (GifByteType)(index_at(c, x, y) ^ f); /* the second frame is another picture */
                assert_int_equal(EGifPutLine(g, line, c->w), GIF_OK);
            }
        control.TransparentColor = 1;
    }
    EGifCloseFile(g, &code);
    GifFreeMapObject(map);
    GifFreeMapObject(grey);
    return b;
}

static iip_raster expected(const recipe *c)
{
    const int whole = c->x <= 0 && c->y <= 0 && c->x + c->w >= c->canvas_w && c->y + c->h >= c->canvas_h;
    iip_raster r = blank(c->canvas_w, c->canvas_h, c->clear < 0 && whole ? 3 : 4, IIP_U8);

    for (int y = 0; y < c->h && c->y + y < c->canvas_h; y++)
        for (int x = 0; x < c->w && c->x + x < c->canvas_w; x++) {
            unsigned char *px = r.px + (size_t)(c->y + y) * r.stride + (size_t)((c->x + x) * r.bands);
            int i = index_at(c, x, y);

            if (i == c->clear)
                continue;
            memcpy(px, (unsigned char[]){colour(c, i).Red, colour(c, i).Green, colour(c, i).Blue, 255},
                   (size_t)r.bands);
        }
    return r;
}

/* --- reader ------------------------------------------------------------------------------------------------------- */

static void kinds(void **state)
{
    static const recipe kinds_[] = {
        {203, 151, 0, 0, 203, 151, 8, 0, 0, -1, 1},
        {203, 151, 0, 0, 203, 151, 1, 0, 0, -1, 1},
        {203, 151, 0, 0, 203, 151, 4, 1, 1, -1, 1},
        {203, 151, 0, 0, 203, 151, 8, 0, 1, 77, 1},
        {203, 151, 20, 30, 100, 90, 8, 1, 0, -1, 2},
        {203, 151, 20, 30, 100, 90, 5, 0, 1, 0, 3},
        {203, 151, 150, 100, 100, 90, 8, 0, 0, -1, 1}, /* over the edge: cut off there */
        {100, 100, 0, 0, 150, 120, 8, 0, 0, -1, 1},
        {1, 1, 0, 0, 1, 1, 1, 0, 0, -1, 1},
        {1, 9, 0, 0, 1, 9, 2, 0, 1, 3, 1},
        {9, 1, 0, 0, 9, 1, 2, 0, 1, -1, 1},
        {1500, 700, 0, 0, 1500, 700, 8, 0, 1, -1, 1},
    };

    for (size_t i = 0; i < sizeof kinds_ / sizeof *kinds_; i++) {
        bytes b = make(&kinds_[i], NULL);
        iip_raster ref = expected(&kinds_[i]);
        char name[20];
        subject t;

        snprintf(name, sizeof name, "kind %d", (int)i);
        read_trial(b, &ref, name);
        opened(&t, b);
        assert_true(t.info.space == IIP_RGB && t.info.alpha == (ref.bands == 4) && t.info.bits == 8);
        assert_int_equal(t.info.hold, kinds_[i].w * kinds_[i].h);
        done(&t);
        if (b.n < 30000)
            source_trial(b, &ref);
        free(ref.px);
        free(b.p);
    }
}

#define ICC 700
static unsigned char icc[ICC];
static char xmp[1200];

static void with_metadata(GifFileType *g)
{
    unsigned char tail[257] = {1};

    for (int i = 1; i < 257; i++)
        tail[i] = (unsigned char)(256 - i);
    EGifPutComment(g, "a comment");
    EGifPutExtensionLeader(g, APPLICATION_EXT_FUNC_CODE);
    EGifPutExtensionBlock(g, 11, "ICCRGBG1012");
    for (int i = 0; i < ICC; i += 255)
        EGifPutExtensionBlock(g, ICC - i < 255 ? ICC - i : 255, icc + i);
    EGifPutExtensionTrailer(g);
    EGifPutExtensionLeader(g, APPLICATION_EXT_FUNC_CODE);
    EGifPutExtensionBlock(g, 11, "XMP DataXMP");
    put(g, (const GifByteType *)xmp, (int)strlen(xmp));
    put(g, tail, 257);
    EGifPutExtensionTrailer(g);
    EGifPutExtensionLeader(g, APPLICATION_EXT_FUNC_CODE);
    EGifPutExtensionBlock(g, 11, "NETSCAPE2.0");
    EGifPutExtensionBlock(g, 3, "\1\0\0");
    EGifPutExtensionTrailer(g);
}

static void metadata_read(void **state)
{
    const recipe c = {60, 50, 0, 0, 60, 50, 6, 0, 0, 5, 1};

    for (int i = 0; i < ICC; i++)
        icc[i] = (unsigned char)(i * i >> 3);
    for (size_t n = 1; n < sizeof xmp; n += n < 300 ? 1 : 97) { /* wherever its end falls */
        bytes b;
        subject t;

        for (size_t i = 0; i < n; i++)
            xmp[i] = (char)(' ' + (i * 7 + n) % 95);
        xmp[n] = '\0';
        b = make(&c, with_metadata);
        opened(&t, b);
        assert_int_equal(t.info.icc_len, ICC);
        assert_memory_equal(t.info.icc, icc, ICC);
        assert_int_equal(t.info.xmp_len, n);
        assert_memory_equal(t.info.xmp, xmp, n);
        assert_int_equal(t.info.alpha, 1);
        done(&t);
        free(b.p);
    }
}

static void damaged(void **state)
{
    const recipe kinds_[] = {{60, 50, 3, 4, 40, 30, 6, 1, 1, 5, 2}, {90, 70, 0, 0, 90, 70, 8, 0, 0, -1, 1}};

    for (int i = 0; i < 2; i++) {
        bytes b = make(&kinds_[i], with_metadata);
        iip_raster ref = expected(&kinds_[i]);
        int behind = cut_trial(b, &ref, "cut");

        assert_true(i ? behind == 1 : behind > 100); /* the end, or a frame and the end, are not missed */
        mutant_trial(b, &ref, 1500);
        free(ref.px);
        free(b.p);
    }
}

/* A colour table that is shorter than the indices: the others are black. No table, no size, no frame: refused. */
static void odd_files(void **state)
{
    static const unsigned char head[] = {'G', 'I', 'F', '8', '9', 'a', 2, 0, 1, 0, 0x80, 0, 0, 10, 20, 30, 40, 50, 60},
                               frame[] = {',', 0, 0, 0, 0, 2, 0, 1, 0, 0, 2, 2, 0x5c, 0x0a, 0, ';'};
    /* codes of 3 bits: clear 4, index 3, index 1, end 5 */
    unsigned char file[sizeof head + sizeof frame], px[6];
    bytes b = {file, sizeof file};
    iip_raster out = {2, 1, 3, IIP_U8, 6, px};
    subject t;

    memcpy(file, head, sizeof head);
    memcpy(file + sizeof head, frame, sizeof frame);
    opened(&t, b);
    assert_int_equal(t.dec->read(t.r, 0, (iip_rect){0, 0, 2, 1}, 0, &out, &t.e), IIP_OK);
    assert_memory_equal(px, "\0\0\0\50\62\74", 6);
    done(&t);
    file[6] = file[8] = 0; /* no canvas: that of the frame */
    opened(&t, b);
    assert_true(t.info.level[0].w == 2 && t.info.level[0].h == 1);
    done(&t);
    file[sizeof head + 5] = 0; /* a frame without pixels */
    assert_int_equal(open_at(&t, b, -1), IIP_E_FORMAT);
    done(&t);
    file[sizeof head] = ';'; /* no frame */
    assert_int_equal(open_at(&t, b, -1), IIP_E_FORMAT);
    done(&t);
    file[10] = 0; /* no colours */
    memcpy(file + 13, frame, sizeof frame);
    assert_int_equal(open_at(&t, b, -1), IIP_E_FORMAT);
    done(&t);
}

/* --- writer ------------------------------------------------------------------------------------------------------- */

static int get(GifFileType *g, GifByteType *p, int n)
{
    bytes *b = g->UserData;

    if ((size_t)n > b->n)
        n = (int)b->n;
    memcpy(p, b->p, (size_t)n);
    b->p += n;
    b->n -= (size_t)n;
    return n;
}

/* By giflib, all at once, as RGBA. */
static iip_raster slurped(bytes b, int *colours)
{
    int code;
    GifFileType *g = DGifOpen(&b, get, &code);
    GraphicsControlBlock control = {.TransparentColor = -1};
    iip_raster r;

    assert_non_null(g);
    assert_int_equal(DGifSlurp(g), GIF_OK);
    assert_int_equal(g->ImageCount, 1);
    assert_int_equal(b.n, 0); /* nothing behind the end */
    DGifSavedExtensionToGCB(g, 0, &control);
    assert_true(g->SavedImages[0].ImageDesc.Width == g->SWidth && g->SavedImages[0].ImageDesc.Height == g->SHeight);
    r = blank(g->SWidth, g->SHeight, 4, IIP_U8);
    for (int64_t i = 0; i < r.w * r.h; i++) {
        int v = g->SavedImages[0].RasterBits[i];

        assert_in_range(v, 0, g->SColorMap->ColorCount - 1);
        if (v != control.TransparentColor)
            memcpy(r.px + 4 * i,
                   (unsigned char[]){g->SColorMap->Colors[v].Red, g->SColorMap->Colors[v].Green,
                                     g->SColorMap->Colors[v].Blue, 255},
                   4);
    }
    *colours = g->SColorMap->ColorCount;
    DGifCloseFile(g, &code);
    return r;
}

static unsigned seen(const iip_raster *r, int64_t at, int band)
{
    const unsigned char *px = r->px + (size_t)at * (size_t)r->bands;

    if (band == 3)
        return r->bands % 2 || px[r->bands - 1] >= 128 ? 255 : 0;
    return px[r->bands > 2 ? band : 0];
}

static void check_exact(const iip_raster *in, int colours)
{
    const iip_enc_opts o = {0};
    bytes b = encode("gif", in, &o);
    int got;
    iip_raster out = slurped(b, &got);

    assert_true(out.w == in->w && out.h == in->h);
    assert_int_equal(got, colours);
    for (int64_t i = 0; i < in->w * in->h; i++) {
        assert_int_equal(out.px[4 * i + 3], seen(in, i, 3));
        for (int k = 0; k < 3 && seen(in, i, 3); k++)
            assert_int_equal(out.px[4 * i + k], seen(in, i, k));
    }
    free(out.px);
    free(b.p);
}

/* Pictures of 256 colours or less come out as they went in, by the smallest table. */
static void exact(void **state)
{
    static const int counts[] = {1, 2, 3, 4, 5, 16, 17, 128, 129, 254, 255, 256};

    for (int bands = 1; bands <= 4; bands++)
        for (size_t k = 0; k < sizeof counts / sizeof *counts; k++) {
            const int n = counts[k], clear = bands % 2 == 0;
            iip_raster in = blank(67, 41, bands, IIP_U8);
            int table = 2;

            while (table < n + clear)
                table *= 2;
            for (int64_t i = 0; i < in.w * in.h; i++) {
                unsigned char *px = in.px + i * bands;
                int c = (int)(i * 7 / 3 % n);

                memcpy(px, (unsigned char[]){(unsigned char)c, (unsigned char)(c * 3), (unsigned char)(255 - c), 200},
                       (size_t)bands);
                if (clear)
                    px[bands - 1] = i % 13 ? 128 : 127;
            }
            if (n + clear <= 256)
                check_exact(&in, table);
            free(in.px);
        }
}

/* More colours: each neighbourhood keeps its mean, no pixel is far off, alpha is exact. */
static void diffused(void **state)
{
    for (int bands = 2; bands <= 4; bands++) {
        iip_raster in = blank(256, 192, bands, IIP_U8), out;
        const iip_enc_opts o = {0};
        double sum = 0, worst = 0, bias = 0;
        int colours, n = 0;
        bytes b;

        for (int64_t i = 0; i < in.w * in.h; i++) {
            const int64_t x = i % in.w, y = i / in.w;

            memcpy(in.px + i * bands,
                   (unsigned char[]){(unsigned char)x, (unsigned char)(y + x / 8), (unsigned char)((x + y) / 3), 255},
                   (size_t)bands);
            if (bands == 2)
                in.px[i * bands + 1] = 255; /* 256 greys and a hole: one colour too many */
            if (bands % 2 == 0 && x > 100 && x < 120 && y > 50 && y < 90)
                in.px[i * bands + bands - 1] = 0;
        }
        b = encode("gif", &in, &o);
        out = slurped(b, &colours);
        assert_int_equal(colours, 256);
        for (int64_t by = 0; by < in.h; by += 8)
            for (int64_t bx = 0; bx < in.w; bx += 8) {
                double d[3] = {0};
                int m = 0;

                for (int64_t y = by; y < by + 8; y++)
                    for (int64_t x = bx; x < bx + 8; x++) {
                        const int64_t at = y * in.w + x;

                        assert_int_equal(out.px[4 * at + 3], seen(&in, at, 3));
                        for (int k = 0; k < 3 && seen(&in, at, 3); k++) {
                            const double off = (double)out.px[4 * at + k] - seen(&in, at, k);

                            d[k] += off;
                            sum += fabs(off);
                            worst = fmax(worst, fabs(off));
                            n++;
                        }
                        m += seen(&in, at, 3) > 0;
                    }
                for (int k = 0; k < 3 && m > 32; k++) { /* at the picture's own extremes half a box is missing */
                    assert_true(fabs(d[k] / m) < 9);
                    bias += fabs(d[k] / m) / 3 / 32 / 24;
                }
            }
        assert_true(sum / n < 6 && worst < 50 && bias < 1.5);
        free(out.px);
        free(b.p);
        free(in.px);
    }
}

static void metadata_written(void **state)
{
    iip_raster in = painted(40, 30, 2, IIP_U8), out;
    const iip_enc_opts o = {.xmp = "<x:xmpmeta/>", .xmp_len = 12, .copyright = "(c) me"};
    bytes b = encode("gif", &in, &o);
    subject t;
    int colours;

    out = slurped(b, &colours);
    opened(&t, b);
    assert_int_equal(t.info.xmp_len, 12);
    assert_memory_equal(t.info.xmp, o.xmp, 12);
    done(&t);
    assert_non_null(memmem(b.p, b.n, "\x21\xfe\6(c) me", 10)); /* a comment, with nothing before and behind */
    free(out.px);
    free(b.p);
    free(in.px);
}

static void trials(void **state)
{
    const iip_encoder *enc = iip_encoder_by_ext("gif");
    const iip_enc_opts o = {0};
    iip_raster in = painted(500, 400, 3, IIP_U8), strip = in;
    collector c = {{collect}, {NULL, 0}, 0, -1};
    iip_writer_t *w;
    iip_error e;
    static const struct {
        iip_raster shape;
        iip_status is;
    } cases[] = {{{0, 1, 3, IIP_U8, 0, NULL}, IIP_E_LIMIT},     {{65536, 1, 3, IIP_U8, 0, NULL}, IIP_E_LIMIT},
                 {{9, 65536, 3, IIP_U8, 0, NULL}, IIP_E_LIMIT}, {{9, 9, 5, IIP_U8, 0, NULL}, IIP_E_FEATURE},
                 {{9, 9, 3, IIP_U16, 0, NULL}, IIP_E_FEATURE},  {{500, 400, 3, IIP_U8, 0, NULL}, IIP_OK}};

    sink_trial("gif", &in, &o, 3);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_int_equal(enc->begin(&w, &cases[i].shape, &o, &c.k, pool, &e), cases[i].is);
    assert_int_equal(enc->end(w, &e), IIP_E_IO); /* rows are missing */
    strip.h = 100;
    assert_int_equal(enc->rows(w, &strip, &e), IIP_E_IO); /* not all of them */
    assert_int_equal(enc->rows(w, &in, &e), IIP_OK);
    assert_int_equal(enc->rows(w, &in, &e), IIP_E_IO); /* twice */
    free(c.out.p);
    free(in.px);
}

static int group(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(kinds),
        cmocka_unit_test(metadata_read),
        cmocka_unit_test(damaged),
        cmocka_unit_test(odd_files),
        cmocka_unit_test(exact),
        cmocka_unit_test(diffused),
        cmocka_unit_test(metadata_written),
        cmocka_unit_test(trials),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
#else
#include "not_built.h"
#endif

int main(void)
{
    return run_cases(group);
}
