/* SPDX-License-Identifier: Apache-2.0
 * What a JPIP request means: its fields, its channel, its file, and the files that links in that lead to. */
#include "httpd/jpipd.h"
#include "path.h"
#include <string.h>
#include <apr_strings.h>

APLOG_USE_MODULE(iip);

#define BODY_MAX    (1 << 20)
#define QUERY_MAX   16384
#define RANDOM_BITS 128

/* ---- reading the request ---- */

/* The form of a POST into *body. */
static iip_status read_form(request_rec *r, const char **body, iip_error *e)
{
    const char *type = apr_table_get(r->headers_in, "Content-Type");
    char *form;
    long n, got = 0;

    if (type && strncasecmp(type, "application/x-www-form-urlencoded", 33))
        return iip_refuse(e, IIP_E_FORMAT, "body");
    if (ap_setup_client_block(r, REQUEST_CHUNKED_DECHUNK))
        return iip_refuse(e, IIP_E_SYNTAX, "body");
    if (!ap_should_client_block(r))
        return IIP_OK;
    if (r->remaining > BODY_MAX)
        return iip_refuse(e, IIP_E_BODY, NULL);
    form = apr_palloc(r->pool, BODY_MAX + 2);
    while (got <= BODY_MAX && (n = ap_get_client_block(r, form + got, (apr_size_t)(BODY_MAX + 1 - got))) > 0)
        got += n;
    if (got > BODY_MAX)
        return iip_refuse(e, IIP_E_BODY, NULL);
    if (n < 0)
        return iip_fail(e, IIP_E_ABORTED, 0, "client gone");
    form[got] = '\0';
    while (got && (form[got - 1] == '\n' || form[got - 1] == '\r'))
        form[--got] = '\0';
    *body = form;
    return IIP_OK;
}

iip_status iipd_jpip_read(iipd_ask *j, iip_error *e)
{
    request_rec *r = j->q->r;
    const char *body = NULL, *args = r->args ? r->args : "";
    iip_status rv;

    if (strlen(args) > QUERY_MAX)
        return iip_refuse(e, IIP_E_QUERY, NULL);
    if (r->method_number == M_POST && (rv = read_form(r, &body, e)) != IIP_OK)
        return rv;
    j->text = body ? apr_pstrcat(r->pool, args, "&", body, NULL) : args;
    return jpip_query_parse(&j->query, args, body, r->pool, e);
}

int iipd_jpip_is_ours(iipd_request *q, const char *file)
{
    static const unsigned char boxes[12] = {0, 0, 0, 12, 'j', 'P', ' ', ' ', 13, 10, 0x87, 10};
    static const unsigned char stream[4] = {0xff, 0x4f, 0xff, 0x51};
    unsigned char head[12];
    iip_source_t *s;
    iip_error e;

    return iipd_source(q, &s, NULL, file, q->r->pool, &e) == IIP_OK && s->id.size >= 12 &&
           s->read(s, head, 12, 0, &e) == IIP_OK && (!memcmp(head, boxes, 12) || !memcmp(head, stream, 4));
}

/* ---- the channel ---- */

static void random_bytes(void *to, apr_size_t n)
{
    if (apr_generate_random_bytes(to, n))
        ap_random_insecure_bytes(to, n);
}

static void random_cid(char cid[JPIP_CID_LEN + 1])
{
    static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    unsigned char bytes[RANDOM_BITS / 8 + 1] = {0};

    random_bytes(bytes, RANDOM_BITS / 8);
    for (int i = 0; i < JPIP_CID_LEN; i++) {
        int bit = 6 * i;

        cid[i] = letters[(bytes[bit / 8] << 8 | bytes[bit / 8 + 1]) >> (10 - bit % 8) & 63];
    }
    cid[JPIP_CID_LEN] = '\0';
}

static int gone(void *ctx)
{
    return ((request_rec *)ctx)->connection->aborted;
}

static iip_status begin(iipd_ask *j, const char *cid, jpip_session **s, iip_error *e)
{
    uint64_t mark;

    random_bytes(&mark, sizeof mark);
    return jpip_session_begin(s, j->store, cid, mark, j->query.wait, j->q->set.jpip_timeout, gone, j->q->r,
                              j->q->r->pool, e);
}

