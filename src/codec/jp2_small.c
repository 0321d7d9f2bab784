/* SPDX-License-Identifier: Apache-2.0
 * JPEG 2000: a small code-stream for a window of a tile, put together of packets that a packet index finds. It has the
 * resolutions and layers wanted and is cropped where precincts allow; what is not wanted and cannot be left out is
 * there as an empty packet (T.800 B.9: a zero bit). Absolute coordinates stay, so precincts, code-blocks and the
 * wavelet's phase stay, and all samples of the window are those of the whole picture. */
#include "codec/jp2_siz.h"
#include "codec/jp2_small.h"
#include "jpip/index.h"
#include <stdlib.h>
#include <string.h>

#define MOST_DATA ((size_t)1 << 31)
#define UNEVEN    3                   /* a part of the picture may take so many times its share of the bytes, */
#define SWOLLEN   2                   /* and so many times what it has uncompressed */
#define GAP       4096                /* bytes between two packets that are read along */
#define RUN       ((size_t)256 << 10) /* read in one go, of packets that are apart */

/* A resolution of a component: cells of its precincts in the small picture, and those of them that are wanted. */
typedef struct {
    iip_jp2_box all, want;
    int64_t x0, y0, wide; /* of the tile: its first cell, and how many stand in a row */
    uint32_t number;      /* of its first precinct in the index */
} cells;

struct iip_jp2_small {
    const iip_jp2_head *h;
    const jpip_index *ix;
    iip_error *e;
    int64_t tile;
    int level, layers, most;      /* most: resolutions of the component with most */
    iip_jp2_box box;              /* of the small picture */
    const iip_jp2_coding *coding; /* of the tile, as it is */
    uint32_t *row;                /* cell[row[c]]: component c's first */
    cells *cell;
    unsigned char *mem;
    size_t n, data; /* data: where the packets begin */
};

typedef struct {
    int64_t at;
    size_t len;
    unsigned char *out;
} extent;

/* --- what is wanted ----------------------------------------------------------------------------------------------- */

/* The cells that meet from..to on an axis, of those from first on, up to the one that holds the last sample. */
static void meet(int64_t from, int64_t to, int64_t box0, int64_t box1, int exp, int64_t *first, int64_t *end)
{
    from = from > box0 ? from : box0;
    to = to < box1 ? to : box1;
    *first = from >> exp;
    *end = to > from ? ((to - 1) >> exp) + 1 : *first;
}

/* Goes from the window down to the lowest resolution. Samples 4 beyond a range take part in its wavelet synthesis, with
 * the 5/3 wavelet 2. union: of what the resolutions need, on the grid of the level. */
static void want_cells(const iip_jp2_small *s, int c, iip_jp2_box want, cells *out, iip_jp2_box *sum)
{
    const iip_jp2_coding *k = &s->coding[c];
    const iip_jp2_comp *q = &s->h->comp[c];
    const int most = k->levels - s->level, beyond = k->wavelet ? 2 : 4;

    for (int r = most; r >= 0; r--) {
        const int64_t sx = (int64_t)q->dx << (most - r), sy = (int64_t)q->dy << (most - r);
        const int add = r ? beyond : 0;
        iip_jp2_box need = {want.x0 - add, want.y0 - add, want.x1 + add, want.y1 + add};
        cells *cell = &out[r];
        jpip_res res;

        jpip_index_res(s->ix, s->tile, c, r, &res);
        meet(need.x0, need.x1, res.box.x0, res.box.x1, res.px, &cell->want.x0, &cell->want.x1);
        meet(need.y0, need.y1, res.box.y0, res.box.y1, res.py, &cell->want.y0, &cell->want.y1);
        cell->x0 = res.box.x0 >> res.px;
        cell->y0 = res.box.y0 >> res.py;
        cell->wide = res.wide;
        cell->number = res.number;
        sum->x0 = need.x0 * sx < sum->x0 ? need.x0 * sx : sum->x0;
        sum->y0 = need.y0 * sy < sum->y0 ? need.y0 * sy : sum->y0;
        sum->x1 = need.x1 * sx > sum->x1 ? need.x1 * sx : sum->x1;
        sum->y1 = need.y1 * sy > sum->y1 ? need.y1 * sy : sum->y1;
        want = (iip_jp2_box){need.x0 >> 1, need.y0 >> 1, (need.x1 + 1) >> 1, (need.y1 + 1) >> 1};
    }
}

