/* SPDX-License-Identifier: Apache-2.0
 * TIFF reader: files of terabytes, strips as high as the picture, and every limit at its edge. */
#include "tiff_plain.h"
#include "cache/cache.h"
#include <limits.h>
#include <malloc.h>

enum { G = PHOTOMETRIC_MINISBLACK, R = PHOTOMETRIC_RGB };

static size_t held(void)
{
    struct mallinfo2 m = mallinfo2();

    return m.uordblks + m.hblkhd;
}

/* --- a file of terabytes ------------------------------------------------------------------------------------------ */

enum { SIDE = 1000000, TILE = 256, ACROSS = (SIDE + TILE - 1) / TILE, TILES = ACROSS * ACROSS };
#define OFFSETS INT64_C(1000000000)
#define COUNTS  INT64_C(3000000000)
#define PIXELS  INT64_C(500000000000)

typedef struct {
    iip_source_t s;
    unsigned char head[512];
    unsigned char packed[TILE * TILE + 1000];
    size_t len;
    int64_t full; /* the one tile that is there */
    int64_t read;
} sparse;

static iip_status sparse_read(iip_source_t *s, void *buf, size_t n, int64_t off, iip_error *e)
{
    sparse *f = (sparse *)s;
    unsigned char *out = buf;

    f->read += (int64_t)n;
    for (size_t i = 0; i < n; i++) {
        int64_t at = off + (int64_t)i, k = at < COUNTS ? at - OFFSETS : at - COUNTS;
        uint64_t v = at < COUNTS ? (uint64_t)PIXELS : f->len;

        out[i] = at < 512                                        ? f->head[at]
                 : at >= PIXELS && at < PIXELS + (int64_t)f->len ? f->packed[at - PIXELS]
                 : k >= 0 && at < PIXELS && k / 8 == f->full     ? (unsigned char)(v >> 8 * (k & 7))
                                                                 : 0;
    }
    return IIP_OK;
}

static void put(unsigned char **p, uint64_t v, int n)
{
    for (int i = 0; i < n; i++)
        *(*p)++ = (unsigned char)(v >> 8 * i);
}

static void sparse_make(sparse *f, int compression)
{
    static const struct {
        int tag, type;
        int64_t count, value;
    } tags[] = {{256, 4, 1, SIDE},       {257, 4, 1, SIDE}, {258, 3, 1, 8},
                {259, 3, 1, 0},          {262, 3, 1, 1},    {277, 3, 1, 1},
                {322, 3, 1, TILE},       {323, 3, 1, TILE}, {324, 16, TILES, OFFSETS},
                {325, 16, TILES, COUNTS}};
    plan one = {"tile", TILE, TILE, TILE, TILE, .photometric = G, .compression = compression, .mode = "wl"};
    bytes b = written(&one, 1);
    TIFF *t = bytes_tiff(&b, "r");
    unsigned char *p = f->head;

    memset(f, 0, sizeof *f);
    f->len = (size_t)TIFFGetStrileByteCount(t, 0);
    memcpy(f->packed, b.p + TIFFGetStrileOffset(t, 0), f->len);
    TIFFClose(t);
    free(b.p);
    put(&p, 0x002B4949, 4);
    put(&p, 8, 4);
    put(&p, 16, 8);
    put(&p, sizeof tags / sizeof *tags, 8);
    for (size_t i = 0; i < sizeof tags / sizeof *tags; i++) {
        put(&p, (uint64_t)tags[i].tag, 2);
        put(&p, (uint64_t)tags[i].type, 2);
        put(&p, (uint64_t)tags[i].count, 8);
        put(&p, (uint64_t)(tags[i].tag == 259 ? compression : tags[i].value), 8);
    }
    f->s = (iip_source_t){.read = sparse_read, .name = "sparse", .fd = -1, .id.size = PIXELS + TILE * TILE + 1000};
    f->full = (int64_t)ACROSS * 3000 + 2345;
}

