/* SPDX-License-Identifier: Apache-2.0
 * JPEG 2000: where the tile-parts of a code-stream lie, what a tile takes to decode, and which levels all of them have.
 */
#include "codec/jp2_siz.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define MOST_PARTS  1000000
#define MOST_EFFORT 100000000  /* resolutions looked at because tiles are coded in their own way */
#define MOST_BLOCKS 8388608.   /* code-blocks of a tile; 2^25 pixels of the smallest, 2^35 of the usual size */
#define MOST_PLACES 134217728. /* where precincts could begin in a tile, which position orders step through */
#define BLOCK_BYTES 640        /* what OpenJPEG keeps for a code-block, with its share of the tag trees */
#define PASS_BYTES  (24 * 91)  /* and if each pass is a segment of its own */
#define BAND_BYTES  256        /* for a precinct of a sub-band */
#define TERMALL     0x04
#define HT          0x40

/* --- what a tile takes --- */

typedef struct {
    double packets, bands, blocks, places, include; /* packets of a layer; bands: precincts of sub-bands */
} amounts;

/* Blocks of 2^exp on an axis. slack: wherever the axis begins. */
static double blocks_in(int64_t x0, int64_t x1, int exp, int slack)
{
    if (x1 <= x0)
        return 0;
    if (slack)
        return (double)((x1 - x0) >> exp) + 2;
    return (double)(((x1 - 1) >> exp) - (x0 >> exp) + 1);
}

static double step(double least, int sub, int precinct, int above)
{
    double s = ldexp(sub, precinct + above);

    return s < least ? s : least;
}

static amounts measure(const iip_jp2_head *h, const iip_jp2_coding *coding, iip_jp2_box box, int slack)
{
    amounts a = {0};
    double sx = 1e9, sy = 1e9, most = 0;
    int res = 0;

    for (int c = 0; c < h->comps; c++) {
        const iip_jp2_coding *k = &coding[c];

        for (int r = 0; r <= k->levels; r++) {
            const int above = k->levels - r, px = k->precinct[r] & 15, py = k->precinct[r] >> 4, half = r > 0;
            const int bx = k->xcb < px - half ? k->xcb : px - half, by = k->ycb < py - half ? k->ycb : py - half;
            const int64_t x0 = iip_jp2_at(box.x0, h->comp[c].dx, above), x1 = iip_jp2_at(box.x1, h->comp[c].dx, above);
            const int64_t y0 = iip_jp2_at(box.y0, h->comp[c].dy, above), y1 = iip_jp2_at(box.y1, h->comp[c].dy, above);
            const double n = blocks_in(x0, x1, px, slack) * blocks_in(y0, y1, py, slack);

            a.packets += n;
            a.bands += n * (half ? 3 : 1);
            a.blocks += blocks_in(x0 >> half, (x1 + half) >> half, bx, 1) *
                        blocks_in(y0 >> half, (y1 + half) >> half, by, 1) * (half ? 3 : 1);
            most = n > most ? n : most;
            sx = step(sx, h->comp[c].dx, px, above);
            sy = step(sy, h->comp[c].dy, py, above);
        }
        res = k->levels + 1 > res ? k->levels + 1 : res;
    }
    a.places = ((double)(box.x1 - box.x0) / sx + 2) * ((double)(box.y1 - box.y0) / sy + 2) * res * h->comps;
    a.include = ((double)coding[0].layers + 1) * res * h->comps * most;
    return a;
}

/* What OpenJPEG builds for them. */
static double work_of(const iip_jp2_head *h, const iip_jp2_coding *coding, const amounts *a)
{
    int block = BLOCK_BYTES;

    for (int c = 0; c < h->comps; c++)
        if (coding[c].style & TERMALL)
            block = BLOCK_BYTES + PASS_BYTES;
    return a->bands * BAND_BYTES + a->include * 4 + a->blocks * block;
}

double iip_jp2_work(const iip_jp2_head *h, const iip_jp2_coding *coding, iip_jp2_box box)
{
    const amounts a = measure(h, coding, box, 1);

    return work_of(h, coding, &a);
}

iip_status iip_jp2_note(iip_jp2_head *h, const iip_jp2_coding *coding, iip_jp2_box box, int slack, iip_error *e)
{
    const amounts a = measure(h, coding, box, slack);
    const double work = work_of(h, coding, &a);

    if (a.blocks > MOST_BLOCKS || a.bands > MOST_BLOCKS || a.places > MOST_PLACES || work > 1e11)
        return iip_jp2_bad(e, "too many precincts or code-blocks in a tile");
    h->layers = coding[0].layers > h->layers ? coding[0].layers : h->layers;
    for (int c = 0; c < h->comps; c++) {
        h->levels = coding[c].levels < h->levels ? coding[c].levels : h->levels;
        h->ht |= (coding[c].style & HT) != 0;
    }
    if ((size_t)work > h->tile_work)
        h->tile_work = (size_t)work;
    return IIP_OK;
}

