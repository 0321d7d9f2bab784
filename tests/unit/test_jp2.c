/* SPDX-License-Identifier: Apache-2.0
 * JPEG 2000 reader: code-streams of all shapes. Every window of every level must be what OpenJPEG decodes of the whole
 * picture, and of lossless ones what went in; HT files come from grk_compress, where it is installed, and are compared
 * with the picture that went in and with grk_decompress.
 * Longer than 600 lines: every shape of code-stream is made here and has its row. */
#include "jp2_marks.h"
#include "codec/jp2_small.h"
#include "jpip/index.h"
#include <math.h>
#include <unistd.h>

#define GREY .comps = 1
#define RGB  .comps = 3, .mct = 1

static const recipe recipes[] = {
    {"grey", 203, 151, GREY},
    {"lossless", 203, 151, RGB},
    {"lossy", 203, 151, RGB, .lossy = 1, .rate = {12}},
    {"no mct", 203, 151, .comps = 3, .lossy = 1, .rate = {12}},
    {"one pixel", 1, 1, RGB, .levels = 1},
    {"a row", 301, 1, RGB, .lossy = 1, .levels = 1},
    {"a column", 1, 301, GREY, .levels = 1},
    {"one resolution", 203, 151, RGB, .levels = 1},
    {"many resolutions", 203, 151, RGB, .levels = 8},
    {"offset", 203, 151, 37, 51, RGB},
    {"odd offset, lossy", 203, 151, 101, 33, RGB, .lossy = 1, .rate = {8}},
    {"tiles", 203, 151, .tw = 64, .th = 64, RGB},
    {"tiles, lossy", 203, 151, .tw = 64, .th = 64, RGB, .lossy = 1, .rate = {10}, .levels = 4},
    {"odd tiles", 203, 151, .tw = 50, .th = 37, RGB, .levels = 4},
    {"odd tiles, lossy", 203, 151, .tw = 61, .th = 53, RGB, .levels = 5, .lossy = 1},
    {"tiles and offsets", 203, 151, 37, 51, 60, 70, 5, 9, RGB, .levels = 4},
    {"tiles and offsets, lossy", 203, 151, 131, 7, 77, 49, 100, 1, RGB, .levels = 3, .lossy = 1, .rate = {9}},
    {"tiles of a column", 203, 151, .tw = 203, .th = 8, RGB, .levels = 3},
    {"small tiles", 203, 151, .tw = 8, .th = 8, GREY, .levels = 3},
    {"layers", 203, 151, RGB, .lossy = 1, .rate = {60, 30, 12, 6}},
    {"layers, lossless", 203, 151, RGB, .rate = {40, 12, 1}},
    {"tiles with layers", 203, 151, .tw = 90, .th = 90, RGB, .lossy = 1, .rate = {40, 20, 10}, .order = OPJ_RPCL,
     .levels = 4},
    {"RLCP", 203, 151, RGB, .order = OPJ_RLCP, .rate = {20, 5}},
    {"RPCL, precincts", 203, 151, RGB, .order = OPJ_RPCL, .precinct = 64, .rate = {20, 5}},
    {"PCRL, precincts", 203, 151, 13, 11, RGB, .order = OPJ_PCRL, .precinct = 32, .levels = 4},
    {"CPRL", 203, 151, RGB, .order = OPJ_CPRL, .precinct = 128, .lossy = 1},
    {"parts by resolution", 203, 151, RGB, .order = OPJ_RPCL, .parts = 'R', .rate = {20, 5}},
    {"tiles in parts by layer", 203, 151, .tw = 100, .th = 64, RGB, .parts = 'L', .rate = {20, 5}},
    {"small blocks", 203, 151, RGB, .block = 8},
    {"markers", 203, 151, RGB, .csty = 2 | 4},
    {"bypass, reset", 203, 151, RGB, .style = 1 | 2},
    {"termination", 203, 151, RGB, .style = 4 | 8 | 16},
    {"segmentation", 203, 151, RGB, .style = 32, .lossy = 1},
    {"four bands", 131, 90, .comps = 4},
    {"two bands", 131, 90, .comps = 2, .lossy = 1},
    {"eight bands", 131, 90, .comps = 8, .tw = 64, .th = 64},
    {"1 bit", 131, 90, .comps = 1, .comp = {{1, 1, 1, 0}}},
    {"2 bits", 131, 90, .comps = 1, .comp = {{1, 1, 2, 0}}},
    {"5 bits", 131, 90, .comps = 1, .comp = {{1, 1, 5, 0}}},
    {"7 bits", 131, 90, .comps = 1, .comp = {{1, 1, 7, 0}}, .lossy = 1},
    {"9 bits", 131, 90, .comps = 1, .comp = {{1, 1, 9, 0}}},
    {"10 bits", 131, 90, .comps = 3, .comp = {{1, 1, 10, 0}, {1, 1, 10, 0}, {1, 1, 10, 0}}, .mct = 1},
    {"12 bits, lossy", 131, 90, .comps = 1, .comp = {{1, 1, 12, 0}}, .lossy = 1, .rate = {6}},
    {"16 bits", 131, 90, .comps = 3, .comp = {{1, 1, 16, 0}, {1, 1, 16, 0}, {1, 1, 16, 0}}, .mct = 1},
    {"16 bits, tiles", 131, 90, .tw = 40, .th = 40, .comps = 1, .comp = {{1, 1, 16, 0}}, .lossy = 1, .levels = 3},
    {"20 bits", 131, 90, .comps = 1, .comp = {{1, 1, 20, 0}}},
    {"24 bits", 131, 90, .comps = 1, .comp = {{1, 1, 24, 0}}},
    {"signed 8 bits", 131, 90, .comps = 1, .comp = {{1, 1, 8, 1}}},
    {"signed 12 bits", 131, 90, .comps = 1, .comp = {{1, 1, 12, 1}}, .lossy = 1},
    {"signed 16 bits", 131, 90, .comps = 1, .comp = {{1, 1, 16, 1}}, .tw = 50, .th = 50},
    {"signed 20 bits", 131, 90, .comps = 1, .comp = {{1, 1, 20, 1}}},
    {"one of them signed", 131, 90, .comps = 3, .comp = {{1, 1, 8, 0}, {1, 1, 8, 1}, {1, 1, 8, 0}}},
    {"all depths", 131, 90, .comps = 3, .comp = {{1, 1, 12, 0}, {1, 1, 8, 0}, {1, 1, 5, 0}}},
    {"4:2:0", 203, 151, .comps = 3, .comp = {{1, 1, 8, 0}, {2, 2, 8, 0}, {2, 2, 8, 0}}},
    {"4:2:2, lossy", 203, 151, .comps = 3, .comp = {{1, 1, 8, 0}, {2, 1, 8, 0}, {2, 1, 8, 0}}, .lossy = 1, .rate = {6}},
    {"4:2:0, odd offset", 203, 151, 33, 17, .comps = 3, .comp = {{1, 1, 8, 0}, {2, 2, 8, 0}, {2, 2, 8, 0}}},
    {"4:2:0, tiles", 203, 151, .tw = 64, .th = 32, .comps = 3, .comp = {{1, 1, 8, 0}, {2, 2, 8, 0}, {2, 2, 8, 0}}},
    {"4:2:0, odd tiles", 203, 151, 33, 17, 51, 45, 3, 1, .comps = 3, .levels = 2, .lossy = 1,
     .comp = {{1, 1, 8, 0}, {2, 2, 8, 0}, {2, 2, 8, 0}}},
    {"4:1:1", 203, 151, .comps = 3, .comp = {{1, 1, 8, 0}, {4, 1, 8, 0}, {4, 1, 8, 0}}},
    {"every one other", 203, 151, 5, 3, .comps = 3, .levels = 3, .comp = {{3, 2, 8, 0}, {1, 4, 8, 0}, {5, 1, 8, 0}}},
    {"all halved", 203, 151, 3, 5, .comps = 3, .comp = {{2, 2, 8, 0}, {2, 2, 8, 0}, {2, 2, 8, 0}}, .mct = 1},
    /* of which windows are cropped */
    {"precincts", 700, 500, 37, 51, RGB, .levels = 4, .order = OPJ_RPCL, .precinct = 64, .rate = {20, 5}},
    {"precincts, lossy", 700, 500, 101, 33, RGB, .levels = 5, .lossy = 1, .rate = {20, 8}, .precinct = 128,
     .order = OPJ_PCRL},
    {"precincts, 4:2:0", 700, 500, 33, 17, .comps = 3, .levels = 3, .precinct = 32, .order = OPJ_CPRL, .lossy = 1,
     .comp = {{1, 1, 8, 0}, {2, 2, 8, 0}, {2, 2, 8, 0}}},
    {"precincts, every one other", 500, 400, 5, 3, .comps = 3, .levels = 3, .precinct = 32, .csty = 6,
     .comp = {{3, 2, 8, 0}, {1, 4, 8, 0}, {5, 1, 8, 0}}},
    {"precincts in tiles", 700, 500, 37, 51, 320, 250, 5, 9, RGB, .levels = 3, .lossy = 1, .precinct = 32},
    /* of which code-blocks are taken out of their packets */
    {"blocks", 270, 200, 37, 51, RGB, .levels = 3, .block = 8, .rate = {20, 5}},
    {"blocks, lossy, layers", 270, 200, 101, 33, RGB, .levels = 4, .block = 8, .lossy = 1, .rate = {40, 20, 10},
     .order = OPJ_RPCL},
    {"blocks, 4:2:0, markers", 270, 200, 33, 17, .comps = 3, .levels = 3, .block = 8, .csty = 6, .lossy = 1,
     .comp = {{1, 1, 8, 0}, {2, 2, 8, 0}, {2, 2, 8, 0}}, .rate = {20, 6}},
    {"blocks, every one other", 240, 170, 5, 3, .comps = 3, .levels = 3, .block = 8,
     .comp = {{3, 2, 8, 0}, {1, 4, 8, 0}, {5, 1, 8, 0}}},
    {"blocks, styles", 240, 170, RGB, .levels = 3, .block = 16, .style = 2 | 8 | 16 | 32, .rate = {30, 3}},
    {"blocks of many passes", 240, 170, .comps = 1, .comp = {{1, 1, 16, 0}}, .levels = 2, .block = 16,
     .rate = {30, 3, 1}},
    {"blocks, bypass", 240, 170, RGB, .levels = 3, .block = 16, .style = 1, .rate = {30, 3}},
    {"blocks, termination", 240, 170, RGB, .levels = 3, .block = 16, .style = 4},
    {"blocks in precincts", 270, 200, 37, 51, RGB, .levels = 4, .block = 4, .precinct = 256, .order = OPJ_PCRL,
     .rate = {20, 5}},
    {"blocks in tiles", 270, 200, 37, 51, 180, 140, 5, 9, RGB, .levels = 3, .lossy = 1, .block = 8},
    {"two and three", 203, 151, .comps = 2, .levels = 3, .comp = {{2, 2, 8, 0}, {3, 3, 8, 0}}},
};
#define RECIPES (sizeof recipes / sizeof *recipes)

