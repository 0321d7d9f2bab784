/* SPDX-License-Identifier: Apache-2.0
 * TIFF decoder over any bytes: open, info, some cells of each level in an order that goes back, stored tiles. */
#include "codec/codec.h"
#include <apr_general.h>
#include <stdlib.h>
#include <string.h>

extern const iip_decoder iip_decoder_tiff;
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

#define MOST (1 << 20) /* bytes of a cell, so that time goes into code and not into pixels */

static int ready; /* APR is */

/* Looks at each byte, for tools that know which were never written. */
static unsigned sum(const unsigned char *p, size_t n)
{
    unsigned s = 0;

    while (n--)
        s = s * 31 + *p++;
    return s;
}

/* A cell as planes, and its lower right quarter: the second comes to where only a part is wanted. */
static iip_status planes_read(iip_reader_t *r, int level, iip_rect c)
{
    const iip_rect part = {c.x + c.w / 4 * 2, c.y + c.h / 4 * 2, c.w - c.w / 4 * 2, c.h - c.h / 4 * 2};
    iip_status rv = IIP_OK;
    iip_error e;

    for (int i = 0; i < 2 && rv == IIP_OK; i++) {
        const iip_rect want = i ? part : c;
        iip_raster out[IIP_PLANES];

        for (int k = 0; k < IIP_PLANES; k++) {
            const iip_rect at = iip_plane_rect(want, k);

            out[k] = (iip_raster){at.w, at.h, 1, IIP_U8, (size_t)at.w, malloc((size_t)at.w * (size_t)at.h)};
        }
        rv = out[0].px && out[1].px && out[2].px ? iip_decoder_tiff.planes(r, level, want, -1, out, &e) : IIP_E_MEMORY;
        for (int k = 0; k < IIP_PLANES; k++) {
            if (rv == IIP_OK && sum(out[k].px, (size_t)out[k].w * (size_t)out[k].h) == 1)
                ready++;
            free(out[k].px);
        }
    }
    return rv;
}

static iip_status level_read(iip_reader_t *r, const iip_info *info, int level)
{
    const iip_level *l = &info->level[level];
    const size_t pixel = (size_t)info->bands * iip_sample_size(info->sample);
    const int64_t across = (l->w + l->tile_w - 1) / l->tile_w, down = (l->h + l->tile_h - 1) / l->tile_h;
    const int64_t cells[][2] = {{0, 0}, {across - 1, down - 1}, {across / 2, down / 2}, {0, 0}};

    for (int i = 0; i < 4; i++) {
        iip_rect c = {cells[i][0] * l->tile_w, cells[i][1] * l->tile_h, l->tile_w, l->tile_h};
        iip_raster out;
        iip_error e;
        iip_format f;
        iip_span span[3];
        int spans;
        iip_status rv;

        if (iip_decoder_tiff.raw(r, level, cells[i][0], cells[i][1], &f, span, &spans, &e) == IIP_OK)
            for (int s = 0; s < spans; s++)
                if (span[s].mem && span[s].len && ((const unsigned char *)span[s].mem)[span[s].len - 1] == 1)
                    continue; /* the bytes can be read */
        if (c.w > l->w - c.x)
            c.w = l->w - c.x;
        if (c.h > l->h - c.y)
            c.h = l->h - c.y;
        if ((double)c.w * (double)c.h * (double)pixel > MOST)
            c.h = c.w * (int64_t)pixel > MOST ? 0 : MOST / (c.w * (int64_t)pixel);
        if (c.h < 1)
            continue;
        out = (iip_raster){
            c.w, c.h, info->bands, info->sample, (size_t)c.w * pixel, malloc((size_t)c.w * (size_t)c.h * pixel)};
        if (!out.px)
            return IIP_E_MEMORY;
        rv = info->ycc && (c.h == l->tile_h || c.y + c.h == l->h) ? planes_read(r, level, c) : IIP_OK;
        if (rv == IIP_OK || rv == IIP_E_FEATURE)
            rv = iip_decoder_tiff.read(r, level, c, -1, &out, &e);
        if (rv == IIP_OK && sum(out.px, (size_t)c.w * (size_t)c.h * pixel) == 1)
            ready++;
        free(out.px);
        if (rv != IIP_OK)
            return rv; /* the reader is not used any more */
    }
    return IIP_OK;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    apr_pool_t *p;
    iip_reader_t *r;
    iip_info info;
    iip_error e;

    if (!ready) {
        apr_initialize();
        ready = 1;
    }
    for (int page = -1; page < 2; page += 2) {
        apr_pool_create(&p, NULL);
        memset(&info, 0, sizeof info);
        if (iip_decoder_tiff.open(&r, iip_source_memory(data, n, "fuzz", p), page, NULL, p, &e) == IIP_OK &&
            iip_decoder_tiff.info(r, &info, p, &e) == IIP_OK)
            for (int i = 0; i < info.levels && i < 4 && level_read(r, &info, i) == IIP_OK; i++)
                ;
        apr_pool_destroy(p);
    }
    return 0;
}
