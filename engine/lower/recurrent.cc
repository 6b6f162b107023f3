// RNN, GRU and LSTM: one product of all time steps with W, then per step a product of the state with R and
// the pointwise half of the cell. sequence_lens is left to the reference unless every sequence is full.
#include <algorithm>
#include <cstring>

#include "engine/lower/families.h"
#include "kernels/gemm/gemm.h"
#include "kernels/rnn/rnn.h"

namespace skyline::lower {
namespace {

using namespace kernels;

enum class Cell { rnn, gru, lstm };

// ---- activations

struct FnRow {
  std::string_view name;
  UnaryOp op;
  bool takes_alpha, takes_beta;
  float alpha, beta;  // defaults
};
constexpr FnRow kFns[] = {
    {"affine", UnaryOp::affine, true, true, 1, 0},
    {"relu", UnaryOp::relu, false, false, 0, 0},
    {"leakyrelu", UnaryOp::leaky_relu, true, false, 0.01f, 0},
    {"thresholdedrelu", UnaryOp::thresholded_relu, true, false, 1, 0},
    {"tanh", UnaryOp::tanh, false, false, 0, 0},
    {"scaledtanh", UnaryOp::scaled_tanh, true, true, 1, 1},
    {"sigmoid", UnaryOp::sigmoid, false, false, 0, 0},
    {"hardsigmoid", UnaryOp::hard_sigmoid, true, true, 0.2f, 0.5f},
    {"elu", UnaryOp::elu, true, false, 1, 0},
    {"softsign", UnaryOp::softsign, false, false, 0, 0},
    {"softplus", UnaryOp::softplus, false, false, 0, 0},
};

// All directions, one after the other. Nothing if a name is unknown or the count is wrong.
std::optional<std::vector<RnnActivation>> parse_activations(const Lowering& l,
                                                            std::span<const UnaryOp> defaults,
                                                            size_t directions) {
  const std::vector<std::string> names = l.attrs().texts("activations", {});
  if (names.empty()) return std::vector<RnnActivation>(defaults.size() * directions);
  if (names.size() != defaults.size() * directions) return std::nullopt;
  const auto alphas = l.attrs().reals("activation_alpha", {}), betas = l.attrs().reals("activation_beta", {});
  size_t alpha = 0, beta = 0;
  std::vector<RnnActivation> out;
  for (std::string name : names) {
    for (char& c : name) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
    const auto* row =
        std::find_if(std::begin(kFns), std::end(kFns), [&](const FnRow& r) { return r.name == name; });
    if (row == std::end(kFns)) return std::nullopt;
    RnnActivation a{eltwise_kernels(l.isa).unary[static_cast<int>(row->op)], row->alpha, row->beta};
    if (row->takes_alpha && alpha < alphas.size()) a.alpha = alphas[alpha++];
    if (row->takes_beta && beta < betas.size()) a.beta = betas[beta++];
    if (row->op == defaults[out.size() % defaults.size()]) a.fn = nullptr;  // fused into the cell's kernel
    out.push_back(a);
  }
  return out;
}

// ---- products

// x * w^T for rows of one direction's W or R; w is packed if constant.
struct Product {
  GemmPlan plan;
  std::vector<std::shared_ptr<const std::byte>> packed;  // per direction; empty: read from `input`
  size_t input = 0;
  int64_t offset = 0, stride = 0;  // elements: of the first row, and between directions

