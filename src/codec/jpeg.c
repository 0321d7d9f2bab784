/* SPDX-License-Identifier: Apache-2.0
 * JPEG reader over libjpeg(-turbo): baseline, extended, progressive and arithmetic; grey, YCbCr, RGB, CMYK, YCCK.
 * Halves down to 1/8 come from the scaled DCT and are offered as virtual levels.
 *
 * libjpeg decodes downwards only. A reader keeps its decompressor between calls: a cell below the last one costs the
 * rows between them, one above it starts the file again. Where a file has several scans libjpeg holds all
 * coefficients anyway, and going up again costs nothing. 1/8 of a progressive one needs neither: jpeg_eighth.c.
 *
 * Errors leave libjpeg by longjmp to the entry point that called it, never further; what such a jump could clobber
 * lives in the reader, not in locals. */
#include "codec/codec.h"
#include "codec/jpeg.h"
#include <limits.h>
#include <setjmp.h>
#include <stdio.h>
#include <string.h>
#include <jpeglib.h>
#include <jerror.h>

#define BUFFER       (64 * 1024)
#define ROWS         8    /* asked of libjpeg at once */
#define HEADER_FILLS 1024 /* buffers read before the first scan: 64 MiB */
#define CELL_ROWS    32   /* a cell begins where blocks begin, whatever the sampling */
#define MAX_LEVEL    3
#define ICC_PARTS    255

static const char icc_name[] = "ICC_PROFILE", exif_name[] = "Exif\0", xmp_name[] = "http://ns.adobe.com/xap/1.0/";
#define ICC_HEAD (sizeof icc_name + 2) /* number of this part, number of all */

/* Where in the file the contents of a marker segment lie. */
typedef struct {
    int64_t at;
    size_t n;
} place;

struct iip_reader {
    struct jpeg_decompress_struct c;
    struct jpeg_error_mgr err;
    struct jpeg_source_mgr src;
    jmp_buf out; /* to the entry point that is running, with *e filled */
    iip_error *e;
    iip_source_t *s;
    unsigned char *buf;
    int64_t pos;   /* in the file, behind what buf holds */
    int64_t fills; /* buffers that may still be read: ends files that never end */
    int64_t allowed;
    apr_pool_t *pool;
    unsigned char *row; /* of full width, for parts of rows */
    JDIMENSION w, h;
    int bands;
    int header; /* no file without a frame gets past it */
    int multi;  /* several scans: libjpeg keeps the coefficients */
    int level;  /* whose rows come out now; -1 none yet */
    size_t hold;
    int progressive; /* with Huffman codes: the last level is made by eighth */
    iip_jpeg_eighth eighth;
    place exif, xmp, icc[ICC_PARTS];
    int icc_parts;
    int icc_bad;
};

/* --- libjpeg's callbacks ------------------------------------------------------------------------------------------ */

static void leave(iip_reader_t *r)
{
    longjmp(r->out, 1);
}

static void error_exit(j_common_ptr c)
{
    iip_reader_t *r = c->client_data;
    char text[JMSG_LENGTH_MAX];
    iip_status s = r->header ? IIP_E_FORMAT : IIP_E_CORRUPT;

    switch (c->err->msg_code) {
    case JERR_OUT_OF_MEMORY:
    case JERR_NO_BACKING_STORE: /* over max_memory_to_use */
        s = IIP_E_MEMORY;
        break;
    case JERR_FRACT_SAMPLE_NOTIMPL:
    case JERR_CCIR601_NOTIMPL:
    case JERR_CONVERSION_NOTIMPL:
    case JERR_BAD_PRECISION:
        s = IIP_E_FORMAT;
    }
    c->err->format_message(c, text);
    iip_fail(r->e, s, 0, "JPEG: %s", text);
    leave(r);
}

