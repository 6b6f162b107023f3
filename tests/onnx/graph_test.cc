// Bad graphs: cases 24 to 31 of the list of bad inputs; functions and bodies.
#include <chrono>

#include "build.h"
#include "graph/ir/op.h"

using namespace test;
using skyline::Tensor;
using skyline::Value;

namespace {

FunctionProto& function(ModelProto& m, const std::string& name, std::initializer_list<std::string> in,
                        std::initializer_list<std::string> out) {
  FunctionProto& f = *m.add_functions();
  f.set_name(name);
  f.set_domain("local");
  for (const auto& s : in) f.add_input(s);
  for (const auto& s : out) f.add_output(s);
  return f;
}
template <class Owner>
NodeProto& call(Owner& g, const std::string& name, std::initializer_list<std::string> in,
                std::initializer_list<std::string> out) {
  NodeProto& n = node(g, name, in, out);
  n.set_domain("local");
  return n;
}
ModelProto local_model() {
  ModelProto m = empty_model();
  auto& o = *m.add_opset_import();
  o.set_domain("local");
  o.set_version(1);
  input(*m.mutable_graph(), "x", {2});
  output(*m.mutable_graph(), "y");
  return m;
}
Value pair(float a, float b) {
  return Tensor::of<float>({2}, {a, b});
}

}  // namespace

TEST_CASE("24: cycles, duplicates, dangling names") {
  std::string message;
  ModelProto m = empty_model();
  node(*m.mutable_graph(), "Relu", {"b"}, {"a"}, "first");
  node(*m.mutable_graph(), "Relu", {"a"}, {"b"}, "second");
  output(*m.mutable_graph(), "b");
  CHECK(code_of(m, &message) == Code::invalid);
  CHECK(message.find("cycle") != message.npos);
  CHECK(message.find("first") != message.npos);

  m = empty_model();
  node(*m.mutable_graph(), "Relu", {"a"}, {"a"});
  output(*m.mutable_graph(), "a");
  CHECK(code_of(m) == Code::invalid);

  m = identity_model();
  m.mutable_graph()->mutable_node(0)->set_input(0, "nowhere");
  CHECK(code_of(m, &message) == Code::invalid);
  CHECK(message.find("'nowhere'") != message.npos);

  m = identity_model();
  node(*m.mutable_graph(), "Relu", {"x"}, {"y"});
  CHECK(code_of(m) == Code::invalid);  // produced twice
  m = identity_model();
  input(*m.mutable_graph(), "x", {2});
  CHECK(code_of(m) == Code::invalid);  // two inputs
  m = identity_model();
  input(*m.mutable_graph(), "y", {2});
  CHECK(code_of(m) == Code::invalid);  // an input that is also produced
  m = identity_model();
  floats(*m.mutable_graph(), "y", {1}, {1});
  CHECK(code_of(m) == Code::invalid);
  m = identity_model();
  floats(*m.mutable_graph(), "w", {1}, {1});
  floats(*m.mutable_graph(), "w", {1}, {1});
  CHECK(code_of(m) == Code::invalid);
  m = identity_model();
  output(*m.mutable_graph(), "z");
  CHECK(code_of(m) == Code::invalid);
  m = identity_model();
  m.mutable_graph()->clear_output();
  CHECK(code_of(m) == Code::invalid);
  m = identity_model();
  m.clear_graph();
  CHECK(code_of(m) == Code::invalid);
}

TEST_CASE("nodes may come in any order; initializers that are inputs are constants") {
  ModelProto m = empty_model();
  GraphProto& g = *m.mutable_graph();
  input(g, "x", {2});
  input(g, "w", {2});
  floats(g, "w", {2}, {10, 20});
  node(g, "Identity", {"s"}, {"y"});
  node(g, "Add", {"x", "w"}, {"s"});
  output(g, "y");
  CHECK(parse(m).inputs().size() == 1);
  CHECK(run_floats(m, {pair(1, 2)}) == std::vector<float>{11, 22});
}

