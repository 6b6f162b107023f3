// Models of f16 and bf16 run on kernels, to within the rounding of their type.
#include "engine/optimize/widen.h"

#include "graph/ir/infer.h"
#include "skyline/half.h"
#include "tests/engine/lower/sweep.h"

using namespace skyline;
using namespace skyline::test;

namespace {

template <class T>
Tensor halves(Random& random, Dims dims, float scale) {
  const Tensor wide = random.f32(std::move(dims), -scale, scale);
  Tensor t(kDTypeOf<T>, wide.dims());
  for (int64_t i = 0; i < wide.size(); ++i) t.mutable_data<T>()[i] = T(wide.data<float>()[i]);
  return t;
}

// Convolution, activation, pool, product; the first activation is an output, too.
template <class T>
Graph network(Random& random) {
  Graph g;
  const auto node = [&](const char* op, std::vector<ValueId> in, Attrs attrs = {}) {
    const ValueId y = g.add_value(g.fresh_name("v"));
    g.add_node(op, g.fresh_name("n"), std::move(in), {y}, std::move(attrs));
    return y;
  };
  const auto weights = [&](Dims dims) {
    return g.add_constant(g.fresh_name("w"), halves<T>(random, std::move(dims), 0.3f));
  };
  const ValueId x = g.add_input("x", Fact(kDTypeOf<T>, {1, 5, 9, 8}));
  const ValueId conv = node("Conv", {x, weights({12, 5, 3, 3}), weights({12})}, {{"pads", Dims{1, 1, 1, 1}}});
  const ValueId a = node("Relu", {conv});
  const ValueId b =
      node("Add", {a, node("Cast", {node("Sigmoid", {a})}, {{"to", static_cast<int64_t>(kDTypeOf<T>)}})});
  const ValueId flat = node("Flatten", {node("GlobalAveragePool", {b})});
  g.add_output(node("Gemm", {flat, weights({12, 40}), weights({40})}), "y");
  g.add_output(a, "a");
  infer_graph(g);
  return g;
}

template <class T>
void check_network(double bound) {
  Random random(41);
  const Graph g = network<T>(random);
  const std::vector<Value> in = {halves<T>(random, {1, 5, 9, 8}, 1)};
  const Model model{Graph(g)};
  const std::vector<Value> want = Session(model, {.threads = 1, .optimize = false}).run(in);
  for (const std::string& level : isa_levels()) {
    CAPTURE(level);
    SessionOptions options{.threads = 1, .isa = level};
    const Session session(model, options);
    Profile profile;
    const std::vector<Value> got = session.run_profiled(in, profile);
    for (const StepRecord& r : profile) CHECK(r.kernel != "reference");
    for (size_t i = 0; i < want.size(); ++i) {
      const Tensor &x = got[i].tensor(), &y = want[i].tensor();
      REQUIRE(x.dtype() == kDTypeOf<T>);
      REQUIRE(x.dims() == y.dims());
      double worst = 0, scale = 0;
      for (int64_t k = 0; k < x.size(); ++k) {
        const double p = float(x.data<T>()[k]), q = float(y.data<T>()[k]);
        worst = std::max(worst, std::fabs(p - q));
        scale = std::max(scale, std::fabs(q));
      }
      CHECK(worst <= bound * scale);
    }
    options.threads = 3;
    const std::vector<Value> again = Session(model, options).run(in);
    for (size_t i = 0; i < want.size(); ++i) {
      const Tensor &x = got[i].tensor(), &y = again[i].tensor();
      CHECK(std::memcmp(x.raw(), y.raw(), static_cast<size_t>(x.bytes())) == 0);
    }
  }
}

}  // namespace

TEST_CASE("a model of f16 runs on kernels, its inputs and outputs stay f16") {
  check_network<Half>(0x1p-8);
}

TEST_CASE("a model of bf16 runs on kernels, its inputs and outputs stay bf16") {
  check_network<BFloat16>(0x1p-5);
}

TEST_CASE("widening leaves one cast at each input and output of the type") {
  Random random(42);
  Graph g = network<Half>(random);
  widen_halves(g, isa_detected());
  int narrow = 0, wide = 0;
  for (NodeId id : g.order()) {
    const Node& n = g.node(id);
    for (ValueId v : n.outputs) narrow += g.fact(v).dtype == DType::f16;
    wide += n.is("Cast") && g.is_input(n.in(0));
  }
  CHECK(narrow == 2);
  CHECK(wide == 1);
  for (ValueId v : g.outputs()) CHECK(g.fact(v).dtype == DType::f16);
}
