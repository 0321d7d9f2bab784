/* SPDX-License-Identifier: Apache-2.0
 * jpip/model.c against a model of the test's own: an array of held bytes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include <apr_general.h>
#include <apr_strings.h>
#include "jpip/model.h"

#define IDS     200
#define STREAMS 4

static apr_pool_t *pool;
static uint64_t plain[STREAMS][JPIP_CLASSES][IDS];

static void compare(const jpip_model *m)
{
    for (int s = 0; s < STREAMS; s++)
        for (int c = 0; c < JPIP_CLASSES; c++)
            for (int i = 0; i < IDS; i++)
                if (c != JPIP_METADATA / 2 || s == 0)
                    assert_true(jpip_model_held(m, s, 2 * c, (uint64_t)i) == plain[s][c][i]);
}

static jpip_edit edit(int stream, int cls, uint64_t first, uint64_t last, uint64_t lo, uint64_t hi)
{
    return (jpip_edit){.stream = stream, .cls = cls, .first = first, .last = last, .lo = lo, .hi = hi};
}

static void do_plain(const jpip_edit *e)
{
    for (uint64_t i = e->first; i <= e->last && i < IDS; i++) {
        uint64_t *v = &plain[e->stream][e->cls / 2][i];

        *v = *v < e->lo ? e->lo : *v > e->hi ? e->hi : *v;
    }
}

/* Random edits in random numbers, in and out of order, packed and unpacked between. */
static void test_random(void **state)
{
    jpip_model *m = jpip_model_make(pool);
    iip_error e;

    srand(3);
    memset(plain, 0, sizeof plain);
    for (int round = 0; round < 300; round++) {
        jpip_edits *l = jpip_edits_make(pool);

        for (int n = rand() % 40; n > 0; n--) {
            int cls = rand() % JPIP_CLASSES * 2;
            uint64_t a = (uint64_t)(rand() % IDS), b = rand() % 3 ? a : a + (uint64_t)(rand() % 50),
                     bytes = rand() % 4 ? (uint64_t)(rand() % 9) : JPIP_WHOLE;
            jpip_edit one = edit(cls == JPIP_METADATA ? 0 : rand() % STREAMS, cls, a, b, 0, JPIP_WHOLE);

            if (rand() % 3)
                one.lo = bytes;
            else
                one.hi = rand() % 2 ? 0 : bytes;
            assert_int_equal(jpip_edits_add(l, &one, &e), IIP_OK);
            do_plain(&one);
        }
        assert_int_equal(jpip_model_apply(m, l, &e), IIP_OK);
        compare(m);
        if (round % 10 == 0) {
            unsigned char *rec = malloc(65536);
            size_t n = jpip_model_pack(m, rec, 65536);

            assert_true(n > 0);
            assert_int_equal(jpip_model_unpack(&m, rec, n, pool, &e), IIP_OK);
            compare(m);
            for (size_t cut = 0; cut < n; cut += 1 + n / 50) {
                jpip_model *bad;

                assert_int_equal(jpip_model_unpack(&bad, rec, cut, pool, &e), IIP_E_CORRUPT);
            }
            free(rec);
        }
    }
}

static void test_complete(void **state)
{
    jpip_model *m = jpip_model_make(pool);
    jpip_edit one[3] = {edit(0, 0, 5, 9, JPIP_WHOLE, JPIP_WHOLE), edit(0, 0, 10, 10, JPIP_WHOLE, JPIP_WHOLE),
                        edit(0, 0, 12, 20, 7, JPIP_WHOLE)};
    iip_error e;

    assert_int_equal(jpip_model_set(m, one, 3, &e), IIP_OK);
    assert_true(jpip_model_complete(m, 0, 0, 5, 10));
    assert_true(jpip_model_complete(m, 0, 0, 7, 7));
    assert_false(jpip_model_complete(m, 0, 0, 4, 6));
    assert_false(jpip_model_complete(m, 0, 0, 9, 11));
    assert_false(jpip_model_complete(m, 0, 0, 12, 12));
    assert_false(jpip_model_complete(m, 1, 0, 5, 5));
}

