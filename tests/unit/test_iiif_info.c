/* SPDX-License-Identifier: Apache-2.0
 * info.json of the three versions, its negotiation, the JSON writer. Expected texts are written from spec/iiif.md; what
 * a document announces is asked for. */
#include "iiif_setup.h"
#include "json.h"
#include <math.h>

static iip_info pyramid(int64_t w, int64_t h, int64_t tile, int ceiling)
{
    iip_info i = image(w, h);

    i.tiled = 1;
    for (i.levels = 0; i.levels < IIP_MAX_LEVELS; i.levels++) {
        int64_t s = INT64_C(1) << i.levels, add = ceiling ? s - 1 : 0;

        i.level[i.levels] = (iip_level){(w + add) / s, (h + add) / s, tile, tile};
        if (i.levels && i.level[i.levels - 1].w <= tile && i.level[i.levels - 1].h <= tile)
            break;
    }
    i.virtual_from = i.levels;
    return i;
}

static const char *mime, *vary, *link_value;

static const char *describe(const char *accept, const iip_info *info)
{
    iip_input in = input("/a%20b.tif/info.json");
    iip_limits lim = limits();
    const char *text;

    in.accept = accept;
    iip_request_init(&rq, &set);
    assert_int_equal(iiif()->parse(&in, &rq, &want, pool, &err), IIP_OK);
    assert_int_equal(iiif()->describe(&in, &rq, info, &lim, &text, &mime, &vary, &link_value, pool, &err), IIP_OK);
    return text;
}

/* "key":["jpg",...], of what this build writes, extra: beyond level 2; nothing at all if that is none. */
static const char *formats(const char *key, int extra)
{
    const char *list = "";
    const iip_encoder *enc;

    for (int i = 0; (enc = iip_encoder_at(i)); i++)
        if (!extra || (strcmp(enc->ext, "jpg") && strcmp(enc->ext, "png")))
            list = apr_pstrcat(pool, list, *list ? ",\"" : "\"", enc->ext, "\"", NULL);
    return *list ? apr_psprintf(pool, "\"%s\":[%s],", key, list) : "";
}

#define TEXT(...) apr_pstrcat(pool, __VA_ARGS__, NULL)

static void test_info_3(void **state) /* R36 to R39 */
{
    iip_info info = pyramid(3073, 2000, 256, 0);

    fresh(32);
    assert_string_equal(
        describe(NULL, &info),
        TEXT("{\"@context\":\"http://iiif.io/api/image/3/context.json\",\"id\":\"" BASE
             "/a%20b.tif\",\"type\":\"ImageService3\","
             "\"protocol\":\"http://iiif.io/api/"
             "image\",\"profile\":\"level2\",\"width\":3073,\"height\":2000,\"maxWidth\":5000,"
             "\"maxArea\":25000000,\"sizes\":[{\"width\":192,\"height\":125},{\"width\":384,\"height\":250},{\"width\":"
             "768,"
             "\"height\":500},"
             "{\"width\":1536,\"height\":1000},{\"width\":3073,\"height\":2000}],\"tiles\":[{\"width\":256,\"height\":"
             "256,"
             "\"scaleFactors\":[1,2,4,8,16]}],",
             formats("extraFormats", 1),
             "\"extraQualities\":[\"color\",\"gray\",\"bitonal\"],\"extraFeatures\":["
             "\"rotationArbitrary\",\"mirroring\",\"sizeUpscaling\",\"profileLinkHeader\",\"canonicalLinkHeader\"]}"));
    assert_string_equal(mime, "application/ld+json;profile=\"http://iiif.io/api/image/3/context.json\"");
    assert_string_equal(vary, "Accept");
    assert_null(link_value);

    set.upscaling = 0; /* only what works */
    set.max_size.admin.a = 1000;
    set.max_size.admin.b = 600;
    set.max_area = 0;
    info.space = IIP_GREY;
    info.bands = 1;
    info.tiled = 0;
    assert_string_equal(
        describe(NULL, &info),
        TEXT(
            "{\"@context\":\"http://iiif.io/api/image/3/context.json\",\"id\":\"" BASE
            "/a%20b.tif\",\"type\":\"ImageService3\","
            "\"protocol\":\"http://iiif.io/api/"
            "image\",\"profile\":\"level2\",\"width\":3073,\"height\":2000,\"maxWidth\":1000,"
            "\"maxHeight\":600,\"sizes\":[{\"width\":192,\"height\":125},{\"width\":384,\"height\":250},{\"width\":768,"
            "\"height\":500}],"
            "\"tiles\":[{\"width\":512,\"height\":512,\"scaleFactors\":[1,2,4,8]}],",
            formats("extraFormats", 1),
            "\"extraQualities\":[\"gray\","
            "\"bitonal\"],"
            "\"extraFeatures\":[\"rotationArbitrary\",\"mirroring\",\"profileLinkHeader\",\"canonicalLinkHeader\"]}"));
}

