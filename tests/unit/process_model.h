/* SPDX-License-Identifier: Apache-2.0
 * For tests of image processing: random pictures in memory, and spec/iip.md 6 worked out for them plainly, in doubles
 * and for the whole picture. */
#ifndef PROCESS_MODEL_H
#define PROCESS_MODEL_H
#include "strips.h"
#include "ops.h"
#include "raster/process.h"

/* ---- a picture of one level, read by cells ---- */

typedef struct {
    picture pic;
    iip_info info;
    float range[2][8];
} source;

static inline iip_status fetch(void *ctx, int level, iip_rect want, iip_raster *out, iip_error *e)
{
    const source *s = ctx;
    size_t size = iip_sample_size(out->sample);

    assert_int_equal(level, 0);
    assert_true(want.x >= 0 && want.y >= 0 && want.x + want.w <= s->pic.w && want.y + want.h <= s->pic.h);
    for (int64_t y = 0; y < want.h; y++)
        for (int64_t i = 0; i < want.w * out->bands; i++)
            sample_put(out->px + (size_t)y * out->stride + (size_t)i * size, out->sample,
                       at(&s->pic, want.x, want.y + y, 0)[i]);
    return IIP_OK;
}

/* What samples of a kind can be. */
static inline void whole_range(iip_sample s, double *lo, double *hi)
{
    static const double ends[][2] = {
        [IIP_U8] = {0, 255},         [IIP_U16] = {0, 65535}, [IIP_U32] = {0, 4294967295.},
        [IIP_S16] = {-32768, 32767}, [IIP_F32] = {0, 1},     [IIP_S32] = {-2147483648., 2147483647},
        [IIP_F64] = {0, 1},
    };

    *lo = ends[s][0];
    *hi = ends[s][1];
}

static inline double noise(unsigned *seed)
{
    return rnd(seed) % 65536 / 65535.;
}

static inline double uniform(unsigned *seed, double lo, double hi)
{
    return lo + (hi - lo) * noise(seed);
}

static inline void source_open(source *s, iip_sample sample, int bands, int alpha, unsigned *seed)
{
    double lo, hi;

    memset(s, 0, sizeof *s);
    s->pic = picture_new(20 + rnd(seed) % 50, 20 + rnd(seed) % 50, bands, sample);
    whole_range(sample, &lo, &hi);
    for (int64_t i = 0; i < s->pic.w * s->pic.h * bands; i++) {
        double v = uniform(seed, lo, hi);

        if (sample != IIP_F32 && sample != IIP_F64)
            v = floor(rnd(seed) % 8 ? v : rnd(seed) % 2 ? lo : hi);
        s->pic.v[i] = sample == IIP_F64 ? v : (double)(float)v;
        if (sample == IIP_U32 || sample == IIP_S32)
            s->pic.v[i] = v;
    }
    s->info = (iip_info){.levels = 1, .virtual_from = 1, .pages = 1, .bands = bands, .sample = sample, .alpha = alpha};
    s->info.bits = 8 * (int)iip_sample_size(sample);
    s->info.level[0] = (iip_level){s->pic.w, s->pic.h, 16, 16};
    s->info.space = bands - alpha < 3 ? IIP_GREY : bands - alpha == 3 ? IIP_RGB : IIP_MULTIBAND;
    if (bands - alpha == 2)
        s->info.space = IIP_MULTIBAND;
    if (rnd(seed) % 3 == 0) { /* as tags would say */
        for (int b = 0; b < bands; b++) {
            s->range[0][b] = (float)uniform(seed, lo, lo + (hi - lo) / 4);
            s->range[1][b] = (float)uniform(seed, hi - (hi - lo) / 4, hi);
        }
        s->info.min = s->range[0];
        s->info.max = s->range[1];
    }
}

/* ---- the model: a picture of doubles without alpha, the whole of it ---- */

static inline picture copy_bands(const picture *in, int bands)
{
    picture out = picture_new(in->w, in->h, bands, IIP_F64);

    for (int64_t i = 0; i < in->w * in->h; i++)
        for (int b = 0; b < bands && b < in->bands; b++)
            out.v[i * bands + b] = in->v[i * in->bands + b];
    return out;
}

static inline double cut(double v, double lo, double hi)
{
    return v < lo ? lo : v > hi ? hi : v;
}

static inline void model_histogram(const source *s, double count[256])
{
    int colours = s->info.bands - s->info.alpha;

    memset(count, 0, 256 * sizeof *count);
    for (int64_t i = 0; i < s->pic.w * s->pic.h; i++) {
        double mean = 0, lo, hi;

        for (int b = 0; b < colours; b++) {
            whole_range(s->info.sample, &lo, &hi);
            if (s->info.min && s->info.sample != IIP_U8) {
                lo = s->info.min[b];
                hi = s->info.max[b];
            }
            mean += (s->pic.v[i * s->info.bands + b] - lo) / (hi - lo) / colours;
        }
        count[(int)cut(floor(255 * mean + 0.5), 0, 255)]++;
    }
}

