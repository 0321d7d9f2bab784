/* SPDX-License-Identifier: Apache-2.0
 * Image processing against plain models in doubles (spec/iip.md 6): random pictures of every kind, random lists of
 * operations and random windows give the model's pixels, at most one level off: results are cut to whole numbers, and a
 * float may lie on the other side of one. */
#include "process_model.h"
#include "settings.h"

static iip_error err;

/* ---- both ---- */

static void random_ops(iip_request *rq, const source *s, apr_pool_t *p, unsigned *seed)
{
    static const char *const kernels[] = {"sobel", "prewitt", "scharr", "laplace", "gaussian", "sharpen", "emboss"};
    float arg[32];
    const float *kernel;
    double lo, hi;
    int n;

    whole_range(s->info.sample, &lo, &hi);
#define MAYBE           if (rnd(seed) % 3 == 0)
#define ADD(kind, argc) assert_int_equal(iip_op_add(rq, kind, argc, arg, p, &err), IIP_OK)
    MAYBE for (int i = 0; i < 2; i++)
    {
        arg[0] = i ? (float)(rnd(seed) % 4) : -1;
        arg[1] = (float)uniform(seed, lo, lo + (hi - lo) / 3);
        arg[2] = (float)uniform(seed, hi - (hi - lo) / 3, hi);
        ADD(IIP_OP_MINMAX, 3);
    }
    MAYBE
    {
        arg[0] = (float)(rnd(seed) % 360);
        arg[1] = (float)(rnd(seed) % 90);
        arg[2] = (float)uniform(seed, 0, 2 / (hi - lo) * 4);
        ADD(IIP_OP_SHADE, 2 + rnd(seed) % 2);
    }
    MAYBE
    {
        arg[0] = (float)(1 + rnd(seed) % 5);
        arg[1] = (float)(1 + rnd(seed) % 5);
        for (int i = 0; i < (int)(arg[0] * arg[1]); i++)
            arg[2 + i] = (float)uniform(seed, -1, 1);
        ADD(IIP_OP_TWIST, 2 + (int)(arg[0] * arg[1]));
    }
    arg[0] = (float)uniform(seed, 0.5, 3);
    MAYBE ADD(IIP_OP_GAMMA, 1);
    MAYBE ADD(IIP_OP_LOG, 0);
    MAYBE ADD(IIP_OP_INVERT, 0);
    arg[0] = (float)(rnd(seed) % (IIP_CMAP_GREY + 1));
    MAYBE ADD(IIP_OP_CMAP, 1);
    MAYBE
    {
        if (rnd(seed) % 2) {
            n = iip_kernel_find(kernels[rnd(seed) % 7], &kernel);
            assert_int_equal(n, 10);
            memcpy(arg, kernel, 10 * sizeof *arg);
        } else {
            arg[0] = 5;
            n = 26;
            for (int i = 1; i < n; i++)
                arg[i] = (float)uniform(seed, -0.5, 1);
        }
        ADD(IIP_OP_CONVOLVE, n);
    }
    arg[0] = (float)uniform(seed, 0.2, 3);
    MAYBE ADD(IIP_OP_CONTRAST, 1);
    if (rnd(seed) % 8 == 0)
        ADD(IIP_OP_STRETCH, 0);
    MAYBE ADD(IIP_OP_GRAY, 0);
}

/* One window of the request, out of the pipeline. */
static picture run(source *s, iip_request *rq, const iip_aids *aids, int64_t max_rows)
{
    iip_stage_t *top;
    picture got;
    room r;

    room_open(&r, 1 << 24);
    assert_int_equal(iip_pipeline_build(&top, rq, &s->info, NULL, aids, fetch, s, &r.budget, r.pool, &r.err), IIP_OK);
    assert_int_equal(drain(top, max_rows, &got, &r.err), IIP_OK);
    room_close(&r);
    return got;
}

static iip_histogram histogram_of(source *s)
{
    iip_histogram h;
    room r;

    room_open(&r, 1 << 24);
    assert_int_equal(iip_histogram_make(&h, &s->info, fetch, s, &r.budget, r.pool, &r.err), IIP_OK);
    room_close(&r);
    return h;
}

