// Products whose weights stay narrow in memory, against their reference.
#include <algorithm>
#include <cmath>

#include "tests/engine/lower/sweep.h"

using namespace skyline;
using namespace skyline::test;

TEST_CASE("MatMulNBits: blocks, zero points, few rows and many") {
  Random random(31);
  struct Shape {
    int64_t m, k, n, bits, block;
    bool zeros, bias;
  };
  for (const Shape& s : {Shape{1, 64, 40, 4, 32, false, false},
                         {1, 70, 33, 4, 16, true, true},
                         {3, 96, 130, 8, 128, false, true},
                         {5, 45, 20, 8, 16, true, false},
                         {60, 64, 40, 4, 32, true, true},
                         {49, 33, 17, 8, 64, false, false}}) {
    const int64_t blocks = (s.k + s.block - 1) / s.block;
    std::vector<Operand> in = {input(random.f32({s.m, s.k})),
                               constant(random.ints<uint8_t>({s.n, blocks, s.block * s.bits / 8}, 0, 255)),
                               constant(random.f32({s.n * blocks}, 0.001f, 0.01f))};
    in.push_back(s.zeros ? constant(random.ints<uint8_t>({s.n * ((blocks * s.bits + 7) / 8)}, 0, 255))
                         : Operand{});
    in.push_back(Operand{});
    in.push_back(s.bias ? constant(random.f32({s.n})) : Operand{});
    check_sweep({.op = "MatMulNBits",
                 .operands = in,
                 .attrs = {{"K", s.k}, {"N", s.n}, {"bits", s.bits}, {"block_size", s.block}},
                 .domain = "com.microsoft",
                 .tolerance = 5e-6f});
  }
}

TEST_CASE("a scale for each row of the integers") {
  Random random(32);
  for (const int64_t m : {1, 5, 70}) {
    check_sweep(
        {.op = "MatMulIntegerToFloat",
         .operands = {input(random.ints<int8_t>({m, 37}, -127, 127)),
                      constant(random.ints<int8_t>({37, 21}, -127, 127)),
                      input(random.f32({m}, -0.02f, -0.01f)), constant(random.f32({21}, 0.001f, 0.01f)),
                      Operand{}, Operand{}, constant(random.f32({21}))},
         .domain = "com.microsoft"});
  }
}

TEST_CASE("products of few rows take weights of 16 bits where the precision permits") {
  Random random(33);
  for (const char* rung : {"bf16", "f16"}) {
    for (const int64_t m : {1, 4}) {
      check_sweep({.op = "FusedMatMul",
                   .operands = {input(random.f32({m, 50})), constant(random.f32({50, 70})),
                                constant(random.f32({70})), input(random.f32({m, 70}))},
                   .attrs = {{"precision", std::string(rung)}, {"activation", std::string("relu")}},
                   .domain = "skyline",
                   .tolerance = 1.0f / 256});
    }
  }
}
