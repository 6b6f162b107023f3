// Examples from files, splits, metrics.
#include "skyline/data.h"

#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <set>

#include "doctest/doctest.h"
#include "engine/data/npz.h"
#include "graph/onnx/file.h"

namespace skyline {
namespace {

namespace fs = std::filesystem;

// A folder that goes with the test.
struct Folder {
  fs::path path;
  Folder() {
    static int count = 0;
    path = fs::temp_directory_path() /
           ("skyline_data_" + std::to_string(::getpid()) + "_" + std::to_string(count++));
    fs::create_directories(path);
  }
  ~Folder() { fs::remove_all(path); }
  std::string operator/(const std::string& name) const { return (path / name).string(); }
};

std::vector<ValueDescription> ports(std::initializer_list<std::pair<const char*, SymDims>> list) {
  std::vector<ValueDescription> out;
  for (const auto& [name, dims] : list) out.push_back({name, Fact(DType::f32, dims), {}});
  return out;
}

template <class T>
void append(std::string& to, T value) {
  to.append(reinterpret_cast<const char*>(&value), sizeof value);
}

// An archive of stored entries, as np.savez writes it.
std::string archive(const std::vector<std::pair<std::string, std::string>>& entries, uint16_t method = 0) {
  std::string out, list;
  for (const auto& [name, bytes] : entries) {
    const auto at = static_cast<uint32_t>(out.size()), n = static_cast<uint32_t>(bytes.size());
    out += std::string("PK\x03\x04\x14\0\0\0", 8);
    append<uint16_t>(out, method);
    append<uint32_t>(out, 0), append<uint32_t>(out, 0), append(out, n), append(out, n);
    append(out, static_cast<uint16_t>(name.size())), append<uint16_t>(out, 0);
    out += name + bytes;
    list += std::string("PK\x01\x02\x14\0\x14\0\0\0", 10);
    append<uint16_t>(list, method);
    append<uint32_t>(list, 0), append<uint32_t>(list, 0), append(list, n), append(list, n);
    append(list, static_cast<uint16_t>(name.size()));
    for (int i = 0; i < 4; ++i) append<uint16_t>(list, 0);
    append<uint32_t>(list, 0), append(list, at);
    list += name;
  }
  const auto at = static_cast<uint32_t>(out.size());
  out += list + std::string("PK\x05\x06\0\0\0\0", 8);
  append(out, static_cast<uint16_t>(entries.size())), append(out, static_cast<uint16_t>(entries.size()));
  append(out, static_cast<uint32_t>(list.size())), append(out, at), append<uint16_t>(out, 0);
  return out;
}

std::string npy_bytes(const Folder& f, const Tensor& t) {
  data::write_npy(f / "scratch.bin", t);
  return onnx::read_file(f / "scratch.bin", 1 << 20);
}

Tensor ramp(Dims dims) {
  Tensor t(DType::f32, std::move(dims));
  for (int64_t i = 0; i < t.size(); ++i) t.mutable_data<float>()[i] = static_cast<float>(i);
  return t;
}

}  // namespace

TEST_CASE("rows of arrays, loose and in an archive") {
  const Folder f;
  const auto inputs = ports({{"x", {Dim::unknown(), 2}}, {"y", {3}}});
  const Tensor x = ramp({4, 2}), y = ramp({4, 3}), labels = Tensor::of<int32_t>({4}, {7, 8, 9, 10});
  fs::create_directory(f.path / "rows");
  data::write_npy(f / "rows/x.npy", x);
  data::write_npy(f / "rows/y.npy", y);
  data::write_npy(f / "rows/labels.npy", labels);
  onnx::write_file(f / "all.npz", archive({{"x.npy", npy_bytes(f, x)},
                                           {"y.npy", npy_bytes(f, y)},
                                           {"labels.npy", npy_bytes(f, labels)}}));
  for (const char* name : {"rows", "all.npz"}) {
    CAPTURE(name);
    const Dataset d = Dataset::open(f / name, inputs, {});
    REQUIRE(d.size() == 4);
    CHECK(d.labelled());
    const Example e = d.at(2);
    CHECK(e.inputs[0].tensor().dims() == Dims{1, 2});  // the array has the input's rank
    CHECK(e.inputs[0].tensor().data<float>()[1] == 5);
    CHECK(e.inputs[1].tensor().dims() == Dims{3});  // it has one more
    CHECK(e.inputs[1].tensor().data<float>()[0] == 6);
    CHECK(e.label.data<int64_t>()[0] == 9);
    CHECK_THROWS_AS(d.at(4), Error);
  }
  onnx::write_file(f / "packed.npz", archive({{"x.npy", npy_bytes(f, x)}}, 8));
  CHECK_THROWS_WITH_AS(Dataset::open(f / "packed.npz", inputs, {}), doctest::Contains("compressed"), Error);
  onnx::write_file(f / "half.npz", archive({{"x.npy", npy_bytes(f, x)}}));
  CHECK_THROWS_WITH_AS(Dataset::open(f / "half.npz", inputs, {}), doctest::Contains("'y'"), Error);
  const std::string whole = onnx::read_file(f / "all.npz", 1 << 20);
  for (size_t cut = 0; cut < whole.size(); cut += 37) {
    onnx::write_file(f / "cut.npz", std::string_view(whole).substr(0, cut));
    CHECK_THROWS_AS(Dataset::open(f / "cut.npz", inputs, {}), Error);
  }
  for (size_t at = 0; at < whole.size();
       at += 11) {  // damaged anywhere: an error or other numbers, never a crash
    std::string bent = whole;
    bent[at] = static_cast<char>(bent[at] ^ 0x55);
    onnx::write_file(f / "bent.npz", bent);
    try {
      const Dataset d = Dataset::open(f / "bent.npz", inputs, {});
      for (int64_t i = 0; i < std::min<int64_t>(d.size(), 8); ++i) (void)d.at(i);
    } catch (const Error&) {
    }
  }
}

TEST_CASE("files with a table of labels, and without") {
  const Folder f;
  const auto inputs = ports({{"x", {2}}});
  data::write_npy(f / "b.npy", ramp({2}));
  onnx::write_file(f / "a.npz", archive({{"x.npy", npy_bytes(f, ramp({2}))}}));
  CHECK(Dataset::open(f.path.string(), inputs, {}).size() == 2);
  CHECK_FALSE(Dataset::open(f.path.string(), inputs, {}).labelled());
  onnx::write_file(f / "labels.tsv", "b.npy\t3\tthird\na.npz\t1 2 3\r\n\nb.npy\t0.5\n");
  const Dataset d = Dataset::open(f.path.string(), inputs, {});
  REQUIRE(d.size() == 3);
  CHECK(d.at(0).label.data<int64_t>()[0] == 3);
  CHECK(d.at(1).label.dims() == Dims{3});
  CHECK(d.at(2).label.data<float>()[0] == 0.5f);
  CHECK_THROWS_WITH_AS(Dataset::open(f.path.string(), ports({{"x", {2}}, {"y", {2}}}), {}).at(0),
                       doctest::Contains("one input"), Error);
  onnx::write_file(f / "labels.tsv", "no tab here\n");
  CHECK_THROWS_AS(Dataset::open(f.path.string(), inputs, {}), Error);
  CHECK_THROWS_AS(Dataset::open(f / "missing", inputs, {}), Error);
  fs::create_directory(f.path / "empty");
  CHECK_THROWS_WITH_AS(Dataset::open(f / "empty", inputs, {}), doctest::Contains("no examples"), Error);
}

TEST_CASE("preprocessing is declared in a small file") {
  const Folder f;
  onnx::write_file(f / "p.json",
                   R"({"resize": 256, "crop": 224, "mean": [1, 2, 3], "std": 2, "color": "BGR"})");
  const Preprocess p = Preprocess::load(f / "p.json");
  CHECK(p.resize == 256);
  CHECK(p.crop == 224);
  CHECK(p.mean == std::vector<double>{1, 2, 3});
  CHECK(p.std == std::vector<double>{2, 2, 2});
  CHECK(p.bgr);
  for (const char* bad : {"[]", "{", R"({"sice": 1})", R"({"std": 0})", R"({"mean": [1, 2]})",
                          R"({"crop": -1})", R"({"color": "CMYK"})"}) {
    CAPTURE(bad);
    onnx::write_file(f / "bad.json", bad);
    CHECK_THROWS_WITH_AS(Preprocess::load(f / "bad.json"), doctest::Contains("bad.json"), Error);
  }
}

TEST_CASE("a split is disjoint, whole, and a matter of the seed") {
  for (int64_t n : {0, 1, 2, 3, 10, 500}) {
    CAPTURE(n);
    const Split s = split(n, 7);
    std::set<int64_t> all;
    for (const auto* part : {&s.calibration, &s.selection, &s.report}) all.insert(part->begin(), part->end());
    CHECK(static_cast<int64_t>(all.size()) == n);
    CHECK(static_cast<int64_t>(s.calibration.size() + s.selection.size() + s.report.size()) == n);
    if (n >= 3) CHECK(std::min({s.calibration.size(), s.selection.size(), s.report.size()}) >= 1);
    CHECK(split(n, 7).report == s.report);
  }
  CHECK(split(500, 7).calibration.size() == 100);
  CHECK(split(500, 7).calibration != split(500, 8).calibration);
}

TEST_CASE("metrics") {
  const auto value = [](std::vector<float> v, Dims d) { return Value(Tensor::of<float>(std::move(d), v)); };
  const auto labelled = [](int64_t c) { return Example{"", {}, {}, Tensor::scalar(c)}; };
  Metric top1(MetricKind::top1), top5(MetricKind::top5);
  const std::vector<Value> tie{value({1, 5, 5, 0, 2, 3, 4}, {1, 7})};
  top1.add(labelled(1), tie);
  top1.add(labelled(6), tie);
  top5.add(labelled(0), tie);
  top5.add(labelled(4), tie);
  CHECK(top1.value() == doctest::Approx(0.25));
  CHECK(top5.value() == doctest::Approx(0.5));
  CHECK_THROWS_AS(top1.add(labelled(7), tie), Error);
  CHECK_THROWS_AS(top1.add(Example{}, tie), Error);

  Metric mae(MetricKind::mae), rank(MetricKind::spearman);
  const float found[] = {1, 4, 9, 16}, wanted[] = {0.5f, 1, 2, 2.5f};
  for (int i = 0; i < 4; ++i) {
    const Example e{"", {}, {}, Tensor::scalar(wanted[i])};
    const std::vector<Value> y{value({found[i]}, {1, 1})};
    mae.add(e, y);
    rank.add(e, y);
  }
  CHECK(mae.value() == doctest::Approx(6));
  CHECK(rank.value() == doctest::Approx(1));

  Metric sequence(MetricKind::sequence);
  // Classes by step: 2 2 0 2 1.
  const std::vector<Value> steps{value({0, 0, 1, 0, 0, 1, 1, 0, 0, 0, 0, 1, 0, 1, 0}, {1, 5, 3})};
  sequence.add(Example{"", {}, {}, Tensor::vector({2, 2, 1})}, steps);
  sequence.add(Example{"", {}, {}, Tensor::vector({2, 1})}, steps);
  CHECK(sequence.value() == 0.5);

  Metric agreement(MetricKind::agreement), cosine(MetricKind::cosine), sqnr(MetricKind::sqnr);
  const std::vector<Value> a{value({1, 2, 4, 3}, {2, 2})}, b{value({2, 1, 4, 3}, {2, 2})};
  for (Metric* m : {&agreement, &cosine, &sqnr}) m->add({}, b, a);
  CHECK(agreement.value() == 0.5);
  CHECK(cosine.value() == doctest::Approx(29.0 / 30));
  CHECK(sqnr.value() == doctest::Approx(10 * std::log10(15.0)));
  CHECK_THROWS_AS(sqnr.add({}, b), Error);

  Metric mine("mine",
              [](const Example&, std::span<const Value> y) { return y[0].tensor().data<float>()[2]; });
  mine.add({}, a);
  CHECK(mine.value() == 4);
  CHECK(std::isnan(Metric(MetricKind::mae).value()));
  for (int i = 0; i <= static_cast<int>(MetricKind::sqnr); ++i) {
    const auto m = static_cast<MetricKind>(i);
    CHECK(metric_from_name(name(m)) == m);
  }
  CHECK_THROWS_AS(metric_from_name("best"), Error);
}

}  // namespace skyline