static void window(iip_request *rq, const source *s, unsigned *seed)
{
    int64_t x = rnd(seed) % s->pic.w, y = rnd(seed) % s->pic.h;

    rq->src = (iip_rect){x, y, 1 + rnd(seed) % (s->pic.w - x), 1 + rnd(seed) % (s->pic.h - y)};
    rq->out_w = rq->src.w;
    rq->out_h = rq->src.h;
}

static void test_random(void **state)
{
    int64_t pixels = 0, off = 0;
    unsigned seed = 20;

    for (int i = 0; i < 2500; i++) {
        iip_settings set = {.interpolation = IIP_INTERPOLATE_LANCZOS};
        iip_request rq = {.set = &set};
        iip_histogram h;
        iip_aids aids = {0};
        picture model, got;
        apr_pool_t *p;
        double least;
        int colours, alpha = (int)(rnd(&seed) % 3 == 0), grey;
        source s;

        apr_pool_create(&p, NULL);
        source_open(&s, (iip_sample)(i % 7), 1 + (int)(rnd(&seed) % 6) + alpha, alpha, &seed);
        random_ops(&rq, &s, p, &seed);
        iip_request_ops(&rq, &s.info);
        h = histogram_of(&s);
        aids.histogram = &h;
        window(&rq, &s, &seed);
        if (iip_request_floats(&rq, &s.info)) {
            const iip_op *contrast = iip_op_find(&rq, IIP_OP_CONTRAST);

            model = model_floats(&s, &rq, &least);
            got = run(&s, &rq, &aids, 1 + rnd(&seed) % 40);
            grey = iip_op_find(&rq, IIP_OP_GRAY) && model.bands >= 3;
            colours = model.bands < 3 || grey || (s.info.space == IIP_GREY && model.bands < 3) ? 1 : 3;
            assert_int_equal(got.sample, IIP_U8);
            assert_int_equal(got.bands, colours + alpha);
            for (int64_t k = 0; k < got.w * got.h && least > 1e-5; k++) {
                const int64_t x = rq.src.x + k % got.w, y = rq.src.y + k / got.w;
                double v[3];

                for (int c = 0; c < 3; c++)
                    v[c] =
                        floor(cut(255 * (contrast ? contrast->arg[0] : 1) * *at(&model, x, y, c < model.bands ? c : 0),
                                  0, 255) +
                              1e-7);
                if (grey)
                    v[0] = floor((1254097 * v[0] + 2462056 * v[1] + 478151 * v[2]) / 4194304);
                for (int c = 0; c < colours; c++) {
                    pixels++;
                    off += got.v[k * got.bands + c] != v[c];
                    if (fabs(got.v[k * got.bands + c] - v[c]) > 1)
                        fail_msg("picture %d (%d bands, sample %d) at %d,%d band %d: %g, should be %g", i, s.info.bands,
                                 s.info.sample, (int)x, (int)y, c, got.v[k * got.bands + c], v[c]);
                }
                if (alpha) {
                    double lo, hi, a = *at(&s.pic, x, y, s.info.bands - 1);

                    whole_range(s.info.sample, &lo, &hi);
                    assert_true(fabs(got.v[k * got.bands + colours] - 255 * (a - lo) / (hi - lo)) < 0.51);
                }
            }
            free(model.v);
            free(got.v);
        }
        free(s.pic.v);
        apr_pool_destroy(p);
    }
    assert_true(pixels > 500000);
    assert_true(off < pixels / 200); /* nearly all are the same */
}

