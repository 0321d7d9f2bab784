/* SPDX-License-Identifier: Apache-2.0
 * Whose request is it, and which file does it mean? Two ways and no third: beneath an IIPRoot, the identifier is the
 * name of the file; without one, httpd's own mapping decides, and what httpd would not serve is out of reach. */
#include "httpd/iipd.h"
#include "path.h"
#include <string.h>
#include <apr_lib.h>
#include <apr_strings.h>

APLOG_USE_MODULE(iip);

/* What our earlier hooks leave for the later ones. */
typedef struct {
    int answered;        /* by our handler, which did not decline */
    int counted;         /* among the figures */
    const char *handler; /* before core's SetHandler took over; NULL: none */
    int encoded;         /* we kept httpd from decoding r->uri, for the %2F or %00 in it */
    int rooted;          /* r->filename is not where the URL would lie */
} note;

static note *note_of(request_rec *r, int make)
{
    note *n = ap_get_module_config(r->request_config, &iip_module);

    if (!n && make) {
        n = apr_pcalloc(r->pool, sizeof *n);
        ap_set_module_config(r->request_config, &iip_module, n);
    }
    return n;
}

/* ---- hooks ahead of the handler ---- */

const iip_root *iipd_root(const iip_protocol *proto, const iip_settings *set)
{
    return proto->thumbs ? set->thumb_root : set->root;
}

/* The root of a place where SetHandler names a handler of ours, else NULL. core decides on r->handler much later. */
static const iip_root *rooted(request_rec *r)
{
    const iip_settings *set = iipd_settings(r);
    const core_dir_config *core;
    const iip_protocol *proto;
    const char *word, *bad = NULL;
    char *name;

    if (!set || (!set->root && !set->thumb_root))
        return NULL;
    core = ap_get_core_module_config(r->per_dir_config);
    word = core->expr_handler ? ap_expr_str_exec(r, core->expr_handler, &bad) : core->handler;
    if (!word || bad)
        return NULL;
    name = apr_pstrdup(r->pool, word);
    ap_str_tolower(name); /* as core does */
    proto = iip_protocol_find(name);
    return proto ? iipd_root(proto, set) : NULL;
}

/* An encoded slash or NUL. */
static int is_refused(const char *s)
{
    while ((s = strchr(s, '%')) != NULL)
        if ((*++s == '2' && (s[1] == 'F' || s[1] == 'f')) || (*s == '0' && s[1] == '0'))
            return 1;
    return 0;
}

/* httpd itself answers 404 to a NUL, and to an encoded slash unless the vhost's AllowEncodedSlashes says otherwise;
 * DONE keeps it from decoding at all (spec/iiif.md R9, R11). Only for requests of the client: what others look up is
 * theirs. */
int iipd_pre_translate_name(request_rec *r)
{
    if (r->main || !r->uri || !is_refused(r->uri) || !rooted(r))
        return DECLINED;
    note_of(r, 1)->encoded = 1;
    return DONE;
}

/* Nothing lies at DocumentRoot + URL; the walk to find that out would be half the system calls of a cached tile. What
 * lies at DocumentRoot is known: the walk need not look, and goes by its <Directory> sections all the same. A rewritten
 * URL may have left the place whose settings we see here. */
int iipd_translate_name(request_rec *r)
{
    const iip_root *root = r->uri ? rooted(r) : NULL;
    size_t n;

    if (!root)
        return DECLINED;
    n = strlen(root->prefix);
    if (strncmp(r->uri, root->prefix, n) || (r->uri[n] && r->uri[n] != '/'))
        return DECLINED;
    r->filename = apr_pstrdup(r->pool, ap_document_root(r));
    r->finfo.filetype = APR_DIR;
    r->finfo.valid = APR_FINFO_TYPE;
    note_of(r, 1)->rooted = 1;
    return OK;
}

/* SetHandler overwrites the handler that mod_mime chose. Keep it: when we decline, a script must still run, for the
 * default handler would send its source. */
int iipd_fixups(request_rec *r)
{
    const core_dir_config *core = ap_get_core_module_config(r->per_dir_config);
    note *n = note_of(r, 0);

    /* mod_dir must not take the request for one of the document root's: it never does where there is a path behind */
    if (n && n->rooted)
        r->path_info = r->uri;
    if (r->handler && (core->expr_handler || core->handler))
        note_of(r, 1)->handler = r->handler;
    return DECLINED;
}

