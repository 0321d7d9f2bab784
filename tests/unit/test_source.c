/* SPDX-License-Identifier: Apache-2.0
 * Sources: what is found beneath a root, what is refused, and files that change meanwhile. The way without openat2 is
 * met by taking that call away from a child process (seccomp), so the code needs no switch for it.
 * Longer than 600 lines because one tree of files and links serves all of it. */
#include "source/source.h"
#include <apr_general.h>
#include <apr_strings.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#define SECRET "the secret"
#define NOBODY 65534

static apr_pool_t *pool;
static char top[64]; /* holds root/ and, beside it, secret.txt and outside/ */
static iip_root root, loose;

/* In a child process cmocka cannot be used: a check returns the line it stands in. */
#define CHECK(x)                                                                                                       \
    do {                                                                                                               \
        if (!(x))                                                                                                      \
            return __LINE__;                                                                                           \
    } while (0)

/* --- the tree ---------------------------------------------------------------------------------------------------- */

static const char *at(const char *rel)
{
    return apr_pstrcat(pool, top, "/", rel, NULL);
}

static void put(const char *rel, const char *text)
{
    FILE *f = fopen(at(rel), "wb");

    assert_non_null(f);
    assert_int_equal(fwrite(text, 1, strlen(text), f), strlen(text));
    assert_int_equal(fclose(f), 0);
}

static void set_link(const char *target, const char *rel)
{
    unlink(at(rel));
    assert_int_equal(symlink(target, at(rel)), 0);
}

static int setup(void **state)
{
    char cwd[3000];
    struct sockaddr_un sun = {.sun_family = AF_UNIX};
    int s;
    iip_error e;

    apr_initialize();
    apr_pool_create(&pool, NULL);
    mkdir("build", 0755);
    mkdir("build/tmp", 0755);
    strcpy(top, "build/tmp/sourceXXXXXX");
    assert_non_null(mkdtemp(top));
    assert_int_equal(chmod(top, 0755), 0);
    assert_non_null(getcwd(cwd, sizeof cwd));
    mkdir(at("root"), 0755);
    mkdir(at("root/sub"), 0755);
    mkdir(at("root/sub/deep"), 0755);
    mkdir(at("outside"), 0755);
    put("secret.txt", SECRET);
    put("outside/s.txt", SECRET);
    put("root/a.txt", "0123456789");
    put("root/empty", "");
    put("root/sub/b.txt", "bb");
    put("root/sub/deep/c.txt", "ccc");
    set_link("a.txt", "root/in");
    set_link("../a.txt", "root/sub/up");
    set_link("sub", "root/folder");
    set_link("in", "root/twice");
    set_link(apr_pstrcat(pool, cwd, "/", top, "/root/a.txt", NULL), "root/absolute");
    set_link("../secret.txt", "root/out");
    set_link("../outside", "root/outfolder");
    set_link("sub/../../secret.txt", "root/roundabout");
    set_link(apr_pstrcat(pool, cwd, "/", top, "/secret.txt", NULL), "root/absout");
    set_link("nothing", "root/dangling");
    set_link("loop2", "root/loop1");
    set_link("loop1", "root/loop2");
    set_link("/dev/zero", "root/device");
    assert_int_equal(mkfifo(at("root/fifo"), 0644), 0);
    snprintf(sun.sun_path, sizeof sun.sun_path, "%s/root/socket", top);
    s = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(s, (struct sockaddr *)&sun, sizeof sun), 0);
    close(s);
    root = (iip_root){.path = at("root"), .fd = -1, .number = 3};
    loose = root;
    loose.follow = 1;
    loose.number = 4;
    assert_int_equal(iip_root_open(&root, pool, &e), IIP_OK);
    assert_int_equal(iip_root_open(&loose, pool, &e), IIP_OK);
    return 0;
}

