/* SPDX-License-Identifier: Apache-2.0
 * The bytes and the time one request may use, and the memory charged to it. */
#include "raster/raster.h"
#include <stdlib.h>
#include <string.h>

/* Stands in front of each buffer, so that the cleanup needs no other memory. */
typedef struct {
    iip_budget *b;
    size_t n;
} head;

enum { ALIGN = 64 };

iip_status iip_budget_take(iip_budget *b, size_t n, iip_error *e)
{
    if (n > b->limit || b->used > b->limit - n)
        return iip_fail(e, IIP_E_MEMORY, 0, "%zu bytes on top of %zu, limit %zu", n, b->used, b->limit);
    b->used += n;
    if (b->used > b->peak)
        b->peak = b->used;
    return IIP_OK;
}

void iip_budget_back(iip_budget *b, size_t n)
{
    b->used -= n;
}

iip_status iip_budget_check(const iip_budget *b, iip_error *e)
{
    if (b->gone && b->gone(b->gone_ctx))
        return iip_fail(e, IIP_E_ABORTED, 0, "client gone");
    if (b->until && apr_time_now() >= b->until)
        return iip_fail(e, IIP_E_TIMEOUT, 0, "deadline passed");
    return IIP_OK;
}

static apr_status_t release(void *mem)
{
    head h;

    memcpy(&h, mem, sizeof h);
    iip_budget_back(h.b, h.n);
    free(mem);
    return APR_SUCCESS;
}

void *iip_budget_alloc(iip_budget *b, size_t n, apr_pool_t *p, iip_error *e)
{
    head h = {b, 0};
    void *mem;

    if (__builtin_add_overflow(n, (size_t)(2 * ALIGN - 1), &h.n)) {
        iip_fail(e, IIP_E_MEMORY, 0, "%zu bytes", n);
        return NULL;
    }
    h.n &= ~(size_t)(ALIGN - 1); /* aligned_alloc wants a multiple */
    if (iip_budget_take(b, h.n, e) != IIP_OK)
        return NULL;
    mem = aligned_alloc(ALIGN, h.n);
    if (!mem) {
        iip_budget_back(b, h.n);
        iip_fail(e, IIP_E_MEMORY, APR_ENOMEM, "%zu bytes", n);
        return NULL;
    }
    memcpy(mem, &h, sizeof h);
    apr_pool_cleanup_register(p, mem, release, apr_pool_cleanup_null);
    return (char *)mem + ALIGN;
}
