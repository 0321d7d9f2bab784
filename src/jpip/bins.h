/* SPDX-License-Identifier: Apache-2.0
 * JPIP's message stream (T.808 annex A): numbers, message headers, end of response. Pure functions. */
#ifndef JPIP_BINS_H
#define JPIP_BINS_H
#include "iip.h"

/* Classes of data-bins. An odd one is its lower neighbour with Aux behind Length. */
enum { JPIP_PRECINCT = 0, JPIP_TILE_HEADER = 2, JPIP_TILE = 4, JPIP_MAIN_HEADER = 6, JPIP_METADATA = 8 };
#define JPIP_CLASSES 5 /* the even ones; class >> 1 is an index */

/* Reasons of an end of response. */
enum {
    JPIP_IMAGE_DONE = 1,
    JPIP_WINDOW_DONE,
    JPIP_WINDOW_CHANGE,
    JPIP_BYTE_LIMIT,
    JPIP_QUALITY_LIMIT,
    JPIP_SESSION_LIMIT,
    JPIP_RESPONSE_LIMIT
};

#define JPIP_VBAS_MAX   9
#define JPIP_HEADER_MAX 48

/* Seven bits a byte, most significant first, the high bit on all but the last; the shortest form. v < 2^63. Returns
 * 1..9. */
size_t jpip_vbas_write(unsigned char out[JPIP_VBAS_MAX], uint64_t v);
/* Bytes read, longer forms too; 0 when p ends before the number does or it takes more than nine bytes. */
size_t jpip_vbas_read(const unsigned char *p, size_t n, uint64_t *v);

typedef struct {
    int cls, last; /* last: this message holds the last byte of the bin */
    int64_t stream;
    uint64_t id, offset, length;
    uint64_t aux; /* of odd classes */
} jpip_message;

/* What a header that leaves out class or code-stream refers to. A response begins with {-1, -1}: then the first header
 * is in full form. */
typedef struct {
    int cls;
    int64_t stream;
} jpip_before;

/* The header of m, in the shortest form behind *b, which then is that of m. Returns its bytes. */
size_t jpip_header_write(unsigned char out[JPIP_HEADER_MAX], const jpip_message *m, jpip_before *b);
/* Reads one header, *b likewise. Bytes read; 0: cut short, or no header of a data message. */
size_t jpip_header_read(const unsigned char *p, size_t n, jpip_message *m, jpip_before *b);
/* End of response without a body. */
#define JPIP_END_BYTES 3
void jpip_end_write(unsigned char out[JPIP_END_BYTES], int reason);

#define JPIP_PLACEHOLDER_MAX 60
/* A placeholder box. flags 1: the contents of the replaced box are metadata bin `bin`; 4: code-stream `stream` stands
 * for it. head: the replaced box's own header, 8 or 16 bytes. Returns its length: 44 + head_len. */
size_t jpip_placeholder_write(unsigned char out[JPIP_PLACEHOLDER_MAX], unsigned flags, uint64_t bin,
                              const unsigned char *head, size_t head_len, uint64_t stream);
#endif
