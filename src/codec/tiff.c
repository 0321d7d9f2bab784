/* SPDX-License-Identifier: Apache-2.0
 * TIFF and BigTIFF: the decoder. Reads are cut into blocks; each is looked up (tiff_dir.c), decompressed (tiff_lib.c)
 * and made into pixels (tiff_pixel.c), all in place where the stored rows are the delivered ones. */
#include "codec/tiff_dir.h"
#include "path.h"
#include <apr_strings.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <tiffio.h>

extern const iip_decoder iip_decoder_jpeg;

#define WIDE        (64u << 10) /* bytes of unpacked samples at a time */
#define MOST_ICC    (4u << 20)
#define MOST_XMP    (1u << 20)
#define MOST_TEXT   4096 /* longer descriptions are data of slide scanners and microscopes */
#define MOST_TABLES (64u << 10)
#define RAW_READ    (64u << 10) /* stored tiles up to this are looked through whole before they are given away */

struct iip_reader {
    iip_tiff_file f;
    int pages, levels;
    iip_tiff_level *level;
    iip_tiff_lib_t *lib;
    iip_reader_t *jpeg; /* whose picture it is, if that is old-style JPEG */
    iip_tiff_buffer packed, stored, wide, head;
    struct {
        int level;
        int64_t block, first, rows;
    } have; /* what `stored` holds; level -1: nothing */
    apr_pool_t *pool;
};

static void to_host(const iip_tiff_file *f, const iip_tiff_dir *d, unsigned char *p, size_t n)
{
    const int host_msb = __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__;

    if (d->fill == 2)
        TIFFReverseBits(p, (tmsize_t)n);
    if (f->msb == host_msb)
        return;
    if (d->bits == 16)
        TIFFSwabArrayOfShort((uint16_t *)(void *)p, (tmsize_t)(n / 2));
    else if (d->bits == 24)
        TIFFSwabArrayOfTriples(p, (tmsize_t)(n / 3));
    else if (d->bits == 32)
        TIFFSwabArrayOfLong((uint32_t *)(void *)p, (tmsize_t)(n / 4));
    else if (d->bits == 64)
        TIFFSwabArrayOfLong8((uint64_t *)(void *)p, (tmsize_t)(n / 8));
}

/* Part of the block grid: rows first .. first+rows of a block that has `all`. */
typedef struct {
    int level;
    int64_t block, first, rows, all;
} piece;

/* Stored rows of all planes to dst, `plane` bytes apart. *empty: there are none in the file. */
static iip_status load(iip_reader_t *r, const piece *b, unsigned char *dst, size_t plane, int *empty)
{
    const iip_tiff_level *l = &r->level[b->level];
    const iip_tiff_form *m = &l->form;
    const size_t n = iip_tiff_form_size(m, &l->dir, b->rows), all = iip_tiff_form_size(m, &l->dir, b->all);
    const int planes = m->planar ? m->in : 1;

    *empty = 1;
    for (int k = 0; k < planes; k++, dst += plane) {
        const int stored = m->planar ? iip_tiff_form_stored(m, k) : 0;
        uint64_t i = (uint64_t)stored * (uint64_t)l->dir.per_plane + (uint64_t)b->block;
        int64_t off;
        size_t len;

        if (iip_tiff_block(&r->f, &l->dir, i, all, &off, &len) != IIP_OK)
            return r->f.bad;
        if (!len) {
            memset(dst, 0, n); /* of use where other planes are there */
            continue;
        }
        *empty = 0;
        if (l->by_rows) {
            iip_tiff_lib_rows(r->lib, b->level, stored, i, off, len, b->block * l->dir.block_h + b->first, b->rows,
                              dst);
        } else if (l->dir.compression != TIFF_NONE) {
            iip_tiff_lib_block(r->lib, b->level, i, off, len, dst, n);
        } else if (len < all) {
            r->f.bad = iip_fail(r->f.e, IIP_E_CORRUPT, 0, "too few bytes in block %" PRIu64, i);
        } else if (iip_tiff_read(&r->f, dst, n, off + (int64_t)iip_tiff_form_size(m, &l->dir, b->first)) == IIP_OK) {
            to_host(&r->f, &l->dir, dst, n);
        }
        if (r->f.bad)
            return r->f.bad;
    }
    return IIP_OK;
}

