/* SPDX-License-Identifier: Apache-2.0
 * Signed thumbnails: keys and signatures (expected ones by python's hmac), every option, names, who may ask, and the
 * part, size, turn and frame that come of it. Longer than others: a row for each option and each
 * way to lie. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include <apr_general.h>
#include <apr_strings.h>
#include "ops.h"
#include "protocol/thumb.h"
#include "settings.h"

#define ROWS(a) (sizeof(a) / sizeof *(a))
#define KEY     "943b421c9eb07c830af81030552c86009268de4e532ba2ee2eab8247c6da0881"
#define SALT    "520f986b998545b4785e0defbc4f3c1203f22de2374a3d53cb7a7fe9fea309c5"

static apr_pool_t *pool;
static iip_settings set;
static iip_request rq;
static iip_want want;
static iip_error err;
static iip_input in;

static const iip_protocol *thumb(void)
{
    return iip_protocol_find("thumb-handler");
}

static void fresh(void)
{
    iip_settings raw;

    iip_settings_unset(&raw);
    iip_settings_effective(&set, &raw);
}

static iip_status parse(const char *path)
{
    in = (iip_input){.path = path, .base_url = "http://h/t", .set = &set, .now = apr_time_from_sec(1000)};
    err = (iip_error){IIP_OK, 0, NULL, ""};
    iip_request_init(&rq, &set);
    want = IIP_WANT_BARE;
    return thumb()->parse(&in, &rq, &want, pool, &err);
}

/* ---- keys ---- */

static void test_keys(void **state)
{
    static const struct {
        const char *text;
        int good;
    } rows[] = {{"00ff a1\n", 1},
                {"# old\n\n  00FF\ta1 \r\n# new\nab cd", 1},
                {"", 0},
                {"# none\n", 0},
                {"00ff\n", 0},
                {"00f a1\n", 0},
                {"00fg a1\n", 0},
                {"00ff a1 00\n", 0},
                {"00ff a1\nx y\n", 0},
                {"00ff\na1\n", 0}};
    const iip_thumb_keys *keys;
    char *many = apr_pstrdup(pool, "");

    for (size_t i = 0; i < ROWS(rows); i++)
        assert_int_equal(iip_thumb_keys_parse(rows[i].text, &keys, pool) == NULL, rows[i].good);
    for (int i = 0; i < 65; i++)
        many = apr_pstrcat(pool, many, "00 00\n", NULL);
    assert_non_null(iip_thumb_keys_parse(many, &keys, pool));
    assert_non_null(iip_thumb_keys_read("build/no such file", &keys, pool));
    assert_non_null(strstr(iip_thumb_keys_parse("00 00\n0 0\n", &keys, pool), "line 2"));
}

static void test_signatures(void **state)
{
    static const struct {
        const char *path, *first, *second;
    } rows[] = {{"/rs:fill:300:400:0/g:sm/plain/a.tif@png", "Jba3SibA-GMjlPw4KLzZrxUVPVN7vi-V0OuNvbpL51c",
                 "2c7s-Sqk5KG5Lnug3WhezBNlDgaxXA8uUg1ENF58zXk"},
                {"/bG9jYWw6Ly8vYS50aWY.png", "fOXtL__2IUjxnh95HcbrPcFq6VtpOfPKtiBgIB4L2aE",
                 "JiCZQm5oZSPkZuP3nOHbqTxSV0LEs1XYwr_t-kHfmqo"},
                {"/w:10/plain/local:///a%20b.tif", "jB6kC9Bi9AJzmZ7nlOslw4aD9I1Yo6GcJifCskzfCpE",
                 "kCpis-M729unKHLne_VPbUo6twtbHYkwtt7yca77u6U"}};
    const iip_thumb_keys *one, *two, *docs;

    assert_null(iip_thumb_keys_parse(KEY " " SALT, &one, pool));
    assert_null(iip_thumb_keys_parse(KEY " " SALT "\n00ff a1", &two, pool));
#ifdef IIP_HAVE_CRYPTO
    /* the example of imgproxy's documentation: key "secret", salt "hello" */
    assert_null(iip_thumb_keys_parse("736563726574 68656C6C6F", &docs, pool));
    assert_true(
        iip_thumb_signed(docs, "oKfUtW34Dvo2BGQehJFR4Nr0_rIjOtdtzJ3QFsUcXH8", 43,
                         "/rs:fill:300:400:0/g:sm/aHR0cDovL2V4YW1w/bGUuY29tL2ltYWdl/cy9jdXJpb3NpdHku/anBn.png"));
    for (size_t i = 0; i < ROWS(rows); i++) {
        const char *path = rows[i].path;
        char bad[64];

        assert_true(iip_thumb_signed(one, rows[i].first, 43, path));
        assert_true(iip_thumb_signed(two, rows[i].first, 43, path));
        assert_true(iip_thumb_signed(two, rows[i].second, 43, path));
        assert_false(iip_thumb_signed(one, rows[i].second, 43, path));
        assert_false(iip_thumb_signed(one, rows[i].first, 42, path));
        assert_false(iip_thumb_signed(one, rows[i].first, 43, apr_pstrcat(pool, path, "x", NULL)));
        for (int k = 0; k < 43; k++) {
            strcpy(bad, rows[i].first);
            bad[k] = bad[k] == 'A' ? 'B' : 'A';
            assert_false(iip_thumb_signed(two, bad, 43, path));
        }
    }
#else
    assert_false(iip_thumb_signed(one, rows[0].first, 43, rows[0].path));
#endif
}