/* The histogram and all that is made of it; deep samples of a range of their own are shown by it. */
static void test_histogram(void **state)
{
    unsigned seed = 4;

    for (int i = 0; i < 300; i++) {
        static const iip_sample samples[] = {IIP_U8, IIP_U16, IIP_S16, IIP_F32};
        static const iip_op_kind kinds[] = {IIP_OP_BINARY, IIP_OP_EQUALIZE};
        iip_settings set = {.interpolation = IIP_INTERPOLATE_LANCZOS};
        iip_request rq = {.set = &set, .op_count = 1, .op[0].kind = (uint16_t)kinds[i / 4 % 2]};
        double count[256], sum = 0, all, lo, hi;
        iip_histogram h;
        iip_aids aids = {.histogram = &h};
        picture got;
        int alpha = i / 8 % 2, t;
        source s;

        source_open(&s, samples[i % 4], (i % 3 ? 1 : 3) + alpha, alpha, &seed);
        for (int64_t k = 0; k < s.pic.w * s.pic.h * s.pic.bands; k++) /* two hills */
            if (s.info.sample == IIP_U8)
                s.pic.v[k] = floor(cut((k % 3 ? 40 : 170) + 60 * noise(&seed) * noise(&seed), 0, 255));
        h = histogram_of(&s);
        model_histogram(&s, count);
        all = (double)(s.pic.w * s.pic.h);
        for (int v = 0; v < 256; v++) { /* a mean in the middle between two bins may be on either side of it */
            sum += fabs((double)h.count[v] - count[v]);
            count[v] = (double)h.count[v];
        }
        assert_true(sum <= (s.info.sample == IIP_U8 ? 0 : all / 100));
        sum = 0;
        t = model_otsu(count);
        assert_int_equal(h.threshold, t);
        window(&rq, &s, &seed);
        iip_request_ops(&rq, &s.info);
        assert_int_equal(rq.op_count, 1);
        got = run(&s, &rq, &aids, 7);
        assert_int_equal(got.bands, (i / 4 % 2 ? s.info.bands - alpha : 1) + alpha);
        for (int v = 0; v < 256; v++) {
            sum += count[v];
            assert_int_equal(h.equal[v], (int)floor(255 * sum / all + 0.5));
        }
        for (int64_t k = 0; k < got.w * got.h; k++) {
            double v[3] = {0};

            for (int c = 0; c < s.info.bands - alpha; c++) {
                double in = *at(&s.pic, rq.src.x + k % got.w, rq.src.y + k / got.w, c);

                whole_range(s.info.sample, &lo, &hi);
                if (s.info.min && s.info.sample != IIP_U8) {
                    lo = s.info.min[c];
                    hi = s.info.max[c];
                }
                v[c] = s.info.sample == IIP_U8 ? in : floor(cut(255 * (in - lo) / (hi - lo), 0, 255) + 1e-7);
                if (s.info.sample != IIP_U8 && s.info.sample != IIP_F32 && !s.info.min)
                    v[c] = floor((in - lo) / 256); /* shifted, as ever */
            }
            if (kinds[i / 4 % 2] == IIP_OP_EQUALIZE) {
                for (int c = 0; c < s.info.bands - alpha; c++)
                    assert_true(fabs(got.v[k * got.bands + c] - h.equal[(int)v[c]]) <=
                                (s.info.sample == IIP_F32 || s.info.min ? 3 : 0));
            } else {
                if (s.info.bands - alpha == 3)
                    v[0] = floor((1254097 * v[0] + 2462056 * v[1] + 478151 * v[2]) / 4194304);
                if (s.info.sample == IIP_U8 || fabs(v[0] - t) > 1)
                    assert_true(got.v[k * got.bands] == (v[0] < t ? 0 : 255));
            }
        }
        free(got.v);
        free(s.pic.v);
    }
}

/* Nothing to divide, nothing to stretch. */
static void test_histogram_flat(void **state)
{
    unsigned seed = 1;
    iip_histogram h;
    source s;

    source_open(&s, IIP_U8, 1, 0, &seed);
    for (int64_t i = 0; i < s.pic.w * s.pic.h; i++)
        s.pic.v[i] = 77;
    h = histogram_of(&s);
    assert_int_equal(h.first, 77);
    assert_int_equal(h.last, 77);
    assert_int_equal(h.threshold, 0);
    assert_int_equal(h.equal[76], 0);
    assert_int_equal(h.equal[77], 255);
    free(s.pic.v);
    source_open(&s, IIP_F32, 1, 0, &seed);
    for (int64_t i = 0; i < s.pic.w * s.pic.h; i++)
        s.pic.v[i] = i % 2 ? NAN : INFINITY;
    h = histogram_of(&s);
    assert_int_equal(h.first, 0);
    assert_int_equal(h.last, 255);
    for (int v = 0; v < 256; v++)
        assert_true(h.count[v] == 0 && h.equal[v] == v);
    free(s.pic.v);
}

