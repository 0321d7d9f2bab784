/* SPDX-License-Identifier: Apache-2.0
 * Signed thumbnails (spec/imgserve.md section 13): SIGNATURE/OPTION/.../plain/NAME[@EXT], or the name in URL-safe
 * base64 with an extension behind a dot. What options mean is what imgproxy's documentation says of them. */
#ifndef IIP_THUMB_H
#define IIP_THUMB_H
#include "protocol.h"

typedef enum { IIP_THUMB_FIT, IIP_THUMB_FILL, IIP_THUMB_FILL_DOWN, IIP_THUMB_FORCE, IIP_THUMB_AUTO } iip_thumb_type;

/* Where a smaller rectangle lies in a larger one. */
typedef struct {
    enum { IIP_THUMB_ANCHOR, IIP_THUMB_FOCUS, IIP_THUMB_SMART } kind;
    double x,
        y; /* 0 left or top, 0.5 middle, 1 right or bottom; FOCUS: the point that is in the middle, if it can be */
    double dx, dy; /* of an anchor: away from its edge; below 1 a share of the larger one, else pixels */
} iip_gravity;

/* What the options say; sides are before dpr, 0 = not given. */
typedef struct {
    iip_thumb_type type;
    int64_t w, h;
    int enlarge, extend;
    iip_gravity gravity, extend_gravity, crop_gravity;
    double crop_w, crop_h;   /* of the picture: below 1 a share, else pixels; 0 all */
    int crop_own;            /* crop_gravity was given; else gravity */
    double pad[4];           /* top, right, bottom, left */
    int upright;             /* turned as its EXIF says */
    int rotate;              /* quarter turns clockwise, 0..3 */
    int flip_h, flip_v;      /* after turning */
    int background;          /* 0xrrggbb, -1 none */
    double blur, sharpen;    /* sigma in pixels, 0 none */
    double dpr;              /* pixels of the answer for each that is asked */
    int quality;             /* 1..100, -1 the place's */
    const iip_encoder *into; /* NULL: by extension, or by Accept */
    int strip;               /* nothing of what the source says of itself */
    int64_t expires;         /* seconds of the epoch, 0 never */
} iip_thumb;

/* Everything at its default. */
void iip_thumb_init(iip_thumb *t);

/* One option, "rs:fill:300:200", into t; later ones win. IIP_E_NOT_FOUND: no such option, or no preset of that name
 * among `presets`; IIP_E_SYNTAX, part names it: what it cannot be; IIP_E_FORMAT: a format that is not written here. */
iip_status iip_thumb_option(iip_thumb *t, const char *option, const iip_preset *presets, apr_pool_t *p, iip_error *e);
/* Options with slashes between, as in a preset. */
iip_status iip_thumb_options(iip_thumb *t, const char *options, const iip_preset *presets, apr_pool_t *p, iip_error *e);

/* Region, size, turn, frame and operations of rq for a picture (spec/imgserve.md section 13). The part shown begins and
 * ends on whole pixels of the source. lim: without growing, nothing is enlarged. Not the format. */
iip_status iip_thumb_place(const iip_thumb *t, iip_request *rq, const iip_info *info, const iip_limits *lim,
                           apr_pool_t *p, iip_error *e);

/* thumb_sign.c. The pairs of a file: on each line key and salt, hex digits, blanks between; empty lines and those that
 * begin with # say nothing. NULL, or a message that names no contents. */
const char *iip_thumb_keys_read(const char *path, const iip_thumb_keys **out, apr_pool_t *p);
/* The same of a text. */
const char *iip_thumb_keys_parse(const char *text, const iip_thumb_keys **out, apr_pool_t *p);
/* 1 if sign (n octets, URL-safe base64 without padding) is HMAC-SHA256 of salt and path by one of the keys. All keys
 * are tried, and time does not tell how much of it was right. */
int iip_thumb_signed(const iip_thumb_keys *keys, const char *sign, size_t n, const char *path);
/* URL-safe base64 (the other alphabet too, padding or not) into memory of p, ended by NUL; NULL if it is none. */
unsigned char *iip_thumb_base64(const char *s, size_t n, size_t *len, apr_pool_t *p);
#endif
