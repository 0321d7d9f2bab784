/* SPDX-License-Identifier: Apache-2.0
 * WebP reader over libwebp: lossy, lossless, alpha; of an animation the first frame on its canvas.
 *
 * A WebP file is decoded as a whole; the reader keeps the picture. The container (RFC 9649) is walked here chunk by
 * chunk, eight bytes each, since libwebp's own demuxer wants the whole file in memory only to find its metadata. */
#include "codec/codec.h"
#include <string.h>
#include <webp/decode.h>

#define MAX_CHUNKS 4096 /* an animation has one a frame; metadata behind more is not looked for */
#define HEAD       40   /* bytes that hold the size of either coding, with its chunk's header */

typedef struct {
    int64_t at;
    size_t n;
} place;

struct iip_reader {
    iip_source_t *s;
    apr_pool_t *pool;
    int extended; /* there is a canvas */
    int animated;
    place frame; /* the chunks of the picture, alpha first */
    iip_rect at; /* of the frame on the canvas */
    int64_t w, h;
    int alpha, lossless;
    place icc, exif, xmp;
    iip_raster all; /* px NULL until it is decoded */
};

static uint32_t le32(const unsigned char *p)
{
    return p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static int64_t le24(const unsigned char *p)
{
    return p[0] | p[1] << 8 | p[2] << 16;
}

static int webp_sniff(const unsigned char *head, size_t n)
{
    return n >= 12 && memcmp(head, "RIFF", 4) == 0 && memcmp(head + 8, "WEBP", 4) == 0 ? 100 : 0;
}

/* --- the container ------------------------------------------------------------------------------------------------ */

static void note(place *where, int64_t at, size_t n)
{
    if (where->at == 0)
        *where = (place){at, n};
}

/* The chunk of the pixels themselves: its size must be that of the frame, as alpha's has no other. */
static iip_status note_pixels(iip_reader_t *r, int64_t at, size_t n, iip_error *e)
{
    unsigned char head[HEAD];
    WebPBitstreamFeatures f;
    int64_t left = r->s->id.size - at;
    size_t got = n + 8 < HEAD ? n + 8 : HEAD;

    if (got > (size_t)left)
        got = (size_t)left;
    if (r->s->read(r->s, head, got, at, e) != IIP_OK)
        return e->status;
    if (WebPGetFeatures(head, got, &f) != VP8_STATUS_OK)
        return iip_fail(e, IIP_E_FORMAT, 0, "WebP: header of a picture is wrong");
    if (!r->extended) {
        r->w = r->at.w = f.width;
        r->h = r->at.h = f.height;
    } else if (!r->animated) {
        r->at = (iip_rect){0, 0, r->w, r->h};
    }
    if (f.width != r->at.w || f.height != r->at.h)
        return iip_fail(e, IIP_E_FORMAT, 0, "WebP: a picture of %d x %d on a canvas of another size", f.width,
                        f.height);
    r->alpha |= f.has_alpha || r->frame.at || r->at.w != r->w || r->at.h != r->h;
    r->lossless = f.format == 2;
    note(&r->frame, at, 0);
    r->frame.n = (size_t)(at - r->frame.at) + 8 + n;
    return IIP_OK;
}

/* Walks the chunks in [at, end): those of the file, or of its first frame. */
static iip_status walk(iip_reader_t *r, int64_t at, int64_t end, int inner, iip_error *e)
{
    unsigned char head[8 + 16];
    int pixels = 0;

    for (int i = 0; i < MAX_CHUNKS && end - at >= 8; i++) {
        const size_t had = end - at < (int64_t)sizeof head ? (size_t)(end - at) : sizeof head;
        int64_t n, body = at + 8;
        iip_status rv = IIP_OK;

        if (r->s->read(r->s, head, had, at, e) != IIP_OK)
            return e->status;
        n = le32(head + 4);
#define IS(name) (memcmp(head, name, 4) == 0)
        if (IS("VP8 ") || IS("VP8L")) {
            if (!pixels && !(r->animated && !inner))
                rv = note_pixels(r, at, (size_t)n, e);
            pixels = 1;
        } else if (IS("ALPH") && !pixels && inner == r->animated) {
            note(&r->frame, at, 0);
        } else if (!inner && i == 0 && IS("VP8X")) {
            if (n < 10 || had < 18)
                return iip_fail(e, IIP_E_FORMAT, 0, "WebP: its first chunk is short");
            r->extended = 1;
            r->animated = head[8] >> 1 & 1;
            r->w = le24(head + 12) + 1;
            r->h = le24(head + 15) + 1;
            if (r->w * r->h > UINT32_MAX)
                return iip_fail(e, IIP_E_FORMAT, 0, "WebP: a canvas larger than the format allows");
        } else if (!inner && IS("ANMF") && r->animated && !pixels) {
            if (n < 16 || had < sizeof head)
                return iip_fail(e, IIP_E_FORMAT, 0, "WebP: a frame is short");
            r->at = (iip_rect){2 * le24(head + 8), 2 * le24(head + 11), le24(head + 14) + 1, le24(head + 17) + 1};
            if (r->at.x > r->w - r->at.w || r->at.y > r->h - r->at.h)
                return iip_fail(e, IIP_E_FORMAT, 0, "WebP: a frame lies outside the canvas");
            pixels = 1;
            rv = walk(r, body + 16, body + n < end ? body + n : end, 1, e);
        } else if (!inner && body + n <= end) {
            if (IS("ICCP"))
                note(&r->icc, body, (size_t)n);
            else if (IS("EXIF"))
                note(&r->exif, body, (size_t)n);
            else if (IS("XMP "))
                note(&r->xmp, body, (size_t)n);
        }
        if (rv != IIP_OK || (!inner && i == 0 && !r->extended))
            return rv; /* the simple file is one chunk */
        at = body + n + (n & 1);
    }
    return IIP_OK;
}

static iip_status webp_open(iip_reader_t **out, iip_source_t *s, int page, const iip_limits *lim, apr_pool_t *p,
                            iip_error *e)
{
    iip_reader_t *r = apr_pcalloc(p, sizeof *r);
    unsigned char head[12];
    int64_t end;

    if (page > 0)
        return iip_fail(e, IIP_E_NOT_FOUND, 0, "WebP: page %d of 1", page);
    r->s = s;
    r->pool = p;
    if (s->read(s, head, sizeof head, 0, e) != IIP_OK)
        return e->status;
    if (!webp_sniff(head, sizeof head))
        return iip_fail(e, IIP_E_FORMAT, 0, "not WebP");
    end = 8 + (int64_t)le32(head + 4);
    if (walk(r, sizeof head, end < s->id.size ? end : s->id.size, 0, e) != IIP_OK)
        return e->status;
    if (r->frame.n == 0)
        return iip_fail(e, IIP_E_FORMAT, 0, "WebP: no picture in it");
    r->all = (iip_raster){.w = r->w, .h = r->h, .bands = 3 + r->alpha, .sample = IIP_U8};
    r->all.stride = (size_t)r->w * (size_t)r->all.bands;
    *out = r;
    return IIP_OK;
}

/* --- the header's contents ---------------------------------------------------------------------------------------- */

static iip_status fetch(iip_reader_t *r, place from, size_t most, const void **mem, size_t *n, apr_pool_t *p,
                        iip_error *e)
{
    if (from.n == 0 || from.n > most)
        return IIP_OK; /* left out */
    *mem = iip_codec_fetch(r->s, from.at, from.n, p, e);
    *n = from.n;
    return *mem ? IIP_OK : e->status;
}

static iip_status webp_info(iip_reader_t *r, iip_info *out, apr_pool_t *p, iip_error *e)
{
    out->levels = out->virtual_from = out->pages = out->layers = 1;
    iip_level_rows(&out->level[0], r->w, r->h, (size_t)r->all.bands, 1);
    out->bands = r->all.bands;
    out->bits = 8;
    out->sample = IIP_U8;
    out->space = IIP_RGB;
    out->alpha = r->alpha;
    out->hold = r->all.stride * (size_t)r->h + r->frame.n;
    if (r->lossless)
        out->hold += (size_t)(r->at.w * r->at.h) * 4; /* libwebp's own, while it decodes */
    out->decode_cost = r->lossless ? 2 : 1.5;
    if (fetch(r, r->icc, IIP_READ_ICC, &out->icc, &out->icc_len, p, e) != IIP_OK ||
        fetch(r, r->exif, IIP_READ_XMP, &out->exif, &out->exif_len, p, e) != IIP_OK ||
        fetch(r, r->xmp, IIP_READ_XMP, &out->xmp, &out->xmp_len, p, e) != IIP_OK)
        return e->status;
    if (out->exif_len > 6 && memcmp(out->exif, "Exif\0", 6) == 0) { /* some writers keep JPEG's name in front */
        out->exif = (const unsigned char *)out->exif + 6;
        out->exif_len -= 6;
    }
    out->orientation = iip_exif_orientation(out->exif, out->exif_len);
    iip_exif_resolution(out->exif, out->exif_len, &out->res_x, &out->res_y);
    return IIP_OK;
}

/* --- pixels ------------------------------------------------------------------------------------------------------- */

static iip_status decode(iip_reader_t *r, apr_pool_t *tmp, iip_error *e)
{
    const size_t size = r->all.stride * (size_t)r->h, skip = (size_t)r->at.y * r->all.stride,
                 left = (size_t)r->at.x * (size_t)r->all.bands;
    const unsigned char *data = iip_codec_fetch(r->s, r->frame.at, r->frame.n, tmp, e);
    unsigned char *px = data ? iip_codec_alloc(size, r->pool, e) : NULL;
    WebPDecoderConfig c;
    VP8StatusCode rv;

    if (!px)
        return e->status;
    if (!WebPInitDecoderConfig(&c))
        return iip_fail(e, IIP_E_IO, 0, "WebP: another version of the library");
    if (r->at.w != r->w || r->at.h != r->h)
        memset(px, 0, size);
    c.output.colorspace = r->alpha ? MODE_RGBA : MODE_RGB;
    c.output.is_external_memory = 1;
    c.output.u.RGBA.rgba = px + skip + left;
    c.output.u.RGBA.stride = (int)r->all.stride;
    c.output.u.RGBA.size = size - skip - left;
    rv = WebPDecode(data, r->frame.n, &c);
    WebPFreeDecBuffer(&c.output);
    if (rv != VP8_STATUS_OK)
        return iip_fail(e, rv == VP8_STATUS_OUT_OF_MEMORY ? IIP_E_MEMORY : IIP_E_CORRUPT, 0, "WebP: decoding gave %d",
                        rv);
    r->all.px = px;
    return IIP_OK;
}

static iip_status webp_read(iip_reader_t *r, int level, iip_rect want, int layers, iip_raster *out, iip_error *e)
{
    if (level != 0)
        return iip_fail(e, IIP_E_RANGE, 0, "WebP: no level %d", level);
    if (!r->all.px) {
        apr_pool_t *tmp;
        iip_status rv;

        apr_pool_create(&tmp, r->pool);
        rv = decode(r, tmp, e);
        apr_pool_destroy(tmp);
        if (rv != IIP_OK)
            return rv;
    }
    return iip_raster_cut(&r->all, want, out, e);
}

const iip_decoder iip_decoder_webp = {
    .abi = IIP_CODEC_ABI,
    .name = "webp",
    .priority = 100,
    .sniff = webp_sniff,
    .open = webp_open,
    .info = webp_info,
    .read = webp_read,
};
