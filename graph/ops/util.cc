#include "graph/ops/util.h"

#include <algorithm>

namespace skyline::ops {

void unsupported_type(DType t) {
  throw Error(Code::unsupported, "dtype " + std::string(name(t)));
}

int normalize_axis(int64_t axis, int rank, std::string_view what) {
  if (axis < -rank || axis >= rank) {
    throw Error(Code::invalid, std::string(what) + " " + std::to_string(axis) + " is outside [" +
                                   std::to_string(-rank) + ", " + std::to_string(rank - 1) + "]");
  }
  return static_cast<int>(axis < 0 ? axis + rank : axis);
}

std::vector<int> normalize_axes(const Dims& axes, int rank, std::string_view what) {
  std::vector<int> out;
  for (int64_t a : axes) {
    const int axis = normalize_axis(a, rank, what);
    if (std::find(out.begin(), out.end(), axis) != out.end()) {
      throw Error(Code::invalid, std::string(what) + " has " + std::to_string(axis) + " twice");
    }
    out.push_back(axis);
  }
  return out;
}

Dims broadcast_dims(const Dims& a, const Dims& b) {
  Dims out(std::max(a.size(), b.size()));
  for (size_t i = 0; i < out.size(); ++i) {
    const int64_t x = i < a.size() ? a[a.size() - 1 - i] : 1;
    const int64_t y = i < b.size() ? b[b.size() - 1 - i] : 1;
    if (x != y && x != 1 && y != 1) {
      throw Error(Code::invalid, "shapes " + to_string(a) + " and " + to_string(b) + " do not broadcast");
    }
    out[out.size() - 1 - i] = x == 1 ? y : x;
  }
  return out;
}

SymDims broadcast_dims(const SymDims& a, const SymDims& b) {
  SymDims out(std::max(a.size(), b.size()));
  for (size_t i = 0; i < out.size(); ++i) {
    const Dim x = i < a.size() ? a[a.size() - 1 - i] : Dim(1);
    const Dim y = i < b.size() ? b[b.size() - 1 - i] : Dim(1);
    Dim& d = out[out.size() - 1 - i];
    if (x == Dim(1)) {
      d = y;
    } else if (y == Dim(1) || x == y) {
      d = x;
    } else if (x.known() && y.known()) {
      throw Error(Code::invalid, "dimensions " + std::to_string(x.value()) + " and " +
                                     std::to_string(y.value()) + " do not broadcast");
    } else if (x.known() || y.known()) {
      d = x.known() ? x : y;  // the other is 1 or the same, and this one is not 1
    } else {
      d = Dim::unknown();
    }
  }
  return out;
}

Dims broadcast_strides(const Dims& from, const Dims& to) {
  const Dims own = row_major_strides(from);
  Dims out(to.size(), 0);
  const size_t lead = to.size() - from.size();
  for (size_t i = 0; i < from.size(); ++i) out[lead + i] = from[i] == 1 ? 0 : own[i];
  return out;
}

void infer_same_as_first(InferContext& c) {
  c.out(0, c.in(0));
}

void infer_broadcast(InferContext& c) {
  Fact f = c.in(0);
  for (size_t i = 1; i < c.inputs(); ++i) {
    if (!c.has(i)) continue;
    const Fact& other = c.in(i);
    if (f.ranked && other.ranked) {
      f.dims = broadcast_dims(f.dims, other.dims);
    } else {
      f = Fact::unranked(f.dtype);
    }
  }
  c.out(0, std::move(f));
}

void infer_broadcast_bool(InferContext& c) {
  infer_broadcast(c);
  if (c.outputs() > 0) c.facts()[0].dtype = DType::boolean;
}

Fact with_dtype(Fact f, DType t) {
  f.dtype = t;
  return f;
}

Dim mul(Dim a, Dim b) {
  if (!a.known() || !b.known()) return a == Dim(1) ? b : b == Dim(1) ? a : Dim::unknown();
  int64_t out = 0;
  if (__builtin_mul_overflow(a.value(), b.value(), &out))
    throw Error(Code::limit, "dimension overflows 64 bits");
  return out;
}

Dim product(std::span<const Dim> dims) {
  Dim p = 1;
  for (Dim d : dims) p = mul(p, d);
  return p;
}

}  // namespace skyline::ops
