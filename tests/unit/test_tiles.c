/* SPDX-License-Identifier: Apache-2.0
 * DeepZoom and Zoomify: paths, descriptions, and where each tile of a grid comes from. Sizes of levels and tiles are
 * counted here as clients count them. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include <apr_general.h>
#include <apr_strings.h>
#include "protocol/protocol.h"
#include "settings.h"

#define BASE "http://example.org/pics"

static apr_pool_t *pool;
static iip_settings set;
static iip_limits lim;
static iip_error err;
static iip_request rq;
static iip_want want;

static const iip_protocol *dz(void)
{
    return iip_protocol_find("deepzoom-handler");
}

static const iip_protocol *zf(void)
{
    return iip_protocol_find("zoomify-handler");
}

static iip_input input(const char *path, int mapped)
{
    return (iip_input){
        .path = path, .mapped = mapped, .ident = mapped ? "a b.tif" : NULL, .base_url = BASE, .set = &set};
}

static iip_status parse(const iip_protocol *pr, const char *path, int mapped)
{
    iip_input in = input(path, mapped);

    iip_request_init(&rq, &set);
    return pr->parse(&in, &rq, &want, pool, &err);
}

static iip_status ask(const iip_protocol *pr, const iip_info *info, const char *fmt, ...)
{
    va_list ap;
    const char *path;
    iip_input in;
    iip_status rv;

    va_start(ap, fmt);
    path = apr_pvsprintf(pool, fmt, ap);
    va_end(ap);
    in = input(path, 0);
    iip_request_init(&rq, &set);
    if ((rv = pr->parse(&in, &rq, &want, pool, &err)) != IIP_OK ||
        (rv = pr->place(&in, &rq, info, &lim, pool, &err)) != IIP_OK)
        return rv;
    return iip_request_resolve(&rq, info, &lim, &err);
}

static const char *describe(const iip_protocol *pr, const iip_info *info)
{
    iip_input in = input("", 0);
    const char *text, *mime, *vary, *link;

    iip_request_init(&rq, &set);
    assert_int_equal(pr->describe(&in, &rq, info, &lim, &text, &mime, &vary, &link, pool, &err), IIP_OK);
    assert_string_equal(mime, "application/xml");
    assert_null(vary);
    assert_null(link);
    return text;
}

/* ---- pictures ---- */

static iip_info picture(int64_t w, int64_t h, int64_t tile)
{
    iip_info i = {.levels = 1, .pages = 1, .bands = 3, .bits = 8, .space = IIP_RGB, .orientation = 1, .tiled = 1};

    i.level[0] = (iip_level){w, h, tile, tile};
    i.virtual_from = 1;
    return i;
}

static void add(iip_info *i, int64_t w, int64_t h)
{
    i->level[i->levels] = (iip_level){w > 1 ? w : 1, h > 1 ? h : 1, i->level[0].tile_w, i->level[0].tile_h};
    i->virtual_from = ++i->levels;
}

/* Halved down to `least` pixels; up: sides rounded up; step: ratio of levels; off: pixels that each level is short. */
static iip_info pyramid(int64_t w, int64_t h, int64_t tile, int64_t least, int up, int64_t step, int64_t off)
{
    iip_info i = picture(w, h, tile);

    for (int64_t s = step, last = w > h ? w : h; last > least; s *= step) {
        const int64_t lw = (w + (up ? s - 1 : 0)) / s, lh = (h + (up ? s - 1 : 0)) / s;

        add(&i, lw - off, lh - off);
        last = lw > lh ? lw : lh;
    }
    return i;
}

/* ---- paths ---- */

