/* SPDX-License-Identifier: Apache-2.0
 * Signed thumbnails in the dialect of imgproxy (spec/imgserve.md section 13): who may ask, what is asked, in which
 * format it is answered. Only pictures beneath IIPThumbRoot. */
#include "thumb.h"
#include "accept.h"
#include "name.h"
#include "path.h"
#include <string.h>
#include <apr_strings.h>

#define MOST_OPTIONS     64
#define MOST_AVIF_PIXELS 2000000 /* of an answer: encoding takes seconds above it */

typedef struct {
    iip_thumb options;
    int negotiate; /* neither extension nor option names the format */
} asked;

/* ---- the name ---- */

/* Text behind "plain/" or the base64: the name without "local://" and without the extension; NULL: there is none. */
static const char *read_name(const iip_input *in, const char *s, const char **ext, apr_pool_t *p)
{
    const char *name, *end, *mark;
    const int plain = strncmp(s, "plain/", 6) == 0;
    size_t n;

    if (plain)
        s += 6;
    end = s + strlen(s);
    for (mark = end; mark > s && mark[-1] != (plain ? '@' : '.'); mark--)
        ;
    *ext = mark > s && *mark ? mark : NULL;
    if (mark > s)
        end = mark - 1;
    if (plain) {
        name = iip_path_decode(s, (size_t)(end - s), p);
    } else {
        char *all = apr_palloc(p, (size_t)(end - s) + 1), *to = all;

        for (; s < end; s++) /* clients may break it into pieces */
            if (*s != '/')
                *to++ = *s;
        name = (const char *)iip_thumb_base64(all, (size_t)(to - all), &n, p);
        if (name && strlen(name) != n)
            return NULL;
    }
    if (name && strncmp(name, "local:/", 7) == 0) /* httpd makes one slash of several */
        for (name += 6; *name == '/'; name++)
            ;
    if (name && in->set->root && in->set->root->absolute)
        name = iip_path_below(in->set->root->path, name);
    return name && iip_path_good(name) ? name : NULL;
}

/* ---- who may ask ---- */

/* Without a key there are the administrator's own options, and no others. */
static int is_preset(const iip_preset *list, const char *options, size_t n)
{
    static const char *const words[] = {"pr:", "preset:"};

    for (; list; list = list->next) {
        if (strlen(list->options) == n && memcmp(list->options, options, n) == 0)
            return 1;
        for (int i = 0; i < 2; i++) {
            const size_t k = strlen(words[i]);

            if (n > k && memcmp(options, words[i], k) == 0 && strlen(list->name) == n - k &&
                memcmp(options + k, list->name, n - k) == 0)
                return 1;
        }
    }
    return 0;
}

/* at: behind the signature of n octets. The path as the client wrote it counts too: httpd takes doubled slashes out. */
static int is_signed(const iip_input *in, const char *at, size_t n)
{
    const iip_thumb_keys *keys = in->set->thumb_keys;
    int good = iip_thumb_signed(keys, in->path + 1, n, at);

    if (in->written && in->written[0] == '/' && strlen(in->written) > n + 1 && in->written[n + 1] == '/' &&
        memcmp(in->written + 1, in->path + 1, n) == 0)
        good |= iip_thumb_signed(keys, in->written + 1, n, in->written + 1 + n);
    return good;
}

/* ---- what is asked ---- */

