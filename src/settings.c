/* SPDX-License-Identifier: Apache-2.0
 * The rows of settings.h turned into code: unset, merge and defaults by the member's C type, setters by its KIND.
 * Longer than others: one small setter for each kind of value. */
#include "settings.h"
#include "cache/l2.h"
#include "codec/codec.h"
#include "json.h"
#include "path.h"
#include "protocol/thumb.h"
#include <assert.h>
#include <limits.h>
#include <string.h>
#include <apr_cstr.h>
#include <apr_lib.h>
#include <apr_strings.h>

#define JSON_MAX 16384
#define TEXT_MAX 1024 /* of a value that reaches a header */

enum {
    KIND_ROOT,
    KIND_WORD,
    KIND_CODING,
    KIND_PROFILE,
    KIND_FLAG,
    KIND_COLOUR,
    KIND_VERSIONS,
    KIND_QUALITY,
    KIND_LAYERS,
    KIND_LOWER,
    KIND_PAIR,
    KIND_PLACES,
    KIND_NUMBER,
    KIND_TIME,
    KIND_TEXT,
    KIND_PIECE,
    KIND_WATERMARK,
    KIND_JSON,
    KIND_NOTICE,
    KIND_URL,
    KIND_LIST,
    KIND_SERVERS,
    KIND_CLIENT,
    KIND_NETS,
    KIND_WORDS,
    KIND_TIMES,
    KIND_PATHS,
    KIND_KEYS,
    KIND_PRESET
};

#define ROW(d, m, KIND, s, def, key, args, help) {#d, def, args, help, #s[0], KIND_##KIND, offsetof(OF, m)},
#define OF                                       iip_settings
const iip_directive iip_directives[] = {IIP_SETTINGS(ROW){0}};
#undef OF
#define OF iip_server_settings
const iip_directive iip_server_directives[] = {IIP_SERVER_SETTINGS(ROW){0}};
#undef OF
#define OF iip_job_settings
const iip_directive iip_job_directives[] = {IIP_JOB_SETTINGS(ROW){0}};
#undef OF

const char iip_setting_unbuilt[] = "this build cannot do that";

/* What IIPQuality may name, built or not. */
static const char *const format_names[IIP_FMT_COUNT] = {
    [IIP_FMT_JPEG] = "jpeg", [IIP_FMT_PNG] = "png", [IIP_FMT_WEBP] = "webp", [IIP_FMT_AVIF] = "avif",
    [IIP_FMT_TIFF] = "tiff", [IIP_FMT_JP2] = "jp2", [IIP_FMT_GIF] = "gif",   [IIP_FMT_PDF] = "pdf",
};

static iip_settings defaults;
static iip_server_settings server_defaults;
static iip_job_settings job_defaults;

/* ---- unset, merge: by C type ---- */

static const iip_pair no_pair = {-1, -1};
static const iip_lower no_lower = {{-1, -1}, {-1, -1}};
static const iip_qualities no_qualities = {{-1, -1, -1, -1, -1, -1, -1, -1, -1}};
_Static_assert(IIP_FMT_COUNT == 9, "no_qualities has a value for each format");

#define UNSET(d, m, ...)                                                                                               \
    s->m = _Generic(s->m, int                                                                                          \
                    : -1, int64_t                                                                                      \
                    : -1, iip_pair                                                                                     \
                    : no_pair, iip_lower                                                                               \
                    : no_lower, iip_qualities                                                                          \
                    : no_qualities, default                                                                            \
                    : NULL);

void iip_settings_unset(iip_settings *s)
{
    IIP_SETTINGS(UNSET)
    s->job = NULL;
}

void iip_job_settings_unset(iip_job_settings *s)
{
    IIP_JOB_SETTINGS(UNSET)
}

void iip_server_settings_unset(iip_server_settings *s)
{
    IIP_SERVER_SETTINGS(UNSET)
}

static inline int over_int(int base, int add)
{
    return add == -1 ? base : add;
}

static inline int64_t over_number(int64_t base, int64_t add)
{
    return add == -1 ? base : add;
}

static inline const void *over_pointer(const void *base, const void *add)
{
    return add ? add : base;
}

