/* SPDX-License-Identifier: Apache-2.0
 * The fields of a JPIP request: split, decoded once, each read by the function of its row in the table. */
#include "jpip/query.h"
#include "jpip/items.h"
#include "path.h"
#include <string.h>
#include <apr_strings.h>
#include <apr_tables.h>

#define NUMBER JPIP_NUMBER_MAX

/* ---- words and numbers ---- */

static int is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* Digits up to 2^31-1 at *s. */
static int digits(const char **s, int64_t *v)
{
    const char *t = *s;

    for (*v = 0; is_digit(*t); t++)
        if ((*v = *v * 10 + (*t - '0')) > NUMBER)
            return 0;
    if (t == *s)
        return 0;
    *s = t;
    return 1;
}

static int integer(const char **s, int64_t *v)
{
    int minus = **s == '-';

    *s += minus;
    if (!digits(s, v))
        return 0;
    if (minus)
        *v = -*v;
    return 1;
}

static int comma(const char **s)
{
    return **s == ',' ? ++*s, 1 : 0;
}

/* The next word of a list, at most n - 1 bytes of it; 0 when nothing is left. */
static int word(const char **s, const char *ends, char *out, size_t n)
{
    size_t len = strcspn(*s, ends);

    if (!**s)
        return 0;
    apr_cpystrn(out, *s, len + 1 < n ? len + 1 : n);
    *s += len;
    return 1;
}

int jpip_range_read(const char **s, int steps, jpip_range *r)
{
    *r = (jpip_range){0, NUMBER, 1, 0};
    if (**s == '*') {
        ++*s;
    } else {
        if (!digits(s, &r->a))
            return 0;
        r->b = r->a;
        if (**s == '-') {
            r->b = NUMBER;
            if (is_digit(*++*s) && (!digits(s, &r->b) || r->b < r->a))
                return 0;
        } else {
            r->colon = 1;
        }
    }
    if (steps && **s == ':')
        ++*s;
    else {
        r->colon = 0;
        return 1;
    }
    return digits(s, &r->step) && (r->step > 0 || r->colon);
}

int jpip_ranges_have(const jpip_ranges *r, int64_t v)
{
    for (int i = 0; i < r->n; i++)
        if (v >= r->at[i].a && v <= r->at[i].b && (v - r->at[i].a) % r->at[i].step == 0)
            return 1;
    return 0;
}

/* ---- the fields ---- */

typedef struct {
    jpip_query *q;
    apr_pool_t *p;
    iip_status status; /* of what is wrong, if not IIP_E_SYNTAX */
} parser;

static int list(parser *ps, const char *s, int steps, jpip_ranges *out)
{
    apr_array_header_t *a = apr_array_make(ps->p, 4, sizeof(jpip_range));

    do {
        jpip_range r;

        if (a->nelts == JPIP_LIST_MAX || !jpip_range_read(&s, steps, &r))
            return 0;
        if (!r.step) /* esajpip's a:0 */
            r.step = 1;
        APR_ARRAY_PUSH(a, jpip_range) = r;
    } while (comma(&s));
    *out = (jpip_ranges){(const jpip_range *)a->elts, a->nelts};
    return !*s;
}

static int one_number(const char *s, int64_t *v)
{
    return digits(&s, v) && !*s;
}

static int yes_no(const char *s, int *v)
{
    *v = !strcmp(s, "yes");
    return *v || !strcmp(s, "no");
}

static int f_target(parser *ps, const char *s)
{
    ps->q->target = s;
    return 1;
}

static int f_subtarget(parser *ps, const char *s)
{
    jpip_query *q = ps->q;

    return digits(&s, &q->sub_a) && *s++ == '-' && digits(&s, &q->sub_b) && !*s && q->sub_b >= q->sub_a;
}

static int f_tid(parser *ps, const char *s)
{
    ps->q->tid = s;
    return *s && strlen(s) <= 255;
}

static int f_cnew(parser *ps, const char *s)
{
    char w[16];

    ps->q->cnew = -1;
    while (word(&s, ",", w, sizeof w)) {
        if (!strcmp(w, "http"))
            ps->q->cnew = 1;
        comma(&s);
    }
    return 1;
}

