// C++: the library captures from a V4L2 camera itself; redacted frames go to standard output as raw pictures.
//
//     c++ -std=c++17 camera.cpp $(pkg-config --cflags --libs milkglass) -o camera && ./camera /dev/video0 policy.toml > out.raw
#include <milkglass.h>

#include <cstdio>
#include <stdexcept>
#include <string>
#include <vector>

namespace {

// Every call that fails is an exception. None may leave a callback, and here there is no callback.
milkglass_status check(milkglass_status status) {
    if (status < 0) throw std::runtime_error(milkglass_last_error());
    return status;
}

class Stream {
public:
    explicit Stream(const milkglass_config &config) { check(milkglass_open(&config, &number_)); }
    Stream(const Stream &) = delete;
    Stream &operator=(const Stream &) = delete;
    ~Stream() { milkglass_close(number_); }
    operator milkglass_stream() const { return number_; }

private:
    milkglass_stream number_ = 0;
};

void say(void *, int, const char *text) { std::fprintf(stderr, "%s\n", text); }

void redact(const char *device, const char *policy) {
    milkglass_config config{};
    config.size = sizeof config;
    config.camera = device;
    config.policy_file = policy;
    Stream stream(config);

    milkglass_layout layout{};
    layout.size = sizeof layout;
    check(milkglass_read_layout(stream, &layout));
    milkglass_frame frame{};
    frame.size = sizeof frame;
    std::vector<std::vector<uint8_t>> planes;
    for (uint32_t n = 0; n < layout.planes; n++) {
        planes.emplace_back(layout.row_bytes[n] * layout.rows[n]);
        frame.data[n] = planes[n].data();
        frame.stride[n] = layout.row_bytes[n];
        frame.length[n] = planes[n].size();
    }
    while (check(milkglass_take(stream, &frame, -1)) != MILKGLASS_STATUS_END) {
        for (const auto &plane : planes) {
            if (std::fwrite(plane.data(), 1, plane.size(), stdout) != plane.size()) return;
        }
    }
}

}  // namespace

int main(int argc, char **argv) {
    if (argc < 2) {
        std::fprintf(stderr, "usage: camera DEVICE [POLICY.toml]\n");
        return 2;
    }
    milkglass_set_log(say, nullptr, 3);
    try {
        redact(argv[1], argc > 2 ? argv[2] : nullptr);
    } catch (const std::exception &e) {
        std::fprintf(stderr, "camera: %s\n", e.what());
        return 1;
    }
}
