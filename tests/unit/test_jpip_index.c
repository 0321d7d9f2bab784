/* SPDX-License-Identifier: Apache-2.0
 * Packet index: the bins of a code-stream, put together again in another order here, must decode to what the
 * code-stream itself decodes to, by OpenJPEG, at every resolution; and whatever tells where packets end (PLT, PLM,
 * their headers, packed or not) must tell the same. Counts and ids are worked out here from T.800 and T.808.
 * Longer than 600 lines: every shape of code-stream is made, taken apart and rebuilt here. */
#include "jp2_marks.h"
#include "jpip/index.h"
#include <unistd.h>

#define GREY .comps = 1
#define RGB  .comps = 3, .mct = 1
#define C420 .comps = 3, .comp = {{1, 1, 8, 0}, {2, 2, 8, 0}, {2, 2, 8, 0}}

static const recipe recipes[] = {
    {"LRCP", 203, 151, RGB, .rate = {20, 5}},
    {"RLCP", 203, 151, RGB, .order = OPJ_RLCP, .rate = {20, 5}},
    {"RPCL", 203, 151, RGB, .order = OPJ_RPCL, .rate = {20, 5}, .precinct = 32},
    {"PCRL", 203, 151, RGB, .order = OPJ_PCRL, .rate = {20, 5}, .precinct = 32},
    {"CPRL", 203, 151, RGB, .order = OPJ_CPRL, .rate = {20, 5}, .precinct = 32},
    {"one pixel", 1, 1, RGB, .levels = 1},
    {"a row", 301, 1, RGB, .levels = 1, .precinct = 16},
    {"many resolutions", 203, 151, RGB, .levels = 8},
    {"offset", 203, 151, 37, 51, RGB, .order = OPJ_RPCL, .precinct = 32},
    {"odd offset, PCRL", 203, 151, 101, 33, RGB, .order = OPJ_PCRL, .precinct = 64, .rate = {30, 8}},
    {"odd offset, CPRL", 203, 151, 101, 33, RGB, .order = OPJ_CPRL, .precinct = 32, .levels = 4},
    {"tiles", 203, 151, .tw = 64, .th = 64, RGB, .precinct = 16, .levels = 3},
    {"odd tiles, RPCL", 203, 151, .tw = 61, .th = 53, RGB, .levels = 3, .order = OPJ_RPCL, .precinct = 16},
    {"tiles and offsets, PCRL", 203, 151, 37, 51, 60, 70, 5, 9, RGB, .levels = 3, .order = OPJ_PCRL, .precinct = 16},
    {"tiles and offsets, CPRL", 203, 151, 131, 7, 77, 49, 100, 1, RGB, .levels = 3, .order = OPJ_CPRL},
    {"tiles and offsets, RLCP", 203, 151, 131, 7, 77, 49, 100, 1, RGB, .levels = 3, .order = OPJ_RLCP, .rate = {9, 4}},
    {"small tiles", 203, 151, .tw = 8, .th = 8, GREY, .levels = 3},
    {"layers", 203, 151, RGB, .lossy = 1, .rate = {60, 30, 12, 6}},
    {"small blocks", 203, 151, RGB, .block = 8, .order = OPJ_RPCL},
    {"blocks larger than precincts", 203, 151, RGB, .block = 64, .precinct = 32, .order = OPJ_PCRL},
    {"markers", 203, 151, RGB, .csty = 2 | 4, .order = OPJ_RPCL, .rate = {20, 5}},
    {"SOP", 203, 151, RGB, .csty = 2, .rate = {20, 5}, .precinct = 64},
    {"EPH", 203, 151, RGB, .csty = 4, .rate = {20, 5}, .tw = 100, .th = 100},
    {"bypass, reset", 203, 151, RGB, .style = 1 | 2, .rate = {20, 5, 1}},
    {"termination", 203, 151, RGB, .style = 4 | 8 | 16, .rate = {20, 5, 1}},
    {"bypass and termination", 203, 151, RGB, .style = 1 | 4, .rate = {8, 1}},
    {"16 bits, bypass", 131, 90, .comps = 1, .comp = {{1, 1, 16, 0}}, .style = 1, .rate = {6, 3, 1}},
    {"parts by resolution", 203, 151, RGB, .order = OPJ_RPCL, .parts = 'R', .rate = {20, 5}},
    {"tiles in parts by layer", 203, 151, .tw = 100, .th = 64, RGB, .parts = 'L', .rate = {20, 5}},
    {"parts by component", 203, 151, .tw = 100, .th = 64, RGB, .parts = 'C', .order = OPJ_CPRL, .rate = {20, 5}},
    {"eight bands", 131, 90, .comps = 8, .tw = 64, .th = 64, .order = OPJ_PCRL},
    {"4:2:0", 203, 151, C420, .order = OPJ_RPCL, .precinct = 32},
    {"4:2:0, PCRL, odd offset", 203, 151, 33, 17, C420, .order = OPJ_PCRL, .precinct = 32},
    {"4:2:0, CPRL, odd tiles", 203, 151, 33, 17, 51, 45, 3, 1, C420, .levels = 2, .order = OPJ_CPRL, .precinct = 8},
    {"4:2:0, RPCL, odd tiles", 203, 151, 33, 17, 51, 45, 3, 1, C420, .levels = 3, .order = OPJ_RPCL, .precinct = 16},
    {"every one other", 203, 151, 5, 3, .comps = 3, .levels = 3, .precinct = 16, .order = OPJ_PCRL,
     .comp = {{3, 2, 8, 0}, {1, 4, 8, 0}, {5, 1, 8, 0}}},
    {"every one other, RPCL", 203, 151, 5, 3, .comps = 3, .levels = 3, .precinct = 16, .order = OPJ_RPCL,
     .comp = {{3, 2, 8, 0}, {1, 4, 8, 0}, {5, 1, 8, 0}}},
    {"changes of orders", 203, 151, RGB, .rate = {30, 10, 4}, .poc = 1, .precinct = 32},
    {"changes in tiles", 203, 151, .tw = 90, .th = 90, RGB, .rate = {30, 10}, .poc = 1, .order = OPJ_RLCP},
};
#define RECIPES (sizeof recipes / sizeof *recipes)

