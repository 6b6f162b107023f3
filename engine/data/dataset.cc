#include <algorithm>
#include <charconv>
#include <filesystem>
#include <map>
#include <numeric>
#include <random>

#include "engine/data/image.h"
#include "engine/data/npz.h"
#include "engine/data/values.h"
#include "skyline/data.h"

namespace skyline {

// Where examples come from.
class Dataset::Source {
 public:
  virtual ~Source() = default;
  virtual int64_t size() const = 0;
  virtual bool labelled() const = 0;
  virtual std::string kind() const = 0;
  virtual Example at(int64_t i) const = 0;
};

namespace {

namespace fs = std::filesystem;
using data::ArrayFile;
using Ports = std::vector<ValueDescription>;
constexpr const char* kLabels = "labels";

// A number, or a list of whole numbers apart by blanks: what a metric can use. Anything else is no label.
Tensor parse_label(std::string_view text) {
  std::vector<int64_t> whole;
  std::string_view rest = text;
  while (true) {
    while (!rest.empty() && rest.front() == ' ') rest.remove_prefix(1);
    if (rest.empty()) break;
    int64_t n = 0;
    const auto [end, error] = std::from_chars(rest.data(), rest.data() + rest.size(), n);
    if (error != std::errc() || (end != rest.data() + rest.size() && *end != ' ')) break;
    whole.push_back(n);
    rest.remove_prefix(static_cast<size_t>(end - rest.data()));
  }
  if (rest.empty() && whole.size() == 1) return Tensor::scalar(whole[0]);
  if (rest.empty()) return Tensor::vector(whole);
  float real = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), real);
  if (error == std::errc() && end == text.data() + text.size()) return Tensor::scalar(real);
  return {};
}

// Labels as metrics take them: i64 or f32.
Tensor as_label(const Tensor& t, const std::string& where) {
  if (t.dtype() == DType::i64 || t.dtype() == DType::f32) return t;
  Tensor out(t.dtype() == DType::f64 ? DType::f32 : DType::i64, t.dims());
  for (int64_t i = 0; i < t.size(); ++i) {
    switch (t.dtype()) {
      case DType::f64:
        out.mutable_data<float>()[i] = static_cast<float>(t.data<double>()[i]);
        break;
      case DType::i32:
        out.mutable_data<int64_t>()[i] = t.data<int32_t>()[i];
        break;
      case DType::u8:
        out.mutable_data<int64_t>()[i] = t.data<uint8_t>()[i];
        break;
      default:
        throw Error(Code::input, where + ": labels are " + std::string(name(t.dtype())) +
                                     ", not whole numbers, f32 or f64");
    }
  }
  return out;
}

const ValueDescription& only_input(const Ports& inputs, const std::string& path) {
  if (inputs.size() == 1) return inputs[0];
  throw Error(Code::input, "'" + path + "' can feed a model of one input; this one has " +
                               std::to_string(inputs.size()) + ": use .npz files with an array for each");
}

bool is_image(const std::string& name) {
  std::string end = fs::path(name).extension().string();
  for (char& c : end) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return end == ".jpg" || end == ".jpeg" || end == ".png";
}
bool is_example(const std::string& name) {
  return is_image(name) || name.ends_with(".npy") || name.ends_with(".npz");
}

// One file an example.
class MemorySource : public Dataset::Source {
 public:
  MemorySource(std::vector<Example> examples, std::string kind)
      : examples_(std::move(examples)), kind_(std::move(kind)) {}
  int64_t size() const override { return static_cast<int64_t>(examples_.size()); }
  bool labelled() const override { return !examples_.empty() && examples_[0].label.defined(); }
  std::string kind() const override { return kind_; }
  Example at(int64_t i) const override { return examples_.at(static_cast<size_t>(i)); }

 private:
  std::vector<Example> examples_;
  std::string kind_;
};

class FileSource : public Dataset::Source {
 public:
  struct Row {
    std::string name;
    Tensor label;
  };
  FileSource(std::string folder, Ports inputs, std::vector<Row> rows, Preprocess how)
      : folder_(std::move(folder)),
        inputs_(std::move(inputs)),
        rows_(std::move(rows)),
        how_(std::move(how)) {}

