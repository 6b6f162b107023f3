// skyline doctor: what the machine is.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "engine/cli/cli.h"
#include "engine/runtime/machine.h"
#include "kernels/base/cpu.h"
#include "skyline/isa.h"

namespace skyline::cli {
namespace {

// Spread of a fixed piece of work: how far single timings can be trusted here.
double frequency_noise() {
  std::vector<double> samples;
  for (int i = 0; i < 60; ++i) {
    const auto start = std::chrono::steady_clock::now();
    volatile uint64_t x = 1;
    for (int k = 0; k < 400000; ++k) x = x * 2862933555777941757u + 3037000493u;
    samples.push_back(std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
  }
  std::sort(samples.begin(), samples.end());
  return 100 * (samples[54] - samples[6]) / samples[30];  // the middle 80 %
}

void doctor(bool json) {
  const kernels::CpuInfo& cpu = kernels::cpu_info();
  const SessionOptions environment = SessionOptions::from_environment();
  const IsaSet isa = isa_level(environment.isa);
  Json out = fingerprint();
  out["isa_level"] = isa_level_name(isa_detected());
  out["isa_used"] = isa_level_name(isa);
  out["logical_cpus"] = cpu.logical_cpus;
  out["noise_percent"] = frequency_noise();
  Json list = Json::array();
  for (int threads = 1; threads <= cpu.usable_cpus; threads *= 2) {
    const Peaks p = measure_peaks(isa, threads);
    list.push_back({{"threads", threads},
                    {"f32_fma_gflops", p.f32_fma_gflops},
                    {"f32_gemm_gflops", p.f32_gflops},
                    {"memory_read_gbps", p.read_gbps}});
  }
  out["peaks"] = list;
  if (json) return print(out.dump(2) + "\n");
  std::string text = fmt::format(
      "cpu        {}\nisa        {}\nlevel      {} (used: {})\ncpus       {} usable of {} online\n"
      "caches     L1d {} KiB, L2 {} KiB, L3 {} KiB\nos         {}\nnoise      {:.1f} % (spread of the middle "
      "80 % of a fixed piece of work)\n",
      cpu.model, isa_to_string(isa_detected()), isa_level_name(isa_detected()), isa_level_name(isa),
      cpu.usable_cpus, cpu.logical_cpus, cpu.l1d >> 10, cpu.l2 >> 10, cpu.l3 >> 10,
      out["os"].get<std::string>(), out["noise_percent"].get<double>());
  for (const Json& p : list) {
    text += fmt::format(
        "peak       {} threads: {:.1f} GFLOP/s f32 FMA, {:.1f} in the loop of a GEMM, {:.1f} GB/s read from "
        "memory\n",
        p["threads"].get<int>(), p["f32_fma_gflops"].get<double>(), p["f32_gemm_gflops"].get<double>(),
        p["memory_read_gbps"].get<double>());
  }
  print(text);
}

}  // namespace

void add_doctor(CLI::App& app) {
  auto json = std::make_shared<bool>(false);
  CLI::App* c = app.add_subcommand("doctor", "ISA, caches, CPU set, timing noise, measured peaks");
  c->add_flag("--json", *json, "One JSON object");
  c->callback([json] { doctor(*json); });
}

}  // namespace skyline::cli
