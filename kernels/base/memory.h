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

// Gives back the pages that lie wholly in the first `end` bytes of a mapped block, from the page of `begin`
// on. Their contents are lost.
void drop_pages(const void* block, size_t begin, size_t end) noexcept;

}  // namespace skyline::kernels
