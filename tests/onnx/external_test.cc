// Tensors in other files: cases 19 to 23 of the list of bad inputs.
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "build.h"
#include "graph/onnx/file.h"
#include "graph/onnx/sha1.h"

using namespace test;
namespace fs = std::filesystem;

namespace {

struct Folder {
  fs::path path;
  Folder() {
    std::string name = (fs::temp_directory_path() / "skyline_external_XXXXXX").string();
    REQUIRE(::mkdtemp(name.data()));
    path = name;
    write("weights.bin", std::string("\0\0\x80\x3f\0\0\0\x40", 8));  // 1.0f, 2.0f
  }
  ~Folder() { fs::remove_all(path); }
  void write(const std::string& name, const std::string& bytes) const { std::ofstream(path / name) << bytes; }
};

using Entries = std::initializer_list<std::pair<std::string, std::string>>;

void fill(TensorProto& t, const Entries& entries) {
  t.set_name("w");
  t.set_data_type(1);
  t.add_dims(2);
  t.set_data_location(1);
  for (const auto& [key, value] : entries) {
    Entry& e = *t.add_external_data();
    e.set_key(key);
    e.set_value(value);
  }
}

ModelProto model(const Entries& entries) {
  ModelProto m = empty_model();
  GraphProto& g = *m.mutable_graph();
  fill(*g.add_initializer(), entries);
  input(g, "x", {2});
  node(g, "Identity", {"w"}, {"y"});
  output(g, "y");
  return m;
}

Code code_in(const Folder& dir, const Entries& entries, std::string* message = nullptr) {
  return code_of([&] { parse(model(entries), {}, dir.path.string()); }, message);
}

}  // namespace

TEST_CASE("external data is read") {
  const Folder dir;
  fs::create_directory(dir.path / "sub");
  dir.write("sub/more.bin", std::string("xx\0\0\x40\x40\0\0\x80\x40yy", 12));
  const auto first = [&](const Entries& e) {
    const Model m = parse(model(e), {}, dir.path.string());
    const auto& g = m.graph();
    return g.constant(g.node(skyline::NodeId{0}).inputs[0])->data<float>()[0];
  };
  CHECK(first({{"location", "weights.bin"}}) == 1.0f);
  CHECK(first({{"location", "weights.bin"}, {"length", "8"}, {"unknown", "x"}}) == 1.0f);
  CHECK(first({{"location", "sub/more.bin"}, {"offset", "2"}, {"length", "8"}}) == 3.0f);
  CHECK(first({{"location", "./weights.bin"}}) == 1.0f);

  const fs::path file = dir.path / "model.onnx";
  std::ofstream(file) << model({{"location", "weights.bin"}}).SerializeAsString();
  CHECK_NOTHROW(Model::load(file.string()));
  skyline::LoadOptions closed;
  closed.external_data = false;
  CHECK(code_of([&] { Model::load(file.string(), closed); }) == Code::invalid);
  CHECK(code_of([&] { parse(model({{"location", "weights.bin"}})); }) == Code::invalid);
}

TEST_CASE("19: places outside of the folder") {
  const Folder dir;
  for (const char* location :
       {"../x", "sub/../../x", "/etc/passwd", "", ".", "..", "a//b", "sub\\x", "weights.bin/.."}) {
    CHECK(code_in(dir, {{"location", location}}) == Code::invalid);
  }
  CHECK(code_in(dir, {{"offset", "0"}}) == Code::invalid);
  CHECK(code_in(dir, {{"location", "missing.bin"}}) == Code::io);
}

TEST_CASE("20: what is not a plain file") {
  const Folder dir, other;
  fs::create_symlink(dir.path / "weights.bin", dir.path / "link.bin");
  fs::create_symlink(other.path, dir.path / "linked");
  fs::create_hard_link(other.path / "weights.bin", dir.path / "hard.bin");
  REQUIRE(::mkfifo((dir.path / "fifo").c_str(), 0600) == 0);
  fs::create_directory(dir.path / "folder");
  for (const char* location : {"link.bin", "linked/weights.bin", "hard.bin", "fifo", "folder"}) {
    CHECK(code_in(dir, {{"location", location}}) == Code::invalid);
  }
}

