/* SPDX-License-Identifier: Apache-2.0
 * Where a tile's packets end by their headers, and where the code-blocks in them lie (T.800 B.9, B.10; code-blocks of
 * T.814: a cleanup pass, then the passes of one refinement). */
#include "jpip/index_data.h"
#include <stdlib.h>
#include <string.h>

#define MOST_BLOCKS (1u << 20)          /* code-blocks of a precinct */
#define MOST_STATE  ((size_t)512 << 20) /* bytes of open precincts in a tile */
#define MOST_PLANES 128                 /* zero bit-planes, in doubt: none has as many */

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
    jpip_blocks *blocks; /* what is found goes there, or NULL */
    size_t room;         /* for its shares */
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

        d->w = blocks(iip_jp2_band(x0, nb, ox), iip_jp2_band(x1, nb, ox), column, g->px - high, q->xcb);
        d->h = blocks(iip_jp2_band(y0, nb, oy), iip_jp2_band(y1, nb, oy), row, g->py - high, q->ycb);
        if (d->w == 0 || d->h == 0)
            d->w = d->h = 0;
        n += (size_t)d->w * d->h;
    }
    return n;
}

static iip_status open_precinct(parser *ps, const jpip_grid *g, int c, int res, uint32_t k)
{
    jpip_tile *t = ps->t;
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
    if (style & IIP_JP2_HT)
        return so_far == 0 ? 1 : 3 - so_far;
    if (style & IIP_JP2_TERMALL)
        return 1;
    if (!(style & IIP_JP2_BYPASS))
        return UINT16_MAX;
    if (so_far < 10)
        return 10 - so_far;
    return (so_far - 10) % 3 == 0 ? 2 : 1;
}

static int log2_of(unsigned n)
{
    return 31 - __builtin_clz(n);
}

static iip_status add_share(parser *ps, int b, size_t i, const jpip_share *add, unsigned passes)
{
    jpip_blocks *q = ps->blocks;
    jpip_block *k = &q->band[b].block[i];

    if (q->shares == ps->room) {
        const size_t room = ps->room ? 2 * ps->room : 256;
        jpip_share *more = realloc(q->share, room * sizeof *more);

        if (!more)
            return iip_fail(ps->t->e, IIP_E_MEMORY, APR_ENOMEM, "JPEG 2000: no memory for code-blocks");
        q->share = more;
        ps->room = room;
    }
    q->share[q->shares] = *add;
    if (k->passes)
        q->share[k->last].next = (uint32_t)q->shares;
    else
        k->first = (uint32_t)q->shares;
    k->last = (uint32_t)q->shares++;
    k->passes = (uint16_t)passes;
    return IIP_OK;
}

/* What one code-block adds to the packet's body. */
static iip_status contribution(parser *ps, unsigned style, precinct *of, int b, uint32_t x, uint32_t y, int layer,
                               int64_t *body)
{
    band *d = &of->band[b];
    const size_t i = (size_t)y * d->w + x;
    block *k = &d->block[i];
    reader *r = &ps->r;
    jpip_share share = {.at = *body};
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
        if (ps->blocks)
            ps->blocks->band[b].block[i].planes = (uint8_t)(planes - 1);
    }
    n = passes(r);
    while (bit(r))
        if (++k->lblock > 32)
            return iip_jp2_damaged(ps->t->e, "a code-block too long");
    if (k->passes + n > (style & IIP_JP2_HT ? 3 : UINT16_MAX / 2))
        return style & IIP_JP2_HT ? iip_jp2_bad(ps->t->e, "HT code-blocks of several sets, and no PLT segments")
                                  : iip_jp2_damaged(ps->t->e, "a code-block of too many passes");
    while (n > 0 && !r->over) {
        unsigned some = segment(style, k->passes);
        int width;

        some = some < n ? some : n;
        if ((width = k->lblock + log2_of(some)) > 32)
            return iip_jp2_damaged(ps->t->e, "a code-block too long");
        *body += bits(r, width);
        if (k->passes == 0)
            share.first = (uint32_t)(*body - share.at);
        k->passes = (uint16_t)(k->passes + some);
        n -= some;
    }
    share.len = (uint32_t)(*body - share.at);
    return ps->blocks && !r->over ? add_share(ps, b, i, &share, k->passes) : IIP_OK;
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
    if (!ps->open[k] && open_precinct(ps, &ps->t->grid[ps->t->row[c] + (uint32_t)res], c, res, k) != IIP_OK)
        return ps->t->e->status;
    q = ps->open[k];
    if (bit(r))
        for (int b = 0; b < q->bands; b++)
            for (uint32_t y = 0; y < q->band[b].h; y++)
                for (uint32_t x = 0; x < q->band[b].w && !r->over; x++)
                    if (contribution(ps, style, q, b, x, y, layer, body) != IIP_OK)
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

/* --- code-blocks of one precinct ---------------------------------------------------------------------------------- */

