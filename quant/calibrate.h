#pragma once
// Streams examples through a graph and remembers what its values look like.
#include <vector>

#include "quant/histogram.h"
#include "skyline/quant.h"

namespace skyline::quant {

// What to remember of a value besides its histogram.
struct Watch {
  ValueId value = kNoValue;
  bool channels = false;  // also means and magnitudes per channel: axis 1 of four or more, else the last
  bool counts = true;     // not only the extremes
};

struct Observation {
  Histogram histogram;
  std::vector<double> sum, magnitude;  // per channel: of the elements; the largest |x|
  double per_channel = 0;              // elements that went into each sum
  double mean(size_t channel) const { return per_channel > 0 ? sum[channel] / per_channel : 0; }
};

// One observation per watch. Error{input} without examples, Error{invalid} naming the value and its node when
// a result is not finite.
std::vector<Observation> observe(const Graph& g, const std::vector<Watch>& watches, const Examples& examples,
                                 const MakeRunner& make_runner,
                                 const std::function<void(int64_t, int64_t)>& progress);

// A copy of g with these values as outputs behind its own.
Graph with_outputs(const Graph& g, const std::vector<ValueId>& values);

}  // namespace skyline::quant
