#include <map>

#include "engine/lower/families.h"

namespace skyline {

namespace {

// Row-major, but for rows of the last axis that are `ld` apart.
Dims strides_of(const Dims& dims, int64_t ld) {
  Dims s = row_major_strides(dims);
  if (ld == 0 || dims.size() < 2) return s;
  int64_t step = ld;
  for (size_t i = dims.size() - 1; i-- > 0;) {
    s[i] = step;
    step *= dims[i];
  }
  return s;
}

}  // namespace

const LowerRow* find_lowering(const OpDef& op) {
  static const auto index = [] {
    std::map<std::pair<std::string_view, std::string_view>, const LowerRow*> m;
    for (const auto& family : lower::kFamilies) {
      for (const LowerRow& row : family()) m.emplace(std::pair(row.domain, row.op), &row);
    }
    return m;
  }();
  const auto it = index.find({op.domain, op.name});
  return it == index.end() ? nullptr : it->second;
}

PackCache::Packed PackCache::get(const Tensor& source, const std::string& form,
                                 const std::function<Packed()>& make) {
  const std::string key = std::to_string(reinterpret_cast<uintptr_t>(source.raw())) + ":" + form;
  const std::lock_guard lock(mutex_);
  Entry& entry = entries_[key];
  if (!entry.packed) entry = {make(), source};
  return entry.packed;
}

void PackCache::forget(const Tensor& source) {
  const std::lock_guard lock(mutex_);
  std::erase_if(entries_, [&](const auto& e) { return e.second.source.raw() == source.raw(); });
}

int64_t PackCache::bytes() const {
  const std::lock_guard lock(mutex_);
  return bytes_;
}

void PackCache::add_bytes(int64_t n) {
  bytes_ += n;
}  // called from make(), which holds the lock

Dims Lowering::in_strides(size_t i) const {
  return strides_of(in_dims(i), in_ld(i));
}
Dims Lowering::out_strides(size_t i) const {
  return strides_of(out_dims(i), out_ld(i));
}

bool Lowering::all_inputs(DType t) const {
  for (size_t i = 0; i < node.inputs.size(); ++i) {
    if (has(i) && in_type(i) != t) return false;
  }
  return true;
}

std::optional<Dims> Lowering::constant_ints(size_t i) const {
  const Tensor* t = constant(i);
  if (!t) return std::nullopt;
  if (t->dtype() == DType::i64) return Dims(t->data<int64_t>(), t->data<int64_t>() + t->size());
  if (t->dtype() == DType::i32) return Dims(t->data<int32_t>(), t->data<int32_t>() + t->size());
  return std::nullopt;
}

std::shared_ptr<const std::byte> Lowering::pack(size_t i, const std::string& form, size_t bytes,
                                                const std::function<void(std::byte*)>& fill) const {
  const Tensor* source = constant(i);
  if (!source) throw Error(Code::internal, "input " + std::to_string(i) + " is packed but not constant");
  if (i < 64) packed_ |= uint64_t{1} << i;
  auto packed = cache_.get(*source, form, [&]() -> PackCache::Packed {
    kernels::AlignedBuffer memory = kernels::aligned_alloc_bytes(bytes);
    if (!memory)
      throw Error(Code::oom, "cannot allocate " + std::to_string(bytes) + " bytes for packed weights");
    fill(memory.get());
    cache_.add_bytes(static_cast<int64_t>(bytes));
    auto holder = std::make_shared<kernels::AlignedBuffer>(std::move(memory));
    return {holder, holder->get()};
  });
  return {packed, static_cast<const std::byte*>(packed.get())};
}

}  // namespace skyline
