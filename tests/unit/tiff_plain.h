/* SPDX-License-Identifier: Apache-2.0
 * For the TIFF tests: files in memory written by libtiff from a formula, the formula's pixels as the expectation, and a
 * reader around the decoder. */
#ifndef TIFF_PLAIN_H
#define TIFF_PLAIN_H
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include <apr_general.h>
#include <tiffio.h>
#include "codec/codec.h"

extern const iip_decoder iip_decoder_tiff;

/* --- a file in memory, for libtiff to write and read ------------------------------------------------------------- */

typedef struct {
    unsigned char *p;
    size_t n, room, at;
} bytes;

static inline tmsize_t bytes_read(thandle_t h, void *buf, tmsize_t n)
{
    bytes *b = h;

    if (b->at > b->n)
        return 0;
    if ((size_t)n > b->n - b->at)
        n = (tmsize_t)(b->n - b->at);
    memcpy(buf, b->p + b->at, (size_t)n);
    b->at += (size_t)n;
    return n;
}

static inline tmsize_t bytes_write(thandle_t h, void *buf, tmsize_t n)
{
    bytes *b = h;
    size_t end = b->at + (size_t)n;

    if (end > b->room) {
        b->room = 2 * end + 4096;
        b->p = realloc(b->p, b->room);
        assert_non_null(b->p);
    }
    if (b->at > b->n)
        memset(b->p + b->n, 0, b->at - b->n);
    memcpy(b->p + b->at, buf, (size_t)n);
    b->at = end;
    if (end > b->n)
        b->n = end;
    return n;
}

static inline toff_t bytes_seek(thandle_t h, toff_t off, int whence)
{
    bytes *b = h;

    b->at = (size_t)off + (whence == SEEK_CUR ? b->at : whence == SEEK_END ? b->n : 0);
    return b->at;
}

static inline int bytes_close(thandle_t h)
{
    return 0;
}

static inline toff_t bytes_size(thandle_t h)
{
    return ((bytes *)h)->n;
}

static inline TIFF *bytes_tiff(bytes *b, const char *mode)
{
    b->at = 0;
    return TIFFClientOpen("memory", mode, b, bytes_read, bytes_write, bytes_seek, bytes_close, bytes_size, NULL, NULL);
}

/* --- pictures by formula ------------------------------------------------------------------------------------------ */

/* Zeros are the usual values. */
typedef struct {
    const char *name;
    int w, h, tile_w, tile_h, rows;
    int bits, format, samples, photometric, compression, planar, predictor, fill, alpha; /* alpha: ExtraSamples */
    int sub_x, sub_y, subtype, orientation, raw_rgb; /* raw_rgb: JPEG of RGB that libtiff may not convert */
    const char *mode;
    unsigned seed;
} plan;

static inline unsigned sample_at(const plan *p, int x, int y, int band)
{
    unsigned bits = p->bits ? (unsigned)p->bits : 8;
    unsigned v = (unsigned)(x * (3 + band) + y * (5 - band)) / 3 + ((unsigned)(x / 9 ^ y / 7) & 3) * 20 + p->seed;

    return bits < 8 ? v >> 3 & ((1u << bits) - 1) : bits == 8 ? v & 255 : v * 257 & 65535;
}

/* A stored sample of any depth to its place in a row of bytes. */
static inline void put_sample(unsigned char *row, const plan *p, size_t i, unsigned v)
{
    unsigned bits = p->bits ? (unsigned)p->bits : 8;

    if (bits < 8) {
        row[i * bits / 8] |= (unsigned char)(v << (8 - bits - i * bits % 8));
    } else if (bits == 8) {
        row[i] = (unsigned char)v;
    } else if (bits == 16) {
        ((uint16_t *)(void *)row)[i] = (uint16_t)v;
    } else if (p->format == SAMPLEFORMAT_IEEEFP && bits == 32) {
        ((float *)(void *)row)[i] = (float)v / 65535;
    } else if (bits == 64) {
        ((double *)(void *)row)[i] = (double)v / 65535;
    } else {
        ((uint32_t *)(void *)row)[i] = v;
    }
}

