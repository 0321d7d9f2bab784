/* SPDX-License-Identifier: Apache-2.0
 * The Internet Imaging Protocol: a query of commands, NAME=value&NAME=value, that act in their order (spec/iip.md
 * section 2). Those that change an answer are rows of iip_modify.c, those that send one are rows here. Nothing behind
 * the first that sends a picture counts. */
#include "iip.h"
#include "path.h"
#include "settings.h"
#include <apr_strings.h>
#include <string.h>
#include <strings.h>

#define ROWS(a)       (sizeof(a) / sizeof *(a))
#define MOST_COMMANDS 64
#define MOST_OBJECTS  64
#define MOST_SHOWN    200 /* octets of an offender */

/* ---- errors ---- */

iip_status iip_refuse_iip(iip_error *e, iip_status s, const char *code, const char *offender, apr_pool_t *p)
{
    return iip_refuse(e, s, apr_pstrcat(p, code, " ", offender, NULL));
}

/* ---- a command ---- */

/* As it lies in the query. */
typedef struct {
    const char *name, *value; /* value NULL: there was no "=" */
    size_t name_length, value_length;
} part;

/* The next part that means something; NULL at the end. */
static const char *next_part(const char *s, part *c)
{
    while (*s) {
        size_t n = strcspn(s, "&"), name = 0;
        const char *at = s;

        while (name < n && at[name] != '=')
            name++;
        s += n + (at[n] == '&');
        if (n == 0 || name + 1 == n)
            continue; /* nothing, or no value */
        c->name = at;
        c->name_length = name;
        c->value = name < n ? at + name + 1 : NULL;
        c->value_length = name < n ? n - name - 1 : 0;
        return s;
    }
    return NULL;
}

static int is_named(const part *c, const char *name)
{
    return strlen(name) == c->name_length && strncasecmp(c->name, name, c->name_length) == 0;
}

/* Decoded once; a part without "=" has its name for value. A blank may be a plus where forms send numbers. NULL: a bad
 * escape, or a NUL. */
static const char *value_of(const part *c, apr_pool_t *p)
{
    const char *raw = c->value ? c->value : c->name;
    size_t n = c->value ? c->value_length : c->name_length;
    char *text = apr_pstrmemdup(p, raw, n);

    if (is_named(c, "CTW") || is_named(c, "CNV"))
        for (char *s = text; *s; s++)
            if (*s == '+')
                *s = ' ';
    return iip_path_decode(text, n, p);
}

/* ---- FIF ---- */

/* The name as a file of the root, or of the site. One slash in front is cut off; a root's own path before that, where
 * it may be written. NULL: no name to look for. */
static const char *read_name(const iip_input *in, const char *name)
{
    const iip_root *root = in->set->root;

    if (root && root->absolute)
        name = iip_path_below(root->path, name);
    name += *name == '/';
    return iip_path_good(name) ? name : NULL;
}

/* ---- what sends ---- */

typedef struct {
    iip_reading c;
    iip_want *want;
    const char *refused; /* a FIF whose name is none */
    const char *unknown; /* the first command nobody knows */
    const char **object;
    unsigned char *lying;
    int objects, known;
    int used; /* the picture was, another FIF comes too late */
} reader;

static iip_status wrong(reader *r)
{
    return iip_refuse_iip(r->c.e, IIP_E_SYNTAX, "2 1", r->c.offender, r->c.p);
}

/* The picture is wanted now. */
static iip_status need_image(reader *r)
{
    r->used = 1;
    if (r->refused)
        return iip_refuse_iip(r->c.e, IIP_E_NOT_FOUND, "1 3", r->refused, r->c.p);
    if (!r->c.image)
        return iip_refuse_iip(r->c.e, IIP_E_SYNTAX, "1 3", r->c.offender, r->c.p);
    return IIP_OK;
}

/* Numbers as a pattern says: "#" is one (stored where v points), all else is itself; "?" ends it if there is no more.
 */