/* Its packets, of the first layers. IIP_E_FEATURE: one is not there, or is longer than its header says. */
static iip_status read_blocks(parser *ps, const jpip_index *ix, uint32_t number, int c, int r, int layers)
{
    jpip_tile *t = ps->t;

    for (int layer = 0; layer < layers; layer++) {
        const size_t from = ps->blocks->shares;
        int64_t body, at;
        jpip_packet k;

        if (!jpip_index_packet(ix, number, layer, &k))
            return IIP_E_FEATURE;
        t->packed.p = (unsigned char *)k.header;
        t->packed.n = k.header_len;
        ps->r.packed = 0;
        ps->r.at = k.at;
        ps->r.end = k.at + k.len;
        ps->r.p = ps->r.limit = ps->r.buf;
        ps->r.step = JPIP_DATA_FIRST;
        if (header(ps, 0, c, r, layer, &body) != IIP_OK)
            return t->e->status;
        at = place(&ps->r);
        if (ps->r.over || body != ps->r.end - at)
            return IIP_E_FEATURE;
        for (size_t i = from; i < ps->blocks->shares; i++)
            ps->blocks->share[i].at += at;
    }
    return IIP_OK;
}

/* The tables of its bands, empty. */
static iip_status make_blocks(parser *ps, const jpip_grid *g, const jpip_precinct *who, jpip_blocks **out)
{
    jpip_tile *t = ps->t;
    const iip_jp2_coding *q = &t->coding[who->comp];
    const iip_jp2_comp *comp = &t->h->comp[who->comp];
    const int high = who->res > 0, nb = q->levels - who->res + high, ex = g->px - high, ey = g->py - high;
    const int xcb = q->xcb < ex ? q->xcb : ex, ycb = q->ycb < ey ? q->ycb : ey;
    const int64_t px = ((g->box.x0 >> g->px) + who->x) << ex, py = ((g->box.y0 >> g->py) + who->y) << ey;
    precinct *open;
    size_t n = 0;
    jpip_block *at;

    if (open_precinct(ps, g, who->comp, who->res, 0) != IIP_OK)
        return t->e->status;
    open = ps->open[0];
    for (int b = 0; b < open->bands; b++)
        n += (size_t)open->band[b].w * open->band[b].h;
    if (!(*out = ps->blocks = calloc(1, sizeof **out + n * sizeof(jpip_block))))
        return iip_fail(t->e, IIP_E_MEMORY, APR_ENOMEM, "JPEG 2000: no memory for code-blocks");
    at = (jpip_block *)(void *)(*out + 1);
    (*out)->bands = open->bands;
    (*out)->bytes = sizeof **out + n * sizeof *at;
    for (int b = 0; b < open->bands; b++) {
        const band *d = &open->band[b];
        const int64_t x = iip_jp2_band(iip_jp2_ceil(t->box.x0, comp->dx), nb, high && b != 1);
        const int64_t y = iip_jp2_band(iip_jp2_ceil(t->box.y0, comp->dy), nb, high && b != 0);

        (*out)->band[b] = (jpip_block_band){(x > px ? x : px) >> xcb, (y > py ? y : py) >> ycb, d->w, d->h, at};
        at += (size_t)d->w * d->h;
    }
    return IIP_OK;
}

iip_status jpip_blocks_read(const jpip_index *ix, const iip_jp2_head *h, const jpip_precinct *who, int layers,
                            jpip_blocks **out, iip_error *e)
{
    jpip_res res;
    precinct *open = NULL;
    jpip_tile t = {.h = h,
                   .f = h->f,
                   .e = e,
                   .tile = who->tile,
                   .box = jpip_index_tile_box(ix, who->tile),
                   .coding = jpip_index_coding(ix, who->tile, 0)};
    parser ps = {.t = &t, .open = &open};
    jpip_grid g;
    iip_status rv;

    *out = NULL;
    e->status = IIP_OK;
    jpip_index_res(ix, who->tile, who->comp, who->res, &res);
    /* The only precinct that is open is number 0 here */
    g = (jpip_grid){res.box, res.wide, res.high, -(uint32_t)(who->y * res.wide + who->x), res.px, res.py};
    rv = make_blocks(&ps, &g, who, out);
    if (rv == IIP_OK && !(ps.r.buf = malloc(JPIP_DATA_BUFFER)))
        rv = iip_fail(e, IIP_E_MEMORY, APR_ENOMEM, "JPEG 2000: no memory for packets");
    ps.r.t = &t;
    if (rv == IIP_OK)
        rv = read_blocks(&ps, ix, who->number, who->comp, who->res, layers);
    close_precinct(&ps, 0);
    free(ps.r.buf);
    if (rv == IIP_OK)
        (*out)->bytes += ps.room * sizeof *(*out)->share;
    if (rv != IIP_OK) {
        jpip_blocks_free(*out);
        *out = NULL;
    }
    return rv;
}

void jpip_blocks_free(jpip_blocks *q)
{
    if (q)
        free(q->share);
    free(q);
}
