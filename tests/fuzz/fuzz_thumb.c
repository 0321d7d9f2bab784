/* SPDX-License-Identifier: Apache-2.0
 * Any bytes as the path of a thumbnail, and as a file of keys: two octets choose settings and picture, the rest is what
 * stands behind the signature. What parses is placed and resolved: the part lies inside the picture, the answer inside
 * its frame, and both within the limits. */
#include <apr_general.h>
#include <apr_strings.h>
#include <stdlib.h>
#include <string.h>
#include "protocol/thumb.h"
#include "settings.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void check(int good)
{
    if (!good)
        abort();
}

static iip_info picture(unsigned pick)
{
    static const int64_t sides[][2] = {{6000, 4000}, {300, 200},        {1, 1},       {IIP_MAX_SIDE, IIP_MAX_SIDE},
                                       {1, 70000},   {IIP_MAX_SIDE, 1}, {65501, 999}, {2, 3}};
    const int64_t *side = sides[pick & 7];
    iip_info i = {.pages = 1, .bits = 8, .space = IIP_RGB, .orientation = 1 + (int)(pick >> 4 & 7)};

    i.alpha = pick >> 3 & 1;
    i.bands = 3 + i.alpha;
    i.levels = i.virtual_from = 1;
    i.level[0] = (iip_level){side[0], side[1], side[0], 16};
    return i;
}

static void check_answer(const iip_request *rq, const iip_info *info, const iip_limits *lim)
{
    char line[IIP_LINE_MAX];
    int64_t w, h;

    check(rq->out_w >= 1 && rq->out_h >= 1 && rq->src.x >= 0 && rq->src.y >= 0 && rq->src.w >= 1 && rq->src.h >= 1);
    check(rq->src.x + rq->src.w <= iip_info_w(info) && rq->src.y + rq->src.h <= iip_info_h(info));
    if (rq->within.w)
        check(rq->within.x <= rq->src.x && rq->within.y <= rq->src.y &&
              rq->within.x + rq->within.w >= rq->src.x + rq->src.w &&
              rq->within.y + rq->within.h >= rq->src.y + rq->src.h && rq->within.x >= 0 && rq->within.y >= 0 &&
              rq->within.x + rq->within.w <= iip_info_w(info) && rq->within.y + rq->within.h <= iip_info_h(info));
    iip_request_canvas(rq, &w, &h);
    if (rq->frame.w) {
        const int lies = rq->rotate == 90 || rq->rotate == 270;

        check(w == rq->frame.w && h == rq->frame.h && rq->frame.x >= 0 && rq->frame.y >= 0);
        check(rq->frame.x + (lies ? rq->out_h : rq->out_w) <= w && rq->frame.y + (lies ? rq->out_w : rq->out_h) <= h);
    }
    check((lim->max_width == 0 || (w <= lim->max_width && h <= lim->max_height)) && w <= IIP_MAX_SIDE &&
          h <= IIP_MAX_SIDE);
    check(iip_request_line(rq, line, sizeof line) > 0);
}

static void run(const uint8_t *data, size_t n, apr_pool_t *p)
{
    static const iip_preset one = {"a", "rs:fill:30:20", NULL}, two = {"b", "pr:a/q:5", &one};
    const char *text = apr_pstrmemdup(p, (const char *)data + 2, n - 2), *mime;
    const iip_info info = picture(data[1]);
    const iip_thumb_keys *keys;
    iip_settings raw, set;
    iip_limits lim;
    iip_request rq;
    iip_want want;
    iip_preset all = {"all", NULL, &two};
    iip_error e = {.status = IIP_OK};
    iip_input in = {
        .base_url = "http://h/t", .set = &set, .now = 1, .accept = data[0] & 1 ? "image/webp, image/avif" : NULL};
    const iip_protocol *proto = iip_protocol_find("thumb-handler");
    const char *end;

    if (iip_thumb_keys_parse(text, &keys, p) == NULL)
        check(!iip_thumb_signed(keys, text, strlen(text), "/x"));
    iip_settings_unset(&raw);
    iip_settings_effective(&set, &raw);
    if (data[0] & 2)
        set.max_size.admin.a = set.max_size.admin.b = set.max_area = set.max_pixels = set.max_memory = 0;
    if (data[0] & 4)
        set.upscaling = 0;
    iip_settings_limits(&lim, &set);
    /* Whatever options there are count as a preset, so that all of them are reached without a key */
    if ((end = strstr(text, "/plain/")))
        all.options = apr_pstrmemdup(p, text, (size_t)(end - text));
    set.thumb_presets = all.options ? &all : &two;
    in.path = data[0] & 8 ? text : apr_pstrcat(p, "/unsafe/", text, NULL);
    iip_request_init(&rq, &set);
    if (proto->parse(&in, &rq, &want, p, &e) != IIP_OK) {
        check(e.status == IIP_E_NOT_FOUND || e.status == IIP_E_SYNTAX || e.status == IIP_E_FORBIDDEN);
        check(*proto->complain(&in, &e, &mime, p) != '\0');
        return;
    }
    check(want == IIP_WANT_IMAGE && rq.name && *rq.name);
    if (proto->place(&in, &rq, &info, &lim, p, &e) != IIP_OK) {
        check(e.status == IIP_E_LIMIT);
        return;
    }
    if (iip_request_resolve(&rq, &info, &lim, &e) != IIP_OK) {
        check(e.status == IIP_E_LIMIT || e.status == IIP_E_FEATURE);
        return;
    }
    check_answer(&rq, &info, &lim);
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
