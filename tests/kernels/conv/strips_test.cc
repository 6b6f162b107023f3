#include "kernels/conv/strips.h"

#include <doctest/doctest.h>

#include <cstring>
#include <vector>

#include "kernels/base/memory.h"
#include "skyline/status.h"

using namespace skyline;
using namespace skyline::kernels;

namespace {

std::vector<float> fill(int64_t n, uint32_t seed) {
  std::vector<float> v(static_cast<size_t>(n));
  uint32_t s = seed * 2654435761u + 1;
  for (float& x : v) {
    s = s * 1664525u + 1013904223u;
    x = static_cast<float>(s >> 8) / static_cast<float>(1 << 23) - 1.0f;
  }
  return v;
}

ConvProblem conv(int64_t n, int64_t ic, int64_t oc, int64_t h, int64_t w, int64_t k, int64_t stride,
                 int64_t pad, int64_t groups = 1, int64_t dilation = 1) {
  ConvProblem p{.n = n, .ic = ic, .oc = oc, .groups = groups};
  p.in = {1, h, w};
  p.kernel = {1, k, k};
  p.stride = {1, stride, stride};
  p.dilation = {1, dilation, dilation};
  p.pad_begin = p.pad_end = {0, pad, pad};
  return p;
}

// The next convolution of a chain.
ConvProblem after(const ConvProblem& p, int64_t oc, int64_t k, int64_t stride, int64_t pad,
                  bool depthwise = false, int64_t dilation = 1) {
  return conv(p.n, p.oc, oc, p.out(1), p.out(2), k, stride, pad, depthwise ? oc : 1, dilation);
}

struct Chain {
  std::vector<StripStage> stages;
  std::vector<std::vector<float>> w, bias, residual;
  std::vector<float> x;

  explicit Chain(std::vector<ConvProblem> problems, std::vector<size_t> residuals = {}) {
    uint32_t seed = 1;
    x = fill(problems[0].n * problems[0].in_pixels() * problems[0].ic, seed++);
    for (const ConvProblem& p : problems) {
      stages.push_back({p});
      w.push_back(fill(p.oc * p.ic / p.groups * p.taps(), seed++));
      bias.push_back(fill(p.oc, seed++));
      residual.emplace_back();
    }
    for (size_t i : residuals) {
      const ConvProblem& p = problems[i];
      residual[i] = fill(p.n * p.out_pixels() * p.oc, seed++);
      stages[i].residual = true;
    }
  }

  StripOperands operands(size_t i, const std::byte* packed) const {
    constexpr Act kActs[] = {Act::clip, Act::relu, Act::none};
    return {packed, i % 2 ? bias[i].data() : nullptr, residual[i].empty() ? nullptr : residual[i].data(),
            Activation{kActs[i % 3], 0, 6}};
  }

  AlignedBuffer pack(size_t i, const ConvPlan& plan) const {
    AlignedBuffer packed = aligned_alloc_bytes(plan.packed_bytes);
    conv_pack(plan, {.w = w[i].data()}, packed.get());
    return packed;
  }

  std::vector<float> one_by_one(IsaSet isa) const {
    std::vector<float> in = x, out;
    for (size_t i = 0; i < stages.size(); ++i) {
      const ConvProblem& p = stages[i].problem;
      const ConvPlan plan = conv_plan(p, isa);
      const AlignedBuffer packed = pack(i, plan), ws = aligned_alloc_bytes(conv_workspace_bytes(plan, 1));
      const StripOperands o = operands(i, packed.get());
      out.assign(static_cast<size_t>(p.n * p.out_pixels() * p.oc), 0);
      ConvArgs a{.x = in.data(), .w = o.w, .y = out.data()};
      a.epilogue.bias_n = o.bias;
      a.epilogue.residual = o.residual;
      a.epilogue.act = o.act;
      conv_run(plan, a, ws.get(), 1);
      in = out;
    }
    return out;
  }

