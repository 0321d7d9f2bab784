/* SPDX-License-Identifier: Apache-2.0
 * Building a packet index: counts what the code-stream promises, lays the tables out, then takes tile after tile. */
#include "jpip/index_build.h"
#include "jpip/index_form.h"
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define MOST_PRECINCTS  (1u << 26)
#define MOST_PACKETS    (UINT64_C(1) << 28)
#define MOST_BYTES      (UINT64_C(1) << 30)
#define MOST_COMPONENTS (UINT64_C(1) << 24) /* of all tiles; so ids stay below 2^53 */
#define MOST_CODINGS    ((size_t)64 << 20)  /* bytes of coding styles */
#define FREE_BYTES                                                                                                     \
    (UINT64_C(64) << 20) /* of an index, however small the file is; beyond it, so many times the file:                 \
                          */
#define TIMES  32
#define CPU_NS UINT64_C(60000000000)

typedef struct {
    const iip_jp2_file *f;
    iip_error *e;
    iip_jp2_head head;
    apr_pool_t *pool;
    int64_t main_len;
    size_t tiles;
    jpip_bytes codings, text, packed, plm, volumes; /* volumes: of the main header */
    int sets;
    struct jpip_index_tile *tile;
    uint32_t *first;
    uint64_t precincts, packets;
    int levels, layers, sop, eph;
    jpip_lengths *part; /* PLM's, by tile-part; NULL = none */
    unsigned char *base;
    uint32_t *low, *sum, *packed_low, *packed_len; /* of base, while it is filled */
    uint16_t *high, *packed_high;
    jpip_part *parts;
    jpip_tile t;
    uint32_t *row;
    int32_t *ids; /* tile-parts of the tile at hand */
} build;

/* --- geometry ----------------------------------------------------------------------------------------------------- */

static int64_t cells(int64_t from, int64_t to, int exp)
{
    return to > from ? ((to - 1) >> exp) - (from >> exp) + 1 : 0;
}

static void grid_at(const iip_jp2_comp *comp, const iip_jp2_coding *k, iip_jp2_box tile, int r, jpip_grid *g)
{
    const int up = k->levels - r;

    g->px = k->precinct[r] & 15;
    g->py = k->precinct[r] >> 4;
    g->box = (iip_jp2_box){iip_jp2_at(tile.x0, comp->dx, up), iip_jp2_at(tile.y0, comp->dy, up),
                           iip_jp2_at(tile.x1, comp->dx, up), iip_jp2_at(tile.y1, comp->dy, up)};
    g->wide = cells(g->box.x0, g->box.x1, g->px);
    g->high = cells(g->box.y0, g->box.y1, g->py);
    if (g->wide == 0 || g->high == 0)
        g->wide = g->high = 0;
}

/* Precincts of a tile's component; more than MOST_PRECINCTS: too many. */
static uint64_t count(const iip_jp2_comp *comp, const iip_jp2_coding *k, iip_jp2_box tile)
{
    uint64_t n = 0;
    jpip_grid g;

    for (int r = 0; r <= k->levels && n <= MOST_PRECINCTS; r++) {
        grid_at(comp, k, tile, r, &g);
        n += (uint64_t)g.wide * (uint64_t)g.high; /* each below 2^31 */
    }
    return n;
}

/* --- counting ----------------------------------------------------------------------------------------------------- */

static iip_status too_many(build *b, const char *what)
{
    return iip_fail(b->e, IIP_E_FORMAT, 0, "JPEG 2000: too many %s for an index", what);
}

/* The set of coding styles of a tile; of those that have their own, equal neighbours share one. */
static iip_status set_of(build *b, size_t tile, uint32_t *set)
{
    const iip_jp2_head *h = &b->head;
    const size_t n = (size_t)h->comps * sizeof *h->coding;
    unsigned char *p;

    *set = 0;
    if (b->sets && (h->first[tile] < 0 || !h->part[h->first[tile]].own))
        return IIP_OK;
    if (!(p = jpip_bytes_room(&b->codings, n, MOST_CODINGS, b->e)))
        return b->e->status;
    memset(p, 0, n);
    if (!b->sets)
        memcpy(p, h->coding, n);
    else if (iip_jp2_tile_coding(h, (int64_t)tile, (iip_jp2_coding *)(void *)p, b->e) != IIP_OK)
        return b->e->status;
    if (b->sets && memcmp(p, p - n, n) == 0) {
        *set = (uint32_t)b->sets - 1;
        return IIP_OK;
    }
    b->codings.n += n;
    *set = (uint32_t)b->sets++;
    return IIP_OK;
}