TEST_CASE("25: recursive and deep functions") {
  ModelProto m = local_model();
  call(*m.mutable_graph(), "F", {"x"}, {"y"});
  call(function(m, "F", {"a"}, {"b"}), "G", {"a"}, {"b"});
  call(function(m, "G", {"a"}, {"b"}), "F", {"a"}, {"b"});
  std::string message;
  CHECK(code_of(m, &message) == Code::invalid);
  CHECK(message.find("calls itself") != message.npos);

  m = local_model();
  call(*m.mutable_graph(), "F0", {"x"}, {"y"});
  for (int i = 0; i < 3000; ++i) {
    call(function(m, "F" + std::to_string(i), {"a"}, {"b"}), "F" + std::to_string(i + 1), {"a"}, {"b"});
  }
  node(function(m, "F3000", {"a"}, {"b"}), "Relu", {"a"}, {"b"});
  CHECK(code_of(m) == Code::limit);

  m = local_model();  // 2^40 nodes in 40 functions
  call(*m.mutable_graph(), "F0", {"x"}, {"y"});
  for (int i = 0; i < 40; ++i) {
    FunctionProto& f = function(m, "F" + std::to_string(i), {"a"}, {"b"});
    call(f, "F" + std::to_string(i + 1), {"a"}, {"m"});
    call(f, "F" + std::to_string(i + 1), {"m"}, {"b"});
  }
  node(function(m, "F40", {"a"}, {"b"}), "Relu", {"a"}, {"b"});
  skyline::LoadOptions options;
  options.limits.max_nodes = 10000;
  CHECK(code_of([&] { parse(m, options); }) == Code::limit);
}

TEST_CASE("functions: attributes, defaults, omitted inputs, overloads, nested calls") {
  ModelProto m = local_model();
  GraphProto& g = *m.mutable_graph();
  set_float(call(g, "Leaky", {"x"}, {"a"}), "slope", 0.5f);
  call(g, "Leaky", {"a"}, {"b"});  // the default slope
  call(g, "Twice", {"b"}, {"y"});
  FunctionProto& leaky = function(m, "Leaky", {"in"}, {"out"});
  AttributeProto& fallback = *leaky.add_attribute_proto();
  fallback.set_name("slope");
  fallback.set_type(1);
  fallback.set_f(0.25f);
  AttributeProto& alpha = attribute(node(leaky, "LeakyRelu", {"in"}, {"out"}), "alpha", 1);
  alpha.set_ref_attr_name("slope");
  FunctionProto& twice = function(m, "Twice", {"in", "bias"}, {"out"});
  call(twice, "Leaky", {"in"}, {"t"});
  node(twice, "Add", {"t", "t"}, {"out"});
  CHECK(run_floats(m, {pair(-8, 8)}) == std::vector<float>{-8 * 0.5f * 0.25f * 0.25f * 2, 16});

  // An attribute without default and value is as if it were not there.
  m = local_model();
  call(*m.mutable_graph(), "Leaky", {"x"}, {"y"});
  FunctionProto& bare = function(m, "Leaky", {"in"}, {"out"});
  bare.add_attribute("slope");
  attribute(node(bare, "LeakyRelu", {"in"}, {"out"}), "alpha", 1).set_ref_attr_name("slope");
  CHECK(run_floats(m, {pair(-100, 1)}) == std::vector<float>{-1, 1});

  // Two overloads of one name.
  m = local_model();
  call(*m.mutable_graph(), "F", {"x"}, {"a"}).set_overload("neg");
  call(*m.mutable_graph(), "F", {"a"}, {"y"}).set_overload("abs");
  FunctionProto& neg = function(m, "F", {"a"}, {"b"});
  neg.set_overload("neg");
  node(neg, "Neg", {"a"}, {"b"});
  FunctionProto& abs = function(m, "F", {"a"}, {"b"});
  abs.set_overload("abs");
  node(abs, "Abs", {"a"}, {"b"});
  CHECK(run_floats(m, {pair(1, -2)}) == std::vector<float>{1, 2});
  abs.set_overload("neg");
  CHECK(code_of(m) == Code::invalid);  // the same function twice

  m = local_model();
  call(*m.mutable_graph(), "F", {"x", "x"}, {"y"});
  node(function(m, "F", {"a"}, {"b"}), "Neg", {"a"}, {"b"});
  CHECK(code_of(m) == Code::invalid);  // too many inputs
}

