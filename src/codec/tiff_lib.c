/* SPDX-License-Identifier: Apache-2.0
 * TIFF: what libtiff does for us, the decompression. Where blocks lie we read ourselves and give it their bytes
 * (TIFFReadFromUserBuffer), so it never holds the arrays of offsets. Each handle sees the file with another directory
 * as its first, which saves it the walk to that directory, and is kept.
 *
 * Compressed strips of many MiB are the exception: those libtiff reads itself, row by row. */
#include "codec/jp2.h"
#include "codec/tiff_dir.h"
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <tiffio.h>

typedef struct {
    iip_tiff_lib_t *lib;
    TIFF *tif;
    int level, plane;
    int sub_x, sub_y; /* of the JPEG streams it is set up for */
    uint64_t used;
    int64_t at;   /* where libtiff reads the file */
    int64_t next; /* row that comes next when decoding by rows, -1: none */
    int undo;     /* libtiff leaves the differences of neighbours (predictor 2) to us */
    int decoding;
    iip_status seen; /* the first trouble libtiff told of */
    char text[128];
} handle;

struct iip_tiff_lib {
    iip_tiff_file *f;
    const iip_tiff_level *level;
    size_t most; /* bytes of a compressed strip */
    iip_tiff_jpegs_t *jpegs;
    uint64_t clock;
    iip_tiff_buffer packed;
    apr_pool_t *pool;
    handle hand[IIP_TIFF_HANDLES];
};

/* A row of a fax that does not decode as it should; the next one is found again. Every viewer shows them. */
static const char *const noise[] = {"Bad code word", "Premature EOL", "Line length mismatch"};

/* What libtiff says, where it is not simply damage. Its warnings while decoding mean missing or made-up pixels but for
 * these. */
static const struct {
    const char *phrase;
    iip_status is;
} phrases[] = {
    {"progressive mode", IIP_OK},
    {"exceeds expected dimensions,", IIP_OK},
    {"extraneous bytes before marker", IIP_OK},
    {"Old-style LZW", IIP_OK},
    {"require libjpeg to allocate", IIP_E_FORMAT},
    {"not supported", IIP_E_FORMAT},
    {"No space for", IIP_E_MEMORY},
    {"ut of memory", IIP_E_MEMORY},
    {"nsufficient memory", IIP_E_MEMORY},
    {"Failed to allocate", IIP_E_MEMORY},
    {"annot allocate", IIP_E_MEMORY},
};

static void note(handle *h, int warning, const char *fmt, va_list ap)
{
    char text[sizeof h->text];
    iip_status is = IIP_E_CORRUPT;

    if (h->seen || (warning && !h->decoding))
        return;
    vsnprintf(text, sizeof text, fmt, ap);
    if (iip_tiff_codec_find(h->lib->level[h->level].dir.compression)->flags & TIFF_NOISY)
        for (size_t i = 0; i < sizeof noise / sizeof *noise; i++)
            if (strstr(text, noise[i]))
                return;
    for (size_t i = 0; i < sizeof phrases / sizeof *phrases; i++)
        if (strstr(text, phrases[i].phrase) && (warning || phrases[i].is)) {
            is = phrases[i].is;
            break;
        }
    h->seen = is;
    if (is)
        memcpy(h->text, text, sizeof text);
}

static int note_error(TIFF *tif, void *h, const char *module, const char *fmt, va_list ap)
{
    note(h, 0, fmt, ap);
    return 1;
}

static int note_warning(TIFF *tif, void *h, const char *module, const char *fmt, va_list ap)
{
    note(h, 1, fmt, ap);
    return 1;
}

static iip_status trouble(handle *h)
{
    iip_tiff_file *f = h->lib->f;

    if (f->bad)
        return f->bad;
    if (h->seen)
        return f->bad = iip_fail(f->e, h->seen, 0, "%s", h->text);
    return f->bad = iip_fail(f->e, IIP_E_CORRUPT, 0, "libtiff cannot decode it");
}

