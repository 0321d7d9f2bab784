/* SPDX-License-Identifier: Apache-2.0
 * PNG reader over libpng: 1 to 16 bits, grey, RGB, palette, transparency, alpha, interlaced.
 *
 * Rows come downwards only. A reader keeps its place between calls: a cell below the last one costs the rows between
 * them, one above it starts the file again. An interlaced picture is held whole.
 *
 * The chunks are walked once when the file is opened. libpng is handed those alone that make pixels, as if there were
 * no others; the rest is read here (png_meta.c), from where the walk saw it. Errors leave libpng by longjmp to read(),
 * never further; what such a jump could clobber lives in the reader. */
#include "codec/png_meta.h"
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>
#include <png.h>

#define BUFFER     (64 * 1024)
#define PEEK       512       /* bytes read around a chunk's header while walking */
#define MAX_CHUNKS (1 << 20) /* spec/security.md section 4 */
#define MAX_TEXTS  100
#define MAX_CHUNK  (8 << 20) /* but of pixels, which are read piece by piece */
#define PATIENCE   64        /* rows passed over between two looks at the clock */

static const unsigned char signature[8] = {0x89, 'P', 'N', 'G', '\r', '\n', 0x1a, '\n'};

struct iip_reader {
    iip_source_t *s;
    apr_pool_t *pool;
    iip_error *e;
    png_structp png; /* NULL until pixels are asked for */
    png_infop info;
    int failed; /* *e is filled: not libpng's own complaint */
    apr_interval_time_t patience;
    unsigned char *buf; /* BUFFER bytes of the file from buf_at on */
    int64_t buf_at;
    size_t buf_n;
    int64_t pos;  /* of libpng in the file */
    int64_t left; /* of the chunk it reads, header and checksum included */
    int64_t w, h, row;
    int depth, type, interlaced, bands, deep;
    png_places at;
    unsigned char *line; /* one row, for parts of it and for rows passed over */
    iip_raster all;      /* of an interlaced picture; px NULL until it is decoded */
};

static uint32_t be32(const unsigned char *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

/* --- the file ----------------------------------------------------------------------------------------------------- */

/* At least one byte of the file from at on, as many as are there up to `most` of them; NULL with *e filled. */
static const unsigned char *window(iip_reader_t *r, int64_t at, size_t most, size_t *n, iip_error *e)
{
    if (at < r->buf_at || at >= r->buf_at + (int64_t)r->buf_n) {
        int64_t left = r->s->id.size - at;

        if (left <= 0) {
            iip_fail(e, IIP_E_CORRUPT, 0, "PNG: ends too early");
            return NULL;
        }
        r->buf_n = 0;
        if (most > BUFFER)
            most = BUFFER;
        if ((int64_t)most > left)
            most = (size_t)left;
        if (r->s->read(r->s, r->buf, most, at, e) != IIP_OK)
            return NULL;
        r->buf_at = at;
        r->buf_n = most;
    }
    *n = r->buf_n - (size_t)(at - r->buf_at);
    return r->buf + (at - r->buf_at);
}

/* Exactly n bytes, few enough for PEEK. */
static const unsigned char *peek(iip_reader_t *r, int64_t at, size_t n, iip_error *e)
{
    size_t got;
    const unsigned char *p = window(r, at, PEEK, &got, e);

    if (p && got < n) {
        r->buf_n = 0;
        p = window(r, at, PEEK, &got, e);
        if (p && got < n) {
            iip_fail(e, IIP_E_CORRUPT, 0, "PNG: ends too early");
            return NULL;
        }
    }
    return p;
}

/* --- opening ------------------------------------------------------------------------------------------------------ */

static int png_sniff(const unsigned char *head, size_t n)
{
    return n >= sizeof signature && memcmp(head, signature, sizeof signature) == 0 ? 100 : 0;
}

static apr_status_t png_close(void *reader)
{
    iip_reader_t *r = reader;

    png_destroy_read_struct(&r->png, &r->info, NULL);
    return APR_SUCCESS;
}

static iip_status read_header(iip_reader_t *r, iip_error *e)
{
    /* bits that each colour type may have: PNG specification, table 11.1 */
    static const int depths[7] = {1 | 2 | 4 | 8 | 16, 0, 8 | 16, 1 | 2 | 4 | 8, 8 | 16, 0, 8 | 16};
    static const int bands[7] = {1, 0, 3, 3, 2, 0, 4};
    const unsigned char *p = peek(r, 0, 33, e);

    if (!p)
        return e->status == IIP_E_CORRUPT ? (e->status = IIP_E_FORMAT) : e->status;
    r->w = be32(p + 16);
    r->h = be32(p + 20);
    r->depth = p[24];
    r->type = p[25];
    r->interlaced = p[28];
    if (!png_sniff(p, 33) || be32(p + 8) != 13 || memcmp(p + 12, "IHDR", 4) != 0 || r->type > 6 ||
        (r->depth & (r->depth - 1)) || !(r->depth & depths[r->type]) || p[26] || p[27] || r->interlaced > 1)
        return iip_fail(e, IIP_E_FORMAT, 0, "PNG: its header is wrong");
    if (r->w < 1 || r->h < 1 || r->w > IIP_MAX_SIDE || r->h > IIP_MAX_SIDE || r->w > IIP_MAX_CELL / 8)
        return iip_fail(e, IIP_E_FORMAT, 0, "PNG: no picture of this size");
    r->bands = bands[r->type];
    r->deep = r->depth == 16;
    return IIP_OK;
}

/* Remembers where a chunk of n bytes at `at` lies. Everything but EXIF and text must come before the pixels. */
static iip_status note_chunk(iip_reader_t *r, const char *name, int64_t at, size_t n, iip_error *e)
{
    static const struct {
        char name[5];
        int anywhere;
        size_t place, least, most;
    } known[] = {
#define PLACE(m) offsetof(png_places, m)
        {"PLTE", 0, PLACE(palette), 3, 768},    {"tRNS", 0, PLACE(clear), 1, 256},
        {"iCCP", 0, PLACE(icc), 4, MAX_CHUNK},  {"sRGB", 0, PLACE(srgb), 1, 1},
        {"gAMA", 0, PLACE(gamma), 4, 4},        {"cHRM", 0, PLACE(primaries), 32, 32},
        {"cICP", 0, PLACE(numbers), 4, 4},      {"pHYs", 0, PLACE(size), 9, 9},
        {"eXIf", 1, PLACE(exif), 8, MAX_CHUNK}, {"IDAT", 1, PLACE(pixels), 0, SIZE_MAX},
    };
    static const char xmp[] = "XML:com.adobe.xmp";

    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        png_place *to = (png_place *)(void *)((char *)&r->at + known[i].place);

        if (memcmp(name, known[i].name, 4) == 0 && to->at == 0 && n >= known[i].least && n <= known[i].most &&
            (known[i].anywhere || r->at.pixels.at == 0))
            *to = (png_place){at, n};
    }
    if (memcmp(name, "iTXt", 4) == 0 && r->at.xmp.at == 0 && n > sizeof xmp) {
        const unsigned char *p = peek(r, at, sizeof xmp, e);

        if (!p)
            return e->status;
        if (memcmp(p, xmp, sizeof xmp) == 0)
            r->at.xmp = (png_place){at + (int64_t)sizeof xmp, n - sizeof xmp};
    }
    return IIP_OK;
}

