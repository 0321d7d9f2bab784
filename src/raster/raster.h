/* SPDX-License-Identifier: Apache-2.0
 * Pixels pulled strip by strip: cells of a level > 8-bit strips > scale > operations > turn > what the encoder takes.
 */
#ifndef IIP_RASTER_H
#define IIP_RASTER_H
#include "request.h"

typedef struct iip_stage iip_stage_t;
struct iip_stage {
    iip_stage_t *up;  /* where this one gets its rows; NULL for the source */
    iip_raster shape; /* of what it delivers in all; px unused */
    /* Delivers the next strip of 1..max_rows rows; *out is valid until the next call and may be written to by the
     * caller (stages work in place). IIP_OK with out->h == 0 is the end. */
    iip_status (*next)(iip_stage_t *s, int64_t max_rows, iip_raster *out, iip_error *e);
};

/* Where a request's time went; microseconds. */
typedef struct {
    apr_interval_time_t open, read, decode, process, encode, send;
} iip_times;

/* Where an answer came from: the child's cache, memcached, another request that made it just then, the file as it lies,
 * or work of its own. */
typedef enum { IIP_CAME_NOWHERE, IIP_CAME_HIT, IIP_CAME_SHARED, IIP_CAME_WAIT, IIP_CAME_RAW, IIP_CAME_MISS } iip_came;

/* Counts bytes held by one request; every stage that keeps rows charges it. Never waits. gone: asks if the client hung
 * up. spent and came are only kept for the log and `iip -t`. */
typedef struct {
    iip_times spent;
    iip_came came;
    size_t limit, used, peak; /* bytes */
    uint64_t client;          /* who asks: a hash of the address */
    int64_t per_client;       /* how many of those may decode at once, 0 = no limit */
    apr_time_t until;         /* deadline of the computation, 0 = none */
    int (*gone)(void *ctx);   /* may be NULL */
    void *gone_ctx;
} iip_budget;
iip_status iip_budget_take(iip_budget *b, size_t n, iip_error *e); /* IIP_E_MEMORY */
void iip_budget_back(iip_budget *b, size_t n);
iip_status iip_budget_check(const iip_budget *b, iip_error *e); /* IIP_E_TIMEOUT, IIP_E_ABORTED: once per strip */
/* malloc charged to b, freed and given back by a cleanup of p, which b must outlive. NULL: *e is filled. 64-byte
 * aligned. */
void *iip_budget_alloc(iip_budget *b, size_t n, apr_pool_t *p, iip_error *e);

/* Fills out with `want` of a level (upright coordinates, inside the level); out is sized by the caller. Cheapest when
 * want is a row of cells: then each is decoded once. The cache hides behind it. Of planes, out is IIP_PLANES rasters as
 * iip_plane_rect() sizes them; edges of want are even but where the level ends. */
typedef iip_status iip_fetch_fn(void *ctx, int level, iip_rect want, iip_raster *out, iip_error *e);

/* profile.c: what turns colours of a picture's profile to sRGB. Any number of threads may use it at once. It depends on
 * the profile, on alpha and on whether samples have 8 bits or more. NULL: memory is out. */
typedef struct iip_transform iip_transform;
iip_transform *iip_transform_make(const iip_info *info);
void iip_transform_free(void *transform);
size_t iip_transform_size(const iip_transform *t); /* bytes it holds */

/* histogram.c: of the values of a picture's smallest level (spec/iip.md 6.6): the mean of the colours of each pixel as
 * 0..255 of the range. */
typedef struct {
    int64_t count[256];
    int first, last;          /* bins that are not empty; 0 and 255 if all are */
    int threshold;            /* Otsu's: values from this on are white */
    unsigned char equal[256]; /* a value through the sums */
} iip_histogram;
/* Counts from the level at `level`. Reads rows like the pipeline, charged to b. */
iip_status iip_histogram_make(iip_histogram *h, const iip_info *info, iip_fetch_fn *fetch, void *ctx, iip_budget *b,
                              apr_pool_t *p, iip_error *e);

/* A watermark for one answer. */
typedef struct {
    const iip_raster *mark;   /* U8, RGB and straight alpha */
    double opacity, chance;   /* 0..1 */
    int64_t block_w, block_h; /* at most once in each of these, from the answer's upper left */
    uint64_t seed;            /* decides where and whether */
} iip_stamp;

/* What a request needs besides its picture, each NULL where it does not. They live as long as the pipeline. */
typedef struct {
    const iip_transform *colours;   /* iip_request_icc() is IIP_ICC_CONVERT */
    const iip_histogram *histogram; /* iip_request_counts() */
    const iip_stamp *stamp;         /* iip_request.watermark */
} iip_aids;

/* Builds the chain for a resolved request: top delivers exactly what enc takes (sample, 1/3 bands, or 2/4 where it
 * takes alpha), turned, canvas size in top->shape. Memory from p, charged to b. enc NULL: alpha is kept. aids NULL:
 * none is needed. */
iip_status iip_pipeline_build(iip_stage_t **top, const iip_request *rq, const iip_info *info, const iip_encoder *enc,
                              const iip_aids *aids, iip_fetch_fn *fetch, void *ctx, iip_budget *b, apr_pool_t *p,
                              iip_error *e);

/* planes.c. The same where iip_request_planes() says so: top[k] delivers plane k of the answer. To be pulled in turn,
 * *turn rows of Y (2, 4, 8 or 16), half as many of Cb and of Cr: what one plane is ahead of another is held, which is
 * then no more than IIP_PLANES_HELD rows of the level. A strip is valid until the next call of any of the three. */
