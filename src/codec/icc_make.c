/* SPDX-License-Identifier: Apache-2.0
 * Profiles for files that say by numbers what their values mean, made by lcms2; without it there are none. */
#include "codec/icc_make.h"
#include <math.h>
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

/* Takes the curve. */
static iip_status make(const double xy[8], cmsToneCurve *curve, int colours, const void **icc, size_t *n, apr_pool_t *p,
                       iip_error *e)
{
    const cmsCIExyY white = {xy[0], xy[1], 1};
    const cmsCIExyYTRIPLE rgb = {{xy[2], xy[3], 1}, {xy[4], xy[5], 1}, {xy[6], xy[7], 1}};
    cmsToneCurve *curves[3] = {curve, curve, curve};
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

iip_status iip_icc_make(const double xy[8], double gamma, int colours, const void **icc, size_t *n, apr_pool_t *p,
                        iip_error *e)
{
    return make(xy, curve_of(gamma), colours, icc, n, p, e);
}

/* --- light that no screen of sRGB shows --- */

#define PAPER 203. /* candelas a square metre of white paper (ITU-R BT.2408) */
#define KNEE  .75  /* up to this part of it light stays what it is; all that is brighter is brought under 1 */

static double pq_light(double v)
{
    const double m1 = 2610 / 16384., m2 = 2523 / 32., c1 = 3424 / 4096., c2 = 2413 / 128., c3 = 2392 / 128.;
    const double t = pow(v, 1 / m2);

    return 10000 * pow(fmax(t - c1, 0) / (c2 - c3 * t), 1 / m1);
}

/* On a screen of 1000 candelas */
static double hlg_light(double v)
{
    const double a = 0.17883277, b = 0.28466892, c = 0.55991073;

    return 1000 * pow(v <= 0.5 ? v * v / 3 : (exp((v - c) / a) + b) / 12, 1.2);
}

static cmsToneCurve *curve_of_light(double (*light)(double))
{
    enum { STEPS = 1024 };
    uint16_t value[STEPS];

    for (int i = 0; i < STEPS; i++) {
        const double v = light(i / (STEPS - 1.)) / PAPER;

        value[i] = (uint16_t)lrint(65535 * (v <= KNEE ? v : 1 - (1 - KNEE) * exp((KNEE - v) / (1 - KNEE))));
    }
    return cmsBuildTabulatedToneCurve16(NULL, STEPS, value);
}

/* ITU-T H.273, tables 2 and 3. What is not among them is taken for sRGB's. */
iip_status iip_icc_of_numbers(int primaries, int transfer, int colours, const void **icc, size_t *n, apr_pool_t *p,
                              iip_error *e)
{
    static const struct {
        int is;
        double xy[8]; /* of white, red, green, blue */
    } known[] = {
        {1, {0.3127, 0.3290, 0.640, 0.330, 0.300, 0.600, 0.150, 0.060}},  /* BT.709, sRGB */
        {5, {0.3127, 0.3290, 0.640, 0.330, 0.290, 0.600, 0.150, 0.060}},  /* BT.601 of 625 lines */
        {6, {0.3127, 0.3290, 0.630, 0.340, 0.310, 0.595, 0.155, 0.070}},  /* BT.601 of 525 lines */
        {7, {0.3127, 0.3290, 0.630, 0.340, 0.310, 0.595, 0.155, 0.070}},  /* SMPTE 240M */
        {9, {0.3127, 0.3290, 0.708, 0.292, 0.170, 0.797, 0.131, 0.046}},  /* BT.2020 */
        {11, {0.3140, 0.3510, 0.680, 0.320, 0.265, 0.690, 0.150, 0.060}}, /* DCI P3 */
        {12, {0.3127, 0.3290, 0.680, 0.320, 0.265, 0.690, 0.150, 0.060}}, /* Display P3 */
    };
    static const struct {
        int is;
        double gamma;
        double (*light)(double);
    } curves[] = {{4, 2.2, NULL}, {5, 2.8, NULL}, {8, 1, NULL}, {16, 0, pq_light}, {18, 0, hlg_light}};
    size_t space = 0, curve = 0;

    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (known[i].is == primaries)
            space = i;
    while (curve < sizeof curves / sizeof *curves && curves[curve].is != transfer)
        curve++;
    if (curve == sizeof curves / sizeof *curves)
        return space && colours == 3 ? make(known[space].xy, curve_of(0), colours, icc, n, p, e) : IIP_OK;
    return make(known[space].xy,
                curves[curve].light ? curve_of_light(curves[curve].light) : curve_of(curves[curve].gamma), colours, icc,
                n, p, e);
}
#else
iip_status iip_icc_make(const double xy[8], double gamma, int colours, const void **icc, size_t *n, apr_pool_t *p,
                        iip_error *e)
{
    return IIP_OK;
}

iip_status iip_icc_of_numbers(int primaries, int transfer, int colours, const void **icc, size_t *n, apr_pool_t *p,
                              iip_error *e)
{
    return IIP_OK;
}
#endif
