/* SPDX-License-Identifier: Apache-2.0
 * GIF reader over giflib: the first frame on its canvas. It is decoded as a whole; the reader keeps its indices and
 * looks colours up when they are asked for. */
#ifdef IIP_HAVE_GIF
#include "codec/codec.h"
#include <string.h>
#include <gif_lib.h>

#define BUFFER     (16 * 1024)
#define MAX_HEADER (8 << 20) /* bytes in front of the first frame */
#define XMP_TAIL   257       /* of what ends XMP in a GIF, but the last byte (XMP specification, part 3, 1.1.2) */

typedef struct {
    unsigned char *p;
    size_t n, room;
} block;

struct iip_reader {
    iip_source_t *s;
    apr_pool_t *pool;
    iip_error *e;
    int failed; /* the source did, *e says how */
    GifFileType *gif;
    unsigned char *buf;
    int64_t pos, end; /* in the file, behind what buf holds; what may be read */
    size_t at, got;   /* in buf */
    int64_t w, h;
    iip_rect frame; /* on the canvas, or partly beyond it */
    int bands;
    unsigned char colours[256][4];
    unsigned char *index; /* NULL until it is decoded */
    block icc, xmp;
};

static int gif_sniff(const unsigned char *head, size_t n)
{
    return n >= 6 && (memcmp(head, "GIF87a", 6) == 0 || memcmp(head, "GIF89a", 6) == 0) ? 100 : 0;
}

/* --- giflib's callback and errors --------------------------------------------------------------------------------- */

static int get_bytes(GifFileType *gif, GifByteType *to, int n)
{
    iip_reader_t *r = gif->UserData;
    int done = 0;

    while (done < n) {
        size_t part = r->got - r->at;

        if (part == 0) {
            int64_t left = r->end - r->pos;

            part = left < BUFFER ? (size_t)(left > 0 ? left : 0) : BUFFER;
            if (part == 0)
                return done;
            if (r->s->read(r->s, r->buf, part, r->pos, r->e) != IIP_OK) {
                r->failed = 1;
                return done;
            }
            r->pos += (int64_t)part;
            r->at = 0;
            r->got = part;
            continue;
        }
        if (part > (size_t)(n - done))
            part = (size_t)(n - done);
        memcpy(to + done, r->buf + r->at, part);
        r->at += part;
        done += (int)part;
    }
    return done;
}

static iip_status wrong(iip_reader_t *r, int code, iip_status s, iip_error *e)
{
    const char *text = GifErrorString(code);

    if (r->failed)
        return e->status;
    if (code == D_GIF_ERR_NOT_ENOUGH_MEM)
        return iip_fail(e, IIP_E_MEMORY, APR_ENOMEM, "GIF: no memory");
    return iip_fail(e, s, 0, "GIF: %s", text ? text : "damaged");
}

/* --- in front of the frame ---------------------------------------------------------------------------------------- */

static iip_status append(block *b, const unsigned char *p, size_t n, apr_pool_t *pool, iip_error *e)
{
    if (n > b->room - b->n) {
        size_t room = 2 * b->room + 4096;
        unsigned char *old = b->p;

        if (!(b->p = iip_codec_alloc(room, pool, e)))
            return e->status;
        if (old)
            memcpy(b->p, old, b->n);
        b->room = room;
    }
    memcpy(b->p + b->n, p, n);
    b->n += n;
    return IIP_OK;
}

/* One extension; of a control block the transparent colour, of others a profile or XMP. A part is a length and as many
 * bytes; XMP lies there as if there were no parts, so that lengths are letters of it. */