#define IIP_PLANES_HELD 96
iip_status iip_planes_build(iip_stage_t *top[IIP_PLANES], int64_t *turn, const iip_request *rq, const iip_info *info,
                            iip_fetch_fn *fetch, void *ctx, iip_budget *b, apr_pool_t *p, iip_error *e);
/* What of the level is fetched then: iip_request_cover() with even edges, but where the level ends. */
iip_rect iip_planes_cover(const iip_request *rq, const iip_info *info);
/* RGB of 8 bits to planes of 4:2:0 by JFIF's formulas; a chroma sample is the mean of its pixels. */
void iip_planes_of(const iip_raster *rgb, iip_raster *out);

/* The stages, in order; each returns NULL with *e filled when the budget is out, and may return up when there is
 * nothing to do. Files have the function's name. */
/* level.c: strips of the window's pixel cover [floor(x), ceil(x+w)) on the level, as tall as a row of cells allows. */
iip_stage_t *iip_stage_level(const iip_rect *cover, int level, const iip_info *info, iip_fetch_fn *fetch, void *ctx,
                             iip_budget *b, apr_pool_t *p, iip_error *e);
/* colour.c: any space and sample to grey or RGB of 8 bits, alpha kept; or of another sample: U16 from what is wider
 * than 8 bits, U32 from 32 bits, F32 from floats, whose values then stay what they are. inks: CMYK stays. Integers take
 * all the range of their samples; of a multiband picture the first three bands are taken, or the first. */
iip_stage_t *iip_stage_colour(iip_stage_t *up, const iip_info *info, iip_sample sample, int inks, iip_budget *b,
                              apr_pool_t *p, iip_error *e);
/* profile.c: the colours of t's profile, as iip_stage_colour() makes them of its picture (8 bits from 8 bits, else 16;
 * inks kept), to sRGB of 8 or 16 bits, no wider than they were. */
iip_stage_t *iip_stage_profile(iip_stage_t *up, const iip_transform *t, iip_sample sample, iip_budget *b, apr_pool_t *p,
                               iip_error *e);
/* scale.c: win (relative to the rows' first pixel) to w x h. filter: an IIP_INTERPOLATE_ value. Alpha-weighted. Edges
 * of the window are its own: nothing bleeds in from outside. U8, U16, U32, F32, as all from here on. */
iip_stage_t *iip_stage_scale(iip_stage_t *up, const iip_window *win, int64_t w, int64_t h, int filter, int alpha,
                             iip_budget *b, apr_pool_t *p, iip_error *e);
/* process.c: the operations before IIP_OP_SCALED, on floats, to 8 bits of one band or three, and alpha. own: up's
 * samples are the picture's own, all bands of them; else RGB or grey made of them. h: for IIP_OP_STRETCH. */
iip_stage_t *iip_stage_process(iip_stage_t *up, const iip_request *rq, const iip_info *info, int own,
                               const iip_histogram *h, int alpha, iip_budget *b, apr_pool_t *p, iip_error *e);
/* tone.c: one of the operations from IIP_OP_SCALED on, in place. */
iip_stage_t *iip_stage_op(iip_stage_t *up, const iip_op *op, const iip_histogram *h, int alpha, iip_budget *b,
                          apr_pool_t *p, iip_error *e);
/* rotate.c: mirror, quarter turns, any angle (adds alpha, transparent corners). */
iip_stage_t *iip_stage_mirror(iip_stage_t *up, iip_budget *b, apr_pool_t *p, iip_error *e);
iip_stage_t *iip_stage_rotate(iip_stage_t *up, double degrees, int alpha, iip_budget *b, apr_pool_t *p, iip_error *e);
/* flatten.c: straight alpha over 0xrrggbb, a grey picture over its grey; drops the alpha band. */
iip_stage_t *iip_stage_flatten(iip_stage_t *up, int rgb, iip_budget *b, apr_pool_t *p, iip_error *e);

/* blur.c: IIP_OP_BLUR and IIP_OP_SHARPEN; U8. sigma above 0. Edge pixels go on outside of the picture. */
#define IIP_MAX_SIGMA 64
int iip_blur_radius(double sigma);
iip_stage_t *iip_stage_blur(iip_stage_t *up, double sigma, int sharpen, int alpha, iip_budget *b, apr_pool_t *p,
                            iip_error *e);
/* frame.c: up at frame's x, y of its w x h, within which it fits. rgb: of the ground, -1: transparent (adds alpha where
 * there is none). A grey picture has a grey ground. */
iip_stage_t *iip_stage_frame(iip_stage_t *up, const iip_rect *frame, int rgb, int alpha, iip_budget *b, apr_pool_t *p,
                             iip_error *e);
/* busy.c: where a part of w x h of an 8-bit picture lies in which most happens. Neither side of the picture is above
 * IIP_BUSY_SIDE. */
#define IIP_BUSY_SIDE 128
void iip_busiest(const iip_raster *r, int64_t w, int64_t h, int64_t *x, int64_t *y);

/* watermark.c: colours plus those of the mark, by its alpha and opacity, up to white. U8, in place; alpha stays. */
iip_stage_t *iip_stage_watermark(iip_stage_t *up, const iip_stamp *stamp, int alpha, iip_budget *b, apr_pool_t *p,
                                 iip_error *e);

/* Canvas of w x h turned clockwise by any angle (spec/iiif.md R25). */
void iip_rotate_canvas(int64_t w, int64_t h, double degrees, int64_t *ow, int64_t *oh);
#endif