static void test_tail(void **state)
{
    static const struct {
        const char *path;
        const char *deepzoom, *zoomify; /* the tail */
    } rows[] = {
        {"/a.tif.dzi", ".dzi", ""},
        {"/p/q/a.tif_files/3/0_0.jpg", "_files/3/0_0.jpg", ""},
        {"/p/a.tif_files/13/10_255.webp", "_files/13/10_255.webp", ""},
        {"/a_files/b_files/3/0_0.jpeg", "_files/3/0_0.jpeg", ""}, /* the last "_files" */
        {"/a.tif_files//3//0_0.jpg", "_files//3//0_0.jpg", ""},
        {"/a.tif_files/3/0_0", "", ""},
        {"/a.tif_files/3/0_0.", "", ""},
        {"/a.tif_files/3/0_0.j-g", "", ""},
        {"/a.tif_files/3/0-0.jpg", "", ""},
        {"/a.tif_files/3/0_0.jpg/", "", ""},
        {"/a.tif_files/-3/0_0.jpg", "", ""},
        {"/a.tif_files/3/_0.jpg", "", ""},
        {"/a.tif_files/3x/0_0.jpg", "", ""},
        {"/a.tif_files/3/0_0.gif", "_files/3/0_0.gif", ""}, /* one of ours, answered by 404 */
        {"/a.tif_files/99999999999999999999999999/0_0.png", "_files/99999999999999999999999999/0_0.png", ""},
        {"/a.tif/ImageProperties.xml", "", "/ImageProperties.xml"},
        {"/a.tif//ImageProperties.xml", "", "//ImageProperties.xml"},
        {"/a.tif/TileGroup0/0-0-0.jpg", "", "/TileGroup0/0-0-0.jpg"},
        {"/p/a.tif/TileGroup12/5-10-7.png", "", "/TileGroup12/5-10-7.png"},
        {"/a.tif/TileGroup/5-10-7.png", "", ""},
        {"/a.tif/TileGroup0/5-10.png", "", ""},
        {"/a.tif/TileGroup0/5-10-7", "", ""},
        {"/a.tif/tilegroup0/5-10-7.jpg", "", ""},
        {"/a.tif/TileGroup0x/5-10-7.jpg", "", ""},
        {"/a.tif/imageproperties.xml", "", ""},
        {"/a.tif", "", ""},
        {"/", "", ""},
        {"", "", ""},
    };

    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const char *end = rows[i].path + strlen(rows[i].path);

        assert_string_equal(end - dz()->tail(rows[i].path), rows[i].deepzoom);
        assert_string_equal(end - zf()->tail(rows[i].path), rows[i].zoomify);
    }
}

