/* SPDX-License-Identifier: Apache-2.0
 * ops.c and request_ops.c: which operations a request may hold, and what an image makes of them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <apr_general.h>
#include "ops.h"
#include "request.h"
#include "settings.h"

static iip_error err;

static void test_add(void **state)
{
    static const struct {
        iip_op_kind kind;
        int argc;
        float arg[4];
        iip_status status;
        const char *kinds; /* in the request behind it, A for the first */
    } rows[] = {
        {IIP_OP_CONTRAST, 1, {2}, IIP_OK, "J"},
        {IIP_OP_GAMMA, 1, {2}, IIP_OK, "EJ"},
        {IIP_OP_LOG, 0, {0}, IIP_OK, "FJ"},
        {IIP_OP_GAMMA, 1, {1}, IIP_OK, "J"}, /* takes the log away */
        {IIP_OP_INVERT, 0, {0}, IIP_OK, "GJ"},
        {IIP_OP_INVERT, 0, {0}, IIP_OK, "GJ"},
        {IIP_OP_STRETCH, 0, {0}, IIP_OK, "BG"},
        {IIP_OP_EQUALIZE, 0, {0}, IIP_OK, "GN"},
        {IIP_OP_GRAY, 0, {0}, IIP_OK, "GKN"},
        {IIP_OP_BINARY, 0, {0}, IIP_OK, "GMN"},
        {IIP_OP_BITONAL, 0, {0}, IIP_OK, "GLN"},
        {IIP_OP_CONTRAST, 1, {1}, IIP_OK, "GL"},
        {IIP_OP_SHADE, 2, {30, 45}, IIP_OK, "CGL"},
        {IIP_OP_SHADE, 1, {30}, IIP_E_RANGE, "CGL"},
        {IIP_OP_SHADE, 4, {30}, IIP_E_LIMIT, "CGL"},
        {IIP_OP_SHADE, 2, {30, NAN}, IIP_E_RANGE, "CGL"},
        {IIP_OP_MINMAX, 3, {0, 1, INFINITY}, IIP_E_RANGE, "CGL"},
        {IIP_OP_MINMAX, 2, {0, 1}, IIP_E_RANGE, "CGL"},
        {IIP_OP_MINMAX, 4, {0, 1, 2, 3}, IIP_E_RANGE, "CGL"},
        {IIP_OP_MINMAX, 3, {0, 1, 2}, IIP_OK, "ACGL"},
        {IIP_OP_TWIST, 4, {1, 2, 1, 1}, IIP_OK, "ACDGL"},
        {IIP_OP_TWIST, 4, {2, 2, 1, 1}, IIP_E_RANGE, "ACDGL"},
        {IIP_OP_TWIST, 4, {17, 2, 1, 1}, IIP_E_LIMIT, "ACDGL"},
        {IIP_OP_TWIST, 4, {1, 65, 1, 1}, IIP_E_LIMIT, "ACDGL"},
        {IIP_OP_TWIST, 4, {-1, -2, 1, 1}, IIP_E_RANGE, "ACDGL"},
        {IIP_OP_TWIST, 4, {0.5f, 4, 1, 1}, IIP_E_RANGE, "ACDGL"},
        {IIP_OP_CONVOLVE, 2, {1, 5}, IIP_OK, "ACDGIL"},
        {IIP_OP_CONVOLVE, 2, {3, 5}, IIP_E_RANGE, "ACDGIL"},
        {IIP_OP_CONVOLVE, 2, {2, 5}, IIP_E_RANGE, "ACDGIL"},
        {IIP_OP_CONVOLVE, 27, {7}, IIP_E_LIMIT, "ACDGIL"},
        {IIP_OP_CMAP, 1, {3}, IIP_OK, "ACDGHIL"},
        {IIP_OP_CMAP, 1, {IIP_CMAP_COUNT}, IIP_E_RANGE, "ACDGHIL"},
        {IIP_OP_CMAP, 1, {-2}, IIP_E_RANGE, "ACDGHIL"},
        {IIP_OP_CMAP, 1, {0.5f}, IIP_E_RANGE, "ACDGHIL"},
        {IIP_OP_CMAP, 1, {-1}, IIP_OK, "ACDGIL"}, /* none */
    };
    iip_request rq = {0};
    apr_pool_t *p;

    apr_pool_create(&p, NULL);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        assert_int_equal(iip_op_add(&rq, rows[i].kind, rows[i].argc, rows[i].arg, p, &err), rows[i].status);
        assert_int_equal(rq.op_count, strlen(rows[i].kinds));
        for (int k = 0; k < rq.op_count; k++)
            assert_int_equal(rq.op[k].kind, rows[i].kinds[k] - 'A');
    }
    apr_pool_destroy(p);
}

