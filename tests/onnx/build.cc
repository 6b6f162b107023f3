#include "build.h"

#include "graph/ir/interpret.h"

namespace test {

std::vector<skyline::Value> run(const ModelProto& m, const std::vector<skyline::Value>& inputs) {
  return skyline::interpret(parse(m).graph(), inputs);
}

std::vector<float> run_floats(const ModelProto& m, const std::vector<skyline::Value>& inputs) {
  const auto out = run(m, inputs);
  const auto span = out.at(0).tensor().span<float>();
  return {span.begin(), span.end()};
}

}  // namespace test
