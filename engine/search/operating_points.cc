#include "engine/search/operating_points.h"

#include <algorithm>

#include "kernels/probe/probe.h"

namespace skyline {

bool wants_throughput(const OptimizeOptions& options) {
  const auto is = [](const auto& part) { return part.quantity.axis == Axis::throughput; };
  return std::any_of(options.constraints.begin(), options.constraints.end(), is) ||
         std::any_of(options.objective.factors.begin(), options.objective.factors.end(), is);
}

GridOptions grid_options(const OptimizeOptions& options, const Variants& variants, const Session& f32,
                         const std::vector<Value>& x, std::vector<std::string>& warnings) {
  const bool throughput = wants_throughput(options);
  GridOptions o;
  o.threads = variants.options().threads;
  o.streams = options.streams;
  if (o.streams.empty()) o.streams = {1, o.threads};
  o.batches = options.batches;
  if (o.batches.empty()) {
    o.batches = {1};
    for (int64_t b = 2; throughput && b <= 64; b *= 2) o.batches.push_back(b);
  }
  if (o.batches != std::vector<int64_t>{1} && !can_batch(f32, x)) {
    if (!options.batches.empty())
      warnings.emplace_back("the model takes no batches: its first axis is fixed");
    o.batches = {1};
  }
  if (!throughput) return o;
  using namespace kernels;
  const IsaSet isa = isa_level(variants.options().isa);
  o.peak = 1e9 * std::max({probe_compute(probe_kernels(isa), Compute::fma, o.threads),
                           probe_tile_products(isa, DType::bf16, o.threads),
                           probe_tile_products(isa, DType::u8, o.threads)});
  for (const auto& p : variants.flow().products) o.work += static_cast<double>(p.flops);
  return o;
}

Point at_operating_point(Point plan, const GridPoint& g) {
  plan.id += "x" + std::to_string(g.at.streams) + (g.at.batch > 1 ? "b" + std::to_string(g.at.batch) : "");
  plan.streams = g.at.streams;
  plan.threads = g.at.threads;
  plan.batch = g.at.batch;
  plan.predicted = {};
  plan.measured.latency = {serve::latency_mean(g.load), serve::latency_at(g.load, 0.5),
                           serve::latency_at(g.load, 0.9), serve::latency_at(g.load, 0.99)};
  plan.measured.throughput = g.throughput;
  plan.samples = static_cast<int64_t>(g.load.latencies.size());
  plan.provenance += ", " + std::to_string(g.at.streams) + " streams of " + std::to_string(g.at.batch);
  return plan;
}

}  // namespace skyline
