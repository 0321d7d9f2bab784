/* SPDX-License-Identifier: Apache-2.0
 * Files of the spool. What makes a step durable is said at each: data before its name, the name before the reply. Long
 * because every step a job can take is here, side by side. */
#include "spool.h"
#include "number.h"
#ifdef IIP_HAVE_JOBS
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <unistd.h>
#include <apr_general.h>
#include <apr_sha1.h>
#include <apr_strings.h>

#define LOCKS      256
#define MOST_TEXT  (1 << 20) /* bytes of a record */
#define MOST_MORE  4096      /* that its end adds */
#define TMP_KEPT   (3600 * INT64_C(1000))
#define NFS_MAGIC  0x6969
#define CIFS_MAGIC 0xff534d42
#define SMB2_MAGIC 0xfe534d42

static const char *const folder_names[JOB_FOLDERS] = {"tmp", "queue", "run", "done", "dead", "call", "keys", "lock"};
static const char digits[] = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"; /* Crockford's base 32 */

static apr_status_t close_spool(void *ctx)
{
    job_spool *s = ctx;

    for (int i = 0; i < JOB_FOLDERS; i++)
        if (s->folder[i] >= 0)
            close(s->folder[i]);
    return APR_SUCCESS;
}

int job_spool_open(job_spool **out, const char *path, int make, apr_pool_t *p)
{
    job_spool *s = apr_palloc(p, sizeof *s);
    struct statfs fs;

    for (int i = 0; i < JOB_FOLDERS; i++)
        s->folder[i] = -1;
    apr_pool_cleanup_register(p, s, close_spool, apr_pool_cleanup_null);
    if (make && mkdir(path, 0700) != 0 && errno != EEXIST)
        return -1;
    for (int i = 0; i < JOB_FOLDERS; i++) {
        const char *name = apr_pstrcat(p, path, "/", folder_names[i], NULL);

        if ((make && mkdir(name, 0700) != 0 && errno != EEXIST) ||
            (s->folder[i] = open(name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)) < 0)
            return -1;
    }
    if (fstatfs(s->folder[JOB_IN_QUEUE], &fs) != 0)
        return -1;
    if (fs.f_type == NFS_MAGIC || (uint32_t)fs.f_type == CIFS_MAGIC || (uint32_t)fs.f_type == SMB2_MAGIC) {
        errno = ENOTSUP; /* renames and locks there are not what the promise needs */
        return -1;
    }
    *out = s;
    return 0;
}

int job_spool_own(const char *path, uid_t user, gid_t group, apr_pool_t *p)
{
    if (lchown(path, user, group) != 0)
        return -1;
    for (int i = 0; i < JOB_FOLDERS; i++)
        if (lchown(apr_pstrcat(p, path, "/", folder_names[i], NULL), user, group) != 0)
            return -1;
    return 0;
}

int64_t job_now(void)
{
    return apr_time_now() / 1000;
}

int job_id_make(char id[JOB_ID_LEN + 1])
{
    unsigned char random[16];
    uint64_t ms = (uint64_t)job_now();

    if (apr_generate_random_bytes(random, sizeof random) != APR_SUCCESS)
        return -1;
    for (int i = 9; i >= 0; i--, ms >>= 5)
        id[i] = digits[ms & 31];
    for (int i = 0; i < 16; i++)
        id[10 + i] = digits[random[i] & 31];
    id[JOB_ID_LEN] = '\0';
    return 0;
}

int job_id_good(const char *text)
{
    return strlen(text) == JOB_ID_LEN && strspn(text, digits) == JOB_ID_LEN;
}

static int64_t id_time(const char *id)
{
    int64_t ms = 0;

    for (int i = 0; i < 10; i++)
        ms = ms << 5 | (strchr(digits, id[i]) - digits);
    return ms;
}

uint64_t job_dest_hash(const char *dest)
{
    uint64_t h = UINT64_C(0xcbf29ce484222325); /* FNV-1a: a collision only makes one job wait for another */

    for (; *dest; dest++)
        h = (h ^ (unsigned char)*dest) * UINT64_C(0x100000001b3);
    return h ? h : 1;
}

