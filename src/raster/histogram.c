/* SPDX-License-Identifier: Apache-2.0
 * The histogram of a picture (spec/iip.md 6.6) and what is made of it: range, threshold, equalisation. */
#include "raster/process.h"
#include <math.h>
#include <string.h>

/* To bins by the mean of n pixels' colours; a pixel with a colour that is no number is left out. */
IIP_HOT static void count(iip_histogram *h, const float *px, size_t n, size_t bands, size_t colours)
{
    const float by = 255 / (float)colours;

    for (size_t i = 0; i < n; i++, px += bands) {
        float sum = 0;

        for (size_t c = 0; c < colours; c++)
            sum += px[c];
        sum = sum * by + (0.5f + 1 / 4096.f); /* halves go up, whatever the last bits are */
        if (sum == sum)
            h->count[(int)(sum > 0 ? sum < 255 ? sum : 255 : 0)]++;
    }
}

/* Otsu: the first value that divides best. */
static int best_threshold(const iip_histogram *h, double all, double sum)
{
    double below = 0, sum_below = 0, best = 0;
    int at = 0;

    for (int v = 0; v < 256; v++) {
        double above, between;

        below += (double)h->count[v];
        above = all - below;
        sum_below += v * (double)h->count[v];
        if (below == 0 || above <= 0)
            continue;
        between = sum_below / below - (sum - sum_below) / above;
        between *= between * below * above;
        if (between > best) {
            best = between;
            at = v + 1;
        }
    }
    return at;
}

static void finish(iip_histogram *h)
{
    double all = 0, sum = 0, so_far = 0;

    for (int v = 0; v < 256; v++) {
        all += (double)h->count[v];
        sum += v * (double)h->count[v];
    }
    h->first = 0;
    h->last = 255;
    while (all > 0 && h->count[h->first] == 0)
        h->first++;
    while (all > 0 && h->count[h->last] == 0)
        h->last--;
    h->threshold = best_threshold(h, all, sum);
    for (int v = 0; v < 256; v++) {
        so_far += (double)h->count[v];
        h->equal[v] = all > 0 ? (unsigned char)(255 * so_far / all + 0.5) : (unsigned char)v;
    }
}

iip_status iip_histogram_make(iip_histogram *h, const iip_info *info, iip_fetch_fn *fetch, void *ctx, iip_budget *b,
                              apr_pool_t *p, iip_error *e)
{
    const int level = info->levels - 1, alpha = info->alpha && info->bands > 1;
    const int own = info->space != IIP_LAB && info->space != IIP_CMYK;
    const iip_rect all = {0, 0, info->level[level].w, info->level[level].h};
    iip_stage_t *s = iip_stage_level(&all, level, info, fetch, ctx, b, p, e);
    iip_band *band;
    iip_raster strip;
    iip_status rv;
    int colours;

    memset(h, 0, sizeof *h);
    if (s && !own)
        s = iip_stage_colour(s, info, info->sample == IIP_U8 ? IIP_U8 : IIP_U16, 0, b, p, e);
    if (!s)
        return e->status;
    colours = s->shape.bands - alpha;
    if (!(band = iip_budget_alloc(b, (size_t)colours * sizeof *band, p, e)))
        return e->status;
    for (int i = 0; i < colours; i++) {
        double lo, hi;

        iip_band_range(info, s->shape.sample, own && s->shape.sample != IIP_U8, i, &lo, &hi);
        iip_band_set(&band[i], lo, hi);
    }
    if (!(s = iip_stage_float(s, band, colours, alpha, 1, b, p, e)))
        return e->status;
    do {
        if ((rv = s->next(s, 16, &strip, e)) != IIP_OK)
            return rv;
        for (int64_t y = 0; y < strip.h; y++)
            count(h, (const float *)(const void *)(strip.px + (size_t)y * strip.stride), (size_t)strip.w,
                  (size_t)strip.bands, (size_t)colours);
    } while (strip.h > 0);
    finish(h);
    return IIP_OK;
}
