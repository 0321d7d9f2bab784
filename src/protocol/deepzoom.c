/* SPDX-License-Identifier: Apache-2.0
 * DeepZoom: NAME.dzi describes a picture, NAME_files/LEVEL/COLUMN_ROW.EXT is a tile of it (spec/iip.md 8.1). The last
 * level is the whole picture, each other one half of the next, rounded up, down to one pixel: this grid holds whatever
 * sizes are stored. */
#include "name.h"
#include "tiles.h"
#include <apr_strings.h>
#include <inttypes.h>
#include <string.h>

static int ends_with(const char *end, size_t length, const char *text)
{
    const size_t n = strlen(text);

    return length >= n && memcmp(end - n, text, n) == 0;
}

/* Behind the name: ".dzi", "_files/3/0_0.jpg". */
static const char *read_tail(const char *path, iip_tile *t)
{
    iip_segment seg[3];
    const int n = iip_path_last(path, seg, 3);
    const char *end = path + strlen(path), *s;

    if (n == 0 || end[-1] == '/')
        return NULL;
    if (ends_with(end, seg[n - 1].length, ".dzi")) {
        t->describe = 1;
        return end - strlen(".dzi");
    }
    if (n < 3 || !ends_with(seg[0].at + seg[0].length, seg[0].length, "_files"))
        return NULL;
    s = iip_tiles_number(seg[1].at, &t->level);
    if (s != seg[1].at + seg[1].length)
        return NULL;
    s = iip_tiles_number(seg[2].at, &t->x);
    s = s && *s == '_' ? iip_tiles_number(s + 1, &t->y) : NULL;
    return s && iip_tiles_ext(s, &seg[2], t) ? seg[0].at + seg[0].length - strlen("_files") : NULL;
}

static iip_status deepzoom_parse(const iip_input *in, iip_request *rq, iip_want *want, apr_pool_t *p, iip_error *e)
{
    return iip_tiles_parse(read_tail, in, rq, want, p, e);
}

static size_t deepzoom_tail(const char *path)
{
    return iip_tiles_tail(read_tail, path);
}

/* ceil(log2(n)) */
static int depth_of(int64_t n)
{
    int d = 0;

    while (n > INT64_C(1) << d)
        d++;
    return d;
}

static iip_status deepzoom_place(const iip_input *in, iip_request *rq, const iip_info *info, const iip_limits *lim,
                                 apr_pool_t *p, iip_error *e)
{
    const iip_tile *t = rq->asked;
    const int64_t w = iip_info_w(info), h = iip_info_h(info);
    const int depth = depth_of(w > h ? w : h);
    iip_pyramid py;
    int64_t s;

    if (t->level > depth)
        return iip_refuse(e, IIP_E_NOT_FOUND, NULL);
    s = INT64_C(1) << (depth - t->level);
    iip_pyramid_of(&py, info);
    return iip_tiles_ask(rq, info, (w + s - 1) / s, (h + s - 1) / s, py.tile_w, e);
}

static iip_status deepzoom_describe(const iip_input *in, const iip_request *rq, const iip_info *info,
                                    const iip_limits *lim, const char **text, const char **mime, const char **vary,
                                    const char **link, apr_pool_t *p, iip_error *e)
{
    iip_pyramid py;

    iip_pyramid_of(&py, info);
    *text = apr_psprintf(p,
                         "<Image xmlns=\"http://schemas.microsoft.com/deepzoom/2008\" TileSize=\"%" PRId64
                         "\" Overlap=\"0\" Format=\"jpg\"><Size Width=\"%" PRId64 "\" Height=\"%" PRId64 "\"/></Image>",
                         py.tile_w, iip_info_w(info), iip_info_h(info));
    *mime = "application/xml";
    *vary = *link = NULL;
    return IIP_OK;
}

static const char *deepzoom_redirect(const iip_input *in, const iip_request *rq, iip_want want, apr_pool_t *p)
{
    return iip_tiles_redirect(".dzi", in, rq, p);
}

extern const iip_protocol iip_protocol_deepzoom;
const iip_protocol iip_protocol_deepzoom = {
    .handler = "deepzoom-handler",
    .methods = "GET, HEAD, POST, OPTIONS",
    .posts = 1,
    .parse = deepzoom_parse,
    .place = deepzoom_place,
    .describe = deepzoom_describe,
    .complain = iip_complain_text,
    .redirect = deepzoom_redirect,
    .page = iip_name_page,
    .tail = deepzoom_tail,
};
