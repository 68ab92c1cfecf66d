// A camera whose owner has locked the policy, and which keeps evidence: what a firmware adds to the first example.
//
//     cc firmware.c $(pkg-config --cflags --libs milkglass) -o firmware
//     ./firmware camera.lock $(cat owner.pub) /data/milkglass < raw.nv12 > redacted.nv12
//
// Raw NV12 of 640x360 comes by standard input, 10 frames a second. The newest checkpoint of the log goes to standard error; a
// device sends it away, once an hour for instance.
#include <milkglass.h>
#include <stdio.h>
#include <time.h>

enum { WIDTH = 640, HEIGHT = 360, LUMA = WIDTH * HEIGHT, LENGTH = LUMA * 3 / 2, FPS = 10 };

static int failed(void) {
    fprintf(stderr, "firmware: %s\n", milkglass_last_error());
    return 1;
}

int main(int argc, char **argv) {
    static uint8_t raw[LENGTH], redacted[LENGTH];
    char log[4096], checkpoint[MILKGLASS_CHECKPOINT_BYTES];
    if (argc != 4) {
        fprintf(stderr, "usage: firmware CAMERA.lock OWNERS_PUBLIC_KEY FOLDER < raw.nv12 > redacted.nv12\n");
        return 2;
    }
    snprintf(log, sizeof log, "%s/evidence", argv[3]);
    milkglass_config config = {.size = sizeof config, .fourcc = MILKGLASS_NV12, .width = WIDTH, .height = HEIGHT, .fps = FPS};
    config.lock = argv[1];       // what must at least be hidden, signed; no policy beside it: it is the policy
    config.owner_key = argv[2];  // in a firmware: a constant, on a partition that is never written to
    config.state_dir = argv[3];  // the strongest policy so far, across restarts
    config.evidence = log;
    milkglass_stream stream;
    if (milkglass_open(&config, &stream) != MILKGLASS_STATUS_OK) return failed();

    milkglass_picture in = {sizeof in, MILKGLASS_NV12, WIDTH, HEIGHT, 0, 0, {raw, raw + LUMA}, {WIDTH, WIDTH}, {LUMA, LUMA / 2}};
    milkglass_frame out = {.size = sizeof out, .data = {redacted, redacted + LUMA},
                           .stride = {WIDTH, WIDTH}, .length = {LUMA, LUMA / 2}};
    milkglass_status status = MILKGLASS_STATUS_OK;
    while (status >= 0 && fread(raw, 1, LENGTH, stdin) == LENGTH) {
        in.captured += 1000000000 / FPS;
        status = milkglass_push(stream, &in);
        nanosleep(&(struct timespec){0, 1000000000 / FPS}, NULL);
        while (status >= 0 && (status = milkglass_take(stream, &out, 0)) == MILKGLASS_STATUS_OK)
            fwrite(redacted, 1, LENGTH, stdout);
    }
    if (status < 0) return failed();
    if (milkglass_checkpoint(stream, checkpoint, sizeof checkpoint) == MILKGLASS_STATUS_OK) fprintf(stderr, "%s\n", checkpoint);
    milkglass_stats stats = {.size = sizeof stats};
    // Redaction goes on without the log; somebody should know.
    if (milkglass_read_stats(stream, &stats) == MILKGLASS_STATUS_OK && stats.evidence_trouble)
        fprintf(stderr, "firmware: the evidence log cannot be written\n");
    return milkglass_close(stream) == MILKGLASS_STATUS_OK ? 0 : failed();
}
