/* SPDX-License-Identifier: Apache-2.0
 * The second level: encoded answers in memcached, shared by all children and machines that have the same secret.
 *
 * A request never waits for a server longer than the deadline. Work with servers is done in a lane of two threads,
 * since a client may not return from one that hangs: such a thread is given up and another takes its place. The server
 * is left alone for a while then (5 s, doubled each time up to 5 minutes) and tried again by a look-up that nobody
 * waits for; its keys, and no others, lie elsewhere meanwhile. So a server that hangs costs one deadline, and then
 * nothing. */
#ifndef IIP_L2_H
#define IIP_L2_H
#include "cache.h"

#define IIP_L2_SECRET 48      /* bytes: two keys for names, one for values */
#define IIP_L2_NAME   38      /* of a name with its NUL: "iip1:" and 32 hex digits */
#define IIP_L2_MOST   1000000 /* bytes of a value with its frame; memcached takes no more than 1 MiB */
#define IIP_L2_PORT   11211   /* where none is given */

/* A client library. Everything an open() gave is used by one thread. */
typedef struct {
    const char *name;
    /* A way to one server, "host:port". patience: how long an operation may take, where the library can be told so;
     * microseconds. NULL: out of memory. Does not connect. */
    void *(*open)(const char *server, int64_t patience);
    /* 1: *data is *len bytes of malloc's; 0: it has none; -1: the server is not well. May not return for long. */
    int (*get)(void *handle, const char *name, char **data, size_t *len);
    /* 1: stored; 0: the server would not have it; -1: it is not well. seconds: how long it is kept, 0 for ever. */
    int (*set)(void *handle, const char *name, char *data, size_t len, uint32_t seconds);
    void (*close)(void *handle);
} iip_l2_client;
extern const iip_l2_client iip_l2_apr;
/* NULL where libmemcached is not built in. */
extern const iip_l2_client *const iip_l2_libmemcached;

typedef struct iip_l2 iip_l2_t;
/* servers: "host:port" each, NULL at the end. ttl, deadline: microseconds. No thread is started before the first use.
 * NULL: out of memory, or no servers. */
iip_l2_t *iip_l2_create(const iip_l2_client *client, const char *const *servers, int64_t ttl, int64_t deadline,
                        const unsigned char secret[IIP_L2_SECRET]);
/* Nobody else uses it any more. Threads that a server holds are left behind with what they use. */
void iip_l2_destroy(iip_l2_t *l2);

/* A held blob without a mime, or NULL: not there, not ours, or not in time. Waits for the deadline at most, and for
 * `most` microseconds if that is less. */
iip_blob *iip_l2_get(iip_l2_t *l2, const void *key, size_t klen, int64_t most);
/* Stores it sometime, or not at all. */
void iip_l2_put(iip_l2_t *l2, const void *key, size_t klen, iip_blob *b);

typedef struct {
    uint64_t hits, misses, foreign, late, errors, stores, dropped; /* foreign: values that did not bear our mark */
    uint64_t shut, servers;                                        /* servers left alone now, of how many */
} iip_l2_stats;
void iip_l2_read_stats(iip_l2_t *l2, iip_l2_stats *out);

/* The name of a key: a hash that nobody can foresee who has not the secret. */
void iip_l2_name(const unsigned char secret[IIP_L2_SECRET], const void *key, size_t klen, char name[IIP_L2_NAME]);
/* A value as it is stored: magic, length of all, length of the key, the key, the bytes, SipHash of all before.
 * malloc's; NULL: longer than IIP_L2_MOST, or memory is out. */
char *iip_l2_frame(const unsigned char secret[IIP_L2_SECRET], const void *key, size_t klen, const void *data,
                   size_t len, size_t *n);
/* Where the bytes of that key lie in a value; -1: it is not one of ours, or another key's. */
int iip_l2_unframe(const unsigned char secret[IIP_L2_SECRET], const void *key, size_t klen, const char *frame, size_t n,
                   size_t *at, size_t *len);
#endif