/* --- a model of what is delivered --------------------------------------------------------------------------------- */

/* All the range of the delivered sample, whatever the depth. */
static double stored(int32_t v, comp q, iip_sample s)
{
    const double top = pow(2, q.bits) - 1, full = pow(2, (int)iip_sample_size(s) * 8) - 1;
    const double black = s == IIP_S16 || s == IIP_S32 ? (full + 1) / 2 : 0;

    if (q.sign)
        v += 1 << (q.bits - 1);
    return floor(v * full / top + .5) - black;
}

static double sample_at(const iip_raster *r, int64_t x, int64_t y, int band)
{
    const unsigned char *px = r->px + (size_t)y * r->stride;
    const size_t i = (size_t)(x * r->bands + band);

    switch (r->sample) {
    case IIP_U8:
        return px[i];
    case IIP_U16:
        return ((const uint16_t *)(const void *)px)[i];
    case IIP_S16:
        return ((const int16_t *)(const void *)px)[i];
    case IIP_U32:
        return ((const uint32_t *)(const void *)px)[i];
    case IIP_S32:
        return ((const int32_t *)(const void *)px)[i];
    default:
        return ((const float *)(const void *)px)[i];
    }
}

static int least_sub(const recipe *k, int vertical)
{
    int least = 255, fits = 1;

    for (int c = 0; c < k->comps; c++) {
        comp q = comp_of(k, c);

        least = (vertical ? q.dy : q.dx) < least ? (vertical ? q.dy : q.dx) : least;
    }
    for (int c = 0; c < k->comps; c++) {
        comp q = comp_of(k, c), a = comp_of(k, 0);

        (void)a;
        fits &= q.dx % (vertical ? 1 : least) == 0 && q.dy % (vertical ? least : 1) == 0;
    }
    return fits ? least : 1;
}

