/* SPDX-License-Identifier: Apache-2.0
 * Any bytes as a GIF file. */
#include "reader.h"

#ifdef IIP_HAVE_GIF
extern const iip_decoder iip_decoder_gif;
#define DECODER &iip_decoder_gif
#else
#define DECODER NULL
#endif

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    return fuzz_reader(DECODER, data, n);
}
