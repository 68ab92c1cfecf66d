// An exception that leaves a callback ends the program; it does not run on with half a stack, and nothing is written.
#include "check.h"

static int throws(void *, const milkglass_picture *, milkglass_detection *, size_t, size_t *) { throw 1; }

int main() {
    milkglass_config config = pushed(nullptr);
    config.detect = throws;
    config.detects = MILKGLASS_FACES;
    config.untested = 1;
    milkglass_stream stream;
    milkglass_open(&config, &stream);
    puts("done");
}