static void test_sparse(void **state)
{
    static const int codecs[] = {COMPRESSION_NONE, COMPRESSION_ADOBE_DEFLATE, COMPRESSION_LZW};

    for (int i = 0; i < 3; i++) {
        static unsigned char px[TILE * TILE];
        sparse *f = malloc(sizeof *f);
        size_t before, after;
        apr_pool_t *pool;
        reading k;

        sparse_make(f, codecs[i]);
        before = held();
        apr_pool_create(&pool, NULL);
        assert_int_equal(start_source(&k, &f->s, pool, -1), IIP_OK);
        assert_int_equal(k.info.level[0].w, SIDE);
        assert_int_equal(k.info.level[0].h, SIDE);
        if (read_rect(&k, 0, (iip_rect){2345 * TILE, 3000 * TILE, TILE, TILE}, px, TILE) != IIP_OK)
            fail_msg("compression %d: %s", codecs[i], k.e.detail);
        for (int y = 0; y < TILE; y++)
            for (int x = 0; x < TILE; x++)
                assert_int_equal(px[y * TILE + x], sample_at(&(plan){0}, x, y, 0));
        for (int n = 0; n < 200; n++) { /* empty ones, from corner to corner */
            int64_t at = (int64_t)n * (ACROSS - 1) / 199, size = at == ACROSS - 1 ? SIDE - at * TILE : TILE;

            memset(px, 1, sizeof px);
            assert_int_equal(read_rect(&k, 0, (iip_rect){at * TILE, at * TILE, size, size}, px, TILE), IIP_OK);
            for (int64_t y = 0; y < size; y++)
                for (int64_t x = 0; x < size; x++)
                    assert_int_equal(px[y * TILE + x], 255);
        }
        after = held();
        assert_true(after - before < 4 << 20);
        assert_true(f->read < 2 << 20);
        stop(&k);
        free(f);
    }
}

/* --- strips as high as the picture -------------------------------------------------------------------------------- */

static void test_tall(void **state)
{
    static const plan plans[] = {
        {"deflate", 2500, 2200, .photometric = R, .samples = 3, .rows = 2200, .compression = COMPRESSION_ADOBE_DEFLATE},
        {"LZW", 2500, 2200, .photometric = R, .samples = 3, .rows = 1200, .compression = COMPRESSION_LZW,
         .predictor = 2},
        {"planes", 3500, 2600, .photometric = R, .samples = 3, .planar = 1, .rows = 2600,
         .compression = COMPRESSION_PACKBITS},
        {"16 bits", 2500, 1800, .photometric = G, .bits = 16, .rows = 1800, .compression = COMPRESSION_ZSTD,
         .mode = "wb"},
        {"fax", 12000, 8000, .photometric = G, .bits = 1, .rows = 8000, .compression = COMPRESSION_CCITTFAX4},
        {"JPEG", 2500, 2208, .photometric = PHOTOMETRIC_YCBCR, .samples = 3, .sub_x = 2, .sub_y = 2, .rows = 2208,
         .compression = COMPRESSION_JPEG},
        {"uncompressed", 2500, 2200, .photometric = R, .samples = 3, .rows = 2200},
    };

    for (size_t i = 0; i < sizeof plans / sizeof *plans; i++) {
        const plan *p = &plans[i];
        bytes b = written(p, 1);
        size_t before = held();
        unsigned char *px, *first = NULL;
        size_t row;
        reading k;

        assert_int_equal(start(&k, b.p, b.n, -1), IIP_OK);
        assert_int_equal(k.info.tiled, 0);
        assert_int_equal(k.info.level[0].tile_w, p->w);
        row = (size_t)p->w * pixel_size(&k);
        assert_true((size_t)k.info.level[0].tile_h * row <= 2 << 20);
        px = malloc(row * 64);
        for (int n = 0; n < 14; n++) { /* downwards, then wherever */
            static const int where[] = {0, 0, 64, 130, 900, 901, 1000, 0, 30, 1190, 1199, 1700, 20, 1600};
            iip_rect r = {0, where[n], p->w, 64};

            if (read_rect(&k, 0, r, px, row) != IIP_OK)
                fail_msg("%s: %s", p->name, k.e.detail);
            if (p->compression == COMPRESSION_JPEG) { /* the same rows again are the same pixels */
                if (!first) {
                    first = malloc(row * 64);
                    memcpy(first, px, row * 64);
                } else if (r.y == 0) {
                    assert_memory_equal(first, px, row * 64);
                }
                continue;
            }
            for (int y = 0; y < 64; y += 9)
                for (int x = 0; x < p->w; x += 13)
                    for (int c = 0; c < k.info.bands; c++) {
                        unsigned want = sample_at(p, x, (int)r.y + y, c);
                        size_t at = (size_t)x * (size_t)k.info.bands + (size_t)c;
                        unsigned got =
                            p->bits == 16 ? ((uint16_t *)(void *)(px + (size_t)y * row))[at] : px[(size_t)y * row + at];

                        assert_int_equal(got, p->bits == 1 ? want * 255 : want);
                    }
        }
        assert_true(held() - before <
                    b.n + (12 << 20)); /* far less than the pixels, but libtiff holds a strip's bytes */
        free(first);
        free(px);
        stop(&k);
        free(b.p);
    }
}

