#pragma once
// Scaled dot-product attention over heads: what the attention operators of all domains share.
#include <functional>
#include <vector>

#include "graph/ir/op.h"

namespace skyline::ops {

// Q [batch, q_heads, q_len, size], K [batch, kv_heads, kv_len, size], V [batch, kv_heads, kv_len, v_size];
// query head h reads key head h / (q_heads / kv_heads).
struct AttentionProblem {
  int64_t batch = 0, q_heads = 0, kv_heads = 0, q_len = 0, kv_len = 0, size = 0, v_size = 0;
  double scale = 1;
  double softcap = 0;  // 0: none
  std::vector<double> q, k, v;
  // Fills row[0, kv_len) with what is added to the scores of query i of head h: 0, a bias, -infinity to mask.
  // Null: 0.
  std::function<void(int64_t b, int64_t h, int64_t i, double* row)> bias;
  // May change the scores after the bias, and the probabilities, of the whole problem at once:
  // [batch, q_heads, q_len, kv_len]. Null: nothing.
  std::function<void(std::vector<double>&)> score_mod, prob_mod;
};

// What the optional output of scores holds.
enum class ScoreStage { raw, capped, biased, probabilities };

// Returns Y [batch, q_heads, q_len, v_size]; fills `scores` [batch, q_heads, q_len, kv_len] unless null. A
// query that may attend to nothing gives zeros.
std::vector<double> attend(const AttentionProblem& p, ScoreStage stage, std::vector<double>* scores,
                           const EvalLimits& limits);

// [batch, len, heads * size] <-> [batch, heads, len, size]
std::vector<double> split_heads(const std::vector<double>& x, int64_t batch, int64_t len, int64_t heads,
                                int64_t size);
std::vector<double> merge_heads(const std::vector<double>& x, int64_t batch, int64_t heads, int64_t len,
                                int64_t size);

// Flops of such an attention.
int64_t attention_flops(int64_t batch, int64_t heads, int64_t q_len, int64_t kv_len, int64_t size,
                        int64_t v_size);

}  // namespace skyline::ops
