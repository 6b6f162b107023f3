// The transforms of Winograd's F(4x4, 3x3) and F(2x2, 3x3); see winograd.h.
#include "kernels/conv/winograd.h"

#include "kernels/gemm/activate.h"

namespace skyline::kernels {
namespace {

constexpr auto kA = static_cast<float>(kWinogradNear), kB = static_cast<float>(kWinogradFar);
constexpr float kA2 = kA * kA, kB2 = kB * kB;

// d -> B'd, along one axis.
inline void to_points(const F32 (&d)[6], F32 (&v)[6]) {
  const F32 a(kA), b(kB), a2(-kA2), b2(-kB2), sum(-(kA2 + kB2)), product(kA2 * kB2);
  const F32 even_a = mul_add(b2, d[2], d[4]), odd_a = a * mul_add(b2, d[1], d[3]);
  const F32 even_b = mul_add(a2, d[2], d[4]), odd_b = b * mul_add(a2, d[1], d[3]);
  v[0] = mul_add(product, d[0], mul_add(sum, d[2], d[4]));
  v[1] = even_a + odd_a;
  v[2] = even_a - odd_a;
  v[3] = even_b + odd_b;
  v[4] = even_b - odd_b;
  v[5] = mul_add(product, d[1], mul_add(sum, d[3], d[5]));
}

inline void to_points(const F32 (&d)[4], F32 (&v)[4]) {
  v[0] = d[0] - d[2];
  v[1] = d[1] + d[2];
  v[2] = d[2] - d[1];
  v[3] = d[1] - d[3];
}

// m -> A'm, along one axis.
inline void from_points(const F32 (&m)[6], F32 (&y)[4]) {
  const F32 even_a = m[1] + m[2], odd_a = m[1] - m[2], even_b = m[3] + m[4], odd_b = m[3] - m[4];
  y[0] = m[0] + even_a + even_b;
  y[1] = mul_add(F32(kA), odd_a, F32(kB) * odd_b);
  y[2] = mul_add(F32(kA2), even_a, F32(kB2) * even_b);
  y[3] = mul_add(F32(kA2 * kA), odd_a, mul_add(F32(kB2 * kB), odd_b, m[5]));
}

inline void from_points(const F32 (&m)[4], F32 (&y)[2]) {
  y[0] = m[0] + m[1] + m[2];
  y[1] = m[1] - m[2] - m[3];
}

// n channels from c on; a Tail is not a whole vector.
template <int kOut, bool Tail>
inline void input_vector(const WinogradInput& in, int64_t c, int n) {
  constexpr int kIn = kOut + 2;
  F32 rows[kIn][kIn];
#pragma GCC unroll 1
  for (int i = 0; i < kIn; ++i) {
    F32 d[kIn];
#pragma GCC unroll 6
    for (int j = 0; j < kIn; ++j) {
      const float* p = in.pixels[i * kIn + j] + c;
      d[j] = Tail ? load_first(p, n) : load(p);
    }
    to_points(d, rows[i]);
  }
#pragma GCC unroll 1
  for (int j = 0; j < kIn; ++j) {
    F32 d[kIn], v[kIn];
#pragma GCC unroll 6
    for (int i = 0; i < kIn; ++i) d[i] = rows[i][j];
    to_points(d, v);
#pragma GCC unroll 6
    for (int i = 0; i < kIn; ++i) {
      float* p = in.v + (i * kIn + j) * in.v_stride + c;
      if constexpr (Tail) {
        store_first(p, v[i], n);
      } else {
        store(p, v[i]);
      }
    }
  }
}

template <int kOut>
void input(const WinogradInput& in) noexcept {
  int64_t c = 0;
  for (; c + kLanes <= in.c; c += kLanes) input_vector<kOut, false>(in, c, kLanes);
  if (c < in.c) input_vector<kOut, true>(in, c, static_cast<int>(in.c - c));
}

template <int kOut, bool Tail>
inline void output_vector(const WinogradOutput& out, int64_t c, int n, F32 lo, F32 hi) {
  const auto get = [n](const float* p) { return Tail ? load_first(p, n) : load(p); };
  const Epilogue& e = out.epilogue;
  constexpr int kIn = kOut + 2;
  F32 lines[kOut][kIn];
#pragma GCC unroll 1
  for (int j = 0; j < kIn; ++j) {
    F32 m[kIn], y[kOut];
#pragma GCC unroll 6
    for (int i = 0; i < kIn; ++i) m[i] = get(out.m + (i * kIn + j) * out.m_stride + c);
    from_points(m, y);
#pragma GCC unroll 4
    for (int i = 0; i < kOut; ++i) lines[i][j] = y[i];
  }
  const F32 bias = e.bias_n ? get(e.bias_n + c) : F32(0.0f);
#pragma GCC unroll 1
  for (int i = 0; i < out.rows; ++i) {
    F32 y[kOut];
    from_points(lines[i], y);
    float* to = out.y + i * out.line_y + c;
    const float* residual = e.residual ? e.residual + i * out.line_r + c : nullptr;
#pragma GCC unroll 4
    for (int j = 0; j < kOut; ++j) {
      if (j >= out.columns) break;
      F32 v = y[j] + bias;
      if (residual) v += get(residual + j * e.ldr);
      v = clip(v, lo, hi);
      if constexpr (Tail) {
        store_first(to + j * out.ldy, v, n);
      } else {
        store(to + j * out.ldy, v);
      }
    }
  }
}

template <int kOut>
void output(const WinogradOutput& out) noexcept {
  const Activation& act = out.epilogue.act;
  F32 lo(-__builtin_inff()), hi(__builtin_inff());
  if (act.fn == Act::relu) lo = F32(0.0f);
  if (act.fn == Act::clip) {
    lo = F32(act.a);
    hi = F32(act.b);
  }
  int64_t c = 0;
  for (; c + kLanes <= out.c; c += kLanes) output_vector<kOut, false>(out, c, kLanes, lo, hi);
  if (c < out.c) output_vector<kOut, true>(out, c, static_cast<int>(out.c - c), lo, hi);
  if (act.fn <= Act::clip) return;
  for (int64_t i = 0; i < out.rows; ++i)
    activate_rows(act, out.y + i * out.line_y, out.ldy, out.columns, out.c);
}

inline void combine(const double* g, const double* a, const double* b, const double* c, double* to) {
  for (int i = 0; i < kWinogradLanes; ++i) to[i] = g[0] * a[i] + g[1] * b[i] + g[2] * c[i];
}

template <int kOut>
void weights(WinogradWeights& w) noexcept {
  constexpr int kIn = kOut + 2;
  double half[kIn][3][kWinogradLanes], u[kWinogradLanes];
  for (int i = 0; i < kIn; ++i) {
    for (int k = 0; k < 3; ++k) combine(w.g[i], w.window[k], w.window[3 + k], w.window[6 + k], half[i][k]);
  }
  for (int i = 0; i < kIn; ++i) {
    for (int j = 0; j < kIn; ++j) {
      combine(w.g[j], half[i][0], half[i][1], half[i][2], u);
      for (int l = 0; l < kWinogradLanes; ++l) w.u[i * kIn + j][l] = static_cast<float>(u[l]);
    }
  }
}

constexpr WinogradKernel row(const char* name, int out, void (*input)(const WinogradInput&) noexcept,
                             void (*output)(const WinogradOutput&) noexcept,
                             void (*weights)(WinogradWeights&) noexcept) {
  return {{.name = name, .op = "winograd", .needs = kLevelBit, .weights = DType::f32, .acc = DType::f32},
          out,
          input,
          output,
          weights};
}

}  // namespace

constinit const WinogradKernel SKYLINE_TAGGED(winograd_f32) = row(SKYLINE_TEXT(SKYLINE_TAGGED(winograd_f32)),
                                                                  4, input<4>, output<4>, weights<4>);
constinit const WinogradKernel SKYLINE_TAGGED(winograd2_f32) =
    row(SKYLINE_TEXT(SKYLINE_TAGGED(winograd2_f32)), 2, input<2>, output<2>, weights<2>);

}  // namespace skyline::kernels
