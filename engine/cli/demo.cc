// skyline demo: the embedded digit classifier, from file to answer.
#include <fmt/format.h>

#include <algorithm>

#include "engine/cli/cli.h"
#include "engine/cli/digits.h"
#include "engine/cli/frontier_text.h"
#include "engine/data/npy.h"
#include "skyline/optimize.h"

namespace skyline::cli {
namespace {

using Clock = std::chrono::steady_clock;

int argmax(std::span<const float> x) {
  return static_cast<int>(std::max_element(x.begin(), x.end()) - x.begin());
}

// Images [begin, begin + count) as f32 in [0, 1].
Tensor batch_of(const Tensor& images, int64_t begin, int64_t count) {
  Dims dims = images.dims();
  dims[0] = count;
  Tensor t(DType::f32, dims);
  const int64_t each = images.size() / images.dim(0);
  for (int64_t i = 0; i < t.size(); ++i)
    t.mutable_data<float>()[i] = static_cast<float>(images.data<uint8_t>()[begin * each + i]) / 255.0f;
  return t;
}

// A row of digits as text, two pixel rows to a line of half blocks, with what was seen below.
std::string draw(const Tensor& images, const std::vector<int>& chosen,
                 const std::vector<std::string>& captions) {
  const int64_t h = images.dim(2), w = images.dim(3);
  constexpr const char* kShades[] = {" ", "\u2591", "\u2592", "\u2593", "\u2588"};
  std::string out;
  for (int64_t y = 0; y < h; y += 2) {
    for (int image : chosen) {
      out += "  ";
      for (int64_t x = 0; x < w; ++x) {
        const uint8_t* p = images.data<uint8_t>() + image * h * w;
        const int both = (p[y * w + x] + p[std::min(y + 1, h - 1) * w + x]) / 2;
        out += kShades[std::min(4, both * 5 / 256)];
      }
    }
    out += "\n";
  }
  for (const std::string& c : captions) out += fmt::format("  {:<{}}", c, w);
  return out + "\n";
}

struct Result {
  int correct = 0;
  double latency_us = 0, throughput = 0;
};

Result measure(const Session& session, const Tensor& images, const Tensor& labels,
               std::vector<int>& predictions) {
  Result r;
  const int64_t n = images.dim(0);
  const std::vector<Value> first{Value(batch_of(images, 0, 1))};
  Context one(session, first);
  std::vector<double> samples;
  for (int64_t i = 0; i < n; ++i) {
    one.set_input(0, batch_of(images, i, 1));
    const auto start = Clock::now();
    one.run();
    samples.push_back(std::chrono::duration<double, std::micro>(Clock::now() - start).count());
    predictions.push_back(argmax(one.output(0).tensor().span<float>()));
    r.correct += predictions.back() == labels.data<uint8_t>()[i];
  }
  r.latency_us = statistics(samples).p50;
  const std::vector<Value> many{Value(batch_of(images, 0, 64))};
  Context batched(session, many);
  batched.run();
  const auto start = Clock::now();
  int runs = 0;
  for (; Clock::now() - start < std::chrono::milliseconds(300); ++runs) batched.run();
  r.throughput = 64 * runs / std::chrono::duration<double>(Clock::now() - start).count();
  return r;
}

struct Flags {
  bool json = false;
  double budget = 15;
  std::string report;
};

Dataset dataset_of(const Tensor& images, const Tensor& labels) {
  std::vector<Example> examples;
  for (int64_t i = 0; i < images.dim(0); ++i) {
    examples.push_back({"digit " + std::to_string(i),
                        {Value(batch_of(images, i, 1))},
                        {},
                        Tensor::of<int64_t>({}, {labels.data<uint8_t>()[i]})});
  }
  return Dataset::of(std::move(examples), "handwritten digits");
}

// What this machine allows for the model, and the fastest plan that loses next to nothing.
OptimizeResult find_frontier(const Model& model, const Dataset& data, const Flags& flags) {
  OptimizeOptions o;
  o.session = SessionOptions::from_environment();
  o.budget_seconds = flags.budget;
  o.model_name = "digits";
  o.constraints = parse_constraints(std::vector<std::string>{"accuracy.drop<=1pp", "latency.p50<=10ms"});
  Progress bar("optimize", 1000);
  o.progress = [&](const std::string&, double share) { bar.step(static_cast<int64_t>(1000 * share)); };
  OptimizeResult r = optimize(model, data, o);
  if (!flags.report.empty()) {
    const std::string& chosen = r.frontier.points[r.selection.point].id;
    write_file_whole(flags.report,
                     report_html(r.frontier, {"", chosen, o.constraints, to_string(o.objective)}));
  }
  return r;
}

void demo(const Flags& flags) {
  const Digits d = digits();
  const Model model = Model::parse(d.model);
  const Session session(model, SessionOptions::from_environment());
  const Tensor images =
      data::parse_npy({reinterpret_cast<const char*>(d.images.data()), d.images.size()}, "digit images");
  const Tensor labels =
      data::parse_npy({reinterpret_cast<const char*>(d.labels.data()), d.labels.size()}, "digit labels");
  std::vector<int> predictions;
  const Result r = measure(session, images, labels, predictions);
  const int64_t n = images.dim(0);
  const double accuracy = 100.0 * r.correct / static_cast<double>(n);
  const OptimizeResult found = find_frontier(model, dataset_of(images, labels), flags);
  const Point& best = found.frontier.points[found.selection.point];
  if (flags.json) {
    const Json out{{"accuracy_percent", accuracy},
                   {"correct", r.correct},
                   {"total", n},
                   {"latency_us_p50", r.latency_us},
                   {"throughput_per_s", r.throughput},
                   {"throughput_batch", 64},
                   {"threads", session.options().threads},
                   {"frontier", Json::parse(to_json(found.frontier))},
                   {"chosen", best.id},
                   {"isa", session.options().isa},
                   {"machine", fingerprint()}};
    return print(out.dump(2) + "\n");
  }
  // Some that it gets right, and one that it does not, if there is one.
  std::vector<int> chosen;
  for (int i = 0; i < static_cast<int>(n) && chosen.size() < 4; i += 101) chosen.push_back(i);
  for (int i = 0; i < static_cast<int>(n); ++i) {
    if (predictions[static_cast<size_t>(i)] != labels.data<uint8_t>()[i]) {
      chosen.push_back(i);
      break;
    }
  }
  std::vector<std::string> captions;
  for (int i : chosen) {
    const int want = labels.data<uint8_t>()[i], got = predictions[static_cast<size_t>(i)];
    captions.push_back(got == want ? fmt::format("-> {}", got) : fmt::format("-> {} (is {})", got, want));
  }
  print(draw(images, chosen, captions));
  print(fmt::format(
      "\n{} of {} unseen handwritten digits right: {:.2f} %\n"
      "latency     {:.1f} us for one digit (median)\nthroughput  {:.0f} digits per second at batch 64\n"
      "on {} with {} thread(s), {}\n",
      r.correct, n, accuracy, r.latency_us, r.throughput, fingerprint()["cpu"].get<std::string>(),
      session.options().threads, session.options().isa));
  print("\nThe frontier of latency and accuracy on this machine:\n\n" + point_table(found.frontier) + "\n" +
        point_plot(found.frontier) +
        fmt::format("\nfastest that loses at most 1 pp: {} ({})\n{}\n", best.id, rungs_of(best),
                    found.selection.explanation));
  if (!flags.report.empty()) print(fmt::format("report: {}\n", flags.report));
}

}  // namespace

void add_demo(CLI::App& app) {
  auto flags = std::make_shared<Flags>();
  CLI::App* c = app.add_subcommand(
      "demo", "The embedded digit classifier: accuracy, latency, throughput, and the frontier of its plans");
  c->add_flag("--json", flags->json, "One JSON object");
  c->add_option("--budget", flags->budget, "Seconds for the search")->check(CLI::Range(0.5, 3600.0));
  c->add_option("--report", flags->report, "HTML file of the frontier");
  c->callback([flags] { demo(*flags); });
}

}  // namespace skyline::cli
