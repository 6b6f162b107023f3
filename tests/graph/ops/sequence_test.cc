#include <doctest/doctest.h>

#include "graph/ir/infer.h"
#include "graph/ir/interpret.h"

using namespace skyline;

namespace {

// The first output of one operator on any values.
Value run(std::string_view name, const std::vector<Value>& in, const Attrs& attrs = {}) {
  Graph g;
  std::vector<ValueId> ids;
  for (size_t i = 0; i < in.size(); ++i) ids.push_back(g.add_value("x" + std::to_string(i)));
  const ValueId out = g.add_value("y");
  const NodeId n = g.add_node(op(name), "tested", ids, {out}, attrs);
  return evaluate_node(g.node(n), in, {})[0];
}

Value numbers(const std::vector<float>& v) {
  std::vector<Value> items;
  for (float x : v) items.emplace_back(Tensor::scalar(x));
  return Value::sequence(std::move(items), DType::f32);
}

std::vector<float> read(const Value& v) {
  std::vector<float> out;
  for (const Value& item : v.items()) out.push_back(item.tensor().data<float>()[0]);
  return out;
}

Value at(int64_t i) {
  return Tensor::scalar(i);
}

}  // namespace

TEST_CASE("Sequences: insert, erase, at") {
  const Value s = numbers({1, 2, 3});
  CHECK(read(run("SequenceInsert", {s, Tensor::scalar(9.0f)})) == std::vector<float>{1, 2, 3, 9});
  CHECK(read(run("SequenceInsert", {s, Tensor::scalar(9.0f), at(-3)})) == std::vector<float>{9, 1, 2, 3});
  CHECK(read(run("SequenceErase", {s})) == std::vector<float>{1, 2});
  CHECK(run("SequenceAt", {s, at(-1)}).tensor().data<float>()[0] == 3);
  CHECK(run("SequenceLength", {numbers({})}).tensor().data<int64_t>()[0] == 0);
  CHECK_THROWS_AS(run("SequenceAt", {s, at(3)}), Error);
  CHECK_THROWS_AS(run("SequenceErase", {s, at(-4)}), Error);
  CHECK_THROWS_AS(run("SequenceErase", {numbers({})}), Error);
  CHECK_THROWS_AS(run("SequenceInsert", {s, Tensor::scalar(9.0f), at(4)}), Error);
  CHECK_THROWS_AS(run("SequenceInsert", {s, Tensor::scalar<int64_t>(9)}), Error);
  CHECK_THROWS_AS(run("SequenceAt", {Tensor::scalar(1.0f), at(0)}), Error);
}

TEST_CASE("ConcatFromSequence undoes SplitToSequence") {
  const Tensor x = Tensor::of<float>({5}, {1, 2, 3, 4, 5});
  const Value parts = run("SplitToSequence", {x, at(2)});
  CHECK(parts.items().size() == 3);
  const Tensor back = run("ConcatFromSequence", {parts}, {{"axis", int64_t{0}}}).tensor();
  CHECK(back.dims() == x.dims());
  const Value ones = run("SplitToSequence", {x}, {{"keepdims", int64_t{0}}});
  CHECK(read(ones) == std::vector<float>{1, 2, 3, 4, 5});
  CHECK(run("ConcatFromSequence", {ones}, {{"axis", int64_t{0}}, {"new_axis", int64_t{1}}}).tensor().dims() ==
        x.dims());
  CHECK_THROWS_AS(run("SplitToSequence", {x, at(0)}), Error);
  CHECK_THROWS_AS(run("SplitToSequence", {x, Tensor::vector({2, 2})}), Error);
  CHECK_THROWS_AS(run("ConcatFromSequence", {numbers({})}, {{"axis", int64_t{0}}}), Error);
}

TEST_CASE("SequenceMap: sequences by element, captures as they are") {
  auto body = std::make_shared<Graph>();
  std::vector<ValueId> in;
  for (const char* name : {"item", "other", "captured"})
    in.push_back(body->add_input(name, Fact(DType::f32, {})));
  const ValueId sum = body->add_value("sum"), out = body->add_value("out");
  body->add_node(op("Add"), "a", {in[0], in[1]}, {sum});
  body->add_node(op("Mul"), "m", {sum, in[2]}, {out});
  body->add_output(out, "out");
  infer_graph(*body);
  const Attrs attrs{{"body", GraphPtr(body)}, {"captures", int64_t{1}}};
  CHECK(read(run("SequenceMap", {numbers({1, 2}), numbers({10, 20}), Tensor::scalar(2.0f)}, attrs)) ==
        std::vector<float>{22, 44});
  CHECK_THROWS_AS(run("SequenceMap", {numbers({1, 2}), numbers({10}), Tensor::scalar(2.0f)}, attrs), Error);
  CHECK_THROWS_AS(run("SequenceMap", {numbers({1, 2})}, attrs), Error);
}

TEST_CASE("Optionals") {
  CHECK_FALSE(run("OptionalHasElement", {Value()}).tensor().data<bool>()[0]);
  CHECK(run("OptionalHasElement", {numbers({})}).tensor().data<bool>()[0]);
  CHECK(run("Optional", {}).is_none());
  CHECK(read(run("OptionalGetElement", {numbers({4})})) == std::vector<float>{4});
  CHECK_THROWS_AS(run("OptionalGetElement", {Value()}), Error);
}