static int read_numbers(const char *s, const char *pattern, int64_t *const *v)
{
    for (; *pattern; pattern++) {
        if (*pattern == '?') {
            if (!*s)
                return 1;
        } else if (*pattern == '#') {
            if (!iip_read_count(&s, *v++))
                return 0;
        } else if (*s++ != *pattern) {
            return 0;
        }
    }
    return *s == '\0';
}

static iip_status send_format(reader *r, iip_format format, iip_ask ask)
{
    iip_asked *a = r->c.a;

    a->ask = ask;
    r->c.rq->format = format;
    *r->want = IIP_WANT_IMAGE;
    if (!iip_encoder_find(format))
        return iip_refuse_iip(r->c.e, IIP_E_FEATURE, "2 1", r->c.offender, r->c.p);
    iip_modify_quality(&r->c);
    return IIP_OK;
}

static iip_status do_tile(reader *r, const char *s, int format)
{
    iip_asked *a = r->c.a;

    if (!read_numbers(s, "#,#", (int64_t *[]){&a->resolution, &a->tile}))
        return wrong(r);
    return send_format(r, (iip_format)format, IIP_ASK_TILE);
}

/* x,r,n,y is SDS=x,y then r,n */
static iip_status do_jtls(reader *r, const char *s, int format)
{
    iip_asked *a = r->c.a;
    int64_t h, v;

    if (!read_numbers(s, "#,#,#,#", (int64_t *[]){&h, &a->resolution, &a->tile, &v}))
        return wrong(r);
    r->c.rq->angle_h = (int)(h < IIP_MAX_SIDE ? h : IIP_MAX_SIDE);
    r->c.rq->angle_v = (int)(v < IIP_MAX_SIDE ? v : IIP_MAX_SIDE);
    return send_format(r, (iip_format)format, IIP_ASK_TILE);
}

static iip_status do_til(reader *r, const char *s, int format)
{
    iip_asked *a = r->c.a;
    iip_status rv;

    a->last = -1;
    if (!read_numbers(s, "#,#?-#", (int64_t *[]){&a->resolution, &a->tile, &a->last}))
        return wrong(r);
    a->last = a->last < 0 ? a->tile : a->last;
    rv = send_format(r, (iip_format)format, IIP_ASK_TILES);
    *r->want = IIP_WANT_DATA;
    return rv;
}

/* What is no format is JPEG: old pages rely on it. */
static iip_status do_cvt(reader *r, const char *s, int format)
{
    static const struct {
        const char *name;
        iip_format format;
    } formats[] = {{"png", IIP_FMT_PNG},
                   {"webp", IIP_FMT_WEBP},
                   {"avif", IIP_FMT_AVIF},
                   {"tiff", IIP_FMT_TIFF},
                   {"tif", IIP_FMT_TIFF}};

    for (size_t i = 0; i < ROWS(formats); i++)
        if (!strcasecmp(s, formats[i].name))
            format = (int)formats[i].format;
    r->c.rq->download |= r->c.in->form;
    return send_format(r, (iip_format)format, IIP_ASK_VIEW);
}

static iip_status do_spectra(reader *r, const char *s, int format)
{
    iip_asked *a = r->c.a;

    if (!read_numbers(s, "#,#,#,#", (int64_t *[]){&a->resolution, &a->tile, &a->x, &a->y}))
        return wrong(r);
    a->ask = IIP_ASK_POINT;
    *r->want = IIP_WANT_DATA;
    return IIP_OK;
}

static iip_status do_pfl(reader *r, const char *s, int format)
{
    iip_asked *a = r->c.a;

    a->x2 = a->y2 = -1;
    if (!read_numbers(s, "#:#,#?-#,#", (int64_t *[]){&a->resolution, &a->x, &a->y, &a->x2, &a->y2}))
        return wrong(r);
    a->ask = IIP_ASK_PROFILE;
    *r->want = IIP_WANT_DATA;
    return IIP_OK;
}