  std::vector<float> in_strips(IsaSet isa, int threads, int64_t cache) const {
    const auto plan = strip_plan(stages, isa, threads, cache);
    REQUIRE(plan);
    std::vector<AlignedBuffer> packed;
    std::vector<StripOperands> o;
    for (size_t i = 0; i < stages.size(); ++i) {
      packed.push_back(pack(i, plan->plans[static_cast<size_t>(plan->first_plan[i])]));
      o.push_back(operands(i, packed.back().get()));
    }
    const ConvProblem& last = stages.back().problem;
    std::vector<float> y(static_cast<size_t>(last.n * last.out_pixels() * last.oc), -7);
    const size_t bytes = strip_workspace_bytes(*plan, threads);
    const AlignedBuffer ws = aligned_alloc_bytes(bytes);
    std::memset(ws.get(), 0xff, bytes);
    strip_run(*plan, {x.data(), y.data(), o}, ws.get(), threads);
    return y;
  }
};

void check(const Chain& chain) {
  for (const char* level : {"sse2", "avx2", "avx512", "neon"}) {
    IsaSet isa;
    try {
      isa = isa_level(level);
    } catch (const Error&) {
      continue;
    }
    CAPTURE(level);
    const std::vector<float> want = chain.one_by_one(isa);
    for (int threads : {1, 2, 3, 8}) {
      for (int64_t cache : {0, 20'000, 1 << 20}) {
        CAPTURE(threads);
        CAPTURE(cache);
        const std::vector<float> got = chain.in_strips(isa, threads, cache);
        REQUIRE(std::memcmp(got.data(), want.data(), want.size() * 4) == 0);
      }
    }
  }
}

}  // namespace

TEST_CASE("strips: the bits of the convolutions one by one") {
  for (int64_t stride : {1, 2, 3}) {
    for (int64_t k : {3, 5}) {
      const ConvProblem expand = conv(2, 5, 18, 13, 11, 1, 1, 0);
      const ConvProblem dw = after(expand, 18, k, stride, k / 2, true);
      check(Chain({expand, dw, after(dw, 7, 1, 1, 0)}, {2}));
      const ConvProblem first = conv(1, 3, 8, 17, 9, k, stride, k / 2);
      check(Chain({first, after(first, 9, 3, 1, 1)}));
    }
  }
}

TEST_CASE("strips: a first convolution that reads channels-first images") {
  for (int64_t channels : {1, 3}) {
    ConvProblem first = conv(2, channels, 18, 23, 14, 3, 2, 1);
    first.planar = true;
    check(Chain({first, after(first, 18, 3, 1, 1, true), after(first, 5, 1, 1, 0)}));
  }
}

TEST_CASE("strips: long chains, dilation, strides larger than kernels, no padding, residual inside") {
  const ConvProblem a = conv(1, 3, 6, 40, 10, 3, 2, 1), b = after(a, 6, 3, 1, 1, true),
                    c = after(b, 4, 1, 1, 0), d = after(c, 16, 1, 1, 0), e = after(d, 16, 3, 2, 1, true),
                    f = after(e, 5, 1, 1, 0);
  check(Chain({a, b, c, d, e, f}, {2, 5}));
  const ConvProblem wide = conv(1, 4, 6, 30, 9, 3, 1, 2, 1, 2);
  check(Chain({wide, after(wide, 5, 3, 1, 3, false, 3)}));
  const ConvProblem g = conv(3, 4, 6, 23, 9, 1, 1, 0);
  check(Chain({g, after(g, 5, 2, 4, 0)}));
  check(Chain({conv(1, 4, 6, 1, 1, 1, 1, 0)}));
}

TEST_CASE("strips: what makes no chain is refused") {
  const ConvProblem a = conv(1, 3, 6, 9, 9, 3, 1, 1);
  const auto refused = [&](ConvProblem p) {
    const StripStage stages[] = {{a}, {p}};
    return !strip_plan(stages, isa_detected(), 1, 1 << 20);
  };
  CHECK(!refused(after(a, 5, 3, 1, 1)));
  CHECK(refused(conv(1, 5, 5, 9, 9, 3, 1, 1)));  // other channels
  CHECK(refused(conv(1, 6, 5, 8, 9, 3, 1, 1)));  // other height
  CHECK(refused(conv(2, 6, 5, 9, 9, 3, 1, 1)));  // other batch
  CHECK(refused(after(a, 5, 3, 1, 3)));          // rows of padding alone
  CHECK(refused(after(a, 5, 11, 1, 5)));         // larger than the image
  ConvProblem p = after(a, 5, 3, 1, 1);
  p.transposed = true;
  CHECK(refused(p));
  p.transposed = false;
  p.planar = true;
  CHECK(refused(p));
}
