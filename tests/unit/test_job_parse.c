/* SPDX-License-Identifier: Apache-2.0
 * Jobs as JSON: checks in their order, tags, addresses (spec/imgserve.md sections 2 to 6 and 9). */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include <apr_general.h>
#include <apr_strings.h>
#include "job/job.h"

#ifdef IIP_HAVE_JOBS
static apr_pool_t *pool;
static job_place place;

static int set_up(void **state)
{
    static const char *const all[] = {"http", "https", "ftp", "ftps", "file", NULL}, *const any[] = {"*", NULL},
                             *const ports[] = {"any", NULL};

    apr_initialize();
    apr_pool_create(&pool, NULL);
    memset(&place, 0, sizeof place);
    place.source_root = place.dest_root = "/srv";
    place.source_schemes = place.dest_schemes = all;
    place.source_hosts = place.dest_hosts = any;
    place.ports = ports;
    place.max_pixels = 100000000;
    return 0;
}

static int tear_down(void **state)
{
    apr_pool_destroy(pool);
    apr_terminate();
    return 0;
}

static job_code parse(job_t *j, const char *text)
{
    job_error e = {0};

    return job_parse(j, text, strlen(text), &place, pool, &e);
}

/* A job with some of its parts replaced */
static const char *with(const char *op, const char *src, const char *dst, const char *args, const char *more)
{
    return apr_psprintf(pool, "{\"operationType\": %s, \"srcURL\": %s, \"dstURL\": %s, \"args\": %s%s}",
                        op ? op : "\"resize\"", src ? src : "\"http://e.org/Ex.png\"",
                        dst ? dst : "\"ftp://e.org/a/{$width}-{$basename}.{$ext}\"",
                        args ? args : "{\"width\": 200, \"height\": 120}", more ? more : "");
}

/* The two examples of the old document; the second with its quotes made JSON's */
static void test_seed(void **state)
{
    job_t j;

    assert_int_equal(parse(&j,
                           "{\"operationType\": \"resize\","
                           "\"srcURL\": \"http://upload.wikimedia.org/wikipedia/en/7/70/Ex.png\","
                           "\"dstURL\": \"ftp://upload.wikimedia.org/wikipedia/en/7/70/{$width}-{$basename}.{$ext}\","
                           "\"args\": {\"width\": 200, \"height\": 120}}"),
                     JOB_OK);
    assert_string_equal(j.dest, "ftp://upload.wikimedia.org/wikipedia/en/7/70/200-Ex.png");
    assert_int_equal(j.store, JOB_STORE_FTP);
    assert_int_equal(j.format, IIP_FMT_PNG);
    assert_int_equal(parse(&j, "{\"operationType\": \"resize\","
                               "\"srcURL\": \"http://upload.wikimedia.org/wikipedia/en/7/70/Ex.png\","
                               "\"dstURL\": \"http://example.com/upload.html:{$width}-{$basename}.{$ext}\","
                               "\"args\": {\"width\": 200, \"height\": 120, \"field_name\": \"image_file\"}}"),
                     JOB_OK);
    assert_string_equal(j.dest, "http://example.com/upload.html:200-Ex.png");
    assert_string_equal(j.to.url, "http://example.com/upload.html");
    assert_string_equal(j.file_name, "200-Ex.png");
    assert_string_equal(j.field, "image_file");
    assert_int_equal(parse(&j, "{\"args\": {\"field_name\": 'image_file'}}"), JOB_E_PARSE);
    /* what else old clients put into args */
    assert_int_equal(parse(&j, with(NULL, NULL, NULL, "{\"width\": 1, \"height\": 2, \"user\": [1]}", NULL)), JOB_OK);
}

