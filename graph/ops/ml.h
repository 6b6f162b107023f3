#pragma once
// What the ai.onnx.ml families share.
#include <span>
#include <string>
#include <vector>

#include "graph/ir/op.h"

namespace skyline::ops {

enum class PostTransform : uint8_t { none, softmax, logistic, softmax_zero, probit };

PostTransform parse_post_transform(const Attrs& attrs);  // the attribute post_transform, a text
// Of one row of scores, in place.
void apply_post_transform(PostTransform t, std::span<double> scores);

// The two scores that follow from the one of the second class, as ONNX Runtime makes them: LOGISTIC applies
// to -s and s, PROBIT to s for both, the others leave 1 - s (or, where s is no probability, -s) and s as they
// are.
void pair_scores(PostTransform t, double s, bool probability, std::span<double> out);

// A class has an integer or a text as label; exactly one list is filled.
struct Labels {
  std::vector<int64_t> integers;
  std::vector<std::string> texts;
  size_t size() const { return integers.empty() ? texts.size() : integers.size(); }
  DType dtype() const { return integers.empty() ? DType::string : DType::i64; }
};
Labels parse_labels(const Attrs& attrs, std::string_view integers, std::string_view texts);
// labels[picks[i]] as a vector; picks are in range.
Tensor pick_labels(const EvalContext& c, const Labels& labels, std::span<const int64_t> picks);

// [rows, features] of an input that may be one row of features; Error{invalid} for other ranks.
struct Rows {
  int64_t rows = 1, features = 0;
};
Rows rows_of(const Dims& dims);
// The number of rows and of features as far as the fact tells.
std::pair<Dim, Dim> rows_of(const Fact& f);
// The input as f64.
Tensor features_of(const EvalContext& c, size_t i);

// An attribute list of `count` floats, or one for all; Error{invalid} otherwise.
std::vector<float> per_feature(const Attrs& attrs, std::string_view name, int64_t count, float fallback);

// A row of an ai.onnx.ml family; max_inputs 0: exactly min_inputs.
constexpr OpDef ml_row(std::string_view name, InferFn infer, EvalFn eval, WorkFn work = nullptr,
                       int max_outputs = 1, int min_inputs = 1, int max_inputs = 0) {
  return {.name = name,
          .domain = "ai.onnx.ml",
          .min_inputs = min_inputs,
          .max_inputs = max_inputs ? max_inputs : min_inputs,
          .max_outputs = max_outputs,
          .infer = infer,
          .eval = eval,
          .work = work};
}

}  // namespace skyline::ops
