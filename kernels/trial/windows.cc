// Trials of pooling and resizing.
#include <algorithm>
#include <cmath>
#include <limits>

#include "kernels/pool/pool.h"
#include "kernels/resize/resize.h"
#include "kernels/trial/parts.h"
#include "skyline/half.h"

namespace skyline::kernels {
namespace {

// Windows of 3 x 3 in steps of 2 on 64 channels, channels last.
PoolShape pool_shape() {
  PoolShape s;
  s.channels = 64;
  s.channels_last = true;
  for (int d = 1; d < 3; ++d) {
    s.in[d] = 56;
    s.kernel[d] = 3;
    s.stride[d] = 2;
    s.pad_begin[d] = s.pad_end[d] = 1;
    s.out[d] = pool_out_size(56, 3, 2, 1, 1, 1, false);
  }
  return s;
}

// Calls f(value) for every element in the window of output `at`.
template <class T, class F>
int in_window(const PoolShape& s, const std::vector<T>& x, int64_t at, F&& f) {
  const int64_t c = at % s.channels, ox = at / s.channels % s.out[2], oy = at / s.channels / s.out[2];
  int count = 0;
  for (int64_t ky = 0; ky < s.kernel[1]; ++ky) {
    for (int64_t kx = 0; kx < s.kernel[2]; ++kx) {
      const int64_t y = oy * s.stride[1] - s.pad_begin[1] + ky, v = ox * s.stride[2] - s.pad_begin[2] + kx;
      if (y < 0 || v < 0 || y >= s.in[1] || v >= s.in[2]) continue;
      f(static_cast<double>(x[(y * s.in[2] + v) * s.channels + c]));
      ++count;
    }
  }
  return count;
}

template <class T>
double largest_in_window(const PoolShape& s, const std::vector<T>& x, int64_t at) {
  double largest = -std::numeric_limits<double>::infinity();
  in_window(s, x, at, [&](double v) { largest = std::max(largest, v); });
  return largest;
}
template <class T>
double average_in_window(const PoolShape& s, const std::vector<T>& x, int64_t at) {
  double sum = 0;
  const int count = in_window(s, x, at, [&](double v) { sum += v; });
  return sum / count;
}

template <class T>
void add_pool(const PoolTable& t, const char* name, std::vector<T> values,
              std::function<void(const T*, T*, void*)> run,
              std::function<double(const std::vector<T>&, int64_t)> reference, double relative,
              std::vector<Trial>& out) {
  const PoolShape s = pool_shape();
  const int64_t results = s.channels * s.out[1] * s.out[2];
  const auto x = shared(std::move(values));
  const auto y = shared<T>(results);
  const auto scratch = shared<std::byte>(static_cast<int64_t>(pool_scratch_bytes(s, 1)) + 1);
  out.push_back(make_trial(
      t.info, name,
      {.bytes = static_cast<double>(sizeof(T)) * static_cast<double>(results + s.channels * 56 * 56)},
      [=] { run(x->data(), y->data(), scratch->data()); },
      {.n = results,
       .got = element_of(y),
       .want = [=](int64_t i) { return reference(*x, i); },
       .relative = relative,
       .absolute = relative}));
}

}  // namespace

void add_pool_trials(const KernelInfo& row, std::vector<Trial>& out) {
  const auto& t = reinterpret_cast<const PoolTable&>(row);  // a table begins with its row
  const PoolShape s = pool_shape();
  const int64_t n = s.channels * s.in[1] * s.in[2];
  add_pool<float>(
      t, "max_f32", random_floats(n, -3, 3),
      [&t, s](const float* x, float* y, void* w) { t.max_f32(s, x, y, w, 1); },
      [s](const auto& x, int64_t i) { return largest_in_window(s, x, i); }, 0, out);
  add_pool<float>(
      t, "average_f32", random_floats(n, -3, 3),
      [&t, s](const float* x, float* y, void* w) { t.average_f32(s, x, y, w, 1); },
      [s](const auto& x, int64_t i) { return average_in_window(s, x, i); }, 1e-6, out);
  add_pool<uint8_t>(
      t, "max_u8", random_integers<uint8_t>(n, 0, 255),
      [&t, s](const uint8_t* x, uint8_t* y, void* w) { t.max_u8(s, x, y, w, 1); },
      [s](const auto& x, int64_t i) { return largest_in_window(s, x, i); }, 0, out);
  add_pool<int8_t>(
      t, "max_i8", random_integers<int8_t>(n, -128, 127),
      [&t, s](const int8_t* x, int8_t* y, void* w) { t.max_i8(s, x, y, w, 1); },
      [s](const auto& x, int64_t i) { return largest_in_window(s, x, i); }, 0, out);
  std::vector<BFloat16> halves;
  for (float v : random_floats(n, -3, 3)) halves.emplace_back(v);
  add_pool<BFloat16>(
      t, "max_bf16", std::move(halves),
      [&t, s](const BFloat16* x, BFloat16* y, void*) {
        t.max_bf16(s, reinterpret_cast<const uint16_t*>(x), reinterpret_cast<uint16_t*>(y), 1);
      },
      [s](const auto& x, int64_t i) { return largest_in_window(s, x, i); }, 0, out);
  add_pool<uint8_t>(
      t, "average_u8", random_integers<uint8_t>(n, 0, 255),
      [&t, s](const uint8_t* x, uint8_t* y, void*) { t.average_u8(s, {}, x, y, 1); },
      [s](const auto& x, int64_t i) { return std::nearbyint(average_in_window(s, x, i)); }, 0, out);
  add_pool<int8_t>(
      t, "average_i8", random_integers<int8_t>(n, -128, 127),
      [&t, s](const int8_t* x, int8_t* y, void*) { t.average_i8(s, {}, x, y, 1); },
      [s](const auto& x, int64_t i) { return std::nearbyint(average_in_window(s, x, i)); }, 0, out);
}

void add_resize_trials(const KernelInfo& row, std::vector<Trial>& out) {
  const auto& t = reinterpret_cast<const ResizeTable&>(row);
  constexpr int64_t kIn = 64, kOut = 128, kInner = 64;
  for (const ResizeMode mode : {ResizeMode::linear, ResizeMode::cubic}) {
    const auto axis = std::make_shared<ResizeAxis>(make_resize_axis(kIn, kOut, 2, {.mode = mode}));
    const auto x = shared(random_floats(kIn * kInner, -3, 3));
    const auto y = shared<float>(kOut * kInner);
    out.push_back(
        make_trial(row, mode == ResizeMode::linear ? "linear axis" : "cubic axis",
                   {.bytes = 4.0 * (kIn + kOut) * kInner},
                   [=, &t] {
                     t.axis({axis->index.data(), axis->weight.data(), axis->taps}, x->data(), y->data(), 0,
                            kOut, kInner, 0);
                   },
                   {.n = kOut * kInner,
                    .got = element_of(y),
                    .want =
                        [=](int64_t i) {
                          double sum = 0;
                          for (int64_t k = i / kInner * axis->taps; k < (i / kInner + 1) * axis->taps; ++k)
                            sum += double(axis->weight[k]) * (*x)[axis->index[k] * kInner + i % kInner];
                          return sum;
                        },
                    .relative = 1e-6,
                    .absolute = 2e-6}));
  }
}

}  // namespace skyline::kernels
