/* SPDX-License-Identifier: Apache-2.0
 * Any bytes as an IIIF request: two octets choose settings and picture, the rest is path, query and Accept, one a line.
 * What parses is resolved and described; the canonical URI must mean the same picture. */
#include <apr_general.h>
#include <apr_strings.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "protocol/protocol.h"

#define BASE "http://h/i"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void check(int good)
{
    if (!good)
        abort();
}

/* Pyramids, plain ones, extreme sides, levels of odd ratios. */
static iip_info picture(unsigned pick)
{
    static const int64_t sides[][2] = {
        {6000, 4000}, {300, 200},        {3073, 3073}, {1, 1}, {IIP_MAX_SIDE, IIP_MAX_SIDE},
        {1, 70000},   {IIP_MAX_SIDE, 1}, {65501, 999}};
    const int64_t *side = sides[pick & 7];
    iip_info i = {.pages = 1,
                  .bands = 3,
                  .bits = 8,
                  .space = pick & 8 ? IIP_GREY : IIP_RGB,
                  .tiled = pick >> 4 & 1,
                  .orientation = 1};

    do {
        int64_t s = INT64_C(1) << i.levels, add = pick & 32 ? s - 1 : 0, w = (side[0] + add) / s,
                h = (side[1] + add) / s;

        if (pick & 64 && i.levels) {
            w = w * 2 / 3;
            h = h * 3 / 4;
        }
        w = w < 1 ? 1 : w;
        h = h < 1 ? 1 : h;
        i.level[i.levels++] = (iip_level){w, h, i.tiled ? 256 : w, i.tiled ? 256 : 16};
    } while (pick & 128 && i.levels < 12);
    i.virtual_from = i.levels;
    return i;
}

static void check_image(const iip_input *in, iip_request *rq, const iip_info *info, const iip_limits *lim,
                        apr_pool_t *p)
{
    const iip_level *l;
    iip_error e;
    iip_window win;
    int64_t w, h;
    char line[2][IIP_LINE_MAX];
    size_t length;
    const char *link;

    if (iip_request_resolve(rq, info, lim, &e) != IIP_OK)
        return;
    l = &info->level[rq->level];
    check(rq->src.x >= 0 && rq->src.y >= 0 && rq->src.w >= 1 && rq->src.h >= 1);
    check(rq->src.x + rq->src.w <= info->level[0].w && rq->src.y + rq->src.h <= info->level[0].h);
    check(rq->out_w >= 1 && rq->out_h >= 1 && rq->out_w <= IIP_MAX_SIDE && rq->out_h <= IIP_MAX_SIDE);
    check(!lim->max_width || rq->out_w <= lim->max_width);
    check(!lim->max_area || rq->out_w * rq->out_h <= lim->max_area);
    check(iip_limits_grow(lim) || (rq->out_w <= rq->src.w && rq->out_h <= rq->src.h));
    iip_request_window(rq, info, &win);
    check(win.x >= 0 && win.y >= 0 && win.w > 0 && win.h > 0 && win.exact == (win.exact != 0));
    check(win.x + win.w <= (double)l->w + win.exact && win.y + win.h <= (double)l->h + win.exact);
    if (win.exact)
        check(win.w == (double)rq->out_w && win.h == (double)rq->out_h && win.x == floor(win.x) &&
              win.y == floor(win.y));
    iip_request_canvas(rq, &w, &h);
    check(w >= 1 && h >= 1 && iip_request_memory(rq, info) > 0 && iip_request_pixels(rq, info) > 0);
    length = iip_request_line(rq, line[0], IIP_LINE_MAX);
    check(length > 0);

    link = iip_protocol_find("iiif-handler")->link(in, rq, info, lim, p);
    if (strncmp(link, "<" BASE "/", sizeof BASE + 1) == 0 && !in->mapped) {
        iip_input again = *in;
        iip_request same;
        iip_want want;

        again.path = apr_pstrmemdup(p, link + sizeof BASE, strcspn(link, ">") - sizeof BASE);
        iip_request_init(&same, in->set);
        check(iip_protocol_find("iiif-handler")->parse(&again, &same, &want, p, &e) == IIP_OK &&
              want == IIP_WANT_IMAGE);
        check(strcmp(same.name, rq->name) == 0);
        check(iip_request_resolve(&same, info, lim, &e) == IIP_OK);
        check(iip_request_line(&same, line[1], IIP_LINE_MAX) == length && memcmp(line[0], line[1], length) == 0);
        check(strcmp(link, iip_protocol_find("iiif-handler")->link(&again, &same, info, lim, p)) == 0);
    }
}