static int f_cid(parser *ps, const char *s)
{
    ps->q->cid = s;
    return *s && strlen(s) <= 255;
}

static int f_cclose(parser *ps, const char *s)
{
    ps->q->cclose = s;
    return *s != '\0';
}

static int f_qid(parser *ps, const char *s)
{
    return one_number(s, &ps->q->qid);
}

static int f_fsiz(parser *ps, const char *s)
{
    static const char *const names[] = {"round-down", "round-up", "closest"};
    jpip_query *q = ps->q;

    if (!digits(&s, &q->fx) || !comma(&s) || !digits(&s, &q->fy))
        return 0;
    if (comma(&s)) {
        int i = 0;

        while (i < 3 && strcmp(s, names[i]))
            i++;
        if (i == 3)
            return 0;
        q->round = (jpip_round)i;
    } else if (*s) {
        return 0;
    }
    if (!q->fx || !q->fy)
        ps->status = IIP_E_RANGE;
    return q->fx && q->fy;
}

static int f_roff(parser *ps, const char *s)
{
    return integer(&s, &ps->q->ox) && comma(&s) && integer(&s, &ps->q->oy) && !*s;
}

static int f_rsiz(parser *ps, const char *s)
{
    return digits(&s, &ps->q->sx) && comma(&s) && digits(&s, &ps->q->sy) && !*s;
}

static int f_comps(parser *ps, const char *s)
{
    return list(ps, s, 0, &ps->q->comps);
}

static int f_stream(parser *ps, const char *s)
{
    return list(ps, s, 1, &ps->q->stream);
}

/* jpxl<a-b:s>[...],...; contexts of another kind mean nothing to us. */
static int f_context(parser *ps, const char *s)
{
    apr_array_header_t *a = apr_array_make(ps->p, 4, sizeof(jpip_range));

    while (*s) {
        if (!strncmp(s, "jpxl<", 5)) {
            jpip_range r;

            s += 5;
            if (a->nelts == JPIP_LIST_MAX || !jpip_range_read(&s, 1, &r) || !r.step || *s++ != '>')
                return 0;
            APR_ARRAY_PUSH(a, jpip_range) = r;
        }
        for (int depth = 0; *s && (*s != ',' || depth); s++)
            depth += *s == '[' ? 1 : *s == ']' && depth ? -1 : 0;
        comma(&s);
    }
    ps->q->context = (jpip_ranges){(const jpip_range *)a->elts, a->nelts};
    return 1;
}

static int f_layers(parser *ps, const char *s)
{
    return one_number(s, &ps->q->layers);
}

static int f_len(parser *ps, const char *s)
{
    return one_number(s, &ps->q->len);
}

static int f_quality(parser *ps, const char *s)
{
    int64_t v;

    if (!one_number(s, &v) || v > 100)
        return 0;
    ps->q->quality = (int)v;
    return 1;
}

/* A rate: whole or with a point. */
static int f_rate(parser *ps, const char *s)
{
    int64_t v;

    return digits(&s, &v) && (!*s || (*s++ == '.' && digits(&s, &v) && !*s));
}

static int f_type(parser *ps, const char *s)
{
    static const struct {
        const char *name;
        jpip_type kind;
    } known[] = {{"jpp-stream", JPIP_TYPE_JPP}, {"image/jpp-stream", JPIP_TYPE_JPP},
                 {"jpt-stream", JPIP_TYPE_JPT}, {"image/jpt-stream", JPIP_TYPE_JPT},
                 {"raw", JPIP_TYPE_RAW},        {"image/jp2", JPIP_TYPE_RAW},
                 {"image/jpx", JPIP_TYPE_RAW}};
    jpip_query *q = ps->q;
    char w[32];

    q->types = 0;
    while (word(&s, ",;", w, sizeof w)) {
        jpip_type_wish wish = {JPIP_TYPE_JPP, 0};
        size_t i = 0;

        while (i < sizeof known / sizeof *known && strcmp(w, known[i].name))
            i++;
        while (*s == ';') {
            char par[32];

            s++;
            if (!word(&s, ",;", par, sizeof par))
                return 0;
            wish.extended |= !strcmp(par, "ptype=ext") || !strcmp(par, "ttype=ext");
        }
        if (i < sizeof known / sizeof *known && q->types < JPIP_TYPES) {
            wish.kind = known[i].kind;
            q->type[q->types++] = wish;
        }
        comma(&s);
    }
    return 1;
}

