#include "kernels/trial/unary_reference.h"

#include <cmath>
#include <limits>

namespace skyline::kernels {
namespace {

constexpr double kInf = std::numeric_limits<double>::infinity();

double logistic(double x) {
  return x < 0 ? std::exp(x) / (1 + std::exp(x)) : 1 / (1 + std::exp(-x));
}
double soft(double x) {
  return std::fmax(x, 0) + std::log1p(std::exp(-std::fabs(x)));
}
double elu(double x, double a) {
  return x > 0 ? x : a * std::expm1(x);
}

const UnaryReference kReferences[] = {
    {UnaryOp::copy, "copy", [](double x, double, double) { return x; }, 0},
    {UnaryOp::neg, "neg", [](double x, double, double) { return -x; }, 0},
    {UnaryOp::abs, "abs", [](double x, double, double) { return std::fabs(x); }, 0},
    {UnaryOp::sqrt, "sqrt", [](double x, double, double) { return std::sqrt(x); }, 0.51},
    {UnaryOp::rsqrt, "rsqrt", [](double x, double, double) { return 1 / std::sqrt(x); }, 1.6},
    {UnaryOp::reciprocal, "reciprocal", [](double x, double, double) { return 1 / x; }, 0.51},
    {UnaryOp::square, "square", [](double x, double, double) { return x * x; }, 0.51},
    {UnaryOp::sign, "sign", [](double x, double, double) { return double((x > 0) - (x < 0)); }, 0},
    {UnaryOp::floor, "floor", [](double x, double, double) { return std::floor(x); }, 0},
    {UnaryOp::ceil, "ceil", [](double x, double, double) { return std::ceil(x); }, 0},
    {UnaryOp::round, "round", [](double x, double, double) { return std::nearbyint(x); }, 0},
    {UnaryOp::trunc, "trunc", [](double x, double, double) { return std::trunc(x); }, 0},
    {UnaryOp::relu, "relu", [](double x, double, double) { return x > 0 ? x : 0; }, 0},
    {UnaryOp::leaky_relu, "leaky", [](double x, double a, double) { return x < 0 ? a * x : x; }, 0.51, 0,
     0.1f},
    {UnaryOp::clip, "clip", [](double x, double a, double b) { return std::fmin(std::fmax(x, a), b); }, 0, 0,
     -1, 6},
    {UnaryOp::exp, "exp", [](double x, double, double) { return std::exp(x); }, 1.5},
    {UnaryOp::log, "log", [](double x, double, double) { return std::log(x); }, 1.5},
    {UnaryOp::sigmoid, "sigmoid", [](double x, double, double) { return logistic(x); }, 3},
    {UnaryOp::tanh, "tanh", [](double x, double, double) { return std::tanh(x); }, 2},
    {UnaryOp::erf, "erf", [](double x, double, double) { return std::erf(x); }, 2},
    {UnaryOp::gelu, "gelu",
     [](double x, double, double) { return x == -kInf ? 0 : x * 0.5 * std::erfc(-x * std::sqrt(0.5)); }, 4,
     3e-7},
    {UnaryOp::gelu_tanh, "gelu_tanh",
     [](double x, double, double) {
       return x < -1e6 ? 0 : x * logistic(2 * std::sqrt(2 / M_PI) * (x + 0.044715 * x * x * x));
     },
     4, 5e-7},
    {UnaryOp::silu, "silu", [](double x, double, double) { return x < -800 ? 0 : x * logistic(x); }, 4,
     1e-37},
    {UnaryOp::hard_sigmoid, "hard_sigmoid",
     [](double x, double a, double b) { return std::fmin(std::fmax(a * x + b, 0), 1); }, 1, 6e-8, 0.2f, 0.5f},
    {UnaryOp::hard_swish, "hard_swish",
     [](double x, double, double) { return x * std::fmin(std::fmax(x / 6 + 0.5, 0), 1); }, 3, 3e-7},
    {UnaryOp::softplus, "softplus", [](double x, double, double) { return soft(x); }, 2},
    {UnaryOp::softsign, "softsign",
     [](double x, double, double) { return std::isinf(x) ? NAN : x / (1 + std::fabs(x)); }, 1.5},
    {UnaryOp::elu, "elu", [](double x, double a, double) { return elu(x, a); }, 4, 0, 0.7f},
    {UnaryOp::selu, "selu", [](double x, double a, double b) { return b * elu(x, a); }, 5, 0, 1.6732632f,
     1.0507f},
    {UnaryOp::celu, "celu", [](double x, double a, double) { return x > 0 ? x : a * std::expm1(x / a); }, 5,
     0, 2},
    {UnaryOp::mish, "mish", [](double x, double, double) { return x < -800 ? 0 : x * std::tanh(soft(x)); }, 4,
     1e-37},
    {UnaryOp::thresholded_relu, "thresholded", [](double x, double a, double) { return x > a ? x : 0; }, 0, 0,
     1},
    {UnaryOp::affine, "affine", [](double x, double a, double b) { return a * x + b; }, 1, 2e-7, 3, 0.25f},
    {UnaryOp::scaled_tanh, "scaled_tanh", [](double x, double a, double b) { return a * std::tanh(b * x); },
     3, 0, 1.5f, 0.5f},
    {UnaryOp::shrink, "shrink",
     [](double x, double a, double b) { return x < -a  ? x + b
                                               : x > a ? x - b
                                                       : 0; }, 0.51, 0, 0.5f, 0.25f},
    {UnaryOp::sin, "sin", [](double x, double, double) { return std::sin(x); }, 2, 1e-7},
    {UnaryOp::cos, "cos", [](double x, double, double) { return std::cos(x); }, 2, 1e-7},
    {UnaryOp::atan, "atan", [](double x, double, double) { return std::atan(x); }, 2},
    {UnaryOp::asinh, "asinh", [](double x, double, double) { return std::asinh(x); }, 2},
    {UnaryOp::is_nan, "is_nan", [](double, double, double) { return 0.0; }, 0},
    {UnaryOp::is_inf, "is_inf", [](double x, double, double) { return std::isinf(x) ? 1.0 : 0.0; }, 0},
};

}  // namespace

std::span<const UnaryReference> unary_references() noexcept {
  return kReferences;
}

}  // namespace skyline::kernels
