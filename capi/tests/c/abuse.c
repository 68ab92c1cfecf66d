// Whatever a program does wrong is an error with a reason, and nothing worse: run under AddressSanitizer and valgrind.
#define _GNU_SOURCE
#include "check.h"
#include <fcntl.h>
#include <limits.h>
#include <math.h>
#include <sys/mman.h>
#include <unistd.h>

#define REFUSED(call, what) CHECK((call) == (what) && milkglass_last_error()[0] != 0)

static const char *LIVE = "max_gap = '1s'\ndeadline = '5s'";
static uint8_t raw[LENGTH], redacted[LENGTH];

static void config_is_checked(void) {
    milkglass_stream stream = 77;
    milkglass_config good = pushed(LIVE), bad;
    good.detect = find_mark;
    good.detects = MILKGLASS_FACES;
    good.untested = 1;
    REFUSED(milkglass_open(NULL, &stream), MILKGLASS_STATUS_ARGUMENT);
    CHECK(stream == 0);
    REFUSED(milkglass_open(&good, NULL), MILKGLASS_STATUS_ARGUMENT);
#define WRONG(field, value, status) (bad = good, bad.field = (value), REFUSED(milkglass_open(&bad, &stream), status))
    WRONG(size, 0, MILKGLASS_STATUS_ARGUMENT);
    WRONG(size, 7, MILKGLASS_STATUS_ARGUMENT);
    WRONG(size, SIZE_MAX, MILKGLASS_STATUS_ARGUMENT);
    WRONG(policy, "faces = ", MILKGLASS_STATUS_POLICY);
    WRONG(policy, "faces = 'off'", MILKGLASS_STATUS_POLICY);
    WRONG(policy, "persons = 'fill'", MILKGLASS_STATUS_POLICY);
    WRONG(policy, "cells = 64", MILKGLASS_STATUS_POLICY);
    WRONG(policy, "reversible = false\nfaces = 'pixelate'", MILKGLASS_STATUS_POLICY);
    WRONG(policy, "shape = 'round'", MILKGLASS_STATUS_POLICY);
    WRONG(policy, "deadline = '1ms'", MILKGLASS_STATUS_POLICY);
    WRONG(policy, "\xff", MILKGLASS_STATUS_ARGUMENT);
    WRONG(policy_file, "also", MILKGLASS_STATUS_ARGUMENT);
    bad = good, bad.policy = NULL, bad.policy_file = "/nonexistent";
    REFUSED(milkglass_open(&bad, &stream), MILKGLASS_STATUS_POLICY);
    WRONG(fourcc, 0, MILKGLASS_STATUS_ARGUMENT);
    WRONG(fourcc, 0x34363248, MILKGLASS_STATUS_ARGUMENT);
    WRONG(width, 0, MILKGLASS_STATUS_ARGUMENT);
    WRONG(width, UINT32_MAX, MILKGLASS_STATUS_ARGUMENT);
    WRONG(height, 16385, MILKGLASS_STATUS_ARGUMENT);
    WRONG(fps, 0, MILKGLASS_STATUS_ARGUMENT);
    WRONG(fps, -1, MILKGLASS_STATUS_ARGUMENT);
    WRONG(fps, NAN, MILKGLASS_STATUS_ARGUMENT);
    WRONG(fps, INFINITY, MILKGLASS_STATUS_ARGUMENT);
    WRONG(orientation, 9, MILKGLASS_STATUS_ARGUMENT);
    WRONG(orientation, 257, MILKGLASS_STATUS_ARGUMENT);
    WRONG(pixel_aspect_width, 1, MILKGLASS_STATUS_ARGUMENT);
    WRONG(pixel_aspect_height, 1, MILKGLASS_STATUS_ARGUMENT);
    (bad = good, bad.pixel_aspect_width = 9, bad.pixel_aspect_height = 1);
    REFUSED(milkglass_open(&bad, &stream), MILKGLASS_STATUS_ARGUMENT);
    WRONG(matrix, 1, MILKGLASS_STATUS_ARGUMENT);
    WRONG(buffers, 1, MILKGLASS_STATUS_ARGUMENT);
    WRONG(buffers, UINT32_MAX, MILKGLASS_STATUS_ARGUMENT);
    WRONG(detects, 0, MILKGLASS_STATUS_ARGUMENT);
    WRONG(detects, 4, MILKGLASS_STATUS_ARGUMENT);
    WRONG(detect, NULL, MILKGLASS_STATUS_ARGUMENT);
    WRONG(reserved, 1, MILKGLASS_STATUS_ARGUMENT);
    // In a build without locks or logs, asking for one is refused as well.
    (bad = good, bad.lock = "/nonexistent", CHECK(milkglass_open(&bad, &stream) < 0 && stream == 0));
    (bad = good, bad.owner_key = "00", CHECK(milkglass_open(&bad, &stream) < 0 && stream == 0));
    WRONG(lock, "\xff", MILKGLASS_STATUS_ARGUMENT);
    WRONG(evidence, "\xff", MILKGLASS_STATUS_ARGUMENT);
    // A program that was built with the first version. Its detector is one of those that have to find the known persons: it
    // could not say that it cannot.
    bad = good;
    bad.size = offsetof(milkglass_config, lock);
    REFUSED(milkglass_open(&bad, &stream), MILKGLASS_STATUS_DETECTOR);
    bad.policy = "faces = 'off'\n[[zone]]\nname = 'all'\narea = [[0, 0], [1, 0], [1, 1]]\n";
    CHECK(milkglass_open(&bad, &stream) == MILKGLASS_STATUS_OK && milkglass_close(stream) == MILKGLASS_STATUS_OK);
    WRONG(camera, "/nonexistent", MILKGLASS_STATUS_CAMERA);
    WRONG(camera, "/dev/null", MILKGLASS_STATUS_CAMERA);
    CHECK(stream == 0);
    // A program that knows more than the library: what it leaves at zero is no matter, what it asks for is refused.
    struct {
        milkglass_config config;
        uint64_t later;
    } newer = {good, 0};
    newer.config.size = sizeof newer;
    CHECK(milkglass_open(&newer.config, &stream) == MILKGLASS_STATUS_OK);
    CHECK(milkglass_close(stream) == MILKGLASS_STATUS_OK);
    newer.later = 1;
    REFUSED(milkglass_open(&newer.config, &stream), MILKGLASS_STATUS_ARGUMENT);
}

