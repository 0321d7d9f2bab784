/* SPDX-License-Identifier: Apache-2.0
 * jpip/bins.c: numbers, message headers and placeholders, by bytes that other implementations wrote. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <cmocka.h>
#include "jpip/bins.h"

static void test_numbers(void **state)
{
    static const struct {
        uint64_t v;
        size_t n;
        unsigned char b[9];
    } known[] = {{0, 1, {0}},
                 {127, 1, {0x7f}},
                 {128, 2, {0x81, 0x00}},
                 {129, 2, {0x81, 0x01}},
                 {200, 2, {0x81, 0x48}},
                 {16383, 2, {0xff, 0x7f}},
                 {16384, 3, {0x81, 0x80, 0x00}},
                 {INT64_MAX, 9, {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f}}};
    static const unsigned char longer[] = {0x80, 0x80, 0x05},
                               endless[] = {0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x01};
    unsigned char out[JPIP_VBAS_MAX];
    uint64_t v;

    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        assert_int_equal(jpip_vbas_write(out, known[i].v), known[i].n);
        assert_memory_equal(out, known[i].b, known[i].n);
        assert_int_equal(jpip_vbas_read(out, known[i].n, &v), known[i].n);
        assert_true(v == known[i].v);
        for (size_t n = 0; n < known[i].n; n++)
            assert_int_equal(jpip_vbas_read(out, n, &v), 0);
    }
    assert_int_equal(jpip_vbas_read(longer, 3, &v), 3);
    assert_true(v == 5);
    assert_int_equal(jpip_vbas_read(endless, sizeof endless, &v), 0);
}

/* Headers in their order as one response would have them. */
static const struct {
    int fresh; /* begins a response */
    jpip_message m;
    size_t n;
    unsigned char b[8];
} headers[] = {
    {1, {8, 0, 0, 0, 0, 77, 0}, 5, {0x60, 0x08, 0x00, 0x00, 0x4d}},
    {0, {8, 0, 0, 0, 77, 52, 0}, 3, {0x20, 0x4d, 0x34}},
    {0, {8, 1, 0, 0, 129, 0, 0}, 4, {0x30, 0x81, 0x01, 0x00}},
    {0, {6, 1, 0, 0, 0, 125, 0}, 4, {0x50, 0x06, 0x00, 0x7d}},
    {0, {2, 1, 0, 0, 0, 0, 0}, 4, {0x50, 0x02, 0x00, 0x00}},
    {0, {0, 0, 0, 0, 0, 60, 0}, 4, {0x40, 0x00, 0x00, 0x3c}},
    {0, {0, 0, 0, 1, 0, 63, 0}, 3, {0x21, 0x00, 0x3f}},
    {0, {0, 0, 0, 16, 0, 5, 0}, 4, {0xa0, 0x10, 0x00, 0x05}},
    {0, {0, 1, 0, 300, 0, 5, 0}, 4, {0xb2, 0x2c, 0x00, 0x05}},
    {1, {1, 1, 0, 3, 0, 200, 4}, 7, {0x73, 0x01, 0x00, 0x00, 0x81, 0x48, 0x04}},
    {0, {1, 1, 5, 3, 0, 1, 1}, 6, {0x73, 0x01, 0x05, 0x00, 0x01, 0x01}},
};

static void test_headers(void **state)
{
    jpip_before w = {-1, -1}, r = {0, 0};
    unsigned char out[JPIP_HEADER_MAX];

    for (size_t i = 0; i < sizeof headers / sizeof *headers; i++) {
        jpip_message m;

        if (headers[i].fresh) {
            w = (jpip_before){-1, -1};
            r = (jpip_before){0, 0};
        }
        assert_int_equal(jpip_header_write(out, &headers[i].m, &w), headers[i].n);
        assert_memory_equal(out, headers[i].b, headers[i].n);
        for (size_t n = 0; n < headers[i].n; n++) {
            jpip_before b = r;

            assert_int_equal(jpip_header_read(out, n, &m, &b), 0);
        }
        assert_int_equal(jpip_header_read(out, headers[i].n, &m, &r), headers[i].n);
        assert_true(m.cls == headers[i].m.cls && m.last == headers[i].m.last && m.stream == headers[i].m.stream);
        assert_true(m.id == headers[i].m.id && m.offset == headers[i].m.offset);
        assert_true(m.length == headers[i].m.length && m.aux == headers[i].m.aux);
    }
}

/* The number of a bin takes 4, 11, 18, ... bits. */
static void test_ids(void **state)
{
    for (int bits = 0; bits <= 53; bits++) {
        jpip_message m = {.id = (UINT64_C(1) << bits) - 1, .length = 1}, back;
        jpip_before w = {0, 0}, r = {0, 0};
        unsigned char out[JPIP_HEADER_MAX];
        size_t n = jpip_header_write(out, &m, &w);

        assert_int_equal(n, (bits <= 4 ? 1 : 1 + (bits - 4 + 6) / 7) + 2);
        assert_int_equal(jpip_header_read(out, n, &back, &r), n);
        assert_true(back.id == m.id);
    }
    { /* a longer form that others write */
        static const unsigned char longer[] = {0xb0, 0x82, 0x2c, 0x00, 0x05};
        jpip_before r = {0, 0};
        jpip_message m;

        assert_int_equal(jpip_header_read(longer, sizeof longer, &m, &r), sizeof longer);
        assert_true(m.id == 300 && m.last && m.length == 5);
    }
}

static void test_end(void **state)
{
    unsigned char out[JPIP_END_BYTES];
    jpip_before r = {0, 0};
    jpip_message m;

    jpip_end_write(out, JPIP_WINDOW_DONE);
    assert_memory_equal(out, "\0\2\0", 3);
    assert_int_equal(jpip_header_read(out, 3, &m, &r), 0);
}

static void test_placeholder(void **state)
{
    static const unsigned char known[52] = {0, 0, 0, 0x34, 0x70, 0x68, 0x6c, 0x64, 0,    0,    0,    4,    0,    0,
                                            0, 0, 0, 0,    0,    0,    0x00, 0x04, 0x96, 0xa8, 0x6a, 0x70, 0x32, 0x63};
    unsigned char out[JPIP_PLACEHOLDER_MAX], big[16] = {0, 0, 0, 1, 'x', 'm', 'l', ' ', 0, 0, 0, 0, 1};

    assert_int_equal(jpip_placeholder_write(out, 4, 0, known + 20, 8, 0), 52);
    assert_memory_equal(out, known, 52);
    assert_int_equal(jpip_placeholder_write(out, 1, 7, big, 16, 0), 60);
    assert_int_equal(out[3], 60);
    assert_int_equal(out[19], 7);
    assert_memory_equal(out + 20, big, 16);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_numbers), cmocka_unit_test(test_headers),
                                       cmocka_unit_test(test_ids), cmocka_unit_test(test_end),
                                       cmocka_unit_test(test_placeholder)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
