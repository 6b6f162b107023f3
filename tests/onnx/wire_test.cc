// Bad bytes: cases 1 to 9 of the list of bad inputs.
#include "graph/onnx/wire.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <random>

#include "build.h"

using namespace test;
namespace fs = std::filesystem;

namespace {

bool refused(Code c) {
  return c == Code::parse || c == Code::invalid;
}

std::string field(uint32_t number, uint32_t wire) {
  std::string s;
  for (uint32_t tag = number << 3 | wire;; tag >>= 7) {
    if (tag < 0x80) return s + static_cast<char>(tag);
    s += static_cast<char>((tag & 0x7f) | 0x80);
  }
}
std::string varint(uint64_t v) {
  std::string s;
  for (; v >= 0x80; v >>= 7) s += static_cast<char>((v & 0x7f) | 0x80);
  return s + static_cast<char>(v);
}
std::string block(uint32_t number, const std::string& content) {
  return field(number, 2) + varint(content.size()) + content;
}

// A folder that goes when the test ends.
struct TempDir {
  fs::path path;
  TempDir() {
    std::string name = (fs::temp_directory_path() / "skyline_onnx_XXXXXX").string();
    REQUIRE(::mkdtemp(name.data()));
    path = name;
  }
  ~TempDir() { fs::remove_all(path); }
};

Code code_of_file(const fs::path& p) {
  return code_of([&] { Model::load(p.string()); });
}

}  // namespace

TEST_CASE("1: bytes that are no model") {
  CHECK(refused(code_of_bytes("")));
  CHECK(refused(code_of_bytes(std::string(1000, '\0'))));
  CHECK(refused(code_of_bytes("This is a text file, not a model.\n")));
  std::mt19937 random(7);
  for (int i = 0; i < 500; ++i) {
    std::string noise(1 + random() % 200, '\0');
    for (char& c : noise) c = static_cast<char>(random());
    CHECK(refused(code_of_bytes(noise)));
  }
}

TEST_CASE("2: a model cut off at every byte") {
  ModelProto m = identity_model();
  floats(*m.mutable_graph(), "w", {2}, {1, 2});
  const std::string whole = m.SerializeAsString();
  REQUIRE(code_of_bytes(whole) == Code::ok);
  for (size_t n = 0; n < whole.size(); ++n) {
    const Code c = code_of_bytes(whole.substr(0, n));
    CHECK((refused(c) || c == Code::unsupported));  // unsupported: the opset at the end is gone
  }
}

TEST_CASE("a model with any one byte changed loads or is refused") {
  ModelProto m = identity_model();
  floats(*m.mutable_graph(), "w", {2}, {1, 2});
  const std::string whole = m.SerializeAsString();
  for (size_t n = 0; n < whole.size(); ++n) {
    for (int bit = 0; bit < 8; ++bit) {
      std::string changed = whole;
      changed[n] = static_cast<char>(changed[n] ^ (1 << bit));
      const Code c = code_of_bytes(changed);
      CHECK(c != Code::internal);
    }
  }
}

TEST_CASE("3: broken encodings") {
  CHECK(code_of_bytes(field(1, 0) + std::string(11, '\x80') + '\x01') == Code::parse);  // a long varint
  CHECK(code_of_bytes(std::string("\x00\x01", 2)) == Code::parse);                      // field 0
  for (uint32_t wire : {3u, 4u, 6u, 7u}) CHECK(code_of_bytes(field(99, wire)) == Code::parse);
  CHECK(code_of_bytes(field(7, 0) + varint(1)) == Code::parse);        // the graph as a number
  CHECK(code_of_bytes(field(1, 2) + varint(1) + "x") == Code::parse);  // the IR version as bytes
  CHECK(code_of_bytes(block(7, block(5, block(4, "abc")))) ==
        Code::parse);  // three quarters of a packed float
}

TEST_CASE("4: lengths beyond the end") {
  for (uint64_t n : {uint64_t{1}, uint64_t{1} << 31, uint64_t{1} << 63, ~uint64_t{0}}) {
    CHECK(code_of_bytes(field(7, 2) + varint(n)) == Code::parse);
    CHECK(code_of_bytes(block(7, block(5, field(9, 2) + varint(n)))) == Code::parse);
  }
}

