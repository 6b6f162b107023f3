// Trials of the pointwise halves of recurrent layers, and of quantization.
#include <cmath>

#include "kernels/quantize/lookup.h"
#include "kernels/quantize/quantize.h"
#include "kernels/quantize/ref.h"
#include "kernels/rnn/rnn.h"
#include "kernels/trial/parts.h"

namespace skyline::kernels {
namespace {

constexpr int64_t kRows = 16, kHidden = 256, kCells = kRows * kHidden;
constexpr double kTolerance = 2e-6;

double logistic(double x) {
  return 1 / (1 + std::exp(-x));
}

// A step reads fresh gates each time: kernels overwrite them.
struct Step {
  std::vector<float> fresh, gates, h_gates, state, c, h, reset;
};

std::shared_ptr<Step> make_step(int64_t gates) {
  auto s = std::make_shared<Step>();
  s->fresh = random_floats(kCells * gates, -3, 3);
  s->gates = s->fresh;
  s->h_gates = random_floats(kCells * gates, -2, 2);
  s->state = random_floats(kCells);
  s->c.resize(kCells);
  s->h.resize(kCells);
  s->reset.resize(kCells);
  return s;
}

void add_step(const KernelInfo& row, const char* name, std::shared_ptr<Step> s, double floats_each,
              std::function<void(Step&)> run, std::function<double(const Step&, int64_t, int64_t)> want,
              std::vector<float> Step::*result, std::vector<Trial>& out) {
  out.push_back(make_trial(row, name, {.bytes = 4 * floats_each * kCells},
                           [=] {
                             s->gates = s->fresh;
                             run(*s);
                           },
                           {.n = kCells,
                            .got = [=](int64_t i) { return double((s.get()->*result)[i]); },
                            .want = [=](int64_t i) { return want(*s, i / kHidden, i % kHidden); },
                            .relative = kTolerance,
                            .absolute = kTolerance}));
}

void add_gru(const RnnTable& t, std::vector<Trial>& out) {
  const auto gate = [](const Step& s, int64_t r, int64_t g, int64_t j) {
    return double(s.fresh[(r * 3 + g) * kHidden + j]);
  };
  const auto arguments = [](Step& s) {
    GruStep a{.x_gates = s.gates.data(), .h_prev = s.state.data(), .h = s.h.data(), .reset = s.reset.data()};
    a.rows = kRows;
    a.hidden = kHidden;
    return a;
  };
  add_step(
      t.info, "gru, linear before reset", make_step(3), 8,
      [=, &t](Step& s) {
        GruStep a = arguments(s);
        a.h_gates = s.h_gates.data();
        t.gru_linear(a);
      },
      [=](const Step& s, int64_t r, int64_t j) {
        const auto hidden = [&](int64_t g) { return double(s.h_gates[(r * 3 + g) * kHidden + j]); };
        const double z = logistic(gate(s, r, 0, j) + hidden(0)),
                     reset = logistic(gate(s, r, 1, j) + hidden(1));
        return (1 - z) * std::tanh(gate(s, r, 2, j) + reset * hidden(2)) + z * s.state[r * kHidden + j];
      },
      &Step::h, out);
  add_step(
      t.info, "gru, reset", make_step(3), 6, [=, &t](Step& s) { t.gru_reset(arguments(s)); },
      [=](const Step& s, int64_t r, int64_t j) {
        return logistic(gate(s, r, 1, j)) * s.state[r * kHidden + j];
      },
      &Step::reset, out);
  add_step(
      t.info, "gru, finish", make_step(3), 4, [=, &t](Step& s) { t.gru_finish(arguments(s)); },
      [=](const Step& s, int64_t r, int64_t j) {
        const double z = gate(s, r, 0, j);  // activated by the part before
        return (1 - z) * std::tanh(gate(s, r, 2, j)) + z * s.state[r * kHidden + j];
      },
      &Step::h, out);
}

constexpr int64_t kElements = 16384, kChannels = 64;

template <class T>
void add_quantize(const QuantizeTable& t, const char* type, std::vector<Trial>& out) {
  const auto x = shared(random_floats(kElements, -5, 5));
  const auto codes = shared<T>(kElements);
  const auto floats = shared<float>(kElements);
  const QuantParams p{.scale = 0.03125f, .zero = std::is_signed_v<T> ? 3 : 120};
  const double size = sizeof(T) + 4.0;
  const QuantizeFn quantize = find_quantize(t, kDTypeOf<T>);
  out.push_back(make_trial(t.info, std::string("quantize_") + type, {.bytes = size * kElements},
                           [=] { quantize(x->data(), codes->data(), &p.scale, &p.zero, 1, 1, kElements, 1); },
                           {.n = kElements, .got = element_of(codes), .want = [=](int64_t i) {
                              return double(ref::quantize<T>((*x)[i], p));
                            }}));
  const auto values = shared(random_integers<T>(kElements, std::is_signed_v<T> ? -100 : 0, 100));
  const DequantizeFn dequantize = find_dequantize(t, kDTypeOf<T>);
  out.push_back(
      make_trial(t.info, std::string("dequantize_") + type, {.bytes = size * kElements},
                 [=] { dequantize(values->data(), floats->data(), &p.scale, &p.zero, 1, 1, kElements, 1); },
                 {.n = kElements, .got = element_of(floats), .want = [=](int64_t i) {
                    return double(ref::dequantize<T>((*values)[i], p));
                  }}));
}

template <class T>
void add_narrow(const QuantizeTable& t, int which, const char* type, std::vector<Trial>& out) {
  const auto sums = shared(random_integers<int32_t>(kElements, -30000, 30000));
  const auto multiplier = shared(random_floats(kChannels, 0.001f, 0.01f));
  const auto a = shared(random_integers<T>(kElements, 0, 100)), y = shared<T>(kElements);
  const int32_t zero = std::is_signed_v<T> ? 1 : 128;
  const RequantizeFn requantize = t.requantize[which];
  out.push_back(make_trial(t.info, std::string("requantize_") + type, {.bytes = 5.0 * kElements},
                           [=] {
                             requantize(sums->data(), y->data(), multiplier->data(), true, zero,
                                        kElements / kChannels, kChannels, 1);
                           },
                           {.n = kElements, .got = element_of(y), .want = [=](int64_t i) {
                              return double(
                                  ref::requantize<T>((*sums)[i], (*multiplier)[i % kChannels], zero));
                            }}));
  const QBinaryParams p{.a = {0.05f, 3}, .b = {0.04f, 7}, .y = {0.08f, 5}};
  for (const bool add : {true, false}) {
    const SpanFn fn = add ? t.add[which] : t.mul[which];
    out.push_back(make_trial(t.info, std::string(add ? "qlinear_add_" : "qlinear_mul_") + type,
                             {.bytes = 3.0 * kElements},
                             [=] { fn(a->data(), a->data(), y->data(), kElements, 1, 1, &p); },
                             {.n = kElements, .got = element_of(y), .want = [=](int64_t i) {
                                return double(ref::qlinear<T>(add, (*a)[i], (*a)[i], p));
                              }}));
  }
}

}  // namespace

void add_rnn_trials(const KernelInfo& row, std::vector<Trial>& out) {
  const auto& t = reinterpret_cast<const RnnTable&>(row);  // a table begins with its row
  add_step(
      row, "lstm", make_step(4), 7,
      [&t](Step& s) {
        LstmStep a{.gates = s.gates.data(), .c_prev = s.state.data(), .c = s.c.data(), .h = s.h.data()};
        a.rows = kRows;
        a.hidden = kHidden;
        t.lstm(a);
      },
      [](const Step& s, int64_t r, int64_t j) {
        const auto gate = [&](int64_t g) { return double(s.fresh[(r * 4 + g) * kHidden + j]); };
        const double cell =
            logistic(gate(2)) * s.state[r * kHidden + j] + logistic(gate(0)) * std::tanh(gate(3));
        return logistic(gate(1)) * std::tanh(cell);
      },
      &Step::h, out);
  add_gru(t, out);
  add_step(
      row, "rnn", make_step(1), 2,
      [&t](Step& s) {
        RnnStep a{.gates = s.gates.data(), .h = s.h.data()};
        a.rows = kRows;
        a.hidden = kHidden;
        t.rnn(a);
      },
      [](const Step& s, int64_t r, int64_t j) { return std::tanh(double(s.fresh[r * kHidden + j])); },
      &Step::h, out);
}

void add_quantize_trials(const KernelInfo& row, std::vector<Trial>& out) {
  const auto& t = reinterpret_cast<const QuantizeTable&>(row);
  add_quantize<uint8_t>(t, "u8", out);
  add_quantize<int8_t>(t, "i8", out);
  add_quantize<uint16_t>(t, "u16", out);
  add_quantize<int16_t>(t, "i16", out);
  add_narrow<uint8_t>(t, 0, "u8", out);
  add_narrow<int8_t>(t, 1, "i8", out);
  const auto x = shared(random_floats(kElements, -5, 7));
  const auto range = shared<float>(2);
  out.push_back(make_trial(row, "min_max", {.bytes = 4.0 * kElements},
                           [=, &t] { t.min_max(x->data(), kElements, &(*range)[0], &(*range)[1], 1); },
                           {.n = 2, .got = element_of(range), .want = [=](int64_t i) {
                              return double(i ? *std::max_element(x->begin(), x->end())
                                              : *std::min_element(x->begin(), x->end()));
                            }}));
}

void add_lookup_trials(const KernelInfo& row, std::vector<Trial>& out) {
  const auto& k = static_cast<const LookupKernel&>(row);
  const auto x = shared(random_integers<uint8_t>(kElements, 0, 255)), y = shared<uint8_t>(kElements);
  const auto table = shared(random_integers<uint8_t>(256, 0, 255));
  out.push_back(make_trial(row, "lookup", {.bytes = 2.0 * kElements},
                           [=, &k] { k.run(x->data(), y->data(), kElements, table->data()); },
                           {.n = kElements, .got = element_of(y), .want = [=](int64_t i) {
                              return double((*table)[(*x)[static_cast<size_t>(i)]]);
                            }}));
}

}  // namespace skyline::kernels
