/* SPDX-License-Identifier: Apache-2.0
 * The image path over a decoder made for the test: who works, who waits, what is kept, what is refused. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include "image_job.h"
#include "views.h"
#include <apr_general.h>
#include <apr_strings.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* A picture of 512 x 384 in 128-pixel tiles, value (x + 2y) & 255; its "file" is the letters FAKE. */
static int reads, raws, slow, broken, raw_ok;

struct iip_reader {
    iip_source_t *s;
};

static double code_cost = 1;

static int fake_sniff(const unsigned char *head, size_t n)
{
    return n >= 4 && !memcmp(head, "FAKE", 4) ? 100 : 0;
}

static iip_status fake_open(iip_reader_t **r, iip_source_t *s, int page, const iip_limits *lim, apr_pool_t *p,
                            iip_error *e)
{
    if (page > 0)
        return iip_refuse(e, IIP_E_NOT_FOUND, NULL);
    *r = apr_palloc(p, sizeof **r);
    (*r)->s = s;
    return IIP_OK;
}

static iip_status fake_info(iip_reader_t *r, iip_info *i, apr_pool_t *p, iip_error *e)
{
    i->levels = i->virtual_from = 1;
    i->level[0] = (iip_level){512, 384, 128, 128};
    i->tiled = i->pages = i->bands = i->orientation = 1;
    i->bits = 8;
    i->decode_cost = code_cost;
    return IIP_OK;
}

static iip_status fake_read(iip_reader_t *r, int level, iip_rect want, int layers, iip_raster *out, iip_error *e)
{
    __atomic_fetch_add(&reads, 1, __ATOMIC_RELAXED);
    if (slow)
        usleep((useconds_t)slow);
    if (broken)
        return iip_fail(e, IIP_E_CORRUPT, 0, "broken on purpose");
    for (int64_t y = 0; y < want.h; y++)
        for (int64_t x = 0; x < want.w; x++)
            out->px[y * (int64_t)out->stride + x] = (unsigned char)(want.x + x + 2 * (want.y + y));
    return IIP_OK;
}

static iip_status fake_raw(iip_reader_t *r, int level, int64_t tx, int64_t ty, iip_format *f, iip_span span[3], int *n,
                           iip_error *e)
{
    raws++;
    if (!raw_ok)
        return iip_fail(e, IIP_E_FEATURE, 0, "not as it lies");
    *f = IIP_FMT_JPEG;
    *n = 2;
    span[0] = (iip_span){"\xff\xd8tables", 0, 8};
    span[1] = (iip_span){NULL, 4, 5}; /* of the file */
    return IIP_OK;
}

static const iip_decoder fake = {
    .abi = IIP_CODEC_ABI,
    .name = "fake",
    .priority = 1000,
    .sniff = fake_sniff,
    .open = fake_open,
    .info = fake_info,
    .read = fake_read,
    .raw = fake_raw,
};

typedef struct {
    apr_pool_t *p;
    iip_settings raw, set;
    iip_server_settings sraw, sset;
    iip_limits lim;
    iip_server_t *sv;
    iip_source_t *src;
    iip_error e;
} house;

static void build(house *h, const char *server_words, int64_t a, int64_t b)
{
    iip_settings_unset(&h->raw);
    iip_settings_effective(&h->set, &h->raw);
    iip_settings_limits(&h->lim, &h->set);
    iip_server_settings_unset(&h->sraw);
    if (server_words)
        h->sraw.max_decodes = (iip_pair){a, b};
    iip_server_settings_effective(&h->sset, &h->sraw);
    h->sv = iip_server_create(&h->sset, h->p);
    assert_non_null(h->sv);
}

static int setup(void **state)
{
    house *h = calloc(1, sizeof *h);

    apr_pool_create(&h->p, NULL);
    h->src = iip_source_memory("FAKEbytes of the file", 21, "fake.img", h->p);
    reads = raws = slow = broken = raw_ok = 0;
    build(h, NULL, 0, 0);
    *state = h;
    return 0;
}

static int teardown(void **state)
{
    house *h = *state;

    iip_server_destroy(h->sv);
    apr_pool_destroy(h->p);
    free(h);
    return 0;
}

typedef struct {
    house *h;
    iip_request rq;
    iip_status rv;
    iip_blob *blob;
    iip_error e;
} call;

static void region(call *c, house *h, int64_t x, int64_t y, int64_t w, int64_t hh, iip_format f)
{
    memset(c, 0, sizeof *c);
    c->h = h;
    iip_request_init(&c->rq, &h->set);
    c->rq.region_kind = IIP_REGION_PIXELS;
    c->rq.region[0].num = x;
    c->rq.region[1].num = y;
    c->rq.region[2].num = w;
    c->rq.region[3].num = hh;
    c->rq.format = f;
}

