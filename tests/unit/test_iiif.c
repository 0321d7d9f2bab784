/* SPDX-License-Identifier: Apache-2.0
 * IIIF requests: the worked examples of spec/iiif.md, its grammar, paths, links, redirects and errors. Expected texts
 * are written from the rules. Long for its tables. */
#include "iiif_setup.h"
#include "path.h"

static const char *canonical(const iip_info *info, const iip_limits *lim)
{
    iip_input in = input("");
    const char *link = iiif()->link(&in, &rq, info, lim, pool), *end = strchr(link, '>');

    assert_memory_equal(link, "<" BASE "/", sizeof BASE + 1);
    assert_memory_equal(end, ">;rel=\"canonical\", <", 19);
    return apr_pstrmemdup(pool, link + sizeof BASE + 1, (size_t)(end - link) - sizeof BASE - 1);
}

/* ---- the worked examples ---- */

typedef struct {
    int number, version;
    int64_t side; /* IIPMaxSize; 0 = 10000 */
    int64_t area;
    int no_upscaling;
    int64_t w, h; /* of the image */
    const char *request;
    int status; /* HTTP */
    int64_t out_w, out_h, canvas_w, canvas_h;
    const char *canonical;
} vector;

#define A 6000, 4000
#define B 300, 200
static const vector vectors[] = {
    {1, 3, 0, 0, 0, A, "full/max/0/default.jpg", 200, 6000, 4000, 6000, 4000, "full/max/0/default.jpg"},
    {1, 2, 0, 0, 0, A, "full/max/0/default.jpg", 200, 6000, 4000, 6000, 4000, "full/full/0/default.jpg"},
    {2, 3, 0, 0, 0, A, "0,0,6000,4000/6000,/0/default.jpg", 200, 6000, 4000, 6000, 4000, "full/max/0/default.jpg"},
    {2, 2, 0, 0, 0, A, "0,0,6000,4000/6000,/0/default.jpg", 200, 6000, 4000, 6000, 4000, "full/full/0/default.jpg"},
    {3, 3, 0, 0, 0, A, "full/,1000/0/default.jpg", 200, 1500, 1000, 1500, 1000, "full/1500,1000/0/default.jpg"},
    {3, 2, 0, 0, 0, A, "full/,1000/0/default.jpg", 200, 1500, 1000, 1500, 1000, "full/1500,/0/default.jpg"},
    {4, 3, 0, 0, 0, A, "square/500,/90/default.png", 200, 500, 500, 500, 500,
     "1000,0,4000,4000/500,500/90/default.png"},
    {4, 2, 0, 0, 0, A, "square/500,/90/default.png", 200, 500, 500, 500, 500, "1000,0,4000,4000/500,/90/default.png"},
    {5, 3, 0, 0, 0, A, "pct:50,50,60,60/max/0/color.jpg", 200, 3000, 2000, 3000, 2000,
     "3000,2000,3000,2000/max/0/default.jpg"},
    {5, 2, 0, 0, 0, A, "pct:50,50,60,60/max/0/color.jpg", 200, 3000, 2000, 3000, 2000,
     "3000,2000,3000,2000/full/0/default.jpg"},
    {6, 3, 0, 0, 0, A, "5900,3950,200,200/max/0/default.jpg", 200, 100, 50, 100, 50,
     "5900,3950,100,50/max/0/default.jpg"},
    {6, 2, 0, 0, 0, A, "5900,3950,200,200/full/0/default.jpg", 200, 100, 50, 100, 50,
     "5900,3950,100,50/full/0/default.jpg"},
    {7, 3, 0, 0, 0, A, "full/!500,500/0/default.jpg", 200, 500, 333, 500, 333, "full/500,333/0/default.jpg"},
    {7, 2, 0, 0, 0, A, "full/!500,500/0/default.jpg", 200, 500, 333, 500, 333, "full/500,/0/default.jpg"},
    {8, 3, 0, 0, 0, A, "full/225,100/0/default.jpg", 200, 225, 100, 225, 100, "full/225,100/0/default.jpg"},
    {8, 2, 0, 0, 0, A, "full/225,100/0/default.jpg", 200, 225, 100, 225, 100, "full/225,100/0/default.jpg"},
    {9, 3, 0, 0, 0, A, "full/pct:12.5/!0/gray.jpg", 200, 750, 500, 750, 500, "full/750,500/!0/gray.jpg"},
    {9, 2, 0, 0, 0, A, "full/pct:12.5/!0/grey.jpg", 200, 750, 500, 750, 500, "full/750,/!0/gray.jpg"},
    {10, 3, 0, 0, 0, B, "full/^360,/0/default.jpg", 200, 360, 240, 360, 240, "full/^360,240/0/default.jpg"},
    {10, 2, 0, 0, 0, B, "full/360,/0/default.jpg", 200, 360, 240, 360, 240, "full/360,/0/default.jpg"},
    {11, 3, 0, 0, 0, B, "full/360,/0/default.jpg", 400, 0, 0, 0, 0, NULL},
    {12, 3, 0, 0, 0, B, "full/!360,360/0/default.jpg", 200, 300, 200, 300, 200, "full/max/0/default.jpg"},
    {12, 2, 0, 0, 0, B, "full/!360,360/0/default.jpg", 200, 360, 240, 360, 240, "full/360,/0/default.jpg"},
    {12, 2, 0, 0, 1, B, "full/!360,360/0/default.jpg", 200, 300, 200, 300, 200, "full/full/0/default.jpg"},
    {13, 3, 0, 0, 0, B, "full/^!360,360/0/default.jpg", 200, 360, 240, 360, 240, "full/^360,240/0/default.jpg"},
    {14, 3, 200, 0, 0, B, "full/max/0/default.jpg", 200, 200, 133, 200, 133, "full/max/0/default.jpg"},
    {14, 2, 200, 0, 0, B, "full/max/0/default.jpg", 200, 200, 133, 200, 133, "full/200,/0/default.jpg"},
    {15, 3, 360, 0, 0, B, "full/^max/0/default.jpg", 200, 360, 240, 360, 240, "full/^max/0/default.jpg"},
    {16, 3, 200, 0, 0, B, "full/250,/0/default.jpg", 400, 0, 0, 0, 0, NULL},
    {17, 3, 0, 0, 0, B, "full/max/22.5/default.png", 200, 300, 200, 354, 300, "full/max/22.5/default.png"},
    {17, 2, 0, 0, 0, B, "full/max/22.5/default.png", 200, 300, 200, 354, 300, "full/full/22.5/default.png"},
    {18, 3, 0, 0, 0, B, "125,15,120,140/90,/!345/gray.jpg", 200, 90, 105, 114, 125,
     "125,15,120,140/90,105/!345/gray.jpg"},
    {18, 2, 0, 0, 0, B, "125,15,120,140/90,/!345/gray.jpg", 200, 90, 105, 114, 125, "125,15,120,140/90,/!345/gray.jpg"},
    {19, 3, 0, 0, 0, B, "full/max/360/default.jpg", 200, 300, 200, 300, 200, "full/max/0/default.jpg"},
    {20, 3, 0, 0, 1, A, "full/^pct:120/0/default.jpg", 501, 0, 0, 0, 0, NULL},
    {21, 3, 0, 0, 0, A, "full/100,^50/0/default.jpg", 400, 0, 0, 0, 0, NULL},
    {22, 3, 0, 4000000, 0, A, "full/max/0/default.jpg", 200, 2449, 1632, 2449, 1632, "full/max/0/default.jpg"},
    {22, 2, 0, 4000000, 0, A, "full/full/0/default.jpg", 200, 2449, 1632, 2449, 1632, "full/2449,1632/0/default.jpg"},
    {23, 3, 0, 0, 0, 3073, 3073, "2048,0,1025,2048/257,512/0/default.jpg", 200, 257, 512, 257, 512,
     "2048,0,1025,2048/257,512/0/default.jpg"},
    {23, 2, 0, 0, 0, 3073, 3073, "2048,0,1025,2048/257,512/0/default.jpg", 200, 257, 512, 257, 512,
     "2048,0,1025,2048/257,512/0/default.jpg"},
    {24, 3, 0, 0, 0, 3073, 3073, "3072,0,1,1024/1,512/0/default.jpg", 200, 1, 512, 1, 512,
     "3072,0,1,1024/1,512/0/default.jpg"},
    {27, 2, 0, 0, 0, A, "full/full/0/native.jpg", 200, 6000, 4000, 6000, 4000, "full/full/0/default.jpg"},
    {28, 3, 0, 0, 0, A, "full/max/0.50/default.png", 200, 6000, 4000, 6035, 4052, "full/max/0.5/default.png"},
    {28, 2, 0, 0, 0, A, "full/full/0.50/default.png", 200, 6000, 4000, 6035, 4052, "full/full/.5/default.png"},
};

