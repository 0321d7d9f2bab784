/* SPDX-License-Identifier: Apache-2.0
 * JPEG reader. Files come from libjpeg used plainly, expectations from one plain decode of the whole picture
 * (jpeg_mem_src, all rows in order), ink amounts from the picture that went in. Long, since all of it shares the
 * recipes. */
#include "jpeg_plain.h"

static double_source source_of(bytes b)
{
    return (double_source){{.read = double_read, .id.size = (int64_t)b.n, .name = "double", .fd = -1}, b, 0, -1};
}

/* --- files to read ---------------------------------------------------------------------------------------------- */

/* Each component for itself, DC bit by bit, bands of AC cut small, chroma's refined often */
static const jpeg_scan_info fine[] = {
    {1, {0}, 0, 0, 0, 3},   {2, {1, 2}, 0, 0, 0, 3}, {1, {2}, 0, 0, 3, 2},       {1, {1}, 1, 9, 0, 2},
    {1, {1}, 10, 63, 0, 1}, {1, {0}, 0, 0, 3, 2},    {1, {1}, 0, 0, 3, 2},       {1, {1}, 1, 9, 2, 1},
    {1, {2}, 1, 63, 0, 3},  {1, {2}, 1, 63, 3, 2},   {3, {0, 1, 2}, 0, 0, 2, 1}, {1, {2}, 1, 63, 2, 1},
    {1, {0}, 1, 63, 0, 0},  {1, {2}, 1, 63, 1, 0},   {3, {0, 1, 2}, 0, 0, 1, 0}, {1, {1}, 1, 63, 1, 0},
};
static const jpeg_scan_info coarse[] = {
    {2, {0, 2}, 0, 0, 0, 0}, {1, {0}, 1, 63, 0, 0}, {1, {1}, 0, 0, 0, 0}, {1, {1}, 1, 63, 0, 0}, {1, {2}, 1, 63, 0, 0},
};

static const jpeg_scan_info one_each[] = {
    {1, {0}, 0, 0, 0, 1}, {1, {1}, 0, 0, 0, 1},  {1, {2}, 0, 0, 0, 1},  {1, {1}, 1, 63, 0, 0},
    {1, {0}, 0, 0, 1, 0}, {1, {2}, 1, 63, 0, 0}, {1, {0}, 1, 63, 0, 0}, {2, {1, 2}, 0, 0, 1, 0},
};