static void test_codes(void **state)
{
    const struct {
        const char *text;
        job_code code;
    } cases[] = {
        {"[1]", JOB_E_PARSE},
        {"{\"a\": 1} x", JOB_E_PARSE},
        {"{\"srcURL\": \"a\", \"srcURL\": \"b\"}", JOB_E_PARSE},
        {"{}", JOB_E_KEYS},
        {with(NULL, NULL, NULL, NULL, ", \"extra\": 1"), JOB_E_KEYS},
        {with("\"turn\"", "\"\"", "\"\"", "1", NULL), JOB_E_OPERATION},
        {with("1", NULL, NULL, NULL, NULL), JOB_E_OPERATION},
        {with(NULL, "\"\"", NULL, "[]", NULL), JOB_E_ARGS},
        {with(NULL, "\"\"", "\"\"", "{}", NULL), JOB_E_SOURCE},
        {with(NULL, "7", "\"\"", "{}", NULL), JOB_E_SOURCE},
        {with(NULL, NULL, "\"\"", "{}", NULL), JOB_E_DEST},
        {with(NULL, NULL, "\"http://h:8080/up.html\"", "{}", NULL), JOB_E_DEST},
        {with(NULL, NULL, "\"http://h/up.html:\"", "{}", NULL), JOB_E_DEST},
        {with(NULL, NULL, "\"ftp://h/a/\"", "{}", NULL), JOB_E_DEST},
        {with(NULL, NULL, "\"file:///a/../../b.png\"", NULL, NULL), JOB_E_DEST},
        {with(NULL, NULL, "\"file:///a/%2e%2e/b.png\"", NULL, NULL), JOB_E_DEST},
        {with(NULL, NULL, "\"file:///a/%00b.png\"", NULL, NULL), JOB_E_DEST},
        {with(NULL, NULL, "\"ftp://h/%0aDELE%20x.png\"", NULL, NULL), JOB_E_DEST},
        {with(NULL, NULL, NULL, "{\"width\": 1}", NULL), JOB_E_SIZE_MISSING},
        {with(NULL, NULL, NULL, "{\"width\": true, \"height\": 1}", NULL), JOB_E_SIZE},
        {with(NULL, NULL, NULL, "{\"width\": 200.0, \"height\": 1}", NULL), JOB_E_SIZE},
        {with(NULL, NULL, NULL, "{\"width\": \"200\", \"height\": 1}", NULL), JOB_E_SIZE},
        {with(NULL, NULL, NULL, "{\"width\": 0, \"height\": 1}", NULL), JOB_E_SIZE},
        {with(NULL, NULL, NULL, "{\"width\": 16385, \"height\": 1}", NULL), JOB_E_SIZE},
        {with(NULL, "\"http://e/a.php\"", NULL, NULL, NULL), JOB_E_SOURCE_EXT},
        {with("\"rasterize\"", NULL, NULL, NULL, NULL), JOB_E_SOURCE_EXT},
        {with(NULL, "\"http://e/a.svg\"", NULL, NULL, NULL), JOB_E_SOURCE_EXT},
        {with(NULL, "\"gopher://e/a.png\"", NULL, NULL, NULL), JOB_E_SOURCE_SCHEME},
        {with(NULL, NULL, "\"gopher://e/a.png\"", NULL, NULL), JOB_E_DEST_SCHEME},
        {with(NULL, NULL, "\"http://e/up:a.png\"", NULL, NULL), JOB_E_EXTRA_MISSING},
        {with(NULL, NULL, "\"http://e/up:a.png\"", "{\"width\":1,\"height\":1,\"field_name\":7}", NULL),
         JOB_E_EXTRA_TYPE},
        {with(NULL, NULL, "\"http://e/up:a.png\"", "{\"width\":1,\"height\":1,\"field_file\":\"\"}", NULL),
         JOB_E_EXTRA_TYPE},
        {with(NULL, NULL, "\"ftp://e/a.bmp\"", NULL, NULL), JOB_E_DEST_EXT},
        {with(NULL, NULL, "\"ftp://e/a\"", NULL, NULL), JOB_E_DEST_EXT},
        {with(NULL, NULL, "\"ftp://e/a.png\"", "{\"width\":1,\"height\":1,\"format\":\"jpeg\"}", NULL), JOB_E_DEST_EXT},
        {with(NULL, NULL, NULL, "{\"width\":1,\"height\":1,\"fit\":\"shrink\"}", NULL), JOB_E_OPTION},
        {with(NULL, NULL, NULL, "{\"width\":1,\"height\":1,\"gravity\":\"0.5,1.5\"}", NULL), JOB_E_OPTION},
        {with(NULL, NULL, NULL, "{\"width\":1,\"height\":1,\"rotate\":45}", NULL), JOB_E_OPTION},
        {with(NULL, NULL, NULL, NULL, ", \"placeholder\": 1"), JOB_E_OPTION},
        {with(NULL, NULL, NULL, "{\"width\":1,\"height\":1,\"quality\":101}", NULL), JOB_E_OPTION},
        {with(NULL, NULL, NULL, "{\"width\":1,\"height\":1,\"background\":\"red\"}", NULL), JOB_E_OPTION},
        {with(NULL, NULL, NULL, "{\"width\":1,\"height\":1,\"form\":{\"a\\r\":\"b\"}}", NULL), JOB_E_OPTION},
        {with(NULL, NULL, NULL, NULL, ", \"key\": \"\""), JOB_E_OPTION},
        {with(NULL, NULL, NULL, "{\"width\":16384,\"height\":16384}", NULL), JOB_E_FORBIDDEN},
        {with(NULL, NULL, NULL, NULL, ", \"callback\": \"ftp://e/x\""), JOB_E_CALLBACK},
    };

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        job_t j;
        job_code got = parse(&j, cases[i].text);

        if (got != cases[i].code)
            print_error("%s: %d\n", cases[i].text, got);
        assert_int_equal(got, cases[i].code);
    }
}

