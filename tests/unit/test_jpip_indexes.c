/* SPDX-License-Identifier: Apache-2.0
 * Kept packet indexes: in memory, in files that processes share, after a killed builder, damaged, old, and of a picture
 * that changes meanwhile. */
#include "jp2_plain.h"
#include "jpip/index.h"
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <apr_strings.h>

#define TOP     "indexes" /* in a folder of this process */
#define PICTURE TOP "/picture.j2k"
#define DAY     apr_time_from_sec(86400)

static bytes picture; /* large enough for a file, and without PLT */

static void fresh(void)
{
    FILE *f;

    assert_int_equal(system("rm -rf " TOP " && mkdir -p " TOP "/state"), 0);
    f = fopen(PICTURE, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(picture.p, 1, picture.n, f), picture.n);
    fclose(f);
}

static jpip_indexes *store(apr_pool_t *p)
{
    jpip_indexes *xs = jpip_indexes_create(TOP "/state", DAY, 64 << 20, p);

    assert_non_null(xs);
    return xs;
}

static void open_picture(iip_jp2_file *f, apr_pool_t *p)
{
    char path[4096];
    iip_source_t *s;
    iip_error e;

    assert_non_null(realpath(PICTURE, path));
    assert_int_equal(iip_source_file(&s, NULL, apr_pstrdup(p, path), p, &e), IIP_OK);
    assert_int_equal(iip_jp2_open(f, s, p, &e), IIP_OK);
}

static jpip_indexes_stats stats_of(jpip_indexes *xs)
{
    jpip_indexes_stats st;

    jpip_indexes_read_stats(xs, &st);
    return st;
}

/* Gets the index once; what the store did. */
static jpip_indexes_stats once(jpip_indexes *xs, apr_pool_t *p)
{
    const jpip_index *ix;
    iip_jp2_file f;
    iip_blob *hold;
    iip_error e;

    open_picture(&f, p);
    if (jpip_indexes_get(xs, &f, 0, &ix, &hold, &e) != IIP_OK)
        fail_msg("%s", e.detail);
    assert_int_equal(ix->x1 - ix->x0, 1400);
    assert_int_equal(ix->columns, 1);
    for (uint32_t k = 0; k < (uint32_t)ix->precincts; k++) {
        int all;
        const int there = jpip_index_layers(ix, k, &all);

        assert_int_equal(there, all);
    }
    iip_blob_release(hold);
    return stats_of(xs);
}

/* The same from a store of its own. */
static jpip_indexes_stats once_anew(apr_interval_time_t age, apr_pool_t *p)
{
    jpip_indexes *xs = jpip_indexes_create(TOP "/state", age, 64 << 20, p);
    const jpip_indexes_stats st = once(xs, p);

    jpip_indexes_clear(xs);
    return st;
}

/* Files below the state folder with that ending; path: the last one. */
static int files(const char *end, char *path)
{
    DIR *d = opendir(TOP "/state/jpip");
    struct dirent *entry;
    int n = 0;

    while (d && (entry = readdir(d)))
        if (strstr(entry->d_name, end)) {
            n++;
            if (path)
                sprintf(path, TOP "/state/jpip/%.100s", entry->d_name);
        }
    if (d)
        closedir(d);
    return n;
}

static void kept_in_memory_and_in_a_file(void **state)
{
    jpip_indexes_stats st;
    char path[300];
    struct stat info;
    apr_pool_t *p;
    jpip_indexes *xs, *ys;

    fresh();
    apr_pool_create(&p, pool);
    xs = store(p);
    st = once(xs, p);
    assert_true(st.built == 1 && st.saved == 1 && st.loaded == 0);
    st = once(xs, p);
    assert_true(st.built == 1 && st.memory.hits == 1);
    assert_int_equal(files(".jix", path), 1);
    assert_int_equal(files(".tmp", NULL), 0);
    assert_int_equal(stat(path, &info), 0);
    assert_int_equal(info.st_mode & 0777, 0600);
    ys = store(p); /* another child */
    st = once(ys, p);
    assert_true(st.built == 0 && st.loaded == 1);
    jpip_indexes_clear(xs);
    jpip_indexes_clear(ys);
    apr_pool_destroy(p);
}

static void without_a_folder(void **state)
{
    static const char *const dirs[] = {NULL, "/proc/nowhere", PICTURE};

    fresh();
    for (size_t i = 0; i < 3; i++) {
        apr_pool_t *p;
        jpip_indexes *xs;
        jpip_indexes_stats st;

        apr_pool_create(&p, pool);
        assert_non_null(xs = jpip_indexes_create(dirs[i], DAY, 64 << 20, p));
        st = once(xs, p);
        assert_true(st.built == 1 && st.saved == 0);
        jpip_indexes_clear(xs);
        apr_pool_destroy(p);
    }
}

