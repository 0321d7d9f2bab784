/* SPDX-License-Identifier: Apache-2.0
 * Names of files: decoded once, refused, never repaired (spec/security.md section 3). */
#include "path.h"
#include <apr_strings.h>
#include <string.h>

#define MAX_NAME     1024
#define MAX_SEGMENTS 32

static int hex(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

int iip_path_decode_to(char *out, const char *s, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        char c = s[i];

        if (c == '%') {
            int high = n - i > 2 ? hex(s[i + 1]) : -1;
            int low = high >= 0 ? hex(s[i + 2]) : -1;

            if (low < 0)
                return 0;
            c = (char)(high << 4 | low);
            i += 2;
        }
        if (c == '\0')
            return 0;
        *out++ = c;
    }
    *out = '\0';
    return 1;
}

const char *iip_path_decode(const char *s, size_t n, apr_pool_t *p)
{
    char *out = apr_palloc(p, n + 1);

    return iip_path_decode_to(out, s, n) ? out : NULL;
}

const char *iip_path_decode_all(const char *s, apr_pool_t *p)
{
    return strchr(s, '%') ? iip_path_decode(s, strlen(s), p) : s;
}

/* Octets of the well-formed UTF-8 character at s, 0 if it is none (overlong forms and surrogates are none). The rows
 * are those of the Unicode standard's table 3-7. */
static size_t utf8_length(const unsigned char *s)
{
    static const struct {
        unsigned char first, last, low, high, length; /* of the first octet, of the second */
    } rows[] = {{0x01, 0x7f, 0, 0, 1},       {0xc2, 0xdf, 0x80, 0xbf, 2}, {0xe0, 0xe0, 0xa0, 0xbf, 3},
                {0xe1, 0xec, 0x80, 0xbf, 3}, {0xed, 0xed, 0x80, 0x9f, 3}, {0xee, 0xef, 0x80, 0xbf, 3},
                {0xf0, 0xf0, 0x90, 0xbf, 4}, {0xf1, 0xf3, 0x80, 0xbf, 4}, {0xf4, 0xf4, 0x80, 0x8f, 4}};

    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        if (s[0] < rows[i].first || s[0] > rows[i].last)
            continue;
        if (rows[i].length > 1 && (s[1] < rows[i].low || s[1] > rows[i].high))
            return 0;
        for (size_t k = 2; k < rows[i].length; k++)
            if ((s[k] & 0xc0) != 0x80)
                return 0;
        return rows[i].length;
    }
    return 0;
}

int iip_utf8_good(const char *s)
{
    for (size_t step; *s; s += step)
        if (!(step = utf8_length((const unsigned char *)s)))
            return 0;
    return 1;
}

int iip_path_good(const char *name)
{
    const unsigned char *s = (const unsigned char *)name;
    size_t length = strnlen(name, MAX_NAME + 1), step;
    int segments = 1;

    if (length > MAX_NAME)
        return 0;
    /* "c:/x". A scheme ("http://") falls by its empty segment, and "ark:/12025/x" is a good name (R10). */
    if (((s[0] | 0x20) >= 'a' && (s[0] | 0x20) <= 'z') && s[1] == ':')
        return 0;
    for (const unsigned char *at = s, *start = s;; at += step) {
        if (at == start && (*at == '/' || *at == '.' || *at == '\0'))
            return 0;
        if (*at == '\0')
            return segments <= MAX_SEGMENTS;
        if (*at < 0x20 || *at == 0x7f || *at == '\\' || !(step = utf8_length(at)))
            return 0;
        if (*at == '/') {
            start = at + 1;
            segments++;
        }
    }
}

const char *iip_path_below(const char *top, const char *name)
{
    size_t n;

    top += *top == '/' && *name != '/';
    n = strlen(top);
    return strncmp(name, top, n) == 0 && name[n] == '/' ? name + n + 1 : name;
}

const char *iip_path_encode(const char *name, apr_pool_t *p)
{
    static const char bare[] = "-._~:;,!$&'()*+=";
    static const char digit[] = "0123456789ABCDEF";
    char *out = apr_palloc(p, strlen(name) * 3 + 1), *to = out;

    for (const char *s = name; *s; s++) {
        unsigned char c = (unsigned char)*s, letter = c | 0x20;

        if ((letter >= 'a' && letter <= 'z') || (c >= '0' && c <= '9') || strchr(bare, c)) {
            *to++ = *s;
            continue;
        }
        *to++ = '%';
        *to++ = digit[c >> 4];
        *to++ = digit[c & 15];
    }
    *to = '\0';
    return out;
}

int iip_path_split(const char *path, const char **seg, int max, int *slash, apr_pool_t *p)
{
    int n = 0;

    for (;;) {
        const char *start = path + strspn(path, "/");
        size_t length = strcspn(start, "/");

        *slash = start > path;
        if (length == 0)
            return n;
        if (n == max)
            return -1;
        seg[n++] = apr_pstrmemdup(p, start, length);
        path = start + length;
    }
}

int iip_path_last(const char *path, iip_segment *seg, int max)
{
    const char *end = path + strlen(path);
    int n = 0;

    while (n < max) {
        const char *start;

        while (end > path && end[-1] == '/')
            end--;
        for (start = end; start > path && start[-1] != '/'; start--)
            ;
        if (start == end)
            break;
        memmove(seg + 1, seg, (size_t)(max - 1) * sizeof *seg);
        seg[0] = (iip_segment){start, (size_t)(end - start)};
        end = start;
        n++;
    }
    return n;
}

char *iip_path_slashes(const char *path, size_t n, apr_pool_t *p)
{
    char *out = apr_pstrmemdup(p, path, n), *to = out;

    for (const char *s = out; *s; s++) {
        if (s[0] == '%' && s[1] == '2' && (s[2] == 'F' || s[2] == 'f')) {
            *to++ = '/';
            s += 2;
        } else {
            *to++ = *s;
        }
    }
    *to = '\0';
    return out;
}
