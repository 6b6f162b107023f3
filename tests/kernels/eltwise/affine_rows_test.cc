#include <cmath>

#include "kernels/eltwise/eltwise.h"
#include "tests/kernels/levels.h"

using namespace skyline;
using namespace skyline::kernels;
using test::each_level;
using test::kThreadCounts;

namespace {

float number(int64_t i) {
  return static_cast<float>((i * 37 + 11) % 101) / 17.0f - 2.9f;
}

struct Case {
  int64_t rows, n, ldx, ldo, ldy;
};

}  // namespace

TEST_CASE("rows times, plus and at least: the same bits as one operation after the other") {
  const Case cases[] = {{1, 1, 1, 1, 1},     {5, 3, 3, 3, 3},      {7, 16, 16, 16, 16},
                        {9, 17, 40, 17, 23}, {3, 64, 256, 64, 64}, {4, 33, 33, 90, 33},
                        {300, 5, 7, 6, 5},   {0, 8, 8, 8, 8},      {2, 1000, 1000, 1000, 1024}};
  each_level([&](IsaSet isa) {
    const AffineRowsFn fn = eltwise_kernels(isa).affine_rows;
    for (const Case& c : cases) {
      for (int parts = 0; parts < 16; ++parts) {
        CAPTURE(c.rows);
        CAPTURE(c.n);
        CAPTURE(parts);
        std::vector<float> x(static_cast<size_t>(c.rows * c.ldx)), o(static_cast<size_t>(c.rows * c.ldo));
        std::vector<float> scale(static_cast<size_t>(c.n)), shift(static_cast<size_t>(c.n));
        for (size_t i = 0; i < x.size(); ++i) x[i] = number(static_cast<int64_t>(i));
        for (size_t i = 0; i < o.size(); ++i) o[i] = number(static_cast<int64_t>(3 * i + 1));
        for (size_t i = 0; i < scale.size(); ++i) {
          scale[i] = number(static_cast<int64_t>(5 * i));
          shift[i] = number(static_cast<int64_t>(7 * i));
        }
        if (c.rows > 1) x[static_cast<size_t>(c.ldx)] = std::nanf("");
        std::vector<float> want(static_cast<size_t>(c.rows * c.ldy), 77.0f);
        for (int64_t r = 0; r < c.rows; ++r) {
          for (int64_t i = 0; i < c.n; ++i) {
            float v = x[static_cast<size_t>(r * c.ldx + i)];
            if (parts & 1) v = v * scale[static_cast<size_t>(i)];
            if (parts & 2) v = v + shift[static_cast<size_t>(i)];
            if (parts & 4) v = v + o[static_cast<size_t>(r * c.ldo + i)];
            if ((parts & 8) && v < 0) v = 0;
            want[static_cast<size_t>(r * c.ldy + i)] = v;
          }
        }
        for (int threads : kThreadCounts) {
          std::vector<float> y(want.size(), 77.0f);
          run_affine_rows(fn,
                          {.x = x.data(),
                           .scale = parts & 1 ? scale.data() : nullptr,
                           .shift = parts & 2 ? shift.data() : nullptr,
                           .other = parts & 4 ? o.data() : nullptr,
                           .y = y.data(),
                           .ldx = c.ldx,
                           .ldo = c.ldo,
                           .ldy = c.ldy,
                           .n = c.n,
                           .relu = (parts & 8) != 0},
                          c.rows, threads);
          size_t wrong = 0;
          for (size_t i = 0; i < y.size(); ++i)
            wrong += !(y[i] == want[i] || (std::isnan(y[i]) && std::isnan(want[i])));
          CHECK(wrong == 0);
        }
      }
    }
  });
}
