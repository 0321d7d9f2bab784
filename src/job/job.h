/* SPDX-License-Identifier: Apache-2.0
 * Image jobs: a picture is taken from one address, another is made of it and put at a second address
 * (spec/imgserve.md). This file: what a job says, and what the place that took it allows. Both are written into the
 * spool, since who does the work knows no request. */
#ifndef IIP_JOB_H
#define IIP_JOB_H
#include "codec/codec.h"

#define JOB_MAX_SIDE   16384
#define JOB_MAX_TEXT   65536 /* bytes of one job as JSON */
#define JOB_MAX_BATCH  100
#define JOB_MAX_FIELDS 32 /* further fields of a form */
#define JOB_ID_LEN     26

enum { JOB_RESIZE, JOB_RASTERIZE };
enum { JOB_CROP, JOB_FIT, JOB_PAD, JOB_STRETCH };
enum { JOB_METADATA_NONE, JOB_METADATA_COPYRIGHT, JOB_METADATA_ALL };
enum { JOB_HTTP, JOB_HTTPS, JOB_FTP, JOB_FTPS, JOB_FILE, JOB_SCHEMES };
/* How bytes get to a destination. */
enum { JOB_STORE_FILE, JOB_STORE_FTP, JOB_STORE_FORM, JOB_STORE_PUT };

/* Codes of refusals (spec/imgserve.md section 6); 0: none. */
typedef enum {
    JOB_OK = 0,
    JOB_E_PARSE = 100, /* no JSON object: the reply has no code */
    JOB_E_KEYS = 101,
    JOB_E_OPERATION,
    JOB_E_ARGS,
    JOB_E_SOURCE,
    JOB_E_DEST,
    JOB_E_SIZE_MISSING,
    JOB_E_SIZE,
    JOB_E_SOURCE_EXT,
    JOB_E_SOURCE_SCHEME,
    JOB_E_DEST_SCHEME,
    JOB_E_EXTRA_MISSING,
    JOB_E_EXTRA_TYPE,
    JOB_E_DEST_EXT,
    JOB_E_OPTION = 120,
    JOB_E_FORBIDDEN,
    JOB_E_BUSY,
    JOB_E_BATCH,
    JOB_E_CALLBACK,
    JOB_E_FETCH = 201,
    JOB_E_NO_PICTURE,
    JOB_E_ENLARGE,
    JOB_E_SVG,
    JOB_E_STORE, /* the placeholder, later the result */
    JOB_E_TOO_LARGE,
    JOB_E_SOURCE_ADDRESS,
    JOB_E_DEST_ADDRESS
} job_code;

/* What went wrong, where it is first seen. detail is for the client of the job: no path of this machine, no password.
 */
typedef struct {
    job_code code;
    int transient;   /* may go well another time */
    int retry_after; /* seconds the other side asked for; 0: none */
    char detail[200];
} job_error;

/* Returns code. */
job_code job_fail(job_error *e, job_code code, int transient, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));

/* An address, split (spec: RFC 3986). Strings are decoded where they name something here. */
typedef struct {
    int scheme;
    const char *url;         /* as curl shall see it: without user and password */
    const char *host;        /* lower case, brackets of IPv6 cut off; "" for file: */
    int port;                /* the scheme's own where none was given */
    const char *user, *pass; /* decoded, NULL: none */
    const char *path;        /* decoded, from the first slash on */
} job_url;

/* 0 and *u filled, or -1: no URL of one of the five schemes, control octets, a host that is an odd spelling of an
 * address, something in it that is not ASCII. */
int job_url_parse(job_url *u, const char *text, apr_pool_t *p);
/* The same with the password as ***; for replies, logs, state. */
const char *job_url_masked(const char *text, apr_pool_t *p);
extern const char *const job_scheme_names[JOB_SCHEMES];

typedef struct {
    double x, y; /* 0..1: which part of what is too much goes off the left and the top */
    int third;   /* the old rule: a third of the height, rounded down, off the top */
    int entropy; /* where most happens */
} job_gravity;

