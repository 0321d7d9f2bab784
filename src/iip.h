/* SPDX-License-Identifier: Apache-2.0
 * The vocabulary: status, error, rectangle, sample, format, limits and THE image request. Plain values; nothing here
 * allocates but the text of an error, which lives inside it. */
#ifndef IIP_H
#define IIP_H
#include <stddef.h>
#include <stdint.h>
#include <apr_errno.h>
#include <apr_pools.h>
#include <apr_time.h>

#define IIP_VERSION "0.1.0"

/* >> mod_iip.h */
typedef enum {                  /* order = rows of the table in error.c                      */
               IIP_OK = 0,      /*                                                           */
               IIP_E_SYNTAX,    /* 400 the request cannot be parsed                          */
               IIP_E_RANGE,     /* 400 parses, but lies outside the image                    */
               IIP_E_LIMIT,     /* 400 larger than the configured limits                     */
               IIP_E_FORBIDDEN, /* 403                                                       */
               IIP_E_NOT_FOUND, /* 404                                                       */
               IIP_E_METHOD,    /* 405                                                       */
               IIP_E_FEATURE,   /* 501 legal, but not supported here                         */
               IIP_E_FORMAT,    /* 415 no decoder knows the file                             */
               IIP_E_CORRUPT,   /* 500 the file is damaged; logged with its name             */
               IIP_E_MEMORY,    /* 503 budget exhausted; Retry-After                         */
               IIP_E_TIMEOUT,   /* 503 deadline passed; Retry-After                          */
               IIP_E_BUSY,      /* 503 no place in line; Retry-After                         */
               IIP_E_CLIENT,    /* 429 too much from one address; Retry-After                */
               IIP_E_BODY,      /* 413 body too long                                         */
               IIP_E_QUERY,     /* 414 query too long                                        */
               IIP_E_IO,        /* 500 cause in .apr (EMFILE, ENFILE, ENOMEM, ENOSPC: iip_fail makes it IIP_E_MEMORY) */
               IIP_E_CHANGED,   /* replaced between look and open: start over, 503 the second time */
               IIP_E_ABORTED,   /* client gone; no answer, no log above debug                */
               IIP_E_COUNT
} iip_status;

/* One error, filled where it is first seen; callers pass it on and do not overwrite it.
 * part is a constant that the client may see ("region", "size"), or NULL. detail is for the log: it may name files. */
typedef struct {
    iip_status status;
    apr_status_t apr;
    const char *part;
    char detail[160];
} iip_error;
/* << */

