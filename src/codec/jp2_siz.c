/* SPDX-License-Identifier: Apache-2.0
 * JPEG 2000: the headers of a code-stream (T.800 annex A) and its tile-parts. Everything that would make OpenJPEG work
 * or allocate without measure is refused here, before it sees a byte. */
#include "codec/jp2_siz.h"
#include <stdlib.h>
#include <string.h>

#define MOST_HEAD     (4u << 20) /* bytes of segments worth keeping */
#define MOST_SEGMENTS (1 << 22)
#define MOST_TILES    65535
#define HT_MIXED      0x80

iip_status iip_jp2_window_open(iip_jp2_window *w, const iip_jp2_file *f, iip_error *e)
{
    *w = (iip_jp2_window){.f = f, .e = e, .buf = malloc(IIP_JP2_WINDOW)};
    return w->buf ? IIP_OK : iip_fail(e, IIP_E_MEMORY, APR_ENOMEM, "JPEG 2000: no memory for a header");
}

const unsigned char *iip_jp2_look(iip_jp2_window *w, int64_t off, size_t n)
{
    if (off < w->at || off + (int64_t)n > w->at + (int64_t)w->n) {
        int64_t left = w->f->len - off;

        w->n = 0;
        if (left < (int64_t)n) {
            iip_jp2_damaged(w->e, "the code-stream ends too early");
            return NULL;
        }
        left = left < IIP_JP2_WINDOW ? left : IIP_JP2_WINDOW;
        if (iip_jp2_bytes(w->f, w->buf, (size_t)left, off, w->e) != IIP_OK)
            return NULL;
        w->at = off;
        w->n = (size_t)left;
    }
    return w->buf + (off - w->at);
}

iip_status iip_jp2_segment(iip_jp2_window *w, int64_t at, int64_t end, unsigned *marker, int64_t *len)
{
    const unsigned char *v;

    *len = 2;
    if (end - at < 2)
        return iip_jp2_damaged(w->e, "a header ends too early");
    if (!(v = iip_jp2_look(w, at, 2)))
        return w->e->status;
    *marker = iip_jp2_be16(v);
    if (*marker == SOT || *marker == SOD)
        return IIP_OK;
    if (*marker < 0xff50 || *marker >= SOT)
        return iip_jp2_damaged(w->e, "what is no marker segment stands in a header");
    if (end - at < 4)
        return iip_jp2_damaged(w->e, "a header ends too early");
    if (!(v = iip_jp2_look(w, at, 4)))
        return w->e->status;
    *len = 2 + (int64_t)iip_jp2_be16(v + 2);
    if (*len < 4 || *len > end - at)
        return iip_jp2_damaged(w->e, "a marker segment is longer than its header");
    return ++w->segments > MOST_SEGMENTS ? iip_jp2_bad(w->e, "too many marker segments") : IIP_OK;
}

/* --- size --- */

static iip_status grid(iip_jp2_head *h, const unsigned char *v, iip_error *e)
{
    int64_t n[8];

    for (int i = 0; i < 8; i++) {
        n[i] = iip_jp2_be32(v + 4 * i);
        if (i < 2 && n[i] > INT32_MAX)
            return iip_jp2_bad(e, "sizes above 2147483647");
    }
    h->x1 = n[0], h->y1 = n[1], h->x0 = n[2], h->y0 = n[3];
    h->tw = n[4], h->th = n[5], h->tx0 = n[6], h->ty0 = n[7];
    if (h->x1 <= h->x0 || h->y1 <= h->y0 || h->tw < 1 || h->th < 1 || h->tx0 > h->x0 || h->ty0 > h->y0 ||
        h->tx0 + h->tw <= h->x0 || h->ty0 + h->th <= h->y0)
        return iip_jp2_bad(e, "sizes that contradict each other");
    h->columns = iip_jp2_ceil(h->x1 - h->tx0, h->tw);
    h->rows = iip_jp2_ceil(h->y1 - h->ty0, h->th);
    if (h->columns * h->rows > MOST_TILES)
        return iip_jp2_bad(e, "more than 65535 tiles");
    return IIP_OK;
}

