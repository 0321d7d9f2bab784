/* SPDX-License-Identifier: Apache-2.0
 * IIIF Image API 3.0, 2.1.1 and 1.1: the grammar of its URIs, the canonical URI, redirects and errors. Numbers in
 * brackets are the rules of spec/iiif.md. */
#include "iiif.h"
#include "accept.h"
#include "json.h"
#include "name.h"
#include "ops.h"
#include "path.h"
#include "put.h"
#include <apr_strings.h>
#include <inttypes.h>
#include <string.h>

#define PARTS        4  /* region, size, rotation, quality.format */
#define MAX_SEGMENTS 48 /* the parts and a name that is refused for its length, not cut */
#define FRACTION     12 /* decimal places that count */
#define MAX_REAL     32 /* characters of one (spec/security.md section 4) */

const char *const iip_iiif_context[4] = {NULL, "http://library.stanford.edu/iiif/image-api/1.1/context.json",
                                         "http://iiif.io/api/image/2/context.json",
                                         "http://iiif.io/api/image/3/context.json"};

/* A place that refuses regions is of level 0, which is tiles and listed sizes. */
const char *iip_iiif_profile(int version, const iip_settings *set)
{
    static const char *const profile[4][2] = {
        {NULL, NULL},
        {"http://library.stanford.edu/iiif/image-api/1.1/compliance.html#level2",
         "http://library.stanford.edu/iiif/image-api/1.1/compliance.html#level0"},
        {"http://iiif.io/api/image/2/level2.json", "http://iiif.io/api/image/2/level0.json"},
        {"http://iiif.io/api/image/3/level2.json", "http://iiif.io/api/image/3/level0.json"},
    };

    return profile[version][set->restrict_to != IIP_RESTRICT_NONE];
}

int iip_iiif_version(const iip_input *in, int info)
{
    int first = in->set->versions;

    for (int v = in->set->versions; v > 0; v /= 10) {
        first = v % 10;
        if (info && first >= 2 && first <= 3 && iip_accept_profile(in->accept, iip_iiif_context[first]))
            return first;
    }
    return first >= 1 && first <= 3 ? first : 3;
}

/* ---- numbers: the end of what was read, NULL if it is none (R13, R15) ---- */

static const char *read_digits(const char *s, int max, int64_t *value)
{
    const char *start = s;

    for (*value = 0; *s >= '0' && *s <= '9'; s++) {
        if (s - start == max)
            return NULL;
        *value = *value * 10 + (*s - '0');
    }
    return s > start ? s : NULL;
}

static const char *read_integer(const char *s, iip_decimal *d)
{
    d->scale = 0;
    s = read_digits(s, 10, &d->num);
    return s && d->num <= IIP_MAX_SIDE ? s : NULL;
}

/* What stands behind the last place that counts cannot move an edge by a pixel; it may only keep a number from being 0.
 */
static const char *read_decimal(const char *s, iip_decimal *d)
{
    const char *start = s;
    int rest = 0, digits = *s != '.';

    *d = (iip_decimal){0, 0};
    if (digits && !(s = read_digits(s, 6, &d->num)))
        return NULL;
    if (*s == '.')
        for (s++; *s >= '0' && *s <= '9'; s++, digits = 1) {
            if (d->scale < FRACTION) {
                d->num = d->num * 10 + (*s - '0');
                d->scale++;
            } else
                rest |= *s - '0';
        }
    if (d->num == 0 && rest)
        d->num = 1;
    return digits && s - start <= MAX_REAL ? s : NULL;
}

/* Four numbers with commas and nothing behind them. */
static int read_four(const char *s, const char *(*read)(const char *, iip_decimal *), iip_decimal d[4])
{
    for (int i = 0; i < 4; i++) {
        if (i > 0 && *s++ != ',')
            return 0;
        if (!(s = read(s, &d[i])))
            return 0;
    }
    return *s == '\0';
}

static int starts(const char **s, const char *prefix)
{
    size_t n = strlen(prefix);

    if (strncmp(*s, prefix, n) != 0)
        return 0;
    *s += n;
    return 1;
}

