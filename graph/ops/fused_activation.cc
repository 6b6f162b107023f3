#include <array>
#include <string_view>

#include "graph/ops/activation.h"
#include "graph/ops/numeric.h"

namespace skyline::ops {
namespace {

struct Row {
  std::string_view name;
  ActivationKind kind;
  size_t least, most;  // params
  float a, b;          // defaults
  int64_t flops;
};
constexpr std::array kRows = {
    Row{"none", ActivationKind::none, 0, 0, 0, 0, 0},
    Row{"relu", ActivationKind::relu, 0, 0, 0, 0, 1},
    Row{"clip", ActivationKind::clip, 2, 2, 0, 0, 2},
    Row{"leaky_relu", ActivationKind::leaky_relu, 0, 1, 0.01f, 0, 2},
    Row{"hard_sigmoid", ActivationKind::hard_sigmoid, 0, 2, 0.2f, 0.5f, 4},
    Row{"hard_swish", ActivationKind::hard_swish, 0, 0, 0, 0, 5},
    Row{"sigmoid", ActivationKind::sigmoid, 0, 0, 0, 0, 8},
    Row{"silu", ActivationKind::silu, 0, 0, 0, 0, 9},
    Row{"tanh", ActivationKind::tanh, 0, 0, 0, 0, 10},
    Row{"gelu", ActivationKind::gelu, 0, 0, 0, 0, 14},
    Row{"gelu_tanh", ActivationKind::gelu_tanh, 0, 0, 0, 0, 16},
};

}  // namespace

Activation make_activation(const std::string& name, const std::vector<float>& params) {
  for (const Row& r : kRows) {
    if (r.name != name) continue;
    if (params.size() < r.least || params.size() > r.most) {
      reject("activation " + name + " has " + std::to_string(params.size()) + " parameters");
    }
    const Activation f{r.kind, !params.empty() ? params[0] : r.a, params.size() > 1 ? params[1] : r.b};
    if (f.kind == ActivationKind::clip && !(f.a <= f.b)) reject("activation clip needs min <= max");
    return f;
  }
  reject("unknown activation '" + name + "'");
}

Activation parse_activation(const Attrs& attrs) {
  return make_activation(attrs.text("activation", "none"), attrs.reals("activation_params", {}));
}

int64_t activation_flops(ActivationKind kind) {
  for (const Row& r : kRows) {
    if (r.kind == kind) return r.flops;
  }
  return 0;
}

}  // namespace skyline::ops
