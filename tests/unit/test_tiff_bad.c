/* SPDX-License-Identifier: Apache-2.0
 * TIFF reader: what damaged files and failing sources give. A read is right or an error, never a picture that is partly
 * there. */
#include "tiff_plain.h"

enum { G = PHOTOMETRIC_MINISBLACK, R = PHOTOMETRIC_RGB };

/* --- damage ------------------------------------------------------------------------------------------------------- */

static const plan victims[] = {
    {"none", 100, 80, 48, 48, .photometric = R, .samples = 3, .compression = COMPRESSION_NONE},
    {"LZW", 100, 80, 48, 48, .photometric = R, .samples = 3, .compression = COMPRESSION_LZW},
    {"deflate", 100, 80, .rows = 30, .photometric = R, .samples = 3, .compression = COMPRESSION_ADOBE_DEFLATE},
    {"PackBits", 100, 80, 48, 48, .photometric = R, .samples = 3, .compression = COMPRESSION_PACKBITS},
    {"JPEG", 100, 80, 48, 48, .photometric = PHOTOMETRIC_YCBCR, .samples = 3, .sub_x = 2, .sub_y = 2,
     .compression = COMPRESSION_JPEG},
    {"JPEG strips", 100, 80, .rows = 32, .photometric = G, .compression = COMPRESSION_JPEG},
    {"WebP", 100, 80, 48, 48, .photometric = R, .samples = 3, .compression = COMPRESSION_WEBP},
    {"ZSTD", 100, 80, 48, 48, .photometric = R, .samples = 3, .compression = COMPRESSION_ZSTD},
    {"LZMA", 100, 80, 48, 48, .photometric = R, .samples = 3, .compression = COMPRESSION_LZMA},
    {"LERC", 100, 80, 48, 48, .photometric = R, .samples = 3, .compression = COMPRESSION_LERC},
    {"group 3", 100, 80, 48, 48, .photometric = G, .bits = 1, .compression = COMPRESSION_CCITTFAX3},
    {"group 4", 100, 80, .rows = 80, .photometric = G, .bits = 1, .compression = COMPRESSION_CCITTFAX4},
    {"planes", 100, 80, 48, 48, .photometric = R, .samples = 3, .planar = 1, .compression = COMPRESSION_ADOBE_DEFLATE},
    {"clumps", 100, 80, 48, 48, .photometric = PHOTOMETRIC_YCBCR, .samples = 3, .sub_x = 2, .sub_y = 2,
     .compression = COMPRESSION_LZW},
};
#define VICTIMS (int)(sizeof victims / sizeof *victims)

/* Any status a file may give, and no pixel but the right ones. */
static int tried(const unsigned char *p, size_t n, const unsigned char *want, size_t size)
{
    reading k;
    iip_status rv = start(&k, p, n, -1);
    unsigned char *px = NULL;
    int good = 0;

    if (rv == IIP_OK && k.info.level[0].w * k.info.level[0].h < 1 << 20) {
        px = read_level(&k, 0);
        good = px != NULL;
        if (px && want)
            assert_memory_equal(px, want, size);
        rv = px ? IIP_OK : k.e.status;
    }
    if (rv != IIP_OK && rv != IIP_E_CORRUPT && rv != IIP_E_FORMAT)
        fail_msg("%s: %s", iip_status_name(rv), k.e.detail);
    if (rv != IIP_OK)
        assert_true(k.e.detail[0] != 0);
    free(px);
    stop(&k);
    return good;
}

static void test_cut_files(void **state)
{
    for (int i = 0; i < VICTIMS; i++) {
        plan p[2] = {victims[i], victims[i]};
        bytes b;
        reading k;
        unsigned char *want;

        if (!TIFFIsCODECConfigured((uint16_t)p[0].compression))
            continue;
        p[1].w = p[1].h = 40;
        b = written(p, 2);
        assert_int_equal(start(&k, b.p, b.n, -1), IIP_OK);
        assert_non_null(want = read_level(&k, 0));
        for (size_t cut = 0; cut < 64; cut++) { /* the last bytes may be those of the other page's directory */
            unsigned char *copy = malloc(b.n * cut / 64 + 1); /* so that a read behind the end is seen */

            memcpy(copy, b.p, b.n * cut / 64);
            assert_true(!tried(copy, b.n * cut / 64, want, (size_t)(p->w * p->h) * pixel_size(&k)) || cut > 48);
            free(copy);
        }
        free(want);
        stop(&k);
        free(b.p);
    }
}

