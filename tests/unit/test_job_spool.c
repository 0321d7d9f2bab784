/* SPDX-License-Identifier: Apache-2.0
 * Steps of the spool that were cut off, and what two do at once (spec/imgserve.md section 7). */
#define PLACE "build/tmp/job_spool"
#include "job_setup.h"
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#ifdef IIP_HAVE_JOBS
#include "job/confine.h"

static int with_source(void **state)
{
    return set_up(state) != 0 || system("convert -size 40x40 xc:blue " PLACE "/in/a.png") != 0 ? -1 : 0;
}

static const char *text_of(const char *dst, const char *more)
{
    return apr_psprintf(pool,
                        "{\"operationType\": \"resize\", \"srcURL\": \"file:///a.png\", \"dstURL\": \"file:///%s\", "
                        "\"args\": {\"width\": 20, \"height\": 20}%s}",
                        dst, more);
}

static const char *take_text(const char *text, job_reply *kind)
{
    const job_desk desk = {.spool = spool, .place = &place, .base = "/jobs"};
    const char *detail;

    return job_accept(&desk, text, strlen(text), kind, &detail, pool);
}

static const char *id_of(const char *reply)
{
    return apr_pstrmemdup(pool, strstr(reply, "\"id\": \"") + 7, JOB_ID_LEN);
}

static const char *take(const char *dst, const char *more)
{
    job_reply kind;
    const char *reply = take_text(text_of(dst, more), &kind);

    assert_int_equal(kind, JOB_REPLY_TAKEN);
    return id_of(reply);
}

static void claim(const char *id, job_hold *h)
{
    job_folder where;
    job_entry e;

    assert_non_null(job_spool_find(spool, id, &where, &e, pool));
    assert_int_equal(job_spool_claim(spool, where, &e, h), 0);
}

/* Killed when the job was over, but before its callback was noted: it is noted all the same */
static void test_callback_kept(void **state)
{
    const char *id = take("b.png", ", \"placeholder\": false, \"callback\": \"http://127.0.0.1:9/x\"");
    job_record r;
    job_hold h;

    claim(id, &h);
    assert_int_equal(job_record_read(&r, job_spool_read(h.fd, pool), pool), 0);
    r.state = "done";
    assert_int_equal(job_spool_write(spool, id, job_record_text(&r, pool), strlen(job_record_text(&r, pool))), 0);
    assert_int_equal(
        rename(apr_pstrcat(pool, PLACE "/spool/tmp/", id, NULL), apr_pstrcat(pool, PLACE "/spool/done/", id, NULL)), 0);
    job_spool_let_go(&h);
    fflush(NULL);
    job_run(&runner, 1, pool);
    assert_int_equal(in_folder("run"), 0);
    assert_int_equal(in_folder("done"), 1);
    assert_int_equal(in_folder("call"), 1); /* its address is refused: it waits for another try */
    assert_int_equal(system("rm -f " PLACE "/spool/done/* " PLACE "/spool/call/*"), 0);
}

/* A job that waits can be cancelled while another one for its destination is at work */
static void test_cancel(void **state)
{
    const char *first = take("c.png", ", \"placeholder\": false"), *second;
    job_folder where;
    job_entry e;
    job_hold h;

    apr_sleep(2000);
    second = take("c.png", ", \"placeholder\": false");
    claim(first, &h);
    assert_int_equal(job_spool_cancel(spool, second, job_record_cancelled, pool), 0);
    assert_non_null(job_spool_find(spool, second, &where, &e, pool));
    assert_int_equal(where, JOB_IN_DONE);
    assert_int_equal(job_spool_cancel(spool, first, job_record_cancelled, pool), -1); /* it runs */
    assert_int_equal(in_folder("queue"), 0);
    assert_int_equal(in_folder("run"), 1);
    assert_int_equal(job_spool_again(spool, &h, job_now(), 0, NULL), 0);
    assert_int_equal(job_spool_cancel(spool, first, job_record_cancelled, pool), 0);
    assert_int_equal(system("rm -f " PLACE "/spool/done/*"), 0);
}