TEST_CASE("a function has its own opset") {
  ModelProto m = local_model();
  call(*m.mutable_graph(), "F", {"x"}, {"y"});
  FunctionProto& f = function(m, "F", {"a"}, {"b"});
  f.add_opset_import()->set_version(6);  // where Clip had attributes
  NodeProto& clip = node(f, "Clip", {"a"}, {"b"});
  set_float(clip, "min", -1);
  set_float(clip, "max", 1);
  CHECK(run_floats(m, {pair(-5, 0.5f)}) == std::vector<float>{-1, 0.5f});
}

TEST_CASE("26: bodies") {
  // Nested If to a depth beyond the limit.
  for (int depth : {10, 33}) {
    ModelProto m = empty_model();
    GraphProto* g = m.mutable_graph();
    input(*g, "c", {}, DType::boolean);
    for (int i = 0; i < depth; ++i) {
      const std::string y = "y" + std::to_string(i);
      NodeProto& n = node(*g, "If", {"c"}, {y});
      output(*g, y);
      GraphProto& other = set_graph(n, "else_branch");
      node(other, "Identity", {"c"}, {y + "e"});
      output(other, y + "e");
      g = &set_graph(n, "then_branch");
    }
    node(*g, "Identity", {"c"}, {"deepest"});
    output(*g, "deepest");
    const Code c = code_of(m);
    if (depth > 32) CHECK(c == Code::limit);
    if (depth == 10 && skyline::find_op("", "If")) CHECK(c == Code::ok);
  }
  ModelProto m = identity_model();
  GraphProto& body = set_graph(*m.mutable_graph()->mutable_node(0), "body");
  node(body, "Identity", {"x"}, {"z"});
  output(body, "z");
  CHECK(code_of(m) == Code::invalid);  // a body on an ordinary node

  m = empty_model();
  GraphProto& g = *m.mutable_graph();
  ints(g, "n", {}, {3});
  input(g, "x", {2});
  GraphProto& loop = set_graph(node(g, "Loop", {"n", "", "x"}, {"y"}), "body");
  input(loop, "i", {}, DType::i64);
  input(loop, "c", {}, DType::boolean);
  input(loop, "v", {2});
  floats(loop, "v", {2}, {1, 2});  // also an input
  output(loop, "c");
  output(loop, "v");
  output(g, "y");
  CHECK(code_of(m) == Code::invalid);
}

TEST_CASE("27: large graphs take linear time") {
  const auto seconds = [](const std::string& bytes) {
    const auto start = std::chrono::steady_clock::now();
    CHECK(code_of_bytes(bytes) == Code::ok);
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  };
  ModelProto chain = empty_model();
  input(*chain.mutable_graph(), "x", {2});
  std::string last = "x";
  for (int i = 0; i < 50000; ++i) {
    const std::string next = "v" + std::to_string(i);
    node(*chain.mutable_graph(), "Relu", {last}, {next});
    last = next;
  }
  output(*chain.mutable_graph(), last);
  CHECK(seconds(chain.SerializeAsString()) < 20);

  ModelProto wide = empty_model();
  input(*wide.mutable_graph(), "x", {2});
  NodeProto& concat = node(*wide.mutable_graph(), "Concat", {}, {"y"});
  for (int i = 0; i < 100000; ++i) concat.add_input("x");
  set_int(concat, "axis", 0);
  output(*wide.mutable_graph(), "y");
  CHECK(seconds(wide.SerializeAsString()) < 20);
}

TEST_CASE("30: opsets and operators that are not there") {
  std::string message;
  ModelProto m = identity_model();
  m.clear_opset_import();
  CHECK(code_of(m, &message) == Code::unsupported);
  CHECK(message.find("Identity") != message.npos);
  m = identity_model(99);
  CHECK(code_of(m, &message) == Code::unsupported);
  CHECK(message.find("Identity") != message.npos);
  CHECK(message.find("99") != message.npos);
  m = identity_model(0);
  CHECK(code_of(m) == Code::invalid);
  m = identity_model();
  m.set_ir_version(99);
  CHECK(code_of(m) == Code::unsupported);
  m.set_ir_version(0);
  CHECK(code_of(m) == Code::invalid);

  // All that cannot be run is listed at once, with the nearest that could.
  m = identity_model();
  GraphProto& g = *m.mutable_graph();
  node(g, "Reluu", {"x"}, {"a"}, "typo");
  node(g, "Frobnicate", {"a"}, {"b"}, "made_up");
  node(g, "Relu", {"b"}, {"c"}).set_domain("com.example");
  CHECK(code_of(m, &message) == Code::unsupported);
  for (const char* part : {"3 nodes", "Reluu", "'typo'", "nearest: ai.onnx.Relu", "Frobnicate", "'made_up'",
                           "com.example.Relu", "opset 17", "the same name in ai.onnx.Relu"}) {
    CAPTURE(message);
    CHECK(message.find(part) != message.npos);
  }
}

