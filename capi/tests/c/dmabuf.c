// Runs in the emulated machine of tests/v4l2, where an output device of vivid exports its buffers: this program writes
// pictures into them, and pushes them as DMABUFs. What leaves is compared with what was written: the face hidden, the
// rest equal. The device says whether planes share a buffer (NV12) or have one each (NM12).
#define _GNU_SOURCE
#include <milkglass.h>
#include <dirent.h>
#include <fcntl.h>
#include <linux/videodev2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

enum { WIDTH = 640, HEIGHT = 480, BUFFERS = 2, FRAMES = 30, BLACK = 16, GREY = 128 };
// The face, on odd corners, of a value that nothing else has; and what buffers are overwritten with once they are
// pushed.
enum { X = 211, Y = 121, SIDE = 96, MARK = 211, LATER = 222 };

static void failed(int line, const char *what) {
    fprintf(stderr, "dmabuf.c:%d: %s: %s\n", line, what, milkglass_last_error());
    exit(1);
}
#define CHECK(what) ((what) ? (void)0 : failed(__LINE__, #what))

// A plane of memory: ours to write, and the driver's export of it.
struct memory {
    uint8_t *bytes;
    size_t length, stride;
    int fd;
};
static struct memory buffers[BUFFERS][2];
static int planes, type;
static unsigned covered, obscured, shown;

static void export(const char *device) {
    int video = open(device, O_RDWR | O_CLOEXEC);
    struct v4l2_capability can;
    CHECK(video >= 0 && ioctl(video, VIDIOC_QUERYCAP, &can) == 0);
    planes = can.device_caps & V4L2_CAP_VIDEO_OUTPUT_MPLANE ? 2 : 1;
    type = planes == 2 ? V4L2_BUF_TYPE_VIDEO_OUTPUT_MPLANE : V4L2_BUF_TYPE_VIDEO_OUTPUT;
    struct v4l2_format format = {.type = type};
    CHECK(ioctl(video, VIDIOC_G_FMT, &format) == 0);
    struct v4l2_pix_format_mplane *several = &format.fmt.pix_mp;
    struct v4l2_pix_format *one = &format.fmt.pix;
    // Both begin with width and height.
    CHECK(one->width == WIDTH && one->height == HEIGHT);
    CHECK(planes == 2 ? several->pixelformat == V4L2_PIX_FMT_NV12M : one->pixelformat == V4L2_PIX_FMT_NV12);
    struct v4l2_requestbuffers request = {.count = BUFFERS, .type = type, .memory = V4L2_MEMORY_MMAP};
    CHECK(ioctl(video, VIDIOC_REQBUFS, &request) == 0 && request.count == BUFFERS);
    for (int b = 0; b < BUFFERS; b++) {
        struct v4l2_plane its[VIDEO_MAX_PLANES] = {0};
        struct v4l2_buffer buffer = {.type = type, .memory = V4L2_MEMORY_MMAP, .index = b};
        if (planes == 2) buffer.m.planes = its, buffer.length = VIDEO_MAX_PLANES;
        CHECK(ioctl(video, VIDIOC_QUERYBUF, &buffer) == 0);
        for (int p = 0; p < planes; p++) {
            struct memory *memory = &buffers[b][p];
            memory->length = planes == 2 ? its[p].length : buffer.length;
            memory->stride = planes == 2 ? several->plane_fmt[p].bytesperline : one->bytesperline;
            off_t at = planes == 2 ? its[p].m.mem_offset : buffer.m.offset;
            memory->bytes = mmap(NULL, memory->length, PROT_READ | PROT_WRITE, MAP_SHARED, video, at);
            struct v4l2_exportbuffer export = {.type = type, .index = b, .plane = p, .flags = O_CLOEXEC | O_RDONLY};
            CHECK(memory->bytes != MAP_FAILED && ioctl(video, VIDIOC_EXPBUF, &export) == 0);
            memory->fd = export.fd;
        }
    }
}

static uint8_t *row(int buffer, int plane, int y) {
    struct memory *memory = &buffers[buffer][planes == 2 ? plane : 0];
    return memory->bytes + (planes == 1 && plane == 1 ? memory->stride * HEIGHT : 0) + memory->stride * y;
}

