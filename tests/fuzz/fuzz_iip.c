/* SPDX-License-Identifier: Apache-2.0
 * Any bytes as a query of the Internet Imaging Protocol: two octets choose the picture and how it was named, the rest
 * is the query. What parses is placed, resolved and told of; what does not has an error of the right form. */
#include <apr_general.h>
#include <apr_strings.h>
#include <stdlib.h>
#include <string.h>
#include "protocol/iip.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void check(int good)
{
    if (!good)
        abort();
}

/* Pyramids, plain ones, extreme sides, tiles that are not square, deep samples. */
static iip_info picture(unsigned pick)
{
    static const int64_t sides[][2] = {
        {2000, 1500}, {300, 200},        {3073, 3073}, {1, 1}, {IIP_MAX_SIDE, IIP_MAX_SIDE},
        {1, 70000},   {IIP_MAX_SIDE, 1}, {65501, 999}};
    const int64_t *side = sides[pick & 7];
    iip_info i = {.pages = 1,
                  .layers = 1 + (int)(pick >> 3 & 1),
                  .bands = pick & 16 ? 1 : 3,
                  .bits = pick & 32 ? 16 : 8,
                  .sample = pick & 32 ? IIP_U16 : IIP_U8,
                  .space = pick & 16 ? IIP_GREY : IIP_RGB,
                  .tiled = pick >> 6 & 1,
                  .wavelet = pick >> 3 & 1,
                  .orientation = 1};

    do {
        int64_t s = INT64_C(1) << i.levels, w = side[0] / s, h = side[1] / s;

        w = w < 1 ? 1 : w;
        h = h < 1 ? 1 : h;
        i.level[i.levels++] = (iip_level){w, h, i.tiled ? 256 : w, i.tiled ? 128 : 16};
    } while (pick & 128 && i.levels < 12);
    i.virtual_from = i.levels;
    return i;
}

static void check_error(const iip_protocol *proto, const iip_input *in, const iip_error *e, apr_pool_t *p)
{
    const char *mime, *text, *colon;
    size_t length = 0;

    check(e->status > IIP_OK && e->status < IIP_E_COUNT);
    text = proto->complain(in, e, &mime, p);
    check(strncmp(text, "Error/", 6) == 0);
    colon = strchr(text, ':');
    check(colon != NULL);
    for (const char *s = text + 6; s < colon; s++)
        length = length * 10 + (size_t)(*s - '0');
    check(strlen(colon + 1) == length + 2 && length <= 204 && strcmp(colon + 1 + length, "\r\n") == 0);
    check(strcspn(text, "\r\n") == (size_t)(colon + 1 + length - text));
}

static iip_status look(const iip_protocol *proto, const iip_input *in, iip_request *rq, const iip_info *info,
                       const iip_limits *lim, apr_pool_t *p, iip_error *e)
{
    iip_status rv;
    size_t room;

    if ((rv = proto->place(in, rq, info, lim, p, e)) != IIP_OK ||
        (rv = iip_request_resolve(rq, info, lim, e)) != IIP_OK)
        return rv;
    check(rq->src.x >= 0 && rq->src.y >= 0 && rq->src.w >= 1 && rq->src.h >= 1);
    check(rq->src.x + rq->src.w <= info->level[0].w && rq->src.y + rq->src.h <= info->level[0].h);
    check(rq->out_w >= 1 && rq->out_h >= 1);
    check(!lim->max_width || (rq->out_w <= lim->max_width && rq->out_h <= lim->max_height));
    room = iip_request_room(rq);
    check(iip_request_line(rq, apr_palloc(p, room), room) > 0);
    return IIP_OK;
}

static int tells(const iip_request *rq)
{
    return ((const iip_asked *)rq->asked)->ask == IIP_ASK_OBJECTS;
}

static void one(const uint8_t *data, size_t n, apr_pool_t *p)
{
    const iip_protocol *proto = iip_protocol_find("iip-handler"), *other;
    iip_settings raw, set;
    iip_limits lim;
    iip_info info = picture(data[0]);
    iip_input in = {.path = data[1] & 1 ? "" : data[1] & 2 ? "/a.tif" : "/", .base_url = "http://h/i", .set = &set};
    iip_root root = {.path = "/data", .prefix = "/i", .fd = -1, .absolute = 1};
    iip_budget *b = apr_pcalloc(p, sizeof *b);
    iip_want want = IIP_WANT_IMAGE;
    iip_request rq;
    iip_error e = {IIP_OK, 0, NULL, ""};
    iip_status rv;

    iip_settings_unset(&raw);
    iip_settings_effective(&set, &raw);
    set.root = data[1] & 4 ? &root : NULL;
    set.upscaling = !(data[1] & 8);
    iip_settings_limits(&lim, &set);
    in.mapped = data[1] & 1;
    in.ident = in.mapped ? "a.tif" : NULL;
    in.form = data[1] >> 4 & 1;
    in.query = apr_pstrmemdup(p, (const char *)data + 2, n - 2);
    iip_request_init(&rq, &set);
    proto->names(&in);
    if ((other = proto->become(&in, p)))
        proto = other;
    rv = proto->parse(&in, &rq, &want, p, &e);
    check((rv == IIP_OK) == (e.status == IIP_OK));
    if (rv == IIP_OK && want == IIP_WANT_IMAGE && proto->place)
        rv = look(proto, &in, &rq, &info, &lim, p, &e);
    else if (rv == IIP_OK && want == IIP_WANT_IMAGE)
        rv = iip_request_resolve(&rq, &info, &lim, &e);
    else if (rv == IIP_OK && !other && (want == IIP_WANT_TEXT || tells(&rq))) { /* values and tiles need a server */
        iip_views views = {.lim = &lim, .b = b, .pool = p, .info = &info};
        iip_text *text = apr_palloc(p, sizeof *text);
        const int alone = want == IIP_WANT_TEXT;

        b->limit = 1 << 26;
        iip_text_init(text, b, p, &e);
        rv = proto->compose(&in, &rq, alone ? NULL : &info, alone ? NULL : &views, text, p, &e);
        check(rv != IIP_OK || !text->length || (text->mime && strlen(text->data) == text->length));
    }
    if (rv != IIP_OK && !other)
        check_error(proto, &in, &e, p);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static apr_pool_t *top;
    apr_pool_t *p;

    if (n < 2 || n > 20000)
        return 0;
    if (!top) {
        apr_initialize();
        apr_pool_create(&top, NULL);
        iip_settings_init(top);
    }
    apr_pool_create(&p, top);
    one(data, n, p);
    apr_pool_destroy(p);
    return 0;
}
