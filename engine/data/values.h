#pragma once
// Values in files.
#include <string>
#include <vector>

#include "skyline/session.h"

namespace skyline::data {

// A .npy or .pb file. `type` is what the model declares (a .pb sequence does not say what it is).
Value read_value(const std::string& path, const Fact& type);

// The files input_0.pb, input_1.pb, ... (or output_) of a test_data_set folder, in order; empty optionals
// allowed.
std::vector<Value> read_data_set(const std::string& folder, const std::string& stem,
                                 const std::vector<ValueDescription>& ports);

}  // namespace skyline::data
