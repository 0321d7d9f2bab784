/* SPDX-License-Identifier: Apache-2.0
 * TIFF: what a stored tile is when taken by itself. Only headers are read; pixels are the business of whoever gets it.
 */
#include "codec/tiff_dir.h"
#include <string.h>

enum {
    SOF0 = 0xC0,
    SOF2 = 0xC2,
    DHT = 0xC4,
    RST0 = 0xD0,
    SOI = 0xD8,
    EOI = 0xD9,
    SOS = 0xDA,
    DQT = 0xDB,
    APP0 = 0xE0,
    APP14 = 0xEE
};

static int word(const unsigned char *p)
{
    return p[0] << 8 | p[1];
}

static int frame(const unsigned char *p, size_t n, int marker, iip_tiff_jpeg *j)
{
    if (n < 6 || j->sof)
        return 0;
    j->sof = marker;
    j->precision = p[0];
    j->h = word(p + 1);
    j->w = word(p + 3);
    j->comps = p[5];
    if (n < 6 + 3 * (size_t)j->comps)
        return 0;
    for (int i = 0; i < j->comps && i < 4; i++) {
        j->id[i] = p[6 + 3 * i];
        j->sub_x[i] = p[7 + 3 * i] >> 4;
        j->sub_y[i] = p[7 + 3 * i] & 15;
    }
    return 1;
}

/* Huffman tables as every decoder will take them (ITU-T T.81, B.2.4.2 and annex C): symbols that are there, codes that
 * do not run out of bits. A damaged table spoils each tile of the picture. */
static int huffman_good(const unsigned char *s, size_t len)
{
    while (len >= 17) {
        unsigned symbols = 0, code = 0;

        for (int bits = 1; bits <= 16; bits++) {
            code = 2 * code + s[bits];
            symbols += s[bits];
            if (code > 1u << bits)
                return 0;
        }
        if ((s[0] & ~0x13) != 0 || symbols > 256 || 17 + symbols > len)
            return 0;
        for (unsigned i = 0; s[0] < 0x10 && i < symbols; i++)
            if (s[17 + i] > 15)
                return 0;
        s += 17 + symbols;
        len -= 17 + symbols;
    }
    return len == 0;
}

int iip_tiff_jpeg_look(const unsigned char *p, size_t n, iip_tiff_jpeg *j)
{
    size_t at = 2;

    memset(j, 0, sizeof *j);
    j->adobe = -1;
    if (n < 4 || p[0] != 0xFF || p[1] != SOI)
        return 0;
    for (;;) {
        const unsigned char *s;
        size_t len;
        int marker;

        if (at + 2 > n || p[at] != 0xFF)
            return 0;
        while (at + 2 < n && p[at + 1] == 0xFF)
            at++; /* fill bytes */
        marker = p[at + 1];
        if (marker == SOS || marker == EOI) {
            j->at = at;
            j->tables = marker == EOI && !j->sof;
            return j->tables || (marker == SOS && j->sof);
        }
        if (at + 4 > n || marker < SOF0 || (marker >= RST0 && marker <= EOI))
            return 0;
        s = p + at + 4;
        len = (size_t)word(p + at + 2);
        if (len < 2 || len > n - at - 2)
            return 0;
        at += 2 + len;
        len -= 2;
        if (marker == DHT && !huffman_good(s, len))
            return 0;
        if (marker == DHT)
            j->dht = 1;
        else if (marker == DQT)
            j->dqt = 1;
        else if (marker == APP0 && len >= 5 && !memcmp(s, "JFIF", 5))
            j->jfif = 1;
        else if (marker == APP14 && len >= 12 && !memcmp(s, "Adobe", 5))
            j->adobe = s[11];
        else if (marker >= SOF0 && marker <= 0xCF && marker != 0xC8 && marker != 0xCC) {
            j->frame = (size_t)(s - p);
            if (!frame(s, len, marker, j))
                return 0;
        }
    }
}

static int little(const unsigned char *p, int n)
{
    uint32_t v = 0;

    while (n--)
        v = v << 8 | p[n];
    return (int)v;
}

int iip_tiff_webp_look(const unsigned char *p, size_t n, iip_tiff_webp *v)
{
    if (n < 30 || memcmp(p, "RIFF", 4) || memcmp(p + 8, "WEBP", 4))
        return 0;
    v->len = (size_t)(uint32_t)little(p + 4, 4) + 8;
    v->alpha = 0;
    p += 12;
    if (!memcmp(p, "VP8X", 4)) {
        v->w = little(p + 12, 3) + 1;
        v->h = little(p + 15, 3) + 1;
        v->alpha = p[8] >> 4 & 1;
    } else if (!memcmp(p, "VP8L", 4) && p[8] == 0x2F) {
        v->w = (little(p + 9, 2) & 0x3FFF) + 1;
        v->h = (little(p + 10, 3) >> 6 & 0x3FFF) + 1;
        v->alpha = p[12] >> 4 & 1;
    } else if (!memcmp(p, "VP8 ", 4) && p[11] == 0x9D && p[12] == 1 && p[13] == 0x2A) {
        v->w = little(p + 14, 2) & 0x3FFF;
        v->h = little(p + 16, 2) & 0x3FFF;
    } else {
        return 0;
    }
    return 1;
}

static const unsigned char soi[2] = {0xFF, SOI};
/* Adobe's marker with transform 0: three components are RGB. Without it decoders take them for YCbCr. */
static const unsigned char rgb[16] = {0xFF, APP14, 0, 14, 'A', 'd', 'o', 'b', 'e', 0, 100, 0, 0, 0, 0, 0};

size_t iip_tiff_jpeg_join(const iip_tiff_dir *d, const iip_tiff_tables *tables, const iip_tiff_jpeg *tile,
                          unsigned char *head)
{
    static const iip_tiff_jpeg none = {.adobe = -1};
    const iip_tiff_jpeg *t = tables->p ? &tables->look : &none;
    int rgb_stored = d->photometric == TIFF_RGB && !d->jpeg_ycc, jfif, adobe, named_rgb;
    size_t n = sizeof soi;

    if (tile->sof < SOF0 || tile->sof > SOF2 || tile->precision != 8 || tile->w != d->block_w ||
        tile->h != d->block_h || tile->comps != d->samples || (tile->comps != 1 && tile->comps != 3) ||
        !(t->dqt || tile->dqt) || !(t->dht || tile->dht))
        return 0;
    memcpy(head, soi, sizeof soi);
    if (tile->comps == 3) {
        /* What a stranger's decoder will take the colours for must be what they are */
        jfif = t->jfif || tile->jfif;
        adobe = tile->adobe >= 0 ? tile->adobe : t->adobe;
        named_rgb = tile->id[0] == 'R' && tile->id[1] == 'G' && tile->id[2] == 'B';
        if (rgb_stored ? jfif || adobe > 0 : !jfif && (adobe >= 0 ? adobe != 1 : named_rgb))
            return 0;
        if (rgb_stored && adobe < 0) {
            memcpy(head + n, rgb, sizeof rgb);
            n += sizeof rgb;
        }
    }
    if (tables->p) {
        memcpy(head + n, tables->p + 2, t->at - 2);
        n += t->at - 2;
    }
    return n;
}
