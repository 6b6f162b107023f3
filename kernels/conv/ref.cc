#include "kernels/gemm/ref.h"

#include "kernels/conv/conv.h"

namespace skyline::kernels {
namespace {

double element(const void* p, DType t, int64_t i) {
  if (t == DType::f32) return static_cast<double>(static_cast<const float*>(p)[i]);
  return t == DType::u8 ? static_cast<const uint8_t*>(p)[i] : static_cast<const int8_t*>(p)[i];
}

// The input position that kernel position k meets at output position o, or -1.
int64_t meets(const ConvProblem& p, int axis, int64_t o, int64_t k) {
  int64_t at = 0;
  if (p.transposed) {
    const int64_t spread = o + p.pad_begin[axis] - k * p.dilation[axis];
    if (spread < 0 || spread % p.stride[axis]) return -1;
    at = spread / p.stride[axis];
  } else {
    at = o * p.stride[axis] - p.pad_begin[axis] + k * p.dilation[axis];
  }
  return at >= 0 && at < p.in[axis] ? at : -1;
}

// One output value, before the epilogue.
double sum_at(const ConvProblem& p, const ConvArgs& args, const ConvWeights& w, int64_t image, const Dims3& o,
              int64_t oc) {
  const int64_t icg = p.ic / p.groups, ocg = p.oc / p.groups, group = oc / ocg,
                ldx = args.ldx   ? args.ldx
                      : p.planar ? p.in_pixels()
                                 : p.ic;
  const double zero = w.zero_point ? element(w.zero_point, p.b, w.zero_point_per_oc ? oc : 0) : 0;
  double sum = 0;
  for (int64_t tap = 0; tap < p.taps(); ++tap) {
    const int64_t z = meets(p, 0, o[0], tap / p.kernel[2] / p.kernel[1]);
    const int64_t y = meets(p, 1, o[1], tap / p.kernel[2] % p.kernel[1]);
    const int64_t x = meets(p, 2, o[2], tap % p.kernel[2]);
    if (z < 0 || y < 0 || x < 0) continue;
    const int64_t pixel = ((image * p.in[0] + z) * p.in[1] + y) * p.in[2] + x;
    for (int64_t c = 0; c < icg; ++c) {
      const int64_t ic = group * icg + c;
      const int64_t at = p.transposed ? ic * ocg + oc % ocg : oc * icg + c;
      const int64_t from =
          p.planar ? (image * p.ic + ic) * ldx + pixel - image * p.in_pixels() : pixel * ldx + ic;
      sum += (element(args.x, p.a, from) - args.x_zero) * (element(w.w, p.b, at * p.taps() + tap) - zero);
    }
  }
  return sum;
}

}  // namespace

void conv_reference(const ConvProblem& p, const ConvArgs& args, const ConvWeights& w) noexcept {
  Epilogue e = args.epilogue;
  if (!e.ldr) e.ldr = p.oc;
  const int64_t ldy = args.ldy ? args.ldy : p.oc, pixels = p.out_pixels();
  for (int64_t row = 0; row < p.n * pixels; ++row) {
    const int64_t at = row % pixels;
    const Dims3 o = {at / p.out(2) / p.out(1), at / p.out(2) % p.out(1), at % p.out(2)};
    for (int64_t oc = 0; oc < p.oc; ++oc) {
      store_reference(e, p.c, sum_at(p, args, w, row / pixels, o, oc), row, oc, args.y, row * ldy + oc);
    }
  }
}

}  // namespace skyline::kernels