static inline void fill_block(const plan *p, unsigned char *block, size_t n, int x0, int y0, int w, int h, int plane,
                              int samples)
{
    const int sx = p->sub_x ? p->sub_x : 1, sy = p->sub_y ? p->sub_y : 1;
    size_t at = 0, row = n / (size_t)h;

    memset(block, 0, n);
    if (p->photometric == PHOTOMETRIC_YCBCR && p->compression != COMPRESSION_JPEG && sx * sy > 1) {
        for (int y = 0; y < h; y += sy)
            for (int x = 0; x < w; x += sx) {
                for (int i = 0; i < sx * sy; i++)
                    block[at++] = (unsigned char)sample_at(p, x0 + x + i % sx, y0 + y + i / sx, 0);
                block[at++] = (unsigned char)sample_at(p, (x0 + x) / sx, (y0 + y) / sy, 1);
                block[at++] = (unsigned char)sample_at(p, (x0 + x) / sx, (y0 + y) / sy, 2);
            }
        return;
    }
    for (int y = 0; y < h; y++)
        for (int x = 0; x < w; x++)
            for (int s = 0; s < samples; s++)
                put_sample(block + (size_t)y * row, p, (size_t)(x * samples + s),
                           sample_at(p, x0 + x, y0 + y, plane + s));
}

static inline void write_dir(TIFF *t, const plan *p)
{
    const int samples = p->samples ? p->samples : 1, rows = p->rows ? p->rows : 32;
    const int bw = p->tile_w ? p->tile_w : p->w, bh = p->tile_w ? p->tile_h : rows < p->h ? rows : p->h;
    const int planes = p->planar ? samples : 1, each = p->planar ? 1 : samples;
    uint16_t map[3][256], extra[8] = {(uint16_t)p->alpha};
    unsigned char *block;
    uint32_t i = 0;

    TIFFSetField(t, TIFFTAG_SUBFILETYPE, p->subtype);
    TIFFSetField(t, TIFFTAG_IMAGEWIDTH, p->w);
    TIFFSetField(t, TIFFTAG_IMAGELENGTH, p->h);
    TIFFSetField(t, TIFFTAG_BITSPERSAMPLE, p->bits ? p->bits : 8);
    TIFFSetField(t, TIFFTAG_SAMPLESPERPIXEL, samples);
    TIFFSetField(t, TIFFTAG_PHOTOMETRIC, p->photometric);
    TIFFSetField(t, TIFFTAG_COMPRESSION, p->compression ? p->compression : COMPRESSION_NONE);
    TIFFSetField(t, TIFFTAG_PLANARCONFIG, p->planar ? PLANARCONFIG_SEPARATE : PLANARCONFIG_CONTIG);
    if (p->format)
        TIFFSetField(t, TIFFTAG_SAMPLEFORMAT, p->format);
    if (p->predictor)
        TIFFSetField(t, TIFFTAG_PREDICTOR, p->predictor);
    if (p->fill)
        TIFFSetField(t, TIFFTAG_FILLORDER, p->fill);
    if (p->orientation)
        TIFFSetField(t, TIFFTAG_ORIENTATION, p->orientation);
    if (p->alpha)
        TIFFSetField(t, TIFFTAG_EXTRASAMPLES, 1, extra);
    if (p->sub_x)
        TIFFSetField(t, TIFFTAG_YCBCRSUBSAMPLING, p->sub_x, p->sub_y);
    if (p->photometric == PHOTOMETRIC_PALETTE) {
        for (int k = 0; k < 256; k++)
            for (int c = 0; c < 3; c++)
                map[c][k] = (uint16_t)(((k * 7 + c * 50) & 255) * 257);
        TIFFSetField(t, TIFFTAG_COLORMAP, map[0], map[1], map[2]);
    }
    if (p->compression == COMPRESSION_JPEG && p->photometric == PHOTOMETRIC_YCBCR)
        TIFFSetField(t, TIFFTAG_JPEGCOLORMODE, JPEGCOLORMODE_RGB);
    if (p->compression == COMPRESSION_WEBP)
        TIFFSetField(t, TIFFTAG_WEBP_LOSSLESS, 1);
    if (p->tile_w) {
        TIFFSetField(t, TIFFTAG_TILEWIDTH, p->tile_w);
        TIFFSetField(t, TIFFTAG_TILELENGTH, p->tile_h);
    } else {
        TIFFSetField(t, TIFFTAG_ROWSPERSTRIP, rows);
    }
    block = malloc((size_t)(p->tile_w ? TIFFTileSize(t) : TIFFVStripSize(t, (uint32_t)bh)));
    assert_non_null(block);
    for (int k = 0; k < planes; k++)
        for (int y = 0; y < p->h; y += bh)
            for (int x = 0; x < p->w; x += bw, i++) {
                int h = p->tile_w || p->h - y > bh ? bh : p->h - y;
                tmsize_t n = p->tile_w ? TIFFTileSize(t) : TIFFVStripSize(t, (uint32_t)h);

                fill_block(p, block, (size_t)n, x, y, bw, h, k, each);
                assert_true(
                    (p->tile_w ? TIFFWriteEncodedTile(t, i, block, n) : TIFFWriteEncodedStrip(t, i, block, n)) == n);
            }
    free(block);
    assert_int_equal(TIFFWriteDirectory(t), 1);
}

