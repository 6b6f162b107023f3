// Pointwise parts of recurrent steps. With the operators' default activations a row is one pass over its
// gates in registers; with others each gate is activated in place by its unary kernel first.
#include "kernels/rnn/rnn.h"

#include "kernels/base/lanes.h"
#include "kernels/base/vecmath.h"

namespace skyline::kernels {
namespace {

inline int64_t stride_or(int64_t stride, int64_t dense) noexcept {
  return stride ? stride : dense;
}

struct Clip {
  bool on;
  F32 lo, hi;
  explicit Clip(float c) noexcept : on(c > 0), lo(-c), hi(c) {}
  F32 operator()(F32 v) const noexcept { return on ? vec::clip(v, lo, hi) : v; }
};

inline void clip_span(float* x, int64_t n, const Clip& clip) noexcept {
  if (!clip.on) return;
  for_vectors(n, [&](int64_t i, int64_t count) noexcept { put(x + i, clip(get(x + i, count)), count); });
}

enum class Default : uint8_t { sigmoid, tanh };
inline void activate(const RnnActivation& a, Default otherwise, const float* x, float* y,
                     int64_t n) noexcept {
  if (a.fn) return a.fn(x, y, n, a.alpha, a.beta);
  for_vectors(n, [&](int64_t i, int64_t count) noexcept {
    const F32 v = get(x + i, count);
    put(y + i, otherwise == Default::sigmoid ? vec::sigmoid(v) : vec::tanh(v), count);
  });
}

struct LstmRow {
  float* gates;
  const float* c_prev;
  float *c, *h;
};

void lstm_row_default(const LstmStep& s, const LstmRow& row, const Clip& clip) noexcept {
  const int64_t n = s.hidden;
  for_vectors(n, [&](int64_t k, int64_t count) noexcept {
    F32 i = get(row.gates + k, count), o = get(row.gates + n + k, count),
        f = get(row.gates + 2 * n + k, count);
    const F32 previous = get(row.c_prev + k, count);
    if (s.peephole) {
      i = xsimd::fma(get(s.peephole + k, count), previous, i);
      f = xsimd::fma(get(s.peephole + 2 * n + k, count), previous, f);
    }
    i = vec::sigmoid(clip(i));
    f = s.input_forget ? F32(1.0f) - i : vec::sigmoid(clip(f));
    const F32 g = vec::tanh(clip(get(row.gates + 3 * n + k, count)));
    const F32 c = xsimd::fma(f, previous, i * g);
    if (s.peephole) o = xsimd::fma(get(s.peephole + n + k, count), c, o);
    put(row.c + k, c, count);
    put(row.h + k, vec::sigmoid(clip(o)) * vec::tanh(clip(c)), count);
  });
}

void lstm_row_any(const LstmStep& s, const LstmRow& row, const Clip& clip) noexcept {
  const int64_t n = s.hidden;
  float *i = row.gates, *o = i + n, *f = o + n, *g = f + n;
  if (s.peephole) {
    for_vectors(n, [&](int64_t k, int64_t count) noexcept {
      const F32 previous = get(row.c_prev + k, count);
      put(i + k, xsimd::fma(get(s.peephole + k, count), previous, get(i + k, count)), count);
      put(f + k, xsimd::fma(get(s.peephole + 2 * n + k, count), previous, get(f + k, count)), count);
    });
  }
  clip_span(i, n, clip);
  clip_span(f, 2 * n, clip);
  activate(s.f, Default::sigmoid, i, i, n);
  activate(s.f, Default::sigmoid, f, f, n);
  activate(s.g, Default::tanh, g, g, n);
  for_vectors(n, [&](int64_t k, int64_t count) noexcept {
    const F32 in = get(i + k, count), keep = s.input_forget ? F32(1.0f) - in : get(f + k, count);
    const F32 c = xsimd::fma(keep, get(row.c_prev + k, count), in * get(g + k, count));
    put(row.c + k, c, count);
    if (s.peephole) put(o + k, xsimd::fma(get(s.peephole + n + k, count), c, get(o + k, count)), count);
  });
  clip_span(o, n, clip);
  activate(s.f, Default::sigmoid, o, o, n);
  for_vectors(n,
              [&](int64_t k, int64_t count) noexcept { put(row.h + k, clip(get(row.c + k, count)), count); });
  activate(s.hh, Default::tanh, row.h, row.h, n);
  for_vectors(n, [&](int64_t k, int64_t count) noexcept {
    put(row.h + k, get(row.h + k, count) * get(o + k, count), count);
  });
}

void lstm(const LstmStep& s) noexcept {
  const Clip clip(s.clip);
  const bool plain = !s.f.fn && !s.g.fn && !s.hh.fn;
  for (int64_t r = 0; r < s.rows; ++r) {
    const LstmRow row = {s.gates + r * stride_or(s.gates_stride, 4 * s.hidden),
                         s.c_prev + r * stride_or(s.c_prev_stride, s.hidden),
                         s.c + r * stride_or(s.c_stride, s.hidden),
                         s.h + r * stride_or(s.h_stride, s.hidden)};
    if (plain) {
      lstm_row_default(s, row, clip);
    } else {
      lstm_row_any(s, row, clip);
    }
  }
}

// h = (1 - z) n + z h_prev, written so that z = 1 keeps h_prev exactly.
inline void blend(const float* z, const float* candidate, const float* h_prev, float* h, int64_t n) noexcept {
  for_vectors(n, [&](int64_t k, int64_t count) noexcept {
    const F32 u = get(z + k, count), c = get(candidate + k, count), p = get(h_prev + k, count);
    put(h + k, xsimd::fma(u, p, (F32(1.0f) - u) * c), count);
  });
}

// z and r, in place in x.
inline void gates_of(const GruStep& s, float* x, const float* h_gates, const Clip& clip) noexcept {
  if (h_gates || clip.on) {
    for_vectors(2 * s.hidden, [&](int64_t k, int64_t count) noexcept {
      F32 v = get(x + k, count);
      if (h_gates) v += get(h_gates + k, count);
      put(x + k, clip(v), count);
    });
  }
  activate(s.f, Default::sigmoid, x, x, 2 * s.hidden);
}

void gru_linear(const GruStep& s) noexcept {
  const Clip clip(s.clip);
  const int64_t n = s.hidden;
  for (int64_t row = 0; row < s.rows; ++row) {
    float* x = s.x_gates + row * stride_or(s.x_stride, 3 * n);
    const float* hg = s.h_gates + row * stride_or(s.h_gates_stride, 3 * n);
    gates_of(s, x, hg, clip);
    for_vectors(n, [&](int64_t k, int64_t count) noexcept {
      const F32 r = get(x + n + k, count);
      put(x + 2 * n + k, clip(xsimd::fma(r, get(hg + 2 * n + k, count), get(x + 2 * n + k, count))), count);
    });
    activate(s.g, Default::tanh, x + 2 * n, x + 2 * n, n);
    blend(x, x + 2 * n, s.h_prev + row * stride_or(s.h_prev_stride, n), s.h + row * stride_or(s.h_stride, n),
          n);
  }
}

void gru_reset(const GruStep& s) noexcept {
  const Clip clip(s.clip);
  const int64_t n = s.hidden;
  for (int64_t row = 0; row < s.rows; ++row) {
    float* x = s.x_gates + row * stride_or(s.x_stride, 3 * n);
    const float* h_prev = s.h_prev + row * stride_or(s.h_prev_stride, n);
    gates_of(s, x, s.h_gates ? s.h_gates + row * stride_or(s.h_gates_stride, 2 * n) : nullptr, clip);
    for_vectors(n, [&](int64_t k, int64_t count) noexcept {
      put(s.reset + row * n + k, get(x + n + k, count) * get(h_prev + k, count), count);
    });
  }
}

void gru_finish(const GruStep& s) noexcept {
  const Clip clip(s.clip);
  const int64_t n = s.hidden;
  for (int64_t row = 0; row < s.rows; ++row) {
    float* x = s.x_gates + row * stride_or(s.x_stride, 3 * n);
    clip_span(x + 2 * n, n, clip);
    activate(s.g, Default::tanh, x + 2 * n, x + 2 * n, n);
    blend(x, x + 2 * n, s.h_prev + row * stride_or(s.h_prev_stride, n), s.h + row * stride_or(s.h_stride, n),
          n);
  }
}

void rnn(const RnnStep& s) noexcept {
  const Clip clip(s.clip);
  for (int64_t row = 0; row < s.rows; ++row) {
    float* gates = s.gates + row * stride_or(s.gates_stride, s.hidden);
    clip_span(gates, s.hidden, clip);
    activate(s.f, Default::tanh, gates, s.h + row * stride_or(s.h_stride, s.hidden), s.hidden);
  }
}

}  // namespace

constinit const RnnTable SKYLINE_TAGGED(rnn) = {.info = table_row(SKYLINE_TEXT(SKYLINE_TAGGED(rnn)), "rnn"),
                                                .lstm = lstm,
                                                .gru_linear = gru_linear,
                                                .gru_reset = gru_reset,
                                                .gru_finish = gru_finish,
                                                .rnn = rnn};

}  // namespace skyline::kernels
