/* SPDX-License-Identifier: Apache-2.0
 * JPIP in httpd: what jpip.c and channels.c know of each other and mod_iip.c of them. */
#ifndef JPIPD_H
#define JPIPD_H
#include "httpd/iipd.h"
#include "jpip/answer.h"
#include <apr_atomic.h>

/* ---- jpip.c ---- */
int iipd_jpip_handler(request_rec *r);

/* ---- child.c ---- */
jpip_indexes *iipd_indexes(void); /* the child's; NULL: none */

/* ---- channels.c ---- */
int iipd_channels_pre_config(apr_pool_t *pconf);
/* Finds the provider that JPIPSessions names; !OK, logged, if it cannot be. */
int iipd_channels_check(apr_pool_t *pconf, apr_pool_t *ptemp, server_rec *s);
int iipd_channels_post_config(apr_pool_t *pconf, apr_pool_t *ptemp, server_rec *s);
void iipd_channels_child_init(apr_pool_t *pchild, server_rec *s);
/* The store, for the length of a request; NULL: there is none (logged once). */
const jpip_store *iipd_channels(request_rec *r);
#endif