/* --- subjects ----------------------------------------------------------------------------------------------------- */

typedef struct {
    apr_pool_t *p;
    bytes b;
    iip_jp2_file f;
    jpip_index *ix;
    iip_error e;
} indexed;

static iip_status try_index(indexed *t, bytes b)
{
    jpip_boxes boxes;

    memset(t, 0, sizeof *t);
    t->b = b;
    apr_pool_create(&t->p, pool);
    if (jpip_boxes_read(&boxes, iip_source_memory(b.p, b.n, "test", t->p), 0, (int64_t)b.n, t->p, &t->e) != IIP_OK ||
        jpip_boxes_stream(&boxes, 0, boxes.s, &t->f, t->p, &t->e) != IIP_OK)
        return t->e.status;
    return jpip_index_build(&t->ix, &t->f, NULL, &t->e);
}

static void index_of(indexed *t, bytes b, const char *name)
{
    if (try_index(t, b) != IIP_OK)
        fail_msg("%s: %s", name, t->e.detail);
}

static void over(indexed *t)
{
    jpip_index_free(t->ix);
    apr_pool_destroy(t->p);
}

/* --- a code-stream of bins ---------------------------------------------------------------------------------------- */

/* LRCP in every COD of a header. */
static void set_order(unsigned char *p, size_t from, size_t to)
{
    for (size_t at = from; at < to; at += 2 + (size_t)number_at(p + at + 2, 2))
        if (number_at(p + at, 2) == 0xff52)
            p[at + 5] = 0;
}

