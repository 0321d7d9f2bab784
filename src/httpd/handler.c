/* SPDX-License-Identifier: Apache-2.0
 * The flow of a request, from the handler's name to the answer. Nothing is touched before it is certain that the
 * request is ours; no pixel before the client's conditions are known. */
#include "httpd/iipd.h"
#include "accept.h"
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <apr_portable.h>
#include <apr_strings.h>

APLOG_USE_MODULE(iip);

/* ---- is the client still there ---- */

typedef struct {
    conn_rec *c;
    apr_time_t next;
} watch;

/* A write that fails shows it; who only computes must look. Not for the first tenth of a second, so that tiles pay
 * nothing. */
static int gone(void *ctx)
{
    watch *w = ctx;
    apr_socket_t *sock;
    apr_os_sock_t fd;
    apr_time_t now;
    char octet;
    ssize_t n;

    if (w->c->aborted)
        return 1;
    /* A stream of HTTP/2 shares its connection */
    if (w->c->master || (now = apr_time_now()) < w->next)
        return 0;
    w->next = now + 100000;
    sock = ap_get_conn_socket(w->c);
    if (!sock || apr_os_sock_get(&fd, sock))
        return 0;
    n = recv(fd, &octet, 1, MSG_PEEK | MSG_DONTWAIT);
    if (n > 0 || (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR)))
        return 0;
    w->c->aborted = 1;
    return 1;
}

/* ---- the answers ---- */

/* In the request's pool: what is charged to it may live as long. */
iip_budget *iipd_budget(iipd_request *q)
{
    request_rec *r = q->r;
    iip_budget *b = apr_pcalloc(r->pool, sizeof *b);
    watch *w = apr_palloc(r->pool, sizeof *w);
    const apr_time_t now = apr_time_now();

    *w = (watch){r->connection, now + 100000};
    b->limit = q->lim.memory;
    b->until = q->lim.deadline ? now + q->lim.deadline : 0;
    b->gone = gone;
    b->gone_ctx = w;
    b->spent.open = now - q->began;
    b->per_client = q->set.max_per_client;
    if (b->per_client)
        b->client = iipd_client(r->useragent_ip);
    q->b = b;
    return b;
}

static int send_picture(iipd_request *q, iip_server_t *sv)
{
    request_rec *r = q->r;
    const iip_encoder *enc;
    const char *link;
    char *line;
    size_t len;
    iip_budget *b;
    iip_blob *blob;
    int rc;

    if ((q->proto->place && q->proto->place(&q->in, &q->rq, q->info, &q->lim, r->pool, &q->e) != IIP_OK) ||
        iip_request_resolve(&q->rq, q->info, &q->lim, &q->e) != IIP_OK ||
        (q->proto->allow && q->proto->allow(&q->rq, q->info, &q->e) != IIP_OK))
        return OK;
    if (iipd_watermark(q) != IIP_OK)
        return OK;
    enc = iip_encoder_find(q->rq.format); /* place() may have chosen it */
    len = iip_request_room(&q->rq);
    line = apr_palloc(r->pool, len);
    len = iip_request_line(&q->rq, line, len);
    if (!enc || !len) {
        iip_refuse(&q->e, IIP_E_SYNTAX, "format");
        return OK;
    }
    if (q->proto->link && (link = q->proto->link(&q->in, &q->rq, q->info, &q->lim, r->pool)))
        apr_table_setn(r->headers_out, "Link", link);
    if (q->rq.negotiated)
        apr_table_mergen(r->headers_out, "Vary", "Accept");
    if ((rc = iipd_validate(q, line, len)) != OK)
        return rc;
    iipd_picture_headers(q, enc);
    if (r->header_only) {
        blob = iip_request_streams(&q->rq) ? NULL : iip_serve_peek(sv, q->src, line, len, r->pool);
        if (!blob)
            return iipd_send_head(q);
        return iipd_send_blob(q, blob);
    }
    b = iipd_budget(q);
    if (iip_request_streams(&q->rq)) {
        iipd_send_stream(q, sv, b);
        return OK;
    }
    if (iip_serve_image(sv, &q->rq, line, len, q->info, q->src, &q->lim, b, r->pool, &blob, &q->e) != IIP_OK)
        return OK;
    return iipd_send_blob(q, blob);
}

