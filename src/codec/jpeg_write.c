/* SPDX-License-Identifier: Apache-2.0
 * JPEG writer: rows go through libjpeg's standard tables straight into the sink. Optimised tables would cost 2.5 times
 * the work for some 5 % of the bytes (spec/performance.md section 2). Progressive ones need their own tables, and all
 * coefficients before the first scan. */
#include "codec/codec.h"
#include <setjmp.h>
#include <stdio.h>
#include <string.h>
#include <jpeglib.h>
#include <jerror.h>

#define BUFFER (32 * 1024)
#define ROWS   16

#define MAX_XMP     65502 /* by XMP's own rule; more would need its way of splitting */
#define XMP_NAME    "http://ns.adobe.com/xap/1.0/"
#define EXIF_NAME   "Exif\0" /* and the NUL that ends it */
#define ICC_NAME    "ICC_PROFILE"
#define ICC_HEAD    (sizeof ICC_NAME + 2) /* number of this part, number of all */
#define ICC_PART    (65533 - ICC_HEAD)
#define ICC_PARTS   255
#define FULL_CHROMA 90 /* from this quality on colour is not subsampled */

struct iip_writer {
    struct jpeg_compress_struct c;
    struct jpeg_error_mgr err;
    struct jpeg_destination_mgr dest;
    jmp_buf out; /* to the entry point that is running, with *e filled */
    iip_error *e;
    iip_sink *sink;
    unsigned char *buf;
    struct {
        unsigned char *px; /* rows of whole blocks, as many as an MCU is tall */
        JDIMENSION w, stride;
        int have;
        int64_t left; /* of the picture */
    } plane[IIP_PLANES];
    int planes; /* that come so: IIP_PLANES or 0 */
};

static void leave(iip_writer_t *w)
{
    longjmp(w->out, 1);
}

static void error_exit(j_common_ptr c)
{
    iip_writer_t *w = c->client_data;
    char text[JMSG_LENGTH_MAX];

    c->err->format_message(c, text);
    iip_fail(w->e, c->err->msg_code == JERR_OUT_OF_MEMORY ? IIP_E_MEMORY : IIP_E_IO, 0, "writing JPEG: %s", text);
    leave(w);
}

static void emit_message(j_common_ptr c, int level)
{
    if (level < 0)
        error_exit(c);
}

static void flush(iip_writer_t *w)
{
    if (w->sink->write(w->sink, w->buf, BUFFER - w->dest.free_in_buffer, w->e) != IIP_OK)
        leave(w);
}

static void init_destination(j_compress_ptr c)
{
    iip_writer_t *w = c->client_data;

    w->dest.next_output_byte = w->buf;
    w->dest.free_in_buffer = BUFFER;
}

/* libjpeg calls this when the buffer is full, whatever the counters say. */
static boolean empty_output_buffer(j_compress_ptr c)
{
    iip_writer_t *w = c->client_data;

    w->dest.free_in_buffer = 0;
    flush(w);
    init_destination(c);
    return TRUE;
}

static void term_destination(j_compress_ptr c)
{
    flush(c->client_data);
}

static apr_status_t writer_close(void *writer)
{
    iip_writer_t *w = writer;

    jpeg_destroy_compress(&w->c);
    return APR_SUCCESS;
}

static void put_density(j_compress_ptr c, const iip_enc_opts *o)
{
    double x = o->res_x * 2.54 + 0.5, y = o->res_y * 2.54 + 0.5; /* whole dots an inch: finer than a centimetre's */

    if (x < 1 || y < 1 || x >= 65536 || y >= 65536)
        return;
    c->density_unit = 1;
    c->X_density = (UINT16)x;
    c->Y_density = (UINT16)y;
}

/* A segment named name: `data` behind it, if it fits. Returns its length; out NULL: only that. */
static size_t put_segment(unsigned char *out, int marker, const void *name, size_t name_len, const void *data, size_t n)
{
    const size_t length = 2 + name_len + n;

    if (n == 0 || length > 65535)
        return 0;
    if (out) {
        *out++ = 0xff;
        *out++ = (unsigned char)marker;
        *out++ = (unsigned char)(length >> 8);
        *out++ = (unsigned char)length;
        memcpy(out, name, name_len);
        memcpy(out + name_len, data, n);
    }
    return 2 + length;
}