/* Number of the sample at or before the pixel: of those from first on, n of them. */
static int64_t before(int64_t pixel, int sub, int least, int64_t first, int64_t n)
{
    int64_t i = 0;

    while (i + 1 < n && (first + i + 1) * sub <= pixel * least)
        i++;
    return i;
}

typedef struct {
    const recipe *k;
    opj_image_t *im;
    int level, sub_x, sub_y;
    int64_t x0, y0, w, h;
} model;

static int64_t halved(int64_t grid, int sub, int level)
{
    int64_t v = up(grid, sub);

    for (int i = 0; i < level; i++)
        v = up(v, 2);
    return v;
}

static model model_of(const recipe *k, bytes stream, int level, int layers)
{
    model m = {k, whole_decode(stream, level, layers), level, least_sub(k, 0), least_sub(k, 1), 0, 0, 0, 0};

    m.x0 = halved(k->x0, m.sub_x, level);
    m.y0 = halved(k->y0, m.sub_y, level);
    m.w = halved(k->x0 + k->w, m.sub_x, level) - m.x0;
    m.h = halved(k->y0 + k->h, m.sub_y, level) - m.y0;
    return m;
}

/* The stored sample of a component under a pixel. */
static int32_t under(const model *m, int c, int64_t x, int64_t y)
{
    const comp q = comp_of(m->k, c);
    const opj_image_comp_t *p = &m->im->comps[c];
    int64_t i = before(m->x0 + x, q.dx, m->sub_x, halved(m->k->x0, q.dx, m->level), p->w);
    int64_t j = before(m->y0 + y, q.dy, m->sub_y, halved(m->k->y0, q.dy, m->level), p->h);

    return p->data[j * p->w + i];
}

/* Every sample of a window. */
static void check_window(subject *t, const model *m, iip_rect want, int layers)
{
    iip_raster out;
    size_t used;

    out = blank(want.w, want.h, t->info.bands, t->info.sample);
    used = out.stride;
    out.stride += 8;
    free(out.px);
    out.px = malloc(out.stride * (size_t)want.h);
    memset(out.px, 0xa5, out.stride * (size_t)want.h);
    if (t->dec->read(t->r, m->level, want, layers, &out, &t->e) != IIP_OK)
        fail_msg("%s, level %d: %s", m->k->name, m->level, t->e.detail);
    for (int64_t y = 0; y < want.h; y++) {
        for (int64_t x = 0; x < want.w; x++)
            for (int c = 0; c < m->k->comps; c++) {
                double is = stored(under(m, c, want.x + x, want.y + y), comp_of(m->k, c), t->info.sample);
                double got = sample_at(&out, x, y, c);

                if (got != is)
                    fail_msg("%s, level %d, layers %d, %d,%d,%d,%d: band %d of %d,%d is %g, not %g", m->k->name,
                             m->level, layers, (int)want.x, (int)want.y, (int)want.w, (int)want.h, c, (int)x, (int)y,
                             got, is);
            }
        for (size_t i = used; i < out.stride; i++)
            assert_int_equal(out.px[(size_t)y * out.stride + i], 0xa5);
    }
    free(out.px);
}

