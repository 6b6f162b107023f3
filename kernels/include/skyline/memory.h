#pragma once
// Where tensors, packed weights and workspaces get their memory.
#include <cstddef>
#include <memory>

namespace skyline {

// A cache line, an AVX-512 vector and a row of an AMX tile.
inline constexpr size_t kAlignment = 64;

struct BlockFree {
  size_t bytes = 0;  // as asked for
  void operator()(std::byte* p) const noexcept;
};
using Block = std::unique_ptr<std::byte[], BlockFree>;

// Memory aligned to kAlignment, contents uninitialized; null when it cannot be had. Any thread may allocate,
// and any other free. Blocks of 4 MiB and more are mapped one by one and go back to the system when they are
// freed; smaller ones of 16 KiB and more share regions of 32 MiB, of which 4 MiB stay. Both ask for huge
// pages (transparent huge pages are commonly on "madvise"): faults of 4 KiB are most of what it costs to fill
// new memory.
Block allocate_block(size_t bytes) noexcept;

}  // namespace skyline
