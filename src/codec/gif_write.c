/* SPDX-License-Identifier: Apache-2.0
 * GIF writer over giflib: at most 256 colours, one of them transparent where there is alpha (spec/iiif.md R25). */
#ifdef IIP_HAVE_GIF
#include "codec/quantise.h"
#include <string.h>
#include <gif_lib.h>

#define BUFFER   (32 * 1024)
#define MAX_SIDE 65535
#define XMP_TAIL 257 /* what ends XMP (its specification, part 3, 1.1.2), but the last byte */

struct iip_writer {
    iip_raster shape;
    iip_enc_opts o;
    iip_sink *sink;
    iip_error *e;
    apr_pool_t *pool;
    int failed; /* the sink did, *e says how; or all is over */
    GifFileType *gif;
    unsigned char *buf;
    size_t n;
};

static iip_status flush(iip_writer_t *w)
{
    const size_t n = w->n;

    w->n = 0;
    if (n > 0 && !w->failed && w->sink->write(w->sink, w->buf, n, w->e) != IIP_OK)
        w->failed = 1;
    return w->failed ? w->e->status : IIP_OK;
}

static int put(iip_writer_t *w, const unsigned char *p, size_t n)
{
    while (n > 0) {
        size_t part = BUFFER - w->n < n ? BUFFER - w->n : n;

        memcpy(w->buf + w->n, p, part);
        w->n += part;
        p += part;
        n -= part;
        if (w->n == BUFFER && flush(w) != IIP_OK)
            return 0;
    }
    return !w->failed;
}

static int put_bytes(GifFileType *gif, const GifByteType *p, int n)
{
    return put(gif->UserData, p, (size_t)n) ? n : 0;
}

static apr_status_t writer_close(void *writer)
{
    iip_writer_t *w = writer;
    int code;

    w->failed = 1; /* giflib ends the file when it closes it */
    if (w->gif)
        EGifCloseFile(w->gif, &code);
    return APR_SUCCESS;
}

static iip_status wrong(const iip_writer_t *w, int code, iip_error *e)
{
    const char *text = GifErrorString(code);

    if (w->failed)
        return e->status;
    if (code == E_GIF_ERR_NOT_ENOUGH_MEM)
        return iip_fail(e, IIP_E_MEMORY, APR_ENOMEM, "writing GIF: no memory");
    return iip_fail(e, IIP_E_IO, 0, "writing GIF: %s", text ? text : "unknown error");
}

static iip_status gif_begin(iip_writer_t **out, const iip_raster *shape, const iip_enc_opts *o, iip_sink *k,
                            apr_pool_t *p, iip_error *e)
{
    iip_writer_t *w = apr_pcalloc(p, sizeof *w);
    int code = 0;

    if (shape->w < 1 || shape->h < 1 || shape->w > MAX_SIDE || shape->h > MAX_SIDE)
        return iip_fail(e, IIP_E_LIMIT, 0, "GIF holds at most %d pixels a side", MAX_SIDE);
    if (shape->sample != IIP_U8 || shape->bands < 1 || shape->bands > 4)
        return iip_fail(e, IIP_E_FEATURE, 0, "GIF of %d bands", shape->bands);
    if (!(w->buf = iip_codec_alloc(BUFFER, p, e)))
        return e->status;
    w->shape = *shape;
    w->o = *o;
    w->sink = k;
    w->e = e;
    w->pool = p;
    if (!(w->gif = EGifOpen(w, put_bytes, &code)))
        return wrong(w, code, e);
    apr_pool_cleanup_register(p, w, writer_close, apr_pool_cleanup_null);
    EGifSetGifVersion(w->gif, true);
    *out = w;
    return IIP_OK;
}

/* Which index is transparent; copyright as a comment; XMP. */
static int put_extensions(iip_writer_t *w, int clear)
{
    GifFileType *g = w->gif;
    const GraphicsControlBlock control = {.TransparentColor = clear};
    GifByteType block[4];
    unsigned char tail[XMP_TAIL] = {1};

    for (int i = 1; i < XMP_TAIL; i++)
        tail[i] = (unsigned char)(256 - i);
    if (clear >= 0 &&
        EGifPutExtension(g, GRAPHICS_EXT_FUNC_CODE, (int)EGifGCBToExtension(&control, block), block) != GIF_OK)
        return 0;
    if (w->o.copyright && EGifPutComment(g, w->o.copyright) != GIF_OK)
        return 0;
    if (w->o.xmp_len == 0)
        return 1;
    return EGifPutExtensionLeader(g, APPLICATION_EXT_FUNC_CODE) == GIF_OK &&
           EGifPutExtensionBlock(g, 11, "XMP DataXMP") == GIF_OK && put(w, w->o.xmp, w->o.xmp_len) &&
           put(w, tail, XMP_TAIL) && EGifPutExtensionTrailer(g) == GIF_OK;
}

static iip_status put_picture(iip_writer_t *w, const iip_palette *pal, unsigned char *index, iip_error *e)
{
    GifFileType *g = w->gif;
    const int width = (int)w->shape.w, height = (int)w->shape.h, bits = pal->count > 2 ? GifBitSize(pal->count) : 1;
    ColorMapObject *map = GifMakeMapObject(1 << bits, NULL);
    int good;

    if (!map)
        return wrong(w, E_GIF_ERR_NOT_ENOUGH_MEM, e);
    for (int i = 0; i < pal->count; i++)
        map->Colors[i] = (GifColorType){pal->colour[i][0], pal->colour[i][1], pal->colour[i][2]};
    good = EGifPutScreenDesc(g, width, height, bits, 0, map) == GIF_OK && put_extensions(w, pal->clear) &&
           EGifPutImageDesc(g, 0, 0, width, height, false, NULL) == GIF_OK;
    GifFreeMapObject(map);
    for (int y = 0; good && y < height; y++)
        good = EGifPutLine(g, index + (size_t)y * (size_t)width, width) == GIF_OK;
    return good ? IIP_OK : wrong(w, g->Error, e);
}

static iip_status gif_rows(iip_writer_t *w, const iip_raster *strip, iip_error *e)
{
    iip_palette pal;
    unsigned char *index;

    w->e = e;
    if (strip->h != w->shape.h || !w->pool)
        return iip_fail(e, IIP_E_IO, 0, "writing GIF: not all rows at once");
    if (!(index = iip_codec_alloc((size_t)(strip->w * strip->h), w->pool, e)) ||
        iip_quantise(strip, &pal, index, w->pool, e) != IIP_OK)
        return e->status;
    w->pool = NULL;
    return put_picture(w, &pal, index, e);
}

static iip_status gif_end(iip_writer_t *w, iip_error *e)
{
    GifFileType *g = w->gif;
    int code = 0;

    w->e = e;
    if (w->pool || !g)
        return iip_fail(e, IIP_E_IO, 0, "writing GIF: rows are missing");
    w->gif = NULL;
    if (EGifCloseFile(g, &code) != GIF_OK)
        return wrong(w, code, e);
    return flush(w);
}

const iip_encoder iip_encoder_gif = {
    .abi = IIP_CODEC_ABI,
    .format = IIP_FMT_GIF,
    .name = "gif",
    .ext = "gif",
    .mime = "image/gif",
    .samples = 1u << IIP_U8,
    .alpha = 1,
    .max_side = MAX_SIDE,
    .whole = 1,
    .cost = 8,
    .no_icc = 1,
    .effort = 46,
    .begin = gif_begin,
    .rows = gif_rows,
    .end = gif_end,
};
#else
typedef int iip_gif_writer_not_built;
#endif