static void test_info_2(void **state) /* R41 */
{
    iip_info info = pyramid(1200, 800, 512, 0);

    fresh(2);
    assert_string_equal(
        describe(NULL, &info),
        TEXT("{\"@context\":\"http://iiif.io/api/image/2/context.json\",\"@id\":\"" BASE
             "/a%20b.tif\",\"@type\":\"iiif:Image\","
             "\"protocol\":\"http://iiif.io/api/"
             "image\",\"width\":1200,\"height\":800,\"sizes\":[{\"width\":300,\"height\":200},"
             "{\"width\":600,\"height\":400},{\"width\":1200,\"height\":800}],\"tiles\":[{\"width\":512,\"height\":512,"
             "\"scaleFactors\":[1,2,4]}],\"profile\":[\"http://iiif.io/api/image/2/"
             "level2.json\",{",
             formats("formats", 0),
             "\"qualities\":[\"default\",\"color\",\"gray\",\"bitonal\"],\"supports\":[\"sizeAboveFull\","
             "\"sizeByDistortedWh\",\"sizeByWh\","
             "\"regionSquare\",\"rotationArbitrary\",\"mirroring\",\"canonicalLinkHeader\",\"profileLinkHeader\"],"
             "\"maxWidth\":5000,"
             "\"maxArea\":25000000}]}"));
    assert_string_equal(mime, "application/json");
    assert_string_equal(link_value,
                        "<http://iiif.io/api/image/2/context.json>;rel=\"http://www.w3.org/ns/json-ld#context\";"
                        "type=\"application/ld+json\"");
    describe("application/ld+json", &info);
    assert_string_equal(mime, "application/ld+json");
    assert_null(link_value);
    set.upscaling = 0;
    assert_null(strstr(describe(NULL, &info), "sizeAboveFull"));
}

static void test_info_1(void **state) /* R42 */
{
    iip_info info = pyramid(1200, 800, 512, 0);

    fresh(1);
    assert_string_equal(
        describe(NULL, &info),
        TEXT("{\"@context\":\"http://library.stanford.edu/iiif/image-api/1.1/context.json\",\"@id\":\"" BASE
             "/a%20b.tif\",\"width\":1200,\"height\":800,\"scale_factors\":[1,2,4],\"tile_width\":512,"
             "\"tile_height\":512,",
             formats("formats", 0),
             "\"qualities\":[\"native\",\"color\",\"grey\",\"bitonal\"],"
             "\"profile\":\"http://library.stanford.edu/iiif/image-api/1.1/compliance.html#level2\"}"));
}

static void assert_holds(const char *text, const char *part)
{
    if (!strstr(text, part))
        fail_msg("no %s in %s", part, text);
}

