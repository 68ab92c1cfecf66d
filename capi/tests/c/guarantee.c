// Faults played through the C interface: whatever a detector, an owner or other threads do, no marked byte reaches memory
// that a frame is taken to, not for a moment. Every play also demands covered frames where they can be had.
#include "check.h"

enum { GUARD = 64, FRAMES = 40, PERIOD_MS = 10 };

typedef struct {
    milkglass_stream stream;
    int script, calls, running, closing;
    unsigned covered, obscured;
} play;

enum { GOOD, FAILS_OFTEN, LATE, HANGS, TOO_MANY, IMPOSSIBLE, UNKNOWN_KIND, PRIVACY, RELOAD, BROKEN, SCRIPTS, DEAD, NEVER_BACK };

static int scripted(void *context, const milkglass_picture *picture, milkglass_detection *found, size_t capacity,
                    size_t *count) {
    play *p = context;
    int call = p->calls++;
    int failed = find_mark(NULL, picture, found, capacity, count);
    // The first calls are those that measure.
    if (call < 4) return failed;
    switch (p->script) {
    case FAILS_OFTEN: *count = 0; return call % 3 ? 1 : find_mark(NULL, picture, found, capacity, count);
    case LATE: sleep_ms(call % 2 ? 150 : 1); return failed;
    case HANGS: sleep_ms(call < 8 ? 0 : 900); return failed;
    case TOO_MANY: *count = call % 2 ? capacity + 1 : *count; return failed;
    case IMPOSSIBLE:
        if (call % 2) found[0].width = call % 4 == 1 ? -1.0f : 0.0f / 0.0f;
        return failed;
    // From here on it finds nothing, whatever it is shown.
    case DEAD: *count = 0; return 7;
    // It does not come back until it is let.
    case NEVER_BACK:
        while (__atomic_load_n(&p->running, __ATOMIC_SEQ_CST)) sleep_ms(5);
        return failed;
    case UNKNOWN_KIND:
        if (call % 2) found[0].kind = MILKGLASS_PERSONS;
        return failed;
    default: return failed;
    }
}

// Looks at the memory of a frame all the time, whoever is writing to it: I8.
typedef struct {
    volatile const uint8_t *memory;
    size_t length, seen;
    int stop;
} spy;

static void *watch(void *context) {
    spy *s = context;
    while (!__atomic_load_n(&s->stop, __ATOMIC_SEQ_CST)) {
        for (size_t i = 0; i < s->length; i++) s->seen += s->memory[i] == MARK;
        sleep_ms(0);
    }
    return NULL;
}

static void *take_all(void *context) {
    play *p = context;
    enum { STRIDE = WIDTH + 5 };
    static const uint8_t UNTOUCHED = 0xA5;
    size_t luma = STRIDE * HEIGHT, length = luma + STRIDE * HEIGHT / 2;
    uint8_t *memory = malloc(length + 2 * GUARD), *first = memory + GUARD;
    memset(memory, UNTOUCHED, length + 2 * GUARD);
    milkglass_frame frame = {sizeof frame, {first, first + luma}, {STRIDE, STRIDE}, {luma, length - luma}, 0, 0, 0, 0};
    spy s = {memory, length + 2 * GUARD, 0, 0};
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, watch, &s) == 0);
    uint64_t last = 0, time = 0;
    milkglass_status status;
    while ((status = milkglass_take(p->stream, &frame, 2000)) >= 0 && status != MILKGLASS_STATUS_END) {
        if (status == MILKGLASS_STATUS_TIMEOUT) continue;
        CHECK(memchr(memory, MARK, length + 2 * GUARD) == NULL);
        for (size_t i = 0; i < GUARD; i++) CHECK(memory[i] == UNTOUCHED && memory[GUARD + length + i] == UNTOUCHED);
        for (int y = 0; y < HEIGHT; y++)
            for (int x = WIDTH; x < STRIDE; x++) CHECK(first[y * STRIDE + x] == UNTOUCHED);
        if (frame.outcome == MILKGLASS_OUTCOME_COVERED) {
            // Where detections are late, under valgrind on a busy machine, what is hidden grows as far as this corner.
            CHECK(first[0] == BACKGROUND || first[0] == 16);
            p->covered++;
        } else {
            CHECK(frame.outcome == MILKGLASS_OUTCOME_OBSCURED && first[0] == 16);
            p->obscured++;
        }
        CHECK(frame.captured > time && (time == 0 || frame.sequence > last));
        last = frame.sequence, time = frame.captured;
    }
    CHECK(status == MILKGLASS_STATUS_END || (p->closing && status == MILKGLASS_STATUS_NO_STREAM));
    __atomic_store_n(&s.stop, 1, __ATOMIC_SEQ_CST);
    CHECK(pthread_join(thread, NULL) == 0 && s.seen == 0);
    free(memory);
    return NULL;
}

