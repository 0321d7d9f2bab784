/* SPDX-License-Identifier: Apache-2.0
 * Profile, gamma, XMP, EXIF and resolution of a PNG file (PNG specification, section 11.3). */
#include "codec/png_meta.h"
#include "codec/icc_make.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

static uint32_t be32(const unsigned char *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

/* Inflates n bytes into memory of p, most at most. *len 0: they are damaged; IIP_E_FORMAT: more than most. */
static iip_status inflate_all(const unsigned char *from, size_t n, size_t most, const void **out, size_t *len,
                              apr_pool_t *p, iip_error *e)
{
    z_stream z = {.next_in = (Bytef *)(uintptr_t)from, .avail_in = (uInt)n};
    size_t room = n < most / 8 ? 8 * n + 64 : most;
    unsigned char *mem = iip_codec_alloc(room, p, e);
    int rv;

    if (!mem)
        return e->status;
    if (inflateInit(&z) != Z_OK)
        return iip_fail(e, IIP_E_MEMORY, APR_ENOMEM, "PNG: no memory to inflate");
    z.next_out = mem;
    z.avail_out = (uInt)room;
    while ((rv = inflate(&z, Z_FINISH)) == Z_BUF_ERROR && z.avail_out == 0 && room < most) {
        unsigned char *old = mem;

        if (!(mem = iip_codec_alloc(most, p, e))) {
            inflateEnd(&z);
            return e->status;
        }
        memcpy(mem, old, room);
        z.next_out = mem + room;
        z.avail_out = (uInt)(most - room);
        room = most;
    }
    inflateEnd(&z);
    if (rv == Z_STREAM_END) {
        *out = mem;
        *len = z.total_out;
    } else if (z.avail_out == 0 && rv == Z_BUF_ERROR) {
        return iip_fail(e, IIP_E_FORMAT, 0, "PNG: a chunk inflates to more than %zu bytes", most);
    }
    return IIP_OK;
}

/* A name, NUL, the method (0), then the profile deflated. */
static iip_status read_icc(const png_places *at, iip_source_t *s, iip_info *out, apr_pool_t *p, apr_pool_t *tmp,
                           iip_error *e)
{
    const unsigned char *mem = iip_codec_fetch(s, at->icc.at, at->icc.n, tmp, e), *nul;

    if (!mem)
        return e->status;
    nul = memchr(mem, 0, at->icc.n < 80 ? at->icc.n : 80);
    if (!nul || (size_t)(nul - mem) + 2 > at->icc.n || nul[1] != 0)
        return IIP_OK;
    return inflate_all(nul + 2, at->icc.n - (size_t)(nul + 2 - mem), IIP_READ_ICC, &out->icc, &out->icc_len, p, e);
}

/* Behind the keyword: is it deflated, the method (0), language, translated keyword, both ended by NUL; text. */
static iip_status read_xmp(const png_places *at, iip_source_t *s, iip_info *out, apr_pool_t *p, iip_error *e)
{
    const unsigned char *mem = iip_codec_fetch(s, at->xmp.at, at->xmp.n, p, e), *text = mem, *end = mem + at->xmp.n;
    int deflated;
    iip_status rv;

    if (!mem)
        return e->status;
    if (at->xmp.n < 4 || mem[1] != 0)
        return IIP_OK;
    deflated = mem[0];
    text += 2;
    for (int i = 0; i < 2; i++) {
        text = memchr(text, 0, (size_t)(end - text));
        if (!text)
            return IIP_OK;
        text++;
    }
    if (!deflated) {
        out->xmp = text;
        out->xmp_len = (size_t)(end - text);
        return IIP_OK;
    }
    rv = inflate_all(text, (size_t)(end - text), IIP_READ_XMP, &out->xmp, &out->xmp_len, p, e);
    return rv == IIP_E_FORMAT ? IIP_OK : rv; /* too long: left out */
}

/* Values of a picture that says by number what they mean: sRGB needs no words, and 1/2.2 is what it is taken for. */
static iip_status read_gamma(const png_places *at, iip_source_t *s, iip_info *out, apr_pool_t *p, iip_error *e)
{
    static const double srgb[8] = {0.3127, 0.3290, 0.64, 0.33, 0.30, 0.60, 0.15, 0.06};
    unsigned char raw[32];
    double gamma, xy[8], off = 0;

    if (s->read(s, raw, 4, at->gamma.at, e) != IIP_OK)
        return e->status;
    gamma = be32(raw) / 100000.0;
    memcpy(xy, srgb, sizeof xy);
    if (at->primaries.at && out->space == IIP_RGB) {
        if (s->read(s, raw, 32, at->primaries.at, e) != IIP_OK)
            return e->status;
        for (int i = 0; i < 8; i++) {
            xy[i] = be32(raw + 4 * i) / 100000.0;
            off = fmax(off, fabs(xy[i] - srgb[i]));
        }
    }
    if (gamma < 0.01 || gamma > 100 || (fabs(gamma * 2.2 - 1) < 0.05 && off < 0.01))
        return IIP_OK;
    return iip_icc_make(xy, 1 / gamma, out->space == IIP_RGB ? 3 : 1, &out->icc, &out->icc_len, p, e);
}

iip_status iip_png_meta(const png_places *at, iip_source_t *s, iip_info *out, apr_pool_t *p, iip_error *e)
{
    unsigned char raw[9];
    int numbered = 0;
    iip_status rv = IIP_OK;

    if (at->numbers.at) { /* above all others (PNG, third edition, 4.3); the third of them says that they are RGB */
        if (s->read(s, raw, 4, at->numbers.at, e) != IIP_OK)
            return e->status;
        numbered = raw[2] == 0;
    }
    if (numbered) {
        rv = iip_icc_of_numbers(raw[0], raw[1], out->space == IIP_RGB ? 3 : 1, &out->icc, &out->icc_len, p, e);
    } else if (at->icc.at) {
        apr_pool_t *tmp;

        apr_pool_create(&tmp, p);
        rv = read_icc(at, s, out, p, tmp, e);
        apr_pool_destroy(tmp);
    } else if (at->gamma.at && !at->srgb.at) {
        rv = read_gamma(at, s, out, p, e);
    }
    if (rv == IIP_OK && at->xmp.at && at->xmp.n <= IIP_READ_XMP)
        rv = read_xmp(at, s, out, p, e);
    if (rv == IIP_OK && at->exif.at && at->exif.n <= IIP_READ_XMP) {
        if (!(out->exif = iip_codec_fetch(s, at->exif.at, at->exif.n, p, e)))
            return e->status;
        out->exif_len = at->exif.n;
        out->orientation = iip_exif_orientation(out->exif, out->exif_len);
        iip_exif_resolution(out->exif, out->exif_len, &out->res_x, &out->res_y);
    }
    if (rv == IIP_OK && at->size.at) {
        if (s->read(s, raw, sizeof raw, at->size.at, e) != IIP_OK)
            return e->status;
        if (raw[8] == 1 && be32(raw) && be32(raw + 4)) { /* pixels a metre */
            out->res_x = be32(raw) / 100.0;
            out->res_y = be32(raw + 4) / 100.0;
        }
    }
    return rv;
}