int iip_jpeg_harmless(int code)
{
    switch (code) {
    case JWRN_ADOBE_XFORM:
    case JWRN_BOGUS_PROGRESSION:
    case JWRN_EXTRANEOUS_DATA:
    case JWRN_JFIF_MAJOR:
    case JWRN_NOT_SEQUENTIAL:
        return 1;
    }
    return 0;
}

static void emit_message(j_common_ptr c, int level)
{
    if (level < 0 && !iip_jpeg_harmless(c->err->msg_code))
        error_exit(c);
}

static void init_source(j_decompress_ptr c)
{
}

static boolean fill_input_buffer(j_decompress_ptr c)
{
    static const JOCTET end[] = {0xff, JPEG_EOI};
    iip_reader_t *r = c->client_data;
    int64_t left = r->s->id.size - r->pos;
    size_t n = left < BUFFER ? (size_t)left : BUFFER;

    if (--r->fills < 0) {
        iip_fail(r->e, IIP_E_FORMAT, 0, "JPEG: more data than its pixels can need");
        leave(r);
    }
    if (left <= 0) {
        /* A lone Huffman scan says itself (JWRN_HIT_MARKER) if a pixel of it is missing: a file that lacks but its last
         * marker is whole. Nothing shows that in other kinds. */
        if (r->header || r->multi || c->arith_code || r->src.next_input_byte == end + sizeof end) {
            iip_fail(r->e, IIP_E_CORRUPT, 0, "JPEG: ends too early");
            leave(r);
        }
        r->src.next_input_byte = end;
        r->src.bytes_in_buffer = sizeof end;
        return TRUE;
    }
    if (r->s->read(r->s, r->buf, n, r->pos, r->e) != IIP_OK)
        leave(r);
    r->pos += (int64_t)n;
    r->src.next_input_byte = r->buf;
    r->src.bytes_in_buffer = n;
    return TRUE;
}

static void skip_input_data(j_decompress_ptr c, long n)
{
    iip_reader_t *r = c->client_data;

    if (n <= 0)
        return;
    if ((size_t)n > r->src.bytes_in_buffer) {
        r->pos += n - (long)r->src.bytes_in_buffer;
        n = (long)r->src.bytes_in_buffer;
    }
    r->src.next_input_byte += n;
    r->src.bytes_in_buffer -= (size_t)n;
}

static void term_source(j_decompress_ptr c)
{
}

static unsigned next_byte(j_decompress_ptr c)
{
    if (c->src->bytes_in_buffer == 0)
        c->src->fill_input_buffer(c);
    c->src->bytes_in_buffer--;
    return *c->src->next_input_byte++;
}

static void note_icc(iip_reader_t *r, unsigned part, unsigned parts, place where)
{
    if (part == 0 || part > parts || (r->icc_parts && r->icc_parts != (int)parts) || r->icc[part - 1].at)
        r->icc_bad = 1; /* a profile pieced together by guess is worse than none */
    else
        r->icc[part - 1] = where;
    r->icc_parts = (int)parts;
}

/* APP1 and APP2: remembers where EXIF, XMP and the profile's parts lie; info() reads them, once, for who keeps them. */
static boolean note_marker(j_decompress_ptr c)
{
    iip_reader_t *r = c->client_data;
    unsigned char head[32];
    size_t n = next_byte(c) << 8, got;
    place where;

    n |= next_byte(c);
    if (n < 2)
        ERREXIT(c, JERR_BAD_LENGTH);
    n -= 2;
    where.at = r->pos - (int64_t)r->src.bytes_in_buffer;
    for (got = 0; got < n && got < sizeof head; got++)
        head[got] = (unsigned char)next_byte(c);
#define IS(name, size) (got >= (size) && memcmp(head, name, sizeof name) == 0)
#define BEHIND(size)   ((place){where.at + (int64_t)(size), n - (size)})
    if (c->unread_marker == JPEG_APP0 + 2 && IS(icc_name, ICC_HEAD))
        note_icc(r, head[ICC_HEAD - 2], head[ICC_HEAD - 1], BEHIND(ICC_HEAD));
    else if (c->unread_marker == JPEG_APP0 + 1 && IS(exif_name, sizeof exif_name) && !r->exif.at)
        r->exif = BEHIND(sizeof exif_name);
    else if (c->unread_marker == JPEG_APP0 + 1 && IS(xmp_name, sizeof xmp_name) && !r->xmp.at)
        r->xmp = BEHIND(sizeof xmp_name);
    skip_input_data(c, (long)(n - got));
    return TRUE;
}