static void test_vectors(void **state)
{
    for (const vector *v = vectors; v < vectors + sizeof vectors / sizeof *vectors; v++) {
        iip_info info = image(v->w, v->h);
        iip_limits lim;
        iip_status rv;
        int64_t cw, ch;

        fresh(v->version);
        set.max_size.admin.a = set.max_size.admin.b = v->side ? v->side : 10000;
        set.max_area = v->area;
        set.upscaling = !v->no_upscaling;
        lim = limits();
        if ((rv = parse(apr_pstrcat(pool, "/a.tif/", v->request, NULL))) == IIP_OK)
            rv = iip_request_resolve(&rq, &info, &lim, &err);
        if (iip_status_http(rv) != v->status)
            fail_msg("%d (%d): status %d", v->number, v->version, iip_status_http(rv));
        if (rv != IIP_OK)
            continue;
        iip_request_canvas(&rq, &cw, &ch);
        if (rq.out_w != v->out_w || rq.out_h != v->out_h || cw != v->canvas_w || ch != v->canvas_h)
            fail_msg("%d (%d): %ldx%ld, canvas %ldx%ld", v->number, v->version, (long)rq.out_w, (long)rq.out_h,
                     (long)cw, (long)ch);
        if (strcmp(canonical(&info, &lim), apr_pstrcat(pool, "a.tif/", v->canonical, NULL)) != 0)
            fail_msg("%d (%d): %s", v->number, v->version, canonical(&info, &lim));

        /* The canonical form is a request for the same picture, and its own canonical form */
        iip_request first = rq;
        char line[2][IIP_LINE_MAX];

        assert_int_equal(parse(apr_pstrcat(pool, "/a.tif/", v->canonical, NULL)), IIP_OK);
        assert_int_equal(iip_request_resolve(&rq, &info, &lim, &err), IIP_OK);
        assert_string_equal(canonical(&info, &lim), apr_pstrcat(pool, "a.tif/", v->canonical, NULL));
        assert_int_equal(iip_request_line(&first, line[0], IIP_LINE_MAX), iip_request_line(&rq, line[1], IIP_LINE_MAX));
        assert_memory_equal(line[0], line[1], iip_request_line(&rq, line[1], IIP_LINE_MAX));
    }
}

