// Strided copies, fills, gathers of rows, and copies through index maps.
#include <cstring>

#include "kernels/base/parallel.h"
#include "kernels/layout/layout.h"

namespace skyline::kernels {
namespace {

constexpr int64_t kGrain = 16384;  // elements worth a thread
constexpr int64_t kGrainBytes = 1 << 16;

// y[i * y_step] = x[i * x_step].
template <class T>
void move(const char* x, int64_t x_step, char* y, int64_t y_step, int64_t n) noexcept {
  const T* in = reinterpret_cast<const T*>(x);
  T* out = reinterpret_cast<T*>(y);
  for (int64_t i = 0; i < n; ++i) out[i * y_step] = in[i * x_step];
}
void move(size_t bytes, const char* x, int64_t x_step, char* y, int64_t y_step, int64_t n) noexcept {
  if (x_step == 1 && y_step == 1) {
    std::memcpy(y, x, static_cast<size_t>(n) * bytes);
    return;
  }
  switch (bytes) {
    case 1:
      return move<uint8_t>(x, x_step, y, y_step, n);
    case 2:
      return move<uint16_t>(x, x_step, y, y_step, n);
    case 4:
      return move<uint32_t>(x, x_step, y, y_step, n);
    case 8:
      return move<uint64_t>(x, x_step, y, y_step, n);
    default:
      break;
  }
  const int64_t size = static_cast<int64_t>(bytes);
  for (int64_t i = 0; i < n; ++i) std::memcpy(y + i * y_step * size, x + i * x_step * size, bytes);
}

template <class Index>
bool gather(const void* x, void* y, int64_t outer, int64_t axis, size_t row_bytes, const Index* index,
            int64_t count, int threads) noexcept {
  for (int64_t j = 0; j < count; ++j) {
    if (index[j] < -axis || index[j] >= axis) return false;
  }
  const char* in = static_cast<const char*>(x);
  char* out = static_cast<char*>(y);
  const int64_t row = static_cast<int64_t>(row_bytes);
  parallel_for(threads, outer * count, kGrainBytes / (row + 8) + 1, [&](int64_t begin, int64_t end) noexcept {
    for (int64_t k = begin; k < end; ++k) {
      int64_t at = index[k % count];
      if (at < 0) at += axis;
      const char* from = in + (k / count * axis + at) * row;
      if (row_bytes == 4) {  // single elements: not worth a call
        std::memcpy(out + k * 4, from, 4);
      } else if (row_bytes == 8) {
        std::memcpy(out + k * 8, from, 8);
      } else {
        std::memcpy(out + k * row, from, row_bytes);
      }
    }
  });
  return true;
}

template <class T>
void mapped_row(const char* x, char* y, const int32_t* map, int64_t n, const void* fill) noexcept {
  const T* in = reinterpret_cast<const T*>(x);
  T* out = reinterpret_cast<T*>(y);
  T value{};
  if (fill) std::memcpy(&value, fill, sizeof(T));
  for (int64_t i = 0; i < n; ++i) out[i] = map[i] < 0 ? value : in[map[i]];
}

}  // namespace

void copy_strided(const NdPlan& p, size_t bytes, const void* x, void* y, int threads) noexcept {
  const char* in = static_cast<const char*>(x);
  char* out = static_cast<char*>(y);
  const int64_t size = static_cast<int64_t>(bytes);
  const int last = p.rank - 1;
  parallel_for(threads, p.size, kGrain, [&](int64_t begin, int64_t end) noexcept {
    for_rows(p, begin, end, [&](int64_t, const int64_t* offset, int64_t n) noexcept {
      move(bytes, in + offset[0] * size, p.strides[0][last], out + offset[1] * size, p.strides[1][last], n);
    });
  });
}

void fill(void* y, const void* value, size_t bytes, int64_t n, int threads) noexcept {
  char* out = static_cast<char*>(y);
  const int64_t size = static_cast<int64_t>(bytes);
  parallel_for(threads, n, kGrain, [&](int64_t begin, int64_t end) noexcept {
    move(bytes, static_cast<const char*>(value), 0, out + begin * size, 1, end - begin);
  });
}

bool gather_rows(const void* x, void* y, int64_t outer, int64_t axis, size_t row_bytes, const int64_t* index,
                 int64_t count, int threads) noexcept {
  return gather(x, y, outer, axis, row_bytes, index, count, threads);
}
bool gather_rows(const void* x, void* y, int64_t outer, int64_t axis, size_t row_bytes, const int32_t* index,
                 int64_t count, int threads) noexcept {
  return gather(x, y, outer, axis, row_bytes, index, count, threads);
}

void copy_mapped(const MapPlan& p, size_t bytes, const void* x, void* y, const void* fill_value,
                 int threads) noexcept {
  // Trailing dimensions without a map move as one unit of `run` elements.
  int rank = p.rank;
  int64_t run = 1;
  while (rank > 0 && !p.map[rank - 1]) run *= p.y_dims[--rank];
  const int64_t unit = run * static_cast<int64_t>(bytes);
  const int64_t inner = rank > 0 ? p.y_dims[rank - 1] : 1;
  int64_t rows = 1, x_step[kMaxRank], step = 1;
  for (int d = rank - 1; d >= 0; --d) {
    x_step[d] = step;
    step *= p.x_dims[d];
    if (d < rank - 1) rows *= p.y_dims[d];
  }
  if (rows * inner * unit <= 0) return;
  const char* in = static_cast<const char*>(x);
  char* out = static_cast<char*>(y);
  const auto put = [&](const char* row, char* to, bool outside) noexcept {
    if (outside) return fill(to, fill_value, bytes, inner * run, 1);
    if (rank == 0) {
      std::memcpy(to, row, static_cast<size_t>(unit));
      return;
    }
    const int32_t* map = p.map[rank - 1];
    switch (run == 1 ? unit : 0) {
      case 1:
        return mapped_row<uint8_t>(row, to, map, inner, fill_value);
      case 2:
        return mapped_row<uint16_t>(row, to, map, inner, fill_value);
      case 4:
        return mapped_row<uint32_t>(row, to, map, inner, fill_value);
      case 8:
        return mapped_row<uint64_t>(row, to, map, inner, fill_value);
      default:
        break;
    }
    for (int64_t i = 0; i < inner; ++i, to += unit) {
      if (map[i] < 0) {
        fill(to, fill_value, bytes, run, 1);
      } else {
        std::memcpy(to, row + map[i] * unit, static_cast<size_t>(unit));
      }
    }
  };
  parallel_for(threads, rows, kGrainBytes / (inner * unit) + 1, [&](int64_t begin, int64_t end) noexcept {
    for (int64_t r = begin; r < end; ++r) {
      int64_t rest = r, from = 0;
      bool outside = false;
      for (int d = rank - 2; d >= 0; --d) {
        const int64_t j = rest % p.y_dims[d];
        rest /= p.y_dims[d];
        const int64_t at = p.map[d] ? p.map[d][j] : j;
        outside = outside || at < 0;
        from += at * x_step[d];
      }
      put(in + (outside ? 0 : from * unit), out + r * inner * unit, outside);
    }
  });
}

void make_pad_map(PadMode mode, int64_t in, int64_t begin, int64_t end, int32_t* map) noexcept {
  const int64_t out = in + begin + end, period = mode == PadMode::reflect ? 2 * (in - 1) : in;
  for (int64_t j = 0; j < out; ++j) {
    int64_t at = j - begin;
    if (at < 0 || at >= in) {
      switch (mode) {
        case PadMode::constant:
          at = -1;
          break;
        case PadMode::edge:
          at = at < 0 ? 0 : in - 1;
          break;
        default:
          at = period > 0 ? (at % period + period) % period : 0;
          if (mode == PadMode::reflect && at >= in) at = period - at;
          break;
      }
    }
    map[j] = static_cast<int32_t>(at);
  }
}

}  // namespace skyline::kernels
