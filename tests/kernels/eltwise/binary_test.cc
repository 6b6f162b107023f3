#include <cmath>
#include <cstring>
#include <limits>

#include "kernels/eltwise/eltwise.h"
#include "skyline/half.h"
#include "tests/kernels/levels.h"

using namespace skyline;
using namespace skyline::kernels;
using test::each_level;
using test::kThreadCounts;

namespace {

using Shape = std::vector<int64_t>;

int64_t elements(const Shape& s) {
  int64_t n = 1;
  for (const int64_t d : s) n *= d;
  return n;
}

// The position in a tensor of shape `in` of what is broadcast to the flat position `at` of shape `out`.
int64_t source(const Shape& out, const Shape& in, int64_t at) {
  int64_t position = 0, step = 1;
  for (size_t d = 0; d < out.size(); ++d) {
    const size_t o = out.size() - 1 - d;
    const int64_t index = at % out[o];
    at /= out[o];
    if (d < in.size()) {
      const int64_t size = in[in.size() - 1 - d];
      if (size != 1) position += index * step;
      step *= size;
    }
  }
  return position;
}

struct Broadcast {
  Shape out, a, b;
};
const Broadcast kBroadcasts[] = {
    {{1}, {1}, {1}},
    {{}, {}, {}},
    {{37}, {37}, {37}},
    {{37}, {37}, {}},
    {{37}, {1}, {37}},
    {{3, 100}, {3, 100}, {100}},
    {{3, 100}, {3, 1}, {3, 100}},
    {{5, 7, 3}, {5, 7, 3}, {7, 1}},
    {{5, 7, 3}, {1, 7, 1}, {5, 1, 3}},
    {{2, 3, 4, 5}, {3, 1, 5}, {2, 1, 4, 1}},
    {{2, 16, 9}, {2, 16, 9}, {16, 1}},
    {{300, 3}, {300, 3}, {3}},
    {{0, 3}, {0, 3}, {3}},
    {{70, 9, 65}, {70, 1, 65}, {9, 1}},
};

bool make_plan(const Broadcast& c, NdPlan* plan) {
  const std::span<const int64_t> shapes[] = {c.a, c.b};
  return make_broadcast_plan(c.out, shapes, plan);
}

template <class T>
void check_integers(BinaryOp op, T (*reference)(T, T)) {
  test::Random random(5);
  const auto a = random.integers<T>(200, -20, 20), b = random.integers<T>(200, -20, 20);
  std::vector<T> y(200);
  find_binary(eltwise_kernels(kIsaNone), op, kDTypeOf<T>)(a.data(), b.data(), y.data(), 200, 1, 1, nullptr);
  for (size_t i = 0; i < y.size(); ++i) CHECK(y[i] == reference(a[i], b[i]));
}

}  // namespace

TEST_CASE("binary ops broadcast") {
  each_level([&](IsaSet isa) {
    const EltwiseTable& t = eltwise_kernels(isa);
    for (const Broadcast& c : kBroadcasts) {
      NdPlan plan;
      REQUIRE(make_plan(c, &plan));
      test::Random random(11);
      const auto a = random.floats(elements(c.a), -3, 3), b = random.floats(elements(c.b), 0.5f, 3);
      std::vector<float> y(static_cast<size_t>(elements(c.out)) + 1, -9.0f);
      std::vector<uint8_t> less(y.size(), 99);
      for (const int threads : kThreadCounts) {
        run_binary(find_binary(t, BinaryOp::sub, DType::f32), plan, 4, 4, a.data(), b.data(), y.data(),
                   nullptr, threads);
        run_binary(find_binary(t, BinaryOp::lt, DType::f32), plan, 4, 1, a.data(), b.data(), less.data(),
                   nullptr, threads);
        bool same = true;
        for (int64_t i = 0; i < elements(c.out); ++i) {
          const float u = a[source(c.out, c.a, i)], v = b[source(c.out, c.b, i)];
          same = same && y[i] == u - v && less[i] == (u < v);
        }
        CHECK(same);
        CHECK(y.back() == -9.0f);
        CHECK(less.back() == 99);
      }
    }
  });
}