static void test_dest(void **state)
{
    static const struct {
        const char *op, *src, *dst, *dest;
    } cases[] = {
        {NULL, "\"http://e/a.tar.PNG?x=b.gif#c\"", "\"ftp://h:2121/{$basename}.{$extension}\"",
         "ftp://h:2121/a.tar.PNG"},
        {NULL, "\"http://e/x\"", "\"ftp://h/{$basename}{$ext}.png\"", "ftp://h/x.png"},
        {NULL, "\"http://e/a%20b%c3%a9.png\"", "\"ftp://h/{$basename}.{$ext}\"", "ftp://h/a%20b%C3%A9.png"},
        {NULL, "\"http://e/{$width}.png\"", "\"ftp://h/{$basename}.{$ext}\"", "ftp://h/%7B%24width%7D.png"},
        {NULL, NULL, "\"ftp://h/{$weight}-{$height}.png\"", "ftp://h/{$weight}-120.png"},
        {NULL, NULL, "\"ftp://u:{$width}@h/a:{$width}.png\"", "ftp://u:{$width}@h/a:200.png"},
        {"\"rasterize\"", "\"http://e/a.svg\"", "\"ftp://h/{$basename}.{$ext}\"", "ftp://h/a.png"},
    };

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        job_t j;
        job_code got = parse(&j, with(cases[i].op, cases[i].src, cases[i].dst, NULL, NULL));

        if (got != JOB_OK)
            print_error("%s: %d\n", cases[i].dst, got);
        assert_int_equal(got, JOB_OK);
        assert_string_equal(j.dest, cases[i].dest);
    }
}

static void test_hosts(void **state)
{
    static const char *const odd[] = {"http://2130706433/a.png", "http://0x7f.0.0.1/a.png",
                                      "http://127.1/a.png",      "http://0177.0.0.1/a.png",
                                      "http://127.0.0.1./a.png", "http://[::1%25lo]/a.png",
                                      "http://a b/a.png",        "http://\xc3\xa4/a.png",
                                      "http://h\\@e/a.png",      "http:///a.png"};
    static const char *const patterns[] = {"*.example.org", "one.net", NULL};
    job_url u;

    for (size_t i = 0; i < sizeof odd / sizeof *odd; i++) {
        if (job_url_parse(&u, odd[i], pool) == 0)
            print_error("%s: host %s\n", odd[i], u.host);
        assert_int_equal(job_url_parse(&u, odd[i], pool), -1);
    }
    assert_int_equal(job_url_parse(&u, "ftp://us%40er:p%3Aw@[2001:4860::1]:2121/a%20b.png", pool), 0);
    assert_string_equal(u.host, "2001:4860::1");
    assert_string_equal(u.user, "us@er");
    assert_string_equal(u.pass, "p:w");
    assert_string_equal(u.path, "/a b.png");
    assert_null(strstr(u.url, "p:w"));
    assert_null(strstr(u.url, "p%3Aw"));
    assert_string_equal(job_url_masked("ftp://u:secret@h/x", pool), "ftp://u:***@h/x");
    assert_true(job_host_listed("a.example.org", patterns));
    assert_true(job_host_listed("A.B.Example.ORG.", patterns));
    assert_true(job_host_listed("one.net", patterns));
    assert_false(job_host_listed("evil-example.org", patterns));
    assert_false(job_host_listed("example.org", patterns));
    assert_false(job_host_listed("two.one.net", patterns));
}

static int good(const char *text)
{
    unsigned char at[16];
    int v4 = 0;
    char *copy = apr_pstrdup(pool, text);

    v4 = !strchr(copy, ':');
    if (v4) {
        unsigned n[4];

        assert_int_equal(sscanf(copy, "%u.%u.%u.%u", n, n + 1, n + 2, n + 3), 4);
        for (int i = 0; i < 4; i++)
            at[i] = (unsigned char)n[i];
        return job_address_good(&place, at, 4);
    }
    /* full form only: eight groups */
    {
        unsigned n[8];

        assert_int_equal(sscanf(copy, "%x:%x:%x:%x:%x:%x:%x:%x", n, n + 1, n + 2, n + 3, n + 4, n + 5, n + 6, n + 7),
                         8);
        for (int i = 0; i < 8; i++) {
            at[2 * i] = (unsigned char)(n[i] >> 8);
            at[2 * i + 1] = (unsigned char)n[i];
        }
        return job_address_good(&place, at, 16);
    }
}

