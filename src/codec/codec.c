/* SPDX-License-Identifier: Apache-2.0
 * What all codecs share: sizes of samples, memory that grows with the input, a parsed header turned upright. */
#include "codec/codec.h"
#include <stdlib.h>

size_t iip_sample_size(iip_sample s)
{
    static const unsigned char bytes[] = {
        [IIP_U8] = 1, [IIP_U16] = 2, [IIP_U32] = 4, [IIP_S16] = 2, [IIP_S32] = 4, [IIP_F32] = 4, [IIP_F64] = 8,
    };

    return bytes[s];
}

static apr_status_t give_back(void *mem)
{
    free(mem);
    return APR_SUCCESS;
}

void *iip_codec_alloc(size_t n, apr_pool_t *p, iip_error *e)
{
    unsigned char *mem = malloc(n ? n : 1);

    if (!mem) {
        iip_fail(e, IIP_E_MEMORY, APR_ENOMEM, "no memory for %zu bytes", n);
        return NULL;
    }
    *mem = 0; /* or gcc sees uninitialised memory handed on */
    apr_pool_cleanup_register(p, mem, give_back, apr_pool_cleanup_null);
    return mem;
}

static void swap(int64_t *a, int64_t *b)
{
    int64_t t = *a;

    *a = *b;
    *b = t;
}

void iip_info_upright(iip_info *info)
{
    double res = info->res_x;

    if (info->orientation < 5) /* 1..4 mirror or turn by 180 degrees: no side changes */
        return;
    for (int i = 0; i < info->levels; i++) {
        swap(&info->level[i].w, &info->level[i].h);
        swap(&info->level[i].tile_w, &info->level[i].tile_h);
    }
    info->res_x = info->res_y;
    info->res_y = res;
}