TEST_CASE("shapes that do not broadcast are refused") {
  NdPlan plan;
  CHECK_FALSE(make_plan({{4}, {3}, {4}}, &plan));
  CHECK_FALSE(make_plan({{4}, {2, 4}, {4}}, &plan));
}

TEST_CASE("every f32 binary op against plain code") {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  std::vector<float> a = {nan, 1, nan, 0, -0.0f, INFINITY}, b = {1, nan, nan, 0, 2, -INFINITY};
  test::Random random(2);
  for (int i = 0; i < 200; ++i) {
    a.push_back(random.uniform(-4, 4));
    b.push_back(i % 9 ? random.uniform(-4, 4) : a.back());
  }
  const int64_t n = static_cast<int64_t>(a.size());
  const auto floor_mod = [](float u, float v) {
    const float r = std::fmod(u, v);
    return r != 0 && (r < 0) != (v < 0) ? r + v : r;
  };
  each_level([&](IsaSet isa) {
    const EltwiseTable& t = eltwise_kernels(isa);
    for (int op = 0; op <= static_cast<int>(BinaryOp::ge); ++op) {
      const BinaryOp o = static_cast<BinaryOp>(op);
      std::vector<float> y(a.size());
      std::vector<uint8_t> z(a.size());
      void* out = is_compare(o) ? static_cast<void*>(z.data()) : static_cast<void*>(y.data());
      find_binary(t, o, DType::f32)(a.data(), b.data(), out, n, 1, 1, nullptr);
      for (size_t i = 0; i < a.size(); ++i) {
        const float u = a[i], v = b[i];
        const bool either = std::isnan(u) || std::isnan(v);
        float want = 0;
        switch (o) {
          case BinaryOp::add:
            want = u + v;
            break;
          case BinaryOp::sub:
            want = u - v;
            break;
          case BinaryOp::mul:
            want = u * v;
            break;
          case BinaryOp::div:
            want = u / v;
            break;
          case BinaryOp::min:
            want = either ? nan : std::fmin(u, v);
            break;
          case BinaryOp::max:
            want = either ? nan : std::fmax(u, v);
            break;
          case BinaryOp::pow:
            want = std::pow(u, v);
            break;
          case BinaryOp::prelu:
            want = u < 0 ? u * v : u;
            break;
          case BinaryOp::mod:
            want = floor_mod(u, v);
            break;
          case BinaryOp::fmod:
            want = std::fmod(u, v);
            break;
          case BinaryOp::eq:
            want = u == v;
            break;
          case BinaryOp::ne:
            want = u != v;
            break;
          case BinaryOp::lt:
            want = u < v;
            break;
          case BinaryOp::le:
            want = u <= v;
            break;
          case BinaryOp::gt:
            want = u > v;
            break;
          default:
            want = u >= v;
            break;
        }
        const float got = is_compare(o) ? z[i] : y[i];
        INFO("op ", op, " of ", u, " and ", v);
        CHECK((got == want || (std::isnan(got) && std::isnan(want))));
      }
    }
    for (const float e : {2.0f, 3.0f, 0.5f, -1.0f, -0.5f, 1.0f, 1.7f, 0.0f}) {
      const auto x = random.floats(35, 0.1f, 5);
      std::vector<float> y(35);
      find_binary(t, BinaryOp::pow, DType::f32)(x.data(), &e, y.data(), 35, 1, 0, nullptr);
      for (size_t i = 0; i < 35; ++i)
        CHECK(y[i] == doctest::Approx(std::pow(double(x[i]), double(e))).epsilon(3e-7));
    }
  });
}

