#include <algorithm>
#include <cmath>

#include "kernels/attention/rows.h"
#include "kernels/base/levels.h"
#include "kernels/base/memory.h"
#include "kernels/base/parallel.h"
#include "kernels/gemm/gemm.h"
#include "kernels/gemm/pack.h"

namespace skyline::kernels {
namespace {

// Keys a block: 6 rows of 512 scores are a quarter of a first-level cache, and 512 keys of 64 a sixteenth of
// the second (Sapphire Rapids).
constexpr int64_t kBlock = 512;
// Queries up to which packing K costs more than it saves: each packed element is used once a query.
constexpr int64_t kFewRows = 4;
constexpr int64_t kTilesPerUnit = 32;

// The scratch of one thread. Rows of O are padded to whole vectors.
struct Scratch {
  std::byte* k;  // packed keys of a block
  std::byte* v;  // packed values of a block
  float* s;      // scores of a tile, or of one query
  float* o;      // results of a unit, not yet divided by their sums
  float *m, *l;  // largest score and sum of exponentials, per row of a unit
  int64_t s_row, o_row;
};

PanelShape key_panels(const AttentionPlan& p, int64_t keys) {
  return {keys, p.shape.size, p.kernel->nr, p.kernel->lanes, p.kernel->kr};
}
PanelShape value_panels(const AttentionPlan& p, int64_t keys) {
  return {p.shape.v_size, keys, p.kernel->nr, p.kernel->lanes, p.kernel->kr};
}

// Lays out the scratch from `base` on; returns its size.
size_t lay_out(const AttentionPlan& p, std::byte* base, Scratch* s) {
  size_t at = 0;
  const auto take = [&](int64_t bytes) {
    std::byte* const here = base + at;
    at += align_up(static_cast<size_t>(bytes));
    return here;
  };
  const int64_t tile = p.few ? 1 : p.kernel->mr;
  s->s_row = p.block + 16;  // rows a power of two apart would share cache sets
  s->o_row = (p.shape.v_size + 15) / 16 * 16;
  s->k = take(p.few ? 0 : key_panels(p, p.block).bytes());
  s->v = take(p.few ? 0 : value_panels(p, p.block).bytes());
  s->s = reinterpret_cast<float*>(take(tile * s->s_row * 4));
  s->o = reinterpret_cast<float*>(take(p.unit * s->o_row * 4));
  s->m = reinterpret_cast<float*>(take(p.unit * 4));
  s->l = reinterpret_cast<float*>(take(p.unit * 4));
  return at;
}

struct Run : AttentionRows {
  const float* q_row(int64_t item, int64_t r) const {
    return static_cast<const float*>(a.q) + offset(a.q_at, item, group(r), query(r));
  }

  // Turns the products s of row r with keys [j0, j0 + n) into exponentials, and brings its state m, l and its
  // result o up to them. What it may not see becomes 0.
  void absorb(int64_t item, int64_t r, float* s, int64_t j0, int64_t n, float* m, float* l, float* o,
              bool first) const {
    const Range keys = visible(item, r);
    const int64_t from = std::clamp<int64_t>(keys.begin - j0, 0, n),
                  to = std::clamp<int64_t>(keys.end - j0, from, n);
    std::fill(s, s + from, 0.0f);
    std::fill(s + to, s + n, 0.0f);
    if (from == to) return;
    const float top = p.table->scores(s + from, to - from, score_row(item, r, j0 + from));
    const float now = *m > top ? *m : top;  // NaN if either is
    // Nothing but -inf so far: exponentials of -inf less anything finite are the zeros that we need.
    const float shift = now == -INFINITY ? 0.0f : now;
    const float fade = std::exp((*m == -INFINITY ? -INFINITY : *m) - shift);
    *l = *l * fade + p.table->exponentials(s + from, to - from, shift);
    if (!first && fade != 1.0f) p.table->scale(o, o, p.shape.v_size, fade);
    *m = now;
  }

  void finish(int64_t item, int64_t r, const float* o, float l, bool started) const {
    float* y = static_cast<float*>(a.y) + offset(a.y_at, item, group(r), query(r));
    if (!started || l == 0.0f) {
      std::fill(y, y + p.shape.v_size, p.shape.zero_if_masked ? 0.0f : NAN);
    } else {
      p.table->scale(o, y, p.shape.v_size, 1.0f / l);
    }
  }

