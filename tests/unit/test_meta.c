/* SPDX-License-Identifier: Apache-2.0
 * What answers say of a picture: EXIF blocks taken apart and made anew, checked by a reader written here; XMP. */
#include "codec/codec.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include <apr_general.h>

static apr_pool_t *pool;

/* ---- making blocks ---- */

typedef struct {
    unsigned char p[70000];
    size_t n;
    int little;
} block;

static void put(block *b, uint32_t v, int bytes)
{
    for (int i = 0; i < bytes; i++)
        b->p[b->n++] = (unsigned char)(v >> 8 * (b->little ? i : bytes - 1 - i));
}

static void put_at(block *b, size_t at, uint32_t v, int bytes)
{
    size_t n = b->n;

    b->n = at;
    put(b, v, bytes);
    b->n = n;
}

static void begin(block *b, int little)
{
    memset(b, 0, sizeof *b);
    b->little = little;
    put(b, little ? 0x4949 : 0x4d4d, 2);
    put(b, 42, 2);
    put(b, 8, 4);
}

/* An entry whose value lies at `at`, or is `value` when at is 0. */
static void entry(block *b, unsigned tag, unsigned type, uint32_t count, uint32_t value, int bytes)
{
    put(b, tag, 2);
    put(b, type, 2);
    put(b, count, 4);
    put(b, value, bytes);
    b->n += 4 - (size_t)bytes;
}

/* A camera's block: texts, orientation, a thumbnail's directory, EXIF with a maker's note, GPS. */
static void camera(block *b, int little)
{
    static const char maker[] = "Make of cameras", owner[] = "(c) the camera's owner";
    size_t main, exif, gps, thumb;

    begin(b, little);
    put(b, 8, 2);
    main = b->n;
    b->n += 8 * 12 + 4;
    memcpy(b->p + 300, maker, sizeof maker);
    memcpy(b->p + 330, owner, sizeof owner);
    b->n = 400;
    exif = b->n;
    put(b, 5, 2);
    entry(b, 0x829a, 5, 1, 600, 4);   /* exposure time */
    entry(b, 0x927c, 7, 100, 700, 4); /* maker's note */
    entry(b, 0xa001, 3, 1, 1, 2);     /* sRGB */
    entry(b, 0xa002, 4, 1, 6000, 4);  /* width */
    entry(b, 0xa405, 3, 1, 50, 2);    /* focal length */
    put(b, 0, 4);
    gps = b->n;
    put(b, 2, 2);
    entry(b, 0, 1, 4, little ? 0x00000302 : 0x02030000, 4);
    entry(b, 2, 5, 3, 620, 4);
    put(b, 0, 4);
    thumb = b->n;
    put(b, 1, 2);
    entry(b, 0x201, 4, 1, 800, 4);
    put(b, 0, 4);
    put_at(b, 600, 1, 4);
    put_at(b, 604, 250, 4);
    for (uint32_t i = 0; i < 6; i++)
        put_at(b, 620 + 4 * i, i % 2 ? 1 : 10 + i, 4);
    memset(b->p + 700, 0x5a, 100);
    memcpy(b->p + 800, "\xff\xd8THUMBNAIL", 11);
    b->n = main;
    entry(b, 0x10f, 2, sizeof maker, 300, 4);
    entry(b, 0x112, 3, 1, 6, 2);
    entry(b, 0x11a, 5, 1, 600, 4);
    entry(b, 0x131, 2, 4, little ? 0x00747261 : 0x61727400, 4); /* "art" */
    entry(b, 0x8298, 2, sizeof owner, 330, 4);
    entry(b, 0x8769, 4, 1, (uint32_t)exif, 4);
    entry(b, 0x8825, 4, 1, (uint32_t)gps, 4);
    entry(b, 0x9999, 3, 1, 1, 2); /* of no known use */
    put(b, (uint32_t)thumb, 4);
    b->n = 820;
}

/* ---- reading blocks ---- */

typedef struct {
    const unsigned char *p;
    size_t n;
} answer;

