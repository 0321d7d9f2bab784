/* SPDX-License-Identifier: Apache-2.0
 * Any bytes as a colour profile of a grey, RGB or CMYK picture: what is found sound converts colours. */
#include "raster/stage.h"
#include <stdlib.h>
#include <string.h>
#include <apr_general.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

enum { WIDTH = 16 };

static iip_status ramp(iip_stage_t *s, int64_t max_rows, iip_raster *out, iip_error *e)
{
    static unsigned char row[WIDTH * 4 * 2];

    for (size_t i = 0; i < sizeof row; i++)
        row[i] = (unsigned char)(i * 37);
    *out = s->shape;
    out->px = row;
    out->stride = sizeof row;
    return IIP_OK;
}

static void convert(const iip_info *info, apr_pool_t *p)
{
    iip_stage_t up = {.next = ramp, .shape = {.w = WIDTH, .h = 1, .bands = info->bands, .sample = info->sample}};
    iip_budget b = {.limit = 1 << 20};
    iip_transform *t = iip_transform_make(info);
    iip_raster out;
    iip_error e;
    iip_stage_t *s;

    if (!t) {
#ifdef IIP_HAVE_LCMS2
        abort();
#endif
        return;
    }
    s = iip_stage_profile(&up, t, IIP_U8, &b, p, &e);
    if (!s || s->next(s, 1, &out, &e) != IIP_OK || out.bands != (info->bands == 1 ? 1 : 3))
        abort();
    apr_pool_clear(p);
    iip_transform_free(t);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static const iip_space spaces[] = {IIP_GREY, IIP_RGB, IIP_CMYK};
    static apr_pool_t *p;

    if (!p) {
        apr_initialize();
        apr_pool_create(&p, NULL);
    }
    for (int i = 0; i < 3; i++) {
        iip_info info = {
            .levels = 1, .space = spaces[i], .sample = n % 2 ? IIP_U16 : IIP_U8, .icc = data, .icc_len = n};

        info.bands = i == 0 ? 1 : i == 1 ? 3 : 4;
        if (iip_icc_look(&info) == IIP_ICC_OTHER)
            convert(&info, p);
    }
    return 0;
}
