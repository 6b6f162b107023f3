// Attention on tiles of bf16: some rows of scores at a time, which become factors of the second product where
// they lie.
#include <cmath>
#include <cstring>
#include <initializer_list>

#include "kernels/attention/rows.h"
#include "kernels/base/memory.h"
#include "kernels/gemm/dense.h"

namespace skyline::kernels {
namespace {

constexpr int64_t kBlock = 512;  // keys
// Rows whose scores with a block are in the caches at once: with 128 keys in half of L1. Two tiles' height.
constexpr int64_t kStrip = 64;
constexpr int64_t kMostRows = 256;  // for which keys and values are packed once
// Products with fewer rows, keys or columns leave most of a tile empty.
constexpr int64_t kLeast = 16;

struct Scratch {
  std::byte *k, *v;  // packed
  std::byte* q;      // rows of a unit in bf16
  float* s;          // scores of a strip
  float* o;          // results of a unit, not yet divided by their sums
  float *m, *l;      // largest score and sum of exponentials, by row
  int64_t q_stride;  // bytes
  int64_t s_row, o_row;
};

size_t lay_out(const AttentionPlan& p, std::byte* base, Scratch* s) {
  const DenseKernel& kernel = *p.bf16->dense;
  size_t at = 0;
  const auto take = [&](size_t bytes) {
    std::byte* const here = base + at;
    at += align_up(bytes);
    return here;
  };
  const auto bytes = [](int64_t n) { return static_cast<size_t>(n); };
  const int64_t strip = std::min(kStrip, p.unit);
  s->q_stride = dense_stride(kernel.steps(p.shape.size));
  s->s_row = p.block + 16;  // rows a power of two apart would share cache sets
  s->o_row = (p.shape.v_size + 15) / 16 * 16;
  s->k = take(kernel.packed_bytes(p.block, p.shape.size));
  s->v = take(kernel.packed_bytes(p.shape.v_size, p.block));
  s->q = take(bytes(p.unit * s->q_stride));
  s->s = reinterpret_cast<float*>(take(bytes(strip * s->s_row * 4)));
  s->o = reinterpret_cast<float*>(take(bytes(p.unit * s->o_row * 4)));
  s->m = reinterpret_cast<float*>(take(bytes(p.unit * 4)));
  s->l = reinterpret_cast<float*>(take(bytes(p.unit * 4)));
  return at;
}

const std::byte* element(const void* base, DType type, int64_t at) {
  return static_cast<const std::byte*>(base) + at * static_cast<int64_t>(size_of(type));
}

// Some rows of an item, which begin at row r0.
struct Unit : AttentionRows {
  const DenseKernel& kernel;
  const Scratch& w;
  int64_t item, r0;

  // Returns whether all are finite.
  bool split_queries(int64_t r1) const {
    bool finite = true;
    for (int64_t r = r0; r < r1;) {
      const int64_t n = std::min(r1 - r, p.shape.q_len - query(r));  // of one group
      finite &= kernel.split({element(a.q, p.shape.q, offset(a.q_at, item, group(r), query(r))), p.shape.q, n,
                              p.shape.size, a.q_at.row, 1, w.q + (r - r0) * w.q_stride, w.q_stride, 0,
                              kernel.steps(p.shape.size) * kernel.values});
      r += n;
    }
    return finite;
  }

  bool pack_keys(int64_t j, int64_t n) const {
    const void* k = element(a.k, p.shape.k, offset(a.k_at, item, 0, j));
    if (a.k_at.column == 1) {
      return p.bf16->keys(k, p.shape.k, a.k_at.row, n, p.shape.size, kernel.shape(n, p.shape.size), w.k);
    }
    dense_pack(kernel, {.b = k, .type = p.shape.k, .k_stride = a.k_at.column, .n_stride = a.k_at.row},
               {.k = p.shape.size}, n, w.k);
    return *kernel.column_sums(w.k, n, p.shape.size) == 0;
  }
  bool pack_values(int64_t j, int64_t n) const {
    const void* v = element(a.v, p.shape.v, offset(a.v_at, item, 0, j));
    return p.bf16->values(v, p.shape.v, a.v_at.row, n, p.shape.v_size, kernel.shape(p.shape.v_size, n), w.v);
  }

  // c = rows * b, m x n over k values; add: to what is there.
  void product(const std::byte* rows, int64_t stride, int64_t m, int64_t k, const std::byte* b, int64_t n,
               bool finite, float* c, int64_t c_row, bool add) const {
    DenseTile t;
    t.a = rows;
    t.a_stride = stride;
    t.b = b;
    t.steps = kernel.steps(k);
    t.k = k;
    t.finite = finite;
    t.cold = false;
    t.c = c;
    t.c_stride = c_row * 4;
    t.m = m;
    t.n = n;
    t.out = DType::f32;
    if (add) {
      t.epilogue.residual = c;
      t.epilogue.ldr = c_row;
    }
    kernel.run(t);
  }