static uint32_t get(const answer *a, size_t at, int bytes)
{
    int little = a->p[0] == 'I';
    uint32_t v = 0;

    assert_true(at + (size_t)bytes <= a->n);
    for (int i = 0; i < bytes; i++)
        v |= (uint32_t)a->p[at + (size_t)(little ? i : bytes - 1 - i)] << 8 * i;
    return v;
}

/* Where the value of a tag lies in the directory at dir; 0 if it is not there. Checks the order of tags on the way. */
static size_t find(const answer *a, size_t dir, unsigned tag, unsigned type, uint32_t count)
{
    static const size_t size[] = {0, 1, 1, 2, 4, 8, 1, 1};
    size_t found = 0;
    unsigned n = get(a, dir, 2), last = 0;

    for (unsigned i = 0; i < n; i++) {
        size_t at = dir + 2 + 12 * i, bytes;
        unsigned t = get(a, at, 2);

        assert_true(i == 0 || t > last);
        last = t;
        bytes = size[get(a, at + 2, 2)] * get(a, at + 4, 4);
        assert_true(bytes <= 4 || get(a, at + 8, 4) + bytes <= a->n);
        if (t != tag)
            continue;
        assert_int_equal(get(a, at + 2, 2), type);
        assert_true(count == 0 || get(a, at + 4, 4) == count);
        found = bytes > 4 ? get(a, at + 8, 4) : at + 8;
    }
    assert_int_equal(get(a, dir + 2 + 12 * n, 4), 0); /* no thumbnail */
    return found;
}

static answer made(const void *exif, size_t n, double x, double y, const char *copyright)
{
    unsigned char *copy = malloc(n ? n : 1);
    const void *out = NULL;
    iip_error e = {0};
    answer a;

    assert_non_null(copy);
    if (n)
        memcpy(copy, exif, n);
    assert_int_equal(iip_exif_answer(n ? copy : NULL, n, x, y, copyright, &out, &a.n, pool, &e), IIP_OK);
    a.p = out;
    free(copy); /* nothing of it may be used from here on */
    return a;
}

static int holds(const answer *a, const char *bytes, size_t n)
{
    for (size_t i = 0; i + n <= a->n; i++)
        if (!memcmp(a->p + i, bytes, n))
            return 1;
    return 0;
}

/* ---- tests ---- */

static void test_camera(void **state)
{
    block *b = malloc(sizeof *b);

    for (int little = 0; little < 2; little++)
        for (int own = 0; own < 2; own++) {
            answer a;
            size_t at, dir;
            double x = 0, y = 0;

            camera(b, little);
            assert_int_equal(iip_exif_orientation(b->p, b->n), 6);
            a = made(b->p, b->n, 118.1102362, 59.0551181, own ? "(c) \xc3\xa9 somebody" : NULL);
            assert_int_equal(a.p[0], little ? 'I' : 'M');
            assert_int_equal(iip_exif_orientation(a.p, a.n), 1);
            assert_int_equal(find(&a, 8, 0x112, 3, 0), 0);
            assert_int_equal(find(&a, 8, 0x9999, 3, 0), 0);
            assert_memory_equal(a.p + find(&a, 8, 0x10f, 2, 16), "Make of cameras", 16);
            assert_memory_equal(a.p + find(&a, 8, 0x131, 2, 4), "art", 4);
            at = find(&a, 8, 0x8298, 2, 0);
            assert_string_equal((const char *)a.p + at, own ? "(c) \xc3\xa9 somebody" : "(c) the camera's owner");
            assert_true(own != holds(&a, "owner", 5));
            iip_exif_resolution(a.p, a.n, &x, &y);
            assert_true(x > 118.110 && x < 118.111 && y > 59.055 && y < 59.056);
            dir = get(&a, find(&a, 8, 0x8769, 4, 1), 4);
            at = find(&a, dir, 0x829a, 5, 1);
            assert_true(get(&a, at, 4) == 1 && get(&a, at + 4, 4) == 250);
            assert_int_equal(get(&a, find(&a, dir, 0xa405, 3, 1), 2), 50);
            assert_true(!find(&a, dir, 0x927c, 7, 0) && !find(&a, dir, 0xa001, 3, 0) && !find(&a, dir, 0xa002, 4, 0));
            dir = get(&a, find(&a, 8, 0x8825, 4, 1), 4);
            assert_memory_equal(a.p + find(&a, dir, 0, 1, 4), "\2\3\0", 4);
            at = find(&a, dir, 2, 5, 3);
            for (uint32_t i = 0; i < 6; i++)
                assert_int_equal(get(&a, at + 4 * i, 4), i % 2 ? 1 : 10 + i);
            assert_false(holds(&a, "THUMB", 5));
            assert_false(holds(&a, "ZZZZ", 4));
        }
    free(b);
}

