#include "kernels/attention/attention.h"

#include <cmath>
#include <cstring>

#include "kernels/base/memory.h"
#include "skyline/half.h"
#include "tests/kernels/guarded.h"
#include "tests/kernels/levels.h"

using namespace skyline;
using namespace skyline::kernels;
using test::each_level;

namespace {

// One problem with its heads in the order [item, len, group, size] or [item, group, len, size].
struct Problem {
  AttentionShape shape;
  bool heads_inside = false;  // of Q and Y
  bool keys_transposed = false;
  MaskKind mask = MaskKind::none;
  bool mask_per_key = true;
  bool ragged = false;  // lengths and past per item
  float masked_value = -INFINITY;
};

struct Data {
  std::vector<float> q, k, v, add;
  std::vector<uint16_t> q16, k16, v16;
  std::vector<uint8_t> keep;
  std::vector<int64_t> q_items, k_items, v_items, y_items, groups, y_groups, mask_items, lengths, past;
};

Data make_data(const Problem& p, test::Random& random) {
  const AttentionShape& s = p.shape;
  Data d;
  d.q = random.floats(s.items * s.group * s.q_len * s.size, -2, 2);
  d.k = random.floats(s.items * s.kv_len * s.size, -2, 2);
  d.v = random.floats(s.items * s.kv_len * s.v_size);
  d.add = random.floats(s.items * s.q_len * s.kv_len, -1, 1);
  d.keep = random.integers<uint8_t>(s.items * s.q_len * s.kv_len, 0, 1);
  for (size_t i = 0; i < d.add.size(); i += 7) d.add[i] = -INFINITY;
  for (int64_t i = 0; i < s.items; ++i) {
    d.q_items.push_back(i * s.group * s.q_len * s.size);
    d.k_items.push_back(i * s.kv_len * s.size);
    d.v_items.push_back(i * s.kv_len * s.v_size);
    d.y_items.push_back(i * s.group * s.q_len * s.v_size);
    d.mask_items.push_back(i * s.q_len * (p.mask_per_key ? s.kv_len : 1));
    d.lengths.push_back(random.below(s.kv_len + 1));
    d.past.push_back(random.below(s.kv_len));
  }
  for (int64_t g = 0; g < s.group; ++g) {
    d.groups.push_back(g * s.size * (p.heads_inside ? 1 : s.q_len));
    d.y_groups.push_back(g * s.v_size * (p.heads_inside ? 1 : s.q_len));
  }
  return d;
}

AttentionArgs make_args(const Problem& p, const Data& d) {
  const AttentionShape& s = p.shape;
  AttentionArgs a;
  a.q = d.q.data();
  a.k = d.k.data();
  a.v = d.v.data();
  a.q_at = {d.q_items.data(), d.groups.data(), s.size * (p.heads_inside ? s.group : 1), 1};
  a.y_at = {d.y_items.data(), d.y_groups.data(), s.v_size * (p.heads_inside ? s.group : 1), 1};
  a.k_at = {d.k_items.data(), nullptr, s.size, 1};
  if (p.keys_transposed) a.k_at = {d.k_items.data(), nullptr, 1, s.kv_len};
  a.v_at = {d.v_items.data(), nullptr, s.v_size, 1};
  a.mask_kind = p.mask;
  a.mask = p.mask == MaskKind::add ? static_cast<const void*>(d.add.data()) : d.keep.data();
  a.mask_at = {d.mask_items.data(), nullptr, p.mask_per_key ? s.kv_len : 1, p.mask_per_key ? 1 : 0};
  a.masked_value = p.masked_value;
  if (p.ragged) {
    a.lengths = d.lengths.data();
    a.past = d.past.data();
  }
  return a;
}

// Row r of group g of an item, in double, as the definition says.
std::vector<double> reference_row(const Problem& p, const AttentionArgs& a, const Data& d, int64_t item,
                                  int64_t g, int64_t i) {
  const AttentionShape& s = p.shape;
  std::vector<double> score(static_cast<size_t>(s.kv_len), -INFINITY), y(static_cast<size_t>(s.v_size), 0.0);
  const int64_t at = i + (a.past ? a.past[item] : 0), length = a.lengths ? a.lengths[item] : s.kv_len;
  double top = -INFINITY, sum = 0;
  for (int64_t j = 0; j < length; ++j) {
    if ((s.causal && j > at) || (s.left >= 0 && j < at - s.left) || (s.right >= 0 && j > at + s.right))
      continue;
    double x = 0;
    for (int64_t e = 0; e < s.size; ++e) {
      const int64_t q = a.q_at.items[item] + a.q_at.groups[g] + i * a.q_at.row + e,
                    k = a.k_at.items[item] + j * a.k_at.row + e * a.k_at.column;
      x += static_cast<double>(d.q[static_cast<size_t>(q)]) * d.k[static_cast<size_t>(k)];
    }
    x *= s.scale;
    if (s.softcap > 0) x = s.softcap * std::tanh(x / s.softcap);
    const int64_t m =
        p.mask == MaskKind::none ? 0 : a.mask_at.items[item] + i * a.mask_at.row + j * a.mask_at.column;
    if (p.mask == MaskKind::add) x += static_cast<const float*>(a.mask)[m];
    if (p.mask == MaskKind::keep && !static_cast<const uint8_t*>(a.mask)[m]) x = a.masked_value;
    if (p.mask == MaskKind::drop && static_cast<const uint8_t*>(a.mask)[m]) x = a.masked_value;
    score[static_cast<size_t>(j)] = x;
    top = std::max(top, x);
  }
  for (double& x : score) sum += x = top == -INFINITY ? 0 : std::exp(x - top);
  for (int64_t j = 0; j < s.kv_len; ++j) {
    for (int64_t e = 0; e < s.v_size; ++e)
      y[static_cast<size_t>(e)] += score[static_cast<size_t>(j)] / sum *
                                   d.v[static_cast<size_t>(a.v_at.items[item] + j * a.v_at.row + e)];
  }
  for (double& x : y) {
    if (sum == 0) x = s.zero_if_masked ? 0 : NAN;
  }
  return y;
}

std::vector<float> run(const Problem& p, AttentionArgs a, IsaSet isa, int threads, int cut_for = 0) {
  const AttentionShape& s = p.shape;
  const AttentionPlan plan =
      attention_plan(s, p.keys_transposed ? s.kv_len : 1, isa, cut_for ? cut_for : threads);
  const AlignedBuffer w = aligned_alloc_bytes(attention_workspace_bytes(plan, threads));
  Guarded<float> y(static_cast<size_t>(s.items * s.group * s.q_len * s.v_size));
  a.y = y.data();
  attention_run(plan, a, w.get(), threads);
  return {y.span().begin(), y.span().end()};
}

void check(const Problem& p, IsaSet isa, uint64_t seed) {
  test::Random random(seed);
  const AttentionShape& s = p.shape;
  const Data d = make_data(p, random);
  AttentionArgs a = make_args(p, d);
  const Guarded<float> q(d.q), k(d.k), v(d.v);
  a.q = const_cast<Guarded<float>&>(q).data();
  a.k = const_cast<Guarded<float>&>(k).data();
  a.v = const_cast<Guarded<float>&>(v).data();
  const std::vector<float> got = run(p, a, isa, 1);
  double worst = 0;
  bool special = true;
  for (int64_t item = 0; item < s.items; ++item) {
    for (int64_t g = 0; g < s.group; ++g) {
      for (int64_t i = 0; i < s.q_len; ++i) {
        const auto want = reference_row(p, a, d, item, g, i);
        for (int64_t e = 0; e < s.v_size; ++e) {
          const float have =
              got[static_cast<size_t>(a.y_at.items[item] + a.y_at.groups[g] + i * a.y_at.row + e)];
          const double wanted = want[static_cast<size_t>(e)];
          if (std::isnan(wanted)) {
            special = special && std::isnan(have);
          } else {
            worst = std::isnan(have) ? INFINITY : std::max(worst, std::fabs(have - wanted));
          }
        }
      }
    }
  }
  INFO("items ", s.items, " group ", s.group, " q ", s.q_len, " kv ", s.kv_len, " size ", s.size, " v ",
       s.v_size, " mask ", static_cast<int>(p.mask), " causal ", s.causal);
  CHECK(special);
  CHECK(worst < 3e-6);
  for (const int threads : test::kThreadCounts) {
    const auto same = run(p, a, isa, threads);
    CHECK(std::memcmp(same.data(), got.data(), got.size() * 4) == 0);
  }
}

}  // namespace