static void test_vector_names(void **state) /* 25, 26; R7, R10 */
{
    iip_info info = image(B);
    iip_limits lim;

    fresh(3);
    lim = limits();
    assert_int_equal(parse("/ark:%2F12025%2F654xz321/full/max/0/default.jpg"), IIP_OK);
    assert_string_equal(rq.name, "ark:/12025/654xz321");
    assert_int_equal(iip_request_resolve(&rq, &info, &lim, &err), IIP_OK);
    assert_string_equal(canonical(&info, &lim), "ark:%2F12025%2F654xz321/full/max/0/default.jpg");
    assert_int_equal(parse("/ark:/12025/654xz321/full/max/0/default.jpg"), IIP_OK);
    assert_string_equal(rq.name, "ark:/12025/654xz321");
    assert_int_equal(parse("/a%253Cb/full/max/0/default.jpg"), IIP_OK);
    assert_string_equal(rq.name, "a%3Cb");
    assert_int_equal(iip_request_resolve(&rq, &info, &lim, &err), IIP_OK);
    assert_string_equal(canonical(&info, &lim), "a%253Cb/full/max/0/default.jpg");
}

/* ---- grammar ---- */

static void refused(int version, const char *request, const char *part)
{
    const char *whole = iip_path_decode(request, strlen(request), pool);

    fresh(version);
    set.literal_slash = 0; /* else what does not look like a request is a name */
    if (parse(apr_pstrcat(pool, "/a.tif/", request, NULL)) != IIP_E_SYNTAX)
        fail_msg("taken by %d: %s", version, request);
    if (strcmp(err.part, part) != 0)
        fail_msg("%s: %s", request, err.part);
    set.literal_slash = 1; /* one part wrong: still 400 when no such name exists (R4) */
    assert_int_equal(parse(apr_pstrcat(pool, "/a.tif/", request, NULL)), IIP_E_SYNTAX);
    assert_int_equal(want, whole && iip_path_good(whole) ? IIP_WANT_BARE : IIP_WANT_IMAGE);
    assert_string_equal(err.part, part);
}

static void taken(int version, const char *request)
{
    fresh(version);
    if (parse(apr_pstrcat(pool, "/a.tif/", request, NULL)) != IIP_OK || want != IIP_WANT_IMAGE)
        fail_msg("refused by %d: %s (%s)", version, request, err.part);
    assert_string_equal(rq.name, "a.tif");
}

