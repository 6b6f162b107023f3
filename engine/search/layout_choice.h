#pragma once
// In which layout single nodes should be computed, where that is faster here than what the layout model says.
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "engine/optimize/cost_table.h"
#include "engine/optimize/layout.h"
#include "engine/search/variants.h"

namespace skyline {

// What SessionOptions::node_layouts should say of the f32 plan. Candidates are the nodes that the model of
// layouts and costs measured here (MeasuredLayoutCosts) put into different forms; those that touch each other
// change together. Each such group is raced as a whole session against the plan as it is, and stays only if
// it was faster in every turn. Nothing where the session's policy is not `modelled`. table, stop and progress
// as for choose_kernels.
std::map<std::string, std::string> choose_node_layouts(
    const Variants& variants, const std::vector<Value>& inputs, CostTable* table,
    const std::function<bool()>& stop, const std::function<void(const std::string&)>& progress);

// The groups that choose_node_layouts() races: forms by node, of two assignments of the same graph the second
// where it differs. `known` says whether a node can be wished by its name.
std::vector<std::map<std::string, std::string>> differing_groups(
    const Graph& g, const LayoutAssignment& model, const LayoutAssignment& other,
    const std::function<bool(const std::string&)>& known);

}  // namespace skyline