TEST_CASE("attention over all tails, orders of heads and storage of keys") {
  each_level([&](IsaSet isa) {
    const int64_t shapes[][6] = {// items, group, q_len, kv_len, size, v_size
                                 {1, 1, 1, 1, 1, 1},    {2, 1, 1, 77, 64, 64},  {2, 2, 2, 33, 8, 8},
                                 {3, 1, 5, 16, 13, 7},  {1, 3, 7, 19, 32, 48},  {2, 1, 37, 65, 16, 33},
                                 {1, 1, 13, 530, 8, 5}, {2, 4, 1, 600, 24, 70}, {1, 2, 60, 40, 64, 64}};
    uint64_t seed = 1;
    for (const auto& [items, group, q_len, kv_len, size, v_size] : shapes) {
      Problem p;
      p.shape = {.items = items,
                 .group = group,
                 .q_len = q_len,
                 .kv_len = kv_len,
                 .size = size,
                 .v_size = v_size,
                 .scale = 0.3f};
      for (const bool inside : {false, true}) {
        p.heads_inside = inside;
        p.keys_transposed = (seed & 1) != 0;
        check(p, isa, ++seed);
      }
    }
  });
}

TEST_CASE("attention under masks, frontiers, windows and lengths") {
  each_level([&](IsaSet isa) {
    uint64_t seed = 50;
    for (const int64_t q_len : {2, 21}) {
      for (const MaskKind kind : {MaskKind::none, MaskKind::add, MaskKind::keep, MaskKind::drop}) {
        for (const int64_t kv_len : {23, 560}) {
          Problem p;
          p.mask = kind;
          p.shape = {.items = 2,
                     .group = 2,
                     .q_len = q_len,
                     .kv_len = kv_len,
                     .size = 9,
                     .v_size = 10,
                     .scale = 0.4f};
          p.shape.zero_if_masked = (seed & 1) != 0;
          check(p, isa, ++seed);
          p.mask_per_key = false;
          p.masked_value = -3;
          p.shape.softcap = 2;
          check(p, isa, ++seed);
          p.mask_per_key = true;
          p.shape.causal = true;
          check(p, isa, ++seed);
          p.ragged = true;
          check(p, isa, ++seed);
          p.shape.causal = false;
          p.shape.left = 3;
          p.shape.right = kv_len / 3;
          check(p, isa, ++seed);
        }
      }
    }
  });
}

