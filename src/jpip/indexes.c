/* SPDX-License-Identifier: Apache-2.0
 * Packet indexes that are kept: in this child's cache, and as files that all children map (architecture.md 8,
 * IIPStateDir; spec/jpip.md 8).
 *
 * A file comes into being under a temporary name, which its builder holds by flock and renames when all of it is on the
 * disk: a killed builder leaves nothing that anybody would take for an index, and no lock. Nobody writes to a file that
 * has its name. An index that took less reading than it would take to read it back is not worth a file.
 *
 * What takes long, an index of a very large file, is built by a thread, one in each child; requests are sent away
 * meanwhile. It is found in its file afterwards, or, where that could not be, as what the thread built last. */
#include "jpip/index_form.h"
#include "quarantine.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>
#include <apr_mmap.h>
#include <apr_portable.h>
#include <apr_siphash.h>
#include <apr_strings.h>

#define WORTH_FILE  ((int64_t)1 << 20) /* bytes of reading that a file saves */
#define POLL        20000              /* microseconds between two looks at a lock */
#define HOUR        apr_time_from_sec(3600)
#define MAPPED_COST 8 /* a mapped index costs so much less than one in memory: its pages are shared */
#define NAME_BYTES  64
#define LARGE       ((int64_t)1 << 30)     /* bytes of a code-stream that nobody waits for */
#define RESTS       apr_time_from_sec(600) /* what could not be indexed is left alone so long */

/* What the thread builds, and became of what it built last. */
typedef struct {
    pthread_mutex_t lock;
    pthread_t thread;
    int begun, busy, stop; /* begun: to be joined */
    apr_pool_t *pool;      /* of: */
    iip_jp2_file file;
    jpip_index_key key;
    iip_blob *built;   /* NULL: it has a file, or failed */
    iip_status failed; /* IIP_OK: did not */
    apr_time_t when;
} behind;

struct jpip_indexes {
    const char *dir; /* NULL = none */
    apr_interval_time_t age;
    iip_cache_t *cache;
    apr_time_t swept;
    int64_t large; /* bytes of a code-stream */
    behind behind;
    uint64_t built, loaded, saved, failed;
};

typedef struct {
    jpip_indexes *xs;
    const iip_jp2_file *f;
    apr_time_t until;
    jpip_index_key key;
    char name[NAME_BYTES]; /* of the file, without its ending */
} job;

static void count(uint64_t *n)
{
    __atomic_add_fetch(n, 1, __ATOMIC_RELAXED);
}

static void set_key(job *j)
{
    static const unsigned char seed[2][APR_SIPHASH_KSIZE] = {"jpip's places 1", "jpip's places 2"};
    uint64_t name[2];

    memset(&j->key, 0, sizeof j->key);
    j->key.id = j->f->s->id;
    for (int i = 0; i < 2; i++)
        j->key.place[i] = apr_siphash24(j->f->piece, (size_t)j->f->pieces * sizeof *j->f->piece, seed[i]);
    for (int i = 0; i < 2; i++)
        name[i] = apr_siphash24(&j->key, sizeof j->key, seed[i]);
    snprintf(j->name, sizeof j->name, "%016llx%016llx", (unsigned long long)name[0], (unsigned long long)name[1]);
}

static int path_of(const job *j, const char *end, char path[PATH_MAX])
{
    return snprintf(path, PATH_MAX, "%s/%s.%s", j->xs->dir, j->name, end) < PATH_MAX;
}

/* --- files -------------------------------------------------------------------------------------------------------- */

static void unmap(void *pool)
{
    apr_pool_destroy(pool);
}

/* The index in an open file, mapped; NULL: it is none, or not of this key. */
static jpip_index *map(const job *j, int fd)
{
    jpip_index *ix = NULL;
    apr_pool_t *pool;
    apr_file_t *file;
    apr_mmap_t *m;
    struct stat st;

    if (fstat(fd, &st) != 0 || st.st_size < (off_t)sizeof(jpip_index_record) ||
        apr_pool_create_unmanaged_ex(&pool, NULL, NULL) != APR_SUCCESS)
        return NULL;
    if (apr_os_file_put(&file, &fd, APR_FOPEN_READ, pool) == APR_SUCCESS &&
        apr_mmap_create(&m, file, 0, (apr_size_t)st.st_size, APR_MMAP_READ, pool) == APR_SUCCESS &&
        jpip_index_sound(m->mm, (size_t)st.st_size, &j->key))
        ix = jpip_index_attach(m->mm, pool, unmap);
    if (!ix)
        apr_pool_destroy(pool);
    return ix;
}

