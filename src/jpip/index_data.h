/* SPDX-License-Identifier: Apache-2.0
 * The data of a tile, one tile-part after the other, byte by byte. For index_packet.c, which reads each header with
 * it, and index_lengths.c: hence inline. */
#ifndef JPIP_INDEX_DATA_H
#define JPIP_INDEX_DATA_H
#include "jpip/index_build.h"
#include <stdlib.h>

#define JPIP_DATA_BUFFER ((size_t)32 << 10)
#define JPIP_DATA_FIRST  ((size_t)512) /* read of a packet of which the header alone is wanted; then twice as much */

typedef struct {
    jpip_tile *t;
    const iip_jp2_part *part;
    int number;
    int64_t end; /* of the part, as far as it is there */
    unsigned char *buf;
    size_t step; /* bytes of the next read */
    int64_t at;  /* of buf */
    const unsigned char *p, *limit;
    size_t packed; /* place in t->packed */
    int left;      /* bits of the last byte */
    unsigned byte;
    int over; /* bits were asked that are not there */
} reader;

static inline int64_t place(const reader *r)
{
    return r->at + (r->p - r->buf);
}

static inline void go_to(reader *r, int64_t to)
{
    if (to >= r->at && to <= r->at + (r->limit - r->buf)) {
        r->p = r->buf + (to - r->at);
    } else {
        r->at = to;
        r->p = r->limit = r->buf;
    }
}

static inline void set_part(reader *r, const iip_jp2_part *part)
{
    r->part = part;
    if (part) {
        r->end = part->at + part->len;
        r->at = part->data;
        r->p = r->limit = r->buf;
    }
}

static inline iip_status open_reader(reader *r, jpip_tile *t)
{
    const int32_t first = t->h->first[t->tile];

    *r = (reader){.t = t, .buf = malloc(JPIP_DATA_BUFFER), .step = JPIP_DATA_BUFFER};
    if (!r->buf)
        return iip_fail(t->e, IIP_E_MEMORY, APR_ENOMEM, "JPEG 2000: no memory for packets");
    set_part(r, first < 0 ? NULL : &t->h->part[first]);
    return IIP_OK;
}

static inline void next_part(reader *r)
{
    set_part(r, r->part->next < 0 ? NULL : &r->t->h->part[r->part->next]);
    r->number++;
}

/* The next byte of the part, -1 at its end. */
static inline int next_byte(reader *r)
{
    if (r->p == r->limit) {
        const int64_t at = place(r), left = r->end - at;
        const size_t n = left < (int64_t)r->step ? (size_t)left : r->step;

        if (left <= 0 || iip_jp2_bytes(r->t->f, r->buf, n, at, r->t->e) != IIP_OK)
            return -1;
        r->t->read += (int64_t)n;
        r->step = r->step < JPIP_DATA_BUFFER ? 2 * r->step : r->step;
        r->at = at;
        r->p = r->buf;
        r->limit = r->buf + n;
    }
    return *r->p++;
}

/* Takes the marker if it stands there, with the bytes of its segment. */
static inline int skip_marker(reader *r, unsigned low, int rest)
{
    const int64_t at = place(r);

    if (next_byte(r) == 0xff && next_byte(r) == (int)low && r->end - place(r) >= rest) {
        go_to(r, place(r) + rest);
        return 1;
    }
    go_to(r, at);
    return 0;
}

static inline int skip_sop(reader *r)
{
    return r->t->coding[0].marked & IIP_JP2_SOP && skip_marker(r, 0x91, 4);
}
#endif
