#include "skyline/tensor.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <new>

#include "skyline/memory.h"

namespace skyline {

int64_t element_count(const Dims& dims) {
  if (dims.size() > static_cast<size_t>(kMaxRank)) {
    throw Error(Code::limit, "rank " + std::to_string(dims.size()) + " is above " + std::to_string(kMaxRank));
  }
  int64_t n = 1;
  bool zero = false;
  for (int64_t d : dims) {
    if (d < 0) throw Error(Code::invalid, "negative dimension in " + to_string(dims));
    if (d == 0) {
      zero = true;
    } else if (__builtin_mul_overflow(n, d, &n)) {
      throw Error(Code::invalid, "element count of " + to_string(dims) + " overflows 64 bits");
    }
  }
  return zero ? 0 : n;
}

int64_t byte_count(DType dtype, const Dims& dims) {
  int64_t bytes = 0;
  if (__builtin_mul_overflow(element_count(dims), static_cast<int64_t>(size_of(dtype)), &bytes)) {
    throw Error(Code::invalid, "byte size of " + to_string(dims) + " overflows 64 bits");
  }
  return bytes;
}

std::string to_string(const Dims& dims) {
  std::string s = "[";
  for (size_t i = 0; i < dims.size(); ++i) s += (i ? "," : "") + std::to_string(dims[i]);
  return s + "]";
}

Dims row_major_strides(const Dims& dims) {
  Dims strides(dims.size());
  int64_t step = 1;
  for (size_t i = dims.size(); i-- > 0;) {
    strides[i] = step;
    step *= std::max<int64_t>(dims[i], 1);
  }
  return strides;
}

namespace {
std::shared_ptr<void> allocate(size_t bytes) {
  Block block = allocate_block(bytes + 1);  // of no elements, too, an address of its own
  if (!block) throw Error(Code::oom, "cannot allocate " + std::to_string(bytes) + " bytes");
  const std::shared_ptr<std::byte[]> owner = std::move(block);
  return {owner, owner.get()};
}
}  // namespace

Tensor::Tensor(DType dtype, Dims dims) : dtype_(dtype), dims_(std::move(dims)), size_(element_count(dims_)) {
  const int64_t bytes = byte_count(dtype_, dims_);
  if (dtype_ == DType::string) {
    std::shared_ptr<std::string[]> strings(new (std::nothrow) std::string[static_cast<size_t>(size_) + 1]);
    if (!strings) throw Error(Code::oom, "cannot allocate " + std::to_string(size_) + " strings");
    data_ = strings.get();
    owner_ = std::shared_ptr<const void>(strings, strings.get());
    return;
  }
  auto storage = allocate(static_cast<size_t>(bytes));
  data_ = storage.get();
  owner_ = std::move(storage);
}

Tensor Tensor::view(DType dtype, Dims dims, const void* data, std::shared_ptr<const void> owner) {
  Tensor t;
  t.dtype_ = dtype;
  t.dims_ = std::move(dims);
  t.size_ = element_count(t.dims_);
  (void)byte_count(dtype, t.dims_);
  t.data_ = data;
  t.owner_ = std::move(owner);
  return t;
}

Tensor Tensor::zeros(DType dtype, Dims dims) {
  Tensor t(dtype, std::move(dims));
  if (dtype != DType::string) std::memset(t.mutable_raw(), 0, static_cast<size_t>(t.bytes()));
  return t;
}

Tensor Tensor::reshaped(Dims dims) const {
  Tensor t = *this;
  if (element_count(dims) != size_) {
    throw Error(Code::invalid, "cannot reshape " + to_string(dims_) + " to " + to_string(dims));
  }
  t.dims_ = std::move(dims);
  return t;
}

Tensor Tensor::clone() const {
  Tensor t(dtype_, dims_);
  if (dtype_ == DType::string) {
    std::copy_n(data<std::string>(), size_, t.mutable_data<std::string>());
  } else if (size_) {
    std::memcpy(t.mutable_raw(), data_, static_cast<size_t>(bytes()));
  }
  return t;
}

void Tensor::check_type(DType wanted) const {
  if (dtype_ == wanted) return;
  const bool sub_byte = (wanted == DType::i8 && (dtype_ == DType::i4 || dtype_ == DType::i2)) ||
                        (wanted == DType::u8 && (dtype_ == DType::u4 || dtype_ == DType::u2));
  if (sub_byte) return;
  throw Error(Code::internal, "tensor of " + std::string(skyline::name(dtype_)) + " read as " +
                                  std::string(skyline::name(wanted)));
}

Value Value::sequence(std::vector<Value> items, DType element) {
  Value v;
  if (element == DType::undefined && !items.empty()) element = items.front().element_type();
  v.items_ = std::make_shared<const std::vector<Value>>(std::move(items));
  v.element_ = element;
  return v;
}

const Tensor& Value::tensor() const {
  if (!is_tensor())
    throw Error(Code::invalid,
                is_sequence() ? "expected a tensor, got a sequence" : "expected a tensor, got nothing");
  return tensor_;
}

const std::vector<Value>& Value::items() const {
  if (!is_sequence())
    throw Error(Code::invalid,
                is_tensor() ? "expected a sequence, got a tensor" : "expected a sequence, got nothing");
  return *items_;
}

}  // namespace skyline
