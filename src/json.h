/* SPDX-License-Identifier: Apache-2.0
 * A JSON text written from front to back. Keys and nesting are the caller's duty, escapes and commas the writer's. */
#ifndef IIP_JSON_H
#define IIP_JSON_H
#include "iip.h"

/* The text grows in the pool; it is meant for answers of some kilobytes. */
typedef struct {
    apr_pool_t *pool;
    char *text;
    size_t length, room;
    uint64_t arrays; /* one bit a level (64 at most): 1 = an array is open there */
    int first;       /* nothing written yet on this level */
} iip_json;

/* key: NULL inside arrays and for the outermost value. */
void iip_json_init(iip_json *j, apr_pool_t *p);
void iip_json_object(iip_json *j, const char *key);
void iip_json_array(iip_json *j, const char *key);
void iip_json_end(iip_json *j); /* of the object or array opened last */
/* Escaped as spec/security.md section 5 says. A value that is not UTF-8 is taken for Latin-1. */
void iip_json_string(iip_json *j, const char *key, const char *value);
void iip_json_integer(iip_json *j, const char *key, int64_t value);
/* Nine digits of a number from 10^-9 to 10^9, never with an exponent. */
void iip_json_number(iip_json *j, const char *key, double value);
/* One string with its quotes. */
const char *iip_json_quote(const char *value, apr_pool_t *p);
const char *iip_json_text(iip_json *j);
#endif
