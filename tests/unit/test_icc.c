/* SPDX-License-Identifier: Apache-2.0
 * Colour profiles: what they are to a picture, what becomes of them, and colours turned to sRGB against a float model
 * (matrix and curves, written from the definitions) or lcms2's own calculation in floats. Profiles are made by lcms2.
 * Longer than 600 lines: the profiles are made here, each class with the cases that need it. */
#include "codec/icc_make.h"
#include "strips.h"
#include "delta_e.h"
#include "settings.h"
#include <pthread.h>
#include <stdio.h>
#ifdef IIP_HAVE_LCMS2
#include <lcms2.h>

enum { W = 311, H = 40 };

typedef struct {
    unsigned char *p;
    size_t n;
} bytes;

static bytes saved(cmsHPROFILE h)
{
    cmsUInt32Number n = 0;
    bytes b;

    assert_non_null(h);
    assert_true(cmsSaveProfileToMem(h, NULL, &n));
    b.p = xmalloc(n);
    b.n = n;
    assert_true(cmsSaveProfileToMem(h, b.p, &n));
    cmsCloseProfile(h);
    return b;
}

typedef struct {
    double x, y;
} chroma;

typedef struct {
    const char *name;
    chroma r, g, b;
    double gamma; /* 0: sRGB's curve */
} rgb_space;

/* all with D65 */
static const rgb_space srgb = {"sRGB", {.64, .33}, {.30, .60}, {.15, .06}, 0};
static const rgb_space adobe = {"like Adobe RGB", {.64, .33}, {.21, .71}, {.15, .06}, 563 / 256.0};
static const rgb_space wide = {"as wide as ProPhoto", {.7347, .2653}, {.1596, .8404}, {.0366, .0001}, 1.8};
static const rgb_space p3 = {"Display P3", {.68, .32}, {.265, .69}, {.15, .06}, 0};
static const rgb_space linear = {"scRGB", {.64, .33}, {.30, .60}, {.15, .06}, 1};

static cmsToneCurve *curve(double gamma)
{
    static const double params[] = {2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045};

    return gamma > 0 ? cmsBuildGamma(NULL, gamma) : cmsBuildParametricToneCurve(NULL, 4, params);
}

static bytes rgb_profile(const rgb_space *s)
{
    const cmsCIExyY white = {.3127, .3290, 1};
    const cmsCIExyYTRIPLE primaries = {{s->r.x, s->r.y, 1}, {s->g.x, s->g.y, 1}, {s->b.x, s->b.y, 1}};
    cmsToneCurve *c = curve(s->gamma), *three[] = {c, c, c};
    bytes b = saved(cmsCreateRGBProfile(&white, &primaries, three));

    cmsFreeToneCurve(c);
    return b;
}

static bytes grey_profile(double gamma)
{
    cmsToneCurve *c = curve(gamma);
    bytes b = saved(cmsCreateGrayProfile(cmsD50_xyY(), c));

    cmsFreeToneCurve(c);
    return b;
}

/* Inks on paper: each takes light away from two of three colours a little, from one a lot. */
static cmsInt32Number inks(const cmsUInt16Number in[], cmsUInt16Number out[], void *cargo)
{
    static const double left[4][3] = {{.05, .55, .85}, {.75, .08, .45}, {.95, .85, .05}, {.03, .03, .03}};
    double light[3] = {1, 1, 1}, f[3], lab[3];

    for (int c = 0; c < 3; c++)
        for (int i = 0; i < 4; i++)
            light[c] *= 1 - in[i] / 65535.0 * (1 - left[i][c]);
    for (int c = 0; c < 3; c++)
        f[c] = cbrt(light[c]);
    lab[0] = 116 * f[1] - 16;
    lab[1] = 300 * (f[0] - f[1]);
    lab[2] = 150 * (f[1] - f[2]);
    out[0] = (cmsUInt16Number)(lab[0] / 100 * 65535 + 0.5);
    out[1] = (cmsUInt16Number)((lab[1] + 128) * 257 + 0.5);
    out[2] = (cmsUInt16Number)((lab[2] + 128) * 257 + 0.5);
    return TRUE;
}