static int within(iip_jp2_box in, iip_jp2_box out)
{
    return in.x1 <= in.x0 || in.y1 <= in.y0 ||
           (in.x0 >= out.x0 && in.y0 >= out.y0 && in.x1 <= out.x1 && in.y1 <= out.y1);
}

int iip_jp2_small_serves(const iip_jp2_small *s, const iip_jp2_box *want)
{
    cells cell[IIP_JP2_RES];
    iip_jp2_box sum = {0, 0, 0, 0};

    for (int c = 0; c < s->h->comps; c++) {
        want_cells(s, c, want[c], cell, &sum);
        for (int r = 0; r <= s->coding[c].levels - s->level; r++)
            if (!within(cell[r].want, s->cell[s->row[c] + (uint32_t)r].want))
                return 0;
    }
    return 1;
}

/* --- the picture that it is --------------------------------------------------------------------------------------- */

static int64_t gcd(int64_t a, int64_t b)
{
    while (b) {
        const int64_t rest = a % b;

        a = b;
        b = rest;
    }
    return a;
}

/* Where the picture may begin and end: at multiples of what the largest precinct covers of the grid. 0: nowhere. */
static int64_t steps(const iip_jp2_head *h, const iip_jp2_coding *coding, int level, int vertical)
{
    int64_t sub = 1;
    int exp = 0;

    for (int c = 0; c < h->comps; c++) {
        const int64_t own = vertical ? h->comp[c].dy : h->comp[c].dx;
        const int most = coding[c].levels - level;

        sub = sub / gcd(sub, own) * own;
        if (sub > INT32_MAX)
            return 0;
        for (int r = 0; r <= most; r++) {
            const int p = vertical ? coding[c].precinct[r] >> 4 : coding[c].precinct[r] & 15;

            exp = p + most - r > exp ? p + most - r : exp;
        }
    }
    return exp < 32 ? sub << exp : 0;
}

static void crop(int64_t *from, int64_t *to, int64_t tile_from, int64_t tile_to, int64_t step)
{
    int64_t a = step && *from > 0 ? *from / step * step : 0, b = step ? iip_jp2_ceil(*to, step) * step : tile_to;

    *from = a > tile_from ? a : tile_from;
    *to = b < tile_to ? b : tile_to;
}

static iip_jp2_box reduced(iip_jp2_box b, int level)
{
    return (iip_jp2_box){iip_jp2_at(b.x0, 1, level), iip_jp2_at(b.y0, 1, level), iip_jp2_at(b.x1, 1, level),
                         iip_jp2_at(b.y1, 1, level)};
}

static void all_cells(iip_jp2_small *s)
{
    for (int c = 0; c < s->h->comps; c++)
        for (int r = 0, most = s->coding[c].levels - s->level; r <= most; r++) {
            const iip_jp2_comp *q = &s->h->comp[c];
            const int px = s->coding[c].precinct[r] & 15, py = s->coding[c].precinct[r] >> 4;
            const int64_t x0 = iip_jp2_at(s->box.x0, q->dx, most - r), x1 = iip_jp2_at(s->box.x1, q->dx, most - r);
            const int64_t y0 = iip_jp2_at(s->box.y0, q->dy, most - r), y1 = iip_jp2_at(s->box.y1, q->dy, most - r);
            cells *k = &s->cell[s->row[c] + (uint32_t)r];

            meet(x0, x1, x0, x1, px, &k->all.x0, &k->all.x1);
            meet(y0, y1, y0, y1, py, &k->all.y0, &k->all.y1);
            if (k->all.x1 == k->all.x0 || k->all.y1 == k->all.y0)
                k->all.x1 = k->all.x0;
        }
}