static inline int model_otsu(const double count[256])
{
    double best = 0;
    int at = 0;

    for (int t = 1; t < 256; t++) {
        double w[2] = {0}, m[2] = {0}, between;

        for (int v = 0; v < 256; v++) {
            w[v >= t] += count[v];
            m[v >= t] += v * count[v];
        }
        between = w[0] > 0 && w[1] > 0 ? w[0] * w[1] * pow(m[0] / w[0] - m[1] / w[1], 2) : 0;
        if (between > best * (1 + 1e-12)) {
            best = between;
            at = t;
        }
    }
    return at;
}

static inline void model_range(const source *s, const iip_request *rq, int band, double *lo, double *hi)
{
    const iip_op *op;

    whole_range(s->info.sample, lo, hi);
    if (iip_op_find(rq, IIP_OP_STRETCH)) {
        double count[256], from, to;
        int first = 0, last = 255;

        if (s->info.min && s->info.sample != IIP_U8) {
            *lo = s->info.min[band];
            *hi = s->info.max[band];
        }
        from = *lo;
        to = *hi;
        model_histogram(s, count);
        while (count[first] == 0)
            first++;
        while (count[last] == 0)
            last--;
        *lo = from + first / 255. * (to - from);
        *hi = from + last / 255. * (to - from);
        return;
    }
    if (s->info.min) {
        *lo = s->info.min[band];
        *hi = s->info.max[band];
    }
    if (!(op = iip_op_find(rq, IIP_OP_MINMAX)))
        return;
    for (int i = 0; i < op->argc; i += 3)
        if (op->arg[i] == -1 || op->arg[i] == band) {
            *lo = op->arg[i + 1];
            *hi = op->arg[i + 2];
        }
}

static inline picture model_shade(const picture *in, const float *arg)
{
    picture out = picture_new(in->w, in->h, 1, IIP_F64);
    double y = cos(arg[0] * M_PI / 180), x = sqrt(1 - y * y) * (arg[0] > 180 ? -1 : 1);
    double z = -sin(arg[1] * M_PI / 180), length = sqrt(x * x + y * y + z * z);

    for (int64_t i = 0; i < in->w * in->h; i++) {
        const double *c = in->v + i * in->bands;
        double sum = x * -(c[0] - 0.5) * 2 + y * -(c[1] - 0.5) * 2 + z * -(c[2] - 0.5) * 2;

        out.v[i] = c[0] == 0 && c[1] == 0 && c[2] == 0 ? 0 : cut(0.5 * sum / length, 0, 1);
    }
    return out;
}

/* A height beside the picture: upwards and downwards it goes on as it came, and to the sides but at the corners. */
static inline double height(const picture *p, int64_t x, int64_t y, int side)
{
    int64_t in_y = y < 0 ? 0 : y >= p->h ? p->h - 1 : y, in_x = x < 0 ? 0 : x >= p->w ? p->w - 1 : x;

    if (y != in_y)
        return 2 * *at(p, in_x, in_y, 0) - *at(p, in_x, 2 * in_y - y, 0);
    if (x != in_x && side)
        return 2 * *at(p, in_x, y, 0) - *at(p, 2 * in_x - x, y, 0);
    return *at(p, in_x, y, 0);
}

static inline picture model_relief(const picture *in, const iip_op *op)
{
    picture out = picture_new(in->w, in->h, 1, IIP_F64);
    const double rad = M_PI / 180, z = op->argc > 2 ? op->arg[2] : 1;

    for (int64_t y = 0; y < in->h; y++)
        for (int64_t x = 0; x < in->w; x++) {
            const int side = y > 0 && y < in->h - 1;
            double p = 0, q = 0, cosine;

            for (int k = -1; k <= 1; k++) {
                p += (2 - abs(k)) * (height(in, x + 1, y + k, side) - height(in, x - 1, y + k, side));
                q += (2 - abs(k)) * (height(in, x + k, y + 1, side) - height(in, x + k, y - 1, side));
            }
            p *= z / 8; /* rise to the right */
            q *= z / 8; /* and downwards */
            /* normal (-p, q, 1) with y up; light from azimuth and altitude */
            cosine = (-p * sin(op->arg[0] * rad) * cos(op->arg[1] * rad) +
                      q * cos(op->arg[0] * rad) * cos(op->arg[1] * rad) + sin(op->arg[1] * rad)) /
                     sqrt(1 + p * p + q * q);
            *at(&out, x, y, 0) = cosine > 0 ? (1 + 254 * cosine) / 255 : 1 / 255.;
        }
    return out;
}

static inline picture model_twist(const picture *in, const float *arg)
{
    int rows = (int)arg[0], cols = (int)arg[1];
    picture out = picture_new(in->w, in->h, rows, IIP_F64);

    for (int64_t i = 0; i < in->w * in->h; i++)
        for (int r = 0; r < rows; r++)
            for (int c = 0; c < cols && c < in->bands; c++)
                out.v[i * rows + r] += arg[2 + r * cols + c] * in->v[i * in->bands + c];
    return out;
}

