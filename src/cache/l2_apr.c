/* SPDX-License-Identifier: Apache-2.0
 * apr_memcache as client of one server. It has no time-outs: its get never returns from a server that hangs. The lane
 * of l2.c has them, and closes a handle that failed, with whatever it then thinks of its server. */
#include "l2.h"
#include <apr_memcache.h>
#include <apr_network_io.h>
#include <apr_strings.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
    apr_pool_t *pool, *once; /* once: of one operation */
    apr_memcache_t *mc;
    apr_memcache_server_t *server;
} handle;

static void apr_close(void *v)
{
    apr_pool_destroy(((handle *)v)->pool);
}

static void *apr_open(const char *server, int64_t patience)
{
    apr_pool_t *p;
    handle *h;
    char *host, *zone;
    apr_port_t port;

    if (apr_pool_create_unmanaged_ex(&p, NULL, NULL) != APR_SUCCESS)
        return NULL;
    h = apr_pcalloc(p, sizeof *h);
    h->pool = p;
    if (apr_parse_addr_port(&host, &zone, &port, server, p) != APR_SUCCESS || !host ||
        apr_pool_create(&h->once, p) != APR_SUCCESS || apr_memcache_create(p, 1, 0, &h->mc) != APR_SUCCESS ||
        apr_memcache_server_create(p, host, port ? port : IIP_L2_PORT, 0, 1, 1, (apr_uint32_t)apr_time_from_sec(60),
                                   &h->server) != APR_SUCCESS ||
        apr_memcache_add_server(h->mc, h->server) != APR_SUCCESS) {
        apr_close(h);
        return NULL;
    }
    return h;
}

static int apr_get(void *v, const char *name, char **data, size_t *len)
{
    handle *h = v;
    char *value = NULL;
    apr_status_t rv = apr_memcache_getp(h->mc, h->once, name, &value, len, NULL);

    *data = rv == APR_SUCCESS && value && *len <= IIP_L2_MOST ? malloc(*len + 1) : NULL;
    if (*data)
        memcpy(*data, value, *len);
    apr_pool_clear(h->once);
    return *data ? 1 : rv == APR_SUCCESS || rv == APR_NOTFOUND ? 0 : -1;
}

/* APR_EGENERAL is any answer but STORED: too large, no room. The network's failures have codes of their own. */
static int apr_set(void *v, const char *name, char *data, size_t len, uint32_t seconds)
{
    apr_status_t rv = apr_memcache_set(((handle *)v)->mc, name, data, len, seconds, 0);

    return rv == APR_SUCCESS ? 1 : rv == APR_EGENERAL || rv == APR_NOTFOUND ? 0 : -1;
}

const iip_l2_client iip_l2_apr = {"apr", apr_open, apr_get, apr_set, apr_close};
