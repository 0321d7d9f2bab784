/* SPDX-License-Identifier: Apache-2.0
 * info.json of the Image API 3.0, 2.1.1 and 1.1 (R36 to R44). Nothing is announced that a request would not get: sizes
 * and tiles are put through iip_request_resolve() first. */
#include "iiif.h"
#include "accept.h"
#include "json.h"
#include <math.h>
#include <apr_strings.h>

#define PLAIN_TILE 512 /* where the file has no tiles that suit a viewer (R39) */
#define TILE_LEAST 256
#define TILE_MOST  2048

typedef struct {
    const iip_input *in;
    const iip_info *info;
    const iip_limits *lim;
    int version;
    iip_json json;
} document;

/* 1 if the JPEG of this region and size would be answered, and at just that size. kind: as the version's parser has it.
 */
static int answers(const document *d, iip_rect region, iip_size_kind kind, int64_t w, int64_t h)
{
    iip_request rq;
    iip_error e;

    iip_request_init(&rq, d->in->set);
    rq.format = IIP_FMT_JPEG;
    rq.region_kind = IIP_REGION_PIXELS;
    rq.region[0].num = region.x;
    rq.region[1].num = region.y;
    rq.region[2].num = region.w;
    rq.region[3].num = region.h;
    rq.size_kind = kind;
    rq.size[0].num = w;
    rq.size[1].num = kind == IIP_SIZE_LISTED ? 0 : h;
    return iip_request_resolve(&rq, d->info, d->lim, &e) == IIP_OK && rq.out_w == w && rq.out_h == h;
}

/* R38 */
static void put_sizes(document *d)
{
    iip_rect all = {0, 0, iip_info_w(d->info), iip_info_h(d->info)};
    int any = 0;

    for (int l = d->info->levels - 1; l >= 0; l--) {
        const iip_level *at = &d->info->level[l];

        if (!answers(d, all, IIP_SIZE_EXACT, at->w, at->h) ||
            (d->version < 3 && !answers(d, all, IIP_SIZE_LISTED, at->w, at->h)))
            continue;
        if (!any++)
            iip_json_array(&d->json, "sizes");
        iip_json_object(&d->json, NULL);
        iip_json_integer(&d->json, "width", at->w);
        iip_json_integer(&d->json, "height", at->h);
        iip_json_end(&d->json);
    }
    if (any)
        iip_json_end(&d->json);
}

