/* SPDX-License-Identifier: Apache-2.0
 * Values of pixels (SPECTRA, PFL) and many tiles in one answer (TIL): spec/iip.md sections 4.2 and 7. */
#include "iip.h"
#include "json.h"
#include "pyramid.h"
#include <apr_strings.h>
#include <inttypes.h>
#include <math.h>
#include <string.h>

#define MOST_TILES   64
#define MOST_PROFILE 65536 /* pixels */

static iip_status refuse(const iip_asked *a, iip_status s, iip_error *e, apr_pool_t *p)
{
    return iip_refuse_iip(e, s, "2 1", a->sender, p);
}

/* What other parts of the house refuse is told of by the command. */
static iip_status told(const iip_asked *a, iip_status s, iip_error *e, apr_pool_t *p)
{
    if (s == IIP_E_RANGE || s == IIP_E_LIMIT)
        e->part = apr_pstrcat(p, "2 1 ", a->sender, NULL);
    return s;
}

/* ---- samples ---- */

/* Sample i of a row as it is stored: readers spread integers of odd depths over all that the sample holds. */
static double value_at(const iip_raster *r, const iip_info *info, size_t i)
{
    static const double most[] = {[IIP_U8] = 255, [IIP_U16] = 65535, [IIP_U32] = 4294967295.0};
    const double stored = ldexp(1, info->bits) - 1;
    double v = 0;

    switch (r->sample) {
    case IIP_U8:
        v = r->px[i];
        break;
    case IIP_U16:
        v = ((const uint16_t *)r->px)[i];
        break;
    case IIP_U32:
        v = ((const uint32_t *)r->px)[i];
        break;
    case IIP_S16:
        return ((const int16_t *)r->px)[i];
    case IIP_S32:
        return ((const int32_t *)r->px)[i];
    case IIP_F32:
        return (double)((const float *)r->px)[i];
    case IIP_F64:
        return ((const double *)r->px)[i];
    }
    return info->bits < 8 || stored >= most[r->sample] ? v : nearbyint(v * stored / most[r->sample]);
}

/* A resolution's pixels where they are stored: of one that is not, those in the middle of what it stands for. */
typedef struct {
    int level;
    int64_t w, h; /* of the resolution */
    int64_t stored_w, stored_h;
} place;

static int find_place(place *at, const iip_info *info, int64_t r)
{
    iip_pyramid py;
    int stored;

    iip_pyramid_of(&py, info);
    if (r >= py.count)
        return 0;
    for (stored = (int)r; py.at[stored].level < 0; stored++)
        ;
    *at = (place){py.at[stored].level, py.at[r].w, py.at[r].h, py.at[stored].w, py.at[stored].h};
    return 1;
}

static int64_t middle(int64_t i, int64_t n, int64_t stored)
{
    return (int64_t)(((__int128)2 * i + 1) * stored / (2 * n));
}

static const char *name_of(iip_views *v, const iip_info *info, int n, apr_pool_t *p)
{
    return info->page_name && !v->sequence ? apr_pstrdup(p, info->page_name) : apr_itoa(p, iip_views_number(v, n));
}

/* ---- SPECTRA ---- */

