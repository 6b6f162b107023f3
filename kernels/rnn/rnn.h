#pragma once
// The pointwise halves of LSTM, GRU and RNN steps. The matrix products are the caller's: it fills the gates
// with X W^T + H R^T + biases, then calls one of these per time step (or per row range of a step).
//
// How to use, LSTM with default activations, one step of `rows` sequences of hidden size n:
//   rnn_kernels(isa).lstm({.gates = g, .c_prev = c, .c = c, .h = h, .rows = rows, .hidden = n});
// Row strides are given, so that h may be written straight into the output sequence. Single-threaded: a step
// is small; split the rows over threads if it is not.
#include <cstdint>

#include "kernels/eltwise/eltwise.h"
#include "skyline/kernel.h"

namespace skyline::kernels {

// f, g or h of the ONNX operators. fn null: the operator's default (sigmoid for f, tanh for g and h).
struct RnnActivation {
  UnaryFn fn = nullptr;
  float alpha = 0, beta = 0;
};

// Gates in ONNX's order i, o, f, c, each `hidden` wide, before activation; overwritten.
struct LstmStep {
  float* gates = nullptr;  // [rows, 4 * hidden], rows gates_stride apart (0: 4 * hidden)
  const float* c_prev = nullptr;
  float* c = nullptr;  // may be c_prev
  float* h = nullptr;
  const float* peephole = nullptr;  // [3 * hidden] in the order i, o, f; may be null
  int64_t rows = 0, hidden = 0;
  int64_t gates_stride = 0, c_prev_stride = 0, c_stride = 0, h_stride = 0;  // 0: dense
  float clip = 0;             // > 0: what is activated, the cell too, is clamped to [-clip, clip] before
  bool input_forget = false;  // f = 1 - i
  RnnActivation f, g, hh;
};

// Gates in ONNX's order z, r, h.
struct GruStep {
  float* x_gates =
      nullptr;  // [rows, 3 * hidden]: X W^T + Wb (+ Rb for z, r; + Rbh too unless linear_before_reset)
  float* h_gates = nullptr;  // linear_before_reset: [rows, 3 * hidden], H R^T (+ Rbh in its last third).
                             // else: [rows, 2 * hidden], H R^T of z, r; null if already added to x_gates
  const float* h_prev = nullptr;
  float* h = nullptr;      // may be h_prev
  float* reset = nullptr;  // gru_reset only: [rows, hidden], r . h_prev, dense
  int64_t rows = 0, hidden = 0;
  int64_t x_stride = 0, h_gates_stride = 0, h_prev_stride = 0, h_stride = 0;  // 0: dense
  float clip = 0;
  RnnActivation f, g;
};

struct RnnStep {
  float* gates = nullptr;  // [rows, hidden]; overwritten
  float* h = nullptr;
  int64_t rows = 0, hidden = 0, gates_stride = 0, h_stride = 0;
  float clip = 0;
  RnnActivation f;  // default tanh
};

struct RnnTable {
  KernelInfo info;  // the table as a row of all_kernels()
  void (*lstm)(const LstmStep& s) noexcept;
  // linear_before_reset = 1: the whole step.
  void (*gru_linear)(const GruStep& s) noexcept;
  // linear_before_reset = 0, in two parts: gru_reset activates z and r (kept in x_gates) and writes reset = r
  // . h_prev; the caller adds reset * Rh^T to the last third of x_gates; gru_finish computes h from it.
  void (*gru_reset)(const GruStep& s) noexcept;
  void (*gru_finish)(const GruStep& s) noexcept;
  void (*rnn)(const RnnStep& s) noexcept;
};
const RnnTable& rnn_kernels(IsaSet isa) noexcept;
extern const RnnTable rnn_sse2, rnn_avx2, rnn_avx512, rnn_neon;  // of this architecture only

}  // namespace skyline::kernels
