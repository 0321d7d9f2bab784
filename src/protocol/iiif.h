/* SPDX-License-Identifier: Apache-2.0
 * Private to the IIIF Image API: what its parser and its info.json share. */
#ifndef IIP_IIIF_H
#define IIP_IIIF_H
#include "protocol.h"

/* Version (3, 2, 1) an input is answered by (R1); only info.json lets the Accept header choose. */
int iip_iiif_version(const iip_input *in, int info);
/* Base URI of the picture, id in info.json (R10). */
const char *iip_iiif_id(const iip_input *in, const iip_request *rq, apr_pool_t *p);
/* The two constants of a version: JSON-LD context, and profile (compliance level 2). */
extern const char *const iip_iiif_context[4];
/* The compliance level that a place has, as a URI. */
const char *iip_iiif_profile(int version, const iip_settings *set);
/* describe() of the protocol. */
iip_status iip_iiif_describe(const iip_input *in, const iip_request *rq, const iip_info *info, const iip_limits *lim,
                             const char **text, const char **mime, const char **vary, const char **link, apr_pool_t *p,
                             iip_error *e);

/* The tiles that info.json announces. */
void iip_iiif_tile(const iip_info *info, int64_t *w, int64_t *h);
/* iiif_restrict.c: allow() of the protocol, IIIFRestrictTo (R50). */
iip_status iip_iiif_allow(const iip_request *rq, const iip_info *info, iip_error *e);

/* iiif_extra.c. The i-th quality beyond the API's, and what it does; NULL past the last. With IIIFExtensions only. */
const char *iip_iiif_extra(int i, iip_op *op);
/* The one whose only operation the request has, or NULL. */
const char *iip_iiif_extra_name(const iip_request *rq);
/* Puts the context of such qualities in front of the API's. */
#define IIP_IIIF_EXTRA_CONTEXT "data:application/ld+json,%7B%22@context%22:%7B%22@vocab%22:%22urn:mod-iip:%22%7D%7D"
/* info.json with the members of IIIFExtraInfo over it. */
const char *iip_iiif_merge(const char *text, const char *extra, int version, apr_pool_t *p);
#endif
