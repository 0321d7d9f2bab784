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
/* A value that is JSON already. */
void iip_json_raw(iip_json *j, const char *key, const char *value, size_t n);
/* One string with its quotes. */
const char *iip_json_quote(const char *value, apr_pool_t *p);
const char *iip_json_text(iip_json *j);

/* ---- json_read.c ---- */

/* 1 if the text is one object and nothing else, UTF-8, at most 32 deep. */
int iip_json_is_object(const char *text);
/* Members of such an object, or elements of an array in it, one after the other: *at is at first where it begins. Name
 * (between its quotes) and value are as they are written. 0: there are no more. */
typedef struct {
    int named; /* set by the caller: 1 for an object */
    const char *name, *value;
    size_t name_length, value_length;
} iip_json_member;
int iip_json_next(const char **at, iip_json_member *m);
/* 1 if the object has a member of that name. */
int iip_json_has(const char *text, const iip_json_member *name);
#endif
