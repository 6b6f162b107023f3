#pragma once
// States that grow in place: caches of attention that a model takes as inputs and gives back longer.
#include <optional>
#include <span>
#include <vector>

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
// that of the outputs. False, and the graph is as it was, where a state is read or made by anything else.
bool keep_states(Graph& g, std::span<const GrowingState> states, int64_t capacity);
// The same for all lengths, on a graph for which the states' outputs have `capacity` rows: attention counts
// only the keys in use. `masks` are inputs whose last axis is the keys; nothing but attention may read them.
bool keep_states_of_any_length(Graph& g, std::span<const GrowingState> states, int64_t capacity,
                               std::span<const size_t> masks);

// A graph without what follows from constants and from the lengths of states alone (positions, their rows of
// tables, masks): these become inputs behind its own.
struct LengthSplit {
  Graph body;
  Graph values;  // inputs as before the split, of which only the states' dims matter; outputs: the new inputs
};
LengthSplit split_lengths(const Graph& g, std::span<const GrowingState> states);

// Whether nothing but what becomes attention over states and masks depends on how long they are: on a graph
// whose inputs are static but for those axes, with facts inferred. Then keep_states_of_any_length is right
// for all lengths if it succeeds for one.
bool free_of_length(const Graph& g, std::span<const GrowingState> states);

}  // namespace skyline::passes
