/* SPDX-License-Identifier: Apache-2.0
 * Texts out of XMP packets. */
#include "codec/codec.h"
#include <apr_strings.h>
#include <string.h>

#define MOST 8192 /* octets of a text */

typedef struct {
    const char *at, *end;
} span;

static const char *find(span s, const char *what)
{
    const char *at = s.at < s.end ? memmem(s.at, (size_t)(s.end - s.at), what, strlen(what)) : NULL;

    return at;
}

static int is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

/* Behind "<name ...>"; up to is where the element ends. NULL: there is none, or an empty one. */
static const char *element(span s, const char *name, const char **up_to, apr_pool_t *p)
{
    const char *open = apr_pstrcat(p, "<", name, NULL), *close = apr_pstrcat(p, "</", name, ">", NULL), *at;
    const size_t n = strlen(open);

    for (; (at = find(s, open)); s.at = at + n) {
        const char *tag = memchr(at, '>', (size_t)(s.end - at));

        if (!tag || (!is_space(at[n]) && at[n] != '>')) /* another name that begins so */
            continue;
        if (tag[-1] == '/')
            return NULL;
        *up_to = find((span){tag, s.end}, close);
        return *up_to ? tag + 1 : NULL;
    }
    return NULL;
}

/* name="..." */
static span attribute(span s, const char *name)
{
    const size_t n = strlen(name);
    const char *at, *end;

    for (; (at = find(s, name)); s.at = at + n) {
        if (s.end - at < (ptrdiff_t)n + 3 || !is_space(at[-1]) || at[n] != '=' ||
            (at[n + 1] != '"' && at[n + 1] != '\''))
            continue;
        end = memchr(at + n + 2, at[n + 1], (size_t)(s.end - at) - n - 2);
        return end ? (span){at + n + 2, end} : (span){NULL, NULL};
    }
    return (span){NULL, NULL};
}

/* Appends s unescaped, blanks at both ends left out; the new length. */
static size_t append(char *out, size_t at, span s)
{
    static const struct {
        const char *entity;
        char c;
    } rows[] = {{"&lt;", '<'}, {"&gt;", '>'}, {"&quot;", '"'}, {"&apos;", '\''}, {"&amp;", '&'}};

    while (s.at < s.end && is_space(*s.at))
        s.at++;
    while (s.at < s.end && is_space(s.end[-1]))
        s.end--;
    while (s.at < s.end && at < MOST) {
        size_t i = 0, step = 1;

        out[at] = *s.at;
        for (; *s.at == '&' && i < sizeof rows / sizeof *rows; i++) {
            step = strlen(rows[i].entity);
            if ((size_t)(s.end - s.at) >= step && memcmp(s.at, rows[i].entity, step) == 0) {
                out[at] = rows[i].c;
                break;
            }
            step = 1;
        }
        at += out[at] != '\0';
        s.at += step;
    }
    return at;
}

const char *iip_xmp_text(const void *xmp, size_t n, const char *property, apr_pool_t *p)
{
    span all, item;
    const char *end;
    char *out;
    size_t at = 0;

    if (n < 16)
        return NULL;
    all = (span){(const char *)xmp + 1, (const char *)xmp + n}; /* what stands before a match can be looked at */
    out = apr_palloc(p, MOST + 4);
    if ((item.at = element(all, property, &end, p))) {
        span list = {item.at, end};

        if (!find(list, "<rdf:li"))
            at = append(out, 0, list);
        while ((item.at = element(list, "rdf:li", &item.end, p)) && at < MOST) {
            if (at) {
                memcpy(out + at, ", ", 2);
                at += 2;
            }
            at = append(out, at, item);
            list.at = item.end;
        }
    } else if ((item = attribute(all, property)).at) {
        at = append(out, 0, item);
    }
    out[at] = '\0';
    return at ? out : NULL;
}
