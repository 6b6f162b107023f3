// skyline decode: speed of a model whose outputs are inputs of its next run.
#include <fmt/format.h>

#include <cmath>
#include <filesystem>

#include "engine/cli/cli.h"
#include "engine/cli/inputs.h"

namespace skyline::cli {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

struct Flags {
  std::string model;
  std::vector<std::string> carries;
  int64_t tokens = 64, capacity = 0;
  bool copies = false, json = false;
  uint64_t seed = 1;
  SessionFlags session;
};

std::vector<Carry> carries_of(const Flags& flags, const Session& session) {
  std::vector<Carry> out;
  for (const std::string& text : flags.carries) {
    const size_t eq = text.find('=');
    if (eq == std::string::npos)
      throw CLI::ValidationError("--carry", "must be INPUT=OUTPUT, not '" + printable(text) + "'");
    out.push_back({text.substr(eq + 1), text.substr(0, eq)});
  }
  if (out.empty()) out = find_carries(session);
  if (out.empty()) {
    throw Error(Code::input,
                "no output is named as an input of the next run (present* for past*, xN or x_out for x): "
                "name them by --carry INPUT=OUTPUT");
  }
  return out;
}

// Token ids and positions of a whole prompt, cut to its first token: each run is to add one.
Value one_token(const Value& v, const ValueDescription& d) {
  const Tensor* t = v.is_tensor() ? &v.tensor() : nullptr;
  if (!t || t->dtype() != DType::i64 || t->rank() != 2 || !d.fact.ranked || d.fact.dims[1].known() ||
      t->dim(1) < 2)
    return v;
  Tensor out(DType::i64, {t->dim(0), 1});
  for (int64_t i = 0; i < t->dim(0); ++i) out.mutable_data<int64_t>()[i] = t->data<int64_t>()[i * t->dim(1)];
  return Value(std::move(out));
}

// What is not carried, at any length: dims that were at least as long as the states grow with them.
class Inputs {
 public:
  Inputs(const Recurrence& r, std::vector<Value> first)
      : ports_(r.inputs()), first_(std::move(first)), start_(r.length()) {}
  std::vector<Value> at(int64_t length) const {
    std::vector<Value> out = first_;
    if (start_ == 0 || length == start_) return out;
    for (size_t i = 0; i < out.size(); ++i) {
      const ValueDescription& d = ports_[i];
      if (!out[i].is_tensor() || !d.fact.ranked) continue;
      Dims dims = out[i].tensor().dims();
      for (size_t a = 0; a < dims.size(); ++a) {
        if (!d.fact.dims[a].known() && dims[a] >= start_) dims[a] += length - start_;
      }
      if (dims == out[i].tensor().dims()) continue;
      Tensor t(out[i].tensor().dtype(), dims);  // the first element everywhere: a mask that lets all pass
      const size_t size = size_of(t.dtype());
      auto* to = static_cast<std::byte*>(const_cast<void*>(t.raw()));
      const auto* from = static_cast<const std::byte*>(out[i].tensor().raw());
      for (int64_t k = 0; k < t.size(); ++k) std::copy_n(from, size, to + static_cast<size_t>(k) * size);
      out[i] = std::move(t);
    }
    return out;
  }

