// Runs in the emulated machine of tests/v4l2, where vivid is the camera: the library captures, this program takes, and the
// test injects faults meanwhile. What leaves is compared with the one picture that the camera shows: the face hidden, the rest
// equal, or all of one colour. Standard input steers it, a letter each; a line with figures comes ten times a second.
#include <milkglass.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { WIDTH = 320, HEIGHT = 180, STRIDE = WIDTH * 2, LENGTH = STRIDE * HEIGHT, BLACK = 16 };
// The "face".
enum { X = 112, Y = 48, SIDE = 64 };

static const char *POLICY = "max_gap = '3s'\ndeadline = '4s'\nself_test = 'off'";
static uint8_t raw[LENGTH];
static int known, shown, changing, taking = 1, closing, held;
static unsigned covered, obscured;
static milkglass_stream stream;
static milkglass_config config;

static void failed(int line, const char *what) {
    fprintf(stderr, "camera.c:%d: %s: %s\n", line, what, milkglass_last_error());
    exit(1);
}
#define CHECK(what) ((what) ? (void)0 : failed(__LINE__, #what))

static int detect(void *context, const milkglass_picture *picture, milkglass_detection *found, size_t capacity, size_t *count) {
    (void)context;
    if (capacity < 1) return 1;
    // The blank picture that the library measures with, or the camera's.
    if (picture->data[0][1] != 0) {
        for (int y = 0; y < HEIGHT; y++) memcpy(raw + y * STRIDE, picture->data[0] + y * picture->stride[0], STRIDE);
        __atomic_store_n(&known, 1, __ATOMIC_SEQ_CST);
    }
    *found = (milkglass_detection){MILKGLASS_FACES, 0, X, Y, SIDE, SIDE, 0.9f, 0};
    *count = 1;
    return 0;
}

static void judge(const uint8_t *frame, uint32_t outcome) {
    int seen = 0;
    for (int i = 0; i < WIDTH * HEIGHT; i++) {
        int x = i % WIDTH, y = i / WIDTH, luma = frame[i * 2];
        int face = x >= X && x < X + SIDE && y >= Y && y < Y + SIDE;
        if (face || outcome == MILKGLASS_OUTCOME_OBSCURED) CHECK(luma == BLACK);
        else if (luma != BLACK && luma != raw[i * 2] && !__atomic_load_n(&changing, __ATOMIC_SEQ_CST)) {
            fprintf(stderr, "at %d, %d: %d instead of %d\n", x, y, luma, raw[i * 2]);
            exit(1);
        } else seen += luma != BLACK;
    }
    // What is hidden around the face grows with the time between detections, and emulated ones are slow.
    if (seen > WIDTH * HEIGHT / 2) __atomic_store_n(&shown, 1, __ATOMIC_SEQ_CST);
}

static void *take(void *context) {
    static uint8_t memory[LENGTH];
    milkglass_frame frame = {sizeof frame, {memory}, {STRIDE}, {LENGTH}, 0, 0, 0, 0};
    (void)context;
    for (;;) {
        if (!__atomic_load_n(&taking, __ATOMIC_SEQ_CST)) {
            nanosleep(&(struct timespec){0, 20000000}, NULL);
            continue;
        }
        int private = __atomic_load_n(&held, __ATOMIC_SEQ_CST);
        milkglass_status status = milkglass_take(stream, &frame, 500);
        if (status == MILKGLASS_STATUS_TIMEOUT) continue;
        if (status == MILKGLASS_STATUS_NO_STREAM && __atomic_load_n(&closing, __ATOMIC_SEQ_CST)) return NULL;
        if (status == MILKGLASS_STATUS_STOPPED) {
            printf("stopped: %s\n", milkglass_last_error());
            fflush(stdout);
            exit(3);
        }
        CHECK(status == MILKGLASS_STATUS_OK);
        CHECK(!private || !__atomic_load_n(&held, __ATOMIC_SEQ_CST) || frame.outcome == MILKGLASS_OUTCOME_OBSCURED);
        CHECK(frame.outcome == MILKGLASS_OUTCOME_OBSCURED || __atomic_load_n(&known, __ATOMIC_SEQ_CST));
        judge(memory, frame.outcome);
        unsigned *counter = frame.outcome == MILKGLASS_OUTCOME_COVERED ? &covered : &obscured;
        __atomic_add_fetch(counter, 1, __ATOMIC_SEQ_CST);
    }
}

