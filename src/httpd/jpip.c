/* SPDX-License-Identifier: Apache-2.0
 * jpip-handler: which file and channel a request means, its headers (spec section 9), the stream of its answer. What
 * the answer is made of is src/jpip/. */
#include "httpd/jpipd.h"
#include "path.h"
#include <string.h>
#include <apr_siphash.h>
#include <apr_strings.h>
#include <util_script.h>
#include <zlib.h>

APLOG_USE_MODULE(iip);

#define BODY_MAX    (1 << 20)
#define QUERY_MAX   16384
#define GZIP_LEAST  1024 /* bytes of metadata worth compressing */
#define GZIP_PIECE  16384
#define EXTENDED    16 /* in the type of a channel's record */
#define RANDOM_BITS 128

static const char exposed[] = "JPIP-cnew,JPIP-tid,JPIP-qid,JPIP-fsiz,JPIP-roff,JPIP-rsiz,JPIP-comps,JPIP-stream,"
                              "JPIP-context,JPIP-layers,JPIP-len,JPIP-quality";

typedef struct {
    iipd_request *q;
    jpip_query query;
    const char *text; /* query and form */
    const char *name; /* of the target as a channel's record has it */
    const jpip_store *store;
    jpip_session *session;
    int opened;     /* by this request */
    int other_type; /* than the one asked for first */
    jpip_answer a;
    iip_budget budget;
    const char *folder; /* mapped: encoded URL path of the target's folder */
} ask;

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

static iip_status read_query(ask *j, iip_error *e)
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

static int is_jpeg2000(iipd_request *q, const char *file)
{
    static const unsigned char boxes[12] = {0, 0, 0, 12, 'j', 'P', ' ', ' ', 13, 10, 0x87, 10};
    static const unsigned char stream[4] = {0xff, 0x4f, 0xff, 0x51};
    unsigned char head[12];
    iip_source_t *s;
    iip_error e;

    return iip_source_file(&s, NULL, file, q->r->pool, &e) == IIP_OK && s->id.size >= 12 &&
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

static iip_status begin(ask *j, const char *cid, jpip_session **s, iip_error *e)
{
    uint64_t mark;

    random_bytes(&mark, sizeof mark);
    return jpip_session_begin(s, j->store, cid, mark, j->query.wait, j->q->set.jpip_timeout, gone, j->q->r,
                              j->q->r->pool, e);
}

/* The channel that cid names and the one that cnew asks for. HEAD has none. */
static iip_status find_channel(ask *j, iip_error *e)
{
    const jpip_query *query = &j->query;
    request_rec *r = j->q->r;
    jpip_session *old = NULL;
    char cid[JPIP_CID_LEN + 1];
    uint64_t mark;
    iip_status rv;

    if (r->header_only || (!query->cid && query->cnew != 1 && !query->cclose))
        return IIP_OK;
    j->store = iipd_channels(r);
    if (query->cid) {
        if (!j->store)
            return iip_refuse(e, IIP_E_BUSY, "cid");
        if ((rv = begin(j, query->cid, &old, e)) != IIP_OK)
            return rv;
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
static void close_channels(ask *j)
{
    const char *list = j->query.cclose;
    int mine = 0, all = 0;

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
            jpip_session_close_other(j->session, cid);
        else if (begin(j, cid, &s, &e) == IIP_OK)
            jpip_session_close(s, 0);
    }
    if (j->session && mine) {
        jpip_session_close(j->session, all);
        j->session = NULL;
    }
}

/* The end of this request in its channel: the model moves on if the answer went out. */
static void leave_channel(ask *j, int sent)
{
    iip_error e;

    close_channels(j);
    if (j->session && (sent || !j->opened) && jpip_session_end(j->session, sent, &e) != IIP_OK)
        ap_log_rerror(APLOG_MARK, APLOG_WARNING, e.apr, j->q->r, "IIP0006: %s", e.detail);
    j->session = NULL;
}

/* ---- the file ---- */

static const char *encoded(const char *path, apr_pool_t *p)
{
    const char *out = ap_os_escape_path(p, path, 1);

    for (const char *comma; (comma = strchr(out, ','));)
        out = apr_pstrcat(p, apr_pstrmemdup(p, out, (apr_size_t)(comma - out)), "%2C", comma + 1, NULL);
    return out;
}

/* Beneath a root: the target, else what the path names, else the channel's. */
static int find_rooted(ask *j)
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
static int find_mapped(ask *j)
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
        j->folder = encoded(apr_pstrmemdup(r->pool, r->uri, slash ? (apr_size_t)(slash - r->uri) : 0), r->pool);
        return *q->in.path ? DECLINED : OK;
    }
    if (!target && j->session && (mark = strchr(j->session->target, '?')))
        target = mark + 1;
    if (!target)
        return DECLINED;
    q->in.mapped = 1;
    q->in.path = "";
    j->folder = encoded(r->uri, r->pool);
    while (*j->folder && j->folder[strlen(j->folder) - 1] == '/')
        j->folder = apr_pstrmemdup(r->pool, j->folder, strlen(j->folder) - 1);
    if ((rc = iipd_look_up_below(q, j->folder, target, &q->file)) != OK && rc != DECLINED)
        return rc;
    if (!q->file)
        iip_refuse(&q->e, IIP_E_NOT_FOUND, NULL);
    if ((slash = strrchr(target, '/')))
        j->folder = apr_pstrcat(r->pool, j->folder, "/",
                                encoded(apr_pstrmemdup(r->pool, target, (apr_size_t)(slash - target)), r->pool), NULL);
    j->name = apr_pstrcat(r->pool, r->uri, "?", target, NULL);
    return OK;
}