iip_status iip_compose_point(const iip_request *rq, const iip_info *info, iip_views *views, iip_text *out,
                             apr_pool_t *p, iip_error *e)
{
    const iip_asked *a = rq->asked;
    const int n = iip_views_count(views);
    iip_pyramid py;
    iip_rect tile;
    place at;
    iip_status rv;

    iip_pyramid_of(&py, info);
    if (a->resolution >= py.count)
        return refuse(a, IIP_E_RANGE, e, p);
    if (!iip_pyramid_tile(&py, (int)a->resolution, a->tile, &tile))
        return refuse(a, IIP_E_NOT_FOUND, e, p);
    if (a->x >= tile.w || a->y >= tile.h || !find_place(&at, info, a->resolution))
        return refuse(a, IIP_E_RANGE, e, p);
    out->mime = "application/xml";
    iip_text_print(out, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<spectra>\n");
    for (int i = 0; i < n; i++) {
        const iip_rect pixel = {middle(tile.x + a->x, at.w, at.stored_w), middle(tile.y + a->y, at.h, at.stored_h), 1,
                                1};
        const iip_info *page;
        iip_blob *hold;
        iip_raster px;
        apr_pool_t *one;
        double v;

        if ((rv = iip_views_info(views, i, &page, &hold, e)) != IIP_OK)
            return rv;
        apr_pool_create(&one, p);
        if ((rv = iip_views_samples(views, i, at.level, pixel, &px, one, e)) == IIP_OK) {
            v = value_at(&px, page, 0);
            if (px.sample == IIP_U8 || px.sample == IIP_U16) /* of the whole range */
                v /= ldexp(1, page->bits < 8 ? 8 : page->bits) - 1;
            iip_text_print(out, "\t<point>\n\t\t<wavelength>");
            iip_text_xml(out, name_of(views, page, i, p), p);
            iip_text_print(out, "</wavelength>\n\t\t<reflectance>%f</reflectance>\n\t</point>\n", isfinite(v) ? v : 0);
        }
        iip_blob_release(hold);
        apr_pool_destroy(one);
        if (rv != IIP_OK)
            return told(a, rv, e, p);
    }
    iip_text_print(out, "</spectra>");
    return out->status;
}

/* ---- PFL ---- */

/* JSON knows no infinities. */
static void put_value(iip_text *out, double v, int integer)
{
    if (!isfinite(v))
        iip_text_print(out, "null");
    else
        iip_text_print(out, integer ? "%.0f" : "%.9f", v);
}

static void put_values(iip_text *out, const iip_raster *px, const iip_info *page, const int64_t *pick, int64_t n,
                       int down)
{
    const double scale = page->page_scale != 0 ? page->page_scale : 1;
    const int integer = page->sample != IIP_F32 && page->sample != IIP_F64 && scale == floor(scale);
    const size_t size = iip_sample_size(px->sample);

    iip_text_print(out, "[");
    for (int64_t i = 0; i < n; i++) {
        const size_t pixel = down ? (size_t)pick[i] * px->stride / size : (size_t)pick[i] * (size_t)px->bands;

        for (int b = 0; b < px->bands; b++) {
            if (i || b)
                iip_text_put(out, ",", 1);
            put_value(out, value_at(px, page, pixel + (size_t)b) * scale, integer);
        }
    }
    iip_text_print(out, "]");
}

iip_status iip_compose_profile(const iip_request *rq, const iip_info *info, iip_views *views, iip_text *out,
                               apr_pool_t *p, iip_error *e)
{
    const iip_asked *a = rq->asked;
    const int count = iip_views_count(views), across = a->x2 > a->x, down = !across && a->y2 > a->y;
    const int64_t n = across ? a->x2 - a->x : down ? a->y2 - a->y : 1;
    iip_rect line;
    place at;
    int64_t *pick;
    iip_status rv;

    if (!find_place(&at, info, a->resolution) || a->x >= at.w || a->y >= at.h || a->x2 > at.w || a->y2 > at.h ||
        (across && a->y2 != a->y) || (down && a->x2 != a->x))
        return refuse(a, IIP_E_RANGE, e, p);
    if (n > MOST_PROFILE)
        return refuse(a, IIP_E_LIMIT, e, p);
    line.x = middle(a->x, at.w, at.stored_w);
    line.y = middle(a->y, at.h, at.stored_h);
    line.w = across ? middle(a->x + n - 1, at.w, at.stored_w) + 1 - line.x : 1;
    line.h = down ? middle(a->y + n - 1, at.h, at.stored_h) + 1 - line.y : 1;
    pick = iip_budget_alloc(views->b, (size_t)n * sizeof *pick, p, e);
    if (!pick)
        return e->status;
    for (int64_t i = 0; i < n; i++)
        pick[i] = down ? middle(a->y + i, at.h, at.stored_h) - line.y : middle(a->x + i, at.w, at.stored_w) - line.x;
    out->mime = "application/json";
    iip_text_print(out, "{\n\t\"profile\": %s", count > 1 ? "{\n" : "");
    for (int i = 0; i < count; i++) {
        const iip_info *page;
        iip_blob *hold;
        iip_raster px;
        apr_pool_t *one;

        if ((rv = iip_views_info(views, i, &page, &hold, e)) != IIP_OK)
            return rv;
        if (count > 1) {
            const char *name = iip_json_quote(name_of(views, page, i, p), p);

            iip_text_put(out, "\t\t", 2);
            iip_text_put(out, name, strlen(name));
            iip_text_put(out, ": ", 2);
        }
        apr_pool_create(&one, p);
        if ((rv = iip_views_samples(views, i, at.level, line, &px, one, e)) == IIP_OK)
            put_values(out, &px, page, pick, n, down);
        iip_blob_release(hold);
        apr_pool_destroy(one);
        if (rv != IIP_OK)
            return told(a, rv, e, p);
        if (count > 1)
            iip_text_print(out, "%s\n", i + 1 < count ? "," : "");
    }
    iip_text_print(out, "%s}", count > 1 ? "\t}\n" : "\n");
    return out->status;
}

/* ---- TIL ---- */

/* One tile: its head, the types (JPEG, interleaved), the file. */
static iip_status put_tile(const iip_request *rq, const iip_info *info, iip_views *views, int64_t n, iip_text *out,
                           apr_pool_t *p, iip_error *e)
{
    static const unsigned char types[8] = {2, 0, 0, 0, 0, 0x11, 0, 0};
    const iip_asked *a = rq->asked;
    iip_request one = *rq;
    iip_blob *blob;
    iip_status rv = iip_place_tile(&one, info, a->resolution, n, p, e);

    if (rv != IIP_OK)
        return rv;
    one.asked = NULL;
    if ((rv = iip_views_image(views, &one, &blob, e)) != IIP_OK)
        return told(a, rv, e, p);
    iip_text_print(out, "Tile,%" PRId64 ",%" PRId64 ",0/%" APR_SIZE_T_FMT ":", a->resolution, n,
                   blob->len + sizeof types);
    iip_text_put(out, types, sizeof types);
    iip_text_put(out, blob->data, blob->len);
    iip_text_put(out, "\r\n", 2);
    iip_blob_release(blob);
    return out->status;
}

iip_status iip_compose_tiles(const iip_request *rq, const iip_info *info, iip_views *views, iip_text *out,
                             apr_pool_t *p, iip_error *e)
{
    const iip_asked *a = rq->asked;
    int64_t all, across, left, right, top, bottom;
    iip_pyramid py;
    iip_status rv;

    iip_pyramid_of(&py, info);
    if (a->resolution >= py.count)
        return refuse(a, IIP_E_RANGE, e, p);
    across = iip_tiles(py.at[a->resolution].w, py.tile_w);
    all = across * iip_tiles(py.at[a->resolution].h, py.tile_h);
    if (a->tile >= all || a->last >= all)
        return refuse(a, IIP_E_NOT_FOUND, e, p);
    left = a->tile % across < a->last % across ? a->tile % across : a->last % across;
    right = a->tile % across + a->last % across - left;
    top = (a->tile < a->last ? a->tile : a->last) / across;
    bottom = (a->tile > a->last ? a->tile : a->last) / across;
    if ((right - left + 1) * (bottom - top + 1) > MOST_TILES)
        return refuse(a, IIP_E_LIMIT, e, p);
    out->mime = "application/vnd.netfpx";
    for (int64_t x = left; x <= right; x++)
        for (int64_t y = top; y <= bottom; y++)
            if ((rv = put_tile(rq, info, views, y * across + x, out, p, e)) != IIP_OK)
                return rv;
    return out->status;
}
