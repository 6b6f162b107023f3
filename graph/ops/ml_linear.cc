// ai.onnx.ml: linear models and support vector regression.
#include <algorithm>
#include <cmath>

#include "graph/ops/cast.h"
#include "graph/ops/families.h"
#include "graph/ops/ml.h"
#include "graph/ops/util.h"

namespace skyline::ops {
namespace {

// scores[row, k] = features[row] . coefficients[k] + intercepts[k], as f64.
Tensor linear_scores(const EvalContext& c, int64_t outputs) {
  const Tensor x = features_of(c, 0);
  const Rows r = rows_of(x.dims());
  const auto weights = c.attrs().reals("coefficients", {});
  const auto intercepts = c.attrs().reals("intercepts", {});
  int64_t wanted = 0;
  if (__builtin_mul_overflow(outputs, r.features, &wanted) ||
      static_cast<int64_t>(weights.size()) != wanted) {
    throw Error(Code::invalid, "attribute coefficients has " + std::to_string(weights.size()) +
                                   " entries for " + std::to_string(outputs) + " outputs of " +
                                   std::to_string(r.features) + " features");
  }
  if (!intercepts.empty() && static_cast<int64_t>(intercepts.size()) != outputs) {
    throw Error(Code::invalid, "attribute intercepts has " + std::to_string(intercepts.size()) +
                                   " entries for " + std::to_string(outputs) + " outputs");
  }
  Tensor y = c.make(DType::f64, {r.rows, outputs});
  for (int64_t i = 0; i < r.rows; ++i) {
    const double* row = x.data<double>() + i * r.features;
    for (int64_t k = 0; k < outputs; ++k) {
      double sum = intercepts.empty() ? 0.0 : intercepts[static_cast<size_t>(k)];
      for (int64_t j = 0; j < r.features; ++j)
        sum += row[j] * weights[static_cast<size_t>(k * r.features + j)];
      y.mutable_data<double>()[i * outputs + k] = sum;
    }
  }
  return y;
}

std::span<double> row_of(Tensor& t, int64_t i) {
  const auto width = static_cast<size_t>(t.dims().back());
  return t.mutable_span<double>().subspan(static_cast<size_t>(i) * width, width);
}

// ---- LinearRegressor
// ---------------------------------------------------------------------------------------------------

int64_t target_count(const Attrs& attrs) {
  const int64_t n = attrs.integer("targets", 1);
  if (n < 1) throw Error(Code::invalid, "attribute targets is " + std::to_string(n));
  return n;
}

void infer_regressor(InferContext& c) {
  c.out(0, Fact(DType::f32, {rows_of(c.in(0)).first, target_count(c.attrs())}));
}

void eval_regressor(EvalContext& c) {
  const PostTransform post = parse_post_transform(c.attrs());
  Tensor y = linear_scores(c, target_count(c.attrs()));
  for (int64_t i = 0; i < y.dim(0); ++i) apply_post_transform(post, row_of(y, i));
  c.out(0, cast_tensor(c, y, DType::f32));
}

// ---- LinearClassifier
// --------------------------------------------------------------------------------------------------

struct Classes {
  Labels labels;
  int64_t scores = 0;   // rows of coefficients
  bool paired = false;  // one score for two classes
};

Classes classes_of(const Attrs& attrs) {
  Classes k;
  k.labels = parse_labels(attrs, "classlabels_ints", "classlabels_strings");
  const auto intercepts = attrs.reals("intercepts", {});
  k.scores = static_cast<int64_t>(intercepts.empty() ? k.labels.size() : intercepts.size());
  k.paired = k.scores == 1 && k.labels.size() == 2;
  if (!k.paired && static_cast<size_t>(k.scores) != k.labels.size()) {
    throw Error(Code::invalid,
                std::to_string(k.labels.size()) + " labels for " + std::to_string(k.scores) + " scores");
  }
  if (k.labels.size() < 2) throw Error(Code::unsupported, "a linear classifier of one class");
  return k;
}

void infer_classifier(InferContext& c) {
  const Classes k = classes_of(c.attrs());
  const Dim rows = rows_of(c.in(0)).first;
  c.out(0, Fact(k.labels.dtype(), {rows}));
  c.out(1, Fact(DType::f32, {rows, static_cast<int64_t>(k.labels.size())}));
}

void eval_classifier(EvalContext& c) {
  const Classes k = classes_of(c.attrs());
  const PostTransform post = parse_post_transform(c.attrs());
  const Tensor raw = linear_scores(c, k.scores);
  Tensor y = c.make(DType::f64, {raw.dim(0), static_cast<int64_t>(k.labels.size())});
  Tensor best = c.make(DType::i64, {raw.dim(0)});
  for (int64_t i = 0; i < raw.dim(0); ++i) {
    const auto row = row_of(y, i);
    const double* s = raw.data<double>() + i * k.scores;
    int64_t& pick = best.mutable_data<int64_t>()[i];
    if (k.paired) {
      pick = s[0] > 0;
      pair_scores(post, s[0], true, row);
    } else {
      std::copy(s, s + k.scores, row.begin());
      pick = std::max_element(row.begin(), row.end()) - row.begin();
      apply_post_transform(post, row);
    }
  }
  c.out(0, pick_labels(c, k.labels, best.span<int64_t>()));
  c.out(1, cast_tensor(c, y, DType::f32));
}

// ---- SVMRegressor
// ------------------------------------------------------------------------------------------------------

struct Kernel {
  enum class Type : uint8_t { linear, poly, rbf, sigmoid } type = Type::linear;
  double gamma = 0, offset = 0, degree = 0;