static int teardown(void **state)
{
    int a = root.fd;

    assert_int_equal(system(apr_pstrcat(pool, "rm -rf ", top, NULL)), 0);
    apr_pool_destroy(pool);
    assert_int_equal(root.fd, -1);
    assert_int_equal(fcntl(a, F_GETFD), -1);
    apr_terminate();
    return 0;
}

static int descriptors(void)
{
    DIR *d = opendir("/proc/self/fd");
    int n = 0;

    assert_non_null(d);
    while (readdir(d))
        n++;
    closedir(d);
    return n;
}

/* --- in a child process ------------------------------------------------------------------------------------------- */

enum { SKIP = 254 };

/* The line of the check that failed, 0, or SKIP. */
static int in_child(int (*prepare)(void), int (*work)(void))
{
    int status;
    pid_t pid = fork();

    assert_true(pid >= 0);
    if (pid == 0) {
        int rv = prepare && prepare() != 0 ? SKIP : work();

        if (rv && rv != SKIP)
            fprintf(stderr, "test_source.c:%d failed in a child\n", rv);
        _exit(rv == SKIP ? SKIP : rv != 0);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static int no_openat2(int cause)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_openat2, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (unsigned)cause),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog prog = {sizeof code / sizeof *code, code};

    return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &prog);
}

static int old_kernel(void)
{
    return no_openat2(ENOSYS);
}

static int sandbox(void)
{
    return no_openat2(EPERM);
}

static int become_nobody(void)
{
    return geteuid() == 0 && (setgid(NOBODY) || setuid(NOBODY));
}

static int nobody_in_sandbox(void)
{
    return become_nobody() || sandbox();
}

/* --- names ------------------------------------------------------------------------------------------------------- */

/* What comes of a name: looked at, then its first byte read. */
static iip_status reach(const iip_root *r, const char *rel, char *first)
{
    iip_source_t *s;
    iip_error e = {IIP_OK, 0, NULL, ""};
    apr_pool_t *p;
    iip_status rv;

    apr_pool_create(&p, pool);
    *first = 0;
    rv = iip_source_file(&s, r, rel, p, &e);
    if (rv == IIP_OK)
        rv = s->read(s, first, 1, 0, &e);
    if (rv != e.status)
        rv = IIP_E_COUNT;
    apr_pool_destroy(p);
    return rv;
}

enum { YES, NO }; /* first column: links that stay inside are followed; second: no link is; third: follow */
static const struct {
    const char *rel;
    int beneath, walk, follow;
    char first;
} names[] = {
    {"a.txt", YES, YES, YES, '0'},
    {"sub/b.txt", YES, YES, YES, 'b'},
    {"sub/deep/c.txt", YES, YES, YES, 'c'},
    {"in", YES, NO, YES, '0'},
    {"twice", YES, NO, YES, '0'},
    {"sub/up", YES, NO, YES, '0'},
    {"folder/b.txt", YES, NO, YES, 'b'},
    {"folder/up", YES, NO, YES, '0'},
    {"absolute", NO, NO, YES, '0'}, /* even into the root: the kernel cannot know */
    {"out", NO, NO, YES, 't'},
    {"outfolder/s.txt", NO, NO, YES, 't'},
    {"roundabout", NO, NO, YES, 't'},
    {"absout", NO, NO, YES, 't'},
    {"dangling", NO, NO, NO, 0},
    {"loop1", NO, NO, NO, 0},
    {"nothing", NO, NO, NO, 0},
    {"a.txt/b", NO, NO, NO, 0},
    {"sub", NO, NO, NO, 0},
    {"folder", NO, NO, NO, 0},
    {"fifo", NO, NO, NO, 0},
    {"socket", NO, NO, NO, 0},
    {"device", NO, NO, NO, 0},
    {"", NO, NO, NO, 0},
    {"/etc/passwd", NO, NO, NO, 0},
    {"/", NO, NO, NO, 0},
};