/* v: the segment from its marker on. */
static iip_status siz(iip_jp2_head *h, const unsigned char *v, size_t n, apr_pool_t *p, iip_error *e)
{
    int fits = 1;

    if (n < 43)
        return iip_jp2_damaged(e, "a SIZ segment cut short");
    h->comps = (int)iip_jp2_be16(v + 38);
    if (n != 40 + 3 * (size_t)h->comps)
        return iip_jp2_damaged(e, "a SIZ segment of a wrong length");
    if (h->comps < 1 || h->comps > IIP_JP2_COMPS)
        return iip_jp2_bad(e, "no or more than 16384 components");
    if (grid(h, v + 6, e) != IIP_OK)
        return e->status;
    h->comp = apr_palloc(p, (size_t)h->comps * sizeof *h->comp);
    h->dx = h->dy = 255;
    for (int c = 0; c < h->comps; c++) {
        const unsigned char *q = v + 40 + 3 * c;

        h->comp[c] = (iip_jp2_comp){q[1], q[2], (q[0] & 127) + 1, q[0] >> 7};
        if (h->comp[c].bits > 31 || q[1] == 0 || q[2] == 0)
            return iip_jp2_bad(e, "components of more than 31 bits or of no samples");
        h->dx = q[1] < h->dx ? q[1] : h->dx;
        h->dy = q[2] < h->dy ? q[2] : h->dy;
    }
    for (int c = 0; c < h->comps; c++)
        fits &= h->comp[c].dx % h->dx == 0 && h->comp[c].dy % h->dy == 0;
    if (!fits)
        h->dx = h->dy = 1;
    return IIP_OK;
}

/* --- coding styles --- */

/* SPcod or SPcoc; own: precinct sizes are given. */
static iip_status spcod(iip_jp2_coding *c, const unsigned char *v, size_t n, int own, iip_error *e)
{
    if (n < 5 || v[0] >= IIP_JP2_RES || n < 5 + (size_t)(own ? v[0] + 1 : 0))
        return iip_jp2_damaged(e, "a coding style cut short");
    c->levels = v[0];
    c->xcb = (v[1] & 15) + 2;
    c->ycb = (v[2] & 15) + 2;
    c->style = v[3];
    c->wavelet = v[4];
    if (c->xcb > 10 || c->ycb > 10 || c->xcb + c->ycb > 12)
        return iip_jp2_bad(e, "code-blocks of more than 4096 samples");
    if (c->wavelet > 1)
        return iip_jp2_bad(e, "a wavelet of Part 2");
    if (c->style & HT_MIXED)
        return iip_jp2_bad(e, "code-blocks of both kinds in one component");
    for (int r = 0; r <= c->levels; r++) {
        c->precinct[r] = own ? v[5 + r] : 0xff;
        if (r > 0 && ((c->precinct[r] & 15) == 0 || c->precinct[r] >> 4 == 0))
            return iip_jp2_bad(e, "precincts of a single sample");
    }
    return IIP_OK;
}

iip_status iip_jp2_style(const iip_jp2_head *h, iip_jp2_coding *coding, const unsigned char *v, size_t n, iip_error *e)
{
    const size_t wide = h->comps < 257 ? 1 : 2;
    unsigned c;

    if (iip_jp2_be16(v) == COD) {
        if (n < 9 || spcod(&coding[0], v + 9, n - 9, v[4] & 1, e) != IIP_OK)
            return n < 9 ? iip_jp2_damaged(e, "a COD segment cut short") : e->status;
        coding[0].layers = (unsigned short)iip_jp2_be16(v + 6);
        coding[0].order = v[5];
        coding[0].marked = v[4] & (IIP_JP2_SOP | IIP_JP2_EPH);
        coding[0].mct = v[8];
        for (int i = 1; i < h->comps; i++)
            coding[i] = coding[0];
        return IIP_OK;
    }
    if (n < 5 + wide)
        return iip_jp2_damaged(e, "a COC segment cut short");
    c = wide == 1 ? v[4] : iip_jp2_be16(v + 4);
    if (c >= (unsigned)h->comps)
        return iip_jp2_damaged(e, "a COC segment for no component");
    return spcod(&coding[c], v + 5 + wide, n - 5 - wide, v[4 + wide] & 1, e);
}

/* --- the main header --- */

typedef struct {
    int64_t at;
    size_t len;
} packed_part;

static int kept(unsigned marker)
{
    static const unsigned short all[] = {CAP, SIZ, COD, COC, QCD, QCC, RGN, POC, MCT, MCC, MCO, CBD};

    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        if (all[i] == marker)
            return 1;
    return 0;
}

/* Bytes of the main header that are kept (*bytes, into h->head where there is room for them), to its end. ppm: places
 * of the PPM segments' data by their index. */
static iip_status main_segments(iip_jp2_head *h, iip_jp2_window *w, int64_t *end, size_t *bytes, packed_part *ppm)
{
    int64_t at = 2, len;
    unsigned marker;

    for (*bytes = 0;; at += len) {
        if (iip_jp2_segment(w, at, h->f->len, &marker, &len) != IIP_OK)
            return w->e->status;
        if (marker == SOT || (marker == SIZ) != (at == 2))
            break;
        if (marker == PPM && !h->head) {
            const unsigned char *v = len < 5 ? NULL : iip_jp2_look(w, at, 5);

            if (!v)
                return len < 5 ? iip_jp2_damaged(w->e, "an empty PPM segment") : w->e->status;
            if (ppm[v[4]].at)
                return iip_jp2_damaged(w->e, "a PPM segment twice");
            ppm[v[4]] = (packed_part){at + 5, (size_t)len - 5};
        } else if (kept(marker)) {
            if (h->head && iip_jp2_bytes(h->f, h->head + *bytes, (size_t)len, at, w->e) != IIP_OK)
                return w->e->status;
            if ((*bytes += (size_t)len) > MOST_HEAD)
                return iip_jp2_bad(w->e, "a main header of more than 4 MiB");
        }
    }
    *end = at;
    return marker == SOT && at > 2 ? IIP_OK : iip_jp2_damaged(w->e, "no SIZ segment, or not where it should be");
}

