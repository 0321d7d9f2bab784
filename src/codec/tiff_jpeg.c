/* SPDX-License-Identifier: Apache-2.0
 * TIFF: JPEG blocks by libjpeg itself. libtiff asks it for one row at a time, each inside a setjmp(), which costs a
 * third of a tile; and coefficients, which a stored tile is cut by without loss, it never shows. What is out of the
 * ordinary is left to libtiff. */
#include "codec/tiff_dir.h"
#include "codec/jpeg.h"
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <jpeglib.h>
#include <jerror.h>

#define ROWS        8  /* asked of libjpeg at once */
#define MCU         16 /* pixels a side of 4:2:0 */
#define MOST_TABLES (64u << 10)
#define MOST_CUT    (1 << 20)   /* pixels of a tile that is cut: its coefficients are held */
#define MOST_DIRECT (1u << 20)  /* bytes to cut one without libjpeg */
#define FIRST_ROOM  (16u << 10) /* of a cut tile's bytes */

struct iip_tiff_jpegs {
    struct jpeg_decompress_struct d;
    struct jpeg_compress_struct c;
    struct jpeg_error_mgr err;
    jmp_buf out; /* to the entry point that is running, with *f->e filled */
    iip_tiff_file *f;
    apr_pool_t *pool;
    struct {
        iip_tiff_tables t;
        int known, good;
    } tables[IIP_MAX_LEVELS];
    int tables_of; /* level whose tables d holds; -1: none that can be relied on */
    iip_tiff_codes_t *codes;
    int codes_of; /* likewise */
    struct jpeg_destination_mgr dest;
    unsigned char *cut; /* the tile that was cut last */
    size_t cut_room;
    iip_tiff_buffer mcus; /* a row of them, where not all of it is wanted */
};

/* ---- libjpeg's callbacks ---- */

static void error_exit(j_common_ptr c)
{
    iip_tiff_jpegs_t *j = c->client_data;
    char text[JMSG_LENGTH_MAX];

    c->err->format_message(c, text);
    j->f->bad =
        iip_fail(j->f->e, c->err->msg_code == JERR_OUT_OF_MEMORY ? IIP_E_MEMORY : IIP_E_CORRUPT, 0, "JPEG: %s", text);
    longjmp(j->out, 1);
}

static void emit_message(j_common_ptr c, int level)
{
    if (level < 0 && !iip_jpeg_harmless(c->err->msg_code))
        error_exit(c);
}

static iip_status out_of_memory(iip_tiff_jpegs_t *j, size_t n)
{
    return j->f->bad = iip_fail(j->f->e, IIP_E_MEMORY, APR_ENOMEM, "no %zu bytes for a tile", n);
}

static void init_destination(j_compress_ptr c)
{
    iip_tiff_jpegs_t *j = c->client_data;

    j->dest.next_output_byte = j->cut;
    j->dest.free_in_buffer = j->cut_room;
}

static boolean empty_output_buffer(j_compress_ptr c)
{
    iip_tiff_jpegs_t *j = c->client_data;
    unsigned char *more = realloc(j->cut, 2 * j->cut_room);

    if (!more) {
        out_of_memory(j, 2 * j->cut_room);
        longjmp(j->out, 1);
    }
    j->cut = more;
    j->dest.next_output_byte = j->cut + j->cut_room;
    j->dest.free_in_buffer = j->cut_room;
    j->cut_room *= 2;
    return TRUE;
}

static void term_destination(j_compress_ptr c)
{
}

/* ---- one decompressor for all blocks ---- */

static apr_status_t jpegs_close(void *ctx)
{
    iip_tiff_jpegs_t *j = ctx;

    jpeg_destroy_decompress(&j->d);
    jpeg_destroy_compress(&j->c);
    free(j->cut);
    free(j->mcus.p);
    return APR_SUCCESS;
}

