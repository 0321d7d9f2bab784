/* SPDX-License-Identifier: Apache-2.0
 * Where a tile's packets end: by the lengths that PLT or PLM segments give, else by their headers (T.800 B.9, B.10;
 * code-blocks of T.814: a cleanup pass, then the passes of one refinement). */
#include "jpip/index_data.h"
#include <stdlib.h>
#include <string.h>

#define MOST_BLOCKS (1u << 20)          /* code-blocks of a precinct */
#define MOST_STATE  ((size_t)512 << 20) /* bytes of open precincts in a tile */
#define MOST_PLANES 128                 /* zero bit-planes, in doubt: none has as many */
#define TRIED       64                  /* packets whose headers must bear out the lengths that markers give, */
#define TRIED_BYTES ((int64_t)64 << 10) /* while that takes no more reading */

enum { BYPASS = 1, TERMALL = 4, HT = 0x40 };

/* --- by lengths --------------------------------------------------------------------------------------------------- */

/* Where the first packets end by their headers. */
typedef struct {
    jpip_tile *t;
    int64_t from, end[TRIED]; /* from: what had been read before */
    int n;
} trial;

typedef struct {
    jpip_tile *t;
    reader r;
    const unsigned char *v, *end;
    jpip_put *put;
    void *ctx;
    trial trial;
    int count; /* of packets that were compared */
} measured;

/* 0: not a length that a packet can have. */
static int64_t length(const unsigned char **v, const unsigned char *end)
{
    int64_t n = 0;

    while (*v < end && n < INT64_C(1) << 32) {
        const unsigned char b = *(*v)++;

        n = n << 7 | (b & 127);
        if (!(b & 128))
            return n;
    }
    return 0;
}

/* Without the zeros that encoders leave behind the last length. */
static size_t without_padding(const unsigned char *v, size_t n)
{
    while (n > 0 && v[n - 1] == 0 && (n == 1 || !(v[n - 2] & 128)))
        n--;
    return n;
}

/* 1 if there are as many lengths as packets, and they fill the tile-parts. */
static int agree(jpip_tile *t)
{
    const iip_jp2_part *part;
    uint64_t count = 0;
    int n = 0;

    if (t->h->apart)
        return 0;
    for (int32_t i = t->h->first[t->tile]; i >= 0; i = part->next, n++) {
        jpip_lengths *k = &t->part[n];
        const unsigned char *v, *end;
        int64_t sum = 0;

        part = &t->h->part[i];
        if (!k->there || !t->lengths.n)
            return 0;
        v = t->lengths.p + k->at;
        k->len = without_padding(v, k->len);
        for (end = v + k->len; v < end; count++) {
            const int64_t len = length(&v, end);

            if (len == 0)
                return 0;
            sum += len;
        }
        if (sum != part->at + part->len + part->missing - part->data)
            return 0;
    }
    return n && (t->h->cut ? count <= (uint64_t)t->precincts * (uint64_t)t->layers
                           : count == (uint64_t)t->precincts * (uint64_t)t->layers);
}

static iip_status one_length(void *ctx, uint32_t precinct, int c, int res, int layer)
{
    measured *m = ctx;
    jpip_found found = {0};
    int64_t at;

    while (m->r.part && m->v == m->end) {
        next_part(&m->r);
        if (!m->r.part)
            break;
        m->v = m->t->lengths.p + m->t->part[m->r.number].at;
        m->end = m->v + m->t->part[m->r.number].len;
    }
    if (!m->r.part)
        return IIP_E_ABORTED;
    at = place(&m->r);
    found.len = length(&m->v, m->end);
    if (found.len > m->r.end - at)
        return IIP_E_ABORTED; /* cut */
    found.part = m->r.number;
    found.at = skip_sop(&m->r) ? place(&m->r) : at;
    if (m->t->e->status)
        return m->t->e->status;
    go_to(&m->r, at + found.len);
    if (m->count < m->trial.n && m->trial.end[m->count++] != at + found.len)
        return IIP_E_FEATURE;
    found.len -= found.at - at;
    return found.len < 1 ? iip_jp2_damaged(m->t->e, "a packet without a header")
                         : m->put(m->ctx, precinct, res, layer, &found);
}

static iip_status note(void *ctx, uint32_t precinct, int res, int layer, const jpip_found *found)
{
    trial *k = ctx;

    k->end[k->n++] = found->at + found->len;
    return k->n == TRIED || k->t->read - k->from > TRIED_BYTES ? IIP_E_ABORTED : IIP_OK;
}

/* Lengths that lie and come out even all the same are found out by the first packets, if at all. Headers that cannot be
 * understood prove nothing. */
