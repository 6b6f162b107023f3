#include "kernels/pool/pool.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "skyline/half.h"
#include "tests/kernels/levels.h"

using namespace skyline;
using namespace skyline::kernels;
using test::each_level;
using test::kThreadCounts;

namespace {

struct Geometry {
  int64_t in[3], kernel[3], stride[3], dilation[3], begin[3], end[3];
  bool ceil;
};
const Geometry kGeometries[] = {
    {{1, 1, 20}, {1, 1, 3}, {1, 1, 2}, {1, 1, 1}, {0, 0, 1}, {0, 0, 1}, false},
    {{1, 9, 11}, {1, 3, 3}, {1, 2, 2}, {1, 1, 1}, {0, 1, 1}, {0, 1, 1}, false},
    {{1, 8, 10}, {1, 2, 2}, {1, 2, 2}, {1, 1, 1}, {0, 0, 0}, {0, 0, 0}, false},
    {{1, 10, 23}, {1, 3, 3}, {1, 1, 1}, {1, 1, 1}, {0, 1, 1}, {0, 1, 1}, false},
    {{1, 10, 10}, {1, 3, 3}, {1, 2, 2}, {1, 1, 1}, {0, 0, 0}, {0, 0, 0}, true},
    {{1, 7, 9}, {1, 2, 3}, {1, 3, 3}, {1, 2, 2}, {0, 1, 2}, {0, 0, 1}, true},
    {{4, 6, 5}, {2, 3, 2}, {2, 1, 1}, {1, 2, 1}, {1, 0, 1}, {0, 1, 0}, false},
    {{1, 5, 5}, {1, 5, 5}, {1, 1, 1}, {1, 1, 1}, {0, 0, 0}, {0, 0, 0}, false},
};

PoolShape shape_of(const Geometry& g, int64_t channels, bool last, bool include_pad) {
  PoolShape s;
  s.batch = 2;
  s.channels = channels;
  s.channels_last = last;
  s.count_include_pad = include_pad;
  for (int a = 0; a < 3; ++a) {
    s.in[a] = g.in[a];
    s.kernel[a] = g.kernel[a];
    s.stride[a] = g.stride[a];
    s.dilation[a] = g.dilation[a];
    s.pad_begin[a] = g.begin[a];
    s.pad_end[a] = g.end[a];
    s.out[a] = pool_out_size(g.in[a], g.kernel[a], g.stride[a], g.dilation[a], g.begin[a], g.end[a], g.ceil);
  }
  return s;
}

int64_t at(const PoolShape& s, const int64_t* size, int64_t n, int64_t c, int64_t d, int64_t h, int64_t w) {
  const int64_t p = (d * size[1] + h) * size[2] + w, plane = size[0] * size[1] * size[2];
  return s.channels_last ? (n * plane + p) * s.channels + c : (n * s.channels + c) * plane + p;
}

struct Result {
  double largest, sum;
  int64_t inside, counted;
};
// Every tap, one by one.
template <class T>
Result pooled(const PoolShape& s, const std::vector<T>& x, int64_t n, int64_t c, const int64_t* o) {
  Result r{-std::numeric_limits<double>::infinity(), 0, 0, 0};
  for (int64_t i = 0; i < s.kernel[0]; ++i) {
    for (int64_t j = 0; j < s.kernel[1]; ++j) {
      for (int64_t k = 0; k < s.kernel[2]; ++k) {
        const int64_t tap[3] = {i, j, k};
        int64_t p[3];
        bool inside = true, counted = true;
        for (int a = 0; a < 3; ++a) {
          p[a] = o[a] * s.stride[a] - s.pad_begin[a] + tap[a] * s.dilation[a];
          inside = inside && p[a] >= 0 && p[a] < s.in[a];
          counted = counted && p[a] < s.in[a] + s.pad_end[a];
        }
        r.counted += s.count_include_pad ? counted : inside;
        if (!inside) continue;
        ++r.inside;
        const double v = x[at(s, s.in, n, c, p[0], p[1], p[2])];
        r.largest = std::fmax(r.largest, v);
        r.sum += v;
      }
    }
  }
  return r;
}

template <class F>
void for_all(const PoolShape& s, F&& f) {
  for (int64_t n = 0; n < s.batch; ++n) {
    for (int64_t c = 0; c < s.channels; ++c) {
      for (int64_t i = 0; i < s.out[0] * s.out[1] * s.out[2]; ++i) {
        const int64_t o[3] = {i / s.out[2] / s.out[1], i / s.out[2] % s.out[1], i % s.out[2]};
        f(n, c, o, at(s, s.out, n, c, o[0], o[1], o[2]));
      }
    }
  }
}

template <class T>
void check_bytes(const PoolTable& t, const PoolShape& s) {
  const int64_t in = s.batch * s.channels * s.in[0] * s.in[1] * s.in[2];
  const int64_t out = s.batch * s.channels * s.out[0] * s.out[1] * s.out[2];
  constexpr auto least = std::numeric_limits<T>::min(), most = std::numeric_limits<T>::max();
  const auto x = test::Random(2).integers<T>(in, least, most);
  std::vector<T> y(out), z(out);
  const PoolQuant q{1.25f, 3, 7};
  for (const int threads : {1, 3}) {
    bool good = true;
    std::vector<std::byte> scratch(pool_scratch_bytes(s, threads) + 1);
    if constexpr (least == 0) {
      t.max_u8(s, x.data(), y.data(), scratch.data(), threads);
      t.average_u8(s, q, x.data(), z.data(), threads);
    } else {
      t.max_i8(s, x.data(), y.data(), scratch.data(), threads);
      t.average_i8(s, q, x.data(), z.data(), threads);
    }
    for_all(s, [&](int64_t n, int64_t c, const int64_t* o, int64_t to) {
      const Result r = pooled(s, x, n, c, o);
      if (r.inside == 0) return;
      good = good && y[to] == r.largest;
      const float centered = static_cast<float>(static_cast<int64_t>(r.sum) - r.inside * q.x_zero);
      const float v = std::nearbyint(centered * q.ratio / static_cast<float>(r.counted)) + 7;
      good = good && z[to] == static_cast<T>(std::clamp<float>(v, least, most));
    });
    CHECK(good);
  }
}

void check_halves(const PoolTable& t, PoolShape s) {
  const int64_t in = s.batch * s.in[0] * s.in[1] * s.in[2], out = s.batch * s.out[0] * s.out[1] * s.out[2];
  s.ldx = s.channels + 5;
  s.ldy = s.channels + 2;
  std::vector<float> x(in * s.channels);
  std::vector<uint16_t> narrow(in * s.ldx, 0x7fc0), y(out * s.ldy);  // NaN between pixels
  const auto values = test::Random(8).floats(in * s.channels, -3, 3);
  for (int64_t i = 0; i < in * s.channels; ++i) {
    uint16_t& to = narrow[i / s.channels * s.ldx + i % s.channels];
    to = f32_to_bf16_bits(i % 97 == 0 ? -INFINITY : i % 89 == 0 ? INFINITY : values[i]);
    x[i] = bf16_bits_to_f32(to);
  }
  for (const int threads : {1, 3}) {
    std::fill(y.begin(), y.end(), uint16_t{7});
    t.max_bf16(s, narrow.data(), y.data(), threads);
    bool good = true;
    for_all(s, [&](int64_t n, int64_t c, const int64_t* o, int64_t to) {
      const Result r = pooled(s, x, n, c, o);
      good = good && bf16_bits_to_f32(y[to / s.channels * s.ldy + to % s.channels]) == r.largest;
    });
    for (int64_t i = 0; i < out * s.ldy; ++i) good = good && (i % s.ldy < s.channels || y[i] == 7);
    CHECK(good);
  }
}

}  // namespace

