/* SPDX-License-Identifier: Apache-2.0
 * The store: one hash table, one list by last use, one mutex.
 *
 * One mutex and not one per part of the table: what happens under it takes some 100 ns, a thousandth of the cheapest
 * answer, and only so are the budget and the order of eviction those of the whole store. Fills, frees and releases are
 * outside of it. */
#include "cache.h"
#include <apr_general.h>
#include <apr_siphash.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* --- values --- */

/* Bytes that a kept value costs beside its data and its key: the blob, its entry, what malloc adds to four blocks. */
#define OVERHEAD (sizeof(iip_blob) + sizeof(entry) + 64)

typedef struct entry entry;

/* A fill under way. The filler and those who wait for it share it; the last to leave frees it. */
typedef struct {
    pthread_cond_t over;
    int waiters;
    enum { FILLING, DONE, ABANDONED } state;
    iip_status status; /* when DONE */
    iip_blob *blob;    /* with a reference for each waiter */
    iip_error error;
} flight;

struct entry {
    entry *chain;         /* in the table */
    entry *newer, *older; /* by last use, only once it has its blob */
    uint64_t hash;
    iip_blob *blob;
    flight *flight; /* until it has its blob */
    size_t cost, klen;
    unsigned char key[];
};

struct iip_cache {
    pthread_mutex_t lock;
    entry **table;
    size_t slots, used; /* slots: a power of two, or 0 before the first entry */
    entry *newest, *oldest;
    size_t budget;
    unsigned char seed[APR_SIPHASH_KSIZE]; /* clients choose keys; they must not choose chains */
    iip_cache_stats stats;                 /* written under the lock, read without */
};

iip_blob *iip_blob_make(void *data, size_t len, void (*free_fn)(void *data))
{
    iip_blob *b = calloc(1, sizeof *b);

    if (!b) {
        free_fn(data);
        return NULL;
    }
    b->refs = 1;
    b->len = len;
    b->cost = len + OVERHEAD;
    b->data = data;
    b->free_fn = free_fn;
    return b;
}

void iip_blob_hold(iip_blob *b)
{
    __atomic_fetch_add(&b->refs, 1, __ATOMIC_RELAXED);
}

void iip_blob_release(iip_blob *b)
{
    if (__atomic_sub_fetch(&b->refs, 1, __ATOMIC_ACQ_REL) > 0)
        return;
    b->free_fn(b->data);
    free(b);
}

/* --- table and list, under the lock --- */

static void count(uint64_t *n, uint64_t by)
{
    __atomic_store_n(n, *n + by, __ATOMIC_RELAXED);
}

static entry *find_locked(const iip_cache_t *c, uint64_t hash, const void *key, size_t klen)
{
    entry *x = c->slots ? c->table[hash & (c->slots - 1)] : NULL;

    while (x && (x->hash != hash || x->klen != klen || memcmp(x->key, key, klen) != 0))
        x = x->chain;
    return x;
}

/* Doubles the table. Without memory for it the chains grow instead; 0 only if there is no table at all. */
static int grow_locked(iip_cache_t *c)
{
    size_t slots = c->slots ? c->slots * 2 : 64;
    entry **table = calloc(slots, sizeof *table);

    if (!table)
        return c->slots > 0;
    for (size_t i = 0; i < c->slots; i++)
        for (entry *x = c->table[i], *next; x; x = next) {
            entry **at = &table[x->hash & (slots - 1)];

            next = x->chain;
            x->chain = *at;
            *at = x;
        }
    free(c->table);
    c->table = table;
    c->slots = slots;
    return 1;
}

static flight *flight_make(void)
{
    flight *f = calloc(1, sizeof *f);
    pthread_condattr_t attr;
    int bad;

    if (!f || pthread_condattr_init(&attr) != 0) {
        free(f);
        return NULL;
    }
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    bad = pthread_cond_init(&f->over, &attr);
    pthread_condattr_destroy(&attr);
    if (bad) {
        free(f);
        return NULL;
    }
    return f;
}

static void flight_free(flight *f)
{
    pthread_cond_destroy(&f->over);
    free(f);
}

/* A new entry, to be filled by the caller. NULL: memory is out. */
static entry *add_locked(iip_cache_t *c, uint64_t hash, const void *key, size_t klen)
{
    entry *x, **at;

    if (c->used >= c->slots && !grow_locked(c))
        return NULL;
    if (!(x = calloc(1, sizeof *x + klen)))
        return NULL;
    if (!(x->flight = flight_make())) {
        free(x);
        return NULL;
    }
    x->hash = hash;
    x->klen = klen;
    memcpy(x->key, key, klen);
    at = &c->table[hash & (c->slots - 1)];
    x->chain = *at;
    *at = x;
    c->used++;
    return x;
}

