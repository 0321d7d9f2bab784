/* SPDX-License-Identifier: Apache-2.0
 * TIFF reader: JPEG inside. Expectations are what libtiff itself makes of the same block, and for a stored tile that is
 * handed out what libjpeg makes of it. */
#include "tiff_plain.h"
#include <jpeglib.h>
#include <pthread.h>

enum { G = PHOTOMETRIC_MINISBLACK, R = PHOTOMETRIC_RGB, W0 = PHOTOMETRIC_MINISWHITE };

static const plan jpegs[] = {
    {"grey", 200, 130, 64, 48, .photometric = G},
    {"4:2:0", 200, 130, 64, 64, .photometric = PHOTOMETRIC_YCBCR, .samples = 3, .sub_x = 2, .sub_y = 2},
    {"4:4:4", 200, 130, 64, 64, .photometric = PHOTOMETRIC_YCBCR, .samples = 3, .sub_x = 1, .sub_y = 1},
    {"rgb", 200, 130, 64, 64, .photometric = R, .samples = 3},
    {"cmyk", 200, 130, 64, 64, .photometric = PHOTOMETRIC_SEPARATED, .samples = 4},
    {"strips", 200, 130, .rows = 16, .photometric = PHOTOMETRIC_YCBCR, .samples = 3, .sub_x = 2, .sub_y = 2},
    {"planes", 200, 130, 64, 64, .photometric = R, .samples = 3, .planar = 1},
};

static void test_jpeg(void **state)
{
    for (size_t i = 0; i < sizeof jpegs / sizeof *jpegs; i++) {
        plan p = jpegs[i];
        const int samples = p.samples ? p.samples : 1;
        unsigned char *px, *block;
        bytes b;
        reading k;
        TIFF *t;

        p.compression = COMPRESSION_JPEG;
        b = written(&p, 1);
        if (start(&k, b.p, b.n, 0) != IIP_OK || !(px = read_level(&k, 0))) {
            fail_msg("%s: %s", p.name, k.e.detail);
            return;
        }
        assert_non_null(t = bytes_tiff(&b, "r"));
        if (p.photometric == PHOTOMETRIC_YCBCR)
            TIFFSetField(t, TIFFTAG_JPEGCOLORMODE, JPEGCOLORMODE_RGB);
        block = malloc((size_t)(p.tile_w ? TIFFTileSize(t) : TIFFStripSize(t)));
        for (int y = 0; y < p.h; y++)
            for (int x = 0; x < p.w; x++)
                for (int c = 0; c < samples; c++) {
                    const int bw = p.tile_w ? p.tile_w : p.w, bh = p.tile_w ? p.tile_h : p.rows;
                    const int each = p.planar ? 1 : samples, at = ((y % bh) * bw + x % bw) * each + (p.planar ? 0 : c);
                    static uint32_t last;
                    uint32_t n =
                        p.tile_w ? TIFFComputeTile(t, (uint32_t)x, (uint32_t)y, 0, (uint16_t)c) : (uint32_t)(y / bh);

                    if ((!x && !y && !c) || n != last)
                        assert_true((p.tile_w ? TIFFReadEncodedTile(t, n, block, -1)
                                              : TIFFReadEncodedStrip(t, n, block, -1)) > 0);
                    last = n;
                    assert_int_equal(px[(y * p.w + x) * samples + c], block[at]);
                }
        TIFFClose(t);
        free(block);
        free(px);
        stop(&k);
        free(b.p);
    }
}

