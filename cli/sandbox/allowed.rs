//! The system calls of children: what an `ffmpeg`, an `ffprobe` and our RTSP server need, with the C libraries of today and
//! tomorrow below them, and nothing else. Found with `strace` over the decoders and encoders of the tests, and the protocols.

use libc::c_long;

/// What every child needs: memory, threads of its own, the files it may open, its pipes, the clock.
pub(super) const ALWAYS: &[c_long] = &[
    // Memory. Code is made at run time by swscale and others, so pages may become executable.
    libc::SYS_brk,
    libc::SYS_mmap,
    libc::SYS_munmap,
    libc::SYS_mprotect,
    libc::SYS_mremap,
    libc::SYS_madvise,
    libc::SYS_mlock,
    libc::SYS_munlock,
    libc::SYS_membarrier,
    // Threads.
    libc::SYS_futex,
    libc::SYS_set_robust_list,
    libc::SYS_set_tid_address,
    libc::SYS_rseq,
    libc::SYS_exit,
    libc::SYS_exit_group,
    libc::SYS_sched_yield,
    libc::SYS_getcpu,
    libc::SYS_restart_syscall,
    // Its own signals.
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sigaltstack,
    // The launcher becomes the child by this, and a script that stands for it another program, in the same sandbox.
    libc::SYS_execve,
    // Files that Landlock and the private root leave.
    libc::SYS_openat,
    libc::SYS_close,
    libc::SYS_close_range,
    libc::SYS_read,
    libc::SYS_readv,
    libc::SYS_pread64,
    libc::SYS_preadv,
    libc::SYS_write,
    libc::SYS_writev,
    libc::SYS_pwrite64,
    libc::SYS_pwritev,
    libc::SYS_lseek,
    libc::SYS_fstat,
    libc::SYS_newfstatat,
    libc::SYS_statx,
    libc::SYS_statfs,
    libc::SYS_fstatfs,
    libc::SYS_faccessat,
    libc::SYS_faccessat2,
    libc::SYS_readlinkat,
    libc::SYS_getdents64,
    libc::SYS_getcwd,
    libc::SYS_fadvise64,
    libc::SYS_dup,
    libc::SYS_dup3,
    libc::SYS_pipe2,
    // Waiting.
    libc::SYS_ppoll,
    libc::SYS_pselect6,
    libc::SYS_epoll_create1,
    libc::SYS_epoll_ctl,
    libc::SYS_epoll_pwait,
    libc::SYS_eventfd2,
    libc::SYS_nanosleep,
    libc::SYS_clock_nanosleep,
    // Who and where it is, the clock, random numbers.
    libc::SYS_clock_gettime,
    libc::SYS_clock_getres,
    libc::SYS_gettimeofday,
    libc::SYS_times,
    libc::SYS_getrusage,
    libc::SYS_sysinfo,
    libc::SYS_uname,
    libc::SYS_getrandom,
    libc::SYS_getpid,
    libc::SYS_getppid,
    libc::SYS_gettid,
    libc::SYS_getuid,
    libc::SYS_geteuid,
    libc::SYS_getgid,
    libc::SYS_getegid,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_arch_prctl,
    // Older names of the above.
    #[cfg(target_arch = "x86_64")]
    libc::SYS_open,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_stat,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_lstat,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_access,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_readlink,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_getdents,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_dup2,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_pipe,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_poll,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_select,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_epoll_create,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_epoll_wait,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_eventfd,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_time,
];

/// What whoever writes a file needs besides.
pub(super) const WRITES: &[c_long] = &[libc::SYS_ftruncate, libc::SYS_fsync, libc::SYS_fdatasync];

/// What whoever writes into a folder needs besides: files get their names when they are complete, and old ones go.
pub(super) const FOLDERS: &[c_long] = &[
    #[cfg(target_arch = "x86_64")]
    libc::SYS_rename,
    libc::SYS_renameat,
    libc::SYS_renameat2,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_unlink,
    libc::SYS_unlinkat,
];

/// What whoever speaks with others needs besides; `socket` is looked at by itself.
pub(super) const SPEAKS: &[c_long] = &[
    libc::SYS_bind,
    libc::SYS_getsockname,
    libc::SYS_getpeername,
    libc::SYS_getsockopt,
    libc::SYS_setsockopt,
    libc::SYS_recvfrom,
    libc::SYS_recvmsg,
    libc::SYS_recvmmsg,
    libc::SYS_shutdown,
];

/// What whoever calls others needs besides.
pub(super) const CONNECTS: &[c_long] =
    &[libc::SYS_connect, libc::SYS_sendto, libc::SYS_sendmsg, libc::SYS_sendmmsg];

/// How whoever is called by others answers, and which argument holds the flags: one of them connects.
pub(super) const ANSWERS: &[(c_long, u8)] =
    &[(libc::SYS_sendto, 3), (libc::SYS_sendmsg, 2), (libc::SYS_sendmmsg, 3)];

/// What whoever is called by others needs besides.
pub(super) const SERVES: &[c_long] = &[libc::SYS_listen, libc::SYS_accept, libc::SYS_accept4];

/// What drivers of encoders in hardware need besides.
pub(super) const DEVICES: &[c_long] = &[libc::SYS_ioctl, libc::SYS_memfd_create, libc::SYS_ftruncate];

/// What is answered with "there is no such call": the libraries know an older way, or do without. Where flags lie in memory
/// no filter can look at them.
pub(super) const UNKNOWN: &[c_long] = &[
    libc::SYS_clone3,
    libc::SYS_openat2,
    libc::SYS_epoll_pwait2,
    libc::SYS_futex_waitv,
    libc::SYS_get_mempolicy,
    libc::SYS_set_mempolicy,
    libc::SYS_mbind,
];

/// Calls from here on are newer than this list, and every library that tries one knows what to do without it.
pub(super) const NEWER: std::ops::Range<c_long> = 450..600;

/// `fcntl`: descriptors of its own and the sizes of pipes. Neither owners, who get signals, nor leases, seals or watches.
pub(super) const FCNTL: &[i32] = &[
    libc::F_DUPFD,
    libc::F_DUPFD_CLOEXEC,
    libc::F_GETFD,
    libc::F_SETFD,
    libc::F_GETFL,
    libc::F_SETFL,
    libc::F_SETPIPE_SZ,
    libc::F_GETPIPE_SZ,
];

/// `ioctl`: what is asked of pipes and sockets, and whether there is a terminal. Neither owners nor what a terminal is fed.
pub(super) const IOCTL: &[libc::Ioctl] =
    &[libc::FIONBIO, libc::FIONREAD, libc::FIOCLEX, libc::FIONCLEX, libc::TCGETS, libc::TIOCGWINSZ];

/// `prctl`: names of threads and of memory, and what is asked of oneself.
pub(super) const PRCTL: &[i32] =
    &[libc::PR_SET_NAME, libc::PR_GET_NAME, libc::PR_CAPBSET_READ, libc::PR_GET_DUMPABLE, libc::PR_SET_VMA];
