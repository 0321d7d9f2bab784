/* SPDX-License-Identifier: Apache-2.0
 * Any bytes as a JPEG 2000 file, read by its tiles and then by the packets of its windows. */
#include "codec/jp2.h"
#include "reader.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static const unsigned char head[] = {0xff, 0x4f, 0xff, 0x51};
    const iip_decoder *d = iip_decoder_find(head, sizeof head);

    iip_jp2_indexes(NULL, INT64_MAX);
    fuzz_reader(d, data, n);
    iip_jp2_indexes(NULL, 0);
    return fuzz_reader(d, data, n);
}
