/* SPDX-License-Identifier: Apache-2.0
 * A JSON object as somebody else wrote it (RFC 8259): is it one, and what are its members? */
#include "json.h"
#include "path.h"
#include <string.h>

enum { DEPTH = 32 };

static const char *spaces(const char *s)
{
    return s + strspn(s, " \t\r\n");
}

/* Each reads what begins at s and returns where it ends, NULL if it is none. */
static const char *read_value(const char *s, int depth);

/* What stands behind a backslash. */
static const char *read_escape(const char *s)
{
    if (*s == 'u')
        return strspn(s + 1, "0123456789abcdefABCDEF") >= 4 ? s + 5 : NULL;
    return *s && strchr("\"\\/bfnrt", *s) ? s + 1 : NULL;
}

static const char *read_string(const char *s)
{
    if (*s++ != '"')
        return NULL;
    while (s && *s != '"') {
        if ((unsigned char)*s < 0x20)
            return NULL;
        s = *s == '\\' ? read_escape(s + 1) : s + 1;
    }
    return s ? s + 1 : NULL;
}

static const char *read_digits(const char *s)
{
    size_t n = strspn(s, "0123456789");

    return n ? s + n : NULL;
}

static const char *read_number(const char *s)
{
    s += *s == '-';
    s = *s == '0' ? s + 1 : read_digits(s);
    if (s && *s == '.')
        s = read_digits(s + 1);
    if (s && (*s == 'e' || *s == 'E')) {
        s++;
        s = read_digits(s + (*s == '+' || *s == '-'));
    }
    return s;
}

static const char *read_word(const char *s)
{
    static const char *const words[] = {"true", "false", "null"};

    for (int i = 0; i < 3; i++)
        if (strncmp(s, words[i], strlen(words[i])) == 0)
            return s + strlen(words[i]);
    return NULL;
}

/* A member's name and the colon behind it. */
static const char *read_name(const char *s)
{
    s = read_string(s);
    return s && *(s = spaces(s)) == ':' ? spaces(s + 1) : NULL;
}

/* Of an object or an array; s is behind what opened it. */
static const char *read_list(const char *s, char end, int depth)
{
    s = spaces(s);
    if (*s == end)
        return s + 1;
    for (;;) {
        if (end == '}' && !(s = read_name(s)))
            return NULL;
        if (!(s = read_value(s, depth)))
            return NULL;
        s = spaces(s);
        if (*s == end)
            return s + 1;
        if (*s++ != ',')
            return NULL;
        s = spaces(s);
    }
}

static const char *read_value(const char *s, int depth)
{
    if (*s == '{' || *s == '[')
        return depth < DEPTH ? read_list(s + 1, *s == '{' ? '}' : ']', depth + 1) : NULL;
    if (*s == '"')
        return read_string(s);
    return *s == '-' || (*s >= '0' && *s <= '9') ? read_number(s) : read_word(s);
}

int iip_json_is_object(const char *text)
{
    const char *s = spaces(text);

    return iip_utf8_good(text) && *s == '{' && (s = read_value(s, 0)) && !*spaces(s);
}

int iip_json_next(const char **at, iip_json_member *m)
{
    const char *s = spaces(*at);

    if (*s == '{' || *s == '[' || *s == ',')
        s = spaces(s + 1);
    if (*s == '}' || *s == ']')
        return 0;
    m->name = NULL;
    m->name_length = 0;
    if (m->named) {
        m->name = s + 1;
        m->name_length = (size_t)(read_string(s) - s) - 2;
        s = read_name(s);
    }
    m->value = s;
    *at = read_value(s, 0);
    m->value_length = (size_t)(*at - s);
    return 1;
}

int iip_json_has(const char *text, const iip_json_member *name)
{
    iip_json_member m = {.named = 1};

    while (iip_json_next(&text, &m))
        if (m.name_length == name->name_length && memcmp(m.name, name->name, m.name_length) == 0)
            return 1;
    return 0;
}
