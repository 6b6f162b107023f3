#pragma once
// The definitions, one element at a time: what the kernels must equal, bit for bit.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>

#include "kernels/quantize/quantize.h"

namespace skyline::kernels::ref {

template <class T>
T saturate(float rounded, int32_t zero) {
  if (std::isnan(rounded)) return std::numeric_limits<T>::min();
  const double v = static_cast<double>(rounded) + zero;
  return static_cast<T>(std::clamp<double>(v, std::numeric_limits<T>::min(), std::numeric_limits<T>::max()));
}
template <class T>
T quantize(float x, QuantParams p) {
  return saturate<T>(std::nearbyint(x / p.scale), p.zero);
}
template <class T>
float dequantize(T q, QuantParams p) {
  return static_cast<float>(static_cast<int32_t>(q) - p.zero) * p.scale;
}
template <class T>
T requantize(int32_t a, float multiplier, int32_t zero) {
  return saturate<T>(std::nearbyint(static_cast<float>(a) * multiplier), zero);
}

}  // namespace skyline::kernels::ref
