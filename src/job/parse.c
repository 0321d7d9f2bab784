/* SPDX-License-Identifier: Apache-2.0
 * The JSON of a job and the quick checks, in the order old clients know (spec/imgserve.md sections 2 to 6). */
#include "job.h"
#include "number.h"
#ifdef IIP_HAVE_JOBS
#include "path.h"
#include <jansson.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <apr_lib.h>
#include <apr_strings.h>

#define MOST_DEPTH 16 /* jansson recurses: a request thread has a small stack */

job_code job_fail(job_error *e, job_code code, int transient, const char *fmt, ...)
{
    va_list ap;

    e->code = code;
    e->transient = transient;
    va_start(ap, fmt);
    vsnprintf(e->detail, sizeof e->detail, fmt, ap);
    va_end(ap);
    return code;
}

static int too_deep(const char *s, size_t n)
{
    int depth = 0, quoted = 0;

    for (size_t i = 0; i < n; i++)
        if (quoted) {
            if (s[i] == '\\')
                i++;
            else if (s[i] == '"')
                quoted = 0;
        } else if (s[i] == '"') {
            quoted = 1;
        } else if (s[i] == '{' || s[i] == '[') {
            if (++depth > MOST_DEPTH)
                return 1;
        } else if (s[i] == '}' || s[i] == ']') {
            depth--;
        }
    return 0;
}

static apr_status_t forget(void *json)
{
    json_decref(json);
    return APR_SUCCESS;
}

/* The object of a text, freed with the pool; NULL. */
static json_t *object_of(const char *text, size_t n, apr_pool_t *p)
{
    json_error_t why;
    json_t *top = too_deep(text, n) ? NULL : json_loadb(text, n, JSON_REJECT_DUPLICATES, &why);

    if (top)
        apr_pool_cleanup_register(p, top, forget, apr_pool_cleanup_null);
    return json_is_object(top) ? top : NULL;
}

static apr_status_t free_text(void *text)
{
    free(text);
    return APR_SUCCESS;
}

job_code job_split(const char *text, size_t n, const char *const **jobs, int *count, int *batch, apr_pool_t *p,
                   job_error *e)
{
    json_t *top = object_of(text, n, p), *list;
    const char **out;
    size_t number;

    if (!top)
        return job_fail(e, JOB_E_PARSE, 0, "not a JSON object");
    list = json_object_get(top, "jobs");
    *batch = list != NULL;
    if (!list) {
        out = apr_palloc(p, sizeof *out);
        out[0] = apr_pstrmemdup(p, text, n);
        *jobs = out;
        *count = 1;
        return JOB_OK;
    }
    number = json_array_size(list);
    if (!json_is_array(list) || json_object_size(top) != 1 || number < 1 || number > JOB_MAX_BATCH)
        return job_fail(e, JOB_E_BATCH, 0, "jobs is to be the only key, with 1 to %d jobs", JOB_MAX_BATCH);
    out = apr_palloc(p, number * sizeof *out);
    for (size_t i = 0; i < number; i++) {
        json_t *one = json_array_get(list, i);
        char *dump;

        if (json_is_object(one) && json_object_get(one, "jobs"))
            return job_fail(e, JOB_E_BATCH, 0, "a batch in a batch");
        if (!(dump = json_dumps(one, JSON_COMPACT | JSON_ENCODE_ANY)))
            return job_fail(e, JOB_E_BUSY, 1, "no memory");
        apr_pool_cleanup_register(p, dump, free_text, apr_pool_cleanup_null);
        out[i] = dump;
    }
    *jobs = out;
    *count = (int)number;
    return JOB_OK;
}

/* --- optional arguments: one row each --- */

static int word_of(const char *text, const char *const *words)
{
    for (int i = 0; words[i]; i++)
        if (strcmp(text, words[i]) == 0)
            return i;
    return -1;
}

static int read_word(const json_t *v, const char *const *words, int *out)
{
    *out = json_is_string(v) ? word_of(json_string_value(v), words) : -1;
    return *out < 0 ? -1 : 0;
}

static int read_bool(const json_t *v, int *out)
{
    *out = json_is_true(v);
    return json_is_boolean(v) ? 0 : -1;
}

static int read_range(const json_t *v, int low, int high, int *out)
{
    json_int_t n = json_integer_value(v);

    if (!json_is_integer(v) || n < low || n > high)
        return -1;
    *out = (int)n;
    return 0;
}