/* Tiles of heights under a kernel fit together as if the picture were made at once. */
static void test_seams(void **state)
{
    unsigned seed = 9;

    for (int i = 0; i < 20; i++) {
        static const float light[] = {315, 45, 3},
                           kernel[] = {5, 1, 2, 3, 2, 1, 2, 4, 6, 4, 2, 3, 6, 9, 6, 3, 2, 4, 6, 4, 2, 1, 2, 3, 2, 1};
        iip_settings set = {.interpolation = IIP_INTERPOLATE_LANCZOS};
        iip_request rq = {.set = &set};
        picture all, part;
        apr_pool_t *p;
        source s;

        apr_pool_create(&p, NULL);
        source_open(&s, i % 2 ? IIP_F32 : IIP_U8, 1 + i / 10, i / 10, &seed);
        assert_int_equal(iip_op_add(&rq, IIP_OP_CONVOLVE, 26, kernel, p, &err), IIP_OK);
        assert_int_equal(iip_op_add(&rq, IIP_OP_SHADE, 3, light, p, &err), IIP_OK);
        assert_int_equal(rq.op[0].kind, IIP_OP_SHADE);
        assert_int_equal(iip_request_margin(&rq, &s.info), 3);
        rq.src = (iip_rect){0, 0, s.pic.w, s.pic.h};
        rq.out_w = s.pic.w;
        rq.out_h = s.pic.h;
        all = run(&s, &rq, NULL, 64);
        for (int64_t y = 0; y < s.pic.h; y += 13)
            for (int64_t x = 0; x < s.pic.w; x += 17) {
                rq.src.x = x;
                rq.src.y = y;
                rq.out_w = rq.src.w = s.pic.w - x < 17 ? s.pic.w - x : 17;
                rq.out_h = rq.src.h = s.pic.h - y < 13 ? s.pic.h - y : 13;
                part = run(&s, &rq, NULL, 5);
                for (int64_t k = 0; k < part.w * part.h; k++)
                    assert_memory_equal(at(&part, k % part.w, k / part.w, 0),
                                        at(&all, x + k % part.w, y + k / part.w, 0),
                                        (size_t)part.bands * sizeof(double));
                free(part.v);
            }
        free(all.v);
        free(s.pic.v);
        apr_pool_destroy(p);
    }
}

/* Values that are no numbers, ranges of no width, the greatest and the least there are: some picture, and no crash. */
static void test_extremes(void **state)
{
    static const double wild[] = {NAN, INFINITY, -INFINITY, 3e38, -3e38, 1e-40, 0, 1, -1};
    unsigned seed = 11;

    for (int i = 0; i < 600; i++) {
        iip_settings set = {.interpolation = IIP_INTERPOLATE_LANCZOS};
        iip_request rq = {.set = &set};
        iip_histogram h;
        iip_aids aids = {.histogram = &h};
        apr_pool_t *p;
        picture got;
        source s;

        apr_pool_create(&p, NULL);
        source_open(&s, i % 2 ? IIP_F32 : IIP_F64, 1 + i % 5, 0, &seed);
        for (int64_t k = 0; k < s.pic.w * s.pic.h * s.pic.bands; k++)
            s.pic.v[k] = wild[rnd(&seed) % 9] * (i % 2 ? 1 : 1 + 1e200 * (rnd(&seed) % 5 == 0));
        for (int k = 0; k < 8; k++) {
            const iip_op_kind kind = (iip_op_kind)(rnd(&seed) % IIP_OP_COUNT);
            const float args[][6] = {[IIP_OP_MINMAX] = {-1, 5, rnd(&seed) % 2 ? 5 : -3e38f},
                                     [IIP_OP_SHADE] = {(float)(rnd(&seed) % 9) * 90, -400, 3e38f},
                                     [IIP_OP_TWIST] = {2, 2, 3e38f, -3e38f, 0, 3e38f},
                                     [IIP_OP_GAMMA] = {(float)wild[3 + rnd(&seed) % 6]},
                                     [IIP_OP_CMAP] = {(float)(rnd(&seed) % IIP_CMAP_COUNT)},
                                     [IIP_OP_CONVOLVE] = {1, -3e38f},
                                     [IIP_OP_CONTRAST] = {rnd(&seed) % 2 ? 3e38f : -3e38f},
                                     [IIP_OP_BLUR] = {(float)(rnd(&seed) % 5)},
                                     [IIP_OP_SHARPEN] = {(float)(rnd(&seed) % 5)},
                                     [IIP_OP_COUNT] = {0}};
            static const int argc[IIP_OP_COUNT] = {[IIP_OP_MINMAX] = 3,   [IIP_OP_SHADE] = 3, [IIP_OP_TWIST] = 6,
                                                   [IIP_OP_GAMMA] = 1,    [IIP_OP_CMAP] = 1,  [IIP_OP_CONVOLVE] = 2,
                                                   [IIP_OP_CONTRAST] = 1, [IIP_OP_BLUR] = 1,  [IIP_OP_SHARPEN] = 1};

            assert_int_equal(iip_op_add(&rq, kind, argc[kind], args[kind], p, &err), IIP_OK);
        }
        iip_request_ops(&rq, &s.info);
        h = histogram_of(&s);
        window(&rq, &s, &seed);
        got = run(&s, &rq, &aids, 16);
        free(got.v);
        free(s.pic.v);
        apr_pool_destroy(p);
    }
}

