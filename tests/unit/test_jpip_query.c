/* SPDX-License-Identifier: Apache-2.0
 * jpip/query.c: the fields of a request, and jpip/target.c's reading of links. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <cmocka.h>
#include <apr_general.h>
#include <apr_strings.h>
#include "jpip/query.h"
#include "jpip/target.h"

static apr_pool_t *pool;
static jpip_query q;
static iip_error e;

static iip_status parse(const char *text)
{
    return jpip_query_parse(&q, text, NULL, pool, &e);
}

static void test_nothing(void **state)
{
    for (int i = 0; i < 3; i++) {
        assert_int_equal(parse(i == 0 ? "" : i == 1 ? NULL : "&&=&x&y=z&LEN=5&Fsiz=x"), IIP_OK);
        assert_null(q.target);
        assert_null(q.cid);
        assert_null(q.model);
        assert_true(q.fx == -1 && q.len == -1 && q.layers == -1 && q.quality == -1 && q.types == -1 && q.qid == -1);
        assert_true(q.stream.n == 0 && q.comps.n == 0 && q.metas == 0 && !q.wait && !q.align && !q.cnew);
    }
}

/* What JHelioviewer and webjpip send. */
static void test_clients(void **state)
{
    assert_int_equal(parse("cnew=http&type=jpp-stream&tid=0&len=512"), IIP_OK);
    assert_true(q.cnew == 1 && q.types == 1 && q.type[0].kind == JPIP_TYPE_JPP && q.len == 512);
    assert_string_equal(q.tid, "0");
    assert_int_equal(parse("stream=0&metareq=[*]!!&len=2000000&cid=abc"), IIP_OK);
    assert_true(q.metas == 1 && q.meta_only && !*q.meta[0].type);
    assert_string_equal(q.cid, "abc");
    assert_int_equal(parse("stream=17&fsiz=64,65,closest&rsiz=10,11&roff=1,2&len=2097152&cid=x"), IIP_OK);
    assert_true(q.fx == 64 && q.fy == 65 && q.round == JPIP_CLOSEST && q.sx == 10 && q.sy == 11 && q.ox == 1 &&
                q.oy == 2);
    assert_true(q.stream.n == 1 && q.stream.at[0].a == 17 && q.stream.at[0].b == 17);
    assert_int_equal(parse("context=jpxl<0-99:3>&wait=yes"), IIP_OK);
    assert_true(q.context.n == 1 && q.context.at[0].b == 99 && q.context.at[0].step == 3 && q.wait);
}

static void test_encoding(void **state)
{
    assert_int_equal(parse("target=a%2Fb+c%20d.jp2&model=%5B0%5DP1"), IIP_OK);
    assert_string_equal(q.target, "a/b+c d.jp2");
    assert_string_equal(q.model, "[0]P1");
    assert_int_equal(parse("target=%2525"), IIP_OK);
    assert_string_equal(q.target, "%25");
    assert_int_equal(parse("target=a%00b"), IIP_E_SYNTAX);
    assert_int_equal(parse("target=%4"), IIP_E_SYNTAX);
    assert_string_equal(e.part, "target");
    /* Split before it is decoded */
    assert_int_equal(parse("target=a%26len=x"), IIP_OK);
    assert_string_equal(q.target, "a&len=x");
}

static void test_last_counts(void **state)
{
    assert_int_equal(parse("len=x&len=5&len=7"), IIP_OK);
    assert_true(q.len == 7);
    assert_int_equal(jpip_query_parse(&q, "len=7&layers=2", "len=9", pool, &e), IIP_OK);
    assert_true(q.len == 9 && q.layers == 2);
}

static void test_lists(void **state)
{
    jpip_range r;
    const char *s = "3:9";

    assert_int_equal(parse("stream=1,4-6,8-:2&comps=0,2-3&mset=1-3"), IIP_OK);
    assert_true(q.stream.n == 3 && q.comps.n == 2 && q.mset.n == 1);
    for (int v = 0; v < 12; v++)
        assert_int_equal(jpip_ranges_have(&q.stream, v), v == 1 || (v >= 4 && v <= 6) || v == 8 || v == 10);
    assert_string_equal(jpip_ranges_text(&q.stream, pool), "1,4-6,8-:2");
    assert_true(jpip_range_read(&s, 1, &r) && r.colon && r.a == 3 && r.b == 3 && r.step == 9 && !*s);
}

