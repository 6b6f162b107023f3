#include "kernels/layout/layout.h"

#include <cstring>
#include <numeric>

#include "tests/kernels/levels.h"

using namespace skyline;
using namespace skyline::kernels;
using test::kThreadCounts;

namespace {

using Shape = std::vector<int64_t>;
int64_t product(const Shape& s) {
  return std::accumulate(s.begin(), s.end(), int64_t{1}, std::multiplies<>());
}

std::vector<uint8_t> noise(int64_t n) {
  return test::Random(17).integers<uint8_t>(n, 0, 255);
}

std::vector<uint8_t> transposed(const std::vector<uint8_t>& x, const Shape& shape,
                                const std::vector<int>& perm, size_t bytes) {
  const size_t rank = shape.size();
  Shape strides(rank, 1), index(rank, 0);
  for (size_t d = rank; d-- > 1;) strides[d - 1] = strides[d] * shape[d];
  std::vector<uint8_t> y(x.size());
  for (int64_t at = 0; at < product(shape); ++at) {
    int64_t from = 0, rest = at;
    for (size_t d = rank; d-- > 0;) {
      from += rest % shape[perm[d]] * strides[perm[d]];
      rest /= shape[perm[d]];
    }
    std::memcpy(&y[size_t(at) * bytes], &x[size_t(from) * bytes], bytes);
  }
  return y;
}

}  // namespace

TEST_CASE("transposes of every element size") {
  const struct {
    Shape shape;
    std::vector<int> perm;
  } cases[] = {{{5}, {0}},
               {{7, 9}, {1, 0}},
               {{130, 67}, {1, 0}},
               {{16, 16}, {1, 0}},
               {{2, 3, 40}, {0, 2, 1}},
               {{2, 5, 3, 8}, {0, 2, 1, 3}},
               {{3, 4, 5, 6}, {3, 2, 1, 0}},
               {{3, 1, 5, 6}, {2, 3, 1, 0}},
               {{2, 3, 4, 5, 6}, {4, 0, 3, 1, 2}},
               {{4, 6}, {0, 1}},
               {{1, 1}, {1, 0}},
               {{0, 3}, {1, 0}}};
  for (const auto& [shape, perm] : cases) {
    for (const size_t bytes : {1, 2, 4, 8, 3, 16}) {
      const auto x = noise(product(shape) * int64_t(bytes));
      const auto want = transposed(x, shape, perm, bytes);
      TransposePlan plan;
      REQUIRE(make_transpose_plan(shape, perm, bytes, &plan));
      for (const int threads : kThreadCounts) {
        std::vector<uint8_t> y(x.size() + 1, 7);
        run_transpose(plan, x.data(), y.data(), threads);
        y.pop_back();
        CHECK(y == want);
      }
    }
  }
}

TEST_CASE("channels first to channels last and back") {
  const auto x = noise(2 * 19 * 35 * 4);
  std::vector<uint8_t> y(x.size()), z(x.size());
  transpose_2d(x.data(), y.data(), 2, 19, 35, 4, 2);
  CHECK(y == transposed(x, {2, 19, 35}, {0, 2, 1}, 4));
  transpose_2d(y.data(), z.data(), 2, 35, 19, 4, 2);
  CHECK(z == x);
}

TEST_CASE("strided copies: a slice with a negative step, an expansion, a concatenation") {
  std::vector<float> x(4 * 6), y(3 * 3, -1.0f), wide(4 * 9, 0.0f);
  std::iota(x.begin(), x.end(), 0.0f);
  NdPlan plan;
  {  // x[1:4, 5:0:-2]
    const int64_t dims[] = {3, 3}, from[] = {6, -2}, to[] = {3, 1};
    const int64_t* strides[] = {from, to};
    REQUIRE(make_nd_plan(dims, strides, &plan));
    copy_strided(plan, 4, &x[6 + 5], y.data(), 2);
    CHECK(y == std::vector<float>{11, 9, 7, 17, 15, 13, 23, 21, 19});
  }
  {  // a row repeated
    const int64_t dims[] = {3, 3}, from[] = {0, 1}, to[] = {3, 1};
    const int64_t* strides[] = {from, to};
    REQUIRE(make_nd_plan(dims, strides, &plan));
    copy_strided(plan, 4, x.data(), y.data(), 1);
    CHECK(y == std::vector<float>{0, 1, 2, 0, 1, 2, 0, 1, 2});
  }
  {  // into columns 3.. of a wider tensor
    const int64_t dims[] = {4, 6}, from[] = {6, 1}, to[] = {9, 1};
    const int64_t* strides[] = {from, to};
    REQUIRE(make_nd_plan(dims, strides, &plan));
    copy_strided(plan, 4, x.data(), wide.data() + 3, 8);
    for (int i = 0; i < 4; ++i) {
      for (int j = 0; j < 9; ++j) CHECK(wide[i * 9 + j] == (j < 3 ? 0 : x[i * 6 + j - 3]));
    }
  }
}

