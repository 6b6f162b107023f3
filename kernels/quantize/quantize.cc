#include "kernels/quantize/quantize.h"

#include <algorithm>
#include <cmath>

#include "kernels/base/levels.h"
#include "kernels/base/parallel.h"

namespace skyline::kernels {

const QuantizeTable& quantize_kernels(IsaSet isa) noexcept {
  return SKYLINE_PICK_LEVEL(quantize, isa);
}

namespace {

int narrow_index(DType type) noexcept {
  switch (type) {
    case DType::u8:
      return 0;
    case DType::i8:
      return 1;
    case DType::u16:
      return 2;
    case DType::i16:
      return 3;
    default:
      return -1;
  }
}

}  // namespace

QuantizeFn find_quantize(const QuantizeTable& t, DType type) noexcept {
  const int i = narrow_index(type);
  return i < 0 ? nullptr : t.quantize[i];
}
DequantizeFn find_dequantize(const QuantizeTable& t, DType type) noexcept {
  if (type == DType::i32) return t.dequantize_i32;
  const int i = narrow_index(type);
  return i < 0 ? nullptr : t.dequantize[i];
}

QuantParams dynamic_quantize_params(float smallest, float largest) noexcept {
  const float lo = std::min(smallest, 0.0f), hi = std::max(largest, 0.0f);
  const float scale = (hi - lo) / 255.0f;
  if (!(scale > 0)) return {1.0f, 0};
  const float zero = std::nearbyint(std::clamp(0.0f - lo / scale, 0.0f, 255.0f));
  return {scale, static_cast<int32_t>(zero)};
}

QuantParams dynamic_quantize_u8(const QuantizeTable& t, const float* x, uint8_t* q, int64_t n,
                                int threads) noexcept {
  float lo = 0, hi = 0;
  if (n > 0) t.min_max(x, n, &lo, &hi, threads);
  const QuantParams p = dynamic_quantize_params(lo, hi);
  if (n > 0) t.quantize[0](x, q, &p.scale, &p.zero, 1, 1, n, threads);
  return p;
}

void make_lookup(UnaryFn fn, float alpha, float beta, DType type, QuantParams in, QuantParams out,
                 uint8_t* table) noexcept {
  float x[256];
  for (int code = 0; code < 256; ++code) {
    const int q = type == DType::i8 ? static_cast<int8_t>(code) : code;
    x[code] = static_cast<float>(q - in.zero) * in.scale;
  }
  fn(x, x, 256, alpha, beta);
  const float lo = type == DType::i8 ? -128.0f : 0.0f, hi = lo + 255.0f, zero = static_cast<float>(out.zero);
  for (int code = 0; code < 256; ++code) {
    const float v = x[code] / out.scale;
    const float clamped = v > lo - zero ? std::min(v, hi - zero) : lo - zero;
    table[code] = static_cast<uint8_t>(static_cast<int>(std::nearbyint(clamped)) + out.zero);
  }
}

}  // namespace skyline::kernels