static const struct {
    const char *name;
    iip_status (*run)(reader *r, const char *value, int format);
    int format;
} senders[] = {
    {"JTL", do_tile, IIP_FMT_JPEG}, {"PTL", do_tile, IIP_FMT_PNG},
    {"WTL", do_tile, IIP_FMT_WEBP}, {"ATL", do_tile, IIP_FMT_AVIF},
    {"TTL", do_tile, IIP_FMT_TIFF}, {"JTLS", do_jtls, IIP_FMT_JPEG},
    {"TIL", do_til, IIP_FMT_JPEG},  {"CVT", do_cvt, IIP_FMT_JPEG},
    {"SPECTRA", do_spectra, 0},     {"PFL", do_pfl, 0},
};

static int find_sender(const part *c)
{
    int i = (int)ROWS(senders);

    while (i-- > 0 && !is_named(c, senders[i].name))
        ;
    return i;
}

static iip_status add_object(reader *r, const char *name)
{
    if (r->objects == MOST_OBJECTS)
        return iip_refuse_iip(r->c.e, IIP_E_LIMIT, "2 1", r->c.offender, r->c.p);
    if (!r->object) {
        r->object = apr_pcalloc(r->c.p, (MOST_OBJECTS + 1) * sizeof *r->object);
        r->lying = apr_pcalloc(r->c.p, MOST_OBJECTS);
    }
    r->lying[r->objects] = r->c.rq->rotate == 90 || r->c.rq->rotate == 270;
    r->object[r->objects++] = name;
    r->used |= iip_object_needs_image(name);
    return IIP_OK;
}

/* One command. *sent: nothing behind it counts. */
static iip_status run(reader *r, const part *c, int *sent)
{
    const char *shown = c->value ? c->value + c->value_length : c->name + c->name_length;
    const char *value = value_of(c, r->c.p);
    const int sender = find_sender(c);
    iip_command_fn *modifier;
    iip_status rv;

    r->c.offender = apr_pstrmemdup(r->c.p, c->name, (size_t)(shown - c->name));
    modifier = iip_modifier_find(c->name, c->name_length);
    r->known |= modifier || sender >= 0 || is_named(c, "FIF") || is_named(c, "OBJ");
    if (is_named(c, "FIF")) {
        if (r->used)
            return IIP_OK;
        r->c.rq->name = value ? read_name(r->c.in, value) : NULL;
        r->refused = r->c.rq->name ? NULL : value ? value : r->c.offender;
        r->c.image = 1;
        return IIP_OK;
    }
    if (!value)
        return wrong(r);
    if (is_named(c, "OBJ"))
        return add_object(r, value);
    if (sender >= 0) {
        *sent = 1;
        r->c.a->sender = r->c.offender;
        if ((rv = need_image(r)) != IIP_OK)
            return rv;
        return senders[sender].run(r, value, senders[sender].format);
    }
    if (modifier)
        return modifier(&r->c, value);
    if (!r->unknown)
        r->unknown = apr_pstrmemdup(r->c.p, c->name, c->name_length);
    return IIP_OK;
}

/* Objects, when nothing else was sent: with the picture if one of them tells of it. */
static iip_status ask_objects(reader *r)
{
    const char *known = NULL, *of_image = NULL;

    for (int i = 0; i < r->objects; i++) {
        if (!iip_object_known(r->object[i]))
            continue;
        known = r->object[i];
        if (iip_object_needs_image(known))
            of_image = known;
    }
    if (!known)
        return iip_refuse_iip(r->c.e, IIP_E_SYNTAX, "3 2", r->object[0], r->c.p);
    r->c.a->ask = IIP_ASK_OBJECTS;
    r->c.a->object = r->object;
    r->c.a->lying = r->lying;
    *r->want = IIP_WANT_DATA;
    if (r->refused)
        return iip_refuse_iip(r->c.e, IIP_E_NOT_FOUND, "1 3", r->refused, r->c.p);
    if (r->c.image && (of_image || !r->c.in->mapped))
        return IIP_OK;
    *r->want = IIP_WANT_TEXT;
    for (int i = 0; i < r->objects; i++)
        if (iip_object_known(r->object[i]) && !iip_object_needs_image(r->object[i]))
            return IIP_OK;
    return iip_refuse_iip(r->c.e, IIP_E_SYNTAX, "1 3", of_image, r->c.p);
}

