/* SPDX-License-Identifier: Apache-2.0
 * The loop of a runner. */
#include "run.h"
#ifdef IIP_HAVE_JOBS
#include "confine.h"
#include "work.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include <apr_strings.h>

#define LIST           64
#define ORPHANS_EVERY  10000 /* ms */
#define SWEEP_EVERY    60000
#define FIRST_WAIT     5000 /* ms to the second attempt, doubled each time */
#define LONGEST_WAIT   600000
#define CALL_TRIES     6
#define MOST_TRANSFERS ((size_t)4 << 30) /* bytes of a file in a job process */

static volatile sig_atomic_t told_to_stop;

static void on_term(int sig)
{
    told_to_stop = 1;
}

/* Entries that are worked on at most: 1 failed attempt + IIPJobRetries */
static int64_t wait_for(int attempts, const job_error *e)
{
    int64_t ms = FIRST_WAIT;

    for (int i = 1; i < attempts && ms < LONGEST_WAIT; i++)
        ms *= 2;
    ms = ms < LONGEST_WAIT ? ms : LONGEST_WAIT;
    ms += ms * (random() % 401 - 200) / 1000; /* a fifth more or less: not all at once */
    return e->retry_after * INT64_C(1000) > ms ? e->retry_after * INT64_C(1000) : ms;
}

static int lifeline_ended(const job_runner *r)
{
    struct pollfd f = {r->lifeline, POLLIN, 0};

    return told_to_stop || (r->lifeline >= 0 && poll(&f, 1, 0) > 0);
}

/* --- a process for each job --- */

typedef enum { TASK_WORK, TASK_FAILURE, TASK_CALL } task;

typedef struct {
    const job_runner *r;
    job_hold *h;
    const job_record *record;
    const job_t *j;
    job_folder in; /* of the record, for a callback */
} assignment;

__attribute__((noreturn)) static void in_child(const assignment *a, task what, int tell, int parent, apr_pool_t *p)
{
    const int kept[] = {a->h->fd, a->h->lock, tell};
    job_outcome out;

    signal(SIGTERM, SIG_DFL);
    signal(SIGCHLD, SIG_DFL);
    job_close_others(kept, 3);
    if (job_confine((long)apr_time_sec(a->r->timeout) + 1, 0, MOST_TRANSFERS, parent) != 0)
        _exit(1);
    memset(&out, 0, sizeof out);
    if (what == TASK_WORK)
        job_work(a->record, a->j, a->r->timeout, a->r->memory, &out, p);
    else if (what == TASK_FAILURE)
        job_show_failure(a->record, a->j, p);
    else
        job_tell(a->record, a->j, a->in, &a->h->entry, p, &out.error);
    _exit(write(tell, &out, sizeof out) == (ssize_t)sizeof out ? 0 : 1);
}

/* 1: *out is what it reported; 0: it ended without, or was ended; -1: told to stop meanwhile. */
static int assign(const assignment *a, task what, job_outcome *out, apr_pool_t *p)
{
    const apr_time_t until = apr_time_now() + a->r->timeout;
    const int self = getpid();
    int way[2], got = 0;
    struct pollfd f;
    pid_t child;

    memset(out, 0, sizeof *out);
    job_fail(&out->error, JOB_E_NO_PICTURE, 1, "the process of the job ended");
    if (pipe2(way, O_CLOEXEC) != 0 || (child = fork()) < 0) {
        job_fail(&out->error, JOB_E_NO_PICTURE, 1, "no process for the job");
        return 0;
    }
    if (child == 0) {
        setpgid(0, 0);
        close(way[0]);
        in_child(a, what, way[1], self, p);
    }
    setpgid(child, child);
    close(way[1]);
    f = (struct pollfd){way[0], POLLIN, 0};
    for (;;) {
        apr_interval_time_t left = until - apr_time_now();
        int n = left > 0 ? poll(&f, 1, (int)(left / 1000) + 1) : 0;

        if (n > 0) {
            job_outcome say;

            got = read(way[0], &say, sizeof say) == (ssize_t)sizeof say;
            if (got)
                *out = say;
            break;
        }
        if (told_to_stop) {
            got = -1;
            break;
        }
        if (n == 0) {
            job_fail(&out->error, JOB_E_NO_PICTURE, 1, "timeout");
            break;
        }
    }
    close(way[0]);
    if (got != 1)
        kill(-child, SIGKILL);
    while (waitpid(child, NULL, 0) < 0 && errno == EINTR)
        ;
    return got;
}

/* --- how a job ends --- */

static int wants_call(const assignment *a)
{
    return a->j->callback != NULL;
}