/* All of a level by its cells, and windows anywhere. */
static void check_level(subject *t, const model *m, int layers, unsigned *seed)
{
    const iip_level *l = &t->info.level[m->level];

    assert_int_equal(l->w, m->w);
    assert_int_equal(l->h, m->h);
    for (int64_t y = 0; y < l->h; y += l->tile_h)
        for (int64_t x = 0; x < l->w; x += l->tile_w) {
            iip_rect cell = {x, y, l->tile_w, l->tile_h};

            cell.w = cell.w < l->w - x ? cell.w : l->w - x;
            cell.h = cell.h < l->h - y ? cell.h : l->h - y;
            check_window(t, m, cell, layers);
        }
    for (int n = 0; n < 8; n++) {
        iip_rect want = {rand_r(seed) % l->w, rand_r(seed) % l->h, 0, 0};

        want.w = 1 + rand_r(seed) % (l->w - want.x);
        want.h = 1 + rand_r(seed) % (l->h - want.y);
        if (n % 2) {
            want.w = want.w < 20 ? want.w : 20;
            want.h = want.h < 20 ? want.h : 20;
        }
        check_window(t, m, want, layers);
    }
}

/* With a word on colour, so that three components are taken as they are. */
static bytes file_of(const recipe *k, bytes stream)
{
    bytes header = {0};

    if (k->comps == 3)
        colr(&header, 16);
    return jp2_file(header, stream);
}

static void check_info(const subject *t, const recipe *k)
{
    int most = 0, all_signed = 1;

    for (int c = 0; c < k->comps; c++) {
        most = comp_of(k, c).bits > most ? comp_of(k, c).bits : most;
        all_signed &= comp_of(k, c).sign;
    }
    assert_int_equal(t->info.bands, k->comps);
    assert_int_equal(t->info.bits, most);
    assert_int_equal(t->info.sample, all_signed  ? most > 16 ? IIP_S32 : IIP_S16
                                     : most > 16 ? IIP_U32
                                     : most > 8  ? IIP_U16
                                                 : IIP_U8);
    assert_int_equal(t->info.space, k->comps == 1 ? IIP_GREY : k->comps == 3 ? IIP_RGB : IIP_MULTIBAND);
    assert_int_equal(t->info.bilevel, k->comps == 1 && most == 1);
    assert_true(t->info.levels >= 1 && t->info.levels == t->info.virtual_from && t->info.pages == 1);
    assert_int_equal(t->info.tiled, k->tw != 0);
    assert_true(t->info.hold > 0 && t->info.decode_cost > 1 && t->info.alpha == 0);
    for (int i = 0; i < t->info.levels; i++) {
        const iip_level *l = &t->info.level[i];

        assert_true(l->tile_w >= 1 && l->tile_h >= 1 && l->tile_w <= 1024 && l->tile_h <= 1024);
        assert_true(i == 0 || (l->w <= l[-1].w && l->h <= l[-1].h && (l->w < l[-1].w || l->h < l[-1].h)));
    }
}

/* --- tests -------------------------------------------------------------------------------------------------------- */

static void every_recipe(void **state)
{
    unsigned seed = 3;

    for (size_t i = 0; i < RECIPES; i++) {
        const recipe *k = &recipes[i];
        bytes stream = stream_of(k), file = file_of(k, stream);
        subject t;

        opened(&t, file);
        check_info(&t, k);
        for (int l = 0; l < t.info.levels; l++) {
            model m = model_of(k, stream, l, 0);

            check_level(&t, &m, -1, &seed);
            for (int c = 0; l == 0 && !k->lossy && k->rate[0] == 0 && c < k->comps; c++) /* what went in */
                for (OPJ_UINT32 n = 0; n < m.im->comps[c].w * m.im->comps[c].h; n++)
                    assert_int_equal(m.im->comps[c].data[n],
                                     sample_of(k, c, n % m.im->comps[c].w, n / m.im->comps[c].w));
            opj_image_destroy(m.im);
        }
        for (int layers = 1; layers <= t.info.layers; layers++) {
            model m = model_of(k, stream, layers % t.info.levels, layers);

            check_level(&t, &m, layers, &seed);
            opj_image_destroy(m.im);
        }
        done(&t);
        free(file.p);
        free(stream.p);
    }
}

/* How many levels there are: what all tiles and components have, down to where the picture has no more pixels. */
static void levels(void **state)
{
    static const struct {
        recipe k;
        int levels;
    } rows[] = {
        {{"", 64, 64, GREY, .levels = 6}, 6},
        {{"", 64, 64, GREY, .levels = 7}, 7},
        {{"", 64, 64, GREY, .levels = 1}, 1},
        {{"", 64, 64, 64, 64, .tw = 100, .th = 100, GREY, .levels = 7}, 7},
        /* Pixel 3 of level 3 in the third tile has luma and no chroma. */
        {{"", 40, 10, .tw = 10, .th = 10, .comps = 3, .levels = 4, .comp = {{1, 1, 8, 0}, {2, 2, 8, 0}, {2, 2, 8, 0}}},
         3},
    };

    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        bytes b = stream_of(&rows[i].k);
        subject t;

        opened(&t, b);
        assert_int_equal(t.info.levels, rows[i].levels);
        done(&t);
        free(b.p);
    }
}