  int64_t size() const override { return static_cast<int64_t>(rows_.size()); }
  bool labelled() const override { return !rows_.empty() && at(0).label.defined(); }
  std::string kind() const override {
    const bool images = !rows_.empty() && is_image(rows_[0].name);
    return std::to_string(size()) + (images ? " images" : " files") + (labelled() ? " with labels" : "");
  }
  Example at(int64_t i) const override {
    const Row& row = rows_.at(static_cast<size_t>(i));
    const std::string path = (fs::path(folder_) / row.name).string();
    Example e{row.name, {}, {}, row.label};
    if (is_image(row.name)) {
      e.inputs.push_back(data::read_image(path, only_input(inputs_, path), how_));
    } else if (row.name.ends_with(".npz")) {
      const auto arrays = data::open_npz(path);
      for (const ValueDescription& p : inputs_) {
        const auto found = arrays.find(p.name);
        if (found == arrays.end()) throw Error(Code::input, "'" + path + "' has no array '" + p.name + "'");
        e.inputs.push_back(found->second.all());
      }
      if (const auto l = arrays.find(kLabels); l != arrays.end() && !e.label.defined())
        e.label = as_label(l->second.all(), path);
    } else {
      (void)only_input(inputs_, path);
      e.inputs.push_back(data::read_npy(path));
    }
    return e;
  }

 private:
  std::string folder_;
  Ports inputs_;
  std::vector<Row> rows_;
  Preprocess how_;
};

// One array an input, one row an example.
class RowSource : public Dataset::Source {
 public:
  RowSource(const Ports& inputs, const std::map<std::string, ArrayFile>& arrays, const std::string& path) {
    for (const ValueDescription& p : inputs) {
      const auto found = arrays.find(p.name);
      if (found == arrays.end()) throw Error(Code::input, "'" + path + "' has no array '" + p.name + "'");
      const Dims& d = found->second.dims();
      const int rank = p.fact.ranked ? p.fact.rank() : static_cast<int>(d.size());
      const int have = static_cast<int>(d.size());
      if (have != rank && have != rank + 1) {
        throw Error(Code::input, "'" + path + "': array '" + p.name + "' has shape " + to_string(d) +
                                     "; rows of rank " + std::to_string(rank) + " are needed");
      }
      if (have == 0) throw Error(Code::input, "'" + path + "': array '" + p.name + "' has no rows");
      if (count_ >= 0 && d[0] != count_) {
        throw Error(Code::input, "'" + path + "': array '" + p.name + "' has " + std::to_string(d[0]) +
                                     " rows, others have " + std::to_string(count_));
      }
      count_ = d[0];
      arrays_.push_back(found->second);
      keep_.push_back(have == rank);
    }
    count_ = std::max<int64_t>(count_, 0);
    const auto l = arrays.find(kLabels);
    if (l == arrays.end()) return;
    if (l->second.dims().empty() || l->second.dims()[0] != count_)
      throw Error(Code::input, "'" + path + "': labels do not have one row for each example");
    labels_ = l->second;
  }

  int64_t size() const override { return count_; }
  bool labelled() const override { return labels_.has_value(); }
  std::string kind() const override {
    return std::to_string(count_) + " rows of arrays" + (labels_ ? " with labels" : "");
  }
  Example at(int64_t i) const override {
    Example e{"row " + std::to_string(i), {}, {}, {}};
    for (size_t k = 0; k < arrays_.size(); ++k) e.inputs.push_back(arrays_[k].row(i, keep_[k]));
    if (labels_) e.label = as_label(labels_->row(i, false), "labels");
    return e;
  }

 private:
  std::vector<ArrayFile> arrays_;
  std::vector<bool> keep_;
  std::optional<ArrayFile> labels_;
  int64_t count_ = -1;
};

// ONNX's own test data.
class TestSource : public Dataset::Source {
 public:
  TestSource(std::vector<std::string> folders, Ports inputs, Ports outputs)
      : folders_(std::move(folders)), inputs_(std::move(inputs)), outputs_(std::move(outputs)) {}
  int64_t size() const override { return static_cast<int64_t>(folders_.size()); }
  bool labelled() const override { return false; }
  std::string kind() const override { return std::to_string(size()) + " test data sets"; }
  Example at(int64_t i) const override {
    const std::string& folder = folders_.at(static_cast<size_t>(i));
    Example e{fs::path(folder).filename().string(), data::read_data_set(folder, "input", inputs_), {}, {}};
    if (fs::exists(fs::path(folder) / "output_0.pb"))
      e.references = data::read_data_set(folder, "output", outputs_);
    return e;
  }

 private:
  std::vector<std::string> folders_;
  Ports inputs_, outputs_;
};

std::vector<FileSource::Row> read_table(const std::string& path) {
  const std::string text = onnx::read_file(path, int64_t{1} << 30);
  std::vector<FileSource::Row> rows;
  for (size_t at = 0; at < text.size();) {
    const size_t end = std::min(text.find('\n', at), text.size());
    std::string_view line = std::string_view(text).substr(at, end - at);
    at = end + 1;
    if (line.ends_with('\r')) line.remove_suffix(1);
    if (line.empty()) continue;
    const size_t tab = line.find('\t');
    if (tab == std::string_view::npos || tab == 0)
      throw Error(Code::input, "'" + path + "': line " + std::to_string(rows.size() + 1) +
                                   " is not a name, a tab and a label");
    const std::string_view rest = line.substr(tab + 1);
    rows.push_back({std::string(line.substr(0, tab)), parse_label(rest.substr(0, rest.find('\t')))});
  }
  return rows;
}

