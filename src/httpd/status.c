/* SPDX-License-Identifier: Apache-2.0
 * The figures as a page, as JSON, as Prometheus' text, as one line of columns, and as a section of mod_status. What is
 * shown is one walk over all figures; how, one table of writers. */
#include "httpd/jpipd.h"
#include <fcntl.h>
#include <string.h>
#include <unistd.h>
#include <mod_status.h>
#include <apr_strings.h>

APLOG_USE_MODULE(iip);

#define MOST_CHILDREN 256

typedef struct {
    iipd_figures f;
    iip_server_stats s;
    int children, pid[MOST_CHILDREN];
    int large, line; /* permits in use, requests in line for one */
    int quarantined;
    double memory, cpu; /* bytes, seconds; of the children that live */
    int counted;        /* channels and their bytes are known */
    uint64_t channels, channel_bytes;
    int has_jobs;
    iipd_jobs jobs;
} state;

/* What a figure is: a counter, something of the moment, or a histogram of seconds. */
typedef enum { COUNTER, GAUGE } kind;
typedef struct page page;
typedef struct {
    void (*begin)(page *p);
    void (*value)(page *p, const char *name, const char *label, const char *of, kind k, const char *help, double v);
    void (*times)(page *p, const char *name, const char *of, const char *stage, const char *help,
                  const iipd_histogram *h); /* of: a protocol; stage: NULL, or one of its */
    void (*end)(page *p);
    const char *mime;
} writer;
struct page {
    request_rec *r;
    const writer *w;
    const char *last,
        *group; /* the figure that was written last: rows of one name follow each other, and its protocol */
    int open;   /* JSON: so many of its objects are not closed */
};

/* ---- children ---- */

/* The first octets of a file of /proc. */
static int slurp(const char *path, char *text, size_t room)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, text, room - 1);

    if (fd >= 0)
        close(fd);
    text[n > 0 ? n : 0] = '\0';
    return n > 0;
}

/* The nth number behind a text, from 0. */
static double number(const char *s, int n)
{
    for (; *s && n > 0; n--) {
        s += strcspn(s, " ");
        s += strspn(s, " ");
    }
    return (double)apr_strtoi64(s, NULL, 10);
}

static void weigh(state *st)
{
    char path[64], text[1024], *rest;

    for (int i = 0; i < st->children; i++) {
        apr_snprintf(path, sizeof path, "/proc/%d/statm", st->pid[i]);
        if (slurp(path, text, sizeof text))
            st->memory += number(text, 1) * (double)sysconf(_SC_PAGESIZE);
        apr_snprintf(path, sizeof path, "/proc/%d/stat", st->pid[i]);
        /* behind the name in brackets: state is the first word, user and system time the 12th and 13th */
        if (slurp(path, text, sizeof text) && (rest = strrchr(text, ')')) != NULL)
            st->cpu += (number(rest + 2, 11) + number(rest + 2, 12)) / (double)sysconf(_SC_CLK_TCK);
    }
}

static void look(state *st, apr_pool_t *p)
{
    memset(st, 0, sizeof *st);
    st->children = iipd_shared_read(&st->f, &st->s, st->pid, MOST_CHILDREN);
    if (iipd_shared_permits())
        iip_permits_read(iipd_shared_permits(), &st->large, &st->line);
    if (iipd_shared_quarantine())
        st->quarantined = iip_quarantine_count(iipd_shared_quarantine());
    st->counted = iipd_channels_read(p, &st->channels, &st->channel_bytes);
    st->has_jobs = iipd_job_read(&st->jobs);
    weigh(st);
}

static uint64_t requests(const state *st)
{
    uint64_t n = 0;

    for (int i = 0; i < IIPD_PROTOCOLS; i++)
        n += st->f.protocol[i].count;
    return n;
}

/* ---- all figures, once ---- */

static const char *const stages[IIPD_STAGES] = {"open", "read", "decode", "process", "encode", "send"};

static const char *outcome(int i)
{
    /* To clients the first two are one with others, or nothing */
    return i == IIP_E_CHANGED    ? "changed"
           : i == IIP_E_ABORTED  ? "gone"
           : i == IIPD_UNCHANGED ? "unchanged"
           : i == IIPD_BY_HTTPD  ? "httpd"
                                 : iip_status_name((iip_status)i);
}

