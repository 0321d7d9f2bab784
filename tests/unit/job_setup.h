/* SPDX-License-Identifier: Apache-2.0
 * For the tests of jobs: a spool, a runner without a server, sources and destinations in folders. PLACE, the folder of
 * it all, is defined before. */
#ifndef JOB_SETUP_H
#define JOB_SETUP_H
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <apr_general.h>
#include <apr_strings.h>
#include "job/job.h"

#ifdef IIP_HAVE_JOBS
#include "job/accept.h"
#include "job/render.h"
#include "job/run.h"

static apr_pool_t *pool;
static job_place place;
static job_spool *spool;
static job_runner runner;

static int set_up(void **state)
{
    static const char *const file[] = {"file", NULL}, *const any[] = {"*", NULL}, *const ports[] = {"any", NULL};
    char here[4096];

    apr_initialize();
    apr_pool_create(&pool, NULL);
    iip_settings_init(pool);
    if (system("rm -rf " PLACE " && mkdir -p " PLACE "/in " PLACE "/out") != 0 || !getcwd(here, sizeof here))
        return -1;
    place = (job_place){.source_root = apr_pstrcat(pool, here, "/" PLACE "/in", NULL),
                        .dest_root = apr_pstrcat(pool, here, "/" PLACE "/out", NULL),
                        .source_schemes = file,
                        .dest_schemes = file,
                        .source_hosts = any,
                        .dest_hosts = any,
                        .ports = ports,
                        .max_pixels = 100000000,
                        .max_source = 64 << 20,
                        .transfer_timeout = 5,
                        .retries = 5,
                        .placeholder_text = "Image being processed",
                        .failure_text = "Image processing failed",
                        .placeholder_ground = 0xffffff};
    for (int i = 0; i < IIP_FMT_COUNT; i++)
        place.quality[i] = -1;
    if (job_spool_open(&spool, PLACE "/spool", 1, pool) != 0)
        return -1;
    runner = (job_runner){.spool = spool,
                          .wake = -1,
                          .lifeline = -1,
                          .timeout = apr_time_from_sec(20),
                          .memory = (size_t)1 << 30,
                          .keep_done = 86400000,
                          .keep_dead = 86400000};
    return 0;
}

static int tear_down(void **state)
{
    apr_pool_destroy(pool);
    apr_terminate();
    return 0;
}

/* Files in a folder of the spool. */
static inline int in_folder(const char *name)
{
    DIR *d = opendir(apr_pstrcat(pool, PLACE "/spool/", name, NULL));
    struct dirent *one;
    int n = 0;

    while ((one = readdir(d)) != NULL)
        n += one->d_name[0] != '.';
    closedir(d);
    return n;
}
#endif
#endif
