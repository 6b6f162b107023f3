#pragma once
// What this machine can do, measured: the roofline that profiles are held against.
#include "skyline/isa.h"

namespace skyline {

struct Peaks {
  double f32_gflops = 0;  // our GEMM on 256 x 256 x 256, operands in L2
  double read_gbps = 0;   // streaming a buffer of 256 MiB or 4 times L3, whichever is smaller than 1 GiB
  int threads = 1;
};
// Takes about half a second. Best of several rounds, so that a busy neighbour does not lower the roof.
Peaks measure_peaks(IsaSet isa, int threads);

}  // namespace skyline
