// A detector of your own, an NPU's for instance: the library is given its boxes by a callback. This one stands for it.
//
//     cc npu.c $(pkg-config --cflags --libs milkglass) -o npu && ./npu
#include <milkglass.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

enum { WIDTH = 320, HEIGHT = 240 };

// Finds the bright square. It is lent the raw picture until it returns, and must keep nothing of it.
static int detect(void *npu, const milkglass_picture *picture, milkglass_detection *found, size_t capacity, size_t *count) {
    (void)npu;
    for (size_t y = 0; y < picture->height; y++) {
        const uint8_t *row = picture->data[0] + y * picture->stride[0];
        const uint8_t *bright = memchr(row, 235, picture->width);
        if (bright != NULL && capacity > 0) {
            milkglass_detection face = {MILKGLASS_FACES, 0, (float)(bright - row), (float)y, 40, 40, 0.9f, 2};
            found[(*count)++] = face;
            return 0;
        }
    }
    // 0 and no box says: nobody is there. If the NPU has failed, return anything else: then the picture stays hidden.
    return 0;
}

int main(void) {
    milkglass_config config = {.size = sizeof config, .fourcc = MILKGLASS_NV12, .width = WIDTH, .height = HEIGHT, .fps = 30};
    // Leave self_test out for a real detector: it is shown a known face now and then, and trusted while it finds it.
    config.policy = "faces = 'fill'\nmax_gap = '500ms'\ndeadline = '2s'\nself_test = 'off'";
    config.detect = detect;
    config.detects = MILKGLASS_FACES;
    // Leave untested out for a real detector: it is shown known faces before the first frame, and believed if it finds them.
    config.untested = 1;
    milkglass_stream stream;
    if (milkglass_open(&config, &stream) != MILKGLASS_STATUS_OK) {
        fprintf(stderr, "%s\n", milkglass_last_error());
        return 1;
    }
    static uint8_t raw[WIDTH * HEIGHT * 3 / 2], redacted[WIDTH * HEIGHT * 3 / 2];
    milkglass_picture in = {sizeof in, MILKGLASS_NV12, WIDTH, HEIGHT, 0, 0,
                            {raw, raw + WIDTH * HEIGHT}, {WIDTH, WIDTH}, {WIDTH * HEIGHT, WIDTH * HEIGHT / 2}};
    milkglass_frame out = {.size = sizeof out, .data = {redacted, redacted + WIDTH * HEIGHT},
                           .stride = {WIDTH, WIDTH}, .length = {WIDTH * HEIGHT, WIDTH * HEIGHT / 2}};
    unsigned covered = 0, bright = 0;
    for (int n = 0; n < 30; n++) {
        memset(raw, 90, WIDTH * HEIGHT);
        memset(raw + WIDTH * HEIGHT, 128, WIDTH * HEIGHT / 2);
        for (int y = 100; y < 140; y++) memset(raw + y * WIDTH + 60 + 2 * n, 235, 40);
        in.captured = (uint64_t)n * 33333333 + 1;
        if (milkglass_push(stream, &in) < 0) break;
        nanosleep(&(struct timespec){0, 33333333}, NULL);
        if (n == 29) milkglass_finish(stream);
        while (milkglass_take(stream, &out, n == 29 ? -1 : 0) == MILKGLASS_STATUS_OK) {
            covered += out.outcome == MILKGLASS_OUTCOME_COVERED;
            bright += memchr(redacted, 235, WIDTH * HEIGHT) != NULL;
        }
    }
    milkglass_stats stats = {.size = sizeof stats};
    milkglass_read_stats(stream, &stats);
    printf("%u frames covered, %u with bright pixels left, %llu detections, worst-case exposure %llu ms\n", covered, bright,
           (unsigned long long)stats.observations, (unsigned long long)stats.exposure / 1000000);
    milkglass_close(stream);
    return covered == 0 || bright != 0;
}
