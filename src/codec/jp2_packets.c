/* SPDX-License-Identifier: Apache-2.0
 * JPEG 2000: the packets of a small code-stream, out of those of the file. As a rule they are the file's own. Where its
 * precincts are so large that the small picture would be none, code-blocks are taken out of their packets and put into
 * new ones (T.800 B.10): precincts as large as can be, all layers in one. */
#include "codec/jp2_small_form.h"
#include <stdlib.h>
#include <string.h>

#define MOST_DATA   ((size_t)1 << 31)
#define MOST_PASSES 109                 /* of a segment in OpenJPEG */
#define MOST_NODES  ((size_t)1 << 24)   /* of all packet headers made */
#define MOST_TABLES ((size_t)64 << 20)  /* bytes of code-blocks that were looked up */
#define GAP         4096                /* bytes between two packets that are read along */
#define RUN         ((size_t)256 << 10) /* read in one go, of packets that are apart */

typedef struct {
    int64_t at;
    size_t len;
    unsigned char *out;
} extent;

static unsigned char *put16(unsigned char *p, unsigned v)
{
    p[0] = (unsigned char)(v >> 8);
    p[1] = (unsigned char)v;
    return p + 2;
}

/* --- one packet --------------------------------------------------------------------------------------------------- */

typedef struct {
    iip_jp2_small *s;
    unsigned char *p; /* NULL: only counts */
    size_t n, bytes;  /* packets wanted; bytes of all */
    size_t nodes;     /* looked at */
    extent *extent;
    int eph;
} writer;

static void put_empty(writer *w, size_t n)
{
    const size_t each = w->eph ? 3 : 1;

    w->bytes += n * each;
    if (!w->p)
        return;
    memset(w->p, 0, n * each);
    for (size_t i = 0; w->eph && i < n; i++)
        put16(w->p + 3 * i + 1, 0xff92);
    w->p += n * each;
}

static iip_status put_wanted(writer *w, uint32_t number, int layer)
{
    jpip_packet k;

    if (!jpip_index_packet(w->s->ix, number, layer, &k))
        return IIP_E_FEATURE;
    w->bytes += (size_t)k.header_len + k.len;
    if (w->p) {
        if (k.header_len)
            memcpy(w->p, k.header, k.header_len);
        w->p += k.header_len;
        w->extent[w->n] = (extent){k.at, k.len, w->p};
        w->p += k.len;
    }
    w->n += k.len > 0;
    return IIP_OK;
}

/* --- bits of a packet header -------------------------------------------------------------------------------------- */

typedef struct {
    unsigned char *p;
    size_t n, room;
    int left;   /* bits of the last byte */
    int failed; /* no memory */
} bit_writer;

/* Behind a byte ff stand seven bits. */
static void put_bit(bit_writer *b, unsigned v)
{
    if (b->left == 0) {
        if (b->n + 2 > b->room) {
            unsigned char *more = realloc(b->p, b->room ? 2 * b->room : 256);

            if (!more) {
                b->failed = 1;
                return;
            }
            b->p = more;
            b->room = b->room ? 2 * b->room : 256;
        }
        b->left = b->n && b->p[b->n - 1] == 0xff ? 7 : 8;
        b->p[b->n++] = 0;
    }
    b->p[b->n - 1] |= (unsigned char)((v & 1) << --b->left);
}

static void put_bits(bit_writer *b, uint32_t v, int n)
{
    while (n-- > 0)
        put_bit(b, v >> n);
}

static void put_passes(bit_writer *b, unsigned n)
{
    if (n <= 2)
        put_bits(b, n == 1 ? 0 : 2, n == 1 ? 1 : 2);
    else if (n <= 5)
        put_bits(b, 0xc | (n - 3), 4);
    else if (n <= 36)
        put_bits(b, 0x1e0 | (n - 6), 9);
    else
        put_bits(b, 0xff80 | (n - 37), 16);
}