/* --- opening ------------------------------------------------------------------------------------------------------ */

static int jpeg_sniff(const unsigned char *head, size_t n)
{
    return n >= 3 && head[0] == 0xff && head[1] == 0xd8 && head[2] == 0xff ? 95 : 0;
}

static apr_status_t jpeg_close(void *reader)
{
    iip_reader_t *r = reader;

    jpeg_destroy_decompress(&r->c);
    return APR_SUCCESS;
}

static void rewind_file(iip_reader_t *r)
{
    r->pos = 0;
    r->src.next_input_byte = r->buf;
    r->src.bytes_in_buffer = 0;
    r->fills = r->allowed;
}

/* What is known of the components before the pixels are read; libjpeg's own copy goes with each new start. */
static void note_parts(iip_reader_t *r)
{
    iip_jpeg_eighth *d = &r->eighth;

    d->count = r->c.num_components;
    d->ycc = r->c.jpeg_color_space == JCS_YCbCr || r->c.jpeg_color_space == JCS_YCCK;
    d->mcus_across = (r->w + r->c.max_h_samp_factor * DCTSIZE - 1) / (JDIMENSION)(r->c.max_h_samp_factor * DCTSIZE);
    d->mcus_down = (r->h + r->c.max_v_samp_factor * DCTSIZE - 1) / (JDIMENSION)(r->c.max_v_samp_factor * DCTSIZE);
    for (int i = 0; i < d->count; i++) {
        const jpeg_component_info *comp = r->c.comp_info + i;

        d->part[i] = (iip_jpeg_part){.id = comp->component_id,
                                     .table = comp->quant_tbl_no,
                                     .across = comp->h_samp_factor,
                                     .down = comp->v_samp_factor,
                                     .wide = r->c.max_h_samp_factor / comp->h_samp_factor,
                                     .tall = r->c.max_v_samp_factor / comp->v_samp_factor,
                                     .w = comp->width_in_blocks,
                                     .h = comp->height_in_blocks};
    }
    r->progressive = r->c.progressive_mode && !r->c.arith_code;
}

/* Refuses what libjpeg would only find out when it is asked for pixels; counts its coefficients. */
static iip_status check_frame(iip_reader_t *r, iip_error *e)
{
    int64_t coefficients = 0;

    switch (r->c.jpeg_color_space) {
    case JCS_GRAYSCALE:
        r->bands = 1;
        break;
    case JCS_YCbCr:
    case JCS_RGB:
        r->bands = 3;
        break;
    case JCS_CMYK:
    case JCS_YCCK:
        r->bands = 4;
        break;
    default:
        return iip_fail(e, IIP_E_FORMAT, 0, "JPEG: %d components of unknown meaning", r->c.num_components);
    }
    for (int i = 0; i < r->c.num_components; i++) {
        const jpeg_component_info *comp = r->c.comp_info + i;
        int64_t bw = comp->width_in_blocks, bh = comp->height_in_blocks; /* stored in whole MCUs, hence + factor */

        if (r->c.max_h_samp_factor % comp->h_samp_factor || r->c.max_v_samp_factor % comp->v_samp_factor)
            return iip_fail(e, IIP_E_FORMAT, 0, "JPEG: sampling factors that do not divide");
        coefficients += (bw + comp->h_samp_factor) * (bh + comp->v_samp_factor) * DCTSIZE2;
    }
    r->multi = jpeg_has_multiple_scans(&r->c);
    r->hold = r->multi ? (size_t)coefficients * sizeof(JCOEF) : 0;
    /* 16 bits of code and 11 of value is the worst a coefficient can cost, and once more for each refinement. */
    r->allowed += coefficients * 8 / BUFFER;
    r->fills = r->allowed;
    return IIP_OK;
}

