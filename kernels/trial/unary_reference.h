#pragma once
// What unary functions are in float64, and how far a kernel may be off.
#include <span>

#include "kernels/eltwise/eltwise.h"

namespace skyline::kernels {

struct UnaryReference {
  UnaryOp op;
  const char* name;
  double (*reference)(double x, double alpha, double beta);
  double ulps;       // allowed, in units of the last place of the result
  double floor = 0;  // or this much, absolutely
  float alpha = 0, beta = 0;
};
std::span<const UnaryReference> unary_references() noexcept;

}  // namespace skyline::kernels
