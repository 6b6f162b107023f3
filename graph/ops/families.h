#pragma once
// One function per family of operators, and the list of them that the registry walks.
#include <span>

#include "graph/ir/op.h"

namespace skyline::ops {

using Family = std::span<const OpDef> (*)();

std::span<const OpDef> identity_ops();

inline constexpr Family kFamilies[] = {
    identity_ops,
};

}  // namespace skyline::ops