static iip_status jpeg_open(iip_reader_t **out, iip_source_t *s, int page, const iip_limits *lim, apr_pool_t *p,
                            iip_error *e)
{
    iip_reader_t *r = apr_pcalloc(p, sizeof *r);

    if (page > 0)
        return iip_fail(e, IIP_E_NOT_FOUND, 0, "JPEG: page %d of 1", page);
    if (!(r->buf = iip_codec_alloc(BUFFER, p, e)))
        return e->status;
    r->s = s;
    r->e = e;
    r->level = -1;
    r->header = 1;
    r->allowed = HEADER_FILLS;
    r->pool = p;
    r->c.err = jpeg_std_error(&r->err);
    r->err.error_exit = error_exit;
    r->err.emit_message = emit_message;
    r->c.client_data = r;
    if (setjmp(r->out))
        return e->status;
    apr_pool_cleanup_register(p, r, jpeg_close, apr_pool_cleanup_null);
    jpeg_create_decompress(&r->c);
    if (lim && lim->memory && lim->memory < LONG_MAX)
        r->c.mem->max_memory_to_use = (long)lim->memory;
    r->src = (struct jpeg_source_mgr){.init_source = init_source,
                                      .fill_input_buffer = fill_input_buffer,
                                      .skip_input_data = skip_input_data,
                                      .resync_to_restart = jpeg_resync_to_restart,
                                      .term_source = term_source};
    r->c.src = &r->src;
    rewind_file(r);
    jpeg_set_marker_processor(&r->c, JPEG_APP0 + 1, note_marker);
    jpeg_set_marker_processor(&r->c, JPEG_APP0 + 2, note_marker);
    jpeg_read_header(&r->c, TRUE);
    r->w = r->c.image_width;
    r->h = r->c.image_height;
    if (check_frame(r, e) != IIP_OK)
        return e->status;
    note_parts(r);
    /* The header may be read again for another level: its segments are then of no interest. */
    jpeg_save_markers(&r->c, JPEG_APP0 + 1, 0);
    jpeg_save_markers(&r->c, JPEG_APP0 + 2, 0);
    r->header = 0;
    *out = r;
    return IIP_OK;
}

/* --- the header's contents ---------------------------------------------------------------------------------------- */

static JDIMENSION scaled(JDIMENSION side, int level)
{
    return (JDIMENSION)(((uint64_t)side + (1u << level) - 1) >> level);
}

static int levels(const iip_reader_t *r)
{
    int k = 0;

    while (k < MAX_LEVEL && scaled(r->w, k) > 1 && scaled(r->h, k) > 1)
        k++;
    return k + 1;
}

static iip_status fetch(iip_reader_t *r, const place *part, int parts, const void **out, size_t *len, apr_pool_t *p,
                        iip_error *e)
{
    unsigned char *mem;
    size_t n = 0;

    for (int i = 0; i < parts; i++)
        n += part[i].n;
    if (n == 0 || n > IIP_READ_ICC)
        return IIP_OK; /* left out */
    if (!(mem = iip_codec_alloc(n, p, e)))
        return e->status;
    *out = mem;
    *len = n;
    for (int i = 0; i < parts; mem += part[i++].n)
        if (part[i].n && r->s->read(r->s, mem, part[i].n, part[i].at, e) != IIP_OK)
            return e->status;
    return IIP_OK;
}

static iip_status fetch_icc(iip_reader_t *r, iip_info *out, apr_pool_t *p, iip_error *e)
{
    for (int i = 0; i < r->icc_parts; i++)
        if (r->icc_bad || r->icc[i].at == 0)
            return IIP_OK; /* parts missing or given twice: no profile */
    return fetch(r, r->icc, r->icc_parts, &out->icc, &out->icc_len, p, e);
}