static inline iip_pair over_pair(iip_pair base, iip_pair add)
{
    return (iip_pair){over_number(base.a, add.a), over_number(base.b, add.b)};
}

/* -1 unset, 0 no limit. Commutative and associative, so nesting and order of sections cannot matter. */
static inline int64_t smaller(int64_t x, int64_t y)
{
    if (x <= 0)
        return y == -1 ? x : y;
    return y <= 0 || x < y ? x : y;
}

static inline iip_pair smaller_pair(iip_pair x, iip_pair y)
{
    return (iip_pair){smaller(x.a, y.a), smaller(x.b, y.b)};
}

static inline iip_lower over_lower(iip_lower base, iip_lower add)
{
    return (iip_lower){over_pair(base.admin, add.admin), smaller_pair(base.cap, add.cap)};
}

static inline iip_qualities over_qualities(iip_qualities base, iip_qualities add)
{
    for (int i = 0; i < IIP_FMT_COUNT; i++)
        add.of[i] = over_int(base.of[i], add.of[i]);
    return add;
}

#define MERGE(d, m, ...)                                                                                               \
    out->m = _Generic(out->m, int                                                                                      \
                      : over_int, int64_t                                                                              \
                      : over_number, iip_pair                                                                          \
                      : over_pair, iip_lower                                                                           \
                      : over_lower, iip_qualities                                                                      \
                      : over_qualities, default                                                                        \
                      : over_pointer)(base->m, add->m);

void iip_settings_merge(iip_settings *out, const iip_settings *base, const iip_settings *add)
{
    IIP_SETTINGS(MERGE)
    out->job = over_pointer(base->job, add->job);
}

void iip_job_settings_merge(iip_job_settings *out, const iip_job_settings *base, const iip_job_settings *add)
{
    IIP_JOB_SETTINGS(MERGE)
}

const iip_settings *iip_settings_defaults(void)
{
    return &defaults;
}

void iip_settings_effective(iip_settings *out, const iip_settings *raw)
{
    iip_settings_merge(out, &defaults, raw);
}

void iip_server_settings_effective(iip_server_settings *out, const iip_server_settings *add)
{
    const iip_server_settings *base = &server_defaults;

    IIP_SERVER_SETTINGS(MERGE)
}

void iip_job_settings_effective(iip_job_settings *out, const iip_job_settings *raw)
{
    if (raw)
        iip_job_settings_merge(out, &job_defaults, raw);
    else
        *out = job_defaults;
}

/* ---- texts ---- */

/* Digits at *s as a number, *s behind them; -1 if there are none or too many. */
static int64_t digits(const char **s)
{
    int64_t n = 0;
    const char *p = *s;

    for (; apr_isdigit(*p); p++)
        if (__builtin_mul_overflow(n, 10, &n) || __builtin_add_overflow(n, *p - '0', &n))
            return -1;
    if (p == *s)
        return -1;
    *s = p;
    return n;
}

int iip_parse_size(const char *s, int64_t *out)
{
    static const char letters[] = "KMG";
    int64_t n = digits(&s);

    if (n < 0)
        return -1;
    if (*s) {
        const char *l = strchr(letters, apr_toupper(*s));

        if (!l || s[1] || __builtin_mul_overflow(n, INT64_C(1) << (10 * (l - letters + 1)), &n))
            return -1;
    }
    *out = n;
    return 0;
}

int iip_parse_time(const char *s, apr_interval_time_t *out)
{
    static const struct {
        const char *unit;
        int64_t us;
    } units[] = {{"", APR_USEC_PER_SEC},         {"ms", 1000},
                 {"s", APR_USEC_PER_SEC},        {"m", 60 * APR_USEC_PER_SEC},
                 {"h", 3600 * APR_USEC_PER_SEC}, {"d", 86400 * APR_USEC_PER_SEC}};
    int64_t n = digits(&s);

    if (n < 0)
        return -1;
    for (size_t i = 0; i < sizeof units / sizeof *units; i++)
        if (!strcmp(s, units[i].unit)) {
            if (__builtin_mul_overflow(n, units[i].us, &n))
                return -1;
            *out = n;
            return 0;
        }
    return -1;
}