static void put_packet(const indexed *t, bytes *out, uint32_t number, int layer, const char *name)
{
    const int64_t from = jpip_index_bytes(t->ix, number, layer), to = jpip_index_bytes(t->ix, number, layer + 1);
    unsigned char *mem = malloc((size_t)(to - from) + 1);
    iip_error e = {0};

    if (jpip_index_read(t->ix, &t->f, number, from, mem, (size_t)(to - from), &e) != IIP_OK)
        fail_msg("%s: %s", name, e.detail);
    append(out, mem, (size_t)(to - from));
    free(mem);
}

typedef struct {
    int r0, r1, c0, c1, layers, order; /* order: OPJ_LRCP or OPJ_RLCP */
} volume;

static void put_resolution(const indexed *t, bytes *out, int64_t tile, const volume *v, int l, int r,
                           unsigned char *sent, const char *name)
{
    for (int c = v->c0; c < v->c1; c++) {
        jpip_res res;

        if (r > jpip_index_coding(t->ix, tile, c)->levels)
            continue;
        jpip_index_res(t->ix, tile, c, r, &res);
        for (uint32_t k = res.number; k < res.number + (uint32_t)(res.wide * res.high); k++)
            if (sent[k] == l) {
                put_packet(t, out, k, l, name);
                sent[k]++;
            }
    }
}

/* All packets of a tile, volume by volume. */
static void put_volumes(const indexed *t, bytes *out, int64_t tile, const volume *v, int volumes, const char *name)
{
    unsigned char *sent = calloc((size_t)t->ix->precincts + 1, 1);

    for (int i = 0; i < volumes; i++, v++) {
        const int layers = v->layers < t->ix->layers ? v->layers : t->ix->layers;
        const int res = v->r1 <= t->ix->levels ? v->r1 : t->ix->levels + 1;

        if (v->order == OPJ_LRCP)
            for (int l = 0; l < layers; l++)
                for (int r = v->r0; r < res; r++)
                    put_resolution(t, out, tile, v, l, r, sent, name);
        else
            for (int r = v->r0; r < res; r++)
                for (int l = 0; l < layers; l++)
                    put_resolution(t, out, tile, v, l, r, sent, name);
    }
    free(sent);
}

/* A code-stream in those volumes, said by a POC segment if there is more than one. */
static bytes rebuilt_in(const indexed *t, const volume *v, int volumes, const char *name)
{
    const jpip_index *ix = t->ix;
    bytes out = {0};
    size_t n;
    const unsigned char *head = jpip_index_main(ix, &n);

    append(&out, head, n);
    set_order(out.p, 2, n);
    if (volumes > 1)
        be(&out, 0xff5f0000u + 2 + 7 * (unsigned)volumes, 4);
    for (int i = 0; volumes > 1 && i < volumes; i++) {
        be(&out, (uint64_t)(v[i].r0 << 8 | v[i].c0), 2);
        be(&out, (uint64_t)v[i].layers, 2);
        be(&out, (uint64_t)(v[i].r1 << 16 | v[i].c1 << 8 | v[i].order), 3);
    }
    for (int64_t tile = 0; tile < ix->columns * ix->rows; tile++) {
        const size_t sot = out.n;
        int complete;

        be(&out, 0xff90000a, 4);
        be(&out, (uint64_t)tile, 2);
        be(&out, 0, 4);
        be(&out, 1, 2);
        head = jpip_index_tile_head(ix, tile, &n, &complete);
        assert_true(complete);
        append(&out, head, n);
        set_order(out.p, sot + 12, out.n);
        be(&out, 0xff93, 2);
        put_volumes(t, &out, tile, v, volumes, name);
        for (int i = 0; i < 4; i++)
            out.p[sot + 6 + (size_t)i] = (unsigned char)((out.n - sot) >> (24 - 8 * i));
    }
    be(&out, 0xffd9, 2);
    return out;
}

static bytes rebuilt(const indexed *t, const char *name)
{
    const volume all = {0, 33, 0, t->ix->comps, 65535, OPJ_LRCP};

    return rebuilt_in(t, &all, 1, name);
}