static iip_status count_tile(build *b, size_t tile)
{
    const iip_jp2_head *h = &b->head;
    const iip_jp2_box box = iip_jp2_tile_box(h, (int64_t)tile);
    struct jpip_index_tile *t = &b->tile[tile];
    const iip_jp2_coding *k;
    uint64_t n = 0;

    if (set_of(b, tile, &t->coding) != IIP_OK)
        return b->e->status;
    k = (const iip_jp2_coding *)(const void *)b->codings.p + (size_t)t->coding * (size_t)h->comps;
    if (k->order > 4)
        return iip_jp2_bad(b->e, "an unknown progression");
    if (k->layers == 0)
        return iip_jp2_bad(b->e, "no layers");
    for (int c = 0; c < h->comps; c++) {
        const uint64_t some = count(&h->comp[c], &k[c], box);

        b->first[tile * (size_t)h->comps + (size_t)c] = (uint32_t)n;
        n += some;
        if (some > MOST_PRECINCTS || b->precincts + n > MOST_PRECINCTS)
            return too_many(b, "precincts");
        b->levels = k[c].levels > b->levels ? k[c].levels : b->levels;
        if (jpip_tile_time(&b->t) != IIP_OK)
            return b->e->status;
    }
    t->precinct = (uint32_t)b->precincts;
    t->precincts = (uint32_t)n;
    t->packet = (uint32_t)b->packets;
    t->part = h->first[tile];
    t->layers = k->layers;
    t->mct = k->mct != 0;
    b->precincts += n;
    b->packets += n * k->layers;
    if (b->packets > MOST_PACKETS)
        return too_many(b, "packets");
    b->layers = k->layers > b->layers ? k->layers : b->layers;
    b->sop |= (k->marked & IIP_JP2_SOP) != 0;
    b->eph |= (k->marked & IIP_JP2_EPH) != 0;
    return IIP_OK;
}

static iip_status count_all(build *b)
{
    const uint64_t comps = (uint64_t)b->tiles * (uint64_t)b->head.comps;
    uint32_t set;

    if (comps > MOST_COMPONENTS)
        return too_many(b, "components of tiles");
    b->tile = calloc(b->tiles, sizeof *b->tile);
    b->first = calloc((size_t)comps, sizeof *b->first);
    if (!b->tile || !b->first)
        return iip_fail(b->e, IIP_E_MEMORY, APR_ENOMEM, "JPEG 2000: no memory for an index of %zu tiles", b->tiles);
    if (set_of(b, 0, &set) != IIP_OK) /* the main header's */
        return b->e->status;
    for (size_t i = 0; i < b->tiles; i++)
        if (count_tile(b, i) != IIP_OK)
            return b->e->status;
    return IIP_OK;
}

/* --- the block ---------------------------------------------------------------------------------------------------- */

static uint64_t aligned(uint64_t n)
{
    return (n + 7) & ~UINT64_C(7);
}

