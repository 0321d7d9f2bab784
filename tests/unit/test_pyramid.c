/* SPDX-License-Identifier: Apache-2.0
 * The pyramid that tile protocols show: sizes, tiles, and that each tile comes from where its pixels are. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <apr_general.h>
#include "protocol/pyramid.h"
#include "settings.h"

static iip_settings set;
static iip_limits lim;
static iip_error err;

static iip_info picture(int64_t w, int64_t h)
{
    iip_info i = {.levels = 1, .pages = 1, .bands = 3, .bits = 8, .space = IIP_RGB, .orientation = 1, .tiled = 1};

    i.level[0] = (iip_level){w, h, 256, 256};
    i.virtual_from = 1;
    return i;
}

static void add(iip_info *i, int64_t w, int64_t h)
{
    i->level[i->levels++] = (iip_level){w, h, 256, 256};
    i->virtual_from = i->levels;
}

static void check_sizes(const iip_info *i, int n, const int64_t *sizes)
{
    iip_pyramid py;

    iip_pyramid_of(&py, i);
    assert_int_equal(py.count, n);
    for (int r = 0; r < n; r++) {
        assert_int_equal(py.at[r].w, sizes[2 * r]);
        assert_int_equal(py.at[r].h, sizes[2 * r + 1]);
    }
}
#define SIZES(i, ...) check_sizes(i, (int)(sizeof((int64_t[]){__VA_ARGS__}) / 16), (const int64_t[]){__VA_ARGS__})

/* Section 1: what is stored stays, what is missing is halved until it fits a tile. */
static void test_sizes(void **state)
{
    iip_info i = picture(2000, 1500);
    iip_pyramid py;

    SIZES(&i, 250, 187, 500, 375, 1000, 750, 2000, 1500);
    add(&i, 1000, 750);
    add(&i, 500, 375);
    SIZES(&i, 250, 187, 500, 375, 1000, 750, 2000, 1500);
    add(&i, 250, 188);
    SIZES(&i, 250, 188, 500, 375, 1000, 750, 2000, 1500);
    add(&i, 125, 94);
    SIZES(&i, 125, 94, 250, 188, 500, 375, 1000, 750, 2000, 1500);

    i = picture(1001, 701); /* rounding: down, and up in wavelets */
    SIZES(&i, 250, 175, 500, 350, 1001, 701);
    i.wavelet = 1;
    SIZES(&i, 251, 176, 501, 351, 1001, 701);
    i.level[0].tile_w = i.level[0].tile_h = 1024; /* a wavelet's tiles are not shown */
    SIZES(&i, 251, 176, 501, 351, 1001, 701);

    i = picture(70000, 30000); /* a slide: steps of four */
    add(&i, 17500, 7500);
    add(&i, 4375, 1875);
    SIZES(&i, 136, 58, 273, 117, 546, 234, 1093, 468, 2187, 937, 4375, 1875, 17500, 7500, 70000, 30000);

    i = picture(1001, 701); /* levels that are not stored (scaled DCT) are none */
    add(&i, 501, 351);
    add(&i, 251, 176);
    i.virtual_from = 1;
    i.tiled = 0;
    i.level[0].tile_w = 1001;
    SIZES(&i, 250, 175, 500, 350, 1001, 701);

    i = picture(256, 256);
    SIZES(&i, 256, 256);
    i = picture(257, 1);
    SIZES(&i, 128, 1, 257, 1);
    i = picture(1, 1);
    SIZES(&i, 1, 1);

    i = picture(1000, 1000); /* tiles of other shapes */
    i.level[0].tile_w = 512;
    i.level[0].tile_h = 128;
    SIZES(&i, 125, 125, 250, 250, 500, 500, 1000, 1000);
    i.level[0].tile_w = 4096; /* the largest that is shown */
    i.level[0].tile_h = 4096;
    SIZES(&i, 1000, 1000);
    i.level[0].tile_h = 4112;
    SIZES(&i, 250, 250, 500, 500, 1000, 1000);
    i.level[0].tile_w = i.level[0].tile_h = 1; /* down to the last pixel */
    iip_pyramid_of(&py, &i);
    assert_int_equal(py.count, 10);
    assert_int_equal(py.at[0].w, 1);

    i = picture(IIP_MAX_SIDE, 1);
    for (int n = 1; n < IIP_MAX_LEVELS; n++)
        add(&i, IIP_MAX_SIDE - n, 1);
    iip_pyramid_of(&py, &i);
    assert_true(py.count > IIP_MAX_LEVELS && py.count <= 2 * IIP_MAX_LEVELS);
    assert_true(py.at[0].w <= 256);
}

static void test_tiles(void **state)
{
    iip_info i = picture(2000, 1500);
    iip_pyramid py;
    iip_rect t;

    iip_pyramid_of(&py, &i);
    assert_true(iip_pyramid_tile(&py, 3, 0, &t));
    assert_true(t.x == 0 && t.y == 0 && t.w == 256 && t.h == 256);
    assert_true(iip_pyramid_tile(&py, 3, 47, &t));
    assert_true(t.x == 1792 && t.y == 1280 && t.w == 208 && t.h == 220);
    assert_false(iip_pyramid_tile(&py, 3, 48, &t));
    assert_false(iip_pyramid_tile(&py, 3, -1, &t));
    assert_false(iip_pyramid_tile(&py, 3, INT64_MAX, &t));
    assert_true(iip_pyramid_tile(&py, 0, 0, &t));
    assert_true(t.w == 250 && t.h == 187);
    assert_false(iip_pyramid_tile(&py, 0, 1, &t));
    assert_false(iip_pyramid_tile(&py, 4, 0, &t));
    assert_false(iip_pyramid_tile(&py, -1, 0, &t));
    assert_false(iip_pyramid_tile(&py, INT32_MAX, 0, &t));
}