static void same_pictures(bytes a, bytes b, int levels, const char *name)
{
    for (int l = 0; l < levels; l++) {
        opj_image_t *x = whole_decode(a, l, 0), *y = whole_decode(b, l, 0);

        for (OPJ_UINT32 c = 0; c < x->numcomps; c++) {
            assert_int_equal(x->comps[c].w, y->comps[c].w);
            assert_int_equal(x->comps[c].h, y->comps[c].h);
            if (memcmp(x->comps[c].data, y->comps[c].data, (size_t)x->comps[c].w * x->comps[c].h * 4) != 0)
                fail_msg("%s: component %u differs at level %d", name, c, l);
        }
        opj_image_destroy(x);
        opj_image_destroy(y);
    }
}

/* --- geometry, worked out plainly --------------------------------------------------------------------------------- */

static int64_t down(int64_t a, int64_t b)
{
    return a / b;
}

static void check_numbers(const indexed *t)
{
    const jpip_index *ix = t->ix;
    const int64_t tiles = ix->columns * ix->rows;
    uint32_t number = 0;

    for (int64_t tile = 0; tile < tiles; tile++) {
        const int64_t left = ix->tx0 + tile % ix->columns * ix->tw, top = ix->ty0 + tile / ix->columns * ix->th;
        const int64_t x0 = left > ix->x0 ? left : ix->x0, x1 = left + ix->tw < ix->x1 ? left + ix->tw : ix->x1;
        const int64_t y0 = top > ix->y0 ? top : ix->y0, y1 = top + ix->th < ix->y1 ? top + ix->th : ix->y1;

        for (int c = 0; c < ix->comps; c++) {
            const iip_jp2_coding *k = jpip_index_coding(ix, tile, c);
            const int64_t dx = ix->comp[c].dx, dy = ix->comp[c].dy;
            uint32_t s = 0;

            for (int r = 0; r <= k->levels; r++) {
                const int64_t part = INT64_C(1) << (k->levels - r);
                const int64_t px = INT64_C(1) << (k->precinct[r] & 15), py = INT64_C(1) << (k->precinct[r] >> 4);
                const int64_t rx0 = up(up(x0, dx), part), rx1 = up(up(x1, dx), part);
                const int64_t ry0 = up(up(y0, dy), part), ry1 = up(up(y1, dy), part);
                const int64_t wide = rx1 > rx0 ? up(rx1, px) - down(rx0, px) : 0;
                const int64_t high = ry1 > ry0 ? up(ry1, py) - down(ry0, py) : 0;
                const int64_t n = wide * high;
                jpip_res res;

                jpip_index_res(ix, tile, c, r, &res);
                assert_int_equal(res.wide * res.high, n);
                assert_int_equal(res.s, s);
                assert_int_equal(res.number, number);
                for (int64_t i = 0; i < n; i++, s++, number++) {
                    const uint64_t id = (uint64_t)(tile + tiles * (c + (int64_t)ix->comps * s));
                    jpip_precinct who;
                    int all, there = jpip_index_layers(ix, number, &all);

                    assert_int_equal(there, all);
                    assert_int_equal(jpip_index_id(ix, tile, c, s), id);
                    assert_int_equal(jpip_index_number(ix, id), number);
                    jpip_index_precinct(ix, number, &who);
                    assert_int_equal(who.tile, tile);
                    assert_int_equal(who.comp, c);
                    assert_int_equal(who.res, r);
                    assert_int_equal(who.s, s);
                    assert_int_equal(who.x + who.y * wide, i);
                    assert_int_equal(all, k->layers);
                    assert_int_equal(jpip_index_whole(ix, number, jpip_index_bytes(ix, number, all)), all);
                }
            }
            assert_int_equal(jpip_index_number(ix, (uint64_t)(tile + tiles * (c + (int64_t)ix->comps * s))), -1);
        }
    }
    assert_int_equal(ix->precincts, number);
}

/* --- the same index ----------------------------------------------------------------------------------------------- */

static unsigned char *bin(const indexed *t, uint32_t number, size_t *n)
{
    int all, there = jpip_index_layers(t->ix, number, &all);
    unsigned char *mem;
    iip_error e;

    *n = (size_t)jpip_index_bytes(t->ix, number, there);
    mem = malloc(*n + 1);
    assert_int_equal(jpip_index_read(t->ix, &t->f, number, 0, mem, *n, &e), IIP_OK);
    return mem;
}

