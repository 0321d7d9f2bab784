/* SPDX-License-Identifier: Apache-2.0
 * JPEG 2000: a small code-stream for a window of a tile, put together of packets that a packet index finds. It has the
 * resolutions and layers wanted and is cropped where precincts allow; what is not wanted and cannot be left out is
 * there as an empty packet (T.800 B.9: a zero bit). Absolute coordinates stay, so precincts, code-blocks and the
 * wavelet's phase stay, and all samples of the window are those of the whole picture. */
#include "codec/jp2_small_form.h"
#include <stdlib.h>
#include <string.h>

#define UNEVEN  3 /* a part of the picture may take so many times its share of the bytes, */
#define SMALLER 2 /* a finer picture is worth its making if it is so many times smaller */
#define SWOLLEN 2 /* and so many times what it has uncompressed */

/* --- what is wanted ----------------------------------------------------------------------------------------------- */

/* The cells that meet from..to on an axis, of those from first on, up to the one that holds the last sample. */
static void meet(int64_t from, int64_t to, int64_t box0, int64_t box1, int exp, int64_t *first, int64_t *end)
{
    from = from > box0 ? from : box0;
    to = to < box1 ? to : box1;
    *first = from >> exp;
    *end = to > from ? ((to - 1) >> exp) + 1 : *first;
}

static void cells_of(const iip_jp2_small *s, int c, int r, iip_jp2_cells *out)
{
    jpip_index_res(s->ix, s->tile, c, r, &out->in);
    out->px = s->coding[c].precinct[r] & 15;
    out->py = s->coding[c].precinct[r] >> 4;
}

/* Goes from the window down to the lowest resolution. Samples 4 beyond a range take part in its wavelet synthesis, with
 * the 5/3 wavelet 2. union: of what the resolutions need, on the grid of the level. */
static void want_cells(const iip_jp2_small *s, int c, iip_jp2_box want, iip_jp2_cells *out, iip_jp2_box *sum)
{
    const iip_jp2_coding *k = &s->coding[c];
    const iip_jp2_comp *q = &s->h->comp[c];
    const int most = k->levels - s->level, beyond = k->wavelet ? 2 : 4;

    for (int r = most; r >= 0; r--) {
        const int64_t sx = (int64_t)q->dx << (most - r), sy = (int64_t)q->dy << (most - r);
        const int add = r ? beyond : 0;
        iip_jp2_box need = {want.x0 - add, want.y0 - add, want.x1 + add, want.y1 + add};
        iip_jp2_cells *cell = &out[r];

        cells_of(s, c, r, cell);
        meet(need.x0, need.x1, cell->in.box.x0, cell->in.box.x1, cell->px, &cell->want.x0, &cell->want.x1);
        meet(need.y0, need.y1, cell->in.box.y0, cell->in.box.y1, cell->py, &cell->want.y0, &cell->want.y1);
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
    iip_jp2_cells *cell = malloc(((size_t)s->most + 1) * sizeof *cell);
    iip_jp2_box sum = {0, 0, 0, 0};
    int all = cell != NULL;

    for (int c = 0; c < s->h->comps && all; c++) {
        want_cells(s, c, want[c], cell, &sum);
        for (int r = 0; r <= s->coding[c].levels - s->level; r++)
            all &= within(cell[r].want, s->cell[s->row[c] + (uint32_t)r].want);
    }
    free(cell);
    return all;
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
            iip_jp2_cells *k = &s->cell[s->row[c] + (uint32_t)r];

            meet(x0, x1, x0, x1, px, &k->all.x0, &k->all.x1);
            meet(y0, y1, y0, y1, py, &k->all.y0, &k->all.y1);
            if (k->all.x1 == k->all.x0 || k->all.y1 == k->all.y0)
                k->all.x1 = k->all.x0;
        }
}

/* Cells of a code-block in each sub-band: where blocks end the picture may end, wherever the tile's own precincts do.
 * The side of blocks stays as it is. */