/* The same picture again and again, levels and windows in any order, from one reader. */
static void one_reader(void **state)
{
    static const recipe k = {"in any order", 900, 700, 7, 3, RGB, .lossy = 1, .rate = {20, 8}, .precinct = 128};
    bytes stream = stream_of(&k), file = file_of(&k, stream);
    model m[6][2];
    unsigned seed = 5;
    subject t;

    opened(&t, file);
    assert_int_equal(t.info.levels, 6);
    assert_int_equal(t.info.layers, 2);
    for (int l = 0; l < 6; l++)
        for (int layers = 0; layers < 2; layers++)
            m[l][layers] = model_of(&k, stream, l, layers);
    for (int n = 0; n < 150; n++) {
        const int l = n % 3 ? rand_r(&seed) % 6 : 0, layers = n % 7 == 0;
        iip_rect want = {rand_r(&seed) % m[l][0].w, rand_r(&seed) % m[l][0].h, 0, 0};

        want.w = 1 + rand_r(&seed) % (m[l][0].w - want.x);
        want.h = 1 + rand_r(&seed) % (m[l][0].h - want.y);
        check_window(&t, &m[l][layers], want, layers);
    }
    done(&t);
    for (int l = 0; l < 6; l++)
        for (int layers = 0; layers < 2; layers++)
            opj_image_destroy(m[l][layers].im);
    free(file.p);
    free(stream.p);
}

static void rectangles_refused(void **state)
{
    static const recipe k = {"", 40, 30, GREY, .levels = 3};
    static const struct {
        int level;
        iip_rect r;
    } rows[] = {{0, {-1, 0, 1, 1}}, {0, {0, -1, 1, 1}}, {0, {0, 0, 0, 1}}, {0, {0, 0, 1, 0}}, {0, {40, 0, 1, 1}},
                {0, {0, 30, 1, 1}}, {1, {0, 0, 21, 1}}, {3, {0, 0, 1, 1}}, {-1, {0, 0, 1, 1}}};
    bytes b = stream_of(&k);
    unsigned char px[64];
    iip_raster out = {1, 1, 1, IIP_U8, 64, px};
    subject t;

    opened(&t, b);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        assert_int_equal(t.dec->read(t.r, rows[i].level, rows[i].r, -1, &out, &t.e), IIP_E_RANGE);
    done(&t);
    apr_pool_create(&t.p, pool);
    assert_int_equal(t.dec->open(&t.r, &t.s.s, 1, NULL, t.p, &t.e), IIP_E_NOT_FOUND);
    done(&t);
    free(b.p);
}

/* --- packed packet headers ---------------------------------------------------------------------------------------- */

static void packed_headers(void **state)
{
    static const recipe kinds[] = {
        {"packed", 203, 151, RGB, .csty = 6},
        {"packed tiles", 203, 151, .tw = 64, .th = 64, RGB, .csty = 6, .rate = {20, 4}},
        {"packed parts", 203, 151, .tw = 90, .th = 90, .levels = 4, RGB, .csty = 6, .order = OPJ_RLCP, .parts = 'R',
         .lossy = 1},
    };
    unsigned seed = 9;

    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        for (int how = 0; how < 3; how++) {
            bytes plain = stream_of(&kinds[i]), b = packed(plain, how == 2, how ? 60000 : 77);
            subject t;

            opened(&t, b);
            for (int l = 0; l < t.info.levels; l++) {
                model m = model_of(&kinds[i], plain, l, 0);

                check_level(&t, &m, -1, &seed);
                opj_image_destroy(m.im);
            }
            done(&t);
            free(b.p);
            free(plain.p);
        }
}

/* --- HT ----------------------------------------------------------------------------------------------------------- */

static bytes load(const char *path)
{
    FILE *f = fopen(path, "rb");
    bytes b = {0};

    assert_non_null(f);
    fseek(f, 0, SEEK_END);
    b.n = (size_t)ftell(f);
    rewind(f);
    b.p = malloc(b.n);
    assert_int_equal(fread(b.p, 1, b.n, f), b.n);
    fclose(f);
    return b;
}

/* The pixels of a binary PGM or PPM. */
static iip_raster load_pnm(const char *path)
{
    FILE *f = fopen(path, "rb");
    int w, h, top, kind;
    iip_raster r;

    assert_non_null(f);
    assert_int_equal(fscanf(f, "P%d", &kind), 1);
    for (int c; (c = fgetc(f)) != EOF && (c == '\n' || c == '#');)
        if (c == '#')
            while ((c = fgetc(f)) != EOF && c != '\n')
                ;
    fseek(f, -1, SEEK_CUR);
    assert_int_equal(fscanf(f, "%d %d %d", &w, &h, &top), 3);
    fgetc(f);
    r = blank(w, h, kind == 6 ? 3 : 1, IIP_U8);
    assert_int_equal(fread(r.px, 1, r.stride * (size_t)h, f), r.stride * (size_t)h);
    fclose(f);
    return r;
}

/* The code-stream of a JP2 file, in place. */
static bytes file_stream(bytes file)
{
    size_t at = 0;

    while (at + 8 < file.n && memcmp(file.p + at, "jp2c", 4) != 0)
        at++;
    return (bytes){file.p + at + 4, file.n - at - 4};
}

/* 8 bits and no fewer samples in any component. */
static iip_raster decoded(bytes stream, int level)
{
    opj_image_t *im = whole_decode(stream, level, 0);
    iip_raster r = blank(im->comps[0].w, im->comps[0].h, (int)im->numcomps, IIP_U8);

    for (int64_t i = 0; i < r.w * r.h * r.bands; i++)
        r.px[i] = (unsigned char)im->comps[i % r.bands].data[i / r.bands];
    opj_image_destroy(im);
    return r;
}

