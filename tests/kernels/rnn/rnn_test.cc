#include "kernels/rnn/rnn.h"

#include <cmath>

#include "tests/kernels/levels.h"

using namespace skyline;
using namespace skyline::kernels;
using test::each_level;

namespace {

double logistic(double x) {
  return 1 / (1 + std::exp(-x));
}
double clipped(double x, double c) {
  return c > 0 ? std::fmin(std::fmax(x, -c), c) : x;
}

constexpr int64_t kRows = 3;

}  // namespace

TEST_CASE("LSTM steps: plain, peepholes, clip, coupled gates, own activations") {
  each_level([](IsaSet isa) {
    const auto unary = [&](UnaryOp op) { return eltwise_kernels(isa).unary[static_cast<int>(op)]; };
    for (const int64_t n : {1, 7, 16, 37}) {
      for (const int variant : {0, 1, 2, 3, 4, 5}) {
        const bool own = variant == 4, explicit_default = variant == 5;
        const float clip = variant == 2 ? 0.75f : 0;
        const auto gates = test::Random(n).floats(kRows * 4 * n, -3, 3),
                   peephole = test::Random(2).floats(3 * n), c0 = test::Random(3).floats(kRows * n);
        std::vector<float> work = gates, c = c0, h(kRows * (n + 2), -5.0f);
        LstmStep s{.gates = work.data(), .c_prev = c.data(), .c = c.data(), .h = h.data()};
        s.peephole = variant == 1 || variant == 4 ? peephole.data() : nullptr;
        s.rows = kRows;
        s.hidden = n;
        s.h_stride = n + 2;
        s.clip = clip;
        s.input_forget = variant == 3;
        if (own) s.g = {unary(UnaryOp::relu)};
        if (own) s.hh = {unary(UnaryOp::softsign)};
        if (explicit_default) s.f = {unary(UnaryOp::sigmoid)};
        rnn_kernels(isa).lstm(s);
        for (int64_t k = 0; k < kRows * n; ++k) {
          const int64_t r = k / n, j = k % n;
          const float* g = &gates[r * 4 * n];
          const auto p = [&](int64_t gate) { return s.peephole ? double(peephole[gate * n + j]) : 0.0; };
          const double i = logistic(clipped(g[j] + p(0) * c0[k], clip));
          const double f = s.input_forget ? 1 - i : logistic(clipped(g[2 * n + j] + p(2) * c0[k], clip));
          const double z = clipped(g[3 * n + j], clip);
          const double cell = f * c0[k] + i * (own ? std::fmax(z, 0) : std::tanh(z));
          const double o = logistic(clipped(g[n + j] + p(1) * cell, clip));
          CHECK(std::fabs(c[k] - cell) < 1e-6);
          const double seen = clipped(cell, clip);
          CHECK(std::fabs(h[r * (n + 2) + j] - o * (own ? seen / (1 + std::fabs(seen)) : std::tanh(seen))) <
                1e-6);
        }
        CHECK(h[n] == -5.0f);
      }
    }
  });
}

TEST_CASE("GRU steps in both forms, and RNN steps") {
  each_level([](IsaSet isa) {
    const RnnTable& t = rnn_kernels(isa);
    for (const int64_t n : {1, 9, 16, 35}) {
      const auto x = test::Random(n).floats(kRows * 3 * n, -2, 2),
                 hg = test::Random(4).floats(kRows * 3 * n, -2, 2), h0 = test::Random(5).floats(kRows * n);
      std::vector<float> work = x, h = h0, reset(kRows * n), hgates = hg;
      GruStep s{.x_gates = work.data(), .h_gates = hgates.data(), .h_prev = h.data(), .h = h.data()};
      s.rows = kRows;
      s.hidden = n;
      t.gru_linear(s);
      for (int64_t k = 0; k < kRows * n; ++k) {
        const float *gx = &x[k / n * 3 * n + k % n], *gh = &hg[k / n * 3 * n + k % n];
        const double z = logistic(gx[0] + gh[0]), r = logistic(gx[n] + gh[n]);
        const double candidate = std::tanh(gx[2 * n] + r * gh[2 * n]);
        CHECK(std::fabs(h[k] - ((1 - z) * candidate + z * h0[k])) < 1e-6);
      }
      work = x;
      h = h0;
      s.h_gates = nullptr;
      s.reset = reset.data();
      t.gru_reset(s);
      for (int64_t k = 0; k < kRows * n; ++k) {
        CHECK(std::fabs(reset[k] - logistic(x[k / n * 3 * n + n + k % n]) * h0[k]) < 1e-6);
        work[k / n * 3 * n + 2 * n + k % n] += reset[k];
      }
      t.gru_finish(s);
      for (int64_t k = 0; k < kRows * n; ++k) {
        const float* gx = &x[k / n * 3 * n + k % n];
        const double z = logistic(gx[0]), candidate = std::tanh(double(gx[2 * n]) + reset[k]);
        CHECK(std::fabs(h[k] - ((1 - z) * candidate + z * h0[k])) < 1e-6);
      }
      work = x;
      RnnStep plain{.gates = work.data(), .h = h.data(), .rows = kRows, .hidden = n, .clip = 1};
      t.rnn(plain);
      for (int64_t k = 0; k < kRows * n; ++k) CHECK(std::fabs(h[k] - std::tanh(clipped(x[k], 1))) < 1e-6);
    }
  });
}
