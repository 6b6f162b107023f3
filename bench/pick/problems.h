#pragma once
// The products and convolutions of a model, as its kernels meet them, and every way to compute each.
#include <functional>
#include <string>
#include <vector>

#include "kernels/conv/conv.h"
#include "kernels/gemm/gemm.h"
#include "skyline/model.h"

namespace skyline::pick {

struct Problem {
  std::string name;  // unique for its sizes: "conv 1x56x56x64 64 3x3/1", "gemm 128x768x768"
  int count = 0;     // in the model
  double flops = 0;
  bool is_conv = false;
  kernels::ConvProblem conv;  // one of the two
  kernels::GemmProblem gemm;
};

// The f32 ones with constant weights, of a model whose input shapes are fixed; none for another. As the
// engine would run it: after all passes.
std::vector<Problem> problems_of(const Model& model);

struct Candidate {
  std::string name;  // algorithm and kernel
  std::function<void()> run;
};

// What the engine would choose first, then every other choice that accepts the problem, with kernels of the
// same ISA level. They share their activations.
std::vector<Candidate> candidates_of(const Problem& problem, IsaSet isa, int threads, bool chosen_only);

}  // namespace skyline::pick