/* The subsampling tag lies: the stream decides. */
static void test_jpeg_wrong_tag(void **state)
{
    plan p = jpegs[1];
    bytes b;
    reading k;
    unsigned char *a, *c;
    int found = 0;

    p.compression = COMPRESSION_JPEG;
    p.mode = "wl";
    b = written(&p, 1);
    assert_int_equal(start(&k, b.p, b.n, 0), IIP_OK);
    assert_non_null(a = read_level(&k, 0));
    stop(&k);
    for (size_t i = 8; i + 12 <= b.n; i++) /* the entry: tag 530, SHORT, 2 values, 2 2 */
        if (!memcmp(b.p + i, "\x12\x02\x03\0\x02\0\0\0\x02\0\x02\0", 12)) {
            b.p[i + 8] = b.p[i + 10] = 1;
            found++;
        }
    assert_int_equal(found, 1);
    assert_int_equal(start(&k, b.p, b.n, 0), IIP_OK);
    c = read_level(&k, 0);
    if (!c)
        fail_msg("%s", k.e.detail);
    assert_memory_equal(a, c, (size_t)(3 * p.w * p.h));
    free(a);
    free(c);
    stop(&k);
    free(b.p);
}

/* --- planes ---------------------------------------------------------------------------------------------------------
 */

/* want of the picture as planes, one behind the other: Y, Cb, Cr. */
static iip_status read_planes(reading *k, iip_rect want, unsigned char *px)
{
    const int64_t cw = (want.w + 1) / 2, ch = (want.h + 1) / 2;
    iip_raster out[3] = {{want.w, want.h, 1, IIP_U8, (size_t)want.w, px},
                         {cw, ch, 1, IIP_U8, (size_t)cw, px + want.w * want.h},
                         {cw, ch, 1, IIP_U8, (size_t)cw, px + want.w * want.h + cw * ch}};

    return iip_decoder_tiff.planes(k->r, 0, want, -1, out, &k->e);
}

/* Against the clumps that libtiff makes of the same tiles where it does not convert them. */
static void test_planes(void **state)
{
    static const iip_rect wants[] = {{0, 0, 200, 130}, {0, 0, 64, 64},    {64, 64, 64, 64}, {0, 0, 64, 30},
                                     {64, 18, 64, 22}, {66, 2, 50, 61},   {130, 66, 1, 1},  {192, 128, 8, 2},
                                     {198, 0, 2, 130}, {20, 40, 150, 80}, {0, 96, 128, 33}};
    static const int tiles[][2] = {{64, 64}, {48, 32}, {128, 16}};
    unsigned char *px = malloc(200 * 130 * 2);

    for (int i = 0; i < 3; i++) {
        const int tw = tiles[i][0], th = tiles[i][1];
        unsigned char *clumps = malloc((size_t)(tw * th * 2));
        plan p = jpegs[1];
        bytes b;
        reading k;
        TIFF *t;

        p.tile_w = tw;
        p.tile_h = th;
        p.compression = COMPRESSION_JPEG;
        b = written(&p, 1);
        assert_non_null(t = bytes_tiff(&b, "r"));
        assert_int_equal(start(&k, b.p, b.n, 0), IIP_OK);
        assert_true(k.info.ycc);
        for (size_t n = 0; n < sizeof wants / sizeof *wants; n++) {
            const iip_rect want = wants[n];
            const int64_t cw = (want.w + 1) / 2, ch = (want.h + 1) / 2;
            uint32_t last = UINT32_MAX;

            assert_int_equal(read_planes(&k, want, px), IIP_OK);
            for (int64_t y = want.y; y < want.y + want.h; y++)
                for (int64_t x = want.x; x < want.x + want.w; x++) {
                    const uint32_t tile = TIFFComputeTile(t, (uint32_t)x, (uint32_t)y, 0, 0);
                    const unsigned char *clump = clumps + (y % th / 2 * (tw / 2) + x % tw / 2) * 6;
                    const int64_t c = (y - want.y) / 2 * cw + (x - want.x) / 2;

                    if (tile != last)
                        assert_int_equal(TIFFReadEncodedTile(t, tile, clumps, tw * th * 3 / 2), tw * th * 3 / 2);
                    last = tile;
                    assert_int_equal(px[(y - want.y) * want.w + x - want.x], clump[y % 2 * 2 + x % 2]);
                    assert_int_equal(px[want.w * want.h + c], clump[4]);
                    assert_int_equal(px[want.w * want.h + cw * ch + c], clump[5]);
                }
        }
        TIFFClose(t);
        stop(&k);
        free(b.p);
        free(clumps);
    }
    free(px);
}

