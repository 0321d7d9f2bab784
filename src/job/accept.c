/* SPDX-License-Identifier: Apache-2.0
 * A job from its text to its reply. What is promised by the reply is on the disk before it. */
#include "accept.h"
#ifdef IIP_HAVE_JOBS
#include "render.h"
#include "transfer.h"
#include <jansson.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <apr_strings.h>

#define MOST_HEAD    (256 << 10)
#define SLOW_SECONDS 30
#define KEY_SECONDS  5    /* more for the reply of the one who has the key, and may be in its slow phase */
#define COUNT_EVERY  1000 /* ms */

/* --- the head of the source --- */

typedef struct {
    const job_t *j;
    const job_place *place;
    char *data;
    size_t have, room, next; /* next: the length at which it is looked at again */
    job_svg *svg;            /* of a drawing: nothing else is kept of it */
    job_head head;
    int known, more, bad; /* bad: svg's reader said why */
    apr_pool_t *pool;
    job_error why;
} head_taker;

static apr_status_t free_head(void *ctx)
{
    free(((head_taker *)ctx)->data);
    return APR_SUCCESS;
}

static void look_at(head_taker *h, int whole)
{
    apr_pool_t *p;

    if (apr_pool_create(&p, h->pool) != APR_SUCCESS)
        return;
    h->known = job_look(h->j, h->place, iip_source_memory(h->data, h->have, "source", p), whole, &h->head, &h->more, p,
                        &h->why) == JOB_OK;
    apr_pool_destroy(p);
}

static int take_head(void *ctx, const void *data, size_t n)
{
    head_taker *h = ctx;
    const size_t most = MOST_HEAD;

    if (n == 0)
        return 0;
    if (h->svg)
        return h->bad = job_svg_feed(h->svg, data, n, &h->why) != JOB_OK;
    if (n > most - h->have)
        n = most - h->have;
    if (h->have + n > h->room) {
        size_t room = 2 * (h->have + n);
        char *more = realloc(h->data, room);

        if (!more)
            return -1;
        h->data = more;
        h->room = room;
    }
    memcpy(h->data + h->have, data, n);
    h->have += n;
    if (h->have >= h->next || h->have == most) {
        h->next = 2 * h->have;
        look_at(h, 0);
        if (h->known || !h->more)
            return 1;
    }
    return h->have == most;
}

/* What cannot be read to its end here may be a picture all the same (a TIFF with its directory behind its pixels): it
 * is taken if its first bytes are those of one and the result's size does not depend on the source's. */
static job_code judge(head_taker *h, job_frame *f, job_error *e)
{
    const iip_decoder *dec =
        iip_decoder_find((const unsigned char *)h->data, h->have < IIP_SNIFF ? h->have : IIP_SNIFF);

    if (h->known)
        return job_frame_of(h->j, (double)h->head.w, (double)h->head.h, f, e);
    if (!h->more || !dec || dec->flags & IIP_DEC_TRUSTED || h->j->fit == JOB_FIT || h->have < MOST_HEAD) {
        *e = h->why;
        return e->code;
    }
    *f = (job_frame){.out_w = h->j->width, .out_h = h->j->height};
    return JOB_OK;
}

static job_code judge_svg(const job_t *j, job_svg *svg, job_frame *f, job_error *e)
{
    double w, h;

    if (job_svg_end(svg, &w, &h, e) != JOB_OK)
        return e->code;
    return job_frame_of(j, w > 0 ? w : j->width, h > 0 ? h : j->height, f, e);
}

static job_code look_at_drawing(const job_t *j, const job_place *place, iip_source_t *s, job_frame *f, apr_pool_t *p,
                                job_error *e)
{
    enum { PIECE = 65536 };
    job_svg *svg = job_svg_begin(place->max_source, p);
    char *piece = apr_palloc(p, PIECE);
    iip_error why;

    if (!svg)
        return job_fail(e, JOB_E_SVG, 1, "no memory");
    for (int64_t at = 0; at < s->id.size; at += PIECE) {
        const size_t n = s->id.size - at < PIECE ? (size_t)(s->id.size - at) : PIECE;

        if (s->read(s, piece, n, at, &why) != IIP_OK)
            return job_fail(e, JOB_E_FETCH, 1, "the source cannot be read");
        if (job_svg_feed(svg, piece, n, e) != JOB_OK)
            return e->code;
    }
    return judge_svg(j, svg, f, e);
}

