/* SPDX-License-Identifier: Apache-2.0
 * The parser of the Internet Imaging Protocol: every command with good, missing, repeated, huge, negative, non-finite
 * and misplaced arguments; sizes of views; texts of objects and errors. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>
#include <apr_general.h>
#include <apr_strings.h>
#include "ops.h"
#include "protocol/iip.h"
#include "settings.h"

#define ROWS(a) (sizeof(a) / sizeof *(a))

static apr_pool_t *pool;
static iip_settings set;
static iip_request rq;
static iip_want want;
static iip_error err;
static iip_input in;

static const iip_protocol *iip(void)
{
    return iip_protocol_find("iip-handler");
}

static iip_status parse(const char *query)
{
    in = (iip_input){.path = "/", .query = query, .base_url = "http://h/iip", .set = &set};
    err = (iip_error){IIP_OK, 0, NULL, ""};
    iip_request_init(&rq, &set);
    want = IIP_WANT_IMAGE;
    return iip()->parse(&in, &rq, &want, pool, &err);
}

static const iip_asked *asked(void)
{
    return rq.asked;
}

/* The whole message, without its length and end. */
static const char *complaint(void)
{
    const char *mime, *s = iip()->complain(&in, &err, &mime, pool);

    assert_string_equal(mime, "application/vnd.netfpx");
    s = strchr(s, ':') + 1;
    return apr_pstrmemdup(pool, s, strlen(s) - 2);
}

/* ---- numbers ---- */

static void test_numbers(void **state)
{
    static const struct {
        const char *text;
        int rv;
        double v;
        const char *rest;
    } reals[] = {
        {"1", 1, 1, ""},
        {"-1.5", 1, -1.5, ""},
        {"+.5", 1, .5, ""},
        {"5.", 1, 5, ""},
        {" 7,8", 1, 7, ",8"},
        {"1e3", 1, 1000, ""},
        {"1E-2x", 1, .01, "x"},
        {"1e", 1, 1, "e"},
        {"1e+", 1, 1, "e+"},
        {".", 0, 0, "."},
        {"", 0, 0, ""},
        {"-", 0, 0, "-"},
        {"x", 0, 0, "x"},
        {"nan", -1, 0, NULL},
        {"-inf", -1, 0, NULL},
        {"Infinity", -1, 0, NULL},
        {"1e999", -1, 0, NULL},
        {"1e-999", 1, 0, ""},
        {"0e999", 1, 0, ""},
        {"1.2.3", 1, 1.2, ".3"},
        {"0.1", 1, .1, ""},
        {"123456789012345678901234567890", 1, 123456789012345678901234567890., ""},
        {"1234567890123456789012345678901234", 0, 0, NULL},
        {"0.3", 1, .3, ""},
        {"65535", 1, 65535, ""},
    };
    static const struct {
        const char *text;
        int rv;
        int64_t v;
    } fractions[] = {{"1", 1, IIP_WHOLE},
                     {".1", 1, IIP_WHOLE / 10},
                     {"1e-12", 1, 1},
                     {"1e-13", 1, 0},
                     {"6e-13", 1, 1},
                     {"0.30000000000000004", 1, 3 * IIP_WHOLE / 10},
                     {"-.25", 1, -IIP_WHOLE / 4},
                     {"1e300", 1, 1000 * IIP_WHOLE},
                     {"1e-99999", 1, 0},
                     {"1e309", -1, 0},
                     {"-9e99999", -1, 0},
                     {"999999999999999999999", 1, 1000 * IIP_WHOLE},
                     {"nan", -1, 0}};
    static const struct {
        const char *text;
        int rv;
        int64_t v;
    } counts[] = {{"0", 1, 0},  {"017", 1, 17}, {"-1", 0, 0},
                  {"+1", 0, 0}, {"", 0, 0},     {"9999999999999999999999", 1, INT64_C(1000000000000000)}};

    for (size_t i = 0; i < ROWS(reals); i++) {
        const char *s = reals[i].text;
        double v = 0;

        assert_int_equal(iip_read_real(&s, &v), reals[i].rv);
        if (reals[i].rv == 1) {
            double d = v - reals[i].v, most = 1e-15 * (v < 0 ? -v : v);

            assert_true(d <= most && -d <= most);
            assert_string_equal(s, reals[i].rest);
        }
    }
    for (size_t i = 0; i < ROWS(fractions); i++) {
        const char *s = fractions[i].text;
        int64_t v = 0;

        assert_int_equal(iip_read_fraction(&s, &v), fractions[i].rv);
        if (fractions[i].rv == 1)
            assert_int_equal(v, fractions[i].v);
    }
    for (size_t i = 0; i < ROWS(counts); i++) {
        const char *s = counts[i].text;
        int64_t v = 0;

        assert_int_equal(iip_read_count(&s, &v), counts[i].rv);
        assert_int_equal(v, counts[i].v);
    }
}

