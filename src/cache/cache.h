/* SPDX-License-Identifier: Apache-2.0
 * One child's store: budget, LRU, single flight, refcounted values. cost is in the budget's unit: bytes with overhead
 * for pixels and answers, 1 for the store of headers. */
#ifndef IIP_CACHE_H
#define IIP_CACHE_H
#include "iip.h"

typedef struct iip_cache iip_cache_t;

/* Immutable once published. Held by the cache and by every response on the wire. */
typedef struct iip_blob {
    volatile uint32_t refs;
    size_t len, cost;
    const char *mime;
    apr_time_t mtime;
    void *data;
    void (*free_fn)(void *data); /* free() / a library's own / destroys the pool that data lies in */
} iip_blob;

/* One reference; takes over data even when it fails (NULL: memory is out, data is freed). cost = len + overhead. */
iip_blob *iip_blob_make(void *data, size_t len, void (*free_fn)(void *data));
void iip_blob_hold(iip_blob *b);
void iip_blob_release(iip_blob *b); /* any thread, no lock held */

/* budget 0: nothing is kept, single flight still holds. Mutexes and tables live in p (its allocator is locked). NULL:
 * memory is out. */
iip_cache_t *iip_cache_create(const char *name, size_t budget, apr_pool_t *p);
/* Drops every entry. No other thread uses the cache any more. */
void iip_cache_clear(iip_cache_t *c);

typedef iip_status iip_fill_fn(void *ctx, iip_blob **out, iip_error *e);
/* Returns a held blob. On a miss exactly one caller runs fill, without any lock; equal callers wait for it until
 * `until` (IIP_E_TIMEOUT; 0 = for ever). A failed fill fails all its waiters with the same error and stores nothing. A
 * waiter whose filler gave up for a reason of its own (IIP_E_ABORTED, IIP_E_TIMEOUT, IIP_E_CHANGED, IIP_E_CLIENT)
 * becomes the filler. Values larger than 1/8 of the budget are returned but not kept. fill must not ask the same cache
 * for a key that could wait on this one (levels are ordered: output > cell > info). */
iip_status iip_cache_get(iip_cache_t *c, const void *key, size_t klen, apr_time_t until, iip_fill_fn *fill, void *ctx,
                         iip_blob **out, iip_error *e);
iip_blob *iip_cache_peek(iip_cache_t *c, const void *key, size_t klen); /* held hit or NULL, never waits for a filler */

typedef struct {
    uint64_t hits, misses, waits, evictions, bytes, entries;
} iip_cache_stats;
void iip_cache_read_stats(iip_cache_t *c, iip_cache_stats *out); /* no lock: counters are atomics */
#endif