static job_code look_at_file(const job_t *j, const job_place *place, job_frame *f, apr_pool_t *p, job_error *e)
{
    iip_source_t *s;
    job_head head;
    int more;

    if (job_open_source(&j->from, place, &s, p, e) != JOB_OK)
        return e->code;
    if (j->operation == JOB_RASTERIZE)
        return look_at_drawing(j, place, s, f, p, e);
    return job_look(j, place, s, 1, &head, &more, p, e) == JOB_OK
               ? job_frame_of(j, (double)head.w, (double)head.h, f, e)
               : e->code;
}

static job_code look_at_source(const job_t *j, const job_place *place, apr_time_t until, job_frame *f, apr_pool_t *p,
                               job_error *e)
{
    head_taker *h;

    if (j->from.scheme == JOB_FILE)
        return look_at_file(j, place, f, p, e);
    h = apr_pcalloc(p, sizeof *h);
    *h = (head_taker){.j = j, .place = place, .next = 2048, .pool = p};
    job_fail(&h->why, JOB_E_NO_PICTURE, 0, "no picture of a kind that is read here");
    apr_pool_cleanup_register(p, h, free_head, apr_pool_cleanup_null);
    if (j->operation == JOB_RASTERIZE && !(h->svg = job_svg_begin(place->max_source, p)))
        return job_fail(e, JOB_E_SVG, 1, "no memory");
    if (job_fetch(&j->from, place, until, take_head, h, p, e) != JOB_OK)
        return e->code;
    if (h->bad) {
        *e = h->why;
        return e->code;
    }
    if (h->svg)
        return judge_svg(j, h->svg, f, e);
    if (!h->known && h->have < MOST_HEAD)
        look_at(h, 1);
    return judge(h, f, e);
}

/* --- the placeholder --- */

typedef struct {
    iip_sink sink;
    int fd;
    int64_t size;
} file_sink;

static iip_status write_file(iip_sink *sink, const void *data, size_t n, iip_error *e)
{
    file_sink *k = (file_sink *)sink;

    for (size_t at = 0; at < n;) {
        ssize_t w = write(k->fd, (const char *)data + at, n - at);

        if (w <= 0)
            return iip_fail(e, IIP_E_IO, APR_FROM_OS_ERROR(w ? 5 : 0), "cannot keep a picture");
        at += (size_t)w;
    }
    k->size += (int64_t)n;
    return IIP_OK;
}

/* Those that were made last: of one size, format and text there are many in a row. */
#define MOST_KEPT    16
#define LARGE_KEPT   (1 << 20) /* bytes; larger ones are made anew */
#define MOST_AT_ONCE 4000000   /* pixels */

static struct {
    char *key;
    int fd;
    int64_t size;
} kept[MOST_KEPT];
static int next_kept;
static pthread_mutex_t kept_lock = PTHREAD_MUTEX_INITIALIZER, heavy_lock = PTHREAD_MUTEX_INITIALIZER;

static const char *kept_key(const job_t *j, const job_place *place, int64_t w, int64_t h, const char *text, int file,
                            apr_pool_t *p)
{
    struct stat st = {0};

    if (file && stat(place->placeholder_file, &st) != 0)
        return NULL;
    return apr_psprintf(
        p, "%" PRId64 " %" PRId64 " %d %d %d %" PRId64 " %" PRId64 " %" PRId64 " %" PRId64 " %" PRId64 " %s", w, h,
        (int)j->format, j->quality, place->quality[j->format], place->placeholder_ground, place->placeholder_ink,
        (int64_t)st.st_mtim.tv_sec, (int64_t)st.st_mtim.tv_nsec, (int64_t)st.st_size,
        file   ? place->placeholder_file
        : text ? text
               : "");
}

/* A descriptor of the caller's own; -1. */
static int find_kept(const char *key, int64_t *size)
{
    int fd = -1;

    pthread_mutex_lock(&kept_lock);
    for (int i = 0; key && i < MOST_KEPT; i++)
        if (kept[i].key && strcmp(kept[i].key, key) == 0) {
            fd = fcntl(kept[i].fd, F_DUPFD_CLOEXEC, 0);
            *size = kept[i].size;
        }
    pthread_mutex_unlock(&kept_lock);
    return fd;
}

static void keep_one(const char *key, int fd, int64_t size)
{
    char *copy = key && size <= LARGE_KEPT ? strdup(key) : NULL;
    int own = copy ? fcntl(fd, F_DUPFD_CLOEXEC, 0) : -1;

    if (own < 0) {
        free(copy);
        return;
    }
    pthread_mutex_lock(&kept_lock);
    if (kept[next_kept].key) {
        free(kept[next_kept].key);
        close(kept[next_kept].fd);
    }
    kept[next_kept].key = copy;
    kept[next_kept].fd = own;
    kept[next_kept].size = size;
    next_kept = (next_kept + 1) % MOST_KEPT;
    pthread_mutex_unlock(&kept_lock);
}

