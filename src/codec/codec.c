/* SPDX-License-Identifier: Apache-2.0
 * What all codecs share: sizes of samples, memory that grows with the input, a parsed header turned upright. */
#include "codec/codec.h"
#include <stdlib.h>
#include <string.h>

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

void *iip_codec_fetch(iip_source_t *s, int64_t off, size_t n, apr_pool_t *p, iip_error *e)
{
    void *mem;

    /* First, so that no length of a header allocates more than there is. */
    if (off < 0 || off > s->id.size || (uint64_t)(s->id.size - off) < n) {
        iip_fail(e, IIP_E_CORRUPT, 0, "the file ends too early");
        return NULL;
    }
    mem = iip_codec_alloc(n, p, e);
    return mem && s->read(s, mem, n, off, e) == IIP_OK ? mem : NULL;
}

#define CELL_BYTES (2 << 20)

void iip_level_rows(iip_level *l, int64_t w, int64_t h, size_t pixel, int step)
{
    int64_t rows = CELL_BYTES / w / (int64_t)pixel / step * step;

    rows = rows > step ? rows : step;
    *l = (iip_level){w, h, w, rows < h ? rows : h};
}

iip_status iip_raster_cut(const iip_raster *all, iip_rect want, iip_raster *out, iip_error *e)
{
    const size_t pixel = (size_t)all->bands * iip_sample_size(all->sample);

    if (want.x < 0 || want.y < 0 || want.w < 1 || want.h < 1 || want.x > all->w - want.w || want.y > all->h - want.h)
        return iip_fail(e, IIP_E_RANGE, 0, "no such rectangle");
    for (int64_t y = 0; y < want.h; y++)
        memcpy(out->px + (size_t)y * out->stride, all->px + (size_t)(want.y + y) * all->stride + (size_t)want.x * pixel,
               (size_t)want.w * pixel);
    return IIP_OK;
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

void iip_info_part(iip_info *info, int64_t a, int64_t b)
{
    const iip_level *full = &info->level[0];

    info->shown_w = (full->w * a + b - 1) / b;
    info->shown_h = (full->h * a + b - 1) / b;
    info->res_x *= (double)info->shown_w / (double)full->w;
    info->res_y *= (double)info->shown_h / (double)full->h;
    if (a < b)
        info->bilevel = 0;
}

int iip_info_sound(const iip_info *i)
{
    if (i->levels < 1 || i->levels > IIP_MAX_LEVELS || i->bands < 1 || i->bands > 1024 || i->orientation < 0 ||
        i->orientation > 8)
        return 0;
    for (int n = 0; n < i->levels; n++) {
        const iip_level *l = &i->level[n];
        int64_t cell;

        if (l->w < 1 || l->h < 1 || l->w > IIP_MAX_SIDE || l->h > IIP_MAX_SIDE || l->tile_w < 1 || l->tile_h < 1)
            return 0;
        if (__builtin_mul_overflow(l->tile_w < l->w ? l->tile_w : l->w, l->tile_h < l->h ? l->tile_h : l->h, &cell) ||
            cell > (int64_t)(IIP_MAX_CELL / ((size_t)i->bands * iip_sample_size(i->sample))))
            return 0;
        if (n > 0 && (l->w > l[-1].w || l->h > l[-1].h))
            return 0;
    }
    return 1;
}