static int check_names(const iip_root *r, int column)
{
    char longest[400], first;

    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        int want = (&names[i].beneath)[column];
        iip_status rv = reach(r, names[i].rel, &first);

        if (rv != (want == YES ? IIP_OK : IIP_E_NOT_FOUND) || (want == YES && first != names[i].first)) {
            fprintf(stderr, "%s: %s\n", names[i].rel, iip_status_name(rv));
            CHECK(0);
        }
    }
    memset(longest, 'x', sizeof longest - 1);
    longest[sizeof longest - 1] = '\0';
    CHECK(reach(r, longest, &first) == IIP_E_NOT_FOUND);
    return 0;
}

/* By the running kernel: one without openat2 refuses every link. */
static int names_beneath(void)
{
    struct {
        uint64_t flags, mode, resolve;
    } how = {O_PATH | O_CLOEXEC, 0, 0};
    int fd = (int)syscall(SYS_openat2, AT_FDCWD, ".", &how, sizeof how);
    char first;

    if (fd >= 0)
        close(fd);
    CHECK(reach(&root, "sub/../../secret.txt", &first) == IIP_E_NOT_FOUND && first == 0);
    CHECK(reach(&root, "../secret.txt", &first) == IIP_E_NOT_FOUND && first == 0);
    return check_names(&root, fd < 0);
}

static int names_walked(void)
{
    char first;

    for (int again = 0; again < 2; again++) {
        int line = check_names(&root, 1);

        if (line)
            return line;
    }
    CHECK(reach(&root, "sub/../../secret.txt", &first) == IIP_E_NOT_FOUND && first == 0);
    CHECK(reach(&root, "../secret.txt", &first) == IIP_E_NOT_FOUND && first == 0);
    CHECK(reach(&root, "./a.txt", &first) == IIP_E_NOT_FOUND);
    CHECK(reach(&root, "sub//b.txt", &first) == IIP_E_NOT_FOUND);
    return check_names(&loose, 2);
}

static void test_names(void **state)
{
    int before = descriptors();

    assert_int_equal(names_beneath(), 0);
    assert_int_equal(check_names(&loose, 2), 0);
    assert_int_equal(descriptors(), before);
}

static void test_without_openat2(void **state)
{
    int a = in_child(old_kernel, names_walked), b = in_child(sandbox, names_walked);

    if (a == SKIP || b == SKIP)
        skip();
    assert_int_equal(a, 0);
    assert_int_equal(b, 0);
}

/* A link of /proc leads to an open file whatever its name says. */
static int magic(void)
{
    char rel[40], first;
    iip_root proc = {.path = "/proc/self", .fd = -1, .number = 9};
    iip_error e;
    apr_pool_t *p; /* its cleanup closes proc */
    int fd = open(at("root/a.txt"), O_RDONLY | O_CLOEXEC);

    apr_pool_create(&p, pool);
    CHECK(fd >= 0 && iip_root_open(&proc, p, &e) == IIP_OK);
    snprintf(rel, sizeof rel, "fd/%d", fd);
    CHECK(reach(&proc, rel, &first) == IIP_E_NOT_FOUND && first == 0);
    proc.follow = 1;
    CHECK(reach(&proc, rel, &first) == IIP_OK && first == '0');
    apr_pool_destroy(p);
    close(fd);
    return 0;
}

static void test_magic_links(void **state)
{
    int walked = in_child(old_kernel, magic);

    assert_int_equal(magic(), 0);
    if (walked != SKIP)
        assert_int_equal(walked, 0);
}

/* httpd mapped it: an absolute path, links already judged. */
static void test_mapped(void **state)
{
    char cwd[3000], first;

    assert_non_null(getcwd(cwd, sizeof cwd));
    assert_int_equal(reach(NULL, apr_pstrcat(pool, cwd, "/", at("root/in"), NULL), &first), IIP_OK);
    assert_int_equal(first, '0');
    assert_int_equal(reach(NULL, apr_pstrcat(pool, cwd, "/", at("root/fifo"), NULL), &first), IIP_E_NOT_FOUND);
    assert_int_equal(reach(NULL, apr_pstrcat(pool, cwd, "/", at("root"), NULL), &first), IIP_E_NOT_FOUND);
    assert_int_equal(reach(NULL, at("root/a.txt"), &first), IIP_E_NOT_FOUND);
}