/* Ranges add up by channel; one for all takes the place of those before; a line has room for all, and zeros are alike.
 */
static void test_add_ranges(void **state)
{
    iip_settings set;
    iip_request rq;
    apr_pool_t *p;
    float zero[] = {0, -0.f, 5}, all[] = {-1, 1, 2}, m[2 + IIP_MAX_ROWS * IIP_MAX_COLS] = {IIP_MAX_ROWS, IIP_MAX_COLS};
    char *line, other[IIP_LINE_MAX];
    size_t most, n;

    apr_pool_create(&p, NULL);
    iip_settings_init(p);
    iip_settings_unset(&set);
    iip_settings_effective(&set, &(iip_settings){0});
    iip_request_init(&rq, &set);
    for (int i = 0; i < IIP_MAX_RANGES + 5; i++) {
        float arg[] = {(float)i, 0, (float)(i + 1)};

        assert_int_equal(iip_op_add(&rq, IIP_OP_MINMAX, 3, arg, p, &err), i < IIP_MAX_RANGES ? IIP_OK : IIP_E_LIMIT);
    }
    assert_int_equal(rq.op[0].argc, 3 * IIP_MAX_RANGES);
    assert_int_equal(iip_op_add(&rq, IIP_OP_TWIST, 2 + IIP_MAX_ROWS * IIP_MAX_COLS, m, p, &err), IIP_OK);
    most = iip_request_room(&rq);
    line = malloc(most);
    assert_true((n = iip_request_line(&rq, line, most)) > 9 * IIP_MAX_ROWS * IIP_MAX_COLS && n < most);
    free(line);
    assert_int_equal(iip_op_add(&rq, IIP_OP_MINMAX, 3, all, p, &err), IIP_OK);
    assert_int_equal(rq.op[0].argc, 3);
    assert_int_equal(iip_op_add(&rq, IIP_OP_MINMAX, 3, zero, p, &err), IIP_OK);
    assert_int_equal(rq.op[0].argc, 6);
    assert_true(rq.op[0].arg[0] == -1 && rq.op[0].arg[3] == 0 && !signbit(rq.op[0].arg[4]) && rq.op[0].arg[5] == 5);
    iip_request_init(&rq, &set);
    assert_int_equal(iip_op_add(&rq, IIP_OP_INVERT, 0, NULL, p, &err), IIP_OK);
    n = iip_request_line(&rq, other, sizeof other);
    assert_true(n > 0);
    apr_pool_destroy(p);
}

/* What an image makes of a list. */
static void test_request_ops(void **state)
{
    static const struct {
        iip_op_kind kinds[4];
        int n, bands, alpha, left; /* left: operations that stay */
        int floats, counts, margin;
    } rows[] = {
        {{IIP_OP_GRAY}, 1, 1, 0, 0, 0, 0, 0},
        {{IIP_OP_GRAY}, 1, 2, 1, 0, 0, 0, 0},
        {{IIP_OP_GRAY}, 1, 3, 0, 1, 0, 0, 0},
        {{IIP_OP_CMAP, IIP_OP_GRAY}, 2, 1, 0, 2, 1, 0, 0},
        {{IIP_OP_SHADE, IIP_OP_GRAY}, 2, 3, 0, 1, 1, 0, 0},
        {{IIP_OP_SHADE}, 1, 1, 0, 1, 1, 0, 1},
        {{IIP_OP_SHADE}, 1, 2, 1, 1, 1, 0, 1},
        {{IIP_OP_SHADE}, 1, 2, 0, 0, 0, 0, 0},
        {{IIP_OP_STRETCH, IIP_OP_SHADE}, 2, 1, 0, 1, 1, 0, 1},
        {{IIP_OP_MINMAX, IIP_OP_STRETCH}, 2, 3, 0, 1, 1, 1, 0},
        {{IIP_OP_SHADE, IIP_OP_CONVOLVE}, 2, 1, 0, 2, 1, 0, 2},
        {{IIP_OP_BINARY}, 1, 3, 0, 1, 0, 1, 0},
        {{IIP_OP_EQUALIZE}, 1, 1, 0, 1, 0, 1, 0},
    };
    static const float arg[] = {3, 1, 1, 1, 1, 1, 1, 1, 1, 1};
    static const int argc[IIP_OP_COUNT] = {
        [IIP_OP_MINMAX] = 3, [IIP_OP_SHADE] = 3, [IIP_OP_CMAP] = 1, [IIP_OP_CONVOLVE] = 10};

    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        iip_info info = {.bands = rows[i].bands, .alpha = rows[i].alpha};
        iip_request rq = {.op_count = rows[i].n};

        info.space = rows[i].bands == 3 ? IIP_RGB : rows[i].bands - rows[i].alpha == 2 ? IIP_MULTIBAND : IIP_GREY;
        for (int k = 0; k < rows[i].n; k++)
            rq.op[k] = (iip_op){(uint16_t)rows[i].kinds[k], (uint16_t)argc[rows[i].kinds[k]], arg};
        iip_request_ops(&rq, &info);
        assert_int_equal(rq.op_count, rows[i].left);
        assert_int_equal(iip_request_floats(&rq, &info), rows[i].floats);
        assert_int_equal(iip_request_counts(&rq), rows[i].counts);
        assert_int_equal(iip_request_margin(&rq, &info), rows[i].margin);
    }
}