static void end_job(const assignment *a, job_folder to, const char *state, const job_outcome *out, apr_pool_t *p)
{
    job_record r = *a->record;

    r.state = state;
    r.attempts = a->h->entry.attempts;
    r.ended = job_now();
    r.error = out->error;
    if (!out->error.code) {
        r.width = out->width;
        r.height = out->height;
        r.bytes = out->bytes;
        r.format = a->j->format;
    }
    /* If the disk refuses, the entry stays in run/, and is an orphan once let go */
    if (job_spool_finish(a->r->spool, a->h, to, job_record_text(&r, p), wants_call(a)) != 0)
        job_spool_let_go(a->h);
}

static void failed_for_good(const assignment *a, const job_outcome *out, apr_pool_t *p)
{
    job_outcome none;

    if (out->error.code < JOB_CODES)
        JOB_COUNT(a->r->counters, failed[out->error.code], 1);
    if (assign(a, TASK_FAILURE, &none, p) < 0) {
        job_spool_again(a->r->spool, a->h, job_now(), a->h->entry.attempts - 1, NULL);
        return;
    }
    if (a->r->log)
        a->r->log(a->r->ctx, apr_psprintf(p, "job %s failed after %d attempts: %d %s", a->record->id,
                                          a->h->entry.attempts, out->error.code, out->error.detail));
    end_job(a, JOB_IN_DEAD, "failed", out, p);
}

/* After an attempt: another one later, or none. A timeout is tried once more, no oftener. */
static void after_failure(const assignment *a, const job_outcome *out, apr_pool_t *p)
{
    const int tried = a->h->entry.attempts, timeout = strcmp(out->error.detail, "timeout") == 0;
    job_record r = *a->record;

    if (!out->error.transient || tried > a->record->place.retries || (timeout && tried > 1)) {
        failed_for_good(a, out, p);
        return;
    }
    JOB_COUNT(a->r->counters, retries, 1);
    r.error = out->error;
    if (job_spool_again(a->r->spool, a->h, job_now() + wait_for(tried, &out->error), tried, job_record_text(&r, p)) !=
        0)
        job_spool_let_go(a->h);
}

static int prepare(assignment *a, job_record *record, job_t *j, apr_pool_t *p)
{
    const char *text = job_spool_read(a->h->fd, p);
    job_error e = {0};

    a->record = record;
    a->j = j;
    if (!text || job_record_read(record, text, p) != 0)
        return -1;
    return job_parse(j, record->request, strlen(record->request), &record->place, p, &e) == JOB_OK ? 0 : -1;
}

/* What cannot even be read again: kept as it is, for the administrator. */
static void bury(const job_runner *r, job_hold *h, apr_pool_t *p)
{
    const char *text = job_spool_read(h->fd, p);

    if (job_spool_finish(r->spool, h, JOB_IN_DEAD, text ? text : "", 0) != 0)
        job_spool_let_go(h);
}

static void work_on(const job_runner *r, job_hold *h, apr_pool_t *p)
{
    assignment a = {.r = r, .h = h};
    job_record record;
    job_outcome out;
    job_t j;
    int got;

    if (prepare(&a, &record, &j, p) != 0) {
        bury(r, h, p);
        return;
    }
    record.started = job_now();
    got = assign(&a, TASK_WORK, &out, p);
    if (got < 0) {
        if (job_spool_again(r->spool, h, job_now(), h->entry.attempts - 1, NULL) != 0)
            job_spool_let_go(h);
        return;
    }
    JOB_COUNT(r->counters, bytes_in, out.source_bytes);
    for (int i = 0; i < JOB_STAGES; i++)
        if (out.spent[i])
            job_count_stage(r->counters, (job_stage)i, out.spent[i]);
    if (out.error.code != JOB_OK) {
        after_failure(&a, &out, p);
        return;
    }
    JOB_COUNT(r->counters, bytes_out, out.bytes);
    JOB_COUNT(r->counters, done, 1);
    end_job(&a, JOB_IN_DONE, "done", &out, p);
}

/* Nobody holds it any more: what did was killed. Its attempt was counted when it began. */
static void adopt(const job_runner *r, job_hold *h, apr_pool_t *p)
{
    assignment a = {.r = r, .h = h};
    job_record record;
    job_outcome out;
    job_folder where;
    job_entry entry;
    job_t j;

    if (job_spool_elsewhere(r->spool, h->entry.id, &where, &entry)) {
        /* Killed between two of the last steps; whether its callback was made nobody knows */
        const int call = where != JOB_IN_QUEUE && prepare(&a, &record, &j, p) == 0 && wants_call(&a);

        if (job_spool_leave(r->spool, h, call) != 0)
            job_spool_let_go(h);
        return;
    }
    if (prepare(&a, &record, &j, p) != 0) {
        bury(r, h, p);
        return;
    }
    memset(&out, 0, sizeof out);
    job_fail(&out.error, JOB_E_NO_PICTURE, 1, "its process was killed");
    after_failure(&a, &out, p);
}

