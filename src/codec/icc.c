/* SPDX-License-Identifier: Apache-2.0
 * Is a colour profile worth sending? Facts from ICC.1:2022: header of 128 bytes, signature "acsp" at 36, colour space
 * of the data at 16, tag table behind it (count, then signature, offset, size of each). */
#include "codec/codec.h"
#include <string.h>

static uint32_t be32(const unsigned char *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

/* The description's letters, whatever their coding ("desc": ASCII, "mluc": UTF-16BE), hold the word as plain letters.
 */
static int says(const unsigned char *p, size_t n, const char *word)
{
    size_t at = 0, len = strlen(word);

    for (size_t i = 0; i < n; i++) {
        if (p[i] == 0)
            continue;
        at = p[i] == (unsigned char)word[at] ? at + 1 : p[i] == (unsigned char)word[0];
        if (at == len)
            return 1;
    }
    return 0;
}

int iip_icc_worth(const void *icc, size_t n, int colours)
{
    const unsigned char *p = icc;
    const char *space = colours == 1 ? "GRAY" : "RGB ";
    uint32_t tags;

    if (n < 132 || be32(p) > n || memcmp(p + 36, "acsp", 4) != 0 || memcmp(p + 16, space, 4) != 0)
        return 0;
    tags = be32(p + 128);
    if (tags == 0 || tags > (n - 132) / 12)
        return 0;
    for (uint32_t i = 0; i < tags; i++) {
        const unsigned char *tag = p + 132 + 12 * (size_t)i;
        uint32_t at = be32(tag + 4), len = be32(tag + 8);

        if (at > n || len > n - at)
            return 0;
        if (memcmp(tag, "desc", 4) == 0 && says(p + at, len, "sRGB"))
            return 0;
    }
    return 1;
}