/* The word after SetHandler without its "-handler". */
static const char *protocol(int i, apr_pool_t *p)
{
    const char *name = iip_protocols[i]->handler, *end = strstr(name, "-handler");

    return end ? apr_pstrmemdup(p, name, (apr_size_t)(end - name)) : name;
}

static void walk_jobs(page *p, const iipd_jobs *j)
{
    const writer *w = p->w;

    w->value(p, "jobs_accepted", NULL, NULL, COUNTER, "image jobs taken", (double)j->accepted);
    w->value(p, "jobs_refused", NULL, NULL, COUNTER, "requests that were no good jobs", (double)j->rejected);
    w->value(p, "jobs_done", NULL, NULL, COUNTER, "jobs that went well", (double)j->done);
    w->value(p, "jobs_failed", NULL, NULL, COUNTER, "jobs that failed for good", (double)j->failed);
    w->value(p, "jobs_retries", NULL, NULL, COUNTER, "attempts after one that failed", (double)j->retries);
    w->value(p, "jobs_queued", NULL, NULL, GAUGE, "jobs that wait", j->queued);
    w->value(p, "jobs_running", NULL, NULL, GAUGE, "jobs at work", j->running);
    w->value(p, "jobs_dead", NULL, NULL, GAUGE, "failed jobs that are kept", j->dead);
    w->value(p, "jobs_oldest_seconds", NULL, NULL, GAUGE, "time that the oldest job waits", j->oldest);
    w->value(p, "jobs_runners_restarted", NULL, NULL, COUNTER, "processes begun again", (double)j->restarts);
}

static void walk(page *p, const state *st)
{
    const writer *w = p->w;
    const iip_l2_stats *l = &st->s.shared;
    const struct {
        const char *name;
        const iip_cache_stats *s;
    } cache[] = {{"info", &st->s.info}, {"cell", &st->s.cell}, {"output", &st->s.output}, {"index", &st->s.index}};
    const struct {
        const char *name, *help;
        kind k;
        size_t at;
    } of_cache[] = {
        {"cache_hits", "found in the store", COUNTER, offsetof(iip_cache_stats, hits)},
        {"cache_misses", "made for the store", COUNTER, offsetof(iip_cache_stats, misses)},
        {"cache_waits", "waited for another request that made it", COUNTER, offsetof(iip_cache_stats, waits)},
        {"cache_evictions", "dropped to make room", COUNTER, offsetof(iip_cache_stats, evictions)},
        {"cache_used", "bytes held (info: pictures)", GAUGE, offsetof(iip_cache_stats, bytes)},
        {"cache_entries", "values held", GAUGE, offsetof(iip_cache_stats, entries)},
    };
    const struct {
        const char *name;
        uint64_t n;
    } memcached[] = {{"hit", l->hits},     {"miss", l->misses},   {"foreign", l->foreign}, {"late", l->late},
                     {"error", l->errors}, {"stored", l->stores}, {"dropped", l->dropped}};

    const struct {
        const char *name;
        uint64_t n;
    } indexes[] = {{"built", st->s.built}, {"loaded", st->s.loaded}, {"saved", st->s.saved}, {"failed", st->s.failed}},
      channels[] = {{"opened", st->f.jpip[IIPD_JPIP_OPENED]},
                    {"closed", st->f.jpip[IIPD_JPIP_CLOSED]},
                    {"lost", st->f.jpip[IIPD_JPIP_LOST]}};

    w->value(p, "uptime_seconds", NULL, NULL, GAUGE, "since the figures began",
             (double)(apr_time_now() - st->f.since) / APR_USEC_PER_SEC);
    w->value(p, "requests", NULL, NULL, COUNTER, "requests answered", (double)requests(st));
    for (int i = 0; i < IIPD_OUTCOMES; i++)
        w->value(p, "answers", "outcome", outcome(i), COUNTER, "answers by outcome", (double)st->f.outcome[i]);
    for (int i = IIP_CAME_HIT; i < IIPD_CAME; i++)
        w->value(p, "pictures", "from", iipd_came_names[i], COUNTER, "pictures by where they came from",
                 (double)st->f.came[i]);
    w->value(p, "sent_bytes", NULL, NULL, COUNTER, "bytes of bodies sent", (double)st->f.bytes);
    for (int i = 0; i < IIPD_PROTOCOLS && iip_protocols[i]; i++)
        w->times(p, "request_seconds", protocol(i, p->r->pool), NULL, "time of requests", &st->f.protocol[i]);
    for (int i = 0; i < IIPD_PROTOCOLS && iip_protocols[i]; i++)
        for (int k = 0; st->f.protocol[i].count && k < IIPD_STAGES; k++)
            w->times(p, "stage_seconds", protocol(i, p->r->pool), stages[k],
                     "time of the stages of requests that had them", &st->f.stage[i][k]);
    for (size_t k = 0; k < sizeof of_cache / sizeof *of_cache; k++)
        for (size_t i = 0; i < sizeof cache / sizeof *cache; i++)
            w->value(p, of_cache[k].name, "cache", cache[i].name, of_cache[k].k, of_cache[k].help,
                     (double)*(const uint64_t *)((const char *)cache[i].s + of_cache[k].at));
    for (size_t i = 0; i < sizeof memcached / sizeof *memcached; i++)
        w->value(p, "memcached", "event", memcached[i].name, COUNTER, "look-ups and stores in memcached",
                 (double)memcached[i].n);
    w->value(p, "memcached_shut", NULL, NULL, GAUGE, "servers left alone, over all children", (double)l->shut);
    for (size_t i = 0; i < sizeof indexes / sizeof *indexes; i++)
        w->value(p, "packet_indexes", "event", indexes[i].name, COUNTER, "packet indexes of JPEG 2000 files",
                 (double)indexes[i].n);
    w->value(p, "jpip_bytes", NULL, NULL, COUNTER, "bytes of JPIP messages sent", (double)st->f.jpip[IIPD_JPIP_BYTES]);
    for (size_t i = 0; i < sizeof channels / sizeof *channels; i++)
        w->value(p, "jpip_channel_events", "event", channels[i].name, COUNTER,
                 "JPIP channels opened, closed by clients, and asked for but not there", (double)channels[i].n);
    if (st->counted) {
        w->value(p, "jpip_channels", NULL, NULL, GAUGE, "open JPIP channels", (double)st->channels);
        w->value(p, "jpip_channel_bytes", NULL, NULL, GAUGE, "bytes of their records", (double)st->channel_bytes);
    }
    w->value(p, "decoding", NULL, NULL, GAUGE, "requests with a place to decode", st->s.decoding);
    w->value(p, "waiting", NULL, NULL, GAUGE, "requests that wait for one", st->s.waiting);
    w->value(p, "large", NULL, NULL, GAUGE, "large requests at work, on the whole machine", st->large);
    w->value(p, "large_waiting", NULL, NULL, GAUGE, "large requests in line", st->line);
    if (st->has_jobs)
        walk_jobs(p, &st->jobs);
    w->value(p, "quarantined", NULL, NULL, GAUGE, "files that crashed a child and are refused for a while",
             st->quarantined);
    w->value(p, "children", NULL, NULL, GAUGE, "processes", st->children);
    w->value(p, "resident_bytes", NULL, NULL, GAUGE, "memory of the processes", st->memory);
    w->value(p, "cpu_seconds", NULL, NULL, GAUGE, "computing time of the processes that live", st->cpu);
}