static tmsize_t file_read(thandle_t ctx, void *buf, tmsize_t n)
{
    handle *h = ctx;
    iip_tiff_file *f = h->lib->f;
    const int place = f->big ? 8 : 4;
    const uint64_t dir = h->lib->level[h->level].dir.at;

    if (n <= 0 || h->at < 0 || h->at >= f->size)
        return 0;
    if (n > f->size - h->at)
        n = (tmsize_t)(f->size - h->at);
    if (iip_tiff_read(f, buf, (size_t)n, h->at) != IIP_OK)
        return 0;
    for (int i = 0; i < place; i++) /* the header's word for the first directory */
        if (place + i >= h->at && place + i < h->at + n)
            ((unsigned char *)buf)[place + i - h->at] = (unsigned char)(dir >> 8 * (f->msb ? place - 1 - i : i));
    h->at += n;
    return n;
}

static tmsize_t file_write(thandle_t ctx, void *buf, tmsize_t n)
{
    return -1;
}

static toff_t file_seek(thandle_t ctx, toff_t off, int whence)
{
    handle *h = ctx;

    h->at = (int64_t)off + (whence == SEEK_CUR ? h->at : whence == SEEK_END ? h->lib->f->size : 0);
    return (toff_t)h->at;
}

static int file_close(thandle_t ctx)
{
    return 0;
}

static toff_t file_size(thandle_t ctx)
{
    return (toff_t)((handle *)ctx)->lib->f->size;
}

static void handle_close(handle *h)
{
    if (h->tif)
        TIFFClose(h->tif);
    memset(h, 0, sizeof *h);
    h->next = -1;
}

static int is_deflate(const iip_tiff_level *l)
{
    return l->dir.compression == COMPRESSION_ADOBE_DEFLATE || l->dir.compression == COMPRESSION_DEFLATE;
}

static iip_status handle_open(iip_tiff_lib_t *t, handle *h, int level, int plane, int sub_x, int sub_y)
{
    const iip_tiff_level *l = &t->level[level];
    TIFFOpenOptions *o = TIFFOpenOptionsAlloc();

    handle_close(h);
    *h = (handle){.lib = t, .level = level, .plane = plane, .sub_x = sub_x, .sub_y = sub_y, .next = -1};
    if (!o)
        return t->f->bad = iip_fail(t->f->e, IIP_E_MEMORY, 0, "options of libtiff");
    TIFFOpenOptionsSetMaxSingleMemAlloc(o, IIP_MAX_CELL + (1 << 20));
    TIFFOpenOptionsSetErrorHandlerExtR(o, note_error, h);
    TIFFOpenOptionsSetWarningHandlerExtR(o, note_warning, h);
    /* m: no map, c: strips as they are, O: array elements on demand */
    h->tif =
        TIFFClientOpenExt("tiff", "rmcO", h, file_read, file_write, file_seek, file_close, file_size, NULL, NULL, o);
    TIFFOpenOptionsFree(o);
    if (!h->tif)
        return trouble(h);
    if (l->dir.jpeg_ycc) {
        TIFFSetField(h->tif, TIFFTAG_JPEGCOLORMODE, JPEGCOLORMODE_RGB);
        TIFFSetField(h->tif, TIFFTAG_YCBCRSUBSAMPLING, sub_x, sub_y);
    }
    if (l->dir.format == SAMPLEFORMAT_IEEEFP) /* it may be the page that says so; the predictor asks */
        TIFFSetField(h->tif, TIFFTAG_SAMPLEFORMAT, SAMPLEFORMAT_IEEEFP);
    if (l->dir.compression == TIFF_SGILOG || l->dir.compression == TIFF_SGILOG24)
        TIFFSetField(h->tif, TIFFTAG_SGILOGDATAFMT, SGILOGDATAFMT_8BIT);
    if (is_deflate(l) && !l->by_rows) {
        uint16_t predictor = 1;

        TIFFGetField(h->tif, TIFFTAG_PREDICTOR, &predictor);
        h->undo = predictor == 2 && !l->form.clumps &&
                  (l->dir.bits == 8 || l->dir.bits == 16 || l->dir.bits == 32 || l->dir.bits == 64);
        if (h->undo)
            TIFFSetField(h->tif, TIFFTAG_PREDICTOR, 1);
        else if (predictor != 1)
            TIFFSetField(h->tif, TIFFTAG_DEFLATE_SUBCODEC, DEFLATE_SUBCODEC_ZLIB);
    }
    /* Both of us must have understood the same header: all sizes of buffers are ours. */
    if (TIFFIsTiled(h->tif) != l->dir.tiled ||
        (l->dir.tiled ? TIFFTileSize64(h->tif) : TIFFVStripSize64(h->tif, (uint32_t)l->dir.block_h)) != l->block ||
        (l->by_rows && TIFFScanlineSize64(h->tif) != iip_tiff_form_row(&l->form, &l->dir)))
        return t->f->bad =
                   iip_fail(t->f->e, IIP_E_FORMAT, 0, "the directory at %" PRIu64 " contradicts itself", l->dir.at);
    h->seen = IIP_OK; /* it did open */
    h->decoding = 1;
    return t->f->bad;
}