static jpip_index *load(const job *j)
{
    char path[PATH_MAX];
    jpip_index *ix;
    struct stat st;
    int fd;

    if (!path_of(j, "jix", path) || (fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW)) < 0)
        return NULL;
    ix = map(j, fd);
    if (!ix)
        unlink(path); /* of an older version, or damaged */
    else if (fstat(fd, &st) == 0 && apr_time_from_sec(st.st_mtime) < apr_time_now() - HOUR)
        futimens(fd, NULL);
    close(fd);
    return ix;
}

/* The temporary file, which is then ours alone; -1: cannot be had, -2: another builder was done meanwhile, -3: the time
 * is over. */
static int lock(const job *j, const char *path)
{
    struct stat here, there;
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);

    if (fd < 0)
        return -1;
    while (flock(fd, LOCK_EX | LOCK_NB) != 0) {
        const int late = j->until && apr_time_now() > j->until;

        if ((errno != EWOULDBLOCK && errno != EINTR) || late) {
            close(fd);
            return late ? -3 : -1;
        }
        apr_sleep(POLL);
    }
    if (fstat(fd, &here) == 0 && stat(path, &there) == 0 && here.st_ino == there.st_ino && here.st_dev == there.st_dev)
        return fd;
    close(fd);
    return -2;
}

static int write_all(int fd, const unsigned char *p, size_t n)
{
    while (n > 0) {
        const ssize_t done = write(fd, p, n);

        if (done < 0 && errno != EINTR)
            return 0;
        if (done > 0) {
            p += done;
            n -= (size_t)done;
        }
    }
    return 1;
}

/* Gives the locked file its contents and its name; what is mapped of it then, or NULL. */
static jpip_index *save(const job *j, int fd, const char *temporary, jpip_index *ix)
{
    char path[PATH_MAX];
    jpip_index *mapped = NULL;

    jpip_index_seal((unsigned char *)ix->owner, &j->key);
    if (path_of(j, "jix", path) && ftruncate(fd, 0) == 0 && write_all(fd, ix->base, ix->bytes) && fsync(fd) == 0 &&
        (mapped = map(j, fd)) && rename(temporary, path) == 0) {
        count(&j->xs->saved);
        return mapped;
    }
    jpip_index_free(mapped);
    unlink(temporary);
    return NULL;
}

/* --- one index ---------------------------------------------------------------------------------------------------- */

static iip_status build(const job *j, jpip_index **ix, iip_error *e)
{
    iip_quarantine_slot *slot = iip_quarantine_enter(j->f->s);
    iip_status rv = jpip_index_build(ix, j->f, &j->xs->behind.stop, e);

    iip_quarantine_leave(slot);
    count(rv == IIP_OK ? &j->xs->built : &j->xs->failed);
    return rv;
}

/* Built, and put into the locked file; fd -1: there is none. */
static iip_status build_file(const job *j, int fd, const char *path, jpip_index **out, int *mapped, iip_error *e)
{
    jpip_index *kept = NULL;
    iip_status rv = build(j, out, e);

    if (fd < 0)
        return rv; /* no state directory, or a full disk: one in memory serves */
    if (rv == IIP_OK && (*out)->read >= WORTH_FILE && iip_source_same(j->f->s))
        kept = save(j, fd, path, *out);
    else
        unlink(path);
    flock(fd, LOCK_UN); /* a map of the file holds the lock for as long as itself, whatever is closed */
    close(fd);
    if (kept) {
        jpip_index_free(*out);
        *out = kept;
        *mapped = 1;
    }
    return rv;
}

/* From its file, or built and put into one. */
static iip_status shared(const job *j, jpip_index **out, int *mapped, iip_error *e)
{
    char path[PATH_MAX];
    int fd;

    do {
        if ((*out = load(j))) {
            count(&j->xs->loaded);
            *mapped = 1;
            return IIP_OK;
        }
        fd = path_of(j, "tmp", path) ? lock(j, path) : -1;
    } while (fd == -2);
    if (fd == -3)
        return iip_fail(e, IIP_E_TIMEOUT, 0, "JPEG 2000: another child takes long to build a packet index");
    return build_file(j, fd, path, out, mapped, e);
}

