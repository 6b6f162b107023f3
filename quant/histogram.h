#pragma once
// What is remembered of an activation: bounded memory, whatever streams through.
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "skyline/quant.h"

namespace skyline::quant {

// Counts over [-limit, limit], where limit is a power of two that doubles when a value lies beyond. The
// extremes are those of all values; the counts are of an evenly spaced sample of each tensor.
class Histogram {
 public:
  static constexpr int kBins = 4096;  // 2048 a side: eight to each of 256 steps when all of a side is used
  // Values per tensor that are counted; with more, each stands for several. On a MobileNetV2 counting all of
  // them takes as long as the run.
  static constexpr int64_t kSample = 1 << 14;

  // False if a value is not finite; it is then not taken. extremes_only: nothing is counted.
  bool add(std::span<const float> x, bool extremes_only = false);
  void merge(const Histogram& other);

  bool empty() const { return counts_.empty(); }
  double min() const { return min_; }  // 0 if empty
  double max() const { return max_; }
  double limit() const { return limit_; }
  double total() const { return total_; }  // values counted, zeros included
  double zeros() const { return zeros_; }  // exact zeros, which every scheme represents; not in counts()
  const std::vector<double>& counts() const { return counts_; }
  double width() const { return 2 * limit_ / kBins; }
  double centre(int bin) const { return -limit_ + (bin + 0.5) * width(); }

 private:
  void grow(double magnitude);

  double min_ = 0, max_ = 0, limit_ = 0, total_ = 0, zeros_ = 0;
  std::vector<double> counts_;
};

// The interval to represent, 0 included, by a method. `levels`: how many integers it is cut into, less one.
std::pair<double, double> range_of(const Histogram& h, Method method, double percentile, int levels = 255);

// An affine map of reals to integers: x = scale * (q - zero).
struct Scheme {
  float scale = 1;
  int32_t zero = 0;
};
// u8 that covers [low, high] and represents 0 exactly. An empty interval gives scale 1.
Scheme asymmetric_u8(double low, double high);

}  // namespace skyline::quant