/* --- names --- */

static void name_of(const job_entry *e, job_folder f, char name[JOB_NAME_MAX])
{
    if (f == JOB_IN_RUN)
        snprintf(name, JOB_NAME_MAX, "%s.%d.%016" PRIx64, e->id, e->attempts, e->dest);
    else
        snprintf(name, JOB_NAME_MAX, "%013" PRId64 "-%s.%d.%016" PRIx64, e->due, e->id, e->attempts, e->dest);
}

static int read_name(const char *name, job_folder f, job_entry *e)
{
    static const char hex[] = "0123456789abcdef";
    const char *digit;

    memset(e, 0, sizeof *e);
    if (f == JOB_IN_QUEUE || f == JOB_IN_CALL) {
        if ((e->due = job_whole(&name)) < 0 || *name++ != '-')
            return -1;
    }
    if (strlen(name) < JOB_ID_LEN)
        return -1;
    memcpy(e->id, name, JOB_ID_LEN);
    if (!job_id_good(e->id))
        return -1;
    name += JOB_ID_LEN;
    if (f == JOB_IN_DONE || f == JOB_IN_DEAD || f == JOB_IN_TMP)
        return 0;
    if (*name++ != '.')
        return -1;
    e->attempts = (int)job_whole(&name);
    if (e->attempts < 0 || *name++ != '.' || strlen(name) != 16)
        return -1;
    for (; *name && (digit = strchr(hex, *name)) != NULL; name++)
        e->dest = e->dest << 4 | (uint64_t)(digit - hex);
    return *name ? -1 : 0;
}

