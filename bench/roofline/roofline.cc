// The machine's peaks: f32 multiply-adds of every ISA level, and the bandwidth of every level of memory, at 1
// to N threads.
//   bench_roofline [--isa LEVEL] [--threads N] [--json]
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "kernels/base/cpu.h"
#include "kernels/probe/probe.h"
#include "skyline/isa.h"
#include "skyline/kernel.h"
#include "skyline/status.h"

namespace {

using namespace skyline;
using namespace skyline::kernels;
using Json = nlohmann::ordered_json;

std::vector<int> thread_counts(int most) {
  std::vector<int> counts;
  for (int t = 1; t < most; t *= 2) counts.push_back(t);
  counts.push_back(most);
  return counts;
}

Json measure_compute(IsaSet isa, const std::vector<int>& threads) {
  Json rows = Json::array();
  for (const KernelInfo* info : all_kernels()) {
    if (info->op != "probe" || !usable(*info, isa)) continue;
    const auto& table = *reinterpret_cast<const ProbeTable*>(info);  // a table begins with its row
    for (int t : threads) {
      rows.push_back({{"isa", info->name.substr(info->name.find('_') + 1)},
                      {"threads", t},
                      {"fma_gflops", probe_compute(table, Compute::fma, t)},
                      {"tile_gflops", probe_compute(table, Compute::tile, t)}});
    }
  }
  return rows;
}

struct Level {
  const char* name;
  int64_t bytes;  // for each thread
};

// Sizes well inside each level and well outside the one before. A machine may not tell its caches.
std::vector<Level> memory_levels(int threads) {
  const CpuInfo& cpu = cpu_info();
  const int64_t l1 = cpu.l1d ? cpu.l1d : 32 << 10, l2 = cpu.l2 ? cpu.l2 : 512 << 10;
  std::vector<Level> levels{{"L1", l1 / 2}, {"L2", l2 / 2}};
  if (cpu.l3 >= 4 * l2 * threads) levels.push_back({"L3", 2 * l2});
  const int64_t all = std::max<int64_t>(int64_t{512} << 20, 4 * cpu.l3);
  levels.push_back({"DRAM", all / threads});
  return levels;
}

Json measure_memory(IsaSet isa, const std::vector<int>& threads) {
  const ProbeTable& table = probe_kernels(isa);
  Json rows = Json::array();
  for (int t : threads) {
    for (const Level& level : memory_levels(t)) {
      const auto gbps = [&](Traffic what) { return probe_traffic(table, what, level.bytes, t); };
      rows.push_back({{"level", level.name},
                      {"bytes_per_thread", level.bytes},
                      {"threads", t},
                      {"read_gbps", gbps(Traffic::read)},
                      {"write_gbps", gbps(Traffic::write)},
                      {"stream_gbps", gbps(Traffic::stream)},
                      {"copy_gbps", gbps(Traffic::copy)}});
    }
  }
  return rows;
}

std::string text(const Json& out) {
  std::string s =
      fmt::format("{}, {}\n\nGFLOP/s, f32\n{:<8} {:>3} {:>10} {:>16}\n", out["cpu"].get<std::string>(),
                  out["isa"].get<std::string>(), "isa", "T", "FMA", "GEMM loop in L1");
  for (const Json& r : out["compute"]) {
    s += fmt::format("{:<8} {:>3} {:>10.1f} {:>16.1f}\n", r["isa"].get<std::string>(),
                     r["threads"].get<int>(), r["fma_gflops"].get<double>(), r["tile_gflops"].get<double>());
  }
  s += fmt::format("\nGB/s\n{:<8} {:>3} {:>10} {:>10} {:>10} {:>13} {:>10}\n", "level", "T", "KiB each",
                   "read", "write", "write, stream", "copy");
  for (const Json& r : out["memory"]) {
    s += fmt::format(
        "{:<8} {:>3} {:>10} {:>10.1f} {:>10.1f} {:>13.1f} {:>10.1f}\n", r["level"].get<std::string>(),
        r["threads"].get<int>(), r["bytes_per_thread"].get<int64_t>() >> 10, r["read_gbps"].get<double>(),
        r["write_gbps"].get<double>(), r["stream_gbps"].get<double>(), r["copy_gbps"].get<double>());
  }
  return s;
}

int run(const std::string& level, int most, bool json) {
  const IsaSet isa = isa_level(level);
  const std::vector<int> threads = thread_counts(most);
  const Json out{{"cpu", cpu_info().model},
                 {"isa", isa_to_string(isa)},
                 {"compute", measure_compute(isa, threads)},
                 {"memory", measure_memory(isa, threads)}};
  fmt::print("{}", json ? out.dump(1) + "\n" : text(out));
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app{"The machine's peaks, measured", "bench_roofline"};
  std::string level = "native";
  int threads = cpu_info().usable_cpus;
  bool json = false;
  app.add_option("--isa", level, "Highest instruction set")->capture_default_str();
  app.add_option("--threads", threads, "Most threads")->check(CLI::Range(1, 1024))->capture_default_str();
  app.add_flag("--json", json, "One JSON object");
  try {
    app.parse(argc, argv);
    return run(level, threads, json);
  } catch (const CLI::ParseError& e) {
    return app.exit(e) == 0 ? 0 : 2;
  } catch (const Error& e) {
    fmt::print(stderr, "bench_roofline: {}\n", e.what());
    return 2;
  }
}
