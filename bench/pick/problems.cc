#include "bench/pick/problems.h"

#include <fmt/format.h>

#include <algorithm>
#include <memory>

#include "engine/lower/conv_shape.h"
#include "engine/optimize/layout.h"
#include "graph/ir/infer.h"
#include "graph/passes/passes.h"
#include "kernels/base/memory.h"
#include "skyline/kernel.h"

namespace skyline::pick {
namespace {

using namespace kernels;

bool has_one_shape(const Graph& g) {
  return std::all_of(g.inputs().begin(), g.inputs().end(), [&](ValueId v) { return g.fact(v).is_static(); });
}

bool all_static(const Graph& g, const Node& n) {
  const auto known = [&](ValueId v) { return v == kNoValue || g.fact(v).is_static(); };
  return std::all_of(n.inputs.begin(), n.inputs.end(), known) &&
         std::all_of(n.outputs.begin(), n.outputs.end(), known);
}

std::string text(const Dims3& d) {
  return d[0] == 1 ? fmt::format("{}x{}", d[1], d[2]) : fmt::format("{}x{}x{}", d[0], d[1], d[2]);
}

std::string text(const ConvProblem& p) {
  std::string s = fmt::format("conv {}x{}x{} -> {}, {}", p.n, text(p.in), p.ic, p.oc, text(p.kernel));
  if (p.stride != Dims3{1, 1, 1}) s += "/" + std::to_string(p.stride[2]);
  if (p.dilation != Dims3{1, 1, 1}) s += fmt::format(" dilation {}", p.dilation[2]);
  if (p.groups > 1) s += p.groups == p.ic ? " depthwise" : fmt::format(" groups {}", p.groups);
  if (p.pad_begin != p.pad_end) s += " uneven pads";
  return s;
}

std::optional<Problem> conv_problem(const Graph& g, const Node& n) {
  PackCache cache;
  const Lowering l(g, n, isa_detected(), 1, cache);
  const auto shape = lower::conv_shape(l, 1);
  if (!shape) return std::nullopt;
  const ConvProblem& p = shape->problem;
  const double taps = static_cast<double>(p.taps() * (p.ic / p.groups));
  return Problem{.name = text(p),
                 .flops = 2 * taps * static_cast<double>(p.n * p.oc * p.out_pixels()),
                 .is_conv = true,
                 .conv = p,
                 .gemm = {}};
}

std::optional<Problem> gemm_problem(const Graph& g, const Node& n) {
  const Dims a = g.fact(n.in(0)).static_dims(), b = g.fact(n.in(1)).static_dims();
  if (b.size() != 2 || a.size() < 2 || n.attrs.integer("transA", 0) != 0) return std::nullopt;
  GemmProblem p{.const_b = true};
  p.trans_b = n.attrs.integer("transB", 0) != 0;
  p.k = a.back();
  p.m = p.k ? element_count(a) / p.k : 0;
  p.n = p.trans_b ? b[0] : b[1];
  if (p.m == 0 || p.n == 0) return std::nullopt;
  return Problem{
      .name = fmt::format("gemm {}x{}x{}{}", p.m, p.n, p.k, p.trans_b ? " transposed" : ""),
      .flops = 2.0 * static_cast<double>(p.m) * static_cast<double>(p.n) * static_cast<double>(p.k),
      .conv = {},
      .gemm = p};
}

struct Buffers {
  std::vector<float> x, y, w;
};
std::shared_ptr<Buffers> make_buffers(int64_t x, int64_t y, int64_t w) {
  auto b = std::make_shared<Buffers>();
  for (auto [v, n] : {std::pair(&b->x, x), std::pair(&b->y, y), std::pair(&b->w, w)}) {
    v->resize(static_cast<size_t>(n));
    for (size_t i = 0; i < v->size(); ++i) (*v)[i] = static_cast<float>(i * 7 % 23) / 23 - 0.5f;
  }
  return b;
}

// Packed weights and workspace of one candidate.
struct Memory {
  AlignedBuffer packed, work;
};

Candidate make_conv(std::shared_ptr<const ConvPlan> plan, std::shared_ptr<Buffers> b, int threads) {
  auto m = std::make_shared<Memory>();
  m->packed = aligned_alloc_bytes(plan->packed_bytes);
  m->work = aligned_alloc_bytes(conv_workspace_bytes(*plan, threads));
  conv_pack(*plan, {.w = b->w.data()}, m->packed.get());
  std::string name(plan->algorithm->name);
  if (plan->kernel) name += " " + std::string(plan->kernel->name);
  return {name, [=] {
            const ConvArgs args{.x = b->x.data(), .w = m->packed.get(), .y = b->y.data()};
            conv_run(*plan, args, m->work.get(), threads);
          }};
}

Candidate make_gemm(const GemmPlan& plan, std::shared_ptr<Buffers> b, int threads) {
  auto m = std::make_shared<Memory>();
  m->packed = aligned_alloc_bytes(plan.packed_b_bytes);
  m->work = aligned_alloc_bytes(gemm_workspace_bytes(plan, threads));
  const GemmProblem& p = plan.problem;
  gemm_pack_b(plan, {.b = b->w.data(), .ldb = p.trans_b ? p.k : p.n}, m->packed.get());
  return {std::string(plan.kernel->name), [=] {
            const GemmArgs args{
                .a = b->x.data(), .lda = p.k, .b = m->packed.get(), .c = b->y.data(), .ldc = p.n};
            gemm_run(plan, args, m->work.get(), threads);
          }};
}

// The f32 rows of the level of `like`, or of any that the CPU has if it is null.
template <class F>
void for_gemm_rows(const GemmKernel* like, IsaSet isa, F&& f) {
  for (const KernelInfo* row : all_kernels()) {
    if (row->op != "gemm" || row->weights != DType::f32 || !usable(*row, isa)) continue;
    if (!like || row->needs == like->needs) f(static_cast<const GemmKernel*>(row));
  }
}

template <class F>
void if_accepted(F&& f) {
  try {
    f();
  } catch (const Error& e) {
    if (e.code() != Code::unsupported) throw;
  }
}

std::vector<Candidate> conv_candidates(const ConvProblem& p, IsaSet isa, int threads, bool chosen_only) {
  const auto b = make_buffers(p.n * p.ic * p.in_pixels(), p.n * p.oc * p.out_pixels(),
                              p.oc * (p.ic / p.groups) * p.taps());
  const auto chosen = std::make_shared<const ConvPlan>(conv_plan(p, isa));
  std::vector<Candidate> out{make_conv(chosen, b, threads)};
  const auto add = [&](const ConvChoice& choice) {
    if_accepted([&] {
      Candidate c = make_conv(std::make_shared<const ConvPlan>(conv_plan(p, isa, choice)), b, threads);
      const auto same = [&](const Candidate& other) { return other.name == c.name; };
      if (std::none_of(out.begin(), out.end(), same)) out.push_back(std::move(c));
    });
  };
  for (const ConvAlgorithm& algorithm : conv_algorithms()) {
    if (chosen_only || !algorithm.refusal(p, isa).empty()) continue;
    add({&algorithm, nullptr});
    for_gemm_rows(chosen->kernel, isa, [&](const GemmKernel* row) {
      if (algorithm.method != ConvMethod::depthwise) add({&algorithm, row});
    });
  }
  return out;
}

std::vector<Candidate> gemm_candidates(const GemmProblem& p, IsaSet isa, int threads, bool chosen_only) {
  const auto b = make_buffers(p.m * p.k, p.m * p.n, p.n * p.k);
  const GemmPlan chosen = gemm_plan(p, isa);
  std::vector<Candidate> out{make_gemm(chosen, b, threads)};
  for_gemm_rows(chosen.kernel, isa, [&](const GemmKernel* row) {
    if (row == chosen.kernel || chosen_only || (row->max_n && p.n > row->max_n)) return;
    if_accepted([&] { out.push_back(make_gemm(gemm_plan(p, isa, row), b, threads)); });
  });
  return out;
}

}  // namespace

std::vector<Problem> problems_of(const Model& model) {
  Graph g = model.graph();
  infer_graph(g);
  if (!has_one_shape(g)) return {};
  run_passes(g, portable_passes());
  run_passes(g, target_passes());
  assign_layouts(g, LayoutPolicy::modelled, isa_detected(), 1);
  run_passes(g, layout_passes());
  run_passes(g, final_passes());
  std::vector<Problem> out;
  for (NodeId id : g.order()) {
    const Node& n = g.node(id);
    const bool conv = n.is("Conv") || n.is("FusedConv");
    const bool gemm = n.is("MatMul") || n.is("FusedMatMul") || n.is("Gemm") || n.is("FusedGemm");
    if ((!conv && !gemm) || !all_static(g, n) || g.fact(n.in(0)).dtype != DType::f32 || !g.constant(n.in(1)))
      continue;
    auto p = conv ? conv_problem(g, n) : gemm_problem(g, n);
    if (!p) continue;
    const auto known =
        std::find_if(out.begin(), out.end(), [&](const Problem& o) { return o.name == p->name; });
    ++(known == out.end() ? out.emplace_back(std::move(*p)) : *known).count;
  }
  return out;
}

std::vector<Candidate> candidates_of(const Problem& p, IsaSet isa, int threads, bool chosen_only) {
  return p.is_conv ? conv_candidates(p.conv, isa, threads, chosen_only)
                   : gemm_candidates(p.gemm, isa, threads, chosen_only);
}

}  // namespace skyline::pick
