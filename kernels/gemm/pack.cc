#include "kernels/gemm/pack.h"

#include <algorithm>
#include <cstring>

namespace skyline::kernels {
namespace {

using Vec4 = float __attribute__((vector_size(16), aligned(4)));

// to[c][r] = alpha * from[r][c], rows from_stride and to_stride floats apart.
inline void transpose_4x4(const float* from, int64_t from_stride, float alpha, float* to, int64_t to_stride) {
  Vec4 r[4], t[4];
  for (int i = 0; i < 4; ++i) std::memcpy(&r[i], from + i * from_stride, sizeof(Vec4));
  t[0] = __builtin_shufflevector(r[0], r[1], 0, 4, 1, 5);
  t[1] = __builtin_shufflevector(r[2], r[3], 0, 4, 1, 5);
  t[2] = __builtin_shufflevector(r[0], r[1], 2, 6, 3, 7);
  t[3] = __builtin_shufflevector(r[2], r[3], 2, 6, 3, 7);
  r[0] = __builtin_shufflevector(t[0], t[1], 0, 1, 4, 5);
  r[1] = __builtin_shufflevector(t[0], t[1], 2, 3, 6, 7);
  r[2] = __builtin_shufflevector(t[2], t[3], 0, 1, 4, 5);
  r[3] = __builtin_shufflevector(t[2], t[3], 2, 3, 6, 7);
  for (int i = 0; i < 4; ++i) {
    r[i] *= alpha;
    std::memcpy(to + i * to_stride, &r[i], sizeof(Vec4));
  }
}

// One panel of f32, kr = 1.
void pack_f32(const BSource& s, int64_t k_begin, int64_t k, int64_t col, int64_t n, int64_t width,
              float* dst) {
  auto* b = static_cast<const float*>(s.b) + k_begin * s.k_stride + col * s.n_stride;
  if (s.n_stride == 1 && s.alpha == 1.0f) {
    for (int64_t kk = 0; kk < k; ++kk, dst += width, b += s.k_stride) {
      std::memcpy(dst, b, static_cast<size_t>(n) * sizeof(float));
      std::fill(dst + n, dst + width, 0.0f);
    }
    return;
  }
  // Four by four where B is stored transposed, so that both sides are read and written in runs; a cache line
  // of a column at a time, because columns a power of two apart share a set and would be gone before the
  // next.
  const int64_t k4 = s.k_stride == 1 ? k / 4 * 4 : 0, n4 = n / 4 * 4;
  for (int64_t k0 = 0; k0 < k4; k0 += 16) {
    const int64_t k1 = std::min(k4, k0 + 16);
    for (int64_t j = 0; j < n4; j += 4) {
      for (int64_t kk = k0; kk < k1; kk += 4)
        transpose_4x4(b + j * s.n_stride + kk, s.n_stride, s.alpha, dst + kk * width + j, width);
    }
    for (int64_t kk = k0; kk < k1; ++kk) {
      for (int64_t j = n4; j < n; ++j) dst[kk * width + j] = s.alpha * b[kk + j * s.n_stride];
      std::fill(dst + kk * width + n, dst + (kk + 1) * width, 0.0f);
    }
  }
  for (int64_t kk = k4; kk < k; ++kk) {
    for (int64_t j = 0; j < n; ++j) dst[kk * width + j] = s.alpha * b[kk * s.k_stride + j * s.n_stride];
    std::fill(dst + kk * width + n, dst + (kk + 1) * width, 0.0f);
  }
}

// Elements [f, end) of up to four columns (none: zeros) for pack_taps; f is the first tap of an input.
void pack_four(const float* from, int64_t stride, int64_t columns, int64_t f, int64_t end, int64_t k,
               int64_t lines, int64_t kw, float* dst, int64_t width) {
  int64_t kk = f / (lines * kw), line = 0, x = 0;
  for (; f < end; f += 4) {
    float rows[4][4] = {};
    const int64_t count = std::min<int64_t>(4, end - f);
    if (columns >= 4 && count == 4) {
      transpose_4x4(from + f, stride, 1.0f, rows[0], 4);
    } else {
      for (int64_t c = 0; c < columns; ++c) {
        for (int64_t i = 0; i < count; ++i) rows[i][c] = from[c * stride + f + i];
      }
    }
    for (int64_t i = 0; i < count; ++i) {
      std::memcpy(dst + ((line * k + kk) * kw + x) * width, rows[i], sizeof(rows[0]));
      if (++x < kw) continue;
      x = 0;
      if (++line < lines) continue;
      line = 0;
      ++kk;
    }
  }
}

// One panel of 8-bit integers, widened; kr = 2.
template <class T>
void pack_i16(const BSource& s, int64_t k_begin, int64_t k, int64_t col, int64_t n, int64_t width,
              int16_t* dst) {
  auto* b = static_cast<const T*>(s.b) + k_begin * s.k_stride + col * s.n_stride;
  auto* zero = static_cast<const T*>(s.zero);
  std::memset(dst, 0, static_cast<size_t>((k + 1) / 2 * width * 4));
  for (int64_t j = 0; j < n; ++j) {
    const int z = !zero ? 0 : zero[s.zero_per_n ? col + j : 0];
    const T* p = b + j * s.n_stride;
    for (int64_t kk = 0; kk < k; ++kk) {
      dst[(kk / 2 * width + j) * 2 + (kk & 1)] = static_cast<int16_t>(p[kk * s.k_stride] - z);
    }
  }
}

template <class T>
void widen_rows(const void* a, int64_t m, int64_t k, int64_t m_stride, int64_t k_stride, int32_t zero,
                std::byte* dst, int64_t dst_stride) {
  for (int64_t i = 0; i < m; ++i) {
    const T* row = static_cast<const T*>(a) + i * m_stride;
    auto* out = reinterpret_cast<int16_t*>(dst + i * dst_stride);
    if (k_stride == 1) {
      for (int64_t kk = 0; kk < k; ++kk) out[kk] = static_cast<int16_t>(row[kk] - zero);
    } else {
      for (int64_t kk = 0; kk < k; ++kk) out[kk] = static_cast<int16_t>(row[kk * k_stride] - zero);
    }
    std::fill(out + k, out + dst_stride / 2, int16_t{0});
  }
}

void copy_f32_rows(const float* a, int64_t m, int64_t k, int64_t m_stride, int64_t k_stride, std::byte* dst,
                   int64_t dst_stride) {
  if (k_stride == 1) {
    for (int64_t i = 0; i < m; ++i) {
      std::memcpy(dst + i * dst_stride, a + i * m_stride, static_cast<size_t>(k) * sizeof(float));
    }
    return;
  }
  // Transposing: 16 rows (a cache line of a transposed A) at a time.
  const int64_t ld = dst_stride / 4;
  auto* out = reinterpret_cast<float*>(dst);
  for (int64_t i0 = 0; i0 < m; i0 += 16) {
    const int64_t rows = std::min<int64_t>(16, m - i0);
    for (int64_t kk = 0; kk < k; ++kk) {
      const float* p = a + i0 * m_stride + kk * k_stride;
      for (int64_t i = 0; i < rows; ++i) out[(i0 + i) * ld + kk] = p[i * m_stride];
    }
  }
}

}  // namespace

void pack_panels(const PanelShape& shape, const BSource& src, int64_t k_begin, int64_t k, int64_t step_begin,
                 int64_t p_begin, int64_t p_end, std::byte* packed) noexcept {
  for (int64_t p = p_begin; p < p_end; ++p) {
    const int64_t col = p * shape.nr, n = std::min<int64_t>(shape.nr, shape.n - col),
                  width = shape.columns(p);
    std::byte* dst = packed + shape.offset(p) + step_begin * shape.stride(p);
    if (src.type == DType::f32) {
      pack_f32(src, k_begin, k, col, n, width, reinterpret_cast<float*>(dst));
    } else if (src.type == DType::u8) {
      pack_i16<uint8_t>(src, k_begin, k, col, n, width, reinterpret_cast<int16_t*>(dst));
    } else {
      pack_i16<int8_t>(src, k_begin, k, col, n, width, reinterpret_cast<int16_t*>(dst));
    }
  }
}

void pack_taps(const PanelShape& shape, const float* w, int64_t k, int64_t lines, int64_t kw,
               std::byte* packed) noexcept {
  // So many elements of a column at a time that both sides stay in the first-level cache.
  const int64_t taps = lines * kw, all = k * taps, block = 8 * taps;
  for (int64_t p = 0; p < shape.panels(); ++p) {
    const int64_t col = p * shape.nr, n = std::min<int64_t>(shape.nr, shape.n - col),
                  width = shape.columns(p);
    auto* dst = reinterpret_cast<float*>(packed + shape.offset(p));
    for (int64_t f0 = 0; f0 < all; f0 += block) {
      for (int64_t j = 0; j < width; j += 4)
        pack_four(w + (col + j) * all, all, std::min<int64_t>(4, n - j), f0, std::min(all, f0 + block), k,
                  lines, kw, dst + j, width);
    }
  }
}

void copy_rows(const void* a, DType type, int64_t m, int64_t k, int64_t m_stride, int64_t k_stride,
               int32_t zero, std::byte* dst, int64_t dst_stride) noexcept {
  if (type == DType::f32) {
    copy_f32_rows(static_cast<const float*>(a), m, k, m_stride, k_stride, dst, dst_stride);
  } else if (type == DType::u8) {
    widen_rows<uint8_t>(a, m, k, m_stride, k_stride, zero, dst, dst_stride);
  } else {
    widen_rows<int8_t>(a, m, k, m_stride, k_stride, zero, dst, dst_stride);
  }
}

void interleave_rows(const float* a, int64_t m, int64_t k, int64_t m_stride, int64_t k_stride,
                     float* dst) noexcept {
  if (m_stride == 1) {
    for (int64_t kk = 0; kk < k; ++kk, a += k_stride, dst += m) {
      std::memcpy(dst, a, static_cast<size_t>(m) * sizeof(float));
    }
    return;
  }
  const int64_t k4 = m < 4 ? 0 : k / 4 * 4;
  for (int64_t kk = 0; kk < k4; kk += 4) {
    // Rows by fours; where m is no multiple of 4, the last four once more.
    for (int64_t i = 0; i < m; i += 4) {
      const int64_t row = std::min(i, m - 4);
      transpose_4x4(a + row * m_stride + kk, m_stride, 1.0f, dst + kk * m + row, m);
    }
  }
  for (int64_t kk = k4; kk < k; ++kk) {
    for (int64_t i = 0; i < m; ++i) dst[kk * m + i] = a[i * m_stride + kk];
  }
}

}  // namespace skyline::kernels
