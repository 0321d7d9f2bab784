/* SPDX-License-Identifier: Apache-2.0
 * sRGB's curve (IEC 61966-2-1) as a table, made once in a process. */
#include "raster/stage.h"
#include <math.h>
#include <pthread.h>

static iip_srgb table;

static void fill(void)
{
    for (int i = 0; i <= IIP_SRGB_STEPS + 1; i++) {
        double u = i / (double)IIP_SRGB_STEPS, v = u <= 0.0031308 ? 12.92 * u : 1.055 * pow(u, 1 / 2.4) - 0.055;

        if (i <= IIP_SRGB_STEPS)
            table.to8[i] = (unsigned char)(255 * v + 0.5);
        table.to16[i] = (float)(65535 * v);
    }
}

const iip_srgb *iip_srgb_table(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;

    pthread_once(&once, fill);
    return &table;
}