static void check_ht(subject *t, int level, const iip_raster *ref)
{
    unsigned seed = 1;

    assert_int_equal(t->info.level[level].w, ref->w);
    assert_int_equal(t->info.level[level].h, ref->h);
    for (int n = 0; n < 12; n++) {
        iip_rect want = {0, 0, ref->w, ref->h};
        iip_raster out;

        if (n) {
            want.x = rand_r(&seed) % ref->w;
            want.y = rand_r(&seed) % ref->h;
            want.w = 1 + rand_r(&seed) % (ref->w - want.x);
            want.h = 1 + rand_r(&seed) % (ref->h - want.y);
        }
        out = blank(want.w, want.h, 3, IIP_U8);
        if (t->dec->read(t->r, level, want, -1, &out, &t->e) != IIP_OK)
            fail_msg("HT: %s", t->e.detail);
        for (int64_t y = 0; y < want.h; y++)
            assert_memory_equal(out.px + (size_t)y * out.stride,
                                ref->px + (size_t)(want.y + y) * ref->stride + (size_t)want.x * 3, out.stride);
        free(out.px);
    }
}

static void high_throughput(void **state)
{
    static const struct {
        const char *options;
        int lossless, tiled;
    } rows[] = {{"-M 64", 1, 0},
                {"-M 64 -t 128,128", 1, 1},
                {"-M 64 -I", 0, 0},
                {"-M 64 -I -t 200,90 -n 4", 0, 1},
                {"-M 64 -c [64,64] -n 4 -p RPCL", 1, 0},
                {"-M 64 -c [32,32] -n 3 -I", 0, 0},
                {"-M 64 -b 8,8 -n 3", 1, 0},
                {"-M 64 -b 16,16 -n 3 -I", 0, 0}};
    const int w = 431, h = 317;
    iip_raster in = painted(w, h, 3, IIP_U8);
    char top[32], path[64];
    FILE *f;

    if (system("command -v grk_compress grk_decompress >/dev/null") != 0)
        skip();
    tool_folder(top);
    snprintf(path, sizeof path, "%s/in.ppm", top);
    f = fopen(path, "wb");
    assert_non_null(f);
    fprintf(f, "P6\n%d %d\n255\n", w, h);
    fwrite(in.px, 1, in.stride * (size_t)h, f);
    fclose(f);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char command[400];
        bytes b;
        subject t;

        snprintf(command, sizeof command, "cd %s && grk_compress -i in.ppm -o ht.jp2 %s >/dev/null 2>&1", top,
                 rows[i].options);
        assert_int_equal(system(command), 0);
        snprintf(path, sizeof path, "%s/ht.jp2", top);
        b = load(path);
        opened(&t, b);
        if (rows[i].lossless)
            check_ht(&t, 0, &in);
        for (int l = 0; l < t.info.levels; l++) {
            iip_raster ref = decoded(file_stream(b), l);

            check_ht(&t, l, &ref);
            free(ref.px);
            if (l && rows[i].tiled) /* grk_decompress 10.0.5 itself makes something else of it each time */
                continue;
            snprintf(command, sizeof command, "cd %s && grk_decompress -i ht.jp2 -o out.ppm -r %d >/dev/null 2>&1", top,
                     l);
            assert_int_equal(system(command), 0);
            snprintf(path, sizeof path, "%s/out.ppm", top);
            ref = load_pnm(path);
            check_ht(&t, l, &ref);
            free(ref.px);
        }
        done(&t);
        free(b.p);
    }
    tool_folder_gone(top);
    free(in.px);
}

/* --- what OpenJPEG is given ----------------------------------------------------------------------------------------
 */

/* Of a file without precincts, or with large ones, a window takes a small picture all the same, unless the segments of
 * its code-blocks forbid it. */
static void small_pictures(void **state)
{
    static const struct {
        const char *name;
        int small;
    } rows[] = {{"blocks", 1},         {"blocks, lossy, layers", 1}, {"blocks, 4:2:0, markers", 1},
                {"blocks, styles", 1}, {"blocks in precincts", 1},   {"blocks of many passes", 1},
                {"blocks, bypass", 0}, {"blocks, termination", 0}};

    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const recipe *k = recipes;
        iip_jp2_box want[MOST_COMPS], box;
        iip_jp2_small *small;
        iip_jp2_file f;
        iip_jp2_head h;
        jpip_index *ix;
        apr_pool_t *p;
        iip_error e;
        bytes b;

        while (strcmp(k->name, rows[i].name) != 0)
            k++;
        b = stream_of(k);
        assert_int_equal(apr_pool_create(&p, pool), APR_SUCCESS);
        assert_int_equal(iip_jp2_open(&f, iip_source_memory(b.p, b.n, "x", p), p, &e), IIP_OK);
        assert_int_equal(iip_jp2_head_read(&h, &f, 0, p, &e), IIP_OK);
        assert_int_equal(jpip_index_build(&ix, &f, NULL, &e), IIP_OK);
        for (int c = 0; c < k->comps; c++) {
            const comp q = comp_of(k, c);

            want[c] = (iip_jp2_box){150 / q.dx, 120 / q.dy, 170 / q.dx, 140 / q.dy};
        }
        assert_int_equal(iip_jp2_small_make(&small, &h, ix, 0, 0, 0, want, &e), IIP_OK);
        box = iip_jp2_small_box(small);
        assert_int_equal((box.x1 - box.x0) * (box.y1 - box.y0) * 2 < (int64_t)k->w * k->h, rows[i].small);
        iip_jp2_small_free(small);
        jpip_index_free(ix);
        apr_pool_destroy(p);
        free(b.p);
    }
}

/* --- damage and limits -------------------------------------------------------------------------------------------- */

