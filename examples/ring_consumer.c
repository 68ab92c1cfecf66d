// Takes redacted frames from `milkglass live --to ring:SOCKET` and writes their pixels, without padding, to standard
// output. What it sees goes to standard error.
//
//     gcc -O2 -Wall examples/ring_consumer.c -o ring_consumer
//     ./ring_consumer /run/milkglass/cam.sock 100 > frames.raw
#define _GNU_SOURCE
#include <errno.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

// The messages, as docs/INTEGRATING.md has them. Little endian: on a big-endian machine, swap.
enum { HELLO = 1, FRAME = 2, RELEASE = 3, VERSION = 1 };
struct plane {
    uint32_t offset, stride, row_bytes, rows; // offset: from the slot's start
};
struct hello {
    uint16_t kind, size;
    uint32_t version;
    uint64_t memory, slot;
    uint32_t slots, credit, fourcc, width, height, orientation, full_range, matrix, planes, pixel_aspect;
    struct plane plane[3];
};
struct frame {
    uint16_t kind, size;
    uint32_t slot;
    uint64_t generation, offset, sequence, captured;
    uint32_t outcome, lost; // outcome: 1 covered, 2 obscured
};
struct release {
    uint16_t kind, size;
    uint32_t reserved;
    uint64_t generation;
};
_Static_assert(sizeof(struct hello) == 112 && sizeof(struct frame) == 48 && sizeof(struct release) == 16, "layout");

static void fail(const char *what)
{
    fprintf(stderr, "%s: %s\n", what, errno ? strerror(errno) : "unexpected message");
    exit(1);
}

// The first message, and the descriptor that comes with it.
static int greeting(int from, struct hello *hello)
{
    union {
        char space[CMSG_SPACE(sizeof(int))];
        struct cmsghdr align;
    } control = {{0}};
    struct iovec part = {hello, sizeof *hello};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
    errno = 0;
    if (recvmsg(from, &message, MSG_CMSG_CLOEXEC) != sizeof *hello || hello->kind != HELLO || hello->version != VERSION)
        fail("hello");
    struct cmsghdr *head = CMSG_FIRSTHDR(&message);
    if (!head || head->cmsg_level != SOL_SOCKET || head->cmsg_type != SCM_RIGHTS)
        fail("no descriptor came");
    int memory;
    memcpy(&memory, CMSG_DATA(head), sizeof memory);
    return memory;
}

// Whether the slot still holds this frame. Milkglass takes a slot back from those who are too slow, and paints all of them
// black when privacy mode begins: what was read is good only if this is true before and after.
static int holds(const unsigned char *slot, uint64_t generation)
{
    return atomic_load_explicit((const _Atomic uint64_t *)slot, memory_order_acquire) == generation;
}

int main(int argc, char **argv)
{
    if (argc < 2 || strlen(argv[1]) >= sizeof(((struct sockaddr_un *)0)->sun_path)) {
        fprintf(stderr, "usage: ring_consumer SOCKET [FRAMES] > FILE\n");
        return 2;
    }
    long wanted = argc > 2 ? atol(argv[2]) : -1;
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    strcpy(address.sun_path, argv[1]);
    int ring = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    if (ring < 0 || connect(ring, (struct sockaddr *)&address, sizeof address) < 0)
        fail(argv[1]);

    struct hello hello;
    int memory = greeting(ring, &hello);
    const unsigned char *start = mmap(NULL, hello.memory, PROT_READ, MAP_SHARED, memory, 0);
    if (start == MAP_FAILED)
        fail("mmap");
    close(memory); // the mapping stays
    fprintf(stderr, "%.4s %" PRIu32 "x%" PRIu32 ", %" PRIu32 " slots\n", (char *)&hello.fourcc, hello.width, hello.height,
            hello.slots);
    size_t bytes = 0;
    for (uint32_t p = 0; p < hello.planes; p++)
        bytes += (size_t)hello.plane[p].row_bytes * hello.plane[p].rows;
    unsigned char *copy = malloc(bytes);
    if (!copy)
        fail("malloc");

    while (wanted != 0) {
        struct frame frame;
        errno = 0;
        ssize_t got = recv(ring, &frame, sizeof frame, 0);
        if (got == 0 || (got < 0 && errno == ECONNRESET))
            break; // milkglass has ended, perhaps before it read our last release
        if (got != sizeof frame || frame.kind != FRAME)
            fail("frame");
        // A consumer that only looks at the pixels, such as an encoder, needs no copy: it looks, and checks afterwards
        // whether what it saw was whole. This one must not write what was taken back, so it copies first.
        const unsigned char *slot = start + frame.offset;
        int whole = holds(slot, frame.generation);
        unsigned char *to = copy;
        for (uint32_t p = 0; whole && p < hello.planes; p++)
            for (uint32_t y = 0; y < hello.plane[p].rows; y++, to += hello.plane[p].row_bytes)
                memcpy(to, slot + hello.plane[p].offset + (size_t)y * hello.plane[p].stride, hello.plane[p].row_bytes);
        atomic_thread_fence(memory_order_acquire);
        whole = whole && holds(slot, frame.generation);
        fprintf(stderr, "frame %" PRIu64 " at %" PRIu64 " ns: %s, %" PRIu32 " lost before\n", frame.sequence, frame.captured,
                !whole ? "taken back" : frame.outcome == 1 ? "covered" : "obscured", frame.lost);
        struct release release = {.kind = RELEASE, .size = sizeof release, .generation = frame.generation};
        if (send(ring, &release, sizeof release, MSG_NOSIGNAL) < 0)
            break;
        if (whole && fwrite(copy, 1, bytes, stdout) != bytes)
            fail("standard output");
        if (wanted > 0)
            wanted--;
    }
    free(copy);
    return fflush(stdout) ? 1 : 0;
}
