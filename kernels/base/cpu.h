#pragma once
// The machine as schedules and reports need it.
#include <cstdint>
#include <string>

namespace skyline::kernels {

struct CpuInfo {
  std::string model;     // as /proc/cpuinfo names it
  int64_t l1d = 0;       // bytes, per core
  int64_t l2 = 0;        // bytes, per core
  int64_t l3 = 0;        // bytes, shared
  int logical_cpus = 1;  // online
  int usable_cpus = 1;   // what the affinity mask and the cgroup's CPU quota leave us, rounded up, at least 1
};
const CpuInfo& cpu_info();  // measured once; thread-safe

}  // namespace skyline::kernels
