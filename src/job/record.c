/* SPDX-License-Identifier: Apache-2.0
 * Records to and from JSON. */
#include "record.h"
#ifdef IIP_HAVE_JOBS
#include <fcntl.h>
#include <inttypes.h>
#include <jansson.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <apr_strings.h>
#ifdef IIP_HAVE_CRYPTO
#include <openssl/evp.h>
#include <openssl/hmac.h>
#endif

/* --- the place, row by row --- */

static json_t *out_TEXT(const char *v)
{
    return v ? json_string(v) : json_null();
}

static json_t *out_LIST(const char *const *v)
{
    json_t *a = json_array();

    for (; v && *v; v++)
        json_array_append_new(a, json_string(*v));
    return a;
}

static json_t *out_NUMBER(int64_t v)
{
    return json_integer(v);
}

static const char *in_TEXT(const json_t *v, apr_pool_t *p)
{
    return json_is_string(v) ? apr_pstrdup(p, json_string_value(v)) : NULL;
}

static const char *const *in_LIST(const json_t *v, apr_pool_t *p)
{
    size_t n = json_array_size(v);
    const char **out = apr_pcalloc(p, (n + 1) * sizeof *out);

    for (size_t i = 0; i < n; i++)
        if (!(out[i] = in_TEXT(json_array_get(v, i), p)))
            break;
    return out;
}

static int64_t in_NUMBER(const json_t *v, apr_pool_t *p)
{
    return json_integer_value(v);
}

#define OUT(KIND, m) json_object_set_new(o, #m, out_##KIND(place->m));
#define IN(KIND, m)  place->m = in_##KIND(json_object_get(o, #m), p);

static json_t *place_out(const job_place *place)
{
    json_t *o = json_object(), *q = json_array();

    JOB_PLACE(OUT)
    for (int i = 0; i < IIP_FMT_COUNT; i++)
        json_array_append_new(q, json_integer(place->quality[i]));
    json_object_set_new(o, "quality", q);
    return o;
}

static void place_in(job_place *place, const json_t *o, apr_pool_t *p)
{
    JOB_PLACE(IN)
    for (int i = 0; i < IIP_FMT_COUNT; i++) {
        const json_t *q = json_array_get(json_object_get(o, "quality"), (size_t)i);

        place->quality[i] = json_is_integer(q) ? (int)json_integer_value(q) : -1;
    }
}

/* --- the rest --- */

static const char *text_of(json_t *o, apr_pool_t *p)
{
    char *dump = json_dumps(o, JSON_COMPACT);
    const char *copy = dump ? apr_pstrdup(p, dump) : NULL;

    free(dump);
    json_decref(o);
    return copy;
}

static const char *format_name(iip_format f)
{
    const iip_encoder *enc = iip_encoder_find(f);

    return enc ? enc->name : NULL;
}

static void add_end(json_t *o, const job_record *r)
{
    json_t *error = json_object();

    if (r->error.code) {
        json_object_set_new(error, "code", json_integer(r->error.code));
        json_object_set_new(error, "msg", json_string(r->error.detail));
        json_object_set_new(o, "error", error);
    } else {
        json_decref(error);
        json_object_set_new(o, "error", json_null());
    }
    json_object_set_new(o, "width", json_integer(r->width));
    json_object_set_new(o, "height", json_integer(r->height));
    json_object_set_new(o, "bytes", json_integer(r->bytes));
    json_object_set_new(o, "format", out_TEXT(format_name(r->format)));
}

static void add_times(json_t *o, const job_record *r, int over)
{
    json_object_set_new(o, "accepted", json_integer(r->accepted));
    json_object_set_new(o, "started", r->started ? json_integer(r->started) : json_null());
    json_object_set_new(o, "ended", over && r->ended ? json_integer(r->ended) : json_null());
}

const char *job_record_text(const job_record *r, apr_pool_t *p)
{
    json_t *o = json_object();

    json_object_set_new(o, "id", json_string(r->id));
    json_object_set_new(o, "request", json_string(r->request));
    json_object_set_new(o, "place", place_out(&r->place));
    json_object_set_new(o, "dstURL", json_string(r->dest));
    json_object_set_new(o, "key", out_TEXT(r->key));
    json_object_set_new(o, "state", out_TEXT(r->state));
    json_object_set_new(o, "attempts", json_integer(r->attempts));
    add_times(o, r, 1);
    add_end(o, r);
    return text_of(o, p);
}

