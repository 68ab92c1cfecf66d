// Opening fails after the stream's threads have begun, while one of them is in the callback: when milkglass_open has returned,
// the callback has too, and is not called again. Arguments: lock file, owner's key, state folder.
#include "check.h"
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

// Large enough for self-tests, which fail: nobody is ever found. They are tried again a second later, by the stream's thread.
enum { WIDE = 192, HIGH = 128 };

static pthread_t opener;
static char memory[4096];
static int calls, inside;

static int detect(void *context, const milkglass_picture *picture, milkglass_detection *found, size_t capacity, size_t *count) {
    (void)context, (void)picture, (void)found, (void)capacity, (void)count;
    __atomic_add_fetch(&calls, 1, __ATOMIC_SEQ_CST);
    if (pthread_equal(pthread_self(), opener)) {
        // What the device remembers has been read once. The second time, when it is to be written, reading takes until
        // somebody writes to this pipe.
        if (access(memory, F_OK) != 0) CHECK(mkfifo(memory, 0600) == 0);
        return 0;
    }
    __atomic_store_n(&inside, 1, __ATOMIC_SEQ_CST);
    sleep_ms(1000);
    __atomic_store_n(&inside, 0, __ATOMIC_SEQ_CST);
    return 0;
}

static void *spoil(void *context) {
    (void)context;
    while (!__atomic_load_n(&inside, __ATOMIC_SEQ_CST)) sleep_ms(2);
    int fifo = open(memory, O_WRONLY);
    CHECK(fifo >= 0 && write(fifo, "rubbish", 7) == 7 && close(fifo) == 0);
    return NULL;
}

int main(int argc, char **argv) {
    CHECK(argc == 4);
    CHECK(mkdir(argv[3], 0700) == 0);
    snprintf(memory, sizeof memory, "%s/owner.toml", argv[3]);
    opener = pthread_self();
    pthread_t spoiler;
    CHECK(pthread_create(&spoiler, NULL, spoil, NULL) == 0);
    milkglass_config config = pushed(NULL);
    config.width = WIDE;
    config.height = HIGH;
    config.lock = argv[1];
    config.owner_key = argv[2];
    config.state_dir = argv[3];
    config.detect = detect;
    config.detects = MILKGLASS_FACES;
    config.untested = 1;
    milkglass_stream stream = 77;
    milkglass_status status = milkglass_open(&config, &stream);
    CHECK(!__atomic_load_n(&inside, __ATOMIC_SEQ_CST));
    int before = __atomic_load_n(&calls, __ATOMIC_SEQ_CST);
    CHECK(status == MILKGLASS_STATUS_POLICY && stream == 0 && strstr(milkglass_last_error(), "owner.toml is damaged"));
    sleep_ms(2500);
    CHECK(__atomic_load_n(&calls, __ATOMIC_SEQ_CST) == before);
    CHECK(pthread_join(spoiler, NULL) == 0);
    printf("done\n");
    return 0;
}