iip_tiff_jpegs_t *iip_tiff_jpegs_create(iip_tiff_file *f, apr_pool_t *p)
{
    iip_tiff_jpegs_t *j = apr_pcalloc(p, sizeof *j);

    j->f = f;
    j->pool = p;
    j->tables_of = j->codes_of = -1;
    j->d.err = j->c.err = jpeg_std_error(&j->err);
    j->err.error_exit = error_exit;
    j->err.emit_message = emit_message;
    j->d.client_data = j->c.client_data = j;
    j->dest = (struct jpeg_destination_mgr){.init_destination = init_destination,
                                            .empty_output_buffer = empty_output_buffer,
                                            .term_destination = term_destination};
    if (setjmp(j->out))
        return NULL;
    apr_pool_cleanup_register(p, j, jpegs_close, apr_pool_cleanup_null);
    jpeg_create_decompress(&j->d);
    jpeg_create_compress(&j->c);
    j->c.dest = &j->dest;
    return j;
}

const iip_tiff_tables *iip_tiff_jpeg_tables(iip_tiff_jpegs_t *j, const iip_tiff_level *l, int level)
{
    const iip_tiff_entry *tag = &l->dir.tag[TAG_JPEG_TABLES];
    iip_tiff_tables *t = &j->tables[level].t;

    if (!j->tables[level].known) {
        t->p = iip_tiff_bytes(j->f, tag, MOST_TABLES, &t->n, j->pool);
        if (j->f->bad)
            return NULL;
        j->tables[level].good = t->p ? iip_tiff_jpeg_look(t->p, t->n, &t->look) && t->look.tables : !tag->count;
        j->tables[level].known = 1;
    }
    return j->tables[level].good ? t : NULL;
}

static int usual(int factor)
{
    return factor == 1 || factor == 2 || factor == 4;
}

/* What every writer makes: a frame of the block's size, sequential, in colours that the directory names. */
static int ordinary(const iip_tiff_dir *d, const unsigned char *in, size_t len, iip_tiff_jpeg *t)
{
    const int ycc = d->jpeg_ycc;

    if (!iip_tiff_jpeg_look(in, len, t) || (t->sof != 0xC0 && t->sof != 0xC1) || t->precision != 8 ||
        t->w != d->block_w || t->h != d->block_h || t->comps > 4 || t->comps != (d->planar ? 1 : d->samples))
        return 0;
    for (int i = 0; i < t->comps; i++)
        if (i || !ycc ? t->sub_x[i] != 1 || t->sub_y[i] != 1 : !usual(t->sub_x[i]) || !usual(t->sub_y[i]))
            return 0;
    return 1;
}

/* Reads the header of a block. 0: it is not for us. Tables that a block brings along must not serve the next one: that
 * would make pixels depend on what was read before. */
static int header(iip_tiff_jpegs_t *j, const iip_tiff_level *l, int level, const iip_tiff_jpeg *t,
                  const unsigned char *in, size_t len)
{
    struct jpeg_decompress_struct *d = &j->d;
    const iip_tiff_tables *tables = iip_tiff_jpeg_tables(j, l, level);

    if (!tables)
        return 0;
    if (j->tables_of != level) {
        jpeg_destroy_decompress(d);
        jpeg_create_decompress(d);
        if (tables->p) {
            jpeg_mem_src(d, tables->p, tables->n);
            jpeg_read_header(d, FALSE);
        }
    }
    j->tables_of = t->dqt || t->dht ? -1 : level;
    jpeg_mem_src(d, in, len);
    jpeg_read_header(d, TRUE);
    return !jpeg_has_multiple_scans(d); /* of which libjpeg would hold all */
}

iip_status iip_tiff_jpeg_block(iip_tiff_jpegs_t *j, const iip_tiff_level *l, int level, const unsigned char *in,
                               size_t len, unsigned char *dst, int64_t rows)
{
    const size_t row = iip_tiff_form_row(&l->form, &l->dir);
    struct jpeg_decompress_struct *d = &j->d;
    iip_tiff_jpeg t;

    if (!ordinary(&l->dir, in, len, &t))
        return IIP_E_FEATURE;
    if (setjmp(j->out)) {
        jpeg_abort_decompress(d);
        j->tables_of = -1;
        return j->f->bad;
    }
    if (!header(j, l, level, &t, in, len)) {
        jpeg_abort_decompress(d);
        return j->f->bad ? j->f->bad : IIP_E_FEATURE;
    }
    d->jpeg_color_space = l->dir.jpeg_ycc ? JCS_YCbCr : JCS_UNKNOWN;
    d->out_color_space = l->dir.jpeg_ycc ? JCS_RGB : JCS_UNKNOWN;
    jpeg_start_decompress(d);
    while (d->output_scanline < rows) {
        JSAMPROW to[ROWS];
        JDIMENSION n = (JDIMENSION)rows - d->output_scanline;

        n = n < ROWS ? n : ROWS;
        for (JDIMENSION i = 0; i < n; i++)
            to[i] = dst + (d->output_scanline + i) * row;
        jpeg_read_scanlines(d, to, n);
    }
    jpeg_abort_decompress(d);
    return IIP_OK;
}

