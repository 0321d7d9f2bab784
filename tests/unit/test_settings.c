/* SPDX-License-Identifier: Apache-2.0
 * settings.c: what each directive takes and refuses, how sections merge, what is in force. */
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <cmocka.h>
#include <stdlib.h>
#include <apr_general.h>
#include <apr_strings.h>
#include "settings.h"
#include "codec/codec.h"

static apr_pool_t *pool;

static const iip_directive *find(const char *name, int *server)
{
    *server = 0;
    for (const iip_directive *d = iip_directives; d->name; d++)
        if (!strcmp(d->name, name))
            return d;
    *server = 1;
    for (const iip_directive *d = iip_server_directives; d->name; d++)
        if (!strcmp(d->name, name))
            return d;
    return NULL;
}

/* Sets `line` ("IIPMaxSize 5 6") in s or, for a server directive, in sv. */
static const char *set_in(iip_settings *s, iip_server_settings *sv, const char *line, int htaccess)
{
    char *copy = strdup(line), *argv[16], *last = NULL;
    int argc = 0, server;
    const char *name = strtok_r(copy, " ", &last), *msg;
    const char *words[16];
    const iip_directive *d = find(name, &server);

    assert_non_null(d);
    while (argc < 16 && (argv[argc] = strtok_r(NULL, " ", &last)))
        argc++;
    for (int i = 0; i < argc; i++) {
        words[i] = apr_pcalloc(pool, strlen(argv[i]) + 1);
        memcpy((char *)words[i], argv[i], strlen(argv[i]));
    }
    msg = iip_setting_set(server ? (void *)sv : (void *)s, d, argc, words, htaccess, pool);
    free(copy);
    return msg;
}

static void takes(const char *line)
{
    iip_settings s;
    iip_server_settings sv;

    iip_settings_unset(&s);
    iip_server_settings_unset(&sv);
    if (set_in(&s, &sv, line, 0))
        fail_msg("refused: %s", line);
}

static void refuses(const char *line)
{
    iip_settings s;
    iip_server_settings sv;

    iip_settings_unset(&s);
    iip_server_settings_unset(&sv);
    if (!set_in(&s, &sv, line, 0))
        fail_msg("taken: %s", line);
}

static void test_words_taken(void **state)
{
    static const char *const good[] = {
        "IIPRoot /srv/pictures",
        "IIPRoot /srv/pictures follow",
        "IIPRoot pictures absolute follow",
        "IIIFBare file",
        "IIIFBare Redirect",
        "IIIFBare none",
        "IIPQuality jpeg 1",
        "IIPQuality JPEG 100",
        "IIPQuality png 0",
        "IIPQuality tiff 100",
        "IIPTIFFCompression LZW",
        "IIPKeepDepth on",
        "IIPProfile strip",
        "IIPProfile EMBED",
        "IIPCopyright ;profile=2",
        "IIPCopyright \xc2\xa9",
        "IIPMaxLayers all",
        "IIPMaxLayers HALF",
        "IIPMaxLayers 3",
        "IIPMaxICC 0",
        "IIPMaxICC 64k",
        "IIPBackground 00FFaa",
        "IIPInterpolation nearest",
        "IIPUpscaling off",
        "IIPPassthrough On",
        "IIPCacheControl no-store",
        "IIPCORS *",
        "IIPCORS none",
        "IIPCORS https://example.org http://[2001:db8::1]:8080 http://localhost:1",
        "IIPBaseURL https://example.org",
        "IIPBaseURL http://example.org:8080/images/v3/",
        "IIPTrustedProxy 127.0.0.1 10.0.0.0/8 2001:db8::/32",
        "IIPTrustedProxy none",
        "IIIFVersions 3",
        "IIIFVersions 2 3 1",
        "IIPMaxSize 0",
        "IIPMaxSize 5000 2G",
        "IIPMaxArea 25000000",
        "IIPMaxMemory 1G",
        "IIPTimeout 500ms",
        "IIPTimeout 30",
        "IIPMaxDecodes 4",
        "IIPMaxDecodes 4 16",
        "IIPCacheSize 10M 32M",
        "IIPMetadataCache 1000",
        "IIPStateDir /var/cache/iip",
        "JPIPIndexAge 30d",
        "JPIPIndexAge 0",
    };
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        takes(good[i]);
}