enum { DZ, ZF };
static void test_paths(void **state)
{
    static const struct {
        int zoomify, mapped;
        const char *path;
        iip_status status;
        iip_want want;
        const char *name;
        iip_format format;
    } rows[] = {
        {DZ, 0, "/a.tif.dzi", IIP_OK, IIP_WANT_INFO, "a.tif", 0},
        {DZ, 0, "/p%20q/r%2Fs/a.tif.dzi", IIP_OK, IIP_WANT_INFO, "p q/r/s/a.tif", 0},
        {DZ, 0, "/a.tif_files/0/0_0.jpg", IIP_OK, IIP_WANT_IMAGE, "a.tif", IIP_FMT_JPEG},
        {DZ, 0, "/p//a.tif_files/0/0_0.jpeg", IIP_OK, IIP_WANT_IMAGE, "p/a.tif", IIP_FMT_JPEG},
        {DZ, 0, "/a.tif_files/0/0_0.png", IIP_OK, IIP_WANT_IMAGE, "a.tif", IIP_FMT_PNG},
        {DZ, 0, "/a.tif_files/0/0_0.webp", IIP_OK, IIP_WANT_IMAGE, "a.tif", IIP_FMT_WEBP},
        {DZ, 0, "/a.tif_files/0/0_0.tif", IIP_E_NOT_FOUND, IIP_WANT_IMAGE, NULL, 0},
        {DZ, 0, "/a.tif_files/0/0_0.JPG", IIP_E_NOT_FOUND, IIP_WANT_IMAGE, NULL, 0},
        {DZ, 0, "/a.tif_files/0/0_0.jpgg", IIP_E_NOT_FOUND, IIP_WANT_IMAGE, NULL, 0},
        {DZ, 0, "/a.tif", IIP_OK, IIP_WANT_BARE, "a.tif", 0},
        {DZ, 0, "/a.tif/", IIP_E_NOT_FOUND, IIP_WANT_IMAGE, NULL, 0},
        {DZ, 0, "/.dzi", IIP_E_NOT_FOUND, IIP_WANT_IMAGE, NULL, 0},
        {DZ, 0, "/p/.dzi", IIP_E_NOT_FOUND, IIP_WANT_IMAGE, NULL, 0}, /* not the picture p */
        {DZ, 0, "/p/_files/0/0_0.jpg", IIP_E_NOT_FOUND, IIP_WANT_IMAGE, NULL, 0},
        {DZ, 0, "/../a.tif.dzi", IIP_E_NOT_FOUND, IIP_WANT_IMAGE, NULL, 0},
        {DZ, 0, "/%2e%2e/a.tif.dzi", IIP_E_NOT_FOUND, IIP_WANT_IMAGE, NULL, 0},
        {DZ, 0, "/a%00.tif.dzi", IIP_E_NOT_FOUND, IIP_WANT_IMAGE, NULL, 0},
        {DZ, 0, "/a\\b.dzi", IIP_E_NOT_FOUND, IIP_WANT_IMAGE, NULL, 0},
        {DZ, 0, "/", IIP_E_NOT_FOUND, IIP_WANT_IMAGE, NULL, 0},
        {DZ, 1, ".dzi", IIP_OK, IIP_WANT_INFO, NULL, 0},
        {DZ, 1, "_files/9/1_2.jpg", IIP_OK, IIP_WANT_IMAGE, NULL, IIP_FMT_JPEG},
        {DZ, 1, "", IIP_OK, IIP_WANT_BARE, NULL, 0},
        {DZ, 1, "/_files/9/1_2.jpg", IIP_E_NOT_FOUND, IIP_WANT_IMAGE, NULL, 0},
        {DZ, 1, "/more", IIP_E_NOT_FOUND, IIP_WANT_IMAGE, NULL, 0},
        {ZF, 0, "/a.tif/ImageProperties.xml", IIP_OK, IIP_WANT_INFO, "a.tif", 0},
        {ZF, 0, "/p/a.tif//TileGroup7/0-0-0.jpg", IIP_OK, IIP_WANT_IMAGE, "p/a.tif", IIP_FMT_JPEG},
        {ZF, 0, "/a.tif/TileGroup0/0-0-0.png", IIP_OK, IIP_WANT_IMAGE, "a.tif", IIP_FMT_PNG},
        {ZF, 0, "/a.tif/TileGroup0/0-0-0.bmp", IIP_E_NOT_FOUND, IIP_WANT_IMAGE, NULL, 0},
        {ZF, 0, "/ImageProperties.xml", IIP_E_NOT_FOUND, IIP_WANT_IMAGE, NULL, 0},
        {ZF, 0, "/TileGroup0/0-0-0.jpg", IIP_E_NOT_FOUND, IIP_WANT_IMAGE, NULL, 0},
        {ZF, 0, "/a.tif", IIP_OK, IIP_WANT_BARE, "a.tif", 0},
        {ZF, 1, "/TileGroup0/0-0-0.jpg", IIP_OK, IIP_WANT_IMAGE, NULL, IIP_FMT_JPEG},
        {ZF, 1, "/ImageProperties.xml", IIP_OK, IIP_WANT_INFO, NULL, 0},
        {ZF, 1, "/x/ImageProperties.xml", IIP_E_NOT_FOUND, IIP_WANT_IMAGE, NULL, 0},
        {ZF, 1, "", IIP_OK, IIP_WANT_BARE, NULL, 0},
    };

    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        iip_status rv = parse(rows[i].zoomify ? zf() : dz(), rows[i].path, rows[i].mapped);

        if (rv != rows[i].status || want != rows[i].want)
            fail_msg("%s: status %d, want %d", rows[i].path, rv, want);
        if (rv != IIP_OK)
            continue;
        assert_int_equal(rq.format, rows[i].format);
        if (rows[i].name)
            assert_string_equal(rq.name, rows[i].name);
        else
            assert_null(rq.name);
    }
}