static void *run(void *v)
{
    call *c = v;
    house *h = c->h;
    apr_pool_t *p;
    const iip_info *info;
    iip_blob *hold;
    iip_budget b;
    char line[IIP_LINE_MAX];
    size_t len;

    memset(&b, 0, sizeof b);
    b.limit = h->lim.memory;
    b.until = apr_time_now() + h->lim.deadline;
    apr_pool_create_unmanaged_ex(&p, NULL, NULL);
    c->rv = iip_serve_info(h->sv, h->src, -1, &h->lim, &info, &hold, &c->e);
    if (c->rv == IIP_OK) {
        c->rv = iip_request_resolve(&c->rq, info, &h->lim, &c->e);
        if (c->rv == IIP_OK) {
            len = iip_request_line(&c->rq, line, sizeof line);
            c->rv = iip_serve_image(h->sv, &c->rq, line, len, info, h->src, &h->lim, &b, p, &c->blob, &c->e);
        }
        iip_blob_release(hold);
    }
    apr_pool_destroy(p);
    if (b.used != 0)
        c->rv = IIP_E_COUNT; /* the budget must balance */
    return NULL;
}

static void test_png_twice_decodes_once(void **state)
{
    house *h = *state;
    call a, b;

    region(&a, h, 10, 20, 64, 64, IIP_FMT_PNG);
    run(&a);
    assert_int_equal(a.rv, IIP_OK);
    assert_int_equal(reads, 1);
    assert_memory_equal(a.blob->data, "\x89PNG", 4);
    assert_string_equal(a.blob->mime, "image/png");
    region(&b, h, 10, 20, 64, 64, IIP_FMT_PNG);
    run(&b);
    assert_ptr_equal(a.blob, b.blob); /* the same blob, held twice */
    region(&b, h, 12, 20, 64, 64, IIP_FMT_PNG);
    iip_blob_release(a.blob);
    iip_blob_release(a.blob);
    run(&b);
    assert_int_equal(b.rv, IIP_OK);
    assert_int_equal(reads, 1); /* another answer out of the same cell */
    iip_blob_release(b.blob);
}

static void test_passthrough_bytes(void **state)
{
    house *h = *state;
    call a;

    raw_ok = 1;
    region(&a, h, 128, 128, 128, 128, IIP_FMT_JPEG);
    run(&a);
    assert_int_equal(a.rv, IIP_OK);
    assert_int_equal(reads, 0);
    assert_int_equal(a.blob->len, 13);
    assert_memory_equal(a.blob->data, "\xff\xd8tablesbytes", 13);
    iip_blob_release(a.blob);
    raw_ok = 0;
    region(&a, h, 128, 256, 128, 128, IIP_FMT_JPEG); /* it cannot be: decoded, and that is no error */
    run(&a);
    assert_int_equal(a.rv, IIP_OK);
    assert_int_equal(a.e.status, IIP_OK);
    iip_blob_release(a.blob);
    reads = 0;
    region(&a, h, 128, 128, 128, 128, IIP_FMT_PNG); /* another format: decoded */
    run(&a);
    assert_int_equal(a.rv, IIP_OK);
    assert_int_equal(reads, 1);
    iip_blob_release(a.blob);
    raws = 0;
    region(&a, h, 128, 128, 127, 128, IIP_FMT_JPEG); /* not the whole tile */
    run(&a);
    assert_int_equal(raws, 0);
    iip_blob_release(a.blob);
}

static void test_equal_callers_wait_for_one(void **state)
{
    house *h = *state;
    call c[8];
    pthread_t t[8];

    slow = 50000;
    for (int i = 0; i < 8; i++) {
        region(&c[i], h, 0, 0, 128, 128, IIP_FMT_PNG);
        pthread_create(&t[i], NULL, run, &c[i]);
    }
    for (int i = 0; i < 8; i++) {
        pthread_join(t[i], NULL);
        assert_int_equal(c[i].rv, IIP_OK);
        assert_ptr_equal(c[i].blob, c[0].blob);
    }
    for (int i = 0; i < 8; i++)
        iip_blob_release(c[i].blob);
    assert_int_equal(reads, 1);
}

/* Four at once where one works and one waits: how many were answered, how many refused. */
static void crowd(house *h, int64_t side, int *good, int *refused)
{
    call c[4];
    pthread_t t[4];

    *good = *refused = 0;
    iip_server_destroy(h->sv);
    build(h, "1 1", 1, 1);
    slow = 200000;
    for (int i = 0; i < 4; i++) { /* different answers: nobody shares */
        region(&c[i], h, 0, 0, 100 + i, 100, side ? IIP_FMT_TIFF : IIP_FMT_PNG);
        c[i].rq.region[0].num = 128 * i;
        if (side) {
            c[i].rq.size_kind = IIP_SIZE_EXACT;
            c[i].rq.size[0].num = c[i].rq.size[1].num = side;
            c[i].rq.grow = IIP_GROW_ASK;
        }
        pthread_create(&t[i], NULL, run, &c[i]);
    }
    for (int i = 0; i < 4; i++) {
        pthread_join(t[i], NULL);
        *good += c[i].rv == IIP_OK;
        *refused += c[i].rv == IIP_E_BUSY;
        if (c[i].blob)
            iip_blob_release(c[i].blob);
    }
}