/* fn is given each entry, and says 1 to stop. */
static int each(job_spool *s, job_folder f, int (*fn)(void *ctx, const job_entry *e, const char *name), void *ctx)
{
    int fd = openat(s->folder[f], ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *d = fd < 0 ? NULL : fdopendir(fd);
    struct dirent *one;
    job_entry e;

    if (!d) {
        if (fd >= 0)
            close(fd);
        return -1;
    }
    while ((one = readdir(d)) != NULL)
        if (one->d_name[0] != '.' && strlen(one->d_name) < JOB_NAME_MAX && read_name(one->d_name, f, &e) == 0 &&
            fn(ctx, &e, one->d_name))
            break;
    closedir(d);
    return 0;
}

/* --- writing --- */

static int write_all(int fd, const char *text, size_t n)
{
    while (n > 0) {
        ssize_t w = write(fd, text, n);

        if (w < 0 && errno != EINTR)
            return -1;
        text += w > 0 ? w : 0;
        n -= w > 0 ? (size_t)w : 0;
    }
    return 0;
}

static int write_file(int folder, const char *name, const char *text, size_t n)
{
    int fd = openat(folder, name, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600), bad, cause;

    if (fd < 0)
        return -1;
    bad = write_all(fd, text, n) != 0 || fdatasync(fd) != 0;
    cause = errno;
    bad |= close(fd) != 0;
    if (bad) {
        unlinkat(folder, name, 0);
        errno = cause;
    }
    return bad ? -1 : 0;
}

int job_spool_write(job_spool *s, const char *id, const char *record, size_t n)
{
    if (n > MOST_TEXT - MOST_MORE) {
        errno = EFBIG; /* nobody could read it again */
        return -1;
    }
    return write_file(s->folder[JOB_IN_TMP], id, record, n);
}

int job_spool_enqueue(job_spool *s, const job_entry *e)
{
    char name[JOB_NAME_MAX];

    name_of(e, JOB_IN_QUEUE, name);
    return renameat(s->folder[JOB_IN_TMP], e->id, s->folder[JOB_IN_QUEUE], name);
}

int job_spool_commit(job_spool *s)
{
    return fsync(s->folder[JOB_IN_QUEUE]);
}

void job_spool_drop(job_spool *s, const char *id)
{
    unlinkat(s->folder[JOB_IN_TMP], id, 0);
}

/* --- keys --- */

static void key_name(const char *key, char name[2 * APR_SHA1_DIGESTSIZE + 1])
{
    unsigned char digest[APR_SHA1_DIGESTSIZE];
    apr_sha1_ctx_t c;

    apr_sha1_init(&c);
    apr_sha1_update(&c, key, (unsigned)strlen(key));
    apr_sha1_final(digest, &c);
    for (int i = 0; i < APR_SHA1_DIGESTSIZE; i++)
        snprintf(name + 2 * i, 3, "%02x", digest[i]);
}

/* What is at the name now is the file that is open here */
static int still_there(int folder, const char *name, int fd)
{
    struct stat a, b;

    return fstat(fd, &a) == 0 && fstatat(folder, name, &b, AT_SYMLINK_NOFOLLOW) == 0 && a.st_ino == b.st_ino;
}

int job_key_find(job_spool *s, const char *key, const char **text, int *held, apr_pool_t *p)
{
    char name[2 * APR_SHA1_DIGESTSIZE + 1];
    int fd;

    key_name(key, name);
    if ((fd = openat(s->folder[JOB_IN_KEYS], name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC)) < 0)
        return errno == ENOENT ? -1 : 0;
    if (flock(fd, LOCK_EX | LOCK_NB) != 0 || !still_there(s->folder[JOB_IN_KEYS], name, fd) ||
        !(*text = job_spool_read(fd, p))) {
        close(fd);
        return 0;
    }
    *held = fd;
    return 1;
}

int job_key_claim(job_spool *s, const char *key, const char *text, int *held)
{
    char name[2 * APR_SHA1_DIGESTSIZE + 1], own[JOB_ID_LEN + 1];
    int fd, rv = -1, cause;

    key_name(key, name);
    if (job_id_make(own) != 0 ||
        (fd = openat(s->folder[JOB_IN_TMP], own, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600)) < 0)
        return -1;
    /* Locked before it has its name: who finds it knows that somebody is at work */
    if (flock(fd, LOCK_EX | LOCK_NB) == 0 && write_all(fd, text, strlen(text)) == 0 && fdatasync(fd) == 0)
        rv = linkat(s->folder[JOB_IN_TMP], own, s->folder[JOB_IN_KEYS], name, 0);
    cause = errno;
    unlinkat(s->folder[JOB_IN_TMP], own, 0);
    if (rv == 0 && fsync(s->folder[JOB_IN_KEYS]) == 0) {
        *held = fd;
        return 1;
    }
    if (rv == 0)
        unlinkat(s->folder[JOB_IN_KEYS], name, 0);
    close(fd);
    return rv != 0 && cause == EEXIST ? 0 : -1;
}

void job_key_let_go(job_spool *s, const char *key, int held, int drop)
{
    char name[2 * APR_SHA1_DIGESTSIZE + 1];

    key_name(key, name);
    if (drop && still_there(s->folder[JOB_IN_KEYS], name, held))
        unlinkat(s->folder[JOB_IN_KEYS], name, 0);
    close(held);
}

/* --- which job is next --- */

typedef struct {
    job_entry e;
    int running;
} seen_entry;

typedef struct {
    seen_entry *at;
    size_t count, room;
    int running;
} seen_list;

static int remember(void *ctx, const job_entry *e, const char *name)
{
    seen_list *l = ctx;

    if (l->count == l->room) {
        size_t room = l->room ? 2 * l->room : 256;
        seen_entry *more = realloc(l->at, room * sizeof *more);

        if (!more)
            return 1;
        l->at = more;
        l->room = room;
    }
    l->at[l->count++] = (seen_entry){*e, l->running};
    return 0;
}

/* Together what has one destination, the oldest job first */
static int by_dest(const void *a, const void *b)
{
    const seen_entry *x = a, *y = b;

    return x->e.dest != y->e.dest ? (x->e.dest < y->e.dest ? -1 : 1) : strcmp(x->e.id, y->e.id);
}

static int by_due(const void *a, const void *b)
{
    const job_entry *x = a, *y = b;

    return x->due != y->due ? (x->due < y->due ? -1 : 1) : strcmp(x->id, y->id);
}

int job_spool_due(job_spool *s, job_folder queue, job_entry *out, int max, int64_t *next)
{
    seen_list l = {0};
    const int64_t now = job_now();
    size_t ready = 0;
    int n;

    *next = 1000;
    each(s, queue, remember, &l);
    l.running = 1;
    if (queue == JOB_IN_QUEUE)
        each(s, JOB_IN_RUN, remember, &l);
    if (l.count)
        qsort(l.at, l.count, sizeof *l.at, by_dest);
    for (size_t i = 0; i < l.count;) {
        size_t end = i + 1;
        int busy = l.at[i].running;

        while (queue == JOB_IN_QUEUE && end < l.count && l.at[end].e.dest == l.at[i].e.dest)
            busy |= l.at[end++].running;
        if (!busy && l.at[i].e.due <= now)
            l.at[ready++] = l.at[i];
        else if (!busy && l.at[i].e.due - now < *next)
            *next = l.at[i].e.due - now;
        i = end;
    }
    for (size_t i = 0; i < ready; i++) /* in place: a job_entry leads each seen_entry */
        ((job_entry *)(void *)l.at)[i] = l.at[i].e;
    if (ready)
        qsort(l.at, ready, sizeof(job_entry), by_due);
    n = ready < (size_t)max ? (int)ready : max;
    if (n)
        memcpy(out, l.at, (size_t)n * sizeof *out);
    free(l.at);
    return n;
}

/* --- holding --- */

void job_spool_let_go(job_hold *h)
{
    if (h->fd >= 0)
        close(h->fd);
    if (h->lock >= 0)
        close(h->lock);
    h->fd = h->lock = -1;
}

/* Opens, locks, and looks whether the name still leads there. */
static int take(job_spool *s, job_folder f, const char *name)
{
    int fd = openat(s->folder[f], name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);

    if (fd < 0)
        return -1;
    if (flock(fd, LOCK_EX | LOCK_NB) != 0 || !still_there(s->folder[f], name, fd)) {
        close(fd);
        return -1;
    }
    return fd;
}

static int lock_dest(job_spool *s, uint64_t dest)
{
    char name[3];
    int fd;

    snprintf(name, sizeof name, "%02x", (unsigned)(dest % LOCKS));
    fd = openat(s->folder[JOB_IN_LOCK], name, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) != 0) {
        close(fd);
        return -1;
    }
    return fd;
}

