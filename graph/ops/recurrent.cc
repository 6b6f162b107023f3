// RNN, GRU, LSTM.
#include <algorithm>
#include <cmath>
#include <optional>

#include "graph/ops/activation.h"
#include "graph/ops/families.h"
#include "graph/ops/numeric.h"

namespace skyline::ops {
namespace {

enum class Cell { rnn, gru, lstm };

constexpr int64_t gates_of(Cell c) {
  return c == Cell::rnn ? 1 : c == Cell::gru ? 3 : 4;
}

// ---- activations: their own list, wider than that of fused operators
// ------------------------------------------------------

enum class Fn {
  affine,
  relu,
  leaky_relu,
  thresholded_relu,
  tanh,
  scaled_tanh,
  sigmoid,
  hard_sigmoid,
  elu,
  softsign,
  softplus
};

struct FnRow {
  std::string_view name;
  Fn fn;
  bool takes_alpha, takes_beta;
  float alpha, beta;  // defaults
};
constexpr FnRow kFns[] = {
    {"affine", Fn::affine, true, true, 1, 0},
    {"relu", Fn::relu, false, false, 0, 0},
    {"leakyrelu", Fn::leaky_relu, true, false, 0.01f, 0},
    {"thresholdedrelu", Fn::thresholded_relu, true, false, 1, 0},
    {"tanh", Fn::tanh, false, false, 0, 0},
    {"scaledtanh", Fn::scaled_tanh, true, true, 1, 1},
    {"sigmoid", Fn::sigmoid, false, false, 0, 0},
    {"hardsigmoid", Fn::hard_sigmoid, true, true, 0.2f, 0.5f},
    {"elu", Fn::elu, true, false, 1, 0},
    {"softsign", Fn::softsign, false, false, 0, 0},
    {"softplus", Fn::softplus, false, false, 0, 0},
};

struct GateFn {
  Fn fn = Fn::sigmoid;
  double a = 0, b = 0;
  double operator()(double x) const {
    switch (fn) {
      case Fn::affine:
        return a * x + b;
      case Fn::relu:
        return x < 0 ? 0 : x;
      case Fn::leaky_relu:
        return x < 0 ? a * x : x;
      case Fn::thresholded_relu:
        return x > a ? x : 0;
      case Fn::tanh:
        return std::tanh(x);
      case Fn::scaled_tanh:
        return a * std::tanh(b * x);
      case Fn::sigmoid:
        return sigmoid(x);
      case Fn::hard_sigmoid:
        return std::clamp(a * x + b, 0.0, 1.0);
      case Fn::elu:
        return x < 0 ? a * std::expm1(x) : x;
      case Fn::softsign:
        return x / (1 + std::fabs(x));
      case Fn::softplus:
        return x > 0 ? x + std::log1p(std::exp(-x)) : std::log1p(std::exp(x));
    }
    return x;
  }
};

// Per direction f, g, h as far as the cell has them. alphas and betas go, in order, to the functions that
// take them.
std::vector<GateFn> parse_functions(const Attrs& a, Cell cell, int64_t directions) {
  std::vector<std::string> usual = cell == Cell::rnn   ? std::vector<std::string>{"Tanh"}
                                   : cell == Cell::gru ? std::vector<std::string>{"Sigmoid", "Tanh"}
                                                       : std::vector<std::string>{"Sigmoid", "Tanh", "Tanh"};
  const size_t each = usual.size();
  for (size_t i = 0; directions == 2 && i < each; ++i) usual.push_back(std::string(usual[i]));
  std::vector<std::string> names = a.texts("activations", usual);
  if (names.empty()) names = usual;
  if (names.size() != each * static_cast<size_t>(directions)) {
    reject("attribute activations has " + std::to_string(names.size()) + " entries, expected " +
           std::to_string(each * static_cast<size_t>(directions)));
  }
  const std::vector<float> alphas = a.reals("activation_alpha", {}), betas = a.reals("activation_beta", {});
  size_t next_alpha = 0, next_beta = 0;
  std::vector<GateFn> out;
  for (std::string name : names) {
    std::transform(name.begin(), name.end(), name.begin(),
                   [](char c) { return c >= 'A' && c <= 'Z' ? c + 32 : c; });
    const auto* row =
        std::find_if(std::begin(kFns), std::end(kFns), [&](const FnRow& r) { return r.name == name; });
    if (row == std::end(kFns)) reject("unknown activation '" + name + "'");
    GateFn f{row->fn, row->alpha, row->beta};
    if (row->takes_alpha && next_alpha < alphas.size()) f.a = alphas[next_alpha++];
    if (row->takes_beta && next_beta < betas.size()) f.b = betas[next_beta++];
    out.push_back(f);
  }
  return out;
}

// ---- attributes and shapes
// ----------------------------------------------------------------------------------------------

struct Settings {
  int64_t hidden = 0, directions = 1;
  bool first_reverse = false;
  bool batch_first = false;  // layout 1
  std::vector<GateFn> functions;
  std::optional<double> clip;
  bool linear_before_reset = false, input_forget = false;
};

Settings parse_settings(const Attrs& a, Cell cell, int64_t hidden) {
  Settings s;
  s.hidden = a.integer("hidden_size", hidden);
  if (s.hidden < 1 || s.hidden != hidden) {
    reject("attribute hidden_size is " + std::to_string(s.hidden) + ", the weights have " +
           std::to_string(hidden));
  }
  const std::string d = a.text("direction", "forward");
  if (d != "forward" && d != "reverse" && d != "bidirectional") reject("attribute direction is '" + d + "'");
  s.directions = d == "bidirectional" ? 2 : 1;
  s.first_reverse = d == "reverse";
  s.batch_first = flag(a, "layout");
  s.functions = parse_functions(a, cell, s.directions);
  if (a.has("clip")) {
    s.clip = a.real("clip");
    if (!(*s.clip > 0)) reject("attribute clip must be above 0");
  }
  s.linear_before_reset = a.integer("linear_before_reset", 0) != 0;
  s.input_forget = a.integer("input_forget", 0) != 0;
  return s;
}

template <Cell kCell>
void infer_recurrent(InferContext& c) {
  const Fact &x = c.in(0), &w = c.in(1), &r = c.in(2);
  require_float(x.dtype, "input");
  const SymDims xd = x.ranked ? x.dims : SymDims(3);
  SymDims rd = r.ranked ? r.dims : SymDims(3);
  const SymDims wd = w.ranked ? w.dims : SymDims(3);
  if (xd.size() != 3 || rd.size() != 3 || wd.size() != 3) reject("X, W and R must have rank 3");
  Dim hidden = rd[2];
  if (!hidden.known() && c.attrs().has("hidden_size")) hidden = c.attrs().integer("hidden_size");
  const bool batch_first = flag(c.attrs(), "layout");
  const std::string direction = c.attrs().text("direction", "forward");
  const Dim dirs = direction == "bidirectional" ? 2 : 1;
  if (hidden.known()) {
    parse_settings(c.attrs(), kCell, hidden.value());
    const Dim rows = mul(hidden, gates_of(kCell));
    require_fact(w, {dirs, rows, xd[2]}, "W");
    require_fact(r, {dirs, rows, hidden}, "R");
    if (c.has(3)) require_fact(c.in(3), {dirs, mul(rows, 2)}, "B");
    if (kCell == Cell::lstm && c.has(7)) require_fact(c.in(7), {dirs, mul(hidden, 3)}, "P");
  }
  const Dim seq = xd[batch_first ? 1 : 0], batch = xd[batch_first ? 0 : 1];
  if (c.has(4)) require_fact(c.in(4), {batch}, "sequence_lens");
  const SymDims state = batch_first ? SymDims{batch, dirs, hidden} : SymDims{dirs, batch, hidden};
  for (size_t i = 5; i < (kCell == Cell::lstm ? 7u : 6u); ++i) {
    if (c.has(i)) require_fact(c.in(i), state, "initial state");
  }
  c.out(0,
        Fact(x.dtype, batch_first ? SymDims{batch, seq, dirs, hidden} : SymDims{seq, dirs, batch, hidden}));
  c.out(1, Fact(x.dtype, state));
  c.out(2, Fact(x.dtype, state));
}

// ---- evaluation
// -----------------------------------------------------------------------------------------------------------

struct Problem {
  Settings s;
  int64_t seq = 0, batch = 0, in = 0;
  std::vector<double> x, w, r, b, h, c, p;  // b, p may be empty; h and c are the states, filled
  std::vector<int64_t> lengths;
  // Layout-aware offsets of one row.
  int64_t x_at(int64_t t, int64_t n) const { return (s.batch_first ? n * seq + t : t * batch + n) * in; }
  int64_t y_at(int64_t t, int64_t d, int64_t n) const {
    return (s.batch_first ? (n * seq + t) * s.directions + d : (t * s.directions + d) * batch + n) * s.hidden;
  }
  int64_t state_at(int64_t d, int64_t n) const {
    return (s.batch_first ? n * s.directions + d : d * batch + n) * s.hidden;
  }
};

std::vector<double> optional_state(EvalContext& c, size_t i, const Dims& dims) {
  if (!c.has(i)) return std::vector<double>(static_cast<size_t>(element_count(dims)), 0.0);
  require_dims(c.in(i), dims, "initial state");
  return to_doubles(c.in(i));
}

Problem read_problem(EvalContext& c, Cell cell) {
  const Tensor &x = c.in(0), &w = c.in(1), &r = c.in(2);
  require_float(x.dtype(), "input");
  if (x.rank() != 3 || w.rank() != 3 || r.rank() != 3) reject("X, W and R must have rank 3");
  Problem p;
  p.s = parse_settings(c.attrs(), cell, r.dim(2));
  const int64_t rows = gates_of(cell) * p.s.hidden, dirs = p.s.directions;
  p.seq = x.dim(p.s.batch_first ? 1 : 0);
  p.batch = x.dim(p.s.batch_first ? 0 : 1);
  p.in = x.dim(2);
  require_dims(w, {dirs, rows, p.in}, "W");
  require_dims(r, {dirs, rows, p.s.hidden}, "R");
  if (c.has(3)) require_dims(c.in(3), {dirs, 2 * rows}, "B");
  p.lengths.assign(static_cast<size_t>(p.batch), p.seq);
  if (c.has(4)) {
    require_dims(c.in(4), {p.batch}, "sequence_lens");
    p.lengths = c.ints(4);
    for (int64_t n : p.lengths) {
      if (n < 0 || n > p.seq) {
        throw Error(Code::input,
                    "sequence_lens has " + std::to_string(n) + ", the input " + std::to_string(p.seq));
      }
    }
  }
  const Dims state = p.s.batch_first ? Dims{p.batch, dirs, p.s.hidden} : Dims{dirs, p.batch, p.s.hidden};
  p.h = optional_state(c, 5, state);
  if (cell == Cell::lstm) {
    p.c = optional_state(c, 6, state);
    if (c.has(7)) {
      require_dims(c.in(7), {dirs, 3 * p.s.hidden}, "P");
      p.p = to_doubles(c.in(7));
    }
  }
  p.x = to_doubles(x);
  p.w = to_doubles(w);
  p.r = to_doubles(r);
  if (c.has(3)) p.b = to_doubles(c.in(3));
  return p;
}

// out[row] = m[row, :] . v + bias[row]
void affine(const double* m, const double* v, const double* bias, int64_t rows, int64_t cols, double* out) {
  for (int64_t i = 0; i < rows; ++i) {
    double sum = bias ? bias[i] : 0;
    for (int64_t k = 0; k < cols; ++k) sum += m[i * cols + k] * v[k];
    out[i] = sum;
  }
}

// One direction's parameters and one step; h and c are rows of the state, updated in place.
struct Stepper {
  Cell cell;
  int64_t in, hidden;
  const double *w, *r, *wb, *rb, *peep;  // the last three may be null
  const GateFn* fn;
  std::optional<double> clip;
  bool linear_before_reset, input_forget;
  std::vector<double> xg, hg, tmp;

