/* SPDX-License-Identifier: Apache-2.0
 * From a view window to the precincts it needs: see window.h. */
#include "jpip/window.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define RES_SHIFT    58 /* of the key: 6 bits resolution, 18 code-stream, 40 distance */
#define STREAM_SHIFT 40
#define FAR          ((INT64_C(1) << STREAM_SHIFT) - 1)

static int64_t floor_shift(int64_t v, int n)
{
    return n > 62 ? (v < 0 ? -1 : 0) : v >> n;
}

static int64_t ceil_shift(int64_t v, int n)
{
    return -floor_shift(-v, n);
}

static int64_t floor_div(int64_t a, int64_t b)
{
    return a >= 0 ? a / b : -((-a + b - 1) / b);
}

static int64_t ceil_div(int64_t a, int64_t b)
{
    return -floor_div(-a, b);
}

/* ---- the frame ---- */

static int most_levels(const jpip_index *ix, const unsigned char *comps)
{
    int most = 0;

    if (!comps)
        return ix->levels;
    for (int64_t t = 0; t < ix->columns * ix->rows && most < ix->levels; t++)
        for (int c = 0; c < ix->comps; c++)
            if (comps[c] && jpip_index_coding(ix, t, c)->levels > most)
                most = jpip_index_coding(ix, t, c)->levels;
    return most;
}

static int64_t side(int64_t a, int64_t b, int down)
{
    return ceil_shift(b, down) - ceil_shift(a, down);
}

static __int128 area_off(int64_t fx, int64_t fy, const jpip_query *q)
{
    __int128 d = (__int128)fx * fy - (__int128)q->fx * q->fy;

    return d < 0 ? -d : d;
}

/* Frames shrink with `down`: the first that fits is the largest, the last that covers the smallest. */
static int choose(const jpip_index *ix, int most, const jpip_query *q)
{
    int best = q->round == JPIP_ROUND_DOWN ? most : 0;

    for (int d = most; d >= 0; d--) {
        int64_t fx = side(ix->x0, ix->x1, d), fy = side(ix->y0, ix->y1, d);

        if (q->round == JPIP_ROUND_DOWN && fx <= q->fx && fy <= q->fy)
            best = d;
        if (q->round == JPIP_ROUND_UP && fx >= q->fx && fy >= q->fy)
            return d;
        if (q->round == JPIP_CLOSEST &&
            area_off(fx, fy, q) <= area_off(side(ix->x0, ix->x1, best), side(ix->y0, ix->y1, best), q))
            best = d;
    }
    return best;
}

static int64_t scale(int64_t v, int64_t frame, int64_t asked, int up)
{
    __int128 n = (__int128)v * frame + (up ? asked - 1 : 0);
    __int128 r = n / asked;

    return (int64_t)(n % asked < 0 ? r - 1 : r);
}

static void cut(int64_t from, int64_t size, int64_t frame, int64_t asked, int64_t *a, int64_t *b)
{
    *a = scale(from, frame, asked, 0);
    *b = scale(from + (size < 0 ? asked - from : size), frame, asked, 1);
    if (*a < 0)
        *a = 0;
    if (*b > frame)
        *b = frame;
}

void jpip_window_map(jpip_window *w, const jpip_index *ix, const unsigned char *comps, const jpip_query *q)
{
    w->down = choose(ix, most_levels(ix, comps), q);
    w->fx = side(ix->x0, ix->x1, w->down);
    w->fy = side(ix->y0, ix->y1, w->down);
    cut(q->ox, q->sx, w->fx, q->fx, &w->x0, &w->x1);
    cut(q->oy, q->sy, w->fy, q->fy, &w->y0, &w->y1);
    if (!q->sx || !q->sy)
        w->x1 = w->x0;
}

/* ---- the tiles ---- */

typedef struct {
    double far;
    int32_t tile;
} near_tile;

static int nearer(const void *pa, const void *pb)
{
    const near_tile *a = pa, *b = pb;

    if (a->far != b->far)
        return a->far < b->far ? -1 : 1;
    return a->tile < b->tile ? -1 : a->tile > b->tile;
}

static int64_t within(int64_t v, int64_t lo, int64_t hi)
{
    return v < lo ? lo : v > hi ? hi : v;
}

