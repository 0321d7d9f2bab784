/* SPDX-License-Identifier: Apache-2.0
 * Requests as forms: what a GET has in its query, a POST may have in its body (spec/iip.md section 2). */
#include "httpd/iipd.h"
#include <string.h>

APLOG_USE_MODULE(iip);

#define MOST_QUERY (16 << 10)
#define MOST_BODY  (64 << 10)

int iipd_is_form(const iipd_request *q)
{
    return q->r->method_number == M_POST && q->proto->posts;
}

/* What is longer is not read: the connection ends with the answer. */
static iip_status too_long(iipd_request *q)
{
    q->r->connection->keepalive = AP_CONN_CLOSE;
    return iip_refuse(&q->e, IIP_E_BODY, NULL);
}

static iip_status read_body(iipd_request *q)
{
    request_rec *r = q->r;
    char *body = apr_palloc(r->pool, MOST_BODY + 2), *end;
    long n = 1;
    size_t at = 0;

    if (ap_setup_client_block(r, REQUEST_CHUNKED_DECHUNK) != OK)
        return iip_refuse(&q->e, IIP_E_SYNTAX, NULL);
    if (r->remaining > MOST_BODY)
        return too_long(q);
    if (ap_should_client_block(r))
        while (at <= MOST_BODY && (n = ap_get_client_block(r, body + at, MOST_BODY + 1 - at)) > 0)
            at += (size_t)n;
    if (n < 0)
        return iip_refuse(&q->e, IIP_E_ABORTED, NULL);
    if (at > MOST_BODY)
        return too_long(q);
    body[at] = '\0';
    if (strlen(body) < at)
        return iip_refuse(&q->e, IIP_E_SYNTAX, NULL);
    if ((end = strpbrk(body, "\r\n")))
        *end = '\0'; /* as editors and scripts leave it */
    q->in.query = body;
    q->in.form = 1;
    return IIP_OK;
}

iip_status iipd_read_query(iipd_request *q)
{
    request_rec *r = q->r;

    q->in.query = r->args;
    if (q->proto->compose && r->args && strlen(r->args) > MOST_QUERY)
        return iip_refuse(&q->e, IIP_E_QUERY, NULL);
    if (!iipd_is_form(q))
        return IIP_OK;
    q->posted = 1;
    return r->args && *r->args ? IIP_OK : read_body(q);
}