/* The row of MCUs that comes next, straight to where it is wanted or by way of j->mcus. */
static void planes_row(iip_tiff_jpegs_t *j, const iip_tiff_dir *dir, iip_rect want, const iip_raster *out, int64_t to_x,
                       int64_t to_y)
{
    const int64_t top = j->d.output_scanline;
    const int straight = want.x == 0 && want.w == dir->block_w && want.w % MCU == 0;
    unsigned char *spare = j->mcus.p;
    JSAMPROW rows[IIP_PLANES][MCU];
    JSAMPARRAY planes[IIP_PLANES];
    struct {
        int64_t from, to; /* rows of this one that are wanted */
        unsigned char *px;
    } part[IIP_PLANES];

    for (int k = 0; k < IIP_PLANES; k++) {
        const iip_rect w = iip_plane_rect(want, k);
        const int64_t n = iip_plane_side(MCU, k), first = iip_plane_side(top, k);

        part[k].from = w.y > first ? w.y - first : 0;
        part[k].to = w.y + w.h - first < n ? w.y + w.h - first : n;
        part[k].px =
            out[k].px + (iip_plane_side(to_y, k) + first - w.y) * (int64_t)out[k].stride + iip_plane_side(to_x, k);
        planes[k] = rows[k];
        for (int64_t y = 0; y < n; y++, spare += dir->block_w + MCU)
            rows[k][y] =
                straight && y >= part[k].from && y < part[k].to ? part[k].px + y * (int64_t)out[k].stride : spare;
    }
    jpeg_read_raw_data(&j->d, planes, MCU);
    for (int k = 0; k < IIP_PLANES && !straight; k++)
        for (int64_t y = part[k].from; y < part[k].to; y++)
            memcpy(part[k].px + y * (int64_t)out[k].stride, rows[k][y] + iip_plane_side(want.x, k),
                   (size_t)iip_plane_side(want.w, k));
}

iip_status iip_tiff_jpeg_planes(iip_tiff_jpegs_t *j, const iip_tiff_level *l, int level, const unsigned char *in,
                                size_t len, iip_rect want, const iip_raster *out, int64_t to_x, int64_t to_y)
{
    struct jpeg_decompress_struct *d = &j->d;
    iip_tiff_jpeg t;

    if (!ordinary(&l->dir, in, len, &t) || t.comps != 3 || t.sub_x[0] != 2 || t.sub_y[0] != 2)
        return IIP_E_FEATURE;
    if (iip_tiff_room(j->f, &j->mcus, (size_t)(l->dir.block_w + MCU) * 2 * MCU) != IIP_OK)
        return j->f->bad;
    if (setjmp(j->out)) {
        jpeg_abort_decompress(d);
        j->tables_of = -1;
        return j->f->bad;
    }
    if (!header(j, l, level, &t, in, len)) {
        jpeg_abort_decompress(d);
        return j->f->bad ? j->f->bad : IIP_E_FEATURE;
    }
    d->jpeg_color_space = d->out_color_space = JCS_YCbCr;
    d->raw_data_out = TRUE;
    jpeg_start_decompress(d);
    while (d->output_scanline < want.y + want.h)
        planes_row(j, &l->dir, want, out, to_x, to_y);
    jpeg_abort_decompress(d);
    return IIP_OK;
}

/* Those of all levels nearly always are. */
static int same_tables(const iip_tiff_tables *a, const iip_tiff_tables *b)
{
    return a == b || (a->n == b->n && (!a->n || memcmp(a->p, b->p, a->n) == 0));
}

