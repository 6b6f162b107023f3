// 8-bit products by AVX512-VNNI (u8 times i8, no saturation between). The contract is in dense.h.
#include "kernels/gemm/dense_dots.h"

namespace skyline::kernels {
namespace {

struct Dot {
  static I32 add(const I32& sum, const I32& a, const I32& b) { return _mm512_dpbusd_epi32(sum, a, b); }
};

constexpr int kMr = 12, kNv = 2;

}  // namespace

constinit const DenseKernel SKYLINE_TAGGED(dense_u8) = {{.name = "dense_u8_avx512vnni_12x32",
                                                         .op = "dense",
                                                         .needs = kIsaAvx512 | kIsaVnni,
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
