/* SPDX-License-Identifier: Apache-2.0
 * Which part of a picture a thumbnail shows, how large, how turned, in which frame. The picture is looked at as it is
 * to be seen, turned and mirrored: what comes out is then put back into the picture as it lies. */
#include "thumb.h"
#include "ops.h"
#include <math.h>

/* ---- turns and mirrors: first mirrored left to right, then turned q quarters clockwise ---- */

typedef struct {
    int q, mirror;
} pose;

/* b, then a */
static pose after(pose a, pose b)
{
    return (pose){(a.q + (a.mirror ? 4 - b.q : b.q)) & 3, a.mirror ^ b.mirror};
}

static pose undone(pose a)
{
    return (pose){a.mirror ? a.q : (4 - a.q) & 3, a.mirror};
}

/* From the upright picture to what is seen. */
static pose pose_of(const iip_thumb *t, const iip_info *info)
{
    static const pose exif[9] = {{0, 0}, {0, 0}, {0, 1}, {2, 0}, {2, 1}, {3, 1}, {1, 0}, {1, 1}, {3, 0}};
    const int o = info->orientation >= 1 && info->orientation <= 8 ? info->orientation : 1;
    pose all = t->upright ? exif[1] : undone(exif[o]);

    all = after((pose){t->rotate, 0}, all);
    if (t->flip_h)
        all = after((pose){0, 1}, all);
    if (t->flip_v)
        all = after((pose){2, 1}, all);
    return all;
}

/* r of what is seen, w x h, as it lies in the upright picture. */
static iip_rect back(iip_rect r, int64_t w, int64_t h, pose a)
{
    int64_t swap;

    for (int i = 0; i < a.q; i++) { /* a quarter back, counterclockwise */
        r = (iip_rect){r.y, w - r.x - r.w, r.h, r.w};
        swap = w;
        w = h;
        h = swap;
    }
    if (a.mirror)
        r.x = w - r.x - r.w;
    return r;
}

/* ---- sizes ---- */

static int64_t whole(double v)
{
    return v >= 1 ? (int64_t)floor(v + 0.5) : 1;
}

typedef struct {
    double x, y, w, h;
} box;

typedef struct {
    double x, y;
} pair;

/* Where a part of p pixels begins within all; unit: pixels of `all` that one of the offset makes. */
static double begin(const iip_gravity *g, int vertical, double all, double p, double unit)
{
    const double at = vertical ? g->y : g->x, off = vertical ? g->dy : g->dx;
    const double by = fabs(off) < 1 ? off * all : off * unit, spare = all - p;
    double v;

    if (g->kind == IIP_THUMB_SMART)
        v = spare / 2;
    else if (g->kind == IIP_THUMB_FOCUS)
        v = at * all - p / 2;
    else
        v = at * spare + (at == 1 ? -by : by);
    return v < 0 ? 0 : v > spare ? spare : v;
}

/* How many times larger the answer is than the part, across and down. */
static pair scale_of(const iip_thumb *t, double w, double h, int grow)
{
    const double want_w = t->w ? (double)t->w : w, want_h = t->h ? (double)t->h : h;
    pair s = {want_w / w, want_h / h};
    iip_thumb_type type = t->type;

    if (type == IIP_THUMB_AUTO)
        type = (w >= h) == (want_w >= want_h) ? IIP_THUMB_FILL : IIP_THUMB_FIT;
    if (type != IIP_THUMB_FORCE && !t->w)
        s.x = t->h ? s.y : 1;
    if (type != IIP_THUMB_FORCE && !t->h)
        s.y = s.x;
    if (type == IIP_THUMB_FIT)
        s.x = s.y = s.x < s.y ? s.x : s.y;
    else if (type != IIP_THUMB_FORCE)
        s.x = s.y = s.x > s.y ? s.x : s.y;
    s.x *= t->dpr;
    s.y *= t->dpr;
    if (!grow) {
        const double over = s.x > s.y ? s.x : s.y;

        if (over > 1) {
            s.x /= over;
            s.y /= over;
        }
    }
    return s;
}

/* The size that is asked, no larger than the scaled picture; fill-down keeps the shape that is asked. */
static void cut_to_size(const iip_thumb *t, int64_t *w, int64_t *h)
{
    const double rw = t->w ? (double)t->w * t->dpr : (double)*w, rh = t->h ? (double)t->h * t->dpr : (double)*h;
    const double over_w = rw / (double)*w, over_h = rh / (double)*h;
    int64_t to_w = whole(rw), to_h = whole(rh);

    if (t->type == IIP_THUMB_FILL_DOWN && over_w > over_h && over_w > 1)
        to_h = whole((double)*w * rh / rw);
    else if (t->type == IIP_THUMB_FILL_DOWN && over_h > over_w && over_h > 1)
        to_w = whole((double)*h * rw / rh);
    *w = to_w < *w ? to_w : *w;
    *h = to_h < *h ? to_h : *h;
}

/* The part of w x h pixels that `crop` leaves. */
static box cropped(const iip_thumb *t, const iip_gravity *g, double w, double h)
{
    const double cw = t->crop_w < 1 ? t->crop_w * w : t->crop_w, ch = t->crop_h < 1 ? t->crop_h * h : t->crop_h;
    box b = {0, 0, w, h};

    if (t->crop_w > 0 && cw < w)
        b.w = (double)whole(cw);
    if (t->crop_h > 0 && ch < h)
        b.h = (double)whole(ch);
    b.x = floor(begin(g, 0, w, b.w, 1) + 0.5);
    b.y = floor(begin(g, 1, h, b.h, 1) + 0.5);
    return b;
}

