/* SPDX-License-Identifier: Apache-2.0
 * What the tests of all raster formats share: pictures, sources and sinks that can fail, and the trials that every
 * reader and writer must stand. Expectations are the caller's: a picture that went in, or another decoder's. */
#ifndef CODEC_CASES_H
#define CODEC_CASES_H
#include "codec/codec.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include <apr_general.h>

#define UNUSED __attribute__((unused))

static apr_pool_t *pool;

typedef struct {
    unsigned char *p;
    size_t n;
} bytes;

/* --- pictures: packed rows ---------------------------------------------------------------------------------------- */

static size_t pixel_size(const iip_raster *r)
{
    return (size_t)r->bands * iip_sample_size(r->sample);
}

static iip_raster blank(int64_t w, int64_t h, int bands, iip_sample s)
{
    iip_raster r = {w, h, bands, s, 0, NULL};

    r.stride = (size_t)w * pixel_size(&r);
    r.px = calloc(r.stride, (size_t)h);
    return r;
}

/* Ramps, a wave and an edge in each band, another in each; the last of 2 and 4 bands fades from 0 to full. */
static UNUSED iip_raster painted(int64_t w, int64_t h, int bands, iip_sample s)
{
    iip_raster r = blank(w, h, bands, s);
    const unsigned top = s == IIP_U16 ? 65535 : 255;

    for (int64_t y = 0; y < h; y++)
        for (int64_t x = 0; x < w; x++)
            for (int b = 0; b < bands; b++) {
                size_t at = (size_t)(y * w + x) * (size_t)bands + (size_t)b;
                int64_t v = (b + 1) * x * 3 + (4 - b) * y * 2 + (x / 16 + y / 16 + b) % 3 * 40;
                unsigned out;

                if (bands % 2 == 0 && b == bands - 1)
                    out = (unsigned)(w > 1 ? (uint64_t)x * top / (uint64_t)(w - 1) : top);
                else
                    out = (unsigned)(v % 511 < 256 ? v % 511 : 510 - v % 511) * (top / 255);
                if (s == IIP_U16)
                    ((uint16_t *)(void *)r.px)[at] = (uint16_t)(out ^ (unsigned)(v * 29 & 15));
                else
                    r.px[at] = (unsigned char)out;
            }
    return r;
}

/* --- sources and sinks -------------------------------------------------------------------------------------------- */

typedef struct {
    iip_source_t s;
    bytes data;
    int reads, fail_at;
} double_source;

static iip_status double_read(iip_source_t *s, void *buf, size_t n, int64_t off, iip_error *e)
{
    double_source *d = (double_source *)s;

    if (d->reads++ == d->fail_at)
        return iip_fail(e, IIP_E_IO, 0, "the double fails");
    if (off < 0 || off > s->id.size || (uint64_t)(s->id.size - off) < n)
        return iip_fail(e, IIP_E_CORRUPT, 0, "outside the file");
    if ((uint64_t)off + n > d->data.n) { /* a file that says it is longer has zeros there */
        const size_t have = (uint64_t)off < d->data.n ? d->data.n - (size_t)off : 0;

        memset((unsigned char *)buf + have, 0, n - have);
        n = have;
    }
    if (n)
        memcpy(buf, d->data.p + off, n);
    return IIP_OK;
}

typedef struct {
    iip_sink k;
    bytes out;
    int writes, fail_at;
} collector;

/* For n bytes that grow in many steps. */
static size_t room_for(size_t n)
{
    size_t room = 256;

    while (room < n)
        room *= 2;
    return room;
}

static iip_status collect(iip_sink *k, const void *p, size_t n, iip_error *e)
{
    collector *c = (collector *)k;

    if (c->writes++ == c->fail_at)
        return iip_fail(e, IIP_E_ABORTED, 0, "gone");
    if (!c->out.p || room_for(c->out.n + n) > room_for(c->out.n))
        c->out.p = realloc(c->out.p, room_for(c->out.n + n));
    memcpy(c->out.p + c->out.n, p, n);
    c->out.n += n;
    return IIP_OK;
}

/* --- writers ------------------------------------------------------------------------------------------------------ */

/* In strips of all heights with a gap behind each row, where the writer does not want everything at once. */
static iip_status encode_to(collector *c, const iip_encoder *enc, const iip_raster *in, const iip_enc_opts *o,
                            iip_error *e)
{
    const size_t stride = in->stride + 6;
    unsigned char *px = malloc(stride * (size_t)in->h);
    iip_writer_t *wr;
    apr_pool_t *p;
    iip_status rv;

    for (int64_t y = 0; y < in->h; y++)
        memcpy(px + (size_t)y * stride, in->px + (size_t)y * in->stride, in->stride);
    apr_pool_create(&p, pool);
    rv = enc->begin(&wr, in, o, &c->k, p, e);
    for (int64_t y = 0, n = enc->whole ? in->h : 1; y < in->h && rv == IIP_OK; y += n, n = n % 37 + 5) {
        iip_raster strip = *in;

        strip.h = n = n > in->h - y ? in->h - y : n;
        strip.stride = stride;
        strip.px = px + (size_t)y * stride;
        rv = enc->rows(wr, &strip, e);
    }
    if (rv == IIP_OK)
        rv = enc->end(wr, e);
    apr_pool_destroy(p);
    free(px);
    return rv;
}