static iip_status no_expand(void *ctx, int64_t stream, const jpip_item *it, jpip_edits *l, iip_error *e)
{
    ++*(int *)ctx;
    return IIP_OK;
}

static jpip_model *from_text(const char *text, int *expanded)
{
    jpip_geometry g = {10, 2, expanded, no_expand};
    jpip_model *m = jpip_model_make(pool);
    jpip_edits *l = jpip_edits_make(pool);
    iip_error e;

    *expanded = 0;
    assert_true(jpip_items_good(text));
    assert_int_equal(jpip_items_edits(text, &g, l, &e), IIP_OK);
    assert_int_equal(jpip_model_apply(m, l, &e), IIP_OK);
    return m;
}

/* The text of a request (T.808 C.8). */
static void test_text(void **state)
{
    int expanded;
    jpip_model *m = from_text("M1,Hm:20,P3-5:7,[0;4-6:2;9-]H2,-P1,P*,-P8:3", &expanded);

    assert_int_equal(expanded, 0);
    assert_true(jpip_model_held(m, 0, JPIP_METADATA, 1) == JPIP_WHOLE);
    assert_true(jpip_model_held(m, 2, JPIP_MAIN_HEADER, 0) == 20); /* no qualifier: the first code-stream asked */
    assert_true(jpip_model_held(m, 2, JPIP_PRECINCT, 4) == 7);
    for (int s = 0; s < 10; s++) {
        int in = s == 0 || s == 4 || s == 6 || s == 9;

        assert_true(jpip_model_held(m, s, JPIP_TILE_HEADER, 2) == (in ? JPIP_WHOLE : 0));
        assert_true(jpip_model_held(m, s, JPIP_PRECINCT, 1) == (in ? JPIP_WHOLE : 0));
        assert_true(jpip_model_held(m, s, JPIP_PRECINCT, 8) == (in ? 3 : 0));
    }
    m = from_text("[0],*,-T3,t0c1r2p3,P4:L2,r*:L1", &expanded);
    assert_int_equal(expanded, 3);
    assert_true(jpip_model_held(m, 0, JPIP_MAIN_HEADER, 0) == JPIP_WHOLE);
    assert_true(jpip_model_held(m, 0, JPIP_TILE, 3) == 0);
    assert_true(jpip_model_held(m, 0, JPIP_TILE, 4) == JPIP_WHOLE);
    m = from_text("P1152921504606846976,P9999999999999999999999,T5", &expanded);
    assert_true(jpip_model_held(m, 2, JPIP_TILE, 5) == JPIP_WHOLE);
    from_text("", &expanded);
}

static void test_bad_text(void **state)
{
    static const char *const bad[] = {",",    "P",      "P1,", "Px",        "Hm,",   "[0",    "[0]",
                                      "[]P1", "[0;]P1", "-",   "P1:",       "P1:L",  "P5-3",  "P1 ",
                                      "q",    "t",      "tx",  "[0-2:0]P1", "[a]P1", "P1;P2", "M1:L2x"};

    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_false(jpip_items_good(bad[i]));
    assert_true(jpip_tile_parts_good("0.0,3-5.*,-7.1-"));
    assert_false(jpip_tile_parts_good("0"));
    assert_false(jpip_tile_parts_good("0.1,"));
}

/* Too many: what adds is left out, what takes away is refused. */
static void test_too_many(void **state)
{
    jpip_edits *l = jpip_edits_make(pool);
    iip_error e;

    for (unsigned i = 0; i < JPIP_EDITS_MAX; i++) {
        jpip_edit one = edit(0, 0, (i * 2654435761u) % 1000003, (i * 2654435761u) % 1000003, JPIP_WHOLE, JPIP_WHOLE);

        assert_int_equal(jpip_edits_add(l, &one, &e), IIP_OK);
    }
    {
        jpip_edit more = edit(0, 0, 1, 1, 5, JPIP_WHOLE), less = edit(0, 0, 1, 1, 0, 0);
        jpip_model *m = jpip_model_make(pool);

        assert_int_equal(jpip_edits_add(l, &more, &e), IIP_OK);
        assert_int_equal(l->skipped, 1);
        assert_int_equal(jpip_edits_add(l, &less, &e), IIP_E_LIMIT);
        assert_int_equal(jpip_model_apply(m, l, &e), IIP_OK);
    }
}

