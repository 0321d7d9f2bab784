/* SPDX-License-Identifier: Apache-2.0
 * JPEG 2000 reader: JP2, JPX (its first code-stream), JPH, and bare code-streams, through OpenJPEG; jp2.h has the map.
 *
 * Level r is the wavelet's resolution: what is left of the reference grid after r halvings. Cells follow the
 * code-stream's tiles where those are of a useful size; a large tile is read in windows. */
#include "codec/jp2_small.h"
#include "jpip/index.h"
#include <stdlib.h>
#include <string.h>

/* The side of a window of a single tile. OpenJPEG looks through all packets for each window: of much data it is to be
 * larger, though more is then decoded than asked for. Tiles are read whole up to the larger side. */
#define SIDE        512
#define LARGE_SIDE  1024
#define MUCH        ((size_t)64 << 20)
#define CELL_BYTES  (4 << 20) /* decoded, so that a cell fits into the cache */
#define COST_PIXEL  3.5       /* of the wavelet, relative to a JPEG pixel */
#define COST_BIT    4.7       /* of each coded bit */
#define COST_HT_BIT 0.8
#define LEAST_SIDE  256                  /* smaller tiles are read in groups */
#define WORTH_INDEX ((int64_t)512 << 10) /* bytes of a code-stream that is read by its packets */
#define MARGIN      128                  /* of code-blocks decoded beyond a window, on both sides together */

struct iip_reader {
    iip_jp2_file file;
    iip_jp2_head head;
    iip_jp2_form *form;
    iip_jp2_tile *tile;
    iip_jp2_box *want; /* of each component */
    iip_jp2_plane *plane;
    apr_interval_time_t deadline;
    size_t most; /* bytes for one request, 0 = any */
    int looked;  /* for the packet index */
    iip_blob *index;
};

static struct {
    jpip_indexes *kept;
    int64_t from;
} indexes = {NULL, WORTH_INDEX};

void iip_jp2_indexes(jpip_indexes *kept, int64_t from)
{
    indexes.kept = kept;
    indexes.from = from < 0 ? WORTH_INDEX : from;
}

/* --- opening ------------------------------------------------------------------------------------------------------ */

static int jp2_sniff(const unsigned char *head, size_t n)
{
    static const unsigned char boxes[] = {0, 0, 0, 12, 'j', 'P', ' ', ' ', '\r', '\n', 0x87, '\n'};
    static const unsigned char bare[] = {0xff, 0x4f, 0xff, 0x51};

    if (n >= sizeof boxes && memcmp(head, boxes, sizeof boxes) == 0)
        return 100;
    return n >= sizeof bare && memcmp(head, bare, sizeof bare) == 0 ? 95 : 0;
}

static apr_status_t let_go(void *reader)
{
    iip_reader_t *r = reader;

    iip_jp2_tile_use(r->tile, NULL, r->most);
    if (r->index)
        iip_blob_release(r->index);
    r->index = NULL;
    return APR_SUCCESS;
}

/* space: what the colours are whatever the file says, or IIP_JP2_NO_SPACE. */
static iip_status open_as(iip_reader_t **out, iip_source_t *s, int space, const iip_limits *lim, apr_pool_t *p,
                          iip_error *e)
{
    iip_reader_t *r = apr_pcalloc(p, sizeof *r);

    if (iip_jp2_open(&r->file, s, p, e) != IIP_OK)
        return e->status;
    if (space != IIP_JP2_NO_SPACE)
        r->file.space = space;
    if (iip_jp2_head_read(&r->head, &r->file, 0, p, e) != IIP_OK ||
        iip_jp2_form_new(&r->form, &r->head, p, e) != IIP_OK || iip_jp2_tile_new(&r->tile, &r->head, p, e) != IIP_OK)
        return e->status;
    r->want = apr_palloc(p, (size_t)r->head.comps * sizeof *r->want);
    r->plane = apr_palloc(p, (size_t)r->head.comps * sizeof *r->plane);
    r->deadline = lim ? lim->deadline : 0;
    r->most = lim ? lim->memory : 0;
    iip_jp2_tile_use(r->tile, NULL, r->most);
    apr_pool_pre_cleanup_register(p, r, let_go);
    *out = r;
    return IIP_OK;
}

static iip_status jp2_open(iip_reader_t **out, iip_source_t *s, int page, const iip_limits *lim, apr_pool_t *p,
                           iip_error *e)
{
    if (page > 0)
        return iip_fail(e, IIP_E_NOT_FOUND, 0, "JPEG 2000: page %d of 1", page);
    return open_as(out, s, IIP_JP2_NO_SPACE, lim, p, e);
}

/* --- the header's contents ---------------------------------------------------------------------------------------- */

