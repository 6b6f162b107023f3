// Pooling, channels first and channels last (attribute layout).
#include "kernels/pool/pool.h"

#include "engine/lower/families.h"
#include "engine/lower/reduction.h"
#include "graph/ops/window.h"

namespace skyline::lower {
namespace {

using namespace kernels;

bool channels_last(const Lowering& l) {
  return l.attrs().text("layout", "NCHW") == "NHWC";
}

// Batch, channels and spatial sizes of x in either layout.
struct Spatial {
  int64_t batch, channels;
  Dims sizes;
};
Spatial spatial_of(const Dims& x, bool last) {
  Spatial s{x[0], last ? x.back() : x[1], {}};
  s.sizes.assign(x.begin() + (last ? 1 : 2), last ? x.end() - 1 : x.end());
  return s;
}

std::optional<PoolShape> pool_shape(Lowering& l) {
  const Dims x = l.in_dims(0);
  const bool last = channels_last(l);
  if (x.size() < 3 || x.size() > 5 || element_count(l.out_dims()) == 0) return std::nullopt;
  const Spatial in = spatial_of(x, last), out = spatial_of(l.out_dims(), last);
  ops::Window w = ops::parse_window(l.attrs(), l.attrs().integers("kernel_shape"));
  if (w.kernel.size() != in.sizes.size()) return std::nullopt;
  (void)w.fit(in.sizes);
  PoolShape s;
  s.batch = in.batch;
  s.channels = in.channels;
  s.channels_last = last;
  s.ldx = l.in_ld(0);
  s.ldy = l.out_ld();
  s.count_include_pad = l.attrs().integer("count_include_pad", 0) != 0;
  const size_t lead = 3 - in.sizes.size();
  for (size_t i = 0; i < in.sizes.size(); ++i) {
    s.in[lead + i] = in.sizes[i];
    s.out[lead + i] = out.sizes[i];
    s.kernel[lead + i] = w.kernel[i];
    s.stride[lead + i] = w.strides[i];
    s.dilation[lead + i] = w.dilations[i];
    s.pad_begin[lead + i] = w.begin[i];
    s.pad_end[lead + i] = w.end[i];
  }
  return s;
}

std::optional<Lowered> lower_max_pool(Lowering& l) {
  const auto s = pool_shape(l);
  if (!s) return std::nullopt;
  const PoolTable& t = pool_kernels(l.isa);
  if (l.node.out(1) != kNoValue) {
    if (l.in_type(0) != DType::f32 || s->channels_last) return std::nullopt;
    const bool column_major = l.attrs().integer("storage_order", 0) != 0;
    return Lowered{.code = step_code([s = *s, column_major](const StepArgs& a) {
                     max_pool_indices_f32(s, a.input<float>(0), a.output<float>(0), a.output<int64_t>(1),
                                          column_major, a.threads);
                   }),
                   .kernel = "max_pool_indices_f32"};
  }
  const size_t scratch = pool_scratch_bytes(*s, l.threads);
  const auto make = [&]<class T>(void (*fn)(const PoolShape&, const T*, T*, void*, int) noexcept,
                                 const char* name) {
    return Lowered{.code = step_code([s = *s, fn](const StepArgs& a) {
                     fn(s, a.input<T>(0), a.output<T>(0), a.workspace, a.threads);
                   }),
                   .kernel = name,
                   .workspace = scratch};
  };
  if (l.in_type(0) == DType::bf16 && s->channels_last) {
    return Lowered{.code = step_code([s = *s, &t](const StepArgs& a) {
                     t.max_bf16(s, a.input<uint16_t>(0), a.output<uint16_t>(0), a.threads);
                   }),
                   .kernel = "max_pool_bf16"};
  }
  if (l.in_type(0) == DType::f32) return make.operator()<float>(t.max_f32, "max_pool_f32");
  if (l.in_type(0) == DType::u8) return make.operator()<uint8_t>(t.max_u8, "max_pool_u8");
  if (l.in_type(0) == DType::i8) return make.operator()<int8_t>(t.max_i8, "max_pool_i8");
  return std::nullopt;
}

std::optional<Lowered> lower_average_pool(Lowering& l) {
  if (l.in_type(0) != DType::f32) return std::nullopt;
  const auto s = pool_shape(l);
  if (!s) return std::nullopt;
  const PoolTable& t = pool_kernels(l.isa);
  return Lowered{.code = step_code([s = *s, &t](const StepArgs& a) {
                   t.average_f32(s, a.input<float>(0), a.output<float>(0), a.workspace, a.threads);
                 }),
                 .kernel = "average_pool_f32",
                 .workspace = pool_scratch_bytes(*s, l.threads)};
}

template <ReduceOp kOp>
std::optional<Lowered> lower_global(Lowering& l) {
  const Dims x = l.in_dims(0);
  if (l.in_type(0) != DType::f32 || x.size() < 3 || element_count(x) == 0) return std::nullopt;
  std::vector<uint8_t> reduced(x.size(), 1);
  reduced[0] = reduced[channels_last(l) ? x.size() - 1 : 1] = 0;
  ReducePlan plan;
  if (!make_reduce_plan(x, reduced, &plan)) return std::nullopt;
  return reduction_f32(l, kOp, plan);
}

bool pixels_in_place(const Graph& g, const Node& n, Side, size_t index) {
  return n.attrs.text("layout", "NCHW") == "NHWC" && index == 0 && n.out(1) == kNoValue &&
         g.fact(n.in(0)).dtype == DType::f32 && g.fact(n.in(0)).rank() <= 5;
}

constexpr LowerRow kRows[] = {
    {"MaxPool", "", lower_max_pool},
    {"MaxPool", "skyline", lower_max_pool, pixels_in_place},
    {"AveragePool", "", lower_average_pool},
    {"AveragePool", "skyline", lower_average_pool, pixels_in_place},
    {"GlobalAveragePool", "", lower_global<ReduceOp::mean>},
    {"GlobalAveragePool", "skyline", lower_global<ReduceOp::mean>},
    {"GlobalMaxPool", "", lower_global<ReduceOp::max>},
    {"GlobalMaxPool", "skyline", lower_global<ReduceOp::max>},
};

}  // namespace

std::span<const LowerRow> pool_rows() {
  return kRows;
}

}  // namespace skyline::lower
