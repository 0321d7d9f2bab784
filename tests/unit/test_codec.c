/* SPDX-License-Identifier: Apache-2.0
 * Codec tables, headers turned upright, EXIF blocks built byte by byte. */
#include "codec/codec.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include <apr_general.h>

static apr_pool_t *pool;

static void tables(void **state)
{
    static const unsigned char jpeg[] = {0xff, 0xd8, 0xff, 0xe1}, tiff[] = {'I', 'I', 42, 0, 8, 0, 0, 0},
                               text[] = "text";

    assert_string_equal(iip_decoder_find(jpeg, sizeof jpeg)->name, "jpeg");
    assert_string_equal(iip_decoder_find(tiff, sizeof tiff)->name, "tiff");
    assert_null(iip_decoder_find(text, sizeof text));
    assert_null(iip_decoder_find(jpeg, 2));
    assert_null(iip_decoder_find(jpeg, 0));
    assert_string_equal(iip_encoder_find(IIP_FMT_JPEG)->mime, "image/jpeg");
    assert_ptr_equal(iip_encoder_find(IIP_FMT_PNG), iip_encoder_by_ext("png"));
    assert_null(iip_encoder_find(IIP_FMT_NONE));
    assert_null(iip_encoder_find(IIP_FMT_COUNT));
    assert_string_equal(iip_encoder_find(IIP_FMT_JP2)->mime, "image/jp2");
    assert_string_equal(iip_encoder_find(IIP_FMT_PDF)->mime, "application/pdf");
    assert_null(iip_encoder_by_ext("jpeg"));
    assert_null(iip_encoder_by_ext("JPG"));
    assert_null(iip_encoder_by_ext(""));
    assert_ptr_equal(iip_encoder_at(0), iip_encoder_by_ext("jpg"));
    assert_null(iip_encoder_at(-1));
    for (int i = 0, ended = 0; i < 40; i++) {
        ended |= !iip_encoder_at(i);
        assert_true(!ended || !iip_encoder_at(i));
        assert_true(ended || iip_encoder_find(iip_encoder_at(i)->format) == iip_encoder_at(i));
    }
}

static int as_sure(const unsigned char *head, size_t n)
{
    return n >= 2 && head[0] == 0xff && head[1] == 0xd8 ? 95 : 0;
}

static int less_sure(const unsigned char *head, size_t n)
{
    return as_sure(head, n) / 2;
}

static iip_status none_open(iip_reader_t **r, iip_source_t *s, int page, const iip_limits *lim, apr_pool_t *p,
                            iip_error *e)
{
    return IIP_E_FORMAT;
}

static iip_status none_info(iip_reader_t *r, iip_info *out, apr_pool_t *p, iip_error *e)
{
    return IIP_E_FORMAT;
}

static iip_status none_read(iip_reader_t *r, int level, iip_rect want, int layers, iip_raster *out, iip_error *e)
{
    return IIP_E_FORMAT;
}

#define ROW(word, n, look)                                                                                             \
    {                                                                                                                  \
        .abi = IIP_CODEC_ABI, .name = word, .priority = n, .sniff = look, .open = none_open, .info = none_info,        \
        .read = none_read                                                                                              \
    }

