/* SPDX-License-Identifier: Apache-2.0
 * Any bytes as a PNG file. The checksums of its chunks are made good first, or every change would end there. */
#include "reader.h"
#include <string.h>
#include <zlib.h>

extern const iip_decoder iip_decoder_png;

static uint32_t be32(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    uint8_t *copy = malloc(n ? n : 1);

    if (n)
        memcpy(copy, data, n);
    for (size_t at = 8; n >= 12 && at <= n - 12 && be32(copy + at) <= n - at - 12; at += 12 + be32(copy + at)) {
        uint32_t len = be32(copy + at), sum = (uint32_t)crc32(0, copy + at + 4, len + 4);

        for (int i = 3; i >= 0; i--, sum >>= 8)
            copy[at + 8 + len + (size_t)i] = (uint8_t)sum;
    }
    fuzz_reader(&iip_decoder_png, copy, n);
    free(copy);
    return 0;
}