static const recipe recipes[] = {
    {"grey", JCS_GRAYSCALE, JCS_GRAYSCALE, 1, 203, 151, .hs = 1},
    {"grey with factors 2x2", JCS_GRAYSCALE, JCS_GRAYSCALE, 1, 203, 151, .hs = 2, .vs = 2},
    {"4:4:4", JCS_RGB, JCS_YCbCr, 3, 203, 151, .hs = 1, .vs = 1},
    {"4:2:2", JCS_RGB, JCS_YCbCr, 3, 203, 151, .hs = 2, .vs = 1},
    {"4:2:0", JCS_RGB, JCS_YCbCr, 3, 203, 151, .hs = 2, .vs = 2},
    {"4:4:0", JCS_RGB, JCS_YCbCr, 3, 203, 151, .hs = 1, .vs = 2},
    {"4:1:1", JCS_RGB, JCS_YCbCr, 3, 203, 151, .hs = 4, .vs = 1},
    {"4:1:0", JCS_RGB, JCS_YCbCr, 3, 203, 151, .hs = 4, .vs = 2},
    {"1x4", JCS_RGB, JCS_YCbCr, 3, 203, 151, .hs = 1, .vs = 4},
    {"3x1", JCS_RGB, JCS_YCbCr, 3, 203, 151, .hs = 3, .vs = 1},
    {"1x3", JCS_RGB, JCS_YCbCr, 3, 203, 151, .hs = 1, .vs = 3},
    {"4:2:0, whole blocks", JCS_RGB, JCS_YCbCr, 3, 192, 160, .hs = 2, .vs = 2},
    {"4:2:0, one more", JCS_RGB, JCS_YCbCr, 3, 193, 161, .hs = 2, .vs = 2},
    {"4:2:0, restarts", JCS_RGB, JCS_YCbCr, 3, 203, 151, .hs = 2, .vs = 2, .restart = 3},
    {"4:2:0, arithmetic", JCS_RGB, JCS_YCbCr, 3, 203, 151, .hs = 2, .vs = 2, .arith = 1},
    {"RGB", JCS_RGB, JCS_RGB, 3, 203, 151, .hs = 1},
    {"CMYK", JCS_CMYK, JCS_CMYK, 4, 203, 151, .hs = 1},
    {"YCCK", JCS_CMYK, JCS_YCCK, 4, 203, 151, .hs = 2, .vs = 2},
    {"progressive grey", JCS_GRAYSCALE, JCS_GRAYSCALE, 1, 203, 151, .progressive = 1},
    {"progressive 4:2:0", JCS_RGB, JCS_YCbCr, 3, 203, 151, .hs = 2, .vs = 2, .progressive = 1},
    {"progressive 4:4:4", JCS_RGB, JCS_YCbCr, 3, 203, 151, .hs = 1, .vs = 1, .progressive = 1},
    {"progressive 4:4:0", JCS_RGB, JCS_YCbCr, 3, 203, 151, .hs = 1, .vs = 2, .progressive = 1},
    {"progressive 4:1:0", JCS_RGB, JCS_YCbCr, 3, 203, 151, .hs = 4, .vs = 2, .progressive = 1},
    {"progressive YCCK", JCS_CMYK, JCS_YCCK, 4, 203, 151, .hs = 2, .vs = 2, .progressive = 1},
    {"progressive, arithmetic", JCS_RGB, JCS_YCbCr, 3, 203, 151, .hs = 2, .vs = 2, .progressive = 1, .arith = 1},
    {"three scans", JCS_RGB, JCS_YCbCr, 3, 203, 151, .hs = 2, .vs = 2, .scans = 1},
    {"progressive, restarts", JCS_RGB, JCS_YCbCr, 3, 203, 151, .hs = 2, .vs = 2, .progressive = 1, .restart = 5},
    {"progressive 4x2, coarse", JCS_RGB, JCS_YCbCr, 3, 203, 151, .hs = 4, .vs = 2, .progressive = 1, .quality = 40},
    {"progressive 4x4", JCS_RGB, JCS_YCbCr, 3, 203, 151, .hs = 4, .vs = 4, .script = one_each, .steps = 8},
    {"progressive 1x3", JCS_RGB, JCS_YCbCr, 3, 203, 151, .hs = 1, .vs = 3, .progressive = 1},
    {"progressive RGB", JCS_RGB, JCS_RGB, 3, 203, 151, .hs = 1, .progressive = 1},
    {"progressive CMYK", JCS_CMYK, JCS_CMYK, 4, 203, 151, .hs = 1, .progressive = 1},
    {"fine script", JCS_RGB, JCS_YCbCr, 3, 203, 151, .hs = 2, .vs = 2, .script = fine, .steps = 16},
    {"fine script, restarts", JCS_RGB, JCS_YCbCr, 3, 203, 151, .hs = 2, .vs = 2, .script = fine, .steps = 16,
     .restart = 1},
    {"coarse script", JCS_RGB, JCS_YCbCr, 3, 203, 151, .hs = 2, .vs = 2, .script = coarse, .steps = 5},
    {"coarse script, best", JCS_RGB, JCS_YCbCr, 3, 203, 151, .hs = 2, .vs = 2, .script = coarse, .steps = 5,
     .quality = 100},
    {"one pixel", JCS_RGB, JCS_YCbCr, 3, 1, 1, .hs = 2, .vs = 2},
    {"a column", JCS_RGB, JCS_YCbCr, 3, 1, 77, .hs = 2, .vs = 2},
    {"a row", JCS_RGB, JCS_YCbCr, 3, 77, 1, .hs = 2, .vs = 2},
    {"two columns", JCS_RGB, JCS_YCbCr, 3, 2, 40, .hs = 2, .vs = 2},
};
#define RECIPES (sizeof recipes / sizeof *recipes)