static void test_base64(void **state)
{
    static const struct {
        const char *text, *is;
    } rows[] = {{"YS50aWY", "a.tif"},
                {"YS50aWY=", "a.tif"},
                {"", ""},
                {"Y", NULL},
                {"ZC_DqS50aWY", "d/\xc3\xa9.tif"},
                {"ZC/DqS50aWY=", "d/\xc3\xa9.tif"},
                {"YS50a!Y", NULL},
                {"YQ==", "a"}};
    size_t n;

    for (size_t i = 0; i < ROWS(rows); i++) {
        const unsigned char *got = iip_thumb_base64(rows[i].text, strlen(rows[i].text), &n, pool);

        assert_int_equal(got != NULL, rows[i].is != NULL);
        if (got) {
            assert_int_equal(n, strlen(rows[i].is));
            assert_string_equal((const char *)got, rows[i].is);
        }
    }
}

/* ---- options ---- */

/* All of it as text, to compare. */
static const char *told(const iip_thumb *t)
{
    char text[400];

    /* apr's own would write .5 */
    snprintf(text, sizeof text,
             "%d %dx%d el%d ex%d g%d,%g,%g,%g,%g x%g,%g c%g,%g,%d,%g pd%g,%g,%g,%g ar%d r%d f%d%d b%x bl%g sh%g "
             "d%g q%d %s s%d e%d",
             t->type, (int)t->w, (int)t->h, t->enlarge, t->extend, t->gravity.kind, t->gravity.x, t->gravity.y,
             t->gravity.dx, t->gravity.dy, t->extend_gravity.x, t->extend_gravity.y, t->crop_w, t->crop_h, t->crop_own,
             t->crop_gravity.x, t->pad[0], t->pad[1], t->pad[2], t->pad[3], t->upright, t->rotate, t->flip_h, t->flip_v,
             (unsigned)t->background, t->blur, t->sharpen, t->dpr, t->quality, t->into ? t->into->ext : "-", t->strip,
             (int)t->expires);
    return apr_pstrdup(pool, text);
}

