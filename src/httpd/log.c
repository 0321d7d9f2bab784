/* SPDX-License-Identifier: Apache-2.0
 * The one place that logs about requests. Levels by status; one line per file and minute for what a file keeps causing.
 */
#include "httpd/iipd.h"
#include <string.h>

APLOG_USE_MODULE(iip);

/* The rest is the client's business and goes by at debug. Tags are IIP0100 + status: they stay when texts change. */
static const int levels[IIP_E_COUNT] = {
    [IIP_E_FORBIDDEN] = APLOG_INFO,  [IIP_E_FORMAT] = APLOG_INFO,  [IIP_E_LIMIT] = APLOG_INFO,
    [IIP_E_CORRUPT] = APLOG_ERR,     [IIP_E_IO] = APLOG_ERR,       [IIP_E_MEMORY] = APLOG_WARNING,
    [IIP_E_TIMEOUT] = APLOG_WARNING, [IIP_E_BUSY] = APLOG_WARNING, [IIP_E_CLIENT] = APLOG_INFO,
    [IIP_E_CHANGED] = APLOG_WARNING,
};

/* 1 if the same status of the same file was logged within this minute. Slots are overwritten by whoever comes: the
 * price of a collision is a line too many. */
static int said_already(iip_status status, const char *file)
{
    static uint64_t slots[256];
    uint32_t h = (uint32_t)status * 2654435761u;
    uint64_t now = (uint64_t)apr_time_sec(apr_time_now()) / 60, mark;

    for (const char *s = file; *s; s++)
        h = (h ^ (unsigned char)*s) * 16777619u;
    mark = (uint64_t)h << 32 | (uint32_t)now;
    return __atomic_exchange_n(&slots[h % 256], mark, __ATOMIC_RELAXED) == mark;
}

void iipd_log_error(const iipd_request *q)
{
    const iip_error *e = &q->e;
    int level = levels[e->status] ? levels[e->status] : APLOG_DEBUG;

    if (e->status == IIP_E_ABORTED)
        level = APLOG_DEBUG;
    if (!APLOG_R_IS_LEVEL(q->r, level) || (level <= APLOG_WARNING && q->file && said_already(e->status, q->file)))
        return;
    ap_log_rerror(APLOG_MARK, level, e->apr, q->r, "IIP%04d: %s: %s%s%s%s%s", 100 + e->status,
                  iip_status_name(e->status), q->file ? ap_escape_logitem(q->r->pool, q->file) : "no file",
                  *e->detail ? ": " : "", ap_escape_logitem(q->r->pool, e->detail), e->part ? ": " : "",
                  e->part ? ap_escape_logitem(q->r->pool, e->part) : "");
}

void iipd_log_request(const iipd_request *q)
{
    const request_rec *r = q->r;

    if (q->rq.ignored && APLOGrinfo(r))
        ap_log_rerror(APLOG_MARK, APLOG_INFO, 0, r, "IIP0002: unknown command %s",
                      ap_escape_logitem(r->pool, q->rq.ignored));
    if (APLOGrdebug(r))
        ap_log_rerror(APLOG_MARK, APLOG_DEBUG, 0, r, "IIP0001: %s %s: %d, %s, %s", r->method,
                      ap_escape_logitem(r->pool, r->unparsed_uri ? r->unparsed_uri : r->uri), r->status,
                      q->file ? ap_escape_logitem(r->pool, q->file) : "no file", iip_status_name(q->e.status));
}

void iipd_log_link(const iipd_request *q, const char *link, const iip_error *e)
{
    if (APLOG_R_IS_LEVEL(q->r, APLOG_WARNING) && !said_already(IIP_E_NOT_FOUND, link))
        ap_log_rerror(APLOG_MARK, APLOG_WARNING, e->apr, q->r, "IIP0007: %s: a link leads to no picture: %s%s%s",
                      ap_escape_logitem(q->r->pool, q->file), ap_escape_logitem(q->r->pool, link),
                      *e->detail ? ": " : "", ap_escape_logitem(q->r->pool, e->detail));
}
