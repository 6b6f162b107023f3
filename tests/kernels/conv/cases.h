#pragma once
// One convolution with its data, run by every method at every ISA level and compared with the plain loops.
#include <doctest/doctest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <string>
#include <vector>

#include "kernels/base/memory.h"
#include "kernels/conv/conv.h"
#include "kernels/conv/depthwise.h"
#include "kernels/conv/depthwise_bytes.h"
#include "kernels/conv/direct.h"
#include "kernels/gemm/dense.h"
#include "skyline/status.h"
#include "tests/kernels/guarded.h"

namespace {

using namespace skyline;
using namespace skyline::kernels;

// Small integers, so that every f32 sum is exact and results compare bit by bit.
template <class T>
std::vector<T> fill(int64_t n, uint32_t seed, int lo = -3, int hi = 3) {
  std::vector<T> v(static_cast<size_t>(n));
  uint32_t s = seed * 2654435761u + 1;
  for (T& x : v) {
    s = s * 1664525u + 1013904223u;
    x = static_cast<T>(lo + static_cast<int>((s >> 8) % static_cast<uint32_t>(hi - lo + 1)));
  }
  return v;
}

std::vector<IsaSet> levels() {
  std::vector<IsaSet> sets;
  for (const char* level : {"sse2", "avx2", "avx512", "avx512_vnni", "amx", "neon"}) {
    try {
      sets.push_back(isa_level(level));
    } catch (const Error&) {  // this CPU lacks it
    }
  }
  return sets;
}

// The rows of every method that take the problem, at every ISA level; the names of what ran come back.
struct Case {
  ConvProblem p;
  ConvArgs args;
  ConvWeights w;
  int threads = 1;
};
std::vector<std::byte> run(const Case& c, const ConvPlan& plan) {
  const ConvProblem& p = c.p;
  ConvArgs args = c.args;
  const int64_t ldx = args.ldx ? args.ldx : p.ic, ldy = args.ldy ? args.ldy : p.oc;
  // x ends at the last channel of the last pixel, y at a page that cannot be touched.
  const size_t x_bytes = static_cast<size_t>((p.n * p.in_pixels() - 1) * ldx + p.ic) * size_of(p.a);
  Guarded<std::byte> x(x_bytes);
  std::memcpy(x.data(), args.x, x_bytes);
  args.x = x.data();
  Guarded<std::byte> y(static_cast<size_t>(p.n * p.out_pixels() * ldy) * size_of(p.c));
  std::memset(y.data(), 0xff, y.span().size());
  args.y = y.data();
  const AlignedBuffer packed = aligned_alloc_bytes(plan.packed_bytes);
  const AlignedBuffer ws = aligned_alloc_bytes(conv_workspace_bytes(plan, c.threads));
  conv_pack(plan, c.w, packed.get());
  args.w = packed.get();
  conv_run(plan, args, ws.get(), c.threads);
  return {y.span().begin(), y.span().end()};
}
// Winograd's fractions are not exact on integers: within what its error allows for sums of thousands.
bool near(const std::vector<std::byte>& got, const std::vector<std::byte>& want) {
  const auto *a = reinterpret_cast<const float*>(got.data()),
             *b = reinterpret_cast<const float*>(want.data());
  for (size_t i = 0; i < want.size() / 4; ++i) {
    const bool same = std::bit_cast<uint32_t>(a[i]) == std::bit_cast<uint32_t>(b[i]);
    if (!same && !(std::abs(a[i] - b[i]) <= 0.01f)) return false;
  }
  return true;
}
void check(const Case& c) {
  const ConvProblem& p = c.p;
  ConvArgs args = c.args;
  const int64_t ldy = args.ldy ? args.ldy : p.oc;
  std::vector<std::byte> want(static_cast<size_t>(p.n * p.out_pixels() * ldy) * size_of(p.c),
                              std::byte{0xff});
  args.y = want.data();
  conv_reference(p, args, c.w);
  for (const IsaSet isa : levels()) {
    for (const ConvAlgorithm& a : conv_algorithms()) {
      if (!a.refusal(p, isa).empty()) continue;
      const ConvPlan plan = conv_plan(p, isa, {.algorithm = &a});
      const std::string level(isa_level_name(isa));
      const KernelInfo& kernel = plan.depthwise_bytes ? static_cast<const KernelInfo&>(*plan.depthwise_bytes)
                                 : plan.depthwise     ? static_cast<const KernelInfo&>(*plan.depthwise)
                                 : plan.direct        ? static_cast<const KernelInfo&>(*plan.direct)
                                 : plan.gemm.dense    ? static_cast<const KernelInfo&>(*plan.gemm.dense)
                                                      : *plan.kernel;
      CAPTURE(level);
      CAPTURE(a.name);
      CAPTURE(p.ic);
      CAPTURE(p.oc);
      CAPTURE(p.in[1]);
      CAPTURE(p.in[2]);
      CAPTURE(p.kernel[1]);
      CAPTURE(p.kernel[2]);
      CAPTURE(p.stride[2]);
      // Levels above AVX-512 have dense kernels only.
      if (level == "amx" || level == "avx512_vnni") {
        if (kernel.op != "dense" && kernel.op != "depthwise_bytes") continue;
        REQUIRE(kernel.name.find(level == "amx" && kernel.op == "dense" ? "amx" : "avx512vnni") !=
                std::string_view::npos);
      } else {
        REQUIRE(kernel.name.find(level) != std::string_view::npos);
      }
      if (a.method == ConvMethod::winograd) {
        REQUIRE(near(run(c, plan), want));
      } else {
        REQUIRE(run(c, plan) == want);
      }
    }
  }
}

void check_f32(ConvProblem p, int variant = 0) {
  const int64_t ldx = p.ic + (variant & 1 ? 3 : 0), ldy = p.oc + (variant & 2 ? 5 : 0);
  const auto x = fill<float>(p.n * p.in_pixels() * ldx, 1);
  const auto w = fill<float>(p.ic * p.oc / p.groups * p.taps(), 2);
  const auto bias = fill<float>(p.oc, 3), residual = fill<float>(p.n * p.out_pixels() * (p.oc + 1), 4);
  Case c{p, {.x = x.data(), .ldx = ldx, .ldy = ldy}, {.w = w.data()}, 1 + variant % 3};
  if (variant & 4) c.args.epilogue.bias_n = bias.data();
  if (variant & 8) {
    c.args.epilogue.residual = residual.data();
    c.args.epilogue.ldr = p.oc + 1;
  }
  constexpr Act kActs[] = {Act::none, Act::relu, Act::clip, Act::leaky_relu};
  c.args.epilogue.act = {kActs[variant / 4 % 4], -0.5f, 6.0f};
  check(c);
}

ConvProblem image(int64_t ic, int64_t oc, int64_t h, int64_t w, int64_t k, int64_t stride, int64_t pad) {
  ConvProblem p{.n = 2, .ic = ic, .oc = oc};
  p.in = {1, h, w};
  p.kernel = {1, k, k};
  p.stride = {1, stride, stride};
  p.pad_begin = p.pad_end = {0, pad, pad};
  return p;
}

}  // namespace
