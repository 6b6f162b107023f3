// Without calibration: weights of matrix products as integers, and activations quantized as they come.
#include <algorithm>
#include <cmath>
#include <limits>
#include <set>

#include "graph/ir/infer.h"
#include "graph/passes/match.h"
#include "quant/prepare.h"
#include "quant/qdq.h"
#include "quant/select.h"

namespace skyline::quant {
namespace {

// Least squares of rounding to 2 * most + 1 levels: large weights may be worth cutting off where levels are
// few.
double best_scale(const std::vector<double>& w, double most) {
  double peak = 0;
  for (double x : w) peak = std::max(peak, std::fabs(x));
  if (peak / most < std::numeric_limits<float>::min()) return 1;
  constexpr int kTries = 20;
  double best = 0, least = std::numeric_limits<double>::infinity();
  for (int i = 0; i <= (most < 16 ? kTries : 0); ++i) {
    const double scale = peak * (1 - 0.02 * i) / most;
    double error = 0;
    for (double x : w) {
      const double d = std::clamp(std::nearbyint(x / scale), -most, most) * scale - x;
      error += d * d;
    }
    if (error < least) {
      least = error;
      best = scale;
    }
  }
  return best;
}

class Writer {
 public:
  Writer(const Graph& model, const std::vector<std::string>& keep) : g_(prepare(model)), keep_(keep) {
    std::set<std::string> names;
    for (NodeId id : g_.order()) names.insert(g_.node(id).name);
    for (const std::string& k : keep) {
      bool known = names.contains(k);
      for (NodeId id : g_.order()) known |= g_.node(id).op->name == k;
      if (!known) throw Error(Code::invalid, "no node or operator is named '" + k + "'");
    }
    for (NodeId id : g_.order()) choose(id);
  }

  Result weights_only(const WeightsOnlyOptions& o) {
    for (NodeId id : chosen_) store(id, o);
    return finish();
  }
  Result dynamic(bool per_token) {
    for (NodeId id : chosen_) (per_token ? token(id) : tensor(id));
    return finish();
  }

 private:
  void choose(NodeId id) {
    const Node& n = g_.node(id);
    if (!is_product(n)) return;
    const Tensor* w = g_.constant(n.in(1));
    Decision d{n.name, std::string(n.op->name), Precision::int8, ""};
    if (std::any_of(keep_.begin(), keep_.end(),
                    [&](const std::string& k) { return k == n.name || k == n.op->name; })) {
      d.reason = "asked for";
    } else if (!n.is("MatMul") && !n.is("Gemm")) {
      d.reason = "its weights are few beside its activations";
    } else if (!w || w->dtype() != DType::f32) {
      d.reason = w ? "its weights are " + std::string(name(w->dtype())) : "both factors are activations";
    } else if (w->rank() != 2 || w->size() == 0) {
      d.reason = "its weights are not a matrix";
    } else if (n.is("Gemm") && (n.attrs.real("alpha", 1) != 1 || n.attrs.real("beta", 1) != 1 ||
                                n.attrs.integer("transA", 0) != 0)) {
      d.reason = "the product has factors that integers do not take";
    }
    if (!d.reason.empty()) d.precision = Precision::f32;
    if (d.reason.empty()) chosen_.push_back(id);
    decisions_.push_back(std::move(d));
  }

  Result finish() {
    g_.remove_dead_nodes();
    infer_graph(g_);
    verify_graph(g_, true);
    Result r;
    r.decisions = std::move(decisions_);
    r.graph = std::move(g_);
    return r;
  }

  ValueId constant(const std::string& stem, Tensor t) {
    return g_.add_constant(g_.fresh_name(stem), std::move(t));
  }
  ValueId add(std::string_view op, const std::string& stem, std::vector<ValueId> in, Attrs attrs = {}) {
    const ValueId y = g_.add_value(g_.fresh_name(stem));
    infer_node(g_, g_.add_node(op, g_.fresh_name(stem), std::move(in), {y}, std::move(attrs)));
    return y;
  }

  // ---- weights only: DequantizeLinear in front of the product

  void store(NodeId id, const WeightsOnlyOptions& o) {
    const Node n = g_.node(id);
    const Tensor w = *g_.constant(n.in(1));
    const int columns_axis = output_axis(n), rows_axis = 1 - columns_axis;
    const int64_t rows = w.dim(rows_axis), columns = w.dim(columns_axis);
    const int64_t block = o.block > 0 ? std::min(o.block, rows) : rows, blocks = (rows + block - 1) / block;
    const double most = o.bits == 4 ? 7 : 127;
    Tensor q(o.bits == 4 ? DType::i4 : DType::i8, w.dims());
    auto* integers = static_cast<int8_t*>(q.mutable_raw());
    std::vector<float> scales(static_cast<size_t>(blocks * columns));
    const auto at = [&](int64_t r, int64_t c) { return columns_axis == 1 ? r * columns + c : c * rows + r; };
    std::vector<double> run;
    for (int64_t c = 0; c < columns; ++c) {
      for (int64_t b = 0; b < blocks; ++b) {
        run.clear();
        for (int64_t r = b * block; r < std::min(rows, (b + 1) * block); ++r)
          run.push_back(w.data<float>()[at(r, c)]);
        const auto scale = static_cast<float>(best_scale(run, most));
        scales[static_cast<size_t>(columns_axis == 1 ? b * columns + c : c * blocks + b)] = scale;
        for (size_t i = 0; i < run.size(); ++i) {
          integers[at(b * block + static_cast<int64_t>(i), c)] =
              static_cast<int8_t>(std::clamp(std::nearbyint(run[i] / scale), -most, most));
        }
      }
    }
    const std::string stem = g_.value(n.in(1)).name;
    const bool blocked = blocks > 1;
    const Dims dims = !blocked            ? Dims{columns}
                      : columns_axis == 1 ? Dims{blocks, columns}
                                          : Dims{columns, blocks};
    Attrs attrs{{"axis", int64_t{blocked ? rows_axis : columns_axis}}};
    if (blocked) attrs.set("block_size", block);
    g_.set_input(
        id, 1,
        add("DequantizeLinear", stem + "_dq",
            {constant(stem + "_q", std::move(q)), constant(stem + "_scale", Tensor::of<float>(dims, scales))},
            std::move(attrs)));
  }