static void test_grammar(void **state)
{
    static const char *const bad_region[] = {"FULL",
                                             "Full",
                                             "full%20",
                                             "",
                                             "0,0,10",
                                             "0,0,10,10,",
                                             "0,0,10,10,10",
                                             "-1,0,10,10",
                                             "+1,0,10,10",
                                             "1.5,0,10,10",
                                             "1e2,0,10,10",
                                             "0, 0,10,10",
                                             "2147483648,0,10,10",
                                             "00000000001,0,1,1",
                                             "0,0,99999999999999999999,1",
                                             "pct:",
                                             "pct:1,2,3",
                                             "pct:1,2,3,4,5",
                                             "pct:1,2,3,.",
                                             "pct:1,2,3,-4",
                                             "pct:1,2,3,4e1",
                                             "PCT:1,2,3,4",
                                             "pct:0x1,2,3,4",
                                             "pct:1,2,3,1.0000000000000000000000000000000000",
                                             "pct:1000000000,1,1,1",
                                             "square%00",
                                             "squar",
                                             "a",
                                             "%",
                                             "%zz",
                                             "0,0,,10",
                                             ",0,10,10",
                                             "0;0;10;10",
                                             "full,",
                                             "pct:nan,0,10,10",
                                             "pct:inf,0,10,10"};
    static const char *const bad_size[] = {
        "full",  "MAX",         "max%20", "",      ",",      "0,",      ",0",      "0,0",   "10,0",
        "0,10",  "10",          "-10,",   "10,,",  "10,10,", "!10,",    "!,10",    "!10",   "!",
        "^",     "!^10,10",     "^^10,",  "pct:",  "pct:-1", "pct:1,2", "pct:1e1", "pct:.", "1.5,",
        "10x10", "2147483648,", "^full",  "^!10,", "max^",   "100,^50", "%5e%5e1,"};
    static const char *const bad_rotation[] = {"",       "-1",  "+1",    "361", "360.1", "360.000000000001",
                                               "90junk", "1e1", "!",     "!!0", ".",     "!-1",
                                               "0x10",   "nan", "90%20", "90,", "!.",    "1000000"};
    static const char *const bad_quality[] = {"native.jpg", "grey.jpg",       "DEFAULT.jpg", "colour.jpg",  ".jpg",
                                              "foo.jpg",    "default%20.jpg", "defaul.jpg",  "default..jpg"};
    static const char *const bad_format[] = {"default",     "default.",       "default.JPG", "default.jpeg",
                                             "default.xyz", "default.jpg%20", "default.jp2x"};
    static const char *const good[] = {
        "full/max/0/default.jpg", "square/max/0/color.png", "0,0,10,10/max/0/gray.jpg",
        "pct:0,0,10,10/max/0/bitonal.png", "pct:1.,.5,10.5,10/max/0/default.jpg",
        "pct:33.3333333333333333333,0,1,1/max/0/default.jpg",
        "2147483647,2147483647,2147483647,2147483647/max/0/default.jpg", "full/^max/0/default.jpg",
        "full/^10,/0/default.jpg", "full/^,10/0/default.jpg", "full/^!10,10/0/default.jpg",
        "full/^pct:120/0/default.jpg", "full/!10,10/0/default.jpg", "full/pct:.5/0/default.jpg",
        "full/max/!0/default.jpg", "full/max/360/default.jpg", "full/max/.5/default.jpg", "full/max/5./default.jpg",
        "full/max/007.50/default.jpg", "full/max/!359.999/default.jpg",
        /* encoded once, in any part (R8) */
        "pct%3A10,10,10,10/%5Emax/%210/default%2Ejpg", "%66ull/%21200,200/0/default.jpg",
        "0%2C0%2C10%2C10/10%2C10/0/default.jpg"};

#define EACH(list) for (size_t i = 0; i < sizeof(list) / sizeof *(list); i++)
    EACH(good) taken(3, good[i]);
    EACH(bad_region)
    if (*bad_region[i])
        refused(3, apr_pstrcat(pool, bad_region[i], "/max/0/default.jpg", NULL), "region");
    EACH(bad_size)
    if (*bad_size[i])
        refused(3, apr_pstrcat(pool, "full/", bad_size[i], "/0/default.jpg", NULL), "size");
    EACH(bad_rotation)
    if (*bad_rotation[i])
        refused(3, apr_pstrcat(pool, "full/max/", bad_rotation[i], "/default.jpg", NULL), "rotation");
    EACH(bad_quality) refused(3, apr_pstrcat(pool, "full/max/0/", bad_quality[i], NULL), "quality");
    EACH(bad_format) refused(3, apr_pstrcat(pool, "full/max/0/", bad_format[i], NULL), "format");
}

static void test_grammar_versions(void **state)
{
    taken(2, "full/full/0/default.jpg"); /* R21, R27 */
    taken(2, "full/max/0/native.jpg");
    taken(2, "square/10,/!0/grey.jpg");
    refused(2, "full/^max/0/default.jpg", "size");
    refused(2, "full/^10,/0/default.jpg", "size");
    refused(2, "full/%5E10,/0/default.jpg", "size");
    refused(2, "full/full/0/default", "format");
    refused(3, "full/full/0/default.jpg", "size"); /* R22 */
    taken(1, "full/full/0/native.jpg");            /* R42 */
    taken(1, "full/10,/90/grey");
    taken(1, "pct:1,1,1,1/!10,10/0/bitonal.png");
    refused(1, "full/max/0/native.jpg", "size");
    refused(1, "square/full/0/native.jpg", "region");
    refused(1, "full/full/!0/native.jpg", "rotation");
    refused(1, "full/full/0/default.jpg", "quality");
    refused(1, "full/full/0/native.", "format");
}

