/* SPDX-License-Identifier: Apache-2.0
 * An answer of text (or bytes) that is put together piece by piece. */
#ifndef IIP_TEXT_H
#define IIP_TEXT_H
#include "raster/raster.h"

typedef struct iip_text {
    const char *mime;         /* constant or of p */
    const char *name, *value; /* one more header; NULL: none */
    char *data;               /* malloc's, freed with p; ended by a NUL that does not count */
    size_t length, room;
    iip_budget *b;
    iip_error *e;
    iip_status status; /* of the first piece that found no memory; later ones are dropped */
} iip_text;

/* b: charged for it until p ends, which t and b must outlive. e: filled when memory runs out. */
void iip_text_init(iip_text *t, iip_budget *b, apr_pool_t *p, iip_error *e);
void iip_text_put(iip_text *t, const void *data, size_t n);
/* As apr_psprintf() writes it: of no locale. At most 1000 octets. */
void iip_text_print(iip_text *t, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* s, or a copy of it in UTF-8 if it is Latin-1. */
const char *iip_text_utf8(const char *s, apr_pool_t *p);
/* With the five characters of XML escaped, and what it forbids left out (Latin-1 unless it is UTF-8). */
void iip_text_xml(iip_text *t, const char *s, apr_pool_t *p);
#endif
