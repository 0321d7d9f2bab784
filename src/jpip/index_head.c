/* SPDX-License-Identifier: Apache-2.0
 * The headers of a code-stream as a packet index wants them (T.800 annex A): what goes into the header bins, where
 * packet lengths and packed packet headers stand, which progressions follow each other. */
#include "jpip/index_build.h"
#include <stdlib.h>
#include <string.h>

#define MOST_MAIN    (4u << 20)  /* bytes of the main header bin */
#define MOST_LENGTHS (1u << 30)  /* of packet lengths, and of packed headers, in a tile */
#define MOST_TEXT    (64u << 20) /* of all header bins */
#define MOST_VOLUMES 65536       /* progression order changes of a tile */

unsigned char *jpip_bytes_room(jpip_bytes *b, size_t n, size_t most, iip_error *e)
{
    if (n > most || b->n > most - n) {
        iip_fail(e, IIP_E_FORMAT, 0, "JPEG 2000: headers of more than %zu bytes", most);
        return NULL;
    }
    if (!b->p || b->room - b->n < n) {
        const size_t room = b->n + n > 2 * b->room ? b->n + n + 16 : 2 * b->room;
        unsigned char *p = realloc(b->p, room);

        if (!p) {
            iip_fail(e, IIP_E_MEMORY, APR_ENOMEM, "JPEG 2000: no memory for headers");
            return NULL;
        }
        b->p = p;
        b->room = room;
    }
    return b->p + b->n;
}

/* n bytes of the code-stream at the end of *b. */
static iip_status append(const iip_jp2_file *f, jpip_bytes *b, int64_t at, int64_t n, size_t most, iip_error *e)
{
    unsigned char *p = jpip_bytes_room(b, (size_t)n, most, e);

    if (!p || iip_jp2_bytes(f, p, (size_t)n, at, e) != IIP_OK)
        return e->status;
    b->n += (size_t)n;
    return IIP_OK;
}

/* A segment for a header bin, in which no SOP markers follow. */
static iip_status keep(const iip_jp2_file *f, jpip_bytes *text, unsigned marker, int64_t at, int64_t len, size_t most,
                       iip_error *e)
{
    const size_t n = text->n;

    if (append(f, text, at, len, most, e) == IIP_OK && marker == COD && len > 4)
        text->p[n + 4] &= (unsigned char)~IIP_JP2_SOP;
    return e->status;
}

/* --- progression order changes ------------------------------------------------------------------------------------ */

static iip_status changes(const iip_jp2_head *h, jpip_bytes *out, int64_t at, int64_t len, iip_error *e)
{
    const int wide = h->comps < 257 ? 1 : 2;
    const size_t entry = 5 + 2 * (size_t)wide;
    jpip_bytes seg = {0};

    if (len < 4 || (size_t)(len - 4) % entry)
        return iip_jp2_damaged(e, "progression order changes cut short");
    if (append(h->f, &seg, at, len, MOST_MAIN, e) != IIP_OK) {
        free(seg.p);
        return e->status;
    }
    for (const unsigned char *q = seg.p + 4; q < seg.p + len && e->status == IIP_OK; q += entry) {
        jpip_volume *v = (jpip_volume *)(void *)jpip_bytes_room(out, sizeof *v, MOST_VOLUMES * sizeof *v, e);
        const unsigned char *end = q + 1 + wide; /* LYEpoc and what follows */

        if (!v)
            break;
        *v = (jpip_volume){.r0 = q[0],
                           .c0 = wide == 1 ? q[1] : (int)iip_jp2_be16(q + 1),
                           .layers = (int)iip_jp2_be16(end),
                           .r1 = end[2],
                           .c1 = wide == 1 ? end[3] : (int)iip_jp2_be16(end + 3),
                           .order = end[3 + wide]};
        if (v->c1 == 0 || v->c1 > h->comps)
            v->c1 = h->comps;
        if (v->r1 > IIP_JP2_RES)
            v->r1 = IIP_JP2_RES;
        if (v->order > 4 || v->r0 >= v->r1 || v->c0 >= v->c1 || v->layers == 0)
            iip_jp2_damaged(e, "a progression order change that makes no sense");
        else
            out->n += sizeof *v;
    }
    free(seg.p);
    return e->status;
}

/* --- numbered segments that belong together ----------------------------------------------------------------------- */

typedef struct {
    int64_t at, len; /* behind the number; at 0 = there is none */
} numbered;

/* Notes a segment whose number stands in its fifth byte. 0: twice, or empty. */
static int number(numbered *all, iip_jp2_window *w, int64_t at, int64_t len)
{
    const unsigned char *v = len < 5 ? NULL : iip_jp2_look(w, at, 5);

    if (!v || all[v[4]].at)
        return 0;
    all[v[4]] = (numbered){at + 5, len - 5};
    return 1;
}

static iip_status gather(const iip_jp2_file *f, const numbered *all, jpip_bytes *out, iip_error *e)
{
    for (int i = 0; i < 256; i++)
        if (all[i].at && append(f, out, all[i].at, all[i].len, MOST_LENGTHS, e) != IIP_OK)
            return e->status;
    return IIP_OK;
}