/* A name that may be that of a page: the picture is one then, of its part. */
static void check_page(const iip_input *in, const iip_request *rq, iip_info *info, apr_pool_t *p)
{
    iip_request paged = *rq;
    const char *name = rq->name ? iip_protocol_find("iiif-handler")->page(in, &paged, rq->name, p) : NULL;

    if (!name) {
        check(paged.page == rq->page && paged.part.b == 0);
        return;
    }
    check(*name && strlen(name) < strlen(rq->name) && strncmp(name, rq->name, strlen(name)) == 0 && paged.page >= 0);
    if (paged.part.b) {
        check(paged.part.a >= 1 && paged.part.a <= paged.part.b && paged.part.b <= 64);
        iip_info_part(info, paged.part.a, paged.part.b);
        check(iip_info_w(info) >= 1 && iip_info_w(info) <= info->level[0].w && iip_info_h(info) >= 1);
    }
}

static void run(const uint8_t *data, size_t n, apr_pool_t *p)
{
    static const int versions[] = {32, 23, 3, 2, 1, 321, 0, 7};
    const iip_protocol *iiif = iip_protocol_find("iiif-handler");
    char *text = apr_pstrmemdup(p, (const char *)data + 2, n - 2), *last;
    iip_info info = picture(data[1]);
    iip_settings raw, set;
    iip_limits lim;
    iip_request rq;
    iip_want want;
    iip_error e = {.status = IIP_OK};
    iip_input in = {.base_url = BASE, .set = &set};
    const char *out, *mime, *vary, *link;
    iip_status rv;

    iip_settings_unset(&raw);
    iip_settings_effective(&set, &raw);
    set.versions = versions[data[0] & 7];
    set.literal_slash = data[0] >> 3 & 1;
    in.mapped = data[0] >> 4 & 1;
    in.ident = in.mapped ? "a b.tif" : NULL;
    set.upscaling = data[0] >> 5 & 1;
    if (data[0] & 64)
        set.max_size.admin.a = set.max_size.admin.b = set.max_area = set.max_pixels = set.max_memory = 0;
    if (data[0] & 128) {
        set.max_size.admin.a = set.max_size.admin.b = 777;
        set.max_area = 300000;
    }
    iip_settings_limits(&lim, &set);
    in.path = text;
    if ((last = strchr(text, '\n'))) {
        *last++ = '\0';
        in.query = last;
        if ((last = strchr(last, '\n'))) {
            *last++ = '\0';
            in.accept = last;
        }
    }
    check(iiif->tail(in.path) <= strlen(in.path));
    iip_request_init(&rq, &set);
    rv = iiif->parse(&in, &rq, &want, p, &e);
    if (rv != IIP_OK || want == IIP_WANT_BARE) {
        check(rv == IIP_OK || rv == e.status);
        check(want != IIP_WANT_BARE || in.mapped || rq.name);
        if (rv != IIP_OK)
            check(strlen(iiif->complain(&in, &e, &mime, p)) < 200);
        return;
    }
    check(in.mapped || rq.name);
    check_page(&in, &rq, &info, p);
    if (want == IIP_WANT_MOVED)
        check(iiif->redirect(&in, &rq, want, p) != NULL);
    else if (want == IIP_WANT_INFO)
        check(iiif->describe(&in, &rq, &info, &lim, &out, &mime, &vary, &link, p, &e) == IIP_OK && *out == '{');
    else
        check_image(&in, &rq, &info, &lim, p);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static apr_pool_t *root;
    apr_pool_t *p;

    if (!root) {
        apr_initialize();
        apr_pool_create(&root, NULL);
        iip_settings_init(root);
    }
    if (n < 2)
        return 0;
    apr_pool_create(&p, root);
    run(data, n, p);
    apr_pool_destroy(p);
    return 0;
}