/* Headers but for a byte that says whether there are SOP markers, and all bins. */
static void same_bins(const indexed *a, const indexed *b, const char *name)
{
    size_t n, m;
    const unsigned char *h = jpip_index_main(a->ix, &n), *g = jpip_index_main(b->ix, &m);

    assert_int_equal(n, m);
    assert_memory_equal(h, g, n);
    assert_int_equal(a->ix->precincts, b->ix->precincts);
    assert_int_equal(a->ix->packets, b->ix->packets);
    for (uint32_t k = 0; k < (uint32_t)a->ix->precincts; k++) {
        unsigned char *x = bin(a, k, &n), *y = bin(b, k, &m);
        int all;

        if (n != m || memcmp(x, y, n) != 0)
            fail_msg("%s: precinct %u differs", name, k);
        for (int l = 1; l <= jpip_index_layers(a->ix, k, &all); l++)
            assert_int_equal(jpip_index_bytes(a->ix, k, l), jpip_index_bytes(b->ix, k, l));
        free(x);
        free(y);
    }
}

/* Pieces of bins, anywhere. */
static void check_pieces(const indexed *t)
{
    unsigned seed = 4;

    for (int i = 0; i < 60; i++) {
        const uint32_t k = (uint32_t)rand_r(&seed) % (uint32_t)t->ix->precincts;
        unsigned char part[5000];
        size_t n, from, len;
        unsigned char *all = bin(t, k, &n);
        iip_error e;

        from = (size_t)rand_r(&seed) % (n + 1);
        len = (size_t)rand_r(&seed) % (n - from + 1) % sizeof part;
        assert_int_equal(jpip_index_read(t->ix, &t->f, k, (int64_t)from, part, len, &e), IIP_OK);
        assert_memory_equal(part, all + from, len);
        assert_int_equal(jpip_index_read(t->ix, &t->f, k, (int64_t)n, part, 1, &e), IIP_E_RANGE);
        free(all);
    }
}

/* The tile's bytes are its tile-parts. */
static void check_tiles(const indexed *t)
{
    for (int64_t tile = 0; tile < t->ix->columns * t->ix->rows; tile++) {
        const int64_t n = jpip_index_tile_bytes(t->ix, tile);
        unsigned char *mem = malloc((size_t)n + 1);
        int64_t at = 0;
        iip_error e;

        assert_int_equal(jpip_index_read_tile(t->ix, &t->f, tile, 0, mem, (size_t)n, &e), IIP_OK);
        for (int32_t i = jpip_index_tile_part(t->ix, tile); i >= 0; at += t->ix->part[i].len, i = t->ix->part[i].next)
            assert_memory_equal(mem + at, t->b.p + (t->f.piece[0].at + t->ix->part[i].at), t->ix->part[i].len);
        assert_int_equal(at, n);
        free(mem);
    }
}

/* --- tests -------------------------------------------------------------------------------------------------------- */

static void every_recipe(void **state)
{
    for (size_t i = 0; i < RECIPES; i++) {
        recipe k = recipes[i];
        bytes plain, with, made;
        indexed a, b;

        k.plt = 1;
        with = stream_of(&k);
        plain = without(with, 0xff58);
        index_of(&a, with, k.name);
        index_of(&b, plain, k.name);
        check_numbers(&a);
        same_bins(&a, &b, k.name);
        check_pieces(&a);
        check_tiles(&b);
        made = rebuilt(&b, k.name);
        same_pictures(plain, made, k.levels ? k.levels : 6, k.name);
        if (k.csty & 2)
            assert_int_equal(find_marker(made, find_marker(made, 0, 0xff93), 0xff91), made.n);
        free(made.p);
        over(&a);
        over(&b);
        free(plain.p);
        free(with.p);
    }
}

