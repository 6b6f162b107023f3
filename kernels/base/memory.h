#pragma once
// Aligned memory. 64 bytes is a cache line, an AVX-512 vector and an AMX tile row.
#include <cstddef>
#include <cstdint>
#include <memory>

namespace skyline::kernels {

inline constexpr size_t kAlignment = 64;

constexpr size_t align_up(size_t n, size_t a = kAlignment) {
  return (n + a - 1) / a * a;
}

struct AlignedFree {
  size_t mapped = 0;  // bytes if it came from mmap, else 0
  void operator()(void* p) const noexcept;
};
// Memory aligned to kAlignment; null when it cannot be had. Blocks of 4 MiB and more ask for huge pages
// (transparent huge pages are commonly on "madvise"). Contents are uninitialized.
using AlignedBuffer = std::unique_ptr<std::byte[], AlignedFree>;
AlignedBuffer aligned_alloc_bytes(size_t bytes) noexcept;

}  // namespace skyline::kernels
