/* SPDX-License-Identifier: Apache-2.0
 * Any bytes as a request of a protocol of tiles by path: two octets choose settings and picture, the rest is the path
 * and, in a line of their own, the commands of IIP that stood in front of it.
 * What parses is placed, resolved and described: each tile lies inside the picture and is no larger than one. */
#include <apr_general.h>
#include <apr_strings.h>
#include <stdlib.h>
#include <string.h>
#include "protocol/protocol.h"
#include "protocol/pyramid.h"
#include "settings.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void check(int good)
{
    if (!good)
        abort();
}

/* Pyramids of any steps, plain ones, extreme sides. */
static iip_info picture(unsigned pick)
{
    static const int64_t sides[][2] = {
        {6000, 4000}, {300, 200},        {3073, 3073}, {1, 1}, {IIP_MAX_SIDE, IIP_MAX_SIDE},
        {1, 70000},   {IIP_MAX_SIDE, 1}, {65501, 999}};
    const int64_t *side = sides[pick & 7], step = pick & 32 ? 4 : 2, tile = pick & 8 ? 240 : 256;
    iip_info i = {.pages = 1, .bands = 3, .bits = 8, .space = IIP_RGB, .tiled = pick >> 4 & 1, .orientation = 1};

    for (int64_t s = 1; i.levels == 0 || (pick & 128 && i.levels < 14); s *= step) {
        int64_t add = i.levels ? 0 : s - 1, w = (side[0] + add) / s - (pick & 64 ? i.levels : 0),
                h = (side[1] + add) / s - (pick & 64 ? i.levels : 0);
        iip_level *l = &i.level[i.levels];

        w = w < 1 ? 1 : w;
        h = h < 1 ? 1 : h;
        if (i.levels && w >= l[-1].w && h >= l[-1].h)
            break;
        *l = (iip_level){w, h, i.tiled ? tile : w, i.tiled ? tile : 16};
        i.levels++;
    }
    i.virtual_from = i.levels;
    i.wavelet = (pick & 24) == 0;
    return i;
}

static void check_tile(const iip_protocol *proto, const iip_input *in, iip_request *rq, const iip_info *info,
                       const iip_limits *lim, apr_pool_t *p)
{
    char line[IIP_LINE_MAX];
    iip_pyramid py;
    iip_window win;
    iip_error e;
    iip_status rv = proto->place(in, rq, info, lim, p, &e);

    if (rv != IIP_OK) {
        check(rv == IIP_E_NOT_FOUND);
        return;
    }
    if (iip_request_resolve(rq, info, lim, &e) != IIP_OK) {
        check(e.status == IIP_E_LIMIT || in->before);
        return;
    }
    iip_pyramid_of(&py, info);
    check(rq->out_w >= 1 && rq->out_h >= 1 && rq->out_w <= py.tile_w && rq->out_h <= py.tile_w);
    check(rq->src.x >= 0 && rq->src.y >= 0 && rq->src.w >= rq->out_w && rq->src.h >= rq->out_h);
    check(rq->src.x + rq->src.w <= iip_info_w(info) && rq->src.y + rq->src.h <= iip_info_h(info));
    check(rq->level >= 0 && rq->level < info->levels);
    iip_request_window(rq, info, &win);
    check(win.x >= 0 && win.y >= 0 && win.w > 0 && win.h > 0);
    check(win.x + win.w <= (double)info->level[rq->level].w + win.exact * (double)py.tile_w);
    if (iip_request_room(rq) <= sizeof line)
        check(iip_request_line(rq, line, sizeof line) > 0);
}

static void run(const iip_protocol *proto, const uint8_t *data, size_t n, apr_pool_t *p)
{
    char *text = apr_pstrmemdup(p, (const char *)data + 2, n - 2), *line = strchr(text, '\n');
    iip_info info = picture(data[1]);
    iip_settings raw, set;
    iip_limits lim;
    iip_request rq;
    iip_want want;
    iip_error e = {.status = IIP_OK};
    iip_input in = {.path = text, .base_url = "http://h/i", .set = &set};
    const char *out, *mime, *vary, *link;
    iip_status rv;

    iip_settings_unset(&raw);
    iip_settings_effective(&set, &raw);
    if (line) {
        *line++ = '\0';
        in.before = line;
    }
    in.mapped = data[0] & 1;
    in.ident = in.mapped ? "a b.tif" : NULL;
    if (data[0] & 2)
        set.max_size.admin.a = set.max_size.admin.b = set.max_area = set.max_pixels = set.max_memory = 0;
    iip_settings_limits(&lim, &set);
    check(proto->tail(in.path) <= strlen(in.path));
    iip_request_init(&rq, &set);
    rv = proto->parse(&in, &rq, &want, p, &e);
    if (rv != IIP_OK) {
        check(e.status == rv && (rv == IIP_E_NOT_FOUND || in.before) && *proto->complain(&in, &e, &mime, p));
        return;
    }
    check(in.mapped || rq.name);
    check(!in.mapped || proto->tail(in.path) == strlen(in.path));
    check(strlen(proto->redirect(&in, &rq, want, p)) > strlen(in.base_url));
    if (want == IIP_WANT_INFO)
        check(proto->describe(&in, &rq, &info, &lim, &out, &mime, &vary, &link, p, &e) == IIP_OK && *out == '<');
    else if (want == IIP_WANT_IMAGE)
        check_tile(proto, &in, &rq, &info, &lim, p);
    else
        check(want == IIP_WANT_BARE);
}

static int run_one(const char *handler, const uint8_t *data, size_t n)
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
    run(iip_protocol_find(handler), data, n, p);
    apr_pool_destroy(p);
    return 0;
}
