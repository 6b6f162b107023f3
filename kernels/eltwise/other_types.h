#pragma once
// Binary spans of the types other than f32; see find_binary. Built once: integers in models are shapes and
// masks.
#include "kernels/eltwise/eltwise.h"

namespace skyline::kernels {

SpanFn find_binary_other(BinaryOp op, DType type) noexcept;

}  // namespace skyline::kernels
