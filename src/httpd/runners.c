/* SPDX-License-Identifier: Apache-2.0
 * Processes that work on jobs, kept alive by httpd's parent (spec/imgserve.md section 7). Each generation of the
 * configuration has its own; the old ones finish the job at hand and end when the parent closes their lifeline. */
#include "httpd/iipd.h"
#include <unistd.h>
#ifdef IIP_HAVE_JOBS
#include "job/counters.h"
#include "job/run.h"
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <ap_listen.h>
#include <mpm_common.h>
#include <unixd.h>

APLOG_USE_MODULE(iip);

#define RETAINED "iip-job-counters"

static struct {
    server_rec *server;
    iip_server_settings set;
    const char *path; /* of the spool; NULL: no jobs */
    int wake[2];      /* children write, runners read */
    int lifeline[2];  /* only the parent keeps the writing end */
    job_counters *counters;
    apr_pool_t *pool; /* pconf */
    struct runner *runner;
    int count;
} shared = {.wake = {-1, -1}, .lifeline = {-1, -1}};

static job_spool *spool; /* of this child */

job_spool *iipd_job_spool(void)
{
    return spool;
}

job_counters *iipd_job_counters(void)
{
    return shared.counters;
}

void iipd_job_wake(void)
{
    if (shared.wake[1] >= 0 && write(shared.wake[1], "", 1) < 0)
        return; /* full: they are awake */
}

int64_t iipd_job_max_queue(void)
{
    return shared.set.job_max_queue;
}

static void log_job(void *ctx, const char *text)
{
    ap_log_error(APLOG_MARK, APLOG_ERR, 0, ctx, "IIP0205: %s", text);
}

static void close_fd(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

/* --- one runner --- */

typedef struct runner {
    apr_proc_t proc;
    int number, runs;
    apr_time_t started;
} runner;

/* Never returns. hold_back: it began a moment ago; whatever ends it so soon shall not keep the machine busy. */
__attribute__((noreturn)) static void be_runner(const runner *one, int hold_back)
{
    job_runner r = {.wake = shared.wake[0],
                    .lifeline = shared.lifeline[0],
                    .sweeps = one->number == 0,
                    .timeout = shared.set.job_timeout,
                    .memory = (size_t)shared.set.job_memory,
                    .keep_done = shared.set.job_keep.a / 1000,
                    .keep_dead = shared.set.job_keep.b / 1000,
                    .counters = shared.counters,
                    .log = log_job,
                    .ctx = shared.server};
    apr_pool_t *p;

    close_fd(&shared.lifeline[1]);
    close_fd(&shared.wake[1]);
    ap_close_listeners();
    setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0}); /* passwords of jobs would be in it */
    if (hold_back)
        sleep(1);
    if (apr_pool_create_unmanaged_ex(&p, NULL, NULL) != APR_SUCCESS || ap_run_drop_privileges(p, shared.server) != OK)
        _exit(1);
    if (job_spool_open(&r.spool, shared.path, 0, p) != 0) {
        ap_log_error(APLOG_MARK, APLOG_CRIT, APR_FROM_OS_ERROR(errno), shared.server,
                     "IIP0206: a runner cannot open IIPJobSpool %s", shared.path);
        _exit(1);
    }
    job_run(&r, 0, p);
    _exit(0);
}

static void start(runner *one);

static void ended(int reason, void *data, apr_wait_t status)
{
    runner *one = data;

    if (reason == APR_OC_REASON_DEATH || reason == APR_OC_REASON_LOST) {
        apr_proc_other_child_unregister(data);
        one->runs = 0;
        if (shared.lifeline[1] >= 0 && ap_state_query(AP_SQ_MAIN_STATE) == AP_SQ_MS_RUN_MPM) {
            JOB_COUNT(shared.counters, restarts, 1);
            start(one);
        }
    } else if (reason == APR_OC_REASON_RESTART) {
        apr_proc_other_child_unregister(data); /* it ends by its lifeline */
    }
}

static void start(runner *one)
{
    const apr_time_t now = apr_time_now();
    const int soon = now - one->started < APR_USEC_PER_SEC;
    pid_t pid = fork();

    if (pid == 0)
        be_runner(one, soon);
    if (pid < 0) {
        ap_log_error(APLOG_MARK, APLOG_ERR, APR_FROM_OS_ERROR(errno), shared.server,
                     "IIP0207: no process for jobs: tried again soon");
        return;
    }
    one->runs = 1;
    one->started = now;
    one->proc = (apr_proc_t){.pid = pid};
    apr_proc_other_child_register(&one->proc, ended, one, NULL, shared.pool);
}

/* Those for which there was no process. In the parent, every few seconds. */
int iipd_job_monitor(apr_pool_t *p, server_rec *s)
{
    for (int i = 0; shared.lifeline[1] >= 0 && i < shared.count; i++)
        if (!shared.runner[i].runs)
            start(&shared.runner[i]);
    return OK;
}

