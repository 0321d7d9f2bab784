/* SPDX-License-Identifier: Apache-2.0
 * What users of libjpeg share. */
#ifndef IIP_JPEG_H
#define IIP_JPEG_H
#include "codec/codec.h"

#define IIP_JPEG_SCANS 100 /* a picture of more is refused */
#define IIP_JPEG_PARTS 4

/* jpeg.c. 1 for a warning of libjpeg's (its msg_code) that costs no pixel: after others it goes on, with grey or
 * shifted ones. */
int iip_jpeg_harmless(int code);

/* --- jpeg_eighth.c: a progressive picture (SOF2) at 1/8, without decoding what that does not need --- */

#define IIP_JPEG_SIDE 4 /* samples a block becomes at most, each way */

/* A component. wide, tall: pixels of the result that a block is, then those that a sample is. */
typedef struct {
    int id, table;    /* its identifier, its quantization table */
    int across, down; /* its blocks in an MCU */
    int wide, tall;
    int64_t w, h; /* its blocks, those that only fill MCUs not counted */
    int64_t stride;
    unsigned char *px; /* samples */
} iip_jpeg_part;

typedef struct {
    int there;      /* stride, px are, by iip_jpeg_eighth_read() */
    int count, ycc; /* components; the first three are YCbCr */
    int64_t mcus_across, mcus_down;
    iip_jpeg_part part[IIP_JPEG_PARTS];
} iip_jpeg_eighth;

/* Bytes that reading takes. */
size_t iip_jpeg_eighth_hold(const iip_jpeg_eighth *d);
/* Reads the file from its first to its last byte, most bytes of it; the samples are memory of p. They are those of
 * libjpeg's scaled DCT but for rounding. *d is as it was if that fails: IIP_E_CORRUPT, IIP_E_FORMAT (scans, bytes),
 * IIP_E_MEMORY, IIP_E_IO. */
iip_status iip_jpeg_eighth_read(iip_jpeg_eighth *d, iip_source_t *s, int64_t most, apr_pool_t *p, iip_error *e);
/* n pixels of row y from x on: as the file stores them, but YCbCr is RGB, YCCK is CMYK. */
void iip_jpeg_eighth_row(const iip_jpeg_eighth *d, int64_t x, int64_t y, int64_t n, unsigned char *row);
#endif