/* --- limits --------------------------------------------------------------------------------------------------------
 */

typedef struct {
    int tag, type;
    uint32_t count, value;
} entry;

/* A little-endian directory at `at`; returns where it ends. */
static size_t put_dir(unsigned char *file, size_t at, const entry *e, int n, uint32_t next)
{
    unsigned char *p = file + at;

    put(&p, (uint64_t)n, 2);
    for (int i = 0; i < n; i++) {
        put(&p, (uint64_t)e[i].tag, 2);
        put(&p, (uint64_t)e[i].type, 2);
        put(&p, e[i].count, 4);
        put(&p, e[i].value, 4);
    }
    put(&p, next, 4);
    return (size_t)(p - file);
}

static void put_head(unsigned char *file)
{
    put(&file, 0x002A4949, 4);
    put(&file, 8, 4);
}

static void refused(const unsigned char *p, size_t n, iip_status want)
{
    reading k;
    iip_status rv = start(&k, p, n, -1);

    if (rv != want)
        fail_msg("%s %s, not %s", iip_status_name(rv), rv ? k.e.detail : "", iip_status_name(want));
    stop(&k);
}

#define BASE                                                                                                           \
    {256, 4, 1, 100}, {257, 4, 1, 100}, {258, 3, 1, 8}, {259, 3, 1, 1},                                                \
    {                                                                                                                  \
        262, 3, 1, 1                                                                                                   \
    }
#define STRIP                                                                                                          \
    {273, 4, 1, 8},                                                                                                    \
    {                                                                                                                  \
        279, 4, 1, 100                                                                                                 \
    }

static void test_limits(void **state)
{
    static const entry good[] = {BASE, STRIP};
    static const struct {
        iip_status want;
        entry e[12];
    } bad[] = {
        {IIP_E_FORMAT, {{256, 4, 1, 0}, {257, 4, 1, 100}, {258, 3, 1, 8}, STRIP}},
        {IIP_E_FORMAT, {{256, 4, 1, 0xFFFFFFFF}, {257, 4, 1, 100}, {258, 3, 1, 8}, STRIP}},
        {IIP_E_FORMAT, {{257, 4, 1, 100}, {258, 3, 1, 8}, STRIP}},
        {IIP_E_FORMAT,
         {BASE, {322, 4, 1, 8193}, {323, 4, 1, 8192}, {324, 4, 1, 8}, {325, 4, 1, 8}}}, /* over 64 MiB a tile */
        {IIP_E_FORMAT, {BASE, {322, 4, 1, 0}, {323, 4, 1, 16}, {324, 4, 1, 8}, {325, 4, 1, 8}}},
        {IIP_E_FORMAT,
         {{256, 4, 1, 65537},
          {257, 4, 1, 65536},
          {258, 3, 1, 8},
          {322, 4, 1, 16},
          {323, 4, 1, 16},
          {324, 4, 1, 8},
          {325, 4, 1, 8}}}, /* over 2^24 tiles */
        {IIP_E_FORMAT, {BASE, {277, 3, 1, 1025}, STRIP}},
        {IIP_E_FORMAT, {{256, 4, 1, 100}, {257, 4, 1, 100}, {258, 3, 1, 33}, STRIP}},
        {IIP_E_FORMAT, {{256, 4, 1, 100}, {257, 4, 1, 100}, {258, 3, 1, 64}, {339, 3, 1, 6}, STRIP}}, /* complex */
        {IIP_E_FORMAT,
         {{256, 4, 1, 100}, {257, 4, 1, 100}, {258, 3, 1, 12}, {339, 3, 1, 3}, STRIP}}, /* floats of 12 bits */
        {IIP_E_FORMAT,
         {{256, 4, 1, 100}, {257, 4, 1, 100}, {258, 3, 1, 8}, {259, 3, 1, 6}, STRIP}}, /* old-style JPEG */
        {IIP_E_FORMAT, {{256, 4, 1, 100}, {257, 4, 1, 100}, {258, 3, 1, 8}, {259, 3, 1, 12345}, STRIP}},
        {IIP_E_FORMAT, {{256, 4, 1, 100}, {257, 4, 1, 100}, {258, 3, 1, 8}, {259, 3, 1, 4}, STRIP}}, /* fax of 8 bits */
        {IIP_E_FORMAT,
         {{256, 4, 1, 100}, {257, 4, 1, 100}, {258, 3, 1, 8}, {262, 3, 1, 10}, {277, 3, 1, 3}, STRIP}}, /* ITULAB */
        {IIP_E_FORMAT, {{256, 4, 1, 100000000}, {257, 4, 1, 1}, {258, 3, 1, 8}, STRIP}}, /* a row over 64 MiB */
        {IIP_E_FORMAT, {BASE, STRIP, {330, 4, 33, 8}}},                                  /* 33 SubIFDs */
        {IIP_E_FORMAT, {BASE, STRIP, {32997, 4, 1, 2}}},                                 /* a volume */
        {IIP_E_FORMAT, {{256, 4, 1, 10}, {257, 4, 1, 10}, {258, 3, 1, 8}, {262, 3, 1, 3}, STRIP}}, /* no palette */
        {IIP_E_CORRUPT, {{256, 11, 1, 100}, {257, 4, 1, 100}, {258, 3, 1, 8}, STRIP}}, /* a float for a width */
        {IIP_E_CORRUPT, {{256, 4, 1, 100}, {257, 4, 1, 100}, {258, 3, 3, 0xFFFFFFF0}, {277, 3, 1, 3}, STRIP}},
    };
    unsigned char *file = calloc(1, 1 << 20);
    entry many[1100];
    size_t at;

    put_head(file);
    at = put_dir(file, 8, good, 7, 0);
    refused(file, at + 10000, IIP_OK);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        int n = 0;

        while (n < 12 && bad[i].e[n].tag)
            n++;
        at = put_dir(file, 8, bad[i].e, n, 0);
        refused(file, at + 10000, bad[i].want);
    }
    put_dir(file, 8, good, 7, 8);
    refused(file, 20000, IIP_E_FORMAT); /* the next directory is itself */
    put_dir(file, 8, good, 7, 200);
    put_dir(file, 200, good, 7, 8);
    refused(file, 20000, IIP_E_FORMAT);
    put_dir(file, 8, good, 7, 0x7FFFFFFF);
    refused(file, 20000, IIP_E_CORRUPT);
    for (int i = 0; i < 1100; i++)
        many[i] = (entry){40000 + i, 3, 1, 0};
    memcpy(many, good, sizeof good);
    put_dir(file, 8, many, 1024, 0);
    refused(file, 30000, IIP_OK);
    put_dir(file, 8, many, 1025, 0);
    refused(file, 30000, IIP_E_FORMAT);
    for (int n = 4096; n < 4098; n++) { /* directories in a chain */
        for (int i = 0; i < n; i++)
            put_dir(file, 8 + (size_t)i * 100, good, 7, i == n - 1 ? 0 : 8 + (uint32_t)(i + 1) * 100);
        refused(file, 1 << 20, n > 4096 ? IIP_E_FORMAT : IIP_OK);
    }
    for (size_t n = 0; n < 8; n++) {
        refused(file, n, IIP_E_CORRUPT);
        assert_int_equal(iip_decoder_tiff.sniff(file, n), 0);
    }
    memcpy(file, "MM\0+\0\4\0\0", 8);
    assert_int_equal(iip_decoder_tiff.sniff(file, 64), 0);
    refused(file, 20000, IIP_E_FORMAT);
    free(file);
}