// What frame n shows at a byte of a plane's row.
static uint8_t value(unsigned n, int plane, int x, int y) {
    int luma_x = plane ? x / 2 * 2 : x, luma_y = plane ? y * 2 : y, edge = plane ? 1 : 0;
    if (luma_x >= X - edge && luma_x < X + SIDE && luma_y >= Y - edge && luma_y < Y + SIDE) return MARK;
    return 20 + (x * 3 + y * 5 + n * 17 + plane * 40) % 100;
}

static void draw(int buffer, unsigned n) {
    for (int p = 0; p < 2; p++)
        for (int y = 0; y < HEIGHT >> p; y++)
            for (int x = 0; x < WIDTH; x++) row(buffer, p, y)[x] = value(n, p, x, y);
}

static milkglass_dmabuf picture_of(int buffer) {
    struct memory *its = buffers[buffer];
    milkglass_dmabuf picture = {sizeof picture, MILKGLASS_NV12, WIDTH, HEIGHT, {its[0].fd, its[planes - 1].fd}, 0,
                                {0, planes == 1 ? its[0].stride * HEIGHT : 0}, {its[0].stride, its[planes - 1].stride}};
    return picture;
}

// A picture in one DMABUF, chroma behind luma, as V4L2 lays out NV12.
static milkglass_status push(milkglass_stream stream, int fd, size_t stride, uint64_t captured) {
    milkglass_dmabuf picture = {sizeof picture, MILKGLASS_NV12, WIDTH, HEIGHT, {fd, fd}, captured,
                                {0, stride * HEIGHT}, {stride, stride}};
    return milkglass_push_dmabuf(stream, &picture);
}

static int detect(void *context, const milkglass_picture *picture, milkglass_detection *found, size_t capacity,
                  size_t *count) {
    (void)context;
    // The blank picture that the library measures with has no face.
    if (capacity < 1 || picture->data[0][Y * picture->stride[0] + X] != MARK) return capacity < 1;
    *found = (milkglass_detection){MILKGLASS_FACES, 0, X, Y, SIDE, SIDE, 0.9f, 0};
    *count = 1;
    return 0;
}

static void judge(const uint8_t *frame, unsigned n, uint32_t outcome) {
    unsigned seen = 0;
    for (int p = 0; p < 2; p++)
        for (int y = 0; y < HEIGHT >> p; y++)
            for (int x = 0; x < WIDTH; x++) {
                uint8_t got = *frame++, raw = value(n, p, x, y), hidden = p ? GREY : BLACK;
                if (got != hidden && (got != raw || raw == MARK || outcome != MILKGLASS_OUTCOME_COVERED)) {
                    fprintf(stderr, "frame %u, plane %d at %d, %d: %d, pushed as %d\n", n, p, x, y, got, raw);
                    exit(1);
                }
                seen += got != hidden;
            }
    if (outcome != MILKGLASS_OUTCOME_COVERED) obscured++;
    else covered++, shown += seen > WIDTH * HEIGHT / 2;
}

// Descriptors of this program, and its mappings of DMABUFs.
static int open_files(void) {
    int count = 0;
    DIR *folder = opendir("/proc/self/fd");
    CHECK(folder != NULL);
    while (readdir(folder) != NULL) count++;
    closedir(folder);
    return count;
}
static int mappings(void) {
    int count = 0;
    char line[512];
    FILE *maps = fopen("/proc/self/maps", "r");
    CHECK(maps != NULL);
    while (fgets(line, sizeof line, maps) != NULL) count += strstr(line, "/dmabuf:") != NULL;
    fclose(maps);
    return count;
}

static void refuse(milkglass_stream stream, milkglass_dmabuf picture, const char *why) {
    CHECK(milkglass_push_dmabuf(stream, &picture) == MILKGLASS_STATUS_ARGUMENT);
    CHECK(strstr(milkglass_last_error(), why) != NULL);
}