static int send_info(iipd_request *q)
{
    request_rec *r = q->r;
    const char *text, *mime, *vary = NULL, *link = NULL;

    if (q->proto->describe(&q->in, &q->rq, q->info, &q->lim, &text, &mime, &vary, &link, r->pool, &q->e) != IIP_OK)
        return OK;
    if (vary)
        apr_table_mergen(r->headers_out, "Vary", vary);
    if (link)
        apr_table_setn(r->headers_out, "Link", link);
    return iipd_send_text(q, text, strlen(text), mime);
}

/* What is put together; without a picture where it tells of none. */
static int send_data(iipd_request *q, iip_server_t *sv)
{
    apr_pool_t *p = q->r->pool;
    iip_budget *b = iipd_budget(q);
    iip_text *text = apr_palloc(p, sizeof *text);
    iip_views views = {.sv = sv,
                       .lim = &q->lim,
                       .b = b,
                       .pool = p,
                       .src = q->src,
                       .info = q->info,
                       .sequence = q->in.sequence,
                       .open = iipd_open_view,
                       .ctx = q};

    /* Tiles among the data are marked; if they cannot be, only they fail */
    if (iipd_watermark(q) != IIP_OK)
        iip_refuse(&q->e, IIP_OK, NULL);
    iip_text_init(text, b, p, &q->e);
    if (q->proto->compose(&q->in, &q->rq, q->info, q->info ? &views : NULL, text, p, &q->e) != IIP_OK)
        return OK;
    if (text->name)
        apr_table_setn(q->r->headers_out, text->name, text->value);
    return iipd_send_text(q, text->length ? text->data : "", text->length, text->mime);
}

/* The first bytes say what the file is, by the name of a decoder; NULL: nothing that is known. */
static const char *sniff(iipd_request *q)
{
    unsigned char head[IIP_SNIFF];
    size_t n = q->src->id.size < IIP_SNIFF ? (size_t)q->src->id.size : IIP_SNIFF;
    const iip_decoder *d = NULL;
    iip_error e;

    if (q->src->read(q->src, head, n, 0, &e) != IIP_OK)
        return NULL;
    do
        d = iip_decoder_next(head, n, d);
    while (d && d->flags & IIP_DEC_PICKS);
    return d ? d->name : NULL;
}

/* JSON asked for by name, and liked better than the picture. */
static int prefers_json(const char *accept, const char *mime)
{
    int picture = iip_accept_type(accept, mime).quality;

    for (int i = 0; i < 2; i++) {
        iip_accept json = iip_accept_type(accept, i ? "application/ld+json" : "application/json");

        if (json.named && json.quality > picture)
            return 1;
    }
    return 0;
}

/* The plain name of a picture (spec/iiif.md R4a). */
static int send_bare(iipd_request *q)
{
    request_rec *r = q->r;
    const char *accept = q->in.accept, *mime = r->content_type && !q->set.root ? r->content_type : "image/jpeg";
    int bare = q->set.bare != -1 ? q->set.bare : q->set.root ? IIP_BARE_REDIRECT : IIP_BARE_FILE;

    if (!q->proto->redirect && bare == IIP_BARE_REDIRECT)
        bare = IIP_BARE_FILE;

    if (bare == IIP_BARE_NONE) {
        iip_refuse(&q->e, IIP_E_FORBIDDEN, NULL);
        return OK;
    }
    if (bare == IIP_BARE_FILE) {
        apr_table_mergen(r->headers_out, "Vary", "Accept");
        if (!accept || !q->proto->redirect || !prefers_json(accept, mime)) {
            const char *format;

            if (!q->set.root)
                return DECLINED;
            if ((format = sniff(q)) != NULL)
                return iipd_send_file(q, apr_pstrcat(r->pool, "image/", format, NULL));
            iip_refuse(&q->e, IIP_E_FORMAT, NULL);
            return OK;
        }
    }
    return iipd_send_redirect(q, HTTP_SEE_OTHER, q->proto->redirect(&q->in, &q->rq, IIP_WANT_BARE, r->pool));
}

/* ---- the flow ---- */

