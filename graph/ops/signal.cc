// Signals: DFT, STFT, window functions, MelWeightMatrix.
#include <algorithm>
#include <cmath>
#include <complex>
#include <numbers>

#include "graph/ops/families.h"
#include "graph/ops/move.h"

namespace skyline::ops {
namespace {

using Complex = std::complex<double>;

// ---- the transform
// -----------------------------------------------------------------------------------------------

constexpr int64_t kLongest = int64_t{1} << 26;

// A discrete Fourier transform of one length: splits by prime factors, sums plainly over a prime.
class Fourier {
 public:
  Fourier(int64_t n, bool inverse, const EvalLimits& limits) : n_(n), inverse_(inverse), limits_(limits) {
    if (n < 1 || n > kLongest)
      throw Error(n < 1 ? Code::invalid : Code::limit, "a transform of length " + str(n));
    const double step = (inverse ? 2 : -2) * std::numbers::pi / static_cast<double>(n);
    for (int64_t k = 0; k < n; ++k) roots_.push_back(std::polar(1.0, step * static_cast<double>(k)));
  }
  // The inverse divides by n.
  std::vector<Complex> operator()(const std::vector<Complex>& x) const {
    std::vector<Complex> y(x.size());
    transform(x.data(), 1, n_, y.data());
    if (inverse_) {
      for (Complex& v : y) v /= static_cast<double>(n_);
    }
    return y;
  }

 private:
  void transform(const Complex* x, int64_t stride, int64_t n, Complex* y) const {
    if (n == 1) {
      *y = *x;
      return;
    }
    int64_t p = 2;
    while (n % p != 0) p = p * p > n ? n : p + 1;
    const int64_t m = n / p;
    std::vector<Complex> parts(static_cast<size_t>(n));
    for (int64_t r = 0; r < p; ++r) transform(x + r * stride, stride * p, m, parts.data() + r * m);
    for (int64_t k = 0; k < n; ++k) {
      if (limits_.check && p > 1000 && k % 1000 == 0) limits_.check();
      Complex sum = 0;
      for (int64_t r = 0; r < p; ++r)
        sum += parts[static_cast<size_t>(r * m + k % m)] * roots_[static_cast<size_t>(r * k % n * (n_ / n))];
      y[k] = sum;
    }
  }