static iip_status try_headers(trial *k)
{
    const iip_status rv = jpip_by_headers(k->t, note, k);

    if (rv == IIP_E_FORMAT) {
        k->n = 0;
        k->t->e->status = IIP_OK;
        return IIP_OK;
    }
    if (rv == IIP_E_CORRUPT)
        k->t->e->status = IIP_OK;
    return rv == IIP_E_CORRUPT ? IIP_E_FEATURE : rv;
}

iip_status jpip_by_lengths(jpip_tile *t, jpip_put *put, void *ctx)
{
    measured m = {.t = t, .put = put, .ctx = ctx, .trial = {.t = t, .from = t->read}};
    iip_status rv;

    if (!agree(t))
        return IIP_E_FEATURE;
    if (t->tile == 0 && (rv = try_headers(&m.trial)) != IIP_OK)
        return rv;
    if (open_reader(&m.r, t) != IIP_OK)
        return t->e->status;
    m.v = t->lengths.p + t->part[0].at;
    m.end = m.v + t->part[0].len;
    rv = jpip_walk(t, one_length, &m);
    free(m.r.buf);
    return rv;
}

/* --- bits of a packet header -------------------------------------------------------------------------------------- */

static int header_byte(reader *r)
{
    if (!r->t->h->apart)
        return next_byte(r);
    return r->packed < r->t->packed.n ? r->t->packed.p[r->packed++] : -1;
}

/* Behind a byte ff stand seven bits. */
static unsigned bit(reader *r)
{
    if (r->left == 0) {
        const int b = header_byte(r);

        if (b < 0) {
            r->over = 1;
            return 0;
        }
        r->left = r->byte == 0xff ? 7 : 8;
        r->byte = (unsigned)b;
    }
    return r->byte >> --r->left & 1;
}

static uint32_t bits(reader *r, int n)
{
    uint32_t v = 0;

    while (n-- > 0)
        v = v << 1 | bit(r);
    return v;
}

/* --- precincts ---------------------------------------------------------------------------------------------------- */

typedef struct {
    uint16_t low, value; /* value 0xffff: not known yet */
} node;

typedef struct {
    uint16_t passes; /* so far; 0: not included yet */
    uint16_t lblock;
} block;

/* A sub-band's part of the precinct. */
typedef struct {
    uint32_t w, h; /* code-blocks */
    node *inclusion, *planes;
    block *block;
} band;

typedef struct {
    size_t bytes;
    int bands;
    band band[3];
} precinct;

static size_t nodes(uint32_t w, uint32_t h)
{
    size_t n = (size_t)w * h;

    while (w > 1 || h > 1) {
        w = (w + 1) / 2;
        h = (h + 1) / 2;
        n += (size_t)w * h;
    }
    return n;
}

/* The sub-band's coordinate of a tile-component's edge; nb halvings, other: of the high half on this axis. */
static int64_t in_band(int64_t v, int nb, int other)
{
    const int64_t half = other ? INT64_C(1) << (nb - 1) : 0;

    return v <= half ? 0 : iip_jp2_at(v - half, 1, nb);
}

/* Code-blocks on an axis of the cell-th precinct; exp: of the precinct in the sub-band. */
static uint32_t blocks(int64_t from, int64_t to, int64_t cell, int exp, int code_block)
{
    const int64_t a = cell << exp, b = (cell + 1) << exp;

    from = a > from ? a : from;
    to = b < to ? b : to;
    if (to <= from)
        return 0;
    code_block = code_block < exp ? code_block : exp;
    return (uint32_t)(((to - 1) >> code_block) - (from >> code_block) + 1);
}

typedef struct {
    reader r;
    jpip_tile *t;
    precinct **open;
    size_t state; /* bytes of open ones */
    jpip_put *put;
    void *ctx;
} parser;

/* Sizes of the precinct's bands. */
static size_t measure(const jpip_tile *t, const jpip_grid *g, int c, int res, uint32_t k, precinct *out)
{
    const iip_jp2_coding *q = &t->coding[c];
    const iip_jp2_comp *comp = &t->h->comp[c];
    const int nb = res ? q->levels - res + 1 : q->levels, high = res > 0;
    const int64_t column = (g->box.x0 >> g->px) + k % g->wide, row = (g->box.y0 >> g->py) + k / g->wide;
    const int64_t x0 = iip_jp2_ceil(t->box.x0, comp->dx), x1 = iip_jp2_ceil(t->box.x1, comp->dx);
    const int64_t y0 = iip_jp2_ceil(t->box.y0, comp->dy), y1 = iip_jp2_ceil(t->box.y1, comp->dy);
    size_t n = 0;

    out->bands = high ? 3 : 1;
    for (int b = 0; b < out->bands; b++) {
        const int ox = high && b != 1, oy = high && b != 0; /* HL, LH, HH */
        band *d = &out->band[b];

        d->w = blocks(in_band(x0, nb, ox), in_band(x1, nb, ox), column, g->px - high, q->xcb);
        d->h = blocks(in_band(y0, nb, oy), in_band(y1, nb, oy), row, g->py - high, q->ycb);
        if (d->w == 0 || d->h == 0)
            d->w = d->h = 0;
        n += (size_t)d->w * d->h;
    }
    return n;
}