static pthread_t taker;

static void begin(void) {
    CHECK(milkglass_open(&config, &stream) == MILKGLASS_STATUS_OK);
    milkglass_layout layout = {.size = sizeof layout};
    CHECK(milkglass_read_layout(stream, &layout) == MILKGLASS_STATUS_OK);
    CHECK(layout.width == WIDTH && layout.height == HEIGHT && layout.row_bytes[0] == STRIDE);
    closing = 0;
    CHECK(pthread_create(&taker, NULL, take, NULL) == 0);
}

static void obey(char letter) {
    switch (letter) {
    case 'p': CHECK(milkglass_set_privacy(stream, 1) == MILKGLASS_STATUS_OK), __atomic_store_n(&held, 1, __ATOMIC_SEQ_CST); break;
    case 'q': __atomic_store_n(&held, 0, __ATOMIC_SEQ_CST), CHECK(milkglass_set_privacy(stream, 0) == MILKGLASS_STATUS_OK); break;
    case 's': __atomic_store_n(&taking, 0, __ATOMIC_SEQ_CST); break;
    case 't': __atomic_store_n(&taking, 1, __ATOMIC_SEQ_CST); break;
    // The camera's picture is about to change.
    case 'x': __atomic_store_n(&changing, 1, __ATOMIC_SEQ_CST); break;
    case 'b':
        CHECK(milkglass_set_policy(stream, "faces = 'no", NULL) == MILKGLASS_STATUS_POLICY);
        CHECK(milkglass_set_policy(stream, "faces = 'off'", NULL) == MILKGLASS_STATUS_POLICY);
        CHECK(milkglass_set_policy(stream, "max_gap = '1ms'", NULL) == MILKGLASS_STATUS_POLICY);
        CHECK(milkglass_set_policy(stream, POLICY, NULL) == MILKGLASS_STATUS_OK);
        break;
    case 'c':
        // In the middle, with a thread that waits in it.
        __atomic_store_n(&closing, 1, __ATOMIC_SEQ_CST);
        CHECK(milkglass_close(stream) == MILKGLASS_STATUS_OK && pthread_join(taker, NULL) == 0);
        begin();
        break;
    default: CHECK(!"known letter");
    }
}

int main(int argc, char **argv) {
    CHECK(argc == 2 && fcntl(0, F_SETFL, O_NONBLOCK) == 0);
    config = (milkglass_config){.size = sizeof config, .policy = POLICY, .camera = argv[1], .fourcc = MILKGLASS_YUYV,
                                .width = WIDTH, .height = HEIGHT, .fps = 10, .detect = detect, .detects = MILKGLASS_FACES, .untested = 1};
    begin();
    char letter;
    ssize_t got;
    while ((got = read(0, &letter, 1)) != 0) {
        if (got == 1) obey(letter);
        milkglass_stats stats = {.size = sizeof stats};
        CHECK(milkglass_read_stats(stream, &stats) == MILKGLASS_STATUS_OK);
        printf("%u %u %u %llu\n", __atomic_load_n(&covered, __ATOMIC_SEQ_CST), __atomic_load_n(&obscured, __ATOMIC_SEQ_CST),
               stats.state, (unsigned long long)stats.missed);
        fflush(stdout);
        nanosleep(&(struct timespec){0, 100000000}, NULL);
    }
    __atomic_store_n(&closing, 1, __ATOMIC_SEQ_CST);
    CHECK(milkglass_close(stream) == MILKGLASS_STATUS_OK && pthread_join(taker, NULL) == 0);
    CHECK(shown);
    return 0;
}