/* --- rights and resources ----------------------------------------------------------------------------------------- */

static int forbidden(void)
{
    iip_root shut = {.fd = -1};
    iip_error e;
    char first;

    CHECK(reach(&root, "shut.txt", &first) == IIP_E_FORBIDDEN);
    CHECK(reach(&root, "shut/x.txt", &first) == IIP_E_FORBIDDEN);
    CHECK(reach(&loose, "shut.txt", &first) == IIP_E_FORBIDDEN);
    CHECK(reach(&root, "a.txt", &first) == IIP_OK);
    /* Reached without passing the folders above it, which this user may not be allowed to. */
    shut.path = apr_psprintf(pool, "/proc/self/fd/%d/shut", root.fd);
    CHECK(iip_root_open(&shut, pool, &e) == IIP_E_FORBIDDEN && e.status == IIP_E_FORBIDDEN && shut.fd == -1);
    return 0;
}

static void test_forbidden(void **state)
{
    int plain, walked;

    put("root/shut.txt", "shut");
    mkdir(at("root/shut"), 0755);
    put("root/shut/x.txt", "shut");
    assert_int_equal(chmod(at("root/shut.txt"), 0), 0);
    assert_int_equal(chmod(at("root/shut"), 0), 0);
    plain = in_child(become_nobody, forbidden);
    walked = in_child(nobody_in_sandbox, forbidden);
    assert_int_equal(chmod(at("root/shut"), 0755), 0);
    if (plain == SKIP || walked == SKIP)
        skip();
    assert_int_equal(plain, 0);
    assert_int_equal(walked, 0);
}

static int no_descriptors(void)
{
    struct rlimit lim;
    iip_source_t *s, *k;
    iip_error e;
    char c;

    CHECK(iip_source_file(&s, &root, "sub/b.txt", pool, &e) == IIP_OK && s->read(s, &c, 1, 0, &e) == IIP_OK);
    CHECK(getrlimit(RLIMIT_NOFILE, &lim) == 0);
    lim.rlim_cur = (rlim_t)root.fd + 64;
    CHECK(setrlimit(RLIMIT_NOFILE, &lim) == 0);
    while (dup(0) >= 0)
        ;
    CHECK(reach(&root, "a.txt", &c) == IIP_E_MEMORY);
    CHECK(reach(&root, "sub/b.txt", &c) == IIP_E_MEMORY);
    CHECK(iip_source_keep(&k, s, pool, &e) == IIP_E_MEMORY && e.apr == EMFILE);
    CHECK(s->read(s, &c, 1, 1, &e) == IIP_OK && c == 'b');
    return 0;
}

static void test_no_descriptors(void **state)
{
    assert_int_equal(in_child(NULL, no_descriptors), 0);
}

static void test_root_open(void **state)
{
    iip_root r = {.path = at("nothing"), .fd = 77};
    iip_error e;
    apr_pool_t *p;
    int fd;

    assert_int_equal(iip_root_open(&r, pool, &e), IIP_E_NOT_FOUND);
    assert_int_equal(r.fd, -1);
    r.path = at("secret.txt");
    assert_int_equal(iip_root_open(&r, pool, &e), IIP_E_NOT_FOUND);
    r.path = at("root");
    apr_pool_create(&p, pool);
    assert_int_equal(iip_root_open(&r, p, &e), IIP_OK);
    fd = r.fd;
    assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
    apr_pool_destroy(p);
    assert_int_equal(fcntl(fd, F_GETFD), -1);
    assert_int_equal(r.fd, -1);
}

/* --- reading ------------------------------------------------------------------------------------------------------ */

