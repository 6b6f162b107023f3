// skyline verify: runs ONNX test folders. Each model runs in a process of its own, so that no crash ends the
// rest.
#include <fmt/format.h>
#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <csignal>
#include <cstring>
#include <filesystem>
#include <set>

#include "engine/cli/cli.h"
#include "engine/cli/inputs.h"
#include "graph/ir/op.h"
#include "graph/onnx/value_io.h"

namespace skyline::cli {
namespace {

namespace fs = std::filesystem;

struct Flags {
  std::vector<std::string> paths;
  double rtol = 1e-3, atol = 1e-7;
  bool atol_of_scale = false, json = false, quiet = false;
  int timeout = 120;
  SessionFlags session;
};

// Folders below the paths that hold model.onnx and at least one test_data_set_*.
std::vector<std::string> find_tests(const std::vector<std::string>& paths) {
  std::set<std::string> found;
  const auto consider = [&](const fs::path& folder) {
    if (!fs::is_regular_file(folder / "model.onnx")) return;
    for (const auto& e : fs::directory_iterator(folder)) {
      if (e.is_directory() && e.path().filename().string().starts_with("test_data_set_")) {
        found.insert(folder.string());
        return;
      }
    }
  };
  for (const std::string& p : paths) {
    if (!fs::exists(p)) throw Error(Code::io, "'" + p + "' does not exist");
    const fs::path root = fs::is_regular_file(p) ? fs::path(p).parent_path() : fs::path(p);
    consider(root.empty() ? "." : root);
    for (const auto& e : fs::recursive_directory_iterator(root.empty() ? "." : root,
                                                          fs::directory_options::skip_permission_denied)) {
      if (e.is_directory()) consider(e.path());
    }
  }
  return {found.begin(), found.end()};
}

double scale_of(const Value& v) {
  double scale = 0;
  if (v.is_tensor() && v.tensor().dtype() == DType::f32) {
    for (float x : v.tensor().span<float>())
      scale = std::isfinite(x) ? std::max(scale, std::fabs(static_cast<double>(x))) : scale;
  }
  return scale;
}

// Older suites hold bfloat16 as the integers of its bits, and compare those: so do we, where a file says u16
// for it.
Difference compare_output(const Value& got, const Value& want, const fs::path& file, double rtol,
                          double atol) {
  if (got.is_tensor() && got.tensor().dtype() == DType::bf16 && fs::exists(file)) {
    const Value stored = onnx::load_value(file.string(), Fact());
    if (stored.is_tensor() && stored.tensor().dtype() == DType::u16) {
      const Tensor& t = got.tensor();
      return compare(Tensor::view(DType::u16, t.dims(), t.raw(), t.owner()), stored, rtol, atol);
    }
  }
  return compare(got, want, rtol, atol);
}

// A test whose own data does not fit its model says nothing about us: libonnx-testdata has four. An input
// error that comes up later, while running, is ours to answer for.
void require_fitting(const Session& session, const std::vector<Value>& inputs) {
  try {
    session.check_inputs(inputs);
  } catch (const Error& e) {
    throw Error(Code::unsupported, "the test's data does not fit its model: " + e.message());
  }
}

// Whether some node draws random numbers: then only types and shapes can be compared.
bool draws_random(const Graph& g) {
  for (NodeId id : g.order()) {
    const Node& n = g.node(id);
    if (n.op->flags & kOpNondeterministic) return true;
    for (const auto& [key, attr] : n.attrs) {
      const auto* body = std::get_if<GraphPtr>(&attr);
      if (body && *body && draws_random(**body)) return true;
    }
  }
  return false;
}

Difference compare_kind(const Value& got, const Value& want) {
  if (got.is_tensor() && want.is_tensor() && got.tensor().dtype() == want.tensor().dtype() &&
      got.tensor().dims() == want.tensor().dims()) {
    return {};
  }
  return {.pass = false, .reason = "another type or shape"};
}

// The child's work: {"status": passed|wrong|unsupported, ...}
Json run_test(const std::string& folder, const Flags& flags) {
  Json result{{"model", folder}, {"status", "passed"}, {"max_abs", 0.0}, {"max_rel", 0.0}};
  try {
    const Model model = Model::load((fs::path(folder) / "model.onnx").string());
    const bool random = draws_random(model.graph());
    if (random) result["random"] = true;
    const Session session(model, flags.session.options());
    std::vector<fs::path> sets;
    for (const auto& e : fs::directory_iterator(folder)) {
      if (e.is_directory() && e.path().filename().string().starts_with("test_data_set_"))
        sets.push_back(e.path());
    }
    std::sort(sets.begin(), sets.end());
    for (const fs::path& set : sets) {
      const std::vector<Value> inputs = read_data_set(set.string(), "input", session.inputs());
      const std::vector<Value> want = read_data_set(set.string(), "output", session.outputs());
      require_fitting(session, inputs);
      const std::vector<Value> got = session.run(inputs);
      for (size_t i = 0; i < got.size(); ++i) {
        const double atol = flags.atol_of_scale ? flags.atol * scale_of(want[i]) : flags.atol;
        const Difference d =
            random ? compare_kind(got[i], want[i])
                   : compare_output(got[i], want[i], set / fmt::format("output_{}.pb", i), flags.rtol, atol);
        result["max_abs"] = std::max(result["max_abs"].get<double>(), d.max_abs);
        result["max_rel"] = std::max(result["max_rel"].get<double>(), d.max_rel);
        if (d.pass) continue;
        result["status"] = "wrong";
        result["reason"] =
            fmt::format("{}: output '{}': {}", set.filename().string(), session.outputs()[i].name, d.reason);
        return result;
      }
    }
  } catch (const Error& e) {
    result["status"] = e.code() == Code::unsupported ? "unsupported" : "wrong";
    result["reason"] = printable(e.what(), 2000);
  } catch (const std::exception& e) {
    result["status"] = "crashed";
    result["reason"] = printable(e.what(), 2000);
  }
  return result;
}

// Reads the child's answer until it closes the pipe or the time is up.
std::string collect(int fd, int timeout_s, bool& late) {
  std::string text;
  char buffer[4096];
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(timeout_s);
  while (true) {
    const auto left =
        std::chrono::duration_cast<std::chrono::milliseconds>(end - std::chrono::steady_clock::now()).count();
    pollfd p{fd, POLLIN, 0};
    if (left <= 0 || poll(&p, 1, static_cast<int>(left)) == 0) {
      late = true;
      return text;
    }
    const ssize_t n = read(fd, buffer, sizeof buffer);
    if (n <= 0) return text;
    text.append(buffer, static_cast<size_t>(n));
  }
}

Json run_isolated(const std::string& folder, const Flags& flags) {
  int ends[2];
  if (pipe(ends) != 0) throw Error(Code::io, "cannot make a pipe");
  const pid_t child = fork();
  if (child < 0) throw Error(Code::oom, "cannot start a process");
  if (child == 0) {
    close(ends[0]);
    const std::string text = run_test(folder, flags).dump(-1, ' ', false, Json::error_handler_t::replace);
    size_t sent = 0;
    while (sent < text.size()) {
      const ssize_t n = write(ends[1], text.data() + sent, text.size() - sent);
      if (n <= 0) break;
      sent += static_cast<size_t>(n);
    }
    _exit(0);
  }
  close(ends[1]);
  bool late = false;
  const std::string text = collect(ends[0], flags.timeout, late);
  close(ends[0]);
  if (late) kill(child, SIGKILL);
  int status = 0;
  waitpid(child, &status, 0);
  Json crashed{{"model", folder}, {"status", "crashed"}};
  if (late) {
    crashed["reason"] = fmt::format("no answer within {} s", flags.timeout);
    return crashed;
  }
  Json result = Json::parse(text, nullptr, false);
  if (!result.is_discarded()) return result;
  crashed["reason"] = WIFSIGNALED(status)
                          ? fmt::format("signal {} ({})", WTERMSIG(status), strsignal(WTERMSIG(status)))
                          : fmt::format("exit status {}", WEXITSTATUS(status));
  return crashed;
}

void verify(const Flags& flags) {
  (void)flags.session.options();  // a bad flag is a usage error, once, not a failure of every model
  const std::vector<std::string> tests = find_tests(flags.paths);
  std::map<std::string, int> counts{{"passed", 0}, {"wrong", 0}, {"unsupported", 0}, {"crashed", 0}};
  Json failed = Json::array();
  int random = 0;
  {
    Progress progress("verify", static_cast<int64_t>(tests.size()));
    for (size_t i = 0; i < tests.size(); ++i) {
      const Json r = run_isolated(tests[i], flags);
      const auto status = r["status"].get<std::string>();
      ++counts[status];
      random += r.value("random", false);
      if (status != "passed") failed.push_back(r);
      progress.step(static_cast<int64_t>(i) + 1);
    }
  }
  if (flags.json) {
    Json out{{"total", tests.size()}};
    for (const char* key : {"passed", "wrong", "unsupported", "crashed"}) out[key] = counts[key];
    out["random"] = random;  // passed or not by type and shape alone
    out["rtol"] = flags.rtol;
    out["atol"] = flags.atol;
    out["not_passed"] = failed;
    out["machine"] = fingerprint();
    print(out.dump(2) + "\n");
  } else {
    for (const Json& r : failed) {
      if (flags.quiet && r["status"] == "unsupported") continue;
      print(fmt::format("{:<12} {}\n             {}\n", r["status"].get<std::string>(),
                        r["model"].get<std::string>(), r.value("reason", "")));
    }
    print(fmt::format("{} passed, {} wrong, {} unsupported, {} crashed of {}\n", counts["passed"],
                      counts["wrong"], counts["unsupported"], counts["crashed"], tests.size()));
  }
  if (counts["wrong"] || counts["crashed"]) throw static_cast<int>(kFailed);
  if (tests.empty()) throw Error(Code::input, "no folder with model.onnx and test_data_set_* found");
}

}  // namespace

void add_verify(CLI::App& app) {
  auto flags = std::make_shared<Flags>();
  CLI::App* c = app.add_subcommand(
      "verify", "Run ONNX test folders (model.onnx with test_data_set_*) and compare their outputs");
  c->add_option("path", flags->paths, "Model files or folders; folders are searched")->required();
  c->add_option("--rtol", flags->rtol, "Relative tolerance")->capture_default_str();
  c->add_option("--atol", flags->atol, "Absolute tolerance")->capture_default_str();
  c->add_flag("--atol-of-scale", flags->atol_of_scale,
              "--atol is a fraction of the output's largest magnitude");
  c->add_option("--timeout", flags->timeout, "Seconds that one model may take")
      ->check(CLI::Range(1, 86400))
      ->capture_default_str();
  c->add_flag("--json", flags->json, "One JSON object");
  c->add_flag("-q,--quiet", flags->quiet, "Do not list the unsupported ones");
  flags->session.add(*c);
  c->callback([flags] { verify(*flags); });
}

}  // namespace skyline::cli