  double f(const GateFn& g, double x) const { return g(clip ? std::clamp(x, -*clip, *clip) : x); }

  void step(const double* x, double* h, double* c) {
    const int64_t rows = gates_of(cell) * hidden;
    affine(w, x, wb, rows, in, xg.data());
    affine(r, h, rb, rows, hidden, hg.data());
    if (cell == Cell::rnn) {
      for (int64_t j = 0; j < hidden; ++j) h[j] = f(fn[0], at(xg, j) + at(hg, j));
    } else if (cell == Cell::gru) {
      gru(h);
    } else {
      lstm(h, c);
    }
  }

 private:
  static double& at(std::vector<double>& v, int64_t i) { return v[static_cast<size_t>(i)]; }

  void gru(double* h) {  // gates z, r, h
    const int64_t n = hidden;
    if (!linear_before_reset) {
      for (int64_t j = 0; j < n; ++j) at(tmp, j) = f(fn[0], at(xg, n + j) + at(hg, n + j)) * h[j];
      affine(r + 2 * n * n, tmp.data(), rb ? rb + 2 * n : nullptr, n, n, hg.data() + 2 * n);
    } else {
      for (int64_t j = 0; j < n; ++j) at(hg, 2 * n + j) *= f(fn[0], at(xg, n + j) + at(hg, n + j));
    }
    for (int64_t j = 0; j < n; ++j) {
      const double z = f(fn[0], at(xg, j) + at(hg, j));
      h[j] = (1 - z) * f(fn[1], at(xg, 2 * n + j) + at(hg, 2 * n + j)) + z * h[j];
    }
  }