 private:
  std::vector<ValueDescription> ports_;
  std::vector<Value> first_;
  int64_t start_;
};

struct Measured {
  std::vector<double> seconds;  // of each run
  int64_t start = 0, end = 0, copied = 0;
  size_t plans = 0, states = 0;
  std::vector<Carry> carries;
};

// With what is carried handed from run to run as tensors.
std::vector<double> run_copies(const Session& session, const Recurrence& r, const Measured& m,
                               const Inputs& inputs, std::vector<Value> all, int64_t tokens) {
  const auto index = [](const auto& list, const std::string& name) {
    return static_cast<size_t>(
        std::find_if(list.begin(), list.end(), [&](const auto& d) { return d.name == name; }) - list.begin());
  };
  std::vector<double> seconds;
  for (int64_t t = 0; t < tokens; ++t) {
    const std::vector<Value> now = inputs.at(m.start + t);
    for (size_t i = 0; i < now.size(); ++i) all[index(session.inputs(), r.inputs()[i].name)] = now[i];
    const auto begin = Clock::now();
    const std::vector<Value> out = session.run(all);
    seconds.push_back(std::chrono::duration<double>(Clock::now() - begin).count());
    for (const Carry& c : m.carries)
      all[index(session.inputs(), c.input)] = out[index(session.outputs(), c.output)];
  }
  return seconds;
}

Measured measure(const Flags& flags, const Session& session) {
  Measured m;
  m.carries = carries_of(flags, session);
  const fs::path set = fs::path(flags.model).parent_path() / "test_data_set_0";
  std::vector<Value> all = fs::exists(set / "input_0.pb")
                               ? read_data_set(set.string(), "input", session.inputs())
                               : make_inputs(session.inputs(), 1, flags.seed, {});
  // One more run than asked for: the first one makes the plan and is not counted.
  std::vector<Value> rest;
  std::vector<Tensor> states(m.carries.size());
  for (size_t i = 0; i < all.size(); ++i) {
    const std::string& name = session.inputs()[i].name;
    const auto c =
        std::find_if(m.carries.begin(), m.carries.end(), [&](const Carry& x) { return x.input == name; });
    if (c == m.carries.end()) {
      all[i] = one_token(all[i], session.inputs()[i]);
      rest.push_back(all[i]);
    } else {
      states[static_cast<size_t>(c - m.carries.begin())] = all[i].tensor();
    }
  }
  const std::vector<Value> made = session.run(all);
  int64_t capacity = flags.capacity;
  for (size_t i = 0; i < states.size() && flags.capacity == 0; ++i) {
    for (size_t o = 0; o < made.size(); ++o) {
      if (session.outputs()[o].name != m.carries[i].output) continue;
      for (int a = 0; a < std::min(made[o].tensor().rank(), states[i].rank()); ++a) {
        const int64_t before = states[i].dim(a), added = made[o].tensor().dim(a) - before;
        if (added > 0) capacity = std::max(capacity, before + added * (flags.tokens + 1));
      }
    }
  }
  Recurrence r(session, m.carries, capacity);
  r.set_states(states);
  m.start = r.length();
  m.states = states.size();
  const Inputs inputs(r, rest);
  if (flags.copies) {
    m.seconds = run_copies(session, r, m, inputs, all, flags.tokens + 1);
    m.copied = flags.tokens;
    m.end = m.start + flags.tokens + 1;
  } else {
    Progress progress("tokens", flags.tokens + 1);
    for (int64_t t = 0; t <= flags.tokens; ++t) {
      const std::vector<Value> in = inputs.at(r.length());
      const auto begin = Clock::now();
      const std::vector<Value> out = r.run(in);
      m.seconds.push_back(std::chrono::duration<double>(Clock::now() - begin).count());
      m.copied += !r.in_place();
      progress.step(t + 1);
    }
    m.end = r.length();
    m.plans = r.plans();
  }
  return m;
}

void decode(const Flags& flags) {
  const Session session(Model::load(flags.model), flags.session.options());
  const Measured m = measure(flags, session);
  const Statistics s = statistics({m.seconds.begin() + 1, m.seconds.end()});
  const char* how = flags.copies ? "passed by hand" : m.copied == 0 ? "in place" : "copied";
  if (flags.json) {
    print(Json{{"model", flags.model},
               {"tokens", flags.tokens},
               {"first_ms", m.seconds[0] * 1e3},
               {"latency_ms",
                {{"mean", s.mean * 1e3}, {"p50", s.p50 * 1e3}, {"p90", s.p90 * 1e3}, {"min", s.min * 1e3}}},
               {"tokens_per_s", 1 / s.mean},
               {"states", m.states},
               {"rows", {m.start, m.end}},
               {"treated", how},
               {"plans", m.plans},
               {"threads", session.options().threads},
               {"machine", fingerprint()}}
              .dump(2, ' ', false, Json::error_handler_t::replace) +
          "\n");
    return;
  }
  print(fmt::format(
      "{}\n  per run     mean {:.4f} ms   p50 {:.4f}   p90 {:.4f}   min {:.4f}   ({} runs, {:.1f} per "
      "second)\n"
      "  first run   {:.2f} ms, not among them\n"
      "  states      {}, {}; {} to {} rows; {} plan{} made\n",
      printable(flags.model), s.mean * 1e3, s.p50 * 1e3, s.p90 * 1e3, s.min * 1e3, flags.tokens, 1 / s.mean,
      m.seconds[0] * 1e3, m.states, how, m.start, m.end, m.plans, m.plans == 1 ? "" : "s"));
}

}  // namespace

void add_decode(CLI::App& app) {
  auto flags = std::make_shared<Flags>();
  CLI::App* c =
      app.add_subcommand("decode", "Measure a model that feeds itself: caches that grow, recurrent states");
  c->add_option("model", flags->model,
                "ONNX file; the first inputs come from test_data_set_0 beside it, else they are made up")
      ->required();
  c->add_option("--tokens", flags->tokens, "Runs to measure, one after the other")
      ->check(CLI::Range(1, 1 << 20))
      ->capture_default_str();
  c->add_option("--capacity", flags->capacity,
                "Rows that a growing state has room for [as many as are needed]")
      ->check(CLI::Range(int64_t{1}, int64_t{1} << 32));
  c->add_option("--carry", flags->carries,
                "INPUT=OUTPUT: the input of the next run that this output is [by their names]");
  c->add_flag("--copies", flags->copies, "Hand states from run to run as tensors, to compare with");
  c->add_option("--seed", flags->seed, "Of made-up inputs")->capture_default_str();
  c->add_flag("--json", flags->json, "One JSON object");
  flags->session.add(*c);
  c->callback([flags] { decode(*flags); });
}

}  // namespace skyline::cli
