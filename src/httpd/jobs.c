/* SPDX-License-Identifier: Apache-2.0
 * Requests of the job service: take a job, tell its state, cancel it, try it again, figures (spec/imgserve.md). */
#include "httpd/iipd.h"
#include <string.h>
#include <apr_atomic.h>
#include <apr_strings.h>
#ifdef IIP_HAVE_JOBS
#include "job/accept.h"
#include "job/place.h"
#include "job/status.h"
#endif

APLOG_USE_MODULE(iip);

#define HANDLER "imgserve-handler"
#ifdef IIP_HAVE_JOBS

#define SLOW_AT_ONCE 8 /* requests a child that wait for sources and destinations */

static volatile apr_uint32_t slow;

static int enter(void *ctx)
{
    if (apr_atomic_inc32(&slow) < SLOW_AT_ONCE)
        return 1;
    apr_atomic_dec32(&slow);
    return 0;
}

static void leave(void *ctx)
{
    apr_atomic_dec32(&slow);
}

static int say(request_rec *r, int status, const char *mime, const char *text)
{
    r->status = status;
    ap_set_content_type(r, mime);
    apr_table_setn(r->headers_out, "Cache-Control", "no-store");
    ap_set_content_length(r, (apr_off_t)strlen(text));
    if (!r->header_only)
        ap_rputs(text, r);
    return OK;
}

static int say_json(request_rec *r, int status, const char *text)
{
    return say(r, status, "application/json", text);
}

/* Old clients got 404 and a word for whatever is no job. */
static int not_served(request_rec *r, const iip_job_settings *job)
{
    if (job->strict_status) {
        apr_table_setn(r->headers_out, "Allow", "GET, HEAD, POST, DELETE");
        return say(r, HTTP_METHOD_NOT_ALLOWED, "text/plain; charset=utf-8", "method not allowed\n");
    }
    return say(r, HTTP_NOT_FOUND, "text/plain; charset=utf-8", "not found\n");
}

static int missing(request_rec *r)
{
    return say_json(r, HTTP_NOT_FOUND, "{\"msg\": \"no such job\"}");
}

/* --- the body --- */

/* OK and *text, or the status that is the answer. */
static int read_body(request_rec *r, int64_t most, const char **text, size_t *length)
{
    size_t room = 8192, n = 0;
    char *body = apr_palloc(r->pool, room);
    long got;
    int rv = ap_setup_client_block(r, REQUEST_CHUNKED_DECHUNK);

    if (rv != OK)
        return rv;
    if (r->remaining > most)
        return HTTP_REQUEST_ENTITY_TOO_LARGE;
    if (ap_should_client_block(r))
        while ((got = ap_get_client_block(r, body + n, room - n)) > 0) {
            n += (size_t)got;
            if ((int64_t)n > most)
                return HTTP_REQUEST_ENTITY_TOO_LARGE;
            if (n == room) {
                char *more = apr_palloc(r->pool, 2 * room);

                memcpy(more, body, n);
                body = more;
                room *= 2;
            }
        }
    else
        got = 0;
    if (got < 0)
        return HTTP_BAD_REQUEST; /* it broke off */
    *text = body;
    *length = n;
    return OK;
}

static int take_job(request_rec *r, const iip_job_settings *job, const iip_settings *set, const char *base)
{
    static const int strict[] = {
        [JOB_REPLY_TAKEN] = 202, [JOB_REPLY_PARSE] = 400, [JOB_REPLY_INVALID] = 422, [JOB_REPLY_BUSY] = 503};
    job_place place;
    job_desk desk = {.spool = iipd_job_spool(),
                     .place = &place,
                     .base = base,
                     .enter = enter,
                     .leave = leave,
                     .max_queue = iipd_job_max_queue(),
                     .counters = iipd_job_counters()};
    const char *text, *reply, *detail;
    job_reply kind;
    size_t n;
    int rv = read_body(r, job->max_request, &text, &n);

    if (rv != OK)
        return rv;
    job_place_make(&place, set, job);
    reply = job_accept(&desk, text, n, &kind, &detail, r->pool);
    if (detail)
        ap_log_rerror(APLOG_MARK, kind == JOB_REPLY_BUSY ? APLOG_WARNING : APLOG_INFO, 0, r, "IIP0201: job refused: %s",
                      ap_escape_logitem(r->pool, detail));
    if (kind == JOB_REPLY_TAKEN)
        iipd_job_wake();
    if (kind == JOB_REPLY_BUSY)
        apr_table_setn(r->headers_out, "Retry-After", "5");
    return say_json(r, kind == JOB_REPLY_BUSY || job->strict_status ? strict[kind] : HTTP_OK, reply);
}

