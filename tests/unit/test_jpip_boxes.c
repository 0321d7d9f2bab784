/* SPDX-License-Identifier: Apache-2.0
 * The top level of JPEG 2000 files: boxes, code-streams, fragments and links (T.800 annex I, T.801 annex M); and
 * headers that promise more than any index could hold. */
#include "jp2_plain.h"
#include "jpip/index.h"
#include <time.h>

static const recipe small = {"small", 40, 30, .comps = 1, .levels = 2};

static iip_status boxes_of(jpip_boxes *b, bytes v, apr_pool_t *p, iip_error *e)
{
    return jpip_boxes_read(b, iip_source_memory(v.p, v.n, "test", p), 0, (int64_t)v.n, p, e);
}

static void flst(bytes *b, int n, const uint64_t (*row)[3])
{
    bytes list = {0}, in = {0};

    be(&list, (uint64_t)n, 2);
    for (int i = 0; i < n; i++) {
        be(&list, row[i][0], 8);
        be(&list, row[i][1], 4);
        be(&list, row[i][2], 2);
    }
    box_of(&in, "flst", list);
    box_of(b, "ftbl", in);
}

static void dtbl(bytes *b, const char *const *url, int n)
{
    bytes all = {0};

    be(&all, (uint64_t)n, 2);
    for (int i = 0; i < n; i++) {
        bytes one = {0};

        be(&one, 0, 4);
        append(&one, url[i], strlen(url[i]) + 1);
        box_of(&all, "url ", one);
    }
    box_of(b, "dtbl", all);
}

static void streams_in_their_order(void **state)
{
    static const char *const urls[] = {"file://a.jp2", "b%20c.jp2"};
    static const uint64_t linked[][3] = {{85, 1000, 2}, {2000, 0, 2}}, mixed[][3] = {{0, 10, 1}, {0, 10, 2}};
    bytes stream = stream_of(&small), b = signature("jpx ");
    jpip_boxes boxes;
    iip_jp2_file f;
    iip_error e;
    apr_pool_t *p;
    uint64_t own[2][3];

    apr_pool_create(&p, pool);
    dtbl(&b, urls, 2);
    flst(&b, 2, linked);
    box(&b, "jp2c", stream.p, stream.n);
    own[0][0] = b.n - stream.n;
    own[0][1] = 100;
    own[1][0] = own[0][0] + 100;
    own[1][1] = stream.n - 100;
    own[0][2] = own[1][2] = 0;
    flst(&b, 2, own);
    flst(&b, 2, mixed);
    box(&b, "ftbl", "", 0);
    box(&b, "xml ", "<a/>", 4);
    assert_int_equal(boxes_of(&boxes, b, p, &e), IIP_OK);
    assert_int_equal(boxes.boxes, 9);
    assert_int_equal(boxes.streams, 5);
    assert_int_equal(boxes.urls, 2);
    assert_string_equal(boxes.url[0], "file://a.jp2");
    assert_string_equal(boxes.url[1], "b%20c.jp2");
    assert_memory_equal(boxes.box[boxes.stream[1].box].type, "jp2c", 4);
    assert_int_equal(boxes.stream[0].link, 2);
    assert_int_equal(boxes.stream[0].places, 2);
    assert_int_equal(boxes.stream[0].place[0].at, 85);
    assert_int_equal(boxes.stream[0].broken, 0);
    assert_int_equal(boxes.stream[3].broken, 1);
    assert_int_equal(boxes.stream[4].broken, 1);
    assert_int_equal(jpip_boxes_stream(&boxes, 3, boxes.s, &f, p, &e), IIP_E_CORRUPT);
    for (int n = 1; n < 3; n++) {
        unsigned char *mem = malloc(stream.n);

        assert_int_equal(jpip_boxes_stream(&boxes, n, boxes.s, &f, p, &e), IIP_OK);
        assert_int_equal(f.len, stream.n);
        assert_int_equal(iip_jp2_bytes(&f, mem, stream.n, 0, &e), IIP_OK);
        assert_memory_equal(mem, stream.p, stream.n);
        free(mem);
    }
    apr_pool_destroy(p);
    free(b.p);
    free(stream.p);
}

