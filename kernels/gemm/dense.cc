#include "kernels/gemm/dense.h"

#include <algorithm>
#include <cstring>

#include "kernels/gemm/dense_run.h"

namespace skyline::kernels {
namespace {

// Up to n values in fours, `to_stride` bytes apart, shifted by 128 if they are unsigned. Returns how many,
// and adds them to `sum`.
template <class T>
int64_t pack_fours(const T* p, int64_t stride, int64_t n, int8_t* to, int64_t to_stride, int32_t& sum) {
  constexpr uint8_t kFlip = std::is_signed_v<T> ? 0 : 0x80;
  int64_t kk = 0;
  for (; kk + 4 <= n; kk += 4, p += 4 * stride, to += to_stride) {
    int8_t four[4];
    for (int q = 0; q < 4; ++q) four[q] = static_cast<int8_t>(static_cast<uint8_t>(p[q * stride]) ^ kFlip);
    sum += four[0] + four[1] + four[2] + four[3];
    std::memcpy(to, four, 4);
  }
  return kk;
}

// What line l keeps of a value: what fits into 8 bits of what the lines before it have left.
int rest_of(int value, int64_t l) {
  for (; l > 0; --l) value -= std::clamp(value, -128, 127);
  return std::clamp(value, -128, 127);
}

// rest: weights less their zero points, in lines of the same runs: what fits into 8 bits, and what is left.
template <class T>
void pack_panel(const BSource& src, const DenseRuns& runs, bool rest, int64_t line_bytes, int64_t n,
                int64_t width, int8_t* to, int32_t* sums) {
  constexpr int kShift = std::is_signed_v<T> ? 0 : 128;
  auto *b = static_cast<const T*>(src.b), *zeros = static_cast<const T*>(src.zero);
  // A panel is seldom in L1 as a whole; by columns, each four bytes would meet another line of it.
  constexpr int64_t kPiece = 64;
  std::fill_n(sums, n, 0);
  const auto piece = [&](int64_t l, int64_t at, const T* p, int64_t k, int64_t j) {
    const int zero = !rest ? kShift : zeros ? zeros[src.zero_per_n ? j : 0] : 0;
    const auto place = [&](int64_t i) { return to + (i / 4 * width + j) * 4 + i % 4; };
    int64_t kk = 0;
    if (!rest && at % 4 == 0) kk = pack_fours(p, src.k_stride, k, place(at), width * 4, sums[j]);
    for (at += kk; kk < k; ++kk, ++at) {
      int value = p[kk * src.k_stride] - zero;
      if (rest) value = rest_of(value, l);
      *place(at) = static_cast<int8_t>(value);
      sums[j] += value;
    }
  };
  for (int64_t l = 0; l < runs.lines; ++l) {
    for (int64_t r = 0; r < runs.runs; ++r) {
      const T* run = b + l * runs.line_stride + r * runs.run_stride;
      for (int64_t kk = 0; kk < runs.k; kk += kPiece) {
        const T* p = run + kk * src.k_stride;
        for (int64_t j = 0; j < n; ++j, p += src.n_stride)
          piece(l, l * line_bytes + r * runs.k + kk, p, std::min(kPiece, runs.k - kk), j);
      }
    }
  }
}

void pack_floats(const DenseKernel& kernel, const BSource& src, const DenseRuns& runs, int64_t n,
                 std::byte* to) {
  const int64_t k = runs.padded(kernel);
  const PanelShape shape = kernel.shape(n, k);
  if (n == 0) return;
  const auto size = static_cast<int64_t>(size_of(src.type));
  bool finite = true;
  for (int64_t p = 0; p < shape.panels(); ++p) {
    const int64_t col = p * shape.nr;
    BSource from = src;
    from.b = static_cast<const std::byte*>(src.b) + col * src.n_stride * size;
    finite &= kernel.pack(from, runs, kernel.steps(runs.runs * runs.k), std::min<int64_t>(shape.nr, n - col),
                          shape.stride(p), to + shape.offset(p));
  }
  *const_cast<int32_t*>(kernel.column_sums(to, n, k)) = !finite;
}

void pack_bytes(const DenseKernel& kernel, const BSource& src, const DenseRuns& runs, bool rest, int64_t n,
                std::byte* to) {
  const int64_t k = runs.padded(kernel), line_bytes = kernel.steps(runs.runs * runs.k) * 4;
  const PanelShape shape = kernel.shape(n, k);
  auto* sums = const_cast<int32_t*>(kernel.column_sums(to, n, k));
  std::memset(to, 0, static_cast<size_t>(shape.bytes()));
  const auto size = static_cast<int64_t>(size_of(src.type));
  for (int64_t p = 0; p < shape.panels(); ++p) {
    const int64_t col = p * shape.nr, columns = std::min<int64_t>(shape.nr, n - col);
    BSource from = src;
    from.b = static_cast<const std::byte*>(src.b) + col * src.n_stride * size;
    if (src.zero && src.zero_per_n) from.zero = static_cast<const std::byte*>(src.zero) + col;
    auto* panel = reinterpret_cast<int8_t*>(to + shape.offset(p));
    if (src.type == DType::u8) {
      pack_panel<uint8_t>(from, runs, rest, line_bytes, columns, shape.columns(p), panel, sums + col);
    } else {
      pack_panel<int8_t>(from, runs, rest, line_bytes, columns, shape.columns(p), panel, sums + col);
    }
    if (kernel.pairs)
      bound_pairs(to + shape.offset(p), runs.lines, line_bytes / 4, shape.stride(p), kernel.lanes);
  }
}

}  // namespace

void dense_pack(const DenseKernel& kernel, const BSource& src, const DenseRuns& runs, int64_t n,
                std::byte* to) noexcept {
  if (kernel.floats()) return pack_floats(kernel, src, runs, n, to);
  pack_bytes(kernel, src, runs, false, n, to);
}

void dense_pack_rest(const DenseKernel& kernel, const BSource& src, DenseRuns runs, int64_t n,
                     std::byte* to) noexcept {
  runs.lines = kRestLines;
  runs.line_stride = 0;
  pack_bytes(kernel, src, runs, true, n, to);
}

void dense_rows(const DenseKernel& kernel, DType type, const std::byte* a, int64_t m, int64_t k,
                int64_t m_stride, int64_t k_stride, std::byte* dst, int64_t dst_stride) noexcept {
  const bool shift = kernel.shift(type) != 0;
  const auto flip = static_cast<uint8_t>(shift ? 0x80 : 0);  // adding or taking off 128 modulo 256
  for (int64_t i = 0; i < m; ++i, a += m_stride, dst += dst_stride) {
    auto* to = reinterpret_cast<uint8_t*>(dst);
    auto* from = reinterpret_cast<const uint8_t*>(a);
    if (k_stride != 1) {
      for (int64_t kk = 0; kk < k; ++kk) to[kk] = from[kk * k_stride] ^ flip;
    } else if (shift) {
      for (int64_t kk = 0; kk < k; ++kk) to[kk] = from[kk] ^ 0x80;
    } else {
      std::memcpy(to, from, static_cast<size_t>(k));
    }
    std::memset(to + k, 0, static_cast<size_t>(dst_stride - k));
  }
}

void take_zero_off(DenseProduct& g, int64_t k, DType a, int32_t zero, int32_t* room) noexcept {
  zero += g.kernel->shift(a);
  if (zero == 0) return;
  const int64_t n = g.shape.n;
  const int32_t *bias = g.epilogue.bias_i32, *sums = g.kernel->column_sums(g.b, n, k);
  for (int64_t j = 0; j < n; ++j) {  // wraps like the sums themselves do
    const uint32_t start = bias ? static_cast<uint32_t>(bias[j]) : 0;
    room[j] = static_cast<int32_t>(start - static_cast<uint32_t>(zero) * static_cast<uint32_t>(sums[j]));
  }
  g.epilogue.bias_i32 = room;
}

void dense_block(const DenseProduct& g, const std::byte* a, int64_t a_stride, int64_t m0, int64_t m1,
                 int64_t p0, int64_t p1) noexcept {
  const DenseKernel& kernel = *g.kernel;
  const auto out_size = static_cast<int64_t>(size_of(g.out));
  DenseTile t;
  // Integers: lines that read the same A, see dense_pack_rest.
  t.lines = !kernel.floats() && g.k ? g.steps() / kernel.steps(g.k) : 1;
  t.steps = g.steps() / t.lines;
  t.k = g.k;
  t.finite = g.finite;
  t.a_plane = g.a_plane;
  t.a_stride = a_stride;
  t.c_stride = g.c_stride;
  t.out = g.out;
  const auto run = [&](int64_t row, int64_t rows, int64_t q, int64_t panels) {
    const int64_t col = q * g.shape.nr;
    t.m = rows;
    t.n = std::min((q + panels) * g.shape.nr, g.shape.n) - col;
    t.a = a + (row - m0) * a_stride;
    t.b = g.b + g.shape.offset(q);
    t.epilogue = moved(g.epilogue, row, col);
    t.c = g.c + row * g.c_stride + col * out_size;
    kernel.run(t);
  };
  const int64_t part = kernel.part_steps(t.steps);
  if (kernel.enter) kernel.enter();
  // For few rows it is the weights that take time, and they come in best as they lie.
  const bool few = !kernel.floats() && m1 - m0 <= 2 * kernel.mr;
  if (part >= t.steps || t.lines > 1 || !g.partial || !g.finite || few) {
    // Panels that share L2 with a block of A; a tile's rows stay in L1 while they pass.
    const int64_t panel = std::max<int64_t>(1, g.shape.steps * kernel.nr * 4);
    const int64_t group = std::max<int64_t>(1, l2_bytes() / 2 / panel);
    for (int64_t q = p0; q < p1; q += group) run(m0, m1 - m0, q, std::min(group, p1 - q));
  } else {
    // A part of some panels and of some rows, and their sums, share L2.
    const int64_t panels = std::min<int64_t>(16, p1 - p0), rows = kPartialTiles / panels * kernel.mr;
    t.partial = g.partial;
    for (int64_t q = p0; q < p1; q += panels) {
      for (int64_t row = m0; row < m1; row += rows) {
        for (t.first = 0; t.first < t.steps; t.first += part) {
          t.count = std::min(part, t.steps - t.first);
          t.add = t.first > 0;
          t.more = t.first + t.count < t.steps;
          run(row, std::min(rows, m1 - row), q, std::min(panels, p1 - q));
        }
      }
    }
  }
  if (kernel.leave) kernel.leave();
}

}  // namespace skyline::kernels
