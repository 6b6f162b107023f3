#pragma once
// Which rung of the precision ladder a node computes on: the attribute "precision" of contractions of floats,
// which passes carry along. Absent means f32. The rung is a permission: a kernel may compute more exactly.
#include <map>
#include <string>

#include "skyline/graph.h"
#include "skyline/precision.h"

namespace skyline {

Precision precision_of(const Node& node);

// Fused contractions on a rung may take activations (the first input and the residual) in fewer bits than
// their weights have, and write their result so: the attribute "store" names its dtype.
// The dtype of the result, where weights are of dtype `weights`.
DType stored_as(const Node& node, DType weights);
void store_as(Node& node, DType t);
bool takes_mixed_types(const Node& node);

// Conv, ConvTranspose, Gemm, MatMul and their fused forms.
bool has_precision(const Node& node);
bool is_contraction(std::string_view op);  // by name

// Gives every contraction, bodies included, the rung `all` (model: leaves it as it is), and those named in
// `nodes` theirs. Error{invalid} naming a node of `nodes` that is not there or is no contraction.
void assign_precision(Graph& g, Precision all, const std::map<std::string, Precision>& nodes = {});

// Which kernel a contraction should run on, as SessionOptions::node_kernels says it; "" for the default. A
// wish, carried along by passes as the rung is; one that has any is computed apart from its neighbours
// (outside of strips).
std::string wanted_kernel(const Node& node);
// Error{invalid} naming a node of `nodes` that is not there or is no contraction.
void assign_kernels(Graph& g, const std::map<std::string, std::string>& nodes);

// In which form any node should be computed, as SessionOptions::node_layouts says it; "" for the default. A
// wish, carried along by passes that keep a node's attributes.
std::string wanted_layout(const Node& node);
// Error{invalid} naming a node of `nodes` that is not there.
void assign_wanted_layouts(Graph& g, const std::map<std::string, std::string>& nodes);

}  // namespace skyline
