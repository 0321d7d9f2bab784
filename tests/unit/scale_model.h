/* SPDX-License-Identifier: Apache-2.0
 * For tests of scaling: the filters by their definitions, in double precision. */
#ifndef SCALE_MODEL_H
#define SCALE_MODEL_H
#include "strips.h"

enum { AREA, TRIANGLE, LANCZOS };

static inline double sinc(double x)
{
    return x == 0 ? 1 : sin(M_PI * x) / (M_PI * x);
}

/* Weight of source pixel j for output pixel i of n, which show the window x..x+len. */
static inline double weight(int filter, double x, double len, int64_t n, int64_t i, int64_t j)
{
    double step = len / (double)n, l = x + (double)i * step, r = x + (double)(i + 1) * step, d;

    if (step >= 2) { /* all filters: the area the two have in common */
        l = l > (double)j ? l : (double)j;
        r = r < (double)j + 1 ? r : (double)j + 1;
        return r > l ? r - l : 0;
    }
    d = ((double)j + 0.5 - (l + r) / 2) / (step > 1 ? step : 1);
    if (filter == TRIANGLE)
        return fabs(d) < 1 ? 1 - fabs(d) : 0;
    return fabs(d) < 3 ? sinc(d) * sinc(d / 3) : 0;
}

typedef struct {
    int n;
    int64_t at[80];
    double w[80];
} taps;

/* Pixels before lo and from hi on look like the one at the edge. */
static inline taps taps_of(int filter, double x, double len, int64_t n, int64_t i, int64_t size)
{
    int64_t lo = (int64_t)floor(x), hi = (int64_t)ceil(x + len);
    taps t = {0};
    double sum = 0;

    hi = hi < size ? hi : size;
    for (int64_t j = lo - 12; j < hi + 12; j++) {
        double w = weight(filter, x, len, n, i, j);

        if (w == 0)
            continue;
        assert_true(t.n < 80);
        t.at[t.n] = j < lo ? lo : j >= hi ? hi - 1 : j;
        t.w[t.n++] = w;
        sum += w;
    }
    for (int k = 0; k < t.n; k++)
        t.w[k] /= sum;
    return t;
}
#endif