/* A profile that is a table of colours, not curves and a matrix. */
static bytes table_profile(cmsColorSpaceSignature space, cmsProfileClassSignature class, cmsUInt32Number channels)
{
    cmsHPROFILE h = cmsCreateProfilePlaceholder(NULL);
    cmsPipeline *lut = cmsPipelineAlloc(NULL, channels, 3);
    cmsStage *clut = cmsStageAllocCLut16bit(NULL, 9, channels, 3, NULL);
    cmsToneCurve *c = cmsBuildGamma(NULL, 1.3), *four[] = {c, c, c, c};
    bytes b;

    cmsSetProfileVersion(h, 4.3);
    cmsSetDeviceClass(h, class);
    cmsSetColorSpace(h, space);
    cmsSetPCS(h, cmsSigLabData);
    assert_true(cmsStageSampleCLut16bit(clut, inks, NULL, 0));
    assert_true(cmsPipelineInsertStage(lut, cmsAT_BEGIN, cmsStageAllocToneCurves(NULL, channels, four)));
    assert_true(cmsPipelineInsertStage(lut, cmsAT_END, clut));
    assert_true(cmsPipelineInsertStage(lut, cmsAT_END, cmsStageAllocToneCurves(NULL, 3, NULL)));
    assert_true(cmsWriteTag(h, cmsSigAToB0Tag, lut));
    b = saved(h);
    cmsPipelineFree(lut);
    cmsFreeToneCurve(c);
    return b;
}

static iip_info picture_info(iip_space space, iip_sample sample, int alpha, bytes icc)
{
    const int colours = space == IIP_GREY ? 1 : space == IIP_CMYK ? 4 : 3;
    iip_info i = {
        .levels = 1, .space = space, .sample = sample, .alpha = alpha, .bands = colours + alpha, .icc = icc.p};

    i.icc_len = icc.n;
    return i;
}

/* ---- what a profile is ---- */

static void test_kinds(void **state)
{
    const struct {
        const char *what;
        iip_space space;
        bytes b;
        iip_icc_kind kind;
    } rows[] = {
        {"sRGB, whatever it is called", IIP_RGB, rgb_profile(&srgb), IIP_ICC_SRGB},
        {"lcms2's sRGB", IIP_RGB, saved(cmsCreate_sRGBProfile()), IIP_ICC_SRGB},
        {"Adobe RGB", IIP_RGB, rgb_profile(&adobe), IIP_ICC_OTHER},
        {"Display P3", IIP_RGB, rgb_profile(&p3), IIP_ICC_OTHER},
        {"linear light", IIP_RGB, rgb_profile(&linear), IIP_ICC_OTHER},
        {"grey like sRGB", IIP_GREY, grey_profile(0), IIP_ICC_SRGB},
        {"grey 2.2", IIP_GREY, grey_profile(2.2), IIP_ICC_OTHER},
        {"inks", IIP_CMYK, table_profile(cmsSigCmykData, cmsSigOutputClass, 4), IIP_ICC_OTHER},
        {"a scanner", IIP_RGB, table_profile(cmsSigRgbData, cmsSigInputClass, 3), IIP_ICC_OTHER},
        {"RGB for a grey picture", IIP_GREY, rgb_profile(&adobe), IIP_ICC_NONE},
        {"grey for RGB", IIP_RGB, grey_profile(2.2), IIP_ICC_NONE},
        {"RGB for inks", IIP_CMYK, rgb_profile(&adobe), IIP_ICC_NONE},
        {"RGB for CIELAB", IIP_LAB, rgb_profile(&adobe), IIP_ICC_NONE},
        {"RGB for many bands", IIP_MULTIBAND, rgb_profile(&adobe), IIP_ICC_NONE},
        {"an effect", IIP_RGB, table_profile(cmsSigRgbData, cmsSigAbstractClass, 3), IIP_ICC_NONE},
        {"a link of devices", IIP_RGB, table_profile(cmsSigRgbData, cmsSigLinkClass, 3), IIP_ICC_NONE},
        {"a named colour", IIP_RGB, table_profile(cmsSigRgbData, cmsSigNamedColorClass, 3), IIP_ICC_NONE},
    };

    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        iip_info info = picture_info(rows[i].space, IIP_U8, 0, rows[i].b);
        iip_icc_kind kind = iip_icc_look(&info);

        if (kind != rows[i].kind)
            fail_msg("%s: %d, should be %d", rows[i].what, kind, rows[i].kind);
        info.alpha = 1;
        info.bands++;
        assert_int_equal(iip_icc_look(&info), rows[i].kind);
        info.icc_len = 0;
        assert_int_equal(iip_icc_look(&info), IIP_ICC_NONE);
        info.icc = NULL;
        assert_int_equal(iip_icc_look(&info), IIP_ICC_NONE);
        free(rows[i].b.p);
    }
}

/* ---- colours ---- */

/* ITU-R BT.2100, where white paper is 203 candelas and what is much brighter is brought under 1. */
enum { PQ = -16, HLG = -18 };