/* Processes that want it at the same moment: one builds. */
static void many_at_once(void **state)
{
    int built = 0;

    fresh();
    for (int i = 0; i < 6; i++)
        if (fork() == 0) {
            apr_pool_t *p;

            apr_pool_create(&p, NULL);
            _exit((int)once_anew(DAY, p).built);
        }
    for (int i = 0, status; i < 6; i++) {
        assert_true(wait(&status) > 0 && WIFEXITED(status));
        built += WEXITSTATUS(status);
    }
    assert_int_equal(built, 1);
    assert_int_equal(files("", NULL) - 2, 1); /* beside . and .. */
}

static iip_status never(iip_source_t *s, void *buf, size_t n, int64_t off, iip_error *e)
{
    for (;;)
        pause();
    return IIP_OK;
}

/* A builder that is killed in its work leaves no lock, and its remains are no index. */
static void killed(void **state)
{
    char path[300];
    apr_pool_t *p;
    jpip_indexes *xs;
    jpip_indexes_stats st;
    FILE *f;
    pid_t child;

    fresh();
    apr_pool_create(&p, pool);
    if ((child = fork()) == 0) {
        const jpip_index *ix;
        iip_jp2_file file;
        iip_blob *hold;
        iip_error e;

        xs = store(p);
        open_picture(&file, p);
        file.s->read = never;
        jpip_indexes_get(xs, &file, 0, &ix, &hold, &e);
        _exit(0);
    }
    for (int i = 0; i < 500 && files(".tmp", path) == 0; i++)
        usleep(10000);
    assert_int_equal(files(".tmp", path), 1);
    usleep(50000);
    {
        const jpip_index *ix;
        iip_jp2_file file;
        iip_blob *hold;
        iip_error e;

        xs = store(p);
        open_picture(&file, p);
        assert_int_equal(jpip_indexes_get(xs, &file, apr_time_now() + 100000, &ix, &hold, &e), IIP_E_TIMEOUT);
    }
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
    f = fopen(path, "ab"); /* as if it had begun to write */
    fputs("half of an index", f);
    fclose(f);
    st = once(xs, p);
    assert_true(st.built == 1 && st.saved == 1);
    assert_true(files(".tmp", NULL) == 0 && files(".jix", NULL) == 1);
    jpip_indexes_clear(xs);
    apr_pool_destroy(p);
}

static void damaged(void **state)
{
    static const struct {
        int cut;
        long at;
    } rows[] = {{0, 0}, {0, 8}, {0, 12}, {0, 16}, {0, 40}, {0, 100}, {0, 300}, {0, 500}, {1, 0}, {1, 10}, {1, 600}};

    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char path[300];
        apr_pool_t *p;
        jpip_indexes_stats st;
        FILE *f;
        int was;

        if (i == 0)
            fresh();
        apr_pool_create(&p, pool);
        once_anew(DAY, p);
        assert_int_equal(files(".jix", path), 1);
        if (rows[i].cut) {
            assert_int_equal(truncate(path, rows[i].at), 0);
        } else {
            f = fopen(path, "r+b");
            fseek(f, rows[i].at, SEEK_SET);
            was = fgetc(f);
            fseek(f, rows[i].at, SEEK_SET);
            fputc(was ^ 0x10, f);
            fclose(f);
        }
        st = once_anew(DAY, p);
        assert_true(st.loaded == 0 && st.built == 1 && st.saved == 1);
        apr_pool_destroy(p);
    }
}

static void old(void **state)
{
    const struct timespec past[2] = {{.tv_sec = time(NULL) - 2 * 86400}, {.tv_sec = time(NULL) - 2 * 86400}};
    char path[300];
    apr_pool_t *p;

    fresh();
    apr_pool_create(&p, pool);
    once_anew(DAY, p);
    assert_int_equal(files(".jix", path), 1);
    utimensat(AT_FDCWD, path, past, 0);
    assert_int_equal(once_anew(0, p).loaded, 1); /* never removed; touched */
    store(p);
    assert_int_equal(files(".jix", NULL), 1);
    utimensat(AT_FDCWD, path, past, 0);
    store(p);
    assert_int_equal(files(".jix", NULL), 0);
    apr_pool_destroy(p);
}

