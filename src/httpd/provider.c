/* SPDX-License-Identifier: Apache-2.0
 * Decoders of other modules (mod_iip.h). Taken anew after each reading of the configuration: a restart unloads
 * modules. */
#include "httpd/iipd.h"
#include "mod_iip.h"
#include <ap_provider.h>

APLOG_USE_MODULE(iip);

int iipd_add_decoders(apr_pool_t *pconf, apr_pool_t *plog, apr_pool_t *ptemp, server_rec *s)
{
    const apr_array_header_t *names = ap_list_provider_names(ptemp, IIP_DECODER_GROUP, IIP_DECODER_VERSION);

    iip_decoder_forget();
    for (int i = 0; i < names->nelts; i++) {
        const char *name = APR_ARRAY_IDX(names, i, ap_list_provider_names_t).provider_name;
        const iip_decoder *d = ap_lookup_provider(IIP_DECODER_GROUP, name, IIP_DECODER_VERSION);

        if (iip_decoder_add(d) == 0)
            ap_log_error(APLOG_MARK, APLOG_DEBUG, 0, s, "IIP0006: decoder %s of another module", name);
        else if (ap_state_query(AP_SQ_MAIN_STATE) != AP_SQ_MS_CREATE_PRE_CONFIG)
            ap_log_error(APLOG_MARK, APLOG_ERR, 0, s,
                         "IIP0005: decoder %s of another module is left out: made for ABI %d of mod_iip, this is %d, "
                         "or it is not complete",
                         name, d->abi, IIP_CODEC_ABI);
    }
    return OK;
}
