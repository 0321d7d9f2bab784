/* SPDX-License-Identifier: Apache-2.0
 * PURGE: a picture that all children of this machine are to forget, whichever URL of it is named. Its file gets another
 * generation (source/source.h), so nothing that was kept of it is found again; who may is the place's own rules, where
 * IIPStatus is on. */
#include "httpd/iipd.h"
#include <string.h>
#include <apr_strings.h>

APLOG_USE_MODULE(iip);

static int method = M_INVALID;

void iipd_purge_register(apr_pool_t *pconf)
{
    method = ap_method_register(pconf, "PURGE");
}

int iipd_is_purge(const request_rec *r)
{
    return r->method_number == method && method != M_INVALID;
}

int iipd_purges(const iipd_request *q)
{
    return iipd_is_purge(q->r) && q->set.status;
}

const char *iipd_methods(const iipd_request *q)
{
    return q->set.status ? apr_pstrcat(q->r->pool, q->proto->methods, ", PURGE", NULL) : q->proto->methods;
}

int iipd_purge(iipd_request *q)
{
    uint32_t *generations = iipd_shared_generations();

    ap_discard_request_body(q->r);
    if (!generations) {
        iip_fail(&q->e, IIP_E_FEATURE, 0, "no shared memory (IIP0022)");
        return OK;
    }
    iip_source_forget(generations, &q->src->id);
    iip_quarantine_forget(iipd_shared_quarantine(), &q->src->id);
    ap_log_rerror(APLOG_MARK, APLOG_INFO, 0, q->r, "IIP0008: %s is forgotten",
                  ap_escape_logitem(q->r->pool, q->src->name));
    return iipd_send_purged(q);
}