static void test_options(void **state)
{
    static const iip_preset small = {"small", "w:10/q:5", NULL}, both = {"both", "pr:small/h:20", &small};
    /* what differs from the default in told() */
    static const struct {
        const char *option;
        iip_status status;
        const char *from, *to;
    } rows[] = {
        {"rs:fill:300:200:1:1:so", IIP_OK, "0 0x0 el0 ex0", "1 300x200 el1 ex1"},
        {"resize:auto", IIP_OK, "0 0x0", "4 0x0"},
        {"rs:fill-down::20", IIP_OK, "0 0x0", "2 0x20"},
        {"rs:force:5:6", IIP_OK, "0 0x0", "3 5x6"},
        {"rs:cover:5:6", IIP_E_SYNTAX, "", ""},
        {"rs:fit:-1", IIP_E_SYNTAX, "", ""},
        {"rs:fit:1.5", IIP_E_SYNTAX, "", ""},
        {"rs:fit:1000001", IIP_E_SYNTAX, "", ""},
        {"rs:fit:1:1:2", IIP_E_SYNTAX, "", ""},
        {"rs:fit:1:1:0:0:sm", IIP_E_SYNTAX, "", ""},
        {"rs:fit:1:1:0:0:no:1:1:1", IIP_E_SYNTAX, "", ""},
        {"s:7:8:t:f", IIP_OK, "0 0x0 el0", "0 7x8 el1"},
        {"size:7", IIP_OK, "0 0x0", "0 7x0"},
        {"rt:force", IIP_OK, "0 0x0", "3 0x0"},
        {"rt:x", IIP_E_SYNTAX, "", ""},
        {"w:5", IIP_OK, "0 0x0", "0 5x0"},
        {"width:5:5", IIP_E_SYNTAX, "", ""},
        {"h:5", IIP_OK, "0 0x0", "0 0x5"},
        {"el:true", IIP_OK, "el0", "el1"},
        {"el:yes", IIP_E_SYNTAX, "", ""},
        {"g:no", IIP_OK, "g0,0.5,0.5", "g0,0.5,0"},
        {"g:so:0:10", IIP_OK, "g0,0.5,0.5,0,0", "g0,0.5,1,0,10"},
        {"g:ea", IIP_OK, "g0,0.5,0.5", "g0,1,0.5"},
        {"g:we:-0.25:0", IIP_OK, "g0,0.5,0.5,0", "g0,0,0.5,-0.25"},
        {"g:noea", IIP_OK, "g0,0.5,0.5", "g0,1,0"},
        {"g:nowe", IIP_OK, "g0,0.5,0.5", "g0,0,0"},
        {"g:soea", IIP_OK, "g0,0.5,0.5", "g0,1,1"},
        {"g:sowe", IIP_OK, "g0,0.5,0.5", "g0,0,1"},
        {"g:ce", IIP_OK, "", ""},
        {"g:fp:0.25:1", IIP_OK, "g0,0.5,0.5", "g1,0.25,1"},
        {"g:fp:0.25", IIP_E_SYNTAX, "", ""},
        {"g:fp:0.25:1.1", IIP_E_SYNTAX, "", ""},
        {"gravity:sm", IIP_OK, "g0", "g2"},
        {"g:sm:1:1", IIP_E_SYNTAX, "", ""},
        {"g:", IIP_E_SYNTAX, "", ""},
        {"g:up", IIP_E_SYNTAX, "", ""},
        {"c:100:0.5", IIP_OK, "c0,0,0", "c100,0.5,0"},
        {"crop:100:50:ea", IIP_OK, "c0,0,0,0.5", "c100,50,1,1"},
        {"c:x", IIP_E_SYNTAX, "", ""},
        {"ex:1:noea", IIP_OK, "ex0 g0,0.5,0.5,0,0 x0.5,0.5", "ex1 g0,0.5,0.5,0,0 x1,0"},
        {"pd:10", IIP_OK, "pd0,0,0,0", "pd10,10,10,10"},
        {"padding:1:2", IIP_OK, "pd0,0,0,0", "pd1,2,1,2"},
        {"pd:1:2:3:4", IIP_OK, "pd0,0,0,0", "pd1,2,3,4"},
        {"pd:::3", IIP_OK, "pd0,0,0,0", "pd0,0,3,0"},
        {"pd:-1", IIP_E_SYNTAX, "", ""},
        {"ar:0", IIP_OK, "ar1", "ar0"},
        {"rot:90", IIP_OK, "r0 f", "r1 f"},
        {"rot:-90", IIP_OK, "r0 f", "r3 f"},
        {"rot:720", IIP_OK, "", ""},
        {"rot:45", IIP_E_SYNTAX, "", ""},
        {"fl:1", IIP_OK, "f00", "f10"},
        {"flip:0:1", IIP_OK, "f00", "f01"},
        {"bg:ff8000", IIP_OK, "bffffffff", "bff8000"},
        {"bg:f80", IIP_OK, "bffffffff", "bff8800"},
        {"bg:255:128:0", IIP_OK, "bffffffff", "bff8000"},
        {"bg:", IIP_OK, "", ""},
        {"bg:256:0:0", IIP_E_SYNTAX, "", ""},
        {"bg:red", IIP_E_SYNTAX, "", ""},
        {"bg:1:2", IIP_E_SYNTAX, "", ""},
        {"bl:1.5", IIP_OK, "bl0", "bl1.5"},
        {"blur:65", IIP_E_SYNTAX, "", ""},
        {"bl:1e1", IIP_E_SYNTAX, "", ""},
        {"sh:0.7", IIP_OK, "sh0", "sh0.7"},
        {"sh:", IIP_E_SYNTAX, "", ""},
        {"dpr:2", IIP_OK, " d1 ", " d2 "},
        {"dpr:0", IIP_E_SYNTAX, "", ""},
        {"dpr:9", IIP_E_SYNTAX, "", ""},
        {"q:80", IIP_OK, "q-1", "q80"},
        {"q:0", IIP_OK, "", ""},
        {"q:101", IIP_E_SYNTAX, "", ""},
        {"f:png", IIP_OK, "-1 -", "-1 png"},
        {"format:jpeg", IIP_OK, "-1 -", "-1 jpg"},
        {"ext:webp", IIP_OK, "-1 -", "-1 webp"},
        {"f:bmp", IIP_E_SYNTAX, "", ""},
        {"sm:0", IIP_OK, " s1", " s0"},
        {"exp:99999999", IIP_OK, "e0", "e99999999"},
        {"exp:x", IIP_E_SYNTAX, "", ""},
        {"pr:small", IIP_OK, "0 0x0", "0 10x0"},
        {"preset:both", IIP_OK, "0 0x0", "0 10x20"},
        {"pr:other", IIP_E_NOT_FOUND, "", ""},
        {"watermark:1", IIP_E_NOT_FOUND, "", ""},
        {"W:1", IIP_E_NOT_FOUND, "", ""},
        {"w", IIP_E_NOT_FOUND, "", ""},
        {":", IIP_E_NOT_FOUND, "", ""},
        {"pr:small:small:small:small:small:small:small:small:small", IIP_E_SYNTAX, "", ""},
    };
    iip_thumb plain, t;

    iip_thumb_init(&plain);
    for (size_t i = 0; i < ROWS(rows); i++) {
        const char *expect = told(&plain), *at;

        iip_thumb_init(&t);
        assert_int_equal(iip_thumb_option(&t, rows[i].option, &both, pool, &err), rows[i].status);
        if (rows[i].status != IIP_OK || !*rows[i].from) {
            if (rows[i].status == IIP_OK)
                assert_string_equal(told(&t), expect);
            if (rows[i].status == IIP_E_SYNTAX)
                assert_non_null(err.part);
            continue;
        }
        at = strstr(expect, rows[i].from);
        if (!at)
            print_message("%s: %s in %s\n", rows[i].option, rows[i].from, expect);
        assert_non_null(at);
        expect = apr_pstrcat(pool, apr_pstrmemdup(pool, expect, (size_t)(at - expect)), rows[i].to,
                             at + strlen(rows[i].from), NULL);
        if (strstr(rows[i].option, ":so") && strstr(rows[i].option, "rs:"))
            t.extend_gravity.y = 0.5; /* told apart below */
        if (strncmp(rows[i].option, "pr", 2) == 0)
            t.quality = -1;
        assert_string_equal(told(&t), expect);
    }
    iip_thumb_init(&t);
    assert_int_equal(iip_thumb_options(&t, "rs:fill:300:200:1:1:so/w:5", NULL, pool, &err), IIP_OK);
    assert_true(t.extend_gravity.y == 1 && t.w == 5 && t.h == 200);
    assert_int_equal(iip_thumb_options(&t, "w:5/", NULL, pool, &err), IIP_E_NOT_FOUND);
}