TEST_CASE("max pooling of bf16, in which NaN of either sign wins") {
  each_level([](IsaSet isa) {
    const PoolTable& t = pool_kernels(isa);
    for (const Geometry& g : kGeometries) {
      for (const int64_t channels : {1, 31, 71, 128}) check_halves(t, shape_of(g, channels, true, false));
    }
    const PoolShape s{.in = {1, 1, 2}, .out = {1, 1, 1}, .kernel = {1, 1, 2}, .channels_last = true};
    for (const uint16_t nan : {0x7fc0, 0xffc0, 0x7f81, 0xff81, 0xffff}) {
      for (const uint16_t other : {0x7f80, 0xff80, 0x3f80, 0x8000}) {
        for (const bool first : {true, false}) {
          const uint16_t x[] = {first ? nan : other, first ? other : nan};
          uint16_t y = 0;
          t.max_bf16(s, x, &y, 1);
          CHECK(y == nan);
        }
      }
    }
  });
}

TEST_CASE("max and average pooling over all geometries and both layouts") {
  each_level([](IsaSet isa) {
    const PoolTable& t = pool_kernels(isa);
    for (const Geometry& g : kGeometries) {
      for (const int variant : {0, 1, 2, 3}) {
        const bool last = variant & 1, include = variant & 2;
        const PoolShape s = shape_of(g, last ? 71 : 3, last, include);
        const auto x = test::Random(6).floats(s.batch * s.channels * s.in[0] * s.in[1] * s.in[2]);
        const int64_t out = s.batch * s.channels * s.out[0] * s.out[1] * s.out[2];
        REQUIRE(out > 0);
        for (const int threads : kThreadCounts) {
          if (threads > 1 && include) continue;  // the divisor is all that differs
          std::vector<float> y(out), z(out);
          std::vector<float> scratch(pool_scratch_bytes(s, threads) / 4 + 1);
          t.max_f32(s, x.data(), y.data(), scratch.data(), threads);
          t.average_f32(s, x.data(), z.data(), scratch.data(), threads);
          bool good = true;
          for_all(s, [&](int64_t n, int64_t c, const int64_t* o, int64_t to) {
            const Result r = pooled(s, x, n, c, o);
            good = good && y[to] == r.largest;
            good = good && (r.counted == 0 || std::fabs(z[to] - r.sum / double(r.counted)) < 1e-6);
          });
          CHECK_MESSAGE(good, "kernel ", g.kernel[2], " stride ", g.stride[2], " last ", last, " include ",
                        include);
        }
        if (variant < 2) {
          check_bytes<uint8_t>(t, shape_of(g, last ? 263 : 2, last, include));
          check_bytes<int8_t>(t, shape_of(g, last ? 83 : 2, last, include));
        }
      }
    }
  });
}