static int find_file(ask *j)
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
    iip_source_file(&q->src, q->set.root, q->file, q->r->pool, &q->e);
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
static iip_status link_rooted(ask *j, const char *path, int absolute, iip_source_t **s, apr_pool_t *p, iip_error *e)
{
    const iip_settings *set = &j->q->set;
    const char *name = absolute ? below(set->root->path, path) : jpip_link_beside(j->q->file, path, p);

    if (name)
        return iip_source_file(s, set->root, name, p, e);
    for (const char *const *at = set->jpip_link_root; absolute && at && *at; at++)
        for (const iip_root *root = iipd_link_roots(); root; root = root->next)
            if (!strcmp(root->path, *at) && (name = below(root->path, path)))
                return iip_source_file(s, root, name, p, e);
    return iip_refuse(e, IIP_E_NOT_FOUND, NULL);
}

static iip_status link_mapped(ask *j, const char *path, iip_source_t **s, apr_pool_t *p, iip_error *e)
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
    return file ? iip_source_file(s, NULL, file, p, e) : iip_refuse(e, IIP_E_NOT_FOUND, NULL);
}

static iip_status open_link(void *ctx, const char *url, iip_source_t **s, apr_pool_t *p, iip_error *e)
{
    ask *j = ctx;
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

/* ---- headers ---- */

static void say(request_rec *r, const char *header, const char *value)
{
    if (value && *value)
        apr_table_setn(r->headers_out, header, value);
}

static void expose(request_rec *r)
{
    if (apr_table_get(r->headers_out, "Access-Control-Allow-Origin"))
        apr_table_setn(r->headers_out, "Access-Control-Expose-Headers", exposed);
}

static const char *cnew_path(ask *j)
{
    request_rec *r = j->q->r;
    const char *path = j->q->set.root && *j->q->set.root->prefix ? j->q->set.root->prefix : r->uri;

    return encoded(path + (*path == '/'), r->pool);
}

static void set_headers(ask *j)
{
    request_rec *r = j->q->r;
    const jpip_query *query = &j->query;
    const jpip_corrections *c = &j->a.say;

    r->content_encoding = NULL;
    r->content_languages = NULL;
    ap_set_content_type(r, j->a.type.kind == JPIP_TYPE_JPT ? "image/jpt-stream" : "image/jpp-stream");
    if (j->opened && j->session)
        say(r, "JPIP-cnew", apr_psprintf(r->pool, "cid=%s,path=%s,transport=http", j->session->cid, cnew_path(j)));
    if (j->opened || query->tid || !j->session)
        say(r, "JPIP-tid", j->a.t.tid);
    if (query->qid >= 0)
        say(r, "JPIP-qid", apr_psprintf(r->pool, "%" APR_INT64_T_FMT, query->qid));
    say(r, "JPIP-fsiz", c->fsiz);
    say(r, "JPIP-roff", c->roff);
    say(r, "JPIP-rsiz", c->rsiz);
    say(r, "JPIP-comps", c->comps);
    say(r, "JPIP-stream", c->stream);
    say(r, "JPIP-context", c->context);
    say(r, "JPIP-layers", c->layers);
    say(r, "JPIP-len", c->len);
    say(r, "JPIP-quality", c->quality);
    say(r, "JPIP-mset", c->mset);
    if (j->other_type)
        say(r, "JPIP-type", j->a.type.kind == JPIP_TYPE_JPT ? "jpt-stream" : "jpp-stream");
    say(r, "JPIP-pref", query->pref_required);
    if (query->handled)
        say(r, "JPIP-handled", jpip_query_fields(r->pool));
    if (query->cid || j->opened)
        apr_table_setn(r->headers_out, "Cache-Control", "no-cache, no-store");
}

/* A stateless answer to a URL is the same for all: everything it depends on. */
static int validate(ask *j)
{
    static const unsigned char keys[2][APR_SIPHASH_KSIZE] = {"mod_iip jpip  1", "mod_iip jpip  2"};
    iipd_request *q = j->q;
    uint64_t digest[4] = {apr_siphash24(j->text, strlen(j->text), keys[0]),
                          apr_siphash24(j->text, strlen(j->text), keys[1]), (uint64_t)j->a.max, 0};
    char tag[33];

    for (int i = 0; i < j->a.pictures; i++)
        if (j->a.picture[i].ix && j->a.picture[i].f.s != q->src) {
            iip_serve_etag(j->a.picture[i].f.s, (const char *)digest, sizeof digest, tag);
            digest[3] = apr_siphash24(tag, 32, keys[0]);
        }
    return iipd_validate(q, (const char *)digest, sizeof digest);
}

/* ---- the body ---- */

/* Compresses on the way into another sink. */
typedef struct {
    iip_sink sink;
    iip_sink *down;
    z_stream z;
    unsigned char *piece; /* GZIP_PIECE */
} gzip;

static iip_status gzip_push(gzip *g, int flush, iip_error *e)
{
    int rc;

    do {
        iip_status rv;

        g->z.next_out = g->piece;
        g->z.avail_out = GZIP_PIECE;
        rc = deflate(&g->z, flush);
        if (g->z.avail_out < GZIP_PIECE &&
            (rv = g->down->write(g->down, g->piece, GZIP_PIECE - g->z.avail_out, e)) != IIP_OK)
            return rv;
    } while (!g->z.avail_out || (flush == Z_FINISH && rc == Z_OK));
    return IIP_OK;
}

static iip_status gzip_write(iip_sink *k, const void *p, size_t n, iip_error *e)
{
    gzip *g = (gzip *)k;

    g->z.next_in = (unsigned char *)p;
    g->z.avail_in = (unsigned)n; /* at most a message */
    return gzip_push(g, Z_NO_FLUSH, e);
}

static apr_status_t gzip_free(void *data)
{
    deflateEnd(data);
    return APR_SUCCESS;
}

/* Metadata alone is worth it, packets are not. */
static int use_gzip(const ask *j)
{
    request_rec *r = j->q->r;

    return j->query.meta_only && j->a.t.meta_len > GZIP_LEAST &&
           ap_find_token(r->pool, apr_table_get(r->headers_in, "Accept-Encoding"), "gzip");
}

static iip_status send_messages(ask *j, iip_sink *k, int zipped, iip_error *e)
{
    apr_pool_t *p = j->q->r->pool;
    gzip *g;
    iip_status rv;

    if (!zipped)
        return jpip_answer_send(&j->a, k, e);
    g = apr_pcalloc(p, sizeof *g);
    g->sink.write = gzip_write;
    g->down = k;
    g->piece = apr_palloc(p, GZIP_PIECE);
    if (deflateInit2(&g->z, Z_DEFAULT_COMPRESSION, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY) != Z_OK)
        return iip_fail(e, IIP_E_MEMORY, APR_ENOMEM, "no memory to compress with");
    apr_pool_cleanup_register(p, &g->z, gzip_free, apr_pool_cleanup_null);
    rv = jpip_answer_send(&j->a, &g->sink, e);
    return rv == IIP_OK ? gzip_push(g, Z_FINISH, e) : rv;
}

static int send_body(ask *j)
{
    iipd_request *q = j->q;
    request_rec *r = q->r;
    int zipped = use_gzip(j);
    iipd_stream k;
    iip_status rv;

    if (j->query.meta_only && j->a.t.meta_len > GZIP_LEAST)
        apr_table_mergen(r->headers_out, "Vary", "Accept-Encoding");
    if (zipped)
        r->content_encoding = "gzip";
    apr_table_setn(r->subprocess_env, "no-gzip", "1");
    apr_table_setn(r->subprocess_env, "no-brotli", "1");
    apr_table_setn(r->headers_out, "Accept-Ranges", "none");
    iipd_stream_begin(&k, r);
    if (r->header_only) {
        iipd_stream_end(&k);
        return OK;
    }
    rv = send_messages(j, &k.sink, zipped, &q->e);
    leave_channel(j, rv == IIP_OK);
    if (rv == IIP_OK) {
        iipd_stream_end(&k);
    } else if (k.begun) {
        iipd_log_error(q);
        iipd_stream_cut(&k);
        iip_refuse(&q->e, IIP_OK, NULL);
    }
    free(k.piece);
    return OK;
}

/* The file behind the channel is another one now: the client has bytes of the old one. */
static int send_end(ask *j)
{
    iip_error e;
    unsigned char end[JPIP_END_BYTES];
    iipd_stream k;

    jpip_session_close(j->session, 0);
    j->session = NULL;
    set_headers(j);
    iipd_cors(&j->q->set, j->q->r, j->q->r->headers_out);
    expose(j->q->r);
    jpip_end_write(end, JPIP_SESSION_LIMIT);
    iipd_stream_begin(&k, j->q->r);
    k.sink.write(&k.sink, end, sizeof end, &e);
    iipd_stream_end(&k);
    free(k.piece);
    return OK;
}

/* ---- the flow ---- */

static int type_code(const jpip_type_wish *type)
{
    return (int)type->kind | (type->extended ? EXTENDED : 0);
}

/* The first type asked for that can be served here. IIP_E_FORMAT: none. */
static iip_status choose_type(ask *j, iip_error *e)
{
    const jpip_query *query = &j->query;
    jpip_session *s = j->session;
    int i = 0;

    if (query->types >= 0) {
        while (i < query->types && query->type[i].kind == JPIP_TYPE_RAW && !j->q->set.jpip_raw)
            i++;
        if (i >= query->types)
            return iip_refuse(e, IIP_E_FORMAT, "type");
        j->a.type = query->type[i];
        j->other_type = i > 0;
        if (s && !j->opened && type_code(&j->a.type) != s->type)
            return iip_refuse(e, IIP_E_SYNTAX, "type");
    } else if (s && !j->opened) {
        j->a.type = (jpip_type_wish){s->type & (EXTENDED - 1), (s->type & EXTENDED) != 0};
    }
    if (s)
        s->type = type_code(&j->a.type);
    return IIP_OK;
}

static int send_raw(ask *j)
{
    const jpip_boxes *b = &j->a.t.b;
    int layered = 0;

    for (int i = 0; i < b->boxes; i++)
        layered |= !memcmp(b->box[i].type, "jplh", 4) || !memcmp(b->box[i].type, "ftbl", 4);
    leave_channel(j, 0);
    return iipd_send_file(j->q, !b->boxes ? "image/j2c" : layered || b->streams > 1 ? "image/jpx" : "image/jp2");
}

static int answer(ask *j)
{
    iipd_request *q = j->q;
    request_rec *r = q->r;
    int rc;

    if ((r->method_number == M_POST || r->method_number == M_GET) && q->e.status == IIP_OK &&
        find_channel(j, &q->e) != IIP_OK)
        return OK;
    if ((rc = find_file(j)) != OK || q->e.status != IIP_OK)
        return rc;
    j->budget = (iip_budget){.limit = q->lim.memory, .until = q->lim.deadline ? apr_time_now() + q->lim.deadline : 0};
    j->a = (jpip_answer){.q = &j->query,
                         .s = q->src,
                         .indexes = iipd_indexes(),
                         .open_link = open_link,
                         .link_ctx = j,
                         .session = j->session,
                         .max = q->set.jpip_max_response ? q->set.jpip_max_response : INT64_MAX,
                         .b = &j->budget,
                         .p = r->pool};
    if (choose_type(j, &q->e) != IIP_OK || jpip_answer_target(&j->a, &q->e) != IIP_OK)
        return OK;
    if (j->a.type.kind == JPIP_TYPE_RAW)
        return send_raw(j);
    if (j->session && !j->opened && strcmp(j->session->tid, j->a.t.tid))
        return send_end(j);
    if (j->session)
        apr_cpystrn(j->session->tid, j->a.t.tid, sizeof j->session->tid);
    if (jpip_answer_plan(&j->a, &q->e) != IIP_OK)
        return OK;
    set_headers(j);
    if (j->session || j->query.cid || j->query.cnew || j->query.model || r->method_number != M_GET) {
        iipd_answering(r);
        iipd_cors(&q->set, r, r->headers_out);
    } else if ((rc = validate(j)) != OK) {
        return rc;
    }
    expose(r);
    return send_body(j);
}

static int is_method(const request_rec *r)
{
    return r->method_number == M_GET || r->method_number == M_POST || r->method_number == M_OPTIONS;
}

static int serve(ask *j)
{
    iipd_request *q = j->q;
    request_rec *r = q->r;
    int rc;

    /* What is no picture beside the pictures goes its own way, untouched */
    if (!q->set.root && r->finfo.filetype == APR_REG && !is_jpeg2000(q, r->filename))
        return DECLINED;
    if (!q->set.root && r->finfo.filetype != APR_REG && (!r->args || !strstr(r->args, "=")) &&
        r->method_number != M_POST)
        return DECLINED;
    if (!is_method(r)) {
        iip_refuse(&q->e, IIP_E_METHOD, NULL);
        return OK;
    }
    if (r->method_number == M_OPTIONS) {
        rc = iipd_send_options(q);
        return rc;
    }
    if (read_query(j, &q->e) != IIP_OK)
        return OK;
    rc = answer(j);
    leave_channel(j, 0);
    return rc;
}

int iipd_jpip_handler(request_rec *r)
{
    iipd_request *q;
    ask *j;
    int rc;

    if (!r->handler || strcmp(r->handler, "jpip-handler"))
        return DECLINED;
    q = apr_pcalloc(r->pool, sizeof *q);
    j = apr_pcalloc(r->pool, sizeof *j);
    j->q = q;
    q->r = r;
    q->proto = iip_protocol_find(r->handler);
    q->in.set = &q->set;
    iip_settings_effective(&q->set, iipd_settings(r));
    iip_settings_limits(&q->lim, &q->set);
    iip_request_init(&q->rq, &q->set);
    iipd_server_enter();
    rc = serve(j);
    iipd_server_leave();
    if (rc == DECLINED)
        return iipd_decline(r);
    if (rc != OK)
        return iipd_hand_over(q, rc);
    if (q->e.status != IIP_OK) {
        iipd_log_error(q);
        if (q->e.status == IIP_E_ABORTED)
            r->connection->aborted = 1;
        else {
            apr_table_unset(r->headers_out, "JPIP-cnew");
            iipd_send_error(q);
        }
    }
    iipd_log_request(q);
    return OK;
}