/* ---- names, who may ask ---- */

static void test_names(void **state)
{
    static const iip_preset any = {"any", "w:5", NULL};
    static const struct {
        const char *path;
        iip_status status;
        const char *name, *ext;
    } rows[] = {
        {"/unsafe/w:5/plain/a.tif", IIP_OK, "a.tif", NULL},
        {"/unsafe/w:5/plain/a.tif@png", IIP_OK, "a.tif", "png"},
        {"/unsafe/w:5/plain/a.tif@", IIP_OK, "a.tif", NULL},
        {"/unsafe/w:5/plain/a.tif@jpeg", IIP_OK, "a.tif", "jpg"},
        {"/unsafe/w:5/plain/d/a%20b.tif", IIP_OK, "d/a b.tif", NULL},
        {"/unsafe/w:5/plain/a%40b.tif@png", IIP_OK, "a@b.tif", "png"},
        {"/unsafe/w:5/plain/local:///a.tif", IIP_OK, "a.tif", NULL},
        {"/unsafe/w:5/plain/local:/d/a.tif", IIP_OK, "d/a.tif", NULL},
        {"/unsafe/w:5/plain/local:%2F%2F%2Fa.tif", IIP_OK, "a.tif", NULL},
        {"/unsafe/w:5/YS50aWY", IIP_OK, "a.tif", NULL},
        {"/unsafe/w:5/YS50aWY.png", IIP_OK, "a.tif", "png"},
        {"/unsafe/w:5/YS5/0aWY.png", IIP_OK, "a.tif", "png"},
        {"/unsafe/w:5/bG9jYWw6Ly8vYS50aWY.png", IIP_OK, "a.tif", "png"},
        {"/unsafe/pr:any/plain/a.tif", IIP_OK, "a.tif", NULL},
        {"/unsafe/preset:any/plain/a.tif", IIP_OK, "a.tif", NULL},
        {"/unsafe/w:5/plain/a.tif@xyz", IIP_E_SYNTAX, NULL, NULL},
        {"/unsafe/w:5/plain/http://example.org/a.tif", IIP_E_NOT_FOUND, NULL, NULL},
        {"/unsafe/w:5/plain/s3://a/b.tif", IIP_E_NOT_FOUND, NULL, NULL},
        {"/unsafe/w:5/plain/../a.tif", IIP_E_NOT_FOUND, NULL, NULL},
        {"/unsafe/w:5/plain/%2e%2e/a.tif", IIP_E_NOT_FOUND, NULL, NULL},
        {"/unsafe/w:5/plain//etc/passwd", IIP_E_NOT_FOUND, NULL, NULL},
        {"/unsafe/w:5/plain/a%00.tif", IIP_E_NOT_FOUND, NULL, NULL},
        {"/unsafe/w:5/YQBi", IIP_E_NOT_FOUND, NULL, NULL}, /* a, NUL, b */
        {"/unsafe/w:5/plain/", IIP_E_NOT_FOUND, NULL, NULL},
        {"/unsafe/w:5/", IIP_E_NOT_FOUND, NULL, NULL},
        {"/unsafe/w:5/?", IIP_E_NOT_FOUND, NULL, NULL},
        {"/unsafe/w:6/plain/a.tif", IIP_E_FORBIDDEN, NULL, NULL},
        {"/unsafe/w:5/q:5/plain/a.tif", IIP_E_FORBIDDEN, NULL, NULL},
        {"/unsafe/pr:other/plain/a.tif", IIP_E_FORBIDDEN, NULL, NULL},
        {"/unsafe/plain/a.tif", IIP_E_FORBIDDEN, NULL, NULL},
        {"/unsafer/w:5/plain/a.tif", IIP_E_FORBIDDEN, NULL, NULL},
        {"/unsaf/w:5/plain/a.tif", IIP_E_FORBIDDEN, NULL, NULL},
        {"/_/w:5/plain/a.tif", IIP_E_FORBIDDEN, NULL, NULL},
        {"/unsafe", IIP_E_NOT_FOUND, NULL, NULL},
        {"/", IIP_E_NOT_FOUND, NULL, NULL},
        {"", IIP_E_NOT_FOUND, NULL, NULL},
    };

    fresh();
    set.thumb_presets = &any;
    for (size_t i = 0; i < ROWS(rows); i++) {
        assert_int_equal(parse(rows[i].path), rows[i].status);
        if (rows[i].status == IIP_OK) {
            assert_int_equal(want, IIP_WANT_IMAGE);
            assert_string_equal(rq.name, rows[i].name);
        }
    }
    set.thumb_presets = NULL;
    assert_int_equal(parse("/unsafe/w:5/plain/a.tif"), IIP_E_FORBIDDEN);
}