TEST_CASE("the domain ai.onnx is the default domain") {
  ModelProto m = identity_model();
  m.mutable_graph()->mutable_node(0)->set_domain("ai.onnx");
  CHECK(code_of(m) == Code::ok);
  m.mutable_opset_import(0)->set_domain("ai.onnx");
  CHECK(code_of(m) == Code::ok);
}

TEST_CASE("31: attributes and arity") {
  ModelProto m = identity_model();
  m.mutable_graph()->mutable_node(0)->add_input("x");
  CHECK(code_of(m) == Code::invalid);  // too many inputs
  m.mutable_graph()->mutable_node(0)->clear_input();
  CHECK(code_of(m) == Code::invalid);
  m = identity_model();
  m.mutable_graph()->mutable_node(0)->add_output("z");
  CHECK(code_of(m) == Code::invalid);
  for (const char* op :
       {"Less", "IsNaN", "MatMul", "Conv", "Split"}) {  // nodes that give nothing, or nothing with a name
    m = identity_model();
    NodeProto& n = node(*m.mutable_graph(), op, {"x"}, {});
    if (std::string(op) != "IsNaN" && std::string(op) != "Split") n.add_input("x");
    CHECK(code_of(m) == Code::invalid);
    n.add_output("");
    CHECK(code_of(m) != Code::internal);
  }

  const auto concat = [](const std::function<void(NodeProto&)>& change) {
    ModelProto model = empty_model();
    input(*model.mutable_graph(), "x", {2});
    change(node(*model.mutable_graph(), "Concat", {"x", "x"}, {"y"}));
    output(*model.mutable_graph(), "y");
    return code_of(model);
  };
  CHECK(concat([](NodeProto& n) { set_int(n, "axis", 0); }) == Code::ok);
  CHECK(concat([](NodeProto&) {}) == Code::invalid);  // required
  CHECK(concat([](NodeProto& n) { set_float(n, "axis", 0); }) == Code::invalid);
  CHECK(concat([](NodeProto& n) { attribute(n, "axis", 2).set_f(1); }) ==
        Code::invalid);  // says int, has float
  CHECK(concat([](NodeProto& n) { attribute(n, "axis", 99).set_i(0); }) == Code::invalid);  // no such type
  CHECK(concat([](NodeProto& n) { set_int(n, "", 0); }) == Code::invalid);
  CHECK(concat([](NodeProto& n) {
          set_int(n, "axis", 0);
          set_int(n, "axis", 0);
        }) == Code::invalid);
  CHECK(concat([](NodeProto& n) { attribute(n, "axis", 2).set_ref_attr_name("a"); }) == Code::invalid);
  CHECK(concat([](NodeProto& n) { attribute(n, "axis", 0).set_i(0); }) ==
        Code::ok);  // old files give no type
}

TEST_CASE("a model knows its file") {
  ModelProto m = identity_model();
  m.set_producer_name("tests");
  m.set_doc_string("what it is");
  auto& meta = *m.add_metadata_props();
  meta.set_key("k");
  meta.set_value("v");
  const Model model = parse(m);
  CHECK(model.info().producer_name == "tests");
  CHECK(model.info().doc == "what it is");
  CHECK(model.info().ir_version == 8);
  REQUIRE(model.info().metadata.size() == 1);
  CHECK(model.info().metadata[0].second == "v");
  REQUIRE(model.inputs().size() == 1);
  CHECK(model.inputs()[0].name == "x");
  CHECK(model.outputs()[0].name == "y");
  CHECK(model.outputs()[0].fact.is_static());
}
