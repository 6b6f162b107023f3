#pragma once
// Bodies: closed graphs held as attributes. What a body uses of the outer graph is passed as extra trailing
// inputs of the node and, in the same order, of every body; the attribute `captures` says how many.
#include <span>
#include <vector>

#include "graph/ir/op.h"

namespace skyline::ops {

// The facts of a body's outputs when its inputs have the given facts (and constants, where not null; the span
// may be empty). The body itself is not changed. Symbols do not cross: they belong to one graph.
// Error{invalid} if the number of inputs is wrong or a fact contradicts what the body declares.
std::vector<Fact> infer_body(const Graph& body, std::span<const Fact> in,
                             std::span<const Tensor* const> constants);

// A loop body: its first `states` outputs from `first_output` on feed the inputs from `first_state` on. Finds
// facts that hold in every round, writes them into `in`, and returns the facts of the outputs under them.
std::vector<Fact> infer_rounds(const Graph& body, std::vector<Fact>& in,
                               std::span<const Tensor* const> constants, size_t first_state,
                               size_t first_output, size_t states);

// The node's attribute `captures`; Error{invalid} unless 0 <= captures <= inputs - fixed.
size_t capture_count(const Node& node, size_t fixed);
// Error{invalid} unless the body has that many inputs and outputs.
void require_body(const Graph& body, size_t inputs, size_t outputs);

Fact fact_of(const Value& v);
bool scalar_bool(const Tensor& t, std::string_view what);

}  // namespace skyline::ops