static void test_words(void **state)
{
    iip_input in = input("", 0), mapped = input("", 1);
    iip_error e = {.status = IIP_E_NOT_FOUND, .part = "size"};
    const char *mime;

    assert_null(strstr(dz()->complain(&in, &e, &mime, pool), "size"));
    assert_string_equal(mime, "text/plain; charset=utf-8");
    e.status = IIP_E_LIMIT;
    assert_non_null(strstr(zf()->complain(&in, &e, &mime, pool), "size: "));
    assert_int_equal(parse(dz(), "/p q/a;1.tif", 0), IIP_OK);
    assert_string_equal(dz()->redirect(&in, &rq, want, pool), BASE "/p%20q/a;1.tif.dzi");
    assert_string_equal(zf()->redirect(&in, &rq, want, pool), BASE "/p%20q/a;1.tif/ImageProperties.xml");
    assert_string_equal(dz()->redirect(&mapped, &rq, want, pool), BASE "/a%20b.tif.dzi");
    assert_string_equal(dz()->page(&in, &rq, "p/a.tif;3", pool), "p/a.tif");
    assert_int_equal(rq.page, 2);
}

/* ---- the vectors of section 11 ---- */

static void test_vectors(void **state)
{
    iip_info i = pyramid(2000, 1500, 256, 256, 0, 2, 0);

    assert_int_equal(i.levels, 4);
    assert_string_equal(describe(dz(), &i),
                        "<Image xmlns=\"http://schemas.microsoft.com/deepzoom/2008\" TileSize=\"256\" Overlap=\"0\" "
                        "Format=\"jpg\"><Size Width=\"2000\" Height=\"1500\"/></Image>");
    assert_string_equal(describe(zf(), &i), "<IMAGE_PROPERTIES WIDTH=\"2000\" HEIGHT=\"1500\" NUMTILES=\"65\" "
                                            "NUMIMAGES=\"1\" VERSION=\"1.8\" TILESIZE=\"256\"/>");
    assert_int_equal(ask(dz(), &i, "/a_files/11/7_5.jpg"), IIP_OK);
    assert_int_equal(rq.out_w, 208);
    assert_int_equal(rq.out_h, 220);
    assert_int_equal(rq.level, 0);
    assert_int_equal(ask(dz(), &i, "/a_files/8/0_0.jpg"), IIP_OK); /* stored is 250x187 */
    assert_int_equal(rq.out_w, 250);
    assert_int_equal(rq.out_h, 188);
    assert_int_equal(rq.level, 3);
    assert_int_equal(ask(dz(), &i, "/a_files/0/0_0.jpg"), IIP_OK);
    assert_int_equal(rq.out_w * rq.out_h, 1);
    assert_int_equal(ask(dz(), &i, "/a_files/12/0_0.jpg"), IIP_E_NOT_FOUND);
    assert_int_equal(ask(dz(), &i, "/a_files/11/8_0.jpg"), IIP_E_NOT_FOUND);
    assert_int_equal(ask(dz(), &i, "/a_files/11/0_6.jpg"), IIP_E_NOT_FOUND);
    assert_int_equal(ask(dz(), &i, "/a_files/11/99999999999999999999_0.jpg"), IIP_E_NOT_FOUND);
    assert_int_equal(ask(dz(), &i, "/a_files/99999999999999999999/0_0.jpg"), IIP_E_NOT_FOUND);

    assert_int_equal(ask(zf(), &i, "/a/TileGroup0/3-7-5.jpg"), IIP_OK);
    assert_int_equal(rq.out_w, 208);
    assert_int_equal(rq.out_h, 220);
    assert_int_equal(ask(zf(), &i, "/a/TileGroup9/0-0-0.jpg"), IIP_OK);
    assert_int_equal(rq.out_w, 250);
    assert_int_equal(rq.out_h, 187);
    assert_int_equal(ask(zf(), &i, "/a/TileGroup0/4-0-0.jpg"), IIP_E_NOT_FOUND);
    assert_int_equal(ask(zf(), &i, "/a/TileGroup0/0-1-0.jpg"), IIP_E_NOT_FOUND);
    assert_int_equal(ask(zf(), &i, "/a/TileGroup0/99999999999999999999-0-0.jpg"), IIP_E_NOT_FOUND);
}