static int opt_fit(job_t *j, const json_t *v)
{
    static const char *const words[] = {"crop", "fit", "pad", "stretch", NULL};

    return read_word(v, words, &j->fit);
}

static int opt_gravity(job_t *j, const json_t *v)
{
    static const struct {
        const char *name;
        job_gravity g;
    } known[] = {
        {"third", {0.5, 0, 1, 0}}, {"center", {0.5, 0.5, 0, 0}},  {"north", {0.5, 0, 0, 0}},
        {"south", {0.5, 1, 0, 0}}, {"east", {1, 0.5, 0, 0}},      {"west", {0, 0.5, 0, 0}},
        {"ne", {1, 0, 0, 0}},      {"nw", {0, 0, 0, 0}},          {"se", {1, 1, 0, 0}},
        {"sw", {0, 1, 0, 0}},      {"entropy", {0.5, 0.5, 0, 1}},
    };
    const char *text = json_string_value(v);

    for (size_t i = 0; text && i < sizeof known / sizeof *known; i++)
        if (strcmp(text, known[i].name) == 0) {
            j->gravity = known[i].g;
            return 0;
        }
    if (!text)
        return -1;
    j->gravity = (job_gravity){.x = job_decimal(&text)};
    if (*text++ != ',')
        return -1;
    j->gravity.y = job_decimal(&text);
    return !*text && j->gravity.x >= 0 && j->gravity.x <= 1 && j->gravity.y >= 0 && j->gravity.y <= 1 ? 0 : -1;
}

static int opt_enlarge(job_t *j, const json_t *v)
{
    return read_bool(v, &j->enlarge);
}

static int opt_format(job_t *j, const json_t *v)
{
    static const char *const words[] = {"jpeg", "png", "webp", "avif", "gif", "tiff", NULL};
    int n;

    if (read_word(v, words, &n) != 0)
        return -1;
    j->format = job_format_by_ext(words[n]);
    return j->format == IIP_FMT_NONE ? -1 : 0;
}

static int opt_quality(job_t *j, const json_t *v)
{
    return read_range(v, 1, 100, &j->quality);
}

static int opt_background(job_t *j, const json_t *v)
{
    const char *s = json_string_value(v);

    if (!s || strlen(s) != 6 || strspn(s, "0123456789abcdefABCDEF") != 6)
        return -1;
    j->background = (int)apr_strtoi64(s, NULL, 16);
    return 0;
}

static int opt_orient(job_t *j, const json_t *v)
{
    return read_bool(v, &j->orient);
}

static int opt_metadata(job_t *j, const json_t *v)
{
    static const char *const words[] = {"none", "copyright", "all", NULL};

    return read_word(v, words, &j->metadata);
}

static int opt_sharpen(job_t *j, const json_t *v)
{
    j->sharpen = json_number_value(v);
    return json_is_number(v) && j->sharpen >= 0 && j->sharpen <= 10 ? 0 : -1;
}

static int opt_rotate(job_t *j, const json_t *v)
{
    return read_range(v, 0, 270, &j->rotate) == 0 && j->rotate % 90 == 0 ? 0 : -1;
}

/* What goes into the header of a part of a form */
static int form_text(const char *s, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (s[i] == '\r' || s[i] == '\n' || s[i] == '"' || s[i] == '\0')
            return 0;
    return n > 0;
}

static int opt_form(job_t *j, const json_t *v)
{
    const char *name;
    json_t *value;

    if (!json_is_object(v) || json_object_size(v) > JOB_MAX_FIELDS)
        return -1;
    json_object_foreach((json_t *)v, name, value)
    {
        if (!json_is_string(value) || !form_text(name, strlen(name)) ||
            strlen(json_string_value(value)) != json_string_length(value))
            return -1;
        j->form[j->form_count].name = name;
        j->form[j->form_count++].value = json_string_value(value);
    }
    return 0;
}

static int opt_method(job_t *j, const json_t *v)
{
    static const char *const words[] = {"post", "put", NULL};
    int n;

    return read_word(v, words, &n); /* which one was known when dstURL was split */
}

static const struct {
    const char *name;
    int (*read)(job_t *j, const json_t *v);
} options[] = {
    {"method", opt_method},     {"fit", opt_fit},         {"gravity", opt_gravity},       {"enlarge", opt_enlarge},
    {"format", opt_format},     {"quality", opt_quality}, {"background", opt_background}, {"orient", opt_orient},
    {"metadata", opt_metadata}, {"sharpen", opt_sharpen}, {"rotate", opt_rotate},         {"form", opt_form},
};

/* --- the checks --- */

