/* SPDX-License-Identifier: Apache-2.0
 * TIFF reader: old-style JPEG (compression 6) in the variants that writers made. A JPEG of libjpeg's is taken apart and
 * wrapped by hand; the expectation is what libjpeg makes of the JPEG, and libtiff, which reads these too, is asked for
 * a second opinion. */
#include "tiff_plain.h"
#include <jpeglib.h>

enum { W = 150, H = 100, ENTRIES = 24 };

typedef enum {
    WHOLE,     /* JPEGInterchangeFormat is a whole JPEG, the strip lies in it */
    NO_STRIPS, /* the same without any strips */
    HEADER,    /* it ends with SOS, the strips are behind it */
    LEADING,   /* no JPEGInterchangeFormat, the first strip begins with the header */
    SPLIT,     /* it has the tables, the first strip the rest of the header */
    TABLES     /* tables by tags, the strips have data only */
} layout;

typedef struct {
    const char *name;
    layout layout;
    int samples, sub_x, sub_y;
    int strip;   /* MCU rows; 0: one strip */
    int marks;   /* restart markers are left at the ends of the strips */
    int scans;   /* of one component each */
    int padded;  /* the frame is as large as its MCUs */
    int sparse;  /* tags that may be left out are */
    int inverse; /* WhiteIsZero */
    int alike;   /* libtiff reads it */
} variant;

static const variant variants[] = {
    {"whole", WHOLE, 3, 2, 2, .alike = 1},
    {"whole, 4:4:4", WHOLE, 3, 1, 1, .alike = 1},
    {"whole, grey", WHOLE, 1, 1, 1, .alike = 1},
    {"whole, of white", WHOLE, 1, 1, 1, .inverse = 1, .alike = 1},
    {"whole, scans", WHOLE, 3, 1, 1, .scans = 1},
    {"whole, padded", WHOLE, 3, 2, 2, .padded = 1},
    {"no strips", NO_STRIPS, 3, 2, 1, .sparse = 1},
    {"header", HEADER, 3, 2, 2, .alike = 1},
    {"header, strips", HEADER, 3, 2, 2, .strip = 1, .alike = 1},
    {"header, strips, marks", HEADER, 3, 2, 2, .strip = 2, .marks = 1},
    {"leading", LEADING, 3, 2, 1, .alike = 1},
    {"leading, strips", LEADING, 3, 1, 1, .strip = 3, .alike = 1},
    {"split", SPLIT, 3, 2, 1, .alike = 1},
    {"tables", TABLES, 3, 2, 2, .alike = 1},
    {"tables, 4:4:4", TABLES, 3, 1, 1, .alike = 1},
    {"tables, strips", TABLES, 3, 2, 1, .strip = 1, .alike = 1},
    {"tables, strips, marks", TABLES, 3, 1, 1, .strip = 1, .marks = 1},
    {"tables, strips, grey", TABLES, 1, 1, 1, .strip = 2, .alike = 1},
};
#define VARIANTS (sizeof variants / sizeof *variants)

/* --- a JPEG, and where its parts are -------------------------------------------------------------------------------
 */

