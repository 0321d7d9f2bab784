/* SPDX-License-Identifier: Apache-2.0
 * A code-stream of chosen packets: what OpenJPEG is given in place of a whole tile. */
#ifndef IIP_JP2_SMALL_H
#define IIP_JP2_SMALL_H
#include "codec/jp2.h"

typedef struct iip_jp2_small iip_jp2_small;
struct jpip_index;

/* For the samples want[c] of each component (h->comps of them) of a tile at a level; layers 0 = all. It is a picture of
 * its own, without the levels above, on a grid whose unit is a sample of that level. IIP_E_FEATURE (*e untouched): not
 * in this way. What it is made of must live as long; iip_jp2_small_free(), which takes NULL. */
iip_status iip_jp2_small_make(iip_jp2_small **out, const iip_jp2_head *h, const struct jpip_index *ix, int64_t tile,
                              int level, int layers, const iip_jp2_box *want, iip_error *e);
void iip_jp2_small_free(iip_jp2_small *s);
/* Its bytes are no longer needed. */
void iip_jp2_small_drop(iip_jp2_small *s);
/* 1 if it has all that those samples need. */
int iip_jp2_small_serves(const iip_jp2_small *s, const iip_jp2_box *want);
/* Sides (on that grid) of one for a window of w x h samples, and the bytes it takes with what OpenJPEG builds for it,
 * at most. Tiles that are coded in their own way: the whole tile's. */
size_t iip_jp2_small_hold(const iip_jp2_head *h, int level, int64_t w, int64_t high, int64_t *wide, int64_t *tall);
/* The picture's place on that grid. */
iip_jp2_box iip_jp2_small_box(const iip_jp2_small *s);
/* Its bytes; *data: where the packets begin. */
const unsigned char *iip_jp2_small_bytes(const iip_jp2_small *s, size_t *n, size_t *data);
/* How each component is coded in it. */
void iip_jp2_small_coding(const iip_jp2_small *s, iip_jp2_coding *coding);
#endif
