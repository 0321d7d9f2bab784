/* SPDX-License-Identifier: Apache-2.0
 * A source over bytes that somebody else holds. */
#include "source.h"
#include <string.h>

typedef struct {
    iip_source_t s;
    const unsigned char *data;
} memory_source;

static iip_status memory_read(iip_source_t *s, void *buf, size_t n, int64_t off, iip_error *e)
{
    if (off < 0 || off > s->id.size || n > (uint64_t)(s->id.size - off))
        return iip_fail(e, IIP_E_CORRUPT, 0, "%s: ends before its data does", s->name);
    if (n > 0)
        memcpy(buf, ((memory_source *)s)->data + off, n);
    return IIP_OK;
}

iip_source_t *iip_source_memory(const void *data, size_t n, const char *name, apr_pool_t *p)
{
    static uint64_t serial;
    memory_source *m = apr_pcalloc(p, sizeof *m);

    m->s.read = memory_read;
    m->s.name = name;
    m->s.fd = -1;
    m->s.id.size = (int64_t)n;
    /* Never the same twice, not even over the same bytes: they may be others by then. */
    m->s.id.dev = UINT64_MAX;
    m->s.id.ino = __atomic_add_fetch(&serial, 1, __ATOMIC_RELAXED);
    m->data = data;
    return &m->s;
}