static double bright(double v, double transfer)
{
    double e, nits;

    if (transfer == PQ) {
        e = pow(v, 32. / 2523);
        nits = 10000 * pow(fmax(e - .8359375, 0) / (18.8515625 - 18.6875 * e), 16384 / 2610.);
    } else {
        e = v <= .5 ? v * v / 3 : (exp((v - .55991073) / .17883277) + .28466892) / 12;
        nits = 1000 * pow(e, 1.2);
    }
    nits /= 203;
    return nits <= .75 ? nits : .75 + .25 * (1 - exp(-(nits - .75) / .25));
}

static double to_light(double v, double gamma)
{
    if (gamma < 0)
        return bright(v, gamma);
    return gamma > 0 ? pow(v, gamma) : v <= 0.04045 ? v / 12.92 : pow((v + 0.055) / 1.055, 2.4);
}

static double encoded(double u)
{
    return u <= 0 ? 0 : u >= 1 ? 1 : u <= 0.0031308 ? 12.92 * u : 1.055 * pow(u, 1 / 2.4) - 0.055;
}

static void solve3(const double m[3][3], const double v[3], double x[3]) /* m x = v, by Cramer's rule */
{
#define DET(a, b, c)                                                                                                   \
    ((a)[0] * ((b)[1] * (c)[2] - (b)[2] * (c)[1]) - (a)[1] * ((b)[0] * (c)[2] - (b)[2] * (c)[0]) +                     \
     (a)[2] * ((b)[0] * (c)[1] - (b)[1] * (c)[0]))
    double det = DET(m[0], m[1], m[2]);

    for (int k = 0; k < 3; k++) {
        double t[3][3];

        for (int i = 0; i < 3; i++)
            for (int j = 0; j < 3; j++)
                t[i][j] = j == k ? v[i] : m[i][j];
        x[k] = DET(t[0], t[1], t[2]) / det;
    }
}

/* To XYZ relative to D65. */
static void matrix_of(const rgb_space *s, double m[3][3])
{
    const chroma p[3] = {s->r, s->g, s->b};
    const double white[3] = {.3127 / .3290, 1, (1 - .3127 - .3290) / .3290};
    double y[3];

    for (int c = 0; c < 3; c++) {
        m[0][c] = p[c].x / p[c].y;
        m[1][c] = 1;
        m[2][c] = (1 - p[c].x - p[c].y) / p[c].y;
    }
    solve3((const double(*)[3])m, white, y);
    for (int i = 0; i < 3; i++)
        for (int c = 0; c < 3; c++)
            m[i][c] *= y[c];
}

static void rgb_model(const void *arg, const double *in, double *out)
{
    const rgb_space *s = arg;
    double from[3][3], to[3][3], xyz[3], light[3];

    matrix_of(s, from);
    matrix_of(&srgb, to);
    for (int i = 0; i < 3; i++) {
        xyz[i] = 0;
        for (int c = 0; c < 3; c++)
            xyz[i] += from[i][c] * to_light(in[c], s->gamma);
    }
    solve3((const double(*)[3])to, xyz, light);
    for (int c = 0; c < 3; c++)
        out[c] = encoded(light[c]);
}

static void grey_model(const void *arg, const double *in, double *out)
{
    out[0] = out[1] = out[2] = encoded(to_light(in[0], *(const double *)arg));
}

/* lcms2 in floats, nothing precalculated */
static void lcms_model(const void *arg, const double *in, double *out)
{
    double v[4];

    for (int i = 0; i < 4; i++)
        v[i] = in[i] * 100; /* inks are in percent */
    cmsDoTransform((cmsHTRANSFORM)arg, v, out, 1);
    for (int i = 0; i < 3; i++)
        out[i] = out[i] < 0 ? 0 : out[i] > 1 ? 1 : out[i];
}

typedef void model_fn(const void *arg, const double *in, double *out);

static picture converted(const picture *in, const iip_info *info, const iip_transform *t, iip_sample sample)
{
    picture got;
    iip_stage_t *s;
    room r;

    room_open(&r, 1 << 22);
    s = iip_stage_colour(&rows_of(in, 3, r.pool)->base, info, info->sample == IIP_U8 ? IIP_U8 : IIP_U16, 1, &r.budget,
                         r.pool, &r.err);
    assert_non_null(s);
    s = iip_stage_profile(s, t, sample, &r.budget, r.pool, &r.err);
    assert_non_null(s);
    assert_int_equal(drain(s, 16, &got, &r.err), IIP_OK);
    room_close(&r);
    return got;
}

