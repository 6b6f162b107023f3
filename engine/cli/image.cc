#include "engine/cli/image.h"

#include <algorithm>
#include <cmath>

#include "graph/onnx/file.h"

#define STB_IMAGE_IMPLEMENTATION
#define STBI_ONLY_JPEG
#define STBI_ONLY_PNG
#define STBI_NO_STDIO
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wunused-function"
#pragma GCC diagnostic ignored "-Wsign-compare"
#include <stb/stb_image.h>
#pragma GCC diagnostic pop

namespace skyline::cli {
namespace {

struct Layout {
  bool channels_last = false;
  int64_t height = 0, width = 0;
  int channels = 3;
};

// An open height or width takes the picture's own.
Layout layout_of(const ValueDescription& port, int64_t height, int64_t width) {
  const auto dim = [&](size_t i) { return port.fact.dims[i].known() ? port.fact.dims[i].value() : -1; };
  if (!port.fact.ranked || port.fact.rank() != 4)
    throw Error(Code::input, "input '" + port.name + "' is not an image: its rank is not 4");
  const auto is_channels = [](int64_t n) { return n == 1 || n == 3; };
  Layout l;
  if (is_channels(dim(1))) {
    l = {false, dim(2), dim(3), static_cast<int>(dim(1))};
  } else if (is_channels(dim(3))) {
    l = {true, dim(1), dim(2), static_cast<int>(dim(3))};
  } else {
    throw Error(Code::input,
                "input '" + port.name + "' is not an image: neither axis 1 nor axis 3 has 1 or 3 channels");
  }
  if (l.height < 0) l.height = height;
  if (l.width < 0) l.width = width;
  return l;
}

// Bilinear with half-pixel centres, clamped at the border.
float sample(const uint8_t* image, int64_t h, int64_t w, int channels, int c, double y, double x) {
  const auto at = [&](int64_t iy, int64_t ix) {
    iy = std::clamp<int64_t>(iy, 0, h - 1);
    ix = std::clamp<int64_t>(ix, 0, w - 1);
    return static_cast<double>(image[(iy * w + ix) * channels + c]);
  };
  const double fy = std::floor(y), fx = std::floor(x), dy = y - fy, dx = x - fx;
  const auto iy = static_cast<int64_t>(fy), ix = static_cast<int64_t>(fx);
  const double top = at(iy, ix) * (1 - dx) + at(iy, ix + 1) * dx;
  const double bottom = at(iy + 1, ix) * (1 - dx) + at(iy + 1, ix + 1) * dx;
  return static_cast<float>(top * (1 - dy) + bottom * dy);
}

}  // namespace

Value read_image(const std::string& path, const ValueDescription& port, const ImageOptions& o) {
  const std::string file = onnx::read_file(path, int64_t{1} << 28);
  int w = 0, h = 0, found = 0;
  const auto* bytes = reinterpret_cast<const stbi_uc*>(file.data());
  const int size = static_cast<int>(std::min<size_t>(file.size(), INT32_MAX));
  const Layout l = stbi_info_from_memory(bytes, size, &w, &h, &found) ? layout_of(port, h, w) : Layout{};
  std::unique_ptr<stbi_uc, void (*)(void*)> image(
      stbi_load_from_memory(bytes, size, &w, &h, &found, l.channels), stbi_image_free);
  if (!image) throw Error(Code::io, "'" + path + "' is not a JPEG or PNG image: " + stbi_failure_reason());
  if (port.fact.dtype != DType::f32 && port.fact.dtype != DType::u8) {
    throw Error(Code::input,
                "input '" + port.name + "' takes " + std::string(name(port.fact.dtype)) + ", not f32 or u8");
  }
  Tensor t(port.fact.dtype,
           l.channels_last ? Dims{1, l.height, l.width, l.channels} : Dims{1, l.channels, l.height, l.width});
  for (int64_t y = 0; y < l.height; ++y) {
    for (int64_t x = 0; x < l.width; ++x) {
      for (int c = 0; c < l.channels; ++c) {
        const int from = o.bgr ? l.channels - 1 - c : c;
        const double sy = (static_cast<double>(y) + 0.5) * h / static_cast<double>(l.height) - 0.5;
        const double sx = (static_cast<double>(x) + 0.5) * w / static_cast<double>(l.width) - 0.5;
        const float v = sample(image.get(), h, w, l.channels, from, sy, sx);
        const int64_t at =
            l.channels_last ? (y * l.width + x) * l.channels + c : (c * l.height + y) * l.width + x;
        if (t.dtype() == DType::u8) {
          t.mutable_data<uint8_t>()[at] = static_cast<uint8_t>(std::lround(v));
        } else {
          const auto k = static_cast<size_t>(c);
          t.mutable_data<float>()[at] = static_cast<float>((v - o.mean[k]) / o.std[k]);
        }
      }
    }
  }
  return t;
}

}  // namespace skyline::cli