int job_record_read(job_record *r, const char *text, apr_pool_t *p)
{
    json_error_t why;
    json_t *o = json_loads(text, JSON_REJECT_DUPLICATES, &why);
    const json_t *error;
    const char *name;

    memset(r, 0, sizeof *r);
    if (!json_is_object(o)) {
        json_decref(o);
        return -1;
    }
    r->id = in_TEXT(json_object_get(o, "id"), p);
    r->request = in_TEXT(json_object_get(o, "request"), p);
    r->dest = in_TEXT(json_object_get(o, "dstURL"), p);
    r->key = in_TEXT(json_object_get(o, "key"), p);
    r->state = in_TEXT(json_object_get(o, "state"), p);
    place_in(&r->place, json_object_get(o, "place"), p);
    r->accepted = json_integer_value(json_object_get(o, "accepted"));
    r->started = json_integer_value(json_object_get(o, "started"));
    r->ended = json_integer_value(json_object_get(o, "ended"));
    r->attempts = (int)json_integer_value(json_object_get(o, "attempts"));
    r->width = (int)json_integer_value(json_object_get(o, "width"));
    r->height = (int)json_integer_value(json_object_get(o, "height"));
    r->bytes = json_integer_value(json_object_get(o, "bytes"));
    if ((error = json_object_get(o, "error")) && json_is_object(error)) {
        r->error.code = (job_code)json_integer_value(json_object_get(error, "code"));
        name = json_string_value(json_object_get(error, "msg"));
        apr_cpystrn(r->error.detail, name ? name : "", sizeof r->error.detail);
    }
    if ((name = json_string_value(json_object_get(o, "format"))) != NULL)
        r->format = job_format_by_ext(name);
    json_decref(o);
    return r->id && r->request && r->dest && job_id_good(r->id) ? 0 : -1;
}

const char *job_record_state(const job_record *r, job_folder in, const job_entry *entry, apr_pool_t *p)
{
    json_t *o = json_object();
    const char *state = in == JOB_IN_RUN     ? "running"
                        : in == JOB_IN_QUEUE ? (entry->attempts ? "retrying" : "queued")
                        : r->state           ? r->state
                                             : "failed";

    json_object_set_new(o, "id", json_string(r->id));
    json_object_set_new(o, "state", json_string(state));
    json_object_set_new(o, "dstURL", json_string(r->dest));
    json_object_set_new(o, "attempts",
                        json_integer(in == JOB_IN_RUN || in == JOB_IN_QUEUE ? entry->attempts : r->attempts));
    add_times(o, r, in != JOB_IN_RUN && in != JOB_IN_QUEUE);
    add_end(o, r);
    return text_of(o, p);
}

static const char *changed(const char *old, uint64_t *dest, apr_pool_t *p, const char *state)
{
    job_record r;
    job_error e;
    job_t j;

    if (job_record_read(&r, old, p) != 0)
        return NULL;
    *dest = job_parse(&j, r.request, strlen(r.request), &r.place, p, &e) == JOB_OK ? job_dest_hash(j.dest) : 1;
    r.state = state;
    r.ended = state ? job_now() : 0;
    r.attempts = 0;
    r.error = (job_error){0};
    return job_record_text(&r, p);
}

const char *job_record_cancelled(const char *old, uint64_t *dest, apr_pool_t *p)
{
    return changed(old, dest, p, "cancelled");
}

const char *job_record_again(const char *old, uint64_t *dest, apr_pool_t *p)
{
    return changed(old, dest, p, NULL);
}

const char *job_signature(const char *secret_file, const char *body, int64_t now, apr_pool_t *p)
{
#ifdef IIP_HAVE_CRYPTO
    enum { MOST_SECRET = 4096 };
    unsigned char secret[MOST_SECRET], mac[EVP_MAX_MD_SIZE];
    unsigned length = 0;
    const char *text = apr_psprintf(p, "%" PRId64 ".%s", now, body);
    char *hex;
    int fd = open(secret_file, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, secret, sizeof secret);

    if (fd >= 0)
        close(fd);
    while (n > 0 && (secret[n - 1] == '\n' || secret[n - 1] == '\r')) /* as editors leave it */
        n--;
    if (n <= 0 || !HMAC(EVP_sha256(), secret, (int)n, (const unsigned char *)text, strlen(text), mac, &length))
        return NULL;
    hex = apr_palloc(p, 2 * length + 1);
    for (unsigned i = 0; i < length; i++)
        snprintf(hex + 2 * i, 3, "%02x", mac[i]);
    return apr_psprintf(p, "t=%" PRId64 ",v1=%s", now, hex);
#else
    return NULL;
#endif
}
#endif
