#pragma once
// Layouts that the micro-kernels read (tile.h), made from matrices as stored.
//
// Packed B: panels of nr columns, one after the other; the last has as many columns as are left, rounded up
// to lanes. A panel is `steps` rows of (columns x kr) values, 4 bytes per column; K and the columns are
// padded with zeros.
//
//   panel p:  step 0: b[0..kr)[col 0] b[0..kr)[col 1] ... | step 1: b[kr..2kr)[col 0] ...
#include <cstddef>
#include <cstdint>

#include "skyline/dtype.h"

namespace skyline::kernels {

struct PanelShape {
  int64_t n = 0, steps = 0;
  int nr = 0, lanes = 0, kr = 1;

  int64_t panels() const { return (n + nr - 1) / nr; }
  int64_t columns(int64_t p) const {  // padded width of panel p
    const int64_t left = n - p * nr;
    return left >= nr ? nr : (left + lanes - 1) / lanes * lanes;
  }
  int64_t stride(int64_t p) const { return columns(p) * 4; }      // bytes between steps of panel p
  int64_t offset(int64_t p) const { return p * nr * steps * 4; }  // bytes from the start
  int64_t bytes() const { return n ? offset(panels() - 1) + steps * stride(panels() - 1) : 0; }
};

// B as stored: element (k, j) is at b[k * k_stride + j * n_stride], in elements of `type` (f32, u8 or i8).
struct BSource {
  const void* b = nullptr;
  DType type = DType::f32;
  int64_t k_stride = 0, n_stride = 0;
  float alpha = 1;
  const void* zero = nullptr;  // integers: of B's type; null is 0
  bool zero_per_n = false;
};
// Writes rows [k_begin, k_begin + k) of B as the steps from step_begin on, of panels [p_begin, p_end).
// Convolution packs tap by tap. k_begin is only an offset into B; the steps written are ceil(k / kr).
void pack_panels(const PanelShape& shape, const BSource& src, int64_t k_begin, int64_t k, int64_t step_begin,
                 int64_t p_begin, int64_t p_end, std::byte* packed) noexcept;

// The same for all taps of a kernel at once, of f32 with kr = 1, from weights [n][k][lines][kw] as stored:
// tap (line, x) of input kk is step (line * k + kk) * kw + x. With kw = 1 that is tap by tap.
void pack_taps(const PanelShape& shape, const float* w, int64_t k, int64_t lines, int64_t kw,
               std::byte* packed) noexcept;

// Copies m rows of k elements to rows of dst_stride bytes, as the kernels read A: f32 as it is, u8 and i8
// less `zero` as i16; K is padded with zeros up to dst_stride. Element (i, kk) is at a[i * m_stride + kk *
// k_stride].
void copy_rows(const void* a, DType type, int64_t m, int64_t k, int64_t m_stride, int64_t k_stride,
               int32_t zero, std::byte* dst, int64_t dst_stride) noexcept;

// Copies m rows of k elements so that the m of one k lie side by side. Element (i, kk) is at a[i * m_stride +
// kk * k_stride]; one of the strides is 1.
void interleave_rows(const float* a, int64_t m, int64_t k, int64_t m_stride, int64_t k_stride,
                     float* dst) noexcept;

}  // namespace skyline::kernels
