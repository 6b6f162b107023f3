// Random tensors. The generator is a hash of (seed, index), so an element does not depend on the order of
// evaluation. A node without a seed draws a new one at each evaluation.
#include <numbers>
#include <random>

#include "graph/ops/cast.h"
#include "graph/ops/elementwise.h"
#include "graph/ops/families.h"

namespace skyline::ops {
namespace {

uint64_t mix(uint64_t x) {  // the finalizer of SplitMix64
  x ^= x >> 30;
  x *= 0xbf58476d1ce4e5b9;
  x ^= x >> 27;
  x *= 0x94d049bb133111eb;
  return x ^ (x >> 31);
}

class Random {
 public:
  explicit Random(const Attrs& attrs) {
    if (attrs.has("seed")) {
      seed_ = mix(std::bit_cast<uint32_t>(attrs.real("seed")) + uint64_t{1});
    } else {
      std::random_device device;
      seed_ = (uint64_t{device()} << 32) ^ device();
    }
  }
  // In [0, 1).
  double uniform(int64_t i) const {
    const uint64_t golden = 0x9e3779b97f4a7c15;
    return static_cast<double>(mix(seed_ + golden * (static_cast<uint64_t>(i) + 1)) >> 11) * 0x1p-53;
  }
  double normal(int64_t i) const {  // Box and Muller
    const double radius = std::sqrt(-2 * std::log(1 - uniform(2 * i)));
    return radius * std::cos(2 * std::numbers::pi * uniform(2 * i + 1));
  }

