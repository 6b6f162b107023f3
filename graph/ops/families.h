#pragma once
// One function per family of operators, and the list of them that the registry walks.
#include <span>

#include "graph/ir/op.h"

namespace skyline::ops {

using Family = std::span<const OpDef> (*)();

std::span<const OpDef> identity_ops();
std::span<const OpDef> unary_ops();
std::span<const OpDef> unary_float_ops();
std::span<const OpDef> activation_ops();
std::span<const OpDef> arithmetic_ops();
std::span<const OpDef> compare_ops();
std::span<const OpDef> cast_ops();
std::span<const OpDef> shape_ops();
std::span<const OpDef> slice_ops();
std::span<const OpDef> pad_ops();
std::span<const OpDef> generate_ops();
std::span<const OpDef> gather_ops();
std::span<const OpDef> scatter_ops();
std::span<const OpDef> select_ops();
std::span<const OpDef> conv_ops();
std::span<const OpDef> strips_ops();
std::span<const OpDef> matmul_ops();
std::span<const OpDef> pool_ops();
std::span<const OpDef> softmax_ops();
std::span<const OpDef> reduce_ops();
std::span<const OpDef> conv_transpose_ops();
std::span<const OpDef> conv_special_ops();
std::span<const OpDef> norm_ops();
std::span<const OpDef> control_ops();
std::span<const OpDef> recurrent_ops();
std::span<const OpDef> resize_ops();
std::span<const OpDef> grid_ops();
std::span<const OpDef> roi_ops();
std::span<const OpDef> sequence_ops();
std::span<const OpDef> signal_ops();
std::span<const OpDef> einsum_ops();
std::span<const OpDef> text_ops();
std::span<const OpDef> tfidf_ops();
std::span<const OpDef> attention_ops();
std::span<const OpDef> append_ops();
std::span<const OpDef> losses_ops();
std::span<const OpDef> transformer_ops();
std::span<const OpDef> microsoft_ops();
std::span<const OpDef> microsoft_attention_ops();
std::span<const OpDef> quantize_ops();
std::span<const OpDef> quantized_matmul_ops();
std::span<const OpDef> quantized_conv_ops();
std::span<const OpDef> quantized_contrib_ops();
std::span<const OpDef> random_ops();
std::span<const OpDef> ml_feature_ops();
std::span<const OpDef> ml_tree_ops();
std::span<const OpDef> ml_linear_ops();
std::span<const OpDef> fused_elementwise_ops();

inline constexpr Family kFamilies[] = {
    identity_ops,
    unary_ops,
    unary_float_ops,
    activation_ops,
    arithmetic_ops,
    compare_ops,
    cast_ops,
    shape_ops,
    slice_ops,
    pad_ops,
    generate_ops,
    gather_ops,
    scatter_ops,
    select_ops,
    conv_ops,
    strips_ops,
    matmul_ops,
    pool_ops,
    softmax_ops,
    reduce_ops,
    conv_transpose_ops,
    conv_special_ops,
    norm_ops,
    control_ops,
    recurrent_ops,
    resize_ops,
    grid_ops,
    roi_ops,
    sequence_ops,
    signal_ops,
    einsum_ops,
    text_ops,
    tfidf_ops,
    attention_ops,
    append_ops,
    losses_ops,
    transformer_ops,
    microsoft_ops,
    microsoft_attention_ops,
    quantize_ops,
    quantized_matmul_ops,
    quantized_conv_ops,
    quantized_contrib_ops,
    random_ops,
    ml_feature_ops,
    ml_tree_ops,
    ml_linear_ops,
    fused_elementwise_ops,
};

}  // namespace skyline::ops
