/* SPDX-License-Identifier: Apache-2.0
 * Operations of a request: what each may be given, and which stand for the same thing. */
#include "ops.h"
#include <math.h>
#include <string.h>
#include <strings.h>

/* Operations of one group replace each other. same: the argument that changes nothing. */
enum { RANGES, LEVELS, SHADE, TWIST, CURVE, INVERT, CMAP, CONVOLVE, COLOURS };
static const struct {
    int group, least, most; /* arguments */
    float same;
} rows[IIP_OP_COUNT] = {
    [IIP_OP_MINMAX] = {RANGES, 3, 3 * IIP_MAX_RANGES, NAN},
    [IIP_OP_STRETCH] = {LEVELS, 0, 0, NAN},
    [IIP_OP_SHADE] = {SHADE, 2, 3, NAN},
    [IIP_OP_TWIST] = {TWIST, 3, 2 + IIP_MAX_ROWS *IIP_MAX_COLS, NAN},
    [IIP_OP_GAMMA] = {CURVE, 1, 1, 1},
    [IIP_OP_LOG] = {CURVE, 0, 0, NAN},
    [IIP_OP_INVERT] = {INVERT, 0, 0, NAN},
    [IIP_OP_CMAP] = {CMAP, 1, 1, -1},
    [IIP_OP_CONVOLVE] = {CONVOLVE, 2, 1 + IIP_MAX_KERNEL *IIP_MAX_KERNEL, NAN},
    [IIP_OP_CONTRAST] = {LEVELS, 1, 1, 1},
    [IIP_OP_GRAY] = {COLOURS, 0, 0, NAN},
    [IIP_OP_BITONAL] = {COLOURS, 0, 0, NAN},
    [IIP_OP_BINARY] = {COLOURS, 0, 0, NAN},
    [IIP_OP_EQUALIZE] = {LEVELS, 0, 0, NAN},
};

const iip_op *iip_op_find(const iip_request *rq, iip_op_kind kind)
{
    for (int i = 0; i < rq->op_count; i++)
        if (rq->op[i].kind == kind)
            return &rq->op[i];
    return NULL;
}

static int is_count(float v, int most)
{
    return v >= 1 && v <= (float)most && v == floorf(v);
}

static iip_status check(iip_op_kind kind, int argc, const float *arg, iip_error *e)
{
    int good = argc >= rows[kind].least;

    if (argc > rows[kind].most)
        return iip_refuse(e, IIP_E_LIMIT, "operation");
    for (int i = 0; good && i < argc; i++)
        good = isfinite(arg[i]);
    if (good && kind == IIP_OP_MINMAX)
        good = argc % 3 == 0;
    if (good && kind == IIP_OP_TWIST) {
        if (arg[0] > IIP_MAX_ROWS || arg[1] > IIP_MAX_COLS)
            return iip_refuse(e, IIP_E_LIMIT, "operation");
        good =
            is_count(arg[0], IIP_MAX_ROWS) && is_count(arg[1], IIP_MAX_COLS) && argc == 2 + (int)arg[0] * (int)arg[1];
    }
    if (good && kind == IIP_OP_CONVOLVE)
        good = is_count(arg[0], IIP_MAX_KERNEL) && (int)arg[0] % 2 && argc == 1 + (int)arg[0] * (int)arg[0];
    if (good && kind == IIP_OP_CMAP)
        good = arg[0] == -1 || arg[0] == 0 || is_count(arg[0], IIP_CMAP_COUNT - 1);
    return good ? IIP_OK : iip_refuse(e, IIP_E_RANGE, "operation");
}

/* Ranges so far and those added; a channel of its own stands once, one for all takes the place of all before it. -1 if
 * they are too many. */
static int add_ranges(const iip_op *old, int argc, const float *arg, float *to)
{
    int n = 0;

    for (int from = 0; from < 2; from++) {
        const float *r = from ? arg : old ? old->arg : NULL;

        for (int left = from ? argc : old ? old->argc : 0; left > 0; left -= 3, r += 3) {
            float c = r[0] < 0 ? -1 : floorf(r[0]);
            int at = 0;

            if (c < 0)
                n = 0;
            while (at < n && to[3 * at] != c)
                at++;
            if (at == IIP_MAX_RANGES)
                return -1;
            n += at == n;
            to[3 * at] = c;
            to[3 * at + 1] = r[1];
            to[3 * at + 2] = r[2];
        }
    }
    return 3 * n;
}