/* A record that is too small: the code-streams used last are kept, and what is kept is true. */
static void test_small_record(void **state)
{
    jpip_model *m = jpip_model_make(pool), *back;
    unsigned char *rec = malloc(4000);
    iip_error e;
    int whole = 0;

    for (int s = 0; s < 100; s++) {
        jpip_edit head = edit(s, JPIP_MAIN_HEADER, 0, 0, JPIP_WHOLE, JPIP_WHOLE);

        assert_int_equal(jpip_model_set(m, &head, 1, &e), IIP_OK);
        for (uint64_t i = 0; i < 40; i++) {
            jpip_edit one = edit(s, JPIP_PRECINCT, 2 * i, 2 * i, JPIP_WHOLE, JPIP_WHOLE);

            assert_int_equal(jpip_model_set(m, &one, 1, &e), IIP_OK);
        }
        jpip_model_touch(m, s, (uint64_t)(s * 37 % 100));
    }
    for (size_t room = 20; room <= 4000; room += 199) {
        size_t n = jpip_model_pack(m, rec, room);

        assert_true(n && n <= room);
        assert_int_equal(jpip_model_unpack(&back, rec, n, pool, &e), IIP_OK);
        whole = 0;
        for (int s = 0; s < 100; s++) {
            int has = jpip_model_held(back, s, JPIP_PRECINCT, 4) == JPIP_WHOLE;

            whole += has;
            if (has)
                assert_true(jpip_model_held(back, s, JPIP_MAIN_HEADER, 0) == JPIP_WHOLE);
            assert_true(jpip_model_held(back, s, JPIP_PRECINCT, 3) == 0);
        }
        for (int s = 0; s < 100; s++)
            if (s * 37 % 100 >= 100 - whole)
                assert_true(jpip_model_held(back, s, JPIP_PRECINCT, 78) == JPIP_WHOLE);
    }
    assert_true(whole > 10 && whole < 100);
    free(rec);
}

/* Who the file of a code-stream was lives in the record. */
static void test_source(void **state)
{
    jpip_model *m = jpip_model_make(pool), *back;
    unsigned char rec[1000];
    iip_error e;
    size_t n;

    assert_true(jpip_model_source(m, 4, 12345678901234567u));
    assert_true(jpip_model_source(m, 4, 12345678901234567u));
    assert_true(jpip_model_source(m, 5, 0));
    n = jpip_model_pack(m, rec, sizeof rec);
    assert_int_equal(jpip_model_unpack(&back, rec, n, pool, &e), IIP_OK);
    assert_true(jpip_model_source(back, 4, 12345678901234567u));
    assert_false(jpip_model_source(back, 5, 1));
    assert_true(jpip_model_source(back, 5, 1));
    assert_true(jpip_model_source(back, 6, 1));
}

static void test_keep(void **state)
{
    jpip_range r[2] = {{1, 3, 2, 0}, {7, 8, 1, 0}};
    jpip_ranges ranges = {r, 2};
    jpip_model *m = jpip_model_make(pool);
    iip_error e;

    for (int s = 0; s < 10; s++) {
        jpip_edit head = edit(s, JPIP_MAIN_HEADER, 0, 0, JPIP_WHOLE, JPIP_WHOLE);

        assert_int_equal(jpip_model_set(m, &head, 1, &e), IIP_OK);
    }
    jpip_model_keep(m, &ranges);
    for (int s = 0; s < 10; s++)
        assert_true(jpip_model_held(m, s, JPIP_MAIN_HEADER, 0) ==
                    (s == 1 || s == 3 || s == 7 || s == 8 ? JPIP_WHOLE : 0));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_random),   cmocka_unit_test(test_complete),
                                       cmocka_unit_test(test_text),     cmocka_unit_test(test_bad_text),
                                       cmocka_unit_test(test_too_many), cmocka_unit_test(test_small_record),
                                       cmocka_unit_test(test_keep),     cmocka_unit_test(test_source)};
    int failed;

    apr_initialize();
    apr_pool_create(&pool, NULL);
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    apr_pool_destroy(pool);
    return failed;
}
