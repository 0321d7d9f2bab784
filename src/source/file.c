/* SPDX-License-Identifier: Apache-2.0
 * Files as sources: one look at the name, opened when the first byte is wanted (spec/security.md section 3). */
#include "source.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <apr_strings.h>

/* O_NONBLOCK: opening a FIFO or a device must not hold the thread until it is found to be no file. */
#define OPEN_FLAGS (O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC)

typedef struct {
    iip_source_t s; /* s.name is the path, from root or absolute */
    const iip_root *root;
    apr_pool_t *pool;
} file_source;

/* All else is IIP_E_IO. */
static const struct {
    int cause;
    iip_status status;
} causes[] = {
    {ENOENT, IIP_E_NOT_FOUND},       {ENOTDIR, IIP_E_NOT_FOUND},
    {ELOOP, IIP_E_NOT_FOUND},        {EXDEV, IIP_E_NOT_FOUND}, /* openat2: a step out of the root */
    {ENAMETOOLONG, IIP_E_NOT_FOUND}, {ENXIO, IIP_E_NOT_FOUND}, /* a socket */
    {EACCES, IIP_E_FORBIDDEN},       {EPERM, IIP_E_FORBIDDEN},
    {EAGAIN, IIP_E_CHANGED}, /* openat2: somebody moves folders faster than it can look */
    {ESTALE, IIP_E_CHANGED}, /* NFS: replaced on its server */
};

static iip_status fail_errno(iip_error *e, int cause, const char *name, const char *what)
{
    for (size_t i = 0; i < sizeof causes / sizeof *causes; i++)
        if (causes[i].cause == cause)
            return iip_fail(e, causes[i].status, cause, "%s: cannot %s", name, what);
    return iip_fail(e, IIP_E_IO, cause, "%s: cannot %s", name, what);
}

/* Unsigned: some file systems keep any 64-bit time, and then it may only wrap. */
static int64_t time_in(const struct timespec *t, uint64_t units, uint64_t ns_per_unit)
{
    return (int64_t)((uint64_t)t->tv_sec * units + (uint64_t)t->tv_nsec / ns_per_unit);
}

static uint32_t *generations;

void iip_source_generations(uint32_t *table)
{
    generations = table;
}

/* By the file and not by its name: it has one for each root, and links. */
static uint32_t *generation(uint32_t *table, uint64_t dev, uint64_t ino)
{
    return &table[((ino + dev * 0x10001) * 0x9e3779b97f4a7c15 >> 32) % IIP_GENERATIONS];
}

void iip_source_forget(uint32_t *table, const iip_ident *id)
{
    __atomic_fetch_add(generation(table, id->dev, id->ino), 1, __ATOMIC_RELAXED);
}

static iip_ident identity(const iip_root *root, const struct stat *st)
{
    return (iip_ident){
        .root = root ? root->number : 0,
        .dev = st->st_dev,
        .ino = st->st_ino,
        .generation =
            generations ? __atomic_load_n(generation(generations, st->st_dev, st->st_ino), __ATOMIC_RELAXED) : 0,
        .size = st->st_size,
        .mtime_ns = time_in(&st->st_mtim, 1000000000, 1),
        .ctime_ns = time_in(&st->st_ctim, 1000000000, 1)};
}

/* Is what a descriptor leads to the file that was looked at? Of the generation that was seen then. */
static int same(iip_ident found, const iip_ident *seen)
{
    found.root = seen->root;
    found.generation = seen->generation;
    return memcmp(&found, seen, sizeof found) == 0;
}

/* Opens beneath dir without openat2: one segment after the other, and no link at all, because between reading a link
 * and following it anybody may change it. */
static int open_walk(int dir, const char *path, int flags)
{
    int at = dir;

    for (;;) {
        size_t n = strcspn(path, "/");
        int last = path[n] == '\0', next, cause;
        char segment[NAME_MAX + 1];

        if (n == 0 || n > NAME_MAX || (path[0] == '.' && (n == 1 || (n == 2 && path[1] == '.')))) {
            next = -1;
            errno = n > NAME_MAX ? ENAMETOOLONG : ENOENT;
        } else {
            memcpy(segment, path, n);
            segment[n] = '\0';
            do
                next = openat(at, segment, O_NOFOLLOW | (last ? flags : O_PATH | O_DIRECTORY | O_CLOEXEC));
            while (next < 0 && errno == EINTR);
        }
        cause = errno;
        if (at != dir)
            close(at);
        errno = cause;
        if (next < 0 || last)
            return next;
        at = next;
        path += n + 1;
    }
}

