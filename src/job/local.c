/* SPDX-License-Identifier: Apache-2.0
 * Sources and destinations of jobs in folders of this machine: beneath their roots, through no link
 * (spec/security.md section 3). */
#include "transfer.h"
#ifdef IIP_HAVE_JOBS
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <apr_strings.h>

job_code job_open_source(const job_url *from, const job_place *place, iip_source_t **s, apr_pool_t *p, job_error *e)
{
    iip_root *root = apr_pcalloc(p, sizeof *root);
    iip_error why;
    char octet;

    root->path = place->source_root;
    root->fd = -1;
    if (iip_root_open(root, p, &why) != IIP_OK || iip_source_file(s, root, from->path + 1, p, &why) != IIP_OK ||
        (*s)->read(*s, &octet, 0, 0, &why) != IIP_OK)
        return job_fail(e, JOB_E_FETCH, iip_status_retry(why.status) > 0, "the source cannot be read");
    return (*s)->id.size <= place->max_source ? JOB_OK
                                              : job_fail(e, JOB_E_TOO_LARGE, 0, "the source is larger than allowed");
}

/* The folder of a name beneath root, made where it is missing; *last: what is left of the name. -1 and errno. */
static int folder_of(int root, const char *name, const char **last, apr_pool_t *p)
{
    int at = dup(root);
    const char *slash;

    while (at >= 0 && (slash = strchr(name, '/')) != NULL) {
        const char *segment = apr_pstrmemdup(p, name, (size_t)(slash - name));
        const int made = mkdirat(at, segment, 0755) == 0;
        int next, cause;

        if ((!made && errno != EEXIST) || (made && fsync(at) != 0)) /* what lies in it is as durable as its name */
            next = -1;
        else
            next = openat(at, segment, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        cause = errno;
        close(at);
        errno = cause;
        at = next;
        name = slash + 1;
    }
    *last = name;
    return at;
}

static int copy(int to, int from, int64_t size, apr_pool_t *p)
{
    enum { PIECE = 65536 };
    char *piece = apr_palloc(p, PIECE);

    for (int64_t at = 0; at < size;) {
        ssize_t n = pread(from, piece, size - at < PIECE ? (size_t)(size - at) : PIECE, at), put = 0;

        if (n <= 0) {
            errno = n ? errno : EIO;
            return -1;
        }
        while (put < n) {
            ssize_t w = write(to, piece + put, (size_t)(n - put));

            if (w < 0 && errno != EINTR)
                return -1;
            put += w > 0 ? w : 0;
        }
        at += n;
    }
    return fsync(to);
}

/* Where a descriptor can be given a name. */
static const char *path_of(int fd, apr_pool_t *p)
{
    return apr_psprintf(p, "/proc/self/fd/%d", fd);
}

/* A file without a name, which nobody need remove if this process is killed; where the file system or /proc has no such
 * thing, one with a name that is not to stay. */
static int begin_file(int folder, const char *temporary, int *named, apr_pool_t *p)
{
    int fd = openat(folder, ".", O_TMPFILE | O_WRONLY | O_CLOEXEC, 0644);

    *named = 0;
    if (fd >= 0 && access(path_of(fd, p), F_OK) == 0)
        return fd;
    if (fd >= 0)
        close(fd);
    *named = 1;
    unlinkat(folder, temporary, 0); /* left by an attempt that was killed */
    return openat(folder, temporary, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0644);
}

/* A link takes no other file's place, a rename does. */
static int end_file(int folder, int fd, const char *temporary, int *named, const char *name, apr_pool_t *p)
{
    if (!*named) {
        const char *self = path_of(fd, p);

        if (linkat(AT_FDCWD, self, folder, name, AT_SYMLINK_FOLLOW) == 0)
            return fsync(folder);
        if (errno != EEXIST)
            return -1;
        unlinkat(folder, temporary, 0);
        if (linkat(AT_FDCWD, self, folder, temporary, AT_SYMLINK_FOLLOW) != 0)
            return -1;
        *named = 1;
    }
    if (renameat(folder, temporary, folder, name) != 0)
        return -1;
    *named = 0;
    return fsync(folder);
}

job_code job_store_file(const job_t *j, const job_place *place, const char *id, const char *stage, int fd, int64_t size,
                        apr_pool_t *p, job_error *e)
{
    const char *temporary = apr_pstrcat(p, ".iip-", id, "-", stage, NULL), *name = j->to.path + 1;
    int root = open(place->dest_root, O_RDONLY | O_DIRECTORY | O_CLOEXEC), folder = -1, out = -1, named = 0, cause;
    int good = root >= 0 && (folder = folder_of(root, name, &name, p)) >= 0 &&
               (out = begin_file(folder, temporary, &named, p)) >= 0 && copy(out, fd, size, p) == 0 &&
               end_file(folder, out, temporary, &named, name, p) == 0;

    cause = errno;
    if (out >= 0)
        close(out);
    if (out >= 0 && named)
        unlinkat(folder, temporary, 0);
    if (folder >= 0)
        close(folder);
    if (root >= 0)
        close(root);
    return good ? JOB_OK
                : job_fail(e, JOB_E_STORE,
                           cause == ENOSPC || cause == EDQUOT || cause == EMFILE || cause == ENFILE || cause == EIO ||
                               cause == ENOMEM,
                           "the destination cannot be written");
}
#endif