static milkglass_config config_of(play *p) {
    // Room for the slowness of valgrind.
    milkglass_config config = pushed(p->script == HANGS ? "max_gap = '800ms'\ndeadline = '800ms'" : "max_gap = '1s'\ndeadline = '3s'");
    config.detect = scripted;
    config.context = p;
    config.detects = MILKGLASS_FACES;
    config.untested = 1;
    return config;
}

static void play_script(int script, int close_early) {
    static uint8_t raw[LENGTH];
    play p;
    memset(&p, 0, sizeof p);
    p.script = script;
    p.closing = close_early;
    milkglass_config config = config_of(&p);
    CHECK(milkglass_open(&config, &p.stream) == MILKGLASS_STATUS_OK);
    pthread_t taker;
    CHECK(pthread_create(&taker, NULL, take_all, &p) == 0);
    milkglass_picture picture = raw_picture(raw);
    for (int n = 0; n < FRAMES; n++) {
        picture.captured = now_ns();
        CHECK(milkglass_push(p.stream, &picture) >= 0);
        if (script == PRIVACY && n % 10 == 5) CHECK(milkglass_set_privacy(p.stream, n % 20 == 5) == 0);
        if (script == RELOAD && n % 4 == 0)
            CHECK(milkglass_set_policy(p.stream, n % 8 ? "max_gap = '1s'\ndeadline = '3s'\nfaces = 'pixelate'\ncells = 2"
                                                       : "max_gap = '1s'\ndeadline = '3s'\ngrow = 2.0", NULL) == 0);
        // A picture that is cut short, and one of another format: refused, and the stream goes on.
        if (script == BROKEN) {
            milkglass_picture bad = picture;
            bad.length[n % 2] -= 1;
            CHECK(milkglass_push(p.stream, &bad) == MILKGLASS_STATUS_ARGUMENT);
            bad = picture, bad.width /= 2, bad.height /= 2;
            CHECK(milkglass_push(p.stream, &bad) == MILKGLASS_STATUS_ARGUMENT);
            bad = picture, bad.fourcc = MILKGLASS_YU12;
            CHECK(milkglass_push(p.stream, &bad) == MILKGLASS_STATUS_ARGUMENT);
            CHECK(milkglass_set_policy(p.stream, "faces = 'fi", NULL) == MILKGLASS_STATUS_POLICY);
            CHECK(milkglass_set_policy(p.stream, "faces = 'off'", NULL) == MILKGLASS_STATUS_POLICY);
            CHECK(milkglass_set_policy(p.stream, "max_gap = '1ms'", NULL) == MILKGLASS_STATUS_POLICY);
            CHECK(milkglass_set_policy(p.stream, NULL, "/nonexistent") < 0);
        }
        sleep_ms(PERIOD_MS);
    }
    if (!close_early) {
        CHECK(milkglass_finish(p.stream) == MILKGLASS_STATUS_OK);
        CHECK(pthread_join(taker, NULL) == 0);
    }
    milkglass_stats stats = {.size = sizeof stats};
    CHECK(milkglass_read_stats(p.stream, &stats) == MILKGLASS_STATUS_OK);
    CHECK(milkglass_close(p.stream) == MILKGLASS_STATUS_OK);
    if (close_early) CHECK(pthread_join(taker, NULL) == 0);
    printf("script %d: %u covered, %u obscured, %llu failed detections\n", script, p.covered, p.obscured,
           (unsigned long long)stats.detector_errors);
    CHECK(close_early || p.covered > 0);
    int faulty = script == FAILS_OFTEN || script == TOO_MANY || script == IMPOSSIBLE || script == UNKNOWN_KIND;
    CHECK(close_early || !faulty || stats.detector_errors > 0);
}

