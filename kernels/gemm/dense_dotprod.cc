// 8-bit products by Arm's SDOT, which takes i8 on both sides. The contract is in dense.h.
#include "kernels/gemm/dense_dots.h"

namespace skyline::kernels {
namespace {

struct Dot {
  static I32 add(const I32& sum, const I32& a, const I32& b) {
    return vdotq_s32(sum, vreinterpretq_s8_s32(a), vreinterpretq_s8_s32(b));
  }
};

// 24 sums, 4 vectors of B and one of A: 29 of 32 registers.
constexpr int kMr = 6, kNv = 4;

constexpr DenseKernel row() {
  DenseKernel k{{.name = "dense_i8_dotprod_6x16",
                 .op = "dense",
                 .needs = kIsaNeon | kIsaDotprod,
                 .in = DType::i8,
                 .weights = DType::i8,
                 .acc = DType::i32,
                 .out = DType::undefined},
                run_dots<Dot, kMr, kNv>,
                kMr,
                kNv * kLanes,
                kLanes};
  k.rate = 4;
  k.both_signs = true;
  return k;
}

}  // namespace

constinit const DenseKernel SKYLINE_TAGGED(dense_i8) = row();

}  // namespace skyline::kernels
