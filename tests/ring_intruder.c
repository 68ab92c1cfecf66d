// Tries to change the memory of a ring that it is given, in every way there is. Prints what worked; nothing should.
#define main consumer
#include "../examples/ring_consumer.c"
#undef main
#include <fcntl.h>
#include <linux/falloc.h>
#include <sys/stat.h>

static int worked;

static void tried(const char *where, const char *what, int is_done)
{
    if (is_done) {
        printf("%s: %s\n", where, what);
        worked = 1;
    }
}

static void intrude(const char *where, int memory, uint64_t len)
{
    tried(where, "write", write(memory, "x", 1) == 1);
    tried(where, "pwrite", pwrite(memory, "x", 1, 100) == 1);
    tried(where, "shrink", ftruncate(memory, 1) == 0);
    tried(where, "grow", ftruncate(memory, len + 4096) == 0);
    tried(where, "punch a hole", fallocate(memory, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 4096) == 0);
    tried(where, "seal", fcntl(memory, F_ADD_SEALS, F_SEAL_WRITE) == 0);
    tried(where, "map", mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, memory, 0) != MAP_FAILED);
    void *start = mmap(NULL, len, PROT_READ, MAP_SHARED, memory, 0);
    if (start == MAP_FAILED)
        fail("reading should work");
    tried(where, "mprotect", mprotect(start, len, PROT_READ | PROT_WRITE) == 0);
}

int main(int argc, char **argv)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    strcpy(address.sun_path, argc > 1 ? argv[1] : "");
    int ring = socket(AF_UNIX, SOCK_SEQPACKET, 0);
    if (connect(ring, (struct sockaddr *)&address, sizeof address) < 0)
        fail("connect");
    struct hello hello;
    int memory = greeting(ring, &hello);
    intrude("as given", memory, hello.memory);
    // The same user, root too, opens it anew with more rights.
    char name[64];
    snprintf(name, sizeof name, "/proc/self/fd/%d", memory);
    fchmod(memory, 0777);
    int again = open(name, O_RDWR);
    if (again >= 0)
        intrude("opened for writing", again, hello.memory);
    printf("done\n");
    return worked;
}
