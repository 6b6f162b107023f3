// Depthwise convolution of f32.
#include "kernels/conv/depthwise_tile.h"
#include "kernels/gemm/requantize.h"

namespace skyline::kernels {
namespace {

#if defined(SKYLINE_ARCH_avx512)
constexpr std::string_view kName = "depthwise_f32_avx512";
constexpr IsaSet kNeeds = kIsaAvx512;
#elif defined(SKYLINE_ARCH_avx2)
constexpr std::string_view kName = "depthwise_f32_avx2";
constexpr IsaSet kNeeds = kIsaAvx2;
#elif defined(SKYLINE_ARCH_neon)
constexpr std::string_view kName = "depthwise_f32_neon";
constexpr IsaSet kNeeds = kIsaNeon;
#else
constexpr std::string_view kName = "depthwise_f32_sse2";
constexpr IsaSet kNeeds = kIsaSse2;
#endif

void finish(const float* sums, int64_t m, int64_t n, void* c, int64_t c_stride, DType out,
            const Epilogue& e) noexcept {
  for (int64_t i = 0; i < m; ++i, sums += n) {
    char* row = static_cast<char*>(c) + i * c_stride;
    for (int64_t j = 0; j < n; j += kLanes) {
      const int lanes = n - j < kLanes ? static_cast<int>(n - j) : kLanes;
      store_integers(row, out, e, xsimd::to_int(load_first(sums + j, lanes)), j, lanes);
    }
  }
  if (out == DType::f32 && e.act.fn != Act::none)
    activate_rows(e.act, static_cast<float*>(c), c_stride / 4, m, n);
}

}  // namespace

constinit const DepthwiseKernel SKYLINE_TAGGED(depthwise_f32) = {{.name = kName,
                                                                  .op = "depthwise",
                                                                  .needs = kNeeds,
                                                                  .in = DType::f32,
                                                                  .weights = DType::f32,
                                                                  .acc = DType::f32,
                                                                  .out = DType::f32},
                                                                 run_form<float, float>,
                                                                 finish};

}  // namespace skyline::kernels
