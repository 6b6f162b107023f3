#include "kernels/gemm/tile_share.h"

#include <algorithm>
#include <chrono>
#include <cstring>

#include "kernels/base/memory.h"
#include "kernels/gemm/dense.h"
#include "kernels/gemm/gemm.h"

namespace skyline::kernels {
namespace {

// A product that stays in L1, its rows not a multiple of 2 KB apart.
constexpr int64_t kRows = 32, kColumns = 64, kDepth = 160;
constexpr int kTurns = 8, kCalls = 4;
// bf16 over f32 for this product that counts as undisturbed: an estimate, low rather than high, as the call
// itself takes a share of the time.
constexpr double kUndisturbed = 6;

class Product {
 public:
  Product(DType a, Precision precision)
      : plan_(gemm_plan(
            {.m = kRows, .n = kColumns, .k = kDepth, .const_b = true, .a = a, .b = a, .precision = precision},
            isa_detected())),
        a_(zeros(kRows * kDepth * 4)),
        b_(zeros(kDepth * kColumns * 4)),
        c_(zeros(kRows * kColumns * 4)),
        packed_(zeros(static_cast<int64_t>(plan_.packed_b_bytes))),
        workspace_(zeros(static_cast<int64_t>(gemm_workspace_bytes(plan_, 1)))) {
    gemm_pack_b(plan_, {.b = b_.get(), .ldb = kColumns}, packed_.get());
  }
  bool on_tiles() const { return plan_.dense && (plan_.dense->needs & kIsaAmxBf16); }
  double seconds() const {
    const auto begin = std::chrono::steady_clock::now();
    for (int i = 0; i < kCalls; ++i) {
      gemm_run(plan_, {.a = a_.get(), .lda = kDepth, .b = packed_.get(), .c = c_.get(), .ldc = kColumns},
               workspace_.get(), 1);
    }
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  }

 private:
  static AlignedBuffer zeros(int64_t bytes) {
    const size_t size = align_up(static_cast<size_t>(bytes) + 1);
    AlignedBuffer buffer = aligned_alloc_bytes(size);
    std::memset(buffer.get(), 0, size);
    return buffer;
  }
  GemmPlan plan_;
  AlignedBuffer a_, b_, c_, packed_, workspace_;
};

double measure() {
  if (!(isa_detected() & kIsaAmxBf16)) return 1;
  const Product tiles(DType::bf16, Precision::bf16), floats(DType::f32, Precision::f32);
  if (!tiles.on_tiles()) return 1;
  double fast = tiles.seconds(), slow = floats.seconds();
  for (int i = 0; i < kTurns; ++i) {
    fast = std::min(fast, tiles.seconds());
    slow = std::min(slow, floats.seconds());
  }
  return std::clamp(slow / fast / kUndisturbed, 0.05, 1.0);
}

}  // namespace

double tile_share() noexcept {
  static const double share = measure();
  return share;
}

double present_rate(const DenseKernel& kernel) noexcept {
  return kernel.needs & kIsaAmxBf16 ? kernel.rate * tile_share() : kernel.rate;
}

}  // namespace skyline::kernels