int job_spool_claim(job_spool *s, job_folder queue, const job_entry *e, job_hold *h)
{
    char old[JOB_NAME_MAX];

    h->entry = *e;
    h->in = queue == JOB_IN_QUEUE ? JOB_IN_RUN : queue;
    h->lock = -1;
    name_of(e, queue, old);
    if ((h->fd = take(s, queue, old)) < 0)
        return -1;
    if (queue != JOB_IN_QUEUE) {
        memcpy(h->name, old, sizeof old);
        return 0;
    }
    h->entry.attempts++;
    name_of(&h->entry, JOB_IN_RUN, h->name);
    if ((h->lock = lock_dest(s, e->dest)) < 0 ||
        renameat(s->folder[JOB_IN_QUEUE], old, s->folder[JOB_IN_RUN], h->name) != 0) {
        job_spool_let_go(h);
        return -1;
    }
    return 0;
}

typedef struct {
    job_spool *s;
    job_hold *h;
    int found;
} orphan_search;

static int try_orphan(void *ctx, const job_entry *e, const char *name)
{
    orphan_search *o = ctx;

    o->h->entry = *e;
    o->h->in = JOB_IN_RUN;
    snprintf(o->h->name, sizeof o->h->name, "%s", name);
    if ((o->h->fd = take(o->s, JOB_IN_RUN, name)) < 0)
        return 0;
    /* What follows may write to its destination */
    if ((o->h->lock = lock_dest(o->s, e->dest)) < 0)
        job_spool_let_go(o->h);
    return o->found = o->h->fd >= 0;
}

int job_spool_orphan(job_spool *s, job_hold *h)
{
    orphan_search o = {s, h, 0};

    each(s, JOB_IN_RUN, try_orphan, &o);
    return o.found ? 0 : -1;
}