/* Next to a height that is no number the ground is black. */
static void test_relief_holes(void **state)
{
    iip_settings set = {.interpolation = IIP_INTERPOLATE_LANCZOS};
    iip_request rq = {.set = &set, .src = {0, 0, 9, 9}, .out_w = 9, .out_h = 9, .op_count = 1};
    picture got;
    unsigned seed = 3;
    source s;

    rq.op[0] = (iip_op){IIP_OP_SHADE, 2, (const float[]){315, 45}};
    source_open(&s, IIP_F32, 1, 0, &seed);
    for (int64_t i = 0; i < s.pic.w * s.pic.h; i++)
        s.pic.v[i] = 5;
    *at(&s.pic, 4, 5, 0) = NAN;
    got = run(&s, &rq, NULL, 64);
    for (int y = 0; y < 9; y++)
        for (int x = 0; x < 9; x++)
            assert_int_equal((int)*at(&got, x, y, 0),
                             abs(x - 4) <= 1 && abs(y - 5) <= 1 ? 0 : (int)(1 + 254 * sin(M_PI / 4)));
    free(got.v);
    free(s.pic.v);
}

/* Depths that no sample has are ranges of what is stored: 12 bits, and 12 with a sign. */
static void test_odd_depths(void **state)
{
    for (int is_signed = 0; is_signed < 2; is_signed++) {
        iip_settings set = {.interpolation = IIP_INTERPOLATE_LANCZOS};
        iip_request rq = {.set = &set, .src = {0, 0, 16, 16}, .out_w = 16, .out_h = 16, .op_count = 1};
        const int base = is_signed ? 2048 : 0;
        picture got;
        unsigned seed = 3;
        source s;

        rq.op[0] = (iip_op){IIP_OP_MINMAX, 3, (const float[]){0, (float)(1000 - base), (float)(1255 - base)}};
        source_open(&s, is_signed ? IIP_S16 : IIP_U16, 1, 0, &seed);
        s.info.min = NULL;
        s.info.bits = 12;
        for (int64_t i = 0; i < 256; i++) /* as a reader widens 1000 .. 1255 */
            *at(&s.pic, i % 16, i / 16, 0) = floor((double)(1000 + i) * 65535 / 4095 + 0.5) - (is_signed ? 32768 : 0);
        got = run(&s, &rq, NULL, 64);
        for (int i = 0; i < 256; i++)
            assert_true(fabs(got.v[i] - i) <= 1);
        free(got.v);
        free(s.pic.v);
    }
}