static iip_status plan(iip_jp2_small *s, const iip_jp2_box *want)
{
    iip_jp2_box sum = {INT64_MAX, INT64_MAX, 0, 0}, tile = reduced(iip_jp2_tile_box(s->h, s->tile), s->level);
    uint32_t n = 0;

    if (!(s->row = malloc((size_t)s->h->comps * sizeof *s->row)))
        return iip_fail(s->e, IIP_E_MEMORY, APR_ENOMEM, "JPEG 2000: no memory for a window");
    for (int c = 0; c < s->h->comps; c++) {
        const int most = s->coding[c].levels - s->level;

        if (most < 0)
            return IIP_E_FEATURE;
        s->row[c] = n;
        s->most = most > s->most ? most : s->most;
        n += (uint32_t)most + 1;
    }
    if (!(s->cell = calloc(n, sizeof *s->cell)))
        return iip_fail(s->e, IIP_E_MEMORY, APR_ENOMEM, "JPEG 2000: no memory for a window");
    for (int c = 0; c < s->h->comps; c++)
        want_cells(s, c, want[c], &s->cell[s->row[c]], &sum);
    s->box = sum;
    crop(&s->box.x0, &s->box.x1, tile.x0, tile.x1, steps(s->h, s->coding, s->level, 0));
    crop(&s->box.y0, &s->box.y1, tile.y0, tile.y1, steps(s->h, s->coding, s->level, 1));
    if (s->box.x0 >= s->box.x1 || s->box.y0 >= s->box.y1)
        return IIP_E_FEATURE;
    all_cells(s);
    return IIP_OK;
}

/* --- headers ------------------------------------------------------------------------------------------------------ */

static unsigned char *put16(unsigned char *p, unsigned v)
{
    p[0] = (unsigned char)(v >> 8);
    p[1] = (unsigned char)v;
    return p + 2;
}

static unsigned char *put32(unsigned char *p, int64_t v)
{
    return put16(put16(p, (unsigned)(v >> 16) & 0xffff), (unsigned)v & 0xffff);
}

/* A coding style with the levels left; at: its number of levels, list: of precinct sizes. Returns the segment's length.
 */
static size_t shorten(unsigned char *v, size_t n, size_t at, int list, int level)
{
    const int left = v[at] > level ? v[at] - level : 0;

    if (list)
        n = at + 6 + (size_t)left;
    v[at] = (unsigned char)left;
    put16(v + 2, (unsigned)n - 2);
    return n;
}

/* The segments that decoding needs, for what is left of the tile. Quantisation may say more than is asked. */
static unsigned char *put_segments(const iip_jp2_small *s, unsigned char *p, const unsigned char *v, size_t n)
{
    const size_t wide = s->h->comps < 257 ? 1 : 2;

    for (size_t at = 0, len; n - at >= 4; at += len) {
        const unsigned marker = iip_jp2_be16(v + at);

        len = 2 + (size_t)iip_jp2_be16(v + at + 2);
        if (len > n - at)
            break;
        if (marker == POC || marker < CAP || marker > CBD || marker == 0xff64)
            continue;
        memcpy(p, v + at, len);
        if (marker == COD) {
            p[4] &= (unsigned char)~IIP_JP2_SOP;
            p[5] = 0; /* LRCP */
            put16(p + 6, (unsigned)s->layers);
            p += shorten(p, len, 9, p[4] & 1, s->level);
        } else if (marker == COC) {
            p += shorten(p, len, 5 + wide, p[4 + wide] & 1, s->level);
        } else {
            p += len;
        }
    }
    return p;
}

static unsigned char *put_head(const iip_jp2_small *s, unsigned char *p)
{
    const iip_jp2_box b = s->box;
    const int64_t size[8] = {b.x1, b.y1, b.x0, b.y0, b.x1 - b.x0, b.y1 - b.y0, b.x0, b.y0};
    unsigned char *at;

    at = put16(p, 0xff4f) + 6; /* SOC; marker, length and capabilities of SIZ */
    p = put_segments(s, at - 6, s->h->head, s->h->head_len);
    for (int i = 0; i < 8; i++)
        at = put32(at, size[i]);
    return p;
}

