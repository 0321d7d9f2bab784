/* SPDX-License-Identifier: Apache-2.0
 * Zoomify: NAME/ImageProperties.xml describes a picture, NAME/TileGroupG/TIER-COLUMN-ROW.EXT is a tile of it
 * (spec/iip.md 8.2). Clients count tiers by halving down to one tile, and number them from there. */
#include "name.h"
#include "tiles.h"
#include <apr_strings.h>
#include <inttypes.h>
#include <string.h>

/* Behind the name: "/ImageProperties.xml", "/TileGroup0/3-0-0.jpg". Clients disagree on how large a group is. */
static const char *read_tail(const char *path, iip_tile *t)
{
    static const char group[] = "TileGroup";
    iip_segment seg[2];
    const int n = iip_path_last(path, seg, 2);
    const char *at = NULL, *s;
    int64_t any;

    if (n == 0 || path[strlen(path) - 1] == '/')
        return NULL;
    if (iip_segment_is(&seg[n - 1], "ImageProperties.xml")) {
        t->describe = 1;
        at = seg[n - 1].at;
    } else if (n == 2 && seg[0].length > strlen(group) && memcmp(seg[0].at, group, strlen(group)) == 0 &&
               iip_tiles_number(seg[0].at + strlen(group), &any) == seg[0].at + seg[0].length) {
        s = iip_tiles_number(seg[1].at, &t->level);
        s = s && *s == '-' ? iip_tiles_number(s + 1, &t->x) : NULL;
        s = s && *s == '-' ? iip_tiles_number(s + 1, &t->y) : NULL;
        at = s && iip_tiles_ext(s, &seg[1], t) ? seg[0].at : NULL;
    }
    if (!at || at == path)
        return NULL;
    while (at > path && at[-1] == '/')
        at--;
    return at;
}

static iip_status zoomify_parse(const iip_input *in, iip_request *rq, iip_want *want, apr_pool_t *p, iip_error *e)
{
    return iip_tiles_parse(read_tail, in, rq, want, p, e);
}

static size_t zoomify_tail(const char *path)
{
    return iip_tiles_tail(read_tail, path);
}

/* at[0] is the whole picture, the last fits one tile. */
typedef struct {
    int count;
    int64_t side; /* of a tile */
    iip_pair at[IIP_MAX_LEVELS + 1];
} tiers;

/* 1 if the level is s times smaller than the picture, and smaller than the last tier. */
static int is_next(const iip_resolution *l, const iip_info *info, int64_t s, const iip_pair *last)
{
    return l->w <= last->a && l->h <= last->b && (l->w < last->a || l->h < last->b) &&
           iip_level_scale(info, &(iip_level){.w = l->w, .h = l->h}) == s;
}

/* Levels of the picture where they halve; what is between or below them is made. */
static void tiers_of(tiers *t, const iip_info *info)
{
    iip_pyramid py;
    iip_pair *last = t->at;
    int64_t s = 1;

    iip_pyramid_of(&py, info);
    t->side = py.tile_w;
    *last = (iip_pair){iip_info_w(info), iip_info_h(info)};
    while ((last->a > t->side || last->b > t->side) && (last->a > 1 || last->b > 1)) {
        iip_pair next = {iip_half(last->a, info->wavelet), iip_half(last->b, info->wavelet)};

        s *= 2;
        for (int r = py.count - 1; r >= 0; r--)
            if (is_next(&py.at[r], info, s, last)) {
                next = (iip_pair){py.at[r].w, py.at[r].h};
                break;
            }
        *++last = next;
    }
    t->count = (int)(last - t->at) + 1;
}

static iip_status zoomify_place(const iip_input *in, iip_request *rq, const iip_info *info, const iip_limits *lim,
                                apr_pool_t *p, iip_error *e)
{
    const iip_tile *tile = rq->asked;
    const iip_pair *size;
    tiers t;

    tiers_of(&t, info);
    if (tile->level >= t.count)
        return iip_refuse(e, IIP_E_NOT_FOUND, NULL);
    size = &t.at[t.count - 1 - tile->level];
    return iip_tiles_ask(rq, info, size->a, size->b, t.side, e);
}

static iip_status zoomify_describe(const iip_input *in, const iip_request *rq, const iip_info *info,
                                   const iip_limits *lim, const char **text, const char **mime, const char **vary,
                                   const char **link, apr_pool_t *p, iip_error *e)
{
    int64_t tiles = 0;
    tiers t;

    tiers_of(&t, info);
    for (int i = 0; i < t.count; i++)
        tiles += iip_tiles(t.at[i].a, t.side) * iip_tiles(t.at[i].b, t.side);
    *text = apr_psprintf(p,
                         "<IMAGE_PROPERTIES WIDTH=\"%" PRId64 "\" HEIGHT=\"%" PRId64 "\" NUMTILES=\"%" PRId64
                         "\" NUMIMAGES=\"1\" VERSION=\"1.8\" TILESIZE=\"%" PRId64 "\"/>",
                         iip_info_w(info), iip_info_h(info), tiles, t.side);
    *mime = "application/xml";
    *vary = *link = NULL;
    return IIP_OK;
}

static const char *zoomify_redirect(const iip_input *in, const iip_request *rq, iip_want want, apr_pool_t *p)
{
    return iip_tiles_redirect("/ImageProperties.xml", in, rq, p);
}

extern const iip_protocol iip_protocol_zoomify;
const iip_protocol iip_protocol_zoomify = {
    .handler = "zoomify-handler",
    .methods = "GET, HEAD, POST, OPTIONS",
    .posts = 1,
    .parse = zoomify_parse,
    .place = zoomify_place,
    .describe = zoomify_describe,
    .complain = iip_complain_text,
    .redirect = zoomify_redirect,
    .page = iip_name_page,
    .tail = zoomify_tail,
};
