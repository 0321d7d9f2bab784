/* SPDX-License-Identifier: Apache-2.0
 * The name of an answer's bytes, the same on every machine that shares the files. */
#include "serve.h"
#include <apr_siphash.h>
#include <string.h>

const void *iip_serve_shared_key(const iip_source_t *s, const char *line, size_t len, size_t *klen, apr_pool_t *p)
{
    const size_t name = strlen(s->name) + 1;
    int64_t id[5] = {[4] = (int64_t)s->id.generation};
    char *key = apr_palloc(p, sizeof IIP_VERSION + name + sizeof id + len), *at = key;

    iip_source_shared(s, id);
    memcpy(at, IIP_VERSION, sizeof IIP_VERSION);
    at += sizeof IIP_VERSION;
    memcpy(at, s->name, name);
    at += name;
    for (int i = 0; i < 5; i++)
        for (int k = 0; k < 8; k++)
            *at++ = (char)((uint64_t)id[i] >> 8 * k); /* alike on machines of any kind */
    memcpy(at, line, len);
    *klen = (size_t)(at - key) + len;
    return key;
}

void iip_serve_etag(const iip_source_t *s, const char *line, size_t len, char tag[33])
{
    static const unsigned char keys[2][APR_SIPHASH_KSIZE] = {"mod_iip etag  1", "mod_iip etag  2"};
    static const char hex[] = "0123456789abcdef";
    char text[1200];
    size_t at = 0, n = strlen(s->name);
    int64_t id[4];

    /* A name longer than a good one (httpd mapped it) still counts by its last part; the inode does the rest. */
    if (n > 1024) {
        at = n - 1024;
        n = 1024;
    }
    memcpy(text, s->name + at, n);
    at = n;
    iip_source_shared(s, id);
    memcpy(text + at, id, sizeof id);
    at += sizeof id;
    memcpy(text + at, IIP_VERSION, sizeof IIP_VERSION);
    at += sizeof IIP_VERSION;
    if (len <= sizeof text - at) {
        memcpy(text + at, line, len);
        at += len;
    } else {
        for (int k = 0; k < 2; k++) {
            apr_uint64_t h = apr_siphash24(line, len, keys[k]);

            memcpy(text + at, &h, sizeof h);
            at += sizeof h;
        }
    }
    for (int k = 0; k < 2; k++) {
        apr_uint64_t h = apr_siphash24(text, at, keys[k]);

        for (int i = 0; i < 16; i++)
            tag[16 * k + i] = hex[h >> (60 - 4 * i) & 15];
    }
    tag[32] = '\0';
}
