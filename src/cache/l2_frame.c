/* SPDX-License-Identifier: Apache-2.0
 * What lies in memcached: names and frames of values. Numbers are little-endian, so that machines of any kind share. */
#include "l2.h"
#include <apr_siphash.h>
#include <stdlib.h>
#include <string.h>

static const char magic[8] = "iip-l2\0\1";

enum { AT_LENGTH = 8, AT_KEY_LENGTH = 16, AT_KEY = 24, MAC = 8 };

static void put64(char *to, uint64_t n)
{
    for (int i = 0; i < 8; i++)
        to[i] = (char)(n >> 8 * i);
}

static uint64_t get64(const char *from)
{
    uint64_t n = 0;

    for (int i = 7; i >= 0; i--)
        n = n << 8 | (unsigned char)from[i];
    return n;
}

static uint64_t mac(const unsigned char *secret, const char *frame, size_t n)
{
    return apr_siphash24(frame, n, secret + 2 * APR_SIPHASH_KSIZE);
}

void iip_l2_name(const unsigned char secret[IIP_L2_SECRET], const void *key, size_t klen, char name[IIP_L2_NAME])
{
    static const char hex[] = "0123456789abcdef";

    memcpy(name, "iip1:", 5);
    for (int k = 0; k < 2; k++) {
        uint64_t h = apr_siphash24(key, klen, secret + k * APR_SIPHASH_KSIZE);

        for (int i = 0; i < 16; i++)
            name[5 + 16 * k + i] = hex[h >> (60 - 4 * i) & 15];
    }
    name[37] = '\0';
}

char *iip_l2_frame(const unsigned char secret[IIP_L2_SECRET], const void *key, size_t klen, const void *data,
                   size_t len, size_t *n)
{
    char *f;

    if (klen > IIP_L2_MOST || len > IIP_L2_MOST || AT_KEY + klen + len + MAC > IIP_L2_MOST)
        return NULL;
    *n = AT_KEY + klen + len + MAC;
    if (!(f = malloc(*n)))
        return NULL;
    memcpy(f, magic, sizeof magic);
    put64(f + AT_LENGTH, *n);
    put64(f + AT_KEY_LENGTH, klen);
    memcpy(f + AT_KEY, key, klen);
    memcpy(f + AT_KEY + klen, data, len);
    put64(f + *n - MAC, mac(secret, f, *n - MAC));
    return f;
}

int iip_l2_unframe(const unsigned char secret[IIP_L2_SECRET], const void *key, size_t klen, const char *frame, size_t n,
                   size_t *at, size_t *len)
{
    if (n > IIP_L2_MOST || n < AT_KEY + klen + MAC || memcmp(frame, magic, sizeof magic) != 0 ||
        get64(frame + AT_LENGTH) != n || get64(frame + AT_KEY_LENGTH) != klen ||
        memcmp(frame + AT_KEY, key, klen) != 0 || get64(frame + n - MAC) != mac(secret, frame, n - MAC))
        return -1;
    *at = AT_KEY + klen;
    *len = n - MAC - *at;
    return 0;
}
