/* SPDX-License-Identifier: Apache-2.0
 * Channels: see session.h. A record: version, flags, type, tid, group, mark of the running request and when it was
 * renewed, mark of the one that wants it to end, times, number of requests, target, then the packed model. */
#include "jpip/session.h"
#include <stdlib.h>
#include <string.h>
#include <apr_strings.h>

#define VERSION      1
#define POLL         apr_time_from_msec(20)
#define WAIT         apr_time_from_sec(10) /* for an earlier request, wait=yes */
#define WAIT_CANCEL  apr_time_from_sec(2)  /* for one that was told to end */
#define LOOK         apr_time_from_msec(100)
#define RENEW        apr_time_from_sec(10)
#define VOID_AFTER   apr_time_from_sec(30) /* the mark of a child that died */
#define TARGET_MAX   2048
#define MODEL_LEAST  1024 /* bytes of a model worth storing in a store that takes little */
#define GROUP_PREFIX "closed-"

enum { SHARED = 1, FRESH = 2 };

/* The fixed part; numbers in the machine's own order would not do for several machines. */
typedef struct {
    unsigned char version, flags, type, spare;
    char tid[16], group[JPIP_CID_LEN];
    unsigned char running[8], renewed[8], cancel[8], created[8], used[8], requests[8], target[2];
} fixed;

static void put64(unsigned char *to, uint64_t v)
{
    for (int i = 0; i < 8; i++)
        to[i] = (unsigned char)(v >> (56 - 8 * i));
}

static uint64_t get64(const unsigned char *p)
{
    uint64_t v = 0;

    for (int i = 0; i < 8; i++)
        v = v << 8 | p[i];
    return v;
}

