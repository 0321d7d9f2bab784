/* SPDX-License-Identifier: Apache-2.0
 * A request against an image: region, size, limits, level, window. All on exact integers, so that every machine and
 * every spelling comes to the same pixels (spec/iiif.md sections 2 to 4). */
#include "request.h"
#include "raster/raster.h"
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>

typedef __int128 wide;

#define MAX_SCALE 18 /* decimal places of an iip_decimal */

static int64_t power10(int n)
{
    int64_t v = 1;

    while (n-- > 0)
        v *= 10;
    return v;
}

static int64_t min64(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static int64_t at_least_1(int64_t n)
{
    return n > 1 ? n : 1;
}

/* round(a / b), halves up; what no side can be is IIP_MAX_SIDE + 1 (R17). */
static int64_t round_div(wide a, wide b)
{
    wide q = (2 * a + b) / (2 * b);

    return q > IIP_MAX_SIDE ? IIP_MAX_SIDE + 1 : (int64_t)q;
}

/* floor(sqrt(n)). The double is within some units of it: two sides make less than 2^124. */
static int64_t root(wide n)
{
    wide r = (wide)sqrtl((long double)n);

    while (r * r > n)
        r--;
    while ((r + 1) * (r + 1) <= n)
        r++;
    return r > IIP_MAX_SIDE ? IIP_MAX_SIDE : (int64_t)r;
}

void iip_request_init(iip_request *rq, const iip_settings *set)
{
    *rq = (iip_request){.page = -1, .angle_h = -1, .angle_v = -1, .quality = -1, .layers = -1, .set = set};
}

/* ---- limits ---- */

int iip_limits_grow(const iip_limits *lim)
{
    return lim->upscale && (lim->max_width > 0 || lim->max_area > 0);
}

static int over_limits(int64_t w, int64_t h, const iip_limits *lim)
{
    return (lim->max_width > 0 && w > lim->max_width) || (lim->max_height > 0 && h > lim->max_height) ||
           (lim->max_area > 0 && (wide)w * h > lim->max_area);
}

/* As large as possible in a box, aspect kept (R18). Rounding never leaves the box. */
static void fit_box(int64_t w, int64_t h, int64_t box_w, int64_t box_h, int64_t *ow, int64_t *oh)
{
    if ((wide)box_w * h <= (wide)box_h * w) {
        *ow = box_w;
        *oh = at_least_1(round_div((wide)box_w * h, w));
    } else {
        *ow = at_least_1(round_div((wide)box_h * w, h));
        *oh = box_h;
    }
}

void iip_size_limit(int64_t w, int64_t h, const iip_limits *lim, int grow, int64_t *ow, int64_t *oh)
{
    int64_t box_w = lim->max_width > 0 ? lim->max_width : IIP_MAX_SIDE;
    int64_t box_h = lim->max_height > 0 ? lim->max_height : IIP_MAX_SIDE;
    int bound = lim->max_width > 0 || lim->max_height > 0;

    *ow = w;
    *oh = h;
    if (!over_limits(w, h, lim) && (!grow || (!bound && lim->max_area <= 0)))
        return;
    if (bound && (grow || w > box_w || h > box_h))
        fit_box(w, h, box_w, box_h, ow, oh);
    if (lim->max_area > 0 && ((wide)*ow * *oh > lim->max_area || !bound)) {
        /* floor(w * sqrt(MA / (w * h))), from the region's own sides; the box may still bind after that */
        *ow = min64(at_least_1(root((wide)lim->max_area * w / h)), box_w);
        *oh = min64(at_least_1(root((wide)lim->max_area * h / w)), box_h);
        /* a sliver whose short side had to be 1 */
        *ow = min64(*ow, at_least_1(lim->max_area / *oh));
        *oh = min64(*oh, at_least_1(lim->max_area / *ow));
    }
}

/* The limits with what the format itself can hold. */
static iip_limits limits_of_format(const iip_limits *lim, iip_format format)
{
    const iip_encoder *enc = iip_encoder_find(format);
    iip_limits l = *lim;

    if (enc && enc->max_side > 0) {
        l.max_width = l.max_width > 0 ? min64(l.max_width, enc->max_side) : enc->max_side;
        l.max_height = l.max_height > 0 ? min64(l.max_height, enc->max_side) : enc->max_side;
    }
    return l;
}

void iip_request_max(const iip_request *rq, const iip_limits *lim, int grow, int64_t *w, int64_t *h)
{
    iip_limits l = limits_of_format(lim, rq->format);

    iip_size_limit(rq->src.w, rq->src.h, &l, grow && iip_limits_grow(lim), w, h);
}

/* ---- region ---- */

/* 1 if s pixels of the full size make one of the level, on both axes, whichever way its sides were rounded. */
static int is_scale(const iip_info *info, const iip_level *l, int64_t s)
{
    wide x = (wide)l->w * s - iip_info_w(info), y = (wide)l->h * s - iip_info_h(info);

    return x > -s && x < s && y > -s && y < s;
}

/* Clients count from the full size, so it is not the quotient of two rounded widths: the powers on both sides of the
 * longer side's quotient are tried. */
int64_t iip_level_scale(const iip_info *info, const iip_level *l)
{
    const int64_t w = iip_info_w(info), h = iip_info_h(info);
    const int64_t by = w > h ? w / l->w : h / l->h, s = by > 1 ? INT64_C(1) << (63 - __builtin_clzll((uint64_t)by)) : 1;

    return is_scale(info, l, s) ? s : is_scale(info, l, s * 2) ? s * 2 : 0;
}

static int good_decimal(const iip_decimal *d)
{
    return d->num >= 0 && d->num <= power10(18) && d->scale >= 0 && d->scale <= MAX_SCALE;
}

/* In units of 10^-18 percent, cut at 100: more never matters and would leave 128 bits when multiplied by a side. */
static wide percent(const iip_decimal *d)
{
    wide all = (wide)100 * power10(MAX_SCALE), v = (wide)d->num * power10(MAX_SCALE - d->scale);

    return v < all ? v : all;
}

/* One axis of a percentage region: its two edges are rounded, not its length, so that neighbours leave no gap (R16). */
static int ratio_axis(const iip_decimal *at, const iip_decimal *len, int64_t side, int64_t *pos, int64_t *size)
{
    wide all = (wide)100 * power10(MAX_SCALE), from = percent(at), to = from + percent(len);
    int64_t end;

    if (from >= all || to == from)
        return 0;
    *pos = min64(round_div(from * side, all), side - 1);
    end = min64(round_div(to * side, all), side);
    *size = at_least_1(end - *pos);
    return 1;
}

/* One axis of a part of a grid: the edges it stands for, rounded outwards. */
static int grid_axis(int64_t from, int64_t n, int64_t grid, int64_t side, int64_t s, int64_t *pos, int64_t *size)
{
    int64_t to = from + n;

    if (grid < 1 || grid > side || n < 1 || from >= grid || n > grid - from)
        return 0;
    *pos = s ? from * s : (int64_t)((wide)from * side / grid);
    *size = (to == grid ? side : s ? to * s : (int64_t)(((wide)to * side + grid - 1) / grid)) - *pos;
    return 1;
}

static iip_status resolve_tile(iip_request *rq, const iip_info *info, iip_error *e)
{
    const iip_decimal *d = rq->region;
    const iip_level grid = {.w = rq->grid.a, .h = rq->grid.b};
    int64_t s = grid.w > 0 && grid.h > 0 ? iip_level_scale(info, &grid) : 0;

    if (!grid_axis(d[0].num, d[2].num, grid.w, iip_info_w(info), s, &rq->src.x, &rq->src.w) ||
        !grid_axis(d[1].num, d[3].num, grid.h, iip_info_h(info), s, &rq->src.y, &rq->src.h))
        return iip_refuse(e, IIP_E_NOT_FOUND, "region"); /* a part that does not exist */
    if (rq->size_kind == IIP_SIZE_FULL) {
        rq->out_w = d[2].num;
        rq->out_h = d[3].num;
    }
    return IIP_OK;
}

static iip_status resolve_region(iip_request *rq, const iip_info *info, iip_error *e)
{
    const int64_t W = iip_info_w(info), H = iip_info_h(info);
    const iip_decimal *d = rq->region;

    rq->src = (iip_rect){0, 0, W, H};
    for (int i = 0; i < 4; i++)
        if (!good_decimal(&d[i]))
            return iip_refuse(e, IIP_E_RANGE, "region");
    switch (rq->region_kind) {
    case IIP_REGION_FULL:
        return IIP_OK;
    case IIP_REGION_SQUARE: /* R14 */
        rq->src.w = rq->src.h = min64(W, H);
        rq->src.x = (W - rq->src.w) / 2;
        rq->src.y = (H - rq->src.h) / 2;
        return IIP_OK;
    case IIP_REGION_PIXELS: /* R15 */
        if (d[2].num == 0 || d[3].num == 0 || d[0].num >= W || d[1].num >= H)
            return iip_refuse(e, IIP_E_RANGE, "region");
        rq->src = (iip_rect){d[0].num, d[1].num, min64(d[2].num, W - d[0].num), min64(d[3].num, H - d[1].num)};
        return IIP_OK;
    case IIP_REGION_RATIO:
        if (!ratio_axis(&d[0], &d[2], W, &rq->src.x, &rq->src.w) ||
            !ratio_axis(&d[1], &d[3], H, &rq->src.y, &rq->src.h))
            return iip_refuse(e, IIP_E_RANGE, "region");
        return IIP_OK;
    case IIP_REGION_TILE:
        break;
    }
    return resolve_tile(rq, info, e);
}

/* ---- size ---- */

/* The side that follows from the other. LISTED: where a stored level of the whole picture has the width, its own
 * height, which rounding may have left a pixel off (R38). */
int64_t iip_request_height(const iip_request *rq, const iip_info *info, int64_t w)
{
    int64_t h = at_least_1(round_div((wide)w * rq->src.h, rq->src.w));

    if (rq->size_kind == IIP_SIZE_LISTED && rq->src.w == iip_info_w(info) && rq->src.h == iip_info_h(info))
        for (int l = 0; l < info->levels; l++)
            if (info->level[l].w == w && llabs(info->level[l].h - h) <= 1)
                return info->level[l].h;
    return h;
}

static iip_status resolve_size(iip_request *rq, const iip_info *info, const iip_limits *lim, iip_error *e)
{
    const int64_t rw = rq->src.w, rh = rq->src.h, w = rq->size[0].num, h = rq->size[1].num;
    const iip_limits bounds = limits_of_format(lim, rq->format);
    int grows = -1;

    if (!good_decimal(&rq->size[0]) || !good_decimal(&rq->size[1]))
        return iip_refuse(e, IIP_E_RANGE, "size");
    if (rq->size_kind != IIP_SIZE_PERCENT && (w > IIP_MAX_SIDE || h > IIP_MAX_SIDE))
        return iip_refuse(e, IIP_E_LIMIT, "size");
    switch (rq->size_kind) {
    case IIP_SIZE_FULL:
        if (rq->region_kind == IIP_REGION_TILE)
            break; /* its own pixels, already set */
        rq->out_w = rw;
        rq->out_h = rh;
        break;
    case IIP_SIZE_MAX:
        iip_request_max(rq, lim, rq->grow == IIP_GROW_ASK, &rq->out_w, &rq->out_h);
        break;
    case IIP_SIZE_FIT:
        fit_box(rw, rh, w ? w : IIP_MAX_SIDE, h ? h : IIP_MAX_SIDE, &rq->out_w, &rq->out_h);
        if (rq->grow == IIP_GROW_CLAMP && (rq->out_w > rw || rq->out_h > rh)) { /* R19 */
            rq->out_w = rw;
            rq->out_h = rh;
        }
        break;
    case IIP_SIZE_PERCENT: {
        wide whole = (wide)100 * power10(rq->size[0].scale);

        if (w == 0)
            return iip_refuse(e, IIP_E_RANGE, "size");
        rq->out_w = at_least_1(round_div((wide)rw * w, whole));
        rq->out_h = at_least_1(round_div((wide)rh * w, whole));
        grows = w > whole; /* even where rounding hides it */
        break;
    }
    case IIP_SIZE_EXACT:
    case IIP_SIZE_LISTED:
        rq->out_w = w ? w : h ? at_least_1(round_div((wide)h * rw, rh)) : rw;
        rq->out_h = h ? h : w ? iip_request_height(rq, info, w) : rh;
        break;
    }
    if (grows < 0)
        grows = rq->out_w > rw || rq->out_h > rh;
    if (grows && rq->grow == IIP_GROW_CLAMP) {
        rq->out_w = min64(rq->out_w, rw);
        rq->out_h = min64(rq->out_h, rh);
    } else if (grows && rq->grow == IIP_GROW_REFUSE)
        return iip_refuse(e, IIP_E_RANGE, "size");
    if (over_limits(rq->out_w, rq->out_h, &bounds) || rq->out_w > IIP_MAX_SIDE || rq->out_h > IIP_MAX_SIDE) {
        if (rq->over == IIP_OVER_REFUSE)
            return iip_refuse(e, grows && !iip_limits_grow(lim) ? IIP_E_FEATURE : IIP_E_LIMIT, "size");
        if (rq->size_kind == IIP_SIZE_FULL ||
            rq->size_kind == IIP_SIZE_FIT) /* the region's own aspect, not a rounded one */
            iip_request_max(rq, lim, rq->size_kind == IIP_SIZE_FIT && rq->grow == IIP_GROW_ASK, &rq->out_w, &rq->out_h);
        else
            iip_size_limit(rq->out_w, rq->out_h, &bounds, 0, &rq->out_w, &rq->out_h);
        grows = rq->out_w > rw || rq->out_h > rh;
    }
    if (grows && rq->grow == IIP_GROW_ASK && !iip_limits_grow(lim))
        return iip_refuse(e, IIP_E_FEATURE, "size");
    return IIP_OK;
}

/* ---- level and window ---- */

/* 1 if out is how a client may have rounded n / s. */
static int rounds_to(int64_t out, int64_t n, int64_t s)
{
    return out == at_least_1(n / s) || out == (n + s - 1) / s;
}

/* 1 if the region's edges lie on multiples of s or on those of the picture. */
static int on_grid(const iip_rect *r, const iip_info *info, int64_t s)
{
    return r->x % s == 0 && r->y % s == 0 && ((r->x + r->w) % s == 0 || r->x + r->w == iip_info_w(info)) &&
           ((r->y + r->h) % s == 0 || r->y + r->h == iip_info_h(info));
}

/* 1 if one axis of a level holds num/den of the pixels asked of it. */
static int holds(int64_t region, int64_t stored, int64_t side, int64_t out, int num, int den)
{
    return (wide)region * stored * den >= (wide)out * side * num;
}

/* 1 if the level is the grid a part of which is asked, or both are the same power of two smaller (of two pixels nobody
 * can tell which). */
static int is_grid(const iip_request *rq, const iip_info *info, const iip_level *l)
{
    const iip_level grid = {.w = rq->grid.a, .h = rq->grid.b};
    int64_t s;

    if (grid.w == l->w && grid.h == l->h)
        return 1;
    if (grid.w > l->w + 1 || grid.w < l->w - 1 || grid.h > l->h + 1 || grid.h < l->h - 1)
        return 0; /* of one scale there are no more than two sizes */
    s = l->w > 2 || l->h > 2 ? iip_level_scale(info, l) : 0;
    return s && s == iip_level_scale(info, &grid);
}

/* The same for such a part, counted in pixels of the grid. On the grid's own level a side that was computed from the
 * other may be rounded up. */
static int level_enough_for_part(const iip_request *rq, const iip_info *info, const iip_level *l)
{
    const int64_t w = rq->region[2].num, h = rq->region[3].num;

    if (holds(w, l->w, rq->grid.a, rq->out_w, 1, 1) && holds(h, l->h, rq->grid.b, rq->out_h, 1, 1))
        return 1;
    return is_grid(rq, info, l) && holds(w, 1, 1, rq->out_w, 64, 65) && holds(h, 1, 1, rq->out_h, 64, 65);
}

/* 1 if the level need not be enlarged for the request, but for what a client's rounding at the edges asks (R35). */
static int level_enough(const iip_request *rq, const iip_info *info, int level)
{
    const int64_t W = iip_info_w(info), H = iip_info_h(info);
    const iip_level *l = &info->level[level];
    int64_t s;
    int x, y;

    if (rq->region_kind == IIP_REGION_TILE)
        return level_enough_for_part(rq, info, l);
    if (holds(rq->src.w, l->w, W, rq->out_w, 1, 1) && holds(rq->src.h, l->h, H, rq->out_h, 1, 1))
        return 1;
    s = iip_level_scale(info, l);
    if (s == 0 || !on_grid(&rq->src, info, s))
        return 0;
    x = rounds_to(rq->out_w, rq->src.w, s);
    y = rounds_to(rq->out_h, rq->src.h, s);
    /* A tile of that scale. 1x1 could be the corner of any scale and is taken for what it says. */
    if (x && y && (rq->out_w > 1 || rq->out_h > 1))
        return 1;
    /* One side rounded, the other computed from it: at most 1/64 is missing. */
    return (x || y) && holds(rq->src.w, l->w, W, rq->out_w, 64, 65) && holds(rq->src.h, l->h, H, rq->out_h, 64, 65);
}

static int smallest_level(const iip_request *rq, const iip_info *info)
{
    int level = info->levels - 1;

    while (level > 0 && !level_enough(rq, info, level))
        level--;
    return level;
}

/* One axis in level pixels. 1 if they are whole and as many as asked. */
static int window_axis(int64_t pos, int64_t n, int64_t stored, int64_t side, int64_t out, double *at, double *size)
{
    wide from = (wide)pos * stored, length = (wide)n * stored;

    *at = (double)from / (double)side;
    *size = (double)length / (double)side;
    if (*at + *size > (double)stored)
        *size = (double)stored - *at;
    return from % side == 0 && length == (wide)out * side;
}

void iip_request_window(const iip_request *rq, const iip_info *info, iip_window *win)
{
    const iip_level *l = &info->level[rq->level];
    const iip_rect *r = &rq->src;
    const iip_decimal *d = rq->region;
    int64_t s = iip_level_scale(info, l);

    if (rq->region_kind == IIP_REGION_TILE) {
        if (rq->out_w == d[2].num && rq->out_h == d[3].num && is_grid(rq, info, l)) {
            *win = (iip_window){(double)d[0].num, (double)d[1].num, (double)rq->out_w, (double)rq->out_h, 1};
            return;
        }
        win->exact = window_axis(d[0].num, d[2].num, l->w, rq->grid.a, rq->out_w, &win->x, &win->w);
        win->exact &= window_axis(d[1].num, d[3].num, l->h, rq->grid.b, rq->out_h, &win->y, &win->h);
        return;
    }
    if (s && on_grid(r, info, s) && rounds_to(rq->out_w, r->w, s) && rounds_to(rq->out_h, r->h, s)) {
        *win = (iip_window){(double)(r->x / s), (double)(r->y / s), (double)rq->out_w, (double)rq->out_h, 1};
        return;
    }
    win->exact = window_axis(r->x, r->w, l->w, iip_info_w(info), rq->out_w, &win->x, &win->w);
    win->exact &= window_axis(r->y, r->h, l->h, iip_info_h(info), rq->out_h, &win->y, &win->h);
}

/* What quality -1 stands for. */
static int default_quality(const iip_settings *set, const iip_encoder *enc)
{
    int q = set->quality.of[enc->format];

    return q < 0 ? enc->q_default : q < enc->q_min ? enc->q_min : q > enc->q_max ? enc->q_max : q;
}

/* n pixels from pos on are a tile, or what a level of that size has of it. */
static int fills(int64_t n, int64_t pos, int64_t tile, int64_t size)
{
    return n == (size - pos < tile ? size - pos : tile);
}

int iip_request_tile(const iip_request *rq, const iip_info *info, int64_t *tx, int64_t *ty)
{
    const iip_level *l = &info->level[rq->level];
    const iip_encoder *enc = iip_encoder_find(rq->format);
    iip_window win;
    int64_t x, y;

    if (!info->tiled || rq->recode || info->orientation > 1 || rq->level >= info->virtual_from || rq->op_count ||
        rq->flip || rq->rotate != 0 || rq->within.w || rq->frame.w || rq->ground || !enc ||
        rq->quality != default_quality(rq->set, enc))
        return 0;
    iip_request_window(rq, info, &win);
    x = (int64_t)win.x;
    y = (int64_t)win.y;
    if (!win.exact || x % l->tile_w || y % l->tile_h || !fills(rq->out_w, x, l->tile_w, l->w) ||
        !fills(rq->out_h, y, l->tile_h, l->h))
        return 0;
    *tx = x / l->tile_w;
    *ty = y / l->tile_h;
    return 1;
}

void iip_request_canvas(const iip_request *rq, int64_t *w, int64_t *h)
{
    iip_rotate_canvas(rq->out_w, rq->out_h, rq->rotate, w, h);
    if (rq->frame.w) {
        *w = rq->frame.w;
        *h = rq->frame.h;
    }
}

/* ---- all of it ---- */

/* The part lies within what it may be chosen from, and the turned answer in its frame. */
static iip_status check_frame(const iip_request *rq, const iip_limits *lim, iip_error *e)
{
    const iip_rect *in = &rq->within, *f = &rq->frame;
    const iip_limits bounds = limits_of_format(lim, rq->format);
    int64_t w, h;

    if (in->w && (rq->src.x < in->x || rq->src.y < in->y || rq->src.x + rq->src.w > in->x + in->w ||
                  rq->src.y + rq->src.h > in->y + in->h))
        return iip_refuse(e, IIP_E_RANGE, "region");
    iip_rotate_canvas(rq->out_w, rq->out_h, rq->rotate, &w, &h);
    if (f->w && (f->x < 0 || f->y < 0 || f->x > f->w - w || f->y > f->h - h))
        return iip_refuse(e, IIP_E_RANGE, "size");
    if (f->w && (f->w > IIP_MAX_SIDE || f->h > IIP_MAX_SIDE || over_limits(f->w, f->h, &bounds)))
        return iip_refuse(e, IIP_E_LIMIT, "size");
    return IIP_OK;
}

/* Where the same pixels can be asked for by the edges they stand for, they are: all protocols share their answers. */
static void tile_to_region(iip_request *rq, const iip_info *info)
{
    const int64_t region[4] = {rq->src.x, rq->src.y, rq->src.w, rq->src.h}, size[2] = {rq->out_w, rq->out_h};
    iip_request plain = *rq;
    iip_window a, b;

    plain.region_kind = IIP_REGION_PIXELS;
    plain.size_kind = IIP_SIZE_EXACT;
    for (int i = 0; i < 4; i++)
        plain.region[i] = (iip_decimal){region[i], 0};
    for (int i = 0; i < 2; i++)
        plain.size[i] = (iip_decimal){size[i], 0};
    plain.level = smallest_level(&plain, info);
    iip_request_window(rq, info, &a);
    iip_request_window(&plain, info, &b);
    if (plain.level == rq->level && a.x == b.x && a.y == b.y && a.w == b.w && a.h == b.h && a.exact == b.exact)
        *rq = plain;
}

/* Quality layers to decode; 0: all, however that was asked for. */
static int layers(const iip_request *rq, const iip_info *info)
{
    const iip_pair most = iip_lower_value(&rq->set->max_layers);
    int64_t n = most.b ? (info->layers + 1) / 2 : info->layers;

    n = most.a > 0 && most.a < n ? most.a : n;
    n = rq->layers >= 1 && rq->layers < n ? rq->layers : n;
    return n >= info->layers ? 0 : (int)n;
}

iip_status iip_request_resolve(iip_request *rq, const iip_info *info, const iip_limits *lim, iip_error *e)
{
    const iip_encoder *enc = iip_encoder_find(rq->format);
    const iip_level *last = &info->level[info->levels - 1];
    int64_t w, h, pixels, memory;
    int whole;
    iip_status rv;

    if (!(rq->rotate >= 0 && rq->rotate < 360))
        return iip_refuse(e, IIP_E_RANGE, "rotation");
    rq->rotate = (double)llround(rq->rotate * 1e12) / 1e12; /* what iip_rotation_text can say */
    if (rq->rotate >= 360)
        rq->rotate = 0;
    if ((rv = resolve_region(rq, info, e)) != IIP_OK || (rv = resolve_size(rq, info, lim, e)) != IIP_OK)
        return rv;
    iip_request_ops(rq, info);
    rq->layers = layers(rq, info);
    if (enc && rq->quality < 0)
        rq->quality = default_quality(rq->set, enc);
    rq->level = smallest_level(rq, info);
    if (rq->region_kind == IIP_REGION_TILE)
        tile_to_region(rq, info);

    whole = rq->src.w == iip_info_w(info) && rq->src.h == iip_info_h(info);
    if (!whole || (!info->xmp_len && !info->exif_len))
        rq->textless = 0; /* there are none */
    if (!info->alpha && !rq->frame.w && fmod(rq->rotate, 90) == 0)
        rq->ground = 0; /* nowhere to be seen */
    if ((rv = check_frame(rq, lim, e)) != IIP_OK)
        return rv;
    iip_request_canvas(rq, &w, &h);
    if (enc && enc->max_side > 0 && (w > enc->max_side || h > enc->max_side))
        return iip_refuse(e, IIP_E_LIMIT, "rotation");
    if (fmod(rq->rotate, 90) != 0 && lim->max_area > 0 && (wide)w * h > (wide)lim->max_area * 2)
        return iip_refuse(e, IIP_E_LIMIT, "rotation"); /* R26 */
    pixels = iip_request_pixels(rq, info);
    if (iip_request_counts(rq) && pixels < last->w * last->h)
        pixels = last->w * last->h;
    if (lim->max_pixels > 0 && pixels > lim->max_pixels) {
        rv = iip_fail(e, IIP_E_LIMIT, 0, "%" PRId64 " source pixels for one answer, no smaller level in the file",
                      pixels);
        e->part = "size";
        return rv;
    }
    rq->progressive = whole && rq->format == IIP_FMT_JPEG && rq->set->jpeg_progressive;
    memory = iip_request_memory(rq, info);
    if (rq->progressive && lim->memory > 0 && (uint64_t)memory > lim->memory) {
        rq->progressive = 0;
        memory = iip_request_memory(rq, info);
    }
    if (lim->memory > 0 && (uint64_t)memory > lim->memory) {
        rv = iip_fail(e, IIP_E_LIMIT, 0, "%" PRId64 " bytes for one answer, above the %zu of IIPMaxMemory%s", memory,
                      lim->memory,
                      info->hold > lim->memory / 2 || info->level_hold[rq->level] > lim->memory / 2
                          ? ": it can only be decoded as a whole"
                          : "");
        e->part = "size";
        return rv;
    }
    return IIP_OK;
}
