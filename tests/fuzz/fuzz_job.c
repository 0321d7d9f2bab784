/* SPDX-License-Identifier: Apache-2.0
 * Any bytes as the body of a job request: what parses stays within its limits, and its record reads back. SVG too: the
 * look at one, of the same bytes. */
#include <apr_general.h>
#include <stdlib.h>
#include <string.h>
#include "job/job.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

#ifdef IIP_HAVE_JOBS
#include "job/record.h"
#include "job/render.h"

static void check(int good)
{
    if (!good)
        abort();
}

static void check_job(const job_t *j, const char *text, const job_place *place, apr_pool_t *p)
{
    job_record r = {.id = "01ARZ3NDEKTSV4RRFFQ69G5FAV",
                    .request = text,
                    .dest = job_url_masked(j->dest, p),
                    .place = *place},
               back;
    const char *record = job_record_text(&r, p);

    check(j->width >= 1 && j->width <= JOB_MAX_SIDE && j->height >= 1 && j->height <= JOB_MAX_SIDE);
    check(j->file_name && *j->file_name && iip_encoder_find(j->format) != NULL);
    check(strpbrk(j->to.path, "\r\n") == NULL && strpbrk(j->from.path, "\r\n") == NULL);
    check(j->to.scheme != JOB_FILE || strstr(j->to.path, "/../") == NULL);
    check(record && job_record_read(&back, record, p) == 0 && strcmp(back.request, text) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static const char *const all[] = {"http", "https", "ftp", "ftps", "file", NULL}, *const any[] = {"*", NULL},
                             *const ports[] = {"any", NULL};
    static int started;
    job_place place = {.source_root = "/srv",
                       .dest_root = "/srv",
                       .source_schemes = all,
                       .dest_schemes = all,
                       .source_hosts = any,
                       .dest_hosts = any,
                       .ports = ports,
                       .max_pixels = 1000000};
    const char *const *jobs;
    int count, batch;
    job_error e = {0};
    apr_pool_t *p;
    double w, h;

    if (!started) {
        apr_initialize();
        started = 1;
    }
    apr_pool_create(&p, NULL);
    if (job_split((const char *)data, n, &jobs, &count, &batch, p, &e) == JOB_OK)
        for (int i = 0; i < count; i++) {
            job_t *j = apr_palloc(p, sizeof *j);

            if (job_parse(j, jobs[i], strlen(jobs[i]), &place, p, &e) == JOB_OK)
                check_job(j, jobs[i], &place, p);
        }
    if (n < 5000) { /* in pieces it is what it is as a whole */
        job_svg *svg = job_svg_begin(1 << 20, p);
        double w2 = -1, h2 = -1;
        const int good = job_svg_look(data, n, 1 << 20, &w, &h, p, &e) == JOB_OK;
        int fed = 1;

        for (size_t i = 0, step = 1; fed && i < n; i += step, step = step % 7 + 1)
            fed = job_svg_feed(svg, data + i, step < n - i ? step : n - i, &e) == JOB_OK;
        check(good == (fed && job_svg_end(svg, &w2, &h2, &e) == JOB_OK));
        check(!good || (w >= 0 && h >= 0 && w == w2 && h == h2));
    }
    apr_pool_destroy(p);
    return 0;
}
#else
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    return 0;
}
#endif
