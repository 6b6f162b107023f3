#pragma once
// Which kernel each product should run on, where lowering's own choice is not the fastest here.
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "engine/optimize/cost_table.h"
#include "engine/search/variants.h"

namespace skyline {

// Names that SessionOptions::node_kernels may give products of f32: convolutions' algorithms, the rows of op
// "gemm" of the widest ISA that is there, the user's rows, and "apart".
std::vector<std::string> kernel_alternatives(const SessionOptions& options);

// Each product's fastest kernel by name, without those for which the default is as fast as any to within what
// noise could feign. Every alternative is timed in a session of its own, in turn with the default one.
// Stops early when `stop` says so. Times known to the table (null: none) are not measured again.
std::map<std::string, std::string> choose_kernels(const Variants& variants, const std::vector<Value>& inputs,
                                                  CostTable* table, const std::function<bool()>& stop,
                                                  const std::function<void(const std::string&)>& progress);

}  // namespace skyline
