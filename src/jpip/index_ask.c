/* SPDX-License-Identifier: Apache-2.0
 * Questions to a packet index. What stands in it may come from a file: it is checked once (jpip_index_sound()) but for
 * the packets' places, and those are used with bounds only. */
#include "jpip/index_form.h"
#include <stdlib.h>
#include <string.h>
#include <apr_siphash.h>

/* --- the block ---------------------------------------------------------------------------------------------------- */

static uint64_t sum_of(const jpip_index_record *rec, const unsigned char *base)
{
    static const unsigned char key[APR_SIPHASH_KSIZE] = "mod_iip's index";
    const uint64_t from = rec->at[0], to = rec->at[JPIP_T_LOW];
    jpip_index_record own = *rec;

    own.check = 0;
    return apr_siphash24(&own, sizeof own, key) ^ apr_siphash24(base + from, (size_t)(to - from), key) * 3;
}

static const jpip_index_record *record(const unsigned char *base)
{
    return (const jpip_index_record *)(const void *)base;
}

void jpip_index_seal(unsigned char *base, const jpip_index_key *key)
{
    jpip_index_record *rec = (jpip_index_record *)(void *)base;

    rec->key = *key;
    rec->check = sum_of(rec, base);
}

/* Tables of the length that the numbers call for, one behind the other. */
static int tables_sound(const jpip_index_record *rec, size_t n)
{
    const uint64_t comps = (uint64_t)rec->comps, tiles = (uint64_t)rec->grid[8] * (uint64_t)rec->grid[9];
    const uint64_t packets = (uint64_t)rec->packets, apart = rec->apart ? packets : 0;
    const struct {
        uint64_t unit, number;
    } want[JPIP_TABLES] = {{sizeof(iip_jp2_comp), comps},
                           {sizeof(iip_jp2_coding), comps},
                           {sizeof(jpip_part), (uint64_t)rec->parts},
                           {sizeof(jpip_index_tile), tiles},
                           {4, tiles * comps},
                           {4, packets},
                           {4, packets},
                           {2, packets},
                           {4, apart},
                           {4, apart},
                           {2, apart},
                           {1, 0},
                           {1, 0}};

    if (rec->at[JPIP_TABLES] != n || rec->at[0] < sizeof *rec)
        return 0;
    for (int i = 0; i < JPIP_TABLES; i++)
        if (rec->at[i] % 8 || rec->at[i + 1] > n || rec->at[i] > rec->at[i + 1] || rec->unit[i] != want[i].unit ||
            (rec->at[i + 1] - rec->at[i]) / want[i].unit < want[i].number)
            return 0;
    return 1;
}

int jpip_index_sound(const unsigned char *base, size_t n, const jpip_index_key *key)
{
    const jpip_index_record *rec = record(base);

    return n > sizeof *rec && memcmp(rec->magic, "iipjpip", 8) == 0 && rec->version == JPIP_INDEX_VERSION &&
           rec->order == 0x01020304 && memcmp(&rec->key, key, sizeof *key) == 0 && rec->comps > 0 && rec->parts >= 0 &&
           rec->packets >= 0 && rec->packets <= INT64_C(1) << 28 && rec->grid[8] > 0 && rec->grid[9] > 0 &&
           rec->grid[8] <= 65535 && rec->grid[9] <= 65535 && tables_sound(rec, n) && rec->check == sum_of(rec, base);
}

jpip_index *jpip_index_attach(const unsigned char *base, void *owner, void (*release)(void *owner))
{
    const jpip_index_record *rec = record(base);
    jpip_index *ix = calloc(1, sizeof *ix);
    const void *table[JPIP_TABLES];

    if (!ix)
        return NULL;
    for (int i = 0; i < JPIP_TABLES; i++)
        table[i] = base + rec->at[i];
    ix->x0 = rec->grid[0], ix->y0 = rec->grid[1], ix->x1 = rec->grid[2], ix->y1 = rec->grid[3];
    ix->tx0 = rec->grid[4], ix->ty0 = rec->grid[5], ix->tw = rec->grid[6], ix->th = rec->grid[7];
    ix->columns = rec->grid[8], ix->rows = rec->grid[9];
    ix->comps = rec->comps;
    ix->levels = rec->levels;
    ix->layers = rec->layers;
    ix->cut = rec->cut;
    ix->parts = rec->parts;
    ix->sop = rec->sop;
    ix->eph = rec->eph;
    ix->apart = rec->apart;
    ix->precincts = rec->precincts;
    ix->packets = rec->packets;
    ix->len = rec->len;
    ix->main_len = rec->main_len;
    ix->read = rec->read;
    ix->bytes = (size_t)rec->at[JPIP_TABLES];
    ix->text_main = (size_t)rec->text_main;
    ix->base = base;
    ix->comp = table[JPIP_T_COMP];
    ix->coding = table[JPIP_T_CODING];
    ix->part = table[JPIP_T_PART];
    ix->tile = table[JPIP_T_TILE];
    ix->first = table[JPIP_T_FIRST];
    ix->low = table[JPIP_T_LOW];
    ix->sum = table[JPIP_T_SUM];
    ix->high = table[JPIP_T_HIGH];
    ix->packed_low = table[JPIP_T_PACKED_LOW];
    ix->packed_len = table[JPIP_T_PACKED_LEN];
    ix->packed_high = table[JPIP_T_PACKED_HIGH];
    ix->text = table[JPIP_T_TEXT];
    ix->apart_text = table[JPIP_T_APART];
    ix->owner = owner;
    ix->release = release;
    return ix;
}

