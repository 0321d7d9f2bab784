/* SPDX-License-Identifier: Apache-2.0
 * One list of figures, three ways to write it. */
#include "status.h"
#ifdef IIP_HAVE_JOBS
#include "json.h"
#include <inttypes.h>
#include <string.h>
#include <apr_strings.h>

typedef struct {
    const char *name, *label, *value; /* label: NULL, or code="203" */
    double number;
} figure;

typedef struct {
    figure *at;
    int count;
} figures;

#define MOST_FIGURES 2048

static void add(figures *f, apr_pool_t *p, const char *name, const char *label, double n)
{
    if (f->count < MOST_FIGURES)
        f->at[f->count++] = (figure){name, label, apr_psprintf(p, "%.15g", n), n};
}

static void add_codes(figures *f, apr_pool_t *p, const char *name, const char *label, const uint64_t *of)
{
    for (int i = 0; i < JOB_CODES; i++)
        if (of[i])
            add(f, p, name, apr_psprintf(p, "%s=\"%d\"", label, i), (double)of[i]);
}

static void collect(figures *f, job_spool *s, const job_counters *c, apr_pool_t *p)
{
    static const char *const stages[JOB_STAGES] = {"fetch", "decode", "encode", "store"};
    int64_t oldest, other;

    add(f, p, "iip_jobs_accepted_total", NULL, (double)c->accepted);
    add_codes(f, p, "iip_jobs_rejected_total", "code", c->rejected);
    add(f, p, "iip_jobs_done_total", NULL, (double)c->done);
    add_codes(f, p, "iip_jobs_failed_total", "reason", c->failed);
    add(f, p, "iip_jobs_retries_total", NULL, (double)c->retries);
    add(f, p, "iip_jobs_queued", NULL, job_spool_count(s, JOB_IN_QUEUE, &oldest));
    add(f, p, "iip_jobs_running", NULL, job_spool_count(s, JOB_IN_RUN, &other));
    add(f, p, "iip_jobs_dead", NULL, job_spool_count(s, JOB_IN_DEAD, &other));
    add(f, p, "iip_job_oldest_seconds", NULL, oldest ? (double)(job_now() - oldest) / 1000 : 0);
    for (int i = 0; i < JOB_STAGES; i++) {
        uint64_t sum = 0;

        for (int b = 0; b <= JOB_BUCKETS; b++) {
            sum += c->stage[i].bucket[b];
            add(f, p, "iip_job_seconds_bucket",
                b < JOB_BUCKETS ? apr_psprintf(p, "stage=\"%s\",le=\"%g\"", stages[i], job_bucket_seconds[b])
                                : apr_psprintf(p, "stage=\"%s\",le=\"+Inf\"", stages[i]),
                (double)sum);
        }
        add(f, p, "iip_job_seconds_sum", apr_psprintf(p, "stage=\"%s\"", stages[i]), (double)c->stage[i].us / 1e6);
        add(f, p, "iip_job_seconds_count", apr_psprintf(p, "stage=\"%s\"", stages[i]), (double)c->stage[i].count);
    }
    add(f, p, "iip_job_bytes_total", "dir=\"in\"", (double)c->bytes_in);
    add(f, p, "iip_job_bytes_total", "dir=\"out\"", (double)c->bytes_out);
    add(f, p, "iip_runner_restarts_total", NULL, (double)c->restarts);
    add(f, p, "iip_callbacks_total", "result=\"made\"", (double)c->callbacks_made);
    add(f, p, "iip_callbacks_total", "result=\"lost\"", (double)c->callbacks_lost);
}

static const char *as_prometheus(const figures *f, apr_pool_t *p)
{
    apr_array_header_t *lines = apr_array_make(p, f->count + 1, sizeof(char *));

    for (int i = 0; i < f->count; i++)
        APR_ARRAY_PUSH(lines, const char *) =
            apr_pstrcat(p, f->at[i].name, f->at[i].label ? "{" : "", f->at[i].label ? f->at[i].label : "",
                        f->at[i].label ? "} " : " ", f->at[i].value, "\n", NULL);
    return apr_array_pstrcat(p, lines, 0);
}

static const char *as_html(const figures *f, apr_pool_t *p)
{
    apr_array_header_t *lines = apr_array_make(p, f->count + 2, sizeof(char *));

    APR_ARRAY_PUSH(lines, const char *) =
        "<!DOCTYPE html><html lang=\"en\"><head><meta charset=\"utf-8\"><title>Jobs</title></head>"
        "<body><h1>Jobs</h1><table>\n";
    for (int i = 0; i < f->count; i++)
        APR_ARRAY_PUSH(lines, const char *) =
            apr_pstrcat(p, "<tr><td>", f->at[i].name, "</td><td>", f->at[i].label ? f->at[i].label : "", "</td><td>",
                        f->at[i].value, "</td></tr>\n", NULL);
    APR_ARRAY_PUSH(lines, const char *) = "</table></body></html>\n";
    return apr_array_pstrcat(p, lines, 0);
}

static const char *as_json(const figures *f, apr_pool_t *p)
{
    iip_json j;

    iip_json_init(&j, p);
    iip_json_object(&j, NULL);
    for (int i = 0; i < f->count; i++)
        iip_json_number(&j,
                        f->at[i].label ? apr_pstrcat(p, f->at[i].name, "{", f->at[i].label, "}", NULL) : f->at[i].name,
                        f->at[i].number);
    iip_json_end(&j);
    return iip_json_text(&j);
}

const char *job_status(job_spool *s, const job_counters *c, const char *args, const char **mime, apr_pool_t *p)
{
    static const struct {
        const char *word, *mime;
        const char *(*write)(const figures *f, apr_pool_t *p);
    } formats[] = {
        {"", "text/html; charset=utf-8", as_html},
        {"format=json", "application/json", as_json},
        {"format=prometheus", "text/plain; version=0.0.4; charset=utf-8", as_prometheus},
    };
    const char *word = args ? strchr(args, '&') : NULL;
    figures f = {apr_palloc(p, MOST_FIGURES * sizeof(figure)), 0};
    int n = 0;

    for (int i = 1; word && i < 3; i++)
        if (strcmp(word + 1, formats[i].word) == 0)
            n = i;
    collect(&f, s, c, p);
    *mime = formats[n].mime;
    return formats[n].write(&f, p);
}
#endif