TEST_CASE("integer arithmetic") {
  check_integers<int64_t>(BinaryOp::add, [](int64_t a, int64_t b) { return a + b; });
  check_integers<int32_t>(BinaryOp::mul, [](int32_t a, int32_t b) { return a * b; });
  check_integers<int64_t>(BinaryOp::div, [](int64_t a, int64_t b) { return b ? a / b : 0; });
  check_integers<int64_t>(BinaryOp::mod, [](int64_t a, int64_t b) { return b ? ((a % b) + b) % b : 0; });
  check_integers<int32_t>(BinaryOp::fmod, [](int32_t a, int32_t b) { return b ? a % b : 0; });
  check_integers<int8_t>(BinaryOp::max, [](int8_t a, int8_t b) { return a > b ? a : b; });
  check_integers<int16_t>(BinaryOp::bit_xor,
                          [](int16_t a, int16_t b) { return static_cast<int16_t>(a ^ b); });
  const int64_t least = std::numeric_limits<int64_t>::min(), minus = -1;
  int64_t y = 0;
  find_binary(eltwise_kernels(kIsaNone), BinaryOp::div, DType::i64)(&least, &minus, &y, 1, 1, 1, nullptr);
  CHECK(y == least);
  const int64_t base = -3, exponent = 3;
  find_binary(eltwise_kernels(kIsaNone), BinaryOp::pow, DType::i64)(&base, &exponent, &y, 1, 1, 1, nullptr);
  CHECK(y == -27);
}

TEST_CASE("where broadcasts three operands of every element size") {
  const Shape out = {3, 5, 70}, cs = {3, 1, 70}, as = {5, 70}, bs = {1};
  NdPlan plan;
  const std::span<const int64_t> shapes[] = {cs, as, bs};
  REQUIRE(make_broadcast_plan(out, shapes, &plan));
  test::Random random(1);
  const auto c = random.integers<uint8_t>(elements(cs), 0, 1);
  for (const size_t bytes : {1, 2, 4, 8}) {
    const auto a = random.integers<uint8_t>(elements(as) * int64_t(bytes), 0, 255);
    const auto b = random.integers<uint8_t>(int64_t(bytes), 0, 255);
    std::vector<uint8_t> y(static_cast<size_t>(elements(out)) * bytes);
    run_where(plan, bytes, c.data(), a.data(), b.data(), y.data(), 2);
    for (int64_t i = 0; i < elements(out); ++i) {
      const uint8_t* want = c[source(out, cs, i)] ? &a[source(out, as, i) * int64_t(bytes)] : b.data();
      CHECK(std::memcmp(&y[size_t(i) * bytes], want, bytes) == 0);
    }
  }
}

TEST_CASE("casts") {
  test::Random random(4);
  std::vector<float> x = {0.0f,     -0.0f,    1.5f,  -1.5f,    255.9f, -3.7f,
                          65504.0f, 70000.0f, 1e-7f, INFINITY, NAN,    3e9f};
  for (int i = 0; i < 30; ++i) x.push_back(random.uniform(-100, 100));
  const int64_t n = static_cast<int64_t>(x.size());
  each_level([&](IsaSet isa) {
    const EltwiseTable& t = eltwise_kernels(isa);
    std::vector<uint16_t> h(x.size()), bf(x.size());
    std::vector<float> back(x.size());
    find_cast(t, DType::f32, DType::f16)(x.data(), h.data(), n);
    find_cast(t, DType::f32, DType::bf16)(x.data(), bf.data(), n);
    find_cast(t, DType::f16, DType::f32)(h.data(), back.data(), n);
    for (size_t i = 0; i < x.size(); ++i) {
      CHECK(h[i] == f32_to_f16_bits(x[i]));
      CHECK(bf[i] == f32_to_bf16_bits(x[i]));
      const float want = f16_bits_to_f32(h[i]);
      CHECK(std::memcmp(&back[i], &want, 4) == 0);
    }
    std::vector<int64_t> wide(x.size());
    std::vector<int32_t> word(x.size());
    std::vector<uint8_t> flag(x.size());
    find_cast(t, DType::f32, DType::i64)(x.data(), wide.data(), n);
    find_cast(t, DType::f32, DType::i32)(x.data(), word.data(), n);
    find_cast(t, DType::f32, DType::boolean)(x.data(), flag.data(), n);
    for (size_t i = 0; i < x.size(); ++i) {
      if (std::fabs(x[i]) < 1e9f) {
        CHECK(wide[i] == static_cast<int64_t>(x[i]));
        CHECK(word[i] == static_cast<int32_t>(x[i]));
      }
      CHECK(flag[i] == (x[i] != 0));
    }
    CHECK(word[11] == std::numeric_limits<int32_t>::min());
    CHECK(wide[10] == std::numeric_limits<int64_t>::min());
  });
  for (int from = 1; from < 17; ++from) {
    for (int to = 1; to < 17; ++to) {
      const auto plain = [](int d) { return d != 8 && d != 14 && d != 15; };
      if (from == to) continue;
      const bool found = find_cast(eltwise_kernels(kIsaNone), DType(from), DType(to)) != nullptr;
      CHECK(found == (plain(from) && plain(to)));
    }
  }
}