/* --- callbacks --- */

static void call_back(const job_runner *r, job_hold *h, apr_pool_t *p)
{
    assignment a = {.r = r, .h = h};
    const int tried = h->entry.attempts + 1;
    job_record record;
    job_outcome out;
    job_entry entry;
    job_error e = {0};
    job_t j;
    const char *text = job_spool_find(r->spool, h->entry.id, &a.in, &entry, p);
    int got;

    /* One that was put back into the queue is told of when it ends again */
    if (!text || a.in == JOB_IN_QUEUE || a.in == JOB_IN_RUN || job_record_read(&record, text, p) != 0 ||
        job_parse(&j, record.request, strlen(record.request), &record.place, p, &e) != JOB_OK || !j.callback) {
        job_spool_forget(r->spool, h);
        return;
    }
    a.record = &record;
    a.j = &j;
    if ((got = assign(&a, TASK_CALL, &out, p)) < 0) {
        job_spool_let_go(h);
    } else if (got == 1 && out.error.code == JOB_OK) {
        JOB_COUNT(r->counters, callbacks_made, 1);
        job_spool_forget(r->spool, h);
    } else if (tried > CALL_TRIES) {
        JOB_COUNT(r->counters, callbacks_lost, 1);
        job_spool_forget(r->spool, h);
    } else {
        /* 15 s, 1 min, 4 min, 10 min, 15 min, 30 min: about an hour */
        static const int wait[CALL_TRIES] = {15, 60, 240, 600, 900, 1800};

        if (job_spool_again(r->spool, h, job_now() + wait[tried - 1] * INT64_C(1000), tried, NULL) != 0)
            job_spool_let_go(h);
    }
}

/* --- the loop --- */

static int take_due(const job_runner *r, job_folder queue, void (*handle)(const job_runner *, job_hold *, apr_pool_t *),
                    int64_t *wait, apr_pool_t *p)
{
    job_entry *due = malloc(LIST * sizeof *due);
    int64_t next;
    int taken = 0, n = due ? job_spool_due(r->spool, queue, due, LIST, &next) : 0;
    job_hold h;

    if (due && next < *wait)
        *wait = next;
    for (int i = 0; i < n && !lifeline_ended(r); i++) {
        if (job_spool_claim(r->spool, queue, &due[i], &h) != 0)
            continue;
        handle(r, &h, p);
        apr_pool_clear(p);
        taken++;
    }
    free(due);
    return taken;
}

static void rest(const job_runner *r, int64_t ms)
{
    struct pollfd f[2] = {{r->wake, POLLIN, 0}, {r->lifeline, POLLIN, 0}};
    char bytes[64];

    if (poll(f, 2, (int)ms) > 0 && f[0].revents & POLLIN && read(r->wake, bytes, sizeof bytes) < 0)
        return; /* another runner had it */
}

void job_run(const job_runner *r, int idle, apr_pool_t *parent)
{
    int64_t orphans = 0, swept = 0;
    apr_pool_t *p;

    if (apr_pool_create(&p, parent) != APR_SUCCESS)
        return;
    signal(SIGPIPE, SIG_IGN);
    signal(SIGHUP, SIG_IGN);
    signal(SIGUSR1, SIG_IGN);
    signal(SIGWINCH, SIG_IGN);
    signal(SIGCHLD, SIG_DFL);
    {
        struct sigaction term = {.sa_handler = on_term}; /* no SA_RESTART: poll() shall end */

        sigaction(SIGTERM, &term, NULL);
    }
    srandom((unsigned)getpid() ^ (unsigned)job_now());
    while (!lifeline_ended(r)) {
        const int64_t now = job_now();
        int64_t wait = 1000;
        int worked;

        if (now - orphans >= ORPHANS_EVERY) {
            job_hold h;

            orphans = now;
            while (!lifeline_ended(r) && job_spool_orphan(r->spool, &h) == 0) {
                adopt(r, &h, p);
                apr_pool_clear(p);
            }
        }
        if (r->sweeps && now - swept >= SWEEP_EVERY) {
            swept = now;
            job_spool_sweep(r->spool, r->keep_done, r->keep_dead);
        }
        worked = take_due(r, JOB_IN_QUEUE, work_on, &wait, p) + take_due(r, JOB_IN_CALL, call_back, &wait, p);
        if (worked || lifeline_ended(r))
            continue;
        if (idle)
            break;
        rest(r, wait > 0 ? wait : 1);
    }
    apr_pool_destroy(p);
}
#endif