/* Sizes of all tables but the two of bytes, which come last. */
static uint64_t sizes(build *b, jpip_index_record *rec)
{
    const uint64_t packets = b->packets, apart = b->head.apart ? packets : 0;
    const uint64_t number[JPIP_TABLES] = {(uint64_t)b->head.comps,
                                          (uint64_t)b->sets * (uint64_t)b->head.comps,
                                          (uint64_t)b->head.parts,
                                          b->tiles,
                                          b->tiles * (uint64_t)b->head.comps,
                                          packets,
                                          packets,
                                          packets,
                                          apart,
                                          apart,
                                          apart,
                                          0,
                                          0};
    const uint64_t unit[JPIP_TABLES] = {sizeof(iip_jp2_comp),
                                        sizeof(iip_jp2_coding),
                                        sizeof(jpip_part),
                                        sizeof(jpip_index_tile),
                                        4,
                                        4,
                                        4,
                                        2,
                                        4,
                                        4,
                                        2,
                                        1,
                                        1};
    uint64_t at = aligned(sizeof *rec);

    for (int i = 0; i < JPIP_TABLES; i++) {
        rec->at[i] = at;
        rec->unit[i] = unit[i];
        at = aligned(at + number[i] * unit[i]);
    }
    rec->at[JPIP_TABLES] = at;
    return at;
}

static void set_record(build *b, jpip_index_record *rec)
{
    const iip_jp2_head *h = &b->head;
    const int64_t grid[10] = {h->x0, h->y0, h->x1, h->y1, h->tx0, h->ty0, h->tw, h->th, h->columns, h->rows};

    memcpy(rec->magic, "iipjpip", 8);
    rec->order = 0x01020304;
    memcpy(rec->grid, grid, sizeof grid);
    rec->precincts = (int64_t)b->precincts;
    rec->packets = (int64_t)b->packets;
    rec->len = b->f->len;
    rec->main_len = b->main_len;
    rec->comps = h->comps;
    rec->levels = b->levels;
    rec->layers = b->layers;
    rec->cut = h->cut;
    rec->parts = h->parts;
    rec->sop = b->sop;
    rec->eph = b->eph;
    rec->apart = h->apart;
}

static void *table(build *b, const jpip_index_record *rec, int i)
{
    return b->base + rec->at[i];
}

static iip_status make_block(build *b)
{
    jpip_index_record rec = {.version = JPIP_INDEX_VERSION};
    const uint64_t n = sizes(b, &rec);

    /* A packet is a byte at least. What says that it has more, or was cut and would take much memory, is not worth it.
     */
    if (!b->head.cut && b->packets > (uint64_t)b->f->len)
        return iip_jp2_bad(b->e, "more packets than bytes");
    if (n > MOST_BYTES || n > FREE_BYTES + TIMES * (uint64_t)b->f->len)
        return too_many(b, "packets");
    if (!(b->base = calloc(1, (size_t)n)))
        return iip_fail(b->e, IIP_E_MEMORY, APR_ENOMEM, "JPEG 2000: no memory for an index of %llu bytes",
                        (unsigned long long)n);
    set_record(b, &rec);
    memcpy(b->base, &rec, sizeof rec);
    memcpy(b->base + rec.at[JPIP_T_COMP], b->head.comp, (size_t)b->head.comps * sizeof *b->head.comp);
    memcpy(b->base + rec.at[JPIP_T_CODING], b->codings.p, b->codings.n);
    memcpy(b->base + rec.at[JPIP_T_FIRST], b->first, b->tiles * (size_t)b->head.comps * sizeof *b->first);
    memset(b->base + rec.at[JPIP_T_LOW], 0xff, (size_t)(rec.at[JPIP_T_SUM] - rec.at[JPIP_T_LOW]));
    memset(b->base + rec.at[JPIP_T_HIGH], 0xff, (size_t)(rec.at[JPIP_T_PACKED_LOW] - rec.at[JPIP_T_HIGH]));
    b->parts = table(b, &rec, JPIP_T_PART);
    b->low = table(b, &rec, JPIP_T_LOW);
    b->sum = table(b, &rec, JPIP_T_SUM);
    b->high = table(b, &rec, JPIP_T_HIGH);
    b->packed_low = table(b, &rec, JPIP_T_PACKED_LOW);
    b->packed_len = table(b, &rec, JPIP_T_PACKED_LEN);
    b->packed_high = table(b, &rec, JPIP_T_PACKED_HIGH);
    for (int32_t i = 0; i < b->head.parts; i++) {
        const iip_jp2_part *p = &b->head.part[i];

        b->parts[i] = (jpip_part){p->at, p->len, p->data, p->tile, p->next, -2, p->missing > 0};
    }
    return IIP_OK;
}