iip_jp2_box iip_jp2_tile_box(const iip_jp2_head *h, int64_t tile)
{
    iip_jp2_box b = {h->tx0 + tile % h->columns * h->tw, h->ty0 + tile / h->columns * h->th, 0, 0};

    b.x1 = b.x0 + h->tw < h->x1 ? b.x0 + h->tw : h->x1;
    b.y1 = b.y0 + h->th < h->y1 ? b.y0 + h->th : h->y1;
    b.x0 = b.x0 > h->x0 ? b.x0 : h->x0;
    b.y0 = b.y0 > h->y0 ? b.y0 : h->y0;
    return b;
}

/* --- tile-parts --- */

typedef struct {
    int own, apart, marked; /* the tile is coded in its own way; as in the head */
    int64_t data;
} part_look;

/* Walks a tile-part's header. pass 0: only looks; 1, 2: applies its COD, its COC. */
static iip_status part_header(const iip_jp2_head *h, iip_jp2_window *w, int64_t at, int64_t end, int pass,
                              part_look *seen, iip_jp2_coding *coding)
{
    unsigned marker;
    int64_t len;

    memset(seen, 0, sizeof *seen);
    for (at += 12;; at += len) {
        const unsigned char *v;

        if (iip_jp2_segment(w, at, end, &marker, &len) != IIP_OK)
            return w->e->status;
        seen->data = at + len;
        if (marker == SOD)
            return IIP_OK;
        if (marker == SOT)
            return iip_jp2_damaged(w->e, "a tile-part without data");
        seen->apart |= marker == PPT;
        if (marker != COD && marker != COC)
            continue;
        seen->own = 1;
        if (len < 5 || len > IIP_JP2_WINDOW)
            return iip_jp2_damaged(w->e, "a coding style of a wrong length");
        if (!(v = iip_jp2_look(w, at, (size_t)len)))
            return w->e->status;
        if (marker == COD)
            seen->marked |= v[4] & (IIP_JP2_SOP | IIP_JP2_EPH);
        if (pass == (marker == COD ? 1 : 2) && iip_jp2_style(h, coding, v, (size_t)len, w->e) != IIP_OK)
            return w->e->status;
    }
}

/* How a tile is coded, by its first tile-part. */
static iip_status tile_coding(const iip_jp2_head *h, iip_jp2_window *w, int64_t at, int64_t end, iip_jp2_coding *coding)
{
    part_look seen;

    memcpy(coding, h->coding, (size_t)h->comps * sizeof *coding);
    for (int pass = 1; pass < 3; pass++)
        if (part_header(h, w, at, end, pass, &seen, coding) != IIP_OK)
            return w->e->status;
    return coding[0].layers ? IIP_OK : iip_jp2_damaged(w->e, "a tile of no layers");
}

typedef struct {
    iip_jp2_part *part;
    int32_t room;
    int32_t *last;           /* part of each tile */
    unsigned char *promised; /* TNsot */
    iip_jp2_coding *coding;
    double effort;
    int any;
} scan;

static iip_status put_part(iip_jp2_head *h, scan *s, iip_jp2_part part, iip_error *e)
{
    if (h->parts == MOST_PARTS)
        return iip_jp2_bad(e, "more than a million tile-parts");
    if (h->parts == s->room) {
        iip_jp2_part *more;

        s->room = s->room ? 2 * s->room : 64;
        if (!(more = realloc(s->part, (size_t)s->room * sizeof *more)))
            return iip_fail(e, IIP_E_MEMORY, APR_ENOMEM, "JPEG 2000: %d tile-parts", s->room);
        s->part = more;
    }
    if (h->first[part.tile] < 0)
        h->first[part.tile] = h->parts;
    else
        s->part[s->last[part.tile]].next = h->parts;
    s->last[part.tile] = h->parts;
    s->part[h->parts++] = part;
    return IIP_OK;
}