typedef struct {
    uint8_t value, low, known;
} node;

static size_t nodes(uint32_t w, uint32_t h)
{
    size_t n = (size_t)w * h;

    for (; w > 1 || h > 1; n += (size_t)w * h) {
        w = (w + 1) / 2;
        h = (h + 1) / 2;
    }
    return n;
}

/* A tag tree over its leaves: each node has the least value below it (B.10.2). */
static void grow(node *tree, uint32_t w, uint32_t h)
{
    while (w > 1 || h > 1) {
        const uint32_t wide = (w + 1) / 2, high = (h + 1) / 2;
        node *up = tree + (size_t)w * h;

        for (size_t i = 0; i < (size_t)wide * high; i++)
            up[i] = (node){UINT8_MAX, 0, 0};
        for (uint32_t y = 0; y < h; y++)
            for (uint32_t x = 0; x < w; x++) {
                node *q = &up[(size_t)(y / 2) * wide + x / 2];
                const uint8_t v = tree[(size_t)y * w + x].value;

                q->value = v < q->value ? v : q->value;
            }
        tree = up;
        w = wide;
        h = high;
    }
}

/* What is not yet said of whether the leaf's value is below the threshold. */
static void put_tree(bit_writer *b, node *tree, uint32_t w, uint32_t h, uint32_t x, uint32_t y, unsigned threshold)
{
    node *path[24];
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
        for (; low < threshold && !q->known; low += !q->known) {
            q->known = low >= q->value;
            put_bit(b, q->known);
        }
        q->low = (uint8_t)low;
    }
}

/* --- a packet made anew ------------------------------------------------------------------------------------------- */

static int log2_of(uint32_t n)
{
    return 31 - __builtin_clz(n);
}

/* Bits that a length needs beyond those that its number of passes gives. */
static int length_bits(uint32_t len, unsigned passes)
{
    const int n = (len ? log2_of(len) + 1 : 0) - log2_of(passes);

    return n > 3 ? n : 3;
}

/* Bytes of all its shares; 0: as they are they cannot be one. */
static int shares_of(const jpip_blocks *q, const jpip_block *k, int ht, uint32_t *len)
{
    uint64_t n = 0;

    for (uint32_t i = k->first;; i = q->share[i].next) {
        n += q->share[i].len;
        if (i == k->last)
            break;
    }
    *len = (uint32_t)n;
    return n < MOST_DATA && (ht ? k->first == k->last : k->passes <= MOST_PASSES);
}

/* Passes and lengths of a code-block. HT: the first pass and the others have segments of their own. */
static int put_lengths(bit_writer *b, const jpip_blocks *q, const jpip_block *k, int ht)
{
    const unsigned rest = ht ? k->passes - 1u : 0, first = k->passes - rest;
    uint32_t len, begin;
    int width, w;

    if (!shares_of(q, k, ht, &len))
        return 0;
    begin = rest ? q->share[k->first].first : len;
    width = length_bits(begin, first);
    if (rest && (w = length_bits(len - begin, rest)) > width)
        width = w;
    put_passes(b, k->passes);
    for (int i = 3; i < width; i++)
        put_bit(b, 1);
    put_bit(b, 0);
    put_bits(b, begin, width + log2_of(first));
    if (rest)
        put_bits(b, len - begin, width + log2_of(rest));
    return 1;
}

static void put_block(writer *w, const jpip_blocks *q, const jpip_block *k)
{
    for (uint32_t i = k->first;; i = q->share[i].next) {
        const jpip_share *h = &q->share[i];

        w->bytes += h->len;
        if (w->p) {
            w->extent[w->n] = (extent){h->at, h->len, w->p};
            w->p += h->len;
        }
        w->n += h->len > 0;
        if (i == k->last)
            return;
    }
}

