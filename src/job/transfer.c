/* SPDX-License-Identifier: Apache-2.0
 * Transfers by libcurl. Each address is checked where the socket is made, and once more when the connection stands; a
 * redirect is a new fetch with all checks. */
#include "transfer.h"
#ifdef IIP_HAVE_JOBS
#include <arpa/inet.h>
#include <curl/curl.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <apr_strings.h>

#define CONNECT_SECONDS 10
#define SLOW_BYTES      1000L
#define SLOW_SECONDS    15L
#define MOST_REDIRECTS  3
#define MOST_HEADS      (256 << 10) /* bytes of all heads of a transfer */
#define MOST_ANSWER     (1 << 20)   /* bytes of an upload's answer: read over, never kept */

typedef struct {
    const job_place *place;
    CURL *curl;
    struct curl_slist *headers;
    curl_mime *form;
    int refused;       /* an address was */
    job_take_fn *take; /* of a fetch */
    void *ctx;
    int taken;    /* what take said last */
    int64_t seen; /* bytes */
    int64_t heads;
    int fd; /* of a store */
    int64_t at, size;
    char why[CURL_ERROR_SIZE];
} transfer;

static int address_good(const transfer *t, const struct sockaddr *a)
{
    if (a->sa_family == AF_INET)
        return job_address_good(t->place, (const unsigned char *)&((const struct sockaddr_in *)a)->sin_addr, 4);
    return a->sa_family == AF_INET6 &&
           job_address_good(t->place, (const unsigned char *)&((const struct sockaddr_in6 *)a)->sin6_addr, 16);
}

static curl_socket_t open_socket(void *ctx, curlsocktype purpose, struct curl_sockaddr *a)
{
    transfer *t = ctx;

    if (purpose != CURLSOCKTYPE_IPCXN || !address_good(t, &a->addr)) {
        t->refused = 1;
        return CURL_SOCKET_BAD;
    }
    return socket(a->family, a->socktype | SOCK_CLOEXEC, a->protocol);
}

static int connected(void *ctx, char *remote, char *local, int remote_port, int local_port)
{
    transfer *t = ctx;
    unsigned char at[16];
    int length = inet_pton(AF_INET, remote, at) == 1 ? 4 : inet_pton(AF_INET6, remote, at) == 1 ? 16 : 0;

    if (length && job_address_good(t->place, at, length))
        return CURL_PREREQFUNC_OK;
    t->refused = 1;
    return CURL_PREREQFUNC_ABORT;
}

static size_t received(char *data, size_t one, size_t n, void *ctx)
{
    transfer *t = ctx;
    long status = 0;

    t->seen += (int64_t)n;
    if (!t->take)
        return t->seen <= MOST_ANSWER ? n : 0;
    /* What a refusal or a redirect says is no picture */
    curl_easy_getinfo(t->curl, CURLINFO_RESPONSE_CODE, &status);
    if (status >= 300 && status < 600)
        return t->seen <= MOST_ANSWER ? n : 0;
    if (t->seen > t->place->max_source)
        t->taken = -1;
    else
        t->taken = t->take(t->ctx, data, n);
    return t->taken == 0 ? n : 0;
}

/* Heads of answers, of any number: curl keeps them until the transfer ends */
static size_t head_line(char *data, size_t one, size_t n, void *ctx)
{
    transfer *t = ctx;

    return (t->heads += (int64_t)n) <= MOST_HEADS ? n : 0;
}

static size_t sent(char *to, size_t one, size_t n, void *ctx)
{
    transfer *t = ctx;
    const size_t want = (int64_t)n < t->size - t->at ? n : (size_t)(t->size - t->at);
    ssize_t got = pread(t->fd, to, want, t->at);

    if (got < 0 || (got == 0 && want > 0))
        return CURL_READFUNC_ABORT;
    t->at += got;
    return (size_t)got;
}

static int rewound(void *ctx, curl_off_t offset, int origin)
{
    transfer *t = ctx;

    if (origin != SEEK_SET || offset < 0 || offset > t->size)
        return CURL_SEEKFUNC_FAIL;
    t->at = offset;
    return CURL_SEEKFUNC_OK;
}

static apr_status_t end_transfer(void *ctx)
{
    transfer *t = ctx;

    curl_mime_free(t->form);
    curl_easy_cleanup(t->curl);
    curl_slist_free_all(t->headers);
    return APR_SUCCESS;
}