static unsigned char *jpeg_made(const variant *v, size_t *n)
{
    struct jpeg_compress_struct c;
    struct jpeg_error_mgr err;
    unsigned char *out = NULL;
    unsigned long len = 0;
    static jpeg_scan_info scans[3] = {{1, {0}, 0, 63, 0, 0}, {1, {1}, 0, 63, 0, 0}, {1, {2}, 0, 63, 0, 0}};

    c.err = jpeg_std_error(&err);
    jpeg_create_compress(&c);
    jpeg_mem_dest(&c, &out, &len);
    c.image_width = v->padded ? (W + 15) / 16 * 16 : W;
    c.image_height = v->padded ? (H + 15) / 16 * 16 : H;
    c.input_components = v->samples;
    c.in_color_space = v->samples == 1 ? JCS_GRAYSCALE : JCS_RGB;
    jpeg_set_defaults(&c);
    jpeg_set_quality(&c, 85, TRUE);
    c.comp_info[0].h_samp_factor = v->sub_x;
    c.comp_info[0].v_samp_factor = v->sub_y;
    c.restart_in_rows = v->strip;
    c.write_JFIF_header = FALSE;
    if (v->scans) {
        c.scan_info = scans;
        c.num_scans = 3;
    }
    jpeg_start_compress(&c, TRUE);
    while (c.next_scanline < c.image_height) {
        const int y = (int)c.next_scanline < H ? (int)c.next_scanline : H - 1;
        unsigned char row[3 * 160];
        JSAMPROW rows[] = {row};

        for (int x = 0; x < (int)c.image_width; x++)
            for (int b = 0; b < v->samples; b++)
                row[x * v->samples + b] =
                    (unsigned char)((x < W ? x : W - 1) * (b + 1) + y * (3 - b) + (x / 30 & 1) * 40);
        jpeg_write_scanlines(&c, rows, 1);
    }
    jpeg_finish_compress(&c);
    jpeg_destroy_compress(&c);
    *n = len;
    return out;
}

static void jpeg_pixels(const variant *v, const unsigned char *p, size_t n, unsigned char *out)
{
    struct jpeg_decompress_struct d;
    struct jpeg_error_mgr err;
    unsigned char row[3 * 160];
    JSAMPROW rows[] = {row};

    d.err = jpeg_std_error(&err);
    jpeg_create_decompress(&d);
    jpeg_mem_src(&d, p, n);
    jpeg_read_header(&d, TRUE);
    jpeg_start_decompress(&d);
    for (int y = 0; y < H; y++, out += v->samples * W) {
        jpeg_read_scanlines(&d, rows, 1);
        for (int i = 0; i < v->samples * W; i++)
            out[i] = v->inverse ? 255 - row[i] : row[i];
    }
    jpeg_destroy_decompress(&d);
}

typedef struct {
    size_t sof, scan, end;       /* the frame's marker; the first scan's data; EOI */
    size_t quant[4], huff[2][4]; /* contents of the tables, behind their number */
    int quant_of[3], sos;        /* sos: its marker */
    int mark[64], marks;         /* restart markers */
} anatomy;

static anatomy dissect(const unsigned char *p, size_t n)
{
    anatomy a = {.end = n - 2};
    size_t at = 2;

    while (!a.scan) {
        const int marker = p[at + 1];
        const size_t len = (size_t)(p[at + 2] << 8 | p[at + 3]), end = at + 2 + len;

        if (marker == 0xDB)
            for (size_t i = at + 4; i < end; i += 65)
                a.quant[p[i] & 3] = i + 1;
        if (marker == 0xC4)
            for (size_t i = at + 4, k; i < end; i = k) {
                k = i + 17;
                for (int j = 1; j <= 16; j++)
                    k += p[i + (size_t)j];
                a.huff[p[i] >> 4][p[i] & 3] = i + 1;
            }
        if (marker == 0xC0) {
            a.sof = at;
            for (int i = 0; i < p[at + 9]; i++)
                a.quant_of[i] = p[at + 12 + 3 * (size_t)i];
        }
        if (marker == 0xDA) {
            a.sos = (int)at;
            a.scan = end;
        }
        at = end;
    }
    for (size_t i = a.scan; i + 2 < n; i++)
        if (p[i] == 0xFF && p[i + 1] >= 0xD0 && p[i + 1] <= 0xD7)
            a.mark[a.marks++] = (int)i;
    return a;
}

/* --- the TIFF ------------------------------------------------------------------------------------------------------
 */

typedef struct {
    bytes b;
    struct {
        int tag, type, count;
        uint32_t value[64];
    } e[ENTRIES];
    int n;
} maker;

static uint32_t append(maker *m, const void *p, size_t n)
{
    const uint32_t at = (uint32_t)(m->b.n + 1) & ~1u;

    m->b.at = at;
    bytes_write(&m->b, (void *)(uintptr_t)p, (tmsize_t)n);
    return at;
}

