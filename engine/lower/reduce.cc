// Reductions, argmax / argmin, softmax, normalisations.
#include "kernels/reduce/reduce.h"

#include <algorithm>

#include "engine/lower/families.h"
#include "engine/lower/reduction.h"
#include "graph/ops/util.h"
#include "kernels/norm/norm.h"
#include "kernels/softmax/softmax.h"

namespace skyline::lower {
namespace {

using namespace kernels;

// x seen as [outer, n, inner] around an axis.
struct AxisView {
  int64_t outer = 1, n = 1, inner = 1;
};
AxisView axis_view(const Dims& x, int axis) {
  AxisView v;
  for (int i = 0; i < static_cast<int>(x.size()); ++i) {
    (i < axis ? v.outer : i == axis ? v.n : v.inner) *= x[static_cast<size_t>(i)];
  }
  return v;
}

template <ReduceOp kOp>
std::optional<Lowered> lower_reduce(Lowering& l) {
  const DType type = l.in_type(0);
  if (type != l.out_type() || element_count(l.in_dims(0)) == 0) return std::nullopt;
  const Dims x = l.in_dims(0);
  std::vector<uint8_t> reduced(x.size(), 0);
  Dims axes;
  if (l.has(1)) {
    const auto given = l.constant_ints(1);
    if (!given) return std::nullopt;
    axes = *given;
  }
  if (axes.empty()) {
    if (l.attrs().integer("noop_with_empty_axes", 0)) return std::nullopt;
    reduced.assign(x.size(), 1);
  }
  for (int a : ops::normalize_axes(axes, static_cast<int>(x.size()))) reduced[static_cast<size_t>(a)] = 1;
  ReducePlan plan;
  if (!make_reduce_plan(x, reduced, &plan)) return std::nullopt;
  if (type == DType::f32) return reduction_f32(l, kOp, plan);
  constexpr bool kInteger =
      kOp == ReduceOp::sum || kOp == ReduceOp::max || kOp == ReduceOp::min || kOp == ReduceOp::prod;
  if (!kInteger) return std::nullopt;
  if (type == DType::i64) {
    return Lowered{.code = step_code([plan](const StepArgs& s) {
                     reduce_i64(kOp, plan, s.input<int64_t>(0), s.output<int64_t>(0), s.workspace);
                   }),
                   .kernel = "reduce_i64",
                   .workspace = plan.scratch_bytes(8)};
  }
  if (type == DType::i32) {
    return Lowered{.code = step_code([plan](const StepArgs& s) {
                     reduce_i32(kOp, plan, s.input<int32_t>(0), s.output<int32_t>(0), s.workspace);
                   }),
                   .kernel = "reduce_i32",
                   .workspace = plan.scratch_bytes(4)};
  }
  return std::nullopt;
}

template <bool kSmallest>
std::optional<Lowered> lower_arg(Lowering& l) {
  const Dims x = l.in_dims(0);
  if (l.in_type(0) != DType::f32 || element_count(x) == 0 || x.empty()) return std::nullopt;
  const AxisView v =
      axis_view(x, ops::normalize_axis(l.attrs().integer("axis", 0), static_cast<int>(x.size())));
  const ArgOptions options{kSmallest, l.attrs().integer("select_last_index", 0) != 0};
  return Lowered{.code = step_code([=](const StepArgs& s) {
                   arg_reduce_f32(options, s.input<float>(0), s.output<int64_t>(0), v.outer, v.n, v.inner,
                                  s.threads);
                 }),
                 .kernel = "arg_reduce_f32"};
}

template <bool kLog>
std::optional<Lowered> lower_softmax(Lowering& l) {
  const Dims x = l.in_dims(0);
  if (l.in_type(0) != DType::f32 || l.out_type() != DType::f32 || element_count(x) == 0 || x.empty())
    return std::nullopt;
  const AxisView v =
      axis_view(x, ops::normalize_axis(l.attrs().integer("axis", -1), static_cast<int>(x.size())));
  const SoftmaxTable& table = softmax_kernels(l.isa);
  return Lowered{.code = step_code([&table, v](const StepArgs& s) {
                   table.run(s.input<float>(0), s.output<float>(0), v.outer, v.n, v.inner, kLog, s.threads);
                 }),
                 .kernel = "softmax_f32",
                 .in_place = 0};
}

// d is x's dims from `axis` on (or ones before them): one element for each of a row, in its order.
bool fits_row(const Dims& d, const Dims& x, int axis) {
  for (size_t i = 0; i < std::max(d.size(), x.size()); ++i) {
    const int64_t have = i < d.size() ? d[d.size() - 1 - i] : 1;
    const bool in_row = i + static_cast<size_t>(axis) < x.size();
    if (have != (in_row ? x[x.size() - 1 - i] : 1)) return false;
  }
  return true;
}

// [rows, n] with scale and bias of n, as LayerNormalization over its last axes has them.
std::optional<Lowered> row_norm(Lowering& l, int axis, float eps, bool rms) {
  const Dims x = l.in_dims(0);
  if (!l.all_inputs(DType::f32) || element_count(x) == 0) return std::nullopt;
  int64_t rows = 1, n = 1;
  for (int i = 0; i < static_cast<int>(x.size()); ++i) (i < axis ? rows : n) *= x[static_cast<size_t>(i)];
  for (size_t i = 1; i < l.node.inputs.size(); ++i) {
    if (l.has(i) && !fits_row(l.in_dims(i), x, axis)) return std::nullopt;
  }
  const NormTable& table = norm_kernels(l.isa);
  const bool scale = l.has(1), bias = l.has(2);
  const bool mean = l.node.out(1) != kNoValue, inv = l.node.out(2) != kNoValue;
  return Lowered{.code = step_code([=, &table](const StepArgs& s) {
                   RowNormArgs a;
                   a.x = s.input<float>(0);
                   a.gamma = scale ? s.input<float>(1) : nullptr;
                   a.beta = bias ? s.input<float>(2) : nullptr;
                   a.y = s.output<float>(0);
                   a.mean = mean ? s.output<float>(1) : nullptr;
                   a.inv_std = inv ? s.output<float>(2) : nullptr;
                   a.rows = rows;
                   a.n = n;
                   a.eps = eps;
                   (rms ? table.rms : table.layer)(a, s.threads);
                 }),
                 .kernel = rms ? "rms_norm_f32" : "layer_norm_f32",
                 .in_place = 0};
}

std::optional<Lowered> lower_layer_norm(Lowering& l) {
  const int rank = static_cast<int>(l.in_dims(0).size());
  return row_norm(l, ops::normalize_axis(l.attrs().integer("axis", -1), rank),
                  l.attrs().real("epsilon", 1e-5f), false);
}
std::optional<Lowered> lower_rms_norm(Lowering& l) {
  const int rank = static_cast<int>(l.in_dims(0).size());
  if (l.node.outputs.size() > 1) return std::nullopt;
  return row_norm(l, ops::normalize_axis(l.attrs().integer("axis", -1), rank),
                  l.attrs().real("epsilon", 1e-5f), true);
}

// com.microsoft.SkipLayerNormalization: x, skip, gamma, [beta], [bias] -> y, -, -, [sum].
std::optional<Lowered> lower_skip_layer_norm(Lowering& l) {
  const Dims x = l.in_dims(0);
  if (!l.all_inputs(DType::f32) || l.in_dims(1) != x || element_count(x) == 0) return std::nullopt;
  if (l.node.out(1) != kNoValue || l.node.out(2) != kNoValue) return std::nullopt;
  const int64_t n = x.back(), rows = element_count(x) / n;
  const NormTable& table = norm_kernels(l.isa);
  const float eps = l.attrs().real("epsilon", 1e-12f);
  const bool beta = l.has(3), bias = l.has(4), sum = l.node.out(3) != kNoValue;
  return Lowered{.code = step_code([=, &table](const StepArgs& s) {
                   RowNormArgs a;
                   a.x = s.input<float>(0);
                   a.residual = s.input<float>(1);
                   a.gamma = s.input<float>(2);
                   a.beta = beta ? s.input<float>(3) : nullptr;
                   a.bias = bias ? s.input<float>(4) : nullptr;
                   a.y = s.output<float>(0);
                   a.sum = sum ? s.output<float>(3) : nullptr;
                   a.rows = rows;
                   a.n = n;
                   a.eps = eps;
                   table.layer(a, s.threads);
                 }),
                 .kernel = "skip_layer_norm_f32"};
}

std::optional<Lowered> group_norm(Lowering& l, int64_t groups) {
  const Dims x = l.in_dims(0);
  if (!l.all_inputs(DType::f32) || x.size() < 2 || element_count(x) == 0) return std::nullopt;
  if (l.in_dims(1) != Dims{x[1]} || l.in_dims(2) != Dims{x[1]} || groups < 1 || x[1] % groups != 0)
    return std::nullopt;
  const NormTable& table = norm_kernels(l.isa);
  GroupNormArgs base;
  base.batch = x[0];
  base.channels = x[1];
  base.spatial = element_count(x) / (x[0] * x[1]);
  base.groups = groups;
  base.eps = l.attrs().real("epsilon", 1e-5f);
  return Lowered{.code = step_code([&table, base](const StepArgs& s) {
                   GroupNormArgs a = base;
                   a.x = s.input<float>(0);
                   a.gamma = s.input<float>(1);
                   a.beta = s.input<float>(2);
                   a.y = s.output<float>(0);
                   table.group(a, s.threads);
                 }),
                 .kernel = "group_norm_f32"};
}
std::optional<Lowered> lower_instance_norm(Lowering& l) {
  return group_norm(l, l.in_dims(0).size() > 1 ? l.in_dims(0)[1] : 1);
}
std::optional<Lowered> lower_group_norm(Lowering& l) {
  return group_norm(l, l.attrs().integer("num_groups"));
}

std::optional<Lowered> lower_batch_norm(Lowering& l) {
  const Dims x = l.in_dims(0);
  if (!l.all_inputs(DType::f32) || l.attrs().integer("training_mode", 0) || x.size() < 2 ||
      element_count(x) == 0)
    return std::nullopt;
  bool constant = true;
  for (size_t i = 1; i <= 4; ++i) {
    constant = constant && l.constant(i);
    if (l.in_dims(i) != Dims{x[1]}) return std::nullopt;
  }
  const NormTable& table = norm_kernels(l.isa);
  const int64_t channels = x[1], inner = element_count(x) / (x[0] * x[1]), outer = x[0];
  const float eps = l.attrs().real("epsilon", 1e-5f);
  std::vector<float> folded;  // scale, then shift; empty: they are folded at every run
  if (constant) {
    folded.resize(2 * static_cast<size_t>(channels));
    const auto of = [&](size_t i) { return l.constant(i)->data<float>(); };
    fold_batch_norm(of(1), of(2), of(3), of(4), eps, channels, folded.data(), folded.data() + channels);
  }
  return Lowered{.code = step_code([=, &table](const StepArgs& s) {
                   const float* scale = folded.data();
                   if (folded.empty()) {
                     auto* now = reinterpret_cast<float*>(s.workspace);
                     fold_batch_norm(s.input<float>(1), s.input<float>(2), s.input<float>(3),
                                     s.input<float>(4), eps, channels, now, now + channels);
                     scale = now;
                   }
                   table.scale_shift(s.input<float>(0), scale, scale + channels, s.output<float>(0), outer,
                                     channels, inner, false, s.threads);
                 }),
                 .kernel = "scale_shift_f32",
                 .workspace = constant ? 0 : 2 * static_cast<size_t>(channels) * 4,
                 .in_place = 0};
}

std::optional<Lowered> lower_lrn(Lowering& l) {
  const Dims x = l.in_dims(0);
  LrnArgs base;
  base.size = l.attrs().integer("size");
  if (l.in_type(0) != DType::f32 || element_count(x) == 0 || base.size > kMaxLrnSize) return std::nullopt;
  const bool last = l.attrs().text("layout", "NCHW") == "NHWC";
  base.channels = last ? x.back() : x[1];
  base.outer = last ? element_count(x) / base.channels : x[0];
  base.inner = last ? 1 : element_count(x) / (x[0] * x[1]);
  base.alpha = l.attrs().real("alpha", 1e-4f);
  base.beta = l.attrs().real("beta", 0.75f);
  base.bias = l.attrs().real("bias", 1.0f);
  // The logarithm of the general power wants a sum above 0.
  if (!(base.alpha >= 0 && base.bias > 0)) return std::nullopt;
  const NormTable& table = norm_kernels(l.isa);
  return Lowered{.code = step_code([&table, base](const StepArgs& s) {
                   LrnArgs a = base;
                   a.x = s.input<float>(0);
                   a.y = s.output<float>(0);
                   table.lrn(a, s.threads);
                 }),
                 .kernel = "lrn_f32"};
}

constexpr LowerRow kRows[] = {
    {"ReduceSum", "", lower_reduce<ReduceOp::sum>},
    {"ReduceMean", "", lower_reduce<ReduceOp::mean>},
    {"ReduceMax", "", lower_reduce<ReduceOp::max>},
    {"ReduceMin", "", lower_reduce<ReduceOp::min>},
    {"ReduceProd", "", lower_reduce<ReduceOp::prod>},
    {"ReduceSumSquare", "", lower_reduce<ReduceOp::sumsq>},
    {"ReduceL1", "", lower_reduce<ReduceOp::l1>},
    {"ReduceL2", "", lower_reduce<ReduceOp::l2>},
    {"ReduceLogSum", "", lower_reduce<ReduceOp::logsum>},
    {"ReduceLogSumExp", "", lower_reduce<ReduceOp::logsumexp>},
    {"ArgMax", "", lower_arg<false>},
    {"ArgMin", "", lower_arg<true>},
    {"Softmax", "", lower_softmax<false>},
    {"LogSoftmax", "", lower_softmax<true>},
    {"LayerNormalization", "", lower_layer_norm},
    {"RMSNormalization", "", lower_rms_norm},
    {"SkipLayerNormalization", "com.microsoft", lower_skip_layer_norm},
    {"InstanceNormalization", "", lower_instance_norm},
    {"GroupNormalization", "", lower_group_norm},
    {"BatchNormalization", "", lower_batch_norm},
    {"LRN", "", lower_lrn},
    {"LRN", "skyline", lower_lrn},
};

}  // namespace

std::span<const LowerRow> reduce_rows() {
  return kRows;
}

}  // namespace skyline::lower