static iip_request ask(const iip_info *i, int64_t w, int64_t h, iip_rect part)
{
    iip_request rq;

    iip_request_init(&rq, &set);
    rq.format = IIP_FMT_JPEG;
    iip_pyramid_ask(&rq, w, h, part);
    assert_int_equal(iip_request_resolve(&rq, i, &lim, &err), IIP_OK);
    assert_int_equal(rq.out_w, part.w);
    assert_int_equal(rq.out_h, part.h);
    return rq;
}

/* Every tile of every resolution: its own pixels, whole and one to one where it is stored, stored tiles as they lie. */
static void check_all(const iip_info *i)
{
    iip_pyramid py;

    iip_pyramid_of(&py, i);
    for (int r = 0; r < py.count; r++) {
        const iip_resolution *l = &py.at[r];
        iip_rect t;

        for (int64_t n = 0; iip_pyramid_tile(&py, r, n, &t); n++) {
            iip_request rq = ask(i, l->w, l->h, t);
            const iip_level *from = &i->level[rq.level];
            iip_window win;
            int64_t tx, ty;

            assert_true(from->w >= l->w && from->h >= l->h);
            iip_request_window(&rq, i, &win);
            if (l->level < 0) {
                assert_true(win.x >= 0 && win.y >= 0 && win.w > 0 && win.h > 0);
                assert_true(win.x + win.w <= (double)from->w + win.exact);
                assert_true(win.y + win.h <= (double)from->h + win.exact);
                continue;
            }
            assert_int_equal(rq.level, l->level);
            assert_true(win.exact && win.x == (double)t.x && win.y == (double)t.y);
            if (i->tiled && from->tile_w == py.tile_w && t.w == py.tile_w && t.h == py.tile_h) {
                assert_true(iip_request_tile(&rq, i, &tx, &ty));
                assert_true(tx == t.x / py.tile_w && ty == t.y / py.tile_h);
            }
        }
    }
}

static void test_from_where(void **state)
{
    for (int64_t w = 1001; w < 1030; w += 4)
        for (int64_t h = 511; h < 516; h++) {
            iip_info i = picture(w, h);

            check_all(&i);
            add(&i, w / 2, h / 2);
            check_all(&i);
            add(&i, (w / 2 + 1) / 2, (h / 2 + 1) / 2);
            check_all(&i);
        }
    {
        iip_info i = picture(7003, 3001); /* steps that are no powers of two */

        add(&i, 2334, 1000);
        add(&i, 778, 333);
        check_all(&i);
        add(&i, 129, 55);
        check_all(&i);
    }
}

/* A grid a pixel larger than the level (DeepZoom rounds up): stored tiles stay, the rest is as it is best had. */
static void test_other_grid(void **state)
{
    iip_info i = picture(2049, 1027);
    int64_t tx, ty;
    iip_window win;
    iip_request rq;

    add(&i, 1024, 513);
    rq = ask(&i, 1025, 514, (iip_rect){256, 256, 256, 256});
    assert_true(rq.level == 1 && iip_request_tile(&rq, &i, &tx, &ty) && tx == 1 && ty == 1);
    rq = ask(&i, 1025, 514, (iip_rect){1024, 0, 1, 256}); /* a column that is not stored */
    iip_request_window(&rq, &i, &win);
    assert_true(rq.level == 1 && win.exact && win.w == 1);
    rq = ask(&i, 1025, 514, (iip_rect){1024, 513, 1, 1});
    iip_request_window(&rq, &i, &win);
    assert_true(rq.level == 1 && win.exact);
}

/* Equal pixels have one name, whoever asks; a part of another grid has its own. */
static void test_line(void **state)
{
    iip_info i = picture(2000, 1500);
    char line[3][IIP_LINE_MAX];
    iip_request rq;

    add(&i, 1000, 750);
    rq = ask(&i, 1000, 750, (iip_rect){256, 256, 256, 256});
    iip_request_line(&rq, line[0], IIP_LINE_MAX);
    iip_request_init(&rq, &set);
    rq.format = IIP_FMT_JPEG;
    rq.region_kind = IIP_REGION_PIXELS;
    rq.region[0].num = rq.region[1].num = rq.region[2].num = rq.region[3].num = 512;
    rq.size_kind = IIP_SIZE_EXACT;
    rq.size[0].num = 256;
    assert_int_equal(iip_request_resolve(&rq, &i, &lim, &err), IIP_OK);
    iip_request_line(&rq, line[1], IIP_LINE_MAX);
    assert_string_equal(line[0], line[1]);
    rq = ask(&i, 700, 525, (iip_rect){256, 256, 256, 256});
    iip_request_line(&rq, line[1], IIP_LINE_MAX);
    rq = ask(&i, 701, 525, (iip_rect){256, 256, 256, 256});
    iip_request_line(&rq, line[2], IIP_LINE_MAX);
    assert_string_not_equal(line[1], line[2]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_sizes), cmocka_unit_test(test_tiles),
                                       cmocka_unit_test(test_from_where), cmocka_unit_test(test_other_grid),
                                       cmocka_unit_test(test_line)};
    iip_settings raw;
    apr_pool_t *pool;

    apr_initialize();
    apr_pool_create(&pool, NULL);
    iip_settings_init(pool);
    iip_settings_unset(&raw);
    iip_settings_effective(&set, &raw);
    iip_settings_limits(&lim, &set);
    return cmocka_run_group_tests_name("pyramid", tests, NULL, NULL);
}