static iip_status thumb_parse(const iip_input *in, iip_request *rq, iip_want *want, apr_pool_t *p, iip_error *e)
{
    const iip_settings *set = in->set;
    const char *at, *options, *ext, *path = in->path;
    asked *a = apr_pcalloc(p, sizeof *a);
    size_t sign;
    int count = 0;
    iip_status rv;

    *want = IIP_WANT_IMAGE;
    sign = *path == '/' ? strcspn(path + 1, "/") : 0;
    if (!sign || !path[1 + sign])
        return iip_refuse(e, IIP_E_NOT_FOUND, NULL);
    at = path + 1 + sign;
    if (set->thumb_keys && !is_signed(in, at, sign))
        return iip_refuse(e, IIP_E_FORBIDDEN, NULL);
    options = ++at;
    iip_thumb_init(&a->options);
    /* Options have a colon, and a plain name has its word in front */
    for (;;) {
        const size_t n = strcspn(at, "/");

        if (!memchr(at, ':', n) || !at[n])
            break;
        if (++count > MOST_OPTIONS)
            return iip_refuse(e, IIP_E_NOT_FOUND, NULL);
        at += n + 1;
    }
    if (!set->thumb_keys && (strncmp(path + 1, "unsafe/", sign + 1) != 0 || at == options ||
                             !is_preset(set->thumb_presets, options, (size_t)(at - options) - 1)))
        return iip_refuse(e, IIP_E_FORBIDDEN, NULL);
    if (at > options) {
        const char *text = apr_pstrmemdup(p, options, (size_t)(at - options) - 1);

        if ((rv = iip_thumb_options(&a->options, text, set->thumb_presets, p, e)) != IIP_OK)
            return rv;
    }
    if (a->options.expires && apr_time_sec(in->now) > a->options.expires)
        return iip_refuse(e, IIP_E_NOT_FOUND, NULL);
    if (!(rq->name = read_name(in, at, &ext, p)))
        return iip_refuse(e, IIP_E_NOT_FOUND, NULL);
    if (ext && !(a->options.into = iip_encoder_by_ext(strcmp(ext, "jpeg") ? ext : "jpg")))
        return iip_refuse(e, IIP_E_SYNTAX, "format");
    a->negotiate = !a->options.into;
    rq->asked = a;
    return IIP_OK;
}

/* ---- the format ---- */

/* Pixels of the answer; place() knows them before resolve() does. */
static double pixels(const iip_request *rq)
{
    return rq->frame.w ? (double)rq->frame.w * (double)rq->frame.h : (double)rq->size[0].num * (double)rq->size[1].num;
}

/* The best that the client names, else what everybody has. */
static const iip_encoder *by_accept(const iip_input *in, const iip_request *rq, const iip_info *info)
{
    static const iip_format good[] = {IIP_FMT_AVIF, IIP_FMT_WEBP};
    const int clear = info->alpha && info->bands > 1 && !rq->ground;

    for (int i = 0; i < 2; i++) {
        const iip_encoder *enc = iip_encoder_find(good[i]);
        iip_accept a;

        if (!enc || (enc->format == IIP_FMT_AVIF && pixels(rq) > MOST_AVIF_PIXELS))
            continue;
        a = iip_accept_type(in->accept, enc->mime);
        if (a.named && a.quality > 0)
            return enc;
    }
    return iip_encoder_find(clear ? IIP_FMT_PNG : IIP_FMT_JPEG);
}

static iip_status thumb_place(const iip_input *in, iip_request *rq, const iip_info *info, const iip_limits *lim,
                              apr_pool_t *p, iip_error *e)
{
    const asked *a = rq->asked;
    const iip_encoder *enc = a->options.into;
    iip_status rv = iip_thumb_place(&a->options, rq, info, lim, p, e);

    if (rv != IIP_OK)
        return rv;
    if (a->negotiate) {
        enc = by_accept(in, rq, info);
        rq->negotiated = 1;
    } else if (enc->format == IIP_FMT_AVIF && pixels(rq) > MOST_AVIF_PIXELS) {
        return iip_refuse(e, IIP_E_LIMIT, "size");
    }
    rq->format = enc->format;
    /* From 1 to 100 in every format: what has another scale keeps the place's */
    rq->quality =
        enc->q_max == 100 && enc->format != IIP_FMT_JP2 && a->options.quality >= enc->q_min ? a->options.quality : -1;
    rq->recode = rq->quality >= 0;
    return IIP_OK;
}

/* Never mapped: there is a root, or nothing. */
static size_t thumb_tail(const char *path)
{
    return 0;
}

extern const iip_protocol iip_protocol_thumb;
const iip_protocol iip_protocol_thumb = {
    .handler = "thumb-handler",
    .methods = "GET, HEAD, OPTIONS",
    .thumbs = 1,
    .parse = thumb_parse,
    .place = thumb_place,
    .complain = iip_complain_text,
    .tail = thumb_tail,
};
