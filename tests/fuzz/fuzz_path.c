/* SPDX-License-Identifier: Apache-2.0
 * Any bytes as a path, an identifier, an Accept header, a JSON string. What passes must be safe, and encoding must be
 * undone by decoding. */
#include "accept.h"
#include "json.h"
#include "path.h"
#include <apr_general.h>
#include <apr_strings.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void check(int good)
{
    if (!good)
        abort();
}

static void check_name(const char *name)
{
    int segments = 1;

    check(*name && *name != '/' && *name != '.' && strlen(name) <= 1024 && !strchr(name, '\\'));
    check(iip_utf8_good(name));
    check(!strstr(name, "//") && !strstr(name, "/.") && name[strlen(name) - 1] != '/');
    for (const char *s = name; *s; s++) {
        check((unsigned char)*s >= 0x20 && *s != 0x7f);
        segments += *s == '/';
    }
    check(segments <= 32);
}

static void check_json(const char *text, apr_pool_t *p)
{
    iip_json j;
    const char *s;

    iip_json_init(&j, p);
    iip_json_string(&j, NULL, text);
    s = iip_json_text(&j);
    check(iip_utf8_good(s) && s[0] == '"');
    for (s++; *s != '"'; s++) {
        check((unsigned char)*s >= 0x20 && *s != 0x7f && *s != '<');
        if (*s == '\\')
            s++;
    }
    check(s[1] == '\0');
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static apr_pool_t *root;
    apr_pool_t *p;
    const char *text, *name, *seg[8];
    int slash, count;

    if (!root) {
        apr_initialize();
        apr_pool_create(&root, NULL);
    }
    apr_pool_create(&p, root);
    if ((name = iip_path_decode((const char *)data, n, p))) {
        check(strcmp(iip_path_decode(iip_path_encode(name, p), strlen(iip_path_encode(name, p)), p), name) == 0);
        if (iip_path_good(name))
            check_name(name);
    }
    text = apr_pstrmemdup(p, (const char *)data, n);
    if ((count = iip_path_split(text, seg, 8, &slash, p)) >= 0)
        for (int i = 0; i < count; i++)
            check(seg[i][0] && !strchr(seg[i], '/'));
    check_json(text, p);
    for (int i = 0; i < 2; i++) {
        iip_accept a = iip_accept_type(text, i ? "image/png" : "application/json");

        check(a.quality >= 0 && a.quality <= 1000 && a.named >= 0);
    }
    check(!iip_accept_json(text) || strstr(text, "/"));
    iip_accept_profile(text, "http://iiif.io/api/image/3/context.json");
    apr_pool_destroy(p);
    return 0;
}
