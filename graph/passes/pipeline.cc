// The order matters only for speed and for which of two possible rewrites happens; the driver repeats the
// list until nothing fires.
#include <array>

#include "graph/passes/passes.h"

namespace skyline {
namespace {

using namespace passes;

// Recognition comes before folding: HardSigmoid(conv + 3) is to keep its 3. Folding comes before fusion,
// which hides the bias and the weights behind an epilogue.
const std::array kPortable = {
    kInlineIf,           kFoldConstants,       kRemoveIdentity, kMergeCommon,    kFoldPad,
    kFoldBatchNorm,      kRecogniseActivation, kRecogniseGelu,  kFoldScaleAfter, kFoldScaleBefore,
    kDecomposeBatchNorm, kFuseMatMul,          kFuseResidual,   kFuseActivation,
};

const std::array kTarget = {
    kFoldDequantize, kLayoutNhwc,    kMergeTransposes, kMergeReshapes,
    kSinkTransposes, kFoldConstants, kRemoveIdentity,  kMergeCommon,
};

}  // namespace

std::span<const Pass> portable_passes() {
  return kPortable;
}
std::span<const Pass> target_passes() {
  return kTarget;
}

}  // namespace skyline
