#pragma once
// Aligned memory for kernels: that of skyline/memory.h by its names here.
#include "skyline/memory.h"

namespace skyline::kernels {

using skyline::kAlignment;

constexpr size_t align_up(size_t n, size_t a = kAlignment) {
  return (n + a - 1) / a * a;
}

using AlignedBuffer = Block;
inline AlignedBuffer aligned_alloc_bytes(size_t bytes) noexcept {
  return allocate_block(bytes);
}

}  // namespace skyline::kernels