static UNUSED bytes encode(const char *ext, const iip_raster *in, const iip_enc_opts *o)
{
    const iip_encoder *enc = iip_encoder_by_ext(ext);
    collector c = {{collect}, {NULL, 0}, 0, -1};
    iip_error e = {0};

    assert_non_null(enc);
    if (encode_to(&c, enc, in, o, &e) != IIP_OK)
        fail_msg("%s: %s", ext, e.detail);
    return c.out;
}

/* The sink fails at its n-th call, for every n: its error comes back, and nothing is written behind it. */
static UNUSED void sink_trial(const char *ext, const iip_raster *in, const iip_enc_opts *o, int least)
{
    for (int n = 0;; n++) {
        collector c = {{collect}, {NULL, 0}, 0, n};
        iip_error e = {0};
        iip_status rv = encode_to(&c, iip_encoder_by_ext(ext), in, o, &e);

        free(c.out.p);
        if (rv == IIP_OK) {
            assert_true(n >= least);
            return;
        }
        assert_int_equal(rv, IIP_E_ABORTED);
        assert_string_equal(e.detail, "gone");
        assert_int_equal(c.writes, n + 1);
    }
}

/* --- readers ------------------------------------------------------------------------------------------------------ */

typedef struct {
    double_source s;
    const iip_decoder *dec;
    iip_reader_t *r;
    iip_info info;
    iip_error e;
    apr_pool_t *p;
} subject;

/* Finds the decoder by the first bytes, opens and reads the header; the status of what failed. */
static iip_status open_at(subject *t, bytes b, int fail_at)
{
    iip_status rv;

    memset(t, 0, sizeof *t);
    t->s = (double_source){{.read = double_read, .id.size = (int64_t)b.n, .name = "double", .fd = -1}, b, 0, fail_at};
    apr_pool_create(&t->p, pool);
    t->dec = iip_decoder_find(b.p, b.n < IIP_SNIFF ? b.n : IIP_SNIFF);
    if (!t->dec)
        return iip_fail(&t->e, IIP_E_FORMAT, 0, "no decoder");
    rv = t->dec->open(&t->r, &t->s.s, -1, NULL, t->p, &t->e);
    return rv ? rv : t->dec->info(t->r, &t->info, t->p, &t->e);
}

static void done(subject *t)
{
    apr_pool_destroy(t->p);
}

static UNUSED void opened(subject *t, bytes b)
{
    if (open_at(t, b, -1) != IIP_OK)
        fail_msg("not opened: %s", t->e.detail);
}

/* Reads one rectangle into rows with a gap behind each. */
static iip_status read_rect(subject *t, int level, iip_rect want, iip_raster *out, size_t *stride)
{
    *out = blank(want.w, want.h, t->info.bands, t->info.sample);
    free(out->px);
    *stride = out->stride;
    out->stride += 5;
    out->px = malloc(out->stride * (size_t)want.h);
    memset(out->px, 0xa5, out->stride * (size_t)want.h);
    return t->dec->read(t->r, level, want, 0, out, &t->e);
}

static void check_rect(subject *t, iip_rect want, const iip_raster *ref, const char *name)
{
    const size_t pixel = pixel_size(ref);
    iip_raster out;
    size_t used;

    if (read_rect(t, 0, want, &out, &used) != IIP_OK)
        fail_msg("%s: %s", name, t->e.detail);
    for (int64_t y = 0; y < want.h; y++) {
        const unsigned char *got = out.px + (size_t)y * out.stride,
                            *is = ref->px + (size_t)(want.y + y) * ref->stride + (size_t)want.x * pixel;

        for (size_t i = 0; i < used; i++)
            if (got[i] != is[i])
                fail_msg("%s: %d,%d,%d,%d: row %d byte %d is %d, not %d", name, (int)want.x, (int)want.y, (int)want.w,
                         (int)want.h, (int)y, (int)i, got[i], is[i]);
        for (size_t i = used; i < out.stride; i++)
            assert_int_equal(got[i], 0xa5);
    }
    free(out.px);
}

