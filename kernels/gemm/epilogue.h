#pragma once
// What may happen to a tile of C before it leaves the cache.
#include <cstdint>

namespace skyline::kernels {

// a and b are the function's parameters; which ones it has is said beside it.
enum class Act : uint8_t {
  none,
  relu,
  clip,          // min(max(x, a), b)
  leaky_relu,    // x >= 0 ? x : a * x
  hard_sigmoid,  // clip(a * x + b, 0, 1)
  hard_swish,    // x * clip(x / 6 + 1/2, 0, 1)
  sigmoid,
  silu,  // x * sigmoid(x)
  tanh,
  gelu_erf,   // x / 2 * (1 + erf(x / sqrt 2))
  gelu_tanh,  // x / 2 * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 x^3)))
};
struct Activation {
  Act fn = Act::none;
  float a = 0, b = 0;
};

}  // namespace skyline::kernels
