/* SPDX-License-Identifier: Apache-2.0
 * The Accept header of a request (RFC 9110 section 12.5.1). Pure functions; every byte string is safe. */
#ifndef IIP_ACCEPT_H
#define IIP_ACCEPT_H
#include <stddef.h>

/* What a header says of one media type. */
typedef struct {
    int quality; /* in thousandths: of the most specific range that takes the type, 0 = not acceptable */
    int named;   /* place (from 1) of the range that names it in full, 0 = taken by a wildcard or not at all */
} iip_accept;

/* type: "image/png", lower case. accept NULL or empty takes everything. */
iip_accept iip_accept_type(const char *accept, const char *type);
/* 1 if JSON is asked for by name and nothing in text/plain or text/html is liked better. */
int iip_accept_json(const char *accept);
/* 1 if the profile parameter of some acceptable range holds the URI (parameters may list several, by blanks). */
int iip_accept_profile(const char *accept, const char *uri);
#endif