static void remove_locked(iip_cache_t *c, const entry *x)
{
    entry **at = &c->table[x->hash & (c->slots - 1)];

    while (*at != x)
        at = &(*at)->chain;
    *at = x->chain;
    c->used--;
}

static void list_locked(iip_cache_t *c, entry *x)
{
    x->newer = NULL;
    x->older = c->newest;
    *(c->newest ? &c->newest->newer : &c->oldest) = x;
    c->newest = x;
}

static void unlist_locked(iip_cache_t *c, entry *x)
{
    *(x->newer ? &x->newer->older : &c->newest) = x->older;
    *(x->older ? &x->older->newer : &c->oldest) = x->newer;
}

/* The blob of a kept entry, held, the entry being the newest from now on. */
static iip_blob *touch_locked(iip_cache_t *c, entry *x)
{
    if (c->newest != x) {
        unlist_locked(c, x);
        list_locked(c, x);
    }
    iip_blob_hold(x->blob);
    count(&c->stats.hits, 1);
    return x->blob;
}

/* Takes the oldest entries out until `cost` more fit; they come back chained, to be freed outside of the lock. */
static entry *evict_locked(iip_cache_t *c, size_t cost)
{
    entry *out = NULL;

    while (c->stats.bytes + cost > c->budget) {
        entry *x = c->oldest;

        unlist_locked(c, x);
        remove_locked(c, x);
        count(&c->stats.bytes, -(uint64_t)x->cost);
        count(&c->stats.entries, -(uint64_t)1);
        count(&c->stats.evictions, 1);
        x->chain = out;
        out = x;
    }
    return out;
}

/* --- no lock --- */

static void free_entries(entry *x)
{
    while (x) {
        entry *next = x->chain;

        if (x->blob)
            iip_blob_release(x->blob);
        free(x);
        x = next;
    }
}

/* What an entry takes of the budget. Where values cost bytes, the key does too. */
static size_t cost_of(const entry *x, const iip_blob *b)
{
    size_t cost = b->cost > b->len ? b->cost + x->klen : b->cost;

    return cost ? cost : 1;
}

/* Nothing may take more than an eighth; in the smallest stores, counted in pieces, that still is one. */
static int fits(const iip_cache_t *c, size_t cost)
{
    return cost <= c->budget && (cost == 1 || cost <= c->budget / 8);
}

/* These say nothing about what others would meet: a client left or has too much, a clock ran out, a file came too
 * early. */
static int own_reason(iip_status rv)
{
    return rv == IIP_E_ABORTED || rv == IIP_E_TIMEOUT || rv == IIP_E_CHANGED || rv == IIP_E_CLIENT;
}

/* Ends the caller's fill of x. */
static void settle(iip_cache_t *c, entry *x, iip_status rv, iip_blob *b, const iip_error *e)
{
    flight *f = x->flight;
    size_t cost = rv == IIP_OK ? cost_of(x, b) : 0;
    int keep = rv == IIP_OK && fits(c, cost);
    entry *out;

    pthread_mutex_lock(&c->lock);
    if (own_reason(rv) && f->waiters > 0) {
        f->state = ABANDONED;
        pthread_cond_signal(&f->over);
        pthread_mutex_unlock(&c->lock);
        return;
    }
    x->flight = NULL;
    if (keep) {
        out = evict_locked(c, cost);
        x->blob = b;
        x->cost = cost;
        list_locked(c, x);
        count(&c->stats.bytes, cost);
        count(&c->stats.entries, 1);
    } else {
        remove_locked(c, x);
        x->chain = NULL;
        out = x;
    }
    if (rv == IIP_OK)
        __atomic_fetch_add(&b->refs, (uint32_t)(keep + f->waiters), __ATOMIC_RELAXED);
    if (f->waiters > 0) {
        f->state = DONE;
        f->status = rv;
        f->blob = b;
        if (rv != IIP_OK)
            f->error = *e;
        pthread_cond_broadcast(&f->over);
        f = NULL;
    }
    pthread_mutex_unlock(&c->lock);
    if (f)
        flight_free(f);
    free_entries(out);
}

/* --- waiting --- */