#ifdef IIP_HAVE_CRYPTO
static void test_signed(void **state)
{
    static const iip_preset any = {"any", "w:10", NULL};
    const iip_thumb_keys *keys;

    fresh();
    set.thumb_presets = &any;
    assert_null(iip_thumb_keys_parse(KEY " " SALT, &keys, pool));
    set.thumb_keys = keys;
    assert_int_equal(parse("/Jba3SibA-GMjlPw4KLzZrxUVPVN7vi-V0OuNvbpL51c/rs:fill:300:400:0/g:sm/plain/a.tif@png"),
                     IIP_OK);
    assert_int_equal(parse("/fOXtL__2IUjxnh95HcbrPcFq6VtpOfPKtiBgIB4L2aE/bG9jYWw6Ly8vYS50aWY.png"), IIP_OK);
    assert_string_equal(rq.name, "a.tif");
    assert_int_equal(parse("/unsafe/w:10/plain/a.tif"), IIP_E_FORBIDDEN);
    /* httpd has made one slash of three: the signature is that of what the client wrote */
    assert_int_equal(parse("/jB6kC9Bi9AJzmZ7nlOslw4aD9I1Yo6GcJifCskzfCpE/w:10/plain/local:/a%20b.tif"),
                     IIP_E_FORBIDDEN);
    in.written = "/jB6kC9Bi9AJzmZ7nlOslw4aD9I1Yo6GcJifCskzfCpE/w:10/plain/local:///a%20b.tif";
    assert_int_equal(thumb()->parse(&in, &rq, &want, pool, &err), IIP_OK);
    assert_string_equal(rq.name, "a b.tif");
}
#endif

static void test_expiry(void **state)
{
    static const iip_preset old = {"old", "exp:999", NULL}, last = {"last", "exp:1000", &old};

    fresh();
    set.thumb_presets = &last;
    assert_int_equal(parse("/unsafe/pr:old/plain/a.tif"), IIP_E_NOT_FOUND);
    assert_int_equal(parse("/unsafe/pr:last/plain/a.tif"), IIP_OK);
}

/* ---- geometry ---- */

static iip_info picture(int64_t w, int64_t h, int orientation)
{
    iip_info i = {.levels = 1,
                  .pages = 1,
                  .bands = 3,
                  .bits = 8,
                  .space = IIP_RGB,
                  .orientation = orientation,
                  .virtual_from = 1};

    i.level[0] = (iip_level){w, h, w, 16};
    return i;
}

