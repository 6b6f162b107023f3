#include <filesystem>
#include <fstream>
#include <sstream>

#include "build.h"
#include "graph/ir/infer.h"
#include "graph/ir/interpret.h"
#include "graph/ir/op.h"

using namespace test;
using skyline::Graph;
using skyline::Tensor;
using skyline::Value;

namespace {

// The model again, through the exporter.
Model round_trip(const Model& m) {
  return parse(skyline::serialize_onnx(m.graph(), m.info()));
}

std::vector<float> outputs(const Model& m, const std::vector<Value>& in) {
  std::vector<float> all;
  for (const Value& v : skyline::interpret(m.graph(), in)) {
    const auto span = v.tensor().span<float>();
    all.insert(all.end(), span.begin(), span.end());
  }
  return all;
}

Value pair(float a, float b) {
  return Tensor::of<float>({2}, {a, b});
}

}  // namespace

TEST_CASE("what is exported imports as the same") {
  ModelProto p = empty_model(9);
  GraphProto& g = *p.mutable_graph();
  input(g, "x", {2});
  floats(g, "w", {2}, {3, 4});
  node(g, "Add", {"x", "w"}, {"s"}, "sum");
  NodeProto& clip = node(g, "Clip", {"s"}, {"y"});
  set_float(clip, "max", 5);
  output(g, "y");
  output(g, "x");  // an input that is also an output
  const Model m = parse(p), again = round_trip(m);
  CHECK(again.inputs()[0].name == "x");
  CHECK(again.outputs()[0].name == "y");
  CHECK(again.graph().outputs().size() == 2);
  CHECK(outputs(again, {pair(1, 2)}) == outputs(m, {pair(1, 2)}));
  CHECK(outputs(again, {pair(1, 2)}) == std::vector<float>{4, 5, 1, 2});
}

TEST_CASE("bodies use the names around them again") {
  if (!skyline::find_op("", "If")) return;
  ModelProto p = empty_model();
  GraphProto& g = *p.mutable_graph();
  input(g, "c", {}, DType::boolean);
  input(g, "x", {2});
  node(g, "Neg", {"x"}, {"n"});
  NodeProto& branch = node(g, "If", {"c"}, {"y"});
  GraphProto& yes = set_graph(branch, "then_branch");
  node(yes, "Add", {"x", "n"}, {"r"});
  output(yes, "r");
  GraphProto& no = set_graph(branch, "else_branch");
  node(no, "Abs", {"n"}, {"r"});
  output(no, "r");
  output(g, "y");
  const Model m = parse(p), again = round_trip(m);
  const auto flag = [](bool v) {
    Tensor t = Tensor::zeros(DType::boolean, {});
    *static_cast<uint8_t*>(t.mutable_raw()) = v;
    return Value(t);
  };
  CHECK(outputs(m, {flag(true), pair(1, -2)}) == std::vector<float>{0, 0});
  CHECK(outputs(again, {flag(true), pair(1, -2)}) == std::vector<float>{0, 0});
  CHECK(outputs(again, {flag(false), pair(1, -2)}) == std::vector<float>{1, 2});
}

TEST_CASE("symbolic dims and metadata survive") {
  ModelProto p = empty_model();
  GraphProto& g = *p.mutable_graph();
  input(g, "x", {2});
  g.mutable_input(0)->mutable_type()->mutable_tensor_type()->mutable_shape()->add_dim()->set_dim_param(
      "batch");
  node(g, "Relu", {"x"}, {"y"});
  output(g, "y");
  auto& meta = *p.add_metadata_props();
  meta.set_key("k");
  meta.set_value("v");
  const Model again = round_trip(parse(p));
  CHECK(to_string(again.graph(), again.inputs()[0].fact) == "f32[2,batch]");
  CHECK(to_string(again.graph(), again.outputs()[0].fact) == "f32[2,batch]");
  CHECK(again.info().metadata.at(0).second == "v");
}

TEST_CASE("an operator of ours is refused by name") {
  const skyline::OpDef* ours = nullptr;
  for (const skyline::OpDef* d : skyline::all_ops()) {
    if (d->domain == "skyline" && d->min_inputs == 1) ours = d;
  }
  if (!ours) return;
  Graph g;
  const auto x = g.add_input("x", skyline::Fact::fixed(DType::f32, {2}));
  const auto y = g.add_value("y");
  g.add_node(*ours, "fused_7", {x}, {y});
  g.add_output(y, "y");
  std::string message;
  CHECK(code_of([&] { skyline::serialize_onnx(g); }, &message) == Code::unsupported);
  CHECK(message.find("fused_7") != message.npos);
  CHECK(message.find(ours->name) != message.npos);
}

TEST_CASE("a file is replaced as a whole") {
  namespace fs = std::filesystem;
  std::string name = (fs::temp_directory_path() / "skyline_export_XXXXXX").string();
  REQUIRE(::mkdtemp(name.data()));
  const fs::path dir = name, file = dir / "m.onnx";
  std::ofstream(file) << "old";
  const Model m = parse(identity_model());
  skyline::save_onnx(m.graph(), file.string());
  CHECK(outputs(Model::load(file.string()), {pair(1, 2)}) == std::vector<float>{1, 2});
  CHECK(std::distance(fs::directory_iterator(dir), {}) == 1);  // nothing is left beside it
  CHECK(code_of([&] { skyline::save_onnx(m.graph(), (dir / "missing" / "m.onnx").string()); }) == Code::io);
  fs::remove_all(dir);
}