static int other_method(const iipd_request *q)
{
    return q->r->method_number != M_GET && !q->posted && !iipd_purges(q);
}

static int answer_method(iipd_request *q)
{
    if (q->r->method_number == M_OPTIONS)
        return iipd_send_options(q);
    iip_refuse(&q->e, IIP_E_METHOD, NULL);
    return OK;
}

/* The view that is asked for. A name that is no file may stand for a sequence of them. */
static void open_view(iipd_request *q, iip_server_t *sv, const char *name, iip_error *e)
{
    const iip_sequence **found = &q->in.sequence;
    const char *file;
    iip_error none;

    if (e->status == IIP_OK) {
        iip_view_choose(&q->rq, NULL, NULL, q->r->pool, e);
        return;
    }
    if (e->status != IIP_E_NOT_FOUND || !q->proto->place ||
        iip_serve_sequence(sv, found, q->set.root, name, q->set.sequence_pattern, q->r->pool, &none) != IIP_OK ||
        !*found)
        return;
    iip_refuse(e, IIP_OK, NULL);
    if (iip_view_choose(&q->rq, *found, &file, q->r->pool, e) == IIP_OK)
        iipd_open_view(q, file, &q->src, e);
}

/* Beneath a root: the file of that name, the one of which it names a page, or a view. OK, or what httpd says to that.
 */
static int open_rooted(iipd_request *q, iip_server_t *sv, iip_error *e)
{
    apr_pool_t *p = q->r->pool;
    const iip_root *root = q->set.root;
    const char *suffix = q->set.suffix ? q->set.suffix : "", *file;

    if (iipd_source(q, &q->src, root, apr_pstrcat(p, q->file, suffix, NULL), p, e) == IIP_E_NOT_FOUND &&
        q->proto->page && (file = q->proto->page(&q->in, &q->rq, q->file, p))) {
        iip_refuse(e, IIP_OK, NULL);
        if (iipd_source(q, &q->src, root, apr_pstrcat(p, file, suffix, NULL), p, e) == IIP_OK)
            return iipd_look_up_page(q, file);
    }
    open_view(q, sv, q->file, e);
    return OK;
}

/* What httpd found under a name of a query; where it found no file, a view of that name. */
static void open_named(iipd_request *q, iip_server_t *sv, iip_error *e)
{
    iipd_source(q, &q->src, NULL, q->file, q->r->pool, e);
    open_view(q, sv, q->stem, e);
}

/* What httpd mapped is ours only if it is a picture: pages, forms and scripts beside it go their own way untouched. */
static int is_ours(iipd_request *q, iip_server_t *sv, iip_error *look)
{
    if (!q->file)
        return q->e.status != IIP_OK;
    if (iipd_source(q, &q->src, NULL, q->file, q->r->pool, look) != IIP_OK)
        return *q->in.path != '\0';
    if (iip_serve_page(sv, q->src, &q->rq, &q->lim, &q->info, &q->hold, q->r->pool, look) == IIP_OK)
        return 1;
    /* A damaged picture is still one, and its plain name still the file */
    return look->status != IIP_E_FORMAT || sniff(q) != NULL;
}

