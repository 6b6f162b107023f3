// The order matters for which of two possible rewrites happens; the driver repeats a list until nothing
// fires.
#include <array>

#include "graph/passes/passes.h"

namespace skyline {
namespace {

using namespace passes;

const std::array kPortable = {
    // Constants, and what they make superfluous.
    kInlineIf, kFoldConstants, kRemoveIdentity, kMergeCommon, kSplitMean, kSplitSum,
    // Recognition comes before all that takes a number away from a pattern: HardSigmoid(conv + 3) is to keep
    // its 3, and Gelu its 0.5 when a MatMul is next.
    kRecogniseActivation, kRecogniseGelu, kRecogniseNorm, kRecogniseSoftmax,
    // Before a Transpose can come between a factor and its MatMul.
    kFuseMatMul,
    // Data movement.
    kMergeReshapes, kSinkReshapes, kMergeTransposes, kSinkTransposes, kMergeConcats,
    // Folding.
    kFoldNormScale,
    // Folding comes before fusion, which hides weights and bias behind an epilogue.
    kFoldPad, kFoldSpaceToDepth, kFoldBatchNorm, kFoldScaleAfter, kFoldScaleBefore, kDecomposeBatchNorm,
    // Fusion.
    kFuseResidual, kFuseActivation};

const std::array kTarget = {kRecogniseAttention, kPlaceAttention,
                            // Folding would hide the integers of weights.
                            kFuseQuantized, kFuseIntegerToFloat, kFuseDynamic, kKeepIntegerWeights,
                            kFoldDequantize,
                            // What the model itself moves, now that all sizes are known.
                            kMergeTransposes, kMergeReshapes, kSinkTransposes,
                            // What is left of that.
                            kFoldConstants, kRemoveIdentity, kMergeCommon};

const std::array kLayout = {kAssignLayout,
                            // The moves that it has brought meet and cancel.
                            kMergeTransposes, kMergeReshapes, kFoldConstants, kRemoveIdentity, kMergeCommon};

const std::array kFinal = {kFuseStrips, kFuseElementwise};

}  // namespace

std::span<const Pass> portable_passes() {
  return kPortable;
}
std::span<const Pass> target_passes() {
  return kTarget;
}
std::span<const Pass> layout_passes() {
  return kLayout;
}
std::span<const Pass> final_passes() {
  return kFinal;
}

}  // namespace skyline
