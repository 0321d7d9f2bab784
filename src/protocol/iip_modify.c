/* SPDX-License-Identifier: Apache-2.0
 * Commands that change what a later one sends: one row and one function each. What is no argument of a command leaves
 * the answer as it was (old pages rely on it), what is no finite number is refused. */
#include "iip.h"
#include "ops.h"
#include "settings.h"
#include <math.h>
#include <string.h>
#include <strings.h>
#include <apr_lib.h>
#include <apr_strings.h>

#define ROWS(a) (sizeof(a) / sizeof *(a))

static iip_status not_finite(iip_reading *c)
{
    return iip_refuse_iip(c->e, IIP_E_SYNTAX, "2 1", c->offender, c->p);
}

/* Every operation says what is wrong by the command that asked for it. */
static iip_status add(iip_reading *c, iip_op_kind kind, int argc, const float *arg)
{
    iip_status rv = iip_op_add(c->rq, kind, argc, arg, c->p, c->e);

    return rv == IIP_OK ? IIP_OK : iip_refuse_iip(c->e, rv, "2 1", c->offender, c->p);
}

/* Up to most reals with one of sep between them, into v; n: how many. 1, 0: something else stands there, -1. */
static int read_reals(const char *s, const char *sep, float *v, int most, int *n)
{
    double d;
    int rv;

    for (*n = 0; *n < most;) {
        if ((rv = iip_read_real(&s, &d)) != 1)
            return rv;
        if (fabs(d) > 3e38)
            return -1;
        v[(*n)++] = (float)d;
        while (*s == ' ')
            s++;
        if (!*s)
            return 1;
        if (!strchr(sep, *s++))
            return 0;
    }
    return 0;
}

/* ---- size and place of a view ---- */

/* Whole numbers; what is none, 0 and less ask for nothing. */
static int64_t side(const char *s)
{
    int64_t v;

    if (*s == '+')
        s++;
    return !iip_read_count(&s, &v) ? 0 : v < IIP_MAX_SIDE ? v : IIP_MAX_SIDE;
}

static iip_status do_wid(iip_reading *c, const char *s)
{
    c->a->width = side(s);
    return IIP_OK;
}

static iip_status do_hei(iip_reading *c, const char *s)
{
    c->a->height = side(s);
    return IIP_OK;
}

static int64_t within(int64_t v, int64_t lo, int64_t hi)
{
    return v < lo ? lo : v > hi ? hi : v;
}

static iip_status do_rgn(iip_reading *c, const char *s)
{
    int64_t v[4];

    for (int i = 0; i < 4; i++) {
        int rv = i > 0 && *s++ != ',' ? 0 : iip_read_fraction(&s, &v[i]);

        if (rv < 0)
            return not_finite(c);
        if (rv == 0)
            return IIP_OK;
        s += strspn(s, " ");
    }
    if (v[2] <= 0 || v[3] <= 0)
        return IIP_OK;
    c->a->has_region = 1;
    c->a->left = within(v[0], 0, IIP_WHOLE);
    c->a->top = within(v[1], 0, IIP_WHOLE);
    c->a->across = within(v[2], 0, IIP_WHOLE - c->a->left);
    c->a->down = within(v[3], 0, IIP_WHOLE - c->a->top);
    return IIP_OK;
}

/* 90, 180, 270 in either direction, any number of times; "!": mirrored before. */
static iip_status do_rot(iip_reading *c, const char *s)
{
    double d;
    int flip = *s == '!', rv;

    s += flip;
    rv = iip_read_real(&s, &d);
    if (rv < 0)
        return not_finite(c);
    if (rv == 0 || fmod(d, 90) != 0)
        return IIP_OK;
    d = fmod(d, 360);
    c->rq->flip = flip;
    c->rq->rotate = d < 0 ? d + 360 : d;
    return IIP_OK;
}

/* ---- which picture ---- */

/* h[,v]; one viewer writes "SDS=" twice. */
static iip_status do_sds(iip_reading *c, const char *s)
{
    int64_t h, v = 90;

    if (!strncasecmp(s, "SDS=", 4))
        s += 4;
    if (!iip_read_count(&s, &h) || (*s == ',' && (s++, !iip_read_count(&s, &v))) || *s)
        return iip_refuse_iip(c->e, IIP_E_SYNTAX, "2 1", c->offender, c->p);
    c->rq->angle_h = (int)within(h, 0, IIP_MAX_SIDE);
    c->rq->angle_v = (int)within(v, 0, IIP_MAX_SIDE);
    return IIP_OK;
}

