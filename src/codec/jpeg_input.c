/* SPDX-License-Identifier: Apache-2.0
 * Segments of a JPEG file, and its bits. */
#include "codec/jpeg_input.h"
#include <string.h>

enum { DQT = 0xdb, DRI = 0xdd, DHT = 0xc4, RST0 = 0xd0, RST7 = 0xd7 };

iip_status iip_jpeg_damaged(iip_jpeg_input *in, const char *what)
{
    return iip_fail(in->e, IIP_E_CORRUPT, 0, "JPEG: %s", what);
}

/* --- bytes -------------------------------------------------------------------------------------------------------- */

static iip_status refill(iip_jpeg_input *in)
{
    const int64_t left = in->s->id.size - in->pos;
    const size_t n = left < (int64_t)sizeof in->buf ? (size_t)left : sizeof in->buf;

    if (left <= 0)
        return iip_jpeg_damaged(in, "ends too early");
    if (in->pos >= in->most)
        return iip_fail(in->e, IIP_E_FORMAT, 0, "JPEG: more data than its pixels can need");
    if (in->s->read(in->s, in->buf, n, in->pos, in->e) != IIP_OK)
        return in->e->status;
    in->pos += (int64_t)n;
    in->at = in->buf;
    in->end = in->buf + n;
    return IIP_OK;
}

int iip_jpeg_byte(iip_jpeg_input *in)
{
    return in->at == in->end && refill(in) != IIP_OK ? -1 : *in->at++;
}

int iip_jpeg_word(iip_jpeg_input *in)
{
    const int high = iip_jpeg_byte(in), low = high < 0 ? -1 : iip_jpeg_byte(in);

    return low < 0 ? -1 : high << 8 | low;
}

static iip_status pass(iip_jpeg_input *in, int n)
{
    while (n > 0) {
        const int here = in->end - in->at < n ? (int)(in->end - in->at) : n;

        in->at += here;
        n -= here;
        if (n > 0 && refill(in) != IIP_OK)
            return in->e->status;
    }
    return IIP_OK;
}

int iip_jpeg_marker(iip_jpeg_input *in)
{
    int c = in->marker;

    in->marker = in->have = 0;
    in->bits = 0;
    while (c == 0 || c == 0xff || (c >= RST0 && c <= RST7)) {
        if (c != 0xff) {
            const unsigned char *ff;

            while (!(ff = in->at < in->end ? memchr(in->at, 0xff, (size_t)(in->end - in->at)) : NULL))
                if (refill(in) != IIP_OK)
                    return -1;
            in->at = ff + 1;
        }
        if ((c = iip_jpeg_byte(in)) < 0)
            return -1;
    }
    return c;
}

/* --- segments ----------------------------------------------------------------------------------------------------- */

static iip_status read_quant(iip_jpeg_input *in, int n)
{
    while (n > 0) {
        const int head = iip_jpeg_byte(in), wide = head >> 4, id = head & 15;

        if (head < 0)
            return in->e->status;
        if (id >= IIP_JPEG_TABLES || (n -= 1 + 64 * (wide ? 2 : 1)) < 0)
            return iip_jpeg_damaged(in, "a table of quantization is wrong");
        for (int k = 0; k < 64; k++) {
            const int v = wide ? iip_jpeg_word(in) : iip_jpeg_byte(in);

            if (v < 0)
                return in->e->status;
            in->quant[id][k] = (uint16_t)v;
        }
        in->quant_known[id] = 1;
    }
    return IIP_OK;
}

/* Codes of each length follow one another, and on the shorter ones (annex C). */
static iip_status fill_codes(iip_jpeg_input *in, iip_jpeg_codes *t, const unsigned char count[17])
{
    int32_t code = 0, k = 0;

    memset(t->quick, 0, sizeof t->quick);
    t->known = 1;
    for (int len = 1; len <= 16; len++, code <<= 1) {
        t->shift[len] = k - code;
        for (int i = 0; i < count[len]; i++, code++, k++) {
            const int spare = IIP_JPEG_QUICK - len;

            if (code >> len)
                return iip_jpeg_damaged(in, "a table of codes is wrong");
            for (int32_t j = 0; spare >= 0 && j < 1 << spare; j++)
                t->quick[(code << spare) + j] = (uint16_t)(len << 8 | t->values[k]);
        }
        t->above[len] = code;
    }
    return IIP_OK;
}

static iip_status read_codes(iip_jpeg_input *in, int n)
{
    unsigned char count[17];

    while (n > 0) {
        const int head = iip_jpeg_byte(in), kind = head >> 4;
        iip_jpeg_codes *t = &in->table[kind & 1][head & 3];
        int all = 0;

        if (head < 0)
            return in->e->status;
        for (int i = 1; i <= 16; i++) {
            const int c = iip_jpeg_byte(in);

            if (c < 0)
                return in->e->status;
            count[i] = (unsigned char)c;
            all += c;
        }
        if ((n -= 17 + all) < 0 || all > 256 || (head & 15) >= IIP_JPEG_TABLES || kind > 1)
            return iip_jpeg_damaged(in, "a table of codes is wrong");
        for (int i = 0; i < all; i++) {
            const int c = iip_jpeg_byte(in);

            if (c < 0)
                return in->e->status;
            if (kind == 0 && c > 15)
                return iip_jpeg_damaged(in, "a table of codes is wrong");
            t->values[i] = (unsigned char)c;
        }
        if (fill_codes(in, t, count) != IIP_OK)
            return in->e->status;
    }
    return IIP_OK;
}

static iip_status read_interval(iip_jpeg_input *in, int n)
{
    if (n != 2)
        return iip_jpeg_damaged(in, "the length of a segment is wrong");
    in->restart = iip_jpeg_word(in);
    return in->restart < 0 ? in->e->status : IIP_OK;
}

iip_status iip_jpeg_segment(iip_jpeg_input *in, int marker, int n)
{
    return marker == DHT   ? read_codes(in, n)
           : marker == DQT ? read_quant(in, n)
           : marker == DRI ? read_interval(in, n)
                           : pass(in, n);
}

/* --- entropy-coded data --- */

iip_status iip_jpeg_more_bits(iip_jpeg_input *in)
{
    while (in->have <= 56 && !in->marker) {
        int c = iip_jpeg_byte(in);

        if (c < 0)
            return in->e->status;
        if (c == 0xff) {
            int follows;

            do
                follows = iip_jpeg_byte(in);
            while (follows == 0xff);
            if (follows < 0)
                return in->e->status;
            if (follows) {
                in->marker = follows;
                break;
            }
        }
        in->bits |= (uint64_t)c << (56 - in->have);
        in->have += 8;
    }
    return IIP_OK;
}

iip_status iip_jpeg_restart(iip_jpeg_input *in, int number)
{
    in->have = 0; /* what fills up the last octet */
    in->bits = 0;
    if (!in->marker) {
        int c = iip_jpeg_byte(in), ff = c == 0xff;

        while (c == 0xff)
            c = iip_jpeg_byte(in);
        if (c < 0)
            return in->e->status;
        in->marker = ff ? c : 0;
    }
    if (in->marker != RST0 + number)
        return iip_jpeg_damaged(in, "a restart marker is missing");
    in->marker = 0;
    return IIP_OK;
}