static void whiten(const iip_tiff_form *m, iip_rect at, iip_raster *out, size_t pixel)
{
    for (int64_t y = 0; y < at.h; y++)
        iip_tiff_form_empty(m, out->px + (size_t)(at.y + y) * out->stride + (size_t)at.x * pixel, (size_t)at.w);
}

/* The part of one block that is wanted: x, w in its columns, b->first and rows. at: where in out. */
typedef iip_status piece_fn(iip_reader_t *r, piece *b, int64_t x, int64_t w, int64_t at_x, int64_t at_y,
                            iip_raster *out);

static iip_status read_piece(iip_reader_t *r, piece *b, int64_t x, int64_t w, int64_t at_x, int64_t at_y,
                             iip_raster *out)
{
    const iip_tiff_level *l = &r->level[b->level];
    const iip_tiff_form *m = &l->form;
    const size_t pixel = (size_t)m->bands * iip_sample_size(m->sample);
    const size_t row = iip_tiff_form_row(m, &l->dir);
    const int64_t first = b->first, rows = b->rows,
                  step = (int64_t)(WIDE / ((size_t)m->in * iip_sample_size(m->sample)));
    const int parts = l->by_rows || (l->dir.compression == TIFF_NONE && !m->clumps);
    unsigned char *to = out->px + (size_t)at_y * out->stride + (size_t)at_x * pixel;
    size_t plane;
    int empty = 0;

    if (m->plain && w == l->dir.block_w && out->stride == row && (parts || rows == b->all)) {
        if (load(r, b, to, 0, &empty) != IIP_OK)
            return r->f.bad;
        if (empty)
            whiten(m, (iip_rect){at_x, at_y, w, rows}, out, pixel);
        return IIP_OK;
    }
    /* A coded block is decoded from its top; of JPEG no more than is wanted, as at the lower edge of a level. */
    if (!parts) {
        b->rows = l->dir.compression == TIFF_JPEG ? b->first + b->rows : b->all;
        b->first = 0;
    }
    plane = m->planar ? iip_tiff_form_size(m, &l->dir, b->rows) : 0;
    if (r->have.level != b->level || r->have.block != b->block || r->have.first != b->first ||
        r->have.rows != b->rows) {
        r->have.level = -1;
        if (iip_tiff_room(&r->f, &r->stored,
                          m->planar ? plane * (size_t)m->in : iip_tiff_form_size(m, &l->dir, b->rows)) != IIP_OK ||
            iip_tiff_room(&r->f, &r->wide, WIDE) != IIP_OK || load(r, b, r->stored.p, plane, &empty) != IIP_OK)
            return r->f.bad;
        if (empty) {
            whiten(m, (iip_rect){at_x, at_y, w, rows}, out, pixel);
            return IIP_OK;
        }
        r->have.level = b->level;
        r->have.block = b->block;
        r->have.first = b->first;
        r->have.rows = b->rows;
    }
    for (int64_t y = first - b->first; y < first - b->first + rows; y++, to += out->stride)
        for (int64_t i = 0; i < w; i += step)
            iip_tiff_form_deliver(m, r->stored.p, row, plane, x + i, y, w - i < step ? w - i : step, r->wide.p,
                                  to + (size_t)i * pixel);
    return IIP_OK;
}

/* The same as planes. */
static iip_status planes_piece(iip_reader_t *r, piece *b, int64_t x, int64_t w, int64_t at_x, int64_t at_y,
                               iip_raster *out)
{
    const iip_tiff_level *l = &r->level[b->level];
    const iip_rect to = {at_x, at_y, w, b->rows};
    int64_t off;
    size_t len;

    if (iip_tiff_block(&r->f, &l->dir, (uint64_t)b->block, l->block, &off, &len) != IIP_OK)
        return r->f.bad;
    if (len)
        return iip_tiff_lib_planes(r->lib, b->level, (uint64_t)b->block, off, len, (iip_rect){x, b->first, w, b->rows},
                                   out, at_x, at_y);
    for (int k = 0; k < IIP_PLANES; k++) {
        const iip_rect part = iip_plane_rect(to, k);

        for (int64_t y = part.y; y < part.y + part.h; y++)
            memset(out[k].px + (size_t)y * out[k].stride + (size_t)part.x, k ? 128 : 255, (size_t)part.w);
    }
    return IIP_OK;
}