static double bound(int bucket)
{
    return (double)((uint64_t)IIPD_BUCKET << bucket) / 1e6;
}

/* Whole numbers as such: %.6f would hide a large one's last digits, %g round it. */
static const char *text_of(page *p, double v)
{
    return v == (double)(int64_t)v ? apr_psprintf(p->r->pool, "%" APR_INT64_T_FMT, (int64_t)v)
                                   : apr_psprintf(p->r->pool, "%.6f", v);
}

/* ---- Prometheus' text, version 0.0.4 ---- */

static void prom_head(page *p, const char *name, const char *type, const char *help)
{
    if (!p->last || strcmp(p->last, name))
        ap_rprintf(p->r, "# HELP iip_%s %s\n# TYPE iip_%s %s\n", name, help, name, type);
    p->last = name;
}

static void prom_value(page *p, const char *name, const char *label, const char *of, kind k, const char *help, double v)
{
    if (k == COUNTER)
        name = apr_pstrcat(p->r->pool, name, "_total", NULL);
    prom_head(p, name, k == COUNTER ? "counter" : "gauge", help);
    if (label)
        ap_rprintf(p->r, "iip_%s{%s=\"%s\"} %s\n", name, label, of, text_of(p, v));
    else
        ap_rprintf(p->r, "iip_%s %s\n", name, text_of(p, v));
}