/* What is not YCbCr 4:2:0 in tiles does not say so; a tile that is another than its tag says is for read(). */
static void test_planes_refused(void **state)
{
    unsigned char *px = malloc(200 * 130 * 3);
    plan p = jpegs[2];
    bytes b;
    reading k;
    int found = 0;

    for (size_t i = 0; i < sizeof jpegs / sizeof *jpegs; i++) {
        plan other = jpegs[i];

        other.compression = COMPRESSION_JPEG;
        b = written(&other, 1);
        assert_int_equal(start(&k, b.p, b.n, 0), IIP_OK);
        assert_int_equal(k.info.ycc, i == 1);
        stop(&k);
        free(b.p);
    }
    p.compression = COMPRESSION_JPEG;
    p.mode = "wl";
    b = written(&p, 1);
    for (size_t i = 8; i + 12 <= b.n; i++)
        if (!memcmp(b.p + i, "\x12\x02\x03\0\x02\0\0\0\x01\0\x01\0", 12)) {
            b.p[i + 8] = b.p[i + 10] = 2;
            found++;
        }
    assert_int_equal(found, 1);
    assert_int_equal(start(&k, b.p, b.n, 0), IIP_OK);
    assert_true(k.info.ycc);
    assert_int_equal(read_planes(&k, (iip_rect){0, 0, 64, 64}, px), IIP_E_FEATURE);
    assert_int_equal(read_rect(&k, 0, (iip_rect){0, 0, 64, 64}, px, 64 * 3), IIP_OK);
    stop(&k);
    free(b.p);
    free(px);
}

/* --- stored tiles as files ---------------------------------------------------------------------------------------- */

static void plain_jpeg(const unsigned char *p, size_t n, int w, int h, int samples, unsigned char *out)
{
    struct jpeg_decompress_struct d;
    struct jpeg_error_mgr err;

    d.err = jpeg_std_error(&err);
    jpeg_create_decompress(&d);
    jpeg_mem_src(&d, p, n);
    assert_int_equal(jpeg_read_header(&d, TRUE), JPEG_HEADER_OK);
    jpeg_start_decompress(&d);
    assert_int_equal(d.output_width, w);
    assert_int_equal(d.output_height, h);
    assert_int_equal(d.output_components, samples);
    for (int y = 0; y < h; y++) {
        JSAMPROW row = out + (size_t)y * (size_t)(w * samples);

        jpeg_read_scanlines(&d, &row, 1);
    }
    jpeg_finish_decompress(&d);
    assert_int_equal(err.num_warnings, 0);
    jpeg_destroy_decompress(&d);
}

/* A tile at an edge is cut: the same coefficients, so the same pixels but where chroma is interpolated with what was
 * cut off. */