/* The first block's byte count is made smaller: its data stops early while the file goes on. */
static void test_cut_blocks(void **state)
{
    for (int i = 0; i < VICTIMS; i++) {
        plan p = victims[i];
        bytes b;
        reading k;
        unsigned char *want, count[8];
        uint64_t n, next;
        size_t at, size;
        int good = 0, fax = p.compression == COMPRESSION_CCITTFAX3 || p.compression == COMPRESSION_CCITTFAX4 ||
                            p.compression == COMPRESSION_CCITTRLE;
        TIFF *t;

        if (!TIFFIsCODECConfigured((uint16_t)p.compression))
            continue;
        p.mode = "wl8"; /* counts of one size in one place */
        p.rows = p.rows > 32 ? 32 : p.rows;
        b = written(&p, 1);
        assert_non_null(t = bytes_tiff(&b, "r"));
        n = TIFFGetStrileByteCount(t, 0);
        next = TIFFGetStrileByteCount(t, 1);
        TIFFClose(t);
        assert_int_equal(start(&k, b.p, b.n, -1), IIP_OK);
        size = (size_t)(p.w * p.h) * pixel_size(&k);
        assert_non_null(want = read_level(&k, 0));
        stop(&k);
        for (at = b.n - 8; at; at--) { /* the array: LONG8, LONG or SHORT */
            uint64_t v[2] = {n, next};
            uint32_t w[2] = {(uint32_t)n, (uint32_t)next};
            uint16_t h[2] = {(uint16_t)n, (uint16_t)next};

            if ((at + 16 <= b.n && !memcmp(b.p + at, v, 16)) || !memcmp(b.p + at, w, 8) || !memcmp(b.p + at, h, 4))
                break;
        }
        assert_true(at > 0);
        memcpy(count, b.p + at, 2);
        for (uint64_t cut = 1; cut < 64; cut++) {
            uint64_t less = n * cut / 64;

            if (!less)
                continue;
            b.p[at] = (unsigned char)less;
            b.p[at + 1] = (unsigned char)(less >> 8);
            good += tried(b.p, b.n, fax ? NULL : want, size);
        }
        memcpy(b.p + at, count, 2);
        assert_int_equal(tried(b.p, b.n, want, size), 1);
        if (!fax)                        /* where nothing but noise tells of the end */
            assert_in_range(good, 0, 3); /* a check sum may be cut off unseen */
        free(want);
        free(b.p);
    }
}

/* A deflate stream whose piece is longer than the tile: libdeflate stops before it, and libtiff calls that good. */
static void test_deflate_too_long(void **state)
{
    for (int n = 0; n < 3; n++) {
        const size_t len = n == 2 ? 256 : 300; /* 256: just right */
        unsigned char stream[400] = {
            0x78, 1, 1, (unsigned char)len, (unsigned char)(len >> 8), (unsigned char)~len, (unsigned char)~(len >> 8)};
        unsigned char px[256];
        uint32_t a = 1, c = 0;
        bytes b = {0};
        TIFF *t = bytes_tiff(&b, "w");
        reading k;

        for (size_t i = 0; i < len; i++) { /* and its Adler-32 */
            stream[7 + i] = n == 2 ? 0xA5 : (unsigned char)i;
            a = (a + stream[7 + i]) % 65521;
            c = (c + a) % 65521;
        }
        for (int i = 0; i < 4; i++)
            stream[7 + len + (size_t)i] = (unsigned char)((c << 16 | a) >> (24 - 8 * i));
        TIFFSetField(t, TIFFTAG_IMAGEWIDTH, 16);
        TIFFSetField(t, TIFFTAG_IMAGELENGTH, 16);
        TIFFSetField(t, TIFFTAG_BITSPERSAMPLE, 8);
        TIFFSetField(t, TIFFTAG_PHOTOMETRIC, G);
        TIFFSetField(t, TIFFTAG_COMPRESSION, COMPRESSION_ADOBE_DEFLATE);
        TIFFSetField(t, TIFFTAG_PREDICTOR, n == 1 ? 2 : 1);
        TIFFSetField(t, TIFFTAG_TILEWIDTH, 16);
        TIFFSetField(t, TIFFTAG_TILELENGTH, 16);
        assert_true(TIFFWriteRawTile(t, 0, stream, (tmsize_t)len + 11) > 0);
        TIFFClose(t);
        assert_int_equal(start(&k, b.p, b.n, -1), IIP_OK);
        assert_int_equal(read_rect(&k, 0, (iip_rect){0, 0, 16, 16}, px, 16), n == 2 ? IIP_OK : IIP_E_CORRUPT);
        if (n == 2)
            for (int i = 0; i < 256; i++)
                assert_int_equal(px[i], 0xA5);
        stop(&k);
        free(b.p);
    }
}

