#include "graph/onnx/tensors.h"

#include <algorithm>
#include <charconv>
#include <cstring>
#include <limits>

#include "graph/onnx/wire.h"

namespace skyline::onnx {
namespace {

[[noreturn]] void invalid(const std::string& what) {
  throw Error(Code::invalid, what);
}

bool has_typed_data(const TensorProto& p) {
  return p.float_data_size() || p.int32_data_size() || p.string_data_size() || p.int64_data_size() ||
         p.double_data_size() || p.uint64_data_size();
}

// Packed elements of `bits` bits, the first in the low bits, to one byte each, sign-extended where signed.
void unpack(const uint8_t* from, uint8_t* to, int64_t count, int bits, bool is_signed) {
  const int per_byte = 8 / bits;
  for (int64_t i = 0; i < count; ++i) {
    const auto raw = static_cast<uint8_t>(from[i / per_byte] >> (bits * (i % per_byte)) & ((1 << bits) - 1));
    const auto top = static_cast<uint8_t>(1 << (bits - 1));
    to[i] = is_signed ? static_cast<uint8_t>((raw ^ top) - top) : raw;
  }
}

template <class To, class Field>
void copy_field(const Field& from, Tensor& to) {
  auto* out = static_cast<To*>(to.mutable_raw());
  for (int i = 0; i < from.size(); ++i) out[i] = static_cast<To>(from.Get(i));
}

void check_count(int64_t have, int64_t want, const char* field) {
  if (have != want) {
    invalid(std::string(field) + " has " + std::to_string(have) + " entries, the shape takes " +
            std::to_string(want));
  }
}

// The numbers of int32_data must fit the type, read as signed or as unsigned.
void check_int32_range(const TensorProto& p, int bits) {
  if (bits >= 32) return;
  for (int32_t v : p.int32_data()) {
    if (v < -(1 << (bits - 1)) || v >= (1 << bits))
      invalid("int32_data has " + std::to_string(v) + ", out of range");
  }
}

Tensor from_int32(const TensorProto& p, DType t, const Dims& dims) {
  const int64_t count = element_count(dims);
  const int bits = storage_bits(t);
  check_count(p.int32_data_size(), stored_bytes(t, count) / std::max<int64_t>(1, bits / 8), "int32_data");
  check_int32_range(p, std::max(bits, 8));
  Tensor out(t, dims);
  if (bits < 8) {
    std::string packed;
    for (int32_t v : p.int32_data()) packed += static_cast<char>(v);
    unpack(reinterpret_cast<const uint8_t*>(packed.data()), static_cast<uint8_t*>(out.mutable_raw()), count,
           bits, is_signed_int(t));
  } else if (t == DType::boolean) {
    auto* to = static_cast<uint8_t*>(out.mutable_raw());
    for (int i = 0; i < p.int32_data_size(); ++i) to[i] = p.int32_data(i) != 0;
  } else if (bits == 8) {
    copy_field<uint8_t>(p.int32_data(), out);
  } else if (bits == 16) {
    copy_field<uint16_t>(p.int32_data(), out);
  } else {
    copy_field<int32_t>(p.int32_data(), out);
  }
  return out;
}

Tensor from_typed(const TensorProto& p, DType t, const Dims& dims) {
  const int64_t count = element_count(dims);
  const auto make = [&](int have, const char* field) {
    check_count(have, count, field);
    return Tensor(t, dims);
  };
  Tensor out;
  switch (t) {
    case DType::f32:
      out = make(p.float_data_size(), "float_data");
      copy_field<float>(p.float_data(), out);
      return out;
    case DType::f64:
      out = make(p.double_data_size(), "double_data");
      copy_field<double>(p.double_data(), out);
      return out;
    case DType::i64:
      out = make(p.int64_data_size(), "int64_data");
      copy_field<int64_t>(p.int64_data(), out);
      return out;
    case DType::u64:
      out = make(p.uint64_data_size(), "uint64_data");
      copy_field<uint64_t>(p.uint64_data(), out);
      return out;
    case DType::u32:
      out = make(p.uint64_data_size(), "uint64_data");
      for (uint64_t v : p.uint64_data()) {
        if (v > std::numeric_limits<uint32_t>::max()) invalid("uint64_data has a number out of range");
      }
      copy_field<uint32_t>(p.uint64_data(), out);
      return out;
    case DType::string: {
      out = make(p.string_data_size(), "string_data");
      auto* to = out.mutable_data<std::string>();
      for (int i = 0; i < p.string_data_size(); ++i) to[i] = p.string_data(i);
      return out;
    }
    default:
      return from_int32(p, t, dims);
  }
}

int64_t number(const std::string& text, const char* key) {
  int64_t value = 0;
  const char* end = text.data() + text.size();
  const auto [at, error] = std::from_chars(text.data(), end, value);
  if (error != std::errc() || at != end || value < 0) {
    invalid(std::string("external data: ") + key + " " + quoted(text) + " is not a size");
  }
  return value;
}

ExternalFiles::Place place_of(const TensorProto& p) {
  ExternalFiles::Place place;
  std::vector<std::string> seen;
  for (const Entry& e : p.external_data()) {
    const std::string& key = e.key();
    if (std::find(seen.begin(), seen.end(), key) != seen.end())
      invalid("external data: two entries " + quoted(key));
    seen.push_back(key);
    if (key == "location") {
      place.location = e.value();
    } else if (key == "offset") {
      place.offset = number(e.value(), "offset");
    } else if (key == "length") {
      place.length = number(e.value(), "length");
    } else if (key == "checksum") {
      place.checksum = e.value();
      std::transform(place.checksum.begin(), place.checksum.end(), place.checksum.begin(),
                     [](char c) { return c >= 'A' && c <= 'F' ? static_cast<char>(c + 32) : c; });
      if (place.checksum.empty()) invalid("external data: the checksum is empty");
    }
  }
  return place;
}

// That so many raw bytes are such a tensor.
void check_raw(int64_t have, DType t, const Dims& dims) {
  if (t == DType::string) invalid("strings cannot be raw data");
  const int64_t takes = stored_bytes(t, element_count(dims));
  if (have == takes) return;
  invalid("raw data has " + std::to_string(have) + " bytes, " + std::string(name(t)) + to_string(dims) +
          " takes " + std::to_string(takes));
}

// A bool is 0 or 1 in memory, whatever the file says.
void normalize_bools(Tensor& t) {
  auto* p = static_cast<uint8_t*>(t.mutable_raw());
  for (int64_t i = 0; i < t.size(); ++i) p[i] = p[i] != 0;
}

}  // namespace

DType dtype_of(int64_t n) {
  if (n == 0) invalid("no element type is given");
  if (n < 0 || n > static_cast<int64_t>(DType::i2)) {
    throw Error(Code::unsupported, "element type number " + std::to_string(n));
  }
  const auto t = static_cast<DType>(n);
  if (is_complex(t)) throw Error(Code::unsupported, "element type " + std::string(name(t)));
  return t;
}

int64_t stored_bytes(DType t, int64_t elements) {
  const int bits = storage_bits(t);
  return bits < 8 ? (elements + 8 / bits - 1) / (8 / bits) : elements * (bits / 8);
}

void TensorReader::take(int64_t bytes) {
  if (bytes > left_) throw Error(Code::limit, "the constants take more memory than the limit allows");
  left_ -= bytes;
}

Tensor TensorReader::from_payload(const Extent& extent, DType t, Dims dims) {
  check_raw(extent.bytes, t, dims);
  Tensor out(t, std::move(dims));
  if (storage_bits(t) < 8) {
    std::string packed(static_cast<size_t>(extent.bytes), '\0');
    read_exactly(*payloads_.file, packed.data(), extent.bytes, extent.offset);
    unpack(reinterpret_cast<const uint8_t*>(packed.data()), static_cast<uint8_t*>(out.mutable_raw()),
           out.size(), storage_bits(t), is_signed_int(t));
    return out;
  }
  read_exactly(*payloads_.file, out.mutable_raw(), extent.bytes, extent.offset);
  if (t == DType::boolean) normalize_bools(out);
  return out;
}

Tensor TensorReader::from_raw(TensorProto& p, DType t, Dims dims) {
  const auto payload = payloads_.of.find(&p);
  if (payload != payloads_.of.end()) return from_payload(payload->second, t, std::move(dims));
  const int64_t count = element_count(dims);
  check_raw(static_cast<int64_t>(p.raw_data().size()), t, dims);
  if (storage_bits(t) < 8) {
    Tensor out(t, std::move(dims));
    unpack(reinterpret_cast<const uint8_t*>(p.raw_data().data()), static_cast<uint8_t*>(out.mutable_raw()),
           count, storage_bits(t), is_signed_int(t));
    return out;
  }
  const auto bytes = std::make_shared<std::string>(std::move(*p.mutable_raw_data()));
  Tensor out = Tensor::view(t, std::move(dims), bytes->data(), bytes);
  if (t == DType::boolean) normalize_bools(out);
  return out;
}

Tensor TensorReader::from_external(const TensorProto& p, DType t, Dims dims) {
  if (t == DType::string) invalid("strings cannot be external data");
  if (has_typed_data(p) || p.has_raw_data()) invalid("has both external data and data of its own");
  const int64_t count = element_count(dims);
  const int64_t bytes = stored_bytes(t, count);
  const ExternalFiles::Place place = place_of(p);
  files_.check(place, bytes);
  Tensor out(t, std::move(dims));
  if (storage_bits(t) < 8) {
    std::string packed(static_cast<size_t>(bytes), '\0');
    files_.read(place, packed.data(), bytes);
    unpack(reinterpret_cast<const uint8_t*>(packed.data()), static_cast<uint8_t*>(out.mutable_raw()), count,
           storage_bits(t), is_signed_int(t));
  } else {
    files_.read(place, out.mutable_raw(), bytes);
    if (t == DType::boolean) normalize_bools(out);
  }
  return out;
}

Tensor TensorReader::decode(TensorProto& p) {
  const DType t = dtype_of(p.data_type());
  if (p.has_segment()) throw Error(Code::unsupported, "a tensor in segments");
  Dims dims(p.dims().begin(), p.dims().end());
  take(byte_count(t, dims));
  if (p.data_location() == 1) return from_external(p, t, std::move(dims));
  if (p.data_location() != 0) invalid("data location " + std::to_string(p.data_location()));
  if (p.external_data_size()) invalid("names external data but is not marked as external");
  const bool typed = has_typed_data(p);
  const bool raw = p.has_raw_data() && (!p.raw_data().empty() || payloads_.of.contains(&p));
  if (typed && raw) invalid("has both raw and typed data");
  if (p.has_raw_data() && !typed) return from_raw(p, t, std::move(dims));
  return from_typed(p, t, dims);
}

Tensor TensorReader::read(TensorProto& proto) {
  try {
    return decode(proto);
  } catch (Error& e) {
    throw e.in("tensor " + quoted(proto.name()));
  }
}

Tensor TensorReader::read(SparseTensorProto& p) {
  const Tensor values = read(*p.mutable_values());
  try {
    Tensor indices = p.has_indices() ? read(*p.mutable_indices()) : Tensor(DType::i64, {0});
    const Dims dims(p.dims().begin(), p.dims().end());
    const int64_t count = element_count(dims), stored = values.size();
    if (values.rank() != 1) invalid("the values of a sparse tensor are of rank 1");
    if (indices.dtype() != DType::i64) invalid("the indices of a sparse tensor are i64");
    const bool linear = indices.rank() == 1 && indices.size() == stored;
    const auto rank = static_cast<int64_t>(dims.size());
    if (!linear && !(indices.rank() == 2 && indices.dim(0) == stored && indices.dim(1) == rank)) {
      invalid("the indices " + to_string(indices.dims()) + " of a sparse tensor fit neither form");
    }
    const DType t = values.dtype();
    constexpr int64_t kMostDense = int64_t{1} << 30;  // what few bytes may grow to
    if (byte_count(t, dims) > kMostDense)
      throw Error(Code::limit, "a sparse tensor of shape " + to_string(dims));
    take(byte_count(t, dims));
    Tensor out = t == DType::string ? Tensor(t, dims) : Tensor::zeros(t, dims);
    int64_t last = -1;
    for (int64_t i = 0; i < stored; ++i) {
      int64_t at = linear ? indices.data<int64_t>()[i] : 0;
      if (linear && (at < 0 || at >= count)) invalid("index " + std::to_string(at) + " of a sparse tensor");
      for (int64_t a = 0; !linear && a < rank; ++a) {
        const int64_t k = indices.data<int64_t>()[i * rank + a], n = dims[static_cast<size_t>(a)];
        if (k < 0 || k >= n) invalid("index " + std::to_string(k) + " of a sparse tensor");
        at = at * n + k;
      }
      if (at <= last) invalid("the indices of a sparse tensor are not in ascending order");
      last = at;
      if (t == DType::string) {
        out.mutable_data<std::string>()[at] = values.data<std::string>()[i];
      } else {
        const size_t width = size_of(t);
        std::memcpy(static_cast<char*>(out.mutable_raw()) + static_cast<size_t>(at) * width,
                    static_cast<const char*>(values.raw()) + static_cast<size_t>(i) * width, width);
      }
    }
    return out;
  } catch (Error& e) {
    throw e.in("sparse tensor " + quoted(p.values().name()));
  }
}

void write_tensor(const Tensor& t, TensorProto& p) {
  p.set_data_type(static_cast<int32_t>(t.dtype()));
  for (int64_t d : t.dims()) p.add_dims(d);
  if (t.dtype() == DType::string) {
    for (const std::string& s : t.span<std::string>()) p.add_string_data(s);
    return;
  }
  const auto* from = static_cast<const uint8_t*>(t.raw());
  const int bits = storage_bits(t.dtype());
  if (bits >= 8) {
    p.set_raw_data(from, static_cast<size_t>(t.bytes()));
    return;
  }
  std::string packed(static_cast<size_t>(stored_bytes(t.dtype(), t.size())), '\0');
  const int per_byte = 8 / bits;
  for (int64_t i = 0; i < t.size(); ++i) {
    char& byte = packed[static_cast<size_t>(i / per_byte)];
    byte = static_cast<char>(byte | (from[i] & ((1 << bits) - 1)) << (bits * (i % per_byte)));
  }
  p.set_raw_data(std::move(packed));
}

}  // namespace skyline::onnx
