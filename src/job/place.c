/* SPDX-License-Identifier: Apache-2.0
 * Settings to a place. */
#include "place.h"
#include "number.h"
#include <string.h>
#include <apr_strings.h>

static int scheme_good(const char *word)
{
    static const char *const known[] = {"http", "https", "ftp", "ftps", "file"};

    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (strcmp(word, known[i]) == 0)
            return 1;
    return 0;
}

static int pattern_good(const char *word)
{
    return strcmp(word, "*") == 0 || (!strchr(word + 2 * (strncmp(word, "*.", 2) == 0), '*') && *word != '.');
}

static int port_good(const char *word)
{
    const int64_t n = job_whole_text(word);

    return strcmp(word, "any") == 0 || (n >= 1 && n <= 65535);
}

static int colour_good(const char *word)
{
    return strlen(word) == 6 && strspn(word, "0123456789abcdefABCDEF") == 6;
}

const char *job_setting_check(const char *directive, int argc, const char *const *argv, apr_pool_t *p)
{
    static const struct {
        const char *directive;
        int (*good)(const char *word);
        int most; /* words */
    } rows[] = {
        {"IIPJobSourceSchemes", scheme_good, 5},   {"IIPJobDestSchemes", scheme_good, 5},
        {"IIPJobSourceHosts", pattern_good, 1000}, {"IIPJobDestHosts", pattern_good, 1000},
        {"IIPJobAllowNet", job_net_good, 1000},    {"IIPJobDenyNet", job_net_good, 1000},
        {"IIPJobPorts", port_good, 1000},          {"IIPJobPlaceholderColor", colour_good, 2},
    };

    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        if (strcmp(directive, rows[i].directive) != 0)
            continue;
        if (argc > rows[i].most)
            return apr_psprintf(p, "%s takes up to %d words", directive, rows[i].most);
        for (int k = 0; k < argc; k++)
            if (!(argc == 1 && strcmp(argv[k], "none") == 0) && !rows[i].good(argv[k]))
                return apr_pstrcat(p, directive, " does not take ", argv[k], NULL);
    }
    return NULL;
}

void job_place_make(job_place *place, const iip_settings *set, const iip_job_settings *job)
{
    const char *const *colour = job->placeholder_colour;

    *place = (job_place){
        .source_root = job->source_root,
        .dest_root = job->dest_root,
        .source_schemes = job->source_schemes,
        .dest_schemes = job->dest_schemes,
        .source_hosts = job->source_hosts,
        .dest_hosts = job->dest_hosts,
        .allow_net = job->allow_net,
        .deny_net = job->deny_net,
        .ports = job->ports,
        .ca_file = job->ca_file,
        .user_agent = job->user_agent ? job->user_agent : "mod_iip/" IIP_VERSION,
        .callback_secret = job->callback_secret,
        .failure_text = job->failure_text ? job->failure_text : "Image processing failed",
        .placeholder_text = job->placeholder_text ? job->placeholder_text : "Image being processed",
        .placeholder_file = job->placeholder_file,
        .placeholder_ground = colour[0] ? apr_strtoi64(colour[0], NULL, 16) : 0xffffff,
        .placeholder_ink = colour[0] && colour[1] ? apr_strtoi64(colour[1], NULL, 16) : 0,
        .ftp_secure = job->ftp_secure,
        .retries = job->retries,
        .transfer_timeout = (job->transfer_timeout + APR_USEC_PER_SEC - 1) / APR_USEC_PER_SEC,
        .max_source = job->max_source,
        .max_pixels = job->max_pixels,
    };
    for (int i = 0; i < IIP_FMT_COUNT; i++)
        place->quality[i] = set->quality.of[i];
}
