/* SPDX-License-Identifier: Apache-2.0
 * PDF writer. Its answers are read by a small reader of the format's own structure (ISO 32000-1, 7.5); the picture
 * inside must be, byte for byte, what the JPEG writer makes. */
#include "codec_cases.h"
#include <math.h>

/* Where the object begins by the table at the end; its text, ended by NUL. */
static const char *object(bytes b, int number)
{
    static char text[4000];
    const char *file = (const char *)b.p, *at;
    size_t table = 0, place = 0;
    char head[20];

    for (at = file + b.n - 1; strncmp(at, "startxref\n", 10) != 0; at--)
        assert_true(at > file);
    table = strtoul(at + 10, NULL, 10);
    assert_true(table < b.n - 30 && strncmp(file + table, "xref\n0 ", 7) == 0);
    assert_in_range(number, 1, strtol(file + table + 7, NULL, 10) - 1);
    at = strchr(file + table + 7, '\n') + 1;
    assert_memory_equal(at, "0000000000 65535 f\r\n", 20);
    at += 20 * number;
    assert_memory_equal(at + 10, " 00000 n\r\n", 10);
    place = strtoul(at, NULL, 10);
    snprintf(head, sizeof head, "%d 0 obj\n", number);
    assert_true(place < table && strncmp(file + place, head, strlen(head)) == 0);
    memset(text, 0, sizeof text);
    memcpy(text, file + place, b.n - place < sizeof text - 1 ? b.n - place : sizeof text - 1);
    return text;
}

static int has(bytes b, int number, const char *what)
{
    return strstr(object(b, number), what) != NULL;
}

/* The contents of a stream whose length is given, and what must stand behind them. */
static bytes stream(bytes b, int number, size_t length)
{
    const char *text = object(b, number);
    bytes s;

    s.p = memmem(b.p, b.n, text, strlen(text) > 60 ? 60 : strlen(text));
    assert_non_null(s.p);
    s.p = (unsigned char *)strstr((const char *)s.p, "stream\n") + 7;
    s.n = length;
    assert_true(s.p + length + 17 < b.p + b.n);
    assert_memory_equal(s.p + length, "\nendstream\nendobj\n", 18);
    return s;
}

static void box(bytes b, double *w, double *h, double *unit)
{
    const char *text = object(b, 3), *u = strstr(text, "/UserUnit ");
    char *end;

    text = strstr(text, "/MediaBox[0 0 ");
    assert_non_null(text);
    *w = strtod(text + 14, &end);
    *h = strtod(end, NULL);
    *unit = u ? strtod(u + 10, NULL) : 1;
}

static void whole(void **state)
{
    static const int sizes[][2] = {{203, 151}, {1, 1}, {1, 40}, {700, 3}};

    for (int bands = 1; bands <= 3; bands += 2)
        for (int extra = 0; extra < 4; extra++)
            for (size_t k = 0; k < 4; k++) {
                iip_raster in = painted(sizes[k][0], sizes[k][1], bands, IIP_U8);
                iip_enc_opts o = {.quality = 80}, plain = o;
                bytes jpeg = encode("jpg", &in, &plain), b, inner;
                char words[80];
                double w, h, unit;

                if (extra & 1) {
                    o.icc = "icc \n\r\0 bytes";
                    o.icc_len = 13;
                }
                if (extra & 2) {
                    o.xmp = "<x:xmpmeta/>";
                    o.xmp_len = 12;
                }
                b = encode("pdf", &in, &o);
                b.p = realloc(b.p, b.n + 1);
                b.p[b.n] = '\0';
                assert_memory_equal(b.p, "%PDF-1.6\n%", 10);
                assert_memory_equal(b.p + b.n - 7, "\n%%EOF\n", 7);
                assert_true(has(b, 1, "/Type/Catalog/Pages 2 0 R"));
                assert_true(has(b, 2, "/Kids[3 0 R]/Count 1>>"));
                snprintf(words, sizeof words, "/Width %d/Height %d/BitsPerComponent 8", sizes[k][0], sizes[k][1]);
                assert_true(has(b, 5, words));
                snprintf(words, sizeof words, "6 0 obj\n%d\nendobj", (int)jpeg.n);
                assert_true(has(b, 6, words));
                inner = stream(b, 5, jpeg.n);
                assert_memory_equal(inner.p, jpeg.p, jpeg.n);
                if (extra & 1) {
                    assert_true(has(b, 5, "/ColorSpace[/ICCBased 7 0 R]"));
                    assert_true(has(b, 7,
                                    bands == 1 ? "/N 1/Alternate/DeviceGray/Length 13>>"
                                               : "/N 3/Alternate/DeviceRGB/Length 13>>"));
                    assert_memory_equal(stream(b, 7, 13).p, o.icc, 13);
                } else {
                    assert_true(has(b, 5, bands == 1 ? "/ColorSpace/DeviceGray" : "/ColorSpace/DeviceRGB"));
                }
                if (extra & 2) {
                    assert_true(has(b, 1, extra & 1 ? "/Metadata 8 0 R" : "/Metadata 7 0 R"));
                    assert_memory_equal(stream(b, extra & 1 ? 8 : 7, 12).p, o.xmp, 12);
                }
                box(b, &w, &h, &unit);
                assert_true(w == sizes[k][0] && h == sizes[k][1] && unit == 1);
                free(b.p);
                free(jpeg.p);
                free(in.px);
            }
}