static int finds_nothing(void *context, const milkglass_picture *picture, milkglass_detection *found, size_t capacity,
                         size_t *count) {
    (void)context, (void)picture, (void)found, (void)capacity, (void)count;
    return 0;
}

static int fails(void *context, const milkglass_picture *picture, milkglass_detection *found, size_t capacity,
                 size_t *count) {
    finds_nothing(context, picture, found, capacity, count);
    return -5;
}

// Every call that would wait for this callback is refused, and the others work.
static int calls_back(void *context, const milkglass_picture *picture, milkglass_detection *found, size_t capacity,
                      size_t *count) {
    milkglass_stream stream = *(volatile milkglass_stream *)context;
    if (stream != 0) {
        milkglass_frame frame = room(redacted);
        milkglass_stats stats;
        memset(&stats, 0, sizeof stats);
        stats.size = sizeof stats;
        milkglass_config config = pushed(LIVE);
        milkglass_stream another;
        REFUSED(milkglass_close(stream), MILKGLASS_STATUS_ARGUMENT);
        REFUSED(milkglass_take(stream, &frame, -1), MILKGLASS_STATUS_ARGUMENT);
        REFUSED(milkglass_open(&config, &another), MILKGLASS_STATUS_ARGUMENT);
        REFUSED(milkglass_set_log(NULL, NULL, 1), MILKGLASS_STATUS_ARGUMENT);
        REFUSED(milkglass_checkpoint(stream, NULL, 0), MILKGLASS_STATUS_ARGUMENT);
        CHECK(milkglass_read_stats(stream, &stats) == MILKGLASS_STATUS_OK && stats.detecting < 60000000000u);
        CHECK(milkglass_set_privacy(stream, 0) == MILKGLASS_STATUS_OK);
    }
    return find_mark(context, picture, found, capacity, count);
}

