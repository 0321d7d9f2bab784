/* SPDX-License-Identifier: Apache-2.0
 * For the JPEG tests: files made by libjpeg used plainly, and one plain decode of a whole picture. */
#ifndef JPEG_PLAIN_H
#define JPEG_PLAIN_H
#include "codec_cases.h"
#include <jpeglib.h>

typedef struct {
    const char *name;
    J_COLOR_SPACE in, stored;
    int bands, w, h, hs, vs;
    int progressive, arith, scans, restart, quality, adobe;
    const jpeg_scan_info *script;
    int steps; /* of the script */
    const void *icc;
    size_t icc_len;
} recipe;

static inline unsigned noise(unsigned x, unsigned y, unsigned band)
{
    unsigned v = x * 73856093u ^ y * 19349663u ^ band * 83492791u;

    v ^= v >> 13;
    v *= 0x5bd1e995u;
    return (v ^ v >> 15) & 63;
}

static inline unsigned char sample_at(int x, int y, int band)
{
    int edge = ((x / 7) ^ (y / 5) ^ band) & 1 ? 60 : 0;

    return (unsigned char)((x * (band + 2) + y * (3 - band % 3)) / 4 % 130 + edge + (int)noise(x, y, band));
}

static inline bytes make(const recipe *k)
{
    static const jpeg_scan_info apart[] = {{1, {0}, 0, 63, 0, 0}, {1, {1}, 0, 63, 0, 0}, {1, {2}, 0, 63, 0, 0}};
    struct jpeg_compress_struct c;
    struct jpeg_error_mgr err;
    unsigned char *out = NULL;
    unsigned long n = 0;
    unsigned char *row = malloc((size_t)k->w * k->bands);

    c.err = jpeg_std_error(&err);
    jpeg_create_compress(&c);
    jpeg_mem_dest(&c, &out, &n);
    c.image_width = k->w;
    c.image_height = k->h;
    c.input_components = k->bands;
    c.in_color_space = k->in;
    jpeg_set_defaults(&c);
    jpeg_set_colorspace(&c, k->stored);
    jpeg_set_quality(&c, k->quality ? k->quality : 85, TRUE);
    for (int i = 0; i < k->bands; i++) { /* chroma is the second and third component */
        c.comp_info[i].h_samp_factor = k->hs && i % 3 == 0 ? k->hs : 1;
        c.comp_info[i].v_samp_factor = k->vs && i % 3 == 0 ? k->vs : 1;
    }
    if (k->progressive)
        jpeg_simple_progression(&c);
    if (k->scans) {
        c.scan_info = apart;
        c.num_scans = 3;
    }
    if (k->script) {
        c.scan_info = k->script;
        c.num_scans = k->steps;
    }
    c.arith_code = k->arith ? TRUE : FALSE;
    c.restart_interval = k->restart;
    if (k->adobe)
        c.write_Adobe_marker = k->adobe > 0;
    jpeg_start_compress(&c, TRUE);
    if (k->icc_len)
        jpeg_write_icc_profile(&c, k->icc, (unsigned)k->icc_len);
    for (int y = 0; y < k->h; y++) {
        for (int i = 0; i < k->w * k->bands; i++)
            row[i] = sample_at(i / k->bands, y, i % k->bands);
        jpeg_write_scanlines(&c, &row, 1);
    }
    jpeg_finish_compress(&c);
    jpeg_destroy_compress(&c);
    free(row);
    return (bytes){out, n};
}

typedef struct {
    int w, h, bands;
    unsigned char *px;
    unsigned char *icc;
    unsigned icc_len;
    int hs, vs, density_unit, density;
    bytes xmp;
    int slack; /* by which samples may differ */
} picture;

static inline void quiet(j_common_ptr c, int level)
{
}

/* The whole picture at 1/denom by plain libjpeg. */
static inline picture decode(bytes b, int denom)
{
    struct jpeg_decompress_struct c;
    struct jpeg_error_mgr err;
    picture out = {0};

    c.err = jpeg_std_error(&err);
    err.emit_message = quiet;
    jpeg_create_decompress(&c);
    jpeg_mem_src(&c, b.p, b.n);
    jpeg_save_markers(&c, JPEG_APP0 + 2, 0xffff);
    jpeg_save_markers(&c, JPEG_APP0 + 1, 0xffff);
    assert_int_equal(jpeg_read_header(&c, TRUE), JPEG_HEADER_OK);
    jpeg_read_icc_profile(&c, &out.icc, &out.icc_len);
    for (jpeg_saved_marker_ptr m = c.marker_list; m; m = m->next)
        if (m->marker == JPEG_APP0 + 1) {
            out.xmp = (bytes){malloc(m->data_length), m->data_length};
            memcpy(out.xmp.p, m->data, m->data_length);
        }
    out.hs = c.comp_info[0].h_samp_factor;
    out.vs = c.comp_info[0].v_samp_factor;
    out.density_unit = c.density_unit;
    out.density = c.X_density;
    c.scale_num = 1;
    c.scale_denom = denom;
    c.dct_method = JDCT_ISLOW;
    jpeg_start_decompress(&c);
    out.w = c.output_width;
    out.h = c.output_height;
    out.bands = c.output_components;
    out.px = malloc((size_t)out.w * out.h * out.bands);
    while (c.output_scanline < c.output_height) {
        JSAMPROW row = out.px + (size_t)c.output_scanline * out.w * out.bands;

        jpeg_read_scanlines(&c, &row, 1);
    }
    jpeg_destroy_decompress(&c);
    return out;
}

static inline void picture_free(picture *p)
{
    free(p->px);
    free(p->icc);
    free(p->xmp.p);
}

/* b with n bytes put in front of at */
static inline bytes insert(bytes b, const unsigned char *at, const void *what, size_t n)
{
    size_t head = (size_t)(at - b.p);
    bytes out = {malloc(b.n + n), b.n + n};

    memcpy(out.p, b.p, head);
    memcpy(out.p + head, what, n);
    memcpy(out.p + head + n, at, b.n - head);
    return out;
}

#endif