static iip_status walk(iip_reader_t *r, iip_error *e)
{
    int64_t at = sizeof signature;
    int texts = 0;

    /* What is cut off shows when it is asked for: the header may be good all the same. */
    for (int i = 0; r->s->id.size - at >= 12; i++) {
        const unsigned char *p = peek(r, at, 8, e);
        uint32_t n;
        char name[4];

        if (!p)
            return e->status;
        n = be32(p);
        memcpy(name, p + 4, 4);
        if (n > IIP_MAX_SIDE || i >= MAX_CHUNKS || (n > MAX_CHUNK && memcmp(name, "IDAT", 4) != 0))
            return iip_fail(e, IIP_E_FORMAT, 0, "PNG: a chunk of %u bytes, number %d", (unsigned)n, i);
        if (memcmp(name + 1, "EXt", 3) == 0 || memcmp(name + 1, "TXt", 3) == 0)
            if (++texts > MAX_TEXTS)
                return iip_fail(e, IIP_E_FORMAT, 0, "PNG: more than %d texts", MAX_TEXTS);
        if (memcmp(name, "IEND", 4) == 0)
            break;
        if ((at + 12 + n <= r->s->id.size || memcmp(name, "IDAT", 4) == 0) &&
            note_chunk(r, name, at + 8, n, e) != IIP_OK)
            return e->status;
        at += 12 + (int64_t)n;
    }
    return IIP_OK;
}

/* Which transparency counts: of the length its colour type has. */
static int transparent(const iip_reader_t *r)
{
    const size_t n = r->at.clear.n;

    switch (r->type) {
    case PNG_COLOR_TYPE_GRAY:
        return n == 2;
    case PNG_COLOR_TYPE_RGB:
        return n == 6;
    case PNG_COLOR_TYPE_PALETTE:
        return n > 0 && n <= r->at.palette.n / 3 && r->at.clear.at > r->at.palette.at;
    default:
        return 0;
    }
}