static inline void colour_of(iip_cmap map, double v, double rgb[3])
{
    double w = cut(v, 0, 1);

    memset(rgb, 0, 3 * sizeof *rgb);
    switch (map) {
    case IIP_CMAP_HOT:
        for (int c = 0; c < 3; c++)
            rgb[c] = cut(3 * w - c, 0, 1);
        return;
    case IIP_CMAP_COLD:
        for (int c = 0; c < 3; c++)
            rgb[2 - c] = cut(3 * w - c, 0, 1);
        return;
    case IIP_CMAP_JET:
        if (v < 0)
            return;
        if (v < 1 / 8.)
            rgb[2] = 4 * v + 0.5;
        else if (v < 3 / 8.)
            rgb[1] = 4 * v - 0.5, rgb[2] = 1;
        else if (v < 5 / 8.)
            rgb[0] = 4 * v - 1.5, rgb[1] = 1, rgb[2] = 2.5 - 4 * v;
        else if (v < 7 / 8.)
            rgb[0] = 1, rgb[1] = 3.5 - 4 * v;
        else
            rgb[0] = v < 1 ? 4.5 - 4 * v : 0.5;
        return;
    case IIP_CMAP_RED:
    case IIP_CMAP_GREEN:
    case IIP_CMAP_BLUE:
        rgb[map - IIP_CMAP_RED] = w;
        return;
    default:
        rgb[0] = rgb[1] = rgb[2] = w;
    }
}

static inline picture model_cmap(const picture *in, iip_cmap map)
{
    picture out = picture_new(in->w, in->h, 3, IIP_F64);

    for (int64_t i = 0; i < in->w * in->h; i++)
        colour_of(map, in->v[i * in->bands], &out.v[3 * i]);
    return out;
}

static inline picture model_convolve(const picture *in, const float *arg)
{
    picture out = picture_new(in->w, in->h, in->bands, IIP_F64);
    int n = (int)arg[0];
    double sum = 0;

    for (int i = 0; i < n * n; i++)
        sum += arg[1 + i];
    for (int64_t y = 0; y < in->h; y++)
        for (int64_t x = 0; x < in->w; x++)
            for (int b = 0; b < in->bands; b++)
                for (int i = 0; i < n * n; i++) {
                    int64_t u = (int64_t)cut((double)(x + i % n - n / 2), 0, (double)(in->w - 1));
                    int64_t v = (int64_t)cut((double)(y + i / n - n / 2), 0, (double)(in->h - 1));

                    *at(&out, x, y, b) += arg[1 + i] / (sum > 0 ? sum : 1) * *at(in, u, v, b);
                }
    return out;
}

/* All of step 4 for the whole picture, before contrast; *least: how near to a leap of a colour map a value came. */
static inline picture model_floats(const source *s, const iip_request *rq, double *least)
{
    const int heights = s->info.bands - s->info.alpha == 1 && iip_op_find(rq, IIP_OP_SHADE);
    picture v = copy_bands(&s->pic, s->info.bands - s->info.alpha);

    *least = 1;
    for (int b = 0; b < v.bands && !heights; b++) {
        double lo, hi;

        model_range(s, rq, b, &lo, &hi);
        for (int64_t i = 0; i < v.w * v.h; i++)
            v.v[i * v.bands + b] = (v.v[i * v.bands + b] - lo) / (hi - lo);
    }
    for (int k = 0; k < rq->op_count; k++) {
        const iip_op *op = &rq->op[k];
        picture was = v;
        double *x;

        switch (op->kind) {
        case IIP_OP_SHADE:
            v = heights ? model_relief(&was, op) : model_shade(&was, op->arg);
            free(was.v);
            break;
        case IIP_OP_TWIST:
            v = model_twist(&was, op->arg);
            free(was.v);
            break;
        case IIP_OP_CMAP:
            for (int64_t i = 0; i < v.w * v.h; i++)
                if (op->arg[0] == IIP_CMAP_JET)
                    *least = fmin(*least, v.v[i * v.bands] != 0 ? fabs(v.v[i * v.bands]) : 1);
            v = model_cmap(&was, (iip_cmap)op->arg[0]);
            free(was.v);
            break;
        case IIP_OP_CONVOLVE:
            v = model_convolve(&was, op->arg);
            free(was.v);
            break;
        default:
            for (x = v.v; x < v.v + v.w * v.h * v.bands; x++)
                *x = op->kind == IIP_OP_GAMMA    ? pow(fmax(*x, 0), op->arg[0])
                     : op->kind == IIP_OP_LOG    ? log(1 + 255 * fmax(*x, 0)) / log(256)
                     : op->kind == IIP_OP_INVERT ? 1 - *x
                                                 : *x;
        }
    }
    return v;
}

#endif