static iip_status jpeg_info(iip_reader_t *r, iip_info *out, apr_pool_t *p, iip_error *e)
{
    static const iip_space spaces[] = {[1] = IIP_GREY, [3] = IIP_RGB, [4] = IIP_CMYK};
    double per_cm = r->c.density_unit == 1 ? 2.54 : 1;

    out->levels = levels(r);
    out->virtual_from = 1;
    for (int k = 0; k < out->levels; k++) {
        iip_level_rows(&out->level[k], scaled(r->w, k), scaled(r->h, k), (size_t)r->bands, CELL_ROWS);
        out->level_hold[k] = r->progressive && k == MAX_LEVEL ? iip_jpeg_eighth_hold(&r->eighth) : r->hold;
    }
    out->pages = out->layers = 1;
    out->bands = r->bands;
    out->bits = 8;
    out->sample = IIP_U8;
    out->space = spaces[r->bands];
    out->decode_cost = r->multi || r->c.arith_code ? 2.5 : 1;
    if (fetch(r, &r->xmp, 1, &out->xmp, &out->xmp_len, p, e) != IIP_OK || fetch_icc(r, out, p, e) != IIP_OK ||
        fetch(r, &r->exif, 1, &out->exif, &out->exif_len, p, e) != IIP_OK)
        return e->status;
    out->orientation = iip_exif_orientation(out->exif, out->exif_len);
    iip_exif_resolution(out->exif, out->exif_len, &out->res_x, &out->res_y);
    if (r->c.saw_JFIF_marker && r->c.density_unit != 0 && r->c.X_density && r->c.Y_density) {
        out->res_x = r->c.X_density / per_cm;
        out->res_y = r->c.Y_density / per_cm;
    }
    return IIP_OK;
}

/* --- pixels ------------------------------------------------------------------------------------------------------- */

/* Reads all scans. One that leaves out a component's DC would leave it grey. */
static void absorb(iip_reader_t *r)
{
    j_decompress_ptr c = &r->c;
    int seen = 0;

    do {
        if (c->input_scan_number > IIP_JPEG_SCANS) {
            iip_fail(r->e, IIP_E_FORMAT, 0, "JPEG: more than %d scans", IIP_JPEG_SCANS);
            leave(r);
        }
        for (int i = 0; i < c->comps_in_scan && (!c->progressive_mode || c->Ss == 0); i++)
            seen |= 1 << c->cur_comp_info[i]->component_index;
    } while (jpeg_consume_input(c) != JPEG_REACHED_EOI);
    if (seen != (1 << c->num_components) - 1) {
        iip_fail(r->e, IIP_E_CORRUPT, 0, "JPEG: a component has no scan");
        leave(r);
    }
}

static void start(iip_reader_t *r, int level)
{
    j_decompress_ptr c = &r->c;

    if (r->level >= 0) {
        jpeg_abort_decompress(c);
        rewind_file(r);
        jpeg_read_header(c, TRUE);
    }
    c->scale_num = 1;
    c->scale_denom = 1u << level;
    c->out_color_space = r->bands == 1 ? JCS_GRAYSCALE : r->bands == 3 ? JCS_RGB : JCS_CMYK;
    c->dct_method = JDCT_ISLOW;
    c->do_fancy_upsampling = TRUE; /* also keeps merged upsampling out, whose pixels depend on the first row asked */
    c->do_block_smoothing = FALSE;
    c->buffered_image = r->multi ? TRUE : FALSE;
    jpeg_start_decompress(c);
    if (r->multi) {
        absorb(r);
        jpeg_start_output(c, c->input_scan_number);
    }
    if (c->output_width != scaled(r->w, level) || c->output_height != scaled(r->h, level) ||
        c->output_components != r->bands || jpeg_has_multiple_scans(c) != r->multi) {
        iip_fail(r->e, IIP_E_CORRUPT, 0, "JPEG: changed while it was read");
        leave(r);
    }
    r->level = level;
}