static const recipe *named(const char *name)
{
    for (size_t k = 0; k < RECIPES; k++)
        if (strcmp(recipes[k].name, name) == 0)
            return &recipes[k];
    fail_msg("no recipe %s", name);
    return NULL;
}

/* 1/8 of a progressive file is made apart. Where a component has blocks of several samples of it, its AC coefficients
 * are in them, rounded once where libjpeg rounds twice: 1 of chroma, 2 of a colour. */
static int slack_of(const recipe *k, int level)
{
    return (k->progressive || k->script) && !k->arith && level == 3 && k->hs % 2 == 0 && k->vs % 2 == 0 && k->vs ? 2
                                                                                                                 : 0;
}

/* --- helpers around the reader ------------------------------------------------------------------------------------ */

static apr_pool_t *pool;

static const iip_decoder *jpeg(void)
{
    static const unsigned char head[] = {0xff, 0xd8, 0xff, 0xe0};
    const iip_decoder *d = iip_decoder_find(head, sizeof head);

    assert_non_null(d);
    assert_string_equal(d->name, "jpeg");
    return d;
}

static iip_status opened_with(double_source *d, iip_reader_t **r, iip_info *info, apr_pool_t *p, iip_error *e)
{
    iip_status rv = jpeg()->open(r, &d->s, -1, NULL, p, e);

    memset(info, 0, sizeof *info);
    return rv ? rv : jpeg()->info(*r, info, p, e);
}

static iip_status open_status(bytes b, iip_info *info)
{
    apr_pool_t *p;
    iip_reader_t *r;
    iip_error e;
    double_source d = source_of(b);
    iip_status rv;

    apr_pool_create(&p, pool);
    rv = opened_with(&d, &r, info, p, &e);
    apr_pool_destroy(p);
    return rv;
}

/* Reads one rectangle into rows with a gap and a guard behind each; every byte must be the reference's. */
static iip_status check_scaled(iip_reader_t *r, int level, iip_rect want, const picture *ref, int inverted,
                               const char *name, iip_error *e)
{
    size_t used = (size_t)want.w * ref->bands, stride = used + 5;
    iip_raster out = {want.w, want.h, ref->bands, IIP_U8, stride, malloc(stride * want.h)};
    iip_status rv;

    memset(out.px, 0xa5, stride * want.h);
    rv = jpeg()->read(r, level, want, 0, &out, e);
    for (int64_t y = 0; y < want.h && rv == IIP_OK; y++) {
        const unsigned char *got = out.px + y * stride, *is = ref->px + ((want.y + y) * ref->w + want.x) * ref->bands;

        for (size_t i = 0; i < used; i++)
            if (abs(got[i] - (inverted ? 255 - is[i] : is[i])) > ref->slack)
                fail_msg("%s level %d: rect %d,%d,%d,%d: row %d sample %d is %d, not %d", name, level, (int)want.x,
                         (int)want.y, (int)want.w, (int)want.h, (int)y, (int)i, got[i], is[i]);
        for (size_t i = used; i < stride; i++)
            assert_int_equal(got[i], 0xa5);
    }
    free(out.px);
    return rv;
}

/* --- tests -------------------------------------------------------------------------------------------------------- */

