// skyline kernels: the registry, each row held against its reference, and against the machine's roof.
#include <fmt/format.h>

#include <algorithm>

#include "engine/cli/cli.h"
#include "kernels/trial/measure.h"
#include "skyline/isa.h"
#include "skyline/kernel.h"

namespace skyline::cli {
namespace {

using kernels::Rate;
using kernels::Roof;
using kernels::Trial;

void list_kernels(bool json) {
  Json out = Json::array();
  std::string text;
  for (const KernelInfo* k : all_kernels()) {
    const bool usable = (k->needs & isa_detected()) == k->needs;
    out.push_back({{"name", k->name}, {"op", k->op}, {"needs", isa_to_string(k->needs)}, {"usable", usable}});
    text += fmt::format("{:<28} {:<12} {:<20} {}\n", k->name, k->op, isa_to_string(k->needs),
                        usable ? "" : "not on this CPU");
  }
  print(json ? out.dump(2) + "\n" : text);
}

struct Flags {
  bool json = false;
  std::string match, isa;
  double seconds = 0.02;
};

// Calls f(row, trials) for the rows that this CPU can run, the cap allows and the text is in the name or op
// of.
template <class F>
void for_rows(const Flags& flags, F&& f) {
  IsaSet isa;
  try {
    isa = isa_level(flags.isa.empty() ? SessionOptions::from_environment().isa : flags.isa);
  } catch (const Error& e) {
    if (e.code() == Code::invalid) throw CLI::ValidationError(e.message());
    throw;
  }
  bool any = false;
  for (const KernelInfo* row : all_kernels()) {
    if (!usable(*row, isa)) continue;
    if (row->name.find(flags.match) == std::string_view::npos &&
        row->op.find(flags.match) == std::string_view::npos)
      continue;
    any = true;
    f(*row, kernels::make_trials(*row));
  }
  if (!any)
    throw CLI::ValidationError("no kernel that this CPU can run has '" + flags.match + "' in its name");
}

// error() of a trial is in units of what is allowed.
bool wrong(double error) {
  return !(error <= 1);
}

void check(const Flags& flags) {
  Json out = Json::array();
  std::string text;
  int failures = 0;
  for_rows(flags, [&](const KernelInfo& row, const std::vector<Trial>& trials) {
    double worst = 0;
    for (const Trial& t : trials) {
      const double error = t.error();
      worst = std::max(worst, error);
      out.push_back({{"kernel", row.name}, {"trial", t.name}, {"error", error}, {"ok", !wrong(error)}});
      if (!wrong(error)) continue;
      ++failures;
      text += fmt::format("WRONG {} {}: {:.3g} times the allowed error\n", row.name, t.name, error);
    }
    text += trials.empty() ? fmt::format("{:<28} no trials\n", row.name)
                           : fmt::format("{:<28} {:3} trials, largest error {:.2f} of what is allowed\n",
                                         row.name, trials.size(), worst);
  });
  print(flags.json ? out.dump(2) + "\n" : text);
  if (failures > 0) throw static_cast<int>(kFailed);
}

void bench(const Flags& flags) {
  Json out = Json::array();
  std::string text = fmt::format("{:<28} {:<26} {:>10} {:>9} {:>8} {:>6} {:>6}\n", "kernel", "trial", "ns",
                                 "GFLOP/s", "GB/s", "roof%", "error");
  std::map<IsaSet, Roof> roofs;
  int failures = 0;
  for_rows(flags, [&](const KernelInfo& row, const std::vector<Trial>& trials) {
    if (!trials.empty() && !roofs.contains(row.needs)) roofs[row.needs] = kernels::measure_roof(row.needs);
    for (const Trial& t : trials) {
      const double error = t.error();
      const bool bad = wrong(error);
      failures += bad;
      const Rate r = bad ? Rate{} : kernels::measure_rate(t, roofs[row.needs], flags.seconds);
      out.push_back({{"kernel", row.name}, {"trial", t.name}, {"error", error}, {"ok", !bad}});
      if (!bad) {
        out.back().update(
            {{"ns", r.ns}, {"gflops", r.gflops}, {"gbps", r.gbps}, {"roofline_percent", r.percent}});
      }
      text +=
          bad ? fmt::format("{:<28} {:<26} WRONG: {:.3g} times the allowed error\n", row.name, t.name, error)
              : fmt::format("{:<28} {:<26} {:10.0f} {:9.1f} {:8.1f} {:6.1f} {:6.2f}\n", row.name, t.name,
                            r.ns, r.gflops, r.gbps, r.percent, error);
    }
  });
  print(flags.json ? out.dump(2) + "\n" : text);
  if (failures > 0) throw static_cast<int>(kFailed);
}

}  // namespace

void add_kernels(CLI::App& app) {
  CLI::App* c = app.add_subcommand("kernels", "The kernel registry");
  c->require_subcommand(1);
  auto flags = std::make_shared<Flags>();
  CLI::App* list = c->add_subcommand("list", "Every kernel, what it needs, and whether this CPU has it");
  CLI::App* checks = c->add_subcommand("check", "Hold every kernel against its reference");
  CLI::App* benches = c->add_subcommand(
      "bench",
      "Time every kernel on one thread, beside the machine's roof and its error in units of the allowed");
  for (CLI::App* command : {list, checks, benches})
    command->add_flag("--json", flags->json, "One JSON array");
  for (CLI::App* command : {checks, benches}) {
    command->add_option("match", flags->match, "Only kernels with this in their name or family");
    command->add_option("--isa", flags->isa, "Cap the instruction set: native, sse2, avx2, avx512, ...")
        ->type_name("LEVEL");
  }
  benches->add_option("--seconds", flags->seconds, "For each trial")
      ->check(CLI::Range(1e-4, 60.0))
      ->capture_default_str();
  list->callback([flags] { list_kernels(flags->json); });
  checks->callback([flags] { check(*flags); });
  benches->callback([flags] { bench(*flags); });
}

}  // namespace skyline::cli
