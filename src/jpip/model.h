/* SPDX-License-Identifier: Apache-2.0
 * What we believe a client holds: for each bin the number of its first bytes (T.808 C.8). Bins of equal state are kept
 * as runs, so a model is small whatever the picture. One thread at a time. */
#ifndef JPIP_MODEL_H
#define JPIP_MODEL_H
#include "jpip/bins.h"
#include "jpip/items.h"
#include "jpip/query.h"

#define JPIP_WHOLE UINT64_MAX /* held: the bin is complete */

typedef struct jpip_model jpip_model;

/* Memory by malloc, freed with p. NULL: memory is out. */
jpip_model *jpip_model_make(apr_pool_t *p);
/* Bytes of a bin the client holds, JPIP_WHOLE if it is complete. cls is even; stream is 0 for metadata. */
uint64_t jpip_model_held(const jpip_model *m, int64_t stream, int cls, uint64_t id);
/* 1 if every one of the bins first..last is complete. */
int jpip_model_complete(const jpip_model *m, int64_t stream, int cls, uint64_t first, uint64_t last);

/* What happens to the bins first..last: held becomes min(max(held, lo), hi). lo <= hi. */
typedef struct {
    int64_t stream;
    int cls;
    uint32_t order; /* jpip_edits_add() counts them */
    uint64_t first, last, lo, hi;
} jpip_edit;

typedef struct {
    jpip_edit *at;           /* malloc, freed with the pool */
    size_t n, room, skipped; /* skipped: items left out */
} jpip_edits;

#define JPIP_EDITS_MAX (1u << 18)

jpip_edits *jpip_edits_make(apr_pool_t *p); /* NULL: memory is out */
/* IIP_E_LIMIT when there are too many: one that only adds to what the client holds is left out instead. IIP_E_MEMORY.
 */
iip_status jpip_edits_add(jpip_edits *l, const jpip_edit *one, iip_error *e);

/* How a text meets the pictures. */
typedef struct {
    int64_t streams, first; /* there are 0..streams-1; items without a qualifier speak of `first` */
    void *ctx;
    /* Adds what an item means that depends on the geometry: implicit ones, and those limited by layers. */
    iip_status (*expand)(void *ctx, int64_t stream, const jpip_item *it, jpip_edits *l, iip_error *e);
} jpip_geometry;

/* The edits that a (good) text of model or need means. IIP_E_LIMIT: more than this server reads. */
iip_status jpip_items_edits(const char *text, const jpip_geometry *g, jpip_edits *l, iip_error *e);
/* Carries them out in their order (and sorts l), in O(n log n). After IIP_E_MEMORY some may be carried out. */
iip_status jpip_model_apply(jpip_model *m, jpip_edits *l, iip_error *e);
/* The same for n edits of one class of one code-stream with ids that ascend. */
iip_status jpip_model_set(jpip_model *m, const jpip_edit *edit, size_t n, iip_error *e);
/* This code-stream was asked for in request number `when`: those asked for longest ago are forgotten first. */
void jpip_model_touch(jpip_model *m, int64_t stream, uint64_t when);
/* Tells the model who the file of a linked code-stream is. 0 if it was another one before. */
int jpip_model_source(jpip_model *m, int64_t stream, uint64_t identity);
/* mset: forget all code-streams that are not among these. */
void jpip_model_keep(jpip_model *m, const jpip_ranges *streams);

/* The packed form, at most room bytes: precincts of the code-streams touched longest ago are left out until it fits,
 * then those code-streams altogether. Returns its length. */
size_t jpip_model_pack(const jpip_model *m, unsigned char *out, size_t room);
/* IIP_E_CORRUPT where the bytes are none of ours, IIP_E_MEMORY. */
iip_status jpip_model_unpack(jpip_model **m, const unsigned char *p, size_t n, apr_pool_t *pool, iip_error *e);
#endif
