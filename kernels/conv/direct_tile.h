#pragma once
// For *.isa.cc files: the accumulators of a direct tile, M pixels by NV vectors of channels, from bias to
// store. The products in between are each kernel's own.
#include "kernels/conv/direct.h"
#include "kernels/gemm/activate.h"

namespace skyline::kernels {
namespace {

// Steps in one chain of multiply-adds, after which it is added to a sum in memory: the rounding error of a
// chain grows with its length.
constexpr int64_t kChain = 96;

// Steps between rows that are fetched ahead: a vector takes some 25 cycles to come from L3, a step at
// least 12.
constexpr int64_t kFetchSteps = 8;

// A value of which the compiler cannot know how it was computed: without that it keeps a pointer per pixel.
template <class T>
inline T opaque(T v) {
  asm volatile("" : "+r"(v));
  return v;
}

// `Count` addresses `s` bytes apart by one pointer for five of them: 0, 1, 2, 3 and 4 distances away are
// within reach of x86's addressing with two registers. A pointer each would not fit into the registers, and
// to reload them would take the load ports that the broadcasts need.
template <int Count>
struct Spaced {
  static constexpr int kEach = 5, kPointers = (Count + kEach - 1) / kEach;
  const char* p[kPointers];
  int64_t s, s2, s3;

  Spaced(const float* x, int64_t distance) : s(distance * 4), s2(opaque(2 * s)), s3(opaque(3 * s)) {
#pragma GCC unroll 16
    for (int g = 0; g < kPointers; ++g) p[g] = reinterpret_cast<const char*>(x) + g * kEach * s;
  }
  void hide() {
    s = opaque(s);
#pragma GCC unroll 16
    for (int g = 0; g < kPointers; ++g) p[g] = opaque(p[g]);
  }
  F32 broadcast(int i) const {
    const int far = i % kEach;
    const int64_t offset = far == 3 ? s3 : far == 2 ? s2 : far * s;
    return F32(*reinterpret_cast<const float*>(p[i / kEach] + offset));
  }
  void next() {
#pragma GCC unroll 16
    for (int g = 0; g < kPointers; ++g) p[g] += sizeof(float);
  }
};

// The same of addresses one float apart, known to the compiler.
struct Adjacent {
  const float* p;
  Adjacent(const float* x, int64_t) : p(x) {}
  void hide() { p = opaque(p); }
  F32 broadcast(int i) const { return F32(p[i]); }
  void next() { ++p; }
};

template <int M, int NV>
struct Tile {
  F32 acc[M][NV];
  alignas(64) float sums[M * NV * kLanes];
  int64_t left = kChain;  // of the present chain
  bool flushed = false;
  int fetched = 0;

