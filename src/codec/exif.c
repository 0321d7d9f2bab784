/* SPDX-License-Identifier: Apache-2.0
 * The little of EXIF that a picture server needs, from its first directory (TIFF 6.0, section 2). Every offset is
 * checked against the block: it comes from any file. */
#include "codec/codec.h"
#include <string.h>

enum { TAG_ORIENTATION = 0x112, TAG_X_RESOLUTION = 0x11a, TAG_Y_RESOLUTION = 0x11b, TAG_UNIT = 0x128 };
enum { SHORT = 3, RATIONAL = 5 };
enum { ENTRY = 12 };

typedef struct {
    const unsigned char *p;
    size_t n;
    int little;
} block;

static unsigned get16(const block *b, size_t at)
{
    const unsigned char *p = b->p + at;

    return b->little ? p[0] | (unsigned)p[1] << 8 : (unsigned)p[0] << 8 | p[1];
}

static uint32_t get32(const block *b, size_t at)
{
    uint32_t first = get16(b, at), second = get16(b, at + 2);

    return b->little ? first | second << 16 : first << 16 | second;
}

static int begin(block *b, const unsigned char *p, size_t n)
{
    b->p = p;
    b->n = n;
    if (n < 8)
        return 0;
    b->little = p[0] == 'I';
    return (memcmp(p, "II", 2) == 0 || memcmp(p, "MM", 2) == 0) && get16(b, 2) == 42;
}

/* Where the entry's value or value offset lies; 0 if the first directory has no single value of this type under the
 * tag. */
static size_t find(const block *b, unsigned tag, unsigned type)
{
    size_t at = get32(b, 4), entries;

    if (at > b->n - 2)
        return 0;
    entries = get16(b, at);
    at += 2;
    for (; entries > 0 && b->n - at >= ENTRY; entries--, at += ENTRY)
        if (get16(b, at) == tag)
            return get16(b, at + 2) == type && get32(b, at + 4) == 1 ? at + 8 : 0;
    return 0;
}

int iip_exif_orientation(const unsigned char *p, size_t n)
{
    block b;
    size_t at;
    unsigned o;

    if (!begin(&b, p, n) || (at = find(&b, TAG_ORIENTATION, SHORT)) == 0)
        return 1;
    o = get16(&b, at);
    return o >= 1 && o <= 8 ? (int)o : 1;
}

static double rational(const block *b, unsigned tag)
{
    size_t at = find(b, tag, RATIONAL), value;

    if (at == 0)
        return 0;
    value = get32(b, at);
    if (value > b->n - 8 || get32(b, value + 4) == 0)
        return 0;
    return (double)get32(b, value) / get32(b, value + 4);
}

void iip_exif_resolution(const unsigned char *p, size_t n, double *x, double *y)
{
    block b;
    size_t at;
    unsigned unit = 2;
    double rx, ry;

    if (!begin(&b, p, n))
        return;
    if ((at = find(&b, TAG_UNIT, SHORT)) != 0)
        unit = get16(&b, at);
    rx = rational(&b, TAG_X_RESOLUTION);
    ry = rational(&b, TAG_Y_RESOLUTION);
    if (rx <= 0 || ry <= 0 || (unit != 2 && unit != 3)) /* inch, centimetre */
        return;
    *x = unit == 2 ? rx / 2.54 : rx;
    *y = unit == 2 ? ry / 2.54 : ry;
}