/* One property of a metareq group: the box type; what says how much of it and in which order is read and ignored. */
static int property(const char **s, jpip_wanted_box *out)
{
    memset(out->type, 0, 4);
    if (**s == '*') {
        ++*s;
    } else {
        for (int i = 0; i < 4; i++, ++*s) {
            if (!**s || strchr("[];,:/!", **s))
                return 0;
            out->type[i] = (char)(**s == '_' ? ' ' : **s);
        }
    }
    for (;;) {
        int64_t v;

        if (**s == ':') {
            ++*s;
            if (**s == 'r')
                ++*s;
            else if (!digits(s, &v))
                return 0;
        } else if (**s == '/') {
            ++*s;
            if (!**s || !strchr("wsga", **s))
                return 0;
            ++*s;
        } else if (**s == '!') {
            ++*s;
        } else {
            return 1;
        }
    }
}

static int f_metareq(parser *ps, const char *s)
{
    apr_array_header_t *a = apr_array_make(ps->p, 4, sizeof(jpip_wanted_box));
    jpip_query *q = ps->q;

    do {
        jpip_wanted_box box = {{0}, 0, NUMBER};
        int first = a->nelts;

        if (*s++ != '[')
            return 0;
        for (;;) {
            if (a->nelts == JPIP_LIST_MAX || !property(&s, &box))
                return 0;
            APR_ARRAY_PUSH(a, jpip_wanted_box) = box;
            if (*s != ';')
                break;
            s++;
        }
        if (*s++ != ']')
            return 0;
        if (*s == 'R' && (s++, !digits(&s, &box.bin)))
            return 0;
        if (*s == 'D' && (s++, !digits(&s, &box.depth)))
            return 0;
        for (int i = first; i < a->nelts; i++) {
            APR_ARRAY_IDX(a, i, jpip_wanted_box).bin = box.bin;
            APR_ARRAY_IDX(a, i, jpip_wanted_box).depth = box.depth;
        }
    } while (comma(&s));
    if (!strcmp(s, "!!")) {
        q->meta_only = 1;
        s += 2;
    }
    q->meta = (const jpip_wanted_box *)a->elts;
    q->metas = a->nelts;
    return !*s;
}

static int f_model(parser *ps, const char *s)
{
    ps->q->model = s;
    return jpip_items_good(s);
}

static int f_need(parser *ps, const char *s)
{
    ps->q->need = s;
    return jpip_items_good(s);
}

static int f_tpmodel(parser *ps, const char *s)
{
    ps->q->tpmodel = s;
    return jpip_tile_parts_good(s);
}

static int f_tpneed(parser *ps, const char *s)
{
    ps->q->tpneed = s;
    return jpip_tile_parts_good(s);
}

static int f_mset(parser *ps, const char *s)
{
    return list(ps, s, 1, &ps->q->mset);
}

static int f_align(parser *ps, const char *s)
{
    return yes_no(s, &ps->q->align);
}

static int f_wait(parser *ps, const char *s)
{
    return yes_no(s, &ps->q->wait);
}

/* JPIP-pref names the required items that we do not hold to: none of them changes anything here. */
static int f_pref(parser *ps, const char *s)
{
    const char *all = NULL;

    while (*s) {
        size_t n = strcspn(s, ",");

        if (n > 2 && !strncmp(s + n - 2, "/r", 2) && n < 256) {
            const char *item = apr_pstrmemdup(ps->p, s, n);

            for (const char *c = item; *c; c++)
                if (*c <= ' ' || *c > '~')
                    return 0;
            all = all ? apr_pstrcat(ps->p, all, ",", item, NULL) : item;
        }
        s += n;
        comma(&s);
    }
    ps->q->pref_required = all;
    return 1;
}

static int f_handled(parser *ps, const char *s)
{
    ps->q->handled = 1;
    return 1;
}