/* May stand in a header: no control octets, not too long. */
static int header_safe(const char *s)
{
    size_t n = 0;

    for (; s[n]; n++)
        if (n == TEXT_MAX || apr_iscntrl(s[n]))
            return 0;
    return 1;
}

/* Scheme and host[:port] of a URL (behind them *rest): enough to be sure that it cannot end a quoted or bracketed text.
 */
static int origin_good(const char *s, const char **rest)
{
    const char *host;

    if (!apr_isalpha(*s))
        return 0;
    while (apr_isalnum(*s) || (*s && strchr("+.-", *s)))
        s++;
    if (strncmp(s, "://", 3))
        return 0;
    host = s += 3;
    if (*s == '[') {
        for (s++; apr_isxdigit(*s) || (*s && strchr(":.", *s)); s++)
            ;
        if (*s++ != ']')
            return 0;
    } else {
        while (apr_isalnum(*s) || (*s && strchr("._-", *s)))
            s++;
    }
    if (s == host)
        return 0;
    if (*s == ':') {
        int64_t port;

        s++;
        port = digits(&s);
        if (port < 1 || port > 65535)
            return 0;
    }
    *rest = s;
    return 1;
}

/* ---- setters: by KIND ---- */

typedef struct {
    const iip_directive *d;
    int argc;
    const char *const *argv;
    int htaccess;
    apr_pool_t *p;
} words;

typedef const char *setter(void *member, const words *w);

static const char *wrong(const words *w)
{
    return apr_pstrcat(w->p, w->d->name, " takes: ", w->d->args, NULL);
}

static const char *set_root(void *member, const words *w)
{
    iip_root *root = apr_pcalloc(w->p, sizeof *root);

    if (!*w->argv[0] || !header_safe(w->argv[0]))
        return wrong(w);
    root->path = w->argv[0];
    root->directive = w->d->name;
    root->prefix = "";
    root->fd = -1;
    for (int i = 1; i < w->argc; i++) {
        if (!apr_cstr_casecmp(w->argv[i], "follow"))
            root->follow = 1;
        else if (!apr_cstr_casecmp(w->argv[i], "absolute"))
            root->absolute = 1;
        else
            return wrong(w);
    }
    *(const iip_root **)member = root;
    return NULL;
}

static const char *set_word(void *member, const words *w)
{
    const char *s = w->d->args;
    size_t n = strlen(w->argv[0]);

    for (int i = 0; *s; i++) {
        size_t len = strcspn(s, "|");

        if (len == n && !apr_cstr_casecmpn(s, w->argv[0], n)) {
            *(int *)member = i;
            return NULL;
        }
        s += len + (s[len] == '|');
    }
    return wrong(w);
}

/* Without lcms2 nothing converts: profiles are sent along */
static const char *set_profile(void *member, const words *w)
{
    const char *bad = set_word(member, w);

#ifndef IIP_HAVE_LCMS2
    if (!bad && *(int *)member == IIP_PROFILE_CONVERT) {
        *(int *)member = IIP_PROFILE_EMBED;
        bad = iip_setting_unbuilt;
    }
#endif
    return bad;
}

/* A word for how TIFF is compressed */
static const char *set_coding(void *member, const words *w)
{
    const char *bad = set_word(member, w);

    if (!bad && !iip_tiff_writes(*(int *)member)) {
        *(int *)member = IIP_TIFF_DEFLATE;
        bad = iip_setting_unbuilt;
    }
    return bad;
}

static const char *set_flag(void *member, const words *w)
{
    int on = !apr_cstr_casecmp(w->argv[0], "on");

    if (!on && apr_cstr_casecmp(w->argv[0], "off"))
        return wrong(w);
    *(int *)member = on;
    return NULL;
}

static const char *set_colour(void *member, const words *w)
{
    const char *s = w->argv[0];

    if (strlen(s) != 6 || strspn(s, "0123456789abcdefABCDEF") != 6)
        return wrong(w);
    *(int *)member = (int)apr_strtoi64(s, NULL, 16);
    return NULL;
}

