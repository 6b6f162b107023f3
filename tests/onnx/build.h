#pragma once
// Small models for tests, made field by field.
#include <doctest/doctest.h>

#include <functional>
#include <initializer_list>
#include <string>
#include <vector>

#include "onnx_schema.pb.h"
#include "skyline/model.h"

namespace test {

using namespace skyline::onnx;
using skyline::Code;
using skyline::DType;
using skyline::Model;

inline AttributeProto& attribute(NodeProto& n, const std::string& name, int32_t type) {
  AttributeProto& a = *n.add_attribute();
  a.set_name(name);
  a.set_type(type);
  return a;
}
inline void set_int(NodeProto& n, const std::string& name, int64_t v) {
  attribute(n, name, 2).set_i(v);
}
inline void set_float(NodeProto& n, const std::string& name, float v) {
  attribute(n, name, 1).set_f(v);
}
inline void set_text(NodeProto& n, const std::string& name, const std::string& v) {
  attribute(n, name, 3).set_s(v);
}
inline void set_ints(NodeProto& n, const std::string& name, std::initializer_list<int64_t> v) {
  AttributeProto& a = attribute(n, name, 7);
  for (int64_t i : v) a.add_ints(i);
}
inline void set_floats(NodeProto& n, const std::string& name, std::initializer_list<float> v) {
  AttributeProto& a = attribute(n, name, 6);
  for (float f : v) a.add_floats(f);
}
inline GraphProto& set_graph(NodeProto& n, const std::string& name) {
  return *attribute(n, name, 5).mutable_g();
}

template <class Owner>  // GraphProto or FunctionProto
NodeProto& node(Owner& g, const std::string& op, std::initializer_list<std::string> in,
                std::initializer_list<std::string> out, const std::string& name = "") {
  NodeProto& n = *g.add_node();
  n.set_op_type(op);
  for (const auto& s : in) n.add_input(s);
  for (const auto& s : out) n.add_output(s);
  if (!name.empty()) n.set_name(name);
  return n;
}

inline void describe(ValueInfoProto& v, const std::string& name, std::initializer_list<int64_t> dims,
                     DType t) {
  v.set_name(name);
  auto& type = *v.mutable_type()->mutable_tensor_type();
  type.set_elem_type(static_cast<int32_t>(t));
  auto& shape = *type.mutable_shape();
  for (int64_t d : dims) shape.add_dim()->set_dim_value(d);
}
inline void input(GraphProto& g, const std::string& name, std::initializer_list<int64_t> dims,
                  DType t = DType::f32) {
  describe(*g.add_input(), name, dims, t);
}
inline void output(GraphProto& g, const std::string& name) {
  g.add_output()->set_name(name);
}

inline TensorProto& initializer(GraphProto& g, const std::string& name, std::initializer_list<int64_t> dims,
                                DType t) {
  TensorProto& p = *g.add_initializer();
  p.set_name(name);
  p.set_data_type(static_cast<int32_t>(t));
  for (int64_t d : dims) p.add_dims(d);
  return p;
}
inline TensorProto& floats(GraphProto& g, const std::string& name, std::initializer_list<int64_t> dims,
                           std::initializer_list<float> values) {
  TensorProto& p = initializer(g, name, dims, DType::f32);
  for (float v : values) p.add_float_data(v);
  return p;
}
inline TensorProto& ints(GraphProto& g, const std::string& name, std::initializer_list<int64_t> dims,
                         std::initializer_list<int64_t> values) {
  TensorProto& p = initializer(g, name, dims, DType::i64);
  for (int64_t v : values) p.add_int64_data(v);
  return p;
}

inline ModelProto empty_model(int64_t opset = 17, int64_t ir = 8) {
  ModelProto m;
  m.set_ir_version(ir);
  m.add_opset_import()->set_version(opset);
  m.mutable_graph()->set_name("g");
  return m;
}
// x -> Identity -> y
inline ModelProto identity_model(int64_t opset = 17) {
  ModelProto m = empty_model(opset);
  input(*m.mutable_graph(), "x", {2});
  node(*m.mutable_graph(), "Identity", {"x"}, {"y"}, "copy");
  output(*m.mutable_graph(), "y");
  return m;
}

inline Model parse(const std::string& bytes, const skyline::LoadOptions& options = {},
                   const std::string& dir = "") {
  return Model::parse(std::span<const char>(bytes.data(), bytes.size()), options, dir);
}
inline Model parse(const ModelProto& m, const skyline::LoadOptions& options = {},
                   const std::string& dir = "") {
  return parse(m.SerializeAsString(), options, dir);
}

// What f throws, or ok; `message` gets its text.
inline Code code_of(const std::function<void()>& f, std::string* message = nullptr) {
  try {
    f();
    return Code::ok;
  } catch (const skyline::Error& e) {
    if (message) *message = e.what();
    INFO(e.what());
    return e.code();
  }
}
inline Code code_of(const ModelProto& m, std::string* message = nullptr) {
  return code_of([&] { parse(m); }, message);
}
inline Code code_of_bytes(const std::string& bytes, std::string* message = nullptr) {
  return code_of([&] { parse(bytes); }, message);
}

// Results of running the model with the reference interpreter.
std::vector<skyline::Value> run(const ModelProto& m, const std::vector<skyline::Value>& inputs);
std::vector<float> run_floats(const ModelProto& m, const std::vector<skyline::Value>& inputs);

}  // namespace test

namespace skyline {
inline doctest::String toString(Code c) {
  return std::string(name(c)).c_str();
}
}  // namespace skyline