static void levels_and_any_order(void **state)
{
    for (size_t k = 0; k < RECIPES; k++) {
        bytes b = make(&recipes[k]);
        double_source d = source_of(b);
        iip_reader_t *r;
        iip_info info;
        iip_error e;
        apr_pool_t *p;
        picture ref[4] = {{0}};
        int inverted;

        apr_pool_create(&p, pool);
        assert_int_equal(opened_with(&d, &r, &info, p, &e), IIP_OK);
        assert_int_equal(info.bands, recipes[k].bands);
        assert_int_equal(info.space, recipes[k].bands == 1 ? IIP_GREY : recipes[k].bands == 3 ? IIP_RGB : IIP_CMYK);
        assert_int_equal(info.virtual_from, 1);
        inverted = recipes[k].stored == JCS_YCCK || recipes[k].stored == JCS_CMYK;
        for (int l = 0; l < info.levels; l++) {
            ref[l] = decode(b, 1 << l);
            ref[l].slack = slack_of(&recipes[k], l);
            assert_int_equal(info.level[l].w, ref[l].w);
            assert_int_equal(info.level[l].h, ref[l].h);
            assert_int_equal(info.level[l].tile_w, ref[l].w);
            assert_true(l == 0 || (ref[l].w < ref[l - 1].w && ref[l].h < ref[l - 1].h));
        }
        assert_true(info.levels == 4 || info.level[info.levels - 1].w == 1 || info.level[info.levels - 1].h == 1);
        srand(7);
        for (int n = 0; n < 160; n++) {
            int l = n % 3 ? rand() % info.levels : n / 3 % info.levels;
            iip_rect want = {0, 0, ref[l].w, ref[l].h};

            if (n % 4 != 3) {
                want.y = rand() % ref[l].h;
                want.h = 1 + rand() % (ref[l].h - want.y);
            }
            if (n % 4 == 1) {
                want.x = rand() % ref[l].w;
                want.w = 1 + rand() % (ref[l].w - want.x);
            }
            assert_int_equal(check_scaled(r, l, want, &ref[l], inverted, recipes[k].name, &e), IIP_OK);
            if (n % 5 == 0 && want.y + want.h < ref[l].h) { /* straight on, and past a gap */
                want.y += want.h;
                want.y += (ref[l].h - want.y) / 2;
                want.h = ref[l].h - want.y;
                assert_int_equal(check_scaled(r, l, want, &ref[l], inverted, recipes[k].name, &e), IIP_OK);
            }
        }
        for (int l = 0; l < info.levels; l++)
            picture_free(&ref[l]);
        apr_pool_destroy(p);
        free(b.p);
    }
}

/* A picture of many cells: those of the announced grid, backwards, then every other one forwards. */
static void grid_of_a_large_picture(void **state)
{
    static const recipe large[] = {
        {"large", JCS_RGB, JCS_YCbCr, 3, 5001, 1203, .hs = 2, .vs = 2},
        {"large progressive", JCS_RGB, JCS_YCbCr, 3, 5001, 1203, .hs = 2, .vs = 2, .progressive = 1}};

    for (int k = 0; k < 2; k++) {
        bytes b = make(&large[k]);
        double_source d = source_of(b);
        iip_reader_t *r;
        iip_info info;
        iip_error e;
        apr_pool_t *p;

        apr_pool_create(&p, pool);
        assert_int_equal(opened_with(&d, &r, &info, p, &e), IIP_OK);
        assert_true(k == 1 ? info.level_hold[0] >= 5001 * 1203 * 3 && info.level_hold[0] < 5001 * 1203 * 4 &&
                                 info.level_hold[3] < 5001 * 1203 / 2
                           : info.hold + info.level_hold[0] == 0);
        for (int l = 0; l < 2; l++) {
            const iip_level *g = &info.level[l];
            picture ref = decode(b, 1 << l);
            int64_t cells = (g->h + g->tile_h - 1) / g->tile_h;

            assert_true(cells > 1 && g->tile_h % 16 == 0 && g->tile_w * g->tile_h * 3 <= 2 << 20);
            for (int64_t i = 0; i < 2 * cells; i++) {
                int64_t cell = i < cells ? cells - 1 - i : (i - cells) / 2 * 2;
                int64_t y = cell * g->tile_h;
                iip_rect want = {0, y, g->w, g->h - y < g->tile_h ? g->h - y : g->tile_h};

                assert_int_equal(check_scaled(r, l, want, &ref, 0, large[k].name, &e), IIP_OK);
            }
            picture_free(&ref);
        }
        apr_pool_destroy(p);
        free(b.p);
    }
}