/* Both return the status they store, so: return iip_fail(...). refuse is the parsers' form. */
iip_status iip_fail(iip_error *e, iip_status s, apr_status_t cause, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
iip_status iip_refuse(iip_error *e, iip_status s, const char *part);
int iip_status_http(iip_status s);         /* HTTP status code */
int iip_status_retry(iip_status s);        /* seconds for Retry-After, 0 = none */
const char *iip_status_name(iip_status s); /* value of the IIP-Error header */
const char *iip_status_text(iip_status s); /* short sentence for the client */

/* >> mod_iip.h */
typedef struct {
    int64_t x, y, w, h;
} iip_rect;
/* << */

typedef struct {
    int64_t a, b;
} iip_pair; /* "w [h]", "encoded [decoded]": one directive, one member */

/* >> mod_iip.h */
/* Readers widen odd depths to one of these; iip_info.bits keeps the stored number. */
typedef enum { IIP_U8, IIP_U16, IIP_U32, IIP_S16, IIP_S32, IIP_F32, IIP_F64 } iip_sample;

typedef enum {
    IIP_FMT_NONE,
    IIP_FMT_JPEG,
    IIP_FMT_PNG,
    IIP_FMT_WEBP,
    IIP_FMT_AVIF,
    IIP_FMT_TIFF,
    IIP_FMT_JP2,
    IIP_FMT_GIF,
    IIP_FMT_PDF,
    IIP_FMT_COUNT
} iip_format;
/* << */

typedef struct iip_settings iip_settings; /* settings.h: the directives in force for this request */

/* >> mod_iip.h */
/* What the administrator allows, taken from the settings. */
typedef struct {
    int64_t max_width, max_height, max_area; /* output pixels, 0 = no limit */
    int64_t max_pixels;                      /* source pixels decoded for one answer, 0 = no limit */
    size_t memory;                           /* bytes one request may hold */
    apr_interval_time_t deadline;            /* for the whole computation */
    int upscale;                             /* may answers be larger than the region they show */
    int foreign;                             /* a stranger's file: decoders for trusted ones are not asked */
} iip_limits;
/* << */

/* One step of image processing (spec/iip.md section 6). They run in this order, which is also that of iip_request.op;
 * iip_op_add() of ops.h puts them there and checks their arguments, which are behind each in braces. Values are 0..1 of
 * the picture's range from MINMAX to CONTRAST (v below), which see its own pixels, before any resizing; the others see
 * the samples of the answer, after it. */
typedef enum {
    IIP_OP_MINMAX,  /* {c, lo, hi}, ...: range of channel c from 0, -1 = all, in values as stored; later ones win */
    IIP_OP_STRETCH, /* range = first and last bin of the histogram, in place of MINMAX */
    IIP_OP_SHADE, /* {h, v} or {h, v, z}: light from h degrees (clockwise from up), v above the plain; z times height */
    IIP_OP_TWIST, /* {rows, cols, m...}: bands = matrix times bands, row by row */
    IIP_OP_GAMMA, /* {g}: max(v, 0)^g */
    IIP_OP_LOG,   /* ln(1 + 255 max(v, 0)) / ln 256 */
    IIP_OP_INVERT,   /* 1 - v */
    IIP_OP_CMAP,     /* {an IIP_CMAP_ of ops.h}: first band to RGB; {-1}: not so */
    IIP_OP_CONVOLVE, /* {n, k...}: n x n weights, n = 3 or 5 or 1, row by row; divided by their sum where above 0 */
    IIP_OP_CONTRAST, /* {c}: v times c; then all becomes 8 bits */
    IIP_OP_GRAY,     /* RGB to its grey */
    IIP_OP_BITONAL,  /* grey, then 0 below the middle, else 255 */
    IIP_OP_BINARY,   /* grey, then 0 below Otsu's threshold of the histogram, else 255 */
    IIP_OP_EQUALIZE, /* each band through the sums of the histogram */
    IIP_OP_BLUR,     /* {s}: mixed with what is around by a bell curve of sigma s, in pixels of the answer */
    IIP_OP_SHARPEN,  /* {s}: what differs from that, once more */
    IIP_OP_COUNT
} iip_op_kind;
#define IIP_OP_SCALED IIP_OP_GRAY /* from this one on: after resizing */
typedef struct {
    uint16_t kind, argc;
    const float *arg; /* in the request's pool */
} iip_op;
#define IIP_MAX_OPS IIP_OP_COUNT
#define IIP_GROUND  0x1000000

typedef enum {
    IIP_REGION_FULL,
    IIP_REGION_SQUARE,
    IIP_REGION_PIXELS,
    IIP_REGION_RATIO,
    IIP_REGION_TILE
} iip_region_kind;
/* LISTED: EXACT, but the width of a stored level of the whole picture alone means that level's size (IIIF 2 `w,`, R38).
 */
typedef enum {
    IIP_SIZE_FULL,
    IIP_SIZE_MAX,
    IIP_SIZE_FIT,
    IIP_SIZE_EXACT,
    IIP_SIZE_PERCENT,
    IIP_SIZE_LISTED
} iip_size_kind;
/* What happens to a size above that of the region: refused (IIIF 3 without ^), brought down to the region (!w,h
 * without ^), or made if the limits allow growing (^). */
typedef enum { IIP_GROW_REFUSE, IIP_GROW_CLAMP, IIP_GROW_ASK } iip_grow;
/* What happens to a size above the limits: 400, or brought under them. */
typedef enum { IIP_OVER_REFUSE, IIP_OVER_FIT } iip_over;

/* A percentage or fraction exactly as the client wrote it: value = num / 10^scale. Keeps pct:33.333 the same everywhere
 * (spec/iiif.md R16). num has at most 18 digits. */
typedef struct {
    int64_t num;
    int scale;
} iip_decimal;

/* THE image request. Every protocol parses to this and nothing behind the parser knows the protocol. Two requests are
 * the same picture iff their lines (iip_request_line) are equal: iip_request_resolve() normalises what depends on the
 * image. */
typedef struct {
    const char *name;     /* as the client wrote it, decoded once; NULL when httpd mapped the file */
    int page;             /* directory / slice / frame, from 0; -1 = default */
    iip_pair part;        /* the page as a picture of a/b of its size: iip_info_part(); b 0 = its own size */
    int angle_h, angle_v; /* SDS: they choose the file or the page, and are not part of the line; -1 = default */
    iip_region_kind region_kind;
    iip_decimal region[4]; /* PIXELS: x y w h (scale 0); RATIO: percent of width, height; TILE: x y w h on the grid */
    int textless;          /* a tile of a viewer: what the source says of itself is not in it, whatever it shows */
    iip_pair grid;         /* TILE: the picture is a x b pixels large there: some level, stored or not */
    iip_size_kind size_kind;
    iip_decimal size[2]; /* pixels, 0 = derive from the other; PERCENT: [0] */
    iip_grow grow;
    iip_over over;
    double rotate;   /* degrees clockwise, 0 <= rotate < 360 */
    int flip;        /* left-right, before turning */
    iip_rect within; /* src lies where most happens in here (full-resolution pixels), however it was asked; w 0: no */
    iip_rect frame;  /* the turned answer lies at x, y of w x h; w 0: no frame */
    int ground;      /* colour of the frame and behind all that is transparent: IIP_GROUND | 0xrrggbb; 0: the settings',
                        where the format has no transparency */
    iip_op op[IIP_MAX_OPS];
    int op_count;
    iip_format format;
    int quality;                  /* of the encoder; -1 = configured default */
    int progressive;              /* of a JPEG: in scans that grow finer; set by iip_request_resolve() */
    int recode;                   /* the client asked for a quality: no stored tile will do, whatever its own is */
    int layers;                   /* -1 = configured default */
    int download;                 /* Content-Disposition: attachment; not part of the line */
    int negotiated;               /* format was chosen by Accept: Vary; not part of the line */
    struct iip_source *watermark; /* the file of the settings' IIPWatermark; NULL: none */
    const iip_settings *set;      /* members marked K there are part of the line like all else */
    const char *ignored;          /* what nobody knows in it, for the log; NULL: nothing */
    const void *asked;            /* the protocol's own, from its parse() to its place(); NULL: none */
    /* set by iip_request_resolve() */
    iip_rect src;         /* full-resolution pixels of the upright picture, clipped */
    int64_t out_w, out_h; /* before rotation */
    int level;            /* smallest stored level that has the asked size, see request.h */
} iip_request;

#endif