void jpip_index_free(void *index)
{
    jpip_index *ix = index;

    if (ix) {
        ix->release(ix->owner);
        free(ix);
    }
}

/* --- headers and tiles -------------------------------------------------------------------------------------------- */

const unsigned char *jpip_index_main(const jpip_index *ix, size_t *n)
{
    *n = ix->text_main;
    return ix->text;
}

const unsigned char *jpip_index_tile_head(const jpip_index *ix, int64_t tile, size_t *n, int *complete)
{
    *n = ix->tile[tile].len;
    *complete = ix->tile[tile].complete;
    return ix->text + ix->tile[tile].text;
}

iip_jp2_box jpip_index_tile_box(const jpip_index *ix, int64_t tile)
{
    const iip_jp2_head h = {.x0 = ix->x0,
                            .y0 = ix->y0,
                            .x1 = ix->x1,
                            .y1 = ix->y1,
                            .tx0 = ix->tx0,
                            .ty0 = ix->ty0,
                            .tw = ix->tw,
                            .th = ix->th,
                            .columns = ix->columns};

    return iip_jp2_tile_box(&h, tile);
}

int jpip_index_tile_layers(const jpip_index *ix, int64_t tile)
{
    return ix->tile[tile].layers;
}

int jpip_index_tile_mct(const jpip_index *ix, int64_t tile)
{
    return ix->tile[tile].mct;
}

int32_t jpip_index_tile_part(const jpip_index *ix, int64_t tile)
{
    return ix->tile[tile].part;
}

const iip_jp2_coding *jpip_index_coding(const jpip_index *ix, int64_t tile, int comp)
{
    return &ix->coding[(size_t)ix->tile[tile].coding * (size_t)ix->comps + (size_t)comp];
}

int64_t jpip_index_tile_bytes(const jpip_index *ix, int64_t tile)
{
    int64_t n = 0;

    for (int32_t i = ix->tile[tile].part; i >= 0; i = ix->part[i].next)
        n += ix->part[i].len;
    return n;
}

iip_status jpip_index_read_tile(const jpip_index *ix, const iip_jp2_file *f, int64_t tile, int64_t off, void *buf,
                                size_t n, iip_error *e)
{
    unsigned char *out = buf;

    for (int32_t i = ix->tile[tile].part; i >= 0 && n > 0; off -= ix->part[i].len, i = ix->part[i].next) {
        const int64_t left = ix->part[i].len - off;
        size_t some;

        if (left <= 0)
            continue;
        some = (int64_t)n < left ? n : (size_t)left;
        if (iip_jp2_bytes(f, out, some, ix->part[i].at + off, e) != IIP_OK)
            return e->status;
        out += some;
        n -= some;
        off += (int64_t)some;
    }
    return n ? iip_fail(e, IIP_E_RANGE, 0, "JPEG 2000: beyond the end of a tile") : IIP_OK;
}

/* --- geometry ----------------------------------------------------------------------------------------------------- */

static int64_t cells(int64_t from, int64_t to, int exp)
{
    return to > from ? ((to - 1) >> exp) - (from >> exp) + 1 : 0;
}