namespace {

struct Types {
  DType q, k, v, y;
};

// The result in f32, which has bf16's bits where that is the type.
std::vector<float> run_bf16(const Problem& p, const Data& d, const Types& t, IsaSet isa, int threads,
                            int cut_for) {
  const AttentionShape& s = p.shape;
  const AttentionPlan plan = attention_plan(s, p.keys_transposed ? s.kv_len : 1, isa, cut_for);
  REQUIRE(plan.bf16 != nullptr);
  const AlignedBuffer w = aligned_alloc_bytes(attention_workspace_bytes(plan, threads));
  const auto count = static_cast<size_t>(s.items * s.group * s.q_len * s.v_size);
  AttentionArgs a = make_args(p, d);
  Guarded<float> q(d.q), k(d.k), v(d.v);
  Guarded<uint16_t> q16(d.q16), k16(d.k16), v16(d.v16);
  const auto pick = [](DType type, Guarded<float>& f, Guarded<uint16_t>& h) -> const void* {
    return type == DType::f32 ? static_cast<const void*>(f.data()) : h.data();
  };
  a.q = pick(t.q, q, q16);
  a.k = pick(t.k, k, k16);
  a.v = pick(t.v, v, v16);
  Guarded<float> y(count);
  Guarded<uint16_t> y16(count);
  a.y = t.y == DType::f32 ? static_cast<void*>(y.data()) : y16.data();
  attention_run(plan, a, w.get(), threads);
  std::vector<float> out(y.span().begin(), y.span().end());
  for (size_t i = 0; t.y == DType::bf16 && i < count; ++i) out[i] = bf16_bits_to_f32(y16.data()[i]);
  return out;
}

// Factors are rounded once more at most: scores by 2^-8 of themselves, and so are their exponentials and V.
void check_bf16(Problem p, const Types& t, IsaSet isa, uint64_t seed) {
  p.shape.precision = Precision::bf16;
  p.shape.q = t.q;
  p.shape.k = t.k;
  p.shape.v = t.v;
  p.shape.y = t.y;
  test::Random random(seed);
  const AttentionShape& s = p.shape;
  Data d = make_data(p, random);
  for (auto [from, to] : {std::pair{&d.q, &d.q16}, {&d.k, &d.k16}, {&d.v, &d.v16}}) {
    for (float& x : *from) {
      to->push_back(f32_to_bf16_bits(x / 2));
      x = bf16_bits_to_f32(to->back());  // what lies in memory is exact
    }
  }
  const std::vector<float> got = run_bf16(p, d, t, isa, 1, 1);
  const AttentionArgs a = make_args(p, d);
  double worst = 0;
  for (int64_t item = 0; item < s.items; ++item) {
    for (int64_t g = 0; g < s.group; ++g) {
      for (int64_t i = 0; i < s.q_len; ++i) {
        const auto want = reference_row(p, a, d, item, g, i);
        for (int64_t e = 0; e < s.v_size; ++e) {
          const double
              have = got[static_cast<size_t>(a.y_at.items[item] + a.y_at.groups[g] + i * a.y_at.row + e)],
              wanted = want[static_cast<size_t>(e)];
          CHECK(std::isnan(have) == std::isnan(wanted));
          if (!std::isnan(wanted)) worst = std::max(worst, std::fabs(have - wanted));
        }
      }
    }
  }
  INFO("items ", s.items, " group ", s.group, " q ", s.q_len, " kv ", s.kv_len, " size ", s.size, " v ",
       s.v_size, " mask ", static_cast<int>(p.mask), " types ", static_cast<int>(t.q), static_cast<int>(t.k));
  CHECK(worst < 0.012);
  for (const int threads : test::kThreadCounts) {
    const auto same = run_bf16(p, d, t, isa, threads, threads);
    CHECK(std::memcmp(same.data(), got.data(), got.size() * 4) == 0);
  }
}

constexpr DType kF32 = DType::f32, kBf16 = DType::bf16;
constexpr Types kTypes[] = {{kF32, kF32, kF32, kF32},
                            {kBf16, kBf16, kBf16, kBf16},
                            {kBf16, kF32, kBf16, kF32},
                            {kF32, kBf16, kF32, kBf16}};

}  // namespace

