/* SPDX-License-Identifier: Apache-2.0
 * Any bytes as a JPEG 2000 file, read by its tiles and then by the packets of its windows: header, then of each level
 * the first, the last and a middle cell, and a little of one: small windows of large cells are made of packets anew.
 * Pictures may be large, what is decoded of them is not. */
#include "codec/jp2.h"
#include "reader.h"

extern const iip_decoder iip_decoder_jp2;

static iip_status read_cells(iip_reader_t *r, const iip_info *info, int level, iip_error *e)
{
    const iip_level *l = &info->level[level];
    const size_t pixel = (size_t)info->bands * iip_sample_size(info->sample);
    iip_status rv = IIP_OK;

    for (int i = 0; i < 4 && rv == IIP_OK; i++) {
        const int64_t at = i < 3 ? i : 0, w = i < 3 ? l->tile_w : 16, h = i < 3 ? l->tile_h : 16;
        iip_rect want = {(l->w - 1) * at / 2 / l->tile_w * l->tile_w, (l->h - 1) * at / 2 / l->tile_h * l->tile_h, 0,
                         0};
        iip_raster out;

        want.w = w < l->w - want.x ? w : l->w - want.x;
        want.h = h < l->h - want.y ? h : l->h - want.y;
        out = (iip_raster){want.w, want.h, info->bands, info->sample, (size_t)want.w * pixel, NULL};
        if (!(out.px = malloc(out.stride * (size_t)want.h)))
            return IIP_E_MEMORY;
        rv = iip_decoder_jp2.read(r, level, want, i, &out, e);
        free(out.px);
    }
    return rv;
}

static void read_all(const uint8_t *data, size_t n)
{
    static apr_pool_t *root;
    iip_info info = {0};
    iip_reader_t *r;
    iip_error e = {0};
    apr_pool_t *p;
    iip_status rv;

    if (!root) {
        apr_initialize();
        apr_pool_create(&root, NULL);
    }
    apr_pool_create(&p, root);
    rv = iip_decoder_jp2.open(&r, iip_source_memory(data, n, "fuzz", p), -1, NULL, p, &e);
    if (rv == IIP_OK)
        rv = iip_decoder_jp2.info(r, &info, p, &e);
    for (int i = info.levels - 1; i >= 0 && rv == IIP_OK; i--)
        if (info.hold + info.level_hold[i] <= MAX_HOLD)
            rv = read_cells(r, &info, i, &e);
    apr_pool_destroy(p);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    iip_jp2_indexes(NULL, INT64_MAX);
    read_all(data, n);
    iip_jp2_indexes(NULL, 0);
    read_all(data, n);
    return 0;
}
