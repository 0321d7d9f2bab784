/* SPDX-License-Identifier: Apache-2.0
 * Limits and a filter of system calls for processes that meet strangers' bytes (spec/security.md section 7). */
#include "confine.h"
#include "number.h"
#include <dirent.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#define MOST_FILES 64 /* descriptors: connections, folders, fonts */

static void limit(int what, rlim_t soft, rlim_t hard)
{
    const struct rlimit l = {soft, hard};

    setrlimit((__rlimit_resource_t)what, &l);
}

int job_confine(long cpu, size_t memory, size_t file, int parent)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent)
        return -1;
    limit(RLIMIT_CORE, 0, 0);
    limit(RLIMIT_CPU, (rlim_t)cpu, (rlim_t)cpu + 1);
    limit(RLIMIT_FSIZE, file, file);
    limit(RLIMIT_NOFILE, MOST_FILES, MOST_FILES);
    signal(SIGXFSZ, SIG_IGN);
#ifndef IIP_ASAN /* whose shadow alone takes more address space than any limit */
    if (memory)
        limit(RLIMIT_AS, memory, memory);
#endif
    return 0;
}

#if defined(__x86_64__)
#define OUR_ARCH AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define OUR_ARCH AUDIT_ARCH_AARCH64
#endif

void job_no_network(void)
{
#ifdef OUR_ARCH
#define DENY(call)                                                                                                     \
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_##call, 0, 1), BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM)
/* argument: where its flags are; those of a machine with the low half of a word first */
#define DENY_WRITING(call, argument)                                                                                   \
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_##call, 0, 4),                                                            \
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[argument])),                             \
        BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, O_WRONLY | O_RDWR | O_CREAT | O_TRUNC, 0, 1),                             \
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM), BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)
    static struct sock_filter steps[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, arch)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, OUR_ARCH, 1, 0),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM), /* calls of another ABI have other numbers */
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, 0x40000000, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM), /* x32 */
        DENY(socket),
        DENY(socketpair),
        DENY(connect),
        DENY(bind),
        DENY(listen),
        DENY(sendto),
        DENY(sendmsg),
        DENY(sendmmsg),
        DENY(execve),
        DENY(execveat),
        DENY(ptrace),
        DENY(process_vm_readv),
        DENY(process_vm_writev),
        DENY(kill),
        DENY(tkill),
        DENY(tgkill),
        DENY(rt_sigqueueinfo),
        DENY(rt_tgsigqueueinfo),
        DENY(pidfd_open),
        DENY(unlinkat),
        DENY(renameat),
        DENY(renameat2),
        DENY(linkat),
        DENY(symlinkat),
        DENY(mkdirat),
        DENY(mknodat),
        DENY(fchmod),
        DENY(fchmodat),
        DENY(fchown),
        DENY(fchownat),
        DENY(truncate),
        DENY(openat2), /* its flags are not seen here */
        DENY_WRITING(openat, 2),
#ifdef __NR_open /* machines that have the old calls too */
        DENY_WRITING(open, 1),
        DENY(creat),
        DENY(unlink),
        DENY(rename),
        DENY(link),
        DENY(symlink),
        DENY(mkdir),
        DENY(rmdir),
        DENY(mknod),
        DENY(chmod),
        DENY(chown),
        DENY(lchown),
#endif
        DENY(bpf),
        DENY(unshare),
        DENY(setns),
        DENY(mount),
        DENY(keyctl),
        DENY(io_uring_setup), /* does what the others are refused */
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    const struct sock_fprog program = {sizeof steps / sizeof *steps, steps};

    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0)
        prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program);
#endif
}

void job_close_others(const int *keep, int n)
{
    DIR *d = opendir("/proc/self/fd");
    struct dirent *one;

    if (!d)
        return;
    while ((one = readdir(d)) != NULL) {
        int fd = (int)job_whole_text(one->d_name), wanted = fd <= 2 || fd == dirfd(d);

        for (int i = 0; i < n; i++)
            wanted |= fd == keep[i];
        if (!wanted)
            close(fd);
    }
    closedir(d);
}