job_code job_keep_placeholder(const job_t *j, const job_place *place, int64_t w, int64_t h, const char *text, int *fd,
                              int64_t *size, apr_pool_t *p, job_error *e)
{
    const iip_enc_opts opts = {.quality = -1};
    const int file = place->placeholder_file && text == place->placeholder_text;
    const char *key = kept_key(j, place, w, h, text, file, p);
    file_sink k = {{write_file}, -1, 0};
    iip_budget b = {.limit = SIZE_MAX};
    apr_interval_time_t took = 0;
    apr_pool_t *own_pool;
    job_t own = *j;
    iip_stage_t *top;
    job_code rv;
    /* Formats that are held as a whole: one large one at a time in a process */
    const int heavy = iip_encoder_find(j->format)->whole && w * h > MOST_AT_ONCE;

    if ((*fd = find_kept(key, size)) >= 0)
        return JOB_OK;
    if ((k.fd = memfd_create("iip-placeholder", MFD_CLOEXEC)) < 0)
        return job_fail(e, JOB_E_STORE, 1, "no memory for a placeholder");
    if (apr_pool_create(&own_pool, p) != APR_SUCCESS) {
        close(k.fd);
        return job_fail(e, JOB_E_STORE, 1, "no memory for a placeholder");
    }
    own.background = -1;
    if (heavy)
        pthread_mutex_lock(&heavy_lock);
    if (file) {
        const job_url from = {.path = place->placeholder_file};
        job_place here = *place;
        iip_source_t *s;

        here.source_root = "/";
        own.operation = JOB_RESIZE;
        own.width = (int)w;
        own.height = (int)h;
        own.fit = JOB_CROP;
        own.enlarge = 1;
        own.rotate = 0;
        own.sharpen = 0;
        own.metadata = JOB_METADATA_NONE;
        own.gravity = (job_gravity){0.5, 0.5, 0, 0};
        rv = job_open_source(&from, &here, &s, own_pool, e) == JOB_OK
                 ? job_render(&own, place, s, (size_t)256 << 20, &k.sink, &took, own_pool, e)
                 : e->code;
    } else {
        top = job_placeholder(w, h, (int)place->placeholder_ground, (int)place->placeholder_ink, text, own_pool);
        rv = top ? job_write(&own, place, top, &opts, -1, &b, &k.sink, &took, own_pool, e) : JOB_E_STORE;
    }
    apr_pool_destroy(own_pool); /* not held while it is sent */
    if (heavy)
        pthread_mutex_unlock(&heavy_lock);
    if (rv != JOB_OK) {
        close(k.fd);
        return job_fail(e, JOB_E_STORE, 1, "the placeholder cannot be made");
    }
    keep_one(key, k.fd, k.size);
    *fd = k.fd;
    *size = k.size;
    return JOB_OK;
}

static job_code slow_phase(const job_t *j, const job_place *place, const char *id, apr_time_t until, apr_pool_t *p,
                           job_error *e)
{
    job_frame f;
    int64_t size;
    job_code rv;
    int fd;

    if (look_at_source(j, place, until, &f, p, e) != JOB_OK)
        return e->code;
    rv = job_keep_placeholder(j, place, j->fit == JOB_FIT ? f.out_w : j->width, j->fit == JOB_FIT ? f.out_h : j->height,
                              place->placeholder_text, &fd, &size, p, e);
    if (rv == JOB_OK) {
        rv = job_store(j, place, id, "placeholder", fd, size, until, p, e);
        close(fd);
    }
    if (rv != JOB_OK && rv != JOB_E_DEST_ADDRESS)
        e->code = rv = JOB_E_STORE;
    return rv;
}

/* --- the reply --- */

static json_t *taken(const job_desk *d, const char *id, const char *dest)
{
    json_t *o = json_object();

    json_object_set_new(o, "dstURL", json_string(dest));
    json_object_set_new(o, "id", json_string(id));
    json_object_set_new(o, "statusURL", json_sprintf("%s/%s", d->base, id));
    return o;
}