static void refine(iip_jp2_coding *k)
{
    for (int r = 0; r <= k->levels; r++) {
        const int high = r > 0, px = (k->precinct[r] & 15) - high, py = (k->precinct[r] >> 4) - high;

        k->precinct[r] =
            (unsigned char)(((k->xcb < px ? k->xcb : px) + high) | ((k->ycb < py ? k->ycb : py) + high) << 4);
    }
}

void iip_jp2_small_precinct(const iip_jp2_coding *k, int r, int *px, int *py)
{
    const int high = r > 0;

    *px = (k->precinct[r] & 15) - high;
    *py = (k->precinct[r] >> 4) - high;
    *px = *px == k->xcb ? 15 : *px + high;
    *py = *py == k->ycb ? 15 : *py + high;
}

/* The picture for what is wanted, by the precincts of s->coding. 0: there is none. */
static int64_t area_of(iip_jp2_small *s, const iip_jp2_box *want)
{
    iip_jp2_box sum = {INT64_MAX, INT64_MAX, 0, 0}, tile = reduced(iip_jp2_tile_box(s->h, s->tile), s->level);

    for (int c = 0; c < s->h->comps; c++)
        want_cells(s, c, want[c], &s->cell[s->row[c]], &sum);
    s->box = sum;
    crop(&s->box.x0, &s->box.x1, tile.x0, tile.x1, steps(s->h, s->coding, s->level, 0));
    crop(&s->box.y0, &s->box.y1, tile.y0, tile.y1, steps(s->h, s->coding, s->level, 1));
    return s->box.x0 < s->box.x1 && s->box.y0 < s->box.y1 ? (s->box.x1 - s->box.x0) * (s->box.y1 - s->box.y0) : 0;
}

/* Segments of a code-block that end in the middle of it would have to be told apart. */
static int can_refine(const iip_jp2_small *s)
{
    for (int c = 0; c < s->h->comps; c++)
        if (s->coding[c].style & (IIP_JP2_BYPASS | IIP_JP2_TERMALL))
            return 0;
    return 1;
}

