/* SPDX-License-Identifier: Apache-2.0
 * Profiles for files that say by numbers what their values mean. */
#ifndef IIP_ICC_MAKE_H
#define IIP_ICC_MAKE_H
#include "codec/codec.h"

/* A profile of these chromaticities (x and y of white, red, green, blue) and this exponent of light (0: sRGB's curve)
 * for 1 or 3 colours, in p. *icc and *n are left as they are if these make no sense, or without lcms2. */
iip_status iip_icc_make(const double xy[8], double gamma, int colours, const void **icc, size_t *n, apr_pool_t *p,
                        iip_error *e);

/* The same for colours that are said by the numbers of ITU-T H.273: nothing for what is sRGB or taken for it. Light of
 * another range (PQ, HLG) is that of a screen on which white paper has 203 candelas a square metre; what is brighter is
 * brought under its white. */
iip_status iip_icc_of_numbers(int primaries, int transfer, int colours, const void **icc, size_t *n, apr_pool_t *p,
                              iip_error *e);
#endif