// A detector that has died: not one frame is covered any more, and the state says so.
static void a_dead_detector_shows_nothing(int script) {
    static uint8_t raw[LENGTH], redacted[LENGTH];
    play p;
    memset(&p, 0, sizeof p);
    p.script = script;
    p.running = 1;
    milkglass_config config = config_of(&p);
    config.policy = "max_gap = '500ms'\ndeadline = '600ms'\nself_test = 'off'";
    CHECK(milkglass_open(&config, &p.stream) == MILKGLASS_STATUS_OK);
    milkglass_picture picture = raw_picture(raw);
    milkglass_frame frame = room(redacted);
    milkglass_stats stats = {.size = sizeof stats};
    while (stats.obscured < 30) {
        picture.captured = now_ns();
        CHECK(milkglass_push(p.stream, &picture) >= 0);
        sleep_ms(PERIOD_MS);
        while (milkglass_take(p.stream, &frame, 0) == MILKGLASS_STATUS_OK) {
            CHECK(frame.outcome == MILKGLASS_OUTCOME_OBSCURED);
            for (int i = 0; i < LUMA; i++) CHECK(redacted[i] == 16);
        }
        CHECK(milkglass_read_stats(p.stream, &stats) == MILKGLASS_STATUS_OK && stats.covered == 0);
    }
    CHECK(stats.state == MILKGLASS_STATE_DEGRADED || stats.state == MILKGLASS_STATE_STARTING);
    // What a watchdog goes by, and what a log goes by.
    if (script == NEVER_BACK) CHECK(stats.detecting > 100000000 && stats.detector_errors == 0);
    else CHECK(stats.detector_errors > 10);
    __atomic_store_n(&p.running, 0, __ATOMIC_SEQ_CST);
    CHECK(milkglass_close(p.stream) == MILKGLASS_STATUS_OK);
}

// Nobody takes: the stream goes on, counts what was missed, holds no more memory than before, and what is taken at last is good.
static void nobody_takes(void) {
    static uint8_t raw[LENGTH], redacted[LENGTH];
    play p;
    memset(&p, 0, sizeof p);
    milkglass_config config = config_of(&p);
    CHECK(milkglass_open(&config, &p.stream) == MILKGLASS_STATUS_OK);
    milkglass_picture picture = raw_picture(raw);
    milkglass_stats stats = {.size = sizeof stats};
    for (int n = 0; stats.missed < 20; n++) {
        CHECK(n < 5000);
        picture.captured = now_ns();
        CHECK(milkglass_push(p.stream, &picture) >= 0);
        sleep_ms(PERIOD_MS);
        CHECK(milkglass_read_stats(p.stream, &stats) == MILKGLASS_STATUS_OK);
    }
    CHECK(stats.covered >= 20 && stats.state == MILKGLASS_STATE_COVERED);
    milkglass_frame frame = room(redacted);
    CHECK(milkglass_take(p.stream, &frame, 5000) == MILKGLASS_STATUS_OK);
    CHECK(memchr(redacted, MARK, LENGTH) == NULL);
    CHECK(milkglass_close(p.stream) == MILKGLASS_STATUS_OK);
}