static iip_status handle_get(iip_tiff_lib_t *t, int level, int plane, int sub_x, int sub_y, handle **out)
{
    handle *h = &t->hand[0];

    for (int i = 0; i < IIP_TIFF_HANDLES; i++) {
        handle *c = &t->hand[i];

        if (c->tif && c->level == level && c->plane == plane) {
            h = c;
            break;
        }
        if (c->used < h->used)
            h = c;
    }
    *out = h;
    if ((!h->tif || h->level != level || h->plane != plane || h->sub_x != sub_x || h->sub_y != sub_y) &&
        handle_open(t, h, level, plane, sub_x, sub_y) != IIP_OK)
        return t->f->bad;
    h->used = ++t->clock;
    return IIP_OK;
}

/* Rows that a broken fax does not have stay white. */
static void whiten(const iip_tiff_level *l, unsigned char *dst, size_t n)
{
    if (iip_tiff_codec_find(l->dir.compression)->flags & TIFF_NOISY)
        memset(dst, l->dir.photometric == TIFF_WHITE_IS_0 ? 0 : 255, n);
}

static iip_status damaged(iip_tiff_lib_t *t, const char *what, uint64_t block)
{
    return t->f->bad = iip_fail(t->f->e, IIP_E_CORRUPT, 0, "%s in block %" PRIu64, what, block);
}

/* Chroma as the stream has it, whatever the tag says: writers get the tag wrong. */
static iip_status sampling(iip_tiff_lib_t *t, uint64_t block, const unsigned char *p, size_t n, int *sub_x, int *sub_y)
{
    iip_tiff_jpeg j;

    iip_tiff_jpeg_look(p, n, &j);
    if (!j.sof)
        return damaged(t, "no JPEG frame", block);
    *sub_x = j.sub_x[0];
    *sub_y = j.sub_y[0];
    return IIP_OK;
}

/* Differences to values; a pixel of three or four samples is summed in registers. */
static void sum3(unsigned char *p, size_t n)
{
    unsigned a = 0, b = 0, c = 0;

    for (const unsigned char *end = p + n / 3 * 3; p < end; p += 3) {
        p[0] = (unsigned char)(a += p[0]);
        p[1] = (unsigned char)(b += p[1]);
        p[2] = (unsigned char)(c += p[2]);
    }
}

/* Four bytes at once: the low seven bits of each are added without a carry into the next, the highest by xor. */
static void sum4(unsigned char *p, size_t n)
{
    uint32_t sum = 0, v;

    for (const unsigned char *end = p + n / 4 * 4; p < end; p += 4) {
        memcpy(&v, p, 4);
        sum = ((sum & 0x7F7F7F7F) + (v & 0x7F7F7F7F)) ^ ((sum ^ v) & 0x80808080);
        memcpy(p, &sum, 4);
    }
}

#define SUM(T)                                                                                                         \
    for (size_t i = stride; i < n / sizeof(T); i++)                                                                    \
        ((T *)(void *)p)[i] = (T)(((T *)(void *)p)[i] + ((T *)(void *)p)[i - stride]);
static void sum_row(unsigned char *p, size_t n, size_t stride, int bits)
{
    if (bits == 8 && stride == 3)
        sum3(p, n);
    else if (bits == 8 && stride == 4)
        sum4(p, n);
    else if (bits == 8)
        SUM(uint8_t)
    else if (bits == 16)
        SUM(uint16_t)
    else if (bits == 32)
        SUM(uint32_t)
    else
        SUM(uint64_t)
}

/* With libdeflate underneath, libtiff calls a deflate block good that ends in a piece too long for the buffer, and
 * leaves the end of the buffer as it was. So a mark is put there; where it is found again, it has to be a pixel that
 * looks the same, and cannot be with two marks. A predictor would move the mark, hence `undo`. */