static void test_words_refused(void **state)
{
    static const char *const bad[] = {
        "IIPRoot",
        "IIPRoot /a nofollow",
        "IIPRoot /a follow absolute follow",
        "IIIFBare",
        "IIIFBare fil",
        "IIIFBare file|redirect",
        "IIIFBare file redirect",
        "IIPQuality jpeg",
        "IIPQuality jpeg 0",
        "IIPQuality jpeg 101",
        "IIPQuality jpeg 75x",
        "IIPQuality jpeg -1",
        "IIPQuality jpg 75",
        "IIPQuality tiff 101",
        "IIPTIFFCompression",
        "IIPTIFFCompression zip",
        "IIPTIFFCompression lzw 5",
        "IIPQuality gifs 1",
        "IIPKeepDepth 16",
        "IIPProfile keep",
        "IIPProfile convert|strip",
        "IIPCopyright",
        "IIPCopyright a b",
        "IIPCopyright \xff",
        "IIPCopyright \xc0\xaf",
        "IIPQuality gif 0",
        "IIPMaxLayers",
        "IIPMaxLayers 0",
        "IIPMaxLayers halves",
        "IIPMaxLayers 2 3",
        "IIPMaxICC 64K 64K",
        "IIPMaxICC 64KB",
        "IIPMaxICC -1",
        "IIPMaxICC 9223372036854775808",
        "IIPMaxICC 9999999999G",
        "IIPMaxICC 1.5K",
        "IIPBackground fff",
        "IIPBackground #ffffff",
        "IIPBackground gggggg",
        "IIPBackground ffffff0",
        "IIPInterpolation cubic",
        "IIPUpscaling maybe",
        "IIPCORS * https://example.org",
        "IIPCORS none *",
        "IIPCORS example.org",
        "IIPCORS https://",
        "IIPCORS https://example.org/",
        "IIPCORS https://example.org:0",
        "IIPCORS https://example.org:65536",
        "IIPCORS https://example.org:",
        "IIPCORS https://exa\"mple.org",
        "IIPCORS https://[::1",
        "IIPBaseURL example.org",
        "IIPBaseURL ftp://example.org",
        "IIPBaseURL javascript://example.org",
        "IIPBaseURL http://",
        "IIPBaseURL http:///",
        "IIPBaseURL http://example.org/a?b",
        "IIPBaseURL http://example.org/<b>",
        "IIPBaseURL http://example.org/\"",
        "IIPTrustedProxy example.org",
        "IIPTrustedProxy 10.0.0.0/33",
        "IIPTrustedProxy",
        "IIIFVersions 4",
        "IIIFVersions 3 3",
        "IIIFVersions 3 2 1 3",
        "IIIFVersions 32",
        "IIIFVersions 0",
        "IIPMaxSize 1 2 3",
        "IIPMaxSize a",
        "IIPTimeout 1w",
        "IIPTimeout -1s",
        "IIPTimeout s",
        "IIPTimeout 99999999999999999d",
        "IIPMaxDecodes four",
        "IIPCacheSize",
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        refuses(bad[i]);
}

static void test_values_fit_headers(void **state)
{
    iip_settings s;
    int server;
    const iip_directive *cc = find("IIPCacheControl", &server), *url = find("IIPBaseURL", &server);
    char text[1100];
    const char *arg = text;

    iip_settings_unset(&s);
    for (int c = 1; c < 256; c++) {
        apr_cpystrn(text, "max-age=1,private", sizeof text);
        text[9] = (char)c;
        assert_int_equal(!iip_setting_set(&s, cc, 1, &arg, 0, pool), c >= 0x20 && c != 0x7f);
    }
    memset(text, 'a', sizeof text);
    text[1024] = '\0';
    assert_null(iip_setting_set(&s, cc, 1, &arg, 0, pool));
    text[1024] = 'a';
    text[1025] = '\0';
    assert_non_null(iip_setting_set(&s, cc, 1, &arg, 0, pool));
    apr_cpystrn(text, "http://e.org/a\r\nSet-Cookie:b", sizeof text);
    assert_non_null(iip_setting_set(&s, url, 1, &arg, 0, pool));
}

static void test_sizes_and_times(void **state)
{
    int64_t n;

    assert_int_equal(iip_parse_size("0", &n), 0);
    assert_int_equal(n, 0);
    assert_int_equal(iip_parse_size("64K", &n), 0);
    assert_int_equal(n, 65536);
    assert_int_equal(iip_parse_size("3m", &n), 0);
    assert_int_equal(n, 3145728);
    assert_int_equal(iip_parse_size("2G", &n), 0);
    assert_true(n == INT64_C(2147483648));
    assert_int_equal(iip_parse_size("9223372036854775807", &n), 0);
    assert_true(n == INT64_MAX);
    assert_int_not_equal(iip_parse_size("9007199254740992K", &n), 0);
    assert_int_not_equal(iip_parse_size("", &n), 0);
    assert_int_not_equal(iip_parse_size("K", &n), 0);
    assert_int_not_equal(iip_parse_size(" 1", &n), 0);
    assert_int_not_equal(iip_parse_size("1 ", &n), 0);
    assert_int_equal(iip_parse_time("30", &n), 0);
    assert_int_equal(n, 30000000);
    assert_int_equal(iip_parse_time("20ms", &n), 0);
    assert_int_equal(n, 20000);
    assert_int_equal(iip_parse_time("2m", &n), 0);
    assert_int_equal(n, 120000000);
    assert_int_equal(iip_parse_time("1d", &n), 0);
    assert_true(n == INT64_C(86400000000));
    assert_int_not_equal(iip_parse_time("1ss", &n), 0);
}

static void test_defaults(void **state)
{
    iip_settings s, raw;
    iip_server_settings sv, sraw;
    iip_limits lim;

    iip_settings_unset(&raw);
    iip_server_settings_unset(&sraw);
    iip_settings_effective(&s, &raw);
    iip_server_settings_effective(&sv, &sraw);
    assert_null(s.root);
    assert_int_equal(s.bare, -1);
    assert_int_equal(s.quality.of[IIP_FMT_JPEG], -1);
    assert_int_equal(s.profile, IIP_PROFILE_EMBED);
    assert_int_equal(s.interpolation, IIP_INTERPOLATE_LANCZOS);
    assert_int_equal(s.background, 0xffffff);
    assert_int_equal(s.versions, 32);
    assert_int_equal(s.upscaling, 1);
    assert_string_equal(s.cache_control, "max-age=86400");
    assert_string_equal(s.cors[0], "*");
    assert_null(s.cors[1]);
    assert_null(s.base_url);
    assert_null(s.trusted);
    iip_settings_limits(&lim, &s);
    assert_true(lim.max_width == 5000 && lim.max_height == 5000 && lim.max_area == 25000000);
    assert_true(lim.max_pixels == 100000000 && lim.memory == (256u << 20) && lim.deadline == 30000000);
    assert_int_equal(lim.upscale, 1);
    assert_int_equal(sv.max_decodes.a, -1);
    assert_int_equal(sv.cache_size.a, 10 << 20);
    assert_int_equal(sv.cache_size.b, 32 << 20);
    assert_int_equal(sv.metadata_cache.a, 1000);
    assert_int_equal(sv.metadata_cache.b, 64);
    assert_null(set_in(&raw, &sraw, "IIPCacheSize 5M", 0));
    iip_server_settings_effective(&sv, &sraw);
    assert_int_equal(sv.cache_size.a, 5 << 20);
    assert_int_equal(sv.cache_size.b, 32 << 20);
}

static void test_upscaling_needs_a_stated_limit(void **state)
{
    iip_settings s, raw;
    iip_limits lim;

    iip_settings_unset(&raw);
    assert_null(set_in(&raw, NULL, "IIPMaxSize 0", 0));
    iip_settings_effective(&s, &raw);
    iip_settings_limits(&lim, &s);
    assert_int_equal(lim.upscale, 1);
    assert_null(set_in(&raw, NULL, "IIPMaxArea 0", 0));
    iip_settings_effective(&s, &raw);
    iip_settings_limits(&lim, &s);
    assert_int_equal(lim.upscale, 0);
}

static void test_last_section_wins(void **state)
{
    iip_settings a, b, c;

    iip_settings_unset(&a);
    iip_settings_unset(&b);
    assert_null(set_in(&a, NULL, "IIPBackground 000001", 0));
    assert_null(set_in(&a, NULL, "IIPQuality jpeg 50", 0));
    assert_null(set_in(&a, NULL, "IIPCORS none", 0));
    assert_null(set_in(&a, NULL, "IIPMaxSize 4000 3000", 0));
    assert_null(set_in(&b, NULL, "IIPQuality png 3", 0));
    assert_null(set_in(&b, NULL, "IIPMaxSize 6000", 0));
    assert_null(set_in(&b, NULL, "IIPProfile strip", 0));
    iip_settings_merge(&c, &a, &b);
    assert_int_equal(c.background, 1);
    assert_int_equal(c.quality.of[IIP_FMT_JPEG], 50);
    assert_int_equal(c.quality.of[IIP_FMT_PNG], 3);
    assert_int_equal(c.profile, IIP_PROFILE_STRIP);
    assert_non_null(c.cors);
    assert_null(c.cors[0]);
    assert_int_equal(iip_lower_value(&c.max_size).a, 6000);
    assert_int_equal(iip_lower_value(&c.max_size).b, 6000);
    iip_settings_merge(&c, &b, &a);
    assert_int_equal(iip_lower_value(&c.max_size).b, 3000);
}

/* Three .htaccess and an administrator's section, in every order and grouping: the same values are in force. */
static void test_lower_is_order_free(void **state)
{
    static const char *const lines[][2] = {{"IIPMaxSize 900 500", "IIPMaxSize 300 0"},
                                           {"IIPMaxSize 0", "IIPMaxSize 9000"},
                                           {"IIPMaxICC 10", "IIPMaxICC 0"}};
    static const int64_t want[][2] = {{300, 500}, {2000, 2000}, {10, 10}};
    static const int orders[][3] = {{0, 1, 2}, {0, 2, 1}, {1, 0, 2}, {1, 2, 0}, {2, 0, 1}, {2, 1, 0}};

    for (size_t i = 0; i < 3; i++) {
        iip_settings part[3];

        for (int j = 0; j < 3; j++)
            iip_settings_unset(&part[j]);
        assert_null(set_in(&part[0], NULL, "IIPMaxSize 2000", 0));
        assert_null(set_in(&part[1], NULL, lines[i][0], 1));
        assert_null(set_in(&part[2], NULL, lines[i][1], 1));
        for (size_t o = 0; o < 6; o++) {
            iip_settings left, all, right, other;
            iip_pair v;

            iip_settings_merge(&left, &part[orders[o][0]], &part[orders[o][1]]);
            iip_settings_merge(&all, &left, &part[orders[o][2]]);
            iip_settings_merge(&right, &part[orders[o][1]], &part[orders[o][2]]);
            iip_settings_merge(&other, &part[orders[o][0]], &right);
            assert_memory_equal(&all.max_size, &other.max_size, sizeof all.max_size);
            assert_memory_equal(&all.max_icc, &other.max_icc, sizeof all.max_icc);
            v = iip_lower_value(i == 2 ? &all.max_icc : &all.max_size);
            assert_int_equal(v.a, want[i][0]);
            assert_int_equal(v.b, want[i][1]);
        }
    }
}

static void test_htaccess_never_raises(void **state)
{
    static const char *const tries[] = {"IIPMaxSize 1000000", "IIPMaxSize 0", "IIPMaxSize 5001 1"};

    for (size_t i = 0; i < 3; i++) {
        iip_settings admin, ht, merged, s;
        iip_pair v;

        iip_settings_unset(&admin);
        iip_settings_unset(&ht);
        assert_null(set_in(&ht, NULL, tries[i], 1));
        iip_settings_merge(&merged, &admin, &ht);
        iip_settings_effective(&s, &merged);
        v = iip_lower_value(&s.max_size);
        assert_true(v.a == 5000 && v.b >= 1 && v.b <= 5000);
    }
}

static void test_an_htaccess_may_cap_the_unlimited(void **state)
{
    iip_settings admin, ht, merged, s;

    iip_settings_unset(&admin);
    iip_settings_unset(&ht);
    assert_null(set_in(&admin, NULL, "IIPMaxSize 0", 0));
    assert_null(set_in(&ht, NULL, "IIPMaxSize 100", 1));
    iip_settings_merge(&merged, &admin, &ht);
    iip_settings_effective(&s, &merged);
    assert_int_equal(iip_lower_value(&s.max_size).a, 100);
}

static void test_unbuilt_format_is_told_apart(void **state)
{
    static const struct {
        iip_format f;
        const char *line;
    } formats[] = {{IIP_FMT_JPEG, "IIPQuality jpeg 75"},
                   {IIP_FMT_WEBP, "IIPQuality webp 50"},
                   {IIP_FMT_AVIF, "IIPQuality avif 50"},
                   {IIP_FMT_JP2, "IIPQuality jp2 40"}};
    iip_settings s;

    iip_settings_unset(&s);
    for (size_t i = 0; i < sizeof formats / sizeof *formats; i++)
        assert_ptr_equal(set_in(&s, NULL, formats[i].line, 0),
                         iip_encoder_find(formats[i].f) ? NULL : iip_setting_unbuilt);
}

static void test_line_shows_what_changes_bytes(void **state)
{
    static const struct {
        const char *directive, *line;
    } changes[] = {{"IIPProfile strip", ";profile=2"},
                   {"IIPMaxICC 1K", ";max_icc=1024,1024"},
                   {"IIPBackground 000000", ";background=0"},
                   {"IIPInterpolation nearest", ";interpolation=0"},
                   {"IIPPassthrough off", ";passthrough=0"},
                   {"IIPTIFFCompression zstd", ";tiff_compression=5"},
                   {"IIPKeepDepth On", ";keep_depth=1"},
                   {"IIPCopyright (c)", ";copyright=3:(c)"},
                   {"IIPCopyright ;background=0", ";copyright=13:;background=0"}};
    static const char *const same[] = {"IIPMaxSize 77", "IIPCORS none", "IIPTimeout 1s", "IIPCacheControl x"};
    iip_settings s, raw;
    char line[512];

    for (size_t i = 0; i < sizeof changes / sizeof *changes; i++) {
        const size_t n = strlen(changes[i].line);

        iip_settings_unset(&raw);
        assert_null(set_in(&raw, NULL, changes[i].directive, 0));
        iip_settings_effective(&s, &raw);
        assert_int_equal(iip_settings_line(&s, line, 0, sizeof line), n);
        assert_memory_equal(line, changes[i].line, n);
        for (size_t room = 0; room <= n; room++)
            assert_int_equal(iip_settings_line(&s, line, 0, room), room);
    }
    for (size_t i = 0; i < sizeof same / sizeof *same; i++) {
        iip_settings_unset(&raw);
        assert_null(set_in(&raw, NULL, same[i], 0));
        iip_settings_effective(&s, &raw);
        assert_int_equal(iip_settings_line(&s, line, 0, sizeof line), 0);
    }
}

static void test_urls_lose_their_slash(void **state)
{
    iip_settings s;

    iip_settings_unset(&s);
    assert_null(set_in(&s, NULL, "IIPBaseURL https://example.org/iiif//", 0));
    assert_string_equal(s.base_url, "https://example.org/iiif");
    assert_null(set_in(&s, NULL, "IIIFVersions 2 3", 0));
    assert_int_equal(s.versions, 23);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_words_taken),
        cmocka_unit_test(test_words_refused),
        cmocka_unit_test(test_values_fit_headers),
        cmocka_unit_test(test_sizes_and_times),
        cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_upscaling_needs_a_stated_limit),
        cmocka_unit_test(test_last_section_wins),
        cmocka_unit_test(test_lower_is_order_free),
        cmocka_unit_test(test_htaccess_never_raises),
        cmocka_unit_test(test_an_htaccess_may_cap_the_unlimited),
        cmocka_unit_test(test_unbuilt_format_is_told_apart),
        cmocka_unit_test(test_line_shows_what_changes_bytes),
        cmocka_unit_test(test_urls_lose_their_slash),
    };
    int failed;

    apr_initialize();
    apr_pool_create(&pool, NULL);
    iip_settings_init(pool);
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    apr_pool_destroy(pool);
    apr_terminate();
    return failed != 0;
}