static void test_values(void **state)
{
    fresh(3);
    assert_int_equal(parse("/a/pct:33.3333333333333333333,.5,1.,20/^pct:120.5/!22.50/gray.png"), IIP_OK);
    assert_int_equal(rq.region_kind, IIP_REGION_RATIO);
    assert_int_equal(rq.region[0].scale, 12);
    assert_true(rq.region[0].num == INT64_C(33333333333333));
    assert_int_equal(rq.region[1].num, 5);
    assert_int_equal(rq.region[1].scale, 1);
    assert_int_equal(rq.region[2].num, 1);
    assert_int_equal(rq.size_kind, IIP_SIZE_PERCENT);
    assert_int_equal(rq.grow, IIP_GROW_ASK);
    assert_true(rq.rotate == 22.5);
    assert_int_equal(rq.flip, 1);
    assert_int_equal(rq.format, IIP_FMT_PNG);
    assert_int_equal(rq.op_count, 1);
    assert_int_equal(rq.op[0].kind, IIP_OP_GRAY);
    assert_int_equal(parse("/a/pct:0.00000000000000001,0,0.00000000000000001,1/max/0/default.jpg"), IIP_OK);
    assert_int_equal(rq.region[2].num, 1); /* not nothing */
    assert_int_equal(parse("/a/full/max/0/color.jpg"), IIP_OK);
    assert_int_equal(rq.op_count, 0);

    fresh(1); /* R28: 1.1 without suffix */
    iip_input in = input("/a/full/full/0/native");
    static const struct {
        const char *accept;
        iip_format format;
    } rows[] = {{NULL, IIP_FMT_JPEG},
                {"*/*", IIP_FMT_JPEG},
                {"image/png", IIP_FMT_PNG},
                {"image/png;q=0.5,image/jpeg;q=0.4", IIP_FMT_PNG},
                {"image/*", IIP_FMT_JPEG},
                {"image/jpeg, image/png", IIP_FMT_JPEG},
                {"image/x-unknown", IIP_FMT_JPEG}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        in.accept = rows[i].accept;
        iip_request_init(&rq, &set);
        assert_int_equal(iiif()->parse(&in, &rq, &want, pool, &err), IIP_OK);
        assert_int_equal(rq.format, rows[i].format);
        assert_true(rq.negotiated);
    }
    assert_int_equal(parse("/a/full/full/0/native.png"), IIP_OK);
    assert_false(rq.negotiated);
}

/* ---- paths ---- */

typedef struct {
    const char *path;
    int status, want; /* status HTTP; want of interest unless it is -1 */
    const char *name;
} path_row;

static void check_paths(const path_row *rows, size_t n, int mapped)
{
    for (size_t i = 0; i < n; i++) {
        iip_input in = input(rows[i].path);
        iip_status rv;

        in.mapped = mapped;
        in.ident = mapped ? "a.tif" : NULL;
        iip_request_init(&rq, &set);
        rv = iiif()->parse(&in, &rq, &want, pool, &err);
        if (iip_status_http(rv) != rows[i].status || (rows[i].want >= 0 && (int)want != rows[i].want))
            fail_msg("%s: status %d, want %d", rows[i].path, iip_status_http(rv), want);
        if (rows[i].name)
            assert_string_equal(rq.name, rows[i].name);
        if (mapped)
            assert_null(rq.name);
        if (rows[i].want != IIP_WANT_BARE && rv != IIP_OK)
            assert_true(want != IIP_WANT_BARE);
    }
}