/* ---- every tile a description implies ---- */

/* What is asked for lies there on the level it is taken from: edges within one of its pixels, or of the picture's. */
static void check_place(const iip_info *info, const char *what, int64_t x, int64_t y, int64_t w, int64_t h, int64_t lw,
                        int64_t lh)
{
    const iip_level *l = &info->level[rq.level];
    const double fx = (double)l->w / (double)lw, fy = (double)l->h / (double)lh;
    iip_window win;
    int64_t tx, ty;

    iip_request_window(&rq, info, &win);
    if (rq.out_w != w || rq.out_h != h)
        fail_msg("%s: %dx%d, not %dx%d", what, (int)rq.out_w, (int)rq.out_h, (int)w, (int)h);
    /* a copy counts from the left and may reach past a level that is short; else it is scaled to the edges */
    if (fabs(win.x - (double)x * fx) > 1 + 1 / fx || fabs(win.y - (double)y * fy) > 1 + 1 / fy ||
        fabs(win.x + win.w - (double)(x + w) * fx) > 1 + fx || fabs(win.y + win.h - (double)(y + h) * fy) > 1 + fy)
        fail_msg("%s: %g,%g %gx%g of %dx%d", what, win.x, win.y, win.w, win.h, (int)l->w, (int)l->h);
    if (l->w == lw && l->h == lh) {
        assert_true(win.exact && win.x == (double)x && win.y == (double)y);
        assert_true(iip_request_tile(&rq, info, &tx, &ty)); /* one stored tile: it can be passed through */
        assert_true(tx == x / l->tile_w && ty == y / l->tile_h);
    } else {
        for (int n = 0; n < info->levels; n++) /* a level of that size would have been taken */
            if (info->level[n].w == lw && info->level[n].h == lh)
                fail_msg("%s: level %d is not taken", what, n);
    }
}

static void check_deepzoom(const iip_info *info)
{
    const int64_t W = info->level[0].w, H = info->level[0].h, side = info->level[0].tile_w;
    int depth = 0;

    while ((INT64_C(1) << depth) < (W > H ? W : H))
        depth++;
    for (int level = 0; level <= depth; level++) {
        const double scale = pow(2, depth - level);
        const int64_t lw = (int64_t)ceil((double)W / scale), lh = (int64_t)ceil((double)H / scale);
        int64_t x = 0, y = 0;

        for (y = 0; y * side < lh; y++)
            for (x = 0; x * side < lw; x++) {
                const int64_t w = lw - x * side < side ? lw - x * side : side,
                              h = lh - y * side < side ? lh - y * side : side;
                const char *path = apr_psprintf(pool, "/a_files/%d/%d_%d.jpg", level, (int)x, (int)y);

                if (ask(dz(), info, "%s", path) != IIP_OK)
                    fail_msg("%s of %dx%d: %d", path, (int)W, (int)H, err.status);
                check_place(info, path, x * side, y * side, w, h, lw, lh);
            }
        assert_int_equal(ask(dz(), info, "/a_files/%d/%d_0.jpg", level, (int)x), IIP_E_NOT_FOUND);
        assert_int_equal(ask(dz(), info, "/a_files/%d/0_%d.jpg", level, (int)y), IIP_E_NOT_FOUND);
    }
    assert_int_equal(ask(dz(), info, "/a_files/%d/0_0.jpg", depth + 1), IIP_E_NOT_FOUND);
}