static void test_reading(void **state)
{
    iip_source_t *s;
    iip_error e;
    apr_pool_t *p;
    char b[16];
    int fd;

    apr_pool_create(&p, pool);
    assert_int_equal(iip_source_file(&s, &root, "a.txt", p, &e), IIP_OK);
    assert_int_equal(s->fd, -1);
    assert_string_equal(s->name, "a.txt");
    assert_int_equal(s->read(s, b, 10, 0, &e), IIP_OK);
    assert_memory_equal(b, "0123456789", 10);
    fd = s->fd;
    assert_true(fd >= 0 && fcntl(fd, F_GETFD) & FD_CLOEXEC);
    assert_int_equal(s->read(s, b, 3, 7, &e), IIP_OK);
    assert_memory_equal(b, "789", 3);
    assert_int_equal(s->read(s, b, 0, 10, &e), IIP_OK);
    assert_int_equal(s->read(s, b, 1, 10, &e), IIP_E_CORRUPT);
    assert_int_equal(s->read(s, b, 4, 7, &e), IIP_E_CORRUPT);
    assert_int_equal(s->read(s, b, SIZE_MAX, 1, &e), IIP_E_CORRUPT);
    assert_int_equal(s->read(s, b, 1, INT64_MAX, &e), IIP_E_CORRUPT);
    assert_int_equal(s->read(s, b, 1, -1, &e), IIP_E_CORRUPT);
    assert_int_equal(s->read(s, b, 1, INT64_MIN, &e), IIP_E_CORRUPT);
    assert_int_equal(s->fd, fd);
    apr_pool_destroy(p);
    assert_int_equal(fcntl(fd, F_GETFD), -1);

    apr_pool_create(&p, pool);
    assert_int_equal(iip_source_file(&s, &root, "empty", p, &e), IIP_OK);
    assert_int_equal(s->read(s, b, 0, 0, &e), IIP_OK);
    assert_int_equal(s->read(s, b, 1, 0, &e), IIP_E_CORRUPT);
    apr_pool_destroy(p);
}

static void test_identity(void **state)
{
    iip_source_t *a, *b, *c;
    iip_error e;
    struct stat st;
    struct timespec when[2] = {{0, UTIME_OMIT}, {1500000000, 123456789}};

    put("root/dated.txt", "when");
    assert_int_equal(utimensat(AT_FDCWD, at("root/dated.txt"), when, 0), 0);
    assert_int_equal(stat(at("root/dated.txt"), &st), 0);
    assert_int_equal(iip_source_file(&a, &root, "dated.txt", pool, &e), IIP_OK);
    assert_int_equal(iip_source_file(&b, &loose, "dated.txt", pool, &e), IIP_OK);
    assert_int_equal(a->id.root, 3);
    assert_int_equal(b->id.root, 4);
    assert_int_equal(a->id.dev, st.st_dev);
    assert_int_equal(a->id.ino, st.st_ino);
    assert_int_equal(a->id.size, 4);
    assert_true(a->id.mtime_ns == INT64_C(1500000000123456789));
    assert_true(a->mtime == INT64_C(1500000000123456));
    assert_true(a->id.ctime_ns == (int64_t)st.st_ctim.tv_sec * 1000000000 + st.st_ctim.tv_nsec);
    assert_int_equal(sizeof(iip_ident), 7 * 8); /* no padding */
    /* Before 1970: down is still down. */
    when[1] = (struct timespec){-2, 999999999};
    assert_int_equal(utimensat(AT_FDCWD, at("root/dated.txt"), when, 0), 0);
    assert_int_equal(iip_source_file(&c, &root, "dated.txt", pool, &e), IIP_OK);
    assert_true(c->id.mtime_ns == -1000000001);
    assert_true(c->mtime == -1000001);
    assert_memory_not_equal(&a->id, &c->id, sizeof a->id);
}

/* A file that is forgotten is another source from then on, through any root; one that was looked at before stays good.
 */
