// Depthwise convolution of activations that are stored in bf16: no tiles, but the conversions that come with
// them.
#include "kernels/conv/depthwise_tile.h"

namespace skyline::kernels {
namespace {

template <class In, class Out>
constexpr DepthwiseKernel row(std::string_view name) {
  constexpr auto kType = [](size_t size) { return size == 2 ? DType::bf16 : DType::f32; };
  return {{.name = name,
           .op = "depthwise",
           .needs = kIsaAvx512 | kIsaVnni | kIsaBf16,
           .in = kType(sizeof(In)),
           .weights = DType::f32,
           .acc = DType::f32,
           .out = kType(sizeof(Out))},
          run_form<In, Out>,
          nullptr};
}

}  // namespace

constinit const DepthwiseKernel depthwise_bf16_amx[3] = {row<uint16_t, uint16_t>("depthwise_bf16_amx"),
                                                         row<uint16_t, float>("depthwise_bf16_f32_amx"),
                                                         row<float, uint16_t>("depthwise_f32_bf16_amx")};

}  // namespace skyline::kernels