/* Back from dead/: nothing stays there, and no end is told before it comes */
static void test_retry(void **state)
{
    const char *id = take("d.png", ", \"placeholder\": false"), *text;
    job_folder where;
    job_record r;
    job_entry e;
    job_hold h;
    uint64_t hash;

    claim(id, &h);
    hash = h.entry.dest;
    assert_int_equal(job_record_read(&r, job_spool_read(h.fd, pool), pool), 0);
    r.state = "failed";
    r.ended = 5;
    assert_int_equal(job_spool_finish(spool, &h, JOB_IN_DEAD, job_record_text(&r, pool), 0), 0);
    assert_int_equal(job_spool_retry(spool, id, job_record_again, pool), 0);
    assert_int_equal(in_folder("dead"), 0);
    assert_int_equal(in_folder("queue"), 1);
    assert_int_equal(in_folder("tmp"), 0);
    text = job_spool_find(spool, id, &where, &e, pool);
    assert_int_equal(job_record_read(&r, text, pool), 0);
    assert_int_equal(e.dest, hash);
    text = job_record_state(&r, where, &e, pool);
    assert_non_null(strstr(text, "\"state\":\"queued\""));
    assert_non_null(strstr(text, "\"ended\":null"));
    fflush(NULL);
    job_run(&runner, 1, pool);
    assert_int_equal(access(PLACE "/out/d.png", F_OK), 0);
    assert_int_equal(system("rm -f " PLACE "/spool/done/*"), 0);
}

/* One key, twice in a batch: one job, told twice, at once */
static void test_key_in_batch(void **state)
{
    const apr_time_t t = apr_time_now();
    const char *one = text_of("e.png", ", \"key\": \"k 1\""), *reply, *first;
    job_reply kind;

    reply = take_text(apr_psprintf(pool, "{\"jobs\": [%s, %s]}", one, one), &kind);
    first = id_of(reply);
    assert_string_equal(id_of(strstr(reply, first) + JOB_ID_LEN), first);
    assert_int_equal(in_folder("queue"), 1);
    assert_int_equal(in_folder("tmp"), 0);
    assert_true(apr_time_now() - t < apr_time_from_msec(900));
    assert_string_equal(id_of(take_text(one, &kind)), first);
    assert_int_equal(system("rm -f " PLACE "/spool/queue/*"), 0);
    /* its job is gone without a trace: as if whoever claimed it was killed */
    assert_string_not_equal(id_of(take_text(one, &kind)), first);
    assert_int_equal(in_folder("queue"), 1);
    assert_int_equal(system("rm -f " PLACE "/spool/queue/*"), 0);
}

/* Who has a key may be slow: the other one waits for what comes of it */
static void test_key_waits(void **state)
{
    job_reply kind;
    int held;
    const apr_time_t t = apr_time_now();

    assert_int_equal(job_key_claim(spool, "slow", "{\"id\": \"x\"}", &held), 1);
    fflush(NULL);
    if (fork() == 0) {
        apr_sleep(1500000);
        _exit(0); /* killed at work: the lock goes with the last of its holders */
    }
    close(held);
    take_text(text_of("f.png", ", \"key\": \"slow\""), &kind);
    assert_int_equal(kind, JOB_REPLY_TAKEN);
    assert_true(apr_time_now() - t > apr_time_from_msec(1400));
    wait(NULL);
    assert_int_equal(in_folder("queue"), 1);
    assert_int_equal(system("rm -f " PLACE "/spool/queue/*"), 0);
}

/* Four at once with one key, again and again: one job each time */
static void test_key_race(void **state)
{
    job_reply kind;

    fflush(NULL);
    for (int who = 0; who < 4; who++)
        if (fork() == 0) {
            int bad = 0;

            for (int i = 0; i < 10; i++) {
                take_text(text_of("g.png", apr_psprintf(pool, ", \"key\": \"race %d\"", i)), &kind);
                bad |= kind != JOB_REPLY_TAKEN;
            }
            _exit(bad);
        }
    for (int i = 0; i < 4; i++) {
        int status;

        assert_true(wait(&status) > 0);
        assert_int_equal(status, 0);
    }
    assert_int_equal(in_folder("queue"), 10);
    assert_int_equal(in_folder("tmp"), 0);
    assert_int_equal(system("rm -f " PLACE "/spool/queue/*"), 0);
}

