// skyline bench: latency and throughput of one model, in the manner of MLPerf's scenarios.
#include <fmt/format.h>
#include <sys/resource.h>

#include <cmath>

#include "engine/cli/cli.h"
#include "engine/cli/inputs.h"
#include "engine/cli/plan.h"
#include "engine/serve/load.h"

namespace skyline::cli {
namespace {

using Clock = std::chrono::steady_clock;

struct Flags {
  SourceFlags source;
  std::string scenario = "single-stream", p99, max_delay = "0ns";
  int64_t batch = 0;
  int streams = 0;  // 0: the plan's, or 1
  double duration = 3, warmup = 0.3, qps = 0;
  uint64_t seed = 1;
  std::map<std::string, int64_t> dims;
  std::vector<std::string> dim_texts;
  bool json = false;
  SessionFlags session;

  bool server() const { return scenario == "server"; }
};

double milliseconds(Clock::duration d) {
  return std::chrono::duration<double, std::milli>(d).count();
}

double peak_rss_mb() {
  rusage u{};
  getrusage(RUSAGE_SELF, &u);
  return static_cast<double>(u.ru_maxrss) / 1024;
}

// A time as constraints write it: "5ms".
double seconds_of(const std::string& flag, const std::string& text) {
  if (text == "0" || text == "0ns") return 0;
  try {
    return parse_constraint("latency.p99<=" + text).bound;
  } catch (const Error&) {
    throw CLI::ValidationError(flag, "must be a time such as 5ms or 200us, not '" + printable(text) + "'");
  }
}

int64_t rows_of(const std::vector<Value>& inputs) {
  return !inputs.empty() && inputs[0].is_tensor() && inputs[0].tensor().rank() > 1
             ? std::max<int64_t>(inputs[0].tensor().dim(0), 1)
             : 1;
}

// What was measured: a load, and for the server what was asked for.
struct Measured {
  serve::Load load;
  double offered = 0;  // server: requests per second
  bool kept_up = true;
  serve::RateSearch search;
  Batcher::Counts batches;
};

Measured closed(const Flags& flags, const Session& session, const std::vector<Value>& inputs) {
  Measured m;
  m.load = serve::closed_loop(session, inputs,
                              {.streams = flags.streams,
                               .examples_each = flags.batch > 0 ? flags.batch : rows_of(inputs),
                               .seconds = flags.duration,
                               .warmup = flags.warmup});
  return m;
}

// The rate that all streams together reach when they need not wait: no server keeps up with more.
double most_of(const Flags& flags, const Session& session, const std::vector<Value>& request, int64_t batch) {
  const std::vector<Value> full = batch > 1 ? with_batch(request, session.inputs(), batch) : request;
  const serve::Load load = serve::closed_loop(session, full,
                                              {.streams = flags.streams,
                                               .examples_each = batch,
                                               .seconds = std::min(flags.duration, 1.0),
                                               .warmup = flags.warmup});
  return serve::throughput(load).high;
}

Measured server(const Flags& flags, const Session& session, const std::vector<Value>& request) {
  const int64_t batch = std::max<int64_t>(flags.batch, 1);
  Batcher batcher(session, request,
                  {.streams = flags.streams,
                   .max_batch = batch,
                   .max_delay = std::chrono::nanoseconds(
                       std::llround(seconds_of("--max-delay", flags.max_delay) * 1e9))});
  const serve::OpenLoop open{
      .rate = flags.qps, .seconds = flags.duration, .warmup = flags.warmup, .seed = flags.seed};
  Measured m;
  if (flags.qps > 0) {
    serve::OpenLoad load = serve::open_loop(batcher, request, open);
    m.offered = load.rate;
    m.kept_up = load.kept_up;
    m.load = std::move(load);
  } else {
    constexpr int kMostTrials = 16;
    Progress progress("rates", kMostTrials);
    int done = 0;
    m.search = serve::find_rate(
        batcher, request, seconds_of("--p99", flags.p99), most_of(flags, session, request, batch), open,
        [&](const serve::RateTrial&) { progress.step(std::min(++done, kMostTrials)); });
    m.offered = m.search.rate;
    m.load = m.search.best;
  }
  m.batches = batcher.counts();
  return m;
}

// What MLPerf takes as the scenario's result.
std::string result_name(const Flags& flags) {
  return flags.server()                ? "requests_per_s"
         : flags.scenario == "offline" ? "examples_per_s"
                                       : "latency_p90_ms";
}

Json interval_ms(const Estimate& e) {
  return {e.value * 1e3, e.low * 1e3, e.high * 1e3};
}

Json to_json(const Flags& flags, const SessionOptions& o, const Measured& m, double load_ms) {
  const serve::Load& load = m.load;
  Json out{{"model", flags.source.model}, {"scenario", flags.scenario}};
  if (!flags.source.plan.empty()) out["plan"] = flags.source.plan;
  const bool any = !load.latencies.empty();
  if (any) {
    const Statistics s = statistics(load.latencies);
    const Estimate rate = serve::throughput(load);
    out["latency_ms"] = {{"mean", s.mean * 1e3},
                         {"p50", s.p50 * 1e3},
                         {"p90", s.p90 * 1e3},
                         {"p99", s.p99 * 1e3},
                         {"min", s.min * 1e3}};
    out["latency_interval_ms"] = {{"mean", interval_ms(serve::latency_mean(load))},
                                  {"p50", interval_ms(serve::latency_at(load, 0.5))},
                                  {"p90", interval_ms(serve::latency_at(load, 0.9))},
                                  {"p99", interval_ms(serve::latency_at(load, 0.99))}};
    out["throughput_per_s"] = rate.value;
    out["throughput_interval_per_s"] = {rate.value, rate.low, rate.high};
    out["result"] = {{"name", result_name(flags)},
                     {"value", flags.server()                ? m.offered
                               : flags.scenario == "offline" ? rate.value
                                                             : s.p90 * 1e3}};
  }
  out["runs"] = load.latencies.size();
  if (flags.server()) {
    Json trials = Json::array();
    for (const serve::RateTrial& t : m.search.trials)
      trials.push_back({{"requests_per_s", t.rate},
                        {"p99_ms", interval_ms(t.p99)},
                        {"met", t.met},
                        {"requests", t.requests}});
    out["server"] = {
        {"requests_per_s", m.offered},
        {"kept_up", m.kept_up},
        {"p99_bound_ms", flags.p99.empty() ? Json() : Json(seconds_of("--p99", flags.p99) * 1e3)},
        {"trials", trials},
        {"mean_batch", m.batches.batches > 0
                           ? static_cast<double>(m.batches.requests) / static_cast<double>(m.batches.batches)
                           : 0.0},
        {"max_delay_ms", seconds_of("--max-delay", flags.max_delay) * 1e3},
        {"seed", flags.seed}};
  }
  out.update({{"load_ms", load_ms},
              {"peak_rss_mb", peak_rss_mb()},
              {"threads", o.threads},
              {"streams", flags.streams},
              {"batch", flags.server() ? std::max<int64_t>(flags.batch, 1) : load.examples_each},
              {"precision", name(o.precision)},
              {"isa", o.isa},
              {"machine", fingerprint()}});
  return out;
}

std::string interval(Quantity q, const Estimate& e) {
  return fmt::format("{} ({} to {})", format_quantity(q, e.value), format_quantity(q, e.low),
                     format_quantity(q, e.high));
}

std::string to_text(const Flags& flags, const SessionOptions& o, const Measured& m, double load_ms) {
  const serve::Load& load = m.load;
  std::string text = fmt::format(
      "{}  ({})\n", printable(flags.source.model.empty() ? flags.source.plan : flags.source.model),
      flags.scenario);
  if (flags.server() && flags.qps <= 0) {
    text += m.search.rate > 0
                ? fmt::format("  result      {:.1f} requests per second with p99 within {}\n", m.search.rate,
                              flags.p99)
                : fmt::format("  result      no rate was seen to keep p99 within {}\n", flags.p99);
    for (const serve::RateTrial& t : m.search.trials) {
      text += fmt::format("  {:<11} {:10.1f} /s   p99 {}   {}\n", "tried", t.rate,
                          interval({Axis::latency}, t.p99), t.met ? "met" : "not met");
    }
  }
  if (!load.latencies.empty()) {
    const Statistics s = statistics(load.latencies);
    text += fmt::format(
        "  latency     mean {:.4f} ms   p50 {:.4f}   p90 {:.4f}   p99 {:.4f}   min {:.4f}   ({} runs)\n",
        s.mean * 1e3, s.p50 * 1e3, s.p90 * 1e3, s.p99 * 1e3, s.min * 1e3, load.latencies.size());
    if (flags.scenario == "single-stream")
      text += fmt::format("  result      p90 {}\n", interval({Axis::latency}, serve::latency_at(load, 0.9)));
    const Estimate rate = serve::throughput(load);
    text +=
        fmt::format("  throughput  {:.1f} per second ({:.1f} to {:.1f})", rate.value, rate.low, rate.high);
    text += flags.server() ? fmt::format(" of {:.1f} sent{}\n", m.offered, m.kept_up ? "" : ": NOT kept up")
                           : fmt::format(" at batch {}\n", load.examples_each);
  }
  if (m.batches.batches > 0) {
    text += fmt::format("  batches     {:.2f} requests on average, at most {}\n",
                        static_cast<double>(m.batches.requests) / static_cast<double>(m.batches.batches),
                        std::max<int64_t>(flags.batch, 1));
  }
  return text + fmt::format(
                    "  load        {:.1f} ms\n  peak RSS    {:.1f} MB\n  {} stream{} of {} threads, "
                    "precision {}, isa {}\n",
                    load_ms, peak_rss_mb(), flags.streams, flags.streams == 1 ? "" : "s", o.threads,
                    name(o.precision), o.isa);
}

void check(const Flags& flags) {
  if (flags.server() && flags.qps <= 0 && flags.p99.empty())
    throw CLI::ValidationError(
        "--scenario", "server needs --qps RATE, or --p99 TIME to find the largest rate that keeps it");
  if (flags.server() && flags.qps > 0 && !flags.p99.empty())
    throw CLI::ValidationError("--p99", "looks for a rate: leave --qps away");
  if (!flags.server() && (flags.qps > 0 || !flags.p99.empty()))
    throw CLI::ValidationError("--qps and --p99", "belong to --scenario server");
  if (!flags.p99.empty()) (void)seconds_of("--p99", flags.p99);
  if (seconds_of("--max-delay", flags.max_delay) > 3600)
    throw CLI::ValidationError("--max-delay", "must be at most an hour");
}

void bench(Flags flags) {
  flags.dims = read_dims(flags.dim_texts);
  check(flags);
  const int asked = std::max(flags.streams, 1);
  const auto begin = Clock::now();
  const Opened opened = open_source(flags.source, flags.session, asked);
  const double model_ms = milliseconds(Clock::now() - begin);
  const Session& session = opened.session;
  if (opened.choice) {
    const Point& p = opened.choice->points[0];
    if (flags.streams == 0) flags.streams = p.streams;
    if (flags.batch == 0 && p.batch > 1) flags.batch = p.batch;
  }
  flags.streams = std::max(flags.streams, 1);
  // The batcher joins requests of one example.
  const std::vector<Value> inputs =
      inputs_for(opened, flags.source, flags.server() ? 1 : flags.batch, flags.seed, flags.dims);
  const auto prepare = Clock::now();
  { const Context context(session, inputs); }  // loading is done when the plan for these shapes stands
  const double load_ms = model_ms + milliseconds(Clock::now() - prepare);
  const Measured m = flags.server() ? server(flags, session, inputs) : closed(flags, session, inputs);
  const SessionOptions& o = session.options();
  if (flags.json) {
    print(to_json(flags, o, m, load_ms).dump(2, ' ', false, Json::error_handler_t::replace) + "\n");
  } else {
    print(to_text(flags, o, m, load_ms));
  }
  if (flags.server() && flags.qps <= 0 && m.search.rate <= 0) throw static_cast<int>(kInfeasible);
}

}  // namespace

void add_bench(CLI::App& app) {
  auto flags = std::make_shared<Flags>();
  CLI::App* c =
      app.add_subcommand("bench",
                         "Measure latency and throughput; inputs come from test_data_set_0 beside the "
                         "model, else they are made up");
  flags->source.add(*c);
  c->add_option("--batch", flags->batch,
                "Examples per run, where the model's first dimension is open; for the server, the most that "
                "are joined")
      ->check(CLI::Range(1, 1 << 20));
  c->add_option("--duration", flags->duration, "Seconds to measure (each rate that is tried)")
      ->check(CLI::Range(0.01, 86400.0))
      ->capture_default_str();
  c->add_option("--warmup", flags->warmup, "Seconds to warm up")
      ->check(CLI::Range(0.0, 3600.0))
      ->capture_default_str();
  c->add_option(
       "--scenario", flags->scenario,
       "MLPerf's: single-stream (one run after the other; p90), offline (examples per second), server "
       "(requests arrive at random, whether or not earlier ones are done)")
      ->check(CLI::IsMember({"single-stream", "offline", "server"}))
      ->capture_default_str();
  c->add_option("--streams", flags->streams,
                "Runs at a time, which share the threads unless --threads says how many each has [1]")
      ->check(CLI::Range(1, 256));
  c->add_option("--qps", flags->qps, "server: requests per second")->check(CLI::Range(1e-3, 1e7));
  c->add_option("--p99", flags->p99,
                "server: find the largest rate that keeps the 99th percentile within this, such as 5ms")
      ->type_name("TIME");
  c->add_option("--max-delay", flags->max_delay,
                "server: how long a request may wait for others to join, such as 500us")
      ->type_name("TIME")
      ->capture_default_str();
  c->add_option("--dim", flags->dim_texts, "NAME=N, the size of a dynamic dimension (with made-up inputs)");
  c->add_option("--seed", flags->seed, "Of made-up inputs, and of arrivals")->capture_default_str();
  c->add_flag("--json", flags->json, "One JSON object");
  flags->session.add(*c);
  c->callback([flags] { bench(*flags); });
}

}  // namespace skyline::cli