static void pictures_are_checked(void) {
    volatile milkglass_stream shared = 0;
    milkglass_stream stream;
    milkglass_config config = pushed(LIVE);
    config.detect = calls_back;
    config.context = (void *)&shared;
    config.detects = MILKGLASS_FACES;
    config.untested = 1;
    CHECK(milkglass_open(&config, &stream) == MILKGLASS_STATUS_OK);
    shared = stream;
    milkglass_picture good = raw_picture(raw), bad;
    good.captured = 1;
    REFUSED(milkglass_push(stream, NULL), MILKGLASS_STATUS_ARGUMENT);
#define WRONG_PICTURE(field, value) \
    (bad = good, bad.field = (value), REFUSED(milkglass_push(stream, &bad), MILKGLASS_STATUS_ARGUMENT))
    WRONG_PICTURE(size, 0);
    WRONG_PICTURE(size, 8);
    WRONG_PICTURE(fourcc, MILKGLASS_YUYV);
    WRONG_PICTURE(width, WIDTH - 1);
    WRONG_PICTURE(height, HEIGHT + 2);
    WRONG_PICTURE(data[0], NULL);
    WRONG_PICTURE(data[1], NULL);
    WRONG_PICTURE(stride[0], WIDTH - 1);
    WRONG_PICTURE(stride[0], 0);
    WRONG_PICTURE(stride[1], WIDTH + 1);
    WRONG_PICTURE(stride[1], SIZE_MAX);
    WRONG_PICTURE(stride[0], SIZE_MAX / 2);
    WRONG_PICTURE(length[0], LUMA - 1);
    WRONG_PICTURE(length[1], 0);

    // A frame in memory that is no DMABUF, as large as it may be. What becomes of true ones: tests/v4l2.
    int memory = memfd_create("picture", MFD_ALLOW_SEALING), closed = dup(memory), ends[2];
    CHECK(memory >= 0 && closed >= 0 && ftruncate(memory, 1 << 20) == 0 && pipe(ends) == 0 && close(closed) == 0);
    CHECK(fcntl(memory, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW) == 0);
    milkglass_dmabuf shared_picture = {sizeof shared_picture, MILKGLASS_NV12, WIDTH, HEIGHT, {memory, memory}, 1,
                                       {0, LUMA}, {WIDTH, WIDTH}}, bad_one;
    REFUSED(milkglass_push_dmabuf(stream, NULL), MILKGLASS_STATUS_ARGUMENT);
#define WRONG_DMABUF(field, value, why) \
    (bad_one = shared_picture, bad_one.field = (value), \
     REFUSED(milkglass_push_dmabuf(stream, &bad_one), MILKGLASS_STATUS_ARGUMENT), \
     CHECK(strstr(milkglass_last_error(), why) != NULL))
    WRONG_DMABUF(size, 0, "picture.size is 0");
    WRONG_DMABUF(size, sizeof bad_one - 1, "picture.size");
    WRONG_DMABUF(fourcc, MILKGLASS_YUYV, "open a stream for it");
    WRONG_DMABUF(width, WIDTH - 1, "open a stream for it");
    WRONG_DMABUF(stride[0], WIDTH - 1, "stride[0] is 95, a row has 96 bytes");
    WRONG_DMABUF(stride[0], SIZE_MAX / 2, "no memory is that large");
    WRONG_DMABUF(fd[0], memory, "it is no DMABUF");
    WRONG_DMABUF(fd[0], ends[0], "it is no DMABUF");
    WRONG_DMABUF(fd[0], 0, "it is no DMABUF");
    WRONG_DMABUF(fd[0], -1, "fd[0] is -1: no descriptor");
    WRONG_DMABUF(fd[0], INT_MIN, "no descriptor");
    WRONG_DMABUF(fd[0], closed, "Bad file descriptor");
    WRONG_DMABUF(fd[0], INT_MAX, "Bad file descriptor");
    CHECK(close(memory) == 0 && close(ends[0]) == 0 && close(ends[1]) == 0);

    milkglass_frame fits = room(redacted), frame;
    REFUSED(milkglass_take(stream, NULL, 0), MILKGLASS_STATUS_ARGUMENT);
#define WRONG_FRAME(field, value) \
    (frame = fits, frame.field = (value), REFUSED(milkglass_take(stream, &frame, -1), MILKGLASS_STATUS_ARGUMENT))
    WRONG_FRAME(size, 1);
    WRONG_FRAME(data[0], NULL);
    WRONG_FRAME(data[1], NULL);
    WRONG_FRAME(stride[0], WIDTH - 1);
    WRONG_FRAME(stride[1], SIZE_MAX);
    WRONG_FRAME(length[0], LUMA - 1);
    WRONG_FRAME(length[1], 1);
    CHECK(milkglass_take(stream, &fits, 0) == MILKGLASS_STATUS_TIMEOUT);
    CHECK(milkglass_take(stream, &fits, 20) == MILKGLASS_STATUS_TIMEOUT);

    // The same time twice: the second one is discarded and counted.
    CHECK(milkglass_push(stream, &good) == MILKGLASS_STATUS_OK);
    CHECK(milkglass_push(stream, &good) == MILKGLASS_STATUS_OK);
    // Who never waits gets it too, once it is there.
    milkglass_status status;
    while ((status = milkglass_take(stream, &fits, 0)) == MILKGLASS_STATUS_TIMEOUT) sleep_ms(1);
    CHECK(status == MILKGLASS_STATUS_OK && fits.sequence == 0 && fits.captured == 1);
    CHECK(fits.outcome == MILKGLASS_OUTCOME_COVERED && memchr(redacted, MARK, LENGTH) == NULL);
    milkglass_stats stats;
    REFUSED(milkglass_read_stats(stream, NULL), MILKGLASS_STATUS_ARGUMENT);
    stats.size = 3;
    REFUSED(milkglass_read_stats(stream, &stats), MILKGLASS_STATUS_ARGUMENT);
    stats.size = sizeof stats;
    char line[MILKGLASS_CHECKPOINT_BYTES];
    REFUSED(milkglass_checkpoint(stream, NULL, sizeof line), MILKGLASS_STATUS_ARGUMENT);
    REFUSED(milkglass_checkpoint(stream, line, sizeof line - 1), MILKGLASS_STATUS_ARGUMENT);
    REFUSED(milkglass_checkpoint(stream, line, sizeof line), MILKGLASS_STATUS_ARGUMENT);
    milkglass_layout layout;
    REFUSED(milkglass_read_layout(stream, NULL), MILKGLASS_STATUS_ARGUMENT);
    layout.size = sizeof layout;
    CHECK(milkglass_read_layout(stream, &layout) == MILKGLASS_STATUS_OK && layout.planes == 2);
    CHECK(layout.row_bytes[1] == WIDTH && layout.rows[1] == HEIGHT / 2 && layout.fps == 50);
    CHECK(layout.pixel_aspect_width == 1 && layout.pixel_aspect_height == 1);

    REFUSED(milkglass_set_policy(stream, "faces = 'off'", NULL), MILKGLASS_STATUS_POLICY);
    REFUSED(milkglass_set_policy(stream, "preset = 'careful'", NULL), MILKGLASS_STATUS_POLICY);
    REFUSED(milkglass_set_policy(stream, "reversible = false\nfaces = 'blur'", NULL), MILKGLASS_STATUS_POLICY);
    REFUSED(milkglass_set_policy(stream, "", "both"), MILKGLASS_STATUS_ARGUMENT);
    CHECK(milkglass_set_policy(stream, LIVE, NULL) == MILKGLASS_STATUS_OK);

    CHECK(milkglass_finish(stream) == MILKGLASS_STATUS_OK);
    CHECK(milkglass_finish(stream) == MILKGLASS_STATUS_OK);
    CHECK(milkglass_push(stream, &good) == MILKGLASS_STATUS_END);
    CHECK(milkglass_take(stream, &fits, -1) == MILKGLASS_STATUS_END);
    CHECK(milkglass_take(stream, &fits, -1) == MILKGLASS_STATUS_END);
    CHECK(milkglass_read_stats(stream, &stats) == MILKGLASS_STATUS_OK);
    CHECK(stats.skipped == 1 && stats.covered == 1 && stats.state == MILKGLASS_STATE_STOPPED);
    REFUSED(milkglass_set_privacy(stream, 1), MILKGLASS_STATUS_STOPPED);
    REFUSED(milkglass_set_policy(stream, LIVE, NULL), MILKGLASS_STATUS_STOPPED);
    CHECK(milkglass_close(stream) == MILKGLASS_STATUS_OK);
}