/* size: of each tier from the full one, as it must be. */
static void check_zoomify(const iip_info *info, int tiers, const iip_pair *size)
{
    const int64_t side = info->level[0].tile_w;
    int64_t all = 0;

    for (int k = 0; k < tiers; k++) {
        const int z = tiers - 1 - k;
        int64_t x = 0, y = 0;

        for (y = 0; y * side < size[k].b; y++)
            for (x = 0; x * side < size[k].a; x++, all++) {
                const int64_t w = size[k].a - x * side < side ? size[k].a - x * side : side,
                              h = size[k].b - y * side < side ? size[k].b - y * side : side;
                const char *path = apr_psprintf(pool, "/a/TileGroup0/%d-%d-%d.jpg", z, (int)x, (int)y);

                if (ask(zf(), info, "%s", path) != IIP_OK)
                    fail_msg("%s: %d", path, err.status);
                check_place(info, path, x * side, y * side, w, h, size[k].a, size[k].b);
            }
        assert_int_equal(ask(zf(), info, "/a/TileGroup0/%d-%d-0.jpg", z, (int)x), IIP_E_NOT_FOUND);
        assert_int_equal(ask(zf(), info, "/a/TileGroup0/%d-0-%d.jpg", z, (int)y), IIP_E_NOT_FOUND);
    }
    assert_int_equal(ask(zf(), info, "/a/TileGroup0/%d-0-0.jpg", tiers), IIP_E_NOT_FOUND);
    assert_non_null(strstr(describe(zf(), info), apr_psprintf(pool, " NUMTILES=\"%d\" ", (int)all)));
}

/* Tiers as clients count them, one rounding all along. */
static void check_halves(const iip_info *info, int up)
{
    iip_pair size[40] = {{info->level[0].w, info->level[0].h}};
    int n = 1;

    for (; size[n - 1].a > info->level[0].tile_w || size[n - 1].b > info->level[0].tile_w; n++) {
        size[n].a = (size[n - 1].a + up) / 2;
        size[n].b = (size[n - 1].b + up) / 2;
        size[n].a += size[n].a == 0;
        size[n].b += size[n].b == 0;
    }
    check_zoomify(info, n, size);
}

static void test_grids(void **state)
{
    static const int64_t sides[][2] = {{1, 1},       {2, 1},     {257, 1},   {1, 513},   {256, 256},
                                       {512, 512},   {513, 512}, {257, 257}, {255, 254}, {3073, 2000},
                                       {2049, 1025}, {1000, 37}, {300, 200}, {4097, 3}};

    for (size_t n = 0; n < sizeof sides / sizeof *sides; n++) {
        const int64_t w = sides[n][0], h = sides[n][1];

        for (int tile = 64; tile <= 256; tile += 96)
            for (int up = 0; up < 2; up++) {
                iip_info i = pyramid(w, h, tile, tile, up, 2, 0);

                check_deepzoom(&i);
                check_halves(&i, up);
                i = pyramid(w, h, tile, 1, up, 2, 0); /* down to one pixel */
                check_deepzoom(&i);
                check_halves(&i, up);
            }
        for (int less = 0; less < 4; less++) { /* the pyramid stops early, or never begins */
            iip_info i = pyramid(w, h, 256, (w > h ? w : h) >> less, 0, 2, 0);

            check_deepzoom(&i);
            check_halves(&i, 0);
        }
        for (int step = 3; step < 6; step++) { /* what is missing is made of the next larger level */
            iip_info i = pyramid(w, h, 64, 64, 0, step, 0);

            check_deepzoom(&i);
        }
        for (int off = 1; off < 4; off++) { /* levels a pixel and more short */
            iip_info i = pyramid(w, h, 256, 256, 1, 2, off);

            check_deepzoom(&i);
        }
    }
}

