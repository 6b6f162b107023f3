#pragma once
// Dense tensors and the other values that flow along a graph's edges.
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "skyline/dtype.h"
#include "skyline/half.h"
#include "skyline/status.h"

#pragma GCC visibility push(default)  // part of the shared library's interface
namespace skyline {

using Dims = std::vector<int64_t>;

inline constexpr int kMaxRank = 64;

// Product of the dims; throws Error{invalid} on a negative dim or an overflow of int64, Error{limit} above
// kMaxRank.
int64_t element_count(const Dims& dims);
// Bytes of such a tensor in memory; the same errors.
int64_t byte_count(DType dtype, const Dims& dims);
// "[2,3]"
std::string to_string(const Dims& dims);
// Row-major strides in elements; a zero-size dim counts as 1.
Dims row_major_strides(const Dims& dims);

// A dense row-major tensor: dtype, dims and shared storage. Copying shares the bytes. Whoever fills a tensor
// does so before sharing it: mutable_* on shared storage is the caller's responsibility.
class Tensor {
 public:
  Tensor() = default;
  // Allocates. Numeric contents are uninitialized, strings empty. Throws Error{oom}, and what byte_count
  // throws.
  Tensor(DType dtype, Dims dims);
  // Memory that somebody else owns; `owner` is kept alive with the tensor. Any alignment of T itself is
  // enough.
  static Tensor view(DType dtype, Dims dims, const void* data, std::shared_ptr<const void> owner = nullptr);
  static Tensor zeros(DType dtype, Dims dims);
  template <class T>
  static Tensor of(Dims dims, const std::vector<T>& values);
  template <class T>
  static Tensor scalar(T value) {
    return of<T>({}, {value});
  }
  static Tensor vector(const std::vector<int64_t>& values) {
    return of<int64_t>({static_cast<int64_t>(values.size())}, values);
  }

  bool defined() const { return dtype_ != DType::undefined; }
  DType dtype() const { return dtype_; }
  const Dims& dims() const { return dims_; }
  int rank() const { return static_cast<int>(dims_.size()); }
  int64_t dim(int i) const { return dims_[static_cast<size_t>(i)]; }
  int64_t size() const { return size_; }  // elements
  int64_t bytes() const { return size_ * static_cast<int64_t>(size_of(dtype_)); }

  const void* raw() const { return data_; }
  void* mutable_raw() { return const_cast<void*>(data_); }
  // Typed access; throws Error{internal} when T is not the dtype. The 4- and 2-bit ints are int8_t / uint8_t
  // here.
  template <class T>
  const T* data() const {
    check_type(kDTypeOf<T>);
    return static_cast<const T*>(data_);
  }
  template <class T>
  T* mutable_data() {
    check_type(kDTypeOf<T>);
    return static_cast<T*>(const_cast<void*>(data_));
  }
  template <class T>
  std::span<const T> span() const {
    return {data<T>(), static_cast<size_t>(size_)};
  }
  template <class T>
  std::span<T> mutable_span() {
    return {mutable_data<T>(), static_cast<size_t>(size_)};
  }

  Tensor reshaped(Dims dims) const;  // shares storage; the element count must agree (Error{invalid})
  Tensor clone() const;              // own storage
  const std::shared_ptr<const void>& owner() const { return owner_; }

 private:
  void check_type(DType wanted) const;

  DType dtype_ = DType::undefined;
  Dims dims_;
  int64_t size_ = 0;
  const void* data_ = nullptr;
  std::shared_ptr<const void> owner_;
};

template <>
struct DTypeOf<std::string> {
  static constexpr DType value = DType::string;
};

template <class T>
Tensor Tensor::of(Dims dims, const std::vector<T>& values) {
  Tensor t(kDTypeOf<T>, std::move(dims));
  if (t.size() != static_cast<int64_t>(values.size())) {
    throw Error(Code::invalid,
                "tensor of " + to_string(t.dims()) + " given " + std::to_string(values.size()) + " values");
  }
  T* out = t.mutable_data<T>();
  for (size_t i = 0; i < values.size(); ++i) out[i] = values[i];
  return t;
}

// What an edge carries: nothing (an empty optional), a tensor, or a sequence of values. A filled optional is
// its content. Cheap to copy: contents are shared.
class Value {
 public:
  Value() = default;
  Value(Tensor t) : tensor_(std::move(t)) {}  // NOLINT: implicit on purpose, a tensor is a value
  static Value sequence(std::vector<Value> items, DType element = DType::undefined);

  bool is_none() const { return !tensor_.defined() && !items_; }
  bool is_tensor() const { return tensor_.defined(); }
  bool is_sequence() const { return items_ != nullptr; }
  const Tensor& tensor() const;             // Error{invalid} unless is_tensor
  const std::vector<Value>& items() const;  // Error{invalid} unless is_sequence
  DType element_type() const { return is_tensor() ? tensor_.dtype() : element_; }  // of an empty sequence too

 private:
  Tensor tensor_;
  std::shared_ptr<const std::vector<Value>> items_;
  DType element_ = DType::undefined;
};

}  // namespace skyline
#pragma GCC visibility pop
