/* SPDX-License-Identifier: Apache-2.0
 * The spool and its runner, with sources and destinations in folders (spec/imgserve.md sections 3 and 7). */
#define PLACE "build/tmp/job"
#include "job_setup.h"

#ifdef IIP_HAVE_JOBS

/* A binary PPM whose red is x, green is y, as a PNG or JPEG by ImageMagick */
static void make_source(const char *name, int w, int h)
{
    FILE *f = fopen(PLACE "/in/tmp.ppm", "wb");

    fprintf(f, "P6 %d %d 255\n", w, h);
    for (int y = 0; y < h; y++)
        for (int x = 0; x < w; x++) {
            fputc(x * 255 / (w - 1), f);
            fputc(y * 255 / (h - 1), f);
            fputc(128, f);
        }
    fclose(f);
    assert_int_equal(system(apr_psprintf(pool, "convert " PLACE "/in/tmp.ppm -quality 98 " PLACE "/in/%s", name)), 0);
}

static const char *accept_job(const char *args, const char *src, const char *dst, job_reply *kind)
{
    const job_desk desk = {.spool = spool, .place = &place, .base = "/jobs"};
    const char *text = apr_psprintf(pool,
                                    "{\"operationType\": \"%s\", \"srcURL\": \"file:///%s\", \"dstURL\": "
                                    "\"file:///%s\", \"args\": {%s}}",
                                    strstr(src, ".svg") ? "rasterize" : "resize", src, dst, args);
    const char *detail;

    return job_accept(&desk, text, strlen(text), kind, &detail, pool);
}

static void run(void)
{
    fflush(NULL);
    job_run(&runner, 1, pool);
}

/* Reads a result through ImageMagick: w, h, and its pixels as RGB */
static unsigned char *result(const char *name, int *w, int *h)
{
    FILE *f =
        popen(apr_psprintf(pool, "convert " PLACE "/out/%s -background white -alpha remove -depth 8 ppm:-", name), "r");
    unsigned char *px;

    assert_int_equal(fscanf(f, "P6 %d %d 255", w, h), 2);
    fgetc(f);
    px = apr_palloc(pool, (size_t)(*w * *h * 3));
    assert_int_equal(fread(px, 1, (size_t)(*w * *h * 3), f), (size_t)(*w * *h * 3));
    pclose(f);
    return px;
}

/* The old rule: what is too high loses a third at its top, what is too wide half at its left */
static void test_crop(void **state)
{
    job_reply kind;
    unsigned char *px;
    int w, h;
    const char *reply;

    make_source("a.png", 600, 500);
    reply = accept_job("\"width\": 200, \"height\": 120", "a.png", "sub/{$width}-{$basename}.{$ext}", &kind);
    assert_int_equal(kind, JOB_REPLY_TAKEN);
    assert_non_null(strstr(reply, "{\"dstURL\": \"file:///sub/200-a.png\", \"id\": \""));
    px = result("sub/200-a.png", &w, &h); /* the placeholder was there before the reply */
    assert_int_equal(w, 200);
    assert_int_equal(h, 120);
    assert_int_equal(px[0], 255);
    run();
    px = result("sub/200-a.png", &w, &h);
    assert_int_equal(w, 200);
    assert_int_equal(h, 120);
    /* 600 x 500 becomes 200 x 167; 47 rows too many, 15 of them go off the top */
    for (int y = 0; y < h; y++)
        for (int x = 0; x < w; x++) {
            double r = (x + 0.5) * 3 - 0.5, g = (y + 0.5 + 15) * 500 / 167. - 0.5;

            assert_in_range(px[3 * (y * w + x)] + 3, (int)(r * 255 / 599), (int)(r * 255 / 599) + 6);
            assert_in_range(px[3 * (y * w + x) + 1] + 3, (int)(g * 255 / 499), (int)(g * 255 / 499) + 6);
        }
    assert_int_equal(in_folder("queue"), 0);
    assert_int_equal(in_folder("run"), 0);
    assert_int_equal(in_folder("tmp"), 0);
    assert_int_equal(in_folder("done"), 1);
}