/* What nobody could read again is not taken */
static void test_too_long(void **state)
{
    char id[JOB_ID_LEN + 1], *text = apr_pcalloc(pool, 1 << 20);

    memset(text, ' ', (1 << 20) - 1);
    assert_int_equal(job_id_make(id), 0);
    assert_int_equal(job_spool_write(spool, id, text, (1 << 20) - 1), -1);
    assert_int_equal(in_folder("tmp"), 0);
}

/* What the process of a picture may not do; reading it may */
static void test_confined(void **state)
{
    int status;

    fflush(NULL);
    if (fork() == 0) {
        const int parent = getppid(), out = open(PLACE "/own", O_RDWR | O_CREAT, 0600);
        int bad = 0, fd;

        if (job_confine(10, 0, 1 << 20, parent) != 0)
            _exit(99);
        job_no_network();
        bad |= (socket(AF_INET, SOCK_STREAM, 0) >= 0) << 0;
        bad |= (kill(parent, 0) == 0 || syscall(SYS_tgkill, parent, parent, 0) == 0) << 1;
        bad |= (open(PLACE "/own", O_WRONLY) >= 0 || open(PLACE "/own", O_RDONLY | O_TRUNC) >= 0) << 2;
        bad |= (open(PLACE "/new", O_RDWR | O_CREAT, 0600) >= 0 || creat(PLACE "/new", 0600) >= 0) << 3;
        bad |= (unlink(PLACE "/in/a.png") == 0 || rename(PLACE "/own", PLACE "/x") == 0) << 4;
        bad |= (mkdir(PLACE "/y", 0700) == 0 || symlink("a", PLACE "/z") == 0 || chmod(PLACE "/own", 0) == 0) << 5;
        bad |= (execl("/bin/true", "true", NULL) == 0) << 6;
        fd = open(PLACE "/in/a.png", O_RDONLY | O_CLOEXEC);
        bad |= (fd < 0 || fd > 63 || write(out, "x", 1) != 1) << 7;
        _exit(bad);
    }
    assert_true(wait(&status) > 0);
    assert_int_equal(status, 0);
}

#ifndef IIP_ASAN
static void set_limit(size_t more)
{
    struct rlimit l;
    long pages = 0;
    FILE *f = fopen("/proc/self/statm", "r");

    if (fscanf(f, "%ld", &pages) != 1)
        _exit(3);
    fclose(f);
    l.rlim_cur = l.rlim_max = (rlim_t)pages * 4096 + more;
    setrlimit(RLIMIT_AS, &l);
}

/* A placeholder as large as one may be takes no memory to speak of; small ones are made once */
static void test_placeholders(void **state)
{
    job_t j = {.format = IIP_FMT_PNG, .quality = -1, .background = -1};
    struct stat a, b;
    int64_t size, again;
    job_error e = {0};
    int fd, other;

    place.placeholder_text = "Image being processed";
    fflush(NULL);
    if (fork() == 0) {
        set_limit(32 << 20);
        _exit(job_keep_placeholder(&j, &place, 16384, 6000, place.placeholder_text, &fd, &size, pool, &e) != JOB_OK ||
              size < 1000);
    }
    assert_true(wait(&fd) > 0);
    assert_int_equal(fd, 0);
    assert_int_equal(job_keep_placeholder(&j, &place, 100, 50, "one", &fd, &size, pool, &e), JOB_OK);
    assert_int_equal(job_keep_placeholder(&j, &place, 100, 50, "one", &other, &again, pool, &e), JOB_OK);
    assert_true(fd != other && size == again && fstat(fd, &a) == 0 && fstat(other, &b) == 0);
    assert_true(a.st_ino == b.st_ino && a.st_size == size);
    close(other);
    assert_int_equal(job_keep_placeholder(&j, &place, 100, 50, "two", &other, &again, pool, &e), JOB_OK);
    assert_true(fstat(other, &b) == 0 && a.st_ino != b.st_ino);
    close(other);
    close(fd);
    for (int i = 0; i < 40; i++) { /* more than are kept, and the descriptors stay few */
        assert_int_equal(job_keep_placeholder(&j, &place, 100 + i, 50, "x", &fd, &size, pool, &e), JOB_OK);
        close(fd);
    }
    assert_in_range(dup(0), 3, 60);
    place.placeholder_text = NULL;
}
#else
static void test_placeholders(void **state)
{
}
#endif

