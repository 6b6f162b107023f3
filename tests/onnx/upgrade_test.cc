// Old forms of operators give what they gave: numbers worked out by hand from the old definitions.
#include <cmath>

#include "build.h"
#include "graph/ir/op.h"

using namespace test;
using skyline::Tensor;
using skyline::Value;

namespace {

struct Case {
  ModelProto model;
  explicit Case(int64_t opset) : model(empty_model(opset)) {}
  GraphProto& g() { return *model.mutable_graph(); }
  NodeProto& op(const std::string& name, std::initializer_list<std::string> in) {
    NodeProto& n = node(g(), name, in, {"y"});
    output(g(), "y");
    return n;
  }
  std::vector<float> run(const Tensor& x) { return run_floats(model, {Value(x)}); }
};

Tensor tensor(skyline::Dims dims, const std::vector<float>& v) {
  return Tensor::of<float>(std::move(dims), v);
}

}  // namespace

TEST_CASE("broadcasting at an axis, before opset 7") {
  Case c(6);
  input(c.g(), "x", {2, 2, 2});
  floats(c.g(), "b", {2}, {10, 20});
  NodeProto& n = c.op("Add", {"x", "b"});
  set_int(n, "broadcast", 1);
  set_int(n, "axis", 1);
  CHECK(c.run(tensor({2, 2, 2}, {1, 2, 3, 4, 5, 6, 7, 8})) ==
        std::vector<float>{11, 12, 23, 24, 15, 16, 27, 28});
}

TEST_CASE("bounds, pads, slices, axes and counts as attributes") {
  Case clip(6);
  input(clip.g(), "x", {3});
  set_float(clip.op("Clip", {"x"}), "max", 1);
  CHECK(clip.run(tensor({3}, {-5, 0, 5})) == std::vector<float>{-5, 0, 1});

  Case pad(2);
  input(pad.g(), "x", {2});
  NodeProto& p = pad.op("Pad", {"x"});
  set_ints(p, "pads", {1, 2});
  set_float(p, "value", 9);
  CHECK(pad.run(tensor({2}, {1, 2})) == std::vector<float>{9, 1, 2, 9, 9});

  Case slice(9);
  input(slice.g(), "x", {4});
  NodeProto& s = slice.op("Slice", {"x"});
  set_ints(s, "starts", {1});
  set_ints(s, "ends", {-1});
  CHECK(slice.run(tensor({4}, {1, 2, 3, 4})) == std::vector<float>{2, 3});

  Case reduce(11);
  input(reduce.g(), "x", {2, 2});
  set_ints(reduce.op("ReduceSum", {"x"}), "axes", {0});
  CHECK(reduce.run(tensor({2, 2}, {1, 2, 3, 4})) == std::vector<float>{4, 6});

  Case squeeze(11);
  input(squeeze.g(), "x", {1, 2});
  set_ints(squeeze.op("Squeeze", {"x"}), "axes", {0});
  CHECK(squeeze.run(tensor({1, 2}, {1, 2})) == std::vector<float>{1, 2});

  Case top(9);
  input(top.g(), "x", {3});
  NodeProto& t = top.op("TopK", {"x"});
  t.add_output("i");
  set_int(t, "k", 2);
  CHECK(top.run(tensor({3}, {1, 3, 2})) == std::vector<float>{3, 2});

  Case split(11);
  input(split.g(), "x", {4});
  NodeProto& sp = split.op("Split", {"x"});
  sp.add_output("z");
  set_ints(sp, "split", {1, 3});
  CHECK(split.run(tensor({4}, {1, 2, 3, 4})) == std::vector<float>{1});

  Case halves(17);  // without sizes: as many parts as outputs
  input(halves.g(), "x", {4});
  halves.op("Split", {"x"}).add_output("z");
  CHECK(halves.run(tensor({4}, {1, 2, 3, 4})) == std::vector<float>{1, 2});

  Case reshape(1);
  input(reshape.g(), "x", {4});
  set_ints(reshape.op("Reshape", {"x"}), "shape", {2, -1});
  CHECK(reshape.run(tensor({4}, {1, 2, 3, 4})).size() == 4);
}

TEST_CASE("softmax over a matrix, before opset 13") {
  Case c(11);
  input(c.g(), "x", {1, 2, 2});
  c.op("Softmax", {"x"});  // axis 1: over all four
  const auto y = c.run(tensor({1, 2, 2}, {0, 0, 0, 0}));
  for (float v : y) CHECK(v == doctest::Approx(0.25));

  Case last(11);
  input(last.g(), "x", {2, 2});
  last.op("Softmax", {"x"});
  CHECK(parse(last.model).graph().node_count() == 1);  // here both forms agree: nothing is added
}

