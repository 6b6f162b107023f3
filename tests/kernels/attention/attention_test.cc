#include "kernels/attention/attention.h"

#include <cmath>
#include <cstring>

#include "kernels/base/memory.h"
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
std::vector<double> reference_row(const Problem& p, const AttentionArgs& a, int64_t item, int64_t g,
                                  int64_t i) {
  const AttentionShape& s = p.shape;
  std::vector<double> score(static_cast<size_t>(s.kv_len), -INFINITY), y(static_cast<size_t>(s.v_size), 0.0);
  const int64_t at = i + (a.past ? a.past[item] : 0), length = a.lengths ? a.lengths[item] : s.kv_len;
  double top = -INFINITY, sum = 0;
  for (int64_t j = 0; j < length; ++j) {
    if ((s.causal && j > at) || (s.left >= 0 && j < at - s.left) || (s.right >= 0 && j > at + s.right))
      continue;
    double x = 0;
    for (int64_t e = 0; e < s.size; ++e) {
      x += static_cast<double>(a.q[a.q_at.items[item] + a.q_at.groups[g] + i * a.q_at.row + e]) *
           a.k[a.k_at.items[item] + j * a.k_at.row + e * a.k_at.column];
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
      y[static_cast<size_t>(e)] +=
          score[static_cast<size_t>(j)] / sum * a.v[a.v_at.items[item] + j * a.v_at.row + e];
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
        const auto want = reference_row(p, a, item, g, i);
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