  // Like that of f32 (attention.cc), but the exponentials are bf16. Returns false if one may be NaN.
  bool absorb(int64_t r, float* s, int64_t j, int64_t n, bool first) const {
    const Range keys = visible(item, r);
    const int64_t from = std::clamp<int64_t>(keys.begin - j, 0, n),
                  to = std::clamp<int64_t>(keys.end - j, from, n);
    float &m = w.m[r - r0], &l = w.l[r - r0];
    if (from == to) {
      std::fill(s, s + n, -INFINITY);
      p.bf16->exponentials(s, n, 0);
      return true;
    }
    const float top = p.table->scores(s + from, to - from, score_row(item, r, j + from));
    std::fill(s, s + from, -INFINITY);
    std::fill(s + to, s + n, -INFINITY);
    const float now = m > top ? m : top;
    const float shift = now == -INFINITY ? 0.0f : now;
    const float sum = p.bf16->exponentials(s, n, shift);
    if (first) {
      l = sum;
    } else {
      const float fade = std::exp(m - shift);
      l = l * fade + sum;
      float* const o = w.o + (r - r0) * w.o_row;
      if (fade != 1.0f) p.table->scale(o, o, p.shape.v_size, fade);
    }
    m = now;
    return std::isfinite(sum);
  }

  void strip(int64_t r, int64_t m, int64_t j, int64_t n, bool keys_finite, bool values_finite,
             bool first) const {
    const std::byte* q = w.q + (r - r0) * w.q_stride;
    product(q, w.q_stride, m, p.shape.size, w.k, n, keys_finite, w.s, w.s_row, false);
    bool finite = values_finite;
    for (int64_t i = 0; i < m; ++i) finite &= absorb(r + i, w.s + i * w.s_row, j, n, first);
    product(reinterpret_cast<const std::byte*>(w.s), w.s_row * 4, m, n, w.v, p.shape.v_size, finite,
            w.o + (r - r0) * w.o_row, w.o_row, !first);
  }

  void finish(int64_t r, bool started) const {
    const int64_t at = offset(a.y_at, item, group(r), query(r)), n = p.shape.v_size;
    const float *o = w.o + (r - r0) * w.o_row, l = w.l[r - r0];
    const bool any = started && l != 0.0f;
    if (p.shape.y == DType::bf16) {
      auto* const y = static_cast<uint16_t*>(a.y) + at;
      if (any) return p.bf16->scale(o, y, n, 1.0f / l);
      std::fill(y, y + n, p.shape.zero_if_masked ? uint16_t{0} : uint16_t{0x7fc0});
    } else {
      float* const y = static_cast<float*>(a.y) + at;
      if (any) return p.table->scale(o, y, n, 1.0f / l);
      std::fill(y, y + n, p.shape.zero_if_masked ? 0.0f : NAN);
    }
  }
};

}  // namespace

const AttentionBf16* attention_bf16(const AttentionShape& s, IsaSet isa) noexcept {
  if (s.precision != Precision::bf16) return nullptr;
  for (int64_t size : {s.group * s.q_len, s.kv_len, s.size, s.v_size}) {
    if (size < kLeast) return nullptr;
  }
#if defined(__x86_64__)
  if ((attention_bf16_amx.needs & isa) == attention_bf16_amx.needs) return &attention_bf16_amx;
#endif
  return nullptr;
}

void attention_bf16_plan(AttentionPlan& p, int threads) {
  const int64_t rows = p.shape.group * p.shape.q_len;
  p.table = &attention_kernels(p.bf16->needs);
  p.block = std::min<int64_t>((p.shape.kv_len + 31) / 32 * 32, kBlock);
  // Fewer items than threads: their rows are cut.
  const int64_t items = std::max<int64_t>(p.shape.items, 1),
                cuts = (std::max(threads, 1) + items - 1) / items,
                most = std::min(kMostRows, (rows + cuts - 1) / cuts);
  p.unit = std::max<int64_t>((most + 31) / 32, 1) * 32;
  Scratch s;
  p.thread_bytes = lay_out(p, nullptr, &s);
}

void attention_bf16_rows(const AttentionRows& run, int64_t item, int64_t r0, int64_t r1,
                         std::byte* memory) noexcept {
  const AttentionPlan& p = run.p;
  Scratch w;
  lay_out(p, memory, &w);
  const DenseKernel& kernel = *p.bf16->dense;
  const Unit unit{run, kernel, w, item, r0};
  std::fill(w.m, w.m + (r1 - r0), -INFINITY);
  std::fill(w.l, w.l + (r1 - r0), 0.0f);
  const bool queries = unit.split_queries(r1);
  bool started[kMostRows / kStrip] = {};
  const auto all = run.visible(item, r0, r1);
  kernel.enter();
  for (int64_t j = all.begin / p.block * p.block; j < all.end; j += p.block) {
    // What is behind the keys in use may be anything.
    const int64_t n = std::min(p.block, all.end - j);
    const bool keys = unit.pack_keys(j, n) && queries, values = unit.pack_values(j, n);
    for (int64_t r = r0; r < r1; r += kStrip) {
      const int64_t m = std::min(kStrip, r1 - r);
      const auto seen = run.visible(item, r, r + m);
      if (seen.begin >= j + n || seen.end <= j) continue;
      bool& begun = started[(r - r0) / kStrip];
      unit.strip(r, m, j, n, keys, values, !begun);
      begun = true;
    }
  }
  kernel.leave();
  for (int64_t r = r0; r < r1; ++r) unit.finish(r, started[(r - r0) / kStrip]);
}

}  // namespace skyline::kernels