/* Sleeps until the fill ends or time is up (1). */
static int sleep_locked(iip_cache_t *c, flight *f, apr_time_t until)
{
    struct timespec t;
    apr_interval_time_t left;

    if (!until)
        return pthread_cond_wait(&f->over, &c->lock) != 0;
    if ((left = until - apr_time_now()) <= 0)
        return 1;
    clock_gettime(CLOCK_MONOTONIC, &t);
    t.tv_sec += (time_t)apr_time_sec(left);
    t.tv_nsec += (long)apr_time_usec(left) * 1000;
    if (t.tv_nsec >= 1000000000) {
        t.tv_nsec -= 1000000000;
        t.tv_sec++;
    }
    return pthread_cond_timedwait(&f->over, &c->lock, &t) == ETIMEDOUT;
}

/* Waits for another's fill. 1: it was abandoned and is the caller's now; else *rv is what came of it. Also one whose
 * time is up takes over an abandoned fill: its own fill sees the time, and so the fill is never left without a filler.
 */
static int await_locked(iip_cache_t *c, flight *f, apr_time_t until, iip_status *rv, iip_blob **out, iip_error *e)
{
    int late = 0;

    f->waiters++;
    count(&c->stats.waits, 1);
    while (f->state == FILLING && !late)
        late = sleep_locked(c, f, until);
    f->waiters--;
    if (f->state == ABANDONED) {
        f->state = FILLING;
        return 1;
    }
    if (f->state == FILLING) {
        *rv = iip_fail(e, IIP_E_TIMEOUT, 0, "time ran out while another request made the same");
        return 0;
    }
    *rv = f->status;
    if (f->status == IIP_OK)
        *out = f->blob;
    else
        *e = f->error;
    if (f->waiters == 0)
        flight_free(f);
    return 0;
}

/* --- the store --- */

iip_cache_t *iip_cache_create(const char *name, size_t budget, apr_pool_t *p)
{
    iip_cache_t *c = apr_pcalloc(p, sizeof *c);

    if (!c || pthread_mutex_init(&c->lock, NULL) != 0 ||
        apr_generate_random_bytes(c->seed, sizeof c->seed) != APR_SUCCESS)
        return NULL;
    c->budget = budget;
    return c;
}

void iip_cache_clear(iip_cache_t *c)
{
    entry *x = c->newest;

    for (entry *i = x; i; i = i->older)
        i->chain = i->older;
    free_entries(x);
    free(c->table);
    c->table = NULL;
    c->slots = c->used = 0;
    c->newest = c->oldest = NULL;
    count(&c->stats.bytes, -c->stats.bytes);
    count(&c->stats.entries, -c->stats.entries);
}

iip_status iip_cache_get(iip_cache_t *c, const void *key, size_t klen, apr_time_t until, iip_fill_fn *fill, void *ctx,
                         iip_blob **out, iip_error *e)
{
    uint64_t hash = apr_siphash24(key, klen, c->seed);
    iip_status rv = IIP_OK;
    entry *x;

    pthread_mutex_lock(&c->lock);
    x = find_locked(c, hash, key, klen);
    if (x && x->blob) {
        *out = touch_locked(c, x);
        pthread_mutex_unlock(&c->lock);
        return IIP_OK;
    }
    if (x && !await_locked(c, x->flight, until, &rv, out, e)) {
        pthread_mutex_unlock(&c->lock);
        return rv;
    }
    if (!x)
        x = add_locked(c, hash, key, klen);
    count(&c->stats.misses, 1);
    pthread_mutex_unlock(&c->lock);
    rv = fill(ctx, out, e);
    if (x) /* else there is no memory to remember it */
        settle(c, x, rv, *out, e);
    return rv;
}

iip_blob *iip_cache_peek(iip_cache_t *c, const void *key, size_t klen)
{
    uint64_t hash = apr_siphash24(key, klen, c->seed);
    iip_blob *b = NULL;
    entry *x;

    pthread_mutex_lock(&c->lock);
    x = find_locked(c, hash, key, klen);
    if (x && x->blob)
        b = touch_locked(c, x);
    pthread_mutex_unlock(&c->lock);
    return b;
}

void iip_cache_read_stats(iip_cache_t *c, iip_cache_stats *out)
{
    out->hits = __atomic_load_n(&c->stats.hits, __ATOMIC_RELAXED);
    out->misses = __atomic_load_n(&c->stats.misses, __ATOMIC_RELAXED);
    out->waits = __atomic_load_n(&c->stats.waits, __ATOMIC_RELAXED);
    out->evictions = __atomic_load_n(&c->stats.evictions, __ATOMIC_RELAXED);
    out->bytes = __atomic_load_n(&c->stats.bytes, __ATOMIC_RELAXED);
    out->entries = __atomic_load_n(&c->stats.entries, __ATOMIC_RELAXED);
}