static iip_status blob_of(jpip_index *ix, int mapped, iip_blob **out, iip_error *e)
{
    const size_t bytes = ix->bytes;

    if (!(*out = iip_blob_make(ix, sizeof *ix, jpip_index_free)))
        return iip_fail(e, IIP_E_MEMORY, APR_ENOMEM, "JPEG 2000: no memory for a packet index");
    (*out)->cost = mapped ? bytes / MAPPED_COST : bytes;
    return IIP_OK;
}

/* --- the thread --------------------------------------------------------------------------------------------------- */

static void *build_behind(void *indexes)
{
    jpip_indexes *xs = indexes;
    behind *b = &xs->behind;
    job j = {.xs = xs, .f = &b->file, .until = 1}; /* waits for no other child that does the same */
    char path[PATH_MAX];
    jpip_index *ix = NULL;
    iip_blob *blob = NULL;
    iip_status rv = IIP_OK;
    iip_error e = {0};
    int mapped = 0, fd;

    set_key(&j);
    fd = xs->dir && path_of(&j, "tmp", path) ? lock(&j, path) : -1;
    if (fd >= -1) {
        rv = build_file(&j, fd, path, &ix, &mapped, &e);
        if (rv == IIP_OK && !mapped && iip_source_same(b->file.s))
            blob_of(ix, mapped, &blob, &e);
        else if (rv == IIP_OK)
            jpip_index_free(ix);
    }
    pthread_mutex_lock(&b->lock);
    b->built = blob;
    b->failed = rv == IIP_E_FORMAT || rv == IIP_E_CORRUPT ? rv : IIP_OK;
    b->when = apr_time_now();
    b->busy = 0;
    apr_pool_destroy(b->pool);
    pthread_mutex_unlock(&b->lock);
    return NULL;
}

/* Under the lock. 0: cannot be. */
static int begin(const job *j)
{
    behind *b = &j->xs->behind;
    sigset_t before;
    iip_error e;

    if (b->begun)
        pthread_join(b->thread, NULL);
    b->begun = 0;
    if (b->built)
        iip_blob_release(b->built);
    b->built = NULL;
    b->key = j->key;
    b->file = *j->f;
    if (apr_pool_create_unmanaged_ex(&b->pool, NULL, NULL) != APR_SUCCESS)
        return 0;
    b->file.piece = apr_pmemdup(b->pool, j->f->piece, (size_t)j->f->pieces * sizeof *j->f->piece);
    if (iip_source_keep(&b->file.s, j->f->s, b->pool, &e) == IIP_OK && b->file.s != j->f->s) {
        iip_quarantine_mask(&before);
        b->begun = b->busy = pthread_create(&b->thread, NULL, build_behind, j->xs) == 0;
        pthread_sigmask(SIG_SETMASK, &before, NULL);
    }
    if (!b->begun)
        apr_pool_destroy(b->pool);
    return b->begun;
}

/* An index that is built by the thread. IIP_E_FEATURE: it cannot be. */
static iip_status ask_behind(const job *j, iip_blob **out, iip_error *e)
{
    behind *b = &j->xs->behind;
    iip_status rv = IIP_E_BUSY;
    int known;

    pthread_mutex_lock(&b->lock);
    known = b->begun && !b->busy && memcmp(&b->key, &j->key, sizeof b->key) == 0;
    if (known && b->built) {
        iip_blob_hold(*out = b->built);
        rv = IIP_OK;
    } else if (known && b->failed != IIP_OK && apr_time_now() < b->when + RESTS) {
        rv = b->failed;
    } else if (!b->busy && !begin(j)) {
        rv = IIP_E_FEATURE;
    }
    pthread_mutex_unlock(&b->lock);
    return rv == IIP_OK || rv == IIP_E_FEATURE
               ? rv
               : iip_fail(e, rv, 0, "JPEG 2000: %s",
                          rv == IIP_E_BUSY ? "a packet index is being built" : "no packet index could be built");
}

/* --- the store's values ------------------------------------------------------------------------------------------- */

static iip_status fill(void *ctx, iip_blob **out, iip_error *e)
{
    const job *j = ctx;
    jpip_index *ix = NULL;
    int mapped = 0;
    iip_status rv;

    if (j->f->len >= j->xs->large) {
        if (j->xs->dir && (ix = load(j)) != NULL) {
            count(&j->xs->loaded);
            mapped = 1;
        } else if ((rv = ask_behind(j, out, e)) != IIP_E_FEATURE) {
            return rv;
        }
    }
    if (!ix) {
        rv = j->xs->dir && j->f->len >= WORTH_FILE ? shared(j, &ix, &mapped, e) : build(j, &ix, e);
        if (rv != IIP_OK)
            return rv;
    }
    if (!iip_source_same(j->f->s)) {
        jpip_index_free(ix);
        return iip_fail(e, IIP_E_CHANGED, 0, "replaced while its packets were looked for");
    }
    return blob_of(ix, mapped, out, e);
}