const char *job_spool_read(int fd, apr_pool_t *p)
{
    struct stat st;
    char *text;
    size_t at = 0;

    if (fstat(fd, &st) != 0 || st.st_size > MOST_TEXT)
        return NULL;
    text = apr_palloc(p, (size_t)st.st_size + 1);
    while (at < (size_t)st.st_size) {
        ssize_t n = pread(fd, text + at, (size_t)st.st_size - at, (off_t)at);

        if (n <= 0)
            return NULL;
        at += (size_t)n;
    }
    text[at] = '\0';
    return text;
}

/* Into done/ or dead/, durably */
static int put_record(job_spool *s, const char *id, job_folder to, const char *record)
{
    return write_file(s->folder[JOB_IN_TMP], id, record, strlen(record)) != 0 ||
                   renameat(s->folder[JOB_IN_TMP], id, s->folder[to], id) != 0 || fsync(s->folder[to]) != 0
               ? -1
               : 0;
}

int job_spool_leave(job_spool *s, job_hold *h, int call)
{
    job_entry e = {.due = job_now()};
    char name[JOB_NAME_MAX];

    memcpy(e.id, h->entry.id, sizeof e.id);
    name_of(&e, JOB_IN_CALL, name);
    if ((call && (write_file(s->folder[JOB_IN_CALL], name, "", 0) != 0 || fsync(s->folder[JOB_IN_CALL]) != 0)) ||
        unlinkat(s->folder[JOB_IN_RUN], h->name, 0) != 0)
        return -1;
    job_spool_let_go(h);
    return 0;
}

int job_spool_finish(job_spool *s, job_hold *h, job_folder to, const char *record, int call)
{
    /* The record is there before anybody is told of it, and both before the job leaves run/. */
    return put_record(s, h->entry.id, to, record) == 0 ? job_spool_leave(s, h, call) : -1;
}

int job_spool_again(job_spool *s, job_hold *h, int64_t due, int attempts, const char *record)
{
    job_entry e = h->entry;
    char name[JOB_NAME_MAX];

    e.due = due;
    e.attempts = attempts;
    name_of(&e, h->in == JOB_IN_RUN ? JOB_IN_QUEUE : h->in, name);
    /* Cut off between the two steps, it is in both: the one in run/ is then known for a leftover. Who finds the one in
     * the queue meanwhile cannot have it, its destination is locked. */
    if (record) {
        if (write_file(s->folder[JOB_IN_TMP], e.id, record, strlen(record)) != 0 ||
            renameat(s->folder[JOB_IN_TMP], e.id, s->folder[JOB_IN_QUEUE], name) != 0 ||
            fsync(s->folder[JOB_IN_QUEUE]) != 0 || unlinkat(s->folder[JOB_IN_RUN], h->name, 0) != 0)
            return -1;
    } else if (renameat(s->folder[h->in], h->name, s->folder[h->in == JOB_IN_RUN ? JOB_IN_QUEUE : h->in], name) != 0) {
        return -1;
    }
    job_spool_let_go(h);
    return 0;
}

void job_spool_forget(job_spool *s, job_hold *h)
{
    unlinkat(s->folder[h->in], h->name, 0);
    job_spool_let_go(h);
}

/* --- one job by its id --- */

typedef struct {
    const char *id;
    job_entry e;
    char name[JOB_NAME_MAX];
    int found;
} id_search;

static int is_it(void *ctx, const job_entry *e, const char *name)
{
    id_search *q = ctx;

    if (strcmp(e->id, q->id) != 0)
        return 0;
    q->e = *e;
    snprintf(q->name, sizeof q->name, "%s", name);
    return q->found = 1;
}

static int find_in(job_spool *s, job_folder f, const char *id, id_search *q)
{
    struct stat st;

    if (!job_id_good(id))
        return 0;
    *q = (id_search){.id = id};
    if (f != JOB_IN_DONE && f != JOB_IN_DEAD)
        return each(s, f, is_it, q) == 0 && q->found;
    snprintf(q->name, sizeof q->name, "%s", id);
    memcpy(q->e.id, id, sizeof q->e.id);
    return fstatat(s->folder[f], id, &st, AT_SYMLINK_NOFOLLOW) == 0;
}

