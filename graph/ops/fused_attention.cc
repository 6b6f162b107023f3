#include "graph/ops/fused_attention.h"

#include <algorithm>
#include <cmath>

#include "graph/ops/attention_core.h"
#include "graph/ops/move.h"
#include "graph/ops/numeric.h"

namespace skyline::ops {
namespace {

constexpr std::pair<AttentionMask, std::string_view> kMasks[] = {{AttentionMask::none, "none"},
                                                                 {AttentionMask::add, "add"},
                                                                 {AttentionMask::keep, "keep"},
                                                                 {AttentionMask::drop, "drop"}};
constexpr size_t kMaxLead = 8;

AttentionView view_of(const Attrs& attrs, const std::string& name, size_t lead) {
  const Dims& d = attrs.integers(name);
  if (d.size() != lead + 3) reject("attribute " + name + " has " + std::to_string(d.size()) + " numbers");
  for (int64_t x : d) {
    if (x < 0) reject("attribute " + name + " has a negative number");
  }
  return {d[0], Dims(d.begin() + 1, d.end())};
}

Dims numbers_of(const AttentionView& view) {
  Dims d{view.offset};
  d.insert(d.end(), view.strides.begin(), view.strides.end());
  return d;
}

// The view writes each element of its tensor exactly once: sorted by stride, its dims are a row-major order.
void require_filling(const FusedAttention& f) {
  Dims dims = f.lead;
  dims.push_back(f.q_len);
  dims.push_back(f.v_size);
  std::vector<std::pair<int64_t, int64_t>> order;
  for (size_t i = 0; i < dims.size(); ++i) {
    if (dims[i] != 1) order.emplace_back(f.y.strides[i], dims[i]);
  }
  std::sort(order.begin(), order.end());
  int64_t next = 1;
  for (const auto& [stride, n] : order) {
    if (stride != next) reject("the view of Y does not fill its tensor");
    next *= n;
  }
  if (f.y.offset != 0 || next != element_count(f.out_dims)) reject("the view of Y does not fill its tensor");
}

void require_reach(const Fact& fact, const AttentionView& view, const FusedAttention& f, int64_t rows,
                   int64_t columns, std::string_view what) {
  const int64_t have = fact.elements();
  if (have >= 0 && reach(view, f.lead, rows, columns) > have) {
    reject("the view of " + std::string(what) + " reaches past its tensor");
  }
}

int64_t matrix_offset(const AttentionView& view, const Dims& index) {
  int64_t at = view.offset;
  for (size_t i = 0; i < index.size(); ++i) at += index[i] * view.strides[i];
  return at;
}

struct Matrix {  // of one lead index
  const std::vector<double>* data;
  int64_t offset, row, column;
  Matrix(const std::vector<double>& v, const AttentionView& view, const Dims& index)
      : data(&v),
        offset(matrix_offset(view, index)),
        row(view.strides[index.size()]),
        column(view.strides[index.size() + 1]) {}
  double operator()(int64_t i, int64_t j) const {
    return (*data)[static_cast<size_t>(offset + i * row + j * column)];
  }
};

void softmax(std::vector<double>& row) {
  double top = -INFINITY, sum = 0;
  for (double x : row) top = x > top || std::isnan(x) ? x : top;
  for (double& x : row) sum += x = std::exp(x - top);
  for (double& x : row) x /= sum;
}

}  // namespace

FusedAttention parse_fused_attention(const Attrs& attrs) {
  FusedAttention f;
  f.lead = attrs.integers("lead");
  const Dims& sizes = attrs.integers("sizes");
  if (sizes.size() != 4) reject("attribute sizes has " + std::to_string(sizes.size()) + " numbers");
  f.q_len = sizes[0];
  f.kv_len = sizes[1];
  f.size = sizes[2];
  f.v_size = sizes[3];
  if (f.lead.size() > kMaxLead) reject("attribute lead has " + std::to_string(f.lead.size()) + " dims");
  Dims all = f.lead;
  all.insert(all.end(), sizes.begin(), sizes.end());
  for (int64_t d : all) {
    if (d < 1 || d > (int64_t{1} << 40)) reject("a size is " + std::to_string(d));
  }
  f.out_dims = attrs.integers("out_dims");
  f.q = view_of(attrs, "q_view", f.lead.size());
  f.k = view_of(attrs, "k_view", f.lead.size());
  f.v = view_of(attrs, "v_view", f.lead.size());
  f.y = view_of(attrs, "y_view", f.lead.size());
  f.scale = attrs.real("scale", 1);
  const std::string mode = attrs.text("mask_mode", "none");
  const auto known =
      std::find_if(std::begin(kMasks), std::end(kMasks), [&](auto& m) { return m.second == mode; });
  if (known == std::end(kMasks)) reject("attribute mask_mode is '" + mode + "'");
  f.mask_mode = known->first;
  if (f.mask_mode != AttentionMask::none) f.mask = view_of(attrs, "mask_view", f.lead.size());
  f.masked_value = attrs.real("masked_value", 0);
  f.new_keys = attrs.integer("new_keys", -1);
  if (f.new_keys > f.kv_len) reject("attribute new_keys is above the number of keys");
  f.precision = precision_from_name(attrs.text("precision", "f32"));
  f.stores_bf16 = attrs.text("store", "") == name(DType::bf16);
  if (f.stores_bf16 && f.precision == Precision::f32) reject("attribute store without a precision");
  require_filling(f);
  return f;
}

Attrs to_attrs(const FusedAttention& f) {
  Attrs a{{"lead", f.lead},
          {"sizes", Dims{f.q_len, f.kv_len, f.size, f.v_size}},
          {"q_view", numbers_of(f.q)},
          {"k_view", numbers_of(f.k)},
          {"v_view", numbers_of(f.v)},
          {"y_view", numbers_of(f.y)},
          {"out_dims", f.out_dims},
          {"scale", f.scale}};
  if (f.new_keys >= 0) a.set("new_keys", f.new_keys);
  if (f.precision != Precision::f32) a.set("precision", std::string(name(f.precision)));
  if (f.stores_bf16) a.set("store", std::string(name(DType::bf16)));
  if (f.mask_mode != AttentionMask::none) {
    for (const auto& [mode, name] : kMasks) {
      if (mode == f.mask_mode) a.set("mask_mode", std::string(name));
    }
    a.set("mask_view", numbers_of(f.mask));
    if (f.mask_mode != AttentionMask::add) a.set("masked_value", f.masked_value);
  }
  return a;
}

int64_t reach(const AttentionView& view, const Dims& lead, int64_t rows, int64_t columns) {
  Dims dims = lead;
  dims.push_back(rows);
  dims.push_back(columns);
  int64_t last = view.offset;
  bool fits = true;
  for (size_t i = 0; i < dims.size(); ++i) {
    int64_t step = 0;
    fits = fits && !__builtin_mul_overflow(dims[i] - 1, view.strides[i], &step) &&
           !__builtin_add_overflow(last, step, &last);
  }
  if (!fits || __builtin_add_overflow(last, int64_t{1}, &last)) throw Error(Code::limit, "a view overflows");
  return last;
}

DType attention_result(const FusedAttention& f, DType q) {
  if (f.stores_bf16) return DType::bf16;
  return f.precision == Precision::f32 ? q : DType::f32;
}

void infer_fused_attention(InferContext& c) {
  const FusedAttention f = parse_fused_attention(c.attrs());
  require_float(c.in(0).dtype, "Q");
  require_reach(c.in(0), f.q, f, f.q_len, f.size, "Q");
  require_reach(c.in(1), f.k, f, f.kv_len, f.size, "K");
  require_reach(c.in(2), f.v, f, f.kv_len, f.v_size, "V");
  if (c.has(3) != (f.mask_mode != AttentionMask::none)) reject("attribute mask_mode does not fit the inputs");
  if (c.has(3)) require_reach(c.in(3), f.mask, f, f.q_len, f.kv_len, "the mask");
  if (c.has(4) != (f.new_keys >= 0)) reject("attribute new_keys does not fit the inputs");
  c.out(0, Fact::fixed(attention_result(f, c.in(0).dtype), f.out_dims));
}

void eval_fused_attention(EvalContext& c) {
  const FusedAttention f = parse_fused_attention(c.attrs());
  require_float(c.in(0).dtype(), "Q");
  require_reach(Fact::of(c.in(0)), f.q, f, f.q_len, f.size, "Q");
  require_reach(Fact::of(c.in(1)), f.k, f, f.kv_len, f.size, "K");
  require_reach(Fact::of(c.in(2)), f.v, f, f.kv_len, f.v_size, "V");
  if (c.has(3) != (f.mask_mode != AttentionMask::none)) reject("attribute mask_mode does not fit the inputs");
  if (c.has(3)) require_reach(Fact::of(c.in(3)), f.mask, f, f.q_len, f.kv_len, "the mask");
  if (c.has(4) != (f.new_keys >= 0)) reject("attribute new_keys does not fit the inputs");
  const int64_t keys = c.has(4) ? one_int(c.in(4), "length") + f.new_keys : f.kv_len;
  if (keys < f.new_keys || keys > f.kv_len) reject("the length is outside of the keys");
  const std::vector<double> q = to_doubles(c.in(0)), k = to_doubles(c.in(1)), v = to_doubles(c.in(2));
  const std::vector<double> mask = c.has(3) ? to_doubles(c.in(3)) : std::vector<double>(1, 0.0);
  Tensor out = c.make(attention_result(f, c.in(0).dtype()), f.out_dims);
  std::vector<double> y(static_cast<size_t>(out.size())), row(static_cast<size_t>(keys));
  const AttentionView none{0, Dims(f.lead.size() + 2, 0)};
  const Dims zeros(f.lead.size(), 0);
  for (NdIndex<1> it(f.lead, {zeros}); !it.done(); it.next()) {
    const Matrix qm(q, f.q, it.index()), km(k, f.k, it.index()), vm(v, f.v, it.index());
    const Matrix mm(mask, c.has(3) ? f.mask : none, it.index());
    const int64_t at = matrix_offset(f.y, it.index());
    const int64_t y_row = f.y.strides[f.lead.size()], y_column = f.y.strides[f.lead.size() + 1];
    for (int64_t i = 0; i < f.q_len; ++i) {
      poll(c.limits);
      for (int64_t j = 0; j < keys; ++j) {
        double s = 0;
        for (int64_t e = 0; e < f.size; ++e) s += qm(i, e) * km(j, e);
        s *= f.scale;
        if (f.mask_mode == AttentionMask::add) s += mm(i, j);
        const bool dropped = (f.mask_mode == AttentionMask::keep && mm(i, j) == 0) ||
                             (f.mask_mode == AttentionMask::drop && mm(i, j) != 0);
        row[static_cast<size_t>(j)] = dropped ? f.masked_value : s;
      }
      softmax(row);
      for (int64_t e = 0; e < f.v_size; ++e) {
        double sum = 0;
        for (int64_t j = 0; j < keys; ++j) sum += row[static_cast<size_t>(j)] * vm(j, e);
        y[static_cast<size_t>(at + i * y_row + e * y_column)] = sum;
      }
    }
  }
  from_doubles(y, out);
  c.out(0, out);
}

Work work_fused_attention(const Node& node, std::span<const Fact>, std::span<const Fact>) {
  const FusedAttention f = parse_fused_attention(node.attrs);
  return {.flops = attention_flops(1, element_count(f.lead), f.q_len, f.kv_len, f.size, f.v_size)};
}

}  // namespace skyline::ops
