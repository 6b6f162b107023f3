// Losses, and one step of an optimizer.
#include <cmath>
#include <optional>

#include "graph/ops/families.h"
#include "graph/ops/numeric.h"

namespace skyline::ops {
namespace {

enum class Reduction { none, sum, mean };

Reduction parse_reduction(const Attrs& a) {
  const std::string r = a.text("reduction", "mean");
  if (r == "none") return Reduction::none;
  if (r == "sum") return Reduction::sum;
  if (r == "mean") return Reduction::mean;
  reject("attribute reduction is '" + r + "', expected none, sum or mean");
}

// Scores [N, C, d...], labels [N, d...], [weights C].
void infer_loss(InferContext& c) {
  const Fact &x = c.in(0), &labels = c.in(1);
  require_float(x.dtype, "input");
  const Reduction r = parse_reduction(c.attrs());
  c.out(1, x);
  if (x.ranked) {
    if (x.rank() < 2) reject("input of rank " + std::to_string(x.rank()) + ", expected [N, C, ...]");
    SymDims d = x.dims;
    d.erase(d.begin() + 1);
    require_fact(labels, d, "labels");
    if (c.has(2)) require_fact(c.in(2), {x.dims[1]}, "weights");
    return c.out(0, Fact(x.dtype, r == Reduction::none ? d : SymDims{}));
  }
  c.out(0, r == Reduction::none ? with_dtype(labels, x.dtype) : Fact(x.dtype, {}));
}

struct Scores {
  int64_t n = 0, classes = 0, area = 0;
  std::vector<double> values;  // log probabilities, once they are
  size_t at(int64_t b, int64_t c, int64_t i) const {
    return static_cast<size_t>((b * classes + c) * area + i);
  }
};

Scores read_scores(EvalContext& c) {
  const Tensor& x = c.in(0);
  require_float(x.dtype(), "input");
  if (x.rank() < 2) reject("input of rank " + std::to_string(x.rank()) + ", expected [N, C, ...]");
  return {x.dim(0), x.dim(1), span_count(x.dims(), 2, x.rank()), to_doubles(x)};
}

void log_softmax(Scores& s) {
  for (int64_t b = 0; b < s.n; ++b) {
    for (int64_t i = 0; i < s.area && s.classes > 0; ++i) {
      double top = s.values[s.at(b, 0, i)];
      for (int64_t k = 1; k < s.classes; ++k) top = std::max(top, s.values[s.at(b, k, i)]);
      double sum = 0;
      for (int64_t k = 0; k < s.classes; ++k) sum += std::exp(s.values[s.at(b, k, i)] - top);
      for (int64_t k = 0; k < s.classes; ++k) s.values[s.at(b, k, i)] -= top + std::log(sum);
    }
  }
}

Tensor loss_of(EvalContext& c, const Scores& s) {
  const Tensor& x = c.in(0);
  const Reduction reduction = parse_reduction(c.attrs());
  Dims dims = x.dims();
  dims.erase(dims.begin() + 1);
  require_dims(c.in(1), dims, "labels");
  const Dims labels = c.ints(1);
  std::vector<double> weights(static_cast<size_t>(s.classes), 1.0);
  if (c.has(2)) {
    require_dims(c.in(2), {s.classes}, "weights");
    weights = to_doubles(c.in(2));
  }
  std::optional<int64_t> ignored;
  if (c.attrs().has("ignore_index")) ignored = c.attrs().integer("ignore_index");
  std::vector<double> loss(labels.size());
  double sum = 0, total = 0;
  for (size_t i = 0; i < labels.size(); ++i) {
    const int64_t label = labels[i];
    if (ignored && label == *ignored) continue;
    if (label < 0 || label >= s.classes) {
      throw Error(Code::input,
                  "label " + std::to_string(label) + " is outside [0, " + std::to_string(s.classes) + ")");
    }
    const auto at = static_cast<int64_t>(i);
    const double w = weights[static_cast<size_t>(label)];
    loss[i] = -s.values[s.at(at / s.area, label, at % s.area)] * w;
    sum += loss[i];
    total += w;
  }
  if (reduction == Reduction::none) return make_from(c, x.dtype(), dims, loss);
  const double result[] = {reduction == Reduction::sum ? sum : sum / total};
  return make_from(c, x.dtype(), {}, result);
}

void eval_nll(EvalContext& c) {
  c.out(0, loss_of(c, read_scores(c)));
}

void eval_cross_entropy(EvalContext& c) {
  Scores s = read_scores(c);
  log_softmax(s);
  c.out(0, loss_of(c, s));
  if (c.wants(1)) c.out(1, make_from(c, c.in(0).dtype(), c.in(0).dims(), s.values));
}

// ---- optimizers: R, T, then all X, all gradients, all accumulators
// ---------------------------------------------------------

// Outputs: all X, then all of each accumulator, `states` of them.
template <size_t kStates>
void infer_step(InferContext& c) {
  const size_t lists = 2 + kStates;
  if (c.inputs() < 2 + lists || (c.inputs() - 2) % lists != 0)
    reject("the inputs are no whole lists of tensors");
  const size_t n = (c.inputs() - 2) / lists;
  for (size_t i = 0; i < n; ++i) {
    c.out(i, c.in(2 + i));
    for (size_t s = 0; s < kStates; ++s) c.out((1 + s) * n + i, c.in(2 + (2 + s) * n + i));
  }
}

double scalar_of(const Tensor& t, std::string_view what) {
  if (t.size() != 1) reject(std::string(what) + " is not a scalar");
  return to_doubles(t)[0];
}

// Runs update(x, g, states...) over every element of every tensor.
template <size_t kStates, class F>
void eval_step(EvalContext& c, F&& update) {
  const size_t lists = 2 + kStates;
  if (c.inputs() < 2 + lists || (c.inputs() - 2) % lists != 0)
    reject("the inputs are no whole lists of tensors");
  const size_t n = (c.inputs() - 2) / lists;
  for (size_t i = 0; i < n; ++i) {
    std::vector<double> v[2 + kStates];
    for (size_t l = 0; l < lists; ++l) {
      const Tensor& t = c.in(2 + l * n + i);
      require_float(t.dtype(), "input");
      require_dims(t, c.in(2 + i).dims(), "gradient or state");
      v[l] = to_doubles(t);
    }
    for (size_t e = 0; e < v[0].size(); ++e) {
      double* at[2 + kStates];
      for (size_t l = 0; l < lists; ++l) at[l] = &v[l][e];
      update(at);
    }
    const Tensor& x = c.in(2 + i);
    c.out(i, make_from(c, x.dtype(), x.dims(), v[0]));
    for (size_t s = 0; s < kStates; ++s) c.out((1 + s) * n + i, make_from(c, x.dtype(), x.dims(), v[2 + s]));
  }
}

void eval_adagrad(EvalContext& c) {
  const Attrs& a = c.attrs();
  const double rate = scalar_of(c.in(0), "R") / (1 + scalar_of(c.in(1), "T") * a.real("decay_factor", 0));
  const double norm = a.real("norm_coefficient", 0), epsilon = a.real("epsilon", 1e-6f);
  eval_step<1>(c, [=](double* const* v) {
    const double g = norm * *v[0] + *v[1];
    *v[2] += g * g;
    *v[0] -= rate * g / (std::sqrt(*v[2]) + epsilon);
  });
}

void eval_adam(EvalContext& c) {
  const Attrs& a = c.attrs();
  const double alpha = a.real("alpha", 0.9f), beta = a.real("beta", 0.999f),
               epsilon = a.real("epsilon", 1e-6f);
  const double norm = a.real("norm_coefficient", 0), norm_post = a.real("norm_coefficient_post", 0);
  const double count = scalar_of(c.in(1), "T");
  double rate = scalar_of(c.in(0), "R");
  if (count > 0) rate *= std::sqrt(1 - std::pow(beta, count)) / (1 - std::pow(alpha, count));
  eval_step<2>(c, [=](double* const* v) {
    const double g = norm * *v[0] + *v[1];
    *v[2] = alpha * *v[2] + (1 - alpha) * g;
    *v[3] = beta * *v[3] + (1 - beta) * g * g;
    *v[0] = (1 - norm_post) * (*v[0] - rate * *v[2] / (std::sqrt(*v[3]) + epsilon));
  });
}

void eval_momentum(EvalContext& c) {
  const Attrs& a = c.attrs();
  const double alpha = a.real("alpha"), beta = a.real("beta"), norm = a.real("norm_coefficient");
  const std::string& mode = a.text("mode");
  if (mode != "standard" && mode != "nesterov") reject("attribute mode is '" + mode + "'");
  const bool nesterov = mode == "nesterov";
  const double rate = scalar_of(c.in(0), "R"), mix = scalar_of(c.in(1), "T") > 0 ? beta : 1;
  eval_step<1>(c, [=](double* const* v) {
    const double g = norm * *v[0] + *v[1];
    *v[2] = alpha * *v[2] + mix * g;
    *v[0] -= rate * (nesterov ? g + alpha * *v[2] : *v[2]);
  });
}

Work work_loss(const Node&, std::span<const Fact> in, std::span<const Fact>) {
  return {.flops = in[0].elements()};
}
Work work_cross_entropy(const Node&, std::span<const Fact> in, std::span<const Fact>) {
  return {.flops = 10 * in[0].elements()};
}

constexpr std::string_view kTraining = "ai.onnx.preview.training";
constexpr OpDef kOps[] = {
    {.name = "NegativeLogLikelihoodLoss",
     .min_inputs = 2,
     .max_inputs = 3,
     .infer = infer_loss,
     .eval = eval_nll,
     .work = work_loss},
    {.name = "SoftmaxCrossEntropyLoss",
     .min_inputs = 2,
     .max_inputs = 3,
     .max_outputs = 2,
     .infer = infer_loss,
     .eval = eval_cross_entropy,
     .work = work_cross_entropy},
    {.name = "Adagrad",
     .domain = kTraining,
     .min_inputs = 5,
     .max_inputs = kMany,
     .max_outputs = kMany,
     .infer = infer_step<1>,
     .eval = eval_adagrad},
    {.name = "Adam",
     .domain = kTraining,
     .min_inputs = 6,
     .max_inputs = kMany,
     .max_outputs = kMany,
     .infer = infer_step<2>,
     .eval = eval_adam},
    {.name = "Momentum",
     .domain = kTraining,
     .min_inputs = 5,
     .max_inputs = kMany,
     .max_outputs = kMany,
     .infer = infer_step<1>,
     .eval = eval_momentum},
};

}  // namespace

std::span<const OpDef> losses_ops() {
  return kOps;
}

}  // namespace skyline::ops