typedef struct {
    job_t *j;
    json_t *top, *args;
    const job_place *place;
    apr_pool_t *pool;
    job_error *e;
    const char *basename, *ext; /* of the source */
    const char *raw_dest;
    int dest_scheme;  /* by its first word; JOB_SCHEMES: another */
    iip_format asked; /* args.format as far as it can be read before its turn */
} check;

static const char *text_of(const json_t *v)
{
    const char *s = json_string_value(v);

    return s && *s && strlen(s) == json_string_length(v) ? s : NULL;
}

static int scheme_of(const char *url)
{
    const char *end = strstr(url, "://");

    for (int i = 0; end && i < JOB_SCHEMES; i++)
        if (strlen(job_scheme_names[i]) == (size_t)(end - url) &&
            strncasecmp(url, job_scheme_names[i], (size_t)(end - url)) == 0)
            return i;
    return JOB_SCHEMES;
}

static int listed(const char *const *words, const char *word)
{
    for (; words && *words; words++)
        if (strcmp(*words, word) == 0)
            return 1;
    return 0;
}

static job_code check_keys(check *c)
{
    static const char *const known[] = {"operationType", "srcURL",      "dstURL", "args",
                                        "callback",      "placeholder", "key",    NULL};
    const char *name;
    json_t *value;

    json_object_foreach(c->top, name, value) if (!listed(known, name)) return job_fail(c->e, JOB_E_KEYS, 0,
                                                                                       "an unknown key");
    for (int i = 0; i < 4; i++)
        if (!json_object_get(c->top, known[i]))
            return job_fail(c->e, JOB_E_KEYS, 0, "%s is missing", known[i]);
    return JOB_OK;
}

static job_code check_operation(check *c)
{
    static const char *const words[] = {"resize", "rasterize", NULL};

    if (read_word(json_object_get(c->top, "operationType"), words, &c->j->operation) != 0)
        return job_fail(c->e, JOB_E_OPERATION, 0, "operationType is resize or rasterize");
    c->j->fit = c->j->operation == JOB_RASTERIZE ? JOB_STRETCH : JOB_CROP;
    return JOB_OK;
}

static job_code check_args(check *c)
{
    const json_t *format;

    c->args = json_object_get(c->top, "args");
    if (!json_is_object(c->args))
        return job_fail(c->e, JOB_E_ARGS, 0, "args is to be an object");
    format = json_object_get(c->args, "format");
    if (json_is_string(format))
        c->asked = job_format_by_ext(json_string_value(format));
    return JOB_OK;
}

static job_code check_source(check *c)
{
    if (!(c->j->source = text_of(json_object_get(c->top, "srcURL"))))
        return job_fail(c->e, JOB_E_SOURCE, 0, "srcURL is to be a URL");
    job_name_split(c->j->source, &c->basename, &c->ext, c->pool);
    return JOB_OK;
}

/* page:name is split here, before its tags are known: a value never makes another colon of it. */
static job_code check_dest(check *c)
{
    const json_t *method = json_object_get(c->args, "method");
    const char *name;

    if (!(c->raw_dest = text_of(json_object_get(c->top, "dstURL"))))
        return job_fail(c->e, JOB_E_DEST, 0, "dstURL is to be a URL");
    c->dest_scheme = scheme_of(c->raw_dest);
    c->j->store = c->dest_scheme == JOB_FILE                                            ? JOB_STORE_FILE
                  : c->dest_scheme == JOB_FTP || c->dest_scheme == JOB_FTPS             ? JOB_STORE_FTP
                  : json_is_string(method) && !strcmp(json_string_value(method), "put") ? JOB_STORE_PUT
                                                                                        : JOB_STORE_FORM;
    if (c->dest_scheme == JOB_SCHEMES)
        return JOB_OK; /* its turn comes */
    name = strrchr(c->raw_dest, c->j->store == JOB_STORE_FORM ? ':' : '/') + 1;
    if (!*name || (c->j->store == JOB_STORE_FORM && (strchr(name, '/') || !form_text(name, strlen(name)))))
        return job_fail(c->e, JOB_E_DEST, 0, "dstURL has no file name");
    return JOB_OK;
}

static job_code check_size_there(check *c)
{
    return json_object_get(c->args, "width") && json_object_get(c->args, "height")
               ? JOB_OK
               : job_fail(c->e, JOB_E_SIZE_MISSING, 0, "width or height is missing");
}

