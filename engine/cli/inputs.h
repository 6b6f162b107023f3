#pragma once
// Getting values for a model's inputs: from files, from test data, or made up.
#include <cstdint>
#include <string>
#include <vector>

#include "engine/data/values.h"
#include "skyline/skyline.h"

namespace skyline::cli {

using data::read_data_set;
using data::read_value;

// Values of the right types and shapes: uniform [0, 1) floats, small integers; unknown dims become `batch`
// for the first axis and 1 elsewhere, unless `dims` ("name=3") says otherwise.
std::vector<Value> make_inputs(const std::vector<ValueDescription>& ports, int64_t batch, uint64_t seed,
                               const std::map<std::string, int64_t>& dims);

// Of flags "NAME=N" with N >= 1; another one is a mistake of usage.
std::map<std::string, int64_t> read_dims(const std::vector<std::string>& texts);

// The rows of the first axis repeated, or cut, to `batch` where the model leaves it open. Error{input} if it
// does not.
std::vector<Value> with_batch(std::vector<Value> inputs, const std::vector<ValueDescription>& ports,
                              int64_t batch);

// How two values differ. pass: |got - want| <= atol + rtol |want| for every element (equal for text and
// booleans, NaN equals NaN); dtypes and shapes must agree.
struct Difference {
  bool pass = true;
  double max_abs = 0, max_rel = 0;
  int64_t outside = 0;  // elements beyond the tolerance
  std::string reason;   // when not pass
};
Difference compare(const Value& got, const Value& want, double rtol, double atol);

}  // namespace skyline::cli