static void test_place(void **state)
{
    static const struct {
        const char *options;
        int w, h, orientation;
        const char *is; /* src out turn flip frame within */
    } rows[] = {
        {"rs:fit:300:300", 1200, 800, 1, "0,0,1200,800 300x200 0 0 0,0,0,0 0,0,0,0"},
        {"w:300", 1200, 800, 1, "0,0,1200,800 300x200 0 0 0,0,0,0 0,0,0,0"},
        {"h:100", 1200, 800, 1, "0,0,1200,800 150x100 0 0 0,0,0,0 0,0,0,0"},
        {"w:0", 1200, 800, 1, "0,0,1200,800 1200x800 0 0 0,0,0,0 0,0,0,0"},
        {"rs:force:300:300", 1200, 800, 1, "0,0,1200,800 300x300 0 0 0,0,0,0 0,0,0,0"},
        {"rs:force:300", 1200, 800, 1, "0,0,1200,800 300x800 0 0 0,0,0,0 0,0,0,0"},
        {"rs:fill:300:300", 1200, 800, 1, "200,0,800,800 300x300 0 0 0,0,0,0 0,0,0,0"},
        {"rs:fill:300:300/g:we", 1200, 800, 1, "0,0,800,800 300x300 0 0 0,0,0,0 0,0,0,0"},
        {"rs:fill:300:300/g:ea", 1200, 800, 1, "400,0,800,800 300x300 0 0 0,0,0,0 0,0,0,0"},
        {"rs:fill:300:300/g:ea:30:0", 1200, 800, 1, "320,0,800,800 300x300 0 0 0,0,0,0 0,0,0,0"},
        {"rs:fill:300:300/g:fp:0.25:0.5", 1200, 800, 1, "0,0,800,800 300x300 0 0 0,0,0,0 0,0,0,0"},
        {"rs:fill:300:300/g:fp:0.5:0.5", 1200, 800, 1, "200,0,800,800 300x300 0 0 0,0,0,0 0,0,0,0"},
        {"rs:fill:300:100/g:so", 1200, 800, 1, "0,400,1200,400 300x100 0 0 0,0,0,0 0,0,0,0"},
        {"rs:fill:300:300/g:sm", 1200, 800, 1, "200,0,800,800 300x300 0 0 0,0,0,0 0,0,1200,800"},
        {"rs:fill:300", 1200, 800, 1, "0,0,1200,800 300x200 0 0 0,0,0,0 0,0,0,0"},
        {"rs:auto:300:300", 1200, 800, 1, "200,0,800,800 300x300 0 0 0,0,0,0 0,0,0,0"},
        {"rs:auto:200:300", 1200, 800, 1, "0,0,1200,800 200x133 0 0 0,0,0,0 0,0,0,0"},
        {"rs:fit:2400:2400", 1200, 800, 1, "0,0,1200,800 1200x800 0 0 0,0,0,0 0,0,0,0"},
        {"rs:fit:2400:2400:1", 1200, 800, 1, "0,0,1200,800 2400x1600 0 0 0,0,0,0 0,0,0,0"},
        {"rs:fill:2400:400", 1200, 800, 1, "0,200,1200,400 1200x400 0 0 0,0,0,0 0,0,0,0"},
        {"rs:fill-down:2400:400", 1200, 800, 1, "0,300,1200,200 1200x200 0 0 0,0,0,0 0,0,0,0"},
        {"rs:fill-down:400:2400", 1200, 800, 1, "534,0,133,800 133x800 0 0 0,0,0,0 0,0,0,0"},
        {"rs:fit:300:300/dpr:2", 1200, 800, 1, "0,0,1200,800 600x400 0 0 0,0,0,0 0,0,0,0"},
        {"rs:fit:300:300/dpr:0.5", 1200, 800, 1, "0,0,1200,800 150x100 0 0 0,0,0,0 0,0,0,0"},
        {"c:400:400", 1200, 800, 1, "400,200,400,400 400x400 0 0 0,0,0,0 0,0,0,0"},
        {"c:0.5:0.25:soea", 1200, 800, 1, "600,600,600,200 600x200 0 0 0,0,0,0 0,0,0,0"},
        {"c:400:400:nowe/rs:fit:100:50", 1200, 800, 1, "0,0,400,400 50x50 0 0 0,0,0,0 0,0,0,0"},
        {"c:400:400:nowe/rs:fill:100:50/g:so", 1200, 800, 1, "0,200,400,200 100x50 0 0 0,0,0,0 0,0,0,0"},
        {"c:400:400:nowe/rs:fill:100:50/g:sm", 1200, 800, 1, "0,100,400,200 100x50 0 0 0,0,0,0 0,0,400,400"},
        {"c:400:400:sm", 1200, 800, 1, "400,200,400,400 400x400 0 0 0,0,0,0 0,0,1200,800"},
        {"rs:fit:300:300:0:1", 1200, 800, 1, "0,0,1200,800 300x200 0 0 0,50,300,300 0,0,0,0"},
        {"rs:fit:300:300:0:1:no", 1200, 800, 1, "0,0,1200,800 300x200 0 0 0,0,300,300 0,0,0,0"},
        {"rs:fit:300:300:0:1:so:0:10", 1200, 800, 1, "0,0,1200,800 300x200 0 0 0,90,300,300 0,0,0,0"},
        {"rs:fit:300:300/pd:1:2:3:4", 1200, 800, 1, "0,0,1200,800 300x200 0 0 4,1,306,204 0,0,0,0"},
        {"rs:fit:300:300/pd:1:2:3:4/dpr:2", 1200, 800, 1, "0,0,1200,800 600x400 0 0 8,2,612,408 0,0,0,0"},
        {"rs:fit:300:300:0:1/pd:10", 1200, 800, 1, "0,0,1200,800 300x200 0 0 10,60,320,320 0,0,0,0"},
        /* turned: 800x1200 is seen */
        {"rs:fit:300:300/rot:90", 1200, 800, 1, "0,0,1200,800 300x200 90 0 0,0,0,0 0,0,0,0"},
        {"rs:fill:400:400/rot:90/g:no", 1200, 800, 1, "0,0,800,800 400x400 90 0 0,0,0,0 0,0,0,0"},
        {"rs:fill:400:400/rot:270/g:no", 1200, 800, 1, "400,0,800,800 400x400 270 0 0,0,0,0 0,0,0,0"},
        {"rs:fill:400:400/rot:180/g:we", 1200, 800, 1, "400,0,800,800 400x400 180 0 0,0,0,0 0,0,0,0"},
        {"rs:fill:400:400/fl:1/g:we", 1200, 800, 1, "400,0,800,800 400x400 0 1 0,0,0,0 0,0,0,0"},
        {"rs:fill:1200:400/fl:0:1/g:no", 1200, 800, 1, "0,400,1200,400 1200x400 180 1 0,0,0,0 0,0,0,0"},
        {"fl:1:1", 1200, 800, 1, "0,0,1200,800 1200x800 180 0 0,0,0,0 0,0,0,0"},
        {"rot:90/fl:1", 1200, 800, 1, "0,0,1200,800 1200x800 270 1 0,0,0,0 0,0,0,0"},
        {"rot:90/fl:0:1", 1200, 800, 1, "0,0,1200,800 1200x800 90 1 0,0,0,0 0,0,0,0"},
        /* the picture is upright already: only ar:0 turns it back */
        {"w:300", 1200, 800, 6, "0,0,1200,800 300x200 0 0 0,0,0,0 0,0,0,0"},
        {"ar:0", 1200, 800, 6, "0,0,1200,800 1200x800 270 0 0,0,0,0 0,0,0,0"},
        {"ar:0", 1200, 800, 8, "0,0,1200,800 1200x800 90 0 0,0,0,0 0,0,0,0"},
        {"ar:0", 1200, 800, 2, "0,0,1200,800 1200x800 0 1 0,0,0,0 0,0,0,0"},
        {"ar:0", 1200, 800, 3, "0,0,1200,800 1200x800 180 0 0,0,0,0 0,0,0,0"},
        {"ar:0", 1200, 800, 5, "0,0,1200,800 1200x800 270 1 0,0,0,0 0,0,0,0"},
        {"ar:0/rot:90", 1200, 800, 6, "0,0,1200,800 1200x800 0 0 0,0,0,0 0,0,0,0"},
        {"rs:fill:1:1", 1200, 800, 1, "200,0,800,800 1x1 0 0 0,0,0,0 0,0,0,0"},
        {"w:1", 70000, 1, 1, "0,0,70000,1 1x1 0 0 0,0,0,0 0,0,0,0"},
    };
    iip_limits lim;

    fresh();
    iip_settings_limits(&lim, &set);
    for (size_t i = 0; i < ROWS(rows); i++) {
        const iip_info info = picture(rows[i].w, rows[i].h, rows[i].orientation);
        const char *is;
        iip_thumb t;

        iip_thumb_init(&t);
        assert_int_equal(iip_thumb_options(&t, rows[i].options, NULL, pool, &err), IIP_OK);
        iip_request_init(&rq, &set);
        rq.format = IIP_FMT_PNG;
        assert_int_equal(iip_thumb_place(&t, &rq, &info, &lim, pool, &err), IIP_OK);
        assert_int_equal(iip_request_resolve(&rq, &info, &lim, &err), IIP_OK);
        is = apr_psprintf(pool, "%d,%d,%d,%d %dx%d %g %d %d,%d,%d,%d %d,%d,%d,%d", (int)rq.src.x, (int)rq.src.y,
                          (int)rq.src.w, (int)rq.src.h, (int)rq.out_w, (int)rq.out_h, rq.rotate, rq.flip,
                          (int)rq.frame.x, (int)rq.frame.y, (int)rq.frame.w, (int)rq.frame.h, (int)rq.within.x,
                          (int)rq.within.y, (int)rq.within.w, (int)rq.within.h);
        if (strcmp(is, rows[i].is))
            print_message("%s of %dx%d, %d\n", rows[i].options, rows[i].w, rows[i].h, rows[i].orientation);
        assert_string_equal(is, rows[i].is);
    }
}