static void added(void **state)
{
    static const unsigned char jpeg[] = {0xff, 0xd8, 0xff, 0xe1}, text[] = "text";
    static const iip_decoder low = ROW("low", 1, as_sure), high = ROW("high", 1000, as_sure),
                             twin = ROW("twin", 1000, as_sure), last = ROW("last", 2000, less_sure);
    static const char *const order[] = {"high", "twin", "jpeg", "low", "last"};
    iip_decoder other = high, half = high;
    const iip_decoder *d = NULL;

    other.abi = IIP_CODEC_ABI + 1;
    other.priority = 2000;
    half.read = NULL;
    assert_int_equal(iip_decoder_add(&low), 0);
    assert_string_equal(iip_decoder_find(jpeg, sizeof jpeg)->name, "jpeg");
    assert_int_equal(iip_decoder_add(&other), -1);
    assert_int_equal(iip_decoder_add(&half), -1);
    assert_int_equal(iip_decoder_add(&last), 0);
    assert_int_equal(iip_decoder_add(&high), 0);
    assert_int_equal(iip_decoder_add(&twin), 0);
    assert_string_equal(iip_decoder_find(jpeg, sizeof jpeg)->name, "high");
    for (size_t i = 0; i < sizeof order / sizeof *order; i++) { /* each once, down to the last */
        d = iip_decoder_next(jpeg, sizeof jpeg, d);
        assert_string_equal(d->name, order[i]);
    }
    assert_null(iip_decoder_next(jpeg, sizeof jpeg, d));
    assert_null(iip_decoder_next(text, sizeof text, NULL));
    for (int i = 0; i < 100; i++)
        iip_decoder_add(&low);
    assert_int_equal(iip_decoder_add(&low), -1);
    assert_string_equal(iip_decoder_find(jpeg, sizeof jpeg)->name, "high");
    iip_decoder_forget();
    assert_string_equal(iip_decoder_find(jpeg, sizeof jpeg)->name, "jpeg");
    assert_null(iip_decoder_next(jpeg, sizeof jpeg, iip_decoder_find(jpeg, sizeof jpeg)));
}

static void samples(void **state)
{
    static const struct {
        iip_sample s;
        size_t bytes;
    } rows[] = {{IIP_U8, 1}, {IIP_U16, 2}, {IIP_U32, 4}, {IIP_S16, 2}, {IIP_S32, 4}, {IIP_F32, 4}, {IIP_F64, 8}};

    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        assert_int_equal(iip_sample_size(rows[i].s), rows[i].bytes);
}

#ifdef IIP_ASAN /* else asking for too much ends the test */
const char *__asan_default_options(void);
__attribute__((visibility("default"))) const char *__asan_default_options(void)
{
    return "allocator_may_return_null=1";
}
#endif

static void memory(void **state)
{
    iip_error e = {0};
    apr_pool_t *p;

    apr_pool_create(&p, pool);
    assert_non_null(iip_codec_alloc(0, p, &e));
    assert_non_null(iip_codec_alloc(100000, p, &e));
    assert_int_equal(e.status, IIP_OK);
    assert_null(iip_codec_alloc(SIZE_MAX / 2, p, &e));
    assert_int_equal(e.status, IIP_E_MEMORY);
    apr_pool_destroy(p); /* the leak checker sees the rest */
}

static void upright(void **state)
{
    for (int o = 1; o <= 8; o++) {
        const int turned = o >= 5;
        iip_info info = {.levels = 2, .orientation = o, .res_x = 10, .res_y = 20};

        info.level[0] = (iip_level){400, 300, 256, 128};
        info.level[1] = (iip_level){200, 150, 64, 32};
        iip_info_upright(&info);
        assert_int_equal(info.orientation, o); /* the pixels still have to be turned */
        assert_int_equal(info.level[0].w, turned ? 300 : 400);
        assert_int_equal(info.level[0].h, turned ? 400 : 300);
        assert_int_equal(info.level[1].tile_w, turned ? 32 : 64);
        assert_int_equal(info.level[1].tile_h, turned ? 64 : 32);
        assert_true(info.res_x == (turned ? 20 : 10) && info.res_y == (turned ? 10 : 20));
    }
}

/* --- EXIF --------------------------------------------------------------------------------------------------------- */

typedef struct {
    unsigned char p[256];
    size_t n;
    int little;
} block;

static void put(block *b, uint32_t v, int bytes)
{
    for (int i = 0; i < bytes; i++)
        b->p[b->n + i] = (unsigned char)(v >> 8 * (b->little ? i : bytes - 1 - i));
    b->n += bytes;
}

