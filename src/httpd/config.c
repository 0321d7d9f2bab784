/* SPDX-License-Identifier: Apache-2.0
 * httpd's configuration calls over the settings list: a place's record is iip_settings, the server's
 * iip_server_settings. */
#include "httpd/jpipd.h"
#include "job/place.h"
#include <string.h>
#include <apr_fnmatch.h>
#include <apr_strings.h>

/* While the configuration is read; reset in pre_config */
static iip_root *roots, **last_root, *link_roots;
static unsigned root_count;
static apr_array_header_t *warnings;
static iip_settings unset; /* nothing is said in it */

/* What lies between the members too: compared as bytes. */
static iip_settings *say_nothing(iip_settings *s)
{
    memset(s, 0, sizeof *s);
    iip_settings_unset(s);
    return s;
}

int iipd_pre_config(apr_pool_t *pconf, apr_pool_t *plog, apr_pool_t *ptemp)
{
    roots = NULL;
    last_root = &roots;
    link_roots = NULL;
    root_count = 0;
    warnings = apr_array_make(pconf, 4, sizeof(const char *));
    iip_settings_init(pconf);
    iipd_purge_register(pconf);
    say_nothing(&unset);
    return iipd_channels_pre_config(pconf);
}

iip_root *iipd_roots(void)
{
    return roots;
}

iip_root *iipd_link_roots(void)
{
    return link_roots;
}

apr_array_header_t *iipd_warnings(void)
{
    return warnings;
}

void iipd_warn(const char *line)
{
    APR_ARRAY_PUSH(warnings, const char *) = line;
}

void *iipd_create_dir(apr_pool_t *p, char *dir)
{
    return say_nothing(apr_palloc(p, sizeof(iip_settings)));
}

void *iipd_merge_dir(apr_pool_t *p, void *base, void *add)
{
    iip_settings *s;

    /* As a request's walk from the server's record to its place nearly always is */
    if (memcmp(base, &unset, sizeof unset) == 0)
        return add;
    s = apr_palloc(p, sizeof *s);
    iip_settings_merge(s, base, add);
    if (((const iip_settings *)base)->job && ((const iip_settings *)add)->job) {
        iip_job_settings *job = apr_palloc(p, sizeof *job);

        iip_job_settings_merge(job, ((const iip_settings *)base)->job, ((const iip_settings *)add)->job);
        s->job = job;
    }
    return s;
}

void *iipd_create_server(apr_pool_t *p, server_rec *s)
{
    iip_server_settings *set = apr_palloc(p, sizeof *set);

    iip_server_settings_unset(set);
    return set;
}

const iip_settings *iipd_settings(const request_rec *r)
{
    return ap_get_module_config(r->per_dir_config, &iip_module);
}

/* The prefix to be cut off is known only in a <Location> whose path means itself: elsewhere cmd->path is NULL, a
 * folder, or (in LocationMatch and with ~) a pattern that looks like a path. */
static const char *plain_location(const cmd_parms *cmd)
{
    const ap_directive_t *in = cmd->directive->parent;

    if (!in || strcasecmp(in->directive, "<Location") || *in->args == '~' || !cmd->path || *cmd->path != '/' ||
        apr_fnmatch_test(cmd->path))
        return apr_pstrcat(cmd->pool, cmd->cmd->name, " stands in a <Location> with a plain path only", NULL);
    return NULL;
}

static const char *add_root(cmd_parms *cmd, const iip_root **made)
{
    iip_root *root = apr_pmemdup(cmd->pool, *made, sizeof *root);
    size_t n = strlen(cmd->path);

    root->path = ap_server_root_relative(cmd->pool, root->path);
    if (!root->path)
        return apr_pstrcat(cmd->pool, cmd->cmd->name, ": not a path: ", (*made)->path, NULL);
    while (n && cmd->path[n - 1] == '/')
        n--;
    root->prefix = apr_pstrmemdup(cmd->pool, cmd->path, n);
    root->number = ++root_count;
    *last_root = root;
    last_root = &root->next;
    *made = root;
    return NULL;
}

/* The job settings of a place that is being read: its own until the end. */
static iip_job_settings *job_settings(const cmd_parms *cmd, iip_settings *conf)
{
    iip_job_settings *job;

    if (!conf->job) {
        job = apr_palloc(cmd->pool, sizeof *job);
        iip_job_settings_unset(job);
        conf->job = job;
    }
    return (iip_job_settings *)(uintptr_t)conf->job;
}

static int is_job(const iip_directive *d)
{
    for (const iip_directive *one = iip_job_directives; one->name; one++)
        if (one == d)
            return 1;
    return 0;
}

/* Each folder once, however often it is named. */
static void add_link_roots(cmd_parms *cmd, const iip_settings *conf)
{
    for (const char *const *path = conf->jpip_link_root; path && *path; path++) {
        iip_root *root = link_roots;

        while (root && strcmp(root->path, *path))
            root = root->next;
        if (root)
            continue;
        root = apr_pcalloc(cmd->pool, sizeof *root);
        root->path = *path;
        root->directive = "JPIPLinkRoot";
        root->fd = -1;
        root->number = ++root_count;
        root->next = link_roots;
        link_roots = root;
    }
}

const char *iipd_set(cmd_parms *cmd, void *dir, int argc, char *const argv[])
{
    const iip_directive *d = cmd->info;
    int htaccess = cmd->pool == cmd->temp_pool;
    void *conf = dir;
    const char *bad = NULL, *path = NULL;

    if (d->scope == 'S') {
        bad = ap_check_cmd_context(cmd, GLOBAL_ONLY);
        conf = ap_get_module_config(cmd->server->module_config, &iip_module);
    } else if (d->scope == 'L') {
        bad = plain_location(cmd);
    } else if (is_job(d)) {
        conf = job_settings(cmd, dir);
    }
    if (!bad)
        bad = job_setting_check(d->name, argc, (const char *const *)argv, cmd->pool);
    if (!bad && !strcmp(d->args, "path")) /* a "folder" is relative to another one, who uses it says to which */
        path = ap_server_root_relative(cmd->pool, argv[0]);
    if (!bad)
        bad = iip_setting_set(conf, d, argc, path ? &path : (const char *const *)argv, htaccess, cmd->pool);
    if (!bad && d->scope == 'L')
        bad = add_root(cmd, (const iip_root **)((char *)conf + d->at));
    if (!bad && d->scope == 'D' && !is_job(d))
        add_link_roots(cmd, conf);
    if (bad == iip_setting_unbuilt) {
        if (!htaccess)
            iipd_warn(apr_psprintf(cmd->pool, "%s %s (%s:%d): %s", d->name, argv[0], cmd->directive->filename,
                                   cmd->directive->line_num, bad));
        bad = NULL;
    }
    return bad;
}