/* Everything that holds for each transfer. NULL: no memory. */
static transfer *begin(const job_url *u, const job_place *place, apr_time_t until, apr_pool_t *p)
{
    static const char *const curl_name[JOB_SCHEMES] = {"http", "https", "ftp", "ftps", ""};
    static const long secure[] = {CURLUSESSL_NONE, CURLUSESSL_TRY, CURLUSESSL_ALL};
    transfer *t = apr_pcalloc(p, sizeof *t);
    apr_interval_time_t left = until - apr_time_now();
    CURL *c = t->curl = curl_easy_init();

    t->place = place;
    t->fd = -1;
    if (!c)
        return NULL;
    apr_pool_cleanup_register(p, t, end_transfer, apr_pool_cleanup_null);
    if (left > apr_time_from_sec(place->transfer_timeout))
        left = apr_time_from_sec(place->transfer_timeout);
    curl_easy_setopt(c, CURLOPT_URL, u->url);
    curl_easy_setopt(c, CURLOPT_PATH_AS_IS, 1L);
    curl_easy_setopt(c, CURLOPT_PROTOCOLS_STR, curl_name[u->scheme]);
    curl_easy_setopt(c, CURLOPT_FOLLOWLOCATION, 0L);
    curl_easy_setopt(c, CURLOPT_PORT, (long)u->port);
    curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(c, CURLOPT_PROXY, "");
    curl_easy_setopt(c, CURLOPT_NETRC, (long)CURL_NETRC_IGNORED);
    curl_easy_setopt(c, CURLOPT_FORBID_REUSE, 1L);
    curl_easy_setopt(c, CURLOPT_USERAGENT, place->user_agent);
    curl_easy_setopt(c, CURLOPT_ERRORBUFFER, t->why);
    curl_easy_setopt(c, CURLOPT_CONNECTTIMEOUT, (long)CONNECT_SECONDS);
    curl_easy_setopt(c, CURLOPT_TIMEOUT_MS, (long)(left > 1000 ? left / 1000 : 1));
    curl_easy_setopt(c, CURLOPT_LOW_SPEED_LIMIT, SLOW_BYTES);
    curl_easy_setopt(c, CURLOPT_LOW_SPEED_TIME, SLOW_SECONDS);
    curl_easy_setopt(c, CURLOPT_OPENSOCKETFUNCTION, open_socket);
    curl_easy_setopt(c, CURLOPT_OPENSOCKETDATA, t);
    curl_easy_setopt(c, CURLOPT_PREREQFUNCTION, connected);
    curl_easy_setopt(c, CURLOPT_PREREQDATA, t);
    curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, received);
    curl_easy_setopt(c, CURLOPT_WRITEDATA, t);
    curl_easy_setopt(c, CURLOPT_HEADERFUNCTION, head_line);
    curl_easy_setopt(c, CURLOPT_HEADERDATA, t);
    curl_easy_setopt(c, CURLOPT_FTP_SKIP_PASV_IP, 1L);
    if (u->scheme == JOB_FTP)
        curl_easy_setopt(c, CURLOPT_USE_SSL, secure[place->ftp_secure]);
    if (place->ca_file)
        curl_easy_setopt(c, CURLOPT_CAINFO, place->ca_file);
    if (u->user)
        curl_easy_setopt(c, CURLOPT_USERNAME, u->user);
    if (u->pass)
        curl_easy_setopt(c, CURLOPT_PASSWORD, u->pass);
    return t;
}

static int passing(CURLcode why)
{
    static const CURLcode may_go_well[] = {
        CURLE_COULDNT_RESOLVE_HOST, CURLE_COULDNT_CONNECT,    CURLE_OPERATION_TIMEDOUT,
        CURLE_SSL_CONNECT_ERROR,    CURLE_SEND_ERROR,         CURLE_RECV_ERROR,
        CURLE_GOT_NOTHING,          CURLE_PARTIAL_FILE,       CURLE_HTTP2,
        CURLE_HTTP2_STREAM,         CURLE_FTP_CANT_GET_HOST,  CURLE_FTP_WEIRD_SERVER_REPLY,
        CURLE_OUT_OF_MEMORY,        CURLE_FTP_ACCEPT_TIMEOUT, CURLE_AGAIN,
    };

    for (size_t i = 0; i < sizeof may_go_well / sizeof *may_go_well; i++)
        if (why == may_go_well[i])
            return 1;
    return 0;
}

