#include "engine/search/noise.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "engine/search/evaluate.h"

namespace skyline {
namespace {

constexpr double kUnknown = -1, kNever = std::numeric_limits<double>::infinity();

// Bits that a factor keeps.
int bits_of(Precision p) {
  switch (p) {
    case Precision::bf16:
      return 8;
    case Precision::f16:
      return 11;
    case Precision::bf16x3:
      return 16;
    case Precision::bf16x6:
      return 24;
    default:
      return 0;
  }
}

// Of rungs that round to so many bits the coarsest is measured: its error stands out most.
bool is_measured(const std::vector<Precision>& rungs, size_t r) {
  if (rungs[r] == Precision::int8) return true;
  if (bits_of(rungs[r]) == 0) return false;
  return std::none_of(rungs.begin(), rungs.end(),
                      [&](Precision p) { return bits_of(p) > 0 && bits_of(p) < bits_of(rungs[r]); });
}

class Table {
 public:
  Table(const Variants& variants, const std::vector<Precision>& rungs,
        const std::vector<std::vector<Value>>& examples)
      : variants_(variants), rungs_(rungs), examples_(examples) {
    const size_t n = variants.flow().products.size();
    noise_.assign(n, std::vector<double>(rungs.size(), kUnknown));
    const Session f32 = variants.session(std::vector<Precision>(n, Precision::f32));
    for (const auto& x : examples) reference_.push_back(f32.run(x));
    for (size_t i = 0; i < n; ++i) {
      for (size_t r = 0; r < rungs.size(); ++r) {
        if (rungs[r] == Precision::f32) noise_[i][r] = 0;
        if (!variants.can(i, rungs[r])) noise_[i][r] = kNever;
      }
    }
  }

  bool wanted(size_t i, size_t r) const { return noise_[i][r] == kUnknown && is_measured(rungs_, r); }

  void measure(size_t i, size_t r) {
    std::vector<Precision> one(noise_.size(), Precision::f32);
    one[i] = rungs_[r];
    const Session session = variants_.session(one);
    double sum = 0;
    for (size_t e = 0; e < examples_.size(); ++e) {
      double noise = 0, signal = 0;
      add_noise(session.run(examples_[e]), reference_[e], noise, signal);
      sum += signal > 0 ? noise / signal : 0;
    }
    noise_[i][r] = sum / static_cast<double>(examples_.size());
  }

  std::vector<std::vector<double>> finish() {
    for (size_t r = 0; r < rungs_.size(); ++r) {
      if (is_measured(rungs_, r)) fill(r);
    }
    for (size_t r = 0; r < rungs_.size(); ++r) {
      for (size_t from = 0; from < rungs_.size(); ++from) {
        if (bits_of(rungs_[from]) == 0 || !is_measured(rungs_, from)) continue;
        const double smaller = std::ldexp(1.0, 2 * (bits_of(rungs_[from]) - bits_of(rungs_[r])));
        for (auto& row : noise_) {
          if (row[r] == kUnknown) row[r] = row[from] * smaller;
        }
      }
    }
    return std::move(noise_);
  }

 private:
  // What was not measured: the median of what was.
  void fill(size_t r) {
    std::vector<double> known;
    for (const auto& row : noise_) {
      if (row[r] >= 0 && std::isfinite(row[r])) known.push_back(row[r]);
    }
    std::sort(known.begin(), known.end());
    const double middle = known.empty() ? 1e-3 : known[known.size() / 2];
    for (auto& row : noise_) {
      if (row[r] == kUnknown) row[r] = middle;
    }
  }

  const Variants& variants_;
  const std::vector<Precision>& rungs_;
  const std::vector<std::vector<Value>>& examples_;
  std::vector<std::vector<Value>> reference_;
  std::vector<std::vector<double>> noise_;
};

}  // namespace

std::vector<std::vector<double>> measure_noise(
    const Variants& variants, const std::vector<Precision>& rungs,
    const std::vector<std::vector<Value>>& examples, const std::function<bool()>& stop,
    const std::function<void(size_t done, size_t total)>& progress) {
  Table table(variants, rungs, examples);
  const auto& products = variants.flow().products;
  // Those with most work first: they matter most if there is no time for all.
  std::vector<size_t> order(products.size());
  for (size_t i = 0; i < order.size(); ++i) order[i] = i;
  std::stable_sort(order.begin(), order.end(),
                   [&](size_t a, size_t b) { return products[a].flops > products[b].flops; });
  for (size_t k = 0; k < order.size() && !(stop && stop()); ++k) {
    for (size_t r = 0; r < rungs.size(); ++r) {
      if (table.wanted(order[k], r)) table.measure(order[k], r);
    }
    if (progress) progress(k + 1, order.size());
  }
  return table.finish();
}

}  // namespace skyline