static void entry(maker *m, int tag, int type, int count, const uint32_t *value)
{
    m->e[m->n].tag = tag;
    m->e[m->n].type = type;
    m->e[m->n].count = count;
    for (int i = 0; i < count; i++)
        m->e[m->n].value[i] = value[i];
    m->n++;
}

static void number(maker *m, int tag, int type, uint32_t value)
{
    entry(m, tag, type, 1, &value);
}

/* Of this machine's byte order, little-endian. */
static void finish(maker *m)
{
    unsigned char dir[2 + ENTRIES * 12 + 4] = {(unsigned char)m->n};
    uint32_t at;

    for (int i = 0; i < m->n; i++) { /* in order */
        int least = i;

        for (int k = i; k < m->n; k++)
            if (m->e[k].tag < m->e[least].tag)
                least = k;
        if (least != i) {
            const size_t size = sizeof m->e[0];
            unsigned char *t = malloc(size);

            memcpy(t, &m->e[i], size);
            memcpy(&m->e[i], &m->e[least], size);
            memcpy(&m->e[least], t, size);
            free(t);
        }
    }
    for (int i = 0; i < m->n; i++) {
        unsigned char *e = dir + 2 + 12 * i, v[256];
        const size_t size = m->e[i].type == 3 ? 2 : 4, len = size * (size_t)m->e[i].count;

        for (int k = 0; k < m->e[i].count; k++)
            memcpy(v + (size_t)k * size, &m->e[i].value[k], size);
        memcpy(e, &(uint16_t){(uint16_t)m->e[i].tag}, 2);
        memcpy(e + 2, &(uint16_t){(uint16_t)m->e[i].type}, 2);
        memcpy(e + 4, &(uint32_t){(uint32_t)m->e[i].count}, 4);
        if (len <= 4) {
            memcpy(e + 8, v, len);
        } else {
            at = append(m, v, len);
            memcpy(e + 8, &at, 4);
        }
    }
    at = append(m, dir, 2 + 12 * (size_t)m->n + 4);
    memcpy(m->b.p + 4, &at, 4);
}

static void put_tables(maker *m, const variant *v, const unsigned char *p, const anatomy *a)
{
    uint32_t at[3][3];

    for (int i = 0; i < v->samples; i++) {
        const int id = i > 0; /* libjpeg's: 0 luma, 1 chroma */

        at[0][i] = i == 2 ? at[0][1] : append(m, p + a->quant[a->quant_of[i]], 64);
        for (int class = 0; class < 2; class ++) {
            const size_t from = a->huff[class][id];
            size_t n = 16;

            for (int k = 0; k < 16; k++)
                n += p[from + (size_t)k];
            at[1 + class][i] = i == 2 ? at[1 + class][1] : append(m, p + from, n);
        }
    }
    for (int k = 0; k < 3; k++)
        entry(m, 519 + k, 4, v->samples, at[k]);
}

