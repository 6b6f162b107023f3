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

template <class T>
T qlinear(bool add, T a, T b, const QBinaryParams& p) {
  const float za = static_cast<float>(p.a.zero), zb = static_cast<float>(p.b.zero),
              zy = static_cast<float>(p.y.zero), u = static_cast<float>(a), v = static_cast<float>(b);
  const float ra = p.a.scale / p.y.scale, rb = p.b.scale / p.y.scale;
  const float sum = std::fma(v, rb, std::fma(u, ra, zy - (ra * za + rb * zb)));
  const float product = (u - za) * (v - zb) * (p.a.scale * p.b.scale / p.y.scale) + zy;
  return saturate<T>(std::nearbyint(add ? sum : product), 0);
}

}  // namespace skyline::kernels::ref
