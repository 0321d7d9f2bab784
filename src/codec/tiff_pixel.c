/* SPDX-License-Identifier: Apache-2.0
 * TIFF: stored samples to delivered ones, as tiff_form.c says. */
#include "codec/tiff_dir.h"
#include <math.h>
#include <string.h>

/* n bits from bit `at` on; the first is the highest. */
static uint32_t bits_at(const unsigned char *in, size_t at, unsigned n)
{
    const size_t last = (at + n - 1) >> 3;
    uint64_t v = 0;

    for (size_t i = at >> 3; i <= last; i++)
        v = v << 8 | in[i];
    return (uint32_t)(v >> (7 - ((at + n - 1) & 7))) & (uint32_t)((UINT64_C(1) << n) - 1);
}

/* IEEE floats of 16 bits, and those of 24 that go with them (Adobe's TIFF technical note 3). */
static float widen_float(uint32_t v, int bits, int exponent)
{
    const int mantissa = bits - 1 - exponent, bias = (1 << (exponent - 1)) - 1;
    const uint32_t fraction = v & ((1u << mantissa) - 1), power = v >> mantissa & ((1u << exponent) - 1);
    uint32_t sign = v >> (bits - 1) << 31, made;
    float f;

    if (!power) {
        f = ldexpf((float)fraction, 1 - bias - mantissa);
        return sign ? -f : f;
    }
    made = power == (1u << exponent) - 1 ? 255 : power + 127 - (uint32_t)bias;
    made = sign | made << 23 | fraction << (23 - mantissa);
    memcpy(&f, &made, sizeof f);
    return f;
}

/* A sample narrower than its delivered one. Whole bytes are in the order of this machine, others in that of the file.
 */
static uint32_t stored_at(const iip_tiff_form *m, const unsigned char *row, size_t i)
{
    uint16_t v16;

    switch (m->bits) {
    case 8:
        return row[i];
    case 16:
        memcpy(&v16, row + 2 * i, 2);
        return v16;
    case 24:
        row += 3 * i;
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
        return (uint32_t)row[0] << 16 | (uint32_t)row[1] << 8 | row[2];
#else
        return (uint32_t)row[2] << 16 | (uint32_t)row[1] << 8 | row[0];
#endif
    default:
        return bits_at(row, i * (size_t)m->bits, (unsigned)m->bits);
    }
}

#define UNPACK(T, VALUE)                                                                                               \
    for (size_t i = 0; i < n; i++)                                                                                     \
        ((T *)(void *)out)[i * step] = (T)(VALUE);

/* Bits of less than a byte that lie beside each other, as those of faxes and masks. */
static void unpack_small(const iip_tiff_form *m, const unsigned char *in, size_t first, size_t n, unsigned char *out,
                         size_t step)
{
    const unsigned bits = (unsigned)m->bits, mask = (1u << bits) - 1;
    unsigned char wide[16];

    for (unsigned v = 0; v <= mask; v++)
        wide[v] = (unsigned char)iip_tiff_form_widen(m, v);
    for (size_t i = 0, at = first * bits; i < n; i++, at += bits)
        out[i * step] = wide[in[at >> 3] >> (8 - bits - (at & 7)) & mask];
}

/* One band to its place. */
#define MOVE(T)                                                                                                        \
    for (size_t i = 0; i < n; i++)                                                                                     \
        ((T *)(void *)out)[i * step] = ((const T *)(const void *)in)[i * in_step];
static void move(size_t size, const unsigned char *in, size_t in_step, size_t n, unsigned char *out, size_t step)
{
    if (size == 1) {
        MOVE(uint8_t)
    } else if (size == 2) {
        MOVE(uint16_t)
    } else if (size == 4) {
        MOVE(uint32_t)
    } else {
        MOVE(uint64_t)
    }
}