static void test_slide(void **state)
{
    static const iip_pair size[] = {{7000, 3001}, {3500, 1500}, {1750, 750}, {875, 375}, {437, 187}, {218, 93}};
    iip_info i = picture(7000, 3001, 240);

    add(&i, 1750, 750);
    add(&i, 437, 187);
    check_zoomify(&i, 6, size);
    assert_int_equal(ask(zf(), &i, "/a/TileGroup0/3-0-0.jpg"), IIP_OK); /* 1750x750, as it is stored */
    assert_int_equal(rq.level, 1);
    assert_int_equal(ask(zf(), &i, "/a/TileGroup0/4-0-0.jpg"), IIP_OK); /* 3500x1500, made */
    assert_int_equal(rq.level, 0);
}

/* A column that only the description has (a stored level is a pixel short) shows the last one there is. */
static void test_missing_column(void **state)
{
    iip_info i = picture(1025, 600, 256);
    iip_window win;

    add(&i, 512, 300);
    assert_int_equal(ask(dz(), &i, "/a_files/10/2_0.jpg"), IIP_OK);
    assert_int_equal(rq.level, 1);
    assert_int_equal(rq.out_w, 1);
    iip_request_window(&rq, &i, &win);
    assert_true(win.exact && win.x == 512);
}

/* One tile, whoever asks: one answer in caches, one ETag. */
static void test_same_tile(void **state)
{
    iip_info i = pyramid(2000, 1500, 256, 256, 0, 2, 0);
    char line[3][IIP_LINE_MAX];
    size_t n[3];

    assert_int_equal(ask(dz(), &i, "/a_files/10/1_2.jpg"), IIP_OK);
    n[0] = iip_request_line(&rq, line[0], sizeof line[0]);
    assert_int_equal(ask(zf(), &i, "/a/TileGroup0/2-1-2.jpg"), IIP_OK);
    n[1] = iip_request_line(&rq, line[1], sizeof line[1]);
    {
        iip_input in = input("/a/512,1024,512,476/256,/0/default.jpg", 0);

        iip_request_init(&rq, &set);
        assert_int_equal(iip_protocol_find("iiif-handler")->parse(&in, &rq, &want, pool, &err), IIP_OK);
        assert_int_equal(iip_request_resolve(&rq, &i, &lim, &err), IIP_OK);
        n[2] = iip_request_line(&rq, line[2], sizeof line[2]);
    }
    for (int k = 1; k < 3; k++)
        assert_true(n[k] == n[0] && memcmp(line[k], line[0], n[0]) == 0);
}

/* ROT=180 in a query: the tile with that number is the one at the other end, cut as it is. */
static void test_turned(void **state)
{
    iip_info i = pyramid(2000, 1500, 256, 256, 0, 2, 0);
    iip_input in = input("/a_files/11/1_0.jpg", 0);

    iip_request_init(&rq, &set);
    assert_int_equal(dz()->parse(&in, &rq, &want, pool, &err), IIP_OK);
    rq.rotate = 180;
    assert_int_equal(dz()->place(&in, &rq, &i, &lim, pool, &err), IIP_OK);
    assert_int_equal(iip_request_resolve(&rq, &i, &lim, &err), IIP_OK);
    assert_true(rq.src.x == 6 * 256 && rq.src.y == 5 * 256 && rq.src.w == 256 && rq.src.h == 1500 - 5 * 256);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tail),           cmocka_unit_test(test_paths),     cmocka_unit_test(test_words),
        cmocka_unit_test(test_vectors),        cmocka_unit_test(test_grids),     cmocka_unit_test(test_slide),
        cmocka_unit_test(test_missing_column), cmocka_unit_test(test_same_tile), cmocka_unit_test(test_turned),
    };
    iip_settings raw;

    apr_initialize();
    apr_pool_create(&pool, NULL);
    iip_settings_init(pool);
    iip_settings_unset(&raw);
    iip_settings_effective(&set, &raw);
    iip_settings_limits(&lim, &set);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
