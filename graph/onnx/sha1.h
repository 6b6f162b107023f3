#pragma once
// SHA-1, for the checksums that the format defines for external data. Not for security.
#include <array>
#include <cstddef>
#include <cstdint>
#include <string>

namespace skyline::onnx {

class Sha1 {
 public:
  void add(const void* data, size_t n);
  std::string hex();  // of all that was added; call once

 private:
  void block(const uint8_t* p);

  std::array<uint32_t, 5> state_{0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476, 0xc3d2e1f0};
  std::array<uint8_t, 64> pending_{};
  size_t fill_ = 0;
  uint64_t total_ = 0;
};

}  // namespace skyline::onnx
