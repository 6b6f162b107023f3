#include "graph/ops/move.h"

#include <algorithm>

namespace skyline::ops {

void fail(const std::string& message) {
  throw Error(Code::invalid, message);
}

void require(bool ok, const char* message) {
  if (!ok) fail(message);
}

std::string str(int64_t n) {
  return std::to_string(n);
}

void copy_elements(const Dims& dims, const Tensor& src, const Walk& from, Tensor& dst, const Walk& to) {
  // The last axis is the inner loop; the odometer runs over the others.
  Dims outer = dims, a = from.strides, b = to.strides;
  int64_t n = 1, sa = 0, sb = 0;
  if (!outer.empty()) {
    n = outer.back(), sa = a.back(), sb = b.back();
    outer.pop_back(), a.pop_back(), b.pop_back();
  }
  visit_size(src.dtype(), [&]<class T>() {
    const T* x = static_cast<const T*>(src.raw()) + from.offset;
    T* y = static_cast<T*>(dst.mutable_raw()) + to.offset;
    for (NdIndex<2> it(outer, {a, b}); !it.done(); it.next()) {
      const T* p = x + it[0];
      T* q = y + it[1];
      if (sa == 1 && sb == 1) {
        std::copy(p, p + n, q);
      } else {
        for (int64_t i = 0; i < n; ++i) q[i * sb] = p[i * sa];
      }
    }
  });
}

void fill(Tensor& t, const Tensor* value) {
  visit_size(t.dtype(), [&]<class T>() {
    T* y = static_cast<T*>(t.mutable_raw());
    std::fill(y, y + t.size(), value ? *static_cast<const T*>(value->raw()) : T{});
  });
}

void gather_by_axis(const Tensor& src, Tensor& dst, const std::vector<Dims>& maps, const Tensor* value) {
  if (dst.size() == 0) return;
  const Dims strides = row_major_strides(src.dims());
  const Dims none(maps.size(), 0);
  visit_size(src.dtype(), [&]<class T>() {
    const T* x = static_cast<const T*>(src.raw());
    T* y = static_cast<T*>(dst.mutable_raw());
    const T rest = value ? *static_cast<const T*>(value->raw()) : T{};
    for (NdIndex<1> it(dst.dims(), {none}); !it.done(); it.next()) {
      int64_t offset = 0;
      bool inside = true;
      for (size_t a = 0; a < maps.size() && inside; ++a) {
        const int64_t i = maps[a][static_cast<size_t>(it.index()[a])];
        inside = i >= 0;
        offset += i * strides[a];
      }
      *y++ = inside ? x[offset] : rest;
    }
  });
}

int64_t one_int(const Tensor& t, const char* what) {
  if (t.size() != 1) fail(std::string(what) + " has " + str(t.size()) + " elements, expected 1");
  return to_ints(t)[0];
}

double one_real(const Tensor& t, const char* what) {
  if (t.size() != 1) fail(std::string(what) + " has " + str(t.size()) + " elements, expected 1");
  return to_doubles(t)[0];
}

Dims to_ints(const Tensor& t) {
  Dims out(static_cast<size_t>(t.size()));
  visit_type(t.dtype(), IntTypes{}, [&]<class T>() {
    const auto x = t.span<T>();
    for (size_t i = 0; i < out.size(); ++i) out[i] = static_cast<int64_t>(x[i]);
  });
  return out;
}

void require_rank(const Tensor& t, int rank, const char* what) {
  if (t.rank() != rank)
    fail(std::string(what) + " has shape " + to_string(t.dims()) + ", expected rank " + str(rank));
}

void require_dtype(const Tensor& t, DType dtype, const char* what) {
  if (t.dtype() != dtype) {
    fail(std::string(what) + " is " + std::string(name(t.dtype())) + ", expected " +
         std::string(name(dtype)));
  }
}

SymDims fixed_dims(const Dims& dims, const char* what) {
  for (int64_t d : dims) {
    if (d < 0) fail(std::string(what) + " has " + str(d));
  }
  return SymDims(dims.begin(), dims.end());
}

SymDims unknown_dims(int64_t n) {
  if (n > kMaxRank) throw Error(Code::limit, "rank " + str(n) + " is over " + str(kMaxRank));
  return SymDims(static_cast<size_t>(n), Dim::unknown());
}

int64_t list_length(const InferContext& c, size_t input) {
  if (!c.has(input)) return -1;
  const Fact& f = c.in(input);
  return f.ranked && f.rank() == 1 && f.dims[0].known() ? f.dims[0].value() : -1;
}

int64_t checked_mul(int64_t a, int64_t b) {
  int64_t out = 0;
  if (__builtin_mul_overflow(a, b, &out)) throw Error(Code::limit, "a size overflows 64 bits");
  return out;
}

int64_t checked_add(int64_t a, int64_t b) {
  int64_t out = 0;
  if (__builtin_add_overflow(a, b, &out)) throw Error(Code::limit, "a size overflows 64 bits");
  return out;
}

Work no_flops(const Node&, std::span<const Fact>, std::span<const Fact>) {
  return {};
}

}  // namespace skyline::ops