/* What the other side's status means. For FTP it is that of the last command. */
static int status_passes(long status, int ftp)
{
    if (ftp)
        return status >= 400 && status < 500;
    return status == 408 || status == 425 || status == 429 || status >= 500;
}

static job_code wire_failed(transfer *t, CURLcode why, int scheme, job_code code, job_code refused, job_error *e)
{
    const int ftp = scheme == JOB_FTP || scheme == JOB_FTPS;
    long status = 0;

    if (t->refused)
        return job_fail(e, refused, 0, "its address is refused");
    curl_easy_getinfo(t->curl, CURLINFO_RESPONSE_CODE, &status);
    if (ftp && status >= 400 && status < 600)
        return job_fail(e, code, status_passes(status, 1), "FTP status %ld", status);
    return job_fail(e, code, passing(why), "%s", curl_easy_strerror(why));
}

static job_code status_failed(transfer *t, long status, job_code code, job_error *e)
{
    curl_off_t wait = 0;

    curl_easy_getinfo(t->curl, CURLINFO_RETRY_AFTER, &wait);
    e->retry_after = wait > 600 ? 600 : (int)wait;
    return job_fail(e, code, status_passes(status, 0), "HTTP status %ld", status);
}

/* --- in --- */

/* The next place of a redirect, with all that was checked of the first: hosts, ports, never less secure. */
static job_code follow(transfer *t, job_url *u, const job_place *place, apr_pool_t *p, job_error *e)
{
    const int secure = u->scheme == JOB_HTTPS;
    const char *to = NULL;

    curl_easy_getinfo(t->curl, CURLINFO_REDIRECT_URL, &to);
    if (!to || job_url_parse(u, apr_pstrdup(p, to), p) != 0 || u->scheme > JOB_HTTPS ||
        (secure && u->scheme != JOB_HTTPS) || u->user || !job_host_listed(u->host, place->source_hosts) ||
        !job_port_good(place, u->port))
        return job_fail(e, JOB_E_FETCH, 0, "redirected to where nothing may be fetched");
    return JOB_OK;
}

job_code job_fetch(const job_url *from, const job_place *place, apr_time_t until, job_take_fn *take, void *ctx,
                   apr_pool_t *p, job_error *e)
{
    job_url u = *from;

    for (int step = 0;; step++) {
        transfer *t = begin(&u, place, until, p);
        long status = 0;
        CURLcode why;

        if (!t)
            return job_fail(e, JOB_E_FETCH, 1, "no memory");
        t->take = take;
        t->ctx = ctx;
        why = curl_easy_perform(t->curl);
        if (t->taken < 0)
            return job_fail(e, JOB_E_TOO_LARGE, 0, "the source is larger than allowed");
        if (t->taken > 0)
            return JOB_OK;
        if (why != CURLE_OK)
            return wire_failed(t, why, u.scheme, JOB_E_FETCH, JOB_E_SOURCE_ADDRESS, e);
        curl_easy_getinfo(t->curl, CURLINFO_RESPONSE_CODE, &status);
        if (u.scheme > JOB_HTTPS || (status >= 200 && status < 300 && status != 204))
            return JOB_OK;
        if (status < 300 || status >= 400 || status == 304)
            return status_failed(t, status, JOB_E_FETCH, e);
        if (step == MOST_REDIRECTS)
            return job_fail(e, JOB_E_FETCH, 0, "redirected too often");
        if (follow(t, &u, place, p, e) != JOB_OK)
            return e->code;
    }
}

/* --- out --- */

static int add_header(transfer *t, const char *line)
{
    struct curl_slist *list = curl_slist_append(t->headers, line);

    if (!list)
        return -1;
    t->headers = list;
    return 0;
}

static int add_form(transfer *t, const job_t *j, const char *mime)
{
    curl_mimepart *part;

    if (!(t->form = curl_mime_init(t->curl)))
        return -1;
    for (int i = 0; i < j->form_count; i++)
        if (!(part = curl_mime_addpart(t->form)) || curl_mime_name(part, j->form[i].name) ||
            curl_mime_data(part, j->form[i].value, CURL_ZERO_TERMINATED))
            return -1;
    if (!(part = curl_mime_addpart(t->form)) || curl_mime_name(part, j->field) ||
        curl_mime_filename(part, j->file_name) || curl_mime_type(part, mime) ||
        curl_mime_data_cb(part, t->size, sent, rewound, NULL, t))
        return -1;
    curl_easy_setopt(t->curl, CURLOPT_MIMEPOST, t->form);
    return 0;
}

