#include "kernels/gemm/ref.h"

#include <algorithm>
#include <cmath>

#include "kernels/gemm/gemm.h"
#include "skyline/half.h"

namespace skyline::kernels {
namespace {

double element(const void* p, DType t, int64_t i) {
  if (t == DType::f32) return static_cast<double>(static_cast<const float*>(p)[i]);
  if (t == DType::bf16) return static_cast<double>(static_cast<const BFloat16*>(p)[i]);
  if (t == DType::f16) return static_cast<double>(static_cast<const Half*>(p)[i]);
  return t == DType::u8 ? static_cast<const uint8_t*>(p)[i] : static_cast<const int8_t*>(p)[i];
}

double zero_of(const GemmProblem& p, const GemmArgs& args, int64_t j) {
  if (!args.b_info.zero_point) return 0;
  return element(args.b_info.zero_point, p.b, args.b_info.zero_point_per_n ? j : 0);
}

}  // namespace

double activate_reference(Activation f, double x) noexcept {
  const auto clip = [](double v, double lo, double hi) { return std::min(hi, std::max(lo, v)); };
  switch (f.fn) {
    case Act::none:
      return x;
    case Act::relu:
      return x < 0 ? 0 : x;
    case Act::clip:
      return clip(x, double{f.a}, double{f.b});
    case Act::leaky_relu:
      return x >= 0 ? x : double{f.a} * x;
    case Act::hard_sigmoid:
      return clip(double{f.a} * x + double{f.b}, 0, 1);
    case Act::hard_swish:
      return x * clip(x / 6 + 0.5, 0, 1);
    case Act::sigmoid:
      return 1 / (1 + std::exp(-x));
    case Act::silu:
      return x / (1 + std::exp(-x));
    case Act::tanh:
      return std::tanh(x);
    case Act::gelu_erf:
      return x / 2 * (1 + std::erf(x / std::sqrt(2.0)));
    case Act::gelu_tanh:
      return x / 2 * (1 + std::tanh(std::sqrt(2 / M_PI) * (x + 0.044715 * x * x * x)));
  }
  return x;
}

void store_reference(const Epilogue& e, DType out, double sum, int64_t row, int64_t col, void* c,
                     int64_t at) noexcept {
  if (is_float(out) && !e.scale_n) {
    if (e.bias_n) sum += double{e.bias_n[col]};
    if (e.bias_m) sum += double{e.bias_m[row]};
    if (e.residual) sum += double{e.residual[row * e.ldr + col]};
    if (e.residual_bf16) sum += double{bf16_bits_to_f32(e.residual_bf16[row * e.ldr + col])};
    const auto x = static_cast<float>(activate_reference(e.act, sum));
    if (out == DType::f32) static_cast<float*>(c)[at] = x;
    if (out == DType::bf16) static_cast<BFloat16*>(c)[at] = BFloat16(x);
    if (out == DType::f16) static_cast<Half*>(c)[at] = Half(x);
    return;
  }
  const int32_t acc = static_cast<int32_t>(sum) + (e.bias_i32 ? e.bias_i32[col] : 0);
  if (out == DType::i32) {
    static_cast<int32_t*>(c)[at] = acc;
    return;
  }
  float x = static_cast<float>(acc) * e.scale_n[col];
  if (out == DType::f32) {
    if (e.bias_n) x += e.bias_n[col];
    static_cast<float*>(c)[at] = static_cast<float>(activate_reference(e.act, double{x}));
    return;
  }
  x = static_cast<float>(activate_reference(e.act, double{x}));
  const float lo = out == DType::u8 ? 0.0f : -128.0f, hi = out == DType::u8 ? 255.0f : 127.0f;
  const float q = std::clamp(std::nearbyint(x) + static_cast<float>(e.zero_point), lo, hi);
  if (out == DType::u8) {
    static_cast<uint8_t*>(c)[at] = static_cast<uint8_t>(q);
  } else {
    static_cast<int8_t*>(c)[at] = static_cast<int8_t>(q);
  }
}

void gemm_reference(const GemmProblem& p, const GemmArgs& args) noexcept {
  for (int64_t batch = 0; batch < p.batch; ++batch) {
    const int64_t a0 = args.a_offsets ? args.a_offsets[batch] : batch * args.stride_a;
    const int64_t b0 = args.b_offsets ? args.b_offsets[batch] : batch * args.stride_b;
    Epilogue e = args.epilogue;
    if (e.residual) e.residual += batch * e.stride_r;
    if (e.residual_bf16) e.residual_bf16 += batch * e.stride_r;
    for (int64_t i = 0; i < p.m; ++i) {
      const int32_t a_zero = args.a_zero_m ? args.a_zero_m[i] : args.a_zero;
      for (int64_t j = 0; j < p.n; ++j) {
        double sum = 0;
        for (int64_t k = 0; k < p.k; ++k) {
          const double a =
              element(args.a, p.a, a0 + (p.trans_a ? k * args.lda + i : i * args.lda + k)) - a_zero;
          const double b = element(args.b, p.b, b0 + (p.trans_b ? j * args.ldb + k : k * args.ldb + j));
          sum += a * (b - zero_of(p, args, j));
        }
        if (is_float(p.a)) sum *= double{p.alpha};
        store_reference(e, p.c, sum, i, j, args.c, batch * args.stride_c + i * args.ldc + j);
      }
    }
  }
}

}  // namespace skyline::kernels
