/* SPDX-License-Identifier: Apache-2.0
 * Numbers in texts of the job service, in no locale. */
#ifndef IIP_JOB_NUMBER_H
#define IIP_JOB_NUMBER_H
#include <math.h>
#include <stdint.h>

/* The whole number in the digits at *s, *s behind them; -1 if there are none or more than 18. */
static inline int64_t job_whole(const char **s)
{
    const char *at = *s;
    int64_t n = 0;

    for (; *at >= '0' && *at <= '9'; at++) {
        if (at - *s == 18)
            return -1;
        n = 10 * n + (*at - '0');
    }
    if (at == *s)
        return -1;
    *s = at;
    return n;
}

/* A text that is a whole number and nothing else; -1. */
static inline int64_t job_whole_text(const char *s)
{
    int64_t n = job_whole(&s);

    return *s ? -1 : n;
}

/* A decimal number as CSS and SVG write it, sign and exponent too; *s behind it. NAN if there is none. */
static inline double job_decimal(const char **s)
{
    const char *at = *s;
    const int minus = *at == '-';
    double v = 0, scale = 1;
    int digits = 0;

    at += *at == '-' || *at == '+';
    for (; *at >= '0' && *at <= '9'; at++, digits++)
        v = 10 * v + (*at - '0');
    if (*at == '.')
        for (at++; *at >= '0' && *at <= '9'; at++, digits++)
            v += (scale /= 10) * (*at - '0');
    if (!digits)
        return NAN;
    *s = at;
    if (*at == 'e' || *at == 'E') {
        const int down = at[1] == '-';
        const char *power = at + 1 + (at[1] == '-' || at[1] == '+');
        int64_t n = job_whole(&power);

        if (n >= 0) {
            v *= pow(10, down ? -(double)n : (double)n);
            *s = power;
        }
    }
    return minus ? -v : v;
}
#endif
