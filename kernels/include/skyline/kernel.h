#pragma once
// How a kernel is written down: as a row of data. Selection, tests, benches and `skyline kernels` all walk
// the same rows.
//
// A family (gemm, depthwise, eltwise, ...) derives its own row type from KernelInfo and adds function
// pointers and facts:
//
//   struct GemmKernel : KernelInfo { void (*run)(const GemmTile&) noexcept; int mr, nr; };
//   constinit const GemmKernel gemm_f32_avx2 = {
//       {.name = "gemm_f32_avx2_6x16", .op = "gemm", .needs = kIsaAvx2}, run, 6, 16};
//
// and adds the address of the row to the one array in kernels/registry.cc, the best of a family first. There
// is no registration by static initializers: a static library drops those.
#include <span>
#include <string_view>

#include "skyline/dtype.h"
#include "skyline/isa.h"

#pragma GCC visibility push(default)  // part of the shared library's interface
namespace skyline {

// The facts that every row has. Rows are constants: they live for ever and are compared by address.
struct KernelInfo {
  std::string_view name;             // unique; dtype, ISA level and tile in it: "gemm_f32_avx512_12x32"
  std::string_view op;               // the family; rows of the same op have the same row type
  IsaSet needs = kIsaNone;           // usable where all of these bits are present
  DType in = DType::f32;             // of the activations
  DType weights = DType::undefined;  // of the second operand, where there is one
  DType acc = DType::undefined;      // what sums are kept in, where there are sums
  DType out = DType::f32;
};

constexpr bool usable(const KernelInfo& k, IsaSet isa) {
  return (k.needs & isa) == k.needs;
}

// Every kernel of this build, also those that this CPU cannot run. Within an op the best comes first, so the
// first usable row is the default choice.
std::span<const KernelInfo* const> all_kernels() noexcept;

// The first row of `op` that `isa` can run and that `accept` takes; null if none. Row is the family's row
// type.
template <class Row, class Accept>
const Row* find_kernel(std::string_view op, IsaSet isa, Accept&& accept) {
  for (const KernelInfo* k : all_kernels()) {
    if (k->op == op && usable(*k, isa) && accept(static_cast<const Row&>(*k)))
      return static_cast<const Row*>(k);
  }
  return nullptr;
}
template <class Row>
const Row* find_kernel(std::string_view op, IsaSet isa) {
  return find_kernel<Row>(op, isa, [](const Row&) { return true; });
}

}  // namespace skyline
#pragma GCC visibility pop