/* --- one job --- */

static int tell_state(request_rec *r, const char *id)
{
    job_folder where;
    job_entry entry;
    job_record record;
    const char *text = job_spool_find(iipd_job_spool(), id, &where, &entry, r->pool);

    if (!text || job_record_read(&record, text, r->pool) != 0)
        return missing(r);
    return say_json(r, HTTP_OK, job_record_state(&record, where, &entry, r->pool));
}

static int cancel_job(request_rec *r, const char *id)
{
    if (job_spool_cancel(iipd_job_spool(), id, job_record_cancelled, r->pool) == 0)
        return tell_state(r, id);
    return say_json(r, HTTP_CONFLICT, "{\"msg\": \"the job does not wait\"}");
}

static int retry_job(request_rec *r, const char *id)
{
    if (job_spool_retry(iipd_job_spool(), id, job_record_again, r->pool) != 0)
        return say_json(r, HTTP_CONFLICT, "{\"msg\": \"the job has not failed\"}");
    iipd_job_wake();
    return tell_state(r, id);
}

static int tell_figures(request_rec *r)
{
    const char *mime, *text = job_status(iipd_job_spool(), iipd_job_counters(), r->args, &mime, r->pool);

    return say(r, HTTP_OK, mime, text);
}

/* BASE/<id> and BASE/<id>/retry, from the right: *base and *id are copies; id NULL: BASE itself. */
static void split(request_rec *r, const char **base, const char **id, int *again)
{
    char *uri = apr_pstrdup(r->pool, r->uri), *slash;
    size_t n = strlen(uri);

    while (n > 0 && uri[n - 1] == '/') /* all of a host: no text is before the next slash */
        uri[--n] = '\0';
    *again = n > 6 && strcmp(uri + n - 6, "/retry") == 0;
    if (*again)
        uri[n - 6] = '\0';
    slash = strrchr(uri, '/');
    *id = slash && job_id_good(slash + 1) ? slash + 1 : NULL;
    if (*id)
        *slash = '\0';
    *again &= *id != NULL;
    *base = uri;
}

/* Closed unless the administrator says otherwise: a logged-in client, or a place he vouches for. */
static int answer(request_rec *r, const iip_settings *set, const iip_job_settings *job)
{
    const char *base, *id;
    int again;

    if (!job->allow_anonymous && !iipd_had_to_log_in(r)) {
        ap_log_rerror(APLOG_MARK, APLOG_ERR, 0, r,
                      "IIP0202: jobs are taken from logged-in clients only; IIPJobAllowAnonymous On where something "
                      "else protects this place");
        return HTTP_INTERNAL_SERVER_ERROR;
    }
    split(r, &base, &id, &again);
    if (r->method_number == M_POST && !id)
        return take_job(r, job, set, base);
    if (r->method_number == M_GET && !id && r->args && strncmp(r->args, "status", 6) == 0 &&
        (!r->args[6] || r->args[6] == '&'))
        return set->status ? tell_figures(r) : say(r, HTTP_NOT_FOUND, "text/plain; charset=utf-8", "not found\n");
    if (r->method_number == M_GET && id && !again)
        return tell_state(r, id);
    if (r->method_number == M_DELETE && id && !again)
        return cancel_job(r, id);
    if (r->method_number == M_POST && again)
        return retry_job(r, id);
    return r->method_number == M_GET && !job->strict_status ? missing(r) : not_served(r, job);
}
#endif

int iipd_job_handler(request_rec *r)
{
#ifdef IIP_HAVE_JOBS
    const iip_settings *raw;
    iip_settings set;
    iip_job_settings job;
#endif

    if (!r->handler || strcmp(r->handler, HANDLER) != 0)
        return DECLINED;
#ifdef IIP_HAVE_JOBS
    raw = iipd_settings(r);
    iip_settings_effective(&set, raw);
    iip_job_settings_effective(&job, raw->job);
    if (!job.on)
        return HTTP_NOT_FOUND;
    if (!iipd_job_spool()) {
        ap_log_rerror(APLOG_MARK, APLOG_ERR, 0, r, "IIP0203: no IIPJobSpool, or it cannot be used: see the start");
        return HTTP_NOT_FOUND;
    }
    return answer(r, &set, &job);
#else
    ap_log_rerror(APLOG_MARK, APLOG_ERR, 0, r, "IIP0204: jobs are not built in: libcurl or jansson was missing");
    return HTTP_NOT_FOUND;
#endif
}