static iip_status ojpeg_read(iip_reader_t *r, int level, iip_rect want, iip_raster *out, iip_error *e)
{
    const iip_status rv = iip_decoder_jpeg.read(r->jpeg, level, want, -1, out, e);

    if (r->level[0].form.map == TIFF_INVERT)
        for (int64_t y = 0; y < want.h && rv == IIP_OK; y++)
            for (int64_t x = 0; x < want.w; x++)
                out->px[(size_t)y * out->stride + (size_t)x] ^= 255;
    return rv;
}

/* want, block by block. */
static iip_status read_with(piece_fn *fn, iip_reader_t *r, int level, iip_rect want, iip_raster *out, iip_error *e)
{
    const iip_tiff_dir *d;
    const int64_t end_x = want.x + want.w, end_y = want.y + want.h;
    iip_status rv;

    if (level < 0 || level >= r->levels)
        return iip_fail(e, IIP_E_RANGE, 0, "level %d of %d", level, r->levels);
    d = &r->level[level].dir;
    if (want.x < 0 || want.y < 0 || want.w < 1 || want.h < 1 || want.w > d->w - want.x || want.h > d->h - want.y)
        return iip_fail(e, IIP_E_RANGE, 0, "outside of level %d", level);
    r->f.e = e;
    r->f.bad = IIP_OK;
    for (int64_t y = want.y, next_y; y < end_y; y = next_y) {
        const int64_t by = y / d->block_h, top = by * d->block_h;
        const int64_t all = d->tiled || d->h - top > d->block_h ? d->block_h : d->h - top;

        next_y = top + all < end_y ? top + all : end_y;
        for (int64_t x = want.x, next_x; x < end_x; x = next_x) {
            const int64_t bx = x / d->block_w, left = bx * d->block_w;
            piece b = {level, by * d->across + bx, y - top, next_y - y, all};

            next_x = left + d->block_w < end_x ? left + d->block_w : end_x;
            if ((rv = fn(r, &b, x - left, next_x - x, x - want.x, y - want.y, out)) != IIP_OK)
                return rv;
        }
    }
    return IIP_OK;
}

static iip_status tiff_read(iip_reader_t *r, int level, iip_rect want, int layers, iip_raster *out, iip_error *e)
{
    return r->jpeg ? ojpeg_read(r, level, want, out, e) : read_with(read_piece, r, level, want, out, e);
}

static iip_status tiff_planes(iip_reader_t *r, int level, iip_rect want, int layers, iip_raster *out, iip_error *e)
{
    return read_with(planes_piece, r, level, want, out, e);
}

/* Whether a block can be given as planes its own header says: the tag may be wrong. */
static int halves(const iip_tiff_level *l)
{
    return l->dir.compression == TIFF_JPEG && l->dir.jpeg_ycc && l->dir.tiled && l->dir.sub_x == 2 &&
           l->dir.sub_y == 2 && !(l->dir.block_w & 1) && !(l->dir.block_h & 1);
}

static int tiff_sniff(const unsigned char *h, size_t n)
{
    if (n < 8)
        return 0;
    if (!memcmp(h, "II*\0", 4) || !memcmp(h, "MM\0*", 4) || !memcmp(h, "II+\0\10\0\0\0", 8) ||
        !memcmp(h, "MM\0+\0\10\0\0", 8))
        return 100;
    return 0;
}

static apr_status_t reader_close(void *ctx)
{
    iip_reader_t *r = ctx;

    free(r->packed.p);
    free(r->stored.p);
    free(r->wide.p);
    free(r->head.p);
    return APR_SUCCESS;
}

static iip_status tiff_open(iip_reader_t **out, iip_source_t *s, int page, const iip_limits *lim, apr_pool_t *p,
                            iip_error *e)
{
    iip_reader_t *r = apr_pcalloc(p, sizeof *r);

    r->f.src = s;
    r->f.size = s->id.size;
    r->f.e = e;
    r->have.level = -1;
    r->pool = p;
    apr_pool_cleanup_register(p, r, reader_close, apr_pool_cleanup_null);
    if (iip_tiff_head(&r->f) != IIP_OK || iip_tiff_page(&r->f, page, &r->pages, &r->level, &r->levels, p) != IIP_OK)
        return r->f.bad;
    for (int i = 0; i < r->levels; i++)
        if (r->level[i].by_rows && r->level[i].form.planar && r->level[i].form.in > IIP_TIFF_HANDLES)
            return iip_fail(e, IIP_E_FORMAT, 0, "tall strips of %d planes", r->level[i].form.in);
    r->lib =
        iip_tiff_lib_create(&r->f, r->level, lim && lim->memory / 2 > IIP_MAX_CELL ? lim->memory / 2 : IIP_MAX_CELL, p);
    if (r->level[0].dir.ojpeg && iip_tiff_ojpeg_open(&r->f, &r->level[0].dir, lim, &r->jpeg, p) != IIP_OK)
        return r->f.bad;
    *out = r;
    return IIP_OK;
}

