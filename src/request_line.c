/* SPDX-License-Identifier: Apache-2.0
 * The canonical line of a resolved request: the key of caches and ETags. Numbers are digits, floats their bits: nothing
 * here depends on a locale. */
#include "request.h"
#include <math.h>
#include <string.h>

/* Written for every request, hence by hand: printf's family would be a third of a cached tile's work in user space.
 * Each returns where the next byte goes, or room once something did not fit; a NUL follows what did. */
static size_t put(char *out, size_t at, size_t room, const char *text, size_t n)
{
    if (at >= room || n >= room - at)
        return room;
    memcpy(out + at, text, n);
    out[at + n] = '\0';
    return at + n;
}

static size_t put_text(char *out, size_t at, size_t room, const char *text)
{
    return put(out, at, room, text, strlen(text));
}

static size_t put_unsigned(char *out, size_t at, size_t room, const char *before, uint64_t v)
{
    char digits[20], *d = digits + sizeof digits;

    do
        *--d = (char)('0' + v % 10);
    while (v /= 10);
    at = put_text(out, at, room, before);
    return put(out, at, room, d, (size_t)(digits + sizeof digits - d));
}

static size_t put_int(char *out, size_t at, size_t room, const char *before, int64_t v)
{
    if (v >= 0)
        return put_unsigned(out, at, room, before, (uint64_t)v);
    at = put_text(out, at, room, before);
    return put_unsigned(out, at, room, "-", -(uint64_t)v);
}

/* Numbers with a comma between, `before` in front of the first. */
static size_t put_list(char *out, size_t at, size_t room, const char *before, const int64_t *v, int n)
{
    for (int i = 0; i < n; i++)
        at = put_int(out, at, room, i ? "," : before, v[i]);
    return at;
}
#define PUT_LIST(before, ...)                                                                                          \
    put_list(out, at, room, before, (const int64_t[]){__VA_ARGS__},                                                    \
             (int)(sizeof((const int64_t[]){__VA_ARGS__}) / sizeof(int64_t)))

/* 12 places, without the noughts at the end; degrees are below 360. */
void iip_rotation_text(double degrees, char text[IIP_ROTATION_MAX])
{
    const int64_t one = 1000000000000, n = llround(degrees * 1e12);
    size_t at = put_int(text, 0, IIP_ROTATION_MAX, "", n / one);

    if (n % one == 0)
        return;
    put_int(text, at, IIP_ROTATION_MAX, "", one + n % one);
    text[at++] = '.'; /* in place of the one */
    for (at += 11; text[at] == '0'; at--)
        ;
    text[at + 1] = '\0';
}

static size_t line_int(char *out, size_t at, size_t room, const char *name, const int *v)
{
    return put_int(out, at, room, name, *v);
}

static size_t line_lower(char *out, size_t at, size_t room, const char *name, const iip_lower *v)
{
    iip_pair pair = iip_lower_value(v);

    return PUT_LIST(name, pair.a, pair.b);
}

/* Its length first: what a text holds cannot be taken for the next member. */
static size_t line_text(char *out, size_t at, size_t room, const char *name, const char *const *v)
{
    const char *text = *v ? *v : "";

    at = put_unsigned(out, at, room, name, strlen(text));
    at = put_text(out, at, room, ":");
    return put_text(out, at, room, text);
}

#define LINE_N(m)
#define LINE_K(m)                                                                                                      \
    at = _Generic(set->m, int : line_int, iip_lower : line_lower, const char * : line_text)(out, at, room, ";" #m "=", &set->m);
#define LINE(d, m, KIND, s, def, key, args, help) LINE_##key(m)

size_t iip_settings_line(const iip_settings *set, char *out, size_t at, size_t room)
{
    IIP_SETTINGS(LINE)
    return at;
}

size_t iip_request_room(const iip_request *rq)
{
    size_t room = IIP_LINE_MAX;

    for (int i = 0; i < rq->op_count; i++)
        room += rq->op[i].argc * sizeof ",00000000";
    return room;
}

size_t iip_request_line(const iip_request *rq, char *out, size_t room)
{
    const iip_rect *r = &rq->src;
    char turn[IIP_ROTATION_MAX];
    size_t at;

    iip_rotation_text(rq->rotate, turn);
    at = put_int(out, 0, room, "page=", rq->page);
    at = PUT_LIST(";angle=", rq->angle_h, rq->angle_v);
    at = PUT_LIST(";src=", r->x, r->y, r->w, r->h);
    at = PUT_LIST(";out=", rq->out_w, rq->out_h);
    at = put_int(out, at, room, ";flip=", rq->flip);
    at = put_text(out, at, room, ";turn=");
    at = put_text(out, at, room, turn);
    at = put_int(out, at, room, ";format=", rq->format);
    at = put_int(out, at, room, ";quality=", rq->quality);
    at = put_int(out, at, room, ";layers=", rq->layers);
    if (rq->region_kind == IIP_REGION_TILE) {
        at = PUT_LIST(";grid=", rq->grid.a, rq->grid.b);
        at = PUT_LIST(";tile=", rq->region[0].num, rq->region[1].num, rq->region[2].num, rq->region[3].num);
    }
    if (rq->within.w)
        at = PUT_LIST(";within=", rq->within.x, rq->within.y, rq->within.w, rq->within.h);
    if (rq->frame.w)
        at = PUT_LIST(";frame=", rq->frame.x, rq->frame.y, rq->frame.w, rq->frame.h);
    if (rq->ground)
        at = put_int(out, at, room, ";ground=", rq->ground);
    if (rq->textless)
        at = put_text(out, at, room, ";textless");
    if (rq->progressive)
        at = put_text(out, at, room, ";progressive");
    if (rq->recode)
        at = put_text(out, at, room, ";recode");
    if (rq->part.b) {
        at = put_int(out, at, room, ";part=", rq->part.a);
        at = put_int(out, at, room, ":", rq->part.b);
    }
    if (rq->watermark) {
        int64_t id[4];

        iip_source_shared(rq->watermark, id);
        at = put_unsigned(out, at, room, ";watermark=", (uint64_t)id[0]);
        at = PUT_LIST(",", id[1], id[2], id[3], rq->set->watermark->opacity, rq->set->watermark->chance);
    }
    for (int i = 0; i < rq->op_count; i++) {
        at = put_unsigned(out, at, room, ";op=", rq->op[i].kind);
        for (unsigned k = 0; k < rq->op[i].argc; k++) {
            char hex[9] = ",";
            uint32_t bits;

            memcpy(&bits, &rq->op[i].arg[k], sizeof bits);
            for (int d = 0; d < 8; d++)
                hex[1 + d] = "0123456789abcdef"[bits >> (28 - 4 * d) & 15];
            at = put(out, at, room, hex, sizeof hex);
        }
    }
    if (at < room)
        at = iip_settings_line(rq->set, out, at, room);
    return at < room ? at : 0;
}
