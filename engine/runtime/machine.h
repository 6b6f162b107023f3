#pragma once
// What this machine can do, measured: the roofline that profiles are held against. bench/roofline prints
// more.
#include "skyline/isa.h"

namespace skyline {

struct Peaks {
  double f32_fma_gflops = 0;  // multiply-adds on registers only
  double f32_gflops = 0;      // the loop of a matrix product with operands in L1: what a kernel can hope for
  double read_gbps = 0;       // reading 256 MiB
  int threads = 1;
};
// Takes about a quarter of a second. Best of several rounds, so that a busy neighbour does not lower the
// roof.
Peaks measure_peaks(IsaSet isa, int threads);

}  // namespace skyline
