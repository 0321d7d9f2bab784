/* SPDX-License-Identifier: Apache-2.0
 * libmemcached as client of one server. It has time-outs, so that a server that hangs costs no thread. Its own
 * spreading over a fleet is not used: it goes on asking a server that takes connections and never answers (1.1.4),
 * while the lane leaves it alone. */
#include "l2.h"
#ifdef IIP_HAVE_MEMCACHED
#include <apr_network_io.h>
#include <libmemcached/memcached.h>
#include <stdlib.h>
#include <string.h>

static void lib_close(void *v)
{
    memcached_free(v);
}

static int add_server(memcached_st *mc, const char *server)
{
    apr_pool_t *p;
    char *host, *zone;
    apr_port_t port;
    int good;

    if (apr_pool_create_unmanaged_ex(&p, NULL, NULL) != APR_SUCCESS)
        return 0;
    good = apr_parse_addr_port(&host, &zone, &port, server, p) == APR_SUCCESS && host &&
           memcached_success(memcached_server_add(mc, host, port ? port : IIP_L2_PORT));
    apr_pool_destroy(p);
    return good;
}

static void *lib_open(const char *server, int64_t patience)
{
    /* What fails is tried once more: two operations of two steps within the time */
    const uint64_t part = (uint64_t)(patience / 4 > 1000 ? patience / 4 : 1000);
    const struct {
        memcached_behavior_t what;
        uint64_t value;
    } set[] = {
        {MEMCACHED_BEHAVIOR_BINARY_PROTOCOL, 1},
        {MEMCACHED_BEHAVIOR_NO_BLOCK, 1},
        {MEMCACHED_BEHAVIOR_TCP_NODELAY, 1},
        {MEMCACHED_BEHAVIOR_CONNECT_TIMEOUT, part / 1000}, /* ms */
        {MEMCACHED_BEHAVIOR_POLL_TIMEOUT, part / 1000},
        {MEMCACHED_BEHAVIOR_RCV_TIMEOUT, part}, /* us */
        {MEMCACHED_BEHAVIOR_SND_TIMEOUT, part},
    };
    memcached_st *mc = memcached_create(NULL);

    if (!mc)
        return NULL;
    for (size_t i = 0; i < sizeof set / sizeof *set; i++)
        memcached_behavior_set(mc, set[i].what, set[i].value);
    if (!add_server(mc, server)) {
        memcached_free(mc);
        return NULL;
    }
    return mc;
}

static int lib_get(void *v, const char *name, char **data, size_t *len)
{
    memcached_return_t rc = MEMCACHED_FAILURE;
    uint32_t flags;

    *data = memcached_get(v, name, strlen(name), len, &flags, &rc);
    return *data ? 1 : rc == MEMCACHED_NOTFOUND || memcached_success(rc) ? 0 : -1;
}

static int lib_set(void *v, const char *name, char *data, size_t len, uint32_t seconds)
{
    return memcached_success(memcached_set(v, name, strlen(name), data, len, (time_t)seconds, 0)) ? 1 : -1;
}

static const iip_l2_client client = {"libmemcached", lib_open, lib_get, lib_set, lib_close};
const iip_l2_client *const iip_l2_libmemcached = &client;
#else
const iip_l2_client *const iip_l2_libmemcached = NULL;
#endif