/* The commands of a text. *sent: one of them sent. */
static iip_status run_all(reader *r, const char *s, int *sent)
{
    iip_status rv;
    part c;

    for (int n = 0; !*sent && (s = next_part(s, &c));) {
        if (++n > MOST_COMMANDS)
            return iip_refuse_iip(r->c.e, IIP_E_LIMIT, "2 1", "too many commands", r->c.p);
        if ((rv = run(r, &c, sent)) != IIP_OK)
            return rv;
    }
    return IIP_OK;
}

static int is_empty(const char *s)
{
    return !s || strspn(s, "&") == strlen(s);
}

static iip_status iip_parse(const iip_input *in, iip_request *rq, iip_want *want, apr_pool_t *p, iip_error *e)
{
    reader r = {.c = {.in = in, .rq = rq, .p = p, .e = e, .image = in->mapped}, .want = want};
    const char *path = in->mapped ? "" : in->path + (*in->path == '/'), *query = in->query ? in->query : "";
    iip_status rv = IIP_OK;
    int sent = 0;

    *want = IIP_WANT_TEXT;
    rq->asked = r.c.a = apr_pcalloc(p, sizeof *r.c.a);
    if (!*path && is_empty(in->query) && !in->mapped)
        return IIP_OK;
    if (*path) /* "/a.tif&WID=300&CVT=jpeg" */
        rv = run_all(&r, apr_pstrcat(p, "FIF=", path, NULL), &sent);
    if (rv == IIP_OK)
        rv = run_all(&r, query, &sent);
    rq->ignored = r.unknown;
    if (rv != IIP_OK || sent)
        return rv;
    if (r.objects)
        return ask_objects(&r);
    if (in->mapped && !r.known) { /* the file, and a query that is not for us */
        *want = IIP_WANT_BARE;
        return IIP_OK;
    }
    if (r.unknown)
        return iip_refuse_iip(e, IIP_E_SYNTAX, "2 2", r.unknown, p);
    return iip_refuse_iip(e, IIP_E_SYNTAX, "2 1", r.c.offender ? r.c.offender : query, p);
}

iip_status iip_commands_before(const iip_input *in, iip_request *rq, apr_pool_t *p, iip_error *e)
{
    iip_asked a = {0};
    iip_reading c = {.in = in, .rq = rq, .a = &a, .image = 1, .p = p, .e = e};
    const char *s = in->before, *value;
    iip_command_fn *modifier;
    iip_status rv;
    part one;

    for (int n = 0; s && (s = next_part(s, &one)) && n < MOST_COMMANDS; n++) {
        if (!(modifier = iip_modifier_find(one.name, one.name_length)))
            continue;
        c.offender = apr_pstrmemdup(p, one.name, one.name_length);
        value = value_of(&one, p);
        rv = value ? modifier(&c, value) : IIP_E_SYNTAX;
        if (rv != IIP_OK) /* as the other protocol says it */
            return iip_refuse(e, rv, c.offender);
    }
    iip_modify_quality(&c);
    return IIP_OK;
}

/* ---- other protocols in a query ---- */

/* The path of a tile or description; without the "?t=17" that viewers put behind it to pass by caches. */
static const char *path_of_tile(const iip_protocol *other, const part *c, apr_pool_t *p)
{
    const char *path = iip_path_slashes(c->value, c->value_length, p), *mark = strrchr(path, '?'), *bare;

    if (!mark || other->tail(path))
        return path;
    bare = apr_pstrmemdup(p, path, (size_t)(mark - path));
    return other->tail(bare) ? bare : path;
}

