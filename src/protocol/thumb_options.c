/* SPDX-License-Identifier: Apache-2.0
 * The options of a thumbnail: a table of names, each with what it takes. */
#include "thumb.h"
#include <math.h>
#include <string.h>
#include <apr_lib.h>
#include <apr_strings.h>

#define MOST_ARGS 8
#define MOST_SIDE 1000000
#define MOST_BLUR 64 /* sigma, dpr in it */

typedef struct {
    const char *arg[MOST_ARGS];
    int n;
    const iip_preset *presets;
    apr_pool_t *pool;
    iip_error *e;
} call;

void iip_thumb_init(iip_thumb *t)
{
    static const iip_gravity middle = {IIP_THUMB_ANCHOR, 0.5, 0.5, 0, 0};

    *t = (iip_thumb){.gravity = middle, .extend_gravity = middle, .crop_gravity = middle};
    t->upright = t->strip = 1;
    t->background = t->quality = -1;
    t->dpr = 1;
}

/* ---- values ---- */

/* A plain decimal, [-]digits[.digits]; no locale has a say in it. */
static int read_number(const char *s, double least, double most, double *v)
{
    const int minus = *s == '-';
    int64_t n = 0, unit = 1;
    int digits = 0;

    for (s += minus; apr_isdigit(*s) && digits < 15; s++, digits++)
        n = n * 10 + (*s - '0');
    if (*s == '.')
        for (s++; apr_isdigit(*s) && digits < 15; s++, digits++, unit *= 10)
            n = n * 10 + (*s - '0');
    *v = (double)(minus ? -n : n) / (double)unit;
    return !*s && digits > 0 && *v >= least && *v <= most;
}

static int read_whole(const char *s, int64_t least, int64_t most, int64_t *v)
{
    double d;

    if (!read_number(s, (double)least, (double)most, &d) || d != floor(d))
        return 0;
    *v = (int64_t)d;
    return 1;
}

/* An argument that is not given, or empty, leaves what was. */
static int given(const call *c, int i)
{
    return i < c->n && *c->arg[i];
}

static int side(const call *c, int i, int64_t *v)
{
    return !given(c, i) || read_whole(c->arg[i], 0, MOST_SIDE, v);
}

static int number(const call *c, int i, double least, double most, double *v)
{
    return !given(c, i) || read_number(c->arg[i], least, most, v);
}

static int flag(const call *c, int i, int *v)
{
    static const char *const words[] = {"0", "f", "false", "1", "t", "true"};

    if (!given(c, i))
        return 1;
    for (int k = 0; k < 6; k++)
        if (strcmp(c->arg[i], words[k]) == 0) {
            *v = k > 2;
            return 1;
        }
    return 0;
}

/* "no:10:20", "fp:0.3:0.4", "sm": arguments from i on. smart: whether that may be */
static int gravity(const call *c, int i, int smart, iip_gravity *g)
{
    static const struct {
        const char *name;
        double x, y;
    } anchors[] = {{"ce", .5, .5}, {"no", .5, 0},  {"so", .5, 1},  {"ea", 1, .5}, {"we", 0, .5},
                   {"noea", 1, 0}, {"nowe", 0, 0}, {"soea", 1, 1}, {"sowe", 0, 1}};
    iip_gravity to = {IIP_THUMB_ANCHOR, .5, .5, 0, 0};

    if (!given(c, i))
        return 1;
    if (strcmp(c->arg[i], "sm") == 0) {
        to.kind = IIP_THUMB_SMART;
        *g = to;
        return smart && c->n == i + 1;
    }
    if (strcmp(c->arg[i], "fp") == 0) {
        to.kind = IIP_THUMB_FOCUS;
        *g = to;
        return c->n == i + 3 && given(c, i + 1) && given(c, i + 2) && number(c, i + 1, 0, 1, &g->x) &&
               number(c, i + 2, 0, 1, &g->y);
    }
    for (size_t k = 0; k < sizeof anchors / sizeof *anchors; k++)
        if (strcmp(c->arg[i], anchors[k].name) == 0) {
            to.x = anchors[k].x;
            to.y = anchors[k].y;
            *g = to;
            return c->n <= i + 3 && number(c, i + 1, -MOST_SIDE, MOST_SIDE, &g->dx) &&
                   number(c, i + 2, -MOST_SIDE, MOST_SIDE, &g->dy);
        }
    return 0;
}