/* Random colours and greys of each kind of samples, with and without alpha, through the stages: within most of the
 * model. */
static void compare(const char *what, iip_space space, bytes icc, model_fn *model, const void *arg)
{
    static const struct {
        iip_sample in, out;
        double most; /* CIEDE2000; of 8 bits: their rounding alone is 0.9 in the dark */
    } kinds[] = {{IIP_U8, IIP_U8, 1},
                 {IIP_U16, IIP_U8, 1},
                 {IIP_U16, IIP_U16, 0.1},
                 {IIP_F32, IIP_U16, 0.1},
                 {IIP_S16, IIP_U8, 1}};
    unsigned seed = 7;

    for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++)
        for (int alpha = 0; alpha < 2; alpha++) {
            iip_info info = picture_info(space, kinds[k].in, alpha, icc);
            const int n = info.bands - alpha, m = space == IIP_GREY ? 1 : 3, sign = kinds[k].in == IIP_S16;
            const double top = sign ? 65535 : sample_top(kinds[k].in), of = sample_top(kinds[k].out);
            picture in = picture_random(W, H, info.bands, sign ? IIP_U16 : kinds[k].in, &seed), got;
            iip_transform *t = iip_transform_make(&info);
            double worst = 0;

            assert_non_null(t);
            assert_in_range(iip_transform_size(t), 1, 2 << 20);
            for (int64_t i = 0; i < W * H / 8; i++) /* greys, the ends among them */
                for (int c = 0; c < n; c++)
                    in.v[i * info.bands + c] =
                        kinds[k].in == IIP_F32 ? (double)(float)(i % 100 / 99.) : floor(top * (double)(i % 100) / 99);
            if (sign) {
                in.sample = IIP_S16;
                for (int64_t i = 0; i < W * H * info.bands; i++)
                    in.v[i] -= 32768;
            }
            got = converted(&in, &info, t, kinds[k].out);
            assert_int_equal(got.bands, m + alpha);
            for (int64_t i = 0; i < W * H; i++) {
                double v[4] = {0}, want[3], lab[2][3], rgb[3], d;

                for (int c = 0; c < n; c++)
                    v[c] = (in.v[i * info.bands + c] + (sign ? 32768 : 0)) / top;
                model(arg, v, want);
                for (int c = 0; c < 3; c++)
                    rgb[c] = got.v[i * got.bands + (m == 1 ? 0 : c)] / of;
                srgb_to_lab(want, lab[0]);
                srgb_to_lab(rgb, lab[1]);
                d = delta_e(lab[0], lab[1]);
                worst = d > worst ? d : worst;
                if (!(d <= kinds[k].most))
                    fail_msg("%s, kind %zu: %f %f %f %f became %f %f %f, should be %f %f %f (%f)", what, k, v[0], v[1],
                             v[2], v[3], rgb[0], rgb[1], rgb[2], want[0], want[1], want[2], d);
                if (alpha) {
                    double a = (in.v[i * info.bands + n] + (sign ? 32768 : 0)) / top,
                           is = got.v[i * got.bands + m] / of;

                    assert_true(fabs(a - is) < 1 / of);
                }
            }
            iip_transform_free(t);
            free(in.v);
            free(got.v);
        }
}

static void test_matrix_profiles(void **state)
{
    static const rgb_space *const spaces[] = {&adobe, &wide, &p3, &linear};

    for (size_t i = 0; i < sizeof spaces / sizeof *spaces; i++) {
        bytes b = rgb_profile(spaces[i]);

        compare(spaces[i]->name, IIP_RGB, b, rgb_model, spaces[i]);
        free(b.p);
    }
}

static void test_grey_profiles(void **state)
{
    static const double gammas[] = {1.8, 2.2, 1, 2.6};

    for (size_t i = 0; i < sizeof gammas / sizeof *gammas; i++) {
        bytes b = grey_profile(gammas[i]);

        compare("grey", IIP_GREY, b, grey_model, &gammas[i]);
        free(b.p);
    }
}

