#include "graph/onnx/upgrade.h"

#include <unordered_map>

#include "graph/onnx/upgrade_rows.h"
#include "skyline/half.h"

namespace skyline::onnx {

const Fact& Rewrite::fact(size_t i) const {
  if (node.in(i) == kNoValue) throw Error(Code::invalid, "input " + std::to_string(i) + " is missing");
  return graph.fact(node.in(i));
}

int Rewrite::rank(size_t i) const {
  if (!fact(i).ranked)
    throw Error(Code::unsupported,
                "its old form where the rank of input " + std::to_string(i) + " is not known");
  return fact(i).rank();
}

DType Rewrite::dtype(size_t i) const {
  if (fact(i).dtype == DType::undefined) {
    throw Error(Code::unsupported,
                "its old form where the type of input " + std::to_string(i) + " is not known");
  }
  return fact(i).dtype;
}

void Rewrite::set_input(size_t i, ValueId v) {
  if (node.inputs.size() <= i) node.inputs.resize(i + 1, kNoValue);
  node.inputs[i] = v;
}

void Rewrite::ints_to_input(std::string_view attr, size_t i) {
  if (!node.attrs.has(attr)) return;
  set_input(i, constant(node.attrs.integers(attr), attr));
  node.attrs.erase(attr);
}

Tensor scalar_of(DType t, double value) {
  switch (t) {
    case DType::f32:
      return Tensor::scalar(static_cast<float>(value));
    case DType::f64:
      return Tensor::scalar(value);
    case DType::f16:
      return Tensor::scalar(Half(static_cast<float>(value)));
    case DType::bf16:
      return Tensor::scalar(BFloat16(static_cast<float>(value)));
    case DType::i8:
      return Tensor::scalar(static_cast<int8_t>(value));
    case DType::u8:
      return Tensor::scalar(static_cast<uint8_t>(value));
    case DType::i16:
      return Tensor::scalar(static_cast<int16_t>(value));
    case DType::u16:
      return Tensor::scalar(static_cast<uint16_t>(value));
    case DType::i32:
      return Tensor::scalar(static_cast<int32_t>(value));
    case DType::u32:
      return Tensor::scalar(static_cast<uint32_t>(value));
    case DType::i64:
      return Tensor::scalar(static_cast<int64_t>(value));
    case DType::u64:
      return Tensor::scalar(static_cast<uint64_t>(value));
    default:
      throw Error(Code::unsupported, "its old form for dtype " + std::string(name(t)));
  }
}

namespace {

std::vector<std::span<const UpgradeRow>> families() {
  return {math_upgrades(), shape_upgrades(), nn_upgrades(), loop_upgrades(), resize_upgrades()};
}

// Rows of one operator, in the order of the table.
std::unordered_map<std::string_view, std::vector<const UpgradeRow*>> index_rows() {
  std::unordered_map<std::string_view, std::vector<const UpgradeRow*>> index;
  for (const auto& family : families()) {
    for (const UpgradeRow& row : family) index[row.op].push_back(&row);
  }
  return index;
}

}  // namespace

void upgrade(Rewrite& r) {
  static const auto index = index_rows();
  if (!r.node.domain.empty()) return;
  if (r.node.opset < 6) r.node.attrs.erase("consumed_inputs");  // a hint about memory, of opset 1
  const auto rows = index.find(r.node.op);
  if (rows == index.end()) return;
  for (const UpgradeRow* row : rows->second) {
    if (r.node.opset <= row->until && !r.replaced()) row->apply(r);
  }
}

}  // namespace skyline::onnx
