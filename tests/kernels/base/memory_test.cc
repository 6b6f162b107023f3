#include "skyline/memory.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cstdint>
#include <random>
#include <set>
#include <thread>
#include <vector>

using namespace skyline;

namespace {

struct Filled {
  Block block;
  size_t bytes;
  unsigned char mark;

  Filled(size_t n, unsigned char m) : block(allocate_block(n)), bytes(n), mark(m) {
    if (block) std::fill_n(block.get(), n, std::byte{m});
  }
  bool is_whole() const {
    return std::all_of(block.get(), block.get() + bytes, [&](std::byte b) { return b == std::byte{mark}; });
  }
};

// Blocks of all kinds (small, pooled, mapped), made and freed in any order; returns how many were damaged or
// are not aligned.
int churn(unsigned seed) {
  std::mt19937 random(seed);
  std::vector<Filled> live;
  int bad = 0;
  for (int i = 0; i < 600; ++i) {
    const size_t bytes = (size_t{1} << random() % 23) + random() % 5000;
    live.emplace_back(bytes, static_cast<unsigned char>(i));
    const auto at = reinterpret_cast<uintptr_t>(live.back().block.get());
    bad += at == 0 || at % kAlignment != 0;
    if (live.size() < 30) continue;
    const size_t victim = random() % live.size();
    bad += !live[victim].is_whole();
    std::swap(live[victim], live.back());
    live.pop_back();
  }
  for (const Filled& f : live) bad += !f.is_whole();
  return bad;
}

std::set<std::byte*> addresses_of(const std::vector<Block>& blocks) {
  std::set<std::byte*> all;
  for (const Block& b : blocks) all.insert(b.get());
  return all;
}

}  // namespace

TEST_CASE("blocks of memory do not overlap, whatever the order they come and go in") {
  CHECK(churn(1) == 0);
}

TEST_CASE("threads allocate and free blocks at the same time") {
  std::vector<int> bad(3);
  std::vector<std::thread> threads;
  for (unsigned t = 0; t < 3; ++t) threads.emplace_back([&bad, t] { bad[t] = churn(t + 2); });
  for (std::thread& t : threads) t.join();
  CHECK(bad == std::vector<int>(3));
}

TEST_CASE("blocks that are freed become room for others, also for larger ones") {
  constexpr size_t kSmall = 64 << 10, kLarge = 1 << 20;
  const auto fill = [](size_t bytes) {
    std::vector<Block> blocks;
    for (size_t all = 0; all < (size_t{7} << 20); all += bytes) blocks.push_back(allocate_block(bytes));
    return blocks;
  };
  const std::vector<Block> keep = fill(kLarge);  // so that no region of the next ones is given back
  std::vector<Block> large = fill(kLarge);
  const std::set<std::byte*> first = addresses_of(large);
  for (const unsigned seed : {1u, 2u, 3u}) {
    large.clear();
    std::vector<Block> small = fill(kSmall);
    std::shuffle(small.begin(), small.end(), std::mt19937(seed));
    while (!small.empty()) small.pop_back();
    large = fill(kLarge);
    CHECK(large.size() == first.size());
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
    CHECK(addresses_of(large) == first);
#endif
  }
}

TEST_CASE("a block that cannot be had is null") {
  CHECK(!allocate_block(SIZE_MAX));
  CHECK(!allocate_block(SIZE_MAX / 2));
  CHECK(allocate_block(0));
}