static iip_status plan(iip_jp2_small *s, const iip_jp2_box *want)
{
    const iip_jp2_coding *coding = jpip_index_coding(s->ix, s->tile, 0);
    const size_t comps = (size_t)s->h->comps;
    int64_t area;
    uint32_t n = 0;

    s->row = malloc(comps * sizeof *s->row);
    s->coding = malloc(comps * sizeof *s->coding);
    if (!s->row || !s->coding)
        return iip_fail(s->e, IIP_E_MEMORY, APR_ENOMEM, "JPEG 2000: no memory for a window");
    memcpy(s->coding, coding, comps * sizeof *coding);
    for (size_t c = 0; c < comps; c++) {
        const int most = coding[c].levels - s->level;

        if (most < 0)
            return IIP_E_FEATURE;
        s->row[c] = n;
        s->most = most > s->most ? most : s->most;
        n += (uint32_t)most + 1;
    }
    if (!(s->cell = calloc(n, sizeof *s->cell)))
        return iip_fail(s->e, IIP_E_MEMORY, APR_ENOMEM, "JPEG 2000: no memory for a window");
    if (s->fine) {
        if (!can_refine(s) || (area = area_of(s, want)) == 0)
            return IIP_E_FEATURE;
        for (size_t c = 0; c < comps; c++)
            refine(&s->coding[c]);
        if (area_of(s, want) > area / SMALLER)
            return IIP_E_FEATURE;
    } else if (area_of(s, want) == 0) {
        return IIP_E_FEATURE;
    }
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

/* A coding style with the levels left; style: the place of Scod or Scoc in it, at: of its number of levels. Returns the
 * segment's length. */
static size_t shorten(const iip_jp2_small *s, unsigned char *v, size_t n, size_t style, size_t at)
{
    const int left = v[at] > s->level ? v[at] - s->level : 0;
    iip_jp2_coding k = {
        .levels = (unsigned char)left, .xcb = (unsigned char)(v[at + 1] + 2), .ycb = (unsigned char)(v[at + 2] + 2)};

    if (s->fine) {
        for (int r = 0; r <= left && r < IIP_JP2_RES; r++)
            k.precinct[r] = v[style] & 1 ? v[at + 5 + (size_t)r] : 0xff;
        refine(&k);
        for (int r = 0; r <= left; r++) {
            int px, py;

            iip_jp2_small_precinct(&k, r, &px, &py);
            v[at + 5 + (size_t)r] = (unsigned char)(px | py << 4);
        }
        v[style] |= 1;
    }
    if (v[style] & 1)
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
            put16(p + 6, s->fine ? 1 : (unsigned)s->layers);
            p += shorten(s, p, len, 4, 9);
        } else if (marker == COC) {
            p += shorten(s, p, len, 4 + wide, 5 + wide);
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

/* --- the whole of it --- */

static iip_status write_all(iip_jp2_small *s)
{
    size_t n, room;
    int complete;
    const unsigned char *head = jpip_index_tile_head(s->ix, s->tile, &n, &complete);
    unsigned char *p, *sot;
    iip_status rv = complete ? iip_jp2_packets_count(s) : IIP_E_FEATURE;

    if (rv != IIP_OK)
        return rv;
    room = 2 + s->h->head_len + 12 + n + 2 + s->packed + 2;
    if (s->fine) /* lists of precincts, in COD and COC segments of 11 bytes at least, however many there are */
        room += (s->h->head_len + n) / 11 * IIP_JP2_RES;
    if (!(s->mem = malloc(room)))
        return iip_fail(s->e, IIP_E_MEMORY, APR_ENOMEM, "JPEG 2000: no memory for %zu bytes of packets", room);
    sot = put_head(s, s->mem);
    p = put_segments(s, sot + 12, head, n);
    p = put16(p, SOD);
    s->data = (size_t)(p - s->mem);
    put16(put32(put16(put16(put16(sot, SOT), 10), 0), (int64_t)((size_t)(p - sot) + s->packed)), 1);
    s->n = (size_t)(put16(p + s->packed, EOC) - s->mem);
    return iip_jp2_packets_put(s, p);
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

static iip_status make(iip_jp2_small **out, const iip_jp2_small *how, const iip_jp2_box *want)
{
    iip_jp2_small *s = malloc(sizeof *s);
    iip_status rv;

    if (!s)
        return iip_fail(how->e, IIP_E_MEMORY, APR_ENOMEM, "JPEG 2000: no memory for a window");
    *s = *how;
    rv = plan(s, want);
    if (rv == IIP_OK)
        rv = write_all(s);
    iip_jp2_packets_free(s);
    if (rv == IIP_OK)
        *out = s;
    else
        iip_jp2_small_free(s);
    return rv;
}

iip_status iip_jp2_small_make(iip_jp2_small **out, const iip_jp2_head *h, const jpip_index *ix, int64_t tile, int level,
                              int layers, const iip_jp2_box *want, iip_error *e)
{
    const int all = jpip_index_tile_layers(ix, tile);
    iip_jp2_small how = {.h = h,
                         .ix = ix,
                         .e = e,
                         .tile = tile,
                         .level = level,
                         .layers = layers > 0 && layers < all ? layers : all,
                         .fine = 1};
    iip_status rv = make(out, &how, want);

    if (rv == IIP_OK || rv == IIP_E_MEMORY || rv == IIP_E_IO)
        return rv;
    e->status = IIP_OK; /* packet headers that cannot be understood are OpenJPEG's to judge */
    how.fine = 0;
    return make(out, &how, want);
}

void iip_jp2_small_free(iip_jp2_small *s)
{
    if (s) {
        free(s->row);
        free(s->coding);
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
