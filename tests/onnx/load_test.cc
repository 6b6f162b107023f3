// Models in files: the numbers of initializers are read straight into their tensors, and nothing else
// changes.
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <fstream>

#include "build.h"
#include "graph/onnx/skeleton.h"

using namespace test;
using skyline::Tensor;
using skyline::ValueId;

namespace {

struct File {
  File() {
    char name[] = "/tmp/skyline-load-XXXXXX";
    const int fd = ::mkstemp(name);
    REQUIRE(fd >= 0);
    ::close(fd);
    path = name;
  }
  ~File() { std::filesystem::remove(path); }
  void write(const std::string& bytes) const {
    std::ofstream(path, std::ios::binary | std::ios::trunc)
        .write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  }
  std::string path;
};

constexpr int64_t kCount = 3000;  // 12,000 bytes: large enough to stay in the file

std::string numbers() {
  std::string bytes(kCount * 4, '\0');
  for (int64_t i = 0; i < kCount; ++i) {
    const auto v = static_cast<float>(i) / 7;
    std::memcpy(bytes.data() + i * 4, &v, 4);
  }
  return bytes;
}

// y = x + w, with a small initializer before and after the large one.
ModelProto model() {
  ModelProto m;
  m.set_ir_version(8);
  m.add_opset_import()->set_version(17);
  GraphProto& g = *m.mutable_graph();
  g.set_name("g");
  describe(*g.add_input(), "x", {kCount}, DType::f32);
  describe(*g.add_output(), "y", {kCount}, DType::f32);
  for (const char* name : {"before", "w", "after"}) {
    TensorProto& t = *g.add_initializer();
    t.set_name(name);
    t.set_data_type(1);
    const bool large = std::string(name) == "w";
    t.add_dims(large ? kCount : 1);
    t.set_raw_data(large ? numbers() : std::string("\0\0\x80\x3f", 4));
  }
  node(g, "Add", {"x", "w"}, {"y"});
  return m;
}

// A length-delimited field.
std::string field(int number, const std::string& content) {
  std::string s(1, static_cast<char>(number << 3 | 2));
  size_t n = content.size();
  for (; n >= 0x80; n >>= 7) s += static_cast<char>((n & 0x7f) | 0x80);
  s += static_cast<char>(n);
  return s + content;
}

Code load_code(const File& f) {
  return code_of([&] { Model::load(f.path); });
}
Code parse_code(const std::string& bytes) {
  return code_of([&] { Model::parse({bytes.data(), bytes.size()}); });
}

}  // namespace

TEST_CASE("a model loaded from a file is the one that is parsed from its bytes") {
  const File f;
  f.write(model().SerializeAsString());
  const Model m = Model::load(f.path);
  bool found = false;
  for (uint32_t v = 0; v < m.graph().value_slots(); ++v) {
    const Tensor& t = m.graph().value(ValueId{v}).constant;
    if (m.graph().value(ValueId{v}).name != "w") continue;
    found = true;
    REQUIRE(t.size() == kCount);
    CHECK(std::memcmp(t.raw(), numbers().data(), static_cast<size_t>(t.bytes())) == 0);
    CHECK(reinterpret_cast<uintptr_t>(t.raw()) % 64 == 0);
  }
  CHECK(found);
}

TEST_CASE("a skeleton leaves out large raw data of initializers, and only that") {
  const File f;
  ModelProto m = model();
  const std::string bytes = m.SerializeAsString();
  f.write(bytes);
  const auto s = read_skeleton(open_file(f.path, 1 << 20));
  REQUIRE(s);
  REQUIRE(s->payloads.size() == 1);
  const Extent e = s->payloads.at(1);
  CHECK(bytes.substr(static_cast<size_t>(e.offset), static_cast<size_t>(e.bytes)) == numbers());
  m.mutable_graph()->mutable_initializer(1)->set_raw_data("");
  ModelProto kept;
  REQUIRE(kept.ParseFromString(s->bytes));
  CHECK(kept.SerializeAsString() == m.SerializeAsString());
}

TEST_CASE("bad initializers are refused alike, in a file and in memory") {
  const std::function<void(TensorProto&)> edits[] = {
      [](TensorProto& t) { t.add_float_data(1); },
      [](TensorProto& t) { t.set_dims(0, kCount + 1); },
      [](TensorProto& t) { t.set_dims(0, int64_t{1} << 61); },
      [](TensorProto& t) { t.set_data_type(8); },
      [](TensorProto& t) { t.set_data_type(99); },
      [](TensorProto& t) { t.set_data_location(1); },
      [](TensorProto& t) { t.mutable_segment()->set_begin(0); },
      [](TensorProto& t) { t.mutable_raw_data()->pop_back(); },
      [](TensorProto& t) { t.clear_name(); },
  };
  const File f;
  for (const auto& edit : edits) {
    ModelProto m = model();
    edit(*m.mutable_graph()->mutable_initializer(1));
    const std::string bytes = m.SerializeAsString();
    f.write(bytes);
    CHECK(parse_code(bytes) != Code::ok);
    CHECK(load_code(f) == parse_code(bytes));
  }
}

TEST_CASE("2: a file cut anywhere is refused as its bytes are") {
  const File f;
  const std::string bytes = model().SerializeAsString();
  for (size_t n = 0; n < bytes.size(); n += n < 200 || n + 200 > bytes.size() ? 1 : 997) {
    const std::string cut = bytes.substr(0, n);
    f.write(cut);
    CHECK(load_code(f) == parse_code(cut));
  }
}

TEST_CASE("packed elements and doubled fields in a file") {
  const File f;
  ModelProto m = model();
  TensorProto& t = *m.mutable_graph()->mutable_initializer(0);  // nobody reads it
  t.set_data_type(static_cast<int32_t>(DType::u4));
  t.set_dims(0, 10000);
  t.set_raw_data(std::string(5000, '\x21'));
  f.write(m.SerializeAsString());
  const Model read = Model::load(f.path);
  for (uint32_t v = 0; v < read.graph().value_slots(); ++v) {
    if (read.graph().value(ValueId{v}).name != "before") continue;
    const auto* p = static_cast<const uint8_t*>(read.graph().value(ValueId{v}).constant.raw());
    CHECK((p[0] == 1 && p[1] == 2 && p[9999] == 2));
  }
  // Of two raw_data fields the last counts, as protobuf has it.
  TensorProto second;
  second.set_raw_data(std::string(kCount * 4, '\0'));
  ModelProto outer = model();
  const std::string tensor = outer.graph().initializer(1).SerializeAsString() + second.SerializeAsString();
  outer.mutable_graph()->clear_initializer();
  const std::string graph = outer.graph().SerializeAsString() + field(5, tensor);
  outer.clear_graph();
  f.write(outer.SerializeAsString() + field(7, graph));
  const Model last = Model::load(f.path);
  for (uint32_t v = 0; v < last.graph().value_slots(); ++v) {
    const auto& value = last.graph().value(ValueId{v});
    if (value.name == "w") CHECK(value.constant.data<float>()[kCount - 1] == 0);
  }
}