TEST_CASE("a chain equals its steps run one by one") {
  const Shape out = {4, 33, 40}, row = {40}, column = {33, 1}, one = {};
  NdPlan plan;
  const std::span<const int64_t> shapes[] = {out, row, column, one};
  REQUIRE(make_broadcast_plan(out, shapes, &plan));
  test::Random random(8);
  const auto x = random.floats(elements(out), -2, 2), r = random.floats(40), c = random.floats(33);
  const float s = 1.25f;
  each_level([&](IsaSet isa) {
    const EltwiseTable& t = eltwise_kernels(isa);
    const auto binary = [&](BinaryOp op) { return t.binary[static_cast<int>(op)]; };
    const auto unary = [&](UnaryOp op) { return t.unary[static_cast<int>(op)]; };
    Chain chain;
    chain.inputs = 4;
    chain.steps = 5;
    chain.step[0] = {.binary = binary(BinaryOp::mul), .a = 0, .b = 1};  // 4 = x * r
    chain.step[1] = {.unary = unary(UnaryOp::sigmoid), .a = 4};         // 5
    chain.step[2] = {.binary = binary(BinaryOp::add), .a = 5, .b = 2};  // 6 = 5 + c
    chain.step[3] = {.unary = unary(UnaryOp::square), .a = 3};          // 7 = s^2, a scalar
    chain.step[4] = {.binary = binary(BinaryOp::sub), .a = 7, .b = 6};  // 8
    chain.outputs = 2;
    chain.output[0] = 8;
    chain.output[1] = 6;
    REQUIRE(finish_chain(&chain));
    std::vector<float> y(x.size()), z(x.size());
    const float* inputs[] = {x.data(), r.data(), c.data(), &s};
    float* outputs[] = {y.data(), z.data()};
    for (const int threads : kThreadCounts) {
      run_chain(chain, plan, inputs, outputs, threads);
      for (size_t i = 0; i < x.size(); ++i) {
        const float product = x[i] * r[i % 40];
        float gate = 0;
        unary(UnaryOp::sigmoid)(&product, &gate, 1, 0, 0);
        const float sum = gate + c[i / 40 % 33];
        CHECK(z[i] == sum);
        CHECK(y[i] == s * s - sum);
      }
    }
    // Rows of 40 in wider tensors, x and y alike.
    constexpr int64_t ld = 47;
    const auto rows = static_cast<int64_t>(x.size()) / 40;
    std::vector<float> wide_x(static_cast<size_t>(rows * ld), 9), wide_y(wide_x.size(), 9),
        wide_z(wide_x.size(), 9);
    for (int64_t i = 0; i < rows * 40; ++i) wide_x[i / 40 * ld + i % 40] = x[i];
    const int64_t dims[] = {rows / 33, 33, 40}, sx[] = {33 * ld, ld, 1}, sr[] = {0, 0, 1}, sc[] = {0, 1, 0},
                  ss[] = {0, 0, 0};
    const int64_t* strides[] = {sx, sr, sc, ss};
    NdPlan wide;
    REQUIRE(make_nd_plan(dims, strides, &wide));
    Chain strided = chain;
    strided.out_width = 40;
    strided.out_ld = ld;
    REQUIRE(finish_chain(&strided));
    const float* wide_in[] = {wide_x.data(), r.data(), c.data(), &s};
    float* wide_out[] = {wide_y.data(), wide_z.data()};
    for (const int threads : kThreadCounts) {
      run_chain(strided, wide, wide_in, wide_out, threads);
      for (int64_t i = 0; i < rows * ld; ++i) {
        const bool inside = i % ld < 40;
        CHECK(wide_y[i] == (inside ? y[i / ld * 40 + i % ld] : 9));
        CHECK(wide_z[i] == (inside ? z[i / ld * 40 + i % ld] : 9));
      }
    }
    chain.step[0].b = 6;  // a value that does not exist yet
    CHECK_FALSE(finish_chain(&chain));
  });
}