static iip_status png_open(iip_reader_t **out, iip_source_t *s, int page, const iip_limits *lim, apr_pool_t *p,
                           iip_error *e)
{
    iip_reader_t *r = apr_pcalloc(p, sizeof *r);

    if (page > 0)
        return iip_fail(e, IIP_E_NOT_FOUND, 0, "PNG: page %d of 1", page);
    if (!(r->buf = iip_codec_alloc(BUFFER, p, e)))
        return e->status;
    r->s = s;
    r->pool = p;
    r->patience = lim ? lim->deadline : 0;
    if (read_header(r, e) != IIP_OK || walk(r, e) != IIP_OK)
        return e->status;
    if (r->type != PNG_COLOR_TYPE_PALETTE)
        r->at.palette.at = 0; /* a suggestion for others */
    else if (r->at.palette.at == 0 || r->at.palette.n % 3)
        return iip_fail(e, IIP_E_FORMAT, 0, "PNG: no palette");
    if (transparent(r))
        r->bands++;
    else
        r->at.clear.at = 0;
    r->all = (iip_raster){.w = r->w, .h = r->h, .bands = r->bands, .sample = r->deep ? IIP_U16 : IIP_U8};
    r->all.stride = (size_t)r->w * (size_t)(r->bands << r->deep);
    apr_pool_cleanup_register(p, r, png_close, apr_pool_cleanup_null);
    *out = r;
    return IIP_OK;
}

static iip_status png_describe(iip_reader_t *r, iip_info *out, apr_pool_t *p, iip_error *e)
{
    out->levels = out->virtual_from = out->pages = out->layers = out->orientation = 1;
    iip_level_rows(&out->level[0], r->w, r->h, (size_t)(r->bands << r->deep), 1);
    out->bands = r->bands;
    out->bits = r->depth;
    out->sample = r->all.sample;
    out->space = r->bands > 2 ? IIP_RGB : IIP_GREY;
    out->alpha = r->bands % 2 == 0;
    out->bilevel = r->depth == 1 && r->bands == 1;
    if (r->interlaced && __builtin_mul_overflow(r->all.stride, (size_t)r->h, &out->hold))
        return iip_fail(e, IIP_E_FORMAT, 0, "PNG: no picture of this size");
    out->decode_cost = 1.5;
    return iip_png_meta(&r->at, r->s, out, p, e);
}

/* --- libpng's callbacks ------------------------------------------------------------------------------------------- */

static void on_error(png_structp png, png_const_charp text)
{
    iip_reader_t *r = png_get_error_ptr(png);

    if (!r->failed)
        iip_fail(r->e, IIP_E_CORRUPT, 0, "PNG: %s", text);
    r->failed = 1;
    png_longjmp(png, 1);
}

/* It warns of what it tolerates: data behind the last pixel, entries that the palette lacks. */
static void on_warning(png_structp png, png_const_charp text)
{
}

static png_voidp get_memory(png_structp png, png_alloc_size_t n)
{
    iip_reader_t *r = png_get_mem_ptr(png);
    void *mem = malloc(n);

    if (!mem) {
        iip_fail(r->e, IIP_E_MEMORY, APR_ENOMEM, "PNG: no memory for %zu bytes", (size_t)n);
        r->failed = 1;
    }
    return mem;
}

static void free_memory(png_structp png, png_voidp mem)
{
    free(mem);
}

static void give_up(iip_reader_t *r)
{
    r->failed = 1;
    png_longjmp(r->png, 1);
}

/* Of other than critical chunks libpng sees transparency only, and a palette only where pixels need it. */
static int wanted(const iip_reader_t *r, const unsigned char *head)
{
    if (memcmp(head + 4, "tRNS", 4) == 0)
        return r->pos + 8 == r->at.clear.at;
    if (memcmp(head + 4, "PLTE", 4) == 0)
        return r->pos + 8 == r->at.palette.at;
    return !(head[4] & 0x20);
}

static void feed(png_structp png, png_bytep to, size_t n)
{
    iip_reader_t *r = png_get_io_ptr(png);

    while (n > 0) {
        const unsigned char *p;
        size_t got;

        if (r->left == 0) {
            if (!(p = window(r, r->pos, BUFFER, &got, r->e)) || (got < 8 && !(p = peek(r, r->pos, 8, r->e))))
                give_up(r);
            if (wanted(r, p))
                r->left = 12 + (int64_t)be32(p);
            else
                r->pos += 12 + (int64_t)be32(p);
            continue;
        }
        if (!(p = window(r, r->pos, BUFFER, &got, r->e)))
            give_up(r);
        if (got > n)
            got = n;
        if ((int64_t)got > r->left)
            got = (size_t)r->left;
        memcpy(to, p, got);
        to += got;
        n -= got;
        r->pos += (int64_t)got;
        r->left -= (int64_t)got;
    }
}

/* --- pixels ------------------------------------------------------------------------------------------------------- */

