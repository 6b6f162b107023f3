#include "graph/ops/numeric.h"

#include <algorithm>

namespace skyline::ops {
namespace {
using ConvertibleTypes = TypeList<float, double, Half, BFloat16, int64_t, int32_t, int8_t, uint8_t, int16_t,
                                  uint16_t, uint32_t, uint64_t, bool>;
}

void reject(const std::string& message) {
  throw Error(Code::invalid, message);
}
void refuse(const std::string& message) {
  throw Error(Code::unsupported, message);
}

std::vector<double> to_doubles(const Tensor& t) {
  std::vector<double> out(static_cast<size_t>(t.size()));
  visit_type(t.dtype(), ConvertibleTypes{}, [&]<class T>() {
    const T* p = t.data<T>();
    for (size_t i = 0; i < out.size(); ++i) out[i] = static_cast<double>(widen(p[i]));
  });
  return out;
}

void from_doubles(std::span<const double> values, Tensor& t) {
  visit_type(t.dtype(), ConvertibleTypes{}, [&]<class T>() {
    T* p = t.mutable_data<T>();
    for (size_t i = 0; i < values.size(); ++i) p[i] = narrow<T>(values[i]);
  });
}

Tensor make_from(const EvalContext& c, DType t, Dims dims, std::span<const double> values) {
  Tensor out = c.make(t, std::move(dims));
  if (out.size() != static_cast<int64_t>(values.size())) throw Error(Code::internal, "result size");
  from_doubles(values, out);
  return out;
}

void require_float(DType t, std::string_view what) {
  if (t != DType::undefined && !is_float(t)) {
    refuse(std::string(what) + " of dtype " + std::string(name(t)) + "; floats only");
  }
}

void require_dims(const Tensor& t, const Dims& dims, std::string_view what) {
  if (t.dims() != dims) {
    reject(std::string(what) + " has shape " + to_string(t.dims()) + ", expected " + to_string(dims));
  }
}

void require_fact(const Fact& f, const SymDims& dims, std::string_view what) {
  if (!f.ranked) return;
  if (f.dims.size() != dims.size()) {
    reject(std::string(what) + " has rank " + std::to_string(f.rank()) + ", expected " +
           std::to_string(dims.size()));
  }
  for (size_t i = 0; i < dims.size(); ++i) agree(f.dims[i], dims[i], what);
}

Dim agree(Dim a, Dim b, std::string_view what) {
  if (a.known() && b.known() && a.value() != b.value()) {
    reject(std::string(what) + ": dimension " + std::to_string(a.value()) + ", expected " +
           std::to_string(b.value()));
  }
  if (a.known()) return a;
  if (b.known()) return b;
  return a.is_symbol() ? a : b;
}

int64_t span_count(const Dims& dims, int from, int to) {
  int64_t n = 1;
  for (int i = from; i < to; ++i) n *= dims[static_cast<size_t>(i)];
  return n;
}

bool flag(const Attrs& a, std::string_view name, bool fallback) {
  const int64_t v = a.integer(name, fallback ? 1 : 0);
  if (v != 0 && v != 1)
    reject("attribute " + std::string(name) + " is " + std::to_string(v) + ", expected 0 or 1");
  return v == 1;
}

std::vector<double> move_channels(const std::vector<double>& x, int64_t n, int64_t c, int64_t spatial,
                                  bool to_last) {
  std::vector<double> out(x.size());
  for (int64_t b = 0; b < n; ++b) {
    const double* from = x.data() + b * c * spatial;
    double* to = out.data() + b * c * spatial;
    for (int64_t ch = 0; ch < c; ++ch) {
      for (int64_t s = 0; s < spatial; ++s) {
        if (to_last) {
          to[s * c + ch] = from[ch * spatial + s];
        } else {
          to[ch * spatial + s] = from[s * c + ch];
        }
      }
    }
  }
  return out;
}

namespace {
bool parse_layout(const Node& node, const char* attribute, const char* otherwise) {
  const std::string layout = node.attrs.text(attribute, otherwise);
  if (layout != "NCHW" && layout != "NHWC")
    reject(std::string("attribute ") + attribute + " is '" + layout + "', expected NCHW or NHWC");
  return layout == "NHWC";
}
}  // namespace

bool is_channels_last(const Node& node) {
  if (node.op->domain != "skyline") return false;
  return parse_layout(node, "layout", "NCHW");
}

bool is_input_channels_last(const Node& node) {
  if (node.op->domain != "skyline") return false;
  return parse_layout(node, "input_layout", is_channels_last(node) ? "NHWC" : "NCHW");
}

}  // namespace skyline::ops