/* httpd's own errors can be read by scripts too (R46): 401, 403 and the like in a place that is ours alone, and 416
 * instead of an answer of ours, whose headers are dropped then. */
void iipd_insert_error_filter(request_rec *r)
{
    const note *n = note_of(r, 0);
    iip_settings set;

    if (n && (n->rooted || n->answered) && r->status >= 400 &&
        !apr_table_get(r->err_headers_out, "Access-Control-Allow-Origin")) {
        iip_settings_effective(&set, iipd_settings(r));
        iipd_cors(&set, r, r->err_headers_out);
    }
}

void iipd_answering(request_rec *r)
{
    note_of(r, 1)->answered = 1;
}

int iipd_counted(request_rec *r, int mark)
{
    note *n = note_of(r, mark);

    if (mark)
        n->counted = 1;
    return n && n->counted;
}

int iipd_decline(request_rec *r)
{
    const note *n = note_of(r, 0);

    r->handler = n && n->handler ? n->handler : r->content_type ? r->content_type : "default-handler";
    return DECLINED;
}

/* ---- the path as the client wrote it ---- */

static int hex(char c)
{
    return apr_isdigit(c) ? c - '0' : (c | 32) - 'a' + 10;
}

/* Where in raw the first n octets of its decoded form `plain` end; NULL if it is not that. keep: an encoded slash stays
 * as it is written (AllowEncodedSlashes NoDecode). */
static const char *follow(const char *raw, const char *plain, size_t n, int keep)
{
    for (const char *end = plain + n; plain < end; plain++) {
        char c = *raw++;

        if (c == '%' && apr_isxdigit(raw[0]) && apr_isxdigit(raw[1])) {
            char d = (char)(hex(raw[0]) << 4 | hex(raw[1]));

            if (d != '/' || !keep) {
                c = d;
                raw += 2;
            }
        }
        if (c != *plain)
            return NULL;
    }
    return raw;
}

/* The path of the request, normalised, not decoded. r->uri alone cannot tell %2F from %252F; but when a module has
 * rewritten it, it alone is what is meant. *keep: how it follows r->uri. */
static const char *raw_path(request_rec *r, int *keep)
{
    const char *u = r->unparsed_uri, *end;
    const note *nt = note_of(r, 0);
    size_t n = strlen(r->uri);
    char *raw;

    *keep = 0;
    if (nt && nt->encoded) {
        *keep = 1;
        return r->uri;
    }
    if (u && !strncmp(u, r->uri, n) && (!u[n] || u[n] == '?') && !memchr(r->uri, '%', n))
        return r->uri;
    if (u && *u != '/') {
        u = strstr(u, "://");
        u = u ? strchr(u + 3, '/') : NULL;
    }
    if (u) {
        raw = apr_pstrmemdup(r->pool, u, strcspn(u, "?#"));
        if (ap_normalize_path(raw, AP_NORMALIZE_MERGE_SLASHES | AP_NORMALIZE_DECODE_UNRESERVED))
            for (*keep = 0; *keep < 2; ++*keep)
                if ((end = follow(raw, r->uri, n, *keep)) && !*end)
                    return raw;
    }
    *keep = 0;
    return ap_os_escape_path(r->pool, r->uri, 1);
}

/* ---- looking up by httpd's own rules ---- */

/* Asked as if nobody had logged in, for a known user is never asked again. */
int iipd_had_to_log_in(request_rec *r)
{
    char *user = r->user;
    int asked;

    if (!user)
        return 0;
    r->user = NULL;
    asked = ap_some_authn_required(r);
    r->user = user;
    return asked;
}

/* Where another handler has the word, nothing of ours is found (a file may have one of our handlers and its tiles
 * another: a folder can have several protocols). A name in a query may also be that of a plain file. */
static int is_shown(const iipd_request *q, const request_rec *found)
{
    if (!found->handler)
        return q->in.named;
    return q->set.root ? strcmp(found->handler, q->r->handler) == 0 : iip_protocol_find(found->handler) != NULL;
}

/* What httpd says to a GET of this (encoded) path. OK: *sub, whose place's settings now hold; else the status that is
 * the answer, with what belongs to it. A mapped folder is never ours, even where mod_dir would redirect to it (R4a).
 * The sub-request lives as long as r: settings out of a .htaccess lie in its pool. */