/* The texts behind the tables, and all counted. */
static iip_status close_block(build *b, jpip_index **out)
{
    jpip_index_record *rec = (jpip_index_record *)(void *)b->base;
    const uint64_t text = rec->at[JPIP_T_TEXT], apart = aligned(text + b->text.n), n = aligned(apart + b->packed.n);
    unsigned char *p;

    memcpy(b->base + rec->at[JPIP_T_TILE], b->tile, b->tiles * sizeof *b->tile);
    if (n > MOST_BYTES || !(p = realloc(b->base, (size_t)n)))
        return n > MOST_BYTES ? too_many(b, "packet headers")
                              : iip_fail(b->e, IIP_E_MEMORY, APR_ENOMEM, "JPEG 2000: no memory for an index");
    b->base = p;
    rec = (jpip_index_record *)(void *)p;
    memset(p + text, 0, (size_t)(n - text));
    memcpy(p + text, b->text.p, b->text.n);
    if (b->packed.n)
        memcpy(p + apart, b->packed.p, b->packed.n);
    rec->at[JPIP_T_APART] = apart;
    rec->at[JPIP_TABLES] = n;
    rec->read = b->t.read;
    rec->text_main = (int64_t)b->tile[0].text;
    if (!(*out = jpip_index_attach(p, p, free)))
        return iip_fail(b->e, IIP_E_MEMORY, APR_ENOMEM, "JPEG 2000: no memory for an index");
    b->base = NULL;
    return IIP_OK;
}

/* --- one tile ----------------------------------------------------------------------------------------------------- */

/* PLM's lengths, dealt out to the tile-parts in the order of the file; of no use if they do not come out even. */
static iip_status deal_lengths(build *b)
{
    jpip_lengths *part;
    size_t at = 0;

    if (b->plm.n == 0)
        return IIP_OK;
    if (!(part = calloc((size_t)b->head.parts + 1, sizeof *part)))
        return iip_fail(b->e, IIP_E_MEMORY, APR_ENOMEM, "JPEG 2000: no memory for packet lengths");
    for (int32_t i = 0; i < b->head.parts && at < b->plm.n; i++) {
        const size_t n = b->plm.p[at++];

        if (n > b->plm.n - at)
            break;
        part[i] = (jpip_lengths){at, n, 1};
        at += n;
    }
    b->part = part;
    return IIP_OK;
}

/* Those of PLM in place of PLT, where some tile-part has none of its own. */
static iip_status lengths_of(build *b, int n)
{
    int all = 1;

    for (int i = 0; i < n; i++)
        all &= b->t.part[i].there;
    if (all || !b->part)
        return IIP_OK;
    b->t.lengths.n = 0;
    for (int i = 0; i < n; i++) {
        const jpip_lengths *k = &b->part[b->ids[i]];
        unsigned char *p = jpip_bytes_room(&b->t.lengths, k->len, b->plm.n, b->e);

        if (!p)
            return b->e->status;
        b->t.part[i] = (jpip_lengths){b->t.lengths.n, k->len, k->there};
        memcpy(p, b->plm.p + k->at, k->len);
        b->t.lengths.n += k->len;
    }
    return IIP_OK;
}

static iip_status put(void *ctx, uint32_t precinct, int res, int layer, const jpip_found *found)
{
    build *b = ctx;
    const struct jpip_index_tile *tile = &b->tile[b->t.tile];
    const size_t i = tile->packet + (size_t)precinct * tile->layers + (size_t)layer;
    jpip_part *part = &b->parts[b->ids[found->part]];
    uint64_t sum = layer ? b->sum[i - 1] : 0;

    sum += (uint64_t)found->len + found->header_len;
    if (sum > UINT32_MAX)
        return too_many(b, "bytes in a precinct");
    b->low[i] = (uint32_t)found->at;
    b->high[i] = (uint16_t)(found->at >> 32);
    b->sum[i] = (uint32_t)sum;
    if (b->head.apart) {
        const uint64_t at = b->packed.n + found->header;

        b->packed_low[i] = (uint32_t)at;
        b->packed_high[i] = (uint16_t)(at >> 32);
        b->packed_len[i] = (uint32_t)found->header_len;
    }
    part->res = part->res == -2 || part->res == res ? res : -1;
    return IIP_OK;
}

