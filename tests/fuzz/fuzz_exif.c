/* SPDX-License-Identifier: Apache-2.0
 * Any bytes as an EXIF block. */
#include "codec/codec.h"
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    double x = 0, y = 0;
    int o = iip_exif_orientation(data, n);

    iip_exif_resolution(data, n, &x, &y);
    if (o < 1 || o > 8 || !(x >= 0) || !(y >= 0))
        abort();
    return 0;
}