static void test_forgotten(void **state)
{
    static uint32_t table[IIP_GENERATIONS];
    iip_source_t *a, *b, *before, *c;
    iip_error e;
    char text[1];

    put("root/forget.txt", "f");
    assert_int_equal(iip_source_file(&before, &root, "forget.txt", pool, &e), IIP_OK);
    iip_source_generations(table);
    assert_int_equal(iip_source_file(&a, &root, "forget.txt", pool, &e), IIP_OK);
    assert_memory_equal(&a->id, &before->id, sizeof a->id);
    iip_source_forget(table, &a->id);
    assert_int_equal(iip_source_file(&b, &root, "forget.txt", pool, &e), IIP_OK);
    assert_int_equal(iip_source_file(&c, &loose, "forget.txt", pool, &e), IIP_OK);
    assert_memory_not_equal(&a->id, &b->id, sizeof a->id);
    assert_int_equal(b->id.generation, 1);
    assert_int_equal(c->id.generation, 1);
    assert_int_equal(a->read(a, text, 1, 0, &e), IIP_OK);
    assert_int_equal(b->read(b, text, 1, 0, &e), IIP_OK);
    iip_source_forget(table, &b->id);
    assert_true(iip_source_same(a) && iip_source_same(b));
    iip_source_generations(NULL);
}

/* --- files that change -------------------------------------------------------------------------------------------- */

static void rename_over(const char *from, const char *to)
{
    assert_int_equal(rename(at(from), at(to)), 0);
}

static int changes(void)
{
    iip_source_t *s, *t;
    iip_error e;
    char c[8];
    struct timespec when[2] = {{0, UTIME_OMIT}, {1500000000, 1}};

    /* another file under the name */
    put("root/x.txt", "old");
    CHECK(iip_source_file(&s, &root, "x.txt", pool, &e) == IIP_OK);
    put("root/new.txt", "new");
    rename_over("root/new.txt", "root/x.txt");
    CHECK(s->read(s, c, 1, 0, &e) == IIP_E_CHANGED && s->fd == -1);
    CHECK(iip_source_keep(&t, s, pool, &e) == IIP_E_CHANGED);

    /* the same file with other times */
    CHECK(iip_source_file(&s, &root, "x.txt", pool, &e) == IIP_OK);
    CHECK(utimensat(AT_FDCWD, at("root/x.txt"), when, 0) == 0);
    CHECK(s->read(s, c, 1, 0, &e) == IIP_E_CHANGED);

    /* a FIFO, a link outwards, nothing */
    CHECK(iip_source_file(&s, &root, "x.txt", pool, &e) == IIP_OK);
    CHECK(unlink(at("root/x.txt")) == 0 && mkfifo(at("root/x.txt"), 0644) == 0);
    CHECK(s->read(s, c, 1, 0, &e) == IIP_E_NOT_FOUND);
    CHECK(unlink(at("root/x.txt")) == 0 && symlink("../secret.txt", at("root/x.txt")) == 0);
    CHECK(s->read(s, c, 1, 0, &e) == IIP_E_NOT_FOUND);
    CHECK(unlink(at("root/x.txt")) == 0);
    CHECK(s->read(s, c, 1, 0, &e) == IIP_E_NOT_FOUND && s->fd == -1);

    /* after it was opened: the old file is read on, and known to be another */
    put("root/x.txt", "old");
    CHECK(iip_source_file(&s, &root, "x.txt", pool, &e) == IIP_OK && s->read(s, c, 1, 0, &e) == IIP_OK);
    CHECK(iip_source_same(s) == 1);
    put("root/new.txt", "new");
    rename_over("root/new.txt", "root/x.txt");
    CHECK(s->read(s, c, 3, 0, &e) == IIP_OK && memcmp(c, "old", 3) == 0);
    CHECK(iip_source_same(s) == 0);

    /* cut off, and grown */
    put("root/x.txt", "long enough");
    CHECK(iip_source_file(&s, &root, "x.txt", pool, &e) == IIP_OK && s->read(s, c, 1, 0, &e) == IIP_OK);
    CHECK(iip_source_same(s) == 1 && truncate(at("root/x.txt"), 4) == 0);
    CHECK(s->read(s, c, 4, 0, &e) == IIP_OK && s->read(s, c, 4, 2, &e) == IIP_E_CORRUPT);
    CHECK(iip_source_same(s) == 0);
    return 0;
}