static int dropped;

static void count_dropped(void *context, int level, const char *text) {
    (void)context, (void)level;
    if (strstr(text, "no longer hidden") && strstr(text, "zone left")) __atomic_add_fetch(&dropped, 1, __ATOMIC_SEQ_CST);
}

// A zone is hidden until somebody says that it is not: not by a text that was never set, or a file that was emptied.
static void nothing_given_drops_no_zone(void) {
    milkglass_config config = pushed("max_gap = '1s'\ndeadline = '5s'\n[[zone]]\nname = 'left'\n"
                                     "area = [[0,0],[0.3,0],[0.3,1],[0,1]]");
    config.detect = find_mark;
    config.detects = MILKGLASS_FACES;
    config.untested = 1;
    config.pixel_aspect_width = 128, config.pixel_aspect_height = 90;
    milkglass_stream stream;
    CHECK(milkglass_open(&config, &stream) == MILKGLASS_STATUS_OK);
    milkglass_layout layout = {.size = sizeof layout};
    CHECK(milkglass_read_layout(stream, &layout) == MILKGLASS_STATUS_OK);
    CHECK(layout.pixel_aspect_width == 64 && layout.pixel_aspect_height == 45);
    REFUSED(milkglass_set_policy(stream, NULL, NULL), MILKGLASS_STATUS_ARGUMENT);
    CHECK(strstr(milkglass_last_error(), "faces = 'fill'"));
    REFUSED(milkglass_set_policy(stream, "", NULL), MILKGLASS_STATUS_POLICY);
    REFUSED(milkglass_set_policy(stream, " \n# nothing\n", NULL), MILKGLASS_STATUS_POLICY);
    REFUSED(milkglass_set_policy(stream, "zone = []", NULL), MILKGLASS_STATUS_POLICY);
    REFUSED(milkglass_set_policy(stream, NULL, "/dev/null"), MILKGLASS_STATUS_POLICY);
    REFUSED(milkglass_set_policy(stream, NULL, ""), MILKGLASS_STATUS_POLICY);
    uint8_t raw[LENGTH], redacted[LENGTH];
    milkglass_picture picture = raw_picture(raw);
    milkglass_frame frame = room(redacted);
    for (int n = 0, covered = 0; n < 20 || !covered; n++) {
        CHECK(n < 2000);
        picture.captured = now_ns();
        CHECK(milkglass_push(stream, &picture) >= 0);
        sleep_ms(20);
        while (milkglass_take(stream, &frame, 0) == MILKGLASS_STATUS_OK) {
            CHECK(redacted[0] == 16 && redacted[LUMA - WIDTH] == 16);
            covered += frame.outcome == MILKGLASS_OUTCOME_COVERED;
        }
    }
    // Said in so many words, it is done, and told.
    CHECK(milkglass_set_log(count_dropped, NULL, 2) == MILKGLASS_STATUS_OK);
    CHECK(milkglass_set_policy(stream, "faces = 'fill'\nmax_gap = '1s'\ndeadline = '5s'", NULL) == MILKGLASS_STATUS_OK);
    CHECK(milkglass_set_log(NULL, NULL, 0) == MILKGLASS_STATUS_OK);
    CHECK(dropped == 1);
    CHECK(milkglass_close(stream) == MILKGLASS_STATUS_OK);
}