/* From the first row. Everything comes out as 8 or 16 bits of grey or RGB, with alpha where something is clear. */
static void start(iip_reader_t *r)
{
    png_structp png = r->png;

    png_set_read_fn(png, r, feed);
    png_set_user_limits(png, PNG_UINT_31_MAX, PNG_UINT_31_MAX);
    png_set_chunk_malloc_max(png, MAX_CHUNK);
    png_set_crc_action(png, PNG_CRC_DEFAULT, PNG_CRC_ERROR_QUIT);
    png_read_info(png, r->info);
    png_set_expand(png);
    if (r->deep && *(const unsigned char *)&(const uint16_t){1})
        png_set_swap(png);
    png_set_interlace_handling(png);
    png_read_update_info(png, r->info);
    if (png_get_rowbytes(png, r->info) != r->all.stride || png_get_image_height(png, r->info) != r->h ||
        png_get_interlace_type(png, r->info) != r->interlaced)
        png_error(png, "changed while it was read");
}

static iip_status restart(iip_reader_t *r, iip_error *e)
{
    png_destroy_read_struct(&r->png, &r->info, NULL);
    r->row = 0;
    r->pos = 0;
    r->left = sizeof signature;
    r->png = png_create_read_struct_2(PNG_LIBPNG_VER_STRING, r, on_error, on_warning, r, get_memory, free_memory);
    if (r->png)
        r->info = png_create_info_struct(r->png);
    if (!r->info)
        return r->failed ? e->status : iip_fail(e, IIP_E_MEMORY, APR_ENOMEM, "PNG: no memory");
    if (setjmp(png_jmpbuf(r->png)))
        return e->status;
    start(r);
    return IIP_OK;
}

/* Rows that nobody asked for may be many: they end with the time that a request may take. */
static void pass_over(iip_reader_t *r, int64_t to)
{
    const apr_time_t until = r->patience ? apr_time_now() + r->patience : 0;

    for (; r->row < to; r->row++) {
        if (until && r->row % PATIENCE == 0 && apr_time_now() > until) {
            iip_fail(r->e, IIP_E_TIMEOUT, 0, "PNG: row %lld of %lld is too far down", (long long)r->row,
                     (long long)r->h);
            give_up(r);
        }
        png_read_row(r->png, r->line, NULL);
    }
}

/* Of each pass libpng puts the pixels into the rows of those before. */
static iip_status read_interlaced(iip_reader_t *r, iip_error *e)
{
    if (!(r->all.px = iip_codec_alloc(r->all.stride * (size_t)r->h, r->pool, e)) || restart(r, e) != IIP_OK)
        return e->status;
    if (setjmp(png_jmpbuf(r->png)))
        return e->status;
    for (int pass = 0; pass < PNG_INTERLACE_ADAM7_PASSES; pass++)
        for (int64_t y = 0; y < r->h; y++)
            png_read_row(r->png, r->all.px + (size_t)y * r->all.stride, NULL);
    png_destroy_read_struct(&r->png, &r->info, NULL);
    return IIP_OK;
}

static iip_status read_rows(iip_reader_t *r, iip_rect want, iip_raster *out, iip_error *e)
{
    const size_t pixel = (size_t)(r->bands << r->deep);

    if (!r->line && !(r->line = iip_codec_alloc(r->all.stride, r->pool, e)))
        return e->status;
    if ((!r->png || r->row > want.y) && restart(r, e) != IIP_OK)
        return e->status;
    if (setjmp(png_jmpbuf(r->png)))
        return e->status;
    pass_over(r, want.y);
    for (; r->row < want.y + want.h; r->row++) {
        unsigned char *to = out->px + (size_t)(r->row - want.y) * out->stride;

        png_read_row(r->png, want.w == r->w ? to : r->line, NULL);
        if (want.w != r->w)
            memcpy(to, r->line + (size_t)want.x * pixel, (size_t)want.w * pixel);
    }
    return IIP_OK;
}

static iip_status png_read(iip_reader_t *r, int level, iip_rect want, int layers, iip_raster *out, iip_error *e)
{
    if (level != 0 || want.x < 0 || want.y < 0 || want.w < 1 || want.h < 1 || want.x > r->w - want.w ||
        want.y > r->h - want.h)
        return iip_fail(e, IIP_E_RANGE, 0, "PNG: no such rectangle on level %d", level);
    r->e = e;
    if (!r->interlaced)
        return read_rows(r, want, out, e);
    if (!r->all.px && read_interlaced(r, e) != IIP_OK)
        return e->status;
    return iip_raster_cut(&r->all, want, out, e);
}

const iip_decoder iip_decoder_png = {
    .abi = IIP_CODEC_ABI,
    .name = "png",
    .priority = 100,
    .sniff = png_sniff,
    .open = png_open,
    .info = png_describe,
    .read = png_read,
};
