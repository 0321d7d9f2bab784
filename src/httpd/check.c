/* SPDX-License-Identifier: Apache-2.0
 * What is worth a warning at `httpd -t` and at the start: things that work, but not as meant. */
#include "httpd/jpipd.h"
#include <fcntl.h>
#include <grp.h>
#include <string.h>
#include <unistd.h>
#include <sys/stat.h>
#include <apr_strings.h>
#include <unixd.h>

APLOG_USE_MODULE(iip);

/* Who the children will be: httpd calls initgroups() for them. */
typedef struct {
    gid_t group[256];
    int groups;
} user;

/* 1 if User may do this (R_OK, X_OK). As root the mode bits must tell: access() would always say yes. */
static int user_may(const user *u, const char *path, const struct stat *st, int what)
{
    mode_t shift = st->st_uid == ap_unixd_config.user_id ? 6 : 0;

    if (geteuid())
        return !faccessat(AT_FDCWD, path, what, AT_EACCESS);
    for (int i = 0; !shift && i < u->groups; i++)
        if (st->st_gid == u->group[i])
            shift = 3;
    return !ap_unixd_config.user_id || (st->st_mode >> shift & (mode_t)what) == (mode_t)what;
}

static void check_folder(const char *directive, const char *name, const user *u, int what, apr_pool_t *p)
{
    char *path = apr_pstrdup(p, name);
    const char *why = NULL;
    struct stat st;

    if (stat(path, &st))
        why = "does not exist";
    else if (!S_ISDIR(st.st_mode))
        why = "is no folder";
    else if (!user_may(u, path, &st, what))
        why = "cannot be read by User";
    /* Each folder on the way must let User through */
    for (char *end = path; !why && (end = strchr(end + 1, '/'));) {
        *end = '\0';
        if (!stat(path, &st) && !user_may(u, path, &st, X_OK))
            why = apr_pstrcat(p, "cannot be reached by User, because of ", path, NULL);
        *end = '/';
    }
    if (why)
        iipd_warn(apr_psprintf(p, "%s %s %s", directive, name, why));
}

static void check_root(const iip_root *root, const user *u, apr_pool_t *p)
{
    check_folder(root->directive, root->path, u, R_OK | X_OK, p);
}

/* The server a <VirtualHost> became. */
static server_rec *server_of(const ap_directive_t *vhost, server_rec *s)
{
    for (; s; s = s->next)
        if (s->defn_name && !strcmp(s->defn_name, vhost->filename) && s->defn_line_number == (unsigned)vhost->line_num)
            return s;
    return NULL;
}

static const ap_directive_t *find(const ap_directive_t *list, const char *name)
{
    while (list && strcasecmp(list->directive, name))
        list = list->next;
    return list;
}

/* Does a section's path lie beneath the prefix of an IIPRoot, whose setting it inherits? */
static int has_root(const ap_directive_t *section, apr_pool_t *p)
{
    const char *args = section->args, *path;

    if (find(section->first_child, "IIPRoot") || find(section->first_child, "IIPThumbRoot"))
        return 1;
    if (strcasecmp(section->directive, "<Location"))
        return 0;
    path = ap_getword_conf(p, &args);
    for (const iip_root *root = iipd_roots(); root; root = root->next) {
        size_t n = strlen(root->prefix);

        if (!strncmp(path, root->prefix, n) && (!path[n] || strchr("/>", path[n])))
            return 1;
    }
    return 0;
}

/* Handlers of ours where httpd maps the names and answers 404 to an encoded slash before anybody is asked. */
static void check_slashes(const ap_directive_t *list, server_rec *main_server, server_rec *s, int rooted, apr_pool_t *p)
{
    const core_dir_config *core = ap_get_core_module_config(s->lookup_defaults);

    for (const ap_directive_t *d = list; d; d = d->next) {
        const char *args = d->args;

        if (!strcasecmp(d->directive, "<VirtualHost")) {
            server_rec *host = server_of(d, main_server);

            if (host)
                check_slashes(d->first_child, main_server, host, 0, p);
        } else if (d->first_child) {
            check_slashes(d->first_child, main_server, s, rooted || has_root(d, p), p);
        } else if (!rooted && !core->allow_encoded_slashes && !strcasecmp(d->directive, "SetHandler")) {
            char *word = ap_getword_conf(p, &args);
            const iip_protocol *proto;

            ap_str_tolower(word); /* as core does */
            proto = iip_protocol_find(word);
            if (proto && !proto->thumbs)
                iipd_warn(apr_psprintf(p,
                                       "SetHandler %s (%s:%d) without IIPRoot: names with an encoded slash (%%2F) are "
                                       "refused by httpd here; \"AllowEncodedSlashes On\" lets them through",
                                       word, d->filename, d->line_num));
        }
    }
}

