// From nothing to redacted frames: raw NV12 in on standard input, redacted NV12 out on standard output, 30 frames/s.
//
//     cc redact.c $(pkg-config --cflags --libs milkglass) -o redact && ./redact 1280 720 < raw.nv12 > redacted.nv12
#include <milkglass.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

int main(int argc, char **argv) {
    uint32_t width = argc > 2 ? atoi(argv[1]) : 0, height = argc > 2 ? atoi(argv[2]) : 0;
    milkglass_config config = {.size = sizeof config, .fourcc = MILKGLASS_NV12, .width = width, .height = height, .fps = 30};
    config.policy = argc > 3 ? argv[3] : "max_gap = '1s'\ndeadline = '2s'";
    milkglass_stream stream;
    if (milkglass_open(&config, &stream) != MILKGLASS_STATUS_OK) {
        fprintf(stderr, "%s\n", milkglass_last_error());
        return 1;
    }
    size_t luma = (size_t)width * height, length = luma * 3 / 2;
    uint8_t *raw = malloc(length), *redacted = malloc(length);
    milkglass_picture in = {sizeof in, MILKGLASS_NV12, width, height, 0, 0, {raw, raw + luma}, {width, width}, {luma, luma / 2}};
    milkglass_frame out = {.size = sizeof out, .data = {redacted, redacted + luma},
                           .stride = {width, width}, .length = {luma, luma / 2}};
    milkglass_status status = MILKGLASS_STATUS_OK;
    while (status >= 0 && status != MILKGLASS_STATUS_END) {
        if (fread(raw, 1, length, stdin) == length) {
            in.captured += 33333333;
            status = milkglass_push(stream, &in);
            nanosleep(&(struct timespec){0, 33333333}, NULL);
        } else {
            milkglass_finish(stream);
        }
        while (status >= 0 && (status = milkglass_take(stream, &out, feof(stdin) ? -1 : 0)) == MILKGLASS_STATUS_OK)
            fwrite(redacted, 1, length, stdout);
    }
    if (status < 0) fprintf(stderr, "%s\n", milkglass_last_error());
    milkglass_close(stream);
    free(raw), free(redacted);
    return status < 0;
}