  // ---- dynamic

  // Integers [rows, columns] whatever way round the node has them, and their scales [columns].
  std::pair<ValueId, ValueId> matrix(const Node& n) {
    const Tensor& w = *g_.constant(n.in(1));
    const int axis = output_axis(n);
    QuantizedWeights q = quantize_weights(w, axis);
    if (axis == 0) {
      Tensor turned(DType::i8, {w.dim(1), w.dim(0)});
      for (int64_t i = 0; i < w.dim(0); ++i) {
        for (int64_t k = 0; k < w.dim(1); ++k)
          turned.mutable_data<int8_t>()[k * w.dim(0) + i] = q.integers.data<int8_t>()[i * w.dim(1) + k];
      }
      q.integers = std::move(turned);
    }
    const std::string stem = g_.value(n.in(1)).name;
    const auto columns = static_cast<int64_t>(q.scales.size());
    return {constant(stem + "_i8", std::move(q.integers)),
            constant(stem + "_scale", Tensor::of<float>({columns}, q.scales))};
  }
  // sums * scale + bias takes the node's place.
  void scaled(NodeId id, ValueId sums, ValueId scale) {
    const Node n = g_.node(id);
    const ValueId real = add("Cast", n.name + "_real", {sums}, {{"to", static_cast<int64_t>(DType::f32)}});
    ValueId y = add("Mul", n.name + "_scaled", {real, scale});
    if (n.is("Gemm") && n.in(2) != kNoValue) y = add("Add", n.name + "_biased", {y, n.in(2)});
    g_.replace_uses(n.out(0), y);
  }
  void tensor(NodeId id) {
    const Node n = g_.node(id);
    const auto [w, w_scale] = matrix(n);
    // Products of the same activation share its integers.
    auto& x = quantized_[static_cast<uint32_t>(n.in(0))];
    if (x.empty()) {
      const std::string stem = g_.value(n.in(0)).name;
      for (const char* part : {"_q", "_scale", "_zero"})
        x.push_back(g_.add_value(g_.fresh_name(stem + part)));
      infer_node(g_, g_.add_node("DynamicQuantizeLinear", g_.fresh_name(stem + "_q"), {n.in(0)}, x));
    }
    const std::vector<ValueId> parts = x;
    const ValueId zero = constant(n.name + "_zero", Tensor::zeros(DType::i8, {}));
    const ValueId sums = add("MatMulInteger", n.name + "_sums", {parts[0], w, parts[2], zero});
    scaled(id, sums, add("Mul", n.name + "_scale", {parts[1], w_scale}));
  }
  // A scale for each row of the activation: the largest magnitude becomes 127.
  void token(NodeId id) {
    const Node n = g_.node(id);
    const auto [w, w_scale] = matrix(n);
    auto& x = quantized_[static_cast<uint32_t>(n.in(0))];
    if (x.empty()) {
      const std::string stem = g_.value(n.in(0)).name;
      const ValueId most =
          add("ReduceMax", stem + "_most",
              {add("Abs", stem + "_abs", {n.in(0)}), constant(stem + "_axis", Tensor::vector({-1}))},
              {{"keepdims", int64_t{1}}});
      // Of a row of zeros the scale may be anything above 0.
      const ValueId least = constant(stem + "_least", Tensor::scalar(1e-30f));
      const ValueId steps = constant(stem + "_steps", Tensor::scalar(127.0f));
      const ValueId scale = add("Div", stem + "_scale", {add("Max", stem + "_some", {most, least}), steps});
      const ValueId rounded = add("Round", stem + "_round", {add("Div", stem + "_div", {n.in(0), scale})});
      x = {add("Cast", stem + "_q", {rounded}, {{"to", static_cast<int64_t>(DType::i8)}}), scale};
    }
    const std::vector<ValueId> parts = x;
    const ValueId sums = add("MatMulInteger", n.name + "_sums", {parts[0], w});
    scaled(id, sums, add("Mul", n.name + "_scale", {parts[1], w_scale}));
  }

  Graph g_;
  const std::vector<std::string>& keep_;
  std::vector<NodeId> chosen_;
  std::vector<Decision> decisions_;
  std::map<uint32_t, std::vector<ValueId>> quantized_;  // of activations: integers and scale (and zero)
};

}  // namespace

Result weights_only(const Graph& model, const WeightsOnlyOptions& options) {
  if (options.bits != 8 && options.bits != 4)
    throw Error(Code::invalid, "weights have 8 or 4 bits, not " + std::to_string(options.bits));
  if (options.block < 0 || (options.block > 0 && options.block < 2))
    throw Error(Code::invalid, "a block is 2 rows or more, not " + std::to_string(options.block));
  return Writer(model, options.keep).weights_only(options);
}

Result dynamic_int8(const Graph& model, bool per_token, const std::vector<std::string>& keep) {
  return Writer(model, keep).dynamic(per_token);
}

}  // namespace skyline::quant