 private:
  uint64_t seed_ = 0;
};

DType float_attribute(const Attrs& attrs, DType fallback) {
  const DType t = dtype_attribute(attrs, "dtype", fallback);
  if (t != DType::undefined && !is_float(t)) {
    throw Error(Code::invalid, "a random tensor of " + std::string(name(t)) + "; a float is needed");
  }
  return t;
}

void infer_shape(InferContext& c) {
  const Dims& shape = c.attrs().integers("shape");
  element_count(shape);
  c.out(0, Fact::fixed(float_attribute(c.attrs(), DType::f32), shape));
}

void infer_like(InferContext& c) {
  c.out(0, with_dtype(c.in(0), float_attribute(c.attrs(), c.in(0).dtype)));
}

template <class F>
void fill(EvalContext& c, DType t, const Dims& dims, F f) {
  Tensor y = c.make(DType::f64, dims);
  double* out = y.mutable_data<double>();
  for (int64_t i = 0; i < y.size(); ++i) out[i] = f(i);
  c.out(0, cast_tensor(c, y, t));
}

void fill_normal(EvalContext& c, DType t, const Dims& dims) {
  const double mean = c.attrs().real("mean", 0.0f), scale = c.attrs().real("scale", 1.0f);
  const Random random(c.attrs());
  fill(c, t, dims, [&](int64_t i) { return mean + scale * random.normal(i); });
}

void fill_uniform(EvalContext& c, DType t, const Dims& dims) {
  const double low = c.attrs().real("low", 0.0f), high = c.attrs().real("high", 1.0f);
  const Random random(c.attrs());
  fill(c, t, dims, [&](int64_t i) { return low + (high - low) * random.uniform(i); });
}

void eval_normal(EvalContext& c) {
  fill_normal(c, float_attribute(c.attrs(), DType::f32), c.attrs().integers("shape"));
}
void eval_uniform(EvalContext& c) {
  fill_uniform(c, float_attribute(c.attrs(), DType::f32), c.attrs().integers("shape"));
}
void eval_normal_like(EvalContext& c) {
  const Tensor x = c.in(0);
  fill_normal(c, float_attribute(c.attrs(), x.dtype()), x.dims());
}
void eval_uniform_like(EvalContext& c) {
  const Tensor x = c.in(0);
  fill_uniform(c, float_attribute(c.attrs(), x.dtype()), x.dims());
}

// ---- Bernoulli
// -------------------------------------------------------------------------------------------------------

void infer_bernoulli(InferContext& c) {
  c.out(0, with_dtype(c.in(0), dtype_attribute(c.attrs(), "dtype", c.in(0).dtype)));
}

void eval_bernoulli(EvalContext& c) {
  const Tensor p = cast_tensor(c, c.in(0), DType::f64);
  const Random random(c.attrs());
  const double* probability = p.data<double>();
  fill(c, dtype_attribute(c.attrs(), "dtype", c.in(0).dtype()), p.dims(),
       [&](int64_t i) { return random.uniform(i) < probability[i] ? 1.0 : 0.0; });
}

// ---- Multinomial
// -----------------------------------------------------------------------------------------------------

struct Multinomial {
  DType dtype;
  int64_t samples;
};

Multinomial parse_multinomial(const Attrs& attrs) {
  const Multinomial m{dtype_attribute(attrs, "dtype", DType::i32), attrs.integer("sample_size", 1)};
  if (m.dtype != DType::i32 && m.dtype != DType::i64) {
    throw Error(Code::invalid, "attribute dtype is " + std::string(name(m.dtype)) + "; i32 or i64 is needed");
  }
  if (m.samples < 1) throw Error(Code::invalid, "attribute sample_size is " + std::to_string(m.samples));
  return m;
}

void infer_multinomial(InferContext& c) {
  const Multinomial m = parse_multinomial(c.attrs());
  const Fact& x = c.in(0);
  if (x.ranked && x.rank() != 2)
    throw Error(Code::invalid, "input of rank " + std::to_string(x.rank()) + ", not 2");
  c.out(0, Fact(m.dtype, {x.ranked ? x.dims[0] : Dim::unknown(), m.samples}));
}

// Rows hold unnormalized logarithms of probabilities.
void eval_multinomial(EvalContext& c) {
  const Multinomial m = parse_multinomial(c.attrs());
  const Tensor x = cast_tensor(c, c.in(0), DType::f64);
  if (x.rank() != 2 || x.dim(1) == 0) {
    throw Error(Code::invalid, "input of shape " + to_string(x.dims()) + "; [batch, classes] is needed");
  }
  const Random random(c.attrs());
  const int64_t classes = x.dim(1);
  Tensor running = c.make(DType::f64, {classes});
  double* sum = running.mutable_data<double>();
  Tensor y = c.make(DType::i64, {x.dim(0), m.samples});
  int64_t* out = y.mutable_data<int64_t>();
  for (int64_t row = 0; row < x.dim(0); ++row) {
    const double* logits = x.data<double>() + row * classes;
    double top = logits[0], total = 0;
    for (int64_t k = 1; k < classes; ++k) top = std::fmax(top, logits[k]);
    for (int64_t k = 0; k < classes; ++k) sum[k] = total += std::exp(logits[k] - top);
    for (int64_t s = 0; s < m.samples; ++s) {
      const double at = random.uniform(row * m.samples + s) * total;
      int64_t k = 0;
      while (k + 1 < classes && !(at < sum[k])) ++k;
      out[row * m.samples + s] = k;
    }
  }
  c.out(0, cast_tensor(c, y, m.dtype));
}

constexpr OpDef row(std::string_view name, int inputs, InferFn infer, EvalFn eval) {
  return {.name = name,
          .min_inputs = inputs,
          .max_inputs = inputs,
          .infer = infer,
          .eval = eval,
          .work = work_per_element<20>,
          .flags = kOpNondeterministic};
}

constexpr OpDef kOps[] = {
    row("RandomNormal", 0, infer_shape, eval_normal),
    row("RandomUniform", 0, infer_shape, eval_uniform),
    row("RandomNormalLike", 1, infer_like, eval_normal_like),
    row("RandomUniformLike", 1, infer_like, eval_uniform_like),
    row("Bernoulli", 1, infer_bernoulli, eval_bernoulli),
    row("Multinomial", 1, infer_multinomial, eval_multinomial),
};

}  // namespace

std::span<const OpDef> random_ops() {
  return kOps;
}

}  // namespace skyline::ops