/* Ink amounts that went in come out, however the file stores them. */
static void ink(void **state)
{
    static const recipe cases[] = {
        {"Adobe CMYK", JCS_CMYK, JCS_CMYK, 4, 64, 64, .quality = 100, .adobe = 1},
        {"Adobe YCCK", JCS_CMYK, JCS_YCCK, 4, 64, 64, .quality = 100, .adobe = 1},
        {"CMYK without the marker", JCS_CMYK, JCS_CMYK, 4, 64, 64, .quality = 100, .adobe = -1},
    };

    for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
        bytes b = make(&cases[k]);
        double_source d = source_of(b);
        unsigned char px[64 * 4];
        iip_raster out = {64, 1, 4, IIP_U8, sizeof px, px};
        iip_reader_t *r;
        iip_info info;
        iip_error e;
        apr_pool_t *p;

        apr_pool_create(&p, pool);
        assert_int_equal(opened_with(&d, &r, &info, p, &e), IIP_OK);
        for (int y = 0; y < 64; y++) {
            assert_int_equal(jpeg()->read(r, 0, (iip_rect){0, y, 64, 1}, 0, &out, &e), IIP_OK);
            for (int i = 0; i < 64 * 4; i++) {
                int is = 255 - sample_at(i / 4, y, i % 4); /* the file was given 255 - ink */

                assert_true(px[i] - is <= 4 && is - px[i] <= 4); /* rounding of YCC and of DCT at quality 100 */
            }
        }
        apr_pool_destroy(p);
        free(b.p);
    }
}

/* Cut anywhere, a file gives its own pixels or an error, never grey. */
static void truncated(void **state)
{
    static const char *const kinds[] = {"grey",
                                        "4:2:0",
                                        "4:1:0",
                                        "4:2:0, restarts",
                                        "4:2:0, arithmetic",
                                        "YCCK",
                                        "progressive 4:2:0",
                                        "progressive, arithmetic",
                                        "three scans",
                                        "progressive, restarts",
                                        "fine script"};

    for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++) {
        const recipe *rc = named(kinds[k]);
        bytes b = make(rc);
        picture ref[3] = {decode(b, 1), decode(b, 2), decode(b, 8)};
        int errors = 0;

        ref[2].slack = slack_of(rc, 3);
        for (int cut = 0; cut <= 133; cut++) {
            /* every 1/64, then without the end marker, then without its last byte; first levels 0 and 1, then 3 alone
             */
            size_t n = cut % 67 <= 64 ? b.n * (cut % 67) / 64 : cut % 67 == 65 ? b.n - 2 : b.n - 1;
            bytes part = {b.p, n};
            double_source d = source_of(part);
            iip_reader_t *r;
            iip_info info;
            iip_error e;
            apr_pool_t *p;
            iip_status rv;

            apr_pool_create(&p, pool);
            rv = opened_with(&d, &r, &info, p, &e);
            for (int i = 0; i < 8 && rv == IIP_OK; i++) {
                const int which = cut < 67 ? i & 1 : 2;
                const picture *pic = &ref[which];
                int y = pic->h * (i / 2) / 4;

                rv = check_scaled(r, which < 2 ? which : 3, (iip_rect){0, y, pic->w, i < 6 ? pic->h / 4 : pic->h - y},
                                  pic, rc->stored == JCS_YCCK, rc->name, &e);
            }
            assert_true(rv == IIP_OK || rv == IIP_E_CORRUPT);
            assert_true(rv == IIP_OK || cut % 67 != 64);
            errors += rv != IIP_OK;
            apr_pool_destroy(p);
        }
        assert_true(errors >= 128);
        for (int i = 0; i < 3; i++)
            picture_free(&ref[i]);
        free(b.p);
    }
}