/* The tile-part at `at`; *len its length. */
static iip_status one_part(iip_jp2_head *h, iip_jp2_window *w, scan *s, int64_t at, int64_t *len)
{
    int64_t left = h->f->len - at;
    const unsigned char *v;
    int32_t tile;
    part_look seen;
    int64_t missing;
    int first;

    *len = left;
    if (!(v = iip_jp2_look(w, at, 12)))
        return w->e->status;
    tile = (int32_t)iip_jp2_be16(v + 4);
    *len = iip_jp2_be32(v + 6);
    if (iip_jp2_be16(v + 2) != 10 || tile >= h->columns * h->rows)
        return iip_jp2_damaged(w->e, "a tile-part of no tile");
    if (v[11])
        s->promised[tile] = v[11];
    if (*len == 0) { /* up to the end */
        if (!(v = iip_jp2_look(w, h->f->len - 2, 2)))
            return w->e->status;
        h->cut |= iip_jp2_be16(v) != EOC;
        *len = h->cut ? left : left - 2;
    }
    if (*len > left)
        h->cut = 1;
    if (h->cut && !s->any)
        return iip_jp2_damaged(w->e, "the code-stream ends too early");
    if (*len < 14)
        return iip_jp2_damaged(w->e, "a tile-part that ends in its header");
    missing = *len > left ? *len - left : 0;
    *len -= missing;
    if (part_header(h, w, at, at + *len, 0, &seen, NULL) != IIP_OK)
        return w->e->status;
    h->apart |= seen.apart;
    h->marked |= seen.marked;
    first = h->first[tile] < 0;
    if (seen.own && !first && !s->any) /* T.800 A.6.1, A.6.2; nobody has looked at what it says */
        return iip_jp2_damaged(w->e, "a coding style behind the first tile-part");
    if (put_part(h, s,
                 (iip_jp2_part){.at = at,
                                .len = *len,
                                .data = seen.data,
                                .tile = tile,
                                .next = -1,
                                .missing = missing,
                                .own = seen.own && first},
                 w->e) != IIP_OK ||
        !seen.own || !first || s->any)
        return w->e->status;
    s->effort += (double)h->comps * (h->coding[0].levels + 1);
    if (s->effort > MOST_EFFORT)
        return iip_jp2_bad(w->e, "too many tiles that are coded in their own way");
    if (tile_coding(h, w, at, at + *len, s->coding) != IIP_OK)
        return w->e->status;
    return iip_jp2_note(h, s->coding, iip_jp2_tile_box(h, tile), 0, w->e);
}

/* All tile-parts of all tiles there: without the last marker nothing else tells. */
static int complete(const iip_jp2_head *h, const scan *s)
{
    for (int64_t t = 0; t < h->columns * h->rows; t++) {
        int n = 0;

        for (int32_t i = h->first[t]; i >= 0; i = s->part[i].next)
            n++;
        if (n == 0 || n < s->promised[t] || s->promised[t] == 0)
            return 0;
    }
    return 1;
}

static iip_status all_parts(iip_jp2_head *h, iip_jp2_window *w, scan *s, int64_t at)
{
    int64_t len = 0;

    for (; h->f->len - at >= 2; at += len) {
        const unsigned char *v = iip_jp2_look(w, at, 2);

        if (!v)
            return w->e->status;
        if (iip_jp2_be16(v) == EOC)
            break;
        if (iip_jp2_be16(v) != SOT)
            return iip_jp2_damaged(w->e, "no tile-part where one should begin");
        if (one_part(h, w, s, at, &len) == IIP_OK)
            continue;
        if (!s->any || h->f->len - at - len >= 2 || w->e->status != IIP_E_CORRUPT)
            return w->e->status;
        w->e->status = IIP_OK; /* cut in its header: not there */
        h->cut = 1;
    }
    if (h->f->len - at < 2 && !complete(h, s))
        h->cut = 1;
    return h->cut && !s->any ? iip_jp2_damaged(w->e, "the code-stream ends too early") : IIP_OK;
}

/* The packed headers of PPM segments belong to the tile-parts in order, each behind its length. */
static iip_status deal_packed(iip_jp2_head *h, iip_error *e)
{
    size_t at = 0;

    for (int32_t i = 0; i < h->parts && h->packed_len; i++) {
        size_t n;

        if (h->packed_len - at < 4)
            return iip_jp2_damaged(e, "packed packet headers end too early");
        n = 4 + (size_t)iip_jp2_be32(h->packed + at);
        if (n > h->packed_len - at)
            return iip_jp2_damaged(e, "packed packet headers end too early");
        h->part[i].packed = (int64_t)at;
        h->part[i].packed_len = (int64_t)n;
        at += n;
    }
    return IIP_OK;
}

static size_t tile_bytes(const iip_jp2_head *h, int64_t tile)
{
    size_t n = 0;

    for (int32_t i = h->first[tile]; i >= 0; i = h->part[i].next)
        n += (size_t)(h->part[i].len + h->part[i].packed_len);
    return n;
}

