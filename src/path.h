/* SPDX-License-Identifier: Apache-2.0
 * Names of files (spec/security.md section 3): decoded once, refused, never repaired. Pure functions. */
#ifndef IIP_PATH_H
#define IIP_PATH_H
#include "iip.h"
/* Percent-decodes s once into memory of p; '+' stays '+'. NULL if an escape is malformed or gives NUL. */
const char *iip_path_decode(const char *s, size_t n, apr_pool_t *p);
/* All of s: itself where nothing in it is encoded. */
const char *iip_path_decode_all(const char *s, apr_pool_t *p);
/* The same into room for n + 1 octets: 1 or 0. */
int iip_path_decode_to(char *out, const char *s, size_t n);
/* 1 if a decoded name may meet a file system: no control octet, backslash, empty, "." or ".." segment, segment that
 * begins with a dot, leading slash, more than 1024 octets, more than 32 segments, invalid UTF-8, scheme or drive
 * prefix. */
int iip_path_good(const char *name);
/* What follows `top` and a slash in name, whose own first slash may have been cut off; name itself if it does not begin
 * so. */
const char *iip_path_below(const char *top, const char *name);
/* 1 if s is well-formed UTF-8. */
int iip_utf8_good(const char *s);
/* Encodes an identifier for id, Location and Link (spec/iiif.md R10): unreserved and : ; , ! $ & ' ( ) * + = bare, the
 * rest %XX. */
const char *iip_path_encode(const char *name, apr_pool_t *p);
/* Splits an undecoded path at '/', doubled slashes as one, no empty segments; a trailing slash sets *slash. Segments
 * are copies in p, not decoded. Their number, or -1 if over max. */
int iip_path_split(const char *path, const char **seg, int max, int *slash, apr_pool_t *p);
/* n octets of such a path with every encoded slash as a plain one, in memory of p. */
char *iip_path_slashes(const char *path, size_t n, apr_pool_t *p);
/* The last segments of such a path, at most max, in order and where they lie. Their number. */
typedef struct {
    const char *at;
    size_t length;
} iip_segment;
int iip_path_last(const char *path, iip_segment *seg, int max);
#endif
