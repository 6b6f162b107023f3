// f32 reductions. A row of contiguous elements is summed in four vectors of lanes; a long row in chunks whose
// size follows from its length alone, so that several threads can share it and still add in one order.
#include "kernels/reduce/reduce.h"

#include <math.h>

#include "kernels/base/lanes.h"
#include "kernels/base/parallel.h"
#include "kernels/base/vecmath.h"

namespace skyline::kernels {
namespace {

constexpr int64_t kLongRow = 1 << 16;  // rows from here on are cut into chunks
constexpr int kMaxChunks = 64;
constexpr int64_t kRowBlock = 256;  // rows that a column sum adds up before it starts a new partial sum
constexpr int kTile = 4;            // vectors of columns at a time
constexpr int64_t kShortRow = 32;   // rows up to here are added one number after the other
constexpr int64_t kGrain = 16384;   // elements worth a thread

struct Add {
  static constexpr float kStart = 0;
  static F32 join(F32 a, F32 b) noexcept { return a + b; }
};
struct Multiply {
  static constexpr float kStart = 1;
  static F32 join(F32 a, F32 b) noexcept { return a * b; }
};
// The hardware's min and max drop a NaN on the left.
struct Largest {
  static constexpr float kStart = -INFINITY;
  static F32 join(F32 a, F32 b) noexcept { return xsimd::select(xsimd::isnan(a), a, xsimd::max(a, b)); }
};
struct Smallest {
  static constexpr float kStart = INFINITY;
  static F32 join(F32 a, F32 b) noexcept { return xsimd::select(xsimd::isnan(a), a, xsimd::min(a, b)); }
};

inline F32 keep(F32 x) noexcept {
  return x;
}
inline F32 square(F32 x) noexcept {
  return x * x;
}
inline F32 magnitude(F32 x) noexcept {
  return xsimd::abs(x);
}
using Pre = F32 (*)(F32) noexcept;

inline float plain(float s, int64_t) noexcept {
  return s;
}
inline float average(float s, int64_t n) noexcept {
  return s / static_cast<float>(n);
}
inline float root(float s, int64_t) noexcept {
  return sqrtf(s);
}
inline float logarithm(float s, int64_t) noexcept {
  return logf(s);
}
using Post = float (*)(float, int64_t) noexcept;

template <class J>
inline F32 load_or_start(const float* x, int64_t n) noexcept {
  alignas(64) float lanes[kLanes];
  for (int i = 0; i < kLanes; ++i) lanes[i] = i < n ? x[i] : J::kStart;
  return F32::load_aligned(lanes);
}

template <class J>
inline float join_lanes(F32 v) noexcept {
  alignas(64) float lanes[2 * kLanes] = {};
  for (int half = kLanes / 2; half > 0; half /= 2) {
    v.store_aligned(lanes);
    v = J::join(v, F32::load_unaligned(lanes + half));
  }
  v.store_aligned(lanes);
  return lanes[0];
}

// pre is applied to real elements only: the padding of the tail is the neutral element of the join itself.
template <class J, Pre P>
inline F32 row_lanes(const float* x, int64_t n) noexcept {
  F32 a(J::kStart), b(J::kStart), c(J::kStart), d(J::kStart);
  int64_t i = 0;
  for (; i + 4 * kLanes <= n; i += 4 * kLanes) {
    a = J::join(a, P(load(x + i)));
    b = J::join(b, P(load(x + i + kLanes)));
    c = J::join(c, P(load(x + i + 2 * kLanes)));
    d = J::join(d, P(load(x + i + 3 * kLanes)));
  }
  for (; i + kLanes <= n; i += kLanes) a = J::join(a, P(load(x + i)));
  if (i < n) b = J::join(b, P(load_or_start<J>(x + i, n - i)));
  return J::join(J::join(a, b), J::join(c, d));
}

template <class J, Pre P>
float long_row(const float* x, int64_t n, int threads) noexcept {
  int64_t chunk = (n + kMaxChunks - 1) / kMaxChunks;
  chunk = chunk < kLongRow / 4 ? kLongRow / 4 : (chunk + 63) / 64 * 64;
  const int64_t chunks = (n + chunk - 1) / chunk;
  float partial[kMaxChunks];
  parallel_for(threads, chunks, 1, [&](int64_t begin, int64_t end) noexcept {
    for (int64_t k = begin; k < end; ++k) {
      const int64_t left = n - k * chunk;
      partial[k] = join_lanes<J>(row_lanes<J, P>(x + k * chunk, left < chunk ? left : chunk));
    }
  });
  return join_lanes<J>(row_lanes<J, keep>(partial, chunks));
}

// A lane for each of kLanes rows: to join the lanes of one vector takes longer than a short row does.
template <class J, Pre P, Post Q>
void short_rows(const float* x, float* y, int64_t rows, int64_t n) noexcept {
  alignas(64) float block[kShortRow * kLanes] = {}, lanes[kLanes];
  for (int64_t first = 0; first < rows; first += kLanes) {
    const int64_t count = rows - first < kLanes ? rows - first : kLanes;
    for (int64_t r = 0; r < count; ++r) {
      const float* row = x + (first + r) * n;
      for (int64_t i = 0; i < n; ++i) block[i * kLanes + r] = row[i];
    }
    F32 v(J::kStart);
    for (int64_t i = 0; i < n; ++i) v = J::join(v, P(F32::load_aligned(block + i * kLanes)));
    v.store_aligned(lanes);
    for (int64_t r = 0; r < count; ++r) y[first + r] = Q(lanes[r], n);
  }
}

template <class J, Pre P, Post Q>
void columns(const float* x, float* y, int64_t n, int64_t inner, int64_t from, int64_t count) noexcept {
  F32 total[kTile], part[kTile];
  const int64_t vectors = count / kLanes, rest = count - vectors * kLanes;
  for (F32& t : total) t = F32(J::kStart);
  for (int64_t block = 0; block < n; block += kRowBlock) {
    const int64_t stop = n - block < kRowBlock ? n : block + kRowBlock;
    for (F32& p : part) p = F32(J::kStart);
    const float* row = x + block * inner + from;
    if (vectors == kTile) {
      for (int64_t r = block; r < stop; ++r, row += inner) {
        for (int v = 0; v < kTile; ++v) part[v] = J::join(part[v], P(load(row + v * kLanes)));
      }
    } else {
      for (int64_t r = block; r < stop; ++r, row += inner) {
        for (int64_t v = 0; v < vectors; ++v) part[v] = J::join(part[v], P(load(row + v * kLanes)));
        if (rest) part[vectors] = J::join(part[vectors], P(load(row + vectors * kLanes, rest)));
      }
    }
    for (int v = 0; v < kTile; ++v) total[v] = J::join(total[v], part[v]);
  }
  alignas(64) float lanes[kTile * kLanes];
  for (int v = 0; v < kTile; ++v) total[v].store_aligned(lanes + v * kLanes);
  for (int64_t i = 0; i < count; ++i) y[from + i] = Q(lanes[i], n);
}

template <class J, Pre P, Post Q>
void reduce(const float* x, float* y, int64_t outer, int64_t n, int64_t inner, int threads) noexcept {
  if (inner == 1 && n >= kLongRow) {
    for (int64_t o = 0; o < outer; ++o) y[o] = Q(long_row<J, P>(x + o * n, n, threads), n);
    return;
  }
  if (inner == 1) {
    const int64_t grain = kGrain / (n + 1) + 1;
    parallel_for(threads, outer, grain, [&](int64_t begin, int64_t end) noexcept {
      if (n <= kShortRow) return short_rows<J, P, Q>(x + begin * n, y + begin, end - begin, n);
      for (int64_t o = begin; o < end; ++o) y[o] = Q(join_lanes<J>(row_lanes<J, P>(x + o * n, n)), n);
    });
    return;
  }
  constexpr int64_t width = kTile * kLanes;
  const int64_t tiles = (inner + width - 1) / width;
  parallel_for(threads, outer * tiles, kGrain / (n * width + 1) + 1,
               [&](int64_t begin, int64_t end) noexcept {
                 for (int64_t k = begin; k < end; ++k) {
                   const int64_t o = k / tiles, from = k % tiles * width;
                   const int64_t count = inner - from < width ? inner - from : width;
                   columns<J, P, Q>(x + o * n * inner, y + o * inner, n, inner, from, count);
                 }
               });
}

// log(sum(exp(x))) with the largest taken out: exp cannot overflow.
float lse_row(const float* x, int64_t n) noexcept {
  const float m = join_lanes<Largest>(row_lanes<Largest, keep>(x, n));
  if (!(fabsf(m) <= 3.4e38f)) return m;  // infinite or NaN
  const F32 shift(m);
  F32 sum(0.0f);
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) sum += vec::exp(load(x + i) - shift);
  if (i < n) sum += vec::exp(load_or_start<Largest>(x + i, n - i) - shift);
  return m + logf(join_lanes<Add>(sum));
}

void lse_columns(const float* x, float* y, int64_t n, int64_t inner, int64_t from, int64_t count) noexcept {
  F32 m(-INFINITY), sum(0.0f);
  for (int64_t r = 0; r < n; ++r) m = Largest::join(m, load(x + r * inner + from, count));
  const F32 shift = xsimd::select(xsimd::abs(m) <= F32(3.4e38f), m, F32(0.0f));
  for (int64_t r = 0; r < n; ++r) sum += vec::exp(load(x + r * inner + from, count) - shift);
  store(y + from, xsimd::select(xsimd::abs(m) <= F32(3.4e38f), m + vec::log(sum), m), count);
}

void log_sum_exp(const float* x, float* y, int64_t outer, int64_t n, int64_t inner, int threads) noexcept {
  const int64_t tiles = inner == 1 ? 1 : (inner + kLanes - 1) / kLanes;
  const int64_t grain = kGrain / 4 / (n * (inner == 1 ? 1 : kLanes) + 1) + 1;
  parallel_for(threads, outer * tiles, grain, [&](int64_t begin, int64_t end) noexcept {
    for (int64_t k = begin; k < end; ++k) {
      const int64_t o = k / tiles, from = k % tiles * kLanes;
      if (inner == 1) {
        y[o] = lse_row(x + o * n, n);
      } else {
        lse_columns(x + o * n * inner, y + o * inner, n, inner, from,
                    inner - from < kLanes ? inner - from : kLanes);
      }
    }
  });
}

}  // namespace

// In the order of ReduceOp.
constinit const ReduceTable SKYLINE_TAGGED(reduce) = {
    .info = table_row(SKYLINE_TEXT(SKYLINE_TAGGED(reduce)), "reduce"),
    .run = {reduce<Add, keep, plain>, reduce<Add, keep, average>, reduce<Largest, keep, plain>,
            reduce<Smallest, keep, plain>, reduce<Multiply, keep, plain>, reduce<Add, square, plain>,
            reduce<Add, magnitude, plain>, reduce<Add, square, root>, reduce<Add, keep, logarithm>,
            log_sum_exp},
};

}  // namespace skyline::kernels
