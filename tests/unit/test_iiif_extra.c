/* SPDX-License-Identifier: Apache-2.0
 * Beyond the Image API: qualities of our own (R29), members of info.json from the configuration (R40), and the JSON
 * reader behind them. */
#include "iiif_setup.h"
#include "json.h"
#include "ops.h"

static void test_json(void **state)
{
    static const char *const good[] = {
        "{}",
        " { } ",
        "{\"a\":1}",
        "{\"a\":-0.5e+10,\"b\":[1,2,{\"c\":null}],\"d\":true , \"e\":false}",
        "{\"\\\\a\\\"\":\"\\u00e9\\n/\\/\"}",
        "{\"a\":[]}",
        "{\"\xc3\xa9\":0}",
        "{\"a\":[[[[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]]]]}",
        "\r\n\t{\"a\":{\"b\":{}}}\n",
    };
    static const char *const bad[] = {
        "",
        "1",
        "[]",
        "{",
        "{]",
        "{}x",
        "{\"a\"}",
        "{\"a\":}",
        "{\"a\":1,}",
        "{,}",
        "{a:1}",
        "{\"a\":01}",
        "{\"a\":.5}",
        "{\"a\":1.}",
        "{\"a\":1e}",
        "{\"a\":+1}",
        "{\"a\":nul}",
        "{\"a\":\"\\x\"}",
        "{\"a\":\"\\u12g4\"}",
        "{\"a\":\"\\u12",
        "{\"a\":\"\n\"}",
        "{\"a\":\"",
        "{\"a\":\"\\",
        "{\"a\":[1 2]}",
        "{\"a\":[1,]}",
        "{\"a\" 1}",
        "{'a':1}",
        "{\"a\":\"\xff\"}",
        "{\"a\":[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]}",
        "{\"a\":1}{}",
    };

    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        if (!iip_json_is_object(good[i]))
            fail_msg("%s", good[i]);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        if (iip_json_is_object(bad[i]))
            fail_msg("%s", bad[i]);
}

static void test_members(void **state)
{
    const char *text = " { \"a\" : [ 1 , \"x,]\" ] ,\"b\\\\\":{\"a\":2},\"\":true}", *at = text, *list;
    iip_json_member m = {.named = 1}, none = {.name = "c", .name_length = 1}, one = {0};
    static const char *const names[] = {"a", "b\\\\", ""};
    static const char *const values[] = {"[ 1 , \"x,]\" ]", "{\"a\":2}", "true"};

    assert_true(iip_json_is_object(text));
    for (int i = 0; i < 3; i++) {
        assert_int_equal(iip_json_next(&at, &m), 1);
        assert_int_equal(m.name_length, strlen(names[i]));
        assert_memory_equal(m.name, names[i], m.name_length);
        assert_int_equal(m.value_length, strlen(values[i]));
        assert_memory_equal(m.value, values[i], m.value_length);
        assert_int_equal(iip_json_has(text, &m), 1);
    }
    assert_int_equal(iip_json_next(&at, &m), 0);
    assert_int_equal(iip_json_next(&at, &m), 0);
    assert_int_equal(iip_json_has(text, &none), 0);
    list = values[0];
    assert_int_equal(iip_json_next(&list, &one), 1);
    assert_int_equal(one.value_length, 1);
    assert_int_equal(iip_json_next(&list, &one), 1);
    assert_memory_equal(one.value, "\"x,]\"", one.value_length);
    assert_int_equal(iip_json_next(&list, &one), 0);
}

static const char *quality(const char *name)
{
    return apr_pstrcat(pool, "/a.tif/full/max/0/", name, ".jpg", NULL);
}