static void test_paths(void **state) /* R3 to R9 */
{
    static const path_row literal[] = {
        {"", 404, -1, NULL},
        {"/", 404, -1, NULL},
        {"/a.tif", 200, IIP_WANT_BARE, "a.tif"},
        {"/a.tif/", 200, IIP_WANT_MOVED, "a.tif"},
        {"/a.tif//", 200, IIP_WANT_MOVED, "a.tif"},
        {"/a/b.tif", 200, IIP_WANT_BARE, "a/b.tif"},
        {"/a/b.tif/", 200, IIP_WANT_MOVED, "a/b.tif"},
        {"/a%2Fb.tif", 200, IIP_WANT_BARE, "a/b.tif"},
        {"//a//b.tif", 200, IIP_WANT_BARE, "a/b.tif"},
        {"/a.tif/info.json", 200, IIP_WANT_INFO, "a.tif"},
        {"/a/b/c.tif/info.json", 200, IIP_WANT_INFO, "a/b/c.tif"},
        {"/a.tif//info.json", 200, IIP_WANT_INFO, "a.tif"},
        {"/a.tif/info%2Ejson", 200, IIP_WANT_INFO, "a.tif"},
        {"/a.tif/info.xml", 200, IIP_WANT_BARE, "a.tif/info.xml"}, /* 1.0 is not served: a name that is not there */
        {"/info.json", 200, IIP_WANT_BARE, "info.json"},
        {"/x/y/a.tif/full/max/0/default.jpg", 200, IIP_WANT_IMAGE, "x/y/a.tif"},
        {"/x%2Fy/a.tif/full/max/0/default.jpg", 200, IIP_WANT_IMAGE, "x/y/a.tif"},
        {"/a+b%20c/full/max/0/default.jpg", 200, IIP_WANT_IMAGE, "a+b c"},
        {"/a.tif/full/max/0/default.jpg/", 400, IIP_WANT_BARE, NULL},
        {"/a.tif/full/max/default.jpg", 400, IIP_WANT_BARE, "a.tif/full/max/default.jpg"}, /* too few */
        {"/full/max/0/default.jpg", 400, IIP_WANT_BARE, NULL},
        {"/a.tif/full/max/0/default.gif2", 400, IIP_WANT_BARE, "a.tif/full/max/0/default.gif2"},
        {"/a.tif/full/max/0/zzz.jpg", 400, IIP_WANT_BARE, "a.tif/full/max/0/zzz.jpg"},
        {"/a/b/c/d/e.tif", 200, IIP_WANT_BARE, "a/b/c/d/e.tif"}, /* five segments, no request */
        {"/default.jpg", 200, IIP_WANT_BARE, "default.jpg"},
        {"/../a/full/max/0/default.jpg", 404, -1, NULL},
        {"/%2E%2E%2Fa/full/max/0/default.jpg", 404, -1, NULL},
        {"/.htaccess", 404, -1, NULL},
        {"/.htaccess/info.json", 404, -1, NULL},
        {"/a%2F.git%2Fb/info.json", 404, -1, NULL},
        {"/%2Fetc%2Fpasswd/info.json", 404, -1, NULL},
        {"/a%00/info.json", 404, -1, NULL},
        {"/a%0A/info.json", 404, -1, NULL},
        {"/a%5Cb/info.json", 404, -1, NULL},
        {"/a%FF/info.json", 404, -1, NULL},
        {"/a%zz/info.json", 404, -1, NULL},
        {"/a%", 404, -1, NULL},
    };
    static const path_row plain[] = {
        {"/a.tif", 200, IIP_WANT_BARE, "a.tif"},
        {"/a.tif/", 200, IIP_WANT_MOVED, "a.tif"},
        {"/a/b.tif", 404, -1, NULL},
        {"/a%2Fb.tif", 200, IIP_WANT_BARE, "a/b.tif"},
        {"/a%2Fb.tif/info.json", 200, IIP_WANT_INFO, "a/b.tif"},
        {"/a/b.tif/info.json", 404, -1, NULL},
        {"/a/full/max/0/default.jpg", 200, IIP_WANT_IMAGE, "a"},
        {"/x/a/full/max/0/default.jpg", 404, -1, NULL},
        {"/a/full/max/0", 404, -1, NULL},
        {"/a/full/max/0/default.xyz", 400, IIP_WANT_IMAGE, NULL},
        {"/a/1/2/3/4", 400, IIP_WANT_IMAGE, NULL},
    };
    static const path_row mapped[] = {
        {"", 200, IIP_WANT_BARE, NULL},
        {"/", 200, IIP_WANT_MOVED, NULL},
        {"/info.json", 200, IIP_WANT_INFO, NULL},
        {"/full/max/0/default.jpg", 200, IIP_WANT_IMAGE, NULL},
        {"/full/max/0/default.xyz", 400, IIP_WANT_IMAGE, NULL},
        {"/x/full/max/0/default.jpg", 400, IIP_WANT_IMAGE, NULL},
        {"/max/0/default.jpg", 400, IIP_WANT_IMAGE, NULL},
        {"/nothing", 404, IIP_WANT_IMAGE, NULL},
        {"/x/info.json", 404, IIP_WANT_IMAGE, NULL},
    };

    fresh(3);
    check_paths(literal, sizeof literal / sizeof *literal, 0);
    check_paths(mapped, sizeof mapped / sizeof *mapped, 1);
    set.literal_slash = 0;
    check_paths(plain, sizeof plain / sizeof *plain, 0);
}

static void test_long_names(void **state)
{
    char *s = apr_pcalloc(pool, 4000);

    fresh(3);
    for (int n = 1; n < 400; n++) {
        strcat(s, "/a"); /* names of at most 32 segments */
        iip_status rv = parse(apr_pstrcat(pool, s, "/full/max/0/default.jpg", NULL));

        assert_int_equal(rv, n <= 32 ? IIP_OK : IIP_E_NOT_FOUND);
        rv = parse(s);
        assert_int_equal(rv, n <= 32 ? IIP_OK : IIP_E_NOT_FOUND);
    }
}