static void prom_times(page *p, const char *name, const char *of, const char *stage, const char *help,
                       const iipd_histogram *h)
{
    const char *labels =
        apr_pstrcat(p->r->pool, "protocol=\"", of, stage ? "\",stage=\"" : "", stage ? stage : "", "\"", NULL);
    uint64_t n = 0;

    prom_head(p, name, "histogram", help);
    for (int i = 0; i < IIPD_BUCKETS - 1; i++) {
        n += h->bucket[i];
        ap_rprintf(p->r, "iip_%s_bucket{%s,le=\"%.6f\"} %" APR_UINT64_T_FMT "\n", name, labels, bound(i), n);
    }
    n += h->bucket[IIPD_BUCKETS - 1];
    ap_rprintf(p->r, "iip_%s_bucket{%s,le=\"+Inf\"} %" APR_UINT64_T_FMT "\n", name, labels, n);
    ap_rprintf(p->r, "iip_%s_sum{%s} %.6f\n", name, labels, (double)h->sum / 1e6);
    ap_rprintf(p->r, "iip_%s_count{%s} %" APR_UINT64_T_FMT "\n", name, labels, n);
}

static void nothing(page *p)
{
}

/* ---- JSON ---- */

static void json_close(page *p, int down)
{
    for (; p->open > down; p->open--)
        ap_rputs("}", p->r);
}

/* In front of a value: the end of the last figure, its own name, its label's value, its stage. */
static void json_name(page *p, const char *name, const char *of, const char *stage)
{
    const int again = p->last && !strcmp(p->last, name), within = again && stage && !strcmp(p->group, of);

    json_close(p, within ? 2 : again);
    ap_rputs(p->last ? "," : "", p->r);
    if (!again)
        ap_rprintf(p->r, "\"%s\":%s", name, of ? "{" : "");
    if (of && !within)
        ap_rprintf(p->r, "\"%s\":%s", of, stage ? "{" : "");
    if (stage)
        ap_rprintf(p->r, "\"%s\":", stage);
    p->open = stage ? 2 : of != NULL;
    p->last = name;
    p->group = of;
}

static void json_value(page *p, const char *name, const char *label, const char *of, kind k, const char *help, double v)
{
    json_name(p, name, of, NULL);
    ap_rputs(text_of(p, v), p->r);
}

static void json_times(page *p, const char *name, const char *of, const char *stage, const char *help,
                       const iipd_histogram *h)
{
    json_name(p, name, of, stage);
    ap_rprintf(p->r, "{\"count\":%" APR_UINT64_T_FMT ",\"sum\":%.6f,\"buckets\":{", h->count, (double)h->sum / 1e6);
    for (int i = 0; i < IIPD_BUCKETS - 1; i++)
        ap_rprintf(p->r, "\"%.6f\":%" APR_UINT64_T_FMT ",", bound(i), h->bucket[i]);
    ap_rprintf(p->r, "\"inf\":%" APR_UINT64_T_FMT "}}", h->bucket[IIPD_BUCKETS - 1]);
}

static void json_begin(page *p)
{
    ap_rputs("{", p->r);
}

static void json_end(page *p)
{
    json_close(p, 0);
    ap_rputs("}\n", p->r);
}

/* ---- HTML: rows of a table, for our page and for mod_status' ---- */

static void html_value(page *p, const char *name, const char *label, const char *of, kind k, const char *help, double v)
{
    ap_rprintf(p->r, "<tr><td title=\"%s\">%s%s%s</td><td>%s</td><td></td></tr>\n", help, name, of ? " " : "",
               of ? of : "", text_of(p, v));
}

/* The time that this share of them took at most, in ms. */
static double quantile(const iipd_histogram *h, double share)
{
    uint64_t n = 0;
    int i = 0;

    for (; i < IIPD_BUCKETS - 1; i++) {
        n += h->bucket[i];
        if ((double)n >= share * (double)h->count)
            break;
    }
    return bound(i) * 1e3;
}

static void html_times(page *p, const char *name, const char *of, const char *stage, const char *help,
                       const iipd_histogram *h)
{
    ap_rprintf(p->r, "<tr><td title=\"%s\">%s %s %s</td><td>%" APR_UINT64_T_FMT "</td><td>", help, name, of,
               stage ? stage : "", h->count);
    if (h->count)
        ap_rprintf(p->r, "mean %.3f ms, half below %.3f, 99 of 100 below %.3f", (double)h->sum / 1e3 / (double)h->count,
                   quantile(h, 0.5), quantile(h, 0.99));
    ap_rputs("</td></tr>\n", p->r);
}

