// ai.onnx.ml: operators that prepare features.
#include <algorithm>
#include <cmath>
#include <map>

#include "graph/ops/cast.h"
#include "graph/ops/families.h"
#include "graph/ops/ml.h"
#include "graph/ops/util.h"

namespace skyline::ops {
namespace {

// ---- Binarizer, Scaler, Normalizer, Imputer
// ----------------------------------------------------------------------------

void infer_to_f32(InferContext& c) {
  c.out(0, with_dtype(c.in(0), DType::f32));
}

using MlTypes = TypeList<float, double, int64_t, int32_t>;

void eval_binarizer(EvalContext& c) {
  const double threshold = c.attrs().real("threshold", 0.0f);
  const Tensor& x = c.in(0);
  Tensor y = c.make(x.dtype(), x.dims());
  visit_type(x.dtype(), MlTypes{}, [&]<class T>() {
    for (int64_t i = 0; i < x.size(); ++i) {
      y.mutable_data<T>()[i] = static_cast<T>(static_cast<double>(x.data<T>()[i]) > threshold);
    }
  });
  c.out(0, y);
}

void eval_scaler(EvalContext& c) {
  const Tensor x = features_of(c, 0);
  const int64_t columns = x.rank() == 0 ? 1 : x.dims().back();
  const auto offset = per_feature(c.attrs(), "offset", columns, 0.0f);
  const auto scale = per_feature(c.attrs(), "scale", columns, 1.0f);
  Tensor y = c.make(DType::f32, x.dims());
  for (int64_t i = 0; i < x.size(); ++i) {
    const auto k = static_cast<size_t>(i % columns);
    y.mutable_data<float>()[i] = static_cast<float>((x.data<double>()[i] - offset[k]) * scale[k]);
  }
  c.out(0, y);
}

// The largest element itself, not its magnitude, as the standard's formula has it.
double row_norm(const std::string& norm, std::span<const double> row) {
  if (norm == "MAX") return row.empty() ? 0 : *std::max_element(row.begin(), row.end());
  double n = 0;
  for (double v : row) n += norm == "L1" ? std::fabs(v) : v * v;
  return norm == "L2" ? std::sqrt(n) : n;
}

void eval_normalizer(EvalContext& c) {
  const std::string norm = c.attrs().text("norm", "MAX");
  if (norm != "MAX" && norm != "L1" && norm != "L2")
    throw Error(Code::invalid, "attribute norm is \"" + norm + "\"");
  const Tensor x = features_of(c, 0);
  const Rows r = rows_of(x.dims());
  Tensor y = c.make(DType::f32, x.dims());
  for (int64_t i = 0; i < r.rows; ++i) {
    const std::span<const double> row =
        x.span<double>().subspan(static_cast<size_t>(i * r.features), static_cast<size_t>(r.features));
    const double n = row_norm(norm, row);
    for (size_t k = 0; k < row.size(); ++k) {
      y.mutable_data<float>()[i * r.features + static_cast<int64_t>(k)] =
          static_cast<float>(n == 0 ? row[k] : row[k] / n);
    }
  }
  c.out(0, y);
}

void eval_imputer(EvalContext& c) {
  const Tensor& x = c.in(0);
  const int64_t columns = x.rank() == 0 ? 1 : x.dims().back();
  Tensor y = c.make(x.dtype(), x.dims());
  visit_type(x.dtype(), MlTypes{}, [&]<class T>() {
    std::vector<T> fill;
    T replaced{};
    if constexpr (std::is_integral_v<T>) {
      for (int64_t v : c.attrs().integers("imputed_value_int64s", {})) fill.push_back(static_cast<T>(v));
      replaced = static_cast<T>(c.attrs().integer("replaced_value_int64", 0));
    } else {
      for (float v : c.attrs().reals("imputed_value_floats", {})) fill.push_back(v);
      replaced = c.attrs().real("replaced_value_float", 0.0f);
    }
    if (fill.size() != 1 && static_cast<int64_t>(fill.size()) != columns) {
      throw Error(Code::invalid, std::to_string(fill.size()) + " imputed values for " +
                                     std::to_string(columns) + " features");
    }
    for (int64_t i = 0; i < x.size(); ++i) {
      const T v = x.data<T>()[i];
      const bool missing = v == replaced || (v != v && replaced != replaced);
      y.mutable_data<T>()[i] = missing ? fill[fill.size() == 1 ? 0 : static_cast<size_t>(i % columns)] : v;
    }
  });
  c.out(0, y);
}

// ---- ArrayFeatureExtractor: columns of the last axis
// ---------------------------------------------------------------------

void infer_extract(InferContext& c) {
  const Fact &x = c.in(0), &y = c.in(1);
  if (!x.ranked || !y.ranked) return c.out(0, Fact::unranked(x.dtype));
  if (x.rank() == 0) throw Error(Code::invalid, "the input is a scalar");
  SymDims out = x.dims;
  out.back() = product(y.dims);
  if (x.rank() == 1) out.insert(out.begin(), 1);
  c.out(0, Fact(x.dtype, out));
}

void eval_extract(EvalContext& c) {
  const Tensor& x = c.in(0);
  const Dims picks = c.in(1).size() == 0 ? Dims{} : c.ints(1);
  if (x.rank() == 0) throw Error(Code::invalid, "the input is a scalar");
  const int64_t columns = x.dims().back(), n = static_cast<int64_t>(picks.size());
  for (int64_t k : picks) {
    if (k < 0 || k >= columns) {
      throw Error(Code::input, "index " + std::to_string(k) + " of " + std::to_string(columns) + " features");
    }
  }
  Dims dims = x.dims();
  dims.back() = n;
  if (x.rank() == 1) dims.insert(dims.begin(), 1);
  Tensor y = c.make(x.dtype(), dims);
  const int64_t rows = columns == 0 ? 0 : x.size() / columns;
  visit_size(x.dtype(), [&]<class T>() {
    const T* in = static_cast<const T*>(x.raw());
    T* out = static_cast<T*>(y.mutable_raw());
    for (int64_t r = 0; r < rows; ++r) {
      for (int64_t k = 0; k < n; ++k) out[r * n + k] = in[r * columns + picks[static_cast<size_t>(k)]];
    }
  });
  c.out(0, y);
}

// ---- LabelEncoder, CategoryMapper: a table from keys to values
// -----------------------------------------------------------

// A list in an attribute: texts, integers, floats, or a tensor. Error{invalid} unless exactly one is there.
Tensor list_attribute(const Attrs& attrs, const std::string& stem) {
  Tensor out;
  int found = 0;
  if (attrs.has(stem + "_strings")) {
    const auto v = attrs.texts(stem + "_strings", {});
    out = Tensor::of<std::string>({static_cast<int64_t>(v.size())}, v);
    ++found;
  }
  if (attrs.has(stem + "_int64s")) out = Tensor::vector(attrs.integers(stem + "_int64s")), ++found;
  if (attrs.has(stem + "_floats")) {
    const auto v = attrs.reals(stem + "_floats", {});
    out = Tensor::of<float>({static_cast<int64_t>(v.size())}, v);
    ++found;
  }
  if (attrs.has(stem + "_tensor")) out = attrs.tensor(stem + "_tensor"), ++found;
  if (found != 1) throw Error(Code::invalid, "exactly one attribute " + stem + "_* is needed");
  return out;
}

Tensor default_label(const Attrs& attrs, DType t) {
  if (attrs.has("default_tensor")) {
    const Tensor& d = attrs.tensor("default_tensor");
    if (d.dtype() != t || d.size() != 1)
      throw Error(Code::invalid, "attribute default_tensor is no scalar of the values' dtype");
    return d;
  }
  switch (t) {
    case DType::string:
      return Tensor::of<std::string>({}, {attrs.text("default_string", "_Unused")});
    case DType::f32:
      return Tensor::scalar<float>(attrs.real("default_float", -0.0f));
    case DType::f64:
      return Tensor::scalar<double>(attrs.real("default_float", -0.0f));
    case DType::i64:
      return Tensor::scalar<int64_t>(attrs.integer("default_int64", -1));
    case DType::i32:
      return Tensor::scalar<int32_t>(static_cast<int32_t>(attrs.integer("default_int64", -1)));
    case DType::i16:
      return Tensor::scalar<int16_t>(static_cast<int16_t>(attrs.integer("default_int64", -1)));
    default:
      unsupported_type(t);
  }
}

// NaN keys are one key, whatever their bits; so are the two zeros.
struct KeyLess {
  template <class T>
  bool operator()(const T& a, const T& b) const {
    if constexpr (std::is_floating_point_v<T>) {
      if (std::isnan(a) || std::isnan(b)) return !std::isnan(a) && std::isnan(b);
    }
    return a < b;
  }
};

// y[i] = values[position of x[i] among keys], or the fallback.
void map_labels(EvalContext& c, const Tensor& keys, const Tensor& values, const Tensor& fallback) {
  const Tensor& x = c.in(0);
  if (keys.size() != values.size()) {
    throw Error(Code::invalid,
                std::to_string(keys.size()) + " keys and " + std::to_string(values.size()) + " values");
  }
  if (x.dtype() != keys.dtype()) {
    throw Error(Code::invalid, "the input is " + std::string(name(x.dtype())) + ", the keys " +
                                   std::string(name(keys.dtype())));
  }
  Tensor at = c.make(DType::i64, x.dims()), y = c.make(values.dtype(), x.dims());
  int64_t* position = at.mutable_data<int64_t>();
  using KeyTypes = TypeList<std::string, int64_t, float, double, int32_t, int16_t>;
  visit_type(x.dtype(), KeyTypes{}, [&]<class T>() {
    std::map<T, int64_t, KeyLess> index;
    for (int64_t k = 0; k < keys.size(); ++k) index[keys.data<T>()[k]] = k;  // the last of equal keys stays
    for (int64_t i = 0; i < x.size(); ++i) {
      const auto found = index.find(x.data<T>()[i]);
      position[i] = found == index.end() ? -1 : found->second;
    }
  });
  visit_size(values.dtype(), [&]<class T>() {
    const T *from = static_cast<const T*>(values.raw()), *other = static_cast<const T*>(fallback.raw());
    T* out = static_cast<T*>(y.mutable_raw());
    for (int64_t i = 0; i < x.size(); ++i) out[i] = position[i] < 0 ? *other : from[position[i]];
  });
  c.out(0, y);
}

void infer_label_encoder(InferContext& c) {
  c.out(0, with_dtype(c.in(0), list_attribute(c.attrs(), "values").dtype()));
}

void eval_label_encoder(EvalContext& c) {
  const Tensor values = list_attribute(c.attrs(), "values");
  map_labels(c, list_attribute(c.attrs(), "keys"), values, default_label(c.attrs(), values.dtype()));
}

void infer_category_mapper(InferContext& c) {
  c.out(0, with_dtype(c.in(0), c.in(0).dtype == DType::string ? DType::i64 : DType::string));
}

void eval_category_mapper(EvalContext& c) {
  const auto texts = c.attrs().texts("cats_strings", {});
  const Tensor text = Tensor::of<std::string>({static_cast<int64_t>(texts.size())}, texts);
  const Tensor number = Tensor::vector(c.attrs().integers("cats_int64s", {}));
  if (c.in(0).dtype() == DType::string) {
    map_labels(c, text, number, Tensor::scalar<int64_t>(c.attrs().integer("default_int64", -1)));
  } else {
    map_labels(c, number, text, Tensor::of<std::string>({}, {c.attrs().text("default_string", "_Unused")}));
  }
}

// ---- OneHotEncoder
// -------------------------------------------------------------------------------------------------------

void infer_one_hot(InferContext& c) {
  const Labels cats = parse_labels(c.attrs(), "cats_int64s", "cats_strings");
  Fact f = with_dtype(c.in(0), DType::f32);
  if (f.ranked) f.dims.push_back(static_cast<int64_t>(cats.size()));
  c.out(0, f);
}

void eval_one_hot(EvalContext& c) {
  const Labels cats = parse_labels(c.attrs(), "cats_int64s", "cats_strings");
  const bool zeros = c.attrs().integer("zeros", 1) != 0;
  const bool text = c.in(0).dtype() == DType::string;
  if (text != cats.integers.empty()) throw Error(Code::invalid, "categories and input have different dtypes");
  const Tensor x = text ? c.in(0) : cast_tensor(c, c.in(0), DType::i64);
  std::map<std::string, size_t> texts;
  std::map<int64_t, size_t> integers;
  for (size_t k = 0; k < cats.size(); ++k) text ? texts[cats.texts[k]] = k : integers[cats.integers[k]] = k;
  Dims dims = x.dims();
  dims.push_back(static_cast<int64_t>(cats.size()));
  Tensor y = c.make(DType::f32, dims);
  for (float& v : y.mutable_span<float>()) v = 0;
  const auto set = [&](int64_t i, const auto& index, const auto& key) {
    const auto found = index.find(key);
    if (found != index.end()) {
      y.mutable_data<float>()[i * static_cast<int64_t>(cats.size()) + static_cast<int64_t>(found->second)] =
          1;
    } else if (!zeros) {
      throw Error(Code::input, "element " + std::to_string(i) + " is none of the categories");
    }
  };
  for (int64_t i = 0; i < x.size(); ++i) {
    text ? set(i, texts, x.data<std::string>()[i]) : set(i, integers, x.data<int64_t>()[i]);
  }
  c.out(0, y);
}

// ---- FeatureVectorizer: columns side by side
// -------------------------------------------------------------------------------

Dims vectorizer_dims(const Attrs& attrs, size_t inputs) {
  const Dims& d = attrs.integers("inputdimensions");
  if (d.size() != inputs)
    throw Error(Code::invalid, "attribute inputdimensions does not have an entry per input");
  int64_t total = 0;
  for (int64_t v : d) {
    if (v < 0 || __builtin_add_overflow(total, v, &total))
      throw Error(Code::invalid, "attribute inputdimensions is bad");
  }
  return d;
}

void infer_vectorizer(InferContext& c) {
  int64_t total = 0;
  for (int64_t v : vectorizer_dims(c.attrs(), c.inputs())) total += v;
  c.out(0, Fact(DType::f32, {rows_of(c.in(0)).first, total}));
}

void eval_vectorizer(EvalContext& c) {
  const Dims widths = vectorizer_dims(c.attrs(), c.inputs());
  int64_t total = 0, at = 0;
  for (int64_t v : widths) total += v;
  const int64_t rows = rows_of(c.in(0).dims()).rows;
  Tensor y = c.make(DType::f32, {rows, total});
  for (float& v : y.mutable_span<float>()) v = 0;
  for (size_t i = 0; i < widths.size(); at += widths[i++]) {
    const Tensor x = features_of(c, i);
    const Rows r = rows_of(x.dims());
    if (r.rows != rows) throw Error(Code::invalid, "the inputs have different numbers of rows");
    for (int64_t row = 0; row < rows; ++row) {
      for (int64_t k = 0; k < std::min(widths[i], r.features); ++k) {
        y.mutable_data<float>()[row * total + at + k] =
            static_cast<float>(x.data<double>()[row * r.features + k]);
      }
    }
  }
  c.out(0, y);
}

constexpr OpDef kOps[] = {
    ml_row("Binarizer", infer_same_as_first, eval_binarizer),
    ml_row("Scaler", infer_to_f32, eval_scaler),
    ml_row("Normalizer", infer_to_f32, eval_normalizer),
    ml_row("Imputer", infer_same_as_first, eval_imputer),
    ml_row("ArrayFeatureExtractor", infer_extract, eval_extract, nullptr, 1, 2),
    ml_row("LabelEncoder", infer_label_encoder, eval_label_encoder),
    ml_row("CategoryMapper", infer_category_mapper, eval_category_mapper),
    ml_row("OneHotEncoder", infer_one_hot, eval_one_hot),
    ml_row("FeatureVectorizer", infer_vectorizer, eval_vectorizer, nullptr, 1, 1, kMany),
};

}  // namespace

std::span<const OpDef> ml_feature_ops() {
  return kOps;
}

}  // namespace skyline::ops