/* Folders are swept by age: done/ and keys/ together, dead/ later, tmp/ after an hour, nothing of what is to be done.
 */
static void test_sweep(void **state)
{
    static const struct {
        const char *folder;
        int minutes;
        int stays;
    } files[] = {{"tmp", 59, 1},  {"tmp", 61, 0},  {"done", 9, 1},   {"done", 11, 0}, {"keys", 9, 1}, {"keys", 11, 0},
                 {"dead", 11, 1}, {"dead", 99, 0}, {"queue", 99, 1}, {"run", 99, 1},  {"call", 99, 1}};

    for (size_t i = 0; i < sizeof files / sizeof *files; i++)
        assert_int_equal(system(apr_psprintf(pool, "touch -d '-%d min' " PLACE "/spool/%s/swept%d", files[i].minutes,
                                             files[i].folder, (int)i)),
                         0);
    job_spool_sweep(spool, 10 * 60000, 20 * 60000);
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        const char *name = apr_psprintf(pool, PLACE "/spool/%s/swept%d", files[i].folder, (int)i);

        assert_int_equal(access(name, F_OK) == 0, files[i].stays);
        unlink(name);
    }
}

/* What an httpd child does with a stranger's file: its head is looked at, within 96 MiB and little time, whatever is in
 * it. The fuzz targets' files, and each of them damaged in many ways. */
static void look_at_all(const char *folder)
{
    DIR *d = opendir(folder);
    const job_t j = {.width = 20, .height = 20, .orient = 1};
    struct dirent *one;

    while (d && (one = readdir(d)) != NULL) {
        FILE *f = one->d_name[0] == '.' ? NULL : fopen(apr_psprintf(pool, "%s/%s", folder, one->d_name), "rb");
        unsigned char *was = malloc(1 << 18), *now = malloc(1 << 18);
        const size_t n = f ? fread(was, 1, 1 << 18, f) : 0;

        for (int i = 0; n && i < 60; i++) {
            job_head head;
            job_error e;
            apr_pool_t *p;
            int more;

            memcpy(now, was, n);
            for (int k = 0; k < i; k++) /* most of them near the front */
                now[(size_t)rand() % (i & 1 ? n : n < 200 ? n : 200)] = (unsigned char)(i % 3 ? rand() : 255);
            apr_pool_create(&p, pool);
            job_look(&j, &place, iip_source_memory(now, i & 2 ? n : n / 2, "source", p), i & 1, &head, &more, p, &e);
            apr_pool_destroy(p);
        }
        free(was);
        free(now);
        if (f)
            fclose(f);
    }
    if (d)
        closedir(d);
}

static void test_heads(void **state)
{
    static const char *const kinds[] = {"avif", "gif", "jp2", "jpeg", "png", "tiff", "webp"};
    int status = 0;
    pid_t child = fork();

    if (child == 0) {
        long pages = 0;
        FILE *f = fopen("/proc/self/statm", "r");

        if (!f || fscanf(f, "%ld", &pages) != 1)
            _exit(2);
#ifndef IIP_ASAN
        setrlimit(RLIMIT_AS, &(struct rlimit){(rlim_t)pages * 4096 + (96 << 20), RLIM_INFINITY});
#endif
        setrlimit(RLIMIT_CPU, &(struct rlimit){60, 60});
        srand(3);
        for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
            look_at_all(apr_pstrcat(pool, "tests/fuzz/corpus/", kinds[i], NULL));
        _exit(0);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_callback_kept), cmocka_unit_test(test_cancel),       cmocka_unit_test(test_retry),
        cmocka_unit_test(test_key_in_batch),  cmocka_unit_test(test_key_waits),    cmocka_unit_test(test_key_race),
        cmocka_unit_test(test_too_long),      cmocka_unit_test(test_placeholders), cmocka_unit_test(test_confined),
        cmocka_unit_test(test_heads),         cmocka_unit_test(test_sweep),
    };

    return cmocka_run_group_tests_name("job_spool", tests, with_source, tear_down);
}
#else
int main(void)
{
    return 0;
}
#endif