static void refused_and_taken(void **state)
{
    bytes stream = stream_of(&small);
    static const struct {
        const char *head; /* of a box behind the signature */
        size_t n;
        int behind; /* the code-stream, else in front of it */
        iip_status want;
    } rows[] = {
        {"\0\0\0\1free\0\0\0\0\0\0\0\x10", 16, 0, IIP_OK},
        {"\0\0\0\1free\0\0\0\0\0\0\0\x0f", 16, 0, IIP_E_FORMAT},
        {"\0\0\0\7free", 8, 0, IIP_E_FORMAT},
        {"\0\0\xff\0free", 8, 0, IIP_E_FORMAT},
        {"\xff\xff\xff\xff"
         "free",
         8, 0, IIP_E_FORMAT},
        {"\0\0\0\1free\xff\xff\xff\xff\xff\xff\xff\xff", 16, 0, IIP_E_FORMAT},
        {"\0\0\0\0free", 8, 0, IIP_E_FORMAT}, /* to the end: and no code-stream */
        {"\0\0\0\7free", 8, 1, IIP_OK},
        {"\0\0\0", 3, 1, IIP_OK},
        {"\0\0\xff\0jp2c", 8, 1, IIP_OK}, /* cut */
    };

    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        bytes b = signature("jp2 ");
        jpip_boxes boxes;
        iip_error e;
        apr_pool_t *p;

        apr_pool_create(&p, pool);
        if (!rows[i].behind)
            append(&b, rows[i].head, rows[i].n);
        box(&b, "jp2c", stream.p, stream.n);
        if (rows[i].behind)
            append(&b, rows[i].head, rows[i].n);
        assert_int_equal(boxes_of(&boxes, b, p, &e), rows[i].want);
        apr_pool_destroy(p);
        free(b.p);
    }
    for (size_t n = 0; n < 14; n++) {
        jpip_boxes boxes;
        iip_error e;
        apr_pool_t *p;

        apr_pool_create(&p, pool);
        assert_int_equal(boxes_of(&boxes, (bytes){(unsigned char *)"\0\0\0\14jP  \r\n\x87\n..", n}, p, &e),
                         IIP_E_FORMAT);
        apr_pool_destroy(p);
    }
    free(stream.p);
}

/* Bytes of the header changed: refused, and soon. */
static void bombs(void **state)
{
    static const struct {
        const char *what;
        struct {
            int at, n;
            uint64_t v;
        } set[8];
    } rows[] = {
        {"a picture of 2^62 samples",
         {{8, 4, 0x7fffffff}, {12, 4, 0x7fffffff}, {24, 4, 0x7fffffff}, {28, 4, 0x7fffffff}}},
        {"65535 layers of it",
         {{8, 4, 0x7fffffff}, {12, 4, 0x7fff}, {24, 4, 0x7fffffff}, {28, 4, 0x7fff}, {-6, 2, 65535}}},
        {"too many tiles", {{8, 4, 1 << 20}, {12, 4, 1 << 20}, {24, 4, 1}, {28, 4, 1}}},
        {"many tiles, many layers", {{8, 4, 255 * 64}, {12, 4, 255 * 64}, {24, 4, 64}, {28, 4, 64}, {-6, 2, 65535}}},
        {"no layers", {{-6, 2, 0}}},
        {"no such progression", {{-5, 1, 5}}},
        {"a tile of no width", {{24, 4, 0}}},
        {"samples of no width", {{43, 1, 0}}},
        {"no components", {{40, 2, 0}}},
        {"33 levels", {{-9, 1, 33}}},
        {"large code-blocks", {{-10, 1, 9}}},
    };

    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        bytes b = stream_of(&small);
        size_t cod = 2;
        jpip_index *ix;
        jpip_boxes boxes;
        iip_jp2_file f;
        iip_error e;
        apr_pool_t *p;
        clock_t from = clock();

        apr_pool_create(&p, pool);
        while (b.p[cod] != 0xff || b.p[cod + 1] != 0x52)
            cod++;
        for (int n = 0; rows[i].set[n].n; n++) {
            unsigned char *at = rows[i].set[n].at < 0 ? b.p + cod - rows[i].set[n].at : b.p + rows[i].set[n].at;

            for (int k = rows[i].set[n].n; k > 0; k--)
                *at++ = (unsigned char)(rows[i].set[n].v >> 8 * (k - 1));
        }
        assert_int_equal(boxes_of(&boxes, b, p, &e), IIP_OK);
        assert_int_equal(jpip_boxes_stream(&boxes, 0, boxes.s, &f, p, &e), IIP_OK);
        if (jpip_index_build(&ix, &f, NULL, &e) != IIP_E_FORMAT)
            fail_msg("%s: status %d", rows[i].what, e.status);
        assert_true(clock() - from < 5 * CLOCKS_PER_SEC);
        apr_pool_destroy(p);
        free(b.p);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(streams_in_their_order),
        cmocka_unit_test(refused_and_taken),
        cmocka_unit_test(bombs),
    };
    int failed;

    apr_initialize();
    apr_pool_create(&pool, NULL);
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    apr_terminate();
    return failed;
}
