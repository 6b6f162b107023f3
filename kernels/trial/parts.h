#pragma once
// What the families' trials are made of.
#include <memory>
#include <span>

#include "kernels/trial/trial.h"

namespace skyline::kernels {

struct Work {
  double flops = 0, bytes = 0;
};

// n results of a run beside what they should be. Allowed is relative * |want| + absolute; both 0: equal.
struct Expectation {
  int64_t n = 0;
  std::function<double(int64_t)> got, want;
  double relative = 0, absolute = 0;
};
Trial make_trial(const KernelInfo& row, std::string name, Work work, std::function<void()> run,
                 Expectation e);

// The same numbers at every run.
std::vector<float> random_floats(int64_t n, float low = -1, float high = 1);
template <class T>
std::vector<T> random_integers(int64_t n, int low, int high) {
  std::vector<T> values;
  values.reserve(static_cast<size_t>(n));
  for (const float x : random_floats(n, static_cast<float>(low), static_cast<float>(high) + 0.999f))
    values.push_back(static_cast<T>(x < 0 ? x - 1 : x));
  return values;
}

// Reads element i of a vector that a trial shares.
template <class T>
std::function<double(int64_t)> element_of(std::shared_ptr<std::vector<T>> values) {
  return [values](int64_t i) { return static_cast<double>((*values)[static_cast<size_t>(i)]); };
}
template <class T>
std::shared_ptr<std::vector<T>> shared(std::vector<T> values) {
  return std::make_shared<std::vector<T>>(std::move(values));
}
template <class T>
std::shared_ptr<std::vector<T>> shared(int64_t n) {
  return std::make_shared<std::vector<T>>(static_cast<size_t>(n));
}

// Each adds the trials of a row of its family.
using AddTrials = void (*)(const KernelInfo& row, std::vector<Trial>& out);
void add_gemm_trials(const KernelInfo& row, std::vector<Trial>& out);
void add_dense_trials(const KernelInfo& row, std::vector<Trial>& out);
void add_gemv_trials(const KernelInfo& row, std::vector<Trial>& out);
void add_depthwise_bytes_trials(const KernelInfo& row, std::vector<Trial>& out);
void add_depthwise_trials(const KernelInfo& row, std::vector<Trial>& out);
void add_direct_trials(const KernelInfo& row, std::vector<Trial>& out);
void add_winograd_trials(const KernelInfo& row, std::vector<Trial>& out);
void add_eltwise_trials(const KernelInfo& row, std::vector<Trial>& out);
void add_reduce_trials(const KernelInfo& row, std::vector<Trial>& out);
void add_softmax_trials(const KernelInfo& row, std::vector<Trial>& out);
void add_norm_trials(const KernelInfo& row, std::vector<Trial>& out);
void add_pool_trials(const KernelInfo& row, std::vector<Trial>& out);
void add_resize_trials(const KernelInfo& row, std::vector<Trial>& out);
void add_rnn_trials(const KernelInfo& row, std::vector<Trial>& out);
void add_quantize_trials(const KernelInfo& row, std::vector<Trial>& out);
void add_lookup_trials(const KernelInfo& row, std::vector<Trial>& out);
void add_attention_trials(const KernelInfo& row, std::vector<Trial>& out);
void add_attention_bf16_trials(const KernelInfo& row, std::vector<Trial>& out);

}  // namespace skyline::kernels
