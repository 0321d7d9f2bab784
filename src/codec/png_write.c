/* SPDX-License-Identifier: Apache-2.0
 * PNG writer: grey, grey + alpha, RGB, RGBA of 8 or 16 bits, 1 bit for two levels; rows go straight to the sink.
 *
 * One filter for all rows: choosing among five costs as much again and gains nothing at zlib level 1. There, matching
 * runs only (Z_RLE) is a quarter to a third faster than zlib's own matching, and photographs come out smaller. */
#include "codec/codec.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <png.h>
#include <zlib.h>

#define IDAT (64 * 1024) /* bytes a chunk of pixels, hence a call of the sink */

struct iip_writer {
    png_structp png;
    png_infop info;
    iip_error *e;
    iip_status status; /* of the sink or of malloc, kept over libpng's own message */
    iip_sink *sink;
    int64_t left; /* rows */
};

static void on_error(png_structp png, png_const_charp text)
{
    iip_writer_t *w = png_get_error_ptr(png);

    if (w->status == IIP_OK)
        w->status = iip_fail(w->e, IIP_E_IO, 0, "writing PNG: %s", text);
    png_longjmp(png, 1);
}

/* Of what libpng warns it leaves out, such as a damaged profile: the picture is good without. */
static void on_warning(png_structp png, png_const_charp text)
{
}

static png_voidp get_memory(png_structp png, png_alloc_size_t n)
{
    iip_writer_t *w = png_get_mem_ptr(png);
    void *mem = malloc(n);

    if (!mem)
        w->status = iip_fail(w->e, IIP_E_MEMORY, APR_ENOMEM, "writing PNG: no memory for %zu bytes", (size_t)n);
    return mem;
}

static void free_memory(png_structp png, png_voidp mem)
{
    free(mem);
}

static void put(png_structp png, png_bytep p, size_t n)
{
    iip_writer_t *w = png_get_io_ptr(png);

    w->status = w->sink->write(w->sink, p, n, w->e);
    if (w->status != IIP_OK)
        png_longjmp(png, 1);
}

static void flush(png_structp png)
{
}

static apr_status_t writer_close(void *writer)
{
    iip_writer_t *w = writer;

    png_destroy_write_struct(&w->png, &w->info);
    return APR_SUCCESS;
}

static void set_resolution(iip_writer_t *w, const iip_enc_opts *o)
{
    double x = o->res_x * 100 + 0.5, y = o->res_y * 100 + 0.5;

    if (x >= 1 && y >= 1 && x < PNG_UINT_31_MAX && y < PNG_UINT_31_MAX)
        png_set_pHYs(w->png, w->info, (png_uint_32)x, (png_uint_32)y, PNG_RESOLUTION_METER);
}

/* UTF-8 that ends with NUL. */
static void set_text(iip_writer_t *w, const char *key, const char *text)
{
    png_text t = {.compression = PNG_ITXT_COMPRESSION_NONE,
                  .key = (char *)key, /* libpng copies all of these */
                  .text = (char *)text,
                  .itxt_length = strlen(text),
                  .lang = (char[]){""},
                  .lang_key = (char[]){""}};

    png_set_text(w->png, w->info, &t, 1);
}

/* xmp: o->xmp with a NUL behind it, or NULL. */
static void set_metadata(iip_writer_t *w, const iip_enc_opts *o, const char *xmp)
{
    if (o->icc_len > 0 && o->icc_len < PNG_UINT_31_MAX)
        png_set_iCCP(w->png, w->info, "icc", PNG_COMPRESSION_TYPE_BASE, o->icc, (png_uint_32)o->icc_len);
    if (o->exif_len > 0 && o->exif_len < PNG_UINT_31_MAX)
        png_set_eXIf_1(w->png, w->info, (png_uint_32)o->exif_len, (png_bytep)o->exif);
    if (o->copyright)
        set_text(w, "Copyright", o->copyright);
    if (xmp)
        set_text(w, "XML:com.adobe.xmp", xmp);
    set_resolution(w, o);
}