/* ---- what sends ---- */

static void test_senders(void **state)
{
    static const struct {
        const char *query;
        iip_status rv;
        iip_ask ask;
        iip_want want;
        iip_format format;
        int64_t v[4]; /* resolution, tile, x or last, y */
    } rows[] = {
        {"FIF=a&JTL=1,2", IIP_OK, IIP_ASK_TILE, IIP_WANT_IMAGE, IIP_FMT_JPEG, {1, 2}},
        {"FIF=a&PTL=01,+2", IIP_E_SYNTAX, 0, 0, 0, {0}},
        {"FIF=a&PTL=0,0", IIP_OK, IIP_ASK_TILE, IIP_WANT_IMAGE, IIP_FMT_PNG, {0, 0}},
        {"FIF=a&wtl=0,0", IIP_OK, IIP_ASK_TILE, IIP_WANT_IMAGE, IIP_FMT_WEBP, {0, 0}},
        {"FIF=a&TTL=0,0", IIP_OK, IIP_ASK_TILE, IIP_WANT_IMAGE, IIP_FMT_TIFF, {0, 0}},
        {"FIF=a&JTLS=7,1,2,90", IIP_OK, IIP_ASK_TILE, IIP_WANT_IMAGE, IIP_FMT_JPEG, {1, 2}},
        {"FIF=a&JTLS=7,1,2", IIP_E_SYNTAX, 0, 0, 0, {0}},
        {"FIF=a&TIL=1,2-5", IIP_OK, IIP_ASK_TILES, IIP_WANT_DATA, IIP_FMT_JPEG, {1, 2, 5}},
        {"FIF=a&TIL=1,2", IIP_OK, IIP_ASK_TILES, IIP_WANT_DATA, IIP_FMT_JPEG, {1, 2, 2}},
        {"FIF=a&TIL=1,2-", IIP_E_SYNTAX, 0, 0, 0, {0}},
        {"FIF=a&TIL=1,-2", IIP_E_SYNTAX, 0, 0, 0, {0}},
        {"FIF=a&CVT=jpeg", IIP_OK, IIP_ASK_VIEW, IIP_WANT_IMAGE, IIP_FMT_JPEG, {0}},
        {"FIF=a&CVT=PnG", IIP_OK, IIP_ASK_VIEW, IIP_WANT_IMAGE, IIP_FMT_PNG, {0}},
        {"FIF=a&CVT=webp", IIP_OK, IIP_ASK_VIEW, IIP_WANT_IMAGE, IIP_FMT_WEBP, {0}},
        {"FIF=a&CVT=tif", IIP_OK, IIP_ASK_VIEW, IIP_WANT_IMAGE, IIP_FMT_TIFF, {0}},
        {"FIF=a&CVT=bmp", IIP_OK, IIP_ASK_VIEW, IIP_WANT_IMAGE, IIP_FMT_JPEG, {0}},
        {"FIF=a&CVT", IIP_OK, IIP_ASK_VIEW, IIP_WANT_IMAGE, IIP_FMT_JPEG, {0}},
        {"FIF=a&CVT=", IIP_E_SYNTAX, 0, 0, 0, {0}},
        {"FIF=a&SPECTRA=1,2,3,4", IIP_OK, IIP_ASK_POINT, IIP_WANT_DATA, 0, {1, 2, 3, 4}},
        {"FIF=a&SPECTRA=1,2,3", IIP_E_SYNTAX, 0, 0, 0, {0}},
        {"FIF=a&SPECTRA=1,2,3,4,5", IIP_E_SYNTAX, 0, 0, 0, {0}},
        {"FIF=a&PFL=1:3,4", IIP_OK, IIP_ASK_PROFILE, IIP_WANT_DATA, 0, {1, 0, 3, 4}},
        {"FIF=a&PFL=1:3,4-5,6", IIP_OK, IIP_ASK_PROFILE, IIP_WANT_DATA, 0, {1, 0, 3, 4}},
        {"FIF=a&PFL=1,3,4", IIP_E_SYNTAX, 0, 0, 0, {0}},
        {"FIF=a&PFL=1:3,4-5", IIP_E_SYNTAX, 0, 0, 0, {0}},
        {"FIF=a&OBJ=Max-size", IIP_OK, IIP_ASK_OBJECTS, IIP_WANT_DATA, 0, {0}},
        {"OBJ=IIP,1.0", IIP_OK, IIP_ASK_OBJECTS, IIP_WANT_TEXT, 0, {0}},
        {"FIF=a&OBJ=Max-size&CVT=png&JTL=x", IIP_OK, IIP_ASK_VIEW, IIP_WANT_IMAGE, IIP_FMT_PNG, {0}},
        {"", IIP_OK, IIP_ASK_NOTHING, IIP_WANT_TEXT, 0, {0}},
        {"&&=&=x&", IIP_E_SYNTAX, 0, 0, 0, {0}},
    };

    for (size_t i = 0; i < ROWS(rows); i++) {
        iip_status rv = parse(rows[i].query);

        if (rv != rows[i].rv)
            fail_msg("%s: %d, not %d", rows[i].query, rv, rows[i].rv);
        if (rv != IIP_OK)
            continue;
        assert_int_equal(asked()->ask, rows[i].ask);
        assert_int_equal(want, rows[i].want);
        assert_int_equal(rq.format, rows[i].format);
        assert_int_equal(asked()->resolution, rows[i].v[0]);
        assert_int_equal(asked()->tile, rows[i].v[1]);
        if (rows[i].ask == IIP_ASK_TILES)
            assert_int_equal(asked()->last, rows[i].v[2]);
        if (rows[i].ask == IIP_ASK_POINT || rows[i].ask == IIP_ASK_PROFILE) {
            assert_int_equal(asked()->x, rows[i].v[2]);
            assert_int_equal(asked()->y, rows[i].v[3]);
        }
    }
    assert_int_equal(parse("FIF=a&JTLS=7,1,2,90"), IIP_OK);
    assert_true(rq.angle_h == 7 && rq.angle_v == 90);
}