static void test_curves(void **state)
{
    unsigned seed = 1;

    for (int i = 0; i < 20000; i++) {
        const float g = (float)uniform(&seed, 0.1, 8), x = i ? (float)uniform(&seed, 0, 2) : 1;
        float v = x;

        iip_curve_gamma(&v, 1, g);
        assert_true(fabs(v - pow(x, g)) <= 1e-6 * fmax(1, 4 * pow(x, g)));
        v = x;
        iip_curve_log(&v, 1);
        assert_true(fabs(v - log(1 + 255. * x) / log(256)) <= 1e-6);
    }
    for (float g = -2; g <= 2; g += 0.25f) {
        float v[3] = {1, 0, -5};

        iip_curve_gamma(v, 3, g);
        assert_true(v[0] == 1);
        assert_true(v[1] == v[2] && (g > 0 ? v[1] == 0 : g < 0 ? v[1] > 1e30 : v[1] == 1));
    }
}

/* Colours of the published tables, as everybody's plots show them; 8 bits, two levels off at most. */
static void test_colour_maps(void **state)
{
    static const struct {
        iip_cmap map;
        double v;
        int rgb;
    } rows[] = {
        {IIP_CMAP_VIRIDIS, 0, 0x440154},
        {IIP_CMAP_VIRIDIS, 128 / 255., 0x21918c},
        {IIP_CMAP_VIRIDIS, 1, 0xfde725},
        {IIP_CMAP_MAGMA, 0, 0x000004},
        {IIP_CMAP_MAGMA, 128 / 255., 0xb73779},
        {IIP_CMAP_MAGMA, 1, 0xfcfdbf},
        {IIP_CMAP_INFERNO, 0, 0x000004},
        {IIP_CMAP_INFERNO, 128 / 255., 0xbc3754},
        {IIP_CMAP_INFERNO, 1, 0xfcffa4},
        {IIP_CMAP_PLASMA, 0, 0x0d0887},
        {IIP_CMAP_PLASMA, 128 / 255., 0xcc4778},
        {IIP_CMAP_PLASMA, 1, 0xf0f921},
        {IIP_CMAP_CIVIDIS, 0, 0x00224e},
        {IIP_CMAP_CIVIDIS, 128 / 255., 0x7d7c78},
        {IIP_CMAP_CIVIDIS, 1, 0xfee838},
        {IIP_CMAP_TURBO, 0, 0x30123b},
        {IIP_CMAP_TURBO, 128 / 255., 0xa4fc3c},
        {IIP_CMAP_TURBO, 1, 0x7a0403},
        {IIP_CMAP_TERRAIN, 0, 0x333399},
        {IIP_CMAP_TERRAIN, 0.25, 0x00cc66},
        {IIP_CMAP_TERRAIN, 0.5, 0xffff99},
        {IIP_CMAP_TERRAIN, 0.75, 0x805c54},
        {IIP_CMAP_TERRAIN, 1, 0xffffff},
        {IIP_CMAP_VIRIDIS, -3, 0x440154},
        {IIP_CMAP_VIRIDIS, NAN, 0x440154},
        {IIP_CMAP_VIRIDIS, 9, 0xfde725},
        {IIP_CMAP_JET, -1e-6, 0x000000},
        {IIP_CMAP_JET, 27 / 255., 0x0000eb},
        {IIP_CMAP_JET, 2, 0x7f0000},
    };

    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        picture in = picture_new(1, 1, 1, IIP_F32), got;
        const float arg = (float)rows[i].map;
        const iip_op op = {IIP_OP_CMAP, 1, &arg};
        iip_stage_t *s;
        room r;

        in.v[0] = rows[i].v;
        room_open(&r, 1 << 20);
        s = iip_stage_cmap(&rows_of(&in, 1, r.pool)->base, &op, 0, &r.budget, r.pool, &r.err);
        assert_int_equal(drain(s, 1, &got, &r.err), IIP_OK);
        for (int c = 0; c < 3; c++)
            assert_true(fabs(floor(255 * got.v[c]) - (rows[i].rgb >> (16 - 8 * c) & 255)) <= 2);
        free(in.v);
        free(got.v);
        room_close(&r);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random),     cmocka_unit_test(test_histogram), cmocka_unit_test(test_histogram_flat),
        cmocka_unit_test(test_seams),      cmocka_unit_test(test_extremes),  cmocka_unit_test(test_relief_holes),
        cmocka_unit_test(test_odd_depths), cmocka_unit_test(test_curves),    cmocka_unit_test(test_colour_maps),
    };

    apr_initialize();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
