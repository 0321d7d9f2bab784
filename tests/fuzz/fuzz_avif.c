/* SPDX-License-Identifier: Apache-2.0
 * Any bytes as an AVIF file. */
#include "reader.h"

#ifdef IIP_HAVE_AVIF
extern const iip_decoder iip_decoder_avif;
#define DECODER &iip_decoder_avif
#else
#define DECODER NULL
#endif

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    return fuzz_reader(DECODER, data, n);
}
