#include "kernels/trial/trial.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "kernels/trial/parts.h"

namespace skyline::kernels {
namespace {

constexpr struct {
  std::string_view op;
  AddTrials add;
} kFamilies[] = {
    {"gemm", add_gemm_trials},
    {"dense", add_dense_trials},
    {"gemv", add_gemv_trials},
    {"depthwise", add_depthwise_trials},
    {"depthwise_bytes", add_depthwise_bytes_trials},
    {"direct", add_direct_trials},
    {"winograd", add_winograd_trials},
    {"eltwise", add_eltwise_trials},
    {"reduce", add_reduce_trials},
    {"softmax", add_softmax_trials},
    {"norm", add_norm_trials},
    {"pool", add_pool_trials},
    {"resize", add_resize_trials},
    {"rnn", add_rnn_trials},
    {"quantize", add_quantize_trials},
    {"lookup", add_lookup_trials},
    {"attention", add_attention_trials},
    {"attention_bf16", add_attention_bf16_trials},
};

double largest_error(const Expectation& e) {
  double worst = 0;
  for (int64_t i = 0; i < e.n; ++i) {
    const double got = e.got(i), want = e.want(i);
    if (got == want || (std::isnan(got) && std::isnan(want))) continue;
    const double allowed = e.relative * std::fabs(want) + e.absolute;
    const double error = std::fabs(got - want) / allowed;
    if (!(error <= std::numeric_limits<double>::max())) return std::numeric_limits<double>::infinity();
    worst = std::max(worst, error);
  }
  return worst;
}

}  // namespace

Trial make_trial(const KernelInfo& row, std::string name, Work work, std::function<void()> run,
                 Expectation e) {
  return {.kernel = &row,
          .name = std::move(name),
          .flops = work.flops,
          .bytes = work.bytes,
          .run = run,
          .error = [run, e = std::move(e)] {
            run();
            return largest_error(e);
          }};
}

std::vector<float> random_floats(int64_t n, float low, float high) {
  uint64_t state = 0x9e3779b97f4a7c15u;
  std::vector<float> values(static_cast<size_t>(n));
  for (float& v : values) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    v = low + (high - low) * (static_cast<float>(state >> 40) * 0x1p-24f);
  }
  return values;
}

std::vector<Trial> make_trials(const KernelInfo& row) {
  std::vector<Trial> out;
  for (const auto& family : kFamilies) {
    if (family.op == row.op) family.add(row, out);
  }
  return out;
}

}  // namespace skyline::kernels