static void test_changes(void **state)
{
    int before = descriptors(), walked;

    assert_int_equal(changes(), 0);
    walked = in_child(old_kernel, changes);
    if (walked != SKIP)
        assert_int_equal(walked, 0);
    assert_int_equal(descriptors(), before + 2); /* the two that could be opened */
}

static void test_keep(void **state)
{
    for (int opened = 0; opened < 2; opened++) {
        iip_source_t *s, *k;
        iip_error e;
        apr_pool_t *request, *reader;
        char b[4];
        int before = descriptors();

        apr_pool_create(&request, pool);
        apr_pool_create(&reader, pool);
        assert_int_equal(iip_source_file(&s, &root, apr_pstrdup(request, "a.txt"), request, &e), IIP_OK);
        if (opened)
            assert_int_equal(s->read(s, b, 1, 0, &e), IIP_OK);
        assert_int_equal(iip_source_keep(&k, s, reader, &e), IIP_OK);
        assert_true(k != s && k->fd >= 0 && k->fd != s->fd);
        assert_true(fcntl(k->fd, F_GETFD) & FD_CLOEXEC);
        assert_memory_equal(&k->id, &s->id, sizeof k->id);
        assert_true(k->mtime == s->mtime);
        assert_int_equal(s->fd >= 0, opened);
        apr_pool_destroy(request);
        assert_string_equal(k->name, "a.txt");
        assert_int_equal(k->read(k, b, 4, 3, &e), IIP_OK);
        assert_memory_equal(b, "3456", 4);
        assert_int_equal(iip_source_same(k), 1);
        apr_pool_destroy(reader);
        assert_int_equal(descriptors(), before);
    }
}

static void test_memory(void **state)
{
    char data[] = "abcdef", b[8];
    iip_error e;
    iip_source_t *s = iip_source_memory(data, 6, "bytes", pool), *t = iip_source_memory(data, 6, "bytes", pool), *k;
    iip_source_t *none = iip_source_memory(NULL, 0, "none", pool);

    assert_int_equal(s->id.size, 6);
    assert_int_equal(s->read(s, b, 6, 0, &e), IIP_OK);
    assert_memory_equal(b, "abcdef", 6);
    assert_int_equal(s->read(s, b, 1, 5, &e), IIP_OK);
    assert_int_equal(b[0], 'f');
    assert_int_equal(s->read(s, b, 0, 6, &e), IIP_OK);
    assert_int_equal(s->read(s, b, 1, 6, &e), IIP_E_CORRUPT);
    assert_int_equal(s->read(s, b, 7, 0, &e), IIP_E_CORRUPT);
    assert_int_equal(s->read(s, b, SIZE_MAX, 3, &e), IIP_E_CORRUPT);
    assert_int_equal(s->read(s, b, 1, -1, &e), IIP_E_CORRUPT);
    assert_int_equal(none->read(none, b, 0, 0, &e), IIP_OK);
    assert_int_equal(none->read(none, b, 1, 0, &e), IIP_E_CORRUPT);
    assert_int_equal(iip_source_keep(&k, s, pool, &e), IIP_OK);
    assert_ptr_equal(k, s);
    assert_int_equal(iip_source_same(s), 1);
    assert_memory_not_equal(&s->id, &t->id, sizeof s->id);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names),     cmocka_unit_test(test_without_openat2), cmocka_unit_test(test_magic_links),
        cmocka_unit_test(test_mapped),    cmocka_unit_test(test_forbidden),       cmocka_unit_test(test_no_descriptors),
        cmocka_unit_test(test_root_open), cmocka_unit_test(test_reading),         cmocka_unit_test(test_identity),
        cmocka_unit_test(test_forgotten), cmocka_unit_test(test_changes),         cmocka_unit_test(test_keep),
        cmocka_unit_test(test_memory),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