static void test_physical_scale(void **state) /* R40 */
{
#define PHYSDIM "http://iiif.io/api/annex/services/physdim"
    static const struct {
        double x, y;
        const char *scale; /* NULL: unknown */
    } rows[] = {
        {300 / 2.54, 300 / 2.54, "0.00846666667"},
        {300 / 2.54, 302 / 2.54, "0.00846666667"},
        {72 / 2.54, 72 / 2.54, NULL},
        {28.35, 28.35, NULL}, /* 2835 a metre, as PNG has it */
        {10, 10, NULL},
        {10.1, 10.1, "0.099009901"},
        {0, 0, NULL},
        {100, 0, NULL},
        {100, 200, NULL}, /* pixels are not square: one number cannot say it */
        {4, 4, "0.25"},
        {0.5, 0.5, "2"},
        {0.001, 0.001, "1000"},
        {1e9, 1e9, NULL},
        {NAN, NAN, NULL},
        {-5, -5, NULL},
    };
    iip_info info = pyramid(1200, 800, 512, 0);
    char part[400];

    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const char *text, *at;

        info.res_x = rows[i].x;
        info.res_y = rows[i].y;
        fresh(3);
        text = describe(NULL, &info);
        at = strstr(text, ",\"service\":");
        if (!rows[i].scale) {
            assert_null(at);
            fresh(2);
            assert_null(strstr(describe(NULL, &info), "service\""));
            continue;
        }
        assert_non_null(at);
        snprintf(part, sizeof part,
                 ",\"service\":[{\"@context\":\"" PHYSDIM "/1/context.json\",\"@id\":\"" BASE
                 "/a%%20b.tif#physdim\",\"@type\":\"PhysicalDimensions\",\"profile\":\"" PHYSDIM
                 "\",\"physicalScale\":%s,\"physicalUnits\":\"cm\"}]}",
                 rows[i].scale);
        assert_string_equal(at, part);
        fresh(2);
        snprintf(part, sizeof part,
                 "}],\"service\":{\"@context\":\"" PHYSDIM "/1/context.json\",\"profile\":\"" PHYSDIM
                 "\",\"physicalScale\":");
        assert_holds(describe(NULL, &info), part);
        fresh(1);
        assert_null(strstr(describe(NULL, &info), "service\""));
    }
}

static void test_tiles(void **state) /* R39, R23 */
{
    iip_info info = pyramid(3000, 3000, 128, 0);

    fresh(3);
    assert_holds(describe(NULL, &info), "\"tiles\":[{\"width\":256,\"height\":256,\"scaleFactors\":[1,2,4,8,16]}]");
    info = pyramid(3000, 3000, 100, 0);
    assert_holds(describe(NULL, &info), "\"width\":300,\"height\":300,\"scaleFactors\":[1,2,4,8,16]}]");
    info = pyramid(9000, 9000, 4096, 0);
    assert_holds(describe(NULL, &info), "\"width\":512,\"height\":512,\"scaleFactors\":[1,2,4,8,16,32]}]");
    info = pyramid(9000, 9000, 2048, 0);
    info.level[0].tile_h = 256;
    assert_holds(describe(NULL, &info), "\"width\":2048,\"height\":256,\"scaleFactors\":[1,2,4,8,16,32,64]}]");
    info = pyramid(300, 200, 512, 0); /* smaller than its tile */
    assert_holds(describe(NULL, &info), "\"tiles\":[{\"width\":512,\"height\":512,\"scaleFactors\":[1]}]");
    info = image(300, 200);
    assert_holds(describe(NULL, &info), "\"tiles\":[{\"width\":512,\"height\":512,\"scaleFactors\":[1]}]");
    set.max_size.admin.a = set.max_size.admin.b = 500;
    assert_holds(describe(NULL, &info), "\"tiles\"");
    info = pyramid(3000, 3000, 512, 0);
    assert_null(strstr(describe(NULL, &info), "\"tiles\""));
    assert_holds(describe(NULL, &info), "\"sizes\":[{\"width\":375,\"height\":375}]");
    set.max_size.admin.a = set.max_size.admin.b = 0;
    set.max_area = 512 * 511;
    assert_null(strstr(describe(NULL, &info), "\"tiles\""));
    assert_null(strstr(describe(NULL, &info), "\"maxWidth\""));
    assert_holds(describe(NULL, &info), "sizeUpscaling");
    set.max_area = 0; /* nothing bounds it: no upscaling */
    assert_null(strstr(describe(NULL, &info), "sizeUpscaling"));
    assert_null(strstr(describe(NULL, &info), "\"max"));
    set.max_size.admin.b = 700; /* one side only */
    assert_holds(describe(NULL, &info), "\"maxWidth\":2147483647,\"maxHeight\":700");

    fresh(3); /* no pyramid, 400 Mpx: what would decode too much is not announced */
    info = pyramid(20000, 20000, 512, 0);
    info.levels = info.virtual_from = 1;
    assert_holds(describe(NULL, &info), "\"scaleFactors\":[1,2,4,8,16]}]");
    assert_null(strstr(describe(NULL, &info), "\"sizes\""));
}

