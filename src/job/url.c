/* SPDX-License-Identifier: Apache-2.0
 * Addresses of jobs, split by libcurl so that what is checked is what is connected to. */
#include "job.h"
#include "number.h"
#ifdef IIP_HAVE_JOBS
#include "path.h"
#include <arpa/inet.h>
#include <curl/curl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <apr_lib.h>
#include <apr_strings.h>

const char *const job_scheme_names[JOB_SCHEMES] = {"http", "https", "ftp", "ftps", "file"};
static const int own_port[JOB_SCHEMES] = {80, 443, 21, 990, 0};

/* 2130706433, 0x7f.1, 0177.0.0.1 and 127.1 are addresses to some resolvers: only the dotted form is, here. */
static int odd_number(const char *host)
{
    const char *last = strrchr(host, '.');
    unsigned char v4[4];
    char again[INET_ADDRSTRLEN];

    last = last ? last + 1 : host;
    if (last[0] == '\0' && last > host) { /* a trailing dot hides the last label */
        char *cut = strdup(host);
        int odd;

        if (!cut)
            return 1;
        cut[strlen(cut) - 1] = '\0';
        odd = odd_number(cut) || apr_isdigit(cut[0] ? cut[strlen(cut) - 1] : '0');
        free(cut);
        return odd;
    }
    if (!apr_isdigit(last[0]))
        return 0;
    return inet_pton(AF_INET, host, v4) != 1 || !inet_ntop(AF_INET, v4, again, sizeof again) ||
           strcmp(again, host) != 0;
}

static const char *part(CURLU *u, CURLUPart what, unsigned flags, apr_pool_t *p)
{
    char *s = NULL;
    const char *copy = NULL;

    if (curl_url_get(u, what, &s, flags) == CURLUE_OK)
        copy = apr_pstrdup(p, s);
    curl_free(s);
    return copy;
}

/* curl turns odd spellings of addresses into the dotted form: they show by not being what was written. */
static int as_written(const char *text, const char *host)
{
    const char *from = strstr(text, "://") + 3, *end = from + strcspn(from, "/?#");

    for (const char *c = from; c < end; c++)
        if (*c == '@')
            from = c + 1;
    return (size_t)(end - from) >= strlen(host) && strncasecmp(from, host, strlen(host)) == 0 &&
           (from + strlen(host) == end || from[strlen(host)] == ':');
}

static int fill(job_url *out, const char *text, CURLU *u, apr_pool_t *p)
{
    const char *scheme = part(u, CURLUPART_SCHEME, 0, p), *host, *port, *path, *user, *pass;

    for (out->scheme = 0; out->scheme < JOB_SCHEMES; out->scheme++)
        if (scheme && strcmp(scheme, job_scheme_names[out->scheme]) == 0)
            break;
    if (out->scheme == JOB_SCHEMES)
        return -1;
    path = part(u, CURLUPART_PATH, 0, p);
    if (!path || !(out->path = iip_path_decode(path, strlen(path), p)))
        return -1;
    out->host = "";
    if (out->scheme == JOB_FILE) {
        host = part(u, CURLUPART_HOST, 0, p);
        out->url = "";
        return host && *host && strcmp(host, "localhost") != 0 ? -1 : 0;
    }
    host = part(u, CURLUPART_HOST, 0, p);
    port = part(u, CURLUPART_PORT, 0, p);
    if (!host || !*host || !as_written(text, host))
        return -1;
    out->port = port ? (int)job_whole_text(port) : own_port[out->scheme];
    if (out->port < 1 || out->port > 65535)
        return -1;
    if (*host == '[') {
        unsigned char v6[16];

        out->host = apr_pstrmemdup(p, host + 1, strlen(host) - 2);
        if (inet_pton(AF_INET6, out->host, v6) != 1) /* no zones */
            return -1;
    } else {
        char *low = apr_pstrdup(p, host);

        for (char *c = low; *c; c++) {
            *c = (char)apr_tolower(*c);
            if (!apr_isalnum(*c) && !strchr("-._", *c))
                return -1;
        }
        if (odd_number(low))
            return -1;
        out->host = low;
    }
    user = part(u, CURLUPART_USER, 0, p);
    pass = part(u, CURLUPART_PASSWORD, 0, p);
    if ((user && !(out->user = iip_path_decode(user, strlen(user), p))) ||
        (pass && !(out->pass = iip_path_decode(pass, strlen(pass), p))))
        return -1;
    for (int i = 0; i < 2; i++)
        for (const char *c = i ? out->pass : out->user; c && *c; c++)
            if (apr_iscntrl(*c))
                return -1; /* FTP would send it as a line of its own */
    if (curl_url_set(u, CURLUPART_USER, NULL, 0) || curl_url_set(u, CURLUPART_PASSWORD, NULL, 0) ||
        curl_url_set(u, CURLUPART_FRAGMENT, NULL, 0) || !(out->url = part(u, CURLUPART_URL, 0, p)))
        return -1;
    return 0;
}

/* Blanks and letters beyond ASCII in a path, as people write them. */
static const char *ascii_only(const char *s, apr_pool_t *p)
{
    char *out = apr_palloc(p, 3 * strlen(s) + 1), *o = out;

    for (; *s; s++)
        if (*s == ' ' || *s & 0x80)
            o += snprintf(o, 4, "%%%02X", (unsigned char)*s);
        else
            *o++ = *s;
    *o = '\0';
    return out;
}

int job_url_parse(job_url *out, const char *text, apr_pool_t *p)
{
    const char *path = strstr(text, "://");
    CURLU *u;
    int rv = -1;

    memset(out, 0, sizeof *out);
    path = path ? path + 3 + strcspn(path + 3, "/?#") : text + strlen(text);
    for (const char *c = text; *c; c++)
        if ((unsigned char)*c < ' ' || *c == 0x7f || *c == '\\' || (c < path && (*c == ' ' || *c & 0x80)))
            return -1;
    if (strlen(text) > JOB_MAX_TEXT || !(u = curl_url()))
        return -1;
    text = apr_pstrcat(p, apr_pstrmemdup(p, text, (size_t)(path - text)), ascii_only(path, p), NULL);
    if (curl_url_set(u, CURLUPART_URL, text, CURLU_PATH_AS_IS) == CURLUE_OK)
        rv = fill(out, text, u, p);
    curl_url_cleanup(u);
    for (const char *c = out->path; rv == 0 && c && *c; c++)
        if (apr_iscntrl(*c))
            rv = -1;
    return rv;
}

const char *job_url_masked(const char *text, apr_pool_t *p)
{
    const char *from = strstr(text, "://"), *end, *at = NULL, *colon;

    if (!from)
        return text;
    from += 3;
    end = from + strcspn(from, "/?#");
    for (const char *c = from; c < end; c++)
        if (*c == '@')
            at = c;
    colon = at ? memchr(from, ':', (size_t)(at - from)) : NULL;
    return colon ? apr_pstrcat(p, apr_pstrmemdup(p, text, (size_t)(colon + 1 - text)), "***", at, NULL) : text;
}
#endif
