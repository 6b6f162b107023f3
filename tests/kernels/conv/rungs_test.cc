// Convolutions of floats on the bf16 rungs.
#include <limits>

#include "tests/kernels/conv/cases.h"

namespace {
constexpr Precision kRungs[] = {Precision::bf16, Precision::bf16x3, Precision::bf16x6};

// Sums over the taps in float64, and of the magnitudes, for every output.
struct Exact {
  std::vector<double> sum, magnitude;
  std::vector<float> plain;
};
Exact exact_sums(const ConvProblem& p, const std::vector<float>& x, const std::vector<float>& w) {
  Exact e;
  const int64_t kh = p.kernel[1], kw = p.kernel[2];
  for (int64_t i = 0; i < p.n * p.out_pixels(); ++i) {
    const int64_t image = i / p.out_pixels(), oy = i / p.out(2) % p.out(1), ox = i % p.out(2);
    for (int64_t oc = 0; oc < p.oc; ++oc) {
      double sum = 0, magnitude = 0;
      float plain = 0;
      for (int64_t t = 0; t < kh * kw; ++t) {
        const int64_t iy = oy * p.stride[1] - p.pad_begin[1] + t / kw,
                      ix = ox * p.stride[2] - p.pad_begin[2] + t % kw;
        if (iy < 0 || iy >= p.in[1] || ix < 0 || ix >= p.in[2]) continue;
        for (int64_t c = 0; c < p.ic; ++c) {
          const float a = x[static_cast<size_t>(((image * p.in[1] + iy) * p.in[2] + ix) * p.ic + c)],
                      b = w[static_cast<size_t>((oc * p.ic + c) * kh * kw + t)];
          sum += static_cast<double>(a) * b;
          magnitude += std::fabs(static_cast<double>(a) * b);
          plain += a * b;
        }
      }
      e.sum.push_back(sum);
      e.magnitude.push_back(magnitude);
      e.plain.push_back(plain);
    }
  }
  return e;
}

// Every dense method on this CPU.
template <class Check>
void each_dense(const ConvProblem& p, Check&& check) {
  for (const ConvAlgorithm& a : conv_algorithms()) {
    if (!a.refusal(p, isa_detected()).empty()) continue;
    const ConvPlan plan = conv_plan(p, isa_detected(), {.algorithm = &a});
    if (!plan.gemm.dense || !plan.gemm.dense->floats()) continue;
    CAPTURE(a.name);
    check(plan);
  }
}
std::vector<uint16_t> as_bf16(const std::vector<float>& v) {
  std::vector<uint16_t> out;
  out.reserve(v.size());
  for (float f : v) out.push_back(static_cast<uint16_t>(std::bit_cast<uint32_t>(f) >> 16));
  return out;
}
float from_bf16(uint16_t half) {
  return std::bit_cast<float>(uint32_t{half} << 16);
}
}  // namespace

// Small integers are bf16 numbers, and their sums exact.
TEST_CASE("bf16 conv: strides, paddings, dilations, channel tails, epilogues; exact on small integers") {
  int variant = 0;
  for (const Precision rung : kRungs) {
    const auto check_rung = [&](ConvProblem p) {
      p.precision = rung;
      check_f32(p, variant++);
    };
    for (int64_t ic : {1, 3, 17, 40}) {
      check_rung(image(ic, 33, 5, 7, 1, 1, 0));
      check_rung(image(ic, 8, 5, 7, 1, 2, 0));
      check_rung(image(ic, 35, 9, 6, 3, 1, 1));
      check_rung(image(ic, 8, 9, 38, 3, 2, 1));
      check_rung(image(ic, 16, 8, 9, 5, 2, 2));
    }
    ConvProblem p = image(4, 6, 10, 11, 3, 1, 2);
    p.dilation = {1, 2, 2};
    check_rung(p);
    p.dilation = {1, 2, 1};
    p.stride = {1, 1, 3};
    check_rung(p);
    p.in[0] = 3;
    p.kernel[0] = 2;
    check_rung(p);
    p = image(4, 6, 6, 5, 3, 1, 1);
    p.groups = 2;
    check_rung(p);
    p = image(6, 6, 6, 5, 3, 1, 1);
    p.groups = 6;
    check_rung(p);
  }
}