/* On whole pixels, inside of the box. */
static iip_rect snapped(double x, double y, double w, double h, const box *in)
{
    iip_rect r = {(int64_t)floor(in->x + x + 0.5), (int64_t)floor(in->y + y + 0.5), whole(w), whole(h)};
    const int64_t right = (int64_t)(in->x + in->w), low = (int64_t)(in->y + in->h);

    r.w = r.w < (int64_t)in->w ? r.w : (int64_t)in->w;
    r.h = r.h < (int64_t)in->h ? r.h : (int64_t)in->h;
    r.x = r.x + r.w > right ? right - r.w : r.x;
    r.y = r.y + r.h > low ? low - r.h : r.y;
    return r;
}

/* What is around the picture of w x h. */
static iip_rect frame_of(const iip_thumb *t, int64_t w, int64_t h)
{
    const double ew = (double)t->w * t->dpr, eh = (double)t->h * t->dpr;
    iip_rect f = {0, 0, w, h};
    int64_t pad[4], have = 0;

    if (t->extend) {
        f.w = t->w && whole(ew) > w ? whole(ew) : w;
        f.h = t->h && whole(eh) > h ? whole(eh) : h;
        f.x = (int64_t)floor(begin(&t->extend_gravity, 0, (double)f.w, (double)w, t->dpr) + 0.5);
        f.y = (int64_t)floor(begin(&t->extend_gravity, 1, (double)f.h, (double)h, t->dpr) + 0.5);
    }
    for (int i = 0; i < 4; i++)
        have |= pad[i] = (int64_t)floor(t->pad[i] * t->dpr + 0.5);
    if (have)
        f = (iip_rect){f.x + pad[3], f.y + pad[0], f.w + pad[1] + pad[3], f.h + pad[0] + pad[2]};
    return f.w != w || f.h != h ? f : (iip_rect){0, 0, 0, 0};
}

/* ---- all of it ---- */

static void set_region(iip_request *rq, iip_rect r, int64_t w, int64_t h)
{
    const int64_t region[4] = {r.x, r.y, r.w, r.h};

    rq->region_kind = IIP_REGION_PIXELS;
    for (int i = 0; i < 4; i++)
        rq->region[i] = (iip_decimal){region[i], 0};
    rq->size_kind = IIP_SIZE_EXACT;
    rq->size[0] = (iip_decimal){w, 0};
    rq->size[1] = (iip_decimal){h, 0};
    rq->grow = IIP_GROW_ASK;
    rq->over = IIP_OVER_REFUSE;
}

iip_status iip_thumb_place(const iip_thumb *t, iip_request *rq, const iip_info *info, const iip_limits *lim,
                           apr_pool_t *p, iip_error *e)
{
    const pose seen = pose_of(t, info);
    const int lies = seen.q & 1;
    const int64_t W = lies ? iip_info_h(info) : iip_info_w(info), H = lies ? iip_info_w(info) : iip_info_h(info);
    const iip_gravity *crop_gravity = t->crop_own ? &t->crop_gravity : &t->gravity;
    const box in = cropped(t, crop_gravity, (double)W, (double)H);
    const pair s = scale_of(t, in.w, in.h, t->enlarge && iip_limits_grow(lim));
    int64_t w, h, all_w, all_h;
    double pw, ph;
    const float args[2] = {(float)(t->blur * t->dpr), (float)(t->sharpen * t->dpr)};
    iip_rect part;
    iip_status rv = IIP_OK;

    if (in.w * s.x > IIP_MAX_SIDE || in.h * s.y > IIP_MAX_SIDE)
        return iip_refuse(e, IIP_E_LIMIT, "size");
    w = whole(in.w * s.x);
    h = whole(in.h * s.y);
    all_w = w;
    all_h = h;
    cut_to_size(t, &w, &h);
    /* A side that is not cut is all of it, however it was rounded */
    pw = w < all_w ? (double)w / s.x : in.w;
    ph = h < all_h ? (double)h / s.y : in.h;
    part = snapped(begin(&t->gravity, 0, in.w, pw, 1 / s.x * t->dpr), begin(&t->gravity, 1, in.h, ph, 1 / s.y * t->dpr),
                   pw, ph, &in);
    if (t->crop_own && t->crop_gravity.kind == IIP_THUMB_SMART && (part.w < W || part.h < H))
        rq->within = (iip_rect){0, 0, W, H};
    else if (t->gravity.kind == IIP_THUMB_SMART && !t->crop_own && (part.w < W || part.h < H))
        rq->within = (iip_rect){0, 0, W, H};
    else if (t->gravity.kind == IIP_THUMB_SMART && (part.w < (int64_t)in.w || part.h < (int64_t)in.h))
        rq->within = (iip_rect){(int64_t)in.x, (int64_t)in.y, (int64_t)in.w, (int64_t)in.h};
    if (rq->within.w)
        rq->within = back(rq->within, W, H, seen);
    rq->frame = frame_of(t, w, h);
    set_region(rq, back(part, W, H, seen), lies ? h : w, lies ? w : h);
    rq->flip = seen.mirror;
    rq->rotate = 90 * seen.q;
    rq->ground = t->background < 0 ? 0 : IIP_GROUND | t->background;
    rq->textless = t->strip;
    if (args[0] > 0)
        rv = iip_op_add(rq, IIP_OP_BLUR, 1, &args[0], p, e);
    if (rv == IIP_OK && args[1] > 0)
        rv = iip_op_add(rq, IIP_OP_SHARPEN, 1, &args[1], p, e);
    return rv;
}