/* Colours said by numbers (ITU-T H.273): nothing for sRGB's, a profile of the others. */
static void test_numbers(void **state)
{
    static const rgb_space bt2020 = {"BT.2020", {.708, .292}, {.170, .797}, {.131, .046}, 0},
                           bt601 = {"BT.601", {.63, .34}, {.31, .595}, {.155, .07}, 0};
    static const struct {
        int primaries, transfer;
        const rgb_space *space; /* NULL: sRGB all the same */
        double gamma;
    } rows[] = {{1, 13, NULL, 0},      {2, 2, NULL, 0},    {1, 1, NULL, 0},      {200, 200, NULL, 0},
                {9, 13, &bt2020, 0},   {9, 1, &bt2020, 0}, {12, 13, &p3, 0},     {6, 6, &bt601, 0},
                {1, 8, &srgb, 1},      {12, 4, &p3, 2.2},  {9, 16, &bt2020, PQ}, {1, 16, &srgb, PQ},
                {9, 18, &bt2020, HLG}, {2, 5, &srgb, 2.8}};

    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        for (int colours = 3; colours > 0; colours -= 2) {
            const int none = !rows[i].space || (colours == 1 && rows[i].gamma == 0);
            rgb_space is = none ? srgb : *rows[i].space;
            bytes b = {0};
            const void *icc = NULL;
            apr_pool_t *p;
            iip_error e;

            is.gamma = rows[i].gamma;
            apr_pool_create(&p, NULL);
            assert_int_equal(iip_icc_of_numbers(rows[i].primaries, rows[i].transfer, colours, &icc, &b.n, p, &e),
                             IIP_OK);
            b.p = (unsigned char *)(uintptr_t)icc;
            assert_int_equal(!icc, none);
            if (!none)
                compare("numbers", colours == 3 ? IIP_RGB : IIP_GREY, b, colours == 3 ? rgb_model : grey_model,
                        colours == 3 ? (const void *)&is : &is.gamma);
            apr_pool_destroy(p);
        }
}

static void test_inks(void **state)
{
    bytes b = table_profile(cmsSigCmykData, cmsSigOutputClass, 4);
    cmsHPROFILE from = cmsOpenProfileFromMem(b.p, (cmsUInt32Number)b.n), to = cmsCreate_sRGBProfile();
    cmsHTRANSFORM t = cmsCreateTransform(from, TYPE_CMYK_DBL, to, TYPE_RGB_DBL, INTENT_RELATIVE_COLORIMETRIC,
                                         cmsFLAGS_NOOPTIMIZE | cmsFLAGS_BLACKPOINTCOMPENSATION);
    double paper[3], none[4] = {0};

    lcms_model(t, none, paper);
    assert_true(paper[0] > 0.999 && paper[1] > 0.999 && paper[2] > 0.999);
    compare("inks", IIP_CMYK, b, lcms_model, t);
    cmsDeleteTransform(t);
    cmsCloseProfile(from);
    cmsCloseProfile(to);
    free(b.p);
}

static void test_scanner(void **state)
{
    bytes b = table_profile(cmsSigRgbData, cmsSigInputClass, 3);
    iip_info info = picture_info(IIP_RGB, IIP_U8, 0, b);
    iip_transform *t = iip_transform_make(&info);
    cmsHPROFILE from = cmsOpenProfileFromMem(b.p, (cmsUInt32Number)b.n), to = cmsCreate_sRGBProfile();
    cmsHTRANSFORM own = cmsCreateTransform(from, TYPE_RGB_DBL, to, TYPE_RGB_DBL, INTENT_RELATIVE_COLORIMETRIC,
                                           cmsFLAGS_NOOPTIMIZE | cmsFLAGS_BLACKPOINTCOMPENSATION);
    unsigned seed = 3;
    picture in = picture_random(W, H, 3, IIP_U8, &seed), got = converted(&in, &info, t, IIP_U8);

    for (int64_t i = 0; i < W * H; i++) {
        double v[3], want[3];

        for (int c = 0; c < 3; c++)
            v[c] = in.v[3 * i + c] / 255;
        cmsDoTransform(own, v, want, 1);
        for (int c = 0; c < 3; c++)
            assert_true(fabs((want[c] < 0 ? 0 : want[c] > 1 ? 1 : want[c]) * 255 - got.v[3 * i + c]) < 0.51);
    }
    iip_transform_free(t);
    cmsDeleteTransform(own);
    cmsCloseProfile(from);
    cmsCloseProfile(to);
    free(in.v);
    free(got.v);
    free(b.p);
}

/* One transform, several threads. */
typedef struct {
    const iip_info *info;
    const iip_transform *t;
    const picture *in;
    picture got;
} thread_job;

static void *run(void *arg)
{
    thread_job *j = arg;

    j->got = converted(j->in, j->info, j->t, IIP_U8);
    return NULL;
}

