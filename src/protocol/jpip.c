/* SPDX-License-Identifier: Apache-2.0
 * JPIP among the protocols: which file a request names, and how an error looks. All else is src/jpip/ and
 * src/httpd/jpip.c, since its answers are no pictures. */
#include "jpip/query.h"
#include "path.h"
#include "protocol/protocol.h"
#include <string.h>
#include <apr_strings.h>

/* target, else the path below the Location. */
static iip_status parse(const iip_input *in, iip_request *rq, iip_want *want, apr_pool_t *p, iip_error *e)
{
    jpip_query q;
    iip_error fields;

    *want = IIP_WANT_BARE;
    jpip_query_parse(&q, in->query, NULL, p, &fields); /* what is wrong there is said later */
    rq->name = q.target;
    if (!rq->name && !in->mapped)
        rq->name = iip_path_decode(in->path + 1, strlen(in->path + 1), p);
    if (rq->name && !*rq->name)
        rq->name = NULL;
    return rq->name || in->mapped ? IIP_OK : iip_refuse(e, IIP_E_NOT_FOUND, NULL);
}

static const char *complain(const iip_input *in, const iip_error *e, const char **mime, apr_pool_t *p)
{
    const char *text = e->status == IIP_E_BUSY && e->part ? "no such channel any more" : iip_status_text(e->status);

    *mime = "text/plain";
    return apr_pstrcat(p, text, e->part ? ": " : "", e->part ? e->part : "", "\n", NULL);
}

static size_t tail(const char *path)
{
    return 0;
}

extern const iip_protocol iip_protocol_jpip;
const iip_protocol iip_protocol_jpip = {
    .handler = "jpip-handler",
    .methods = "GET, HEAD, POST, OPTIONS",
    .parse = parse,
    .complain = complain,
    .tail = tail,
};