static void source_fails(void **state)
{
    static const char *const kinds[] = {"4:2:0", "progressive 4:2:0"};

    for (int k = 0; k < 4; k++) {
        const int level = k < 2 ? 0 : 3, side = k < 2 ? 600 : 75;
        recipe rc = *named(kinds[k % 2]);
        bytes b;
        picture ref;
        int failed = 0;

        rc.w = rc.h = 600;
        b = make(&rc);
        ref = decode(b, 1 << level);
        ref.slack = slack_of(&rc, level);
        for (int n = 0; n < 40; n++) {
            double_source d = source_of(b);
            iip_reader_t *r;
            iip_info info;
            iip_error e = {0};
            apr_pool_t *p;
            iip_status rv;

            d.fail_at = n;
            apr_pool_create(&p, pool);
            rv = opened_with(&d, &r, &info, p, &e);
            for (int i = 5; i >= 0 && rv == IIP_OK; i--)
                rv = check_scaled(r, level, (iip_rect){0, i * side / 6, side, side / 6}, &ref, 0, rc.name, &e);
            assert_int_equal(rv, d.reads > n ? IIP_E_IO : IIP_OK);
            if (rv != IIP_OK)
                assert_string_equal(e.detail, "the double fails");
            failed += rv != IIP_OK;
            apr_pool_destroy(p);
        }
        assert_true(failed > 2 && failed < 40);
        picture_free(&ref);
        free(b.p);
    }
}

static unsigned char *find(bytes b, int marker, int last)
{
    unsigned char *found = NULL;

    for (size_t i = 2; i + 1 < b.n && (last || !found); i++)
        if (b.p[i] == 0xff && b.p[i + 1] == marker)
            found = b.p + i;
    assert_non_null(found);
    return found;
}

static void refused(void **state)
{
    const recipe rgb = *named("4:2:0");
    bytes b = make(&rgb);
    iip_info info;
    unsigned char *sof = find(b, 0xc0, 0), keep;

    assert_int_equal(open_status(b, &info), IIP_OK);
    keep = sof[4];
    sof[4] = 12; /* bits */
    assert_int_equal(open_status(b, &info), IIP_E_FORMAT);
    sof[4] = keep;
    keep = sof[1];
    sof[1] = 0xc3; /* lossless */
    assert_int_equal(open_status(b, &info), IIP_E_FORMAT);
    sof[1] = keep;
    sof[11] = 0x32, sof[14] = 0x21; /* 3x2 : 2x1 */
    assert_int_equal(open_status(b, &info), IIP_E_FORMAT);
    sof[11] = 0x22, sof[14] = 0x11;
    sof[5] = sof[6] = 0; /* no height */
    assert_int_equal(open_status(b, &info), IIP_E_FORMAT);
    free(b.p);
    b = make(&(recipe){"two bands", JCS_UNKNOWN, JCS_UNKNOWN, 2, 20, 20, .hs = 1});
    assert_int_equal(open_status(b, &info), IIP_E_FORMAT);
    free(b.p);

    iip_reader_t *r;
    iip_error e;
    b = make(&rgb);
    double_source d = source_of(b);
    assert_int_equal(jpeg()->open(&r, &d.s, 1, NULL, pool, &e), IIP_E_NOT_FOUND);
    assert_int_equal(jpeg()->open(&r, &d.s, 0, NULL, pool, &e), IIP_OK);
    unsigned char px[3];
    iip_raster out = {1, 1, 3, IIP_U8, 3, px};
    static const struct {
        int level;
        iip_rect want;
    } outside[] = {{4, {0, 0, 1, 1}},  {-1, {0, 0, 1, 1}}, {0, {203, 0, 1, 1}}, {0, {0, 151, 1, 1}},
                   {1, {0, 76, 1, 1}}, {0, {-1, 0, 1, 1}}, {0, {0, 0, 0, 1}}};
    for (size_t i = 0; i < sizeof outside / sizeof *outside; i++)
        assert_int_equal(jpeg()->read(r, outside[i].level, outside[i].want, 0, &out, &e), IIP_E_RANGE);
    free(b.p);
}

/* Of one level; hold: what is announced for it. */
static iip_status read_first_of(int level, bytes b, int64_t size, const iip_limits *lim, size_t *hold)
{
    double_source d = source_of(b);
    unsigned char px[4];
    iip_raster out = {1, 1, 3, IIP_U8, 3, px};
    iip_reader_t *r;
    iip_info info = {0};
    iip_error e;
    apr_pool_t *p;
    iip_status rv;

    if (size)
        d.s.id.size = size;
    apr_pool_create(&p, pool);
    rv = jpeg()->open(&r, &d.s, -1, lim, p, &e);
    if (rv == IIP_OK) {
        assert_int_equal(jpeg()->info(r, &info, p, &e), IIP_OK);
        if (hold)
            *hold = info.hold + info.level_hold[level];
        rv = jpeg()->read(r, level, (iip_rect){0, 0, 1, 1}, 0, &out, &e);
    }
    apr_pool_destroy(p);
    return rv;
}

