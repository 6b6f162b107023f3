#pragma once
// Models whose outputs are inputs of their next run: decoders with caches of keys and values, recurrent nets.
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "skyline/session.h"

namespace skyline {

// An output of one run that is an input of the next, by their names.
struct Carry {
  std::string output, input;
};
// The pairs that names tell of: present* and past* ("present.0.key", "past_key_values.0.key"), and outputs
// named as an input followed by "N", "_out" or "_next", or that input with "_in" before "_out".
std::vector<Carry> find_carries(const Session& session);

// Runs a session again and again and keeps what is carried. An input grows along an axis whose declared dim
// has a name that neither its output nor an input that is not carried has; else it keeps its size. A growing
// state lies in a cache of `capacity` rows along that axis, into which new rows are written where the graph
// lengthens it by Concat and reads it by attention; nothing else of it is touched. Graphs that do more with
// it are run with copies, to the same results.
//
// For one thread at a time; shares the session's weights and plans with others.
class Recurrence {
 public:
  // States start as zeros, growing ones with no rows; other dims that the model leaves open are 1.
  // Error{invalid} for a name that is no input or output, dtypes that differ, or two axes that could grow.
  // Error{limit} if a cache would be above the session's limit.
  Recurrence(const Session& session, std::vector<Carry> carries, int64_t capacity);
  ~Recurrence();
  Recurrence(Recurrence&&) noexcept;
  Recurrence& operator=(Recurrence&&) noexcept;

  // The inputs and outputs that are not carried, in the session's order.
  const std::vector<ValueDescription>& inputs() const;
  const std::vector<ValueDescription>& outputs() const;

  // One step. Error{input} as Session::run; Error{limit} if the caches have no room for the new rows (the
  // states are then as before).
  std::vector<Value> run(std::span<const Value> inputs);

  // Rows in the growing states; all have as many. 0 if none grows.
  int64_t length() const;
  // Forgets the rows from `length` on (which is at most length()): a prompt that is used again, a guess that
  // was wrong. States that do not grow stay as they are.
  void truncate(int64_t length);
  // A contiguous copy.
  Tensor state(size_t carry) const;
  // All of them, copied, in the order of the carries. Error{input} unless dtypes and dims are as declared and
  // the growing ones have equally many rows, at most `capacity`.
  void set_states(std::span<const Tensor> states);

  // How the last run treated growing states: written in place, or copied. And how many plans have been made.
  bool in_place() const;
  size_t plans() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace skyline