// A camera that delivers nothing more: the state says so, and the stream goes on when it is back.
static void a_camera_that_freezes_is_waited_for(void) {
    static uint8_t raw[LENGTH], redacted[LENGTH];
    play p;
    memset(&p, 0, sizeof p);
    milkglass_config config = config_of(&p);
    CHECK(milkglass_open(&config, &p.stream) == MILKGLASS_STATUS_OK);
    milkglass_picture picture = raw_picture(raw);
    milkglass_frame frame = room(redacted);
    milkglass_stats stats = {.size = sizeof stats};
    for (int round = 0; round < 2; round++) {
        uint64_t covered = stats.covered;
        for (int n = 0; stats.covered < covered + 3; n++) {
            CHECK(n < 5000);
            picture.captured = now_ns();
            CHECK(milkglass_push(p.stream, &picture) >= 0);
            sleep_ms(PERIOD_MS);
            while (milkglass_take(p.stream, &frame, 0) == MILKGLASS_STATUS_OK) CHECK(memchr(redacted, MARK, LENGTH) == NULL);
            CHECK(milkglass_read_stats(p.stream, &stats) == MILKGLASS_STATUS_OK);
        }
        for (int n = 0; stats.state != MILKGLASS_STATE_NO_CAMERA; n++) {
            CHECK(n < 1000);
            sleep_ms(20);
            CHECK(milkglass_read_stats(p.stream, &stats) == MILKGLASS_STATUS_OK);
        }
        // Whoever waits meanwhile is not left waiting.
        while (milkglass_take(p.stream, &frame, 50) == MILKGLASS_STATUS_OK) CHECK(memchr(redacted, MARK, LENGTH) == NULL);
    }
    CHECK(milkglass_close(p.stream) == MILKGLASS_STATUS_OK);
}

// What waits when privacy mode begins is not to be had any more: and whoever copies a frame is waited for.
static void privacy_reaches_what_waits(void) {
    static uint8_t raw[LENGTH], redacted[LENGTH];
    play p;
    memset(&p, 0, sizeof p);
    milkglass_config config = config_of(&p);
    CHECK(milkglass_open(&config, &p.stream) == MILKGLASS_STATUS_OK);
    milkglass_picture picture = raw_picture(raw);
    milkglass_frame frame = room(redacted);
    for (int n = 0; n < 5; n++) {
        picture.captured = now_ns();
        CHECK(milkglass_push(p.stream, &picture) == MILKGLASS_STATUS_OK);
        sleep_ms(60);
    }
    milkglass_stats stats = {.size = sizeof stats};
    CHECK(milkglass_read_stats(p.stream, &stats) == MILKGLASS_STATUS_OK && stats.covered > 0);
    CHECK(milkglass_set_privacy(p.stream, 1) == MILKGLASS_STATUS_OK);
    picture.captured = now_ns();
    CHECK(milkglass_push(p.stream, &picture) == MILKGLASS_STATUS_OK);
    for (int n = 0; n < 3; n++) {
        // Blanks keep coming, though no frame does.
        CHECK(milkglass_take(p.stream, &frame, 5000) == MILKGLASS_STATUS_OK);
        CHECK(frame.outcome == MILKGLASS_OUTCOME_OBSCURED);
    }
    CHECK(milkglass_close(p.stream) == MILKGLASS_STATUS_OK);
}

// However fast privacy mode comes and goes: what is taken while it holds is flat.
typedef struct {
    milkglass_stream stream;
    // Odd while privacy mode holds.
    unsigned phase, checked;
    int over;
} toggled;

static void *take_toggled(void *context) {
    toggled *t = context;
    uint8_t redacted[LENGTH];
    milkglass_frame frame = room(redacted);
    milkglass_status status;
    do {
        unsigned before = __atomic_load_n(&t->phase, __ATOMIC_SEQ_CST);
        status = milkglass_take(t->stream, &frame, 5);
        unsigned after = __atomic_load_n(&t->phase, __ATOMIC_SEQ_CST);
        CHECK(status >= 0);
        if (status == MILKGLASS_STATUS_OK && before == after && before % 2 == 1) {
            CHECK(frame.outcome == MILKGLASS_OUTCOME_OBSCURED);
            t->checked++;
        }
    } while (status != MILKGLASS_STATUS_END);
    return NULL;
}