  const void* weights(const StepArgs& s, size_t d) const {
    return packed.empty()
               ? static_cast<const void*>(s.input<float>(input) + offset + static_cast<int64_t>(d) * stride)
               : packed[d].get();
  }
  void run(const StepArgs& s, size_t d, GemmArgs args, std::byte* workspace) const {
    args.b = weights(s, d);
    args.ldb = plan.problem.k;
    gemm_run(plan, args, workspace, s.threads);
  }
};

// Rows [first, first + rows) of each direction of input `i`, whose directions have `all` rows.
Product make_product(const Lowering& l, size_t i, int64_t m, int64_t first, int64_t rows, int64_t all) {
  const Dims w = l.in_dims(i);
  Product p;
  p.input = i;
  p.offset = first * w[2];
  p.stride = all * w[2];
  const Tensor* constant = l.constant(i);
  p.plan = gemm_plan({.m = m, .n = rows, .k = w[2], .trans_b = true, .const_b = constant != nullptr}, l.isa);
  for (int64_t d = 0; constant && d < w[0]; ++d) {
    const std::string form = "rnn:" + std::string(p.plan.kernel->name) + ":" + std::to_string(d) + ":" +
                             std::to_string(first) + "+" + std::to_string(rows) + "x" + std::to_string(w[2]);
    p.packed.push_back(l.pack(i, form, p.plan.packed_b_bytes, [&](std::byte* to) {
      gemm_pack_b(p.plan, {.b = constant->data<float>() + d * p.stride + p.offset, .ldb = w[2]}, to);
    }));
  }
  return p;
}

// ---- the step

struct Places {  // byte offsets into the workspace
  size_t gemm = 0, x_gates = 0, h_gates = 0, h = 0, c = 0, reset = 0, zeros = 0, bias_x = 0, bias_h = 0,
         total = 0;
};

template <Cell kCell>
class RecurrentCode final : public StepCode {
 public:
  static constexpr int64_t kGates = kCell == Cell::rnn ? 1 : kCell == Cell::gru ? 3 : 4;

  int64_t seq, batch, hidden;
  size_t directions;
  bool first_reverse, batch_first, linear_before_reset, input_forget;
  bool has_bias, has_h, has_c, has_peephole, wants_y, wants_h, wants_c;
  float clip;
  std::vector<RnnActivation> activations;
  Product x, h, h_reset;  // h_reset: the last third of R, for GRU without linear_before_reset
  const RnnTable* table;
  Places at;

  void run(const StepArgs& s) const noexcept override {
    std::memset(s.workspace + at.zeros, 0, static_cast<size_t>(batch * hidden) * 4);
    for (size_t d = 0; d < directions; ++d) run_direction(s, d);
  }

  void place(int threads) {
    const auto take = [&](size_t& offset, size_t bytes) {
      offset = at.total;
      at.total += align_up(bytes);
    };
    const auto floats = [](int64_t n) { return static_cast<size_t>(n) * 4; };
    size_t gemm = gemm_workspace_bytes(x.plan, threads);
    gemm = std::max(gemm, gemm_workspace_bytes(h.plan, threads));
    if (h_reset.plan.kernel) gemm = std::max(gemm, gemm_workspace_bytes(h_reset.plan, threads));
    take(at.gemm, gemm);
    take(at.x_gates, floats(seq * batch * kGates * hidden));
    take(at.h_gates, linear_before_reset ? floats(batch * kGates * hidden) : 0);
    take(at.h, floats(batch * hidden));
    take(at.c, floats(batch * hidden));
    take(at.reset, floats(batch * hidden));
    take(at.zeros, floats(batch * hidden));
    take(at.bias_x, floats(kGates * hidden));
    take(at.bias_h, floats(kGates * hidden));
  }

 private:
  template <class T>
  struct Rows {  // `batch` rows of `hidden`
    T* at = nullptr;
    int64_t stride = 0;
  };
  using In = Rows<const float>;
  using Out = Rows<float>;

  float* space(const StepArgs& s, size_t offset) const {
    return reinterpret_cast<float*>(s.workspace + offset);
  }
  // A state tensor's rows of direction d.
  template <class T>
  Rows<T> state(T* p, size_t d) const {
    const auto i = static_cast<int64_t>(d);
    return batch_first ? Rows<T>{p + i * hidden, static_cast<int64_t>(directions) * hidden}
                       : Rows<T>{p + i * batch * hidden, hidden};
  }
  Out y_rows(const StepArgs& s, size_t d, int64_t t) const {
    if (!wants_y) return {space(s, at.h), hidden};
    float* y = s.output<float>(0);
    const auto i = static_cast<int64_t>(d), n = static_cast<int64_t>(directions);
    return batch_first ? Out{y + (t * n + i) * hidden, seq * n * hidden}
                       : Out{y + (t * n + i) * batch * hidden, hidden};
  }

  // W's biases join the product with W, and R's too, except where a GRU scales them by the reset gate.
  void biases(const StepArgs& s, size_t d) const {
    const int64_t n = kGates * hidden, kept_apart = linear_before_reset ? hidden : 0;
    const float* wb = s.input<float>(3) + static_cast<int64_t>(d) * 2 * n;
    const float* rb = wb + n;
    float *bx = space(s, at.bias_x), *bh = space(s, at.bias_h);
    for (int64_t i = 0; i < n; ++i) {
      const bool together = i < n - kept_apart;
      bx[i] = together ? wb[i] + rb[i] : wb[i];
      bh[i] = together ? 0 : rb[i];
    }
  }