typedef struct {
    int operation, width, height;
    int fit, enlarge, orient, metadata, rotate;
    job_gravity gravity;
    double sharpen;
    iip_format format;
    int quality;               /* -1: the place's */
    int background;            /* 0xrrggbb, -1: none asked for */
    const char *source, *dest; /* URLs; dest with its tags replaced */
    job_url from, to;
    int store;
    const char *file_name; /* of the result: last segment, or the right part of page:name */
    const char *field;     /* of the form */
    struct {
        const char *name, *value;
    } form[JOB_MAX_FIELDS];
    int form_count;
    const char *callback, *key;
    job_url call;
    int placeholder;
} job_t;

/* What the place that took the job allows. The rows of JOB_PLACE make the struct, and what is read from and written to
 * the spool. */
#define JOB_PLACE(X)                                                                                                   \
    X(TEXT, source_root)                                                                                               \
    X(TEXT, dest_root)                                                                                                 \
    X(LIST, source_schemes)                                                                                            \
    X(LIST, dest_schemes)                                                                                              \
    X(LIST, source_hosts)                                                                                              \
    X(LIST, dest_hosts)                                                                                                \
    X(LIST, allow_net)                                                                                                 \
    X(LIST, deny_net)                                                                                                  \
    X(LIST, ports) /* "any", or numbers */                                                                             \
    X(TEXT, ca_file)                                                                                                   \
    X(TEXT, user_agent)                                                                                                \
    X(TEXT, callback_secret)                                                                                           \
    X(TEXT, failure_text)                                                                                              \
    X(TEXT, placeholder_text)                                                                                          \
    X(TEXT, placeholder_file)                                                                                          \
    X(NUMBER, placeholder_ground) /* 0xrrggbb */                                                                       \
    X(NUMBER, placeholder_ink)                                                                                         \
    X(NUMBER, ftp_secure)                                                                                              \
    X(NUMBER, retries)                                                                                                 \
    X(NUMBER, transfer_timeout) /* seconds */                                                                          \
    X(NUMBER, max_source)       /* bytes */                                                                            \
    X(NUMBER, max_pixels)
typedef const char *job_place_TEXT;
typedef const char *const *job_place_LIST; /* ends with NULL; NULL = empty */
typedef int64_t job_place_NUMBER;
#define JOB_MEMBER(KIND, m) job_place_##KIND m;
typedef struct {
    JOB_PLACE(JOB_MEMBER)
    int quality[IIP_FMT_COUNT];
} job_place;
enum { JOB_FTP_PLAIN, JOB_FTP_TRY, JOB_FTP_REQUIRED };

/* One job out of the JSON of a request or of the spool: the quick checks of section 6, in their order. Pure but for
 * the pool; every byte string is safe. */
job_code job_parse(job_t *j, const char *text, size_t n, const job_place *place, apr_pool_t *p, job_error *e);
/* A request: its jobs' texts, one if it is no batch. JOB_E_PARSE, JOB_E_BATCH. */
job_code job_split(const char *text, size_t n, const char *const **jobs, int *count, int *batch, apr_pool_t *p,
                   job_error *e);
/* tags.c: text with {$width} ... replaced to the right of its last colon, once; values percent-encoded if encode. */
typedef struct {
    int width, height;
    const char *basename, *ext;
} job_tags;
const char *job_tags_expand(const char *text, const job_tags *t, int encode, apr_pool_t *p);
/* Last segment of a URL's path: without query and fragment, decoded, and split before its last dot ("" where none). */
void job_name_split(const char *url, const char **basename, const char **ext, apr_pool_t *p);
/* Format of a file name's extension, any case; IIP_FMT_NONE. */
iip_format job_format_by_ext(const char *ext);

/* --- guard.c: who may be spoken to (section 9) --- */
/* 1 if a host name or address matches one of the patterns: "*", whole labels behind "*.", or itself. */
int job_host_listed(const char *host, const char *const *patterns);
/* 1 if the place lets a connection go to this address (network order, 4 or 16 bytes). */
int job_address_good(const job_place *place, const unsigned char *address, int length);
int job_port_good(const job_place *place, int port);
/* 1 if text is an address with an optional mask, as IIPJobAllowNet has them. */
int job_net_good(const char *text);
#endif