static void test_qualities(void **state)
{
    static const struct {
        const char *name;
        iip_op_kind kind;
        int map;
    } rows[] = {
        {"negative", IIP_OP_INVERT, -1},
        {"stretch", IIP_OP_STRETCH, -1},
        {"equalization", IIP_OP_EQUALIZE, -1},
        {"log", IIP_OP_LOG, -1},
        {"hot", IIP_OP_CMAP, IIP_CMAP_HOT},
        {"cold", IIP_OP_CMAP, IIP_CMAP_COLD},
        {"jet", IIP_OP_CMAP, IIP_CMAP_JET},
        {"red", IIP_OP_CMAP, IIP_CMAP_RED},
        {"green", IIP_OP_CMAP, IIP_CMAP_GREEN},
        {"blue", IIP_OP_CMAP, IIP_CMAP_BLUE},
        {"viridis", IIP_OP_CMAP, IIP_CMAP_VIRIDIS},
        {"magma", IIP_OP_CMAP, IIP_CMAP_MAGMA},
        {"inferno", IIP_OP_CMAP, IIP_CMAP_INFERNO},
        {"plasma", IIP_OP_CMAP, IIP_CMAP_PLASMA},
        {"cividis", IIP_OP_CMAP, IIP_CMAP_CIVIDIS},
        {"turbo", IIP_OP_CMAP, IIP_CMAP_TURBO},
        {"terrain", IIP_OP_CMAP, IIP_CMAP_TERRAIN},
    };
    iip_info info = image(100, 80);
    iip_limits lim;

    fresh(3);
    lim = limits();
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        iip_input in = input(quality(rows[i].name));
        const char *link;

        set.extensions = 0;
        assert_int_equal(parse(in.path), IIP_E_SYNTAX);
        set.extensions = 1;
        assert_int_equal(parse(in.path), IIP_OK);
        assert_int_equal(rq.op_count, 1);
        assert_int_equal(rq.op[0].kind, rows[i].kind);
        if (rows[i].map >= 0)
            assert_true(rq.op[0].argc == 1 && rq.op[0].arg[0] == rows[i].map);
        assert_int_equal(iip_request_resolve(&rq, &info, &lim, &err), IIP_OK);
        link = iiif()->link(&in, &rq, &info, &lim, pool);
        assert_non_null(strstr(link, apr_pstrcat(pool, "/", rows[i].name, ".jpg>;rel=\"canonical\"", NULL)));
    }
    assert_int_equal(parse(quality("Jet")), IIP_E_SYNTAX);
    assert_int_equal(parse(quality("grey")), IIP_E_SYNTAX);
    assert_int_equal(parse(quality("hotter")), IIP_E_SYNTAX);
    assert_int_equal(parse(quality("gray")), IIP_OK);
    assert_int_equal(rq.op[0].kind, IIP_OP_GRAY);
}

static const char *describe(int version)
{
    iip_info info = image(100, 80);
    iip_input in = input("/a.tif/info.json");
    const char *text, *mime, *vary, *link;
    iip_limits lim;

    set.versions = version;
    lim = limits();
    iip_request_init(&rq, &set);
    assert_int_equal(iiif()->parse(&in, &rq, &want, pool, &err), IIP_OK);
    assert_int_equal(iiif()->describe(&in, &rq, &info, &lim, &text, &mime, &vary, &link, pool, &err), IIP_OK);
    assert_true(iip_json_is_object(text));
    return text;
}

#define EXTRAS                                                                                                         \
    "\"negative\",\"stretch\",\"equalization\",\"log\",\"hot\",\"cold\",\"jet\",\"red\",\"green\",\"blue\","           \
    "\"viridis\",\"magma\",\"inferno\",\"plasma\",\"cividis\",\"turbo\",\"terrain\"]"

static void test_announced(void **state)
{
    static const char context[] =
        "{\"@context\":[\"data:application/ld+json,%7B%22@context%22:%7B%22@vocab%22:%22urn:mod-iip:%22%7D%7D\","
        "\"http://iiif.io/api/image/3/context.json\"],";

    fresh(3);
    assert_null(strstr(describe(3), "negative"));
    set.extensions = 1;
    assert_memory_equal(describe(3), context, sizeof context - 1); /* the API's comes last */
    assert_non_null(strstr(describe(3), "\"extraQualities\":[\"color\",\"gray\",\"bitonal\"," EXTRAS));
    assert_non_null(strstr(describe(2), "\"qualities\":[\"default\",\"color\",\"gray\",\"bitonal\"," EXTRAS));
    assert_non_null(strstr(describe(1), "\"qualities\":[\"native\",\"color\",\"grey\",\"bitonal\"," EXTRAS));
}

static void test_extra_info(void **state)
{
    const char *plain, *text;

    fresh(3);
    plain = describe(3);
    set.extra_info = "{\"rights\":\"http://x.example/\", \"preferredFormats\":[\"webp\",\"bmp\",\"png\",7], "
                     "\"service\" : [ {\"@id\":\"a\"} ]}";
    text = describe(3);
    assert_memory_equal(text, plain, strlen(plain) - 1); /* first comes all that is ours */
    assert_string_equal(text + strlen(plain) - 1,
                        apr_pstrcat(pool, ",\"rights\":\"http://x.example/\",\"preferredFormats\":[",
                                    iip_encoder_find(IIP_FMT_WEBP) ? "\"webp\"," : "", "\"png\"],",
                                    "\"service\":[ {\"@id\":\"a\"} ]}", NULL));
    text = describe(2);
    assert_null(strstr(text, "preferredFormats"));
    assert_non_null(strstr(text, "\"rights\""));
    set.extra_info = "{}";
    assert_string_equal(describe(3), plain);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_json),      cmocka_unit_test(test_members),    cmocka_unit_test(test_qualities),
        cmocka_unit_test(test_announced), cmocka_unit_test(test_extra_info),
    };

    return run_group("iiif_extra", tests, sizeof tests / sizeof *tests);
}