  void run_direction(const StepArgs& s, size_t d) const {
    const int64_t gates = kGates * hidden, in = x.plan.problem.k;
    float* const xg = space(s, at.x_gates);
    if (has_bias) biases(s, d);
    GemmArgs all;
    all.a = s.in[0];
    all.lda = in;
    all.c = xg;
    all.ldc = gates;
    all.epilogue.bias_n = has_bias ? space(s, at.bias_x) : nullptr;
    x.run(s, d, all, s.workspace + at.gemm);

    const In zeros{space(s, at.zeros), hidden};
    In h_prev = has_h ? state(s.input<float>(5), d) : zeros;
    In c_prev = has_c ? state(s.input<float>(6), d) : zeros;
    const Out c = wants_c ? state(s.output<float>(2), d) : Out{space(s, at.c), hidden};
    const bool reverse = d == 1 || first_reverse;
    for (int64_t i = 0; i < seq; ++i) {
      const int64_t t = reverse ? seq - 1 - i : i;
      const Rows<float> g =
          batch_first ? Rows<float>{xg + t * gates, seq * gates} : Rows<float>{xg + t * batch * gates, gates};
      const Out y = y_rows(s, d, t);
      step(s, d, g, h_prev, c_prev, c, y, i == 0 && !has_h);
      h_prev = {y.at, y.stride};
      c_prev = {c.at, c.stride};
    }
    if (!wants_h) return;
    const Out last = state(s.output<float>(1), d);
    for (int64_t n = 0; n < batch; ++n) {
      std::memcpy(last.at + n * last.stride, h_prev.at + n * h_prev.stride, static_cast<size_t>(hidden) * 4);
    }
  }

  // g[:, columns] += a * r^T
  void add_product(const StepArgs& s, size_t d, const Product& r, In a, float* to, int64_t stride) const {
    GemmArgs args;
    args.a = a.at;
    args.lda = a.stride;
    args.c = to;
    args.ldc = stride;
    args.epilogue.residual = to;
    args.epilogue.ldr = stride;
    r.run(s, d, args, s.workspace + at.gemm);
  }

  void step(const StepArgs& s, size_t d, Rows<float> g, In h_prev, In c_prev, Out c, Out y,
            bool zero_state) const {
    const RnnActivation* fn = activations.data() + d * (activations.size() / directions);
    if constexpr (kCell == Cell::gru) {
      gru_step(s, d, g, h_prev, y, fn);
    } else {
      if (!zero_state) add_product(s, d, h, h_prev, g.at, g.stride);
      if constexpr (kCell == Cell::rnn) {
        table->rnn({.gates = g.at,
                    .h = y.at,
                    .rows = batch,
                    .hidden = hidden,
                    .gates_stride = g.stride,
                    .h_stride = y.stride,
                    .clip = clip,
                    .f = fn[0]});
      } else {
        LstmStep p;
        p.gates = g.at;
        p.c_prev = c_prev.at;
        p.c = c.at;
        p.h = y.at;
        p.peephole = has_peephole ? s.input<float>(7) + static_cast<int64_t>(d) * 3 * hidden : nullptr;
        p.rows = batch;
        p.hidden = hidden;
        p.gates_stride = g.stride;
        p.c_prev_stride = c_prev.stride;
        p.c_stride = c.stride;
        p.h_stride = y.stride;
        p.clip = clip;
        p.input_forget = input_forget;
        p.f = fn[0];
        p.g = fn[1];
        p.hh = fn[2];
        table->lstm(p);
      }
    }
  }