/* A sub-band of a packet: its code-blocks by their numbers in the sub-band. */
typedef struct {
    iip_jp2_box at;
    uint32_t w, h;
    node *tree; /* of inclusion, then of zero bit-planes */
} band;

/* The code-block of that number, if it is wanted and there; *of: where its shares are. */
static const jpip_block *block_at(const iip_jp2_small *s, const iip_jp2_cells *k, int b, int64_t x, int64_t y,
                                  const jpip_blocks **of)
{
    const jpip_block_band *d;
    int64_t column, row;

    if (x < k->want.x0 || y < k->want.y0 || x >= k->want.x1 || y >= k->want.y1)
        return NULL;
    column = (x << k->px >> k->in.px) - (k->in.box.x0 >> k->in.px) - k->read.x0;
    row = (y << k->py >> k->in.py) - (k->in.box.y0 >> k->in.py) - k->read.y0;
    *of = s->blocks[k->blocks + (size_t)(row * (k->read.x1 - k->read.x0) + column)];
    d = &(*of)->band[b];
    x -= d->x0;
    y -= d->y0;
    return x < 0 || y < 0 || x >= d->w || y >= d->h || !d->block[y * d->w + x].passes ? NULL : &d->block[y * d->w + x];
}

/* Fills in the trees of a band; how many of its code-blocks are there. */
static size_t grow_trees(const iip_jp2_small *s, const iip_jp2_cells *k, int b, band *d)
{
    const size_t n = nodes(d->w, d->h);
    const jpip_blocks *of;
    size_t some = 0, i = 0;

    for (int64_t y = d->at.y0; y < d->at.y1; y++)
        for (int64_t x = d->at.x0; x < d->at.x1; x++, i++) {
            const jpip_block *q = block_at(s, k, b, x, y, &of);

            d->tree[i] = (node){q == NULL, 0, 0};
            d->tree[n + i] = (node){q ? q->planes : UINT8_MAX, 0, 0};
            some += q != NULL;
        }
    grow(d->tree, d->w, d->h);
    grow(d->tree + n, d->w, d->h);
    return some;
}

static iip_status put_band(bit_writer *b, const iip_jp2_small *s, const iip_jp2_cells *k, int ht, int number, band *d)
{
    const size_t n = nodes(d->w, d->h);

    for (uint32_t y = 0; y < d->h; y++)
        for (uint32_t x = 0; x < d->w; x++) {
            const jpip_blocks *of;
            const jpip_block *q = block_at(s, k, number, d->at.x0 + x, d->at.y0 + y, &of);

            put_tree(b, d->tree, d->w, d->h, x, y, 1);
            if (!q)
                continue;
            put_tree(b, d->tree + n, d->w, d->h, x, y, q->planes + 1u);
            if (!put_lengths(b, of, q, ht))
                return IIP_E_FEATURE;
        }
    return IIP_OK;
}

static void put_bodies(writer *w, const iip_jp2_cells *k, int number, const band *d)
{
    for (int64_t y = d->at.y0; y < d->at.y1; y++)
        for (int64_t x = d->at.x0; x < d->at.x1; x++) {
            const jpip_blocks *of;
            const jpip_block *q = block_at(w->s, k, number, x, y, &of);

            if (q)
                put_block(w, of, q);
        }
}

