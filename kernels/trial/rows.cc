// Trials of reductions, softmax and normalisations.
#include <algorithm>
#include <cmath>

#include "kernels/norm/norm.h"
#include "kernels/reduce/reduce.h"
#include "kernels/softmax/softmax.h"
#include "kernels/trial/parts.h"

namespace skyline::kernels {
namespace {

constexpr const char* kReduceNames[] = {"sum",   "mean", "max", "min",    "prod",
                                        "sumsq", "l1",   "l2",  "logsum", "logsumexp"};

double reduced(ReduceOp op, int64_t n, const std::function<double(int64_t)>& x) {
  double sum = 0, product = 1, largest = x(0), smallest = x(0), squares = 0, absolute = 0, exponentials = 0;
  for (int64_t i = 0; i < n; ++i) {
    const double v = x(i);
    sum += v;
    product *= v;
    largest = std::max(largest, v);
    smallest = std::min(smallest, v);
    squares += v * v;
    absolute += std::fabs(v);
    exponentials += std::exp(v);
  }
  switch (op) {
    case ReduceOp::sum:
      return sum;
    case ReduceOp::mean:
      return sum / static_cast<double>(n);
    case ReduceOp::max:
      return largest;
    case ReduceOp::min:
      return smallest;
    case ReduceOp::prod:
      return product;
    case ReduceOp::sumsq:
      return squares;
    case ReduceOp::l1:
      return absolute;
    case ReduceOp::l2:
      return std::sqrt(squares);
    case ReduceOp::logsum:
      return std::log(sum);
    default:
      return std::log(exponentials);
  }
}

void add_reduction(const ReduceTable& t, ReduceOp op, int64_t outer, int64_t n, int64_t inner,
                   std::vector<Trial>& out) {
  const int64_t size = outer * n * inner;
  // Near 1, so that products stay in range, and positive for the logarithm of a sum.
  const auto x = shared(random_floats(size, 0.9f, 1.1f));
  const auto y = shared<float>(outer * inner);
  const auto run = t.run[static_cast<int>(op)];
  out.push_back(make_trial(
      t.info, std::string(kReduceNames[static_cast<int>(op)]) + (inner > 1 ? " of columns" : " of rows"),
      {.bytes = 4.0 * static_cast<double>(size)}, [=] { run(x->data(), y->data(), outer, n, inner, 1); },
      {.n = outer * inner,
       .got = element_of(y),
       .want =
           [=](int64_t i) {
             const int64_t base = i / inner * n * inner + i % inner;
             return reduced(op, n, [&](int64_t r) { return double((*x)[base + r * inner]); });
           },
       .relative = 1e-5}));
}

// y[r][i] = f(row r of x)[i], rows of n.
void add_row_trial(const KernelInfo& row, const char* name, std::shared_ptr<std::vector<float>> x, int64_t n,
                   std::function<void(const float*, float*)> run,
                   const std::function<void(const float*, double*)>& reference, double tolerance,
                   std::vector<Trial>& out) {
  const auto size = static_cast<int64_t>(x->size());
  const auto y = shared<float>(size);
  const auto want = shared<double>(size);
  for (int64_t at = 0; at < size; at += n) reference(x->data() + at, want->data() + at);
  out.push_back(make_trial(row, name, {.bytes = 8.0 * static_cast<double>(size)},
                           [=] { run(x->data(), y->data()); },
                           {.n = size,
                            .got = element_of(y),
                            .want = element_of(want),
                            .relative = tolerance,
                            .absolute = tolerance / 4}));
}

void softmax_row(const float* x, double* y, int64_t n, double scale) {
  double sum = 0;
  const double largest = scale * *std::max_element(x, x + n);
  for (int64_t i = 0; i < n; ++i) sum += y[i] = std::exp(scale * x[i] - largest);
  for (int64_t i = 0; i < n; ++i) y[i] /= sum;
}

// (x - shift) / sqrt(mean((x - shift)^2) + eps), where shift is the mean or 0.
void normalise_row(const float* x, double* y, int64_t n, bool centre) {
  double mean = 0, squares = 0;
  for (int64_t i = 0; centre && i < n; ++i) mean += x[i] / static_cast<double>(n);
  for (int64_t i = 0; i < n; ++i) squares += (x[i] - mean) * (x[i] - mean);
  const double scale = 1 / std::sqrt(squares / static_cast<double>(n) + 1e-5);
  for (int64_t i = 0; i < n; ++i) y[i] = (x[i] - mean) * scale;
}

}  // namespace

void add_reduce_trials(const KernelInfo& row, std::vector<Trial>& out) {
  const auto& t = reinterpret_cast<const ReduceTable&>(row);  // a table begins with its row
  for (int op = 0; op < static_cast<int>(ReduceOp::count); ++op) {
    add_reduction(t, static_cast<ReduceOp>(op), 64, 512, 1, out);
    add_reduction(t, static_cast<ReduceOp>(op), 1, 196, 256, out);
  }
}

void add_softmax_trials(const KernelInfo& row, std::vector<Trial>& out) {
  const auto& t = reinterpret_cast<const SoftmaxTable&>(row);
  constexpr int64_t kRows = 128;
  for (const int64_t n : {int64_t{128}, int64_t{1000}}) {
    const auto x = shared(random_floats(kRows * n, -4, 4));
    add_row_trial(
        row, n == 128 ? "rows of 128" : "rows of 1000", x, n,
        [&t, n](const float* p, float* y) { t.run(p, y, kRows, n, 1, false, 1); },
        [n](const float* p, double* y) { softmax_row(p, y, n, 1); }, 2e-6, out);
  }
  add_row_trial(
      row, "scaled rows of 128", shared(random_floats(kRows * 128, -4, 4)), 128,
      [&t](const float* p, float* y) { t.masked(p, nullptr, y, kRows, 128, 0.125f, 1, 1, 1); },
      [](const float* p, double* y) { softmax_row(p, y, 128, 0.125); }, 2e-6, out);
}

void add_norm_trials(const KernelInfo& row, std::vector<Trial>& out) {
  const auto& t = reinterpret_cast<const NormTable&>(row);
  constexpr int64_t kRows = 64, kN = 768;
  const auto x = shared(random_floats(kRows * kN, -1, 2));
  add_row_trial(
      row, "layer", x, kN,
      [&t](const float* p, float* y) { t.layer({.x = p, .y = y, .rows = kRows, .n = kN}, 1); },
      [](const float* p, double* y) { normalise_row(p, y, kN, true); }, 4e-6, out);
  add_row_trial(
      row, "rms", x, kN,
      [&t](const float* p, float* y) { t.rms({.x = p, .y = y, .rows = kRows, .n = kN}, 1); },
      [](const float* p, double* y) { normalise_row(p, y, kN, false); }, 4e-6, out);
  add_row_trial(
      row, "instance", x, kN,
      [&t](const float* p, float* y) {
        t.group({.x = p, .y = y, .batch = 1, .channels = kRows, .spatial = kN, .groups = kRows}, 1);
      },
      [](const float* p, double* y) { normalise_row(p, y, kN, true); }, 4e-6, out);
  add_row_trial(
      row, "l2", x, kN, [&t](const float* p, float* y) { t.lp(p, y, kRows, kN, 1, 2, 1); },
      [](const float* p, double* y) {
        double squares = 0;
        for (int64_t i = 0; i < kN; ++i) squares += double(p[i]) * p[i];
        for (int64_t i = 0; i < kN; ++i) y[i] = p[i] / std::sqrt(squares);
      },
      4e-6, out);
  const auto scale = shared(random_floats(kN, 0.5f, 2)), shift = shared(random_floats(kN, -1, 1));
  add_row_trial(
      row, "scale and shift, relu", x, kN,
      [&t, scale, shift](const float* p, float* y) {
        t.scale_shift(p, scale->data(), shift->data(), y, kRows, kN, 1, true, 1);
      },
      [&](const float* p, double* y) {
        for (int64_t i = 0; i < kN; ++i) y[i] = std::max(0.0, double(p[i]) * (*scale)[i] + (*shift)[i]);
      },
      1e-6, out);
}

}  // namespace skyline::kernels
