#include "graph/passes/permutation.h"

namespace skyline::passes {

Dims inverse(const Dims& perm) {
  Dims out(perm.size());
  for (size_t i = 0; i < perm.size(); ++i) out[static_cast<size_t>(perm[i])] = static_cast<int64_t>(i);
  return out;
}

Dims then(const Dims& p, const Dims& q) {
  Dims out;
  for (int64_t i : q) out.push_back(p[static_cast<size_t>(i)]);
  return out;
}

Dims to_channels_last(int rank) {
  Dims out{0};
  for (int i = 2; i < rank; ++i) out.push_back(i);
  out.push_back(1);
  return out;
}

Dims to_channels_first(int rank) {
  Dims out{0, rank - 1};
  for (int i = 1; i < rank - 1; ++i) out.push_back(i);
  return out;
}

std::optional<Dims> perm_of(const Graph& g, const Node& n) {
  const int rank = rank_of(g, n.in(0));
  if (rank < 0) return std::nullopt;
  Dims perm = n.attrs.integers("perm", {});
  if (perm.empty()) {
    for (int i = rank; i-- > 0;) perm.push_back(i);
  }
  if (static_cast<int>(perm.size()) != rank) return std::nullopt;
  return perm;
}

bool keeps_order(const Fact& f, const Dims& perm) {
  int64_t last = -1;
  for (int64_t axis : perm) {
    if (f.dims[static_cast<size_t>(axis)] == Dim(1)) continue;
    if (axis < last) return false;
    last = axis;
  }
  return true;
}

std::optional<Dims> reshape_target(const SymDims& dims) {
  Dims out;
  bool unknown = false, zero = false;
  for (Dim d : dims) {
    if (!d.known() && unknown) return std::nullopt;
    unknown = unknown || !d.known();
    zero = zero || d == Dim(0);
    out.push_back(d.known() ? d.value() : -1);
  }
  if (zero) return std::nullopt;
  return out;
}

ValueId add_reshape(Patch& patch, ValueId x, const Dims& target, const std::string& name) {
  return patch.add(op("Reshape"), {x, patch.constant(Tensor::vector(target), name + ".shape")}, {}, name);
}

ValueId add_transpose(Patch& patch, ValueId v, const Fact& f, const Dims& perm, const std::string& name) {
  SymDims moved;
  for (int64_t axis : perm) moved.push_back(f.dims[static_cast<size_t>(axis)]);
  if (keeps_order(f, perm)) {
    if (const auto target = reshape_target(moved)) return add_reshape(patch, v, *target, name);
  }
  return patch.add(op("Transpose"), {v}, {{"perm", perm}}, name);
}

}  // namespace skyline::passes
