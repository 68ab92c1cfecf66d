// Does to a stream what standard input says, a line for each call, and tells what came of it: for the tests of the lock and of
// the evidence log, which make the files.
#include "check.h"
#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>

static milkglass_config config;
static milkglass_stream stream;
static char kept[8][4096];

// A text that stays where it is, or nothing.
static const char *keep(int slot, const char *text) {
    return *text ? strcpy(kept[slot], text) : NULL;
}

static void tell(milkglass_status status) {
    printf("%d %s\n", status, status < 0 ? milkglass_last_error() : "");
}

// Pushes frames and takes them: none may show the mark, and one has to be covered.
static void push(void) {
    static uint8_t raw[LENGTH], redacted[LENGTH];
    milkglass_picture picture = raw_picture(raw);
    milkglass_frame frame = room(redacted);
    int covered = 0;
    for (int n = 0; n < 20 || !covered; n++) {
        CHECK(n < 2000);
        picture.captured = now_ns();
        CHECK(milkglass_push(stream, &picture) >= 0);
        sleep_ms(20);
        while (milkglass_take(stream, &frame, 0) == MILKGLASS_STATUS_OK) {
            CHECK(memchr(redacted, MARK, LENGTH) == NULL);
            covered += frame.outcome == MILKGLASS_OUTCOME_COVERED;
        }
    }
    printf("0 covered\n");
}

static void checkpoint(void) {
    char line[MILKGLASS_CHECKPOINT_BYTES];
    milkglass_status status = milkglass_checkpoint(stream, line, sizeof line);
    printf("%d %s\n", status, status < 0 ? milkglass_last_error() : line);
}

static void stats(void) {
    milkglass_stats now = {.size = sizeof now};
    milkglass_status status = milkglass_read_stats(stream, &now);
    printf("%d %llu %llu %u\n", status, (unsigned long long)now.covered, (unsigned long long)now.evidence_errors,
           now.evidence_trouble);
}

// From here on no file of this program grows, as on a full disk.
static void fill_disk(void) {
    struct rlimit none = {0, 0};
    signal(SIGXFSZ, SIG_IGN);
    CHECK(setrlimit(RLIMIT_FSIZE, &none) == 0);
}

int main(void) {
    config = pushed(NULL);
    config.detect = find_mark;
    config.detects = MILKGLASS_FACES | MILKGLASS_PERSONS;
    config.untested = 1;
    char line[8192];
    while (fgets(line, sizeof line, stdin)) {
        line[strcspn(line, "\n")] = 0;
        char *space = strchr(line, ' '), *value = space ? space + 1 : line + strlen(line);
        if (space) *space = 0;
        const char *call = line;
        if (!strcmp(call, "lock")) config.lock = keep(0, value);
        else if (!strcmp(call, "key")) config.owner_key = keep(1, value);
        else if (!strcmp(call, "state")) config.state_dir = keep(2, value);
        else if (!strcmp(call, "evidence")) config.evidence = keep(3, value);
        else if (!strcmp(call, "device")) config.device_key = keep(4, value);
        else if (!strcmp(call, "models")) config.models = keep(5, value), config.detect = NULL, config.detects = config.untested = 0;
        else if (!strcmp(call, "open")) config.policy_file = keep(6, value), tell(milkglass_open(&config, &stream));
        else if (!strcmp(call, "set")) tell(milkglass_set_policy(stream, NULL, keep(7, value)));
        else if (!strcmp(call, "push")) push();
        else if (!strcmp(call, "checkpoint")) checkpoint();
        else if (!strcmp(call, "stats")) stats();
        else if (!strcmp(call, "disk-full")) fill_disk();
        else if (!strcmp(call, "close")) tell(milkglass_close(stream));
        else if (!strcmp(call, "power-cut")) fflush(stdout), _exit(0);
        else CHECK(!"known call");
        fflush(stdout);
    }
    return 0;
}