static iip_status png_begin(iip_writer_t **out, const iip_raster *shape, const iip_enc_opts *o, iip_sink *k,
                            apr_pool_t *p, iip_error *e)
{
    static const int types[] = {[1] = PNG_COLOR_TYPE_GRAY,
                                [2] = PNG_COLOR_TYPE_GRAY_ALPHA,
                                [3] = PNG_COLOR_TYPE_RGB,
                                [4] = PNG_COLOR_TYPE_RGB_ALPHA};
    iip_writer_t *w = apr_pcalloc(p, sizeof *w);
    const int deep = shape->sample == IIP_U16, two = o->bilevel && shape->bands == 1 && !deep;
    char *text = NULL;

    if (shape->w < 1 || shape->h < 1 || shape->w > PNG_UINT_31_MAX || shape->h > PNG_UINT_31_MAX)
        return iip_fail(e, IIP_E_LIMIT, 0, "PNG holds at most 2147483647 pixels a side");
    if ((shape->sample != IIP_U8 && !deep) || shape->bands < 1 || shape->bands > 4)
        return iip_fail(e, IIP_E_FEATURE, 0, "PNG of %d bands", shape->bands);
    w->e = e;
    w->sink = k;
    w->left = shape->h;
    /* libpng wants text that ends with NUL and holds none. */
    if (o->xmp_len > 0 && !memchr(o->xmp, 0, o->xmp_len)) {
        if (!(text = iip_codec_alloc(o->xmp_len + 1, p, e)))
            return e->status;
        memcpy(text, o->xmp, o->xmp_len);
        text[o->xmp_len] = '\0';
    }
    w->png = png_create_write_struct_2(PNG_LIBPNG_VER_STRING, w, on_error, on_warning, w, get_memory, free_memory);
    if (!w->png)
        return w->status ? w->status : iip_fail(e, IIP_E_MEMORY, APR_ENOMEM, "writing PNG: no memory");
    apr_pool_cleanup_register(p, w, writer_close, apr_pool_cleanup_null);
    if (setjmp(png_jmpbuf(w->png)))
        return w->status;
    w->info = png_create_info_struct(w->png);
    if (!w->info)
        return w->status;
    png_set_write_fn(w->png, w, put, flush);
    png_set_benign_errors(w->png, 1);
    png_set_user_limits(w->png, PNG_UINT_31_MAX, PNG_UINT_31_MAX);
    png_set_IHDR(w->png, w->info, (png_uint_32)shape->w, (png_uint_32)shape->h,
                 two    ? 1
                 : deep ? 16
                        : 8,
                 types[shape->bands], PNG_INTERLACE_NONE, PNG_COMPRESSION_TYPE_BASE, PNG_FILTER_TYPE_BASE);
    png_set_compression_level(w->png, o->quality);
    if (o->quality == 1 && !two)
        png_set_compression_strategy(w->png, Z_RLE);
    png_set_text_compression_level(w->png, o->quality);
    png_set_compression_buffer_size(w->png, IDAT);
    png_set_filter(w->png, PNG_FILTER_TYPE_BASE, two ? PNG_FILTER_NONE : PNG_FILTER_UP);
    set_metadata(w, o, text);
    png_write_info(w->png, w->info);
    if (two)
        png_set_packing(w->png);
    if (deep && *(const unsigned char *)&(const uint16_t){1})
        png_set_swap(w->png);
    *out = w;
    return w->status; /* libpng goes on without a profile it had no memory for: that would be another picture */
}

static iip_status png_rows(iip_writer_t *w, const iip_raster *strip, iip_error *e)
{
    w->e = e;
    if (strip->h > w->left)
        return iip_fail(e, IIP_E_IO, 0, "writing PNG: too many rows");
    w->left -= strip->h;
    if (setjmp(png_jmpbuf(w->png)))
        return w->status;
    for (int64_t y = 0; y < strip->h; y++)
        png_write_row(w->png, strip->px + (size_t)y * strip->stride);
    return IIP_OK;
}

static iip_status png_end(iip_writer_t *w, iip_error *e)
{
    w->e = e;
    if (w->left)
        return iip_fail(e, IIP_E_IO, 0, "writing PNG: rows are missing");
    if (setjmp(png_jmpbuf(w->png)))
        return w->status;
    png_write_end(w->png, w->info);
    return IIP_OK;
}

const iip_encoder iip_encoder_png = {
    .abi = IIP_CODEC_ABI,
    .format = IIP_FMT_PNG,
    .name = "png",
    .ext = "png",
    .mime = "image/png",
    .q_min = 0,
    .q_max = 9,
    .q_default = 1,
    .samples = 1u << IIP_U8 | 1u << IIP_U16,
    .alpha = 1,
    .max_side = PNG_UINT_31_MAX,
    .begin = png_begin,
    .rows = png_rows,
    .end = png_end,
};