static void stale_streams_are_errors(void) {
    milkglass_config config = pushed(LIVE);
    config.detect = finds_nothing;
    config.detects = MILKGLASS_FACES | MILKGLASS_PERSONS;
    config.untested = 1;
    milkglass_stream first, second;
    CHECK(milkglass_open(&config, &first) == MILKGLASS_STATUS_OK);
    CHECK(milkglass_close(first) == MILKGLASS_STATUS_OK);
    CHECK(milkglass_open(&config, &second) == MILKGLASS_STATUS_OK && second != first);
    milkglass_stream stale[] = {first, 0, second + 1, UINT64_MAX};
    for (size_t i = 0; i < sizeof stale / sizeof *stale; i++) {
        milkglass_stream s = stale[i];
        milkglass_picture picture = raw_picture(raw);
        milkglass_frame frame = room(redacted);
        milkglass_stats stats = {.size = sizeof stats};
        milkglass_layout layout = {.size = sizeof layout};
        char line[MILKGLASS_CHECKPOINT_BYTES];
        REFUSED(milkglass_close(s), MILKGLASS_STATUS_NO_STREAM);
        REFUSED(milkglass_finish(s), MILKGLASS_STATUS_NO_STREAM);
        REFUSED(milkglass_push(s, &picture), MILKGLASS_STATUS_NO_STREAM);
        REFUSED(milkglass_push_dmabuf(s, NULL), MILKGLASS_STATUS_NO_STREAM);
        REFUSED(milkglass_take(s, &frame, -1), MILKGLASS_STATUS_NO_STREAM);
        REFUSED(milkglass_set_privacy(s, 1), MILKGLASS_STATUS_NO_STREAM);
        REFUSED(milkglass_set_policy(s, "", NULL), MILKGLASS_STATUS_NO_STREAM);
        REFUSED(milkglass_read_stats(s, &stats), MILKGLASS_STATUS_NO_STREAM);
        REFUSED(milkglass_read_layout(s, &layout), MILKGLASS_STATUS_NO_STREAM);
        REFUSED(milkglass_checkpoint(s, line, sizeof line), MILKGLASS_STATUS_NO_STREAM);
    }
    CHECK(milkglass_close(second) == MILKGLASS_STATUS_OK);
    config.detect = fails;
    REFUSED(milkglass_open(&config, &first), MILKGLASS_STATUS_DETECTOR);
    CHECK(strstr(milkglass_last_error(), "-5") != NULL);
}