  double operator()(const double* x, const float* v, int64_t n) const {
    double sum = 0;
    for (int64_t i = 0; i < n; ++i) sum += type == Type::rbf ? (x[i] - v[i]) * (x[i] - v[i]) : x[i] * v[i];
    switch (type) {
      case Type::linear:
        return sum;
      case Type::poly:
        return std::pow(gamma * sum + offset, degree);
      case Type::rbf:
        return std::exp(-gamma * sum);
      case Type::sigmoid:
        return std::tanh(gamma * sum + offset);
    }
    return sum;
  }
};

Kernel parse_kernel(const Attrs& attrs) {
  Kernel k;
  const std::string type = attrs.text("kernel_type", "LINEAR");
  if (type == "POLY") {
    k.type = Kernel::Type::poly;
  } else if (type == "RBF") {
    k.type = Kernel::Type::rbf;
  } else if (type == "SIGMOID") {
    k.type = Kernel::Type::sigmoid;
  } else if (type != "LINEAR") {
    throw Error(Code::invalid, "attribute kernel_type is \"" + type + "\"");
  }
  const auto p = attrs.reals("kernel_params", {0, 0, 0});
  if (p.size() != 3) throw Error(Code::invalid, "attribute kernel_params does not have three entries");
  k.gamma = p[0];
  k.offset = p[1];
  k.degree = p[2];
  return k;
}

void infer_svm(InferContext& c) {
  c.out(0, Fact(DType::f32, {rows_of(c.in(0)).first, 1}));
}

void eval_svm(EvalContext& c) {
  const Kernel kernel = parse_kernel(c.attrs());
  const PostTransform post = parse_post_transform(c.attrs());
  const bool one_class = c.attrs().integer("one_class", 0) != 0;
  const auto weights = c.attrs().reals("coefficients", {}), vectors = c.attrs().reals("support_vectors", {});
  const auto rho = c.attrs().reals("rho", {});
  const int64_t supports = c.attrs().integer("n_supports", 0);
  const Tensor x = features_of(c, 0);
  const Rows r = rows_of(x.dims());
  const auto counted = static_cast<int64_t>(weights.size());
  int64_t entries = 0;
  const bool fits = supports > 0
                        ? counted == supports && !__builtin_mul_overflow(supports, r.features, &entries) &&
                              static_cast<int64_t>(vectors.size()) == entries
                        : supports == 0 && counted == r.features;
  if (!fits || rho.empty())
    throw Error(Code::invalid, "coefficients, support_vectors, n_supports and rho do not fit");
  Tensor y = c.make(DType::f64, {r.rows, 1});
  for (int64_t i = 0; i < r.rows; ++i) {
    const double* row = x.data<double>() + i * r.features;
    double sum = rho[0];
    for (int64_t s = 0; s < supports; ++s) {
      sum += weights[static_cast<size_t>(s)] * kernel(row, vectors.data() + s * r.features, r.features);
    }
    if (supports == 0) sum += kernel(row, weights.data(), r.features);
    y.mutable_data<double>()[i] = one_class ? (sum > 0 ? 1 : -1) : sum;
    apply_post_transform(post, row_of(y, i));
  }
  c.out(0, cast_tensor(c, y, DType::f32));
}

Work work_coefficients(const Node& node, std::span<const Fact> in, std::span<const Fact>) {
  const int64_t rows = in[0].rank() == 2 ? in[0].dims[0].value() : 1;
  const size_t vectors = node.attrs.reals("support_vectors", {}).size();
  return {.flops = 2 * rows * static_cast<int64_t>(vectors + node.attrs.reals("coefficients", {}).size())};
}

constexpr OpDef kOps[] = {
    ml_row("LinearRegressor", infer_regressor, eval_regressor, work_coefficients),
    ml_row("LinearClassifier", infer_classifier, eval_classifier, work_coefficients, 2),
    ml_row("SVMRegressor", infer_svm, eval_svm, work_coefficients),
};

}  // namespace

std::span<const OpDef> ml_linear_ops() {
  return kOps;
}

}  // namespace skyline::ops