static double per_cm(iip_tiff_file *f, const iip_tiff_dir *d, int tag)
{
    const uint64_t unit = iip_tiff_uint(f, &d->tag[TAG_RES_UNIT], 0, 2);
    const double v = iip_tiff_real(f, &d->tag[tag], 0, 0) / (unit == 2 ? 2.54 : 1);

    return unit < 2 || unit > 3 || !(v > 1e-6 && v < 1e9) ? 0 : v;
}

/* What lies beside the picture: where it cannot be read the picture is good without. */
static const void *aside(iip_tiff_file *f, const iip_tiff_entry *t, size_t max, size_t *n, apr_pool_t *p)
{
    *n = 0;
    if (t->count > max || (int64_t)t->count > f->size || (int64_t)t->at > f->size - (int64_t)t->count)
        return NULL;
    return iip_tiff_bytes(f, t, max, n, p);
}

static iip_status texts(iip_tiff_file *f, const iip_tiff_dir *d, iip_info *out, apr_pool_t *p, iip_error *e)
{
    static const struct {
        int tag;
        unsigned exif;
    } rows[] = {{TAG_DESCRIPTION, 0x10e}, {TAG_MAKE, 0x10f},   {TAG_MODEL, 0x110},     {TAG_SOFTWARE, 0x131},
                {TAG_DATE, 0x132},        {TAG_ARTIST, 0x13b}, {TAG_COPYRIGHT, 0x8298}};
    enum { COUNT = sizeof rows / sizeof *rows };
    iip_exif_field text[COUNT];

    for (int i = 0; i < COUNT; i++) {
        text[i].tag = rows[i].exif;
        text[i].text = aside(f, &d->tag[rows[i].tag], MOST_TEXT, &text[i].len, p);
    }
    return f->bad ? f->bad : iip_exif_of_texts(text, COUNT, &out->exif, &out->exif_len, p, e);
}

/* A tag's text as UTF-8: what is not is taken for Latin 1, as older writers had it. NULL if there is none. */
static const char *text(iip_tiff_file *f, const iip_tiff_entry *t, apr_pool_t *p)
{
    size_t n;
    const unsigned char *raw = aside(f, t, MOST_TEXT, &n, p);
    char *s, *to;

    if (!raw || !*raw)
        return NULL;
    s = apr_pstrmemdup(p, (const char *)raw, n); /* it ends at the first NUL */
    if (iip_utf8_good(s))
        return s;
    to = s = apr_pcalloc(p, 2 * n + 1);
    for (; n-- && *raw; raw++) {
        if (*raw < 0x80) {
            *to++ = (char)*raw;
        } else {
            *to++ = (char)(0xC0 | *raw >> 6);
            *to++ = (char)(0x80 | (*raw & 0x3F));
        }
    }
    return s;
}

/* Levels and what reading costs are those of the JPEG decoder. */
static iip_status ojpeg_info(iip_reader_t *r, iip_info *out, apr_pool_t *p, iip_error *e)
{
    const iip_tiff_dir *d = &r->level[0].dir;
    iip_info j = {0};

    if (iip_decoder_jpeg.info(r->jpeg, &j, p, e) != IIP_OK)
        return e->status;
    if (j.level[0].w != d->w || j.level[0].h != d->h || j.bands != out->bands)
        return iip_fail(e, IIP_E_CORRUPT, 0, "a JPEG of another shape");
    out->levels = j.levels;
    out->virtual_from = j.virtual_from;
    memcpy(out->level, j.level, sizeof j.level);
    out->tiled = 0;
    out->hold = j.hold;
    out->decode_cost = j.decode_cost;
    return IIP_OK;
}

