/* SPDX-License-Identifier: Apache-2.0
 * The grammar of model and need: see items.h. */
#include "jpip/items.h"
#include "jpip/bins.h"
#include "jpip/query.h"
#include <string.h>

/* Any number of digits; too large a number is no error here, it matches nothing. */
static int number(const char **s, int64_t *v)
{
    const char *t = *s;

    for (*v = 0; *t >= '0' && *t <= '9'; t++)
        *v = *v > JPIP_ID_MAX ? *v : *v * 10 + (*t - '0');
    if (t == *s)
        return 0;
    *s = t;
    return 1;
}

/* `a`, `a-b`, `a-`, `*`. */
static int span(const char **s, jpip_span *out)
{
    *out = (jpip_span){0, JPIP_ID_MAX};
    if (**s == '*') {
        ++*s;
        return 1;
    }
    if (!number(s, &out->a))
        return 0;
    out->b = out->a;
    if (**s != '-')
        return 1;
    out->b = JPIP_ID_MAX;
    ++*s;
    return **s < '0' || **s > '9' || (number(s, &out->b) && out->b >= out->a);
}

static int qualifier(const char **s, jpip_item *it)
{
    jpip_range r;

    it->streams = ++*s;
    do
        if (!jpip_range_read(s, 1, &r) || !r.step)
            return 0;
    while (**s == ';' && ++*s);
    if (**s != ']')
        return 0;
    ++*s;
    *s += **s == ',';
    return 1;
}

static int explicit_id(const char **s, jpip_item *it)
{
    static const struct {
        char letter;
        int cls;
    } bins[] = {{'H', JPIP_TILE_HEADER}, {'M', JPIP_METADATA}, {'P', JPIP_PRECINCT}, {'T', JPIP_TILE}};

    if (!strncmp(*s, "Hm", 2)) {
        *s += 2;
        it->cls = JPIP_MAIN_HEADER;
        it->id = (jpip_span){0, 0};
        return 1;
    }
    for (size_t i = 0; i < sizeof bins / sizeof *bins; i++)
        if (**s == bins[i].letter) {
            ++*s;
            it->cls = bins[i].cls;
            return span(s, &it->id);
        }
    return 0;
}

static int implicit_id(const char **s, jpip_item *it)
{
    static const char letters[] = "tcrp";
    const char *start = *s;

    it->cls = JPIP_PRECINCT;
    it->implicit = 1;
    for (int i = 0; i < 4; i++) {
        it->part[i] = (jpip_span){0, JPIP_ID_MAX};
        if (**s == letters[i] && (++*s, !span(s, &it->part[i])))
            return 0;
    }
    return *s != start;
}

int jpip_item_next(const char **s, jpip_item *it)
{
    if (!**s)
        return 0;
    if (**s == '[' && !qualifier(s, it))
        return -1;
    it->minus = **s == '-';
    *s += it->minus;
    it->implicit = 0;
    it->bytes = it->layers = -1;
    if (!**s)
        return -1;
    if (**s == '*') { /* all of a code-stream */
        ++*s;
        it->cls = -1;
    } else if (!(strchr("tcrp", **s) ? implicit_id(s, it) : explicit_id(s, it))) {
        return -1;
    }
    if (**s == ':') {
        int64_t *to = *++*s == 'L' ? &it->layers : &it->bytes;

        *s += **s == 'L';
        if (!number(s, to))
            return -1;
    }
    if (**s == ',')
        return *++*s ? 1 : -1;
    return **s ? -1 : 1;
}

int jpip_items_good(const char *s)
{
    jpip_item it = {0};
    int rc;

    while ((rc = jpip_item_next(&s, &it)) == 1)
        ;
    return rc == 0;
}

int jpip_tile_part_next(const char **s, jpip_tile_part *tp)
{
    if (!**s)
        return 0;
    tp->minus = **s == '-';
    *s += tp->minus;
    if (!span(s, &tp->tile) || **s != '.')
        return -1;
    ++*s;
    if (!span(s, &tp->part))
        return -1;
    if (**s == ',')
        return *++*s ? 1 : -1;
    return **s ? -1 : 1;
}

int jpip_tile_parts_good(const char *s)
{
    jpip_tile_part tp;
    int rc;

    while ((rc = jpip_tile_part_next(&s, &tp)) == 1)
        ;
    return rc == 0;
}