static void test_mutants(void **state)
{
    unsigned seed = 20;

    for (int i = 0; i < VICTIMS; i++) {
        plan p[2] = {victims[i], victims[i]};
        bytes b;

        if (!TIFFIsCODECConfigured((uint16_t)p[0].compression))
            continue;
        p[1].w = p[1].h = 40;
        p[1].subtype = 1;
        p[0].mode = i & 1 ? "wb8" : "wl";
        b = written(p, 2);
        for (int n = 0; n < 400; n++) {
            unsigned char *copy = malloc(b.n);
            int from_end;

            memcpy(copy, b.p, b.n);
            for (int j = 0; j < 1 + n % 4; j++) {
                seed = seed * 1103515245u + 12345u;
                from_end = n & 1; /* directories lie at the end */
                copy[from_end ? b.n - 1 - (seed >> 8) % (b.n < 600 ? b.n : 600) : (seed >> 8) % b.n] =
                    (unsigned char)(seed >> 3);
            }
            tried(copy, b.n, NULL, 0);
            free(copy);
        }
        free(b.p);
    }
}

/* --- a source that fails -------------------------------------------------------------------------------------------
 */

typedef struct {
    iip_source_t s;
    bytes b;
    int reads, fail_at;
} double_source;

static iip_status double_read(iip_source_t *s, void *buf, size_t n, int64_t off, iip_error *e)
{
    double_source *d = (double_source *)s;

    if (d->reads++ == d->fail_at)
        return iip_fail(e, IIP_E_IO, EIO, "the double fails");
    if (off < 0 || off > s->id.size || (int64_t)n > s->id.size - off)
        return iip_fail(e, IIP_E_CORRUPT, 0, "behind the end");
    memcpy(buf, d->b.p + off, n);
    return IIP_OK;
}

static void test_failing_source(void **state)
{
    static const plan tall = {
        "tall", 2000, 1500, .photometric = R, .samples = 3, .rows = 1500, .compression = COMPRESSION_ADOBE_DEFLATE};

    for (int i = 0; i <= VICTIMS; i++) {
        plan p[2] = {i < VICTIMS ? victims[i] : tall, i < VICTIMS ? victims[i] : tall};
        int done = 0;
        bytes b;

        if (!TIFFIsCODECConfigured((uint16_t)p[0].compression))
            continue;
        p[1].w = p[1].h = 40;
        p[1].subtype = 1;
        b = written(p, 2);
        for (int n = 0; !done; n++) {
            double_source d = {{.read = double_read, .id.size = (int64_t)b.n, .name = "double", .fd = -1}, b, 0, n};
            apr_pool_t *pool;
            reading k;
            iip_status rv;
            unsigned char *px = NULL;

            apr_pool_create(&pool, NULL);
            rv = start_source(&k, &d.s, pool, -1);
            for (int level = 0; rv == IIP_OK && level < k.info.levels; level++) {
                px = read_level(&k, level);
                rv = px ? IIP_OK : k.e.status;
                free(px);
            }
            assert_int_equal(rv, d.reads <= n ? IIP_OK : IIP_E_IO);
            done = rv == IIP_OK;
            assert_true(n < 1000);
            stop(&k);
        }
        free(b.p);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cut_files),        cmocka_unit_test(test_cut_blocks),
        cmocka_unit_test(test_deflate_too_long), cmocka_unit_test(test_mutants),
        cmocka_unit_test(test_failing_source),
    };

    apr_initialize();
    TIFFSetWarningHandler(NULL);
    TIFFSetErrorHandler(NULL);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
