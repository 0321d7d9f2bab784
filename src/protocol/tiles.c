/* SPDX-License-Identifier: Apache-2.0
 * Tiles by path: the part that DeepZoom and Zoomify share (spec/iip.md section 8). */
#include "tiles.h"
#include "iip.h"
#include "name.h"
#include <apr_strings.h>
#include <string.h>

#define NUMBER_MAX INT64_C(100000000000) /* beyond any tile */

const char *iip_tiles_number(const char *s, int64_t *value)
{
    const char *start = s;

    for (*value = 0; *s >= '0' && *s <= '9'; s++)
        if (*value < NUMBER_MAX)
            *value = *value * 10 + (*s - '0');
    return s > start ? s : NULL;
}

int iip_tiles_ext(const char *s, const iip_segment *seg, iip_tile *t)
{
    const char *end = seg->at + seg->length;

    if (*s++ != '.' || s >= end)
        return 0;
    t->ext = s;
    t->ext_length = (size_t)(end - s);
    while (s < end && ((*s >= 'a' && *s <= 'z') || (*s >= 'A' && *s <= 'Z') || (*s >= '0' && *s <= '9')))
        s++;
    return s == end;
}

int iip_segment_is(const iip_segment *seg, const char *text)
{
    return seg->length == strlen(text) && memcmp(seg->at, text, seg->length) == 0;
}

size_t iip_tiles_tail(iip_tail_fn *tail, const char *path)
{
    iip_tile t;
    const char *at = tail(path, &t);

    return at ? strlen(at) : 0;
}

static iip_format format_by_ext(const iip_tile *t)
{
    static const struct {
        const char *ext;
        iip_format format;
    } rows[] = {{"jpg", IIP_FMT_JPEG},
                {"jpeg", IIP_FMT_JPEG},
                {"png", IIP_FMT_PNG},
                {"webp", IIP_FMT_WEBP},
                {"avif", IIP_FMT_AVIF}};

    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (strlen(rows[i].ext) == t->ext_length && memcmp(rows[i].ext, t->ext, t->ext_length) == 0)
            return iip_encoder_find(rows[i].format) ? rows[i].format : IIP_FMT_NONE;
    return IIP_FMT_NONE;
}

iip_status iip_tiles_parse(iip_tail_fn *tail, const iip_input *in, iip_request *rq, iip_want *want, apr_pool_t *p,
                           iip_error *e)
{
    iip_tile *t = apr_pcalloc(p, sizeof *t);
    const char *at = tail(in->path, t);
    size_t n = at ? (size_t)(at - in->path) : strlen(in->path);
    int slash = n > 0 && in->path[n - 1] == '/';

    *want = !at ? IIP_WANT_BARE : t->describe ? IIP_WANT_INFO : IIP_WANT_IMAGE;
    if (in->mapped ? n > 0 : slash || !(rq->name = iip_name_of_path(in, apr_pstrmemdup(p, in->path, n), &slash, p))) {
        *want = IIP_WANT_IMAGE;
        return iip_refuse(e, IIP_E_NOT_FOUND, NULL);
    }
    rq->asked = t;
    if (*want == IIP_WANT_IMAGE && (rq->format = format_by_ext(t)) == IIP_FMT_NONE)
        return iip_refuse(e, IIP_E_NOT_FOUND, NULL);
    return in->before ? iip_commands_before(in, rq, p, e) : IIP_OK;
}

const char *iip_tiles_redirect(const char *description, const iip_input *in, const iip_request *rq, apr_pool_t *p)
{
    return apr_pstrcat(p, in->base_url, "/", iip_name_url(in, rq, p), description, NULL);
}

iip_status iip_tiles_ask(iip_request *rq, const iip_info *info, int64_t w, int64_t h, int64_t side, iip_error *e)
{
    const int64_t across = iip_tiles(w, side), down = iip_tiles(h, side);
    const int turned = rq->rotate == 180;
    const iip_tile *t = rq->asked;
    iip_rect part;

    if (t->x >= across || t->y >= down)
        return iip_refuse(e, IIP_E_NOT_FOUND, NULL);
    if (rq->layers >= info->layers)
        rq->layers = -1; /* all there are */
    part.x = (turned ? across - 1 - t->x : t->x) * side;
    part.y = (turned ? down - 1 - t->y : t->y) * side;
    part.w = w - part.x < side ? w - part.x : side;
    part.h = h - part.y < side ? h - part.y : side;
    iip_pyramid_ask(rq, w, h, part);
    return IIP_OK;
}