static void test_the_line_is_for_what_is_dear(void **state)
{
    house *h = *state;
    int good, refused;

    crowd(h, 2100, &good, &refused);
    assert_int_equal(good, 2);
    assert_int_equal(refused, 2);
    crowd(h, 0, &good, &refused); /* tiles wait */
    assert_int_equal(good, 4);
}

/* Headers of many views are work as well: they are read in a place of their own. */
static void test_views_wait_for_a_place(void **state)
{
    house *h = *state;
    iip_budget b = {.limit = 1 << 20};
    iip_views v = {.lim = &h->lim, .b = &b, .pool = h->p, .src = h->src};
    const iip_info *info, *again;
    iip_blob *hold, *first;
    iip_error e;

    iip_server_destroy(h->sv);
    build(h, "1 1", 1, 1);
    v.sv = h->sv;
    assert_int_equal(iip_serve_info(h->sv, h->src, -1, &h->lim, &info, &first, &e), IIP_OK);
    v.info = info;
    assert_int_equal(iip_gate_enter(&h->sv->gate, &b, 1, &e), IIP_OK);
    b.until = apr_time_now() + 100000;
    assert_int_equal(iip_views_info(&v, 0, &again, &hold, &e), IIP_E_TIMEOUT);
    iip_gate_leave(&h->sv->gate);
    b.until = 0;
    assert_int_equal(iip_views_info(&v, 0, &again, &hold, &e), IIP_OK);
    assert_int_equal(again->level[0].w, 512);
    iip_blob_release(hold);
    iip_blob_release(first);
    assert_int_equal(iip_gate_enter(&h->sv->gate, &b, 0, &e), IIP_OK); /* and given back */
    iip_gate_leave(&h->sv->gate);
}

/* Samples that take long need a permit of the machine, as pictures do. */
static void test_views_need_a_permit(void **state)
{
    static iip_permits permits;
    house *h = *state;
    iip_budget b = {.limit = 1 << 20};
    iip_views v = {.lim = &h->lim, .b = &b, .src = h->src, .sv = h->sv};
    const iip_rect all = {0, 0, 512, 384};
    iip_info info;
    const iip_info *at;
    iip_blob *hold;
    iip_raster out;
    iip_error e;

    apr_pool_create(&v.pool, NULL);
    iip_permits_init(&permits, 1);
    iip_server_permits(h->sv, &permits);
    for (int slow_codec = 0; slow_codec < 2; slow_codec++) {
        code_cost = slow_codec ? 100 : 1;
        iip_cache_clear(h->sv->info);
        assert_int_equal(iip_serve_info(h->sv, h->src, -1, &h->lim, &at, &hold, &e), IIP_OK);
        info = *at;
        v.info = &info;
        permits.permit[0] = 1; /* another process has it */
        b.until = apr_time_now() + 100000;
        assert_int_equal(iip_views_samples(&v, 0, 0, all, &out, v.pool, &e), slow_codec ? IIP_E_TIMEOUT : IIP_OK);
        permits.permit[0] = 0;
        b.until = 0;
        assert_int_equal(iip_views_samples(&v, 0, 0, all, &out, v.pool, &e), IIP_OK);
        assert_int_equal(permits.permit[0], 0);
        iip_blob_release(hold);
    }
    iip_server_permits(h->sv, NULL);
    code_cost = 1;
    apr_pool_destroy(v.pool); /* before the budget that its rasters are counted in */
}

static void test_failures_are_not_kept(void **state)
{
    house *h = *state;
    call a;

    broken = 1;
    region(&a, h, 0, 0, 100, 100, IIP_FMT_JPEG);
    run(&a);
    assert_int_equal(a.rv, IIP_E_CORRUPT);
    assert_string_equal(a.e.detail, "broken on purpose");
    broken = 0;
    region(&a, h, 0, 0, 100, 100, IIP_FMT_JPEG);
    run(&a);
    assert_int_equal(a.rv, IIP_OK);
    assert_memory_equal(a.blob->data, "\xff\xd8", 2);
    iip_blob_release(a.blob);
}