iip_status jpip_window_tiles(const jpip_window *w, const jpip_index *ix, int32_t **tiles, int32_t *n, iip_error *e)
{
    int64_t scale_by = INT64_C(1) << w->down, margin = JPIP_MARGIN, sub_x = 1, sub_y = 1;
    int64_t gx0, gx1, gy0, gy1, a, b, c, d;
    near_tile *list;

    *tiles = NULL;
    *n = 0;
    if (w->x1 <= w->x0 || w->y1 <= w->y0)
        return IIP_OK;
    for (int i = 0; i < ix->comps; i++) {
        sub_x = ix->comp[i].dx > sub_x ? ix->comp[i].dx : sub_x;
        sub_y = ix->comp[i].dy > sub_y ? ix->comp[i].dy : sub_y;
    }
    gx0 = within((ceil_shift(ix->x0, w->down) + w->x0 - margin * sub_x) * scale_by, ix->x0, ix->x1 - 1);
    gx1 = within((ceil_shift(ix->x0, w->down) + w->x1 + margin * sub_x) * scale_by, ix->x0 + 1, ix->x1);
    gy0 = within((ceil_shift(ix->y0, w->down) + w->y0 - margin * sub_y) * scale_by, ix->y0, ix->y1 - 1);
    gy1 = within((ceil_shift(ix->y0, w->down) + w->y1 + margin * sub_y) * scale_by, ix->y0 + 1, ix->y1);
    a = (gx0 - ix->tx0) / ix->tw;
    b = (gx1 - 1 - ix->tx0) / ix->tw;
    c = (gy0 - ix->ty0) / ix->th;
    d = (gy1 - 1 - ix->ty0) / ix->th;
    list = malloc((size_t)((b - a + 1) * (d - c + 1)) * sizeof *list);
    if (!list)
        return iip_fail(e, IIP_E_MEMORY, APR_ENOMEM, "JPIP: no memory for tiles");
    for (int64_t y = c; y <= d; y++)
        for (int64_t x = a; x <= b; x++) {
            iip_jp2_box t = jpip_index_tile_box(ix, y * ix->columns + x);
            double dx = ((double)t.x0 + (double)t.x1) / 2 - ((double)gx0 + (double)gx1) / 2;
            double dy = ((double)t.y0 + (double)t.y1) / 2 - ((double)gy0 + (double)gy1) / 2;

            list[(*n)++] = (near_tile){dx * dx + dy * dy, (int32_t)(y * ix->columns + x)};
        }
    qsort(list, (size_t)*n, sizeof *list, nearer);
    *tiles = malloc((size_t)*n * sizeof **tiles);
    if (*tiles)
        for (int32_t i = 0; i < *n; i++)
            (*tiles)[i] = list[i].tile;
    free(list);
    return *tiles ? IIP_OK : iip_fail(e, IIP_E_MEMORY, APR_ENOMEM, "JPIP: no memory for tiles");
}

int jpip_window_res(const jpip_window *w, const jpip_index *ix, int64_t tile, int comp)
{
    int levels = jpip_index_coding(ix, tile, comp)->levels;

    return levels > w->down ? levels - w->down : 0;
}

/* ---- the precincts ---- */

typedef struct {
    int64_t a, b;
} interval;

/* What one axis of a component needs at resolution r, margin included, r counted from the window's own downwards. */
static interval axis_at(int64_t grid0, int64_t w0, int64_t w1, int down, int levels, int sub, int steps)
{
    int64_t g0 = ceil_shift(grid0, down) + w0, g1 = ceil_shift(grid0, down) + w1;
    interval v;

    /* A component with fewer levels than were thrown away is sent at its lowest */
    if (levels < down) {
        g0 *= INT64_C(1) << (down - levels);
        g1 *= INT64_C(1) << (down - levels);
    }
    v = (interval){floor_div(g0, sub), ceil_div(g1, sub)};
    for (; steps > 0; steps--)
        v = (interval){floor_shift(v.a - JPIP_MARGIN, 1), ceil_shift(v.b + JPIP_MARGIN, 1)};
    return (interval){v.a - JPIP_MARGIN, v.b + JPIP_MARGIN};
}

/* The cells of a row or column of precincts that meet v. 0: none. */
static int cells(interval v, int64_t lo, int64_t hi, int exponent, int64_t count, int64_t *a, int64_t *b)
{
    int64_t first = lo >> exponent;

    if (v.a < lo)
        v.a = lo;
    if (v.b > hi)
        v.b = hi;
    if (v.a >= v.b || !count)
        return 0;
    *a = (v.a >> exponent) - first;
    *b = ((v.b - 1) >> exponent) - first;
    return *a < count && *b < count;
}

