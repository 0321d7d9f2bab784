/* SPDX-License-Identifier: Apache-2.0
 * The URL the client used, for id, Location and Link (spec/iiif.md R10): a fixed one, that of a proxy we trust, or the
 * request's own. Nothing of it is taken unchecked: it ends in headers and in JSON. */
#include "httpd/iipd.h"
#include "path.h"
#include <string.h>
#include <apr_lib.h>
#include <apr_strings.h>

#define ID_MAX 1024

/* name[:port] or a bracketed IPv6 address; *port is where ":port" begins, or the end. */
static int host_good(const char *s, size_t n, size_t *port)
{
    size_t i = 0;

    if (n > 300)
        return 0;
    if (n && *s == '[') {
        for (i = 1; i < n && (apr_isxdigit(s[i]) || s[i] == ':' || s[i] == '.'); i++)
            ;
        if (i == 1 || i == n || s[i++] != ']')
            return 0;
    } else {
        while (i < n && (apr_isalnum(s[i]) || s[i] == '.' || s[i] == '-'))
            i++;
        if (!i)
            return 0;
    }
    *port = i;
    if (i == n)
        return 1;
    if (s[i++] != ':' || n - i < 1 || n - i > 5)
        return 0;
    while (i < n && apr_isdigit(s[i]))
        i++;
    return i == n;
}

/* A path or URL of plain characters: nothing that could leave a header, a quoted string or angle brackets. */
static int url_good(const char *s)
{
    size_t n = 0;

    for (; s[n]; n++)
        if (n == ID_MAX || (!apr_isalnum(s[n]) && !strchr("/-._~:;,!$&'()*+=@%[]?", s[n])))
            return 0;
    return 1;
}

static int trusted(const iipd_request *q)
{
    apr_ipsubnet_t *const *net = q->set.trusted;

    /* The connection's own address: mod_remoteip changes what the request says */
    for (; net && *net; net++)
        if (apr_ipsubnet_test(*net, q->r->connection->client_addr))
            return 1;
    return 0;
}

/* The first element of a header that each proxy appends to, or NULL. */
static const char *first_of(const iipd_request *q, const char *header)
{
    const char *s = apr_table_get(q->r->headers_in, header);
    size_t n;

    if (!s)
        return NULL;
    while (apr_isspace(*s))
        s++;
    n = strcspn(s, ",");
    while (n && apr_isspace(s[n - 1]))
        n--;
    return n ? apr_pstrmemdup(q->r->pool, s, n) : NULL;
}

/* A parameter of the first element of Forwarded (RFC 7239), or NULL. */
static const char *forwarded(const iipd_request *q, const char *name)
{
    const char *s = apr_table_get(q->r->headers_in, "Forwarded");
    size_t len = strlen(name);

    while (s && *s && *s != ',') {
        const char *value;
        size_t n;
        int match;

        s += strspn(s, " \t;");
        match = !strncasecmp(s, name, len) && s[len] == '=';
        s += strcspn(s, "=;,");
        if (*s != '=')
            continue;
        if (*++s == '"') {
            value = ++s;
            n = strcspn(s, "\"");
            s += n;
            if (*s++ != '"')
                return NULL;
        } else {
            value = s;
            n = strcspn(s, " \t;,");
            s += n;
        }
        if (match)
            return n ? apr_pstrmemdup(q->r->pool, value, n) : NULL;
        s += strspn(s, " \t");
    }
    return NULL;
}

/* Segments decoded once and encoded as identifiers are; the path itself if that changes nothing, as nearly always. */
static const char *canonical(const char *path, int decode, apr_pool_t *p)
{
    const char *plain = path, *out = "";

    while (apr_isalnum(*plain) || (*plain && strchr("/-._~:;,!$&'()*+=", *plain)))
        plain++;
    if (!*plain)
        return path;
    while (*path) {
        size_t n = strcspn(path, "/");
        const char *seg = decode ? iip_path_decode(path, n, p) : apr_pstrmemdup(p, path, n);

        out = apr_pstrcat(p, out, seg ? iip_path_encode(seg, p) : "", path[n] ? "/" : "", NULL);
        path += n + (path[n] == '/');
    }
    return out;
}

const char *iipd_given_id(iipd_request *q)
{
    const char *id = apr_table_get(q->r->headers_in, "X-IIIF-ID"), *host;
    size_t port;

    if (!id || !trusted(q) || !url_good(id))
        return NULL;
    host = !strncasecmp(id, "https://", 8) ? id + 8 : !strncasecmp(id, "http://", 7) ? id + 7 : NULL;
    return host && host_good(host, strcspn(host, "/?"), &port) ? id : NULL;
}

/* "host[:port]" as the client wrote it, or the server's own name. */
static const char *own_host(request_rec *r)
{
    const core_dir_config *core = ap_get_core_module_config(r->per_dir_config);
    const char *host = apr_table_get(r->headers_in, "Host");
    size_t at;
    apr_port_t port;

    if (core->use_canonical_name == USE_CANONICAL_NAME_OFF || core->use_canonical_name == USE_CANONICAL_NAME_UNSET) {
        if (host && host_good(host, strlen(host), &at))
            return host;
        host = r->server->server_hostname;
        port = r->server->port ? r->server->port : r->connection->local_addr->port;
        if (strchr(host, ':'))
            host = apr_pstrcat(r->pool, "[", host, "]", NULL);
    } else {
        host = ap_get_server_name_for_url(r);
        port = ap_get_server_port(r);
    }
    return ap_is_default_port(port, r) ? host : apr_psprintf(r->pool, "%s:%u", host, port);
}

const char *iipd_base_url(iipd_request *q, const char *folder)
{
    request_rec *r = q->r;
    const char *scheme, *host, *prefix = "", *path = canonical(folder, !q->set.root, r->pool);

    if (q->set.base_url)
        return q->set.root ? q->set.base_url : apr_pstrcat(r->pool, q->set.base_url, path, NULL);
    scheme = ap_http_scheme(r);
    host = own_host(r);
    if (trusted(q)) {
        const char *s = first_of(q, "X-Forwarded-Proto"), *h = first_of(q, "X-Forwarded-Host"),
                   *n = first_of(q, "X-Forwarded-Port"), *x = first_of(q, "X-Forwarded-Prefix");
        size_t at;

        if (!s)
            s = forwarded(q, "proto");
        if (s && (!strcasecmp(s, "http") || !strcasecmp(s, "https")))
            scheme = strcasecmp(s, "http") ? "https" : "http";
        if (!h)
            h = forwarded(q, "host");
        if (h && host_good(h, strlen(h), &at))
            host = h;
        if (n && strlen(n) <= 5 && strspn(n, "0123456789") == strlen(n) && host_good(host, strlen(host), &at)) {
            int usual = !strcmp(n, strcmp(scheme, "http") ? "443" : "80");

            host = apr_pstrcat(r->pool, apr_pstrmemdup(r->pool, host, at), usual ? "" : ":", usual ? "" : n, NULL);
        }
        if (x && *x == '/' && x[1] != '/' && url_good(x) && !strchr(x, '?')) {
            size_t len = strlen(x);

            while (len && x[len - 1] == '/')
                len--;
            prefix = apr_pstrmemdup(r->pool, x, len);
        }
    }
    return apr_pstrcat(r->pool, scheme, "://", host, prefix, path, NULL);
}