static void test_threads(void **state)
{
    bytes b[] = {rgb_profile(&adobe), table_profile(cmsSigCmykData, cmsSigOutputClass, 4)};
    unsigned seed = 5;

    for (int k = 0; k < 2; k++) {
        iip_info info = picture_info(k ? IIP_CMYK : IIP_RGB, IIP_U8, 0, b[k]);
        iip_transform *t = iip_transform_make(&info);
        picture in = picture_random(W, H, info.bands, IIP_U8, &seed);
        thread_job job[4];
        pthread_t thread[4];

        assert_non_null(t);
        for (int i = 0; i < 4; i++) {
            job[i] = (thread_job){&info, t, &in, {0}};
            assert_int_equal(pthread_create(&thread[i], NULL, run, &job[i]), 0);
        }
        for (int i = 0; i < 4; i++) {
            pthread_join(thread[i], NULL);
            same(&job[i].got, &job[0].got);
        }
        for (int i = 0; i < 4; i++)
            free(job[i].got.v);
        iip_transform_free(t);
        free(in.v);
        free(b[k].p);
    }
}

/* ---- damage ---- */

/* What looks sound can be converted from; nothing crashes, and the sanitizer sees reads outside. */
static void endure(const unsigned char *p, size_t n, iip_space space)
{
    unsigned char *copy = xmalloc(n);
    iip_info info = picture_info(space, IIP_U8, 0, (bytes){copy, n});

    memcpy(copy, p, n);
    if (iip_icc_look(&info) == IIP_ICC_OTHER) {
        iip_transform *t = iip_transform_make(&info);
        unsigned seed = 1;
        picture in = picture_random(50, 2, info.bands, IIP_U8, &seed), got;

        assert_non_null(t);
        got = converted(&in, &info, t, IIP_U8);
        iip_transform_free(t);
        free(in.v);
        free(got.v);
    }
    free(copy);
}

static void test_damaged(void **state)
{
    static const unsigned char extreme[] = {0, 0x7f, 0xff};
    const struct {
        bytes b;
        iip_space space;
    } rows[] = {{rgb_profile(&adobe), IIP_RGB},
                {grey_profile(1.8), IIP_GREY},
                {table_profile(cmsSigCmykData, cmsSigOutputClass, 4), IIP_CMYK}};

    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const bytes *b = &rows[i].b;
        const size_t step = b->n > 2000 ? 37 : 3;

        for (size_t n = 0; n < b->n; n += step)
            endure(b->p, n, rows[i].space);
        /* header and list of tags byte for byte, then every third */
        for (size_t at = 0; at < (b->n < 1200 ? b->n : 1200); at += at < 300 ? 1 : 3)
            for (int v = 0; v < 3; v++) {
                unsigned char was = b->p[at];

                b->p[at] = extreme[v];
                endure(b->p, b->n, rows[i].space);
                b->p[at] = was;
            }
        free(b->p);
    }
}

static void put32(unsigned char *p, uint32_t v)
{
    for (int i = 0; i < 4; i++)
        p[i] = (unsigned char)(v >> (24 - 8 * i));
}

/* A table of 255 points a side in a profile of some hundred bytes: refused without the memory it says it needs. */
static void test_bomb(void **state)
{
    bytes b = table_profile(cmsSigCmykData, cmsSigOutputClass, 4);
    iip_info info = picture_info(IIP_CMYK, IIP_U8, 0, b);
    int found = 0;

    for (size_t i = 132; i + 40 < b.n; i++)
        if (!memcmp(b.p + i, "mAB ", 4)) { /* lutAtoBType: 24 on, where its table is */
            size_t clut = i + ((size_t)b.p[i + 24] << 24 | b.p[i + 25] << 16 | b.p[i + 26] << 8 | b.p[i + 27]);

            assert_true(clut + 4 < b.n);
            memset(b.p + clut, 255, 4);
            found = 1;
        }
    assert_true(found);
    assert_int_equal(iip_icc_look(&info), IIP_ICC_NONE);
    assert_null(iip_transform_make(&info));
    free(b.p);

    /* elements that lcms2 would search through for every colour */
    b.n = 200000;
    b.p = xmalloc(b.n);
    memset(b.p, 0, b.n);
    put32(b.p, (uint32_t)b.n);
    memcpy(b.p + 12, "mntrRGB XYZ ", 12);
    memcpy(b.p + 36, "acsp", 4);
    put32(b.p + 128, 1);
    memcpy(b.p + 132, "D2B1", 4);
    put32(b.p + 136, 144);
    put32(b.p + 140, 199000);
    info = picture_info(IIP_RGB, IIP_U8, 0, b);
    assert_int_equal(iip_icc_look(&info), IIP_ICC_NONE);
    free(b.p);
}

/* ---- decisions ---- */

static iip_settings set;