static iip_status gather_packed(iip_jp2_head *h, const packed_part *ppm, apr_pool_t *p, iip_error *e)
{
    size_t n = 0;

    for (int i = 0; i < 256; i++)
        n += ppm[i].len;
    if (n == 0)
        return IIP_OK;
    h->apart = 1;
    if (!(h->packed = iip_codec_alloc(n, p, e)))
        return e->status;
    for (int i = 0; i < 256; h->packed_len += ppm[i++].len)
        if (ppm[i].len && iip_jp2_bytes(h->f, h->packed + h->packed_len, ppm[i].len, ppm[i].at, e) != IIP_OK)
            return e->status;
    return IIP_OK;
}

static iip_status styles(iip_jp2_head *h, apr_pool_t *p, iip_error *e)
{
    int cods = 0;

    if (!(h->coding = iip_codec_alloc((size_t)h->comps * sizeof *h->coding, p, e)))
        return e->status;
    memset(h->coding, 0, (size_t)h->comps * sizeof *h->coding);
    for (int pass = 0; pass < 2; pass++)
        for (size_t at = 0, len; at < h->head_len; at += len) {
            const unsigned char *v = h->head + at;

            len = 2 + (size_t)iip_jp2_be16(v + 2);
            if (iip_jp2_be16(v) != (pass ? COC : COD))
                continue;
            if ((pass == 0 && cods++) || iip_jp2_style(h, h->coding, v, len, e) != IIP_OK)
                return cods > 1 ? iip_jp2_damaged(e, "two COD segments") : e->status;
            if (pass == 0) {
                h->marked = h->coding[0].marked;
                h->layers = h->coding[0].layers;
            }
        }
    if (!cods || !h->layers)
        return iip_jp2_damaged(e, "no COD segment, or no layers in it");
    return IIP_OK;
}

static iip_status main_header(iip_jp2_head *h, iip_jp2_window *w, int64_t *end, apr_pool_t *p)
{
    packed_part *ppm = apr_pcalloc(p, 256 * sizeof *ppm);
    const unsigned char *v = iip_jp2_look(w, 0, 2);

    if (!v || iip_jp2_be16(v) != SOC)
        return v ? iip_jp2_damaged(w->e, "no code-stream where one should begin") : w->e->status;
    if (main_segments(h, w, end, &h->head_len, ppm) != IIP_OK || !(h->head = iip_codec_alloc(h->head_len, p, w->e)) ||
        main_segments(h, w, end, &h->head_len, NULL) != IIP_OK ||
        siz(h, h->head, 2 + (size_t)iip_jp2_be16(h->head + 2), p, w->e) != IIP_OK || styles(h, p, w->e) != IIP_OK)
        return w->e->status;
    h->main_len = *end;
    return gather_packed(h, ppm, p, w->e);
}

/* --- outside --- */

/* Notes what tiles need that have no coding style of their own. */
static iip_status default_tiles(iip_jp2_head *h, iip_error *e)
{
    const int64_t w = h->x1 - h->x0, high = h->y1 - h->y0;

    if (h->columns * h->rows == 1)
        return iip_jp2_note(h, h->coding, iip_jp2_tile_box(h, 0), 0, e);
    return iip_jp2_note(h, h->coding, (iip_jp2_box){0, 0, h->tw < w ? h->tw : w, h->th < high ? h->th : high}, 1, e);
}

iip_status iip_jp2_head_read(iip_jp2_head *h, const iip_jp2_file *f, int any, apr_pool_t *p, iip_error *e)
{
    iip_jp2_window w;
    int64_t at;

    memset(h, 0, sizeof *h);
    h->f = f;
    h->levels = IIP_JP2_RES;
    e->status = IIP_OK;
    if (iip_jp2_window_open(&w, f, e) != IIP_OK)
        return e->status;
    if (main_header(h, &w, &at, p) == IIP_OK && !any && h->comps > IIP_JP2_BANDS)
        iip_jp2_bad(e, "more than 1024 components");
    if (e->status == IIP_OK && (any || default_tiles(h, e) == IIP_OK) && iip_jp2_parts(h, &w, at, any, p) == IIP_OK &&
        !any)
        iip_jp2_levels(h, e);
    free(w.buf);
    return e->status;
}
