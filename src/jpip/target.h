/* SPDX-License-Identifier: Apache-2.0
 * A JPIP target: a file, its code-streams (in it, or linked), and its boxes as metadata bins (spec section 6). Bin 0 is
 * the top-level boxes in order; large ones, associations and code-streams are placeholders there, and the contents of
 * the first two are bins 1, 2, ... in file order. One thread at a time. */
#ifndef JPIP_TARGET_H
#define JPIP_TARGET_H
#include "jpip/bins.h"
#include "jpip/index.h"
#include "jpip/query.h"

#define JPIP_BOX_LARGE 2048 /* bytes of a top-level box that gets a bin of its own */

typedef struct {
    int64_t at; /* of its bin */
    int64_t len;
    int64_t from; /* bytes of the file; -1 = a placeholder */
    int box;
    int64_t bin, stream; /* what that stands for; -1 = not */
} jpip_piece;

typedef struct {
    jpip_boxes b;
    jpip_piece *piece; /* of bin 0 */
    int pieces;
    int64_t top_len;
    const jpip_box **bin; /* bin[k - 1] is the box of bin k */
    int bins;             /* with bin 0 */
    int64_t meta_len;     /* bytes of all of them */
    char tid[17];
} jpip_target;

/* Reads the boxes. from, to: as jpip_boxes_read(). */
iip_status jpip_target_open(jpip_target *t, iip_source_t *s, int64_t from, int64_t to, apr_pool_t *p, iip_error *e);
/* Length of a metadata bin. */
int64_t jpip_target_meta_len(const jpip_target *t, int64_t bin);
iip_status jpip_target_meta_read(const jpip_target *t, int64_t bin, int64_t off, void *buf, size_t n, iip_error *e);
/* wanted[k] = 1 for each bin that holds a box asked for; wanted has t->bins octets. Looks into superboxes. */
iip_status jpip_target_meta_find(const jpip_target *t, const jpip_wanted_box *box, int n, unsigned char *wanted,
                                 iip_error *e);

/* Code-streams of compositing layers a, a + step, .. b (jpxl): those of the layer's registration, else the one of the
 * same number. Appends numbers to out (of int64_t), at most `most` in all. */
iip_status jpip_target_layers(const jpip_target *t, const jpip_ranges *layers, int most, apr_array_header_t *out,
                              iip_error *e);

/* Whose file a link of dtbl means: a path, decoded, in p; *absolute: from the root of the file system, else from the
 * folder of the file that has the link, without "." and ".." but those that lead out in front. NULL: no file (another
 * scheme, a damaged escape). */
const char *jpip_link_path(const char *url, int *absolute, apr_pool_t *p);
/* The name that a relative link means, seen from a file of this name; NULL if it leads out. */
const char *jpip_link_beside(const char *name, const char *path, apr_pool_t *p);
#endif