TEST_CASE("attention on tiles of bf16: tails, types, masks, lengths and blocks of keys") {
  const AttentionShape any{.group = 1, .q_len = 16, .kv_len = 16, .size = 16, .v_size = 16};
  AttentionShape rung = any;
  rung.precision = Precision::bf16;
  CHECK(attention_bf16(any, isa_detected()) == nullptr);
  CHECK(attention_bf16(rung, kIsaAvx512) == nullptr);
  const IsaSet isa = isa_detected();
  if (!attention_bf16(rung, isa)) {
    MESSAGE("skipped: this CPU has no tiles of bf16");
    return;
  }
  const int64_t shapes[][6] = {// items, group, q_len, kv_len, size, v_size
                               {1, 1, 16, 16, 16, 16},   {2, 1, 37, 65, 16, 33},   {2, 3, 11, 47, 24, 70},
                               {1, 2, 60, 40, 64, 64},   {1, 1, 130, 128, 64, 64}, {1, 1, 17, 1061, 31, 17},
                               {1, 1, 300, 529, 33, 48}, {3, 2, 65, 31, 96, 32}};
  uint64_t seed = 100;
  for (const auto& [items, group, q_len, kv_len, size, v_size] : shapes) {
    for (const Types& t : kTypes) {
      Problem p;
      p.shape = {.items = items,
                 .group = group,
                 .q_len = q_len,
                 .kv_len = kv_len,
                 .size = size,
                 .v_size = v_size,
                 .scale = 0.2f};
      ++seed;
      p.heads_inside = (seed & 2) != 0;
      p.keys_transposed = (seed & 4) != 0;
      p.mask = static_cast<MaskKind>(seed % 4);
      p.mask_per_key = seed % 3 != 0;
      p.shape.zero_if_masked = (seed & 8) != 0;
      if (seed % 5 == 0) p.masked_value = -3;
      p.shape.causal = seed % 7 == 0;
      p.ragged = seed % 3 == 1;
      if (seed % 11 < 3) p.shape.left = 20;
      check_bf16(p, t, isa, seed);
    }
  }
}