static void configure(const char *name, const char *word, apr_pool_t *p)
{
    for (const iip_directive *d = iip_directives; d->name; d++)
        if (!strcmp(d->name, name)) {
            assert_null(iip_setting_set(&set, d, 1, &word, 0, p));
            return;
        }
    fail_msg("no %s", name);
}

static void test_use_of_profiles(void **state) /* R32 */
{
    enum { D = IIP_ICC_DROP, S = IIP_ICC_SEND, C = IIP_ICC_CONVERT };
    static const struct {
        iip_space space;
        iip_sample sample;
        iip_icc_kind kind;
        size_t len;
        int ops;
        iip_format format;
        const char *depth;
        int embed, convert, strip; /* what each setting makes of it */
    } rows[] = {
        {IIP_RGB, IIP_U8, IIP_ICC_OTHER, 3000, 0, IIP_FMT_JPEG, "Off", S, C, D},
        {IIP_RGB, IIP_U8, IIP_ICC_OTHER, 3000, 0, IIP_FMT_PNG, "On", S, C, D},
        {IIP_GREY, IIP_U16, IIP_ICC_OTHER, 3000, 0, IIP_FMT_JPEG, "Off", S, C, D},
        {IIP_RGB, IIP_U8, IIP_ICC_SRGB, 3000, 0, IIP_FMT_JPEG, "Off", D, D, D},
        {IIP_RGB, IIP_U8, IIP_ICC_NONE, 0, 0, IIP_FMT_JPEG, "Off", D, D, D},
        {IIP_RGB, IIP_U8, IIP_ICC_OTHER, 65536, 0, IIP_FMT_JPEG, "Off", S, C, D},
        {IIP_RGB, IIP_U8, IIP_ICC_OTHER, 65537, 0, IIP_FMT_JPEG, "Off", C, C, D},
        {IIP_CMYK, IIP_U8, IIP_ICC_OTHER, 500000, 0, IIP_FMT_JPEG, "Off", C, C, C},
        {IIP_CMYK, IIP_U16, IIP_ICC_OTHER, 500, 1, IIP_FMT_TIFF, "On", C, C, C},
        {IIP_CMYK, IIP_U8, IIP_ICC_NONE, 500000, 0, IIP_FMT_JPEG, "Off", D, D, D},
        {IIP_RGB, IIP_U8, IIP_ICC_OTHER, 3000, 1, IIP_FMT_JPEG, "Off", D, D, D}, /* gray: of the values as they lie */
        {IIP_RGB, IIP_F32, IIP_ICC_OTHER, 3000, 0, IIP_FMT_PNG, "On", C, C, C},
        {IIP_RGB, IIP_F64, IIP_ICC_OTHER, 3000, 0, IIP_FMT_TIFF, "Off", C, C, C},
        {IIP_RGB, IIP_F32, IIP_ICC_OTHER, 3000, 0, IIP_FMT_TIFF, "On", S, C, D},
    };
    static const char *const words[] = {"embed", "convert", "strip"};
    apr_pool_t *p;

    apr_pool_create(&p, NULL);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        for (int k = 0; k < 3; k++) {
            iip_info info = picture_info(rows[i].space, rows[i].sample, 0, (bytes){NULL, rows[i].len});
            iip_settings raw;
            iip_request rq;
            int want = k == 0 ? rows[i].embed : k == 1 ? rows[i].convert : rows[i].strip;

            iip_settings_unset(&raw);
            iip_settings_effective(&set, &raw);
            configure("IIPProfile", words[k], p);
            configure("IIPKeepDepth", rows[i].depth, p);
            iip_request_init(&rq, &set);
            rq.format = rows[i].format;
            rq.op[0].kind = IIP_OP_GRAY;
            rq.op_count = rows[i].ops;
            info.icc_kind = rows[i].kind;
            if ((int)iip_request_icc(&rq, &info) != want)
                fail_msg("row %zu, %s: %d, should be %d", i, words[k], iip_request_icc(&rq, &info), want);
        }
    apr_pool_destroy(p);
}

