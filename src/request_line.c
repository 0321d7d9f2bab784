/* SPDX-License-Identifier: Apache-2.0
 * The canonical line of a resolved request: the key of caches and ETags. Numbers are digits, floats their bits: nothing
 * here depends on a locale. */
#include "request.h"
#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

void iip_rotation_text(double degrees, char text[IIP_ROTATION_MAX])
{
    int64_t n = llround(degrees * 1e12);
    int length = snprintf(text, IIP_ROTATION_MAX, "%" PRId64 ".%012" PRId64, n / 1000000000000, n % 1000000000000);

    while (text[length - 1] == '0')
        length--;
    if (text[length - 1] == '.')
        length--;
    text[length] = '\0';
}

/* Where the next byte goes, or room once something did not fit. */
__attribute__((format(printf, 4, 5))) static size_t put(char *out, size_t at, size_t room, const char *fmt, ...)
{
    va_list ap;
    int n;

    if (at >= room)
        return room;
    va_start(ap, fmt);
    n = vsnprintf(out + at, room - at, fmt, ap);
    va_end(ap);
    return n < 0 || (size_t)n >= room - at ? room : at + (size_t)n;
}

static size_t line_int(char *out, size_t at, size_t room, const char *name, const int *v)
{
    return put(out, at, room, ";%s=%d", name, *v);
}

static size_t line_lower(char *out, size_t at, size_t room, const char *name, const iip_lower *v)
{
    iip_pair pair = iip_lower_value(v);

    return put(out, at, room, ";%s=%" PRId64 ",%" PRId64, name, pair.a, pair.b);
}

/* Its length first: what a text holds cannot be taken for the next member. */
static size_t line_text(char *out, size_t at, size_t room, const char *name, const char *const *v)
{
    const char *text = *v ? *v : "";

    return put(out, at, room, ";%s=%zu:%s", name, strlen(text), text);
}

#define LINE_N(m)
#define LINE_K(m)                                                                                                      \
    at = _Generic(set->m, int : line_int, iip_lower : line_lower, const char * : line_text)(out, at, room, #m, &set->m);
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
    at = put(out, 0, room,
             "page=%d;angle=%d,%d;src=%" PRId64 ",%" PRId64 ",%" PRId64 ",%" PRId64 ";out=%" PRId64 ",%" PRId64
             ";flip=%d;turn=%s;format=%d;quality=%d;layers=%d",
             rq->page, rq->angle_h, rq->angle_v, r->x, r->y, r->w, r->h, rq->out_w, rq->out_h, rq->flip, turn,
             rq->format, rq->quality, rq->layers);
    if (rq->region_kind == IIP_REGION_TILE)
        at = put(out, at, room, ";grid=%" PRId64 ",%" PRId64 ";tile=%" PRId64 ",%" PRId64 ",%" PRId64 ",%" PRId64,
                 rq->grid.a, rq->grid.b, rq->region[0].num, rq->region[1].num, rq->region[2].num, rq->region[3].num);
    if (rq->textless)
        at = put(out, at, room, ";textless");
    if (rq->recode)
        at = put(out, at, room, ";recode");
    if (rq->part.b)
        at = put(out, at, room, ";part=%" PRId64 ":%" PRId64, rq->part.a, rq->part.b);
    if (rq->watermark) {
        const iip_ident *id = &rq->watermark->id;

        /* What other machines can tell alike, as in the ETag */
        at = put(out, at, room, ";watermark=%" PRIu64 ",%" PRId64 ",%" PRId64 ",%" PRId64 ",%d,%d", id->ino, id->size,
                 id->mtime_ns, id->ctime_ns, rq->set->watermark->opacity, rq->set->watermark->chance);
    }
    for (int i = 0; i < rq->op_count; i++) {
        at = put(out, at, room, ";op=%u", (unsigned)rq->op[i].kind);
        for (unsigned k = 0; k < rq->op[i].argc; k++) {
            uint32_t bits;

            memcpy(&bits, &rq->op[i].arg[k], sizeof bits);
            at = put(out, at, room, ",%08" PRIx32, bits);
        }
    }
    if (at < room)
        at = iip_settings_line(rq->set, out, at, room);
    return at < room ? at : 0;
}