/* All that info.json implies is answered, at exactly that size, by URI. */
static void answers(const char *region, const char *size, int64_t w, int64_t h, const iip_info *info)
{
    iip_limits lim = limits();
    const char *uri = apr_psprintf(pool, "/a/%s/%s/0/%s.jpg", region, size, set.versions == 1 ? "native" : "default");

    if (parse(uri) != IIP_OK || iip_request_resolve(&rq, info, &lim, &err) != IIP_OK || rq.out_w != w || rq.out_h != h)
        fail_msg("%d: %s of %ldx%ld is %s: %s, %ldx%ld", set.versions, uri, (long)info->level[0].w,
                 (long)info->level[0].h, iip_status_name(err.status), err.part, (long)rq.out_w, (long)rq.out_h);
}

static int check_info(const iip_info *info)
{
    const char *text = describe(NULL, info), *at;
    int64_t W = info->level[0].w, H = info->level[0].h;
    long w, h, before = 0;
    int n = 0, found = 0;

    if ((at = strstr(text, "\"sizes\":[")))
        for (at += 9; sscanf(at, "{\"width\":%ld,\"height\":%ld}%n", &w, &h, &n) == 2; at += n + (at[n] == ',')) {
            assert_true(w > before);
            before = w;
            answers("full", apr_psprintf(pool, "%ld,%ld", w, h), w, h, info);
            if (set.versions < 3)
                answers("full", apr_psprintf(pool, "%ld,", w), w, h, info);
            found++;
        }
    if (!(at = strstr(text, "\"tiles\":[")))
        return found;
    assert_int_equal(sscanf(at, "\"tiles\":[{\"width\":%ld,\"height\":%ld,\"scaleFactors\":%n", &w, &h, &n), 2);
    at += n;
    while (*at != ']') {
        char *end;
        int64_t s = strtol(at + 1, &end, 10);

        assert_true(end > at + 1);
        at = end;
        for (int64_t y = 0; y < H; y += h * s)
            for (int64_t x = 0; x < W; x += w * s)
                for (int k = 0; k < 3; k++) {
                    int64_t rw = W - x < w * s ? W - x : w * s, rh = H - y < h * s ? H - y : h * s;
                    int64_t add = k == 0 ? 0 : k == 1 ? s / 2 : s - 1, ow = (rw + add) / s, oh = (rh + add) / s;

                    if (ow && oh)
                        answers(apr_psprintf(pool, "%ld,%ld,%ld,%ld", (long)x, (long)y, (long)rw, (long)rh),
                                apr_psprintf(pool, "%ld,%ld", (long)ow, (long)oh), ow, oh, info);
                }
    }
    return found;
}

