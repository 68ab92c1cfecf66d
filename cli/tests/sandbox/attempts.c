// What code that took over a child would try. Built by tests/sandbox.rs, and started in the child's place.
//
//   attempts KIND SECRET CLIP FOLDER PORT [LINE]
//
// Prints `beyond:` and the numbers of all system calls that are answered though KIND's list has them not, and `did:` and what
// succeeded that must not. What it must be able to do is under `can:`.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/prctl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/un.h>
#include <termios.h>
#include <unistd.h>

static const long ALWAYS[] = {
    SYS_brk, SYS_mmap, SYS_munmap, SYS_mprotect, SYS_mremap, SYS_madvise, SYS_mlock, SYS_munlock, SYS_membarrier,
    SYS_futex, SYS_set_robust_list, SYS_set_tid_address, SYS_rseq, SYS_exit, SYS_exit_group, SYS_sched_yield, SYS_getcpu,
    SYS_restart_syscall, SYS_rt_sigaction, SYS_rt_sigprocmask, SYS_rt_sigreturn, SYS_sigaltstack, SYS_execve, SYS_openat,
    SYS_close, SYS_close_range, SYS_read, SYS_readv, SYS_pread64, SYS_preadv, SYS_write, SYS_writev, SYS_pwrite64,
    SYS_pwritev, SYS_lseek, SYS_fstat, SYS_newfstatat, SYS_statx, SYS_statfs, SYS_fstatfs, SYS_faccessat, SYS_faccessat2,
    SYS_readlinkat, SYS_getdents64, SYS_getcwd, SYS_fadvise64, SYS_dup, SYS_dup3, SYS_pipe2, SYS_ppoll, SYS_pselect6,
    SYS_epoll_create1, SYS_epoll_ctl, SYS_epoll_pwait, SYS_eventfd2, SYS_nanosleep, SYS_clock_nanosleep, SYS_clock_gettime,
    SYS_clock_getres, SYS_gettimeofday, SYS_times, SYS_getrusage, SYS_sysinfo, SYS_uname, SYS_getrandom, SYS_getpid,
    SYS_getppid, SYS_gettid, SYS_getuid, SYS_geteuid, SYS_getgid, SYS_getegid,
#ifdef __x86_64__
    SYS_arch_prctl, SYS_open, SYS_stat, SYS_lstat, SYS_access, SYS_readlink, SYS_getdents, SYS_dup2, SYS_pipe, SYS_poll,
    SYS_select, SYS_epoll_create, SYS_epoll_wait, SYS_eventfd, SYS_time,
#endif
    -1};
static const long WRITES[] = {SYS_ftruncate, SYS_fsync, SYS_fdatasync, -1};
static const long FOLDER[] = {SYS_renameat, SYS_renameat2, SYS_unlinkat,
#ifdef __x86_64__
    SYS_rename, SYS_unlink,
#endif
    -1};
static const long CONNECTS[] = {SYS_connect, SYS_sendto, SYS_sendmsg, SYS_sendmmsg, -1};
static const long SPEAKS[] = {SYS_bind, SYS_getsockname, SYS_getpeername, SYS_getsockopt, SYS_setsockopt,
    SYS_recvfrom, SYS_recvmsg, SYS_recvmmsg, SYS_shutdown, -1};
static const long SERVES[] = {SYS_listen, SYS_accept, SYS_accept4, -1};

static int has(const long *list, long call) {
    for (; *list != -1; list++)
        if (*list == call) return 1;
    return 0;
}

static int writes, folder, network, serves;

static int listed(long call) {
    return has(ALWAYS, call) || (writes && has(WRITES, call)) || (folder && has(FOLDER, call)) ||
           (network && has(SPEAKS, call)) || (network && !serves && has(CONNECTS, call)) || (serves && has(SERVES, call));
}

static int refused(long result) { return result == -1 && (errno == EPERM || errno == ENOSYS); }

static void every_call(void) {
    printf("beyond:");
    int tried = 0;
    for (long call = 0; call < 1024; call++) {
        if (listed(call)) continue;
#ifdef __x86_64__
        // The kernel's own return from a probe: no filter sees it, and who calls it from elsewhere is ended.
        if (call == 335 || call == 336) continue;
#endif
        tried++;
        errno = 0;
        if (!refused(syscall(call, -1L, -1L, -1L, -1L, -1L, -1L))) printf(" %ld", call);
#ifdef __x86_64__
        if (!refused(syscall(call | 0x40000000, -1L, -1L, -1L, -1L, -1L, -1L))) printf(" x32/%ld", call);
#endif
    }
    printf("\ntried: %d\n", tried);
}

#define SAY(what, yes) do { errno = 0; if (yes) printf(" " what); } while (0)

