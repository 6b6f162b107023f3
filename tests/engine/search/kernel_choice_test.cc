#include "engine/search/kernel_choice.h"

#include <doctest/doctest.h>

#include <algorithm>

#include "kernels/gemm/tile.h"
#include "skyline/isa.h"

using namespace skyline;

namespace {

// A model of one product.
Model product(int64_t m, int64_t k, int64_t n) {
  Graph g;
  const ValueId x = g.add_input("x", Fact::fixed(DType::f32, {m, k})), y = g.add_value("y");
  Tensor w(DType::f32, {k, n});
  for (int64_t i = 0; i < w.size(); ++i) w.mutable_data<float>()[i] = static_cast<float>(i % 13) * 0.1f;
  g.add_node("MatMul", "product", {x, g.add_constant("w", w)}, {y});
  g.add_output(y, "y");
  return Model(std::move(g));
}

std::vector<Value> ones(int64_t m, int64_t k) {
  Tensor x(DType::f32, {m, k});
  std::fill_n(x.mutable_data<float>(), x.size(), 1.0f);
  return {Value(x)};
}

std::string kernel_of_first_product(const Session& s, const std::vector<Value>& x) {
  Profile profile;
  (void)s.run_profiled(x, profile);
  const auto most = std::max_element(profile.begin(), profile.end(),
                                     [](const auto& a, const auto& b) { return a.flops < b.flops; });
  return most == profile.end() ? "" : most->kernel;
}

}  // namespace

#if defined(__x86_64__)
TEST_CASE("a user's kernel is chosen where it is faster, and only there") {
  if (!usable(kernels::gemm_f32_avx2, isa_detected())) return;
  // The user's row does what the engine's own for AVX2 does, in a session that is held to SSE2.
  static kernels::GemmKernel mine = kernels::gemm_f32_avx2;
  mine.name = "mine_6x16";
  mine.needs = kIsaNone;
  SessionOptions o;
  o.threads = 1;
  o.isa = "sse2";
  o.kernels = {&mine};
  const Model model = product(96, 256, 256);
  const std::vector<Value> x = ones(96, 256);
  Variants variants(model, o);
  const std::string name = variants.flow().products[0].name;
  const auto chosen = choose_kernels(variants, x, nullptr, {}, {});
  REQUIRE(chosen.contains(name));
  CHECK(chosen.at(name) == "mine_6x16");
  variants.set_wishes({chosen, {}});
  const Session fast = variants.session({Precision::f32});
  CHECK(kernel_of_first_product(fast, x) == "mine_6x16");
  CHECK(kernel_of_first_product(Session(model, {.threads = 1, .isa = "sse2"}), x) != "mine_6x16");

  // One that is slower than the engine's is not.
  static kernels::GemmKernel slow = kernels::gemm_f32_sse2;
  slow.name = "slow_sse2";
  o.isa = "avx2";
  o.kernels = {&slow};
  for (const auto& [node, kernel] : choose_kernels(Variants(model, o), x, nullptr, {}, {}))
    CHECK(kernel != "slow_sse2");
}
#endif

TEST_CASE("kernels by wish: where they cannot take the node the default does; unknown nodes are errors") {
  const Model model = product(32, 64, 64);
  const std::vector<Value> x = ones(32, 64);
  const std::string name = Variants(model, {.threads = 1}).flow().products[0].name;
  const Session plain(model, {.threads = 1});
  const auto reference = plain.run(x);
  for (const char* wish : {"winograd", "no such kernel", "apart"}) {
    const Session s(model, {.threads = 1, .node_kernels = {{name, wish}}});
    CHECK(kernel_of_first_product(s, x) == kernel_of_first_product(plain, x));
  }
  const auto names = kernel_alternatives({.threads = 1});
  CHECK(std::find(names.begin(), names.end(), "winograd") != names.end());
  for (const std::string& wish : names) {
    const Session s(model, {.threads = 1, .node_kernels = {{name, wish}}});
    const auto made = s.run(x);
    const auto y = made[0].tensor().span<float>();
    const auto want = reference[0].tensor().span<float>();
    for (size_t i = 0; i < y.size(); ++i) CHECK(y[i] == doctest::Approx(want[i]).epsilon(1e-5));
  }
  CHECK_THROWS_AS(Session(model, {.threads = 1, .node_kernels = {{"nobody", "apart"}}}), Error);
}
