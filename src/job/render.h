/* SPDX-License-Identifier: Apache-2.0
 * The picture of a job: decoded, cut, scaled, written (spec/imgserve.md section 3). Runs in a process of its own, with
 * no network (spec/security.md section 7): codecs and librsvg meet strangers' bytes here. */
#ifndef IIP_JOB_RENDER_H
#define IIP_JOB_RENDER_H
#include "job/job.h"
#include "raster/raster.h"

/* What the head of a source says of it. */
typedef struct {
    int64_t w, h; /* upright, turned as the job asks */
} job_head;

/* Size of the answer for a source of that size, and the part of it that is shown, in its pixels. JOB_E_ENLARGE. Pure.
 * For JOB_PAD the part is all of it, and *out_w, *out_h are without the margins. */
typedef struct {
    double x, y, w, h;    /* part of the source */
    int64_t out_w, out_h; /* what it becomes */
    int64_t left, top;    /* where that lies in the result */
} job_frame;
job_code job_frame_of(const job_t *j, double w, double h, job_frame *f, job_error *e);

/* Header alone, no pixel: what is asked in an httpd child. JOB_E_NO_PICTURE, JOB_E_TOO_LARGE (max_pixels). whole: the
 * source is all there; else its beginning, and *more is set to 1 if that is not enough. */
job_code job_look(const job_t *j, const job_place *place, iip_source_t *s, int whole, job_head *head, int *more,
                  apr_pool_t *p, job_error *e);

/* The result into k. memory: bytes it may hold. JOB_E_NO_PICTURE, JOB_E_TOO_LARGE, JOB_E_ENLARGE, JOB_E_SVG; transient
 * where memory or time ran out. *encode: time that the format's writer took. */
job_code job_render(const job_t *j, const job_place *place, iip_source_t *s, size_t memory, iip_sink *k,
                    apr_interval_time_t *encode, apr_pool_t *p, job_error *e);

/* svg.c. Well-formed, root svg, not too many elements: by expat alone, piece by piece, none of which is kept.
 * Compressed or not. JOB_E_SVG, JOB_E_TOO_LARGE (inflated); after one of these only p is to be cleared. NULL: no
 * memory. */
typedef struct job_svg job_svg;
job_svg *job_svg_begin(int64_t max_bytes, apr_pool_t *p);
job_code job_svg_feed(job_svg *s, const void *data, size_t n, job_error *e);
/* Its natural size in pixels of 1/96 inch (0: it has none). */
job_code job_svg_end(job_svg *s, double *w, double *h, job_error *e);
/* All of them for one that is there as a whole. */
job_code job_svg_look(const void *data, size_t n, int64_t max_bytes, double *w, double *h, apr_pool_t *p, job_error *e);
/* The part f of it, in those pixels, drawn into out at f's place: straight RGBA, zeroed by the caller. By librsvg,
 * which loads nothing. JOB_E_SVG. */
job_code job_svg_draw(const void *data, size_t n, int64_t max_bytes, const job_frame *f, iip_raster *out, apr_pool_t *p,
                      job_error *e);

/* 8-bit rows of top -> encoder -> k, strip by strip unless the format needs all of them at once. rgb: behind
 * transparent pixels where the format has none. b: asked whether there is time left, and charged. *took: grows by the
 * time of the writer. */
job_code job_write(const job_t *j, const job_place *place, iip_stage_t *top, const iip_enc_opts *opts, int rgb,
                   iip_budget *b, iip_sink *k, apr_interval_time_t *took, apr_pool_t *p, job_error *e);

/* placeholder.c: w x h of one colour with a text in its middle, where it fits: RGB. Few rows of it are ever held, since
 * httpd's children make them. NULL: no memory. */
iip_stage_t *job_placeholder(int64_t w, int64_t h, int ground, int ink, const char *text, apr_pool_t *p);
/* accept.c: such a picture (or the place's own, for its placeholder text) as a file of the job's format, in memory:
 * *fd, to be closed by the caller; others may read the same file. Small ones are kept for the next. JOB_E_STORE. */
job_code job_keep_placeholder(const job_t *j, const job_place *place, int64_t w, int64_t h, const char *text, int *fd,
                              int64_t *size, apr_pool_t *p, job_error *e);
#endif
