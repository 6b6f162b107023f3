#pragma once
// The digit classifier and its test set, embedded in the command (tests/data/digits; see its README).
#include <span>

namespace skyline::cli {

struct Digits {
  std::span<const char> model;            // ONNX
  std::span<const unsigned char> images;  // .npy, u8 [n, 1, 16, 16]
  std::span<const unsigned char> labels;  // .npy, u8 [n]
};
Digits digits();

}  // namespace skyline::cli