/* Only an identifier of IIIF tells an encoded slash from a plain one. */
static const iip_protocol *iip_become(iip_input *in, apr_pool_t *p)
{
    static const struct {
        const char *name, *handler;
        int encoded;
    } rows[] = {{"IIIF", "iiif-handler", 1}, {"DeepZoom", "deepzoom-handler", 0}, {"Zoomify", "zoomify-handler", 0}};
    const char *s = in->query ? in->query : "", *path;
    const iip_protocol *other;
    part c;

    while ((s = next_part(s, &c)) && find_sender(&c) < 0)
        for (size_t i = 0; i < ROWS(rows); i++) {
            if (!c.value || !is_named(&c, rows[i].name) || !(other = iip_protocol_find(rows[i].handler)))
                continue;
            path = rows[i].encoded ? apr_pstrmemdup(p, c.value, c.value_length) : path_of_tile(other, &c, p);
            in->path = apr_pstrcat(p, *path == '/' ? "" : "/", path, NULL);
            in->before = apr_pstrmemdup(p, in->query, (size_t)(c.name - in->query));
            in->base_url = apr_pstrcat(p, in->base_url, "?", rows[i].name, "=", NULL);
            in->query = NULL;
            return other;
        }
    return NULL;
}

static int iip_names(const iip_input *in)
{
    const char *s = in->query ? in->query : "";
    part c;

    while ((s = next_part(s, &c)))
        if (is_named(&c, "FIF"))
            return 1;
    return 0;
}

/* ---- answers ---- */

static iip_status iip_compose(const iip_input *in, const iip_request *rq, const iip_info *info, iip_views *views,
                              iip_text *out, apr_pool_t *p, iip_error *e)
{
    static const char hello[] = "mod_iip " IIP_VERSION ": Internet Imaging Protocol\n"
                                "FIF=image&WID=500&CVT=jpeg sends a view, FIF=image&OBJ=basic-info tells of it.\n";
    const iip_asked *a = rq->asked;

    switch (a->ask) {
    case IIP_ASK_OBJECTS:
        return iip_compose_objects(in, rq, info, views, out, p, e);
    case IIP_ASK_POINT:
        return iip_compose_point(rq, info, views, out, p, e);
    case IIP_ASK_PROFILE:
        return iip_compose_profile(rq, info, views, out, p, e);
    case IIP_ASK_TILES:
        return iip_compose_tiles(rq, info, views, out, p, e);
    default:
        out->mime = "text/plain; charset=utf-8";
        iip_text_put(out, hello, strlen(hello));
        return out->status;
    }
}

/* The last name that was asked for, as it was written. */
static const char *asked_name(const iip_input *in, apr_pool_t *p)
{
    const char *s = in->query ? in->query : "", *name = "", *value;
    part c;

    while ((s = next_part(s, &c)))
        if (is_named(&c, "FIF") && (value = value_of(&c, p)))
            name = value;
    return *name ? name : in->path;
}

/* Error/N:C A. Pictures that are missing, refused or damaged are told of by the name the client sent. */
const char *iip_iip_complain(const iip_input *in, const iip_error *e, const char **mime, apr_pool_t *p)
{
    const int image = e->status == IIP_E_NOT_FOUND || e->status == IIP_E_FORBIDDEN || e->status == IIP_E_FORMAT ||
                      e->status == IIP_E_CORRUPT;
    const char *text = e->part;
    char *shown;
    size_t n;

    if (!text || text[0] < '0' || text[0] > '9')
        text = apr_pstrcat(p, image ? "1 3 " : "2 1 ", image ? asked_name(in, p) : iip_status_text(e->status), NULL);
    n = strlen(text) < 4 + MOST_SHOWN ? strlen(text) : 4 + MOST_SHOWN;
    shown = apr_pstrmemdup(p, text, n);
    for (char *s = shown; *s; s++)
        if ((unsigned char)*s < 0x20 || *s == 0x7f)
            *s = '?';
    *mime = "application/vnd.netfpx";
    return apr_psprintf(p, "Error/%" APR_SIZE_T_FMT ":%s\r\n", n, shown);
}

/* mapped: all that is behind the file is in the query. */
static size_t iip_tail(const char *path)
{
    return 0;
}

extern const iip_protocol iip_protocol_iip;
const iip_protocol iip_protocol_iip = {
    .handler = "iip-handler",
    .methods = "GET, HEAD, POST, OPTIONS",
    .posts = 1,
    .parse = iip_parse,
    .become = iip_become,
    .names = iip_names,
    .place = iip_iip_place,
    .compose = iip_compose,
    .complain = iip_iip_complain,
    .tail = iip_tail,
};