/* The code-blocks of a band in the small picture that lie in a precinct. */
static void set_band(const iip_jp2_small *s, int c, int r, const iip_jp2_cells *k, int b, iip_jp2_box cell, band *out)
{
    const iip_jp2_comp *q = &s->h->comp[c];
    const int high = r > 0, nb = s->coding[c].levels - s->level - r + high, ox = high && b != 1, oy = high && b != 0;
    const iip_jp2_box in = {
        iip_jp2_band(iip_jp2_ceil(s->box.x0, q->dx), nb, ox), iip_jp2_band(iip_jp2_ceil(s->box.y0, q->dy), nb, oy),
        iip_jp2_band(iip_jp2_ceil(s->box.x1, q->dx), nb, ox), iip_jp2_band(iip_jp2_ceil(s->box.y1, q->dy), nb, oy)};
    const int ex = k->px - high, ey = k->py - high;
    iip_jp2_box at = {in.x0 >> ex, in.y0 >> ey, in.x1 > in.x0 ? ((in.x1 - 1) >> ex) + 1 : in.x0 >> ex,
                      in.y1 > in.y0 ? ((in.y1 - 1) >> ey) + 1 : in.y0 >> ey};

    at.x0 = at.x0 > cell.x0 ? at.x0 : cell.x0;
    at.y0 = at.y0 > cell.y0 ? at.y0 : cell.y0;
    at.x1 = at.x1 < cell.x1 ? at.x1 : cell.x1;
    at.y1 = at.y1 < cell.y1 ? at.y1 : cell.y1;
    if (at.x1 <= at.x0 || at.y1 <= at.y0)
        at.x1 = at.x0, at.y1 = at.y0;
    *out = (band){at, (uint32_t)(at.x1 - at.x0), (uint32_t)(at.y1 - at.y0), NULL};
}

/* A packet of the code-blocks in those cells. */
static iip_status put_made(writer *w, int c, int r, iip_jp2_box cell)
{
    const iip_jp2_small *s = w->s;
    const iip_jp2_cells *k = &s->cell[s->row[c] + (uint32_t)r];
    const int ht = (s->coding[c].style & IIP_JP2_HT) != 0, bands = r ? 3 : 1;
    bit_writer head = {.n = 0};
    node *tree;
    band d[3];
    size_t n = 0, some = 0;
    iip_status rv = IIP_OK;

    for (int b = 0; b < bands; b++) {
        set_band(s, c, r, k, b, cell, &d[b]);
        n += 2 * nodes(d[b].w, d[b].h);
    }
    if ((w->nodes += n) > MOST_NODES)
        return IIP_E_FEATURE;
    if (!(tree = malloc((n + 1) * sizeof *tree)))
        return iip_fail(s->e, IIP_E_MEMORY, APR_ENOMEM, "JPEG 2000: no memory for a packet header");
    d[0].tree = tree;
    for (int b = 0; b < bands; b++) {
        if (b)
            d[b].tree = d[b - 1].tree + 2 * nodes(d[b - 1].w, d[b - 1].h);
        some += grow_trees(s, k, b, &d[b]);
    }
    put_bit(&head, some > 0);
    for (int b = 0; b < bands && some && rv == IIP_OK; b++)
        rv = put_band(&head, s, k, ht, b, &d[b]);
    if (rv == IIP_OK && head.failed)
        rv = iip_fail(s->e, IIP_E_MEMORY, APR_ENOMEM, "JPEG 2000: no memory for a packet header");
    if (rv == IIP_OK && head.p[head.n - 1] == 0xff)
        head.p[head.n++] = 0;
    if (rv == IIP_OK) {
        w->bytes += head.n + (w->eph ? 2 : 0);
        if (w->p) {
            memcpy(w->p, head.p, head.n);
            w->p += head.n;
            if (w->eph)
                w->p = put16(w->p, 0xff92);
        }
        for (int b = 0; b < bands && some; b++)
            put_bodies(w, k, b, &d[b]);
    }
    free(head.p);
    free(tree);
    return rv;
}

/* The packets of a resolution. */
static iip_status put_all_made(writer *w, int c, int r)
{
    const iip_jp2_small *s = w->s;
    const iip_jp2_cells *k = &s->cell[s->row[c] + (uint32_t)r];
    int px, py;
    iip_status rv = IIP_OK;

    iip_jp2_small_precinct(&s->coding[c], r, &px, &py);
    px -= k->px;
    py -= k->py;
    for (int64_t y = k->all.y0 >> py; y <= (k->all.y1 - 1) >> py && rv == IIP_OK; y++)
        for (int64_t x = k->all.x0 >> px; x <= (k->all.x1 - 1) >> px && rv == IIP_OK; x++)
            rv = put_made(w, c, r, (iip_jp2_box){x << px, y << py, (x + 1) << px, (y + 1) << py});
    return rv;
}

