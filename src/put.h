/* SPDX-License-Identifier: Apache-2.0
 * Texts put together by hand: printf's family would be a third of a cached tile's work in user space. Each returns
 * where the next byte goes; the caller has the room. No NUL is written. */
#ifndef IIP_PUT_H
#define IIP_PUT_H
#include <stdint.h>
#include <string.h>

#define IIP_PUT_MAX 20 /* bytes of any number */

static inline char *iip_put(char *to, const void *data, size_t n)
{
    memcpy(to, data, n);
    return to + n;
}

/* Of a literal its length is known. */
static inline __attribute__((always_inline)) char *iip_put_text(char *to, const char *text)
{
    return iip_put(to, text, strlen(text));
}

static inline unsigned iip_put_length(uint64_t v)
{
    unsigned n = 1;

    for (uint64_t power = 10; n < IIP_PUT_MAX && v >= power; power *= 10)
        n++;
    return n;
}

static inline char *iip_put_unsigned(char *to, uint64_t v)
{
    char *end = to + iip_put_length(v);

    for (char *d = end; d > to; v /= 10)
        *--d = (char)('0' + v % 10);
    return end;
}

static inline char *iip_put_int(char *to, int64_t v)
{
    if (v < 0)
        *to++ = '-';
    return iip_put_unsigned(to, v < 0 ? -(uint64_t)v : (uint64_t)v);
}

#endif
