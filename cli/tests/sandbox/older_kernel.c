#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>
// older_kernel landlock|spaces PROGRAM ARGUMENTS: a kernel without Landlock (and, with `spaces`, one that grants no namespaces), as far as a program can tell.
int main(int argc, char **argv) {
    int spaces = !strcmp(argv[1], "spaces");
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        // 444 to 446: no such call. `unshare`: not permitted. The rest: allowed.
        BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, 444, 0, 1),
        BPF_JUMP(BPF_JMP | BPF_JGT | BPF_K, 446, 0, 2),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, spaces ? SYS_unshare : 0xffffff, 0, 2),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {sizeof code / sizeof *code, code};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program)) return 3;
    execv(argv[2], argv + 2);
    return 4;
}