static iip_status read_first(bytes b, int64_t size, const iip_limits *lim, size_t *hold)
{
    return read_first_of(0, b, size, lim, hold);
}

static void bounded_work(void **state)
{
    bytes prog = make(named("progressive 4:2:0")), apart = make(named("three scans")), base = make(named("4:2:0")),
          many, cut, head;
    unsigned char *sos = find(prog, 0xda, 0), *scans, *rest;
    size_t len, hold;
    const iip_limits small = {.memory = 50000};

    assert_int_equal(read_first(prog, 0, NULL, &hold), IIP_OK);
    assert_in_range(hold, 203 * 151 * 3, 203 * 151 * 5);
    assert_int_equal(read_first_of(3, prog, 0, NULL, &hold), IIP_OK);
    assert_in_range(hold, 70000, 110000); /* 26 x 19 blocks, and its buffers */
    /* more scans than allowed: the first one, up to the next table, again and again */
    for (rest = sos + 2; rest[0] != 0xff || rest[1] != 0xc4; rest++)
        ;
    len = (size_t)(rest - sos);
    scans = malloc(len * 100);
    for (int i = 0; i < 100; i++)
        memcpy(scans + len * i, sos, len);
    many = insert(prog, sos, scans, len * 100);
    assert_int_equal(read_first(many, 0, NULL, NULL), IIP_E_FORMAT);
    many.p[many.n - 2] = 0; /* no end after too many scans either */
    assert_int_equal(read_first(many, 0, NULL, NULL), IIP_E_FORMAT);
    assert_int_equal(read_first_of(3, many, 0, NULL, NULL), IIP_E_FORMAT);
    free(many.p);
    many = insert(prog, sos, scans, len * 80);
    assert_int_equal(read_first(many, 0, NULL, NULL), IIP_OK);
    assert_int_equal(read_first_of(3, many, 0, NULL, NULL), IIP_OK);
    free(many.p);
    free(scans);
    /* coefficients over the limit */
    assert_int_equal(read_first(prog, 0, &small, NULL), IIP_E_MEMORY);
    assert_int_equal(read_first(base, 0, &small, NULL), IIP_OK);
    /* a component without a scan would be grey */
    sos = find(apart, 0xda, 1);
    cut = (bytes){apart.p, (size_t)(sos - apart.p) + 2};
    sos[1] = 0xd9;
    assert_int_equal(read_first(cut, 0, NULL, NULL), IIP_E_CORRUPT);
    /* a sparse file of a terabyte of zeros: between scans, and before the first */
    cut.n -= 2;
    assert_int_equal(read_first(cut, INT64_C(1) << 40, NULL, NULL), IIP_E_FORMAT);
    cut = (bytes){prog.p, (size_t)(find(prog, 0xda, 1) - prog.p)};
    assert_int_equal(read_first_of(3, cut, INT64_C(1) << 40, NULL, NULL), IIP_E_FORMAT);
    head = (bytes){base.p, (size_t)(find(base, 0xda, 0) - base.p)};
    assert_int_equal(read_first(head, INT64_C(1) << 40, NULL, NULL), IIP_E_FORMAT);
    free(prog.p);
    free(apart.p);
    free(base.p);
}

static bytes segment(int marker, const void *head, size_t head_len, const void *body, size_t n)
{
    size_t len = 2 + head_len + n;
    bytes s = {malloc(2 + len), 2 + len};

    memcpy(s.p, (unsigned char[]){0xff, (unsigned char)marker, (unsigned char)(len >> 8), (unsigned char)len}, 4);
    memcpy(s.p + 4, head, head_len);
    memcpy(s.p + 4 + head_len, body, n);
    return s;
}