static const char *set_versions(void *member, const words *w)
{
    int all = 0;

    for (int i = 0; i < w->argc; i++) {
        int v = w->argv[i][0] - '0';

        if (v < 1 || v > 3 || w->argv[i][1])
            return wrong(w);
        for (int seen = all; seen; seen /= 10)
            if (seen % 10 == v)
                return wrong(w);
        all = all * 10 + v;
    }
    *(int *)member = all;
    return NULL;
}

static const char *set_quality(void *member, const words *w)
{
    iip_qualities *q = member;
    const char *s = w->argv[1];
    const iip_encoder *enc;
    int64_t n = digits(&s);
    int f = 1;

    while (f < IIP_FMT_COUNT && apr_cstr_casecmp(w->argv[0], format_names[f]))
        f++;
    if (f == IIP_FMT_COUNT)
        return wrong(w);
    if (!(enc = iip_encoder_find((iip_format)f)))
        return iip_setting_unbuilt;
    if (enc->q_min == enc->q_max)
        return apr_psprintf(w->p, "%s: %s has none", w->d->name, enc->name);
    if (n < enc->q_min || n > enc->q_max || *s)
        return apr_psprintf(w->p, "%s %s takes a number from %d to %d", w->d->name, enc->name, enc->q_min, enc->q_max);
    q->of[f] = (int)n;
    return NULL;
}

static const char *set_pair(void *member, const words *w)
{
    iip_pair pair = no_pair;

    if (iip_parse_size(w->argv[0], &pair.a) || (w->argc > 1 && iip_parse_size(w->argv[1], &pair.b)))
        return wrong(w);
    *(iip_pair *)member = pair;
    return NULL;
}

static const char *set_places(void *member, const words *w)
{
    const char *bad = set_pair(member, w);

    return !bad && ((iip_pair *)member)->a < 1 ? wrong(w) : bad;
}

static void lower(iip_lower *l, iip_pair pair, int htaccess)
{
    if (htaccess)
        l->cap = smaller_pair(l->cap, pair);
    else
        l->admin = pair;
}

static const char *set_lower(void *member, const words *w)
{
    iip_lower *l = member;
    iip_pair pair;
    const char *bad = set_pair(&pair, w);

    if (bad)
        return bad;
    if (pair.b == -1)
        pair.b = pair.a;
    lower(l, pair, w->htaccess);
    return NULL;
}

static const char *set_layers(void *member, const words *w)
{
    const char *s = w->argv[0];
    iip_pair pair = {0, !apr_cstr_casecmp(s, "half")};

    if (apr_cstr_casecmp(s, "all") && !pair.b) {
        pair.a = digits(&s);
        if (pair.a < 1 || pair.a > 65535 || *s)
            return wrong(w);
    }
    lower(member, pair, w->htaccess);
    return NULL;
}

static const char *set_number(void *member, const words *w)
{
    return iip_parse_size(w->argv[0], member) ? wrong(w) : NULL;
}

static const char *set_time(void *member, const words *w)
{
    return iip_parse_time(w->argv[0], member) ? wrong(w) : NULL;
}

static const char *set_times(void *member, const words *w)
{
    iip_pair *times = member;

    return iip_parse_time(w->argv[0], &times->a) || iip_parse_time(w->argv[1], &times->b) ? wrong(w) : NULL;
}

static const char *set_text(void *member, const words *w)
{
    const char *text = w->argc ? w->argv[0] : ""; /* httpd drops an empty last word */

    if (!header_safe(text))
        return apr_pstrcat(w->p, w->d->name, " takes up to 1024 octets, no control characters", NULL);
    *(const char **)member = text;
    return NULL;
}

static const char *set_piece(void *member, const words *w)
{
    const char *s = w->argv[0];

    if (!header_safe(s) || strlen(s) > 64 || strpbrk(s, "/\\") || !iip_utf8_good(s))
        return apr_pstrcat(w->p, w->d->name, " takes part of a file's name: up to 64 octets, no slash", NULL);
    *(const char **)member = s;
    return NULL;
}