static iip_status tiff_info(iip_reader_t *r, iip_info *out, apr_pool_t *p, iip_error *e)
{
    const iip_tiff_level *l = &r->level[0];
    iip_tiff_file *f = &r->f;

    f->e = e;
    f->bad = IIP_OK;
    out->levels = out->virtual_from = r->levels;
    out->ycc = 1;
    for (int i = 0; i < r->levels; i++) {
        const iip_tiff_level *v = &r->level[i];
        size_t kept = v->block * (v->form.planar ? (size_t)v->form.in : 1);

        out->ycc &= halves(v);
        out->level[i] = v->cell;
        if (v->dir.ojpeg) {
            kept = 0;
        } else if (v->by_rows) { /* libtiff holds a strip's compressed bytes */
            int64_t off;

            if (iip_tiff_block(f, &v->dir, 0, 0, &off, &kept) != IIP_OK)
                return f->bad;
        } else if (!v->dir.tiled && v->dir.compression == TIFF_NONE && !v->form.clumps) {
            kept = 0;
        }
        if (iip_tiff_is_jp2(&v->dir)) /* samples, the wavelet's copy of them and what it is made of */
            out->level_hold[i] = v->block / iip_sample_size(v->form.sample) * 12;
        if (kept > 1 << 20 && kept > out->hold)
            out->hold = kept;
    }
    out->tiled = l->dir.tiled;
    out->pages = r->pages;
    out->page_name = text(f, &l->dir.tag[l->dir.tag[TAG_DOCUMENT_NAME].count ? TAG_DOCUMENT_NAME : TAG_PAGE_NAME], p);
    out->page_scale = iip_tiff_real(f, &l->dir.tag[TAG_NITS], 0, 0);
    if (!isfinite(out->page_scale))
        out->page_scale = 0;
    out->bands = l->form.bands;
    out->bits = l->dir.bits;
    out->sample = l->form.sample;
    out->space = l->form.space;
    out->lab_d50 = l->form.map == TIFF_ICCLAB;
    out->alpha = l->form.alpha;
    out->bilevel = l->form.bilevel;
    out->orientation = l->dir.orientation;
    out->layers = 1;
    out->decode_cost = iip_tiff_codec_find(l->dir.compression)->cost;
    out->min = iip_tiff_form_range(&l->form, f, &l->dir, p);
    out->max = out->min ? out->min + out->bands : NULL;
    out->res_x = per_cm(f, &l->dir, TAG_RES_X);
    out->res_y = per_cm(f, &l->dir, TAG_RES_Y);
    out->icc = aside(f, &l->dir.tag[TAG_ICC], MOST_ICC, &out->icc_len, p);
    out->xmp = aside(f, &l->dir.tag[TAG_XMP], MOST_XMP, &out->xmp_len, p);
    if (!f->bad && r->jpeg)
        f->bad = ojpeg_info(r, out, p, e);
    return f->bad ? f->bad : texts(f, &l->dir, out, p, e);
}

static iip_status unfit(iip_error *e, const char *why)
{
    return iip_fail(e, IIP_E_FEATURE, 0, "the stored tile %s", why);
}

/* The bytes of a tile in r->packed: all, or if it is long what its header needs, and *end: where its last bytes begin.
 */
static iip_status raw_bytes(iip_reader_t *r, int64_t off, size_t len, size_t *got, unsigned char tail[32])
{
    *got = len <= RAW_READ ? len : 8192;
    if (iip_tiff_room(&r->f, &r->packed, *got) != IIP_OK || iip_tiff_read(&r->f, r->packed.p, *got, off) != IIP_OK)
        return r->f.bad;
    if (*got == len) {
        memcpy(tail, r->packed.p + len - 32, 32);
        return IIP_OK;
    }
    return iip_tiff_read(&r->f, tail, 32, off + (int64_t)len - 32);
}

/* A tile that hangs over the right or lower edge, cut to w x h. Damage may lie in what is cut off: decoding will tell.
 */
static iip_status raw_cut(iip_reader_t *r, int level, int64_t off, size_t len, int64_t w, int64_t h, iip_span *span)
{
    iip_tiff_jpegs_t *jpegs = iip_tiff_lib_jpegs(r->lib);
    iip_status rv;

    if (!jpegs || iip_tiff_room(&r->f, &r->packed, len) != IIP_OK ||
        iip_tiff_read(&r->f, r->packed.p, len, off) != IIP_OK)
        return r->f.bad;
    *span = (iip_span){0};
    rv = iip_tiff_jpeg_cut(jpegs, &r->level[level], level, r->packed.p, len, w, h, (const unsigned char **)&span->mem,
                           &span->len);
    if (rv == IIP_E_MEMORY)
        return rv;
    r->f.bad = IIP_OK;
    return rv == IIP_OK ? rv : unfit(r->f.e, "cannot be cut");
}