TEST_CASE("5: unknown fields are skipped, singular fields merge") {
  const std::string whole = identity_model().SerializeAsString();
  const std::string unknown =
      field(999, 0) + varint(5) + block(1000, "what") + field(1001, 5) + "abcd" + field(1002, 1) + "abcdefgh";
  CHECK(code_of_bytes(whole + unknown) == Code::ok);
  // The graph in two parts: the parts are merged.
  const ModelProto m = identity_model();
  GraphProto nodes, ports;
  *nodes.mutable_node() = m.graph().node();
  *ports.mutable_input() = m.graph().input();
  *ports.mutable_output() = m.graph().output();
  ModelProto head = m;
  head.clear_graph();
  const std::string split =
      head.SerializeAsString() + block(7, nodes.SerializeAsString()) + block(7, ports.SerializeAsString());
  CHECK(code_of_bytes(split) == Code::ok);
}

TEST_CASE("6: nesting is bounded, without recursion") {
  const auto nested = [](int depth) {
    // TypeProto.sequence_type.elem_type, built from the inside by prefixes alone.
    std::vector<std::string> heads;
    size_t size = 0;
    for (int i = 0; i < depth; ++i) {
      heads.push_back(field(i % 2 ? 1 : 4, 2) + varint(size));
      size += heads.back().size();
    }
    std::string s;
    for (size_t i = heads.size(); i-- > 0;) s += heads[i];
    return block(7, block(11, block(2, s)));
  };
  CHECK(code_of_bytes(nested(20)) == Code::invalid);  // no IR version
  CHECK(code_of_bytes(nested(101)) == Code::limit);
  CHECK(code_of_bytes(nested(1000001)) == Code::limit);
}

TEST_CASE("7: files beyond the limit are not read") {
  const TempDir dir;
  const fs::path big = dir.path / "big.onnx";
  std::ofstream(big) << "x";
  for (int64_t size : {int64_t{1} << 31, int64_t{10} << 30}) {
    REQUIRE(::truncate(big.c_str(), size) == 0);  // sparse: takes no room
    CHECK(code_of_file(big) == Code::limit);
  }
  skyline::LoadOptions options;
  options.limits.max_file_bytes = 10;
  CHECK(code_of([&] { parse(identity_model(), options); }) == Code::limit);
  std::string many;
  for (int i = 0; i < 1000; ++i) many += block(1, "");
  options.limits.max_file_bytes = 1 << 20;
  options.limits.max_messages = 100;
  CHECK(code_of([&] { parse(block(7, many), options); }) == Code::limit);
}

TEST_CASE("8: names") {
  ModelProto m = identity_model();
  m.mutable_graph()->mutable_node(0)->set_name(
      "a\xff"
      "b");
  std::string message;
  CHECK(code_of(m, &message) == Code::invalid);
  CHECK(message.find("'a\\xffb'") != message.npos);
  m.mutable_graph()->mutable_node(0)->set_name(std::string("a\0b", 3));
  CHECK(code_of(m) == Code::invalid);
  m.mutable_graph()->mutable_node(0)->set_name(std::string(100'000'000, 'a'));
  CHECK(code_of(m) == Code::limit);
  m.mutable_graph()->mutable_node(0)->set_name("größe \xf0\x9f\x98\x80");
  CHECK(code_of(m) == Code::ok);

  m = identity_model();
  m.mutable_graph()->mutable_node(0)->set_op_type("Evil\x1b[2J\n");
  CHECK(code_of(m, &message) == Code::unsupported);
  CHECK(message.find('\x1b') == message.npos);

  CHECK(skyline::onnx::is_utf8("\xed\x9f\xbf"));
  CHECK_FALSE(skyline::onnx::is_utf8("\xed\xa0\x80"));      // a surrogate
  CHECK_FALSE(skyline::onnx::is_utf8("\xc0\xaf"));          // overlong
  CHECK_FALSE(skyline::onnx::is_utf8("\xf4\x90\x80\x80"));  // beyond U+10FFFF
  CHECK_FALSE(skyline::onnx::is_utf8("\xe2\x82"));          // cut off
}

TEST_CASE("9: what is not a readable regular file") {
  const TempDir dir;
  CHECK(code_of_file(dir.path) == Code::io);
  CHECK(code_of_file(dir.path / "missing.onnx") == Code::io);
  const fs::path fifo = dir.path / "fifo";
  REQUIRE(::mkfifo(fifo.c_str(), 0600) == 0);
  CHECK(code_of_file(fifo) == Code::io);
  CHECK(code_of_file("/dev/zero") == Code::io);
  if (::geteuid() != 0) {
    const fs::path secret = dir.path / "secret.onnx";
    std::ofstream(secret) << "x";
    REQUIRE(::chmod(secret.c_str(), 0) == 0);
    CHECK(code_of_file(secret) == Code::io);
  }
}