  void lstm(double* h, double* c) {  // gates i, o, f, c; peepholes i, o, f
    const int64_t n = hidden;
    const auto sum = [&](int64_t gate, int64_t j) { return at(xg, gate * n + j) + at(hg, gate * n + j); };
    const auto look = [&](int64_t gate, int64_t j, double cell_state) {
      return peep ? peep[gate * n + j] * cell_state : 0;
    };
    for (int64_t j = 0; j < n; ++j) {
      const double i = f(fn[0], sum(0, j) + look(0, j, c[j]));
      const double forget = input_forget ? 1 - i : f(fn[0], sum(2, j) + look(2, j, c[j]));
      c[j] = forget * c[j] + i * f(fn[1], sum(3, j));
      h[j] = f(fn[0], sum(1, j) + look(1, j, c[j])) * f(fn[2], c[j]);
    }
  }
};

Stepper make_stepper(const Problem& p, Cell cell, int64_t d) {
  const int64_t hidden = p.s.hidden, rows = gates_of(cell) * hidden;
  const double* bias = p.b.empty() ? nullptr : p.b.data() + d * 2 * rows;
  const size_t each = p.s.functions.size() / static_cast<size_t>(p.s.directions);
  Stepper s{cell,
            p.in,
            hidden,
            p.w.data() + d * rows * p.in,
            p.r.data() + d * rows * hidden,
            bias,
            bias ? bias + rows : nullptr,
            p.p.empty() ? nullptr : p.p.data() + d * 3 * hidden,
            p.s.functions.data() + static_cast<size_t>(d) * each,
            p.s.clip,
            p.s.linear_before_reset,
            p.s.input_forget,
            {},
            {},
            {}};
  s.xg.resize(static_cast<size_t>(rows));
  s.hg.resize(static_cast<size_t>(rows));
  s.tmp.resize(static_cast<size_t>(hidden));
  return s;
}

template <Cell kCell>
void eval_recurrent(EvalContext& c) {
  Problem p = read_problem(c, kCell);
  const int64_t dirs = p.s.directions, hidden = p.s.hidden;
  const DType t = c.in(0).dtype();
  const Dims all = p.s.batch_first ? Dims{p.batch, p.seq, dirs, hidden} : Dims{p.seq, dirs, p.batch, hidden};
  const Dims state = p.s.batch_first ? Dims{p.batch, dirs, hidden} : Dims{dirs, p.batch, hidden};
  Tensor out = c.make(t, all);
  std::vector<double> y(static_cast<size_t>(out.size()), 0.0);
  for (int64_t d = 0; d < dirs; ++d) {
    Stepper stepper = make_stepper(p, kCell, d);
    const bool reverse = d == 1 || p.s.first_reverse;
    for (int64_t n = 0; n < p.batch; ++n) {
      double* h = p.h.data() + p.state_at(d, n);
      double* cell = p.c.empty() ? nullptr : p.c.data() + p.state_at(d, n);
      const int64_t length = p.lengths[static_cast<size_t>(n)];
      for (int64_t i = 0; i < length; ++i) {
        poll(c.limits);
        const int64_t at = reverse ? length - 1 - i : i;
        stepper.step(p.x.data() + p.x_at(at, n), h, cell);
        std::copy(h, h + hidden, y.begin() + p.y_at(at, d, n));
      }
    }
  }
  from_doubles(y, out);
  c.out(0, out);
  if (c.wants(1)) c.out(1, make_from(c, t, state, p.h));
  if (kCell == Cell::lstm && c.wants(2)) c.out(2, make_from(c, t, state, p.c));
}

template <Cell kCell>
Work work_recurrent(const Node&, std::span<const Fact> in, std::span<const Fact>) {
  const SymDims &x = in[0].dims, &r = in[2].dims;
  const int64_t steps = x[0].value() * x[1].value(), hidden = r[2].value();
  const int64_t per_step = gates_of(kCell) * hidden * (2 * (x[2].value() + hidden) + 12);
  return {.flops = steps * r[0].value() * per_step};
}

constexpr OpDef kOps[] = {
    {.name = "RNN",
     .min_inputs = 3,
     .max_inputs = 6,
     .max_outputs = 2,
     .infer = infer_recurrent<Cell::rnn>,
     .eval = eval_recurrent<Cell::rnn>,
     .work = work_recurrent<Cell::rnn>},
    {.name = "GRU",
     .min_inputs = 3,
     .max_inputs = 6,
     .max_outputs = 2,
     .infer = infer_recurrent<Cell::gru>,
     .eval = eval_recurrent<Cell::gru>,
     .work = work_recurrent<Cell::gru>},
    {.name = "LSTM",
     .min_inputs = 3,
     .max_inputs = 8,
     .max_outputs = 3,
     .infer = infer_recurrent<Cell::lstm>,
     .eval = eval_recurrent<Cell::lstm>,
     .work = work_recurrent<Cell::lstm>},
};

}  // namespace

std::span<const OpDef> recurrent_ops() {
  return kOps;
}

}  // namespace skyline::ops
