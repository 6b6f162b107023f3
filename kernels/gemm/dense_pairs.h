#pragma once
// B for kernels that add pairs of products u8 * i8 in 16 bits, where the machine saturates: such a sum is
// exact while the weights of a pair that are above 0 add up to 128 at most, and likewise those below. What is
// above that is taken out of a panel and put behind it, and is multiplied apart: few weights of a trained
// model have it.
//
// A panel of vectors of `lanes` columns, 4 weights each, by all = lines * steps:
//   all rows      as pack.h says, with weights that are bounded
//   a row         one i32 for each vector: how many entries it has, or -1: one for each step, in order
//   each vector   all * lanes * 4 bytes: entries (a vector of what was taken out), then an i32 for each that
//                 says where: line << 24 | step
#include <cstddef>
#include <cstdint>

namespace skyline::kernels {

// Rows of a panel.
constexpr int64_t pair_rows(int64_t all) {
  return 2 * all + 1;
}
constexpr int64_t pair_counts(int64_t all, int64_t stride) {
  return all * stride;
}
constexpr int64_t pair_entries(int64_t all, int64_t stride, int64_t vector, int64_t lanes) {
  return (all + 1) * stride + vector * all * lanes * 4;
}
inline constexpr int kPairLine = 24;  // bits of a step

// Takes out of a panel, stride bytes between rows, what it says above. The panel has pair_rows rows.
void bound_pairs(std::byte* panel, int64_t lines, int64_t steps, int64_t stride, int64_t lanes) noexcept;

}  // namespace skyline::kernels