static void lengths_in_the_main_header(void **state)
{
    static const recipe kinds[] = {
        {"PLM", 203, 151, RGB, .levels = 3, .plt = 1, .precinct = 128},
        {"PLM, tiles", 203, 151, .tw = 64, .th = 64, RGB, .levels = 3, .plt = 1, .order = OPJ_RPCL},
        {"PLM, parts", 203, 151, .tw = 100, .th = 64, RGB, .parts = 'R', .plt = 1, .rate = {20, 5}, .levels = 4},
    };

    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        for (int split = 60; split < 5000; split *= 50) {
            bytes with = stream_of(&kinds[i]), b = lengths_in_front(with, (size_t)split);
            indexed x, y;

            assert_non_null(b.p);
            index_of(&x, with, kinds[i].name);
            index_of(&y, b, kinds[i].name);
            same_bins(&x, &y, kinds[i].name);
            over(&x);
            over(&y);
            free(b.p);
            free(with.p);
        }
}

/* Volumes that overlap: what was in an earlier one is skipped. (OpenJPEG writes no such code-streams right, but reads
 * them.) */
static void changes_of_progression(void **state)
{
    static const volume kinds[][4] = {
        {{0, 6, 0, 3, 1, OPJ_LRCP}, {0, 6, 0, 3, 3, OPJ_LRCP}},
        {{0, 3, 0, 3, 2, OPJ_RLCP}, {0, 6, 0, 3, 1, OPJ_LRCP}, {0, 6, 0, 3, 3, OPJ_RLCP}},
        {{2, 6, 1, 2, 1, OPJ_LRCP}, {0, 4, 0, 3, 2, OPJ_RLCP}, {0, 6, 2, 3, 3, OPJ_RLCP}, {0, 33, 0, 3, 9, OPJ_LRCP}},
    };
    static const recipe from[] = {
        {"volumes", 203, 151, RGB, .rate = {30, 10, 4}, .precinct = 64},
        {"volumes in tiles", 203, 151, .tw = 90, .th = 90, RGB, .rate = {30, 10, 4}, .order = OPJ_PCRL},
    };

    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        for (size_t f = 0; f < 2; f++) {
            bytes plain = stream_of(&from[f]), made;
            int n = 0;
            indexed x, y;

            while (n < 4 && kinds[i][n].layers)
                n++;
            index_of(&x, plain, from[f].name);
            made = rebuilt_in(&x, kinds[i], n, from[f].name);
            same_pictures(plain, made, 6, from[f].name);
            index_of(&y, made, from[f].name);
            for (uint32_t k = 0; k < (uint32_t)x.ix->precincts; k++) {
                size_t a, b;
                unsigned char *p = bin(&x, k, &a), *q = bin(&y, k, &b);

                assert_int_equal(a, b);
                assert_memory_equal(p, q, a);
                free(p);
                free(q);
            }
            over(&x);
            over(&y);
            free(made.p);
            free(plain.p);
        }
}

static void packed_headers(void **state)
{
    static const recipe kinds[] = {
        {"packed", 203, 151, RGB, .csty = 6, .rate = {20, 4}},
        {"packed tiles", 203, 151, .tw = 64, .th = 64, RGB, .csty = 6, .rate = {20, 4}, .order = OPJ_PCRL},
        {"packed parts", 203, 151, .tw = 90, .th = 90, .levels = 4, RGB, .csty = 6, .order = OPJ_RLCP, .parts = 'R',
         .lossy = 1},
    };

    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        for (int how = 0; how < 3; how++) {
            bytes plain = stream_of(&kinds[i]), b = packed(plain, how == 2, how ? 60000 : 77), made;
            indexed x, y;

            index_of(&x, plain, kinds[i].name);
            index_of(&y, b, kinds[i].name);
            assert_true(y.ix->apart && !x.ix->apart);
            same_bins(&x, &y, kinds[i].name);
            check_pieces(&y);
            made = rebuilt(&y, kinds[i].name);
            same_pictures(plain, made, 4, kinds[i].name);
            free(made.p);
            over(&x);
            over(&y);
            free(b.p);
            free(plain.p);
        }
}

