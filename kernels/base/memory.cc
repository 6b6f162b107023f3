#include "kernels/base/memory.h"

#include <sys/mman.h>

#include <cstdint>
#include <cstdlib>
#include <mutex>
#include <new>

namespace skyline {
namespace {

using kernels::align_up;

constexpr size_t kHugePage = size_t{2} << 20;
constexpr size_t kPage = 4096, kMapped = 2 * kHugePage, kPooled = size_t{16} << 10;

// Sanitizers must see each block's bounds.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr bool kPool = false;
#elif defined(__has_feature)
constexpr bool kPool = !__has_feature(address_sanitizer) && !__has_feature(thread_sanitizer);
#else
constexpr bool kPool = true;
#endif

std::byte* map(size_t bytes) noexcept {
  void* p = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (p == MAP_FAILED) return nullptr;
  madvise(p, bytes, MADV_HUGEPAGE);
  return static_cast<std::byte*>(p);
}

// Blocks in regions, first fit by address. What is free is linked through itself, in order, and holes that
// meet become one; so freeing needs no memory. A region lies at a multiple of its size: a block tells its
// region.
class Pool {
 public:
  std::byte* allocate(size_t bytes) noexcept {
    const std::lock_guard lock(mutex_);
    for (Region* r = first_; r; r = r->next) {
      if (std::byte* p = take(*r, bytes)) return p;
    }
    Region* r = make_region();
    return r ? take(*r, bytes) : nullptr;
  }

  void free(std::byte* p, size_t bytes) noexcept {
    const std::lock_guard lock(mutex_);
    auto* const region = reinterpret_cast<Region*>(reinterpret_cast<uintptr_t>(p) & ~(kRegion - 1));
    Hole **at = &region->holes, *before = nullptr;
    for (; *at && reinterpret_cast<std::byte*>(*at) < p; at = &(*at)->next) before = *at;
    auto* hole = new (p) Hole{*at, bytes};
    *at = hole;
    join(hole);
    if (before) join(before);
    if (region->holes->bytes == kRegion - kHeader) release(region);
  }

 private:
  static constexpr size_t kRegion = size_t{32} << 20, kHeader = kAlignment;
  struct Hole {
    Hole* next;
    size_t bytes;
  };
  struct Region {
    Region* next;
    Hole* holes;
    size_t used_to = 0;  // bytes from its start that have been handed out since it was empty
  };
  static_assert(sizeof(Region) <= kHeader && sizeof(Hole) <= kAlignment);
  static_assert(kMapped + kHeader <= kRegion && kHeader + sizeof(Hole) <= kMapped);

  static std::byte* take(Region& r, size_t bytes) noexcept {
    for (Hole** at = &r.holes; *at; at = &(*at)->next) {
      Hole* const hole = *at;
      if (hole->bytes < bytes) continue;
      auto* const p = reinterpret_cast<std::byte*>(hole);
      const auto end = static_cast<size_t>(p + bytes - reinterpret_cast<std::byte*>(&r));
      r.used_to = end > r.used_to ? end : r.used_to;
      *at = hole->bytes == bytes ? hole->next : new (p + bytes) Hole{hole->next, hole->bytes - bytes};
      return p;
    }
    return nullptr;
  }
  static void join(Hole* hole) noexcept {
    if (reinterpret_cast<std::byte*>(hole) + hole->bytes != reinterpret_cast<std::byte*>(hole->next)) return;
    hole->bytes += hole->next->bytes;
    hole->next = hole->next->next;
  }

  Region* make_region() noexcept {
    std::byte* const p = map(2 * kRegion);
    if (!p) return nullptr;
    auto* const begin = reinterpret_cast<std::byte*>(align_up(reinterpret_cast<uintptr_t>(p), kRegion));
    if (begin != p) munmap(p, static_cast<size_t>(begin - p));
    if (begin != p + kRegion) munmap(begin + kRegion, static_cast<size_t>(p + kRegion - begin));
    first_ = new (begin) Region{first_, new (begin + kHeader) Hole{nullptr, kRegion - kHeader}};
    return first_;
  }
  // The start of the last one stays: else a program that makes and drops one tensor at a time would map
  // memory each time.
  void release(Region* region) noexcept {
    if (first_ == region && !region->next) {
      if (region->used_to > kMapped)
        madvise(reinterpret_cast<std::byte*>(region) + kMapped, region->used_to - kMapped, MADV_DONTNEED);
      region->used_to = 0;
      return;
    }
    Region** at = &first_;
    while (*at != region) at = &(*at)->next;
    *at = region->next;
    munmap(region, kRegion);
  }

  std::mutex mutex_;
  Region* first_ = nullptr;
};

// Never destroyed: tensors may live in statics.
Pool& pool() noexcept {
  alignas(Pool) static std::byte memory[sizeof(Pool)];
  static Pool* const it = new (memory) Pool;
  return *it;
}

// Not in whole huge pages: what the last one holds beyond the block would be resident, too.
size_t mapped_size(size_t bytes) {
  return align_up(bytes, kPage);
}
size_t pooled_size(size_t bytes) {
  return align_up(bytes);
}

}  // namespace

Block allocate_block(size_t bytes) noexcept {
  if (bytes > SIZE_MAX / 2) return nullptr;
  std::byte* p = nullptr;
  if (bytes >= kMapped) {
    p = map(mapped_size(bytes));
  } else if (kPool && bytes >= kPooled) {
    p = pool().allocate(pooled_size(bytes));
  } else {
    p = static_cast<std::byte*>(std::aligned_alloc(kAlignment, align_up(bytes ? bytes : 1)));
  }
  return Block(p, BlockFree{bytes});
}

void BlockFree::operator()(std::byte* p) const noexcept {
  if (bytes >= kMapped) {
    munmap(p, mapped_size(bytes));
  } else if (kPool && bytes >= kPooled) {
    pool().free(p, pooled_size(bytes));
  } else {
    std::free(p);
  }
}

}  // namespace skyline

namespace skyline::kernels {

void drop_pages(const void* block, size_t begin, size_t end) noexcept {
  begin = begin / kHugePage * kHugePage;
  end = end / kHugePage * kHugePage;
  if (begin < end)
    madvise(const_cast<std::byte*>(static_cast<const std::byte*>(block)) + begin, end - begin, MADV_DONTNEED);
}

}  // namespace skyline::kernels