/* All that is said about the picture, and its profile in parts. */
static size_t put_segments(unsigned char *out, const iip_enc_opts *o)
{
    const size_t parts = (o->icc_len + ICC_PART - 1) / ICC_PART;
    size_t n = put_segment(out, JPEG_APP0 + 1, EXIF_NAME, sizeof EXIF_NAME, o->exif, o->exif_len);

    n += put_segment(out ? out + n : NULL, JPEG_APP0 + 1, XMP_NAME, sizeof XMP_NAME, o->xmp,
                     o->xmp_len <= MAX_XMP ? o->xmp_len : 0);
    for (size_t i = 0; parts <= ICC_PARTS && i < parts; i++) {
        const size_t at = i * ICC_PART, left = o->icc_len - at;
        char name[ICC_HEAD] = ICC_NAME;

        name[ICC_HEAD - 2] = (char)(i + 1);
        name[ICC_HEAD - 1] = (char)parts;
        n += put_segment(out ? out + n : NULL, JPEG_APP0 + 2, name, ICC_HEAD, (const char *)o->icc + at,
                         left < ICC_PART ? left : ICC_PART);
    }
    return n;
}

static void put_bytes(iip_writer_t *w, const unsigned char *p, size_t n)
{
    while (n > 0) {
        size_t part = n < w->dest.free_in_buffer ? n : w->dest.free_in_buffer;

        memcpy(w->dest.next_output_byte, p, part);
        w->dest.next_output_byte += part;
        w->dest.free_in_buffer -= part;
        p += part;
        n -= part;
        if (w->dest.free_in_buffer == 0)
            empty_output_buffer(&w->c);
    }
}

static size_t jpeg_splice(const iip_enc_opts *o, unsigned char *tile, size_t n)
{
    const size_t more = put_segments(NULL, o);
    size_t at = 2;

    if (!tile)
        return more;
    if (n < 6)
        return 0;
    if (!more)
        return n;
    if (tile[2] == 0xff && tile[3] == JPEG_APP0) /* JFIF's stays the first behind SOI */
        at += 2 + (size_t)(tile[4] << 8 | tile[5]);
    if (at > n)
        return 0;
    memmove(tile + at + more, tile + at, n - at);
    put_segments(tile + at, o);
    return n + more;
}

/* Room for the rows of an MCU. */
static iip_status planes_begin(iip_writer_t *w, const iip_raster *shape, apr_pool_t *p, iip_error *e)
{
    for (int k = 0; k < w->planes; k++) {
        w->plane[k].w = (JDIMENSION)iip_plane_side(shape->w, k);
        w->plane[k].left = iip_plane_side(shape->h, k);
        w->plane[k].stride = w->c.comp_info[k].width_in_blocks * DCTSIZE;
        if (!(w->plane[k].px = iip_codec_alloc((size_t)w->plane[k].stride * ROWS, p, e)))
            return e->status;
    }
    return IIP_OK;
}

static iip_status jpeg_begin(iip_writer_t **out, const iip_raster *shape, const iip_enc_opts *o, iip_sink *k,
                             apr_pool_t *p, iip_error *e)
{
    const size_t n = put_segments(NULL, o);
    iip_writer_t *w = apr_pcalloc(p, sizeof *w);
    unsigned char *segments;

    if (shape->w < 1 || shape->h < 1 || shape->w > JPEG_MAX_DIMENSION || shape->h > JPEG_MAX_DIMENSION)
        return iip_fail(e, IIP_E_LIMIT, 0, "JPEG holds at most %ld pixels a side", JPEG_MAX_DIMENSION);
    if (shape->sample != IIP_U8 || (shape->bands != 1 && shape->bands != 3))
        return iip_fail(e, IIP_E_FEATURE, 0, "JPEG of %d bands", shape->bands);
    if (!(w->buf = iip_codec_alloc(BUFFER, p, e)) || !(segments = iip_codec_alloc(n, p, e)))
        return e->status;
    put_segments(segments, o);
    w->e = e;
    w->sink = k;
    w->c.err = jpeg_std_error(&w->err);
    w->err.error_exit = error_exit;
    w->err.emit_message = emit_message;
    w->c.client_data = w;
    if (setjmp(w->out))
        return e->status;
    apr_pool_cleanup_register(p, w, writer_close, apr_pool_cleanup_null);
    jpeg_create_compress(&w->c);
    w->dest = (struct jpeg_destination_mgr){.init_destination = init_destination,
                                            .empty_output_buffer = empty_output_buffer,
                                            .term_destination = term_destination};
    w->c.dest = &w->dest;
    w->c.image_width = (JDIMENSION)shape->w;
    w->c.image_height = (JDIMENSION)shape->h;
    w->c.input_components = shape->bands;
    w->c.in_color_space = shape->bands == 1 ? JCS_GRAYSCALE : JCS_RGB;
    jpeg_set_defaults(&w->c);
    jpeg_set_quality(&w->c, o->quality, TRUE);
    w->c.dct_method = JDCT_ISLOW;
    w->c.comp_info[0].h_samp_factor = w->c.comp_info[0].v_samp_factor =
        shape->bands == 3 && o->quality < FULL_CHROMA ? 2 : 1;
    if (o->progressive)
        jpeg_simple_progression(&w->c);
    w->planes = o->planes ? IIP_PLANES : 0;
    w->c.raw_data_in = o->planes != 0;
    put_density(&w->c, o);
    jpeg_start_compress(&w->c, TRUE);
    put_bytes(w, segments, n);
    *out = w;
    return planes_begin(w, shape, p, e);
}