static int upload_good(int store, long status)
{
    if (store == JOB_STORE_PUT)
        return status == 200 || status == 201 || status == 204;
    return (status >= 200 && status < 300) || status == 302 || status == 303;
}

static job_code send_away(const job_t *j, const job_place *place, const char *id, const char *stage, int fd,
                          int64_t size, apr_time_t until, apr_pool_t *p, job_error *e)
{
    const char *mime = iip_encoder_find(j->format)->mime;
    transfer *t = begin(&j->to, place, until, p);
    long status = 0;
    CURLcode why;

    if (!t)
        return job_fail(e, JOB_E_STORE, 1, "no memory");
    t->fd = fd;
    t->size = size;
    if (j->to.scheme <= JOB_HTTPS &&
        (add_header(t, apr_pstrcat(p, "X-IIP-Job: ", id, NULL)) ||
         add_header(t, apr_pstrcat(p, "X-IIP-Stage: ", stage, NULL)) || add_header(t, "Expect:")))
        return job_fail(e, JOB_E_STORE, 1, "no memory");
    if (j->store == JOB_STORE_FORM) {
        if (add_form(t, j, mime))
            return job_fail(e, JOB_E_STORE, 1, "no memory");
    } else {
        if (j->store == JOB_STORE_PUT && add_header(t, apr_pstrcat(p, "Content-Type: ", mime, NULL)))
            return job_fail(e, JOB_E_STORE, 1, "no memory");
        curl_easy_setopt(t->curl, CURLOPT_UPLOAD, 1L);
        curl_easy_setopt(t->curl, CURLOPT_INFILESIZE_LARGE, (curl_off_t)size);
        curl_easy_setopt(t->curl, CURLOPT_READFUNCTION, sent);
        curl_easy_setopt(t->curl, CURLOPT_READDATA, t);
        curl_easy_setopt(t->curl, CURLOPT_SEEKFUNCTION, rewound);
        curl_easy_setopt(t->curl, CURLOPT_SEEKDATA, t);
    }
    curl_easy_setopt(t->curl, CURLOPT_HTTPHEADER, t->headers);
    why = curl_easy_perform(t->curl);
    if (why != CURLE_OK)
        return wire_failed(t, why, j->to.scheme, JOB_E_STORE, JOB_E_DEST_ADDRESS, e);
    curl_easy_getinfo(t->curl, CURLINFO_RESPONSE_CODE, &status);
    return j->to.scheme > JOB_HTTPS || upload_good(j->store, status) ? JOB_OK
                                                                     : status_failed(t, status, JOB_E_STORE, e);
}

job_code job_store(const job_t *j, const job_place *place, const char *id, const char *stage, int fd, int64_t size,
                   apr_time_t until, apr_pool_t *p, job_error *e)
{
    return j->store == JOB_STORE_FILE ? job_store_file(j, place, id, stage, fd, size, p, e)
                                      : send_away(j, place, id, stage, fd, size, until, p, e);
}

job_code job_call(const job_url *to, const job_place *place, const char *id, const char *body, const char *signature,
                  apr_time_t until, apr_pool_t *p, job_error *e)
{
    transfer *t = begin(to, place, until, p);
    long status = 0;
    CURLcode why;

    if (!t || add_header(t, "Content-Type: application/json") ||
        add_header(t, apr_pstrcat(p, "X-IIP-Job: ", id, NULL)) ||
        (signature && add_header(t, apr_pstrcat(p, "X-IIP-Signature: ", signature, NULL))))
        return job_fail(e, JOB_E_CALLBACK, 1, "no memory");
    curl_easy_setopt(t->curl, CURLOPT_HTTPHEADER, t->headers);
    curl_easy_setopt(t->curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)strlen(body));
    curl_easy_setopt(t->curl, CURLOPT_POSTFIELDS, body);
    why = curl_easy_perform(t->curl);
    if (why != CURLE_OK)
        return wire_failed(t, why, to->scheme, JOB_E_CALLBACK, JOB_E_CALLBACK, e);
    curl_easy_getinfo(t->curl, CURLINFO_RESPONSE_CODE, &status);
    return status >= 200 && status < 300 ? JOB_OK : status_failed(t, status, JOB_E_CALLBACK, e);
}
#endif