TEST_CASE("gathers check their indices") {
  const std::vector<int32_t> x = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11};  // [2, 3, 2]
  const int64_t index[] = {2, -3, 1, 1};
  std::vector<int32_t> y(16);
  REQUIRE(gather_rows(x.data(), y.data(), 2, 3, 8, index, 4, 2));
  CHECK(y == std::vector<int32_t>{4, 5, 0, 1, 2, 3, 2, 3, 10, 11, 6, 7, 8, 9, 8, 9});
  const int32_t high[] = {3}, low[] = {-4};
  CHECK_FALSE(gather_rows(x.data(), y.data(), 2, 3, 8, high, 1, 1));
  CHECK_FALSE(gather_rows(x.data(), y.data(), 2, 3, 8, low, 1, 1));
}

TEST_CASE("maps pad in every mode") {
  const auto map = [](PadMode mode, int64_t in, int64_t begin, int64_t end) {
    std::vector<int32_t> m(static_cast<size_t>(in + begin + end));
    make_pad_map(mode, in, begin, end, m.data());
    return m;
  };
  using Map = std::vector<int32_t>;
  CHECK(map(PadMode::constant, 3, 1, 2) == Map{-1, 0, 1, 2, -1, -1});
  CHECK(map(PadMode::edge, 3, 2, 1) == Map{0, 0, 0, 1, 2, 2});
  CHECK(map(PadMode::reflect, 3, 3, 3) == Map{1, 2, 1, 0, 1, 2, 1, 0, 1});
  CHECK(map(PadMode::wrap, 3, 2, 2) == Map{1, 2, 0, 1, 2, 0, 1});
  CHECK(map(PadMode::constant, 4, -1, -2) == Map{1});
  CHECK(map(PadMode::reflect, 1, 1, 1) == Map{0, 0, 0});
}

TEST_CASE("mapped copies of every element size, with and without a trailing run") {
  const Shape x_dims = {3, 4, 5};
  for (const bool tail : {false, true}) {
    for (const size_t bytes : {1, 2, 4, 8}) {
      std::vector<int32_t> rows = {-1, 2, 0}, middle = {3, -1, 0, 1, 1, 2}, inner = {4, 4, -1, 0};
      MapPlan plan{.rank = 3, .x_dims = {3, 4, 5}, .y_dims = {3, 6, tail ? 5 : 4}};
      plan.map[0] = rows.data();
      plan.map[1] = middle.data();
      plan.map[2] = tail ? nullptr : inner.data();
      const auto x = noise(60 * int64_t(bytes)), fill = noise(int64_t(bytes));
      const int64_t n = plan.y_dims[2];
      for (const int threads : kThreadCounts) {
        std::vector<uint8_t> y(size_t(3 * 6 * n) * bytes);
        copy_mapped(plan, bytes, x.data(), y.data(), fill.data(), threads);
        for (int64_t i = 0; i < 3 * 6 * n; ++i) {
          const int a = rows[i / n / 6], b = middle[i / n % 6], c = tail ? int(i % n) : inner[i % n];
          const uint8_t* want =
              a < 0 || b < 0 || c < 0 ? fill.data() : &x[size_t((a * 4 + b) * 5 + c) * bytes];
          CHECK(std::memcmp(&y[size_t(i) * bytes], want, bytes) == 0);
        }
      }
    }
  }
}