/* --- the parent --- */

static apr_status_t let_go(void *unused)
{
    close_fd(&shared.lifeline[0]);
    close_fd(&shared.lifeline[1]);
    close_fd(&shared.wake[0]);
    close_fd(&shared.wake[1]);
    shared.count = 0;
    return APR_SUCCESS;
}

/* Figures outlive restarts. */
static job_counters *keep_counters(void)
{
    job_counters **kept = ap_retained_data_get(RETAINED);

    if (!kept) {
        void *at = mmap(NULL, sizeof(job_counters), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

        kept = ap_retained_data_create(RETAINED, sizeof *kept);
        *kept = at == MAP_FAILED ? NULL : at;
    }
    return *kept;
}

static int make_spool(apr_pool_t *p, server_rec *s)
{
    job_spool *made;

    if (job_spool_open(&made, shared.path, 1, p) == 0 &&
        (geteuid() != 0 || job_spool_own(shared.path, ap_unixd_config.user_id, ap_unixd_config.group_id, p) == 0))
        return 0;
    ap_log_error(APLOG_MARK, APLOG_ERR, APR_FROM_OS_ERROR(errno), s, "IIP0208: IIPJobSpool %s cannot be used%s",
                 shared.path, errno == ENOTSUP ? ": it is on a network file system" : "");
    return -1;
}

int iipd_job_post_config(apr_pool_t *pconf, apr_pool_t *plog, apr_pool_t *ptemp, server_rec *s)
{
    int count;

    iip_server_settings_effective(&shared.set, ap_get_module_config(s->module_config, &iip_module));
    shared.path = shared.set.job_spool;
    shared.server = s;
    shared.pool = pconf;
    if (!shared.path || ap_state_query(AP_SQ_MAIN_STATE) == AP_SQ_MS_CREATE_PRE_CONFIG)
        return OK;
    if (make_spool(ptemp, s) != 0) {
        shared.path = NULL;
        return OK;
    }
    if (!(shared.counters = keep_counters()) || pipe2(shared.wake, O_CLOEXEC | O_NONBLOCK) != 0 ||
        pipe2(shared.lifeline, O_CLOEXEC) != 0)
        return HTTP_INTERNAL_SERVER_ERROR;
    apr_pool_cleanup_register(pconf, NULL, let_go, apr_pool_cleanup_null);
    count = shared.set.job_workers >= 0 ? (int)shared.set.job_workers : (int)(sysconf(_SC_NPROCESSORS_ONLN) / 2);
    if (count < 1 && shared.set.job_workers < 0)
        count = 1;
    count = count < 256 ? count : 256;
    shared.runner = apr_pcalloc(pconf, (size_t)count * sizeof *shared.runner);
    shared.count = count;
    for (int i = 0; i < count; i++) {
        shared.runner[i].number = i;
        start(&shared.runner[i]);
    }
    return OK;
}

void iipd_job_child_init(apr_pool_t *pchild, server_rec *s)
{
    close_fd(&shared.lifeline[1]);
    close_fd(&shared.lifeline[0]);
    close_fd(&shared.wake[0]);
    spool = NULL;
    if (shared.path && job_spool_open(&spool, shared.path, 0, pchild) != 0) {
        spool = NULL;
        ap_log_error(APLOG_MARK, APLOG_ERR, APR_FROM_OS_ERROR(errno), s, "IIP0206: a child cannot open IIPJobSpool %s",
                     shared.path);
    }
}

int iipd_job_read(iipd_jobs *out)
{
    const job_counters *c = shared.counters;
    int64_t oldest, other;

    memset(out, 0, sizeof *out);
    if (!spool || !c)
        return 0;
    out->accepted = c->accepted;
    out->done = c->done;
    out->retries = c->retries;
    out->restarts = c->restarts;
    for (int i = 0; i < JOB_CODES; i++) {
        out->rejected += c->rejected[i];
        out->failed += c->failed[i];
    }
    out->queued = job_spool_count(spool, JOB_IN_QUEUE, &oldest);
    out->oldest = oldest ? (double)(job_now() - oldest) / 1000 : 0;
    out->running = job_spool_count(spool, JOB_IN_RUN, &other);
    out->dead = job_spool_count(spool, JOB_IN_DEAD, &other);
    return 1;
}
#else
int iipd_job_read(iipd_jobs *out)
{
    return 0;
}

int iipd_job_post_config(apr_pool_t *pconf, apr_pool_t *plog, apr_pool_t *ptemp, server_rec *s)
{
    return OK;
}

int iipd_job_monitor(apr_pool_t *p, server_rec *s)
{
    return DECLINED;
}

void iipd_job_child_init(apr_pool_t *pchild, server_rec *s)
{
}
#endif
