// Pushes marked frames to a stream that shares them, until standard input ends; a byte there begins privacy mode.
#include "check.h"
#include <fcntl.h>
#include <unistd.h>

int main(int argc, char **argv) {
    milkglass_config config = pushed("max_gap = '2s'\ndeadline = '3s'\n");
    config.detect = find_mark;
    config.detects = MILKGLASS_FACES;
    config.untested = 1;
    milkglass_stream stream;
    config.ring = "/nonexistent/folder/cam.sock";
    CHECK(milkglass_open(&config, &stream) < 0 && strstr(milkglass_last_error(), config.ring));
    CHECK(argc == 2);
    config.ring = argv[1];
    if (milkglass_open(&config, &stream) < 0) {
        printf("%s\n", milkglass_last_error());
        return 3;
    }
    CHECK(fcntl(0, F_SETFL, O_NONBLOCK) == 0);
    uint8_t raw[LENGTH];
    milkglass_picture picture = raw_picture(raw);
    ssize_t got;
    char byte;
    while ((got = read(0, &byte, 1)) != 0) {
        if (got == 1) {
            CHECK(milkglass_set_privacy(stream, 1) == MILKGLASS_STATUS_OK);
            printf("privacy\n");
            fflush(stdout);
        }
        picture.captured = now_ns();
        CHECK(milkglass_push(stream, &picture) >= 0);
        sleep_ms(20);
    }
    CHECK(milkglass_close(stream) == MILKGLASS_STATUS_OK);
    CHECK(access(argv[1], F_OK) != 0);
    printf("done\n");
    return 0;
}