/* n samples from the first'th on, each `step` samples further. */
static void unpack(const iip_tiff_form *m, const unsigned char *in, size_t first, size_t n, unsigned char *out,
                   size_t step)
{
    const size_t size = iip_sample_size(m->sample);

    if (m->native) {
        move(size, in + first * size, 1, n, out, step);
    } else if (m->sample == IIP_F32) {
        UNPACK(float, widen_float(stored_at(m, in, first + i), m->bits, m->exponent))
    } else if (m->sample == IIP_U8 && (m->bits == 1 || m->bits == 2 || m->bits == 4)) {
        unpack_small(m, in, first, n, out, step);
    } else if (m->sample == IIP_U8) {
        UNPACK(uint8_t, iip_tiff_form_widen(m, stored_at(m, in, first + i)))
    } else if (size == 2) {
        const uint32_t flip = m->sign ? 0x8000 : 0;

        UNPACK(uint16_t, iip_tiff_form_widen(m, stored_at(m, in, first + i)) ^ flip)
    } else {
        const uint32_t flip = m->sign ? 0x80000000 : 0;

        UNPACK(uint32_t, iip_tiff_form_widen(m, stored_at(m, in, first + i)) ^ flip)
    }
}

/* Pixels x .. x+n of row y among clumps, as three samples each. */
static void unclump(const iip_tiff_form *m, const unsigned char *block, size_t row, size_t x, size_t y, size_t n,
                    unsigned char *out)
{
    const size_t sx = (size_t)m->sub_x, sy = (size_t)m->sub_y, luma = sx * sy;
    const unsigned char *line = block + y / sy * row;

    for (size_t i = x; i < x + n; i++, out += 3) {
        const unsigned char *c = line + i / sx * (luma + 2);

        out[0] = c[y % sy * sx + i % sx];
        out[1] = c[luma];
        out[2] = c[luma + 1];
    }
}

static unsigned char clamp8(int v)
{
    v = (v + 32768) >> 16;
    return (unsigned char)(v < 0 ? 0 : v > 255 ? 255 : v);
}

static void from_ycc(const iip_tiff_ycc *t, const unsigned char *in, size_t in_step, size_t n, unsigned char *out,
                     size_t step)
{
    for (size_t i = 0; i < n; i++, in += in_step, out += step) {
        const int y = t->luma[in[0]], cb = in[1], cr = in[2];

        out[0] = clamp8(y + t->r_cr[cr]);
        out[1] = clamp8(y + t->g_cb[cb] + t->g_cr[cr]);
        out[2] = clamp8(y + t->b_cb[cb]);
    }
}

/* Black is white. Integers, signed or not, lie as far from one end of their range as before from the other when all
 * their bits change. */
#define INVERT(T)                                                                                                      \
    for (size_t i = 0; i < n; i++)                                                                                     \
        for (size_t b = 0; b < colours; b++)                                                                           \
            ((T *)(void *)px)[i * bands + b] = (T)(m->low + m->top - ((T *)(void *)px)[i * bands + b]);
static void invert(const iip_tiff_form *m, unsigned char *px, size_t n)
{
    const size_t size = iip_sample_size(m->sample), bands = (size_t)m->bands, colours = (size_t)m->colours;

    if (m->sample == IIP_F32) {
        INVERT(float)
    } else if (m->sample == IIP_F64) {
        INVERT(double)
    } else {
        for (; n--; px += bands * size)
            for (size_t k = 0; k < colours * size; k++)
                px[k] ^= 255;
    }
}

/* ICC's CIELAB has axes that begin at 0 and, in 16 bits, L up to 0xFF00; ours are those of TIFF 6.0. */
static void from_icclab(const iip_tiff_form *m, unsigned char *px, size_t n)
{
    if (m->sample == IIP_U8) {
        for (; n--; px += m->bands) {
            px[1] ^= 0x80;
            px[2] ^= 0x80;
        }
    } else {
        for (uint16_t *q = (uint16_t *)(void *)px; n--; q += m->bands) {
            q[0] = (uint16_t)(q[0] < 0xFF00 ? (q[0] * 65535u + 0x7F80) / 0xFF00 : 65535);
            q[1] ^= 0x8000;
            q[2] ^= 0x8000;
        }
    }
}

/* Multiplied colours to straight ones. Signed samples have no scale to do it by. */
#define STRAIGHTEN(T, top, round)                                                                                      \
    for (T *q = (T *)(void *)px; n--; q += bands)                                                                      \
        for (int b = 0; b < bands - 1; b++) {                                                                          \
            const double a = (double)q[bands - 1], v = a > 0 ? (double)q[b] * (top) / a + (round) : 0;                 \
            q[b] = (round) > 0 && v > (top) ? (T)(top) : (T)v;                                                         \
        }