TEST_CASE("attention on tiles keeps NaN to its row, and reads no key behind those in use") {
  const IsaSet isa = isa_detected();
  Problem p;
  p.shape = {.items = 2, .group = 1, .q_len = 40, .kv_len = 70, .size = 20, .v_size = 18, .scale = 0.2f};
  p.shape.precision = Precision::bf16;
  p.ragged = true;
  if (!attention_bf16(p.shape, isa)) return;
  test::Random random(5);
  Data d = make_data(p, random);
  d.lengths = {33, 50};
  for (int64_t item : {0, 1}) {
    for (int64_t j = d.lengths[static_cast<size_t>(item)]; j < 70; ++j) {
      for (int64_t e = 0; e < 20; ++e) d.k[static_cast<size_t>((item * 70 + j) * 20 + e)] = NAN;
      for (int64_t e = 0; e < 18; ++e) d.v[static_cast<size_t>((item * 70 + j) * 18 + e)] = INFINITY;
    }
  }
  d.q[3 * 20] = NAN;
  d.v[18 * 70] = INFINITY;
  const auto y = run_bf16(p, d, kTypes[0], isa, 1, 1);
  for (size_t r = 0; r < 80; ++r) {
    for (size_t e = 0; e < 18; ++e) {
      const float x = y[r * 18 + e];
      CHECK(std::isfinite(x) == (r != 3 && (r < 40 || e != 0)));
      if (r >= 40 && e == 0) CHECK(x == INFINITY);
    }
  }
}

TEST_CASE("attention keeps NaN and infinities of scores") {
  each_level([&](IsaSet isa) {
    for (const int64_t q_len : {1, 9}) {
      Problem p;
      p.shape = {.items = 1, .group = 1, .q_len = q_len, .kv_len = 520, .size = 4, .v_size = 3};
      test::Random random(3);
      Data d = make_data(p, random);
      d.q[0] = NAN;
      const AttentionArgs a = make_args(p, d);
      const auto y = run(p, a, isa, 1);
      CHECK(std::isnan(y[0]));
      CHECK(std::isnan(y[2]));
      for (size_t i = 3; i < y.size(); ++i) CHECK(std::isfinite(y[i]));
    }
  });
}
