/* SPDX-License-Identifier: Apache-2.0
 * Image processing on floats (spec/iip.md 6, step 4): the stages between a picture's own samples and 8 bits, and what
 * they share. Rows are interleaved floats, 0..1 of the range and beyond; alpha, if there is one, is the last band, 0..1
 * and left alone. Sums are in one order and never fused, and powers are our own, so that all machines make the same
 * bytes. */
#ifndef IIP_PROCESS_H
#define IIP_PROCESS_H
#include "ops.h"
#include "raster/stage.h"

/* n pixels of what comes in to n pixels of what goes out; the two overlap nowhere. */
typedef void iip_map_fn(const iip_stage_t *s, const void *in, void *out, size_t n);
/* A stage that makes pixels one by one into rows of its own: few enough to stay in the nearer caches. */
#define IIP_MAP_BYTES (64 << 10)
typedef struct {
    iip_stage_t base;
    iip_map_fn *fn;
    iip_raster strip;
} iip_map;
/* size bytes that begin with an iip_map, delivering bands of sample. */
void *iip_map_new(size_t size, iip_stage_t *up, int bands, iip_sample sample, iip_map_fn *fn, iip_budget *b,
                  apr_pool_t *p, iip_error *e);

/* A stage whose pixels depend on those up to margin away. Rows are those of the picture from margin above to margin
 * below, each with margin pixels more at either end; what lies outside is the edge repeated. row[margin] is the one to
 * be made; top, bottom: it is the first, the last of all. */
#define IIP_NEAR_MOST 2
typedef struct iip_near iip_near;
typedef void iip_near_fn(const iip_near *s, const float *const *row, float *out, size_t n);
struct iip_near {
    iip_stage_t base;
    iip_near_fn *fn;
    int margin, top, bottom;
    iip_raster ring;
    int64_t have, done;
    iip_raster strip;
};
void *iip_near_new(size_t size, iip_stage_t *up, int margin, iip_near_fn *fn, iip_budget *b, apr_pool_t *p,
                   iip_error *e);

/* What a band's samples become: (sample - low) * factor. */
typedef struct {
    double low, factor;
} iip_band;
void iip_band_set(iip_band *band, double lo, double hi); /* no width: a step */
/* process.c: the range of band i without a request's: the file's if its samples are its own, else all they can be. */
void iip_band_range(const iip_info *info, iip_sample sample, int own, int i, double *lo, double *hi);

/* ---- the stages, in order ---- */

/* float.c. The first `colours` bands of samples of any kind, and alpha if there is one, to floats. What is no finite
 * number becomes 0, or a NaN with keep. band lives as long as the stage. */
iip_stage_t *iip_stage_float(iip_stage_t *up, const iip_band *band, int colours, int alpha, int keep, iip_budget *b,
                             apr_pool_t *p, iip_error *e);
/* shade.c: light on normals, the first three bands: one band. */
iip_stage_t *iip_stage_shade(iip_stage_t *up, const iip_op *op, int alpha, iip_budget *b, apr_pool_t *p, iip_error *e);
/* relief.c: light on heights, the only band beside alpha, by Horn's slopes. dx, dy: size of a pixel. Values are those
 * of gdaldem hillshade, (1 + 254 * cosine) / 255; 0 where a height beside is no number. At the picture's edges heights
 * go on as they came. */
iip_stage_t *iip_stage_relief(iip_stage_t *up, const iip_op *op, double dx, double dy, int alpha, iip_budget *b,
                              apr_pool_t *p, iip_error *e);
/* matrix.c */
iip_stage_t *iip_stage_twist(iip_stage_t *up, const iip_op *op, int alpha, iip_budget *b, apr_pool_t *p, iip_error *e);
/* curve.c: gamma, log and invert. In place. */
iip_stage_t *iip_stage_curve(iip_stage_t *up, const iip_op *op, int alpha, iip_budget *b, apr_pool_t *p, iip_error *e);
/* cmap.c: the first band to RGB. */
iip_stage_t *iip_stage_cmap(iip_stage_t *up, const iip_op *op, int alpha, iip_budget *b, apr_pool_t *p, iip_error *e);
/* convolve.c: weights over the pixels around, edges repeated. */
iip_stage_t *iip_stage_convolve(iip_stage_t *up, const iip_op *op, int alpha, iip_budget *b, apr_pool_t *p,
                                iip_error *e);
/* quantise.c: contrast times 255 v, cut to 0..255 and to a whole number; of more than three colours the first three, of
 * two the first. */
iip_stage_t *iip_stage_quantise(iip_stage_t *up, double contrast, int alpha, iip_budget *b, apr_pool_t *p,
                                iip_error *e);

/* curve.c: v^g, v at least 0, for tests too. */
void iip_curve_gamma(float *v, size_t n, float g);
void iip_curve_log(float *v, size_t n);
#endif
