/* SPDX-License-Identifier: Apache-2.0
 * A job's own process: transfers here, pictures in a process further. */
#include "work.h"
#ifdef IIP_HAVE_JOBS
#include "confine.h"
#include "render.h"
#include "transfer.h"
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define MOST_RESULT  ((size_t)1 << 30)
#define CALL_SECONDS 30

/* --- the source --- */

typedef struct {
    char *data;
    size_t have, room;
} keeper;

static int keep(void *ctx, const void *data, size_t n)
{
    keeper *k = ctx;

    if (k->have + n > k->room) {
        const size_t room = 2 * (k->have + n);
        char *more = realloc(k->data, room);

        if (!more)
            return -1;
        k->data = more;
        k->room = room;
    }
    memcpy(k->data + k->have, data, n);
    k->have += n;
    return 0;
}

static apr_status_t free_source(void *ctx)
{
    free(((keeper *)ctx)->data);
    return APR_SUCCESS;
}

static job_code get_source(const job_t *j, const job_place *place, apr_time_t until, iip_source_t **s, apr_pool_t *p,
                           job_error *e)
{
    keeper *k = apr_pcalloc(p, sizeof *k);

    if (j->from.scheme == JOB_FILE)
        return job_open_source(&j->from, place, s, p, e);
    apr_pool_cleanup_register(p, k, free_source, apr_pool_cleanup_null);
    if (job_fetch(&j->from, place, until, keep, k, p, e) != JOB_OK)
        return e->code;
    if (!k->have)
        return job_fail(e, JOB_E_NO_PICTURE, 0, "the source is empty");
    *s = iip_source_memory(k->data, k->have, "source", p);
    return JOB_OK;
}

/* --- the picture --- */

typedef struct {
    iip_sink sink;
    int fd;
} result_sink;

static iip_status write_result(iip_sink *sink, const void *data, size_t n, iip_error *e)
{
    for (size_t at = 0; at < n;) {
        ssize_t w = write(((result_sink *)sink)->fd, (const char *)data + at, n - at);

        if (w <= 0)
            return iip_fail(e, IIP_E_MEMORY, APR_FROM_OS_ERROR(errno), "cannot keep the result");
        at += (size_t)w;
    }
    return IIP_OK;
}

typedef struct {
    job_error error;
    apr_interval_time_t encode;
} rendered;

/* The decode process: what it says comes through the pipe; what it does not live to say is a damaged picture. */
__attribute__((noreturn)) static void decode(const job_record *r, const job_t *j, iip_source_t *s, int result, int tell,
                                             int parent, long seconds, size_t memory, apr_pool_t *p)
{
    const int kept[] = {s->fd, result, tell};
    result_sink k = {{write_result}, result};
    rendered say = {{0}, 0};

    job_close_others(kept, 3);
    if (job_confine(seconds, memory, MOST_RESULT, parent) != 0)
        _exit(1);
    job_no_network();
    job_render(j, &r->place, s, memory / 2, &k.sink, &say.encode, p, &say.error);
    _exit(write(tell, &say, sizeof say) == (ssize_t)sizeof say ? 0 : 1);
}

static job_code render_apart(const job_record *r, const job_t *j, iip_source_t *s, int result, long seconds,
                             size_t memory, apr_interval_time_t *encode, apr_pool_t *p, job_error *e)
{
    const int self = getpid();
    rendered say;
    int way[2], status = 0;
    ssize_t n;
    pid_t child;

    if (pipe2(way, O_CLOEXEC) != 0)
        return job_fail(e, JOB_E_NO_PICTURE, 1, "no process for the picture");
    child = fork();
    if (child == 0)
        decode(r, j, s, result, way[1], self, seconds, memory, p);
    close(way[1]);
    do
        n = child < 0 ? -1 : read(way[0], &say, sizeof say);
    while (n < 0 && errno == EINTR && child > 0);
    close(way[0]);
    if (child < 0)
        return job_fail(e, JOB_E_NO_PICTURE, 1, "no process for the picture");
    while (waitpid(child, &status, 0) < 0 && errno == EINTR)
        ;
    if (n == (ssize_t)sizeof say) {
        *e = say.error;
        *encode = say.encode;
        return e->code;
    }
    if (WIFSIGNALED(status) && (WTERMSIG(status) == SIGXCPU || WTERMSIG(status) == SIGKILL))
        return job_fail(e, JOB_E_NO_PICTURE, 1, "timeout");
    return job_fail(e, JOB_E_NO_PICTURE, 1, "the picture cannot be read");
}

/* --- all of it --- */

void job_work(const job_record *r, const job_t *j, apr_interval_time_t timeout, size_t memory, job_outcome *out,
              apr_pool_t *p)
{
    apr_time_t t0 = apr_time_now(), t;
    apr_interval_time_t encode = 0;
    const apr_time_t until = t0 + timeout;
    const int result = memfd_create("iip-result", MFD_CLOEXEC);
    iip_source_t *s;

    memset(out, 0, sizeof *out);
    if (result < 0) {
        job_fail(&out->error, JOB_E_STORE, 1, "no memory for the result");
        return;
    }
    if (get_source(j, &r->place, until, &s, p, &out->error) == JOB_OK) {
        out->source_bytes = s->id.size;
        out->spent[JOB_STAGE_FETCH] = (t = apr_time_now()) - t0;
        t0 = t;
        if (render_apart(r, j, s, result, (long)apr_time_sec(timeout) + 1, memory, &encode, p, &out->error) == JOB_OK) {
            out->bytes = lseek(result, 0, SEEK_END);
            out->spent[JOB_STAGE_DECODE] = (t = apr_time_now()) - t0 - encode;
            out->spent[JOB_STAGE_ENCODE] = encode;
            t0 = t;
            if (job_store(j, &r->place, r->id, "result", result, out->bytes, until, p, &out->error) == JOB_OK)
                out->spent[JOB_STAGE_STORE] = apr_time_now() - t0;
        }
    }
    out->width = j->width;
    out->height = j->height;
    close(result);
}

void job_show_failure(const job_record *r, const job_t *j, apr_pool_t *p)
{
    const char *text = r->place.failure_text;
    job_error e = {0};
    int64_t size;
    int fd;

    if (!text || !*text || !j->placeholder ||
        job_keep_placeholder(j, &r->place, j->width, j->height, text, &fd, &size, p, &e) != JOB_OK)
        return;
    job_store(j, &r->place, r->id, "failure", fd, size, apr_time_now() + apr_time_from_sec(CALL_SECONDS), p, &e);
    close(fd);
}

job_code job_tell(const job_record *r, const job_t *j, job_folder in, const job_entry *entry, apr_pool_t *p,
                  job_error *e)
{
    const char *body = job_record_state(r, in, entry, p), *signature = NULL;

    if (r->place.callback_secret &&
        !(signature = job_signature(r->place.callback_secret, body, apr_time_sec(apr_time_now()), p)))
        return job_fail(e, JOB_E_CALLBACK, 1, "the secret cannot be read");
    return job_call(&j->call, &r->place, r->id, body, signature, apr_time_now() + apr_time_from_sec(CALL_SECONDS), p,
                    e);
}
#endif
