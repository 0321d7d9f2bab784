/* SPDX-License-Identifier: Apache-2.0
 * mod_iip: images of any size as IIIF, out of httpd. The table of contents of the module: its record, hooks and
 * directives. Directives are rows of src/settings.h, the flow of a request is src/httpd/handler.c, all behind it is
 * src/serve.c. */
#include "httpd/jpipd.h"
#include <mod_status.h>
#include <mpm_common.h>

/* Where a directive may stand, by the scope letters of settings.h */
#define WHERE_S RSRC_CONF /* and main server only: config.c sees to it */
#define WHERE_D (RSRC_CONF | ACCESS_CONF)
#define WHERE_H OR_FILEINFO /* server, sections and .htaccess: the class SetHandler itself needs */
#define WHERE_L ACCESS_CONF

#define PLACE(d, m, ...) AT_##m,
enum { IIP_SETTINGS(PLACE) };
enum { IIP_SERVER_SETTINGS(PLACE) };
#define JOB_PLACE_OF(d, m, ...) AT_JOB_##m,
enum { IIP_JOB_SETTINGS(JOB_PLACE_OF) };

#define DIRECTIVE(d, at, where, rows, help)      AP_INIT_TAKE_ARGV(#d, iipd_set, (void *)&rows[at], where, help),
#define ROW(d, m, KIND, s, def, key, args, help) DIRECTIVE(d, AT_##m, WHERE_##s, iip_directives, args ": " help)
#define SERVER_ROW(d, m, KIND, s, def, key, args, help)                                                                \
    DIRECTIVE(d, AT_##m, WHERE_##s, iip_server_directives, args ": " help)
#define JOB_ROW(d, m, KIND, s, def, key, args, help)                                                                   \
    DIRECTIVE(d, AT_JOB_##m, WHERE_##s, iip_job_directives, args ": " help)

static const command_rec directives[] = {IIP_SETTINGS(ROW) IIP_SERVER_SETTINGS(SERVER_ROW)
                                             IIP_JOB_SETTINGS(JOB_ROW){NULL}};

static void register_hooks(apr_pool_t *p)
{
    static const char *const core[] = {"core.c", NULL};
    static const char *const mappers[] = {"mod_alias.c", "mod_rewrite.c", "mod_userdir.c", "mod_vhost_alias.c", NULL};

    /* start */
    ap_hook_pre_config(iipd_pre_config, NULL, NULL, APR_HOOK_MIDDLE);
    ap_hook_check_config(iipd_memcached_check, NULL, NULL, APR_HOOK_FIRST);
    ap_hook_check_config(iipd_check_config, NULL, NULL, APR_HOOK_MIDDLE);
    ap_hook_post_config(iipd_add_decoders, NULL, NULL, APR_HOOK_MIDDLE);
    ap_hook_post_config(iipd_post_config, NULL, NULL, APR_HOOK_MIDDLE);
    ap_hook_post_config(iipd_shared_post_config, NULL, NULL, APR_HOOK_MIDDLE);
    ap_hook_child_status(iipd_shared_child_status, NULL, NULL, APR_HOOK_MIDDLE);
    ap_hook_child_init(iipd_shared_child_init, NULL, NULL, APR_HOOK_MIDDLE);
    ap_hook_post_config(iipd_job_post_config, NULL, NULL, APR_HOOK_MIDDLE);
    ap_hook_monitor(iipd_job_monitor, NULL, NULL, APR_HOOK_MIDDLE);
    ap_hook_child_init(iipd_child_init, NULL, NULL, APR_HOOK_MIDDLE);
    ap_hook_child_init(iipd_job_child_init, NULL, NULL, APR_HOOK_MIDDLE);
    /* a request */
    ap_hook_pre_translate_name(iipd_pre_translate_name, NULL, NULL, APR_HOOK_MIDDLE);
    ap_hook_translate_name(iipd_translate_name, mappers, NULL, APR_HOOK_LAST);
    ap_hook_fixups(iipd_fixups, NULL, core, APR_HOOK_REALLY_FIRST);
    ap_hook_handler(iipd_jpip_handler, NULL, NULL, APR_HOOK_REALLY_FIRST);
    ap_hook_handler(iipd_handler, NULL, NULL, APR_HOOK_FIRST);
    ap_hook_handler(iipd_status_handler, NULL, NULL, APR_HOOK_MIDDLE);
    APR_OPTIONAL_HOOK(ap, status_hook, iipd_status_section, NULL, NULL, APR_HOOK_MIDDLE);
    ap_hook_handler(iipd_job_handler, NULL, NULL, APR_HOOK_MIDDLE);
    ap_hook_log_transaction(iipd_count_bytes, NULL, NULL, APR_HOOK_MIDDLE);
    ap_hook_insert_error_filter(iipd_insert_error_filter, NULL, NULL, APR_HOOK_MIDDLE);
}

/* The one symbol that is not hidden: httpd finds the module by it */
AP_DECLARE_MODULE(iip)
__attribute__((visibility("default"))) = {
    STANDARD20_MODULE_STUFF,
    iipd_create_dir,
    iipd_merge_dir,
    iipd_create_server,
    NULL, /* S directives stand in the main server alone: nothing to merge */
    directives,
    register_hooks,
    AP_MODULE_FLAG_NONE,
};