static void entry(block *b, unsigned tag, unsigned type, uint32_t count, uint32_t value)
{
    put(b, tag, 2);
    put(b, type, 2);
    put(b, count, 4);
    if (type == 3) {
        put(b, value, 2);
        put(b, 0, 2);
    } else {
        put(b, value, 4);
    }
}

static block begin(int little, unsigned entries)
{
    block b = {{0}, 0, little};

    put(&b, little ? 0x4949 : 0x4d4d, 2);
    put(&b, 42, 2);
    put(&b, 8, 4);
    put(&b, entries, 2);
    return b;
}

static void orientation(void **state)
{
    for (int little = 0; little < 2; little++)
        for (unsigned o = 0; o <= 10; o++) {
            block b = begin(little, 2);

            entry(&b, 0x10f, 2, 4, 0x41424300);
            entry(&b, 0x112, 3, 1, o);
            assert_int_equal(iip_exif_orientation(b.p, b.n), o >= 1 && o <= 8 ? o : 1);
        }
}

static void resolution(void **state)
{
    for (int little = 0; little < 2; little++)
        for (unsigned unit = 1; unit <= 3; unit++) {
            block b = begin(little, 3);
            double x = -1, y = -1;

            entry(&b, 0x11a, 5, 1, 50);
            entry(&b, 0x11b, 5, 1, 58);
            entry(&b, 0x128, 3, 1, unit);
            b.n = 50;
            put(&b, 600, 4);
            put(&b, 2, 4);
            put(&b, 254, 4);
            put(&b, 1, 4);
            iip_exif_resolution(b.p, b.n, &x, &y);
            assert_true(unit == 1 ? x == -1 : unit == 2 ? x > 118.11 && x < 118.12 : x == 300);
            assert_true(unit == 1 ? y == -1 : unit == 2 ? y > 99.99 && y < 100.01 : y == 254);
            memset(b.p + 62, 0, 4); /* divided by nothing */
            x = y = -1;
            iip_exif_resolution(b.p, b.n, &x, &y);
            assert_true(x == -1 && y == -1);
        }
}

/* Every length, and every octet set to extremes: right, 1, or some legal value, and nothing read outside (the sanitizer
 * sees that, since the copy has exactly its length). */
static void damaged(void **state)
{
    block b = begin(1, 4);

    entry(&b, 0x112, 3, 1, 7);
    entry(&b, 0x11a, 5, 1, 62);
    entry(&b, 0x11b, 5, 1, 62);
    entry(&b, 0x128, 3, 1, 3);
    b.n = 62;
    put(&b, 100, 4);
    put(&b, 1, 4);
    for (size_t n = 0; n <= b.n; n++)
        for (size_t at = 0; at <= n; at++)
            for (int v = 0; v < 4; v++) {
                static const unsigned char extreme[] = {0, 1, 0x7f, 0xff};
                unsigned char *copy = malloc(n ? n : 1);
                double x = 0, y = 0;
                int o;

                memcpy(copy, b.p, n);
                if (at < n)
                    copy[at] = extreme[v];
                o = iip_exif_orientation(copy, n);
                iip_exif_resolution(copy, n, &x, &y);
                assert_in_range(o, 1, 8);
                assert_true(x >= 0 && y >= 0);
                if (at == n) {
                    assert_int_equal(o, n < 22 ? 1 : 7);
                    assert_true(n == b.n ? x == 100 : x == 0);
                }
                free(copy);
            }
    assert_int_equal(iip_exif_orientation(NULL, 0), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tables),  cmocka_unit_test(samples),     cmocka_unit_test(memory),
        cmocka_unit_test(upright), cmocka_unit_test(orientation), cmocka_unit_test(resolution),
        cmocka_unit_test(damaged), cmocka_unit_test(added),
    };
    int failed;

    apr_initialize();
    apr_pool_create(&pool, NULL);
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    apr_pool_destroy(pool);
    apr_terminate();
    return failed;
}
