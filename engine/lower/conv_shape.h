#pragma once
// A convolution node as its kernels want to see it.
#include "engine/lower/lowering.h"
#include "kernels/conv/conv.h"

namespace skyline::lower {

struct ConvShape {
  kernels::ConvProblem problem;
  bool last = false;  // channels-last activations; problem.planar says whether the input is not
};

// Of a plain convolution of input 0 with weights at input `w`; f32 until the caller says otherwise. Nothing
// if it has no elements or a rank that no kernel has.
std::optional<ConvShape> conv_shape(const Lowering& l, size_t w);
// Every choice that packing depends on, as the name of the packed form.
std::string conv_form(const kernels::ConvPlan& plan);

}  // namespace skyline::lower
