/* SPDX-License-Identifier: Apache-2.0
 * For tests of the raster stages: pictures of known samples, a stage that hands out their rows, and a collector. */
#ifndef STRIPS_H
#define STRIPS_H
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <apr_general.h>
#include "raster/raster.h"

/* Samples as numbers, whatever they were. */
typedef struct {
    int64_t w, h;
    int bands;
    iip_sample sample;
    double *v;
} picture;

static inline unsigned rnd(unsigned *seed) /* the numerical recipes' generator */
{
    *seed = *seed * 1664525u + 1013904223u;
    return *seed >> 8;
}

static inline unsigned char *xmalloc(size_t n)
{
    void *p = malloc(n ? n : 1);

    assert_non_null(p);
    return p;
}

static inline double *at(const picture *p, int64_t x, int64_t y, int band)
{
    return &p->v[(y * p->w + x) * p->bands + band];
}

static inline picture picture_new(int64_t w, int64_t h, int bands, iip_sample sample)
{
    picture p = {w, h, bands, sample, (double *)xmalloc((size_t)(w * h * bands) * sizeof(double))};

    memset(p.v, 0, (size_t)(w * h * bands) * sizeof(double));
    return p;
}

static inline double sample_top(iip_sample s)
{
    return s == IIP_U8 ? 255 : s == IIP_U16 ? 65535 : s == IIP_U32 ? 4294967295.0 : 1;
}

static inline picture picture_random(int64_t w, int64_t h, int bands, iip_sample sample, unsigned *seed)
{
    picture p = picture_new(w, h, bands, sample);

    for (int64_t i = 0; i < w * h * bands; i++) {
        unsigned r = rnd(seed);

        p.v[i] = sample == IIP_U8    ? r % 256
                 : sample == IIP_U16 ? r % 65536
                 : sample == IIP_U32 ? r * 256.0 + rnd(seed) % 256
                                     : (double)(float)(r % 65536 / 65535.0);
    }
    return p;
}

#define EACH_SAMPLE(X)                                                                                                 \
    X(IIP_U8, uint8_t)                                                                                                 \
    X(IIP_U16, uint16_t)                                                                                               \
    X(IIP_U32, uint32_t) X(IIP_S16, int16_t) X(IIP_S32, int32_t) X(IIP_F32, float) X(IIP_F64, double)

static inline double sample_get(const void *px, iip_sample s)
{
#define GET(KIND, T)                                                                                                   \
    if (s == KIND) {                                                                                                   \
        T v;                                                                                                           \
        memcpy(&v, px, sizeof v);                                                                                      \
        return (double)v;                                                                                              \
    }
    EACH_SAMPLE(GET)
#undef GET
    return NAN;
}

static inline void sample_put(void *px, iip_sample s, double value)
{
#define PUT(KIND, T)                                                                                                   \
    if (s == KIND) {                                                                                                   \
        T v = (T)value;                                                                                                \
        memcpy(px, &v, sizeof v);                                                                                      \
    }
    EACH_SAMPLE(PUT)
#undef PUT
}

/* Hands out the rows of a picture in strips of changing height. Each strip is memory of its own that dies with the next
 * call, so a stage that holds on to one is seen by the address sanitizer. */
typedef struct {
    iip_stage_t base;
    const picture *pic;
    int64_t done;
    unsigned seed;
    unsigned char *mem;
    int fail_at; /* the row at which it fails with IIP_E_CORRUPT, -1 = never */
} rows_stage;

static inline apr_status_t rows_free(void *s)
{
    free(((rows_stage *)s)->mem);
    return APR_SUCCESS;
}