/* What is too much is refused before any work; equal requests have equal lines, others do not. */
static void test_limits(void **state)
{
    static const struct {
        const char *options;
        iip_status status;
    } rows[] = {
        {"rs:fit:6000:6000:1", IIP_E_LIMIT},  {"pd:3000", IIP_E_LIMIT}, {"rs:fit:10:10:0:1/pd:3000", IIP_E_LIMIT},
        {"bl:40/dpr:2", IIP_E_LIMIT},         {"w:10/bl:60", IIP_OK},   {"sh:64", IIP_OK},
        {"rs:force:1000000:1:1", IIP_E_LIMIT}};
    static const char *const lines[] = {"w:100",      "w:100/pd:1", "w:100/pd:1/bg:fff", "w:100/bl:1",
                                        "w:100/sh:1", "w:100/fl:1", "rs:fill:10:10",     "rs:fill:10:10/g:sm"};
    const iip_info info = picture(1200, 800, 1);
    char text[ROWS(lines)][IIP_LINE_MAX];
    iip_limits lim;
    iip_thumb t;

    fresh();
    iip_settings_limits(&lim, &set);
    for (size_t i = 0; i < ROWS(rows) + ROWS(lines); i++) {
        iip_status rv;

        iip_thumb_init(&t);
        assert_int_equal(
            iip_thumb_options(&t, i < ROWS(rows) ? rows[i].options : lines[i - ROWS(rows)], NULL, pool, &err), IIP_OK);
        iip_request_init(&rq, &set);
        rq.format = IIP_FMT_JPEG;
        rv = iip_thumb_place(&t, &rq, &info, &lim, pool, &err);
        if (rv == IIP_OK)
            rv = iip_request_resolve(&rq, &info, &lim, &err);
        assert_int_equal(rv, i < ROWS(rows) ? rows[i].status : IIP_OK);
        if (i >= ROWS(rows)) {
            assert_true(iip_request_line(&rq, text[i - ROWS(rows)], IIP_LINE_MAX) > 0);
            for (size_t k = 0; k < i - ROWS(rows); k++)
                assert_string_not_equal(text[k], text[i - ROWS(rows)]);
        }
    }
    /* growing is off: as large as it is */
    lim.upscale = 0;
    iip_thumb_init(&t);
    assert_int_equal(iip_thumb_options(&t, "w:2400/el:1", NULL, pool, &err), IIP_OK);
    iip_request_init(&rq, &set);
    assert_int_equal(iip_thumb_place(&t, &rq, &info, &lim, pool, &err), IIP_OK);
    assert_int_equal(rq.size[0].num, 1200);
}

