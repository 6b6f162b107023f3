#pragma once
// One function per family of lowerings, and the list that the registry walks.
#include <span>

#include "engine/lower/lowering.h"
#include "kernels/eltwise/eltwise.h"

namespace skyline::lower {

using Family = std::span<const LowerRow> (*)();

std::span<const LowerRow> shape_rows();
std::span<const LowerRow> eltwise_rows();
std::span<const LowerRow> chain_rows();
std::span<const LowerRow> gemm_rows();
std::span<const LowerRow> attention_rows();
std::span<const LowerRow> append_rows();
std::span<const LowerRow> attention_microsoft_rows();
std::span<const LowerRow> move_rows();
std::span<const LowerRow> index_rows();
std::span<const LowerRow> select_rows();
std::span<const LowerRow> reduce_rows();
std::span<const LowerRow> pool_rows();
std::span<const LowerRow> resize_rows();
std::span<const LowerRow> recurrent_rows();
std::span<const LowerRow> conv_rows();
std::span<const LowerRow> strips_rows();
std::span<const LowerRow> quantize_rows();
std::span<const LowerRow> quantized_product_rows();
std::span<const LowerRow> narrow_weight_rows();

// op over all inputs from the left; in chain.cc.
std::optional<Lowered> lower_variadic(Lowering& l, std::string_view op);

// f32 steps over the node's inputs, the last of which is the result; operands may be rows inside wider
// tensors where elements_in_place says so. In chain.cc.
std::optional<Lowered> lower_chain(Lowering& l, const kernels::Chain& steps);
// "Add" or "Mul" of a tensor and one number per column of it, f32; nothing for other operands. In chain.cc.
std::optional<Lowered> lower_column_op(Lowering& l, std::string_view op);
bool elements_in_place(const Graph& g, const Node& n, Side side, size_t index);

inline constexpr Family kFamilies[] = {
    shape_rows,
    eltwise_rows,
    chain_rows,
    gemm_rows,
    attention_rows,
    append_rows,
    attention_microsoft_rows,
    move_rows,
    index_rows,
    select_rows,
    reduce_rows,
    pool_rows,
    resize_rows,
    recurrent_rows,
    conv_rows,
    strips_rows,
    quantize_rows,
    quantized_product_rows,
    narrow_weight_rows,
};

}  // namespace skyline::lower
