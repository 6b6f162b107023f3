#pragma once
// What the machine has left of the speed of AMX tiles. There are hosts whose tiles run at a quarter of it for
// seconds (Xeon, model 143, shared with others) while f32 stays as fast: then several products of bf16 take
// longer than the f32 one that they stand for.

namespace skyline::kernels {

struct DenseKernel;

// The speed of bf16 products on tiles over that of f32, divided by what it is where nothing is in the way; at
// most 1. Measured once per process, at the first call (some 100 us), so that all plans of a process choose
// alike, and no result depends on threads. 1 where there are no tiles.
double tile_share() noexcept;
// Multiply-adds relative to f32, as things are.
double present_rate(const DenseKernel& kernel) noexcept;

}  // namespace skyline::kernels
