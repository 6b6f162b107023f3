#pragma once
// What each product on each rung does to the model's outputs, alone.
#include <functional>
#include <vector>

#include "engine/search/variants.h"

namespace skyline {

// [product][rung]: mean over the examples of (squared error of all outputs) / (their squares) against f32,
// with that one product on the rung; infinite where it cannot be. Of the rungs by rounding to bf16 or f16 one
// is measured and the others follow from their bits: errors are that much smaller, their squares twice as
// many bits. Stops early when `stop` says so: what is then missing is the median of the others. examples:
// inputs in the order of the model's.
std::vector<std::vector<double>> measure_noise(
    const Variants& variants, const std::vector<Precision>& rungs,
    const std::vector<std::vector<Value>>& examples, const std::function<bool()>& stop,
    const std::function<void(size_t done, size_t total)>& progress);

}  // namespace skyline