static void test_raw(void **state)
{
    for (size_t i = 0; i < sizeof jpegs / sizeof *jpegs; i++) {
        plan p = jpegs[i];
        const int samples = p.samples ? p.samples : 1, mixed = p.sub_x > 1;
        const int can = p.tile_w && !p.planar && samples != 4;
        unsigned char got[64 * 64 * 4], want[64 * 64 * 4], file[32768];
        bytes b;
        reading k;

        p.compression = COMPRESSION_JPEG;
        b = written(&p, 1);
        assert_int_equal(start(&k, b.p, b.n, 0), IIP_OK);
        for (int ty = 0; ty < 4; ty++)
            for (int tx = 0; tx < 5; tx++) {
                const int x = tx * p.tile_w, y = ty * p.tile_h;
                const int w = p.w - x < p.tile_w ? p.w - x : p.tile_w, h = p.h - y < p.tile_h ? p.h - y : p.tile_h;
                iip_span s[3];
                iip_format f = IIP_FMT_NONE;
                int n = 0;
                size_t len = 0;
                iip_status rv = iip_decoder_tiff.raw(k.r, 0, tx, ty, &f, s, &n, &k.e);

                if (!can || w <= 0 || h <= 0) {
                    assert_int_equal(rv, IIP_E_FEATURE);
                    continue;
                }
                if (rv)
                    fail_msg("%s: %s", p.name, k.e.detail);
                assert_int_equal(f, IIP_FMT_JPEG);
                assert_in_range(n, 1, 3);
                for (int j = 0; j < n; j++) {
                    assert_true(len + s[j].len <= sizeof file);
                    memcpy(file + len, s[j].mem ? s[j].mem : b.p + s[j].off, s[j].len);
                    len += s[j].len;
                }
                plain_jpeg(file, len, w, h, samples, got);
                assert_int_equal(read_rect(&k, 0, (iip_rect){x, y, w, h}, want, (size_t)(w * samples)), IIP_OK);
                for (int row = 0; row < h - (mixed && h < p.tile_h); row++)
                    assert_memory_equal(got + row * w * samples, want + row * w * samples,
                                        (size_t)((w - (mixed && w < p.tile_w)) * samples));
            }
        stop(&k);
        free(b.p);
    }
}

/* Replaces a stored tile by head and what is left of its own bytes behind the first skip. */
static void change_tile(bytes *b, uint32_t tile, const unsigned char *head, size_t n, size_t skip)
{
    TIFF *t = bytes_tiff(b, "r+");
    unsigned char *raw = malloc(65536);
    tmsize_t len;

    assert_non_null(t);
    memcpy(raw, head, n);
    len = TIFFReadRawTile(t, tile, raw + n, (tmsize_t)(65536 - n));
    assert_true(len > (tmsize_t)skip);
    memmove(raw + n, raw + n + skip, (size_t)len - skip);
    assert_true(TIFFWriteRawTile(t, tile, raw, (tmsize_t)n + len - (tmsize_t)skip) > 0);
    TIFFClose(t);
    free(raw);
}

static void read_tile(reading *k, int64_t x, unsigned char *px)
{
    if (read_rect(k, 0, (iip_rect){x, 0, 64, 64}, px, 64 * 3) != IIP_OK)
        fail_msg("%s", k->e.detail);
}

/* Tables that a tile brings along are its own: the next one looks as it does when read alone. */
static void test_own_tables(void **state)
{
    enum { SIZE = 64 * 64 * 3 };
    plan p = jpegs[2];
    unsigned char head[2 + 69] = {0xFF, 0xD8, 0xFF, 0xDB, 0, 67}, was[2][SIZE], is[2][SIZE];
    bytes b;
    reading k;

    p.compression = COMPRESSION_JPEG;
    b = written(&p, 1);
    memset(head + 7, 40, 64);
    assert_int_equal(start(&k, b.p, b.n, 0), IIP_OK);
    for (int i = 0; i < 2; i++)
        read_tile(&k, 64 * i, was[i]);
    stop(&k);
    change_tile(&b, 0, head, sizeof head, 2);
    assert_int_equal(start(&k, b.p, b.n, 0), IIP_OK);
    for (int i = 0; i < 2; i++)
        read_tile(&k, 64 * i, is[i]);
    stop(&k);
    assert_memory_not_equal(was[0], is[0], SIZE);
    assert_memory_equal(was[1], is[1], SIZE);
    free(b.p);
}

