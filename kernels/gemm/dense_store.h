#pragma once
// For dense kernels of integers: rows of sums become C vector by vector, whatever C is.
#include "kernels/gemm/dense_place.h"
#include "kernels/gemm/requantize.h"

namespace skyline::kernels {
namespace {

// Whether codes are added to those of C, and which come first (CodeSum).
enum class Sum : uint8_t { none, codes_last, codes_first };
inline Sum sum_of(const Epilogue& e) {
  if (!e.codes) return Sum::none;
  return e.sum.codes_first ? Sum::codes_first : Sum::codes_last;
}

// What bytes are clamped to before the zero point is added.
struct ByteLimits {
  float low, high;
};
template <class T>
inline ByteLimits byte_limits(const Epilogue& e) {
  const auto z = static_cast<float>(e.zero_point);
  ByteLimits l{kLowest<T> - z, kHighest<T> - z};
  if (e.act.fn == Act::relu) l.low = l.low < 0 ? 0 : l.low;
  if (e.act.fn == Act::clip) {
    l.low = l.low < e.act.a ? e.act.a : l.low;
    l.high = l.high > e.act.b ? e.act.b : l.high;
  }
  return l;
}

// Added to a float below 2^22 this rounds it to an integer, half to even, and can be taken off again; taking
// off an integer less is exact, too.
constexpr float kRounder = 12582912.0f;

// sums: rows of p.n values, ld apart, a multiple of kLanes, aligned; whole vectors are readable.
inline void store_rows(const DenseTile& t, const Part& p, const int32_t* sums, int64_t ld) {
  const Epilogue& e = t.epilogue;
  for (int64_t i = 0; i < p.m; ++i) {
    char* const c = t.row(p.row + i);
    if (!c) continue;
    const std::byte* const codes = e.codes ? e.codes + (c - static_cast<char*>(t.c)) : nullptr;
    for (int64_t j = 0; j < p.n; j += kLanes) {
      const int n = static_cast<int>(p.n - j < kLanes ? p.n - j : kLanes);
      store_integers(c, t.out, e, I32::load_aligned(sums + i * ld + j), p.col + j, n, codes);
    }
    if (t.out == DType::f32 && e.act.fn != Act::none)
      activate_rows(e.act, reinterpret_cast<float*>(c) + p.col, 0, 1, p.n);
  }
}

}  // namespace
}  // namespace skyline::kernels
