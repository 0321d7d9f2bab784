/* SPDX-License-Identifier: Apache-2.0
 * Channels (spec section 5): one packed record each, in a store that all children share, so that any of them can answer
 * the next request of a channel, from whatever socket it comes. */
#ifndef JPIP_SESSION_H
#define JPIP_SESSION_H
#include "jpip/model.h"

#define JPIP_RECORD_MAX 65536
#define JPIP_CID_LEN    22

/* The store. Keys and records are bytes; lock and unlock surround a get and the put that goes with it (they do nothing
 * where the store is shared by several machines). */
typedef struct {
    /* *n: room in, length out. IIP_E_NOT_FOUND, IIP_E_IO. */
    iip_status (*get)(void *ctx, const char *key, void *rec, size_t *n, iip_error *e);
    iip_status (*put)(void *ctx, const char *key, const void *rec, size_t n, apr_time_t until, iip_error *e);
    void (*drop)(void *ctx, const char *key);
    void (*lock)(void *ctx);
    void (*unlock)(void *ctx);
    void *ctx;
} jpip_store;

typedef struct {
    const jpip_store *store;
    apr_interval_time_t timeout; /* of an idle channel */
    char cid[JPIP_CID_LEN + 1];
    char group[JPIP_CID_LEN + 1]; /* the session: cid of its first channel */
    char tid[17];
    const char *target; /* as the record has it */
    int type;           /* jpip_type, and 16 where extended */
    int shared;         /* the session has or had a second channel */
    int fresh;          /* metadata is still due (6.2) */
    uint64_t requests;  /* this is number .. */
    apr_time_t created;
    jpip_model *model;
    /* private */
    uint64_t mine; /* this request's mark */
    apr_time_t begun, renewed, looked;
    unsigned char *record; /* as it was; JPIP_RECORD_MAX of malloc */
    size_t record_len, model_at;
    apr_pool_t *pool;
} jpip_session;

/* A new channel with an empty model; cid and mark are random. group: the session of a sister channel, or NULL. Nothing
 * is stored before jpip_session_end(). */
iip_status jpip_session_open(jpip_session **s, const jpip_store *store, const char *cid, uint64_t mark,
                             const jpip_session *sister, apr_interval_time_t timeout, apr_pool_t *p, iip_error *e);
/* The channel `cid`, which this request now has to itself: an earlier one that still runs is waited for (wait: up to 10
 * s) or told to end (2 s). IIP_E_BUSY: no such channel any more. gone: asks if the client hung up, may be NULL. */
iip_status jpip_session_begin(jpip_session **s, const jpip_store *store, const char *cid, uint64_t mark, int wait,
                              apr_interval_time_t timeout, int (*gone)(void *ctx), void *gone_ctx, apr_pool_t *p,
                              iip_error *e);
/* 1 if a newer request wants the channel. Cheap: it looks 10 times a second, and renews the mark each 10 s. */
int jpip_session_cancelled(jpip_session *s);
/* Stores the channel: with the model as it is now, or (keep = 0, the client never got the answer) as it was before.
 * A request that was overtaken stores nothing. IIP_E_MEMORY: the store has no place for it. */
iip_status jpip_session_end(jpip_session *s, int keep, iip_error *e);
/* Forgets the channel, instead of jpip_session_end(); all: and all others of its session. */
void jpip_session_close(jpip_session *s, int all);
/* Forgets another channel, if it is one of the same session; 1 if so. */
int jpip_session_close_other(const jpip_session *s, const char *cid);
#endif