static inline bytes written(const plan *p, int n)
{
    bytes b = {0};
    TIFF *t = bytes_tiff(&b, p->mode ? p->mode : "w");

    assert_non_null(t);
    for (int i = 0; i < n; i++)
        write_dir(t, p + i);
    TIFFClose(t);
    return b;
}

/* --- the decoder over such a file --------------------------------------------------------------------------------- */

typedef struct {
    apr_pool_t *pool;
    iip_source_t *src;
    iip_reader_t *r;
    iip_info info;
    iip_error e;
} reading;

static inline iip_status start_source(reading *k, iip_source_t *s, apr_pool_t *pool, int page)
{
    iip_status rv;

    memset(&k->info, 0, sizeof k->info);
    memset(&k->e, 0, sizeof k->e);
    k->pool = pool;
    k->src = s;
    rv = iip_decoder_tiff.open(&k->r, s, page, NULL, pool, &k->e);
    return rv ? rv : iip_decoder_tiff.info(k->r, &k->info, pool, &k->e);
}

static inline iip_status start(reading *k, const unsigned char *p, size_t n, int page)
{
    apr_pool_t *pool;

    apr_pool_create(&pool, NULL);
    return start_source(k, iip_source_memory(p, n, "memory", pool), pool, page);
}

static inline void stop(reading *k)
{
    apr_pool_destroy(k->pool);
}

static inline size_t pixel_size(const reading *k)
{
    return (size_t)k->info.bands * iip_sample_size(k->info.sample);
}

static inline iip_status read_rect(reading *k, int level, iip_rect want, unsigned char *px, size_t stride)
{
    iip_raster out = {want.w, want.h, k->info.bands, k->info.sample, stride, px};

    return iip_decoder_tiff.read(k->r, level, want, -1, &out, &k->e);
}

/* A level cell by cell; malloc'ed, NULL after a failure. */
static inline unsigned char *read_level(reading *k, int level)
{
    const iip_level *l = &k->info.level[level];
    const size_t pixel = pixel_size(k), stride = (size_t)l->w * pixel;
    unsigned char *px = malloc(stride * (size_t)l->h);

    assert_non_null(px);
    for (int64_t y = 0; y < l->h; y += l->tile_h)
        for (int64_t x = 0; x < l->w; x += l->tile_w) {
            iip_rect c = {x, y, l->w - x < l->tile_w ? l->w - x : l->tile_w,
                          l->h - y < l->tile_h ? l->h - y : l->tile_h};

            if (read_rect(k, level, c, px + (size_t)y * stride + (size_t)x * pixel, stride) != IIP_OK) {
                free(px);
                return NULL;
            }
        }
    return px;
}
#endif