/* 0..1 in millionths, -1 if it is not that. */
static int millionths(const char *s)
{
    int64_t whole = digits(&s);
    int v = whole < 0 || whole > 1 ? -1 : (int)whole * IIP_WATERMARK_ONE, unit = IIP_WATERMARK_ONE / 10;

    if (v < 0)
        return -1;
    if (*s == '.')
        for (s++; apr_isdigit(*s); s++, unit /= 10)
            v += (*s - '0') * unit;
    return *s || v > IIP_WATERMARK_ONE ? -1 : v;
}

static const char *set_watermark(void *member, const words *w)
{
    iip_watermark *m = apr_pcalloc(w->p, sizeof *m);
    int none = w->argc == 1 && !apr_cstr_casecmp(w->argv[0], "none");

    m->path = none ? NULL : w->argv[0];
    m->opacity = w->argc > 1 ? millionths(w->argv[1]) : IIP_WATERMARK_ONE;
    m->chance = w->argc > 2 ? millionths(w->argv[2]) : IIP_WATERMARK_ONE;
    if ((!none && *w->argv[0] != '/') || !header_safe(w->argv[0]) || m->opacity < 0 || m->chance < 0)
        return wrong(w);
    *(const iip_watermark **)member = m;
    return NULL;
}

/* An object for info.json. What a client must be able to rely on is ours to say. */
static const char *set_json(void *member, const words *w)
{
    static const char *const fixed[] = {
        "@context",      "id",         "@id",         "type",      "@type",     "protocol",     "profile",
        "width",         "height",     "maxWidth",    "maxHeight", "maxArea",   "sizes",        "tiles",
        "scale_factors", "tile_width", "tile_height", "formats",   "qualities", "extraFormats", "extraQualities",
        "extraFeatures", "pages"};
    iip_json_member m = {.named = 1};
    const char *at = w->argv[0];

    if (strlen(at) > JSON_MAX || !iip_json_is_object(at))
        return apr_pstrcat(w->p, w->d->name, " takes one JSON object, up to 16384 octets", NULL);
    while (iip_json_next(&at, &m)) {
        const char *name = apr_pstrmemdup(w->p, m.name, m.name_length);

        if (!m.name_length || m.name_length > 60 || strchr(name, '\\'))
            return apr_pstrcat(w->p, w->d->name, ": no plain name of a member: ", name, NULL);
        for (size_t i = 0; i < sizeof fixed / sizeof *fixed; i++)
            if (!strcmp(name, fixed[i]))
                return apr_pstrcat(w->p, w->d->name, " cannot set ", name, NULL);
    }
    *(const char **)member = w->argv[0];
    return NULL;
}

/* Formats take it for UTF-8. */
static const char *set_notice(void *member, const words *w)
{
    return iip_utf8_good(w->argv[0]) ? set_text(member, w) : apr_pstrcat(w->p, w->d->name, " takes UTF-8", NULL);
}

static const char *set_url(void *member, const words *w)
{
    const char *s = w->argv[0], *rest;
    size_t n = strlen(s);

    if (!header_safe(s) || (apr_cstr_casecmpn(s, "http://", 7) && apr_cstr_casecmpn(s, "https://", 8)) ||
        !origin_good(s, &rest))
        return wrong(w);
    for (; *rest; rest++)
        if (!apr_isalnum(*rest) && !strchr("/-._~:;,!$&'()*+=@%", *rest))
            return wrong(w);
    while (s[n - 1] == '/')
        n--;
    *(const char **)member = apr_pstrmemdup(w->p, s, n);
    return NULL;
}

static int is_none(const words *w)
{
    return w->argc == 1 && !apr_cstr_casecmp(w->argv[0], "none");
}

static const char *set_list(void *member, const words *w)
{
    const char **list = apr_pcalloc(w->p, ((size_t)w->argc + 1) * sizeof *list);
    int n = is_none(w) ? 0 : w->argc;

    for (int i = 0; i < n; i++) {
        const char *rest = "";

        if (!header_safe(w->argv[i]) ||
            ((n > 1 || strcmp(w->argv[i], "*")) && (!origin_good(w->argv[i], &rest) || *rest)))
            return apr_pstrcat(w->p, w->d->name, " takes *, none, or origins as in https://example.org:8443", NULL);
        list[i] = w->argv[i];
    }
    *(const char *const **)member = list;
    return NULL;
}

