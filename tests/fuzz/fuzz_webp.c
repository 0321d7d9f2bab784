/* SPDX-License-Identifier: Apache-2.0
 * Any bytes as a WebP file. */
#include "reader.h"

extern const iip_decoder iip_decoder_webp;

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    return fuzz_reader(&iip_decoder_webp, data, n);
}
