#include "engine/plan_file/content.h"
#include "kernels/base/cpu.h"
#include "skyline/isa.h"
#include "skyline_build.h"  // kBuild, made by the build of what the files hold: third_party/cmake/build_hash.cmake

namespace skyline::plan_file {

Key key_of_here() {
  const kernels::CpuInfo& cpu = kernels::cpu_info();
  return {std::string(kVersion), std::string(kBuild), isa_to_string(isa_detected()), cpu.l1d, cpu.l2, cpu.l3};
}

}  // namespace skyline::plan_file