/* A copyright notice as UTF-16, whatever else there is. */
static void notice(void **state)
{
    for (int extra = 0; extra < 4; extra++) {
        iip_raster in = painted(20, 10, 3, IIP_U8);
        const iip_enc_opts o = {.quality = 80,
                                .icc = "icc",
                                .icc_len = extra & 1 ? 3 : 0,
                                .xmp = "xmp",
                                .xmp_len = extra & 2 ? 3 : 0,
                                .copyright =
                                    "\xc2\xa9 A\xe2\x82\xac\xf0\x9d\x84\x9e"}; /* two, one, three and four octets */
        bytes b = encode("pdf", &in, &o);
        const int number = 7 + (extra & 1) + (extra >> 1);
        char words[40];

        b.p = realloc(b.p, b.n + 1);
        b.p[b.n] = '\0';
        assert_true(has(b, number, "<</Copyright<FEFF00A90020004120ACD834DD1E>>>"));
        snprintf(words, sizeof words, "/Root 1 0 R/Info %d 0 R>>", number);
        assert_non_null(memmem(b.p, b.n, words, strlen(words)));
        free(b.p);
        free(in.px);
    }
}

/* The page is as large as the picture is; one too long for the format has larger units. */
static void page_size(void **state)
{
    static const struct {
        double res;
        int w;
        double inches;
    } cases[] = {{118.11, 600, 2},       {0, 720, 10}, {0, 30000, 30000 / 72.0},
                 {1, 1000, 1000 / 2.54}, {-3, 72, 1},  {1e9, 72, 1}};

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        iip_raster in = blank(cases[i].w, 8, 1, IIP_U8);
        const iip_enc_opts o = {.quality = 50, .res_x = cases[i].res, .res_y = cases[i].res};
        bytes b = encode("pdf", &in, &o);
        double w, h, unit;

        b.p = realloc(b.p, b.n + 1);
        b.p[b.n] = '\0';
        box(b, &w, &h, &unit);
        assert_true(w <= 14400);
        assert_true(fabs(w * unit / 72 - cases[i].inches) < cases[i].inches / 1000);
        assert_true(fabs(w / h - cases[i].w / 8.0) < cases[i].w / 8.0 / 200);
        free(b.p);
        free(in.px);
    }
}

static void trials(void **state)
{
    const iip_encoder *enc = iip_encoder_by_ext("pdf");
    const iip_enc_opts o = {.quality = 75, .icc = "icc", .icc_len = 3, .xmp = "xmp", .xmp_len = 3, .copyright = "me"};
    iip_raster in = painted(300, 200, 3, IIP_U8);
    collector c = {{collect}, {NULL, 0}, 0, -1};
    iip_writer_t *w;
    iip_error e;
    static const struct {
        iip_raster shape;
        iip_status is;
    } cases[] = {{{0, 1, 3, IIP_U8, 0, NULL}, IIP_E_LIMIT},
                 {{65501, 1, 3, IIP_U8, 0, NULL}, IIP_E_LIMIT},
                 {{9, 9, 4, IIP_U8, 0, NULL}, IIP_E_FEATURE},
                 {{9, 9, 3, IIP_U16, 0, NULL}, IIP_E_FEATURE},
                 {{9, 9, 3, IIP_U8, 0, NULL}, IIP_OK}};

    sink_trial("pdf", &in, &o, 20);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_int_equal(enc->begin(&w, &cases[i].shape, &o, &c.k, pool, &e), cases[i].is);
    assert_int_equal(enc->end(w, &e), IIP_E_IO); /* rows are missing */
    free(c.out.p);
    free(in.px);
}

static int group(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(whole), cmocka_unit_test(notice), cmocka_unit_test(page_size),
                                       cmocka_unit_test(trials)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}

int main(void)
{
    return run_cases(group);
}