static void test_types(void **state)
{
    assert_int_equal(parse("type=image/png,jpt-stream;ttype=ext,raw,jpp-stream;ptype=ext;x=y"), IIP_OK);
    assert_int_equal(q.types, 3);
    assert_true(q.type[0].kind == JPIP_TYPE_JPT && q.type[0].extended);
    assert_true(q.type[1].kind == JPIP_TYPE_RAW && !q.type[1].extended);
    assert_true(q.type[2].kind == JPIP_TYPE_JPP && q.type[2].extended);
    assert_int_equal(parse("type=image/png"), IIP_OK);
    assert_int_equal(q.types, 0);
}

static void test_metareq(void **state)
{
    assert_int_equal(parse("metareq=[xml_:r/w/s!;jp2h:5]R3D2,[*]"), IIP_OK);
    assert_true(q.metas == 3 && !q.meta_only);
    assert_memory_equal(q.meta[0].type, "xml ", 4);
    assert_true(q.meta[0].bin == 3 && q.meta[1].bin == 3 && q.meta[1].depth == 2 && q.meta[2].bin == 0);
}

static void test_bad(void **state)
{
    static const struct {
        const char *text, *field;
        iip_status status;
    } bad[] = {{"fsiz=0,1", "fsiz", IIP_E_RANGE},
               {"fsiz=1,1,", "fsiz", IIP_E_SYNTAX},
               {"fsiz=1;1", "fsiz", IIP_E_SYNTAX},
               {"len=2147483648", "len", IIP_E_SYNTAX},
               {"len=+1", "len", IIP_E_SYNTAX},
               {"roff=1,-", "roff", IIP_E_SYNTAX},
               {"stream=1,", "stream", IIP_E_SYNTAX},
               {"stream=0-9:0", "stream", IIP_E_SYNTAX},
               {"comps=0:2", "comps", IIP_E_SYNTAX},
               {"upload=x", "upload", IIP_E_FEATURE},
               {"metareq=[abcde]", "metareq", IIP_E_SYNTAX},
               {"metareq=[ab_d]R", "metareq", IIP_E_SYNTAX},
               {"context=jpxl<1-2:0>", "context", IIP_E_SYNTAX},
               {"pref=a\001/r", "pref", IIP_E_SYNTAX},
               {"quality=101", "quality", IIP_E_SYNTAX}};

    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_int_equal(parse(bad[i].text), bad[i].status);
        assert_string_equal(e.part, bad[i].field);
    }
}

static void test_links(void **state)
{
    static const struct {
        const char *url, *path;
        int absolute;
    } links[] = {{"file://./a/b.jp2", "a/b.jp2", 0},
                 {"file://a.jp2", "a.jp2", 0},
                 {"file:///data/x/../y.jp2", "/data/y.jp2", 1},
                 {"file://localhost/d/a.jp2", "/d/a.jp2", 1},
                 {"a%20b//c.jp2", "a b/c.jp2", 0},
                 {"../up.jp2", "../up.jp2", 0},
                 {"/abs.jp2", "/abs.jp2", 1},
                 {"a/../../b", NULL, 0},
                 {"/../etc/passwd", NULL, 1},
                 {"http://h/x", NULL, 0},
                 {"C:x", NULL, 0},
                 {"x%00y", NULL, 0},
                 {"", NULL, 0},
                 {"a/b:c.jp2", "a/b:c.jp2", 0}};

    for (size_t i = 0; i < sizeof links / sizeof *links; i++) {
        int absolute = 0;
        const char *path = jpip_link_path(links[i].url, &absolute, pool);

        if (!links[i].path) {
            /* A climb above the root of the file system may stay there as "/../": it is beneath no root */
            assert_true(!path || strstr(path, ".."));
            continue;
        }
        assert_non_null(path);
        assert_string_equal(path, links[i].path);
        assert_int_equal(absolute, links[i].absolute);
    }
    assert_string_equal(jpip_link_beside("a/b/m.jpx", "../f.jp2", pool), "a/f.jp2");
    assert_string_equal(jpip_link_beside("m.jpx", "f/g.jp2", pool), "f/g.jp2");
    assert_null(jpip_link_beside("a/m.jpx", "../../f.jp2", pool));
    assert_null(jpip_link_beside("m.jpx", ".hidden", pool));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nothing),     cmocka_unit_test(test_clients), cmocka_unit_test(test_encoding),
        cmocka_unit_test(test_last_counts), cmocka_unit_test(test_lists),   cmocka_unit_test(test_types),
        cmocka_unit_test(test_metareq),     cmocka_unit_test(test_bad),     cmocka_unit_test(test_links)};
    int failed;

    apr_initialize();
    apr_pool_create(&pool, NULL);
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    apr_pool_destroy(pool);
    return failed;
}