static void test_format(void **state)
{
    static const iip_preset any = {"any", "w:5", NULL};
    static const struct {
        const char *accept;
        int alpha;
        iip_format format;
    } rows[] = {
        {NULL, 0, IIP_FMT_JPEG},
        {NULL, 1, IIP_FMT_PNG},
        {"*/*", 0, IIP_FMT_JPEG},
        {"image/*", 1, IIP_FMT_PNG},
        {"image/webp,*/*", 0, IIP_FMT_WEBP},
        {"image/webp;q=0,*/*", 0, IIP_FMT_JPEG},
        {"text/html", 0, IIP_FMT_JPEG},
#ifdef IIP_HAVE_AVIF
        {"image/webp,image/avif,*/*", 0, IIP_FMT_AVIF},
#endif
    };
    iip_limits lim;

    fresh();
    set.thumb_presets = &any;
    iip_settings_limits(&lim, &set);
    for (size_t i = 0; i < ROWS(rows); i++) {
        iip_info info = picture(1200, 800, 1);

        info.alpha = rows[i].alpha;
        info.bands += rows[i].alpha;
        assert_int_equal(parse("/unsafe/w:5/plain/a.tif"), IIP_OK);
        in.accept = rows[i].accept;
        assert_int_equal(thumb()->place(&in, &rq, &info, &lim, pool, &err), IIP_OK);
        assert_int_equal(rq.format, rows[i].format);
        assert_int_equal(rq.negotiated, 1);
        assert_int_equal(parse("/unsafe/w:5/plain/a.tif@png"), IIP_OK);
        in.accept = rows[i].accept;
        assert_int_equal(thumb()->place(&in, &rq, &info, &lim, pool, &err), IIP_OK);
        assert_int_equal(rq.format, IIP_FMT_PNG);
        assert_int_equal(rq.negotiated, 0);
    }
}

#ifdef IIP_HAVE_AVIF
/* Two million pixels at most, the frame's too: others get the next best, who insists gets a refusal. */
static void test_avif(void **state)
{
    static const iip_preset small = {"small", "rs:fit:2000:1000", NULL},
                            large = {"large", "rs:fit:2000:1000/pd:1", &small};
    static const struct {
        const char *path;
        iip_status status;
        iip_format format;
    } rows[] = {{"/unsafe/pr:small/plain/a.tif", IIP_OK, IIP_FMT_AVIF},
                {"/unsafe/pr:large/plain/a.tif", IIP_OK, IIP_FMT_WEBP},
                {"/unsafe/pr:small/plain/a.tif@avif", IIP_OK, IIP_FMT_AVIF},
                {"/unsafe/pr:large/plain/a.tif@avif", IIP_E_LIMIT, IIP_FMT_NONE}};
    const iip_info info = picture(4000, 2000, 1);
    iip_limits lim;

    fresh();
    set.thumb_presets = &large;
    iip_settings_limits(&lim, &set);
    for (size_t i = 0; i < ROWS(rows); i++) {
        assert_int_equal(parse(rows[i].path), IIP_OK);
        in.accept = "image/avif,image/webp,*/*";
        assert_int_equal(thumb()->place(&in, &rq, &info, &lim, pool, &err), rows[i].status);
        if (rows[i].status == IIP_OK)
            assert_int_equal(rq.format, rows[i].format);
    }
}
#endif

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_keys),    cmocka_unit_test(test_signatures), cmocka_unit_test(test_base64),
        cmocka_unit_test(test_options), cmocka_unit_test(test_names),
#ifdef IIP_HAVE_CRYPTO
        cmocka_unit_test(test_signed),
#endif
        cmocka_unit_test(test_expiry),  cmocka_unit_test(test_place),      cmocka_unit_test(test_limits),
        cmocka_unit_test(test_format),
#ifdef IIP_HAVE_AVIF
        cmocka_unit_test(test_avif),
#endif
    };

    apr_initialize();
    apr_pool_create(&pool, NULL);
    iip_settings_init(pool);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
