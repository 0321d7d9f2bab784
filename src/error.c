/* SPDX-License-Identifier: Apache-2.0
 * The one table of errors: what the client sees for each status (spec/security.md section 5). */
#include "iip.h"
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

static const struct {
    int http, retry;
    const char *name, *text;
} rows[IIP_E_COUNT] = {
    [IIP_OK] = {200, 0, "ok", "ok"},
    [IIP_E_SYNTAX] = {400, 0, "syntax", "the request cannot be understood"},
    [IIP_E_RANGE] = {400, 0, "range", "outside the image"},
    [IIP_E_LIMIT] = {400, 0, "limit", "larger than this server allows"},
    [IIP_E_FORBIDDEN] = {403, 0, "forbidden", "not allowed"},
    [IIP_E_NOT_FOUND] = {404, 0, "not-found", "no such image"},
    [IIP_E_METHOD] = {405, 0, "method", "method not allowed"},
    [IIP_E_FEATURE] = {501, 0, "feature", "not supported by this server"},
    [IIP_E_FORMAT] = {415, 0, "format", "not an image this server can read"},
    [IIP_E_CORRUPT] = {500, 0, "corrupt", "the image is damaged"},
    [IIP_E_MEMORY] = {503, 5, "memory", "out of memory for now"},
    [IIP_E_TIMEOUT] = {503, 5, "timeout", "took too long"},
    [IIP_E_BUSY] = {503, 1, "busy", "too many requests at once"},
    [IIP_E_CLIENT] = {429, 1, "client", "too many requests from your address"},
    [IIP_E_BODY] = {413, 0, "body", "request body too long"},
    [IIP_E_QUERY] = {414, 0, "query", "query too long"},
    [IIP_E_IO] = {500, 0, "io", "the image cannot be read"},
    [IIP_E_CHANGED] = {503, 1, "busy", "the image is being replaced"},
    [IIP_E_ABORTED] = {503, 1, "busy", "aborted"},
};

iip_status iip_fail(iip_error *e, iip_status s, apr_status_t cause, const char *fmt, ...)
{
    va_list ap;

    if (s == IIP_E_IO && (cause == EMFILE || cause == ENFILE || cause == ENOMEM || cause == ENOSPC))
        s = IIP_E_MEMORY;
    e->status = s;
    e->apr = cause;
    e->part = NULL;
    va_start(ap, fmt);
    vsnprintf(e->detail, sizeof e->detail, fmt, ap);
    va_end(ap);
    return s;
}

iip_status iip_refuse(iip_error *e, iip_status s, const char *part)
{
    e->status = s;
    e->apr = 0;
    e->part = part;
    e->detail[0] = '\0';
    return s;
}

int iip_status_http(iip_status s)
{
    return rows[s].http;
}

int iip_status_retry(iip_status s)
{
    return rows[s].retry;
}

const char *iip_status_name(iip_status s)
{
    return rows[s].name;
}

const char *iip_status_text(iip_status s)
{
    return rows[s].text;
}
