/* SPDX-License-Identifier: Apache-2.0
 * What a request means for a given image: region, size, level, cost, canonical line. Pure functions. */
#ifndef IIP_REQUEST_H
#define IIP_REQUEST_H
#include "codec/codec.h"

/* A request with everything at its default: whole image, its own size, no operation, settings set. */
void iip_request_init(iip_request *rq, const iip_settings *set);

/* Fills src, out_w, out_h, level (and quality, where it was -1) from the upright info. Rules: spec/iiif.md sections 2
 * to 4; all arithmetic on exact integers. Checks the limits: IIP_E_RANGE, IIP_E_LIMIT (also estimated memory and source
 * pixels), IIP_E_FEATURE (growth while upscaling is off). */
iip_status iip_request_resolve(iip_request *rq, const iip_info *info, const iip_limits *lim, iip_error *e);

/* Size w x h (of a region) brought under the limits, aspect kept, at least 1 (spec/iiif.md R20); grow: up to them. */
void iip_size_limit(int64_t w, int64_t h, const iip_limits *lim, int grow, int64_t *ow, int64_t *oh);

/* 1 if answers may be larger than their region: upscaling is on and something bounds it (R23). */
int iip_limits_grow(const iip_limits *lim);
/* What the largest size (`max`; grow: `^max`) of a resolved request's region is, the format's own bound included. */
void iip_request_max(const iip_request *rq, const iip_limits *lim, int grow, int64_t *w, int64_t *h);
/* The height that goes with a width when nothing else is asked, by the request's size_kind (R17, R38). */
int64_t iip_request_height(const iip_request *rq, const iip_info *info, int64_t w);

/* The resolved request and its K settings as one line, numbers as exact text: equal lines are equal bytes of one source
 * and one build. Its length without the NUL that follows, 0 if room is too small. IIP_LINE_MAX is room enough for every
 * request whose operations have no more than 100 numbers, iip_request_room() for this one. */
#define IIP_LINE_MAX 2048
size_t iip_request_room(const iip_request *rq);
size_t iip_request_line(const iip_request *rq, char *out, size_t room);

/* Degrees as the shortest decimal, "22.5", "0.5" (12 places are kept; spec/iiif.md section 7). */
#define IIP_ROTATION_MAX 24
void iip_rotation_text(double degrees, char text[IIP_ROTATION_MAX]);

/* The power of two by which a level (its w and h) is smaller than the picture, 0 if there is none. */
int64_t iip_level_scale(const iip_info *info, const iip_level *l);

/* Where src lies on rq->level, in that level's pixels. When the level is a power of two smaller and the request is a
 * tile of that scale (edges on multiples of it, size floor, round or ceil of the rest), win is whole pixels and *exact
 * is 1: then pixels are copied one to one, a missing last row or column is the one before it (R35). */
typedef struct {
    double x, y, w, h;
    int exact;
} iip_window;
void iip_request_window(const iip_request *rq, const iip_info *info, iip_window *win);

/* 1 if it is exactly one stored tile, unprocessed: then tx, ty on rq->level. Clients count edges from the full size, so
 * the scale of a level is round(W / its width); of a tile at an edge it is what lies inside of the level. */
int iip_request_tile(const iip_request *rq, const iip_info *info, int64_t *tx, int64_t *ty);

/* Size of the answer after rotation (spec/iiif.md R25). */
void iip_request_canvas(const iip_request *rq, int64_t *w, int64_t *h);

/* Bytes the work will hold at its peak, and source pixels it decodes. */
int64_t iip_request_memory(const iip_request *rq, const iip_info *info);
int64_t iip_request_pixels(const iip_request *rq, const iip_info *info);

/* How the work stands to that of others (spec/performance.md 3.5), by an estimate of its time: pixels to decode and to
 * encode, each as its format has it. A small request is soon done. A fair one is not, but no more than a viewer asks
 * for: it waits like a large one, however long the line is. */
typedef enum { IIP_WORK_SMALL, IIP_WORK_FAIR, IIP_WORK_LARGE } iip_work;
iip_work iip_request_work(const iip_request *rq, const iip_info *info);
/* The same of pixels that are decoded alone. */
iip_work iip_decode_work(int64_t pixels, const iip_info *info);

/* request_colour.c. What the samples and colours of a resolved request's answer are comes from the picture's header,
 * the settings, the format and the operations: all tiles of a picture are alike. */
/* U8, or with IIPKeepDepth U16, U32 or F32 where the format has it (R30). */
iip_sample iip_request_sample(const iip_request *rq, const iip_info *info);
/* What becomes of the picture's profile (R32): dropped, sent along, or its colours turned to sRGB. */
typedef enum { IIP_ICC_DROP, IIP_ICC_SEND, IIP_ICC_CONVERT } iip_icc_use;
iip_icc_use iip_request_icc(const iip_request *rq, const iip_info *info);

/* request_ops.c. Brings the operations into the form of this image: what would change nothing is left out. Part of
 * iip_request_resolve(). */
void iip_request_ops(iip_request *rq, const iip_info *info);
/* 1 if the picture's samples go through floats (spec/iip.md 6, step 4; raster/process.c). */
int iip_request_floats(const iip_request *rq, const iip_info *info);
/* 1 if the histogram of the picture is asked for. */
int iip_request_counts(const iip_request *rq);
/* How many pixels around the window those within depend on. */
int iip_request_margin(const iip_request *rq, const iip_info *info);
/* The pixels of rq->level that are read: those under the window, with the margin. */
iip_rect iip_request_cover(const iip_request *rq, const iip_info *info);

/* request_colour.c. 1 if the answer is made plane by plane (raster/planes.c): the picture and the format both are YCbCr
 * 4:2:0, and nothing but resizing is asked. */
int iip_request_planes(const iip_request *rq, const iip_info *info);

/* Answers of more pixels than these are sent while they are made. */
#define IIP_STREAM_PIXELS 4000000
/* 1 if the answer is sent while it is made (JPEG and PNG over 4 Mpx, architecture section 4). */
int iip_request_streams(const iip_request *rq);
#endif