TEST_CASE("casts by name, dropout, batch normalisation") {
  Case cast(1);
  input(cast.g(), "x", {1}, DType::i64);
  set_text(cast.op("Cast", {"x"}), "to", "FLOAT");
  CHECK(cast.run(Tensor::vector({7})) == std::vector<float>{7});
  cast.g().mutable_node(0)->mutable_attribute(0)->set_s("FLOAT99");
  CHECK(code_of(cast.model) == Code::invalid);

  Case dropout(6);
  input(dropout.g(), "x", {2});
  NodeProto& d = dropout.op("Dropout", {"x"});
  set_float(d, "ratio", 0.9f);
  set_int(d, "is_test", 1);
  CHECK(dropout.run(tensor({2}, {1, 2})) == std::vector<float>{1, 2});

  Case norm(7);
  input(norm.g(), "x", {1, 1});
  for (const char* name : {"scale", "var"}) floats(norm.g(), name, {1}, {1});
  for (const char* name : {"bias", "mean"}) floats(norm.g(), name, {1}, {0});
  NodeProto& n = norm.op("BatchNormalization", {"x", "scale", "bias", "mean", "var"});
  set_int(n, "spatial", 1);
  set_float(n, "epsilon", 0);
  CHECK(norm.run(tensor({1, 1}, {3})) == std::vector<float>{3});
  n.mutable_attribute(0)->set_i(0);
  CHECK(code_of(norm.model) == Code::unsupported);
}

TEST_CASE("group normalisation with a scale per group") {
  if (!skyline::find_op("", "GroupNormalization")) return;
  Case c(18);
  input(c.g(), "x", {1, 4, 1});
  floats(c.g(), "scale", {2}, {1, 10});
  floats(c.g(), "bias", {2}, {0, 100});
  NodeProto& n = c.op("GroupNormalization", {"x", "scale", "bias"});
  set_int(n, "num_groups", 2);
  set_float(n, "epsilon", 0);
  const auto y = c.run(tensor({1, 4, 1}, {0, 2, 5, 7}));
  const float want[] = {-1, 1, 90, 110};
  for (size_t i = 0; i < 4; ++i) CHECK(y[i] == doctest::Approx(want[i]));
}

TEST_CASE("upsampling") {
  if (!skyline::find_op("", "Resize")) return;
  Case up(7);
  input(up.g(), "x", {1, 1, 1, 2});
  NodeProto& n = up.op("Upsample", {"x"});
  set_floats(n, "scales", {1, 1, 1, 2});
  CHECK(up.run(tensor({1, 1, 1, 2}, {1, 2})) == std::vector<float>{1, 1, 2, 2});

  Case down(10);
  input(down.g(), "x", {1, 1, 1, 4});
  floats(down.g(), "s", {4}, {1, 1, 1, 0.6f});
  down.op("Resize", {"x", "s"});
  CHECK(down.run(tensor({1, 1, 1, 4}, {1, 2, 3, 4})) == std::vector<float>{1, 3});
}

TEST_CASE("scan with a batch axis, of opset 8") {
  if (!skyline::find_op("", "Scan")) return;
  Case c(8);
  input(c.g(), "x", {2, 3, 1});
  floats(c.g(), "zero", {2, 1}, {0, 100});
  NodeProto& n = node(c.g(), "Scan", {"", "zero", "x"}, {"last", "y"});
  set_int(n, "num_scan_inputs", 1);
  GraphProto& body = set_graph(n, "body");
  input(body, "sum", {1});
  input(body, "item", {1});
  node(body, "Add", {"sum", "item"}, {"next"});
  node(body, "Identity", {"next"}, {"copy"});
  output(body, "next");
  output(body, "copy");
  output(c.g(), "y");
  CHECK(c.run(tensor({2, 3, 1}, {1, 2, 3, 1, 2, 3})) == std::vector<float>{1, 3, 6, 101, 103, 106});
}

TEST_CASE("a constant fill of opset 1") {
  Case c(1);
  NodeProto& n = c.op("ConstantFill", {});
  set_ints(n, "shape", {2});
  set_float(n, "value", 3);
  CHECK(run_floats(c.model, {}) == std::vector<float>{3, 3});
}