/* The side of cells on one axis of a level: side for a single tile, else at most `most`. tile: on the reference grid,
 * sub: a pixel there. */
static int64_t cell_side(int64_t tile, int64_t sub, int64_t picture, int level, int64_t side, int64_t most)
{
    int64_t t = tile / sub >> level, parts;

    if (tile / sub >= picture) /* a single one */
        return side;
    if (t > most) {
        parts = iip_jp2_ceil(t, most);
        return t % parts ? most : t / parts;
    }
    t = t < 1 ? 1 : t;
    return t >= LEAST_SIDE ? t : LEAST_SIDE / t * t;
}

static int64_t least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static void set_level(const iip_reader_t *r, int level, int64_t side, int64_t most, iip_info *out)
{
    const iip_jp2_head *h = &r->head;
    iip_level *l = &out->level[level];
    const int64_t grid = (INT64_C(1) << level) - 1;
    int64_t w, high, wide, tall;

    l->w = iip_jp2_at(h->x1, h->dx, level) - iip_jp2_at(h->x0, h->dx, level);
    l->h = iip_jp2_at(h->y1, h->dy, level) - iip_jp2_at(h->y0, h->dy, level);
    l->tile_w = least(l->w, cell_side(h->tw, h->dx, (h->x1 - h->x0) / h->dx, level, side, most));
    l->tile_h = least(l->h, cell_side(h->th, h->dy, (h->y1 - h->y0) / h->dy, level, side, most));
    /* OpenJPEG's samples are 4 bytes: a picture as a whole, or of a window the code-blocks, the wavelet's lines and the
     * result */
    w = least(l->w, (h->tw / h->dx + grid) >> level);
    high = least(l->h, (h->th / h->dy + grid) >> level);
    if (r->file.len >= indexes.from) {
        const size_t hold = iip_jp2_small_hold(h, level, l->tile_w, l->tile_h, &wide, &tall);

        out->hold = hold > out->hold ? hold : out->hold;
        if (h->ht) {
            w = least(w, wide / h->dx + 1);
            high = least(high, tall / h->dy + 1);
        }
    }
    if (h->ht)
        out->level_hold[level] = (size_t)w * (size_t)high * (size_t)h->comps * 4;
    else
        out->level_hold[level] =
            (size_t)(least(w, l->tile_w + MARGIN) * least(high, l->tile_h + MARGIN)) * (size_t)h->comps * 12;
}

static iip_status jp2_info(iip_reader_t *r, iip_info *out, apr_pool_t *p, iip_error *e)
{
    const iip_jp2_head *h = &r->head;
    const iip_jp2_file *f = &r->file;
    const size_t whole = h->tile_bytes + h->tile_work;
    int64_t side, most = LARGE_SIDE, pixel;

    side = whole > MUCH && f->len < indexes.from ? LARGE_SIDE : SIDE;
    iip_jp2_form_info(r->form, out);
    pixel = out->bands * (int64_t)iip_sample_size(out->sample);
    while (most * most * pixel > CELL_BYTES)
        most /= 2;
    out->levels = out->virtual_from = h->levels;
    for (int i = 0; i < h->levels; i++)
        set_level(r, i, least(side, most), most, out);
    if (out->hold == 0 || out->hold > whole)
        out->hold = whole;
    out->tiled = h->columns * h->rows > 1;
    out->wavelet = 1;
    out->pages = 1;
    out->orientation = 1;
    out->layers = h->layers;
    out->decode_cost = COST_PIXEL + (h->ht ? COST_HT_BIT : COST_BIT) * 8 * (double)f->len /
                                        ((double)out->level[0].w * (double)out->level[0].h);
    out->res_x = f->res_x;
    out->res_y = f->res_y;
    out->lab_d50 = f->space == IIP_JP2_ICC || !f->lab_d65;
    /* A CIELAB profile is for samples as they are coded, and these are decoded. */
    if (f->icc.len > 0 && f->icc.len <= (int64_t)IIP_READ_ICC && out->space != IIP_LAB) {
        out->icc_len = (size_t)f->icc.len;
        if (!(out->icc = iip_codec_fetch(f->s, f->icc.at, out->icc_len, p, e)))
            return e->status;
    }
    if (f->xmp.len > 0 && f->xmp.len <= (int64_t)IIP_READ_XMP) {
        out->xmp_len = (size_t)f->xmp.len;
        if (!(out->xmp = iip_codec_fetch(f->s, f->xmp.at, out->xmp_len, p, e)))
            return e->status;
    }
    /* Its orientation is nobody's business: the format has none, and what else reads JPEG 2000 (OpenJPEG, Kakadu, vips,
     * ImageMagick) shows such a picture as it is stored. */
    if (f->exif.len > 0 && f->exif.len <= (int64_t)IIP_READ_XMP) {
        out->exif_len = (size_t)f->exif.len;
        if (!(out->exif = iip_codec_fetch(f->s, f->exif.at, out->exif_len, p, e)))
            return e->status;
        if (out->res_x <= 0)
            iip_exif_resolution(out->exif, out->exif_len, &out->res_x, &out->res_y);
    }
    return IIP_OK;
}