/* A tile at an edge whose data ends early: the part in the picture may still be there, so that is decoding's to say. */
static void test_cut_damaged(void **state)
{
    plan p = jpegs[1];
    iip_span s[3];
    iip_format f;
    int n;
    bytes b;
    reading k;
    TIFF *t;
    unsigned char *raw = malloc(65536);
    tmsize_t len;

    p.compression = COMPRESSION_JPEG;
    b = written(&p, 1);
    assert_non_null(t = bytes_tiff(&b, "r+"));
    assert_true((len = TIFFReadRawTile(t, 3, raw, 65536)) > 100);
    memset(raw + len / 2, 0, (size_t)(len - len / 2));
    memcpy(raw + len / 2, "\xFF\xD9", 2);
    assert_true(TIFFWriteRawTile(t, 3, raw, len) > 0);
    TIFFClose(t);
    assert_int_equal(start(&k, b.p, b.n, 0), IIP_OK);
    assert_int_equal(iip_decoder_tiff.raw(k.r, 0, 3, 0, &f, s, &n, &k.e), IIP_E_FEATURE);
    assert_int_equal(iip_decoder_tiff.raw(k.r, 0, 3, 1, &f, s, &n, &k.e), IIP_OK);
    assert_int_equal(read_rect(&k, 0, (iip_rect){192, 0, 8, 64}, raw, 24), IIP_E_CORRUPT);
    stop(&k);
    free(raw);
    free(b.p);
}

typedef struct {
    const char *name;
    int samples, sub_x, sub_y, restart, optimal, smooth; /* sub: of the first component */
} variant;

enum { SIDE = 64 };

/* A whole tile by libjpeg. optimal: its tables have what occurs in it, and no more. */
static bytes tile_of(const variant *v)
{
    struct jpeg_compress_struct c;
    struct jpeg_error_mgr err;
    unsigned long n = 0;
    unsigned seed = 7;
    bytes b = {0};

    c.err = jpeg_std_error(&err);
    jpeg_create_compress(&c);
    jpeg_mem_dest(&c, &b.p, &n);
    c.image_width = c.image_height = SIDE;
    c.input_components = v->samples;
    c.in_color_space = v->samples == 1 ? JCS_GRAYSCALE : JCS_RGB;
    jpeg_set_defaults(&c);
    jpeg_set_quality(&c, 90, TRUE);
    c.comp_info[0].h_samp_factor = v->sub_x;
    c.comp_info[0].v_samp_factor = v->sub_y;
    c.restart_interval = (unsigned)v->restart;
    c.optimize_coding = (boolean)v->optimal;
    jpeg_start_compress(&c, TRUE);
    for (int y = 0; y < SIDE; y++) {
        unsigned char row[SIDE * 3];
        JSAMPROW to = row;

        for (int i = 0; i < SIDE * v->samples; i++) {
            seed = seed * 1103515245 + 12345;
            row[i] = (unsigned char)(v->smooth ? i / v->samples * 3 : (int)(seed >> 24) | (i / 24 % 2 ? 192 : 0));
        }
        jpeg_write_scanlines(&c, &to, 1);
    }
    jpeg_finish_compress(&c);
    jpeg_destroy_compress(&c);
    b.n = n;
    return b;
}

/* The quantised coefficients of the blocks that w x h pixels lie in are those of the whole. */
static void same_coefficients(const variant *v, const unsigned char *p, size_t n, const bytes *whole, int w, int h)
{
    struct jpeg_decompress_struct d[2];
    struct jpeg_error_mgr err;
    jvirt_barray_ptr *blocks[2];

    for (int i = 0; i < 2; i++) {
        d[i].err = jpeg_std_error(&err);
        jpeg_create_decompress(&d[i]);
        jpeg_mem_src(&d[i], i ? whole->p : p, i ? whole->n : n);
        assert_int_equal(jpeg_read_header(&d[i], TRUE), JPEG_HEADER_OK);
        assert_non_null(blocks[i] = jpeg_read_coefficients(&d[i]));
    }
    assert_true(d[0].image_width == (unsigned)w && d[0].image_height == (unsigned)h);
    assert_int_equal(d[0].num_components, v->samples);
    for (int c = 0; c < v->samples; c++) {
        const jpeg_component_info *info = &d[0].comp_info[c];

        assert_memory_equal(info->quant_table->quantval, d[1].comp_info[c].quant_table->quantval,
                            sizeof info->quant_table->quantval);
        for (JDIMENSION y = 0; y < info->height_in_blocks; y++) {
            JBLOCKROW row[2];

            for (int i = 0; i < 2; i++)
                row[i] = *d[i].mem->access_virt_barray((j_common_ptr)&d[i], blocks[i][c], y, 1, FALSE);
            if (memcmp(row[0], row[1], info->width_in_blocks * sizeof(JBLOCK)))
                fail_msg("%s: %d x %d, component %d, row %u", v->name, w, h, c, y);
        }
    }
    assert_int_equal(err.num_warnings, 0);
    for (int i = 0; i < 2; i++)
        jpeg_destroy_decompress(&d[i]);
}

