/* SPDX-License-Identifier: Apache-2.0
 * Where JPIP channels are kept: an ap_socache provider, which all children (and with redis or memcache all machines)
 * share, and one global mutex around it where the provider has none of its own. */
#include "httpd/jpipd.h"
#include <ap_provider.h>
#include <ap_socache.h>
#include <string.h>
#include <apr_global_mutex.h>
#include <apr_strings.h>
#include <util_mutex.h>

APLOG_USE_MODULE(iip);

#define MUTEX     "jpip-state"
#define ARGS      "jpip-sessions(16777216)"
#define TYPICAL   8192 /* bytes of a record: shmcb sizes its parts by it, and one of 64 kB must fit into each */
#define KEY_MAX   64
#define PREFIX    "iip-jpip-"
#define LOST_WARN "JPIP: no channels: %s (JPIPSessions); clients are answered without"

/* Made while the configuration is read, read-only for the children */
static const ap_socache_provider_t *provider;
static ap_socache_instance_t *instance;
static apr_global_mutex_t *mutex;
static server_rec *main_server;
static const char *missing; /* why there is no store */

int iipd_channels_pre_config(apr_pool_t *pconf)
{
    provider = NULL;
    instance = NULL;
    mutex = NULL;
    missing = "mod_socache_shmcb is not loaded";
    return ap_mutex_register(pconf, MUTEX, NULL, APR_LOCK_DEFAULT, 0) ? !OK : OK;
}

static apr_status_t destroy(void *unused)
{
    if (instance && provider)
        provider->destroy(instance, main_server);
    instance = NULL;
    return APR_SUCCESS;
}

int iipd_channels_check(apr_pool_t *pconf, apr_pool_t *ptemp, server_rec *s)
{
    const iip_server_settings *set = ap_get_module_config(s->module_config, &iip_module);
    const char *text = set->jpip_sessions, *args, *bad = NULL;
    char *name;

    if (provider)
        return OK;
    args = text ? strchr(text, ':') : NULL;
    name = text ? apr_pstrmemdup(ptemp, text, args ? (apr_size_t)(args - text) : strlen(text)) : "shmcb";
    args = !text ? ap_runtime_dir_relative(ptemp, ARGS) : args ? args + 1 : NULL;
    provider = ap_lookup_provider(AP_SOCACHE_PROVIDER_GROUP, name, AP_SOCACHE_PROVIDER_VERSION);
    if (!provider)
        bad = apr_psprintf(ptemp, "no such provider: is mod_socache_%s loaded?", name);
    else if (!strcmp(name, "dbm"))
        bad = "the records of dbm are too small";
    else
        bad = provider->create(&instance, args, ptemp, pconf);
    if (!bad)
        return OK;
    provider = NULL;
    if (!text)
        return OK; /* nobody asked for channels yet */
    ap_log_error(APLOG_MARK, APLOG_STARTUP | APLOG_EMERG, 0, s, "IIP0005: JPIPSessions %s: %s", text, bad);
    return !OK;
}

int iipd_channels_post_config(apr_pool_t *pconf, apr_pool_t *ptemp, server_rec *s)
{
    static const struct ap_socache_hints hints = {22, TYPICAL, APR_USEC_PER_SEC * 60};
    apr_status_t rv;

    main_server = s;
    if (ap_state_query(AP_SQ_MAIN_STATE) == AP_SQ_MS_CREATE_PRE_CONFIG || iipd_channels_check(pconf, ptemp, s) != OK ||
        !provider)
        return OK;
    if (provider->flags & AP_SOCACHE_FLAG_NOTMPSAFE && ap_global_mutex_create(&mutex, NULL, MUTEX, NULL, s, pconf, 0))
        return !OK;
    if ((rv = provider->init(instance, "jpip", &hints, s, pconf))) {
        ap_log_error(APLOG_MARK, APLOG_EMERG, rv, s, "IIP0005: JPIPSessions: the store of channels cannot be made");
        return !OK;
    }
    apr_pool_cleanup_register(pconf, NULL, destroy, apr_pool_cleanup_null);
    return OK;
}

void iipd_channels_child_init(apr_pool_t *pchild, server_rec *s)
{
    apr_status_t rv;

    if (!mutex)
        return;
    if ((rv = apr_global_mutex_child_init(&mutex, apr_global_mutex_lockfile(mutex), pchild))) {
        ap_log_error(APLOG_MARK, APLOG_CRIT, rv, s, "IIP0005: the mutex %s cannot be had: no JPIP channels", MUTEX);
        missing = "its mutex failed";
        provider = NULL;
    }
}

