#include "graph/passes/layout.h"

#include <algorithm>

#include "graph/passes/passes.h"
#include "graph/passes/permuted.h"

namespace skyline::passes {
namespace {

using Kind = LayoutForm::Kind;
constexpr std::string_view kMark = "assigned_layout";

// ---- convolutions ----

struct ConvForm {
  const OpDef* op;  // channels-last
  size_t weights;
  std::optional<size_t> residual;
};
std::optional<ConvForm> conv_form(const Graph& g, const Node& n) {
  std::optional<ConvForm> form;
  if (n.is("Conv") || n.is("FusedConv")) form = {&op("FusedConv", "skyline"), 1, 3};
  if (n.is("ConvTranspose") || n.is("FusedConvTranspose"))
    form = {&op("FusedConvTranspose", "skyline"), 1, 3};
  if (n.is("QLinearConv")) form = {&op("QLinearConv", "skyline"), 3, std::nullopt};
  if (!form || n.attrs.has("layout") || !g.constant(n.in(form->weights))) return std::nullopt;
  const int rank = rank_of(g, n.in(0));
  if (rank < 3 || rank > 5 || (!is_float(g, n.in(0)) && !n.is("QLinearConv"))) return std::nullopt;
  return form;
}

// With more channels a line of pixels serves the kernels better than planes (window.isa.cc).
constexpr int64_t kMostPlanes = 4;

bool reads_planes(const Graph& g, const Node& n) {
  const int64_t channels = dim_of(g, n.in(0), 1);
  return (n.is("Conv") || n.is("FusedConv")) && n.attrs.integer("group", 1) == 1 && channels >= 1 &&
         channels <= kMostPlanes && g.fact(n.in(0)).dtype == DType::f32;
}

Patch conv_channels_last(const Graph& g, const Node& n, const ConvForm& form, bool planes) {
  const int rank = rank_of(g, n.in(0));
  const Dims last = to_channels_last(rank);
  Patch patch(g);
  std::vector<ValueId> in = n.inputs;
  const auto move = [&](size_t k) {
    const Node* t = maker(g, in[k], "Transpose");
    in[k] = t && perm_of(g, *t) == to_channels_first(rank)
                ? t->in(0)
                : add_transpose(patch, in[k], g.fact(in[k]), last, n.name + ".to_nhwc");
  };
  Attrs attrs = n.attrs;
  attrs.set("layout", std::string("NHWC"));
  if (planes) {
    attrs.set("input_layout", std::string("NCHW"));
  } else {
    move(0);
  }
  if (form.residual && n.in(*form.residual) != kNoValue) move(*form.residual);
  const ValueId y = patch.add(*form.op, in, attrs, n.name);
  Fact moved = g.fact(n.out(0));
  for (size_t i = 0; i < last.size(); ++i)
    moved.dims[i] = g.fact(n.out(0)).dims[static_cast<size_t>(last[i])];
  patch.replace(n.out(0), add_transpose(patch, y, moved, to_channels_first(rank), n.name + ".to_nchw"));
  return patch;
}

// ---- forms ----

bool all_static(const Graph& g, const Node& n) {
  const auto known = [&](ValueId v) { return v == kNoValue || g.fact(v).is_static(); };
  return std::all_of(n.inputs.begin(), n.inputs.end(), known) &&
         std::all_of(n.outputs.begin(), n.outputs.end(), known);
}

std::optional<AxisMove> channels_first_move(const Graph& g, const Node& n) {
  int rank = -1;
  for (ValueId v : moved_operands(g, n)) rank = std::max(rank, rank_of(g, v));
  if (rank < 3 || rank > 5) return std::nullopt;
  return AxisMove{to_channels_first(rank), n.name + ".to_nchw", true};
}

// A result of fewer axes may come out in an order that is neither of the two.
bool keeps_rank(const Graph& g, const Node& n, const AxisMove& m) {
  return std::all_of(n.outputs.begin(), n.outputs.end(), [&](ValueId v) {
    return rank_of(g, v) == static_cast<int>(m.perm.size()) || !has_layout(g, v);
  });
}

void add_operand(const Graph& g, std::vector<LayoutForm::Operand>& to, ValueId v, Layout layout) {
  if (v == kNoValue || !has_layout(g, v)) return;
  if (std::none_of(to.begin(), to.end(), [&](const auto& o) { return o.value == v; }))
    to.push_back({v, layout});
}

// A form whose reads and writes all lie in `layout`; operands of another rank than `rank` stay as they are.
LayoutForm uniform_form(const Graph& g, Kind kind, std::span<const ValueId> reads,
                        std::span<const ValueId> writes, Layout layout, int rank) {
  LayoutForm form{kind, {}, {}};
  const auto of = [&](ValueId v) { return v != kNoValue && rank_of(g, v) == rank ? layout : Layout::first; };
  for (ValueId v : reads) add_operand(g, form.reads, v, of(v));
  for (ValueId v : writes) add_operand(g, form.writes, v, of(v));
  return form;
}

void add_move_forms(const Graph& g, const Node& n, std::vector<LayoutForm>& forms) {
  const bool in = has_layout(g, n.in(0)), out = has_layout(g, n.out(0));
  for (const Layout from : {Layout::first, Layout::last}) {
    for (const Layout to : {Layout::first, Layout::last}) {
      if ((from == Layout::last && !in) || (to == Layout::last && !out)) continue;
      if (from == Layout::first && to == Layout::first) continue;
      LayoutForm form{Kind::move, {}, {}};
      add_operand(g, form.reads, n.in(0), from);
      add_operand(g, form.writes, n.out(0), to);
      forms.push_back(std::move(form));
    }
  }
}

}  // namespace

bool has_layout(const Graph& g, ValueId v) {
  if (v == kNoValue || g.constant(v)) return false;
  const Fact& f = g.fact(v);
  return f.kind == Fact::Kind::tensor && f.is_static() && f.rank() >= 3 && f.rank() <= 5 &&
         !keeps_order(f, to_channels_last(f.rank()));
}

LayoutChoice layout_choice(const Graph& g, NodeId id) {
  const Node& n = g.node(id);
  LayoutChoice choice{id, {}, {}};
  std::vector<ValueId> reads = n.inputs;
  const auto shuffle = channel_shuffle(g, n);
  if (shuffle) reads = {shuffle->split->in(0)};
  choice.forms.push_back(uniform_form(g, Kind::plain, reads, n.outputs, Layout::first, 0));
  if (!all_static(g, n)) return choice;
  if (const auto form = conv_form(g, n)) {
    const int rank = rank_of(g, n.in(0));
    choice.forms.push_back(uniform_form(g, Kind::last, reads, n.outputs, Layout::last, rank));
    if (reads_planes(g, n)) {
      LayoutForm planes = choice.forms.back();
      planes.kind = Kind::planes;
      for (auto& o : planes.reads) {
        if (o.value == n.in(0)) o.layout = Layout::first;
      }
      if (form->residual && n.in(*form->residual) == n.in(0)) return choice;
      choice.forms.push_back(std::move(planes));
    }
  } else if (n.is("Transpose")) {
    add_move_forms(g, n, choice.forms);
  } else if (const auto m = channels_first_move(g, n); m && keeps_rank(g, n, *m) && permuted(g, n, *m)) {
    const int rank = static_cast<int>(m->perm.size());
    choice.forms.push_back(uniform_form(g, Kind::last, reads, n.outputs, Layout::last, rank));
    if (shuffle) choice.others = {g.producer(n.in(0)), g.producer(shuffle->swap->in(0))};
  }
  return choice;
}

std::string_view name(Kind kind) noexcept {
  constexpr std::string_view kNames[] = {"channels_first", "channels_last", "planes", ""};
  return kNames[static_cast<size_t>(kind)];
}

Kind layout_kind_from_name(std::string_view s) {
  for (const Kind k : {Kind::plain, Kind::last, Kind::planes}) {
    if (s == name(k)) return k;
  }
  throw Error(Code::invalid, "unknown layout '" + std::string(s) +
                                 "' of a node; known: channels_first, channels_last, planes");
}

void assign_layout(Graph& g, NodeId id, LayoutForm::Kind kind) {
  g.node(id).attrs.erase(kMark);
  if (kind == Kind::last) g.node(id).attrs.set(std::string(kMark), std::string("NHWC"));
  if (kind == Kind::planes) g.node(id).attrs.set(std::string(kMark), std::string("planes"));
}

void assign_channels_last(Graph& g) {
  for (NodeId id : g.order()) {
    for (const LayoutForm& form : layout_choice(g, id).forms) {
      if (form.kind == Kind::last || form.kind == Kind::planes) assign_layout(g, id, form.kind);
    }
  }
}

namespace {

std::optional<Patch> assign(const Graph& g, NodeId id) {
  if (!g.node(id).attrs.has(kMark)) return std::nullopt;
  Node n = g.node(id);
  const bool planes = n.attrs.text(kMark) == "planes";
  n.attrs.erase(kMark);
  if (const auto form = conv_form(g, n)) return conv_channels_last(g, n, *form, planes);
  const auto m = channels_first_move(g, n);
  return m ? permuted(g, n, *m) : std::nullopt;
}

}  // namespace

constinit const Pass kAssignLayout{"assign-layout", Stage::target, assign};

}  // namespace skyline::passes
