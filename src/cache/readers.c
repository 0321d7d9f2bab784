/* SPDX-License-Identifier: Apache-2.0
 * Idle decoders, found by identity and page, closed by last use.
 *
 * Each reader has a pool with an allocator of its own, so that any thread may open and close readers without a lock. */
#include "readers.h"
#include "quarantine.h"
#include <pthread.h>
#include <string.h>

#define HOLD_MAX ((size_t)64 << 20) /* bytes that all idle readers may hold */

typedef struct {
    iip_ident id;
    int64_t page; /* as wide as to leave no padding: compared as bytes */
} reader_key;

/* Stands in for a reader of a decoder whose library has global state. */
struct iip_reader {
    const iip_decoder *dec;
    iip_reader_t *reader;
};

typedef struct kept kept;
struct kept {
    iip_lease lease; /* first: a lease is the kept it lies in */
    reader_key key;
    size_t hold;
    kept *chain;         /* in the table, the one given back last in front */
    kept *newer, *older; /* of all idle ones */
    iip_quarantine_slot *slot;
    apr_pool_t *pool;
    iip_decoder dec; /* of a serial one: its decoder behind the lock */
    iip_reader_t serial;
};

struct iip_readers {
    pthread_mutex_t lock;
    int keep, idle;
    size_t hold; /* of the idle ones together */
    kept *newest, *oldest;
    size_t slots; /* a power of two */
    kept *table[];
};

/* --- decoders that must not run twice at once --- */

/* One for all of them and for the whole process: there are few, and two may share a library. Held for one call. */
static pthread_mutex_t serial_lock = PTHREAD_MUTEX_INITIALIZER;

static iip_status serial_info(iip_reader_t *r, iip_info *out, apr_pool_t *p, iip_error *e)
{
    iip_status rv;

    pthread_mutex_lock(&serial_lock);
    rv = r->dec->info(r->reader, out, p, e);
    pthread_mutex_unlock(&serial_lock);
    return rv;
}

static iip_status serial_read(iip_reader_t *r, int level, iip_rect want, int layers, iip_raster *out, iip_error *e)
{
    iip_status rv;

    pthread_mutex_lock(&serial_lock);
    rv = r->dec->read(r->reader, level, want, layers, out, e);
    pthread_mutex_unlock(&serial_lock);
    return rv;
}

static iip_status serial_raw(iip_reader_t *r, int level, int64_t tx, int64_t ty, iip_format *f, iip_span span[3],
                             int *n, iip_error *e)
{
    iip_status rv;

    pthread_mutex_lock(&serial_lock);
    rv = r->dec->raw(r->reader, level, tx, ty, f, span, n, e);
    pthread_mutex_unlock(&serial_lock);
    return rv;
}

static iip_status open_decoder(kept *k, const iip_decoder *d, int page, const iip_limits *lim, iip_error *e)
{
    iip_status rv;

    k->lease.dec = d;
    if (!(d->flags & IIP_DEC_SERIAL))
        return d->open(&k->lease.reader, k->lease.src, page, lim, k->pool, e);
    k->dec = *d;
    k->dec.info = serial_info;
    k->dec.read = serial_read;
    k->dec.raw = d->raw ? serial_raw : NULL;
    k->lease.dec = &k->dec;
    k->lease.reader = &k->serial;
    k->serial.dec = d;
    pthread_mutex_lock(&serial_lock);
    rv = d->open(&k->serial.reader, k->lease.src, page, lim, k->pool, e);
    pthread_mutex_unlock(&serial_lock);
    return rv;
}

static void close_reader(kept *k)
{
    int serial = k->lease.dec && (k->lease.dec->flags & IIP_DEC_SERIAL);

    if (serial)
        pthread_mutex_lock(&serial_lock);
    apr_pool_destroy(k->pool);
    if (serial)
        pthread_mutex_unlock(&serial_lock);
}

static void close_all(kept *k)
{
    while (k) {
        kept *next = k->chain;

        close_reader(k);
        k = next;
    }
}

/* --- idle ones, under the lock --- */

static kept **chain_of(iip_readers_t *rs, const reader_key *key)
{
    uint64_t h = (key->id.ino + (uint64_t)key->page * 0x10001 + (uint64_t)key->id.mtime_ns) * 0x9e3779b97f4a7c15;

    return &rs->table[h >> 32 & (rs->slots - 1)];
}

static void take_out_locked(iip_readers_t *rs, kept *k)
{
    kept **at = chain_of(rs, &k->key);

    while (*at != k)
        at = &(*at)->chain;
    *at = k->chain;
    *(k->newer ? &k->newer->older : &rs->newest) = k->older;
    *(k->older ? &k->older->newer : &rs->oldest) = k->newer;
    rs->idle--;
    rs->hold -= k->hold;
}

static void put_in_locked(iip_readers_t *rs, kept *k)
{
    kept **at = chain_of(rs, &k->key);

    k->chain = *at;
    *at = k;
    k->newer = NULL;
    k->older = rs->newest;
    *(rs->newest ? &rs->newest->newer : &rs->oldest) = k;
    rs->newest = k;
    rs->idle++;
    rs->hold += k->hold;
}

