#include <fmt/format.h>

#include <csignal>

#include "engine/cli/cli.h"

int main(int argc, char** argv) {
  using namespace skyline;
  std::signal(SIGPIPE, SIG_IGN);  // a closed stdout is an error to report, not a signal to die of
  CLI::App app{"Skyline: CPU tensor inference on the Pareto frontier of latency, throughput and accuracy",
               "skyline"};
  app.set_version_flag("--version", "skyline 0.1.0");
  app.require_subcommand(1);
  app.footer(
      "Exit status: 0 ok, 1 a check failed, 2 usage, 3 unsupported or invalid model, 4 infeasible, 5 input "
      "or I/O error.");
  cli::add_inspect(app);
  cli::add_run(app);
  cli::add_verify(app);
  cli::add_bench(app);
  cli::add_decode(app);
  cli::add_profile(app);
  cli::add_quantize(app);
  cli::add_compile(app);
  cli::add_optimize(app);
  cli::add_sensitivity(app);
  cli::add_kernels(app);
  cli::add_doctor(app);
  cli::add_demo(app);
  cli::add_frontier(app);
  try {
    app.parse(argc, argv);
    cli::print("");
    return cli::kOk;
  } catch (const CLI::ParseError& e) {
    const int code = app.exit(e);
    return code == 0 ? cli::kOk : cli::kUsage;
  } catch (const Error& e) {
    fmt::print(stderr, "skyline: {}\n", cli::printable(e.what(), 4000));
    return cli::exit_code(e.code());
  } catch (const std::bad_alloc&) {
    fmt::print(stderr, "skyline: OOM: out of memory\n");
    return cli::kInputOutput;
  } catch (const std::exception& e) {
    fmt::print(stderr, "skyline: INTERNAL: {}\n", cli::printable(e.what(), 4000));
    return cli::kModel;
  } catch (int code) {
    return code;
  }
}