/* A file cut anywhere: what is there is as in the whole, and nothing more is promised. */
static void cut(void **state)
{
    static const recipe kinds[] = {
        {"cut", 203, 151, RGB, .rate = {20, 5}},
        {"cut, RPCL", 203, 151, RGB, .order = OPJ_RPCL, .rate = {20, 5}, .precinct = 32, .plt = 1},
        {"cut tiles", 203, 151, .tw = 64, .th = 64, RGB, .order = OPJ_PCRL, .plt = 1, .csty = 6},
        {"cut parts", 203, 151, .tw = 90, .th = 90, RGB, .parts = 'R', .levels = 4, .order = OPJ_RLCP, .rate = {20, 5}},
    };

    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        bytes b = stream_of(&kinds[i]);
        const size_t head = find_marker(b, 0, 0xff90);
        int64_t before = -1;
        indexed whole;

        index_of(&whole, b, kinds[i].name);
        for (size_t n = head + 2; n < b.n; n += 1 + b.n / 97) {
            bytes part = {malloc(n), n};
            int64_t there = 0;
            indexed t;

            memcpy(part.p, b.p, n); /* a block of its own: reads beyond it are seen */
            index_of(&t, part, kinds[i].name);
            assert_true(t.ix->cut || n >= b.n - 2);
            for (uint32_t k = 0; k < (uint32_t)t.ix->precincts; k++) {
                size_t x, y;
                unsigned char *p = bin(&t, k, &x), *q = bin(&whole, k, &y);

                assert_true(x <= y);
                assert_memory_equal(p, q, x);
                there += (int64_t)x;
                free(p);
                free(q);
            }
            assert_true(there >= before);
            before = there;
            over(&t);
            free(part.p);
        }
        over(&whole);
        free(b.p);
    }
}

/* PLT segments that lie: the headers decide. */
static void lies(void **state)
{
    static const recipe k = {"lies", 203, 151, RGB, .plt = 1, .rate = {20, 5}};
    bytes b = stream_of(&k);
    const size_t plt = find_marker(b, 0, 0xff58), len = 2 + (size_t)number_at(b.p + plt + 2, 2);
    indexed good;

    index_of(&good, b, k.name);
    for (size_t i = plt + 4; i < plt + len; i += 3) {
        bytes bad = {malloc(b.n), b.n};
        indexed t;

        memcpy(bad.p, b.p, b.n);
        bad.p[i] ^= 1;
        index_of(&t, bad, k.name);
        same_bins(&good, &t, k.name);
        over(&t);
        free(bad.p);
    }
    over(&good);
    free(b.p);
}

/* Lengths changed against each other, so that their sum stays. */
static void even_lies(void **state)
{
    static const recipe k = {"lies", 203, 151, RGB, .plt = 1, .order = OPJ_RPCL, .precinct = 64, .rate = {20, 5}};
    bytes b = stream_of(&k);
    const size_t plt = find_marker(b, 0, 0xff58);
    int tried = 0;
    indexed good;

    index_of(&good, b, k.name);
    for (size_t i = plt + 5; i < plt + 40; i++) {
        bytes bad = {malloc(b.n), b.n};
        indexed t;

        if ((b.p[i] | b.p[i + 1] | b.p[i - 1]) & 128 || b.p[i] == b.p[i + 1]) { /* of two bytes */
            free(bad.p);
            continue;
        }
        memcpy(bad.p, b.p, b.n);
        bad.p[i] = b.p[i + 1];
        bad.p[i + 1] = b.p[i];
        index_of(&t, bad, k.name);
        same_bins(&good, &t, k.name);
        over(&t);
        free(bad.p);
        tried++;
    }
    assert_true(tried > 5);
    over(&good);
    free(b.p);
}

