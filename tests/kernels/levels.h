#pragma once
// For kernel tests: every ISA level that this CPU has, and numbers to feed.
#include <doctest/doctest.h>

#include <cstdint>
#include <string>
#include <vector>

#include "skyline/isa.h"

namespace skyline::test {

// Calls f(set) for each level of the machine, lowest first, with the level's name in the failure message.
template <class F>
void each_level(F&& f) {
  const struct {
    const char* name;
    IsaSet bit;
  } levels[] = {{"sse2", kIsaSse2}, {"avx2", kIsaAvx2}, {"avx512", kIsaAvx512}, {"neon", kIsaNeon}};
  for (const auto& level : levels) {
    if (!(isa_detected() & level.bit)) continue;
    INFO("ISA level ", std::string(level.name));
    f(IsaSet{level.bit});
  }
}

// A small generator of its own: the same numbers with every standard library.
class Random {
 public:
  explicit Random(uint64_t seed = 1) : state_(seed * 0x9e3779b97f4a7c15u + 1) {}
  uint32_t bits() {
    state_ = state_ * 6364136223846793005u + 1442695040888963407u;
    return static_cast<uint32_t>(state_ >> 32);
  }
  int64_t below(int64_t n) { return static_cast<int64_t>(bits() % static_cast<uint64_t>(n)); }
  float uniform(float lo, float hi) { return lo + (hi - lo) * (static_cast<float>(bits() >> 8) * 0x1p-24f); }
  std::vector<float> floats(int64_t n, float lo = -1, float hi = 1) {
    std::vector<float> v(static_cast<size_t>(n));
    for (float& x : v) x = uniform(lo, hi);
    return v;
  }
  template <class T>
  std::vector<T> integers(int64_t n, int64_t lo, int64_t hi) {
    std::vector<T> v(static_cast<size_t>(n));
    for (T& x : v) x = static_cast<T>(lo + below(hi - lo + 1));
    return v;
  }

 private:
  uint64_t state_;
};

inline constexpr int kThreadCounts[] = {1, 2, 3, 8};

}  // namespace skyline::test