static int look_up(iipd_request *q, const char *path, request_rec **sub)
{
    request_rec *r = q->r, *found;
    const iip_root *root = q->set.root;
    const char *place;

    found = *sub = ap_sub_req_method_uri(iipd_is_purge(r) ? r->method : "GET", path, r, NULL);
    if (!root && found->finfo.filetype == APR_DIR)
        return DECLINED;
    if (found->status != HTTP_OK) {
        r->err_headers_out = apr_table_overlay(r->pool, r->err_headers_out, found->err_headers_out);
        if ((place = apr_table_get(found->headers_out, "Location")))
            apr_table_setn(r->err_headers_out, "Location", place);
        return found->status;
    }
    if (!is_shown(q, found))
        return HTTP_NOT_FOUND;
    iip_settings_effective(&q->set, iipd_settings(found));
    iip_settings_limits(&q->lim, &q->set);
    q->set.root = root;
    q->personal |= iipd_had_to_log_in(found);
    if (found->user) {
        r->user = found->user;
        r->ap_auth_type = found->ap_auth_type;
    }
    return OK;
}

/* A path of ours with the name of a file in place of one of its pages. */
static const char *path_of_file(const char *folder, const char *file, const char *tail, apr_pool_t *p)
{
    const char *name = iip_path_encode(file, p);

    return apr_pstrcat(p, folder, "/", iip_path_slashes(name, strlen(name), p), tail, NULL);
}

/* <Location "/i/private.tif"> did not see /i/private.tif;2 */
int iipd_look_up_page(iipd_request *q, const char *file)
{
    request_rec *sub;
    int keep;
    const char *raw = raw_path(q->r, &keep);

    return look_up(q, path_of_file(q->set.root->prefix, file, raw + strlen(raw) - q->proto->tail(raw), q->r->pool),
                   &sub);
}

/* ---- names in a query ---- */

/* A query may be another protocol's whole request. */
static int become(iipd_request *q)
{
    const iip_protocol *other = q->proto->become ? q->proto->become(&q->in, q->r->pool) : NULL;

    if (other)
        q->proto = other;
    return other != NULL;
}

/* The site's own file of that name, as httpd allows it. */
static int look_up_name(iipd_request *q, const char *name, request_rec **sub)
{
    return look_up(q, path_of_file("", name, "", q->r->pool), sub);
}

/* No root: the name in the query is one of the site, looked up by httpd's own rules. */
static int resolve_named(iipd_request *q)
{
    apr_pool_t *p = q->r->pool;
    const char *suffix = q->set.suffix ? q->set.suffix : "", *name;
    request_rec *sub = NULL;
    int rc;

    if ((q->proto->parse(&q->in, &q->rq, &q->want, p, &q->e) != IIP_OK && !iipd_purges(q)) || q->want == IIP_WANT_TEXT)
        return OK;
    name = q->rq.name;
    for (int i = 0; name && iip_path_good(name) && i < 2; i++) {
        rc = look_up_name(q, apr_pstrcat(p, name, suffix, NULL), &sub);
        if (rc != OK && rc != DECLINED && rc != HTTP_NOT_FOUND)
            return rc;
        if (rc == OK && (sub->finfo.filetype == APR_REG || sub->finfo.filetype == APR_NOFILE) &&
            (!sub->path_info || !*sub->path_info)) {
            q->file = sub->filename;
            q->stem = apr_pstrmemdup(p, q->file, strlen(q->file) - strlen(suffix));
            if (sub->finfo.filetype == APR_REG)
                return OK;
        }
        name = q->proto->page ? q->proto->page(&q->in, &q->rq, name, p) : NULL; /* R51 */
    }
    if (!q->file)
        iip_refuse(&q->e, IIP_E_NOT_FOUND, NULL);
    return OK;
}

iip_status iipd_source(const iipd_request *q, iip_source_t **s, const iip_root *root, const char *name, apr_pool_t *p,
                       iip_error *e)
{
    const core_dir_config *core = ap_get_core_module_config(q->r->per_dir_config);
    iip_status rv = iip_source_file(s, root, name, p, e);

    if (rv == IIP_OK)
        (*s)->copied = (core->etag_bits & ETAG_ALL) == (ETAG_MTIME | ETAG_SIZE);
    return rv;
}