/* Places that take jobs: their folders, and the spool without which there are none. */
static void check_jobs(const ap_directive_t *list, const user *u, const char *spool, apr_pool_t *p)
{
    static const struct {
        const char *directive;
        int what;
    } folders[] = {{"IIPJobSourceRoot", R_OK | X_OK}, {"IIPJobDestRoot", X_OK}};

    for (const ap_directive_t *d = list; d; d = d->next) {
        const char *args = d->args;

        if (d->first_child)
            check_jobs(d->first_child, u, spool, p);
        else if (!spool && !strcasecmp(d->directive, "IIPJobs") && !strcasecmp(ap_getword_conf(p, &args), "on"))
            iipd_warn(
                apr_psprintf(p, "IIPJobs On (%s:%d) without IIPJobSpool: no jobs are taken", d->filename, d->line_num));
        for (size_t i = 0; i < sizeof folders / sizeof *folders; i++)
            if (!strcasecmp(d->directive, folders[i].directive))
                check_folder(d->directive, ap_server_root_relative(p, ap_getword_conf(p, &args)), u, folders[i].what,
                             p);
    }
}

static void warn_all(apr_pool_t *p, server_rec *s)
{
    const apr_array_header_t *lines = iipd_warnings();
    user u = {.groups = sizeof u.group / sizeof *u.group};

    if (!ap_unixd_config.user_name ||
        getgrouplist(ap_unixd_config.user_name, ap_unixd_config.group_id, u.group, &u.groups) < 0)
        u = (user){{ap_unixd_config.group_id}, 1};
    for (const iip_root *root = iipd_roots(); root; root = root->next)
        check_root(root, &u, p);
    for (const iip_root *root = iipd_link_roots(); root; root = root->next)
        check_root(root, &u, p);
    check_slashes(ap_conftree, s, s, 0, p);
    check_jobs(ap_conftree, &u,
               ((const iip_server_settings *)ap_get_module_config(s->module_config, &iip_module))->job_spool, p);
    for (int i = 0; i < lines->nelts; i++)
        ap_log_error(APLOG_MARK, APLOG_WARNING, 0, s, "IIP0002: %s", APR_ARRAY_IDX(lines, i, const char *));
}

/* httpd -t ends before post_config; a start reads the configuration twice, runs both twice and means the second time.
 */
int iipd_check_config(apr_pool_t *pconf, apr_pool_t *plog, apr_pool_t *ptemp, server_rec *s)
{
    if (ap_state_query(AP_SQ_RUN_MODE) == AP_SQ_RM_CONFIG_TEST)
        warn_all(pconf, s);
    return iipd_channels_check(pconf, ptemp, s);
}

const char *iipd_state_dir(apr_pool_t *p, server_rec *s)
{
    const iip_server_settings *set = ap_get_module_config(s->module_config, &iip_module);

    return ap_runtime_dir_relative(p, set->state_dir ? set->state_dir : "iip");
}

/* By root, for the User that children run as. */
static void make_state_dir(apr_pool_t *p, server_rec *s)
{
    const char *dir = iipd_state_dir(p, s);
    struct stat st;

    if (mkdir(dir, 0700) == 0 && geteuid() == 0 && chown(dir, ap_unixd_config.user_id, ap_unixd_config.group_id) != 0)
        iipd_warn(apr_psprintf(p, "IIPStateDir %s cannot be given to the User", dir));
    if (stat(dir, &st) != 0 || !S_ISDIR(st.st_mode))
        iipd_warn(apr_psprintf(p, "IIPStateDir %s cannot be made: packet indexes are kept in memory only", dir));
}

int iipd_post_config(apr_pool_t *pconf, apr_pool_t *plog, apr_pool_t *ptemp, server_rec *s)
{
    if (ap_state_query(AP_SQ_MAIN_STATE) != AP_SQ_MS_CREATE_PRE_CONFIG) {
        make_state_dir(ptemp, s);
        warn_all(pconf, s);
    }
    return iipd_channels_post_config(pconf, ptemp, s);
}