/* ---- the four parts: NULL, or the name of what is wrong ---- */

typedef struct {
    int version, grow; /* grow: answers may be larger than their region */
    const char *accept;
    const iip_settings *set; /* NULL: qualities of the API alone */
} context;

static const char *parse_region(const context *c, const char *s, iip_request *rq)
{
    int good = 1;

    if (strcmp(s, "full") == 0)
        rq->region_kind = IIP_REGION_FULL;
    else if (strcmp(s, "square") == 0 && c->version > 1)
        rq->region_kind = IIP_REGION_SQUARE;
    else if (starts(&s, "pct:")) {
        rq->region_kind = IIP_REGION_RATIO;
        good = read_four(s, read_decimal, rq->region);
    } else {
        rq->region_kind = IIP_REGION_PIXELS;
        good = read_four(s, read_integer, rq->region);
    }
    return good ? NULL : "region";
}

/* "w,", ",h" (not in a box) and "w,h"; a requested 0 is refused (R17). */
static int read_pair(const char *s, int box, iip_decimal d[2])
{
    int w = 0, h = 0;

    if (*s != ',') {
        if (!(s = read_integer(s, &d[0])) || d[0].num == 0)
            return 0;
        w = 1;
    }
    if (*s++ != ',')
        return 0;
    if (*s) {
        if (!(s = read_integer(s, &d[1])) || d[1].num == 0)
            return 0;
        h = 1;
    }
    return *s == '\0' && (box ? w && h : w || h);
}

static const char *parse_size(const context *c, const char *s, iip_request *rq)
{
    int caret = c->version == 3 && starts(&s, "^");

    rq->size[0] = rq->size[1] = (iip_decimal){0, 0};
    /* 2.x and 1.1 have no mark for growing: what may grow does (R21) */
    rq->grow = caret || c->version < 3 ? IIP_GROW_ASK : IIP_GROW_REFUSE;
    rq->over = IIP_OVER_REFUSE;
    if ((strcmp(s, "max") == 0 && c->version > 1) || (strcmp(s, "full") == 0 && c->version < 3)) {
        rq->size_kind = caret ? IIP_SIZE_MAX : IIP_SIZE_FULL;
        rq->over = IIP_OVER_FIT;
        return NULL;
    }
    if (starts(&s, "pct:")) {
        rq->size_kind = IIP_SIZE_PERCENT;
        return (s = read_decimal(s, &rq->size[0])) && *s == '\0' ? NULL : "size";
    }
    if (starts(&s, "!")) {
        rq->size_kind = IIP_SIZE_FIT;
        rq->over = IIP_OVER_FIT;
        if (!caret && (c->version == 3 || !c->grow))
            rq->grow = IIP_GROW_CLAMP; /* R19 */
        return read_pair(s, 1, rq->size) ? NULL : "size";
    }
    if (!read_pair(s, 0, rq->size))
        return "size";
    rq->size_kind = c->version < 3 && rq->size[1].num == 0 ? IIP_SIZE_LISTED : IIP_SIZE_EXACT;
    return NULL;
}

static const char *parse_rotation(const context *c, const char *s, iip_request *rq)
{
    iip_decimal d;
    int64_t one = 1;

    rq->flip = c->version > 1 && starts(&s, "!");
    if (!(s = read_decimal(s, &d)) || *s)
        return "rotation";
    for (int i = 0; i < d.scale; i++)
        one *= 10;
    if (d.num > 360 * one)
        return "rotation";
    rq->rotate = d.num == 360 * one ? 0 : (double)d.num / (double)one;
    return NULL;
}

static const struct {
    const char *name;
    int first, last; /* versions that have it */
    int op;          /* -1 = none */
} qualities[] = {
    {"default", 2, 3, -1},       {"native", 1, 2, -1},        {"color", 1, 3, -1},
    {"gray", 2, 3, IIP_OP_GRAY}, {"grey", 1, 2, IIP_OP_GRAY}, {"bitonal", 1, 3, IIP_OP_BITONAL},
};

