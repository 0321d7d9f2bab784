/* SPDX-License-Identifier: Apache-2.0
 * Sequences: a name stands for files of views of one thing, NAME_pyr_HHH_VVV.EXT (spec/iip.md 1.1). */
#ifndef IIP_SEQUENCE_H
#define IIP_SEQUENCE_H
#include "source.h"

#define IIP_MAX_VIEWS 4096 /* in each direction */

/* Angles in ascending order. Files are those with v = 90 across, and with h = 0 down; of one suffix. */
typedef struct {
    const char *stem, *ext; /* "dir/thing_pyr_"; "tif" */
    int across, down;
    const int *h, *v;
} iip_sequence;

/* The folder of a name, beneath root or, NULL, at the absolute path (iip_source_folder()). name has passed
 * iip_path_good(). */
iip_status iip_sequence_folder(int *fd, iip_ident *id, const iip_root *root, const char *name, apr_pool_t *p,
                               iip_error *e);
/* Looks for files of that stem in its folder, by one scan; nothing of the name is a pattern. Closes fd. NULL with
 * IIP_OK: there is no 000_090, or of several suffixes. */
iip_status iip_sequence_find(const iip_sequence **out, int fd, const char *name, const char *pattern, apr_pool_t *p,
                             iip_error *e);
/* The name of a view, -1 for default ones (0, 90); NULL: it has none of these angles. */
const char *iip_sequence_file(const iip_sequence *q, int h, int v, apr_pool_t *p);
#endif