static void take_out(iip_request *rq, int group)
{
    int n = 0;

    for (int i = 0; i < rq->op_count; i++)
        if (rows[rq->op[i].kind].group != group)
            rq->op[n++] = rq->op[i];
    rq->op_count = n;
}

iip_status iip_op_add(iip_request *rq, iip_op_kind kind, int argc, const float *arg, apr_pool_t *p, iip_error *e)
{
    iip_status rv = check(kind, argc, arg, e);
    float *own;
    int at;

    if (rv != IIP_OK)
        return rv;
    own = apr_palloc(p, (size_t)(kind == IIP_OP_MINMAX ? rows[kind].most : argc) * sizeof *own);
    if (kind != IIP_OP_MINMAX && argc > 0)
        memcpy(own, arg, (size_t)argc * sizeof *own);
    if (kind == IIP_OP_MINMAX && (argc = add_ranges(iip_op_find(rq, kind), argc, arg, own)) < 0)
        return iip_refuse(e, IIP_E_LIMIT, "operation");
    for (int i = 0; i < argc; i++)
        own[i] += 0.f; /* no -0: equal numbers have equal bits */
    take_out(rq, rows[kind].group);
    if (argc == 1 && own[0] == rows[kind].same)
        return IIP_OK;
    for (at = rq->op_count++; at > 0 && rq->op[at - 1].kind > kind; at--)
        rq->op[at] = rq->op[at - 1];
    rq->op[at] = (iip_op){(uint16_t)kind, (uint16_t)argc, own};
    return IIP_OK;
}

/* ---- names ---- */

static const char *const cmaps[IIP_CMAP_COUNT] = {
    [IIP_CMAP_HOT] = "hot",         [IIP_CMAP_COLD] = "cold",       [IIP_CMAP_JET] = "jet",
    [IIP_CMAP_RED] = "red",         [IIP_CMAP_GREEN] = "green",     [IIP_CMAP_BLUE] = "blue",
    [IIP_CMAP_GREY] = "grey",       [IIP_CMAP_VIRIDIS] = "viridis", [IIP_CMAP_MAGMA] = "magma",
    [IIP_CMAP_INFERNO] = "inferno", [IIP_CMAP_PLASMA] = "plasma",   [IIP_CMAP_CIVIDIS] = "cividis",
    [IIP_CMAP_TURBO] = "turbo",     [IIP_CMAP_TERRAIN] = "terrain"};

const char *iip_cmap_name(int cmap)
{
    return cmaps[cmap];
}

int iip_cmap_find(const char *name)
{
    for (int i = 0; i < IIP_CMAP_COUNT; i++)
        if (strcasecmp(name, cmaps[i]) == 0)
            return i;
    return strcasecmp(name, "gray") == 0 ? IIP_CMAP_GREY : -1;
}

static const struct {
    const char *name;
    float arg[10];
} kernels[] = {
    {"sobel", {3, -1, 0, 1, -2, 0, 2, -1, 0, 1}},    {"prewitt", {3, 1, 0, -1, 1, 0, -1, 1, 0, -1}},
    {"scharr", {3, -3, 0, 3, -10, 0, 10, -3, 0, 3}}, {"laplace", {3, -1, -1, -1, -1, 8, -1, -1, -1, -1}},
    {"gaussian", {3, 1, 2, 1, 2, 4, 2, 1, 2, 1}},    {"sharpen", {3, 0, -1, 0, -1, 5, -1, 0, -1, 0}},
    {"emboss", {3, -2, -1, 0, -1, 1, 1, 0, 1, 2}},
};

int iip_kernel_find(const char *name, const float **arg)
{
    for (size_t i = 0; i < sizeof kernels / sizeof *kernels; i++)
        if (strcasecmp(name, kernels[i].name) == 0) {
            *arg = kernels[i].arg;
            return (int)(sizeof kernels[i].arg / sizeof *kernels[i].arg);
        }
    return 0;
}
