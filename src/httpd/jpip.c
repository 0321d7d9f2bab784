/* SPDX-License-Identifier: Apache-2.0
 * jpip-handler: the flow of a request, the headers of its answer (T.808 annex D), the stream. Which file and channel it
 * means is jpip_ask.c, what the answer is made of src/jpip/. */
#include "httpd/jpipd.h"
#include "gate.h"
#include <string.h>
#include <apr_siphash.h>
#include <apr_strings.h>
#include <util_script.h>
#include <zlib.h>

APLOG_USE_MODULE(iip);

#define GZIP_LEAST 1024 /* bytes of metadata worth compressing */
#define GZIP_PIECE 16384
#define EXTENDED   16 /* in the type of a channel's record */

static const char exposed[] = "JPIP-cnew,JPIP-tid,JPIP-qid,JPIP-fsiz,JPIP-roff,JPIP-rsiz,JPIP-comps,JPIP-stream,"
                              "JPIP-context,JPIP-layers,JPIP-len,JPIP-quality";

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

static const char *cnew_path(iipd_ask *j)
{
    request_rec *r = j->q->r;
    const char *path = j->q->set.root && *j->q->set.root->prefix ? j->q->set.root->prefix : r->uri;

    return iipd_jpip_encode(path + (*path == '/'), r->pool);
}

static void set_headers(iipd_ask *j)
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
static int validate(iipd_ask *j)
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
static int use_gzip(const iipd_ask *j)
{
    request_rec *r = j->q->r;

    return j->query.meta_only && j->a.t.meta_len > GZIP_LEAST &&
           ap_find_token(r->pool, apr_table_get(r->headers_in, "Accept-Encoding"), "gzip");
}

static iip_status send_messages(iipd_ask *j, iip_sink *k, int zipped, iip_error *e)
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

/* Work is done in a place of the gate, as that on tiles is. Whatever the line is: how many there are of us is limited.
 */
static iip_status step_in(iipd_ask *j, iip_error *e)
{
    const iip_status rv = iip_gate_enter(iip_server_gate(j->sv), j->q->b, 1, e);

    j->inside = rv == IIP_OK;
    return rv;
}

static void step_out(iipd_ask *j)
{
    if (j->inside)
        iip_gate_leave(iip_server_gate(j->sv));
    j->inside = 0;
}

/* A slow reader must starve nobody: the place is given up while a piece leaves, and that time is the network's. */
typedef struct {
    iip_sink sink;
    iipd_ask *j;
    iipd_stream *down;
    uint64_t bytes;
} polite;

static iip_status polite_write(iip_sink *sink, const void *p, size_t n, iip_error *e)
{
    polite *k = (polite *)sink;
    iip_budget *b = k->j->q->b;
    apr_time_t t0;
    iip_status rv;

    k->bytes += n;
    if (k->down->n + n < IIPD_PIECE)
        return k->down->sink.write(&k->down->sink, p, n, e);
    step_out(k->j);
    t0 = apr_time_now();
    rv = k->down->sink.write(&k->down->sink, p, n, e);
    t0 = apr_time_now() - t0;
    b->until += b->until ? t0 : 0;
    b->spent.send += t0;
    return rv == IIP_OK ? step_in(k->j, e) : rv;
}

