/* SPDX-License-Identifier: Apache-2.0
 * Bytes at an offset. The only I/O the decoders know. */
#ifndef IIP_SOURCE_H
#define IIP_SOURCE_H
#include "settings.h"

/* >> mod_iip.h */
typedef struct iip_source iip_source_t;

/* Who the bytes are. All of it is in every key of this child's stores: a replaced file is another source, and so is the
 * same file through another root (root = the IIPRoot's number, 0 without: else a link out of one root would be answered
 * from what another's clients asked), and the same file once it was to be forgotten (generation). No padding: hashed as
 * bytes. The ETag, which other machines must be able to reproduce, uses the name and this without root, dev and
 * generation; of what they have copies of, without ino and ctime too. */
typedef struct {
    uint64_t root, dev, ino, generation;
    int64_t size, mtime_ns, ctime_ns;
} iip_ident;

struct iip_source {
    /* Reads exactly n bytes at off, or fails: IIP_E_IO, IIP_E_CORRUPT (short file), at the first read also
     * IIP_E_FORBIDDEN, IIP_E_NOT_FOUND, IIP_E_CHANGED (the opened file is not the one looked at). Thread-safe after the
     * first read. */
    iip_status (*read)(iip_source_t *s, void *buf, size_t n, int64_t off, iip_error *e);
    iip_ident id;
    const char *name; /* below the root, or the file's path: shared identity and log lines */
    apr_time_t mtime; /* of id, rounded down */
    int fd;           /* -1 if there is none (yet) */
    int copied;       /* other machines have copies of it, equal in name, size and mtime */
};
/* << */

/* What other machines can tell alike: ino (0 if copied), size, mtime_ns, ctime_ns (0 if copied). */
void iip_source_shared(const iip_source_t *s, int64_t id[4]);
/* Looks and opens at the first read, both beneath root with no step outside of it (openat2 RESOLVE_BENEATH,
 * where the kernel lacks it openat O_NOFOLLOW segment by segment; root->follow: plain openat), regular files only
 * (O_NONBLOCK). root NULL: rel is the absolute path httpd mapped. rel has passed iip_path_check(). IIP_E_NOT_FOUND
 * (also for what is no regular file), IIP_E_FORBIDDEN. The descriptor is closed with the pool. */
iip_status iip_source_file(iip_source_t **s, const iip_root *root, const char *rel, apr_pool_t *p, iip_error *e);
/* A descriptor for reading the folder of that name ("." is the root itself), by the same rules; the caller closes it.
 * id: which folder it is, in which state. */
iip_status iip_source_folder(int *fd, iip_ident *id, const iip_root *root, const char *rel, iip_error *e);
/* The same file with a descriptor of its own (dup; pread has no position to share), opened if it was not: a reader kept
 * over requests reads through it. A source that is no file is handed back itself and must outlive what reads it. */
iip_status iip_source_keep(iip_source_t **out, iip_source_t *s, apr_pool_t *p, iip_error *e);
/* 1 if the opened file still has s->id (fstat of its descriptor), so that what was decoded may be cached; 1 for memory
 * and for what was not opened. */
int iip_source_same(iip_source_t *s);
/* Microseconds that this thread has spent reading files, ever. */
apr_interval_time_t iip_source_time(void);
/* Borrows the bytes; each call makes a source of its own identity. For tests, fuzzers and fetched jobs. */
iip_source_t *iip_source_memory(const void *data, size_t n, const char *name, apr_pool_t *p);
/* Opens root->fd (O_PATH|O_DIRECTORY|O_CLOEXEC); IIP_E_NOT_FOUND or IIP_E_FORBIDDEN when this user cannot. Closed with
 * p. */
iip_status iip_root_open(iip_root *root, apr_pool_t *p, iip_error *e);

#define IIP_GENERATIONS 4096 /* places in the table of them; files that share one are forgotten together */

/* Memory that all processes share, zeroed at first; NULL: nothing is ever forgotten. Before the first source is made.
 */
void iip_source_generations(uint32_t *table);
/* From now on the file is another source, whatever its name and in every process, for who looks at it anew. */
void iip_source_forget(uint32_t *table, const iip_ident *id);
#endif