std::vector<std::string> names_in(const std::string& folder) {
  std::vector<std::string> names;
  try {
    for (const auto& e : fs::directory_iterator(folder)) names.push_back(e.path().filename().string());
  } catch (const fs::filesystem_error& e) {
    throw Error(Code::io, e.what());
  }
  std::sort(names.begin(), names.end());
  return names;
}

std::shared_ptr<const Dataset::Source> open_folder(const std::string& path, const Ports& inputs,
                                                   const Ports& outputs, const Preprocess& how) {
  const std::vector<std::string> names = names_in(path);
  const auto has = [&](const std::string& n) { return std::binary_search(names.begin(), names.end(), n); };
  if (has("labels.tsv"))
    return std::make_shared<FileSource>(path, inputs, read_table((fs::path(path) / "labels.tsv").string()),
                                        how);
  if (std::all_of(inputs.begin(), inputs.end(),
                  [&](const ValueDescription& p) { return has(p.name + ".npy"); })) {
    std::map<std::string, ArrayFile> arrays;
    for (const ValueDescription& p : inputs)
      arrays.emplace(p.name, ArrayFile::open((fs::path(path) / (p.name + ".npy")).string()));
    if (has("labels.npy")) arrays.emplace(kLabels, ArrayFile::open((fs::path(path) / "labels.npy").string()));
    return std::make_shared<RowSource>(inputs, arrays, path);
  }
  std::vector<std::string> sets;
  if (has("input_0.pb")) sets.push_back(path);
  std::vector<FileSource::Row> rows;
  for (const std::string& n : names) {
    if (n.starts_with("test_data_set_")) sets.push_back((fs::path(path) / n).string());
    if (is_example(n)) rows.push_back({n, {}});
  }
  if (rows.empty() && !sets.empty()) return std::make_shared<TestSource>(std::move(sets), inputs, outputs);
  return std::make_shared<FileSource>(path, inputs, std::move(rows), how);
}

}  // namespace

Dataset Dataset::open(const std::string& path, const Ports& inputs, const Ports& outputs,
                      const std::optional<Preprocess>& preprocess) {
  Dataset d;
  if (path.ends_with(".npz")) {
    d.source_ = std::make_shared<RowSource>(inputs, data::open_npz(path), path);
  } else if (!fs::exists(path)) {
    throw Error(Code::io, "'" + path + "' does not exist");
  } else if (!fs::is_directory(path)) {
    throw Error(Code::input, "'" + path + "' is neither a folder nor an .npz file");
  } else {
    const std::string declared = (fs::path(path) / "preprocess.json").string();
    const Preprocess how = preprocess             ? *preprocess
                           : fs::exists(declared) ? Preprocess::load(declared)
                                                  : Preprocess();
    d.source_ = open_folder(path, inputs, outputs, how);
  }
  if (d.size() == 0) throw Error(Code::input, "'" + path + "' holds no examples");
  return d;
}

Dataset Dataset::of(std::vector<Example> examples, std::string kind) {
  Dataset d;
  d.source_ = std::make_shared<MemorySource>(std::move(examples), std::move(kind));
  return d;
}

int64_t Dataset::size() const {
  return source_->size();
}
bool Dataset::labelled() const {
  return source_->labelled();
}
std::string Dataset::kind() const {
  return source_->kind();
}
Example Dataset::at(int64_t i) const {
  return source_->at(i);
}

Split split(int64_t examples, uint64_t seed, double calibration, double selection) {
  std::vector<int64_t> order(static_cast<size_t>(std::max<int64_t>(examples, 0)));
  std::iota(order.begin(), order.end(), 0);
  // Written out: what std::shuffle does with a generator differs between libraries.
  std::mt19937_64 random(seed);
  for (size_t i = order.size(); i > 1; --i) std::swap(order[i - 1], order[random() % i]);
  const auto part = [&](double share, int64_t left) {
    const auto n = static_cast<int64_t>(share * static_cast<double>(examples) + 0.5);
    return std::clamp<int64_t>(n, std::min<int64_t>(1, left), left);
  };
  const int64_t a = part(calibration, examples), b = part(selection, std::max<int64_t>(examples - a - 1, 0));
  Split s;
  s.calibration.assign(order.begin(), order.begin() + a);
  s.selection.assign(order.begin() + a, order.begin() + a + b);
  s.report.assign(order.begin() + a + b, order.end());
  return s;
}

quant::Examples examples_of(const Dataset& data, std::vector<int64_t> indices) {
  quant::Examples e;
  e.count = static_cast<int64_t>(indices.size());
  e.at = [data, indices = std::move(indices)](int64_t i) {
    return data.at(indices.at(static_cast<size_t>(i))).inputs;
  };
  return e;
}

}  // namespace skyline
