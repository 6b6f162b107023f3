#include "kernels/base/memory.h"

#include <sys/mman.h>

#include <cstdlib>

namespace skyline::kernels {
namespace {
constexpr size_t kHugePage = size_t{2} << 20;
}

void AlignedFree::operator()(void* p) const noexcept {
  if (mapped) {
    munmap(p, mapped);
  } else {
    std::free(p);
  }
}

AlignedBuffer aligned_alloc_bytes(size_t bytes) noexcept {
  if (bytes > SIZE_MAX / 2) return nullptr;
  if (bytes < 2 * kHugePage) {
    void* p = std::aligned_alloc(kAlignment, align_up(bytes ? bytes : 1));
    return AlignedBuffer(static_cast<std::byte*>(p));
  }
  const size_t size = align_up(bytes, kHugePage);
  void* p = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (p == MAP_FAILED) return nullptr;
  madvise(p, size, MADV_HUGEPAGE);
  return AlignedBuffer(static_cast<std::byte*>(p), AlignedFree{size});
}

}  // namespace skyline::kernels
