#pragma once
// For *.isa.cc files and the like: one function for each size of tile up to Mr rows and Nv vectors.
#include "kernels/base/lanes.h"

namespace skyline::kernels {
namespace {

template <class Fn, int Mr, int Nv>
struct TileTable {
  Fn fn[Mr][Nv] = {};

  // get: called as get.template operator()<M, NV>() for every size.
  template <class Get>
  constexpr explicit TileTable(Get get) {
    fill<Mr, Nv>(get);
  }
  // For m rows of n columns, both at least 1.
  Fn of(int64_t m, int64_t n) const { return fn[m - 1][(n - 1) / kLanes]; }

 private:
  template <int M, int NV, class Get>
  constexpr void fill(Get get) {
    fn[M - 1][NV - 1] = get.template operator()<M, NV>();
    if constexpr (NV > 1) {
      fill<M, NV - 1>(get);
    } else if constexpr (M > 1) {
      fill<M - 1, Nv>(get);
    }
  }
};

}  // namespace
}  // namespace skyline::kernels
