#include <fmt/format.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <numeric>

#include "engine/cli/cli.h"
#include "kernels/base/cpu.h"
#include "skyline/isa.h"

namespace skyline::cli {

int exit_code(Code c) {
  switch (c) {
    case Code::ok:
      return kOk;
    case Code::io:
    case Code::input:
    case Code::oom:
    case Code::cancelled:
      return kInputOutput;
    default:
      return kModel;
  }
}

void SessionFlags::add(CLI::App& command, bool own_precision) {
  command.add_option("--threads", threads, "Threads inside one run; 0: all CPUs this process may use")
      ->type_name("N");
  command.add_option("--isa", isa, "Cap the instruction set: native, sse2, avx2, avx512, ...")
      ->type_name("LEVEL");
  if (!own_precision) {
    command
        .add_option(
            "--precision", precision,
            "model (what the file has), f32, bf16x6, bf16x3, bf16 or f16: how contractions are computed")
        ->type_name("RUNG")
        ->capture_default_str();
  }
  command
      .add_option("--layouts", layouts,
                  "modelled, measured (times the kernels at load), channels_first or channels_last")
      ->type_name("POLICY")
      ->capture_default_str();
  command.add_flag("--no-optimize", no_optimize,
                   "Run the graph as imported, through the reference evaluation");
  command
      .add_option("--stop-after", stop_after,
                  "Apply only so many rewrites of each list of passes (to bisect)")
      ->type_name("N");
}

SessionOptions SessionFlags::options() const {
  SessionOptions o = SessionOptions::from_environment();
  try {
    if (!threads.empty()) {
      size_t used = 0;
      o.threads = std::stoi(threads, &used);
      if (used != threads.size()) throw std::invalid_argument(threads);
    }
  } catch (const std::exception&) {
    throw CLI::ValidationError("--threads", "must be a whole number, not '" + threads + "'");
  }
  if (o.threads < 0 || o.threads > 1024) throw CLI::ValidationError("--threads", "must be 0 to 1024");
  if (!isa.empty()) o.isa = isa;
  try {
    o.precision = precision_from_name(precision);
    o.layouts = layout_policy_from_name(layouts);
    (void)isa_level(o.isa);
  } catch (const Error& e) {
    if (e.code() == Code::invalid) throw CLI::ValidationError(e.message());
    throw;
  }
  o.optimize = !no_optimize;
  o.stop_after_pass = stop_after;
  return o;
}

Json fingerprint() {
  const kernels::CpuInfo& cpu = kernels::cpu_info();
  utsname os{};
  uname(&os);
  return {{"cpu", cpu.model},
          {"isa", isa_to_string(isa_detected())},
          {"cpus", cpu.usable_cpus},
          {"l1d_kib", cpu.l1d >> 10},
          {"l2_kib", cpu.l2 >> 10},
          {"l3_kib", cpu.l3 >> 10},
          {"os", std::string(os.sysname) + " " + os.release},
          {"skyline", "0.1.0"}};
}

void print(const std::string& text) {
  const bool ok = std::fwrite(text.data(), 1, text.size(), stdout) == text.size();
  if (!ok || std::fflush(stdout) != 0) throw Error(Code::io, "cannot write to standard output");
}

std::string printable(std::string_view s, size_t limit) {
  std::string out;
  for (char c : s.substr(0, limit)) {
    const auto u = static_cast<unsigned char>(c);
    if ((u < 0x20 && c != '\n') || u == 0x7f) {
      out += fmt::format("\\x{:02x}", u);
    } else {
      out += c;
    }
  }
  return s.size() > limit ? out + "..." : out;
}

Progress::Progress(std::string what, int64_t total)
    : what_(std::move(what)), total_(std::max<int64_t>(total, 1)), terminal_(isatty(STDERR_FILENO) == 1) {
  step(0);
}
Progress::~Progress() {
  if (terminal_) std::fputs("\r\x1b[K", stderr);
}
void Progress::step(int64_t done) {
  const int percent = static_cast<int>(100 * done / total_);
  if (!terminal_ || percent == shown_) return;
  shown_ = percent;
  constexpr int kWidth = 30;
  const auto filled = static_cast<size_t>(kWidth * percent / 100);
  fmt::print(stderr, "\r{} [{}{}] {:3}% {}/{}\x1b[K", what_, std::string(filled, '#'),
             std::string(kWidth - filled, ' '), percent, done, total_);
  std::fflush(stderr);
}

Statistics statistics(std::vector<double> samples) {
  Statistics s;
  if (samples.empty()) return s;
  std::sort(samples.begin(), samples.end());
  // Nearest-rank percentiles: a latency that really occurred.
  const auto at = [&](double q) {
    const auto rank = static_cast<size_t>(std::max(1.0, std::ceil(q * static_cast<double>(samples.size()))));
    return samples[std::min(rank, samples.size()) - 1];
  };
  s.mean = std::accumulate(samples.begin(), samples.end(), 0.0) / static_cast<double>(samples.size());
  s.p50 = at(0.5);
  s.p90 = at(0.9);
  s.p99 = at(0.99);
  s.min = samples.front();
  s.max = samples.back();
  return s;
}

}  // namespace skyline::cli
