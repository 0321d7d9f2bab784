/* SPDX-License-Identifier: Apache-2.0
 * Numbers as clients of the Internet Imaging Protocol write them; of no locale, finite, short. */
#include "iip.h"
#include <math.h>
#include <strings.h>

#define MOST_COUNT  INT64_C(1000000000000000)
#define MOST_DIGITS 18 /* that count */
#define MOST_LENGTH 32

static const char *skip_blanks(const char *s)
{
    while (*s == ' ' || *s == '\t')
        s++;
    return s;
}

int iip_read_count(const char **s, int64_t *v)
{
    const char *at = skip_blanks(*s);

    if (*at < '0' || *at > '9')
        return 0;
    for (*v = 0; *at >= '0' && *at <= '9'; at++)
        *v = *v < MOST_COUNT ? *v * 10 + (*at - '0') : MOST_COUNT;
    if (*v > MOST_COUNT)
        *v = MOST_COUNT;
    *s = at;
    return 1;
}

/* num * 10^power; digits: there were some. */
typedef struct {
    int minus, digits, power;
    int64_t num;
} decimal;

static const char *read_exponent(const char *s, int *power)
{
    const char *at = s + 1;
    int minus = *at == '-', n = 0;

    if (*at == '+' || *at == '-')
        at++;
    if (*at < '0' || *at > '9')
        return s;
    for (; *at >= '0' && *at <= '9'; at++)
        n = n < 10000 ? n * 10 + (*at - '0') : n;
    *power += minus ? -n : n;
    return at;
}

static int read_decimal(const char **s, decimal *d)
{
    const char *start = skip_blanks(*s), *at = start;
    int point = 0, count = 0;

    *d = (decimal){0};
    d->minus = *at == '-';
    if (*at == '+' || *at == '-')
        at++;
    if (!strncasecmp(at, "nan", 3) || !strncasecmp(at, "inf", 3))
        return -1;
    for (; (*at >= '0' && *at <= '9') || (*at == '.' && !point); at++) {
        if (*at == '.') {
            point = 1;
            continue;
        }
        d->digits = 1;
        if (count < MOST_DIGITS) {
            d->num = d->num * 10 + (*at - '0');
            count += d->num != 0;
            d->power -= point;
        } else {
            d->power += !point;
        }
    }
    if (!d->digits)
        return 0;
    if (*at == 'e' || *at == 'E')
        at = read_exponent(at, &d->power);
    if (at - start > MOST_LENGTH)
        return 0;
    *s = at;
    return 1;
}

static double real_of(const decimal *d)
{
    const double n = (double)(d->minus ? -d->num : d->num);

    return d->num == 0 ? 0 : d->power < 0 ? n / pow(10, -d->power) : n * pow(10, d->power);
}

int iip_read_real(const char **s, double *v)
{
    decimal d;
    int rv = read_decimal(s, &d);

    if (rv != 1)
        return rv;
    *v = real_of(&d);
    return isfinite(*v) ? 1 : -1;
}

int iip_read_fraction(const char **s, int64_t *v)
{
    const int64_t most = 1000 * IIP_WHOLE;
    decimal d;
    int rv = read_decimal(s, &d);

    if (rv != 1)
        return rv;
    if (!isfinite(real_of(&d)))
        return -1;
    for (d.power += 12; d.power < 0 && d.num; d.power++)
        d.num = (d.num + (d.power == -1 ? 5 : 0)) / 10;
    for (; d.power > 0 && d.num && d.num < most; d.power--)
        d.num = d.num > most / 10 ? most : d.num * 10;
    if (d.num > most)
        d.num = most;
    *v = d.minus ? -d.num : d.num;
    return 1;
}
