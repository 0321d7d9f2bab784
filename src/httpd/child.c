/* SPDX-License-Identifier: Apache-2.0
 * What each child has of its own: the opened roots and the server object with its caches. */
#include "httpd/jpipd.h"
#include "cache/ahead.h"
#include "gate.h"
#include <malloc.h>
#include <stdlib.h>
#include <ap_mpm.h>
#include <apr_allocator.h>
#include <apr_atomic.h>
#include <apr_thread_mutex.h>

APLOG_USE_MODULE(iip);

#define KEEP_FREE (4u << 20) /* bytes the allocator keeps of what was given back */

#define TRIM_EACH apr_time_from_sec(10)

static iip_server_t *server;
static apr_pool_t *server_pool;
static volatile apr_uint32_t busy;

iip_server_t *iipd_server_enter(void)
{
    apr_atomic_inc32(&busy);
    return server;
}

static void give_back(void)
{
#ifdef __GLIBC__
    malloc_trim(0);
#endif
}

void iipd_server_leave(void)
{
    static apr_time_t next;
    const apr_time_t now = apr_time_now();
    apr_time_t due = __atomic_load_n(&next, __ATOMIC_RELAXED);

    apr_atomic_dec32(&busy);
    /* Entries of all sizes come and go in the caches: the holes between them are given back now and then */
    if (now >= due && __atomic_compare_exchange_n(&next, &due, now + TRIM_EACH, 0, __ATOMIC_RELAXED, __ATOMIC_RELAXED))
        give_back();
}

/* Threaded MPMs only: the workers are joined by now. mod_http2 has threads of its own and does not wait for all of
 * them: while one is at work the end of the process frees everything. */
static apr_status_t child_end(void *unused)
{
    if (!apr_atomic_read32(&busy)) {
        iip_server_destroy(server);
        server = NULL;
        apr_pool_destroy(server_pool);
    }
    return APR_SUCCESS;
}

/* A pool of no parent with a locked allocator. Not a child of pchild: prefork destroys that inside its signal handler,
 * in the middle of a request, and its allocator has no lock. */
static apr_pool_t *make_pool(void)
{
    apr_allocator_t *allocator;
    apr_thread_mutex_t *mutex;
    apr_pool_t *p;

    if (apr_allocator_create(&allocator))
        return NULL;
    apr_allocator_max_free_set(allocator, KEEP_FREE);
    if (apr_pool_create_unmanaged_ex(&p, NULL, allocator)) {
        apr_allocator_destroy(allocator);
        return NULL;
    }
    apr_allocator_owner_set(allocator, p);
    if (apr_thread_mutex_create(&mutex, APR_THREAD_MUTEX_DEFAULT, p)) {
        apr_pool_destroy(p);
        return NULL;
    }
    apr_allocator_mutex_set(allocator, mutex);
    return p;
}

int iipd_jpip_most(void)
{
    int children = 0, threads = 0;

    if (ap_mpm_query(AP_MPMQ_MAX_DAEMONS, &children) || ap_mpm_query(AP_MPMQ_MAX_THREADS, &threads))
        return 2;
    return threads > 0 && children * threads > 4 ? children * threads / 2 : 2;
}

/* malloc gives threads arenas of their own, eight for each core, and each keeps what was freed in it. As many as
 * requests decode at once will do; the environment's word goes first. Before the child's threads begin. */
static void limit_arenas(int n)
{
#ifdef __GLIBC__
    if (!getenv("MALLOC_ARENA_MAX"))
        mallopt(M_ARENA_MAX, n < 2 ? 2 : n);
#endif
}

static void open_roots(iip_root *root, server_rec *s)
{
    for (; root; root = root->next) {
        iip_error e;

        if (iip_root_open(root, server_pool, &e))
            ap_log_error(APLOG_MARK, APLOG_ERR, e.apr, s, "IIP0004: %s %s: %s", root->directive, root->path, e.detail);
    }
}

/* Before httpd forgets where our code was. */
static apr_status_t end_of_process(void *unused)
{
    iip_ahead_close();
    iip_quarantine_release();
    return APR_SUCCESS;
}

/* Runs as User: a root it cannot open stays shut, with a line each. */
void iipd_child_init(apr_pool_t *pchild, server_rec *s)
{
    iip_server_settings set;
    int threaded = AP_MPMQ_NOT_SUPPORTED;
    iip_error e;

    iip_server_settings_effective(&set, ap_get_module_config(s->module_config, &iip_module));
    set.state_dir = iipd_state_dir(pchild, s);
    server_pool = make_pool();
    server = server_pool ? iip_server_create(&set, server_pool) : NULL;
    if (!server) {
        ap_log_error(APLOG_MARK, APLOG_CRIT, 0, s, "IIP0003: no memory for the caches, all pictures are refused");
        return;
    }
    limit_arenas(iip_server_gate(server)->places);
    iip_server_permits(server, iipd_shared_permits());
    iip_source_generations(iipd_shared_generations());
    iip_quarantine_use(iipd_shared_quarantine(), 1);
    apr_pool_cleanup_register(pchild, NULL, end_of_process, apr_pool_cleanup_null);
    if (iip_server_share(server, &set, iipd_memcached_secret(), &e))
        ap_log_error(APLOG_MARK, APLOG_ERR, e.apr, s, "IIP0021: %s", e.detail);
    open_roots(iipd_roots(), s);
    open_roots(iipd_link_roots(), s);
    iipd_channels_child_init(pchild, s);
    ap_mpm_query(AP_MPMQ_IS_THREADED, &threaded);
    if (threaded != AP_MPMQ_NOT_SUPPORTED)
        apr_pool_cleanup_register(pchild, NULL, child_end, apr_pool_cleanup_null);
}
