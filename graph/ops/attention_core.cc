#include "graph/ops/attention_core.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "graph/ops/numeric.h"

namespace skyline::ops {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

double dot(const double* a, const double* b, int64_t n) {
  double sum = 0;
  for (int64_t i = 0; i < n; ++i) sum += a[i] * b[i];
  return sum;
}

// A row of nothing but -infinity becomes zeros.
void softmax_row(double* row, int64_t n) {
  double top = -kInfinity;
  for (int64_t j = 0; j < n; ++j) {
    if (row[j] > top || std::isnan(row[j])) top = row[j];
  }
  if (top == -kInfinity) {
    std::fill(row, row + n, 0.0);
    return;
  }
  double sum = 0;
  for (int64_t j = 0; j < n; ++j) sum += row[j] = std::exp(row[j] - top);
  for (int64_t j = 0; j < n; ++j) row[j] /= sum;
}

}  // namespace

std::vector<double> attend(const AttentionProblem& p, ScoreStage stage, std::vector<double>* scores,
                           const EvalLimits& limits) {
  const int64_t rows = p.batch * p.q_heads * p.q_len;
  const int64_t per_key = p.q_heads / std::max<int64_t>(1, p.kv_heads);
  std::vector<double> s(static_cast<size_t>(rows * p.kv_len)), bias(static_cast<size_t>(p.kv_len), 0.0);
  std::vector<char> masked(static_cast<size_t>(rows), 0);
  if (scores) scores->resize(s.size());
  const auto key_head = [&](int64_t r) {  // index of the K or V matrix of score row r
    const int64_t h = r / p.q_len % p.q_heads, b = r / (p.q_len * p.q_heads);
    return b * p.kv_heads + h / per_key;
  };
  for (int64_t r = 0; r < rows; ++r) {
    poll(limits);
    double* row = s.data() + r * p.kv_len;
    const double* k = p.k.data() + key_head(r) * p.kv_len * p.size;
    for (int64_t j = 0; j < p.kv_len; ++j)
      row[j] = p.scale * dot(p.q.data() + r * p.size, k + j * p.size, p.size);
    if (scores && stage == ScoreStage::raw) std::copy(row, row + p.kv_len, scores->data() + r * p.kv_len);
    if (p.softcap > 0) {
      for (int64_t j = 0; j < p.kv_len; ++j) row[j] = p.softcap * std::tanh(row[j] / p.softcap);
    }
    if (scores && stage == ScoreStage::capped) std::copy(row, row + p.kv_len, scores->data() + r * p.kv_len);
    if (p.bias) {
      p.bias(r / (p.q_len * p.q_heads), r / p.q_len % p.q_heads, r % p.q_len, bias.data());
      bool all = true;
      for (int64_t j = 0; j < p.kv_len; ++j) {
        row[j] += bias[static_cast<size_t>(j)];
        all = all && bias[static_cast<size_t>(j)] == -kInfinity;
      }
      masked[static_cast<size_t>(r)] = all;
    }
    if (scores && stage == ScoreStage::biased) std::copy(row, row + p.kv_len, scores->data() + r * p.kv_len);
  }
  if (p.score_mod) p.score_mod(s);
  for (int64_t r = 0; r < rows; ++r) {
    double* row = s.data() + r * p.kv_len;
    if (masked[static_cast<size_t>(r)]) {
      std::fill(row, row + p.kv_len, 0.0);
    } else {
      softmax_row(row, p.kv_len);
    }
  }
  if (p.prob_mod) p.prob_mod(s);
  if (scores && stage == ScoreStage::probabilities) *scores = s;
  std::vector<double> y(static_cast<size_t>(rows * p.v_size), 0.0);
  for (int64_t r = 0; r < rows; ++r) {
    poll(limits);
    const double* v = p.v.data() + key_head(r) * p.kv_len * p.v_size;
    double* out = y.data() + r * p.v_size;
    for (int64_t j = 0; j < p.kv_len; ++j) {
      const double weight = s[static_cast<size_t>(r * p.kv_len + j)];
      if (weight == 0) continue;  // a masked key may hold anything
      for (int64_t i = 0; i < p.v_size; ++i) out[i] += weight * v[j * p.v_size + i];
    }
  }
  return y;
}

std::vector<double> split_heads(const std::vector<double>& x, int64_t batch, int64_t len, int64_t heads,
                                int64_t size) {
  std::vector<double> out(x.size());
  for (int64_t b = 0; b < batch; ++b) {
    for (int64_t t = 0; t < len; ++t) {
      for (int64_t h = 0; h < heads; ++h) {
        const double* from = x.data() + ((b * len + t) * heads + h) * size;
        std::copy(from, from + size, out.data() + ((b * heads + h) * len + t) * size);
      }
    }
  }
  return out;
}

std::vector<double> merge_heads(const std::vector<double>& x, int64_t batch, int64_t heads, int64_t len,
                                int64_t size) {
  return split_heads(x, batch, heads, len, size);  // swapping the two middle axes is its own inverse
}

int64_t attention_flops(int64_t batch, int64_t heads, int64_t q_len, int64_t kv_len, int64_t size,
                        int64_t v_size) {
  return batch * heads * q_len * kv_len * (2 * size + 2 * v_size + 12);
}

}  // namespace skyline::ops