/* ---- options: 1 if the arguments are good ---- */

static int type(iip_thumb *t, const call *c)
{
    static const char *const words[] = {"fit", "fill", "fill-down", "force", "auto"};

    if (!given(c, 0))
        return 1;
    for (int k = 0; k < 5; k++)
        if (strcmp(c->arg[0], words[k]) == 0) {
            t->type = (iip_thumb_type)k;
            return 1;
        }
    return 0;
}

static int extend_from(iip_thumb *t, const call *c, int i)
{
    return flag(c, i, &t->extend) && gravity(c, i + 1, 0, &t->extend_gravity);
}

/* w:h:enlarge:extend:gravity */
static int size_from(iip_thumb *t, const call *c, int i)
{
    return side(c, i, &t->w) && side(c, i + 1, &t->h) && flag(c, i + 2, &t->enlarge) && extend_from(t, c, i + 3);
}

static int resize(iip_thumb *t, const call *c)
{
    return type(t, c) && size_from(t, c, 1);
}

static int size(iip_thumb *t, const call *c)
{
    return size_from(t, c, 0);
}

static int width(iip_thumb *t, const call *c)
{
    return side(c, 0, &t->w);
}

static int height(iip_thumb *t, const call *c)
{
    return side(c, 0, &t->h);
}

static int enlarge(iip_thumb *t, const call *c)
{
    return flag(c, 0, &t->enlarge);
}

static int extend(iip_thumb *t, const call *c)
{
    return extend_from(t, c, 0);
}

static int main_gravity(iip_thumb *t, const call *c)
{
    return given(c, 0) && gravity(c, 0, 1, &t->gravity);
}

static int crop(iip_thumb *t, const call *c)
{
    t->crop_own = given(c, 2);
    return number(c, 0, 0, MOST_SIDE, &t->crop_w) && number(c, 1, 0, MOST_SIDE, &t->crop_h) &&
           gravity(c, 2, 1, &t->crop_gravity);
}

/* As in CSS: top, right, bottom, left; one that is not given is that of the side across */
static int padding(iip_thumb *t, const call *c)
{
    static const int across[4] = {0, 0, 0, 1};

    for (int i = 0; i < 4; i++) {
        if (!given(c, i))
            t->pad[i] = i ? t->pad[across[i]] : 0;
        else if (!read_number(c->arg[i], 0, MOST_SIDE, &t->pad[i]))
            return 0;
    }
    return 1;
}

static int auto_rotate(iip_thumb *t, const call *c)
{
    return flag(c, 0, &t->upright);
}

static int rotate(iip_thumb *t, const call *c)
{
    int64_t degrees;

    if (!read_whole(c->arg[0], -3600, 3600, &degrees) || degrees % 90)
        return 0;
    t->rotate = (int)((degrees % 360 + 360) % 360 / 90);
    return 1;
}

static int flip(iip_thumb *t, const call *c)
{
    return flag(c, 0, &t->flip_h) && flag(c, 1, &t->flip_v);
}

/* Nothing, RRGGBB or three numbers up to 255 */
static int background(iip_thumb *t, const call *c)
{
    int64_t v;
    int rgb = 0;

    if (c->n == 1 && !*c->arg[0]) {
        t->background = -1;
        return 1;
    }
    if (c->n == 1) {
        const char *s = c->arg[0];
        const size_t n = strlen(s);

        if ((n != 6 && n != 3) || strspn(s, "0123456789abcdefABCDEF") != n)
            return 0;
        rgb = (int)apr_strtoi64(s, NULL, 16);
        t->background = n == 6 ? rgb : (rgb >> 8) * 0x110000 | (rgb >> 4 & 15) * 0x1100 | (rgb & 15) * 0x11;
        return 1;
    }
    for (int i = 0; i < 3; i++) {
        if (!given(c, i) || !read_whole(c->arg[i], 0, 255, &v))
            return 0;
        rgb = rgb << 8 | (int)v;
    }
    t->background = rgb;
    return 1;
}

static int blur(iip_thumb *t, const call *c)
{
    return read_number(c->arg[0], 0, MOST_BLUR, &t->blur);
}

static int sharpen(iip_thumb *t, const call *c)
{
    return read_number(c->arg[0], 0, MOST_BLUR, &t->sharpen);
}