static void test_names(void **state)
{
    static const iip_root absolute = {.path = "/data/images", .prefix = "/iip", .fd = -1, .absolute = 1};
    static const struct {
        const char *query, *name;
        int absolute;
    } rows[] = {{"FIF=a.tif&CVT=png", "a.tif", 0},
                {"FIF=/a/b.tif&CVT=png", "a/b.tif", 0},
                {"FIF=a%2Fb+c%26d.tif&CVT=png", "a/b+c&d.tif", 0},
                {"FIF=a=b.tif&CVT=png", "a=b.tif", 0},
                {"FIF=a%252e.tif&CVT=png", "a%2e.tif", 0},
                {"FIF=x&FIF=y&CVT=png&FIF=z", "y", 0},
                {"FIF=../x&FIF=y&CVT=png", "y", 0},
                {"FIF=//a&CVT=png", NULL, 0},
                {"FIF=a/../b&CVT=png", NULL, 0},
                {"FIF=.a&CVT=png", NULL, 0},
                {"FIF=a%00b&CVT=png", NULL, 0},
                {"FIF=a%zzb&CVT=png", NULL, 0},
                {"FIF=a%ffb&CVT=png", NULL, 0},
                {"FIF=/&CVT=png", NULL, 0},
                {"FIF=/data/images/a.tif&CVT=png", "data/images/a.tif", 0},
                {"FIF=/data/images/a.tif&CVT=png", "a.tif", 1},
                {"FIF=data/images/a.tif&CVT=png", "a.tif", 1},
                {"FIF=/data/imagesa.tif&CVT=png", "data/imagesa.tif", 1},
                {"FIF=/data/images/../a.tif&CVT=png", NULL, 1},
                {"FIF=/data/images//a.tif&CVT=png", "a.tif", 1},
                {"FIF=a.tif&CVT=png", "a.tif", 1}};

    for (size_t i = 0; i < ROWS(rows); i++) {
        set.root = rows[i].absolute ? &absolute : NULL;
        if (rows[i].name) {
            assert_int_equal(parse(rows[i].query), IIP_OK);
            assert_string_equal(rq.name, rows[i].name);
        } else {
            assert_int_equal(parse(rows[i].query), IIP_E_NOT_FOUND);
        }
    }
    set.root = NULL;
}