iip_status iipd_open_view(void *ctx, const char *name, iip_source_t **s, iip_error *e)
{
    iipd_request *q = ctx;
    const size_t n = q->stem ? strlen(q->stem) : 0;
    request_rec *sub;

    if (q->set.root)
        return iipd_source(q, s, q->set.root, name, q->r->pool, e);
    if (!n || strncmp(name, q->stem, n) != 0 ||
        look_up_name(q, apr_pstrcat(q->r->pool, q->rq.name, name + n, NULL), &sub) != OK ||
        sub->finfo.filetype != APR_REG)
        return iip_refuse(e, IIP_E_NOT_FOUND, NULL);
    return iipd_source(q, s, NULL, sub->filename, q->r->pool, e);
}

iip_status iipd_watermark(iipd_request *q)
{
    const iip_watermark *mark = q->set.watermark;
    iip_error why = {.detail = "httpd would not send it"};
    request_rec *sub;

    if (!mark || !mark->path)
        return IIP_OK;
    sub = ap_sub_req_lookup_uri(mark->path, q->r, NULL);
    if (sub->status == HTTP_OK && sub->finfo.filetype == APR_REG &&
        iipd_source(q, &q->rq.watermark, NULL, sub->filename, q->r->pool, &why) == IIP_OK)
        return IIP_OK;
    q->rq.watermark = NULL;
    return iip_fail(&q->e, IIP_E_IO, why.apr, "IIPWatermark %s: %s", mark->path, why.detail);
}

static int is_dot_file(const char *path)
{
    const char *slash = strrchr(path, '/');

    return (slash ? slash[1] : *path) == '.';
}

/* What of the path the client wrote, octet for octet, follows the prefix; NULL: it was rewritten, or lies otherwise. */
static const char *written(request_rec *r, const char *raw, const char *prefix)
{
    const size_t n = strlen(prefix);
    const char *u = r->unparsed_uri;
    char *path, *plain;

    if (u && *u != '/') {
        u = strstr(u, "://");
        u = u ? strchr(u + 3, '/') : NULL;
    }
    if (!u || strncmp(u, prefix, n))
        return NULL;
    path = apr_pstrmemdup(r->pool, u, strcspn(u, "?#"));
    plain = apr_pstrdup(r->pool, path);
    return ap_normalize_path(plain, AP_NORMALIZE_MERGE_SLASHES | AP_NORMALIZE_DECODE_UNRESERVED) &&
                   strcmp(plain, raw) == 0
               ? path + n
               : NULL;
}

int iipd_look_up_below(iipd_request *q, const char *folder, const char *name, const char **file)
{
    apr_pool_t *p = q->r->pool;
    request_rec *sub;
    int rc;

    *file = NULL;
    if (!iip_path_good(name))
        return OK;
    rc = look_up(q, path_of_file(iip_path_slashes(folder, strlen(folder), p), name, "", p), &sub);
    if (rc == OK && sub->finfo.filetype == APR_REG && (!sub->path_info || !*sub->path_info) &&
        !is_dot_file(sub->filename))
        *file = sub->filename;
    return rc;
}

/* ---- the two ways ---- */

static int resolve_rooted(iipd_request *q)
{
    const iip_root *root = q->set.root;
    const note *nt = note_of(q->r, 0);
    const char *raw, *path;
    request_rec *sub;
    int keep, rc;

    raw = raw_path(q->r, &keep);
    path = follow(raw, root->prefix, strlen(root->prefix), 1);
    q->in.path = !path || !*path ? "/" : path;
    q->in.base_url = iipd_base_url(q, root->prefix);
    q->in.now = q->r->request_time;
    q->in.written = q->proto->thumbs ? written(q->r, raw, root->prefix) : NULL;
    if (!path || *q->in.path != '/') {
        iip_refuse(&q->e, IIP_E_NOT_FOUND, NULL);
        return OK;
    }
    become(q);
    if (q->proto->parse(&q->in, &q->rq, &q->want, q->r->pool, &q->e) != IIP_OK &&
        ((q->want != IIP_WANT_BARE && !iipd_purges(q)) || !q->rq.name))
        return OK;
    if (!q->rq.name || !iip_path_good(q->rq.name)) {
        if (q->e.status == IIP_OK && q->want != IIP_WANT_TEXT)
            iip_refuse(&q->e, IIP_E_NOT_FOUND, NULL);
        return OK;
    }
    /* <Location "/i/private"> did not see /i/private%2Fx.tif: ask once more with plain slashes */
    if (nt && nt->encoded && (rc = look_up(q, iip_path_slashes(raw, strlen(raw), q->r->pool), &sub)) != OK)
        return rc;
    q->file = q->rq.name;
    return OK;
}

