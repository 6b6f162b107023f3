#include "kernels/base/nd.h"

namespace skyline::kernels {
namespace {
constexpr int kMaxInputRank = 32;
}

bool make_nd_plan(std::span<const int64_t> dims, std::span<const int64_t* const> strides,
                  NdPlan* plan) noexcept {
  const int operands = static_cast<int>(strides.size());
  if (strides.size() > kMaxOperands) return false;
  *plan = NdPlan{};
  plan->operands = operands;
  plan->size = 1;
  for (const int64_t d : dims) plan->size *= d;
  plan->dims[0] = plan->size == 0 ? 0 : 1;
  if (plan->size == 0) return true;
  int rank = 0;
  for (size_t d = 0; d < dims.size(); ++d) {
    if (dims[d] == 1) continue;
    bool merges = rank > 0;
    for (int i = 0; merges && i < operands; ++i) {
      merges = plan->strides[i][rank - 1] == strides[i][d] * dims[d];
    }
    if (!merges && rank == kMaxRank) return false;
    const int to = merges ? rank - 1 : rank++;
    plan->dims[to] = merges ? plan->dims[to] * dims[d] : dims[d];
    for (int i = 0; i < operands; ++i) plan->strides[i][to] = strides[i][d];
  }
  plan->rank = rank > 0 ? rank : 1;
  return true;
}

bool make_broadcast_plan(std::span<const int64_t> out, std::span<const std::span<const int64_t>> shapes,
                         NdPlan* plan) noexcept {
  if (out.size() > kMaxInputRank || shapes.size() > kMaxOperands) return false;
  int64_t strides[kMaxOperands][kMaxInputRank] = {};
  const int64_t* rows[kMaxOperands] = {};
  for (size_t i = 0; i < shapes.size(); ++i) {
    rows[i] = strides[i];
    const std::span<const int64_t> shape = shapes[i];
    if (shape.size() > out.size()) return false;
    const size_t lead = out.size() - shape.size();
    int64_t step = 1;
    for (size_t d = shape.size(); d-- > 0;) {
      if (shape[d] != out[lead + d] && shape[d] != 1) return false;
      strides[i][lead + d] = shape[d] == 1 ? 0 : step;
      step *= shape[d];
    }
  }
  return make_nd_plan(out, std::span<const int64_t* const>(rows, shapes.size()), plan);
}

}  // namespace skyline::kernels
