/* SPDX-License-Identifier: Apache-2.0
 * Any bytes as a JPEG file: header, then rectangles of all levels upwards and downwards. Small pictures only, so that
 * time goes into code and not into pixels. */
#include "codec/codec.h"
#include <stdlib.h>
#include <apr_general.h>

#define MAX_PIXELS (1 << 18)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void read_levels(const iip_decoder *d, iip_reader_t *r, const iip_info *info, int from, int to, iip_error *e)
{
    const iip_level *top = &info->level[0];
    unsigned char *px = malloc((size_t)(top->w * top->h) * info->bands);
    iip_status rv = IIP_OK;

    for (int l = from; l >= to && rv == IIP_OK; l--)
        for (int part = 2; part >= 0 && rv == IIP_OK; part--) {
            const iip_level *v = &info->level[l];
            iip_rect want = {v->w * (part == 1) / 3, v->h * part / 3, 0, 0};
            iip_raster out;

            want.w = v->w - want.x;
            want.h = v->h - want.y;
            out = (iip_raster){want.w, want.h, info->bands, IIP_U8, (size_t)want.w * info->bands, px};
            rv = d->read(r, l, want, 0, &out, e);
        }
    free(px);
}

/* The smallest level first, which has a reader of its own in progressive files, then all by another. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static const unsigned char head[] = {0xff, 0xd8, 0xff};
    static apr_pool_t *root;
    const iip_decoder *d = iip_decoder_find(head, sizeof head);
    const iip_limits lim = {.memory = 16 << 20};
    iip_info info;
    iip_reader_t *r;
    iip_error e;
    apr_pool_t *p;

    if (!root) {
        apr_initialize();
        apr_pool_create(&root, NULL);
    }
    for (int smallest = 1; smallest >= 0; smallest--) {
        info = (iip_info){0};
        apr_pool_create(&p, root);
        if (d->open(&r, iip_source_memory(data, n, "fuzz", p), -1, &lim, p, &e) == IIP_OK &&
            d->info(r, &info, p, &e) == IIP_OK && info.level[0].w * info.level[0].h <= MAX_PIXELS)
            read_levels(d, r, &info, info.levels - 1, smallest ? info.levels - 1 : 0, &e);
        apr_pool_destroy(p);
    }
    return 0;
}