static int resolve_mapped(iipd_request *q)
{
    request_rec *r = q->r, *sub;
    const char *raw, *tail, *name, *folder, *path;
    size_t n;
    int keep, rc;

    if (!r->filename || r->finfo.filetype == APR_DIR)
        return DECLINED;
    raw = raw_path(r, &keep);
    n = strlen(raw);
    if (r->finfo.filetype == APR_REG) {
        size_t info = r->path_info ? strlen(r->path_info) : 0, all = strlen(r->uri);

        q->file = r->filename;
        tail = info <= all ? follow(raw, r->uri, all - info, keep) : NULL;
        if (!tail || is_dot_file(q->file))
            return DECLINED;
    } else {
        tail = raw + n - q->proto->tail(raw);
        if (tail == raw + n || tail == raw)
            return DECLINED;
    }
    for (name = tail; name > raw && name[-1] != '/'; name--)
        ;
    q->in.ident = iip_path_decode(name, (size_t)(tail - name), r->pool);
    if (!q->in.ident || !*q->in.ident || *q->in.ident == '.')
        return DECLINED;
    folder = apr_pstrmemdup(r->pool, raw, name > raw ? (size_t)(name - raw) - 1 : 0);
    path = iip_path_slashes(raw, (size_t)(tail - raw), r->pool);
    for (int i = 0; path && !q->file && i < 2; i++) {
        if ((rc = look_up(q, path, &sub)) != OK)
            return rc;
        if (sub->finfo.filetype == APR_REG && (!sub->path_info || !*sub->path_info) && !is_dot_file(sub->filename))
            q->file = sub->filename;
        else if ((path = q->proto->page ? q->proto->page(&q->in, &q->rq, q->in.ident, r->pool) : NULL)) /* R12, R51 */
            path = path_of_file(iip_path_slashes(folder, strlen(folder), r->pool), path, "", r->pool);
    }
    q->in.mapped = 1;
    q->in.path = tail;
    q->in.base_url = iipd_base_url(q, folder);
    if (q->proto->parse(&q->in, &q->rq, &q->want, r->pool, &q->e) == IIP_OK && !q->file)
        iip_refuse(&q->e, IIP_E_NOT_FOUND, NULL);
    return OK;
}

/* A form sent to what is neither a picture nor nothing is for whoever answers there. */
static int may_read_form(const iipd_request *q)
{
    request_rec *r = q->r;
    unsigned char head[IIP_SNIFF];
    iip_source_t *s;
    iip_error e;
    size_t n;

    if (!r->filename || r->finfo.filetype == APR_DIR || r->finfo.filetype == APR_NOFILE)
        return 1;
    if (iipd_source(q, &s, NULL, r->filename, r->pool, &e) != IIP_OK)
        return 0;
    n = s->id.size < IIP_SNIFF ? (size_t)s->id.size : IIP_SNIFF;
    return s->read(s, head, n, 0, &e) == IIP_OK && iip_decoder_find(head, n);
}

int iipd_resolve(iipd_request *q)
{
    request_rec *r = q->r;
    int keep;

    q->personal = iipd_had_to_log_in(r);
    q->in.set = &q->set;
    if (!q->set.root && iipd_is_form(q) && !may_read_form(q))
        return DECLINED;
    if (!q->in.query && iipd_read_query(q) != IIP_OK)
        return OK;
    q->in.accept = apr_table_get(r->headers_in, "Accept");
    q->in.id = iipd_given_id(q);
    if (q->set.root)
        return resolve_rooted(q);
    if (q->in.query) {
        const char *raw = raw_path(r, &keep);
        size_t n = strlen(raw);

        q->in.path = "/";
        q->in.base_url = iipd_base_url(q, apr_pstrmemdup(r->pool, raw, n - (n && raw[n - 1] == '/')));
        q->in.named = become(q) || (q->proto->names && q->proto->names(&q->in));
    }
    return q->in.named ? resolve_named(q) : resolve_mapped(q);
}
