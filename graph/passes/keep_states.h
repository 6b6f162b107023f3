#pragma once
// States that grow in place: caches of attention that a model takes as inputs and gives back longer.
#include <optional>
#include <span>

#include "skyline/graph.h"

namespace skyline::passes {

// Output `output` of a graph is input `input` with rows more along `axis`.
struct GrowingState {
  size_t input = 0, output = 0;
  int axis = 0;
};

// On a graph with static shapes, after the final passes: inputs become caches of `capacity` rows,
// skyline.Append takes the place of the Concats that lengthen them, attention reads the caches where they
// are, and the outputs of the states go. One input of one i64 is added: the rows held. Capacity is at least
// that of the outputs. free: the outputs of the states have `capacity` rows, and attention counts only those
// in use. False, and the graph is as it was, where a state is read or made by anything else.
bool keep_states(Graph& g, std::span<const GrowingState> states, int64_t capacity, bool free);

// Whether nothing but attention over the states depends on how long they are: on a graph whose inputs are
// static but for the states' axes, with facts inferred. One plan then serves all lengths.
bool free_of_length(const Graph& g, std::span<const GrowingState> states);

}  // namespace skyline::passes
