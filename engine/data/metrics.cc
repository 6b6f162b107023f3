#include <algorithm>
#include <cmath>
#include <numeric>

#include "skyline/data.h"

namespace skyline {
namespace {

constexpr std::string_view kNames[] = {"top1",     "top5",      "mae",    "spearman",
                                       "sequence", "agreement", "cosine", "sqnr"};

// A float tensor's numbers as f32.
std::vector<float> floats(const Value& v) {
  const Tensor& t = v.tensor();
  std::vector<float> out(static_cast<size_t>(t.size()));
  for (size_t i = 0; i < out.size(); ++i) {
    switch (t.dtype()) {
      case DType::f32:
        out[i] = t.data<float>()[i];
        break;
      case DType::f64:
        out[i] = static_cast<float>(t.data<double>()[i]);
        break;
      case DType::f16:
        out[i] = t.data<Half>()[i];
        break;
      case DType::bf16:
        out[i] = t.data<BFloat16>()[i];
        break;
      case DType::i64:
        out[i] = static_cast<float>(t.data<int64_t>()[i]);
        break;
      case DType::u8:
        out[i] = t.data<uint8_t>()[i];
        break;
      default:
        throw Error(Code::input, "no metric for outputs of " + std::string(name(t.dtype())));
    }
  }
  return out;
}

const Value& first(std::span<const Value> outputs, std::string_view what) {
  if (outputs.empty() || !outputs[0].is_tensor())
    throw Error(Code::input, "the metric needs " + std::string(what));
  return outputs[0];
}

double label_number(const Example& e) {
  if (!e.label.defined() || e.label.size() < 1)
    throw Error(Code::input, "example '" + e.name + "' has no label");
  return e.label.dtype() == DType::i64 ? static_cast<double>(e.label.data<int64_t>()[0])
                                       : static_cast<double>(e.label.data<float>()[0]);
}

size_t best(std::span<const float> x) {
  return static_cast<size_t>(std::max_element(x.begin(), x.end()) - x.begin());
}

// The share of the best `k` that the class has: where scores tie, as 8-bit ones often do, which of them is
// first is chance.
double credit(std::span<const float> scores, double label, size_t k) {
  const auto c = static_cast<size_t>(label);
  if (label < 0 || c >= scores.size())
    throw Error(Code::input, "label " + std::to_string(label) + " is not one of " +
                                 std::to_string(scores.size()) + " classes");
  size_t above = 0, equal = 0;
  for (float s : scores) {
    above += s > scores[c];
    equal += s == scores[c];
  }
  if (above >= k || equal == 0) return 0;
  return std::min(1.0, static_cast<double>(k - above) / static_cast<double>(equal));
}

double cosine(std::span<const float> a, std::span<const float> b) {
  double ab = 0, aa = 0, bb = 0;
  for (size_t i = 0; i < std::min(a.size(), b.size()); ++i) {
    ab += static_cast<double>(a[i]) * b[i];
    aa += static_cast<double>(a[i]) * a[i];
    bb += static_cast<double>(b[i]) * b[i];
  }
  if (aa == 0 || bb == 0) return aa == bb ? 1 : 0;
  return ab / std::sqrt(aa * bb);
}

std::vector<int64_t> decode(std::span<const float> scores, size_t classes) {
  std::vector<int64_t> out;
  size_t before = 0;
  for (size_t at = 0; classes > 0 && at + classes <= scores.size(); at += classes) {
    const size_t c = best(scores.subspan(at, classes));
    if (c != before && c != 0) out.push_back(static_cast<int64_t>(c));
    before = c;
  }
  return out;
}

size_t last_axis(const Value& v) {
  const Tensor& t = v.tensor();
  return t.rank() == 0 ? 1 : static_cast<size_t>(t.dim(t.rank() - 1));
}

// Ranks from 1; equal values share the mean of theirs.
std::vector<double> ranks(const std::vector<double>& x) {
  std::vector<size_t> order(x.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::sort(order.begin(), order.end(), [&](size_t a, size_t b) { return x[a] < x[b]; });
  std::vector<double> out(x.size());
  for (size_t i = 0; i < order.size();) {
    size_t end = i;
    while (end < order.size() && x[order[end]] == x[order[i]]) ++end;
    for (size_t k = i; k < end; ++k) out[order[k]] = (static_cast<double>(i + end) + 1) / 2;
    i = end;
  }
  return out;
}

double correlation(const std::vector<double>& a, const std::vector<double>& b) {
  const auto n = static_cast<double>(a.size());
  const double ma = std::accumulate(a.begin(), a.end(), 0.0) / n,
               mb = std::accumulate(b.begin(), b.end(), 0.0) / n;
  double ab = 0, aa = 0, bb = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    ab += (a[i] - ma) * (b[i] - mb);
    aa += (a[i] - ma) * (a[i] - ma);
    bb += (b[i] - mb) * (b[i] - mb);
  }
  return aa > 0 && bb > 0 ? ab / std::sqrt(aa * bb) : NAN;
}

}  // namespace

double rank_correlation(const std::vector<double>& a, const std::vector<double>& b) {
  return correlation(ranks(a), ranks(b));
}

std::string_view name(MetricKind m) noexcept {
  return kNames[static_cast<size_t>(m)];
}
MetricKind metric_from_name(std::string_view s) {
  std::string known;
  for (size_t i = 0; i < std::size(kNames); ++i) {
    if (kNames[i] == s) return static_cast<MetricKind>(i);
    known += (i ? ", " : "") + std::string(kNames[i]);
  }
  throw Error(Code::invalid, "no metric '" + std::string(s) + "'; there are " + known);
}
bool needs_labels(MetricKind m) noexcept {
  return m <= MetricKind::sequence;
}
bool higher_is_better(MetricKind m) noexcept {
  return m != MetricKind::mae;
}

Metric::Metric(MetricKind kind) : kind_(kind), name_(skyline::name(kind)) {}
Metric::Metric(std::string name, UserMetric callback)
    : name_(std::move(name)), callback_(std::move(callback)) {}

void Metric::add(const Example& example, std::span<const Value> outputs, std::span<const Value> reference) {
  ++count_;
  if (callback_) return each_.push_back(callback_(example, outputs));
  const Value& y = first(outputs, "an output");
  const std::vector<float> scores = floats(y);
  if (scores.empty()) throw Error(Code::input, "the metric needs an output that is not empty");
  switch (kind_) {
    case MetricKind::top1:
    case MetricKind::top5:
      return each_.push_back(credit(scores, label_number(example), kind_ == MetricKind::top1 ? 1 : 5));
    case MetricKind::mae:
      return each_.push_back(std::fabs(scores[0] - label_number(example)));
    case MetricKind::spearman: {
      const size_t row = scores.size() / 2;
      const bool pair = y.tensor().rank() >= 2 && y.tensor().dim(0) == 2 && row > 0;
      const std::span<const float> all(scores);
      found_.push_back(pair ? cosine(all.first(row), all.subspan(row)) : scores[0]);
      wanted_.push_back(label_number(example));
      return;
    }
    case MetricKind::sequence: {
      (void)label_number(example);
      const auto want =
          example.label.dtype() == DType::i64 ? example.label.span<int64_t>() : std::span<const int64_t>();
      const std::vector<int64_t> got = decode(scores, last_axis(y));
      return each_.push_back(std::equal(got.begin(), got.end(), want.begin(), want.end()));
    }
    default:
      break;
  }
  const Value& r = first(reference, "the outputs of f32");
  const std::vector<float> want = floats(r);
  if (want.size() != scores.size()) throw Error(Code::input, "outputs and reference differ in shape");
  if (kind_ == MetricKind::agreement) {
    const size_t classes = last_axis(y);
    double same = 0, rows = 0;
    for (size_t at = 0; at + classes <= scores.size(); at += classes, ++rows) {
      const std::span<const float> a(scores), b(want);
      same += best(a.subspan(at, classes)) == best(b.subspan(at, classes));
    }
    each_.push_back(same / rows);
  } else if (kind_ == MetricKind::cosine) {
    each_.push_back(cosine(scores, want));
  } else {
    for (size_t i = 0; i < want.size(); ++i) {
      const double d = static_cast<double>(scores[i]) - want[i];
      signal_ += static_cast<double>(want[i]) * want[i];
      noise_ += d * d;
    }
  }
}

double Metric::value() const {
  if (count_ == 0) return NAN;
  if (!callback_ && kind_ == MetricKind::spearman) return rank_correlation(found_, wanted_);
  if (!callback_ && kind_ == MetricKind::sqnr) {
    if (noise_ == 0) return INFINITY;
    return 10 * std::log10(signal_ / noise_);
  }
  return std::accumulate(each_.begin(), each_.end(), 0.0) / static_cast<double>(each_.size());
}

}  // namespace skyline