static int open_beneath(int dir, const char *path, int flags)
{
    static int lacking; /* the kernel has no openat2 */
    struct open_how how = {.flags = (uint64_t)flags, .resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS};

    if (__atomic_load_n(&lacking, __ATOMIC_RELAXED))
        return open_walk(dir, path, flags);
    /* EAGAIN: a folder on the way was moved meanwhile, so that a ".." in a link cannot be trusted. */
    for (int tries = 0; tries < 8; tries++) {
        int fd = (int)syscall(SYS_openat2, dir, path, &how, sizeof how);

        if (fd >= 0 || (errno != EAGAIN && errno != EINTR && errno != ENOSYS && errno != EPERM))
            return fd;
        if (errno == ENOSYS)
            __atomic_store_n(&lacking, 1, __ATOMIC_RELAXED);
        /* EPERM is how sandboxes refuse calls they do not know; where it is meant, the walk meets it too. */
        if (errno == ENOSYS || errno == EPERM)
            return open_walk(dir, path, flags);
    }
    return -1;
}

static int open_path(const iip_root *root, const char *path, int flags)
{
    int fd;

    if (root && !root->follow)
        return open_beneath(root->fd, path, flags);
    do
        fd = openat(root ? root->fd : AT_FDCWD, path, flags);
    while (fd < 0 && errno == EINTR);
    return fd;
}

/* What the name stands for, by the same rules as it is opened: were a link out of the root followed here, the answer
 * would depend on what this child has read under other names. Only a name without folders is looked at in one call. */
static int look(const iip_root *root, const char *path, struct stat *st)
{
    int fd, cause;

    if (!root || root->follow)
        return fstatat(root ? root->fd : AT_FDCWD, path, st, 0);
    if (!strchr(path, '/')) {
        if (fstatat(root->fd, path, st, AT_SYMLINK_NOFOLLOW) != 0)
            return -1;
        if (!S_ISLNK(st->st_mode))
            return 0;
    }
    if ((fd = open_beneath(root->fd, path, O_PATH | O_CLOEXEC)) < 0)
        return -1;
    cause = fstat(fd, st) == 0 ? 0 : errno;
    close(fd);
    errno = cause;
    return cause ? -1 : 0;
}

static apr_status_t close_source(void *source)
{
    close(((file_source *)source)->s.fd);
    return APR_SUCCESS;
}

static void own(file_source *f, int fd)
{
    f->s.fd = fd;
    apr_pool_cleanup_register(f->pool, f, close_source, apr_pool_cleanup_null);
}

static iip_status file_open(file_source *f, iip_error *e)
{
    int fd = open_path(f->root, f->s.name, OPEN_FLAGS);
    struct stat st;
    iip_status rv;

    if (fd < 0)
        return fail_errno(e, errno, f->s.name, "open");
    if (fstat(fd, &st) != 0) {
        rv = fail_errno(e, errno, f->s.name, "look at");
    } else if (!S_ISREG(st.st_mode)) {
        rv = iip_fail(e, IIP_E_NOT_FOUND, 0, "%s: no regular file", f->s.name);
    } else {
        if (same(identity(f->root, &st), &f->s.id)) {
            own(f, fd);
            return IIP_OK;
        }
        rv = iip_fail(e, IIP_E_CHANGED, 0, "%s: replaced before it was opened", f->s.name);
    }
    close(fd);
    return rv;
}

static _Thread_local apr_interval_time_t time_reading;

apr_interval_time_t iip_source_time(void)
{
    return time_reading;
}

static iip_status file_read(iip_source_t *s, void *buf, size_t n, int64_t off, iip_error *e)
{
    unsigned char *to = buf;
    apr_time_t t0;
    iip_status rv;

    if (off < 0 || off > s->id.size || n > (uint64_t)(s->id.size - off))
        return iip_fail(e, IIP_E_CORRUPT, 0, "%s: ends before its data does", s->name);
    if (s->fd < 0 && (rv = file_open((file_source *)s, e)) != IIP_OK)
        return rv;
    t0 = apr_time_now();
    while (n > 0) {
        ssize_t got = pread(s->fd, to, n, off);

        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return fail_errno(e, errno, s->name, "read");
        if (got == 0)
            return iip_fail(e, IIP_E_CORRUPT, 0, "%s: was cut off while it was read", s->name);
        to += got;
        off += got;
        n -= (size_t)got;
    }
    time_reading += apr_time_now() - t0;
    return IIP_OK;
}

