// What the test programs share: a check that tells its line, a clock, and frames full of marks.
#ifndef CHECK_H
#define CHECK_H
#include <milkglass.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static inline void failed(const char *file, int line, const char *what) {
    fprintf(stderr, "%s:%d: %s: %s\n", file, line, what, milkglass_last_error());
    exit(1);
}

#define CHECK(what) ((what) ? (void)0 : failed(__FILE__, __LINE__, #what))

enum { WIDTH = 96, HEIGHT = 64, LUMA = WIDTH * HEIGHT, LENGTH = LUMA * 3 / 2 };
// The face, in every frame, on odd corners: luma and chroma in it have values that nothing else has.
enum { FACE_X = 31, FACE_Y = 17, FACE_W = 20, FACE_H = 24, MARK = 211, BACKGROUND = 40 };

static inline void sleep_ms(long ms) {
    struct timespec time = {ms / 1000, ms % 1000 * 1000000};
    nanosleep(&time, NULL);
}

static inline uint64_t now_ns(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

static inline milkglass_picture raw_picture(uint8_t raw[LENGTH]) {
    memset(raw, BACKGROUND, LUMA);
    memset(raw + LUMA, 128, LENGTH - LUMA);
    for (int y = FACE_Y; y < FACE_Y + FACE_H; y++) memset(raw + y * WIDTH + FACE_X, MARK, FACE_W);
    for (int y = FACE_Y / 2; y <= (FACE_Y + FACE_H - 1) / 2; y++)
        memset(raw + LUMA + y * WIDTH + FACE_X / 2 * 2, MARK, FACE_W + 2);
    milkglass_picture picture = {sizeof picture, MILKGLASS_NV12, WIDTH, HEIGHT, 0, 0,
                                 {raw, raw + LUMA}, {WIDTH, WIDTH}, {LUMA, LENGTH - LUMA}};
    return picture;
}

static inline milkglass_frame room(uint8_t redacted[LENGTH]) {
    milkglass_frame frame = {sizeof frame, {redacted, redacted + LUMA}, {WIDTH, WIDTH}, {LUMA, LENGTH - LUMA}, 0, 0, 0, 0};
    return frame;
}

static inline milkglass_config pushed(const char *policy) {
    milkglass_config config;
    memset(&config, 0, sizeof config);
    config.size = sizeof config;
    config.policy = policy;
    config.fourcc = MILKGLASS_NV12;
    config.width = WIDTH;
    config.height = HEIGHT;
    config.fps = 50;
    return config;
}

// Finds the face by its mark, as an NPU would.
static inline int find_mark(void *context, const milkglass_picture *picture, milkglass_detection *found, size_t capacity,
                            size_t *count) {
    (void)context;
    if (capacity < 1) return 1;
    if (picture->data[0][FACE_Y * picture->stride[0] + FACE_X] != MARK) return 0;
    found->kind = MILKGLASS_FACES;
    found->x = FACE_X;
    found->y = FACE_Y;
    found->width = FACE_W;
    found->height = FACE_H;
    found->score = 0.9f;
    *count = 1;
    return 0;
}

#endif