static void test_samples_kept(void **state) /* R30 */
{
    static const struct {
        iip_space space;
        iip_sample sample;
        iip_icc_kind kind;
        int bitonal;
        iip_sample jpeg, png, tiff;
    } rows[] = {
        {IIP_RGB, IIP_U8, IIP_ICC_NONE, 0, IIP_U8, IIP_U8, IIP_U8},
        {IIP_RGB, IIP_U16, IIP_ICC_OTHER, 0, IIP_U8, IIP_U16, IIP_U16},
        {IIP_GREY, IIP_S16, IIP_ICC_NONE, 0, IIP_U8, IIP_U16, IIP_U16},
        {IIP_GREY, IIP_U32, IIP_ICC_NONE, 0, IIP_U8, IIP_U16, IIP_U32},
        {IIP_GREY, IIP_S32, IIP_ICC_NONE, 0, IIP_U8, IIP_U16, IIP_U32},
        {IIP_RGB, IIP_F32, IIP_ICC_NONE, 0, IIP_U8, IIP_U16, IIP_F32},
        {IIP_RGB, IIP_F64, IIP_ICC_NONE, 0, IIP_U8, IIP_U16, IIP_F32},
        {IIP_LAB, IIP_F32, IIP_ICC_NONE, 0, IIP_U8, IIP_U16, IIP_U16},
        {IIP_LAB, IIP_U8, IIP_ICC_NONE, 0, IIP_U8, IIP_U8, IIP_U8},
        {IIP_CMYK, IIP_U16, IIP_ICC_OTHER, 0, IIP_U8, IIP_U16, IIP_U16},
        {IIP_CMYK, IIP_F32, IIP_ICC_NONE, 0, IIP_U8, IIP_U16, IIP_U16},
        {IIP_RGB, IIP_U16, IIP_ICC_NONE, 1, IIP_U8, IIP_U8, IIP_U8},
    };
    iip_settings raw;
    apr_pool_t *p;

    apr_pool_create(&p, NULL);
    for (int on = 0; on < 2; on++) {
        iip_settings_unset(&raw);
        iip_settings_effective(&set, &raw);
        configure("IIPKeepDepth", on ? "On" : "Off", p);
        for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
            for (int f = 0; f < 3; f++) {
                iip_info info = picture_info(rows[i].space, rows[i].sample, 0, (bytes){NULL, 0});
                iip_sample want = f == 0 ? rows[i].jpeg : f == 1 ? rows[i].png : rows[i].tiff;
                iip_request rq;

                iip_request_init(&rq, &set);
                info.icc_kind = rows[i].kind;
                rq.format = f == 0 ? IIP_FMT_JPEG : f == 1 ? IIP_FMT_PNG : IIP_FMT_TIFF;
                rq.op[0].kind = IIP_OP_BITONAL;
                rq.op_count = rows[i].bitonal;
                if (iip_request_sample(&rq, &info) != (on ? want : IIP_U8))
                    fail_msg("row %zu, format %d: %d", i, f, iip_request_sample(&rq, &info));
            }
    }
    apr_pool_destroy(p);
}

/* The formula against the pairs published with it (Sharma, Wu, Dalal 2005, table 1). */
static void test_delta_e(void **state)
{
    static const double rows[][7] = {{50, 2.6772, -79.7751, 50, 0, -82.7485, 2.0425},
                                     {50, 3.1571, -77.2803, 50, 0, -82.7485, 2.8615},
                                     {50, -1.3802, -84.2814, 50, 0, -82.7485, 1.0000},
                                     {50, 0, 0, 50, -1, 2, 2.3669},
                                     {50, 2.49, -0.001, 50, -2.49, 0.0009, 7.1792},
                                     {50, 2.5, 0, 50, 0, -2.5, 4.3065},
                                     {50, 2.5, 0, 73, 25, -18, 27.1492},
                                     {60.2574, -34.0099, 36.2677, 60.4626, -34.1751, 39.4387, 1.2644},
                                     {22.7233, 20.0904, -46.694, 23.0331, 14.973, -42.5619, 2.0373},
                                     {2.0776, 0.0795, -1.135, 0.9033, -0.0636, -0.5514, 0.9082}};

    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        assert_true(fabs(delta_e(rows[i], rows[i] + 3) - rows[i][6]) < 1e-4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_delta_e),         cmocka_unit_test(test_kinds),
        cmocka_unit_test(test_matrix_profiles), cmocka_unit_test(test_grey_profiles),
        cmocka_unit_test(test_numbers),         cmocka_unit_test(test_inks),
        cmocka_unit_test(test_scanner),         cmocka_unit_test(test_threads),
        cmocka_unit_test(test_damaged),         cmocka_unit_test(test_bomb),
        cmocka_unit_test(test_use_of_profiles), cmocka_unit_test(test_samples_kept),
    };
    apr_pool_t *p;
    int failed;

    apr_initialize();
    apr_pool_create(&p, NULL);
    iip_settings_init(p);
    failed = cmocka_run_group_tests_name("icc", tests, NULL, NULL);
    apr_pool_destroy(p);
    apr_terminate();
    return failed;
}
#else
int main(void)
{
    puts("icc: this build has no lcms2");
    return 0;
}
#endif