/* ---- what changes an answer ---- */

static void test_modifiers(void **state)
{
    static const struct {
        const char *query;
        iip_status rv;
        iip_op_kind kind; /* IIP_OP_COUNT: none */
        int argc;
        float arg[8];
    } rows[] = {
        {"CNT=1.5", IIP_OK, IIP_OP_CONTRAST, 1, {1.5f}},
        {"CNT=1", IIP_OK, IIP_OP_COUNT, 0, {0}},
        {"CNT=-2", IIP_OK, IIP_OP_CONTRAST, 1, {-2}},
        {"CNT=x", IIP_OK, IIP_OP_COUNT, 0, {0}},
        {"CNT=2x", IIP_OK, IIP_OP_COUNT, 0, {0}},
        {"CNT=inf", IIP_E_SYNTAX, 0, 0, {0}},
        {"CNT=1e40", IIP_E_SYNTAX, 0, 0, {0}},
        {"CNT=2&CNT=3", IIP_OK, IIP_OP_CONTRAST, 1, {3}},
        {"CNT=Stretch", IIP_OK, IIP_OP_STRETCH, 0, {0}},
        {"CNT=st", IIP_OK, IIP_OP_STRETCH, 0, {0}},
        {"CNT=eq", IIP_OK, IIP_OP_EQUALIZE, 0, {0}},
        {"CNT=equalization", IIP_OK, IIP_OP_EQUALIZE, 0, {0}},
        {"GAM=2.2", IIP_OK, IIP_OP_GAMMA, 1, {2.2f}},
        {"GAM=log", IIP_OK, IIP_OP_LOG, 0, {0}},
        {"GAM=LOGARITHM", IIP_OK, IIP_OP_LOG, 0, {0}},
        {"GAM=log&GAM=2", IIP_OK, IIP_OP_GAMMA, 1, {2}},
        {"GAM=nan", IIP_E_SYNTAX, 0, 0, {0}},
        {"GAM=", IIP_OK, IIP_OP_COUNT, 0, {0}},
        {"INV", IIP_OK, IIP_OP_INVERT, 0, {0}},
        {"INV=0", IIP_OK, IIP_OP_INVERT, 0, {0}},
        {"INV=", IIP_OK, IIP_OP_COUNT, 0, {0}},
        {"COL=grey", IIP_OK, IIP_OP_GRAY, 0, {0}},
        {"COL=GRAY", IIP_OK, IIP_OP_GRAY, 0, {0}},
        {"COL=binary", IIP_OK, IIP_OP_BINARY, 0, {0}},
        {"COL=sepia", IIP_OK, IIP_OP_COUNT, 0, {0}},
        {"SHD=45,30", IIP_OK, IIP_OP_SHADE, 2, {45, 30}},
        {"SHD=-45,30,2", IIP_OK, IIP_OP_SHADE, 3, {-45, 30, 2}},
        {"SHD=45", IIP_OK, IIP_OP_COUNT, 0, {0}},
        {"SHD=1,2,3,4", IIP_OK, IIP_OP_COUNT, 0, {0}},
        {"SHD=inf,2", IIP_E_SYNTAX, 0, 0, {0}},
        {"CMP=JET", IIP_OK, IIP_OP_CMAP, 1, {IIP_CMAP_JET}},
        {"CMP=nothing", IIP_OK, IIP_OP_COUNT, 0, {0}},
        {"CMP=hot&CMP=none", IIP_OK, IIP_OP_COUNT, 0, {0}},
        {"MINMAX=1:2,3", IIP_OK, IIP_OP_MINMAX, 3, {1, 2, 3}},
        {"MINMAX=-:2,3", IIP_OK, IIP_OP_MINMAX, 3, {-1, 2, 3}},
        {"MINMAX=1,2,3", IIP_OK, IIP_OP_MINMAX, 3, {0, 2, 3}},
        {"MINMAX=0,2,3", IIP_OK, IIP_OP_COUNT, 0, {0}},
        {"MINMAX=1:2", IIP_OK, IIP_OP_COUNT, 0, {0}},
        {"MINMAX=x:2,3", IIP_OK, IIP_OP_COUNT, 0, {0}},
        {"MINMAX=1:2,nan", IIP_E_SYNTAX, 0, 0, {0}},
        {"MINMAX=0:1,2&MINMAX=1:3,4", IIP_OK, IIP_OP_MINMAX, 6, {0, 1, 2, 1, 3, 4}},
        {"CTW=[1,2;3,4]", IIP_OK, IIP_OP_TWIST, 6, {2, 2, 1, 2, 3, 4}},
        {"CTW=1,2,3", IIP_OK, IIP_OP_TWIST, 5, {1, 3, 1, 2, 3}},
        {"CTW=[1,2;3]", IIP_OK, IIP_OP_TWIST, 6, {2, 2, 1, 2, 3, 0}},
        {"CTW=[1,+2;-3,4e0]", IIP_OK, IIP_OP_TWIST, 6, {2, 2, 1, 2, -3, 4}},
        {"CTW=[1,x]", IIP_OK, IIP_OP_COUNT, 0, {0}},
        {"CTW=[]", IIP_OK, IIP_OP_COUNT, 0, {0}},
        {"CTW=[1,inf]", IIP_E_SYNTAX, 0, 0, {0}},
        {"CNV=[1]", IIP_OK, IIP_OP_CONVOLVE, 2, {1, 1}},
        {"CNV=1,2", IIP_OK, IIP_OP_COUNT, 0, {0}},
        {"CNV=nothing", IIP_OK, IIP_OP_COUNT, 0, {0}},
        {"CNV=nan", IIP_E_SYNTAX, 0, 0, {0}},
        {"ICC=x", IIP_OK, IIP_OP_COUNT, 0, {0}},
        {"FOO=x", IIP_OK, IIP_OP_COUNT, 0, {0}},
    };

    for (size_t i = 0; i < ROWS(rows); i++) {
        iip_status rv = parse(apr_pstrcat(pool, "FIF=a&", rows[i].query, "&CVT=png", NULL));

        if (rv != rows[i].rv)
            fail_msg("%s: %d, not %d", rows[i].query, rv, rows[i].rv);
        if (rv != IIP_OK) {
            assert_non_null(strstr(complaint(), "2 1 "));
            continue;
        }
        if (rows[i].kind == IIP_OP_COUNT) {
            if (rq.op_count)
                fail_msg("%s: an operation %d", rows[i].query, rq.op[0].kind);
            continue;
        }
        assert_int_equal(rq.op_count, 1);
        assert_int_equal(rq.op[0].kind, rows[i].kind);
        assert_int_equal(rq.op[0].argc, rows[i].argc);
        for (int k = 0; k < rows[i].argc; k++)
            assert_true(rq.op[0].arg[k] == rows[i].arg[k]);
        /* behind what sends it changes nothing */
        assert_int_equal(parse(apr_pstrcat(pool, "FIF=a&CVT=png&", rows[i].query, NULL)), IIP_OK);
        assert_int_equal(rq.op_count, 0);
    }
    assert_int_equal(parse("FIF=a&CNV=sobel&CVT=png"), IIP_OK);
    assert_true(rq.op_count == 1 && rq.op[0].argc == 10 && rq.op[0].arg[0] == 3 && rq.op[0].arg[4] == -2);
    assert_int_equal(parse("FIF=a&CNV=1,2,3;4,5,6;7,8,9&CVT=png"), IIP_OK);
    assert_true(rq.op_count == 1 && rq.op[0].argc == 10 && rq.op[0].arg[9] == 9);
    /* whatever the order of the commands, operations come in theirs */
    assert_int_equal(parse("FIF=a&COL=grey&CNT=2&CMP=hot&INV&GAM=2&SHD=1,2&MINMAX=-:0,9&CVT=png"), IIP_OK);
    assert_int_equal(rq.op_count, 7);
    for (int i = 1; i < rq.op_count; i++)
        assert_true(rq.op[i - 1].kind < rq.op[i].kind);
}