/* The resolutions of the tile's components. */
static iip_status set_grid(build *b, const struct jpip_index_tile *tile)
{
    jpip_tile *t = &b->t;
    uint32_t n = 0, base = 0;
    jpip_grid *g;

    for (int c = 0; c < b->head.comps; c++) {
        b->row[c] = n;
        n += t->coding[c].levels + 1u;
    }
    b->row[b->head.comps] = n;
    if (!(g = realloc(t->grid, n * sizeof *g)))
        return iip_fail(b->e, IIP_E_MEMORY, APR_ENOMEM, "JPEG 2000: no memory for %u resolutions", n);
    t->grid = g;
    for (int c = 0; c < b->head.comps; c++)
        for (int r = 0; r <= t->coding[c].levels; r++, g++) {
            grid_at(&b->head.comp[c], &t->coding[c], t->box, r, g);
            g->base = base;
            base += (uint32_t)(g->wide * g->high);
        }
    t->row = b->row;
    t->precincts = tile->precincts;
    t->layers = tile->layers;
    return IIP_OK;
}

/* The tile's progressions if no changes are given. */
static iip_status set_volumes(build *b)
{
    jpip_tile *t = &b->t;
    jpip_volume *v;
    const size_t n = b->volumes.n ? b->volumes.n : sizeof *v;

    t->volumes.n = 0;
    if (!(v = (jpip_volume *)(void *)jpip_bytes_room(&t->volumes, n, n, b->e)))
        return b->e->status;
    if (b->volumes.n)
        memcpy(v, b->volumes.p, n);
    else
        *v = (jpip_volume){0, IIP_JP2_RES, 0, b->head.comps, t->layers, t->coding[0].order};
    t->volumes.n = n;
    return IIP_OK;
}

static iip_status room_for_parts(build *b, size_t tile)
{
    int n = 0;

    for (int32_t i = b->head.first[tile]; i >= 0; i = b->head.part[i].next)
        n++;
    if (n > b->t.parts) {
        jpip_lengths *part = realloc(b->t.part, (size_t)n * sizeof *part);
        int32_t *ids;

        if (part)
            b->t.part = part;
        if (!part || !(ids = realloc(b->ids, (size_t)n * sizeof *ids)))
            return iip_fail(b->e, IIP_E_MEMORY, APR_ENOMEM, "JPEG 2000: no memory for %d tile-parts", n);
        b->ids = ids;
        b->t.parts = n;
    }
    n = 0;
    for (int32_t i = b->head.first[tile]; i >= 0; i = b->head.part[i].next)
        b->ids[n++] = i;
    return IIP_OK;
}

/* Layers beyond those of the tile, in progression order changes, are none. */
static void clip_volumes(jpip_tile *t)
{
    jpip_volume *v = (jpip_volume *)(void *)t->volumes.p;

    for (size_t i = 0; i < t->volumes.n / sizeof *v; i++)
        v[i].layers = v[i].layers < t->layers ? v[i].layers : t->layers;
}

static int all_there(const build *b, const struct jpip_index_tile *tile)
{
    for (uint32_t i = 1; i <= tile->precincts; i++) {
        const size_t last = tile->packet + (size_t)i * tile->layers - 1;

        if (b->high[last] == UINT16_MAX && b->low[last] == UINT32_MAX)
            return 0;
    }
    return tile->part >= 0;
}

