// Random small graphs: all passes together, and each alone, leave what is computed.
#include "graph/passes/layout.h"
#include "tests/graph/passes/build.h"

using namespace skyline;
using namespace skyline::test;

namespace {

// Grows a graph over [2, 4, h, w] tensors from a list of values to choose from.
class Grower {
 public:
  explicit Grower(uint32_t seed) : random_(seed) { b.random = Random(seed + 1000); }
  Build b;

  void grow(int nodes) {
    values_ = {b.input({2, 4, 6, 5}), b.input({2, 4, 6, 5})};
    for (int i = 0; i < nodes; ++i) values_.push_back(node());
    b.output(values_.back());
    b.output(pick());
  }

 private:
  ValueId pick() {
    return values_[values_.size() - 1 -
                   static_cast<size_t>(random_.below(static_cast<int>(std::min<size_t>(values_.size(), 4))))];
  }
  ValueId constant() {
    const std::vector<Dims> shapes{{}, {1}, {4, 1, 1}, {1, 4, 1, 1}, {5}, {6, 5}};
    return b.weights(shapes[static_cast<size_t>(random_.below(static_cast<int>(shapes.size())))], 0.5f, 1.0f);
  }
  ValueId conv(ValueId x) {
    const int64_t group = random_.below(3) == 0 ? 4 : 1, k = random_.below(2) ? 3 : 1;
    std::vector<ValueId> in{x, b.weights({4, 4 / group, k, k}, 0.5f)};
    if (random_.below(2)) in.push_back(b.weights({4}));
    const Dims pads(4, k / 2);
    if (k == 3 && random_.below(3) == 0) {
      in[0] = b.node("Pad", {x, b.ints({0, 0, 1, 1, 0, 0, 1, 1})});
      return b.node("Conv", in, {{"group", group}});
    }
    return b.node("Conv", in, {{"group", group}, {"pads", pads}});
  }
  ValueId node() {
    const ValueId x = pick();
    switch (random_.below(14)) {
      case 0:
      case 1:
      case 2:
        return conv(x);
      case 3:
        return b.node("BatchNormalization",
                      {x, b.weights({4}), b.weights({4}), b.weights({4}), b.weights({4}, 0.5f, 1.0f)});
      case 4: {
        const char* unary[] = {"Relu", "Sigmoid",  "Tanh", "HardSwish",
                               "Neg",  "Identity", "Gelu", "LeakyRelu"};
        return b.node(unary[random_.below(8)], {x});
      }
      case 5:
        return b.node("Clip", {x, b.number(-1), b.number(2)});
      case 6: {
        const char* binary[] = {"Add", "Mul", "Sub"};
        return b.node(binary[random_.below(3)], {x, pick()});
      }
      case 7:
      case 8: {
        const char* binary[] = {"Add", "Mul", "Sub", "Div"};
        return b.node(binary[random_.below(4)], {x, constant()});
      }
      case 9: {
        const ValueId c = b.node("Clip", {b.node("Add", {x, b.number(3)}), b.number(0), b.number(6)});
        return b.node("Div", {b.node("Mul", {x, c}), b.number(6)});
      }
      case 10: {
        const auto parts = b.nodes("Split", {x, b.ints({1, 3})}, 2, {{"axis", int64_t{1}}});
        return b.node("Concat", {parts[1], parts[0]}, {{"axis", int64_t{1}}});
      }
      case 11: {
        const ValueId t = b.node("Transpose", {x}, {{"perm", Dims{0, 2, 3, 1}}});
        const ValueId y = random_.below(2) ? b.node("Softmax", {t}) : b.node("Relu", {t});
        return b.node("Transpose", {y}, {{"perm", Dims{0, 3, 1, 2}}});
      }
      case 12:
        return b.node("Mul", {x, b.node("Sigmoid", {b.node("GlobalAveragePool", {x})})});
      default:
        return b.node("MaxPool", {x}, {{"kernel_shape", Dims{3, 3}}, {"pads", Dims{1, 1, 1, 1}}});
    }
  }

  Random random_;
  std::vector<ValueId> values_;
};

}  // namespace

TEST_CASE("random graphs compute the same after all passes, and after each") {
  std::vector<Pass> all(portable_passes().begin(), portable_passes().end());
  all.insert(all.end(), target_passes().begin(), target_passes().end());
  all.insert(all.end(), layout_passes().begin(), layout_passes().end());
  all.insert(all.end(), final_passes().begin(), final_passes().end());
  for (uint32_t seed = 0; seed < 60; ++seed) {
    CAPTURE(seed);
    Grower grower(seed);
    grower.grow(10);
    optimized(grower.b.g, all, 2e-4);
    Graph last = grower.b.g;
    passes::assign_channels_last(last);
    optimized(last, all, 2e-4);
    optimized(grower.b.g, {all[seed % all.size()]}, 2e-4);
  }
}
