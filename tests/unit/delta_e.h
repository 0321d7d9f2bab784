/* SPDX-License-Identifier: Apache-2.0
 * For tests of colours: the CIEDE2000 difference (CIE 142-2001), written from the formula, and sRGB to CIELAB (D50). */
#ifndef DELTA_E_H
#define DELTA_E_H
#include <math.h>

static inline double degrees(double x)
{
    return x * 180 / M_PI;
}

static inline double hue(double a, double b)
{
    double h = a == 0 && b == 0 ? 0 : degrees(atan2(b, a));

    return h < 0 ? h + 360 : h;
}

static inline double delta_e(const double x[3], const double y[3])
{
    double c1 = hypot(x[1], x[2]), c2 = hypot(y[1], y[2]), c7 = pow((c1 + c2) / 2, 7);
    double g = 0.5 * (1 - sqrt(c7 / (c7 + pow(25, 7))));
    double a1 = (1 + g) * x[1], a2 = (1 + g) * y[1];
    double p1 = hypot(a1, x[2]), p2 = hypot(a2, y[2]), h1 = hue(a1, x[2]), h2 = hue(a2, y[2]);
    double dl = y[0] - x[0], dc = p2 - p1, dh = 0, h = h1 + h2, l = (x[0] + y[0]) / 2, c = (p1 + p2) / 2;
    double t, sl, sc, sh, rt;

    if (p1 * p2 != 0) {
        dh = h2 - h1;
        dh += dh > 180 ? -360 : dh < -180 ? 360 : 0;
        h = fabs(h1 - h2) <= 180 ? h / 2 : h < 360 ? h / 2 + 180 : h / 2 - 180;
    }
    dh = 2 * sqrt(p1 * p2) * sin(dh / 2 * M_PI / 180);
#define COS(angle) cos((angle)*M_PI / 180)
    t = 1 - 0.17 * COS(h - 30) + 0.24 * COS(2 * h) + 0.32 * COS(3 * h + 6) - 0.20 * COS(4 * h - 63);
#undef COS
    sl = 1 + 0.015 * (l - 50) * (l - 50) / sqrt(20 + (l - 50) * (l - 50));
    sc = 1 + 0.045 * c;
    sh = 1 + 0.015 * c * t;
    rt = -2 * sqrt(pow(c, 7) / (pow(c, 7) + pow(25, 7))) *
         sin(60 * exp(-(h - 275) / 25 * ((h - 275) / 25)) * M_PI / 180);
    return sqrt(dl / sl * (dl / sl) + dc / sc * (dc / sc) + dh / sh * (dh / sh) + rt * (dc / sc) * (dh / sh));
}

/* 0..1 each */
static inline void srgb_to_lab(const double rgb[3], double lab[3])
{
    static const double m[3][3] = {{0.4360747, 0.3850649, 0.1430804}, /* to XYZ with D50 */
                                   {0.2225045, 0.7168786, 0.0606169},
                                   {0.0139322, 0.0971045, 0.7141733}};
    static const double white[3] = {0.9642, 1, 0.8249};
    double u[3], f[3];

    for (int i = 0; i < 3; i++)
        u[i] = rgb[i] <= 0.04045 ? rgb[i] / 12.92 : pow((rgb[i] + 0.055) / 1.055, 2.4);
    for (int i = 0; i < 3; i++) {
        double v = (m[i][0] * u[0] + m[i][1] * u[1] + m[i][2] * u[2]) / white[i];

        f[i] = v > 216 / 24389.0 ? cbrt(v) : (24389 / 27.0 * v + 16) / 116;
    }
    lab[0] = 116 * f[1] - 16;
    lab[1] = 500 * (f[0] - f[1]);
    lab[2] = 200 * (f[1] - f[2]);
}
#endif