static uint32_t resolution(const jpip_index *ix, iip_jp2_box tile, const iip_jp2_coding *k, int comp, int r,
                           jpip_res *out)
{
    const iip_jp2_comp *q = &ix->comp[comp];
    const int up = k->levels - r;

    out->box = (iip_jp2_box){iip_jp2_at(tile.x0, q->dx, up), iip_jp2_at(tile.y0, q->dy, up),
                             iip_jp2_at(tile.x1, q->dx, up), iip_jp2_at(tile.y1, q->dy, up)};
    out->px = k->precinct[r] & 15;
    out->py = k->precinct[r] >> 4;
    out->wide = cells(out->box.x0, out->box.x1, out->px);
    out->high = cells(out->box.y0, out->box.y1, out->py);
    if (out->wide == 0 || out->high == 0)
        out->wide = out->high = 0;
    return (uint32_t)(out->wide * out->high);
}

static uint32_t first_of(const jpip_index *ix, int64_t tile, int comp)
{
    return ix->first[(size_t)tile * (size_t)ix->comps + (size_t)comp];
}

/* Precincts of a tile's component. */
static uint32_t count_of(const jpip_index *ix, int64_t tile, int comp)
{
    return (comp + 1 < ix->comps ? first_of(ix, tile, comp + 1) : ix->tile[tile].precincts) - first_of(ix, tile, comp);
}

void jpip_index_res(const jpip_index *ix, int64_t tile, int comp, int r, jpip_res *out)
{
    const iip_jp2_coding *k = jpip_index_coding(ix, tile, comp);
    const iip_jp2_box box = jpip_index_tile_box(ix, tile);
    uint32_t s = 0;

    for (int i = 0; i < r; i++)
        s += resolution(ix, box, k, comp, i, out);
    resolution(ix, box, k, comp, r, out);
    out->s = s;
    out->number = ix->tile[tile].precinct + first_of(ix, tile, comp) + s;
}

/* The last tile whose first precinct is no later: tiles without any share their number with the next. */
static int64_t tile_of(const jpip_index *ix, uint32_t number)
{
    int64_t from = 0, to = ix->columns * ix->rows;

    while (to - from > 1) {
        const int64_t mid = (from + to) / 2;

        if (ix->tile[mid].precinct <= number)
            from = mid;
        else
            to = mid;
    }
    return from;
}

void jpip_index_precinct(const jpip_index *ix, uint32_t number, jpip_precinct *out)
{
    const iip_jp2_coding *k;
    uint32_t rest, n;
    int from = 0, to = ix->comps;
    jpip_res res;

    out->tile = tile_of(ix, number);
    rest = number - ix->tile[out->tile].precinct;
    while (to - from > 1) {
        const int mid = (from + to) / 2;

        if (first_of(ix, out->tile, mid) <= rest)
            from = mid;
        else
            to = mid;
    }
    out->comp = from;
    out->s = rest -= first_of(ix, out->tile, from);
    out->number = number;
    k = jpip_index_coding(ix, out->tile, from);
    for (out->res = 0;; rest -= n, out->res++) {
        n = resolution(ix, jpip_index_tile_box(ix, out->tile), k, from, out->res, &res);
        if (rest < n || out->res == k->levels)
            break;
    }
    out->x = res.wide ? rest % res.wide : 0;
    out->y = res.wide ? rest / res.wide : 0;
}

uint64_t jpip_index_id(const jpip_index *ix, int64_t tile, int comp, uint32_t s)
{
    return (uint64_t)tile + (uint64_t)(ix->columns * ix->rows) * ((uint64_t)comp + (uint64_t)ix->comps * s);
}

int64_t jpip_index_number(const jpip_index *ix, uint64_t id)
{
    const uint64_t tiles = (uint64_t)(ix->columns * ix->rows), rest = id / tiles;
    const int64_t tile = (int64_t)(id % tiles);
    const int comp = (int)(rest % (uint64_t)ix->comps);
    const uint64_t s = rest / (uint64_t)ix->comps;

    return s < count_of(ix, tile, comp) ? (int64_t)ix->tile[tile].precinct + first_of(ix, tile, comp) + (int64_t)s : -1;
}

/* --- packets ------------------------------------------------------------------------------------------------------ */

static size_t packet_of(const jpip_index *ix, uint32_t number, const jpip_index_tile **tile)
{
    *tile = &ix->tile[tile_of(ix, number)];
    return (*tile)->packet + (size_t)(number - (*tile)->precinct) * (*tile)->layers;
}

static int there(const jpip_index *ix, size_t i)
{
    return ix->high[i] != UINT16_MAX || ix->low[i] != UINT32_MAX;
}

