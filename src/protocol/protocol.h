/* SPDX-License-Identifier: Apache-2.0
 * A protocol turns bytes into an iip_request and an image's header into text. No I/O, no clock, no globals. */
#ifndef IIP_PROTOCOL_H
#define IIP_PROTOCOL_H
#include "request.h"
#include "text.h"
#include "views.h"

typedef struct {
    const char *path;    /* raw (not decoded), begins with '/': behind the Location; mapped: only what httpd left behind
                            the file, "" if nothing */
    int mapped;          /* httpd mapped the file */
    const char *query;   /* NULL if none; of a POST: the form */
    const char *before;  /* raw commands of IIP in front of the one that led here (become()), NULL: none */
    const char *accept;  /* Accept header, NULL if none */
    const char *written; /* path before httpd made one slash of several; NULL: not known */
    apr_time_t now;      /* of the request */
    const char *base_url; /* of the Location (or the folder), no trailing slash: id = base_url / encoded identifier */
    const char *ident;    /* mapped: the file's own name; else NULL and the parser fills rq->name */
    const iip_sequence *sequence; /* of which the picture is a view, NULL: none; from place() on */
    int form;                     /* query is the body of a POST */
    int named;                    /* no root, but the request names the picture: httpd looks that name up */
    const char *id;               /* whole id from a trusted X-IIIF-ID, or NULL */
    const iip_settings *set;      /* effective */
} iip_input;

typedef enum {
    IIP_WANT_IMAGE,
    IIP_WANT_INFO,
    IIP_WANT_DATA,  /* compose(): what is put together from headers, samples, encoded parts */
    IIP_WANT_TEXT,  /* the same without a picture */
    IIP_WANT_BARE,  /* nothing but a name: redirect (303), or the file itself */
    IIP_WANT_MOVED, /* trailing slash after a name: redirect (301) */
} iip_want;

typedef struct iip_protocol {
    const char *handler; /* the word after SetHandler: "iiif-handler" */
    const char *methods; /* "GET, HEAD, OPTIONS" */
    int posts;           /* a POST is answered as a GET, what it brings is the query */
    int thumbs;          /* its root is IIPThumbRoot, without which it answers nothing; errors are never cached */
    /* Fills rq (from iip_request_init), want. Every byte string is safe (fuzzed). A tail that is no request of this
     * protocol: returns the error, but with *want = IIP_WANT_BARE and rq->name = the whole path when that may still be
     * the name of a picture; the caller looks before it lets the error out (spec/iiif.md R4). */
    iip_status (*parse)(const iip_input *in, iip_request *rq, iip_want *want, apr_pool_t *p, iip_error *e);
    /* MAY be NULL. For a query that is another protocol's whole request (iip-handler: IIIF=, DeepZoom=, Zoomify=):
     * makes path, before and base_url of *in those of that protocol, and returns it; else NULL. Called before parse().
     */
    const struct iip_protocol *(*become)(iip_input *in, apr_pool_t *p);
    /* MAY be NULL. 1 if the query itself names a picture (iip-handler: FIF=), so that what httpd mapped is not it. */
    int (*names)(const iip_input *in);
    /* MAY be NULL. The picture is known now: makes of rq->asked (levels, tiles, fractions) the region and size, and
     * drops what the picture does not have. For IIP_WANT_IMAGE, before iip_request_resolve(). */
    iip_status (*place)(const iip_input *in, iip_request *rq, const iip_info *info, const iip_limits *lim,
                        apr_pool_t *p, iip_error *e);
    /* MAY be NULL. The resolved image request may be answered by what this place allows; else IIP_E_FORBIDDEN. */
    iip_status (*allow)(const iip_request *rq, const iip_info *info, iip_error *e);
    /* MAY be NULL. Text answer (info.json) for IIP_WANT_INFO. vary: NULL or the header's value. */
    iip_status (*describe)(const iip_input *in, const iip_request *rq, const iip_info *info, const iip_limits *lim,
                           const char **text, const char **mime, const char **vary, const char **link, apr_pool_t *p,
                           iip_error *e);
    /* MAY be NULL. Fills *out (from iip_text_init) for IIP_WANT_DATA; rq is not resolved. IIP_WANT_TEXT: info and views
     * are NULL. */
    iip_status (*compose)(const iip_input *in, const iip_request *rq, const iip_info *info, iip_views *views,
                          iip_text *out, apr_pool_t *p, iip_error *e);
    /* The protocol's own shape of an error body. */
    const char *(*complain)(const iip_input *in, const iip_error *e, const char **mime, apr_pool_t *p);
    /* MAY be NULL. Value of Link for a resolved image request (canonical, profile). */
    const char *(*link)(const iip_input *in, const iip_request *rq, const iip_info *info, const iip_limits *lim,
                        apr_pool_t *p);
    /* MAY be NULL. Where IIP_WANT_BARE and IIP_WANT_MOVED redirect to (absolute URL). */
    const char *(*redirect)(const iip_input *in, const iip_request *rq, iip_want want, apr_pool_t *p);
    /* MAY be NULL. name is no file: if it may be that of a page of one (spec/iiif.md R51), the file's name; what is
     * behind it goes into rq. Else NULL. */
    const char *(*page)(const iip_input *in, iip_request *rq, const char *name, apr_pool_t *p);
    /* mapped only: how many bytes at the right end of a raw path are this protocol's own tail (0 = none): the name lies
     * before it. */
    size_t (*tail)(const char *path);
} iip_protocol;

extern const iip_protocol *const iip_protocols[]; /* ends with NULL */
const iip_protocol *iip_protocol_find(const char *handler);
#endif
