/* SPDX-License-Identifier: Apache-2.0
 * What protocols that name a picture by path have in common: names, pages in them, plain error texts. */
#ifndef IIP_NAME_H
#define IIP_NAME_H
#include "protocol.h"

/* Decodes n segments of a raw path and puts the slashes back; below the root where that is a name's own beginning.
 * NULL if that is no name to look for (spec/iiif.md R9). */
const char *iip_name_read(const iip_input *in, const char *const *seg, int n, apr_pool_t *p);
/* The same of a raw path; *slash: it ends with one. */
const char *iip_name_of_path(const iip_input *in, const char *path, int *slash, apr_pool_t *p);
/* A name as part of a URL, slashes left as they are. */
const char *iip_name_url(const iip_input *in, const iip_request *rq, apr_pool_t *p);
/* page() of a protocol: "a.tif;2", "a.tif;2;1:4" (R51). */
const char *iip_name_page(const iip_input *in, iip_request *rq, const char *name, apr_pool_t *p);
/* complain() of a protocol: one line of text. What is not found says no more than that, so that refused and missing
 * names look alike (spec/security.md section 5). */
const char *iip_complain_text(const iip_input *in, const iip_error *e, const char **mime, apr_pool_t *p);
/* That line without its end. */
const char *iip_complaint(const iip_error *e, apr_pool_t *p);
#endif
