#pragma once
// What the commands share. Results go to stdout, everything else to stderr.
#include <CLI/CLI.hpp>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "skyline/skyline.h"

namespace skyline::cli {

// Exit codes, as README.md documents them.
enum Exit : int { kOk = 0, kFailed = 1, kUsage = 2, kModel = 3, kInfeasible = 4, kInputOutput = 5 };
int exit_code(Code c);  // of an Error that ended a command

using Json = nlohmann::ordered_json;

// Each adds its subcommand to the app; its callback throws Error, or an int to exit with.
void add_inspect(CLI::App& app);
void add_run(CLI::App& app);
void add_verify(CLI::App& app);
void add_bench(CLI::App& app);
void add_decode(CLI::App& app);
void add_profile(CLI::App& app);
void add_kernels(CLI::App& app);
void add_doctor(CLI::App& app);
void add_demo(CLI::App& app);
void add_quantize(CLI::App& app);
void add_compile(CLI::App& app);
void add_optimize(CLI::App& app);
void add_sensitivity(CLI::App& app);
void add_frontier(CLI::App& app);  // and explain, diff

// --threads, --isa, --precision, --layouts, --no-optimize, --stop-after of a command that makes a session;
// defaults from the environment.
struct SessionFlags {
  std::string threads, isa, precision = "model", layouts = "modelled";
  bool no_optimize = false;
  int64_t stop_after = -1;
  // own_precision: the command has a --precision that means another thing.
  void add(CLI::App& command, bool own_precision = false);
  SessionOptions options() const;
};

// The machine that figures were measured on.
Json fingerprint();

// Writes all of `text` to stdout; Error{io} if that fails (closed, full).
void print(const std::string& text);
// Untrusted text (names from models) with control characters escaped, cut to `limit`.
std::string printable(std::string_view s, size_t limit = 200);

// Parses what the user wrote; a mistake in it is one of usage.
template <class F>
auto usage(F&& parse) {
  try {
    return parse();
  } catch (const Error& e) {
    if (e.code() == Code::invalid) throw CLI::ValidationError(e.message());
    throw;
  }
}

// A progress bar on stderr, drawn only when stderr is a terminal.
class Progress {
 public:
  Progress(std::string what, int64_t total);
  ~Progress();
  void step(int64_t done);

 private:
  std::string what_;
  int64_t total_;
  bool terminal_;
  int shown_ = -1;
};

struct Statistics {
  double mean = 0, p50 = 0, p90 = 0, p99 = 0, min = 0, max = 0;
};
Statistics statistics(std::vector<double> samples);

}  // namespace skyline::cli
