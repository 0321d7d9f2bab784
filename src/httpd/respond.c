/* SPDX-License-Identifier: Apache-2.0
 * Answers: headers and one brigade. All that httpd can do by itself (Range, HEAD, chunks, write completion) it does,
 * because a whole answer leaves as one brigade with EOS in it. */
#include "httpd/iipd.h"
#include "put.h"
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <apr_lib.h>
#include <apr_portable.h>
#include <apr_siphash.h>
#include <apr_strings.h>

APLOG_USE_MODULE(iip);

/* ---- headers ---- */

void iipd_cors(const iip_settings *set, request_rec *r, apr_table_t *headers)
{
    const char *const *origin = set->cors, *asked;

    if (!*origin)
        return;
    if (strcmp(*origin, "*")) {
        if (!ap_find_token(r->pool, apr_table_get(headers, "Vary"), "Origin"))
            apr_table_mergen(headers, "Vary", "Origin");
        asked = apr_table_get(r->headers_in, "Origin");
        while (*origin && (!asked || strcasecmp(*origin, asked)))
            origin++;
        if (!*origin)
            return;
    }
    apr_table_setn(headers, "Access-Control-Allow-Origin", *origin);
    apr_table_setn(headers, "Access-Control-Expose-Headers",
                   "Link, ETag, Last-Modified, Content-Length, Location, IIP-Error");
}

static void cache_control(const iipd_request *q, const char *value)
{
    request_rec *r = q->r;

    if (*value)
        apr_table_setn(r->headers_out, "Cache-Control",
                       q->personal ? apr_pstrcat(r->pool, "private, ", value, NULL) : value);
}

/* Whatever the mapping made of the name (a language, an encoding) does not hold for what we send. */
static void content_type(request_rec *r, const char *mime)
{
    r->content_encoding = NULL;
    r->content_languages = NULL;
    ap_set_content_type(r, mime);
}

int iipd_hand_over(iipd_request *q, int status)
{
    if (ap_is_HTTP_ERROR(status) || ap_is_HTTP_REDIRECT(status))
        iipd_cors(&q->set, q->r, status == HTTP_NOT_MODIFIED ? q->r->headers_out : q->r->err_headers_out);
    return status;
}

int iipd_validate(iipd_request *q, const char *line, size_t len)
{
    request_rec *r = q->r;
    char *tag = apr_palloc(r->pool, 36);
    int rc;

    if (q->src) {
        iip_serve_etag(q->src, line, len, tag + 1);
        tag[0] = tag[33] = '"';
        tag[34] = '\0';
        apr_table_setn(r->headers_out, "ETag", tag);
        ap_update_mtime(r, q->src->mtime);
        ap_set_last_modified(r);
    }
    cache_control(q, q->set.cache_control);
    iipd_answering(r);
    rc = ap_meets_conditions(r);
    if (rc == OK)
        iipd_cors(&q->set, r, r->headers_out);
    return rc;
}

#define MOST_NAME 100

/* NAME_WxH.ext, NAME being the source's last part without its suffix; octets that might mean something are replaced. */
static const char *file_name(const iipd_request *q, const char *ext)
{
    static const char save[] = "attachment; filename=\"", show[] = "inline; filename=\"";
    const char *name = q->in.ident ? q->in.ident : q->rq.name, *slash = strrchr(name, '/'), *dot;
    char *text = apr_palloc(q->r->pool, sizeof save + MOST_NAME + 2 * IIP_PUT_MAX + strlen(ext) + 5), *to;
    size_t n;
    int64_t w, h;

    name = slash ? slash + 1 : name;
    dot = strrchr(name, '.');
    n = dot && dot > name ? (size_t)(dot - name) : strlen(name);
    if (n > MOST_NAME)
        n = MOST_NAME;
    to = q->rq.download ? iip_put_text(text, save) : iip_put_text(text, show);
    for (size_t i = 0; i < n; i++)
        *to++ = (char)(apr_isalnum(name[i]) || strchr("._-", name[i]) ? name[i] : '_');
    iip_request_canvas(&q->rq, &w, &h);
    *to++ = '_';
    to = iip_put_text(iip_put_int(to, w), "x");
    to = iip_put_text(iip_put_int(to, h), ".");
    iip_put(iip_put_text(to, ext), "\"", 2);
    return text;
}

void iipd_picture_headers(iipd_request *q, const iip_encoder *enc)
{
    request_rec *r = q->r;

    apr_table_setn(r->headers_out, "Content-Disposition", file_name(q, enc->ext));
    /* Compressed already: mod_deflate and mod_brotli would cost time and the strong ETag */
    apr_table_setn(r->subprocess_env, "no-gzip", "1");
    apr_table_setn(r->subprocess_env, "no-brotli", "1");
    content_type(r, enc->mime);
}

/* ---- bodies ---- */

