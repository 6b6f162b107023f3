// Transposes. After merging, every permutation is a batch of 2-D transposes of units (elements, or runs of
// elements that stay together); units of 1, 2, 4 and 8 bytes go through 128-bit registers, block by block.
#include <cstring>
#include <utility>

#include "kernels/base/parallel.h"
#include "kernels/layout/layout.h"

namespace skyline::kernels {
namespace {

constexpr int kMaxInputRank = 32;
constexpr int64_t kTile = 64;  // units: a tile of both sides stays in L1, and cache lines are used whole

template <class T>
using Vec __attribute__((vector_size(16))) = T;

template <class T, size_t... I>
inline void interleave(Vec<T> a, Vec<T> b, Vec<T>* lo, Vec<T>* hi, std::index_sequence<I...>) noexcept {
  constexpr int n = sizeof...(I);
  *lo = __builtin_shufflevector(a, b, (I % 2 * n + I / 2)...);
  *hi = __builtin_shufflevector(a, b, (I % 2 * n + n / 2 + I / 2)...);
}

// y[j * y_step + i] = x[i * x_step + j] for i, j < n = 16 / sizeof(T): log2(n) rounds of interleaving.
template <class T>
inline void transpose_registers(const T* x, int64_t x_step, T* y, int64_t y_step) noexcept {
  constexpr int n = 16 / sizeof(T);
  Vec<T> v[n], w[n];
  for (int i = 0; i < n; ++i) std::memcpy(&v[i], x + i * x_step, 16);
  for (int round = 1; round < n; round *= 2) {
    for (int i = 0; i < n / 2; ++i) {
      interleave<T>(v[i], v[i + n / 2], &w[2 * i], &w[2 * i + 1], std::make_index_sequence<n>());
    }
    for (int i = 0; i < n; ++i) v[i] = w[i];
  }
  for (int i = 0; i < n; ++i) std::memcpy(y + i * y_step, &v[i], 16);
}

// Two to four planes of bytes to pixels that lie side by side: each pixel is stored as four bytes, of which
// the next one overwrites what is too much. Returns the pixels done; the last ones are left to the caller.
inline int64_t planes_to_pixels(const uint8_t* x, int64_t x_step, uint8_t* y, int64_t planes,
                                int64_t pixels) noexcept {
  const auto order = std::make_index_sequence<16>();
  const auto order16 = std::make_index_sequence<8>();
  int64_t j = 0;
  for (; j + 16 < pixels; j += 16, y += 16 * planes) {
    Vec<uint8_t> v[4] = {}, low[2], high[2];
    for (int64_t i = 0; i < planes; ++i) std::memcpy(&v[i], x + i * x_step + j, 16);
    interleave<uint8_t>(v[0], v[1], &low[0], &high[0], order);
    interleave<uint8_t>(v[2], v[3], &low[1], &high[1], order);
    Vec<uint16_t> out[4];
    interleave<uint16_t>(Vec<uint16_t>(low[0]), Vec<uint16_t>(low[1]), &out[0], &out[1], order16);
    interleave<uint16_t>(Vec<uint16_t>(high[0]), Vec<uint16_t>(high[1]), &out[2], &out[3], order16);
    uint32_t words[16];
    std::memcpy(words, out, sizeof words);
    for (int64_t k = 0; k < 16; ++k) std::memcpy(y + k * planes, &words[k], 4);
  }
  return j;
}

// y[j * y_step + i] = x[i * x_step + j] for i < rows, j < columns.
template <class T>
void transpose_tile(const T* x, int64_t x_step, T* y, int64_t y_step, int64_t rows,
                    int64_t columns) noexcept {
  constexpr int64_t n = 16 / sizeof(T);
  if constexpr (sizeof(T) == 1) {
    if (rows >= 2 && rows <= 4 && y_step == rows) {
      const int64_t done = planes_to_pixels(x, x_step, y, rows, columns);
      x += done;
      y += done * y_step;
      columns -= done;
    }
  }
  const int64_t whole_rows = rows / n * n, whole_columns = columns / n * n;
  for (int64_t i = 0; i < whole_rows; i += n) {
    for (int64_t j = 0; j < whole_columns; j += n) {
      transpose_registers(x + i * x_step + j, x_step, y + j * y_step + i, y_step);
    }
  }
  for (int64_t j = whole_columns; j < columns; ++j) {
    for (int64_t i = 0; i < whole_rows; ++i) y[j * y_step + i] = x[i * x_step + j];
  }
  for (int64_t j = 0; j < columns; ++j) {
    for (int64_t i = whole_rows; i < rows; ++i) y[j * y_step + i] = x[i * x_step + j];
  }
}

void move_units(const char* x, int64_t x_step, char* y, int64_t y_step, int64_t rows, int64_t columns,
                size_t bytes) noexcept {
  const int64_t size = static_cast<int64_t>(bytes);
  for (int64_t j = 0; j < columns; ++j) {
    for (int64_t i = 0; i < rows; ++i) {
      std::memcpy(y + (j * y_step + i) * size, x + (i * x_step + j) * size, bytes);
    }
  }
}

void transpose_any(const char* x, int64_t x_step, char* y, int64_t y_step, int64_t rows, int64_t columns,
                   size_t bytes) noexcept {
  const auto typed = [&](auto unit) noexcept {
    using T = decltype(unit);
    transpose_tile(reinterpret_cast<const T*>(x), x_step, reinterpret_cast<T*>(y), y_step, rows, columns);
  };
  switch (bytes) {
    case 1:
      return typed(uint8_t{});
    case 2:
      return typed(uint16_t{});
    case 4:
      return typed(uint32_t{});
    case 8:
      return typed(uint64_t{});
    default:
      return move_units(x, x_step, y, y_step, rows, columns, bytes);
  }
}

}  // namespace

bool make_transpose_plan(std::span<const int64_t> x_shape, std::span<const int> perm, size_t bytes,
                         TransposePlan* plan) noexcept {
  const int rank = static_cast<int>(x_shape.size());
  if (rank > kMaxInputRank || perm.size() != x_shape.size()) return false;
  *plan = TransposePlan{};
  plan->bytes = bytes;
  int64_t x_stride[kMaxInputRank], step = 1;
  for (int d = rank - 1; d >= 0; --d) {
    x_stride[d] = step;
    step *= x_shape[d];
  }
  plan->size = step;
  int merged = 0;
  int64_t dims[kMaxInputRank], strides[kMaxInputRank];
  for (int d = 0; d < rank && step > 0; ++d) {
    if (perm[d] < 0 || perm[d] >= rank) return false;
    const int64_t size = x_shape[perm[d]], stride = x_stride[perm[d]];
    if (size == 1) continue;
    if (merged > 0 && strides[merged - 1] == stride * size) {
      dims[merged - 1] *= size;
      strides[merged - 1] = stride;
    } else {
      dims[merged] = size;
      strides[merged++] = stride;
    }
  }
  if (merged > 0 && strides[merged - 1] == 1) {  // the innermost run stays together: it becomes the unit
    const int64_t run = dims[--merged];
    plan->bytes *= static_cast<size_t>(run);
    plan->size /= run;
    for (int d = 0; d < merged; ++d) strides[d] /= run;
  }
  if (merged > kMaxRank) return false;
  plan->rank = merged > 0 ? merged : 1;
  plan->dims[0] = merged > 0 ? 0 : plan->size;
  plan->strides[0] = 1;
  for (int d = 0; d < merged; ++d) {
    plan->dims[d] = dims[d];
    plan->strides[d] = strides[d];
    if (strides[d] == 1) plan->fast = d;
  }
  return true;
}

void run_transpose(const TransposePlan& p, const void* x, void* y, int threads) noexcept {
  const char* in = static_cast<const char*>(x);
  char* out = static_cast<char*>(y);
  const int64_t bytes = static_cast<int64_t>(p.bytes);
  if (p.size <= 0) return;
  if (p.rank == 1) {
    parallel_for(threads, p.size * bytes, int64_t{1} << 20, [&](int64_t begin, int64_t end) noexcept {
      std::memcpy(out + begin, in + begin, static_cast<size_t>(end - begin));
    });
    return;
  }
  const int last = p.rank - 1;
  int64_t y_strides[kMaxRank], step = 1;
  for (int d = last; d >= 0; --d) {
    y_strides[d] = step;
    step *= p.dims[d];
  }
  const int64_t rows = p.dims[last], columns = p.dims[p.fast];  // i along y's last, j along x's last
  const int64_t row_tiles = (rows + kTile - 1) / kTile, column_tiles = (columns + kTile - 1) / kTile;
  const int64_t tiles = p.size / (rows * columns) * row_tiles * column_tiles;
  const int64_t tile_bytes = (rows < kTile ? rows : kTile) * (columns < kTile ? columns : kTile) * bytes;
  parallel_for(threads, tiles, (int64_t{1} << 16) / tile_bytes + 1, [&](int64_t begin, int64_t end) noexcept {
    for (int64_t k = begin; k < end; ++k) {
      const int64_t i = k % row_tiles * kTile, j = k / row_tiles % column_tiles * kTile;
      int64_t rest = k / row_tiles / column_tiles;
      int64_t from = i * p.strides[last] + j, to = i + j * y_strides[p.fast];
      for (int d = last - 1; d >= 0; --d) {
        if (d == p.fast) continue;
        const int64_t index = rest % p.dims[d];
        rest /= p.dims[d];
        from += index * p.strides[d];
        to += index * y_strides[d];
      }
      transpose_any(in + from * bytes, p.strides[last], out + to * bytes, y_strides[p.fast],
                    rows - i < kTile ? rows - i : kTile, columns - j < kTile ? columns - j : kTile, p.bytes);
    }
  });
}

void transpose_2d(const void* x, void* y, int64_t batch, int64_t rows, int64_t columns, size_t bytes,
                  int threads) noexcept {
  const int64_t shape[] = {batch, rows, columns};
  const int perm[] = {0, 2, 1};
  TransposePlan plan;
  make_transpose_plan(shape, perm, bytes, &plan);
  run_transpose(plan, x, y, threads);
}

}  // namespace skyline::kernels
