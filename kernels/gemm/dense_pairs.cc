#include "kernels/gemm/dense_pairs.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>

namespace skyline::kernels {
namespace {

constexpr int kMost = 128;  // 128 * 255 fits into 16 bits

// What the pair has too much of, taken off the larger one, with its sign: of i8 at most 128. 0: nothing.
int excess(const int8_t* w) {
  const int above = std::max<int>(w[0], 0) + std::max<int>(w[1], 0) - kMost;
  const int below = std::min<int>(w[0], 0) + std::min<int>(w[1], 0) + kMost;
  return above > 0 ? above : std::min(below, 0);
}
int larger(const int8_t* w) {
  return std::abs(w[1]) > std::abs(w[0]) ? 1 : 0;
}

bool any_excess(const int8_t* w, int64_t width) {
  for (int64_t i = 0; i < width; i += 2) {
    if (excess(w + i) != 0) return true;
  }
  return false;
}
void take_out(int8_t* w, int64_t width, int8_t* over) {
  std::memset(over, 0, static_cast<size_t>(width));
  for (int64_t i = 0; i < width; i += 2) {
    const int e = excess(w + i);
    if (e == 0) continue;
    // Where only one sign is above the bound, that one is the larger.
    const int64_t at = i + larger(w + i);
    over[at] = static_cast<int8_t>(e);
    w[at] = static_cast<int8_t>(w[at] - e);
  }
}

}  // namespace

void bound_pairs(std::byte* panel, int64_t lines, int64_t steps, int64_t stride, int64_t lanes) noexcept {
  const int64_t all = lines * steps, width = lanes * 4;
  const bool places_fit = lines < 128 && steps < int64_t{1} << kPairLine;
  auto* const counts = reinterpret_cast<int32_t*>(panel + pair_counts(all, stride));
  for (int64_t v = 0; v * width < stride; ++v) {
    auto* const weights = reinterpret_cast<int8_t*>(panel + v * width);
    std::byte* const entries = panel + pair_entries(all, stride, v, lanes);
    int64_t count = 0;
    for (int64_t s = 0; s < all; ++s) count += any_excess(weights + s * stride, width);
    const bool each = !places_fit || count * (width + 4) > all * width;
    counts[v] = each ? -1 : static_cast<int32_t>(count);
    std::byte* place = entries + count * width;
    for (int64_t s = 0, n = 0; s < all; ++s) {
      if (!each && !any_excess(weights + s * stride, width)) continue;
      take_out(weights + s * stride, width, reinterpret_cast<int8_t*>(entries + n++ * width));
      if (each) continue;
      const auto where = static_cast<int32_t>(s / steps << kPairLine | s % steps);
      std::memcpy(place, &where, 4);
      place += 4;
    }
  }
}

}  // namespace skyline::kernels
