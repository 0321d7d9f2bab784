/* SPDX-License-Identifier: Apache-2.0
 * Any bytes as a value out of memcached: what is believed must be the frame of those very bytes. The last eight octets
 * are tried as they are and as the right mark. */
#include "cache/l2.h"
#include <apr_siphash.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static const unsigned char secret[IIP_L2_SECRET];

static void check(const char *key, size_t klen, const char *frame, size_t n)
{
    size_t at, len, m;
    char *again;

    if (iip_l2_unframe(secret, key, klen, frame, n, &at, &len) != 0)
        return;
    again = iip_l2_frame(secret, key, klen, frame + at, len, &m);
    if (!again || m != n || memcmp(again, frame, n) != 0)
        abort();
    free(again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    char *frame = malloc(n + 1);

    if (!frame)
        return 0;
    memcpy(frame, data, n);
    for (int marked = 0; marked < 2; marked++) {
        check("", 0, frame, n);
        check("key", 3, frame, n);
        if (n < 8)
            break;
        for (int i = 0; i < 8; i++)
            frame[n - 8 + (size_t)i] = (char)(apr_siphash24(frame, n - 8, secret + 32) >> 8 * i);
    }
    free(frame);
    return 0;
}