static void test_fits(void **state)
{
    static const struct {
        const char *args, *name;
        int w, h;
    } cases[] = {
        {"\"width\": 100, \"height\": 100, \"fit\": \"fit\"", "fit.png", 100, 83},
        {"\"width\": 100, \"height\": 100, \"fit\": \"pad\", \"background\": \"ff0000\"", "pad.png", 100, 100},
        {"\"width\": 100, \"height\": 100, \"fit\": \"pad\", \"sharpen\": 2", "padsharp.png", 100, 100},
        {"\"width\": 100, \"height\": 50, \"fit\": \"stretch\"", "stretch.jpg", 100, 50},
        {"\"width\": 50, \"height\": 100, \"gravity\": \"se\", \"rotate\": 90", "turn.webp", 50, 100},
        {"\"width\": 1200, \"height\": 1000, \"enlarge\": true", "large.png", 1200, 1000},
        {"\"width\": 100, \"height\": 20, \"gravity\": \"entropy\", \"sharpen\": 3", "sharp.tiff", 100, 20},
        {"\"width\": 100, \"height\": 20, \"gravity\": \"0.5,1\"", "low.gif", 100, 20},
    };
    job_reply kind;
    int w, h;

    make_source("b.jpg", 600, 500);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        accept_job(cases[i].args, "b.jpg", cases[i].name, &kind);
        assert_int_equal(kind, JOB_REPLY_TAKEN);
        result(cases[i].name, &w, &h);
        assert_int_equal(w, cases[i].w);
        assert_int_equal(h, cases[i].h);
    }
    run();
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        unsigned char *px = result(cases[i].name, &w, &h);

        assert_int_equal(w, cases[i].w);
        assert_int_equal(h, cases[i].h);
        assert_in_range(px[(h / 2 * w + w / 2) * 3 + 2], 118, 138); /* the blue of the source: no placeholder */
        /* 100 x 83 in 100 x 100: rows 9 to 91, red or white around them */
        for (int y = 0; strncmp(cases[i].name, "pad", 3) == 0 && y < h; y += y < 8 || y >= 92 ? 1 : 84)
            for (int x = 0; x < w; x++) {
                const int white = cases[i].name[3] == 's',
                          edge = y == 8 || y == 92; /* sharpening sees what is beside */

                if (y != 92 || !white)
                    assert_in_range(px[(y * w + x) * 3 + 1], white && !edge ? 255 : white ? 200 : 0, white ? 255 : 0);
            }
    }
}

static void test_refusals(void **state)
{
    job_reply kind;
    const char *reply;

    make_source("c.png", 100, 100);
    reply = accept_job("\"width\": 101, \"height\": 10", "c.png", "c1.png", &kind);
    assert_non_null(strstr(reply, "\"code\": 203"));
    reply = accept_job("\"width\": 10, \"height\": 10", "none.png", "c2.png", &kind);
    assert_non_null(strstr(reply, "\"code\": 201"));
    assert_int_equal(system("echo hello > " PLACE "/in/text.png && ln -sf /etc/passwd " PLACE "/in/link.png"), 0);
    reply = accept_job("\"width\": 10, \"height\": 10", "text.png", "c3.png", &kind);
    assert_non_null(strstr(reply, "\"code\": 202"));
    reply = accept_job("\"width\": 10, \"height\": 10", "link.png", "c3.png", &kind);
    assert_non_null(strstr(reply, "\"code\": 201"));
    assert_int_equal(system("echo '<svg><g></svg>' > " PLACE "/in/bad.svg"), 0);
    reply = accept_job("\"width\": 10, \"height\": 10", "bad.svg", "c4.png", &kind);
    assert_non_null(strstr(reply, "\"code\": 204"));
    assert_int_equal(access(PLACE "/out/c1.png", F_OK), -1);
}

static void test_svg(void **state)
{
    FILE *f = fopen(PLACE "/in/d.svg", "w");
    job_reply kind;
    unsigned char *px;
    int w, h;

    fprintf(f, "<svg xmlns='http://www.w3.org/2000/svg' width='40mm' height='20mm' viewBox='0 0 40 20'>"
               "<rect x='0' y='0' width='20' height='20' fill='#ff0000'/>"
               "<image href='file:///etc/passwd' width='9' height='9'/></svg>");
    fclose(f);
    assert_int_equal(system("gzip -c " PLACE "/in/d.svg > " PLACE "/in/e.svgz"), 0);
    accept_job("\"width\": 100, \"height\": 100", "d.svg", "d.png", &kind);
    assert_int_equal(kind, JOB_REPLY_TAKEN);
    accept_job("\"width\": 100, \"height\": 100, \"fit\": \"fit\"", "e.svgz", "e.jpg", &kind);
    assert_int_equal(kind, JOB_REPLY_TAKEN);
    run();
    px = result("d.png", &w, &h);
    assert_int_equal(px[(50 * w + 25) * 3], 255);
    assert_int_equal(px[(50 * w + 25) * 3 + 1], 0);
    assert_int_equal(px[(50 * w + 75) * 3 + 1], 255); /* clear ground, over white */
    px = result("e.jpg", &w, &h);
    assert_int_equal(w, 100);
    assert_int_equal(h, 50);
    assert_in_range(px[(25 * w + 25) * 3], 245, 255);
    assert_in_range(px[(25 * w + 75) * 3 + 1], 245, 255);
}

/* A damaged picture with a good head: given up at last, and shown to have failed */
static void test_poison(void **state)
{
    job_reply kind;
    unsigned char *px;
    int w, h, dead = in_folder("dead"), dark = 0;

    make_source("p.png", 400, 400);
    assert_int_equal(system("dd if=/dev/zero of=" PLACE "/in/p.png bs=1 seek=200 count=2000 conv=notrunc 2>/dev/null"),
                     0);
    place.placeholder_text = "";
    accept_job("\"width\": 200, \"height\": 200", "p.png", "p-out.png", &kind);
    place.placeholder_text = "Image being processed";
    assert_int_equal(kind, JOB_REPLY_TAKEN);
    run();
    assert_int_equal(in_folder("dead"), dead + 1);
    px = result("p-out.png", &w, &h);
    for (int i = 0; i < w * h; i++)
        dark += px[3 * i] < 128;
    assert_in_range(dark, 100, 20000); /* the text */
}