static iip_raster reference(const recipe *k, bytes stream)
{
    model m = model_of(k, stream, 0, 0);
    iip_raster r = blank(m.w, m.h, k->comps, IIP_U8);

    for (int64_t i = 0; i < m.w * m.h * k->comps; i++)
        r.px[i] = (unsigned char)under(&m, (int)(i % k->comps), i / k->comps % m.w, i / k->comps / m.w);
    opj_image_destroy(m.im);
    return r;
}

static void damaged(void **state)
{
    static const recipe kinds[] = {
        {"lossy", 90, 70, RGB, .lossy = 1, .rate = {20, 6}},
        {"tiles", 90, 70, .tw = 32, .th = 32, RGB, .levels = 3},
        {"parts", 90, 70, RGB, .order = OPJ_RLCP, .parts = 'R', .levels = 3},
        {"markers", 90, 70, GREY, .csty = 6, .precinct = 32, .order = OPJ_PCRL},
    };

    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        bytes b = stream_of(&kinds[i]), whole, file;
        iip_raster ref = reference(&kinds[i], b);

        assert_int_equal(cut_trial(b, &ref, kinds[i].name), 2); /* without its last marker it is whole */
        mutant_trial(b, &ref, 700);
        source_trial(b, &ref);
        file = file_of(&kinds[i], b);
        cut_trial(file, &ref, kinds[i].name);
        mutant_trial(file, &ref, 300);
        source_trial(file, &ref);
        free(file.p);
        for (int how = 0; how < 2 && kinds[i].csty == 6; how++) {
            whole = packed(b, how, 100);
            assert_int_equal(cut_trial(whole, &ref, "packed"), 2);
            mutant_trial(whole, &ref, 500);
            free(whole.p);
        }
        free(ref.px);
        free(b.p);
    }
}

/* A code-stream of headers alone: sizes as given, one component, and a tile-part of n zero bytes for tile 0. */
typedef struct {
    uint32_t siz[8];
    int comps, bits, dx, levels, precinct, layers, order, style, block;
    size_t data;
} bomb;

static bytes bomb_of(const bomb *k)
{
    bytes b = {0};

    be(&b, 0xff4fff51, 4);
    be(&b, 38 + 3 * (uint64_t)k->comps, 2);
    be(&b, 0, 2);
    for (int i = 0; i < 8; i++)
        be(&b, k->siz[i], 4);
    be(&b, (uint64_t)k->comps, 2);
    for (int i = 0; i < k->comps; i++) {
        be(&b, (uint64_t)k->bits - 1, 1);
        be(&b, (uint64_t)k->dx, 1);
        be(&b, (uint64_t)k->dx, 1);
    }
    be(&b, 0xff52, 2);
    be(&b, 12 + (uint64_t)(k->precinct >= 0 ? k->levels + 1 : 0), 2);
    be(&b, k->precinct >= 0, 1);
    be(&b, (uint64_t)k->order, 1);
    be(&b, (uint64_t)k->layers, 2);
    be(&b, 0, 1);
    be(&b, (uint64_t)k->levels, 1);
    be(&b, (uint64_t)k->block, 1);
    be(&b, (uint64_t)k->block, 1);
    be(&b, (uint64_t)k->style, 1);
    be(&b, 1, 1);
    for (int i = 0; i <= k->levels && k->precinct >= 0; i++)
        be(&b, (uint64_t)k->precinct, 1);
    be(&b, 0xff5c, 2);
    be(&b, 4 + 3 * (uint64_t)k->levels, 2);
    be(&b, 0x40, 1);
    for (int i = 0; i < 3 * k->levels + 1; i++)
        be(&b, 0x48, 1);
    be(&b, 0xff90000a0000, 6);
    be(&b, 14 + k->data, 4);
    be(&b, 1, 2);
    be(&b, 0xff93, 2);
    b.p = realloc(b.p, b.n + k->data + 2);
    memset(b.p + b.n, 0, k->data);
    b.n += k->data;
    be(&b, 0xffd9, 2);
    return b;
}

