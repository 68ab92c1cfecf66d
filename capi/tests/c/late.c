// Opening fails after the stream's threads have begun, while one of them is in the callback: when milkglass_open has returned,
// the callback has too, and is not called again. Arguments: lock file, owner's key, state folder.
#include "check.h"
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

// Large enough for the known persons. They are shown again a second later, by the stream's thread.
enum { WIDE = 320, HIGH = 240 };

static pthread_t opener;
static char memory[4096];
static int calls, inside;

// Where the known person stands, who is the only thing in the picture that is not smooth: a face in the middle of her upper
// half, whichever way she looks.
static void find_known(const milkglass_picture *picture, milkglass_detection *found, size_t *count) {
    long left = WIDE, top = HIGH, right = 0, bottom = 0;
    for (long y = 0; y < HIGH; y++) {
        const uint8_t *row = picture->data[0] + (size_t)y * picture->stride[0];
        for (long x = 1; x < WIDE; x++) {
            if (abs(row[x] - row[x - 1]) < 6) continue;
            if (x < left) left = x;
            if (x > right) right = x;
            if (y < top) top = y;
            if (y > bottom) bottom = y;
        }
    }
    if (right < left + 8 || bottom < top + 8) return;
    float wide = (float)(right - left), high = (float)(bottom - top);
    milkglass_detection face = {MILKGLASS_FACES, 0, (float)left + 0.3f * wide, (float)top + 0.2f * high, 0.4f * wide, 0.3f * high, 0.9f, 2};
    found[(*count)++] = face;
}

static int detect(void *context, const milkglass_picture *picture, milkglass_detection *found, size_t capacity, size_t *count) {
    (void)context;
    if (capacity > 0) find_known(picture, found, count);
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