static json_t *refused(const job_desk *d, const job_error *e, job_reply *kind)
{
    json_t *o = json_object();

    if (e->code < JOB_CODES)
        JOB_COUNT(d->counters, rejected[e->code], 1);
    *kind = e->code == JOB_E_PARSE ? JOB_REPLY_PARSE : e->code == JOB_E_BUSY ? JOB_REPLY_BUSY : JOB_REPLY_INVALID;
    json_object_set_new(o, "msg",
                        json_string(*kind == JOB_REPLY_PARSE  ? "request parse error"
                                    : *kind == JOB_REPLY_BUSY ? "busy"
                                                              : "request invalid"));
    if (*kind != JOB_REPLY_PARSE)
        json_object_set_new(o, "code", json_integer(e->code));
    if (*kind == JOB_REPLY_INVALID && e->detail[0])
        json_object_set_new(o, "detail", json_string(e->detail));
    return o;
}

/* --- one job --- */

typedef struct {
    job_entry entry;
    json_t *reply;
    int written; /* waits in tmp/ for the commit of all */
    int shared;  /* told what one before it in the batch is told */
    const char *key;
    int held; /* the key is; -1 */
} one_job;

/* What the job with this key was told; NULL: there is none. */
static json_t *first_reply(const job_desk *d, const char *key, const char *text, int held, apr_pool_t *p)
{
    json_error_t why;
    json_t *o = json_loads(text, 0, &why);
    const char *id = json_string_value(json_object_get(o, "id"));
    job_folder where;
    job_entry entry;
    const int there = id && job_spool_find(d->spool, id, &where, &entry, p) != NULL;

    job_key_let_go(d->spool, key, held, !there); /* not there: whoever claimed it was killed */
    if (there)
        return o;
    json_decref(o);
    return NULL;
}

/* The key for this job, with its reply; or *first, of the job that has it. Before anything is done for this one: its
 * placeholder would cover the result of the other. */
static job_code take_key(const job_desk *d, one_job *one, const one_job *earlier, int count, apr_time_t until,
                         json_t **first, apr_pool_t *p, job_error *e)
{
    *first = NULL;
    for (int i = 0; i < count; i++) /* of the same batch: it waits for the disk with this one */
        if (earlier[i].held >= 0 && strcmp(earlier[i].key, one->key) == 0) {
            *first = json_incref(earlier[i].reply);
            one->shared = 1;
            return JOB_OK;
        }
    until += apr_time_from_sec(KEY_SECONDS);
    while (apr_time_now() < until) {
        const char *text;
        int held, found = job_key_find(d->spool, one->key, &text, &held, p);

        if (found > 0 && (*first = first_reply(d, one->key, text, held, p)) != NULL)
            return JOB_OK;
        if (found < 0) {
            char *reply = json_dumps(one->reply, JSON_COMPACT);
            const int rv = reply ? job_key_claim(d->spool, one->key, reply, &one->held) : -1;

            free(reply);
            if (rv != 0)
                return rv > 0 ? JOB_OK : job_fail(e, JOB_E_BUSY, 1, "the spool cannot be written");
        }
        apr_sleep(20000);
    }
    return job_fail(e, JOB_E_BUSY, 1, "a job with this key is being accepted");
}

/* The folder is counted once a second, by whoever comes first; what was taken since then is added. count: jobs that
 * wait for the disk with this one. */
static int is_full(const job_desk *d, int count)
{
    job_counters *c = d->counters;
    uint64_t now = (uint64_t)job_now(), length, taken;
    int64_t oldest;

    if (d->max_queue <= 0)
        return 0;
    if (c && now - JOB_LOAD(c, queue.at) < COUNT_EVERY) {
        length = JOB_LOAD(c, queue.length);
        taken = JOB_LOAD(c, accepted) - JOB_LOAD(c, queue.accepted);
    } else {
        taken = 0;
        if (c) {
            JOB_STORE(c, queue.accepted, JOB_LOAD(c, accepted));
            JOB_STORE(c, queue.at, now);
        }
        length = (uint64_t)job_spool_count(d->spool, JOB_IN_QUEUE, &oldest);
        if (c)
            JOB_STORE(c, queue.length, length);
    }
    return length + taken + (uint64_t)count >= (uint64_t)d->max_queue;
}

static job_code write_job(const job_desk *d, const char *text, const job_t *j, one_job *one, apr_pool_t *p,
                          job_error *e)
{
    job_record r = {.id = one->entry.id,
                    .request = text,
                    .dest = job_url_masked(j->dest, p),
                    .key = j->key,
                    .place = *d->place,
                    .accepted = job_now()};
    const char *record = job_record_text(&r, p);

    one->entry.due = r.accepted;
    one->entry.dest = job_dest_hash(j->dest);
    if (!record || job_spool_write(d->spool, one->entry.id, record, strlen(record)) != 0)
        return job_fail(e, JOB_E_BUSY, 1, "the spool cannot be written");
    one->written = 1;
    return JOB_OK;
}

