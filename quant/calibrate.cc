#include "quant/calibrate.h"

#include <algorithm>
#include <cmath>

#include "graph/ir/infer.h"
#include "graph/ir/op.h"

namespace skyline::quant {
namespace {

// Examples whose channels are summed: means settle long before the tails of the histograms do.
constexpr int64_t kChannelExamples = 32;

void add_channels(Observation& o, const Tensor& t, int axis) {
  if (t.rank() < 2 || t.size() == 0) return;
  const auto channels = static_cast<size_t>(t.dim(axis));
  int64_t inner = 1;
  for (int i = axis + 1; i < t.rank(); ++i) inner *= t.dim(i);
  const int64_t outer = t.size() / inner / static_cast<int64_t>(channels);
  if (o.sum.empty()) {
    o.sum.assign(channels, 0);
    o.magnitude.assign(channels, 0);
  }
  if (o.sum.size() != channels) return;  // an axis that varies has no channels
  const float* x = t.data<float>();
  for (int64_t k = 0; k < outer && inner == 1; ++k, x += channels) {
    for (size_t c = 0; c < channels; ++c) {
      o.sum[c] += x[c];
      o.magnitude[c] = std::max<double>(o.magnitude[c], std::fabs(x[c]));
    }
  }
  for (int64_t k = 0; k < outer && inner > 1; ++k) {
    for (size_t c = 0; c < channels; ++c, x += inner) {
      double sum = 0;
      float most = 0;
      for (int64_t i = 0; i < inner; ++i) {
        sum += x[i];
        most = std::max(most, std::fabs(x[i]));
      }
      o.sum[c] += sum;
      o.magnitude[c] = std::max<double>(o.magnitude[c], most);
    }
  }
  o.per_channel += static_cast<double>(outer * inner);
}

[[noreturn]] void not_finite(const Graph& g, ValueId v, int64_t example) {
  Error e(Code::invalid,
          "value '" + g.value(v).name + "' is not finite on example " + std::to_string(example));
  if (g.producer(v) != kNoNode) throw e.in(describe(g.node(g.producer(v))));
  throw e;
}

// Images are observed channels-last: that is how most are computed, and a Transpose where they are not costs
// no more than the one that it meets where they are.
Graph with_observed(const Graph& g, const std::vector<ValueId>& values) {
  Graph out = g;
  for (ValueId v : values) {
    ValueId seen = v;
    if (g.fact(v).ranked && g.fact(v).rank() == 4) {
      seen = out.add_value(out.fresh_name("channels_last"));
      infer_node(out, out.add_node("Transpose", out.fresh_name("channels_last"), {v}, {seen},
                                   {{"perm", Dims{0, 2, 3, 1}}}));
    }
    out.add_output(seen, out.fresh_name("observed"));
  }
  return out;
}

}  // namespace

Graph with_outputs(const Graph& g, const std::vector<ValueId>& values) {
  Graph out = g;
  for (ValueId v : values) out.add_output(v, out.fresh_name("observed"));
  return out;
}

std::vector<Observation> observe(const Graph& g, const std::vector<Watch>& watches, const Examples& examples,
                                 const MakeRunner& make_runner,
                                 const std::function<void(int64_t, int64_t)>& progress) {
  if (examples.count <= 0) throw Error(Code::input, "the calibration set is empty");
  std::vector<ValueId> made;  // inputs are read from the example itself
  for (const Watch& w : watches) {
    if (!g.is_input(w.value)) made.push_back(w.value);
  }
  const Runner run = make_runner(with_observed(g, made));
  const size_t own = g.outputs().size();
  std::vector<Observation> seen(watches.size());
  for (int64_t i = 0; i < examples.count; ++i) {
    const std::vector<Value> inputs = examples.at(i);
    const std::vector<Value> results = run(inputs);
    size_t next = own;
    for (size_t k = 0; k < watches.size(); ++k) {
      const ValueId v = watches[k].value;
      const auto input = std::find(g.inputs().begin(), g.inputs().end(), v);
      const Value& value = input != g.inputs().end()
                               ? inputs.at(static_cast<size_t>(input - g.inputs().begin()))
                               : results.at(next++);
      const Tensor& t = value.tensor();
      if (!seen[k].histogram.add(t.span<float>(), !watches[k].counts)) not_finite(g, v, i);
      if (!watches[k].channels || i >= kChannelExamples) continue;
      const bool last = t.rank() < 4 || (t.rank() == 4 && input == g.inputs().end());
      add_channels(seen[k], t, last ? t.rank() - 1 : 1);
    }
    if (progress) progress(i + 1, examples.count);
  }
  return seen;
}

}  // namespace skyline::quant
