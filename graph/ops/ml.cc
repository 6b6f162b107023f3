#include "graph/ops/ml.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "graph/ops/cast.h"

namespace skyline::ops {
namespace {

double logistic(double x) {
  return x >= 0 ? 1 / (1 + std::exp(-x)) : std::exp(x) / (1 + std::exp(x));
}

// Winitzki's approximation of the inverse error function, which the standard's runtimes use.
double inverse_erf(double x) {
  const double sign = x < 0 ? -1 : 1, rest = (1 - x) * (1 + x);
  if (rest == 0) return 0;
  const double log = std::log(rest), v = 2 / (std::numbers::pi * 0.147) + 0.5 * log;
  return sign * std::sqrt(-v + std::sqrt(v * v - log / 0.147));
}

void softmax(std::span<double> s, bool keep_zeros) {
  double top = -INFINITY, sum = 0;
  for (double v : s) top = std::fmax(top, v);
  for (double& v : s) {
    if (keep_zeros && std::fabs(v) <= 1e-7) {
      v = 0;
      continue;
    }
    v = std::exp(v - top);
    sum += v;
  }
  if (sum == 0) return;
  for (double& v : s) v /= sum;
}

}  // namespace

PostTransform parse_post_transform(const Attrs& attrs) {
  const std::string t = attrs.text("post_transform", "NONE");
  if (t == "NONE") return PostTransform::none;
  if (t == "SOFTMAX") return PostTransform::softmax;
  if (t == "LOGISTIC") return PostTransform::logistic;
  if (t == "SOFTMAX_ZERO") return PostTransform::softmax_zero;
  if (t == "PROBIT") return PostTransform::probit;
  throw Error(Code::invalid, "attribute post_transform is \"" + t + "\"");
}

void apply_post_transform(PostTransform t, std::span<double> scores) {
  switch (t) {
    case PostTransform::none:
      return;
    case PostTransform::softmax:
      return softmax(scores, false);
    case PostTransform::softmax_zero:
      return softmax(scores, true);
    case PostTransform::logistic:
      for (double& s : scores) s = logistic(s);
      return;
    case PostTransform::probit:
      for (double& s : scores) s = std::numbers::sqrt2 * inverse_erf(2 * s - 1);
      return;
  }
}

void pair_scores(PostTransform t, double s, bool probability, std::span<double> out) {
  out[0] = t == PostTransform::probit ? s : probability && t != PostTransform::logistic ? 1 - s : -s;
  out[1] = s;
  if (t == PostTransform::probit || t == PostTransform::logistic) apply_post_transform(t, out);
}

Labels parse_labels(const Attrs& attrs, std::string_view integers, std::string_view texts) {
  Labels l;
  l.integers = attrs.integers(integers, {});
  l.texts = attrs.texts(texts, {});
  if (l.integers.empty() == l.texts.empty()) {
    throw Error(Code::invalid, "exactly one of the attributes " + std::string(integers) + " and " +
                                   std::string(texts) + " is needed");
  }
  return l;
}

Tensor pick_labels(const EvalContext& c, const Labels& labels, std::span<const int64_t> picks) {
  Tensor out = c.make(labels.dtype(), {static_cast<int64_t>(picks.size())});
  for (size_t i = 0; i < picks.size(); ++i) {
    const auto k = static_cast<size_t>(picks[i]);
    if (labels.integers.empty()) {
      out.mutable_data<std::string>()[i] = labels.texts[k];
    } else {
      out.mutable_data<int64_t>()[i] = labels.integers[k];
    }
  }
  return out;
}

Rows rows_of(const Dims& dims) {
  if (dims.size() == 1) return {1, dims[0]};
  if (dims.size() == 2) return {dims[0], dims[1]};
  throw Error(Code::invalid, "input of shape " + to_string(dims) + "; [rows, features] is needed");
}

std::pair<Dim, Dim> rows_of(const Fact& f) {
  if (!f.ranked) return {Dim::unknown(), Dim::unknown()};
  if (f.rank() == 1) return {1, f.dims[0]};
  if (f.rank() == 2) return {f.dims[0], f.dims[1]};
  throw Error(Code::invalid, "input of rank " + std::to_string(f.rank()) + "; [rows, features] is needed");
}

Tensor features_of(const EvalContext& c, size_t i) {
  const DType t = c.in(i).dtype();
  if (!is_float(t) && !is_int(t)) throw Error(Code::unsupported, "features of dtype " + std::string(name(t)));
  return cast_tensor(c, c.in(i), DType::f64);
}

std::vector<float> per_feature(const Attrs& attrs, std::string_view name, int64_t count, float fallback) {
  std::vector<float> v = attrs.reals(name, {fallback});
  if (v.size() == 1) v.resize(static_cast<size_t>(std::max<int64_t>(count, 1)), v[0]);
  if (static_cast<int64_t>(v.size()) != count && count > 0) {
    throw Error(Code::invalid, "attribute " + std::string(name) + " has " + std::to_string(v.size()) +
                                   " entries for " + std::to_string(count) + " features");
  }
  return v;
}

}  // namespace skyline::ops
