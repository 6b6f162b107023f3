// Convolutions, plain, transposed and fused, in f32. The kernels are channels-last; a channels-first node
// converts its input and output in the workspace (the layout pass sees to it that few are left).
#include "kernels/conv/conv.h"

#include <algorithm>

#include "engine/lower/conv_shape.h"
#include "engine/lower/families.h"
#include "engine/lower/fused.h"
#include "graph/ir/precision.h"
#include "graph/ops/window.h"
#include "kernels/conv/direct.h"
#include "kernels/gemm/dense.h"
#include "kernels/layout/layout.h"

namespace skyline::lower {
namespace {

using namespace kernels;

Dims3 spatial(const Dims& d, int64_t fill) {
  Dims3 out = {fill, fill, fill};
  for (size_t i = 0; i < d.size(); ++i) out[3 - d.size() + i] = d[i];
  return out;
}

// Axes between batch and channels.
Dims sizes_of(const Dims& x, bool last) {
  return {x.begin() + (last ? 1 : 2), last ? x.end() - 1 : x.end()};
}

std::optional<ConvShape> transposed_shape(Lowering& l) {
  const Dims x = l.in_dims(0), w = l.in_dims(1), y = l.out_dims();
  if (x.size() < 3 || x.size() > 5 || element_count(y) == 0 || element_count(x) == 0) return std::nullopt;
  const ops::AutoPad pad = ops::parse_auto_pad(l.attrs());
  const bool same = pad == ops::AutoPad::same_upper || pad == ops::AutoPad::same_lower;
  const size_t rank = x.size() - 2;
  ConvShape s;
  ConvProblem& p = s.problem;
  s.last = l.attrs().text("layout", "NCHW") == "NHWC";
  p.n = x[0];
  p.ic = s.last ? x.back() : x[1];
  p.groups = l.attrs().integer("group", 1);
  p.oc = w[1] * p.groups;
  p.transposed = true;
  const Dims pads = l.attrs().integers("pads", Dims(2 * rank, 0));
  p.in = spatial(sizes_of(x, s.last), 1);
  p.kernel = spatial(Dims(w.begin() + 2, w.end()), 1);
  p.stride = spatial(l.attrs().integers("strides", Dims(rank, 1)), 1);
  p.dilation = spatial(l.attrs().integers("dilations", Dims(rank, 1)), 1);
  p.pad_begin = spatial(Dims(pads.begin(), pads.begin() + static_cast<std::ptrdiff_t>(rank)), 0);
  p.pad_end = spatial(Dims(pads.begin() + static_cast<std::ptrdiff_t>(rank), pads.end()), 0);
  p.output_padding = spatial(l.attrs().integers("output_padding", Dims(rank, 0)), 0);
  if (pad == ops::AutoPad::valid) p.pad_begin = p.pad_end = {0, 0, 0};
  if (!same && l.attrs().integers("output_shape", {}).empty()) return s;
  // The output's size is given: what is more than that is cut off, the odd element at the end for SAME_UPPER.
  const Dims3 wanted = spatial(sizes_of(y, s.last), 1);
  p.pad_begin = p.pad_end = {0, 0, 0};
  for (size_t axis = 0; axis < 3; ++axis) {
    const int64_t cut = p.out(static_cast<int>(axis)) - wanted[axis];
    if (cut < 0) return std::nullopt;
    p.pad_begin[axis] = pad == ops::AutoPad::same_upper ? cut / 2 : cut - cut / 2;
    p.pad_end[axis] = cut - p.pad_begin[axis];
  }
  return s;
}

// Null if the weights are not constant: they are packed at every run then.
std::shared_ptr<const std::byte> pack_weights(Lowering& l, const ConvPlan& plan) {
  if (!l.constant(1)) return nullptr;
  return l.pack(1, conv_form(plan), plan.packed_bytes,
                [&](std::byte* to) { conv_pack(plan, {.w = l.constant(1)->raw()}, to); });
}

// Whether the convolution runs on bf16 sums if channels-first x is reordered first; then `plan` becomes that.
bool reorders_for_rung(const ConvProblem& p, IsaSet isa, const ConvChoice& choice,
                       std::shared_ptr<const ConvPlan>& plan) {
  if (p.precision == Precision::f32 || p.a != DType::f32) return false;
  ConvProblem last = p;
  last.planar = false;
  auto other = std::make_shared<const ConvPlan>(conv_plan(last, isa, choice));
  if (!other->gemm.dense) return false;
  plan = std::move(other);
  return true;
}

// The algorithm and row that the node wishes for, where they can take it.
ConvChoice choice_of(const Lowering& l, const ConvProblem& p) {
  ConvChoice choice{.winograd = l.constant(1) != nullptr};
  const std::string wanted = wanted_kernel(l.node);
  if (wanted.empty() || p.precision != Precision::f32) return choice;
  const GemmKernel* row = p.a == DType::f32 ? l.wanted_gemm() : nullptr;
  for (const ConvAlgorithm& a : conv_algorithms()) {
    const bool runs_rows =
        a.method == ConvMethod::gemm || a.method == ConvMethod::gather || a.method == ConvMethod::indirect;
    if (row ? !runs_rows : a.name != wanted) continue;
    if (!a.refusal(p, l.isa).empty() || (a.method == ConvMethod::winograd && !choice.winograd)) continue;
    choice.algorithm = &a;
    choice.kernel = row;
    break;
  }
  return choice;
}

std::optional<Lowered> lower_with(Lowering& l, const ConvShape& shape, Activation act) {
  if (!takes_types(l)) return std::nullopt;
  ConvProblem p = shape.problem;
  p.a = l.in_type(0);
  p.c = l.out_type();
  const Dims out = sizes_of(l.out_dims(), shape.last);
  if (spatial(out, 1) != Dims3{p.out(0), p.out(1), p.out(2)}) {
    throw Error(Code::internal, "the kernel's output size is not the operator's " + to_string(l.out_dims()));
  }
  const ConvChoice choice = choice_of(l, p);
  // Only dense kernels, which need pixels whose channels lie side by side, make bf16.
  bool reorder = p.planar && p.c != DType::f32;
  p.planar = p.planar && !reorder;
  auto plan = std::make_shared<const ConvPlan>(conv_plan(p, l.isa, choice));
  // A rung needs them, too, and is worth making them so.
  reorder = reorder || (p.planar && reorders_for_rung(p, l.isa, choice, plan));
  const std::shared_ptr<const std::byte> packed = pack_weights(l, *plan);
  const bool bias = l.has(2), residual = l.has(3);
  if (bias && element_count(l.in_dims(2)) != p.oc) return std::nullopt;
  if (residual && l.in_dims(3) != l.out_dims()) return std::nullopt;
  // The workspace: the kernel's own, weights packed at every run, converted activations.
  const size_t scratch = align_up(conv_workspace_bytes(*plan, l.threads));
  const size_t own = scratch + (packed ? 0 : align_up(plan->packed_bytes));
  const auto weights = [=](const StepArgs& s) -> const std::byte* {
    if (packed) return packed.get();
    conv_pack(*plan, {.w = s.in[1]}, s.workspace + scratch);
    return s.workspace + scratch;
  };
  const std::string name(plan->algorithm->name);
  if (shape.last) {
    const int64_t ldx = l.in_ld(0), ldy = l.out_ld(), ldr = l.in_ld(3);
    const DType residual_type = residual ? l.in_type(3) : DType::f32;
    const size_t copy = reorder ? align_up(static_cast<size_t>(p.n * p.ic * p.in_pixels()) * 4) : 0;
    return Lowered{.code = step_code([=](const StepArgs& s) {
                     ConvArgs a;
                     a.x = s.in[0];
                     if (reorder) {
                       transpose_2d(s.in[0], s.workspace + own, p.n, p.ic, p.in_pixels(), 4, s.threads);
                       a.x = s.workspace + own;
                     }
                     a.ldx = ldx;
                     a.w = weights(s);
                     a.y = s.out[0];
                     a.ldy = ldy;
                     a.epilogue.act = act;
                     a.epilogue.bias_n = bias ? s.input<float>(2) : nullptr;
                     if (residual) set_residual(a.epilogue, s.in[3], residual_type);
                     a.epilogue.ldr = ldr;
                     conv_run(*plan, a, s.workspace, s.threads);
                   }),
                   .kernel = name,
                   .workspace = own + copy,
                   .in_place = residual && residual_type == p.c ? 3 : -1};
  }
  const int64_t in_pixels = p.in_pixels(), out_pixels = p.out_pixels(), n = p.n, ic = p.ic, oc = p.oc;
  const size_t x_bytes = align_up(static_cast<size_t>(n * ic * in_pixels) * 4);
  const size_t y_bytes = align_up(static_cast<size_t>(n * oc * out_pixels) * 4);
  // With one channel, or one pixel, both layouts are the same bytes.
  const bool convert_x = ic > 1 && in_pixels > 1, convert_y = oc > 1 && out_pixels > 1;
  return Lowered{
      .code = step_code([=](const StepArgs& s) {
        std::byte* at = s.workspace + own;
        ConvArgs a;
        a.w = weights(s);
        a.x = s.in[0];
        a.y = s.out[0];
        a.epilogue.act = act;
        a.epilogue.bias_n = bias ? s.input<float>(2) : nullptr;
        if (convert_x) {
          transpose_2d(s.in[0], at, n, ic, in_pixels, 4, s.threads);
          a.x = at;
          at += x_bytes;
        }
        if (convert_y) {
          a.y = at;
          at += y_bytes;
        }
        if (residual) {
          a.epilogue.residual = s.input<float>(3);
          if (convert_y) {
            transpose_2d(s.in[3], at, n, oc, out_pixels, 4, s.threads);
            a.epilogue.residual = reinterpret_cast<const float*>(at);
          }
        }
        conv_run(*plan, a, s.workspace, s.threads);
        if (convert_y) transpose_2d(a.y, s.out[0], n, out_pixels, oc, 4, s.threads);
      }),
      .kernel = name + "+nchw",
      .workspace = own + (convert_x ? x_bytes : 0) + (convert_y ? y_bytes * (residual ? 2 : 1) : 0)};
}

std::optional<Lowered> lower_conv(Lowering& l) {
  const auto shape = conv_shape(l, 1);
  return shape ? lower_with(l, *shape, {}) : std::nullopt;
}
std::optional<Lowered> lower_fused_conv(Lowering& l) {
  const auto shape = conv_shape(l, 1);
  return shape ? lower_with(l, *shape, fused_activation(l.attrs())) : std::nullopt;
}
std::optional<Lowered> lower_conv_transpose(Lowering& l) {
  const auto shape = transposed_shape(l);
  return shape ? lower_with(l, *shape, {}) : std::nullopt;
}

std::optional<Lowered> lower_fused_conv_transpose(Lowering& l) {
  const auto shape = transposed_shape(l);
  return shape ? lower_with(l, *shape, fused_activation(l.attrs())) : std::nullopt;
}

bool pixels_in_place(const Graph& g, const Node& n, Side side, size_t index) {
  for (ValueId v : n.inputs) {
    if (v != kNoValue && g.fact(v).dtype != DType::f32) return false;
  }
  // A transposed convolution whose size is given may be refused.
  const bool sized = n.attrs.has("output_shape") || n.attrs.text("auto_pad", "NOTSET") != "NOTSET";
  if (side == Side::in && index == 0 && n.attrs.text("input_layout", "NHWC") == "NCHW") return false;
  return n.attrs.text("layout", "NCHW") == "NHWC" && (side == Side::out || index == 0 || index == 3) &&
         (n.is("FusedConv") || !sized);
}

constexpr LowerRow kRows[] = {
    {"Conv", "", lower_conv},
    {"FusedConv", "skyline", lower_fused_conv, pixels_in_place},
    {"ConvTranspose", "", lower_conv_transpose},
    {"FusedConvTranspose", "skyline", lower_fused_conv_transpose, pixels_in_place},
};

}  // namespace

std::optional<ConvShape> conv_shape(const Lowering& l, size_t weights) {
  const Dims x = l.in_dims(0), w = l.in_dims(weights);
  if (x.size() < 3 || x.size() > 5 || element_count(l.out_dims()) == 0 || element_count(x) == 0)
    return std::nullopt;
  ConvShape s;
  s.last = l.attrs().text("layout", "NCHW") == "NHWC";
  const bool last_in = s.last && l.attrs().text("input_layout", "NHWC") == "NHWC";
  const Dims in = sizes_of(x, last_in);
  ops::Window window = ops::parse_window(l.attrs(), Dims(w.begin() + 2, w.end()));
  (void)window.fit(in);
  ConvProblem& p = s.problem;
  p.n = x[0];
  p.ic = last_in ? x.back() : x[1];
  p.planar = s.last && !last_in;
  p.oc = w[0];
  p.groups = l.attrs().integer("group", 1);
  p.precision = precision_of(l.node);
  p.in = spatial(in, 1);
  p.kernel = spatial(window.kernel, 1);
  p.stride = spatial(window.strides, 1);
  p.dilation = spatial(window.dilations, 1);
  p.pad_begin = spatial(window.begin, 0);
  p.pad_end = spatial(window.end, 0);
  return s;
}

std::string conv_form(const ConvPlan& plan) {
  const ConvProblem& p = plan.problem;
  std::string form = "conv:" + std::string(plan.algorithm->name) + ":" +
                     (plan.kernel ? std::string(plan.kernel->name) : "") +
                     (plan.direct ? std::string(plan.direct->name) : "") +
                     (plan.gemm.dense ? std::string(plan.gemm.dense->name) : "") + (p.transposed ? "t" : "") +
                     (p.planar ? "p" : "") + std::to_string(p.groups) + ":" + std::to_string(p.ic) + ":" +
                     std::to_string(p.oc);
  for (size_t axis = 0; axis < 3; ++axis) {
    form += ":" + std::to_string(p.kernel[axis]);
    if (!p.transposed) continue;
    for (const AxisPhase& phase : plan.axes[axis]) {
      for (int32_t tap : phase.taps) form += "," + std::to_string(tap);
      form += ";";
    }
  }
  return form;
}

std::span<const LowerRow> conv_rows() {
  return kRows;
}

}  // namespace skyline::lower
