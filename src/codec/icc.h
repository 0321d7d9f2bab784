/* SPDX-License-Identifier: Apache-2.0
 * What icc.c and raster/profile.c share: a profile opened by lcms2 in a context of its own, whose memory is counted and
 * bounded: profiles come from any file. */
#ifndef IIP_ICC_H
#define IIP_ICC_H
#include "codec/codec.h"
#ifdef IIP_HAVE_LCMS2
#include <lcms2.h>

typedef struct {
    cmsContext context;
    cmsHPROFILE profile;
    int channels;
    size_t used, limit; /* bytes */
} iip_icc;

/* The profile of a picture whose icc_kind is not IIP_ICC_NONE, or is yet to be found out. NULL: damaged, or memory is
 * out. */
iip_icc *iip_icc_open(const iip_info *info, size_t limit);
void iip_icc_close(iip_icc *c); /* no transform of it is in use any more */
/* To the profile `to`, which it closes. NULL: as above. */
cmsHTRANSFORM iip_icc_to(iip_icc *c, cmsUInt32Number in, cmsHPROFILE to, cmsUInt32Number out);
/* From doubles (0..1) to XYZ as doubles. */
cmsHTRANSFORM iip_icc_to_xyz(iip_icc *c);
/* One colour through that, to the light of sRGB's primaries: linear, not clipped. */
void iip_icc_light(cmsHTRANSFORM to_xyz, const double *in, double rgb[3]);
#endif
#endif
