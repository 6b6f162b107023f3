#include "bench/pick/layouts.h"

#include <algorithm>
#include <chrono>
#include <memory>

namespace skyline::pick {
namespace {

using Clock = std::chrono::steady_clock;

double ms_since(Clock::time_point start) {
  return std::chrono::duration<double, std::milli>(Clock::now() - start).count();
}

// Numbers in [-0.5, 0.5), small integers.
std::vector<Value> made_up_inputs(const Session& session) {
  std::vector<Value> out;
  for (const ValueDescription& d : session.inputs()) {
    if (!d.fact.is_static()) return {};
    Tensor t(d.fact.dtype, d.fact.static_dims());
    if (t.dtype() == DType::f32) {
      const auto x = t.mutable_span<float>();
      for (size_t i = 0; i < x.size(); ++i) x[i] = static_cast<float>(i * 7 % 23) / 23.0f - 0.5f;
    } else if (t.dtype() == DType::i64) {
      for (int64_t& x : t.mutable_span<int64_t>()) x = 1;
    }
    out.emplace_back(std::move(t));
  }
  return out;
}

struct Entry {
  LayoutTime time;
  std::unique_ptr<Session> session;
  std::unique_ptr<Context> context;
};

}  // namespace

std::vector<LayoutTime> time_layouts(const Model& model, const SessionOptions& options, int rounds) {
  std::vector<Entry> entries;
  std::vector<std::string> plans;
  for (const LayoutPolicy policy : {LayoutPolicy::modelled, LayoutPolicy::measured,
                                    LayoutPolicy::channels_last, LayoutPolicy::channels_first}) {
    SessionOptions o = options;
    o.layouts = policy;
    const auto start = Clock::now();
    Entry e{{policy}, std::make_unique<Session>(model, o), nullptr};
    const std::vector<Value> inputs = made_up_inputs(*e.session);
    if (inputs.empty()) return {};
    e.context = std::make_unique<Context>(*e.session, inputs);
    e.time.load_ms = ms_since(start);
    plans.push_back(e.session->explain_plan(inputs));
    e.context->run();
    e.time.ms = 1e30;
    entries.push_back(std::move(e));
  }
  if (std::all_of(plans.begin(), plans.end(), [&](const std::string& p) { return p == plans[0]; })) return {};
  for (int round = 0; round < rounds; ++round) {
    for (Entry& e : entries) {
      const auto start = Clock::now();
      e.context->run();
      e.time.ms = std::min(e.time.ms, ms_since(start));
    }
  }
  std::vector<LayoutTime> out;
  for (const Entry& e : entries) out.push_back(e.time);
  for (size_t i = 0; i < plans.size(); ++i) {  // what is the same plan takes the same time
    for (size_t j = 0; j < plans.size(); ++j) {
      if (plans[i] == plans[j]) out[i].ms = std::min(out[i].ms, entries[j].time.ms);
    }
  }
  return out;
}

}  // namespace skyline::pick
