/* SPDX-License-Identifier: Apache-2.0
 * Accept: ranges split at commas, parameters at semicolons, both outside of quoted strings. */
#include "accept.h"
#include <string.h>
#include <strings.h>

typedef struct {
    const char *at;
    size_t length;
} text;

static text trim(const char *at, size_t length)
{
    for (; length && strchr(" \t", *at); length--)
        at++;
    while (length && strchr(" \t", at[length - 1]))
        length--;
    return (text){at, length};
}

/* The part of s up to the next separator that stands outside of quotes; *s goes behind it. 0 at the end. */
static int cut(const char **s, const char *end, char separator, text *part)
{
    const char *start = *s, *at = start;
    int quoted = 0;

    if (start > end)
        return 0;
    for (; at < end && (quoted || *at != separator); at++) {
        if (*at == '"')
            quoted = !quoted;
        else if (quoted && *at == '\\' && at + 1 < end)
            at++;
    }
    *part = trim(start, (size_t)(at - start));
    *s = at + 1;
    return 1;
}

static int equal(text a, const char *word)
{
    return a.length == strlen(word) && strncasecmp(a.at, word, a.length) == 0;
}

/* Value of the parameter if it has this name. */
static int parameter(text p, const char *name, text *value)
{
    const char *sign = memchr(p.at, '=', p.length);

    if (!sign || !equal(trim(p.at, (size_t)(sign - p.at)), name))
        return 0;
    *value = trim(sign + 1, p.length - (size_t)(sign + 1 - p.at));
    return 1;
}

/* "0.5" in thousandths; anything that is no quality counts as 1 like none at all. */
static int thousandths(text q)
{
    int value = 0;

    if (q.length == 0 || q.length > 5 || (q.at[0] != '0' && q.at[0] != '1') || (q.length > 1 && q.at[1] != '.'))
        return 1000;
    for (size_t i = 0; i < 5; i++) {
        char c = i < q.length ? q.at[i] : '0';

        if (i == 1)
            continue;
        if (c < '0' || c > '9')
            return 1000;
        value = value * 10 + (c - '0');
    }
    return value < 1000 ? value : 1000;
}

/* The next range: its type and quality, and the profile parameter if it has one. */
static int next_range(const char **s, const char *stop, text *type, int *quality, text *profile)
{
    const char *at, *end;
    text range, part, q;

    if (!cut(s, stop, ',', &range))
        return 0;
    at = range.at;
    end = range.at + range.length;
    *quality = 1000;
    *profile = (text){"", 0};
    cut(&at, end, ';', type);
    while (cut(&at, end, ';', &part)) {
        if (parameter(part, "q", &q))
            *quality = thousandths(q);
        else
            parameter(part, "profile", profile);
    }
    return 1;
}

iip_accept iip_accept_type(const char *accept, const char *type)
{
    const char *s = accept ? accept : "", *stop = s + strlen(s);
    size_t family = strcspn(type, "/") + 1; /* "image/" */
    int rank = 0, place = 0, quality;
    iip_accept best = {*s ? 0 : 1000, 0};
    text range, profile;

    while (next_range(&s, stop, &range, &quality, &profile)) {
        int kind = equal(range, type) ? 3
                   : range.length == family + 1 && range.at[family] == '*' && strncasecmp(range.at, type, family) == 0
                       ? 2
                   : equal(range, "*/*") ? 1
                                         : 0;

        place++;
        if (kind == 0 || kind < rank || (kind == rank && quality <= best.quality))
            continue;
        rank = kind;
        best = (iip_accept){quality, kind == 3 ? place : 0};
    }
    return best;
}

int iip_accept_json(const char *accept)
{
    static const char *const json[] = {"application/json", "application/ld+json"};
    int text_quality = 0, json_quality = 0;

    for (int i = 0; i < 2; i++) {
        iip_accept a = iip_accept_type(accept, json[i]);
        iip_accept t = iip_accept_type(accept, i ? "text/plain" : "text/html");

        if (a.named && a.quality > json_quality)
            json_quality = a.quality;
        if (t.quality > text_quality)
            text_quality = t.quality;
    }
    return json_quality > 0 && json_quality >= text_quality;
}

int iip_accept_profile(const char *accept, const char *uri)
{
    const char *s = accept ? accept : "", *stop = s + strlen(s);
    size_t length = strlen(uri);
    text range, profile;
    int quality;

    while (next_range(&s, stop, &range, &quality, &profile))
        for (size_t i = 0; quality && i + length <= profile.length; i++)
            if (memcmp(profile.at + i, uri, length) == 0 && (i == 0 || strchr("\" ", profile.at[i - 1])) &&
                (i + length == profile.length || strchr("\" ", profile.at[i + length])))
                return 1;
    return 0;
}