  // Rows [r0, r1) with K and V as stored.
  void few_rows(int64_t item, int64_t r0, int64_t r1, const Scratch& w) const {
    const float *k = static_cast<const float*>(a.k) + offset(a.k_at, item, 0, 0),
                *v = static_cast<const float*>(a.v) + offset(a.v_at, item, 0, 0);
    for (int64_t r = r0; r < r1; ++r) {
      w.m[r - r0] = -INFINITY;
      w.l[r - r0] = 0;
    }
    Range all = visible(item, r0);
    for (int64_t r = r0 + 1; r < r1; ++r) {
      const Range keys = visible(item, r);
      all = {std::min(all.begin, keys.begin), std::max(all.end, keys.end)};
    }
    bool first = true;
    for (int64_t j = all.begin / p.block * p.block; j < all.end; j += p.block, first = false) {
      const int64_t n = std::min(p.block, all.end - j);
      for (int64_t r = r0; r < r1; ++r) {
        float* o = w.o + (r - r0) * w.o_row;
        p.table->dots(q_row(item, r), k + j * a.k_at.row, a.k_at.row, n, p.shape.size, w.s);
        absorb(item, r, w.s, j, n, w.m + (r - r0), w.l + (r - r0), o, first);
        p.table->weigh(w.s, v + j * a.v_at.row, a.v_at.row, n, p.shape.v_size, o, first);
      }
    }
    for (int64_t r = r0; r < r1; ++r) finish(item, r, w.o + (r - r0) * w.o_row, w.l[r - r0], !first);
  }

  // One micro-kernel call a panel: C = A B, m x columns, of the first `steps` steps and columns of B.
  void product(const void* const* rows, int64_t m, const PanelShape& shape, int64_t steps, int64_t columns,
               const std::byte* b, float* c, int64_t c_row, bool add) const {
    GemmTile t;
    t.a = rows;
    t.m = m;
    t.steps = steps;
    t.c_stride = c_row * 4;
    for (int64_t i = 0; i * shape.nr < columns; ++i) {
      t.n = std::min<int64_t>(shape.nr, columns - i * shape.nr);
      t.b = b + shape.offset(i);
      t.b_stride = shape.stride(i);
      t.c = c + i * shape.nr;
      if (add) {
        t.epilogue.residual = c + i * shape.nr;
        t.epilogue.ldr = c_row;
      }
      p.kernel->run(t);
    }
  }

  // Rows [r, r + m) of a unit that begins at r0, against the first `n` keys of the packed block from key j
  // on.
  void tile(int64_t item, int64_t r0, int64_t r, int64_t m, int64_t j, int64_t packed, int64_t n,
            const Scratch& w, bool first) const {
    const void* rows[kMaxMr];
    for (int64_t i = 0; i < m; ++i) rows[i] = q_row(item, r + i);
    product(rows, m, key_panels(p, packed), p.shape.size, n, w.k, w.s, w.s_row, false);
    float* o = w.o + (r - r0) * w.o_row;
    for (int64_t i = 0; i < m; ++i) {
      const int64_t at = r - r0 + i;
      absorb(item, r + i, w.s + i * w.s_row, j, n, w.m + at, w.l + at, o + i * w.o_row, first);
      rows[i] = w.s + i * w.s_row;
    }
    product(rows, m, value_panels(p, packed), n, p.shape.v_size, w.v, o, w.o_row, !first);
  }

  void pack(int64_t item, int64_t j, int64_t n, const Scratch& w) const {
    const float* k = static_cast<const float*>(a.k) + offset(a.k_at, item, 0, j);
    const float* v = static_cast<const float*>(a.v) + offset(a.v_at, item, 0, j);
    const PanelShape keys = key_panels(p, n), values = value_panels(p, n);
    pack_panels(keys, {.b = k, .type = DType::f32, .k_stride = a.k_at.column, .n_stride = a.k_at.row}, 0,
                p.shape.size, 0, 0, keys.panels(), w.k);
    pack_panels(values, {.b = v, .type = DType::f32, .k_stride = a.v_at.row, .n_stride = 1}, 0, n, 0, 0,
                values.panels(), w.v);
  }