/* The same without libjpeg; 0: it cannot be. */
static size_t cut_codes(iip_tiff_jpegs_t *j, const iip_tiff_level *l, int level, const unsigned char *in, size_t len,
                        const iip_tiff_jpeg *t, int w, int h)
{
    const size_t headers = t->at + 6 + 2 * (size_t)t->comps; /* behind SOI, up to the data of the scan */
    const iip_tiff_tables *tables = iip_tiff_jpeg_tables(j, l, level);
    const size_t room = tables ? tables->n + IIP_TIFF_JOIN + headers + IIP_TIFF_CUT(len, h) : 0;
    unsigned char *more, *frame;
    size_t head, n;

    if (!tables || room > MOST_DIRECT || headers + 2 > len)
        return 0;
    if (!j->codes)
        j->codes = iip_tiff_codes_create(j->pool);
    if (j->codes_of < 0 || !same_tables(&j->tables[j->codes_of].t, tables)) {
        j->codes_of = -1;
        iip_tiff_codes_clear(j->codes);
        if (tables->p && !iip_tiff_codes_read(j->codes, tables->p, &tables->look))
            return 0;
    }
    j->codes_of = t->dht ? -1 : level;
    if (!iip_tiff_codes_read(j->codes, in, t))
        return 0;
    if (room > j->cut_room) {
        if (!(more = realloc(j->cut, room)))
            return 0;
        j->cut = more;
        j->cut_room = room;
    }
    if (!(head = iip_tiff_jpeg_join(&l->dir, tables, t, j->cut)))
        return 0;
    memcpy(j->cut + head, in + 2, headers);
    frame = j->cut + head + t->frame - 2;
    frame[1] = (unsigned char)(h >> 8);
    frame[2] = (unsigned char)h;
    frame[3] = (unsigned char)(w >> 8);
    frame[4] = (unsigned char)w;
    n = iip_tiff_cut(j->codes, t, in, len, w, h, j->cut + head + headers);
    return n ? head + headers + n : 0;
}

iip_status iip_tiff_jpeg_cut(iip_tiff_jpegs_t *j, const iip_tiff_level *l, int level, unsigned char *in, size_t len,
                             int64_t w, int64_t h, const unsigned char **out, size_t *n)
{
    static const J_COLOR_SPACE colours[] = {[1] = JCS_GRAYSCALE, [3] = JCS_RGB};
    const int samples = l->dir.samples;
    struct jpeg_decompress_struct *d = &j->d;
    struct jpeg_compress_struct *c = &j->c;
    iip_tiff_jpeg t;

    if (l->dir.block_w * l->dir.block_h > MOST_CUT || l->dir.planar || (samples != 1 && samples != 3) ||
        !ordinary(&l->dir, in, len, &t))
        return IIP_E_FEATURE;
    if (!j->cut) {
        if (!(j->cut = malloc(FIRST_ROOM)))
            return out_of_memory(j, FIRST_ROOM);
        j->cut_room = FIRST_ROOM;
    }
    if ((*n = cut_codes(j, l, level, in, len, &t, (int)w, (int)h)) > 0) {
        *out = j->cut;
        return IIP_OK;
    }
    in[t.frame + 1] = (unsigned char)(h >> 8); /* nothing below is read: padding, most often */
    in[t.frame + 2] = (unsigned char)h;
    if (setjmp(j->out)) {
        jpeg_abort_decompress(d);
        jpeg_abort_compress(c);
        j->tables_of = -1;
        return j->f->bad;
    }
    if (!header(j, l, level, &t, in, len)) {
        jpeg_abort_decompress(d);
        return j->f->bad ? j->f->bad : IIP_E_FEATURE;
    }
    d->jpeg_color_space = l->dir.jpeg_ycc ? JCS_YCbCr : colours[samples];
    jvirt_barray_ptr *blocks = jpeg_read_coefficients(d);
    jpeg_copy_critical_parameters(d, c);
    c->image_width = (JDIMENSION)w;
    c->image_height = (JDIMENSION)h;
    jpeg_write_coefficients(c, blocks);
    jpeg_finish_compress(c);
    jpeg_finish_decompress(d);
    *out = j->cut;
    *n = j->cut_room - j->dest.free_in_buffer;
    return IIP_OK;
}
