#pragma once
// Everything in a model that this build cannot run, gathered so that the user sees all of it at once.
#include <string>
#include <string_view>
#include <vector>

#include "skyline/status.h"

namespace skyline::onnx {

class Refusals {
 public:
  struct Item {
    std::string op, domain;
    int64_t opset = 0;
    std::string node;  // its name, or its position
    std::string why;   // "no such operator", "dtype c64", ...
  };
  void add(Item item) { items_.push_back(std::move(item)); }
  bool empty() const { return items_.empty(); }
  // Equal reasons are listed once, with their nodes.
  Error error() const;

 private:
  std::vector<Item> items_;
};

// "; did you mean ...": the nearest operator that there is, or nothing if none is near.
std::string nearest_operator(std::string_view domain, std::string_view op);

}  // namespace skyline::onnx