/* Once a client has gone there is nobody to tell. */
static int pass(request_rec *r, apr_bucket_brigade *bb)
{
    APR_BRIGADE_INSERT_TAIL(bb, apr_bucket_eos_create(bb->bucket_alloc));
    ap_pass_brigade(r->output_filters, bb);
    return OK;
}

/* A whole answer, with its time. */
static int send_whole(iipd_request *q, apr_bucket_brigade *bb)
{
    const apr_time_t t0 = apr_time_now();

    pass(q->r, bb);
    q->sent += apr_time_now() - t0;
    return OK;
}

static apr_bucket_brigade *brigade(const request_rec *r)
{
    return apr_brigade_create(r->pool, r->connection->bucket_alloc);
}

int iipd_send_head(iipd_request *q)
{
    if (iip_request_streams(&q->rq))
        apr_table_setn(q->r->headers_out, "Accept-Ranges", "none");
    else
        ap_set_accept_ranges(q->r);
    return send_whole(q, brigade(q->r));
}

int iipd_send_blob(iipd_request *q, iip_blob *b)
{
    request_rec *r = q->r;
    apr_bucket_brigade *bb = brigade(r);

    ap_set_accept_ranges(r);
    ap_set_content_length(r, (apr_off_t)b->len);
    APR_BRIGADE_INSERT_TAIL(bb, iipd_bucket_blob_create(b, bb->bucket_alloc));
    return send_whole(q, bb);
}

static int send_bytes(iipd_request *q, const char *text, size_t n, const char *mime)
{
    request_rec *r = q->r;
    apr_bucket_brigade *bb = brigade(r);

    content_type(r, mime);
    ap_set_content_length(r, (apr_off_t)n);
    APR_BRIGADE_INSERT_TAIL(bb, apr_bucket_pool_create(text, n, r->pool, bb->bucket_alloc));
    return send_whole(q, bb);
}

/* A text's identity is the text: base URL, limits and media type all show in it. */
int iipd_send_text(iipd_request *q, const char *text, size_t n, const char *mime)
{
    static const unsigned char keys[2][APR_SIPHASH_KSIZE] = {"mod_iip text  1", "mod_iip text  2"};
    uint64_t digest[3] = {apr_siphash24(text, n, keys[0]), apr_siphash24(text, n, keys[1]),
                          apr_siphash24(mime, strlen(mime), keys[0])};
    int rc;

    if ((rc = iipd_validate(q, (const char *)digest, sizeof digest)) != OK)
        return rc;
    ap_set_accept_ranges(q->r);
    return send_bytes(q, text, n, mime);
}

/* The file as it lies, through the descriptor that was checked. */
int iipd_send_file(iipd_request *q, const char *mime)
{
    request_rec *r = q->r;
    apr_bucket_brigade *bb;
    apr_file_t *file;
    int rc, fd = q->src->fd;

    if ((rc = iipd_validate(q, "file", 4)) != OK)
        return rc;
    content_type(r, mime);
    ap_set_accept_ranges(r);
    ap_set_content_length(r, q->src->id.size);
    bb = brigade(r);
    /* Our descriptor is closed with r->pool, which lives until the last bucket is written */
    apr_os_file_put(&file, &fd, APR_FOPEN_READ | APR_FOPEN_SENDFILE_ENABLED, r->pool);
    apr_brigade_insert_file(bb, file, 0, q->src->id.size, r->pool);
    return send_whole(q, bb);
}

int iipd_send_redirect(iipd_request *q, int status, const char *url)
{
    request_rec *r = q->r;

    r->status = status;
    apr_table_setn(r->headers_out, "Location", url);
    cache_control(q, q->set.cache_control);
    iipd_cors(&q->set, r, r->headers_out);
    return send_bytes(q, "", 0, NULL);
}

int iipd_send_purged(iipd_request *q)
{
    static const char text[] = "Forgotten by all children of this server.\n";

    cache_control(q, "no-store");
    return send_bytes(q, text, sizeof text - 1, "text/plain; charset=utf-8");
}

int iipd_send_options(iipd_request *q)
{
    request_rec *r = q->r;
    apr_table_t *h = r->headers_out;

    r->status = HTTP_NO_CONTENT;
    content_type(r, NULL);
    apr_table_setn(h, "Allow", iipd_methods(q));
    iipd_cors(&q->set, r, h);
    if (apr_table_get(h, "Access-Control-Allow-Origin")) {
        apr_table_setn(h, "Access-Control-Allow-Methods", q->proto->methods);
        apr_table_setn(h, "Access-Control-Allow-Headers",
                       "Authorization, Accept, Content-Type, Range, If-None-Match, If-Modified-Since, "
                       "X-Requested-With");
        apr_table_setn(h, "Access-Control-Max-Age", "86400");
    }
    return send_whole(q, brigade(r));
}

