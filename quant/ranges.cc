// The ranges of all activations at once, for those who quantize the same model in many ways.
#include "quant/calibrate.h"
#include "quant/prepare.h"
#include "quant/qdq.h"

namespace skyline::quant {

std::map<std::string, std::pair<double, double>> activation_ranges(const Graph& model,
                                                                   const Examples& calibration,
                                                                   const MakeRunner& make_runner,
                                                                   const Options& options) {
  const Graph g = prepare(model);
  std::vector<Watch> watches;
  for (uint32_t i = 0; i < g.value_slots(); ++i) {
    const ValueId v{i};
    const bool made = g.producer(v) != kNoNode || g.is_input(v);
    if (made && !g.constant(v) && g.fact(v).dtype == DType::f32 && g.use_count(v) > 0)
      watches.push_back({v, -1});
  }
  const std::vector<Observation> seen = observe(g, watches, calibration, make_runner, options.progress);
  std::map<std::string, std::pair<double, double>> ranges;
  for (size_t i = 0; i < watches.size(); ++i) {
    if (!seen[i].histogram.empty())
      ranges[g.value(watches[i].value).name] =
          range_of(seen[i].histogram, options.method, options.percentile);
  }
  return ranges;
}

}  // namespace skyline::quant