/* A bare number would be a port without a host. */
static const char *set_servers(void *member, const words *w)
{
    const char **list = apr_pcalloc(w->p, ((size_t)w->argc + 1) * sizeof *list);
    int n = is_none(w) ? 0 : w->argc;

    for (int i = 0; i < n; i++) {
        char *host, *zone;
        apr_port_t port;

        if (!header_safe(w->argv[i]) || apr_parse_addr_port(&host, &zone, &port, w->argv[i], w->p) != APR_SUCCESS ||
            !host || zone)
            return apr_pstrcat(w->p, w->d->name, ": no host[:port]: ", w->argv[i], NULL);
        list[i] = w->argv[i];
    }
    *(const char *const **)member = list;
    return NULL;
}

static const char *set_client(void *member, const words *w)
{
    const char *bad = set_word(member, w);

    if (!bad && *(int *)member && !iip_l2_libmemcached) {
        *(int *)member = 0;
        bad = iip_setting_unbuilt;
    }
    return bad;
}

/* Words as they are; who uses them looks at them (job/place.c). */
static const char *set_words(void *member, const words *w)
{
    const char **list = apr_pcalloc(w->p, ((size_t)w->argc + 1) * sizeof *list);
    int n = is_none(w) ? 0 : w->argc;

    for (int i = 0; i < n; i++) {
        if (!header_safe(w->argv[i]))
            return wrong(w);
        list[i] = w->argv[i];
    }
    *(const char *const **)member = list;
    return NULL;
}

static const char *set_paths(void *member, const words *w)
{
    const char **list = apr_pcalloc(w->p, ((size_t)w->argc + 1) * sizeof *list);
    int n = is_none(w) ? 0 : w->argc;

    for (int i = 0; i < n; i++) {
        if (*w->argv[i] != '/' || !header_safe(w->argv[i]))
            return apr_pstrcat(w->p, w->d->name, " takes absolute paths, or none", NULL);
        list[i] = w->argv[i];
    }
    *(const char *const **)member = list;
    return NULL;
}

static const char *set_nets(void *member, const words *w)
{
    apr_ipsubnet_t **nets = apr_pcalloc(w->p, ((size_t)w->argc + 1) * sizeof *nets);
    int n = is_none(w) ? 0 : w->argc;

    for (int i = 0; i < n; i++) {
        char *ip = apr_pstrdup(w->p, w->argv[i]), *mask = strchr(ip, '/');

        if (mask)
            *mask++ = '\0';
        if (apr_ipsubnet_create(&nets[i], ip, mask, w->p))
            return apr_pstrcat(w->p, w->d->name, ": no address or network: ", w->argv[i], NULL);
    }
    *(apr_ipsubnet_t *const **)member = nets;
    return NULL;
}

/* Read now, by who starts the server: the children need not be able to. */
static const char *set_keys(void *member, const words *w)
{
    const iip_thumb_keys *keys;
    const char *bad = iip_thumb_keys_read(w->argv[0], &keys, w->p);

    if (bad)
        return apr_pstrcat(w->p, w->d->name, " ", w->argv[0], ": ", bad, NULL);
#ifdef IIP_HAVE_CRYPTO
    *(const iip_thumb_keys **)member = keys;
    return NULL;
#else
    return iip_setting_unbuilt;
#endif
}