static iip_status add(jpip_wanted_list *l, const jpip_wanted *one, iip_error *e)
{
    if (l->n == l->most) {
        l->full = 1;
        return IIP_OK;
    }
    if (l->n == l->room) {
        size_t room = l->room ? l->room * 2 : 256;
        jpip_wanted *more;
        iip_status rv;

        if (l->b && (rv = iip_budget_take(l->b, (room - l->room) * sizeof *more, e)) != IIP_OK)
            return rv;
        if (!(more = realloc(l->at, room * sizeof *more)))
            return iip_fail(e, IIP_E_MEMORY, APR_ENOMEM, "JPIP: no memory for precincts");
        l->at = more;
        l->room = room;
    }
    l->at[l->n++] = *one;
    return IIP_OK;
}

static uint64_t distance(interval v, int64_t lo, int64_t hi, interval u, int64_t top, int64_t bottom, int dx, int dy)
{
    double x = (((double)lo + (double)hi) - ((double)v.a + (double)v.b)) * dx;
    double y = (((double)top + (double)bottom) - ((double)u.a + (double)u.b)) * dy;
    double d = sqrt(x * x + y * y);

    return d >= (double)FAR ? (uint64_t)FAR : (uint64_t)d;
}

static iip_status add_res(const jpip_window *w, const jpip_index *ix, int32_t picture, int64_t tile, int comp, int r,
                          jpip_held_fn *held, void *ctx, jpip_wanted_list *out, iip_error *e)
{
    const int levels = jpip_index_coding(ix, tile, comp)->levels, top = jpip_window_res(w, ix, tile, comp);
    const int dx = ix->comp[comp].dx, dy = ix->comp[comp].dy;
    const interval v = axis_at(ix->x0, w->x0, w->x1, w->down, levels, dx, top - r);
    const interval u = axis_at(ix->y0, w->y0, w->y1, w->down, levels, dy, top - r);
    int64_t x0, x1, y0, y1;
    jpip_res res;

    jpip_index_res(ix, tile, comp, r, &res);
    if (!cells(v, res.box.x0, res.box.x1, res.px, res.wide, &x0, &x1) ||
        !cells(u, res.box.y0, res.box.y1, res.py, res.high, &y0, &y1))
        return IIP_OK;
    for (int64_t y = y0; y <= y1; y++)
        for (int64_t x = x0; x <= x1 && !out->full; x++) {
            int64_t place = y * res.wide + x;
            jpip_wanted one = {.number = res.number + (uint32_t)place,
                               .tile = (uint32_t)tile,
                               .place = (uint32_t)place,
                               .picture = picture,
                               .comp = (uint16_t)comp};
            int64_t cx = ((res.box.x0 >> res.px) + x) << res.px, cy = ((res.box.y0 >> res.py) + y) << res.py;
            iip_status rv;

            one.held = held(ctx, picture, ix, jpip_index_id(ix, tile, comp, res.s + (uint32_t)place));
            if (one.held == UINT64_MAX)
                continue;
            one.key = (uint64_t)r << RES_SHIFT | (uint64_t)picture << STREAM_SHIFT |
                      distance(v, within(cx, res.box.x0, res.box.x1),
                               within(cx + (INT64_C(1) << res.px), res.box.x0, res.box.x1), u,
                               within(cy, res.box.y0, res.box.y1),
                               within(cy + (INT64_C(1) << res.py), res.box.y0, res.box.y1), dx, dy);
            if ((rv = add(out, &one, e)) != IIP_OK)
                return rv;
        }
    return IIP_OK;
}

iip_status jpip_window_precincts(const jpip_window *w, const jpip_index *ix, int32_t picture,
                                 const unsigned char *comps, const int32_t *tiles, int32_t n, jpip_held_fn *held,
                                 void *ctx, jpip_wanted_list *out, iip_error *e)
{
    iip_status rv = IIP_OK;

    for (int r = 0; r <= ix->levels; r++)
        for (int32_t i = 0; i < n && rv == IIP_OK && !out->full; i++) {
            if (out->b && (rv = iip_budget_check(out->b, e)) != IIP_OK)
                break;
            for (int c = 0; c < ix->comps && rv == IIP_OK; c++)
                if ((!comps || comps[c]) && r <= jpip_window_res(w, ix, tiles[i], c))
                    rv = add_res(w, ix, picture, tiles[i], c, r, held, ctx, out, e);
        }
    return rv;
}

static int in_order(const void *pa, const void *pb)
{
    const jpip_wanted *a = pa, *b = pb;

    if (a->key != b->key)
        return a->key < b->key ? -1 : 1;
    if (a->tile != b->tile)
        return a->tile < b->tile ? -1 : 1;
    if (a->place != b->place)
        return a->place < b->place ? -1 : 1;
    return a->comp < b->comp ? -1 : a->comp > b->comp;
}

void jpip_wanted_sort(jpip_wanted_list *l)
{
    if (l->n > 1)
        qsort(l->at, l->n, sizeof *l->at, in_order);
}