static job_code check_size(check *c)
{
    return read_range(json_object_get(c->args, "width"), 1, JOB_MAX_SIDE, &c->j->width) == 0 &&
                   read_range(json_object_get(c->args, "height"), 1, JOB_MAX_SIDE, &c->j->height) == 0
               ? JOB_OK
               : job_fail(c->e, JOB_E_SIZE, 0, "width and height are whole numbers from 1 to %d", JOB_MAX_SIDE);
}

static int is_svg(const char *ext)
{
    return strcasecmp(ext, "svg") == 0 || strcasecmp(ext, "svgz") == 0;
}

static job_code check_source_ext(check *c)
{
    static const char *const pictures[] = {"png", "gif", "jpg", "jpeg", "tif",  "tiff", "webp",
                                           "jp2", "j2k", "jpf", "jpx",  "avif", NULL};
    char *low = apr_pstrdup(c->pool, c->ext);

    for (char *s = low; *s; s++)
        *s = (char)apr_tolower(*s);
    if (!*low || (c->j->operation == JOB_RASTERIZE ? is_svg(low) : listed(pictures, low)))
        return JOB_OK;
    return job_fail(c->e, JOB_E_SOURCE_EXT, 0, "the operation has no use for sources of that extension");
}

static job_code check_source_scheme(check *c)
{
    const int scheme = scheme_of(c->j->source);

    if (scheme == JOB_SCHEMES || !listed(c->place->source_schemes, job_scheme_names[scheme]))
        return job_fail(c->e, JOB_E_SOURCE_SCHEME, 0, "srcURL's scheme is not served");
    return job_url_parse(&c->j->from, c->j->source, c->pool) == 0
               ? JOB_OK
               : job_fail(c->e, JOB_E_SOURCE, 0, "srcURL is no good URL");
}

static job_code check_dest_scheme(check *c)
{
    if (c->dest_scheme == JOB_SCHEMES || !listed(c->place->dest_schemes, job_scheme_names[c->dest_scheme]))
        return job_fail(c->e, JOB_E_DEST_SCHEME, 0, "dstURL's scheme is not served");
    return JOB_OK;
}

static job_code check_field(check *c)
{
    const json_t *field = json_object_get(c->args, "field_name");

    if (!field)
        field = json_object_get(c->args, "field_file");
    if (c->j->store != JOB_STORE_FORM)
        return JOB_OK;
    if (!field)
        return job_fail(c->e, JOB_E_EXTRA_MISSING, 0, "field_name is missing");
    c->j->field = text_of(field);
    if (!c->j->field || !form_text(c->j->field, strlen(c->j->field)))
        return job_fail(c->e, JOB_E_EXTRA_TYPE, 0, "field_name is to be a text");
    return JOB_OK;
}

/* Tags are replaced now that everything they need is known. */
static job_code expand_dest(check *c)
{
    const int drawn = c->j->operation == JOB_RASTERIZE && is_svg(c->ext);
    const iip_encoder *usual = iip_encoder_find(c->asked != IIP_FMT_NONE ? c->asked : IIP_FMT_PNG);
    const job_tags tags = {c->j->width, c->j->height, c->basename,
                           usual && (c->asked != IIP_FMT_NONE || drawn) ? usual->ext : c->ext};
    const int form = c->j->store == JOB_STORE_FORM;
    const char *url, *name;
    job_t *j = c->j;

    if (c->dest_scheme == JOB_SCHEMES)
        return JOB_OK; /* its turn comes */
    j->dest = job_tags_expand(c->raw_dest, &tags, !form, c->pool);
    url = form ? apr_pstrmemdup(c->pool, j->dest, (size_t)(strrchr(c->raw_dest, ':') - c->raw_dest)) : j->dest;
    if (strlen(j->dest) > JOB_MAX_TEXT || job_url_parse(&j->to, url, c->pool) != 0)
        return job_fail(c->e, JOB_E_DEST, 0, "dstURL is no good URL");
    name = form ? j->dest + strlen(url) + 1 : strrchr(j->to.path, '/') + 1;
    if (!*name || strcmp(name, ".") == 0 || strcmp(name, "..") == 0 ||
        (form && (!form_text(name, strlen(name)) || strchr(name, '/'))))
        return job_fail(c->e, JOB_E_DEST, 0, "dstURL has no file name");
    for (const char *s = form ? name : j->to.path; *s; s++)
        if (apr_iscntrl(*s) || (s[0] == '/' && s[1] == '.' && s[2] == '.' && (s[3] == '/' || !s[3])))
            return job_fail(c->e, JOB_E_DEST, 0, "dstURL's path is refused");
    if (j->store == JOB_STORE_FILE && !iip_path_good(j->to.path + 1))
        return job_fail(c->e, JOB_E_DEST, 0, "dstURL's path is refused");
    j->file_name = name;
    return JOB_OK;
}

