// Conv over pixels gathered into channels (SpaceToDepth, or a Concat of strided Slices as in YOLO's Focus) =>
// Conv with a larger kernel and stride over the image itself. The products are the same.
#include <algorithm>

#include "graph/passes/match.h"
#include "graph/passes/passes.h"

namespace skyline::passes {
namespace {

// More channels read channels-last, where the gathered pixels are contiguous already.
constexpr int64_t kMostChannels = 4;
constexpr int64_t kMostBlock = 8;

// x[:, :, row::step, column::step].
struct Part {
  ValueId x = kNoValue;
  int64_t row = 0, column = 0, row_step = 1, column_step = 1;
};

// A Slice along the two last axes of four, from a start within the step to the end.
bool add_slice(const Graph& g, const Node& n, Part* part) {
  const Fact &x = g.fact(n.in(0)), &y = g.fact(n.out(0));
  const auto starts = integers(g, n.in(1));
  const auto axes = n.in(3) == kNoValue ? std::optional(Dims{0, 1, 2, 3}) : integers(g, n.in(3));
  if (!starts || !axes || starts->size() > axes->size()) return false;
  const auto steps = n.in(4) == kNoValue ? std::optional(Dims(starts->size(), 1)) : integers(g, n.in(4));
  if (!steps || steps->size() != starts->size()) return false;
  for (size_t i = 0; i < starts->size(); ++i) {
    const auto axis = static_cast<size_t>((*axes)[i] < 0 ? (*axes)[i] + 4 : (*axes)[i]);
    const int64_t start = (*starts)[i], step = (*steps)[i];
    if (axis >= 4 || start < 0 || step < 1 || step > kMostBlock || start >= step) return false;
    const int64_t size = x.dims[axis].value();
    if (y.dims[axis].value() != (size - start + step - 1) / step) return false;
    if (start == 0 && step == 1) continue;
    if (axis < 2) return false;
    int64_t& first = axis == 2 ? part->row : part->column;
    int64_t& each = axis == 2 ? part->row_step : part->column_step;
    first = start + first * step;
    each *= step;
  }
  return true;
}

std::optional<Part> part_of(const Graph& g, ValueId v) {
  Part part{v};
  while (const Node* n = maker(g, part.x, "Slice")) {
    if (!static_dims(g, n->in(0)) || !static_dims(g, n->out(0)) || rank_of(g, n->in(0)) != 4 ||
        !add_slice(g, *n, &part))
      break;
    part.x = n->in(0);
  }
  return part.x == v ? std::nullopt : std::optional(part);
}

// Where channel block i of a gathered image comes from: block * block of them.
struct Gathered {
  ValueId x;
  int64_t block;
  std::vector<std::pair<int64_t, int64_t>> offset;  // row and column
};

std::optional<Gathered> gathered(const Graph& g, ValueId v) {
  if (const Node* n = maker(g, v, "SpaceToDepth")) {
    Gathered s{n->in(0), n->attrs.integer("blocksize", 1), {}};
    for (int64_t i = 0; i < s.block * s.block; ++i) s.offset.emplace_back(i / s.block, i % s.block);
    return s;
  }
  const Node* concat = maker(g, v, "Concat");
  if (!concat || concat->attrs.integer("axis", 0) != 1) return std::nullopt;
  Gathered s{kNoValue, 0, {}};
  for (ValueId in : concat->inputs) {
    const auto part = part_of(g, in);
    if (!part || part->row_step != part->column_step) return std::nullopt;
    if (s.offset.empty()) s = {part->x, part->row_step, {}};
    if (part->x != s.x || part->row_step != s.block) return std::nullopt;
    s.offset.emplace_back(part->row, part->column);
  }
  return s;
}

// Every pixel of a block once, of an image that is whole blocks.
bool is_whole(const Graph& g, const Gathered& s) {
  const auto x = static_dims(g, s.x);
  if (!x || x->size() != 4 || s.block < 2 || s.block > kMostBlock || (*x)[1] > kMostChannels) return false;
  if ((*x)[2] % s.block || (*x)[3] % s.block) return false;
  auto all = s.offset;
  std::sort(all.begin(), all.end());
  return static_cast<int64_t>(all.size()) == s.block * s.block &&
         std::adjacent_find(all.begin(), all.end()) == all.end();
}

Tensor spread_weights(const Tensor& w, const Gathered& s, int64_t channels) {
  const Dims& d = w.dims();
  const int64_t kh = d[2] * s.block, kw = d[3] * s.block;
  Tensor out(DType::f32, {d[0], channels, kh, kw});
  const auto from = w.span<float>();
  const auto to = out.mutable_span<float>();
  size_t at = 0;
  for (int64_t o = 0; o < d[0]; ++o) {
    for (const auto& [row, column] : s.offset) {
      for (int64_t c = 0; c < channels; ++c) {
        for (int64_t y = 0; y < d[2]; ++y) {
          for (int64_t x = 0; x < d[3]; ++x) {
            const int64_t pixel = (y * s.block + row) * kw + x * s.block + column;
            to[static_cast<size_t>((o * channels + c) * kh * kw + pixel)] = from[at++];
          }
        }
      }
    }
  }
  return out;
}

std::optional<Patch> run(const Graph& g, NodeId id) {
  const Node& n = g.node(id);
  if (!(n.is("Conv") || n.is("FusedConv")) || n.attrs.has("layout") || rank_of(g, n.in(0)) != 4 ||
      g.fact(n.in(0)).dtype != DType::f32 || !used_once(g, n.in(0)))
    return std::nullopt;
  const Tensor* w = g.constant(n.in(1));
  if (!w || n.attrs.integer("group", 1) != 1 || n.attrs.text("auto_pad", "NOTSET") != "NOTSET" ||
      n.attrs.integers("dilations", {1, 1}) != Dims{1, 1})
    return std::nullopt;
  const auto s = gathered(g, n.in(0));
  if (!s || !is_whole(g, *s)) return std::nullopt;
  Attrs attrs = n.attrs;
  const auto times = [&](const char* name, const Dims& given) {
    Dims v = n.attrs.integers(name, given);
    for (int64_t& each : v) each *= s->block;
    attrs.set(name, v);
  };
  times("strides", {1, 1});
  times("pads", {0, 0, 0, 0});
  attrs.set("kernel_shape", Dims{w->dims()[2] * s->block, w->dims()[3] * s->block});
  Patch patch(g);
  std::vector<ValueId> in = n.inputs;
  in[0] = s->x;
  in[1] = patch.constant(spread_weights(*w, *s, dim_of(g, s->x, 1)), n.name + ".spread");
  patch.replace(n.out(0), patch.add(*n.op, in, attrs, n.name));
  return patch;
}

}  // namespace

constinit const Pass kFoldSpaceToDepth{"fold-space-to-depth", Stage::portable, run};

}  // namespace skyline::passes
