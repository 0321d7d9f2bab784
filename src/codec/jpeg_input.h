/* SPDX-License-Identifier: Apache-2.0
 * The bytes of a JPEG file as its segments and its entropy-coded data (ITU-T T.81, annexes B, C, F.2.2). Functions give
 * -1, or a status, with in->e filled when the file ends, is damaged or cannot be read. */
#ifndef IIP_JPEG_INPUT_H
#define IIP_JPEG_INPUT_H
#include "codec/codec.h"

#define IIP_JPEG_TABLES 4
#define IIP_JPEG_QUICK  9 /* bits of a code that are looked up at once */

enum { IIP_JPEG_TEM = 0x01, IIP_JPEG_SOI = 0xd8, IIP_JPEG_EOI, IIP_JPEG_SOS };

/* A table of codes. */
typedef struct {
    int known;
    uint16_t quick[1 << IIP_JPEG_QUICK]; /* length of the code << 8 | its value; 0: it is longer */
    int32_t above[18];                   /* of each length: the first code that is none of it any more */
    int32_t shift[17];                   /* what makes an index of values of such a code */
    unsigned char values[256];
} iip_jpeg_codes;

/* All zero but s, e and most to begin with. */
typedef struct {
    iip_source_t *s;
    iip_error *e;
    int64_t pos;  /* in the file, behind what buf holds */
    int64_t most; /* bytes that may be read: ends files that never end */
    const unsigned char *at, *end;
    uint64_t bits;                       /* the next one is the highest */
    int have;                            /* so many; below 0: more were taken than there were */
    int marker;                          /* the entropy-coded data ended at it; 0: not yet */
    int restart;                         /* MCUs from one restart marker to the next, 0: none */
    uint16_t quant[IIP_JPEG_TABLES][64]; /* in the order of coefficients */
    int quant_known[IIP_JPEG_TABLES];
    iip_jpeg_codes table[2][IIP_JPEG_TABLES]; /* of DC, of AC */
    unsigned char buf[64 * 1024];
} iip_jpeg_input;

/* IIP_E_CORRUPT */
iip_status iip_jpeg_damaged(iip_jpeg_input *in, const char *what);
int iip_jpeg_byte(iip_jpeg_input *in);
int iip_jpeg_word(iip_jpeg_input *in);
/* The next marker that ends entropy-coded data, which is passed over. */
int iip_jpeg_marker(iip_jpeg_input *in);
/* Contents, n bytes, of a segment that is neither a frame nor a scan: tables and the restart interval are kept. */
iip_status iip_jpeg_segment(iip_jpeg_input *in, int marker, int n);
/* To behind the restart marker of that number, 0 to 7, which is to be next. */
iip_status iip_jpeg_restart(iip_jpeg_input *in, int number);

/* --- bits: room is made for some first, then they are taken --- */

/* As many bits as there is room for, 57 at least, unless a marker comes first. */
iip_status iip_jpeg_more_bits(iip_jpeg_input *in);

static inline iip_status iip_jpeg_at_least(iip_jpeg_input *in, int n)
{
    return in->have < n ? iip_jpeg_more_bits(in) : IIP_OK;
}

/* n up to 16; 0 behind a marker. */
static inline unsigned iip_jpeg_bits(iip_jpeg_input *in, int n)
{
    const unsigned v = n ? (unsigned)(in->bits >> (64 - n)) : 0;

    in->bits <<= n;
    in->have -= n;
    return v;
}

/* The value of the next code; -1: it is none, and in->e is not filled. */
static inline int iip_jpeg_code(iip_jpeg_input *in, const iip_jpeg_codes *t)
{
    const unsigned quick = t->quick[in->bits >> (64 - IIP_JPEG_QUICK)];
    const int32_t word = (int32_t)(in->bits >> 48);

    if (quick) {
        iip_jpeg_bits(in, (int)(quick >> 8));
        return (int)(quick & 255);
    }
    for (int len = IIP_JPEG_QUICK + 1; len <= 16; len++)
        if (word >> (16 - len) < t->above[len]) {
            iip_jpeg_bits(in, len);
            return t->values[(word >> (16 - len)) + t->shift[len]];
        }
    return -1;
}
#endif