/* --- pixels ------------------------------------------------------------------------------------------------------- */

/* The samples of an axis that pixels from..to are made of: those at or before them, of those there are. */
static void under(int64_t *from, int64_t *to, int64_t sub, int64_t first, int64_t end)
{
    *from /= sub;
    *to = (*to - 1) / sub + 1;
    *from = *from < first ? first : *from > end - 1 ? end - 1 : *from;
    *to = *to > end ? end : *to <= *from ? *from + 1 : *to;
}

/* The samples of each component under the rectangle, which lies so on the level's own grid. */
static void set_want(iip_reader_t *r, int level, iip_rect at)
{
    const iip_jp2_head *h = &r->head;

    for (int c = 0; c < h->comps; c++) {
        const int64_t dx = h->comp[c].dx, dy = h->comp[c].dy;
        iip_jp2_box w = {at.x, at.y, at.x + at.w, at.y + at.h};

        under(&w.x0, &w.x1, dx / h->dx, iip_jp2_at(h->x0, dx, level), iip_jp2_at(h->x1, dx, level));
        under(&w.y0, &w.y1, dy / h->dy, iip_jp2_at(h->y0, dy, level), iip_jp2_at(h->y1, dy, level));
        r->want[c] = w;
    }
}

/* Columns and rows of the tiles with samples that are wanted and used. */
static iip_jp2_box tiles_under(const iip_reader_t *r, int level)
{
    const iip_jp2_head *h = &r->head;
    iip_jp2_box t = {INT64_MAX, INT64_MAX, 0, 0};

    for (int c = 0; c < h->comps; c++) {
        const iip_jp2_box *w = &r->want[c];
        const int64_t sx = (int64_t)h->comp[c].dx << level, sy = (int64_t)h->comp[c].dy << level;
        const int64_t x0 = (w->x0 * sx - h->tx0) / h->tw, x1 = ((w->x1 - 1) * sx - h->tx0) / h->tw + 1;
        const int64_t y0 = (w->y0 * sy - h->ty0) / h->th, y1 = ((w->y1 - 1) * sy - h->ty0) / h->th + 1;

        if (!iip_jp2_form_uses(r->form, c))
            continue;
        t = (iip_jp2_box){least(t.x0, x0), least(t.y0, y0), t.x1 > x1 ? t.x1 : x1, t.y1 > y1 ? t.y1 : y1};
    }
    return t;
}

/* What both have, from a tile's plane to that of the whole rectangle. */
static void paste(const iip_jp2_plane *from, const iip_jp2_plane *to)
{
    const int64_t x0 = from->x0 > to->x0 ? from->x0 : to->x0, x1 = least(from->x0 + from->w, to->x0 + to->w);
    const int64_t y0 = from->y0 > to->y0 ? from->y0 : to->y0, y1 = least(from->y0 + from->h, to->y0 + to->h);

    for (int64_t y = y0; y < y1 && x0 < x1; y++)
        memcpy(to->px + (y - to->y0) * to->w + (x0 - to->x0), from->px + (y - from->y0) * from->w + (x0 - from->x0),
               (size_t)(x1 - x0) * sizeof *to->px);
}

/* Samples of several tiles, put together. */
static iip_status read_tiles(iip_reader_t *r, int level, int layers, iip_jp2_box t, iip_rect at, iip_raster *out,
                             iip_error *e)
{
    const iip_jp2_head *h = &r->head;
    iip_jp2_plane *all = malloc((size_t)h->comps * sizeof *all);
    size_t n = 0;
    int32_t *px = NULL, *put;
    iip_status rv = IIP_OK;

    for (int c = 0; c < h->comps; c++)
        if (iip_jp2_form_uses(r->form, c))
            n += (size_t)(r->want[c].x1 - r->want[c].x0) * (size_t)(r->want[c].y1 - r->want[c].y0);
    if (!all || !(put = px = malloc(n * sizeof *px))) {
        free(all);
        return iip_fail(e, IIP_E_MEMORY, APR_ENOMEM, "JPEG 2000: no memory for %zu samples", n);
    }
    for (int c = 0; c < h->comps; c++) {
        const iip_jp2_box *w = &r->want[c];

        all[c] = (iip_jp2_plane){put, w->x0, w->y0, w->x1 - w->x0, w->y1 - w->y0};
        if (iip_jp2_form_uses(r->form, c))
            put += all[c].w * all[c].h;
    }
    for (int64_t y = t.y0; y < t.y1 && rv == IIP_OK; y++)
        for (int64_t x = t.x0; x < t.x1 && rv == IIP_OK; x++) {
            rv = iip_jp2_tile_decode(r->tile, y * h->columns + x, level, layers, r->want, r->plane, e);
            for (int c = 0; c < h->comps && rv == IIP_OK; c++)
                if (iip_jp2_form_uses(r->form, c))
                    paste(&r->plane[c], &all[c]);
        }
    if (rv == IIP_OK)
        rv = iip_jp2_form_fill(r->form, all, at.x, at.y, out, e);
    free(px);
    free(all);
    return rv;
}