/* Where wanted cells lie among the tile's precincts. */
static void span(int64_t from, int64_t to, int exp, int64_t box0, int in, int64_t *first, int64_t *end)
{
    *first = (from << exp >> in) - (box0 >> in);
    *end = to > from ? ((to - 1) << exp >> in) - (box0 >> in) + 1 : *first;
}

static iip_status read_cells(iip_jp2_small *s, int c, int r, const iip_jp2_cells *k)
{
    jpip_blocks **out = s->blocks + k->blocks;

    for (int64_t y = k->read.y0; y < k->read.y1; y++)
        for (int64_t x = k->read.x0; x < k->read.x1; x++) {
            const uint32_t place = (uint32_t)(y * k->in.wide + x);
            const jpip_precinct who = {s->tile, x, y, c, r, k->in.s + place, k->in.number + place};

            if (jpip_blocks_read(s->ix, s->h, &who, s->layers, out, s->e) != IIP_OK)
                return s->e->status ? s->e->status : IIP_E_FEATURE;
            s->tables += (*out)->bytes;
            if (s->tables > MOST_TABLES)
                return IIP_E_FEATURE;
            out++;
        }
    return IIP_OK;
}

/* The code-blocks of all precincts that wanted cells lie in. */
static iip_status read_blocks(iip_jp2_small *s)
{
    iip_status rv = IIP_OK;

    s->blocks_n = 0;
    for (int c = 0; c < s->h->comps; c++)
        for (int r = 0; r <= s->coding[c].levels - s->level; r++) {
            iip_jp2_cells *k = &s->cell[s->row[c] + (uint32_t)r];

            span(k->want.x0, k->want.x1, k->px, k->in.box.x0, k->in.px, &k->read.x0, &k->read.x1);
            span(k->want.y0, k->want.y1, k->py, k->in.box.y0, k->in.py, &k->read.y0, &k->read.y1);
            k->blocks = s->blocks_n;
            s->blocks_n += (size_t)((k->read.x1 - k->read.x0) * (k->read.y1 - k->read.y0));
        }
    if (!(s->blocks = calloc(s->blocks_n + 1, sizeof *s->blocks)))
        return iip_fail(s->e, IIP_E_MEMORY, APR_ENOMEM, "JPEG 2000: no memory for code-blocks");
    for (int c = 0; c < s->h->comps && rv == IIP_OK; c++)
        for (int r = 0; r <= s->coding[c].levels - s->level && rv == IIP_OK; r++)
            rv = read_cells(s, c, r, &s->cell[s->row[c] + (uint32_t)r]);
    return rv;
}

/* --- all of them -------------------------------------------------------------------------------------------------- */

static iip_status put_row(writer *w, const iip_jp2_cells *k, int64_t y, int layer)
{
    const size_t wide = (size_t)(k->all.x1 - k->all.x0);
    const int64_t x0 = k->in.box.x0 >> k->in.px, y0 = k->in.box.y0 >> k->in.py;
    int64_t from = k->want.x0 > k->all.x0 ? k->want.x0 : k->all.x0,
            to = k->want.x1 < k->all.x1 ? k->want.x1 : k->all.x1;
    iip_status rv = IIP_OK;

    if (y < k->want.y0 || y >= k->want.y1 || from >= to) {
        put_empty(w, wide);
        return IIP_OK;
    }
    put_empty(w, (size_t)(from - k->all.x0));
    for (int64_t x = from; x < to && rv == IIP_OK; x++)
        rv = put_wanted(w, k->in.number + (uint32_t)((y - y0) * k->in.wide + (x - x0)), layer);
    put_empty(w, (size_t)(k->all.x1 - to));
    return rv;
}