static void replaced(void **state)
{
    const jpip_index *ix;
    iip_jp2_file f;
    iip_blob *hold;
    iip_error e;
    apr_pool_t *p;
    jpip_indexes *xs;
    FILE *file;

    fresh();
    apr_pool_create(&p, pool);
    open_picture(&f, p);
    file = fopen(PICTURE, "ab");
    fputc(0, file);
    fclose(file);
    assert_int_equal(jpip_indexes_get(xs = store(p), &f, 0, &ix, &hold, &e), IIP_E_CHANGED);
    jpip_indexes_clear(xs);
    assert_int_equal(files(".jix", NULL), 0);
    apr_pool_destroy(p);
}

/* Until it answers other than that it is busy; 30 s at most. */
static iip_status ask(jpip_indexes *xs, apr_pool_t *p, int *busy)
{
    const struct timespec pause = {0, 2000000};
    iip_status rv = IIP_E_BUSY;

    for (*busy = 0; rv == IIP_E_BUSY && *busy < 15000; ++*busy) {
        const jpip_index *ix;
        iip_jp2_file f;
        iip_blob *hold;
        iip_error e;
        apr_pool_t *own;

        assert_int_equal(apr_pool_create(&own, p), APR_SUCCESS);
        open_picture(&f, own);
        rv = jpip_indexes_get(xs, &f, 0, &ix, &hold, &e);
        if (rv == IIP_OK) {
            assert_int_equal(ix->x1 - ix->x0, 1400);
            iip_blob_release(hold);
        }
        apr_pool_destroy(own); /* with the source: the thread has its own */
        nanosleep(&pause, NULL);
    }
    --*busy;
    return rv;
}

/* Large files: nobody waits, a thread builds; its file serves afterwards, or what it has in memory. */
static void behind(void **state)
{
    jpip_indexes *xs;
    jpip_indexes_stats st;
    apr_pool_t *p;
    FILE *f;
    int busy;

    for (int folder = 1; folder >= 0; folder--) {
        fresh();
        assert_int_equal(apr_pool_create(&p, NULL), APR_SUCCESS);
        xs = jpip_indexes_create(folder ? TOP "/state" : NULL, DAY, 64 << 20, p);
        jpip_indexes_behind(xs, 1);
        assert_int_equal(ask(xs, p, &busy), IIP_OK);
        assert_true(busy > 0);
        st = stats_of(xs);
        assert_int_equal(st.built, 1);
        assert_int_equal(st.saved, folder);
        assert_int_equal(st.loaded, folder);
        assert_int_equal(ask(xs, p, &busy), IIP_OK);
        assert_int_equal(busy, 0);
        jpip_indexes_clear(xs);
        apr_pool_destroy(p);
    }
    /* What cannot be indexed is not tried for each request */
    assert_non_null(f = fopen(PICTURE, "r+b"));
    fseek(f, (long)picture.n / 10, SEEK_SET);
    for (size_t i = picture.n / 10; i < picture.n; i++)
        fputc(0xff, f);
    fclose(f);
    assert_int_equal(apr_pool_create(&p, NULL), APR_SUCCESS);
    xs = jpip_indexes_create(NULL, DAY, 64 << 20, p);
    jpip_indexes_behind(xs, 1);
    for (int i = 0; i < 3; i++) {
        const iip_status rv = ask(xs, p, &busy);

        assert_true(rv == IIP_E_CORRUPT || rv == IIP_E_FORMAT);
        assert_int_equal(stats_of(xs).failed, 1);
    }
    jpip_indexes_clear(xs);
    /* A child that ends while its thread works */
    jpip_indexes_behind(xs, 1);
    fresh();
    {
        const jpip_index *ix;
        iip_jp2_file file;
        iip_blob *hold;
        iip_error e;

        open_picture(&file, p);
        assert_int_equal(jpip_indexes_get(xs, &file, 0, &ix, &hold, &e), IIP_E_BUSY);
        jpip_indexes_clear(xs);
    }
    apr_pool_destroy(p);
}

int main(void)
{
    static const recipe k = {"large", 1400, 1200, .comps = 3, .mct = 1, .precinct = 256, .order = OPJ_RPCL};
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(kept_in_memory_and_in_a_file),
        cmocka_unit_test(without_a_folder),
        cmocka_unit_test(many_at_once),
        cmocka_unit_test(killed),
        cmocka_unit_test(damaged),
        cmocka_unit_test(old),
        cmocka_unit_test(replaced),
        cmocka_unit_test(behind),
    };
    char top[32];
    int failed;

    apr_initialize();
    apr_pool_create(&pool, NULL);
    tool_folder(top);
    assert_int_equal(chdir(top), 0);
    picture = stream_of(&k);
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    free(picture.p);
    assert_int_equal(chdir("../../.."), 0);
    tool_folder_gone(top);
    apr_terminate();
    return failed;
}
