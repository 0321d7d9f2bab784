/* SPDX-License-Identifier: Apache-2.0
 * The spool: jobs as files that survive everything (spec/imgserve.md section 7). A job is in one folder at any moment:
 *
 *   tmp/   being written                        queue/ <due>-<id>.<attempts>.<destination>   waits until due
 *   done/  <id>   over, as its record says      run/   <id>.<attempts>.<destination>         somebody holds its lock
 *   dead/  <id>   given up                      call/  <due>-<id>.<attempts>.0               a callback to make
 *   keys/  <hash of an idempotency key>         lock/  <00 to ff>: one job at a time for destinations of that hash
 *
 * Times are milliseconds since 1970, 13 digits; destination: 16 hex digits of a hash, so that the order of jobs for one
 * destination is known without reading them. A job's file is its record, a JSON object. Nothing here blocks on a
 * network or on another process. Functions return 0, or -1 with errno. */
#ifndef IIP_JOB_SPOOL_H
#define IIP_JOB_SPOOL_H
#include "job/job.h"

typedef enum {
    JOB_IN_TMP,
    JOB_IN_QUEUE,
    JOB_IN_RUN,
    JOB_IN_DONE,
    JOB_IN_DEAD,
    JOB_IN_CALL,
    JOB_IN_KEYS,
    JOB_IN_LOCK,
    JOB_FOLDERS
} job_folder;

typedef struct job_spool {
    int folder[JOB_FOLDERS]; /* descriptors, closed with the pool */
} job_spool;

typedef struct {
    char id[JOB_ID_LEN + 1];
    int64_t due; /* ms; 0 in run/ */
    int attempts;
    uint64_t dest;
} job_entry;
#define JOB_NAME_MAX 80

/* make: folders are made where missing (0700, of this user). -1 with ENOTSUP on a network file system. */
int job_spool_open(job_spool **s, const char *path, int make, apr_pool_t *p);
/* Gives all of it to another user, for a parent that is root. */
int job_spool_own(const char *path, uid_t user, gid_t group, apr_pool_t *p);
int64_t job_now(void);                    /* ms */
int job_id_make(char id[JOB_ID_LEN + 1]); /* -1: no random numbers */
/* 1 if text is an id as we make them: may be a file's name. */
int job_id_good(const char *text);
uint64_t job_dest_hash(const char *dest);

/* --- taking jobs --- */
/* A record into tmp/, on the disk. */
int job_spool_write(job_spool *s, const char *id, const char *record, size_t n);
/* From tmp/ to queue/: still to be made durable by job_spool_commit(), once for a batch. */
int job_spool_enqueue(job_spool *s, const job_entry *e);
int job_spool_commit(job_spool *s);
void job_spool_drop(job_spool *s, const char *id); /* out of tmp/ */
/* The first to come with a key has it, and holds it by a lock until its job is in the queue, or it is killed.
 * claim: 1: text (a reply) is kept under it, *held is to be let go; 0: somebody has it; -1: errno.
 * find: 1: *text is what is kept, *held is to be let go; 0: who has it is at work; -1: nobody has it. */
int job_key_claim(job_spool *s, const char *key, const char *text, int *held);
int job_key_find(job_spool *s, const char *key, const char **text, int *held, apr_pool_t *p);
void job_key_let_go(job_spool *s, const char *key, int held, int drop); /* drop: nobody has it any more */

/* --- working on them --- */
/* A job or callback this process holds: the locks go when both descriptors are closed, in children too. */
typedef struct {
    job_entry entry;
    job_folder in; /* JOB_IN_RUN or JOB_IN_CALL */
    char name[JOB_NAME_MAX];
    int fd, lock;
} job_hold;

/* Which ones may be worked on now, soonest first; at most max. Of jobs with one destination only the oldest, and none
 * while one of them is worked on. Their number. *next: ms until another may be due (at most 1000). */
int job_spool_due(job_spool *s, job_folder queue, job_entry *out, int max, int64_t *next);
/* Takes one: 0; -1 if somebody else was faster. */
int job_spool_claim(job_spool *s, job_folder queue, const job_entry *e, job_hold *h);
/* Those in run/ that nobody holds any more; *h holds it. 0, -1 if there is none. */
int job_spool_orphan(job_spool *s, job_hold *h);
/* The record of what is held, or of a job in a folder, memory of p. NULL. */
const char *job_spool_read(int fd, apr_pool_t *p);
const char *job_spool_find(job_spool *s, const char *id, job_folder *where, job_entry *e, apr_pool_t *p);
/* 1 if a job that was left in run/ lies further on too, or is in the queue again. */
int job_spool_elsewhere(job_spool *s, const char *id, job_folder *where, job_entry *e);
/* Over: the record into done/ or dead/, a callback into call/ if it wants one, then out of run/. */
int job_spool_finish(job_spool *s, job_hold *h, job_folder to, const char *record, int call);
/* The last steps of that alone, for a job whose record lies where it belongs. */
int job_spool_leave(job_spool *s, job_hold *h, int call);
/* Back into the queue, with a new record if not NULL. attempts: as it shall count. */
int job_spool_again(job_spool *s, job_hold *h, int64_t due, int attempts, const char *record);
void job_spool_let_go(job_hold *h);               /* the descriptors */
void job_spool_forget(job_spool *s, job_hold *h); /* a callback that is made, or given up */
/* Makes the new record of an old one, and tells the hash of its destination. NULL: it cannot. */
typedef const char *job_change_fn(const char *old, uint64_t *dest, apr_pool_t *p);
/* Takes a job out of the queue for good (a client's wish): its record goes into done/. -1: it does not wait. */
int job_spool_cancel(job_spool *s, const char *id, job_change_fn *change, apr_pool_t *p);
/* From dead/ back into the queue, its record as it is: change only tells the hash. */
int job_spool_retry(job_spool *s, const char *id, job_change_fn *change, apr_pool_t *p);

/* --- keeping house --- */
/* Removes what is older than these many ms; keys go with done/. */
void job_spool_sweep(job_spool *s, int64_t done, int64_t dead);
/* Entries in a folder; *oldest: the earliest time in their names (ids), 0 if there are none. */
int job_spool_count(job_spool *s, job_folder f, int64_t *oldest);
#endif