static int inflate_block(handle *h, uint64_t block, void *in, size_t len, unsigned char *dst, size_t n)
{
    const iip_tiff_level *l = &h->lib->level[h->level];
    const size_t size = l->dir.bits % 8 ? 1 : (size_t)l->dir.bits / 8, row = iip_tiff_form_row(&l->form, &l->dir);
    const size_t last = size > 1 && TIFFIsByteSwapped(h->tif) ? n - size : n - 1; /* where the last byte comes to lie */

    for (int mark = 0xA5;; mark ^= 0xFF) {
        memset(dst + n - (size > 1 ? size : 1), mark, size > 1 ? size : 1);
        if (!TIFFReadFromUserBuffer(h->tif, (uint32_t)block, in, (tmsize_t)len, dst, (tmsize_t)n))
            return 0;
        if (dst[last] != mark)
            break;
        if (mark != 0xA5)
            return 0;
    }
    for (size_t at = 0; h->undo && at + row <= n; at += row)
        sum_row(dst + at, row, l->dir.planar ? 1 : (size_t)l->dir.samples, l->dir.bits);
    return 1;
}

/* JPEG 2000: not libtiff's, but a picture by itself. It may end where the whole picture does. */
static iip_status jp2_block(iip_tiff_lib_t *t, const iip_tiff_level *l, uint64_t block, size_t len, unsigned char *dst)
{
    const iip_tiff_dir *d = &l->dir;
    const int64_t at = (int64_t)(block % (uint64_t)d->per_plane), left = at % d->across * d->block_w;
    const int64_t top = at / d->across * d->block_h, w = d->w - left, h = d->h - top;
    iip_raster out = {
        d->block_w, d->block_h, d->planar ? 1 : d->samples, l->form.sample, iip_tiff_form_row(&l->form, d), dst};
    apr_pool_t *p;

    if (apr_pool_create(&p, t->pool) != APR_SUCCESS)
        return t->f->bad = iip_fail(t->f->e, IIP_E_MEMORY, 0, "a pool");
    t->f->bad = iip_jp2_block(iip_source_memory(t->packed.p, len, "tile", p),
                              out.bands != 3 ? IIP_JP2_NO_SPACE
                              : d->jp2_ycc   ? 18
                                             : 16,
                              &out, p, t->f->e);
    apr_pool_destroy(p);
    if (!t->f->bad && (out.w < (w < d->block_w ? w : d->block_w) || out.h < (h < d->block_h ? h : d->block_h)))
        return damaged(t, "too small a picture", block);
    return t->f->bad;
}

iip_tiff_jpegs_t *iip_tiff_lib_jpegs(iip_tiff_lib_t *t)
{
    if (!t->jpegs)
        t->jpegs = iip_tiff_jpegs_create(t->f, t->pool);
    return t->jpegs;
}

static iip_status jpeg_block(iip_tiff_lib_t *t, const iip_tiff_level *l, int level, size_t len, unsigned char *dst,
                             size_t n)
{
    if (!iip_tiff_lib_jpegs(t))
        return t->f->bad;
    return iip_tiff_jpeg_block(t->jpegs, l, level, t->packed.p, len, dst,
                               (int64_t)(n / iip_tiff_form_row(&l->form, &l->dir)));
}

/* The compressed bytes of a whole block to t->packed. */
static iip_status fetch(iip_tiff_lib_t *t, const iip_tiff_level *l, uint64_t block, int64_t off, size_t len)
{
    if (len > 2 * l->block + (1 << 20))
        return damaged(t, "far too many bytes", block);
    if (iip_tiff_room(t->f, &t->packed, len) != IIP_OK)
        return t->f->bad;
    return iip_tiff_read(t->f, t->packed.p, len, off);
}

iip_status iip_tiff_lib_planes(iip_tiff_lib_t *t, int level, uint64_t block, int64_t off, size_t len, iip_rect want,
                               const iip_raster *out, int64_t to_x, int64_t to_y)
{
    const iip_tiff_level *l = &t->level[level];

    if (fetch(t, l, block, off, len) != IIP_OK || !iip_tiff_lib_jpegs(t))
        return t->f->bad;
    return iip_tiff_jpeg_planes(t->jpegs, l, level, t->packed.p, len, want, out, to_x, to_y);
}

