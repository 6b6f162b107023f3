#pragma once
// One function per family of operators, and the list of them that the registry walks.
#include <span>

#include "graph/ir/op.h"

namespace skyline::ops {

using Family = std::span<const OpDef> (*)();

std::span<const OpDef> identity_ops();
std::span<const OpDef> unary_ops();
std::span<const OpDef> unary_float_ops();
std::span<const OpDef> activation_ops();
std::span<const OpDef> arithmetic_ops();
std::span<const OpDef> compare_ops();
std::span<const OpDef> cast_ops();

inline constexpr Family kFamilies[] = {
    identity_ops,
    unary_ops,
    unary_float_ops,
    activation_ops,
    arithmetic_ops,
    compare_ops,
    cast_ops,
};

}  // namespace skyline::ops
