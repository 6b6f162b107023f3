#include "engine/data/image.h"

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

namespace skyline::data {
namespace {

// Where the elements of an input are, and which size it asks for; -1: open.
struct Layout {
  bool channels_last = false;
  int64_t height = -1, width = -1;
  int channels = 3;
};

Layout layout_of(const ValueDescription& port) {
  const auto dim = [&](size_t i) { return port.fact.dims[i].known() ? port.fact.dims[i].value() : -1; };
  if (!port.fact.ranked || port.fact.rank() != 4)
    throw Error(Code::input, "input '" + port.name + "' is not an image: its rank is not 4");
  const auto is_channels = [](int64_t n) { return n == 1 || n == 3; };
  if (is_channels(dim(1))) return {false, dim(2), dim(3), static_cast<int>(dim(1))};
  if (is_channels(dim(3))) return {true, dim(1), dim(2), static_cast<int>(dim(3))};
  throw Error(Code::input,
              "input '" + port.name + "' is not an image: neither axis 1 nor axis 3 has 1 or 3 channels");
}

void check_declared(const ValueDescription& port, const Layout& l, const Preprocess& how) {
  const DType t = port.fact.dtype;
  if (t != DType::f32 && t != DType::u8) {
    throw Error(Code::input, "input '" + port.name + "' takes " + std::string(name(t)) + ", not f32 or u8");
  }
  if (!how.dtype.empty() && dtype_from_name(how.dtype) != t) {
    throw Error(Code::input, "the preprocessing declares " + how.dtype + ", input '" + port.name +
                                 "' takes " + std::string(name(t)));
  }
  const std::string layout = l.channels_last ? "NHWC" : "NCHW";
  if (!how.layout.empty() && how.layout != layout) {
    throw Error(Code::input, "the preprocessing declares layout " + how.layout + ", input '" + port.name +
                                 "' is " + layout);
  }
}

// A window of the picture scaled to `count` pixels: of which source pixels, and how much of each. Bilinear;
// where it shrinks, the tent is as wide as the step, so that no pixel is skipped.
struct Taps {
  std::vector<int64_t> first;
  std::vector<std::vector<float>> weights;
};
Taps taps(int64_t source, double offset, double step, int64_t count) {
  Taps t;
  const double support = std::max(step, 1.0);
  for (int64_t i = 0; i < count; ++i) {
    const double centre = offset + (static_cast<double>(i) + 0.5) * step;
    const int64_t low = std::clamp<int64_t>(std::llround(centre - support), 0, source - 1);
    const int64_t high = std::clamp<int64_t>(std::llround(centre + support), low + 1, source);
    std::vector<float> w;
    double sum = 0;
    for (int64_t k = low; k < high; ++k) {
      const double at = std::fabs(static_cast<double>(k) + 0.5 - centre) / support;
      w.push_back(static_cast<float>(std::max(0.0, 1 - at)));
      sum += w.back();
    }
    if (sum == 0) w[0] = 1, sum = 1;
    for (float& x : w) x = static_cast<float>(x / sum);
    t.first.push_back(low);
    t.weights.push_back(std::move(w));
  }
  return t;
}

// [height, width, channels] of a window of the picture.
std::vector<float> scaled(const uint8_t* image, int64_t w, int channels, const Taps& y, const Taps& x) {
  const auto rows = y.first.size(), columns = x.first.size();
  const auto line = columns * static_cast<size_t>(channels);
  std::vector<float> out(rows * line, 0.0f), row(line);
  for (size_t i = 0; i < rows; ++i) {
    for (size_t k = 0; k < y.weights[i].size(); ++k) {
      const uint8_t* from = image + (y.first[i] + static_cast<int64_t>(k)) * w * channels;
      std::fill(row.begin(), row.end(), 0.0f);
      for (size_t j = 0; j < columns; ++j) {
        for (size_t m = 0; m < x.weights[j].size(); ++m) {
          const uint8_t* pixel = from + (x.first[j] + static_cast<int64_t>(m)) * channels;
          for (int c = 0; c < channels; ++c)
            row[j * static_cast<size_t>(channels) + static_cast<size_t>(c)] += x.weights[j][m] * pixel[c];
        }
      }
      for (size_t j = 0; j < line; ++j) out[i * line + j] += y.weights[i][k] * row[j];
    }
  }
  return out;
}

// One side of the window: how far it starts into the picture and how long a pixel of the result is there.
struct Side {
  double offset, step;
  int64_t count;
};
Side side(int64_t source, int64_t shorter, int64_t wanted, const Preprocess& how) {
  const double scale = how.resize > 0 ? static_cast<double>(how.resize) / static_cast<double>(shorter) : 1.0;
  const auto resized = std::llround(static_cast<double>(source) * scale);
  const double step = static_cast<double>(source) / static_cast<double>(std::max<int64_t>(resized, 1));
  if (how.crop > 0) {
    const auto start = static_cast<double>((resized - how.crop) / 2);
    return {start * step, step, how.crop};
  }
  if (how.resize > 0) return {0, step, resized};
  const int64_t count = wanted > 0 ? wanted : source;
  return {0, static_cast<double>(source) / static_cast<double>(count), count};
}

}  // namespace

Value read_image(const std::string& path, const ValueDescription& port, const Preprocess& how) {
  const std::string file = onnx::read_file(path, int64_t{1} << 28);
  int w = 0, h = 0, found = 0;
  const auto* bytes = reinterpret_cast<const stbi_uc*>(file.data());
  const int size = static_cast<int>(std::min<size_t>(file.size(), INT32_MAX));
  const Layout l = layout_of(port);
  check_declared(port, l, how);
  std::unique_ptr<stbi_uc, void (*)(void*)> image(
      stbi_load_from_memory(bytes, size, &w, &h, &found, l.channels), stbi_image_free);
  if (!image) throw Error(Code::io, "'" + path + "' is not a JPEG or PNG image: " + stbi_failure_reason());
  const Side sy = side(h, std::min(h, w), l.height, how), sx = side(w, std::min(h, w), l.width, how);
  if ((l.height > 0 && l.height != sy.count) || (l.width > 0 && l.width != sx.count)) {
    throw Error(Code::input, "'" + path + "' becomes " + std::to_string(sy.count) + " x " +
                                 std::to_string(sx.count) + " pixels, input '" + port.name + "' takes " +
                                 std::to_string(l.height) + " x " + std::to_string(l.width));
  }
  const std::vector<float> pixels = scaled(image.get(), w, l.channels, taps(h, sy.offset, sy.step, sy.count),
                                           taps(w, sx.offset, sx.step, sx.count));
  Tensor t(port.fact.dtype, l.channels_last ? Dims{1, sy.count, sx.count, l.channels}
                                            : Dims{1, l.channels, sy.count, sx.count});
  const int64_t plane = sy.count * sx.count;
  for (int64_t i = 0; i < plane; ++i) {
    for (int c = 0; c < l.channels; ++c) {
      const float v = pixels[static_cast<size_t>(i * l.channels + (how.bgr ? l.channels - 1 - c : c))];
      const int64_t at = l.channels_last ? i * l.channels + c : c * plane + i;
      if (t.dtype() == DType::u8) {
        t.mutable_data<uint8_t>()[at] = static_cast<uint8_t>(std::lround(v));
      } else {
        const auto k = static_cast<size_t>(c);
        t.mutable_data<float>()[at] = static_cast<float>((v - how.mean[k]) / how.std[k]);
      }
    }
  }
  return t;
}

}  // namespace skyline::data
