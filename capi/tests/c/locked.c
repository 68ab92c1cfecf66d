// Frames that are kept out of swap, or a stream that does not open.
#include "check.h"
#include <linux/capability.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

// KiB of this program that are locked.
static long locked(void) {
    FILE *status = fopen("/proc/self/status", "r");
    CHECK(status != NULL);
    char line[256];
    long kib = -1;
    while (fgets(line, sizeof line, status) != NULL) sscanf(line, "VmLck: %ld", &kib);
    fclose(status);
    CHECK(kib >= 0);
    return kib;
}

// The limit counts for everybody but those with this capability.
static void obey_the_limit(void) {
    struct __user_cap_header_struct head = {_LINUX_CAPABILITY_VERSION_3, 0};
    struct __user_cap_data_struct sets[2];
    CHECK(syscall(SYS_capget, &head, sets) == 0);
    sets[0].effective &= ~(1u << CAP_IPC_LOCK);
    sets[0].permitted &= ~(1u << CAP_IPC_LOCK);
    CHECK(syscall(SYS_capset, &head, sets) == 0);
}

static void limit(rlim_t bytes) {
    struct rlimit limit = {bytes, RLIM_INFINITY};
    CHECK(getrlimit(RLIMIT_MEMLOCK, &limit) == 0);
    limit.rlim_cur = bytes;
    CHECK(setrlimit(RLIMIT_MEMLOCK, &limit) == 0);
}

int main(void) {
    obey_the_limit();
    milkglass_config config = pushed("max_gap = '2s'\ndeadline = '3s'\n");
    config.detect = find_mark;
    config.detects = MILKGLASS_FACES;
    config.untested = 1;
    config.buffers = 20;
    milkglass_stream stream = 0;
    long before = locked();

    CHECK(milkglass_open(&config, &stream) == MILKGLASS_STATUS_OK);
    CHECK(locked() == before);
    CHECK(milkglass_close(stream) == MILKGLASS_STATUS_OK);

    config.lock_memory = 1;
    CHECK(milkglass_open(&config, &stream) == MILKGLASS_STATUS_OK);
    CHECK(locked() >= before + (long)config.buffers * LENGTH / 1024);
    uint8_t raw[LENGTH], redacted[LENGTH];
    milkglass_picture picture = raw_picture(raw);
    picture.captured = now_ns();
    CHECK(milkglass_push(stream, &picture) == MILKGLASS_STATUS_OK);
    milkglass_frame frame = room(redacted);
    CHECK(milkglass_take(stream, &frame, 10000) == MILKGLASS_STATUS_OK);
    CHECK(milkglass_close(stream) == MILKGLASS_STATUS_OK);
    CHECK(locked() == before);

    // None at all, and too little.
    const char *allowed[] = {"0 KiB are allowed", "32 KiB are allowed"};
    for (int i = 0; i < 2; i++) {
        limit(32768 * i);
        CHECK(milkglass_open(&config, &stream) == MILKGLASS_STATUS_CAMERA && stream == 0);
        CHECK(strstr(milkglass_last_error(), "locking 20 frames of "));
        CHECK(strstr(milkglass_last_error(), allowed[i]));
        CHECK(strstr(milkglass_last_error(), "LimitMEMLOCK="));
        CHECK(locked() == before);
    }
    config.lock_memory = 0;
    CHECK(milkglass_open(&config, &stream) == MILKGLASS_STATUS_OK);
    CHECK(milkglass_close(stream) == MILKGLASS_STATUS_OK);
    printf("done\n");
    return 0;
}