static void *push_toggled(void *context) {
    toggled *t = context;
    uint8_t raw[LENGTH];
    milkglass_picture picture = raw_picture(raw);
    while (!__atomic_load_n(&t->over, __ATOMIC_SEQ_CST)) {
        picture.captured = now_ns();
        CHECK(milkglass_push(t->stream, &picture) >= 0);
        sleep_ms(1);
    }
    return NULL;
}

static void privacy_holds_at_once(void) {
    toggled t;
    memset(&t, 0, sizeof t);
    milkglass_config config = pushed("faces = 'off'\n[[zone]]\nname = 'z'\narea = [[0, 0], [1, 0], [1, 1]]\n");
    CHECK(milkglass_open(&config, &t.stream) == MILKGLASS_STATUS_OK);
    pthread_t taker, pusher;
    CHECK(pthread_create(&taker, NULL, take_toggled, &t) == 0 && pthread_create(&pusher, NULL, push_toggled, &t) == 0);
    for (int n = 0; n < 200; n++) {
        CHECK(milkglass_set_privacy(t.stream, 1) == MILKGLASS_STATUS_OK);
        __atomic_add_fetch(&t.phase, 1, __ATOMIC_SEQ_CST);
        sleep_ms(n % 7);
        __atomic_add_fetch(&t.phase, 1, __ATOMIC_SEQ_CST);
        CHECK(milkglass_set_privacy(t.stream, 0) == MILKGLASS_STATUS_OK);
        sleep_ms(n % 5);
    }
    t.over = 1;
    CHECK(pthread_join(pusher, NULL) == 0);
    CHECK(milkglass_finish(t.stream) == MILKGLASS_STATUS_OK && pthread_join(taker, NULL) == 0);
    milkglass_stats stats = {.size = sizeof stats};
    CHECK(milkglass_read_stats(t.stream, &stats) == MILKGLASS_STATUS_OK && milkglass_close(t.stream) == 0);
    printf("%u frames taken in privacy mode, %llu covered beside it\n", t.checked, (unsigned long long)stats.covered);
    CHECK(t.checked > 0 && stats.covered > 0);
}

// When everything was pushed and redacted, privacy mode still reaches what nobody has taken yet.
static void privacy_reaches_what_is_left(void) {
    static uint8_t raw[LENGTH], redacted[LENGTH];
    play p;
    memset(&p, 0, sizeof p);
    milkglass_config config = config_of(&p);
    CHECK(milkglass_open(&config, &p.stream) == MILKGLASS_STATUS_OK);
    milkglass_picture picture = raw_picture(raw);
    milkglass_frame frame = room(redacted);
    picture.captured = now_ns();
    CHECK(milkglass_push(p.stream, &picture) == MILKGLASS_STATUS_OK);
    milkglass_stats stats = {.size = sizeof stats};
    do {
        sleep_ms(10);
        CHECK(milkglass_read_stats(p.stream, &stats) == MILKGLASS_STATUS_OK);
    } while (stats.covered == 0);
    CHECK(milkglass_finish(p.stream) == MILKGLASS_STATUS_OK);
    do {
        sleep_ms(10);
        CHECK(milkglass_read_stats(p.stream, &stats) == MILKGLASS_STATUS_OK);
    } while (stats.state != MILKGLASS_STATE_STOPPED);
    CHECK(milkglass_set_privacy(p.stream, 1) == MILKGLASS_STATUS_STOPPED);
    CHECK(milkglass_take(p.stream, &frame, -1) == MILKGLASS_STATUS_END);
    CHECK(milkglass_close(p.stream) == MILKGLASS_STATUS_OK);
}

// Eight threads do everything at once, to streams that open and close meanwhile.
static volatile milkglass_stream shared[2];
static int over;