static void test_info_is_true(void **state) /* R38, R39 */
{
    apr_pool_t *all = pool;

    for (int k = 0; k < 240; k++) {
        int64_t w = 1 + rand() % 7000, h = 1 + rand() % 7000;
        iip_info info = k % 4 ? pyramid(w, h, k % 3 ? 256 : 240, k & 1) : image(w, h);

        apr_pool_create(&pool, all);
        fresh(1 + k % 3);
        if (k % 5 == 0)
            set.max_size.admin.a = set.max_size.admin.b = 1 + rand() % 2000;
        if (k % 7 == 0)
            set.max_area = 1 + rand() % 4000000;
        if (k % 11 == 0)
            set.max_pixels = 1 + rand() % 2000000;
        check_info(&info);
        apr_pool_destroy(pool);
    }
    pool = all;
    /* 2.x: `w,` of a level whose height was rounded down gives the level (2003 / 4 is 500.75) */
    iip_info info = pyramid(2000, 2003, 256, 0);
    fresh(2);
    assert_int_equal(check_info(&info), 4);
    answers("full", "500,", 500, 500, &info);
    fresh(3);
    answers("full", "500,", 500, 501, &info);
}

static void test_negotiation(void **state) /* R43, R44 */
{
    static const char ld3[] = "application/ld+json;profile=\"http://iiif.io/api/image/3/context.json\"";
    static const char ld[] = "application/ld+json", json[] = "application/json";
    static const struct {
        const char *accept, *three, *two;
    } rows[] = {
        {NULL, ld3, json},
        {"", ld3, json},
        {"*/*", ld3, json},
        {"application/*", ld3, json},
        {"application/ld+json", ld3, ld},
        {"Application/LD+JSON", ld3, ld},
        {"application/ld+json;profile=\"http://iiif.io/api/image/3/context.json\"", ld3, ld},
        {"application/ld+json;profile=\"a,b;q=0\"", ld3, ld},
        {"application/json", json, json},
        {"application/json, application/ld+json", ld3, json},
        {"application/ld+json;q=0.8, application/json;q=0.9", json, json},
        {"application/ld+json;q=0.9, application/json;q=0.8", ld3, ld},
        {"application/json;q=0.5, */*;q=0.1", json, json},
        {"application/json;q=0.5, */*;q=0.9", ld3, ld},
        {"application/ld+json ; q=0 , */*", json, json},
        {"text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8", json, json},
        {"text/html", json, json},
        {"application/ld+json, text/html", ld3, ld},
        {"text/html;q=0.1, application/ld+json", ld3, ld},
        {"image/png", ld3, json},
        {"application/json;q=0, application/ld+json;q=0", ld3, json},
        {"application/json;q=0.001, application/ld+json;q=0.000", json, json},
        {";;;,,,\"", ld3, json},
    };
    iip_info info = image(300, 200);

    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        for (int v = 2; v <= 3; v++) {
            fresh(v);
            describe(rows[i].accept, &info);
            if (strcmp(mime, v == 3 ? rows[i].three : rows[i].two) != 0)
                fail_msg("%d, %s: %s", v, rows[i].accept, mime);
            assert_string_equal(vary, "Accept");
        }
}