static int send_body(iipd_ask *j)
{
    iipd_request *q = j->q;
    request_rec *r = q->r;
    int zipped = use_gzip(j);
    iipd_stream k;
    polite down = {{polite_write}, j, &k, 0};
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
        step_out(j);
        iipd_stream_end(&k);
        return OK;
    }
    rv = send_messages(j, &down.sink, zipped, &q->e);
    step_out(j);
    iipd_count_jpip(IIPD_JPIP_BYTES, down.bytes);
    iipd_jpip_leave(j, rv == IIP_OK);
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
static int send_end(iipd_ask *j)
{
    iip_error e;
    unsigned char end[JPIP_END_BYTES];
    iipd_stream k;

    jpip_session_close(j->session, 0);
    iipd_count_jpip(IIPD_JPIP_CLOSED, 1);
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
static iip_status choose_type(iipd_ask *j, iip_error *e)
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

static int send_raw(iipd_ask *j)
{
    const jpip_boxes *b = &j->a.t.b;
    int layered = 0;

    for (int i = 0; i < b->boxes; i++)
        layered |= !memcmp(b->box[i].type, "jplh", 4) || !memcmp(b->box[i].type, "ftbl", 4);
    iipd_jpip_leave(j, 0);
    return iipd_send_file(j->q, !b->boxes ? "image/j2c" : layered || b->streams > 1 ? "image/jpx" : "image/jp2");
}

static iip_status read_target(iipd_ask *j)
{
    iipd_request *q = j->q;
    iip_quarantine_slot *slot;
    iip_status rv = iip_quarantine_check(q->src, &q->e);

    if (rv != IIP_OK)
        return rv;
    slot = iip_quarantine_enter(q->src);
    rv = jpip_answer_target(&j->a, &q->e);
    iip_quarantine_leave(slot);
    return rv;
}

static int is_method(const iipd_request *q)
{
    const request_rec *r = q->r;

    return iipd_purges(q) || r->method_number == M_GET || r->method_number == M_POST || r->method_number == M_OPTIONS;
}

static int answer(iipd_ask *j)
{
    iipd_request *q = j->q;
    request_rec *r = q->r;
    int rc;

    if ((r->method_number == M_POST || r->method_number == M_GET) && q->e.status == IIP_OK &&
        iipd_jpip_channel(j, &q->e) != IIP_OK)
        return OK;
    if ((rc = iipd_jpip_file(j)) != OK || q->e.status != IIP_OK)
        return rc;
    if (iipd_purges(q))
        return iipd_purge(q);
    if (!is_method(q)) { /* the file's place is another */
        iip_refuse(&q->e, IIP_E_METHOD, NULL);
        return OK;
    }
    if (iip_claim_take(iip_server_gate(j->sv)->permits, iipd_budget(q), &j->own, &q->e) != IIP_OK ||
        step_in(j, &q->e) != IIP_OK)
        return OK;
    j->a = (jpip_answer){.q = &j->query,
                         .s = q->src,
                         .indexes = iip_server_indexes(j->sv),
                         .open_link = iipd_jpip_link,
                         .link_ctx = j,
                         .session = j->session,
                         .max = q->set.jpip_max_response ? q->set.jpip_max_response : INT64_MAX,
                         .b = q->b,
                         .p = r->pool};
    if (choose_type(j, &q->e) != IIP_OK || read_target(j) != IIP_OK)
        return OK;
    if (j->a.type.kind == JPIP_TYPE_RAW) {
        step_out(j);
        return send_raw(j);
    }
    if (j->session && !j->opened && strcmp(j->session->tid, j->a.t.tid))
        return send_end(j);
    if (j->session)
        apr_cpystrn(j->session->tid, j->a.t.tid, sizeof j->session->tid);
    if (jpip_answer_plan(&j->a, &q->e) != IIP_OK)
        return OK;
    if (j->a.changed)
        return send_end(j);
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

/* JPIP requests may take half of the server: one that waits for its channel or its client keeps a thread, and tiles are
 * to find one. */
static iip_status enter(iipd_ask *j)
{
    const iip_budget all = {.client = (uint64_t)-1, .per_client = iipd_jpip_most()};
    iip_permits *permits = iip_server_gate(j->sv)->permits;
    iip_error e;

    j->own = -1;
    if (iip_claim_take(permits, &all, &j->claim, &e) == IIP_OK)
        return IIP_OK;
    return iip_fail(&j->q->e, IIP_E_BUSY, 0, "JPIP: %d requests are under way", (int)all.per_client);
}

static void leave(iipd_ask *j)
{
    iip_permits *permits = iip_server_gate(j->sv)->permits;

    step_out(j);
    iip_claim_drop(permits, j->own);
    iip_claim_drop(permits, j->claim);
}

static int serve(iipd_ask *j)
{
    iipd_request *q = j->q;
    request_rec *r = q->r;
    int rc;

    /* What is no picture beside the pictures goes its own way, untouched */
    if (!q->set.root && r->finfo.filetype == APR_REG && !iipd_jpip_is_ours(q, r->filename))
        return DECLINED;
    if (!q->set.root && r->finfo.filetype != APR_REG && (!r->args || !strstr(r->args, "=")) &&
        r->method_number != M_POST)
        return DECLINED;
    if (!is_method(q)) {
        iip_refuse(&q->e, IIP_E_METHOD, NULL);
        return OK;
    }
    if (r->method_number == M_OPTIONS) {
        rc = iipd_send_options(q);
        return rc;
    }
    if (!j->sv) {
        iip_refuse(&q->e, IIP_E_MEMORY, NULL);
        return OK;
    }
    if (iipd_jpip_read(j, &q->e) != IIP_OK || enter(j) != IIP_OK)
        return OK;
    rc = answer(j);
    iipd_jpip_leave(j, 0);
    leave(j);
    return rc;
}

/* A channel that expired is no trouble of the server's. */
static int is_unknown(const iip_error *e)
{
    return e->status == IIP_E_BUSY && e->part;
}

int iipd_jpip_handler(request_rec *r)
{
    iipd_request *q;
    iipd_ask *j;
    int rc;

    if (!r->handler || strcmp(r->handler, "jpip-handler"))
        return DECLINED;
    q = apr_pcalloc(r->pool, sizeof *q);
    j = apr_pcalloc(r->pool, sizeof *j);
    j->q = q;
    q->r = r;
    q->began = apr_time_now();
    q->proto = iip_protocol_find(r->handler);
    q->in.set = &q->set;
    iip_settings_effective(&q->set, iipd_settings(r));
    iip_settings_limits(&q->lim, &q->set);
    iip_request_init(&q->rq, &q->set);
    j->sv = iipd_server_enter();
    rc = serve(j);
    if (rc != DECLINED)
        iipd_count(q, j->sv, rc);
    iipd_server_leave();
    if (rc == DECLINED)
        return iipd_decline(r);
    if (rc != OK)
        return iipd_hand_over(q, rc);
    if (q->e.status != IIP_OK) {
        if (!is_unknown(&q->e))
            iipd_log_error(q);
        if (q->e.status == IIP_E_ABORTED)
            r->connection->aborted = 1;
        else {
            apr_table_unset(r->headers_out, "JPIP-cnew");
            iipd_send_error(q);
        }
    }
    iipd_note_request(q);
    iipd_log_request(q);
    return OK;
}
