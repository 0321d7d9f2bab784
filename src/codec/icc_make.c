/* SPDX-License-Identifier: Apache-2.0
 * Profiles for files that say by numbers what their values mean, made by lcms2; without it there are none. */
#include "codec/icc_make.h"
#include <string.h>

#ifdef IIP_HAVE_LCMS2
#include <lcms2.h>

/* sRGB's curve as lcms2's fourth parametric one (IEC 61966-2-1). */
static cmsToneCurve *curve_of(double gamma)
{
    static const cmsFloat64Number srgb[5] = {2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045};

    return gamma > 0 ? cmsBuildGamma(NULL, gamma) : cmsBuildParametricToneCurve(NULL, 4, srgb);
}

/* White and, where there are any, the primaries lie where y can divide. */
static int sound(const double *xy, int colours)
{
    for (int i = 1; i < (colours == 3 ? 8 : 2); i += 2)
        if (!(xy[i] > 0.001 && xy[i] < 1))
            return 0;
    return 1;
}

iip_status iip_icc_make(const double xy[8], double gamma, int colours, const void **icc, size_t *n, apr_pool_t *p,
                        iip_error *e)
{
    const cmsCIExyY white = {xy[0], xy[1], 1};
    const cmsCIExyYTRIPLE rgb = {{xy[2], xy[3], 1}, {xy[4], xy[5], 1}, {xy[6], xy[7], 1}};
    cmsToneCurve *curve = curve_of(gamma), *curves[3] = {curve, curve, curve};
    cmsUInt32Number size = 0;
    cmsHPROFILE h = NULL;
    unsigned char *mem = NULL;
    iip_status rv = IIP_OK;

    if (curve && sound(xy, colours))
        h = colours == 3 ? cmsCreateRGBProfile(&white, &rgb, curves) : cmsCreateGrayProfile(&white, curve);
    if (h && cmsSaveProfileToMem(h, NULL, &size) && size > 128) {
        if (!(mem = iip_codec_alloc(size, p, e)))
            rv = e->status;
        else if (cmsSaveProfileToMem(h, mem, &size)) {
            /* The same bytes at any time: lcms2 writes the hour of making. */
            memcpy(mem + 24, "\x07\xd0\0\1\0\1\0\0\0\0\0\0", 12);
            *icc = mem;
            *n = size;
        }
    }
    if (h)
        cmsCloseProfile(h);
    if (curve)
        cmsFreeToneCurve(curve);
    return rv;
}
#else
iip_status iip_icc_make(const double xy[8], double gamma, int colours, const void **icc, size_t *n, apr_pool_t *p,
                        iip_error *e)
{
    return IIP_OK;
}
#endif

iip_status iip_icc_of_numbers(int primaries, int transfer, const void **icc, size_t *n, apr_pool_t *p, iip_error *e)
{
    static const struct {
        int is;
        double xy[8];
    } known[] = {
        {9, {0.3127, 0.3290, 0.708, 0.292, 0.170, 0.797, 0.131, 0.046}},  /* BT.2020 */
        {12, {0.3127, 0.3290, 0.680, 0.320, 0.265, 0.690, 0.150, 0.060}}, /* Display P3 */
    };
    static const struct {
        int is;
        double gamma;
    } curves[] = {{4, 2.2}, {5, 2.8}, {8, 1}}; /* others are sRGB's, or taken for it */
    double gamma = 0;

    if (transfer == 16 || transfer == 18)
        return IIP_OK;
    for (size_t i = 0; i < sizeof curves / sizeof *curves; i++)
        if (curves[i].is == transfer)
            gamma = curves[i].gamma;
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (known[i].is == primaries)
            return iip_icc_make(known[i].xy, gamma, 3, icc, n, p, e);
    return IIP_OK;
}
