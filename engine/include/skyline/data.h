#pragma once
// Labelled and unlabelled examples from files, and what accuracy means on them.
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "skyline/quant.h"
#include "skyline/session.h"

#pragma GCC visibility push(default)  // part of the shared library's interface
namespace skyline {

// From a picture to an input: scale, crop, normalise. Layout, dtype and size follow from the model's input.
struct Preprocess {
  int64_t resize = 0;                      // the shorter side becomes this long, bilinearly; 0: as it is
  int64_t crop = 0;                        // then a square of this size from the middle; 0: none
  std::vector<double> mean{0, 0, 0};       // subtracted per channel, on the 0..255 scale
  std::vector<double> std{255, 255, 255};  // divides then
  bool bgr = false;                        // blue first

  // A JSON object with any of: resize, crop, mean, std, color ("RGB", "BGR"), layout ("NCHW", "NHWC"), dtype
  // ("f32", "u8"). The last two are checked against the model's input. Error{input} names what is wrong.
  static Preprocess load(const std::string& path);
  std::string layout, dtype;  // as declared, or empty
};

// One example. Inputs are in the order of the model's; references are what a test_data_set holds as outputs.
struct Example {
  std::string name;
  std::vector<Value> inputs, references;
  Tensor label;  // i64 class or sequence, f32 number; undefined: none
};

// Examples on disk, read when asked for. Copies share.
class Dataset {
 public:
  // What `path` may be:
  //   a folder with labels.tsv (NAME TAB LABEL): images, .npy (models of one input) or .npz files
  //   a folder of such files without labels
  //   a folder with one .npy per input, named after it, and labels.npy; or one .npz with such arrays: row i
  //   of each is example i. Rows keep a leading 1 where the array has the input's rank a folder of
  //   test_data_set_N folders, or one of those
  // A file of one example (.npz) has its label as array `labels`. preprocess.json beside the examples is read
  // unless `preprocess` is given. Error{io} and Error{input} name the file.
  static Dataset open(const std::string& path, const std::vector<ValueDescription>& inputs,
                      const std::vector<ValueDescription>& outputs,
                      const std::optional<Preprocess>& preprocess = std::nullopt);

  // Examples that are in memory. `kind` says what they are, as kind() does.
  static Dataset of(std::vector<Example> examples, std::string kind);

  int64_t size() const;
  bool labelled() const;
  std::string kind() const;  // "500 images with labels"
  Example at(int64_t i) const;

  class Source;  // engine/data

 private:
  std::shared_ptr<const Source> source_;
};

// Disjoint examples for choosing ranges, for choosing among plans, and for the final report.
struct Split {
  std::vector<int64_t> calibration, selection, report;
};
// In an order that depends on the seed alone. Shares of the whole; the report takes what is left, and every
// part at least one example where there are three.
Split split(int64_t examples, uint64_t seed, double calibration = 0.2, double selection = 0.3);
// These examples of the set, as the quantizer takes them.
quant::Examples examples_of(const Dataset& data, std::vector<int64_t> indices);

// How good outputs are. With labels:
//   top1, top5   share of examples whose class is (among) the best; ties share the credit
//   mae          mean absolute error of the first output from the label
//   spearman     rank correlation of the outputs' first number with the label; with two rows, of their cosine
//   sequence     share whose greedy CTC decoding (best class, repeats merged, class 0 dropped) is the label
// Against reference outputs, those of f32:
//   agreement    share with the same best class (along the last axis)
//   cosine       mean cosine of the first outputs
//   sqnr         signal to noise of all first outputs, dB
enum class MetricKind : uint8_t { top1, top5, mae, spearman, sequence, agreement, cosine, sqnr };
std::string_view name(MetricKind m) noexcept;
MetricKind metric_from_name(std::string_view s);  // Error{invalid} listing the known names
bool needs_labels(MetricKind m) noexcept;
bool higher_is_better(MetricKind m) noexcept;

// Spearman's: of the ranks of a and b, which are as long; equal values share theirs. NaN if one is constant.
double rank_correlation(const std::vector<double>& a, const std::vector<double>& b);

// A metric that accumulates.
class Metric {
 public:
  using UserMetric = std::function<double(const Example&, std::span<const Value> outputs)>;
  explicit Metric(MetricKind kind);
  // The mean of what the callback returns.
  Metric(std::string name, UserMetric callback);

  // outputs: of the model on this example; reference: of f32, for the metrics that need it.
  void add(const Example& example, std::span<const Value> outputs, std::span<const Value> reference = {});
  double value() const;  // NaN before the first example
  int64_t count() const { return count_; }
  const std::string& name() const { return name_; }
  // Per example, for paired comparisons; empty for spearman and sqnr.
  const std::vector<double>& each() const { return each_; }

 private:
  MetricKind kind_ = MetricKind::top1;
  std::string name_;
  UserMetric callback_;
  int64_t count_ = 0;
  double signal_ = 0, noise_ = 0;
  std::vector<double> each_, found_, wanted_;
};

}  // namespace skyline
#pragma GCC visibility pop
