#pragma once
// JPEG and PNG files as inputs.
#include <string>

#include "skyline/data.h"

namespace skyline::data {

// In the input's layout (NCHW or NHWC, 1 or 3 channels, f32 or u8). Without resize and crop the picture is
// scaled to the input's height and width; an open height or width takes what comes out. Error{io} if the file
// is not an image, Error{input} if the input is not an image's shape.
Value read_image(const std::string& path, const ValueDescription& port, const Preprocess& how);

}  // namespace skyline::data