/* Every byte of any rectangle, asked in any order, is the reference's; what lies outside is refused. */
static UNUSED void read_trial(bytes b, const iip_raster *ref, const char *name)
{
    static const iip_rect bad[] = {{-1, 0, 1, 1}, {0, -1, 1, 1}, {0, 0, 0, 1}, {0, 0, 1, 0}};
    subject t;
    unsigned seed = 7;

    opened(&t, b);
    if (t.info.level[0].w != ref->w || t.info.level[0].h != ref->h || t.info.bands != ref->bands ||
        t.info.sample != ref->sample)
        fail_msg("%s: %d x %d of %d bands, not %d x %d of %d", name, (int)t.info.level[0].w, (int)t.info.level[0].h,
                 t.info.bands, (int)ref->w, (int)ref->h, ref->bands);
    assert_true(t.info.levels == t.info.virtual_from && t.info.pages == 1 && t.info.orientation >= 1 &&
                t.info.orientation <= 8);
    assert_int_equal(t.info.level[0].tile_w, ref->w);
    assert_in_range(t.info.level[0].tile_h, 1, ref->h);
    for (int n = 0; n < 40; n++) {
        iip_rect want = {0, 0, ref->w, ref->h};

        if (n % 4) { /* parts of the height, now and then downwards */
            want.y = n % 8 < 4 ? rand_r(&seed) % ref->h : ref->h * (n % 4) / 5;
            want.h = 1 + rand_r(&seed) % (ref->h - want.y);
        }
        if (n % 4 == 2) {
            want.x = rand_r(&seed) % ref->w;
            want.w = 1 + rand_r(&seed) % (ref->w - want.x);
        }
        check_rect(&t, want, ref, name);
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad + 3; i++) {
        iip_raster out = {1, 1, ref->bands, ref->sample, 64, (unsigned char[64]){0}};
        iip_rect want = i < sizeof bad / sizeof *bad ? bad[i] : (iip_rect){0, 0, 1, 1};

        if (i == 4)
            want.x = ref->w;
        if (i == 5)
            want.y = ref->h;
        assert_int_equal(t.dec->read(t.r, i == 6, want, 0, &out, &t.e), IIP_E_RANGE);
    }
    done(&t);
    apr_pool_create(&t.p, pool);
    assert_int_equal(t.dec->open(&t.r, &t.s.s, 1, NULL, t.p, &t.e), IIP_E_NOT_FOUND);
    done(&t);
}

/* Opens and reads all of it, if it is no larger than the reference: another size is another picture. */
static iip_status read_all(bytes b, int fail_at, const iip_raster *ref, int *same)
{
    subject t;
    iip_raster out = {0};
    size_t used;
    iip_status rv = open_at(&t, b, fail_at);

    *same = 0;
    if (rv == IIP_OK && t.info.level[0].w <= ref->w && t.info.level[0].h <= ref->h) {
        rv = read_rect(&t, 0, (iip_rect){0, 0, t.info.level[0].w, t.info.level[0].h}, &out, &used);
        *same = rv == IIP_OK && used == ref->stride && out.h == ref->h;
        for (int64_t y = 0; *same && y < ref->h; y++)
            *same = memcmp(out.px + (size_t)y * out.stride, ref->px + (size_t)y * ref->stride, used) == 0;
    }
    free(out.px);
    done(&t);
    return rv;
}

/* Cut at any length: an error that says so, or the whole picture. Returns how many lengths gave the picture. */
static UNUSED int cut_trial(bytes b, const iip_raster *ref, const char *name)
{
    int whole = 0;

    for (size_t n = 0; n < b.n; n += n < 200 || b.n - n < 200 ? 1 : 1 + b.n / 150) {
        bytes part = {malloc(n ? n : 1), n}; /* its own block: the sanitizer sees the end */
        int same;
        iip_status rv;

        memcpy(part.p, b.p, n);
        rv = read_all(part, -1, ref, &same);
        if (rv == IIP_OK ? !same : rv != IIP_E_FORMAT && rv != IIP_E_CORRUPT)
            fail_msg("%s cut at %d of %d bytes: status %d", name, (int)n, (int)b.n, rv);
        whole += rv == IIP_OK;
        free(part.p);
    }
    return whole;
}

/* The source fails at its n-th read, for every n: that error comes back. */
static UNUSED void source_trial(bytes b, const iip_raster *ref)
{
    for (int n = 0;; n++) {
        int same;
        iip_status rv = read_all(b, n, ref, &same);

        if (rv == IIP_OK) {
            assert_true(same && n > 0);
            return;
        }
        assert_int_equal(rv, IIP_E_IO);
    }
}

/* Bytes changed at random: any status but one of ours that means "try again"; nothing else goes wrong. */
static UNUSED void mutant_trial(bytes b, const iip_raster *ref, int rounds)
{
    bytes m = {malloc(b.n), b.n};
    unsigned seed = 11;

    for (int n = 0; n < rounds; n++) {
        int same;
        iip_status rv;

        memcpy(m.p, b.p, b.n);
        for (int i = 0; i <= n % 4; i++)
            m.p[(size_t)rand_r(&seed) % (n % 2 && b.n > 200 ? 200 : b.n)] = (unsigned char)rand_r(&seed);
        rv = read_all(m, -1, ref, &same);
        if (rv != IIP_OK && rv != IIP_E_FORMAT && rv != IIP_E_CORRUPT && rv != IIP_E_MEMORY && rv != IIP_E_FEATURE)
            fail_msg("mutant %d: status %d", n, rv);
    }
    free(m.p);
}

static UNUSED int run_cases(int (*group)(void))
{
    int failed;

    apr_initialize();
    apr_pool_create(&pool, NULL);
    failed = group();
    apr_pool_destroy(pool);
    apr_terminate();
    return failed;
}
#endif