  void gru_step(const StepArgs& s, size_t d, Rows<float> g, In h_prev, Out y, const RnnActivation* fn) const {
    GruStep p;
    p.x_gates = g.at;
    p.h_prev = h_prev.at;
    p.h = y.at;
    p.rows = batch;
    p.hidden = hidden;
    p.x_stride = g.stride;
    p.h_prev_stride = h_prev.stride;
    p.h_stride = y.stride;
    p.clip = clip;
    p.f = fn[0];
    p.g = fn[1];
    if (linear_before_reset) {
      p.h_gates = space(s, at.h_gates);
      GemmArgs args;
      args.a = h_prev.at;
      args.lda = h_prev.stride;
      args.c = p.h_gates;
      args.ldc = kGates * hidden;
      args.epilogue.bias_n = has_bias ? space(s, at.bias_h) : nullptr;
      h.run(s, d, args, s.workspace + at.gemm);
      return table->gru_linear(p);
    }
    add_product(s, d, h, h_prev, g.at, g.stride);
    p.reset = space(s, at.reset);
    table->gru_reset(p);
    add_product(s, d, h_reset, {p.reset, hidden}, g.at + 2 * hidden, g.stride);
    table->gru_finish(p);
  }
};

// True if the lengths, where given, are all those of the input.
bool full_sequences(const Lowering& l, int64_t seq) {
  if (!l.has(4)) return true;
  const auto lengths = l.constant_ints(4);
  return lengths && std::all_of(lengths->begin(), lengths->end(), [&](int64_t n) { return n == seq; });
}

template <Cell kCell>
std::optional<Lowered> lower_recurrent(Lowering& l) {
  for (size_t i = 0; i < l.node.inputs.size(); ++i) {
    if (i != 4 && l.has(i) && l.in_type(i) != DType::f32) return std::nullopt;
  }
  const Dims x = l.in_dims(0), r = l.in_dims(2);
  auto code = std::make_unique<RecurrentCode<kCell>>();
  auto& c = *code;
  c.batch_first = l.attrs().integer("layout", 0) != 0;
  c.seq = x[c.batch_first ? 1 : 0];
  c.batch = x[c.batch_first ? 0 : 1];
  c.hidden = r[2];
  if (c.seq == 0 || c.batch == 0 || x[2] == 0 || !full_sequences(l, c.seq)) return std::nullopt;
  c.directions = static_cast<size_t>(r[0]);
  c.first_reverse = l.attrs().text("direction", "forward") == "reverse";
  c.linear_before_reset = kCell == Cell::gru && l.attrs().integer("linear_before_reset", 0) != 0;
  c.input_forget = l.attrs().integer("input_forget", 0) != 0;
  c.clip = l.attrs().real("clip", 0.0f);
  c.has_bias = l.has(3);
  c.has_h = l.has(5);
  c.has_c = kCell == Cell::lstm && l.has(6);
  c.has_peephole = kCell == Cell::lstm && l.has(7);
  c.wants_y = l.node.out(0) != kNoValue;
  c.wants_h = l.node.out(1) != kNoValue;
  c.wants_c = kCell == Cell::lstm && l.node.out(2) != kNoValue;
  constexpr UnaryOp kDefaults[] = {UnaryOp::sigmoid, UnaryOp::tanh, UnaryOp::tanh};
  constexpr UnaryOp kRnnDefault[] = {UnaryOp::tanh};
  const auto defaults = kCell == Cell::rnn ? std::span<const UnaryOp>(kRnnDefault)
                                           : std::span<const UnaryOp>(kDefaults, kCell == Cell::gru ? 2 : 3);
  const auto activations = parse_activations(l, defaults, c.directions);
  if (!activations) return std::nullopt;
  c.activations = *activations;
  const int64_t gates = c.kGates * c.hidden;
  const bool split = kCell == Cell::gru && !c.linear_before_reset;
  c.x = make_product(l, 1, c.seq * c.batch, 0, gates, gates);
  c.h = make_product(l, 2, c.batch, 0, split ? 2 * c.hidden : gates, gates);
  if (split) c.h_reset = make_product(l, 2, c.batch, 2 * c.hidden, c.hidden, gates);
  c.table = &rnn_kernels(l.isa);
  c.place(l.threads);
  const std::string kernel = "rnn+" + std::string(c.x.plan.kernel->name);
  const size_t workspace = c.at.total;
  return Lowered{.code = std::move(code), .kernel = kernel, .workspace = workspace};
}

constexpr LowerRow kRows[] = {
    {"RNN", "", lower_recurrent<Cell::rnn>},
    {"GRU", "", lower_recurrent<Cell::gru>},
    {"LSTM", "", lower_recurrent<Cell::lstm>},
};

}  // namespace

std::span<const LowerRow> recurrent_rows() {
  return kRows;
}

}  // namespace skyline::lower