/* --- the main header ---------------------------------------------------------------------------------------------- */

static iip_status main_segments(const iip_jp2_head *h, iip_jp2_window *w, int64_t end, jpip_bytes *text,
                                jpip_bytes *lengths, jpip_bytes *volumes)
{
    numbered plm[256] = {{0}};
    int sound = 1;
    int64_t len;

    if (append(h->f, text, 0, 2, MOST_MAIN, w->e) != IIP_OK)
        return w->e->status;
    for (int64_t at = 2; at < end; at += len) {
        unsigned marker;

        if (iip_jp2_segment(w, at, end, &marker, &len) != IIP_OK)
            return w->e->status;
        if (marker == PLM)
            sound &= number(plm, w, at, len);
        else if (marker == POC && changes(h, volumes, at, len, w->e) != IIP_OK)
            return w->e->status;
        else if (marker != TLM && marker != PPM && marker != POC &&
                 keep(h->f, text, marker, at, len, MOST_MAIN, w->e) != IIP_OK)
            return w->e->status;
    }
    return sound ? gather(h->f, plm, lengths, w->e) : IIP_OK;
}

iip_status jpip_main_read(const iip_jp2_head *h, int64_t main_len, jpip_bytes *text, jpip_bytes *lengths,
                          jpip_bytes *volumes, iip_error *e)
{
    iip_jp2_window w;

    if (iip_jp2_window_open(&w, h->f, e) != IIP_OK)
        return e->status;
    main_segments(h, &w, main_len, text, lengths, volumes);
    free(w.buf);
    return e->status;
}

/* --- tile-parts --------------------------------------------------------------------------------------------------- */

typedef struct {
    int64_t at, len;
    numbered plt[256], ppt[256];
    int lengths, sound; /* there are PLT segments, each of a number of its own */
} part_look;

static iip_status part_segments(jpip_tile *t, iip_jp2_window *w, const iip_jp2_part *part, part_look *k,
                                jpip_bytes *text, jpip_bytes *own)
{
    int64_t len;

    memset(k, 0, sizeof *k);
    k->sound = 1;
    for (int64_t at = part->at + 12; at < part->data - 2; at += len) {
        unsigned marker;

        if (iip_jp2_segment(w, at, part->data - 2, &marker, &len) != IIP_OK)
            return t->e->status;
        if (marker == PLT) {
            k->lengths = 1;
            k->sound &= number(k->plt, w, at, len);
        } else if (marker == PPT) {
            if (!number(k->ppt, w, at, len))
                return t->e->status ? t->e->status : iip_jp2_damaged(t->e, "a PPT segment empty or twice");
        } else if (marker == POC) {
            if (changes(t->h, own, at, len, t->e) != IIP_OK)
                return t->e->status;
        } else if (keep(t->f, text, marker, at, len, MOST_TEXT, t->e) != IIP_OK) {
            return t->e->status;
        }
    }
    return IIP_OK;
}

static iip_status one_part(jpip_tile *t, iip_jp2_window *w, const iip_jp2_part *part, part_look *k, jpip_lengths *out,
                           jpip_bytes *text, jpip_bytes *own)
{
    if (part_segments(t, w, part, k, text, own) != IIP_OK)
        return t->e->status;
    *out = (jpip_lengths){.at = t->lengths.n, .there = k->lengths && k->sound};
    if (out->there && gather(t->f, k->plt, &t->lengths, t->e) != IIP_OK)
        return t->e->status;
    out->len = t->lengths.n - out->at;
    if (part->packed_len > 4) {
        const size_t n = (size_t)part->packed_len - 4;
        unsigned char *p = jpip_bytes_room(&t->packed, n, MOST_LENGTHS, t->e);

        if (!p)
            return t->e->status;
        memcpy(p, t->h->packed + part->packed + 4, n);
        t->packed.n += n;
    }
    return gather(t->f, k->ppt, &t->packed, t->e);
}

iip_status jpip_tile_read(jpip_tile *t, jpip_bytes *text)
{
    jpip_bytes own = {0};
    part_look *k = malloc(sizeof *k);
    iip_jp2_window w = {0};
    int n = 0;

    t->lengths.n = t->packed.n = 0;
    if (!k || iip_jp2_window_open(&w, t->f, t->e) != IIP_OK)
        iip_fail(t->e, IIP_E_MEMORY, APR_ENOMEM, "JPEG 2000: no memory for a header");
    for (int32_t i = t->h->first[t->tile]; i >= 0 && t->e->status == IIP_OK; i = t->h->part[i].next, n++)
        one_part(t, &w, &t->h->part[i], k, &t->part[n], text, &own);
    if (own.n && t->e->status == IIP_OK) {
        free(t->volumes.p);
        t->volumes = own;
    } else {
        free(own.p);
    }
    t->read += n * (int64_t)IIP_JP2_WINDOW;
    free(w.buf);
    free(k);
    return t->e->status;
}