static void html_begin(page *p)
{
    ap_rputs("<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>mod_iip</title></head><body>\n"
             "<h1>mod_iip " IIP_VERSION "</h1>\n<table>\n",
             p->r);
}

static void html_end(page *p)
{
    ap_rputs("</table>\n</body></html>\n", p->r);
}

static void section_begin(page *p)
{
    ap_rputs("<hr />\n<h2>mod_iip</h2>\n<table>\n", p->r);
}

static void section_end(page *p)
{
    ap_rputs("</table>\n", p->r);
}

/* "IIP-cache_hits-output: 5", as mod_status' ?auto has it */
static void plain_value(page *p, const char *name, const char *label, const char *of, kind k, const char *help,
                        double v)
{
    ap_rprintf(p->r, "IIP-%s%s%s: %s\n", name, of ? "-" : "", of ? of : "", text_of(p, v));
}

static void plain_times(page *p, const char *name, const char *of, const char *stage, const char *help,
                        const iipd_histogram *h)
{
    ap_rprintf(p->r, "IIP-%s-%s%s%s: %" APR_UINT64_T_FMT " %.6f\n", name, of, stage ? "-" : "", stage ? stage : "",
               h->count, (double)h->sum / 1e6);
}

static const writer html = {html_begin, html_value, html_times, html_end, "text/html; charset=utf-8"};
static const writer json = {json_begin, json_value, json_times, json_end, "application/json"};
static const writer prometheus = {nothing, prom_value, prom_times, nothing, "text/plain; version=0.0.4; charset=utf-8"};
static const writer section = {section_begin, html_value, html_times, section_end, NULL};
static const writer plain = {nothing, plain_value, plain_times, nothing, NULL};

static void show(request_rec *r, const writer *w)
{
    state *st = apr_palloc(r->pool, sizeof *st);
    page p = {.r = r, .w = w};

    look(st, r->pool);
    w->begin(&p);
    walk(&p, st);
    w->end(&p);
}

/* Time, requests, open JPIP channels, requests that decode and that wait, share of pictures that were found and not
 * made, memory in MiB, computing time in seconds: what a shell loop writes into a file. */
static void show_columns(request_rec *r)
{
    state *st = apr_palloc(r->pool, sizeof *st);
    uint64_t found, all;

    look(st, r->pool);
    found = st->f.came[IIP_CAME_HIT] + st->f.came[IIP_CAME_SHARED] + st->f.came[IIP_CAME_WAIT];
    all = found + st->f.came[IIP_CAME_RAW] + st->f.came[IIP_CAME_MISS];
    ap_rprintf(r,
               "%.3f %" APR_UINT64_T_FMT " %" APR_UINT64_T_FMT " %" APR_UINT64_T_FMT " %" APR_UINT64_T_FMT
               " %.4f %.1f %.2f\n",
               (double)apr_time_now() / 1e6, requests(st), st->channels, st->s.decoding, st->s.waiting,
               all ? (double)found / (double)all : 0, st->memory / (1 << 20), st->cpu);
}

int iipd_status_handler(request_rec *r)
{
    iip_settings set;
    const char *asked = r->args ? r->args : "";
    const writer *w = !strcmp(asked, "format=json") ? &json : !strcmp(asked, "format=prometheus") ? &prometheus : &html;

    if (!r->handler || strcmp(r->handler, "iip-status"))
        return DECLINED;
    iip_settings_effective(&set, iipd_settings(r));
    if (!set.status) /* anybody who may write a .htaccess can name the handler */
        return HTTP_NOT_FOUND;
    ap_allow_standard_methods(r, REPLACE_ALLOW, M_GET, M_OPTIONS, -1);
    if (r->method_number != M_GET)
        return r->method_number == M_OPTIONS ? DECLINED : HTTP_METHOD_NOT_ALLOWED;
    apr_table_setn(r->headers_out, "Cache-Control", "no-store");
    apr_table_setn(r->headers_out, "X-Content-Type-Options", "nosniff");
    if (!strcmp(asked, "columns")) {
        ap_set_content_type(r, "text/plain; charset=utf-8");
        if (!r->header_only)
            show_columns(r);
        return OK;
    }
    ap_set_content_type(r, w->mime);
    if (!r->header_only)
        show(r, w);
    return OK;
}

int iipd_status_section(request_rec *r, int flags)
{
    show(r, flags & AP_STATUS_SHORT ? &plain : &section);
    return OK;
}
