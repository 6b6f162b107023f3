// 8-bit products by AVX-VNNI: u8 times i8 on 256 bits, no saturation between. The contract is in dense.h.
#include "kernels/gemm/dense_dots.h"

namespace skyline::kernels {
namespace {

struct Dot {
  static I32 add(const I32& sum, const I32& a, const I32& b) {
    __m256i x = _mm256_dpbusd_avx_epi32(sum, a, b);
    // Else GCC 12 computes products first and adds them later, from memory: two thirds of the speed.
    __asm__("" : "+x"(x));
    return x;
  }
};

constexpr int kMr = 6, kNv = 2;

}  // namespace

constinit const DenseKernel SKYLINE_TAGGED(dense_u8) = {{.name = "dense_u8_avxvnni_6x16",
                                                         .op = "dense",
                                                         .needs = kIsaAvx2 | kIsaAvxVnni,
                                                         .in = DType::u8,
                                                         .weights = DType::i8,
                                                         .acc = DType::i32,
                                                         .out = DType::undefined},
                                                        run_dots<Dot, kMr, kNv>,
                                                        kMr,
                                                        kNv* kLanes,
                                                        kLanes,
                                                        1,
                                                        1,
                                                        4};

}  // namespace skyline::kernels
