/* SPDX-License-Identifier: Apache-2.0
 * path.c: names are decoded once, refused, never repaired (spec/security.md section 3; R7, R9, R10). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <cmocka.h>
#include <apr_general.h>
#include <apr_strings.h>
#include "path.h"

static apr_pool_t *pool;

static const char *decode(const char *s)
{
    return iip_path_decode(s, strlen(s), pool);
}

static void test_decode(void **state)
{
    assert_string_equal(decode("a%2Fb%2fc"), "a/b/c");
    assert_string_equal(decode("%252F"), "%2F"); /* once and once only */
    assert_string_equal(decode("a+b%20c"), "a+b c");
    assert_string_equal(decode("%C3%a9"), "\xc3\xa9");
    assert_string_equal(decode(""), "");
    assert_string_equal(iip_path_decode("abc", 2, pool), "ab"); /* no NUL behind it */
    assert_null(iip_path_decode("%41", 2, pool));
    assert_null(decode("%"));
    assert_null(decode("a%4"));
    assert_null(decode("%4g"));
    assert_null(decode("%g4"));
    assert_null(decode("%%41"));
    assert_null(decode("a%00b"));
    assert_null(iip_path_decode("a\0b", 3, pool));
}

static void test_good(void **state)
{
    static const char *const good[] = {"a",
                                       "a/b.tif",
                                       "a b",
                                       "a%3Cb",
                                       "caf\xc3\xa9.tif",
                                       "ark:/12025/654xz321",
                                       "a.",
                                       "a..b",
                                       "a;2",
                                       "\xf0\x9f\x96\xbc.tif",
                                       "a;:b",
                                       "ab:c",
                                       "1:x",
                                       "\xee\x80\x80",
                                       "\xed\x9f\xbf"};
    static const char *const bad[] = {"",
                                      "/a",
                                      "a/",
                                      "a//b",
                                      ".",
                                      "..",
                                      "a/..",
                                      "../a",
                                      "a/./b",
                                      ".htaccess",
                                      "a/.git/b",
                                      "...",
                                      "a\\b",
                                      "a\nb",
                                      "a\x7f",
                                      "\x01",
                                      "c:",
                                      "a:b",
                                      "C:/x",
                                      "http://x/y",
                                      "a\xff",
                                      "\xc3",
                                      "\xc0\xaf",
                                      "\xe0\x80\xaf",
                                      "\xed\xa0\x80",
                                      "\xf4\x90\x80\x80",
                                      "\xf5\x80\x80\x80",
                                      "\x80",
                                      "a\xe2\x82"};
    char long_name[1026];

    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        if (!iip_path_good(good[i]))
            fail_msg("refused: %s", good[i]);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        if (iip_path_good(bad[i]))
            fail_msg("taken: %zu %s", i, bad[i]);

    memset(long_name, 'a', sizeof long_name);
    long_name[1025] = '\0';
    assert_false(iip_path_good(long_name));
    long_name[1024] = '\0';
    assert_true(iip_path_good(long_name));
    for (int segments = 31; segments <= 33; segments++) {
        char *at = long_name;

        for (int i = 0; i < segments; i++, at += 2)
            memcpy(at, "a/", 2);
        at[-1] = '\0';
        assert_int_equal(iip_path_good(long_name), segments <= 32);
    }
}

static void test_encode(void **state)
{
    char all[256];

    assert_string_equal(iip_path_encode("ark:/12025/654xz321", pool), "ark:%2F12025%2F654xz321");
    assert_string_equal(iip_path_encode("a%3Cb", pool), "a%253Cb");
    assert_string_equal(iip_path_encode("-._~:;,!$&'()*+=", pool), "-._~:;,!$&'()*+=");
    assert_string_equal(iip_path_encode("a b?#[]@\"<>\\^`{|}", pool),
                        "a%20b%3F%23%5B%5D%40%22%3C%3E%5C%5E%60%7B%7C%7D");
    assert_string_equal(iip_path_encode("caf\xc3\xa9", pool), "caf%C3%A9");
    for (int i = 1; i < 256; i++)
        all[i - 1] = (char)i;
    all[255] = '\0';
    assert_string_equal(decode(iip_path_encode(all, pool)), all);
}

static void check_split(const char *path, int count, int slash, const char *joined)
{
    const char *seg[4], *text = "";
    int found, n = iip_path_split(path, seg, 4, &found, pool);

    assert_int_equal(n, count);
    if (n < 0)
        return;
    assert_int_equal(found, slash);
    for (int i = 0; i < n; i++)
        text = apr_pstrcat(pool, text, i ? "|" : "", seg[i], NULL);
    assert_string_equal(text, joined);
}

static void test_split(void **state)
{
    check_split("", 0, 0, "");
    check_split("/", 0, 1, "");
    check_split("//", 0, 1, "");
    check_split("/a", 1, 0, "a");
    check_split("/a/", 1, 1, "a");
    check_split("//a///b//", 2, 1, "a|b");
    check_split("/a%2Fb/%2e%2E/c", 3, 0, "a%2Fb|%2e%2E|c");
    check_split("/a/b/c/d", 4, 0, "a|b|c|d");
    check_split("/a/b/c/d/", 4, 1, "a|b|c|d");
    check_split("/a/b/c/d/e", -1, 0, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_decode), cmocka_unit_test(test_good),
                                       cmocka_unit_test(test_encode), cmocka_unit_test(test_split)};

    apr_initialize();
    apr_pool_create(&pool, NULL);
    return cmocka_run_group_tests_name("path", tests, NULL, NULL);
}
