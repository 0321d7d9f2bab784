/* SPDX-License-Identifier: Apache-2.0
 * Pictures of few colours. */
#ifndef IIP_QUANTISE_H
#define IIP_QUANTISE_H
#include "codec/codec.h"

typedef struct {
    int count; /* 1..256, the transparent one included */
    int clear; /* its place, -1 if nothing is transparent */
    unsigned char colour[256][3];
} iip_palette;

/* Colours and an index for each pixel of an 8-bit picture of 1 to 4 bands; alpha below half is transparent. Exact if
 * it has few enough colours; else they are chosen for the least squared error, and the error is diffused.
 * index: w * h bytes. */
iip_status iip_quantise(const iip_raster *in, iip_palette *pal, unsigned char *index, apr_pool_t *p, iip_error *e);
#endif