static iip_status one_tile(build *b, size_t i)
{
    struct jpip_index_tile *tile = &b->tile[i];
    jpip_tile *t = &b->t;
    const size_t text = b->text.n;
    iip_status rv;
    int n = 0;

    t->tile = (int64_t)i;
    t->box = iip_jp2_tile_box(&b->head, t->tile);
    t->coding = (const iip_jp2_coding *)(const void *)b->codings.p + (size_t)tile->coding * (size_t)b->head.comps;
    if (set_grid(b, tile) != IIP_OK || set_volumes(b) != IIP_OK || room_for_parts(b, i) != IIP_OK ||
        jpip_tile_read(t, &b->text) != IIP_OK)
        return b->e->status;
    clip_volumes(t);
    for (int32_t k = tile->part; k >= 0; k = b->head.part[k].next)
        n++;
    if (lengths_of(b, n) != IIP_OK)
        return b->e->status;
    tile->text = (uint32_t)text;
    tile->len = (uint32_t)(b->text.n - text);
    rv = jpip_by_lengths(t, put, b);
    if (rv == IIP_E_FEATURE)
        rv = jpip_by_headers(t, put, b);
    if (rv != IIP_OK)
        return rv;
    tile->complete = !b->head.cut || all_there(b, tile);
    if (t->packed.n) {
        unsigned char *p = jpip_bytes_room(&b->packed, t->packed.n, MOST_BYTES, b->e);

        if (!p)
            return b->e->status;
        memcpy(p, t->packed.p, t->packed.n);
        b->packed.n += t->packed.n;
    }
    return IIP_OK;
}

/* --- the whole ---------------------------------------------------------------------------------------------------- */

static iip_status structure(build *b)
{
    iip_status rv;

    if (iip_jp2_head_read(&b->head, b->f, 1, b->pool, b->e) != IIP_OK)
        return b->e->status;
    if (b->head.parts == 0 && !b->head.cut)
        return iip_jp2_bad(b->e, "no tile-parts");
    b->tiles = (size_t)(b->head.columns * b->head.rows);
    b->main_len = b->head.main_len;
    b->t.read = b->main_len + (int64_t)b->head.parts * IIP_JP2_WINDOW;
    rv = jpip_main_read(&b->head, b->main_len, &b->text, &b->plm, &b->volumes, b->e);
    if (rv == IIP_OK)
        rv = count_all(b);
    if (rv == IIP_OK)
        rv = deal_lengths(b);
    return rv == IIP_OK ? make_block(b) : rv;
}

static iip_status fill(build *b, jpip_index **out)
{
    jpip_tile *t = &b->t;

    if (structure(b) != IIP_OK) {
        if (b->e->status == IIP_E_CORRUPT)
            b->e->status = IIP_E_FORMAT;
        return b->e->status;
    }
    if (!(b->row = malloc(((size_t)b->head.comps + 1) * sizeof *b->row)) ||
        !(t->done = malloc(((size_t)b->precincts + 1) * sizeof *t->done)))
        return iip_fail(b->e, IIP_E_MEMORY, APR_ENOMEM, "JPEG 2000: no memory for an index");
    for (size_t i = 0; i < b->tiles; i++)
        if (one_tile(b, i) != IIP_OK)
            return b->e->status;
    return close_block(b, out);
}

static void let_go(build *b)
{
    void *all[] = {b->codings.p,  b->text.p, b->packed.p, b->plm.p,  b->volumes.p,   b->tile,
                   b->first,      b->part,   b->base,     b->row,    b->t.volumes.p, b->t.lengths.p,
                   b->t.packed.p, b->t.part, b->t.grid,   b->t.done, b->ids};

    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        free(all[i]);
    apr_pool_destroy(b->pool);
    free(b);
}

iip_status jpip_index_build(jpip_index **out, const iip_jp2_file *f, const int *stop, iip_error *e)
{
    build *b = calloc(1, sizeof *b);
    struct timespec now;

    e->status = IIP_OK;
    if (!b || apr_pool_create_unmanaged_ex(&b->pool, NULL, NULL) != APR_SUCCESS) {
        free(b);
        return iip_fail(e, IIP_E_MEMORY, APR_ENOMEM, "JPEG 2000: no memory for an index");
    }
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    b->f = f;
    b->e = e;
    b->t.h = &b->head;
    b->t.f = f;
    b->t.e = e;
    b->t.stop = stop;
    b->t.until = (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec + CPU_NS;
    fill(b, out);
    let_go(b);
    return e->status;
}
