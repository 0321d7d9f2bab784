/* SPDX-License-Identifier: Apache-2.0
 * The JSON writer (R43, spec/security.md section 5). */
#include "json.h"
#include "path.h"
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static void put(iip_json *j, const char *s, size_t n)
{
    if (j->room - j->length <= n) {
        size_t room = (j->length + n) * 2 + 256;
        char *text = apr_palloc(j->pool, room);

        memcpy(text, j->text, j->length);
        j->text = text;
        j->room = room;
    }
    memcpy(j->text + j->length, s, n);
    j->length += n;
}

static void put_escape(iip_json *j, unsigned code)
{
    char text[8];

    put(j, text, (size_t)snprintf(text, sizeof text, "\\u%04x", code));
}

static void put_string(iip_json *j, const char *value)
{
    int latin = !iip_utf8_good(value);

    put(j, "\"", 1);
    for (const unsigned char *s = (const unsigned char *)value; *s; s++) {
        if (*s == '"' || *s == '\\')
            put(j, (char[]){'\\', (char)*s}, 2);
        else if (*s < 0x20 || *s == 0x7f || *s == '<' || (latin && *s >= 0x80))
            put_escape(j, *s);
        else if (s[0] == 0xe2 && s[1] == 0x80 && (s[2] == 0xa8 || s[2] == 0xa9)) {
            put_escape(j, s[2] == 0xa8 ? 0x2028 : 0x2029); /* line ends to a script, not to JSON */
            s += 2;
        } else
            put(j, (const char *)s, 1);
    }
    put(j, "\"", 1);
}

static void begin(iip_json *j, const char *key)
{
    if (!j->first)
        put(j, ",", 1);
    j->first = 0;
    if (key) {
        put_string(j, key);
        put(j, ":", 1);
    }
}

static void open_level(iip_json *j, const char *key, int array)
{
    begin(j, key);
    put(j, array ? "[" : "{", 1);
    j->arrays = j->arrays << 1 | (unsigned)array;
    j->first = 1;
}

void iip_json_init(iip_json *j, apr_pool_t *p)
{
    *j = (iip_json){.pool = p, .text = apr_palloc(p, 1024), .room = 1024, .first = 1};
}

void iip_json_object(iip_json *j, const char *key)
{
    open_level(j, key, 0);
}

void iip_json_array(iip_json *j, const char *key)
{
    open_level(j, key, 1);
}

void iip_json_end(iip_json *j)
{
    put(j, j->arrays & 1 ? "]" : "}", 1);
    j->arrays >>= 1;
    j->first = 0;
}

void iip_json_string(iip_json *j, const char *key, const char *value)
{
    begin(j, key);
    put_string(j, value);
}

void iip_json_raw(iip_json *j, const char *key, const char *value, size_t n)
{
    begin(j, key);
    put(j, value, n);
}

void iip_json_integer(iip_json *j, const char *key, int64_t value)
{
    char text[24];

    begin(j, key);
    put(j, text, (size_t)snprintf(text, sizeof text, "%" PRId64, value));
}

void iip_json_number(iip_json *j, const char *key, double value)
{
    char text[40];
    int64_t one = 1;
    int places = 0, length;

    for (; value * (double)one < 1e8 && places < 18; places++)
        one *= 10;
    /* whole numbers: no locale has a say in them */
    length = snprintf(text, sizeof text, "%" PRId64 ".%0*" PRId64, (int64_t)(value * (double)one + 0.5) / one, places,
                      (int64_t)(value * (double)one + 0.5) % one);
    while (text[length - 1] == '0')
        length--;
    begin(j, key);
    put(j, text, (size_t)(length - (text[length - 1] == '.')));
}

const char *iip_json_text(iip_json *j)
{
    put(j, "", 1);
    j->length--;
    return j->text;
}

const char *iip_json_quote(const char *value, apr_pool_t *p)
{
    iip_json j;

    iip_json_init(&j, p);
    put_string(&j, value);
    return iip_json_text(&j);
}