TEST_CASE(
    "bf16 conv, and f16: errors of each rung against float64, the same bits for any number of threads") {
  for (const Precision rung : {kRungs[0], kRungs[1], kRungs[2], Precision::f16}) {
    for (const int stride : {1, 2}) {
      ConvProblem p = image(37, 40, 9, 20, 3, stride, 1);
      p.precision = rung;
      auto x = fill<float>(p.n * p.in_pixels() * p.ic, 21, -4000, 9000),
           w = fill<float>(p.oc * p.ic * p.taps(), 22, -5000, 5000);
      for (float& v : x) v = std::max(v, 0.0f) * 1.37e-4f;
      for (float& v : w) v *= 1.13e-4f;
      const Exact exact = exact_sums(p, x, w);
      each_dense(p, [&](const ConvPlan& plan) {
        const auto got = run({p, {.x = x.data()}, {.w = w.data()}, 1}, plan);
        for (const int threads : {2, 3})
          CHECK(run({p, {.x = x.data()}, {.w = w.data()}, threads}, plan) == got);
        const bool coarse = rung == Precision::bf16 || rung == Precision::f16;
        const double bound = coarse ? 0x1p-8 : 0x1p-16;
        double error = 0, plain = 0;
        bool good = true;
        for (size_t i = 0; i < exact.sum.size(); ++i) {
          const double e = static_cast<double>(reinterpret_cast<const float*>(got.data())[i]) - exact.sum[i];
          good = good && std::fabs(e) <= bound * exact.magnitude[i];
          error += e * e;
          plain += std::pow(static_cast<double>(exact.plain[i]) - exact.sum[i], 2);
        }
        CHECK(good);
        if (rung == Precision::bf16x6) CHECK(std::sqrt(error / plain) < 4);
      });
    }
  }
}

TEST_CASE("bf16 conv: infinities and NaN reach what they reach in f32, and nothing else") {
  for (const Precision rung : kRungs) {
    for (const int64_t k : {1, 3}) {
      ConvProblem p = image(20, 17, 6, 9, k, 1, k / 2);
      p.precision = rung;
      auto x = fill<float>(p.n * p.in_pixels() * p.ic, 1), w = fill<float>(p.oc * p.ic * p.taps(), 2, 1, 3);
      x[70] = std::numeric_limits<float>::infinity();
      x[static_cast<size_t>(p.in_pixels() * p.ic + 333)] = std::numeric_limits<float>::quiet_NaN();
      const Exact exact = exact_sums(p, x, w);
      each_dense(p, [&](const ConvPlan& plan) {
        const auto got = run({p, {.x = x.data()}, {.w = w.data()}, 1}, plan);
        bool good = true;
        for (size_t i = 0; i < exact.sum.size(); ++i) {
          const float y = reinterpret_cast<const float*>(got.data())[i];
          good = good && (std::isnan(y) ? std::isnan(exact.sum[i]) : y == static_cast<float>(exact.sum[i]));
        }
        CHECK(good);
      });
    }
  }
}

