// Counts the instructions that a program executes under QEMU's user-mode emulation, and notes the count at each line that
// the program writes to its standard output. A plug-in: qemu-aarch64 -plugin count.so,out=FILE,blocks=FILE PROGRAM
// `blocks` gets a line for each block of instructions: at which byte of the program's code it begins, how many
// instructions it has, and how often it was entered until the program ended.
//
// Debian has no qemu-plugin.h, so what is used of it is declared here: version 1 of the interface (QEMU 7.2 to 8.x).
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef uint64_t plugin_id;
struct qemu_plugin_tb;
enum { ADD_U64 = 0 };
enum { WRITE_ON_AARCH64 = 64, STANDARD_OUTPUT = 1 };

void qemu_plugin_register_vcpu_tb_trans_cb(plugin_id, void (*)(plugin_id, struct qemu_plugin_tb *));
size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *);
uint64_t qemu_plugin_tb_vaddr(const struct qemu_plugin_tb *);
uint64_t qemu_plugin_start_code(void);
void qemu_plugin_register_vcpu_tb_exec_inline(struct qemu_plugin_tb *, int operation, void *counter, uint64_t by);
void qemu_plugin_register_vcpu_syscall_cb(plugin_id, void (*)(plugin_id, unsigned vcpu, int64_t number, uint64_t,
                                                              uint64_t, uint64_t, uint64_t, uint64_t, uint64_t,
                                                              uint64_t, uint64_t));
void qemu_plugin_register_atexit_cb(plugin_id, void (*)(plugin_id, void *), void *);

#define EXPORT __attribute__((visibility("default")))
EXPORT int qemu_plugin_version = 1;

static uint64_t executed;
static FILE *out, *blocks;

static struct seen {
    uint64_t at, instructions, entered;
    struct seen *before;
} *last;

// A block is counted when it is entered: QEMU splits blocks where a program can leave them.
static void translated(plugin_id id, struct qemu_plugin_tb *block) {
    (void)id;
    qemu_plugin_register_vcpu_tb_exec_inline(block, ADD_U64, &executed, qemu_plugin_tb_n_insns(block));
    struct seen *seen = malloc(sizeof *seen);
    if (seen == NULL) abort();
    *seen = (struct seen){qemu_plugin_tb_vaddr(block), qemu_plugin_tb_n_insns(block), 0, last};
    last = seen;
    qemu_plugin_register_vcpu_tb_exec_inline(block, ADD_U64, &seen->entered, 1);
}

static void ended(plugin_id id, void *none) {
    (void)id, (void)none;
    for (const struct seen *seen = last; seen != NULL; seen = seen->before)
        fprintf(blocks, "%" PRId64 " %" PRIu64 " %" PRIu64 "\n", (int64_t)(seen->at - qemu_plugin_start_code()),
                seen->instructions, seen->entered);
    fclose(blocks);
}

static void called(plugin_id id, unsigned vcpu, int64_t number, uint64_t descriptor, uint64_t a2, uint64_t a3,
                   uint64_t a4, uint64_t a5, uint64_t a6, uint64_t a7, uint64_t a8) {
    (void)id, (void)vcpu, (void)a2, (void)a3, (void)a4, (void)a5, (void)a6, (void)a7, (void)a8;
    if (number != WRITE_ON_AARCH64 || descriptor != STANDARD_OUTPUT) return;
    fprintf(out, "%" PRIu64 "\n", executed);
    fflush(out);
}

EXPORT int qemu_plugin_install(plugin_id id, const void *info, int argc, char **argv) {
    (void)info;
    for (int i = 0; i < argc; i++) {
        if (strncmp(argv[i], "out=", 4) == 0) out = fopen(argv[i] + 4, "w");
        if (strncmp(argv[i], "blocks=", 7) == 0) blocks = fopen(argv[i] + 7, "w");
    }
    if (out == NULL || blocks == NULL) {
        fputs("count.so: name two files to write to: out=FILE,blocks=FILE\n", stderr);
        return 1;
    }
    qemu_plugin_register_vcpu_tb_trans_cb(id, translated);
    qemu_plugin_register_vcpu_syscall_cb(id, called);
    qemu_plugin_register_atexit_cb(id, ended, NULL);
    return 0;
}