/* One of ours, if these are on (R29). */
static int find_extra(const context *c, const char *s, size_t length, iip_op *op)
{
    const char *name;

    for (int i = 0; c->set && c->set->extensions && (name = iip_iiif_extra(i, op)); i++)
        if (strlen(name) == length && memcmp(name, s, length) == 0)
            return 1;
    return 0;
}

static int find_quality(const char *s, size_t length, int version)
{
    int i = (int)(sizeof qualities / sizeof *qualities);

    while (i-- > 0)
        if (strlen(qualities[i].name) == length && memcmp(qualities[i].name, s, length) == 0 &&
            version >= qualities[i].first && version <= qualities[i].last)
            break;
    return i;
}

/* 1.1: without a suffix the Accept header chooses, else it is the first we write (R28). */
static iip_format accepted_format(const char *accept)
{
    const iip_encoder *best = iip_encoder_at(0), *enc;
    int quality = best ? iip_accept_type(accept, best->mime).quality : 0;

    for (int i = 1; (enc = iip_encoder_at(i)); i++) {
        int q = iip_accept_type(accept, enc->mime).quality;

        if (q > quality) {
            best = enc;
            quality = q;
        }
    }
    return best ? best->format : IIP_FMT_NONE;
}

static const char *parse_quality(const context *c, const char *s, iip_request *rq)
{
    const char *dot = strrchr(s, '.');
    size_t length = dot ? (size_t)(dot - s) : strlen(s);
    int row = find_quality(s, length, c->version);
    const iip_encoder *enc;

    rq->op_count = 0;
    if (row >= 0 && qualities[row].op >= 0)
        rq->op[rq->op_count++] = (iip_op){.kind = (uint16_t)qualities[row].op};
    else if (row < 0 && find_extra(c, s, length, &rq->op[0]))
        rq->op_count = 1;
    else if (row < 0)
        return "quality";
    if (!dot && c->version == 1) {
        rq->format = accepted_format(c->accept);
        rq->negotiated = 1;
        return NULL;
    }
    enc = dot ? iip_encoder_by_ext(dot + 1) : NULL;
    if (!enc)
        return "format";
    rq->format = enc->format;
    return NULL;
}

static const char *(*const parse_part[PARTS])(const context *, const char *, iip_request *) = {
    parse_region, parse_size, parse_rotation, parse_quality};

/* Four segments, not decoded (R8). */
static const char *parse_parts(const context *c, const char *const *seg, iip_request *rq, apr_pool_t *p)
{
    static const char *const names[PARTS] = {"region", "size", "rotation", "quality"};

    for (int i = 0; i < PARTS; i++) {
        const char *s = iip_path_decode_all(seg[i], p);
        const char *wrong = s ? parse_part[i](c, s, rq) : names[i];

        if (wrong)
            return wrong;
    }
    return NULL;
}

/* ---- the path ---- */

/* 1 if they were meant for an image request, whether it is a good one or not (R4): at least two of the four parts are
 * those of some version, or the last one is a quality with a suffix. */
static int looks_like_image(const iip_segment *seg, int n)
{
    char text[256]; /* no part is as long */
    iip_request rq;
    int good = 0;

    for (int i = 0; i < n; i++) {
        int part = PARTS - n + i, yes = 0;

        if (seg[i].length >= sizeof text || !iip_path_decode_to(text, seg[i].at, seg[i].length))
            continue;
        for (int v = 1; v <= 3 && !yes; v++) {
            const char *dot = strrchr(text, '.');

            if (part == PARTS - 1 && dot && find_quality(text, (size_t)(dot - text), v) >= 0)
                return 1;
            yes = !parse_part[part](&(context){v, 0, NULL, NULL}, text, &rq);
        }
        good += yes;
    }
    return n == PARTS && good >= 2;
}

static int is_info(const char *segment)
{
    char text[sizeof "info.json" * 3];

    return strlen(segment) < sizeof text && iip_path_decode_to(text, segment, strlen(segment)) &&
           strcmp(text, "info.json") == 0;
}

