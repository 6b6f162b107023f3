// Trials of the elementwise tables: every function on one block that stays in L2.
#include <cmath>

#include "kernels/trial/parts.h"
#include "kernels/trial/unary_reference.h"
#include "skyline/half.h"

namespace skyline::kernels {
namespace {

constexpr int64_t kElements = 16384;
constexpr double kUnit = 1.2e-7;  // the last place of an f32 near 1

void add_unary(const EltwiseTable& t, const UnaryReference& r, std::vector<Trial>& out) {
  const bool positive = r.op == UnaryOp::sqrt || r.op == UnaryOp::rsqrt || r.op == UnaryOp::log;
  const auto x = shared(random_floats(kElements, positive ? 0.01f : -4, 4));
  const auto y = shared<float>(kElements);
  const UnaryFn fn = t.unary[static_cast<int>(r.op)];
  if (!fn) return;
  out.push_back(make_trial(t.info, r.name, {.bytes = 8.0 * kElements},
                           [=] { run_unary(fn, x->data(), y->data(), kElements, r.alpha, r.beta, 1); },
                           {.n = kElements,
                            .got = element_of(y),
                            .want = [=](int64_t i) { return r.reference((*x)[i], r.alpha, r.beta); },
                            .relative = r.ulps * kUnit,
                            .absolute = r.floor}));
}

struct BinaryReference {
  BinaryOp op;
  const char* name;
  double (*reference)(double a, double b);
  double ulps;
};
constexpr BinaryReference kBinary[] = {
    {BinaryOp::add, "add", [](double a, double b) { return a + b; }, 0.51},
    {BinaryOp::sub, "sub", [](double a, double b) { return a - b; }, 0.51},
    {BinaryOp::mul, "mul", [](double a, double b) { return a * b; }, 0.51},
    {BinaryOp::div, "div", [](double a, double b) { return a / b; }, 0.51},
    {BinaryOp::min, "min", [](double a, double b) { return std::fmin(a, b); }, 0},
    {BinaryOp::max, "max", [](double a, double b) { return std::fmax(a, b); }, 0},
    {BinaryOp::pow, "pow", [](double a, double b) { return std::pow(a, b); }, 4},
    {BinaryOp::prelu, "prelu", [](double a, double b) { return a < 0 ? a * b : a; }, 0.51},
    {BinaryOp::eq, "eq", [](double a, double b) { return double(a == b); }, 0},
    {BinaryOp::lt, "lt", [](double a, double b) { return double(a < b); }, 0},
    {BinaryOp::ge, "ge", [](double a, double b) { return double(a >= b); }, 0},
};

void add_binary(const EltwiseTable& t, const BinaryReference& r, std::vector<Trial>& out) {
  const auto a = shared(random_floats(kElements, r.op == BinaryOp::pow ? 0.1f : -4, 4));
  const auto b = shared(random_floats(2 * kElements, -3, 3));  // its second half: other numbers than a's
  const auto floats = shared<float>(kElements);
  const auto bools = shared<uint8_t>(kElements);
  const bool compare = is_compare(r.op);
  void* y = compare ? static_cast<void*>(bools->data()) : floats->data();
  const SpanFn fn = t.binary[static_cast<int>(r.op)];
  if (!fn) return;
  out.push_back(make_trial(t.info, r.name, {.bytes = (compare ? 9.0 : 12.0) * kElements},
                           [=] { fn(a->data(), b->data() + kElements, y, kElements, 1, 1, nullptr); },
                           {.n = kElements,
                            .got = compare ? element_of(bools) : element_of(floats),
                            .want = [=](int64_t i) { return r.reference((*a)[i], (*b)[kElements + i]); },
                            .relative = r.ulps * kUnit}));
}

void add_casts(const EltwiseTable& t, std::vector<Trial>& out) {
  const auto x = shared(random_floats(kElements, -100, 100));
  const auto narrow = shared<uint16_t>(kElements);
  const auto wide = shared<float>(kElements);
  const auto there = [&](const char* name, CastFn fn, uint16_t (*reference)(float)) {
    out.push_back(make_trial(t.info, name, {.bytes = 6.0 * kElements},
                             [=] { fn(x->data(), narrow->data(), kElements); },
                             {.n = kElements, .got = element_of(narrow), .want = [=](int64_t i) {
                                return double(reference((*x)[i]));
                              }}));
  };
  const auto back = [&](const char* name, CastFn fn, uint16_t (*encode)(float),
                        float (*reference)(uint16_t)) {
    const auto codes = shared<uint16_t>(kElements);
    for (int64_t i = 0; i < kElements; ++i) (*codes)[i] = encode((*x)[i]);
    out.push_back(make_trial(t.info, name, {.bytes = 6.0 * kElements},
                             [=] { fn(codes->data(), wide->data(), kElements); },
                             {.n = kElements, .got = element_of(wide), .want = [=](int64_t i) {
                                return double(reference((*codes)[i]));
                              }}));
  };
  there("f32_to_f16", t.f32_to_f16, f32_to_f16_bits);
  there("f32_to_bf16", t.f32_to_bf16, f32_to_bf16_bits);
  back("f16_to_f32", t.f16_to_f32, f32_to_f16_bits, f16_bits_to_f32);
  back("bf16_to_f32", t.bf16_to_f32, f32_to_bf16_bits, bf16_bits_to_f32);
}

// As in front of the convolutions of a dense block: rows inside a wider tensor.
void add_affine_rows(const EltwiseTable& t, std::vector<Trial>& out) {
  constexpr int64_t kRows = 196, kColumns = 96, kWide = 256;
  const auto x = shared(random_floats(kRows * kWide, -4, 4));
  const auto columns = shared(random_floats(2 * kColumns, -2, 2));
  const auto y = shared<float>(kRows * kColumns);
  AffineRows a{.x = x->data(), .scale = columns->data(), .shift = columns->data() + kColumns, .y = y->data()};
  a.ldx = kWide;
  a.ldy = a.n = kColumns;
  a.relu = true;
  out.push_back(make_trial(t.info, "affine_rows", {.bytes = 8.0 * kRows * kColumns},
                           [=, fn = t.affine_rows] { fn(a, kRows); },
                           {.n = kRows * kColumns,
                            .got = element_of(y),
                            .want =
                                [=](int64_t i) {
                                  const int64_t c = i % kColumns;
                                  const double v = double((*x)[i / kColumns * kWide + c]) * (*columns)[c];
                                  return std::fmax(0.0, v + (*columns)[kColumns + c]);
                                },
                            .relative = 1.1 * kUnit,
                            .absolute = 8 * kUnit}));
}

}  // namespace

void add_eltwise_trials(const KernelInfo& row, std::vector<Trial>& out) {
  const auto& t = reinterpret_cast<const EltwiseTable&>(row);  // a table begins with its row
  for (const UnaryReference& r : unary_references()) add_unary(t, r, out);
  for (const BinaryReference& r : kBinary) add_binary(t, r, out);
  add_casts(t, out);
  add_affine_rows(t, out);
}

}  // namespace skyline::kernels