static bytes wrapped(const variant *v, const unsigned char *p, size_t n)
{
    const anatomy a = dissect(p, n);
    const int mcu = 8 * v->sub_y, rows = v->strip ? v->strip * mcu : H, strips = (H + rows - 1) / rows;
    const size_t first = v->layout == LEADING ? 0 : v->layout == SPLIT ? a.sof : a.scan;
    maker m = {0};
    uint32_t at[64], len[64], jif = 0;
    const unsigned char one[2] = {1, 1};

    append(&m, "II*\0\0\0\0\0", 8);
    number(&m, 256, 3, W);
    number(&m, 257, 3, H);
    number(&m, 259, 3, 6);
    number(&m, 262, 3, v->samples == 3 ? 6 : v->inverse ? 0 : 1);
    number(&m, 512, 3, 1);
    if (!v->sparse) {
        entry(&m, 258, 3, v->samples, (uint32_t[]){8, 8, 8});
        number(&m, 277, 3, (uint32_t)v->samples);
    }
    if (v->samples == 3 && v->layout == TABLES)
        entry(&m, 530, 3, 2, (uint32_t[]){(uint32_t)v->sub_x, (uint32_t)v->sub_y});
    if (v->layout == WHOLE || v->layout == NO_STRIPS)
        jif = append(&m, p, n);
    else if (v->layout == HEADER || v->layout == SPLIT)
        jif = append(&m, p, v->layout == HEADER ? a.scan : a.sof);
    if (jif) {
        number(&m, 513, 4, jif);
        number(&m, 514, 4,
               (uint32_t)(v->layout == WHOLE || v->layout == NO_STRIPS ? n
                          : v->layout == HEADER                        ? a.scan
                                                                       : a.sof));
    }
    if (v->layout == TABLES)
        put_tables(&m, v, p, &a);
    assert_int_equal(v->strip ? a.marks : 0, strips - 1);
    for (int i = 0; i < strips; i++) {
        const size_t from = i ? (size_t)a.mark[i - 1] + 2 : first;
        const size_t end = i + 1 < strips ? (size_t)a.mark[i] + (v->marks ? 2 : 0) : a.end;

        at[i] = jif && v->layout == WHOLE ? jif + (uint32_t)from : append(&m, p + from, end - from);
        len[i] = (uint32_t)(end - from);
    }
    if (v->layout != NO_STRIPS) {
        entry(&m, 273, 4, strips, at);
        entry(&m, 279, 4, strips, len);
        number(&m, 278, 3, (uint32_t)rows);
    }
    append(&m, one, 2);
    finish(&m);
    return m.b;
}

/* --- tests ---------------------------------------------------------------------------------------------------------
 */

/* libtiff repeats chroma where libjpeg interpolates it, so only grey and 4:4:4 are compared closely. */
static void second_opinion(const variant *v, bytes *b, const unsigned char *want)
{
    TIFF *t = bytes_tiff(b, "r");
    uint32_t *px = malloc(W * H * sizeof *px);
    long off = 0;

    assert_non_null(t);
    if (!TIFFReadRGBAImageOriented(t, W, H, px, ORIENTATION_TOPLEFT, 1))
        fail_msg("%s: libtiff cannot read it", v->name);
    for (int i = 0; i < W * H; i++)
        for (int s = 0; s < 3; s++) {
            const int d = (int)(px[i] >> 8 * s & 255) - want[i * v->samples + (v->samples == 3 ? s : 0)];

            off += abs(d);
            if (v->sub_x == 1)
                assert_in_range(d + 2, 0, 4);
        }
    assert_true(off < 8L * W * H * 3);
    free(px);
    TIFFClose(t);
}

static void test_variants(void **state)
{
    for (size_t i = 0; i < VARIANTS; i++) {
        const variant *v = variants + i;
        const size_t size = (size_t)(W * H * v->samples);
        unsigned char *want = malloc(size), *px, *jpeg;
        size_t n;
        bytes b;
        reading k;

        jpeg = jpeg_made(v, &n);
        jpeg_pixels(v, jpeg, n, want);
        b = wrapped(v, jpeg, n);
        if (start(&k, b.p, b.n, -1) != IIP_OK || !(px = read_level(&k, 0))) {
            fail_msg("%s: %s", v->name, k.e.detail);
            return;
        }
        assert_int_equal(k.info.level[0].w, W);
        assert_int_equal(k.info.level[0].h, H);
        assert_int_equal(k.info.bands, v->samples);
        /* chroma is not interpolated with what lies beyond the picture */
        for (int y = 0; y < H - v->padded; y++)
            if (memcmp(px + y * W * v->samples, want + y * W * v->samples, (size_t)((W - v->padded) * v->samples)))
                fail_msg("%s: other pixels", v->name);
        if (v->padded)
            memcpy(want, px, size);
        free(px);
        /* a virtual level, and the first rows again */
        assert_int_equal(k.info.virtual_from, 1);
        assert_int_equal(k.info.level[1].w, W / 2);
        free(read_level(&k, 1));
        px = read_level(&k, 0);
        assert_non_null(px);
        assert_memory_equal(px, want, size);
        free(px);
        stop(&k);
        if (v->alike)
            second_opinion(v, &b, want);
        free(b.p);
        free(want);
        free(jpeg);
    }
}