static void test_download(void **state) /* R5, R48 */
{
    static const struct {
        const char *query;
        int download;
    } rows[] = {{NULL, 0},
                {"", 0},
                {"t=123", 0},
                {"download", 1},
                {"download=1", 1},
                {"a=b&download", 1},
                {"a;download=x;b", 1},
                {"downloads", 0},
                {"nodownload", 0},
                {"a=download", 0},
                {"&&", 0},
                {"down", 0}};

    fresh(3);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        iip_input in = input("/a/full/max/0/default.jpg");

        in.query = rows[i].query;
        iip_request_init(&rq, &set);
        assert_int_equal(iiif()->parse(&in, &rq, &want, pool, &err), IIP_OK);
        assert_int_equal(rq.download, rows[i].download);
    }
}

static void test_tail(void **state) /* R12 */
{
    static const struct {
        const char *path, *tail;
    } rows[] = {{"/pics/b.tif/full/max/0/default.jpg", "/full/max/0/default.jpg"},
                {"/pics/b.tif/pct:1,1,1,1/%5Emax/!90/gray.png", "/pct:1,1,1,1/%5Emax/!90/gray.png"},
                {"/pics/b.tif//full//max/0/default.jpg", "//full//max/0/default.jpg"},
                {"/pics/b.tif/full/max/0/zzz.jpg", "/full/max/0/zzz.jpg"},
                {"/pics/b.tif/full/full/0/native", "/full/full/0/native"},
                {"/pics/b.tif/info.json", "/info.json"},
                {"/pics/b.tif//info%2Ejson", "//info%2Ejson"},
                {"/info.json", "/info.json"},
                {"/pics/b.tif/info.json/", ""},
                {"/pics/b.tif/full/max/0/default.jpg/", ""},
                {"/pics/b.tif", ""},
                {"/pics/x/y/z/b.tif", ""},
                {"/pics/max/0/default.jpg", "/pics/max/0/default.jpg"},
                {"/max/0/default.jpg", ""},
                {"/", ""},
                {"", ""},
                {"info.json", "info.json"}};

    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (iiif()->tail(rows[i].path) != strlen(rows[i].tail))
            fail_msg("%s: %zu", rows[i].path, iiif()->tail(rows[i].path));
}

static void test_page(void **state) /* R51 */
{
    static const struct {
        const char *name, *file; /* NULL: none */
        int page, a, b;
    } rows[] = {
        {"a.tif;1", "a.tif", 0, 0, 0},
        {"x/a.tif;37", "x/a.tif", 36, 0, 0},
        {"a;b.tif;2", "a;b.tif", 1, 0, 0},
        {"a;2;3", "a;2", 2, 0, 0},
        {"a.tif;999999999", "a.tif", 999999998, 0, 0},
        {"a.tif;2;1:2", "a.tif", 1, 1, 2},
        {"a.tif;2;64:64", "a.tif", 1, 64, 64},
        {"a.tif", NULL, 0, 0, 0},
        {"a.tif;", NULL, 0, 0, 0},
        {"a.tif;0", NULL, 0, 0, 0},
        {"a.tif;02", NULL, 0, 0, 0},
        {"a.tif;1000000000", NULL, 0, 0, 0},
        {"a.tif;-1", NULL, 0, 0, 0},
        {"a.tif;1x", NULL, 0, 0, 0},
        {"a.tif;1;2:1", NULL, 0, 0, 0},
        {"a.tif;1;1:65", NULL, 0, 0, 0},
        {"a.tif;1;0:1", NULL, 0, 0, 0},
        {"a.tif;1;1:", NULL, 0, 0, 0},
        {"a.tif;1:2", NULL, 0, 0, 0},
        {";1", NULL, 0, 0, 0},
        {"x/;1", NULL, 0, 0, 0},
        {";1;1:2", NULL, 0, 0, 0},
        {"a.tif$1", NULL, 0, 0, 0},
    };
    iip_input in;

    fresh(3);
    in = input("");
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const char *file;

        iip_request_init(&rq, &set);
        file = iiif()->page(&in, &rq, rows[i].name, pool);
        if (!file != !rows[i].file || (file && strcmp(file, rows[i].file) != 0))
            fail_msg("%s: %s", rows[i].name, file ? file : "none");
        assert_int_equal(rq.page, file ? rows[i].page : -1);
        assert_int_equal(rq.part.a, rows[i].a);
        assert_int_equal(rq.part.b, rows[i].b);
    }
    for (int d = 0; d < 4; d++) { /* ; $ ! none */
        set.delimiter = d;
        for (int n = 0; n < 3; n++)
            assert_int_equal(iiif()->page(&in, &rq, n == 0 ? "a;1" : n == 1 ? "a$1" : "a!1", pool) != NULL, n == d);
    }
}

