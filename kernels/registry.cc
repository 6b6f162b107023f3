// Every kernel of the build, in one place. To add a kernel: define its row beside its code, declare it in the
// family's header, and name it here, before the rows of the same op that it beats.
#include "kernels/attention/attention.h"
#include "kernels/conv/depthwise.h"
#include "kernels/conv/depthwise_bytes.h"
#include "kernels/conv/direct.h"
#include "kernels/conv/winograd.h"
#include "kernels/eltwise/eltwise.h"
#include "kernels/gemm/dense.h"
#include "kernels/gemm/gemv.h"
#include "kernels/gemm/tile.h"
#include "kernels/norm/norm.h"
#include "kernels/pool/pool.h"
#include "kernels/probe/probe.h"
#include "kernels/quantize/lookup.h"
#include "kernels/quantize/quantize.h"
#include "kernels/reduce/reduce.h"
#include "kernels/resize/resize.h"
#include "kernels/rnn/rnn.h"
#include "kernels/softmax/softmax.h"
#include "skyline/kernel.h"

namespace skyline {
namespace {

using namespace kernels;

constexpr const KernelInfo* kAll[] = {
#if defined(__x86_64__)
    // gemm: kernels/gemm
    &gemm_f32_narrow_avx512,
    &gemm_f32_wide_avx512,
    &gemm_f32_square_avx512,
    &gemm_f32_avx512,
    &gemm_f32_avx2,
    &gemm_f32_sse2,
    // of floats as sums of bf16
    &dense_bf16_amx,
    &dense_bf16x3_amx,
    &dense_bf16x6_amx,
    &dense_f16_avx512fp16,
    // of 8-bit integers, four at a time
    &dense_i8_amx,
    &dense_u8_amx,
    &dense_u8_avx512vnni,
    &dense_u8_avxvnni,
    &dense_u8_avx512,
    &dense_u8_avx2,
    // of 8-bit integers widened
    &gemm_i16_avx512,
    &gemm_i16_avx2,
    &gemm_i16_sse2,
    // a few rows by weights of fewer bits
    &gemv_avx512[0],
    &gemv_avx512[1],
    &gemv_avx512[2],
    &gemv_avx512[3],
    &gemv_avx2[0],
    &gemv_avx2[1],
    &gemv_avx2[2],
    &gemv_avx2[3],
    &gemv_sse2[0],
    &gemv_sse2[1],
    &gemv_sse2[2],
    // depthwise: kernels/conv
    &depthwise_bytes_avx512vnni,
    &depthwise_bf16_amx[0],
    &depthwise_bf16_amx[1],
    &depthwise_bf16_amx[2],
    &depthwise_f32_avx512,
    &depthwise_f32_avx2,
    &depthwise_f32_sse2,
    &dots_f32_avx512,
    &window3_f32_avx512,
    &window3s2_f32_avx512,
    &window5_f32_avx512,
    &window5s2_f32_avx512,
    &window6s2_f32_avx512,
    &direct_f32_broad_avx512,
    &direct_f32_avx512,
    &dots_f32_avx2,
    &window3_f32_avx2,
    &window3s2_f32_avx2,
    &window5_f32_avx2,
    &window5s2_f32_avx2,
    &window6s2_f32_avx2,
    &direct_f32_avx2,
    &dots_f32_sse2,
    &window3_f32_sse2,
    &window3s2_f32_sse2,
    &window5_f32_sse2,
    &window5s2_f32_sse2,
    &window6s2_f32_sse2,
    &direct_f32_sse2,
    &winograd_f32_avx512,
    &winograd2_f32_avx512,
    &winograd_f32_avx2,
    &winograd2_f32_avx2,
    &winograd_f32_sse2,
    &winograd2_f32_sse2,
    // tables, one per level: the folder of the name
    &eltwise_avx512.info,
    &eltwise_avx2.info,
    &eltwise_sse2.info,
    &reduce_avx512.info,
    &reduce_avx2.info,
    &reduce_sse2.info,
    &softmax_avx512.info,
    &softmax_avx2.info,
    &softmax_sse2.info,
    &attention_bf16_amx,
    &attention_avx512.info,
    &attention_avx2.info,
    &attention_sse2.info,
    &norm_avx512.info,
    &norm_avx2.info,
    &norm_sse2.info,
    &pool_avx512.info,
    &pool_avx2.info,
    &pool_sse2.info,
    &resize_avx512.info,
    &resize_avx2.info,
    &resize_sse2.info,
    &rnn_avx512.info,
    &rnn_avx2.info,
    &rnn_sse2.info,
    &quantize_avx512.info,
    &quantize_avx2.info,
    &quantize_sse2.info,
    &lookup_avx512fp16,
    &lookup_avx512,
    &lookup_avx2,
    &lookup_sse2,
    // loops of known work, to measure the machine
    &probe_avx512.info,
    &probe_avx2.info,
    &probe_sse2.info,
    &probe_tiles_amx.info,
#elif defined(__aarch64__)
    &gemm_f32_neon,      &gemm_i16_neon,       &depthwise_f32_neon, &eltwise_neon.info,  &winograd_f32_neon,
    &winograd2_f32_neon, &dots_f32_neon,       &window3_f32_neon,   &window3s2_f32_neon, &window5_f32_neon,
    &window5s2_f32_neon, &window6s2_f32_neon,  &direct_f32_neon,    &reduce_neon.info,   &softmax_neon.info,
    &norm_neon.info,     &pool_neon.info,      &resize_neon.info,   &rnn_neon.info,      &quantize_neon.info,
    &probe_neon.info,    &attention_neon.info, &lookup_neon,        &dense_i8_dotprod,   &gemv_neon[0],
    &gemv_neon[1],       &gemv_neon[2],        &gemv_neon[3],
#endif
};

}  // namespace

std::span<const KernelInfo* const> all_kernels() noexcept {
  return kAll;
}

}  // namespace skyline