static void wrong_ones_are_refused(milkglass_stream stream) {
    milkglass_dmabuf good = picture_of(0), bad;
    // A DMABUF consists of whole pages.
    size_t size = (size_t)lseek(good.fd[1], 0, SEEK_END), last = size - (HEIGHT / 2 - 1) * good.stride[1] - WIDTH;
    CHECK(size % 4096 == 0 && size >= buffers[0][planes - 1].length);
    bad = good, bad.fd[1] = -1, refuse(stream, bad, "fd[1] is -1: no descriptor");
    bad = good, bad.fd[1] = 0, refuse(stream, bad, "fd[1] is 0");
    bad = good, bad.offset[1] = last + 1, refuse(stream, bad, "from offset[1]");
    bad = good, bad.offset[0] = SIZE_MAX, refuse(stream, bad, "from offset[0]");
    bad = good, bad.stride[0] = size * planes / (HEIGHT - 1) + 1, refuse(stream, bad, "fd[0] has");
    bad = good, bad.stride[1] = WIDTH - 1, refuse(stream, bad, "stride[1] is 639, a row has 640 bytes");
    // To the last byte.
    bad = good, bad.offset[1] = last;
    CHECK(milkglass_push_dmabuf(stream, &bad) == MILKGLASS_STATUS_OK);
    milkglass_stats stats = {.size = sizeof stats};
    do CHECK(milkglass_read_stats(stream, &stats) == MILKGLASS_STATUS_OK);
    while (stats.covered + stats.obscured == 0);
    CHECK(stats.pushed == 1);
}

static void pictures_come_out_redacted(milkglass_stream stream) {
    static uint8_t redacted[WIDTH * HEIGHT * 3 / 2], before[2][WIDTH * HEIGHT * 2];
    milkglass_frame out = {sizeof out, {redacted, redacted + WIDTH * HEIGHT}, {WIDTH, WIDTH},
                           {WIDTH * HEIGHT, WIDTH * HEIGHT / 2}, 0, 0, 0, 0};
    int files = open_files();
    // Ours would be seen.
    void *seen = mmap(NULL, 4096, PROT_READ, MAP_SHARED, buffers[0][0].fd, 0);
    CHECK(seen != MAP_FAILED && mappings() == 1 && munmap(seen, 4096) == 0);
    for (unsigned n = 0; n < FRAMES; n++) {
        int b = n % BUFFERS;
        draw(b, n);
        for (int p = 0; p < planes; p++) {
            CHECK(buffers[b][p].length <= sizeof before[p]);
            memcpy(before[p], buffers[b][p].bytes, buffers[b][p].length);
        }
        milkglass_dmabuf picture = picture_of(b);
        for (int p = 0; p < 2; p++) CHECK((picture.fd[p] = dup(buffers[b][p * (planes - 1)].fd)) >= 0);
        picture.captured = 100000000ull * (n + 1);
        milkglass_status status = planes == 1 ? push(stream, picture.fd[0], picture.stride[0], picture.captured)
                                              : milkglass_push_dmabuf(stream, &picture);
        CHECK(status == MILKGLASS_STATUS_OK);
        // Nothing of them is kept, and nothing in them was changed. What is in them later does not leave either.
        CHECK(close(picture.fd[0]) == 0 && close(picture.fd[1]) == 0 && open_files() == files && mappings() == 0);
        for (int p = 0; p < planes; p++) {
            CHECK(memcmp(before[p], buffers[b][p].bytes, buffers[b][p].length) == 0);
            memset(buffers[b][p].bytes, LATER, buffers[b][p].length);
        }
        nanosleep(&(struct timespec){0, 100000000}, NULL);
        while ((status = milkglass_take(stream, &out, 0)) == MILKGLASS_STATUS_OK)
            judge(redacted, out.sequence, out.outcome);
        CHECK(status == MILKGLASS_STATUS_TIMEOUT);
    }
    CHECK(milkglass_finish(stream) == MILKGLASS_STATUS_OK);
    while (milkglass_take(stream, &out, -1) == MILKGLASS_STATUS_OK) judge(redacted, out.sequence, out.outcome);
    CHECK(covered + obscured > FRAMES / 2 && shown >= 5);
}

int main(int argc, char **argv) {
    CHECK(argc == 2);
    export(argv[1]);
    milkglass_config config = {.size = sizeof config, .policy = "max_gap = '3s'\ndeadline = '4s'\nself_test = 'off'",
                               .fourcc = MILKGLASS_NV12, .width = WIDTH, .height = HEIGHT, .fps = 10, .detect = detect,
                               .detects = MILKGLASS_FACES, .untested = 1};
    milkglass_stream stream;
    CHECK(milkglass_open(&config, &stream) == MILKGLASS_STATUS_OK);
    wrong_ones_are_refused(stream);
    CHECK(milkglass_close(stream) == MILKGLASS_STATUS_OK);
    CHECK(milkglass_open(&config, &stream) == MILKGLASS_STATUS_OK);
    pictures_come_out_redacted(stream);
    CHECK(milkglass_close(stream) == MILKGLASS_STATUS_OK);
    printf("%d: %u covered, %u obscured\n", planes, covered, obscured);
    return 0;
}