static void *hammer(void *context) {
    unsigned seed = (unsigned)(size_t)context;
    static const char *POLICY = "max_gap = '1s'\ndeadline = '3s'";
    uint8_t raw[LENGTH], redacted[LENGTH];
    milkglass_picture picture = raw_picture(raw);
    memset(redacted, 0, sizeof redacted);
    milkglass_frame frame = room(redacted);
    milkglass_stats stats = {.size = sizeof stats};
    milkglass_layout layout = {.size = sizeof layout};
    play p;
    memset(&p, 0, sizeof p);
    milkglass_config config = config_of(&p);
    milkglass_stream own;
    while (!__atomic_load_n(&over, __ATOMIC_SEQ_CST)) {
        milkglass_stream s = shared[rand_r(&seed) % 2];
        milkglass_status status = MILKGLASS_STATUS_OK;
        switch (rand_r(&seed) % 12) {
        case 0: case 1: case 2: case 3: picture.captured = now_ns(); status = milkglass_push(s, &picture); break;
        case 4: case 5: case 6: status = milkglass_take(s, &frame, (int)(rand_r(&seed) % 3)); break;
        case 7: status = milkglass_set_privacy(s, rand_r(&seed) % 4 == 0); break;
        case 8: status = milkglass_set_policy(s, POLICY, NULL); break;
        case 9: status = milkglass_read_stats(s, &stats); break;
        case 10: status = milkglass_read_layout(s, &layout); break;
        default:
            if (rand_r(&seed) % 40 == 0) status = milkglass_close(s);
            // A stream of its own, closed while others may still use its number.
            if (rand_r(&seed) % 40 == 0) {
                CHECK(milkglass_open(&config, &own) == MILKGLASS_STATUS_OK);
                picture.captured = now_ns();
                CHECK(milkglass_push(own, &picture) == MILKGLASS_STATUS_OK);
                CHECK(milkglass_close(own) == MILKGLASS_STATUS_OK);
            }
        }
        CHECK(status >= 0 || status == MILKGLASS_STATUS_NO_STREAM || status == MILKGLASS_STATUS_STOPPED);
        CHECK(memchr(redacted, MARK, LENGTH) == NULL);
    }
    return NULL;
}

static void eight_threads(void) {
    static play plays[64];
    pthread_t threads[8];
    for (size_t n = 0; n < 8; n++) CHECK(pthread_create(&threads[n], NULL, hammer, (void *)(n + 1)) == 0);
    unsigned opened = 0;
    for (uint64_t end = now_ns() + 3000000000u; now_ns() < end && opened < 64; sleep_ms(50)) {
        for (int n = 0; n < 2 && opened < 64; n++) {
            milkglass_stats stats = {.size = sizeof stats};
            if (milkglass_read_stats(shared[n], &stats) == MILKGLASS_STATUS_OK) continue;
            plays[opened].script = (int)(opened % 2 ? FAILS_OFTEN : GOOD);
            milkglass_config config = config_of(&plays[opened]);
            milkglass_stream stream;
            CHECK(milkglass_open(&config, &stream) == MILKGLASS_STATUS_OK);
            shared[n] = stream;
            opened++;
        }
    }
    __atomic_store_n(&over, 1, __ATOMIC_SEQ_CST);
    for (size_t n = 0; n < 8; n++) CHECK(pthread_join(threads[n], NULL) == 0);
    milkglass_close(shared[0]);
    milkglass_close(shared[1]);
    CHECK(opened > 2);
}

int main(void) {
    for (int script = GOOD; script < SCRIPTS; script++) play_script(script, 0);
    play_script(HANGS, 1);
    play_script(GOOD, 1);
    a_dead_detector_shows_nothing(DEAD);
    a_dead_detector_shows_nothing(NEVER_BACK);
    nobody_takes();
    a_camera_that_freezes_is_waited_for();
    privacy_reaches_what_waits();
    privacy_reaches_what_is_left();
    privacy_holds_at_once();
    eight_threads();
    puts("done");
    return 0;
}
