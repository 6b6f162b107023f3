#include <cmath>

#include "tests/graph/ops/infer_op.h"
#include "tests/graph/ops/run_op.h"

using namespace skyline;
using namespace skyline::test;

namespace {
Tensor ramp(Dims dims) {
  Tensor t(DType::f32, std::move(dims));
  for (int64_t i = 0; i < t.size(); ++i) t.mutable_data<float>()[i] = std::sin(static_cast<float>(3 * i + 1));
  return t;
}
Attrs equation(const char* text) {
  return {{"equation", std::string(text)}};
}
}  // namespace

TEST_CASE("DFT: the inverse undoes it, for prime, composite and power-of-two lengths") {
  for (int64_t n : {1, 2, 7, 12, 16, 30}) {
    const Tensor x = ramp({2, n, 1});
    const Tensor back = run_op("DFT", {run_op("DFT", {x})[0]}, {{"inverse", int64_t{1}}})[0];
    for (int64_t i = 0; i < 2 * n; ++i) {
      CHECK(back.data<float>()[2 * i] == doctest::Approx(x.data<float>()[i]).epsilon(1e-5));
      CHECK(std::abs(back.data<float>()[2 * i + 1]) < 1e-5f);
    }
    if (n % 2 != 0) continue;
    const Tensor half = run_op("DFT", {x}, {{"onesided", int64_t{1}}})[0];
    CHECK(half.dims() == Dims{2, n / 2 + 1, 2});
    const Tensor real = run_op("DFT", {half}, {{"onesided", int64_t{1}}, {"inverse", int64_t{1}}})[0];
    REQUIRE(real.dims() == x.dims());
    for (int64_t i = 0; i < 2 * n; ++i)
      CHECK(real.data<float>()[i] == doctest::Approx(x.data<float>()[i]).epsilon(1e-5));
  }
}

TEST_CASE("DFT, STFT: bad lengths and axes") {
  const Tensor x = ramp({1, 8, 1});
  CHECK(fails("DFT", {x, Tensor::scalar<int64_t>(0)}) == Code::invalid);
  CHECK(fails("DFT", {x, Tensor::scalar<int64_t>(int64_t{1} << 40)}) == Code::limit);
  CHECK(fails("DFT", {x, Tensor(), Tensor::scalar<int64_t>(2)}) == Code::invalid);
  CHECK(fails("DFT", {ramp({1, 8, 3})}) == Code::invalid);
  CHECK(fails("STFT", {x, Tensor::scalar<int64_t>(0), Tensor(), Tensor::scalar<int64_t>(4)}) ==
        Code::invalid);
  CHECK(fails("STFT", {x, Tensor::scalar<int64_t>(1), Tensor(), Tensor::scalar<int64_t>(9)}) ==
        Code::invalid);
  CHECK(infer_op("STFT", {Fact(DType::f32, {sym(0), 16, 1}), Tensor::scalar<int64_t>(4),
                          Fact(DType::f32, {8})}) == "f32[n,3,5,2]");
}

TEST_CASE("Windows: lengths") {
  CHECK(run_op("HannWindow", {Tensor::scalar<int64_t>(0)})[0].size() == 0);
  CHECK(std::isfinite(
      run_op("HammingWindow", {Tensor::scalar<int64_t>(1)}, {{"periodic", int64_t{0}}})[0].data<float>()[0]));
  CHECK(fails("BlackmanWindow", {Tensor::scalar<int64_t>(-1)}) == Code::invalid);
}

TEST_CASE("Einsum: products, traces, transposes, ellipses") {
  const Tensor a = Tensor::of<float>({2, 2}, {1, 2, 3, 4}), b = Tensor::of<float>({2, 2}, {5, 6, 7, 8});
  CHECK(values<float>(run_op("Einsum", {a, b}, equation("ij,jk->ik"))[0]) ==
        std::vector<float>{19, 22, 43, 50});
  CHECK(values<float>(run_op("Einsum", {a}, equation("ii"))[0]) == std::vector<float>{5});
  CHECK(values<float>(run_op("Einsum", {a}, equation("ba"))[0]) == std::vector<float>{1, 3, 2, 4});
  CHECK(values<float>(run_op("Einsum", {a, Tensor::of<float>({2}, {10, 1})},
                             equation("...i, i -> ..."))[0]) == std::vector<float>{12, 34});
  CHECK(infer_op("Einsum", {Fact(DType::f32, {sym(0), 4, 8}), Fact(DType::f32, {sym(0), 8, sym(1)})},
                 equation("bij,bjk->bki")) == "f32[n,m,4]");
  for (const char* bad : {"ij,jk->iz", "ij->ij", "ijk,jk->i", "i1,jk->i", "ij,jk->ii", "......,jk"})
    CHECK(fails("Einsum", {a, b}, equation(bad)) == Code::invalid);
  CHECK(fails("Einsum", {a, Tensor::of<float>({3}, {1, 2, 3})}, equation("ij,j->i")) == Code::invalid);
}

TEST_CASE("Det") {
  CHECK(values<float>(run_op("Det", {Tensor::of<float>({2, 2, 2}, {0, 1, 2, 3, 1, 2, 2, 4})})[0]) ==
        std::vector<float>{-2, 0});
  CHECK(values<float>(run_op("Det", {Tensor(DType::f32, {1, 0, 0})})[0]) == std::vector<float>{1});
  CHECK(fails("Det", {ramp({2, 3})}) == Code::invalid);
}