static inline iip_status rows_next(iip_stage_t *base, int64_t max_rows, iip_raster *out, iip_error *e)
{
    rows_stage *s = (rows_stage *)base;
    size_t size = iip_sample_size(s->pic->sample);
    int64_t n = 1 + (int64_t)(rnd(&s->seed) % 9);

    assert_true(max_rows > 0);
    if (n > max_rows)
        n = max_rows;
    if (n > s->pic->h - s->done)
        n = s->pic->h - s->done;
    if (s->fail_at >= 0 && s->done + n > s->fail_at)
        return iip_fail(e, IIP_E_CORRUPT, 0, "as asked");
    free(s->mem);
    *out = base->shape;
    out->h = n;
    out->stride = (size_t)out->w * (size_t)out->bands * size;
    s->mem = out->px = xmalloc((size_t)n * out->stride);
    for (size_t i = 0; i < (size_t)(n * out->w * out->bands); i++)
        sample_put(out->px + i * size, s->pic->sample, at(s->pic, 0, s->done, 0)[i]);
    s->done += n;
    return IIP_OK;
}

static inline rows_stage *rows_of(const picture *pic, unsigned seed, apr_pool_t *p)
{
    rows_stage *s = apr_pcalloc(p, sizeof *s);

    s->base.next = rows_next;
    s->base.shape = (iip_raster){.w = pic->w, .h = pic->h, .bands = pic->bands, .sample = pic->sample};
    s->pic = pic;
    s->seed = seed;
    s->fail_at = -1;
    apr_pool_cleanup_register(p, s, rows_free, apr_pool_cleanup_null);
    return s;
}

/* Pulls everything and checks the stage's promises on the way; what was delivered is overwritten, as an encoder may.
 * *got is NULL or gets the samples (free got->v). */
static inline iip_status drain(iip_stage_t *s, int64_t max_rows, picture *got, iip_error *e)
{
    size_t size = iip_sample_size(s->shape.sample);
    int64_t done = 0;
    iip_raster out;
    iip_status rv;

    if (got)
        *got = picture_new(s->shape.w, s->shape.h, s->shape.bands, s->shape.sample);
    for (;;) {
        if ((rv = s->next(s, max_rows, &out, e)) != IIP_OK) {
            if (got)
                free(got->v);
            return rv;
        }
        if (out.h == 0)
            break;
        assert_true(out.h <= max_rows && done + out.h <= s->shape.h);
        assert_int_equal(out.w, s->shape.w);
        assert_int_equal(out.bands, s->shape.bands);
        assert_int_equal(out.sample, s->shape.sample);
        for (int64_t y = 0; y < out.h; y++) {
            unsigned char *row = out.px + (size_t)y * out.stride;

            for (size_t i = 0; got && i < (size_t)(out.w * out.bands); i++)
                at(got, 0, done + y, 0)[i] = sample_get(row + i * size, out.sample);
            memset(row, 0xa5, (size_t)(out.w * out.bands) * size);
        }
        done += out.h;
    }
    assert_int_equal(done, s->shape.h);
    return IIP_OK;
}

static inline void same(const picture *a, const picture *b)
{
    assert_int_equal(a->w, b->w);
    assert_int_equal(a->h, b->h);
    assert_int_equal(a->bands, b->bands);
    assert_memory_equal(a->v, b->v, (size_t)(a->w * a->h * a->bands) * sizeof(double));
}

/* ---- each test: a pool and a budget that must be empty again at the end ---- */

typedef struct {
    apr_pool_t *pool;
    iip_budget budget;
    iip_error err;
} room;

static inline void room_open(room *r, size_t limit)
{
    memset(r, 0, sizeof *r);
    r->budget.limit = limit;
    assert_int_equal(apr_pool_create(&r->pool, NULL), APR_SUCCESS);
}

static inline void room_close(room *r)
{
    apr_pool_destroy(r->pool);
    assert_int_equal(r->budget.used, 0);
}

/* A picture through one stage. */
typedef iip_stage_t *make_fn(iip_stage_t *up, const void *arg, room *r);

static inline picture through(const picture *in, make_fn *make, const void *arg, int64_t max_rows)
{
    picture got;
    iip_stage_t *s;
    room r;

    room_open(&r, 1 << 24);
    s = make(&rows_of(in, 3, r.pool)->base, arg, &r);
    assert_non_null(s);
    assert_int_equal(drain(s, max_rows, &got, &r.err), IIP_OK);
    room_close(&r);
    return got;
}

#endif