iip_status iip_tiff_lib_block(iip_tiff_lib_t *t, int level, uint64_t block, int64_t off, size_t len, unsigned char *dst,
                              size_t n)
{
    const iip_tiff_level *l = &t->level[level];
    int sub_x = 0, sub_y = 0;
    iip_tiff_webp webp;
    iip_status rv;
    handle *hd;

    if (fetch(t, l, block, off, len) != IIP_OK)
        return t->f->bad;
    if (iip_tiff_is_jp2(&l->dir))
        return jp2_block(t, l, block, len, dst);
    if (l->dir.compression == TIFF_JPEG && (rv = jpeg_block(t, l, level, len, dst, n)) != IIP_E_FEATURE)
        return rv;
    if (l->dir.jpeg_ycc && sampling(t, block, t->packed.p, len, &sub_x, &sub_y) != IIP_OK)
        return t->f->bad;
    /* libtiff takes a smaller picture and leaves the rest of the buffer as it was */
    if (l->dir.compression == TIFF_WEBP && (!iip_tiff_webp_look(t->packed.p, len, &webp) || webp.w != l->dir.block_w ||
                                            (size_t)webp.h * iip_tiff_form_row(&l->form, &l->dir) != n))
        return damaged(t, "a WebP picture of another size", block);
    if (iip_tiff_codec_find(l->dir.compression)->flags & TIFF_OURS) {
        if (l->dir.fill == 2)
            TIFFReverseBits(t->packed.p, (tmsize_t)len);
        if ((rv = iip_tiff_own_block(t->f, &l->dir, t->packed.p, len, dst, n)) == IIP_E_CORRUPT)
            return damaged(t, "other than its pixels", block);
        return rv ? t->f->bad = iip_fail(t->f->e, rv, 0, "a block of %zu bytes", n) : IIP_OK;
    }
    if (handle_get(t, level, 0, sub_x, sub_y, &hd) != IIP_OK)
        return t->f->bad;
    whiten(l, dst, n);
    if (!(is_deflate(l)
              ? inflate_block(hd, block, t->packed.p, len, dst, n)
              : TIFFReadFromUserBuffer(hd->tif, (uint32_t)block, t->packed.p, (tmsize_t)len, dst, (tmsize_t)n)) ||
        hd->seen)
        return trouble(hd);
    return t->f->bad;
}

iip_status iip_tiff_lib_rows(iip_tiff_lib_t *t, int level, int plane, uint64_t strip, int64_t off, size_t len,
                             int64_t y, int64_t rows, unsigned char *dst)
{
    const iip_tiff_level *l = &t->level[level];
    const size_t row = iip_tiff_form_row(&l->form, &l->dir);
    const int64_t start = y - y % l->dir.block_h;
    int sub_x = 0, sub_y = 0;
    handle *h;

    if (len > t->most)
        return t->f->bad = iip_fail(t->f->e, IIP_E_FORMAT, 0, "a compressed strip of %zu bytes", len);
    if (iip_tiff_room(t->f, &t->packed, row > 4096 ? row : 4096) != IIP_OK)
        return t->f->bad;
    if (l->dir.jpeg_ycc) {
        size_t n = len < 4096 ? len : 4096;

        if (iip_tiff_read(t->f, t->packed.p, n, off) != IIP_OK ||
            sampling(t, strip, t->packed.p, n, &sub_x, &sub_y) != IIP_OK)
            return t->f->bad;
    }
    if (handle_get(t, level, plane, sub_x, sub_y, &h) != IIP_OK)
        return t->f->bad;
    if (h->next < start || h->next > y)
        h->next = start;
    for (; rows; h->next++) {
        unsigned char *to = h->next < y ? t->packed.p : dst;

        whiten(l, to, row);
        if (TIFFReadScanline(h->tif, to, (uint32_t)h->next, (uint16_t)plane) != 1 || h->seen)
            return trouble(h);
        if (h->next >= y) {
            dst += row;
            rows--;
        }
    }
    return t->f->bad;
}

static apr_status_t lib_close(void *ctx)
{
    iip_tiff_lib_t *t = ctx;

    for (int i = 0; i < IIP_TIFF_HANDLES; i++)
        handle_close(&t->hand[i]);
    free(t->packed.p);
    return APR_SUCCESS;
}

iip_tiff_lib_t *iip_tiff_lib_create(iip_tiff_file *f, const iip_tiff_level *level, size_t most, apr_pool_t *p)
{
    iip_tiff_lib_t *t = apr_pcalloc(p, sizeof *t);

    t->f = f;
    t->level = level;
    t->most = most;
    t->pool = p;
    apr_pool_cleanup_register(p, t, lib_close, apr_pool_cleanup_null);
    return t;
}
