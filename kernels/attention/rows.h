#pragma once
// What attention on f32 and on bf16 share: which row is where, and what it may see.
#include <algorithm>

#include "kernels/attention/attention.h"

namespace skyline::kernels {

struct AttentionRows {
  const AttentionPlan& p;
  const AttentionArgs& a;

  static int64_t offset(const AttentionOperand& at, int64_t item, int64_t group, int64_t row) {
    return (at.items ? at.items[item] : 0) + (at.groups ? at.groups[group] : 0) + row * at.row;
  }
  // Row r of an item is query r % q_len of group r / q_len.
  int64_t query(int64_t r) const { return r % p.shape.q_len; }
  int64_t group(int64_t r) const { return r / p.shape.q_len; }

  // The keys that a row may see.
  struct Range {
    int64_t begin, end;
  };
  Range visible(int64_t item, int64_t r) const {
    const AttentionShape& s = p.shape;
    const int64_t at = query(r) + (a.past ? a.past[item] : 0);
    Range keys{0, a.lengths ? a.lengths[item] : s.kv_len};
    if (s.causal) keys.end = std::min(keys.end, at + 1);
    if (s.right >= 0) keys.end = std::min(keys.end, at + s.right + 1);
    if (s.left >= 0) keys.begin = std::max<int64_t>(0, at - s.left);
    keys.end = std::clamp<int64_t>(keys.end, 0, s.kv_len);
    keys.begin = std::min(keys.begin, keys.end);
    return keys;
  }
  // What the rows [r0, r1) may see; of rows that see different keys all from the first to the last.
  Range visible(int64_t item, int64_t r0, int64_t r1) const {
    if (!p.shape.causal && p.shape.left < 0 && p.shape.right < 0) return visible(item, r0);
    Range all{p.shape.kv_len, 0};
    for (int64_t r = r0; r < r1; ++r) {
      const Range keys = visible(item, r);
      if (keys.begin == keys.end) continue;
      all = {std::min(all.begin, keys.begin), std::max(all.end, keys.end)};
    }
    return all;
  }

  // The scores of row r from key j on.
  ScoreRow score_row(int64_t item, int64_t r, int64_t j) const {
    ScoreRow row{p.shape.scale, p.shape.softcap, a.mask_kind, nullptr, a.mask_at.column != 0, a.masked_value};
    if (a.mask_kind != MaskKind::none) {
      const int64_t at = offset(a.mask_at, item, group(r), query(r)) + j * a.mask_at.column;
      row.mask = static_cast<const std::byte*>(a.mask) + at * (a.mask_kind == MaskKind::add ? 4 : 1);
    }
    return row;
  }
};

// Attention where plan.bf16 is given: fills in how it is cut, and runs rows [r0, r1) of an item.
void attention_bf16_plan(AttentionPlan& plan, int threads);
void attention_bf16_rows(const AttentionRows& run, int64_t item, int64_t r0, int64_t r1,
                         std::byte* memory) noexcept;

}  // namespace skyline::kernels