static void go_to(iip_reader_t *r, int level, JDIMENSION row)
{
    j_decompress_ptr c = &r->c;

    if (r->level != level || (row < c->output_scanline && !r->multi))
        start(r, level);
    if (row < c->output_scanline) {
        jpeg_finish_output(c);
        jpeg_start_output(c, c->input_scan_number);
    }
    /* jpeg_skip_scanlines() is exact only from where no upsampled row is left over from a row group. */
    while (row > c->output_scanline && c->output_scanline % (JDIMENSION)c->max_v_samp_factor != 0)
        jpeg_read_scanlines(c, &r->row, 1);
    if (row > c->output_scanline)
        jpeg_skip_scanlines(c, row - c->output_scanline);
}

/* Adobe stores 255 - ink, and all others do since, with or without its marker. */
static void invert(unsigned char *line, size_t n)
{
    for (size_t i = 0; i < n; i++)
        line[i] = (unsigned char)(255 - line[i]);
}

static iip_status read_eighth(iip_reader_t *r, iip_rect want, iip_raster *out, iip_error *e)
{
    if (r->level >= 0) { /* what is announced for this level has no room for coefficients of the others */
        jpeg_abort_decompress(&r->c);
        r->level = MAX_LEVEL;
    }
    if (!r->eighth.there && iip_jpeg_eighth_read(&r->eighth, r->s, r->allowed * BUFFER, r->pool, e) != IIP_OK)
        return e->status;
    for (int64_t y = 0; y < want.h; y++) {
        unsigned char *line = out->px + (size_t)y * out->stride;

        iip_jpeg_eighth_row(&r->eighth, want.x, want.y + y, want.w, line);
        if (r->bands == 4)
            invert(line, (size_t)want.w * 4);
    }
    return IIP_OK;
}

static iip_status jpeg_read(iip_reader_t *r, int level, iip_rect want, int layers, iip_raster *out, iip_error *e)
{
    const size_t bands = (size_t)r->bands, used = (size_t)want.w * bands;
    int whole;

    if (level < 0 || level >= levels(r) || want.x < 0 || want.y < 0 || want.w < 1 || want.h < 1 ||
        want.x > scaled(r->w, level) - want.w || want.y > scaled(r->h, level) - want.h)
        return iip_fail(e, IIP_E_RANGE, 0, "JPEG: no such rectangle on level %d", level);
    if (r->progressive && level == MAX_LEVEL)
        return read_eighth(r, want, out, e);
    /* Parts of rows are cut out of whole ones: jpeg_crop_scanline() gives other pixels at the cut. */
    whole = want.w == scaled(r->w, level);
    if (!r->row && !(r->row = iip_codec_alloc(r->w * bands, r->pool, e)))
        return e->status;
    r->e = e;
    if (setjmp(r->out))
        return e->status;
    go_to(r, level, (JDIMENSION)want.y);
    for (int64_t y = 0; y < want.h;) {
        JSAMPROW rows[ROWS] = {r->row};
        JDIMENSION n;

        for (n = 0; whole && n < ROWS && y + n < want.h; n++)
            rows[n] = out->px + (size_t)(y + n) * out->stride;
        n = jpeg_read_scanlines(&r->c, rows, whole ? n : 1);
        for (; n > 0; n--, y++) {
            unsigned char *line = out->px + (size_t)y * out->stride;

            if (!whole)
                memcpy(line, r->row + (size_t)want.x * bands, used);
            if (bands == 4)
                invert(line, used);
        }
    }
    return IIP_OK;
}

const iip_decoder iip_decoder_jpeg = {
    .abi = IIP_CODEC_ABI,
    .name = "jpeg",
    .priority = 100,
    .sniff = jpeg_sniff,
    .open = jpeg_open,
    .info = jpeg_info,
    .read = jpeg_read,
};
