/* SPDX-License-Identifier: Apache-2.0
 * Names of results: the tags in a destination (spec/imgserve.md section 4). */
#include "job.h"
#include "path.h"
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <apr_strings.h>

void job_name_split(const char *url, const char **basename, const char **ext, apr_pool_t *p)
{
    const char *path = strstr(url, "://"), *end, *name, *dot;

    path = path ? path + 3 : url;
    end = path + strcspn(path, "?#");
    name = end;
    while (name > path && name[-1] != '/')
        name--;
    if (name == path) /* a host alone */
        name = end;
    name = apr_pstrmemdup(p, name, (size_t)(end - name));
    if (iip_path_decode(name, strlen(name), p))
        name = iip_path_decode(name, strlen(name), p);
    dot = strrchr(name, '.');
    if (!dot || dot == name)
        dot = name + strlen(name);
    *basename = apr_pstrmemdup(p, name, (size_t)(dot - name));
    *ext = *dot ? dot + 1 : "";
}

iip_format job_format_by_ext(const char *ext)
{
    static const struct {
        const char *ext;
        iip_format format;
    } known[] = {
        {"jpg", IIP_FMT_JPEG},  {"jpeg", IIP_FMT_JPEG}, {"png", IIP_FMT_PNG},  {"gif", IIP_FMT_GIF},
        {"webp", IIP_FMT_WEBP}, {"avif", IIP_FMT_AVIF}, {"tif", IIP_FMT_TIFF}, {"tiff", IIP_FMT_TIFF},
    };

    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (strcasecmp(ext, known[i].ext) == 0)
            return iip_encoder_find(known[i].format) ? known[i].format : IIP_FMT_NONE;
    return IIP_FMT_NONE;
}

/* Everything but what RFC 3986 calls unreserved */
static const char *encoded(const char *s, apr_pool_t *p)
{
    static const char hex[] = "0123456789ABCDEF";
    char *out = apr_palloc(p, 3 * strlen(s) + 1), *o = out;

    for (; *s; s++) {
        const unsigned char c = (unsigned char)*s;

        if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || strchr("-._~", c)) {
            *o++ = *s;
        } else {
            *o++ = '%';
            *o++ = hex[c >> 4];
            *o++ = hex[c & 15];
        }
    }
    *o = '\0';
    return out;
}

const char *job_tags_expand(const char *text, const job_tags *t, int encode, apr_pool_t *p)
{
    const char *colon = strrchr(text, ':'), *at = colon ? colon + 1 : text;
    const char *width = apr_itoa(p, t->width), *height = apr_itoa(p, t->height);
    const struct {
        const char *tag, *value;
    } tags[] = {
        {"{$width}", width},      {"{$height}", height}, {"{$basename}", t->basename},
        {"{$extension}", t->ext}, {"{$ext}", t->ext},
    };
    const size_t count = sizeof tags / sizeof *tags;
    const char *out = apr_pstrmemdup(p, text, (size_t)(at - text));

    while (*at) {
        const char *next = strstr(at, "{$");
        size_t i;

        if (!next)
            return apr_pstrcat(p, out, at, NULL);
        out = apr_pstrcat(p, out, apr_pstrmemdup(p, at, (size_t)(next - at)), NULL);
        for (i = 0; i < count && strncmp(next, tags[i].tag, strlen(tags[i].tag)) != 0; i++)
            ;
        out = apr_pstrcat(p, out, i == count ? "{$" : encode ? encoded(tags[i].value, p) : tags[i].value, NULL);
        at = next + (i == count ? 2 : strlen(tags[i].tag));
        if (strlen(out) > JOB_MAX_TEXT)
            return out; /* refused by its length: no need to go on copying */
    }
    return out;
}