/* --- many pages --------------------------------------------------------------------------------------------------- */

typedef struct {
    iip_source_t s;
    const unsigned char *file;
    int reads;
} counting;

static iip_status count_read(iip_source_t *s, void *buf, size_t n, int64_t off, iip_error *e)
{
    counting *c = (counting *)s;

    c->reads++;
    memcpy(buf, c->file + off, n);
    return IIP_OK;
}

/* The width of a page of c, and how often the file was read for it. */
static int64_t page_width(counting *c, int page, int *reads)
{
    apr_pool_t *p;
    iip_reader_t *r;
    iip_info info = {0};
    iip_error e = {0};
    iip_status rv;

    c->reads = 0;
    apr_pool_create(&p, NULL);
    rv = iip_decoder_tiff.open(&r, &c->s, page, NULL, p, &e);
    if (rv == IIP_OK)
        rv = iip_decoder_tiff.info(r, &info, p, &e);
    apr_pool_destroy(p);
    *reads = c->reads;
    return rv == IIP_OK ? info.level[0].w : -(int64_t)rv;
}

/* Whichever of thousands of pages is asked for: once the chain was walked, as good as nothing else is read. */
static void test_pages(void **state)
{
    enum { PAGES = 2000, STEP = 100 };
    unsigned char *file = calloc(1, PAGES * STEP + 20000);
    counting c = {.s = {.read = count_read, .fd = -1, .name = "pages", .id = {.ino = 1, .size = PAGES * STEP + 20000}},
                  .file = file};
    iip_cache_t *kept;
    apr_pool_t *p;
    int reads;

    put_head(file);
    for (int i = 0; i < PAGES;
         i++) { /* each 8 pixels wider than the one before; every fifth has a smaller copy behind */
        const int copy = i % 5 == 4;
        const entry e[] = {{254, 4, 1, copy},
                           {256, 4, 1, copy ? i + 3 : 2 * i + 8},
                           {257, 4, 1, copy ? 5 : 10},
                           {258, 3, 1, 8},
                           {273, 4, 1, 8},
                           {278, 4, 1, 10},
                           {279, 4, 1, 40}};

        put_dir(file, 8 + (size_t)i * STEP, e, 7, i == PAGES - 1 ? 0 : 8 + (uint32_t)(i + 1) * STEP);
    }
    apr_pool_create(&p, NULL);
    for (int with = 0; with < 2; with++) {
        kept = with ? iip_cache_create("directories", 1 << 20, p) : NULL;
        iip_tiff_indexes(kept);
        for (int n = 0; n < PAGES * 4 / 5; n += n < 20 ? 1 : 157) {
            const int i = n / 4 * 5 + n % 4;

            assert_int_equal(page_width(&c, n, &reads), 2 * i + 8);
            assert_true(with && n ? reads < 30 : reads >= PAGES * STEP / 1024);
        }
        assert_int_equal(page_width(&c, PAGES * 4 / 5, &reads), -IIP_E_NOT_FOUND);
        assert_int_equal(page_width(&c, INT_MAX, &reads), -IIP_E_NOT_FOUND);
    }
    c.s.id.mtime_ns = 1; /* the file was replaced: what is kept of it is not it */
    put_dir(
        file, 8,
        (entry[]){{256, 4, 1, 77}, {257, 4, 1, 10}, {258, 3, 1, 8}, {273, 4, 1, 8}, {278, 4, 1, 10}, {279, 4, 1, 40}},
        6, 0);
    assert_int_equal(page_width(&c, 0, &reads), 77);
    assert_int_equal(page_width(&c, 1, &reads), -IIP_E_NOT_FOUND);
    iip_tiff_indexes(NULL);
    iip_cache_clear(kept);
    apr_pool_destroy(p);
    free(file);
}