int main(int argc, char **argv) {
    if (argc < 6) return 2;
    const char *kind = argv[1], *secret = argv[2], *clip = argv[3], *dir = argv[4];
    int port = atoi(argv[5]);
    folder = !strcmp(kind, "folder");
    writes = folder || !strcmp(kind, "file");
    serves = !strcmp(kind, "serves");
    network = serves || !strcmp(kind, "connects");
    char path[4096];
    struct stat st;
    pid_t parent = getppid();
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};

    // A seventh word makes one line of it, and begins it.
    printf("%scan:", argc > 6 ? argv[6] : "");
    int file = open(clip, O_RDONLY);
    SAY("clip", file >= 0 && read(file, path, 16) > 0);
    SAY("kill-itself", kill(getpid(), 0) == 0);
    printf(argc > 6 ? " did:" : "\ndid:");
    SAY("stat-secret", stat(secret, &st) == 0);
    SAY("access-secret", access(secret, F_OK) == 0);
    SAY("read-secret", open(secret, O_RDONLY) >= 0);
    SAY("stat-passwd", stat("/etc/passwd", &st) == 0);
    SAY("stat-root", stat("/root", &st) == 0);
    SAY("stat-parent", (snprintf(path, sizeof path, "/proc/%d/stat", parent), stat(path, &st) == 0));
    SAY("chmod", chmod(clip, 0777) == 0);
    SAY("fchmod", fchmod(file, 0777) == 0);
    SAY("chown", chown(clip, getuid(), getgid()) == 0);
    SAY("utimes", utimensat(AT_FDCWD, clip, NULL, 0) == 0);
    SAY("setxattr", syscall(SYS_setxattr, clip, "user.x", "x", 1, 0) == 0);
    SAY("fsetxattr", syscall(SYS_fsetxattr, file, "user.x", "x", 1, 0) == 0);
    SAY("lock", syscall(SYS_flock, file, 2) == 0);
    SAY("make", (snprintf(path, sizeof path, "%s/made", dir), !folder && open(path, O_CREAT | O_WRONLY, 0600) >= 0));
    SAY("mkdir", (snprintf(path, sizeof path, "%s/made.d", dir), mkdir(path, 0700) == 0));
    SAY("link", (snprintf(path, sizeof path, "%s/link", dir), symlink(secret, path) == 0 || link(clip, path) == 0));
    SAY("fifo", (snprintf(path, sizeof path, "%s/fifo", dir), mkfifo(path, 0600) == 0));
    SAY("remove", unlink(secret) == 0);
    SAY("shm", syscall(SYS_shmget, 0x6d67, 4096, 01600) >= 0);
    SAY("msg", syscall(SYS_msgget, 0x6d67, 01600) >= 0);
    SAY("sem", syscall(SYS_semget, 0x6d67, 1, 01600) >= 0);
    SAY("memfd", syscall(SYS_memfd_create, "x", 0) >= 0);
    SAY("priority", setpriority(PRIO_PROCESS, 0, 5) == 0);
    SAY("priority-of-parent", setpriority(PRIO_PROCESS, parent, 5) == 0);
    struct sched_param param = {0};
    SAY("scheduler", sched_setscheduler(0, SCHED_BATCH, &param) == 0);
    cpu_set_t cpus;
    SAY("processors-of-parent", sched_getaffinity(parent, sizeof cpus, &cpus) == 0);
    struct rlimit limit = {1, 1};
    SAY("limit", syscall(SYS_prlimit64, 0, RLIMIT_NPROC, &limit, NULL) == 0);
    SAY("limit-of-parent", syscall(SYS_prlimit64, parent, RLIMIT_NOFILE, NULL, &limit) == 0);
    SAY("signal", kill(parent, 0) == 0);
    SAY("signal-all", kill(-1, 0) == 0 || kill(0, 0) == 0);
    SAY("signal-thread", syscall(SYS_tgkill, parent, parent, 0) == 0 || syscall(SYS_tkill, parent, 0) == 0);
    SAY("owner-of-signals", fcntl(0, F_SETOWN, parent) == 0 || ioctl(0, FIOSETOWN, &parent) == 0);
    SAY("lease", fcntl(file, F_SETLEASE, F_RDLCK) == 0);
    SAY("terminal", ioctl(0, TIOCSTI, "x") == 0);
    SAY("dumpable", prctl(PR_SET_DUMPABLE, 1) == 0 || prctl(PR_SET_PTRACER, -1L) == 0);
    SAY("trace", syscall(SYS_ptrace, 16L, (long)parent, 0, 0) == 0);
    SAY("host-name", sethostname("x", 1) == 0);
    SAY("space", unshare(CLONE_NEWUSER) == 0 || unshare(CLONE_FS) == 0);
    pid_t child = syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
    if (child == 0) _exit(0);
    SAY("fork", child > 0);
#ifdef __x86_64__
    child = syscall(SYS_fork);
    if (child == 0) _exit(0);
    SAY("old-fork", child > 0);
#endif
    SAY("unix", socket(AF_UNIX, SOCK_STREAM, 0) >= 0);
    SAY("packets", socket(AF_PACKET, SOCK_RAW, 0) >= 0 || socket(AF_VSOCK, SOCK_STREAM, 0) >= 0);
    SAY("events", socket(AF_NETLINK, SOCK_RAW, 15) >= 0);
    int tcp = socket(AF_INET, SOCK_STREAM, 0);
    SAY("socket", !network && (tcp >= 0 || socket(AF_INET6, SOCK_DGRAM, 0) >= 0));
    SAY("connect", strcmp(kind, "connects") && tcp >= 0 && connect(tcp, (struct sockaddr *)&at, sizeof at) == 0);
    SAY("connect-fast", strcmp(kind, "connects") && sendto(tcp, "x", 1, MSG_FASTOPEN, (struct sockaddr *)&at, sizeof at) > 0);
    SAY("root", getuid() == 0 || geteuid() == 0 || getgid() == 0);
    printf("\n");
    every_call();
    FILE *status = fopen("/proc/self/status", "r");
    while (status && fgets(path, sizeof path, status))
        if (!strncmp(path, "CapEff", 6) || !strncmp(path, "Groups", 6) || !strncmp(path, "CapAmb", 6)) printf("%s", path);
    return 0;
}