static iip_status open_precinct(parser *ps, int c, int res, uint32_t k)
{
    jpip_tile *t = ps->t;
    const jpip_grid *g = &t->grid[t->row[c] + (uint32_t)res];
    precinct m, *out;
    size_t bytes = sizeof m;
    unsigned char *p;

    if (measure(t, g, c, res, k - g->base, &m) > MOST_BLOCKS)
        return iip_jp2_bad(t->e, "too many code-blocks in a precinct");
    for (int b = 0; b < m.bands; b++)
        bytes += (size_t)m.band[b].w * m.band[b].h * sizeof(block) + 2 * nodes(m.band[b].w, m.band[b].h) * sizeof(node);
    if (bytes > MOST_STATE - ps->state)
        return iip_jp2_bad(t->e, "too many code-blocks in a tile");
    if (!(out = malloc(bytes)))
        return iip_fail(t->e, IIP_E_MEMORY, APR_ENOMEM, "JPEG 2000: no memory for packet headers");
    *out = m;
    out->bytes = bytes;
    p = (unsigned char *)(out + 1);
    for (int b = 0; b < m.bands; b++) {
        band *d = &out->band[b];
        const size_t n = nodes(d->w, d->h), count = (size_t)d->w * d->h;

        d->inclusion = (node *)(void *)p;
        d->planes = d->inclusion + n;
        d->block = (block *)(void *)(d->planes + n);
        for (size_t i = 0; i < 2 * n; i++)
            d->inclusion[i] = (node){0, 0xffff};
        for (size_t i = 0; i < count; i++)
            d->block[i] = (block){0, 3};
        p = (unsigned char *)(d->block + count);
    }
    ps->open[k] = out;
    ps->state += bytes;
    return IIP_OK;
}

static void close_precinct(parser *ps, uint32_t k)
{
    if (ps->open[k]) {
        ps->state -= ps->open[k]->bytes;
        free(ps->open[k]);
        ps->open[k] = NULL;
    }
}

/* Reads of the tag tree what tells whether the leaf's value is below the threshold (B.10.2). */
static int below(reader *r, node *tree, const band *d, uint32_t x, uint32_t y, unsigned threshold)
{
    node *path[24];
    uint32_t w = d->w, h = d->h;
    unsigned low = 0;
    int n = 0;

    path[n++] = tree + (size_t)y * w + x;
    while (w > 1 || h > 1) {
        tree += (size_t)w * h;
        w = (w + 1) / 2;
        h = (h + 1) / 2;
        x /= 2;
        y /= 2;
        path[n++] = tree + (size_t)y * w + x;
    }
    while (n-- > 0) {
        node *q = path[n];

        low = q->low > low ? q->low : low;
        while (low < threshold && low < q->value) {
            if (bit(r))
                q->value = (uint16_t)low;
            else
                low++;
        }
        q->low = (uint16_t)low;
    }
    return path[0]->value < threshold;
}

static unsigned passes(reader *r)
{
    uint32_t n;

    if (!bit(r))
        return 1;
    if (!bit(r))
        return 2;
    if ((n = bits(r, 2)) < 3)
        return 3 + n;
    if ((n = bits(r, 5)) < 31)
        return 6 + n;
    return 37 + bits(r, 7);
}

/* Passes that the segment holds which the next pass belongs to. */
static unsigned segment(unsigned style, unsigned so_far)
{
    if (style & HT)
        return so_far == 0 ? 1 : 3 - so_far;
    if (style & TERMALL)
        return 1;
    if (!(style & BYPASS))
        return UINT16_MAX;
    if (so_far < 10)
        return 10 - so_far;
    return (so_far - 10) % 3 == 0 ? 2 : 1;
}

static int log2_of(unsigned n)
{
    return 31 - __builtin_clz(n);
}