static void bombs(void **state)
{
    static const struct {
        const char *name;
        bomb k;
        iip_status open, read;
    } rows[] = {
        {"sound", {{64, 64, 0, 0, 64, 64, 0, 0}, 1, 8, 1, 2, -1, 1, 0, 0, 4, 64}, IIP_OK, IIP_OK},
        {"too large", {{0x80000000, 64, 0, 0, 64, 64, 0, 0}, 1, 8, 1, 2, -1, 1, 0, 0, 4, 64}, IIP_E_FORMAT, 0},
        {"no pixels", {{64, 64, 64, 0, 64, 64, 0, 0}, 1, 8, 1, 2, -1, 1, 0, 0, 4, 64}, IIP_E_FORMAT, 0},
        {"empty tiles", {{64, 64, 0, 0, 0, 64, 0, 0}, 1, 8, 1, 2, -1, 1, 0, 0, 4, 64}, IIP_E_FORMAT, 0},
        {"a first tile outside", {{64, 64, 32, 0, 16, 64, 0, 0}, 1, 8, 1, 2, -1, 1, 0, 0, 4, 64}, IIP_E_FORMAT, 0},
        {"65536 tiles", {{256, 256, 0, 0, 1, 1, 0, 0}, 1, 8, 1, 0, -1, 1, 0, 0, 4, 64}, IIP_E_FORMAT, 0},
        {"1025 components", {{64, 64, 0, 0, 64, 64, 0, 0}, 1025, 8, 1, 2, -1, 1, 0, 0, 4, 64}, IIP_E_FORMAT, 0},
        {"38 bits", {{64, 64, 0, 0, 64, 64, 0, 0}, 1, 38, 1, 2, -1, 1, 0, 0, 4, 64}, IIP_E_FORMAT, 0},
        {"no samples", {{64, 64, 0, 0, 64, 64, 0, 0}, 1, 8, 0, 2, -1, 1, 0, 0, 4, 64}, IIP_E_FORMAT, 0},
        {"a component of nothing", {{2, 64, 1, 0, 64, 64, 0, 0}, 1, 8, 4, 0, -1, 1, 0, 0, 4, 64}, IIP_E_FORMAT, 0},
        {"no layers", {{64, 64, 0, 0, 64, 64, 0, 0}, 1, 8, 1, 2, -1, 0, 0, 0, 4, 64}, IIP_E_CORRUPT, 0},
        {"packets without bytes",
         {{64, 64, 0, 0, 64, 64, 0, 0}, 1, 8, 1, 2, -1, 65535, 0, 0, 4, 64},
         IIP_OK,
         IIP_E_CORRUPT},
        {"large blocks", {{64, 64, 0, 0, 64, 64, 0, 0}, 1, 8, 1, 2, -1, 1, 0, 0, 9, 64}, IIP_E_FORMAT, 0},
        {"mixed blocks", {{64, 64, 0, 0, 64, 64, 0, 0}, 1, 8, 1, 2, -1, 1, 0, 0xc0, 4, 64}, IIP_E_FORMAT, 0},
        {"precincts of one sample", {{64, 64, 0, 0, 64, 64, 0, 0}, 1, 8, 1, 2, 0x00, 1, 0, 0, 4, 64}, IIP_E_FORMAT, 0},
        {"countless blocks",
         {{0x7fffffff, 0x7fffffff, 0, 0, 0x7fffffff, 0x7fffffff, 0, 0}, 1, 8, 1, 5, -1, 1, 0, 0, 4, 64},
         IIP_E_FORMAT,
         0},
        {"countless precincts",
         {{100000, 100000, 0, 0, 100000, 100000, 0, 0}, 1, 8, 1, 1, 0x11, 1, 2, 0, 4, 64},
         IIP_E_FORMAT,
         0},
        {"countless places",
         {{1000000, 1000000, 0, 0, 1000000, 1000000, 0, 0}, 3, 8, 1, 0, 0xf0, 1, 2, 0, 4, 64},
         IIP_E_FORMAT,
         0},
        {"many tiles and one there",
         {{65535, 1, 0, 0, 1, 1, 0, 0}, 1, 8, 1, 0, -1, 1, 0, 0, 4, 64},
         IIP_OK,
         IIP_E_CORRUPT},
    };

    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        bytes b = bomb_of(&rows[i].k);
        unsigned char px[64];
        iip_raster out = {1, 1, 1, IIP_U8, 64, px};
        apr_time_t t0 = apr_time_now();
        subject t;
        iip_status rv = open_at(&t, b, -1);

        if (rv == IIP_OK) {
            iip_rect last = {t.info.level[0].w - 1, t.info.level[0].h - 1, 1, 1};

            if (rows[i].open == IIP_OK)
                rv = t.dec->read(t.r, 0, last, -1, &out, &t.e);
            if (rv != rows[i].read || rows[i].open != IIP_OK)
                fail_msg("%s: read with status %d %s", rows[i].name, rv, t.e.detail);
        } else if (rv != rows[i].open) {
            fail_msg("%s: opened with status %d %s", rows[i].name, rv, t.e.detail);
        }
        assert_true(apr_time_now() - t0 < apr_time_from_sec(3));
        done(&t);
        free(b.p);
    }
}

/* A million tile-parts of nothing, and headers without end. */
static void long_files(void **state)
{
    const bomb k = {{64, 64, 0, 0, 64, 64, 0, 0}, 1, 8, 1, 2, -1, 1, 0, 0, 4, 0};
    bytes b = bomb_of(&k);
    const size_t part = b.n - 16, parts = 1000001, segments = 100000;
    subject t;

    b.p = realloc(b.p, part + parts * 14 + 2);
    for (size_t i = 1; i < parts; i++)
        memcpy(b.p + part + 14 * i, b.p + part, 14);
    b.n = part + parts * 14;
    be(&b, 0xffd9, 2);
    assert_int_equal(open_at(&t, b, -1), IIP_E_FORMAT);
    done(&t);
    free(b.p);
    b = (bytes){malloc(4 + 4 * segments), 4 + 4 * segments};
    memcpy(b.p, "\xff\x4f\xff\x51", 4);
    for (size_t i = 1; i <= segments; i++)
        memcpy(b.p + 4 * i, "\xff\x51\0\4", 4);
    assert_true(open_at(&t, b, -1) != IIP_OK);
    done(&t);
    free(b.p);
}

static int group(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_recipe),   cmocka_unit_test(levels),
        cmocka_unit_test(one_reader),     cmocka_unit_test(rectangles_refused),
        cmocka_unit_test(packed_headers), cmocka_unit_test(high_throughput),
        cmocka_unit_test(damaged),        cmocka_unit_test(bombs),
        cmocka_unit_test(long_files),     cmocka_unit_test(small_pictures),
    };

    int failed;

    /* By tiles as they lie in the file, then by the packets that a window needs. */
    iip_jp2_indexes(NULL, -1);
    failed = cmocka_run_group_tests_name("tiles", tests, NULL, NULL);
    iip_jp2_indexes(NULL, 0);
    return failed + cmocka_run_group_tests_name("packets", tests, NULL, NULL);
}

int main(void)
{
    return run_cases(group);
}