/* Bytes changed: any status, no harm. */
static void damage(void **state)
{
    static const recipe kinds[] = {
        {"damage", 64, 48, RGB, .plt = 1, .rate = {20, 5}, .precinct = 16, .levels = 3},
        {"damage, tiles", 64, 48, .tw = 20, .th = 20, RGB, .order = OPJ_PCRL, .poc = 1, .levels = 3, .rate = {9, 3}},
        {"damage, packed", 64, 48, RGB, .csty = 6, .levels = 3, .rate = {20, 4}},
    };
    unsigned seed = 8;

    for (size_t i = 0; i < 3; i++) {
        bytes b = stream_of(&kinds[i]), packs[2] = {{0}};

        for (int in_tile = 0; i == 2 && in_tile < 2; in_tile++)
            packs[in_tile] = packed(b, in_tile, 60);
        for (int how = 0; how < 400; how++) {
            const bytes *from = i == 2 ? &packs[how % 2] : &b;
            bytes v = {malloc(from->n), from->n};
            indexed t;

            memcpy(v.p, from->p, v.n);
            for (int n = 1 + rand_r(&seed) % 3; n > 0; n--)
                v.p[(size_t)rand_r(&seed) % (how % 4 < 2 ? v.n : v.n < 300 ? v.n : 300)] = (unsigned char)rand_r(&seed);
            if (try_index(&t, v) == IIP_OK)
                for (uint32_t k = 0; k < (uint32_t)t.ix->precincts && k < 1000; k++) {
                    size_t n;

                    free(bin(&t, k, &n));
                }
            else
                assert_true(t.e.status == IIP_E_FORMAT || t.e.status == IIP_E_CORRUPT);
            over(&t);
            free(v.p);
        }
        for (int in_tile = 0; in_tile < 2; in_tile++)
            free(packs[in_tile].p);
        free(b.p);
    }
}

/* HT code-streams by grk_compress, with PLT and without. */
static void high_throughput(void **state)
{
    static const char *const options[] = {"-M 64", "-M 64 -t 128,128 -p RPCL", "-M 64 -I -p PCRL -c [64,64]",
                                          "-M 64 -p CPRL -t 200,90 -n 4"};
    iip_raster in = painted(431, 317, 3, IIP_U8);
    char top[32], path[64];
    FILE *f;

    if (system("command -v grk_compress >/dev/null") != 0)
        skip();
    tool_folder(top);
    snprintf(path, sizeof path, "%s/in.ppm", top);
    f = fopen(path, "wb");
    assert_non_null(f);
    fprintf(f, "P6\n431 317\n255\n");
    fwrite(in.px, 1, in.stride * 317, f);
    fclose(f);
    for (size_t i = 0; i < sizeof options / sizeof *options; i++) {
        char command[300];
        bytes b = {malloc(4 << 20), 0}, plain, made;
        indexed x, y;

        snprintf(command, sizeof command, "cd %s && grk_compress -i in.ppm -o ht.j2k -L %s >/dev/null", top,
                 options[i]);
        assert_int_equal(system(command), 0);
        snprintf(path, sizeof path, "%s/ht.j2k", top);
        f = fopen(path, "rb");
        assert_non_null(f);
        b.n = fread(b.p, 1, 4 << 20, f);
        fclose(f);
        assert_true(find_marker(b, 0, 0xff58) < b.n);
        plain = without(b, 0xff58);
        index_of(&x, b, options[i]);
        index_of(&y, plain, options[i]);
        same_bins(&x, &y, options[i]);
        made = rebuilt(&y, options[i]);
        same_pictures(b, made, 3, options[i]);
        over(&x);
        over(&y);
        free(made.p);
        free(plain.p);
        free(b.p);
    }
    tool_folder_gone(top);
    free(in.px);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_recipe),
        cmocka_unit_test(lengths_in_the_main_header),
        cmocka_unit_test(changes_of_progression),
        cmocka_unit_test(packed_headers),
        cmocka_unit_test(cut),
        cmocka_unit_test(lies),
        cmocka_unit_test(even_lies),
        cmocka_unit_test(damage),
        cmocka_unit_test(high_throughput),
    };
    int failed;

    apr_initialize();
    apr_pool_create(&pool, NULL);
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    apr_terminate();
    return failed;
}
