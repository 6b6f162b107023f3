// Chains of elementwise ops: each block of the output is computed step by step in buffers that stay in L1.
#include <cstring>

#include "kernels/base/parallel.h"
#include "kernels/eltwise/drive.h"
#include "kernels/eltwise/eltwise.h"

namespace skyline::kernels {
namespace {

constexpr int64_t kChainBlock = 512;
constexpr int64_t kGrain = 4096;

int output_of(const Chain& c, int value) noexcept {
  for (int i = 0; i < c.outputs; ++i) {
    if (c.output[i] == value) return i;
  }
  return -1;
}

// The last step that reads a value, or -1.
int last_use(const Chain& c, int value) noexcept {
  for (int s = c.steps - 1; s >= 0; --s) {
    if (c.step[s].a == value || (c.step[s].binary && c.step[s].b == value)) return s;
  }
  return -1;
}

// n elements of a contiguous result from element `at` on, into rows that are out_ld apart.
void put_rows(const Chain& c, const float* from, float* y, int64_t at, int64_t n) noexcept {
  int64_t row = at / c.out_width, column = at % c.out_width;
  for (int64_t done = 0; done < n; ++row, column = 0) {
    const int64_t count = n - done < c.out_width - column ? n - done : c.out_width - column;
    std::memcpy(y + row * c.out_ld + column, from + done, static_cast<size_t>(count) * sizeof(float));
    done += count;
  }
}

void run_block(const Chain& c, const char* const* in, const int* in_step, float* const* outputs, int64_t at,
               int64_t n, float (*slots)[kChainBlock]) noexcept {
  const float* pointer[kMaxOperands + kMaxChainSteps];
  int step[kMaxOperands + kMaxChainSteps];
  for (int i = 0; i < c.inputs; ++i) {
    pointer[i] = reinterpret_cast<const float*>(in[i]);
    step[i] = in_step[i];
  }
  for (int s = 0; s < c.steps; ++s) {
    const ChainStep& op = c.step[s];
    const int value = c.inputs + s, out = output_of(c, value);
    float* to = out >= 0 && !c.out_width ? outputs[out] + at : slots[c.slot[s]];
    int64_t count = n;
    if (op.unary) {
      step[value] = step[op.a];
      if (step[op.a] == 0) count = 1;
      op.unary(pointer[op.a], to, count, op.alpha, op.beta);
    } else {
      step[value] = step[op.a] | step[op.b];
      if (step[value] == 0) count = 1;
      op.binary(pointer[op.a], pointer[op.b], to, count, step[op.a], step[op.b], nullptr);
    }
    if (out >= 0 && step[value] == 0) {
      for (int64_t i = 1; i < n; ++i) to[i] = to[0];
    }
    if (out >= 0 && c.out_width) put_rows(c, to, outputs[out], at, n);
    pointer[value] = to;
  }
}

}  // namespace

bool finish_chain(Chain* c) noexcept {
  if (c->inputs < 1 || c->inputs > kMaxOperands || c->steps < 1 || c->steps > kMaxChainSteps ||
      c->outputs < 1 || c->outputs > kMaxChainOutputs) {
    return false;
  }
  for (int i = 0; i < c->outputs; ++i) {
    if (c->output[i] < c->inputs || c->output[i] >= c->inputs + c->steps) return false;
    for (int j = 0; j < i; ++j) {
      if (c->output[j] == c->output[i]) return false;
    }
  }
  int free_after[kChainSlots];  // step after which a slot may be written again
  for (int& f : free_after) f = -1;
  for (int s = 0; s < c->steps; ++s) {
    const ChainStep& op = c->step[s];
    const int value = c->inputs + s;
    if ((op.unary == nullptr) == (op.binary == nullptr)) return false;
    if (op.a < 0 || op.a >= value || (op.binary && (op.b < 0 || op.b >= value))) return false;
    if (output_of(*c, value) >= 0 && !c->out_width) continue;
    int slot = 0;
    while (slot < kChainSlots && free_after[slot] >= s) ++slot;
    if (slot == kChainSlots) return false;
    c->slot[s] = static_cast<int8_t>(slot);
    const int use = last_use(*c, value);
    free_after[slot] = use > s ? use : s;
  }
  return true;
}

void run_chain(const Chain& chain, const NdPlan& plan, const float* const* inputs, float* const* outputs,
               int threads) noexcept {
  const char* base[kMaxOperands];
  size_t bytes[kMaxOperands];
  for (int i = 0; i < chain.inputs; ++i) {
    base[i] = reinterpret_cast<const char*>(inputs[i]);
    bytes[i] = sizeof(float);
  }
  parallel_for(threads, plan.size, kGrain, [&](int64_t begin, int64_t end) noexcept {
    alignas(64) float slots[kChainSlots][kChainBlock];
    drive<kMaxOperands>(plan, base, bytes, begin, end, kChainBlock,
                        [&](int64_t at, const char* const* p, const int* step, int64_t n) noexcept {
                          run_block(chain, p, step, outputs, at, n, slots);
                        });
  });
}

}  // namespace skyline::kernels