static void test_little_to_say(void **state)
{
    answer a = made(NULL, 0, 0, 0, NULL);
    double x = 0, y = 0;

    assert_int_equal(a.n, 0);
    a = made("no EXIF at all", 14, 0, 0, NULL);
    assert_int_equal(a.n, 0);
    a = made(NULL, 0, 0, 0, "(c) me");
    assert_int_equal(a.n, 8 + 2 + 12 + 4 + 8);
    assert_string_equal((const char *)a.p + find(&a, 8, 0x8298, 2, 7), "(c) me");
    a = made(NULL, 0, 0, 0, "me"); /* short enough for the entry itself */
    assert_string_equal((const char *)a.p + find(&a, 8, 0x8298, 2, 3), "me");
    a = made(NULL, 0, 0, 0, "");
    assert_int_equal(a.n, 0);
    a = made(NULL, 0, 300 / 2.54, 300 / 2.54, NULL);
    iip_exif_resolution(a.p, a.n, &x, &y);
    assert_true(x > 118.110 && x < 118.111 && y == x);
    assert_int_equal(get(&a, find(&a, 8, 0x11a, 5, 1), 4), 300000);
    assert_int_equal(get(&a, find(&a, 8, 0x128, 3, 1), 2), 2);
    a = made(NULL, 0, 1e300, 1e300, NULL);
    assert_int_equal(a.n, 0);
    a = made(NULL, 0, -1, 0.0 / 0.0, NULL);
    assert_int_equal(a.n, 0);
}

/* More than a JPEG's segment holds, in few values and in many: what does not fit is left out, the rest is whole. */
static void test_large(void **state)
{
    block *b = malloc(sizeof *b);
    answer a;

    begin(b, 1);
    put(b, 3, 2);
    entry(b, 0x10e, 2, 50000, 100, 4);
    entry(b, 0x10f, 2, 20000, 100, 4);
    entry(b, 0x13b, 2, 100, 100, 4);
    memset(b->p + 100, 'x', 60000);
    b->n = 60000;
    a = made(b->p, b->n, 1, 1, "(c)");
    assert_in_range(a.n, 50000, 65527);
    assert_true(find(&a, 8, 0x10e, 2, 50000) && !find(&a, 8, 0x10f, 2, 0) && find(&a, 8, 0x13b, 2, 100));

    begin(b, 0);
    put(b, 1, 2);
    entry(b, 0x8769, 4, 1, 100, 4);
    b->n = 100;
    put(b, 3000, 2);
    for (unsigned i = 0; i < 3000; i++)
        entry(b, 0x9000 + i, 7, 100, 100, 4);
    a = made(b->p, b->n, 0, 0, NULL);
    assert_in_range(a.n, 100, 65527);
    free(b);
}

/* Directories that point at themselves, values that lie outside or count more than there is, cut blocks, octets set to
 * extremes: always a block that can be read, and never a byte from outside (the sanitizer sees that). */
static void test_damaged(void **state)
{
    static const unsigned char extreme[] = {0, 1, 0x7f, 0xff};
    block *b = malloc(sizeof *b);

    for (int little = 0; little < 2; little++) {
        camera(b, little);
        for (size_t n = 0; n < b->n; n += 7)
            made(b->p, n, 10, 10, "x");
        for (size_t at = 0; at < 480; at++)
            for (int v = 0; v < 4; v++) {
                unsigned char was = b->p[at];
                answer a;

                b->p[at] = extreme[v];
                a = made(b->p, b->n, 10, 10, NULL);
                find(&a, 8, 0, 0, 0);
                assert_int_equal(iip_exif_orientation(a.p, a.n), 1);
                b->p[at] = was;
            }
        apr_pool_clear(pool);
    }
    begin(b, 1); /* a directory within itself */
    put(b, 2, 2);
    entry(b, 0x8769, 4, 1, 8, 4);
    entry(b, 0x8825, 4, 1, 8, 4);
    made(b->p, b->n, 0, 0, NULL);
    free(b);
}