/* A source whose decoding process dies is tried IIPJobRetries times more, then given up; its runner goes on. */
static void test_crash(void **state)
{
#ifndef IIP_ASAN /* without a limit of memory nothing dies of it */
    static const int ends[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGSYS};
    const size_t memory = runner.memory;
    const int dead = in_folder("dead");
    job_reply kind;

    assert_int_equal(
        system("echo \"<svg xmlns='http://www.w3.org/2000/svg' width='20' height='20'/>\" >" PLACE "/in/x.svg"), 0);
    place.retries = 2;
    accept_job("\"width\": 20, \"height\": 20", "x.svg", "x.png", &kind);
    assert_int_equal(kind, JOB_REPLY_TAKEN);
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++)
        signal(ends[i], SIG_DFL); /* cmocka would go on with the tests in the process that dies */
    runner.memory = 1 << 20;      /* librsvg ends its process when there is none */
    for (int attempt = 1; attempt <= 3; attempt++) {
        assert_int_equal(in_folder("queue"), 1);
        assert_int_equal(in_folder("dead"), dead);
        run();
        /* the next attempt is due in some seconds: it is due now */
        assert_int_equal(
            system("cd " PLACE "/spool/queue && for f in *; do [ ! -f $f ] || mv $f 0000000000001-${f#*-}; done"), 0);
    }
    runner.memory = memory;
    place.retries = 5;
    assert_int_equal(in_folder("queue") + in_folder("run"), 0);
    assert_int_equal(in_folder("dead"), dead + 1);
    assert_int_equal(system("grep -q '\"attempts\":3' " PLACE "/spool/dead/*"), 0);
#endif
}

/* Twenty jobs for one destination: the last one wins */
static void test_order(void **state)
{
    job_reply kind;
    int w, h;

    make_source("o.png", 300, 300);
    for (int i = 1; i <= 20; i++) {
        accept_job(apr_psprintf(pool, "\"width\": %d, \"height\": %d", 10 * i, 10 * i), "o.png", "o-out.png", &kind);
        assert_int_equal(kind, JOB_REPLY_TAKEN);
        apr_sleep(2000); /* ids are ordered by the millisecond */
    }
    run();
    result("o-out.png", &w, &h);
    assert_int_equal(w, 200);
    assert_int_equal(in_folder("queue"), 0);
}

/* Runners killed at any moment, with all they have begun: nothing is lost, nothing left */
static void test_killed(void **state)
{
    enum { JOBS = 30 };
    job_reply kind;
    pid_t runners[2] = {0};
    int done = in_folder("done"), w, h, rounds = 0;

    make_source("k.jpg", 800, 800);
    place.retries = 1000;
    for (int i = 0; i < JOBS; i++) {
        accept_job("\"width\": 100, \"height\": 100", "k.jpg", apr_psprintf(pool, "k%d.jpg", i), &kind);
        assert_int_equal(kind, JOB_REPLY_TAKEN);
    }
    fflush(NULL);
    srandom(7);
    while (in_folder("done") < done + JOBS && rounds++ < 400) {
        for (int i = 0; i < 2; i++)
            if (!runners[i] && (runners[i] = fork()) == 0) {
                setpgid(0, 0);
                job_run(&runner, 0, pool);
                _exit(0);
            }
        apr_sleep(20000 + random() % 80000);
        if (rounds < 25) {
            int i = random() % 2;

            kill(runners[i], random() % 3 ? SIGKILL : SIGTERM);
            waitpid(runners[i], NULL, 0);
            runners[i] = 0;
        }
    }
    for (int i = 0; i < 2; i++)
        if (runners[i]) {
            kill(runners[i], SIGTERM);
            waitpid(runners[i], NULL, 0);
        }
    place.retries = 5;
    assert_int_equal(in_folder("done"), done + JOBS);
    assert_int_equal(in_folder("queue"), 0);
    assert_int_equal(in_folder("run"), 0);
    for (int i = 0; i < JOBS; i++) {
        unsigned char *px = result(apr_psprintf(pool, "k%d.jpg", i), &w, &h);

        assert_in_range(px[(50 * w + 50) * 3 + 2], 118, 138);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_crop),   cmocka_unit_test(test_fits),  cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_svg),    cmocka_unit_test(test_order), cmocka_unit_test(test_poison),
        cmocka_unit_test(test_killed), cmocka_unit_test(test_crash),
    };

    return cmocka_run_group_tests_name("job_run", tests, set_up, tear_down);
}
#else
int main(void)
{
    return 0;
}
#endif