TEST_CASE("21: offsets and lengths") {
  const Folder dir;
  const std::string file = "weights.bin";
  for (const char* bad : {"-1", "x", "", "1e3", "0x8", " 0", "9223372036854775808", "99999999999999999999"}) {
    CHECK(code_in(dir, {{"location", file}, {"offset", bad}}) == Code::invalid);
    CHECK(code_in(dir, {{"location", file}, {"length", bad}}) == Code::invalid);
  }
  CHECK(code_in(dir, {{"location", file}, {"offset", "9223372036854775807"}, {"length", "8"}}) ==
        Code::invalid);
  CHECK(code_in(dir, {{"location", file}, {"offset", "1"}}) == Code::invalid);
  CHECK(code_in(dir, {{"location", file}, {"offset", "8"}, {"length", "0"}}) == Code::invalid);
  CHECK(code_in(dir, {{"location", file}, {"length", "7"}}) == Code::invalid);
  CHECK(code_in(dir, {{"location", file}, {"length", "9"}}) == Code::invalid);
}

TEST_CASE("22: keys and checksums") {
  const Folder dir;
  Sha1 sum;
  sum.add("\0\0\x80\x3f\0\0\0\x40", 8);
  std::string right = sum.hex();
  CHECK(code_in(dir, {{"location", "weights.bin"}, {"checksum", right}}) == Code::ok);
  right[0] = right[0] == '0' ? '1' : '0';
  CHECK(code_in(dir, {{"location", "weights.bin"}, {"checksum", right}}) == Code::invalid);
  CHECK(code_in(dir, {{"location", "weights.bin"}, {"location", "weights.bin"}}) == Code::invalid);
}

TEST_CASE("SHA-1 of known texts") {
  const auto of = [](const std::string& s) {
    Sha1 sum;
    sum.add(s.data(), s.size());
    return sum.hex();
  };
  CHECK(of("") == "da39a3ee5e6b4b0d3255bfef95601890afd80709");
  CHECK(of("abc") == "a9993e364706816aba3e25717850c26c9cd0d89d");
  CHECK(of(std::string(1'000'000, 'a')) == "34aa973cd4c4daa4f61eeb2bdbad27316534016f");
}

TEST_CASE("23: a file that shrank is an error, not a signal") {
  const Folder dir;
  ExternalFiles files(dir.path.string());
  char to[8];
  files.read({.location = "weights.bin"}, to, 8);
  REQUIRE(::truncate((dir.path / "weights.bin").c_str(), 2) == 0);  // the size was taken when it was opened
  CHECK(code_of([&] { files.read({.location = "weights.bin"}, to, 8); }) == Code::io);
}

TEST_CASE("the same rules hold in attributes, sparse tensors and bodies") {
  const Folder dir;
  ModelProto m = empty_model();
  GraphProto& g = *m.mutable_graph();
  NodeProto& constant = node(g, "Constant", {}, {"y"});
  fill(*attribute(constant, "value", 4).mutable_t(), {{"location", "../x"}});
  output(g, "y");
  CHECK(code_of([&] { parse(m, {}, dir.path.string()); }) == Code::invalid);

  m = empty_model();
  SparseTensorProto& s = *m.mutable_graph()->add_sparse_initializer();
  fill(*s.mutable_values(), {{"location", "/etc/passwd"}});
  s.add_dims(4);
  CHECK(code_of([&] { parse(m, {}, dir.path.string()); }) == Code::invalid);

  m = empty_model();
  GraphProto& outer = *m.mutable_graph();
  input(outer, "c", {}, DType::boolean);
  NodeProto& branch = node(outer, "If", {"c"}, {"y"});
  for (const char* name : {"then_branch", "else_branch"}) {
    GraphProto& body = set_graph(branch, name);
    fill(*body.add_initializer(), {{"location", "../x"}});
    output(body, "w");
  }
  output(outer, "y");
  CHECK(code_of([&] { parse(m, {}, dir.path.string()); }) == Code::invalid);
}