  Tile() {
#pragma GCC unroll 28
    for (int i = 0; i < M; ++i) {
#pragma GCC unroll 4
      for (int j = 0; j < NV; ++j) acc[i][j] = F32(0.0f);
    }
  }
  // Where outputs lie far asks for what finish() will read and write, a row at a time, so that little else
  // has to wait for it. Returns how many steps should pass before the next call.
  int64_t fetch(const DirectLine& d, int64_t first) {
    if (!d.far_y || fetched == M) return kChain;
    const float* y = d.y + (first + fetched) * d.ldy;
    const float* r = d.epilogue.residual;
#pragma GCC unroll 4
    for (int j = 0; j < NV; ++j) __builtin_prefetch(y + j * kLanes, 1);
    if (r) {
      r += (first + fetched) * d.epilogue.ldr;
#pragma GCC unroll 4
      for (int j = 0; j < NV; ++j) __builtin_prefetch(r + j * kLanes);
    }
    ++fetched;
    return kFetchSteps;
  }
  // sums += acc, or sums = acc the first time.
  void flush() {
#pragma GCC unroll 28
    for (int i = 0; i < M; ++i) {
#pragma GCC unroll 4
      for (int j = 0; j < NV; ++j) {
        float* at = sums + (i * NV + j) * kLanes;
        (flushed ? acc[i][j] + F32::load_aligned(at) : acc[i][j]).store_aligned(at);
        acc[i][j] = F32(0.0f);
      }
    }
    flushed = true;
    left = kChain;
  }
  void finish(const DirectLine& d, int64_t first, int last) {
    const Epilogue& e = d.epilogue;
    if (flushed) {
#pragma GCC unroll 28
      for (int i = 0; i < M; ++i) {
#pragma GCC unroll 4
        for (int j = 0; j < NV; ++j) acc[i][j] += F32::load_aligned(sums + (i * NV + j) * kLanes);
      }
    }
    // Last: a bias much larger than the sum would round every step to its own precision (mlsd_320_tiny: 8
    // times the error).
    if (e.bias_n) add_bias(e.bias_n, last);
    if (e.residual) add_residual(e.residual + first * e.ldr, e.ldr, last);
    if (e.act.fn == Act::relu) {
      activate_all<Act::relu>(e.act);
    } else if (e.act.fn == Act::clip) {
      activate_all<Act::clip>(e.act);
    }
    float* y = d.y + first * d.ldy;
#pragma GCC unroll 28
    for (int i = 0; i < M; ++i) {
#pragma GCC unroll 4
      for (int j = 0; j < NV - 1; ++j) store(y + i * d.ldy + j * kLanes, acc[i][j]);
      store_first(y + i * d.ldy + (NV - 1) * kLanes, acc[i][NV - 1], last);
    }
    if (e.act.fn > Act::clip) activate_rows(e.act, y, d.ldy, M, d.n);
  }
  void add_bias(const float* bias, int last) {
#pragma GCC unroll 4
    for (int j = 0; j < NV; ++j) {
      const F32 v = load_first(bias + j * kLanes, j == NV - 1 ? last : kLanes);
#pragma GCC unroll 28
      for (int i = 0; i < M; ++i) acc[i][j] += v;
    }
  }
  void add_residual(const float* r, int64_t ldr, int last) {
#pragma GCC unroll 28
    for (int i = 0; i < M; ++i) {
      const float* p = r + i * ldr;
#pragma GCC unroll 4
      for (int j = 0; j < NV - 1; ++j) acc[i][j] += load(p + j * kLanes);
      acc[i][NV - 1] += load_first(p + (NV - 1) * kLanes, last);
    }
  }
  template <Act F>
  void activate_all(Activation f) {
#pragma GCC unroll 28
    for (int i = 0; i < M; ++i) {
#pragma GCC unroll 4
      for (int j = 0; j < NV; ++j) acc[i][j] = activate<F>(acc[i][j], f.a, f.b);
    }
  }
};

// What tiles bring into L2 for a later call: at each step the line of cache that is `step` bytes on; 0:
// nothing.
struct Ahead {
  const char* at;
  int64_t step;

  // A prefetch in vain costs: the loops are bound by their loads (2 % on a Xeon with AVX-512).
  void fetch() {
    if (step == 0) return;
    __builtin_prefetch(at, 0, 2);
    at += step;
  }
};
// `tiles` tiles from pixel `first` on.
using TileFn = void (*)(const DirectLine&, int64_t first, int64_t tiles, Ahead) noexcept;

// The pixels are cut evenly into tiles, so that none is left tiny: some of a pixel more, then the others.
// table[m - 1] does tiles of m pixels, up to `most`. window: a step is one of all taps.
inline void run_tiles(const DirectLine& d, const TileFn* table, int64_t most, bool window = false) noexcept {
  const int64_t tiles = (d.pixels + most - 1) / most, steps = d.lines * d.steps * (window ? 1 : d.taps);
  const int64_t m = d.pixels / tiles, larger = d.pixels % tiles;
  Ahead ahead{reinterpret_cast<const char*>(d.fetch),
              d.fetch && steps > 0 ? d.fetch_bytes / tiles / steps : 0};
  if (larger > 0) table[m](d, 0, larger, ahead);
  ahead.at += larger * steps * ahead.step;
  table[m - 1](d, larger * (m + 1), tiles - larger, ahead);
}

}  // namespace
}  // namespace skyline::kernels
