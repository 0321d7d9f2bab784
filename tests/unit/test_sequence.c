/* SPDX-License-Identifier: Apache-2.0
 * Sequences: which files of a folder are views of a name, beneath a root and by absolute path. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <apr_general.h>
#include <apr_strings.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "source/sequence.h"

#define TOP "build/tmp/sequence"

static apr_pool_t *pool;
static iip_root root = {.prefix = "", .fd = -1, .number = 1};
static iip_error err;

static void touch(const char *name)
{
    int fd = open(apr_pstrcat(pool, TOP, "/", name, NULL), O_WRONLY | O_CREAT, 0644);

    assert_true(fd >= 0);
    close(fd);
}

static iip_status look(const iip_sequence **q, const iip_root *top, const char *name, const char *pattern)
{
    iip_ident id;
    int fd;
    iip_status rv = iip_sequence_folder(&fd, &id, top, name, pool, &err);

    return rv == IIP_OK ? iip_sequence_find(q, fd, name, pattern, pool, &err) : rv;
}

static const iip_sequence *find(const char *name, const char *pattern)
{
    const iip_sequence *q;

    assert_int_equal(look(&q, &root, name, pattern), IIP_OK);
    return q;
}

static void check(const int *list, int n, const char *want)
{
    const char *text = "";

    for (int i = 0; i < n; i++)
        text = apr_psprintf(pool, "%s%s%d", text, i ? " " : "", list[i]);
    assert_string_equal(text, want);
}

static void test_find(void **state)
{
    const iip_sequence *q = find("d/a", "_pyr_");

    assert_non_null(q);
    check(q->h, q->across, "0 20 340 1000");
    check(q->v, q->down, "0 30 90");
    assert_string_equal(q->ext, "tif");
    assert_string_equal(iip_sequence_file(q, -1, -1, pool), "d/a_pyr_000_090.tif");
    assert_string_equal(iip_sequence_file(q, 1000, 90, pool), "d/a_pyr_1000_090.tif");
    assert_string_equal(iip_sequence_file(q, 20, -1, pool), "d/a_pyr_020_090.tif");
    assert_string_equal(iip_sequence_file(q, -1, 30, pool), "d/a_pyr_000_030.tif");
    assert_null(iip_sequence_file(q, 10, 90, pool));
    assert_null(iip_sequence_file(q, 0, 60, pool));
    q = find("top", "-");
    check(q->h, q->across, "0");
    assert_string_equal(iip_sequence_file(q, 0, 90, pool), "top-000_090.jp2");
}

static void test_none(void **state)
{
    static const char *const names[] = {"d/b", "d/c", "d/", "d", "nope", "d/a_pyr_", "d/A", "d/a*", "d/?", "two"};
    const iip_sequence *q;

    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (find(names[i], "_pyr_"))
            fail_msg("%s is none", names[i]);
    assert_null(find("d/a", ""));
    assert_null(find("d/a", "_PYR_"));
    assert_int_equal(look(&q, &root, "nope/a", "_pyr_"), IIP_E_NOT_FOUND);
    assert_int_equal(look(&q, &root, "out/a", "_pyr_"), IIP_E_NOT_FOUND); /* a link outside */
    assert_int_equal(look(&q, &root, "top-000_090.jp2/a", "_pyr_"), IIP_E_NOT_FOUND);
}

static void test_absolute(void **state)
{
    char *here = realpath(TOP, NULL);
    const iip_sequence *q;

    assert_non_null(here);
    assert_int_equal(look(&q, NULL, apr_pstrcat(pool, here, "/d/a", NULL), "_pyr_"), IIP_OK);
    assert_non_null(q);
    assert_string_equal(iip_sequence_file(q, 20, 90, pool), apr_pstrcat(pool, here, "/d/a_pyr_020_090.tif", NULL));
    assert_int_equal(look(&q, NULL, "d/a", "_pyr_"), IIP_E_NOT_FOUND);
    free(here);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_find), cmocka_unit_test(test_none),
                                       cmocka_unit_test(test_absolute)};
    static const char *const files[] = {
        "d/a_pyr_000_090.tif",  "d/a_pyr_020_090.tif",  "d/a_pyr_340_090.tif", "d/a_pyr_1000_090.tif",
        "d/a_pyr_000_000.tif",  "d/a_pyr_000_030.tif",  "d/a_pyr_020_030.tif", "d/a_pyr_5_090.tif",
        "d/a_pyr_0040_090.tif", "d/a_pyr_040_090.png",  "d/a_pyr_050_090.",    "d/a_pyr_060_090.t.if",
        "d/a_pyr_070_090",      "d/aa_pyr_080_090.tif", "d/a_pyr_-90_090.tif", "d/b_pyr_010_090.tif",
        "top-000_090.jp2",      "two_pyr_000_090.tif",  "two_pyr_000_090.jpg"};

    apr_initialize();
    apr_pool_create(&pool, NULL);
    if (system("rm -rf " TOP " && mkdir -p " TOP "/d && ln -s / " TOP "/out") != 0)
        return 1;
    for (size_t i = 0; i < sizeof files / sizeof *files; i++)
        touch(files[i]);
    root.path = TOP;
    if (iip_root_open(&root, pool, &err) != IIP_OK)
        return 1;
    return cmocka_run_group_tests_name("sequence", tests, NULL, NULL);
}
