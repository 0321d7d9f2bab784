/* SPDX-License-Identifier: Apache-2.0
 * Files of a sequence, by a scan of their folder. */
#include "sequence.h"
#include <apr_strings.h>
#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MOST_FILES  200000 /* of a folder, looked at */
#define MOST_SUFFIX 16     /* octets */

/* One view as its file's name says it. */
typedef struct {
    int h, v;
    char ext[MOST_SUFFIX + 1];
} view;

/* At least three digits, no more than that if the first is 0: every angle has one spelling. */
static const char *read_angle(const char *s, int *v)
{
    const char *start = s;

    for (*v = 0; *s >= '0' && *s <= '9' && s - start < 6; s++)
        *v = *v * 10 + (*s - '0');
    return s - start >= 3 && (s - start == 3 || *start != '0') ? s : NULL;
}

static int read_view(const char *s, view *out)
{
    size_t n;

    if (!(s = read_angle(s, &out->h)) || *s++ != '_' || !(s = read_angle(s, &out->v)) || *s++ != '.')
        return 0;
    n = strlen(s);
    if (n == 0 || n > MOST_SUFFIX || strchr(s, '.'))
        return 0;
    memcpy(out->ext, s, n + 1);
    return 1;
}

static int by_angle(const void *a, const void *b)
{
    return *(const int *)a - *(const int *)b;
}

/* The files of the folder that begin with stem. Their number; -1: no memory. */
static int scan(DIR *dir, const char *stem, view **out)
{
    const size_t length = strlen(stem);
    int n = 0, room = 0, looked = 0;
    struct dirent *entry;

    while ((entry = readdir(dir)) && looked++ < MOST_FILES) {
        view v;

        if (strncmp(entry->d_name, stem, length) != 0 || !read_view(entry->d_name + length, &v))
            continue;
        if (n == room) {
            view *more = realloc(*out, (size_t)(room = room ? 2 * room : 64) * sizeof *more);

            if (!more)
                return -1;
            *out = more;
        }
        (*out)[n++] = v;
    }
    return n;
}

/* Angles of one direction: those of the other one's default. */
static const int *angles(const view *v, int n, const char *ext, int down, int *count, apr_pool_t *p)
{
    int *list = apr_palloc(p, sizeof *list * (size_t)(n + 1)), k = 0;

    for (int i = 0; i < n && k < IIP_MAX_VIEWS; i++)
        if (strcmp(v[i].ext, ext) == 0 && (down ? v[i].h == 0 : v[i].v == 90))
            list[k++] = down ? v[i].v : v[i].h;
    qsort(list, (size_t)k, sizeof *list, by_angle);
    *count = k;
    return list;
}

static const iip_sequence *sequence(const view *v, int n, const char *stem, apr_pool_t *p)
{
    iip_sequence *q = apr_pcalloc(p, sizeof *q);

    for (int i = 0; i < n; i++) {
        if (v[i].h != 0 || v[i].v != 90)
            continue;
        if (q->ext)
            return NULL;
        q->ext = apr_pstrdup(p, v[i].ext);
    }
    if (!q->ext)
        return NULL;
    q->stem = apr_pstrdup(p, stem);
    q->h = angles(v, n, q->ext, 0, &q->across, p);
    q->v = angles(v, n, q->ext, 1, &q->down, p);
    return q;
}

iip_status iip_sequence_folder(int *fd, iip_ident *id, const iip_root *root, const char *name, apr_pool_t *p,
                               iip_error *e)
{
    const char *slash = strrchr(name, '/');
    const char *folder = slash ? apr_pstrmemdup(p, name, (size_t)(slash - name) + (slash == name)) : ".";

    return iip_source_folder(fd, id, root, folder, e);
}

iip_status iip_sequence_find(const iip_sequence **out, int fd, const char *name, const char *pattern, apr_pool_t *p,
                             iip_error *e)
{
    const char *slash = strrchr(name, '/'), *stem = apr_pstrcat(p, name, pattern, NULL);
    DIR *dir = fdopendir(fd);
    view *v = NULL;
    int n;

    *out = NULL;
    if (!dir) {
        int cause = errno;

        close(fd);
        return iip_fail(e, IIP_E_IO, cause, "%s: cannot read its folder", name);
    }
    n = *pattern ? scan(dir, slash ? stem + (slash + 1 - name) : stem, &v) : 0;
    closedir(dir);
    if (n >= 0)
        *out = sequence(v, n, stem, p);
    free(v);
    return n >= 0 ? IIP_OK : iip_fail(e, IIP_E_MEMORY, APR_ENOMEM, "%s: no memory for its views", name);
}

static int has(const int *list, int n, int v)
{
    for (int i = 0; i < n; i++)
        if (list[i] == v)
            return 1;
    return 0;
}

/* Either angle is that of a list; whether both are found together is for the file system to say. */
const char *iip_sequence_file(const iip_sequence *q, int h, int v, apr_pool_t *p)
{
    h = h < 0 ? 0 : h;
    v = v < 0 ? 90 : v;
    if (!has(q->h, q->across, h) || !has(q->v, q->down, v))
        return NULL;
    return apr_psprintf(p, "%s%03d_%03d.%s", q->stem, h, v, q->ext);
}