/* --- packets ------------------------------------------------------------------------------------------------------ */

typedef struct {
    iip_jp2_small *s;
    unsigned char *p; /* NULL: only counts */
    size_t n, bytes;  /* packets wanted; bytes of all */
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

static iip_status put_row(writer *w, const cells *k, int64_t y, int layer)
{
    const size_t wide = (size_t)(k->all.x1 - k->all.x0);
    int64_t from = k->want.x0 > k->all.x0 ? k->want.x0 : k->all.x0,
            to = k->want.x1 < k->all.x1 ? k->want.x1 : k->all.x1;

    if (y < k->want.y0 || y >= k->want.y1 || from >= to) {
        put_empty(w, wide);
        return IIP_OK;
    }
    put_empty(w, (size_t)(from - k->all.x0));
    for (int64_t x = from; x < to; x++)
        if (put_wanted(w, k->number + (uint32_t)((y - k->y0) * k->wide + (x - k->x0)), layer) != IIP_OK)
            return IIP_E_FEATURE;
    put_empty(w, (size_t)(k->all.x1 - to));
    return IIP_OK;
}

static iip_status put_packets(writer *w)
{
    const iip_jp2_small *s = w->s;

    for (int l = 0; l < s->layers; l++)
        for (int r = 0; r <= s->most; r++)
            for (int c = 0; c < s->h->comps; c++) {
                const cells *k = &s->cell[s->row[c] + (uint32_t)r];

                if (r > s->coding[c].levels - s->level || k->all.x1 == k->all.x0)
                    continue;
                for (int64_t y = k->all.y0; y < k->all.y1; y++)
                    if (put_row(w, k, y, l) != IIP_OK || w->bytes > MOST_DATA)
                        return IIP_E_FEATURE;
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

static iip_status write_all(iip_jp2_small *s, writer *w)
{
    size_t n, room;
    int complete;
    const unsigned char *head = jpip_index_tile_head(s->ix, s->tile, &n, &complete);
    unsigned char *p, *sot;

    if (!complete || put_packets(w) != IIP_OK)
        return IIP_E_FEATURE;
    room = 2 + s->h->head_len + 12 + n + 2 + w->bytes + 2;
    s->mem = malloc(room);
    w->extent = malloc((w->n + 1) * sizeof *w->extent);
    if (!s->mem || !w->extent)
        return iip_fail(s->e, IIP_E_MEMORY, APR_ENOMEM, "JPEG 2000: no memory for %zu bytes of packets", room);
    sot = put_head(s, s->mem);
    p = put_segments(s, sot + 12, head, n);
    p = put16(p, SOD);
    s->data = (size_t)(p - s->mem);
    put16(put32(put16(put16(put16(sot, SOT), 10), 0), (int64_t)((size_t)(p - sot) + w->bytes)), 1);
    w->p = p;
    w->n = w->bytes = 0;
    put_packets(w);
    s->n = (size_t)(put16(w->p, EOC) - s->mem);
    return fetch(s, w->extent, w->n);
}

/* --- what it takes ------------------------------------------------------------------------------------------------ */

/* A side of the small picture: the window, what the wavelet needs at the lowest resolution, and up to the next places
 * where it may begin and end. */
static int64_t side(int64_t want, int64_t sub, int levels, int64_t step, int64_t tile)
{
    const int64_t margin = 2 * 5 * (sub << (levels < 24 ? levels : 24));
    const int64_t all = want * sub + margin + 2 * step;

    return step && all < tile ? all : tile;
}

size_t iip_jp2_small_hold(const iip_jp2_head *h, int level, int64_t w, int64_t high, int64_t *wide, int64_t *tall)
{
    const iip_jp2_box grid = reduced((iip_jp2_box){0, 0, h->tw < h->x1 - h->x0 ? h->tw : h->x1 - h->x0,
                                                   h->th < h->y1 - h->y0 ? h->th : h->y1 - h->y0},
                                     level);
    iip_jp2_coding *coding = malloc((size_t)h->comps * sizeof *coding);
    int levels = 0, own = coding == NULL;
    int64_t sub_x = h->dx, sub_y = h->dy;
    double work, data, raw = 0;

    for (int32_t i = 0; i < h->parts; i++)
        own |= h->part[i].own;
    *wide = grid.x1;
    *tall = grid.y1;
    for (int c = 0; c < h->comps && !own; c++) {
        coding[c] = h->coding[c];
        own |= coding[c].levels < level;
        coding[c].levels = (unsigned char)(coding[c].levels - level);
        levels = coding[c].levels > levels ? coding[c].levels : levels;
        sub_x = h->comp[c].dx > sub_x ? h->comp[c].dx : sub_x;
        sub_y = h->comp[c].dy > sub_y ? h->comp[c].dy : sub_y;
    }
    if (own) {
        free(coding);
        return h->tile_bytes + h->tile_work;
    }
    *wide = side(w, sub_x, levels, steps(h, h->coding, level, 0), grid.x1);
    *tall = side(high, sub_y, levels, steps(h, h->coding, level, 1), grid.y1);
    work = iip_jp2_work(h, coding, (iip_jp2_box){0, 0, *wide, *tall});
    data = UNEVEN * (double)h->tile_bytes * ((double)*wide * (double)*tall) / ((double)grid.x1 * (double)grid.y1);
    data = data < (double)h->tile_bytes ? data : (double)h->tile_bytes;
    for (int c = 0; c < h->comps; c++)
        raw += (double)(*wide / h->comp[c].dx + 1) * (double)(*tall / h->comp[c].dy + 1) * h->comp[c].bits / 8;
    raw *= SWOLLEN;
    free(coding);
    return (size_t)(work + 2 * (data < raw ? data : raw)); /* OpenJPEG copies what it is given */
}

/* --- outside ------------------------------------------------------------------------------------------------------ */

iip_status iip_jp2_small_make(iip_jp2_small **out, const iip_jp2_head *h, const jpip_index *ix, int64_t tile, int level,
                              int layers, const iip_jp2_box *want, iip_error *e)
{
    iip_jp2_small *s = calloc(1, sizeof *s);
    writer w = {.s = s};
    iip_status rv;

    if (!s)
        return iip_fail(e, IIP_E_MEMORY, APR_ENOMEM, "JPEG 2000: no memory for a window");
    s->h = h;
    s->ix = ix;
    s->e = e;
    s->tile = tile;
    s->level = level;
    s->coding = jpip_index_coding(ix, tile, 0);
    s->layers = layers > 0 && layers < s->coding[0].layers ? layers : s->coding[0].layers;
    w.eph = (s->coding[0].marked & IIP_JP2_EPH) != 0;
    rv = plan(s, want);
    if (rv == IIP_OK)
        rv = write_all(s, &w);
    free(w.extent);
    if (rv == IIP_OK)
        *out = s;
    else
        iip_jp2_small_free(s);
    return rv;
}

void iip_jp2_small_free(iip_jp2_small *s)
{
    if (s) {
        free(s->row);
        free(s->cell);
        free(s->mem);
        free(s);
    }
}

void iip_jp2_small_drop(iip_jp2_small *s)
{
    free(s->mem);
    s->mem = NULL;
}

iip_jp2_box iip_jp2_small_box(const iip_jp2_small *s)
{
    return s->box;
}

const unsigned char *iip_jp2_small_bytes(const iip_jp2_small *s, size_t *n, size_t *data)
{
    *n = s->n;
    *data = s->data;
    return s->mem;
}

void iip_jp2_small_coding(const iip_jp2_small *s, iip_jp2_coding *coding)
{
    memcpy(coding, s->coding, (size_t)s->h->comps * sizeof *coding);
    for (int c = 0; c < s->h->comps; c++)
        coding[c].levels = (unsigned char)(coding[c].levels - s->level);
}
