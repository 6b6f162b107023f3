#pragma once
// Parts of the plain references that GEMM and convolution share.
#include <cstdint>

#include "kernels/gemm/epilogue.h"

namespace skyline::kernels {

double activate_reference(Activation f, double x) noexcept;

// Applies the epilogue to one sum and stores it at c[at], c being of type `out`.
void store_reference(const Epilogue& e, DType out, double sum, int64_t row, int64_t col, void* c,
                     int64_t at) noexcept;

}  // namespace skyline::kernels