static const char *set_preset(void *member, const words *w)
{
    iip_preset *one = apr_pcalloc(w->p, sizeof *one);
    iip_thumb t;
    iip_error e = {0};

    one->name = w->argv[0];
    one->options = w->argv[1];
    one->next = *(const iip_preset **)member;
    if (!*one->name ||
        strspn(one->name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") < strlen(one->name))
        return apr_pstrcat(w->p, w->d->name, ": no name of letters and digits: ", one->name, NULL);
    iip_thumb_init(&t);
    if (iip_thumb_options(&t, one->options, one->next, w->p, &e) != IIP_OK)
        return apr_pstrcat(w->p, w->d->name, " ", one->name, ": no options: ", one->options,
                           e.part ? ", because of " : "", e.part, NULL);
    *(const iip_preset **)member = one;
    return NULL;
}

static setter *const setters[] = {
    [KIND_ROOT] = set_root,     [KIND_WORD] = set_word,         [KIND_FLAG] = set_flag,
    [KIND_COLOUR] = set_colour, [KIND_VERSIONS] = set_versions, [KIND_QUALITY] = set_quality,
    [KIND_LOWER] = set_lower,   [KIND_PAIR] = set_pair,         [KIND_PLACES] = set_places,
    [KIND_NUMBER] = set_number, [KIND_CODING] = set_coding,     [KIND_PROFILE] = set_profile,
    [KIND_TIME] = set_time,     [KIND_TEXT] = set_text,         [KIND_PIECE] = set_piece,
    [KIND_JSON] = set_json,     [KIND_URL] = set_url,           [KIND_WATERMARK] = set_watermark,
    [KIND_LIST] = set_list,     [KIND_NETS] = set_nets,         [KIND_LAYERS] = set_layers,
    [KIND_NOTICE] = set_notice, [KIND_SERVERS] = set_servers,   [KIND_CLIENT] = set_client,
    [KIND_WORDS] = set_words,   [KIND_TIMES] = set_times,       [KIND_PATHS] = set_paths,
    [KIND_KEYS] = set_keys,     [KIND_PRESET] = set_preset,
};

/* How many words the row's argument text asks for: "w [h]" is one or two, "cidr ..." one or more. */
static void arity(const char *args, int *min, int *max)
{
    *min = *max = 0;
    while (*args) {
        if (!strncmp(args, "...", 3)) {
            *max = INT_MAX;
        } else if (*args == '[') {
            *max += 1;
            args = strchr(args, ']');
        } else {
            *min += 1;
            *max += 1;
        }
        args += strcspn(args, " ");
        args += strspn(args, " ");
    }
}

const char *iip_setting_set(void *conf, const iip_directive *d, int argc, const char *const *argv, int htaccess,
                            apr_pool_t *p)
{
    const words w = {d, argc, argv, htaccess, p};
    int min, max;

    arity(d->args, &min, &max);
    if (argc < min || argc > max)
        return wrong(&w);
    return setters[d->kind]((char *)conf + d->at, &w);
}

static void set_default(void *conf, const iip_directive *d, apr_pool_t *p)
{
    char *argv[8], *last = NULL;
    int argc = 0;
    const char *bad;

    for (char *s = apr_strtok(apr_pstrdup(p, d->def), " ", &last); s; s = apr_strtok(NULL, " ", &last))
        argv[argc++] = s;
    if (!argc)
        return;
    bad = iip_setting_set(conf, d, argc, (const char *const *)argv, 0, p);
    assert(!bad);
    (void)bad;
}

void iip_settings_init(apr_pool_t *p)
{
    iip_settings_unset(&defaults);
    iip_server_settings_unset(&server_defaults);
    for (const iip_directive *d = iip_directives; d->name; d++)
        set_default(&defaults, d, p);
    for (const iip_directive *d = iip_server_directives; d->name; d++)
        set_default(&server_defaults, d, p);
    iip_job_settings_unset(&job_defaults);
    for (const iip_directive *d = iip_job_directives; d->name; d++)
        set_default(&job_defaults, d, p);
}

/* ---- values ---- */

iip_pair iip_lower_value(const iip_lower *l)
{
    return smaller_pair(l->admin, l->cap);
}

void iip_settings_limits(iip_limits *lim, const iip_settings *set)
{
    iip_pair size = iip_lower_value(&set->max_size);

    lim->max_width = size.a;
    lim->max_height = size.b;
    lim->max_area = set->max_area;
    lim->max_pixels = set->max_pixels;
    lim->memory = set->max_memory ? (size_t)set->max_memory : SIZE_MAX;
    lim->deadline = set->timeout;
    lim->foreign = 0;
    /* A server that grows pictures must say how far (spec/iiif.md R23) */
    lim->upscale = set->upscaling && (size.a || set->max_area);
}
