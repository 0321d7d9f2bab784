/* SPDX-License-Identifier: Apache-2.0
 * The whole of the image path: request + caches -> blob or bytes into a sink. */
#ifndef IIP_SERVE_H
#define IIP_SERVE_H
#include "raster/raster.h"
#include "cache/cache.h"
#include "cache/l2.h"
#include "permits.h"

typedef struct iip_server iip_server_t; /* per child: caches, readers, gate, counters */
struct jpip_indexes;

/* p: a pool with a locked allocator that lives as long as the child (architecture 3.1). set is effective. NULL if
 * memory is out. */
iip_server_t *iip_server_create(const iip_server_settings *set, apr_pool_t *p);
/* A second level for answers: set->memcached under that secret. Nothing if set names no servers. Once, before the first
 * request. IIP_E_MEMORY: it does without. */
iip_status iip_server_share(iip_server_t *sv, const iip_server_settings *set, const unsigned char *secret,
                            iip_error *e);
/* Large work shares these with other processes. Once, before the first request. */
void iip_server_permits(iip_server_t *sv, iip_permits *permits);
/* No other thread is left: tests, tool, threaded MPMs. Frees all that malloc gave. */
void iip_server_destroy(iip_server_t *sv);
/* Its packet indexes (jpip/index.h), and its places for work (gate.h). */
struct jpip_indexes *iip_server_indexes(iip_server_t *sv);
struct iip_gate *iip_server_gate(iip_server_t *sv);

/* The header of the picture, upright; *info lives while *hold is held (release it). name -> source is done by the
 * caller. After IIP_OK what s names has been read through s's own root under s's identity, now or earlier in this
 * child. */
iip_status iip_serve_info(iip_server_t *sv, iip_source_t *s, int page, const iip_limits *lim, const iip_info **info,
                          iip_blob **hold, iip_error *e);

/* The same as a request sees it: its page, and its part of that. *info lives while *hold is held and p lives. */
iip_status iip_serve_page(iip_server_t *sv, iip_source_t *s, const iip_request *rq, const iip_limits *lim,
                          const iip_info **info, iip_blob **hold, apr_pool_t *p, iip_error *e);

/* Hex of 128 bits over shared identity (name, inode, size, times; no root, no device), build and line: iip_request_line
 * for a picture; for a text all that shapes it (base URL, media type, its settings). Ready before any pixel. */
void iip_serve_etag(const iip_source_t *s, const char *line, size_t len, char tag[33]);

/* What an answer is called in the second level: all that the ETag is made of, in full, and the file's generation; in
 * p. */
const void *iip_serve_shared_key(const iip_source_t *s, const char *line, size_t len, size_t *klen, apr_pool_t *p);

/* A held blob if the answer (line: iip_request_line) is in this child's cache, else NULL; all that HEAD may cost. */
iip_blob *iip_serve_peek(iip_server_t *sv, const iip_source_t *s, const char *line, size_t len, apr_pool_t *p);

/* p is only a parent: what the work holds is gone when the call returns, so b may lie on the caller's stack.
 * rq is resolved and does not stream. One caller per line works, equal ones wait. The held blob has mime set. */
iip_status iip_serve_image(iip_server_t *sv, const iip_request *rq, const char *line, size_t len, const iip_info *info,
                           iip_source_t *s, const iip_limits *lim, iip_budget *b, apr_pool_t *p, iip_blob **out,
                           iip_error *e);

/* rq streams: encoded bytes go into k as they come, none before the first strip is made. The decode place is given back
 * before each write and taken again after. */
iip_status iip_serve_stream(iip_server_t *sv, const iip_request *rq, const iip_info *info, iip_source_t *s,
                            const iip_limits *lim, iip_budget *b, apr_pool_t *p, iip_sink *k, iip_error *e);

typedef struct {
    iip_cache_stats info, cell, output, index;
    uint64_t built, loaded, saved, failed; /* packet indexes (jpip/index.h) */
    iip_l2_stats shared;                   /* zeros without one */
    uint64_t decoding, waiting;
} iip_server_stats; /* numbers alone: kept as a row of them */
void iip_server_read_stats(iip_server_t *sv, iip_server_stats *out);
#endif