/* Nobody guesses or injects keys: the alphabet of a cid, its length. */
static int good_cid(const char *cid)
{
    return strlen(cid) == JPIP_CID_LEN &&
           strspn(cid, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_") == JPIP_CID_LEN;
}

static iip_status unknown(iip_error *e)
{
    return iip_refuse(e, IIP_E_BUSY, "cid");
}

static iip_status make(jpip_session **out, const jpip_store *store, const char *cid, uint64_t mark,
                       apr_interval_time_t timeout, apr_pool_t *p, iip_error *e)
{
    jpip_session *s = apr_pcalloc(p, sizeof *s);

    *out = s;
    s->store = store;
    s->timeout = timeout;
    s->pool = p;
    s->mine = mark ? mark : 1;
    s->begun = s->renewed = s->looked = apr_time_now();
    apr_cpystrn(s->cid, cid, sizeof s->cid);
    if (!(s->record = malloc(JPIP_RECORD_MAX)))
        return iip_fail(e, IIP_E_MEMORY, APR_ENOMEM, "JPIP: no memory for a channel");
    apr_pool_cleanup_register(p, s->record, (apr_status_t(*)(void *))(void *)free, apr_pool_cleanup_null);
    return IIP_OK;
}

iip_status jpip_session_open(jpip_session **out, const jpip_store *store, const char *cid, uint64_t mark,
                             const jpip_session *sister, apr_interval_time_t timeout, apr_pool_t *p, iip_error *e)
{
    iip_status rv = make(out, store, cid, mark, timeout, p, e);
    jpip_session *s = *out;

    if (rv != IIP_OK)
        return rv;
    apr_cpystrn(s->group, sister ? sister->group : cid, sizeof s->group);
    s->shared = sister != NULL;
    s->fresh = 1;
    s->requests = 1;
    s->created = s->begun;
    s->target = "";
    if (!(s->model = jpip_model_make(p)))
        return iip_fail(e, IIP_E_MEMORY, APR_ENOMEM, "JPIP: no memory for a channel");
    return IIP_OK;
}

/* The record as the store has it now. */
static iip_status load(jpip_session *s, iip_error *e)
{
    const jpip_store *st = s->store;
    const fixed *f = (const fixed *)(void *)s->record;
    iip_status rv;

    s->record_len = JPIP_RECORD_MAX;
    if ((rv = st->get(st->ctx, s->cid, s->record, &s->record_len, e)) != IIP_OK)
        return rv == IIP_E_NOT_FOUND ? unknown(e) : rv;
    if (s->record_len < sizeof *f || f->version != VERSION)
        return unknown(e);
    s->model_at = sizeof *f + ((size_t)f->target[0] << 8 | f->target[1]);
    if (s->model_at > s->record_len)
        return unknown(e);
    return IIP_OK;
}

static iip_status save(const jpip_session *s, const void *rec, size_t n, iip_error *e)
{
    return s->store->put(s->store->ctx, s->cid, rec, n, apr_time_now() + s->timeout, e);
}

static const char *closed_key(const char *group, apr_pool_t *p)
{
    return apr_pstrcat(p, GROUP_PREFIX, group, NULL);
}

/* All channels of the session were closed through another one. */
static int group_closed(const jpip_session *s)
{
    char note[8];
    size_t n = sizeof note;
    iip_error e;

    return s->store->get(s->store->ctx, closed_key(s->group, s->pool), note, &n, &e) == IIP_OK;
}

static iip_status unpack(jpip_session *s, iip_error *e)
{
    const fixed *f = (const fixed *)(void *)s->record;

    apr_cpystrn(s->tid, f->tid, sizeof s->tid);
    apr_cpystrn(s->group, f->group, sizeof s->group);
    s->type = f->type;
    s->shared = (f->flags & SHARED) != 0;
    s->fresh = (f->flags & FRESH) != 0;
    s->created = (apr_time_t)get64(f->created);
    s->requests = get64(f->requests) + 1;
    s->target = apr_pstrmemdup(s->pool, (const char *)(f + 1), s->model_at - sizeof *f);
    if (s->shared && group_closed(s)) {
        s->store->drop(s->store->ctx, s->cid);
        return unknown(e);
    }
    return jpip_model_unpack(&s->model, s->record + s->model_at, s->record_len - s->model_at, s->pool, e);
}

iip_status jpip_session_begin(jpip_session **out, const jpip_store *store, const char *cid, uint64_t mark, int wait,
                              apr_interval_time_t timeout, int (*gone)(void *ctx), void *gone_ctx, apr_pool_t *p,
                              iip_error *e)
{
    jpip_session *s;
    fixed *f;
    apr_time_t until;
    iip_status rv;

    if (!good_cid(cid))
        return unknown(e);
    if ((rv = make(out, store, cid, mark, timeout, p, e)) != IIP_OK)
        return rv;
    s = *out;
    f = (fixed *)(void *)s->record;
    until = s->begun + (wait ? WAIT : WAIT_CANCEL);
    for (;;) {
        apr_time_t now;

        store->lock(store->ctx);
        rv = load(s, e);
        now = apr_time_now();
        if (rv != IIP_OK || !get64(f->running) || now >= until || (apr_time_t)get64(f->renewed) + VOID_AFTER < now)
            break;
        if (!wait && get64(f->cancel) != s->mine) {
            put64(f->cancel, s->mine);
            rv = save(s, s->record, s->record_len, e);
        }
        store->unlock(store->ctx);
        if (rv != IIP_OK)
            return rv;
        if (gone && gone(gone_ctx))
            return iip_fail(e, IIP_E_ABORTED, 0, "client gone");
        apr_sleep(POLL);
    }
    if (rv == IIP_OK && (rv = unpack(s, e)) == IIP_OK) {
        put64(f->running, s->mine);
        put64(f->renewed, (uint64_t)apr_time_now());
        put64(f->cancel, 0);
        rv = save(s, s->record, s->record_len, e);
    }
    store->unlock(store->ctx);
    return rv;
}

int jpip_session_cancelled(jpip_session *s)
{
    apr_time_t now = apr_time_now();
    fixed f;
    unsigned char *rec;
    size_t n = JPIP_RECORD_MAX;
    iip_error e;
    int stop = 0;

    if (!s->record_len || now - s->looked < LOOK)
        return 0;
    s->looked = now;
    if (!(rec = malloc(n)))
        return 0;
    s->store->lock(s->store->ctx);
    if (s->store->get(s->store->ctx, s->cid, rec, &n, &e) == IIP_OK && n >= sizeof f) {
        memcpy(&f, rec, sizeof f);
        stop = get64(f.running) != s->mine || get64(f.cancel) != 0;
        if (!stop && now - s->renewed >= RENEW) {
            s->renewed = now;
            put64(f.renewed, (uint64_t)now);
            memcpy(rec, &f, sizeof f);
            save(s, rec, n, &e);
        }
    } else {
        stop = 1; /* closed meanwhile */
    }
    s->store->unlock(s->store->ctx);
    free(rec);
    return stop;
}

/* The record of now into rec (of JPIP_RECORD_MAX); its length. */
static size_t pack(const jpip_session *s, unsigned char *rec, int keep, size_t room)
{
    fixed *f = (fixed *)(void *)rec;
    size_t target = strlen(s->target), at;

    if (target > TARGET_MAX)
        target = TARGET_MAX;
    memset(f, 0, sizeof *f);
    f->version = VERSION;
    f->flags = (unsigned char)((s->shared ? SHARED : 0) | (s->fresh ? FRESH : 0));
    f->type = (unsigned char)s->type;
    memcpy(f->tid, s->tid, sizeof f->tid);
    memcpy(f->group, s->group, sizeof f->group);
    put64(f->created, (uint64_t)s->created);
    put64(f->used, (uint64_t)apr_time_now());
    put64(f->requests, s->requests);
    f->target[0] = (unsigned char)(target >> 8);
    f->target[1] = (unsigned char)target;
    memcpy(f + 1, s->target, target);
    at = sizeof *f + target;
    if (keep || !s->record_len)
        return at + jpip_model_pack(s->model, rec + at, room - at);
    if (s->record_len - s->model_at > room - at)
        return at;
    memcpy(rec + at, s->record + s->model_at, s->record_len - s->model_at);
    return at + s->record_len - s->model_at;
}

/* 1 if the stored record is still that of this request. */
static int is_mine(const jpip_session *s, unsigned char *rec)
{
    size_t n = JPIP_RECORD_MAX;
    iip_error e;
    fixed f;

    if (s->store->get(s->store->ctx, s->cid, rec, &n, &e) != IIP_OK || n < sizeof f)
        return 0;
    memcpy(&f, rec, sizeof f);
    return get64(f.running) == s->mine;
}

iip_status jpip_session_end(jpip_session *s, int keep, iip_error *e)
{
    unsigned char *rec = malloc(JPIP_RECORD_MAX);
    iip_status rv = IIP_OK;

    if (!rec)
        return iip_fail(e, IIP_E_MEMORY, APR_ENOMEM, "JPIP: no memory for a channel");
    s->store->lock(s->store->ctx);
    if (!s->record_len || is_mine(s, rec)) {
        size_t room = JPIP_RECORD_MAX;

        /* A store that takes less gets less: to forget costs bytes only */
        do {
            rv = save(s, rec, pack(s, rec, keep, room), e);
            room /= 4;
        } while (rv != IIP_OK && room >= sizeof(fixed) + TARGET_MAX + MODEL_LEAST);
    }
    s->store->unlock(s->store->ctx);
    free(rec);
    return rv == IIP_OK ? IIP_OK : iip_fail(e, IIP_E_MEMORY, e->apr, "JPIP: the store of channels is full");
}

void jpip_session_close(jpip_session *s, int all)
{
    const jpip_store *st = s->store;
    iip_error e;

    st->lock(st->ctx);
    st->drop(st->ctx, s->cid);
    if (all && s->shared)
        st->put(st->ctx, closed_key(s->group, s->pool), "", 1, apr_time_now() + s->timeout, &e);
    st->unlock(st->ctx);
}

int jpip_session_close_other(const jpip_session *s, const char *cid)
{
    jpip_session *other;
    int found;
    iip_error e;

    if (!good_cid(cid) || make(&other, s->store, cid, 1, s->timeout, s->pool, &e) != IIP_OK)
        return 0;
    s->store->lock(s->store->ctx);
    found = load(other, &e) == IIP_OK &&
            !memcmp(((const fixed *)(void *)other->record)->group, s->group, sizeof((fixed *)0)->group);
    if (found)
        s->store->drop(s->store->ctx, cid);
    s->store->unlock(s->store->ctx);
    return found;
}