static int f_upload(parser *ps, const char *s)
{
    ps->status = IIP_E_FEATURE;
    return 0;
}

static int f_any(parser *ps, const char *s)
{
    return 1;
}

/* In the order in which they are read: what the answer to an error needs goes first. */
static const struct {
    const char *name;
    int (*read)(parser *ps, const char *s);
} fields[] = {{"target", f_target},   {"cid", f_cid},         {"handled", f_handled}, {"subtarget", f_subtarget},
              {"tid", f_tid},         {"cnew", f_cnew},       {"cclose", f_cclose},   {"qid", f_qid},
              {"fsiz", f_fsiz},       {"roff", f_roff},       {"rsiz", f_rsiz},       {"comps", f_comps},
              {"stream", f_stream},   {"context", f_context}, {"roi", f_any},         {"layers", f_layers},
              {"srate", f_rate},      {"drate", f_rate},      {"len", f_len},         {"quality", f_quality},
              {"type", f_type},       {"metareq", f_metareq}, {"model", f_model},     {"need", f_need},
              {"tpmodel", f_tpmodel}, {"tpneed", f_tpneed},   {"mset", f_mset},       {"align", f_align},
              {"wait", f_wait},       {"pref", f_pref},       {"cap", f_any},         {"csf", f_any},
              {"sendto", f_any},      {"abandon", f_any},     {"barrier", f_any},     {"twait", f_any},
              {"upload", f_upload}};
#define FIELDS ((int)(sizeof fields / sizeof *fields))

typedef struct {
    const char *at;
    size_t n;
} slice;

static void collect(slice value[], const char *s)
{
    while (s && *s) {
        size_t n = strcspn(s, "&"), name = strcspn(s, "=&");

        for (int i = 0; i < FIELDS; i++)
            if (strlen(fields[i].name) == name && !memcmp(fields[i].name, s, name))
                value[i] = (slice){name < n ? s + name + 1 : s + n, name < n ? n - name - 1 : 0};
        s += n;
        s += *s == '&';
    }
}

iip_status jpip_query_parse(jpip_query *q, const char *text, const char *body, apr_pool_t *p, iip_error *e)
{
    slice value[FIELDS] = {{0}};
    parser ps = {q, p, IIP_E_SYNTAX};

    *q = (jpip_query){.sub_a = -1,
                      .sub_b = -1,
                      .qid = -1,
                      .fx = -1,
                      .fy = -1,
                      .sx = -1,
                      .sy = -1,
                      .layers = -1,
                      .len = -1,
                      .quality = -1,
                      .types = -1};
    collect(value, text);
    collect(value, body);
    for (int i = 0; i < FIELDS; i++) {
        const char *s;

        if (!value[i].at)
            continue;
        ps.status = IIP_E_SYNTAX;
        s = iip_path_decode(value[i].at, value[i].n, p);
        if (!s || !fields[i].read(&ps, s))
            return iip_refuse(e, ps.status, fields[i].name);
    }
    return IIP_OK;
}

const char *jpip_query_fields(apr_pool_t *p)
{
    const char *all = fields[0].name;

    for (int i = 1; i < FIELDS - 1; i++)
        all = apr_pstrcat(p, all, ",", fields[i].name, NULL);
    return all;
}

const char *jpip_ranges_text(const jpip_ranges *r, apr_pool_t *p)
{
    const char *all = "";

    for (int i = 0; i < r->n; i++) {
        const jpip_range *g = &r->at[i];
        const char *one = g->b == g->a     ? apr_psprintf(p, "%" APR_INT64_T_FMT, g->a)
                          : g->b >= NUMBER ? apr_psprintf(p, "%" APR_INT64_T_FMT "-", g->a)
                                           : apr_psprintf(p, "%" APR_INT64_T_FMT "-%" APR_INT64_T_FMT, g->a, g->b);

        if (g->step > 1 && g->b != g->a)
            one = apr_psprintf(p, "%s:%" APR_INT64_T_FMT, one, g->step);
        all = *all ? apr_pstrcat(p, all, ",", one, NULL) : one;
    }
    return all;
}