static void test_view_arguments(void **state)
{
    static const struct {
        const char *query;
        int64_t w, h;
        double rotate;
        int flip, layers, quality;
    } rows[] = {
        {"WID=500&HEI=20", 500, 20, 0, 0, -1, -1},
        {"WID=-5&HEI=x", 0, 0, 0, 0, -1, -1},
        {"WID=0&HEI=1.9", 0, 1, 0, 0, -1, -1},
        {"WID=99999999999999999999", IIP_MAX_SIDE, 0, 0, 0, -1, -1},
        {"WID=5&WID=7", 7, 0, 0, 0, -1, -1},
        {"WID=+5px", 5, 0, 0, 0, -1, -1},
        {"ROT=90", 0, 0, 90, 0, -1, -1},
        {"ROT=-90", 0, 0, 270, 0, -1, -1},
        {"ROT=!180", 0, 0, 180, 1, -1, -1},
        {"ROT=810", 0, 0, 90, 0, -1, -1},
        {"ROT=45", 0, 0, 0, 0, -1, -1},
        {"ROT=90&ROT=x", 0, 0, 90, 0, -1, -1},
        {"ROT=-0", 0, 0, 0, 0, -1, -1},
        {"LYR=3", 0, 0, 0, 0, 3, -1},
        {"LYR=0", 0, 0, 0, 0, -1, -1},
        {"LYR=-1", 0, 0, 0, 0, -1, -1},
        {"LYR=99999999999", 0, 0, 0, 0, 65535, -1},
        {"QLT=90", 0, 0, 0, 0, -1, 90},
        {"QLT=-7", 0, 0, 0, 0, -1, 1},
        {"QLT=1000", 0, 0, 0, 0, -1, 100},
        {"QLT=junk", 0, 0, 0, 0, -1, -1},
        {"QLT=zstd:50", 0, 0, 0, 0, -1, 50},
    };

    for (size_t i = 0; i < ROWS(rows); i++) {
        assert_int_equal(parse(apr_pstrcat(pool, "FIF=a&", rows[i].query, "&CVT=jpeg", NULL)), IIP_OK);
        assert_int_equal(asked()->width, rows[i].w);
        assert_int_equal(asked()->height, rows[i].h);
        assert_true(rq.rotate == rows[i].rotate);
        assert_int_equal(rq.flip, rows[i].flip);
        assert_int_equal(rq.layers, rows[i].layers);
        assert_int_equal(rq.quality, rows[i].quality);
        assert_int_equal(rq.recode, rows[i].quality >= 0);
    }
    assert_int_equal(parse("FIF=a&QLT=zstd:7&CVT=tif"), IIP_OK);
    assert_true(rq.set->tiff_compression == IIP_TIFF_ZSTD && rq.quality == 7 && rq.set != &set);
    assert_int_equal(parse("FIF=a&QLT=foo:7&CVT=tif"), IIP_OK);
    assert_int_equal(rq.set->tiff_compression, IIP_TIFF_NONE);
    assert_int_equal(parse("FIF=a&RGN=.1,.2,.3,.4&CVT=png"), IIP_OK);
    assert_true(asked()->has_region && asked()->left == IIP_WHOLE / 10 && asked()->down == 4 * (IIP_WHOLE / 10));
    assert_int_equal(parse("FIF=a&RGN=.9,-1,.5,9&CVT=png"), IIP_OK);
    assert_true(asked()->across == IIP_WHOLE / 10 && asked()->top == 0 && asked()->down == IIP_WHOLE);
    for (const char *const *q =
             (const char *const[]){"RGN=1,2,3", "RGN=0,0,0,1", "RGN=0,0,1,-1", "RGN=a,b,c,d", "RGN=1;2;3;4", NULL};
         *q; q++) {
        assert_int_equal(parse(apr_pstrcat(pool, "FIF=a&", *q, "&CVT=png", NULL)), IIP_OK);
        assert_false(asked()->has_region);
    }
    assert_int_equal(parse("FIF=a&RGN=0,nan,1,1&CVT=png"), IIP_E_SYNTAX);
    for (const char *const *q = (const char *const[]){"SDS=30,60", "SDS=SDS=30,60", NULL}; *q; q++) {
        assert_int_equal(parse(apr_pstrcat(pool, "FIF=a&", *q, "&CVT=png", NULL)), IIP_OK);
        assert_true(rq.angle_h == 30 && rq.angle_v == 60);
    }
    assert_int_equal(parse("FIF=a&SDS=30&CVT=png"), IIP_OK);
    assert_true(rq.angle_h == 30 && rq.angle_v == 90);
    for (const char *const *q = (const char *const[]){"SDS=x", "SDS=1,", "SDS=1,2,3", "SDS=-1,90", NULL}; *q; q++)
        assert_int_equal(parse(apr_pstrcat(pool, "FIF=a&", *q, "&CVT=png", NULL)), IIP_E_SYNTAX);
}

