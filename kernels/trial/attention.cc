// Trials of attention: twelve heads over 128 tokens, and one token against a cache.
#include "kernels/attention/attention.h"

#include <cmath>

#include "kernels/base/memory.h"
#include "kernels/trial/parts.h"

namespace skyline::kernels {
namespace {

constexpr int64_t kSize = 64;

// Row `row` of item `item`, of softmax(q k^T / 8) v.
double reference(const float* q, const float* k, const float* v, int64_t kv_len, int64_t column) {
  double top = -INFINITY, sum = 0, weighted = 0;
  std::vector<double> scores(static_cast<size_t>(kv_len), 0.0);
  for (int64_t j = 0; j < kv_len; ++j) {
    double& s = scores[static_cast<size_t>(j)];
    for (int64_t i = 0; i < kSize; ++i) s += static_cast<double>(q[i]) * k[j * kSize + i] / 8;
    top = std::max(top, s);
  }
  for (int64_t j = 0; j < kv_len; ++j) {
    const double e = std::exp(scores[static_cast<size_t>(j)] - top);
    sum += e;
    weighted += e * v[j * kSize + column];
  }
  return weighted / sum;
}

void add_attention(const KernelInfo& row, const char* name, int64_t items, int64_t q_len, int64_t kv_len,
                   Precision precision, std::vector<Trial>& out) {
  const AttentionShape shape{.items = items,
                             .q_len = q_len,
                             .kv_len = kv_len,
                             .size = kSize,
                             .v_size = kSize,
                             .scale = 0.125f,
                             .precision = precision};
  const bool rounded = precision == Precision::bf16;
  const AttentionPlan plan = attention_plan(shape, 1, row.needs, 1);
  const auto q = shared(random_floats(items * q_len * kSize, -3, 3)),
             y = shared<float>(items * q_len * kSize);
  const auto k = shared(random_floats(items * kv_len * kSize, -3, 3)),
             v = shared(random_floats(items * kv_len * kSize));
  const std::shared_ptr<std::byte[]> workspace = aligned_alloc_bytes(attention_workspace_bytes(plan, 1));
  const auto q_items = shared<int64_t>(items), k_items = shared<int64_t>(items);
  for (int64_t i = 0; i < items; ++i) {
    (*q_items)[static_cast<size_t>(i)] = i * q_len * kSize;
    (*k_items)[static_cast<size_t>(i)] = i * kv_len * kSize;
  }
  const auto run = [=] {
    AttentionArgs a;
    a.q = q->data();
    a.k = k->data();
    a.v = v->data();
    a.y = y->data();
    a.q_at = a.y_at = {q_items->data(), nullptr, kSize, 1};
    a.k_at = a.v_at = {k_items->data(), nullptr, kSize, 1};
    attention_run(plan, a, workspace.get(), 1);
  };
  const auto products = static_cast<double>(items * q_len * kv_len * kSize);
  out.push_back(make_trial(
      row, name, {.flops = 4 * products, .bytes = 8.0 * static_cast<double>(q->size() + k->size())}, run,
      {.n = items * q_len * 4,  // four columns of each row
       .got = [=](int64_t i) { return (*y)[static_cast<size_t>(i / 4 * kSize + i % 4 * 21)]; },
       .want =
           [=](int64_t i) {
             const int64_t item = i / 4 / q_len;
             return reference(q->data() + i / 4 * kSize, k->data() + item * kv_len * kSize,
                              v->data() + item * kv_len * kSize, kv_len, i % 4 * 21);
           },
       .relative = rounded ? 2e-2 : 1e-5,  // scores of up to 20 are off by 2^-9 of themselves
       .absolute = rounded ? 6e-2 : 3e-6}));
}

}  // namespace

void add_attention_trials(const KernelInfo& row, std::vector<Trial>& out) {
  add_attention(row, "12 heads of 128 tokens", 12, 128, 128, Precision::f32, out);
  add_attention(row, "8 heads, a token and 1024 before it", 8, 1, 1024, Precision::f32, out);
}

void add_attention_bf16_trials(const KernelInfo& row, std::vector<Trial>& out) {
  add_attention(row, "12 heads of 128 tokens", 12, 128, 128, Precision::bf16, out);
}

}  // namespace skyline::kernels
