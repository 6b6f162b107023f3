// Plan files: the same bits as the session they stand for, and nothing but an error from a broken one.
#include "skyline/plan_file.h"

#include <doctest/doctest.h>

#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "engine/data/values.h"
#include "engine/plan_file/content.h"
#include "engine/plan_file/layout.h"
#include "graph/ir/interpret.h"
#include "skyline/optimize.h"
#include "tests/onnx/mutate.h"

using namespace skyline;
namespace fs = std::filesystem;

namespace {

struct Folder {
  fs::path path;
  Folder() : path(fs::temp_directory_path() / ("skyline_plan_" + std::to_string(::getpid()))) {
    fs::create_directories(path);
  }
  ~Folder() {
    std::error_code ignored;
    fs::remove_all(path, ignored);
  }
  std::string operator/(const char* name) const { return (path / name).string(); }
};

std::string digits_path() {
  return std::string(SKYLINE_SOURCE_DIR) + "/tests/data/digits/model.onnx";
}

Tensor noise(DType type, const Dims& dims) {
  if (type != DType::f32) return Tensor::zeros(type, dims);
  Tensor x(type, dims);
  uint32_t state = 12345;
  for (float& v : x.mutable_span<float>()) {
    state = state * 1664525u + 1013904223u;
    v = static_cast<float>(state >> 8) / 16777216.0f;
  }
  return x;
}

// For the model's shapes; open dimensions are 1.
std::vector<Value> inputs_of(const Model& model) {
  std::vector<Value> out;
  for (const Port& p : model.inputs()) {
    Dims dims;
    for (const Dim d : p.fact.dims) dims.push_back(d.known() ? d.value() : 1);
    out.emplace_back(noise(p.fact.dtype, dims));
  }
  return out;
}

bool same_bits(const Value& a, const Value& b) {
  const Tensor &x = a.tensor(), &y = b.tensor();
  return x.dtype() == y.dtype() && x.dims() == y.dims() &&
         std::memcmp(x.raw(), y.raw(), static_cast<size_t>(x.bytes())) == 0;
}

std::string read(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}
void write(const std::string& path, const std::string& bytes) {
  std::ofstream(path, std::ios::binary).write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
}

// Runs the plan and the model and compares; the steps must be the same ones, too.
void check_same(const Model& model, const SessionOptions& options, const std::string& path,
                const std::vector<Value>& inputs) {
  compile_plan(model, {.session = options, .shapes = {inputs}}, path);
  const Session from_model(model, options);
  const Session from_plan(PlanFile::open(path));
  CHECK(from_plan.explain_plan(inputs).size() > 0);
  REQUIRE(from_plan.inputs().size() == from_model.inputs().size());
  for (size_t i = 0; i < inputs.size(); ++i) {
    CHECK(from_plan.inputs()[i].name == from_model.inputs()[i].name);
    CHECK(from_plan.inputs()[i].dim_names == from_model.inputs()[i].dim_names);
  }
  Profile a, b;
  const std::vector<Value> want = from_model.run_profiled(inputs, a), got = from_plan.run_profiled(inputs, b);
  CHECK(a.size() == b.size());
  for (size_t i = 0; i < std::min(a.size(), b.size()); ++i) {
    INFO(a[i].node);
    CHECK(a[i].node == b[i].node);
    CHECK(a[i].kernel == b[i].kernel);
  }
  REQUIRE(want.size() == got.size());
  for (size_t i = 0; i < want.size(); ++i) {
    CHECK(from_plan.outputs()[i].name == from_model.outputs()[i].name);
    CHECK(same_bits(want[i], got[i]));
  }
}

Code code_of(const std::function<void()>& f) {
  try {
    f();
  } catch (const Error& e) {
    return e.code();
  }
  return Code::ok;
}

int effort() {
  const char* times = std::getenv("SKYLINE_FUZZ");
  return times ? std::max(1, std::atoi(times)) : 1;
}

}  // namespace

TEST_CASE("a plan file computes the same bits, for the shapes it is prepared for and for others") {
  const Folder folder;
  const Model model = Model::load(digits_path());
  const std::string path = folder / "digits.plan";
  for (const int threads : {1, 2}) {
    const SessionOptions options{.threads = threads};
    check_same(model, options, path, {noise(DType::f32, {1, 1, 16, 16})});
    const Session from_model(model, options), from_plan(PlanFile::open(path));
    CHECK(from_plan.options().threads == threads);
    for (const int64_t batch : {1, 3}) {
      const std::vector<Value> x{noise(DType::f32, {batch, 1, 16, 16})};
      CHECK(same_bits(from_model.run(x)[0], from_plan.run(x)[0]));
    }
  }
}

