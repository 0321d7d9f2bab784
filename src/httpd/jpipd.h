/* SPDX-License-Identifier: Apache-2.0
 * JPIP in httpd: what jpip.c and channels.c know of each other and mod_iip.c of them. */
#ifndef JPIPD_H
#define JPIPD_H
#include "httpd/iipd.h"
#include "jpip/answer.h"
#include <apr_atomic.h>

/* A request, in r->pool. */
typedef struct {
    iipd_request *q;
    jpip_query query;
    const char *text; /* query and form */
    const char *name; /* of the target as a channel's record has it */
    const jpip_store *store;
    jpip_session *session;
    int opened;     /* by this request */
    int other_type; /* than the one asked for first */
    jpip_answer a;
    iip_server_t *sv;
    int claim, own;     /* among the JPIP requests under way, and this client's; -1 = none */
    int inside;         /* has a place to work in */
    const char *folder; /* mapped: encoded URL path of the target's folder */
} iipd_ask;

/* ---- jpip.c ---- */
int iipd_jpip_handler(request_rec *r);

/* ---- jpip_ask.c ---- */
/* Query and form. */
iip_status iipd_jpip_read(iipd_ask *j, iip_error *e);
/* 1 if a file that httpd mapped is JPEG 2000, by its first bytes. */
int iipd_jpip_is_ours(iipd_request *q, const char *file);
/* The channel that cid names and the one that cnew asks for, into j->session; HEAD has none. */
iip_status iipd_jpip_channel(iipd_ask *j, iip_error *e);
/* The end of this request in its channel: the model moves on if the answer went out; channels of cclose are closed. */
void iipd_jpip_leave(iipd_ask *j, int sent);
/* The target's source into j->q->src. DECLINED, a status, or OK with j->q->e telling what is wrong. */
int iipd_jpip_file(iipd_ask *j);
/* jpip_open_link; ctx is an iipd_ask. Logs what is broken. */
iip_status iipd_jpip_link(void *ctx, const char *url, iip_source_t **s, apr_pool_t *p, iip_error *e);
/* A path as it may stand in a header, commas encoded too. */
const char *iipd_jpip_encode(const char *path, apr_pool_t *p);

/* ---- child.c ---- */
/* Half the requests that the server can have under way; two at least, as one of a channel ends the one before. */
int iipd_jpip_most(void);

/* ---- channels.c ---- */
int iipd_channels_pre_config(apr_pool_t *pconf);
/* Finds the provider that JPIPSessions names; !OK, logged, if it cannot be. */
int iipd_channels_check(apr_pool_t *pconf, apr_pool_t *ptemp, server_rec *s);
int iipd_channels_post_config(apr_pool_t *pconf, apr_pool_t *ptemp, server_rec *s);
void iipd_channels_child_init(apr_pool_t *pchild, server_rec *s);
/* Channels in the store and the bytes of their records. 0: this store cannot be counted. */
int iipd_channels_read(apr_pool_t *p, uint64_t *channels, uint64_t *bytes);
/* The store, for the length of a request; NULL: there is none (logged once). */
const jpip_store *iipd_channels(request_rec *r);
#endif
