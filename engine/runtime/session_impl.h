#pragma once
// What a Session is made of, for those who run it in other ways.
#include "engine/runtime/executable.h"

namespace skyline {

struct Session::Impl {
  mutable SessionState state;
  std::vector<ValueDescription> inputs, outputs;
  std::unique_ptr<Executable> executable;

  // Error{input} for what the model does not declare so.
  void check(std::span<const Value> in) const;
  void check(size_t i, const Value& v) const;
  void describe();  // inputs and outputs, once the executable is there
};

}  // namespace skyline
