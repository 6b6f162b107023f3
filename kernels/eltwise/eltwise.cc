#include "kernels/eltwise/eltwise.h"

#include <cstring>

#include "kernels/base/levels.h"
#include "kernels/base/parallel.h"
#include "kernels/eltwise/drive.h"
#include "kernels/eltwise/other_types.h"

namespace skyline::kernels {

const EltwiseTable& eltwise_kernels(IsaSet isa) noexcept {
  return SKYLINE_PICK_LEVEL(eltwise, isa);
}

namespace {

constexpr int64_t kGrain = 8192;  // elements: below it starting a thread costs more than it saves

template <class T>
void where_span(const uint8_t* c, int step_c, const T* a, int step_a, const T* b, int step_b, T* y,
                int64_t n) noexcept {
  if (step_c && step_a && step_b) {
    for (int64_t i = 0; i < n; ++i) y[i] = c[i] ? a[i] : b[i];
  } else {
    for (int64_t i = 0; i < n; ++i) y[i] = c[i * step_c] ? a[i * step_a] : b[i * step_b];
  }
}

template <class T>
void where_typed(const NdPlan& plan, const void* condition, const void* a, const void* b, void* y,
                 int threads) noexcept {
  const char* const base[3] = {static_cast<const char*>(condition), static_cast<const char*>(a),
                               static_cast<const char*>(b)};
  const size_t bytes[3] = {1, sizeof(T), sizeof(T)};
  parallel_for(threads, plan.size, kGrain, [&](int64_t begin, int64_t end) noexcept {
    drive<3>(plan, base, bytes, begin, end, kNoLimit,
             [&](int64_t at, const char* const* p, const int* step, int64_t count) noexcept {
               where_span(reinterpret_cast<const uint8_t*>(p[0]), step[0], reinterpret_cast<const T*>(p[1]),
                          step[1], reinterpret_cast<const T*>(p[2]), step[2], static_cast<T*>(y) + at, count);
             });
  });
}

}  // namespace

SpanFn find_binary(const EltwiseTable& t, BinaryOp op, DType type) noexcept {
  if (op >= BinaryOp::count) return nullptr;
  return type == DType::f32 ? t.binary[static_cast<int>(op)] : find_binary_other(op, type);
}

void run_unary(UnaryFn fn, const float* x, float* y, int64_t n, float alpha, float beta,
               int threads) noexcept {
  parallel_for(threads, n, kGrain, [&](int64_t begin, int64_t end) noexcept {
    fn(x + begin, y + begin, end - begin, alpha, beta);
  });
}

void run_affine_rows(AffineRowsFn fn, const AffineRows& a, int64_t rows, int threads) noexcept {
  parallel_for(threads, rows, kGrain / (a.n + 1) + 1, [&](int64_t begin, int64_t end) noexcept {
    AffineRows part = a;
    part.x += begin * a.ldx;
    part.y += begin * a.ldy;
    if (a.other) part.other += begin * a.ldo;
    fn(part, end - begin);
  });
}

void run_cast(CastFn fn, size_t x_bytes, size_t y_bytes, const void* x, void* y, int64_t n,
              int threads) noexcept {
  const char* in = static_cast<const char*>(x);
  char* out = static_cast<char*>(y);
  parallel_for(threads, n, kGrain, [&](int64_t begin, int64_t end) noexcept {
    fn(in + begin * static_cast<int64_t>(x_bytes), out + begin * static_cast<int64_t>(y_bytes), end - begin);
  });
}

void run_binary(SpanFn fn, const NdPlan& plan, size_t in_bytes, size_t out_bytes, const void* a,
                const void* b, void* y, const void* params, int threads) noexcept {
  const char* const base[2] = {static_cast<const char*>(a), static_cast<const char*>(b)};
  const size_t bytes[2] = {in_bytes, in_bytes};
  char* out = static_cast<char*>(y);
  parallel_for(threads, plan.size, kGrain, [&](int64_t begin, int64_t end) noexcept {
    drive<2>(plan, base, bytes, begin, end, kNoLimit,
             [&](int64_t at, const char* const* p, const int* step, int64_t count) noexcept {
               fn(p[0], p[1], out + at * static_cast<int64_t>(out_bytes), count, step[0], step[1], params);
             });
  });
}

void run_where(const NdPlan& plan, size_t bytes, const void* condition, const void* a, const void* b, void* y,
               int threads) noexcept {
  switch (bytes) {
    case 1:
      return where_typed<uint8_t>(plan, condition, a, b, y, threads);
    case 2:
      return where_typed<uint16_t>(plan, condition, a, b, y, threads);
    case 4:
      return where_typed<uint32_t>(plan, condition, a, b, y, threads);
    case 8:
      return where_typed<uint64_t>(plan, condition, a, b, y, threads);
    default:
      return;
  }
}

}  // namespace skyline::kernels