static iip_status tiff_raw(iip_reader_t *r, int level, int64_t tx, int64_t ty, iip_format *format, iip_span span[3],
                           int *n, iip_error *e)
{
    const iip_tiff_level *l;
    const iip_tiff_dir *d;
    const iip_tiff_tables *tables;
    iip_tiff_jpegs_t *jpegs;
    iip_tiff_jpeg j;
    int64_t off, w, h;
    size_t len, got, head = 0, skip = 0;
    unsigned char tail[32];
    int end = 32;
    iip_tiff_webp webp;

    if (r->jpeg)
        return unfit(e, "is none");
    if (level < 0 || level >= r->levels)
        return iip_fail(e, IIP_E_RANGE, 0, "level %d of %d", level, r->levels);
    l = &r->level[level];
    d = &l->dir;
    r->f.e = e;
    r->f.bad = IIP_OK;
    if (!d->tiled || (d->compression != TIFF_JPEG && d->compression != TIFF_WEBP) || !l->form.plain || d->fill != 1 ||
        d->orientation != 1 || (d->photometric != TIFF_BLACK_IS_0 && d->photometric != TIFF_RGB) ||
        l->form.space == IIP_MULTIBAND)
        return unfit(e, "is no picture by itself");
    if (tx < 0 || ty < 0 || tx >= d->across || ty >= d->per_plane / d->across)
        return unfit(e, "is none");
    if (iip_tiff_block(&r->f, d, (uint64_t)(ty * d->across + tx), l->block, &off, &len) != IIP_OK)
        return r->f.bad;
    if (len < 32 || len > l->block + MOST_TABLES)
        return unfit(e, "is empty, or far too long");
    w = d->w - tx * d->block_w;
    h = d->h - ty * d->block_h;
    if (w < d->block_w || h < d->block_h) {
        if (d->compression != TIFF_JPEG)
            return unfit(e, "is not whole");
        *format = IIP_FMT_JPEG;
        *n = 1;
        return raw_cut(r, level, off, len, w < d->block_w ? w : d->block_w, h < d->block_h ? h : d->block_h, span);
    }
    if (raw_bytes(r, off, len, &got, tail) != IIP_OK)
        return r->f.bad;
    if (d->compression == TIFF_WEBP) {
        if (!iip_tiff_webp_look(r->packed.p, got, &webp) || webp.w != d->block_w || webp.h != d->block_h ||
            (webp.alpha && !l->form.alpha) || webp.len > len)
            return unfit(e, "is another WebP than the directory says");
        *format = IIP_FMT_WEBP;
    } else {
        if (!(jpegs = iip_tiff_lib_jpegs(r->lib)))
            return r->f.bad;
        if (!(tables = iip_tiff_jpeg_tables(jpegs, l, level)))
            return r->f.bad ? r->f.bad : unfit(e, "has damaged tables");
        if (iip_tiff_room(&r->f, &r->head, tables->n + IIP_TIFF_JOIN) != IIP_OK)
            return r->f.bad;
        if (!iip_tiff_jpeg_look(r->packed.p, got, &j) || !(head = iip_tiff_jpeg_join(d, tables, &j, r->head.p)))
            return unfit(e, "is no JPEG that stands alone");
        while (end > 16 && !tail[end - 1])
            end--; /* padding */
        if (tail[end - 2] != 0xFF || tail[end - 1] != 0xD9)
            return unfit(e, "has no end");
        *format = IIP_FMT_JPEG;
        skip = 2;
    }
    *n = 0;
    if (head)
        span[(*n)++] = (iip_span){r->head.p, 0, head};
    len -= skip + (size_t)(32 - end);
    span[(*n)++] = got <= RAW_READ && got >= len + skip ? (iip_span){r->packed.p + skip, 0, len}
                                                        : (iip_span){NULL, off + (int64_t)skip, len};
    return IIP_OK;
}

const iip_decoder iip_decoder_tiff = {IIP_CODEC_ABI, "tiff",    0,         90,       tiff_sniff,
                                      tiff_open,     tiff_info, tiff_read, tiff_raw, tiff_planes};