/* ---- errors ---- */

static void test_errors(void **state)
{
    static const struct {
        const char *query;
        iip_status rv;
        const char *text;
    } rows[] = {
        {"CVT=jpeg", IIP_E_SYNTAX, "1 3 CVT=jpeg"},
        {"JTL=0,0&FIF=a", IIP_E_SYNTAX, "1 3 JTL=0,0"},
        {"MINMAX=0:0,1&FIF=a&CVT=png", IIP_E_SYNTAX, "1 3 MINMAX=0:0,1"},
        {"FIF=../a&JTL=0,0", IIP_E_NOT_FOUND, "1 3 ../a"},
        {"FIF=a&JTL=0", IIP_E_SYNTAX, "2 1 JTL=0"},
        {"FIF=a&WID=5", IIP_E_SYNTAX, "2 1 WID=5"},
        {"FOO=1", IIP_E_SYNTAX, "2 2 FOO"},
        {"FIF=a&FOO=1&BAR=2", IIP_E_SYNTAX, "2 2 FOO"},
        {"FIF=a&OBJ=foo", IIP_E_SYNTAX, "3 2 foo"},
        {"OBJ=Max-size", IIP_E_SYNTAX, "1 3 Max-size"},
        {"FIF=a&JTL=%0d%0a", IIP_E_SYNTAX, "2 1 JTL=%0d%0a"},
        {"FIF=a&OBJ=x%0d%0ay", IIP_E_SYNTAX, "3 2 x??y"},
        {"FIF=a&WID=%00&CVT=png", IIP_E_SYNTAX, "2 1 WID=%00"},
    };
    const char *mime, *text;
    char *many = apr_pstrdup(pool, "FIF=a");

    for (size_t i = 0; i < ROWS(rows); i++) {
        assert_int_equal(parse(rows[i].query), rows[i].rv);
        assert_string_equal(complaint(), rows[i].text);
    }
    assert_int_equal(parse(apr_psprintf(pool, "FIF=a&JTL=%0500d", 7)), IIP_E_SYNTAX);
    text = iip()->complain(&in, &err, &mime, pool);
    assert_int_equal(strncmp(text, "Error/204:2 1 JTL=000", 21), 0);
    assert_int_equal(strlen(text), strlen("Error/204:") + 204 + 2);
    for (int i = 0; i < 80; i++)
        many = apr_pstrcat(pool, many, "&INV", NULL);
    assert_int_equal(parse(many), IIP_E_LIMIT);
    many = apr_pstrdup(pool, "OBJ=IIP-server");
    for (int i = 0; i < 70; i++)
        many = apr_pstrcat(pool, many, "&OBJ=IIP-server", NULL);
    assert_int_equal(parse(many), IIP_E_LIMIT);
    parse("FIF=b.tif&CVT=png");
    err = (iip_error){IIP_E_NOT_FOUND, 0, NULL, "b.tif: cannot look at"};
    assert_string_equal(complaint(), "1 3 b.tif");
    err.status = IIP_E_BUSY;
    assert_string_equal(complaint(), "2 1 too many requests at once");
}