TEST_CASE("weights that are only read packed are in the file once, and outlive it") {
  const Folder folder;
  Graph g;
  const ValueId x = g.add_input("x", Fact(DType::f32, {4, 256})), y = g.add_value("y");
  g.add_node("MatMul", "product", {x, g.add_constant("w", noise(DType::f32, {256, 512}))}, {y});
  g.add_output(y, "y");
  const Model model(std::move(g));
  const std::string path = folder / "product.plan";
  check_same(model, {.threads = 1}, path, {noise(DType::f32, {4, 256})});
  const PlanFile plan = PlanFile::open(path);
  CHECK(plan.packed_bytes() >= 256 * 512 * 4);
  CHECK(plan.bytes() < plan.packed_bytes() + 65536);
  const Session session(plan);
  const std::vector<Value> in{noise(DType::f32, {4, 256})};
  const Value before = session.run(in)[0];
  fs::remove(path);
  CHECK(same_bits(before, session.run(in)[0]));
}

TEST_CASE("a plan file says what was chosen, for which model and session") {
  const Folder folder;
  const Model model = Model::load(digits_path());
  const std::string path = folder / "digits.plan", sha1(40, 'a');
  Frontier f;
  f.info = {.model = "digits.onnx", .model_sha1 = sha1, .machine = machine_facts()};
  f.info.ranges["x"] = {-1, 2};
  f.points = {{.id = "p7", .threads = 2}};
  f.points[0].choices.push_back({.node = "n", .op = "Conv", .rung = Precision::bf16});
  compile_plan(model, {.session = {.threads = 2}, .model_sha1 = sha1, .choice = f}, path);
  CHECK(is_plan_file(path));
  CHECK_FALSE(is_plan_file(digits_path()));
  const PlanFile plan = PlanFile::open(path);
  CHECK(plan.mismatch().empty());
  CHECK(plan.model_sha1() == sha1);
  CHECK(plan.options().threads == 2);
  CHECK(plan.choice() == f);
  CHECK(load_frontier(path) == f);
  CHECK(code_of([&] { compile_plan(model, {.session = {.optimize = false}}, path); }) == Code::unsupported);
}

TEST_CASE("a plan for another machine or build is refused, and the difference named") {
  using plan_file::difference;
  const plan_file::Key here = plan_file::key_of_here();
  CHECK(difference(here, here).empty());
  const auto changed = [&](auto change) {
    plan_file::Key key = here;
    change(key);
    return difference(key, here);
  };
  CHECK(changed([](auto& k) { k.cpu_isa = "sse2"; }).find("CPU features sse2") != std::string::npos);
  CHECK(changed([](auto& k) { k.l2 += 1; }).find("L2 cache") != std::string::npos);
  CHECK(changed([](auto& k) { k.build = "0"; }).find("build 0") != std::string::npos);
  CHECK(changed([](auto& k) { k.skyline = "9.9.9"; }).find("Skyline 9.9.9") != std::string::npos);

  // The same through a file: its table says another build, and its checksums agree.
  const Folder folder;
  const std::string path = folder / "digits.plan";
  compile_plan(Model::load(digits_path()), {.session = {.threads = 1}}, path);
  std::string bytes = read(path);
  const size_t at = bytes.find(here.build);
  REQUIRE(at != std::string::npos);
  bytes[at] = bytes[at] == '0' ? '1' : '0';
  plan_file::Header h{};
  std::memcpy(&h, bytes.data(), sizeof h);
  h.table_checksum = plan_file::checksum(bytes.data() + sizeof h, h.table_bytes);
  h.checksum = plan_file::checksum(&h, offsetof(plan_file::Header, checksum));
  std::memcpy(bytes.data(), &h, sizeof h);
  write(path, bytes);
  const PlanFile plan = PlanFile::open(path);
  CHECK(plan.mismatch().find("build") != std::string::npos);
  CHECK(code_of([&] { const Session s(plan); }) == Code::unsupported);
}