  void many_rows(int64_t item, int64_t r0, int64_t r1, const Scratch& w) const {
    std::fill(w.m, w.m + (r1 - r0), -INFINITY);
    std::fill(w.l, w.l + (r1 - r0), 0.0f);
    const int64_t mr = p.kernel->mr, tiles = (r1 - r0 + mr - 1) / mr;
    const auto tile_at = [&](int64_t t) { return r0 + (r1 - r0) * t / tiles; };
    // What each tile may see: of rows that mask less than others, the widest.
    Range seen[kTilesPerUnit], all{p.shape.kv_len, 0};
    bool started[kTilesPerUnit] = {};
    for (int64_t t = 0; t < tiles; ++t) {
      seen[t] = {p.shape.kv_len, 0};
      for (int64_t r = tile_at(t); r < tile_at(t + 1); ++r) {
        const Range keys = visible(item, r);
        if (keys.begin == keys.end) continue;
        seen[t] = {std::min(seen[t].begin, keys.begin), std::max(seen[t].end, keys.end)};
      }
      all = {std::min(all.begin, seen[t].begin), std::max(all.end, seen[t].end)};
    }
    for (int64_t j = all.begin / p.block * p.block; j < all.end; j += p.block) {
      const int64_t n = std::min(p.block, all.end - j);
      pack(item, j, n, w);
      for (int64_t t = 0; t < tiles; ++t) {
        if (seen[t].begin >= j + n || seen[t].end <= j) continue;
        tile(item, r0, tile_at(t), tile_at(t + 1) - tile_at(t), j, n, std::min(n, seen[t].end - j), w,
             !started[t]);
        started[t] = true;
      }
    }
    for (int64_t t = 0; t < tiles; ++t) {
      for (int64_t r = tile_at(t); r < tile_at(t + 1); ++r)
        finish(item, r, w.o + (r - r0) * w.o_row, w.l[r - r0], started[t]);
    }
  }
};

}  // namespace

const AttentionTable& attention_kernels(IsaSet isa) noexcept {
  return SKYLINE_PICK_LEVEL(attention, isa);
}

AttentionPlan attention_plan(const AttentionShape& shape, int64_t k_column, IsaSet isa, int threads) {
  AttentionPlan p;
  p.shape = shape;
  p.bf16 = attention_bf16(shape, isa);
  if (p.bf16) {
    attention_bf16_plan(p, threads);
    return p;
  }
  // Heads have 64 columns more often than not, and blocks of keys as many times 64.
  const GemmProblem product{.m = shape.group * shape.q_len, .n = 64, .k = shape.size};
  p.kernel = gemm_plan(product, isa).kernel;
  p.table = &attention_kernels(isa);
  const int64_t rows = shape.group * shape.q_len;
  p.few = k_column == 1 && rows <= kFewRows;
  p.block = std::clamp<int64_t>((shape.kv_len + 15) / 16 * 16, 16, kBlock);
  // Fewer items than threads: their rows are cut.
  const int64_t cuts =
      (std::max(threads, 1) + std::max<int64_t>(shape.items, 1) - 1) / std::max<int64_t>(shape.items, 1);
  const int64_t mr = p.kernel->mr, tiles = (rows + mr - 1) / mr;
  p.unit = p.few ? std::max<int64_t>(rows, 1)
                 : std::clamp<int64_t>((tiles + cuts - 1) / cuts, 1, kTilesPerUnit) * mr;
  Scratch s;
  p.thread_bytes = lay_out(p, nullptr, &s);
  return p;
}

size_t attention_workspace_bytes(const AttentionPlan& plan, int threads) noexcept {
  return plan.thread_bytes * static_cast<size_t>(std::max(threads, 1));
}

void attention_run(const AttentionPlan& plan, const AttentionArgs& args, std::byte* workspace,
                   int threads) noexcept {
  const AttentionShape& s = plan.shape;
  const int64_t rows = s.group * s.q_len;
  if (s.items == 0 || rows == 0 || s.v_size == 0) return;
  const Run run{{plan, args}};
  const int64_t units = (rows + plan.unit - 1) / plan.unit;
  // Multiply-adds worth waking a thread, as in kernels/gemm/plan.cc.
  const double work = static_cast<double>(rows) * static_cast<double>(s.kv_len) *
                      static_cast<double>(s.size + s.v_size) / static_cast<double>(units);
  const auto grain = static_cast<int64_t>(std::clamp(5e5 / (work + 1), 1.0, 1e9));
  parallel_for(threads, s.items * units, grain, [&](int64_t begin, int64_t end) noexcept {
    std::byte* const memory = workspace + plan.thread_bytes * static_cast<size_t>(parallel_index());
    Scratch w;
    if (!plan.bf16) lay_out(plan, memory, &w);
    for (int64_t i = begin; i < end; ++i) {
      const int64_t item = i / units, u = i % units, r0 = u * plan.unit, r1 = std::min(rows, r0 + plan.unit);
      if (plan.bf16) {
        attention_bf16_rows(run, item, r0, r1, memory);
      } else if (plan.few) {
        run.few_rows(item, r0, r1, w);
      } else {
        run.many_rows(item, r0, r1, w);
      }
    }
  });
}

}  // namespace skyline::kernels
