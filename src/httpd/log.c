/* SPDX-License-Identifier: Apache-2.0
 * The one place that logs about requests. Levels by status; one line per file and minute for what a file keeps causing.
 */
#include "httpd/iipd.h"
#include "put.h"
#include <string.h>
#include <apr_strings.h>

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

    /* A file in quarantine: said when it came there (IIP0009) */
    if (e->status == IIP_E_ABORTED || (e->status == IIP_E_CORRUPT && e->part))
        level = APLOG_DEBUG;
    if (!APLOG_R_IS_LEVEL(q->r, level) ||
        (level <= APLOG_WARNING && said_already(e->status, q->file ? q->file : q->r->uri)))
        return;
    ap_log_rerror(APLOG_MARK, level, e->apr, q->r, "IIP%04d: %s: %s%s%s%s%s", 100 + e->status,
                  iip_status_name(e->status), q->file ? ap_escape_logitem(q->r->pool, q->file) : "no file",
                  *e->detail ? ": " : "", ap_escape_logitem(q->r->pool, e->detail), e->part ? ": " : "",
                  e->part ? ap_escape_logitem(q->r->pool, e->part) : "");
}

/* Microseconds as milliseconds with three places. */
static char *put_ms(char *to, apr_interval_time_t us)
{
    const unsigned rest = us > 0 ? (unsigned)(us % 1000) : 0;

    to = iip_put_unsigned(to, us > 0 ? (uint64_t)us / 1000 : 0);
    *to++ = '.';
    *to++ = (char)('0' + rest / 100);
    *to++ = (char)('0' + rest / 10 % 10);
    *to++ = (char)('0' + rest % 10);
    return to;
}

#define MS_ROOM (5 * 26)
static char *stage_times(const iip_times *t, char *text)
{
    const apr_interval_time_t all[] = {t->open, t->read, t->decode, t->process, t->encode};
    char *at = text;

    for (int i = 0; i < 5; i++) {
        at = put_ms(at, all[i]);
        *at++ = i < 4 ? '/' : '\0';
    }
    return text;
}

const char *const iipd_came_names[IIPD_CAME] = {
    [IIP_CAME_HIT] = "hit", [IIP_CAME_SHARED] = "shared", [IIP_CAME_WAIT] = "wait",
    [IIP_CAME_RAW] = "raw", [IIP_CAME_MISS] = "miss",
};

void iipd_note_request(const iipd_request *q)
{
    apr_table_t *notes = q->r->notes;

    if (!q->b)
        return;
    if (q->b->came)
        apr_table_setn(notes, "iip-cache", iipd_came_names[q->b->came]);
    apr_table_setn(notes, "iip-ms", stage_times(&q->b->spent, apr_palloc(q->r->pool, MS_ROOM)));
    if (q->want == IIP_WANT_IMAGE)
        apr_table_setn(notes, "iip-level", apr_itoa(q->r->pool, q->rq.level));
}

void iipd_log_request(const iipd_request *q)
{
    const request_rec *r = q->r;
    char text[MS_ROOM];

    if (q->rq.ignored && APLOGrinfo(r))
        ap_log_rerror(APLOG_MARK, APLOG_INFO, 0, r, "IIP0002: unknown command %s",
                      ap_escape_logitem(r->pool, q->rq.ignored));
    if (!APLOGrdebug(r))
        return;
    ap_log_rerror(
        APLOG_MARK, APLOG_DEBUG, 0, r,
        "IIP0001: %s %s: %d, %s, %s, cache %s, level %d, open/read/decode/process/encode %s ms, %" APR_SIZE_T_FMT
        " bytes held",
        r->method, ap_escape_logitem(r->pool, r->unparsed_uri ? r->unparsed_uri : r->uri), r->status,
        q->file ? ap_escape_logitem(r->pool, q->file) : "no file", iip_status_name(q->e.status),
        q->b && q->b->came ? iipd_came_names[q->b->came] : "-", q->rq.level,
        q->b ? stage_times(&q->b->spent, text) : "-", q->b ? q->b->peak : 0);
}

void iipd_log_link(const iipd_request *q, const char *link, const iip_error *e)
{
    if (APLOG_R_IS_LEVEL(q->r, APLOG_WARNING) && !said_already(IIP_E_NOT_FOUND, link))
        ap_log_rerror(APLOG_MARK, APLOG_WARNING, e->apr, q->r, "IIP0007: %s: a link leads to no picture: %s%s%s",
                      ap_escape_logitem(q->r->pool, q->file), ap_escape_logitem(q->r->pool, link),
                      *e->detail ? ": " : "", ap_escape_logitem(q->r->pool, e->detail));
}