int iipd_send_error(iipd_request *q)
{
    static const char *const good_only[] = {"ETag", "Last-Modified", "Link", "Content-Disposition", "Accept-Ranges"};
    request_rec *r = q->r;
    iip_status s = q->e.status;
    const char *mime, *text = q->proto->complain(&q->in, &q->e, &mime, r->pool);
    int wait = iip_status_retry(s);

    for (size_t i = 0; i < sizeof good_only / sizeof *good_only; i++)
        apr_table_unset(r->headers_out, good_only[i]);
    r->status = iip_status_http(s);
    apr_table_setn(r->headers_out, "IIP-Error", iip_status_name(s));
    apr_table_setn(r->headers_out, "X-Content-Type-Options", "nosniff");
    cache_control(q, (s == IIP_E_NOT_FOUND || s == IIP_E_CORRUPT) && !q->proto->thumbs ? "max-age=60" : "no-store");
    if (wait)
        apr_table_setn(r->headers_out, "Retry-After", apr_itoa(r->pool, wait));
    if (s == IIP_E_METHOD)
        apr_table_setn(r->headers_out, "Allow", iipd_methods(q));
    iipd_cors(&q->set, r, r->headers_out);
    return send_bytes(q, text, strlen(text), mime);
}

/* ---- streams ---- */

static iip_status stream_flush(iipd_stream *k, iip_error *e)
{
    apr_status_t rv;

    APR_BRIGADE_INSERT_TAIL(k->bb, apr_bucket_heap_create(k->piece, k->n, free, k->bb->bucket_alloc));
    k->piece = NULL;
    k->n = 0;
    k->begun = 1;
    rv = ap_pass_brigade(k->r->output_filters, k->bb);
    apr_brigade_cleanup(k->bb);
    if (rv || k->r->connection->aborted)
        return iip_fail(e, IIP_E_ABORTED, rv, "client gone");
    return IIP_OK;
}

static iip_status stream_write(iip_sink *sink, const void *p, size_t n, iip_error *e)
{
    iipd_stream *k = (iipd_stream *)sink;
    iip_status rv;

    while (n) {
        size_t part = IIPD_PIECE - k->n;

        if (!k->piece && !(k->piece = malloc(IIPD_PIECE)))
            return iip_fail(e, IIP_E_MEMORY, APR_ENOMEM, "no memory to send from");
        if (part > n)
            part = n;
        memcpy(k->piece + k->n, p, part);
        k->n += part;
        p = (const char *)p + part;
        n -= part;
        if (k->n == IIPD_PIECE && (rv = stream_flush(k, e)) != IIP_OK)
            return rv;
    }
    return IIP_OK;
}

void iipd_stream_begin(iipd_stream *k, request_rec *r)
{
    *k = (iipd_stream){{stream_write}, r, brigade(r), NULL, 0, 0};
}

void iipd_stream_end(iipd_stream *k)
{
    if (k->n)
        APR_BRIGADE_INSERT_TAIL(k->bb, apr_bucket_heap_create(k->piece, k->n, free, k->bb->bucket_alloc));
    else
        free(k->piece);
    k->piece = NULL;
    pass(k->r, k->bb);
}

/* The client has half a picture and must see that: no last chunk, no next request on this connection; HTTP/2 resets the
 * stream. HTTP/1.0 knows the end of an answer by the end of the connection alone: there only a reset tells. */
void iipd_stream_cut(iipd_stream *k)
{
    request_rec *r = k->r;
    conn_rec *c = r->connection;
    struct linger reset = {1, 0};
    apr_os_sock_t fd;

    r->no_cache = 1;
    if (!c->master)
        c->keepalive = AP_CONN_CLOSE;
    APR_BRIGADE_INSERT_TAIL(k->bb, ap_bucket_error_create(HTTP_BAD_GATEWAY, NULL, r->pool, c->bucket_alloc));
    pass(k->r, k->bb);
    if (!c->master && r->proto_num < HTTP_VERSION(1, 1) && !apr_os_sock_get(&fd, ap_get_conn_socket(c))) {
        setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
        c->aborted = 1;
    }
}

iip_status iipd_send_stream(iipd_request *q, iip_server_t *sv, iip_budget *b)
{
    iipd_stream k;
    iip_status rv;

    iipd_stream_begin(&k, q->r);
    apr_table_setn(q->r->headers_out, "Accept-Ranges", "none");
    rv = iip_serve_stream(sv, &q->rq, q->info, q->src, &q->lim, b, q->r->pool, &k.sink, &q->e);
    if (rv == IIP_OK && k.n)
        rv = stream_flush(&k, &q->e);
    if (rv == IIP_OK) {
        send_whole(q, k.bb);
    } else if (k.begun) {
        iipd_log_error(q);
        iipd_stream_cut(&k);
        iip_refuse(&q->e, IIP_OK, NULL);
    }
    free(k.piece);
    return k.begun ? IIP_OK : rv;
}