/* ---- mapped pictures, paths, other protocols ---- */

static void test_ways(void **state)
{
    const iip_protocol *other;

    in = (iip_input){.path = "", .query = "WID=5&CVT=png", .set = &set, .mapped = 1, .ident = "a.tif"};
    iip_request_init(&rq, &set);
    assert_int_equal(iip()->parse(&in, &rq, &want, pool, &err), IIP_OK);
    assert_true(want == IIP_WANT_IMAGE && !rq.name && asked()->width == 5);
    in.query = "v=17";
    assert_int_equal(iip()->parse(&in, &rq, &want, pool, &err), IIP_OK);
    assert_int_equal(want, IIP_WANT_BARE);
    in.query = NULL;
    assert_int_equal(iip()->parse(&in, &rq, &want, pool, &err), IIP_OK);
    assert_int_equal(want, IIP_WANT_BARE);

    in = (iip_input){.path = "/d/a.tif&WID=5&CVT=png", .set = &set};
    iip_request_init(&rq, &set);
    assert_int_equal(iip()->parse(&in, &rq, &want, pool, &err), IIP_OK);
    assert_string_equal(rq.name, "d/a.tif");
    assert_true(want == IIP_WANT_IMAGE && asked()->width == 5);
    in = (iip_input){.path = "/d/a.tif", .query = "WID=5&CVT=png", .set = &set};
    assert_int_equal(iip()->parse(&in, &rq, &want, pool, &err), IIP_OK);
    assert_string_equal(rq.name, "d/a.tif");

    in = (iip_input){.path = "/", .query = "CNT=2&deepzoom=a/b.dzi", .base_url = "http://h/x", .set = &set};
    other = iip()->become(&in, pool);
    assert_true(other && !strcmp(other->handler, "deepzoom-handler"));
    assert_string_equal(in.path, "/a/b.dzi");
    assert_string_equal(in.before, "CNT=2&");
    assert_string_equal(in.base_url, "http://h/x?DeepZoom=");
    assert_null(in.query);
    in.query = "FIF=IIIF=a&CVT=png";
    assert_null(iip()->become(&in, pool));
    assert_true(iip()->names(&in));
    in.query = "WID=5&IIIF";
    assert_null(iip()->become(&in, pool));
    assert_false(iip()->names(&in));

    rq.format = IIP_FMT_JPEG;
    rq.op_count = 0;
    rq.quality = -1;
    in.before = "INV&QLT=33&FOO=1&JTL=9&";
    assert_int_equal(iip_commands_before(&in, &rq, pool, &err), IIP_OK);
    assert_true(rq.op_count == 1 && rq.quality == 33);
    in.before = "GAM=nan&";
    assert_int_equal(iip_commands_before(&in, &rq, pool, &err), IIP_E_SYNTAX);
}