static void test_redirect(void **state)
{
    iip_input in = input("/x%2Fa%20b.tif");

    fresh(3);
    iip_request_init(&rq, &set);
    assert_int_equal(iiif()->parse(&in, &rq, &want, pool, &err), IIP_OK);
    assert_string_equal(iiif()->redirect(&in, &rq, IIP_WANT_BARE, pool), BASE "/x%2Fa%20b.tif/info.json");
    assert_string_equal(iiif()->redirect(&in, &rq, IIP_WANT_MOVED, pool), BASE "/x%2Fa%20b.tif");
    in.mapped = 1;
    in.ident = "b c.tif";
    rq.name = NULL;
    assert_string_equal(iiif()->redirect(&in, &rq, IIP_WANT_BARE, pool), BASE "/b%20c.tif/info.json");
    in.id = "https://proxy.example/x/b";
    assert_string_equal(iiif()->redirect(&in, &rq, IIP_WANT_BARE, pool), "https://proxy.example/x/b/info.json");
}

static void test_link(void **state) /* R33 */
{
    iip_info info = image(B);
    iip_limits lim;
    iip_input in = input("");

    fresh(3);
    lim = limits();
    parse("/a/full/max/0/color.jpg");
    assert_int_equal(iip_request_resolve(&rq, &info, &lim, &err), IIP_OK);
    assert_string_equal(iiif()->link(&in, &rq, &info, &lim, pool),
                        "<" BASE "/a/full/max/0/default.jpg>;rel=\"canonical\", "
                        "<http://iiif.io/api/image/3/level2.json>;rel=\"profile\"");
    set.versions = 23;
    assert_string_equal(iiif()->link(&in, &rq, &info, &lim, pool),
                        "<" BASE "/a/full/full/0/default.jpg>;rel=\"canonical\", "
                        "<http://iiif.io/api/image/2/level2.json>;rel=\"profile\"");
    set.versions = 1;
    assert_string_equal(iiif()->link(&in, &rq, &info, &lim, pool),
                        "<http://library.stanford.edu/iiif/image-api/1.1/compliance.html#level2>;rel=\"profile\"");
    fresh(3); /* gray of a gray source is its default */
    info.space = IIP_GREY;
    info.bands = 1;
    parse("/a/full/max/0/gray.jpg");
    assert_int_equal(iip_request_resolve(&rq, &info, &lim, &err), IIP_OK);
    assert_string_equal(canonical(&info, &lim), "a/full/max/0/default.jpg");
    parse("/a/full/max/0/bitonal.jpg");
    assert_int_equal(iip_request_resolve(&rq, &info, &lim, &err), IIP_OK);
    assert_string_equal(canonical(&info, &lim), "a/full/max/0/bitonal.jpg");
}

static void test_complain(void **state) /* R47, security 5 */
{
    iip_input in = input("/secret/full/max/0/default.jpg");
    const char *type;

    iip_refuse(&err, IIP_E_SYNTAX, "rotation");
    assert_string_equal(iiif()->complain(&in, &err, &type, pool), "rotation: the request cannot be understood\n");
    assert_string_equal(type, "text/plain");
    iip_fail(&err, IIP_E_CORRUPT, 0, "/srv/pictures/secret.tif: broken");
    assert_string_equal(iiif()->complain(&in, &err, &type, pool), "the image is damaged\n");
    in.accept = "application/json";
    iip_refuse(&err, IIP_E_LIMIT, "size");
    assert_string_equal(iiif()->complain(&in, &err, &type, pool),
                        "{\"error\":\"size: larger than this server allows\"}");
    assert_string_equal(type, "application/json");
    in.accept = "text/html, application/json;q=0.9";
    iiif()->complain(&in, &err, &type, pool);
    assert_string_equal(type, "text/plain");
    in.accept = "*/*";
    iiif()->complain(&in, &err, &type, pool);
    assert_string_equal(type, "text/plain");
    in.accept = "application/json, text/plain, */*";
    iiif()->complain(&in, &err, &type, pool);
    assert_string_equal(type, "application/json");
    iip_refuse(&err, IIP_E_NOT_FOUND, "identifier"); /* one answer for all that is not there */
    in.accept = NULL;
    assert_string_equal(iiif()->complain(&in, &err, &type, pool), "no such image\n");
}

static void test_protocols(void **state)
{
    assert_non_null(iiif());
    assert_string_equal(iiif()->methods, "GET, HEAD, OPTIONS");
    assert_null(iip_protocol_find("nothing"));
    assert_null(iip_protocol_find(NULL));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_vectors),    cmocka_unit_test(test_vector_names),
                                       cmocka_unit_test(test_grammar),    cmocka_unit_test(test_grammar_versions),
                                       cmocka_unit_test(test_values),     cmocka_unit_test(test_paths),
                                       cmocka_unit_test(test_long_names), cmocka_unit_test(test_download),
                                       cmocka_unit_test(test_tail),       cmocka_unit_test(test_page),
                                       cmocka_unit_test(test_redirect),   cmocka_unit_test(test_link),
                                       cmocka_unit_test(test_complain),   cmocka_unit_test(test_protocols)};

    return run_group("iiif", tests, sizeof tests / sizeof *tests);
}
