// Operators that ONNX Runtime's exporters and optimizer put into models, domain com.microsoft: activations,
// normalizations with a skip connection, embeddings, products with packed weights.
#include <cmath>

#include "graph/ops/activation.h"
#include "graph/ops/families.h"
#include "graph/ops/norm.h"
#include "graph/ops/numeric.h"

namespace skyline::ops {
namespace {

// ---- activations: X, [bias of the last axis]
// ----------------------------------------------------------------------------

void infer_biased(InferContext& c) {
  const Fact& x = c.in(0);
  require_float(x.dtype, "input");
  if (c.has(1) && x.ranked && x.rank() > 0) require_fact(c.in(1), {x.dims.back()}, "bias");
  c.out(0, x);
}

template <class F>
void eval_biased(EvalContext& c, F&& f) {
  const Tensor& x = c.in(0);
  require_float(x.dtype(), "input");
  std::vector<double> v = to_doubles(x);
  if (c.has(1)) {
    if (x.rank() == 0) reject("a scalar takes no bias");
    require_dims(c.in(1), {x.dims().back()}, "bias");
    const std::vector<double> b = to_doubles(c.in(1));
    for (size_t i = 0; i < v.size(); ++i) v[i] += b[i % b.size()];
  }
  for (double& e : v) e = f(e);
  c.out(0, make_from(c, x.dtype(), x.dims(), v));
}

void eval_gelu(EvalContext& c) {
  eval_biased(c, gelu_erf);
}
void eval_fast_gelu(EvalContext& c) {
  eval_biased(c, gelu_tanh);
}
void eval_quick_gelu(EvalContext& c) {
  const double alpha = c.attrs().real("alpha", 1.702f);
  eval_biased(c, [alpha](double x) { return x * sigmoid(alpha * x); });
}

// ---- SkipLayerNormalization: input, skip, gamma, [beta], [bias]; Simplified: input, skip, gamma, [bias]
// ----------------------

void infer_skip(InferContext& c) {
  const Fact& x = c.in(0);
  require_float(x.dtype, "input");
  if (x.ranked && x.rank() < 2) reject("input of rank " + std::to_string(x.rank()));
  if (x.ranked) {
    for (size_t i = 2; i < c.inputs(); ++i) {
      if (c.has(i)) require_fact(c.in(i), {x.dims.back()}, "gamma, beta and bias");
    }
  }
  SymDims stats = x.dims;
  if (!stats.empty()) stats.back() = 1;
  const Fact stat = x.ranked ? Fact(DType::f32, stats) : Fact::unranked(DType::f32);
  c.out(0, x);
  c.out(1, stat);
  c.out(2, stat);
  c.out(3, x);
}

void eval_skip_with(EvalContext& c, bool centered, size_t beta, size_t bias) {
  const Tensor &x = c.in(0), &skip = c.in(1), &gamma = c.in(2);
  require_float(x.dtype(), "input");
  if (x.rank() < 2) reject("input of rank " + std::to_string(x.rank()));
  const int64_t size = x.dims().back();
  require_dims(gamma, {size}, "gamma");
  if (centered && c.has(beta)) require_dims(c.in(beta), {size}, "beta");
  if (c.has(bias)) require_dims(c.in(bias), {size}, "bias");
  if (broadcast_dims(skip.dims(), x.dims()) != x.dims()) {
    reject("skip of " + to_string(skip.dims()) + " does not broadcast to " + to_string(x.dims()));
  }
  std::vector<double> v = to_doubles(x);
  const std::vector<double> s = to_doubles(skip);
  const std::vector<double> b = c.has(bias) ? to_doubles(c.in(bias)) : std::vector<double>();
  size_t i = 0;
  for (NdIndex<1> it(x.dims(), {broadcast_strides(skip.dims(), x.dims())}); !it.done(); it.next(), ++i) {
    v[i] += s[static_cast<size_t>(it[0])];
    if (!b.empty()) v[i] += b[i % b.size()];
  }
  if (c.wants(3)) c.out(3, make_from(c, x.dtype(), x.dims(), v));
  std::vector<double> mean, inverse;
  const double epsilon = c.attrs().real("epsilon", centered ? 1e-12f : 1e-6f);
  const int64_t rows = size > 0 ? x.size() / size : 0;
  for (int64_t r = 0; r < rows; ++r) {
    const RowMoments m = normalize_row(v.data() + r * size, size, epsilon, centered);
    mean.push_back(m.mean);
    inverse.push_back(m.inverse);
  }
  scale_shift(v, x.dims(), gamma, centered && c.has(beta) ? &c.in(beta) : nullptr);
  c.out(0, make_from(c, x.dtype(), x.dims(), v));
  Dims stats = x.dims();
  stats.back() = 1;
  mean.resize(static_cast<size_t>(element_count(stats)));
  inverse.resize(mean.size());
  if (c.wants(1)) c.out(1, make_from(c, DType::f32, stats, mean));
  if (c.wants(2)) c.out(2, make_from(c, DType::f32, stats, inverse));
}

void eval_skip(EvalContext& c) {
  eval_skip_with(c, true, 3, 4);
}
void eval_skip_simplified(EvalContext& c) {
  eval_skip_with(c, false, SIZE_MAX, 3);
}

// ---- EmbedLayerNormalization: ids, [segment ids], word, position, [segment], gamma, beta, [mask], [position
// ids] --------------

enum Embed : size_t { kIds, kSegmentIds, kWord, kPosition, kSegment, kGamma, kBeta, kMask, kPositionIds };

void infer_embed(InferContext& c) {
  const Fact &ids = c.in(kIds), &word = c.in(kWord);
  require_float(word.dtype, "word_embedding");
  const SymDims d = ids.ranked ? ids.dims : SymDims(2);
  if (d.size() != 2) reject("input_ids of rank " + std::to_string(d.size()));
  const Dim hidden = word.ranked && word.rank() == 2 ? word.dims[1] : Dim::unknown();
  const Fact y(word.dtype, {d[0], d[1], hidden});
  c.out(0, y);
  c.out(1, Fact(DType::i32, {d[0]}));
  c.out(2, y);
}

// v += rows of `table` picked by `ids`, one per token.
void add_rows(std::vector<double>& v, const Tensor& table, const Dims& ids, int64_t hidden,
              std::string_view what) {
  if (table.rank() != 2 || table.dim(1) != hidden)
    reject(std::string(what) + " has shape " + to_string(table.dims()));
  const std::vector<double> rows = to_doubles(table);
  for (size_t t = 0; t < ids.size(); ++t) {
    if (ids[t] < 0 || ids[t] >= table.dim(0)) {
      throw Error(Code::input, "index " + std::to_string(ids[t]) + " is outside " + std::string(what));
    }
    for (int64_t i = 0; i < hidden; ++i) {
      v[t * static_cast<size_t>(hidden) + static_cast<size_t>(i)] +=
          rows[static_cast<size_t>(ids[t] * hidden + i)];
    }
  }
}

void eval_embed(EvalContext& c) {
  const Tensor &ids = c.in(kIds), &word = c.in(kWord);
  require_float(word.dtype(), "word_embedding");
  if (ids.rank() != 2 || word.rank() != 2) reject("input_ids and word_embedding must be matrices");
  const int64_t batch = ids.dim(0), len = ids.dim(1), hidden = word.dim(1);
  if (c.has(kSegmentIds) != c.has(kSegment)) reject("segment_ids and segment_embedding go together");
  require_dims(c.in(kGamma), {hidden}, "gamma");
  require_dims(c.in(kBeta), {hidden}, "beta");
  const Dims dims{batch, len, hidden};
  c.make(word.dtype(), dims);
  std::vector<double> v(static_cast<size_t>(batch * len * hidden), 0.0);
  add_rows(v, word, c.ints(kIds), hidden, "word_embedding");
  Dims positions(static_cast<size_t>(batch * len));
  if (c.has(kPositionIds)) {
    const Tensor& p = c.in(kPositionIds);
    if (broadcast_dims(p.dims(), ids.dims()) != ids.dims() || p.rank() != 2)
      reject("position_ids have the wrong shape");
    const Dims given = c.ints(kPositionIds);
    for (size_t i = 0; i < positions.size(); ++i) positions[i] = given[i % given.size()];
  } else {
    for (size_t i = 0; i < positions.size(); ++i) positions[i] = static_cast<int64_t>(i) % len;
  }
  add_rows(v, c.in(kPosition), positions, hidden, "position_embedding");
  if (c.has(kSegment)) {
    require_dims(c.in(kSegmentIds), ids.dims(), "segment_ids");
    add_rows(v, c.in(kSegment), c.ints(kSegmentIds), hidden, "segment_embedding");
  }
  if (c.wants(2)) c.out(2, make_from(c, word.dtype(), dims, v));
  const double epsilon = c.attrs().real("epsilon", 1e-12f);
  for (int64_t r = 0; r < batch * len; ++r) normalize_row(v.data() + r * hidden, hidden, epsilon, true);
  scale_shift(v, dims, c.in(kGamma), &c.in(kBeta));
  c.out(0, make_from(c, word.dtype(), dims, v));
  if (!c.wants(1)) return;
  // How many tokens of each row the mask keeps.
  std::vector<double> kept(static_cast<size_t>(batch), 0.0);
  if (c.has(kMask)) {
    require_dims(c.in(kMask), ids.dims(), "mask");
    const Dims mask = c.ints(kMask);
    for (size_t i = 0; i < mask.size(); ++i) kept[i / static_cast<size_t>(len)] += mask[i] == 1 ? 1 : 0;
  }
  c.out(1, make_from(c, DType::i32, {batch}, kept));
}

// ---- MatMulNBits: A [.., K], B u8 [N, blocks, bytes], scales, [zero points], [g_idx], [bias]
// ----------------------------------

struct NBits {
  int64_t k, n, bits, block;
  int64_t blocks() const { return (k + block - 1) / block; }
};

NBits parse_nbits(const Attrs& a) {
  const NBits s{a.integer("K"), a.integer("N"), a.integer("bits", 4), a.integer("block_size")};
  if (s.k < 1 || s.n < 1 || s.k > (int64_t{1} << 31) || s.n > (int64_t{1} << 31))
    reject("attributes K and N");
  if (s.bits != 2 && s.bits != 4 && s.bits != 8) refuse("MatMulNBits with bits = " + std::to_string(s.bits));
  if (s.block < 16 || s.block > (1 << 20) || (s.block & (s.block - 1)) != 0) {
    reject("attribute block_size is " + std::to_string(s.block) + ", expected a power of two of at least 16");
  }
  return s;
}

void infer_nbits(InferContext& c) {
  const Fact& a = c.in(0);
  require_float(a.dtype, "A");
  const NBits s = parse_nbits(c.attrs());
  require_fact(c.in(1), {s.n, s.blocks(), s.block * s.bits / 8}, "B");
  if (!a.ranked) return c.out(0, a);
  if (a.rank() < 1) reject("A is a scalar");
  agree(a.dims.back(), s.k, "last axis of A");
  SymDims d = a.dims;
  d.back() = s.n;
  c.out(0, Fact(a.dtype, d));
}

int64_t packed(const uint8_t* bytes, int64_t index, int64_t bits) {
  const int64_t bit = index * bits;
  return (bytes[bit / 8] >> (bit % 8)) & ((1 << bits) - 1);
}

// The zero point of every block of every column, in units of the quantized values.
std::vector<double> zero_points(EvalContext& c, const NBits& s) {
  const int64_t count = s.n * s.blocks();
  if (!c.has(3))
    return std::vector<double>(static_cast<size_t>(count), static_cast<double>(1 << (s.bits - 1)));
  const Tensor& z = c.in(3);
  if (z.dtype() != DType::u8) {
    if (z.size() != count) reject("zero_points have " + std::to_string(z.size()) + " entries");
    return to_doubles(z);
  }
  const int64_t row = (s.blocks() * s.bits + 7) / 8;
  if (z.size() != s.n * row) reject("zero_points have " + std::to_string(z.size()) + " bytes");
  std::vector<double> out;
  for (int64_t n = 0; n < s.n; ++n) {
    for (int64_t b = 0; b < s.blocks(); ++b) {
      out.push_back(static_cast<double>(packed(z.data<uint8_t>() + n * row, b, s.bits)));
    }
  }
  return out;
}

void eval_nbits(EvalContext& c) {
  const Tensor &a = c.in(0), &b = c.in(1), &scales = c.in(2);
  require_float(a.dtype(), "A");
  const NBits s = parse_nbits(c.attrs());
  const int64_t blob = s.block * s.bits / 8, blocks = s.blocks();
  if (a.rank() < 1 || a.dims().back() != s.k) reject("A has shape " + to_string(a.dims()));
  require_dims(b, {s.n, blocks, blob}, "B");
  if (b.dtype() != DType::u8) reject("B must be u8");
  if (scales.size() != s.n * blocks) reject("scales have " + std::to_string(scales.size()) + " entries");
  Dims group(static_cast<size_t>(s.k));  // the block of scales that each k belongs to
  for (int64_t k = 0; k < s.k; ++k) group[static_cast<size_t>(k)] = k / s.block;
  if (c.has(4)) {
    group = c.ints(4);
    if (static_cast<int64_t>(group.size()) < s.k) reject("g_idx is too short");
    for (int64_t g : group) {
      if (g < 0 || g >= blocks) throw Error(Code::input, "g_idx has " + std::to_string(g));
    }
  }
  if (c.has(5)) require_dims(c.in(5), {s.n}, "bias");
  Dims dims = a.dims();
  dims.back() = s.n;
  Tensor y = c.make(a.dtype(), dims);
  const std::vector<double> av = to_doubles(a), sv = to_doubles(scales), zv = zero_points(c, s);
  const std::vector<double> bias =
      c.has(5) ? to_doubles(c.in(5)) : std::vector<double>(static_cast<size_t>(s.n), 0.0);
  const int64_t rows = a.size() / s.k;
  std::vector<double> out(static_cast<size_t>(y.size())), column(static_cast<size_t>(s.k));
  for (int64_t n = 0; n < s.n; ++n) {
    poll(c.limits);
    for (int64_t k = 0; k < s.k; ++k) {
      const auto g = static_cast<size_t>(n * blocks + group[static_cast<size_t>(k)]);
      const auto q = static_cast<double>(packed(b.data<uint8_t>() + n * blocks * blob, k, s.bits));
      column[static_cast<size_t>(k)] = (q - zv[g]) * sv[g];
    }
    for (int64_t r = 0; r < rows; ++r) {
      double sum = bias[static_cast<size_t>(n)];
      for (int64_t k = 0; k < s.k; ++k)
        sum += av[static_cast<size_t>(r * s.k + k)] * column[static_cast<size_t>(k)];
      out[static_cast<size_t>(r * s.n + n)] = sum;
    }
  }
  from_doubles(out, y);
  c.out(0, y);
}

Work work_nbits(const Node& node, std::span<const Fact>, std::span<const Fact> out) {
  return {.flops = 2 * out[0].elements() * node.attrs.integer("K")};
}
template <int kPerElement>
Work work_each(const Node&, std::span<const Fact>, std::span<const Fact> out) {
  return {.flops = kPerElement * out[0].elements()};
}

constexpr std::string_view kDomain = "com.microsoft";
constexpr OpDef kOps[] = {
    {.name = "Gelu",
     .domain = kDomain,
     .min_inputs = 1,
     .max_inputs = 1,
     .infer = infer_biased,
     .eval = eval_gelu,
     .work = work_each<14>,
     .flags = kOpElementwise},
    {.name = "BiasGelu",
     .domain = kDomain,
     .min_inputs = 2,
     .max_inputs = 2,
     .infer = infer_biased,
     .eval = eval_gelu,
     .work = work_each<15>,
     .flags = kOpElementwise},
    {.name = "FastGelu",
     .domain = kDomain,
     .min_inputs = 1,
     .max_inputs = 2,
     .infer = infer_biased,
     .eval = eval_fast_gelu,
     .work = work_each<16>,
     .flags = kOpElementwise},
    {.name = "QuickGelu",
     .domain = kDomain,
     .min_inputs = 1,
     .max_inputs = 1,
     .infer = infer_biased,
     .eval = eval_quick_gelu,
     .work = work_each<10>,
     .flags = kOpElementwise},
    {.name = "SkipLayerNormalization",
     .domain = kDomain,
     .min_inputs = 3,
     .max_inputs = 5,
     .max_outputs = 4,
     .infer = infer_skip,
     .eval = eval_skip,
     .work = work_each<9>},
    {.name = "SkipSimplifiedLayerNormalization",
     .domain = kDomain,
     .min_inputs = 3,
     .max_inputs = 4,
     .max_outputs = 4,
     .infer = infer_skip,
     .eval = eval_skip_simplified,
     .work = work_each<6>},
    {.name = "EmbedLayerNormalization",
     .domain = kDomain,
     .min_inputs = 7,
     .max_inputs = 9,
     .max_outputs = 3,
     .infer = infer_embed,
     .eval = eval_embed,
     .work = work_each<9>},
    {.name = "MatMulNBits",
     .domain = kDomain,
     .min_inputs = 3,
     .max_inputs = 6,
     .infer = infer_nbits,
     .eval = eval_nbits,
     .work = work_nbits},
};

}  // namespace

std::span<const OpDef> microsoft_ops() {
  return kOps;
}

}  // namespace skyline::ops
