#pragma once
// JPEG and PNG files as inputs.
#include <string>
#include <vector>

#include "skyline/skyline.h"

namespace skyline::cli {

struct ImageOptions {
  std::vector<double> mean{0, 0, 0}, std{255, 255, 255};  // on the 0..255 scale; the default maps to [0, 1]
  bool bgr = false;
};

// Scaled bilinearly to the input's height and width, in its layout (NCHW or NHWC, 1 or 3 channels, f32 or
// u8). Error{io} if the file is not an image, Error{input} if the input is not an image's shape.
Value read_image(const std::string& path, const ValueDescription& port, const ImageOptions& options);

}  // namespace skyline::cli
