/* SPDX-License-Identifier: Apache-2.0
 * DeepZoom: see tiles.h. */
#include "tiles.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    return run_one("deepzoom-handler", data, n);
}