static void test_names(void **state)
{
    const float *arg;

    for (int i = 0; i < IIP_CMAP_COUNT; i++)
        assert_int_equal(iip_cmap_find(iip_cmap_name(i)), i);
    assert_int_equal(iip_cmap_find("JET"), IIP_CMAP_JET);
    assert_int_equal(iip_cmap_find("Gray"), IIP_CMAP_GREY);
    assert_int_equal(iip_cmap_find(""), -1);
    assert_int_equal(iip_cmap_find("jets"), -1);
    assert_int_equal(iip_kernel_find("Emboss", &arg), 10);
    assert_true(arg[0] == 3 && arg[1] == -2 && arg[9] == 2);
    assert_int_equal(iip_kernel_find("blur", &arg), 0);
}

/* spec/iip.md 9: what makes colours of its own has no use for the profile; the rest keeps it. */
static void test_profiles(void **state)
{
    static const char drops[IIP_OP_COUNT] = {[IIP_OP_SHADE] = 1, [IIP_OP_TWIST] = 1,   [IIP_OP_CMAP] = 1,
                                             [IIP_OP_GRAY] = 1,  [IIP_OP_BITONAL] = 1, [IIP_OP_BINARY] = 1};
    apr_pool_t *p;
    iip_settings set, raw;

    apr_pool_create(&p, NULL);
    iip_settings_init(p);
    iip_settings_unset(&raw);
    iip_settings_effective(&set, &raw);
    for (int kind = 0; kind < IIP_OP_COUNT; kind++) {
        iip_info info = {.bands = 3, .space = IIP_RGB, .icc_kind = IIP_ICC_OTHER, .icc_len = 3000};
        iip_request rq;

        iip_request_init(&rq, &set);
        rq.format = IIP_FMT_JPEG;
        rq.op[rq.op_count++] = (iip_op){(uint16_t)kind, 0, NULL};
        assert_int_equal(iip_request_icc(&rq, &info), drops[kind] ? IIP_ICC_DROP : IIP_ICC_SEND);
        info.space = IIP_CMYK; /* has to become RGB first, whatever follows */
        assert_int_equal(iip_request_icc(&rq, &info), IIP_ICC_CONVERT);
        info.space = IIP_RGB;
        info.sample = IIP_F32;
        if (kind < IIP_OP_SCALED)
            assert_int_equal(iip_request_icc(&rq, &info), IIP_ICC_DROP);
        set.keep_depth = 1; /* and yet they have 8 bits */
        rq.format = IIP_FMT_TIFF;
        assert_int_equal(iip_request_sample(&rq, &info), kind == IIP_OP_GRAY ? IIP_F32 : IIP_U8);
        set.keep_depth = 0;
    }
    apr_pool_destroy(p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_add),   cmocka_unit_test(test_add_ranges), cmocka_unit_test(test_request_ops),
        cmocka_unit_test(test_names), cmocka_unit_test(test_profiles),
    };

    apr_initialize();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