static iip_status scan_parts(iip_jp2_head *h, iip_jp2_window *w, scan *s, int64_t at, apr_pool_t *p)
{
    const size_t tiles = (size_t)(h->columns * h->rows);

    if (!(h->first = iip_codec_alloc(tiles * sizeof *h->first, p, w->e)))
        return w->e->status;
    for (size_t i = 0; i < tiles; i++)
        h->first[i] = -1;
    s->last = malloc(tiles * sizeof *s->last);
    s->promised = calloc(tiles, 1);
    s->coding = malloc((size_t)h->comps * sizeof *s->coding);
    if (!s->last || !s->promised || !s->coding)
        return iip_fail(w->e, IIP_E_MEMORY, APR_ENOMEM, "JPEG 2000: %zu tiles", tiles);
    if (all_parts(h, w, s, at) != IIP_OK)
        return w->e->status;
    if (!(h->part = iip_codec_alloc((size_t)h->parts * sizeof *h->part, p, w->e)))
        return w->e->status;
    if (s->part)
        memcpy(h->part, s->part, (size_t)h->parts * sizeof *h->part);
    if (deal_packed(h, w->e) != IIP_OK)
        return w->e->status;
    for (size_t t = 0; t < tiles; t++) {
        size_t n = tile_bytes(h, (int64_t)t);

        h->tile_bytes = n > h->tile_bytes ? n : h->tile_bytes;
    }
    return IIP_OK;
}

iip_status iip_jp2_parts(iip_jp2_head *h, iip_jp2_window *w, int64_t at, int any, apr_pool_t *p)
{
    scan s = {.any = any};
    iip_status rv = scan_parts(h, w, &s, at, p);

    free(s.part);
    free(s.last);
    free(s.promised);
    free(s.coding);
    return rv;
}

/* --- levels --- */

/* An axis of the picture at a level: every component has samples, and a tile has either of all components or of none.
 */
static int axis_good(int64_t from, int64_t to, int64_t tile0, int64_t tile, const unsigned char *subs, int level)
{
    for (int sub = 1; sub < 256; sub++)
        if (subs[sub] && iip_jp2_at(to, sub, level) == iip_jp2_at(from, sub, level))
            return 0;
    for (int64_t at = tile0; at < to; at += tile) {
        const int64_t a = at > from ? at : from, b = at + tile < to ? at + tile : to;
        int seen = 0;

        for (int sub = 1; sub < 256; sub++)
            if (subs[sub])
                seen |= iip_jp2_at(b, sub, level) > iip_jp2_at(a, sub, level) ? 1 : 2;
        if (seen == 3)
            return 0;
    }
    return 1;
}

iip_status iip_jp2_levels(iip_jp2_head *h, iip_error *e)
{
    unsigned char subs_x[256] = {0}, subs_y[256] = {0};
    int most = h->levels < IIP_MAX_LEVELS ? h->levels + 1 : IIP_MAX_LEVELS;
    int64_t w = INT64_MAX, hh = INT64_MAX;

    for (int c = 0; c < h->comps; c++) {
        subs_x[h->comp[c].dx] = 1;
        subs_y[h->comp[c].dy] = 1;
    }
    for (h->levels = 0; h->levels < most; h->levels++) {
        int64_t lw = iip_jp2_at(h->x1, h->dx, h->levels) - iip_jp2_at(h->x0, h->dx, h->levels);
        int64_t lh = iip_jp2_at(h->y1, h->dy, h->levels) - iip_jp2_at(h->y0, h->dy, h->levels);

        if (lw < 1 || lh < 1 || (lw == w && lh == hh) || !axis_good(h->x0, h->x1, h->tx0, h->tw, subs_x, h->levels) ||
            !axis_good(h->y0, h->y1, h->ty0, h->th, subs_y, h->levels))
            break;
        w = lw;
        hh = lh;
    }
    return h->levels ? IIP_OK : iip_jp2_bad(e, "a tile without samples of some component");
}

/* --- outside --- */

iip_status iip_jp2_tile_coding(const iip_jp2_head *h, int64_t tile, iip_jp2_coding *coding, iip_error *e)
{
    const iip_jp2_part *part = h->first[tile] < 0 ? NULL : &h->part[h->first[tile]];
    iip_jp2_window w;
    iip_status rv;

    if (!part || !part->own) {
        memcpy(coding, h->coding, (size_t)h->comps * sizeof *coding);
        return IIP_OK;
    }
    if (iip_jp2_window_open(&w, h->f, e) != IIP_OK)
        return e->status;
    rv = tile_coding(h, &w, part->at, part->at + part->len, coding);
    free(w.buf);
    return rv;
}

iip_status iip_jp2_tile_check(const iip_jp2_head *h, int64_t tile, iip_jp2_coding *coding, iip_error *e)
{
    if (h->first[tile] < 0)
        return iip_fail(e, IIP_E_CORRUPT, 0, "JPEG 2000: tile %lld is missing", (long long)tile);
    if (iip_jp2_tile_coding(h, tile, coding, e) != IIP_OK)
        return e->status;
    /* A packet is a byte at least; the file ends earlier than its headers say, or they lie. */
    if (measure(h, coding, iip_jp2_tile_box(h, tile), 0).packets * coding[0].layers > (double)tile_bytes(h, tile))
        return iip_jp2_damaged(e, "a tile of fewer bytes than packets");
    return IIP_OK;
}
