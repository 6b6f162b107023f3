// Softmax, LogSoftmax, Hardmax: along one axis.
#include <cmath>
#include <limits>

#include "graph/ops/families.h"
#include "graph/ops/numeric.h"

namespace skyline::ops {
namespace {

void infer_along_axis(InferContext& c) {
  const Fact& x = c.in(0);
  require_float(x.dtype, "input");
  const int64_t axis = c.attrs().integer("axis", -1);
  if (x.ranked && x.rank() > 0) normalize_axis(axis, x.rank());
  c.out(0, x);
}

// Calls f(first, stride, n) for every line along `axis`; f changes the line in place.
template <class F>
void eval_lines(EvalContext& c, F&& f) {
  const Tensor& x = c.in(0);
  require_float(x.dtype(), "input");
  std::vector<double> v = to_doubles(x);
  // A scalar is a line of one element.
  const int axis = x.rank() == 0 ? 0 : normalize_axis(c.attrs().integer("axis", -1), x.rank());
  const int64_t n = x.rank() == 0 ? 1 : x.dim(axis);
  const int64_t outer = span_count(x.dims(), 0, axis), inner = span_count(x.dims(), axis + 1, x.rank());
  for (int64_t o = 0; n > 0 && o < outer; ++o) {
    poll(c.limits);
    for (int64_t i = 0; i < inner; ++i) f(v.data() + o * n * inner + i, inner, n);
  }
  c.out(0, make_from(c, x.dtype(), x.dims(), v));
}

// The largest element; NaN if any is.
double line_max(const double* x, int64_t stride, int64_t n) {
  double best = x[0];
  for (int64_t k = 1; k < n; ++k) {
    if (x[k * stride] > best || std::isnan(x[k * stride])) best = x[k * stride];
  }
  return best;
}

void eval_softmax(EvalContext& c) {
  eval_lines(c, [](double* x, int64_t stride, int64_t n) {
    const double top = line_max(x, stride, n);
    double sum = 0;
    for (int64_t k = 0; k < n; ++k) sum += x[k * stride] = std::exp(x[k * stride] - top);
    for (int64_t k = 0; k < n; ++k) x[k * stride] /= sum;
  });
}

void eval_log_softmax(EvalContext& c) {
  eval_lines(c, [](double* x, int64_t stride, int64_t n) {
    const double top = line_max(x, stride, n);
    double sum = 0;
    for (int64_t k = 0; k < n; ++k) sum += std::exp(x[k * stride] - top);
    const double shift = top + std::log(sum);
    for (int64_t k = 0; k < n; ++k) x[k * stride] -= shift;
  });
}

// One where the first largest element is, zero elsewhere.
void eval_hardmax(EvalContext& c) {
  eval_lines(c, [](double* x, int64_t stride, int64_t n) {
    int64_t at = 0;
    for (int64_t k = 1; k < n; ++k) {
      if (x[k * stride] > x[at * stride]) at = k;
    }
    for (int64_t k = 0; k < n; ++k) x[k * stride] = k == at ? 1 : 0;
  });
}

Work work_softmax(const Node&, std::span<const Fact> in, std::span<const Fact>) {
  return {.flops = 10 * in[0].elements()};  // max, subtract, exp (6), sum, divide
}
Work work_hardmax(const Node&, std::span<const Fact> in, std::span<const Fact>) {
  return {.flops = in[0].elements()};
}

constexpr OpDef kOps[] = {
    {.name = "Softmax",
     .min_inputs = 1,
     .max_inputs = 1,
     .infer = infer_along_axis,
     .eval = eval_softmax,
     .work = work_softmax},
    {.name = "LogSoftmax",
     .min_inputs = 1,
     .max_inputs = 1,
     .infer = infer_along_axis,
     .eval = eval_log_softmax,
     .work = work_softmax},
    {.name = "Hardmax",
     .min_inputs = 1,
     .max_inputs = 1,
     .infer = infer_along_axis,
     .eval = eval_hardmax,
     .work = work_hardmax},
};

}  // namespace

std::span<const OpDef> softmax_ops() {
  return kOps;
}

}  // namespace skyline::ops