/* DECLINED, an HTTP status for httpd to word, or OK: sent, or q->e says what to send. */
static int serve(iipd_request *q, iip_server_t *sv)
{
    const int wants_info = q->want == IIP_WANT_IMAGE || q->want == IIP_WANT_INFO || q->want == IIP_WANT_DATA;
    iip_error look;
    char octet;
    int rc;

    iip_refuse(&look, IIP_OK, NULL);
    if (q->want == IIP_WANT_TEXT && q->e.status == IIP_OK && !q->file) {
        if (other_method(q))
            return answer_method(q);
        if (!iipd_purges(q))
            return send_data(q, sv);
        iip_refuse(&q->e, IIP_E_NOT_FOUND, NULL);
        return OK;
    }
    if (!q->set.root && !q->in.named) {
        if (!is_ours(q, sv, &look))
            return DECLINED;
        if (q->want == IIP_WANT_BARE && q->e.status == IIP_OK && q->set.bare <= IIP_BARE_FILE && !iipd_purges(q)) {
            if (q->set.status)
                ap_method_list_add(q->r->allowed_methods, "PURGE"); /* to what httpd allows of a plain file */
            return other_method(q) ? DECLINED : send_bare(q);
        }
        if (other_method(q))
            return answer_method(q);
        if (q->e.status != IIP_OK)
            return OK;
    } else {
        if (other_method(q))
            return answer_method(q);
        if (!q->file)
            return OK;
        if (q->in.named)
            open_named(q, sv, &look);
        else if ((rc = open_rooted(q, sv, &look)) != OK)
            return rc;
        if (look.status == IIP_OK)
            iip_refuse(&q->e, IIP_OK, NULL); /* R4: a strange path that is a file is a plain name */
        else if (q->e.status != IIP_OK)
            return OK;
    }
    /* httpd was asked for this method alone: whoever may purge may not therefore see. The file's place has the word */
    if (q->src && iipd_is_purge(q->r))
        return iipd_purges(q) ? iipd_purge(q) : answer_method(q);
    if (look.status != IIP_OK && (wants_info || !q->src)) {
        q->e = look;
        return OK;
    }
    /* A redirect says that there is a picture to read */
    if (!q->info && !wants_info && q->src->read(q->src, &octet, 0, 0, &q->e) != IIP_OK)
        return OK;
    if (q->want == IIP_WANT_BARE)
        return send_bare(q);
    if (q->want == IIP_WANT_MOVED)
        return iipd_send_redirect(q, HTTP_MOVED_PERMANENTLY,
                                  q->proto->redirect(&q->in, &q->rq, IIP_WANT_MOVED, q->r->pool));
    if (!q->info && iip_serve_page(sv, q->src, &q->rq, &q->lim, &q->info, &q->hold, q->r->pool, &q->e) != IIP_OK)
        return OK;
    return q->want == IIP_WANT_INFO ? send_info(q) : q->want == IIP_WANT_IMAGE ? send_picture(q, sv) : send_data(q, sv);
}

static void drop(iipd_request *q)
{
    if (q->hold)
        iip_blob_release(q->hold);
    q->hold = NULL;
    q->info = NULL;
    q->src = NULL;
    q->in.sequence = NULL;
}

static int answer(iipd_request *q, iip_server_t *sv)
{
    int rc;

    if (q->proto->thumbs && !q->set.root) {
        iip_refuse(&q->e, IIP_E_NOT_FOUND, NULL);
        return OK;
    }
    if (!sv && !q->set.root)
        return DECLINED;
    if (q->set.root && other_method(q) && !iipd_is_form(q))
        return answer_method(q);
    if (!sv) {
        iip_refuse(&q->e, IIP_E_MEMORY, NULL);
        return OK;
    }
    if ((rc = iipd_resolve(q)) != OK)
        return rc;
    rc = serve(q, sv);
    if (rc == OK && q->e.status == IIP_E_CHANGED) {
        /* Replaced between look and open: the new one is as good */
        drop(q);
        iip_refuse(&q->e, IIP_OK, NULL);
        rc = serve(q, sv);
    }
    drop(q);
    return rc;
}

int iipd_handler(request_rec *r)
{
    const iip_protocol *proto = r->handler ? iip_protocol_find(r->handler) : NULL;
    iip_server_t *sv;
    iipd_request *q;
    int rc;

    if (!proto)
        return DECLINED;
    q = apr_pcalloc(r->pool, sizeof *q);
    q->r = r;
    q->began = apr_time_now();
    q->proto = proto;
    iip_settings_effective(&q->set, iipd_settings(r));
    q->set.root = iipd_root(proto, &q->set);
    iip_settings_limits(&q->lim, &q->set);
    iip_request_init(&q->rq, &q->set);
    sv = iipd_server_enter();
    rc = answer(q, sv);
    if (rc != DECLINED)
        iipd_count(q, sv, rc);
    iipd_server_leave();
    if (rc == DECLINED)
        return iipd_decline(r);
    if (rc != OK)
        return iipd_hand_over(q, rc);
    if (q->e.status != IIP_OK) {
        iipd_log_error(q);
        if (q->e.status == IIP_E_ABORTED)
            r->connection->aborted = 1;
        else
            iipd_send_error(q);
    }
    iipd_note_request(q);
    iipd_log_request(q);
    return OK;
}
