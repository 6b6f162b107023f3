#include "kernels/base/cpu.h"

#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <sstream>

namespace skyline::kernels {
namespace {

std::string model_name() {
  std::ifstream in("/proc/cpuinfo");
  for (std::string line; std::getline(in, line);) {
    if (line.rfind("model name", 0) == 0 || line.rfind("CPU implementer", 0) == 0) {
      const size_t colon = line.find(':');
      return colon == std::string::npos ? line : line.substr(std::min(line.size(), colon + 2));
    }
  }
  return "unknown";
}

// Bytes of a data or unified cache of cpu0 at a level; 0 when the kernel does not say.
int64_t cache_bytes(int level) {
  for (int index = 0; index < 8; ++index) {
    const std::string dir = "/sys/devices/system/cpu/cpu0/cache/index" + std::to_string(index) + "/";
    int found = 0;
    std::string type, size;
    if (!(std::ifstream(dir + "level") >> found)) break;
    std::ifstream(dir + "type") >> type;
    std::ifstream(dir + "size") >> size;
    if (found != level || type == "Instruction" || size.empty()) continue;
    const int64_t unit = size.back() == 'K' ? 1 << 10 : size.back() == 'M' ? 1 << 20 : 1;
    return std::atoll(size.c_str()) * unit;
  }
  return 0;
}

// CPUs' worth of time that cgroup v2 grants, or 0 when unlimited or unknown.
int cgroup_cpus() {
  std::ifstream in("/sys/fs/cgroup/cpu.max");
  std::string quota;
  double period = 0;
  if (!(in >> quota >> period) || quota == "max" || period <= 0) return 0;
  return static_cast<int>(std::ceil(std::atof(quota.c_str()) / period));
}

CpuInfo measure() {
  CpuInfo info;
  info.model = model_name();
  // Fallbacks are the smallest sizes found on current x86 and Arm server cores.
  info.l1d = cache_bytes(1) ? cache_bytes(1) : 32 << 10;
  info.l2 = cache_bytes(2) ? cache_bytes(2) : 512 << 10;
  info.l3 = cache_bytes(3) ? cache_bytes(3) : info.l2;
  info.logical_cpus = std::max(1, static_cast<int>(sysconf(_SC_NPROCESSORS_ONLN)));
  cpu_set_t set;
  CPU_ZERO(&set);
  info.usable_cpus = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : info.logical_cpus;
  if (const int granted = cgroup_cpus(); granted > 0) info.usable_cpus = std::min(info.usable_cpus, granted);
  info.usable_cpus = std::max(info.usable_cpus, 1);
  return info;
}

}  // namespace

const CpuInfo& cpu_info() {
  static const CpuInfo info = measure();
  return info;
}

}  // namespace skyline::kernels