/* Of n ascending steps, those for which `low enough` holds come first: how many. */
static int layers_at(const jpip_index *ix, size_t first, int all)
{
    int from = 0, to = all;

    while (from < to) {
        const int mid = (from + to) / 2;

        if (there(ix, first + (size_t)mid))
            from = mid + 1;
        else
            to = mid;
    }
    return from;
}

int jpip_index_layers(const jpip_index *ix, uint32_t number, int *all)
{
    const jpip_index_tile *tile;
    const size_t first = packet_of(ix, number, &tile);

    *all = tile->layers;
    return layers_at(ix, first, tile->layers);
}

int64_t jpip_index_bytes(const jpip_index *ix, uint32_t number, int n)
{
    const jpip_index_tile *tile;
    const size_t first = packet_of(ix, number, &tile);

    return n > 0 ? ix->sum[first + (size_t)n - 1] : 0;
}

int jpip_index_whole(const jpip_index *ix, uint32_t number, int64_t bytes)
{
    const jpip_index_tile *tile;
    const size_t first = packet_of(ix, number, &tile);
    int from = 0, to = layers_at(ix, first, tile->layers);

    while (from < to) {
        const int mid = (from + to) / 2;

        if (ix->sum[first + (size_t)mid] <= bytes)
            from = mid + 1;
        else
            to = mid;
    }
    return from;
}

static int packet_at(const jpip_index *ix, size_t first, int layer, jpip_packet *out)
{
    const size_t i = first + (size_t)layer;
    const uint32_t before = layer ? ix->sum[i - 1] : 0;

    if (!there(ix, i) || ix->sum[i] < before)
        return 0;
    *out = (jpip_packet){.at = (int64_t)ix->high[i] << 32 | ix->low[i], .len = ix->sum[i] - before};
    if (ix->apart) {
        const uint64_t at = (uint64_t)ix->packed_high[i] << 32 | ix->packed_low[i];
        const uint64_t room = ix->bytes - (size_t)(ix->apart_text - ix->base);

        if (ix->packed_len[i] > out->len || at > room || ix->packed_len[i] > room - at)
            return 0;
        out->header = ix->apart_text + at;
        out->header_len = ix->packed_len[i];
        out->len -= out->header_len;
    }
    return 1;
}

int jpip_index_packet(const jpip_index *ix, uint32_t number, int layer, jpip_packet *out)
{
    const jpip_index_tile *tile;

    return packet_at(ix, packet_of(ix, number, &tile), layer, out);
}

/* Bytes of the code-stream that follow each other are read in one go. */
typedef struct {
    const iip_jp2_file *f;
    iip_error *e;
    unsigned char *out;
    int64_t at;
    size_t n;
} run;

static iip_status flush(run *r)
{
    if (r->n && iip_jp2_bytes(r->f, r->out, r->n, r->at, r->e) != IIP_OK)
        return r->e->status;
    r->out += r->n;
    r->n = 0;
    return IIP_OK;
}

static iip_status take(run *r, int64_t at, size_t n)
{
    if (r->at + (int64_t)r->n != at && flush(r) != IIP_OK)
        return r->e->status;
    if (r->n == 0)
        r->at = at;
    r->n += n;
    return IIP_OK;
}

iip_status jpip_index_read(const jpip_index *ix, const iip_jp2_file *f, uint32_t number, int64_t off, void *buf,
                           size_t n, iip_error *e)
{
    const jpip_index_tile *tile;
    const size_t first = packet_of(ix, number, &tile);
    run r = {.f = f, .e = e, .out = buf};
    int layer = off < 0 ? INT32_MAX : jpip_index_whole(ix, number, off);
    jpip_packet p;

    if (layer < tile->layers)
        off -= layer ? ix->sum[first + (size_t)layer - 1] : 0;
    for (; n > 0 && layer < tile->layers && packet_at(ix, first, layer, &p); layer++, off = 0) {
        size_t some;

        if (off < p.header_len) {
            some = p.header_len - (size_t)off < n ? p.header_len - (size_t)off : n;
            if (flush(&r) != IIP_OK)
                return e->status;
            memcpy(r.out, p.header + off, some);
            r.out += some;
            n -= some;
            off = p.header_len;
        }
        off -= p.header_len;
        some = p.len - (size_t)off < n ? p.len - (size_t)off : n;
        if (some && take(&r, p.at + off, some) != IIP_OK)
            return e->status;
        n -= some;
    }
    if (n)
        return iip_fail(e, IIP_E_RANGE, 0, "JPEG 2000: beyond the end of a precinct");
    return flush(&r);
}