static int dpr(iip_thumb *t, const call *c)
{
    return read_number(c->arg[0], 0.1, 8, &t->dpr);
}

static int quality(iip_thumb *t, const call *c)
{
    int64_t q;

    if (!read_whole(c->arg[0], 0, 100, &q))
        return 0;
    t->quality = q ? (int)q : -1;
    return 1;
}

static int format(iip_thumb *t, const call *c)
{
    t->into = *c->arg[0] ? iip_encoder_by_ext(strcmp(c->arg[0], "jpeg") ? c->arg[0] : "jpg") : NULL;
    return t->into || !*c->arg[0] ? 1 : 0;
}

static int strip(iip_thumb *t, const call *c)
{
    return flag(c, 0, &t->strip);
}

static int expires(iip_thumb *t, const call *c)
{
    return read_whole(c->arg[0], 0, 99999999999, &t->expires);
}

/* Presets see those written before them only, so none comes back to itself. */
static int preset(iip_thumb *t, const call *c)
{
    for (int i = 0; i < c->n; i++) {
        const iip_preset *one = c->presets;

        while (one && strcmp(one->name, c->arg[i]))
            one = one->next;
        if (!one) {
            iip_refuse(c->e, IIP_E_NOT_FOUND, NULL);
            return 0;
        }
        if (iip_thumb_options(t, one->options, one->next, c->pool, c->e) != IIP_OK)
            return 0;
    }
    return 1;
}

static const struct {
    const char *name, *short_name;
    int most; /* arguments */
    int (*take)(iip_thumb *t, const call *c);
} options[] = {
    {"resize", "rs", 8, resize},
    {"resizing_type", "rt", 1, type},
    {"size", "s", 7, size},
    {"width", "w", 1, width},
    {"height", "h", 1, height},
    {"enlarge", "el", 1, enlarge},
    {"extend", "ex", 4, extend},
    {"gravity", "g", 3, main_gravity},
    {"crop", "c", 5, crop},
    {"padding", "pd", 4, padding},
    {"auto_rotate", "ar", 1, auto_rotate},
    {"rotate", "rot", 1, rotate},
    {"flip", "fl", 2, flip},
    {"background", "bg", 3, background},
    {"blur", "bl", 1, blur},
    {"sharpen", "sh", 1, sharpen},
    {"dpr", "dpr", 1, dpr},
    {"quality", "q", 1, quality},
    {"format", "f", 1, format},
    {"format", "ext", 1, format},
    {"strip_metadata", "sm", 1, strip},
    {"expires", "exp", 1, expires},
    {"preset", "pr", MOST_ARGS, preset},
};

iip_status iip_thumb_option(iip_thumb *t, const char *option, const iip_preset *presets, apr_pool_t *p, iip_error *e)
{
    char *text = apr_pstrdup(p, option), *colon = strchr(text, ':');
    call c = {.presets = presets, .pool = p, .e = e};

    if (!colon)
        return iip_refuse(e, IIP_E_NOT_FOUND, NULL);
    *colon = '\0';
    for (size_t i = 0; i < sizeof options / sizeof *options; i++) {
        if (strcmp(text, options[i].name) && strcmp(text, options[i].short_name))
            continue;
        while (colon) {
            if (c.n == options[i].most)
                return iip_refuse(e, IIP_E_SYNTAX, options[i].name);
            c.arg[c.n++] = colon + 1;
            if ((colon = strchr(colon + 1, ':')))
                *colon = '\0';
        }
        iip_refuse(e, IIP_OK, NULL);
        if (options[i].take(t, &c))
            return IIP_OK;
        return e->status != IIP_OK ? e->status : iip_refuse(e, IIP_E_SYNTAX, options[i].name);
    }
    return iip_refuse(e, IIP_E_NOT_FOUND, NULL);
}

iip_status iip_thumb_options(iip_thumb *t, const char *text, const iip_preset *presets, apr_pool_t *p, iip_error *e)
{
    iip_status rv = IIP_OK;

    for (;;) {
        const size_t n = strcspn(text, "/");

        if ((rv = iip_thumb_option(t, apr_pstrmemdup(p, text, n), presets, p, e)) != IIP_OK || !text[n])
            return rv;
        text += n + 1;
    }
}