  int64_t n_;
  bool inverse_;
  const EvalLimits& limits_;
  std::vector<Complex> roots_;
};

// ---- DFT
// ---------------------------------------------------------------------------------------------------------

struct DftPlan {
  size_t axis;
  int64_t length;  // of the transform
  int64_t out;     // along the axis
  int64_t parts;   // of an output number: 1 real, 2 complex
  bool inverse, onesided;
};

size_t dft_axis(int64_t axis, int rank) {
  if (rank < 2) fail("input has rank " + str(rank) + ", expected 2 or more");
  const int a = normalize_axis(axis, rank);
  require(a != rank - 1, "axis is that of the real and imaginary parts");
  return static_cast<size_t>(a);
}

// have: elements along the axis
DftPlan dft_plan(const Attrs& attrs, size_t axis, int64_t have, std::optional<int64_t> length) {
  DftPlan p{};
  p.axis = axis;
  p.inverse = attrs.integer("inverse", 0) != 0;
  p.onesided = attrs.integer("onesided", 0) != 0;
  p.length = length.value_or(p.inverse && p.onesided ? 2 * (have - 1) : have);
  if (p.length < 1) fail("dft_length is " + str(p.length));
  p.out = p.onesided && !p.inverse ? p.length / 2 + 1 : p.length;
  p.parts = p.inverse && p.onesided ? 1 : 2;
  return p;
}

void infer_dft(InferContext& c) {
  const Fact& x = c.in(0);
  if (!x.ranked) return c.out(0, x);
  Fact out = x;
  out.dims.back() = c.attrs().integer("inverse", 0) != 0 && c.attrs().integer("onesided", 0) != 0 ? 1 : 2;
  if (c.has(2) && !c.constant(2)) {
    for (size_t a = 0; a + 1 < out.dims.size(); ++a) out.dims[a] = Dim::unknown();
    return c.out(0, std::move(out));
  }
  const size_t axis = dft_axis(c.has(2) ? one_int(*c.constant(2), "axis") : -2, x.rank());
  std::optional<int64_t> length;
  if (c.constant(1)) length = one_int(*c.constant(1), "dft_length");
  const bool known = c.has(1) ? length.has_value() : x.dims[axis].known();
  out.dims[axis] =
      known ? Dim(dft_plan(c.attrs(), axis, x.dims[axis].known() ? x.dims[axis].value() : 0, length).out)
            : Dim::unknown();
  c.out(0, std::move(out));
}

// The elements of one line as `n` complex numbers: cut or zero-padded; a one-sided spectrum is completed.
std::vector<Complex> read_line(const double* x, int64_t have, int64_t stride, int64_t parts,
                               const DftPlan& p) {
  std::vector<Complex> line(static_cast<size_t>(p.length));
  const bool half = p.inverse && p.onesided;
  for (int64_t k = 0; k < std::min(have, half ? p.length / 2 + 1 : p.length); ++k) {
    const Complex v(x[k * stride], parts == 2 ? x[k * stride + 1] : 0.0);
    line[static_cast<size_t>(k)] = v;
    if (half && k > 0 && 2 * k != p.length) line[static_cast<size_t>(p.length - k)] = std::conj(v);
  }
  return line;
}

void eval_dft(EvalContext& c) {
  const Tensor& x = c.in(0);
  const size_t axis = dft_axis(c.has(2) ? one_int(c.in(2), "axis") : -2, x.rank());
  std::optional<int64_t> length;
  if (c.has(1)) length = one_int(c.in(1), "dft_length");
  const DftPlan p = dft_plan(c.attrs(), axis, x.dims()[axis], length);
  const int64_t parts = x.dims().back();
  if (parts != 1 && parts != 2)
    fail("input has shape " + to_string(x.dims()) + ", expected 1 or 2 parts at the end");
  Dims dims = x.dims();
  dims[axis] = p.out;
  dims.back() = p.parts;
  Tensor y = c.make(x.dtype(), dims);
  if (y.size() == 0) return c.out(0, std::move(y));
  const Fourier fourier(p.length, p.inverse, c.limits);
  const std::vector<double> from = to_doubles(x);
  // Lines: [outer, n, inner, parts] of the input, [outer, p.out, inner, p.parts] of the output.
  int64_t outer = 1, inner = 1;
  for (size_t a = 0; a + 1 < dims.size(); ++a) (a < axis ? outer : inner) *= a == axis ? 1 : dims[a];
  const int64_t have = x.dims()[axis];
  visit_type(y.dtype(), FloatTypes{}, [&]<class T>() {
    T* out = y.mutable_data<T>();
    for (int64_t l = 0; l < outer * inner; ++l) {
      if (c.limits.check) c.limits.check();
      const int64_t o = l / inner, i = l % inner;
      const double* start = from.data() + (o * have * inner + i) * parts;
      const std::vector<Complex> line = fourier(read_line(start, have, inner * parts, parts, p));
      for (int64_t k = 0; k < p.out; ++k) {
        T* to = out + ((o * p.out + k) * inner + i) * p.parts;
        to[0] = narrow<T>(line[static_cast<size_t>(k)].real());
        if (p.parts == 2) to[1] = narrow<T>(line[static_cast<size_t>(k)].imag());
      }
    }
  });
  c.out(0, std::move(y));
}

// 5 n log2(n) per transform.
int64_t transform_flops(int64_t n) {
  return static_cast<int64_t>(5.0 * static_cast<double>(n) *
                              std::log2(std::max(2.0, static_cast<double>(n))));
}

Work dft_work(const Node&, std::span<const Fact> in, std::span<const Fact>) {
  return {.flops = transform_flops(in[0].elements())};
}

// ---- STFT
// --------------------------------------------------------------------------------------------------------

struct StftPlan {
  int64_t length, step, frames, bins;
};
StftPlan stft_plan(const Attrs& attrs, int64_t samples, int64_t step, std::optional<int64_t> window,
                   std::optional<int64_t> length) {
  StftPlan p{};
  p.length = length ? *length : window ? *window : samples;
  p.step = step;
  if (step < 1) fail("frame_step is " + str(step));
  if (p.length < 1 || p.length > samples)
    fail("frame_length " + str(p.length) + " is outside [1, " + str(samples) + "]");
  if (window && *window != p.length)
    fail("window has " + str(*window) + " entries, frame_length is " + str(p.length));
  p.frames = 1 + (samples - p.length) / step;
  p.bins = attrs.integer("onesided", 1) != 0 ? p.length / 2 + 1 : p.length;
  return p;
}

void infer_stft(InferContext& c) {
  const Fact& x = c.in(0);
  SymDims dims = unknown_dims(3);
  dims.push_back(2);
  if (x.ranked && x.rank() != 2 && x.rank() != 3) fail("signal has rank " + str(x.rank()) + ", expected 3");
  if (x.ranked) dims[0] = x.dims[0];
  const bool window_known = !c.has(2) || (c.in(2).ranked && c.in(2).rank() == 1 && c.in(2).dims[0].known());
  if (x.ranked && x.dims[1].known() && c.constant(1) && window_known && (!c.has(3) || c.constant(3))) {
    std::optional<int64_t> window, length;
    if (c.has(2)) window = c.in(2).dims[0].value();
    if (c.has(3)) length = one_int(*c.constant(3), "frame_length");
    const StftPlan p =
        stft_plan(c.attrs(), x.dims[1].value(), one_int(*c.constant(1), "frame_step"), window, length);
    dims[1] = p.frames, dims[2] = p.bins;
  }
  c.out(0, Fact(x.dtype, std::move(dims)));
}

void eval_stft(EvalContext& c) {
  const Tensor& x = c.in(0);
  if (x.rank() != 2 && x.rank() != 3) fail("signal has shape " + to_string(x.dims()) + ", expected rank 3");
  const int64_t samples = x.dim(1), parts = x.rank() == 3 ? x.dim(2) : 1;
  if (parts != 1 && parts != 2)
    fail("signal has shape " + to_string(x.dims()) + ", expected 1 or 2 parts at the end");
  std::optional<int64_t> window, length;
  if (c.has(2)) require_rank(c.in(2), 1, "window");
  if (c.has(2)) window = c.in(2).size();
  if (c.has(3)) length = one_int(c.in(3), "frame_length");
  const StftPlan p = stft_plan(c.attrs(), samples, one_int(c.in(1), "frame_step"), window, length);
  Tensor y = c.make(x.dtype(), {x.dim(0), p.frames, p.bins, 2});
  if (y.size() == 0) return c.out(0, std::move(y));
  const std::vector<double> from = to_doubles(x),
                            weight = c.has(2) ? to_doubles(c.in(2))
                                              : std::vector<double>(static_cast<size_t>(p.length), 1.0);
  const Fourier fourier(p.length, false, c.limits);
  std::vector<Complex> frame(static_cast<size_t>(p.length));
  visit_type(y.dtype(), FloatTypes{}, [&]<class T>() {
    T* out = y.mutable_data<T>();
    for (int64_t f = 0; f < x.dim(0) * p.frames; ++f) {
      if (c.limits.check) c.limits.check();
      const double* start = from.data() + (f / p.frames * samples + f % p.frames * p.step) * parts;
      for (size_t i = 0; i < frame.size(); ++i) {
        const double* s = start + static_cast<int64_t>(i) * parts;
        frame[i] = Complex(s[0], parts == 2 ? s[1] : 0.0) * weight[i];
      }
      const std::vector<Complex> spectrum = fourier(frame);
      for (int64_t k = 0; k < p.bins; ++k) {
        *out++ = narrow<T>(spectrum[static_cast<size_t>(k)].real());
        *out++ = narrow<T>(spectrum[static_cast<size_t>(k)].imag());
      }
    }
  });
  c.out(0, std::move(y));
}

Work stft_work(const Node&, std::span<const Fact>, std::span<const Fact> out) {
  return {.flops = transform_flops(out[0].elements())};
}

// ---- windows
// -----------------------------------------------------------------------------------------------------

enum class Window { hann, hamming, blackman };

DType output_dtype(const Attrs& attrs) {
  return static_cast<DType>(attrs.integer("output_datatype", static_cast<int64_t>(DType::f32)));
}

int64_t window_size(const Tensor& t) {
  const int64_t n = one_int(t, "size");
  if (n < 0) fail("size is " + str(n));
  return n;
}

void infer_window(InferContext& c) {
  const Tensor* size = c.constant(0);
  c.out(0, Fact(output_dtype(c.attrs()), {size ? Dim(window_size(*size)) : Dim::unknown()}));
}

template <Window W>
void eval_window(EvalContext& c) {
  const int64_t n = window_size(c.in(0));
  const bool periodic = c.attrs().integer("periodic", 1) != 0;
  Tensor y = c.make(output_dtype(c.attrs()), {n});
  const double turn = 2 * std::numbers::pi / static_cast<double>(periodic ? n : std::max<int64_t>(1, n - 1));
  visit_type(y.dtype(), NumericTypes{}, [&]<class T>() {
    T* out = y.mutable_data<T>();
    for (int64_t i = 0; i < n; ++i) {
      const double x = turn * static_cast<double>(i);
      double v = 0;
      switch (W) {
        case Window::hann:
          v = std::pow(std::sin(x / 2), 2);
          break;
        case Window::hamming:
          v = 25.0 / 46 - 21.0 / 46 * std::cos(x);
          break;
        case Window::blackman:
          v = 0.42 - 0.5 * std::cos(x) + 0.08 * std::cos(2 * x);
          break;
      }
      out[i] = narrow<T>(v);
    }
  });
  c.out(0, std::move(y));
}

Work window_work(const Node&, std::span<const Fact>, std::span<const Fact> out) {
  return {.flops = 20 * out[0].elements()};
}

// ---- MelWeightMatrix
// ---------------------------------------------------------------------------------------------

Dims mel_dims(const Tensor& mels, const Tensor& length) {
  const int64_t bins = one_int(mels, "num_mel_bins"), n = one_int(length, "dft_length");
  if (bins < 1 || n < 1) fail("num_mel_bins is " + str(bins) + " and dft_length " + str(n));
  return {n / 2 + 1, bins};
}

void infer_mel(InferContext& c) {
  const bool known = c.constant(0) && c.constant(1);
  c.out(0, Fact(output_dtype(c.attrs()),
                known ? fixed_dims(mel_dims(*c.constant(0), *c.constant(1)), "shape") : unknown_dims(2)));
}

void eval_mel(EvalContext& c) {
  const Dims dims = mel_dims(c.in(0), c.in(1));
  const int64_t length = one_int(c.in(1), "dft_length"), rate = one_int(c.in(2), "sample_rate");
  const double low = one_real(c.in(3), "lower_edge_hertz"), high = one_real(c.in(4), "upper_edge_hertz");
  if (rate < 1) fail("sample_rate is " + str(rate));
  if (!(low >= 0 && high >= low && high < 1e12))
    fail("the edges are " + std::to_string(low) + " and " + std::to_string(high) + " Hz");
  Tensor work = c.make(DType::f64, dims), y = c.make(output_dtype(c.attrs()), dims);
  const auto mel = [](double hertz) { return 2595 * std::log10(1 + hertz / 700); };
  const double step = (mel(high) - mel(low)) / static_cast<double>(dims[1] + 2);
  // The spectrogram bin at which triangle i begins; it peaks where i + 1 begins and ends where i + 2 does.
  const auto edge = [&](int64_t i) {
    const double hertz = 700 * (std::pow(10, (mel(low) + static_cast<double>(i) * step) / 2595) - 1);
    const double bin = std::floor(static_cast<double>(length + 1) * hertz / static_cast<double>(rate));
    if (!(bin >= 0 && bin < static_cast<double>(dims[0])))
      fail("upper_edge_hertz " + std::to_string(high) + " is above what dft_length and sample_rate resolve");
    return static_cast<int64_t>(bin);
  };
  double* w = work.mutable_data<double>();
  std::fill(w, w + work.size(), 0.0);
  for (int64_t i = 0; i < dims[1]; ++i) {
    const int64_t left = edge(i), center = edge(i + 1), right = edge(i + 2);
    if (left == center) w[center * dims[1] + i] = 1;
    for (int64_t j = left; j <= center && left != center; ++j)
      w[j * dims[1] + i] = static_cast<double>(j - left) / static_cast<double>(center - left);
    for (int64_t j = center; j < right; ++j)
      w[j * dims[1] + i] = static_cast<double>(right - j) / static_cast<double>(right - center);
  }
  visit_type(y.dtype(), NumericTypes{}, [&]<class T>() {
    for (int64_t i = 0; i < y.size(); ++i) y.mutable_data<T>()[i] = narrow<T>(w[i]);
  });
  c.out(0, std::move(y));
}

constexpr OpDef kOps[] = {
    {.name = "DFT", .min_inputs = 1, .max_inputs = 3, .infer = infer_dft, .eval = eval_dft, .work = dft_work},
    {.name = "STFT",
     .min_inputs = 2,
     .max_inputs = 4,
     .infer = infer_stft,
     .eval = eval_stft,
     .work = stft_work},
    {.name = "HannWindow",
     .min_inputs = 1,
     .max_inputs = 1,
     .infer = infer_window,
     .eval = eval_window<Window::hann>,
     .work = window_work},
    {.name = "HammingWindow",
     .min_inputs = 1,
     .max_inputs = 1,
     .infer = infer_window,
     .eval = eval_window<Window::hamming>,
     .work = window_work},
    {.name = "BlackmanWindow",
     .min_inputs = 1,
     .max_inputs = 1,
     .infer = infer_window,
     .eval = eval_window<Window::blackman>,
     .work = window_work},
    {.name = "MelWeightMatrix", .min_inputs = 5, .max_inputs = 5, .infer = infer_mel, .eval = eval_mel},
};

}  // namespace

std::span<const OpDef> signal_ops() {
  return kOps;
}

}  // namespace skyline::ops