/* ---- the store of a request ---- */

static void lock(void *ctx)
{
    if (mutex)
        apr_global_mutex_lock(mutex);
}

static void unlock(void *ctx)
{
    if (mutex)
        apr_global_mutex_unlock(mutex);
}

/* Keys of other modules in the same redis or memcached are not ours. */
static unsigned key_of(char out[KEY_MAX], const char *key)
{
    apr_snprintf(out, KEY_MAX, PREFIX "%s", key);
    return (unsigned)strlen(out);
}

static apr_pool_t *scratch(void *ctx)
{
    apr_pool_t *p;

    return apr_pool_create(&p, ctx) ? NULL : p;
}

static iip_status get(void *ctx, const char *key, void *rec, size_t *n, iip_error *e)
{
    apr_pool_t *p = scratch(ctx);
    char id[KEY_MAX];
    unsigned len = key_of(id, key), size = (unsigned)*n;
    apr_status_t rv;

    if (!p)
        return iip_fail(e, IIP_E_MEMORY, APR_ENOMEM, "JPIP: no memory for a channel");
    rv = provider->retrieve(instance, main_server, (const unsigned char *)id, len, rec, &size, p);
    apr_pool_destroy(p);
    *n = size;
    if (rv == APR_NOTFOUND)
        return iip_refuse(e, IIP_E_NOT_FOUND, "cid");
    return rv ? iip_fail(e, IIP_E_BUSY, rv, "JPIP: the store of channels does not answer") : IIP_OK;
}

static iip_status put(void *ctx, const char *key, const void *rec, size_t n, apr_time_t until, iip_error *e)
{
    apr_pool_t *p = scratch(ctx);
    char id[KEY_MAX];
    unsigned len = key_of(id, key);
    apr_status_t rv;

    if (!p)
        return iip_fail(e, IIP_E_MEMORY, APR_ENOMEM, "JPIP: no memory for a channel");
    rv = provider->store(instance, main_server, (const unsigned char *)id, len, until, (unsigned char *)rec,
                         (unsigned)n, p);
    apr_pool_destroy(p);
    return rv ? iip_fail(e, IIP_E_MEMORY, rv, "JPIP: the store of channels takes no record of %lu bytes",
                         (unsigned long)n)
              : IIP_OK;
}

static void drop(void *ctx, const char *key)
{
    apr_pool_t *p = scratch(ctx);
    char id[KEY_MAX];
    unsigned len = key_of(id, key);

    if (!p)
        return;
    provider->remove(instance, main_server, (const unsigned char *)id, len, p);
    apr_pool_destroy(p);
}

typedef struct {
    uint64_t channels, bytes;
} census;

static apr_status_t count_record(ap_socache_instance_t *in, server_rec *s, void *ctx, const unsigned char *id,
                                 unsigned id_len, const unsigned char *data, unsigned len, apr_pool_t *p)
{
    census *c = ctx;

    /* The other keys are notes of sessions that were closed */
    if (id_len == sizeof PREFIX - 1 + JPIP_CID_LEN && !memcmp(id, PREFIX, sizeof PREFIX - 1)) {
        c->channels++;
        c->bytes += len;
    }
    return APR_SUCCESS;
}

int iipd_channels_read(apr_pool_t *p, uint64_t *channels, uint64_t *bytes)
{
    apr_pool_t *own;
    census c = {0, 0};
    apr_status_t rv;

    if (!provider || !instance || !provider->iterate || !(own = scratch(p)))
        return 0;
    lock(NULL);
    rv = provider->iterate(instance, main_server, &c, count_record, own);
    unlock(NULL);
    apr_pool_destroy(own);
    *channels = c.channels;
    *bytes = c.bytes;
    return rv == APR_SUCCESS;
}

const jpip_store *iipd_channels(request_rec *r)
{
    static volatile apr_uint32_t said;
    jpip_store *st;

    if (!provider || !instance) {
        if (!apr_atomic_xchg32(&said, 1))
            ap_log_rerror(APLOG_MARK, APLOG_WARNING, 0, r, "IIP0005: " LOST_WARN, missing);
        return NULL;
    }
    st = apr_palloc(r->pool, sizeof *st);
    *st = (jpip_store){get, put, drop, lock, unlock, r->pool};
    return st;
}