/* Without a store. */
static iip_status alone(const iip_jp2_file *f, iip_blob **hold, iip_error *e)
{
    jpip_index *ix;
    iip_status rv = jpip_index_build(&ix, f, NULL, e);

    if (rv != IIP_OK)
        return rv;
    return (*hold = iip_blob_make(ix, sizeof *ix, jpip_index_free))
               ? IIP_OK
               : iip_fail(e, IIP_E_MEMORY, APR_ENOMEM, "JPEG 2000: no memory for a packet index");
}

iip_status jpip_indexes_get(jpip_indexes *xs, const iip_jp2_file *f, apr_time_t until, const jpip_index **ix,
                            iip_blob **hold, iip_error *e)
{
    job j = {.xs = xs, .f = f, .until = until};
    iip_status rv;

    e->status = IIP_OK;
    if (!xs) {
        rv = alone(f, hold, e);
    } else {
        set_key(&j);
        rv = iip_cache_get(xs->cache, &j.key, sizeof j.key, until, fill, &j, hold, e);
        jpip_indexes_sweep(xs);
    }
    if (rv == IIP_OK)
        *ix = (*hold)->data;
    return rv;
}

/* --- the store ---------------------------------------------------------------------------------------------------- */

jpip_indexes *jpip_indexes_create(const char *dir, apr_interval_time_t age, size_t budget, apr_pool_t *p)
{
    jpip_indexes *xs = apr_pcalloc(p, sizeof *xs);

    if (!xs || !(xs->cache = iip_cache_create("index", budget, p)))
        return NULL;
    xs->age = age;
    xs->large = LARGE;
    pthread_mutex_init(&xs->behind.lock, NULL);
    if (dir && strlen(dir) + sizeof "/jpip/.jix" + NAME_BYTES < PATH_MAX) {
        xs->dir = apr_pstrcat(p, dir, "/jpip", NULL);
        if (mkdir(xs->dir, 0700) != 0 && errno != EEXIST)
            xs->dir = NULL; /* indexes then stay in memory */
    }
    jpip_indexes_sweep(xs);
    return xs;
}

void jpip_indexes_behind(jpip_indexes *xs, int64_t from)
{
    xs->large = from;
}

void jpip_indexes_clear(jpip_indexes *xs)
{
    behind *b = &xs->behind;

    __atomic_store_n(&b->stop, 1, __ATOMIC_RELAXED);
    if (b->begun)
        pthread_join(b->thread, NULL);
    if (b->built)
        iip_blob_release(b->built);
    b->begun = b->stop = 0;
    b->built = NULL;
    iip_cache_clear(xs->cache);
}

static void remove_old(const char *dir, apr_time_t before)
{
    DIR *d = opendir(dir);
    struct dirent *entry;

    while (d && (entry = readdir(d))) {
        const char *end = strrchr(entry->d_name, '.');
        struct stat st;

        if (!end || (strcmp(end, ".jix") != 0 && strcmp(end, ".tmp") != 0))
            continue;
        if (fstatat(dirfd(d), entry->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(st.st_mode) &&
            apr_time_from_sec(st.st_mtime) < before)
            unlinkat(dirfd(d), entry->d_name, 0);
    }
    if (d)
        closedir(d);
}

void jpip_indexes_sweep(jpip_indexes *xs)
{
    const apr_time_t now = apr_time_now();
    apr_time_t last = __atomic_load_n(&xs->swept, __ATOMIC_RELAXED);

    if (!xs->dir || xs->age == 0 || (last && now - last < HOUR))
        return;
    if (__atomic_compare_exchange_n(&xs->swept, &last, now, 0, __ATOMIC_RELAXED, __ATOMIC_RELAXED))
        remove_old(xs->dir, now - xs->age);
}

void jpip_indexes_read_stats(jpip_indexes *xs, jpip_indexes_stats *out)
{
    iip_cache_read_stats(xs->cache, &out->memory);
    out->built = __atomic_load_n(&xs->built, __ATOMIC_RELAXED);
    out->loaded = __atomic_load_n(&xs->loaded, __ATOMIC_RELAXED);
    out->saved = __atomic_load_n(&xs->saved, __ATOMIC_RELAXED);
    out->failed = __atomic_load_n(&xs->failed, __ATOMIC_RELAXED);
}