/* Whatever the tile is like, what is cut out of it has its coefficients; and damage is none of them. */
static void test_cut_coefficients(void **state)
{
    static const variant variants[] = {
        {"grey", .samples = 1, .sub_x = 1, .sub_y = 1},
        {"4:2:0", .samples = 3, .sub_x = 2, .sub_y = 2},
        {"4:2:2", .samples = 3, .sub_x = 2, .sub_y = 1},
        {"4:4:0", .samples = 3, .sub_x = 1, .sub_y = 2},
        {"4:1:0", .samples = 3, .sub_x = 4, .sub_y = 2},
        {"4:4:4", .samples = 3, .sub_x = 1, .sub_y = 1},
        {"restarts", .samples = 3, .sub_x = 2, .sub_y = 2, .restart = 3},
        {"optimal", .samples = 3, .sub_x = 2, .sub_y = 2, .optimal = 1},
        {"smooth", .samples = 3, .sub_x = 2, .sub_y = 1, .smooth = 1},
        {"smooth, optimal", .samples = 3, .sub_x = 2, .sub_y = 2, .optimal = 1,
         .smooth = 1}, /* lacks codes of differences over the gap */
        {"grey, smooth, optimal", .samples = 1, .sub_x = 1, .sub_y = 1, .optimal = 1, .smooth = 1},
    };
    /* tiles at the right edge, at the lower one, and in the corner */
    static const int places[][4] = {{3, 0, 38, SIDE}, {1, 2, SIDE, 22}, {3, 2, 38, 22}};

    for (size_t i = 0; i < sizeof variants / sizeof *variants; i++) {
        const variant *v = &variants[i];
        plan p = {v->name, 3 * SIDE + 38, 2 * SIDE + 22, SIDE, SIDE, .compression = COMPRESSION_JPEG};
        bytes tile = tile_of(v), b;

        p.photometric = v->samples == 1 ? G : PHOTOMETRIC_YCBCR;
        p.samples = v->samples;
        p.sub_x = p.sub_y = v->samples == 1 ? 0 : 1;
        b = written(&p, 1);
        for (int k = 0; k < 3; k++)
            for (size_t cut = 0; cut <= tile.n; cut += cut ? 1 + tile.n / 50 : tile.n / 3) {
                const int *at = places[k];
                unsigned char *copy = malloc(tile.n), *file = NULL;
                iip_span s[3];
                iip_format f;
                int n = 0;
                size_t len = 0;
                reading r;
                TIFF *t = bytes_tiff(&b, "r+");
                iip_status rv;

                memcpy(copy, tile.p, tile.n);
                if (cut) /* bits that are others */
                    memset(copy + cut, 0x5A, tile.n - cut < 9 ? tile.n - cut : 9);
                assert_true(TIFFWriteRawTile(t, (uint32_t)(at[1] * 4 + at[0]), copy, (tmsize_t)tile.n) > 0);
                TIFFClose(t);
                assert_int_equal(start(&r, b.p, b.n, 0), IIP_OK);
                rv = iip_decoder_tiff.raw(r.r, 0, at[0], at[1], &f, s, &n, &r.e);
                assert_true(rv == IIP_OK || (cut && rv == IIP_E_FEATURE));
                for (int m = 0; rv == IIP_OK && m < n; m++) {
                    assert_non_null(file = realloc(file, len + s[m].len));
                    memcpy(file + len, s[m].mem ? s[m].mem : b.p + s[m].off, s[m].len);
                    len += s[m].len;
                }
                if (!cut)
                    same_coefficients(v, file, len, &tile, at[2], at[3]);
                free(file);
                free(copy);
                stop(&r);
            }
        free(b.p);
        free(tile.p);
    }
}

