/* SPDX-License-Identifier: Apache-2.0
 * What a colour profile is to a picture: of no use, plain sRGB, or another. Facts from ICC.1:2022: header of 128 bytes,
 * class at 12, colour space of the data at 16, signature "acsp" at 36; tag table behind it (count, then signature,
 * offset, size of each).
 *
 * Without lcms2 the description's word decides what is sRGB. With it the colours do: a grid of them goes through the
 * profile and must come out as it went in. */
#include "codec/icc.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Elements of multiProcessElements may each be searched through for every colour; no sound profile has many. */
#define MOST_ELEMENTS 65536 /* bytes */

static uint32_t be32(const unsigned char *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static int one_of(const unsigned char *p, const char *words)
{
    for (; *words; words += 4)
        if (memcmp(p, words, 4) == 0)
            return 1;
    return 0;
}

/* The colour space a profile of the picture must have, NULL if none is of use. */
static const char *wanted_space(const iip_info *info)
{
    const int colours = info->bands - info->alpha;

    switch (info->space) {
    case IIP_GREY:
        return "GRAY";
    case IIP_RGB:
        return colours >= 3 ? "RGB " : NULL;
    case IIP_CMYK:
        return colours >= 4 ? "CMYK" : NULL;
    default:
        return NULL;
    }
}

/* 1 if it is built as a profile is, of a class that describes pictures (not of links between devices, effects or named
 * colours). */
static int well_formed(const unsigned char *p, size_t n, const char *space)
{
    uint32_t tags;

    if (n < 132 || n > IIP_READ_ICC || be32(p) > n || memcmp(p + 36, "acsp", 4) != 0 || memcmp(p + 16, space, 4) != 0 ||
        !one_of(p + 12, "mntrscnrprtrspac") || !one_of(p + 20, "XYZ Lab "))
        return 0;
    tags = be32(p + 128);
    if (tags == 0 || tags > (n - 132) / 12)
        return 0;
    for (uint32_t i = 0; i < tags; i++) {
        const unsigned char *tag = p + 132 + 12 * (size_t)i;
        uint32_t at = be32(tag + 4), len = be32(tag + 8);

        if (at > n || len > n - at || (len > MOST_ELEMENTS && one_of(tag, "D2B0D2B1D2B2D2B3")))
            return 0;
    }
    return 1;
}

#ifdef IIP_HAVE_LCMS2
#include <lcms2_plugin.h>

/* Stands in front of each block. owner is NULL while lcms2 makes or unmakes the context itself. */
typedef struct {
    iip_icc *owner;
    size_t n;
} head;
enum { HEAD = 16 };

static void *get(cmsContext context, cmsUInt32Number size)
{
    iip_icc *c = cmsGetContextUserData(context);
    head h = {c, HEAD + (size_t)size};
    unsigned char *mem = c && h.n > c->limit - c->used ? NULL : malloc(h.n);

    if (!mem)
        return NULL;
    memcpy(mem, &h, sizeof h);
    if (c)
        c->used += h.n;
    return mem + HEAD;
}

static void give(cmsContext context, void *block)
{
    unsigned char *mem = block;
    head h;

    if (!mem)
        return;
    mem -= HEAD;
    memcpy(&h, mem, sizeof h);
    if (h.owner)
        h.owner->used -= h.n;
    free(mem);
}

static void *resize(cmsContext context, void *block, cmsUInt32Number size)
{
    void *more = get(context, size);
    head h;

    if (more && block) {
        memcpy(&h, (unsigned char *)block - HEAD, sizeof h);
        memcpy(more, block, h.n - HEAD < size ? h.n - HEAD : size);
        give(context, block);
    }
    return more;
}

iip_icc *iip_icc_open(const iip_info *info, size_t limit)
{
    static const cmsPluginMemHandler memory = {
        .base = {cmsPluginMagicNumber, 2000, cmsPluginMemHandlerSig, NULL},
        .MallocPtr = get,
        .FreePtr = give,
        .ReallocPtr = resize,
    };
    cmsPluginMemHandler plugin = memory; /* lcms2 takes no const */
    iip_icc *c = calloc(1, sizeof *c);

    if (!c)
        return NULL;
    c->limit = limit;
    c->context = cmsCreateContext(&plugin, c);
    if (c->context)
        c->profile = cmsOpenProfileFromMemTHR(c->context, info->icc, (cmsUInt32Number)info->icc_len);
    c->channels = info->space == IIP_GREY ? 1 : info->space == IIP_RGB ? 3 : 4;
    if (c->profile)
        return c;
    iip_icc_close(c);
    return NULL;
}

void iip_icc_close(iip_icc *c)
{
    if (!c)
        return;
    if (c->profile)
        cmsCloseProfile(c->profile);
    if (c->context)
        cmsDeleteContext(c->context);
    free(c);
}

/* Relative colorimetric, black to black: what is in sRGB's gamut stays what it is, white paper becomes white, and no
 * ink turns grey. Not optimised, see raster/profile.c. */
cmsHTRANSFORM iip_icc_to(iip_icc *c, cmsUInt32Number in, cmsHPROFILE to, cmsUInt32Number out)
{
    cmsHTRANSFORM t =
        to ? cmsCreateTransformTHR(c->context, c->profile, in, to, out, INTENT_RELATIVE_COLORIMETRIC,
                                   cmsFLAGS_BLACKPOINTCOMPENSATION | cmsFLAGS_NOCACHE | cmsFLAGS_NOOPTIMIZE)
           : NULL;

    if (to)
        cmsCloseProfile(to);
    return t;
}

cmsHTRANSFORM iip_icc_to_xyz(iip_icc *c)
{
    return iip_icc_to(c,
                      c->channels == 1   ? TYPE_GRAY_DBL
                      : c->channels == 3 ? TYPE_RGB_DBL
                                         : TYPE_CMYK_DBL,
                      cmsCreateXYZProfileTHR(c->context), TYPE_XYZ_DBL);
}

/* XYZ with ICC's D50 to the light of sRGB's primaries (IEC 61966-2-1: D65, adapted by Bradford's matrix). */
static const double xyz_to_srgb[3][3] = {
    {3.1341863642, -1.6172089590, -0.4906940640},
    {-0.9787485042, 1.9161300968, 0.0334333992},
    {0.0719639278, -0.2289938735, 1.4057537329},
};

void iip_icc_light(cmsHTRANSFORM to_xyz, const double *in, double rgb[3])
{
    double xyz[3];

    cmsDoTransform(to_xyz, in, xyz, 1);
    for (int i = 0; i < 3; i++)
        rgb[i] = xyz_to_srgb[i][0] * xyz[0] + xyz_to_srgb[i][1] * xyz[1] + xyz_to_srgb[i][2] * xyz[2];
}

static double encoded(double light)
{
    return light <= 0 ? 0 : light <= 0.0031308 ? 12.92 * light : light < 1 ? 1.055 * pow(light, 1 / 2.4) - 0.055 : 1;
}

enum { STEPS = 8 };

/* 1 if no colour of a grid changes by more than two levels of 8 bits: makers adapt to D50 each in their own way. */
static int is_srgb(const iip_icc *c, cmsHTRANSFORM to_xyz)
{
    for (int i = 0; i < (c->channels == 1 ? STEPS * STEPS : STEPS * STEPS * STEPS); i++) {
        double in[3] = {i % STEPS, i / STEPS % STEPS, (double)(i / STEPS / STEPS)}, out[3];

        if (c->channels == 1)
            in[0] = in[1] = in[2] = i / (STEPS * STEPS - 1.0);
        else
            for (int b = 0; b < 3; b++)
                in[b] /= STEPS - 1;
        iip_icc_light(to_xyz, in, out);
        for (int b = 0; b < 3; b++)
            if (!(fabs(encoded(out[b]) - in[b]) <= 2 / 255.0)) /* not a number is no colour */
                return 0;
    }
    return 1;
}

#define MEMORY ((size_t)48 << 20)

static iip_icc_kind by_colours(const iip_info *info)
{
    iip_icc *c = iip_icc_open(info, MEMORY);
    cmsHTRANSFORM to_xyz = c ? iip_icc_to_xyz(c) : NULL;
    iip_icc_kind kind = IIP_ICC_NONE;

    if (to_xyz)
        kind = c->channels < 4 && is_srgb(c, to_xyz) ? IIP_ICC_SRGB : IIP_ICC_OTHER;
    if (to_xyz)
        cmsDeleteTransform(to_xyz);
    iip_icc_close(c);
    return kind;
}

#else
/* The description's letters, whatever their coding ("desc": ASCII, "mluc": UTF-16BE), hold the word as plain letters.
 */
static int says(const unsigned char *p, size_t n, const char *word)
{
    size_t at = 0, len = strlen(word);

    for (size_t i = 0; i < n; i++) {
        if (p[i] == 0)
            continue;
        at = p[i] == (unsigned char)word[at] ? at + 1 : p[i] == (unsigned char)word[0];
        if (at == len)
            return 1;
    }
    return 0;
}

static iip_icc_kind by_name(const iip_info *info)
{
    const unsigned char *p = info->icc;

    for (uint32_t i = 0; i < be32(p + 128); i++) {
        const unsigned char *tag = p + 132 + 12 * (size_t)i;

        if (memcmp(tag, "desc", 4) == 0 && says(p + be32(tag + 4), be32(tag + 8), "sRGB"))
            return IIP_ICC_SRGB;
    }
    return info->space == IIP_CMYK ? IIP_ICC_NONE : IIP_ICC_OTHER; /* nothing here converts inks */
}
#endif

iip_icc_kind iip_icc_look(const iip_info *info)
{
    const char *space = wanted_space(info);

    if (!space || !info->icc || !well_formed(info->icc, info->icc_len, space))
        return IIP_ICC_NONE;
#ifdef IIP_HAVE_LCMS2
    return by_colours(info);
#else
    return by_name(info);
#endif
}