/* Chains that come back to any of their directories. */
static void test_loops(void **state)
{
    static const entry e[] = {{256, 4, 1, 10}, {257, 4, 1, 10}, {258, 3, 1, 8},
                              {273, 4, 1, 8},  {278, 4, 1, 10}, {279, 4, 1, 40}};
    unsigned char *file = calloc(1, 1 << 20);

    put_head(file);
    for (int n = 1; n < 40; n++)
        for (int back = 0; back < n; back++) {
            for (int i = 0; i < n; i++)
                put_dir(file, 8 + (size_t)i * 100, e, 6, 8 + (uint32_t)(i == n - 1 ? back : i + 1) * 100);
            refused(file, 1 << 20, IIP_E_FORMAT);
        }
    free(file);
}

/* Reads outside of a picture are refused, whatever their numbers. */
static void test_outside(void **state)
{
    plan p = {"none", 100, 80, 48, 48, .photometric = R, .samples = 3};
    bytes b = written(&p, 1);
    unsigned char px[64];
    reading k;
    static const iip_rect bad[] = {{-1, 0, 1, 1},
                                   {0, -1, 1, 1},
                                   {0, 0, 0, 1},
                                   {0, 0, 1, 0},
                                   {100, 0, 1, 1},
                                   {0, 80, 1, 1},
                                   {99, 79, 2, 1},
                                   {99, 79, 1, 2},
                                   {INT64_MAX, 0, INT64_MAX, 1},
                                   {0, 0, INT64_MAX, INT64_MAX},
                                   {INT64_MIN, INT64_MIN, 1, 1}};

    assert_int_equal(start(&k, b.p, b.n, -1), IIP_OK);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(read_rect(&k, 0, bad[i], px, 3), IIP_E_RANGE);
    assert_int_equal(read_rect(&k, 1, (iip_rect){0, 0, 1, 1}, px, 3), IIP_E_RANGE);
    assert_int_equal(read_rect(&k, -1, (iip_rect){0, 0, 1, 1}, px, 3), IIP_E_RANGE);
    assert_int_equal(read_rect(&k, 0, (iip_rect){99, 79, 1, 1}, px, 3), IIP_OK);
    stop(&k);
    free(b.p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sparse), cmocka_unit_test(test_tall),  cmocka_unit_test(test_limits),
        cmocka_unit_test(test_pages),  cmocka_unit_test(test_loops), cmocka_unit_test(test_outside),
    };

    apr_initialize();
    TIFFSetWarningHandler(NULL);
    TIFFSetErrorHandler(NULL);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