static iip_status do_lyr(iip_reading *c, const char *s)
{
    int64_t n;

    c->rq->layers = iip_read_count(&s, &n) && n > 0 ? (int)within(n, 1, 65535) : -1;
    return IIP_OK;
}

/* ---- the encoder ---- */

/* n or codec:n; what is no number is as if it had not been written. */
static iip_status do_qlt(iip_reading *c, const char *s)
{
    const char *colon = strchr(s, ':');
    int rv;

    c->coding = colon ? apr_pstrmemdup(c->p, s, (size_t)(colon - s)) : NULL;
    s = colon ? colon + 1 : s;
    rv = iip_read_real(&s, &c->quality);
    c->has_quality = rv == 1;
    return rv < 0 ? not_finite(c) : IIP_OK;
}

void iip_modify_quality(iip_reading *c)
{
    static const struct {
        const char *name;
        int coding;
    } codings[] = {{"lzw", IIP_TIFF_LZW},
                   {"deflate", IIP_TIFF_DEFLATE},
                   {"jpeg", IIP_TIFF_JPEG},
                   {"webp", IIP_TIFF_WEBP},
                   {"zstd", IIP_TIFF_ZSTD}};
    const iip_encoder *enc = iip_encoder_find(c->rq->format);
    iip_settings *set;
    double q = c->quality;

    if (c->coding && c->rq->format == IIP_FMT_TIFF) {
        set = apr_pmemdup(c->p, c->rq->set, sizeof *set);
        set->tiff_compression = IIP_TIFF_NONE;
        for (size_t i = 0; i < ROWS(codings); i++)
            if (!strcasecmp(codings[i].name, c->coding))
                set->tiff_compression = codings[i].coding;
        c->rq->set = set;
    }
    if (!c->has_quality || !enc)
        return;
    if (c->rq->format == IIP_FMT_AVIF && q < 0)
        q = enc->q_max; /* lossless */
    c->rq->quality = (int)(q < enc->q_min ? enc->q_min : q > enc->q_max ? enc->q_max : q);
    c->rq->recode = 1;
}

/* ---- values and colours ---- */

/* "c:lo,hi" counts channels from 0, "-" is all of them; "c,lo,hi" is an older form that counts from 1. */
static iip_status do_minmax(iip_reading *c, const char *s)
{
    const char *colon = strchr(s, ':');
    float v[3];
    int n, rv = 0;

    if (!c->image)
        return iip_refuse_iip(c->e, IIP_E_SYNTAX, "1 3", c->offender, c->p);
    if (colon) {
        int64_t channel = -1;
        const char *at = s;

        if (!(*s == '-' && colon == s + 1) && (!iip_read_count(&at, &channel) || at != colon))
            return IIP_OK;
        v[0] = (float)within(channel, -1, 1 << 20);
        if ((rv = read_reals(colon + 1, ",", v + 1, 2, &n)) == 1)
            rv = n == 2;
    } else if ((rv = read_reals(s, ",", v, 3, &n)) == 1) {
        rv = n == 3 && v[0] >= 1;
        v[0] -= 1;
    }
    if (rv < 0)
        return not_finite(c);
    return rv ? add(c, IIP_OP_MINMAX, 3, v) : IIP_OK;
}

/* A number, or a word that stands for an operation without arguments. */
typedef struct {
    const char *name;
    iip_op_kind kind;
} word;

static iip_status number_or_word(iip_reading *c, const char *s, iip_op_kind kind, const word *words, size_t count)
{
    float v;
    int n, rv;

    for (size_t i = 0; i < count; i++)
        if (!strcasecmp(s, words[i].name))
            return add(c, words[i].kind, 0, NULL);
    rv = read_reals(s, "", &v, 1, &n);
    if (rv < 0)
        return not_finite(c);
    return rv ? add(c, kind, 1, &v) : IIP_OK;
}

static iip_status do_cnt(iip_reading *c, const char *s)
{
    static const word words[] = {{"stretch", IIP_OP_STRETCH},
                                 {"st", IIP_OP_STRETCH},
                                 {"eq", IIP_OP_EQUALIZE},
                                 {"equalization", IIP_OP_EQUALIZE}};

    return number_or_word(c, s, IIP_OP_CONTRAST, words, ROWS(words));
}

static iip_status do_gam(iip_reading *c, const char *s)
{
    static const word words[] = {{"log", IIP_OP_LOG}, {"logarithm", IIP_OP_LOG}};

    return number_or_word(c, s, IIP_OP_GAMMA, words, ROWS(words));
}

