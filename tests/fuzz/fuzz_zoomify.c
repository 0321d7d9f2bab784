/* SPDX-License-Identifier: Apache-2.0
 * Zoomify: see tiles.h. */
#include "tiles.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    return run_one("zoomify-handler", data, n);
}