static int64_t min64(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* One side of the tiles to ask for. */
static int64_t tile_side(const iip_info *info, int64_t stored)
{
    if (!info->tiled || stored > TILE_MOST)
        return PLAIN_TILE;
    return stored >= TILE_LEAST ? stored : (TILE_LEAST + stored - 1) / stored * stored;
}

void iip_iiif_tile(const iip_info *info, int64_t *w, int64_t *h)
{
    *w = tile_side(info, info->level[0].tile_w);
    *h = tile_side(info, info->level[0].tile_h);
}

/* 1 if tiles at this scale are answered: of a row and column the first, the second, one in the middle and the last.
 * What a tile costs depends on where it lies on the grid of stored cells. */
static int scale_works(const document *d, int64_t tw, int64_t th, int64_t s)
{
    const int64_t W = iip_info_w(d->info), H = iip_info_h(d->info);
    const int64_t columns = (W + tw * s - 1) / (tw * s), rows = (H + th * s - 1) / (th * s);
    const int64_t xs[] = {0, min64(1, columns - 1), columns / 2, columns - 1};
    const int64_t ys[] = {0, min64(1, rows - 1), rows / 2, rows - 1};

    for (int i = 0; i < 4; i++) {
        iip_rect r = {xs[i] * tw * s, ys[i] * th * s, 0, 0};

        r.w = min64(tw * s, W - r.x);
        r.h = min64(th * s, H - r.y);
        if (!answers(d, r, IIP_SIZE_EXACT, (r.w + s - 1) / s, (r.h + s - 1) / s))
            return 0;
    }
    return 1;
}

/* Powers of two up to where the picture is one tile; those that work. Their number. */
static int scale_factors(const document *d, int64_t tw, int64_t th, int64_t factor[IIP_MAX_LEVELS])
{
    const int64_t W = iip_info_w(d->info), H = iip_info_h(d->info);
    int64_t w, h;
    int n = 0;

    /* Tiles larger than an answer may be: none (R39) */
    iip_size_limit(min64(tw, W), min64(th, H), d->lim, 0, &w, &h);
    if (w < min64(tw, W) || h < min64(th, H))
        return 0;
    for (int64_t s = 1;; s *= 2) {
        if (scale_works(d, tw, th, s))
            factor[n++] = s;
        if (tw * s >= W && th * s >= H)
            return n;
    }
}

static void put_factors(document *d, const char *key, const int64_t *factor, int n)
{
    iip_json_array(&d->json, key);
    for (int i = 0; i < n; i++)
        iip_json_integer(&d->json, NULL, factor[i]);
    iip_json_end(&d->json);
}

static void put_tiles(document *d)
{
    int64_t factor[IIP_MAX_LEVELS], tw, th;
    int n;

    iip_iiif_tile(d->info, &tw, &th);
    n = scale_factors(d, tw, th, factor);
    if (n == 0)
        return;
    if (d->version == 1) {
        put_factors(d, "scale_factors", factor, n);
        iip_json_integer(&d->json, "tile_width", tw);
        iip_json_integer(&d->json, "tile_height", th);
        return;
    }
    iip_json_array(&d->json, "tiles");
    iip_json_object(&d->json, NULL);
    iip_json_integer(&d->json, "width", tw);
    iip_json_integer(&d->json, "height", th);
    put_factors(d, "scaleFactors", factor, n);
    iip_json_end(&d->json);
    iip_json_end(&d->json);
}

/* R23. A missing maxHeight means the same as maxWidth, so where one of the two has no limit the largest number says so.
 */
static void put_limits(document *d)
{
    const int64_t w = d->lim->max_width, h = d->lim->max_height;

    if (w > 0 || h > 0) {
        iip_json_integer(&d->json, "maxWidth", w > 0 ? w : IIP_MAX_SIDE);
        if (w != h)
            iip_json_integer(&d->json, "maxHeight", h > 0 ? h : IIP_MAX_SIDE);
    }
    if (d->lim->max_area > 0)
        iip_json_integer(&d->json, "maxArea", d->lim->max_area);
}

/* R40: how large a pixel is, where the file says so. 72 dots an inch is what many writers put for "unknown", and 10 a
 * centimetre is what vips does. version 3 wants a list of services with names and types. */
static void put_scale(document *d, const char *id)
{
    iip_json *j = &d->json;
    const double x = d->info->res_x, y = d->info->res_y;

    if (!(x > 1e-6 && x < 1e6) || fabs(x - y) > x / 100 || fabs(x * 2.54 - 72) < 0.5 || fabs(x - 10) < 1e-6)
        return;
    if (d->version == 3)
        iip_json_array(j, "service");
    iip_json_object(j, d->version == 3 ? NULL : "service");
    iip_json_string(j, "@context", "http://iiif.io/api/annex/services/physdim/1/context.json");
    if (d->version == 3) {
        iip_json_string(j, "@id", apr_pstrcat(j->pool, id, "#physdim", NULL));
        iip_json_string(j, "@type", "PhysicalDimensions");
    }
    iip_json_string(j, "profile", "http://iiif.io/api/annex/services/physdim");
    iip_json_number(j, "physicalScale", 1 / x);
    iip_json_string(j, "physicalUnits", "cm");
    iip_json_end(j);
    if (d->version == 3)
        iip_json_end(j);
}

/* A list that is left out when it would be empty. NULLs are skipped. */
static void put_words(document *d, const char *key, const char *const *word, int n)
{
    int any = 0;

    for (int i = 0; i < n; i++) {
        if (!word[i])
            continue;
        if (!any++)
            iip_json_array(&d->json, key);
        iip_json_string(&d->json, NULL, word[i]);
    }
    if (any)
        iip_json_end(&d->json);
}

/* Formats beside those that a level has (R37): level 0 JPEG, level 2 PNG too. IIP_FMT_NONE: all of them. */
static void put_formats(document *d, const char *key, iip_format most)
{
    const char *word[IIP_FMT_COUNT];
    const iip_encoder *enc;
    int n = 0;

    for (int i = 0; n < IIP_FMT_COUNT && (enc = iip_encoder_at(i)); i++)
        if (enc->format > most)
            word[n++] = enc->ext;
    put_words(d, key, word, n);
}

/* Qualities of a version, and ours (R29, R37). */
static void put_qualities(document *d, const char *key, const char *first, const char *gray)
{
    const char *word[32] = {first, d->info->space == IIP_GREY ? NULL : "color", gray, "bitonal"};
    int n = 4;
    iip_op op;

    while (d->in->set->extensions && n < 32 && (word[n] = iip_iiif_extra(n - 4, &op)))
        n++;
    put_words(d, key, word, n);
}

#define PUT_WORDS(d, key, ...)                                                                                         \
    put_words(d, key, (const char *const[]){__VA_ARGS__},                                                              \
              (int)(sizeof((const char *const[]){__VA_ARGS__}) / sizeof(char *)))

/* What a place of level 0 does besides (R50). above, distorted: what the version calls sizes above the region's and out
 * of its shape. */
static void put_restricted(document *d, const char *key, const char *above, const char *distorted)
{
    const int sizes = d->in->set->restrict_to == IIP_RESTRICT_SIZES;
    const char *const *cors = d->in->set->cors;
    const char *word[] = {cors && *cors ? "cors" : NULL,
                          "jsonldMediaType",
                          "profileLinkHeader",
                          "canonicalLinkHeader",
                          d->version < 3 ? "sizeByWhListed" : NULL,
                          sizes ? "sizeByConfinedWh" : NULL,
                          sizes ? "sizeByH" : NULL,
                          sizes ? "sizeByPct" : NULL,
                          sizes ? "sizeByW" : NULL,
                          sizes ? "sizeByWh" : NULL,
                          sizes ? distorted : NULL,
                          sizes && iip_limits_grow(d->lim) ? above : NULL};

    put_words(d, key, word, (int)(sizeof word / sizeof *word));
}

static int is_restricted(const document *d)
{
    return d->in->set->restrict_to != IIP_RESTRICT_NONE;
}

static void describe_3(document *d, const char *id)
{
    const int restricted = is_restricted(d);
    iip_json *j = &d->json;

    if (d->in->set->extensions)
        PUT_WORDS(d, "@context", IIP_IIIF_EXTRA_CONTEXT, iip_iiif_context[3]);
    else
        iip_json_string(j, "@context", iip_iiif_context[3]);
    iip_json_string(j, "id", id);
    iip_json_string(j, "type", "ImageService3");
    iip_json_string(j, "protocol", "http://iiif.io/api/image");
    iip_json_string(j, "profile", restricted ? "level0" : "level2");
    iip_json_integer(j, "width", iip_info_w(d->info));
    iip_json_integer(j, "height", iip_info_h(d->info));
    put_limits(d);
    put_sizes(d);
    put_tiles(d);
    if (restricted) {
        put_formats(d, "extraFormats", IIP_FMT_JPEG);
        put_restricted(d, "extraFeatures", "sizeUpscaling", NULL);
    } else {
        put_formats(d, "extraFormats", IIP_FMT_PNG);
        put_qualities(d, "extraQualities", NULL, "gray");
        PUT_WORDS(d, "extraFeatures", "rotationArbitrary", "mirroring",
                  iip_limits_grow(d->lim) ? "sizeUpscaling" : NULL, "profileLinkHeader", "canonicalLinkHeader");
    }
    put_scale(d, id);
}

static void describe_2(document *d, const char *id)
{
    iip_json *j = &d->json;

    iip_json_string(j, "@context", iip_iiif_context[2]);
    iip_json_string(j, "@id", id);
    iip_json_string(j, "@type", "iiif:Image");
    iip_json_string(j, "protocol", "http://iiif.io/api/image");
    iip_json_integer(j, "width", iip_info_w(d->info));
    iip_json_integer(j, "height", iip_info_h(d->info));
    put_sizes(d);
    put_tiles(d);
    iip_json_array(j, "profile");
    iip_json_string(j, NULL, iip_iiif_profile(2, d->in->set));
    iip_json_object(j, NULL);
    put_formats(d, "formats", IIP_FMT_NONE);
    if (is_restricted(d)) {
        PUT_WORDS(d, "qualities", "default");
        put_restricted(d, "supports", "sizeAboveFull", "sizeByDistortedWh");
    } else {
        put_qualities(d, "qualities", "default", "gray");
        PUT_WORDS(d, "supports", iip_limits_grow(d->lim) ? "sizeAboveFull" : NULL, "sizeByDistortedWh", "sizeByWh",
                  "regionSquare", "rotationArbitrary", "mirroring", "canonicalLinkHeader", "profileLinkHeader");
    }
    put_limits(d);
    iip_json_end(j);
    iip_json_end(j);
    put_scale(d, id);
}

static void describe_1(document *d, const char *id)
{
    iip_json *j = &d->json;

    iip_json_string(j, "@context", iip_iiif_context[1]);
    iip_json_string(j, "@id", id);
    iip_json_integer(j, "width", iip_info_w(d->info));
    iip_json_integer(j, "height", iip_info_h(d->info));
    put_tiles(d);
    put_formats(d, "formats", IIP_FMT_NONE);
    if (is_restricted(d))
        PUT_WORDS(d, "qualities", "native");
    else
        put_qualities(d, "qualities", "native", "grey");
    iip_json_string(j, "profile", iip_iiif_profile(1, d->in->set));
}

/* 1 if the answer is called application/ld+json, by the table of section 8. */
static int wants_linked(const char *accept, int version)
{
    iip_accept linked = iip_accept_type(accept, "application/ld+json");
    iip_accept json = iip_accept_type(accept, "application/json");
    iip_accept html = iip_accept_type(accept, "text/html");
    const int better = linked.quality > json.quality || (linked.quality == json.quality && version == 3);
    iip_accept best = better ? linked : json;

    /* A browser, which shows plain JSON and would save the other */
    if (html.named &&
        (html.quality > best.quality || (html.quality == best.quality && (!best.named || html.named < best.named))))
        return 0;
    return better;
}

iip_status iip_iiif_describe(const iip_input *in, const iip_request *rq, const iip_info *info, const iip_limits *lim,
                             const char **text, const char **mime, const char **vary, const char **link, apr_pool_t *p,
                             iip_error *e)
{
    static void (*const describe[4])(document *, const char *) = {NULL, describe_1, describe_2, describe_3};
    document d = {.in = in, .info = info, .lim = lim, .version = iip_iiif_version(in, 1)};
    int linked = wants_linked(in->accept, d.version);

    iip_json_init(&d.json, p);
    iip_json_object(&d.json, NULL);
    describe[d.version](&d, iip_iiif_id(in, rq, p));
    if (info->pages > 1)
        iip_json_integer(&d.json, "pages", info->pages); /* R51: no word of any version */
    iip_json_end(&d.json);
    *text = iip_json_text(&d.json);
    if (in->set->extra_info)
        *text = iip_iiif_merge(*text, in->set->extra_info, d.version, p);
    *mime = !linked          ? "application/json"
            : d.version == 3 ? "application/ld+json;profile=\"http://iiif.io/api/image/3/context.json\""
                             : "application/ld+json";
    *vary = "Accept";
    *link = linked || d.version == 3
                ? NULL
                : apr_psprintf(p, "<%s>;rel=\"http://www.w3.org/ns/json-ld#context\";type=\"application/ld+json\"",
                               iip_iiif_context[d.version]);
    return IIP_OK;
}
