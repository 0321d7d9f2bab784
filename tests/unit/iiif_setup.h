/* SPDX-License-Identifier: Apache-2.0
 * What the tests of the IIIF protocol share: settings, pictures, requests by path. */
#ifndef IIIF_SETUP_H
#define IIIF_SETUP_H
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include <apr_general.h>
#include <apr_strings.h>
#include "protocol/protocol.h"

#define BASE "http://example.org/iiif"

static apr_pool_t *pool;
static iip_settings set;
static iip_error err;
static iip_request rq;
static iip_want want;

static const iip_protocol *iiif(void)
{
    return iip_protocol_find("iiif-handler");
}

/* Settings by default, one version. */
static void fresh(int versions)
{
    iip_settings raw;

    iip_settings_unset(&raw);
    iip_settings_effective(&set, &raw);
    set.versions = versions;
}

static iip_info image(int64_t w, int64_t h)
{
    iip_info i = {
        .levels = 1, .pages = 1, .bands = 3, .bits = 8, .space = IIP_RGB, .orientation = 1, .virtual_from = 1};

    i.level[0] = (iip_level){w, h, w, 16};
    return i;
}

static iip_input input(const char *path)
{
    return (iip_input){.path = path, .base_url = BASE, .set = &set};
}

static iip_status parse(const char *path)
{
    iip_input in = input(path);

    iip_request_init(&rq, &set);
    return iiif()->parse(&in, &rq, &want, pool, &err);
}

static iip_limits limits(void)
{
    iip_limits lim;

    iip_settings_limits(&lim, &set);
    return lim;
}

static int run_group(const char *name, const struct CMUnitTest *tests, size_t n)
{
    apr_initialize();
    apr_pool_create(&pool, NULL);
    iip_settings_init(pool);
    return _cmocka_run_group_tests(name, tests, n, NULL, NULL);
}
#endif
