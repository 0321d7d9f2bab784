/* SPDX-License-Identifier: Apache-2.0
 * Names of pictures in paths, and the plain text of an error. */
#include "name.h"
#include "path.h"
#include <apr_strings.h>
#include <string.h>

#define MAX_SEGMENTS 48 /* a name that is refused for its length, not cut */
#define MAX_PART     64 /* of a page's scale (R51) */

const char *iip_name_read(const iip_input *in, const char *const *seg, int n, apr_pool_t *p)
{
    const iip_root *root = in->set->root;
    const char *name = NULL;

    for (int i = 0; i < n; i++) {
        const char *s = iip_path_decode_all(seg[i], p);

        if (!s)
            return NULL;
        name = name ? apr_pstrcat(p, name, "/", s, NULL) : s;
    }
    if (name && root && root->absolute)
        name = iip_path_below(root->path, name);
    return name && iip_path_good(name) ? name : NULL;
}

const char *iip_name_of_path(const iip_input *in, const char *path, int *slash, apr_pool_t *p)
{
    const char *seg[MAX_SEGMENTS];

    return iip_name_read(in, seg, iip_path_split(path, seg, MAX_SEGMENTS, slash, p), p);
}

const char *iip_name_url(const iip_input *in, const iip_request *rq, apr_pool_t *p)
{
    const char *name = in->mapped ? in->ident : rq->name, *out = "";

    for (;;) {
        size_t n = strcspn(name, "/");

        out = apr_pstrcat(p, out, iip_path_encode(apr_pstrmemdup(p, name, n), p), name[n] ? "/" : "", NULL);
        if (!name[n])
            return out;
        name += n + 1;
    }
}

/* A positive number as it is written in one way only, up to the end of the text or to *end. 0: it is none. */
static int64_t read_ordinal(const char *s, const char **end)
{
    const char *start = s;
    int64_t n = 0;

    while (*s >= '0' && *s <= '9' && s - start < 9)
        n = n * 10 + (*s++ - '0');
    *end = s == start || *start == '0' || (*s >= '0' && *s <= '9') ? NULL : s;
    return *end ? n : 0;
}

const char *iip_name_page(const iip_input *in, iip_request *rq, const char *name, apr_pool_t *p)
{
    const char delimiter = IIP_DELIMITERS[in->set->delimiter], *last, *end;
    iip_pair part = {0, 0};
    int64_t page;

    if (!delimiter || !(last = strrchr(name, delimiter)))
        return NULL;
    page = read_ordinal(last + 1, &end);
    if (end && *end == ':') {
        part.a = page;
        part.b = read_ordinal(end + 1, &end);
        if (!end || *end || part.a > part.b || part.b > MAX_PART)
            return NULL;
        name = apr_pstrmemdup(p, name, (size_t)(last - name));
        if (!(last = strrchr(name, delimiter)))
            return NULL;
        page = read_ordinal(last + 1, &end);
    }
    if (!end || *end || last == name || last[-1] == '/')
        return NULL;
    rq->page = (int)page - 1;
    rq->part = part;
    return apr_pstrmemdup(p, name, (size_t)(last - name));
}

const char *iip_complaint(const iip_error *e, apr_pool_t *p)
{
    const char *part = e->status == IIP_E_NOT_FOUND ? NULL : e->part;

    return apr_pstrcat(p, part ? part : "", part ? ": " : "", iip_status_text(e->status), NULL);
}

const char *iip_complain_text(const iip_input *in, const iip_error *e, const char **mime, apr_pool_t *p)
{
    *mime = "text/plain; charset=utf-8";
    return apr_pstrcat(p, iip_complaint(e, p), "\n", NULL);
}
