/* SPDX-License-Identifier: Apache-2.0
 * Where in a small picture most happens: where neighbouring pixels differ most, in all. */
#include "raster/raster.h"
#include <stdlib.h>

/* Sums of differences along one axis, of the pixels lo..hi of the other; sum[i] is of those before i. */
static void differences(const iip_raster *r, int along_y, int64_t lo, int64_t hi, double *sum)
{
    const int64_t n = along_y ? r->h : r->w;

    for (int64_t i = 0; i <= n; i++)
        sum[i] = 0;
    for (int64_t y = 1; y < r->h; y++)
        for (int64_t x = r->bands; x < r->w * r->bands; x++) {
            const unsigned char *a = r->px + (size_t)y * r->stride + x;
            const int64_t across = along_y ? x / r->bands : y;

            if (across >= lo && across < hi)
                sum[along_y ? y + 1 : x / r->bands + 1] += abs(a[0] - a[-r->bands]) + abs(a[0] - *(a - r->stride));
        }
    for (int64_t i = 1; i <= n; i++)
        sum[i] += sum[i - 1];
}

static int64_t most(const double *sum, int64_t n, int64_t part)
{
    double best = -1;
    int64_t at = 0;

    for (int64_t i = 0; i + part <= n; i++)
        if (sum[i + part] - sum[i] > best) {
            best = sum[i + part] - sum[i];
            at = i;
        }
    return at;
}

void iip_busiest(const iip_raster *r, int64_t w, int64_t h, int64_t *x, int64_t *y)
{
    double sum[IIP_BUSY_SIDE + 1];
    const int first_y = r->h - h > r->w - w; /* the axis with more to choose from */

    *x = *y = 0;
    for (int i = 0; i < 2; i++) {
        if (first_y ^ i) {
            differences(r, 1, i ? *x : 0, i ? *x + w : r->w, sum);
            *y = most(sum, r->h, h);
        } else {
            differences(r, 0, i ? *y : 0, i ? *y + h : r->h, sum);
            *x = most(sum, r->w, w);
        }
    }
}
