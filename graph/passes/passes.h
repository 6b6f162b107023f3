#pragma once
// The passes, one file for a few that belong together, and the ordered lists of them. See ADD_A_PASS.md.
#include <span>

#include "graph/ir/pass.h"

namespace skyline {

// Rewrites that make any graph simpler, whatever it runs on. Facts must be inferred before.
std::span<const Pass> portable_passes();
// Rewrites towards what our kernels run best; on graphs with static shapes, after the portable ones.
std::span<const Pass> target_passes();
// Carry out the layouts that have been assigned to nodes (graph/passes/layout.h), after the target ones.
std::span<const Pass> layout_passes();
// What hides operators from the passes above, and so comes after them.
std::span<const Pass> final_passes();

namespace passes {

// Constants.
extern const Pass kFoldConstants;       // what depends on constants and static shapes only
extern const Pass kFoldDequantize;      // the same for DequantizeLinear, which precision passes want to see
extern const Pass kFuseQuantized;       // between DequantizeLinear and QuantizeLinear -> on integers
extern const Pass kFuseIntegerToFloat;  // a product that reads DequantizeLinear nodes, its result f32
extern const Pass kFuseDynamic;         // integer products by scales found at run time
extern const Pass
    kKeepIntegerWeights;      // a product of f32 that reads DequantizeLinear of constants -> MatMulNBits
extern const Pass kInlineIf;  // If with a constant condition -> its branch
// Cleaning.
extern const Pass kRemoveIdentity;  // nodes that return their input
extern const Pass kMergeCommon;     // nodes that compute what another already does
extern const Pass kSplitMean;       // Mean -> Sum / count
extern const Pass kSplitSum;        // Sum -> Adds
// Into constant weights.
extern const Pass kFoldBatchNorm;       // BatchNormalization after a contraction
extern const Pass kDecomposeBatchNorm;  // BatchNormalization that stands alone -> Mul + Add
extern const Pass kFoldScaleAfter;      // Mul, Div, Add, Sub by constants per channel after a contraction
extern const Pass kFoldScaleBefore;     // the same before a Conv
extern const Pass kFoldPad;             // Pad into Conv and pools
extern const Pass kFoldSpaceToDepth;    // SpaceToDepth and Focus into Conv

// Recognition of what is spelled out.
extern const Pass kRecogniseActivation;  // HardSigmoid, HardSwish, Swish, LeakyRelu, Clip
extern const Pass kRecogniseGelu;        // exact and by tanh
extern const Pass kRecogniseNorm;        // LayerNormalization, RMSNormalization, without scale and bias
extern const Pass kRecogniseSoftmax;     // with its maximum taken off
extern const Pass kFoldNormScale;        // constants after a normalization into its scale and bias
extern const Pass
    kRecogniseAttention;            // on static shapes: softmax(Q K^T) V with the moves of heads before it
extern const Pass kPlaceAttention;  // and with those behind it

// Fusion.
extern const Pass kFuseMatMul;       // a transposed factor, a product with a number
extern const Pass kFuseResidual;     // contraction + tensor of its shape
extern const Pass kFuseActivation;   // activation of a contraction
extern const Pass kFuseElementwise;  // chains and trees of elementwise operators
extern const Pass kFuseStrips;       // chains of convolutions with large intermediates

// Data movement.
extern const Pass kMergeReshapes;  // chains of Reshape, Squeeze, Unsqueeze, Flatten; Transposes that are one
extern const Pass kSinkReshapes;   // behind what a contraction's epilogue can take
extern const Pass kMergeConcats;   // a Concat that begins like another
extern const Pass kMergeTransposes;  // Transpose of a Transpose
extern const Pass kSinkTransposes;   // towards the outputs, to meet others
extern const Pass kAssignLayout;     // nodes channels-last that have been assigned so

}  // namespace passes
}  // namespace skyline