static iip_status put_packets(writer *w)
{
    const iip_jp2_small *s = w->s;
    iip_status rv = IIP_OK;

    for (int l = 0; l < (s->fine ? 1 : s->layers); l++)
        for (int r = 0; r <= s->most; r++)
            for (int c = 0; c < s->h->comps; c++) {
                const iip_jp2_cells *k = &s->cell[s->row[c] + (uint32_t)r];

                if (r > s->coding[c].levels - s->level || k->all.x1 == k->all.x0)
                    continue;
                if (s->fine)
                    rv = put_all_made(w, c, r);
                for (int64_t y = k->all.y0; y < k->all.y1 && !s->fine && rv == IIP_OK; y++)
                    rv = put_row(w, k, y, l);
                if (rv != IIP_OK || w->bytes > MOST_DATA)
                    return rv == IIP_E_MEMORY ? rv : IIP_E_FEATURE;
            }
    return IIP_OK;
}

static int by_place(const void *a, const void *b)
{
    const extent *x = a, *y = b;

    return x->at < y->at ? -1 : x->at > y->at;
}

/* Reads them in the order of the file, neighbours in one go. */
static iip_status fetch(iip_jp2_small *s, extent *k, size_t n)
{
    unsigned char *buf = malloc(RUN);
    iip_status rv = IIP_OK;

    if (!buf)
        return iip_fail(s->e, IIP_E_MEMORY, APR_ENOMEM, "JPEG 2000: no memory for packets");
    qsort(k, n, sizeof *k, by_place);
    for (size_t i = 0, next; i < n && rv == IIP_OK; i = next) {
        int64_t end = k[i].at + (int64_t)k[i].len;

        for (next = i + 1;
             next < n && k[next].at - end <= GAP && k[next].at + (int64_t)k[next].len - k[i].at <= (int64_t)RUN; next++)
            end = k[next].at + (int64_t)k[next].len > end ? k[next].at + (int64_t)k[next].len : end;
        if (next == i + 1) {
            rv = iip_jp2_bytes(s->h->f, k[i].out, k[i].len, k[i].at, s->e);
        } else {
            rv = iip_jp2_bytes(s->h->f, buf, (size_t)(end - k[i].at), k[i].at, s->e);
            for (size_t j = i; j < next && rv == IIP_OK; j++)
                memcpy(k[j].out, buf + (k[j].at - k[i].at), k[j].len);
        }
    }
    free(buf);
    return rv;
}

iip_status iip_jp2_packets_count(iip_jp2_small *s)
{
    writer w = {.s = s, .eph = (s->coding[0].marked & IIP_JP2_EPH) != 0};
    iip_status rv = s->fine ? read_blocks(s) : IIP_OK;

    if (rv == IIP_OK)
        rv = put_packets(&w);
    s->bodies = w.n;
    s->packed = w.bytes;
    return rv;
}

iip_status iip_jp2_packets_put(iip_jp2_small *s, unsigned char *p)
{
    writer w = {.s = s,
                .p = p,
                .eph = (s->coding[0].marked & IIP_JP2_EPH) != 0,
                .extent = malloc((s->bodies + 1) * sizeof *w.extent)};
    iip_status rv;

    if (!w.extent)
        return iip_fail(s->e, IIP_E_MEMORY, APR_ENOMEM, "JPEG 2000: no memory for packets");
    if ((rv = put_packets(&w)) == IIP_OK)
        rv = fetch(s, w.extent, w.n);
    free(w.extent);
    return rv;
}

void iip_jp2_packets_free(iip_jp2_small *s)
{
    for (size_t i = 0; s->blocks && i < s->blocks_n; i++)
        jpip_blocks_free(s->blocks[i]);
    free(s->blocks);
    s->blocks = NULL;
}