/* b with the segment behind SOI; frees both */
static bytes with(bytes b, bytes s)
{
    bytes out = insert(b, b.p + 2, s.p, s.n);

    free(s.p);
    free(b.p);
    return out;
}

static bytes icc_part(const unsigned char *icc, size_t n, int part, int parts)
{
    const char head[14] = {'I', 'C', 'C', '_', 'P', 'R', 'O', 'F', 'I', 'L', 'E', 0, (char)part, (char)parts};

    return segment(0xe2, head, 14, icc, n);
}

static void metadata_read(void **state)
{
    static const unsigned char exif[] = {'M', 'M', 0, 42, 0, 0, 0, 8, 0, 1, 1, 0x12, 0,
                                         3,   0,   0, 0,  1, 0, 6, 0, 0, 0, 0, 0,    0};
    static const char xmp[] = "<x:xmpmeta/>", xmp_name[] = "http://ns.adobe.com/xap/1.0/";
    unsigned char *icc = malloc(150000);
    const recipe plain = *named("4:2:0");
    recipe rc = plain;
    iip_info info;
    iip_error e;
    iip_reader_t *r;
    double_source d;
    bytes b;

    for (int i = 0; i < 150000; i++)
        icc[i] = (unsigned char)(i * 7 + i / 256);
    rc.icc = icc;
    rc.icc_len = 150000; /* three segments */
    b = make(&rc);
    b = with(b, segment(0xe1, "Exif\0", 6, exif, sizeof exif));
    b = with(b, segment(0xe1, xmp_name, sizeof xmp_name, xmp, sizeof xmp - 1));
    d = source_of(b);
    assert_int_equal(opened_with(&d, &r, &info, pool, &e), IIP_OK);
    assert_int_equal(info.orientation, 6);
    assert_int_equal(info.xmp_len, sizeof xmp - 1);
    assert_memory_equal(info.xmp, xmp, sizeof xmp - 1);
    assert_int_equal(info.icc_len, 150000);
    assert_memory_equal(info.icc, icc, 150000);
    free(b.p);

    /* any order is good; a part missing, given twice, or numbered wrongly is no profile */
    b = with(with(make(&plain), icc_part(icc, 1000, 1, 2)), icc_part(icc + 1000, 500, 2, 2));
    d = source_of(b);
    assert_int_equal(opened_with(&d, &r, &info, pool, &e), IIP_OK);
    assert_int_equal(info.icc_len, 1500);
    assert_memory_equal(info.icc, icc, 1500);
    assert_int_equal(info.orientation, 1);
    b = with(b, icc_part(icc, 10, 2, 2));
    assert_int_equal(open_status(b, &info), IIP_OK);
    assert_int_equal(info.icc_len, 0);
    free(b.p);
    for (int i = 0; i < 3; i++) {
        static const int bad[][2] = {{2, 2}, {0, 1}, {3, 2}};

        b = with(make(&plain), icc_part(icc, 1000, bad[i][0], bad[i][1]));
        assert_int_equal(open_status(b, &info), IIP_OK);
        assert_int_equal(info.icc_len, 0);
        free(b.p);
    }
    /* segments shorter than their names, and one that says it is shorter than its own length */
    b = with(with(make(&plain), segment(0xe2, "ICC_PROFILE", 11, "", 0)), segment(0xe1, "Exif", 4, "", 0));
    assert_int_equal(open_status(b, &info), IIP_OK);
    free(b.p);
    b = with(make(&plain), segment(0xe1, "Exif\0", 6, exif, sizeof exif));
    b.p[4] = b.p[5] = 0;
    assert_int_equal(open_status(b, &info), IIP_E_FORMAT);
    free(b.p);
    free(icc);
}

static int group(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(levels_and_any_order),
        cmocka_unit_test(grid_of_a_large_picture),
        cmocka_unit_test(ink),
        cmocka_unit_test(truncated),
        cmocka_unit_test(source_fails),
        cmocka_unit_test(refused),
        cmocka_unit_test(bounded_work),
        cmocka_unit_test(metadata_read),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

int main(void)
{
    return run_cases(group);
}
