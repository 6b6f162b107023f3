#pragma once
// The broadcasting driver behind run_binary, run_where and run_chain.
#include <cstdint>
#include <cstring>

#include "kernels/base/nd.h"

namespace skyline::kernels {

inline constexpr int64_t kNoLimit = INT64_MAX;
inline constexpr int64_t kGatherBlock = 256;  // elements per operand that are laid out contiguously at a time
inline constexpr int64_t kShortRow = 64;      // rows shorter than this go through the blocks

enum class Walk : uint8_t { dense, scalar, gather };
inline Walk walk_of(const NdPlan& p, int operand) noexcept {
  int64_t step = 1;
  bool dense = true, scalar = true;
  for (int d = p.rank - 1; d >= 0; --d) {
    const int64_t s = p.strides[operand][d];
    dense = dense && (p.dims[d] == 1 || s == step);
    scalar = scalar && (p.dims[d] == 1 || s == 0);
    step *= p.dims[d];
  }
  return dense ? Walk::dense : scalar ? Walk::scalar : Walk::gather;
}

template <class T>
inline void gather_run(const char* from, int64_t stride, char* to, int64_t count) noexcept {
  const T* x = reinterpret_cast<const T*>(from);
  T* y = reinterpret_cast<T*>(to);
  if (stride == 1) {
    std::memcpy(y, x, static_cast<size_t>(count) * sizeof(T));
  } else {
    for (int64_t i = 0; i < count; ++i) y[i] = x[i * stride];
  }
}
inline void gather_run(size_t bytes, const char* from, int64_t stride, char* to, int64_t count) noexcept {
  switch (bytes) {
    case 1:
      return gather_run<uint8_t>(from, stride, to, count);
    case 2:
      return gather_run<uint16_t>(from, stride, to, count);
    case 4:
      return gather_run<uint32_t>(from, stride, to, count);
    default:
      return gather_run<uint64_t>(from, stride, to, count);
  }
}

// Cuts the output range [begin, end) into pieces and calls f(at, pointers, steps, count) for each, with steps
// of 0 or 1 element. Long rows are walked in place, in pieces of at most `limit`; where rows are short, or an
// operand has another stride, operands that are neither dense nor scalar are first laid out in a buffer.
template <int N, class F>
inline void drive(const NdPlan& p, const char* const* base, const size_t* bytes, int64_t begin, int64_t end,
                  int64_t limit, F&& f) noexcept {
  const int last = p.rank - 1, operands = p.operands < N ? p.operands : N;
  bool in_place = p.rank == 1 || p.dims[last] >= kShortRow;
  for (int i = 0; i < operands; ++i) {
    in_place = in_place && (p.strides[i][last] == 0 || p.strides[i][last] == 1);
  }
  const char* pointer[N] = {};
  int step[N] = {};
  if (in_place) {
    for_rows(p, begin, end, [&](int64_t at, const int64_t* offset, int64_t count) noexcept {
      for (int64_t done = 0; done < count;) {
        const int64_t n = count - done < limit ? count - done : limit;
        for (int i = 0; i < operands; ++i) {
          step[i] = static_cast<int>(p.strides[i][last]);
          pointer[i] = base[i] + (offset[i] + done * step[i]) * static_cast<int64_t>(bytes[i]);
        }
        f(at + done, pointer, step, n);
        done += n;
      }
    });
    return;
  }
  alignas(64) char buffer[N][kGatherBlock * 8];
  Walk walk[N];
  for (int i = 0; i < operands; ++i) {
    walk[i] = walk_of(p, i);
    step[i] = walk[i] == Walk::scalar ? 0 : 1;
    pointer[i] = walk[i] == Walk::gather ? buffer[i] : base[i];
  }
  const int64_t block = limit < kGatherBlock ? limit : kGatherBlock;
  for (int64_t at = begin; at < end; at += block) {
    const int64_t n = end - at < block ? end - at : block;
    for_rows(p, at, at + n, [&](int64_t pos, const int64_t* offset, int64_t count) noexcept {
      for (int i = 0; i < operands; ++i) {
        if (walk[i] != Walk::gather) continue;
        const int64_t size = static_cast<int64_t>(bytes[i]);
        gather_run(bytes[i], base[i] + offset[i] * size, p.strides[i][last], buffer[i] + (pos - at) * size,
                   count);
      }
    });
    for (int i = 0; i < operands; ++i) {
      if (walk[i] == Walk::dense) pointer[i] = base[i] + at * static_cast<int64_t>(bytes[i]);
    }
    f(at, pointer, step, n);
  }
}

}  // namespace skyline::kernels
