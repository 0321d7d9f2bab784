/* SPDX-License-Identifier: Apache-2.0
 * The source of rows: a window of a stored level, fetched by rows of cells so that each cell is decoded once. */
#include "raster/stage.h"

#define UPSIDE_DOWN (INT64_C(64) << 20) /* bytes of a strip */
#define LYING       (INT64_C(160) << 20)
#define PASSES      4

typedef struct {
    iip_stage_t base;
    iip_rect cover;
    int level;
    int64_t cell_h;
    iip_fetch_fn *fetch;
    void *ctx;
    iip_budget *budget;
    iip_raster strip; /* room for the tallest row of cells */
    int64_t held;     /* rows fetched into strip */
    int64_t given;    /* of these, handed on */
    int64_t done;     /* rows of cover fetched in all */
} level_stage;

static int64_t rows_to_cell_end(const level_stage *s)
{
    int64_t y = s->cover.y + s->done, left = s->cover.h - s->done, n = s->cell_h - y % s->cell_h;

    return n < left ? n : left;
}

static iip_status level_next(iip_stage_t *base, int64_t max_rows, iip_raster *out, iip_error *e)
{
    level_stage *s = (level_stage *)base;
    iip_status rv;

    if (s->given == s->held && s->done < s->cover.h) {
        iip_rect want = {s->cover.x, s->cover.y + s->done, s->cover.w, rows_to_cell_end(s)};
        iip_raster to = s->strip;

        if ((rv = iip_budget_check(s->budget, e)) != IIP_OK)
            return rv;
        to.h = want.h;
        if ((rv = s->fetch(s->ctx, s->level, want, &to, e)) != IIP_OK)
            return rv;
        s->given = 0;
        s->held = want.h;
        s->done += want.h;
    }
    *out = s->strip;
    out->px += (size_t)s->given * s->strip.stride;
    out->h = s->held - s->given;
    if (out->h > max_rows)
        out->h = max_rows;
    s->given += out->h;
    return IIP_OK;
}

int64_t iip_strip_rows(const iip_info *info, int level, int64_t width)
{
    const iip_level *l = &info->level[level];
    const int64_t row = width * info->bands * (int64_t)iip_sample_size(info->sample);
    int64_t n;

    if (info->orientation >= 5 && l->tile_h == l->h) {
        n = LYING / row;
        return n < l->h && n * PASSES >= l->h ? n : l->h;
    }
    if ((info->orientation != 3 && info->orientation != 4) || l->tile_w < l->w)
        return l->tile_h;
    n = UPSIDE_DOWN / (row * l->tile_h);
    return n > 1 ? n * l->tile_h : l->tile_h;
}

iip_stage_t *iip_stage_level(const iip_rect *cover, int level, const iip_info *info, iip_fetch_fn *fetch, void *ctx,
                             iip_budget *b, apr_pool_t *p, iip_error *e)
{
    level_stage *s = iip_stage_new(sizeof *s, NULL, b, p, e);
    int64_t first;

    if (!s)
        return NULL;
    s->base.next = level_next;
    s->base.shape = (iip_raster){.w = cover->w, .h = cover->h, .bands = info->bands, .sample = info->sample};
    s->cover = *cover;
    s->level = level;
    s->cell_h = iip_strip_rows(info, level, cover->w);
    s->fetch = fetch;
    s->ctx = ctx;
    s->budget = b;
    s->strip = s->base.shape;
    first = rows_to_cell_end(s);
    s->strip.h = cover->h - first < s->cell_h ? cover->h - first : s->cell_h;
    if (s->strip.h < first)
        s->strip.h = first;
    return iip_stage_rows(&s->strip, b, p, e) == IIP_OK ? &s->base : NULL;
}
