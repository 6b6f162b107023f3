#include <map>

#include "engine/lower/families.h"
#include "graph/ir/precision.h"
#include "kernels/base/memory.h"
#include "kernels/gemm/tile.h"

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

namespace {
std::string key_of(const Tensor& source, const std::string& form) {
  return std::to_string(reinterpret_cast<uintptr_t>(source.raw())) + ":" + form;
}
}  // namespace

PackCache::Packed PackCache::get(const Tensor& source, const std::string& form, size_t bytes,
                                 const std::function<Packed()>& make) {
  const std::lock_guard lock(mutex_);
  Entry& entry = entries_[key_of(source, form)];
  if (!entry.packed) {
    if (absent_.contains(source.raw()))
      throw Error(Code::invalid, "the plan file has no weights packed as '" + form.substr(0, 80) + "'");
    entry = {source, form, make(), bytes};
    bytes_ += static_cast<int64_t>(bytes);
  } else if (entry.bytes != bytes) {
    throw Error(Code::invalid, "weights packed as '" + form.substr(0, 80) + "' are " +
                                   std::to_string(entry.bytes) + " bytes, not " + std::to_string(bytes));
  }
  return entry.packed;
}

void PackCache::put(Entry entry, bool absent) {
  const std::lock_guard lock(mutex_);
  if (absent) absent_.insert(entry.source.raw());
  bytes_ += static_cast<int64_t>(entry.bytes);
  std::string key = key_of(entry.source, entry.form);
  entries_.insert_or_assign(std::move(key), std::move(entry));
}

bool PackCache::is_absent(const Tensor& source) const {
  const std::lock_guard lock(mutex_);
  return absent_.contains(source.raw());
}

void PackCache::forget(const Tensor& source) {
  const std::lock_guard lock(mutex_);
  if (keep_) return;
  std::erase_if(entries_, [&](const auto& e) { return e.second.source.raw() == source.raw(); });
}

std::vector<PackCache::Entry> PackCache::entries() const {
  const std::lock_guard lock(mutex_);
  std::vector<Entry> out;
  out.reserve(entries_.size());
  for (const auto& [key, entry] : entries_) out.push_back(entry);
  return out;
}

int64_t PackCache::bytes() const {
  const std::lock_guard lock(mutex_);
  return bytes_;
}

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

const kernels::GemmKernel* Lowering::wanted_gemm() const {
  const std::string wanted = wanted_kernel(node);
  if (wanted.empty() || precision_of(node) != Precision::f32) return nullptr;
  for (const auto& rows : {all_kernels(), own_kernels}) {
    for (const KernelInfo* row : rows) {
      if (row->op == "gemm" && row->name == wanted && row->in == DType::f32 && usable(*row, isa))
        return static_cast<const kernels::GemmKernel*>(row);
    }
  }
  return nullptr;
}

std::shared_ptr<const std::byte> Lowering::pack(size_t i, const std::string& form, size_t bytes,
                                                const std::function<void(std::byte*)>& fill) const {
  const Tensor* source = constant(i);
  if (!source) throw Error(Code::internal, "input " + std::to_string(i) + " is packed but not constant");
  if (i < 64) packed_ |= uint64_t{1} << i;
  if (i < 64 && (last_reads >> i & 1) != 0 && source->owner().use_count() == 1 &&
      std::get_deleter<BlockFree>(source->owner()) && !cache_.keeps())
    dispensable_ |= uint64_t{1} << i;
  auto packed = cache_.get(*source, form, bytes, [&]() -> PackCache::Packed {
    kernels::AlignedBuffer memory = kernels::aligned_alloc_bytes(bytes);
    if (!memory)
      throw Error(Code::oom, "cannot allocate " + std::to_string(bytes) + " bytes for packed weights");
    fill(memory.get());
    auto holder = std::make_shared<kernels::AlignedBuffer>(std::move(memory));
    return {holder, holder->get()};
  });
  return {packed, static_cast<const std::byte*>(packed.get())};
}

void Lowering::spent(size_t i, size_t bytes) const {
  if (i >= 64 || (dispensable_ >> i & 1) == 0) return;
  kernels::drop_pages(constant(i)->raw(), dropped_, bytes);
  dropped_ = bytes;
}

}  // namespace skyline