static iip_status read_extension(iip_reader_t *r, int *clear, iip_error *e)
{
    GraphicsControlBlock control;
    GifByteType *part;
    block *to = NULL;
    int code, first = 1;

    if (DGifGetExtension(r->gif, &code, &part) != GIF_OK)
        return wrong(r, r->gif->Error, IIP_E_FORMAT, e);
    for (; part; first = 0) {
        if (first && code == GRAPHICS_EXT_FUNC_CODE && DGifExtensionToGCB(part[0], part + 1, &control) == GIF_OK)
            *clear = control.TransparentColor;
        else if (first && code == APPLICATION_EXT_FUNC_CODE && part[0] == 11)
            to = memcmp(part + 1, "ICCRGBG1012", 11) == 0   ? &r->icc
                 : memcmp(part + 1, "XMP DataXMP", 11) == 0 ? &r->xmp
                                                            : NULL;
        else if (to == &r->xmp && append(to, part, (size_t)part[0] + 1, r->pool, e) != IIP_OK)
            return e->status;
        else if (to == &r->icc && append(to, part + 1, part[0], r->pool, e) != IIP_OK)
            return e->status;
        if (DGifGetExtensionNext(r->gif, &part) != GIF_OK)
            return wrong(r, r->gif->Error, IIP_E_FORMAT, e);
    }
    return IIP_OK;
}

static iip_status find_frame(iip_reader_t *r, iip_error *e)
{
    const ColorMapObject *map;
    const GifImageDesc *d = &r->gif->Image;
    GifRecordType type;
    int clear = NO_TRANSPARENT_COLOR;

    for (;;) {
        if (DGifGetRecordType(r->gif, &type) != GIF_OK)
            return wrong(r, r->gif->Error, IIP_E_FORMAT, e);
        if (type == IMAGE_DESC_RECORD_TYPE)
            break;
        if (type != EXTENSION_RECORD_TYPE)
            return iip_fail(e, IIP_E_FORMAT, 0, "GIF: no picture in it");
        if (read_extension(r, &clear, e) != IIP_OK)
            return e->status;
    }
    if (DGifGetImageDesc(r->gif) != GIF_OK)
        return wrong(r, r->gif->Error, IIP_E_FORMAT, e);
    map = d->ColorMap ? d->ColorMap : r->gif->SColorMap;
    if (d->Width < 1 || d->Height < 1 || !map)
        return iip_fail(e, IIP_E_FORMAT, 0, "GIF: a frame without pixels or colours");
    r->frame = (iip_rect){d->Left, d->Top, d->Width, d->Height};
    r->w = r->gif->SWidth > 0 ? r->gif->SWidth : d->Left + d->Width;
    r->h = r->gif->SHeight > 0 ? r->gif->SHeight : d->Top + d->Height;
    for (int i = 0; i < 256; i++) /* an index beyond the table is black */
        r->colours[i][3] = 255;
    for (int i = 0; i < map->ColorCount && i < 256; i++)
        memcpy(r->colours[i], (unsigned char[]){map->Colors[i].Red, map->Colors[i].Green, map->Colors[i].Blue}, 3);
    if (clear >= 0 && clear < 256)
        memset(r->colours[clear], 0, 4);
    r->bands = (clear >= 0 && clear < 256) || d->Left > 0 || d->Top > 0 || d->Left + d->Width < r->w ||
                       d->Top + d->Height < r->h
                   ? 4
                   : 3;
    return IIP_OK;
}

static apr_status_t gif_close(void *reader)
{
    iip_reader_t *r = reader;
    int code;

    DGifCloseFile(r->gif, &code);
    return APR_SUCCESS;
}

static iip_status gif_open(iip_reader_t **out, iip_source_t *s, int page, const iip_limits *lim, apr_pool_t *p,
                           iip_error *e)
{
    iip_reader_t *r = apr_pcalloc(p, sizeof *r);
    int code = 0;

    if (page > 0)
        return iip_fail(e, IIP_E_NOT_FOUND, 0, "GIF: page %d of 1", page);
    if (!(r->buf = iip_codec_alloc(BUFFER, p, e)))
        return e->status;
    r->s = s;
    r->pool = p;
    r->e = e;
    r->end = s->id.size < MAX_HEADER ? s->id.size : MAX_HEADER;
    if (!(r->gif = DGifOpen(r, get_bytes, &code)))
        return wrong(r, code, IIP_E_FORMAT, e);
    apr_pool_cleanup_register(p, r, gif_close, apr_pool_cleanup_null);
    if (find_frame(r, e) != IIP_OK)
        return e->status;
    r->end = s->id.size;
    *out = r;
    return IIP_OK;
}