static void test_version(void **state) /* R1 */
{
    static const char two[] = "application/ld+json;profile=\"http://iiif.io/api/image/2/context.json\"";
    static const char three[] = "text/x, application/json ; profile=http://iiif.io/api/image/3/context.json;q=0.5";
    iip_info info = image(300, 200);

    fresh(32);
    assert_holds(describe(NULL, &info), "image/3/context.json");
    assert_holds(describe(two, &info), "\"@context\":\"http://iiif.io/api/image/2/context.json\"");
    assert_string_equal(mime, "application/ld+json");
    assert_holds(describe("application/ld+json;profile=\"http://iiif.io/api/image/2/context.jsonx\"", &info),
                 "image/3/");
    assert_holds(describe("application/ld+json;profile=\"http://x http://iiif.io/api/image/2/context.json\"", &info),
                 "\"@context\":\"http://iiif.io/api/image/2/context.json\"");
    fresh(23);
    assert_holds(describe(NULL, &info), "\"@context\":\"http://iiif.io/api/image/2/context.json\"");
    assert_holds(describe(three, &info), "\"@context\":\"http://iiif.io/api/image/3/context.json\"");
    fresh(3); /* the only one named */
    assert_holds(describe(two, &info), "\"@context\":\"http://iiif.io/api/image/3/context.json\"");
    fresh(32); /* images go by the default whatever Accept says */
    iip_input in = input("/a/full/full/0/default.jpg");
    in.accept = two;
    set.literal_slash = 0;
    iip_request_init(&rq, &set);
    assert_int_equal(iiif()->parse(&in, &rq, &want, pool, &err), IIP_E_SYNTAX);
}

static void test_id(void **state)
{
    iip_info info = image(300, 200);
    iip_limits lim;
    iip_input in = input("/info.json");
    const char *text;

    fresh(3);
    lim = limits();
    in.mapped = 1;
    in.ident = "x\"\xc3\xa9<.tif";
    iip_request_init(&rq, &set);
    assert_int_equal(iiif()->parse(&in, &rq, &want, pool, &err), IIP_OK);
    iiif()->describe(&in, &rq, &info, &lim, &text, &mime, &vary, &link_value, pool, &err);
    assert_holds(text, "\"id\":\"" BASE "/x%22%C3%A9%3C.tif\"");
    in.id = "https://proxy.example/\"</script>";
    iiif()->describe(&in, &rq, &info, &lim, &text, &mime, &vary, &link_value, pool, &err);
    assert_holds(text, "\"id\":\"https://proxy.example/\\\"\\u003c/script>\"");
}

/* ---- the writer ---- */

static void test_json(void **state)
{
    iip_json j;

    iip_json_init(&j, pool);
    iip_json_object(&j, NULL);
    iip_json_string(&j, "a", "\"\\\b\n\x1f\x7f<>&/\xc3\xa9\xe2\x80\xa8\xe2\x80\xa9\xe2\x80\xaa");
    iip_json_string(&j, "latin", "caf\xe9\xff<");
    iip_json_array(&j, "n");
    iip_json_integer(&j, NULL, INT64_MIN);
    iip_json_integer(&j, NULL, 0);
    iip_json_object(&j, NULL);
    iip_json_end(&j);
    iip_json_array(&j, NULL);
    iip_json_end(&j);
    iip_json_end(&j);
    iip_json_string(&j, "", "");
    iip_json_end(&j);
    assert_string_equal(iip_json_text(&j),
                        "{\"a\":\"\\\"\\\\\\u0008\\u000a\\u001f\\u007f\\u003c>&/\xc3\xa9\\u2028\\u2029\xe2\x80\xaa\","
                        "\"latin\":\"caf\\u00e9\\u00ff\\u003c\",\"n\":[-9223372036854775808,0,{},[]],"
                        "\"\":\"\"}");
    iip_json_init(&j, pool); /* grows */
    iip_json_array(&j, NULL);
    for (int i = 0; i < 5000; i++)
        iip_json_integer(&j, NULL, i % 10);
    iip_json_end(&j);
    assert_int_equal(strlen(iip_json_text(&j)), 10001);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_info_3),      cmocka_unit_test(test_info_2),
                                       cmocka_unit_test(test_info_1),      cmocka_unit_test(test_physical_scale),
                                       cmocka_unit_test(test_tiles),       cmocka_unit_test(test_info_is_true),
                                       cmocka_unit_test(test_negotiation), cmocka_unit_test(test_version),
                                       cmocka_unit_test(test_id),          cmocka_unit_test(test_json)};

    return run_group("iiif_info", tests, sizeof tests / sizeof *tests);
}