static void test_texts(void **state)
{
    const iip_exif_field rows[] = {{0x13b, "An artist", 10},
                                   {0x10f, "M", 2},
                                   {0x10e, "no end", 6},
                                   {0x8298, "", 1},
                                   {0x131, NULL, 0},
                                   {0x110, "first", 6},
                                   {0x110, "the second is not", 18}};
    const void *out = NULL;
    const char *text;
    size_t n, len;
    iip_error e = {0};
    answer a;

    assert_int_equal(iip_exif_of_texts(rows, 7, &out, &n, pool, &e), IIP_OK);
    a = (answer){out, n};
    assert_string_equal((const char *)a.p + find(&a, 8, 0x13b, 2, 10), "An artist");
    assert_string_equal((const char *)a.p + find(&a, 8, 0x110, 2, 6), "first");
    assert_true(!find(&a, 8, 0x10e, 2, 0) && !find(&a, 8, 0x8298, 2, 0) && !find(&a, 8, 0x131, 2, 0));
    text = iip_exif_text(out, n, 0x13b, &len);
    assert_true(len == 9 && !memcmp(text, "An artist", 9));
    text = iip_exif_text(out, n, 0x10f, &len);
    assert_true(len == 1 && *text == 'M');
    assert_null(iip_exif_text(out, n, 0x10e, &len));
    for (size_t cut = 0; cut < n; cut++) {
        unsigned char *copy = malloc(cut ? cut : 1);

        memcpy(copy, out, cut);
        text = iip_exif_text(copy, cut, 0x13b, &len);
        assert_true(!text || (len <= 10 && (const unsigned char *)text + len <= copy + cut));
        free(copy);
    }
    assert_int_equal(iip_exif_of_texts(rows + 2, 3, &out, &n, pool, &e), IIP_OK);
    assert_int_equal(n, 0);
}

static void test_xmp(void **state)
{
    static const struct {
        const char *in, *out;
    } rows[] = {
        {"<rdf:Description tiff:Orientation=\"6\" tiff:Make=\"6\"/>",
         "<rdf:Description tiff:Orientation=\"1\" tiff:Make=\"6\"/>"},
        {"tiff:Orientation = '8'", "tiff:Orientation = '1'"},
        {"<tiff:Orientation>3</tiff:Orientation><x>3</x>", "<tiff:Orientation>1</tiff:Orientation><x>3</x>"},
        {"<tiff:Orientation>\r\n 5</tiff:Orientation>", "<tiff:Orientation>\r\n 1</tiff:Orientation>"},
        {"tiff:Orientation='1'", "tiff:Orientation='1'"},
        {"tiff:OrientationX='6'", "tiff:OrientationX='6'"},
        {"tiff:Orientation", "tiff:Orientation"},
        {"tiff:Orientation=", "tiff:Orientation="},
        {"tiff:Orientation='", "tiff:Orientation='"},
        {"ttttiff:Orientatio", "ttttiff:Orientatio"},
        {"", ""},
    };

    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        size_t n = strlen(rows[i].in);
        char *copy = malloc(n ? n : 1);

        memcpy(copy, rows[i].in, n);
        iip_xmp_upright(copy, n);
        assert_memory_equal(copy, rows[i].out, n);
        free(copy);
    }
    iip_xmp_upright(NULL, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_camera),  cmocka_unit_test(test_little_to_say), cmocka_unit_test(test_large),
        cmocka_unit_test(test_damaged), cmocka_unit_test(test_texts),         cmocka_unit_test(test_xmp),
    };
    int failed;

    apr_initialize();
    apr_pool_create(&pool, NULL);
    failed = cmocka_run_group_tests_name("meta", tests, NULL, NULL);
    apr_pool_destroy(pool);
    apr_terminate();
    return failed;
}