static job_code check_dest_ext(check *c)
{
    const char *dot = strrchr(c->j->file_name, '.');
    iip_format named = dot && dot[1] ? job_format_by_ext(dot + 1) : IIP_FMT_NONE;
    const int none = !dot || !dot[1];

    c->j->format = c->asked != IIP_FMT_NONE           ? c->asked
                   : !none                            ? named
                   : c->j->operation == JOB_RASTERIZE ? IIP_FMT_PNG
                                                      : IIP_FMT_NONE;
    if (c->j->format == IIP_FMT_NONE || (!none && named != c->j->format) || !iip_encoder_find(c->j->format))
        return job_fail(c->e, JOB_E_DEST_EXT, 0, "the destination names no format that can be written, or another");
    return JOB_OK;
}

static job_code check_options(check *c)
{
    const iip_format format = c->j->format;
    json_t *v;

    for (size_t i = 0; i < sizeof options / sizeof *options; i++)
        if ((v = json_object_get(c->args, options[i].name)) && options[i].read(c->j, v) != 0)
            return job_fail(c->e, JOB_E_OPTION, 0, "%s is wrong", options[i].name);
    c->j->format = format;
    if ((v = json_object_get(c->top, "placeholder")) && read_bool(v, &c->j->placeholder) != 0)
        return job_fail(c->e, JOB_E_OPTION, 0, "placeholder is wrong");
    if ((v = json_object_get(c->top, "key")) && (!(c->j->key = text_of(v)) || strlen(c->j->key) > 128))
        return job_fail(c->e, JOB_E_OPTION, 0, "key is wrong");
    return JOB_OK;
}

static job_code check_allowed(check *c)
{
    const job_place *place = c->place;
    const job_t *j = c->j;

    if (j->from.scheme == JOB_FILE
            ? !place->source_root || !iip_path_good(j->from.path + 1)
            : !job_host_listed(j->from.host, place->source_hosts) || !job_port_good(place, j->from.port))
        return job_fail(c->e, JOB_E_FORBIDDEN, 0, "the source is not allowed");
    if (j->to.scheme == JOB_FILE ? !place->dest_root
                                 : !job_host_listed(j->to.host, place->dest_hosts) || !job_port_good(place, j->to.port))
        return job_fail(c->e, JOB_E_FORBIDDEN, 0, "the destination is not allowed");
    if ((int64_t)j->width * j->height > place->max_pixels)
        return job_fail(c->e, JOB_E_FORBIDDEN, 0, "the result is too large");
    return JOB_OK;
}

static job_code check_callback(check *c)
{
    json_t *v = json_object_get(c->top, "callback");

    if (v && (!(c->j->callback = text_of(v)) || job_url_parse(&c->j->call, c->j->callback, c->pool) != 0 ||
              c->j->call.scheme > JOB_HTTPS || !job_port_good(c->place, c->j->call.port) ||
              !job_host_listed(c->j->call.host, c->place->dest_hosts)))
        return job_fail(c->e, JOB_E_CALLBACK, 0, "callback is no URL that may be called");
    return JOB_OK;
}

job_code job_parse(job_t *j, const char *text, size_t n, const job_place *place, apr_pool_t *p, job_error *e)
{
    static job_code (*const checks[])(check *) = {
        check_keys,     check_operation, check_args,       check_source,        check_dest,        check_size_there,
        check_size,     expand_dest,     check_source_ext, check_source_scheme, check_dest_scheme, check_field,
        check_dest_ext, check_options,   check_allowed,    check_callback,
    };
    check c = {.j = j, .place = place, .pool = p, .e = e};
    job_code rv = JOB_OK;

    memset(j, 0, sizeof *j);
    j->gravity = (job_gravity){0.5, 0, 1, 0};
    j->quality = j->background = -1;
    j->orient = j->placeholder = 1;
    j->metadata = JOB_METADATA_COPYRIGHT;
    if (n > JOB_MAX_TEXT || !(c.top = object_of(text, n, p)))
        return job_fail(e, JOB_E_PARSE, 0, "not a JSON object");
    for (size_t i = 0; i < sizeof checks / sizeof *checks && rv == JOB_OK; i++)
        rv = checks[i](&c);
    return rv;
}
#endif
