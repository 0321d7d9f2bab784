/* SPDX-License-Identifier: Apache-2.0
 * The secret under which answers lie in memcached: read at the start, while httpd may still read everything. */
#include "httpd/iipd.h"
#include <string.h>
#include <apr_file_io.h>
#include <apr_lib.h>
#include <apr_strings.h>

APLOG_USE_MODULE(iip);

static unsigned char secret[IIP_L2_SECRET];

const unsigned char *iipd_memcached_secret(void)
{
    return secret;
}

static int hex_value(char c)
{
    return apr_isdigit(c) ? c - '0' : apr_isxdigit(c) ? (c | 32) - 'a' + 10 : -1;
}

/* 96 hex digits, with white space around them at most. A message, or NULL. */
static const char *read_secret(const char *path, apr_pool_t *p)
{
    char text[256], *s = text;
    apr_size_t n = sizeof text - 1;
    apr_finfo_t info;
    apr_file_t *f;
    apr_status_t rv = apr_file_open(&f, path, APR_READ, APR_OS_DEFAULT, p);

    if (rv != APR_SUCCESS)
        return apr_psprintf(p, "cannot be opened: %pm", &rv);
    rv = apr_file_read_full(f, text, n, &n);
    if ((rv == APR_SUCCESS || rv == APR_EOF) && apr_file_info_get(&info, APR_FINFO_PROT, f) == APR_SUCCESS &&
        info.protection & (APR_WREAD | APR_WWRITE))
        iipd_warn(apr_psprintf(p, "IIPMemcachedSecret %s is open to everybody on this machine", path));
    apr_file_close(f);
    text[n] = '\0';
    while (apr_isspace(*s))
        s++;
    for (int i = 0; i < IIP_L2_SECRET; i++, s += 2) {
        if (hex_value(s[0]) < 0 || hex_value(s[1]) < 0)
            return "does not hold 96 hex digits";
        secret[i] = (unsigned char)(hex_value(s[0]) << 4 | hex_value(s[1]));
    }
    while (apr_isspace(*s))
        s++;
    return *s || n == sizeof text - 1 ? "holds more than 96 hex digits" : NULL;
}

/* A name counts by all of its addresses. */
static int is_loopback(const char *server, apr_pool_t *p)
{
    apr_sockaddr_t *at;
    char *host, *zone, ip[64];
    apr_port_t port;

    if (apr_parse_addr_port(&host, &zone, &port, server, p) != APR_SUCCESS || !host ||
        apr_sockaddr_info_get(&at, host, APR_UNSPEC, port, 0, p) != APR_SUCCESS)
        return 0;
    for (; at; at = at->next)
        if (apr_sockaddr_ip_getbuf(ip, sizeof ip, at) != APR_SUCCESS || (strncmp(ip, "127.", 4) && strcmp(ip, "::1")))
            return 0;
    return 1;
}

int iipd_memcached_check(apr_pool_t *pconf, apr_pool_t *plog, apr_pool_t *ptemp, server_rec *s)
{
    iip_server_settings set;
    const char *path, *bad;

    memset(secret, 0, sizeof secret);
    iip_server_settings_effective(&set, ap_get_module_config(s->module_config, &iip_module));
    if (!set.memcached || !*set.memcached)
        return OK;
    if (set.memcached_secret) {
        path = ap_server_root_relative(pconf, set.memcached_secret);
        bad = path ? read_secret(path, pconf) : "is no path";
        if (bad) {
            ap_log_error(APLOG_MARK, APLOG_EMERG, 0, s, "IIP0020: IIPMemcachedSecret %s %s", set.memcached_secret, bad);
            return HTTP_INTERNAL_SERVER_ERROR;
        }
        return OK;
    }
    for (const char *const *server = set.memcached; *server; server++)
        if (!is_loopback(*server, ptemp)) {
            ap_log_error(APLOG_MARK, APLOG_EMERG, 0, s,
                         "IIP0020: IIPMemcached %s is not on this machine: whoever reaches it could read and change "
                         "answers. Write IIPMemcachedSecret",
                         *server);
            return HTTP_INTERNAL_SERVER_ERROR;
        }
    return OK;
}