/* At the first read. A file for which no index can be made is read as it always was. */
static iip_status find_index(iip_reader_t *r, iip_error *e)
{
    const jpip_index *ix;
    const apr_time_t until = r->deadline ? apr_time_now() + r->deadline : 0;
    iip_status rv;

    if (r->looked || r->file.len < indexes.from)
        return IIP_OK;
    r->looked = 1;
    rv = jpip_indexes_get(indexes.kept, &r->file, until, &ix, &r->index, e);
    if (rv == IIP_OK)
        iip_jp2_tile_use(r->tile, ix, r->most);
    if (rv == IIP_E_FORMAT || rv == IIP_E_CORRUPT)
        e->status = IIP_OK;
    if (rv == IIP_E_BUSY) { /* being built: until then as it always was, where a tile fits in */
        r->looked = 0;
        if (!r->most || r->head.tile_bytes + r->head.tile_work <= r->most)
            e->status = IIP_OK;
    }
    return e->status;
}

static iip_status jp2_read(iip_reader_t *r, int level, iip_rect want, int layers, iip_raster *out, iip_error *e)
{
    const iip_jp2_head *h = &r->head;
    const int64_t x0 = level < 0 || level >= h->levels ? 0 : iip_jp2_at(h->x0, h->dx, level);
    const int64_t y0 = level < 0 || level >= h->levels ? 0 : iip_jp2_at(h->y0, h->dy, level);
    iip_jp2_box t;

    if (level < 0 || level >= h->levels || want.x < 0 || want.y < 0 || want.w < 1 || want.h < 1 ||
        want.x > iip_jp2_at(h->x1, h->dx, level) - x0 - want.w ||
        want.y > iip_jp2_at(h->y1, h->dy, level) - y0 - want.h)
        return iip_fail(e, IIP_E_RANGE, 0, "JPEG 2000: no such rectangle on level %d", level);
    if (find_index(r, e) != IIP_OK)
        return e->status;
    layers = layers < 1 || layers >= h->layers ? 0 : layers;
    want.x += x0;
    want.y += y0;
    set_want(r, level, want);
    t = tiles_under(r, level);
    if ((t.x1 - t.x0) * (t.y1 - t.y0) > 1)
        return read_tiles(r, level, layers, t, want, out, e);
    if (iip_jp2_tile_decode(r->tile, t.y0 * h->columns + t.x0, level, layers, r->want, r->plane, e) != IIP_OK)
        return e->status;
    return iip_jp2_form_fill(r->form, r->plane, want.x, want.y, out, e);
}

iip_status iip_jp2_block(iip_source_t *s, int space, iip_raster *out, apr_pool_t *p, iip_error *e)
{
    const int64_t w = out->w, h = out->h;
    iip_reader_t *r;
    iip_info info;

    if (open_as(&r, s, space, NULL, p, e) != IIP_OK)
        return e->status;
    memset(&info, 0, sizeof info);
    iip_jp2_form_info(r->form, &info);
    out->w = iip_jp2_at(r->head.x1, r->head.dx, 0) - iip_jp2_at(r->head.x0, r->head.dx, 0);
    out->h = iip_jp2_at(r->head.y1, r->head.dy, 0) - iip_jp2_at(r->head.y0, r->head.dy, 0);
    if (out->w > w || out->h > h || info.bands != out->bands || info.sample != out->sample)
        return iip_fail(e, IIP_E_CORRUPT, 0, "JPEG 2000: another picture than the file around it says");
    return jp2_read(r, 0, (iip_rect){0, 0, out->w, out->h}, 0, out, e);
}

const iip_decoder iip_decoder_jp2 = {
    .abi = IIP_CODEC_ABI,
    .name = "jp2",
    .priority = 100,
    .sniff = jp2_sniff,
    .open = jp2_open,
    .info = jp2_info,
    .read = jp2_read,
};