/* mapped: what is left of a path in front of the parts is a name that httpd looks up. */
static size_t iiif_tail(const char *path)
{
    iip_segment seg[PARTS];
    size_t length = strlen(path);
    int n = iip_path_last(path, seg, PARTS), from = 0;

    if (n == 0 || path[length - 1] == '/')
        return 0;
    if (is_info(seg[n - 1].at))
        from = n - 1;
    else if (n < PARTS || !looks_like_image(seg, n))
        return 0;
    while (seg[from].at > path && seg[from].at[-1] == '/')
        seg[from].at--;
    return length - (size_t)(seg[from].at - path);
}

/* The query means nothing but a wish to save the answer (R5, R48). */
static int wants_download(const char *query)
{
    while (query && *query) {
        size_t n = strcspn(query, "&;");

        if (strcspn(query, "=&;") == strlen("download") && strncmp(query, "download", strlen("download")) == 0)
            return 1;
        query += n + (query[n] != '\0');
    }
    return 0;
}

static iip_status iiif_parse(const iip_input *in, iip_request *rq, iip_want *want, apr_pool_t *p, iip_error *e)
{
    const char *seg[MAX_SEGMENTS], *wrong = NULL;
    int slash, n = iip_path_split(in->path, seg, MAX_SEGMENTS, &slash, p);
    int least = in->mapped ? 0 : 1; /* segments of a name */
    int literal = !in->mapped && in->set->literal_slash;
    int info = n > least && !slash && (literal || n == least + 1) && is_info(seg[n - 1]);
    int image = !info && !slash && (literal ? n >= least + PARTS : n == least + PARTS);
    iip_limits lim;
    iip_segment last[PARTS];

    iip_settings_limits(&lim, in->set);
    *want = info ? IIP_WANT_INFO : IIP_WANT_IMAGE;
    rq->download = wants_download(in->query);
    if (n < least)
        return iip_refuse(e, IIP_E_NOT_FOUND, NULL);
    if (info || image) {
        context c = {iip_iiif_version(in, info), iip_limits_grow(&lim), in->accept, in->set};

        n -= info ? 1 : PARTS;
        if (!in->mapped && !(rq->name = iip_name_read(in, seg, n, p)))
            return iip_refuse(e, IIP_E_NOT_FOUND, NULL);
        if (info || !(wrong = parse_parts(&c, seg + n, rq, p)))
            return IIP_OK;
        if (!literal)
            return iip_refuse(e, IIP_E_SYNTAX, wrong);
        n += PARTS;
    }
    /* A name, a name with literal slashes, or too few or too many parts (R4) */
    image = n > least && (literal || in->mapped) && looks_like_image(last, iip_path_last(in->path, last, PARTS));
    if (n == least || literal) {
        rq->name = in->mapped ? NULL : iip_name_read(in, seg, n, p);
        if (in->mapped || rq->name) {
            *want = slash && !image ? IIP_WANT_MOVED : IIP_WANT_BARE;
            if (!image)
                return IIP_OK;
        } else
            image = image && wrong; /* else a name refused */
    }
    return image ? iip_refuse(e, IIP_E_SYNTAX, wrong) : iip_refuse(e, IIP_E_NOT_FOUND, NULL);
}

/* ---- what is answered beside pixels ---- */

const char *iip_iiif_id(const iip_input *in, const iip_request *rq, apr_pool_t *p)
{
    if (in->id)
        return in->id;
    return apr_pstrcat(p, in->base_url, "/", iip_path_encode(in->mapped ? in->ident : rq->name, p), NULL);
}

static char *put_size(char *to, int version, const iip_request *rq, const iip_info *info, const iip_limits *lim)
{
    const int grown = rq->out_w > rq->src.w || rq->out_h > rq->src.h;
    iip_request plain;
    int64_t w, h;

    if (version == 3) {
        iip_request_max(rq, lim, 0, &w, &h);
        if (w == rq->out_w && h == rq->out_h)
            return iip_put_text(to, "max");
        if (grown) {
            iip_request_max(rq, lim, 1, &w, &h);
            *to++ = '^';
            if (w == rq->out_w && h == rq->out_h)
                return iip_put_text(to, "max");
        }
    } else {
        if (rq->out_w == rq->src.w && rq->out_h == rq->src.h)
            return iip_put_text(to, "full");
        plain = *rq;
        plain.size_kind = IIP_SIZE_LISTED; /* as the parser takes "w," */
        if (iip_request_height(&plain, info, rq->out_w) == rq->out_h)
            return iip_put_text(iip_put_int(to, rq->out_w), ",");
    }
    to = iip_put_text(iip_put_int(to, rq->out_w), ",");
    return iip_put_int(to, rq->out_h);
}

