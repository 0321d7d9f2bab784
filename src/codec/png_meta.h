/* SPDX-License-Identifier: Apache-2.0
 * What of a PNG file is not pixels, read from where its chunks were seen. */
#ifndef IIP_PNG_META_H
#define IIP_PNG_META_H
#include "codec/codec.h"

/* Contents of a chunk; at 0: there is none. */
typedef struct {
    int64_t at;
    size_t n;
} png_place;

typedef struct {
    png_place palette, clear, pixels; /* PLTE, tRNS, the first IDAT */
    png_place icc, srgb, gamma, primaries, numbers, size, exif;
    png_place xmp; /* iTXt behind its keyword */
} png_places;

/* Fills profile, XMP, EXIF, orientation and resolution. IIP_E_FORMAT for a profile that breaks a limit; one that is
 * merely damaged is left out. */
iip_status iip_png_meta(const png_places *at, iip_source_t *s, iip_info *out, apr_pool_t *p, iip_error *e);
#endif