// A detector that sees nothing, and says so, would let everything out as it is.
static void a_blind_detector_does_not_start(void) {
    milkglass_config config = pushed(LIVE);
    config.width = 320, config.height = 240;
    config.detect = finds_nothing;
    config.detects = MILKGLASS_FACES;
    milkglass_stream stream;
    REFUSED(milkglass_open(&config, &stream), MILKGLASS_STATUS_DETECTOR);
    CHECK(stream == 0 && strstr(milkglass_last_error(), "known face") != NULL);
    config.smallest_face = 200;
    REFUSED(milkglass_open(&config, &stream), MILKGLASS_STATUS_DETECTOR);
    config.policy = "self_test = 'off'\nmax_gap = '1s'\ndeadline = '5s'";
    REFUSED(milkglass_open(&config, &stream), MILKGLASS_STATUS_DETECTOR);
    config.untested = 1;
    REFUSED(milkglass_open(&config, &stream), MILKGLASS_STATUS_ARGUMENT);
    config.smallest_face = 0;
    CHECK(milkglass_open(&config, &stream) == MILKGLASS_STATUS_OK);
    milkglass_stats stats = {.size = sizeof stats};
    CHECK(milkglass_read_stats(stream, &stats) == MILKGLASS_STATUS_OK && stats.untested == 1);
    CHECK(milkglass_close(stream) == MILKGLASS_STATUS_OK);
}

static int lines;
static void count_line(void *context, int level, const char *text) {
    CHECK(level >= 1 && level <= 5 && text[0] != 0);
    milkglass_stats stats = {.size = sizeof stats};
    CHECK(milkglass_read_stats(1, &stats) == MILKGLASS_STATUS_ARGUMENT);
    __atomic_add_fetch((int *)context, 1, __ATOMIC_SEQ_CST);
}

static void log_lines_come(void) {
    REFUSED(milkglass_set_log(count_line, &lines, 0), MILKGLASS_STATUS_ARGUMENT);
    REFUSED(milkglass_set_log(count_line, &lines, 6), MILKGLASS_STATUS_ARGUMENT);
    CHECK(milkglass_set_log(count_line, &lines, 3) == MILKGLASS_STATUS_OK);
    stale_streams_are_errors();
    CHECK(milkglass_set_log(NULL, NULL, 0) == MILKGLASS_STATUS_OK);
    int before = lines;
    CHECK(before > 0);
    stale_streams_are_errors();
    CHECK(lines == before);
}

int main(void) {
    CHECK(milkglass_version()[0] != 0 && milkglass_last_error()[0] == 0);
    config_is_checked();
    pictures_are_checked();
    nothing_given_drops_no_zone();
    stale_streams_are_errors();
    a_blind_detector_does_not_start();
    log_lines_come();
    puts("done");
    return 0;
}