static char *put_region(char *to, const iip_request *rq, const iip_info *info)
{
    const int64_t r[] = {rq->src.x, rq->src.y, rq->src.w, rq->src.h};

    if (r[2] == iip_info_w(info) && r[3] == iip_info_h(info))
        return iip_put_text(to, "full");
    for (int i = 0; i < 4; i++) {
        if (i)
            *to++ = ',';
        to = iip_put_int(to, r[i]);
    }
    return to;
}

/* Section 7 of the sheet; R33. 1.1 knows no canonical form. */
static const char *iiif_link(const iip_input *in, const iip_request *rq, const iip_info *info, const iip_limits *lim,
                             apr_pool_t *p)
{
    const int version = iip_iiif_version(in, 0);
    const char *profile = iip_iiif_profile(version, in->set), *id = iip_iiif_id(in, rq, p), *quality, *ext;
    char turn[IIP_ROTATION_MAX], *link, *to;

    iip_rotation_text(rq->rotate, turn);
    if (!(quality = iip_iiif_extra_name(rq)))
        quality = iip_op_find(rq, IIP_OP_BITONAL) ? "bitonal" : iip_op_find(rq, IIP_OP_GRAY) ? "gray" : "default";
    ext = iip_encoder_find(rq->format)->ext;
    link = to = apr_palloc(p, strlen(id) + strlen(profile) + strlen(quality) + strlen(ext) + sizeof turn +
                                  6 * (IIP_PUT_MAX + 1) + 64);
    if (version > 1) {
        *to++ = '<';
        to = iip_put_text(iip_put_text(to, id), "/");
        to = iip_put_text(put_region(to, rq, info), "/");
        to = iip_put_text(put_size(to, version, rq, info, lim), "/");
        if (rq->flip)
            *to++ = '!';
        to = iip_put_text(to, turn + (version == 2 && turn[0] == '0' && turn[1] == '.'));
        *to++ = '/';
        to = iip_put_text(iip_put_text(to, quality), ".");
        to = iip_put_text(iip_put_text(to, ext), ">;rel=\"canonical\", ");
    }
    to = iip_put_text(iip_put_text(to, "<"), profile);
    iip_put(to, ">;rel=\"profile\"", sizeof ">;rel=\"profile\"");
    return link;
}

static const char *iiif_redirect(const iip_input *in, const iip_request *rq, iip_want want, apr_pool_t *p)
{
    return apr_pstrcat(p, iip_iiif_id(in, rq, p), want == IIP_WANT_MOVED ? "" : "/info.json", NULL);
}

static const char *iiif_complain(const iip_input *in, const iip_error *e, const char **mime, apr_pool_t *p)
{
    iip_json j;

    if (!iip_accept_json(in->accept)) {
        *mime = "text/plain";
        return apr_pstrcat(p, iip_complaint(e, p), "\n", NULL);
    }
    *mime = "application/json";
    iip_json_init(&j, p);
    iip_json_object(&j, NULL);
    iip_json_string(&j, "error", iip_complaint(e, p));
    iip_json_end(&j);
    return iip_json_text(&j);
}

extern const iip_protocol iip_protocol_iiif;
const iip_protocol iip_protocol_iiif = {
    .handler = "iiif-handler",
    .methods = "GET, HEAD, OPTIONS",
    .parse = iiif_parse,
    .describe = iip_iiif_describe,
    .complain = iiif_complain,
    .allow = iip_iiif_allow,
    .link = iiif_link,
    .redirect = iiif_redirect,
    .page = iip_name_page,
    .tail = iiif_tail,
};
