/* SPDX-License-Identifier: Apache-2.0
 * The operations of a request for those who write one: how each is added, and the names of colour maps and kernels. */
#ifndef IIP_OPS_H
#define IIP_OPS_H
#include "iip.h"

#define IIP_MAX_ROWS   16  /* of a twist */
#define IIP_MAX_COLS   64  /* likewise */
#define IIP_MAX_KERNEL 5   /* side of a convolution */
#define IIP_MAX_RANGES 256 /* channels with a range of their own */

/* Adds an operation at its place; arguments (see iip_op_kind) are copied into p. What one command of the IIP protocol
 * chooses between takes each other's place, the last one wins: GAMMA and LOG; STRETCH, CONTRAST and EQUALIZE; GRAY,
 * BITONAL and BINARY; two of one kind. Only MINMAX adds up, channel by channel. What changes nothing (a gamma or
 * contrast of 1, a colour map of -1) just takes away what stood there. IIP_E_LIMIT: a matrix or kernel too large, too
 * many ranges; IIP_E_RANGE: arguments that are no finite numbers, too few or too many, no row of a table. */
iip_status iip_op_add(iip_request *rq, iip_op_kind kind, int argc, const float *arg, apr_pool_t *p, iip_error *e);

/* The operation of a kind in a request, or NULL. */
const iip_op *iip_op_find(const iip_request *rq, iip_op_kind kind);

typedef enum {
    IIP_CMAP_HOT,
    IIP_CMAP_COLD,
    IIP_CMAP_JET,
    IIP_CMAP_RED,
    IIP_CMAP_GREEN,
    IIP_CMAP_BLUE,
    IIP_CMAP_GREY,
    IIP_CMAP_VIRIDIS,
    IIP_CMAP_MAGMA,
    IIP_CMAP_INFERNO,
    IIP_CMAP_PLASMA,
    IIP_CMAP_CIVIDIS,
    IIP_CMAP_TURBO,
    IIP_CMAP_TERRAIN,
    IIP_CMAP_COUNT
} iip_cmap;
/* By name, any case ("gray" too); -1: there is none of that name. */
int iip_cmap_find(const char *name);
const char *iip_cmap_name(int cmap);

/* Arguments of the CONVOLVE of that name (sobel, prewitt, scharr, laplace, gaussian, sharpen, emboss; any case); their
 * number, 0: there is none of that name. */
int iip_kernel_find(const char *name, const float **arg);
#endif