static void straighten(iip_sample s, int bands, unsigned char *px, size_t n)
{
    if (s == IIP_U8) {
        STRAIGHTEN(uint8_t, 255., .5)
    } else if (s == IIP_U16) {
        STRAIGHTEN(uint16_t, 65535., .5)
    } else if (s == IIP_U32) {
        STRAIGHTEN(uint32_t, 4294967295., .5)
    } else if (s == IIP_F32) {
        STRAIGHTEN(float, 1., 0)
    } else if (s == IIP_F64) {
        STRAIGHTEN(double, 1., 0)
    }
}

/* n pixels with all their samples as they are delivered, but not yet in their places or colours. */
static const unsigned char *samples(const iip_tiff_form *m, const unsigned char *block, size_t row, size_t plane,
                                    size_t x, size_t y, size_t n, unsigned char *wide)
{
    const size_t size = iip_sample_size(m->sample), in = (size_t)m->in;
    const unsigned char *line = block + y * row;

    if (m->clumps) {
        unclump(m, block, row, x, y, n, wide);
        return wide;
    }
    if (m->planar) {
        for (size_t k = 0; k < in; k++)
            unpack(m, line + k * plane, x, n, wide + k * size, in);
        return wide;
    }
    if (m->native)
        return line + x * in * size;
    unpack(m, line, x * in, n * in, wide, 1);
    return wide;
}

void iip_tiff_form_deliver(const iip_tiff_form *m, const unsigned char *block, size_t row, size_t plane, int64_t x,
                           int64_t y, int64_t n, unsigned char *wide, unsigned char *out)
{
    const size_t size = iip_sample_size(m->sample), in = (size_t)m->in, count = (size_t)n, bands = (size_t)m->bands;
    const unsigned char *px = samples(m, block, row, plane, (size_t)x, (size_t)y, count, wide);
    int moved = 0;

    if (m->map == TIFF_PALETTE) {
        const unsigned char *t = m->table;

        for (size_t i = 0; i < count; i++)
            memcpy(out + i * bands, t + 3 * px[i * in], 3);
        moved = 3;
    } else if (m->map == TIFF_YCC) {
        from_ycc(m->table, px, in, count, out, bands);
        moved = 3;
    }
    if (!moved && in == bands && (m->planar || !m->alpha || m->alpha_at == m->bands - 1)) {
        memcpy(out, px, count * in * size);
    } else {
        for (int b = moved; b < m->bands; b++) {
            const size_t at = !m->planar ? (size_t)iip_tiff_form_stored(m, b) : b < m->colours ? (size_t)b : in - 1;

            move(size, px + at * size, in, count, out + (size_t)b * size, bands);
        }
    }
    if (m->map == TIFF_INVERT)
        invert(m, out, count);
    else if (m->map == TIFF_ICCLAB)
        from_icclab(m, out, count);
    if (m->associated)
        straighten(m->sample, m->bands, out, count);
}

void iip_tiff_form_empty(const iip_tiff_form *m, unsigned char *out, size_t n)
{
    const size_t size = iip_sample_size(m->sample), count = n * (size_t)m->bands;
    const int32_t signed_top = m->sample == IIP_S16 ? INT16_MAX : INT32_MAX;
    unsigned char white[8];
    const float f32 = (float)m->top;

    if (m->alpha || (m->space != IIP_GREY && m->space != IIP_RGB)) {
        memset(out, 0, count * size);
        return;
    }
    memset(white, 255, sizeof white);
    if (m->sample == IIP_F32)
        memcpy(white, &f32, 4);
    else if (m->sample == IIP_F64)
        memcpy(white, &m->top, 8);
    else if (m->sample == IIP_S16)
        memcpy(white, &(int16_t){(int16_t)signed_top}, 2);
    else if (m->sample == IIP_S32)
        memcpy(white, &signed_top, 4);
    for (size_t i = 0; i < count; i++)
        memcpy(out + i * size, white, size);
}