TEST_CASE("a plan file that is cut short or changed anywhere is refused") {
  const Folder folder;
  const std::string path = folder / "digits.plan", other = folder / "broken.plan";
  compile_plan(Model::load(digits_path()), {.session = {.threads = 1}}, path);
  const std::string whole = read(path);
  const auto opens = [&](const std::string& bytes) {
    write(other, bytes);
    return code_of([&] { (void)PlanFile::open(other); });
  };
  REQUIRE(opens(whole) == Code::ok);
  for (size_t n = 0; n < whole.size(); n += n < 128 ? 1 : 997)
    CHECK(opens(whole.substr(0, n)) == Code::parse);
  CHECK(opens(whole + "x") == Code::parse);
  CHECK(code_of([&] { (void)PlanFile::open(folder / "none.plan"); }) == Code::io);
  CHECK(code_of([&] { (void)PlanFile::open(folder.path.string()); }) == Code::io);
  CHECK(code_of([&] { (void)PlanFile::open(digits_path()); }) == Code::parse);
  test::Mutator mutate(5);
  for (int i = 0; i < 300 * effort(); ++i) {
    const std::string bytes = mutate(whole);
    INFO("try ", i);
    const Code code = opens(bytes);
    // Only the padding between blobs is nobody's.
    CHECK((code == Code::parse || code == Code::unsupported || code == Code::ok));
    CHECK(code != Code::internal);
  }
}

// Checksums find accidents. What gets past them is held up by the verifier and by what a graph must be.
TEST_CASE("a plan file whose table is anything, with the right checksums, ends in an error or runs") {
  const Folder folder;
  const std::string path = folder / "digits.plan", other = folder / "broken.plan";
  const Model model = Model::load(digits_path());
  const std::vector<Value> x{noise(DType::f32, {1, 1, 16, 16})};
  compile_plan(model, {.session = {.threads = 1}, .shapes = {x}}, path);
  const std::string whole = read(path);
  plan_file::Header header{};
  std::memcpy(&header, whole.data(), sizeof header);
  test::Mutator random(7);
  int ran = 0, refused = 0;
  for (int i = 0; i < 600 * effort(); ++i) {
    INFO("try ", i);
    std::string bytes = whole;
    for (uint64_t n = 1 + random.below(4); n > 0; --n) {
      const size_t at = sizeof header + random.below(header.table_bytes);
      static constexpr uint8_t kEdges[] = {0x00, 0x01, 0x02, 0x7f, 0x80, 0xff};
      bytes[at] =
          static_cast<char>(random.below(2) ? bytes[at] ^ (1 << random.below(8)) : kEdges[random.below(6)]);
    }
    plan_file::Header h = header;
    h.table_checksum = plan_file::checksum(bytes.data() + sizeof h, h.table_bytes);
    h.checksum = plan_file::checksum(&h, offsetof(plan_file::Header, checksum));
    std::memcpy(bytes.data(), &h, sizeof h);
    write(other, bytes);
    const Code code = code_of([&] {
      const PlanFile plan = PlanFile::open(other);
      (void)code_of([&] { (void)plan.choice(); });
      const Session session(plan);
      const RunOptions limit{.deadline = std::chrono::steady_clock::now() + std::chrono::seconds(2)};
      (void)session.run(x, limit);
    });
    CHECK(code != Code::internal);
    ++(code == Code::ok ? ran : refused);
  }
  CHECK(refused > 0);
  CHECK(ran > 0);
}

TEST_CASE("the given models compute the same bits from their plan files") {
  const char* set = std::getenv("SKYLINE_MODELS");
  const fs::path models =
      set ? fs::path(set) / "models" : fs::path(SKYLINE_SOURCE_DIR).parent_path() / "shared/models/models";
  if (!fs::is_directory(models)) {
    MESSAGE("SKIPPED: no models in $SKYLINE_MODELS (default: shared/models beside the checkout)");
    return;
  }
  const Folder folder;
  std::vector<fs::path> files;
  for (const auto& entry : fs::recursive_directory_iterator(models)) {
    if (entry.path().extension() == ".onnx") files.push_back(entry.path());
  }
  std::sort(files.begin(), files.end());
  for (const fs::path& file : files) {
    INFO(file.string());
    const Model model = Model::load(file.string());
    const fs::path recorded = file.parent_path() / "test_data_set_0";
    const Session described(model, {.threads = 1});
    const std::vector<Value> inputs =
        fs::exists(recorded / "input_0.pb")
            ? data::read_data_set(recorded.string(), "input", described.inputs())
            : inputs_of(model);
    check_same(model, {.threads = 2}, folder / "m.plan", inputs);
  }
}