/* Takes the oldest out until no more than `idle` are there, holding no more than `hold`; chained, to be closed
 * outside of the lock. */
static kept *shrink_locked(iip_readers_t *rs, int idle, size_t hold)
{
    kept *out = NULL;

    while (rs->oldest && (rs->idle > idle || rs->hold > hold)) {
        kept *k = rs->oldest;

        take_out_locked(rs, k);
        k->chain = out;
        out = k;
    }
    return out;
}

/* --- the readers --- */

iip_readers_t *iip_readers_create(int keep, apr_pool_t *p)
{
    size_t slots = 16;
    iip_readers_t *rs;

    while (slots < (size_t)(keep > 0 ? keep : 0) && slots < 65536)
        slots *= 2;
    rs = apr_pcalloc(p, sizeof *rs + slots * sizeof *rs->table);
    if (!rs || pthread_mutex_init(&rs->lock, NULL) != 0)
        return NULL;
    rs->keep = keep;
    rs->slots = slots;
    return rs;
}

void iip_readers_clear(iip_readers_t *rs)
{
    close_all(shrink_locked(rs, 0, 0));
}

/* A pool and a source of its own, nothing open yet. */
static iip_status new_reader(kept **out, iip_source_t *s, const reader_key *key, iip_error *e)
{
    apr_pool_t *pool;
    kept *k;
    iip_status rv;

    if (apr_pool_create_unmanaged_ex(&pool, NULL, NULL) != APR_SUCCESS)
        return iip_fail(e, IIP_E_MEMORY, APR_ENOMEM, "no pool for a reader");
    apr_pool_tag(pool, "iip_reader");
    if (!(k = apr_pcalloc(pool, sizeof *k))) {
        apr_pool_destroy(pool);
        return iip_fail(e, IIP_E_MEMORY, APR_ENOMEM, "no memory for a reader");
    }
    k->pool = pool;
    k->key = *key;
    if ((rv = iip_source_keep(&k->lease.src, s, pool, e)) != IIP_OK)
        close_reader(k);
    else
        *out = k;
    return rv;
}

/* By the surest decoder, or the next that does not refuse. Each begins with a new pool: one that refuses leaves things
 * behind. */
static iip_status open_reader(kept **out, iip_source_t *s, const reader_key *key, const iip_limits *lim, iip_error *e)
{
    unsigned char head[IIP_SNIFF];
    size_t n = s->id.size < IIP_SNIFF ? (size_t)s->id.size : IIP_SNIFF;
    const iip_decoder *d = NULL;
    kept *k = NULL;
    iip_status rv;

    do {
        if ((rv = new_reader(&k, s, key, e)) != IIP_OK)
            return rv;
        if (!d && (rv = k->lease.src->read(k->lease.src, head, n, 0, e)) == IIP_OK)
            d = iip_decoder_find(head, n);
        while (lim->foreign && d && d->flags & IIP_DEC_TRUSTED)
            d = iip_decoder_next(head, n, d);
        if (rv == IIP_OK && !d)
            rv = iip_fail(e, IIP_E_FORMAT, 0, "%s: no decoder knows its first bytes", s->name);
        if (rv == IIP_OK && (rv = open_decoder(k, d, (int)key->page, lim, e)) == IIP_OK) {
            *out = k;
            return IIP_OK;
        }
        close_reader(k);
    } while (rv == IIP_E_FORMAT && d && (d = iip_decoder_next(head, n, d)));
    return rv;
}

iip_status iip_readers_take(iip_readers_t *rs, iip_source_t *s, int page, const iip_limits *lim, iip_lease **l,
                            iip_error *e)
{
    reader_key key = {s->id, page};
    iip_quarantine_slot *slot;
    iip_status rv = iip_quarantine_check(s, e);
    kept *k;

    if (rv != IIP_OK)
        return rv;
    slot = iip_quarantine_enter(s);
    pthread_mutex_lock(&rs->lock);
    k = *chain_of(rs, &key);
    while (k && memcmp(&k->key, &key, sizeof key) != 0)
        k = k->chain;
    if (k)
        take_out_locked(rs, k);
    pthread_mutex_unlock(&rs->lock);
    if (!k && (rv = open_reader(&k, s, &key, lim, e)) != IIP_OK) {
        iip_quarantine_leave(slot);
        return rv;
    }
    k->slot = slot;
    *l = &k->lease;
    return IIP_OK;
}

void iip_readers_give(iip_readers_t *rs, iip_lease *l, int good, size_t hold)
{
    kept *k = (kept *)l, *out;
    iip_quarantine_slot *slot = k->slot;

    if (!good || rs->keep <= 0 || hold > HOLD_MAX) {
        close_reader(k);
        iip_quarantine_leave(slot);
        return;
    }
    iip_quarantine_leave(slot); /* what is closed below may be another file */
    k->hold = hold;
    pthread_mutex_lock(&rs->lock);
    /* First the place, then the reader: so it is never the one that is closed. */
    out = shrink_locked(rs, rs->keep - 1, HOLD_MAX - hold);
    put_in_locked(rs, k);
    pthread_mutex_unlock(&rs->lock);
    close_all(out);
}
