/* SPDX-License-Identifier: Apache-2.0
 * Any bytes as a JPEG XL file. */
#include "reader.h"

#ifdef IIP_HAVE_JXL
extern const iip_decoder iip_decoder_jxl;
#define DECODER &iip_decoder_jxl
#else
#define DECODER NULL
#endif

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    return fuzz_reader(DECODER, data, n);
}