const char *job_spool_find(job_spool *s, const char *id, job_folder *where, job_entry *e, apr_pool_t *p)
{
    static const job_folder order[] = {JOB_IN_QUEUE, JOB_IN_RUN, JOB_IN_DONE, JOB_IN_DEAD};
    id_search q;

    /* Jobs walk on while they are looked for, some of them back */
    for (int tries = 0; tries < 3; tries++)
        for (int i = 0; i < 4; i++) {
            const char *text;
            int fd;

            if (!find_in(s, order[i], id, &q) ||
                (fd = openat(s->folder[order[i]], q.name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC)) < 0)
                continue;
            text = job_spool_read(fd, p);
            close(fd);
            *where = order[i];
            *e = q.e;
            return text;
        }
    return NULL;
}

int job_spool_elsewhere(job_spool *s, const char *id, job_folder *where, job_entry *e)
{
    static const job_folder others[] = {JOB_IN_QUEUE, JOB_IN_DONE, JOB_IN_DEAD};
    id_search q;

    for (int i = 0; i < 3; i++)
        if (find_in(s, others[i], id, &q)) {
            *where = others[i];
            *e = q.e;
            return 1;
        }
    return 0;
}

int job_spool_cancel(job_spool *s, const char *id, job_change_fn *change, apr_pool_t *p)
{
    const char *text;
    uint64_t dest;
    id_search q;
    int fd, rv = -1;

    /* Its own lock alone: another job may be at work on the same destination */
    if (!find_in(s, JOB_IN_QUEUE, id, &q) || (fd = take(s, JOB_IN_QUEUE, q.name)) < 0)
        return -1;
    if ((text = job_spool_read(fd, p)) && (text = change(text, &dest, p)) && put_record(s, id, JOB_IN_DONE, text) == 0)
        rv = unlinkat(s->folder[JOB_IN_QUEUE], q.name, 0);
    close(fd);
    return rv;
}

int job_spool_retry(job_spool *s, const char *id, job_change_fn *change, apr_pool_t *p)
{
    const char *text;
    job_entry e = {.due = job_now()};
    char name[JOB_NAME_MAX];
    int fd = take(s, JOB_IN_DEAD, id), rv = -1;

    if (fd < 0)
        return -1;
    memcpy(e.id, id, sizeof e.id);
    /* As it is, in one step: a copy left in dead/ would be taken for its end */
    if ((text = job_spool_read(fd, p)) && change(text, &e.dest, p)) {
        name_of(&e, JOB_IN_QUEUE, name);
        if (renameat(s->folder[JOB_IN_DEAD], id, s->folder[JOB_IN_QUEUE], name) == 0)
            rv = job_spool_commit(s);
    }
    close(fd);
    return rv;
}

/* --- keeping house --- */

static void sweep(job_spool *s, job_folder f, int64_t age)
{
    int fd = openat(s->folder[f], ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *d = fd < 0 ? NULL : fdopendir(fd);
    const int64_t now = job_now();
    struct dirent *one;
    struct stat st;

    if (!d) {
        if (fd >= 0)
            close(fd);
        return;
    }
    while ((one = readdir(d)) != NULL)
        if (one->d_name[0] != '.' && fstatat(s->folder[f], one->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
            now - (int64_t)st.st_mtim.tv_sec * 1000 > age)
            unlinkat(s->folder[f], one->d_name, 0);
    closedir(d);
}

void job_spool_sweep(job_spool *s, int64_t done, int64_t dead)
{
    sweep(s, JOB_IN_TMP, TMP_KEPT);
    sweep(s, JOB_IN_DONE, done);
    sweep(s, JOB_IN_KEYS, done);
    sweep(s, JOB_IN_DEAD, dead);
}

typedef struct {
    int count;
    int64_t oldest;
} counting;

static int count(void *ctx, const job_entry *e, const char *name)
{
    counting *c = ctx;
    int64_t t = id_time(e->id);

    c->count++;
    if (!c->oldest || t < c->oldest)
        c->oldest = t;
    return 0;
}

int job_spool_count(job_spool *s, job_folder f, int64_t *oldest)
{
    counting c = {0};

    each(s, f, count, &c);
    *oldest = c.oldest;
    return c.count;
}
#endif