/* Old-style JPEG is neither a level nor has it any. */
static void test_beside_others(void **state)
{
    const variant *v = variants;
    const plan plain = {"", 2 * W, 2 * H, .rows = 50, .photometric = PHOTOMETRIC_RGB, .samples = 3};
    size_t n;
    unsigned char *jpeg = jpeg_made(v, &n);
    bytes other = written(&plain, 1), b = wrapped(v, jpeg, n);
    uint32_t shift, first, count;
    reading k;

    /* the plain one becomes the second directory, its places moved */
    memcpy(&first, b.p + 4, 4);
    count = b.p[first];
    shift = (uint32_t)(b.n + 1) & ~1u;
    b.at = shift;
    bytes_write(&b, other.p, (tmsize_t)other.n);
    memcpy(&count, other.p + 4, 4);
    for (uint32_t i = 0, entries = other.p[count]; i < entries; i++) {
        unsigned char *e = b.p + shift + count + 2 + 12 * i;
        const int tag = e[0] | e[1] << 8, values = e[4];
        uint32_t at, in;

        memcpy(&at, e + 8, 4);
        if (tag == 273) { /* offsets of strips: LONG, or SHORT where they are small */
            assert_int_equal(e[2], 4);
            for (int j = 0; j < values; j++) {
                unsigned char *place = values > 1 ? b.p + shift + at + 4 * j : e + 8;

                memcpy(&in, place, 4);
                in += shift;
                memcpy(place, &in, 4);
            }
        }
        if (values * (e[2] == 3 ? 2 : e[2] == 5 ? 8 : 4) > 4) {
            at += shift;
            memcpy(e + 8, &at, 4);
        }
    }
    count += shift;
    memcpy(b.p + first + 2 + 12 * b.p[first], &count, 4);
    for (int page = 0; page < 2; page++) {
        unsigned char *px;

        if (start(&k, b.p, b.n, page) != IIP_OK)
            fail_msg("page %d: %s", page, k.e.detail);
        assert_int_equal(k.info.pages, 2);
        assert_int_equal(k.info.level[0].w, page ? 2 * W : W);
        assert_int_equal(k.info.virtual_from, 1);
        px = read_level(&k, 0);
        if (!px)
            fail_msg("page %d: %s", page, k.e.detail);
        free(px);
        stop(&k);
    }
    free(jpeg);
    free(other.p);
    free(b.p);
}

/* Every byte of header and directory made another, and every cut: an answer, and no picture of other size. */
static void test_damage(void **state)
{
    for (size_t i = 0; i < VARIANTS; i += 2) {
        const variant *v = variants + i;
        size_t n;
        unsigned char *jpeg = jpeg_made(v, &n);
        bytes b = wrapped(v, jpeg, n);
        int good = 0;

        for (size_t at = 0; at < b.n; at += at < 1200 || at > b.n - 400 ? 3 : 211)
            for (int kind = 0; kind < 3; kind++) {
                const size_t left = kind == 2 ? at : b.n;
                unsigned char *copy = malloc(left + 1);
                reading k;
                iip_status rv;

                memcpy(copy, b.p, left);
                if (kind < 2)
                    copy[at] = (unsigned char)(kind ? copy[at] ^ 1u << at % 8 : 255);
                rv = start(&k, copy, left, -1);
                if (rv == IIP_OK && k.info.level[0].w * k.info.level[0].h < 1 << 20) {
                    unsigned char *px = read_level(&k, 0);

                    rv = px ? IIP_OK : k.e.status;
                    good += px != NULL;
                    free(px);
                }
                if (rv != IIP_OK && rv != IIP_E_CORRUPT && rv != IIP_E_FORMAT)
                    fail_msg("%s: %s: %s", v->name, iip_status_name(rv), k.e.detail);
                stop(&k);
                free(copy);
            }
        assert_true(good > 0); /* some bytes do not matter */
        free(b.p);
        free(jpeg);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_variants),
        cmocka_unit_test(test_beside_others),
        cmocka_unit_test(test_damage),
    };

    apr_initialize();
    TIFFSetWarningHandler(NULL);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