/* NULL: memory is out. */
static file_source *file_make(const iip_root *root, const char *path, apr_pool_t *p)
{
    file_source *f = apr_pcalloc(p, sizeof *f);

    if (!f || !(f->s.name = apr_pstrdup(p, path)))
        return NULL;
    f->s.read = file_read;
    f->s.fd = -1;
    f->root = root;
    f->pool = p;
    return f;
}

void iip_source_shared(const iip_source_t *s, int64_t id[4])
{
    id[0] = s->copied ? 0 : (int64_t)s->id.ino;
    id[1] = s->id.size;
    id[2] = s->id.mtime_ns;
    id[3] = s->copied ? 0 : s->id.ctime_ns;
}

iip_status iip_source_file(iip_source_t **s, const iip_root *root, const char *rel, apr_pool_t *p, iip_error *e)
{
    file_source *f;
    struct stat st;

    /* The kernel takes an absolute path for what it is, whatever folder it is told to begin at. */
    if ((root != NULL) == (rel[0] == '/'))
        return iip_fail(e, IIP_E_NOT_FOUND, 0, "%s: not a path of its kind", rel);
    if (look(root, rel, &st) != 0)
        return fail_errno(e, errno, rel, "look at");
    if (!S_ISREG(st.st_mode))
        return iip_fail(e, IIP_E_NOT_FOUND, 0, "%s: no regular file", rel);
    if (!(f = file_make(root, rel, p)))
        return iip_fail(e, IIP_E_MEMORY, APR_ENOMEM, "no memory for a source");
    f->s.id = identity(root, &st);
    f->s.mtime = time_in(&st.st_mtim, 1000000, 1000);
    *s = &f->s;
    return IIP_OK;
}

iip_status iip_source_folder(int *fd, iip_ident *id, const iip_root *root, const char *rel, iip_error *e)
{
    struct stat st;
    const int flags = O_RDONLY | O_DIRECTORY | O_CLOEXEC;

    if ((root != NULL) == (rel[0] == '/'))
        return iip_fail(e, IIP_E_NOT_FOUND, 0, "%s: not a path of its kind", rel);
    /* Without openat2 "." would be a step that is refused */
    *fd = root && strcmp(rel, ".") == 0 ? openat(root->fd, rel, flags) : open_path(root, rel, flags);
    if (*fd < 0)
        return fail_errno(e, errno, rel, "open");
    if (fstat(*fd, &st) != 0) {
        int cause = errno;

        close(*fd);
        return fail_errno(e, cause, rel, "look at");
    }
    *id = identity(root, &st);
    return IIP_OK;
}

iip_status iip_source_keep(iip_source_t **out, iip_source_t *s, apr_pool_t *p, iip_error *e)
{
    const file_source *from = (const file_source *)s;
    file_source *f;
    int fd;

    if (s->read != file_read) {
        *out = s;
        return IIP_OK;
    }
    if (!(f = file_make(from->root, s->name, p)))
        return iip_fail(e, IIP_E_MEMORY, APR_ENOMEM, "no memory for a source");
    f->s.id = s->id;
    f->s.mtime = s->mtime;
    f->s.copied = s->copied;
    *out = &f->s;
    if (s->fd < 0)
        return file_open(f, e);
    if ((fd = fcntl(s->fd, F_DUPFD_CLOEXEC, 0)) < 0)
        return fail_errno(e, errno, s->name, "keep open");
    own(f, fd);
    return IIP_OK;
}

int iip_source_same(iip_source_t *s)
{
    struct stat st;

    if (s->fd < 0) /* memory, or nothing was read yet */
        return 1;
    return fstat(s->fd, &st) == 0 && same(identity(NULL, &st), &s->id);
}

static apr_status_t close_root(void *root)
{
    iip_root *r = root;

    close(r->fd);
    r->fd = -1;
    return APR_SUCCESS;
}

iip_status iip_root_open(iip_root *root, apr_pool_t *p, iip_error *e)
{
    struct stat st;

    root->fd = open(root->path, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (root->fd < 0)
        return fail_errno(e, errno, root->path, "open");
    /* O_PATH asks for no right to the folder itself; passing through it does. */
    if (fstatat(root->fd, ".", &st, 0) != 0) {
        int cause = errno;

        close(root->fd);
        root->fd = -1;
        return fail_errno(e, cause, root->path, "search");
    }
    apr_pool_cleanup_register(p, root, close_root, apr_pool_cleanup_null);
    return IIP_OK;
}