TEST_CASE("pooling of pixels inside wider tensors") {
  each_level([](IsaSet isa) {
    const PoolTable& t = pool_kernels(isa);
    PoolShape s = shape_of(kGeometries[1], 35, true, false);
    const int64_t in = s.batch * s.in[1] * s.in[2], out = s.batch * s.out[1] * s.out[2], ldx = 41, ldy = 38;
    const auto x = test::Random(6).floats(in * ldx);
    std::vector<float> packed(in * 35), want(out * 35), got(out * ldy, 7);
    for (int64_t i = 0; i < in * 35; ++i) packed[i] = x[i / 35 * ldx + i % 35];
    for (const auto fn : {t.max_f32, t.average_f32}) {
      PoolShape wide = s;
      wide.ldx = ldx;
      wide.ldy = ldy;
      fn(s, packed.data(), want.data(), nullptr, 1);
      fn(wide, x.data(), got.data(), nullptr, 3);
      bool good = true;
      for (int64_t i = 0; i < out * ldy; ++i) {
        good = good && got[i] == (i % ldy < 35 ? want[i / ldy * 35 + i % ldy] : 7);
      }
      CHECK(good);
    }
  });
}

TEST_CASE("pooling output sizes") {
  CHECK(pool_out_size(224, 3, 2, 1, 1, 1, false) == 112);
  CHECK(pool_out_size(10, 3, 2, 1, 0, 0, true) == 5);
  CHECK(pool_out_size(10, 3, 2, 1, 0, 0, false) == 4);
  CHECK(pool_out_size(4, 1, 2, 1, 0, 1, true) == 2);  // a third window would start in the padding
  CHECK(pool_out_size(2, 5, 1, 1, 0, 0, false) == 0);
}

TEST_CASE("max pooling hands NaN on and gives indices") {
  const PoolShape s{.in = {1, 1, 6}, .out = {1, 1, 3}, .kernel = {1, 1, 2}, .stride = {1, 1, 2}};
  const std::vector<float> x = {1, NAN, 3, 2, 5, 5};
  std::vector<float> y(3), scratch(6);
  each_level([&](IsaSet isa) {
    for (const bool last : {false, true}) {
      PoolShape l = s;
      l.channels_last = last;
      pool_kernels(isa).max_f32(l, x.data(), y.data(), scratch.data(), 1);
      CHECK(std::isnan(y[0]));
      CHECK(y[1] == 3);
    }
  });
  std::vector<int64_t> indices(3);
  max_pool_indices_f32(s, x.data(), y.data(), indices.data(), false, 1);
  CHECK(indices == std::vector<int64_t>{1, 2, 4});
  lp_pool_f32(s, 2, x.data(), y.data(), 1);
  CHECK(y[1] == doctest::Approx(std::sqrt(13.0)));
}