/* ---- XMP ---- */

static void test_xmp(void **state)
{
    static const struct {
        const char *packet, *name, *text;
    } rows[] = {
        {"<x><dc:title>A &amp; B</dc:title></x>", "dc:title", "A & B"},
        {"<x><dc:title><rdf:Alt><rdf:li xml:lang=\"de\"> Bild\n</rdf:li></rdf:Alt></dc:title></x>", "dc:title", "Bild"},
        {"<x><dc:subject><rdf:Bag><rdf:li>a</rdf:li><rdf:li/><rdf:li>b</rdf:li></rdf:Bag></dc:subject></x>",
         "dc:subject", "a, b"},
        {"<x><dc:subject><rdf:Bag><rdf:li>a</rdf:li><rdf:li>b</rdf:li></rdf:Bag></dc:subject></x>", "dc:subject",
         "a, b"},
        {"<x xmp:CreateDate='2020'  yxmp:Date=\"1\"></x>", "xmp:CreateDate", "2020"},
        {"<x xmp:CreateDates='2020'></x>          ", "xmp:CreateDate", NULL},
        {"<x><dc:titles>no</dc:titles></x>        ", "dc:title", NULL},
        {"<x><dc:title>no end                     ", "dc:title", NULL},
        {"<x><dc:title/></x>                      ", "dc:title", NULL},
        {"<x><dc:title></dc:title></x>            ", "dc:title", NULL},
        {"<x dc:title=                           ", "dc:title", NULL},
        {"<x dc:title=\"                           ", "dc:title", NULL},
        {"<x", "dc:title", NULL},
    };

    for (size_t i = 0; i < ROWS(rows); i++) {
        const char *s = iip_xmp_text(rows[i].packet, strlen(rows[i].packet), rows[i].name, pool);

        if (rows[i].text) {
            assert_non_null(s);
            assert_string_equal(s, rows[i].text);
        } else if (s) {
            fail_msg("%s: %s", rows[i].packet, s);
        }
    }
    assert_null(iip_xmp_text(NULL, 0, "dc:title", pool));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_numbers),        cmocka_unit_test(test_senders),
                                       cmocka_unit_test(test_names),          cmocka_unit_test(test_modifiers),
                                       cmocka_unit_test(test_view_arguments), cmocka_unit_test(test_errors),
                                       cmocka_unit_test(test_ways),           cmocka_unit_test(test_xmp)};
    iip_settings raw;

    apr_initialize();
    apr_pool_create(&pool, NULL);
    iip_settings_init(pool);
    iip_settings_unset(&raw);
    iip_settings_effective(&set, &raw);
    return cmocka_run_group_tests_name("iip", tests, NULL, NULL);
}