/* The channel that cid names and the one that cnew asks for. HEAD has none. */
iip_status iipd_jpip_channel(iipd_ask *j, iip_error *e)
{
    const jpip_query *query = &j->query;
    request_rec *r = j->q->r;
    const char *named = query->cid;
    jpip_session *old = NULL;
    char cid[JPIP_CID_LEN + 1];
    uint64_t mark;
    iip_status rv;

    /* JHelioviewer names a channel only to close it */
    if (!named && query->cnew != 1 && query->cclose && !strpbrk(query->cclose, ",*"))
        named = query->cclose;
    if (r->header_only || (!named && query->cnew != 1 && !query->cclose))
        return IIP_OK;
    j->store = iipd_channels(r);
    if (named) {
        if (!j->store)
            return iip_refuse(e, IIP_E_BUSY, "cid");
        if ((rv = begin(j, named, &old, e)) != IIP_OK) {
            if (rv == IIP_E_BUSY && e->part)
                iipd_count_jpip(IIPD_JPIP_LOST, 1);
            return rv;
        }
        j->session = old;
    }
    if (query->cnew != 1 || !j->store)
        return IIP_OK;
    random_cid(cid);
    random_bytes(&mark, sizeof mark);
    rv = jpip_session_open(&j->session, j->store, cid, mark, old, j->q->set.jpip_timeout, r->pool, e);
    j->opened = 1;
    if (old) {
        iip_error ignored;

        old->shared = 1;
        if (rv == IIP_OK)
            j->session->target = old->target;
        jpip_session_end(old, 1, &ignored);
    }
    return rv;
}

/* The channels that cclose names. */
static void close_channels(iipd_ask *j)
{
    const char *list = j->query.cclose;
    int mine = 0, all = 0, closed = 0;

    while (list && *list && j->store) {
        char *cid = ap_get_token(j->q->r->pool, &list, 0);
        jpip_session *s;
        iip_error e;

        list += *list == ',';
        if (!strcmp(cid, "*"))
            mine = all = 1;
        else if (j->session && !strcmp(cid, j->session->cid))
            mine = 1;
        else if (j->session)
            closed += jpip_session_close_other(j->session, cid);
        else if (begin(j, cid, &s, &e) == IIP_OK) {
            jpip_session_close(s, 0);
            closed++;
        }
    }
    if (j->session && mine) {
        jpip_session_close(j->session, all);
        closed += !j->opened;
        j->session = NULL;
    }
    iipd_count_jpip(IIPD_JPIP_CLOSED, (uint64_t)closed);
    j->query.cclose = NULL;
}

/* The end of this request in its channel: the model moves on if the answer went out. */
void iipd_jpip_leave(iipd_ask *j, int sent)
{
    iip_error e;

    close_channels(j);
    if (j->session && (sent || !j->opened)) {
        if (jpip_session_end(j->session, sent, &e) != IIP_OK)
            ap_log_rerror(APLOG_MARK, APLOG_WARNING, e.apr, j->q->r, "IIP0006: %s", e.detail);
        else if (j->opened)
            iipd_count_jpip(IIPD_JPIP_OPENED, 1);
    }
    j->session = NULL;
}

/* ---- the file ---- */

const char *iipd_jpip_encode(const char *path, apr_pool_t *p)
{
    const char *out = ap_os_escape_path(p, path, 1);

    for (const char *comma; (comma = strchr(out, ','));)
        out = apr_pstrcat(p, apr_pstrmemdup(p, out, (apr_size_t)(comma - out)), "%2C", comma + 1, NULL);
    return out;
}

/* Beneath a root: the target, else what the path names, else the channel's. */
static int find_rooted(iipd_ask *j)
{
    iipd_request *q = j->q;
    int rc;

    q->in.query = j->text;
    if ((rc = iipd_resolve(q)) != OK)
        return rc;
    if (!q->rq.name && j->session && *j->session->target && *j->session->target != '/') {
        q->in.query = apr_pstrcat(q->r->pool, "target=", iip_path_encode(j->session->target, q->r->pool), NULL);
        iip_refuse(&q->e, IIP_OK, NULL);
        if ((rc = iipd_resolve(q)) != OK)
            return rc;
    }
    j->name = q->rq.name;
    return OK;
}

