/* SPDX-License-Identifier: Apache-2.0
 * The canonical line of a resolved request: the key of caches and ETags. Numbers are digits, floats their bits: nothing
 * here depends on a locale. */
#include "put.h"
#include "request.h"
#include <math.h>
#include <string.h>

/* Written for every request and hashed several times: what is as it nearly always is says nothing. Each returns where
 * the next byte goes, or room once something did not fit; there is always a byte more than is written. */
static inline __attribute__((always_inline)) size_t put(char *out, size_t at, size_t room, const char *text, size_t n)
{
    if (at >= room || n >= room - at)
        return room;
    memcpy(out + at, text, n);
    return at + n;
}

static inline __attribute__((always_inline)) size_t put_text(char *out, size_t at, size_t room, const char *text)
{
    return put(out, at, room, text, strlen(text));
}

static size_t put_unsigned(char *out, size_t at, size_t room, uint64_t v)
{
    if (at >= room || iip_put_length(v) >= room - at)
        return room;
    return (size_t)(iip_put_unsigned(out + at, v) - out);
}

static size_t put_int(char *out, size_t at, size_t room, int64_t v)
{
    if (v >= 0)
        return put_unsigned(out, at, room, (uint64_t)v);
    at = put(out, at, room, "-", 1);
    return put_unsigned(out, at, room, -(uint64_t)v);
}

/* Numbers with a comma between. */
static size_t put_list(char *out, size_t at, size_t room, const int64_t *v, int n)
{
    for (int i = 0; i < n; i++) {
        if (i)
            at = put(out, at, room, ",", 1);
        at = put_int(out, at, room, v[i]);
    }
    return at;
}
#define PUT_TEXT(text) at = put_text(out, at, room, text)
#define PUT_INT(before, v)                                                                                             \
    do {                                                                                                               \
        PUT_TEXT(before);                                                                                              \
        at = put_int(out, at, room, v);                                                                                \
    } while (0)
#define PUT_LIST(before, ...)                                                                                          \
    do {                                                                                                               \
        PUT_TEXT(before);                                                                                              \
        at = put_list(out, at, room, (const int64_t[]){__VA_ARGS__},                                                   \
                      (int)(sizeof((const int64_t[]){__VA_ARGS__}) / sizeof(int64_t)));                                \
    } while (0)

/* 12 places, without the noughts at the end; degrees are below 360. */
void iip_rotation_text(double degrees, char text[IIP_ROTATION_MAX])
{
    const int64_t one = 1000000000000, n = llround(degrees * 1e12);
    char *at = iip_put_int(text, n / one);

    if (n % one) {
        char *point = at;

        at = iip_put_int(at, one + n % one);
        *point = '.'; /* in place of the one */
        while (at[-1] == '0')
            at--;
    }
    *at = '\0';
}

static int same_int(const int *a, const int *b)
{
    return *a == *b;
}

static size_t line_int(char *out, size_t at, size_t room, const int *v)
{
    return put_int(out, at, room, *v);
}

static int same_lower(const iip_lower *a, const iip_lower *b)
{
    const iip_pair x = iip_lower_value(a), y = iip_lower_value(b);

    return x.a == y.a && x.b == y.b;
}

static size_t line_lower(char *out, size_t at, size_t room, const iip_lower *v)
{
    const iip_pair pair = iip_lower_value(v);

    return put_list(out, at, room, (const int64_t[]){pair.a, pair.b}, 2);
}

static int same_text(const char *const *a, const char *const *b)
{
    return strcmp(*a ? *a : "", *b ? *b : "") == 0;
}

/* Its length first: what a text holds cannot be taken for the next member. */
static size_t line_text(char *out, size_t at, size_t room, const char *const *v)
{
    const char *text = *v ? *v : "";

    at = put_unsigned(out, at, room, strlen(text));
    at = put(out, at, room, ":", 1);
    return put_text(out, at, room, text);
}

#define OF_TYPE(what, m) _Generic(set->m, int : what##_int, iip_lower : what##_lower, const char * : what##_text)
#define LINE_N(m)
#define LINE_K(m)                                                                                                      \
    if (!OF_TYPE(same, m)(&set->m, &usual->m)) {                                                                       \
        PUT_TEXT(";" #m "=");                                                                                          \
        at = OF_TYPE(line, m)(out, at, room, &set->m);                                                                 \
    }
#define LINE(d, m, KIND, s, def, key, args, help) LINE_##key(m)

size_t iip_settings_line(const iip_settings *set, char *out, size_t at, size_t room)
{
    const iip_settings *usual = iip_settings_defaults();

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
    size_t at = 0;

    PUT_LIST("src=", r->x, r->y, r->w, r->h);
    PUT_LIST(";out=", rq->out_w, rq->out_h);
    PUT_LIST(";format=", rq->format, rq->quality);
    if (rq->page != -1)
        PUT_INT(";page=", rq->page);
    if (rq->flip)
        PUT_INT(";flip=", rq->flip);
    if (rq->rotate != 0) {
        iip_rotation_text(rq->rotate, turn);
        PUT_TEXT(";turn=");
        PUT_TEXT(turn);
    }
    if (rq->layers)
        PUT_INT(";layers=", rq->layers);
    if (rq->region_kind == IIP_REGION_TILE) {
        PUT_LIST(";grid=", rq->grid.a, rq->grid.b);
        PUT_LIST(";tile=", rq->region[0].num, rq->region[1].num, rq->region[2].num, rq->region[3].num);
    }
    if (rq->within.w)
        PUT_LIST(";within=", rq->within.x, rq->within.y, rq->within.w, rq->within.h);
    if (rq->frame.w)
        PUT_LIST(";frame=", rq->frame.x, rq->frame.y, rq->frame.w, rq->frame.h);
    if (rq->ground)
        PUT_INT(";ground=", rq->ground);
    if (rq->textless)
        PUT_TEXT(";textless");
    if (rq->progressive)
        PUT_TEXT(";progressive");
    if (rq->recode)
        PUT_TEXT(";recode");
    if (rq->part.b)
        PUT_LIST(";part=", rq->part.a, rq->part.b);
    if (rq->watermark) {
        int64_t id[4];

        iip_source_shared(rq->watermark, id);
        PUT_TEXT(";watermark=");
        at = put_unsigned(out, at, room, (uint64_t)id[0]);
        PUT_LIST(",", id[1], id[2], id[3], rq->set->watermark->opacity, rq->set->watermark->chance);
    }
    for (int i = 0; i < rq->op_count; i++) {
        PUT_INT(";op=", rq->op[i].kind);
        for (unsigned k = 0; k < rq->op[i].argc; k++) {
            char hex[9] = ",";
            uint32_t bits;

            memcpy(&bits, &rq->op[i].arg[k], sizeof bits);
            for (int d = 0; d < 8; d++)
                hex[1 + d] = "0123456789abcdef"[bits >> (28 - 4 * d) & 15];
            at = put(out, at, room, hex, sizeof hex);
        }
    }
    at = iip_settings_line(rq->set, out, at, room);
    if (at >= room)
        return 0;
    out[at] = '\0';
    return at;
}