static void test_raw_refused(void **state)
{
    plan turned = {"turned", 200, 130, 64, 64, .photometric = G, .compression = COMPRESSION_JPEG, .orientation = 6};
    plan inverse = {"inverse", 200, 130, 64, 64, .photometric = W0, .compression = COMPRESSION_JPEG};
    plan lzw = {"lzw", 200, 130, 64, 64, .photometric = G, .compression = COMPRESSION_LZW};
    plan webp = {"webp", 200, 130, 64, 64, .photometric = R, .samples = 3, .compression = COMPRESSION_WEBP};
    plan *all[] = {&turned, &inverse, &lzw, &webp};

    for (int i = 0; i < 4; i++) {
        iip_span s[3];
        iip_format f = IIP_FMT_NONE;
        int n = 0;
        bytes b;
        reading k;
        iip_status rv;

        if (!TIFFIsCODECConfigured((uint16_t)all[i]->compression))
            continue;
        b = written(all[i], 1);
        assert_int_equal(start(&k, b.p, b.n, 0), IIP_OK);
        rv = iip_decoder_tiff.raw(k.r, 0, 0, 0, &f, s, &n, &k.e);
        assert_int_equal(rv, i == 3 ? IIP_OK : IIP_E_FEATURE);
        if (i == 3) {
            assert_int_equal(f, IIP_FMT_WEBP);
            assert_int_equal(n, 1);
            assert_memory_equal(s[0].mem, "RIFF", 4);
        }
        assert_int_equal(iip_decoder_tiff.raw(k.r, 0, -1, 0, &f, s, &n, &k.e), IIP_E_FEATURE);
        assert_int_equal(iip_decoder_tiff.raw(k.r, 0, INT64_MAX, INT64_MAX, &f, s, &n, &k.e), IIP_E_FEATURE);
        stop(&k);
        free(b.p);
    }
}

static void *decode_many(void *arg)
{
    for (int n = 0; n < 10; n++) {
        reading k;
        unsigned char *px;

        if (start(&k, ((bytes *)arg)->p, ((bytes *)arg)->n, 0) != IIP_OK || !(px = read_level(&k, 0)))
            return "failed";
        for (int i = 0; i < 200 * 130 * 3; i += 997)
            if (n && px[i] != ((bytes *)arg)[1].p[i])
                return "differs";
        free(px);
        stop(&k);
    }
    return NULL;
}

static void test_threads(void **state)
{
    plan p = jpegs[1];
    bytes b[2];
    reading k;
    pthread_t t[4];
    void *said;

    p.compression = COMPRESSION_JPEG;
    b[0] = written(&p, 1);
    assert_int_equal(start(&k, b[0].p, b[0].n, 0), IIP_OK);
    assert_non_null(b[1].p = read_level(&k, 0));
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&t[i], NULL, decode_many, b), 0);
    for (int i = 0; i < 4; i++) {
        pthread_join(t[i], &said);
        assert_null(said);
    }
    stop(&k);
    free(b[0].p);
    free(b[1].p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_jpeg),        cmocka_unit_test(test_jpeg_wrong_tag),
        cmocka_unit_test(test_raw),         cmocka_unit_test(test_raw_refused),
        cmocka_unit_test(test_threads),     cmocka_unit_test(test_own_tables),
        cmocka_unit_test(test_cut_damaged), cmocka_unit_test(test_cut_coefficients),
        cmocka_unit_test(test_planes),      cmocka_unit_test(test_planes_refused),
    };

    apr_initialize();
    TIFFSetWarningHandler(NULL);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