/* Mapped by httpd: the file of the URL, or the target below it. A channel's record has URL?target then. */
static int find_mapped(iipd_ask *j)
{
    iipd_request *q = j->q;
    request_rec *r = q->r;
    const char *target = j->query.target, *slash, *mark;
    int rc;

    if (r->finfo.filetype == APR_REG) {
        q->in.query = "";
        if ((rc = iipd_resolve(q)) != OK)
            return rc;
        j->name = r->uri;
        slash = strrchr(r->uri, '/');
        j->folder =
            iipd_jpip_encode(apr_pstrmemdup(r->pool, r->uri, slash ? (apr_size_t)(slash - r->uri) : 0), r->pool);
        return *q->in.path ? DECLINED : OK;
    }
    if (!target && j->session && (mark = strchr(j->session->target, '?')))
        target = mark + 1;
    if (!target)
        return DECLINED;
    q->in.mapped = 1;
    q->in.path = "";
    j->folder = iipd_jpip_encode(r->uri, r->pool);
    while (*j->folder && j->folder[strlen(j->folder) - 1] == '/')
        j->folder = apr_pstrmemdup(r->pool, j->folder, strlen(j->folder) - 1);
    if ((rc = iipd_look_up_below(q, j->folder, target, &q->file)) != OK && rc != DECLINED)
        return rc;
    if (!q->file)
        iip_refuse(&q->e, IIP_E_NOT_FOUND, NULL);
    if ((slash = strrchr(target, '/')))
        j->folder =
            apr_pstrcat(r->pool, j->folder, "/",
                        iipd_jpip_encode(apr_pstrmemdup(r->pool, target, (apr_size_t)(slash - target)), r->pool), NULL);
    j->name = apr_pstrcat(r->pool, r->uri, "?", target, NULL);
    return OK;
}

int iipd_jpip_file(iipd_ask *j)
{
    iipd_request *q = j->q;
    int rc = q->set.root ? find_rooted(j) : find_mapped(j);

    if (rc != OK || q->e.status != IIP_OK)
        return rc;
    if (j->session && *j->session->target && strcmp(j->session->target, j->name)) {
        iip_refuse(&q->e, IIP_E_SYNTAX, "cid");
        return OK;
    }
    if (j->session)
        j->session->target = j->name;
    iipd_source(q, &q->src, q->set.root, q->file, q->r->pool, &q->e);
    return OK;
}

/* ---- links ---- */

/* The part of an absolute path below a folder, or NULL. */
static const char *below(const char *folder, const char *path)
{
    size_t n = strlen(folder);

    while (n && folder[n - 1] == '/')
        n--;
    return !strncmp(path, folder, n) && path[n] == '/' && iip_path_good(path + n + 1) ? path + n + 1 : NULL;
}

/* spec/jpip.md 7: relative links lie beside the JPX, absolute ones beneath the IIPRoot or a JPIPLinkRoot. */
static iip_status link_rooted(iipd_ask *j, const char *path, int absolute, iip_source_t **s, apr_pool_t *p,
                              iip_error *e)
{
    const iip_settings *set = &j->q->set;
    const char *name = absolute ? below(set->root->path, path) : jpip_link_beside(j->q->file, path, p);

    if (name)
        return iipd_source(j->q, s, set->root, name, p, e);
    for (const char *const *at = set->jpip_link_root; absolute && at && *at; at++)
        for (const iip_root *root = iipd_link_roots(); root; root = root->next)
            if (!strcmp(root->path, *at) && (name = below(root->path, path)))
                return iipd_source(j->q, s, root, name, p, e);
    return iip_refuse(e, IIP_E_NOT_FOUND, NULL);
}

static iip_status link_mapped(iipd_ask *j, const char *path, iip_source_t **s, apr_pool_t *p, iip_error *e)
{
    iipd_request *q = j->q;
    request_rec *r = q->r;
    const iip_settings set = q->set;
    const iip_limits lim = q->lim;
    apr_table_t *errors = r->err_headers_out;
    const char *file = NULL;

    path = jpip_link_beside("x", path, p);
    if (path)
        iipd_look_up_below(q, j->folder, path, &file);
    /* The link's place has no say in this answer */
    q->set = set;
    q->lim = lim;
    r->err_headers_out = errors;
    return file ? iipd_source(q, s, NULL, file, p, e) : iip_refuse(e, IIP_E_NOT_FOUND, NULL);
}

iip_status iipd_jpip_link(void *ctx, const char *url, iip_source_t **s, apr_pool_t *p, iip_error *e)
{
    iipd_ask *j = ctx;
    char octet;
    int absolute = 0;
    const char *path = jpip_link_path(url, &absolute, p);
    iip_status rv;

    if (!path)
        rv = iip_refuse(e, IIP_E_NOT_FOUND, NULL);
    else if (j->q->set.root)
        rv = link_rooted(j, path, absolute, s, p, e);
    else
        rv = absolute ? iip_refuse(e, IIP_E_NOT_FOUND, NULL) : link_mapped(j, path, s, p, e);
    if (rv == IIP_OK)
        rv = (*s)->read(*s, &octet, 0, 0, e);
    if (rv != IIP_OK)
        iipd_log_link(j->q, url, e);
    return rv;
}