static void test_guard(void **state)
{
    static const char *const closed[] = {
        "0.0.0.0",
        "0.1.2.3",
        "127.0.0.1",
        "127.255.255.255",
        "10.1.2.3",
        "172.16.0.1",
        "172.31.255.255",
        "192.168.1.1",
        "169.254.169.254",
        "100.64.0.1",
        "100.127.255.255",
        "192.0.0.1",
        "198.18.0.1",
        "198.19.255.255",
        "224.0.0.1",
        "239.1.2.3",
        "240.0.0.1",
        "255.255.255.255",
        "0:0:0:0:0:0:0:0",
        "0:0:0:0:0:0:0:1",
        "fe80:0:0:0:0:0:0:1",
        "fc00:0:0:0:0:0:0:1",
        "fdff:0:0:0:0:0:0:1",
        "ff02:0:0:0:0:0:0:1",
        "0:0:0:0:0:ffff:7f00:1",
        "0:0:0:0:0:0:7f00:1",
        "2002:7f00:1:0:0:0:0:1",
        "2002:a01:203:0:0:0:0:1",
        "64:ff9b:0:0:0:0:7f00:1",
        "64:ff9b:1:0:0:0:7f00:1",
        "2001:0:5db8:d822:0:0:80ff:fffe",
        "2001:0:7f00:1:0:0:0:0",
        "2a00:1:2:3:0:5efe:7f00:1",
        "2a00:1:2:3:200:5efe:a00:1",
    };
    static const char *const open[] = {"8.8.8.8",
                                       "100.63.255.255",
                                       "100.128.0.1",
                                       "172.15.255.255",
                                       "172.32.0.0",
                                       "11.0.0.1",
                                       "192.0.1.1",
                                       "2a00:1450:4001:0:0:0:0:1",
                                       "2002:808:808:0:0:0:0:1",
                                       "64:ff9b:0:0:0:0:808:808",
                                       "0:0:0:0:0:ffff:808:808"};
    static const char *const allow[] = {"127.0.0.0/8", "::1/128", NULL}, *const deny[] = {"127.0.0.2", "8.0.0.0/7",
                                                                                          NULL};

    for (size_t i = 0; i < sizeof closed / sizeof *closed; i++) {
        if (good(closed[i]))
            print_error("%s is open\n", closed[i]);
        assert_false(good(closed[i]));
    }
    for (size_t i = 0; i < sizeof open / sizeof *open; i++) {
        if (!good(open[i]))
            print_error("%s is closed\n", open[i]);
        assert_true(good(open[i]));
    }
    place.allow_net = allow;
    place.deny_net = deny;
    assert_true(good("127.0.0.1"));
    assert_true(good("0:0:0:0:0:ffff:7f00:1"));
    assert_true(good("0:0:0:0:0:0:0:1"));
    assert_false(good("127.0.0.2"));
    assert_false(good("8.8.8.8"));
    assert_false(good("9.255.0.1"));
    assert_false(good("10.0.0.1"));
    place.allow_net = place.deny_net = NULL;
    assert_true(job_net_good("10.0.0.0/8"));
    assert_false(job_net_good("10.0.0.0/33"));
    assert_false(job_net_good("10.0.0/8"));
    assert_false(job_net_good("a/8"));
}

static void test_batch(void **state)
{
    const char *const *jobs;
    int count, batch;
    job_error e;
    const char *text = "{\"jobs\": [{\"a\": 1}, 7]}";

    assert_int_equal(job_split(text, strlen(text), &jobs, &count, &batch, pool, &e), JOB_OK);
    assert_int_equal(count, 2);
    assert_int_equal(batch, 1);
    assert_string_equal(jobs[0], "{\"a\":1}");
    text = "{\"jobs\": [], \"x\": 1}";
    assert_int_equal(job_split(text, strlen(text), &jobs, &count, &batch, pool, &e), JOB_E_BATCH);
    text = "{\"jobs\": [{\"jobs\": []}]}";
    assert_int_equal(job_split(text, strlen(text), &jobs, &count, &batch, pool, &e), JOB_E_BATCH);
    text = "[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[";
    assert_int_equal(job_split(text, strlen(text), &jobs, &count, &batch, pool, &e), JOB_E_PARSE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_seed),  cmocka_unit_test(test_codes), cmocka_unit_test(test_dest),
        cmocka_unit_test(test_hosts), cmocka_unit_test(test_guard), cmocka_unit_test(test_batch),
    };

    return cmocka_run_group_tests_name("job_parse", tests, set_up, tear_down);
}
#else
int main(void)
{
    return 0;
}
#endif