/* What one code-block adds to the packet's body. */
static iip_status contribution(parser *ps, unsigned style, band *d, uint32_t x, uint32_t y, int layer, int64_t *body)
{
    block *k = &d->block[(size_t)y * d->w + x];
    reader *r = &ps->r;
    unsigned n;

    if (k->passes) {
        if (!bit(r))
            return IIP_OK;
    } else {
        unsigned planes = 1;

        if (!below(r, d->inclusion, d, x, y, (unsigned)layer + 1))
            return IIP_OK;
        while (!below(r, d->planes, d, x, y, planes) && !r->over)
            if (++planes > MOST_PLANES)
                return iip_jp2_damaged(ps->t->e, "a code-block of too many zero bit-planes");
    }
    n = passes(r);
    while (bit(r))
        if (++k->lblock > 32)
            return iip_jp2_damaged(ps->t->e, "a code-block too long");
    if (k->passes + n > (style & HT ? 3 : UINT16_MAX / 2))
        return style & HT ? iip_jp2_bad(ps->t->e, "HT code-blocks of several sets, and no PLT segments")
                          : iip_jp2_damaged(ps->t->e, "a code-block of too many passes");
    while (n > 0 && !r->over) {
        unsigned some = segment(style, k->passes);
        int width;

        some = some < n ? some : n;
        if ((width = k->lblock + log2_of(some)) > 32)
            return iip_jp2_damaged(ps->t->e, "a code-block too long");
        *body += bits(r, width);
        k->passes = (uint16_t)(k->passes + some);
        n -= some;
    }
    return IIP_OK;
}

/* The header from its first bit to behind EPH; *body: what follows it. */
static iip_status header(parser *ps, uint32_t k, int c, int res, int layer, int64_t *body)
{
    reader *r = &ps->r;
    const unsigned style = ps->t->coding[c].style;
    precinct *q;

    *body = 0;
    r->left = 0;
    r->byte = 0;
    r->over = 0;
    if (!ps->open[k] && open_precinct(ps, c, res, k) != IIP_OK)
        return ps->t->e->status;
    q = ps->open[k];
    if (bit(r))
        for (int b = 0; b < q->bands; b++)
            for (uint32_t y = 0; y < q->band[b].h; y++)
                for (uint32_t x = 0; x < q->band[b].w && !r->over; x++)
                    if (contribution(ps, style, &q->band[b], x, y, layer, body) != IIP_OK)
                        return ps->t->e->status;
    if (!r->over && r->byte == 0xff && header_byte(r) < 0)
        r->over = 1;
    if (r->over || !(ps->t->coding[0].marked & IIP_JP2_EPH))
        return ps->t->e->status;
    if (!ps->t->h->apart)
        skip_marker(r, 0x92, 0);
    else if (ps->t->packed.n - r->packed >= 2 && iip_jp2_be16(ps->t->packed.p + r->packed) == 0xff92)
        r->packed += 2;
    return IIP_OK;
}

static iip_status one_header(void *ctx, uint32_t k, int c, int res, int layer)
{
    parser *ps = ctx;
    reader *r = &ps->r;
    jpip_found found = {.header = r->packed};
    int64_t body;

    while (r->part && place(r) >= r->end)
        next_part(r);
    if (!r->part && !(ps->t->h->apart && r->packed < ps->t->packed.n))
        return IIP_E_ABORTED; /* no more of the tile is there */
    if (jpip_tile_time(ps->t) != IIP_OK)
        return ps->t->e->status;
    if (r->part)
        skip_sop(r);
    found.part = r->part ? r->number : r->number - 1;
    found.at = r->part ? place(r) : 0;
    if (header(ps, k, c, res, layer, &body) != IIP_OK)
        return ps->t->e->status;
    found.header_len = r->packed - found.header;
    found.len = r->part && !ps->t->h->apart ? place(r) - found.at + body : body;
    if (r->over || (body && (!r->part || body > r->end - place(r)))) {
        if (ps->t->e->status)
            return ps->t->e->status;
        return ps->t->h->cut ? IIP_E_ABORTED : iip_jp2_damaged(ps->t->e, "packets that do not fit their tile-part");
    }
    if (ps->t->e->status)
        return ps->t->e->status; /* a read that failed looks like the absence of a marker */
    if (r->part)
        go_to(r, place(r) + body);
    if (layer + 1 == ps->t->layers)
        close_precinct(ps, k);
    return ps->put(ps->ctx, k, res, layer, &found);
}

iip_status jpip_by_headers(jpip_tile *t, jpip_put *put, void *ctx)
{
    parser ps = {.t = t, .put = put, .ctx = ctx};
    iip_status rv = IIP_E_MEMORY;

    if (!(ps.open = calloc((size_t)t->precincts + 1, sizeof *ps.open)))
        return iip_fail(t->e, IIP_E_MEMORY, APR_ENOMEM, "JPEG 2000: no memory for %u precincts", t->precincts);
    if (open_reader(&ps.r, t) == IIP_OK)
        rv = jpip_walk(t, one_header, &ps);
    for (uint32_t k = 0; k < t->precincts; k++)
        close_precinct(&ps, k);
    free(ps.r.buf);
    free(ps.open);
    return rv;
}