static iip_status jpeg_rows(iip_writer_t *w, const iip_raster *strip, iip_error *e)
{
    w->e = e;
    if (setjmp(w->out))
        return e->status;
    for (int64_t y = 0; y < strip->h;) {
        JSAMPROW rows[ROWS];
        JDIMENSION n;

        for (n = 0; n < ROWS && y + n < strip->h; n++)
            rows[n] = strip->px + (size_t)(y + n) * strip->stride;
        y += jpeg_write_scanlines(&w->c, rows, n);
    }
    return IIP_OK;
}

/* A row of MCUs is complete, or the picture: then its last rows are the one before them. */
static void put_planes(iip_writer_t *w)
{
    JSAMPROW rows[IIP_PLANES][ROWS];
    JSAMPARRAY planes[IIP_PLANES];

    for (int k = 0; k < IIP_PLANES; k++) {
        planes[k] = rows[k];
        for (int y = 0; y < ROWS; y++)
            rows[k][y] =
                w->plane[k].px + (size_t)(y < w->plane[k].have ? y : w->plane[k].have - 1) * w->plane[k].stride;
        w->plane[k].have = 0;
    }
    jpeg_write_raw_data(&w->c, planes, ROWS);
}

static iip_status jpeg_plane(iip_writer_t *w, int k, const iip_raster *strip, iip_error *e)
{
    w->e = e;
    if (strip->w != w->plane[k].w || strip->h > w->plane[k].left ||
        w->plane[k].have + strip->h > iip_plane_side(ROWS, k))
        return iip_fail(e, IIP_E_RANGE, 0, "JPEG: rows of plane %d out of their turn", k);
    if (setjmp(w->out))
        return e->status;
    for (int64_t y = 0; y < strip->h; y++) {
        unsigned char *row = w->plane[k].px + (size_t)w->plane[k].have++ * w->plane[k].stride;

        memcpy(row, strip->px + (size_t)y * strip->stride, w->plane[k].w);
        memset(row + w->plane[k].w, row[w->plane[k].w - 1], w->plane[k].stride - w->plane[k].w);
    }
    w->plane[k].left -= strip->h;
    if (k == IIP_PLANES - 1 && (w->plane[k].have == iip_plane_side(ROWS, k) || w->plane[k].left == 0))
        put_planes(w);
    return IIP_OK;
}

static iip_status jpeg_end(iip_writer_t *w, iip_error *e)
{
    w->e = e;
    if (setjmp(w->out))
        return e->status;
    jpeg_finish_compress(&w->c);
    return IIP_OK;
}

const iip_encoder iip_encoder_jpeg = {
    .abi = IIP_CODEC_ABI,
    .format = IIP_FMT_JPEG,
    .name = "jpeg",
    .ext = "jpg",
    .mime = "image/jpeg",
    .q_min = 1,
    .q_max = 100,
    .q_default = 75,
    .samples = 1u << IIP_U8,
    .max_side = JPEG_MAX_DIMENSION,
    .effort = 1,
    .planes = FULL_CHROMA,
    .begin = jpeg_begin,
    .rows = jpeg_rows,
    .plane = jpeg_plane,
    .splice = jpeg_splice,
    .end = jpeg_end,
};