TEST_CASE("bf16 conv: activations stored as bf16") {
  if (!choose_dense({.m = 1, .n = 1, .k = 1, .precision = Precision::bf16}, isa_detected())) {
    MESSAGE("skipped: this CPU has no kernel for bf16");
    return;
  }
  for (const int64_t k : {1, 3}) {
    for (const int64_t stride : {1, 2}) {
      ConvProblem p = image(20, 17, 7, 9, k, stride, k / 2);
      p.precision = Precision::bf16;
      const auto x = fill<float>(p.n * p.in_pixels() * (p.ic + 3), 1),
                 w = fill<float>(p.oc * p.ic * p.taps(), 2);
      const auto x16 = as_bf16(x);
      ConvProblem stored = p;
      stored.a = stored.c = DType::bf16;
      each_dense(stored, [&](const ConvPlan& plan) {
        const Case plain{p, {.x = x.data(), .ldx = p.ic + 3}, {.w = w.data()}, 1};
        Case half{stored, {.x = x16.data(), .ldx = p.ic + 3}, {.w = w.data()}, 2};
        const auto want = run(plain, conv_plan(p, isa_detected(), {.algorithm = plan.algorithm}));
        const auto got = run(half, plan);
        bool good = true;
        for (size_t i = 0; i < want.size() / 4; ++i) {
          uint16_t y;
          std::memcpy(&y, got.data() + 2 * i, 2);
          const float exact = reinterpret_cast<const float*>(want.data())[i];
          const float rounded = from_bf16(y);
          good = good && std::fabs(rounded - exact) <= std::fabs(exact) * 0x1p-8f;
        }
        CHECK(good);
      });
    }
  }
  ConvProblem p = image(8, 8, 5, 5, 3, 1, 1);
  p.groups = 4;
  p.a = p.c = DType::bf16;
  CHECK_THROWS_AS(conv_plan(p, isa_detected()), Error);
}

// Small integers are bf16 numbers, and sums exact before they are rounded.
TEST_CASE("bf16 depthwise: types, windows, strides, dilations, channel tails, residuals, activations") {
  if (!find_depthwise(DType::bf16, DType::bf16, isa_detected())) {
    MESSAGE("skipped: this CPU has no kernel for bf16");
    return;
  }
  constexpr Activation kActs[] = {{}, {Act::relu}, {Act::clip, -5, 6}, {Act::hard_swish}};
  int variant = 0;
  for (const int64_t c : {3, 16, 17, 48, 150}) {
    for (const auto& [kernel, stride, dilation] :
         {Dims3{3, 1, 1}, Dims3{3, 2, 1}, Dims3{5, 1, 1}, Dims3{5, 2, 1}, Dims3{3, 1, 2}, Dims3{7, 3, 1}}) {
      for (const int64_t width : {9, 23}) {
        ConvProblem p = image(c, c, 11, width, kernel, stride, kernel / 2 * dilation);
        p.groups = c;
        p.dilation = {1, dilation, dilation};
        const auto x = fill<float>(p.n * p.in_pixels() * (c + 3), 1), w = fill<float>(c * p.taps(), 2),
                   bias = fill<float>(c, 3), residual = fill<float>(p.n * p.out_pixels() * c, 4);
        const auto x16 = as_bf16(x), residual16 = as_bf16(residual);
        Case plain{p, {.x = x.data(), .ldx = c + 3}, {.w = w.data()}, 1};
        plain.args.epilogue.bias_n = bias.data();
        plain.args.epilogue.act = kActs[variant % 4];
        if (variant % 3 != 0) plain.args.epilogue.residual = residual.data();
        const auto want = run(plain, conv_plan(p, isa_detected()));
        for (const auto& [in, out] : {std::pair{DType::bf16, DType::bf16}, std::pair{DType::bf16, DType::f32},
                                      std::pair{DType::f32, DType::bf16}}) {
          Case half = plain;
          half.p.a = in;
          half.p.c = out;
          half.threads = 1 + variant++ % 3;
          if (in == DType::bf16) half.args.x = x16.data();
          if (variant % 3 == 1 && half.args.epilogue.residual) {
            half.args.epilogue.residual = nullptr;
            half.args.epilogue.residual_bf16 = residual16.data();
          }
          const auto got = run(half, conv_plan(half.p, isa_detected()));
          bool good = true;
          for (size_t i = 0; i < want.size() / 4; ++i) {
            const float exact = reinterpret_cast<const float*>(want.data())[i];
            if (out == DType::f32) {
              good = good && reinterpret_cast<const float*>(got.data())[i] == exact;
            } else {
              const float rounded = from_bf16(reinterpret_cast<const uint16_t*>(got.data())[i]);
              good = good && std::fabs(rounded - exact) <= std::fabs(exact) * 0x1p-8f;
            }
          }
          CAPTURE(c);
          CAPTURE(p.kernel[2]);
          CAPTURE(p.stride[2]);
          CAPTURE(width);
          CHECK(good);
        }
      }
    }
  }
}