/* count: jobs of the batch before this one. until: for the slow phases of all. */
static void take_one(const job_desk *d, const char *text, one_job *one, int count, apr_time_t until, job_reply *kind,
                     const char **detail, apr_pool_t *p)
{
    job_error e = {0};
    job_t *j = apr_palloc(p, sizeof *j);
    json_t *first;
    job_code rv = job_parse(j, text, strlen(text), d->place, p, &e);

    one->held = -1;
    if (rv == JOB_OK && job_id_make(one->entry.id) != 0)
        rv = job_fail(&e, JOB_E_BUSY, 1, "no random numbers");
    if (rv == JOB_OK)
        one->reply = taken(d, one->entry.id, j->dest);
    if (rv == JOB_OK && (one->key = j->key) != NULL &&
        (rv = take_key(d, one, one - count, count, until, &first, p, &e)) == JOB_OK && first) {
        json_decref(one->reply);
        one->reply = first;
        return;
    }
    if (rv == JOB_OK && is_full(d, count))
        rv = job_fail(&e, JOB_E_BUSY, 1, "the queue is full");
    if (rv == JOB_OK && j->placeholder) {
        if (count > 0 && apr_time_now() >= until) {
            rv = job_fail(&e, JOB_E_BUSY, 1, "the time for a batch is used up");
        } else if (d->enter && !d->enter(d->ctx)) {
            rv = job_fail(&e, JOB_E_BUSY, 1, "too many are being accepted");
        } else {
            rv = slow_phase(j, d->place, one->entry.id, until, p, &e);
            if (d->leave)
                d->leave(d->ctx);
        }
    }
    if (rv == JOB_OK)
        rv = write_job(d, text, j, one, p, &e);
    if (rv == JOB_OK)
        return;
    if (one->held >= 0)
        job_key_let_go(d->spool, one->key, one->held, 1);
    one->held = -1;
    *detail = apr_psprintf(p, "%d %s", e.code, e.detail);
    json_decref(one->reply);
    one->reply = refused(d, &e, kind);
}

const char *job_accept(const job_desk *d, const char *body, size_t n, job_reply *kind, const char **detail,
                       apr_pool_t *p)
{
    const apr_time_t until = apr_time_now() + apr_time_from_sec(SLOW_SECONDS);
    const char *const *texts;
    int count, batch = 0, good = 1;
    job_error e = {0};
    one_job *jobs;
    json_t *out, *list;
    char *dump;
    const char *copy;

    *kind = JOB_REPLY_TAKEN;
    *detail = NULL;
    if (job_split(body, n, &texts, &count, &batch, p, &e) != JOB_OK) {
        *detail = apr_psprintf(p, "%d %s", e.code, e.detail);
        out = refused(d, &e, kind);
    } else {
        jobs = apr_pcalloc(p, (size_t)count * sizeof *jobs);
        for (int i = 0; i < count; i++)
            take_one(d, texts[i], &jobs[i], i, until, kind, detail, p);
        /* The last step of all of them at once: one wait for the disk */
        for (int i = 0; i < count; i++)
            if (jobs[i].written && job_spool_enqueue(d->spool, &jobs[i].entry) != 0)
                good = 0;
        if (!good || job_spool_commit(d->spool) != 0) {
            job_fail(&e, JOB_E_BUSY, 1, "the spool cannot be written");
            good = 0;
        }
        list = json_array();
        for (int i = 0; i < count; i++) {
            if (jobs[i].written && good)
                JOB_COUNT(d->counters, accepted, 1);
            if (jobs[i].held >= 0)
                job_key_let_go(d->spool, jobs[i].key, jobs[i].held, !good);
            if ((jobs[i].written || jobs[i].shared) && !good) {
                *detail = "122 the spool cannot be written";
                json_decref(jobs[i].reply);
                jobs[i].reply = refused(d, &e, kind);
            }
            json_array_append_new(list, jobs[i].reply);
        }
        if (batch) {
            *kind = JOB_REPLY_TAKEN;
            out = json_object();
            json_object_set_new(out, "results", list);
        } else {
            out = json_incref(json_array_get(list, 0));
            json_decref(list);
        }
    }
    dump = json_dumps(out, JSON_PRESERVE_ORDER);
    copy = dump ? apr_pstrdup(p, dump) : "{\"msg\": \"busy\", \"code\": 122}";
    free(dump);
    json_decref(out);
    return copy;
}
#endif