static void test_memory_and_time(void **state)
{
    house *h = *state;
    call a;

    h->lim.memory = 4096;
    region(&a, h, 0, 0, 300, 300, IIP_FMT_PNG);
    run(&a);
    assert_int_equal(a.rv, IIP_E_LIMIT); /* the estimate says so before any work */
    assert_int_equal(reads, 0);
    h->lim.memory = 256 << 20;
    h->lim.deadline = 20000;
    slow = 30000;
    region(&a, h, 0, 0, 500, 300, IIP_FMT_PNG);
    run(&a);
    assert_int_equal(a.rv, IIP_E_TIMEOUT);
}

typedef struct {
    iip_sink sink;
    size_t len;
    int fail_at, calls;
} count_sink;

static iip_status count_write(iip_sink *k, const void *p, size_t n, iip_error *e)
{
    count_sink *c = (count_sink *)k;

    if (++c->calls == c->fail_at)
        return iip_fail(e, IIP_E_ABORTED, 0, "hung up");
    c->len += n;
    return IIP_OK;
}

static iip_status stream(house *h, count_sink *k)
{
    const iip_info *info;
    iip_blob *hold;
    call c;
    iip_budget b;
    iip_status rv;

    memset(&b, 0, sizeof b);
    b.limit = h->lim.memory;
    region(&c, h, 0, 0, 512, 384, IIP_FMT_PNG);
    assert_int_equal(iip_serve_info(h->sv, h->src, -1, &h->lim, &info, &hold, &h->e), IIP_OK);
    assert_int_equal(iip_request_resolve(&c.rq, info, &h->lim, &h->e), IIP_OK);
    rv = iip_serve_stream(h->sv, &c.rq, info, h->src, &h->lim, &b, h->p, &k->sink, &h->e);
    iip_blob_release(hold);
    return rv;
}

static void test_stream(void **state)
{
    house *h = *state;
    count_sink k = {{count_write}, 0, 0, 0};
    iip_server_stats st;

    assert_int_equal(stream(h, &k), IIP_OK);
    assert_true(k.len > 100); /* a ramp packs well */
    k = (count_sink){{count_write}, 0, 1, 0};
    assert_int_equal(stream(h, &k), IIP_E_ABORTED);
    broken = 1; /* a failure of the first strip lets no byte out */
    k = (count_sink){{count_write}, 0, 0, 0};
    iip_server_destroy(h->sv);
    build(h, NULL, 0, 0);
    assert_int_equal(stream(h, &k), IIP_E_CORRUPT);
    assert_int_equal(k.calls, 0);
    iip_server_read_stats(h->sv, &st);
    assert_int_equal(st.decoding, 0);
    assert_int_equal(st.waiting, 0);
}

static void test_etag(void **state)
{
    house *h = *state;
    iip_source_t other = *h->src;
    char a[33], b[33];

    iip_serve_etag(h->src, "line", 4, a);
    other.id.root = 7; /* another root, another machine's device number: the same answer */
    other.id.dev = 9;
    iip_serve_etag(&other, "line", 4, b);
    assert_string_equal(a, b);
    assert_int_equal(strlen(a), 32);
    other.id.mtime_ns++;
    iip_serve_etag(&other, "line", 4, b);
    assert_string_not_equal(a, b);
    iip_serve_etag(h->src, "lime", 4, b);
    assert_string_not_equal(a, b);
    other = *h->src;
    other.copied = 1; /* of a copy neither inode nor ctime are alike */
    iip_serve_etag(&other, "line", 4, a);
    other.id.ino++;
    other.id.ctime_ns++;
    iip_serve_etag(&other, "line", 4, b);
    assert_string_equal(a, b);
    other.id.size++;
    iip_serve_etag(&other, "line", 4, b);
    assert_string_not_equal(a, b);
}

int main(void)
{
    static apr_pool_t *p;
    int failed;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_png_twice_decodes_once, setup, teardown),
        cmocka_unit_test_setup_teardown(test_passthrough_bytes, setup, teardown),
        cmocka_unit_test_setup_teardown(test_equal_callers_wait_for_one, setup, teardown),
        cmocka_unit_test_setup_teardown(test_the_line_is_for_what_is_dear, setup, teardown),
        cmocka_unit_test_setup_teardown(test_views_wait_for_a_place, setup, teardown),
        cmocka_unit_test_setup_teardown(test_views_need_a_permit, setup, teardown),
        cmocka_unit_test_setup_teardown(test_failures_are_not_kept, setup, teardown),
        cmocka_unit_test_setup_teardown(test_memory_and_time, setup, teardown),
        cmocka_unit_test_setup_teardown(test_stream, setup, teardown),
        cmocka_unit_test_setup_teardown(test_etag, setup, teardown),
    };

    apr_initialize();
    apr_pool_create(&p, NULL);
    iip_settings_init(p);
    iip_decoder_add(&fake);
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    apr_terminate();
    return failed;
}
