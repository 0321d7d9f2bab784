/* SPDX-License-Identifier: Apache-2.0
 * Text that grows, charged to its request. */
#include "text.h"
#include "path.h"
#include <apr_strings.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

static apr_status_t drop(void *text)
{
    iip_text *t = text;

    free(t->data);
    iip_budget_back(t->b, t->room);
    t->data = NULL;
    t->room = 0;
    return APR_SUCCESS;
}

void iip_text_init(iip_text *t, iip_budget *b, apr_pool_t *p, iip_error *e)
{
    memset(t, 0, sizeof *t);
    t->b = b;
    t->e = e;
    apr_pool_cleanup_register(p, t, drop, apr_pool_cleanup_null);
}

/* Room for n more and a NUL. */
static int reserve(iip_text *t, size_t n)
{
    size_t room = t->room ? t->room : 1024;
    char *data;

    if (t->status != IIP_OK)
        return 0;
    while (room - t->length <= n)
        room *= 2;
    if (room == t->room)
        return 1;
    if ((t->status = iip_budget_take(t->b, room - t->room, t->e)) != IIP_OK)
        return 0;
    if (!(data = realloc(t->data, room))) {
        iip_budget_back(t->b, room - t->room);
        t->status = iip_fail(t->e, IIP_E_MEMORY, APR_ENOMEM, "no %zu bytes for a text", room);
        return 0;
    }
    t->data = data;
    t->room = room;
    return 1;
}

void iip_text_put(iip_text *t, const void *data, size_t n)
{
    if (!reserve(t, n))
        return;
    memcpy(t->data + t->length, data, n);
    t->length += n;
    t->data[t->length] = '\0';
}

void iip_text_print(iip_text *t, const char *fmt, ...)
{
    char line[1001];
    va_list ap;
    int n;

    va_start(ap, fmt);
    n = apr_vsnprintf(line, sizeof line, fmt, ap);
    va_end(ap);
    iip_text_put(t, line, n < 0 ? 0 : (size_t)n);
}

const char *iip_text_utf8(const char *s, apr_pool_t *p)
{
    char *out, *to;

    if (iip_utf8_good(s))
        return s;
    out = to = apr_palloc(p, 2 * strlen(s) + 1);
    for (; *s; s++) {
        unsigned char c = (unsigned char)*s;

        if (c >= 0x80)
            *to++ = (char)(0xc0 | c >> 6);
        *to++ = (char)(c >= 0x80 ? 0x80 | (c & 0x3f) : c);
    }
    *to = '\0';
    return out;
}

void iip_text_xml(iip_text *t, const char *s, apr_pool_t *p)
{
    static const struct {
        char c;
        const char *entity;
    } rows[] = {{'&', "&amp;"}, {'<', "&lt;"}, {'>', "&gt;"}, {'"', "&quot;"}, {'\'', "&#39;"}};

    for (s = iip_text_utf8(s, p); *s; s++) {
        size_t i = 0;

        while (i < sizeof rows / sizeof *rows && rows[i].c != *s)
            i++;
        if (i < sizeof rows / sizeof *rows)
            iip_text_put(t, rows[i].entity, strlen(rows[i].entity));
        else if ((unsigned char)*s >= 0x20 || *s == '\t' || *s == '\n')
            iip_text_put(t, s, 1);
    }
}