static iip_status do_col(iip_reading *c, const char *s)
{
    static const word words[] = {{"grey", IIP_OP_GRAY}, {"gray", IIP_OP_GRAY}, {"binary", IIP_OP_BINARY}};

    for (size_t i = 0; i < ROWS(words); i++)
        if (!strcasecmp(s, words[i].name))
            return add(c, words[i].kind, 0, NULL);
    return IIP_OK;
}

static iip_status do_inv(iip_reading *c, const char *s)
{
    return add(c, IIP_OP_INVERT, 0, NULL);
}

static iip_status do_shd(iip_reading *c, const char *s)
{
    float v[3];
    int n, rv = read_reals(s, ",", v, 3, &n);

    if (rv < 0)
        return not_finite(c);
    return rv && n >= 2 ? add(c, IIP_OP_SHADE, n, v) : IIP_OK;
}

/* What is no map takes away the one before it. */
static iip_status do_cmp(iip_reading *c, const char *s)
{
    float v = (float)iip_cmap_find(s);

    return add(c, IIP_OP_CMAP, 1, &v);
}

/* Without its brackets, if it has them. */
static const char *bare(const char *s, apr_pool_t *p)
{
    size_t n;

    s += strspn(s, " [");
    n = strlen(s);
    while (n && strchr(" ]", s[n - 1]))
        n--;
    return apr_pstrmemdup(p, s, n);
}

/* Rows behind each other; a short one ends in zeros. */
static iip_status do_ctw(iip_reading *c, const char *s)
{
    const int most = IIP_MAX_ROWS * IIP_MAX_COLS;
    float *v = apr_pcalloc(c->p, sizeof *v * (size_t)(2 * most + 2)), *m = v + most;
    int cols = 0, rows = 0;

    s = bare(s, c->p);
    while (*s && rows < IIP_MAX_ROWS) {
        size_t length = strcspn(s, ";");
        int n, rv;

        rv = read_reals(apr_pstrmemdup(c->p, s, length), ",", v + rows * IIP_MAX_COLS, IIP_MAX_COLS, &n);
        if (rv < 0)
            return not_finite(c);
        if (rv == 0)
            return n == IIP_MAX_COLS ? iip_refuse_iip(c->e, IIP_E_LIMIT, "2 1", c->offender, c->p) : IIP_OK;
        cols = n > cols ? n : cols;
        rows++;
        s += length + (s[length] == ';');
    }
    if (*s)
        return iip_refuse_iip(c->e, IIP_E_LIMIT, "2 1", c->offender, c->p);
    if (!rows)
        return IIP_OK;
    m[0] = (float)rows;
    m[1] = (float)cols;
    for (int y = 0; y < rows; y++)
        memcpy(m + 2 + y * cols, v + y * IIP_MAX_COLS, sizeof *m * (size_t)cols);
    return add(c, IIP_OP_TWIST, 2 + rows * cols, m);
}

static iip_status do_cnv(iip_reading *c, const char *s)
{
    float v[2 + IIP_MAX_KERNEL * IIP_MAX_KERNEL];
    const float *named;
    int n, rv;

    s = bare(s, c->p);
    if ((n = iip_kernel_find(s, &named)) > 0)
        return add(c, IIP_OP_CONVOLVE, n, named);
    rv = read_reals(s, ",;", v + 1, (int)ROWS(v) - 1, &n);
    if (rv < 0)
        return not_finite(c);
    for (int k = 1; rv && k <= IIP_MAX_KERNEL; k += 2)
        if (n == k * k) {
            v[0] = (float)k;
            return add(c, IIP_OP_CONVOLVE, 1 + n, v);
        }
    return IIP_OK;
}

static iip_status do_nothing(iip_reading *c, const char *s)
{
    return IIP_OK;
}

static const struct {
    const char *name;
    iip_command_fn *run;
} rows[] = {
    {"WID", do_wid}, {"HEI", do_hei}, {"RGN", do_rgn},       {"ROT", do_rot}, {"QLT", do_qlt},     {"SDS", do_sds},
    {"LYR", do_lyr}, {"CNT", do_cnt}, {"MINMAX", do_minmax}, {"GAM", do_gam}, {"SHD", do_shd},     {"CMP", do_cmp},
    {"INV", do_inv}, {"CTW", do_ctw}, {"COL", do_col},       {"CNV", do_cnv}, {"ICC", do_nothing},
};

iip_command_fn *iip_modifier_find(const char *name, size_t length)
{
    for (size_t i = 0; i < ROWS(rows); i++)
        if (apr_toupper(*name) == *rows[i].name && strlen(rows[i].name) == length &&
            !strncasecmp(name, rows[i].name, length))
            return rows[i].run;
    return NULL;
}
