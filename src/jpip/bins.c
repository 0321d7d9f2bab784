/* SPDX-License-Identifier: Apache-2.0
 * JPIP's message stream: see bins.h. */
#include "jpip/bins.h"
#include <string.h>

enum { SHORT = 1, WITH_CLASS = 2, WITH_STREAM = 3 }; /* bits 6 and 5 of the first byte */

size_t jpip_vbas_write(unsigned char out[JPIP_VBAS_MAX], uint64_t v)
{
    size_t n = 1;

    while (n < JPIP_VBAS_MAX && v >> (7 * n))
        n++;
    for (size_t i = 0; i < n; i++)
        out[i] = (unsigned char)((v >> (7 * (n - 1 - i)) & 0x7f) | (i + 1 < n ? 0x80 : 0));
    return n;
}

size_t jpip_vbas_read(const unsigned char *p, size_t n, uint64_t *v)
{
    *v = 0;
    for (size_t i = 0; i < n && i < JPIP_VBAS_MAX; i++) {
        *v = *v << 7 | (p[i] & 0x7f);
        if (!(p[i] & 0x80))
            return i + 1;
    }
    return 0;
}

/* k bytes hold 7k - 3 bits of the number. */
static size_t id_write(unsigned char *out, unsigned form, int last, uint64_t id)
{
    size_t k = 1;

    while (k < JPIP_VBAS_MAX && id >> (7 * k - 3))
        k++;
    out[0] = (unsigned char)((k > 1 ? 0x80 : 0) | form << 5 | (last ? 0x10 : 0) | (id >> (7 * (k - 1)) & 15));
    for (size_t i = 1; i < k; i++)
        out[i] = (unsigned char)((i + 1 < k ? 0x80 : 0) | (id >> (7 * (k - 1 - i)) & 0x7f));
    return k;
}

size_t jpip_header_write(unsigned char out[JPIP_HEADER_MAX], const jpip_message *m, jpip_before *b)
{
    unsigned form = m->stream != b->stream ? WITH_STREAM : m->cls != b->cls ? WITH_CLASS : SHORT;
    size_t n = id_write(out, form, m->last, m->id);

    if (form >= WITH_CLASS)
        n += jpip_vbas_write(out + n, (uint64_t)m->cls);
    if (form == WITH_STREAM)
        n += jpip_vbas_write(out + n, (uint64_t)m->stream);
    n += jpip_vbas_write(out + n, m->offset);
    n += jpip_vbas_write(out + n, m->length);
    if (m->cls & 1)
        n += jpip_vbas_write(out + n, m->aux);
    *b = (jpip_before){m->cls, m->stream};
    return n;
}

/* One more number of a header; 0: not there, or too large. */
static int number(const unsigned char *p, size_t n, size_t *at, uint64_t *v)
{
    size_t k = jpip_vbas_read(p + *at, n - *at, v);

    *at += k;
    return k != 0;
}

size_t jpip_header_read(const unsigned char *p, size_t n, jpip_message *m, jpip_before *b)
{
    size_t at = 1;
    unsigned form;
    uint64_t v;

    if (!n || !(form = p[0] >> 5 & 3))
        return 0;
    m->last = p[0] >> 4 & 1;
    m->id = p[0] & 15;
    m->aux = 0;
    for (int more = p[0] & 0x80; more; at++) {
        if (at >= n || at >= JPIP_VBAS_MAX)
            return 0;
        m->id = m->id << 7 | (p[at] & 0x7f);
        more = p[at] & 0x80;
    }
    if (form >= WITH_CLASS) {
        if (!number(p, n, &at, &v) || v > 0xff)
            return 0;
        b->cls = (int)v;
    }
    if (form == WITH_STREAM) {
        if (!number(p, n, &at, &v))
            return 0;
        b->stream = (int64_t)v;
    }
    m->cls = b->cls;
    m->stream = b->stream;
    if (!number(p, n, &at, &m->offset) || !number(p, n, &at, &m->length) || (m->cls & 1 && !number(p, n, &at, &m->aux)))
        return 0;
    return at;
}

void jpip_end_write(unsigned char out[JPIP_END_BYTES], int reason)
{
    out[0] = 0;
    out[1] = (unsigned char)reason;
    out[2] = 0;
}

static unsigned char *put(unsigned char *to, uint64_t v, int bytes)
{
    for (int i = bytes - 1; i >= 0; i--)
        *to++ = (unsigned char)(v >> (8 * i));
    return to;
}

size_t jpip_placeholder_write(unsigned char out[JPIP_PLACEHOLDER_MAX], unsigned flags, uint64_t bin,
                              const unsigned char *head, size_t head_len, uint64_t stream)
{
    unsigned char *to = put(out, 44 + head_len, 4);

    memcpy(to, "phld", 4);
    to = put(to + 4, flags, 4);
    to = put(to, bin, 8);
    memcpy(to, head, head_len);
    to = put(to + head_len, 0, 8); /* no equivalent */
    to = put(to, 0, 8);
    put(to, stream, 8);
    return 44 + head_len;
}