static iip_status gif_info(iip_reader_t *r, iip_info *out, apr_pool_t *p, iip_error *e)
{
    out->levels = out->virtual_from = out->pages = out->layers = out->orientation = 1;
    iip_level_rows(&out->level[0], r->w, r->h, (size_t)r->bands, 1);
    out->bands = r->bands;
    out->bits = 8;
    out->sample = IIP_U8;
    out->space = IIP_RGB;
    out->alpha = r->bands == 4;
    out->hold = (size_t)(r->frame.w * r->frame.h);
    out->decode_cost = 1;
    if (r->icc.n > 0 && r->icc.n <= IIP_READ_ICC) {
        if (!(out->icc = iip_codec_alloc(r->icc.n, p, e)))
            return e->status;
        memcpy((void *)(uintptr_t)out->icc, r->icc.p, out->icc_len = r->icc.n);
    }
    if (r->xmp.n > XMP_TAIL && r->xmp.n - XMP_TAIL <= IIP_READ_XMP && r->xmp.p[r->xmp.n - XMP_TAIL] == 1) {
        if (!(out->xmp = iip_codec_alloc(r->xmp.n - XMP_TAIL, p, e)))
            return e->status;
        memcpy((void *)(uintptr_t)out->xmp, r->xmp.p, out->xmp_len = r->xmp.n - XMP_TAIL);
    }
    return IIP_OK;
}

/* --- pixels ------------------------------------------------------------------------------------------------------- */

static iip_status decode(iip_reader_t *r, iip_error *e)
{
    static const struct {
        int from, step;
    } passes[] = {{0, 8}, {4, 8}, {2, 4}, {1, 2}}, progressive = {0, 1};
    const int interlaced = r->gif->Image.Interlace;
    const size_t w = (size_t)r->frame.w;
    unsigned char *index = iip_codec_alloc(w * (size_t)r->frame.h, r->pool, e);

    if (!index)
        return e->status;
    for (int pass = 0; pass < (interlaced ? 4 : 1); pass++) {
        const int from = interlaced ? passes[pass].from : progressive.from,
                  step = interlaced ? passes[pass].step : progressive.step;

        for (int64_t y = from; y < r->frame.h; y += step)
            if (DGifGetLine(r->gif, index + (size_t)y * w, (int)w) != GIF_OK)
                return wrong(r, r->gif->Error, IIP_E_CORRUPT, e);
    }
    r->index = index;
    return IIP_OK;
}

static iip_status gif_read(iip_reader_t *r, int level, iip_rect want, int layers, iip_raster *out, iip_error *e)
{
    if (level != 0 || want.x < 0 || want.y < 0 || want.w < 1 || want.h < 1 || want.x > r->w - want.w ||
        want.y > r->h - want.h)
        return iip_fail(e, IIP_E_RANGE, 0, "GIF: no such rectangle on level %d", level);
    r->e = e;
    if (!r->index && decode(r, e) != IIP_OK)
        return e->status;
    for (int64_t y = 0; y < want.h; y++) {
        const int64_t row = want.y + y - r->frame.y;
        const unsigned char *from = r->index + row * r->frame.w;
        unsigned char *to = out->px + (size_t)y * out->stride;

        for (int64_t x = want.x - r->frame.x; x < want.x - r->frame.x + want.w; x++, to += r->bands)
            if (row < 0 || row >= r->frame.h || x < 0 || x >= r->frame.w)
                memset(to, 0, 4); /* the frame does not cover this: there is alpha */
            else
                memcpy(to, r->colours[from[x]], (size_t)r->bands);
    }
    return IIP_OK;
}

const iip_decoder iip_decoder_gif = {
    .abi = IIP_CODEC_ABI,
    .name = "gif",
    .priority = 100,
    .sniff = gif_sniff,
    .open = gif_open,
    .info = gif_info,
    .read = gif_read,
};
#else
typedef int iip_gif_reader_not_built;
#endif
